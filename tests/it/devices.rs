//! Devices without a browser (RFC 8628).

use crate::support::hosted::Page;
use crate::support::oauth::{PASSWORD, SECRET, Scene, answer, create_user};
use crate::support::time::WallClock;
use crate::support::visitor::{Visitor, assert_status, redirect_target};
use serde_json::{Value, json};

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const TV: &str = r#"
[[user_pool.client]]
name = "living-room-tv"
id = "tv"
device_authorization = true
allowed_oauth_scopes = ["openid", "email"]
auth_flows = ["ALLOW_REFRESH_TOKEN_AUTH"]
[[user_pool.client]]
name = "box"
id = "box"
secret = "a-secret-of-more-than-22-characters"
device_authorization = true
allowed_oauth_scopes = ["openid"]
"#;

async fn begin(scene: &Scene) -> Value {
    let (status, begun) =
        scene.post("device_authorization", &[("client_id", "tv"), ("scope", "openid email")]).await;
    assert_eq!(status, 200, "{begun}");
    begun
}

async fn poll(scene: &Scene, begun: &Value, others: &[(&str, &str)]) -> (u16, Value) {
    let usual = [
        ("grant_type", DEVICE_GRANT),
        ("client_id", "tv"),
        ("device_code", begun["device_code"].as_str().unwrap()),
    ];
    let is_other = |name: &str| others.iter().any(|(other, _)| *other == name);
    let kept = usual.into_iter().filter(|(name, _)| !is_other(name));
    let all: Vec<_> = kept.chain(others.iter().copied()).filter(|(_, value)| !value.is_empty()).collect();
    scene.token(&all).await
}

fn error(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"].as_str().unwrap_or_default())
}

/// Enters the code of a device and signs `ada` in. Returns the page that asks for the decision.
async fn enter(scene: &Scene, visitor: &Visitor, begun: &Value) -> Page {
    let page = visitor.open(begun["verification_uri"].as_str().unwrap()).await;
    page.assert_shows("Enter the code that your device shows.");
    let code = begun["user_code"].as_str().unwrap().to_lowercase().replace('-', " ");
    let sign_in = visitor.open(&visitor.submit_onward(&page, &[("user_code", &code)]).await).await;
    sign_in.assert_shows("living-room-tv");
    assert!(sign_in.url.path().starts_with("/oauth2/authorize"), "{}", sign_in.url);
    let onward = visitor.submit_onward(&sign_in, &[("username", "ada"), ("password", PASSWORD)]).await;
    assert!(onward.starts_with(&format!("{}/device?", scene.auth)), "{onward}");
    visitor.open(&onward).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_gets_its_tokens_when_its_user_allows_it() {
    let clock = WallClock::new();
    let scene = Scene::start_with(TV, |builder| clock.apply_to(builder)).await;
    let begun = begin(&scene).await;
    assert_eq!((&begun["expires_in"], &begun["interval"]), (&json!(600), &json!(5)));
    let code = begun["user_code"].as_str().unwrap();
    assert!(code.len() == 9 && code.as_bytes()[4] == b'-', "{code}");
    let complete = format!("{}?user_code={code}", begun["verification_uri"].as_str().unwrap());
    assert_eq!(begun["verification_uri_complete"], complete);
    assert_eq!(error(&poll(&scene, &begun, &[]).await), (400, "authorization_pending"));
    // Too early: the interval grows by 5 seconds.
    assert_eq!(error(&poll(&scene, &begun, &[]).await), (400, "slow_down"));
    clock.jump(&scene.api.narthex, "+6");
    assert_eq!(error(&poll(&scene, &begun, &[]).await), (400, "slow_down"));
    let visitor = scene.visitor();
    let page = enter(&scene, &visitor, &begun).await;
    page.assert_shows("living-room-tv asks for access to your account");
    page.assert_shows(code);
    page.assert_shows("your e-mail address");
    page.assert_shows("ada");
    clock.jump(&scene.api.narthex, "+30");
    assert_eq!(error(&poll(&scene, &begun, &[]).await), (400, "authorization_pending"));
    visitor.submit(&page, &[("decision", "allow")]).await.assert_shows("Your device is connected");
    clock.jump(&scene.api.narthex, "+60");
    let (status, tokens) = poll(&scene, &begun, &[]).await;
    assert_eq!((status, &tokens["scope"]), (200, &json!("openid email")), "{tokens}");
    let (_, user) = scene.user_info(&tokens["access_token"]).await;
    assert_eq!(user["email"], "ada@example.com");
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let refresh = [("grant_type", "refresh_token"), ("client_id", "tv"), ("refresh_token", refresh)];
    assert_eq!(scene.token(&refresh).await.0, 200);
    // The code is used, by the device and by the user.
    clock.jump(&scene.api.narthex, "+90");
    assert_eq!(error(&poll(&scene, &begun, &[]).await), (400, "invalid_grant"));
    visitor.open(&complete).await.assert_shows("This code is wrong, was used, or has expired.");
    visitor.submit(&page, &[("decision", "deny")]).await.assert_shows("This code is wrong, was used");
    let decided = scene.api.narthex.audit("device_decided");
    assert_eq!(
        (decided.len(), &decided[0]["client_id"], &decided[0]["is_allowed"]),
        (1, &json!("tv"), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_or_late_device_gets_nothing() {
    let clock = WallClock::new();
    let scene = Scene::start_with(TV, |builder| clock.apply_to(builder)).await;
    let (denied, signed_out, late) = (begin(&scene).await, begin(&scene).await, begin(&scene).await);
    let visitor = scene.visitor();
    let page = enter(&scene, &visitor, &denied).await;
    visitor.submit(&page, &[("decision", "deny")]).await.assert_shows("Your device is not connected");
    assert_eq!(error(&poll(&scene, &denied, &[]).await), (400, "access_denied"));
    // With the session that the user has; a sign-out takes the decision back.
    let page = visitor.open(signed_out["verification_uri_complete"].as_str().unwrap()).await;
    visitor.submit(&page, &[("decision", "allow")]).await.assert_shows("Your device is connected");
    let sign_out = visitor.open(&format!("{}/logout", scene.auth)).await;
    let signed_out_page = visitor.submit_onward(&sign_out, &[]).await;
    visitor.open(&signed_out_page).await.assert_shows("You are signed out");
    assert_eq!(error(&poll(&scene, &signed_out, &[]).await), (400, "access_denied"));
    clock.jump(&scene.api.narthex, "+601");
    assert_eq!(error(&poll(&scene, &late, &[]).await), (400, "expired_token"));
    let page = visitor.open(late["verification_uri_complete"].as_str().unwrap()).await;
    page.assert_shows("This code is wrong, was used, or has expired.");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoints_for_devices_refuse_what_does_not_fit() {
    let scene = Scene::start_with(TV, |builder| builder).await;
    for (fields, expected) in [
        (&[("client_id", "tv"), ("scope", "openid profile")][..], (400, "invalid_scope")),
        (&[("client_id", "tv"), ("scope", "email")], (400, "invalid_scope")),
        (&[("client_id", "spa")], (400, "unauthorized_client")),
        (&[("client_id", "box")], (401, "invalid_client")),
        (&[("client_id", "nobody")], (401, "invalid_client")),
        (&[], (401, "invalid_client")),
    ] {
        assert_eq!(error(&scene.post("device_authorization", fields).await), expected, "{fields:?}");
    }
    let begun = begin(&scene).await;
    for (others, expected) in [
        (&[("device_code", "")][..], (400, "invalid_request")),
        (&[("device_code", "nonsense")], (400, "invalid_grant")),
        (&[("device_code", &*"A".repeat(43))], (400, "invalid_grant")),
        (&[("client_id", "box"), ("client_secret", SECRET)], (400, "invalid_grant")),
        (&[("client_id", "spa")], (400, "unauthorized_client")),
        (&[("grant_type", "device_code")], (400, "unsupported_grant_type")),
    ] {
        assert_eq!(error(&poll(&scene, &begun, others).await), expected, "{others:?}");
    }
    // None of these counted as a poll of the device.
    assert_eq!(error(&poll(&scene, &begun, &[]).await), (400, "authorization_pending"));
    // A device's request ends in no code for anybody.
    let visitor = scene.visitor();
    let code = begun["user_code"].as_str().unwrap();
    let spa = format!("{}/oauth2/authorize?client_id=spa&user_code={code}", scene.auth);
    assert_status(&visitor.get(&spa).await, 400);
    let silent = format!("{}/oauth2/authorize?client_id=tv&user_code={code}&prompt=none", scene.auth);
    assert_status(&visitor.get(&silent).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_needs_the_users_own_form_and_guesses_are_limited() {
    let scene = Scene::start_with(TV, |builder| builder).await;
    let begun = begin(&scene).await;
    let visitor = scene.visitor();
    let page = enter(&scene, &visitor, &begun).await;
    // The form of another site, and one without a session.
    let url = format!("{}/device/decision", scene.auth);
    let form = [("user_code", begun["user_code"].as_str().unwrap()), ("decision", "allow")];
    let foreign = visitor.client.post(&url).header("origin", "https://evil.example").form(&form);
    assert_status(&foreign.send().await.unwrap(), 400);
    let stranger = scene.visitor();
    let own = stranger.client.post(&url).header("origin", &scene.auth).form(&form).send().await.unwrap();
    assert!(redirect_target(&own).is_some_and(|to| to.contains("/oauth2/authorize?client_id=tv")));
    assert_eq!(error(&poll(&scene, &begun, &[]).await), (400, "authorization_pending"));
    assert!(page.html.contains("device/decision"));
    // 100 wrong codes at once; then the right one has to wait, too.
    let mut wrong = 0;
    let guess = |number: usize| {
        let letters = b"BCDFGHJKLMNPQRSTVWXZ";
        let letter = |digit: usize| char::from(letters[digit % 20]);
        format!("{}/device?user_code=BBBBBB{}{}", scene.auth, letter(number / 20), letter(number))
    };
    while stranger.get(&guess(wrong)).await.status() == 200 {
        wrong += 1;
        assert!(wrong < 150, "no limit");
    }
    assert!(wrong >= 90, "{wrong}");
    let right = stranger.get(begun["verification_uri_complete"].as_str().unwrap()).await;
    assert_eq!(right.status(), 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_and_two_users_do_not_meet() {
    let scene = Scene::start_with(TV, |builder| builder).await;
    create_user(&mut scene.api.boto(), &scene.api.pool_id(), "bob");
    let (one, other) = (begin(&scene).await, begin(&scene).await);
    assert_ne!(one["user_code"], other["user_code"]);
    let visitor = scene.visitor();
    let page = enter(&scene, &visitor, &one).await;
    visitor.submit(&page, &[("decision", "allow")]).await.assert_shows("Your device is connected");
    let url = format!("{}/oauth2/token", scene.auth);
    let form = |begun: &Value| {
        let code = begun["device_code"].as_str().unwrap().to_owned();
        [("grant_type", DEVICE_GRANT.to_owned()), ("client_id", "tv".to_owned()), ("device_code", code)]
    };
    // Both of one device's requests at once: one gets tokens.
    let client = scene.visitor().client;
    let send = || async { answer(client.post(&url).form(&form(&one)).send().await.unwrap()).await };
    let both = tokio::join!(send(), send());
    let successes = [&both.0, &both.1].into_iter().filter(|answer| answer.0 == 200).count();
    assert_eq!(successes, 1, "{both:?}");
    assert_eq!(error(&poll(&scene, &other, &[]).await), (400, "authorization_pending"));
}
