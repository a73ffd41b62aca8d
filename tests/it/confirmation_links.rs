//! The link in a message that confirms a sign-up, in the browser of the sign-up and in others.

use crate::support::aws::ok;
use crate::support::browser::{self, DESK, Look, wait_for_text};
use crate::support::hosted::{HostedScene, PASSWORD, POOL, Page, link};
use crate::support::visitor::{assert_status, redirect_target};
use fantoccini::Locator;
use serde_json::{Value, json};

const LINKS: &str = r#"
[[user_pool.message]]
event = "sign_up"
subject = "Welcome"
text = "Hello {username}. {##Confirm##}"
html = "<p>Hello {username}. {##Confirm##}</p>"
[[user_pool.message]]
event = "resend"
subject = "Again"
text = "{##Confirm##}"
[[user_pool.client]]
name = "photos"
id = "photos"
allowed_oauth_flows = ["code"]
allowed_oauth_scopes = ["openid"]
callback_urls = ["https://photos.example/callback", "https://other.example/in"]
auth_flows = ["ALLOW_USER_PASSWORD_AUTH"]
"#;

async fn scene() -> HostedScene {
    HostedScene::start(&format!("{POOL}{LINKS}")).await
}

fn status(scene: &HostedScene, name: &str) -> String {
    let request = json!({ "UserPoolId": scene.api.pool_id(), "Username": name });
    ok(&mut scene.api.boto(), "AdminGetUser", request)["UserStatus"].as_str().unwrap().to_owned()
}

/// Signs `ada` up through the app's pages. Returns the page that follows.
async fn sign_up(scene: &HostedScene) -> Page {
    let visitor = scene.visitor();
    let page = visitor.open(&scene.app).await;
    let sign_up = visitor.open(&page.link("Create an account")).await;
    let typed = [("username", "ada"), ("attribute.email", "ada@example.com"), ("password", PASSWORD)];
    visitor.submit(&sign_up, &typed).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_3_a_link_confirms_in_another_browser_and_leads_to_the_app() {
    let scene = scene().await;
    let waiting = sign_up(&scene).await;
    waiting.assert_shows("Open the link that we sent you");
    assert!(!waiting.html.contains("name=\"code\""), "{}", waiting.html);
    let link = link(&scene, "ada@example.com", 1);
    // Opening the link confirms nothing: mail servers do it, too.
    let elsewhere = scene.visitor();
    for _ in 0..8 {
        elsewhere.open(&link).await.assert_shows("This confirms the account ada.");
    }
    assert_eq!(status(&scene, "ada"), "UNCONFIRMED");
    let page = elsewhere.open(&link).await;
    let confirmed = elsewhere.submit(&page, &[]).await;
    confirmed.assert_shows("Your account is confirmed");
    assert_eq!(status(&scene, "ada"), "CONFIRMED");
    assert_eq!(scene.api.narthex.audit("account_changed").last().unwrap()["change"], "sign_up_confirmed");
    // The app begins a sign-in of its own.
    let app = confirmed.link("Continue");
    assert_eq!(app, scene.app);
    let sign_in = elsewhere.open(&app).await;
    let back = elsewhere.submit_onward(&sign_in, &[("username", "ada"), ("password", PASSWORD)]).await;
    assert_status(&elsewhere.follow(&back).await, 200);
    // A second click is no error, whichever button was pressed.
    let again = elsewhere.open(&link).await;
    again.assert_shows("Your account was already confirmed.");
    assert_eq!(again.link("Continue"), scene.app);
    let again = elsewhere.submit(&page, &[]).await;
    again.assert_shows("Your account was already confirmed.");
    assert_eq!((again.status, again.link("Continue")), (200, scene.app.clone()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_somebody_made_up_reveals_and_confirms_nothing() {
    let scene = scene().await;
    sign_up(&scene).await;
    let link = link(&scene, "ada@example.com", 1);
    scene.create_user(&mut scene.api.boto(), "bob");
    let visitor = scene.visitor();
    let with = |name: &str, value: &str| {
        let mut url = url::Url::parse(&link).unwrap();
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let others = pairs.into_iter().filter(|(known, _)| known != name);
        let others: Vec<_> = others.chain([(name.to_owned(), value.to_owned())]).collect();
        url.query_pairs_mut().clear().extend_pairs(others);
        url.to_string()
    };
    // A user who is confirmed is like nobody, in each form of the page.
    for (name, value) in [("user_name", "bob"), ("user_name", "nobody"), ("proof", "AAAA"), ("proof", "")] {
        let page = visitor.open(&with(name, value)).await;
        page.assert_shows("This confirms the account");
    }
    let mut answers = Vec::new();
    for name in ["bob", "nobody"] {
        let page = visitor.open(&with("user_name", name)).await;
        let refused = visitor.submit(&page, &[]).await;
        refused.assert_shows("This link was used before, or is not valid any more.");
        answers.push(refused.html.replace(name, ""));
    }
    assert_eq!(answers[0], answers[1]);
    // A link leads to the client's own addresses alone.
    for uri in ["https://evil.example/", "https://evil.example/.narthex/callback", ""] {
        assert_status(&visitor.get(&with("redirect_uri", uri)).await, 400);
    }
    assert_status(&visitor.get(&with("client_id", "nobody")).await, 400);
    assert_status(&visitor.get(&with("user_name", "")).await, 400);
    // Other sites send no form of it.
    let page = visitor.open(&link).await;
    let (action, _) = page.form(0);
    let foreign = visitor.client.post(action).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 400);
    assert_eq!(status(&scene, "ada"), "UNCONFIRMED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_link_offers_another_one() {
    let scene = scene().await;
    let waiting = sign_up(&scene).await;
    let earlier = link(&scene, "ada@example.com", 1);
    let visitor = scene.visitor();
    let again = Page::of(visitor.send_form(&waiting, 0, &[]).await).await;
    again.assert_shows("We sent another link.");
    let _ = link(&scene, "ada@example.com", 2);
    let page = visitor.open(&earlier).await;
    let void = visitor.submit(&page, &[]).await;
    void.assert_shows("This link has expired, or a newer one was sent.");
    visitor.submit(&void, &[]).await.assert_shows("We sent another link.");
    let newest = link(&scene, "ada@example.com", 3);
    let page = visitor.open(&newest).await;
    visitor.submit(&page, &[]).await.assert_shows("Your account is confirmed");
    // The earlier link still is of this user.
    visitor.open(&earlier).await.assert_shows("Your account was already confirmed.");
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ups_through_the_api_get_links_of_their_client() {
    let scene = scene().await;
    let mut boto = scene.api.boto();
    let attributes = |email: &str| json!([{ "Name": "email", "Value": email }]);
    let request = json!({
        "ClientId": "photos", "Username": "ada", "Password": PASSWORD,
        "UserAttributes": attributes("ada@example.com"),
    });
    boto.unsigned("SignUp", request).unwrap();
    let of_file = link(&scene, "ada@example.com", 1);
    // A pool that the API made, with Cognito's setting.
    let template = json!({
        "DefaultEmailOption": "CONFIRM_WITH_LINK", "EmailSubjectByLink": "Welcome",
        "EmailMessageByLink": "<p>Please {##confirm your <b>address</b>##}.</p>",
    });
    let pool = json!({
        "PoolName": "api", "AutoVerifiedAttributes": ["email"], "VerificationMessageTemplate": template,
    });
    let pool = ok(&mut boto, "CreateUserPool", pool)["UserPool"]["Id"].clone();
    let described = ok(&mut boto, "DescribeUserPool", json!({ "UserPoolId": pool }));
    assert_eq!(described["UserPool"]["VerificationMessageTemplate"], template);
    let client = |name: &str, urls: Value| {
        json!({ "UserPoolId": pool, "ClientName": name, "CallbackURLs": urls,
                "SupportedIdentityProviders": ["COGNITO"] })
    };
    let mut create =
        |request| ok(&mut boto, "CreateUserPoolClient", request)["UserPoolClient"]["ClientId"].clone();
    let native = create(client("native", json!(["myapp://signed-in"])));
    let plain = create(json!({ "UserPoolId": pool, "ClientName": "plain" }));
    let mut links = vec![(of_file, Some("https://photos.example/"))];
    for (name, client, app) in [("native", native, Some("myapp://signed-in")), ("plain", plain, None)] {
        let email = format!("{name}@example.com");
        let request = json!({
            "ClientId": client, "Username": name, "Password": PASSWORD, "UserAttributes": attributes(&email),
        });
        boto.unsigned("SignUp", request).unwrap();
        links.push((link(&scene, &email, 1), app));
    }
    for (link, app) in links {
        let visitor = scene.visitor();
        let page = visitor.open(&link).await;
        let confirmed = visitor.submit(&page, &[]).await;
        confirmed.assert_shows("Your account is confirmed");
        match app {
            Some(app) => assert_eq!(confirmed.link("Continue"), app),
            None => assert!(!confirmed.html.contains("Continue"), "{}", confirmed.html),
        }
    }
    // Codes of other purposes stay codes.
    let request = json!({ "ClientId": "photos", "Username": "ada" });
    boto.unsigned("ForgotPassword", request).unwrap();
    assert_eq!(scene.api.code("ada@example.com", 2).len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_3_a_person_confirms_in_another_browser_without_scripts() {
    let scene = scene().await;
    sign_up(&scene).await;
    let link = link(&scene, "ada@example.com", 1);
    let browser = browser::open(Look { scripts: false, ..DESK }).await;
    browser.goto(&link).await.unwrap();
    browser.wait().for_element(Locator::Css("form button.primary")).await.unwrap().click().await.unwrap();
    wait_for_text(&browser, "You can sign in now.").await;
    browser.wait().for_element(Locator::LinkText("Continue")).await.unwrap().click().await.unwrap();
    for (name, value) in [("username", "ada"), ("password", PASSWORD)] {
        let field = browser.wait().for_element(Locator::Css(&format!("input[name='{name}']"))).await.unwrap();
        field.send_keys(value).await.unwrap();
    }
    browser.wait().for_element(Locator::Css("form button.primary")).await.unwrap().click().await.unwrap();
    wait_for_text(&browser, "x-amzn-oidc-data").await;
    browser.goto(&link).await.unwrap();
    wait_for_text(&browser, "Your account was already confirmed.").await;
    browser.close().await.unwrap();
    assert!(redirect_target(&scene.visitor().get(&scene.app).await).is_some());
}
