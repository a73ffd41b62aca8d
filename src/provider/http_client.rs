//! Calls to providers: a deadline, a bound on the answer, and no redirects of what carries a
//! secret.

use super::ProviderError;
use crate::base::Duration;
use crate::config::is_safe;
use crate::jose::unique_keys_object;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use serde_json::{Value, json};
use std::fmt;
use std::pin::Pin;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// A key set or a user's claims are some kilobytes; a megabyte is somebody's mistake or malice.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// How many redirects of a public document are followed.
const MAX_REDIRECTS: usize = 5;

/// Why a call did not come to an answer.
#[derive(Debug)]
pub enum OutboundError {
    /// The server, of which host and path are shown, could not be reached, or did not answer in
    /// time. A query may hold what is no log's to keep.
    Failed(String, reqwest::Error),
    /// The answer is larger than anything it could rightly be.
    TooLarge(usize),
    /// The answer is no HTTP message.
    Malformed,
    /// The answer is not what was asked for.
    Status(StatusCode),
    /// The answer has this status, and is not a JSON object; the media type that it claims.
    NotJson(StatusCode, String),
    /// The answer leads to this address, which is not followed, and why.
    Redirect(String, &'static str),
}

impl OutboundError {
    /// Returns the error of a request for `what`.
    pub fn of(&self, what: &str) -> ProviderError {
        let why = format!("{what}: {self}");
        match self {
            Self::Failed(..) => ProviderError::Unavailable(why),
            // The provider is overloaded or broken, and will answer again.
            Self::Status(status) | Self::NotJson(status, _) if is_outage(*status) => {
                ProviderError::Unavailable(why)
            }
            _ => ProviderError::Unreadable(why),
        }
    }
}

/// Whether a status says that the server cannot answer now.
pub fn is_outage(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
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
            Self::TooLarge(max_bytes) => write!(f, "the answer is larger than {max_bytes} bytes"),
            Self::Malformed => f.write_str("the answer is no HTTP message"),
            Self::Status(status) => write!(f, "it answered {status}"),
            Self::NotJson(status, media_type) => {
                write!(f, "it answered {status} with `{media_type}`, and not with a JSON object")
            }
            Self::Redirect(to, why) => write!(f, "it redirects to `{to}`: {why}"),
        }
    }
}

impl std::error::Error for OutboundError {}

/// What an API answered.
pub struct ApiResponse {
    /// The status.
    pub status: StatusCode,
    /// Where a list goes on.
    pub next: Option<url::Url>,
    /// Whether it only says that it was asked too often.
    pub limited: bool,
    /// The body, where it is JSON.
    pub json: Value,
    /// The body, where it has the form of a JWT (RFC 7519).
    pub jwt: Option<String>,
}

/// The HTTP client for calls to providers.
#[derive(Clone)]
pub struct ProviderHttpClient(reqwest::Client);

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        // A provider's endpoint that redirects could lead our client secret elsewhere.
        .redirect(reqwest::redirect::Policy::none())
        // A call on a connection that the provider is just closing is lost, and a code is used up
        // with it. Some close after five seconds.
        .pool_idle_timeout(IDLE_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .user_agent(concat!("narthex/", env!("CARGO_PKG_VERSION")))
}

impl ProviderHttpClient {
    /// Makes the client.
    ///
    /// # Errors
    /// Where the system's certificate roots cannot be read.
    pub fn new() -> Result<Self, OutboundError> {
        let client = builder().build();
        client.map(Self).map_err(|error| OutboundError::Failed("the client".to_owned(), error))
    }

    /// Returns a client that also trusts the certificate authorities in `ca`, a PEM text; this one,
    /// where there is none.
    pub fn trusting(&self, ca: Option<&str>) -> Self {
        let Some(ca) = ca else { return self.clone() };
        let client = reqwest::Certificate::from_pem_bundle(ca.as_bytes())
            .and_then(|certificates| builder().tls_certs_merge(certificates).build());
        match client {
            Ok(client) => Self(client),
            // Without them its certificate is not trusted: calls fail, and each failure is logged.
            Err(error) => {
                tracing::error!(%error, "the certificate authorities of `ca` cannot be used");
                self.clone()
            }
        }
    }

    /// The public document at `url`. Redirects are followed, since the request carries no secret: a
    /// few, to https addresses or from one address of this machine to another.
    ///
    /// # Errors
    /// Where there is none, by any answer but 200 in the end.
    pub async fn get(&self, url: &url::Url) -> Result<Vec<u8>, OutboundError> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let request =
                http::Request::get(url.as_str()).body(Vec::new()).map_err(|_| OutboundError::Malformed)?;
            let answer = self.send(request).await?;
            match answer.status() {
                StatusCode::OK => return Ok(answer.into_body()),
                status if status.is_redirection() => url = redirect_target(&url, &answer)?,
                status => return Err(OutboundError::Status(status)),
            }
        }
        Err(OutboundError::Redirect(url.to_string(), "these are too many redirects"))
    }

    /// Returns an API's response to a request with `token` (RFC 6750, section 2.1).
    ///
    /// # Errors
    /// Where nothing is answered. An answer that is no JSON is null.
    pub async fn get_api(&self, url: &url::Url, token: &str) -> Result<ApiResponse, OutboundError> {
        let request = http::Request::get(url.as_str())
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, format!("Bearer {token}"));
        let answer = self.send(request.body(Vec::new()).map_err(|_| OutboundError::Malformed)?).await?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let link = header("link");
        // RFC 9110, section 10.2.3; GitHub says it with a 403.
        let limited = header("retry-after").is_some() || header("x-ratelimit-remaining") == Some("0");
        let json: Option<Value> = serde_json::from_slice(answer.body()).ok();
        // Two readers could take different ones of two members with one name.
        let json = json.filter(|json| !json.is_object() || unique_keys_object(answer.body()).is_some());
        // Whatever media type it claims: a JWT is no JSON, and is verified.
        let text = || std::str::from_utf8(answer.body()).ok().map(str::trim);
        let jwt = text().filter(|text| json.is_none() && text.matches('.').count() == 2).map(str::to_owned);
        Ok(ApiResponse {
            jwt,
            status: answer.status(),
            next: link.and_then(next_page).and_then(|next| url.join(next).ok()),
            limited,
            json: json.unwrap_or_default(),
        })
    }

    /// Posts a form to a protected endpoint and returns the status and the body.
    ///
    /// # Errors
    /// Where nothing is answered, or more than `max_bytes`.
    pub async fn post(
        &self,
        url: &url::Url,
        form: String,
        authorization: Option<&str>,
        max_bytes: usize,
    ) -> Result<(StatusCode, Vec<u8>), OutboundError> {
        let mut request = http::Request::post(url.as_str())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(form.into_bytes()).map_err(|_| OutboundError::Malformed)?;
        let response = self.send_limited(request, max_bytes).await?;
        Ok((response.status(), response.into_body()))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, OutboundError> {
        self.send_limited(request, MAX_RESPONSE_BYTES).await
    }

    async fn send_limited(
        &self,
        request: HttpRequest,
        max_bytes: usize,
    ) -> Result<HttpResponse, OutboundError> {
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
            if body.len() + chunk.len() > max_bytes {
                return Err(OutboundError::TooLarge(max_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        response.body(body).map_err(|_| OutboundError::Malformed)
    }
}

impl<'c> AsyncHttpClient<'c> for ProviderHttpClient {
    type Error = OutboundError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, OutboundError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async { self.send(request).await.and_then(normalize_error) })
    }
}

/// Where a list goes on (RFC 8288, section 3).
fn next_page(link: &str) -> Option<&str> {
    let next = link.split(',').find(|link| link.contains("rel=\"next\""))?;
    next.trim().strip_prefix('<')?.split_once('>').map(|(url, _)| url)
}

/// The media type of an answer, without parameters.
fn media_type(headers: &http::HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next().map(str::trim)
}

/// Where a redirect leads, if it may be followed.
fn redirect_target(from: &url::Url, answer: &HttpResponse) -> Result<url::Url, OutboundError> {
    let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let target = location.and_then(|location| from.join(location).ok());
    let target = target.ok_or(OutboundError::Status(answer.status()))?;
    match may_lead_to(from, &target) {
        true => Ok(target),
        false => Err(OutboundError::Redirect(target.to_string(), "that is not an https address")),
    }
}

/// Whether what the server at `from` answers may name `target` for a further request. Plain http
/// would expose what logins are judged by, and an outside server must not choose an address of this
/// machine.
pub fn may_lead_to(from: &url::Url, target: &url::Url) -> bool {
    target.scheme() == "https" || (from.scheme() == "http" && is_safe(target))
}

/// The members of a form as a JSON object: servers from before RFC 6749 answer so.
fn form_as_json(answer: &HttpResponse) -> Option<Vec<u8>> {
    media_type(answer.headers()).filter(|media_type| *media_type == "application/x-www-form-urlencoded")?;
    let members = url::form_urlencoded::parse(answer.body());
    let object: serde_json::Map<_, _> =
        members.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
    Some(Value::Object(object).to_string().into_bytes())
}

/// RFC 6749, section 5.2: an error is a 400 or 401 with an object whose `error` is a word. GitHub
/// and Slack send errors with a 200, Facebook as an object of its own. An object is taken for JSON
/// whatever media type it claims.
///
/// # Errors
/// The status of an answer that is not a JSON object.
fn normalize_error(mut answer: HttpResponse) -> Result<HttpResponse, OutboundError> {
    if let Some(object) = form_as_json(&answer) {
        *answer.body_mut() = object;
    }
    let Ok(Value::Object(object)) = serde_json::from_slice(answer.body()) else {
        let media_type = media_type(answer.headers()).unwrap_or_default().chars().take(100).collect();
        return Err(OutboundError::NotJson(answer.status(), media_type));
    };
    let is_success = answer.status().is_success();
    let is_error = match object.get("error") {
        Some(Value::String(_)) => true,
        Some(Value::Object(error)) => {
            let body = json!({ "error": error.get("type"), "error_description": error.get("message") });
            *answer.body_mut() = body.to_string().into_bytes();
            true
        }
        _ => false,
    };
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match (is_success, is_error) {
        (true, true) => *answer.status_mut() = StatusCode::BAD_REQUEST,
        (true, false) => *answer.status_mut() = StatusCode::OK,
        (false, true) => {}
        (false, false) => return Err(OutboundError::Status(answer.status())),
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, media_type: &str, body: &str) -> HttpResponse {
        let answer = http::Response::builder().status(status).header(CONTENT_TYPE, media_type);
        answer.body(body.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn an_answer_is_judged_by_its_body_and_told_by_its_status() {
        let status = |status, body| match normalize_error(answer(status, "text/plain", body)) {
            Ok(answer) => answer.status().as_u16().to_string(),
            Err(error) => error.to_string(),
        };
        for (given, body, outcome) in [
            (200, r#"{"access_token": "a"}"#, "200"),
            (201, r#"{"access_token": "a"}"#, "200"),
            (200, r#"{"error": "bad_verification_code"}"#, "400"),
            (400, r#"{"error": {"type": "OAuthException", "message": "x"}}"#, "400"),
            (401, r#"{"error": "invalid_client"}"#, "401"),
            (404, r#"{"message": "no"}"#, "it answered 404 Not Found"),
            (200, "<html>", "it answered 200 OK with `text/plain`, and not with a JSON object"),
            (
                200,
                "access_token=a&token_type=bearer",
                "it answered 200 OK with `text/plain`, and not with a JSON object",
            ),
            (302, "", "it answered 302 Found with `text/plain`, and not with a JSON object"),
        ] {
            assert_eq!(status(given, body), outcome, "{body}");
        }
        let form =
            answer(200, "application/x-www-form-urlencoded; charset=utf-8", "access_token=a&expires=5183");
        let read = normalize_error(form).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(read.body()).unwrap(),
            json!({"access_token": "a", "expires": "5183"})
        );
        let error = answer(200, "application/x-www-form-urlencoded", "error=bad_verification_code");
        assert_eq!(normalize_error(error).unwrap().status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn a_redirect_stays_as_safe_as_what_it_comes_from() {
        let target = |from: &str, to: &str| {
            let mut answer = answer(301, "text/html", "");
            answer.headers_mut().insert(LOCATION, to.parse().unwrap());
            redirect_target(&from.parse().unwrap(), &answer).ok().map(|url| url.to_string())
        };
        let (safe, local) = ("https://idp.example/a", "http://127.0.0.1:8080/a");
        assert_eq!(target(safe, "/b").as_deref(), Some("https://idp.example/b"));
        assert_eq!(target(safe, "https://other.example/b").as_deref(), Some("https://other.example/b"));
        assert_eq!(target(local, "http://localhost/b").as_deref(), Some("http://localhost/b"));
        assert_eq!(target(local, "https://idp.example/b").as_deref(), Some("https://idp.example/b"));
        for to in [
            "http://idp.example/b",
            "http://127.0.0.1/b",
            "http://localhost:9/b",
            "file:///etc/passwd",
            "ftp://x/y",
        ] {
            assert_eq!(target(safe, to), None, "{to}");
        }
        assert_eq!(target(local, "http://idp.example/b"), None);
    }
}
