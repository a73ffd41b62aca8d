//! A resource server of a user pool: an API, and the scopes that app clients can request for it.

use super::PoolSource;
use crate::base::Timestamp;
use serde::{Deserialize, Serialize};

/// A stored resource server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceServer {
    /// The number of the resource server's pool.
    pub pool: i64,
    /// The prefix of the scopes' names, unique in the pool.
    pub identifier: String,
    /// Where the resource server is declared.
    pub source: PoolSource,
    /// The settings.
    pub settings: ResourceServerSettings,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
}

/// The settings of a resource server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceServerSettings {
    /// The name.
    pub name: String,
    /// The scopes.
    pub scopes: Vec<ResourceScope>,
}

/// A scope of a resource server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceScope {
    /// The name, without the identifier.
    pub name: String,
    /// The description.
    pub description: String,
}

impl ResourceServer {
    /// Returns whether `scope` is the full name of one of the scopes: `identifier/name`.
    pub fn has_scope(&self, scope: &str) -> bool {
        let name = scope.strip_prefix(&self.identifier).and_then(|rest| rest.strip_prefix('/'));
        name.is_some_and(|name| self.settings.scopes.iter().any(|scope| scope.name == name))
    }
}
