//! An OpenID provider in the file.

use super::address::{identifier, metadata_url};
use super::client::{self, Client};
use super::preset::{Preset, Quirks, STANDARD, Speaks};
use super::reader::{Item, Table, Wrong};
use url::Url;

/// An OpenID provider, as this relying party is registered there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// Who issues its ID tokens.
    pub issuer: Issuer,
    /// Our registration there; `openid` is among its scopes.
    pub client: Client,
    /// Where it departs from the standard.
    pub quirks: Quirks,
    /// The address of its discovery document, where that does not follow from the issuer.
    pub discovery_url: Option<Url>,
    /// Whether its UserInfo endpoint is asked, where it has one.
    pub userinfo: bool,
    /// The audiences beside ours that an ID token may have; any, where there is no list.
    pub trusted_audiences: Option<Vec<String>>,
}

/// Who issues ID tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// One issuer, byte for byte as the provider's discovery document has it.
    One(String),
    /// Each tenant has one of its own.
    PerTenant(Tenants),
}

/// The tenants of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenants {
    /// What all their issuers begin with.
    pub authority: String,
    /// What stands for all of them in addresses: `organizations` or `common`.
    pub all: &'static str,
    /// Those whose people may come; without any, all.
    pub only: Vec<String>,
}

/// The tenant of accounts that are nobody's but the person's own.
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
/// What discovery documents for several tenants have in the tenant's place.
const PLACE: &str = "{tenantid}";

impl Tenants {
    /// The issuer of a tenant.
    fn issuer(&self, tenant: &str) -> String {
        format!("{}/{tenant}/v2.0", self.authority)
    }

    /// The issuer of a tenant whose people may come.
    pub fn issuer_of(&self, tenant: &str) -> Option<String> {
        let named = self.only.is_empty() || self.only.iter().any(|only| only == tenant);
        let kind = tenant != PERSONAL || self.all == "common";
        (is_guid(tenant) && named && kind).then(|| self.issuer(tenant))
    }

    /// The issuer as metadata that speaks for all tenants has it.
    pub fn template(&self) -> String {
        self.issuer(PLACE)
    }

    /// What a template says of one issuer.
    pub fn filled(template: &str, tenant: &str) -> String {
        template.replace(PLACE, tenant)
    }
}

impl Issuer {
    /// Below what the discovery document is (OpenID Connect Discovery 1.0, section 4).
    pub fn location(&self) -> String {
        match self {
            Self::One(issuer) => issuer.clone(),
            Self::PerTenant(tenants) => tenants.issuer(tenants.all),
        }
    }

    /// Whether ID tokens of `issuer` are this provider's.
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
        let issuer = table
            .must("issuer", "add issuer = \"https://idp.example.com\", as the provider spells it")
            .and_then(|item| item.parse(issuer_url));
        let client = Client::read(table, &["openid", "email", "profile"], client::optional);
        let discovery_url = table.get("discovery_url").map(|item| item.parse(metadata_url));
        let made = Self::of(table, Issuer::One(issuer?), client?, STANDARD);
        Some(Self { discovery_url: discovery_url.map_or(Some(None), |url| url.map(Some))?, ..made })
    }

    /// Reads the keys that every kind of OpenID provider has.
    fn of(table: &Table<'_>, issuer: Issuer, client: Client, quirks: Quirks) -> Self {
        let userinfo = table.get("userinfo").and_then(|item| item.boolean()).unwrap_or(true);
        let trusted_audiences = table.get("trusted_audiences").map(|item| item.strings());
        let client = client.with_scope("openid");
        Self { issuer, client, quirks, discovery_url: None, userinfo, trusted_audiences }
    }

    /// A preset's settings, whose issuer is `issuer`.
    pub(super) fn preset(table: &Table<'_>, preset: &Preset, issuer: String) -> Option<Self> {
        let secret = if preset.quirks.form_post { client::signed } else { client::needed };
        let client = Client::read(table, preset.scopes, secret);
        // The names of an issuer are those of its own host, not of another one that `base_url` names.
        let is_its_own = matches!(&preset.speaks, Speaks::OpenId { issuer: usual } if *usual == issuer);
        let issuer_aliases = if is_its_own { preset.quirks.issuer_aliases } else { &[] };
        Some(Self::of(table, Issuer::One(issuer), client?, Quirks { issuer_aliases, ..preset.quirks }))
    }

    /// The same for a preset of several tenants.
    pub(super) fn tenants(table: &Table<'_>, preset: &Preset, authority: String) -> Option<Self> {
        let tenant = table
            .must(
                "tenant",
                "add tenant = \"…\": your directory's id, \"organizations\", \"consumers\" or \"common\"",
            )
            .and_then(|item| item.parse(tenant));
        let only = table.get("tenants").map(|item| (guids(&item), item));
        let client = Client::read(table, preset.scopes, client::needed);
        let (all, id) = tenant?;
        let tenants = |all, only| Tenants { authority: authority.clone(), all, only };
        let issuer = match (all, only) {
            (Some(all), only) => {
                Issuer::PerTenant(tenants(all, only.map(|(ids, _)| ids).unwrap_or_default()))
            }
            (None, None) => Issuer::One(tenants("common", Vec::new()).issuer(&id)),
            (None, Some((_, item))) => {
                item.wrong(
                    "`tenant` names one already",
                    "write tenant = \"organizations\", and list them here",
                );
                return None;
            }
        };
        Some(Self::of(table, issuer, client?, preset.quirks))
    }
}

/// The word for several tenants, or the id of one.
fn tenant(text: &str) -> Result<(Option<&'static str>, String), Wrong> {
    match text {
        "common" => Ok((Some("common"), String::new())),
        "organizations" => Ok((Some("organizations"), String::new())),
        "consumers" => Ok((None, PERSONAL.to_owned())),
        id if is_guid(id) => Ok((None, id.to_owned())),
        _ => Err((
            format!("\"{text}\" is no tenant's id"),
            "write the directory's id as its overview shows it, in lower case, not its domain; or \
             \"organizations\", \"consumers\" or \"common\""
                .into(),
        )),
    }
}

fn guids(item: &Item<'_>) -> Vec<String> {
    let ids = item.strings();
    for id in ids.iter().filter(|id| !is_guid(id)) {
        item.wrong(format!("\"{id}\" is no tenant's id"), "write it as the directory's overview shows it");
    }
    ids
}

fn is_guid(text: &str) -> bool {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || lower(b))
}

fn issuer_url(text: &str) -> Result<String, Wrong> {
    const MEND: &str =
        "write the issuer as the provider's discovery document has it, such as \"https://idp.example.com\"";
    let issuer = identifier(text, MEND)?;
    match issuer.ends_with("/.well-known/openid-configuration") {
        true => {
            Err((format!("\"{text}\" is the discovery document's address, not the issuer"), MEND.to_owned()))
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
