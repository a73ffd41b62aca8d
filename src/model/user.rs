//! A user of a pool.

use super::{Attributes, UserStatus};
use crate::base::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Cognito's own bound on an attribute's value.
pub const MAX_ATTRIBUTE_LENGTH: usize = 2048;
/// The longest name of a group that is taken over.
pub const MAX_GROUP_NAME_LENGTH: usize = 256;
/// How many groups are.
pub const MAX_GROUPS: usize = 1000;

/// Whether it is one e-mail address, and nothing that would pass for two.
pub fn is_address(email: &str) -> bool {
    email.split('@').count() == 2
        && !email.starts_with('@')
        && !email.ends_with('@')
        && !email.contains([',', ' ', ';', '<', '>', '"'])
        && !email.chars().any(is_invisible)
}

/// White space, control characters, and format characters that change how text looks and not what
/// it says.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A user of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The `sub`: a UUID, never used again.
    pub id: String,
    /// The number by which rows refer to the user; 0 until a node of this version has indexed a row
    /// of an older one.
    pub no: i64,
    /// The user's pool.
    pub pool_id: String,
    /// Unique in the pool.
    pub username: String,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// The status.
    pub status: UserStatus,
    /// What is known of the user.
    pub attributes: Attributes,
    /// The provider's groups, with its own names.
    pub groups: Vec<String>,
    /// The provider accounts that sign in as this user.
    pub identities: Vec<Identity>,
    /// What the providers of linked accounts say, by the provider's name: each speaks for its own
    /// sessions. The account that made the user has none; what its provider says is the user's own.
    pub profiles: BTreeMap<String, Profile>,
    /// Counts changes: what was made for an older version is stale.
    pub version: i64,
    /// When the user was first seen.
    pub created_at: Timestamp,
    /// When anything last changed.
    pub updated_at: Timestamp,
}

/// What a provider says of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The attributes.
    pub attributes: Attributes,
    /// The groups, in the provider's own words.
    pub groups: Vec<String>,
}

/// An account at an outside provider. It is compared exactly, and never by e-mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The provider's issuer or entity id.
    pub issuer: String,
    /// The account's id there.
    pub subject: String,
    /// The provider's name in this deployment.
    pub provider: String,
    /// Whether it is a SAML account: the provider's own metadata declares the issuer, and the
    /// account is then of no other provider with that issuer.
    pub saml: bool,
}

impl Default for User {
    /// Returns a user who is nobody.
    fn default() -> Self {
        Self {
            id: String::new(),
            no: 0,
            pool_id: String::new(),
            username: String::new(),
            enabled: false,
            status: UserStatus::Unknown,
            attributes: Attributes::default(),
            groups: Vec::new(),
            identities: Vec::new(),
            profiles: BTreeMap::new(),
            version: 0,
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(0),
        }
    }
}

impl User {
    /// The e-mail address, if one is known.
    pub fn email(&self) -> Option<&str> {
        self.attributes.get("email")
    }

    /// Whether the e-mail address was verified by someone who can know.
    pub fn email_verified(&self) -> bool {
        self.attributes.get("email_verified").is_some_and(|value| value == "true")
    }

    /// What to call the user on a page.
    pub fn display_name(&self) -> &str {
        self.attributes.get("name").or(self.attributes.get("email")).unwrap_or(&self.username)
    }

    /// The user as `provider` speaks of them. What another provider says must not open, or shut, a
    /// door of this one's.
    #[must_use]
    pub fn for_provider(mut self, provider: &str) -> Self {
        if let Some(Profile { attributes, groups }) = self.profiles.get(provider).cloned() {
            (self.attributes, self.groups) = (attributes, groups);
        }
        self
    }

    /// Calls an account's provider by the name that it has now; answers whether it had another.
    pub fn rename_provider(&mut self, account: &Identity) -> bool {
        let same = |known: &&mut Identity| known.issuer == account.issuer && known.subject == account.subject;
        let Some(known) = self.identities.iter_mut().find(same) else { return false };
        if known.provider == account.provider {
            return false;
        }
        let old = std::mem::replace(&mut known.provider, account.provider.clone());
        if let Some(profile) = self.profiles.remove(&old) {
            self.profiles.insert(account.provider.clone(), profile);
        }
        true
    }

    /// Whether it is known which account a session through `provider` is of: where several accounts
    /// sign in as this user, each of them speaks for its own sessions alone.
    pub fn has_unambiguous_account(&self, provider: &str) -> bool {
        self.profiles.is_empty() || self.identities.iter().any(|identity| identity.provider == provider)
    }

    /// Takes over what `provider` says now; answers whether that changed anything.
    ///
    /// Attributes that the provider no longer sends are gone: a stale e-mail or department must not
    /// go on deciding.
    pub fn apply_profile(&mut self, provider: &str, new_profile: Profile, now: Timestamp) -> bool {
        let known = self.clone().for_provider(provider);
        if known.attributes == new_profile.attributes && known.groups == new_profile.groups {
            return false;
        }
        match self.profiles.get_mut(provider) {
            Some(profile) => *profile = new_profile,
            None => (self.attributes, self.groups) = (new_profile.attributes, new_profile.groups),
        }
        self.version += 1;
        self.updated_at = now;
        true
    }
}
