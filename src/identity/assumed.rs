//! An assumed role: its identity, its tags, and the context values that policies read from it.

use super::{NoRole, Person, RoleChoice};
use crate::base::Timestamp;
use crate::catalogue::{Catalogue, IdentityPool, PrincipalTag, RoleId};
use crate::model::UnreadableClaim;
use crate::policy::{Context, EvalRequest, Key, Known, Statements, Value, Values, Verdict};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

/// The action of assuming a role (AWS STS).
pub const ASSUME: &str = "sts:AssumeRoleWithWebIdentity";
/// The principal of identity pools in trust policies.
pub const IDENTITY_POOLS: (&str, &str) = ("Federated", "cognito-identity.amazonaws.com");

/// A principal's identity, role and tags in an identity pool.
#[derive(Debug)]
pub struct AssumedRole {
    /// The role.
    pub role: Arc<RoleId>,
    /// The identity, the tags' values, the user's id and name, concatenated: separate allocations
    /// for a hundred thousand principals would each be a cache miss.
    texts: Box<str>,
    /// End of the identity, `{region}:{uuid}`.
    identity_ends: usize,
    /// Each tag, and the end of its value.
    tags: SmallVec<[(Arc<PrincipalTag>, usize); 1]>,
    /// End of the role's name and the user's `sub`, or the guest's identity. The username follows.
    user_id_ends: usize,
    /// Whether this is a user and not a guest.
    is_user: bool,
    /// When the user was authenticated, or else when the session or the token was created.
    issued_at: Option<Timestamp>,
    /// When the user was authenticated by several factors.
    multi_factor_at: Option<Timestamp>,
    /// The identity pool's id.
    identity_pool: Arc<str>,
    /// `authenticated` or `unauthenticated`, and the provider.
    amr: Box<[String]>,
}

impl AssumedRole {
    /// Creates the assumed role of `person`, or of a guest.
    ///
    /// # Errors
    /// Returns an error if the role's trust policy denies it.
    pub fn new(
        catalogue: &Catalogue,
        identity_pool: &IdentityPool,
        chosen: RoleChoice,
        identity_id: &str,
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
            None => (["unauthenticated".to_owned()].into(), identity_id),
        };
        let mut texts = identity_id.to_owned();
        let mut tags = SmallVec::new();
        for tag in &identity_pool.tags {
            let values = person.map_or(Ok(Vec::new()), |person| person.claim(&tag.claim));
            match values.as_deref() {
                Ok([]) => {}
                Ok([value]) => {
                    texts.push_str(value);
                    tags.push((tag.clone(), texts.len()));
                }
                // A tag has one value: choosing the first, or none, would let the others escape a
                // Deny.
                Ok(_) | Err(UnreadableClaim) => return Err(NoRole::UnreadableClaim(tag.claim.clone())),
            }
        }
        [&*role.id.name, ":", &one_segment(subject)].into_iter().for_each(|part| texts.push_str(part));
        let user_id_ends = texts.len();
        texts.push_str(&one_segment(person.map_or("", |person| &person.user.username)));
        let assumed = Self {
            role: role.id.clone(),
            texts: texts.into(),
            identity_ends: identity_id.len(),
            tags,
            user_id_ends,
            is_user: person.is_some(),
            issued_at: person.and_then(|person| person.auth_time.or(person.issued_at)),
            multi_factor_at: person.and_then(Person::multi_factor_at),
            identity_pool: identity_pool.id.clone(),
            amr,
        };
        // Trust policies that depend on the request are evaluated for each request.
        match &role.trust {
            Some(trust) if !trust.depend_on_request() => assumed.trusted(trust, &assumed).map(|()| assumed),
            _ => Ok(assumed),
        }
    }

    /// Evaluates the role's trust policy.
    ///
    /// # Errors
    /// Returns an error if the identity pool may not assign the role.
    pub fn trusted(&self, trust: &Statements, context: &dyn Context) -> Result<(), NoRole> {
        let principal = Some(IDENTITY_POOLS);
        let request = EvalRequest { action: ASSUME, resource: "", loose: None, principal, context };
        let trusted = matches!(trust.judge(&request), Verdict::Allowed(_));
        match trusted {
            true => Ok(()),
            false => Err(NoRole::Untrusted(self.role.name.clone())),
        }
    }

    /// Returns the identity, `{region}:{uuid}`.
    pub fn identity_id(&self) -> &str {
        &self.texts[..self.identity_ends]
    }

    /// Iterates over the principal's tags with their values.
    pub fn tags(&self) -> impl Iterator<Item = (&PrincipalTag, &str)> {
        let mut from = self.identity_ends;
        self.tags
            .iter()
            .map(move |(tag, end)| (&**tag, &self.texts[std::mem::replace(&mut from, *end)..*end]))
    }

    /// Returns the role's name and the user's `sub`, or the guest's identity.
    fn user_id(&self) -> &str {
        let from = self.tags.last().map_or(self.identity_ends, |(_, end)| *end);
        &self.texts[from..self.user_id_ends]
    }

    /// Returns the time of a multi-factor authentication.
    pub(super) fn multi_factor_at(&self) -> Option<Timestamp> {
        self.multi_factor_at
    }
}

/// Escapes `name` as one path segment. Users of a provider choose some names, and `${aws:username}`
/// must not match another user's paths.
fn one_segment(name: &str) -> Cow<'_, str> {
    match name.contains(['/', '%']) {
        true => name.replace('%', "%25").replace('/', "%2F").into(),
        false => name.into(),
    }
}

/// Values that do not depend on the request.
impl Context for AssumedRole {
    fn values(&self, key: &Key) -> Values<'_> {
        match key {
            Key::Known(Known::IdentityAud) => Values::One(Value::Text(&self.identity_pool)),
            Key::Known(Known::IdentitySub) => Values::One(Value::Text(self.identity_id())),
            Key::Known(Known::IdentityAmr) => Values::Many(&self.amr),
            Key::Known(Known::PrincipalArn) => Values::One(Value::Text(&self.role.arn)),
            Key::Known(Known::UserId) => Values::One(Value::Text(self.user_id())),
            Key::Known(Known::Username) => {
                let name = self.is_user.then(|| Value::Text(&self.texts[self.user_id_ends..]));
                name.map_or(Values::Absent, Values::One)
            }
            Key::Known(Known::TokenIssueTime) => {
                self.issued_at.map_or(Values::Absent, |at| Values::One(Value::Time(at)))
            }
            Key::Known(Known::MultiFactorAuthPresent) => {
                Values::One(Value::Bool(self.multi_factor_at().is_some()))
            }
            Key::PrincipalTag(name) => {
                let tag = self.tags().find(|(tag, _)| *tag.key == **name);
                tag.map_or(Values::Absent, |(_, value)| Values::One(Value::Text(value)))
            }
            _ => Values::Absent,
        }
    }
}
