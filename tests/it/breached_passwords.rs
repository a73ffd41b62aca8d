//! New passwords are looked up in the breached-password service, which sees five digits.

use crate::support::aws::{Api, Boto, OTHER, PASSWORD};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behavior {
    /// As the service that is documented: it knows [`OTHER`].
    Documented,
    ServerError,
    /// To another address, which has the answer.
    Redirect,
    /// More bytes than any answer has.
    Endless,
    /// No answer within the time limit.
    Silent,
}

/// The path of a request, and its header `Add-Padding`.
type Lookup = (String, Option<String>);

/// A service with the range API, and the requests that it got.
#[derive(Clone)]
struct Service {
    behavior: Arc<Mutex<Behavior>>,
    requests: Arc<Mutex<Vec<Lookup>>>,
}

impl Service {
    async fn start() -> (Self, u16) {
        let (behavior, requests) = (Arc::new(Mutex::new(Behavior::Documented)), Arc::default());
        let service = Self { behavior, requests };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().fallback(answer).with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (service, port)
    }

    fn behave(&self, behavior: Behavior) {
        *self.behavior.lock().unwrap() = behavior;
        self.requests.lock().unwrap().clear();
    }

    fn requests(&self) -> Vec<Lookup> {
        self.requests.lock().unwrap().clone()
    }
}

async fn answer(State(service): State<Service>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let padding = request.headers().get("add-padding").map(|value| value.to_str().unwrap().to_owned());
    service.requests.lock().unwrap().push((path.clone(), padding));
    let documented = || format!("{}:3\r\n{}:12\r\n", "0".repeat(35), &digest(OTHER)[5..]);
    let behavior = *service.behavior.lock().unwrap();
    match behavior {
        Behavior::Documented => documented().into_response(),
        Behavior::ServerError => (StatusCode::INTERNAL_SERVER_ERROR, documented()).into_response(),
        Behavior::Redirect if path.starts_with("/range/") => {
            (StatusCode::FOUND, [("location", path.replace("/range/", "/other/"))]).into_response()
        }
        Behavior::Redirect => documented().into_response(),
        Behavior::Endless => format!("{}:1\r\n", &digest(OTHER)[5..]).repeat(10_000).into_response(),
        Behavior::Silent => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            documented().into_response()
        }
    }
}

/// The upper-case SHA-1 digest, by the system's tool.
fn digest(password: &str) -> String {
    let mut child = std::process::Command::new("sha1sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), password.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..40].to_uppercase()
}

fn sign_up(boto: &mut Boto, name: &str, password: &str) -> Result<(), (String, String)> {
    let request = json!({ "ClientId": "webclient", "Username": name, "Password": password });
    let answer = boto.unsigned("SignUp", request);
    answer.map(drop).map_err(|error| (error.code, error.message))
}

fn lookups(api: &Api, result: &str) -> u64 {
    let name = format!("narthex_password_breach_checks_total{{result=\"{result}\"}} ");
    let metrics = api.narthex.admin("/metrics");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_a_breach_is_refused_wherever_a_password_is_set() {
    let (service, port) = Service::start().await;
    let mut tables = String::from(
        "[[user_pool]]\nname = \"people\"\nsign_up = true\nauto_verified = \"none\"\n\
         [[user_pool.client]]\nname = \"web\"\nid = \"webclient\"\nauth_flows = [\"ALLOW_USER_PASSWORD_AUTH\"]\n",
    );
    let _ =
        writeln!(tables, "[breached_passwords]\nurl = \"http://127.0.0.1:{port}/range/\"\ntimeout = \"1s\"");
    let api = Api::start(&tables);
    let (mut boto, pool_id) = (api.boto(), api.pool_id());
    let refused = "Password did not conform with policy: Password has appeared in a data breach";
    let refused = Err(("InvalidPasswordException".to_owned(), refused.to_owned()));
    assert_eq!(sign_up(&mut boto, "alice", OTHER), refused);
    assert_eq!(sign_up(&mut boto, "alice", PASSWORD), Ok(()));
    let prefixes = [OTHER, PASSWORD].map(|password| format!("/range/{}", &digest(password)[..5]));
    let expected: Vec<_> = prefixes.map(|path| (path, Some("true".to_owned()))).into();
    assert_eq!(service.requests(), expected, "the service sees five digits");
    let set = json!({ "UserPoolId": pool_id, "Username": "alice", "Password": OTHER, "Permanent": true });
    let set = boto.call("AdminSetUserPassword", set);
    assert_eq!(set.map(drop).map_err(|error| (error.code, error.message)), refused);
    let create = json!({ "UserPoolId": pool_id, "Username": "bob", "TemporaryPassword": OTHER, "MessageAction": "SUPPRESS" });
    let created = boto.call("AdminCreateUser", create);
    assert_eq!(created.map(drop).map_err(|error| (error.code, error.message)), refused);
    let confirm = json!({ "UserPoolId": pool_id, "Username": "alice" });
    boto.call("AdminConfirmSignUp", confirm).unwrap();
    let parameters = json!({ "USERNAME": "alice", "PASSWORD": PASSWORD });
    let sign_in =
        json!({ "ClientId": "webclient", "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
    service.behave(Behavior::Documented);
    let tokens = boto.unsigned("InitiateAuth", sign_in).unwrap();
    assert_eq!(service.requests(), [], "a sign-in is not looked up");
    let token = &tokens["AuthenticationResult"]["AccessToken"];
    let change = json!({ "AccessToken": token, "PreviousPassword": PASSWORD, "ProposedPassword": OTHER });
    let changed = boto.unsigned("ChangePassword", change);
    assert_eq!(changed.map(drop).map_err(|error| (error.code, error.message)), refused);
    assert_eq!((lookups(&api, "breached"), lookups(&api, "clean")), (4, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_gives_no_answer_accepts_the_password_and_is_counted() {
    let (service, port) = Service::start().await;
    let tables = format!(
        "[[user_pool]]\nname = \"people\"\nsign_up = true\nauto_verified = \"none\"\n\
         [[user_pool.client]]\nname = \"web\"\nid = \"webclient\"\nauth_flows = [\"ALLOW_USER_PASSWORD_AUTH\"]\n\
         [breached_passwords]\nurl = \"http://127.0.0.1:{port}/range/\"\ntimeout = \"1s\"\n"
    );
    let api = Api::start(&tables);
    let mut boto = api.boto();
    let behaviors = [Behavior::ServerError, Behavior::Redirect, Behavior::Endless, Behavior::Silent];
    for (number, behavior) in (1..).zip(behaviors) {
        service.behave(behavior);
        let begun = Instant::now();
        assert_eq!(sign_up(&mut boto, &format!("{behavior:?}"), OTHER), Ok(()), "{behavior:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{behavior:?}");
        assert_eq!(service.requests().len(), 1, "{behavior:?}: no redirect is followed, nothing is repeated");
        assert_eq!(lookups(&api, "unavailable"), number, "{behavior:?}");
    }
    let log = api.narthex.log();
    assert!(log.contains("a new password was not looked up in the breached-password service"));
    assert!(!log.contains(&digest(OTHER)[..5]), "the log has digits of the password's digest");
}
