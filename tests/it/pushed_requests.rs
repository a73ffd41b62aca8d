//! Pushed authorization requests (RFC 9126).

use crate::support::hosted::Page;
use crate::support::oauth::{CALLBACK, PASSWORD, SECRET, Scene, answer, parameter};
use crate::support::time::WallClock;
use crate::support::visitor::{assert_status, redirect_target};
use reqwest::Url;
use serde_json::Value;

const STRICT: &str = r#"
[[user_pool.client]]
name = "strict"
id = "strict"
allowed_oauth_flows = ["code"]
allowed_oauth_scopes = ["openid"]
callback_urls = ["https://spa.example/callback"]
require_pushed_requests = true
"#;

/// Pushes an authorization request of the client `spa`: the parameters, or others in their place. A
/// parameter with an empty value is left out.
async fn push(scene: &Scene, others: &[(&str, &str)]) -> (u16, Value) {
    let url: Url = scene.authorize(others).parse().unwrap();
    let fields: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    scene.post("par", &fields).await
}

fn opened(scene: &Scene, client: &str, pushed: &Value, more: &[(&str, &str)]) -> String {
    let mut url = Url::parse(&format!("{}/oauth2/authorize", scene.auth)).unwrap();
    let uri = pushed["request_uri"].as_str().unwrap();
    url.query_pairs_mut().append_pair("client_id", client).append_pair("request_uri", uri).extend_pairs(more);
    url.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_request_is_what_counts_and_gives_one_code() {
    let scene = Scene::start().await;
    let (status, pushed) = push(&scene, &[("lang", "de")]).await;
    assert_eq!((status, &pushed["expires_in"]), (201, &600.into()), "{pushed}");
    let visitor = scene.visitor();
    // What the browser brings beside it has no effect, but for the user's own choices.
    let more =
        [("redirect_uri", "https://spa.example/other?a=b"), ("scope", "openid profile"), ("state", "x")];
    let page = visitor.open(&opened(&scene, "spa", &pushed, &more)).await;
    page.assert_shows("Anmelden");
    assert!(!page.html.contains("redirect_uri") && !page.html.contains("code_challenge"), "{}", page.html);
    // A reload before the sign-in.
    let page = visitor.open(&opened(&scene, "spa", &pushed, &[("login_hint", "ada")])).await;
    assert_eq!(page.value("username"), "ada");
    let wrong = visitor.submit(&page, &[("username", "ada"), ("password", "Wrong-Horse-7-Battery")]).await;
    let back = visitor.submit_onward(&wrong, &[("username", "ada"), ("password", PASSWORD)]).await;
    let back: Url = back.parse().unwrap();
    assert!(back.as_str().starts_with(CALLBACK), "{back}");
    assert_eq!(parameter(&back, "state").as_deref(), Some("s-1 &x"));
    let (status, tokens) = scene.redeem(&parameter(&back, "code").unwrap(), &[]).await;
    assert_eq!((status, &tokens["scope"]), (200, &"openid email".into()), "{tokens}");
    // The same request gives no second code, with and without a session.
    for visitor in [&visitor, &scene.visitor()] {
        let again = visitor.get(&opened(&scene, "spa", &pushed, &[])).await;
        assert_eq!((again.status().as_u16(), redirect_target(&again)), (400, None));
        Page::of(again).await.assert_shows("This sign-in has expired");
    }
    let page = visitor.get(page.url.as_str()).await;
    assert_eq!((page.status().as_u16(), redirect_target(&page)), (400, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pages_of_one_pushed_request_give_one_code() {
    let scene = Scene::start().await;
    let (_, pushed) = push(&scene, &[]).await;
    let (one, other) = (scene.visitor(), scene.visitor());
    let pages = [
        one.open(&opened(&scene, "spa", &pushed, &[])).await,
        other.open(&opened(&scene, "spa", &pushed, &[])).await,
    ];
    let fields = [("username", "ada"), ("password", PASSWORD)];
    let back = one.submit_onward(&pages[0], &fields).await;
    assert!(back.starts_with(CALLBACK), "{back}");
    other.submit(&pages[1], &fields).await.assert_shows("This sign-in has expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_checked_as_an_authorization_request() {
    let scene = Scene::start().await;
    let long = "x".repeat(9000);
    for (others, expected) in [
        (&[("request_uri", "urn:ietf:params:oauth:request_uri:x")][..], (400, "invalid_request")),
        (&[("client_id", "nobody")], (401, "invalid_client")),
        (&[("client_id", "")], (401, "invalid_client")),
        (&[("client_id", "server")], (401, "invalid_client")),
        (
            &[("client_id", "server"), ("client_secret", "wrong-secret-of-22-characters")],
            (401, "invalid_client"),
        ),
        (&[("client_id", "server"), ("client_secret", SECRET)], (400, "invalid_request")),
        (&[("client_id", "api")], (400, "invalid_request")),
        (&[("redirect_uri", "https://evil.example/")], (400, "invalid_request")),
        (&[("redirect_uri", "")], (400, "invalid_request")),
        (&[("response_type", "token")], (400, "unsupported_response_type")),
        (&[("response_type", "")], (400, "unsupported_response_type")),
        (&[("scope", "openid admin")], (400, "invalid_scope")),
        (&[("code_challenge", "")], (400, "invalid_request")),
        (&[("code_challenge_method", "plain")], (400, "invalid_request")),
        (&[("request", "e30.e30.")], (400, "request_not_supported")),
        (&[("response_mode", "fragment")], (400, "invalid_request")),
        (&[("max_age", "soon")], (400, "invalid_request")),
        (&[("prompt", "none login")], (400, "invalid_request")),
        (&[("identity_provider", "nosuch")], (400, "invalid_request")),
        (&[("state", &long)], (413, "too_large")),
    ] {
        let (status, body) = push(&scene, others).await;
        assert_eq!((status, body["error"].as_str()), (expected.0, Some(expected.1)), "{others:?}: {body}");
    }
    let url = format!("{}/oauth2/par", scene.auth);
    let twice = scene.visitor().client.post(&url).header("content-type", "application/x-www-form-urlencoded");
    let (status, body) =
        answer(twice.body("client_id=spa&scope=openid&scope=email").send().await.unwrap()).await;
    assert_eq!((status, &body["error"]), (400, &"invalid_request".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_uri_is_its_clients_and_no_address() {
    let scene = Scene::start_with(STRICT, |builder| builder).await;
    let visitor = scene.visitor();
    let (_, pushed) = push(&scene, &[]).await;
    // Another client's, an invented one.
    let invented =
        serde_json::json!({ "request_uri": format!("urn:ietf:params:oauth:request_uri:{}", "A".repeat(43)) });
    for (client, pushed) in [("server", &pushed), ("strict", &pushed), ("spa", &invented)] {
        let response = visitor.get(&opened(&scene, client, pushed, &[])).await;
        assert_eq!((response.status().as_u16(), redirect_target(&response)), (400, None), "{client}");
    }
    // Nothing fetches an address.
    let address = scene.authorize(&[("request_uri", "https://spa.example/request.jwt")]);
    let refused: Url = redirect_target(&visitor.get(&address).await).unwrap().parse().unwrap();
    assert_eq!(parameter(&refused, "error").as_deref(), Some("request_uri_not_supported"));
    // A client that must push.
    let plain = [("client_id", "strict"), ("scope", "openid")];
    let refused: Url =
        redirect_target(&visitor.get(&scene.authorize(&plain)).await).unwrap().parse().unwrap();
    assert_eq!(parameter(&refused, "error").as_deref(), Some("invalid_request"));
    assert_eq!(parameter(&refused, "state").as_deref(), Some("s-1 &x"));
    let login = scene.authorize(&plain).replace("/oauth2/authorize", "/login");
    assert!(redirect_target(&visitor.get(&login).await).is_some_and(|to| to.contains("invalid_request")));
    let (status, pushed) = push(&scene, &plain).await;
    assert_eq!(status, 201, "{pushed}");
    assert_status(&visitor.get(&opened(&scene, "strict", &pushed, &[])).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_opened_within_ten_minutes_and_completed_within_a_day() {
    let clock = WallClock::new();
    let scene = Scene::start_with("", |builder| clock.apply_to(builder)).await;
    let visitor = scene.visitor();
    let (_, late) = push(&scene, &[]).await;
    let (_, opened_in_time) = push(&scene, &[]).await;
    let (late, in_time) = (opened(&scene, "spa", &late, &[]), opened(&scene, "spa", &opened_in_time, &[]));
    assert_status(&visitor.get(&in_time).await, 200);
    clock.jump(&scene.api.narthex, "+601");
    assert_status(&visitor.get(&late).await, 400);
    assert_status(&visitor.get(&in_time).await, 200);
    clock.jump(&scene.api.narthex, "+86402");
    assert_status(&visitor.get(&in_time).await, 400);
}
