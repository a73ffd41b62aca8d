//! A user of a pool.

use crate::base::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A user's attributes by name: `email`, `name`, `custom:department`.
pub type Attributes = BTreeMap<String, String>;

/// A user of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The `sub`: a UUID, never used again.
    pub id: String,
    /// The user's pool.
    pub pool_id: String,
    /// Unique in the pool.
    pub username: String,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// What is known of the user.
    pub attributes: Attributes,
    /// The groups that the provider told of, in its own words.
    pub groups: Vec<String>,
    /// The provider accounts that sign in as this user.
    pub identities: Vec<Identity>,
    /// Counts changes: what was made for an older version is stale.
    pub version: i64,
    /// When the user was first seen.
    pub created_at: Timestamp,
    /// When anything last changed.
    pub updated_at: Timestamp,
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
}

impl User {
    /// The e-mail address, if one is known.
    pub fn email(&self) -> Option<&str> {
        self.attributes.get("email").map(String::as_str)
    }

    /// Whether the e-mail address was verified by someone who can know.
    pub fn email_verified(&self) -> bool {
        self.attributes.get("email_verified").is_some_and(|value| value == "true")
    }

    /// What to call the user on a page.
    pub fn display_name(&self) -> &str {
        self.attributes.get("name").or(self.attributes.get("email")).unwrap_or(&self.username)
    }

    /// Takes over what a provider says now; answers whether that changed anything.
    ///
    /// Attributes that the provider no longer sends are gone: a stale e-mail or department must not
    /// go on deciding.
    pub fn refresh(&mut self, attributes: Attributes, groups: Vec<String>, now: Timestamp) -> bool {
        if self.attributes == attributes && self.groups == groups {
            return false;
        }
        self.attributes = attributes;
        self.groups = groups;
        self.version += 1;
        self.updated_at = now;
        true
    }
}
