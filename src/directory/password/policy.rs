//! The check of a new password against the policy of its pool, with Cognito's messages.

use super::common::is_common_password;
use crate::model::PasswordPolicy;
use std::fmt;

/// Longest password, in characters (Cognito's PasswordType).
pub const MAX_PASSWORD_CHARS: usize = 256;
/// Symbols of Cognito's developer guide, "Adding user pool password requirements". A space counts
/// too, except as the first or last character.
const SYMBOLS: &str = "^$*.[]{}()?-\"!@#%&/\\,><':;|_~`+= ";

/// A rule that a password breaks. The text is AWS's where AWS has the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// More than [`MAX_PASSWORD_CHARS`] characters.
    TooLong,
    /// White space or a control character at one end, or no character.
    Ends,
    /// A control character.
    Control,
    /// Fewer characters than the policy's minimum.
    TooShort,
    /// No upper-case letter.
    NoUppercase,
    /// No lower-case letter.
    NoLowercase,
    /// No digit.
    NoNumber,
    /// No symbol.
    NoSymbol,
    /// A member of the list of common passwords.
    Common,
    /// The user's name or address, alone or with digits and symbols around it.
    Name,
}

impl PasswordPolicy {
    /// Checks a new password. `names` are the user name, the e-mail address and similar texts.
    /// A length counts Unicode scalar values.
    ///
    /// # Errors
    ///
    /// All rules that `password` breaks. The first is the one that Cognito reports.
    pub fn check(&self, password: &str, names: &[&str]) -> Result<(), Vec<Violation>> {
        let chars = password.chars().take(MAX_PASSWORD_CHARS + 1).count();
        if chars > MAX_PASSWORD_CHARS {
            return Err(vec![Violation::TooLong]);
        }
        let has = |fits: fn(char) -> bool| password.chars().any(fits);
        let is_outer = |c: char| c.is_whitespace() || c.is_control();
        let ends_badly =
            password.is_empty() || password.starts_with(is_outer) || password.ends_with(is_outer);
        let table = [
            (Violation::TooShort, chars < usize::from(self.minimum_length)),
            (Violation::Ends, ends_badly),
            (Violation::Control, has(char::is_control)),
            (Violation::NoUppercase, self.require_uppercase && !has(|c| c.is_ascii_uppercase())),
            (Violation::NoLowercase, self.require_lowercase && !has(|c| c.is_ascii_lowercase())),
            (Violation::NoNumber, self.require_numbers && !has(|c| c.is_ascii_digit())),
            (Violation::NoSymbol, self.require_symbols && !has(|c| SYMBOLS.contains(c))),
            (Violation::Common, self.refuse_common && is_common_password(password)),
            (Violation::Name, self.refuse_common && is_derived(password, names)),
        ];
        let broken: Vec<Violation> =
            table.into_iter().filter(|(_, is_broken)| *is_broken).map(|(rule, _)| rule).collect();
        if broken.is_empty() { Ok(()) } else { Err(broken) }
    }
}

/// Returns whether `password` is one of `names`, or the part of one before an `@`, apart from case
/// and from digits and symbols at both ends. NIST SP 800-63B, section 5.1.1.2: "the username, and
/// derivatives thereof".
fn is_derived(password: &str, names: &[&str]) -> bool {
    let core = letters(password);
    let parts = names.iter().flat_map(|name| [Some(*name), name.split_once('@').map(|(local, _)| local)]);
    !core.is_empty() && parts.flatten().any(|name| letters(name) == core)
}

/// Returns `text` in lower case without what precedes its first and follows its last letter.
fn letters(text: &str) -> String {
    text.trim_matches(|c: char| !c.is_alphabetic()).to_lowercase()
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "Password must have length less than or equal to 256",
            Self::Ends => r"Password must satisfy regular expression pattern: ^\S.*\S$",
            Self::Control => "Password must not have control characters",
            Self::TooShort => "Password not long enough",
            Self::NoUppercase => "Password must have uppercase characters",
            Self::NoLowercase => "Password must have lowercase characters",
            Self::NoNumber => "Password must have numeric characters",
            Self::NoSymbol => "Password must have symbol characters",
            Self::Common => "Password is too common",
            Self::Name => "Password must not be the user's name",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(password: &str) -> Option<Violation> {
        PasswordPolicy::default()
            .check(password, &["Marie.Curie", "mcurie@example.com"])
            .err()
            .map(|all| all[0])
    }

    #[test]
    fn each_rule_refuses_what_breaks_it_alone() {
        let table = [
            ("Xk9!vZq", Some(Violation::TooShort)),
            ("Xk9!vZqw", None),
            ("xk9!vzqw", Some(Violation::NoUppercase)),
            ("XK9!VZQW", Some(Violation::NoLowercase)),
            ("Xkx!vZqw", Some(Violation::NoNumber)),
            ("Xk9xvZqw", Some(Violation::NoSymbol)),
            ("Xk9 vZqw", None),
            (" Xk9vZqw", Some(Violation::Ends)),
            ("Xk9vZqw\u{a0}", Some(Violation::Ends)),
            ("Xk9!v\0Zqw", Some(Violation::Control)),
            ("Password1!", Some(Violation::Common)),
            ("P@ssw0rd", Some(Violation::Common)),
            ("1-Marie.Curie-1", Some(Violation::Name)),
            ("mCurie1!", Some(Violation::Name)),
            ("mCuries1!", None),
            ("Éé9!éééÉ", Some(Violation::NoUppercase)),
        ];
        for (password, expected) in table {
            assert_eq!(first(password), expected, "{password:?}");
        }
    }

    #[test]
    fn each_symbol_of_the_developer_guide_counts_and_no_other() {
        for c in "^$*.[]{}()?-\"!@#%&/\\,><':;|_~`+=".chars() {
            assert_eq!(first(&format!("Xk9{c}vZqw")), None, "{c}");
        }
        for c in "§€´\u{a0}é".chars() {
            assert_eq!(first(&format!("Xk9{c}vZqw")), Some(Violation::NoSymbol), "{c}");
        }
    }

    #[test]
    fn all_violations_are_reported_in_cognitos_order() {
        let all = PasswordPolicy::default().check("", &[]).unwrap_err();
        let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(texts[0], "Password not long enough");
        assert_eq!(
            texts[2..],
            [
                "Password must have uppercase characters",
                "Password must have lowercase characters",
                "Password must have numeric characters",
                "Password must have symbol characters"
            ]
        );
    }

    #[test]
    fn a_length_counts_characters_and_is_bounded() {
        let policy = PasswordPolicy { require_uppercase: false, require_lowercase: false, ..loose() };
        assert_eq!(policy.check(&"é".repeat(8), &[]), Ok(()));
        assert_eq!(policy.check(&"é".repeat(7), &[]), Err(vec![Violation::TooShort]));
        assert_eq!(policy.check(&"é".repeat(256), &[]), Ok(()));
        assert_eq!(policy.check(&"é".repeat(257), &[]), Err(vec![Violation::TooLong]));
    }

    fn loose() -> PasswordPolicy {
        PasswordPolicy { require_numbers: false, require_symbols: false, ..PasswordPolicy::default() }
    }
}
