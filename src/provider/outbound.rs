//! Calls to providers: a deadline, a bound on the answer, no redirects.

use crate::base::Duration;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use serde_json::{Value, json};
use std::fmt;
use std::pin::Pin;

const CONNECT: Duration = Duration::from_secs(4);
const DEADLINE: Duration = Duration::from_secs(8);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(2);
/// A key set or a user's claims are some kilobytes; a megabyte is somebody's mistake or malice.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// Why a call did not come to an answer.
#[derive(Debug)]
pub enum OutboundError {
    /// The other side, of which host and path are told, could not be reached, or did not answer in time. A
    /// query may hold what is no log's to keep.
    Failed(String, reqwest::Error),
    /// The answer is larger than anything it could rightly be.
    TooLarge,
    /// The answer is no HTTP message.
    Malformed,
    /// The answer is not what was asked for.
    Status(http::StatusCode),
}

impl fmt::Display for OutboundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(place, error) => {
                write!(f, "{place}: {error}")?;
                let mut source = std::error::Error::source(error);
                while let Some(inner) = source {
                    write!(f, ": {inner}")?;
                    source = inner.source();
                }
                Ok(())
            }
            Self::TooLarge => write!(f, "the answer is larger than {LARGEST_ANSWER} bytes"),
            Self::Malformed => f.write_str("the answer is no HTTP message"),
            Self::Status(status) => write!(f, "it answered {status}"),
        }
    }
}

impl std::error::Error for OutboundError {}

/// What an API answered.
pub struct Told {
    /// The status.
    pub status: http::StatusCode,
    /// Where a list goes on.
    pub next: Option<url::Url>,
    /// Whether it only says that it was asked too often.
    pub limited: bool,
    /// The body.
    pub json: Value,
}

/// The HTTP client for calls to providers.
#[derive(Clone)]
pub struct Outbound(reqwest::Client);

impl Outbound {
    /// Makes the client.
    ///
    /// # Errors
    /// Where the system's certificate roots cannot be read.
    pub fn new() -> Result<Self, OutboundError> {
        let client = reqwest::Client::builder()
            // A provider's endpoint that redirects could lead our client secret elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            // A call on a connection that the provider is just closing is lost, and a code is used up
            // with it. Some close after five seconds.
            .pool_idle_timeout(IDLE)
            .connect_timeout(CONNECT)
            .timeout(DEADLINE)
            .user_agent(concat!("narthex/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| OutboundError::Failed("the client".to_owned(), error))?;
        Ok(Self(client))
    }

    /// The document at `url`.
    ///
    /// # Errors
    /// Where there is none, by any answer but 200.
    pub async fn get(&self, url: &url::Url) -> Result<Vec<u8>, OutboundError> {
        let request =
            http::Request::get(url.as_str()).body(Vec::new()).map_err(|_| OutboundError::Malformed)?;
        let answer = self.send(request).await?;
        match answer.status() {
            http::StatusCode::OK => Ok(answer.into_body()),
            status => Err(OutboundError::Status(status)),
        }
    }

    /// What an API answers to whoever holds `token` (RFC 6750, section 2.1).
    ///
    /// # Errors
    /// Where nothing is answered. An answer that is no JSON is null.
    pub async fn ask(&self, url: &url::Url, token: &str) -> Result<Told, OutboundError> {
        let request = http::Request::get(url.as_str())
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::AUTHORIZATION, format!("Bearer {token}"));
        let answer = self.send(request.body(Vec::new()).map_err(|_| OutboundError::Malformed)?).await?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let link = header("link");
        // RFC 9110, section 10.2.3; GitHub says it with a 403.
        let limited = header("retry-after").is_some() || header("x-ratelimit-remaining") == Some("0");
        Ok(Told {
            status: answer.status(),
            next: link.and_then(next_page).and_then(|next| url.join(next).ok()),
            limited,
            json: serde_json::from_slice(answer.body()).unwrap_or_default(),
        })
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, OutboundError> {
        let place = format!("{}{}", request.uri().host().unwrap_or_default(), request.uri().path());
        let failed = |error: reqwest::Error| OutboundError::Failed(place.clone(), error.without_url());
        let request = request.try_into().map_err(failed)?;
        let mut answer = self.0.execute(request).await.map_err(failed)?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = std::mem::take(answer.headers_mut());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(OutboundError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        response.body(body).map_err(|_| OutboundError::Malformed)
    }
}

impl<'c> AsyncHttpClient<'c> for Outbound {
    type Error = OutboundError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, OutboundError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async { self.send(request).await.map(as_errors_are) })
    }
}

/// Where a list goes on (RFC 8288, section 3).
fn next_page(link: &str) -> Option<&str> {
    let next = link.split(',').find(|link| link.contains("rel=\"next\""))?;
    next.trim().strip_prefix('<')?.split_once('>').map(|(url, _)| url)
}

/// RFC 6749, section 5.2: an error is a 400 or 401 with an object whose `error` is a word. GitHub and Slack
/// tell it with a 200, Facebook as an object of its own.
fn as_errors_are(mut answer: HttpResponse) -> HttpResponse {
    let Ok(Value::Object(object)) = serde_json::from_slice(answer.body()) else { return answer };
    match object.get("error") {
        Some(Value::String(_)) if answer.status().is_success() => {}
        Some(Value::Object(error)) => {
            let told = json!({ "error": error.get("type"), "error_description": error.get("message") });
            *answer.body_mut() = told.to_string().into_bytes();
        }
        _ => return answer,
    }
    if answer.status().is_success() {
        *answer.status_mut() = http::StatusCode::BAD_REQUEST;
    }
    answer
}
