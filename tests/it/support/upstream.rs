//! An app that returns the request that it got, and records it.

use super::json::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, Mutex};

/// A request as the app saw it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    /// Returns the values of a header field.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the value of a header field that occurs once.
    pub fn header(&self, name: &str) -> &str {
        let all = self.header_values(name);
        assert_eq!(all.len(), 1, "{name}: {all:?}");
        all[0]
    }

    /// The claims of the assertion, unverified.
    pub fn claims(&self) -> serde_json::Value {
        use base64::Engine as _;
        let payload = self.header("x-amzn-oidc-data").split('.').nth(1).unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap())
            .unwrap()
    }
}

/// The app.
pub struct Upstream {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener)
    }

    /// Starts an app that does not set cookies of Narthex.
    pub async fn start_without_cookies() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::with(listener, Router::new().fallback(record))
    }

    pub fn serve(listener: tokio::net::TcpListener) -> Self {
        Self::with(listener, Router::new().fallback(respond_with_cookies))
    }

    fn with(listener: tokio::net::TcpListener, router: Router<Arc<Mutex<Vec<Seen>>>>) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let port = listener.local_addr().unwrap().port();
        let router = router.with_state(seen.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, seen }
    }

    /// Everything that arrived so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Answers, and tries to set a cookie of Narthex.
async fn respond_with_cookies(state: State<Arc<Mutex<Vec<Seen>>>>, request: Request) -> Response {
    let cookies = [
        ("set-cookie", "app=1; Path=/"),
        ("set-cookie", "__Host-narthex=stolen; Path=/; Secure"),
        // Without a name: a browser sends the value alone.
        ("set-cookie", "=__Host-narthex=stolen; Path=/; Secure"),
    ];
    (axum::response::AppendHeaders(cookies), record(state, request).await).into_response()
}

/// Records a request, and returns it.
async fn record(State(seen): State<Arc<Mutex<Vec<Seen>>>>, request: Request) -> Json<Seen> {
    let (parts, body) = request.into_parts();
    // The received part of an aborted request is recorded.
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap_or_default();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let request = Seen {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    seen.lock().unwrap().push(request.clone());
    Json(request)
}
