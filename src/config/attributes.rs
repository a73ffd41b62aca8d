//! User attributes: `[provider.attributes]` and `required_attributes`.

use super::item::Item;
use std::collections::BTreeMap;

/// The standard claims (OpenID Connect Core 1.0, section 5.1) that are attributes of a user, under
/// the same names.
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

/// Returns whether a user can have an attribute of this name.
fn is_attribute(name: &str) -> bool {
    let custom = name.strip_prefix("custom:").is_some_and(|rest| !rest.is_empty() && rest.len() <= 20);
    custom || STANDARD_ATTRIBUTES.contains(&name)
}

/// Reads names of user attributes.
pub(super) fn attribute_names(item: &Item<'_>) -> Vec<String> {
    let names = item.strings();
    for name in names.iter().filter(|name| !is_attribute(name)) {
        item.report(
            format!("`{name}` is not a user attribute"),
            "use a standard one (email, name, …) or \"custom:something\"",
        );
    }
    names
}

/// Reads user attributes, each with the claim that contains its value.
pub(super) fn attributes(item: &Item<'_>) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for item in item.entries() {
        if !is_attribute(&item.key) && !matches!(&*item.key, "email_verified" | "groups") {
            item.report(
                format!("`{}` is not a user attribute", item.key),
                "use a standard one (email, name, groups, …) or \"custom:something\"",
            );
        }
        if let Some(claim) = item.string() {
            map.insert(item.key, claim.to_owned());
        }
    }
    map
}
