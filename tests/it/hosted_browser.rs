//! The sign-in pages in Chromium: with and without scripts, in two languages, at every screen size.

use crate::support::aws::ok;
use crate::support::branding::declared;
use crate::support::browser::{self, DESK, LOOKS, Look, wait_for_text};
use crate::support::hosted::{HostedScene, OTHER, PASSWORD, POOL, link};
use crate::support::oauth::{self, Scene};
use crate::support::totp::Authenticator;
use fantoccini::{Client, Locator};
use serde_json::json;

const LINKS: &str =
    "[[user_pool.message]]\nevent = \"sign_up\"\nsubject = \"Welcome\"\ntext = \"{##Confirm##}\"\n";

/// Clicks the link with this text.
async fn follow(browser: &Client, label: &str) {
    browser.wait().for_element(Locator::LinkText(label)).await.unwrap().click().await.unwrap();
}

/// Types these values, and sends the form.
async fn fill_in(browser: &Client, values: &[(&str, &str)]) {
    for (name, value) in values {
        let field = browser.wait().for_element(Locator::Css(&format!("input[name='{name}']"))).await;
        let field = field.unwrap_or_else(|error| panic!("{name}: {error}"));
        field.clear().await.unwrap();
        field.send_keys(value).await.unwrap();
    }
    browser.wait().for_element(Locator::Css("form button.primary")).await.unwrap().click().await.unwrap();
}

async fn sign_up_and_recover(look: Look) {
    let scene = HostedScene::start(POOL).await;
    let browser = browser::open(look).await;
    browser.goto(&scene.app).await.unwrap();
    follow(&browser, "Create an account").await;
    let name = [("attribute.email", "ada@example.com"), ("username", "ada")];
    fill_in(&browser, &[&name[..], &[("password", "short")]].concat()).await;
    wait_for_text(&browser, "The password does not meet the rules.").await;
    // What was typed is still there.
    fill_in(&browser, &[("password", PASSWORD)]).await;
    wait_for_text(&browser, "Confirm your account").await;
    fill_in(&browser, &[("code", "000000")]).await;
    wait_for_text(&browser, "The code is wrong.").await;
    fill_in(&browser, &[("code", &scene.api.code("ada@example.com", 1))]).await;
    // The app shows the headers that it received.
    wait_for_text(&browser, "x-amzn-oidc-data").await;
    browser.delete_all_cookies().await.unwrap();
    browser.goto(&scene.api.narthex.origin("auth")).await.unwrap();
    browser.delete_all_cookies().await.unwrap();
    browser.goto(&scene.app).await.unwrap();
    fill_in(&browser, &[("username", "ada"), ("password", OTHER)]).await;
    wait_for_text(&browser, "The name or the password is wrong.").await;
    follow(&browser, "Forgot your password?").await;
    fill_in(&browser, &[("username", "ada@example.com")]).await;
    wait_for_text(&browser, "If there is an account with this name").await;
    let code = scene.api.code("ada@example.com", 2);
    fill_in(&browser, &[("code", &code), ("password", OTHER)]).await;
    wait_for_text(&browser, "x-amzn-oidc-data").await;
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_up_and_recovers() {
    sign_up_and_recover(DESK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_up_and_recovers_without_scripts() {
    sign_up_and_recover(Look { scripts: false, ..DESK }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_fits_each_screen_in_two_languages() {
    let required = "[[user_pool.attribute]]\nname = \"given_name\"\nrequired = true\n";
    let scene = HostedScene::start(&format!("{POOL}{required}")).await;
    for (look, name) in LOOKS {
        let browser = browser::open(look).await;
        for (language, wrong_password, forgot, sign_up, confirm) in [
            (
                "en",
                "The name or the password is wrong.",
                "Forgot your password?",
                "Create an account",
                "Confirm your account",
            ),
            ("ar", "", "", "", "تأكيد حسابك"),
        ] {
            let keep = async |page: &str| {
                browser::keep(&browser, look, &format!("hosted-{page}-{language}-{name}")).await;
            };
            let at = |path: &str| format!("{}{path}?lang={language}", scene.api.narthex.origin("auth"));
            browser.goto(&at("/login")).await.unwrap();
            keep("sign-in").await;
            if language == "en" {
                fill_in(&browser, &[("username", "nobody"), ("password", OTHER)]).await;
                wait_for_text(&browser, wrong_password).await;
                keep("wrong-password").await;
                follow(&browser, forgot).await;
                follow(&browser, "Back to sign-in").await;
                follow(&browser, sign_up).await;
            }
            browser.goto(&at("/signup")).await.unwrap();
            let email = format!("{language}-{name}@example.com");
            let typed = [
                ("attribute.email", &*email),
                ("attribute.given_name", "Ada"),
                ("username", &*format!("{language}-{name}")),
            ];
            fill_in(&browser, &[&typed[..], &[("password", "short")]].concat()).await;
            wait_for_text(&browser, "").await;
            keep("sign-up").await;
            fill_in(&browser, &[("password", PASSWORD)]).await;
            wait_for_text(&browser, confirm).await;
            keep("code").await;
            fill_in(&browser, &[("code", "000000")]).await;
            keep("wrong-code").await;
            browser.goto(&at("/forgotPassword")).await.unwrap();
            keep("forgot").await;
            fill_in(&browser, &[("username", "nobody")]).await;
            keep("reset").await;
        }
        browser.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_in_their_own_look_fit_each_screen() {
    let scene = declared(LINKS).await;
    scene.create_user(&mut scene.api.boto(), "ada");
    let auth = scene.api.narthex.origin("auth");
    for (at, (look, name)) in LOOKS.into_iter().enumerate() {
        let browser = browser::open(look).await;
        let keep = async |page: &str| {
            browser::keep(&browser, look, &format!("branded-{page}-{name}")).await;
        };
        browser.goto(&scene.app).await.unwrap();
        keep("sign-in").await;
        follow(&browser, "Create an account").await;
        let email = format!("user{at}@example.com");
        let user = format!("user{at}");
        let typed = [("attribute.email", &*email), ("username", &user), ("password", PASSWORD)];
        fill_in(&browser, &typed).await;
        wait_for_text(&browser, "Open the link that we sent you").await;
        keep("waiting").await;
        browser.goto(&link(&scene, &email, 1)).await.unwrap();
        keep("link").await;
        fill_in(&browser, &[]).await;
        wait_for_text(&browser, "You can sign in now.").await;
        keep("confirmed").await;
        follow(&browser, "Continue").await;
        fill_in(&browser, &[("username", "ada"), ("password", PASSWORD)]).await;
        wait_for_text(&browser, "x-amzn-oidc-data").await;
        for (page, path) in [("home", "/"), ("account", "/account"), ("sign-out", "/logout")] {
            browser.goto(&format!("{auth}{path}")).await.unwrap();
            keep(page).await;
        }
        browser.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_apps_and_devices_fit_each_screen() {
    let clients = r#"
[[user_pool.client]]
name = "photo-prints"
id = "prints"
allowed_oauth_flows = ["code"]
allowed_oauth_scopes = ["openid", "email", "profile"]
callback_urls = ["https://spa.example/callback"]
require_consent = true
[[user_pool.client]]
name = "living-room-tv"
id = "tv"
device_authorization = true
allowed_oauth_scopes = ["openid", "email"]
"#;
    let scene = Scene::start_with(clients, |builder| builder).await;
    for (look, name) in LOOKS {
        let (_, begun) = scene.post("device_authorization", &[("client_id", "tv")]).await;
        let code = begun["user_code"].as_str().unwrap();
        let browser = browser::open(look).await;
        let keep = async |page: &str| browser::keep(&browser, look, &format!("{page}-{name}")).await;
        browser.goto(&format!("{}/device", scene.auth)).await.unwrap();
        keep("device-code").await;
        fill_in(&browser, &[("user_code", code)]).await;
        fill_in(&browser, &[("username", "ada"), ("password", oauth::PASSWORD)]).await;
        wait_for_text(&browser, "living-room-tv asks for access").await;
        keep("device").await;
        fill_in(&browser, &[]).await;
        wait_for_text(&browser, "Your device is connected").await;
        keep("device-connected").await;
        let request = [("client_id", "prints"), ("scope", "openid email profile"), ("prompt", "consent")];
        browser.goto(&scene.authorize(&request)).await.unwrap();
        wait_for_text(&browser, "photo-prints asks for access").await;
        keep("consent").await;
        for (page, path, words) in [
            ("account", "/account", "ada@example.com"),
            ("apps-with-access", "/sessions", "Apps with access"),
        ] {
            browser.goto(&format!("{}{path}", scene.auth)).await.unwrap();
            wait_for_text(&browser, words).await;
            keep(page).await;
        }
        browser.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_second_factors_fit_each_screen() {
    let pool =
        POOL.replace("sign_up = true", "mfa = \"required\"\nmfa_factors = [\"software_token\", \"email\"]");
    let scene = HostedScene::start(&pool).await;
    let auth = scene.api.narthex.origin("auth");
    for ((look, name), language) in LOOKS.into_iter().zip(["en", "ar", "de", "fr"]) {
        // A name without a verified address has to set an app up.
        let user =
            json!({ "UserPoolId": scene.api.pool_id(), "Username": name, "MessageAction": "SUPPRESS" });
        ok(&mut scene.api.boto(), "AdminCreateUser", user);
        let set = json!({ "UserPoolId": scene.api.pool_id(), "Username": name, "Password": PASSWORD, "Permanent": true });
        ok(&mut scene.api.boto(), "AdminSetUserPassword", set);
        let browser = browser::open(look).await;
        let keep = async |page: &str| browser::keep(&browser, look, &format!("{page}-{name}")).await;
        let sign_in = async || {
            browser.goto(&format!("{auth}/login?lang={language}")).await.unwrap();
            fill_in(&browser, &[("username", name), ("password", PASSWORD)]).await;
        };
        sign_in().await;
        let key = browser.wait().for_element(Locator::Css(".key code")).await.unwrap();
        let app = Authenticator::new(&key.text().await.unwrap());
        keep("factor-set-up").await;
        fill_in(&browser, &[("code", &app.code(0))]).await;
        let codes = browser.wait().for_element(Locator::Css(".codes")).await.unwrap();
        assert_eq!(codes.text().await.unwrap().lines().count(), 10);
        keep("recovery-codes").await;
        browser.goto(&format!("{auth}/account")).await.unwrap();
        keep("account-factors").await;
        browser.delete_all_cookies().await.unwrap();
        sign_in().await;
        browser.wait().for_element(Locator::Css("input[name='code']")).await.unwrap();
        fill_in(&browser, &[("code", "000000")]).await;
        browser.wait().for_element(Locator::Css("input[aria-invalid='true']")).await.unwrap();
        keep("factor").await;
        fill_in(&browser, &[("code", &app.code(1))]).await;
        browser.wait().for_element(Locator::Css("a[href$='/account']")).await.unwrap();
        browser.close().await.unwrap();
    }
}
