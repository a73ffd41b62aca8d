//! `[[provider]]` with SAML 2.0.

use super::address::metadata_url;
use super::item::Item;
use super::key::{Key, Shape, Type};
use super::reader::{Invalid, Table};
use super::types::{FLAG, INPUT_FILE};
use crate::base::Duration;
use std::path::PathBuf;
use url::Url;

/// The minimum of `metadata_refresh`.
const MIN_REFRESH: Duration = Duration::from_secs(10);

pub(super) const METADATA: Key<MetadataSource> =
    Key::new("metadata", Type::Read(Shape::Text, source), "Address or file of the provider's metadata.")
        .required("or the name of a file")
        .example("\"https://idp.example.com/metadata\"")
        .only(&["saml"]);
pub(super) const METADATA_REFRESH: Key<Duration> = Key::new(
    "metadata_refresh",
    Type::Read(Shape::Duration, refresh),
    "Interval at which metadata is fetched, at least `\"10s\"`. A key that is removed from it is accepted for as long.",
)
.default("\"1h\"")
.only(&["saml"]);
pub(super) const METADATA_CERTIFICATE: Key<PathBuf> = Key::new(
    "metadata_certificate",
    INPUT_FILE,
    "PEM file of the certificate that must have signed the metadata.",
)
.computed("the signature of metadata is not checked")
.example("\"certs/idp-metadata.pem\"")
.only(&["saml"]);
pub(super) const ISSUER: Key<String> = Key::new(
    "issuer",
    Type::Read(Shape::Text, |item| item.parse(entity_id)),
    "Entity id of the provider, which selects it in an aggregate and identifies its users after a change of metadata.",
)
.computed("the entity id in the metadata")
.example("\"https://idp.example.com/idp\"")
.only(&["saml"]);
pub(super) const ENTITY_ID: Key<String> = Key::new(
    "entity_id",
    Type::Read(Shape::Text, |item| item.parse(entity_id)),
    "Entity id of Narthex at the provider.",
)
.computed("`urn:amazon:cognito:sp:{pool id}`")
.example("\"https://auth.example.com/saml\"")
.only(&["saml"]);
pub(super) const NAME_ID_FORMAT: Key<String> = Key::new(
    "name_id_format",
    Type::Read(Shape::Text, |item| item.parse(name_id_format)),
    "Name id format to request: `\"persistent\"`, `\"emailAddress\"` or `\"unspecified\"`, or its URI.",
)
.computed("the provider's choice")
.example("\"persistent\"")
.only(&["saml"]);
pub(super) const FORCE_AUTHN: Key<bool> = Key::new(
    "force_authn",
    FLAG,
    "Whether the user must authenticate anew for each sign-in (`ForceAuthn`), which `AuthnInstant` must show.",
)
.default("false")
.only(&["saml"]);
pub(super) const AUTHN_CONTEXT: Key<Vec<String>> = Key::new(
    "authn_context",
    Type::Read(Shape::OneOrMore(&Shape::Text), |item| Some(item.list(|item| item.parse(class)))),
    "Authentication context classes, one of which the assertion must name (`RequestedAuthnContext`, exact).",
)
.example("[\"https://refeds.org/profile/mfa\"]")
.only(&["saml"]);
pub(super) const ENCRYPTED_RESPONSES: Key<bool> =
    Key::new("encrypted_responses", FLAG, "Whether assertions must be encrypted.")
        .default("false")
        .only(&["saml"]);
pub(super) const REQUEST_SIGNING: Key<bool> = Key::new(
    "request_signing",
    FLAG,
    "Whether requests are signed even if the metadata does not ask for it.",
)
.default("false")
.only(&["saml"]);
pub(super) const IDP_INIT: Key<bool> =
    Key::new("idp_init", FLAG, "Whether IdP-initiated sign-in is allowed. Warning: it enables login CSRF.")
        .default("false")
        .only(&["saml"]);

/// The settings of a SAML identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saml {
    /// The source of the provider's metadata.
    pub metadata: MetadataSource,
    /// The provider's entity id, if the file has one.
    pub issuer: Option<String>,
    /// The interval at which metadata is fetched.
    pub metadata_refresh: Duration,
    /// The certificate that must have signed the metadata.
    pub metadata_certificate: Option<PathBuf>,
    /// The entity id of Narthex, if it differs from the pool's.
    pub entity_id: Option<String>,
    /// Whether assertions must be encrypted.
    pub encrypted_responses: bool,
    /// Whether requests are signed even if the metadata does not ask for it.
    pub request_signing: bool,
    /// Whether IdP-initiated sign-in is allowed.
    pub idp_init: bool,
    /// The name id format to request.
    pub name_id_format: Option<String>,
    /// Whether the user must authenticate again for each sign-in.
    pub force_authn: bool,
    /// The authentication context classes, one of which is required; empty for any.
    pub authn_context: Vec<String>,
}

/// The source of metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataSource {
    /// An address.
    Url(Url),
    /// A file.
    File(PathBuf),
}

impl std::fmt::Display for MetadataSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Saml {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let metadata = table.read(&METADATA);
        let issuer = table.read(&ISSUER);
        let metadata_refresh = table.read(&METADATA_REFRESH);
        let metadata_certificate = table.read(&METADATA_CERTIFICATE);
        let entity_id = table.read(&ENTITY_ID);
        let encrypted_responses = table.read(&ENCRYPTED_RESPONSES);
        let request_signing = table.read(&REQUEST_SIGNING);
        let idp_init = table.read(&IDP_INIT);
        let name_id_format = table.read(&NAME_ID_FORMAT);
        let force_authn = table.read(&FORCE_AUTHN);
        let authn_context = table.read(&AUTHN_CONTEXT).unwrap_or_default();
        if force_authn == Some(true) && idp_init == Some(true) {
            table.report(
                "`force_authn` requires a request, and `idp_init` allows sign-ins without one",
                "remove one of the two",
            );
        }
        Some(Self {
            metadata: metadata?,
            issuer,
            metadata_refresh: metadata_refresh?,
            metadata_certificate,
            entity_id,
            encrypted_responses: encrypted_responses?,
            request_signing: request_signing?,
            idp_init: idp_init?,
            name_id_format,
            force_authn: force_authn?,
            authn_context,
        })
    }
}

fn source(item: &Item<'_>) -> Option<MetadataSource> {
    match item.string()?.contains("://") {
        true => item.parse(metadata_url).map(MetadataSource::Url),
        false => item.path().map(MetadataSource::File),
    }
}

fn refresh(item: &Item<'_>) -> Option<Duration> {
    let interval = item.duration()?;
    if interval < MIN_REFRESH {
        item.report("the interval is too short", "write at least \"10s\"; \"1h\" is common");
        return None;
    }
    Some(interval)
}

/// Reads an entity id: "a URI of not more than 1024 characters" (SAML core, section 8.3.6).
fn entity_id(text: &str) -> Result<String, Invalid> {
    uri(text, "entity id")
}

/// Reads an authentication context class, which is a URI too.
fn class(text: &str) -> Result<String, Invalid> {
    uri(text, "authentication context class")
}

fn uri(text: &str, what: &str) -> Result<String, Invalid> {
    match (1..=1024).contains(&text.len()) && !text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is not a valid {what}"),
            "write a URI of at most 1024 characters".into(),
        )),
    }
}

/// The name id formats, by the last part of their URI (SAML core, section 8.3).
const FORMATS: [(&str, &str); 3] = [
    ("persistent", "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"),
    ("emailAddress", "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"),
    ("unspecified", "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"),
];

fn name_id_format(text: &str) -> Result<String, Invalid> {
    let known = FORMATS.iter().find(|(name, uri)| *name == text || *uri == text);
    known.map(|(_, uri)| (*uri).to_owned()).ok_or_else(|| {
        (
            format!("\"{text}\" is not a name id format that identifies a user permanently"),
            "write \"persistent\", \"emailAddress\" or \"unspecified\"".into(),
        )
    })
}
