//! A provider that lies in one thing at a time. Each lie differs from an accepted twin in that one
//! thing, and the audit names the very check that caught it.

use crate::support::json::Json;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::provider_toml;
use crate::support::policies::allows;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, is, location, next};
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use narthex::base::{Clock as _, SystemClock};
use narthex::jose::{self, Algorithm, HeaderParameter, SigningKey};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECRET: &str = "corp-secret-0123456789abcdef0123456789";

/// What the provider does with the next login.
#[derive(Clone, Copy, Debug)]
enum Lie {
    None,
    /// Sets a claim of the ID token; null takes it out.
    Claim(&'static str, fn(i64) -> Value),
    /// Sets these claims, `amr` among them unless it is one of them.
    Claims(Claims),
    /// Signs with a key that it does not publish, under the id of one that it does.
    OtherKey,
    /// Signs with a new key, and publishes it only then.
    NewKey,
    Unsigned,
    /// Signs with the client's secret.
    Hmac,
    NoIdToken,
    /// Speaks of somebody else at the UserInfo endpoint.
    OtherUserInfo,
    /// Answers the token request with a redirect.
    Redirects,
    /// Answers with more than anybody needs.
    Floods,
    /// Answers after everybody has gone.
    Sleeps,
    /// Sends the browser back without `iss`, which it has promised.
    NoIss,
    /// Sends the browser back with an error.
    Error(&'static str),
    /// Publishes an address that is not https.
    Endpoint(&'static str),
    /// Returns an address, verified.
    Email(&'static str),
}

struct Provider {
    issuer: String,
    lie: Mutex<Lie>,
    keys: Mutex<Vec<Arc<SigningKey>>>,
    /// The first of them.
    pkcs8: Vec<u8>,
    nonce: Mutex<String>,
    /// How many token requests came.
    redeemed: AtomicUsize,
    /// What else the ID token says.
    more: Mutex<Value>,
    /// What it answers to a refresh token.
    refusal: Mutex<Value>,
}

/// Claims of an ID token that is issued now.
type Claims = fn(i64) -> Value;

type Shared = State<Arc<Provider>>;

fn key(kid: &str) -> Arc<SigningKey> {
    Arc::new(
        SigningKey::read(kid, Algorithm::Es256, &SigningKey::generate(Algorithm::Es256).unwrap()).unwrap(),
    )
}

impl Provider {
    async fn start() -> (Arc<Self>, u16) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pkcs8 = SigningKey::generate(Algorithm::Es256).unwrap().to_vec();
        let first = Arc::new(SigningKey::read("first", Algorithm::Es256, &pkcs8).unwrap());
        let provider = Arc::new(Self {
            pkcs8,
            issuer: format!("http://127.0.0.1:{port}"),
            lie: Mutex::new(Lie::None),
            keys: Mutex::new(vec![first]),
            nonce: Mutex::default(),
            redeemed: AtomicUsize::new(0),
            more: Mutex::new(json!({})),
            refusal: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(user_info))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (provider, port)
    }

    fn lie(&self) -> Lie {
        *self.lie.lock().unwrap()
    }
}

async fn discovery(State(provider): Shared) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", provider.issuer);
    let mut document = json!({
        "issuer": provider.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"), "userinfo_endpoint": at("/userinfo"), "response_types_supported": ["code"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
        "authorization_response_iss_parameter_supported": true,
    });
    if let Lie::Endpoint(name) = provider.lie() {
        document[name] = "http://idp.example/x".into();
    }
    Json(document)
}

async fn jwks(State(provider): Shared) -> Json<Value> {
    let keys: Vec<Value> =
        provider.keys.lock().unwrap().iter().map(|key| serde_json::to_value(key.jwk()).unwrap()).collect();
    Json(json!({ "keys": keys }))
}

async fn authorize(State(provider): Shared, uri: http::Uri) -> Response {
    let query = narthex::handlers::form(uri.query().unwrap()).unwrap();
    *provider.nonce.lock().unwrap() = query["nonce"].clone();
    let mut back = url::Url::parse(&query["redirect_uri"]).unwrap();
    back.query_pairs_mut().append_pair("state", &query["state"]);
    match provider.lie() {
        Lie::Error(error) => drop(back.query_pairs_mut().append_pair("error", error)),
        _ => drop(back.query_pairs_mut().append_pair("code", "code")),
    }
    if !matches!(provider.lie(), Lie::NoIss) {
        back.query_pairs_mut().append_pair("iss", &provider.issuer);
    }
    axum::response::Redirect::to(back.as_str()).into_response()
}

async fn token(State(provider): Shared, body: String) -> Response {
    if body.contains("grant_type=refresh_token") {
        let refusal = provider.refusal.lock().unwrap().clone();
        return (StatusCode::BAD_REQUEST, Json(refusal)).into_response();
    }
    provider.redeemed.fetch_add(1, Ordering::Relaxed);
    let now = SystemClock.now().seconds();
    let lie = provider.lie();
    let mut claims = json!({
        "iss": provider.issuer, "aud": "narthex", "sub": "alice", "nonce": *provider.nonce.lock().unwrap(),
        "iat": now, "exp": now + 300, "email": "alice@corp.example", "email_verified": true,
    });
    if let Lie::Claim(name, value) = lie {
        match value(now) {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
    }
    if let Lie::Claims(more) = lie {
        claims["amr"] = json!(["pwd", "mfa"]);
        for (name, value) in more(now).as_object().unwrap() {
            claims[name] = value.clone();
        }
    }
    claims.as_object_mut().unwrap().extend(provider.more.lock().unwrap().as_object().unwrap().clone());
    if let Lie::Email(email) = lie {
        claims["email"] = email.into();
    }
    let first = provider.keys.lock().unwrap()[0].clone();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let id_token = match lie {
        Lie::OtherKey => jose::sign(&key("first"), &[], &claims).unwrap(),
        Lie::NewKey => {
            let new = key("second");
            *provider.keys.lock().unwrap() = vec![new.clone()];
            jose::sign(&new, &[], &claims).unwrap()
        }
        Lie::Unsigned => format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims)),
        Lie::Hmac => {
            let signed = format!("{}.{}", part(&json!({ "alg": "HS256" })), part(&claims));
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
            let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
        }
        Lie::Redirects => return axum::response::Redirect::temporary("/elsewhere").into_response(),
        Lie::Floods => return (StatusCode::OK, vec![b' '; 3 << 20]).into_response(),
        Lie::Sleeps => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            String::new()
        }
        _ => jose::sign(&first, &[], &claims).unwrap(),
    };
    let mut answer = json!({ "access_token": "at", "token_type": "Bearer", "id_token": id_token });
    if !provider.refusal.lock().unwrap().is_null() {
        answer["refresh_token"] = "rt".into();
        answer["expires_in"] = 4.into();
    }
    if matches!(lie, Lie::NoIdToken) {
        answer.as_object_mut().unwrap().remove("id_token");
    }
    Json(answer).into_response()
}

async fn user_info(State(provider): Shared) -> Json<Value> {
    let sub = if matches!(provider.lie(), Lie::OtherUserInfo) { "mallory" } else { "alice" };
    // Some providers date in words where the standard wants seconds.
    Json(json!({ "sub": sub, "name": "Alice", "updated_at": "2026-01-02T03:04:05.678Z" }))
}

async fn scene() -> (Arc<Provider>, Narthex, Upstream) {
    let upstream = Upstream::start().await;
    let (provider, port) = Provider::start().await;
    let narthex = NarthexBuilder::new()
        .tables(&provider_toml("corp", port, "{ domains = [\"corp.example\"] }"))
        .route("app", upstream.port, "")
        .start();
    (provider, narthex, upstream)
}

/// Goes to the app as a new visitor; answers the last page's status.
async fn try_login(narthex: &Narthex) -> (Visitor, reqwest::Response) {
    let visitor = Visitor::new(narthex);
    let landed = visitor.follow(&format!("{}/", narthex.origin("app"))).await;
    (visitor, landed)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lie_is_refused_by_the_check_that_is_meant_for_it_and_leaves_no_session() {
    let (provider, narthex, upstream) = scene().await;
    let lies: &[(Lie, u16, &str)] = &[
        (Lie::Claim("iss", |_| json!("https://elsewhere.example")), 400, "issuer"),
        (Lie::Claim("aud", |_| json!("somebody")), 400, "aud"),
        (Lie::Claim("aud", |_| json!(["somebody", "other"])), 400, "aud"),
        (Lie::Claim("azp", |_| json!("somebody")), 400, "azp"),
        (Lie::Claim("nonce", |_| json!("another")), 400, "nonce"),
        (Lie::Claim("nonce", |_| Value::Null), 400, "nonce"),
        (Lie::Claim("exp", |now| json!(now - 70)), 400, "exp or iat"),
        (Lie::Claim("iat", |now| json!(now + 70)), 400, "exp or iat"),
        (Lie::Claim("nbf", |now| json!(now + 70)), 400, "nbf"),
        (Lie::Claim("sub", |_| json!("")), 400, "sub"),
        (Lie::Claim("sub", |_| json!("x".repeat(256))), 400, "sub"),
        (Lie::Claim("email", |_| json!("a@b@corp.example")), 400, "unmappable"),
        (Lie::Claim("email", |_| json!("alice@corp.example,mallory@evil.example")), 400, "unmappable"),
        (Lie::Claim("email_verified", |_| json!(false)), 403, "not_allowed"),
        (Lie::Claim("email_verified", |_| Value::Null), 403, "not_allowed"),
        (Lie::Claim("email", |_| json!("alice@notcorp.example")), 403, "not_allowed"),
        (Lie::OtherKey, 400, "signature"),
        (Lie::Unsigned, 400, "token"),
        (Lie::Hmac, 400, "token"),
        (Lie::NoIdToken, 400, "id token"),
        (Lie::OtherUserInfo, 400, "userinfo"),
        (Lie::Redirects, 502, "provider_answer_unreadable"),
        (Lie::Floods, 502, "provider_answer_unreadable"),
        (Lie::NoIss, 400, "iss"),
        (Lie::Error("access_denied"), 403, "provider_refused"),
    ];
    for (count, (lie, status, reason)) in lies.iter().enumerate() {
        *provider.lie.lock().unwrap() = *lie;
        let (visitor, refused) = try_login(&narthex).await;
        let failed = narthex.audit("login_failed");
        assert_eq!(failed.len(), count + 1, "{lie:?} was believed");
        assert_eq!(failed[count]["reason"], *reason, "{lie:?}: {}", failed[count]["detail"]);
        is(&refused, *status);
        let page = refused.text().await.unwrap();
        assert!(page.contains(failed[count]["request_id"].as_str().unwrap()), "{page}");
        // No session is left: the way leads to the provider again.
        let again = visitor.get(&format!("{}/", narthex.origin("app"))).await;
        let begun = visitor.get(location(&again).as_str()).await;
        assert!(next(&begun).unwrap().starts_with(&provider.issuer), "{lie:?} left a session");
    }
    assert!(upstream.seen().is_empty());
    assert!(narthex.audit("login").is_empty());
    *provider.lie.lock().unwrap() = Lie::None;
    is(&try_login(&narthex).await.1, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_honest_provider_may_do_is_taken() {
    let (provider, narthex, _upstream) = scene().await;
    for lie in [
        Lie::Claim("exp", |now| json!(now - 50)),
        Lie::Claim("iat", |now| json!(now + 50)),
        Lie::Claim("nbf", |now| json!(now + 50)),
        Lie::Claim("azp", |_| json!("narthex")),
        Lie::Claim("aud", |_| json!(["narthex"])),
        Lie::Claim("email_verified", |_| json!("true")),
    ] {
        *provider.lie.lock().unwrap() = lie;
        is(&try_login(&narthex).await.1, 200);
    }
    // A clock that differs is tolerated, and logged.
    for words in ["the provider's clock is ahead of ours", "the provider's clock is behind ours"] {
        assert!(narthex.log().contains(words), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_may_change_its_keys() {
    let (provider, narthex, _upstream) = scene().await;
    is(&try_login(&narthex).await.1, 200);
    *provider.lie.lock().unwrap() = Lie::NewKey;
    // An unknown key makes us ask again, though no more often than once in ten seconds.
    let begun = std::time::Instant::now();
    let answered = loop {
        let (_, answer) = try_login(&narthex).await;
        if answer.status() == 200 || begun.elapsed() > Duration::from_secs(20) {
            break answer;
        }
        *provider.lie.lock().unwrap() = Lie::None;
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    is(&answered, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_sleeps_is_waited_for_only_so_long() {
    let (provider, narthex, _upstream) = scene().await;
    *provider.lie.lock().unwrap() = Lie::Sleeps;
    let begun = std::time::Instant::now();
    let (_, answer) = try_login(&narthex).await;
    is(&answer, 502);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_reaches_the_log_however_much_it_is_asked_to_tell() {
    let upstream = Upstream::start().await;
    let (_provider, port) = Provider::start().await;
    let narthex = NarthexBuilder::new()
        .tables(&provider_toml("corp", port, "\"anyone\""))
        .route("app", upstream.port, "")
        .environment("NARTHEX_LOG", "trace")
        .start();
    let visitor = Visitor::new(&narthex);
    let mut url = format!("{}/", narthex.origin("app"));
    let mut secrets = vec![SECRET.to_owned()];
    loop {
        let answer = visitor.get(&url).await;
        for cookie in answer.headers().get_all("set-cookie") {
            let value =
                cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
            secrets.extend(Some(value).filter(|value| value.len() > 8));
        }
        match next(&answer) {
            Some(to) => url = to,
            None => break is(&answer, 200),
        }
        let to = url::Url::parse(&url).unwrap();
        secrets.extend(
            to.query_pairs()
                .filter(|(name, _)| name == "code")
                .map(|(_, value)| value.into_owned())
                .filter(|v| v != "code"),
        );
    }
    secrets.push(upstream.seen()[0].one("x-amzn-oidc-data").to_owned());
    assert!(secrets.len() >= 6, "{}", secrets.len());
    let log = narthex.log();
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
}

/// A logout token of `claims`, signed by `key`.
fn logout_token(key: &SigningKey, typ: &str, claims: &Value) -> String {
    let header = [("typ", HeaderParameter::Text(typ))];
    jose::sign(key, &header, claims).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_token_ends_what_it_names_and_every_lie_in_one_is_refused() {
    let (provider, narthex, _upstream) = scene().await;
    let app = format!("{}/", narthex.origin("app"));
    let (visitor, landed) = try_login(&narthex).await;
    is(&landed, 200);
    let signer = provider.keys.lock().unwrap()[0].clone();
    let now = SystemClock.now().seconds();
    let event = "http://schemas.openid.net/event/backchannel-logout";
    let truth = |jti: &str| {
        json!({
            "iss": provider.issuer, "aud": "narthex", "sub": "alice", "iat": now, "exp": now + 120,
            "jti": jti, "events": { event: {} },
        })
    };
    let send = async |token: String| {
        let url = format!("{}/oauth2/backchannel-logout/corp", narthex.origin("auth"));
        let client = Visitor::new(&narthex).client;
        client.post(url).form(&[("logout_token", token)]).send().await.unwrap()
    };
    let unsigned = {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(json!({ "alg": "none", "typ": "logout+jwt" })), part(truth("u")))
    };
    let hmac = {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(json!({ "alg": "HS256", "typ": "logout+jwt" })), part(truth("h")));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes())))
    };
    let critical = {
        let header = jsonwebtoken::Header {
            crit: Some(vec!["exp".to_owned()]),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256)
        };
        let key = jsonwebtoken::EncodingKey::from_ec_der(&provider.pkcs8);
        jsonwebtoken::encode(&header, &truth("c"), &key).unwrap()
    };
    let with = |name: &str, value: Value| {
        let mut claims = truth(name);
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        logout_token(&signer, "logout+jwt", &claims)
    };
    let lies = [
        ("another key", logout_token(&key("first"), "logout+jwt", &truth("k")), "signature"),
        ("unsigned", unsigned, "alg"),
        ("HMAC under the secret", hmac, "alg"),
        ("an extension that nobody knows", critical, "crit"),
        ("an access token", logout_token(&signer, "at+jwt", &truth("t")), "typ"),
        ("another issuer", with("iss", json!("https://other.example")), "iss"),
        ("another client", with("aud", json!("other")), "aud"),
        ("over", with("exp", json!(now - 120)), "exp"),
        ("an end that is no date", with("exp", json!("tomorrow")), "claims"),
        ("from the future", with("iat", json!(now + 300)), "iat"),
        ("more than a day old", with("iat", json!(now - 86460)), "iat"),
        ("from before all time", with("iat", json!(i64::MIN)), "claims"),
        ("no moment of issue", with("iat", json!("now")), "claims"),
        ("no events", with("events", Value::Null), "claims"),
        ("another event", with("events", json!({ "http://other": {} })), "events"),
        ("an event that is no object", with("events", json!({ event: true })), "events"),
        ("a nonce", with("nonce", json!("n")), "nonce"),
        ("no jti", with("jti", Value::Null), "claims"),
        ("nobody", with("sub", Value::Null), "sub or sid"),
        ("a subject that no database can be asked for", with("sub", json!("alice\u{0}")), "sub"),
        ("oversized", "a".repeat(9000), "size"),
    ];
    for (count, (name, token, check)) in lies.into_iter().enumerate() {
        is(&send(token).await, 400);
        let told = narthex.audit("backchannel_logout_failed");
        assert_eq!((told.len(), told.last().unwrap()["reason"].as_str()), (count + 1, Some(check)), "{name}");
    }
    is(&visitor.program(reqwest::Method::GET, &app).await, 200);

    // Somebody else's logout is none of hers; her own is, once.
    let mut other = truth("other");
    other["sub"] = json!("bob");
    is(&send(logout_token(&signer, "logout+jwt", &other)).await, 200);
    is(&visitor.program(reqwest::Method::GET, &app).await, 200);
    // That it ended nobody is answered as success, and an administrator can see it.
    let ended_nobody = narthex.audit("logout_without_session");
    assert_eq!(ended_nobody.len(), 1);
    assert_eq!((&ended_nobody[0]["level"], &ended_nobody[0]["provider"]), (&json!("WARN"), &json!("corp")));
    let good = logout_token(&signer, "logout+jwt", &truth("good"));
    is(&send(good.clone()).await, 200);
    is(&visitor.program(reqwest::Method::GET, &app).await, 401);
    let (again, _) = try_login(&narthex).await;
    is(&send(good).await, 400);
    assert_eq!(narthex.audit("backchannel_logout_failed").last().unwrap()["reason"], "attempt_used");
    is(&again.program(reqwest::Method::GET, &app).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_comes_twice_is_refused_though_the_provider_does_not_notice() {
    let (provider, narthex, _upstream) = scene().await;
    let app = format!("{}/", narthex.origin("app"));
    let visitor = Visitor::new(&narthex);
    let mut answer = visitor.get(&app).await;
    let callback = loop {
        let to = location(&answer).to_string();
        if to.contains("/oauth2/idpresponse/corp?") {
            break to;
        }
        answer = visitor.get(&to).await;
    };
    // An attacker who saw the cookies and the address can send the same again.
    let url: url::Url = callback.parse().unwrap();
    let cookies = reqwest::cookie::CookieStore::cookies(&*visitor.jar, &url).unwrap();
    let send = async || {
        let client = Visitor::new(&narthex).client;
        client.get(&callback).header("cookie", &cookies).header("accept", "text/html").send().await.unwrap()
    };
    is(&send().await, 303);
    is(&send().await, 400);
    assert_eq!(narthex.audit("login_failed").last().unwrap()["reason"], "attempt_used");
    assert_eq!(narthex.audit("login").len(), 1, "{}", provider.issuer);
    // The provider might revoke what it granted for a code that comes twice.
    assert_eq!(provider.redeemed.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_is_delivered_eight_times_at_once_reaches_the_provider_once() {
    let (provider, narthex, _upstream) = scene().await;
    let visitor = Visitor::new(&narthex);
    let mut answer = visitor.get(&format!("{}/", narthex.origin("app"))).await;
    let callback = loop {
        let to = location(&answer).to_string();
        if to.contains("/oauth2/idpresponse/corp?") {
            break to;
        }
        answer = visitor.get(&to).await;
    };
    let cookies = reqwest::cookie::CookieStore::cookies(&*visitor.jar, &callback.parse().unwrap()).unwrap();
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (client, callback, cookies) = (Visitor::new(&narthex).client, callback.clone(), cookies.clone());
        tries.spawn(async move {
            let request = client.get(callback).header("cookie", cookies).header("accept", "text/html");
            request.send().await.unwrap().status().as_u16()
        });
    }
    let mut statuses = tries.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 400, 400, 400, 400, 400, 400, 400]);
    assert_eq!(provider.redeemed.load(Ordering::Relaxed), 1);
    assert_eq!(narthex.audit("login").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_demands_of_the_authentication_is_in_the_id_token() {
    let upstream = Upstream::start().await;
    let (provider, port) = Provider::start().await;
    let demands = "[provider.authorization_parameters]\nmax_age = \"600\"\nacr_values = \"silver gold\"\n";
    let narthex = NarthexBuilder::new()
        .tables(&(provider_toml("corp", port, "\"anyone\"") + demands))
        .route("app", upstream.port, "")
        .start();
    let both = |auth_time: Value, acr: Value| json!({ "auth_time": auth_time, "acr": acr });
    let now = SystemClock.now().seconds();
    for (claims, check) in [
        (json!({ "acr": "gold" }), Some("auth_time")),
        (both(json!(now - 700), json!("gold")), Some("auth_time")),
        (json!({ "auth_time": now }), Some("acr")),
        (both(json!(now), json!("bronze")), Some("acr")),
        (both(json!(now - 500), json!("gold")), None),
        (both(json!(now as f64 + 0.5), json!("silver")), None),
    ] {
        *provider.more.lock().unwrap() = claims.clone();
        let (_, answer) = try_login(&narthex).await;
        match check {
            Some(check) => {
                is(&answer, 400);
                let failed = narthex.audit("login_failed").pop().unwrap();
                assert_eq!(failed["reason"], check, "{claims}");
                assert!(failed["detail"].as_str().unwrap().contains("help:"), "{failed}");
            }
            None => is(&answer, 200),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_publishes_an_address_without_tls_signs_nobody_in() {
    for name in
        ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "end_session_endpoint"]
    {
        let upstream = Upstream::start().await;
        let (provider, port) = Provider::start().await;
        *provider.lie.lock().unwrap() = Lie::Endpoint(name);
        let narthex = NarthexBuilder::new()
            .tables(&provider_toml("corp", port, "\"anyone\""))
            .route("app", upstream.port, "")
            .start();
        is(&try_login(&narthex).await.1, 502);
        narthex.wait_for_log(&format!(
            "`{name}` = `http://idp.example/x`, which is not an https address; help:"
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_only_unicode_folds_into_a_name_do_not_let_anybody_in() {
    let upstream = Upstream::start().await;
    let (provider, port) = Provider::start().await;
    let allow = "{ domains = [\"kit.example\", \"b\u{fc}cher.example\"], emails = [\"kim@other.example\"] }";
    let narthex = NarthexBuilder::new()
        .tables(&provider_toml("corp", port, allow))
        .route("app", upstream.port, "")
        .start();
    for (email, status) in [
        ("a@\u{212a}it.example", 403),
        ("a@\u{ff4b}it.example", 403),
        ("a@kit\u{3002}example", 403),
        ("\u{212a}im@other.example", 403),
        ("a@B\u{dc}CHER.example", 403),
        ("a@KIT.example", 200),
        ("Kim@OTHER.example", 200),
        ("a@b\u{fc}cher.example", 200),
        ("a@xn--bcher-kva.example", 200),
    ] {
        *provider.lie.lock().unwrap() = Lie::Email(email);
        let (_, answer) = try_login(&narthex).await;
        assert_eq!(answer.status().as_u16(), status, "{email}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_token_of_a_long_session_id_and_a_long_life_ends_its_session_once() {
    let (provider, narthex, _upstream) = scene().await;
    let app = format!("{}/", narthex.origin("app"));
    let signer = provider.keys.lock().unwrap()[0].clone();
    let now = SystemClock.now().seconds();
    let send = async |sid: &str, jti: &str, iat: Value, exp: Value| {
        let claims = json!({
            "iss": provider.issuer, "aud": "narthex", "sid": sid, "iat": iat, "exp": exp, "jti": jti,
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        let token = logout_token(&signer, "logout+jwt", &claims);
        let url = format!("{}/oauth2/backchannel-logout/corp", narthex.origin("auth"));
        Visitor::new(&narthex).client.post(url).form(&[("logout_token", token)]).send().await.unwrap()
    };
    // A NUL is no text for every database.
    let sid = |length: usize, end: &str| "s\u{0}".repeat(length / 2) + end;
    for length in [10, 254, 255, 256, 1000] {
        *provider.more.lock().unwrap() = json!({ "sid": sid(length, "a") });
        let (visitor, landed) = try_login(&narthex).await;
        is(&landed, 200);
        // Another session of the same beginning is another session.
        is(&send(&sid(length, "b"), &format!("b{length}"), json!(now), json!(now + 60)).await, 200);
        is(&visitor.program(reqwest::Method::GET, &app).await, 200);
        let (jti, iat, exp) = (format!("a{length}"), json!(now as f64 - 80_000.5), json!(now + 86_400));
        is(&send(&sid(length, "a"), &jti, iat.clone(), exp.clone()).await, 200);
        is(&visitor.program(reqwest::Method::GET, &app).await, 401);
        is(&send(&sid(length, "a"), &jti, iat, exp).await, 400);
        assert_eq!(narthex.audit("backchannel_logout_failed").pop().unwrap()["reason"], "attempt_used");
    }
    assert_eq!(narthex.audit("session_ended").len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_refresh_token_by_whichever_error_the_provider_says_so() {
    let (provider, narthex, _upstream) = scene().await;
    let app = format!("{}/", narthex.origin("app"));
    for (refusal, ends) in [
        (json!({ "error": "invalid_request" }), true),
        (json!({ "error": "invalid_request", "error_description": "Unknown refresh token" }), true),
        (json!({ "error": "invalid_grant" }), true),
        (json!({ "error": "invalid_request", "error_description": "client_id is missing" }), false),
    ] {
        *provider.refusal.lock().unwrap() = refusal.clone();
        let (visitor, landed) = try_login(&narthex).await;
        is(&landed, 200);
        // The tokens count for four seconds. Each request after that has them renewed.
        let begun = std::time::Instant::now();
        let outcome = |narthex: &Narthex| {
            let failed = narthex.log().matches("could not be renewed: tried again later").count();
            (narthex.audit("session_ended").len(), failed)
        };
        let before = outcome(&narthex);
        while outcome(&narthex) == before {
            assert!(begun.elapsed() < Duration::from_secs(20), "{refusal}");
            visitor.program(reqwest::Method::GET, &app).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        is(&visitor.program(reqwest::Method::GET, &app).await, if ends { 401 } else { 200 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authentication_is_as_old_as_auth_time_says_and_not_fresh_where_it_says_nothing() {
    let upstream = Upstream::start().await;
    let (provider, port) = Provider::start().await;
    let deny = |condition: Value| json!({"Effect": "Deny", "Action": "execute-api:Invoke", "Resource": "*", "Condition": condition});
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"},
        deny(json!({"Bool": {"aws:MultiFactorAuthPresent": "false"}})),
        deny(json!({"NumericGreaterThan": {"aws:MultiFactorAuthAge": "3600"}})),
        deny(json!({"Null": {"aws:TokenIssueTime": "true"}}))]});
    let narthex = NarthexBuilder::new()
        .file("all.json", policy.to_string())
        .tables(&provider_toml("corp", port, "\"anyone\""))
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\nauthenticated_role = \"all\"\n")
        .route("app", upstream.port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    let cases: &[(Claims, u16)] = &[
        (|now| json!({"auth_time": now - 10}), 200),
        (|now| json!({"auth_time": now as f64 - 10.5}), 200),
        (|now| json!({"auth_time": now - 172_800}), 403),
        (|now| json!({"auth_time": now as f64 - 172_800.5}), 403),
        (|now| json!({"auth_time": now as f64 - 172_800.0}), 403),
        (|_| json!({"auth_time": 1e9}), 403),
        (|now| json!({"auth_time": now + 3600}), 403),
        (|_| json!({}), 403),
        (|now| json!({"auth_time": now - 10, "amr": ["pwd"]}), 403),
        (
            |now| json!({"auth_time": now - 10, "exp": now as f64 + 300.5, "iat": now as f64 + 0.5, "nbf": now as f64 - 1.5}),
            200,
        ),
    ];
    for (claims, status) in cases {
        *provider.lie.lock().unwrap() = Lie::Claims(*claims);
        let (_, landed) = try_login(&narthex).await;
        assert_eq!(landed.status().as_u16(), *status, "{}", claims(0));
    }
    // The app gets the known attributes only.
    let seen = upstream.seen();
    assert_eq!(seen.len(), 3);
    let now = SystemClock.now().seconds();
    let age = now - seen[1].claims()["auth_time"].as_i64().unwrap();
    assert!((10..70).contains(&age), "{age}");
    narthex.edit(|text| text.replace("access = \"policy\"", "access = \"signed-in\""));
    crate::support::process::wait_until("the reload", || !narthex.audit("reload").is_empty());
    *provider.lie.lock().unwrap() = Lie::Claims(|_| json!({}));
    is(&try_login(&narthex).await.1, 200);
    assert!(upstream.seen().last().unwrap().claims().get("auth_time").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_refused_where_a_claim_that_decides_cannot_be_compared() {
    let upstream = Upstream::start().await;
    let (provider, port) = Provider::start().await;
    let narthex = NarthexBuilder::new()
        .file("all.json", allows(&["*"]).to_string())
        .tables(&provider_toml("corp", port, "\"anyone\""))
        .tables("[provider.attributes]\n\"custom:team\" = \"team\"\n\"custom:desk\" = \"desk\"\n")
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\nauthenticated_role = \"all\"\n[identity_pool.principal_tags]\nteam = \"custom:team\"\n[[identity_pool.role_mapping]]\nprovider = \"corp\"\ntype = \"rules\"\nambiguous = \"authenticated_role\"\nrules = [{ claim = \"groups\", match = \"Equals\", value = \"staff\", role = \"all\" }]\n")
        .route("app", upstream.port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    let cases: &[(Claims, u16)] = &[
        (|_| json!({"team": "red", "desk": ["a", "b"], "groups": ["a", 1]}), 200),
        (|_| json!({"team": ["red"]}), 200),
        (|_| json!({"team": ["red", "blue"]}), 400),
        (|_| json!({"team": {"name": "red"}}), 400),
        (|_| json!({"team": "r\u{7}ed"}), 400),
        (|_| json!({"_claim_names": {"team": "src1"}}), 400),
        (|_| json!({"team": "red", "groups": [{"name": "staff"}]}), 400),
        (|_| json!({"team": "red", "groups": vec!["g"; 1001]}), 400),
        (|_| json!({"team": "red", "_claim_names": {"groups": "src1"}}), 400),
    ];
    for (claims, status) in cases {
        *provider.lie.lock().unwrap() = Lie::Claims(*claims);
        let (_, landed) = try_login(&narthex).await;
        assert_eq!(landed.status().as_u16(), *status, "{}", claims(0));
    }
    assert_eq!(upstream.seen().last().unwrap().claims()["tags"], json!({"team": "red"}));
    assert_eq!(narthex.audit("login_failed").len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_times_of_a_logout_token_are_read_as_those_of_every_token() {
    let (provider, narthex, _upstream) = scene().await;
    let signer = provider.keys.lock().unwrap()[0].clone();
    let now = SystemClock.now().seconds();
    let cases = [
        (json!({"iat": now as f64 + 0.5, "exp": now as f64 + 120.5}), 200),
        (json!({"nbf": now as f64 - 0.5}), 200),
        (json!({"nbf": now + 300}), 400),
        (json!({"nbf": "soon"}), 400),
        (json!({"iat": now as f64 + 300.5}), 400),
        (json!({"exp": now as f64 - 120.5}), 400),
        (json!({"exp": 1e9}), 400),
        (json!({"exp": (now + 120).to_string()}), 200),
        (json!({"exp": (now - 120).to_string()}), 400),
        (json!({"iat": Value::Null}), 400),
    ];
    for (number, (times, status)) in cases.into_iter().enumerate() {
        let mut claims = json!({
            "iss": provider.issuer, "aud": "narthex", "sub": "alice", "iat": now, "exp": now + 120,
            "jti": number.to_string(), "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        for (name, time) in times.as_object().unwrap() {
            claims[name] = time.clone();
        }
        let url = format!("{}/oauth2/backchannel-logout/corp", narthex.origin("auth"));
        let form = [("logout_token", logout_token(&signer, "logout+jwt", &claims))];
        let answer = Visitor::new(&narthex).client.post(url).form(&form).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{times}");
    }
}
