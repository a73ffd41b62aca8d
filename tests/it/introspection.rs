//! API clients with opaque tokens, and those that send a token as a password.

use crate::support::config_errors::assert_each_reported;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::odd_provider::OddProvider;
use crate::support::time::unix_seconds;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use serde_json::{Value, json};
use std::sync::Arc;

struct Scene {
    provider: Arc<OddProvider>,
    narthex: Narthex,
    upstream: Upstream,
}

async fn scene(keys: &str, route: &str) -> Scene {
    let (provider, upstream) = (OddProvider::start().await, Upstream::start().await);
    let at = &provider.address;
    let narthex = NarthexBuilder::new()
        .tables(&format!(
            "[[issuer]]\nname = \"api\"\nurl = \"{at}\"\naudience = \"photos-api\"\n\
             introspection = \"{at}/introspect\"\n{keys}\n"
        ))
        .route("app", upstream.port, &format!("bearer = true\n{route}"))
        .start();
    Scene { provider, narthex, upstream }
}

impl Scene {
    async fn bring(&self, authorization: &str) -> reqwest::Response {
        let client = Visitor::new(&self.narthex).client;
        let request = client.get(format!("{}/x", self.narthex.origin("app")));
        request.header(AUTHORIZATION, authorization).send().await.unwrap()
    }

    fn answers(&self, tokens: &[(&str, Value)]) {
        self.provider.configure(|oddity| {
            oddity.tokens =
                tokens.iter().map(|(token, answer)| (token.to_string(), answer.clone())).collect();
        });
    }

    fn asked(&self) -> usize {
        self.provider.received("/introspect").len()
    }
}

/// The answer for a good token, with these members in their place or beside them; null takes one
/// out.
fn active(members: Value) -> Value {
    let mut answer = json!({
        "active": true, "sub": "ann", "aud": ["photos-api"], "scope": "photos:read", "client_id": "spa",
        "exp": unix_seconds() + 300, "token_type": "Bearer",
    });
    answer.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    answer.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opaque_token_is_believed_as_far_as_its_issuer_says() {
    let scene =
        scene("client_id = \"gateway\"\nclient_secret = \"a b:c\"\nscopes = [\"photos:read\"]\n", "").await;
    let now = unix_seconds();
    let at = scene.provider.address.clone();
    let cases = [
        ("good", active(json!({})), 200, ""),
        ("whole", active(json!({"iss": at, "nbf": now - 5, "iat": now - 5})), 200, ""),
        ("endless", active(json!({"exp": null})), 200, ""),
        ("by_client", active(json!({"aud": null, "client_id": "photos-api"})), 200, ""),
        ("by_client2", active(json!({"aud": [], "client_id": "photos-api"})), 200, ""),
        ("inactive", json!({"active": false}), 401, "not active"),
        ("text", active(json!({"active": "true"})), 401, "not active"),
        ("silent", active(json!({"active": null})), 401, "not active"),
        ("others", active(json!({"aud": "mail-api"})), 401, "somebody else"),
        ("nobodys", active(json!({"aud": null})), 401, "somebody else"),
        ("foreign", active(json!({"iss": "https://other.example"})), 401, "no [[issuer]]"),
        ("over", active(json!({"exp": now - 70})), 401, "has ended"),
        ("early", active(json!({"nbf": now + 300})), 401, "not valid yet"),
        ("subjectless", active(json!({"sub": null})), 401, "speaks for nobody"),
        ("refresh", active(json!({"token_use": "refresh_token"})), 401, "no access token"),
        ("refresh2", active(json!({"typ": "Refresh"})), 401, "no access token"),
        ("refresh3", active(json!({"token_type": "REFRESH_TOKEN"})), 401, "no access token"),
        ("id", active(json!({"token_type": "id_token"})), 401, "no access token"),
        ("mac", active(json!({"token_type": "mac"})), 401, "no access token"),
        ("list", active(json!({"token_type": ["Bearer"]})), 401, "no access token"),
        ("event", active(json!({"events": {}})), 401, "no access token"),
        ("hydra", active(json!({"token_use": "access_token"})), 200, ""),
        ("bound", active(json!({"cnf": {"x5t#S256": "x"}})), 401, "bound to a key"),
        ("dpop", active(json!({"token_type": "DPoP"})), 401, "bound to a key"),
        ("narrow", active(json!({"scope": "mail"})), 403, "lacks the scope"),
    ];
    let tokens: Vec<_> = cases.iter().map(|(token, answer, ..)| (*token, answer.clone())).collect();
    scene.answers(&tokens);
    for (token, _, status, why) in &cases {
        let answer = scene.bring(&format!("Bearer {token}")).await;
        assert_eq!(answer.status(), *status, "{token}");
        if *status != 200 {
            let reason = scene.narthex.audit("request_refused").pop().unwrap()["reason"].to_string();
            assert!(reason.contains(why), "{token}: {reason}");
        }
    }
    let asked = scene.provider.received("/introspect");
    assert_eq!(asked.len(), cases.len());
    let credentials = format!("Basic {}", STANDARD.encode("gateway:a+b%3Ac"));
    assert_eq!(asked[0].authorization.as_deref(), Some(&*credentials));
    assert_eq!((&*asked[0].form["token"], &*asked[0].form["token_type_hint"]), ("good", "access_token"));
    let told = scene.upstream.seen()[0].claims();
    assert_eq!(told["identities"][0]["userId"], "ann", "{told}");
    // What is no token, and what another issuer has issued, is not sent there.
    let foreign =
        scene.provider.sign(&[], &json!({"iss": "https://other.example", "sub": "ann", "exp": now + 300}));
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", foreign.split('.').nth(1).unwrap());
    let changed = format!("{foreign}~");
    for token in ["a b", "caf\u{e9}", "x\"y", &"x".repeat(9000), &foreign, &unsigned, &changed] {
        let answer = scene.bring(&format!("Bearer {token}")).await;
        assert!(matches!(answer.status().as_u16(), 400 | 401 | 431), "{token}");
    }
    assert_eq!(scene.asked(), cases.len());
    // A JWT of this very issuer, for which the file names no keys, is asked about.
    let own =
        scene.provider.sign(&[], &json!({"iss": at, "sub": "ann", "aud": "photos-api", "exp": now + 300}));
    assert_status(&scene.bring(&format!("Bearer {own}")).await, 401);
    assert_eq!(scene.asked(), cases.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_used_for_a_while_and_asked_for_once() {
    let scene = scene("introspection_cache = \"2s\"\n", "").await;
    scene.answers(&[("one", active(json!({})))]);
    let all = futures_util::future::join_all((0..50).map(|_| scene.bring("Bearer one"))).await;
    all.iter().for_each(|answer| assert_status(answer, 200));
    assert_eq!(scene.asked(), 1, "fifty requests wait for one call");
    futures_util::future::join_all((0..20).map(|_| scene.bring("Bearer unknown"))).await;
    assert_eq!(scene.asked(), 2, "so it is with a token that is not active");
    // It is revoked: that is noticed when the answer is too old.
    scene.answers(&[]);
    assert_status(&scene.bring("Bearer one").await, 200);
    let begun = std::time::Instant::now();
    while scene.bring("Bearer one").await.status() == 200 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "the answer is used for ever");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    // An endpoint that does not answer, or not to us, says nothing of the token.
    for (status, body) in [(503, "{}"), (401, "{}"), (200, "<html>"), (302, "")] {
        scene.provider.configure(|oddity| {
            drop(oddity.answers.insert("/introspect", (status, "text/html", body.into())))
        });
        assert_status(&scene.bring(&format!("Bearer down{status}")).await, 503);
    }
    scene.narthex.wait_for_log("help: check `client_id`, `client_secret`");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_small_and_names_no_member_twice() {
    let scene = scene("", "").await;
    let good = active(json!({})).to_string();
    let more = |members: &str| good.replacen('{', &format!("{{{members},"), 1);
    for (token, body, status) in [
        ("plain", good.clone(), 200),
        ("beside", more("\"x\":{\"a\":1,\"b\":1}"), 200),
        ("twice", more("\"sub\":\"bob\""), 503),
        ("twice-within", more("\"x\":{\"a\":1,\"a\":1}"), 503),
        ("large", more(&format!("\"x\":\"{}\"", "x".repeat(60 << 10))), 200),
        ("too-large", more(&format!("\"x\":\"{}\"", "x".repeat(65 << 10))), 503),
    ] {
        scene
            .provider
            .configure(|oddity| drop(oddity.answers.insert("/introspect", (200, "application/json", body))));
        assert_eq!(scene.bring(&format!("Bearer {token}")).await.status(), status, "{token}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_as_a_password_where_the_route_says_so() {
    let basic =
        |user: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let open = scene("", "basic_password = \"token\"\naccess_token = true").await;
    open.answers(&[("one", active(json!({})))]);
    for user in ["git", "", "x-token:not"] {
        let (user, password) = if user.contains(':') { ("x", "one:not") } else { (user, "one") };
        let answer = open.bring(&basic(user, password)).await;
        assert_status(&answer, if password == "one" { 200 } else { 401 });
    }
    assert_status(&open.bring("Bearer one").await, 200);
    // A browser adds a password that it remembers to the requests of other pages.
    for (site, status) in [("same-origin", 200), ("none", 200), ("same-site", 400), ("cross-site", 400)] {
        let client = Visitor::new(&open.narthex).client;
        let request = client.post(format!("{}/x", open.narthex.origin("app")));
        let request = request.header(AUTHORIZATION, basic("git", "one")).header("sec-fetch-site", site);
        assert_status(&request.send().await.unwrap(), status);
    }
    // The app gets the token where it is to, and no password.
    for seen in open.upstream.seen() {
        assert_eq!(
            (seen.header_values("authorization").len(), seen.header("x-amzn-oidc-accesstoken")),
            (0, "one")
        );
    }
    let challenge =
        |answer: &reqwest::Response| answer.headers()[WWW_AUTHENTICATE].to_str().unwrap().to_owned();
    let refused = open.bring(&basic("git", "two")).await;
    assert_eq!(
        (refused.status().as_u16(), challenge(&refused).as_str()),
        (401, "Basic realm=\"narthex\", charset=\"UTF-8\"")
    );
    let refused = open.bring("Bearer two").await;
    assert_eq!(challenge(&refused), "Bearer realm=\"narthex\", error=\"invalid_token\"");
    // A client that sends nothing is asked for a password, and a browser's script is not.
    let bare = async |headers: &[(&'static str, &'static str)]| {
        let client = Visitor::new(&open.narthex).client;
        let mut request = client.get(format!("{}/x", open.narthex.origin("app")));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    };
    assert_eq!(challenge(&bare(&[]).await), "Basic realm=\"narthex\", charset=\"UTF-8\"");
    assert_eq!(challenge(&bare(&[("sec-fetch-mode", "cors")]).await), "Bearer realm=\"narthex\"");
    assert_status(&open.bring("Basic %%%").await, 400);
    assert_status(&open.bring(&format!("Basic {}", STANDARD.encode("nocolon"))).await, 400);

    let closed = scene("", "").await;
    closed.answers(&[("one", active(json!({})))]);
    assert_status(&closed.bring(&basic("git", "one")).await, 401);
    assert_eq!(closed.asked(), 0);
}

const GOOD: &str = r#"public_url = "https://auth.example.com"

[[issuer]]
name = "api"
url = "https://idp.example.com"
audience = "photos-api"
token_type = "any"
introspection = "https://idp.example.com/introspect"
client_id = "gateway"
client_secret = "secret"
token_endpoint_auth_method = "client_secret_post"
introspection_cache = "30s"

[[route]]
host = "app.example.com"
upstream = "http://127.0.0.1:3000"
bearer = true
basic_password = "token"
"#;

#[test]
fn what_is_wrong_about_introspection_is_told() {
    let second = "[[issuer]]\nurl = \"https://b.example\"\naudience = \"x\"\nintrospection = \"https://b.example/i\"\n\n[[route]]";
    assert_each_reported(
        GOOD,
        &[
            ("\"any\"", "\"id\"", "`token_type` cannot be \"id\""),
            ("\"https://idp.example.com\"", "\"spiffe://example.org/x\"", "is not a SPIFFE trust domain"),
            (
                "\"https://idp.example.com\"",
                "\"spiffe://example.org\"",
                "a SPIFFE trust domain has no metadata",
            ),
            ("https://idp.example.com/introspect", "http://idp.example.com/introspect", "is not https"),
            (
                "introspection = \"https://idp.example.com/introspect\"\n",
                "",
                "`client_id` is not used without `introspection`",
            ),
            ("client_id = \"gateway\"\n", "", "`client_secret` is not used without `client_id`"),
            ("\"client_secret_post\"", "\"private_key_jwt\"", "`token_endpoint_auth_method` cannot be"),
            ("\"30s\"", "\"2h\"", "is longer than an hour"),
            ("bearer = true\n", "", "`basic_password` has no effect without bearer = true"),
            ("basic_password = \"token\"", "basic_password = \"yes\"", "`basic_password` cannot be \"yes\""),
            ("[[route]]", second, "two issuers have `introspection`: \"b.example\" is the second"),
        ],
    );
}
