//! Back-channel logout tokens: the sessions that they end, and the check that refuses each wrong
//! one.

use crate::support::malicious_provider::{CLIENT_SECRET, new_signing_key, start_deployment, try_login};
use crate::support::visitor::{Visitor, assert_status};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use narthex::base::{Clock as _, SystemClock};
use narthex::jose::{self, HeaderParameter, SigningKey};
use serde_json::{Value, json};

/// A logout token of `claims`, signed by `key`.
fn logout_token(key: &SigningKey, typ: &str, claims: &Value) -> String {
    let header = [("typ", HeaderParameter::Text(typ))];
    jose::sign(key, &header, claims).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_token_ends_what_it_names_and_every_lie_in_one_is_refused() {
    let (provider, narthex, _upstream) = start_deployment().await;
    let app = format!("{}/", narthex.origin("app"));
    let (visitor, landed) = try_login(&narthex).await;
    assert_status(&landed, 200);
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
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
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
        ("another key", logout_token(&new_signing_key("first"), "logout+jwt", &truth("k")), "signature"),
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
        assert_status(&send(token).await, 400);
        let told = narthex.audit("backchannel_logout_failed");
        assert_eq!((told.len(), told.last().unwrap()["reason"].as_str()), (count + 1, Some(check)), "{name}");
    }
    assert_status(&visitor.request_json(reqwest::Method::GET, &app).await, 200);

    // Somebody else's logout is none of hers; her own is, once.
    let mut other = truth("other");
    other["sub"] = json!("bob");
    assert_status(&send(logout_token(&signer, "logout+jwt", &other)).await, 200);
    assert_status(&visitor.request_json(reqwest::Method::GET, &app).await, 200);
    // That it ended nobody is answered as success, and an administrator can see it.
    let ended_nobody = narthex.audit("logout_without_session");
    assert_eq!(ended_nobody.len(), 1);
    assert_eq!((&ended_nobody[0]["level"], &ended_nobody[0]["provider"]), (&json!("WARN"), &json!("corp")));
    let good = logout_token(&signer, "logout+jwt", &truth("good"));
    assert_status(&send(good.clone()).await, 200);
    assert_status(&visitor.request_json(reqwest::Method::GET, &app).await, 401);
    let (again, _) = try_login(&narthex).await;
    assert_status(&send(good).await, 400);
    assert_eq!(narthex.audit("backchannel_logout_failed").last().unwrap()["reason"], "attempt_used");
    assert_status(&again.request_json(reqwest::Method::GET, &app).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_token_of_a_long_session_id_and_a_long_life_ends_its_session_once() {
    let (provider, narthex, _upstream) = start_deployment().await;
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
        assert_status(&landed, 200);
        // Another session of the same beginning is another session.
        assert_status(
            &send(&sid(length, "b"), &format!("b{length}"), json!(now), json!(now + 60)).await,
            200,
        );
        assert_status(&visitor.request_json(reqwest::Method::GET, &app).await, 200);
        let (jti, iat, exp) = (format!("a{length}"), json!(now as f64 - 80_000.5), json!(now + 86_400));
        assert_status(&send(&sid(length, "a"), &jti, iat.clone(), exp.clone()).await, 200);
        assert_status(&visitor.request_json(reqwest::Method::GET, &app).await, 401);
        assert_status(&send(&sid(length, "a"), &jti, iat, exp).await, 400);
        assert_eq!(narthex.audit("backchannel_logout_failed").pop().unwrap()["reason"], "attempt_used");
    }
    assert_eq!(narthex.audit("session_ended").len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_times_of_a_logout_token_are_read_as_those_of_every_token() {
    let (provider, narthex, _upstream) = start_deployment().await;
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
