//! Asks an issuer about opaque tokens (RFC 7662), and caches what it answers for a short time.

use super::ProviderHttpClient;
use crate::base::{Clock, Duration, MonotonicTime, sha256};
use crate::config::{ClientAuth, Introspection, TrustedIssuer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use moka::future::Cache;
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::Semaphore;
use url::form_urlencoded;

/// How many answers are cached.
const CAPACITY: u64 = 100_000;
/// How long it is remembered that a token is not active.
const NEGATIVE_CACHE: Duration = Duration::from_secs(10);
/// How long the endpoint is not asked about a token after it did not answer.
const FAILURE_CACHE: Duration = Duration::from_secs(2);
/// How long an answer is waited for, with the wait for a turn.
const DEADLINE: Duration = Duration::from_secs(5);
/// How many requests to the endpoint are under way at most: anybody can make up tokens.
const MAX_CONCURRENT: usize = 32;

/// Why nothing is known of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntrospectionError {
    /// The issuer says that the token is not active.
    Inactive,
    /// The issuer did not answer, or not in a way that can be read.
    Unavailable(String),
}

/// The introspection endpoint of an issuer.
pub struct Introspector {
    issuer: String,
    settings: Introspection,
    outbound: ProviderHttpClient,
    clock: Arc<dyn Clock>,
    /// By the SHA-256 of the token.
    answers: Cache<[u8; 32], Answer>,
    permits: Semaphore,
}

#[derive(Clone)]
struct Answer {
    until: MonotonicTime,
    claims: Result<Arc<Map<String, Value>>, IntrospectionError>,
}

impl Introspector {
    /// Returns the introspection endpoint of `issuer`, if it has one.
    pub fn new(issuer: &TrustedIssuer, outbound: ProviderHttpClient, clock: Arc<dyn Clock>) -> Option<Self> {
        Some(Self {
            issuer: issuer.name.clone(),
            settings: issuer.introspection.clone()?,
            outbound,
            clock,
            answers: Cache::new(CAPACITY),
            permits: Semaphore::new(MAX_CONCURRENT),
        })
    }

    /// What the issuer says of `token`, and for how long that may be used. Requests that need the same answer at once wait for one call.
    ///
    /// # Errors
    /// Where the token is not active, or the issuer does not answer.
    pub async fn claims(
        &self,
        token: &str,
    ) -> Result<(Arc<Map<String, Value>>, Duration), IntrospectionError> {
        let now = self.clock.monotonic();
        let entry = self.answers.entry(sha256(token));
        let answer = entry.or_insert_with_if(self.ask(token), |known| now >= known.until).await.into_value();
        answer.claims.map(|claims| (claims, answer.until.since(self.clock.monotonic())))
    }

    async fn ask(&self, token: &str) -> Answer {
        let asked = tokio::time::timeout(DEADLINE, async {
            let _permit = self.permits.acquire().await.map_err(|error| error.to_string())?;
            self.request(token).await
        });
        let late = |_| Err(format!("it did not answer within {} s", DEADLINE.as_secs()));
        let claims = match asked.await.unwrap_or_else(late) {
            // RFC 7662, section 2.2: "active" is a "Boolean indicator".
            Ok(claims) if claims.get("active") == Some(&Value::Bool(true)) => Ok(Arc::new(claims)),
            Ok(_) => Err(IntrospectionError::Inactive),
            Err(why) => {
                tracing::warn!(issuer = self.issuer, why, "the introspection endpoint cannot be used");
                Err(IntrospectionError::Unavailable(why))
            }
        };
        let lifetime = match &claims {
            Ok(_) => self.settings.cache,
            Err(IntrospectionError::Inactive) => NEGATIVE_CACHE.min(self.settings.cache),
            Err(IntrospectionError::Unavailable(_)) => FAILURE_CACHE,
        };
        Answer { until: self.clock.monotonic().plus(lifetime), claims }
    }

    /// Section 2.1: a POST request with the token, by a client that authenticates.
    async fn request(&self, token: &str) -> Result<Map<String, Value>, String> {
        let (form, authorization) = self.form(token);
        let answer = self.outbound.post(&self.settings.endpoint, form, authorization.as_deref()).await;
        let (status, json) = answer.map_err(|error| error.to_string())?;
        match json {
            Value::Object(claims) if status == http::StatusCode::OK => Ok(claims),
            _ if status == http::StatusCode::UNAUTHORIZED || status == http::StatusCode::FORBIDDEN => {
                Err(format!(
                    "it answered {status}; help: check `client_id`, `client_secret` and `token_endpoint_auth_method` of the \
                 [[issuer]]"
                ))
            }
            _ => Err(format!("it answered {status}, and not with a JSON object and 200")),
        }
    }

    /// The form of a request for `token`, and its Authorization header where it has one.
    fn form(&self, token: &str) -> (String, Option<String>) {
        let Introspection { client_id, client_secret, auth, .. } = &self.settings;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token).append_pair("token_type_hint", "access_token");
        let mut authorization = None;
        match (client_id, client_secret) {
            // RFC 6749, section 2.3.1: both are form-encoded first.
            (Some(id), Some(secret)) if *auth == ClientAuth::Basic => {
                let encoded =
                    |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let credentials = format!("{}:{}", encoded(id), encoded(secret.expose()));
                authorization = Some(format!("Basic {}", STANDARD.encode(credentials)));
            }
            (id, secret) => {
                if let Some(id) = id {
                    form.append_pair("client_id", id);
                }
                if let Some(secret) = secret {
                    form.append_pair("client_secret", secret.expose());
                }
            }
        }
        (form.finish(), authorization)
    }
}
