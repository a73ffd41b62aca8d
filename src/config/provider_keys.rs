//! Keys of `[[provider]]` that do not belong to one protocol.

use super::allow::{self, Allow};
use super::attributes::{attribute_names, attributes};
use super::authorities::AUTHORITIES;
use super::item::Item;
use super::key::{Key, Section, Shape, Type};
use super::preset::{PRESETS, Preset};
use super::provider::{base_url, display_name, provider_name};
use super::role::TextFile;
use super::types::FLAG;
use super::{client_keys, oauth2, oidc, saml};
use std::collections::BTreeMap;

/// The protocol of a provider, or its preset.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ProviderType {
    /// OpenID Connect.
    Oidc,
    /// SAML 2.0.
    Saml,
    /// OAuth 2.0.
    OAuth2,
    /// A well-known provider.
    Preset(&'static Preset),
}

impl ProviderType {
    /// Returns the value of `type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oidc => "oidc",
            Self::Saml => "saml",
            Self::OAuth2 => "oauth2",
            Self::Preset(preset) => preset.name,
        }
    }
}

/// Every value of `type`.
const TYPES: [(&str, ProviderType); PRESETS.len() + 3] = {
    let mut types = [("oidc", ProviderType::Oidc); PRESETS.len() + 3];
    types[1] = ("saml", ProviderType::Saml);
    types[2] = ("oauth2", ProviderType::OAuth2);
    let mut at = 0;
    while at < PRESETS.len() {
        types[at + 3] = (PRESETS[at].name, ProviderType::Preset(&PRESETS[at]));
        at += 1;
    }
    types
};

/// The values of `type` with a client registration.
pub(super) const CLIENTS: &[&str] = &[
    "oidc",
    "oauth2",
    "amazon",
    "apple",
    "discord",
    "facebook",
    "github",
    "gitlab",
    "google",
    "linkedin",
    "microsoft",
    "slack",
];
/// The values of `type` whose client can have a secret, or a private key for client assertions.
pub(super) const SECRET_CLIENTS: &[&str] = &[
    "oidc",
    "oauth2",
    "amazon",
    "discord",
    "facebook",
    "github",
    "gitlab",
    "google",
    "linkedin",
    "microsoft",
    "slack",
];
/// The presets' values of `type`.
const PRESET_TYPES: &[&str] = &[
    "amazon",
    "apple",
    "discord",
    "facebook",
    "github",
    "gitlab",
    "google",
    "linkedin",
    "microsoft",
    "slack",
];
/// The values of `type` with ID tokens.
pub(super) const OPENID: &[&str] = &["oidc", "apple", "gitlab", "google", "linkedin", "microsoft", "slack"];

pub(super) const SECTION: Section = Section {
    header: "[[provider]]",
    about: "Identity providers, and the accounts that may sign in. Register the callback that `narthex check` prints.",
    keys: &[
        &TYPE,
        &NAME,
        &DISPLAY_NAME,
        &ALLOW,
        &TRUST_EMAIL,
        &DOMAINS,
        &LOGOUT,
        &REQUIRED_ATTRIBUTES,
        &ATTRIBUTES,
        &GROUPS,
        &CA,
        &client_keys::CLIENT_ID,
        &client_keys::AUTH_METHOD,
        &client_keys::SCOPES,
        &client_keys::AUTHORIZATION_PARAMETERS,
        &client_keys::CLIENT_SECRET,
        &client_keys::PRIVATE_KEY,
        &client_keys::PRIVATE_KEY_ID,
        &client_keys::PRIVATE_KEY_THUMBPRINT,
        &oidc::ISSUER,
        &oidc::DISCOVERY_URL,
        &oidc::USERINFO,
        &oidc::TRUSTED_AUDIENCES,
        &BASE_URL,
        &oidc::TENANT,
        &oidc::TENANTS,
        &client_keys::TEAM_ID,
        &client_keys::KEY_ID,
        &client_keys::APPLE_PRIVATE_KEY,
        &oauth2::AUTHORIZATION_ENDPOINT,
        &oauth2::TOKEN_ENDPOINT,
        &oauth2::USERINFO_ENDPOINT,
        &oauth2::SUBJECT,
        &oauth2::PKCE,
        &saml::METADATA,
        &saml::METADATA_REFRESH,
        &saml::METADATA_CERTIFICATE,
        &saml::ISSUER,
        &saml::ENTITY_ID,
        &saml::NAME_ID_FORMAT,
        &saml::FORCE_AUTHN,
        &saml::AUTHN_CONTEXT,
        &saml::ENCRYPTED_RESPONSES,
        &saml::REQUEST_SIGNING,
        &saml::IDP_INIT,
    ],
};

pub(super) const TYPE: Key<ProviderType> =
    Key::new("type", Type::ProviderChoice(&TYPES), "Protocol, or the preset of a well-known provider.")
        .required("or \"saml\", \"oauth2\", \"google\", \"github\", …")
        .example("\"oidc\"");
pub(super) const NAME: Key<String> = Key::new(
    "name",
    Type::Read(Shape::Text, |item| item.parse(provider_name)),
    "Unique name, part of the callback's address: 1 to 32 letters, digits, `-` and `_`.",
)
.computed("the value of `type`")
.example("\"corp\"");
pub(super) const DISPLAY_NAME: Key<String> = Key::new(
    "display_name",
    Type::Read(Shape::Text, |item| item.parse(display_name)),
    "Text of the provider's button.",
)
.computed("the preset's usual name, or `name` with an initial capital")
.example("\"Corp\"");
pub(super) const ALLOW: Key<Allow> = Key::new(
    "allow",
    allow::ALLOW,
    "Accounts that may sign in: `\"anyone\"`, or a table with `domains`, `emails` and `groups`.",
)
.required("or emails, or groups, or allow = \"anyone\"")
.example("{ domains = [\"example.com\"] }");
pub(super) const TRUST_EMAIL: Key<bool> = Key::new(
    "trust_email",
    FLAG,
    "Whether the provider's e-mail addresses are treated as verified without a claim that says so.",
)
.default("false");
pub(super) const DOMAINS: Key<Vec<String>> = Key::new(
    "domains",
    Type::Read(Shape::OneOrMore(&Shape::Text), |item| Some(allow::domains(item, item.strings()))),
    "E-mail domains whose users are sent to this provider when they enter an address.",
)
.example("[\"example.com\"]");
pub(super) const LOGOUT: Key<bool> = Key::new(
    "logout",
    FLAG,
    "Whether a sign-out ends the provider's session too, if the provider supports it.",
)
.computed("`true`, and `false` for presets")
.example("false");
pub(super) const REQUIRED_ATTRIBUTES: Key<Vec<String>> = Key::new(
    "required_attributes",
    Type::Read(Shape::OneOrMore(&Shape::Text), |item| Some(attribute_names(item))),
    "User attributes without which a sign-in is denied.",
)
.example("[\"email\"]");
pub(super) const ATTRIBUTES: Key<BTreeMap<String, String>> = Key::new(
    "attributes",
    Type::Read(Shape::Map(&Shape::Text), |item| Some(attributes(item))),
    "User attributes, each with the provider's claim: its name, or a JSON Pointer (RFC 6901) to it.",
)
.example("{ groups = \"/realm_access/roles\", \"custom:department\" = \"department\" }");
pub(super) const GROUPS: Key<BTreeMap<String, Vec<String>>> = Key::new(
    "groups",
    Type::Read(Shape::Map(&Shape::OneOrMore(&Shape::Text)), |item| {
        Some(item.entries().iter().map(|item| (item.key.clone(), item.strings())).collect())
    }),
    "The provider's groups, each with the `[[user_pool.group]]` to which its members belong.",
)
.example("{ \"Photo Editors\" = \"editors\" }");
pub(super) const CA: Key<TextFile> = Key::new(
    "ca",
    AUTHORITIES,
    "PEM file of additional certificate authorities for connections to the provider.",
)
.example("\"certs/internal-ca.pem\"");
pub(super) const BASE_URL: Key<String> = Key::new(
    "base_url",
    Type::Read(Shape::Text, |item: &Item<'_>| item.parse(base_url)),
    "Address of a self-hosted instance, such as GitHub Enterprise Server or a GitLab server.",
)
.computed("the preset's public address")
.example("\"https://github.example.com\"")
.only(PRESET_TYPES);
