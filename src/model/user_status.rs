//! The status of a user, and its transitions.

/// The status of a user, with Cognito's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserStatus {
    /// The user has signed up, but has not confirmed an address.
    Unconfirmed,
    /// The user can sign in.
    Confirmed,
    /// The user exists only in a provider's directory, and has no password here.
    ExternalProvider,
    /// The user is no longer active.
    Archived,
    /// The user is denied because of a suspected theft of credentials.
    Compromised,
    /// The status is unknown.
    Unknown,
    /// The user must set a new password with a code before the next sign-in.
    ResetRequired,
    /// The user signs in with a temporary password and must then set another.
    ForceChangePassword,
}

use UserStatus::{
    Archived, Compromised, Confirmed, ExternalProvider, ForceChangePassword, ResetRequired, Unconfirmed,
    Unknown,
};

/// Every status with its name in Cognito's API.
const NAMES: [(UserStatus, &str); 8] = [
    (Unconfirmed, "UNCONFIRMED"),
    (Confirmed, "CONFIRMED"),
    (ExternalProvider, "EXTERNAL_PROVIDER"),
    (Archived, "ARCHIVED"),
    (Compromised, "COMPROMISED"),
    (Unknown, "UNKNOWN"),
    (ResetRequired, "RESET_REQUIRED"),
    (ForceChangePassword, "FORCE_CHANGE_PASSWORD"),
];

/// Every status with the statuses that may follow it. Users of a provider have no password to
/// reset, and a confirmed user never becomes unconfirmed.
const TRANSITIONS: [(UserStatus, &[UserStatus]); 8] = [
    (Unconfirmed, &[Confirmed, ForceChangePassword, Archived, Compromised]),
    (Confirmed, &[ResetRequired, ForceChangePassword, Archived, Compromised]),
    (ExternalProvider, &[Archived]),
    (Archived, &[ResetRequired, ForceChangePassword]),
    (Compromised, &[ResetRequired, ForceChangePassword, Archived]),
    (Unknown, &[Confirmed, ResetRequired, ForceChangePassword, Archived]),
    (ResetRequired, &[Confirmed, ForceChangePassword, Archived, Compromised]),
    (ForceChangePassword, &[Confirmed, Archived, Compromised]),
];

impl UserStatus {
    /// Returns every status.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(status, _)| *status)
    }

    /// Returns the name in Cognito's API.
    pub fn name(self) -> &'static str {
        let found = NAMES.iter().find(|(status, _)| *status == self);
        found.map(|(_, name)| *name).expect("invariant: the table has every status")
    }

    /// Returns the status with this name.
    pub fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(status, _)| *status)
    }

    /// Returns whether a user with this status may get the status `next`, which may be the same.
    pub fn may_become(self, next: Self) -> bool {
        self == next || TRANSITIONS.iter().any(|(from, to)| *from == self && to.contains(&next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_nothing_else_is_one() {
        for status in UserStatus::all() {
            assert_eq!(UserStatus::parse(status.name()), Some(status));
        }
        assert_eq!(UserStatus::parse("confirmed"), None);
        assert_eq!(UserStatus::parse(""), None);
    }

    #[test]
    fn no_status_leads_back_to_unconfirmed_and_a_providers_user_gets_no_password() {
        for status in UserStatus::all() {
            assert!(status.may_become(status));
            assert_eq!(status.may_become(Unconfirmed), status == Unconfirmed);
            assert!(!ExternalProvider.may_become(status) || matches!(status, ExternalProvider | Archived));
        }
        assert!(Unconfirmed.may_become(Confirmed));
        // "User password cannot be reset in the current state."
        assert!(!ForceChangePassword.may_become(ResetRequired) && !Unconfirmed.may_become(ResetRequired));
        assert!(!Archived.may_become(Confirmed) && !Compromised.may_become(Confirmed));
    }
}
