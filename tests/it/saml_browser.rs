//! SAML sign-ins in Chromium, at providers that are in use.

use crate::support::browser::{self, DESK, Look};
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::process::{Party, free_port, wait_until};
use crate::support::simplesamlphp::SimpleSamlPhp;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status};
use fantoccini::{Client, Locator};

const OURS: &str = "urn:narthex:test";
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

fn provider(metadata: &str, more: &str) -> String {
    format!(
        "[[provider]]\nname = \"corp\"\ntype = \"saml\"\nmetadata = \"{metadata}\"\nentity_id = \"{OURS}\"\nallow = \"anyone\"\n{more}\n"
    )
}

/// Our metadata, and the certificate in it.
async fn ours(narthex: &Narthex) -> (String, String) {
    let url = format!("{}/saml2/metadata/corp", narthex.origin("auth"));
    let answer = Visitor::new(narthex).get(&url).await;
    assert_status(&answer, 200);
    let text = answer.text().await.unwrap();
    let certificate = text.split("X509Certificate>").nth(1).unwrap().trim_end_matches("</ds:").to_owned();
    (text, certificate)
}

/// Waits until the page is at `url`, or below.
async fn until_at(browser: &Client, url: &str) {
    for _ in 0..600 {
        if browser.current_url().await.unwrap().as_str().starts_with(url) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!(
        "at {} in the place of {url}:\n{}",
        browser.current_url().await.unwrap(),
        browser.source().await.unwrap()
    );
}

/// Presses a button. Between two pages, one that was found may be gone a moment later.
async fn press(browser: &Client, selector: &str) {
    for tries in 0.. {
        let button = browser.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await.unwrap();
        match button.click().await {
            Ok(()) => return,
            Err(error) => assert!(tries < 20, "{selector}: {error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn sign_in(browser: &Client, user: &str) {
    let field =
        browser.wait().at_most(PATIENCE).for_element(Locator::Css("input[name=username]")).await.unwrap();
    field.send_keys(user).await.unwrap();
    let password = browser.wait().for_element(Locator::Css("input[name=password]")).await.unwrap();
    password.send_keys(&format!("{user}pass\n")).await.unwrap();
}

async fn say(narthex: &Narthex) -> String {
    narthex
        .audit("login_failed")
        .iter()
        .chain(&narthex.audit("saml_logout_failed"))
        .map(|line| line["detail"].to_string())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pysaml2_signs_a_person_in_and_out_both_ways_by_each_binding() {
    for (sign, binding, cipher) in [
        ("assertion", "redirect", "plain"),
        ("response", "redirect", "plain"),
        ("both", "post", "plain"),
        ("assertion", "redirect", "aes256-cbc"),
        ("response", "redirect", "aes128-cbc"),
        ("both", "post", "aes256-cbc"),
    ] {
        let upstream = Upstream::start().await;
        let port = free_port();
        let home = format!("http://127.0.0.1:{port}");
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display().to_string();
        let _idp = Party::python(
            "saml-idp.py",
            &[&port.to_string(), &format!("{place}/sp.xml"), &place, sign, binding, cipher],
        );
        let narthex = NarthexBuilder::new()
            .tables(&provider(
                &format!("{home}/metadata"),
                &format!("request_signing = true\nencrypted_responses = {}", cipher != "plain"),
            ))
            .route("app", upstream.port, "")
            .start();
        std::fs::write(folder.path().join("sp.xml"), ours(&narthex).await.0).unwrap();

        let (app, browser) = (format!("{}/", narthex.origin("app")), browser::open(DESK).await);
        let arrive = async || {
            browser.goto(&app).await.unwrap();
            if binding == "post" {
                press(&browser, "form[action*='/sso'] button").await;
            }
            sign_in(&browser, "alice").await;
            until_at(&browser, &app).await;
        };
        arrive().await;
        let claims = upstream.seen()[0].claims();
        assert_eq!(
            (&claims["email"], &claims["name"]),
            (&"alice@corp.example".into(), &"Alice Example".into())
        );
        assert_eq!(claims["amr"], serde_json::json!(["pwd"]));

        // Out, from here: the provider's session ends too, and the person comes back.
        browser.goto(&format!("{app}.narthex/sign-out")).await.unwrap();
        press(&browser, "form[action*='sign-out'] button").await;
        if binding == "post" {
            press(&browser, "form[action*='/slo'] button").await;
        }
        until_at(&browser, &format!("{}/logout", narthex.origin("auth"))).await;
        let told = reqwest::get(format!("{home}/sessions")).await.unwrap().text().await.unwrap();
        assert_eq!(told, "0", "{sign} {binding}: the provider's session goes on; {}", say(&narthex).await);

        // Out, from there.
        arrive().await;
        browser.goto(&format!("{home}/leave")).await.unwrap();
        if binding == "post" {
            until_at(&browser, &format!("{}/saml2/logout/corp", narthex.origin("auth"))).await;
            press(&browser, "form[action*='/slo'] button").await;
        }
        until_at(&browser, &format!("{home}/slo")).await;
        assert!(browser.source().await.unwrap().contains("signed out everywhere"), "{}", say(&narthex).await);
        wait_until("the session's end", || narthex.audit("session_ended").len() == 1);
        browser.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pysaml2_that_reads_our_metadata_once_before_the_switch_follows_a_rotation_of_our_key() {
    let (upstream, port, folder) = (Upstream::start().await, free_port(), tempfile::tempdir().unwrap());
    let (home, place) = (format!("http://127.0.0.1:{port}"), folder.path().display().to_string());
    let _idp = Party::python(
        "saml-idp.py",
        &[&port.to_string(), &format!("{place}/sp.xml"), &place, "assertion", "redirect", "aes256-cbc"],
    );
    let more = "request_signing = true\nencrypted_responses = true";
    let narthex = NarthexBuilder::new()
        .tables(&provider(&format!("{home}/metadata"), more))
        .route("app", upstream.port, "")
        .start();
    let saml = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_narthex"));
        let output = command.arg("saml").args(arguments).current_dir(narthex.folder()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let wait_for_certificates = async |count: usize| {
        for _ in 0..600 {
            let metadata = ours(&narthex).await.0;
            if metadata.matches("use=\"signing\"").count() == count {
                return metadata;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("there are never {count} certificates");
    };
    let arrive = async || {
        let (app, browser) = (format!("{}/", narthex.origin("app")), browser::open(DESK).await);
        browser.goto(&app).await.unwrap();
        sign_in(&browser, "alice").await;
        until_at(&browser, &app).await;
        browser.close().await.unwrap();
    };
    saml(&["rotate", "--sign-after", "1d", "--keep", "1d"]);
    std::fs::write(folder.path().join("sp.xml"), wait_for_certificates(2).await).unwrap();
    arrive().await;
    // The provider requires signed requests: it verifies the new key's by the metadata that it has.
    saml(&["reschedule", "--sign-after", "0", "--keep", "0"]);
    wait_for_certificates(1).await;
    arrive().await;
    assert_eq!(narthex.audit("login").len(), 2, "{}", say(&narthex).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn simplesamlphp_signs_a_person_in_and_out_both_ways_plain_and_encrypted() {
    for (assertion, response, encrypted) in [
        (true, false, false),
        (false, true, false),
        (true, true, false),
        (true, false, true),
        (false, true, true),
        (true, true, true),
    ] {
        let upstream = Upstream::start().await;
        let idp = SimpleSamlPhp::start();
        let narthex = NarthexBuilder::new()
            .tables(&provider(&idp.metadata(), &format!("encrypted_responses = {encrypted}")))
            .route("app", upstream.port, "")
            .start();
        let at = |path: &str| format!("{}/saml2/{path}/corp", narthex.origin("auth"));
        let certificate = ours(&narthex).await.1;
        let more = format!(
            "'saml20.sign.assertion' => {assertion}, 'saml20.sign.response' => {response}, 'assertion.encryption' => {encrypted}"
        );
        idp.register_service_provider(OURS, &at("idpresponse"), &at("logout"), &certificate, &more);

        let (app, browser) = (format!("{}/", narthex.origin("app")), browser::open(DESK).await);
        let arrive = async || {
            browser.goto(&app).await.unwrap();
            sign_in(&browser, "alice").await;
            until_at(&browser, &app).await;
        };
        arrive().await;
        let claims = upstream.seen()[0].claims();
        assert_eq!(claims["email"], "alice@corp.example", "{}", say(&narthex).await);
        assert_eq!(claims["cognito:groups"], serde_json::json!(["staff", "admins"]));

        browser.goto(&format!("{app}.narthex/sign-out")).await.unwrap();
        press(&browser, "form button.primary").await;
        until_at(&browser, &format!("{}/logout", narthex.origin("auth"))).await;
        // It asks for the password again, so that its own session has ended too.
        arrive().await;
        browser.goto(&idp.logout_url()).await.unwrap();
        until_at(&browser, &format!("http://127.0.0.1:{}/", idp.port)).await;
        wait_until("the session's end", || narthex.audit("session_ended").len() == 1);
        browser.goto(&app).await.unwrap();
        browser.wait().at_most(PATIENCE).for_element(Locator::Css("input[name=username]")).await.unwrap();
        browser.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scripts_a_person_signs_in_by_buttons_alone() {
    let upstream = Upstream::start().await;
    let idp = SimpleSamlPhp::start();
    let narthex =
        NarthexBuilder::new().tables(&provider(&idp.metadata(), "")).route("app", upstream.port, "").start();
    let at = |path: &str| format!("{}/saml2/{path}/corp", narthex.origin("auth"));
    let certificate = ours(&narthex).await.1;
    idp.register_service_provider(OURS, &at("idpresponse"), &at("logout"), &certificate, "");
    let (app, browser) =
        (format!("{}/", narthex.origin("app")), browser::open(Look { scripts: false, ..DESK }).await);
    browser.goto(&app).await.unwrap();
    sign_in(&browser, "bob").await;
    press(&browser, "noscript button, noscript input[type=submit]").await;
    until_at(&browser, &app).await;
    browser.close().await.unwrap();
}
