//! The client of a sign-in: the gateway, for its app hosts, or an app client of a user pool.

use crate::catalogue::Catalogue;
use crate::config::{LOCAL_PROVIDER, Provider};
use crate::directory::{CachedPool, DirectoryError, ErrorKind, PoolOfClient, Sender};
use crate::handlers::branding::brand_of;
use crate::handlers::{AppState, RequestData};
use crate::model::{AppClient, AppClientSettings, Session};
use crate::pages::Brand;
use crate::trigger::ClientData;
use std::sync::Arc;

/// A client for which users sign in.
#[derive(Clone, Debug)]
pub struct SignInClient {
    /// The client, with its pool.
    pub of: Arc<PoolOfClient>,
    /// The `iss` of authorization responses: of the gateway, the sign-in host; of an app client,
    /// its pool.
    pub issuer: String,
    /// Whether it is the gateway itself.
    pub is_gateway: bool,
    /// The names of the providers that users can choose.
    pub providers: Vec<String>,
    /// Whether users can sign in with a password of the pool.
    pub has_passwords: bool,
}

/// Returns the gateway as a client of the first user pool.
///
/// # Errors
/// Returns an error if the database is needed and fails.
pub async fn gateway(app: &AppState, catalogue: &Catalogue) -> Result<SignInClient, DirectoryError> {
    own_client(app, catalogue, &catalogue.pool.id).await
}

/// Returns the sign-in host as a client of a pool, for the pages about a user's own account.
///
/// # Errors
/// Returns an error if the pool is gone, or the database is needed and fails.
pub async fn own_client(
    app: &AppState,
    catalogue: &Catalogue,
    pool_id: &str,
) -> Result<SignInClient, DirectoryError> {
    let found = app.directory.pools.pool_with_parts(pool_id).await?;
    let CachedPool { pool, keeps_verifiers, customizations } = found.ok_or(ErrorKind::PoolNotFound)?;
    let has_passwords = catalogue.config.user_pool.rules.password_sign_in;
    let providers: Vec<String> = catalogue.config.providers.iter().map(|of| of.name.clone()).collect();
    let passwords = has_passwords.then(|| LOCAL_PROVIDER.to_owned());
    let settings = AppClientSettings {
        identity_providers: providers.iter().cloned().chain(passwords).collect(),
        // A session at the sign-in host reads no attributes for an app: the app gets an assertion.
        explicit_auth_flows: Vec::new(),
        session_validity: 900,
        ..AppClientSettings::default()
    };
    let client =
        AppClient { id: catalogue.gateway_client.clone(), pool: pool.no, settings, ..AppClient::default() };
    Ok(SignInClient {
        of: Arc::new(PoolOfClient {
            pool,
            client: Arc::new(client),
            secrets: Vec::new(),
            keeps_verifiers,
            customizations,
        }),
        issuer: catalogue.config.public_url.to_string(),
        is_gateway: true,
        providers,
        has_passwords,
    })
}

/// Returns the app client with this id; `None` if there is none.
///
/// # Errors
/// Returns an error if the database is needed and fails.
pub async fn app_client(
    app: &AppState,
    catalogue: &Catalogue,
    id: &str,
) -> Result<Option<SignInClient>, DirectoryError> {
    let Some(of) = app.directory.pools.client(id).await? else { return Ok(None) };
    let names = &of.client.settings.identity_providers;
    // The providers of the file are those of the first pool.
    let is_first = of.pool.id == catalogue.pool.id;
    let is_offered = |provider: &&Provider| is_first && names.contains(&provider.name);
    let providers = catalogue.config.providers.iter().filter(is_offered).map(|of| of.name.clone()).collect();
    Ok(Some(SignInClient {
        issuer: catalogue.issuer_of(&of.pool.id),
        is_gateway: false,
        providers,
        has_passwords: names.iter().any(|name| name == LOCAL_PROVIDER),
        of,
    }))
}

/// Returns the client with this id: the gateway, or an app client.
///
/// # Errors
/// Returns an error if the database is needed and fails.
pub async fn client_by_id(
    app: &AppState,
    catalogue: &Catalogue,
    id: &str,
) -> Result<Option<SignInClient>, DirectoryError> {
    match id == catalogue.gateway_client {
        true => gateway(app, catalogue).await.map(Some),
        false => app_client(app, catalogue, id).await,
    }
}

impl SignInClient {
    /// Returns the look of the client's pages.
    pub fn brand(&self, catalogue: &Catalogue) -> Arc<Brand> {
        brand_of(catalogue, (&self.of.pool.id, &self.of.client.id), &self.of.customizations)
    }

    /// Returns whether a redirect URI is the client's. URIs are compared exactly (RFC 9700, section
    /// 2.1).
    pub fn has_redirect_uri(&self, catalogue: &Catalogue, uri: &str) -> bool {
        match self.is_gateway {
            true => catalogue.host_of_callback(uri).is_some(),
            false => self.of.client.settings.callback_urls.iter().any(|known| known == uri),
        }
    }

    /// Returns the address at which the client's app starts: of an app host, its start page; of an
    /// app client, the origin of its redirect URI, by default of its first one. An app with its own
    /// URI scheme is started by the redirect URI.
    ///
    /// The app then begins a sign-in of its own. It would refuse the code of another browser's
    /// request, whose `state` and PKCE verifier this browser does not have.
    pub fn start_page(&self, catalogue: &Catalogue, redirect_uri: Option<&str>) -> Option<String> {
        let settings = &self.of.client.settings;
        let own = settings.default_redirect_uri.as_ref().or(settings.callback_urls.first());
        let uri = redirect_uri.or(own.map(String::as_str));
        if self.is_gateway {
            let Some(host) = uri.and_then(|uri| catalogue.host_of_callback(uri)) else {
                return Some(catalogue.config.public_url.join("/"));
            };
            let pages = catalogue.routes_of(&host).map(|route| route.start_page());
            let page = pages.min_by_key(|page| page.len()).unwrap_or_default();
            return Some(format!("{}{page}", catalogue.config.public_url.origin_of(&host)));
        }
        let url = url::Url::parse(uri?).ok()?;
        match url.scheme() {
            "http" | "https" => Some(format!("{}/", url.origin().ascii_serialization())),
            _ => Some(url.into()),
        }
    }

    /// Returns whether users can choose the provider.
    pub fn offers(&self, provider: &str) -> bool {
        match provider == LOCAL_PROVIDER {
            true => self.has_passwords,
            false => self.providers.iter().any(|name| name == provider),
        }
    }

    /// Returns whether a session signs its user in to the client: a user of the client's pool, who
    /// came through a provider that the client has.
    pub fn accepts(&self, session: &Session) -> bool {
        session.pool_id == self.of.pool.id && self.offers(&session.provider)
    }

    /// Iterates over the providers that users can choose.
    pub fn offered<'c>(&'c self, catalogue: &'c Catalogue) -> impl Iterator<Item = &'c Provider> {
        catalogue.config.providers.iter().filter(|provider| self.offers(&provider.name))
    }

    /// Returns the provider of an e-mail address.
    pub fn provider_of(&self, catalogue: &Catalogue, address: &str) -> Option<String> {
        self.offered(catalogue).find(|provider| provider.answers_for(address)).map(|found| found.name.clone())
    }

    /// Returns the sender of a page's request to the directory.
    pub fn sender<'a>(&'a self, info: &RequestData, language: Option<&'a str>) -> Sender<'a> {
        Sender {
            pool: &self.of.pool,
            client: &self.of.client,
            keeps_verifiers: self.of.keeps_verifiers,
            network: Sender::network_of(info.client),
            address: info.client,
            language,
            redirect_uri: None,
            device_key: None,
            data: ClientData::default(),
        }
    }
}
