//! A deployment with the Cognito API, and boto3 as its client.

use super::mail::MailServer;
use super::narthex::{Narthex, NarthexBuilder};
use super::orders::Orders;
use super::process::wait_until;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The access key of an administrator who may do everything.
pub const KEY: (&str, &str) = ("AKIAADMINISTRATOR001", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
/// A policy that allows all operations.
const ALL: &str = r#"{ "Version": "2012-10-17",
    "Statement": { "Effect": "Allow", "Action": "cognito-idp:*", "Resource": "*" } }"#;
/// A password that the default policy accepts.
pub const PASSWORD: &str = "Correct-Horse-7-Battery";
/// Another one.
pub const OTHER: &str = "Another-Horse-8-Staple";

/// A Narthex with an administrator and a mail server.
pub struct Api {
    pub narthex: Narthex,
    pub mail: MailServer,
}

impl Api {
    /// Starts them, with further tables in the configuration.
    pub fn start(tables: &str) -> Self {
        let mail = MailServer::start("starttls", &[]);
        let narthex = Self::builder(&mail, tables).start();
        Self { narthex, mail }
    }

    /// The deployment of [`Api::start`], which is not started yet.
    pub fn builder(mail: &MailServer, tables: &str) -> NarthexBuilder {
        let (id, secret) = KEY;
        NarthexBuilder::new()
            .file("admin.json", ALL)
            .tables(&format!(
                "[[administrator]]\nname = \"admin\"\naccess_key_id = \"{id}\"\nsecret_access_key = \"{secret}\"\n\
                 policies = [\"admin.json\"]\n"
            ))
            .tables(&mail.toml(""))
            .tables(tables)
    }

    /// A client with the administrator's key.
    pub fn boto(&self) -> Boto {
        Boto::new(&self.narthex, KEY)
    }

    /// The same at another address of the sign-in host.
    pub fn boto_at(&self, endpoint: &str) -> Boto {
        Boto::run("aws-client.py", &self.narthex, KEY, endpoint, "us-east-1", "127.0.0.1")
    }

    /// The id of the pool in the file.
    pub fn pool_id(&self) -> String {
        let log = self.narthex.log();
        let line = log.lines().find(|line| line.contains("\"message\":\"serving\"")).unwrap();
        serde_json::from_str::<Value>(line).unwrap()["pool"].as_str().unwrap().to_owned()
    }

    /// The newest code that was sent to `address`, of `count` messages.
    pub fn code(&self, address: &str, count: usize) -> String {
        wait_until("a message", || self.mail.count(address) >= count);
        let accepted = self.mail.accepted();
        let message = accepted.iter().rfind(|message| message["to"] == address).unwrap();
        let text = message["text"].as_str().unwrap();
        let body = text.split_once("\n\n").map_or(text, |(_, body)| body);
        let mut words = body.split(|c: char| !c.is_ascii_digit());
        words.find(|word| matches!(word.len(), 6 | 8)).unwrap_or_else(|| panic!("{text}")).to_owned()
    }
}

/// A process of boto3.
pub struct Boto(Orders);

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub code: String,
    pub message: String,
    /// The class of the exception in boto3.
    pub class: String,
    pub retry_after: Option<String>,
}

impl Boto {
    /// A client with this access key.
    pub fn new(narthex: &Narthex, (id, secret): (&str, &str)) -> Self {
        Self::in_region(narthex, (id, secret), "us-east-1")
    }

    /// The same in another region.
    pub fn in_region(narthex: &Narthex, key: (&str, &str), region: &str) -> Self {
        Self::start(narthex, key, region, "127.0.0.1")
    }

    /// A client of the node at `address`.
    pub fn at(narthex: &Narthex, key: (&str, &str), address: &str) -> Self {
        Self::start(narthex, key, "us-east-1", address)
    }

    /// A client that compares each answer with botocore's model, and panics where they differ.
    pub fn comparing(narthex: &Narthex, key: (&str, &str)) -> Self {
        Self::program("aws-shapes.py", narthex, key, "us-east-1", "127.0.0.1")
    }

    fn start(narthex: &Narthex, key: (&str, &str), region: &str, address: &str) -> Self {
        Self::program("aws-client.py", narthex, key, region, address)
    }

    fn program(name: &str, narthex: &Narthex, key: (&str, &str), region: &str, address: &str) -> Self {
        Self::run(name, narthex, key, &narthex.origin("auth"), region, address)
    }

    fn run(
        name: &str,
        narthex: &Narthex,
        (id, secret): (&str, &str),
        endpoint: &str,
        region: &str,
        address: &str,
    ) -> Self {
        let ca = narthex.folder().join("certs/local-authority.pem").display().to_string();
        let arguments = [endpoint, region, id, secret, &ca];
        Self(Orders::python_at(name, &arguments, address))
    }

    /// A client of another endpoint without TLS.
    pub fn of_endpoint(endpoint: &str, (id, secret): (&str, &str), region: &str) -> Self {
        Self(Orders::python("aws-client.py", &[endpoint, region, id, secret, "no authority"]))
    }

    /// Calls a signed operation.
    pub fn call(&mut self, operation: &str, parameters: Value) -> Result<Value, ApiError> {
        self.ask(&json!({ "operation": operation, "parameters": parameters }))
    }

    /// Calls an operation without a signature.
    pub fn unsigned(&mut self, operation: &str, parameters: Value) -> Result<Value, ApiError> {
        self.ask(&json!({ "operation": operation, "parameters": parameters, "unsigned": true }))
    }

    /// Calls a signed operation for every page of a list.
    pub fn pages(&mut self, operation: &str, parameters: Value, page_size: u32) -> Vec<Value> {
        let order = json!({ "operation": operation, "parameters": parameters, "page_size": page_size });
        let pages = self.ask(&order).unwrap_or_else(|error| panic!("{order}: {error:?}"));
        pages.as_array().unwrap().clone()
    }

    fn ask(&mut self, order: &Value) -> Result<Value, ApiError> {
        let answer = self.0.ask(order);
        let problems = answer.get("problems").and_then(Value::as_array);
        assert!(problems.is_none_or(Vec::is_empty), "{order}: {problems:?}");
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        match answer.get("ok") {
            Some(ok) => Ok(ok.clone()),
            None => Err(ApiError {
                code: text("error"),
                message: text("message"),
                class: text("class"),
                retry_after: answer["retry_after"].as_str().map(str::to_owned),
            }),
        }
    }
}

/// The claims of a token, unverified.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

pub const POOL: &str = r#"
[[user_pool]]
name = "declared"
signing_algorithm = "ES256"
[[user_pool.client]]
name = "web"
id = "webclient"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
"#;

/// Calls an operation that succeeds.
pub fn ok(boto: &mut Boto, operation: &str, request: Value) -> Value {
    boto.call(operation, request.clone()).unwrap_or_else(|error| panic!("{operation} {request}: {error:?}"))
}

/// Calls an operation that fails, and returns its exception.
pub fn exception(boto: &mut Boto, operation: &str, request: Value) -> String {
    let shown = request.to_string();
    boto.call(operation, request).expect_err(&format!("{operation} {shown}")).code
}

/// Creates a pool with these members.
pub fn create(boto: &mut Boto, members: Value) -> Value {
    let mut request = json!({ "PoolName": "people" });
    request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    ok(boto, "CreateUserPool", request)["UserPool"].clone()
}

/// Returns the text of a JSON string.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// Returns the description of a pool.
pub fn describe(boto: &mut Boto, id: &str) -> Value {
    ok(boto, "DescribeUserPool", json!({ "UserPoolId": id }))["UserPool"].clone()
}
