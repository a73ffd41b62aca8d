//! Every spelling of `AuthFlow` at clients that allow one flow or none: no other one signs in.

use crate::support::aws::{Api, Boto, PASSWORD, create, ok, text};
use crate::support::wire::{Wire, WireResponse};
use serde_json::{Value, json};

const POOL: &str = "[[user_pool]]\nname = \"declared\"\nsigning_algorithm = \"ES256\"\n";
/// The values of `AuthFlowType` in the model.
const FLOWS: [&str; 8] = [
    "USER_SRP_AUTH",
    "REFRESH_TOKEN_AUTH",
    "REFRESH_TOKEN",
    "CUSTOM_AUTH",
    "ADMIN_NO_SRP_AUTH",
    "USER_PASSWORD_AUTH",
    "ADMIN_USER_PASSWORD_AUTH",
    "USER_AUTH",
];
const OTHER_SPELLINGS: [&str; 12] = [
    "",
    " ",
    "unknown",
    "ALLOW_USER_PASSWORD_AUTH",
    "ALLOW_REFRESH_TOKEN_AUTH",
    "CUSTOM_AUTH_FLOW_ONLY",
    "USER-PASSWORD-AUTH",
    "USER_PASSWORD_AUTH\u{0}",
    "USER_PASSWORD_AUTH,USER_AUTH",
    "USER_PASSWORD",
    "PAGE",
    "null",
];
const PUBLIC: &str = "InitiateAuth";
const ADMIN: &str = "AdminInitiateAuth";

/// What the client allows, and the operations and spellings with which a user gets tokens or a
/// challenge.
type Row = (&'static [&'static str], &'static [(&'static str, &'static str)]);

const REFRESH: [(&str, &str); 4] = [
    (PUBLIC, "REFRESH_TOKEN_AUTH"),
    (PUBLIC, "REFRESH_TOKEN"),
    (ADMIN, "REFRESH_TOKEN_AUTH"),
    (ADMIN, "REFRESH_TOKEN"),
];
const TABLE: [Row; 12] = [
    (&[], &[]),
    (&["ALLOW_CUSTOM_AUTH"], &[]),
    (&["ALLOW_TOKEN_EXCHANGE_DELEGATION"], &[]),
    (&["ALLOW_TOKEN_EXCHANGE_IMPERSONATION"], &[]),
    (&["ALLOW_USER_PASSWORD_AUTH"], &[(PUBLIC, "USER_PASSWORD_AUTH")]),
    (
        &["ALLOW_ADMIN_USER_PASSWORD_AUTH"],
        &[(ADMIN, "ADMIN_USER_PASSWORD_AUTH"), (ADMIN, "ADMIN_NO_SRP_AUTH")],
    ),
    (&["ALLOW_USER_SRP_AUTH"], &[(PUBLIC, "USER_SRP_AUTH"), (ADMIN, "USER_SRP_AUTH")]),
    (&["ALLOW_USER_AUTH"], &[(PUBLIC, "USER_AUTH"), (ADMIN, "USER_AUTH")]),
    (&["ALLOW_REFRESH_TOKEN_AUTH"], &REFRESH),
    // With an earlier name SRP and refresh are always allowed.
    (
        &["USER_PASSWORD_AUTH"],
        &[
            (PUBLIC, "USER_PASSWORD_AUTH"),
            (PUBLIC, "USER_SRP_AUTH"),
            (ADMIN, "USER_SRP_AUTH"),
            REFRESH[0],
            REFRESH[1],
            REFRESH[2],
            REFRESH[3],
        ],
    ),
    (
        &["ADMIN_NO_SRP_AUTH"],
        &[
            (ADMIN, "ADMIN_USER_PASSWORD_AUTH"),
            (ADMIN, "ADMIN_NO_SRP_AUTH"),
            (PUBLIC, "USER_SRP_AUTH"),
            (ADMIN, "USER_SRP_AUTH"),
            REFRESH[0],
            REFRESH[1],
            REFRESH[2],
            REFRESH[3],
        ],
    ),
    (&["ALLOW_CUSTOM_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"], &REFRESH),
];

/// A pool with a client and a user who has a refresh token.
struct Scene {
    boto: Boto,
    pool: String,
    client: String,
    refresh_token: Value,
}

impl Scene {
    fn start(api: &Api) -> Self {
        let mut boto = api.boto();
        let pool = text(&create(&mut boto, json!({}))["Id"]);
        let new = json!({ "UserPoolId": pool, "ClientName": "app",
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH"] });
        let client = text(&ok(&mut boto, "CreateUserPoolClient", new)["UserPoolClient"]["ClientId"]);
        let user = json!({ "UserPoolId": pool, "Username": "ann", "MessageAction": "SUPPRESS" });
        ok(&mut boto, "AdminCreateUser", user);
        let password =
            json!({ "UserPoolId": pool, "Username": "ann", "Password": PASSWORD, "Permanent": true });
        ok(&mut boto, "AdminSetUserPassword", password);
        let parameters = json!({ "USERNAME": "ann", "PASSWORD": PASSWORD });
        let begin =
            json!({ "ClientId": client, "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
        let tokens = boto.unsigned("InitiateAuth", begin).unwrap();
        let refresh_token = tokens["AuthenticationResult"]["RefreshToken"].clone();
        Self { boto, pool, client, refresh_token }
    }

    fn allow(&mut self, flows: &[&str]) {
        let update = json!({ "UserPoolId": self.pool, "ClientId": self.client, "ExplicitAuthFlows": flows });
        ok(&mut self.boto, "UpdateUserPoolClient", update);
    }

    /// A request with what every flow needs.
    fn request(&self, operation: &str, flow: &str) -> String {
        let parameters = json!({ "USERNAME": "ann", "PASSWORD": PASSWORD, "SRP_A": "abcdef",
            "PREFERRED_CHALLENGE": "PASSWORD", "REFRESH_TOKEN": self.refresh_token });
        let mut request = json!({ "ClientId": self.client, "AuthFlow": flow, "AuthParameters": parameters });
        if operation == ADMIN {
            request["UserPoolId"] = json!(self.pool);
        }
        request.to_string()
    }
}

/// The values of the model, in other cases and with spaces, and names that it does not have.
fn spellings() -> Vec<String> {
    let mut all: Vec<String> = OTHER_SPELLINGS.iter().map(|text| (*text).to_owned()).collect();
    for flow in FLOWS {
        let title = flow[..1].to_owned() + &flow[1..].to_lowercase();
        all.extend([flow.to_owned(), flow.to_lowercase(), title, format!(" {flow}"), format!("{flow} ")]);
    }
    all
}

#[track_caller]
fn assert_refused(answer: &WireResponse, flow: &str, shown: &str) {
    // No string of a request has U+0000.
    let has_nul = flow.contains('\0');
    let exception = if has_nul { "SerializationException" } else { "InvalidParameterException" };
    assert_eq!((answer.status, &answer.body["__type"]), (400, &json!(exception)), "{shown}");
    if !FLOWS.contains(&flow) && !has_nul {
        let message = format!(
            "1 validation error detected: Value '{flow}' at 'authFlow' failed to satisfy constraint: Member must \
             satisfy enum value set: [{}]",
            FLOWS.join(", ")
        );
        assert_eq!(answer.body["message"], json!(message), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_flow_signs_in_where_the_client_does_not_allow_it() {
    let api = Api::start(POOL);
    let wire = Wire::new(&api.narthex);
    let mut scene = Scene::start(&api);
    let (mut count, mut signed_in) = (0, 0);
    for (allowed, expected) in TABLE {
        scene.allow(allowed);
        for flow in spellings() {
            for operation in [PUBLIC, ADMIN] {
                let shown = format!("{operation} {flow:?} at {allowed:?}");
                let answer = wire.send(operation, operation == ADMIN, &scene.request(operation, &flow)).await;
                count += 1;
                if expected.contains(&(operation, &flow)) {
                    assert_eq!(answer.status, 200, "{shown}: {answer:?}");
                    let is_challenge = answer.body["ChallengeName"] == "PASSWORD_VERIFIER";
                    assert_eq!(is_challenge, flow == "USER_SRP_AUTH", "{shown}");
                    assert_eq!(answer.body["AuthenticationResult"].is_object(), !is_challenge, "{shown}");
                    signed_in += 1;
                } else {
                    assert_refused(&answer, &flow, &shown);
                }
            }
        }
    }
    println!("{count} requests, of which {signed_in} were allowed");
    let allowed: usize = TABLE.iter().map(|(_, expected)| expected.len()).sum();
    assert!(count > 1000 && signed_in == allowed, "{count}, {signed_in}");
}

#[test]
fn a_flow_without_custom_authentication_is_refused_for_a_client() {
    let api = Api::start(POOL);
    let mut scene = Scene::start(&api);
    for flows in [&["CUSTOM_AUTH_FLOW_ONLY"][..], &["CUSTOM_AUTH_FLOW_ONLY", "ADMIN_NO_SRP_AUTH"]] {
        let update =
            json!({ "UserPoolId": scene.pool, "ClientId": scene.client, "ExplicitAuthFlows": flows });
        let error = scene.boto.call("UpdateUserPoolClient", update).unwrap_err();
        assert_eq!(error.class, "InvalidParameterException");
        assert!(error.message.contains("CUSTOM_AUTH_FLOW_ONLY is not supported"), "{}", error.message);
    }
}
