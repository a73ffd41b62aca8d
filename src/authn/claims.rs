//! What a token's claims say of the person or program that it was issued to.

use crate::base::Timestamp;
use crate::config::TrustedIssuer;
use crate::directory::{FederatedAccount, new_user};
use crate::model::{
    Attributes, Identity, MAX_ATTRIBUTE_LENGTH, MAX_GROUP_NAME_LENGTH, TokenClaims, UnreadableClaim, User,
    claim_texts, is_address, is_distributed,
};
use serde_json::{Map, Value};

/// Returns the subject of a token in the form of a user with this `id`, and the claims that a user
/// has no room for.
///
/// # Errors
/// The claim of the groups, where they cannot be compared: group names decide on roles and go to
/// the app.
pub fn user_from_claims(
    issuer: &TrustedIssuer,
    subject: &str,
    claims: &Map<String, Value>,
    id: String,
    now: Timestamp,
) -> Result<(User, TokenClaims), &'static str> {
    let groups =
        match string_list(claims, "cognito:groups", MAX_GROUP_NAME_LENGTH).map_err(|_| "cognito:groups")? {
            none if none.is_empty() => {
                string_list(claims, "groups", MAX_GROUP_NAME_LENGTH).map_err(|_| "groups")?
            }
            groups => groups,
        };
    let (mut attributes, mut lists, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in claims {
        match claim_texts(value, MAX_ATTRIBUTE_LENGTH) {
            Ok(values) if value.is_array() => lists.push((name.clone(), values.into())),
            Ok(values) => match values.into_iter().next() {
                Some(text) if name == "email" && !is_address(&text) => unreadable.push(name.clone()),
                Some(text) => attributes.push((name, text)),
                None => {}
            },
            Err(UnreadableClaim) => unreadable.push(name.clone()),
        }
    }
    let elsewhere = claims.get("_claim_names").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    unreadable.extend(elsewhere.filter(|name| is_distributed(claims, name)).cloned());
    let attributes: Attributes = attributes.into_iter().collect();
    let identity = Identity {
        issuer: issuer.url.clone(),
        subject: subject.to_owned(),
        provider: issuer.name.clone(),
        saml: false,
    };
    let user =
        new_user(id, "", FederatedAccount { identity, attributes, groups, first_login_attributes: &[] }, now);
    Ok((user, TokenClaims { lists: lists.into(), unreadable: unreadable.into() }))
}

/// Returns how the person of a token was authenticated (RFC 8176), given when. A token with only
/// one of the two was renewed since, and proves neither.
pub fn methods(claims: &Map<String, Value>, auth_time: Option<Timestamp>) -> Vec<String> {
    match auth_time {
        Some(_) => string_list(claims, "amr", MAX_GROUP_NAME_LENGTH).unwrap_or_default(),
        None => Vec::new(),
    }
}

fn string_list(
    claims: &Map<String, Value>,
    name: &str,
    longest: usize,
) -> Result<Vec<String>, UnreadableClaim> {
    match claims.get(name) {
        Some(value) => claim_texts(value, longest),
        None if is_distributed(claims, name) => Err(UnreadableClaim),
        None => Ok(Vec::new()),
    }
}
