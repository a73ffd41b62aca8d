//! App clients that register themselves (RFC 7591).

use crate::support::config_errors::{VALID_FILE, assert_each_reported};
use crate::support::oauth::{CALLBACK, PASSWORD, Scene, answer, parameter};
use crate::support::visitor::redirect_target;
use reqwest::Url;
use serde_json::{Value, json};

/// A route that a registered app may pass with a scope.
const ROUTE: &str = "[[route]]\nhost = \"api.example.com\"\nupstream = \"http://127.0.0.1:3001\"\nbearer = true\n\
                     scopes = [\"photos/read\"]\n";
const TOKEN: &str = "an-initial-access-token-0123";
const REGISTRATION: &str = r#"
[user_pool.registration]
secret = ["an-initial-access-token-0123", "the-one-that-follows-0123456789"]
allowed_scopes = ["openid", "email", "photos/read"]
[[user_pool.resource_server]]
identifier = "photos"
scopes = ["read", "write"]
"#;

async fn send(scene: &Scene, token: Option<&str>, body: String) -> (u16, Value) {
    let url = format!("{}/{}/register", scene.auth, scene.api.pool_id());
    let mut request = scene.visitor().client.post(url).header("content-type", "application/json").body(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    answer(request.send().await.unwrap()).await
}

async fn register(scene: &Scene, metadata: Value) -> (u16, Value) {
    send(scene, Some(TOKEN), metadata.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_registers_itself_and_signs_a_user_in() {
    let scene = Scene::start_with(REGISTRATION, |builder| builder).await;
    let url = format!("{}/{}/.well-known/openid-configuration", scene.auth, scene.api.pool_id());
    let (_, metadata) = answer(scene.visitor().client.get(url).send().await.unwrap()).await;
    assert_eq!(metadata["registration_endpoint"], format!("{}/{}/register", scene.auth, scene.api.pool_id()));
    let asked = json!({ "client_name": "Photo Prints", "redirect_uris": [CALLBACK], "scope": "openid email",
        "grant_types": ["authorization_code", "refresh_token"], "logo_uri": "https://prints.example/logo.png",
        "post_logout_redirect_uris": ["https://prints.example/bye"], "unknown": { "a": 1 } });
    let (status, client) = register(&scene, asked).await;
    assert_eq!(status, 201, "{client}");
    assert_eq!((&client["client_name"], &client["scope"]), (&json!("Photo Prints"), &json!("openid email")));
    assert_eq!(client["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!((&client["client_secret_expires_at"], &client["logo_uri"]), (&json!(0), &Value::Null));
    let (id, secret) = (client["client_id"].as_str().unwrap(), client["client_secret"].as_str().unwrap());
    // The user is asked whether the app may have its scopes.
    let visitor = scene.visitor();
    let request = scene.authorize(&[("client_id", id), ("scope", "openid email")]);
    let page = visitor.open(&request).await;
    let consent = visitor.submit_onward(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
    let page = visitor.open(&consent).await;
    page.assert_shows("Photo Prints");
    page.assert_shows("<strong>spa.example</strong>");
    let back: Url = visitor.submit_onward(&page, &[("decision", "allow")]).await.parse().unwrap();
    let code = parameter(&back, "code").unwrap();
    let own = [("client_id", id), ("client_secret", secret)];
    let (status, tokens) = scene.redeem(&code, &own).await;
    assert_eq!(status, 200, "{tokens}");
    let token = tokens["refresh_token"].as_str().unwrap();
    let refresh = [&own[..], &[("grant_type", "refresh_token"), ("refresh_token", token)]].concat();
    assert_eq!(scene.token(&refresh).await.0, 200);
    let line = &scene.api.narthex.audit("client_registered")[0];
    assert_eq!((&line["client_id"], &line["name"]), (&json!(id), &json!("Photo Prints")));
    assert!(!scene.api.narthex.log().contains(secret) && !scene.api.narthex.log().contains(TOKEN));
    // A public client, with the second token; it must use PKCE.
    let url =
        json!({ "redirect_uris": ["myapp://signed-in"], "token_endpoint_auth_method": "none" }).to_string();
    let (status, public) = send(&scene, Some("the-one-that-follows-0123456789"), url).await;
    assert_eq!((status, &public["client_secret"]), (201, &Value::Null), "{public}");
    assert_eq!(public["scope"], "openid email photos/read");
    let id = public["client_id"].as_str().unwrap();
    let others = [
        ("client_id", id),
        ("redirect_uri", "myapp://signed-in"),
        ("code_challenge", ""),
        ("code_challenge_method", ""),
    ];
    let to = redirect_target(&visitor.get(&scene.authorize(&others)).await).unwrap();
    assert!(to.starts_with("myapp://signed-in?error=invalid_request"), "{to}");
    // The app may have chosen any address: a sign-out without an ID token of the user asks first.
    let bye =
        format!("{}/logout?client_id={id}&post_logout_redirect_uri=https://prints.example/bye", scene.auth);
    let bye = bye.replace(id, client["client_id"].as_str().unwrap());
    let asked = visitor.get(&bye).await;
    assert_eq!((asked.status().as_u16(), redirect_target(&asked)), (200, None));
    let hinted = format!("{bye}&id_token_hint={}", tokens["id_token"].as_str().unwrap());
    let to = redirect_target(&visitor.get(&hinted).await);
    assert_eq!(to.as_deref(), Some("https://prints.example/bye"));
    // Neither may use Cognito's own flows.
    let mut boto = scene.api.boto();
    let auth = json!({ "ClientId": id, "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": { "USERNAME": "ada", "PASSWORD": PASSWORD } });
    assert_eq!(boto.unsigned("InitiateAuth", auth).unwrap_err().code, "InvalidParameterException");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_is_not_allowed_is_refused() {
    let scene = Scene::start_with(REGISTRATION, |builder| builder).await;
    let good = json!({ "redirect_uris": [CALLBACK] });
    let with = |members: Value| {
        let mut metadata = good.clone();
        metadata.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        metadata
    };
    let (redirect, metadata) = ("invalid_redirect_uri", "invalid_client_metadata");
    for (members, error) in [
        (json!({ "redirect_uris": [] }), redirect),
        (json!({ "redirect_uris": ["http://app.example/callback"] }), redirect),
        (json!({ "redirect_uris": ["https://app.example/callback#x"] }), redirect),
        (json!({ "redirect_uris": ["javascript:alert(1)"] }), redirect),
        (json!({ "redirect_uris": [CALLBACK, "https://user@app.example/"] }), redirect),
        (json!({ "redirect_uris": [CALLBACK, CALLBACK] }), metadata),
        (json!({ "redirect_uris": "https://app.example/" }), metadata),
        (json!({ "redirect_uris": vec![CALLBACK; 1000] }), metadata),
        (json!({ "grant_types": ["authorization_code", "implicit"] }), metadata),
        (json!({ "grant_types": ["client_credentials"] }), metadata),
        (json!({ "grant_types": ["password"] }), metadata),
        (json!({ "grant_types": ["refresh_token"] }), metadata),
        (json!({ "grant_types": [] }), metadata),
        (json!({ "response_types": ["token"] }), metadata),
        (json!({ "response_types": ["code", "token"] }), metadata),
        (json!({ "token_endpoint_auth_method": "private_key_jwt" }), metadata),
        (json!({ "scope": "openid photos/write" }), metadata),
        (json!({ "scope": " " }), metadata),
        (json!({ "client_name": "a\u{0}b" }), metadata),
        (json!({ "client_name": "" }), metadata),
        (json!({ "client_name": "  " }), metadata),
        (json!({ "client_name": " app" }), metadata),
        (json!({ "client_name": "two  spaces" }), metadata),
        (json!({ "client_name": "two\nlines" }), metadata),
        (json!({ "client_name": "SPA" }), metadata),
        (json!({ "client_name": "x".repeat(51) }), metadata),
        (json!({ "redirect_uris": ["mailto:ada@example.com"] }), redirect),
        (json!({ "client_name": "x".repeat(129) }), metadata),
        (json!({ "post_logout_redirect_uris": ["data:x"] }), metadata),
    ] {
        let (status, response) = register(&scene, with(members.clone())).await;
        assert_eq!((status, &response["error"]), (400, &json!(error)), "{members}: {response}");
    }
    for body in ["", "[]", "{", "{\"redirect_uris\": [], \"redirect_uris\": [\"https://a.example/\"]}"] {
        let (status, response) = send(&scene, Some(TOKEN), body.to_owned()).await;
        assert_eq!((status, &response["error"]), (400, &json!(metadata)), "{body}");
    }
    let large = format!("{{\"client_name\": \"{}\"}}", "x".repeat(70_000));
    assert!(matches!(send(&scene, Some(TOKEN), large).await.0, 400 | 413));
    assert_eq!(scene.api.narthex.audit("client_registered").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_needs_the_token_and_guesses_are_limited() {
    let scene = Scene::start_with(REGISTRATION, |builder| builder).await;
    let body = json!({ "redirect_uris": [CALLBACK] }).to_string();
    let mut limited = false;
    for number in 0..400 {
        let token = [None, Some("an-initial-access-token-012")][number % 2];
        let (status, response) = send(&scene, token, body.clone()).await;
        limited = status == 429;
        if limited {
            break;
        }
        assert_eq!((status, &response["error"]), (401, &json!("invalid_token")), "{token:?}");
    }
    assert!(limited, "guesses without a limit");
    assert_eq!(scene.api.narthex.audit("client_registered").len(), 0);
    // Without the table there is no such endpoint.
    let none = Scene::start().await;
    let url = format!("{}/{}/register", none.auth, none.api.pool_id());
    let request =
        none.visitor().client.post(url).bearer_auth(TOKEN).header("accept", "application/json").body(body);
    assert_eq!(request.send().await.unwrap().status(), 404);
}

#[test]
fn what_is_wrong_with_the_table_is_reported() {
    let good = format!(
        "{VALID_FILE}{ROUTE}[[user_pool]]\nname = \"people\"\n[user_pool.registration]\nsecret = \"{TOKEN}\"\n"
    );
    let token = format!("secret = \"{TOKEN}\"\n");
    let with = |more: &str| format!("{token}{more}\n");
    assert_each_reported(
        &good,
        &[
            (&token, "", "`secret`"),
            (&token, "secret = \"short\"\n", "shorter than 22 characters"),
            (&token, &with("allowed_scopes = [\"photos/read\"]"), "no resource server has the scope"),
            (&token, &with("require_consent = \"yes\""), "`require_consent`"),
            (&token, &with("scope = \"openid\""), "`scope`"),
            (
                "scopes = [\"photos/read\"]\n[[user_pool]]",
                "[[user_pool]]",
                "any app that registers at the user pool \"people\" can pass route",
            ),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_are_limited() {
    let scene = Scene::start_with(REGISTRATION, |builder| builder).await;
    let mut count = 0;
    let refused = loop {
        let (status, response) = register(&scene, json!({ "redirect_uris": [CALLBACK] })).await;
        if status != 201 {
            break (status, response);
        }
        count += 1;
        assert!(count < 200, "no limit");
    };
    assert_eq!(refused.0, 429, "{}", refused.1);
    assert!(count >= 100, "{count}");
}
