//! The flow `CUSTOM_AUTH`: functions of the pool make and compare challenges.

use crate::support::aws::{Api, ApiError, Boto, PASSWORD, claims, ok, text};
use crate::support::functions::{Functions, Reply};
use crate::support::libraries::{self, Library};
use crate::support::mail::MailServer;
use crate::support::totp::Authenticator;
use serde_json::{Value, json};

const POOL: &str = r#"
[[user_pool]]
name = "people"
mfa = "optional"
mfa_factors = ["software_token"]
[user_pool.triggers]
define_auth_challenge = "define"
create_auth_challenge = "create"
verify_auth_challenge_response = "verify"
[[user_pool.client]]
name = "plain"
id = "plainclient"
auth_flows = ["ALLOW_CUSTOM_AUTH", "ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
"#;
const WRONG: &str = "Incorrect username or password.";

struct Scene {
    functions: Functions,
    api: Api,
    boto: Boto,
}

/// Asks for the password if the client begins with it, then for one right answer; fails after three
/// answers.
fn define(event: &Value) -> Reply {
    let session = event["request"]["session"].as_array().unwrap();
    let last = session.last().cloned().unwrap_or_default();
    let custom = json!({ "challengeName": "CUSTOM_CHALLENGE", "issueTokens": false });
    let response = match (last["challengeName"].as_str(), &last["challengeResult"]) {
        (Some("SRP_A"), _) => json!({ "challengeName": "PASSWORD_VERIFIER" }),
        (Some("CUSTOM_CHALLENGE"), Value::Bool(true)) => json!({ "issueTokens": true }),
        _ if session.len() > 3 => json!({ "failAuthentication": true }),
        _ => custom,
    };
    Reply::response(event, response)
}

impl Scene {
    fn start() -> Self {
        let functions = Functions::start();
        let mail = MailServer::start("starttls", &[]);
        let tables = format!("{}{POOL}", functions.toml(&["define", "create", "verify"]));
        let api = Api { narthex: Api::builder(&mail, &tables).start(), mail };
        let boto = api.boto();
        functions.on("define", define);
        functions.on("create", |event| {
            let number = event["request"]["session"].as_array().unwrap().len();
            let response = json!({
                "publicChallengeParameters": { "question": format!("word {number}") },
                "privateChallengeParameters": { "answer": "sesame" },
                "challengeMetadata": format!("round {number}"),
            });
            Reply::response(event, response)
        });
        functions.on("verify", |event| {
            let request = &event["request"];
            let is_right = request["challengeAnswer"] == request["privateChallengeParameters"]["answer"];
            Reply::response(event, json!({ "answerCorrect": is_right }))
        });
        let mut scene = Self { functions, api, boto };
        scene.create("ada", true);
        scene
    }

    fn create(&mut self, name: &str, is_permanent: bool) {
        let pool = self.api.pool_id();
        let user = json!({ "UserPoolId": pool, "Username": name, "MessageAction": "SUPPRESS" });
        ok(&mut self.boto, "AdminCreateUser", user);
        let set =
            json!({ "UserPoolId": pool, "Username": name, "Password": PASSWORD, "Permanent": is_permanent });
        ok(&mut self.boto, "AdminSetUserPassword", set);
    }

    fn begin(&mut self, name: &str) -> Result<Value, ApiError> {
        let request = json!({ "ClientId": "plainclient", "AuthFlow": "CUSTOM_AUTH",
            "AuthParameters": { "USERNAME": name } });
        self.boto.unsigned("InitiateAuth", request)
    }

    fn answer(&mut self, name: &str, session: &Value, answer: &str) -> Result<Value, ApiError> {
        let request = json!({ "ClientId": "plainclient", "ChallengeName": "CUSTOM_CHALLENGE",
            "Session": session, "ChallengeResponses": { "USERNAME": name, "ANSWER": answer },
            "ClientMetadata": { "from": "app" } });
        self.boto.unsigned("RespondToAuthChallenge", request)
    }
}

fn is_signed_in(answer: &Value) -> bool {
    answer["AuthenticationResult"]["AccessToken"].is_string()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ApiError>) -> (String, String) {
    let error = result.unwrap_err();
    (error.code, error.message)
}

fn not_authorized(words: &str) -> (String, String) {
    ("NotAuthorizedException".to_owned(), words.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_make_challenges_until_one_answer_is_right() {
    let mut scene = Scene::start();
    let first = scene.begin("ada").unwrap();
    assert_eq!(first["ChallengeName"], "CUSTOM_CHALLENGE");
    assert_eq!(first["ChallengeParameters"], json!({ "question": "word 0", "USERNAME": "ada" }));
    assert!(!first.to_string().contains("sesame"));
    let second = scene.answer("ada", &first["Session"], "wrong").unwrap();
    assert_eq!(second["ChallengeParameters"]["question"], "word 1");
    let again = scene.answer("ada", &first["Session"], "sesame");
    assert_eq!(refusal(again).0, "NotAuthorizedException", "a challenge is answered once");
    assert!(is_signed_in(&scene.answer("ada", &second["Session"], "sesame").unwrap()));
    let defined = scene.functions.last("define");
    let result = |right: bool, round: u8| {
        json!({ "challengeName": "CUSTOM_CHALLENGE", "challengeResult": right,
            "challengeMetadata": format!("round {round}") })
    };
    assert_eq!(defined["triggerSource"], "DefineAuthChallenge_Authentication");
    assert_eq!(defined["request"]["session"], json!([result(false, 0), result(true, 1)]));
    assert_eq!(defined["request"]["clientMetadata"], json!({ "from": "app" }));
    let verified = scene.functions.last("verify");
    assert_eq!(verified["triggerSource"], "VerifyAuthChallengeResponse_Authentication");
    assert_eq!(verified["request"]["userAttributes"]["cognito:user_status"], "CONFIRMED");
    let log = scene.api.narthex.log();
    assert!(!log.contains("sesame"), "no answer is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_a_user_is_challenged_and_never_signed_in() {
    let mut scene = Scene::start();
    let known = scene.begin("ada").unwrap();
    let first = scene.begin("nobody").unwrap();
    assert_eq!(first["ChallengeParameters"], json!({ "question": "word 0", "USERNAME": "nobody" }));
    assert_eq!(text(&first["Session"]).len(), text(&known["Session"]).len());
    assert_eq!(scene.functions.last("create")["request"]["userNotFound"], true);
    let second = scene.answer("nobody", &first["Session"], "wrong").unwrap();
    assert_eq!(second["ChallengeName"], "CUSTOM_CHALLENGE");
    let again = scene.answer("nobody", &first["Session"], "wrong");
    let of_user = scene
        .answer("ada", &known["Session"], "wrong")
        .and_then(|_| scene.answer("ada", &known["Session"], "wrong"));
    assert_eq!(refusal(again), refusal(of_user));
    assert_eq!(refusal(scene.answer("nobody", &second["Session"], "sesame")), not_authorized(WRONG));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_answers_are_limited_and_the_server_decides_who_may_sign_in() {
    let mut scene = Scene::start();
    let mut refusals = Vec::new();
    for _ in 0..8 {
        match scene.begin("ada") {
            Ok(first) => refusals
                .push(scene.answer("ada", &first["Session"], "wrong").err().map(|error| error.message)),
            Err(error) => refusals.push(Some(error.message)),
        }
    }
    let locked = Some("Password attempts exceeded".to_owned());
    assert!(refusals.contains(&locked), "{refusals:?}");
    assert_eq!(refusals[0], None, "{refusals:?}");

    // A function vouches for a user who may not sign in.
    scene.create("new", false);
    scene.create("off", true);
    let off = json!({ "UserPoolId": scene.api.pool_id(), "Username": "off" });
    ok(&mut scene.boto, "AdminDisableUser", off);
    for (name, words) in [("new", WRONG), ("off", "User is disabled.")] {
        let first = scene.begin(name).unwrap();
        assert_eq!(refusal(scene.answer(name, &first["Session"], "sesame")), not_authorized(words), "{name}");
    }
    // The second factor is asked for after the challenges.
    scene.create("eve", true);
    let first = scene.begin("eve").unwrap();
    let tokens = scene.answer("eve", &first["Session"], "sesame").unwrap();
    let access = &tokens["AuthenticationResult"]["AccessToken"];
    let token = scene.boto.unsigned("AssociateSoftwareToken", json!({ "AccessToken": access })).unwrap();
    let app = Authenticator::new(&text(&token["SecretCode"]));
    let verify = json!({ "AccessToken": access, "UserCode": app.code(0) });
    scene.boto.unsigned("VerifySoftwareToken", verify).unwrap();
    let on = json!({ "AccessToken": access, "SoftwareTokenMfaSettings": { "Enabled": true } });
    scene.boto.unsigned("SetUserMFAPreference", on).unwrap();
    let first = scene.begin("eve").unwrap();
    let next = scene.answer("eve", &first["Session"], "sesame").unwrap();
    assert_eq!(next["ChallengeName"], "SOFTWARE_TOKEN_MFA", "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_functions_are_validated() {
    let mut scene = Scene::start();
    let invalid = "InvalidLambdaResponseException";
    let wrong_define = [
        json!({}),
        json!({ "challengeName": "SMS_MFA" }),
        json!({ "challengeName": 1 }),
        json!({ "issueTokens": "true" }),
    ];
    for response in wrong_define {
        let answer = response.clone();
        scene.functions.on("define", move |event| Reply::response(event, answer.clone()));
        assert_eq!(refusal(scene.begin("ada")).0, invalid, "{response}");
    }
    // A password cannot be proved by a client that did not begin with it.
    scene
        .functions
        .on("define", |event| Reply::response(event, json!({ "challengeName": "PASSWORD_VERIFIER" })));
    assert_eq!(refusal(scene.begin("ada")).0, "InvalidParameterException");
    scene.functions.on("define", |event| {
        Reply::response(event, json!({ "issueTokens": true, "failAuthentication": true }))
    });
    assert_eq!(refusal(scene.begin("ada")), not_authorized(WRONG));
    scene.functions.on("define", define);
    for response in [
        json!({ "privateChallengeParameters": { "answer": "x".repeat(2000) } }),
        json!({ "privateChallengeParameters": { "answer": "\u{1}".repeat(900) } }),
        json!({ "publicChallengeParameters": { "question": 1 } }),
        json!({ "challengeMetadata": "x".repeat(200) }),
    ] {
        let answer = response.clone();
        scene.functions.on("create", move |event| Reply::response(event, answer.clone()));
        assert_eq!(refusal(scene.begin("ada")).0, invalid, "{response}");
    }
    scene.functions.on("define", |_| Reply::error("closed"));
    let refused = refusal(scene.begin("ada"));
    assert_eq!(
        refused,
        ("UserLambdaValidationException".into(), "DefineAuthChallenge failed with error closed.".into())
    );
    let unconfigured = json!({ "PoolName": "other" });
    let pool = text(&ok(&mut scene.boto, "CreateUserPool", unconfigured)["UserPool"]["Id"]);
    let client = json!({ "UserPoolId": pool, "ClientName": "c", "ExplicitAuthFlows": ["ALLOW_CUSTOM_AUTH"],
        "PreventUserExistenceErrors": "ENABLED" });
    let client = text(&ok(&mut scene.boto, "CreateUserPoolClient", client)["UserPoolClient"]["ClientId"]);
    let request =
        json!({ "ClientId": client, "AuthFlow": "CUSTOM_AUTH", "AuthParameters": { "USERNAME": "x" } });
    let words = "Custom auth lambda trigger is not configured for the user pool.".to_owned();
    assert_eq!(
        refusal(scene.boto.unsigned("InitiateAuth", request)),
        ("InvalidParameterException".into(), words)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_answer_custom_challenges_with_and_without_a_password() {
    for library in ["identityJs", "amplify"] {
        let scene = Scene::start();
        let mut client = libraries::client(&scene.api, library, "plainclient", None);
        let with_password = json!({ "do": "customSignIn", "name": "ada", "password": PASSWORD });
        let asked = client.done(with_password);
        assert_eq!(asked["challenge"], "CUSTOM_CHALLENGE", "{library}: {asked}");
        assert_eq!(asked["parameters"]["question"], "word 2", "{library}");
        let session = &scene.functions.last("create")["request"]["session"];
        let passed =
            |name: &str| json!({ "challengeName": name, "challengeResult": true, "challengeMetadata": null });
        assert_eq!(*session, json!([passed("SRP_A"), passed("PASSWORD_VERIFIER")]), "{library}");
        let again = client.done(json!({ "do": "customAnswer", "answer": "wrong" }));
        assert_eq!(again["challenge"], "CUSTOM_CHALLENGE", "{library}");
        assert!(client.done(json!({ "do": "customAnswer", "answer": "sesame" }))["access"].is_string());

        let mut client = libraries::client(&scene.api, library, "plainclient", None);
        let asked = client.done(json!({ "do": "customSignIn", "name": "ada" }));
        assert_eq!(asked["parameters"]["question"], "word 0", "{library}");
        assert!(client.done(json!({ "do": "customAnswer", "answer": "sesame" }))["access"].is_string());
        let mut client = libraries::client(&scene.api, library, "plainclient", None);
        let wrong = json!({ "do": "customSignIn", "name": "ada", "password": "Wrong-Horse-7-Battery" });
        assert_eq!(client.refused(wrong), "NotAuthorizedException", "{library}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_the_function_refuses_are_limited_and_prove_no_password() {
    let mut scene = Scene::start();
    let first = scene.begin("ada").unwrap();
    let tokens = scene.answer("ada", &first["Session"], "sesame").unwrap();
    let access = claims(&text(&tokens["AuthenticationResult"]["AccessToken"]));
    assert_eq!((access.get("amr"), access.get("acr")), (None, None), "its method is unknown");
    scene.functions.on("verify", |_| Reply::error("wrong word"));
    let session = scene.begin("ada").unwrap()["Session"].clone();
    let words: Vec<_> = (0..8).map(|_| refusal(scene.answer("ada", &session, "guess")).0).collect();
    let compared = words.iter().filter(|words| *words == "UserLambdaValidationException").count();
    // One more is compared each time a lock of a second ends.
    assert!((5..8).contains(&compared), "{words:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_answers_of_one_address_are_limited_over_all_names() {
    let mut scene = Scene::start();
    let mut refused = None;
    for at in 0..160 {
        let name = format!("nobody{at}");
        let answered = match scene.begin(&name) {
            Ok(first) => scene.answer(&name, &first["Session"], "guess"),
            Err(error) => Err(error),
        };
        if let Err(error) = answered.map_err(|error| error.code) {
            refused = Some((at, error));
            break;
        }
    }
    let (at, code) = refused.expect("a refusal");
    assert_eq!(code, "TooManyRequestsException", "after {at}");
}
