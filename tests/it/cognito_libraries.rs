//! AWS's own libraries, unchanged, against the Cognito API: the same life of an account with each.

use crate::support::aws::{Api, OTHER, PASSWORD};
use crate::support::orders::Orders;
use serde_json::json;

/// A pool whose users sign in by user name or e-mail address.
const POOL: &str = r#"
[[user_pool]]
name = "people"
alias_attributes = ["email"]
sign_up = true
auto_verified = ["email"]
[[user_pool.client]]
name = "web"
id = "webclient"
auth_flows = ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
"#;

fn client(api: &Api, library: &str) -> Orders {
    let config = json!({
        "endpoint": format!("{}/", api.narthex.origin("auth")),
        "poolId": api.pool_id(),
        "clientId": "webclient",
        "region": "us-east-1",
    });
    let authority = api.narthex.folder().join("certs/local-authority.pem");
    Orders::node("cognito-client.mjs", &[library, &config.to_string()], &authority)
}

/// Signs up, confirms, signs in, and so on to the deletion of the account.
fn live(api: &Api, library: &str) {
    let mut client = client(api, library);
    let email = format!("{}@example.com", library.to_lowercase());
    let name = library;
    let attributes = json!({ "email": email });
    client.done(json!({ "do": "signUp", "name": name, "password": PASSWORD, "attributes": attributes }));
    let code = api.code(&email, 1);
    let wrong = client.refused(json!({ "do": "confirm", "name": name, "code": "000000" }));
    assert_eq!(wrong, "CodeMismatchException", "{library}");
    client.done(json!({ "do": "confirm", "name": name, "code": code }));
    let sign_in = |name: &str, password: &str| json!({ "do": "signIn", "name": name, "password": password });
    assert_eq!(client.refused(sign_in(name, OTHER)), "NotAuthorizedException", "{library}");
    let tokens = client.done(sign_in(&email, PASSWORD));
    for (token, token_use) in [("access", "access"), ("id", "id")] {
        let claims = client.done(json!({ "do": "verify", "token": tokens[token], "use": token_use }));
        assert_eq!(claims["token_use"], token_use, "{library}");
    }
    let found = client.done(json!({ "do": "attributes" }));
    assert_eq!((&found["email"], &found["email_verified"]), (&json!(email), &json!("true")), "{library}");
    let refreshed = client.done(json!({ "do": "refresh" }));
    assert_ne!(refreshed["access"], tokens["access"], "{library}");
    client.done(json!({ "do": "changePassword", "before": PASSWORD, "after": OTHER }));
    client.done(json!({ "do": "signOutEverywhere" }));
    client.done(json!({ "do": "forgot", "name": name }));
    let code = api.code(&email, 2);
    client.done(json!({ "do": "confirmForgot", "name": name, "code": code, "password": PASSWORD }));
    assert_eq!(client.refused(sign_in(name, OTHER)), "NotAuthorizedException", "{library}");
    client.done(sign_in(name, PASSWORD));
    client.done(json!({ "do": "delete" }));
    let gone = client.refused(sign_in(name, PASSWORD));
    assert!(["NotAuthorizedException", "UserNotFoundException"].contains(&&*gone), "{library}: {gone}");
}

#[test]
fn amazon_cognito_identity_js_in_node() {
    live(&Api::start(POOL), "identityJs");
}

#[test]
fn the_aws_sdk_for_javascript_with_cognito_srp_helper() {
    live(&Api::start(POOL), "sdk");
}

#[test]
fn aws_amplify_in_node() {
    live(&Api::start(POOL), "amplify");
}
