//! `[[provider]]` with OpenID Connect.

use super::address::{identifier, metadata_url};
use super::client::{self, Client};
use super::item::Item;
use super::key::{Key, Shape, Type};
use super::preset::{Preset, Protocol, Quirks, STANDARD};
use super::provider_keys::OPENID;
use super::reader::{Invalid, Table};
use super::types::{FLAG, TEXTS};
use url::Url;

pub(super) const ISSUER: Key<String> = Key::new(
    "issuer",
    Type::Read(Shape::Text, |item| item.parse(issuer_url)),
    "Issuer, byte for byte as in the provider's discovery document.",
)
.required("as the provider spells it")
.example("\"https://idp.example.com\"")
.only(&["oidc"]);
pub(super) const DISCOVERY_URL: Key<Url> = Key::new(
    "discovery_url",
    Type::Read(Shape::Text, |item| item.parse(metadata_url)),
    "Address of the discovery document. The document and the ID tokens must still name `issuer`.",
)
.computed("`{issuer}/.well-known/openid-configuration`")
.example("\"https://idp.example.com/policy/.well-known/openid-configuration\"")
.only(&["oidc"]);
pub(super) const USERINFO: Key<bool> = Key::new(
    "userinfo",
    FLAG,
    "Whether the UserInfo endpoint is called. Otherwise the ID token must contain every claim.",
)
.default("true")
.only(OPENID);
pub(super) const TRUSTED_AUDIENCES: Key<Vec<String>> = Key::new(
    "trusted_audiences",
    TEXTS,
    "Additional audiences that an ID token may have, and clients that `azp` may name.",
)
.computed("any additional audience; `azp` must be absent or `client_id`")
.example("[\"mobile-app\"]")
.only(OPENID);
pub(super) const TENANT: Key<(Option<&str>, String)> = Key::new(
    "tenant",
    Type::Read(Shape::Text, |item| item.parse(tenant)),
    "Id of the directory, or `\"organizations\"`, `\"consumers\"` or `\"common\"`.",
)
.required("or the id of your directory")
.example("\"organizations\"")
.only(&["microsoft"]);
pub(super) const TENANTS: Key<Vec<String>> = Key::new(
    "tenants",
    Type::Read(Shape::OneOrMore(&Shape::Text), |item| Some(tenant_ids(item))),
    "Ids of the directories whose users may sign in, if `tenant` is `\"organizations\"` or `\"common\"`.",
)
.computed("every directory")
.example("[\"8eaef023-2b34-4da1-9baa-8bc8c9d6a490\"]")
.only(&["microsoft"]);

/// The settings of an OpenID provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// The issuer of ID tokens.
    pub issuer: Issuer,
    /// The client registration, whose scopes include `openid`.
    pub client: Client,
    /// Deviations from the standard.
    pub quirks: Quirks,
    /// The URL of the discovery document, if it cannot be derived from the issuer.
    pub discovery_url: Option<Url>,
    /// Whether the UserInfo endpoint is called, if the provider has one.
    pub userinfo: bool,
    /// The additional audiences that an ID token may have; `None` allows any.
    pub trusted_audiences: Option<Vec<String>>,
}

/// The issuer of ID tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// One issuer, byte for byte as the provider's discovery document has it.
    One(String),
    /// One issuer for each tenant.
    PerTenant(Tenants),
}

/// The tenants of an authority, such as Entra ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenants {
    /// The common prefix of their issuers.
    pub authority: String,
    /// The word for all tenants in URLs: `organizations` or `common`.
    pub all: &'static str,
    /// The tenants whose users may sign in; empty for all.
    pub only: Vec<String>,
}

/// The tenant of personal accounts.
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
/// The placeholder for the tenant in discovery documents of several tenants.
const PLACEHOLDER: &str = "{tenantid}";

impl Tenants {
    /// Returns the issuer of a tenant.
    fn issuer(&self, tenant: &str) -> String {
        format!("{}/{tenant}/v2.0", self.authority)
    }

    /// Returns the issuer of a tenant, if its users may sign in.
    pub fn issuer_of(&self, tenant: &str) -> Option<String> {
        let named = self.only.is_empty() || self.only.iter().any(|only| only == tenant);
        let kind = tenant != PERSONAL || self.all == "common";
        (is_guid(tenant) && named && kind).then(|| self.issuer(tenant))
    }

    /// Returns the issuer in the metadata of all tenants, with a placeholder for the tenant.
    pub fn template(&self) -> String {
        self.issuer(PLACEHOLDER)
    }

    /// Replaces the placeholder of a template with a tenant.
    pub fn filled(template: &str, tenant: &str) -> String {
        template.replace(PLACEHOLDER, tenant)
    }
}

impl Issuer {
    /// Returns the URL below which the discovery document is located (OpenID Connect Discovery 1.0,
    /// section 4).
    pub fn location(&self) -> String {
        match self {
            Self::One(issuer) => issuer.clone(),
            Self::PerTenant(tenants) => tenants.issuer(tenants.all),
        }
    }

    /// Returns the issuer, if there is only one.
    pub fn only(&self) -> Option<&str> {
        match self {
            Self::One(issuer) => Some(issuer),
            Self::PerTenant(_) => None,
        }
    }

    /// Returns whether `issuer` is this issuer, or the issuer of an allowed tenant.
    pub fn is(&self, issuer: &str) -> bool {
        match self {
            Self::One(one) => one == issuer,
            Self::PerTenant(tenants) => {
                let tenant = issuer.strip_prefix(&tenants.authority).and_then(|rest| rest.split('/').nth(1));
                tenant.and_then(|tenant| tenants.issuer_of(tenant)).is_some_and(|known| known == issuer)
            }
        }
    }
}

impl Oidc {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let issuer = table.read(&ISSUER);
        let client = Client::read(table, &["openid", "email", "profile"], client::optional_secret);
        let discovery_url = table.read(&DISCOVERY_URL);
        let common = Self::common(table, Issuer::One(issuer?), client?, STANDARD)?;
        Some(Self { discovery_url, ..common })
    }

    /// Reads the keys of every OpenID provider.
    fn common(table: &Table<'_>, issuer: Issuer, client: Client, quirks: Quirks) -> Option<Self> {
        let userinfo = table.read(&USERINFO);
        let trusted_audiences = table.read(&TRUSTED_AUDIENCES);
        let client = client.with_scope("openid");
        Some(Self { issuer, client, quirks, discovery_url: None, userinfo: userinfo?, trusted_audiences })
    }

    /// Reads the keys of a preset with this issuer.
    pub(super) fn preset(table: &Table<'_>, preset: &Preset, issuer: String) -> Option<Self> {
        let secret = if preset.quirks.form_post { client::apple_key } else { client::required_secret };
        let client = Client::read(table, preset.scopes, secret);
        // The aliases belong to the issuer's own host, not to a host that `base_url` names.
        let is_its_own = matches!(&preset.protocol, Protocol::OpenId { issuer: usual } if *usual == issuer);
        let issuer_aliases = if is_its_own { preset.quirks.issuer_aliases } else { &[] };
        Self::common(table, Issuer::One(issuer), client?, Quirks { issuer_aliases, ..preset.quirks })
    }

    /// Reads the keys of a preset with several tenants.
    pub(super) fn tenants(table: &Table<'_>, preset: &Preset, authority: String) -> Option<Self> {
        let tenant = table.read(&TENANT);
        let only_item = table.get(&TENANTS);
        let client = Client::read(table, preset.scopes, client::required_secret);
        let (all, id) = tenant?;
        let only = table.read(&TENANTS);
        let tenants = |all, only| Tenants { authority: authority.clone(), all, only };
        let issuer = match (all, only_item) {
            (Some(all), _) => Issuer::PerTenant(tenants(all, only.unwrap_or_default())),
            (None, None) => Issuer::One(tenants("common", Vec::new()).issuer(&id)),
            (None, Some(item)) => {
                item.report(
                    "`tenants` has no effect: `tenant` names one tenant",
                    "write tenant = \"organizations\", and list them here",
                );
                return None;
            }
        };
        Self::common(table, issuer, client?, preset.quirks)
    }
}

/// Reads the word for several tenants, or the id of one tenant.
fn tenant(text: &str) -> Result<(Option<&'static str>, String), Invalid> {
    match text {
        "common" => Ok((Some("common"), String::new())),
        "organizations" => Ok((Some("organizations"), String::new())),
        "consumers" => Ok((None, PERSONAL.to_owned())),
        id if is_guid(id) => Ok((None, id.to_owned())),
        _ => Err((
            format!("\"{text}\" is not the id of a tenant"),
            "write the directory's id as its overview shows it, in lower case, not its domain; or \
             \"organizations\", \"consumers\" or \"common\""
                .into(),
        )),
    }
}

fn tenant_ids(item: &Item<'_>) -> Vec<String> {
    let ids = item.strings();
    for id in ids.iter().filter(|id| !is_guid(id)) {
        item.report(
            format!("\"{id}\" is not the id of a tenant"),
            "write it as the directory's overview shows it",
        );
    }
    ids
}

fn is_guid(text: &str) -> bool {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || lower(b))
}

fn issuer_url(text: &str) -> Result<String, Invalid> {
    const HELP: &str =
        "write the issuer as the provider's discovery document has it, such as \"https://idp.example.com\"";
    let issuer = identifier(text, HELP)?;
    match issuer.ends_with("/.well-known/openid-configuration") {
        true => {
            Err((format!("\"{text}\" is the discovery document's address, not the issuer"), HELP.to_owned()))
        }
        false => Ok(issuer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_one_of_a_tenant_that_may_come() {
        let (one, other) = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222");
        let tenants = |all, only: &[&str]| {
            let only = only.iter().map(|id| id.to_string()).collect();
            Issuer::PerTenant(Tenants { authority: "https://login".into(), all, only })
        };
        let of = |tenant: &str| format!("https://login/{tenant}/v2.0");
        assert!(tenants("organizations", &[]).is(&of(one)));
        assert!(!tenants("organizations", &[]).is(&of(PERSONAL)) && tenants("common", &[]).is(&of(PERSONAL)));
        assert!(tenants("common", &[one]).is(&of(one)) && !tenants("common", &[one]).is(&of(other)));
        for bad in ["common", "", "1111", "11111111-1111-1111-1111-11111111111G", "../x"] {
            assert!(!tenants("common", &[]).is(&of(bad)), "{bad}");
        }
        assert!(!tenants("common", &[]).is(&format!("{}/", of(one))));
        assert!(!tenants("common", &[]).is(&format!("https://login.evil/{one}/v2.0")));
    }
}
