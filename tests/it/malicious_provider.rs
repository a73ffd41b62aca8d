//! An OpenID provider that deviates from the standard in one thing at a time: the audit log names
//! the check that refuses it. What differs only in that thing is accepted.

use crate::support::malicious_provider::{CLIENT_SECRET, Claims, Lie, Provider, start_deployment, try_login};
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::provider_toml;
use crate::support::policies::allow_policy;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, location, redirect_target};
use narthex::base::{Clock as _, SystemClock};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn every_lie_is_refused_by_the_check_that_is_meant_for_it_and_leaves_no_session() {
    let (provider, narthex, upstream) = start_deployment().await;
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
        assert_status(&refused, *status);
        let page = refused.text().await.unwrap();
        assert!(page.contains(failed[count]["request_id"].as_str().unwrap()), "{page}");
        // No session is left: the way leads to the provider again.
        let again = visitor.get(&format!("{}/", narthex.origin("app"))).await;
        let begun = visitor.get(location(&again).as_str()).await;
        assert!(redirect_target(&begun).unwrap().starts_with(&provider.issuer), "{lie:?} left a session");
    }
    assert!(upstream.seen().is_empty());
    assert!(narthex.audit("login").is_empty());
    *provider.lie.lock().unwrap() = Lie::None;
    assert_status(&try_login(&narthex).await.1, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_honest_provider_may_do_is_taken() {
    let (provider, narthex, _upstream) = start_deployment().await;
    for lie in [
        Lie::Claim("exp", |now| json!(now - 50)),
        Lie::Claim("iat", |now| json!(now + 50)),
        Lie::Claim("nbf", |now| json!(now + 50)),
        Lie::Claim("azp", |_| json!("narthex")),
        Lie::Claim("aud", |_| json!(["narthex"])),
        Lie::Claim("email_verified", |_| json!("true")),
    ] {
        *provider.lie.lock().unwrap() = lie;
        assert_status(&try_login(&narthex).await.1, 200);
    }
    // A clock that differs is tolerated, and logged.
    for words in ["the provider's clock is ahead of ours", "the provider's clock is behind ours"] {
        assert!(narthex.log().contains(words), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_may_change_its_keys() {
    let (provider, narthex, _upstream) = start_deployment().await;
    assert_status(&try_login(&narthex).await.1, 200);
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
    assert_status(&answered, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_sleeps_is_waited_for_only_so_long() {
    let (provider, narthex, _upstream) = start_deployment().await;
    *provider.lie.lock().unwrap() = Lie::Sleeps;
    let begun = std::time::Instant::now();
    let (_, answer) = try_login(&narthex).await;
    assert_status(&answer, 502);
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
    let mut secrets = vec![CLIENT_SECRET.to_owned()];
    loop {
        let answer = visitor.get(&url).await;
        for cookie in answer.headers().get_all("set-cookie") {
            let value =
                cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
            secrets.extend(Some(value).filter(|value| value.len() > 8));
        }
        match redirect_target(&answer) {
            Some(to) => url = to,
            None => break assert_status(&answer, 200),
        }
        let to = url::Url::parse(&url).unwrap();
        secrets.extend(
            to.query_pairs()
                .filter(|(name, _)| name == "code")
                .map(|(_, value)| value.into_owned())
                .filter(|v| v != "code"),
        );
    }
    secrets.push(upstream.seen()[0].header("x-amzn-oidc-data").to_owned());
    assert!(secrets.len() >= 6, "{}", secrets.len());
    let log = narthex.log();
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_comes_twice_is_refused_though_the_provider_does_not_notice() {
    let (provider, narthex, _upstream) = start_deployment().await;
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
    assert_status(&send().await, 303);
    assert_status(&send().await, 400);
    assert_eq!(narthex.audit("login_failed").last().unwrap()["reason"], "attempt_used");
    assert_eq!(narthex.audit("login").len(), 1, "{}", provider.issuer);
    // The provider might revoke what it granted for a code that comes twice.
    assert_eq!(provider.redeemed.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_is_delivered_eight_times_at_once_reaches_the_provider_once() {
    let (provider, narthex, _upstream) = start_deployment().await;
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
                assert_status(&answer, 400);
                let failed = narthex.audit("login_failed").pop().unwrap();
                assert_eq!(failed["reason"], check, "{claims}");
                assert!(failed["detail"].as_str().unwrap().contains("help:"), "{failed}");
            }
            None => assert_status(&answer, 200),
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
        assert_status(&try_login(&narthex).await.1, 502);
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
async fn a_session_ends_with_its_refresh_token_by_whichever_error_the_provider_says_so() {
    let (provider, narthex, _upstream) = start_deployment().await;
    let app = format!("{}/", narthex.origin("app"));
    for (refusal, ends) in [
        (json!({ "error": "invalid_request" }), true),
        (json!({ "error": "invalid_request", "error_description": "Unknown refresh token" }), true),
        (json!({ "error": "invalid_grant" }), true),
        (json!({ "error": "invalid_request", "error_description": "client_id is missing" }), false),
    ] {
        *provider.refusal.lock().unwrap() = refusal.clone();
        let (visitor, landed) = try_login(&narthex).await;
        assert_status(&landed, 200);
        // The tokens count for four seconds. Each request after that has them renewed.
        let begun = std::time::Instant::now();
        let outcome = |narthex: &Narthex| {
            let failed = narthex.log().matches("could not be renewed: tried again later").count();
            (narthex.audit("session_ended").len(), failed)
        };
        let before = outcome(&narthex);
        while outcome(&narthex) == before {
            assert!(begun.elapsed() < Duration::from_secs(20), "{refusal}");
            visitor.request_json(reqwest::Method::GET, &app).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_status(&visitor.request_json(reqwest::Method::GET, &app).await, if ends { 401 } else { 200 });
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
    assert_status(&try_login(&narthex).await.1, 200);
    assert!(upstream.seen().last().unwrap().claims().get("auth_time").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_refused_where_a_claim_that_decides_cannot_be_compared() {
    let upstream = Upstream::start().await;
    let (provider, port) = Provider::start().await;
    let narthex = NarthexBuilder::new()
        .file("all.json", allow_policy(&["*"]).to_string())
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
