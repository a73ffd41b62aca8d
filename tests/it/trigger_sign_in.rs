//! Functions of user pools at sign-ins: with passwords, of users of another system, and with
//! accounts of identity providers. Also the texts of messages.

use crate::support::aws::{Api, Boto, PASSWORD, ok, text};
use crate::support::functions::{Functions, Reply};
use crate::support::hosted::HostedScene;
use crate::support::mail::MailServer;
use crate::support::narthex::NarthexBuilder;
use crate::support::parties::OpenIdProvider;
use crate::support::process::wait_until;
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, assert_status, location};
use reqwest::Method;
use serde_json::{Value, json};

const NAMES: [&str; 6] = ["check", "welcome", "before", "after", "old", "texts"];
const TRIGGERS: &str = r#"[user_pool.triggers]
pre_sign_up = "check"
post_confirmation = "welcome"
pre_authentication = "before"
post_authentication = "after"
user_migration = "old"
custom_message = "texts"
"#;

/// A pool with every function, and a client for which users are hidden or not.
fn pool(hides_users: bool) -> String {
    format!(
        "[[user_pool]]\nname = \"people\"\nsigning_algorithm = \"ES256\"\nsign_up = true\npassword_sign_in = true\n\
         auto_verified = [\"email\"]\nalias_attributes = [\"email\"]\n{TRIGGERS}[[user_pool.client]]\nname = \"web\"\n\
         id = \"webclient\"\nauth_flows = [\"ALLOW_USER_PASSWORD_AUTH\", \"ALLOW_ADMIN_USER_PASSWORD_AUTH\"]\n\
         hide_unknown_users = {hides_users}\n"
    )
}

struct Scene {
    functions: Functions,
    api: Api,
    boto: Boto,
    pool: String,
}

impl Scene {
    fn start(hides_users: bool) -> Self {
        Self::with(&pool(hides_users))
    }

    fn with(pool: &str) -> Self {
        let functions = Functions::start();
        // Without an answer of its own the function of the other system knows nobody.
        let mail = MailServer::start("starttls", &[]);
        let tables = format!("{}{pool}", functions.toml(&NAMES));
        let api = Api { narthex: Api::builder(&mail, &tables).start(), mail };
        let (boto, pool) = (api.boto(), api.pool_id());
        Self { functions, api, boto, pool }
    }

    fn admin(&mut self, operation: &str, mut members: Value) -> Value {
        members["UserPoolId"] = json!(self.pool);
        ok(&mut self.boto, operation, members)
    }

    fn create(&mut self, name: &str) {
        let email = json!([{ "Name": "email", "Value": format!("{name}@example.com") }, { "Name": "email_verified", "Value": "true" }]);
        self.admin(
            "AdminCreateUser",
            json!({ "Username": name, "MessageAction": "SUPPRESS", "UserAttributes": email }),
        );
        self.admin(
            "AdminSetUserPassword",
            json!({ "Username": name, "Password": PASSWORD, "Permanent": true }),
        );
    }

    fn sign_in(&mut self, name: &str, password: &str) -> Result<Value, (String, String)> {
        let parameters = json!({ "USERNAME": name, "PASSWORD": password });
        self.call("InitiateAuth", json!({ "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters }))
    }

    /// Calls an operation of an app.
    fn call(&mut self, operation: &str, mut members: Value) -> Result<Value, (String, String)> {
        members["ClientId"] = json!("webclient");
        members["ClientMetadata"] = json!({ "from": operation });
        self.boto.unsigned(operation, members).map_err(|error| {
            assert_eq!(error.class, error.code, "boto3 has a class for it");
            (error.code, error.message)
        })
    }

    fn status(&mut self, name: &str) -> String {
        text(&self.admin("AdminGetUser", json!({ "Username": name }))["UserStatus"])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_run_before_and_after_a_sign_in() {
    let mut scene = Scene::start(true);
    scene.create("ada");
    scene.sign_in("ada", PASSWORD).unwrap();
    let (before, after) = (scene.functions.last("before"), scene.functions.last("after"));
    assert_eq!(before["triggerSource"], "PreAuthentication_Authentication");
    assert_eq!(before["request"]["userAttributes"]["email"], "ada@example.com");
    assert_eq!(before["request"]["validationData"], json!({ "from": "InitiateAuth" }));
    assert!(before["request"].get("userNotFound").is_none());
    assert_eq!(after["triggerSource"], "PostAuthentication_Authentication");
    let request = &after["request"];
    assert_eq!((&request["newDeviceUsed"], request.get("clientMetadata")), (&json!(false), None));
    let wrong = scene.sign_in("ada", "wrong").unwrap_err();
    let unknown = scene.sign_in("nobody", "wrong").unwrap_err();
    assert_eq!(wrong, unknown);
    let before = scene.functions.last("before");
    assert_eq!((&before["userName"], &before["request"]["userNotFound"]), (&json!("nobody"), &json!(true)));
    assert_eq!(scene.functions.calls("after").len(), 1, "a wrong password is no sign-in");

    scene.functions.on("after", |_| Reply::error("not now"));
    let (code, message) = scene.sign_in("ada", PASSWORD).unwrap_err();
    assert_eq!(
        (&*code, &*message),
        ("UserLambdaValidationException", "PostAuthentication failed with error not now.")
    );
    let attempts = scene.functions.calls("after").len();
    scene.functions.on("before", |_| Reply::error("closed"));
    let (code, message) = scene.sign_in("ada", PASSWORD).unwrap_err();
    assert_eq!(
        (&*code, &*message),
        ("UserLambdaValidationException", "PreAuthentication failed with error closed.")
    );
    assert_eq!(scene.functions.calls("after").len(), attempts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_calls_the_functions_with_the_metadata_of_the_answer() {
    let mut scene = Scene::start(true);
    scene.admin(
        "AdminCreateUser",
        json!({ "Username": "new", "MessageAction": "SUPPRESS", "TemporaryPassword": PASSWORD }),
    );
    let challenge = scene.sign_in("new", PASSWORD).unwrap();
    assert!(scene.functions.calls("after").is_empty(), "the sign-in is not complete");
    let responses = json!({ "USERNAME": "new", "NEW_PASSWORD": "Another-Horse-8-Staple" });
    let answer = json!({ "ChallengeName": "NEW_PASSWORD_REQUIRED", "Session": challenge["Session"], "ChallengeResponses": responses });
    scene.call("RespondToAuthChallenge", answer).unwrap();
    let after = scene.functions.last("after");
    assert_eq!(after["request"]["clientMetadata"], json!({ "from": "RespondToAuthChallenge" }));
}

/// What the other system answers about `ada`.
fn migrated(event: &Value, status: &str) -> Reply {
    let password = event["request"]["password"].as_str();
    match event["userName"].as_str() {
        Some("ada") if password.is_none_or(|password| password == "old password") => {
            let attributes =
                json!({ "email": "ada@example.com", "email_verified": "true", "sub": "of the other system" });
            Reply::response(
                event,
                json!({
                    "userAttributes": attributes, "finalUserStatus": status, "messageAction": "SUPPRESS",
                    "desiredDeliveryMediums": null, "forceAliasCreation": null,
                }),
            )
        }
        _ => Reply::error("Bad password"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_another_system_comes_with_the_first_sign_in_and_keeps_the_password() {
    let mut scene = Scene::start(true);
    scene.functions.on("old", |event| migrated(event, "CONFIRMED"));
    let wrong = scene.sign_in("ada", "guess").unwrap_err();
    assert_eq!(&*wrong.1, "Incorrect username or password.", "as for a user of the pool");
    // The pool's rules refuse such a password, and do not apply.
    scene.sign_in("ada", "old password").unwrap();
    let event = scene.functions.last("old");
    assert_eq!(event["triggerSource"], "UserMigration_Authentication");
    assert_eq!(event["request"]["validationData"], json!({ "from": "InitiateAuth" }));
    assert_eq!(scene.status("ada"), "CONFIRMED");
    let calls = scene.functions.calls("old").len();
    scene.functions.on("old", |_| Reply::new(500, ""));
    scene.sign_in("ada", "old password").unwrap();
    assert_eq!(scene.functions.calls("old").len(), calls, "the pool knows the user now");
    let log = scene.api.narthex.log();
    assert!(!log.contains("old password") && !log.contains("guess"), "{log}");
    assert!(scene.api.narthex.audit("account_changed").iter().any(|line| line["change"] == "migrated"));
    // Down, the function reveals no more about a name than a wrong password.
    assert_eq!(scene.sign_in("bob", "guess").unwrap_err(), wrong);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_of_another_system_cannot_be_guessed_without_end() {
    for hides_users in [true, false] {
        let mut scene = Scene::start(hides_users);
        scene.functions.on("old", |event| migrated(event, "CONFIRMED"));
        for attempt in 0..12 {
            let error = scene.sign_in("ada", &format!("guess {attempt}")).unwrap_err();
            if !hides_users && attempt == 0 {
                let words = "Exception migrating user in app client webclient";
                assert_eq!((&*error.0, &*error.1), ("UserNotFoundException", words));
            }
        }
        let calls = scene.functions.calls("old").len();
        assert!((3..12).contains(&calls), "{calls} guesses reached the other system");
        assert_eq!(scene.sign_in("ada", "old password").unwrap_err().1, "Password attempts exceeded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_22_a_forgotten_password_of_a_user_of_another_system_sends_the_code() {
    let mut scene = Scene::start(true);
    scene.functions.on("old", |event| migrated(event, "RESET_REQUIRED"));
    scene.functions.on("texts", |event| {
        Reply::response(
            event,
            json!({ "emailSubject": "Welcome over", "emailMessage": "<p>Take {####}</p>" }),
        )
    });
    scene.call("ForgotPassword", json!({ "Username": "ada" })).unwrap();
    let event = scene.functions.last("old");
    assert_eq!(
        (&event["triggerSource"], &event["request"]["password"]),
        (&json!("UserMigration_ForgotPassword"), &Value::Null)
    );
    assert_eq!(event["request"]["clientMetadata"], json!({ "from": "ForgotPassword" }));
    assert_eq!(scene.status("ada"), "RESET_REQUIRED");
    let code = scene.api.code("ada@example.com", 1);
    let message = scene.api.mail.accepted().pop().unwrap();
    let message = message["text"].as_str().unwrap();
    assert!(message.contains("Welcome over") && message.contains(&format!("Take {code}")), "{message}");
    let event = scene.functions.last("texts");
    assert_eq!(
        (&event["triggerSource"], &event["request"]["codeParameter"]),
        (&json!("CustomMessage_ForgotPassword"), &json!("{####}"))
    );
    assert!(!event.to_string().contains(&code), "the function does not get the code");
    let reset = json!({ "Username": "ada", "ConfirmationCode": code, "Password": PASSWORD });
    scene.call("ConfirmForgotPassword", reset).unwrap();
    assert_eq!(scene.functions.last("welcome")["triggerSource"], "PostConfirmation_ConfirmForgotPassword");
    scene.sign_in("ada", PASSWORD).unwrap();
    // A name that nobody has gets the same answer.
    let details = |answer: Value| answer["CodeDeliveryDetails"]["DeliveryMedium"].clone();
    let nobody = scene.call("ForgotPassword", json!({ "Username": "nobody" })).unwrap();
    assert_eq!(details(nobody), "EMAIL");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_writes_texts_with_the_code_or_nothing_is_sent() {
    let mut scene = Scene::start(true);
    let sign_up = |scene: &mut Scene, name: &str| {
        let email = json!([{ "Name": "email", "Value": format!("{name}@example.com") }]);
        scene.call("SignUp", json!({ "Username": name, "Password": PASSWORD, "UserAttributes": email }))
    };
    scene.functions.on("texts", |event| Reply::response(event, json!({ "emailMessage": "no code" })));
    assert_eq!(sign_up(&mut scene, "ada").unwrap_err().0, "InvalidLambdaResponseException");
    scene.functions.on("texts", |event| Reply::response(event, json!({ "smsMessage": "{####}" })));
    sign_up(&mut scene, "ada").unwrap();
    scene.api.code("ada@example.com", 1);
    assert_eq!(scene.functions.last("texts")["triggerSource"], "CustomMessage_SignUp");
    scene.call("ResendConfirmationCode", json!({ "Username": "ada" })).unwrap();
    assert_eq!(scene.functions.last("texts")["triggerSource"], "CustomMessage_ResendCode");
    let invite = json!({
        "Username": "bob", "DesiredDeliveryMediums": ["EMAIL"],
        "UserAttributes": [{ "Name": "email", "Value": "bob@example.com" }],
    });
    scene.functions.on("texts", |event| {
        Reply::response(event, json!({ "emailMessage": "{username}, take {####} <i>" }))
    });
    scene.admin("AdminCreateUser", invite);
    let event = scene.functions.last("texts");
    assert_eq!(event["request"]["usernameParameter"], "{username}");
    wait_until("the invitation", || scene.api.mail.count("bob@example.com") == 1);
    let accepted = scene.api.mail.accepted();
    assert!(
        accepted.iter().any(|message| message["text"].as_str().unwrap().contains("bob, take ")),
        "{accepted:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_has_a_text_of_the_function_and_completes_the_sign_in() {
    let factors = "sign_up = true\nmfa = \"optional\"\nmfa_factors = [\"email\"]";
    let mut scene = Scene::with(&pool(true).replace("sign_up = true", factors));
    scene.create("ada");
    let prefer = json!({ "Username": "ada", "EmailMfaSettings": { "Enabled": true, "PreferredMfa": true } });
    scene.admin("AdminSetUserMFAPreference", prefer);
    scene
        .functions
        .on("texts", |event| Reply::response(event, json!({ "emailMessage": "Sign in by {####}" })));
    let challenge = scene.sign_in("ada", PASSWORD).unwrap();
    assert_eq!(challenge["ChallengeName"], "EMAIL_OTP");
    assert_eq!(scene.functions.last("texts")["triggerSource"], "CustomMessage_Authentication");
    assert!(scene.functions.calls("after").is_empty(), "the sign-in is not complete");
    let responses = json!({ "USERNAME": "ada", "EMAIL_OTP_CODE": scene.api.code("ada@example.com", 1) });
    let answer = json!({ "ChallengeName": "EMAIL_OTP", "Session": challenge["Session"], "ChallengeResponses": responses });
    assert!(scene.call("RespondToAuthChallenge", answer).unwrap().get("AuthenticationResult").is_some());
    assert_eq!(scene.functions.calls("after").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_a_function_are_text_on_the_pages() {
    let functions = Functions::start();
    let tables = format!("{}{}", functions.toml(&NAMES), pool(true));
    let scene = HostedScene::start(&tables).await;
    functions.on("check", |event| match event["userName"].as_str() {
        Some("eve") => Reply::error(&format!("Only <b>staff</b> {}", "x".repeat(2000))),
        _ => Reply::response(event, json!({ "autoConfirmUser": true, "autoVerifyEmail": true })),
    });
    let visitor = scene.visitor();
    let page = visitor.open(&scene.app).await;
    let sign_up = visitor.open(&page.link("Create an account")).await;
    let typed = |name: &'static str| {
        [("username", name), ("attribute.email", "a@example.com"), ("password", PASSWORD)]
    };
    let denied = visitor.submit(&sign_up, &typed("eve")).await;
    denied.assert_shows("Only &#60;b&#62;staff&#60;/b&#62; xxx");
    assert!(!denied.html.contains("<b>staff") && !denied.html.contains(&"x".repeat(400)), "{}", denied.html);
    // A user that the function confirms is signed in at once.
    let back = visitor.submit_onward(&sign_up, &typed("ada")).await;
    assert!(back.starts_with(&scene.app), "{back}");
    assert_eq!(functions.last("after")["userName"], "ada");
    functions.on("before", |_| Reply::error("We are closed & away"));
    let other = scene.visitor();
    let page = other.open(&scene.app).await;
    let closed = other.submit(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
    closed.assert_shows("We are closed &#38; away");
    assert!(!closed.html.contains("PreAuthentication"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_7_an_account_that_the_function_links_signs_in_on_that_very_try() {
    let (functions, upstream, mail) =
        (Functions::start(), Upstream::start().await, MailServer::start("starttls", &[]));
    let tables = format!("{}{}", functions.toml(&NAMES), pool(true));
    let builder = Api::builder(&mail, &tables);
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder.tables(&provider.toml("\"anyone\"")).route("app", upstream.port, "").start();
    let api = Api { narthex, mail };
    let (mut scene, pool) = (api.boto(), api.pool_id());
    let mut admin = |operation: &str, mut members: Value| {
        members["UserPoolId"] = json!(pool);
        ok(&mut scene, operation, members)
    };
    let email = json!([{ "Name": "email", "Value": "ann@local.example" }, { "Name": "email_verified", "Value": "true" }]);
    admin(
        "AdminCreateUser",
        json!({ "Username": "ann", "MessageAction": "SUPPRESS", "UserAttributes": email }),
    );
    admin("AdminSetUserPassword", json!({ "Username": "ann", "Password": PASSWORD, "Permanent": true }));
    let ann = admin("AdminGetUser", json!({ "Username": "ann" }));
    let sub =
        ann["UserAttributes"].as_array().unwrap().iter().find(|of| of["Name"] == "sub").unwrap()["Value"]
            .clone();

    // The answer of the first run is lost, so that the function runs twice.
    let (client, id) = (std::sync::Mutex::new(api.boto()), pool.clone());
    let results = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = results.clone();
    functions.on("check", move |event| {
        if event["triggerSource"] != "PreSignUp_ExternalProvider" {
            return Reply::same(event);
        }
        let (provider, subject) = event["userName"].as_str().unwrap().split_once('_').unwrap();
        if subject == "eve" {
            return Reply::error("Ask for an <i>account");
        }
        let link = json!({
            "UserPoolId": id, "DestinationUser": { "ProviderName": "Cognito", "ProviderAttributeValue": "ann" },
            "SourceUser": { "ProviderName": provider, "ProviderAttributeName": "Cognito_Subject", "ProviderAttributeValue": subject },
        });
        let linked = client.lock().unwrap().call("AdminLinkProviderForUser", link);
        let mut results = seen.lock().unwrap();
        results.push(linked.map(drop).map_err(|error| error.message));
        if results.len() == 1 { Reply::new(502, "") } else { Reply::same(event) }
    });
    let land = async |login: &str| {
        let visitor = Visitor::new(&api.narthex);
        let asked = visitor.get(&format!("{}/", api.narthex.origin("app"))).await;
        let url = format!("{}&identity_provider=corp", location(&asked));
        visitor.sign_in(&url, login).await
    };
    assert_status(&land("alice").await, 200);
    let claims = upstream.seen().last().unwrap().claims();
    assert_eq!((&claims["sub"], &claims["cognito:username"]), (&sub, &json!("ann")));
    let twice = [Ok(()), Err("SourceUser is already linked to DestinationUser".to_owned())];
    assert_eq!(*results.lock().unwrap(), twice, "it links once");
    let calls = functions.calls("check");
    assert_eq!(calls[calls.len() - 1].id, calls[calls.len() - 2].id);
    // The user is known from now on, to other functions.
    assert_status(&land("alice").await, 200);
    assert_eq!(functions.calls("check").len(), calls.len());
    assert_eq!(functions.last("before")["userName"], "ann");
    assert_eq!(functions.last("after")["userName"], "ann");

    let denied = land("eve").await;
    assert_eq!(denied.status().as_u16(), 403);
    let html = denied.text().await.unwrap();
    assert!(html.contains("Ask for an &#60;i&#62;account"), "{html}");
    let reason = api.narthex.audit("login_failed").last().unwrap()["reason"].clone();
    assert_eq!(reason, "trigger_denied");
    assert!(admin("ListUsers", json!({}))["Users"].as_array().unwrap().len() == 1, "nobody was created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_changes_what_a_provider_says_also_when_it_is_renewed() {
    let (functions, upstream) = (Functions::start(), Upstream::start().await);
    let tables = format!(
        "{}[[user_pool]]\nname = \"people\"\nsigning_algorithm = \"ES256\"\n[user_pool.triggers]\n\
         inbound_federation = \"old\"\n",
        functions.toml(&NAMES)
    );
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start_with_token_lifetime("corp", &builder.callback("corp"), 2);
    let tables = format!("{tables}{}", provider.toml("{ groups = [\"admins\"] }"));
    let narthex = builder.tables(&tables).route("app", upstream.port, "").start();
    functions.on("old", |event| {
        let mut said = event["request"]["attributes"]["idToken"].clone();
        assert_eq!(event["request"]["providerName"], "corp");
        assert_eq!(event["request"]["providerType"], "OIDC");
        if said["sub"].as_str().unwrap().starts_with("eve") {
            return Reply::error("Not <b>you");
        }
        if said["groups"] == json!("[\"staff\"]") {
            said["groups"] = json!("[\"admins\"]");
        }
        said["sub"] = json!("mallory");
        said["email"] = json!("changed@corp.example");
        said.as_object_mut().unwrap().remove("name");
        Reply::response(event, json!({ "userAttributesToMap": said }))
    });
    let visitor = Visitor::new(&narthex);
    let app = format!("{}/", narthex.origin("app"));
    assert_status(&visitor.sign_in(&app, "alice+staff").await, 200);
    let claims = upstream.seen().last().unwrap().claims();
    assert_eq!((&claims["email"], claims.get("name")), (&json!("changed@corp.example"), None));
    assert_eq!(claims["cognito:groups"], json!(["admins"]));
    assert_eq!(functions.last("old")["userName"], "corp_alice+staff");
    // The renewal brings the groups of the provider.
    let calls = functions.calls("old").len();
    let renewed = async || {
        let seen: Seen = visitor.request_json(Method::GET, &app).await.json().await.unwrap();
        seen.claims()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while functions.calls("old").len() == calls {
        assert!(std::time::Instant::now() < deadline, "nothing was renewed");
        assert_eq!(renewed().await["cognito:groups"], json!(["admins"]));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(renewed().await["cognito:groups"], json!(["admins"]));
    // A function that refuses ends the session, and a sign-in gets its words.
    functions.on("old", |_| Reply::error("Not <b>you"));
    while visitor.request_json(Method::GET, &app).await.status() != 401 {
        assert!(std::time::Instant::now() < deadline, "the session goes on");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let denied = Visitor::new(&narthex).sign_in(&app, "eve+staff").await;
    assert_eq!(denied.status().as_u16(), 403);
    assert!(denied.text().await.unwrap().contains("Not &#60;b&#62;you"));
}
