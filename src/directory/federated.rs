//! Users who come through an outside provider.

use crate::base::{Entropy, Timestamp, sha256, uuid};
use crate::model::{Attributes, Identity, Profile, User};
use crate::store::{Change, Result, Tx};
use std::collections::BTreeMap;

/// What a provider says of a person, mapped to the pool's attributes.
#[derive(Clone, Debug)]
pub struct FederatedAccount {
    /// The provider account, compared exactly.
    pub identity: Identity,
    /// The pool's attributes.
    pub attributes: Attributes,
    /// The provider's groups.
    pub groups: Vec<String>,
    /// The attributes that the provider tells only the first time.
    pub first_login_attributes: &'static [&'static str],
}

/// Creates or updates the user that `account` signs in as.
///
/// A person who comes through two providers is two users: nothing but (pool, issuer, subject)
/// finds a user here, and never an e-mail address.
///
/// # Errors
/// Where the store does not answer.
pub async fn upsert(
    tx: &mut Tx<'_>,
    pool_id: &str,
    account: &FederatedAccount,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<User> {
    let FederatedAccount { identity, attributes, groups, first_login_attributes: told_once } = account;
    if let Some(mut user) = tx.user_by_identity(pool_id, &identity.issuer, &identity.subject).await? {
        if user.rename_provider(identity) {
            tx.rename_provider(pool_id, identity).await?;
        }
        let (mut attributes, known) =
            (attributes.clone(), user.clone().for_provider(&identity.provider).attributes);
        for name in *told_once {
            if let (false, Some(known)) = (attributes.contains(name), known.get(name)) {
                attributes.set(name, known);
            }
        }
        if user.apply_profile(&identity.provider, Profile { attributes, groups: groups.clone() }, now) {
            tx.save_user(&user).await?;
            tx.publish(&Change::User(user.id.clone()), entropy).await?;
        }
        return Ok(user);
    }
    let user = new_user(uuid(entropy), pool_id, account.clone(), now);
    tx.add_user(&user).await?;
    Ok(user)
}

/// The user that `account` makes, with this `sub`.
pub fn new_user(id: String, pool_id: &str, account: FederatedAccount, now: Timestamp) -> User {
    let FederatedAccount { identity, attributes, groups, .. } = account;
    User {
        id,
        pool_id: pool_id.to_owned(),
        username: username(&identity),
        enabled: true,
        attributes,
        groups,
        identities: vec![identity],
        profiles: BTreeMap::new(),
        version: 1,
        created_at: now,
        updated_at: now,
    }
}

/// The user name of a provider account. Different accounts have different names: a provider's name
/// holds no `~`, the part behind it has a fixed length, and the subject is everything after that.
/// The issuer is in it, so that a provider pointed elsewhere gives nobody another person's name.
pub(super) fn username(identity: &Identity) -> String {
    let [a, b, c, d, ..] = sha256(&identity.issuer);
    let issuer = u32::from_be_bytes([a, b, c, d]);
    format!("{}~{issuer:08x}_{}", identity.provider, identity.subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_tell_accounts_apart() {
        let name = |provider: &str, issuer: &str, subject: &str| {
            username(&Identity {
                issuer: issuer.into(),
                subject: subject.into(),
                provider: provider.into(),
                saml: false,
            })
        };
        assert_ne!(name("a", "https://i", "b_c"), name("a_b", "https://i", "c"));
        assert_ne!(name("a", "https://i", "x"), name("a", "https://j", "x"));
        assert_ne!(name("a", "https://i", "x"), name("a", "https://i", "X"));
    }
}
