//! Bearer tokens of other issuers: the check that refuses each wrong one, keys and their fetches,
//! scopes.

use crate::support::config_errors::assert_each_reported;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::OpenIdProvider;
use crate::support::streams::{echoes, open_socket_with_header, start_stream_app};
use crate::support::time::unix_seconds;
use crate::support::token_issuer::{Issuer, Key, base64url, deployment};
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, assert_status, get_with_token};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_every_algorithm_open_the_door_and_the_app_is_told_whose_they_are() {
    for algorithm in
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
    {
        let issuer = Issuer::start(algorithm).await;
        let (narthex, upstream) = deployment(&issuer, "", "").await;
        let claims =
            json!({"email": "ann@api.example", "email_verified": true, "groups": ["staff"], "scope": "a b"});
        let answer = get_with_token(&narthex, &issuer.token(&claims)).await;
        assert_status(&answer, 200);
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
        assert!(seen.header_values("authorization").is_empty(), "the token stays with us");
        // Seen before, it is the same person's.
        assert_status(&get_with_token(&narthex, &issuer.token(&claims)).await, 200);
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
        format!("{}.{}.{}", base64url(header.to_string()), base64url(&claims), base64url(signature))
    };
    let sound = header(json!({}));
    // What came twice is remembered: none of the others may be taken for it.
    for _ in 0..2 {
        assert_status(&get_with_token(&narthex, &sound).await, 200);
    }
    let passed = upstream.seen().len();

    // The public key, taken for a secret.
    let secret = issuer.key.jwk()["n"].as_str().unwrap().to_owned();
    let confused = {
        let message = format!(
            "{}.{}",
            base64url(json!({"alg": "HS256", "kid": "one"}).to_string()),
            base64url(&claims)
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        format!("{message}.{}", base64url(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
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
        ("past its end", with("exp", json!(unix_seconds() - 70)), "has ended"),
        ("not yet", with("nbf", json!(unix_seconds() + 120)), "`nbf` is 1"),
        (
            "made in the future",
            with("iat", json!(unix_seconds() + 120)),
            "s in the future, and 60 s are allowed",
        ),
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
            format!("{head}.{}.{signature}", base64url(claims.replace("ann", "root"))),
            "the signature",
        ),
        (
            "a signature that ends as the good one does",
            format!(
                "{}.{}",
                &sound[..sound.rfind('.').unwrap()],
                base64url([&[whole[0] ^ 1], &whole[1..]].concat())
            ),
            "the signature",
        ),
        (
            "a signature cut short",
            format!("{}.{}", &sound[..sound.rfind('.').unwrap()], base64url(short)),
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
    assert_status(&get_with_token(&narthex, "").await, 400);
    for (name, token, check) in &cases {
        let answer = get_with_token(&narthex, token).await;
        assert_status(&answer, 401);
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        match *check {
            // RFC 9449, section 7.1.
            "bound to a key" => {
                assert!(challenge.starts_with("DPoP realm=\"narthex\", error=\"invalid_token\", algs=\""))
            }
            _ => assert_eq!(challenge, "Bearer realm=\"narthex\", error=\"invalid_token\"", "{name}"),
        }
        let refused = narthex.audit("request_refused");
        let reason = refused.last().unwrap()["reason"].as_str().unwrap();
        assert!(reason.contains(check), "{name}: {reason}");
    }
    assert_eq!(upstream.seen().len(), passed);
    // What lacks a scope is sound, and not enough.
    let poor = get_with_token(&narthex, &with("scope", json!("photos.read"))).await;
    assert_status(&poor, 403);
    let challenge = "Bearer realm=\"narthex\", error=\"insufficient_scope\", scope=\"photos\"";
    assert_eq!(poor.headers()["www-authenticate"], challenge);
    // One that says nothing that only access tokens say is none.
    let bare = json!({"scope": null, "client_id": null, "tenant": "red"});
    assert_status(&get_with_token(&narthex, &issuer.token(&bare)).await, 401);
    assert_status(&get_with_token(&narthex, &with("typ", json!("Bearer"))).await, 200);
    // A minute is forgiven, as clocks differ.
    assert_status(&get_with_token(&narthex, &with("exp", json!(unix_seconds() - 30))).await, 200);
    assert_status(&get_with_token(&narthex, &with("nbf", json!(unix_seconds() + 30))).await, 200);
    assert_status(&get_with_token(&narthex, &header(json!({"typ": "at+jwt"}))).await, 200);
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
    assert_eq!(open.header("authorization"), "Bearer theirs");
    assert!(open.header_values("x-amzn-oidc-data").is_empty());

    // Without a token, a program gets a challenge and a browser is redirected to sign in.
    let stranger = Visitor::new(&narthex);
    let told = stranger.request_json(Method::GET, &url("/")).await;
    assert_status(&told, 401);
    assert_eq!(told.headers()["www-authenticate"], "Bearer realm=\"narthex\"");
    assert_status(&stranger.get(&url("/")).await, 303);
    // One that is not good is never sent anywhere.
    let sent = client.get(url("/")).bearer_auth("bad").header("accept", "text/html").send().await.unwrap();
    assert_status(&sent, 401);
    // Nor is one for want of a scope.
    let poor =
        client.get(url("/")).bearer_auth(issuer.token(&json!({"scope": "mail"}))).send().await.unwrap();
    assert_status(&poor, 403);
    let challenge = "Bearer realm=\"narthex\", error=\"insufficient_scope\", scope=\"photos\"";
    assert_eq!(poor.headers()["www-authenticate"], challenge);

    // Where the route says so, the app gets it, by our own name.
    let seen: Seen = client.get(url("/")).bearer_auth(&good).send().await.unwrap().json().await.unwrap();
    assert_eq!(seen.header("x-amzn-oidc-accesstoken"), good);
    // With a session beside it, the principal of the request is ambiguous.
    let alice = Visitor::new(&narthex);
    assert_status(&alice.sign_in(&url("/"), "alice").await, 200);
    assert_status(&alice.client.get(url("/")).bearer_auth(&good).send().await.unwrap(), 400);
    let two = client.get(url("/")).bearer_auth(&good).bearer_auth(&good).send().await.unwrap();
    assert_status(&two, 400);

    // A browser asks without credentials before it sends them.
    let ask = |headers: &[(&'static str, &'static str)]| {
        let request = Visitor::new(&narthex).client.request(Method::OPTIONS, url("/"));
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send()
    };
    let preflight = [("origin", "https://spa.example.com"), ("access-control-request-method", "GET")];
    let passed = upstream.seen().len();
    let told = ask(&preflight).await.unwrap();
    assert_status(&told, 204);
    let header = |answer: &reqwest::Response, name: &str| {
        answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(header(&told, "access-control-allow-origin").as_deref(), Some("https://spa.example.com"));
    assert_eq!(header(&told, "access-control-allow-methods").as_deref(), Some("GET"));
    let other = [("origin", "https://evil.example.com"), ("access-control-request-method", "GET")];
    let told = ask(&other).await.unwrap();
    assert_status(&told, 204);
    assert_eq!(header(&told, "access-control-allow-origin"), None);
    assert_eq!(upstream.seen().len(), passed, "the app is not asked");
    let spa = Visitor::new(&narthex).client.get(url("/")).bearer_auth(&good);
    let read = spa.header("origin", "https://spa.example.com").send().await.unwrap();
    assert_status(&read, 200);
    assert_eq!(header(&read, "access-control-allow-origin").as_deref(), Some("https://spa.example.com"));
    assert_eq!(header(&read, "vary").as_deref(), Some("Origin"));
    // So it may read why it was refused.
    for (token, status) in [("bad".to_owned(), 401), (issuer.token(&json!({"scope": "mail"})), 403)] {
        let spa = Visitor::new(&narthex).client.get(url("/")).bearer_auth(token);
        let refused = spa.header("origin", "https://spa.example.com").send().await.unwrap();
        assert_status(&refused, status);
        assert_eq!(
            header(&refused, "access-control-allow-origin").as_deref(),
            Some("https://spa.example.com")
        );
    }
    assert_status(&ask(&[]).await.unwrap(), 401);
    // What a browser would not send with it makes it none.
    for sly in [("x-http-method-override", "DELETE"), ("cookie", "a=b"), ("authorization", "Basic eDp5")] {
        assert_status(&ask(&[&preflight[..], &[sly]].concat()).await.unwrap(), 401);
    }
    // An app that answers by itself is asked, without an identity.
    let own = Visitor::new(&narthex).client.request(Method::OPTIONS, url("/own"));
    let own = preflight.iter().fold(own, |request, (name, value)| request.header(*name, *value));
    assert_status(&own.send().await.unwrap(), 200);
    let asked = upstream.seen().pop().unwrap();
    assert!(asked.method == "OPTIONS" && asked.header_values("x-amzn-oidc-data").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_keys_up_has_them_fetched_no_more_often_than_the_bound_and_new_ones_are_found() {
    let issuer = Issuer::start("ES256").await;
    issuer.published.lock().unwrap().oauth = true;
    let (narthex, _upstream) = deployment(&issuer, "", "").await;
    let first = issuer.token(&json!({}));
    assert_status(&get_with_token(&narthex, &first).await, 200);
    // Another unknown key within ten seconds causes no fetch.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let made_up = (0..50).map(|kid| {
        let token = issuer
            .key
            .token(&json!({"kid": format!("made up {kid}")}), &issuer.claims(&json!({})).to_string());
        let narthex = &narthex;
        async move { get_with_token(narthex, &token).await.status().as_u16() }
    });
    assert_eq!(futures_util::future::join_all(made_up).await, vec![401; 50]);
    assert_eq!(issuer.published.lock().unwrap().fetched, 2);

    // A token that is brought again and again is remembered in more than one place.
    for _ in 0..3 {
        assert_status(&get_with_token(&narthex, &first).await, 200);
    }
    // A new key counts once it may be asked for again, and the old one is gone with the set.
    let new = Key::new("ES256", "two");
    issuer.published.lock().unwrap().keys = vec![new.jwk()];
    let token = new.token(&json!({}), &issuer.claims(&json!({})).to_string());
    let begun = std::time::Instant::now();
    while get_with_token(&narthex, &token).await.status() != 200 {
        assert!(begun.elapsed() < Duration::from_secs(13), "the new key does not count");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_status(&get_with_token(&narthex, &issuer.token(&json!({"jti": "another"}))).await, 401);
    // So is what was believed by it, though it was remembered.
    assert_status(&get_with_token(&narthex, &first).await, 401);
    // An issuer that is down keeps the keys that it had.
    issuer.published.lock().unwrap().down = true;
    let later = new.token(&json!({}), &issuer.claims(&json!({"jti": "later"})).to_string());
    assert_status(&get_with_token(&narthex, &later).await, 200);
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
        assert_status(
            &get_with_token(&narthex, &issuer.token(&json!({"jti": number.to_string()}))).await,
            200,
        );
    }
    assert_eq!((verified(&narthex, false), verified(&narthex, true)), (5, 0));
    let token = issuer.token(&json!({}));
    for _ in 0..5 {
        assert_status(&get_with_token(&narthex, &token).await, 200);
    }
    assert_eq!((verified(&narthex, false), verified(&narthex, true)), (6, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websockets_token_is_verified_once_more_and_then_looked_at_from_memory() {
    let issuer = Issuer::start("EdDSA").await;
    let port = start_stream_app().await;
    let narthex = NarthexBuilder::new().tables(&issuer.toml("")).route("app", port, "bearer = true").start();
    let token = format!("Bearer {}", issuer.token(&json!({})));
    let mut socket = open_socket_with_header(&narthex, "authorization", &token).await;
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
    let port = start_stream_app().await;
    let narthex = NarthexBuilder::new().tables(&issuer.toml("")).route("app", port, "bearer = true").start();
    // It has ended, and is forgiven that for a minute.
    let token = issuer.token(&json!({"exp": unix_seconds() - 55}));
    let mut socket = open_socket_with_header(&narthex, "authorization", &format!("Bearer {token}")).await;
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
    assert_each_reported(
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
