//! Second factors on the pages: set-up, sign-in, recovery codes, the own account.

use crate::support::aws::ok;
use crate::support::hosted::{HostedScene, OTHER, PASSWORD, Page, authenticator, press};
use crate::support::visitor::{Visitor, assert_status};
use serde_json::json;

fn pool(mfa: &str, factors: &str) -> String {
    format!(
        "[[user_pool]]\nname = \"people\"\nsigning_algorithm = \"ES256\"\npassword_sign_in = true\n\
         mfa = \"{mfa}\"\nmfa_factors = {factors}\n"
    )
}

fn account(scene: &HostedScene) -> String {
    format!("{}/account", scene.api.narthex.origin("auth"))
}

/// Returns the page that follows name and password.
async fn enter_password(scene: &HostedScene, visitor: &Visitor) -> Page {
    let page = visitor.open(&scene.app).await;
    visitor.submit(&page, &[("username", "ada"), ("password", PASSWORD)]).await
}

/// Returns the recovery codes of a page.
fn recovery_codes(page: &Page) -> Vec<String> {
    let codes = page.html.split("<li><code>").skip(1);
    codes.map(|code| code.split('<').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_app_is_set_up_at_the_first_sign_in_and_recovery_codes_work_once() {
    let scene = HostedScene::start(&pool("required", "[\"software_token\"]")).await;
    scene.create_user(&mut scene.api.boto(), "ada");
    let visitor = scene.visitor();
    let set_up = enter_password(&scene, &visitor).await;
    set_up.assert_shows("Set up your authenticator app");
    let app = authenticator(&set_up);
    let wrong = visitor.submit(&set_up, &[("code", "000000")]).await;
    wrong.assert_shows("The code is wrong.");
    assert_eq!(authenticator(&wrong).code(0), app.code(0), "the key stays");
    // The session of the page is no session yet.
    assert_status(&visitor.get(&account(&scene)).await, 401);
    let codes = visitor.submit(&wrong, &[("code", &app.code(-1))]).await;
    codes.assert_shows("They are not shown again.");
    let recovery = recovery_codes(&codes);
    assert_eq!(recovery.len(), 10);
    assert_status(&visitor.follow(&codes.link("Continue")).await, 200);
    assert!(!scene.upstream.seen().is_empty());
    let login = &scene.api.narthex.audit("login")[0];
    assert_eq!(login["provider"], "COGNITO");

    let other = scene.visitor();
    let ask = enter_password(&scene, &other).await;
    ask.assert_shows("Enter the code that your authenticator app shows, or a recovery code.");
    other.submit(&ask, &[("code", "000000")]).await.assert_shows("The code is wrong.");
    let used = other.submit(&ask, &[("code", &app.code(-1))]).await;
    used.assert_shows("This code was used already.");
    let back = other.submit_onward(&used, &[("code", &recovery[3].to_uppercase())]).await;
    assert_status(&other.follow(&back).await, 200);
    let third = scene.visitor();
    let ask = enter_password(&scene, &third).await;
    third.submit(&ask, &[("code", &recovery[3])]).await.assert_shows("The code is wrong.");
    let back = third.submit_onward(&ask, &[("code", &app.code(0))]).await;
    assert_status(&third.follow(&back).await, 200);
    // Who has lost everything asks an administrator.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_narthex"));
    command.args(["users", "remove-factors", "ada", "--config"]).arg(&scene.api.narthex.file);
    let removed = command.current_dir(scene.api.narthex.folder()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&removed.stdout), "ada: second factors removed\n");
    let page = enter_password(&scene, &scene.visitor()).await;
    page.assert_shows("Set up your authenticator app");
    let reasons: Vec<_> =
        scene.api.narthex.audit("login_failed").into_iter().map(|of| of["reason"].clone()).collect();
    assert!(!reasons.is_empty() && reasons.iter().all(|reason| reason == "wrong_code"), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_adds_and_removes_factors_on_the_own_account() {
    let scene = HostedScene::start(&pool("optional", "[\"software_token\", \"email\"]")).await;
    scene.create_user(&mut scene.api.boto(), "ada");
    let visitor = scene.visitor();
    let page = visitor.open(&scene.app).await;
    let back = visitor.submit_onward(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
    assert_status(&visitor.follow(&back).await, 200);
    let page = visitor.open(&account(&scene)).await;
    page.assert_shows("Two-step verification");
    let (set_up, right, wrong) =
        ("Set up an authenticator app", [("current_password", PASSWORD)], [("current_password", OTHER)]);
    press(&visitor, &page, set_up, &wrong).await.assert_shows("The name or the password is wrong.");
    let token = press(&visitor, &page, set_up, &right).await;
    let app = authenticator(&token);
    // Without the form that the password opened, nothing is set up or shown.
    for sealed in [String::new(), token.value("token").replace('A', "B")] {
        let stolen = visitor.submit(&token, &[("token", &sealed), ("code", &app.code(-1))]).await;
        assert!(
            !stolen.html.contains("class=\"qr\"") && recovery_codes(&stolen).is_empty(),
            "{}",
            stolen.html
        );
    }
    let codes = visitor.submit(&token, &[("code", &app.code(-1))]).await;
    let first = recovery_codes(&codes);
    let twice = visitor.submit(&token, &[("code", &app.code(0))]).await;
    assert!(recovery_codes(&twice).is_empty(), "a form works once");
    let page = visitor.open(&codes.link("Continue")).await;
    page.assert_shows("Recovery codes left: 10");
    let codes = press(&visitor, &page, "Create new recovery codes", &right).await;
    let second = recovery_codes(&codes);
    assert!(second.len() == 10 && second.iter().all(|code| !first.contains(code)));
    press(&visitor, &page, "Turn on codes by email", &wrong).await.assert_shows("is wrong.");
    press(&visitor, &page, "Turn on codes by email", &right).await.assert_shows("Saved.");

    // The page asks for one factor, and offers the other one.
    let other = scene.visitor();
    let ask = enter_password(&scene, &other).await;
    let mail = press(&other, &ask, "Send a code by email", &[]).await;
    mail.assert_shows("Enter the code that we sent to a***@e***.");
    let code = scene.api.code("ada@example.com", 1);
    other.submit(&mail, &[("code", &first[0])]).await.assert_shows("The code is wrong.");
    let again = press(&other, &mail, "Send another code", &[]).await;
    let newer = scene.api.code("ada@example.com", 2);
    if newer != code {
        other.submit(&again, &[("code", &code)]).await.assert_shows("The code is wrong.");
    }
    let back = other.submit_onward(&again, &[("code", &newer)]).await;
    assert_status(&other.follow(&back).await, 200);

    let page = visitor.open(&account(&scene)).await;
    let page = press(&visitor, &page, "Remove the authenticator app", &right).await;
    page.assert_shows("The authenticator app was removed.");
    // The recovery codes went with it.
    let fourth = scene.visitor();
    let ask = enter_password(&scene, &fourth).await;
    ask.assert_shows("Enter the code that we sent to a***@e***.");
    fourth.submit(&ask, &[("code", &second[0])]).await.assert_shows("The code is wrong.");
    press(&visitor, &page, "Turn off codes by email", &right).await.assert_shows("Saved.");
    let third = scene.visitor();
    let page = third.open(&scene.app).await;
    let back = third.submit_onward(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
    assert_status(&third.follow(&back).await, 200);
    let changes: Vec<_> =
        scene.api.narthex.audit("account_changed").into_iter().map(|of| of["change"].clone()).collect();
    for change in
        ["factor_added", "recovery_codes_created", "factor_enabled", "factor_removed", "factor_disabled"]
    {
        assert!(changes.contains(&json!(change)), "{change}: {changes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn factors_of_another_site_or_another_session_are_refused() {
    let scene = HostedScene::start(&pool("required", "[\"software_token\"]")).await;
    let mut boto = scene.api.boto();
    scene.create_user(&mut boto, "ada");
    let visitor = scene.visitor();
    let set_up = enter_password(&scene, &visitor).await;
    let app = authenticator(&set_up);
    let (action, fields) = set_up.form(0);
    let foreign = visitor.client.post(action).header("origin", "https://evil.example").form(&fields);
    assert_status(&foreign.send().await.unwrap(), 400);
    // The session of a page is none of the API.
    let session = set_up.value("session");
    let client = json!({ "Session": session, "UserCode": app.code(0) });
    assert_eq!(boto.unsigned("VerifySoftwareToken", client).unwrap_err().code, "NotAuthorizedException");
    assert!(boto.unsigned("AssociateSoftwareToken", json!({ "Session": session })).is_err());
    // Each session shows and confirms its own key. The first one that is confirmed ends the others.
    let attacker = scene.visitor();
    let theirs = enter_password(&scene, &attacker).await;
    let their_app = authenticator(&theirs);
    let wrong = attacker.submit(&theirs, &[("code", &app.code(0))]).await;
    wrong.assert_shows("The code is wrong.");
    assert_eq!(authenticator(&wrong).code(0), their_app.code(0));
    let codes = visitor.submit(&set_up, &[("code", &app.code(0))]).await;
    assert_eq!(recovery_codes(&codes).len(), 10);
    let late = attacker.submit(&theirs, &[("code", &their_app.code(0))]).await;
    late.assert_shows("name=\"password\"");
    let again = visitor.submit(&set_up, &[("code", &app.code(1))]).await;
    again.assert_shows("name=\"password\"");
    // A disabled user sets nothing up.
    let bob = json!({ "UserPoolId": scene.api.pool_id(), "Username": "ada" });
    ok(&mut boto, "AdminDeleteSoftwareToken", bob.clone());
    let third = scene.visitor();
    let page = enter_password(&scene, &third).await;
    page.assert_shows("Set up your authenticator app");
    ok(&mut boto, "AdminDisableUser", bob);
    let refused = third.submit(&page, &[("code", &authenticator(&page).code(1))]).await;
    refused.assert_shows("name=\"password\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_see_the_second_factor() {
    let condition = json!({ "Bool": { "aws:MultiFactorAuthPresent": "true" } });
    let statement = json!({ "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*",
        "Condition": condition });
    let policy = json!({ "Version": "2012-10-17", "Statement": statement }).to_string();
    let tables = "[[role]]\nname = \"member\"\npolicies = [\"policy.json\"]\n[[identity_pool]]\nname = \"main\"\n\
                  authenticated_role = \"member\"\n";
    let pool = format!("{}{tables}", pool("optional", "[\"software_token\"]"));
    let scene = HostedScene::with(&pool, "name = \"app\"\naccess = \"policy\"", |builder| {
        builder.file("policy.json", policy)
    })
    .await;
    let mut boto = scene.api.boto();
    scene.create_user(&mut boto, "ada");
    let visitor = scene.visitor();
    let page = visitor.open(&scene.app).await;
    let back = visitor.submit_onward(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
    assert_status(&visitor.follow(&back).await, 403);
    let page = visitor.open(&account(&scene)).await;
    let token =
        press(&visitor, &page, "Set up an authenticator app", &[("current_password", PASSWORD)]).await;
    let app = authenticator(&token);
    visitor.submit(&token, &[("code", &app.code(-1))]).await;
    assert_status(&visitor.get(&scene.app).await, 403);
    let other = scene.visitor();
    let ask = enter_password(&scene, &other).await;
    let back = other.submit_onward(&ask, &[("code", &app.code(0))]).await;
    assert_status(&other.follow(&back).await, 200);
}
