//! Second factors of a sign-in: what a pool demands, and what a user has.

use super::{SignInAttribute, User};
use serde::{Deserialize, Serialize};

/// A second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// A time-based code of an authenticator app (RFC 6238).
    SoftwareToken,
    /// A code in an e-mail.
    Email,
    /// A code in a text message.
    Sms,
}

/// Each factor with its names in Cognito's API and in the configuration file. The first one is
/// asked for first.
pub const FACTORS: [(Factor, &str, &str); 3] = [
    (Factor::SoftwareToken, "SOFTWARE_TOKEN_MFA", "software_token"),
    (Factor::Email, "EMAIL_OTP", "email"),
    (Factor::Sms, "SMS_MFA", "sms"),
];

impl Factor {
    /// Returns the factor of this name in Cognito's API.
    pub fn parse(name: &str) -> Option<Self> {
        FACTORS.iter().find(|(_, known, _)| *known == name).map(|(factor, ..)| *factor)
    }

    /// Returns the name in Cognito's API, which also is the name of its challenge.
    pub fn name(self) -> &'static str {
        FACTORS.iter().find(|(factor, ..)| *factor == self).map_or("", |(_, name, _)| name)
    }

    /// Returns the attribute to which the code of the factor is sent.
    pub fn address(self) -> Option<SignInAttribute> {
        match self {
            Self::SoftwareToken => None,
            Self::Email => Some(SignInAttribute::Email),
            Self::Sms => Some(SignInAttribute::PhoneNumber),
        }
    }
}

/// Whether the users of a pool sign in with a second factor (`MfaConfiguration`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MfaMode {
    /// None does.
    #[default]
    Off,
    /// Those who have set one up.
    Optional,
    /// All; who has none sets one up at the next sign-in.
    Required,
}

impl MfaMode {
    /// Each mode with its name in Cognito's API.
    pub const NAMES: [(Self, &'static str); 3] =
        [(Self::Off, "OFF"), (Self::Optional, "OPTIONAL"), (Self::Required, "ON")];

    /// Returns the name in Cognito's API.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(mode, _)| *mode == self).map_or("", |(_, name)| name)
    }
}

/// The second factors of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MfaSettings {
    /// Who signs in with one.
    pub mode: MfaMode,
    /// The factors that users can have.
    pub factors: Vec<Factor>,
}

/// The second factors of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFactors {
    /// Whether the user has a software token, whose first code was right.
    pub has_software_token: bool,
    /// The factors that the user has turned on (`UserMFASettingList`).
    pub enabled: Vec<Factor>,
    /// The one that is asked for without a choice (`PreferredMfaSetting`).
    pub preferred: Option<Factor>,
}

impl MfaSettings {
    /// Returns the factors that a sign-in of the user asks for: one of them suffices. Without any,
    /// [`MfaSettings::demands`] says whether the user may go on.
    ///
    /// Where a second factor is required, a user who has turned on none is asked for those that
    /// need no decision: the software token, and codes to verified addresses.
    pub fn of_sign_in(&self, user: &User, of: &UserFactors) -> Vec<Factor> {
        let usable = |factor: &Factor| self.factors.contains(factor) && of.can_use(user, *factor);
        let enabled: Vec<_> = of.enabled.iter().copied().filter(usable).collect();
        match self.mode {
            MfaMode::Off => Vec::new(),
            MfaMode::Required if enabled.is_empty() => {
                FACTORS.iter().map(|(factor, ..)| *factor).filter(usable).collect()
            }
            MfaMode::Optional | MfaMode::Required => enabled,
        }
    }
}

impl MfaSettings {
    /// Returns whether a sign-in of the user needs a second factor, also one that the user lost.
    pub fn is_asked_of(&self, user: &User, of: &UserFactors) -> bool {
        self.demands(of) || !self.of_sign_in(user, of).is_empty()
    }

    /// Returns whether the user has turned on a factor that the pool allows. Then no sign-in goes
    /// without one, also if the user can use none any more: an address that lost its verification
    /// must not turn the second factor off.
    pub fn demands(&self, of: &UserFactors) -> bool {
        self.mode != MfaMode::Off && of.enabled.iter().any(|factor| self.factors.contains(factor))
    }
}

impl UserFactors {
    /// Returns whether the user can answer a challenge of the factor: has a software token, or a
    /// verified address.
    pub fn can_use(&self, user: &User, factor: Factor) -> bool {
        let Some(address) = factor.address() else { return self.has_software_token };
        let flag = address.verified_name().and_then(|flag| user.attributes.get(flag));
        user.attributes.contains(address.name()) && flag == Some("true")
    }

    /// Turns a factor on or off. What is turned off is not preferred any more.
    pub fn set(&mut self, factor: Factor, is_enabled: bool) {
        self.enabled.retain(|of| *of != factor);
        match is_enabled {
            true => {
                self.enabled.push(factor);
                self.enabled.sort_unstable();
            }
            false if self.preferred == Some(factor) => self.preferred = None,
            false => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Factor::{Email, Sms, SoftwareToken};

    #[test]
    fn a_sign_in_asks_for_factors_that_pool_and_user_have() {
        let mut user = User::default();
        user.attributes.set("email", "a@b.example");
        user.attributes.set("email_verified", "true");
        user.attributes.set("phone_number", "+4912345");
        let asked = |mode, factors: &[Factor], has_software_token, enabled: &[Factor]| {
            let settings = MfaSettings { mode, factors: factors.to_vec() };
            let of = UserFactors { has_software_token, enabled: enabled.to_vec(), preferred: None };
            settings.of_sign_in(&user, &of)
        };
        let all = [SoftwareToken, Email, Sms];
        for (mode, factors, has_token, enabled, expected) in [
            (MfaMode::Off, &all[..], true, &all[..], &[][..]),
            (MfaMode::Optional, &all, true, &[], &[]),
            (MfaMode::Optional, &all, true, &all, &[SoftwareToken, Email]),
            (MfaMode::Optional, &all, false, &all, &[Email]),
            (MfaMode::Optional, &[Email], true, &all, &[Email]),
            (MfaMode::Optional, &[SoftwareToken], false, &all, &[]),
            (MfaMode::Required, &all, true, &[SoftwareToken], &[SoftwareToken]),
            (MfaMode::Required, &all, true, &[], &[SoftwareToken, Email]),
            (MfaMode::Required, &[SoftwareToken, Sms], false, &[Sms], &[]),
        ] {
            let result = asked(mode, factors, has_token, enabled);
            assert_eq!(result, expected, "{mode:?} {factors:?} {has_token} {enabled:?}");
        }
    }

    #[test]
    fn a_factor_that_is_turned_off_is_not_preferred() {
        let mut of = UserFactors::default();
        of.set(Sms, true);
        of.set(SoftwareToken, true);
        of.set(Sms, true);
        assert_eq!(of.enabled, [SoftwareToken, Sms]);
        of.preferred = Some(Sms);
        of.set(SoftwareToken, false);
        assert_eq!((of.preferred, &of.enabled[..]), (Some(Sms), &[Sms][..]));
        of.set(Sms, false);
        assert_eq!(of, UserFactors::default());
    }
}
