//! What an assertion says of a person, as claims by name.

use super::subject::{EMAIL, NameId};
use super::xml::{self, SAML};
use crate::provider::ProviderError;
use roxmltree::Node;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The names that providers commonly use for a claim of OpenID Connect, in order of precedence.
/// They apply where no attribute has the claim's own name.
const ATTRIBUTE_NAMES: [(&str, &[&str]); 6] = [
    (
        "email",
        &[
            "urn:oid:0.9.2342.19200300.100.1.3",
            "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
            "mail",
            "Email",
            "emailAddress",
            "EmailAddress",
        ],
    ),
    (
        "given_name",
        &[
            "urn:oid:2.5.4.42",
            "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname",
            "givenName",
            "firstName",
            "FirstName",
        ],
    ),
    (
        "family_name",
        &[
            "urn:oid:2.5.4.4",
            "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname",
            "sn",
            "lastName",
            "LastName",
        ],
    ),
    (
        "name",
        &[
            "urn:oid:2.16.840.1.113730.3.1.241",
            "http://schemas.microsoft.com/identity/claims/displayname",
            "displayName",
        ],
    ),
    (
        "preferred_username",
        &[
            "urn:oid:0.9.2342.19200300.100.1.1",
            "uid",
            "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
            "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
            "login",
        ],
    ),
    (
        "groups",
        &[
            "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups",
            "http://schemas.xmlsoap.org/claims/Group",
            "urn:oid:1.3.6.1.4.1.5923.1.5.1.1",
            "memberOf",
            "Groups",
            "Group",
            "group",
        ],
    ),
];

/// The attribute in which Entra ID sends an address in the place of groups that are too many.
const GROUPS_LINK: &str = "http://schemas.microsoft.com/claims/groups.link";
/// The attribute in which Entra ID lists how the person was authenticated.
const METHODS: &str = "http://schemas.microsoft.com/claims/authnmethodsreferences";

/// Classes of authentication (SAML authentication context) that have a name in RFC 8176.
const CLASSES: [(&str, &str); 7] = [
    ("http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/password", "pwd"),
    ("http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/windows", "wia"),
    ("urn:oasis:names:tc:SAML:2.0:ac:classes:Password", "pwd"),
    ("urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", "pwd"),
    ("urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken", "otp"),
    ("https://refeds.org/profile/mfa", "mfa"),
    ("http://schemas.microsoft.com/claims/multipleauthn", "mfa"),
];

/// Reads the attributes of an assertion as claims: one value as text, several as a list. Some
/// providers repeat an attribute for each of its values. Values that hold elements are skipped.
///
/// A claim has the attribute of that `Name`; else the first of [`ATTRIBUTE_NAMES`]; else the one
/// attribute of that `FriendlyName`, where its `Name` is a URI. SAML core, section 2.7.3.1: a
/// friendly name is "a more human-readable form of the attribute's name", and "MUST NOT be used as
/// a basis for formally identifying SAML attributes".
///
/// # Errors
/// The failed check `attributes`, where one has no name.
pub fn read(assertion: Node<'_, '_>, name_id: &NameId) -> Result<Map<String, Value>, ProviderError> {
    let mut by_name = BTreeMap::<&str, Vec<&str>>::new();
    let mut by_friendly_name = BTreeMap::<&str, BTreeSet<&str>>::new();
    let statements = xml::children(assertion, SAML, "AttributeStatement");
    for attribute in statements.flat_map(|statement| xml::children(statement, SAML, "Attribute")) {
        let Some(name) = attribute.attribute("Name") else {
            return Err(ProviderError::invalid("attributes", "one has no name"));
        };
        let values =
            xml::children(attribute, SAML, "AttributeValue").filter_map(|value| xml::text(value).ok());
        by_name.entry(name).or_default().extend(values);
        if let Some(friendly) =
            attribute.attribute("FriendlyName").filter(|friendly| !is_uri(friendly) && is_uri(name))
        {
            by_friendly_name.entry(friendly).or_default().insert(name);
        }
    }
    let value = |values: &Vec<&str>| match values.as_slice() {
        [one] => Value::from(*one),
        several => several.iter().copied().collect(),
    };
    let mut claims: Map<String, Value> =
        by_name.iter().map(|(name, values)| ((*name).to_owned(), value(values))).collect();
    for (claim, names) in ATTRIBUTE_NAMES {
        if let Some(values) = names.iter().find_map(|name| by_name.get(name)) {
            claims.entry(claim).or_insert_with(|| value(values));
        }
    }
    if by_name.contains_key(GROUPS_LINK) && !claims.contains_key("groups") {
        // As OpenID Connect has it (Core 1.0, section 5.6.2): the groups are kept elsewhere, and
        // not none.
        claims.insert("_claim_names".to_owned(), json!({ "groups": GROUPS_LINK }));
    }
    for (friendly, names) in by_friendly_name {
        if let (Some(name), 1) = (names.first(), names.len()) {
            claims.entry(friendly).or_insert_with(|| value(&by_name[name]));
        }
    }
    if name_id.format.as_deref() == Some(EMAIL) {
        claims.entry("email").or_insert_with(|| name_id.value.clone().into());
    }
    Ok(claims)
}

/// Whether a name is a URI (SAML core, section 8.2.2), which no human-readable name is.
fn is_uri(name: &str) -> bool {
    name.contains(':')
}

/// The class of authentication that an `AuthnStatement` names.
pub fn class<'a>(statement: Node<'a, '_>) -> &'a str {
    let context = xml::children(statement, SAML, "AuthnContext").next();
    let class = context.and_then(|context| xml::children(context, SAML, "AuthnContextClassRef").next());
    // A class with elements in it could be read as two.
    xml::trim(class.and_then(|class| xml::text(class).ok()).unwrap_or_default())
}

/// How the person was authenticated: by the class of an `AuthnStatement`, and by the methods that
/// Entra ID lists as an attribute.
pub fn methods(statement: Node<'_, '_>, claims: &Map<String, Value>) -> Vec<String> {
    let listed = match claims.get(METHODS) {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one.as_str()],
        _ => Vec::new(),
    };
    let is_named = |name: &str| name == class(statement) || listed.contains(&name);
    let named = CLASSES.iter().filter(|(name, _)| is_named(name)).map(|(_, method)| (*method).to_owned());
    named.collect::<BTreeSet<String>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(attributes: &str) -> Map<String, Value> {
        let text = format!("<a xmlns='{SAML}'><AttributeStatement>{attributes}</AttributeStatement></a>");
        let name_id = NameId {
            value: "alice".to_owned(),
            format: None,
            name_qualifier: None,
            sp_name_qualifier: None,
            session_index: None,
        };
        read(xml::parse(&text).unwrap().root_element(), &name_id).unwrap()
    }

    fn attribute(name: &str, friendly: &str, value: &str) -> String {
        let value = format!("<AttributeValue>{value}</AttributeValue>");
        format!("<Attribute Name='{name}' FriendlyName='{friendly}'>{value}</Attribute>")
    }

    #[test]
    fn a_name_wins_over_a_known_name_and_that_over_a_friendly_name() {
        let own = attribute("email", "x", "own@example.org");
        let known = attribute("urn:oid:0.9.2342.19200300.100.1.3", "mail", "known@example.org");
        let second = attribute("mail", "y", "second@example.org");
        let friendly = attribute("urn:custom:nickname", "email", "friendly@example.org");
        for (attributes, expected) in [
            (format!("{friendly}{second}{known}{own}"), "own@example.org"),
            (format!("{friendly}{second}{known}"), "known@example.org"),
            (format!("{friendly}{second}"), "second@example.org"),
            (friendly.clone(), "friendly@example.org"),
        ] {
            assert_eq!(claims(&attributes)["email"], expected, "{attributes}");
        }
    }

    #[test]
    fn a_friendly_name_names_one_attribute_that_has_no_readable_name() {
        for attributes in [
            // The name is readable, and is the name.
            attribute("nickname", "groups", "admins"),
            // A friendly name that pretends to be a formal one.
            attribute("urn:custom:nickname", "urn:oid:1.3.6.1.4.1.5923.1.5.1.1", "admins"),
            // Two attributes of one friendly name.
            attribute("urn:one", "groups", "staff") + &attribute("urn:two", "groups", "admins"),
        ] {
            let claims = claims(&attributes);
            assert!(!claims.contains_key("groups"), "{claims:?}");
            assert!(!claims.contains_key("urn:oid:1.3.6.1.4.1.5923.1.5.1.1"), "{claims:?}");
        }
    }

    #[test]
    fn the_usual_names_of_entra_and_okta_are_read() {
        let all = [
            ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name", "ann@corp.example"),
            ("http://schemas.microsoft.com/identity/claims/displayname", "Ann Example"),
            ("firstName", "Ann"),
            ("lastName", "Example"),
            ("Email", "ann@corp.example"),
            ("Groups", "staff"),
        ];
        let claims = claims(&all.map(|(name, value)| attribute(name, "", value)).concat());
        for (claim, value) in [
            ("preferred_username", "ann@corp.example"),
            ("name", "Ann Example"),
            ("given_name", "Ann"),
            ("family_name", "Example"),
            ("email", "ann@corp.example"),
            ("groups", "staff"),
        ] {
            assert_eq!(claims[claim], value, "{claim}");
        }
    }

    #[test]
    fn groups_behind_a_link_are_not_none() {
        let link = attribute(GROUPS_LINK, "", "https://graph.example/groups");
        assert_eq!(claims(&link)["_claim_names"], json!({ "groups": GROUPS_LINK }));
        let both = claims(&(link + &attribute("groups", "", "staff")));
        assert_eq!((both.get("_claim_names"), &both["groups"]), (None, &Value::from("staff")));
    }

    #[test]
    fn methods_are_told_by_the_class_and_by_entras_attribute() {
        let methods_of = |class: &str, claims: Value| {
            let text = format!(
                "<s xmlns='{SAML}'><AuthnContext><AuthnContextClassRef>{class}</AuthnContextClassRef></AuthnContext></s>"
            );
            methods(xml::parse(&text).unwrap().root_element(), claims.as_object().unwrap()).join(",")
        };
        let (password, multiple) = (
            "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/password",
            "http://schemas.microsoft.com/claims/multipleauthn",
        );
        assert_eq!(methods_of("urn:oasis:names:tc:SAML:2.0:ac:classes:Password", json!({})), "pwd");
        assert_eq!(methods_of("unknown", json!({METHODS: [password, multiple]})), "mfa,pwd");
        assert_eq!(methods_of("unknown", json!({METHODS: password})), "pwd");
        assert_eq!(methods_of("unknown", json!({METHODS: "mfa", "other": multiple})), "");
    }
}
