//! What is known of a request, by condition key.

use crate::base::Timestamp;
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// A condition key, under which a request's context holds values. Names are compared without case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// One that stands for itself.
    Known(Known),
    /// `aws:PrincipalTag/…`: the tag's name, in lower case.
    PrincipalTag(Box<str>),
    /// `aws:RequestTag/…`: the same.
    RequestTag(Box<str>),
    /// One of which nothing is known, in lower case.
    Other(Box<str>),
}

macro_rules! known_keys {
    ($($variant:ident = $name:literal, $what:literal;)*) => {
        /// The condition keys that stand for themselves.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Known {
            $(#[doc = $what] $variant,)*
        }

        /// Each of them with its name.
        pub const KNOWN_KEYS: &[(&str, Known)] = &[$(($name, Known::$variant),)*];

        /// Each of them with a sentence for the reference page.
        pub(super) const DESCRIPTIONS: &[(Known, &str)] = &[$((Known::$variant, $what),)*];
    };
}

known_keys! {
    IdentityAud = "cognito-identity.amazonaws.com:aud", "Id of the identity pool.";
    IdentitySub = "cognito-identity.amazonaws.com:sub", "Id of the identity, `us-east-1:` and a UUID: the same in every session.";
    IdentityAmr = "cognito-identity.amazonaws.com:amr", "`authenticated`, the provider's name and `cognito-idp.{region}.amazonaws.com/{pool id}`; for guests `unauthenticated`.";
    PrincipalArn = "aws:PrincipalArn", "ARN of the role: `arn:aws:iam::{account}:role/{name}`.";
    Username = "aws:username", "User name, with `/` and `%` percent-encoded. Absent for guests.";
    UserId = "aws:userid", "Name of the role, `:`, and the user's `sub` or the guest's identity.";
    SourceIp = "aws:SourceIp", "Address of the client, as trusted proxies report it. Unreadable if a proxy reports none.";
    CurrentTime = "aws:CurrentTime", "Time of the request.";
    EpochTime = "aws:EpochTime", "Time of the request in seconds since 1970.";
    TokenIssueTime = "aws:TokenIssueTime", "Time of the authentication (`auth_time`), otherwise of the sign-in or of the token's issue. Absent for guests.";
    SecureTransport = "aws:SecureTransport", "Always `true`: requests without TLS are not served.";
    UserAgent = "aws:UserAgent", "`User-Agent` header, which clients choose. Unreadable if it occurs twice or is not ASCII.";
    Referer = "aws:Referer", "`Referer` header, which clients choose. Unreadable if it occurs twice or is not ASCII.";
    MultiFactorAuthPresent = "aws:MultiFactorAuthPresent", "Whether the provider's `amr` claim contains `mfa`, and `auth_time` is present.";
    MultiFactorAuthAge = "aws:MultiFactorAuthAge", "Seconds since `auth_time`. Absent without multi-factor authentication.";
}

const PRINCIPAL_TAG: &str = "aws:principaltag/";
const REQUEST_TAG: &str = "aws:requesttag/";

impl Known {
    /// Whether its value belongs to one request: a role is given for many.
    pub fn is_of_request(self) -> bool {
        matches!(
            self,
            Self::SourceIp
                | Self::CurrentTime
                | Self::EpochTime
                | Self::SecureTransport
                | Self::UserAgent
                | Self::Referer
                | Self::MultiFactorAuthAge
        )
    }

    /// A value of the key's type, by which operators that never read it are found.
    pub(super) fn example(self) -> Value<'static> {
        match self {
            Self::SourceIp => Value::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Self::CurrentTime | Self::TokenIssueTime => Value::Time(Timestamp::from_seconds(0)),
            Self::EpochTime | Self::MultiFactorAuthAge => Value::Number(0),
            Self::SecureTransport | Self::MultiFactorAuthPresent => Value::Bool(true),
            Self::IdentityAud
            | Self::IdentitySub
            | Self::IdentityAmr
            | Self::PrincipalArn
            | Self::Username
            | Self::UserId
            | Self::UserAgent
            | Self::Referer => Value::Text(""),
        }
    }
}

impl Key {
    /// Whether its value belongs to one request.
    pub fn is_of_request(&self) -> bool {
        matches!(self, Self::Known(known) if known.is_of_request())
    }

    /// The key called `name`.
    pub fn named(name: &str) -> Self {
        if let Some((_, known)) = KNOWN_KEYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Self::Known(*known);
        }
        let lower = name.to_lowercase();
        match (lower.strip_prefix(PRINCIPAL_TAG), lower.strip_prefix(REQUEST_TAG)) {
            (Some(tag), _) => Self::PrincipalTag(tag.into()),
            (_, Some(tag)) => Self::RequestTag(tag.into()),
            _ => Self::Other(lower.into()),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(known) => {
                let name = KNOWN_KEYS.iter().find(|(_, other)| other == known).map_or("", |(name, _)| name);
                f.write_str(name)
            }
            Self::PrincipalTag(tag) => write!(f, "aws:PrincipalTag/{tag}"),
            Self::RequestTag(tag) => write!(f, "aws:RequestTag/{tag}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// A value of a condition key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A moment.
    Time(Timestamp),
    /// An address.
    Ip(IpAddr),
}

impl<'a> Value<'a> {
    /// The value as a text, as AWS would write it.
    pub fn text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Bool(true) => "true".into(),
            Self::Bool(false) => "false".into(),
            Self::Number(number) => number.to_string().into(),
            Self::Time(at) => super::value::written(at).into(),
            Self::Ip(ip) => ip.to_string().into(),
        }
    }
}

/// The values of a condition key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values<'a> {
    /// The key is not in the context.
    Absent,
    /// The key has a value that cannot be read, such as a header that came twice. No Allow that depends on it applies,
    /// and each Deny does.
    Unreadable,
    /// A key that has one value.
    One(Value<'a>),
    /// A key that may have many.
    Many(&'a [String]),
}

impl<'a> Values<'a> {
    /// The one value of a key that has one. A key of many values fills no variable.
    pub fn one(self) -> Option<Value<'a>> {
        match self {
            Self::One(value) => Some(value),
            Self::Absent | Self::Unreadable | Self::Many(_) => None,
        }
    }

    /// Each value.
    pub fn each(self) -> impl Iterator<Item = Value<'a>> {
        let (one, many) = match self {
            Self::Absent | Self::Unreadable => (None, &[][..]),
            Self::One(value) => (Some(value), &[][..]),
            Self::Many(values) => (None, values),
        };
        one.into_iter().chain(many.iter().map(|text| Value::Text(text)))
    }
}

/// What is known of a request.
pub trait Context {
    /// The values of `key`.
    fn values(&self, key: &Key) -> Values<'_>;
}

/// A request for a decision.
#[derive(Clone, Copy)]
pub struct EvalRequest<'a> {
    /// The action, such as `execute-api:Invoke`.
    pub action: &'a str,
    /// The ARN of what it is done to.
    pub resource: &'a str,
    /// The same as less exact servers may read it: what is shut off by name must not be had by spelling it differently.
    /// None where spelling counts.
    pub loose: Option<Spellings<'a>>,
    /// Who asks, by kind and name, where a trust policy is judged.
    pub principal: Option<(&'a str, &'a str)>,
    /// What is known beside.
    pub context: &'a dyn Context,
}

/// A resource as less exact servers may read it.
#[derive(Clone, Copy)]
pub struct Spellings<'a> {
    /// Each reading that differs, folded ([`crate::base::fold`]); ASCII case is ignored where it is compared.
    pub folded: &'a [String],
    /// The resource without parameters and encoded query, where it has such: by an ending that a server drops, a resource
    /// must not pass for one that is allowed.
    pub without_ending: Option<&'a str>,
}

/// A context in which nothing is known.
pub(super) struct Nothing;

impl Context for Nothing {
    fn values(&self, _: &Key) -> Values<'_> {
        Values::Absent
    }
}
