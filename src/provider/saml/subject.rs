//! The subject of an assertion, and of a logout message after it (SAML core, section 2.2.3).

use super::xml::{self, SAML};
use crate::base::is_deceptive;
use roxmltree::Node;
use serde::{Deserialize, Serialize};

/// SAML core, section 8.3.7: a persistent identifier has at most 256 characters.
const MAX_NAME_ID_LENGTH: usize = 256;
const TRANSIENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";
/// The format of e-mail addresses (SAML core, section 8.3.2).
pub const EMAIL: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress";

/// A `NameID`, with the provider's session of its assertion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameId {
    /// The identifier, exactly.
    pub value: String,
    /// Its format's URI.
    pub format: Option<String>,
    /// The domain that qualifies the identifier, if given.
    pub name_qualifier: Option<String>,
    /// The service provider that it was made for, if given.
    pub sp_name_qualifier: Option<String>,
    /// The person's session at the provider.
    pub session_index: Option<String>,
}

/// What is wrong with a `NameID`.
pub struct NameIdError(pub String);

impl NameId {
    /// The `NameID` of a `Subject`.
    pub fn of_subject(subject: Node<'_, '_>, session_index: Option<String>) -> Result<Self, NameIdError> {
        let mut name_id = Self::of(subject)?;
        // A user is found again by it.
        if name_id.format.as_deref() == Some(TRANSIENT) {
            return Err(NameIdError(
                "it is transient: have the provider send a persistent one, or an address".into(),
            ));
        }
        if session_index.as_ref().is_some_and(|index| index.len() > MAX_NAME_ID_LENGTH) {
            return Err(NameIdError("the SessionIndex is too long".into()));
        }
        name_id.session_index = session_index;
        Ok(name_id)
    }

    /// The `NameID` below `node`.
    pub fn of(node: Node<'_, '_>) -> Result<Self, NameIdError> {
        let read = |error| NameIdError(format!("{error}"));
        let name_id = xml::one(node, SAML, "NameID").map_err(read)?;
        // Some providers write it on a line of its own.
        let value = xml::trim(xml::text(name_id).map_err(read)?).to_owned();
        if value.is_empty() || value.len() > MAX_NAME_ID_LENGTH || value.chars().any(is_deceptive) {
            return Err(NameIdError(
                "it is empty, too long, or holds control or invisible characters".into(),
            ));
        }
        let attribute = |name: &str| name_id.attribute(name).map(str::to_owned);
        Ok(Self {
            value,
            format: attribute("Format"),
            name_qualifier: attribute("NameQualifier"),
            sp_name_qualifier: attribute("SPNameQualifier"),
            session_index: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_white_space_of_xml_is_no_part_of_a_name() {
        let name = |text: &str| {
            let text = format!("<Subject xmlns='{SAML}'><NameID>{text}</NameID></Subject>");
            NameId::of(xml::parse(&text).unwrap().root_element()).map(|name_id| name_id.value).ok()
        };
        assert_eq!(name("\n  alice\t").as_deref(), Some("alice"));
        for other in ["\u{a0}alice", "\u{3000}alice", "alice\u{2003}"] {
            assert_eq!(name(other).as_deref(), Some(other));
        }
        for other in ["alice&#x85;", "alice\u{2028}", "\u{202e}ecila", "ali\u{200b}ce"] {
            assert_eq!(name(other), None);
        }
    }
}
