//! Sign-ins and refreshes by the Cognito API in the ways of which users of other directories
//! complain. The number in a name is that of the complaint.

use crate::support::aws::{Api, ApiError, Boto, OTHER, PASSWORD};
use crate::support::libraries;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const CLIENT_SECRET: &str = "a-client-secret-of-an-app-with-its-own-server";
/// A client with rotation of refresh tokens, one without, and one with a secret.
const POOL: &str = r#"
[[user_pool]]
name = "people"
alias_attributes = ["email"]
sign_up = true
auto_verified = ["email"]
[[user_pool.client]]
name = "plain"
id = "plainclient"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_AUTH"]
[[user_pool.client]]
name = "rotating"
id = "rotatingclient"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH"]
refresh_rotation_grace = 10
[[user_pool.client]]
name = "confidential"
id = "confidentialclient"
secret = ["a-client-secret-of-an-app-with-its-own-server"]
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
"#;

/// Creates a confirmed user with a verified address.
fn create(api: &Api, boto: &mut Boto, name: &str) {
    let pool = api.pool_id();
    let attributes = json!([
        { "Name": "email", "Value": format!("{name}@example.com") },
        { "Name": "email_verified", "Value": "true" },
    ]);
    let user = json!({ "UserPoolId": pool, "Username": name, "MessageAction": "SUPPRESS", "UserAttributes": attributes });
    boto.call("AdminCreateUser", user).unwrap();
    let set = json!({ "UserPoolId": pool, "Username": name, "Password": PASSWORD, "Permanent": true });
    boto.call("AdminSetUserPassword", set).unwrap();
}

fn initiate(boto: &mut Boto, client: &str, flow: &str, parameters: Value) -> Result<Value, ApiError> {
    let request = json!({ "ClientId": client, "AuthFlow": flow, "AuthParameters": parameters });
    boto.unsigned("InitiateAuth", request)
}

fn by_password(boto: &mut Boto, client: &str, name: &str) -> Value {
    let parameters = json!({ "USERNAME": name, "PASSWORD": PASSWORD });
    initiate(boto, client, "USER_PASSWORD_AUTH", parameters).unwrap()["AuthenticationResult"].clone()
}

fn code<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
    result.unwrap_err().code
}

#[test]
fn pain_10_only_a_refresh_with_rotation_returns_a_refresh_token() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    create(&api, &mut boto, "alice");
    let tokens = by_password(&mut boto, "plainclient", "alice");
    for _ in 0..2 {
        let parameters = json!({ "REFRESH_TOKEN": tokens["RefreshToken"] });
        for flow in ["REFRESH_TOKEN_AUTH", "REFRESH_TOKEN"] {
            let refreshed = initiate(&mut boto, "plainclient", flow, parameters.clone()).unwrap();
            let refreshed = &refreshed["AuthenticationResult"];
            assert!(refreshed["AccessToken"].is_string() && refreshed["IdToken"].is_string(), "{flow}");
            assert!(refreshed.get("RefreshToken").is_none(), "{flow}: {refreshed}");
        }
        let request = json!({ "ClientId": "plainclient", "RefreshToken": tokens["RefreshToken"] });
        let refreshed = boto.unsigned("GetTokensFromRefreshToken", request).unwrap();
        assert!(refreshed["AuthenticationResult"].get("RefreshToken").is_none(), "{refreshed}");
    }
    let tokens = by_password(&mut boto, "rotatingclient", "alice");
    let mut newest = tokens["RefreshToken"].clone();
    for _ in 0..3 {
        let request = json!({ "ClientId": "rotatingclient", "RefreshToken": newest });
        let refreshed = boto.unsigned("GetTokensFromRefreshToken", request).unwrap();
        let next = refreshed["AuthenticationResult"]["RefreshToken"].clone();
        assert!(next.is_string() && next != newest);
        newest = next;
    }
    let parameters = json!({ "REFRESH_TOKEN": newest });
    assert!(initiate(&mut boto, "rotatingclient", "REFRESH_TOKEN_AUTH", parameters).is_err());
}

#[test]
fn pain_11_amplify_refreshes_with_and_without_rotation() {
    let api = Api::start(POOL);
    create(&api, &mut api.boto(), "alice");
    for id in ["plainclient", "rotatingclient"] {
        let mut amplify = libraries::client(&api, "amplify", id, None);
        amplify.done(json!({ "do": "signIn", "name": "alice", "password": PASSWORD }));
        let mut before = Value::Null;
        for _ in 0..3 {
            let tokens = amplify.done(json!({ "do": "refresh" }));
            assert!(tokens["access"].is_string() && tokens["access"] != before, "{id}");
            before = tokens["access"].clone();
        }
    }
}

#[test]
fn pain_12_amplify_is_signed_out_at_the_refresh_after_a_global_sign_out() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    create(&api, &mut boto, "alice");
    for id in ["plainclient", "rotatingclient"] {
        let mut amplify = libraries::client(&api, "amplify", id, None);
        let sign_in = json!({ "do": "signIn", "name": "alice", "password": PASSWORD });
        amplify.done(sign_in.clone());
        let user = json!({ "UserPoolId": api.pool_id(), "Username": "alice" });
        boto.call("AdminUserGlobalSignOut", user).unwrap();
        let before = requests(&api);
        let refreshed = amplify.ask(&json!({ "do": "refresh" }));
        assert_eq!(refreshed["ok"].get("access"), None, "{id}: {refreshed}");
        assert_eq!(requests(&api) - before, 1, "{id}: one refresh, and no loop");
        amplify.done(sign_in);
    }
}

/// The requests for new tokens so far.
fn requests(api: &Api) -> u64 {
    let metrics = api.narthex.admin("/metrics");
    let counts = metrics.lines().filter(|line| line.starts_with("narthex_api_requests_total{"));
    let refreshes = counts.filter(|line| line.contains("\"GetTokensFromRefreshToken\""));
    refreshes.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// The passwords that were compared or hashed.
fn passwords(metrics: &str) -> u64 {
    let counts = metrics.lines().filter(|line| line.starts_with("narthex_password_work_seconds_count"));
    let counts: Vec<u64> = counts.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(!counts.is_empty());
    counts.iter().sum()
}

fn secret_hash(name: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
    STANDARD.encode(hmac::sign(&key, format!("{name}confidentialclient").as_bytes()))
}

#[test]
fn pain_13_a_confidential_client_signs_in_by_alias_and_hashes_the_user_name() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    create(&api, &mut boto, "alice");
    let alias = "alice@example.com";
    // The first step has the hash of what was typed.
    let begin = |boto: &mut Boto, name: &str, hash: Option<String>| {
        let mut parameters = json!({ "USERNAME": name, "PASSWORD": PASSWORD });
        if let Some(hash) = hash {
            parameters["SECRET_HASH"] = json!(hash);
        }
        initiate(boto, "confidentialclient", "USER_PASSWORD_AUTH", parameters)
    };
    assert_eq!(code(begin(&mut boto, alias, None)), "NotAuthorizedException");
    assert_eq!(code(begin(&mut boto, alias, Some(secret_hash("bob")))), "NotAuthorizedException");
    let tokens = begin(&mut boto, alias, Some(secret_hash(alias))).unwrap();
    let token = tokens["AuthenticationResult"]["RefreshToken"].clone();
    let mut refresh = |hash: &str| {
        let parameters = json!({ "REFRESH_TOKEN": token, "SECRET_HASH": hash });
        initiate(&mut boto, "confidentialclient", "REFRESH_TOKEN_AUTH", parameters)
    };
    assert_eq!(code(refresh(&secret_hash(alias))), "NotAuthorizedException");
    assert!(refresh(&secret_hash("alice")).unwrap()["AuthenticationResult"]["AccessToken"].is_string());
    // A challenge: the hash over the alias is refused from here on.
    let set =
        json!({ "UserPoolId": api.pool_id(), "Username": "alice", "Password": OTHER, "Permanent": false });
    boto.call("AdminSetUserPassword", set).unwrap();
    let parameters = json!({ "USERNAME": alias, "PASSWORD": OTHER, "SECRET_HASH": secret_hash(alias) });
    let challenge = initiate(&mut boto, "confidentialclient", "USER_PASSWORD_AUTH", parameters).unwrap();
    assert_eq!(challenge["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    assert_eq!(challenge["ChallengeParameters"]["USER_ID_FOR_SRP"], "alice");
    let mut answer = |name: &str, hash: &str| {
        let responses = json!({ "USERNAME": name, "NEW_PASSWORD": PASSWORD, "SECRET_HASH": hash });
        let request = json!({ "ClientId": "confidentialclient", "ChallengeName": "NEW_PASSWORD_REQUIRED",
            "Session": challenge["Session"], "ChallengeResponses": responses });
        boto.unsigned("RespondToAuthChallenge", request)
    };
    assert_eq!(code(answer(alias, &secret_hash(alias))), "NotAuthorizedException");
    assert!(answer(alias, &secret_hash("alice")).unwrap()["AuthenticationResult"].is_object());
    // Secure Remote Password by the alias: pycognito hashes the user name from the second step on.
    let mut pycognito = libraries::client(&api, "pycognito", "confidentialclient", Some(CLIENT_SECRET));
    let tokens = pycognito.done(json!({ "do": "signIn", "name": alias, "password": PASSWORD }));
    assert!(tokens["access"].is_string());
}

#[test]
fn pain_16_a_user_chooses_among_the_challenges_of_the_pool() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    create(&api, &mut boto, "alice");
    let chosen = initiate(&mut boto, "plainclient", "USER_AUTH", json!({ "USERNAME": "alice" })).unwrap();
    assert_eq!(chosen["ChallengeName"], "SELECT_CHALLENGE");
    let mut available: Vec<_> =
        chosen["AvailableChallenges"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    available.sort_unstable();
    assert_eq!(available, ["PASSWORD", "PASSWORD_SRP"]);
    let responses = json!({ "USERNAME": "alice", "ANSWER": "PASSWORD", "PASSWORD": PASSWORD });
    let answer = json!({ "ClientId": "plainclient", "ChallengeName": "SELECT_CHALLENGE", "Session": chosen["Session"],
        "ChallengeResponses": responses });
    assert!(boto.unsigned("RespondToAuthChallenge", answer).unwrap()["AuthenticationResult"].is_object());
    let refused = initiate(&mut boto, "rotatingclient", "USER_AUTH", json!({ "USERNAME": "alice" }));
    assert_eq!(code(refused), "InvalidParameterException");
}

#[test]
fn pain_25_ordinary_load_is_not_throttled_and_guesses_are() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    for number in 0..8 {
        create(&api, &mut boto, &format!("user{number}"));
    }
    for round in 0..10 {
        for number in 0..8 {
            let tokens = by_password(&mut boto, "plainclient", &format!("user{number}"));
            assert!(tokens["AccessToken"].is_string(), "round {round}");
            let user = json!({ "AccessToken": tokens["AccessToken"] });
            boto.unsigned("GetUser", user).unwrap();
        }
    }
    // Tokens are no guesses: a client that polls with an expired one does not limit its network.
    for _ in 0..150 {
        let polled = boto.unsigned("GetUser", json!({ "AccessToken": "e30.e30.e30" }));
        assert_eq!(code(polled), "NotAuthorizedException");
    }
    let held = by_password(&mut boto, "plainclient", "user0");
    assert!(!api.narthex.admin("/metrics").contains("TooManyRequestsException"));
    let limited = (0..200).find_map(|number| {
        let parameters = json!({ "USERNAME": format!("nobody{number}"), "PASSWORD": PASSWORD });
        let error = initiate(&mut boto, "plainclient", "USER_PASSWORD_AUTH", parameters).unwrap_err();
        (error.code != "NotAuthorizedException").then_some(error)
    });
    let limited = limited.expect("guesses at names are limited by address");
    assert_eq!((&*limited.code, &*limited.class), ("TooManyRequestsException", "TooManyRequestsException"));
    assert!(limited.retry_after.unwrap().parse::<u64>().unwrap() >= 1);
    let metrics = api.narthex.admin("/metrics");
    let counted =
        "narthex_api_requests_total{operation=\"InitiateAuth\",result=\"TooManyRequestsException\"}";
    assert!(metrics.contains(counted));
    // A valid token proves itself.
    boto.unsigned("GetUser", json!({ "AccessToken": held["AccessToken"] })).unwrap();
    let refresh = json!({ "REFRESH_TOKEN": held["RefreshToken"] });
    initiate(&mut boto, "plainclient", "REFRESH_TOKEN_AUTH", refresh).unwrap();
    boto.unsigned("GlobalSignOut", json!({ "AccessToken": held["AccessToken"] })).unwrap();
    // One more guess is allowed each second. What is refused in between compares no password.
    let before = passwords(&api.narthex.admin("/metrics"));
    let mut refused = 0;
    for number in 0..20 {
        let parameters = json!({ "USERNAME": format!("nobody{number}"), "PASSWORD": PASSWORD });
        let answer = initiate(&mut boto, "plainclient", "USER_PASSWORD_AUTH", parameters);
        refused += u32::from(code(answer) == "TooManyRequestsException");
    }
    assert!(refused > 0, "guesses are still limited");
    let compared = passwords(&api.narthex.admin("/metrics")) - before;
    assert_eq!(compared, u64::from(20 - refused), "no password is compared for a refused guess");
}
