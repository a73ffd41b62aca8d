//! The names with which users sign in and by which they are searched.

use super::{Pool, SignInAttribute, User, UserStatus};
use crate::base::{fold_case, nfc, sha256};
use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};
use std::borrow::Cow;

/// Maximum length of a user name and of a group's name, in characters.
pub const MAX_NAME_LENGTH: usize = 128;
/// Maximum length of a stored sign-in name, in bytes. A longer name is cut and ends in its hash,
/// because an index entry of PostgreSQL has at most 2,704 bytes.
const MAX_STORED_NAME: usize = 1024;
/// Maximum length of a stored search key, in bytes. A longer value is cut, and then compared with
/// the row.
pub const MAX_SEARCH_KEY: usize = 512;

/// The kind of a sign-in name. The discriminants are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i64)]
pub enum NameKind {
    /// The user name.
    Username = 1,
    /// An e-mail address.
    Email = 2,
    /// A phone number.
    PhoneNumber = 3,
    /// The attribute `preferred_username`.
    PreferredUsername = 4,
}

impl NameKind {
    /// Returns the kind with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Username, Self::Email, Self::PhoneNumber, Self::PreferredUsername]
            .into_iter()
            .find(|kind| *kind as i64 == number)
    }
}

impl From<SignInAttribute> for NameKind {
    fn from(attribute: SignInAttribute) -> Self {
        match attribute {
            SignInAttribute::Email => Self::Email,
            SignInAttribute::PhoneNumber => Self::PhoneNumber,
            SignInAttribute::PreferredUsername => Self::PreferredUsername,
        }
    }
}

/// A name with which a user of a pool signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInName {
    /// The kind.
    pub kind: NameKind,
    /// The stored form.
    pub name: Vec<u8>,
}

impl Pool {
    /// Returns the stored form of a sign-in name: normalized, and case-folded unless the pool is
    /// case-sensitive.
    pub fn stored_name(&self, name: &str) -> Vec<u8> {
        let name = with_ascii_domain(name);
        let form = match self.settings.sign_in.case_sensitive {
            true => nfc(&name),
            false => fold_case(&name),
        };
        let bytes = form.as_bytes();
        match bytes.len() > MAX_STORED_NAME {
            true => [&bytes[..MAX_STORED_NAME - 32], &sha256(bytes)[..]].concat(),
            false => bytes.to_vec(),
        }
    }

    /// Returns the distinct names with which `user` signs in to this pool.
    ///
    /// A user of a provider has no names: providers compare subjects exactly, and case folding
    /// could make two users' names equal. In a pool with `username_attributes`, the user name is
    /// the `sub` and no sign-in name. There, an address is a name unless its verification attribute
    /// is `false`, which marks a changed address that is not verified yet. An alias is a name once
    /// it is verified and the user is confirmed.
    pub fn sign_in_names(&self, user: &User) -> Vec<SignInName> {
        if user.status == UserStatus::ExternalProvider {
            return Vec::new();
        }
        let sign_in = &self.settings.sign_in;
        let mut names = Vec::new();
        let mut add = |kind: NameKind, name: &str| {
            let name = self.stored_name(name);
            if !names.iter().any(|known: &SignInName| known.name == name) {
                names.push(SignInName { kind, name });
            }
        };
        if sign_in.username_attributes.is_empty() {
            add(NameKind::Username, &user.username);
        }
        for attribute in &sign_in.username_attributes {
            let is_refuted =
                attribute.verified_name().map(|name| user.attributes.get(name)) == Some(Some("false"));
            if let (Some(value), false) = (user.attributes.get(attribute.name()), is_refuted) {
                add((*attribute).into(), value);
            }
        }
        for attribute in &sign_in.alias_attributes {
            let verified =
                attribute.verified_name().is_none_or(|name| user.attributes.get(name) == Some("true"));
            if let (Some(value), true) = (user.attributes.get(attribute.name()), verified)
                && user.status != UserStatus::Unconfirmed
            {
                add((*attribute).into(), value);
            }
        }
        names
    }
}

/// An attribute by which users are searched. The discriminants are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum SearchKey {
    /// The user name, compared case-sensitively.
    Username = 1,
    /// `email`
    Email = 2,
    /// `phone_number`
    PhoneNumber = 3,
    /// `name`
    Name = 4,
    /// `given_name`
    GivenName = 5,
    /// `family_name`
    FamilyName = 6,
    /// `preferred_username`
    PreferredUsername = 7,
    /// `sub`
    Sub = 8,
}

/// Every search key with its attribute's name.
const SEARCH_KEYS: [(SearchKey, &str); 8] = [
    (SearchKey::Username, "username"),
    (SearchKey::Email, "email"),
    (SearchKey::PhoneNumber, "phone_number"),
    (SearchKey::Name, "name"),
    (SearchKey::GivenName, "given_name"),
    (SearchKey::FamilyName, "family_name"),
    (SearchKey::PreferredUsername, "preferred_username"),
    (SearchKey::Sub, "sub"),
];

impl SearchKey {
    /// Returns every key.
    pub fn all() -> impl Iterator<Item = Self> {
        SEARCH_KEYS.iter().map(|(key, _)| *key)
    }

    /// Returns the search key for the attribute `name`.
    pub fn parse(name: &str) -> Option<Self> {
        SEARCH_KEYS.iter().find(|(_, known)| *known == name).map(|(key, _)| *key)
    }

    /// Returns the user's value of the attribute.
    pub fn value(self, user: &User) -> Option<&str> {
        match self {
            Self::Username => Some(&user.username),
            Self::Sub => Some(&user.id),
            key => {
                let (_, name) = SEARCH_KEYS.iter().find(|(known, _)| *known == key)?;
                user.attributes.get(name)
            }
        }
    }

    /// Returns `value` in the form that is compared.
    pub fn form(self, value: &str) -> Cow<'_, str> {
        match self {
            // "username (case-sensitive)" [ListUsers, `Filter`]
            Self::Username => nfc(value),
            _ => fold_case(value),
        }
    }

    /// Returns the stored form of `value`.
    pub fn stored(self, value: &str) -> Vec<u8> {
        let form = self.form(value);
        form.as_bytes()[..form.len().min(MAX_SEARCH_KEY)].to_vec()
    }
}

/// Returns whether `name` consists of 1 to 128 letters, marks, symbols, numbers and punctuation
/// characters (Cognito's `[\p{L}\p{M}\p{S}\p{N}\p{P}]+`).
pub fn is_name(name: &str) -> bool {
    let allowed = GeneralCategoryGroup::Letter
        .union(GeneralCategoryGroup::Mark)
        .union(GeneralCategoryGroup::Symbol)
        .union(GeneralCategoryGroup::Number)
        .union(GeneralCategoryGroup::Punctuation);
    let categories = CodePointMapData::<GeneralCategory>::new();
    (1..=MAX_NAME_LENGTH).contains(&name.chars().count())
        && name.chars().all(|c| allowed.contains(categories.get(c)))
}

/// Returns whether `number` is a phone number in the form of E.164: `+` and 2 to 15 digits.
pub fn is_phone_number(number: &str) -> bool {
    let digits = number.strip_prefix('+').unwrap_or_default();
    (2..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether a user name has the form of a federated user's: `provider~`, eight hexadecimal
/// digits, `_`. A local user with such a name would prevent the sign-in of the provider's user.
pub fn is_federated_name(name: &str) -> bool {
    let Some((_, rest)) = name.split_once('~') else { return false };
    let Some((issuer, _)) = rest.split_once('_') else { return false };
    issuer.len() == 8 && issuer.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns an address with its domain in ASCII form (UTS #46). Case folding would join domains that
/// the Domain Name System distinguishes, such as `ß` and `ss`. The owner of one domain could then
/// take the name of an address at the other.
fn with_ascii_domain(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        return Cow::Borrowed(name);
    }
    let parts = name.rsplit_once('@').filter(|(_, domain)| !domain.contains('%'));
    match parts.map(|(local, domain)| (local, url::Host::parse(domain))) {
        Some((local, Ok(url::Host::Domain(ascii)))) => Cow::Owned(format!("{local}@{ascii}")),
        _ => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_at_different_domains_stay_different_names() {
        let pool = Pool::default();
        assert_ne!(pool.stored_name("v@straße.example"), pool.stored_name("v@strasse.example"));
        assert_eq!(pool.stored_name("V@STRAßE.example"), pool.stored_name("v@xn--strae-oqa.example"));
        assert_eq!(pool.stored_name("v@BÜCHER.example"), pool.stored_name("V@bücher.example"));
    }

    #[test]
    fn names_have_cognitos_characters() {
        for (name, fits) in [
            ("bob", true),
            ("Zoë+1@x.example", true),
            ("\u{1f600}", true),
            ("a b", false),
            ("a\u{a0}b", false),
            ("a\tb", false),
            ("a\u{200b}b", false),
            ("", false),
        ] {
            assert_eq!(is_name(name), fits, "{name:?}");
        }
        assert!(is_name(&"ä".repeat(128)) && !is_name(&"a".repeat(129)));
    }

    #[test]
    fn long_names_are_stored_short_and_stay_different() {
        let pool = Pool::default();
        let (one, other) = ("x".repeat(2000) + "1", "x".repeat(2000) + "2");
        assert_eq!(pool.stored_name(&one).len(), MAX_STORED_NAME);
        assert_ne!(pool.stored_name(&one), pool.stored_name(&other));
        assert_eq!(SearchKey::Name.stored(&one), SearchKey::Name.stored(&other));
    }

    #[test]
    fn a_providers_names_are_recognized() {
        assert!(is_federated_name("corp~0123abcd_alice"));
        assert!(is_federated_name("corp~0123abcd_"));
        assert!(
            !is_federated_name("corp~alice") && !is_federated_name("a_b~c_d") && !is_federated_name("bob")
        );
    }
}
