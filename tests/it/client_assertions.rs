//! App clients that authenticate with a private key (RFC 7523).

use crate::support::aws::{Boto, KEY, claims, text};
use crate::support::client_credentials::{GRANT, NEXT_SECRET, oauth2_request, token_request};
use crate::support::config_errors::assert_each_reported;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::orders::Orders;
use crate::support::parties::Postgres;
use crate::support::proofs::{assertion, new_id, private_jwk};
use crate::support::time::unix_seconds;
use crate::support::token_issuer::{Issuer, Key};
use serde_json::{Value, json};

const TYPE: (&str, &str) =
    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");

fn client_toml(id: &str, more: &str) -> String {
    format!(
        "[[user_pool.client]]\nname = \"{id}\"\nid = \"{id}\"\nallowed_oauth_flows = [\"client_credentials\"]\n\
         allowed_oauth_scopes = [\"photos/read\"]\n{more}\n"
    )
}

/// A pool whose client `robot` has keys, whose client `both` has keys and a secret, and whose
/// client `plain` has a secret.
fn builder(keys: &[&Key]) -> NarthexBuilder {
    let set = json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() });
    let secret = format!("secret = \"{NEXT_SECRET}\"");
    NarthexBuilder::new().file("robot.json", set.to_string()).tables(&format!(
        "[[user_pool]]\nname = \"people\"\n[[user_pool.resource_server]]\nidentifier = \"photos\"\n\
         scopes = [\"read\"]\n{}{}{}",
        client_toml("robot", "jwks = \"robot.json\""),
        client_toml("both", &format!("jwks = \"robot.json\"\n{secret}")),
        client_toml("plain", &secret),
    ))
}

async fn issuer(narthex: &Narthex) -> String {
    let token = token_request(narthex, &[GRANT]).basic_auth("plain", Some(NEXT_SECRET)).send().await.unwrap();
    text(&claims(&text(&token.json::<Value>().await.unwrap()["access_token"]))["iss"])
}

/// Sends a request for a token with an assertion. Returns the status and the error.
async fn ask(narthex: &Narthex, text: &str, more: &[(&str, &str)]) -> (u16, String) {
    let form: Vec<_> =
        [GRANT, TYPE, ("client_assertion", text)].into_iter().chain(more.iter().copied()).collect();
    status(token_request(narthex, &form)).await
}

async fn status(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    (status, answer["error"].as_str().unwrap_or_default().to_owned())
}

fn granted() -> (u16, String) {
    (200, String::new())
}

fn invalid_client() -> (u16, String) {
    (401, "invalid_client".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_of_a_clients_key_authenticates_it_once() {
    let keys = ["ES256", "RS256", "PS256", "EdDSA"].map(|algorithm| Key::new(algorithm, algorithm));
    let narthex = builder(&keys.each_ref()).start();
    let issuer = issuer(&narthex).await;
    let endpoint = format!("{}/oauth2/token", narthex.origin("auth"));
    for key in &keys {
        for audience in [&issuer, &endpoint] {
            let text = assertion(key, "robot", audience, &Value::Null);
            assert_eq!(ask(&narthex, &text, &[("client_id", "robot")]).await, granted(), "{}", key.algorithm);
            assert_eq!(ask(&narthex, &text, &[]).await, invalid_client(), "{}: a replay", key.algorithm);
        }
    }
    let key = &keys[0];
    let good = |client: &str| assertion(key, client, &issuer, &Value::Null);
    for typ in ["client-authentication+jwt", "JWT"] {
        let claims = json!({
            "iss": "robot", "sub": "robot", "aud": issuer, "jti": new_id(), "exp": unix_seconds() + 3600,
        });
        let text = key.token(&json!({ "typ": typ }), &claims.to_string());
        assert_eq!(ask(&narthex, &text, &[]).await, granted(), "{typ}");
    }
    // One `jti` of two clients are two assertions.
    let same = json!({ "jti": "same" });
    for client in ["robot", "both"] {
        assert_eq!(ask(&narthex, &assertion(key, client, &issuer, &same), &[]).await, granted());
    }
    assert_eq!(ask(&narthex, &good("plain"), &[]).await, invalid_client());
    assert_eq!(ask(&narthex, &good("nobody"), &[]).await, invalid_client());
    // A secret beside the keys works only if the file has one.
    let by_secret = |id: &str, secret| status(token_request(&narthex, &[GRANT]).basic_auth(id, secret));
    assert_eq!(by_secret("both", Some(NEXT_SECRET)).await, granted());
    assert_eq!(by_secret("robot", Some(NEXT_SECRET)).await, invalid_client());
    assert_eq!(by_secret("robot", Some("")).await, invalid_client());
    assert_eq!(status(token_request(&narthex, &[GRANT, ("client_id", "robot")])).await, invalid_client());
    // Each endpoint that authenticates clients.
    for name in ["introspect", "revoke"] {
        let text = good("robot");
        let form = [TYPE, ("client_assertion", &text), ("token", "nothing")];
        for expected in [granted(), invalid_client()] {
            assert_eq!(status(oauth2_request(&narthex, name).form(&form)).await, expected, "{name}");
        }
    }
    let reasons = narthex.audit("client_authentication_failed");
    assert!(reasons.iter().any(|line| line["reason"] == "the assertion was used before"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_assertion_is_refused() {
    let (key, foreign) = (Key::new("ES256", "one"), Key::new("ES256", "one"));
    let narthex = builder(&[&key]).start();
    let issuer = issuer(&narthex).await;
    let now = unix_seconds();
    let wrong = [
        ("no iss", json!({ "iss": null })),
        ("another iss", json!({ "iss": "both" })),
        ("another audience", json!({ "aud": "https://other.example" })),
        ("no audience", json!({ "aud": null })),
        ("a list of audiences", json!({ "aud": [issuer] })),
        ("the sign-in host", json!({ "aud": narthex.origin("auth") })),
        ("no exp", json!({ "exp": null })),
        ("an exp that is none", json!({ "exp": "soon" })),
        ("expired", json!({ "exp": now - 61 })),
        ("valid for too long", json!({ "exp": now + 3600 + 120 })),
        ("not valid yet", json!({ "nbf": now + 120 })),
        ("issued in the future", json!({ "iat": now + 120 })),
        ("an iat that is none", json!({ "iat": true })),
        ("no jti", json!({ "jti": null })),
        ("an empty jti", json!({ "jti": "" })),
        ("a jti that is none", json!({ "jti": 7 })),
    ];
    for (what, claims) in wrong {
        let text = assertion(&key, "robot", &issuer, &claims);
        assert_eq!(ask(&narthex, &text, &[]).await, invalid_client(), "{what}");
    }
    let claims = || {
        json!({ "iss": "robot", "sub": "robot", "aud": issuer, "jti": new_id(), "exp": now + 60 }).to_string()
    };
    let headers = [
        ("unsigned", json!({ "alg": "none" })),
        ("a shared secret", json!({ "alg": "HS256" })),
        ("another algorithm", json!({ "alg": "ES384" })),
        ("another type", json!({ "typ": "dpop+jwt" })),
        ("an access token", json!({ "typ": "at+jwt" })),
        ("a critical extension", json!({ "crit": ["x"], "x": 1 })),
    ];
    for (what, header) in headers {
        assert_eq!(ask(&narthex, &key.token(&header, &claims()), &[]).await, invalid_client(), "{what}");
    }
    // Key locations and keys in the header have no effect.
    let named = Issuer::start("ES256").await;
    for header in [
        json!({ "jwk": foreign.jwk() }),
        json!({ "jku": format!("{}/keys", named.url()) }),
        json!({ "x5u": format!("{}/keys", named.url()) }),
    ] {
        assert_eq!(
            ask(&narthex, &foreign.token(&header, &claims()), &[]).await,
            invalid_client(),
            "{header}"
        );
        assert_eq!(ask(&narthex, &key.token(&header, &claims()), &[]).await, granted(), "{header}");
    }
    assert_eq!(named.published.lock().unwrap().fetched, 0);
    let good = || assertion(&key, "robot", &issuer, &Value::Null);
    let (head, signature) = good().rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    for text in
        [format!("{head}."), format!("{head}.AAAA{}", &signature[4..]), "x.y.z".into(), "x".repeat(9000)]
    {
        assert_eq!(ask(&narthex, &text, &[]).await, invalid_client());
    }
    // One method of authentication, and one client.
    let invalid_request = (400, "invalid_request".to_owned());
    assert_eq!(ask(&narthex, &good(), &[("client_id", "both")]).await, invalid_request);
    assert_eq!(ask(&narthex, &good(), &[("client_secret", NEXT_SECRET)]).await, invalid_request);
    let text = good();
    let form = [GRANT, TYPE, ("client_assertion", &text)];
    let basic = token_request(&narthex, &form).basic_auth("both", Some(NEXT_SECRET));
    assert_eq!(status(basic).await, invalid_request);
    for kind in ["", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "jwt-bearer"] {
        let form = [GRANT, ("client_assertion_type", kind), ("client_assertion", &text)];
        assert_eq!(status(token_request(&narthex, &form)).await, invalid_client(), "{kind}");
    }
    assert_eq!(ask(&narthex, &text, &[]).await, granted(), "it was never used");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_assertions_count_as_wrong_secrets_do() {
    let (key, foreign) = (Key::new("ES256", "one"), Key::new("ES256", "one"));
    let narthex = builder(&[&key]).start();
    let issuer = issuer(&narthex).await;
    let mut failures = 0;
    loop {
        let (status, _) = ask(&narthex, &assertion(&foreign, "robot", &issuer, &Value::Null), &[]).await;
        match status {
            401 => failures += 1,
            status => break assert_eq!(status, 429),
        }
        assert!(failures < 2000);
    }
    assert!(failures >= 300, "{failures}");
    assert_eq!(ask(&narthex, &assertion(&key, "both", &issuer, &Value::Null), &[]).await, granted());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_is_used_once_on_all_nodes() {
    let key = Key::new("ES256", "one");
    let builder = builder(&[&key]).postgres(&Postgres::shared().database());
    let one = builder.clone().start();
    let two = one.share_authority(&builder).start_at("127.0.0.2");
    let issuer = issuer(&one).await;
    for (first, second) in [(&one, &two), (&two, &one)] {
        let text = assertion(&key, "robot", &issuer, &Value::Null);
        assert_eq!(ask(first, &text, &[]).await, granted());
        assert_eq!(ask(second, &text, &[]).await, invalid_client());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_at_an_address_are_fetched_again_for_a_new_key() {
    let client = Issuer::start("ES256").await;
    let narthex =
        builder(&[]).tables(&client_toml("remote", &format!("jwks = \"{}/keys\"", client.url()))).start();
    let issuer = issuer(&narthex).await;
    let by = async |key: &Key| ask(&narthex, &assertion(key, "remote", &issuer, &Value::Null), &[]).await;
    client.published.lock().unwrap().down = true;
    assert_eq!(by(&client.key).await.0, 503, "no keys are known yet");
    client.published.lock().unwrap().down = false;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while by(&client.key).await.0 != 200 {
        assert!(std::time::Instant::now() < until, "the keys are not fetched again");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    let next = Key::new("EdDSA", "two");
    client.published.lock().unwrap().keys = vec![next.jwk()];
    while by(&next).await.0 != 200 {
        assert!(
            std::time::Instant::now() < until + std::time::Duration::from_secs(30),
            "the new key is unknown"
        );
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    let fetched = client.published.lock().unwrap().fetched;
    assert_eq!(by(&client.key).await, invalid_client(), "the earlier key was withdrawn");
    for _ in 0..20 {
        by(&Key::new("EdDSA", "made up")).await;
    }
    assert!(client.published.lock().unwrap().fetched <= fetched + 2, "each made-up key causes a fetch");
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_authenticate_with_a_private_key() {
    let key = Key::new("ES256", "one");
    let narthex = builder(&[&key]).start();
    let authority = narthex.folder().join("certs/local-authority.pem");
    let config = json!({
        "issuer": issuer(&narthex).await, "endpoint": format!("{}/", narthex.origin("auth")), "clientId": "robot",
        "clientKey": { "jwk": private_jwk(&key), "alg": "ES256" }, "ca": authority,
    });
    for library in ["openid-client", "oauth4webapi"] {
        let mut library = Orders::node("oauth-proof.mjs", &[library, &config.to_string()], &authority);
        let tokens = library.done(json!({ "do": "program", "scope": "photos/read" }));
        assert_eq!(tokens["scope"], "photos/read");
        assert_eq!(library.done(json!({ "do": "introspect" }))["client_id"], "robot");
        library.done(json!({ "do": "revoke" }));
        assert_eq!(library.done(json!({ "do": "introspect" }))["active"], false);
    }
    let mut authlib = Orders::python("oauth-proof.py", &[&config.to_string()]);
    let tokens = authlib.done(json!({ "do": "program", "scope": "photos/read" }));
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(authlib.done(json!({ "do": "revoke" })), json!(200));
    assert_eq!(narthex.audit("token_revoked").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_refuses_a_client_that_has_only_keys() {
    let key = Key::new("ES256", "one");
    let flows = "auth_flows = [\"ALLOW_USER_PASSWORD_AUTH\", \"ALLOW_REFRESH_TOKEN_AUTH\"]";
    let narthex =
        builder(&[&key]).tables(&client_toml("app", &format!("jwks = \"robot.json\"\n{flows}"))).start();
    let mut boto = Boto::new(&narthex, KEY);
    for (operation, request) in [
        (
            "InitiateAuth",
            json!({
                "ClientId": "app", "AuthFlow": "USER_PASSWORD_AUTH",
                "AuthParameters": { "USERNAME": "ada", "PASSWORD": "x" },
            }),
        ),
        ("GetTokensFromRefreshToken", json!({ "ClientId": "app", "RefreshToken": "x" })),
        ("RevokeToken", json!({ "ClientId": "app", "Token": "x" })),
    ] {
        let error = boto.unsigned(operation, request).unwrap_err();
        assert!(error.message.contains("authenticates with a key"), "{operation}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_names_the_method_where_a_client_has_keys() {
    let key = Key::new("ES256", "one");
    let narthex = builder(&[&key]).start();
    let plain = NarthexBuilder::new().tables("[[user_pool]]\nname = \"people\"\n").tables(&format!(
        "[[user_pool.resource_server]]\nidentifier = \"photos\"\nscopes = [\"read\"]\n{}",
        client_toml("plain", &format!("secret = \"{NEXT_SECRET}\""))
    ));
    for (narthex, has_keys) in [(&narthex, true), (&plain.start(), false)] {
        let url = format!("{}/.well-known/openid-configuration", issuer(narthex).await);
        let client = crate::support::visitor::Visitor::new(narthex).client;
        let metadata: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        for endpoint in ["token", "revocation", "introspection"] {
            let methods = metadata[format!("{endpoint}_endpoint_auth_methods_supported")].as_array().unwrap();
            assert_eq!(methods.contains(&json!("private_key_jwt")), has_keys, "{metadata:#}");
            let algorithms = &metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")];
            assert_eq!(algorithms.as_array().is_some_and(|all| all.contains(&json!("ES256"))), has_keys);
            assert!(algorithms.as_array().is_none_or(|all| !all.contains(&json!("HS256"))));
        }
    }
}

#[test]
fn keys_and_proofs_are_configured_by_client() {
    let good = format!(
        "public_url = \"https://auth.example.com\"\n[[user_pool]]\nname = \"people\"\n[[user_pool.resource_server]]\n\
         identifier = \"photos\"\nscopes = [\"read\"]\n{}",
        client_toml("robot", "jwks = \"https://example.com/keys\"\ndpop_bound_access_tokens = true")
    );
    assert_each_reported(
        &good,
        &[
            ("jwks = \"https://example.com/keys\"", "", "`secret`"),
            ("\"https://example.com/keys\"", "\"nonesuch.json\"", "nonesuch.json"),
            ("\"https://example.com/keys\"", "7", "jwks"),
            ("https://example.com/keys", "http://example.com/keys", "https"),
            ("bound_access_tokens = true", "bound_access_tokens = \"yes\"", "dpop_bound_access_tokens"),
        ],
    );
}
