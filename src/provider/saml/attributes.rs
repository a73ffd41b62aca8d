//! What an assertion says of a person, as claims by name.

use super::subject::{EMAIL, NameId};
use super::xml::{self, SAML};
use crate::provider::ProviderError;
use roxmltree::Node;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The names under which providers commonly send what OpenID Connect calls otherwise. The first that is
/// there counts, where no attribute has the claim's own name.
const KNOWN: [(&str, &[&str]); 6] = [
    (
        "email",
        &[
            "urn:oid:0.9.2342.19200300.100.1.3",
            "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
            "mail",
        ],
    ),
    (
        "given_name",
        &["urn:oid:2.5.4.42", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname", "givenName"],
    ),
    (
        "family_name",
        &["urn:oid:2.5.4.4", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname", "sn"],
    ),
    (
        "name",
        &[
            "urn:oid:2.16.840.1.113730.3.1.241",
            "http://schemas.microsoft.com/identity/claims/displayname",
            "displayName",
        ],
    ),
    ("preferred_username", &["urn:oid:0.9.2342.19200300.100.1.1", "uid"]),
    (
        "groups",
        &[
            "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups",
            "http://schemas.xmlsoap.org/claims/Group",
            "urn:oid:1.3.6.1.4.1.5923.1.5.1.1",
            "memberOf",
        ],
    ),
];

/// Classes of authentication (SAML authentication context) that have a name in RFC 8176.
const CLASSES: [(&str, &str); 5] = [
    ("urn:oasis:names:tc:SAML:2.0:ac:classes:Password", "pwd"),
    ("urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", "pwd"),
    ("urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken", "otp"),
    ("https://refeds.org/profile/mfa", "mfa"),
    ("http://schemas.microsoft.com/claims/multipleauthn", "mfa"),
];

/// The attributes of an assertion: each under its name and, where that is free, its friendly name; one
/// value as text, several as a list. Some providers tell an attribute of several values several times. What
/// holds elements is passed over.
pub fn read(assertion: Node<'_, '_>, name_id: &NameId) -> Result<Map<String, Value>, ProviderError> {
    let (mut all, mut friendly) = (BTreeMap::<String, Vec<String>>::new(), BTreeMap::new());
    let statements = xml::children(assertion, SAML, "AttributeStatement");
    for attribute in statements.flat_map(|statement| xml::children(statement, SAML, "Attribute")) {
        let Some(name) = attribute.attribute("Name") else {
            return Err(ProviderError::invalid("attributes", "one has no name"));
        };
        let values: Vec<String> = xml::children(attribute, SAML, "AttributeValue")
            .filter_map(|value| xml::text(value).ok())
            .map(str::to_owned)
            .collect();
        all.entry(name.to_owned()).or_default().extend(values);
        if let Some(told) = attribute.attribute("FriendlyName") {
            friendly.insert(told.to_owned(), name.to_owned());
        }
    }
    let value = |values: &Vec<String>| match values.as_slice() {
        [one] => Value::String(one.clone()),
        several => several.iter().cloned().collect(),
    };
    let mut claims: Map<String, Value> =
        all.iter().map(|(name, values)| (name.clone(), value(values))).collect();
    for (told, name) in friendly {
        claims.entry(told).or_insert_with(|| value(&all[&name]));
    }
    for (claim, names) in KNOWN {
        let found = names.iter().find_map(|name| claims.get(*name)).cloned();
        if let (Some(value), false) = (found, claims.contains_key(claim)) {
            claims.insert(claim.to_owned(), value);
        }
    }
    if name_id.format.as_deref() == Some(EMAIL) {
        claims.entry("email").or_insert_with(|| name_id.value.clone().into());
    }
    Ok(claims)
}

/// How the person was authenticated, by an `AuthnStatement`.
pub fn methods(statement: Node<'_, '_>) -> Vec<String> {
    let context = xml::children(statement, SAML, "AuthnContext").next();
    let class = context.and_then(|context| xml::children(context, SAML, "AuthnContextClassRef").next());
    let class = class.and_then(|class| class.text()).unwrap_or_default().trim().to_owned();
    CLASSES.iter().filter(|(name, _)| *name == class).map(|(_, method)| (*method).to_owned()).collect()
}
