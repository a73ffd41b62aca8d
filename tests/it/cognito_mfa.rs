//! Second factors by the Cognito API: the challenges, their words and their limits.

use crate::support::aws::{Api, ApiError, Boto, OTHER, PASSWORD, ok, text};
use crate::support::libraries::{self, Library as _};
use crate::support::totp::Authenticator;
use serde_json::{Value, json};

const POOL: &str = r#"
[[user_pool]]
name = "people"
mfa = "optional"
mfa_factors = ["software_token", "email"]
[[user_pool.client]]
name = "plain"
id = "plainclient"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
"#;

struct Scene {
    api: Api,
    boto: Boto,
    pool: String,
    client: String,
}

impl Scene {
    fn of_file() -> Self {
        let api = Api::start(POOL);
        let (boto, pool) = (api.boto(), api.pool_id());
        Self { api, boto, pool, client: "plainclient".to_owned() }
    }

    /// A scene with a pool of the API that demands a second factor.
    fn required() -> Self {
        let api = Api::start(POOL);
        let mut boto = api.boto();
        let new = json!({ "PoolName": "strict", "MfaConfiguration": "ON" });
        let pool = text(&ok(&mut boto, "CreateUserPool", new)["UserPool"]["Id"]);
        let flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"];
        let client = json!({ "UserPoolId": pool, "ClientName": "c", "ExplicitAuthFlows": flows });
        let client = ok(&mut boto, "CreateUserPoolClient", client);
        let client = text(&client["UserPoolClient"]["ClientId"]);
        Self { api, boto, pool, client }
    }

    fn create(&mut self, name: &str, is_permanent: bool) {
        let attributes = json!([
            { "Name": "email", "Value": format!("{name}@example.com") },
            { "Name": "email_verified", "Value": "true" },
        ]);
        let user = json!({ "UserPoolId": self.pool, "Username": name, "MessageAction": "SUPPRESS",
            "UserAttributes": attributes });
        ok(&mut self.boto, "AdminCreateUser", user);
        let set = json!({ "UserPoolId": self.pool, "Username": name, "Password": PASSWORD,
            "Permanent": is_permanent });
        ok(&mut self.boto, "AdminSetUserPassword", set);
    }

    fn sign_in(&mut self, name: &str) -> Result<Value, ApiError> {
        let request = json!({ "ClientId": self.client, "AuthFlow": "USER_PASSWORD_AUTH",
            "AuthParameters": { "USERNAME": name, "PASSWORD": PASSWORD } });
        self.boto.unsigned("InitiateAuth", request)
    }

    fn answer(&mut self, challenge: &str, session: &Value, mut responses: Value) -> Result<Value, ApiError> {
        if responses.get("USERNAME").is_none() {
            responses["USERNAME"] = json!("ada");
        }
        let request = json!({ "ClientId": self.client, "ChallengeName": challenge, "Session": session,
            "ChallengeResponses": responses });
        self.boto.unsigned("RespondToAuthChallenge", request)
    }

    fn token_code(&mut self, session: &Value, code: &str) -> Result<Value, ApiError> {
        self.answer("SOFTWARE_TOKEN_MFA", session, json!({ "SOFTWARE_TOKEN_MFA_CODE": code }))
    }

    /// Signs in without a second factor, and sets a software token up. Uses the code of the step
    /// before this one.
    fn with_token(&mut self, name: &str) -> (Authenticator, Value) {
        let access = self.sign_in(name).unwrap()["AuthenticationResult"]["AccessToken"].clone();
        let token = self.boto.unsigned("AssociateSoftwareToken", json!({ "AccessToken": access })).unwrap();
        let app = Authenticator::new(&text(&token["SecretCode"]));
        let verify = |code: String| json!({ "AccessToken": access, "UserCode": code });
        let wrong = self.boto.unsigned("VerifySoftwareToken", verify("000000".to_owned()));
        assert_eq!(exception(wrong), ("EnableSoftwareTokenMFAException".into(), "Code mismatch".into()));
        let right = self.boto.unsigned("VerifySoftwareToken", verify(app.code(-1))).unwrap();
        assert_eq!(right, json!({ "Status": "SUCCESS" }));
        (app, access)
    }

    fn prefer(&mut self, access: &Value, mut members: Value) -> Result<Value, ApiError> {
        members["AccessToken"] = access.clone();
        self.boto.unsigned("SetUserMFAPreference", members)
    }
}

fn exception<T: std::fmt::Debug>(result: Result<T, ApiError>) -> (String, String) {
    let error = result.unwrap_err();
    (error.code, error.message)
}

fn is_signed_in(answer: &Value) -> bool {
    answer["AuthenticationResult"]["AccessToken"].is_string()
}

#[test]
fn a_software_token_is_asked_for_once_it_is_turned_on() {
    let mut scene = Scene::of_file();
    scene.create("ada", true);
    let (app, access) = scene.with_token("ada");
    // A verified token is not yet turned on, as in AWS.
    assert!(is_signed_in(&scene.sign_in("ada").unwrap()));
    let on = json!({ "SoftwareTokenMfaSettings": { "Enabled": true, "PreferredMfa": true } });
    scene.prefer(&access, on).unwrap();
    let user = scene.boto.unsigned("GetUser", json!({ "AccessToken": access })).unwrap();
    assert_eq!(user["UserMFASettingList"], json!(["SOFTWARE_TOKEN_MFA"]));
    assert_eq!(user["PreferredMfaSetting"], "SOFTWARE_TOKEN_MFA");
    let named = json!({ "UserPoolId": scene.pool, "Username": "ada" });
    let user = ok(&mut scene.boto, "AdminGetUser", named.clone());
    assert_eq!(user["UserMFASettingList"], json!(["SOFTWARE_TOKEN_MFA"]));
    let factors = ok(&mut scene.boto, "AdminGetUserAuthFactors", named.clone());
    assert_eq!(factors["ConfiguredUserAuthFactors"], json!(["PASSWORD"]));

    let challenge = scene.sign_in("ada").unwrap();
    assert_eq!(challenge["ChallengeName"], "SOFTWARE_TOKEN_MFA");
    let session = &challenge["Session"];
    let mismatch =
        || ("CodeMismatchException".into(), "Invalid verification code provided, please try again.".into());
    assert_eq!(exception(scene.token_code(session, "000000")), mismatch());
    // The code of the set-up was used.
    let used = ("ExpiredCodeException".into(), "Your software token has already been used once.".into());
    assert_eq!(exception(scene.token_code(session, &app.code(-1))), used);
    // The answer to another challenge is none to this one.
    let code = app.code(0);
    for (challenge, key) in [("EMAIL_OTP", "SOFTWARE_TOKEN_MFA_CODE"), ("MFA_SETUP", "X"), ("SMS_MFA", "X")] {
        assert!(scene.answer(challenge, session, json!({ key: code })).is_err(), "{challenge}");
    }
    let signed_in = scene.token_code(session, &code).unwrap();
    assert!(is_signed_in(&signed_in));
    assert!(scene.token_code(session, &app.code(1)).is_err(), "the session is spent");
    let again = scene.sign_in("ada").unwrap();
    assert_eq!(exception(scene.token_code(&again["Session"], &code)), used);
    // A refresh asks for nothing.
    let refresh = json!({ "ClientId": scene.client, "AuthFlow": "REFRESH_TOKEN_AUTH",
        "AuthParameters": { "REFRESH_TOKEN": signed_in["AuthenticationResult"]["RefreshToken"] } });
    assert!(is_signed_in(&scene.boto.unsigned("InitiateAuth", refresh).unwrap()));
    // A password that was set since voids the session.
    let set = json!({ "UserPoolId": scene.pool, "Username": "ada", "Password": OTHER, "Permanent": true });
    ok(&mut scene.boto, "AdminSetUserPassword", set);
    assert_eq!(exception(scene.token_code(&again["Session"], &app.code(1))).0, "NotAuthorizedException");
    ok(&mut scene.boto, "AdminDeleteSoftwareToken", named);
    let set = json!({ "UserPoolId": scene.pool, "Username": "ada", "Password": PASSWORD, "Permanent": true });
    ok(&mut scene.boto, "AdminSetUserPassword", set);
    assert!(is_signed_in(&scene.sign_in("ada").unwrap()), "an administrator removed the token");
}

#[test]
fn a_required_factor_is_set_up_in_the_first_sign_in() {
    let mut scene = Scene::required();
    scene.create("ada", false);
    let challenge = scene.sign_in("ada").unwrap();
    assert_eq!(challenge["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    let new = json!({ "NEW_PASSWORD": OTHER });
    let set_up = scene.answer("NEW_PASSWORD_REQUIRED", &challenge["Session"], new).unwrap();
    assert_eq!(set_up["ChallengeName"], "MFA_SETUP");
    assert_eq!(set_up["ChallengeParameters"]["MFAS_CAN_SETUP"], "[\"SOFTWARE_TOKEN_MFA\"]");
    // No token yet: the challenge is not answered.
    assert!(scene.answer("MFA_SETUP", &set_up["Session"], json!({})).is_err());
    let associate = |scene: &mut Scene, session: &Value| {
        scene.boto.unsigned("AssociateSoftwareToken", json!({ "Session": session }))
    };
    let token = associate(&mut scene, &set_up["Session"]).unwrap();
    let app = Authenticator::new(&text(&token["SecretCode"]));
    let verify = |session: &Value, code: &str| json!({ "Session": session, "UserCode": code });
    let wrong = scene.boto.unsigned("VerifySoftwareToken", verify(&token["Session"], "000000"));
    assert_eq!(exception(wrong).0, "EnableSoftwareTokenMFAException");
    assert!(scene.answer("MFA_SETUP", &token["Session"], json!({})).is_err());
    let verified =
        scene.boto.unsigned("VerifySoftwareToken", verify(&token["Session"], &app.code(-1))).unwrap();
    assert_eq!(verified["Status"], "SUCCESS");
    // Sessions from before the set-up set nothing up, and sign nobody in.
    assert_eq!(exception(associate(&mut scene, &set_up["Session"])).0, "NotAuthorizedException");
    let late = scene.boto.unsigned("VerifySoftwareToken", verify(&token["Session"], &app.code(0)));
    assert_eq!(exception(late).0, "NotAuthorizedException");
    assert!(scene.answer("MFA_SETUP", &token["Session"], json!({})).is_err());
    let signed_in = scene.answer("MFA_SETUP", &verified["Session"], json!({})).unwrap();
    assert!(is_signed_in(&signed_in));
    assert!(scene.answer("MFA_SETUP", &verified["Session"], json!({})).is_err());
    for session in ["", "x", "nobody.eyJhIjoxfQ", &format!("{}.AAAA", scene.client)] {
        let padded = json!(format!("{session:-<20}"));
        assert!(associate(&mut scene, &padded).is_err(), "{session}");
    }
}

#[test]
fn a_code_in_a_mail_is_a_second_factor_and_users_choose() {
    let mut scene = Scene::of_file();
    scene.create("ada", true);
    let (app, access) = scene.with_token("ada");
    let both =
        json!({ "SoftwareTokenMfaSettings": { "Enabled": true }, "EmailMfaSettings": { "Enabled": true } });
    scene.prefer(&access, both).unwrap();
    let choice = scene.sign_in("ada").unwrap();
    assert_eq!(choice["ChallengeName"], "SELECT_MFA_TYPE");
    assert_eq!(choice["ChallengeParameters"]["MFAS_CAN_CHOOSE"], "[\"SOFTWARE_TOKEN_MFA\",\"EMAIL_OTP\"]");
    let other = scene.answer("SELECT_MFA_TYPE", &choice["Session"], json!({ "ANSWER": "SMS_MFA" }));
    assert_eq!(exception(other).0, "InvalidParameterException");
    let mail = scene.answer("SELECT_MFA_TYPE", &choice["Session"], json!({ "ANSWER": "EMAIL_OTP" })).unwrap();
    assert_eq!(mail["ChallengeName"], "EMAIL_OTP");
    assert_eq!(mail["ChallengeParameters"]["CODE_DELIVERY_DELIVERY_MEDIUM"], "EMAIL");
    assert_eq!(mail["ChallengeParameters"]["CODE_DELIVERY_DESTINATION"], "a***@e***");
    let code = scene.api.code("ada@example.com", 1);
    let answer = |code: &str| json!({ "EMAIL_OTP_CODE": code });
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let session = &mail["Session"];
    assert_eq!(exception(scene.answer("EMAIL_OTP", session, answer(wrong))).0, "CodeMismatchException");
    // The code of the app is none of the mail.
    assert!(scene.answer("EMAIL_OTP", session, answer(&app.code(0))).is_err());
    assert!(is_signed_in(&scene.answer("EMAIL_OTP", session, answer(&code)).unwrap()));
    assert!(scene.answer("EMAIL_OTP", session, answer(&code)).is_err());
    // A preference ends the choice; only one can be preferred.
    let two = json!({ "SoftwareTokenMfaSettings": { "Enabled": true, "PreferredMfa": true },
        "EmailMfaSettings": { "Enabled": true, "PreferredMfa": true } });
    assert_eq!(exception(scene.prefer(&access, two)).0, "InvalidParameterException");
    scene.prefer(&access, json!({ "EmailMfaSettings": { "Enabled": true, "PreferredMfa": true } })).unwrap();
    assert_eq!(scene.sign_in("ada").unwrap()["ChallengeName"], "EMAIL_OTP");
    // What the pool or the user does not have is not turned on.
    let sms = scene.prefer(&access, json!({ "SMSMfaSettings": { "Enabled": true } }));
    assert_eq!(exception(sms).0, "InvalidParameterException");
    scene.create("bob", true);
    let bob = scene.sign_in("bob").unwrap()["AuthenticationResult"]["AccessToken"].clone();
    let token = scene.prefer(&bob, json!({ "SoftwareTokenMfaSettings": { "Enabled": true } }));
    assert_eq!(exception(token).1, "User has not verified software token mfa");
}

#[test]
fn the_address_of_a_second_factor_resets_no_password() {
    let mut scene = Scene::of_file();
    scene.create("ada", true);
    let access = scene.sign_in("ada").unwrap()["AuthenticationResult"]["AccessToken"].clone();
    let client = scene.client.clone();
    let forgot = |scene: &mut Scene| {
        scene.boto.unsigned("ForgotPassword", json!({ "ClientId": client, "Username": "ada" }))
    };
    forgot(&mut scene).unwrap();
    let code = scene.api.code("ada@example.com", 1);
    scene.prefer(&access, json!({ "EmailMfaSettings": { "Enabled": true } })).unwrap();
    // A code from before is none any more.
    let reset = json!({ "ClientId": client, "Username": "ada", "ConfirmationCode": code, "Password": OTHER });
    assert_eq!(exception(scene.boto.unsigned("ConfirmForgotPassword", reset)).0, "CodeMismatchException");
    // The answer is that for a name without a user.
    forgot(&mut scene).unwrap();
    let user = json!({ "UserPoolId": scene.pool, "Username": "ada" });
    let by_administrator = scene.boto.call("AdminResetUserPassword", user);
    assert_eq!(exception(by_administrator).0, "InvalidParameterException");
    scene.prefer(&access, json!({ "EmailMfaSettings": { "Enabled": false } })).unwrap();
    forgot(&mut scene).unwrap();
    scene.api.code("ada@example.com", 2);
    assert_eq!(
        scene.api.mail.count("ada@example.com"),
        2,
        "one message for each time the address was usable"
    );
}

#[test]
fn an_address_that_loses_its_verification_does_not_turn_the_factor_off() {
    let mut scene = Scene::required();
    let mail = json!({ "Message": "{####}", "Subject": "Code" });
    let optional =
        json!({ "UserPoolId": scene.pool, "MfaConfiguration": "OPTIONAL", "EmailMfaConfiguration": mail });
    ok(&mut scene.boto, "SetUserPoolMfaConfig", optional);
    scene.create("ada", true);
    let access = scene.sign_in("ada").unwrap()["AuthenticationResult"]["AccessToken"].clone();
    scene.prefer(&access, json!({ "EmailMfaSettings": { "Enabled": true } })).unwrap();
    assert_eq!(scene.sign_in("ada").unwrap()["ChallengeName"], "EMAIL_OTP");
    let new = json!([{ "Name": "email", "Value": "new@example.com" }]);
    let update = json!({ "AccessToken": access, "UserAttributes": new });
    scene.boto.unsigned("UpdateUserAttributes", update).unwrap();
    assert_eq!(exception(scene.sign_in("ada")).0, "NotAuthorizedException");
    // An administrator helps.
    let off =
        json!({ "UserPoolId": scene.pool, "Username": "ada", "EmailMfaSettings": { "Enabled": false } });
    ok(&mut scene.boto, "AdminSetUserMFAPreference", off);
    assert!(is_signed_in(&scene.sign_in("ada").unwrap()));
}

#[test]
fn a_refused_message_counts_no_wrong_password() {
    let api = Api::start(&format!("{POOL}[messages]\nper_user = 1\nper_address = 1\n"));
    let (boto, pool) = (api.boto(), api.pool_id());
    let mut scene = Scene { api, boto, pool, client: "plainclient".to_owned() };
    scene.create("ada", true);
    let access = scene.sign_in("ada").unwrap()["AuthenticationResult"]["AccessToken"].clone();
    scene.prefer(&access, json!({ "EmailMfaSettings": { "Enabled": true } })).unwrap();
    // Messages that strangers behind the same address request do not use up its codes.
    let forgot = json!({ "ClientId": "plainclient", "Username": "nobody" });
    scene.boto.unsigned("ForgotPassword", forgot).unwrap();
    assert_eq!(scene.sign_in("ada").unwrap()["ChallengeName"], "EMAIL_OTP");
    for _ in 0..7 {
        assert_eq!(exception(scene.sign_in("ada")).0, "TooManyRequestsException");
    }
}

#[test]
fn guesses_of_a_second_factor_are_limited() {
    let mut scene = Scene::of_file();
    scene.create("ada", true);
    let (app, access) = scene.with_token("ada");
    scene.prefer(&access, json!({ "SoftwareTokenMfaSettings": { "Enabled": true } })).unwrap();
    let (mut tries, mut locked) = (0, None);
    // Each sign-in has a session of its own: the limit is the user's.
    while locked.is_none() && tries < 20 {
        let session = scene.sign_in("ada").unwrap()["Session"].clone();
        let (code, message) = exception(scene.token_code(&session, "000000"));
        tries += 1;
        locked = (code != "CodeMismatchException").then_some((code, message));
    }
    assert_eq!(locked, Some(("NotAuthorizedException".into(), "Password attempts exceeded".into())));
    assert_eq!(tries, 6, "five wrong codes, and a lock");
    let session = scene.sign_in("ada").unwrap()["Session"].clone();
    assert!(scene.token_code(&session, &app.code(0)).is_err(), "also the right one waits");
}

#[test]
fn the_second_factors_of_a_pool_are_read_back() {
    let mut scene = Scene::required();
    let pool = json!({ "UserPoolId": scene.pool });
    let config = ok(&mut scene.boto, "GetUserPoolMfaConfig", pool.clone());
    let token = json!({ "Enabled": true });
    assert_eq!(config, json!({ "MfaConfiguration": "ON", "SoftwareTokenMfaConfiguration": token }));
    // A change of something else does not turn it off.
    ok(&mut scene.boto, "UpdateUserPool", pool.clone());
    assert_eq!(ok(&mut scene.boto, "GetUserPoolMfaConfig", pool.clone()), config);
    let described = ok(&mut scene.boto, "DescribeUserPool", pool.clone());
    assert_eq!(described["UserPool"]["MfaConfiguration"], "ON");
    let mail = json!({ "Message": "Code {####}", "Subject": "Code" });
    let sms = json!({ "SmsAuthenticationMessage": "Code {####}",
        "SmsConfiguration": { "SnsCallerArn": "arn:aws:iam::123456789012:role/sms" } });
    let both = json!({ "UserPoolId": scene.pool, "MfaConfiguration": "OPTIONAL",
        "EmailMfaConfiguration": mail, "SmsMfaConfiguration": sms });
    let set = ok(&mut scene.boto, "SetUserPoolMfaConfig", both);
    let expected =
        json!({ "MfaConfiguration": "OPTIONAL", "EmailMfaConfiguration": mail, "SmsMfaConfiguration": sms });
    assert_eq!(set, expected);
    ok(&mut scene.boto, "UpdateUserPool", pool.clone());
    assert_eq!(ok(&mut scene.boto, "GetUserPoolMfaConfig", pool), expected);
    let off = json!({ "UserPoolId": scene.pool, "MfaConfiguration": "OFF", "SoftwareTokenMfaConfiguration": token });
    let refused = exception(scene.boto.call("SetUserPoolMfaConfig", off));
    let words = "Invalid MFA configuration given, can't turn off MFA and configure an MFA together.";
    assert_eq!(refused, ("InvalidParameterException".into(), words.into()));
    let none = json!({ "UserPoolId": scene.pool, "MfaConfiguration": "ON" });
    assert_eq!(exception(scene.boto.call("SetUserPoolMfaConfig", none)).0, "InvalidParameterException");
    let off = json!({ "UserPoolId": scene.pool, "MfaConfiguration": "OFF" });
    assert_eq!(ok(&mut scene.boto, "SetUserPoolMfaConfig", off), json!({ "MfaConfiguration": "OFF" }));
    let declared = json!({ "UserPoolId": scene.api.pool_id(), "MfaConfiguration": "OFF" });
    assert_eq!(
        exception(scene.boto.call("SetUserPoolMfaConfig", declared)).0,
        "OperationNotEnabledException"
    );
}

/// A library sets a software token up, and signs in with it.
fn by_library(library: &str) {
    let mut scene = Scene::of_file();
    scene.create("ada", true);
    let mut client = libraries::client(&scene.api, library, "plainclient", None);
    let sign_in = json!({ "do": "signIn", "name": "ada", "password": PASSWORD });
    assert!(client.done(sign_in.clone())["access"].is_string());
    let token = client.done(json!({ "do": "newToken" }));
    let app = Authenticator::new(&text(&token["secret"]));
    client.done(json!({ "do": "confirmToken", "code": app.code(-1) }));
    client.done(json!({ "do": "preferToken" }));
    let mut client = libraries::client(&scene.api, library, "plainclient", None);
    assert_eq!(client.done(sign_in)["challenge"], "SOFTWARE_TOKEN_MFA", "{library}");
    let wrong = client.refused(json!({ "do": "mfaCode", "code": "000000" }));
    assert_eq!(wrong, "CodeMismatchException", "{library}");
    let tokens = client.done(json!({ "do": "mfaCode", "code": app.code(0) }));
    assert!(tokens["access"].is_string(), "{library}: {tokens}");
}

#[test]
fn libraries_sign_in_with_a_software_token() {
    for library in ["identityJs", "amplify", "pycognito"] {
        by_library(library);
    }
}

#[test]
fn libraries_set_a_required_token_up_while_they_sign_in() {
    let pool = POOL.replace("mfa = \"optional\"", "mfa = \"required\"");
    for library in ["identityJs", "amplify"] {
        let api = Api::start(&pool);
        let (boto, pool) = (api.boto(), api.pool_id());
        let mut scene = Scene { api, boto, pool, client: "plainclient".to_owned() };
        let new = json!({ "UserPoolId": scene.pool, "Username": "bob", "MessageAction": "SUPPRESS" });
        ok(&mut scene.boto, "AdminCreateUser", new);
        let set =
            json!({ "UserPoolId": scene.pool, "Username": "bob", "Password": PASSWORD, "Permanent": true });
        ok(&mut scene.boto, "AdminSetUserPassword", set);
        let mut client = libraries::client(&scene.api, library, "plainclient", None);
        let begun = client.done(json!({ "do": "signIn", "name": "bob", "password": PASSWORD }));
        assert_eq!(begun["challenge"], "MFA_SETUP", "{library}");
        let app = Authenticator::new(&text(&begun["secret"]));
        let wrong = client.refused(json!({ "do": "setUpCode", "code": "000000" }));
        assert_eq!(wrong, "EnableSoftwareTokenMFAException", "{library}");
        let tokens = client.done(json!({ "do": "setUpCode", "code": app.code(0) }));
        assert!(tokens["access"].is_string(), "{library}: {tokens}");
    }
}
