//! Functions that Narthex calls at events of user pools: a receiver of signed POSTs, and an
//! endpoint with the `Invoke` operation of AWS Lambda. Both verify each signature.

use aws_lc_rs::{digest, hmac};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use narthex::base::{Clock as _, SystemClock};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The key of the POSTs' signatures.
const SECRET: &str = "a secret of the functions";
/// The access key of the invocations.
const KEY: (&str, &str) = ("AKIAFUNCTIONS", "invocation/secret+key");

/// What a function answers.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// How long it takes.
    pub after: Duration,
}

impl Reply {
    /// An answer with this status and body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), after: Duration::ZERO }
    }

    /// The event with this response.
    pub fn response(event: &Value, response: Value) -> Self {
        let mut event = event.clone();
        event["response"] = response;
        Self::new(200, event.to_string())
    }

    /// The event as it is.
    pub fn same(event: &Value) -> Self {
        Self::new(200, event.to_string())
    }

    /// The refusal of a function in AWS Lambda.
    pub fn error(words: &str) -> Self {
        let body = json!({ "errorMessage": words, "errorType": "Error" }).to_string();
        Self { headers: vec![("x-amz-function-error", "Unhandled".to_owned())], ..Self::new(200, body) }
    }

    /// The same, later.
    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}

type Behavior = Arc<dyn Fn(&Value) -> Reply + Send + Sync>;

/// A call of a function.
#[derive(Clone, Debug)]
pub struct Call {
    pub function: String,
    pub id: String,
    pub event: Value,
    /// Whether it was an invocation.
    pub is_lambda: bool,
}

#[derive(Default)]
struct Shared {
    behaviors: Mutex<HashMap<String, Behavior>>,
    calls: Mutex<Vec<Call>>,
    /// Signatures that were wrong.
    forged: Mutex<Vec<String>>,
}

/// A server with functions.
pub struct Functions {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Functions {
    /// Starts a server, on a thread of its own: clients of tests block theirs.
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (port, state) = (listener.local_addr().unwrap().port(), shared.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let router = axum::Router::new().fallback(answer).with_state(state);
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self { port, shared }
    }

    /// Declares functions that get POSTs.
    pub fn toml(&self, names: &[&str]) -> String {
        self.toml_with(names, "")
    }

    /// The same, with further keys.
    pub fn toml_with(&self, names: &[&str], more: &str) -> String {
        names.iter().fold(String::new(), |mut toml, name| {
            let url = format!("http://127.0.0.1:{}/hooks/{name}", self.port);
            _ = writeln!(
                toml,
                "[[trigger]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret = \"{SECRET}\"\n{more}"
            );
            toml
        })
    }

    /// Declares a function that is invoked.
    pub fn lambda_toml(&self, name: &str) -> String {
        let ((id, secret), port) = (KEY, self.port);
        format!(
            "[[trigger]]\nname = \"{name}\"\nkind = \"lambda\"\nurl = \"http://127.0.0.1:{port}\"\nregion = \"eu-west-1\"\n\
             access_key_id = \"{id}\"\nsecret_access_key = \"{secret}\"\n"
        )
    }

    /// Sets what a function does. Without it, a function answers the event as it is.
    pub fn on(&self, name: &str, behavior: impl Fn(&Value) -> Reply + Send + Sync + 'static) {
        self.shared.behaviors.lock().unwrap().insert(name.to_owned(), Arc::new(behavior));
    }

    /// Returns the calls of a function, and asserts that each was signed.
    pub fn calls(&self, name: &str) -> Vec<Call> {
        let forged = self.shared.forged.lock().unwrap();
        assert!(forged.is_empty(), "{forged:?}");
        let calls = self.shared.calls.lock().unwrap();
        calls.iter().filter(|call| call.function == name).cloned().collect()
    }

    /// Returns the events of a function.
    pub fn events(&self, name: &str) -> Vec<Value> {
        self.calls(name).into_iter().map(|call| call.event).collect()
    }

    /// Returns the last event of a function.
    pub fn last(&self, name: &str) -> Value {
        self.events(name).pop().unwrap_or_else(|| panic!("no call of {name}"))
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let path = parts.uri.path().to_owned();
    let invoked =
        path.strip_prefix("/2015-03-31/functions/").and_then(|rest| rest.strip_suffix("/invocations"));
    let (function, is_signed) = match (invoked, path.strip_prefix("/hooks/")) {
        (Some(name), _) => (name.to_owned(), is_signed_by_key(&parts, &body)),
        (None, Some(name)) => (name.to_owned(), is_signed_by_secret(&parts.headers, &body)),
        (None, None) => return response(&Reply::new(404, "")),
    };
    if !is_signed {
        shared.forged.lock().unwrap().push(format!("{function}: {:?}", parts.headers));
        return response(&Reply::new(403, ""));
    }
    let event: Value = serde_json::from_slice(&body).unwrap();
    let id = header(&parts.headers, "x-narthex-id").to_owned();
    let call = Call { function: function.clone(), id, event: event.clone(), is_lambda: invoked.is_some() };
    shared.calls.lock().unwrap().push(call);
    let behavior = shared.behaviors.lock().unwrap().get(&function).cloned();
    let reply = match behavior {
        // It may call Narthex.
        Some(behavior) => tokio::task::spawn_blocking(move || behavior(&event)).await.unwrap(),
        None => Reply::same(&event),
    };
    tokio::time::sleep(reply.after).await;
    response(&reply)
}

fn response(reply: &Reply) -> Response {
    let mut response = Response::new(Body::from(reply.body.clone()));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    for (name, value) in &reply.headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

fn is_signed_by_secret(headers: &HeaderMap, body: &[u8]) -> bool {
    let (time, id) = (header(headers, "x-narthex-timestamp"), header(headers, "x-narthex-id"));
    let message = [format!("{time}.{id}.").as_bytes(), body].concat();
    let age = SystemClock.now().seconds() - time.parse::<i64>().unwrap_or_default();
    !id.is_empty()
        && age.abs() < 60
        && header(headers, "x-narthex-signature") == hex(&mac(SECRET.as_bytes(), &message))
}

/// Verifies a signature of version 4 for Lambda in `eu-west-1`.
fn is_signed_by_key(parts: &Parts, body: &[u8]) -> bool {
    let (headers, authorization) = (&parts.headers, header(&parts.headers, "authorization"));
    let field = |name: &str| {
        let rest = authorization.split(name).nth(1).unwrap_or_default();
        rest.split(", ").next().unwrap_or_default().to_owned()
    };
    let (credential, names, signature) = (field("Credential="), field("SignedHeaders="), field("Signature="));
    let time = header(headers, "x-amz-date");
    let date = time.get(..8).unwrap_or_default();
    let scope = format!("{date}/eu-west-1/lambda/aws4_request");
    let lines: String = names.split(';').map(|name| format!("{name}:{}\n", header(headers, name))).collect();
    let sha256 = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
    let canonical = format!("{}\n{}\n\n{lines}\n{names}\n{}", parts.method, parts.uri.path(), sha256(body));
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let mut key = format!("AWS4{}", KEY.1).into_bytes();
    for part in [date, "eu-west-1", "lambda", "aws4_request", &to_sign] {
        key = mac(&key, part.as_bytes());
    }
    let covered = ["host", "x-amz-date", "x-amz-invocation-type"];
    credential == format!("{}/{scope}", KEY.0)
        && covered.iter().all(|name| names.split(';').any(|signed| signed == *name))
        && header(headers, "x-amz-invocation-type") == "RequestResponse"
        && signature == hex(&key)
}
