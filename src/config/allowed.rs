//! `allowed_groups`, `allowed_emails` and `allowed_domains` of a route: the people that it admits.

use super::provider::{Allow, domains, emails};
use super::reader::{Item, Table};
use super::route::Access;

/// Reads who may enter a route; `None` where the route names nobody, and everybody who is signed in may.
pub(super) fn allowed(table: &Table<'_>, access: Access) -> Option<Allow> {
    let items = ["allowed_groups", "allowed_emails", "allowed_domains"].map(|key| table.get(key));
    let first = items.iter().flatten().next()?;
    if access != Access::SignedIn {
        let (message, help) = match access {
            Access::Policy => {
                ("decides nothing where policies do", "name the groups in a role mapping, or remove `access`")
            }
            _ => ("keeps nobody out where access = \"public\"", "remove `access`, or the list"),
        };
        first.wrong(format!("`{}` {message}", first.key), help);
    }
    let list = |item: &Option<Item<'_>>| item.as_ref().map(Item::strings).unwrap_or_default();
    let [group_item, email_item, domain_item] = &items;
    Some(Allow::Only {
        domains: domain_item.as_ref().map(|item| domains(item, item.strings())).unwrap_or_default(),
        emails: email_item.as_ref().map(|item| emails(item, item.strings())).unwrap_or_default(),
        groups: list(group_item),
    })
}
