//! Links of users to provider accounts that have not signed in yet.

use super::{Identity, User};
use serde::Serialize;
use std::borrow::Cow;

/// The name of the user pool itself in the place of a provider's name.
pub const LOCAL_PROVIDER: &str = "Cognito";
/// The name of the attribute that is an account's id at its provider.
pub const SUBJECT_ATTRIBUTE: &str = "Cognito_Subject";

/// An account by one of its attributes: the account of `provider` whose `attribute` has `value`.
///
/// A link of a user: the first account that fits signs in as this user. The link to
/// [`LOCAL_PROVIDER`] is a mark instead: the user has no password, and cannot set one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderLink {
    /// The provider's name.
    pub provider: String,
    /// An attribute of the user pool, or [`SUBJECT_ATTRIBUTE`].
    pub attribute: String,
    /// The value, compared exactly.
    pub value: String,
}

impl ProviderLink {
    /// Returns the mark of a user without a password.
    pub fn no_password(user_id: &str) -> Self {
        Self {
            provider: LOCAL_PROVIDER.to_owned(),
            attribute: SUBJECT_ATTRIBUTE.to_owned(),
            value: user_id.to_owned(),
        }
    }

    /// Returns the link as it is stored: among the accounts, with an issuer that no provider may
    /// have ([`is_link_issuer`]). So it is unique in the pool, and is deleted with its user.
    pub fn to_identity(&self) -> Identity {
        let issuer = serde_json::json!([self.provider, self.attribute]).to_string();
        let (subject, provider) = (self.value.clone(), self.provider.clone());
        Identity { issuer, subject, provider, saml: false }
    }

    /// Returns the link that is stored as `identity`, or `None` if it is an account.
    pub fn from_identity(identity: &Identity) -> Option<Self> {
        if !is_link_issuer(&identity.issuer) || identity.saml {
            return None;
        }
        let [provider, attribute] = serde_json::from_str::<[String; 2]>(&identity.issuer).ok()?;
        let value = identity.subject.clone();
        (provider == identity.provider).then_some(Self { provider, attribute, value })
    }
}

/// Returns whether an issuer has the form in which links are stored: a list in JSON.
pub fn is_link_issuer(issuer: &str) -> bool {
    issuer.starts_with('[')
}

/// An account of a user in the form of Cognito's attribute `identities`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkedIdentity<'a> {
    user_id: &'a str,
    provider_name: &'a str,
    issuer: Option<&'a str>,
    primary: bool,
    date_created: i64,
}

impl User {
    /// Returns the links to accounts that have not signed in yet.
    pub fn waiting_links(&self) -> impl Iterator<Item = &ProviderLink> {
        self.links.iter().filter(|link| link.provider != LOCAL_PROVIDER)
    }

    /// Returns whether an administrator took the password away.
    pub fn password_is_disabled(&self) -> bool {
        self.links.iter().any(|link| link.provider == LOCAL_PROVIDER)
    }

    /// Returns the accounts and links as they are stored.
    pub fn stored_accounts(&self) -> Vec<Identity> {
        self.identities.iter().cloned().chain(self.links.iter().map(ProviderLink::to_identity)).collect()
    }

    /// Returns whether the user was created by the account of `identity`: the account's data are
    /// the user's own.
    pub fn is_primary(&self, identity: &Identity) -> bool {
        !self.profiles.contains_key(&identity.provider)
    }

    /// Returns the value of the attribute `identities`: accounts, then links to accounts that have
    /// not signed in yet. `None` without any.
    pub fn identities_attribute(&self) -> Option<String> {
        let entry = |subject: &str, provider: &str, issuer: Option<&str>, primary| {
            serde_json::to_value(LinkedIdentity {
                user_id: subject,
                provider_name: provider,
                issuer,
                primary,
                date_created: self.created_at.millis(),
            })
        };
        let accounts = self.identities.iter().map(|identity| {
            let Identity { subject, provider, issuer, .. } = identity;
            entry(subject, provider, Some(issuer), self.is_primary(identity))
        });
        let links = self.waiting_links().map(|link| entry(&link.value, &link.provider, None, false));
        let all: Vec<_> = accounts.chain(links).filter_map(Result::ok).collect();
        (!all.is_empty()).then(|| serde_json::Value::Array(all).to_string())
    }

    /// Returns the attributes with `sub` before them and `identities` after them, as the API
    /// answers them.
    pub fn all_attributes(&self) -> Vec<(&str, Cow<'_, str>)> {
        let sub = std::iter::once(("sub", Cow::Borrowed(self.id.as_str())));
        let own = self.attributes.iter().map(|(name, value)| (name, Cow::Borrowed(value)));
        let identities = self.identities_attribute().map(|value| ("identities", Cow::Owned(value)));
        sub.chain(own).chain(identities).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(provider: &str, attribute: &str) -> ProviderLink {
        ProviderLink { provider: provider.into(), attribute: attribute.into(), value: "7".into() }
    }

    #[test]
    fn a_link_is_read_as_it_was_stored_and_an_account_is_none() {
        let one = link("corp", "email");
        assert_eq!(ProviderLink::from_identity(&one.to_identity()), Some(one.clone()));
        let account = Identity { issuer: "https://idp".into(), ..one.to_identity() };
        assert_eq!(ProviderLink::from_identity(&account), None);
        for other in [
            Identity { provider: "club".into(), ..one.to_identity() },
            Identity { saml: true, ..one.to_identity() },
            Identity { issuer: "[]".into(), ..one.to_identity() },
        ] {
            assert_eq!(ProviderLink::from_identity(&other), None, "{other:?}");
        }
    }

    #[test]
    fn links_of_different_providers_are_stored_differently() {
        let issuer = |provider, attribute| link(provider, attribute).to_identity().issuer;
        assert_ne!(issuer("a", "b\",\"c"), issuer("a\",\"b", "c"));
        assert_ne!(issuer("a:custom", "x"), issuer("a", "custom:x"));
        assert!(is_link_issuer(&issuer("corp", "email")) && !is_link_issuer("https://idp"));
    }

    #[test]
    fn the_mark_of_no_password_is_no_identity() {
        let user = User { links: vec![ProviderLink::no_password("sub")], ..User::default() };
        assert!(user.password_is_disabled());
        assert_eq!((user.waiting_links().count(), user.identities_attribute()), (0, None));
        let linked = User { links: vec![link("corp", SUBJECT_ATTRIBUTE)], ..User::default() };
        let text = linked.identities_attribute().unwrap();
        assert!(text.contains(r#""userId":"7""#) && text.contains(r#""primary":false"#), "{text}");
        assert!(!linked.password_is_disabled());
    }
}
