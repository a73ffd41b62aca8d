//! The context of one request for policy conditions.

use super::AssumedRole;
use crate::base::Timestamp;
use crate::policy::{Context, Key, Known, Value, Values};
use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

/// The values of a request and of its principal for policy conditions.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// The principal's role.
    pub assumed: &'a AssumedRole,
    /// The time of the request.
    pub now: Timestamp,
    /// The client's IP address; `None` if a proxy sent none or a malformed one.
    pub source_ip: Option<IpAddr>,
    /// Whether the client used TLS.
    pub secure: bool,
    /// The request headers.
    pub headers: &'a HeaderMap,
}

impl<'a> RequestContext<'a> {
    /// Returns the value of a header. Returns `Unreadable` if the header is repeated or not ASCII,
    /// because servers interpret such headers differently.
    fn header(&self, name: HeaderName) -> Values<'a> {
        let mut all = self.headers.get_all(name).iter();
        match (all.next().map(HeaderValue::to_str), all.next()) {
            (None, _) => Values::Absent,
            (Some(Ok(text)), None) => Values::One(Value::Text(text)),
            _ => Values::Unreadable,
        }
    }
}

impl Context for RequestContext<'_> {
    fn values(&self, key: &Key) -> Values<'_> {
        let Key::Known(known) = key else { return self.assumed.values(key) };
        let value = match known {
            // An absent or malformed address from a proxy must not bypass a Deny by address.
            Known::SourceIp => {
                return self
                    .source_ip
                    .map_or(Values::Unreadable, |ip| Values::One(Value::Ip(ip.to_canonical())));
            }
            Known::CurrentTime => Some(Value::Time(self.now)),
            Known::EpochTime => Some(Value::Number(self.now.seconds())),
            Known::SecureTransport => Some(Value::Bool(self.secure)),
            Known::UserAgent => return self.header(USER_AGENT),
            Known::Referer => return self.header(REFERER),
            Known::MultiFactorAuthAge => {
                let since = |at: Timestamp| Value::Number(self.now.seconds() - at.seconds());
                self.assumed.multi_factor_at().map(since)
            }
            Known::IdentityAud
            | Known::IdentitySub
            | Known::IdentityAmr
            | Known::PrincipalArn
            | Known::Username
            | Known::UserId
            | Known::TokenIssueTime
            | Known::MultiFactorAuthPresent => return self.assumed.values(key),
        };
        value.map_or(Values::Absent, Values::One)
    }
}
