//! Codes in the place of a password on the pages.

use crate::support::hosted::{HostedScene, Page};
use crate::support::visitor::{Visitor, assert_status};

fn pool(first_factors: &str) -> String {
    format!(
        "[[user_pool]]\nname = \"people\"\nsigning_algorithm = \"ES256\"\npassword_sign_in = true\nsign_up = true\n\
         auto_verified = [\"email\"]\nfirst_factors = {first_factors}\n"
    )
}

/// Asks for a code, and returns the page for it.
async fn ask(scene: &HostedScene, visitor: &Visitor, name: &str) -> Page {
    let page = visitor.open(&scene.app).await;
    visitor.submit(&page, &[("username", name), ("method", "EMAIL_OTP")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_signs_in_in_the_place_of_a_password() {
    let scene = HostedScene::start(&pool("[\"password\", \"email\"]")).await;
    scene.create_user(&mut scene.api.boto(), "ada");
    let visitor = scene.visitor();
    visitor.open(&scene.app).await.assert_shows(">Send a code by email</button>");
    ask(&scene, &visitor, "").await.assert_shows("Fill in this field.");
    let page = ask(&scene, &visitor, "ada").await;
    page.assert_shows("Enter the code that we sent to a***@e***.");
    let code = scene.api.code("ada@example.com", 1);
    visitor.submit(&page, &[("code", "00000000")]).await.assert_shows("The code is wrong.");
    // Another code makes the first one void.
    let forms = page.html.matches("method=\"post\"").count();
    assert_eq!(forms, 2);
    let again = Page::of(visitor.send_form(&page, 1, &[]).await).await;
    let newer = scene.api.code("ada@example.com", 2);
    if code != newer {
        visitor.submit(&again, &[("code", &code)]).await.assert_shows("The code is wrong.");
    }
    let onward = visitor.submit_onward(&again, &[("code", &newer)]).await;
    assert_status(&visitor.follow(&onward).await, 200);
    let seen = scene.upstream.seen();
    assert!(!seen.is_empty());
    let used = visitor.submit(&again, &[("code", &newer)]).await;
    assert!(used.status < 500 && !used.html.contains("session="), "{}", used.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_a_user_gets_the_page_for_a_code() {
    let scene = HostedScene::start(&pool("[\"password\", \"email\"]")).await;
    let visitor = scene.visitor();
    let page = ask(&scene, &visitor, "nobody").await;
    page.assert_shows("Enter the code that we sent to n***@");
    visitor.submit(&page, &[("code", "00000000")]).await.assert_shows("The code is wrong.");
    assert_eq!(scene.api.mail.accepted().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_without_passwords_sign_up_and_in_with_codes() {
    let scene = HostedScene::start(&pool("[\"email\"]")).await;
    let visitor = scene.visitor();
    let page = visitor.open(&scene.app).await;
    assert!(!page.html.contains("type=\"password\"") && !page.html.contains("Forgot your password?"));
    let sign_up = visitor.open(&page.link("Create an account")).await;
    assert!(!sign_up.html.contains("type=\"password\""));
    let typed = [("username", "ada"), ("attribute.email", "ada@example.com")];
    let confirm = visitor.submit(&sign_up, &typed).await;
    confirm.assert_shows("Enter the code that we sent you.");
    let code = scene.api.code("ada@example.com", 1);
    let onward = visitor.submit_onward(&confirm, &[("code", &code)]).await;
    assert_status(&visitor.follow(&onward).await, 200);

    let other = scene.visitor();
    let page = ask(&scene, &other, "ada").await;
    let code = scene.api.code("ada@example.com", 2);
    let onward = other.submit_onward(&page, &[("code", &code)]).await;
    assert_status(&other.follow(&onward).await, 200);

    // A sign-up that was left is confirmed at the next sign-in.
    let third = scene.visitor();
    let page = third.open(&scene.app).await;
    let sign_up = third.open(&page.link("Create an account")).await;
    third.submit(&sign_up, &[("username", "bob"), ("attribute.email", "bob@example.com")]).await;
    let code = scene.api.code("bob@example.com", 1);
    let page = ask(&scene, &third, "bob").await;
    page.assert_shows("Enter the code that we sent you.");
    let onward = third.submit_onward(&page, &[("code", &code)]).await;
    assert_status(&third.follow(&onward).await, 200);
}
