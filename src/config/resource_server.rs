//! `[[user_pool.resource_server]]`: APIs and their scopes.

use super::issuer::is_scope;
use super::key::{Key, Section, Shape, Type};
use super::reader::{Invalid, Table};
use super::types::TEXTS;

pub(super) const SECTION: Section = Section {
    header: "[[user_pool.resource_server]]",
    about: "APIs, and the scopes that app clients can request for them.",
    keys: &[&IDENTIFIER, &SCOPES],
};
const IDENTIFIER: Key<String> = Key::new(
    "identifier",
    Type::Read(Shape::Text, |item| item.parse(identifier)),
    "Unique identifier: a word or a URL. The full name of a scope is `identifier/scope`.",
)
.required("")
.example("\"photos\"");
const SCOPES: Key<Vec<String>> = Key::new("scopes", TEXTS, "Names of the scopes, without the identifier.")
    .required("")
    .example("[\"read\", \"write\"]");

/// An API with its scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceServer {
    /// The prefix of the scopes' names.
    pub identifier: String,
    /// The full names of the scopes: `identifier/name`.
    pub scopes: Vec<String>,
}

impl ResourceServer {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let identifier = table.read(&IDENTIFIER);
        let names = table.get(&SCOPES);
        table.finish();
        let (identifier, names) = (identifier?, names?);
        let scopes =
            names.list(|item| item.parse(|text| scope_name(text).map(|()| format!("{identifier}/{text}"))));
        Some(Self { identifier, scopes })
    }
}

fn identifier(text: &str) -> Result<String, Invalid> {
    match is_scope(text) && text.len() <= 256 {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is not the identifier of a resource server"),
            "use a word or a URL, without spaces: identifier = \"photos\"".to_owned(),
        )),
    }
}

fn scope_name(text: &str) -> Result<(), Invalid> {
    match is_scope(text) && !text.contains('/') && text.len() <= 256 {
        true => Ok(()),
        false => Err((
            format!("\"{text}\" is not the name of a scope"),
            "write each as a word without a slash: [\"read\", \"write\"]".to_owned(),
        )),
    }
}
