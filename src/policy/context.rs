//! Request context: the values of condition keys.

use crate::base::Timestamp;
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// A condition key. Names are compared case-insensitively.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A key without a suffix.
    Known(Known),
    /// `aws:PrincipalTag/…`: the tag's name, in lower case.
    PrincipalTag(Box<str>),
    /// `aws:RequestTag/…`: the tag's name, in lower case.
    RequestTag(Box<str>),
    /// An unknown key, in lower case.
    Other(Box<str>),
}

macro_rules! known_keys {
    ($($variant:ident = $name:literal, $what:literal;)*) => {
        /// The known condition keys without a suffix.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Known {
            $(#[doc = $what] $variant,)*
        }

        /// Each key with its name.
        pub const KNOWN_KEYS: &[(&str, Known)] = &[$(($name, Known::$variant),)*];

        /// Each key with its description for the reference page.
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
    MultiFactorAuthPresent = "aws:MultiFactorAuthPresent", "Whether the session's authentication methods contain `mfa`, by a second factor of the pool or the provider's `amr` claim, and its time is known.";
    MultiFactorAuthAge = "aws:MultiFactorAuthAge", "Seconds since the second factor of the pool was proved, or else since `auth_time`. Absent without multi-factor authentication.";
}

const PRINCIPAL_TAG: &str = "aws:principaltag/";
const REQUEST_TAG: &str = "aws:requesttag/";

impl Known {
    /// Returns whether the value may differ between requests of one session. A role is assumed for
    /// many requests.
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

    /// Returns an example value of the key's type. Lint uses it to find operators that never match
    /// the key.
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
    /// Returns whether the value may differ between requests of one session.
    pub fn is_of_request(&self) -> bool {
        matches!(self, Self::Known(known) if known.is_of_request())
    }

    /// Returns the key called `name`.
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
    /// A string.
    Text(&'a str),
    /// A Boolean.
    Bool(bool),
    /// An integer.
    Number(i64),
    /// A time.
    Time(Timestamp),
    /// An IP address.
    Ip(IpAddr),
}

impl<'a> Value<'a> {
    /// Returns the value as text in AWS's format.
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
    /// The key's value is unreadable, such as a repeated header. An Allow that depends on it does
    /// not apply; a Deny that depends on it does.
    Unreadable,
    /// A single-valued key.
    One(Value<'a>),
    /// A multivalued key.
    Many(&'a [String]),
}

impl<'a> Values<'a> {
    /// Returns the value of a single-valued key. Returns `None` for a multivalued key, which cannot
    /// replace a variable.
    pub fn one(self) -> Option<Value<'a>> {
        match self {
            Self::One(value) => Some(value),
            Self::Absent | Self::Unreadable | Self::Many(_) => None,
        }
    }

    /// Iterates over the values.
    pub fn each(self) -> impl Iterator<Item = Value<'a>> {
        let (one, many) = match self {
            Self::Absent | Self::Unreadable => (None, &[][..]),
            Self::One(value) => (Some(value), &[][..]),
            Self::Many(values) => (None, values),
        };
        one.into_iter().chain(many.iter().map(|text| Value::Text(text)))
    }
}

/// The context of a request.
pub trait Context {
    /// Returns the values of `key`.
    fn values(&self, key: &Key) -> Values<'_>;
}

/// A request for a decision.
#[derive(Clone, Copy)]
pub struct EvalRequest<'a> {
    /// The action, such as `execute-api:Invoke`.
    pub action: &'a str,
    /// The ARN of the resource.
    pub resource: &'a str,
    /// Alternative readings of the resource by lenient servers. A Deny applies to each of them.
    /// `None` if only the exact spelling matters.
    pub loose: Option<Spellings<'a>>,
    /// The principal's kind and name, for trust policies.
    pub principal: Option<(&'a str, &'a str)>,
    /// The request context.
    pub context: &'a dyn Context,
}

/// Alternative readings of a resource by lenient servers.
#[derive(Clone, Copy)]
pub struct Spellings<'a> {
    /// Each distinct reading, folded ([`crate::base::fold`]). They are compared without ASCII case.
    pub folded: &'a [String],
    /// The resource without path parameters and encoded query, if it has any. An Allow must match
    /// it as well, because some servers drop that suffix.
    pub without_ending: Option<&'a str>,
}

/// An empty context.
pub(super) struct Nothing;

impl Context for Nothing {
    fn values(&self, _: &Key) -> Values<'_> {
        Values::Absent
    }
}
