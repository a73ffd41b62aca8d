//! `[[provider]]`: an outside identity provider.

use super::address::identifier;
use super::email::{canonical_domain, canonical_email};
use super::oauth2::Endpoints;
use super::preset::{DEFAULT_LIFETIME, PRESETS, Preset, Speaks, Verified};
use super::reader::{Item, Table, Wrong};
use super::role::TextFile;
use super::{Client, Issuer, OAuth2, Oidc, Saml};
use crate::base::Duration;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::collections::BTreeMap;

/// An outside identity provider, and whom of its people to let in.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Unique in a deployment; stands in the callback's path.
    pub name: String,
    /// What its button says.
    pub display_name: String,
    /// What it speaks.
    pub kind: Kind,
    /// Which of the providers that people know by name it is.
    pub preset: Option<&'static Preset>,
    /// Whom it may sign in.
    pub allow: Allow,
    /// User attribute -> the provider's claim: its name, or a JSON Pointer (RFC 6901) to it.
    pub attributes: BTreeMap<String, String>,
    /// A group of the provider's, in its own words -> the groups of the user pool that its members are in.
    pub groups: BTreeMap<String, Vec<String>>,
    /// User attributes without which nobody is signed in.
    pub required_attributes: Vec<String>,
    /// User attributes by which a rule chooses a role, or which fill a principal tag.
    pub judged_attributes: Vec<String>,
    /// Whether its e-mail addresses count as verified without its saying so.
    pub trust_email: bool,
    /// The e-mail domains whose people it signs in: who types an address of theirs is sent there.
    pub domains: Vec<String>,
    /// Whether signing out here ends the session there too, where the provider knows how.
    pub logout: bool,
    /// Certificate authorities that calls to the provider trust besides the machine's.
    pub ca: Option<TextFile>,
}

/// What a provider speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// OpenID Connect.
    Oidc(Box<Oidc>),
    /// SAML 2.0.
    Saml(Box<Saml>),
    /// OAuth 2.0 with an API that tells who a token speaks for.
    OAuth2(Box<OAuth2>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Oidc,
    Saml,
    OAuth2,
    Preset(&'static Preset),
}

/// Whom a provider may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Everyone who has an account there.
    Anyone,
    /// Accounts that at least one of the lists names; domains and addresses are in canonical form, and apply
    /// to verified e-mail addresses only.
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
    pub fn names(&self, verified_email: Option<&str>, groups: &[impl AsRef<str>]) -> bool {
        let Self::Only { domains, emails, groups: named } = self else { return true };
        let by_email = verified_email.map(canonical_email).is_some_and(|email| {
            let domain = email.rsplit('@').next().unwrap_or_default();
            emails.iter().any(|allowed| *allowed == email) || domains.iter().any(|allowed| allowed == domain)
        });
        by_email || groups.iter().any(|group| named.iter().any(|name| name == group.as_ref()))
    }
}

impl Provider {
    /// Whether it signs in the people of this e-mail address.
    pub fn answers_for(&self, email: &str) -> bool {
        let domain = email.rsplit_once('@').map(|(_, domain)| canonical_domain(domain));
        domain.is_some_and(|domain| self.domains.iter().any(|known| *known == domain))
    }

    /// Whether accounts of `issuer` are its own, where the file and not the provider's metadata tells that.
    pub fn issues(&self, issuer: &str) -> bool {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.issuer.is(issuer),
            Kind::OAuth2(oauth2) => oauth2.issuer == issuer,
            Kind::Saml(saml) => saml.issuer.as_deref() == Some(issuer),
        }
    }

    /// Whether both are one identity provider: of one issuer, or with one source of metadata.
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

    /// The path below `public_url` that it sends browsers back to: one of its own (RFC 9700, section 4.4.2).
    pub fn callback_path(&self) -> String {
        match &self.kind {
            Kind::Oidc(_) | Kind::OAuth2(_) => format!("/oauth2/idpresponse/{}", self.name),
            Kind::Saml(_) => format!("/saml2/idpresponse/{}", self.name),
        }
    }

    /// Our registration there, where we have one as a client.
    pub fn client(&self) -> Option<&Client> {
        match &self.kind {
            Kind::Oidc(oidc) => Some(&oidc.client),
            Kind::OAuth2(oauth2) => Some(&oauth2.client),
            Kind::Saml(_) => None,
        }
    }

    /// The longest time between two renewals of a session's tokens.
    pub fn renewal_interval(&self) -> Duration {
        let lifetime = match &self.kind {
            Kind::Oidc(oidc) => oidc.quirks.lifetime,
            Kind::OAuth2(oauth2) => oauth2.quirks.lifetime,
            Kind::Saml(_) => None,
        };
        lifetime.unwrap_or(DEFAULT_LIFETIME)
    }

    /// Whether it sends browsers back by a form (OAuth 2.0 Form Post Response Mode).
    pub fn form_post(&self) -> bool {
        matches!(&self.kind, Kind::Oidc(oidc) if oidc.quirks.form_post)
    }
}

const ALLOW: &str = "say who may sign in: allow = { domains = [\"example.com\"] }, or emails, or groups, \
                     or allow = \"anyone\"";

impl Provider {
    pub(super) fn read(table: &Table<'_>, pool_groups: &[String]) -> Option<Self> {
        let types: Vec<(&str, Type)> = [("oidc", Type::Oidc), ("saml", Type::Saml), ("oauth2", Type::OAuth2)]
            .into_iter()
            .chain(PRESETS.iter().map(|preset| (preset.name, Type::Preset(preset))))
            .collect();
        let kind = table
            .must("type", "say what it is: type = \"oidc\", \"saml\", \"oauth2\", \"google\", \"github\", …")
            .and_then(|item| item.choice(&types));
        let preset = match kind {
            Some(Type::Preset(preset)) => Some(preset),
            _ => None,
        };
        let name = match table.get("name") {
            Some(item) => item.parse(name),
            None => types.iter().find(|(_, of)| Some(*of) == kind).map(|(name, _)| (*name).to_owned()),
        };
        let display_name = table.get("display_name").and_then(|item| item.parse(display_name));
        let allow = table.must("allow", ALLOW).and_then(|item| allow(&item).map(|allow| (allow, item)));
        let by_group = matches!(&allow, Some((Allow::Only { groups, .. }, _)) if !groups.is_empty());
        let settings = match kind {
            Some(Type::Saml) => Saml::read(table).map(|read| Kind::Saml(Box::new(read))),
            Some(Type::OAuth2) => OAuth2::read(table).map(|read| Kind::OAuth2(Box::new(read))),
            Some(Type::Preset(preset)) => of_preset(table, preset, by_group),
            // Without a type, most likely this one was meant.
            Some(Type::Oidc) | None => Oidc::read(table).map(oidc).filter(|_| kind.is_some()),
        };
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        if let Some(preset) = preset {
            all.extend(preset.attributes.iter().map(|(name, claim)| (name.to_string(), claim.to_string())));
        }
        all.extend(table.get("attributes").map(attributes).unwrap_or_default());
        let groups = table.get("groups").map(|item| groups(&item, pool_groups)).unwrap_or_default();
        let required_attributes =
            table.get("required_attributes").map(|item| required(&item)).unwrap_or_default();
        let domains = table.get("domains").map(|item| domains(&item, item.strings())).unwrap_or_default();
        let trust_email = table.get("trust_email").and_then(|item| item.boolean()).unwrap_or(false);
        // Whoever signs out here need not mean to leave an account that is used everywhere.
        let logout = table.get("logout").and_then(|item| item.boolean()).unwrap_or(preset.is_none());
        let ca = table.get("ca").map(|item| authorities(&item));
        table.finish();

        let (allow, allow_item) = allow?;
        if preset.is_some_and(|preset| preset.quirks.verified == Verified::Never)
            && matches!(&allow, Allow::Only { groups, .. } if groups.is_empty())
            && !trust_email
        {
            allow_item.wrong(
                "`allow` lets nobody in: this provider does not say which e-mail addresses it has verified",
                "write allow = \"anyone\", or trust_email = true if you believe it all the same",
            );
        }
        if trust_email
            && let Some(Kind::Oidc(oidc)) = &settings
            && let Issuer::PerTenant(tenants) = &oidc.issuer
            && tenants.only.is_empty()
        {
            table.wrong(
                "`trust_email` believes every tenant there is, and any of them may give its people your addresses",
                "list the tenants whose addresses you believe: tenants = [\"…\"]",
            );
        }
        let name = name?;
        let shown = preset.map_or_else(|| capitalised(&name), |preset| preset.display_name.to_owned());
        Some(Self {
            display_name: display_name.unwrap_or(shown),
            name,
            kind: settings?,
            preset,
            allow,
            attributes: all,
            groups,
            required_attributes,
            judged_attributes: Vec::new(),
            trust_email,
            domains,
            logout,
            ca: ca.map_or(Some(None), |ca| ca.map(Some))?,
        })
    }
}

fn oidc(settings: Oidc) -> Kind {
    Kind::Oidc(Box::new(settings))
}

/// The settings of a preset, whose addresses may stand below another one.
fn of_preset(table: &Table<'_>, preset: &'static Preset, by_group: bool) -> Option<Kind> {
    let base = match table.get("base_url") {
        Some(item) => Some(item.parse(base_url)?),
        None => None,
    };
    let at = |address: &str| match &base {
        None => address.to_owned(),
        Some(base) => {
            let path = address.match_indices('/').nth(2).map_or(address.len(), |(at, _)| at);
            let (origin, path) = address.split_at(path);
            match preset.quirks.own_api.filter(|(api, _)| *api == origin) {
                None => format!("{base}{path}"),
                // GitHub Enterprise Cloud with data residency has its API at a host of its own, as github.com has.
                Some(_) if base.ends_with(".ghe.com") => {
                    format!("{}{path}", base.replacen("://", "://api.", 1))
                }
                Some((_, below)) => format!("{base}{below}{path}"),
            }
        }
    };
    match &preset.speaks {
        Speaks::OpenId { issuer } => Oidc::preset(table, preset, at(issuer)).map(oidc),
        Speaks::OpenIdTenants { authority } => Oidc::tenants(table, preset, at(authority)).map(oidc),
        Speaks::OAuth2 { issuer, authorization, token, userinfo, subject } => {
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

/// Where somebody runs what a preset speaks of: an origin, or a path below one, without a slash at its end.
fn base_url(text: &str) -> Result<String, Wrong> {
    let url = identifier(text, "write it like \"https://gitlab.example.com\"")?;
    Ok(url.trim_end_matches('/').to_owned())
}

fn allow(item: &Item<'_>) -> Option<Allow> {
    if item.is_string() {
        return item.choice(&[("anyone", ())]).map(|()| Allow::Anyone);
    }
    let table = item.table("`allow`")?;
    let list = |key| table.get(key).map(|item| item.strings()).unwrap_or_default();
    let domains = domains(item, list("domains"));
    let emails = emails(item, list("emails"));
    let groups = list("groups");
    table.finish();
    if domains.is_empty() && emails.is_empty() && groups.is_empty() {
        item.wrong_together("`allow` lets nobody in", ALLOW);
        return None;
    }
    Some(Allow::Only { domains, emails, groups })
}

/// E-mail addresses, in canonical form.
pub(super) fn emails(item: &Item<'_>, list: Vec<String>) -> Vec<String> {
    let list: Vec<String> = list.iter().map(|email| canonical_email(email).into_owned()).collect();
    for email in list.iter().filter(|email| email.split('@').count() != 2) {
        item.wrong(format!("\"{email}\" is not an e-mail address"), "write it like \"ann@example.com\"");
    }
    list
}

/// E-mail domains, in canonical form.
pub(super) fn domains(item: &Item<'_>, list: Vec<String>) -> Vec<String> {
    let list: Vec<String> = list.iter().map(|domain| canonical_domain(domain).into_owned()).collect();
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

/// Whether a user can have an attribute of this name.
fn is_attribute(name: &str) -> bool {
    let custom = name.strip_prefix("custom:").is_some_and(|rest| !rest.is_empty() && rest.len() <= 20);
    custom || STANDARD_ATTRIBUTES.contains(&name)
}

fn required(item: &Item<'_>) -> Vec<String> {
    let names = item.strings();
    for name in names.iter().filter(|name| !is_attribute(name)) {
        item.wrong(
            format!("`{name}` is no user attribute"),
            "use a standard one (email, name, …) or \"custom:something\"",
        );
    }
    names
}

/// Which groups of the user pool the members of a provider's groups are in.
fn groups(item: &Item<'_>, known: &[String]) -> BTreeMap<String, Vec<String>> {
    let Some(table) = item.table("[provider.groups]") else { return BTreeMap::new() };
    let names = |item: &Item<'_>| {
        item.one_or_more().iter().filter_map(|item| item.name_of("user_pool.group", known)).collect()
    };
    table.all().into_iter().map(|item| (item.key.clone(), names(&item))).collect()
}

fn attributes(item: Item<'_>) -> BTreeMap<String, String> {
    let Some(table) = item.table("[provider.attributes]") else { return BTreeMap::new() };
    let mut map = BTreeMap::new();
    for item in table.all() {
        if !is_attribute(&item.key) && !matches!(&*item.key, "email_verified" | "groups") {
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

/// A PEM file of certificate authorities.
pub(super) fn authorities(item: &Item<'_>) -> Option<TextFile> {
    let file = TextFile::read(item)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.text.as_bytes()).collect();
    let are_certificates = |all: &Vec<CertificateDer<'_>>| {
        !all.is_empty() && all.iter().all(|der| x509_parser::parse_x509_certificate(der).is_ok())
    };
    match certificates {
        Ok(all) if are_certificates(&all) => Some(file),
        _ => {
            item.wrong(
                format!("`{}` holds no certificates", file.path.display()),
                "name a PEM file of certificate authorities, which begins with -----BEGIN CERTIFICATE-----",
            );
            None
        }
    }
}
