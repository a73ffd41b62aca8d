//! A route with what follows from it, worked out once.

use super::Rule;
use crate::base::sha256;
use crate::config::{self, Config};
use http::HeaderValue;
use std::sync::Arc;

/// A route with what follows from it.
#[derive(Debug)]
pub struct Route {
    /// What the file says.
    pub config: config::Route,
    /// The host, once for all that is remembered with it.
    pub host: Arc<str>,
    /// The origin that browsers see.
    pub origin: String,
    /// Its authority, as a `Host` header has it.
    pub authority: HeaderValue,
    /// Whom assertions for this route are for: origin and path.
    pub audience: String,
    /// Who signs them, in the form that verifiers of load balancers' assertions insist on. The last
    /// part tells deployments apart.
    pub signer: String,
    /// Who may pass.
    pub rule: Rule,
}

impl Route {
    /// What follows from `route` in the deployment that `config` describes.
    pub fn new(config: &Config, route: config::Route, rule: Rule) -> Self {
        let origin = config.public_url.origin_of(&route.host);
        let deployment: String =
            sha256(config.public_url.to_string())[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = route.name.chars().map(plain).collect();
        Self {
            host: route.host.as_str().into(),
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
}
