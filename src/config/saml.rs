//! A SAML identity provider in the file.

use super::address::metadata_url;
use super::reader::{Item, Table, Wrong};
use crate::base::Duration;
use std::path::PathBuf;
use url::Url;

/// How often metadata is fetched again, unless the file says otherwise.
const REFRESH: Duration = Duration::from_secs(3600);
/// Nobody is asked more often than this.
const LEAST_REFRESH: Duration = Duration::from_secs(10);

/// A SAML identity provider, as this service provider is registered there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saml {
    /// Where its metadata is.
    pub metadata: MetadataSource,
    /// Its entity id, where the file and not the metadata alone is to say it.
    pub issuer: Option<String>,
    /// How old metadata may be: a key that is gone from it counts for as long.
    pub metadata_refresh: Duration,
    /// The certificate by which the metadata must be signed.
    pub metadata_certificate: Option<PathBuf>,
    /// Our entity id there, where it is not the pool's own.
    pub entity_id: Option<String>,
    /// Whether assertions that are not encrypted are refused.
    pub encrypted_responses: bool,
    /// Whether requests are signed though the metadata does not ask for it.
    pub request_signing: bool,
    /// Whether the provider may sign people in without being asked.
    pub idp_init: bool,
    /// The format of names to ask for.
    pub name_id_format: Option<String>,
    /// Whether the person must be authenticated anew for each sign-in.
    pub force_authn: bool,
    /// The classes of authentication of which one is required; any, where there is none.
    pub authn_context: Vec<String>,
}

/// Where metadata is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataSource {
    /// At an address.
    Url(Url),
    /// In a file.
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
        let metadata = table
            .must("metadata", "add metadata = \"https://idp.example.com/metadata\", or the name of a file")
            .and_then(|item| source(&item));
        let metadata_refresh = table.get("metadata_refresh").and_then(|item| refresh(&item));
        let metadata_certificate = table.get("metadata_certificate").and_then(|item| item.path());
        let issuer = table.get("issuer").and_then(|item| item.parse(entity_id));
        let entity_id = table.get("entity_id").and_then(|item| item.parse(entity_id));
        let flag = |name| table.get(name).and_then(|item| item.boolean()).unwrap_or(false);
        let (encrypted_responses, request_signing, idp_init) =
            (flag("encrypted_responses"), flag("request_signing"), flag("idp_init"));
        let name_id_format = table.get("name_id_format").and_then(|item| item.parse(name_id_format));
        let force_authn = flag("force_authn");
        if force_authn && idp_init {
            table.wrong(
                "`force_authn` asks for a new authentication, and with `idp_init` nobody is asked",
                "remove one of the two",
            );
        }
        let authn_context = table
            .get("authn_context")
            .map(|item| item.one_or_more().iter().filter_map(|item| item.parse(class)).collect());
        Some(Self {
            force_authn,
            authn_context: authn_context.unwrap_or_default(),
            metadata: metadata?,
            issuer,
            metadata_refresh: metadata_refresh.unwrap_or(REFRESH),
            metadata_certificate,
            entity_id,
            encrypted_responses,
            request_signing,
            idp_init,
            name_id_format,
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
    let told = item.duration()?;
    if told < LEAST_REFRESH {
        item.wrong("that is too often", "fetch metadata every 10 seconds at most: \"1h\" is common");
        return None;
    }
    Some(told)
}

/// SAML core, section 8.3.6: "a URI of not more than 1024 characters".
fn entity_id(text: &str) -> Result<String, Wrong> {
    uri(text, "entity id")
}

/// A class of authentication, which is named by a URI as well.
fn class(text: &str) -> Result<String, Wrong> {
    uri(text, "class of authentication")
}

fn uri(text: &str, what: &str) -> Result<String, Wrong> {
    match (1..=1024).contains(&text.len()) && !text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        true => Ok(text.to_owned()),
        false => Err((format!("\"{text}\" is no {what}"), "write a URI of at most 1024 characters".into())),
    }
}

/// The formats by their last word, as SAML core, section 8.3, names them.
const FORMATS: [(&str, &str); 3] = [
    ("persistent", "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"),
    ("emailAddress", "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"),
    ("unspecified", "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"),
];

fn name_id_format(text: &str) -> Result<String, Wrong> {
    let known = FORMATS.iter().find(|(name, uri)| *name == text || *uri == text);
    known.map(|(_, uri)| (*uri).to_owned()).ok_or_else(|| {
        (
            format!("\"{text}\" is no format by which a user can be found again"),
            "write \"persistent\", \"emailAddress\" or \"unspecified\"".into(),
        )
    })
}
