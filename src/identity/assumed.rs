//! A role that was given: what it was given to, and what policies may ask of that.

use super::{Chosen, NoRole, Person};
use crate::base::Timestamp;
use crate::catalogue::{Catalogue, IdentityPool, PrincipalTag, RoleId};
use crate::policy::{Asked, Context, Key, Known, Value, Values, Verdict};
use std::sync::Arc;

/// The action by which a role is given to an identity (AWS STS).
pub const ASSUME: &str = "sts:AssumeRoleWithWebIdentity";
/// Who gives it, as trust policies name identity pools.
const IDENTITY_POOLS: (&str, &str) = ("Federated", "cognito-identity.amazonaws.com");

/// A principal's standing in an identity pool: its identity, its role, its tags.
#[derive(Debug)]
pub struct Assumed {
    /// The identity pool's id.
    identity_pool: Arc<str>,
    /// The identity, `{region}:{uuid}`.
    pub identity_id: String,
    /// The role.
    pub role: Arc<RoleId>,
    /// The principal's tags.
    pub tags: Box<[Tag]>,
    /// `authenticated` or `unauthenticated`, and by what.
    amr: Box<[String]>,
    /// The role's name and the user's `sub`, or the guest's identity.
    user_id: String,
    username: Option<String>,
    /// When the user was authenticated, and whether by more than one thing.
    authenticated: Option<(Timestamp, bool)>,
}

/// A principal tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its name, as the file has it.
    pub name: Arc<str>,
    /// The same in small letters.
    key: Arc<str>,
    /// Its value.
    pub value: Box<str>,
}

impl Assumed {
    /// What `person`, or a guest, stands for with the role that was chosen.
    ///
    /// # Errors
    /// Where the role's own policy does not let them have it.
    pub fn new(
        catalogue: &Catalogue,
        identity_pool: &IdentityPool,
        chosen: Chosen,
        identity_id: String,
        person: Option<&Person<'_>>,
    ) -> Result<Self, NoRole> {
        let role = chosen.role;
        let user_pool =
            || format!("cognito-idp.{}.amazonaws.com/{}", catalogue.config.region, catalogue.pool.id);
        let (amr, subject) = match person {
            Some(person) => {
                let by = ["authenticated".to_owned(), person.provider.to_owned()];
                let pool = person.of_user_pool.then(user_pool);
                (by.into_iter().chain(pool).collect(), person.user.id.as_str())
            }
            None => (["unauthenticated".to_owned()].into(), identity_id.as_str()),
        };
        let tag = |tag: &PrincipalTag| {
            let value = person?.claim(&tag.claim).first().copied()?.into();
            Some(Tag { name: tag.name.clone(), key: tag.key.clone(), value })
        };
        let assumed = Self {
            tags: identity_pool.tags.iter().filter_map(tag).collect(),
            amr,
            user_id: format!("{}:{subject}", role.id.name),
            username: person.map(|person| person.user.username.clone()),
            // RFC 8176, section 2: "mfa: Multiple-factor authentication".
            authenticated: person
                .map(|person| (person.auth_time, person.methods.iter().any(|method| method == "mfa"))),
            identity_pool: identity_pool.id.clone(),
            identity_id,
            role: role.id.clone(),
        };
        let asked = Asked {
            action: ASSUME,
            resource: "",
            loose: None,
            principal: Some(IDENTITY_POOLS),
            context: &assumed,
        };
        let trusted =
            role.trust.as_ref().is_none_or(|trust| matches!(trust.judge(&asked), Verdict::Allowed(_)));
        match trusted {
            true => Ok(assumed),
            false => Err(NoRole::Untrusted(assumed.role.name.clone())),
        }
    }

    /// When the person was authenticated by more than one thing.
    pub(super) fn multi_factor_at(&self) -> Option<Timestamp> {
        self.authenticated.and_then(|(at, mfa)| mfa.then_some(at))
    }
}

/// What is known whatever the request.
impl Context for Assumed {
    fn values(&self, key: &Key) -> Values<'_> {
        match key {
            Key::Known(Known::IdentityAud) => Values::One(Value::Text(&self.identity_pool)),
            Key::Known(Known::IdentitySub) => Values::One(Value::Text(&self.identity_id)),
            Key::Known(Known::IdentityAmr) => Values::Many(&self.amr),
            Key::Known(Known::PrincipalArn) => Values::One(Value::Text(&self.role.arn)),
            Key::Known(Known::UserId) => Values::One(Value::Text(&self.user_id)),
            Key::Known(Known::Username) => {
                self.username.as_ref().map_or(Values::Absent, |name| Values::One(Value::Text(name)))
            }
            Key::Known(Known::TokenIssueTime) => {
                self.authenticated.map_or(Values::Absent, |(at, _)| Values::One(Value::Time(at)))
            }
            Key::Known(Known::MultiFactorAuthPresent) => {
                Values::One(Value::Bool(self.multi_factor_at().is_some()))
            }
            Key::PrincipalTag(name) => {
                let tag = self.tags.iter().find(|tag| *tag.key == **name);
                tag.map_or(Values::Absent, |tag| Values::One(Value::Text(&tag.value)))
            }
            _ => Values::Absent,
        }
    }
}
