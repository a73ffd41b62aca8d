//! The judge of logout messages (SAML profiles, section 4.4): a provider's request to end sessions,
//! and its answer to ours. Both come by the browser, so that a signature alone says whose they are.

use super::metadata::Provider;
use super::subject::{NameId, NameIdError};
use super::verification::SignatureMethod;
use super::xml::{self, SAML, SAMLP};
use super::{base64, decode, instant, signature};
use crate::base::{Duration, Timestamp};
use crate::provider::claims::SKEW;
use crate::provider::{LogoutToken, ProviderError};
use flate2::read::DeflateDecoder;
use roxmltree::Node;
use std::io::Read as _;
use std::sync::Arc;

/// Maximum age of a request without an end of its own.
const MAX_REQUEST_AGE: Duration = Duration::from_secs(300);
/// What a message may swell to: the address that it came in was far shorter.
const MAX_INFLATED_BYTES: u64 = 64 * 1024;

/// How a message came.
#[derive(Clone, Debug)]
pub enum LogoutBinding {
    /// By HTTP-Redirect: the raw query.
    Query(Arc<str>),
    /// By HTTP-POST: the raw form.
    Form(Arc<str>),
}

impl LogoutBinding {
    /// Whether it claims to answer, rather than to ask.
    pub fn is_response(&self) -> bool {
        let (Self::Query(text) | Self::Form(text)) = self;
        let named = |name: &str| text.split('&').any(|pair| pair.starts_with(name));
        named("SAMLResponse=") && !named("SAMLRequest=")
    }
}

/// A provider's logout message.
#[derive(Debug)]
pub enum LogoutMessage {
    /// Sessions are to end, and an answer is expected.
    Request {
        /// Whose.
        token: LogoutToken,
        /// The request's id.
        id: String,
        /// What comes back with the answer.
        relay_state: String,
    },
    /// The sessions that we spoke of have ended there, or could not be ended.
    Response {
        /// What we sent along.
        relay_state: String,
        /// Whether all ended.
        success: bool,
    },
}

fn invalid(check: &'static str, detail: impl std::fmt::Display) -> ProviderError {
    ProviderError::invalid(check, detail)
}

/// Judges what came to our logout address `here`.
///
/// # Errors
/// The failed check.
pub fn validate(
    arrived: &LogoutBinding,
    provider: &Provider,
    here: &str,
    now: Timestamp,
) -> Result<LogoutMessage, ProviderError> {
    let (LogoutBinding::Query(query) | LogoutBinding::Form(query)) = arrived;
    let query = Parameters::read(query)?;
    let relay_state = query.decoded("RelayState").unwrap_or_default();
    let text = match arrived {
        LogoutBinding::Query(_) => {
            check_query(&query, provider)?;
            inflated(&query.message()?)?
        }
        LogoutBinding::Form(_) => decode(&query.message()?)?,
    };
    let document = xml::parse(&text)?;
    match arrived {
        LogoutBinding::Query(_) => {
            validate_message(document.root_element(), provider, here, now, relay_state)
        }
        LogoutBinding::Form(_) => {
            let signed = signature::verified(&document, &provider.keys)?;
            validate_message(xml::parse(&signed)?.root_element(), provider, here, now, relay_state)
        }
    }
}

fn validate_message(
    root: Node<'_, '_>,
    provider: &Provider,
    here: &str,
    now: Timestamp,
    relay_state: String,
) -> Result<LogoutMessage, ProviderError> {
    if root.attribute("Version") != Some("2.0") {
        return Err(invalid("version", "the message is not of SAML 2.0"));
    }
    let issuer = xml::text(xml::one(root, SAML, "Issuer").map_err(|error| invalid("issuer", error))?)?;
    if xml::trim(issuer) != provider.entity_id {
        return Err(invalid("issuer", format!("it is of `{issuer}`")));
    }
    // SAML bindings, sections 3.4.5.2 and 3.5.5.2: a signed message names where it goes.
    if root.attribute("Destination") != Some(here) {
        let destination = root.attribute("Destination").unwrap_or_default();
        return Err(invalid("destination", format!("it is sent to `{destination}`")));
    }
    let issued =
        instant(root.attribute("IssueInstant")).ok_or_else(|| invalid("issue_instant", "it is no time"))?;
    if issued > now.plus(SKEW) {
        return Err(invalid("issue_instant", "it lies in the future: is the provider's clock ahead?"));
    }
    if xml::is(root, SAMLP, "LogoutResponse") {
        let status = xml::one(root, SAMLP, "Status").and_then(|status| xml::one(status, SAMLP, "StatusCode"));
        let value = status.map_err(|error| invalid("status", error))?.attribute("Value").unwrap_or_default();
        return Ok(LogoutMessage::Response { relay_state, success: value.ends_with(":status:Success") });
    }
    if !xml::is(root, SAMLP, "LogoutRequest") {
        return Err(invalid("shape", "it is no logout message"));
    }
    // SAML core, section 3.7.1: "The time at which the request expires, after which the recipient
    // may discard the message."
    let end = match root.attribute("NotOnOrAfter") {
        None => issued.plus(MAX_REQUEST_AGE),
        value => instant(value)
            .ok_or_else(|| invalid("not_on_or_after", "it is no time"))?
            .min(issued.plus(24 * MAX_REQUEST_AGE)),
    };
    if now >= end.plus(SKEW) {
        return Err(invalid("not_on_or_after", "the request is over: is the provider's clock behind?"));
    }
    let id = root.attribute("ID").unwrap_or_default().to_owned();
    if id.is_empty() || id.len() > 256 {
        return Err(invalid("id", "the request has none"));
    }
    let name_id = NameId::of(root).map_err(|NameIdError(why)| invalid("name_id", why))?;
    let sids = xml::children(root, SAMLP, "SessionIndex").map(xml::text).collect::<Result<Vec<_>, _>>()?;
    let token = LogoutToken {
        issuer: provider.entity_id.clone(),
        jti: id.clone(),
        subject: Some(name_id.value),
        sids: sids.into_iter().map(str::to_owned).collect(),
        expires_at: end.plus(SKEW),
    };
    Ok(LogoutMessage::Request { token, id, relay_state })
}

/// A message has five parameters at most, and others may be around it.
const MAX_PARAMETERS: usize = 16;

/// The parameters of a query or form, as they stand in it.
struct Parameters<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Parameters<'a> {
    /// Reads them; a name that comes twice could be signed in one place and read in the other.
    fn read(query: &'a str) -> Result<Self, ProviderError> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(invalid(
                    "form",
                    format!("`{}` comes twice", name.chars().take(40).collect::<String>()),
                ));
            }
            if pairs.len() == MAX_PARAMETERS {
                return Err(invalid("form", "there are too many parameters"));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn decoded(&self, name: &str) -> Option<String> {
        let pair = format!("v={}", self.raw(name)?);
        url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
    }

    /// Which parameter carries the message: one of the two, and not both.
    fn name(&self) -> Result<&'static str, ProviderError> {
        match (self.raw("SAMLRequest"), self.raw("SAMLResponse")) {
            (Some(_), None) => Ok("SAMLRequest"),
            (None, Some(_)) => Ok("SAMLResponse"),
            _ => Err(invalid("form", "there must be a SAMLRequest or a SAMLResponse")),
        }
    }

    fn message(&self) -> Result<String, ProviderError> {
        Ok(self.decoded(self.name()?).unwrap_or_default())
    }
}

/// SAML bindings, section 3.4.4.1: the signature is over "the original URL-encoded values", in the
/// order message, RelayState, SigAlg.
fn check_query(query: &Parameters<'_>, provider: &Provider) -> Result<(), ProviderError> {
    if query.raw("SAMLEncoding").is_some() {
        return Err(invalid("form", "no encoding but DEFLATE is taken"));
    }
    let (Some(method), Some(signature)) = (query.decoded("SigAlg"), query.decoded("Signature")) else {
        return Err(signature::unsigned());
    };
    let Some(algorithm) = SignatureMethod::named(&method) else {
        return Err(invalid("signature", format!("the signature method `{method}` is not accepted")));
    };
    let signature = base64(&signature).ok_or_else(|| invalid("signature", "it is no base64"))?;
    let parts = [query.name()?, "RelayState", "SigAlg"];
    let parts = parts.iter().filter_map(|name| Some(format!("{name}={}", query.raw(name)?)));
    let signed = parts.collect::<Vec<_>>().join("&");
    match provider.keys.iter().any(|key| key.verifies(algorithm, signed.as_bytes(), &signature)) {
        true => Ok(()),
        false => Err(invalid("signature", "no key in the provider's metadata verifies it")),
    }
}

fn inflated(message: &str) -> Result<String, ProviderError> {
    let bytes = base64(message).ok_or_else(|| invalid("form", "the message is no base64"))?;
    let mut text = String::new();
    let read = DeflateDecoder::new(&*bytes).take(MAX_INFLATED_BYTES + 1).read_to_string(&mut text);
    match read {
        Ok(_) if text.len() as u64 <= MAX_INFLATED_BYTES => Ok(text),
        Ok(_) => Err(invalid("form", "the message is too large")),
        Err(_) => Err(invalid("form", "the message does not inflate to text")),
    }
}
