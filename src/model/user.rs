//! A user of a pool.

use super::{Attributes, ProviderLink, UserStatus};
use crate::base::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Maximum length of an attribute's value, in characters: Cognito's limit.
pub const MAX_ATTRIBUTE_LENGTH: usize = 2048;
/// Maximum length of the name of a provider's group.
pub const MAX_GROUP_NAME_LENGTH: usize = 256;
/// Maximum number of a user's groups from a provider.
pub const MAX_GROUPS: usize = 1000;

/// Returns whether `email` is a single e-mail address, which no software reads as two.
pub fn is_address(email: &str) -> bool {
    email.split('@').count() == 2
        && !email.starts_with('@')
        && !email.ends_with('@')
        && !email.contains([',', ' ', ';', '<', '>', '"'])
        && !email.chars().any(is_invisible)
}

/// Returns whether `c` is white space, a control character, or a format character that changes only
/// the display of a text.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A user of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The `sub`: a UUID that is never reused.
    pub id: String,
    /// The number by which database rows refer to the user. It is 0 until a node of this version
    /// has indexed a row of an older one.
    pub no: i64,
    /// The id of the user's pool.
    pub pool_id: String,
    /// The user name, unique in the pool.
    pub username: String,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// The status.
    pub status: UserStatus,
    /// The attributes.
    pub attributes: Attributes,
    /// The groups from the provider, with the provider's names.
    pub groups: Vec<String>,
    /// The provider accounts that sign in as this user.
    pub identities: Vec<Identity>,
    /// Links that an administrator made before the account signed in.
    pub links: Vec<ProviderLink>,
    /// The profiles of linked provider accounts, by the provider's name. Each profile applies to
    /// sessions through its provider. The account that created the user has no profile: its data
    /// are the user's own attributes and groups.
    pub profiles: BTreeMap<String, Profile>,
    /// The number of changes. Data derived from an older version are stale.
    pub version: i64,
    /// When the user was created.
    pub created_at: Timestamp,
    /// When the user last changed.
    pub updated_at: Timestamp,
}

/// The data that a provider sent about a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The attributes.
    pub attributes: Attributes,
    /// The groups, with the provider's names.
    pub groups: Vec<String>,
}

/// An account at an external provider. Accounts are compared exactly, and never by e-mail address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The provider's issuer or entity id.
    pub issuer: String,
    /// The account's id at the provider.
    pub subject: String,
    /// The provider's name in this deployment.
    pub provider: String,
    /// Whether this is a SAML account. Its issuer is declared by the provider's own metadata, so
    /// that the account belongs to no other provider with that issuer.
    pub saml: bool,
}

impl Default for User {
    /// Returns a user without any data, who cannot sign in.
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
            links: Vec::new(),
            profiles: BTreeMap::new(),
            version: 0,
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(0),
        }
    }
}

impl User {
    /// Returns the e-mail address, if the user has one.
    pub fn email(&self) -> Option<&str> {
        self.attributes.get("email")
    }

    /// Returns whether the e-mail address is verified.
    pub fn email_verified(&self) -> bool {
        self.attributes.get("email_verified").is_some_and(|value| value == "true")
    }

    /// Returns whether an account of a provider may sign in as this user. The password's state does
    /// not matter: a user who must set a new one may have another way to sign in.
    pub fn may_sign_in_by_provider(&self) -> bool {
        use UserStatus::{Confirmed, ExternalProvider, ForceChangePassword, ResetRequired};
        self.enabled
            && matches!(self.status, Confirmed | ExternalProvider | ForceChangePassword | ResetRequired)
    }

    /// Returns the name of the user for display on pages.
    pub fn display_name(&self) -> &str {
        self.attributes.get("name").or(self.attributes.get("email")).unwrap_or(&self.username)
    }

    /// Returns the user with the attributes and groups that `provider` sent. Data of another
    /// provider must not affect the access of sessions through `provider`.
    #[must_use]
    pub fn for_provider(mut self, provider: &str) -> Self {
        if let Some(Profile { attributes, groups }) = self.profiles.get(provider).cloned() {
            (self.attributes, self.groups) = (attributes, groups);
        }
        self
    }

    /// Updates the name of an account's provider. Returns whether it had another name.
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

    /// Returns whether the account of a session through `provider` is known. If several accounts
    /// sign in as this user, each profile applies only to sessions through its own provider.
    pub fn has_unambiguous_account(&self, provider: &str) -> bool {
        self.profiles.is_empty() || self.identities.iter().any(|identity| identity.provider == provider)
    }

    /// Stores the data that `provider` sent now. Returns whether anything changed.
    ///
    /// Attributes that the provider no longer sends are removed: an outdated e-mail address or
    /// department must not affect decisions.
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
