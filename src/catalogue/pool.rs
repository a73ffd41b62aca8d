//! The user pools of the configuration and their app clients.

use super::{Branding, PoolIds};
use crate::base::{Duration, sha256};
use crate::config::{self, Config, OAuthFlow, TrustedIssuer};
use std::collections::HashMap;
use std::sync::Arc;

/// A user pool: a user directory and an issuer of access tokens. The first pool is also a broker of
/// external identity providers and an issuer of codes.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The pool's id: `<region>_<9 alphanumerics>`.
    pub id: String,
    /// The name in the configuration.
    pub name: String,
    /// The `iss` claim of the pool's tokens.
    pub issuer: String,
    /// The look of the pages; `None` if the configuration has none.
    pub branding: Option<Arc<Branding>>,
    /// The app clients of the configuration, by id.
    clients: HashMap<String, Arc<AppClient>>,
}

/// An app client of a user pool.
#[derive(Debug)]
pub struct AppClient {
    /// The client id.
    pub id: String,
    /// The name in the configuration.
    pub name: String,
    /// The grants that the client may use.
    pub allowed_oauth_flows: Vec<OAuthFlow>,
    /// The scopes that the client may request.
    pub allowed_oauth_scopes: Vec<String>,
    /// Lifetime of the client's access tokens.
    pub access_token_validity: Duration,
    /// Whether the client gets only tokens that are bound to a key (RFC 9449, section 5.2).
    pub dpop_bound_access_tokens: bool,
    /// The source of the keys that sign the client's assertions (RFC 7523), if it has any.
    pub keys: Option<TrustedIssuer>,
    /// The look of the client's pages; `None` if the configuration has none.
    pub branding: Option<Arc<Branding>>,
    /// SHA-256 of each secret.
    secrets: Vec<[u8; 32]>,
}

impl Pool {
    pub(super) fn new(config: &Config, declared: &config::UserPool, ids: PoolIds) -> Self {
        let PoolIds { pool: id, clients } = ids;
        let client = |(of, id): (&config::AppClient, String)| (id.clone(), Arc::new(AppClient::new(id, of)));
        let clients = declared.clients.iter().zip(clients).map(client).collect();
        let issuer = config.issuer_of(&id);
        let branding = Branding::new(&declared.branding);
        Self { issuer, id, name: declared.name.clone(), branding, clients }
    }

    /// Returns the app client with this id.
    pub fn client(&self, id: &str) -> Option<&Arc<AppClient>> {
        self.clients.get(id)
    }

    /// Iterates over the app clients of the configuration.
    pub fn clients(&self) -> impl Iterator<Item = &Arc<AppClient>> {
        self.clients.values()
    }

    /// Returns the pool as a trusted issuer of bearer tokens. Its audiences are the clients that
    /// may obtain access tokens, and its keys are the JWK Set `keys`.
    pub fn as_issuer(&self, keys: String, algorithms: Vec<String>) -> TrustedIssuer {
        let may = |client: &&Arc<AppClient>| !client.allowed_oauth_flows.is_empty();
        let mut audiences: Vec<_> = self.clients().filter(may).map(|client| client.id.clone()).collect();
        // Sorted, so that an unchanged issuer is equal to the earlier one.
        audiences.sort_unstable();
        let (name, url) = (self.name.clone(), self.issuer.clone());
        TrustedIssuer::of_user_pool(name, url, keys, algorithms, audiences)
    }
}

impl AppClient {
    fn new(id: String, of: &config::AppClient) -> Self {
        Self {
            keys: of.keys.clone().map(|keys| TrustedIssuer::of_client(id.clone(), keys)),
            dpop_bound_access_tokens: of.dpop_bound_access_tokens,
            id,
            name: of.name.clone(),
            allowed_oauth_flows: of.allowed_oauth_flows.clone(),
            allowed_oauth_scopes: of.allowed_oauth_scopes.clone(),
            access_token_validity: of.access_token_validity,
            branding: Branding::new(&of.branding),
            secrets: of.secrets.iter().map(|secret| sha256(secret.expose())).collect(),
        }
    }

    /// Returns whether the client may use `flow`.
    pub fn allows_flow(&self, flow: OAuthFlow) -> bool {
        self.allowed_oauth_flows.contains(&flow)
    }

    /// Returns whether the client has a secret or keys; a public client has neither.
    pub fn is_confidential(&self) -> bool {
        !self.secrets.is_empty() || self.keys.is_some()
    }

    /// Returns whether `secret` is what the client presents: one of its secrets, or none for a
    /// public client.
    pub fn authenticate(&self, secret: Option<&str>) -> bool {
        match secret {
            None => !self.is_confidential(),
            Some(secret) => self.verify_secret(secret),
        }
    }

    /// Returns whether `secret` is one of the client's secrets. Compares in constant time.
    pub fn verify_secret(&self, secret: &str) -> bool {
        let digest = sha256(secret);
        let same =
            |known: &[u8; 32]| aws_lc_rs::constant_time::verify_slices_are_equal(known, &digest).is_ok();
        self.secrets.iter().any(same)
    }
}
