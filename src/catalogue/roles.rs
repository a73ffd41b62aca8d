//! Roles with their compiled policies, and the identity pools that assign them.

use crate::config::{self, Access, Allow, Config, TextFile};
use crate::policy::{Document, Grants, Purpose, Statements};
use std::sync::Arc;
use thiserror::Error;

/// The action of a request through the gateway, with API Gateway's name.
pub const INVOKE_ACTION: &str = "execute-api:Invoke";

/// The identification of a role. Caches store it instead of the policies, which a reload replaces.
#[derive(Debug)]
pub struct RoleId {
    /// The index among the roles.
    index: usize,
    /// The name.
    pub name: String,
    /// The ARN.
    pub arn: String,
}

/// A role with its policies.
#[derive(Debug)]
pub struct Role {
    /// The role's identification.
    pub id: Arc<RoleId>,
    /// The permissions policies and the boundary.
    pub grants: Grants,
    /// The trust policy; `None` trusts every identity pool.
    pub trust: Option<Arc<Statements>>,
}

/// An identity pool.
#[derive(Debug)]
pub struct IdentityPool {
    /// The id: `{region}:{uuid}`.
    pub id: Arc<str>,
    /// The configuration.
    pub config: config::IdentityPool,
    /// The principal tags that the pool sets.
    pub tags: Vec<Arc<PrincipalTag>>,
}

/// A principal tag set by an identity pool (Amazon Cognito Developer Guide, "Using attributes for
/// access control").
#[derive(Debug)]
pub struct PrincipalTag {
    /// The name as configured.
    pub name: String,
    /// The name in lower case, because policies compare tag keys without case.
    pub key: String,
    /// The claim that contains the value.
    pub claim: String,
}

impl IdentityPool {
    /// Creates the identity pool of `config` with this id.
    pub fn new(id: String, config: config::IdentityPool) -> Self {
        let tag = |(name, claim): (&String, &String)| {
            Arc::new(PrincipalTag { name: name.clone(), key: name.to_lowercase(), claim: claim.clone() })
        };
        Self { id: id.into(), tags: config.principal_tags.iter().map(tag).collect(), config }
    }
}

/// All roles of a deployment.
#[derive(Clone, Debug, Default)]
pub struct Roles(Vec<Arc<Role>>);

/// The error for invalid policy files.
#[derive(Debug, Error)]
#[error("{}", .0.join("\n"))]
pub struct BadPolicies(Vec<String>);

impl BadPolicies {
    /// Creates an error with one line for each invalid document.
    pub(super) fn new(lines: Vec<String>) -> Self {
        Self(lines)
    }
}

impl Roles {
    /// Compiles the policies of `config`.
    ///
    /// # Errors
    /// Returns one line for each invalid policy document, with its location.
    pub fn compile(config: &Config) -> Result<Self, BadPolicies> {
        let mut wrong: Vec<String> = Vec::new();
        let mut parse = |file: &TextFile, purpose| match Document::parse(&file.text, purpose) {
            Ok(document) => Some(document.named(&file.name)),
            Err(mistake) => {
                let line = format!("{}:{mistake}", file.path.display());
                // Several roles may use the file.
                if !wrong.contains(&line) {
                    wrong.push(line);
                }
                None
            }
        };
        let mut roles = Vec::new();
        for (index, role) in config.roles.iter().enumerate() {
            let policies: Vec<_> =
                role.policies.iter().filter_map(|file| parse(file, Purpose::Identity)).collect();
            let boundary = role.permissions_boundary.as_ref().map(|file| parse(file, Purpose::Identity));
            let trust = role.assume_role_policy.as_ref().map(|file| parse(file, Purpose::Trust));
            roles.push(Arc::new(Role {
                id: Arc::new(RoleId {
                    index,
                    name: role.name.clone(),
                    arn: format!("arn:aws:iam::{}:role/{}", config.account_id, role.name),
                }),
                grants: Grants {
                    policies: Statements::of(&policies),
                    bounds: boundary.into_iter().map(|document| Statements::of(&document)).collect(),
                },
                trust: trust.map(|document| Arc::new(Statements::of(&document))),
            }));
        }
        if wrong.is_empty() { Ok(Self(roles)) } else { Err(BadPolicies(wrong)) }
    }

    /// Returns the role with this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Role>> {
        self.0.iter().find(|role| role.id.name == name)
    }

    /// Iterates over all roles.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.0.iter()
    }
}

/// The access rule of a route.
#[derive(Debug)]
pub enum Rule {
    /// Everyone.
    Public,
    /// Every principal with a session.
    SignedIn,
    /// Principals that these lists contain.
    Listed(Allow),
    /// Principals whose role's policies allow the request.
    Policy(PolicyRule),
}

/// The policies of a route.
#[derive(Debug)]
pub struct PolicyRule {
    /// The identity pool that selects roles.
    pub identity_pool: Arc<IdentityPool>,
    /// The prefix of every request's resource: everything except method and path.
    resource: String,
    /// Each role's statements that may apply to this route, by role index.
    grants: Vec<Grants>,
    /// Trust policies that depend on the individual request, by role index.
    trusts: Vec<Option<Arc<Statements>>>,
}

impl Rule {
    /// Returns the rule of `route`.
    pub(super) fn of(
        config: &Config,
        route: &config::Route,
        roles: &Roles,
        identity_pools: &[Arc<IdentityPool>],
    ) -> Self {
        let named = |pool: &&Arc<IdentityPool>| Some(&pool.config.name) == route.identity_pool.as_ref();
        match route.access {
            Access::Public => Self::Public,
            Access::SignedIn => route.allowed.clone().map_or(Self::SignedIn, Self::Listed),
            Access::Policy => {
                let pool = identity_pools.iter().find(named);
                let pool = pool.expect("invariant: the file was checked: the route names a pool of it");
                Self::Policy(PolicyRule::new(config, &route.name, roles, pool.clone()))
            }
        }
    }

    /// Returns the policy rule, if policies decide the access.
    pub fn judged(&self) -> Option<&PolicyRule> {
        match self {
            Self::Policy(rule) => Some(rule),
            Self::Public | Self::SignedIn | Self::Listed(_) => None,
        }
    }
}

impl PolicyRule {
    fn new(config: &Config, route: &str, roles: &Roles, identity_pool: Arc<IdentityPool>) -> Self {
        let resource =
            format!("arn:aws:execute-api:{}:{}:{route}/$default/", config.region, config.account_id);
        let grants = roles.iter().map(|role| role.grants.narrowed(INVOKE_ACTION, &resource)).collect();
        let trust = |role: &Arc<Role>| role.trust.clone().filter(|trust| trust.depend_on_request());
        Self { identity_pool, resource, grants, trusts: roles.iter().map(trust).collect() }
    }

    /// Returns the ARN of the resource of a request with this method and path.
    pub fn resource_of(&self, method: &str, segments: &[impl AsRef<str>]) -> String {
        let path: usize = segments.iter().map(|segment| segment.as_ref().len() + 1).sum();
        let mut resource = String::with_capacity(self.resource.len() + method.len() + path);
        resource.push_str(&self.resource);
        resource.push_str(method);
        for segment in segments {
            resource.push('/');
            resource.push_str(segment.as_ref());
        }
        resource
    }

    /// Returns the trust policy of `role` if it must be evaluated for each request.
    pub fn trust_by_request(&self, role: &RoleId) -> Option<&Statements> {
        self.trusts.get(role.index)?.as_deref()
    }

    /// Returns the statements of `role` that may apply to this route.
    pub fn grants(&self, role: &RoleId) -> Option<&Grants> {
        self.grants.get(role.index)
    }
}
