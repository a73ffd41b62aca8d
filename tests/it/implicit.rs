//! The implicit grant (RFC 6749, section 4.2), for clients that are set to it.

use crate::support::aws::{claims, ok, text};
use crate::support::oauth::{CALLBACK, PASSWORD, Scene, parameter};
use crate::support::visitor::redirect_target;
use reqwest::Url;
use serde_json::{Value, json};

const OLD_APP: &str = r#"
[[user_pool.client]]
name = "old"
id = "old"
allowed_oauth_flows = ["implicit"]
allowed_oauth_scopes = ["openid", "email", "aws.cognito.signin.user.admin"]
callback_urls = ["https://spa.example/callback"]
[[user_pool.client]]
name = "asking"
id = "asking"
allowed_oauth_flows = ["code", "implicit"]
allowed_oauth_scopes = ["openid"]
callback_urls = ["https://spa.example/callback"]
require_consent = true
require_pushed_requests = true
[[user_pool.client]]
name = "bound"
id = "bound"
allowed_oauth_flows = ["implicit"]
allowed_oauth_scopes = ["openid"]
callback_urls = ["https://spa.example/callback"]
dpop_bound_access_tokens = true
"#;

/// The parameters of a request for tokens.
const TOKEN: [(&str, &str); 4] =
    [("response_type", "token"), ("client_id", "old"), ("code_challenge", ""), ("code_challenge_method", "")];

fn request(scene: &Scene, others: &[(&str, &str)]) -> String {
    let kept = TOKEN.into_iter().filter(|(name, _)| others.iter().all(|(other, _)| other != name));
    scene.authorize(&kept.chain(others.iter().copied()).collect::<Vec<_>>())
}

/// Returns a parameter in the fragment of an address, whose query must be empty.
fn in_fragment(url: &Url, name: &str) -> Option<String> {
    assert_eq!(url.query(), None, "{url}");
    let pairs = url::form_urlencoded::parse(url.fragment().unwrap_or_default().as_bytes());
    pairs.into_owned().find(|(known, _)| known == name).map(|(_, value)| value)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_set_to_it_gets_tokens_in_the_fragment() {
    let scene = Scene::start_with(OLD_APP, |builder| builder).await;
    let visitor = scene.visitor();
    let back = scene.sign_in(&visitor, &request(&scene, &[("scope", "openid email")])).await;
    assert!(back.as_str().starts_with(&format!("{CALLBACK}#")), "{back}");
    let one = |name: &str| in_fragment(&back, name);
    assert_eq!((one("state").as_deref(), one("token_type").as_deref()), (Some("s-1 &x"), Some("Bearer")));
    assert_eq!((one("expires_in").as_deref(), one("scope").as_deref()), (Some("3600"), Some("openid email")));
    assert_eq!(one("iss").unwrap(), format!("{}/{}", scene.auth, scene.api.pool_id()));
    assert_eq!((one("code"), one("refresh_token")), (None, None));
    let (id, access) = (claims(&one("id_token").unwrap()), json!(one("access_token").unwrap()));
    assert_eq!(
        (&id["nonce"], &id["aud"], &id["email"]),
        (&json!("n-1"), &json!("old"), &json!("ada@example.com"))
    );
    assert_eq!(scene.user_info(&access).await.1["email"], "ada@example.com");
    // A frame renews the tokens without the user.
    let again = redirect_target(&visitor.get(&request(&scene, &[("prompt", "none")])).await).unwrap();
    assert!(in_fragment(&again.parse().unwrap(), "access_token").is_some());
    // Without `openid` there is no ID token.
    let other = request(&scene, &[("scope", "aws.cognito.signin.user.admin")]);
    let other: Url = redirect_target(&visitor.get(&other).await).unwrap().parse().unwrap();
    assert_eq!(in_fragment(&other, "id_token"), None);
    // The tokens end when the user signs out everywhere.
    let mut boto = scene.api.boto();
    ok(&mut boto, "AdminUserGlobalSignOut", json!({ "UserPoolId": scene.api.pool_id(), "Username": "ada" }));
    assert_eq!(scene.user_info(&access).await.0, 401);
    // A disabled user gets none with an earlier session either.
    let page = visitor.open(&request(&scene, &[("prompt", "login")])).await;
    ok(&mut boto, "AdminDisableUser", json!({ "UserPoolId": scene.api.pool_id(), "Username": "ada" }));
    let refused = visitor.submit(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
    assert!(!refused.html.contains("access_token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_a_request_for_tokens_are_in_the_fragment() {
    let scene = Scene::start_with(OLD_APP, |builder| builder).await;
    let visitor = scene.visitor();
    for (others, error) in [
        (&[("prompt", "none")][..], "login_required"),
        (&[("response_mode", "query")], "invalid_request"),
        (&[("response_mode", "form_post")], "invalid_request"),
        (&[("scope", "openid profile")], "invalid_scope"),
        (&[("dpop_jkt", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")], "invalid_request"),
        (&[("client_id", "bound")], "invalid_request"),
        (&[("client_id", "asking"), ("scope", "openid")], "invalid_request"),
        (&[("request", "x")], "request_not_supported"),
    ] {
        let to = redirect_target(&visitor.get(&request(&scene, others)).await);
        let to: Url = to.unwrap_or_else(|| panic!("{others:?}: no redirect")).parse().unwrap();
        assert_eq!(in_fragment(&to, "error").as_deref(), Some(error), "{others:?}: {to}");
        assert_eq!(in_fragment(&to, "state").as_deref(), Some("s-1 &x"), "{others:?}");
        assert_eq!(in_fragment(&to, "access_token"), None);
    }
    // Which of both a client may use is its setting.
    for (client, response_type) in
        [("spa", "token"), ("old", "code"), ("old", "token id_token"), ("old", "id_token")]
    {
        let others = [("client_id", client), ("response_type", response_type)];
        let to: Url =
            redirect_target(&visitor.get(&request(&scene, &others)).await).unwrap().parse().unwrap();
        assert!(to.fragment().is_none() && parameter(&to, "code").is_none(), "{to}");
        let error = if response_type == "code" { "unauthorized_client" } else { "unsupported_response_type" };
        assert_eq!(parameter(&to, "error").as_deref(), Some(error), "{client} {response_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_and_pushed_requests_hold_for_tokens_too() {
    let scene = Scene::start_with(OLD_APP, |builder| builder).await;
    let visitor = scene.visitor();
    let url: Url = request(&scene, &[("client_id", "asking"), ("scope", "openid")]).parse().unwrap();
    let fields: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (status, pushed) = scene.post("par", &fields).await;
    assert_eq!(status, 201, "{pushed}");
    let mut open = Url::parse(&format!("{}/oauth2/authorize", scene.auth)).unwrap();
    open.query_pairs_mut()
        .append_pair("client_id", "asking")
        .append_pair("request_uri", &text(&pushed["request_uri"]));
    let page = visitor.open(open.as_str()).await;
    let consent = visitor.submit_onward(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
    assert!(consent.contains("/consent?") && !consent.contains("access_token"), "{consent}");
    let page = visitor.open(&consent).await;
    let back: Url = visitor.submit_onward(&page, &[("decision", "allow")]).await.parse().unwrap();
    assert!(in_fragment(&back, "access_token").is_some(), "{back}");
    // The request is used up.
    let again = visitor.get(open.as_str()).await;
    assert_eq!((again.status().as_u16(), redirect_target(&again)), (400, None));
    let url = format!("{}/{}/.well-known/openid-configuration", scene.auth, scene.api.pool_id());
    let metadata: Value = visitor.client.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(metadata["response_types_supported"], json!(["code", "token"]));
    assert_eq!(metadata["response_modes_supported"], json!(["query", "fragment"]));
}
