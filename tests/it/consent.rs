//! The page that asks a user whether an app client may have its scopes.

use crate::support::hosted::Page;
use crate::support::oauth::{PASSWORD, Scene, create_user, parameter};
use crate::support::visitor::{Visitor, assert_status, redirect_target};
use reqwest::Url;
use serde_json::json;

const PARTNER: &str = r#"
[[user_pool.client]]
name = "partner"
id = "partner"
allowed_oauth_flows = ["code"]
allowed_oauth_scopes = ["openid", "email", "profile"]
callback_urls = ["https://spa.example/callback"]
auth_flows = ["ALLOW_REFRESH_TOKEN_AUTH"]
require_consent = true
"#;

fn authorize(scene: &Scene, others: &[(&str, &str)]) -> String {
    let mut all = vec![("client_id", "partner")];
    all.extend_from_slice(others);
    scene.authorize(&all)
}

/// Signs `ada` in. Returns the page that asks for consent.
async fn asked(scene: &Scene, visitor: &Visitor, others: &[(&str, &str)]) -> Page {
    let page = visitor.open(&authorize(scene, others)).await;
    let onward = visitor.submit_onward(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
    assert!(onward.starts_with(&format!("{}/consent?", scene.auth)), "{onward}");
    visitor.open(&onward).await
}

async fn silent(scene: &Scene, visitor: &Visitor, others: &[(&str, &str)]) -> Url {
    let mut all = vec![("prompt", "none")];
    all.extend_from_slice(others);
    redirect_target(&visitor.get(&authorize(scene, &all)).await).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_its_code_after_the_users_consent_and_none_after_its_withdrawal() {
    let scene = Scene::start_with(PARTNER, |builder| builder).await;
    let visitor = scene.visitor();
    let page = asked(&scene, &visitor, &[]).await;
    page.assert_shows("partner asks for access to your account");
    page.assert_shows("your e-mail address");
    assert!(!page.html.contains("your profile"), "{}", page.html);
    // Nothing is given before the decision, whatever the address.
    let refused = silent(&scene, &visitor, &[]).await;
    assert_eq!(parameter(&refused, "error").as_deref(), Some("consent_required"));
    assert_eq!(parameter(&refused, "state").as_deref(), Some("s-1 &x"));
    for path in ["/oauth2/authorize", "/login"] {
        let url = authorize(&scene, &[]).replace("/oauth2/authorize", path);
        let foreign = visitor.client.get(url).header("sec-fetch-site", "cross-site").send().await.unwrap();
        assert!(redirect_target(&foreign).is_some_and(|to| to.contains("/consent?")), "{path}");
    }
    let back: Url = visitor.submit_onward(&page, &[("decision", "allow")]).await.parse().unwrap();
    let (status, tokens) =
        scene.redeem(&parameter(&back, "code").unwrap(), &[("client_id", "partner")]).await;
    assert_eq!((status, &tokens["scope"]), (200, &json!("openid email")), "{tokens}");
    // Asked once; again for more, and where the client demands it.
    assert!(parameter(&silent(&scene, &visitor, &[]).await, "code").is_some());
    assert!(parameter(&silent(&scene, &visitor, &[("scope", "openid")]).await, "code").is_some());
    let more = silent(&scene, &visitor, &[("scope", "openid profile")]).await;
    assert_eq!(parameter(&more, "error").as_deref(), Some("consent_required"));
    let again = visitor.open(&authorize(&scene, &[("prompt", "consent")])).await;
    again.assert_shows("asks for access to your account");
    let back = visitor.submit_onward(&again, &[("decision", "allow")]).await;
    assert!(back.starts_with("https://spa.example/callback?code="), "{back}");
    // The list of sessions has it, and withdraws it: the refresh token ends.
    let sessions = visitor.open(&format!("{}/sessions", scene.auth)).await;
    sessions.assert_shows("Apps with access");
    let withdraw = visitor.client.post(format!("{}/sessions", scene.auth)).header("origin", &scene.auth);
    assert_status(&withdraw.form(&[("withdraw", "partner")]).send().await.unwrap(), 303);
    let sessions = visitor.open(&format!("{}/sessions", scene.auth)).await;
    assert!(!sessions.html.contains("Apps with access"));
    let refused = silent(&scene, &visitor, &[]).await;
    assert_eq!(parameter(&refused, "error").as_deref(), Some("consent_required"));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let refresh = [("grant_type", "refresh_token"), ("client_id", "partner"), ("refresh_token", refresh)];
    assert_eq!(scene.token(&refresh).await.1["error"], "invalid_grant");
    assert_eq!(scene.api.narthex.audit("consent_withdrawn").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_is_the_users_own_and_can_be_refused() {
    let scene = Scene::start_with(PARTNER, |builder| builder).await;
    create_user(&mut scene.api.boto(), &scene.api.pool_id(), "bob");
    let visitor = scene.visitor();
    let page = asked(&scene, &visitor, &[]).await;
    let consent = page.url.clone();
    // The form of another site.
    let foreign = visitor.client.post(consent.clone()).header("origin", "https://evil.example");
    assert_status(&foreign.form(&[("decision", "allow")]).send().await.unwrap(), 400);
    // A form without a decision, or with another one, is a refusal.
    for decision in ["", "deny", "ALLOW", "allow2"] {
        let back: Url = visitor.submit_onward(&page, &[("decision", decision)]).await.parse().unwrap();
        assert_eq!(parameter(&back, "error").as_deref(), Some("access_denied"), "{decision:?}");
        assert_eq!(parameter(&back, "state").as_deref(), Some("s-1 &x"));
        assert!(parameter(&back, "iss").is_some());
    }
    // Nobody else's browser has consented, with or without a session.
    let stranger = scene.visitor();
    let sent = stranger.client.post(consent.clone()).header("origin", &scene.auth);
    let sent = sent.form(&[("decision", "allow")]).send().await.unwrap();
    assert!(redirect_target(&sent).is_some_and(|to| to.contains("/oauth2/authorize?")));
    let page = visitor.open(consent.as_str()).await;
    visitor.submit_onward(&page, &[("decision", "allow")]).await;
    let page = stranger.open(&authorize(&scene, &[])).await;
    let onward = stranger.submit_onward(&page, &[("username", "bob"), ("password", PASSWORD)]).await;
    assert!(onward.contains("/consent?"), "{onward}");
    // The page's address is checked as an authorization request, and is none of other clients'.
    let mut evil = consent.clone();
    let pairs: Vec<(String, String)> = consent.query_pairs().into_owned().collect();
    let pairs = pairs.into_iter().map(|(name, value)| {
        let value = if name == "redirect_uri" { "https://evil.example/".to_owned() } else { value };
        (name, value)
    });
    evil.query_pairs_mut().clear().extend_pairs(pairs.collect::<Vec<_>>());
    let refused = visitor.get(evil.as_str()).await;
    assert_eq!((refused.status().as_u16(), redirect_target(&refused)), (400, None));
    assert_status(&visitor.get(&format!("{}/consent", scene.auth)).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_request_is_asked_about_and_gives_one_code() {
    let scene = Scene::start_with(PARTNER, |builder| builder).await;
    let visitor = scene.visitor();
    let url: Url = authorize(&scene, &[("prompt", "consent")]).parse().unwrap();
    let fields: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (status, pushed) = scene.post("par", &fields).await;
    assert_eq!(status, 201, "{pushed}");
    let uri = pushed["request_uri"].as_str().unwrap();
    let page =
        visitor.open(&format!("{}/oauth2/authorize?client_id=partner&request_uri={uri}", scene.auth)).await;
    let onward = visitor.submit_onward(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
    let page = visitor.open(&onward).await;
    page.assert_shows("asks for access to your account");
    assert!(!page.html.contains("redirect_uri"), "{}", page.html);
    let back = visitor.submit_onward(&page, &[("decision", "allow")]).await;
    assert!(back.starts_with("https://spa.example/callback?code="), "{back}");
    visitor.submit(&page, &[("decision", "allow")]).await.assert_shows("This sign-in has expired");
}
