//! `[user_pool.password_policy]`: the rules for new passwords.

use super::item::Item;
use super::key::{Key, Section, Shape, Type};
use super::reader::Table;
use super::types::FLAG;
use std::ops::RangeInclusive;

pub(super) const SECTION: Section = Section {
    header: "[user_pool.password_policy]",
    about: "The rules for new passwords (Cognito's `PasswordPolicy`).",
    keys: &[
        &MINIMUM_LENGTH,
        &REQUIRE_UPPERCASE,
        &REQUIRE_LOWERCASE,
        &REQUIRE_NUMBERS,
        &REQUIRE_SYMBOLS,
        &HISTORY_SIZE,
        &TEMPORARY_DAYS,
        &REFUSE_COMMON,
    ],
};
const MINIMUM_LENGTH: Key<u16> = Key::new(
    "minimum_length",
    Type::Read(Shape::Integer(6), |item| within(item, 6..=99)),
    "Minimum length in characters, 6 to 99.",
)
.default("8");
const REQUIRE_UPPERCASE: Key<bool> =
    Key::new("require_uppercase", FLAG, "Whether an upper-case letter is required.").default("true");
const REQUIRE_LOWERCASE: Key<bool> =
    Key::new("require_lowercase", FLAG, "Whether a lower-case letter is required.").default("true");
const REQUIRE_NUMBERS: Key<bool> =
    Key::new("require_numbers", FLAG, "Whether a digit is required.").default("true");
const REQUIRE_SYMBOLS: Key<bool> =
    Key::new("require_symbols", FLAG, "Whether a symbol is required.").default("true");
const HISTORY_SIZE: Key<u16> = Key::new(
    "history_size",
    Type::Read(Shape::Integer(0), |item| within(item, 0..=24)),
    "Number of earlier passwords that are refused, 0 to 24.",
)
.default("0");
const TEMPORARY_DAYS: Key<u16> = Key::new(
    "temporary_password_validity_days",
    Type::Read(Shape::Integer(1), |item| within(item, 1..=365)),
    "Validity of a temporary password in days, 1 to 365.",
)
.default("7");
const REFUSE_COMMON: Key<bool> = Key::new(
    "refuse_common",
    FLAG,
    "Whether common passwords and the user's own names are refused, which Cognito does not do.",
)
.default("true");

/// The rules for new passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordRules {
    /// Minimum length in characters.
    pub minimum_length: u16,
    /// Whether an upper-case letter is required.
    pub require_uppercase: bool,
    /// Whether a lower-case letter is required.
    pub require_lowercase: bool,
    /// Whether a digit is required.
    pub require_numbers: bool,
    /// Whether a symbol is required.
    pub require_symbols: bool,
    /// Number of earlier passwords that are refused.
    pub history_size: u16,
    /// Validity of a temporary password in days.
    pub temporary_password_validity_days: u16,
    /// Whether common passwords and the user's own names are refused.
    pub refuse_common: bool,
}

impl PasswordRules {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let minimum_length = table.read(&MINIMUM_LENGTH);
        let require_uppercase = table.read(&REQUIRE_UPPERCASE);
        let require_lowercase = table.read(&REQUIRE_LOWERCASE);
        let require_numbers = table.read(&REQUIRE_NUMBERS);
        let require_symbols = table.read(&REQUIRE_SYMBOLS);
        let history_size = table.read(&HISTORY_SIZE);
        let temporary_password_validity_days = table.read(&TEMPORARY_DAYS);
        let refuse_common = table.read(&REFUSE_COMMON);
        table.finish();
        Some(Self {
            minimum_length: minimum_length?,
            require_uppercase: require_uppercase?,
            require_lowercase: require_lowercase?,
            require_numbers: require_numbers?,
            require_symbols: require_symbols?,
            history_size: history_size?,
            temporary_password_validity_days: temporary_password_validity_days?,
            refuse_common: refuse_common?,
        })
    }
}

/// Reads an integer within bounds.
fn within(item: &Item<'_>, bounds: RangeInclusive<u16>) -> Option<u16> {
    let number = item.integer()?;
    let value = u16::try_from(number).ok().filter(|value| bounds.contains(value));
    if value.is_none() {
        let (least, most) = (bounds.start(), bounds.end());
        item.report(
            format!("`{}` is out of bounds", item.key),
            format!("choose a number from {least} to {most}"),
        );
    }
    value
}
