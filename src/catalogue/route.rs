//! A route with what follows from it, worked out once.

use super::Rule;
use crate::base::sha256;
use crate::config::{self, Config, Host, HostPattern};
use http::HeaderValue;
use std::borrow::Cow;
use std::sync::Arc;

/// A route with what follows from it.
#[derive(Debug)]
pub struct Route {
    /// What the file says.
    pub config: Arc<config::Route>,
    /// The one of its hosts that this is for.
    pub pattern: HostPattern,
    /// The host, once for all that is remembered with it.
    pub host: Arc<str>,
    /// The origin that browsers see.
    pub origin: String,
    /// Its authority, as a `Host` header has it.
    pub authority: HeaderValue,
    /// Its path, percent-encoded, without a slash at its end; empty for `/`.
    pub path: String,
    /// The same as a header's value, where it is taken off before a request goes to the upstream.
    pub stripped_prefix: Option<HeaderValue>,
    /// Whom assertions for this route are for: origin and path.
    pub audience: String,
    /// Who signs them, in the form that verifiers of load balancers' assertions insist on. The last
    /// part tells deployments apart.
    pub signer: String,
    /// Who may pass.
    pub rule: Arc<Rule>,
}

impl Route {
    /// What follows from `route` for one of its hosts, in the deployment that `config` describes.
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

    /// Returns the path of its first page.
    pub fn start_page(&self) -> Cow<'static, str> {
        match self.path.as_str() {
            "" => Cow::Borrowed("/"),
            path => Cow::Owned(format!("{path}/")),
        }
    }

    /// The same for one host among those that a wildcard means: its origin and its audience are the host's own.
    #[must_use]
    pub fn at(&self, config: &Config, host: &Host) -> Self {
        let pattern = HostPattern { wildcard: false, host: host.clone() };
        Self::new(config, self.config.clone(), pattern, self.rule.clone())
    }
}

/// A path of these segments, percent-encoded (RFC 3986, section 3.3); empty where there is none.
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
