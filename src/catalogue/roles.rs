//! Roles with their policies, compiled, and the identity pools that give them.

use crate::config::{self, Access, Allow, Config, TextFile};
use crate::policy::{Document, Grants, Purpose, Statements};
use std::fmt;
use std::sync::Arc;

/// The action by which a request through the gateway is judged, as API Gateway names it.
pub const INVOKE_ACTION: &str = "execute-api:Invoke";

/// What a role is known by. Whoever is remembered with a role holds this of it, and not its policies: those go when the
/// file changes.
#[derive(Debug)]
pub struct RoleId {
    /// Its place among the roles.
    index: usize,
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

/// A role with its policies.
#[derive(Debug)]
pub struct Role {
    /// What it is known by.
    pub id: Arc<RoleId>,
    /// What those may do who are given it.
    pub grants: Grants,
    /// Who may be given it; anyone, where that is not said.
    pub trust: Option<Arc<Statements>>,
}

/// An identity pool.
#[derive(Debug)]
pub struct IdentityPool {
    /// `{region}:{uuid}`.
    pub id: Arc<str>,
    /// What the file says.
    pub config: config::IdentityPool,
    /// The principal tags that it gives.
    pub tags: Vec<Arc<PrincipalTag>>,
}

/// A principal tag that an identity pool gives (Amazon Cognito Developer Guide, "Using attributes for access control").
#[derive(Debug)]
pub struct PrincipalTag {
    /// Its name, as the file has it.
    pub name: String,
    /// The same in small letters: policies do not tell case.
    pub key: String,
    /// The claim that fills it.
    pub claim: String,
}

impl IdentityPool {
    /// The identity pool that the file describes, with this id.
    pub fn new(id: String, config: config::IdentityPool) -> Self {
        let tag = |(name, claim): (&String, &String)| {
            Arc::new(PrincipalTag { name: name.clone(), key: name.to_lowercase(), claim: claim.clone() })
        };
        Self { id: id.into(), tags: config.principal_tags.iter().map(tag).collect(), config }
    }
}

/// Every role of a deployment.
#[derive(Clone, Debug, Default)]
pub struct Roles(Vec<Arc<Role>>);

/// Policy files that cannot be used.
#[derive(Debug)]
pub struct BadPolicies(Vec<String>);

impl fmt::Display for BadPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for BadPolicies {}

impl Roles {
    /// Compiles the policies of `config`.
    ///
    /// # Errors
    /// Each file that holds no policy document, with the place.
    pub fn compile(config: &Config) -> Result<Self, BadPolicies> {
        let mut wrong: Vec<String> = Vec::new();
        let mut parse = |file: &TextFile, purpose| match Document::parse(&file.text, purpose) {
            Ok(document) => Some(document.named(&file.name)),
            Err(mistake) => {
                let line = format!("{}:{mistake}", file.path.display());
                // Several roles may have the file.
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

    /// The role of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Role>> {
        self.0.iter().find(|role| role.id.name == name)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.0.iter()
    }
}

/// Who may pass a route, and by what that is judged.
#[derive(Debug)]
pub enum Rule {
    /// Anyone.
    Public,
    /// Whoever has a session.
    SignedIn,
    /// Everybody with a session that these lists name.
    Listed(Allow),
    /// Whom the policies of their role allow it.
    Policy(PolicyRule),
}

/// What judges the requests of a route under policy.
#[derive(Debug)]
pub struct PolicyRule {
    /// Whose roles decide.
    pub identity_pool: Arc<IdentityPool>,
    /// What every request's resource begins with: all but method and path.
    resource: String,
    /// What each role may do here, by the role's place.
    grants: Vec<Grants>,
    /// The trust policies that depend on the request, by the role's place.
    trusts: Vec<Option<Arc<Statements>>>,
}

impl Rule {
    /// The rule of `route`.
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

    /// What judges, where policies do.
    pub fn judged(&self) -> Option<&PolicyRule> {
        match self {
            Self::Policy(judged) => Some(judged),
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

    /// What a request for a path asks for, as policies name it.
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

    /// The trust policy of `role`, where it must be judged with each request.
    pub fn trust_by_request(&self, role: &RoleId) -> Option<&Statements> {
        self.trusts.get(role.index)?.as_deref()
    }

    /// What `role` may do here: those of its statements that may concern this route.
    pub fn grants(&self, role: &RoleId) -> Option<&Grants> {
        self.grants.get(role.index)
    }
}
