//! Which role an identity pool gives.

use super::Person;
use crate::catalogue::{IdentityPool, Role, Roles};
use crate::config::{AmbiguousRoleResolution, MappingRule, MappingType, MatchType};
use std::fmt;
use std::sync::Arc;

/// A role, and why it is this one.
#[derive(Clone, Debug)]
pub struct RoleChoice {
    /// The role.
    pub role: Arc<Role>,
    /// Why.
    pub reason: Reason,
}

/// Why a role was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody is signed in.
    Guest,
    /// It is the role of who is signed in, and no mapping is for them.
    Authenticated,
    /// It is that role, since the mapping for the provider chose none.
    Ambiguous(String),
    /// This rule of the mapping for the provider matched; the first is 1.
    Rule(String, usize, MappingRule),
    /// It is the role of this group, the preferred one.
    Group(String),
}

/// Why no role was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRole {
    /// The identity pool turns guests away.
    NoGuests,
    /// It has no role for who is signed in.
    NoAuthenticatedRole,
    /// No rule of the mapping for this provider matched.
    NoRule(String),
    /// No group of the person's has a role that is preferred.
    NoPreferredRole(String),
    /// A claim that a rule or a tag names cannot be compared.
    UnreadableClaim(String),
    /// The role's own policy does not let the identity pool give it.
    Untrusted(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest => f.write_str("nobody is signed in: guest_role"),
            Self::Authenticated => f.write_str("somebody is signed in: authenticated_role"),
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

impl fmt::Display for NoRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGuests => f.write_str("nobody is signed in, and the identity pool has no guest_role"),
            Self::NoAuthenticatedRole => f.write_str("the identity pool has no authenticated_role"),
            Self::NoRule(provider) => {
                write!(
                    f,
                    "no rule of the role mapping for {provider} matches, and it says ambiguous = \"deny\""
                )
            }
            Self::NoPreferredRole(provider) => write!(
                f,
                "no group has a preferred role, and the role mapping for {provider} says ambiguous = \"deny\""
            ),
            Self::UnreadableClaim(claim) => write!(
                f,
                "the claim `{claim}`, which a rule or a tag of the identity pool names, cannot be compared: a value is an object or a list, too long, or has control characters; or a tag's claim has several"
            ),
            Self::Untrusted(role) => {
                write!(f, "the assume_role_policy of the role {role} does not let the identity pool give it")
            }
        }
    }
}

/// The role that `pool` gives `person`, or a guest.
///
/// # Errors
/// Why it gives none.
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
                // Each is looked at: that one cannot be compared must not hang on those before it.
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
        // A claim that is absent is passed over.
        MatchType::NotEqual => !values.is_empty() && !values.contains(&wanted),
    }
}
