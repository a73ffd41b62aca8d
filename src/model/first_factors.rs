//! First factors of a sign-in: what a pool allows, and what a user has.

use super::{Attributes, Factor, MfaMode, MfaSettings, SignInAttribute, User, UserFactors};
use serde::{Deserialize, Serialize};

/// A first factor (`AllowedFirstAuthFactors`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstFactor {
    /// A password, sent or proved by Secure Remote Password.
    Password,
    /// A code in an e-mail.
    Email,
    /// A code in a text message.
    Sms,
}

/// Each first factor with its names in Cognito's API and in the configuration file, and the factor
/// whose code it is.
pub const FIRST_FACTORS: [(FirstFactor, &str, &str, Option<Factor>); 3] = [
    (FirstFactor::Password, "PASSWORD", "password", None),
    (FirstFactor::Email, "EMAIL_OTP", "email", Some(Factor::Email)),
    (FirstFactor::Sms, "SMS_OTP", "sms", Some(Factor::Sms)),
];

impl FirstFactor {
    /// Returns the first factor of this name in Cognito's API.
    pub fn parse(name: &str) -> Option<Self> {
        FIRST_FACTORS.iter().find(|(_, known, ..)| *known == name).map(|(of, ..)| *of)
    }

    /// Returns the name in Cognito's API.
    pub fn name(self) -> &'static str {
        FIRST_FACTORS.iter().find(|(of, ..)| *of == self).map_or("", |(_, name, ..)| name)
    }

    /// Returns the factor whose code it is; `None` for a password.
    pub fn code(self) -> Option<Factor> {
        FIRST_FACTORS.iter().find(|(of, ..)| *of == self).and_then(|(.., code)| *code)
    }

    /// Returns the first factor that is a code of `factor`.
    pub fn of_code(factor: Factor) -> Option<Self> {
        FIRST_FACTORS.iter().find(|(.., code)| *code == Some(factor)).map(|(of, ..)| *of)
    }

    /// Returns the attribute to which its code is sent.
    pub fn address(self) -> Option<SignInAttribute> {
        self.code().and_then(Factor::address)
    }
}

/// The first factors with which a user can sign in: those that the pool allows and the user has.
///
/// A code is none for a user whose only second factor is a code to the same address: its readers
/// would have both factors.
pub fn usable_first_factors(
    allowed: &[FirstFactor],
    mfa: &MfaSettings,
    (user, factors, has_password): (&User, &UserFactors, bool),
) -> Vec<FirstFactor> {
    let second = mfa.of_sign_in(user, factors);
    let is_demanded = mfa.mode == MfaMode::Required || mfa.demands(factors);
    let can_set_up = !mfa.demands(factors) && mfa.factors.contains(&Factor::SoftwareToken);
    let usable = |of: &FirstFactor| match of.code() {
        None => has_password,
        Some(code) => {
            let completes = second.iter().any(|factor| *factor != code) || can_set_up;
            factors.can_use(user, code) && (!is_demanded || completes)
        }
    };
    allowed.iter().copied().filter(usable).collect()
}

/// Returns whether one of the allowed codes is sent to an address of `attributes` that `accepts`.
pub fn has_code_address(
    allowed: &[FirstFactor],
    attributes: &Attributes,
    accepts: impl Fn(SignInAttribute) -> bool,
) -> bool {
    let addresses = allowed.iter().filter_map(|of| of.address());
    addresses.filter(|address| attributes.contains(address.name())).any(accepts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_read_back() {
        for (of, name, _, code) in FIRST_FACTORS {
            assert_eq!((FirstFactor::parse(name), of.name()), (Some(of), name));
            assert_eq!(code.and_then(FirstFactor::of_code), code.map(|_| of));
        }
        assert_eq!(FirstFactor::parse("SMS_MFA"), None);
    }

    #[test]
    fn a_code_is_no_first_factor_without_another_second_one() {
        let mut user = User::default();
        user.attributes.set("email", "a@b.example");
        user.attributes.set("email_verified", "true");
        let all = [FirstFactor::Password, FirstFactor::Email, FirstFactor::Sms];
        let usable = |mode, pool: &[Factor], enabled: &[Factor], has_password| {
            let has_software_token = enabled.contains(&Factor::SoftwareToken);
            let factors = UserFactors { has_software_token, enabled: enabled.to_vec(), preferred: None };
            let mfa = MfaSettings { mode, factors: pool.to_vec() };
            usable_first_factors(&all, &mfa, (&user, &factors, has_password))
        };
        let (token, email) = (Factor::SoftwareToken, Factor::Email);
        let (password, code) = (FirstFactor::Password, FirstFactor::Email);
        for (mode, pool, enabled, expected) in [
            (MfaMode::Off, &[][..], &[][..], &[password, code][..]),
            (MfaMode::Optional, &[token, email], &[], &[password, code]),
            (MfaMode::Optional, &[token, email], &[email], &[password]),
            (MfaMode::Optional, &[token, email], &[token, email], &[password, code]),
            (MfaMode::Required, &[token, email], &[], &[password, code]),
            (MfaMode::Required, &[email], &[], &[password]),
        ] {
            assert_eq!(usable(mode, pool, enabled, true), expected, "{mode:?} {pool:?} {enabled:?}");
        }
        assert_eq!(usable(MfaMode::Off, &[], &[], false), [code]);
    }
}
