//! Cognito's API with unchanged clients: sign-up, sign-in, own accounts.

use crate::support::aws::{Api, Boto, KEY, OTHER, PASSWORD};
use crate::support::mail::MailServer;
use crate::support::upstream::Upstream;
use crate::support::visitor::Visitor;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A pool and a client in the file: users sign in by e-mail as well.
const POOL: &str = r#"
[[user_pool]]
name = "people"
alias_attributes = ["email"]
sign_up = true
auto_verified = ["email"]
signing_algorithm = "ES256"
[[user_pool.client]]
name = "web"
id = "webclient"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_AUTH"]
"#;

fn sign_up(boto: &mut Boto, name: &str, email: &str) -> Value {
    let attributes = json!([{ "Name": "email", "Value": email }]);
    let request = json!({ "ClientId": "webclient", "Username": name, "Password": PASSWORD, "UserAttributes": attributes });
    boto.unsigned("SignUp", request).unwrap()
}

fn password(name: &str, password: &str) -> Value {
    json!({
        "ClientId": "webclient",
        "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": { "USERNAME": name, "PASSWORD": password },
    })
}

#[test]
fn a_user_signs_up_signs_in_and_looks_after_the_account() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let signed_up = sign_up(&mut boto, "alice", "alice@example.com");
    assert_eq!(signed_up["UserConfirmed"], false);
    assert_eq!(signed_up["CodeDeliveryDetails"]["DeliveryMedium"], "EMAIL");
    assert_eq!(signed_up["CodeDeliveryDetails"]["Destination"], "a***@e***");
    let refused = boto.unsigned("InitiateAuth", password("alice", PASSWORD)).unwrap_err();
    assert_eq!((&*refused.code, &*refused.class), ("UserNotConfirmedException", "UserNotConfirmedException"));
    let code = api.code("alice@example.com", 1);
    let confirm = json!({ "ClientId": "webclient", "Username": "alice", "ConfirmationCode": code });
    boto.unsigned("ConfirmSignUp", confirm).unwrap();
    let wrong = boto.unsigned("InitiateAuth", password("alice", OTHER)).unwrap_err();
    assert_eq!(
        (&*wrong.code, &*wrong.message),
        ("NotAuthorizedException", "Incorrect username or password.")
    );
    let answer = boto.unsigned("InitiateAuth", password("alice@example.com", PASSWORD)).unwrap();
    let tokens = &answer["AuthenticationResult"];
    assert_eq!((&tokens["TokenType"], &tokens["ExpiresIn"]), (&json!("Bearer"), &json!(3600)));
    let user = boto.unsigned("GetUser", json!({ "AccessToken": tokens["AccessToken"] })).unwrap();
    assert_eq!(user["Username"], "alice");
    assert_eq!(user["UserAttributes"][0], json!({ "Name": "sub", "Value": signed_up["UserSub"] }));
    let refresh = json!({
        "ClientId": "webclient",
        "AuthFlow": "REFRESH_TOKEN_AUTH",
        "AuthParameters": { "REFRESH_TOKEN": tokens["RefreshToken"] },
    });
    let refreshed = boto.unsigned("InitiateAuth", refresh.clone()).unwrap();
    assert!(refreshed["AuthenticationResult"].get("RefreshToken").is_none());
    let change = json!({ "AccessToken": tokens["AccessToken"], "PreviousPassword": PASSWORD, "ProposedPassword": OTHER });
    boto.unsigned("ChangePassword", change).unwrap();
    boto.unsigned("GlobalSignOut", json!({ "AccessToken": tokens["AccessToken"] })).unwrap();
    let revoked = boto.unsigned("GetUser", json!({ "AccessToken": tokens["AccessToken"] })).unwrap_err();
    assert_eq!(
        (&*revoked.code, &*revoked.message),
        ("NotAuthorizedException", "Access Token has been revoked")
    );
    let revoked = boto.unsigned("InitiateAuth", refresh).unwrap_err();
    assert_eq!(
        (&*revoked.code, &*revoked.message),
        ("NotAuthorizedException", "Refresh Token has been revoked")
    );
    let answer = boto.unsigned("InitiateAuth", password("alice", OTHER)).unwrap();
    let token = &answer["AuthenticationResult"]["AccessToken"];
    boto.unsigned("DeleteUser", json!({ "AccessToken": token })).unwrap();
    assert!(boto.unsigned("GetUser", json!({ "AccessToken": token })).is_err());
    let changes = api.narthex.audit("account_changed");
    assert!(changes.iter().any(|line| line["change"] == "user_deleted"));
}

#[test]
fn administrators_sign_their_calls() {
    let api = Api::start(POOL);
    let request = || {
        json!({
            "UserPoolId": "us-east-1_000000000", "ClientId": "webclient", "AuthFlow": "ADMIN_USER_PASSWORD_AUTH",
            "AuthParameters": { "USERNAME": "alice", "PASSWORD": PASSWORD }
        })
    };
    let code = |boto: &mut Boto| boto.call("AdminInitiateAuth", request()).unwrap_err().code;
    // The pool does not exist: the signature was right.
    assert_eq!(code(&mut api.boto()), "ResourceNotFoundException");
    let (id, secret) = KEY;
    let wrong = format!("{secret}x");
    for (key, region, expected) in [
        ((id, wrong.as_str()), "us-east-1", "InvalidSignatureException"),
        (("AKIAUNKNOWN000000000", secret), "us-east-1", "UnrecognizedClientException"),
        (KEY, "eu-west-1", "InvalidSignatureException"),
    ] {
        assert_eq!(code(&mut Boto::in_region(&api.narthex, key, region)), expected);
    }
    let unsigned = api.boto().unsigned("AdminInitiateAuth", request()).unwrap_err();
    assert_eq!(unsigned.code, "MissingAuthenticationTokenException");
}

#[tokio::test]
async fn a_users_access_token_opens_routes_until_it_is_revoked() {
    let app = Upstream::start().await;
    let mail = MailServer::start("starttls", &[]);
    let group = "[[user_pool.group]]\nname = \"staff\"\n";
    let builder = Api::builder(&mail, &format!("{POOL}{group}")).route("app", app.port, "bearer = true");
    let other = "bearer = true\nuser_pools = [\"us-east-1_000000000\"]";
    let narthex = builder.route("other", app.port, other).start();
    let api = Api { narthex, mail };
    let mut boto = api.boto();
    let signed_up = sign_up(&mut boto, "alice", "alice@example.com");
    let code = api.code("alice@example.com", 1);
    let confirm = json!({ "ClientId": "webclient", "Username": "alice", "ConfirmationCode": code });
    boto.unsigned("ConfirmSignUp", confirm).unwrap();
    let tokens = boto.unsigned("InitiateAuth", password("alice", PASSWORD)).unwrap();
    let tokens = &tokens["AuthenticationResult"];
    let token = |name: &str| tokens[name].as_str().unwrap().to_owned();
    let program = Visitor::new(&api.narthex).client;
    let get = async |host: &str, token: &str| {
        let url = format!("{}/headers", api.narthex.origin(host));
        program.get(url).bearer_auth(token).send().await.unwrap()
    };
    assert_eq!(get("app", &token("AccessToken")).await.status(), 200);
    let seen = app.seen();
    assert_eq!(seen[0].header("x-amzn-oidc-identity"), signed_up["UserSub"]);
    assert_eq!(seen[0].claims()["cognito:username"], "alice");
    // An id token is for the client, and a route names the pools whose tokens it accepts.
    assert_eq!(get("app", &token("IdToken")).await.status(), 401);
    assert_eq!(get("other", &token("AccessToken")).await.status(), 401);
    boto.unsigned("GlobalSignOut", json!({ "AccessToken": token("AccessToken") })).unwrap();
    let ended = async || get("app", &token("AccessToken")).await.status() == 401;
    let deadline = Instant::now() + Duration::from_secs(5);
    while !ended().await {
        assert!(Instant::now() < deadline, "the token is still accepted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
