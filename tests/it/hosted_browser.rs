//! The sign-in pages in Chromium: with and without scripts, in two languages, at every screen size.

use crate::support::branding::declared;
use crate::support::browser::{self, DESK, Look, wait_for_text};
use crate::support::hosted::{HostedScene, OTHER, PASSWORD, POOL, link};
use fantoccini::{Client, Locator};
use std::path::PathBuf;

const LINKS: &str =
    "[[user_pool.message]]\nevent = \"sign_up\"\nsubject = \"Welcome\"\ntext = \"{##Confirm##}\"\n";

/// The looks of screenshots.
const LOOKS: [(Look, &str); 4] = [
    (DESK, "desk-light"),
    (Look { dark: true, ..DESK }, "desk-dark"),
    (Look { width: 320, height: 640, ..DESK }, "phone-light"),
    (Look { width: 320, height: 640, dark: true, ..DESK }, "phone-dark"),
];

/// Clicks the link with this text.
async fn follow(browser: &Client, label: &str) {
    browser.find(Locator::LinkText(label)).await.unwrap().click().await.unwrap();
}

/// Types these values, and sends the form.
async fn fill_in(browser: &Client, values: &[(&str, &str)]) {
    for (name, value) in values {
        let field = browser.find(Locator::Css(&format!("input[name='{name}']"))).await;
        let field = field.unwrap_or_else(|error| panic!("{name}: {error}"));
        field.clear().await.unwrap();
        field.send_keys(value).await.unwrap();
    }
    browser.find(Locator::Css("form button.primary")).await.unwrap().click().await.unwrap();
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
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    for (look, name) in LOOKS {
        let browser = browser::open(look).await;
        for (language, wrong_password, forgot, sign_up) in [
            ("en", "The name or the password is wrong.", "Forgot your password?", "Create an account"),
            ("ar", "", "", ""),
        ] {
            let keep = async |page: &str| {
                let png = browser.screenshot().await.unwrap();
                std::fs::write(folder.join(format!("hosted-{page}-{language}-{name}.png")), png).unwrap();
                let width =
                    browser.execute("return document.documentElement.scrollWidth", vec![]).await.unwrap();
                assert!(width.as_u64().unwrap() <= u64::from(look.width), "{page} is {width} wide on {name}");
                let css = "return [...document.querySelectorAll('.button, input:not([type=hidden])')]\
                           .map(e => e.getBoundingClientRect().height).filter(height => height < 44).length";
                assert_eq!(
                    browser.execute(css, vec![]).await.unwrap(),
                    0,
                    "{page} has small targets on {name}"
                );
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

/// Keeps a picture of the page, which must be no wider than the screen.
async fn keep(browser: &Client, look: Look, page: &str, name: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let png = browser.screenshot().await.unwrap();
    std::fs::write(folder.join(format!("branded-{page}-{name}.png")), png).unwrap();
    let width = browser.execute("return document.documentElement.scrollWidth", vec![]).await.unwrap();
    assert!(width.as_u64().unwrap() <= u64::from(look.width), "{page} is {width} wide on {name}");
    let broken = "return [...document.images].filter(image => image.naturalWidth === 0).length";
    assert_eq!(browser.execute(broken, vec![]).await.unwrap(), 0, "{page} has an image that is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_in_their_own_look_fit_each_screen() {
    let scene = declared(LINKS).await;
    scene.create_user(&mut scene.api.boto(), "ada");
    let auth = scene.api.narthex.origin("auth");
    for (at, (look, name)) in LOOKS.into_iter().enumerate() {
        let browser = browser::open(look).await;
        browser.goto(&scene.app).await.unwrap();
        keep(&browser, look, "sign-in", name).await;
        follow(&browser, "Create an account").await;
        let email = format!("user{at}@example.com");
        let user = format!("user{at}");
        let typed = [("attribute.email", &*email), ("username", &user), ("password", PASSWORD)];
        fill_in(&browser, &typed).await;
        wait_for_text(&browser, "Open the link that we sent you").await;
        keep(&browser, look, "waiting", name).await;
        browser.goto(&link(&scene, &email, 1)).await.unwrap();
        keep(&browser, look, "link", name).await;
        fill_in(&browser, &[]).await;
        wait_for_text(&browser, "You can sign in now.").await;
        keep(&browser, look, "confirmed", name).await;
        follow(&browser, "Continue").await;
        fill_in(&browser, &[("username", "ada"), ("password", PASSWORD)]).await;
        wait_for_text(&browser, "x-amzn-oidc-data").await;
        for (page, path) in [("home", "/"), ("account", "/account"), ("sign-out", "/logout")] {
            browser.goto(&format!("{auth}{path}")).await.unwrap();
            keep(&browser, look, page, name).await;
        }
        browser.close().await.unwrap();
    }
}
