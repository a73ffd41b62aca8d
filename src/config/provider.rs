//! `[[provider]]`: an outside identity provider.

use super::Saml;
use super::reader::{Item, Table, Wrong};
use crate::base::Secret;
use std::collections::BTreeMap;
use url::Url;

/// An outside identity provider, and whom of its people to let in.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Unique in a deployment; stands in the callback's path.
    pub name: String,
    /// What its button says.
    pub display_name: String,
    /// What it speaks.
    pub kind: Kind,
    /// Whom it may sign in.
    pub allow: Allow,
    /// User attribute -> the provider's claim.
    pub attributes: BTreeMap<String, String>,
    /// Whether its e-mail addresses count as verified without its saying so.
    pub trust_email: bool,
    /// The e-mail domains whose people it signs in: who types an address of theirs is sent there.
    pub domains: Vec<String>,
    /// Whether signing out here ends the session there too, where the provider knows how.
    pub logout: bool,
}

/// What a provider speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// OpenID Connect.
    Oidc(Oidc),
    /// SAML 2.0.
    Saml(Saml),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Oidc,
    Saml,
}

/// An OpenID provider, as this relying party is registered there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// The issuer identifier, byte for byte as the provider's discovery document has it.
    pub issuer: String,
    /// Our client id there.
    pub client_id: String,
    /// Our client secret there; a public client has none.
    pub client_secret: Option<Secret>,
    /// Scopes to ask for; `openid` is among them.
    pub scopes: Vec<String>,
}

/// Whom a provider may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Everyone who has an account there.
    Anyone,
    /// Those whom at least one of the lists names; domains and addresses are lower-case, and count
    /// only for a verified e-mail address.
    Only {
        /// E-mail domains.
        domains: Vec<String>,
        /// E-mail addresses.
        emails: Vec<String>,
        /// Groups, as the provider names them.
        groups: Vec<String>,
    },
}

impl Allow {
    /// Whether a person is named, by a verified e-mail address or by a group.
    pub fn names(&self, verified_email: Option<&str>, groups: &[String]) -> bool {
        let Self::Only { domains, emails, groups: named } = self else { return true };
        let by_email = verified_email.map(str::to_lowercase).is_some_and(|email| {
            let domain = email.rsplit('@').next().unwrap_or_default();
            emails.contains(&email) || domains.iter().any(|allowed| allowed == domain)
        });
        by_email || groups.iter().any(|group| named.contains(group))
    }
}

impl Provider {
    /// Whether it signs in the people of this e-mail address.
    pub fn answers_for(&self, email: &str) -> bool {
        let domain = email.rsplit_once('@').map(|(_, domain)| domain.to_lowercase());
        domain.is_some_and(|domain| self.domains.contains(&domain))
    }

    /// Who its accounts are told apart by: the issuer, where the file and not the provider's metadata tells it.
    pub fn issuer(&self) -> Option<&str> {
        match &self.kind {
            Kind::Oidc(oidc) => Some(&oidc.issuer),
            Kind::Saml(_) => None,
        }
    }

    /// The path below `public_url` that it sends browsers back to: one of its own (RFC 9700, section 4.4.2).
    pub fn callback_path(&self) -> String {
        match &self.kind {
            Kind::Oidc(_) => format!("/oauth2/idpresponse/{}", self.name),
            Kind::Saml(_) => format!("/saml2/idpresponse/{}", self.name),
        }
    }

    /// Our secret there, where we have one.
    pub fn secret(&self) -> Option<&Secret> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.client_secret.as_ref(),
            Kind::Saml(_) => None,
        }
    }
}

const ALLOW: &str = "say who may sign in: allow = { domains = [\"example.com\"] }, or emails, or groups, \
                     or allow = \"anyone\"";

impl Provider {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        const TYPES: [(&str, Type); 2] = [("oidc", Type::Oidc), ("saml", Type::Saml)];
        let kind = table
            .must("type", "say what it speaks: type = \"oidc\", or \"saml\"")
            .and_then(|item| item.choice(&TYPES));
        let name = match table.get("name") {
            Some(item) => item.parse(name),
            None => TYPES.iter().find(|(_, of)| Some(*of) == kind).map(|(name, _)| (*name).to_owned()),
        };
        let display_name = table.get("display_name").and_then(|item| item.parse(display_name));
        let kind = match kind {
            Some(Type::Saml) => Saml::read(table).map(Kind::Saml),
            // Without a type, most likely this one was meant.
            Some(Type::Oidc) | None => Oidc::read(table).map(Kind::Oidc).filter(|_| kind.is_some()),
        };
        let allow = table.must("allow", ALLOW).and_then(|item| allow(&item));
        let attributes = table.get("attributes").map(attributes).unwrap_or_default();
        let domains = table.get("domains").map(|item| domains(&item, item.strings())).unwrap_or_default();
        let trust_email = table.get("trust_email").and_then(|item| item.boolean()).unwrap_or(false);
        let logout = table.get("logout").and_then(|item| item.boolean()).unwrap_or(true);
        table.finish();

        let name = name?;
        Some(Self {
            display_name: display_name.unwrap_or_else(|| capitalised(&name)),
            name,
            kind: kind?,
            allow: allow?,
            attributes,
            trust_email,
            domains,
            logout,
        })
    }
}

impl Oidc {
    fn read(table: &Table<'_>) -> Option<Self> {
        let issuer =
            table.must("issuer", "add issuer = \"https://idp.example.com\", as the provider spells it");
        let client_id = table.must("client_id", "add the client id that the provider gave you");
        let client_secret = table.get("client_secret").map(|item| item.secret());
        let scopes = table.get("scopes").map(|item| item.strings());
        let mut scopes = scopes.unwrap_or_else(|| vec!["email".into(), "profile".into()]);
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".into());
        }
        let client_secret = match client_secret {
            Some(secret) => Some(secret?),
            None => None,
        };
        Some(Self {
            issuer: issuer?.parse(issuer_url)?,
            client_id: client_id?.string()?.to_owned(),
            client_secret,
            scopes,
        })
    }
}

fn name(text: &str) -> Result<String, Wrong> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    match (1..=32).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" cannot name a provider"),
            "use 1 to 32 letters, digits, - and _: the name stands in addresses".into(),
        )),
    }
}

fn display_name(text: &str) -> Result<String, Wrong> {
    match (1..=60).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err((format!("\"{text}\" does not fit a button"), "use 1 to 60 characters".into())),
    }
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Whether nobody can stand between: https, or plain http on this machine alone.
pub fn is_safe(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

/// Where metadata is fetched: what it says is what logins are judged by.
pub(super) fn metadata_url(text: &str) -> Result<Url, Wrong> {
    let wrong = |why: String| {
        (format!("\"{text}\" {why}"), "write an https address, or the name of a file".to_owned())
    };
    let url = Url::parse(text).map_err(|error| wrong(format!("is not a URL ({error})")))?;
    if is_safe(&url) { Ok(url) } else { Err(wrong("is not https".into())) }
}

/// OpenID Connect Discovery 1.0, section 2: an issuer is an https URL without query or fragment.
fn issuer_url(text: &str) -> Result<String, Wrong> {
    let wrong = |why: &str| {
        (
            format!("\"{text}\" {why}"),
            "write the issuer as the provider's discovery document has it, such as \"https://idp.example.com\"".into(),
        )
    };
    let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
    if !is_safe(&url) {
        return Err(wrong("is not https"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a query or a fragment"));
    }
    if text.ends_with("/.well-known/openid-configuration") {
        return Err(wrong("is the discovery document's address, not the issuer"));
    }
    Ok(text.to_owned())
}

fn allow(item: &Item<'_>) -> Option<Allow> {
    if item.is_string() {
        return item.choice(&[("anyone", ())]).map(|()| Allow::Anyone);
    }
    let table = item.table("`allow`")?;
    let list = |key| table.get(key).map(|item| item.strings()).unwrap_or_default();
    let lower = |list: Vec<String>| list.into_iter().map(|text| text.to_lowercase()).collect::<Vec<_>>();
    let domains = domains(item, list("domains"));
    let (emails, groups) = (lower(list("emails")), list("groups"));
    table.finish();
    for email in &emails {
        if email.split('@').count() != 2 {
            item.wrong(format!("\"{email}\" is not an e-mail address"), "write it like \"ann@example.com\"");
        }
    }
    if domains.is_empty() && emails.is_empty() && groups.is_empty() {
        item.wrong("`allow` lets nobody in", ALLOW);
        return None;
    }
    Some(Allow::Only { domains, emails, groups })
}

/// E-mail domains, in lower case.
fn domains(item: &Item<'_>, list: Vec<String>) -> Vec<String> {
    let list: Vec<String> = list.into_iter().map(|text| text.to_lowercase()).collect();
    for domain in list.iter().filter(|domain| super::Host::parse(domain).is_none()) {
        item.wrong(
            format!("\"{domain}\" is not an e-mail domain"),
            "write what stands behind the @: \"example.com\"",
        );
    }
    list
}

/// The standard claims of a person (OpenID Connect Core 1.0, section 5.1) that are attributes of a
/// user too, under the same names.
pub const STANDARD_ATTRIBUTES: [&str; 15] = [
    "birthdate",
    "email",
    "family_name",
    "gender",
    "given_name",
    "locale",
    "middle_name",
    "name",
    "nickname",
    "phone_number",
    "picture",
    "preferred_username",
    "profile",
    "website",
    "zoneinfo",
];

fn attributes(item: Item<'_>) -> BTreeMap<String, String> {
    let Some(table) = item.table("[provider.attributes]") else { return BTreeMap::new() };
    let mut map = BTreeMap::new();
    for item in table.all() {
        let custom =
            item.key.strip_prefix("custom:").is_some_and(|rest| !rest.is_empty() && rest.len() <= 20);
        let known =
            STANDARD_ATTRIBUTES.contains(&&*item.key) || matches!(&*item.key, "email_verified" | "groups");
        if !custom && !known {
            item.wrong(
                format!("`{}` is no user attribute", item.key),
                "use a standard one (email, name, groups, …) or \"custom:something\"",
            );
        }
        if let Some(claim) = item.string() {
            map.insert(item.key, claim.to_owned());
        }
    }
    map
}
