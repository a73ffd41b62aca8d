//! Users from outside providers.

use crate::base::{Entropy, Timestamp, sha256, time_ordered_number, uuid};
use crate::model::{Attributes, Identity, Profile, User, UserStatus};
use crate::store::{Change, Result, Tx};
use std::collections::BTreeMap;

/// A provider account, with its claims mapped to the pool's attributes.
#[derive(Clone, Debug)]
pub struct FederatedAccount {
    /// The account's key, compared exactly.
    pub identity: Identity,
    /// The pool's attributes.
    pub attributes: Attributes,
    /// The provider's groups.
    pub groups: Vec<String>,
    /// The attributes with an address that the provider has not verified: everyone could have
    /// entered it there.
    pub unverified: Vec<String>,
    /// Attributes that the provider sends only with the first login.
    pub first_login_attributes: &'static [&'static str],
}

/// Creates or updates the user of `account`.
///
/// Users are found only by (pool, issuer, subject), never by e-mail address: a person with two
/// providers has two users.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn upsert(
    tx: &mut Tx<'_>,
    pool_id: &str,
    account: &FederatedAccount,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<User> {
    let FederatedAccount { identity, attributes, groups, first_login_attributes, .. } = account;
    if let Some(mut user) = tx.user_by_identity(pool_id, &identity.issuer, &identity.subject).await? {
        if user.rename_provider(identity) {
            tx.rename_provider(pool_id, identity).await?;
        }
        let (mut attributes, previous) =
            (attributes.clone(), user.clone().for_provider(&identity.provider).attributes);
        for name in *first_login_attributes {
            if let (false, Some(value)) = (attributes.contains(name), previous.get(name)) {
                attributes.set(name, value);
            }
        }
        if user.apply_profile(&identity.provider, Profile { attributes, groups: groups.clone() }, now) {
            tx.save_user(&user).await?;
            let pool = tx.get_or_add_pool(pool_id, now, entropy).await?;
            user.no = tx.index_user(&pool, &user, entropy).await?;
            tx.publish(&Change::User(user.id.clone()), entropy).await?;
        }
        return Ok(user);
    }
    let no = time_ordered_number(now, entropy);
    let user = User { no, ..new_user(uuid(entropy), pool_id, account.clone(), now) };
    tx.add_user(&user, entropy).await?;
    Ok(user)
}

/// Creates the user of `account` with this `sub`.
pub fn new_user(id: String, pool_id: &str, account: FederatedAccount, now: Timestamp) -> User {
    let FederatedAccount { identity, attributes, groups, .. } = account;
    User {
        id,
        no: 0,
        pool_id: pool_id.to_owned(),
        username: username(&identity),
        enabled: true,
        status: UserStatus::ExternalProvider,
        attributes,
        groups,
        identities: vec![identity],
        links: Vec::new(),
        profiles: BTreeMap::new(),
        version: 1,
        created_at: now,
        updated_at: now,
    }
}

/// Returns the user name of a provider account. Names are unique: a provider's name contains no
/// `~`, the hash has a fixed length, and the rest is the subject. The issuer is hashed into the
/// name, so a provider that is repointed cannot reuse another person's name.
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
