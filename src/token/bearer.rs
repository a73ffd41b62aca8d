//! Verification of access tokens from the user pool and from other issuers (RFC 6750, RFC 9068, RFC
//! 8725).

use super::dpop::{ProofError, bound_key};
use super::kind;
use super::spiffe::is_in_trust_domain;
use crate::base::{Duration, Timestamp, is_deceptive};
use crate::config::{KeySource, TrustedIssuer};
use crate::jose::{Algorithm, JwkSet, Malformed, NumericDate, Unverified};
use serde_json::{Map, Value};
use std::fmt;

/// Maximum tolerated difference between clocks.
pub const SKEW: Duration = Duration::from_secs(60);

/// A verified access token. Conditions of a route are not checked yet.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The subject, as in `sub`.
    pub subject: String,
    /// When the token expires.
    pub expires_at: Timestamp,
    /// The granted scopes.
    pub scopes: Vec<String>,
    /// The thumbprint of the key to which the token is bound; `None` for a bearer token.
    pub key: Option<String>,
    /// All claims.
    pub claims: Map<String, Value>,
}

impl AccessToken {
    /// Returns the value of a claim that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }
}

/// The reason why a token is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The token is malformed.
    Malformed(Malformed),
    /// No trusted issuer has issued the token.
    Issuer,
    /// The token is signed with an algorithm that the configuration does not allow.
    Algorithm(Algorithm),
    /// The issuer's key set does not contain the key.
    UnknownKey,
    /// The issuer's keys are not available.
    NoKeys,
    /// The signature does not verify with the issuer's key.
    Signature,
    /// The token is not an access token.
    Type,
    /// The token is bound to a key, and a bearer token proves no possession of a key.
    Bound,
    /// The proof of the key is rejected.
    Proof(ProofError),
    /// The token is for another audience.
    Audience,
    /// The token has expired, or has no `exp`.
    Expired,
    /// The value of this claim is in the future, by this duration.
    NotYet(&'static str, Duration),
    /// The value of this claim is not a time.
    NoTime(&'static str),
    /// The token has no valid subject.
    Subject,
    /// This claim is missing, or has another value than the configuration requires.
    Claim(String),
    /// The values of this claim cannot be compared.
    Unreadable(&'static str),
    /// This required scope is missing.
    Scope(String),
    /// The issuer reports that the token is not active.
    Inactive,
    /// The issuer does not report whether the token is active, for this reason.
    IntrospectionUnavailable(String),
    /// The token was revoked.
    Revoked,
    /// Revocation cannot be checked: the last contact with the store is too long ago.
    RevocationUnknown,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "it is no token: {why}"),
            Self::Issuer => f.write_str("no [[issuer]] of the file has issued it"),
            Self::Algorithm(algorithm) => write!(f, "its issuer may not sign with {}", algorithm.name()),
            Self::UnknownKey => f.write_str("its issuer has no such key"),
            Self::NoKeys => f.write_str("its issuer's keys are not to be had"),
            Self::Signature => f.write_str("the signature is not its issuer's"),
            Self::Type => f.write_str(
                "it is no access token; help: set token_type = \"any\" on the [[issuer]] if its tokens do not say that they are",
            ),
            Self::Bound => f.write_str(
                "it is bound to a key (`cnf`), and came without a proof; help: send it with the scheme DPoP and a proof, or \
                 have its issuer make bearer tokens",
            ),
            Self::Proof(error) => error.fmt(f),
            Self::Audience => f.write_str("it is for somebody else"),
            Self::Expired => f.write_str("it has ended, or does not say when it does"),
            Self::NotYet("iat", ahead) => write!(
                f,
                "it was issued {} s in the future, and {} s are allowed; help: synchronize the clocks of this machine and \
                 the issuer",
                ahead.as_secs(),
                SKEW.as_secs()
            ),
            Self::NotYet(name, ahead) => {
                write!(f, "it is not valid yet: `{name}` is {} s in the future", ahead.as_secs())
            }
            Self::NoTime(name) => write!(f, "its claim `{name}` is not a time"),
            Self::Subject => f.write_str("it speaks for nobody"),
            Self::Claim(name) => write!(f, "its claim `{name}` is not what the file asks for"),
            Self::Unreadable(name) => write!(
                f,
                "its claim `{name}` cannot be compared: a value is an object or a list, too long, or has control characters, or they are too many"
            ),
            Self::Scope(scope) => write!(f, "it lacks the scope `{scope}`"),
            Self::Inactive => f.write_str("its issuer says that it is not active"),
            Self::IntrospectionUnavailable(why) => write!(f, "its issuer does not answer whether it is active: {why}"),
            Self::Revoked => f.write_str("it was revoked"),
            Self::RevocationUnknown => f.write_str("whether it was revoked is not known: the store is silent"),
        }
    }
}

/// Verifies `token` as an access token of `issuer`. The caller must check the proof of its key.
///
/// # Errors
/// Returns the reason why the token is rejected.
pub fn verify(
    token: Unverified<'_>,
    issuer: &TrustedIssuer,
    keys: &JwkSet,
    now: Timestamp,
) -> Result<AccessToken, TokenError> {
    authentic(&token, issuer, keys)?;
    let Unverified { jws, claims } = token;
    kind::check_jwt(jws.typ.as_deref(), &claims, issuer.token_type)?;
    // RFC 7519, section 4.1.4.
    let expires_at = NumericDate::of(&claims, "exp").ok_or(TokenError::Expired)?;
    check_claims(claims, expires_at, issuer, ByClient::CognitoOnly, now)
}

/// Verifies the introspection response of `issuer` about an opaque token (RFC 7662, section 2.2).
/// The response is used until `until`.
///
/// # Errors
/// Returns the reason why the token is rejected.
pub fn verify_introspected(
    mut claims: Map<String, Value>,
    issuer: &TrustedIssuer,
    until: Timestamp,
    now: Timestamp,
) -> Result<AccessToken, TokenError> {
    claims.remove("active");
    if claims.get("iss").is_some_and(|iss| iss.as_str() != Some(issuer.url.as_str())) {
        return Err(TokenError::Issuer);
    }
    // A refresh token is reported as active too.
    kind::check_introspected(&claims)?;
    let expires_at = match claims.get("exp") {
        Some(exp) => NumericDate::read(exp).ok_or(TokenError::Expired)?,
        None => until,
    };
    let token = check_claims(claims, expires_at, issuer, ByClient::WithoutAudience, now)?;
    Ok(AccessToken { expires_at: token.expires_at.min(until), ..token })
}

/// The tokens without an audience whose `client_id` is compared with the accepted audiences.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ByClient {
    /// Cognito's access tokens: they have no `aud`, and contain the client's id.
    CognitoOnly,
    /// All tokens. Both `aud` and `client_id` are optional in an introspection response (RFC 7662,
    /// section 2.2), which no other party can send.
    WithoutAudience,
}

/// Checks the audience and the times of a token, and the conditions of the configuration.
fn check_claims(
    claims: Map<String, Value>,
    expires_at: Timestamp,
    issuer: &TrustedIssuer,
    by_client: ByClient,
    now: Timestamp,
) -> Result<AccessToken, TokenError> {
    let key = bound_key(&claims)?.map(str::to_owned);
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    // RFC 7519, section 4.1.3: "Each principal intended to process the JWT MUST identify itself
    // with a value in the audience claim."
    // A token of a pool of this deployment with an origin was issued to a client of the pool, and
    // ends with the client.
    let ends_with_client = has_origin(issuer, &claims);
    let ours = |audience: &str| ends_with_client || issuer.audiences.iter().any(|known| known == audience);
    let is_empty = |aud: &&Value| aud.as_array().is_some_and(Vec::is_empty);
    let for_us = match claims.get("aud").filter(|aud| by_client == ByClient::CognitoOnly || !is_empty(aud)) {
        Some(Value::String(audience)) => ours(audience),
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).any(ours),
        None => {
            let may = text("token_use") == Some("access") || by_client == ByClient::WithoutAudience;
            may && text("client_id").is_some_and(ours)
        }
        Some(_) => false,
    };
    if !for_us {
        return Err(TokenError::Audience);
    }
    if now >= expires_at.plus(SKEW) {
        return Err(TokenError::Expired);
    }
    // Section 4.1.5.
    for name in ["nbf", "iat"] {
        let Some(value) = claims.get(name) else { continue };
        let at = NumericDate::read(value).ok_or(TokenError::NoTime(name))?;
        if now.plus(SKEW) < at {
            return Err(TokenError::NotYet(name, at.since(now)));
        }
    }
    let subject = subject(&claims)?.to_owned();
    if let Some((name, _)) = issuer.claims.iter().find(|(name, value)| !has(claims.get(*name), value)) {
        return Err(TokenError::Claim(name.clone()));
    }
    let scopes = scopes(&claims);
    if let Some(lacking) = issuer.scopes.iter().find(|scope| !scopes.contains(scope)) {
        return Err(TokenError::Scope(lacking.clone()));
    }
    Ok(AccessToken { subject, expires_at, scopes, key, claims })
}

/// Returns whether claims are of a token of a user of a pool of this deployment.
pub fn is_user_token(issuer: &TrustedIssuer, claims: &Map<String, Value>) -> bool {
    has_origin(issuer, claims) && claims.contains_key("username")
}

/// Returns whether claims are of a token of a pool of this deployment that ends with something: a
/// user's with the sign-in, a program's with the app client that was made through the API.
fn has_origin(issuer: &TrustedIssuer, claims: &Map<String, Value>) -> bool {
    matches!(issuer.keys, KeySource::Own(_)) && claims.contains_key("origin_jti")
}

/// Returns the subject of a token.
///
/// # Errors
/// Returns an error if there is none, or the subject could be confused with another one.
pub fn subject(claims: &Map<String, Value>) -> Result<&str, TokenError> {
    // OpenID Connect Core 1.0, section 2: it "MUST NOT exceed 255 ASCII characters in length". Some
    // apps trim white space around a name, and would confuse two people.
    let is_bare = |subject: &str| subject.trim().len() == subject.len() && !subject.chars().any(is_deceptive);
    let plain = |subject: &&str| (1..=255).contains(&subject.len()) && is_bare(subject);
    claims.get("sub").and_then(Value::as_str).filter(plain).ok_or(TokenError::Subject)
}

/// Returns whether the claims name `issuer`. A JWT-SVID contains its trust domain in `sub`, and may
/// lack `iss` (JWT-SVID, sections 3.1 and 7). The keys of a trust domain sign for subjects in that
/// domain only.
pub fn names(claims: &Map<String, Value>, issuer: &TrustedIssuer) -> bool {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let is_trust_domain = issuer.is_trust_domain();
    let names_issuer = match claims.get("iss") {
        Some(iss) => iss.as_str() == Some(issuer.url.as_str()),
        None => is_trust_domain,
    };
    names_issuer && (!is_trust_domain || text("sub").is_some_and(|id| is_in_trust_domain(id, &issuer.url)))
}

/// Checks that `issuer` has signed `token`. Does not check its claims apart from the issuer.
pub(super) fn authentic(
    token: &Unverified<'_>,
    issuer: &TrustedIssuer,
    keys: &JwkSet,
) -> Result<(), TokenError> {
    if !names(&token.claims, issuer) {
        return Err(TokenError::Issuer);
    }
    let jws = &token.jws;
    if !issuer.algorithms.iter().any(|name| name == jws.algorithm.name()) {
        return Err(TokenError::Algorithm(jws.algorithm));
    }
    let kid = jws.kid.as_deref();
    match keys.verify(kid, jws.algorithm, jws.message, &jws.signature) {
        true => Ok(()),
        false if keys.contains_kid(kid) => Err(TokenError::Signature),
        false => Err(TokenError::UnknownKey),
    }
}

fn has(value: Option<&Value>, wanted: &str) -> bool {
    match value {
        Some(Value::String(text)) => text == wanted,
        Some(Value::Array(all)) => all.iter().any(|value| value.as_str() == Some(wanted)),
        Some(Value::Bool(truth)) => wanted == if *truth { "true" } else { "false" },
        Some(Value::Number(number)) => {
            wanted.parse().is_ok_and(|wanted: serde_json::Number| wanted == *number)
        }
        _ => false,
    }
}

/// Returns the scopes: `scope`, separated by spaces (RFC 9068, section 2.2.3). Some issuers use
/// `scp` or a list.
pub fn scopes(claims: &Map<String, Value>) -> Vec<String> {
    let scope_claim = claims.get("scope").or_else(|| claims.get("scp"));
    match scope_claim {
        Some(Value::String(text)) => {
            text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
        }
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
