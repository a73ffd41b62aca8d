//! What is probably a mistake in roles and policies, for `narthex check`.

use crate::catalogue::{Catalogue, INVOKE, IdentityPool, Role};
use crate::config::MappingType;
use crate::identity::ASSUME;
use crate::policy::{self, Effect, Grants, Key, Known};
use std::sync::Arc;

/// What only a request brings.
const OF_REQUESTS: [Known; 7] = [
    Known::SourceIp,
    Known::CurrentTime,
    Known::EpochTime,
    Known::SecureTransport,
    Known::UserAgent,
    Known::Referer,
    Known::MultiFactorAuthAge,
];

/// Everything that is odd, a line each.
pub fn lint(catalogue: &Catalogue) -> Vec<String> {
    let mut odd = Vec::new();
    let pools = &catalogue.identity_pools;
    for role in catalogue.roles.iter() {
        let givers: Vec<_> = pools.iter().filter(|pool| gives(catalogue, pool, role)).collect();
        if givers.is_empty() {
            odd.push(format!("role {}: nobody gets it: no [[identity_pool]] gives it", role.id.name));
        }
        let fills = |key: &Key| givers.is_empty() || givers.iter().any(|pool| fills(pool, role, key));
        statements(catalogue, role, &fills, &mut odd);
        for statement in role.trust.iter().flat_map(policy::Statements::iter) {
            // A role is given to a person, not for a request.
            let known =
                |key: &Key| fills(key) && !matches!(key, Key::Known(known) if OF_REQUESTS.contains(known));
            let found = policy::lint(statement, &[ASSUME], &known);
            odd.extend(
                found.into_iter().map(|line| format!("{}, role {}: {line}", statement.place(), role.id.name)),
            );
        }
    }
    for route in catalogue.routes() {
        let Some(judged) = route.rule.judged() else { continue };
        let allows =
            |grants: &Grants| grants.policies.iter().any(|statement| statement.effect == Effect::Allow);
        let given = catalogue.roles.iter().filter(|role| gives(catalogue, &judged.identity_pool, role));
        if !given.into_iter().filter_map(|role| judged.grants(&role.id)).any(allows) {
            odd.push(format!(
                "route {}: nobody may reach it: no role that the identity pool {} gives has a statement that allows {}*",
                route.config.name,
                judged.identity_pool.config.name,
                judged.resource_of("", &[] as &[&str]),
            ));
        }
    }
    odd
}

fn statements(catalogue: &Catalogue, role: &Role, fills: &dyn Fn(&Key) -> bool, odd: &mut Vec<String>) {
    let all = role.grants.policies.iter().chain(role.grants.bounds.iter().flat_map(policy::Statements::iter));
    for statement in all {
        let place = statement.place();
        let found = policy::lint(statement, &[INVOKE], fills);
        odd.extend(found.into_iter().map(|line| format!("{place}, role {}: {line}", role.id.name)));
        let mut routes = catalogue.routes().filter_map(|route| route.rule.judged()).peekable();
        let about = |prefix: String| statement.may_be_met(INVOKE, &prefix);
        let reaches = routes.any(|judged| about(judged.resource_of("", &[] as &[&str])));
        if statement.may_be_met(INVOKE, "") && !reaches {
            odd.push(format!(
                "{place}, role {}: it can never be met: it is about no route under policy",
                role.id.name
            ));
        }
    }
}

/// Whether `pool` may give `role` to somebody.
fn gives(catalogue: &Catalogue, pool: &IdentityPool, role: &Arc<Role>) -> bool {
    let by_groups = pool.config.role_mappings.iter().any(|mapping| mapping.by == MappingType::Token);
    let borne = || {
        let groups = &catalogue.config.user_pool.groups;
        groups.iter().any(|group| group.role.as_deref() == Some(role.id.name.as_str()))
    };
    pool.config.roles().any(|name| *name == role.id.name) || (by_groups && borne())
}

/// Whether a request with `role` from `pool` may have `key`.
fn fills(pool: &IdentityPool, role: &Role, key: &Key) -> bool {
    let guests = pool.config.guest_role.as_deref() == Some(role.id.name.as_str());
    let others = pool.config.authenticated_role.as_deref() == Some(role.id.name.as_str())
        || !guests
        || pool.config.role_mappings.iter().any(|mapping| match &mapping.by {
            MappingType::Rules(rules) => rules.iter().any(|rule| rule.role == role.id.name),
            MappingType::Token => false,
        });
    match key {
        Key::PrincipalTag(tag) => {
            others && pool.config.principal_tags.keys().any(|name| name.to_lowercase() == **tag)
        }
        Key::Known(Known::Username | Known::TokenIssueTime | Known::MultiFactorAuthAge) => others,
        Key::Known(_) => true,
        Key::RequestTag(_) | Key::Other(_) => false,
    }
}
