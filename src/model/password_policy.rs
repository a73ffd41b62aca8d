//! The rules for new passwords of a user pool, with Cognito's fields and bounds.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::RangeInclusive;

/// Valid values of [`PasswordPolicy::minimum_length`] (Cognito's PasswordPolicyType).
const MINIMUM_LENGTHS: RangeInclusive<u16> = 6..=99;
/// Valid values of [`PasswordPolicy::history_size`] (Cognito's PasswordPolicyType).
const HISTORY_SIZES: RangeInclusive<u16> = 0..=24;
/// Valid values of [`PasswordPolicy::temporary_password_validity_days`] (Cognito's
/// PasswordPolicyType).
const VALIDITY_DAYS: RangeInclusive<u16> = 1..=365;

/// The rules for new passwords of one user pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PasswordPolicy {
    /// Minimum length in characters, 6 to 99.
    pub minimum_length: u16,
    /// Whether one of A to Z is required.
    pub require_uppercase: bool,
    /// Whether one of a to z is required.
    pub require_lowercase: bool,
    /// Whether one of 0 to 9 is required.
    pub require_numbers: bool,
    /// Whether one of Cognito's symbols is required.
    pub require_symbols: bool,
    /// Number of previous passwords that are rejected, 0 to 24.
    pub history_size: u16,
    /// Validity of a temporary password in days, 1 to 365.
    pub temporary_password_validity_days: u16,
    /// Whether common passwords and the user's own names are rejected, which Cognito does not do.
    pub refuse_common: bool,
}

/// The error for a field of a policy that is out of bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    field: &'static str,
    value: u16,
    bounds: RangeInclusive<u16>,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self {
            minimum_length: 8,
            require_uppercase: true,
            require_lowercase: true,
            require_numbers: true,
            require_symbols: true,
            history_size: 0,
            temporary_password_validity_days: 7,
            refuse_common: true,
        }
    }
}

impl PasswordPolicy {
    /// Checks the bounds of the fields.
    ///
    /// # Errors
    ///
    /// Returns [`PolicyError`] for the first field that is out of bounds.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let table = [
            ("minimum_length", self.minimum_length, MINIMUM_LENGTHS),
            ("history_size", self.history_size, HISTORY_SIZES),
            ("temporary_password_validity_days", self.temporary_password_validity_days, VALIDITY_DAYS),
        ];
        for (field, value, bounds) in table {
            if !bounds.contains(&value) {
                return Err(PolicyError { field, value, bounds });
            }
        }
        Ok(())
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, bounds } = self;
        let (low, high) = (bounds.start(), bounds.end());
        write!(f, "`{field}` is `{value}`; help: use a value from {low} to {high}")
    }
}

impl std::error::Error for PolicyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_out_of_bounds_are_refused() {
        let policy = PasswordPolicy::default();
        assert_eq!(policy.validate(), Ok(()));
        for wrong in [
            PasswordPolicy { minimum_length: 5, ..policy.clone() },
            PasswordPolicy { minimum_length: 100, ..policy.clone() },
            PasswordPolicy { history_size: 25, ..policy.clone() },
            PasswordPolicy { temporary_password_validity_days: 0, ..policy.clone() },
            PasswordPolicy { temporary_password_validity_days: 366, ..policy.clone() },
        ] {
            assert!(wrong.validate().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_policy_is_plain_data() {
        let read: PasswordPolicy = serde_json::from_str(r#"{"minimum_length": 12}"#).unwrap();
        assert_eq!(read, PasswordPolicy { minimum_length: 12, ..PasswordPolicy::default() });
        // A newer node may have stored more fields.
        assert!(serde_json::from_str::<PasswordPolicy>(r#"{"minimum": 12}"#).is_ok());
    }
}
