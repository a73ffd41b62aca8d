//! `[[provider]]`: identity providers.

use super::address::identifier;
use super::allow::Allow;
use super::email::canonical_domain;
use super::item::Item;
use super::oauth2::Endpoints;
use super::preset::{DEFAULT_LIFETIME, Preset, Protocol, Verified};
use super::provider_keys as keys;
use super::provider_keys::ProviderType;
use super::reader::{Invalid, Table};
use super::role::TextFile;
use super::{Client, Issuer, OAuth2, Oidc, Saml};
use crate::base::Duration;
use std::collections::BTreeMap;

/// An identity provider, with the accounts that may sign in.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The name, unique in the deployment and part of the callback's path.
    pub name: String,
    /// The text of the provider's button.
    pub display_name: String,
    /// The protocol and its settings.
    pub kind: Kind,
    /// The preset, if the type names one.
    pub preset: Option<&'static Preset>,
    /// The accounts that may sign in.
    pub allow: Allow,
    /// User attribute and the provider's claim: its name, or a JSON Pointer (RFC 6901) to it.
    pub attributes: BTreeMap<String, String>,
    /// A group of the provider, and the groups of the user pool to which its members belong.
    pub groups: BTreeMap<String, Vec<String>>,
    /// User attributes without which a sign-in is denied.
    pub required_attributes: Vec<String>,
    /// User attributes that determine roles, principal tags or the access to routes.
    pub judged_attributes: Vec<String>,
    /// Whether e-mail addresses are treated as verified without a claim of the provider.
    pub trust_email: bool,
    /// The e-mail domains of the provider's users. A sign-in with such an address is sent to this
    /// provider.
    pub domains: Vec<String>,
    /// Whether a sign-out ends the provider's session too, if the provider supports it.
    pub logout: bool,
    /// Additional certificate authorities for connections to the provider.
    pub ca: Option<TextFile>,
}

/// The protocol of a provider, and its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// OpenID Connect.
    Oidc(Box<Oidc>),
    /// SAML 2.0.
    Saml(Box<Saml>),
    /// OAuth 2.0 with a profile endpoint.
    OAuth2(Box<OAuth2>),
}

impl Provider {
    /// Returns whether the e-mail address is in one of the provider's domains.
    pub fn answers_for(&self, email: &str) -> bool {
        let domain = email.rsplit_once('@').map(|(_, domain)| canonical_domain(domain));
        domain.is_some_and(|domain| self.domains.iter().any(|known| *known == domain))
    }

    /// Returns whether `issuer` is this provider's issuer, as far as the configuration defines it
    /// without the provider's metadata.
    pub fn issues(&self, issuer: &str) -> bool {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.issuer.is(issuer),
            Kind::OAuth2(oauth2) => oauth2.issuer == issuer,
            Kind::Saml(saml) => saml.issuer.as_deref() == Some(issuer),
        }
    }

    /// Returns whether both are the same identity provider: they have the same issuer, or the same
    /// source of metadata.
    pub fn is_same_source(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Oidc(one), Kind::Oidc(other)) => one.issuer == other.issuer,
            (Kind::OAuth2(one), Kind::OAuth2(other)) => one.issuer == other.issuer,
            (Kind::Saml(one), Kind::Saml(other)) => {
                one.metadata == other.metadata || (one.issuer.is_some() && one.issuer == other.issuer)
            }
            _ => false,
        }
    }

    /// Returns the path of the provider's callback below `public_url`. It differs for each provider
    /// (RFC 9700, section 4.4.2).
    pub fn callback_path(&self) -> String {
        match &self.kind {
            Kind::Oidc(_) | Kind::OAuth2(_) => format!("/oauth2/idpresponse/{}", self.name),
            Kind::Saml(_) => format!("/saml2/idpresponse/{}", self.name),
        }
    }

    /// Returns the client registration at the provider, if the protocol has one.
    pub fn client(&self) -> Option<&Client> {
        match &self.kind {
            Kind::Oidc(oidc) => Some(&oidc.client),
            Kind::OAuth2(oauth2) => Some(&oauth2.client),
            Kind::Saml(_) => None,
        }
    }

    /// Returns the maximum time between two renewals of a session's tokens.
    pub fn renewal_interval(&self) -> Duration {
        let lifetime = match &self.kind {
            Kind::Oidc(oidc) => oidc.quirks.lifetime,
            Kind::OAuth2(oauth2) => oauth2.quirks.lifetime,
            Kind::Saml(_) => None,
        };
        lifetime.unwrap_or(DEFAULT_LIFETIME)
    }

    /// Returns whether the provider responds with a form (OAuth 2.0 Form Post Response Mode).
    pub fn form_post(&self) -> bool {
        matches!(&self.kind, Kind::Oidc(oidc) if oidc.quirks.form_post)
    }
}

impl Provider {
    pub(super) fn read(table: &Table<'_>, pool_groups: &[String]) -> Option<Self> {
        let kind = table.read(&keys::TYPE);
        if let Some(kind) = kind {
            table.select(kind.name());
        }
        let preset = match kind {
            Some(ProviderType::Preset(preset)) => Some(preset),
            _ => None,
        };
        let name = match table.get(&keys::NAME) {
            Some(item) => keys::NAME.value(&item),
            None => kind.map(|kind| kind.name().to_owned()),
        };
        let display_name = table.read(&keys::DISPLAY_NAME);
        let allow_item = table.get(&keys::ALLOW);
        let allow = allow_item.as_ref().and_then(|item| keys::ALLOW.value(item));
        let by_group = matches!(&allow, Some(Allow::Only { groups, .. }) if !groups.is_empty());
        let settings = match kind {
            Some(ProviderType::Saml) => Saml::read(table).map(|read| Kind::Saml(Box::new(read))),
            Some(ProviderType::OAuth2) => OAuth2::read(table).map(|read| Kind::OAuth2(Box::new(read))),
            Some(ProviderType::Preset(preset)) => read_preset(table, preset, by_group),
            // If the type is missing, the keys are read as those of `oidc`, the most probable type.
            Some(ProviderType::Oidc) | None => Oidc::read(table).map(oidc).filter(|_| kind.is_some()),
        };
        let mut attributes: BTreeMap<String, String> = BTreeMap::new();
        if let Some(preset) = preset {
            let usual = preset.attributes.iter();
            attributes.extend(usual.map(|(name, claim)| (name.to_string(), claim.to_string())));
        }
        attributes.extend(table.read(&keys::ATTRIBUTES).unwrap_or_default());
        let groups = table.get(&keys::GROUPS).map(|item| groups(&item, pool_groups)).unwrap_or_default();
        let required_attributes = table.read(&keys::REQUIRED_ATTRIBUTES).unwrap_or_default();
        let domains = table.read(&keys::DOMAINS).unwrap_or_default();
        let trust_email = table.read(&keys::TRUST_EMAIL);
        // By default a sign-out does not end the session at a preset's provider, whose account is
        // used elsewhere too.
        let logout = table.read(&keys::LOGOUT).unwrap_or(preset.is_none());
        let ca = table.read(&keys::CA);
        table.finish();

        let (name, settings, allow, trust_email) = (name?, settings?, allow?, trust_email?);
        let usual = preset.map_or_else(|| capitalized(&name), |preset| preset.display_name.to_owned());
        let provider = Self {
            display_name: display_name.unwrap_or(usual),
            name,
            kind: settings,
            preset,
            allow,
            attributes,
            groups,
            required_attributes,
            judged_attributes: Vec::new(),
            trust_email,
            domains,
            logout,
            ca,
        };
        provider.report_conflicts(table, &allow_item?);
        Some(provider)
    }

    fn report_conflicts(&self, table: &Table<'_>, allow: &Item<'_>) {
        if self.preset.is_some_and(|preset| preset.quirks.verified == Verified::Never)
            && matches!(&self.allow, Allow::Only { groups, .. } if groups.is_empty())
            && !self.trust_email
        {
            allow.report(
                "`allow` allows no account: this provider does not say which e-mail addresses it has verified",
                "write allow = \"anyone\", or trust_email = true to trust unverified addresses",
            );
        }
        if self.trust_email
            && let Kind::Oidc(oidc) = &self.kind
            && let Issuer::PerTenant(tenants) = &oidc.issuer
            && tenants.only.is_empty()
        {
            table.report(
                "`trust_email` trusts every tenant, and any of them can assign your addresses to its users",
                "list the tenants whose addresses you trust: tenants = [\"…\"]",
            );
        }
    }
}

fn oidc(settings: Oidc) -> Kind {
    Kind::Oidc(Box::new(settings))
}

/// Reads the settings of a preset, whose URLs may be below `base_url`.
fn read_preset(table: &Table<'_>, preset: &'static Preset, by_group: bool) -> Option<Kind> {
    let base = match table.get(&keys::BASE_URL) {
        Some(item) => Some(keys::BASE_URL.value(&item)?),
        None => None,
    };
    let at = |address: &str| match &base {
        None => address.to_owned(),
        Some(base) => {
            let path = address.match_indices('/').nth(2).map_or(address.len(), |(at, _)| at);
            let (origin, path) = address.split_at(path);
            match preset.quirks.self_hosted_api.filter(|(api, _)| *api == origin) {
                None => format!("{base}{path}"),
                // GitHub Enterprise Cloud with data residency has its API on a separate host, like
                // github.com.
                Some(_) if base.ends_with(".ghe.com") => {
                    format!("{}{path}", base.replacen("://", "://api.", 1))
                }
                Some((_, below)) => format!("{base}{below}{path}"),
            }
        }
    };
    match &preset.protocol {
        Protocol::OpenId { issuer } => Oidc::preset(table, preset, at(issuer)).map(oidc),
        Protocol::OpenIdTenants { authority } => Oidc::tenants(table, preset, at(authority)).map(oidc),
        Protocol::OAuth2 { issuer, authorization, token, userinfo, subject } => {
            let endpoints = Endpoints {
                issuer: at(issuer),
                authorization: at(authorization),
                token: at(token),
                userinfo: at(userinfo),
                subject,
            };
            OAuth2::preset(table, preset, endpoints, at, by_group).map(|read| Kind::OAuth2(Box::new(read)))
        }
    }
}

/// The name that denotes the passwords of the user pool, in the place of a provider's.
pub const LOCAL_PROVIDER: &str = "COGNITO";

pub(super) fn provider_name(text: &str) -> Result<String, Invalid> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if text.eq_ignore_ascii_case(LOCAL_PROVIDER) {
        return Err((
            format!("\"{text}\" denotes the passwords of the user pool"),
            "choose another name".into(),
        ));
    }
    match (1..=32).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" cannot name a provider"),
            "use 1 to 32 letters, digits, - and _: the name is part of addresses".into(),
        )),
    }
}

pub(super) fn display_name(text: &str) -> Result<String, Invalid> {
    match (1..=60).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err((format!("\"{text}\" is not the text of a button"), "use 1 to 60 characters".into())),
    }
}

fn capitalized(name: &str) -> String {
    let mut characters = name.chars();
    let first = characters.next();
    first.map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

/// Reads the URL of a self-hosted provider. Removes a trailing slash.
pub(super) fn base_url(text: &str) -> Result<String, Invalid> {
    let url = identifier(text, "write it like \"https://gitlab.example.com\"")?;
    Ok(url.trim_end_matches('/').to_owned())
}

/// Reads the groups of the user pool to which each of the provider's groups is mapped.
fn groups(item: &Item<'_>, known: &[String]) -> BTreeMap<String, Vec<String>> {
    let names = |item: &Item<'_>| item.list(|item| item.name_of("user_pool.group", known));
    item.entries().into_iter().map(|item| (item.key.clone(), names(&item))).collect()
}
