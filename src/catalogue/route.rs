//! A route with what follows from it, worked out once.

use crate::base::sha256;
use crate::config::{self, Config};

/// A route with what follows from it.
#[derive(Debug)]
pub struct Route {
    /// What the file says.
    pub config: config::Route,
    /// The origin that browsers see.
    pub origin: String,
    /// Whom assertions for this route are for: origin and path.
    pub audience: String,
    /// Who signs them, in the form that verifiers of load balancers' assertions insist on. The last
    /// part tells deployments apart.
    pub signer: String,
}

impl Route {
    pub(super) fn new(config: &Config, route: config::Route) -> Self {
        let origin = config.public_url.origin_of(&route.host);
        let deployment: String =
            sha256(config.public_url.to_string())[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = route.name.chars().map(plain).collect();
        Self {
            audience: format!("{origin}{}", route.path_text()),
            signer: format!(
                "arn:aws:elasticloadbalancing:{}:{}:loadbalancer/app/{name}/{deployment}",
                config.region, config.account_id
            ),
            origin,
            config: route,
        }
    }
}
