//! Asks an issuer about opaque tokens (RFC 7662), and caches what it answers for a short time.

use super::ProviderHttpClient;
use super::call_shares::CallShares;
use crate::base::{Clock, Duration, MonotonicTime, sha256};
use crate::config::{ClientAuth, Introspection, TrustedIssuer};
use crate::jose::unique_keys_object;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use moka::future::Cache;
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::error::Elapsed;
use url::form_urlencoded;

/// The memory for cached answers, in bytes.
const CAPACITY_BYTES: u64 = 64 << 20;
/// The largest accepted answer: claims of an access token are some kilobytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// The memory of a cached answer without its claims, in bytes.
const FIXED_OVERHEAD: usize = 512;
/// The memory of claims, as a multiple of the length of their JSON text.
const CLAIMS_OVERHEAD: usize = 4;
/// How long a cached answer is kept that no request uses.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// How many tokens are known to have been active.
const MAX_ACTIVE_TOKENS: u64 = 100_000;
/// How long it is remembered that a token is not active.
const NEGATIVE_CACHE: Duration = Duration::from_secs(10);
/// How long the endpoint is not asked about a token after it did not answer.
const FAILURE_CACHE: Duration = Duration::from_secs(2);
/// How long an answer is waited for.
const DEADLINE: Duration = Duration::from_secs(4);
/// How long a token waits for its call before that.
const WAIT_LIMIT: Duration = Duration::from_secs(2);

/// Why nothing is known of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntrospectionError {
    /// The issuer says that the token is not active.
    Inactive,
    /// The issuer did not answer, or not in a way that can be read.
    Unavailable(String),
    /// Too many tokens wait for an answer. This is known of the moment, and not of the token.
    Overloaded,
}

/// The introspection endpoint of an issuer.
pub struct Introspector {
    issuer: String,
    settings: Introspection,
    outbound: ProviderHttpClient,
    clock: Arc<dyn Clock>,
    /// By the SHA-256 of the token.
    answers: Cache<[u8; 32], Answer>,
    /// Tokens that were active at their last answer, by their SHA-256. Made-up tokens must not
    /// delay them.
    active: Cache<[u8; 32], ()>,
    shares: CallShares,
}

#[derive(Clone)]
struct Answer {
    until: MonotonicTime,
    claims: Result<Arc<Map<String, Value>>, IntrospectionError>,
    /// The memory that it takes, about, in bytes.
    weight: u32,
}

impl Introspector {
    /// Returns the introspection endpoint of `issuer`, if it has one.
    pub fn new(issuer: &TrustedIssuer, outbound: ProviderHttpClient, clock: Arc<dyn Clock>) -> Option<Self> {
        Some(Self {
            issuer: issuer.name.clone(),
            settings: issuer.introspection.clone()?,
            outbound,
            clock,
            answers: Cache::builder()
                .max_capacity(CAPACITY_BYTES)
                .weigher(|_, answer: &Answer| answer.weight)
                .time_to_idle(IDLE_TIMEOUT)
                .build(),
            active: Cache::builder().max_capacity(MAX_ACTIVE_TOKENS).time_to_idle(IDLE_TIMEOUT).build(),
            shares: CallShares::new(),
        })
    }

    /// What the issuer says of `token`, which came from `network`, and for how long that may be
    /// used. Requests that need the same answer at once wait for one call.
    ///
    /// # Errors
    /// Where the token is not active, the issuer does not answer, or too many tokens wait.
    pub async fn claims(
        &self,
        token: &str,
        network: Option<IpAddr>,
    ) -> Result<(Arc<Map<String, Value>>, Duration), IntrospectionError> {
        let (now, digest) = (self.clock.monotonic(), sha256(token));
        let entry = self.answers.entry(digest);
        let ask = self.ask(token, digest, network);
        let answer = entry.or_insert_with_if(ask, |known| now >= known.until).await.into_value();
        answer.claims.map(|claims| (claims, answer.until.since(self.clock.monotonic())))
    }

    async fn ask(&self, token: &str, digest: [u8; 32], network: Option<IpAddr>) -> Answer {
        let was_active = self.active.get(&digest).await.is_some();
        let response = tokio::time::timeout(WAIT_LIMIT, self.shares.acquire(network, was_active)).await;
        let response = match response {
            Ok(Some(_permit)) => Some(tokio::time::timeout(DEADLINE, self.request(token)).await),
            Ok(None) | Err(_) => None,
        };
        let (claims, length) = match response.map(|response| response.unwrap_or_else(late)) {
            // RFC 7662, section 2.2: "active" is a "Boolean indicator".
            Some(Ok((claims, length))) if claims.get("active") == Some(&Value::Bool(true)) => {
                self.active.insert(digest, ()).await;
                (Ok(Arc::new(claims)), length)
            }
            Some(Ok(_)) => {
                self.active.invalidate(&digest).await;
                (Err(IntrospectionError::Inactive), 0)
            }
            Some(Err(why)) => {
                tracing::warn!(issuer = self.issuer, why, "the introspection endpoint cannot be used");
                let length = why.len();
                (Err(IntrospectionError::Unavailable(why)), length)
            }
            None => (Err(IntrospectionError::Overloaded), 0),
        };
        let lifetime = match &claims {
            Ok(_) => self.settings.cache,
            Err(IntrospectionError::Inactive) => NEGATIVE_CACHE.min(self.settings.cache),
            Err(IntrospectionError::Unavailable(_)) => FAILURE_CACHE,
            Err(IntrospectionError::Overloaded) => Duration::ZERO,
        };
        let weight = u32::try_from(FIXED_OVERHEAD + CLAIMS_OVERHEAD * length).unwrap_or(u32::MAX);
        Answer { until: self.clock.monotonic().plus(lifetime), claims, weight }
    }

    /// Section 2.1: a POST request with the token, by a client that authenticates.
    /// Returns the claims, and the length of their text.
    async fn request(&self, token: &str) -> Result<(Map<String, Value>, usize), String> {
        let (form, authorization) = self.form(token);
        let endpoint = &self.settings.endpoint;
        let response = self.outbound.post(endpoint, form, authorization.as_deref(), MAX_ANSWER_BYTES).await;
        let (status, body) = response.map_err(|error| error.to_string())?;
        match unique_keys_object(&body) {
            Some(claims) if status == http::StatusCode::OK => Ok((claims, body.len())),
            _ if status == http::StatusCode::UNAUTHORIZED || status == http::StatusCode::FORBIDDEN => {
                Err(format!(
                    "it answered {status}; help: check `client_id`, `client_secret` and `token_endpoint_auth_method` of the \
                 [[issuer]]"
                ))
            }
            _ => Err(format!(
                "it answered {status}, and not with 200 and a JSON object whose names are unique"
            )),
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

fn late<T>(_: Elapsed) -> Result<T, String> {
    Err(format!("it did not answer within {} s", DEADLINE.as_secs()))
}
