//! Role selection of an identity pool.

use super::Person;
use crate::catalogue::{IdentityPool, Role, Roles};
use crate::config::{AmbiguousRoleResolution, MappingRule, MappingType, MatchType};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// A selected role, with the reason for its selection.
#[derive(Clone, Debug)]
pub struct RoleChoice {
    /// The role.
    pub role: Arc<Role>,
    /// The reason.
    pub reason: Reason,
}

/// The reason for a role's selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No user is signed in.
    Guest,
    /// The provider has no role mapping, so the role of signed-in users applies.
    Authenticated,
    /// The mapping of this provider selected no role, so the role of signed-in users applies.
    Ambiguous(String),
    /// A rule of a provider's mapping matched: the provider, the rule's number from 1, and the
    /// rule.
    Rule(String, usize, MappingRule),
    /// The user's preferred group, with this name, has the role.
    Group(String),
}

/// The reason that no role was selected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoRole {
    /// The request has no user, and the identity pool has no role for guests.
    #[error("no user is signed in, and the identity pool has no guest_role")]
    NoGuests,
    /// The identity pool has no role for signed-in users.
    #[error("the identity pool has no authenticated_role")]
    NoAuthenticatedRole,
    /// No rule of this provider's mapping matched.
    #[error("no rule of the role mapping for {0} matches, and it says ambiguous = \"deny\"")]
    NoRule(String),
    /// The user has no preferred group; the value is the provider.
    #[error("no group has a preferred role, and the role mapping for {0} says ambiguous = \"deny\"")]
    NoPreferredRole(String),
    /// This claim of a rule or a tag is not comparable, or a tag's claim has several values.
    #[error(
        "the claim `{0}`, which a rule or a tag of the identity pool names, cannot be compared: a value is an object or a \
         list, too long, or has control characters; or a tag's claim has several"
    )]
    UnreadableClaim(String),
    /// The trust policy of this role does not allow the identity pool to assign it.
    #[error("the assume_role_policy of the role {0} does not let the identity pool give it")]
    Untrusted(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest => f.write_str("no user is signed in: guest_role"),
            Self::Authenticated => f.write_str("a user is signed in: authenticated_role"),
            Self::Ambiguous(provider) => {
                write!(f, "the role mapping for {provider} chose none: authenticated_role")
            }
            Self::Rule(provider, number, rule) => write!(
                f,
                "rule {number} of the role mapping for {provider}: {} {:?} \"{}\"",
                rule.claim, rule.match_type, rule.value
            ),
            Self::Group(group) => write!(f, "the role of the group {group}, which is preferred"),
        }
    }
}

/// Selects the role of `person`, or of a guest.
///
/// # Errors
/// Returns the reason if no role applies.
pub fn choose_role(
    roles: &Roles,
    pool: &IdentityPool,
    person: Option<&Person<'_>>,
) -> Result<RoleChoice, NoRole> {
    let Some(person) = person else {
        return named(roles, pool.config.guest_role.as_ref(), Reason::Guest).ok_or(NoRole::NoGuests);
    };
    let authenticated = |reason| {
        named(roles, pool.config.authenticated_role.as_ref(), reason).ok_or(NoRole::NoAuthenticatedRole)
    };
    let provider = || person.provider.to_owned();
    let Some(mapping) = pool.config.mapping(person.provider) else {
        return authenticated(Reason::Authenticated);
    };
    let (chosen, none) = match &mapping.by {
        MappingType::Token => {
            let group = person.groups.preferred();
            let role =
                group.and_then(|group| group.role.as_ref().zip(Some(Reason::Group(group.name.clone()))));
            (role, NoRole::NoPreferredRole(provider()))
        }
        MappingType::Rules(rules) => {
            // "The first matching rule takes precedence."
            let mut rule = None;
            for (at, candidate) in rules.iter().enumerate() {
                // Evaluate every rule: detection of unreadable claims must not depend on their
                // order.
                let values = person.claim(&candidate.claim);
                let values = values.map_err(|_| NoRole::UnreadableClaim(candidate.claim.clone()))?;
                if rule.is_none() && matches(candidate, &values) {
                    rule = Some((at, candidate));
                }
            }
            let role = rule.map(|(at, rule)| (&rule.role, Reason::Rule(provider(), at + 1, rule.clone())));
            (role, NoRole::NoRule(provider()))
        }
    };
    match (chosen, mapping.ambiguous) {
        (Some((role, reason)), _) => named(roles, Some(role), reason).ok_or(none),
        (None, AmbiguousRoleResolution::AuthenticatedRole) => authenticated(Reason::Ambiguous(provider())),
        (None, AmbiguousRoleResolution::Deny) => Err(none),
    }
}

fn named(roles: &Roles, name: Option<&String>, reason: Reason) -> Option<RoleChoice> {
    Some(RoleChoice { role: roles.named(name?)?.clone(), reason })
}

fn matches(rule: &MappingRule, values: &[&str]) -> bool {
    let wanted = rule.value.as_str();
    match rule.match_type {
        MatchType::Equals => values.contains(&wanted),
        MatchType::Contains => values.iter().any(|value| value.contains(wanted)),
        MatchType::StartsWith => values.iter().any(|value| value.starts_with(wanted)),
        // An absent claim does not match.
        MatchType::NotEqual => !values.is_empty() && !values.contains(&wanted),
    }
}
