//! Lists of accounts: `allow` of a provider, and `allowed_groups`, `allowed_emails` and
//! `allowed_domains` of a route.

use super::email::{canonical_domain, canonical_email};
use super::item::Item;
use super::key::{Key, Section, Shape, Type};
use super::public_url::Host;
use super::reader::Table;
use super::route::Access;
use super::types::TEXTS;

/// The value type of a provider's `allow`.
pub(super) const ALLOW: Type<Allow> = Type::Read(Shape::WordOrTable("anyone", &SECTION), allow);

const SECTION: Section = Section {
    header: "[provider.allow]",
    about: "Accounts that may sign in: those in at least one of the lists. Not empty.",
    keys: &[&DOMAINS, &EMAILS, &GROUPS],
};
const DOMAINS: Key<Vec<String>> =
    Key::new("domains", TEXTS, "Domains of verified e-mail addresses.").example("[\"example.com\"]");
const EMAILS: Key<Vec<String>> =
    Key::new("emails", TEXTS, "Verified e-mail addresses.").example("[\"ann@partner.example\"]");
const GROUPS: Key<Vec<String>> =
    Key::new("groups", TEXTS, "Groups, by the provider's names.").example("[\"staff\"]");

pub(super) const ALLOWED_GROUPS: Key<Vec<String>> = Key::new(
    "allowed_groups",
    TEXTS,
    "Groups that may use the route, in addition to `allowed_emails` and `allowed_domains`. Needs `access = \"signed-in\"`.",
)
.computed("every user who is signed in")
.example("[\"staff\"]");
pub(super) const ALLOWED_EMAILS: Key<Vec<String>> = Key::new(
    "allowed_emails",
    TEXTS,
    "Verified e-mail addresses that may use the route. Needs `access = \"signed-in\"`.",
)
.computed("every user who is signed in")
.example("[\"ann@partner.example\"]");
pub(super) const ALLOWED_DOMAINS: Key<Vec<String>> = Key::new(
    "allowed_domains",
    TEXTS,
    "Domains of verified e-mail addresses that may use the route. Needs `access = \"signed-in\"`.",
)
.computed("every user who is signed in")
.example("[\"example.com\"]");

/// The accounts that may sign in, or use a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Every account of the provider, or every signed-in user of the route.
    Anyone,
    /// Accounts in at least one of the lists. Domains and addresses are in canonical form, and
    /// apply to verified e-mail addresses only.
    Only {
        /// E-mail domains.
        domains: Vec<String>,
        /// E-mail addresses.
        emails: Vec<String>,
        /// Groups, with the provider's names.
        groups: Vec<String>,
    },
}

impl Allow {
    /// Returns the names of the attributes that the lists compare: `email`, `groups`, or both.
    pub fn judged(&self) -> impl Iterator<Item = &'static str> + use<> {
        let (by_email, by_groups) = match self {
            Self::Anyone => (false, false),
            Self::Only { domains, emails, groups } => {
                (!domains.is_empty() || !emails.is_empty(), !groups.is_empty())
            }
        };
        by_email.then_some("email").into_iter().chain(by_groups.then_some("groups"))
    }

    /// Returns whether an account with this verified e-mail address and these groups is in one of
    /// the lists.
    pub fn names(&self, verified_email: Option<&str>, groups: &[impl AsRef<str>]) -> bool {
        let Self::Only { domains, emails, groups: named } = self else { return true };
        let by_email = verified_email.map(canonical_email).is_some_and(|email| {
            let domain = email.rsplit('@').next().unwrap_or_default();
            emails.iter().any(|allowed| *allowed == email) || domains.iter().any(|allowed| allowed == domain)
        });
        by_email || groups.iter().any(|group| named.iter().any(|name| name == group.as_ref()))
    }
}

fn allow(item: &Item<'_>) -> Option<Allow> {
    if item.is_string() {
        return item.choice(&[("anyone", ())]).map(|()| Allow::Anyone);
    }
    let table = item.table(&SECTION)?;
    let list = |key| table.read(key).unwrap_or_default();
    let domains = domains(item, list(&DOMAINS));
    let emails = emails(item, list(&EMAILS));
    let groups = list(&GROUPS);
    table.finish();
    if domains.is_empty() && emails.is_empty() && groups.is_empty() {
        item.report_conflict(
            "`allow` allows no account",
            "write allow = { domains = [\"example.com\"] }, or emails, or groups, or allow = \"anyone\"",
        );
        return None;
    }
    Some(Allow::Only { domains, emails, groups })
}

/// Reads the users that may use a route. Returns `None` if every signed-in user may.
pub(super) fn allowed(table: &Table<'_>, access: Access) -> Option<Allow> {
    let items = [&ALLOWED_GROUPS, &ALLOWED_EMAILS, &ALLOWED_DOMAINS].map(|key| table.get(key));
    let first = items.iter().flatten().next()?;
    if access != Access::SignedIn {
        let (message, help) = match access {
            Access::Policy => (
                "has no effect with access = \"policy\"",
                "name the groups in a role mapping, or remove `access`",
            ),
            _ => ("has no effect with access = \"public\"", "remove `access`, or the list"),
        };
        first.report(format!("`{}` {message}", first.key), help);
    }
    let [group_item, email_item, domain_item] = &items;
    Some(Allow::Only {
        domains: domain_item.as_ref().map(|item| domains(item, item.strings())).unwrap_or_default(),
        emails: email_item.as_ref().map(|item| emails(item, item.strings())).unwrap_or_default(),
        groups: group_item.as_ref().map(Item::strings).unwrap_or_default(),
    })
}

/// Returns e-mail addresses in canonical form.
fn emails(item: &Item<'_>, list: Vec<String>) -> Vec<String> {
    let list: Vec<String> = list.iter().map(|email| canonical_email(email).into_owned()).collect();
    for email in list.iter().filter(|email| email.split('@').count() != 2) {
        item.report(format!("\"{email}\" is not an e-mail address"), "write it like \"ann@example.com\"");
    }
    list
}

/// Returns e-mail domains in canonical form.
pub(super) fn domains(item: &Item<'_>, list: Vec<String>) -> Vec<String> {
    let list: Vec<String> = list.iter().map(|domain| canonical_domain(domain).into_owned()).collect();
    for domain in list.iter().filter(|domain| Host::parse(domain).is_none()) {
        item.report(
            format!("\"{domain}\" is not an e-mail domain"),
            "write the part after the @: \"example.com\"",
        );
    }
    list
}
