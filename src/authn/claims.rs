//! Mapping of a token's claims to a user.

use crate::base::Timestamp;
use crate::config::TrustedIssuer;
use crate::directory::{FederatedAccount, new_user};
use crate::model::{
    Attributes, Identity, MAX_ATTRIBUTE_LENGTH, MAX_GROUP_NAME_LENGTH, TokenClaims, UnreadableClaim, User,
    claim_texts, is_address, is_distributed,
};
use serde_json::{Map, Value};

/// Returns the subject of a token in the form of a user with this `id`, and the claims that cannot
/// be user attributes: lists and incomparable values.
///
/// # Errors
/// Returns the name of the groups claim if its values are not comparable. Group names determine
/// roles and are sent to the app.
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
    let account = FederatedAccount {
        identity,
        attributes,
        groups,
        unverified: Vec::new(),
        first_login_attributes: &[],
    };
    let user = new_user(id, "", account, now);
    Ok((user, TokenClaims { lists: lists.into(), unreadable: unreadable.into() }))
}

/// Returns the authentication methods of a token (RFC 8176), or none if `auth_time` is unknown. A
/// token with `amr` alone may have been renewed, and does not prove them.
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
