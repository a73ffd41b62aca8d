//! AWS's own libraries, unchanged, against the Cognito API: the same life of an account with each.

use crate::support::aws::{Api, OTHER, PASSWORD};
use crate::support::libraries::{self, Cli, InBrowser, Library};
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
auth_flows = ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_USER_PASSWORD_AUTH"]
"#;

/// Signs up, confirms, signs in, and so on to the deletion of the account.
fn live(api: &Api, library: &str, client: &mut impl Library) {
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
    let created = json!({ "UserPoolId": api.pool_id(), "Username": "invited", "MessageAction": "SUPPRESS",
        "TemporaryPassword": OTHER });
    api.boto().call("AdminCreateUser", created).unwrap();
    let challenge = client.done(sign_in("invited", OTHER));
    assert_eq!(challenge["challenge"], "NEW_PASSWORD_REQUIRED", "{library}");
    let tokens = client.done(json!({ "do": "newPassword", "password": PASSWORD }));
    assert!(tokens["access"].is_string(), "{library}");
}

fn in_a_process(library: &str) {
    let api = Api::start(POOL);
    live(&api, library, &mut libraries::client(&api, library, "webclient", None));
}

async fn in_chromium(library: &str) {
    let api = Api::start(POOL);
    let mut client = InBrowser::open(&api, library, "webclient").await;
    live(&api, library, &mut client);
    client.close().await;
}

#[test]
fn amazon_cognito_identity_js_in_node() {
    in_a_process("identityJs");
}

#[test]
fn the_aws_sdk_for_javascript_with_cognito_srp_helper() {
    in_a_process("sdk");
}

#[test]
fn aws_amplify_in_node() {
    in_a_process("amplify");
}

#[tokio::test(flavor = "multi_thread")]
async fn amazon_cognito_identity_js_in_chromium() {
    in_chromium("identityJs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_amplify_in_chromium() {
    in_chromium("amplify").await;
}

#[test]
fn pycognito() {
    in_a_process("pycognito");
}

/// A confidential client, and one whose refresh tokens rotate.
const FURTHER_CLIENTS: &str = r#"
[[user_pool.client]]
name = "server"
id = "serverclient"
secret = "aSecretOfTheServer0123456789abcdef"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
[[user_pool.client]]
name = "rotating"
id = "rotatingclient"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH"]
refresh_rotation_grace = 0
"#;

#[test]
fn the_aws_sdk_for_rust() {
    in_a_process("rust-sdk");
}

#[test]
fn the_aws_sdk_for_rust_with_a_client_secret_groups_and_rotation() {
    let api = Api::start(&format!("{POOL}{FURTHER_CLIENTS}"));
    let mut server =
        libraries::client(&api, "rust-sdk", "serverclient", Some("aSecretOfTheServer0123456789abcdef"));
    let email = json!({ "email": "ann@example.com" });
    server.done(json!({ "do": "signUp", "name": "ann", "password": PASSWORD, "attributes": email }));
    server.done(json!({ "do": "confirm", "name": "ann", "code": api.code("ann@example.com", 1) }));
    server.done(json!({ "do": "createGroup", "group": "staff" }));
    let again = Library::refused(&mut server, json!({ "do": "createGroup", "group": "staff" }));
    assert_eq!(again, "GroupExistsException");
    server.done(json!({ "do": "addToGroup", "group": "staff", "name": "ann" }));
    assert_eq!(server.done(json!({ "do": "groupsOf", "name": "ann" })), json!(["staff"]));
    let sign_in = json!({ "do": "signIn", "name": "ann", "password": PASSWORD });
    let tokens = server.done(sign_in.clone());
    let claims = server.done(json!({ "do": "verify", "token": tokens["id"] }));
    assert_eq!((&claims["cognito:groups"], &claims["aud"]), (&json!(["staff"]), &json!("serverclient")));
    // Without rotation a refresh answers no refresh token, whichever way it is asked for.
    for way in ["refresh", "refreshAuth"] {
        let refreshed = server.done(json!({ "do": way }));
        assert!(
            refreshed["access"] != tokens["access"] && refreshed["refresh"].is_null(),
            "{way}: {refreshed}"
        );
    }
    server.done(json!({ "do": "forgot", "name": "ann" }));
    let code = api.code("ann@example.com", 2);
    server.done(json!({ "do": "confirmForgot", "name": "ann", "code": code, "password": OTHER }));
    let ended = Library::refused(&mut server, json!({ "do": "refreshAuth" }));
    assert_eq!(ended, "NotAuthorizedException");
    // A client without its secret.
    let mut bare = libraries::client(&api, "rust-sdk", "serverclient", None);
    assert_eq!(Library::refused(&mut bare, sign_in), "NotAuthorizedException");

    let mut rotating = libraries::client(&api, "rust-sdk", "rotatingclient", None);
    let first = rotating.done(json!({ "do": "signIn", "name": "ann", "password": OTHER }))["refresh"].clone();
    let second = rotating.done(json!({ "do": "refresh" }))["refresh"].clone();
    assert!(second.is_string() && second != first);
    let reused = Library::refused(&mut rotating, json!({ "do": "refresh", "token": first }));
    assert_eq!(reused, "RefreshTokenReuseException");
    assert_eq!(Library::refused(&mut rotating, json!({ "do": "refresh" })), "NotAuthorizedException");
}

/// Signs a user up and in with AWS CLI, as an app and as an administrator.
fn live_in_cli(api: &Api, cli: &Cli<'_>) {
    let email = "Name=email,Value=cli@example.com";
    let of = ["--client-id", "webclient", "--username", "cli"];
    let run = |command: &str, more: &[&str]| cli.run(&[&[command], &of[..], more].concat());
    let signed_up = run("sign-up", &["--password", PASSWORD, "--user-attributes", email]).unwrap();
    assert_eq!(signed_up["CodeDeliveryDetails"]["DeliveryMedium"], "EMAIL");
    run("confirm-sign-up", &["--confirmation-code", &api.code("cli@example.com", 1)]).unwrap();
    let (pool, parameters) = (api.pool_id(), |password: &str| format!("USERNAME=cli,PASSWORD={password}"));
    let sign_in = |password: &str| {
        let parameters = parameters(password);
        let flow = ["--auth-flow", "ADMIN_USER_PASSWORD_AUTH", "--auth-parameters", &parameters];
        let of = ["admin-initiate-auth", "--user-pool-id", &pool, "--client-id", "webclient"];
        cli.run(&[&of[..], &flow[..]].concat())
    };
    let tokens = sign_in(PASSWORD).unwrap();
    let token = tokens["AuthenticationResult"]["AccessToken"].as_str().unwrap();
    let user = cli.run(&["get-user", "--access-token", token]).unwrap();
    assert_eq!(user["Username"], "cli");
    let error = sign_in(OTHER).unwrap_err();
    assert!(error.contains("(NotAuthorizedException)"), "{error}");
    assert!(error.contains("Incorrect username or password."), "{error}");
}

#[test]
fn aws_cli_1() {
    let api = Api::start(POOL);
    live_in_cli(&api, &Cli::version_1(&api));
}

#[test]
fn aws_cli_2() {
    let api = Api::start(POOL);
    live_in_cli(&api, &Cli::version_2(&api));
}
