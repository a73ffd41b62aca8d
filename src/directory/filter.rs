//! The filter of a list of users, in Cognito's grammar: `name = "value"` or `name ^= "value"`.

use super::error::{DirectoryError, Outcome};
use crate::model::{SearchKey, User, UserStatus};
use crate::store::UserList;

/// Maximum characters of a filter.
const MAX_FILTER_LENGTH: usize = 256;

/// A condition on one attribute of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    attribute: Attribute,
    prefix: bool,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    Key(SearchKey),
    /// `cognito:user_status`
    Status,
    /// `status`: `Enabled` or `Disabled`.
    Enabled,
}

/// Both values of the attribute `status`.
const ENABLED: [(bool, &str); 2] = [(true, "Enabled"), (false, "Disabled")];

impl Filter {
    /// Parses a filter; `None` for an empty one, which every user matches.
    ///
    /// # Errors
    /// Returns `InvalidParameterException`.
    pub fn parse(text: &str) -> Outcome<Option<Self>> {
        if text.chars().count() > MAX_FILTER_LENGTH {
            return Err(DirectoryError::invalid(format!(
                "1 validation error detected: Value at 'filter' failed to satisfy constraint: \
                 Member must have length less than or equal to {MAX_FILTER_LENGTH}"
            )));
        }
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let error = || DirectoryError::invalid("Error while parsing filter.");
        let (name, rest) = text.split_once('=').ok_or_else(error)?;
        let (name, prefix) = match name.strip_suffix('^') {
            Some(name) => (name.trim(), true),
            None => (name.trim(), false),
        };
        // The name may be quoted too, as in the console's own requests.
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        if name.is_empty() || name.contains(['"', ' ']) {
            return Err(error());
        }
        let value = unquoted(rest.trim()).ok_or_else(error)?;
        let attribute = match (name, SearchKey::parse(name)) {
            ("cognito:user_status", _) => Attribute::Status,
            ("status", _) => Attribute::Enabled,
            (_, Some(key)) => Attribute::Key(key),
            (name, None) => {
                return Err(DirectoryError::invalid(format!("Invalid search attribute: {name}")));
            }
        };
        Ok(Some(Self { attribute, prefix, value }))
    }

    /// Returns the lists that together contain each matching user once.
    pub(super) fn lists(&self) -> Vec<UserList> {
        match self.attribute {
            Attribute::Key(key) if self.prefix => vec![UserList::Prefix(key, key.stored(&self.value))],
            Attribute::Key(key) => vec![UserList::Key(key, key.stored(&self.value))],
            Attribute::Status => {
                let matching = UserStatus::all().filter(|status| self.matches_text(status.name()));
                matching.map(UserList::Status).collect()
            }
            Attribute::Enabled => {
                let matching = ENABLED.iter().filter(|(_, name)| self.matches_text(name));
                matching.map(|(enabled, _)| UserList::Enabled(*enabled)).collect()
            }
        }
    }

    /// Returns whether `user` matches.
    pub fn matches(&self, user: &User) -> bool {
        match self.attribute {
            Attribute::Key(key) => key.value(user).is_some_and(|value| self.matches_text(value)),
            Attribute::Status => self.matches_text(user.status.name()),
            Attribute::Enabled => {
                ENABLED.iter().any(|(enabled, name)| *enabled == user.enabled && self.matches_text(name))
            }
        }
    }

    /// Returns whether the value of the attribute matches. "cognito:user_status
    /// (case-insensitive)", "status (case-sensitive)" [ListUsers, `Filter`].
    fn matches_text(&self, value: &str) -> bool {
        let (value, wanted) = match self.attribute {
            Attribute::Key(key) => (key.form(value), key.form(&self.value)),
            Attribute::Status => (value.into(), self.value.to_ascii_uppercase().into()),
            Attribute::Enabled => (value.into(), self.value.as_str().into()),
        };
        match self.prefix {
            true => value.starts_with(&*wanted),
            false => value == wanted,
        }
    }
}

/// Returns the text in quotation marks, without its escapes.
fn unquoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?;
    let mut value = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(value),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<(Attribute, bool, String)>, String> {
        match Filter::parse(text) {
            Ok(filter) => Ok(filter.map(|filter| (filter.attribute, filter.prefix, filter.value))),
            Err(error) => Err(error.message().to_owned()),
        }
    }

    #[test]
    fn the_grammar_is_cognitos() {
        let key = |key, prefix, value: &str| Ok(Some((Attribute::Key(key), prefix, value.to_owned())));
        for (text, expected) in [
            (r#"email = "a@b""#, key(SearchKey::Email, false, "a@b")),
            (r#"email="a@b""#, key(SearchKey::Email, false, "a@b")),
            (r#"  name ^= "J"  "#, key(SearchKey::Name, true, "J")),
            (r#"name ^="""#, key(SearchKey::Name, true, "")),
            (r#""sub" = "x""#, key(SearchKey::Sub, false, "x")),
            (r#"name = "a \"b\" \\ = c""#, key(SearchKey::Name, false, r#"a "b" \ = c"#)),
            (
                r#"cognito:user_status = "CONFIRMED""#,
                Ok(Some((Attribute::Status, false, "CONFIRMED".into()))),
            ),
            (r#"status = "Enabled""#, Ok(Some((Attribute::Enabled, false, "Enabled".into())))),
            ("", Ok(None)),
            ("  ", Ok(None)),
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "email",
            "email = a@b",
            r#"email = "a"#,
            r#"email = "a" "b""#,
            r#"email = "a" AND name = "b""#,
            r#"= "a""#,
            r#"email ~ "a""#,
            r#"email = "a\"#,
            r#"a b = "c""#,
        ] {
            assert_eq!(parsed(text), Err("Error while parsing filter.".to_owned()), "{text}");
        }
        assert_eq!(parsed(r#"custom:x = "1""#), Err("Invalid search attribute: custom:x".to_owned()));
        assert_eq!(parsed(r#"nickname = "1""#), Err("Invalid search attribute: nickname".to_owned()));
        assert!(parsed(&format!("name = \"{}\"", "x".repeat(256))).is_err());
    }

    #[test]
    fn a_prefix_of_a_status_is_several_lists() {
        let lists = |text: &str| Filter::parse(text).unwrap().unwrap().lists().len();
        assert_eq!(lists(r#"cognito:user_status ^= "con""#), 1);
        assert_eq!(lists(r#"cognito:user_status ^= "UN""#), 2);
        assert_eq!(lists(r#"cognito:user_status ^= """#), 8);
        assert_eq!(lists(r#"cognito:user_status = "no""#), 0);
        assert_eq!(lists(r#"status = "enabled""#), 0);
        assert_eq!(lists(r#"status ^= """#), 2);
    }
}
