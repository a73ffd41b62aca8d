//! Detection of probable mistakes in roles and policies, by `narthex check`, at startup and at each
//! reload.

use crate::catalogue::{Catalogue, INVOKE_ACTION, IdentityPool, Role};
use crate::config::{Config, MappingType, STANDARD_ATTRIBUTES, UserPool};
use crate::identity::{ASSUME, IDENTITY_POOLS};
use crate::policy::{self, Effect, Finding, Grants, Key, Known, Requests, Severity, Statement};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The findings, one line each.
#[derive(Debug, Default)]
pub struct Findings {
    /// Deny statements that never apply, with remedies: the configuration is rejected.
    pub errors: Vec<String>,
    /// All other findings.
    pub warnings: Vec<String>,
}

impl Findings {
    /// Logs the warnings.
    ///
    /// # Errors
    /// Returns the errors as one text.
    pub fn log(self) -> Result<(), String> {
        for finding in &self.warnings {
            tracing::warn!(finding, "a role or a policy is probably not what was meant: {finding}");
        }
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(format!(
            "a Deny can never apply, so access that it should deny is open: {}; help: correct the statement, or remove it",
            self.errors.join("; ")
        ))
    }
}

/// Returns all findings.
pub fn lint(catalogue: &Catalogue) -> Findings {
    let mut odd = Vec::new();
    let mut of_statements = OfStatements::default();
    let pools = &catalogue.identity_pools;
    let routes = catalogue.routes().filter_map(|route| route.rule.judged());
    let resources: Vec<String> = routes.map(|rule| rule.resource_of("", &[] as &[&str])).collect();
    for role in catalogue.roles.iter() {
        let givers: Vec<_> = pools.iter().filter(|pool| gives(catalogue, pool, role)).collect();
        if givers.is_empty() {
            odd.push(format!("role {}: it is unused: no [[identity_pool]] assigns it", role.id.name));
        }
        let fills = |key: &Key| {
            givers.is_empty() || givers.iter().any(|pool| fills(&catalogue.config, pool, role, key))
        };
        let requests =
            Requests { actions: &[INVOKE_ACTION], principal: None, resources: &resources, fills: &fills };
        let bounds = role.grants.bounds.iter().flat_map(policy::Statements::iter);
        for statement in role.grants.policies.iter().chain(bounds) {
            let mut found = policy::lint(statement, &requests);
            let reaches = resources.iter().any(|resource| statement.may_be_met(INVOKE_ACTION, resource));
            if statement.effect == Effect::Allow && statement.may_be_met(INVOKE_ACTION, "") && !reaches {
                let message = "it can never be met: it is about no route under policy".to_owned();
                found.push(Finding { severity: Severity::Warning, message });
            }
            of_statements.add(statement, role, !givers.is_empty(), found);
        }
        let requests =
            Requests { actions: &[ASSUME], principal: Some(IDENTITY_POOLS), resources: &[], fills: &fills };
        for statement in role.trust.iter().flat_map(|trust| trust.iter()) {
            of_statements.add(statement, role, !givers.is_empty(), policy::lint(statement, &requests));
        }
    }
    let mut seen = std::collections::HashSet::new();
    for route in catalogue.routes().filter(|route| seen.insert(&route.config.name)) {
        let Some(rule) = route.rule.judged() else { continue };
        let allows =
            |grants: &Grants| grants.policies.iter().any(|statement| statement.effect == Effect::Allow);
        let given = catalogue.roles.iter().filter(|role| gives(catalogue, &rule.identity_pool, role));
        if !given.into_iter().filter_map(|role| rule.grants(&role.id)).any(allows) {
            odd.push(format!(
                "route {}: it is unreachable: no role that the identity pool {} assigns has a statement that allows {}*",
                route.config.name,
                rule.identity_pool.config.name,
                rule.resource_of("", &[] as &[&str]),
            ));
        }
    }
    let mut findings = of_statements.findings();
    findings.warnings.extend(odd);
    findings
}

/// Findings in statements, which several roles may share.
#[derive(Default)]
struct OfStatements {
    found: Vec<(StatementId, String, Severity)>,
    /// Statements without an error for at least one role. A Deny that concerns members never
    /// applies to guests with the same policy, which is no mistake.
    sound: BTreeSet<StatementId>,
}

/// A policy and the number of its statement. Several statements may be on one line.
type StatementId = (Arc<str>, usize);

impl OfStatements {
    fn add(&mut self, statement: &Statement, role: &Role, is_given: bool, found: Vec<Finding>) {
        let id = (statement.policy.clone(), statement.number);
        if is_given && !found.iter().any(|finding| finding.severity == Severity::Error) {
            self.sound.insert(id.clone());
        }
        let line = |message: &str| format!("{}, role {}: {message}", statement.place(), role.id.name);
        self.found
            .extend(found.into_iter().map(|finding| (id.clone(), line(&finding.message), finding.severity)));
    }

    fn findings(self) -> Findings {
        let mut findings = Findings::default();
        for (id, line, severity) in self.found {
            match severity {
                Severity::Error if !self.sound.contains(&id) => findings.errors.push(line),
                Severity::Error | Severity::Warning => findings.warnings.push(line),
            }
        }
        findings
    }
}

/// Returns whether `pool` may assign `role`.
fn gives(catalogue: &Catalogue, pool: &IdentityPool, role: &Arc<Role>) -> bool {
    let by_groups = pool.config.role_mappings.iter().any(|mapping| mapping.by == MappingType::Token);
    let group_has_role = || {
        let mut groups = catalogue.config.user_pools().flat_map(|pool| &pool.groups);
        groups.any(|group| group.role.as_deref() == Some(role.id.name.as_str()))
    };
    pool.config.roles().any(|name| *name == role.id.name) || (by_groups && group_has_role())
}

/// Returns whether a request with `role` from `pool` may have `key`.
fn fills(config: &Config, pool: &IdentityPool, role: &Role, key: &Key) -> bool {
    let guests = pool.config.guest_role.as_deref() == Some(role.id.name.as_str());
    let others = pool.config.authenticated_role.as_deref() == Some(role.id.name.as_str())
        || !guests
        || pool.config.role_mappings.iter().any(|mapping| match &mapping.by {
            MappingType::Rules(rules) => rules.iter().any(|rule| rule.role == role.id.name),
            MappingType::Token => false,
        });
    match key {
        Key::PrincipalTag(tag) => {
            let mut tags = pool.config.principal_tags.iter();
            others && tags.any(|(name, claim)| name.to_lowercase() == **tag && may_be_told(config, claim))
        }
        Key::Known(Known::Username | Known::TokenIssueTime | Known::MultiFactorAuthAge) => others,
        Key::Known(_) => true,
        Key::RequestTag(_) | Key::Other(_) => false,
    }
}

/// Returns whether the claim may be present: any claim if bearer tokens are accepted, else those
/// that providers send.
pub(super) fn may_be_told(config: &Config, claim: &str) -> bool {
    !config.issuers.is_empty()
        || config.user_pools().any(UserPool::issues_access_tokens)
        || matches!(claim, "sub" | "username" | "cognito:username" | "email_verified")
        || STANDARD_ATTRIBUTES.contains(&claim)
        || config.providers.iter().any(|provider| provider.attributes.contains_key(claim))
}
