//! Sign-ins in Chromium at LemonLDAP::NG, by OpenID Connect and by SAML.

use crate::support::browser::{self, DESK};
use crate::support::lemonldap::{LemonLdap, RelyingParty};
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::process::wait_until;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status};
use fantoccini::{Client, Locator};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Waits until the page is at `url`, or below.
async fn until_at(browser: &Client, narthex: &Narthex, url: &str) {
    let mut at = String::new();
    for _ in 0..600 {
        at = browser.current_url().await.unwrap().to_string();
        if at.starts_with(url) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let failed = narthex.audit("login_failed");
    panic!("at {at} in the place of {url}: {failed:?}\n{}", browser.source().await.unwrap());
}

async fn press(browser: &Client, selector: &str) {
    let button = browser.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await.unwrap();
    button.click().await.unwrap();
}

/// Fills in the portal's form.
async fn sign_in(browser: &Client, user: &str) {
    let field = browser.wait().at_most(PATIENCE).for_element(Locator::Css("input[name=user]")).await;
    let Ok(field) = field else { panic!("no form to sign in:\n{}", browser.source().await.unwrap()) };
    field.send_keys(user).await.unwrap();
    let password = browser.wait().for_element(Locator::Css("input[name=password]")).await.unwrap();
    password.send_keys(&format!("{user}\n")).await.unwrap();
}

/// Whether the portal asks a visitor of it to sign in.
async fn is_signed_out_there(browser: &Client, lemon: &LemonLdap) -> bool {
    browser.goto(&format!("{}/", lemon.issuer())).await.unwrap();
    browser.find(Locator::Css("input[name=user]")).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn lemonldap_signs_people_in_and_out_by_openid_connect_and_by_saml() {
    let upstream = Upstream::start().await;
    let mut lemon = LemonLdap::new();
    let issuer = lemon.issuer();
    let builder = NarthexBuilder::new()
        .environment("LEMON_SECRET", "secret")
        .tables(&format!(
            "[[provider]]\nname = \"openid\"\ndisplay_name = \"OpenID\"\ntype = \"oidc\"\nissuer = \"{issuer}\"\n\
             client_id = \"narthex\"\nclient_secret = {{ env = \"LEMON_SECRET\" }}\nallow = \"anyone\"\n\
             [[provider]]\nname = \"saml\"\ndisplay_name = \"SAML\"\ntype = \"saml\"\n\
             metadata = \"{issuer}/saml/metadata\"\nentity_id = \"urn:narthex:test\"\nrequest_signing = true\n\
             allow = \"anyone\"\n[provider.attributes]\nemail = \"mail\"\nname = \"cn\"\n"
        ))
        .route("app", upstream.port, "");
    let callback = builder.callback("openid");
    let narthex = builder.start();
    let app = format!("{}/", narthex.origin("app"));
    let saml_metadata = {
        let answer =
            Visitor::new(&narthex).get(&format!("{}/saml2/metadata/saml", narthex.origin("auth"))).await;
        assert_status(&answer, 200);
        answer.text().await.unwrap()
    };
    lemon.start(&RelyingParty {
        redirect_uri: &callback,
        signed_out: &format!("{}/logout", narthex.origin("auth")),
        saml_metadata: &saml_metadata,
    });

    // Narthex asked for its metadata when it started, and asks again ten seconds later.
    let visitor = Visitor::new(&narthex);
    for provider in ["openid", "saml"] {
        let mut answer = visitor.follow(&app).await.text().await.unwrap();
        let begins = answer.split('"').find(|text| text.contains(&format!("identity_provider={provider}")));
        let begins = begins.expect("a provider to choose").replace("&amp;", "&").replace("&#38;", "&");
        for _ in 0..200 {
            answer = visitor.follow(&begins).await.text().await.unwrap();
            if answer.contains("name=\"user\"") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert!(answer.contains("name=\"user\""), "{provider}: {answer}\n{}", narthex.log());
    }

    let browser = browser::open(DESK).await;
    let arrive = async |provider: &str| {
        browser.goto(&app).await.unwrap();
        press(&browser, &format!("a[href*='{provider}']")).await;
        sign_in(&browser, "dwho").await;
        until_at(&browser, &narthex, &app).await;
        let claims = upstream.seen().last().unwrap().claims();
        assert_eq!(claims["email"], "dwho@badwolf.org", "{provider}");
        assert_eq!(claims["name"], "Doctor Who", "{provider}");
    };
    for provider in ["openid", "saml"] {
        arrive(provider).await;
        // Out, from here: the portal's session ends too.
        browser.goto(&format!("{app}.narthex/sign-out")).await.unwrap();
        press(&browser, "form[action*='sign-out'] button").await;
        if provider == "openid" {
            press(&browser, "form.confirm button.positive").await;
        }
        until_at(&browser, &narthex, &format!("{}/logout", narthex.origin("auth"))).await;
        assert!(is_signed_out_there(&browser, &lemon).await, "{provider}: the portal's session goes on");
    }
    // Out, from there: LemonLDAP::NG 2.16 notifies relying parties by SAML.
    let ended = narthex.audit("session_ended").len();
    arrive("saml").await;
    browser.goto(&format!("{issuer}/?logout=1")).await.unwrap();
    wait_until("the session's end", || narthex.audit("session_ended").len() > ended);
    browser.goto(&app).await.unwrap();
    browser.wait().at_most(PATIENCE).for_element(Locator::Css("a[href*='openid']")).await.unwrap();
    // An account that it does not know, and a wrong password, sign nobody in.
    press(&browser, "a[href*='openid']").await;
    sign_in(&browser, "nobody").await;
    browser.wait().at_most(PATIENCE).for_element(Locator::Css("input[name=user]")).await.unwrap();
    browser.close().await.unwrap();
}
