//! `[[issuer]]`: external issuers of access tokens.

use super::address::{identifier, metadata_url};
use super::authorities::AUTHORITIES;
use super::introspection::{self, Introspection};
use super::item::Item;
use super::key::{Key, Section, Shape, Type};
use super::reader::{Invalid, Table};
use super::role::{TextFile, plain_name};
use super::types::TEXTS;
use std::collections::BTreeMap;
use url::Url;

/// The supported signature algorithms (RFC 7518, section 3.1; RFC 8037), all of them asymmetric.
const ALGORITHM_NAMES: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

pub(super) const SECTION: Section = Section {
    header: "[[issuer]]",
    about: "External issuers whose access tokens routes with `bearer = true` accept.",
    keys: &[
        &NAME,
        &URL,
        &AUDIENCE,
        &JWKS,
        &TOKEN_TYPE,
        &ALGORITHMS,
        &SCOPES,
        &CLAIMS,
        &introspection::ENDPOINT,
        &introspection::CLIENT_ID,
        &introspection::CLIENT_SECRET,
        &introspection::AUTH_METHOD,
        &introspection::CACHE,
        &CA,
    ],
};
const NAME: Key<String> = Key::new(
    "name",
    Type::Read(Shape::Text, |item| item.parse(|text| plain_name(text, "an issuer"))),
    "Unique name among issuers and providers, which role mappings refer to.",
)
.computed("the host of `url`")
.example("\"idp\"");
const URL: Key<String> = Key::new(
    "url",
    Type::Read(Shape::Text, |item| item.parse(issuer_url)),
    "The tokens' `iss` claim, byte for byte, or a SPIFFE trust domain such as `\"spiffe://example.org\"`.",
)
.required("")
.example("\"https://idp.example.com\"");
const AUDIENCE: Key<Vec<String>> =
    Key::new("audience", TEXTS, "Accepted audiences; the tokens' `aud` claim must contain one of them.")
        .required("")
        .example("[\"photos-api\"]");
const JWKS: Key<KeySource> =
    Key::new("jwks", Type::Read(Shape::Text, key_source), "Address or file of the issuer's JWK Set.")
        .computed("the address in the issuer's metadata; none if `introspection` is set")
        .example("\"https://idp.example.com/keys\"");
const TOKEN_TYPE: Key<TokenType> = Key::new(
    "token_type",
    Type::ProviderChoice(&[("access", TokenType::Access), ("any", TokenType::Any)]),
    "`\"access\"`: only tokens that are marked as access tokens. `\"any\"`: also workload tokens and ID tokens.",
)
.computed("`\"access\"`, or `\"any\"` for a SPIFFE trust domain")
.example("\"any\"");
const ALGORITHMS: Key<Vec<String>> = Key::new(
    "algorithms",
    Type::Read(Shape::OneOrMore(&Shape::Words(&ALGORITHM_NAMES)), |item| Some(item.list(algorithm))),
    "Accepted signature algorithms.",
)
.default(r#"["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]"#)
.example("[\"RS256\", \"ES256\"]");
const SCOPES: Key<Vec<String>> =
    Key::new("scopes", SCOPES_TYPE, "Scopes that every token must have.").example("[\"photos\"]");
const CLAIMS: Key<BTreeMap<String, String>> = Key::new(
    "claims",
    Type::Read(Shape::Map(&Shape::Text), |item| Some(claims(item))),
    "Claims that every token must have, with these values.",
)
.example("{ tenant = \"example\" }");
const CA: Key<TextFile> = Key::new(
    "ca",
    AUTHORITIES,
    "PEM file of additional certificate authorities for connections to the issuer.",
)
.example("\"certs/internal-ca.pem\"");

/// A trusted issuer of access tokens, and the conditions for its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// The name, unique among issuers and providers, to which role mappings refer.
    pub name: String,
    /// The issuer identifier, which `iss` must equal byte for byte.
    pub url: String,
    /// The source of the issuer's keys.
    pub keys: KeySource,
    /// The accepted audiences.
    pub audiences: Vec<String>,
    /// The accepted signature algorithms.
    pub algorithms: Vec<String>,
    /// The scopes that each token must have.
    pub scopes: Vec<String>,
    /// The claims that each token must have, with their values.
    pub claims: BTreeMap<String, String>,
    /// The accepted kinds of tokens.
    pub token_type: TokenType,
    /// The introspection of opaque tokens.
    pub introspection: Option<Introspection>,
    /// Additional certificate authorities for connections to the issuer.
    pub ca: Option<TextFile>,
}

/// The accepted kinds of an issuer's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// Only tokens that are marked as access tokens.
    Access,
    /// Any token for one of the audiences: tokens of workloads are not marked as access tokens.
    Any,
}

/// The source of an issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The issuer's metadata (OpenID Connect Discovery 1.0, RFC 8414).
    Metadata,
    /// A JWK Set at a URL.
    Url(Url),
    /// A JWK Set in a file.
    File(TextFile),
    /// The JWK Set of the user pool itself.
    Own(String),
    /// No keys: each token is introspected.
    None,
}

impl TrustedIssuer {
    /// Returns a user pool of this deployment as an issuer of access tokens: its name, the `iss`
    /// claim, the JWK Set with its algorithms, and the app clients whose own tokens are accepted.
    pub fn of_user_pool(
        name: String,
        url: String,
        keys: String,
        algorithms: Vec<String>,
        audiences: Vec<String>,
    ) -> Self {
        Self {
            name,
            url,
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

    /// Returns an app client as the issuer of its assertions, whose keys are fetched as those of
    /// other issuers.
    pub fn of_client(id: String, keys: KeySource) -> Self {
        let name = format!("app client {id}");
        Self { keys, ..Self::of_user_pool(name, id, String::new(), Vec::new(), Vec::new()) }
    }

    /// Returns whether the issuer is a SPIFFE trust domain, whose tokens need not have an `iss`.
    pub fn is_trust_domain(&self) -> bool {
        self.url.starts_with(SPIFFE)
    }

    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let url = table.read(&URL);
        let host = || url.as_ref().and_then(|url| Url::parse(url).ok()?.host_str().map(str::to_owned));
        let name = table.read(&NAME).or_else(host);
        let audiences = table.read(&AUDIENCE);
        let introspection = Introspection::read(table);
        let keys = match table.get(&JWKS) {
            None if introspection.is_some() => Some(KeySource::None),
            None => Some(KeySource::Metadata),
            Some(item) => JWKS.value(&item),
        };
        let algorithms = table.read(&ALGORITHMS);
        let scopes = table.read(&SCOPES).unwrap_or_default();
        let claims = table.read(&CLAIMS).unwrap_or_default();
        let token_type = table.read(&TOKEN_TYPE);
        let ca = table.read(&CA);
        let is_trust_domain = url.as_ref().is_some_and(|url| url.starts_with(SPIFFE));
        if is_trust_domain && matches!(keys, Some(KeySource::Metadata | KeySource::None)) {
            table.report(
                "a SPIFFE trust domain has no metadata",
                "name its key bundle: jwks = \"bundle.json\"",
            );
        }
        table.finish();
        let default_type = if is_trust_domain { TokenType::Any } else { TokenType::Access };
        Some(Self {
            name: name?,
            url: url?,
            keys: keys?,
            audiences: audiences?,
            algorithms: algorithms?,
            scopes,
            claims,
            token_type: token_type.unwrap_or(default_type),
            introspection,
            ca,
        })
    }
}

/// The prefix of SPIFFE IDs.
const SPIFFE: &str = "spiffe://";

/// Checks a SPIFFE trust domain: letters, digits and `.-_` (SPIFFE ID, section 2.1).
fn trust_domain(text: &str, domain: &str) -> Result<String, Invalid> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    match (1..=255).contains(&domain.len()) && domain.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is not a SPIFFE trust domain"),
            "write it like \"spiffe://example.org\"".into(),
        )),
    }
}

/// Returns whether `text` is a scope: printable ASCII without space, `"` and `\` (RFC 6749, section
/// 3.3).
pub(super) fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

/// The value type of a list of scopes.
pub(super) const SCOPES_TYPE: Type<Vec<String>> =
    Type::Read(Shape::OneOrMore(&Shape::Text), |item| Some(scopes(item)));

fn scopes(item: &Item<'_>) -> Vec<String> {
    let scope = |text: &str| match is_scope(text) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is not a scope"),
            "write each as a string of its own: [\"a\", \"b\"]".into(),
        )),
    };
    item.list(|item| item.parse(scope))
}

pub(super) fn key_source(item: &Item<'_>) -> Option<KeySource> {
    match item.string()?.contains("://") {
        true => item.parse(metadata_url).map(KeySource::Url),
        false => TextFile::read(item).map(KeySource::File),
    }
}

fn claims(item: &Item<'_>) -> BTreeMap<String, String> {
    item.entries()
        .into_iter()
        .filter_map(|item| Some((item.key.clone(), item.string()?.to_owned())))
        .collect()
}

fn algorithm(item: &Item<'_>) -> Option<String> {
    let choices = ALGORITHM_NAMES.map(|name| (name, name));
    item.choice(&choices).map(str::to_owned)
}

fn issuer_url(text: &str) -> Result<String, Invalid> {
    match text.strip_prefix(SPIFFE) {
        Some(domain) => trust_domain(text, domain),
        None => identifier(text, "write it as in the tokens: \"https://idp.example.com\""),
    }
}
