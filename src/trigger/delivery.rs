//! Delivery of events: tries, deadlines, limits.

use super::request;
use crate::base::{Clock, Duration};
use crate::config::Trigger;
use http::StatusCode;
use std::fmt;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// The deadline of a try: Cognito's.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time that a call waits for others.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Tries of a call: Cognito's.
const MAX_TRIES: u32 = 3;
/// The pause before the second try; it is twice as long before the third one.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Maximum size of an answer.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Why a call has no valid answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The function refused; its words.
    Denied(String),
    /// There was no answer in time.
    Timeout,
    /// Too many calls wait.
    Busy,
    /// The connection failed.
    Unreachable(String),
    /// The answer has this status.
    Status(StatusCode),
    /// The configuration has no such function.
    Undeclared,
    /// The answer is too large.
    TooLarge,
    /// The answer is no JSON object.
    NotJson,
    /// A member of the answer is missing, or of another type.
    Invalid(String),
}

impl Failure {
    /// Returns whether another try may help: there was no answer, or the server failed.
    fn may_pass(&self) -> bool {
        match self {
            Self::Timeout | Self::Unreachable(_) => true,
            Self::Status(status) => status.is_server_error(),
            _ => false,
        }
    }

    /// Returns the name in the metric and in the log.
    pub(super) fn result(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::Unreachable(_) | Self::Status(_) => "unavailable",
            Self::Undeclared => "undeclared",
            Self::TooLarge | Self::NotJson | Self::Invalid(_) => "invalid",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Its words may repeat a password of the event.
            Self::Denied(_) => f.write_str("the function refused"),
            Self::Timeout => write!(f, "no answer within {} s", TRY_TIMEOUT.as_secs()),
            Self::Busy => f.write_str("too many calls at the same time; help: increase `concurrency`"),
            Self::Unreachable(why) => write!(f, "no answer: {why}"),
            Self::Status(status) => write!(f, "the answer has the status {status}"),
            Self::Undeclared => f.write_str("no [[trigger]] has this name; help: declare it"),
            Self::TooLarge => write!(f, "the answer is larger than {MAX_ANSWER_BYTES} bytes"),
            Self::NotJson => f.write_str("the answer is no JSON object"),
            Self::Invalid(why) => write!(f, "the answer is not valid: {why}"),
        }
    }
}

/// The connections to a function, and the limit on concurrent calls.
pub(super) struct Endpoint {
    pub(super) settings: Trigger,
    client: reqwest::Client,
    permits: Semaphore,
}

impl Endpoint {
    /// Creates the endpoint of a function.
    pub(super) fn new(settings: &Trigger) -> Result<Self, Failure> {
        let failed = |error: reqwest::Error| Failure::Unreachable(format!("no HTTP client: {error}"));
        let mut builder = reqwest::Client::builder()
            // Another address would get the event, which may contain a password.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(TRY_TIMEOUT)
            .timeout(TRY_TIMEOUT)
            .user_agent(concat!("narthex/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &settings.ca {
            let roots = reqwest::Certificate::from_pem_bundle(ca.text.as_bytes()).map_err(failed)?;
            builder = builder.tls_certs_merge(roots);
        }
        let client = builder.build().map_err(failed)?;
        let permits = Semaphore::new(settings.concurrency);
        Ok(Self { settings: settings.clone(), client, permits })
    }

    /// Sends an event, and returns the answer. `id` is the same in all tries, so that the function
    /// can recognize a repetition.
    pub(super) async fn deliver(&self, id: &str, body: &[u8], clock: &dyn Clock) -> Result<Vec<u8>, Failure> {
        let permit = timeout(MAX_WAIT, self.permits.acquire()).await;
        let _permit = permit.map_err(|_| Failure::Busy)?.map_err(|_| Failure::Busy)?;
        let mut tries = 1;
        loop {
            let answer = timeout(TRY_TIMEOUT, self.attempt(id, body, clock)).await;
            match answer.unwrap_or(Err(Failure::Timeout)) {
                Err(failure) if failure.may_pass() && tries < MAX_TRIES => {
                    sleep(RETRY_PAUSE * tries).await;
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    async fn attempt(&self, id: &str, body: &[u8], clock: &dyn Clock) -> Result<Vec<u8>, Failure> {
        let request = request::write(&self.settings, id, body, clock.now())
            .ok_or_else(|| Failure::Unreachable("the request cannot be written".to_owned()))?;
        let request = reqwest::Request::try_from(request).map_err(failure)?;
        let mut response = self.client.execute(request).await.map_err(failure)?;
        let status = response.status();
        let refused = response.headers().contains_key(request::FUNCTION_ERROR);
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if answer.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Failure::TooLarge);
            }
            answer.extend_from_slice(&chunk);
        }
        request::judge(status, refused, answer)
    }
}

/// Returns the failure of a request without an answer.
fn failure(error: reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::Timeout;
    }
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    Failure::Unreachable(text)
}
