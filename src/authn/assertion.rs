//! The assertion: a short-lived JWT that carries the principal of a request to the upstream.

use super::Principal;
use crate::base::{Duration, Entropy, Moment, Timestamp, uuid};
use crate::catalogue::{Catalogue, Route};
use crate::identity::{AssumedRole, Person};
use crate::jose::{self, HeaderParameter, KeyError};
use crate::model::{Identity, User};
use crate::policy::Permit;
use crate::token::KeyChain;
use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// Lifetime of an assertion.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(300);
/// Maximum bytes of group names in an assertion. Servers commonly reject more than 8 KB of headers.
const MAX_GROUPS_BYTES: usize = 3072;

/// An assertion as header values.
#[derive(Clone)]
pub struct Assertion {
    /// The compact JWS, marked sensitive.
    pub data: HeaderValue,
    /// The user's `sub`, or the guest's identity.
    pub identity: HeaderValue,
}

/// The reason that an assertion could not be created. The request is then not forwarded.
#[derive(Debug, Error)]
pub enum MintError {
    /// The signature failed.
    #[error(transparent)]
    Key(KeyError),
    /// The subject is not a valid header value.
    #[error("the assertion is no header value")]
    Header,
}

/// The signer of assertions.
pub struct Minter {
    keys: Arc<KeyChain>,
    entropy: Arc<dyn Entropy>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
    #[serde(flatten)]
    person: Option<PersonClaims<'a>>,
    #[serde(flatten)]
    assumed: Option<AssumedClaims<'a>>,
}

/// The claims of a signed-in user.
#[derive(Serialize)]
struct PersonClaims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    amr: &'a [String],
    #[serde(rename = "cognito:username")]
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(rename = "cognito:groups", skip_serializing_if = "<[_]>::is_empty")]
    groups: Vec<&'a str>,
    identities: Vec<LinkedIdentity<'a>>,
}

/// The claims of an assumed role.
#[derive(Serialize)]
struct AssumedClaims<'a> {
    identity_id: &'a str,
    role: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<&'a str, &'a str>,
}

/// A provider account in the form of Cognito's `identities` claim.
#[derive(Serialize)]
struct LinkedIdentity<'a> {
    #[serde(rename = "providerName")]
    provider: &'a str,
    #[serde(rename = "userId")]
    subject: &'a str,
    issuer: &'a str,
}

impl Minter {
    /// Creates a minter that signs with the current key of `keys`.
    pub fn new(keys: Arc<KeyChain>, entropy: Arc<dyn Entropy>) -> Self {
        Self { keys, entropy }
    }

    /// Returns the assertion of `principal` for `route`. An assertion is cached with the principal
    /// for half its lifetime. The entry is valid only for this route, catalogue and version of the
    /// user.
    ///
    /// # Errors
    /// Returns an error if the assertion cannot be signed or its subject is not a valid header
    /// value.
    pub fn mint(
        &self,
        _permit: &Permit,
        principal: &Principal,
        assumed: Option<&AssumedRole>,
        catalogue: &Catalogue,
        route: &Arc<Route>,
        now: Moment,
    ) -> Result<Assertion, MintError> {
        let kept = principal.cache();
        if let Some(assertion) = kept.assertion(route, now) {
            return Ok(assertion);
        }
        let assertion = self.sign(principal, assumed, catalogue, route, now.wall)?;
        kept.insert_assertion(route, &assertion, now, ASSERTION_LIFETIME / 2);
        Ok(assertion)
    }

    fn sign(
        &self,
        principal: &Principal,
        assumed: Option<&AssumedRole>,
        catalogue: &Catalogue,
        route: &Route,
        now: Timestamp,
    ) -> Result<Assertion, MintError> {
        let iss = catalogue.config.public_url.to_string();
        let exp = now.plus(ASSERTION_LIFETIME).seconds();
        let claims = Claims {
            iss: &iss,
            aud: &route.audience,
            sub: principal.subject(),
            iat: now.seconds(),
            exp,
            jti: uuid(&*self.entropy),
            person: principal.person(&catalogue.config).map(|person| person_claims(person, principal, route)),
            assumed: assumed.map(|assumed| AssumedClaims {
                identity_id: assumed.identity_id(),
                role: &assumed.role.arn,
                tags: assumed.tags().map(|(tag, value)| (&*tag.name, value)).collect(),
            }),
        };
        // The header contains the parameters that verifiers of an Application Load Balancer's
        // assertions expect.
        let header = [
            ("iss", HeaderParameter::Text(&iss)),
            ("signer", HeaderParameter::Text(&route.signer)),
            ("client", HeaderParameter::Text(&catalogue.gateway_client)),
            ("exp", HeaderParameter::Number(exp)),
        ];
        let keys = self.keys.current();
        let token = jose::sign(&keys.signing, &header, &claims).map_err(MintError::Key)?;
        // Store both in one allocation of exact size: they are cached, and always sent together.
        let end = token.len();
        let both = Bytes::from([&*token, principal.subject()].concat().into_bytes().into_boxed_slice());
        let header = |range| HeaderValue::from_maybe_shared(range).map_err(|_| MintError::Header);
        let (mut data, identity) = (header(both.slice(..end))?, header(both.slice(end..))?);
        data.set_sensitive(true);
        Ok(Assertion { data, identity })
    }
}

fn person_claims<'a>(person: Person<'a>, principal: &'a Principal, route: &Route) -> PersonClaims<'a> {
    let user = person.user;
    let linked = |identity: &'a Identity| LinkedIdentity {
        provider: &identity.provider,
        subject: &identity.subject,
        issuer: &identity.issuer,
    };
    PersonClaims {
        sid: principal.signed_in().map(|who| who.session().id.as_str()),
        auth_time: person.auth_time.map(Timestamp::seconds),
        amr: person.methods,
        username: &user.username,
        email: user.email(),
        email_verified: user.email().map(|_| user.email_verified()),
        name: user.attributes.get("name"),
        groups: groups_that_fit(person.groups.visible, user, route),
        identities: user.identities.iter().map(linked).collect(),
    }
}

/// Returns the groups that the route passes on, truncated to [`MAX_GROUPS_BYTES`].
fn groups_that_fit<'u>(mut groups: Vec<&'u str>, user: &User, route: &Route) -> Vec<&'u str> {
    let mut bytes = 0;
    groups.retain(|group| route.config.passes_group(group));
    let total = groups.len();
    let fits = |group: &&&str| {
        bytes += group.len() + 3;
        bytes <= MAX_GROUPS_BYTES
    };
    let kept = groups.iter().take_while(fits).count();
    if kept < total {
        tracing::warn!(
            sub = user.id,
            route = route.config.name,
            groups = total,
            kept,
            "the groups do not fit an assertion: the rest is left out; `assertion_groups` of the route can choose"
        );
        groups.truncate(kept);
    }
    groups
}
