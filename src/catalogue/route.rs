//! A route with values precomputed from the configuration.

use super::Rule;
use crate::base::sha256;
use crate::config::{self, Config, Host, HostPattern};
use http::HeaderValue;
use std::borrow::Cow;
use std::sync::Arc;

/// A route for one of its host patterns, with values precomputed from the configuration.
#[derive(Debug)]
pub struct Route {
    /// The configuration.
    pub config: Arc<config::Route>,
    /// The host pattern of this value; there is one value for each host pattern of a route.
    pub pattern: HostPattern,
    /// The host, shared with all cached values that contain it.
    pub host: Arc<str>,
    /// The origin, as browsers send it.
    pub origin: String,
    /// The authority of the origin, for a `Host` header.
    pub authority: HeaderValue,
    /// The path prefix, percent-encoded, without a trailing slash; empty for `/`.
    pub path: String,
    /// The path prefix as a header value, if it is removed before forwarding.
    pub stripped_prefix: Option<HeaderValue>,
    /// The audience of assertions for this route: origin and path.
    pub audience: String,
    /// The signer of assertions, in the ARN format that verifiers of load balancer assertions
    /// require. Its last part identifies the deployment.
    pub signer: String,
    /// The access rule.
    pub rule: Arc<Rule>,
}

impl Route {
    /// Precomputes the values of `route` for one of its hosts.
    pub fn new(config: &Config, route: Arc<config::Route>, pattern: HostPattern, rule: Arc<Rule>) -> Self {
        let origin = config.public_url.origin_of_pattern(&pattern);
        let deployment: String =
            sha256(config.public_url.to_string())[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = route.name.chars().map(plain).collect();
        let path = encoded(&route.path);
        Self {
            stripped_prefix: HeaderValue::from_str(&path)
                .ok()
                .filter(|_| route.strip_prefix && !path.is_empty()),
            path,
            host: pattern.to_string().into(),
            pattern,
            audience: format!("{origin}{}", route.path_text()),
            signer: format!(
                "arn:aws:elasticloadbalancing:{}:{}:loadbalancer/app/{name}/{deployment}",
                config.region, config.account_id
            ),
            authority: HeaderValue::from_str(&origin["https://".len()..])
                .expect("invariant: a host is letters, digits and marks that headers take"),
            origin,
            config: route,
            rule,
        }
    }

    /// Returns the path of the route's start page.
    pub fn start_page(&self) -> Cow<'static, str> {
        match self.path.as_str() {
            "" => Cow::Borrowed("/"),
            path => Cow::Owned(format!("{path}/")),
        }
    }

    /// Returns this route for one host that its wildcard matches, with that host's origin and
    /// audience.
    #[must_use]
    pub fn at(&self, config: &Config, host: &Host) -> Self {
        let pattern = HostPattern { wildcard: false, host: host.clone() };
        Self::new(config, self.config.clone(), pattern, self.rule.clone())
    }
}

/// Returns the path of these segments, percent-encoded (RFC 3986, section 3.3). Returns an empty
/// text for no segments.
fn encoded(segments: &[String]) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        for byte in segment.bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => path.push(char::from(byte)),
                _ if b"-._~!$&'()*+,;=:@".contains(&byte) => path.push(char::from(byte)),
                _ => path.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    path
}
