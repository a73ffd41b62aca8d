//! The user pool and its app clients.

use crate::base::{Duration, sha256};
use crate::config::{self, Config, KeySource, OAuthFlow, TokenType, TrustedIssuer};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A user pool: the directory, the broker of outside providers, and the issuer of codes and access tokens.
#[derive(Clone, Debug)]
pub struct Pool {
    /// `<region>_<9 alphanumerics>`.
    pub id: String,
    /// The client id of the gateway, which is an app client of its own pool.
    pub gateway_client: String,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The app clients of the file, by their ids.
    clients: HashMap<String, Arc<AppClient>>,
}

/// An app client of a user pool.
#[derive(Debug)]
pub struct AppClient {
    /// Its client id.
    pub id: String,
    /// What the file calls it.
    pub name: String,
    /// By which grants it may get tokens.
    pub allowed_oauth_flows: Vec<OAuthFlow>,
    /// What it may get tokens for.
    pub allowed_oauth_scopes: Vec<String>,
    /// How long its access tokens count.
    pub access_token_validity: Duration,
    /// SHA-256 of each of its secrets.
    secrets: Vec<[u8; 32]>,
}

impl Pool {
    pub(super) fn new(config: &Config, id: String, gateway_client: String, clients: Vec<String>) -> Self {
        let client = |(of, id): (&config::AppClient, String)| (id.clone(), Arc::new(AppClient::new(id, of)));
        let clients = config.user_pool.clients.iter().zip(clients).map(client).collect();
        Self { issuer: config.public_url.join(&format!("/{id}")), id, gateway_client, clients }
    }

    /// The app client with this id.
    pub fn client(&self, id: &str) -> Option<&Arc<AppClient>> {
        self.clients.get(id)
    }

    /// Every app client of the file.
    pub fn clients(&self) -> impl Iterator<Item = &Arc<AppClient>> {
        self.clients.values()
    }

    /// The pool as an issuer whose access tokens are believed: those that name one of its clients which may get some,
    /// and that `keys` verify, a JWK Set.
    pub fn as_issuer(&self, config: &Config, keys: String, algorithms: Vec<String>) -> TrustedIssuer {
        let may = |client: &&Arc<AppClient>| !client.allowed_oauth_flows.is_empty();
        let mut audiences: Vec<_> = self.clients().filter(may).map(|client| client.id.clone()).collect();
        // In one order, so that one that did not change is the same.
        audiences.sort_unstable();
        TrustedIssuer {
            name: config.user_pool.name.clone(),
            url: self.issuer.clone(),
            keys: KeySource::Own(keys),
            audiences,
            algorithms,
            scopes: Vec::new(),
            claims: BTreeMap::from([("token_use".to_owned(), "access".to_owned())]),
            token_type: TokenType::Access,
            introspection: None,
            ca: None,
        }
    }
}

impl AppClient {
    fn new(id: String, of: &config::AppClient) -> Self {
        Self {
            id,
            name: of.name.clone(),
            allowed_oauth_flows: of.allowed_oauth_flows.clone(),
            allowed_oauth_scopes: of.allowed_oauth_scopes.clone(),
            access_token_validity: of.access_token_validity,
            secrets: of.secrets.iter().map(|secret| sha256(secret.expose())).collect(),
        }
    }

    /// Whether it may get tokens by `flow`.
    pub fn allows_flow(&self, flow: OAuthFlow) -> bool {
        self.allowed_oauth_flows.contains(&flow)
    }

    /// Whether `secret` is one of its secrets. How long that takes says nothing of how much of it is right.
    pub fn verify_secret(&self, secret: &str) -> bool {
        let digest = sha256(secret);
        let same =
            |known: &[u8; 32]| aws_lc_rs::constant_time::verify_slices_are_equal(known, &digest).is_ok();
        self.secrets.iter().any(same)
    }
}
