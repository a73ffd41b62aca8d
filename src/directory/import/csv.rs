//! Cognito's CSV of users: the header that `GetCSVHeader` answers, and rows in which a comma is
//! `\,` and nothing is quoted.

use super::user::UserLine;
use crate::directory::error::{DirectoryError, Outcome};
use crate::model::{Attributes, MfaMode, Pool, SignInAttribute};
use chrono::NaiveDate;
use std::collections::BTreeSet;

/// Maximum characters of a row.
pub const MAX_ROW_CHARS: usize = 16_000;
/// Maximum bytes of a row.
pub const MAX_ROW_BYTES: usize = 4 * MAX_ROW_CHARS;

/// The column of the user name.
const USERNAME: &str = "cognito:username";
/// The column that states whether the user has a second factor.
const MFA_ENABLED: &str = "cognito:mfa_enabled";

/// Returns the columns of a pool's file.
pub fn csv_header(pool: &Pool) -> Vec<String> {
    let attributes = pool.settings.schema.iter().filter(|attribute| attribute.name != "sub");
    let names = attributes.map(|attribute| attribute.name.to_string());
    names.chain([MFA_ENABLED, USERNAME].map(str::to_owned)).collect()
}

/// The columns of a file, in its order.
#[derive(Debug, PartialEq, Eq)]
pub struct Columns(Vec<String>);

impl Columns {
    /// Parses the header.
    ///
    /// # Errors
    /// Returns why the file cannot be imported into this pool.
    pub fn parse(header: &str, pool: &Pool) -> Result<Self, String> {
        const HELP: &str = "\n  help: `narthex users csv-header` prints the header";
        let columns = split(header);
        let expected = csv_header(pool);
        let mut seen = BTreeSet::new();
        for column in &columns {
            if !expected.contains(column) {
                return Err(format!("the header has the unknown column `{column}`{HELP}"));
            }
            if !seen.insert(column) {
                return Err(format!("the header has the column `{column}` twice{HELP}"));
            }
        }
        if let Some(missing) = expected.iter().find(|column| !seen.contains(column)) {
            return Err(format!("the header lacks the column `{missing}`{HELP}"));
        }
        if pool.settings.auto_verified.is_empty() {
            return Err(
                "the pool verifies neither e-mail addresses nor phone numbers, and a user without a \
                        verified address could not set a password\n  help: let the pool verify one \
                        (`AutoVerifiedAttributes`), or import JSON lines"
                    .to_owned(),
            );
        }
        Ok(Self(columns))
    }

    /// Returns the user name of a row, for a report.
    pub fn username(&self, row: &str) -> Option<String> {
        let place = self.0.iter().position(|column| column == USERNAME)?;
        split(row).into_iter().nth(place)
    }

    /// Parses a row.
    ///
    /// # Errors
    /// Returns `InvalidParameterException` for a row that does not follow the rules.
    pub fn user(&self, row: &str, pool: &Pool) -> Outcome<UserLine> {
        if row.chars().count() > MAX_ROW_CHARS {
            return Err(invalid(format!("The row has more than {MAX_ROW_CHARS} characters.")));
        }
        let values = split(row);
        let (count, expected) = (values.len(), self.0.len());
        if count != expected {
            return Err(invalid(format!("The row has {count} values, and the header has {expected}.")));
        }
        let (mut username, mut attributes) = (String::new(), Vec::new());
        for (column, value) in self.0.iter().zip(values) {
            if value.starts_with('"') {
                return Err(invalid(format!("{column}: values are not quoted.")));
            }
            match column.as_str() {
                USERNAME => username = value,
                MFA_ENABLED => check_mfa(&value, pool)?,
                _ if value.is_empty() => {}
                "birthdate" => attributes.push((column, birthdate(&value)?)),
                "updated_at" => attributes.push((column, epoch(value)?)),
                _ => attributes.push((column, value)),
            }
        }
        if username.is_empty() {
            return Err(invalid(format!("{USERNAME}: the value is required.")));
        }
        let mut attributes: Attributes = attributes.into_iter().collect();
        drop_empty_flags(&mut attributes);
        check_verified(pool, &attributes)?;
        pool.settings.schema.check_required(&attributes)?;
        Ok(UserLine { username, attributes, ..UserLine::default() })
    }
}

fn invalid(message: String) -> DirectoryError {
    DirectoryError::invalid(message)
}

/// Splits a row at its commas. `\,` is a comma of a value; any other backslash is itself.
fn split(row: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let mut chars = row.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' => values.push(String::new()),
            '\\' if chars.next_if_eq(&',').is_some() => push(&mut values, ','),
            c => push(&mut values, c),
        }
    }
    values.iter().map(|value| value.trim().to_owned()).collect()
}

fn push(values: &mut [String], c: char) {
    if let Some(value) = values.last_mut() {
        value.push(c);
    }
}

/// Checks the statement on the second factor, which must agree with the pool. A user of a pool that
/// demands one sets it up at the first sign-in; in another one it would be codes in text messages.
fn check_mfa(value: &str, pool: &Pool) -> Outcome<()> {
    let words = match (value, pool.settings.mfa.mode) {
        ("false", MfaMode::Off | MfaMode::Optional) | ("true", MfaMode::Required) => return Ok(()),
        ("true", MfaMode::Off) => "must be false: MFA is off in this user pool.",
        ("true", MfaMode::Optional) => {
            "must be false: users of this user pool turn a second factor on themselves."
        }
        ("false", MfaMode::Required) => "must be true: this user pool demands a second factor.",
        _ => "must be true or false.",
    };
    Err(invalid(format!("{MFA_ENABLED}: {words}")))
}

/// Converts `mm/dd/yyyy` to the form of the claim `birthdate`, `yyyy-mm-dd` (OpenID Connect Core,
/// section 5.1).
fn birthdate(value: &str) -> Outcome<String> {
    let has_form = value.len() == 10 && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'/');
    let date = NaiveDate::parse_from_str(value, "%m/%d/%Y").ok().filter(|_| has_form);
    let date = date.ok_or_else(|| invalid("birthdate: must have the form mm/dd/yyyy.".to_owned()))?;
    Ok(date.format("%Y-%m-%d").to_string())
}

fn epoch(value: String) -> Outcome<String> {
    match value.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(value),
        false => Err(invalid("updated_at: must be a number of seconds since 1970.".to_owned())),
    }
}

/// Removes `false` for an address that the user does not have: each row has a value in the column.
fn drop_empty_flags(attributes: &mut Attributes) {
    for attribute in [SignInAttribute::Email, SignInAttribute::PhoneNumber] {
        if let Some(flag) = attribute.verified_name()
            && !attributes.contains(attribute.name())
            && attributes.get(flag) == Some("false")
        {
            attributes.remove(flag);
        }
    }
}

/// Checks that the verification of each address that the pool verifies is stated, and that one is
/// verified.
fn check_verified(pool: &Pool, attributes: &Attributes) -> Outcome<()> {
    let flags = || pool.settings.auto_verified.iter().filter_map(|attribute| attribute.verified_name());
    for flag in flags() {
        let has_address = flag.strip_suffix("_verified").is_some_and(|address| attributes.contains(address));
        let is_stated = has_address || attributes.contains(flag);
        if is_stated && !matches!(attributes.get(flag), Some("true" | "false")) {
            return Err(invalid(format!("{flag}: must be true or false.")));
        }
    }
    match flags().any(|flag| attributes.get(flag) == Some("true")) {
        true => Ok(()),
        false => {
            let flags: Vec<&str> = flags().collect();
            Err(invalid(format!("{}: must be true.", flags.join(" or "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AttributeType, PoolSettings, Schema, SchemaAttribute, SignInAttribute};

    fn pool() -> Pool {
        let own = SchemaAttribute {
            name: "custom:team".into(),
            kind: AttributeType::String,
            mutable: true,
            required: false,
            min: None,
            max: None,
        };
        let schema = Schema::new(vec![own]);
        let auto_verified = vec![SignInAttribute::Email, SignInAttribute::PhoneNumber];
        Pool {
            settings: PoolSettings { schema, auto_verified, ..PoolSettings::default() },
            ..Pool::default()
        }
    }

    fn row(values: &[(&str, &str)]) -> String {
        let value = |column: String| {
            let given = values.iter().find(|(name, _)| *name == column).map(|(_, value)| *value);
            let default = match &*column {
                USERNAME => "ann",
                MFA_ENABLED | "phone_number_verified" => "false",
                "email_verified" => "true",
                "email" => "ann@x.example",
                _ => "",
            };
            given.unwrap_or(default).to_owned()
        };
        csv_header(&pool()).into_iter().map(value).collect::<Vec<_>>().join(",")
    }

    fn parse(row: &str) -> Result<UserLine, String> {
        let columns = Columns::parse(&csv_header(&pool()).join(","), &pool()).unwrap();
        columns.user(row, &pool()).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn the_header_has_every_attribute_but_the_sub() {
        let header = csv_header(&pool());
        assert_eq!(header.len(), 22);
        assert_eq!((&*header[0], &*header[18], &*header[19]), ("name", "updated_at", "custom:team"));
        assert_eq!(header[20..], [MFA_ENABLED, USERNAME]);
    }

    #[test]
    fn a_header_has_all_columns_in_any_order() {
        let mut columns = csv_header(&pool());
        columns.reverse();
        let text = columns.join(" , ");
        assert_eq!(Columns::parse(&text, &pool()), Ok(Columns(columns.clone())));
        let first =
            |text: &str| Columns::parse(text, &pool()).unwrap_err().lines().next().unwrap().to_owned();
        assert_eq!(first(&(text.clone() + ",shoe")), "the header has the unknown column `shoe`");
        assert_eq!(first(&(text + ",name")), "the header has the column `name` twice");
        assert_eq!(first(&columns[1..].join(",")), "the header lacks the column `cognito:username`");
        let without = Pool { settings: PoolSettings::default(), ..Pool::default() };
        let error = Columns::parse(&csv_header(&without).join(","), &without).unwrap_err();
        assert!(error.starts_with("the pool verifies neither e-mail addresses nor phone numbers"));
    }

    #[test]
    fn values_are_trimmed_and_a_comma_is_escaped() {
        let user = parse(&row(&[("name", " Lovelace\\, Ada "), ("nickname", "a\\b"), ("custom:team", "é")]))
            .unwrap();
        assert_eq!(user.attributes.get("name"), Some("Lovelace, Ada"));
        assert_eq!(user.attributes.get("nickname"), Some("a\\b"));
        assert_eq!(split("a\\,b,c\\d,,"), ["a,b", "c\\d", "", ""]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn the_statement_on_the_second_factor_agrees_with_the_pool() {
        for (mode, value, is_accepted) in [
            (MfaMode::Off, "false", true),
            (MfaMode::Off, "true", false),
            (MfaMode::Optional, "false", true),
            (MfaMode::Optional, "true", false),
            (MfaMode::Required, "true", true),
            (MfaMode::Required, "false", false),
        ] {
            let mut pool = pool();
            pool.settings.mfa.mode = mode;
            assert_eq!(check_mfa(value, &pool).is_ok(), is_accepted, "{mode:?} {value}");
        }
    }

    #[test]
    fn each_mistake_has_its_reason() {
        let long = "x".repeat(MAX_ROW_CHARS);
        for (values, reason) in [
            (&[(USERNAME, "")][..], "cognito:username: the value is required."),
            (&[(MFA_ENABLED, "")], "cognito:mfa_enabled: must be true or false."),
            (&[(MFA_ENABLED, "true")], "cognito:mfa_enabled: must be false: MFA is off in this user pool."),
            (&[("name", "\"Ann\"")], "name: values are not quoted."),
            (&[("birthdate", "1/2/2000")], "birthdate: must have the form mm/dd/yyyy."),
            (&[("birthdate", "02/30/2000")], "birthdate: must have the form mm/dd/yyyy."),
            (&[("birthdate", "2000-02-03")], "birthdate: must have the form mm/dd/yyyy."),
            (&[("updated_at", "-1")], "updated_at: must be a number of seconds since 1970."),
            (&[("email_verified", "")], "email_verified: must be true or false."),
            (&[("phone_number_verified", "yes")], "phone_number_verified: must be true or false."),
            (&[("email_verified", "false")], "email_verified or phone_number_verified: must be true."),
            (&[("name", "a,b")], "The row has 23 values, and the header has 22."),
            (&[("name", long.as_str())], "The row has more than 16000 characters."),
        ] {
            assert_eq!(parse(&row(values)).unwrap_err(), reason, "{values:?}");
        }
        assert_eq!(parse("ann").unwrap_err(), "The row has 1 values, and the header has 22.");
    }

    #[test]
    fn dates_become_those_of_claims() {
        let user = parse(&row(&[("birthdate", "02/29/2000"), ("updated_at", "1471453471")])).unwrap();
        assert_eq!(user.attributes.get("birthdate"), Some("2000-02-29"));
        assert_eq!(user.attributes.get("updated_at"), Some("1471453471"));
    }
}
