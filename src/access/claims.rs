//! What a token's claims say of whom it speaks for.

use crate::base::Timestamp;
use crate::config::TrustedIssuer;
use crate::directory::{FederatedAccount, new_user};
use crate::model::{Attributes, Identity, LONGEST_ATTRIBUTE, LONGEST_GROUP, MOST_GROUPS, User, is_address};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Whom a token's claims speak for, in the form of a user with this `sub`.
pub fn user_of(
    issuer: &TrustedIssuer,
    subject: &str,
    claims: &Map<String, Value>,
    id: String,
    now: Timestamp,
) -> User {
    let good = |(name, value): &(&str, Cow<'_, str>)| *name != "email" || is_address(value);
    let attributes: Attributes = claims.iter().filter_map(attribute).filter(good).collect();
    let groups = match list(claims, "cognito:groups") {
        none if none.is_empty() => list(claims, "groups"),
        groups => groups,
    };
    let identity = Identity {
        issuer: issuer.url.clone(),
        subject: subject.to_owned(),
        provider: issuer.name.clone(),
        saml: false,
    };
    new_user(id, "", FederatedAccount { identity, attributes, groups, told_once: &[] }, now)
}

/// A claim in the form of an attribute, where it has one.
fn attribute<'c>((name, value): (&'c String, &'c Value)) -> Option<(&'c str, Cow<'c, str>)> {
    let value = match value {
        Value::String(text) if is_plain(text, LONGEST_ATTRIBUTE) => Cow::Borrowed(text.as_str()),
        Value::Bool(_) | Value::Number(_) => Cow::Owned(value.to_string()),
        _ => return None,
    };
    Some((name, value))
}

/// How the person of a token was authenticated (RFC 8176). When it was is a part of that: a token that was renewed since
/// tells neither.
pub fn methods(claims: &Map<String, Value>) -> Vec<String> {
    match claims.get("auth_time") {
        Some(Value::Number(_)) => list(claims, "amr"),
        _ => Vec::new(),
    }
}

/// The texts of a claim that may have several.
fn list(claims: &Map<String, Value>, name: &str) -> Vec<String> {
    let all = match claims.get(name) {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one.as_str()],
        _ => Vec::new(),
    };
    let good = all.into_iter().filter(|text| is_plain(text, LONGEST_GROUP));
    good.take(MOST_GROUPS).map(str::to_owned).collect()
}

fn is_plain(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && !text.chars().any(char::is_control)
}
