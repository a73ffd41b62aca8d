//! Reads the TOML file into validated plain data, which other modules need not validate again. This
//! module has no runtime types and opens no sockets.
//!
//! Each key is declared once, as a `Key` in its section's file. The reader, the JSON Schema and the
//! reference page use the declarations. A key without a declaration cannot be read, and
//! `Table::finish` finds a declared key that no reader reads.

use thiserror::Error;

mod address;
mod administrator;
mod allow;
mod app_client;
mod app_icon;
mod attributes;
mod authorities;
mod branding;
mod breached_passwords;
mod callback_url;
mod client;
mod client_keys;
mod client_sign_in;
#[cfg(test)]
mod declaration_tests;
mod demands;
mod diagnostic;
mod email;
mod external;
mod file;
mod files;
mod header_template;
mod host_pattern;
mod identity_pool;
mod introspection;
mod issuer;
mod item;
mod key;
mod listen;
mod log;
mod mail;
mod message;
mod message_template;
mod oauth2;
mod oidc;
mod password_policy;
mod pool_attribute;
mod pool_issuer;
mod pool_rules;
mod pool_triggers;
mod preset;
mod provider;
mod provider_keys;
mod public_url;
mod reader;
mod redaction;
mod reference;
mod registration;
mod reserved_name;
mod resource_server;
mod response_header;
mod role;
mod role_mapping;
mod route;
mod route_keys;
mod saml;
mod schema;
mod session;
mod sms;
mod store;
mod tls;
mod trigger;
mod types;
mod upstream;
mod user_pool;

pub use address::is_safe;
pub use administrator::Administrator;
pub use allow::Allow;
pub use app_client::{AppClient, OAuthFlow, USER_SCOPES};
pub use app_icon::{APP_ICONS, AppIcon};
pub use attributes::STANDARD_ATTRIBUTES;
pub use branding::{Branding, Image, ImageFormat, MAX_CSS_LENGTH, MAX_IMAGE_BYTES, digest, read_css};
pub use breached_passwords::BreachedPasswords;
pub use callback_url::callback_url_fault;
pub use client::{Client, ClientSecret, PrivateKey, SignedSecret};
pub use client_sign_in::{AUTH_FLOWS, ClientExtensions, ClientSignIn};
pub use demands::Demands;
pub use diagnostic::{Diagnostic, Diagnostics};
pub use email::{MailAddress, mail_address};
pub use files::{FileState, Files};
pub use header_template::{HeaderTemplate, HeaderText, Piece, normalize_name};
pub use host_pattern::HostPattern;
pub use identity_pool::IdentityPool;
pub use introspection::Introspection;
pub use issuer::{KeySource, TokenType, TrustedIssuer};
pub use item::parse_duration;
pub use listen::Listen;
pub use log::{AccessLogFormat, AccessLogSettings};
pub use mail::{Mail, MailSecurity, MailTransport, Mailbox, SmtpServer};
pub use message::{CHANNELS, Channel, MESSAGE_EVENTS, MessageEvent, MessageLimits, MessageTemplate};
pub use message_template::{MessageText, TextPiece};
pub use oauth2::OAuth2;
pub use oidc::{Issuer, Oidc, Tenants};
pub use password_policy::PasswordRules;
pub use pool_attribute::{AttributeKind, PoolAttribute};
pub use pool_issuer::PoolIssuer;
pub use pool_rules::{
    ContactAttribute, DeviceRule, FactorRule, FirstFactorRule, MfaRule, PoolRules, RecoveryRule,
};
pub use pool_triggers::{PoolTriggers, TRIGGER_EVENTS, TriggerEvent};
pub use preset::{
    ClientAuth, DEFAULT_LIFETIME, GroupList, PRESETS, Preset, Protocol, Quirks, SELECT_ACCOUNT, STANDARD,
    Verified,
};
pub use provider::{Kind, LOCAL_PROVIDER, Provider};
pub use public_url::{Host, PublicUrl};
pub use reader::Environment;
pub use reference::reference;
pub use registration::Registration;
pub use reserved_name::{Meaning, NameFilter, RESERVED, meaning_of};
pub use resource_server::ResourceServer;
pub use role::{Role, TextFile};
pub use role_mapping::{AmbiguousRoleResolution, MappingRule, MappingType, MatchType, RoleMapping};
pub use route::{
    Access, OnUnauthenticatedRequest, PathHandling, Preflight, Route, SameSite, SecondFactorRule,
};
pub use saml::{MetadataSource, Saml};
pub use schema::schema;
pub use session::SessionLimits;
pub use sms::{Sms, SmsShape};
pub use store::{StoreSettings, StoreUrl};
pub use tls::TlsCertificate;
pub use trigger::{Trigger, TriggerCredentials};
pub use upstream::{ClientCertificate, Endpoint, Scheme, Upstream, UpstreamTls};
pub use user_pool::{Group, UserPool};

use crate::base::read_text;
use reader::{Source, Table};
use std::path::{Path, PathBuf};
use toml::de::DeTable;
use url::Url;

/// The configuration, with defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of the file, to which relative paths refer.
    pub folder: PathBuf,
    /// The folder of `certs/` and `narthex.sock`.
    pub state_dir: PathBuf,
    /// The address of the sign-in pages, which is also the issuer of assertions.
    pub public_url: PublicUrl,
    /// The form of the issuer of user pools' tokens; no key sets it.
    pub pool_issuer: PoolIssuer,
    /// The AWS region in pool ids and ARNs.
    pub region: String,
    /// The AWS account id in ARNs.
    pub account_id: String,
    /// The listeners, and the trusted proxies.
    pub listen: Listen,
    /// The TLS certificates. Hosts without one use a certificate of the local authority.
    pub tls: Vec<TlsCertificate>,
    /// The database.
    pub store: StoreSettings,
    /// The access log.
    pub log: AccessLogSettings,
    /// The lifetime of sessions.
    pub session: SessionLimits,
    /// The settings for e-mail; none is sent if absent.
    pub mail: Option<Mail>,
    /// The settings for text messages; none are sent if absent.
    pub sms: Option<Sms>,
    /// The service that knows passwords of published breaches; none is asked if absent.
    pub breached_passwords: Option<BreachedPasswords>,
    /// The limits on messages.
    pub message_limits: MessageLimits,
    /// The functions that are called at events of user pools.
    pub triggers: Vec<Trigger>,
    /// The address to which browsers are redirected after a sign-out; a page of Narthex if absent.
    pub signed_out_url: Option<Url>,
    /// The first user pool, in which the users of providers are.
    pub user_pool: UserPool,
    /// The user pools after the first one.
    pub further_user_pools: Vec<UserPool>,
    /// The roles and their policies.
    pub roles: Vec<Role>,
    /// The rules that give roles to principals.
    pub identity_pools: Vec<IdentityPool>,
    /// The administrators, who sign requests to the AWS APIs.
    pub administrators: Vec<Administrator>,
    /// The identity providers.
    pub providers: Vec<Provider>,
    /// The external issuers of access tokens.
    pub issuers: Vec<TrustedIssuer>,
    /// The routes.
    pub routes: Vec<Route>,
    /// The configuration file and every file that it names, each with its state before it was read.
    pub files: Files,
}

/// An error that prevents loading of the configuration.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path}: {1}\n  help: name the configuration with --config FILE", path = .0.display())]
    Unreadable(PathBuf, std::io::Error),
    /// The file has errors.
    #[error("{0}")]
    Invalid(Diagnostics),
}

/// The maximum size of the configuration file, in bytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

impl Config {
    /// Iterates over the user pools, in the order of the file.
    pub fn user_pools(&self) -> impl Iterator<Item = &UserPool> + Clone {
        std::iter::once(&self.user_pool).chain(&self.further_user_pools)
    }

    /// Reads and validates `file`.
    ///
    /// # Errors
    /// Returns [`LoadError::Unreadable`] if the file cannot be read. [`LoadError::Invalid`]
    /// contains every error of the file, each with its position and the remedy.
    pub fn load(file: &Path, environment: Environment<'_>) -> Result<Self, LoadError> {
        let state = FileState::of(file);
        let text = read_text(file, MAX_BYTES).map_err(|e| LoadError::Unreadable(file.to_owned(), e))?;
        let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let config = Self::parse(&text, &file.display().to_string(), folder, environment);
        let mut config = config.map_err(LoadError::Invalid)?;
        config.files.insert(file.to_owned(), state);
        Ok(config)
    }

    /// Reads and validates `text`, the content of the file `name` in `folder`.
    ///
    /// # Errors
    /// Returns every error, ordered by position in the file.
    pub fn parse(
        text: &str,
        name: &str,
        folder: &Path,
        environment: Environment<'_>,
    ) -> Result<Self, Diagnostics> {
        let source = Source::new(text, folder, environment);
        let (document, syntax) = DeTable::parse_recoverable(text);
        for error in &syntax {
            source.report(error.span().unwrap_or(0..0), error.message(), "correct the TOML here");
        }
        // After a syntax error, errors found in the rest of the file would be misleading.
        let config = match syntax.is_empty() {
            true => file::read(&Table::new(&source, &file::SECTION, 0..0, document.get_ref()), folder),
            false => None,
        };
        let mut diagnostics = source.diagnostics.into_inner();
        match config {
            Some(config) if diagnostics.is_empty() => Ok(Self { files: source.files.into_inner(), ..config }),
            _ => {
                diagnostics.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
                Err(Diagnostics { file: name.to_owned(), diagnostics })
            }
        }
    }
}
