//! A role that was given: what it was given to, and what policies may ask of that.

use super::{NoRole, Person, RoleChoice};
use crate::base::Timestamp;
use crate::catalogue::{Catalogue, IdentityPool, PrincipalTag, RoleId};
use crate::model::UnreadableClaim;
use crate::policy::{Context, EvalRequest, Key, Known, Statements, Value, Values, Verdict};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

/// The action by which a role is given to an identity (AWS STS).
pub const ASSUME: &str = "sts:AssumeRoleWithWebIdentity";
/// Who gives it, as trust policies name identity pools.
pub const IDENTITY_POOLS: (&str, &str) = ("Federated", "cognito-identity.amazonaws.com");

/// A principal's standing in an identity pool: its identity, its role, its tags.
#[derive(Debug)]
pub struct AssumedRole {
    /// The role.
    pub role: Arc<RoleId>,
    /// The identity, the tags' values, the user's id and name, one after the other: of a hundred thousand principals, each
    /// text of its own would come from far away in memory.
    texts: Box<str>,
    /// Where the identity, `{region}:{uuid}`, ends.
    identity_ends: usize,
    /// Each tag, and where its value ends.
    tags: SmallVec<[(Arc<PrincipalTag>, usize); 1]>,
    /// Where the role's name and the user's `sub`, or the guest's identity, end. The rest is the username.
    user_id_ends: usize,
    /// Whether it is a user, and no guest.
    is_user: bool,
    /// When the user was authenticated, or else when the session or the token began.
    issued_at: Option<Timestamp>,
    /// When the user was authenticated by more than one factor.
    multi_factor_at: Option<Timestamp>,
    /// The identity pool's id.
    identity_pool: Arc<str>,
    /// `authenticated` or `unauthenticated`, and by what.
    amr: Box<[String]>,
}

impl AssumedRole {
    /// What `person`, or a guest, stands for with the role that was chosen.
    ///
    /// # Errors
    /// Where the role's own policy does not let them have it.
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
                // A tag has one value: to take the first, or none, would let the others escape a Deny.
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
        // What depends on the request is judged with each.
        match &role.trust {
            Some(trust) if !trust.depend_on_request() => assumed.trusted(trust, &assumed).map(|()| assumed),
            _ => Ok(assumed),
        }
    }

    /// Judges the role's trust policy by what `context` knows.
    ///
    /// # Errors
    /// Where it does not let the identity pool give the role.
    pub fn trusted(&self, trust: &Statements, context: &dyn Context) -> Result<(), NoRole> {
        let principal = Some(IDENTITY_POOLS);
        let asked = EvalRequest { action: ASSUME, resource: "", loose: None, principal, context };
        let trusted = matches!(trust.judge(&asked), Verdict::Allowed(_));
        match trusted {
            true => Ok(()),
            false => Err(NoRole::Untrusted(self.role.name.clone())),
        }
    }

    /// The identity, `{region}:{uuid}`.
    pub fn identity_id(&self) -> &str {
        &self.texts[..self.identity_ends]
    }

    /// The principal's tags, each with its value.
    pub fn tags(&self) -> impl Iterator<Item = (&PrincipalTag, &str)> {
        let mut from = self.identity_ends;
        self.tags
            .iter()
            .map(move |(tag, end)| (&**tag, &self.texts[std::mem::replace(&mut from, *end)..*end]))
    }

    /// The role's name and the user's `sub`, or the guest's identity.
    fn user_id(&self) -> &str {
        let from = self.tags.last().map_or(self.identity_ends, |(_, end)| *end);
        &self.texts[from..self.user_id_ends]
    }

    /// When the person was authenticated by more than one thing.
    pub(super) fn multi_factor_at(&self) -> Option<Timestamp> {
        self.multi_factor_at
    }
}

/// `name` as one segment of a path. A provider's people choose some of these names, and `${aws:username}` must not reach
/// into what is another's.
fn one_segment(name: &str) -> Cow<'_, str> {
    match name.contains(['/', '%']) {
        true => name.replace('%', "%25").replace('/', "%2F").into(),
        false => name.into(),
    }
}

/// What is known whatever the request.
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
