//! `[[issuer]]`: another issuer whose tokens API clients may bring.

use super::address::{identifier, metadata_url};
use super::introspection::Introspection;
use super::provider::authorities;
use super::reader::{Item, Table, Wrong};
use super::role::{TextFile, plain_name};
use std::collections::BTreeMap;
use url::Url;

/// The signature algorithms that tokens may have (RFC 7518, section 3.1; RFC 8037): none that is symmetric.
const ALGORITHMS: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

/// An issuer of access tokens, and which of them to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// Unique among issuers and providers; role mappings name it.
    pub name: String,
    /// Its `iss`, byte for byte.
    pub url: String,
    /// Where its keys are.
    pub keys: KeySource,
    /// Whom its tokens must be for: one of these.
    pub audiences: Vec<String>,
    /// What they may be signed with.
    pub algorithms: Vec<String>,
    /// The scopes that each must have.
    pub scopes: Vec<String>,
    /// The claims that each must have, and their values.
    pub claims: BTreeMap<String, String>,
    /// Which kinds of its tokens are taken.
    pub token_type: TokenType,
    /// Where opaque tokens are asked about.
    pub introspection: Option<Introspection>,
    /// Certificate authorities that calls to the issuer trust besides the machine's.
    pub ca: Option<TextFile>,
}

/// Which kinds of an issuer's tokens are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// Those that look like access tokens.
    Access,
    /// Any token for one of the audiences: the identity tokens of workloads do not say that they are access tokens.
    Any,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Where its metadata says (OpenID Connect Discovery 1.0, RFC 8414).
    Metadata,
    /// A JWK Set at this address.
    Url(Url),
    /// A JWK Set in this file.
    File(TextFile),
    /// This JWK Set: the issuer is our own user pool.
    Own(String),
    /// Nowhere: each token is asked about.
    None,
}

impl TrustedIssuer {
    /// Whether it is a SPIFFE trust domain, whose tokens need not have an `iss`.
    pub fn is_trust_domain(&self) -> bool {
        self.url.starts_with(SPIFFE)
    }

    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let url = table
            .must("url", "say who issues the tokens, as their `iss` does: url = \"https://idp.example.com\"")
            .and_then(|item| {
                item.parse(|text| match text.strip_prefix(SPIFFE) {
                    Some(domain) => trust_domain(text, domain),
                    None => identifier(text, "write it as the tokens do: \"https://idp.example.com\""),
                })
            });
        let name = match table.get("name") {
            Some(item) => item.parse(|text| plain_name(text, "an issuer")),
            None => url.as_ref().and_then(|url| Url::parse(url).ok()?.host_str().map(str::to_owned)),
        };
        let audiences = table
            .must(
                "audience",
                "say whom the tokens are for, since others' are not for you: audience = \"photos-api\"",
            )
            .map(|item| item.strings());
        let introspection = Introspection::read(table);
        let keys = match table.get("jwks") {
            None if table.get("introspection").is_some() => Some(KeySource::None),
            None => Some(KeySource::Metadata),
            Some(item) => key_source(&item),
        };
        let algorithms = table.get("algorithms").map(|item| {
            let choices: Vec<(&str, &str)> = ALGORITHMS.iter().map(|name| (*name, *name)).collect();
            item.one_or_more().iter().filter_map(|item| item.choice(&choices)).map(str::to_owned).collect()
        });
        let scopes = table.get("scopes").map(|item| scopes(&item)).unwrap_or_default();
        let claims = table.get("claims").map(claims).unwrap_or_default();
        let token_type = table
            .get("token_type")
            .and_then(|item| item.choice(&[("access", TokenType::Access), ("any", TokenType::Any)]));
        let ca = table.get("ca").map(|item| authorities(&item));
        let is_trust_domain = url.as_ref().is_some_and(|url| url.starts_with(SPIFFE));
        if is_trust_domain && matches!(keys, Some(KeySource::Metadata | KeySource::None)) {
            table.wrong(
                "a SPIFFE trust domain has no metadata",
                "name its bundle of keys: jwks = \"bundle.json\"",
            );
        }
        table.finish();
        Some(Self {
            name: name?,
            url: url?,
            keys: keys?,
            audiences: audiences?,
            algorithms: algorithms.unwrap_or_else(|| ALGORITHMS.map(str::to_owned).to_vec()),
            scopes,
            claims,
            token_type: token_type.unwrap_or(if is_trust_domain {
                TokenType::Any
            } else {
                TokenType::Access
            }),
            introspection: introspection?,
            ca: ca.map_or(Some(None), |ca| ca.map(Some))?,
        })
    }
}

/// The scheme of SPIFFE IDs.
const SPIFFE: &str = "spiffe://";

/// A SPIFFE trust domain: letters, digits and `.-_` (SPIFFE ID, section 2.1).
fn trust_domain(text: &str, domain: &str) -> Result<String, Wrong> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    match (1..=255).contains(&domain.len()) && domain.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is no SPIFFE trust domain"),
            "write it like \"spiffe://example.org\"".into(),
        )),
    }
}

/// RFC 6749, section 3.3: a scope is printable ASCII, without space, `"` and `\`.
pub(super) fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

/// Scopes, each a text of its own.
pub(super) fn scopes(item: &Item<'_>) -> Vec<String> {
    let scope = |text: &str| match is_scope(text) {
        true => Ok(text.to_owned()),
        false => {
            Err((format!("\"{text}\" is no scope"), "write each as a text of its own: [\"a\", \"b\"]".into()))
        }
    };
    item.one_or_more().iter().filter_map(|item| item.parse(scope)).collect()
}

fn key_source(item: &Item<'_>) -> Option<KeySource> {
    match item.string()?.contains("://") {
        true => item.parse(metadata_url).map(KeySource::Url),
        false => TextFile::read(item).map(KeySource::File),
    }
}

fn claims(item: Item<'_>) -> BTreeMap<String, String> {
    let Some(table) = item.table("[issuer.claims]") else { return BTreeMap::new() };
    table.all().into_iter().filter_map(|item| Some((item.key.clone(), item.string()?.to_owned()))).collect()
}
