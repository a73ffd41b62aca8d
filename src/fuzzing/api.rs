//! Fuzz target for the Cognito API: an operation and a body, through the whole of its dispatcher.

use super::deployment::{DATE, Deployment, KEY, NOW};
use crate::aws;
use crate::base::Duration;
use crate::handlers::RequestOrigin;
use aws_lc_rs::{digest, hmac};
use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::sync::{LazyLock, Mutex, PoisonError};
use tower_service::Service as _;

const HOST: &str = "auth.example.com";
const PASSWORD: &str = "Correct-Horse-7-Battery";
/// What the names of operations begin with that create something.
const CREATIONS: [&str; 3] = ["Create", "AdminCreate", "SignUp"];
/// Operations that delete, disable or revoke what a mark names.
const DELETIONS: [&str; 7] = [
    "DeleteUser",
    "DeleteUserPool",
    "DeleteUserPoolClient",
    "AdminDeleteUser",
    "AdminDisableUser",
    "AdminUserGlobalSignOut",
    "GlobalSignOut",
];

/// The API with a user pool, an app client and a signed-in user.
struct Scene {
    deployment: Deployment,
    /// Marks in bodies, each with the text in its place.
    marks: Vec<(&'static str, String)>,
}

static SCENE: LazyLock<Mutex<Scene>> = LazyLock::new(|| {
    let mut scene = Scene { deployment: Deployment::start(), marks: Vec::new() };
    scene.prepare();
    Mutex::new(scene)
});

/// Parses the first line of the input as the operation and the rest as the body of a signed
/// request. The marks `$POOL`, `$ARN`, `$CLIENT`, `$USER`, `$ACCESS` and `$REFRESH` in the
/// body are replaced by ids and tokens of existing objects. Returns whether the operation succeeds.
pub fn api(data: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b'\n', data) else { return false };
    let (operation, body) = (&data[..at], &data[at + 1..]);
    let mut scene = SCENE.lock().unwrap_or_else(PoisonError::into_inner);
    let body = scene.with_marks(body);
    let Some((status, response)) = scene.call(operation, &body) else { return false };
    assert!(status < 500, "{}: {status} {response}", String::from_utf8_lossy(operation));
    let accepted = status == 200;
    if !accepted {
        assert!(status == 400, "{status} {response}");
        let (exception, message) = (&response["__type"], &response["message"]);
        assert!(exception.as_str().is_some_and(|name| name.ends_with("Exception")), "{response}");
        assert!(message.is_string() && response.as_object().is_some_and(|all| all.len() == 2), "{response}");
    }
    if accepted && CREATIONS.iter().any(|name| operation.starts_with(name.as_bytes())) {
        // Numbers have 21 random bits beside the millisecond: many of one millisecond would
        // collide.
        scene.deployment.clock.advance(Duration::from_millis(1));
    }
    if accepted && DELETIONS.iter().any(|name| name.as_bytes() == operation) {
        scene.prepare();
    }
    accepted
}

impl Scene {
    /// Creates a pool with a client and a user, and signs the user in.
    fn prepare(&mut self) {
        let pool = self.done("CreateUserPool", json!({ "PoolName": "fuzzed", "AliasAttributes": ["email"] }));
        let (id, arn) = (pool["UserPool"]["Id"].clone(), pool["UserPool"]["Arn"].clone());
        let flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"];
        let client = json!({ "UserPoolId": id, "ClientName": "fuzzed", "ExplicitAuthFlows": flows });
        let client = self.done("CreateUserPoolClient", client)["UserPoolClient"]["ClientId"].clone();
        let user = "fuzzed-user";
        let create = json!({ "UserPoolId": id, "Username": user, "MessageAction": "SUPPRESS" });
        self.done("AdminCreateUser", create);
        let password = json!({ "UserPoolId": id, "Username": user, "Password": PASSWORD, "Permanent": true });
        self.done("AdminSetUserPassword", password);
        let parameters = json!({ "USERNAME": user, "PASSWORD": PASSWORD });
        let begin =
            json!({ "ClientId": client, "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
        let tokens = self.done("InitiateAuth", begin)["AuthenticationResult"].clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.marks = vec![
            ("$POOL", text(&id)),
            ("$ARN", text(&arn)),
            ("$CLIENT", text(&client)),
            ("$USER", user.to_owned()),
            ("$ACCESS", text(&tokens["AccessToken"])),
            ("$REFRESH", text(&tokens["RefreshToken"])),
        ];
    }

    fn with_marks(&self, body: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(body) else { return body.to_vec() };
        let replace = |text: String, (mark, value): &(&str, String)| text.replace(mark, value);
        self.marks.iter().fold(text.to_owned(), replace).into_bytes()
    }

    fn done(&self, operation: &str, request: Value) -> Value {
        let answer = self.call(operation.as_bytes(), request.to_string().as_bytes());
        let (status, response) = answer.expect("the name is a header value");
        assert_eq!(status, 200, "{operation}: {response}");
        response
    }

    /// Returns the status and the body of a signed request; `None` for an operation that no header
    /// can name.
    fn call(&self, operation: &[u8], body: &[u8]) -> Option<(u16, Value)> {
        let target = [b"AWSCognitoIdentityProviderService.", operation].concat();
        let value = HeaderValue::from_bytes(&target).ok()?;
        let request = http::Request::post("/")
            .header("host", HOST)
            .header("x-amz-date", DATE)
            .header("authorization", authorization(&target, body))
            .header("x-amz-target", value)
            .extension(RequestOrigin { target: "/".to_owned(), ..RequestOrigin::default() })
            .body(Body::from(body.to_vec()))
            .ok()?;
        Some(self.deployment.runtime.block_on(async {
            let mut router = aws::router(self.deployment.app.clone());
            let Ok(response) = router.call(request).await;
            let (status, body) = read(response).await;
            (status, serde_json::from_slice(&body).expect("every response is JSON"))
        }))
    }
}

async fn read(response: Response) -> (u16, Vec<u8>) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("the body is in memory");
    (status, body.to_bytes().to_vec())
}

/// Returns Signature Version 4 of a request, which the fuzzer cannot sign.
fn authorization(target: &[u8], body: &[u8]) -> String {
    debug_assert_eq!(NOW.seconds(), 1_800_000_000, "the date is that of the clock");
    let (id, secret) = KEY;
    let hash = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
    let target = String::from_utf8_lossy(target);
    let headers = "host;x-amz-date;x-amz-target";
    let canonical = format!(
        "POST\n/\n\nhost:{HOST}\nx-amz-date:{DATE}\nx-amz-target:{target}\n\n{headers}\n{}",
        hash(body)
    );
    let scope = format!("{}/us-east-1/cognito-idp/aws4_request", &DATE[..8]);
    let text = format!("AWS4-HMAC-SHA256\n{DATE}\n{scope}\n{}", hash(canonical.as_bytes()));
    let mac = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| mac(&key, part));
    let signature = hex(&mac(&key, &text));
    format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={headers}, Signature={signature}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Returns the paths of all values in `value`, as JSON pointers.
    fn pointers(value: &Value, path: &str, all: &mut Vec<String>) {
        all.push(path.to_owned());
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| pointers(value, &format!("{path}/{name}"), all));
            }
            Value::Array(items) => {
                (0..).zip(items).for_each(|(at, value): (usize, _)| {
                    pointers(value, &format!("{path}/{at}"), all);
                });
            }
            _ => {}
        }
    }

    #[test]
    fn an_odd_value_at_any_place_of_a_seed_is_no_server_fault() {
        let odd = [
            json!(null),
            json!(""),
            json!("\u{0}"),
            json!("a".repeat(2049)),
            json!("\u{1f600}$POOL%s"),
            json!(-1),
            json!(i64::MAX),
            json!(1e300),
            json!(true),
            json!([]),
            json!([{}]),
            json!({}),
            json!({ "": "" }),
        ];
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/api");
        let mut count = 0;
        for file in std::fs::read_dir(seeds).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let (operation, body) = text.split_once('\n').unwrap();
            let Ok(body) = serde_json::from_str::<Value>(body) else { continue };
            let mut places = Vec::new();
            pointers(&body, "", &mut places);
            for (place, value) in places.iter().flat_map(|place| odd.iter().map(move |odd| (place, odd))) {
                let mut changed = body.clone();
                *changed.pointer_mut(place).unwrap() = value.clone();
                api(format!("{operation}\n{changed}").as_bytes());
                count += 1;
            }
        }
        assert!(count > 500, "{count}");
    }
}
