//! Functions of user pools: new users, the delivery of events, and the answers that are none.

use crate::support::aws::{Api, Boto, PASSWORD, create, describe, exception, ok, text};
use crate::support::functions::{Functions, Reply};
use crate::support::mail::MailServer;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A pool with a client, and these functions.
fn pool(triggers: &str) -> String {
    format!(
        "[[user_pool]]\nname = \"people\"\nsigning_algorithm = \"ES256\"\nsign_up = true\nauto_verified = [\"email\"]\n\
         alias_attributes = [\"email\"]\n[user_pool.triggers]\n{triggers}\n[[user_pool.client]]\nname = \"web\"\n\
         id = \"webclient\"\nauth_flows = [\"ALLOW_USER_PASSWORD_AUTH\"]\nhide_unknown_users = false\n"
    )
}

struct Scene {
    functions: Functions,
    api: Api,
    boto: Boto,
}

impl Scene {
    fn start(names: &[&str], triggers: &str) -> Self {
        let functions = Functions::start();
        let tables = format!("{}{}", functions.toml(names), pool(triggers));
        Self::with(functions, &tables)
    }

    fn with(functions: Functions, tables: &str) -> Self {
        let mail = MailServer::start("starttls", &[]);
        let api = Api { narthex: Api::builder(&mail, tables).start(), mail };
        let boto = api.boto();
        Self { functions, api, boto }
    }

    fn sign_up(&mut self, name: &str) -> Result<Value, (String, String)> {
        sign_up(&mut self.boto, name)
    }

    fn user(&mut self, name: &str) -> Result<Value, String> {
        let request = json!({ "UserPoolId": self.api.pool_id(), "Username": name });
        self.boto.call("AdminGetUser", request).map_err(|error| error.code)
    }

    fn metric(&self, line: &str) -> bool {
        let url = format!("http://127.0.0.1:{}/metrics", self.api.narthex.admin);
        let output = std::process::Command::new("curl").args(["--silent", &url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().any(|known| known == line)
    }
}

fn sign_up(boto: &mut Boto, name: &str) -> Result<Value, (String, String)> {
    let request = json!({
        "ClientId": "webclient", "Username": name, "Password": PASSWORD,
        "UserAttributes": [{ "Name": "email", "Value": format!("{name}@example.com") }],
        "ValidationData": [{ "Name": "invitation", "Value": "7" }], "ClientMetadata": { "from": "test" },
    });
    boto.unsigned("SignUp", request).map_err(|error| (error.code, error.message))
}

fn error(code: &str, message: &str) -> (String, String) {
    (code.to_owned(), message.to_owned())
}

fn attribute(user: &Value, name: &str) -> String {
    let all = user["UserAttributes"].as_array().unwrap();
    all.iter().find(|of| of["Name"] == name).map(|of| text(&of["Value"])).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_accepts_changes_and_denies_sign_ups() {
    let mut scene =
        Scene::start(&["check", "welcome"], "pre_sign_up = \"check\"\npost_confirmation = \"welcome\"");
    scene.functions.on("check", |event| match event["userName"].as_str() {
        Some("eve") => Reply::new(400, json!({ "errorMessage": "Only staff <b>" }).to_string()),
        Some("ada") => Reply::response(
            event,
            json!({ "autoConfirmUser": true, "autoVerifyEmail": true, "autoVerifyPhone": false }),
        ),
        _ => Reply::same(event),
    });
    assert_eq!(scene.sign_up("bob").unwrap()["UserConfirmed"], false);
    let event = scene.functions.last("check");
    let expected = json!({
        "version": "1", "region": "us-east-1", "userPoolId": scene.api.pool_id(), "triggerSource": "PreSignUp_SignUp",
        "userName": "bob",
        "callerContext": { "awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": "webclient" },
        "request": {
            "userAttributes": { "email": "bob@example.com" }, "validationData": { "invitation": "7" },
            "clientMetadata": { "from": "test" },
        },
        "response": { "autoConfirmUser": false, "autoVerifyEmail": false, "autoVerifyPhone": false },
    });
    assert_eq!(event, expected);
    assert_eq!(scene.user("bob").unwrap()["UserStatus"], "UNCONFIRMED");
    assert!(scene.functions.calls("welcome").is_empty(), "bob is not confirmed");

    assert_eq!(scene.sign_up("ada").unwrap()["UserConfirmed"], true);
    let ada = scene.user("ada").unwrap();
    assert_eq!(
        (ada["UserStatus"].clone(), &*attribute(&ada, "email_verified")),
        (json!("CONFIRMED"), "true")
    );
    let event = scene.functions.last("welcome");
    assert_eq!(event["triggerSource"], "PostConfirmation_ConfirmSignUp");
    assert_eq!(event["request"]["userAttributes"]["cognito:user_status"], "CONFIRMED");
    assert_eq!(event["request"]["userAttributes"]["sub"], attribute(&ada, "sub"));
    assert_eq!(event["request"]["clientMetadata"], json!({ "from": "test" }));

    let denied = error("UserLambdaValidationException", "PreSignUp failed with error Only staff <b>.");
    assert_eq!(scene.sign_up("eve").unwrap_err(), denied);
    assert_eq!(scene.user("eve").unwrap_err(), "UserNotFoundException");
    assert!(scene.metric("narthex_trigger_calls_total{result=\"denied\",trigger=\"check\"} 1"));
    assert!(scene.metric("narthex_trigger_calls_total{result=\"success\",trigger=\"check\"} 2"));
    let failed = scene.api.narthex.audit("trigger_failed");
    assert_eq!((&failed[0]["reason"], &failed[0]["source"]), (&json!("denied"), &json!("PreSignUp_SignUp")));

    let code = scene.api.code("bob@example.com", 1);
    let confirm = json!({ "ClientId": "webclient", "Username": "bob", "ConfirmationCode": code, "ClientMetadata": { "a": "b" } });
    scene.boto.unsigned("ConfirmSignUp", confirm).unwrap();
    let event = scene.functions.last("welcome");
    assert_eq!((&event["userName"], &event["request"]["clientMetadata"]["a"]), (&json!("bob"), &json!("b")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_new_users_is_asked_about_those_of_administrators() {
    let mut scene =
        Scene::start(&["check", "welcome"], "pre_sign_up = \"check\"\npost_confirmation = \"welcome\"");
    scene.functions.on("check", |event| match event["userName"].as_str() {
        Some("eve") => Reply::error("no"),
        _ => Reply::response(event, json!({ "autoConfirmUser": true, "autoVerifyEmail": true })),
    });
    let create = |scene: &mut Scene, name: &str| {
        let request = json!({
            "UserPoolId": scene.api.pool_id(), "Username": name, "MessageAction": "SUPPRESS",
            "UserAttributes": [{ "Name": "email", "Value": format!("{name}@example.com") }],
            "ValidationData": [{ "Name": "a", "Value": "b" }], "ClientMetadata": { "c": "d" },
        });
        scene.boto.call("AdminCreateUser", request).map_err(|error| error.code)
    };
    create(&mut scene, "ada").unwrap();
    let event = scene.functions.last("check");
    assert_eq!(event["triggerSource"], "PreSignUp_AdminCreateUser");
    assert_eq!(event["callerContext"]["clientId"], "CLIENT_ID_NOT_APPLICABLE");
    assert_eq!(event["request"]["validationData"], json!({ "a": "b" }));
    let ada = scene.user("ada").unwrap();
    assert_eq!(
        (ada["UserStatus"].clone(), &*attribute(&ada, "email_verified")),
        (json!("FORCE_CHANGE_PASSWORD"), "")
    );
    assert_eq!(create(&mut scene, "eve").unwrap_err(), "UserLambdaValidationException");
    scene.sign_up("zoe").unwrap();
    assert_eq!(scene.functions.calls("welcome").len(), 1, "zoe was confirmed by the function");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_adds_no_user() {
    let mut scene = Scene::start(&["check"], "pre_sign_up = \"check\"");
    let unrecognizable = "Unrecognizable lambda output";
    let unavailable = "PreSignUp invocation failed due to error Service unavailable.";
    let large = format!("{{\"response\":{{}},\"more\":\"{}\"}}", "x".repeat(300_000));
    for (name, reply, code, message, tries) in [
        (
            "a",
            (200, "nonsense".to_owned()),
            "InvalidLambdaResponseException",
            "Invalid lambda function output : Invalid JSON",
            1,
        ),
        ("b", (200, "{}".to_owned()), "InvalidLambdaResponseException", unrecognizable, 1),
        (
            "c",
            (200, r#"{"response":{"autoConfirmUser":"yes"}}"#.to_owned()),
            "InvalidLambdaResponseException",
            unrecognizable,
            1,
        ),
        ("d", (200, large), "InvalidLambdaResponseException", unrecognizable, 1),
        ("e", (302, String::new()), "UnexpectedLambdaException", unavailable, 1),
        ("f", (404, String::new()), "UnexpectedLambdaException", unavailable, 1),
        ("g", (503, String::new()), "UnexpectedLambdaException", unavailable, 3),
    ] {
        let (status, body) = reply;
        let target = format!("http://127.0.0.1:{}/hooks/elsewhere", scene.functions.port);
        scene.functions.on("check", move |_| {
            let reply = Reply::new(status, body.clone());
            Reply { headers: vec![("location", target.clone())], ..reply }
        });
        let before = scene.functions.calls("check").len();
        assert_eq!(scene.sign_up(name).unwrap_err(), error(code, message), "{name}");
        let calls = scene.functions.calls("check").split_off(before);
        assert_eq!(calls.len(), tries, "{name}");
        assert!(calls.iter().all(|call| call.id == calls[0].id), "one id in all tries");
        assert_eq!(scene.user(name).unwrap_err(), "UserNotFoundException");
    }
    assert!(scene.functions.calls("elsewhere").is_empty(), "a redirect is not followed");
    // An address that the user does not have.
    scene.functions.on("check", |event| Reply::response(event, json!({ "autoVerifyPhone": true })));
    assert_eq!(scene.sign_up("h").unwrap_err().0, "InvalidLambdaResponseException");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_down_closes_what_it_protects() {
    let (functions, port) = (Functions::start(), crate::support::process::free_port());
    let down = format!(
        "[[trigger]]\nname = \"down\"\nurl = \"http://127.0.0.1:{port}/\"\nsecret = \"a secret of 22 characters\"\n"
    );
    let mut scene = Scene::with(functions, &format!("{down}{}", pool("pre_sign_up = \"down\"")));
    assert_eq!(scene.sign_up("ada").unwrap_err().0, "UnexpectedLambdaException");
    assert_eq!(scene.user("ada").unwrap_err(), "UserNotFoundException");
    let failed = scene.api.narthex.audit("trigger_failed");
    assert_eq!(failed[0]["reason"], "unavailable");
}

/// A function with one call at a time: another caller waits for it, and users of other pools do
/// not.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_function_holds_up_only_its_own_callers() {
    let functions = Functions::start();
    let slow = functions.toml_with(&["slow"], "concurrency = 1");
    let tables = format!(
        "{slow}{}[[user_pool]]\nname = \"others\"\nsigning_algorithm = \"ES256\"\nsign_up = true\n[[user_pool.client]]\nname = \"o\"\nid = \"otherclient\"\nauth_flows = [\"ALLOW_USER_SRP_AUTH\"]\n",
        pool("pre_sign_up = \"slow\"")
    );
    let scene = Scene::with(functions, &tables);
    // The third try is answered, and the first two are not in time.
    let seen = std::sync::atomic::AtomicUsize::new(0);
    scene.functions.on("slow", move |event| match seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 | 1 => Reply::same(event).after(Duration::from_secs(60)),
        _ => Reply::same(event),
    });
    let narthex = &scene.api.narthex;
    std::thread::scope(|threads| {
        let first = threads.spawn(|| sign_up(&mut Boto::new(narthex, crate::support::aws::KEY), "ada"));
        std::thread::sleep(Duration::from_millis(1500));
        let begun = Instant::now();
        let waits = threads.spawn(|| sign_up(&mut Boto::new(narthex, crate::support::aws::KEY), "bob"));
        let mut others = Boto::new(narthex, crate::support::aws::KEY);
        for name in ["c", "d", "e"] {
            let request = json!({
                "ClientId": "otherclient", "Username": name, "Password": PASSWORD,
                "UserAttributes": [{ "Name": "email", "Value": format!("{name}@example.com") }],
            });
            others.unsigned("SignUp", request).unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(4), "other pools wait: {:?}", begun.elapsed());
        let (code, message) = waits.join().unwrap().unwrap_err();
        let words = "PreSignUp invocation failed due to error Socket timeout while invoking Lambda function.";
        assert_eq!((&*code, &*message), ("UnexpectedLambdaException", words), "the place is taken");
        assert_eq!(first.join().unwrap().unwrap()["UserConfirmed"], false);
    });
    let calls = scene.functions.calls("slow");
    assert_eq!(calls.len(), 3, "{calls:?}");
    assert!(calls.iter().all(|call| call.id == calls[0].id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_in_aws_lambda_is_invoked_with_a_signature() {
    let functions = Functions::start();
    let tables = format!("{}{}", functions.lambda_toml("check"), pool("pre_sign_up = \"check\""));
    let mut scene = Scene::with(functions, &tables);
    scene.functions.on("check", |event| match event["userName"].as_str() {
        Some("eve") => Reply::error("Only staff"),
        _ => Reply::response(event, json!({ "autoConfirmUser": true })),
    });
    assert_eq!(scene.sign_up("ada").unwrap()["UserConfirmed"], true);
    let denied = error("UserLambdaValidationException", "PreSignUp failed with error Only staff.");
    assert_eq!(scene.sign_up("eve").unwrap_err(), denied);
    let calls = scene.functions.calls("check");
    assert!(
        calls.len() == 2 && calls.iter().all(|call| call.is_lambda),
        "a refusal is no reason for another try"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_of_the_api_name_functions_by_arns() {
    let arn = |name: &str| format!("arn:aws:lambda:us-east-1:123456789012:function:{name}");
    let mut scene = Scene::start(&["check"], "pre_sign_up = \"check\"");
    let boto = &mut scene.boto;
    let declared = describe(boto, &scene.api.pool_id())["LambdaConfig"].clone();
    assert_eq!(declared, json!({ "PreSignUp": arn("check") }));
    let config = json!({ "PreSignUp": arn("check"), "PreTokenGenerationConfig": { "LambdaVersion": "V2_0", "LambdaArn": arn("check") } });
    let made = create(boto, json!({ "LambdaConfig": config }));
    assert_eq!(made["LambdaConfig"], config);
    let id = text(&made["Id"]);
    let client = ok(boto, "CreateUserPoolClient", json!({ "UserPoolId": id, "ClientName": "c" }));
    let sign_up = |boto: &mut Boto, name: &str| {
        let request = json!({ "ClientId": client["UserPoolClient"]["ClientId"], "Username": name, "Password": PASSWORD });
        boto.unsigned("SignUp", request).unwrap()
    };
    sign_up(boto, "ada");
    assert_eq!(scene.functions.last("check")["userPoolId"], id);
    let unknown = json!({ "UserPoolId": id, "LambdaConfig": { "PreSignUp": arn("unknown") } });
    assert_eq!(exception(boto, "UpdateUserPool", unknown), "InvalidParameterException");
    let name = json!({ "PoolName": "p", "LambdaConfig": { "UserMigration": arn("unknown") } });
    assert_eq!(exception(boto, "CreateUserPool", name), "InvalidParameterException");
    // Absent members are reset, as all of them.
    ok(boto, "UpdateUserPool", json!({ "UserPoolId": id }));
    assert_eq!(describe(boto, &id)["LambdaConfig"], json!({}));
    sign_up(boto, "bob");
    assert_eq!(scene.functions.calls("check").len(), 1);
}

/// Runs `narthex trigger test` in the folder of the deployment. Returns whether it succeeded, and
/// what it printed.
fn trigger_test(scene: &Scene, name: &str, event: &str) -> (bool, String) {
    let folder = scene.api.narthex.folder();
    std::fs::write(folder.join("event.json"), event).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["trigger", "test", name, "--event", "event.json", "--config", "narthex.toml"])
        .current_dir(folder)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_sent_by_hand() {
    let scene = Scene::start(&["check"], "pre_sign_up = \"check\"");
    let event = r#"{"triggerSource":"PreSignUp_SignUp","request":{},"response":{}}"#;
    let (succeeded, printed) = trigger_test(&scene, "check", event);
    assert!(succeeded && printed.contains("the answer is valid: response = {}"), "{printed}");
    assert_eq!(scene.functions.last("check")["triggerSource"], "PreSignUp_SignUp");
    scene.functions.on("check", |event| Reply::response(event, json!({ "autoConfirmUser": 1 })));
    let (succeeded, printed) = trigger_test(&scene, "check", event);
    assert!(!succeeded && printed.contains("the answer is not valid: expected a boolean"), "{printed}");
    scene.functions.on("check", |_| Reply::error("Only\nstaff"));
    let (succeeded, printed) = trigger_test(&scene, "check", event);
    assert!(!succeeded && printed.contains("the function refused: Only\\u000astaff"), "{printed}");
    let (succeeded, printed) = trigger_test(&scene, "chek", event);
    assert!(!succeeded && printed.contains("help: the file has check"), "{printed}");
    let (succeeded, printed) = trigger_test(&scene, "check", "{}");
    assert!(!succeeded && printed.contains("`triggerSource` is missing"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_receiver_invites_by_address() {
    let receiver = crate::support::documentation::block("docs/src/guides/triggers.md", "python receiver");
    let (secret, port) = ("a secret of 22 characters", crate::support::process::free_port());
    let mut process = std::process::Command::new("python3")
        .args(["-c", &receiver, &port.to_string()])
        .env("TRIGGER_SECRET", secret)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let connects = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    crate::support::process::wait_until("the receiver", connects);
    let declared = format!(
        "[[trigger]]\nname = \"check\"\nurl = \"http://127.0.0.1:{port}/\"\nsecret = \"{secret}\"\n{}",
        pool("pre_sign_up = \"check\"")
    );
    let mut scene = Scene::with(Functions::start(), &declared);
    let (invited, other) = (scene.sign_up("ada"), scene.sign_up("eve"));
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(invited.unwrap()["UserConfirmed"], true);
    let denied =
        error("UserLambdaValidationException", "PreSignUp failed with error Ask for an invitation first.");
    assert_eq!(other.unwrap_err(), denied);
}
