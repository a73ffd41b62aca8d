//! The judge of responses (SAML profiles, section 4.1.4.3): from what a browser brought to what the
//! provider vouches for. The subject is read from signed text only; any doubt is a refusal, named
//! by its check.

use super::key::ServiceProviderKey;
use super::subject::{NameId, NameIdError};
use super::verification::VerificationKey;
use super::xml::{self, SAML, SAMLP};
use super::{attributes, encryption, instant, signature};
use crate::base::{Duration, Timestamp};
use crate::provider::ProviderError;
use crate::provider::claims::SKEW;
use roxmltree::{Document, Node};
use serde_json::{Map, Value};
use std::sync::Arc;
use zeroize::Zeroizing;

const SUCCESS: &str = "urn:oasis:names:tc:SAML:2.0:status:Success";
const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
const ENTITY_FORMAT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity";
/// How long an assertion may be good for, by its bearer's confirmation: it is remembered as long.
const MAX_ASSERTION_VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// What a response is judged by.
pub struct Expected<'a> {
    /// The provider's entity id.
    pub provider: &'a str,
    /// Its keys.
    pub keys: &'a [VerificationKey],
    /// Ours.
    pub audience: &'a str,
    /// Where the response was sent to.
    pub acs: &'a str,
    /// The id of the request that it answers; none, where the provider may begin by itself.
    pub request_id: Option<&'a str>,
    /// Our keys for encrypted assertions.
    pub decryption: &'a [Arc<ServiceProviderKey>],
    /// Whether what is not encrypted is refused.
    pub encrypted: bool,
    /// The classes of authentication of which one is required; any, where there is none.
    pub authn_context: &'a [String],
    /// When the request was sent, where the person must be authenticated since.
    pub authenticated_after: Option<Timestamp>,
    /// The time.
    pub now: Timestamp,
}

/// What an assertion says.
#[derive(Debug)]
pub struct ValidatedAssertion {
    /// Its id, by which it works once.
    pub id: String,
    /// Until when it would be taken.
    pub usable_until: Timestamp,
    /// Its subject.
    pub name_id: NameId,
    /// The attributes, by name.
    pub claims: Map<String, Value>,
    /// When the person was authenticated.
    pub auth_time: Timestamp,
    /// How.
    pub amr: Vec<String>,
    /// When the provider's session ends, where it says so.
    pub session_ends_at: Option<Timestamp>,
}

fn invalid(check: &'static str, detail: impl std::fmt::Display) -> ProviderError {
    ProviderError::invalid(check, detail)
}

/// Judges the text of a `Response`.
///
/// # Errors
/// [`ProviderError::Refused`] where the provider says that nobody was authenticated; else the first
/// check that failed.
pub fn validate(text: &str, expected: &Expected<'_>) -> Result<ValidatedAssertion, ProviderError> {
    let document = xml::parse(text)?;
    let root = document.root_element();
    check_shape(root)?;
    if !signature::is_signed(root) {
        check_response(root, expected, false)?;
        return match xml::children(root, SAML, "Assertion").next() {
            Some(assertion) if signature::is_signed(assertion) => {
                require_encryption(expected)?;
                validate_signed(&document, expected)
            }
            Some(_) => Err(signature::unsigned()),
            None => validate_encrypted(root, expected, true),
        };
    }
    // From here on the message is what was signed, and not what came.
    let signed = signature::verified(&document, expected.keys)?;
    let document = xml::parse(&signed)?;
    let root = document.root_element();
    check_shape(root)?;
    check_response(root, expected, true)?;
    match xml::children(root, SAML, "Assertion").next() {
        Some(assertion) => {
            require_encryption(expected)?;
            validate_assertion(assertion, expected)
        }
        None => validate_encrypted(root, expected, false),
    }
}

/// The assertion alone carries a signature, in a message or by itself.
fn validate_signed(
    document: &Document<'_>,
    expected: &Expected<'_>,
) -> Result<ValidatedAssertion, ProviderError> {
    let signed = signature::verified(document, expected.keys)?;
    let document = xml::parse(&signed)?;
    validate_assertion(document.root_element(), expected)
}

/// The assertion is encrypted. Where the message around it is not signed, it must be.
fn validate_encrypted(
    response: Node<'_, '_>,
    expected: &Expected<'_>,
    must_be_signed: bool,
) -> Result<ValidatedAssertion, ProviderError> {
    let encrypted = xml::one(response, SAML, "EncryptedAssertion")?;
    let text = encryption::decrypt_assertion(encrypted, expected.decryption)?;
    let text = Zeroizing::new(xml::in_place_of(encrypted, &text)?);
    let document = xml::parse(&text)?;
    let assertion = xml::placed(&document)?;
    if assertions(assertion) != 1 {
        return Err(invalid("shape", "there must be one assertion"));
    }
    if must_be_signed || signature::is_signed(assertion) {
        return validate_signed(&document, expected);
    }
    validate_assertion(assertion, expected)
}

fn require_encryption(expected: &Expected<'_>) -> Result<(), ProviderError> {
    match expected.encrypted {
        true => {
            Err(invalid("encryption", "the assertion is not encrypted, and the file says that it must be"))
        }
        false => Ok(()),
    }
}

/// Assertions at and below `node`, encrypted or not.
fn assertions(node: Node<'_, '_>) -> usize {
    let is = |node: &Node<'_, '_>| {
        ["Assertion", "EncryptedAssertion"].iter().any(|name| xml::is(*node, SAML, name))
    };
    node.descendants().filter(is).count()
}

/// A message has one assertion, in its place: where there were two, one could be verified and the
/// other one read.
fn check_shape(root: Node<'_, '_>) -> Result<(), ProviderError> {
    if !xml::is(root, SAMLP, "Response") {
        return Err(invalid("shape", "it is no Response"));
    }
    // SAML core, section 3.2.2: "2.0".
    if root.attribute("Version") != Some("2.0") {
        return Err(invalid("version", "the response is not of SAML 2.0"));
    }
    check_status(root)?;
    let placed = root.children().map(|child| usize::from(is_assertion(child))).sum::<usize>();
    if assertions(root) != 1 || placed != 1 {
        return Err(invalid("shape", "there must be one assertion, and below the response itself"));
    }
    Ok(())
}

fn is_assertion(node: Node<'_, '_>) -> bool {
    xml::is(node, SAML, "Assertion") || xml::is(node, SAML, "EncryptedAssertion")
}

/// SAML core, section 3.2.2.2: any status but success is a refusal.
fn check_status(root: Node<'_, '_>) -> Result<(), ProviderError> {
    let missing = |error| invalid("status", error);
    let status = xml::one(root, SAMLP, "Status").map_err(missing)?;
    let code = xml::one(status, SAMLP, "StatusCode").map_err(missing)?;
    let value = code.attribute("Value").unwrap_or_default();
    if value == SUCCESS {
        return Ok(());
    }
    let inner = xml::children(code, SAMLP, "StatusCode").next().and_then(|code| code.attribute("Value"));
    let message = xml::children(status, SAMLP, "StatusMessage").next().and_then(|node| node.text());
    let last = |urn: &str| urn.rsplit(':').next().unwrap_or_default().to_owned();
    Err(ProviderError::Refused {
        code: last(inner.unwrap_or(value)),
        description: message.unwrap_or_default().chars().take(200).collect(),
    })
}

/// What the message around the assertion says. Where it is not signed this proves nothing, and is
/// compared all the same: an honest one agrees.
fn check_response(root: Node<'_, '_>, expected: &Expected<'_>, signed: bool) -> Result<(), ProviderError> {
    if let Some(issuer) = xml::at_most_one(root, SAML, "Issuer")? {
        check_issuer(issuer, expected)?;
    }
    match root.attribute("Destination") {
        Some(destination) if destination == expected.acs => {}
        // SAML bindings, section 3.5.5.2: of a signed message "the Destination XML attribute in the
        // root SAML element of the protocol message MUST contain the URL to which the sender has
        // instructed the user agent to deliver the message".
        None if !signed => {}
        other => {
            return Err(invalid("destination", format!("it is sent to `{}`", other.unwrap_or_default())));
        }
    }
    check_in_response_to(root, expected)?;
    check_issue_instant(root, expected.now)
}

fn check_issuer(issuer: Node<'_, '_>, expected: &Expected<'_>) -> Result<(), ProviderError> {
    // SAML profiles, section 4.1.4.2: the format "MUST be omitted or have a value of
    // urn:oasis:names:tc:SAML:2.0:nameid-format:entity".
    let format = issuer.attribute("Format").is_none_or(|format| format == ENTITY_FORMAT);
    let text = xml::trim(xml::text(issuer)?);
    match format && text == expected.provider {
        true => Ok(()),
        false => Err(invalid("issuer", format!("it is of `{text}`"))),
    }
}

/// SAML core, section 3.2.2: "a reference to the identifier of the request to which the response
/// corresponds"; without a request it "MUST NOT be present".
fn check_in_response_to(node: Node<'_, '_>, expected: &Expected<'_>) -> Result<(), ProviderError> {
    let in_response_to = node.attribute("InResponseTo");
    match in_response_to == expected.request_id {
        true => Ok(()),
        false => {
            Err(invalid("in_response_to", format!("it answers `{}`", in_response_to.unwrap_or_default())))
        }
    }
}

fn check_issue_instant(node: Node<'_, '_>, now: Timestamp) -> Result<(), ProviderError> {
    match instant(node.attribute("IssueInstant")) {
        Some(issued) if issued <= now.plus(SKEW) => Ok(()),
        Some(issued) => Err(invalid(
            "issue_instant",
            format!(
                "it is {} s in the future, and {} s are allowed; help: synchronize the clocks of this machine and the \
                 provider",
                issued.since(now).as_secs(),
                SKEW.as_secs()
            ),
        )),
        None => Err(invalid("issue_instant", "it is missing or no time")),
    }
}

/// Judges an assertion that was verified.
fn validate_assertion(
    assertion: Node<'_, '_>,
    expected: &Expected<'_>,
) -> Result<ValidatedAssertion, ProviderError> {
    if !xml::is(assertion, SAML, "Assertion") {
        return Err(invalid("shape", "what is signed is no assertion"));
    }
    if assertion.attribute("Version") != Some("2.0") {
        return Err(invalid("version", "the assertion is not of SAML 2.0"));
    }
    let id = assertion.attribute("ID").unwrap_or_default();
    if id.is_empty() {
        return Err(invalid("id", "the assertion has none"));
    }
    check_issue_instant(assertion, expected.now)?;
    check_issuer(xml::one(assertion, SAML, "Issuer").map_err(|e| invalid("issuer", e))?, expected)?;
    let subject = xml::one(assertion, SAML, "Subject").map_err(|e| invalid("subject", e))?;
    let usable_until = check_confirmations(subject, expected)?;
    check_conditions(assertion, expected)?;
    let mut statements = xml::children(assertion, SAML, "AuthnStatement");
    let statement = statements.next().ok_or_else(|| invalid("authn_statement", "there is none"))?;
    let session_ends_at = check_statements(assertion, expected)?;
    let mut auth_time = check_authentication(statement, expected)?;
    // SAML core, section 2.7.2, allows several: each is one act of authentication, and all must do.
    for statement in statements {
        auth_time = auth_time.min(check_authentication(statement, expected)?);
    }
    let session_index = statement.attribute("SessionIndex").map(str::to_owned);
    let name_id =
        NameId::of_subject(subject, session_index).map_err(|NameIdError(why)| invalid("name_id", why))?;
    let claims = attributes::read(assertion, &name_id)?;
    Ok(ValidatedAssertion {
        id: id.to_owned(),
        usable_until,
        amr: attributes::methods(statement, &claims),
        claims,
        name_id,
        auth_time: auth_time.min(expected.now),
        session_ends_at,
    })
}

/// SAML profiles, section 4.1.4.3: at least one bearer confirmation must hold; answers until when
/// one does.
fn check_confirmations(subject: Node<'_, '_>, expected: &Expected<'_>) -> Result<Timestamp, ProviderError> {
    let bearers: Vec<_> = xml::children(subject, SAML, "SubjectConfirmation")
        .filter(|confirmation| confirmation.attribute("Method") == Some(BEARER))
        .collect();
    let ends = bearers.iter().flat_map(|bearer| xml::children(*bearer, SAML, "SubjectConfirmationData"));
    let mut ends = ends.filter_map(|data| instant(data.attribute("NotOnOrAfter")));
    // One that does not hold now could do so later, when the assertion's use is forgotten.
    if ends.any(|end| end > expected.now.plus(MAX_ASSERTION_VALIDITY + SKEW)) {
        return Err(invalid("subject_confirmation", "it would hold for more than a day"));
    }
    let mut judged: Vec<_> = bearers.into_iter().map(|bearer| check_bearer(bearer, expected)).collect();
    match judged.iter().filter_map(|until| until.as_ref().ok()).max() {
        Some(until) => Ok(*until),
        None if judged.is_empty() => Err(invalid("subject_confirmation", "there is none for a bearer")),
        None => judged.swap_remove(0),
    }
}

fn check_bearer(confirmation: Node<'_, '_>, expected: &Expected<'_>) -> Result<Timestamp, ProviderError> {
    let data = xml::one(confirmation, SAML, "SubjectConfirmationData")
        .map_err(|error| invalid("subject_confirmation", error))?;
    // "Verify that the Recipient attribute in the bearer <SubjectConfirmationData> matches the
    // assertion consumer service URL to which the <Response> or artifact was delivered".
    if data.attribute("Recipient") != Some(expected.acs) {
        let recipient = data.attribute("Recipient").unwrap_or_default();
        return Err(invalid("recipient", format!("it is for `{recipient}`")));
    }
    // "and NotOnOrAfter attribute that limits the window"; "It MUST NOT contain a NotBefore
    // attribute".
    if data.attribute("NotBefore").is_some() {
        return Err(invalid("subject_confirmation", "it has a NotBefore"));
    }
    let end = instant(data.attribute("NotOnOrAfter"))
        .ok_or_else(|| invalid("subject_confirmation", "NotOnOrAfter is missing or no time"))?;
    if expected.now >= end.plus(SKEW) {
        return Err(invalid("subject_confirmation", "it is over: is the provider's clock behind?"));
    }
    check_in_response_to(data, expected)?;
    Ok(end.plus(SKEW))
}

/// SAML core, section 2.5.1: every condition must hold, and one that is not known holds never.
fn check_conditions(assertion: Node<'_, '_>, expected: &Expected<'_>) -> Result<(), ProviderError> {
    let conditions = xml::one(assertion, SAML, "Conditions").map_err(|error| invalid("conditions", error))?;
    let time = |name: &'static str, check: &'static str| match conditions.attribute(name) {
        None => Ok(None),
        value => instant(value).map(Some).ok_or_else(|| invalid(check, format!("{name} is no time"))),
    };
    if time("NotBefore", "not_before")?.is_some_and(|begin| expected.now.plus(SKEW) < begin) {
        return Err(invalid("not_before", "it does not hold yet: is the provider's clock ahead?"));
    }
    if time("NotOnOrAfter", "not_on_or_after")?.is_some_and(|end| expected.now >= end.plus(SKEW)) {
        return Err(invalid("not_on_or_after", "it holds no more: is the provider's clock behind?"));
    }
    let mut restrictions = 0;
    for condition in conditions.children().filter(Node::is_element) {
        match (condition.tag_name().namespace(), condition.tag_name().name()) {
            (Some(SAML), "AudienceRestriction") => {
                restrictions += 1;
                let audiences = xml::children(condition, SAML, "Audience").map(xml::text);
                let audiences = audiences.collect::<Result<Vec<_>, _>>()?;
                // "the SAML assertion is addressed to one or more specific audiences": each
                // restriction must name us, since all of them apply.
                if !audiences.iter().any(|audience| xml::trim(audience) == expected.audience) {
                    return Err(invalid("audience", format!("it is for {}", audiences.join(", "))));
                }
            }
            (Some(SAML), "OneTimeUse" | "ProxyRestriction") => {}
            (_, name) => return Err(invalid("conditions", format!("the condition {name} is not known"))),
        }
    }
    match restrictions {
        // SAML profiles, section 4.1.4.2: each assertion "MUST contain an <AudienceRestriction>".
        0 => Err(invalid("audience", "it names none")),
        _ => Ok(()),
    }
}

/// Checks one act of authentication, and returns its time.
fn check_authentication(
    statement: Node<'_, '_>,
    expected: &Expected<'_>,
) -> Result<Timestamp, ProviderError> {
    let auth_time = instant(statement.attribute("AuthnInstant"))
        .ok_or_else(|| invalid("authn_statement", "AuthnInstant is missing or no time"))?;
    if auth_time > expected.now.plus(SKEW) {
        return Err(invalid("authn_statement", "AuthnInstant lies in the future"));
    }
    // SAML core, section 3.4.1: with ForceAuthn the provider "MUST authenticate the presenter
    // directly rather than rely on a previous security context".
    if expected.authenticated_after.is_some_and(|begun_at| auth_time.plus(SKEW) < begun_at) {
        let detail = "the person was authenticated before the request, and `force_authn` demands a new authentication; help: \
                      have the provider respect ForceAuthn";
        return Err(invalid("authn_instant", detail));
    }
    let class = attributes::class(statement);
    if !expected.authn_context.is_empty() && !expected.authn_context.iter().any(|known| known == class) {
        let detail = format!(
            "the person was authenticated by `{class}`, and `authn_context` demands one of `{}`; help: enable it at the \
             provider, or correct `authn_context`",
            expected.authn_context.join("`, `")
        );
        return Err(invalid("authn_context", detail));
    }
    Ok(auth_time)
}

/// The end of the provider's session, the earliest of several.
fn check_statements(
    assertion: Node<'_, '_>,
    expected: &Expected<'_>,
) -> Result<Option<Timestamp>, ProviderError> {
    let mut ends = None;
    for statement in xml::children(assertion, SAML, "AuthnStatement") {
        let Some(not_on_or_after) = statement.attribute("SessionNotOnOrAfter") else { continue };
        let end = instant(Some(not_on_or_after))
            .ok_or_else(|| invalid("session_not_on_or_after", "SessionNotOnOrAfter is no time"))?;
        // Ours ends with it: one that is over would only begin another login.
        if expected.now >= end {
            return Err(invalid("session_not_on_or_after", "the provider's session is over"));
        }
        ends = Some(ends.map_or(end, |earlier: Timestamp| earlier.min(end)));
    }
    Ok(ends)
}
