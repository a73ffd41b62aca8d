//! An identity provider of a user pool that was created with the API.

use crate::base::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The kind of an identity provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// SAML 2.0.
    Saml,
    /// Facebook.
    Facebook,
    /// Google.
    Google,
    /// Login with Amazon.
    LoginWithAmazon,
    /// Sign in with Apple.
    SignInWithApple,
    /// OpenID Connect.
    Oidc,
}

/// Every kind with its name in Cognito's API.
const KINDS: [(ProviderKind, &str); 6] = [
    (ProviderKind::Saml, "SAML"),
    (ProviderKind::Facebook, "Facebook"),
    (ProviderKind::Google, "Google"),
    (ProviderKind::LoginWithAmazon, "LoginWithAmazon"),
    (ProviderKind::SignInWithApple, "SignInWithApple"),
    (ProviderKind::Oidc, "OIDC"),
];

impl ProviderKind {
    /// Returns the name in Cognito's API.
    pub fn name(self) -> &'static str {
        let found = KINDS.iter().find(|(kind, _)| *kind == self);
        found.map(|(_, name)| *name).expect("invariant: the table has every kind")
    }

    /// Returns the kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// Returns whether the kind is social. A pool has at most one provider of such a kind, with the
    /// kind's name.
    pub fn is_social(self) -> bool {
        !matches!(self, Self::Saml | Self::Oidc)
    }
}

/// A stored identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityProvider {
    /// The number of the provider's pool.
    pub pool: i64,
    /// The name, unique in the pool.
    pub name: String,
    /// The kind.
    pub kind: ProviderKind,
    /// The settings, which are stored encrypted.
    pub settings: IdentityProviderSettings,
    /// The identifiers by which a request can select the provider, unique in the pool.
    pub identifiers: Vec<String>,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
}

/// The settings of an identity provider.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdentityProviderSettings {
    /// The details, such as `client_id` and `client_secret`.
    pub details: BTreeMap<String, String>,
    /// The pool's attributes, each with the claim from which it is read.
    pub attribute_mapping: BTreeMap<String, String>,
}

impl fmt::Debug for IdentityProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityProviderSettings")
            .field("details", &self.details.keys())
            .field("attribute_mapping", &self.attribute_mapping)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_has_no_secret() {
        let details = BTreeMap::from([("client_secret".to_owned(), "hunter2".to_owned())]);
        let settings = IdentityProviderSettings { details, ..IdentityProviderSettings::default() };
        let shown = format!("{settings:?}");
        assert!(shown.contains("client_secret") && !shown.contains("hunter2"), "{shown}");
    }
}
