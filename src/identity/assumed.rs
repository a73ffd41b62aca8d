//! An assumed role: its identity, its tags, and the context values that policies read from it.

use super::{NoRole, Person, RoleChoice};
use crate::base::Timestamp;
use crate::catalogue::{Catalogue, IdentityPool, PrincipalTag, RoleId};
use crate::model::UnreadableClaim;
use crate::policy::{Context, EvalRequest, Key, Known, Statements, Value, Values, Verdict};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

/// The action that trust policies must allow (AWS STS).
pub const ASSUME: &str = "sts:AssumeRoleWithWebIdentity";
/// The principal of identity pools in trust policies: its type and its name.
pub const IDENTITY_POOLS: (&str, &str) = ("Federated", "cognito-identity.amazonaws.com");

/// A principal's identity, role and tags in an identity pool.
#[derive(Debug)]
pub struct AssumedRole {
    /// The role.
    pub role: Arc<RoleId>,
    /// The identity, the tags' values, `user_id` and the username, concatenated. With a hundred
    /// thousand principals, each separate allocation would be a cache miss.
    texts: Box<str>,
    /// The end of the identity, `{region}:{uuid}`, in bytes.
    identity_ends: usize,
    /// The tags, each with the end of its value in bytes.
    tags: SmallVec<[(Arc<PrincipalTag>, usize); 1]>,
    /// The end of the user id in bytes; the username follows. The user id is `{role}:{sub}`, with
    /// the identity instead of the `sub` for a guest.
    user_id_ends: usize,
    /// Whether the principal is a user and not a guest.
    is_user: bool,
    /// The time of authentication. If unknown, the creation time of the session or token.
    issued_at: Option<Timestamp>,
    /// The time of a multi-factor authentication.
    multi_factor_at: Option<Timestamp>,
    /// The identity pool's id.
    identity_pool: Arc<str>,
    /// The values of `amr`: `authenticated`, the provider and, for its users, the user pool. For a
    /// guest, `unauthenticated`.
    amr: Box<[String]>,
}

impl AssumedRole {
    /// Creates the assumed role of `person`, or of a guest.
    ///
    /// # Errors
    /// Returns an error if the role's trust policy denies it, or if a tag's claim has several
    /// values or is not comparable.
    pub fn new(
        catalogue: &Catalogue,
        identity_pool: &IdentityPool,
        chosen: RoleChoice,
        identity_id: &str,
        person: Option<&Person<'_>>,
    ) -> Result<Self, NoRole> {
        let role = chosen.role;
        let user_pool = |person: &Person<'_>| {
            let id = person.pool_issuer.and_then(|issuer| issuer.rsplit('/').next());
            let id = id.unwrap_or(&catalogue.pool.id);
            format!("cognito-idp.{}.amazonaws.com/{id}", catalogue.config.region)
        };
        let (amr, subject) = match person {
            Some(person) => {
                let by = ["authenticated".to_owned(), person.provider.to_owned()];
                let pool = person.of_user_pool.then(|| user_pool(person));
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
                // A tag has one value. With only the first value, or none, a Deny would miss the
                // others.
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
        // A trust policy that depends on the request is evaluated for each request instead.
        match &role.trust {
            Some(trust) if !trust.depend_on_request() => assumed.trusted(trust, &assumed).map(|()| assumed),
            _ => Ok(assumed),
        }
    }

    /// Checks that the role's trust policy allows the identity pool to assign the role.
    ///
    /// # Errors
    /// Returns [`NoRole::Untrusted`] if the policy does not allow it.
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

    /// Returns `{role}:{sub}`, with the identity instead of the `sub` for a guest.
    fn user_id(&self) -> &str {
        let from = self.tags.last().map_or(self.identity_ends, |(_, end)| *end);
        &self.texts[from..self.user_id_ends]
    }

    /// Returns the time of a multi-factor authentication, or `None` if there was none.
    pub(super) fn multi_factor_at(&self) -> Option<Timestamp> {
        self.multi_factor_at
    }
}

/// Percent-encodes `/` and `%`, so that `name` is one path segment. Users can choose some names,
/// and `${aws:username}` must not match another user's paths.
fn one_segment(name: &str) -> Cow<'_, str> {
    match name.contains(['/', '%']) {
        true => name.replace('%', "%25").replace('/', "%2F").into(),
        false => name.into(),
    }
}

/// Provides the values that do not depend on the request.
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
