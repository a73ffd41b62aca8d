//! Codes that replace a password, by the Cognito API: choice-based sign-in and users without
//! passwords.

use crate::support::aws::{Api, ApiError, Boto, OTHER, PASSWORD, ok, text};
use crate::support::totp::Authenticator;
use serde_json::{Value, json};
use std::collections::BTreeSet;

struct Scene {
    api: Api,
    boto: Boto,
    pool: String,
    client: String,
}

fn exception<T: std::fmt::Debug>(result: Result<T, ApiError>) -> (String, String) {
    let error = result.unwrap_err();
    (error.code, error.message)
}

fn is_signed_in(answer: &Value) -> bool {
    answer["AuthenticationResult"]["AccessToken"].is_string()
}

fn choices(answer: &Value) -> Vec<String> {
    assert_eq!(answer["ChallengeName"], "SELECT_CHALLENGE", "{answer}");
    answer["AvailableChallenges"].as_array().unwrap().iter().map(text).collect()
}

impl Scene {
    /// A pool of the API with these first factors.
    fn start(first_factors: &[&str], mfa: &str) -> Self {
        let api = Api::start("[[user_pool]]\nname = \"people\"\nsigning_algorithm = \"ES256\"\n");
        let mut boto = api.boto();
        let policies = json!({ "SignInPolicy": { "AllowedFirstAuthFactors": first_factors } });
        let new = json!({ "PoolName": "p", "Policies": policies, "MfaConfiguration": mfa,
            "AutoVerifiedAttributes": ["email"] });
        let pool = text(&ok(&mut boto, "CreateUserPool", new)["UserPool"]["Id"]);
        let flows = ["ALLOW_USER_AUTH", "ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"];
        let client = json!({ "UserPoolId": pool, "ClientName": "c", "ExplicitAuthFlows": flows,
            "PreventUserExistenceErrors": "ENABLED" });
        let client = text(&ok(&mut boto, "CreateUserPoolClient", client)["UserPoolClient"]["ClientId"]);
        Self { api, boto, pool, client }
    }

    fn create(&mut self, name: &str, attributes: Value) {
        let user = json!({ "UserPoolId": self.pool, "Username": name, "MessageAction": "SUPPRESS",
            "UserAttributes": attributes, "TemporaryPassword": OTHER });
        ok(&mut self.boto, "AdminCreateUser", user);
    }

    fn create_with_password(&mut self, name: &str) {
        let email = format!("{name}@example.com");
        self.create(
            name,
            json!([{ "Name": "email", "Value": email }, { "Name": "email_verified", "Value": "true" }]),
        );
        let set =
            json!({ "UserPoolId": self.pool, "Username": name, "Password": PASSWORD, "Permanent": true });
        ok(&mut self.boto, "AdminSetUserPassword", set);
    }

    fn begin(&mut self, flow: &str, mut parameters: Value, name: &str) -> Result<Value, ApiError> {
        parameters["USERNAME"] = json!(name);
        let request = json!({ "ClientId": self.client, "AuthFlow": flow, "AuthParameters": parameters });
        self.boto.unsigned("InitiateAuth", request)
    }

    fn user_auth(&mut self, name: &str, preferred: &str) -> Result<Value, ApiError> {
        match preferred {
            "" => self.begin("USER_AUTH", json!({}), name),
            preferred => self.begin("USER_AUTH", json!({ "PREFERRED_CHALLENGE": preferred }), name),
        }
    }

    fn answer(
        &mut self,
        (challenge, name): (&str, &str),
        session: &Value,
        mut responses: Value,
    ) -> Result<Value, ApiError> {
        responses["USERNAME"] = json!(name);
        let request = json!({ "ClientId": self.client, "ChallengeName": challenge, "Session": session,
            "ChallengeResponses": responses });
        self.boto.unsigned("RespondToAuthChallenge", request)
    }

    fn code(&mut self, name: &str, session: &Value, code: &str) -> Result<Value, ApiError> {
        self.answer(("EMAIL_OTP", name), session, json!({ "EMAIL_OTP_CODE": code }))
    }
}

#[test]
fn pain_16_user_auth_gives_each_choice_that_pool_and_user_have() {
    let mut scene = Scene::start(&["PASSWORD", "EMAIL_OTP", "SMS_OTP"], "OFF");
    scene.create_with_password("ada");
    scene.create(
        "new",
        json!([{ "Name": "email", "Value": "n@example.com" }, { "Name": "email_verified", "Value": "true" }]),
    );
    let both = ["PASSWORD_SRP", "PASSWORD"];
    assert_eq!(choices(&scene.user_auth("ada", "").unwrap()), [both[0], both[1], "EMAIL_OTP"]);
    // Who has to replace a temporary password proves it.
    assert_eq!(choices(&scene.user_auth("new", "").unwrap()), both);
    assert_eq!(choices(&scene.user_auth("new", "EMAIL_OTP").unwrap()), both);
    // The user has no phone number.
    let choice = scene.user_auth("ada", "SMS_OTP").unwrap();
    assert_eq!(choices(&choice).len(), 3);
    for absent in ["SMS_OTP", "WEB_AUTHN", "EMAIL", ""] {
        let refused =
            scene.answer(("SELECT_CHALLENGE", "ada"), &choice["Session"], json!({ "ANSWER": absent }));
        assert_eq!(exception(refused).0, "InvalidParameterException", "{absent}");
    }
    let session = choice["Session"].clone();
    let sent = scene.answer(("SELECT_CHALLENGE", "ada"), &session, json!({ "ANSWER": "EMAIL_OTP" })).unwrap();
    assert_eq!(sent["ChallengeName"], "EMAIL_OTP");
    assert_eq!(sent["ChallengeParameters"]["CODE_DELIVERY_DESTINATION"], "a***@e***");
    let code = scene.api.code("ada@example.com", 1);
    assert_eq!(code.len(), 8);
    assert!(is_signed_in(&scene.code("ada", &sent["Session"], &code).unwrap()));
    let again = scene.code("ada", &sent["Session"], &code);
    assert_eq!(exception(again).0, "CodeMismatchException", "a code signs in once");

    let factors = json!({ "UserPoolId": scene.pool, "Username": "ada" });
    let factors = ok(&mut scene.boto, "AdminGetUserAuthFactors", factors);
    assert_eq!(factors["ConfiguredUserAuthFactors"], json!(["PASSWORD", "EMAIL_OTP"]));
    let described = ok(&mut scene.boto, "DescribeUserPool", json!({ "UserPoolId": scene.pool }));
    let policy = &described["UserPool"]["Policies"]["SignInPolicy"]["AllowedFirstAuthFactors"];
    assert_eq!(*policy, json!(["PASSWORD", "EMAIL_OTP", "SMS_OTP"]));
}

#[test]
fn guesses_of_a_code_that_replaces_a_password_are_limited_over_all_codes() {
    let mut scene = Scene::start(&["PASSWORD", "EMAIL_OTP"], "OFF");
    scene.create_with_password("ada");
    let mut refusals = Vec::new();
    for _ in 0..3 {
        let sent = scene.user_auth("ada", "EMAIL_OTP").unwrap();
        for _ in 0..4 {
            refusals.push(exception(scene.code("ada", &sent["Session"], "00000000")).1);
        }
    }
    let wrong = "Invalid verification code provided, please try again.";
    let compared = refusals.iter().filter(|words| *words == wrong).count();
    // One more is compared each time a lock of a second ends.
    assert!((5..9).contains(&compared), "{refusals:?}");
    assert_eq!(refusals.last().unwrap(), "Password attempts exceeded");
    // The right code is not compared either, and a password still signs in.
    let password = scene.begin("USER_PASSWORD_AUTH", json!({ "PASSWORD": PASSWORD }), "ada").unwrap();
    assert!(is_signed_in(&password));
}

#[test]
fn a_name_without_a_user_has_choices_and_codes() {
    let mut scene = Scene::start(&["PASSWORD", "EMAIL_OTP", "SMS_OTP"], "OFF");
    scene.create_with_password("ada");
    let known = scene.user_auth("ada", "EMAIL_OTP").unwrap();
    let mut seen = BTreeSet::new();
    let mut asked = Value::Null;
    for at in 0..40 {
        let name = format!("nobody{at}");
        let offered = choices(&scene.user_auth(&name, "").unwrap());
        assert_eq!(choices(&scene.user_auth(&name, "").unwrap()), offered, "the same each time");
        if offered.iter().any(|of| of == "EMAIL_OTP") && asked.is_null() {
            asked = scene.user_auth(&name, "EMAIL_OTP").unwrap();
            let guess = scene.code(&name, &asked["Session"], "00000000");
            let words = "Invalid verification code provided, please try again.".to_owned();
            assert_eq!(exception(guess), ("CodeMismatchException".to_owned(), words));
        }
        seen.insert(offered.join(" "));
    }
    assert!(seen.contains("PASSWORD_SRP PASSWORD EMAIL_OTP") && seen.len() > 1, "{seen:?}");
    let members = |answer: &Value| answer.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&asked), members(&known));
    assert_eq!(members(&asked["ChallengeParameters"]), members(&known["ChallengeParameters"]));
    assert_eq!(text(&asked["Session"]).len(), text(&known["Session"]).len());
}

#[test]
fn a_pool_without_passwords_has_users_without_them() {
    let mut scene = Scene::start(&["EMAIL_OTP"], "OFF");
    let sign_up = |name: &str, attributes: Value| json!({ "Username": name, "UserAttributes": attributes });
    let mut request = sign_up("bob", json!([]));
    request["ClientId"] = json!(scene.client);
    let refused = scene.boto.unsigned("SignUp", request);
    assert_eq!(exception(refused).1, "Password is required for this user pool.");
    let mut request = sign_up("ada", json!([{ "Name": "email", "Value": "ada@example.com" }]));
    request["ClientId"] = json!(scene.client);
    assert_eq!(scene.boto.unsigned("SignUp", request).unwrap()["UserConfirmed"], false);
    assert_eq!(exception(scene.user_auth("ada", "EMAIL_OTP")).0, "UserNotConfirmedException");
    let code = scene.api.code("ada@example.com", 1);
    let confirm = json!({ "ClientId": scene.client, "Username": "ada", "ConfirmationCode": code });
    let confirmed = scene.boto.unsigned("ConfirmSignUp", confirm).unwrap();
    let with_session = |name: &str| {
        json!({ "ClientId": scene.client, "AuthFlow": "USER_AUTH", "Session": confirmed["Session"],
            "AuthParameters": { "USERNAME": name } })
    };
    let (own, other) = (with_session("ada"), with_session("bob"));
    assert_eq!(exception(scene.boto.unsigned("InitiateAuth", other)).0, "NotAuthorizedException");
    assert!(is_signed_in(&scene.boto.unsigned("InitiateAuth", own.clone()).unwrap()));
    let again = exception(scene.boto.unsigned("InitiateAuth", own));
    assert_eq!(again.0, "NotAuthorizedException", "the session signs in once");

    assert_eq!(choices(&scene.user_auth("ada", "").unwrap()), ["EMAIL_OTP"]);
    for (flow, parameters) in [
        ("USER_PASSWORD_AUTH", json!({ "PASSWORD": PASSWORD })),
        ("USER_AUTH", json!({ "PREFERRED_CHALLENGE": "PASSWORD", "PASSWORD": PASSWORD })),
    ] {
        let refused = exception(scene.begin(flow, parameters, "ada"));
        assert_eq!(refused.0, "InvalidParameterException", "{flow}");
    }
    let sent = scene.user_auth("ada", "EMAIL_OTP").unwrap();
    let code = scene.api.code("ada@example.com", 2);
    let tokens = scene.code("ada", &sent["Session"], &code).unwrap();
    let refresh = json!({ "REFRESH_TOKEN": tokens["AuthenticationResult"]["RefreshToken"] });
    assert!(is_signed_in(&scene.begin("REFRESH_TOKEN_AUTH", refresh, "ada").unwrap()));

    // An administrator gives no password either, if the address is verified.
    for (name, verified, status) in [("eve", "true", "CONFIRMED"), ("fay", "false", "FORCE_CHANGE_PASSWORD")]
    {
        let email = format!("{name}@example.com");
        let attributes =
            json!([{ "Name": "email", "Value": email }, { "Name": "email_verified", "Value": verified }]);
        let user = json!({ "UserPoolId": scene.pool, "Username": name, "UserAttributes": attributes,
            "MessageAction": "SUPPRESS" });
        assert_eq!(ok(&mut scene.boto, "AdminCreateUser", user)["User"]["UserStatus"], status, "{name}");
    }
    let sent = scene.user_auth("eve", "EMAIL_OTP").unwrap();
    let code = scene.api.code("eve@example.com", 1);
    assert!(is_signed_in(&scene.code("eve", &sent["Session"], &code).unwrap()));
}

#[test]
fn pain_24_codes_are_a_first_factor_where_a_second_one_is_demanded() {
    let mut scene = Scene::start(&["PASSWORD", "EMAIL_OTP"], "OPTIONAL");
    scene.create_with_password("ada");
    let signed_in = scene.begin("USER_PASSWORD_AUTH", json!({ "PASSWORD": PASSWORD }), "ada").unwrap();
    let access = signed_in["AuthenticationResult"]["AccessToken"].clone();
    let token = scene.boto.unsigned("AssociateSoftwareToken", json!({ "AccessToken": access })).unwrap();
    let app = Authenticator::new(&text(&token["SecretCode"]));
    let verify = json!({ "AccessToken": access, "UserCode": app.code(-1) });
    scene.boto.unsigned("VerifySoftwareToken", verify).unwrap();
    let texts = json!({ "Message": "{####}", "Subject": "Code" });
    let both = json!({ "UserPoolId": scene.pool, "MfaConfiguration": "ON",
        "SoftwareTokenMfaConfiguration": { "Enabled": true }, "EmailMfaConfiguration": texts });
    ok(&mut scene.boto, "SetUserPoolMfaConfig", both);
    let preference = |token: bool, email: bool| {
        json!({ "AccessToken": access, "SoftwareTokenMfaSettings": { "Enabled": token },
            "EmailMfaSettings": { "Enabled": email } })
    };
    let (all, mail_alone) = (preference(true, true), preference(false, true));
    scene.boto.unsigned("SetUserMFAPreference", all).unwrap();
    let sent = scene.user_auth("ada", "EMAIL_OTP").unwrap();
    let code = scene.api.code("ada@example.com", 1);
    // The second factor is none to the same address.
    let second = scene.code("ada", &sent["Session"], &code).unwrap();
    assert_eq!(second["ChallengeName"], "SOFTWARE_TOKEN_MFA", "{second}");
    let answer = json!({ "EMAIL_OTP_CODE": code });
    let refused = scene.answer(("EMAIL_OTP", "ada"), &second["Session"], answer);
    assert_eq!(exception(refused).0, "CodeMismatchException");
    let answer = json!({ "SOFTWARE_TOKEN_MFA_CODE": app.code(0) });
    let done = scene.answer(("SOFTWARE_TOKEN_MFA", "ada"), &second["Session"], answer).unwrap();
    assert!(is_signed_in(&done));
    // A user whose only second factor is the mail needs the password.
    scene.boto.unsigned("SetUserMFAPreference", mail_alone).unwrap();
    assert_eq!(choices(&scene.user_auth("ada", "EMAIL_OTP").unwrap()), ["PASSWORD_SRP", "PASSWORD"]);
    // One without a second factor sets one up after the code.
    scene.create_with_password("bob");
    let sent = scene.user_auth("bob", "EMAIL_OTP").unwrap();
    let code = scene.api.code("bob@example.com", 1);
    let set_up = scene.code("bob", &sent["Session"], &code).unwrap();
    assert_eq!(set_up["ChallengeName"], "MFA_SETUP", "{set_up}");
}

#[test]
fn a_disabled_user_gets_the_answer_of_a_name_without_one() {
    let mut scene = Scene::start(&["PASSWORD", "EMAIL_OTP"], "OFF");
    scene.create_with_password("ada");
    let disable = json!({ "UserPoolId": scene.pool, "Username": "ada" });
    ok(&mut scene.boto, "AdminDisableUser", disable);
    let sent = scene.user_auth("ada", "EMAIL_OTP").unwrap();
    assert_eq!(sent["ChallengeName"], "EMAIL_OTP");
    let wrong = exception(scene.code("ada", &sent["Session"], "00000000"));
    assert_eq!(wrong.0, "CodeMismatchException");
    assert_eq!(scene.api.mail.count("ada@example.com"), 0, "nothing is sent");
}

#[test]
fn strangers_use_up_neither_the_codes_of_a_second_factor_nor_the_messages_of_all() {
    let mut scene = Scene::start(&["PASSWORD", "EMAIL_OTP"], "OPTIONAL");
    for at in 0..8 {
        scene.create_with_password(&format!("user{at}"));
    }
    let texts = json!({ "Message": "{####}", "Subject": "Code" });
    let on =
        json!({ "UserPoolId": scene.pool, "MfaConfiguration": "OPTIONAL", "EmailMfaConfiguration": texts });
    ok(&mut scene.boto, "SetUserPoolMfaConfig", on);
    let prefer = json!({ "UserPoolId": scene.pool, "Username": "user0",
        "EmailMfaSettings": { "Enabled": true, "PreferredMfa": true } });
    ok(&mut scene.boto, "AdminSetUserMFAPreference", prefer);
    // A user with e-mail as the only second factor has no code by e-mail as the first one.
    let (mut sent, mut refused) = (0, Vec::new());
    for at in 0..80 {
        match scene.user_auth(&format!("user{}", 1 + at % 7), "EMAIL_OTP") {
            Ok(_) => sent += 1,
            Err(error) => refused.push(error.code),
        }
    }
    assert!(sent <= 61 && !refused.is_empty(), "{sent} {refused:?}");
    let challenge = scene.begin("USER_PASSWORD_AUTH", json!({ "PASSWORD": PASSWORD }), "user0").unwrap();
    assert_eq!(challenge["ChallengeName"], "EMAIL_OTP");
}

#[test]
fn a_code_is_for_the_client_that_asked_for_it() {
    let mut scene = Scene::start(&["PASSWORD", "EMAIL_OTP"], "OFF");
    scene.create_with_password("ada");
    let client = json!({ "UserPoolId": scene.pool, "ClientName": "other",
        "ExplicitAuthFlows": ["ALLOW_USER_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"] });
    let other = text(&ok(&mut scene.boto, "CreateUserPoolClient", client)["UserPoolClient"]["ClientId"]);
    let of_first = scene.user_auth("ada", "EMAIL_OTP").unwrap();
    // Messages may arrive in another order.
    scene.api.code("ada@example.com", 1);
    let other_id = json!(other);
    let first = std::mem::replace(&mut scene.client, other);
    let of_other = scene.user_auth("ada", "EMAIL_OTP").unwrap();
    let code = scene.api.code("ada@example.com", 2);
    scene.client = first;
    let refused = scene.code("ada", &of_first["Session"], &code);
    assert_eq!(exception(refused).0, "CodeMismatchException");
    let own = json!({ "USERNAME": "ada", "EMAIL_OTP_CODE": code });
    let request = json!({ "ClientId": other_id, "ChallengeName": "EMAIL_OTP", "Session": of_other["Session"],
        "ChallengeResponses": own });
    assert!(is_signed_in(&scene.boto.unsigned("RespondToAuthChallenge", request).unwrap()));
}

#[test]
fn every_answer_about_a_name_has_the_same_masked_address() {
    let mut scene = Scene::start(&["PASSWORD", "EMAIL_OTP"], "OFF");
    scene.create_with_password("ada");
    // Somebody whose code by e-mail is no first factor.
    scene.create("new", json!([{ "Name": "email", "Value": "zoe@other.example" }]));
    for (name, known) in [("ada", "a***@e***"), ("new", "z***@o***"), ("nobody", "n***@")] {
        let mut masks = BTreeSet::new();
        for operation in ["ForgotPassword", "ResendConfirmationCode"] {
            let request = json!({ "ClientId": scene.client, "Username": name });
            let sent = scene.boto.unsigned(operation, request).unwrap();
            masks.insert(text(&sent["CodeDeliveryDetails"]["Destination"]));
        }
        if name == "ada" {
            let sent = scene.user_auth(name, "EMAIL_OTP").unwrap();
            masks.insert(text(&sent["ChallengeParameters"]["CODE_DELIVERY_DESTINATION"]));
        }
        assert_eq!(masks.len(), 1, "{name}: {masks:?}");
        assert!(masks.iter().all(|mask| mask.starts_with(known)), "{name}: {masks:?}");
    }
}
