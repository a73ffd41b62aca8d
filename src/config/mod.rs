//! The TOML file, read into checked plain data. Whatever this room returns is sound: later rooms
//! need not ask again whether a host is a host. It knows no runtime types and opens no sockets.

mod address;
mod allowed;
mod app_client;
mod client;
mod demands;
mod email;
mod external;
mod files;
mod header_template;
mod identity_pool;
mod introspection;
mod issuer;
mod log;
mod mistake;
mod oauth2;
mod oidc;
mod preset;
mod provider;
mod public_url;
mod reader;
mod reserved_name;
mod response_header;
mod role;
mod route;
mod saml;
mod server;
mod upstream;
mod user_pool;

pub use address::is_safe;
pub use app_client::{AppClient, OAuthFlow, ResourceServer};
pub use client::{Client, ClientSecret, PrivateKey, SignedSecret};
pub use demands::Demands;
pub use files::{FileState, Files};
pub use header_template::{HeaderTemplate, HeaderText, Piece, plain};
pub use identity_pool::{
    AmbiguousRoleResolution, IdentityPool, MappingRule, MappingType, MatchType, RoleMapping,
};
pub use introspection::Introspection;
pub use issuer::{KeySource, TokenType, TrustedIssuer};
pub use log::{AccessLogFormat, AccessLogSettings};
pub use mistake::{Mistake, Mistakes};
pub use oauth2::OAuth2;
pub use oidc::{Issuer, Oidc, Tenants};
pub use preset::{
    ClientAuth, DEFAULT_LIFETIME, GroupList, PRESETS, Preset, Quirks, SELECT_ACCOUNT, STANDARD, Speaks,
    Verified,
};
pub use provider::{Allow, Kind, Provider, STANDARD_ATTRIBUTES};
pub use public_url::{Host, PublicUrl};
pub use reader::{Environment, parse_duration};
pub use reserved_name::{Meaning, NameFilter, RESERVED, meaning_of};
pub use role::{Role, TextFile};
pub use route::{Access, OnUnauthenticatedRequest, PathHandling, Preflight, Route, SameSite};
pub use saml::{MetadataSource, Saml};
pub use server::{HostPattern, Listen, SessionLimits, StoreSettings, StoreUrl, TlsCertificate};
pub use upstream::{ClientCertificate, Endpoint, Scheme, Upstream, UpstreamTls};
pub use user_pool::{Group, UserPool};

use crate::base::read_text;
use reader::{Source, Table};
use std::path::{Path, PathBuf};
use toml::de::DeTable;
use url::Url;

/// Everything the file says, with defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of the file, where relative paths start.
    pub folder: PathBuf,
    /// The folder of what Narthex writes beside its store: `certs/` and `narthex.sock`.
    pub state_dir: PathBuf,
    /// Where people reach the sign-in pages, and the issuer of assertions.
    pub public_url: PublicUrl,
    /// The AWS region that pool ids and ARNs carry.
    pub region: String,
    /// The AWS account id that ARNs carry.
    pub account_id: String,
    /// Where to listen, and whom to believe about forwarding.
    pub listen: Listen,
    /// Certificates by host name; hosts without one get the local authority's.
    pub tls: Vec<TlsCertificate>,
    /// Where state is kept.
    pub store: StoreSettings,
    /// The access log.
    pub log: AccessLogSettings,
    /// How long a session lives.
    pub session: SessionLimits,
    /// Where browsers go after a sign-out; none where a page of ours says that it is done.
    pub signed_out_url: Option<Url>,
    /// The directory.
    pub user_pool: UserPool,
    /// What those may do who are given a role.
    pub roles: Vec<Role>,
    /// Who is given which.
    pub identity_pools: Vec<IdentityPool>,
    /// The outside identity providers.
    pub providers: Vec<Provider>,
    /// Who else issues access tokens.
    pub issuers: Vec<TrustedIssuer>,
    /// What is served, and from where.
    pub routes: Vec<Route>,
    /// Every file that all this was read from or names, in the state before it was read.
    pub files: Files,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The file can be read, and is wrong.
    Wrong(Mistakes),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(
                f,
                "cannot read {}: {error}\n  mend: name the configuration with --config FILE",
                path.display()
            ),
            Self::Wrong(mistakes) => mistakes.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}

/// The most bytes of a configuration.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

impl Config {
    /// Reads and checks `file`.
    ///
    /// # Errors
    /// [`LoadError::Wrong`] carries every mistake of the file, each with its place and mend.
    pub fn load(file: &Path, environment: Environment<'_>) -> Result<Self, LoadError> {
        let state = FileState::of(file);
        let text = read_text(file, MAX_BYTES).map_err(|e| LoadError::Unreadable(file.to_owned(), e))?;
        let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let config = Self::parse(&text, &file.display().to_string(), folder, environment);
        let mut config = config.map_err(LoadError::Wrong)?;
        config.files.insert(file.to_owned(), state);
        Ok(config)
    }

    /// Reads and checks `text`, which stands in the file called `name` in `folder`.
    ///
    /// # Errors
    /// Every mistake, in the order of the file.
    pub fn parse(
        text: &str,
        name: &str,
        folder: &Path,
        environment: Environment<'_>,
    ) -> Result<Self, Mistakes> {
        let source = Source::new(text, folder, environment);
        let (document, syntax) = DeTable::parse_recoverable(text);
        for error in &syntax {
            source.wrong(error.span().unwrap_or(0..0), error.message(), "correct the TOML here");
        }
        // After a syntax error the rest of the file is a guess: mistakes found in it would mislead.
        let config = match syntax.is_empty() {
            true => read(Table::new(&source, "the file", 0..0, document.get_ref()), folder),
            false => None,
        };
        let mut mistakes = source.mistakes.into_inner();
        match config {
            Some(config) if mistakes.is_empty() => Ok(Self { files: source.files.into_inner(), ..config }),
            _ => {
                mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
                Err(Mistakes { file: name.to_owned(), mistakes })
            }
        }
    }
}

fn read(table: Table<'_>, folder: &Path) -> Option<Config> {
    let public_url = table
        .must(
            "public_url",
            "say where people reach the sign-in pages: public_url = \"https://auth.example.com\"",
        )
        .and_then(|item| item.parse(PublicUrl::parse));
    let region = table.get("region").and_then(|item| item.parse(region));
    let account_id = table.get("account_id").and_then(|item| item.parse(account_id));
    let listen = Listen::read(table.get("listen"));
    let tables = |key, name: &str| table.get(key).map(|item| item.tables(name)).unwrap_or_default();
    let tls = tables("tls", "[[tls]]").into_iter().filter_map(TlsCertificate::read).collect();
    let state_dir = table.get("state_dir").and_then(|item| item.string()).map(|path| folder.join(path));
    let store = StoreSettings::read(table.get("store"), folder, state_dir.as_deref().unwrap_or(folder));
    let log = AccessLogSettings::read(table.get("log"), folder);
    let (session, signed_out_url) = SessionLimits::read(table.get("session"));
    let roles = unique(tables("role", "[[role]]"), Role::read, |role| {
        (role.name.clone(), format!("two roles are named \"{}\"", role.name))
    });
    let role_names: Vec<String> = roles.iter().map(|role| role.name.clone()).collect();
    let user_pools = tables("user_pool", "[[user_pool]]");
    if let Some(second) = user_pools.get(1) {
        second.wrong("there are two user pools", "a deployment has one: put its groups into the first");
    }
    let user_pool = user_pools.first().map(|table| UserPool::read(table, &role_names)).unwrap_or_default();
    let groups: Vec<String> = user_pool.groups.iter().map(|group| group.name.clone()).collect();
    let mut domains = std::collections::HashSet::new();
    let provider = |table: &Table<'_>| {
        let provider = Provider::read(table, &groups)?;
        for domain in provider.domains.iter().filter(|domain| !domains.insert((*domain).clone())) {
            table.wrong(format!("two providers answer for {domain}"), "leave it to one of them");
        }
        Some(provider)
    };
    // One that cannot be read has its mistake already: that nobody could sign in is no other.
    let (provider_tables, issuer_tables) =
        (tables("provider", "[[provider]]"), tables("issuer", "[[issuer]]"));
    let (has_provider, has_issuer) = (!provider_tables.is_empty(), !issuer_tables.is_empty());
    let mut providers = unique(provider_tables, provider, |provider| {
        (provider.name.clone(), format!("two providers are named \"{}\"", provider.name))
    });
    let issuers = unique(issuer_tables, TrustedIssuer::read, |issuer| {
        (issuer.url.clone(), format!("two issuers are {}", issuer.url))
    });
    for issuer in &issuers {
        let of_ours =
            |url: &PublicUrl| issuer.url == url.to_string() || issuer.url.starts_with(&url.join("/"));
        if public_url.as_ref().is_some_and(of_ours) {
            table.wrong(
                format!("the issuer {} is this deployment itself", issuer.url),
                "remove it: the user pool's own access tokens are believed without it",
            );
        }
    }
    for second in issuers.iter().filter(|issuer| issuer.introspection.is_some()).skip(1) {
        table.wrong(
            format!("two issuers have `introspection`: \"{}\" is the second", second.name),
            "leave it to one: an opaque token does not say which of them issued it, and must not be sent to another",
        );
    }
    let mut provider_names: Vec<String> = providers.iter().map(|provider| provider.name.clone()).collect();
    for issuer in &issuers {
        if provider_names.contains(&issuer.name) {
            table.wrong(
                format!("an issuer and another issuer or a provider are named \"{}\"", issuer.name),
                "give each a name of its own: role mappings tell them apart by it",
            );
        }
        provider_names.push(issuer.name.clone());
    }
    if user_pool.issues_access_tokens() {
        if provider_names.contains(&user_pool.name) {
            table.wrong(
                format!("the user pool and an issuer or a provider are named \"{}\"", user_pool.name),
                "give the pool a name of its own: role mappings tell its programs by it",
            );
        }
        provider_names.push(user_pool.name.clone());
    }
    let identity_pool = |table: &Table<'_>| IdentityPool::read(table, &role_names, &provider_names);
    let identity_pools = unique(tables("identity_pool", "[[identity_pool]]"), identity_pool, |pool| {
        (pool.name.clone(), format!("two identity pools are named \"{}\"", pool.name))
    });
    for provider in &mut providers {
        let judged = identity_pools.iter().flat_map(|pool| pool.judged_claims(&provider.name)).cloned();
        provider.judged_attributes = judged.collect();
    }
    let pool_names: Vec<String> = identity_pools.iter().map(|pool| pool.name.clone()).collect();
    let route = |table: &Table<'_>| Route::read(table, &pool_names);
    let mut places = std::collections::HashSet::new();
    let route = |table: Table<'_>| {
        let route = route(&table)?;
        for host in &route.hosts {
            let place = format!("{host}{}", route.path_text());
            if !places.insert(place.clone()) {
                table.wrong(format!("two routes answer for {place}"), "make them one, or tell them apart");
            }
        }
        Some(route)
    };
    let routes: Vec<Route> = tables("route", "[[route]]").into_iter().filter_map(route).collect();
    let mut names = std::collections::HashSet::new();
    for route in &routes {
        if !names.insert(&route.name) {
            table.wrong(format!("two routes are named \"{}\"", route.name), "give each a name of its own");
        }
        let of_pages =
            |url: &&PublicUrl| url.path().is_empty() && route.hosts.iter().any(|host| host.is(url.host()));
        if let Some(url) = public_url.as_ref().filter(of_pages) {
            table.wrong(
                format!("{} serves the sign-in pages and route \"{}\"", url.host(), route.name),
                "give the app a host of its own, or the pages a path: public_url = \"https://…/.narthex\"",
            );
        }
        let differs = |host: &&HostPattern| {
            routes.iter().any(|other| other.hosts.contains(host) && other.same_site != route.same_site)
        };
        if let Some(host) = route.hosts.iter().find(differs) {
            table.wrong(
                format!("routes of {host} differ in `same_site`, and its cookie has one"),
                "give all routes of the host the same",
            );
        }
        let guests = |pool: &IdentityPool| {
            pool.guest_role.is_some() && Some(&pool.name) == route.identity_pool.as_ref()
        };
        let open = route.access == Access::Public || identity_pools.iter().any(guests);
        if route.bearer && !has_issuer && !user_pool.issues_access_tokens() {
            table.wrong(
                format!("no token could be good for route \"{}\"", route.name),
                "add an [[issuer]] or a [[user_pool.client]] that may get tokens, or remove `bearer`",
            );
        }
        if !open && !has_provider && !route.bearer {
            table.wrong(
                format!("nobody could sign in for route \"{}\"", route.name),
                "add a [[provider]], or give the route access = \"public\"",
            );
        }
    }
    table.finish();
    Some(Config {
        folder: folder.to_owned(),
        state_dir: state_dir.unwrap_or_else(|| store.url.folder().unwrap_or(folder).to_owned()),
        public_url: public_url?,
        region: region.unwrap_or_else(|| "us-east-1".into()),
        account_id: account_id.unwrap_or_else(|| "123456789012".into()),
        listen,
        tls,
        store,
        log,
        session,
        signed_out_url,
        user_pool,
        roles,
        identity_pools,
        providers,
        issuers,
        routes,
        files: Files::new(),
    })
}

/// Reads each table and tells of those that come twice, at the second one's head.
fn unique<'a, T>(
    tables: Vec<Table<'a>>,
    mut read: impl FnMut(&Table<'a>) -> Option<T>,
    identity: impl Fn(&T) -> (String, String),
) -> Vec<T> {
    let mut seen = std::collections::HashSet::new();
    let mut all = Vec::new();
    for table in tables {
        let Some(value) = read(&table) else { continue };
        let (key, message) = identity(&value);
        if !seen.insert(key) {
            table.wrong(message, "make them one, or tell them apart");
        }
        all.push(value);
    }
    all
}

/// SDKs check the shape of a region.
fn region(text: &str) -> Result<String, reader::Wrong> {
    let parts: Vec<&str> = text.split('-').collect();
    let word = |s: &&str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase());
    let digit = parts.last().is_some_and(|s| s.len() == 1 && s.bytes().all(|b| b.is_ascii_digit()));
    match (3..=4).contains(&parts.len()) && parts[..parts.len() - 1].iter().all(word) && digit {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" has not the form of an AWS region"),
            "write it like \"us-east-1\"".into(),
        )),
    }
}

fn account_id(text: &str) -> Result<String, reader::Wrong> {
    match text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => {
            Err((format!("\"{text}\" is not an AWS account id"), "write twelve digits in quotes".into()))
        }
    }
}
