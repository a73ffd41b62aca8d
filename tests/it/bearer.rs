//! API clients, who bring tokens of other issuers.

use crate::support::config_errors::each_is_told;
use crate::support::json::Json;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::OpenIdProvider;
use crate::support::policies::allows;
use crate::support::streams::{app, echoes, open_socket_with};
use crate::support::time::now;
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, is};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use axum::Router;
use axum::extract::{Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A private key, and the algorithm that it signs with.
struct Key {
    algorithm: &'static str,
    kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

impl Key {
    fn new(algorithm: &'static str, kid: &str) -> Self {
        let rsa = |encoding| Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap(), encoding);
        let ec = |of, curve| Pair::Ec(EcdsaKeyPair::generate(of).unwrap(), curve);
        let pair = match algorithm {
            "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
            "RS384" => rsa(&signature::RSA_PKCS1_SHA384),
            "RS512" => rsa(&signature::RSA_PKCS1_SHA512),
            "PS256" => rsa(&signature::RSA_PSS_SHA256),
            "PS384" => rsa(&signature::RSA_PSS_SHA384),
            "PS512" => rsa(&signature::RSA_PSS_SHA512),
            "ES256" => ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            "ES384" => ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            "ES512" => ec(&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
            "EdDSA" => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
            other => panic!("{other}"),
        };
        Self { algorithm, kid: kid.to_owned(), pair }
    }

    fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair, _) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                json!({"kty": "RSA", "n": b64(n.big_endian_without_leading_zero()), "e": b64(e.big_endian_without_leading_zero())})
            }
            Pair::Ec(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key())}),
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["alg"] = self.algorithm.into();
        jwk["use"] = "sig".into();
        jwk
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this header beside `alg` and `kid`, and these claims as they are written.
    fn token(&self, header: &Value, claims: &str) -> String {
        let mut all = json!({"alg": self.algorithm, "kid": self.kid, "typ": "JWT"});
        for (name, value) in header.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        let message = format!("{}.{}", b64(all.to_string()), b64(claims));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", b64(signature))
    }
}

/// What an issuer publishes.
#[derive(Default)]
struct Published {
    keys: Vec<Value>,
    /// How often the keys were fetched.
    fetched: usize,
    /// Whether the document is where OAuth 2.0 has it, and not where OpenID Connect has it.
    oauth: bool,
    down: bool,
}

/// An issuer of access tokens.
struct Issuer {
    port: u16,
    key: Key,
    published: Arc<Mutex<Published>>,
}

impl Issuer {
    async fn start(algorithm: &'static str) -> Self {
        let key = Key::new(algorithm, "one");
        let published = Arc::new(Mutex::new(Published { keys: vec![key.jwk()], ..Published::default() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().fallback(publish).with_state((port, published.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, key, published }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn toml(&self, more: &str) -> String {
        format!(
            "[[issuer]]\nname = \"api\"\nurl = \"{}\"\naudience = [\"photos-api\", \"other\"]\n{more}\n",
            self.url()
        )
    }

    /// The claims of a good token, with these in their place or beside them; null takes one out.
    fn claims(&self, other: &Value) -> Value {
        let mut claims = json!({"iss": self.url(), "sub": "ann", "aud": "photos-api", "client_id": "spa", "iat": now(), "exp": now() + 300});
        for (name, value) in other.as_object().into_iter().flatten() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    fn token(&self, claims: &Value) -> String {
        self.key.token(&Value::Null, &self.claims(claims).to_string())
    }
}

async fn publish(
    State((port, published)): State<(u16, Arc<Mutex<Published>>)>,
    request: Request,
) -> (axum::http::StatusCode, Json<Value>) {
    use axum::http::StatusCode;
    let mut published = published.lock().unwrap();
    let issuer = format!("http://127.0.0.1:{port}");
    let metadata = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
    match (request.uri().path(), published.oauth) {
        _ if published.down => (StatusCode::SERVICE_UNAVAILABLE, Json(Value::Null)),
        ("/keys", _) => {
            published.fetched += 1;
            (StatusCode::OK, Json(json!({"keys": published.keys})))
        }
        ("/.well-known/openid-configuration", false) | ("/.well-known/oauth-authorization-server", true) => {
            (StatusCode::OK, Json(metadata))
        }
        _ => (StatusCode::NOT_FOUND, Json(Value::Null)),
    }
}

/// A deployment that takes `issuer`'s tokens.
async fn deployment(issuer: &Issuer, of_issuer: &str, of_route: &str) -> (Narthex, Upstream) {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new()
        .tables(&issuer.toml(of_issuer))
        .route("app", upstream.port, &format!("bearer = true\n{of_route}"))
        .start();
    (narthex, upstream)
}

async fn bring(narthex: &Narthex, token: &str) -> reqwest::Response {
    let client = Visitor::new(narthex).client;
    client.get(format!("{}/", narthex.origin("app"))).bearer_auth(token).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_every_algorithm_open_the_door_and_the_app_is_told_whose_they_are() {
    for algorithm in
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
    {
        let issuer = Issuer::start(algorithm).await;
        let (narthex, upstream) = deployment(&issuer, "", "").await;
        let claims =
            json!({"email": "ann@api.example", "email_verified": true, "groups": ["staff"], "scope": "a b"});
        let answer = bring(&narthex, &issuer.token(&claims)).await;
        is(&answer, 200);
        let seen = upstream.seen().pop().unwrap();
        let told = seen.claims();
        assert_eq!(
            told["identities"],
            json!([{"providerName": "api", "userId": "ann", "issuer": issuer.url()}])
        );
        assert_eq!(told["email"], "ann@api.example");
        assert_eq!(told["cognito:groups"], json!(["staff"]));
        assert!(told.get("sid").is_none());
        // Another issuer's people are not ours, whatever they are called.
        assert_ne!(told["sub"], "ann");
        assert!(seen.all("authorization").is_empty(), "the token stays with us");
        // Seen before, it is the same person's.
        is(&bring(&narthex, &issuer.token(&claims)).await, 200);
        assert_eq!(upstream.seen().pop().unwrap().claims()["sub"], told["sub"]);
        assert_eq!(issuer.published.lock().unwrap().fetched, 1, "{algorithm}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_that_is_not_good_is_refused_by_the_check_that_is_meant_for_it() {
    let (issuer, other) = (Issuer::start("RS256").await, Issuer::start("RS256").await);
    issuer.published.lock().unwrap().keys.push(Key::new("RS256", "two").jwk());
    let (narthex, upstream) = deployment(
        &issuer,
        "algorithms = [\"RS256\"]\nscopes = [\"photos\"]\n[issuer.claims]\ntenant = \"red\"",
        "",
    )
    .await;
    let good = json!({"scope": "photos more", "tenant": "red"});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        issuer.token(&claims)
    };
    let claims = issuer.claims(&good).to_string();
    let header = |header: Value| issuer.key.token(&header, &claims);
    let unsigned = |header: Value, signature: &[u8]| {
        format!("{}.{}.{}", b64(header.to_string()), b64(&claims), b64(signature))
    };
    let sound = header(json!({}));
    // What came twice is remembered: none of the others may be taken for it.
    for _ in 0..2 {
        is(&bring(&narthex, &sound).await, 200);
    }
    let passed = upstream.seen().len();

    // The public key, taken for a secret.
    let secret = issuer.key.jwk()["n"].as_str().unwrap().to_owned();
    let confused = {
        let message = format!("{}.{}", b64(json!({"alg": "HS256", "kid": "one"}).to_string()), b64(&claims));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        format!("{message}.{}", b64(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
    };
    let foreign = Key::new("RS256", "one");
    let twice = claims.replacen('{', "{\"sub\":\"root\",", 1);
    let (head, signature) = (sound.split('.').next().unwrap(), sound.rsplit('.').next().unwrap());
    let whole = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let short = &whole[..whole.len() - 3];
    let cases = [
        ("white space in sub", with("sub", json!("robot ")), "it speaks for nobody"),
        ("alg none", unsigned(json!({"alg": "none"}), b""), "the algorithm `none`, which is not allowed"),
        ("alg None with a signature", unsigned(json!({"alg": "NONE", "kid": "one"}), b"x"), "is not allowed"),
        ("a public key as a secret", confused, "the algorithm `HS256`, which is not allowed"),
        ("a key by jku", foreign.token(&json!({"jku": other.url() + "/keys"}), &claims), "the signature"),
        ("a key by x5u", foreign.token(&json!({"x5u": other.url() + "/keys"}), &claims), "the signature"),
        ("an embedded key", foreign.token(&json!({"jwk": foreign.jwk()}), &claims), "the signature"),
        ("another algorithm of the same key", header(json!({"alg": "RS512"})), "may not sign with RS512"),
        ("another issuer's key", other.key.token(&json!({}), &claims), "the signature"),
        ("a key that nobody has", header(json!({"kid": "three"})), "no such key"),
        ("another key of its issuer than it names", header(json!({"kid": "two"})), "the signature"),
        ("another issuer", with("iss", json!(other.url())), "no [[issuer]]"),
        ("an issuer with a slash more", with("iss", json!(issuer.url() + "/")), "no [[issuer]]"),
        ("another audience", with("aud", json!("mail-api")), "somebody else"),
        ("audiences without ours", with("aud", json!(["mail-api", 7])), "somebody else"),
        ("no audience", with("aud", Value::Null), "somebody else"),
        ("no end", with("exp", Value::Null), "has ended"),
        ("an end in words", with("exp", json!("tomorrow")), "has ended"),
        ("past its end", with("exp", json!(now() - 70)), "has ended"),
        ("not yet", with("nbf", json!(now() + 120)), "`nbf` is 1"),
        ("made in the future", with("iat", json!(now() + 120)), "s in the future, and 60 s are allowed"),
        ("made at no time", with("iat", json!("now")), "`iat` is not a time"),
        ("an id token by its nonce", with("nonce", json!("n")), "no access token"),
        ("an id token by its use", with("token_use", json!("id")), "no access token"),
        ("a logout token by what it says", with("events", json!({})), "no access token"),
        ("an id token by Keycloak's word", with("typ", json!("ID")), "no access token"),
        ("a logout token", header(json!({"typ": "logout+jwt"})), "no access token"),
        (
            "a logout token that calls itself a bearer",
            issuer.key.token(&json!({"typ": "logout+jwt"}), &claims.replacen('{', "{\"typ\":\"Bearer\",", 1)),
            "no access token",
        ),
        ("bound to a key", with("cnf", json!({"jkt": "x"})), "bound to a key"),
        ("no subject", with("sub", Value::Null), "speaks for nobody"),
        ("another tenant", with("tenant", json!("blue")), "its claim `tenant`"),
        ("claims twice", issuer.key.token(&json!({}), &twice), "its claims are not"),
        ("something critical", header(json!({"crit": ["b64"], "b64": false})), "an extension"),
        ("something critical that is nothing", header(json!({"crit": null})), "an extension"),
        ("a key by a number", header(json!({"kid": 1})), "no such key"),
        ("a key by a list", header(json!({"kid": ["one"]})), "its header"),
        (
            "claims exchanged",
            format!("{head}.{}.{signature}", b64(claims.replace("ann", "root"))),
            "the signature",
        ),
        (
            "a signature that ends as the good one does",
            format!(
                "{}.{}",
                &sound[..sound.rfind('.').unwrap()],
                b64([&[whole[0] ^ 1], &whole[1..]].concat())
            ),
            "the signature",
        ),
        (
            "a signature cut short",
            format!("{}.{}", &sound[..sound.rfind('.').unwrap()], b64(short)),
            "the signature",
        ),
        ("no signature", sound[..sound.rfind('.').unwrap() + 1].to_owned(), "the signature"),
        ("two parts", sound[..sound.rfind('.').unwrap()].to_owned(), "three base64url parts"),
        ("padding", format!("{sound}="), "three base64url parts"),
        ("a subject without end", with("sub", json!("x".repeat(256))), "speaks for nobody"),
        ("oversized", with("more", json!("x".repeat(8000))), "too long"),
        ("garbage", "garbage".to_owned(), "three base64url parts"),
    ];
    // By HTTP/2, a value that ends with a space is malformed.
    is(&bring(&narthex, "").await, 400);
    for (name, token, check) in &cases {
        let answer = bring(&narthex, token).await;
        is(&answer, 401);
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        assert_eq!(challenge, "Bearer realm=\"narthex\", error=\"invalid_token\"", "{name}");
        let refused = narthex.audit("request_refused");
        let reason = refused.last().unwrap()["reason"].as_str().unwrap();
        assert!(reason.contains(check), "{name}: {reason}");
    }
    assert_eq!(upstream.seen().len(), passed);
    // What lacks a scope is sound, and not enough.
    let poor = bring(&narthex, &with("scope", json!("photos.read"))).await;
    is(&poor, 403);
    let challenge = "Bearer realm=\"narthex\", error=\"insufficient_scope\", scope=\"photos\"";
    assert_eq!(poor.headers()["www-authenticate"], challenge);
    // One that says nothing that only access tokens say is none.
    let bare = json!({"scope": null, "client_id": null, "tenant": "red"});
    is(&bring(&narthex, &issuer.token(&bare)).await, 401);
    is(&bring(&narthex, &with("typ", json!("Bearer"))).await, 200);
    // A minute is forgiven, as clocks differ.
    is(&bring(&narthex, &with("exp", json!(now() - 30))).await, 200);
    is(&bring(&narthex, &with("nbf", json!(now() + 30))).await, 200);
    is(&bring(&narthex, &header(json!({"typ": "at+jwt"}))).await, 200);
    // No part of a token is logged.
    assert!(!narthex.log().contains(&sound[..40]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_ours_to_judge_only_where_the_route_says_so_and_only_alone() {
    let issuer = Issuer::start("ES256").await;
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let corp = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&corp.toml("\"anyone\""))
        .tables(&issuer.toml(""))
        .route("app", upstream.port, "bearer = true\nscopes = [\"photos\"]\naccess_token = true\ncors_origins = [\"https://spa.example.com\"]")
        .route("app", upstream.port, "path = \"/own\"\nbearer = true\npreflight = \"pass\"")
        .route("app", upstream.port, "path = \"/open\"\naccess = \"public\"")
        .start();
    let url = |path: &str| format!("{}{path}", narthex.origin("app"));
    let good = issuer.token(&json!({"scope": "photos"}));

    // Elsewhere it passes untouched.
    let client = Visitor::new(&narthex).client;
    let open: Seen =
        client.get(url("/open")).bearer_auth("theirs").send().await.unwrap().json().await.unwrap();
    assert_eq!(open.one("authorization"), "Bearer theirs");
    assert!(open.all("x-amzn-oidc-data").is_empty());

    // Without a token, a program gets a challenge and a browser is redirected to sign in.
    let stranger = Visitor::new(&narthex);
    let told = stranger.program(Method::GET, &url("/")).await;
    is(&told, 401);
    assert_eq!(told.headers()["www-authenticate"], "Bearer realm=\"narthex\"");
    is(&stranger.get(&url("/")).await, 303);
    // One that is not good is never sent anywhere.
    let sent = client.get(url("/")).bearer_auth("bad").header("accept", "text/html").send().await.unwrap();
    is(&sent, 401);
    // Nor is one for want of a scope.
    let poor =
        client.get(url("/")).bearer_auth(issuer.token(&json!({"scope": "mail"}))).send().await.unwrap();
    is(&poor, 403);
    let challenge = "Bearer realm=\"narthex\", error=\"insufficient_scope\", scope=\"photos\"";
    assert_eq!(poor.headers()["www-authenticate"], challenge);

    // Where the route says so, the app gets it, by our own name.
    let seen: Seen = client.get(url("/")).bearer_auth(&good).send().await.unwrap().json().await.unwrap();
    assert_eq!(seen.one("x-amzn-oidc-accesstoken"), good);
    // With a session beside it, the principal of the request is ambiguous.
    let alice = Visitor::new(&narthex);
    is(&alice.land(&url("/"), "alice").await, 200);
    is(&alice.client.get(url("/")).bearer_auth(&good).send().await.unwrap(), 400);
    let two = client.get(url("/")).bearer_auth(&good).bearer_auth(&good).send().await.unwrap();
    is(&two, 400);

    // A browser asks without credentials before it sends them.
    let ask = |headers: &[(&'static str, &'static str)]| {
        let request = Visitor::new(&narthex).client.request(Method::OPTIONS, url("/"));
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send()
    };
    let preflight = [("origin", "https://spa.example.com"), ("access-control-request-method", "GET")];
    let passed = upstream.seen().len();
    let told = ask(&preflight).await.unwrap();
    is(&told, 204);
    let header = |answer: &reqwest::Response, name: &str| {
        answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(header(&told, "access-control-allow-origin").as_deref(), Some("https://spa.example.com"));
    assert_eq!(header(&told, "access-control-allow-methods").as_deref(), Some("GET"));
    let other = [("origin", "https://evil.example.com"), ("access-control-request-method", "GET")];
    let told = ask(&other).await.unwrap();
    is(&told, 204);
    assert_eq!(header(&told, "access-control-allow-origin"), None);
    assert_eq!(upstream.seen().len(), passed, "the app is not asked");
    let spa = Visitor::new(&narthex).client.get(url("/")).bearer_auth(&good);
    let read = spa.header("origin", "https://spa.example.com").send().await.unwrap();
    is(&read, 200);
    assert_eq!(header(&read, "access-control-allow-origin").as_deref(), Some("https://spa.example.com"));
    assert_eq!(header(&read, "vary").as_deref(), Some("Origin"));
    // So it may read why it was refused.
    for (token, status) in [("bad".to_owned(), 401), (issuer.token(&json!({"scope": "mail"})), 403)] {
        let spa = Visitor::new(&narthex).client.get(url("/")).bearer_auth(token);
        let refused = spa.header("origin", "https://spa.example.com").send().await.unwrap();
        is(&refused, status);
        assert_eq!(
            header(&refused, "access-control-allow-origin").as_deref(),
            Some("https://spa.example.com")
        );
    }
    is(&ask(&[]).await.unwrap(), 401);
    // What a browser would not send with it makes it none.
    for sly in [("x-http-method-override", "DELETE"), ("cookie", "a=b"), ("authorization", "Basic eDp5")] {
        is(&ask(&[&preflight[..], &[sly]].concat()).await.unwrap(), 401);
    }
    // An app that answers by itself is asked, without an identity.
    let own = Visitor::new(&narthex).client.request(Method::OPTIONS, url("/own"));
    let own = preflight.iter().fold(own, |request, (name, value)| request.header(*name, *value));
    is(&own.send().await.unwrap(), 200);
    let asked = upstream.seen().pop().unwrap();
    assert!(asked.method == "OPTIONS" && asked.all("x-amzn-oidc-data").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_keys_up_has_them_fetched_no_more_often_than_the_bound_and_new_ones_are_found() {
    let issuer = Issuer::start("ES256").await;
    issuer.published.lock().unwrap().oauth = true;
    let (narthex, _upstream) = deployment(&issuer, "", "").await;
    let first = issuer.token(&json!({}));
    is(&bring(&narthex, &first).await, 200);
    // Another unknown key within ten seconds causes no fetch.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let made_up = (0..50).map(|kid| {
        let token = issuer
            .key
            .token(&json!({"kid": format!("made up {kid}")}), &issuer.claims(&json!({})).to_string());
        let narthex = &narthex;
        async move { bring(narthex, &token).await.status().as_u16() }
    });
    assert_eq!(futures_util::future::join_all(made_up).await, vec![401; 50]);
    assert_eq!(issuer.published.lock().unwrap().fetched, 2);

    // A token that is brought again and again is remembered in more than one place.
    for _ in 0..3 {
        is(&bring(&narthex, &first).await, 200);
    }
    // A new key counts once it may be asked for again, and the old one is gone with the set.
    let new = Key::new("ES256", "two");
    issuer.published.lock().unwrap().keys = vec![new.jwk()];
    let token = new.token(&json!({}), &issuer.claims(&json!({})).to_string());
    let begun = std::time::Instant::now();
    while bring(&narthex, &token).await.status() != 200 {
        assert!(begun.elapsed() < Duration::from_secs(13), "the new key does not count");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    is(&bring(&narthex, &issuer.token(&json!({"jti": "another"}))).await, 401);
    // So is what was believed by it, though it was remembered.
    is(&bring(&narthex, &first).await, 401);
    // An issuer that is down keeps the keys that it had.
    issuer.published.lock().unwrap().down = true;
    let later = new.token(&json!({}), &issuer.claims(&json!({"jti": "later"})).to_string());
    is(&bring(&narthex, &later).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_gets_its_role_by_rules_and_is_judged_each_time() {
    let issuer = Issuer::start("EdDSA").await;
    let upstream = Upstream::start().await;
    let roles = "[[role]]\nname = \"writer\"\npolicies = [\"writer.json\"]\n[[identity_pool]]\nname = \"main\"\n\
                 [identity_pool.principal_tags]\ncity = \"city\"\ndesk = \"desk\"\nteam = \"team\"\nzone = \"zone\"\n\
                 [[identity_pool.role_mapping]]\nprovider = \"api\"\ntype = \"rules\"\nambiguous = \"deny\"\n\
                 rules = [{ claim = \"client_id\", match = \"Equals\", value = \"robot\", role = \"writer\" }]\n";
    let keys = json!({"keys": [issuer.key.jwk()]}).to_string();
    let narthex = NarthexBuilder::new()
        .file(
            "writer.json",
            allows(&["*/teams/${aws:PrincipalTag/team}/*", "*/own/${aws:username}/*"]).to_string(),
        )
        .file("keys.json", keys)
        .tables(&issuer.toml("jwks = \"keys.json\""))
        .tables(roles)
        .route("app", upstream.port, "bearer = true\nname = \"photos\"\naccess = \"policy\"")
        .start();
    let client = Visitor::new(&narthex).client;
    let status = async |token: &str, path: &str| {
        let url = format!("{}{path}", narthex.origin("app"));
        client.post(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let robot = json!({"client_id": "robot", "city": "Zürich", "team": "red", "zone": "9"});
    let robot = issuer.token(&robot);
    assert_eq!(status(&robot, "/teams/red/notes").await, 200);
    let told = upstream.seen().pop().unwrap().claims();
    assert_eq!(told["role"], "arn:aws:iam::123456789012:role/writer");
    assert_eq!(told["tags"], json!({"city": "Zürich", "team": "red", "zone": "9"}));
    // A name is one segment of a path: one that holds a slash does not reach into what is
    // another's.
    let named = |name: &str| issuer.token(&json!({"client_id": "robot", "team": "red", "sub": name}));
    assert_eq!(status(&named("ann"), "/teams/red/notes").await, 200);
    let username = upstream.seen().pop().unwrap().claims()["cognito:username"].as_str().unwrap().to_owned();
    assert_eq!(status(&named("ann"), &format!("/own/{username}/private/x")).await, 200);
    assert_eq!(status(&named("ann/private"), &format!("/own/{username}/private/x")).await, 403);
    // What it would be can be explained beforehand.
    std::fs::write(narthex.folder().join("robot.jwt"), &robot).unwrap();
    let url = format!("{}/teams/red/notes", narthex.origin("app"));
    let explained = std::process::Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["explain", "--json", "--token", "robot.jwt", "POST", &url])
        .current_dir(narthex.folder())
        .output()
        .unwrap();
    let explained: Value = serde_json::from_slice(&explained.stdout).unwrap();
    assert_eq!(
        (&explained["decision"], &explained["role"]),
        (&json!("allowed"), &told["role"]),
        "{explained:#}"
    );
    // It is one text after another, and each is itself.
    let context = &explained["context"];
    assert_eq!(context["cognito-identity.amazonaws.com:sub"], json!([explained["identity_id"]]));
    assert_eq!(context["aws:PrincipalTag/city"], json!(["Zürich"]));
    assert_eq!(context["aws:username"], json!([explained["username"]]));
    let user_id = context["aws:userid"][0].as_str().unwrap().strip_prefix("writer:").unwrap();
    assert_eq!(user_id.len(), "00000000-0000-0000-0000-000000000000".len(), "{user_id}");
    // The verdict on one path serves no other.
    assert_eq!(status(&robot, "/teams/blue/notes").await, 403);
    assert_eq!(
        status(&issuer.token(&json!({"client_id": "person", "team": "red"})), "/teams/red/x").await,
        403
    );
    assert_eq!(issuer.published.lock().unwrap().fetched, 0, "its keys are in the file");
    std::fs::write(narthex.folder().join("writer.json"), allows(&["GET/none"]).to_string()).unwrap();
    crate::support::process::wait_until("the reload", || !narthex.audit("reload").is_empty());
    assert_eq!(status(&robot, "/teams/red/notes").await, 403);
    // Keys that are exchanged in the file count at once, for tokens that were believed before, too.
    let other = Key::new("EdDSA", "one");
    std::fs::write(narthex.folder().join("writer.json"), allows(&["*"]).to_string()).unwrap();
    std::fs::write(narthex.folder().join("keys.json"), json!({"keys": [other.jwk()]}).to_string()).unwrap();
    let begun = std::time::Instant::now();
    while status(&robot, "/x").await != 401 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the old key counts on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many tokens were verified that are `remembered` since, or are not.
fn verified(narthex: &Narthex, remembered: bool) -> u32 {
    let name = format!("narthex_bearer_verifications_total{{remembered=\"{remembered}\"}} ");
    let metrics = narthex.admin("/metrics");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_comes_once_takes_no_memory_and_one_that_came_twice_is_not_verified_again() {
    let issuer = Issuer::start("EdDSA").await;
    let (narthex, _upstream) = deployment(&issuer, "", "").await;
    for number in 0..5 {
        is(&bring(&narthex, &issuer.token(&json!({"jti": number.to_string()}))).await, 200);
    }
    assert_eq!((verified(&narthex, false), verified(&narthex, true)), (5, 0));
    let token = issuer.token(&json!({}));
    for _ in 0..5 {
        is(&bring(&narthex, &token).await, 200);
    }
    assert_eq!((verified(&narthex, false), verified(&narthex, true)), (6, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websockets_token_is_verified_once_more_and_then_looked_at_from_memory() {
    let issuer = Issuer::start("EdDSA").await;
    let port = app().await;
    let narthex = NarthexBuilder::new().tables(&issuer.toml("")).route("app", port, "bearer = true").start();
    let token = format!("Bearer {}", issuer.token(&json!({})));
    let mut socket = open_socket_with(&narthex, "authorization", &token).await;
    crate::support::process::wait_until("a look at it", || verified(&narthex, true) > 0);
    // Each second it is looked at.
    for _ in 0..15 {
        assert!(echoes(&mut socket, "still here").await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!((verified(&narthex, false), verified(&narthex, true)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_ends_with_its_token() {
    let issuer = Issuer::start("ES256").await;
    let port = app().await;
    let narthex = NarthexBuilder::new().tables(&issuer.toml("")).route("app", port, "bearer = true").start();
    // It has ended, and is forgiven that for a minute.
    let token = issuer.token(&json!({"exp": now() - 55}));
    let mut socket = open_socket_with(&narthex, "authorization", &format!("Bearer {token}")).await;
    assert!(echoes(&mut socket, "one").await);
    let begun = std::time::Instant::now();
    while echoes(&mut socket, "two").await {
        assert!(begun.elapsed() < Duration::from_secs(15), "it outlives its token");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(narthex.audit("stream_ended")[0]["reason"], "its token is over");
}

/// Project Wycheproof's vectors of JSON Web Signatures: what was signed is no token, so that
/// signatures are looked at alone.
#[test]
fn signatures_are_judged_as_project_wycheproof_has_it() {
    use wycheproof_ng_kdf_jose::json_web::{TestName, TestSet};
    let (mut good, mut bad, mut symmetric, mut surplus) = (0, 0, 0, Vec::new());
    for group in TestSet::load(TestName::JsonWebSignature).unwrap().test_groups {
        let keys = json!({"keys": group.public_key.iter().collect::<Vec<_>>()});
        let keys = narthex::jose::JwkSet::read(keys.to_string().as_bytes()).unwrap();
        for test in group.tests {
            let Some(Value::String(text)) = &test.jws else { continue };
            let jws = narthex::jose::Jws::read(text).ok();
            let believed = jws.is_some_and(|jws| {
                keys.verify(jws.kid.as_deref(), jws.algorithm, jws.message, &jws.signature)
            });
            match (believed, test.result.must_fail()) {
                (true, false) => good += 1,
                (false, true) => bad += 1,
                (true, true) => panic!("{}: {} is believed", test.tc_id, test.comment),
                // What is secret to both sides is none of our algorithms.
                (false, false) if group.public_key.is_none() => symmetric += 1,
                (false, false) => surplus.push((test.tc_id, test.comment)),
            }
        }
    }
    assert_eq!((good, bad, symmetric), (32, 355, 10));
    // Their keys say another algorithm than their headers, or one that there is not: RFC 8725,
    // section 3.1 wants each key used with one.
    assert_eq!(surplus.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [346, 347, 350, 351], "{surplus:?}");
}

#[test]
fn what_is_wrong_about_issuers_is_told() {
    let good = "public_url = \"https://auth.example.com\"\n[[issuer]]\nurl = \"https://idp.example.com\"\naudience = \"api\"\n\
                [[route]]\nhost = \"app.example.com\"\nupstream = \"http://127.0.0.1:1\"\nbearer = true\n";
    each_is_told(
        good,
        &[
            ("audience = \"api\"\n", "", "`audience` is missing in [[issuer]]"),
            ("https://idp.example.com", "http://idp.example.com", "is not https"),
            ("https://idp.example.com", "https://idp.example.com/?x", "has a query or a fragment"),
            (
                "audience = \"api\"",
                "audience = \"api\"\nalgorithms = \"HS256\"",
                "`algorithms` cannot be \"HS256\"",
            ),
            (
                "audience = \"api\"",
                "audience = \"api\"\njwks = \"http://idp.example.com/keys\"",
                "is not https",
            ),
            ("audience = \"api\"", "audience = \"api\"\njwks = \"absent.json\"", "cannot read"),
            ("bearer = true", "scopes = \"a\"", "`scopes` has no effect without bearer = true"),
            ("bearer = true", "bearer = true\nscopes = \"a b\"", "\"a b\" is not a scope"),
            (
                "bearer = true",
                "bearer = true\ncors_origins = \"https://spa.example.com/\"",
                "is not an origin",
            ),
            (
                "[[issuer]]\nurl = \"https://idp.example.com\"\naudience = \"api\"\n",
                "",
                "no token can be valid for route",
            ),
        ],
    );
}

/// A policy that allows everything of the route, but for what these conditions deny.
fn all_but(conditions: &[Value]) -> String {
    let statement = |effect: &str, condition: &Value| json!({"Effect": effect, "Action": "execute-api:Invoke", "Resource": "*", "Condition": condition});
    let denies = conditions.iter().map(|condition| statement("Deny", condition));
    let statements: Vec<Value> = std::iter::once(statement("Allow", &json!({}))).chain(denies).collect();
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_a_rule_or_a_tag_names_is_read_whole_or_refuses_the_token() {
    let issuer = Issuer::start("EdDSA").await;
    let upstream = Upstream::start().await;
    let roles = "[[role]]\nname = \"admin\"\npolicies = [\"all.json\"]\n[[role]]\nname = \"reader\"\npolicies = [\"all.json\"]\n\
                 [[identity_pool]]\nname = \"main\"\n[identity_pool.principal_tags]\nteam = \"team\"\n\
                 [[identity_pool.role_mapping]]\nprovider = \"api\"\ntype = \"rules\"\nambiguous = \"deny\"\nrules = [\
                 { claim = \"roles\", match = \"Equals\", value = \"admin\", role = \"admin\" }, \
                 { claim = \"groups\", match = \"NotEqual\", value = \"banned\", role = \"reader\" }]\n";
    let denied = json!({"StringEquals": {"aws:PrincipalTag/team": ["red", "blue"]}});
    let narthex = NarthexBuilder::new()
        .file("all.json", all_but(&[denied]))
        .tables(&issuer.toml(""))
        .tables(roles)
        .route("app", upstream.port, "bearer = true\nname = \"photos\"\naccess = \"policy\"")
        .start();
    let many = |last: &str| {
        let mut groups = vec![json!("g"); 1000];
        groups.push(json!(last));
        Value::Array(groups)
    };
    let staff = json!(["staff"]);
    for (claims, expected) in [
        (json!({"groups": staff}), 200),
        (json!({"groups": staff, "team": "green", "other": {"a": ["b"]}}), 200),
        (json!({"groups": staff, "team": "red"}), 403),
        // A list of one is that one.
        (json!({"groups": staff, "team": ["red"]}), 403),
        (json!({"groups": staff, "team": ["green"]}), 200),
        (json!({"groups": staff, "team": []}), 200),
        (json!({"groups": staff, "team": null}), 200),
        (json!({"groups": staff, "team": ["green", "red"]}), 401),
        (json!({"groups": staff, "team": {"name": "red"}}), 401),
        (json!({"groups": staff, "team": [["red"]]}), 401),
        (json!({"groups": staff, "team": format!("red{}", "x".repeat(2048))}), 401),
        (json!({"groups": staff, "team": "red\u{7}"}), 401),
        (json!({"groups": staff, "team": "red\u{85}"}), 401),
        (json!({"groups": staff, "_claim_names": {"team": "src1"}}), 401),
        (json!({"groups": ["staff", "banned"]}), 403),
        (json!({"groups": "banned"}), 403),
        (json!({}), 403),
        (json!({"groups": many("g").as_array().unwrap()[1..]}), 200),
        (json!({"groups": many("banned")}), 401),
        (json!({"groups": ["staff", "x".repeat(257)]}), 401),
        (json!({"groups": ["staff", {"name": "banned"}]}), 401),
        (json!({"groups": {"banned": true}}), 401),
        (json!({"_claim_names": {"groups": "src1"}}), 401),
        (json!({"cognito:groups": {"banned": true}, "groups": staff}), 401),
        (json!({"roles": ["editor", "admin"]}), 200),
        (json!({"roles": "admin"}), 200),
        (json!({"roles": ["editor"], "groups": staff}), 200),
        (json!({"roles": {"admin": true}, "groups": staff}), 401),
        (json!({"roles": ["admin", {}]}), 401),
        // Whether a rule before it matches is not asked.
        (json!({"roles": "admin", "groups": ["a", 1, true]}), 200),
    ] {
        // The second time it is judged from memory.
        for _ in 0..2 {
            let answer = bring(&narthex, &issuer.token(&claims)).await;
            assert_eq!(
                answer.status().as_u16(),
                expected,
                "{}",
                claims.to_string().chars().take(200).collect::<String>()
            );
            if expected == 401 {
                let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
                assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
            }
        }
    }
    // By a list, the rule that names one of its values gives the role.
    is(&bring(&narthex, &issuer.token(&json!({"roles": ["editor", "admin"]}))).await, 200);
    assert_eq!(upstream.seen().pop().unwrap().claims()["role"], "arn:aws:iam::123456789012:role/admin");
    let refused = narthex.log();
    assert!(
        refused.contains("the claim `team`, which a rule or a tag")
            && refused.contains("its claim `groups` cannot be compared")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_time_in_a_token_is_read_alike_and_an_unknown_one_is_no_fresh_authentication() {
    let issuer = Issuer::start("EdDSA").await;
    let upstream = Upstream::start().await;
    let fresh = [
        json!({"Bool": {"aws:MultiFactorAuthPresent": "false"}}),
        json!({"NumericGreaterThan": {"aws:MultiFactorAuthAge": "3600"}}),
    ];
    let narthex = NarthexBuilder::new()
        .file("all.json", all_but(&fresh))
        .tables(&issuer.toml(""))
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\nauthenticated_role = \"all\"\n")
        .route("app", upstream.port, "bearer = true\nname = \"photos\"\naccess = \"policy\"")
        .start();
    let token = |times: &[(&str, String)]| {
        let mut claims = issuer.claims(&json!({"amr": ["pwd", "mfa"]}));
        times.iter().for_each(|(name, _)| claims[*name] = json!(format!("<{name}>")));
        let text = times
            .iter()
            .fold(claims.to_string(), |text, (name, time)| text.replace(&format!("\"<{name}>\""), time));
        issuer.key.token(&Value::Null, &text)
    };
    let old = now() - 2 * 86400;
    for (auth_time, expected) in [
        (format!("{}", now() - 10), 200),
        (format!("{}.5", now() - 10), 200),
        (format!("{}e-1", (now() - 10) * 10), 200),
        (format!("{old}"), 403),
        (format!("{old}.5"), 403),
        (format!("{old}.0"), 403),
        (format!("{}e-3", old * 1000), 403),
        ("1e9".to_owned(), 403),
        ("1E9".to_owned(), 403),
        (format!("\"{}\"", now() - 10), 200),
        (format!("\"{old}\""), 403),
        ("\"now\"".to_owned(), 403),
        ("null".to_owned(), 403),
        ("true".to_owned(), 403),
        ("[1]".to_owned(), 403),
        ("-1".to_owned(), 403),
        ("0".to_owned(), 403),
        (format!("{}", now() + 3600), 403),
        (format!("{}", (now() - 10) * 1000), 403),
        ("1e300".to_owned(), 403),
    ] {
        let answer = bring(&narthex, &token(&[("auth_time", auth_time.clone())])).await;
        assert_eq!(answer.status().as_u16(), expected, "{auth_time}");
    }
    is(&bring(&narthex, &token(&[])).await, 403);
    // So it is with the other times.
    let recent = ("auth_time", now().to_string());
    for (name, time, expected) in [
        ("exp", format!("{}.5", now() + 300), 200),
        ("exp", format!("{}.0", now() + 300), 200),
        ("exp", "3e9".to_owned(), 200),
        ("exp", format!("{}.5", now() - 120), 401),
        ("exp", "1e9".to_owned(), 401),
        ("exp", format!("\"{}\"", now() + 300), 200),
        ("exp", format!("\"{}\"", now() - 120), 401),
        ("exp", "\"tomorrow\"".to_owned(), 401),
        ("exp", "1e12".to_owned(), 401),
        ("nbf", "1e9".to_owned(), 200),
        ("nbf", "3e9".to_owned(), 401),
        ("nbf", "\"1\"".to_owned(), 200),
        ("nbf", "\"3000000000\"".to_owned(), 401),
        ("nbf", "\"soon\"".to_owned(), 401),
        ("iat", format!("{}.25", now()), 200),
        ("iat", "3e9".to_owned(), 401),
        ("iat", "null".to_owned(), 401),
    ] {
        let answer = bring(&narthex, &token(&[recent.clone(), (name, time.clone())])).await;
        assert_eq!(answer.status().as_u16(), expected, "{name} {time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_workloads_are_taken_where_the_file_says_so() {
    let issuer = Issuer::start("RS256").await;
    let upstream = Upstream::start().await;
    let start = |more: &str| {
        NarthexBuilder::new().tables(&issuer.toml(more)).route("app", upstream.port, "bearer = true").start()
    };
    let none = ("client_id", Value::Null);
    let with = |claims: Value| {
        let mut all = json!({ none.0: none.1 });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        all
    };
    let kinds = [
        (
            "Kubernetes",
            json!({"typ": null}),
            json!({"sub": "system:serviceaccount:default:app", "kubernetes.io": {"namespace": "default"}}),
        ),
        ("GitHub Actions", json!({}), json!({"sub": "repo:o/r:ref:refs/heads/main", "repository": "o/r"})),
        (
            "GitLab CI",
            json!({}),
            json!({"sub": "project_path:g/p:ref_type:branch:ref:main", "project_path": "g/p"}),
        ),
        (
            "Google",
            json!({}),
            json!({"sub": "1079", "azp": "1079", "email": "svc@p.example", "email_verified": true}),
        ),
        ("SPIFFE", json!({"typ": "JOSE"}), json!({"sub": "spiffe://example.org/app", "aud": ["photos-api"]})),
        ("Auth0", json!({}), json!({"sub": "cid@clients", "azp": "cid", "gty": "client-credentials"})),
        (
            "Entra ID",
            json!({}),
            json!({"sub": "o", "azp": "x", "azpacr": "1", "ver": "2.0", "idtyp": "app", "tid": "t"}),
        ),
        ("an ID token", json!({}), json!({"sub": "o", "nonce": "n"})),
    ];
    let (strict, open) = (start(""), start("token_type = \"any\""));
    for (name, header, claims) in kinds {
        let token = issuer.key.token(&header, &issuer.claims(&with(claims)).to_string());
        assert_eq!(bring(&open, &token).await.status(), 200, "{name}");
        assert_eq!(bring(&strict, &token).await.status(), 401, "{name}");
        assert!(
            strict.audit("request_refused").pop().unwrap()["reason"]
                .as_str()
                .unwrap()
                .contains("token_type = \"any\"")
        );
    }
    // What is checked of a token is checked of these as well.
    for (name, header, claims, check) in [
        ("another audience", json!({}), json!({"aud": "other-api"}), "somebody else"),
        ("another issuer", json!({}), json!({"iss": "https://other.example"}), "no [[issuer]]"),
        ("past its end", json!({}), json!({"exp": now() - 70}), "has ended"),
        ("a logout token", json!({"typ": "logout+jwt"}), json!({}), "no access token"),
        ("a logout token by what it says", json!({}), json!({"events": {}}), "no access token"),
        ("a client assertion", json!({"typ": "client-authentication+jwt"}), json!({}), "no access token"),
        ("a DPoP proof", json!({"typ": "dpop+jwt"}), json!({}), "no access token"),
        ("a refresh token of Keycloak", json!({}), json!({"typ": "Refresh"}), "no access token"),
        ("a refresh token of Cognito", json!({}), json!({"token_use": "refresh"}), "no access token"),
    ] {
        let token = issuer.key.token(&header, &issuer.claims(&with(claims)).to_string());
        assert_eq!(bring(&open, &token).await.status(), 401, "{name}");
        let refused = open.audit("request_refused").pop().unwrap();
        assert!(refused["reason"].as_str().unwrap().contains(check), "{name}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_svid_is_of_the_trust_domain_that_its_subject_names() {
    let (issuer, upstream) = (Issuer::start("ES256").await, Upstream::start().await);
    let mut key = issuer.key.jwk();
    key["use"] = "jwt-svid".into();
    let narthex = NarthexBuilder::new()
        .file("bundle.json", json!({ "keys": [key] }).to_string())
        .tables(
            "[[issuer]]\nname = \"mesh\"\nurl = \"spiffe://example.org\"\naudience = \"photos-api\"\njwks = \"bundle.json\"\n",
        )
        .route("app", upstream.port, "bearer = true")
        .start();
    let other = Key::new("ES256", "one");
    for (name, key, claims, status) in [
        ("a workload", &issuer.key, json!({}), 200),
        ("one that names its trust domain", &issuer.key, json!({"iss": "spiffe://example.org"}), 200),
        ("another trust domain", &issuer.key, json!({"sub": "spiffe://example.com/app"}), 401),
        (
            "a trust domain that begins alike",
            &issuer.key,
            json!({"sub": "spiffe://example.org.evil/app"}),
            401,
        ),
        ("no workload", &issuer.key, json!({"sub": "spiffe://example.org"}), 401),
        ("another issuer", &issuer.key, json!({"iss": "https://other.example"}), 401),
        ("another audience", &issuer.key, json!({"aud": ["mail-api"]}), 401),
        ("another key", &other, json!({}), 401),
        ("no end", &issuer.key, json!({"exp": null}), 401),
        (
            "another trust domain's workload",
            &issuer.key,
            json!({"iss": "spiffe://example.org", "sub": "spiffe://example.com/admin"}),
            401,
        ),
        ("no SPIFFE ID", &issuer.key, json!({"iss": "spiffe://example.org", "sub": "root"}), 401),
        ("a dot segment", &issuer.key, json!({"sub": "spiffe://example.org/../example.com/app"}), 401),
        ("an empty segment", &issuer.key, json!({"sub": "spiffe://example.org//app"}), 401),
    ] {
        let svid = json!({"iss": null, "sub": "spiffe://example.org/app", "client_id": null});
        let mut all = svid.as_object().unwrap().clone();
        all.extend(claims.as_object().unwrap().clone());
        let token = key.token(&json!({}), &issuer.claims(&Value::Object(all)).to_string());
        assert_eq!(bring(&narthex, &token).await.status(), status, "{name}");
    }
}
