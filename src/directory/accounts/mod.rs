//! The life of an account: sign-up, codes, passwords and addresses, by users and by administrators.
//! Pages, OAuth endpoints and the Cognito API call it; none of them holds a rule of its own.
//!
//! Passwords are compared and hashed outside of transactions. Each change, with its codes and
//! messages, is one transaction: a crash leaves nothing half done.

mod admin_changes;
mod administration;
mod attributes;
mod code_delivery;
mod factor_code;
mod link;
mod password;
mod pool_messages;
mod providers;
mod recovery;
mod sign_up;

pub use administration::{AdminNewUser, Administration, Invitation};
pub use code_delivery::CodeDelivery;
pub(super) use factor_code::{CodeAccount, FactorMessage};
pub use link::{ConfirmationLink, LinkState};
pub use sign_up::{SignUp, SignedUp};

pub(super) use pool_messages::{html_template, sms_template};

use super::account_code::CodeSource;
use super::error::{ErrorKind, Outcome};
use super::events::PoolEvents;
use super::new_password::{NewPassword, NewPasswords, PreparedPassword};
use super::password_attempts::account_no;
use super::service::DirectoryDeps;
use crate::base::{Clock, Entropy, KeyRing, Secret};
use crate::catalogue::CatalogueCell;
use crate::model::{MfaMode, Pool, User, UserFactors};
use crate::store::{Lookup, Store, Tx};
use std::sync::Arc;

/// Changes accounts of user pools.
pub struct AccountService {
    store: Store,
    passwords: Arc<NewPasswords>,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// The settings of messages.
    catalogue: Arc<CatalogueCell>,
    /// The codes in messages.
    codes: Arc<dyn CodeSource>,
    events: Arc<PoolEvents>,
}

/// The account that a name is of: a user, or nobody.
struct Account {
    user: Option<User>,
    /// The user's number, or a negative one that follows from the name.
    no: i64,
}

impl AccountService {
    /// Creates the service of a deployment.
    pub(super) fn new(
        deps: DirectoryDeps,
        passwords: Arc<NewPasswords>,
        (codes, events): (Arc<dyn CodeSource>, Arc<PoolEvents>),
    ) -> Self {
        let DirectoryDeps { store, ring, clock, entropy, catalogue } = deps;
        Self { store, passwords, ring, clock, entropy, catalogue, codes, events }
    }

    /// Returns the account of a name at sign-in.
    async fn account(&self, pool: &Pool, name: &str) -> Outcome<Account> {
        let user = self.store.find_user(pool, name, Lookup::SignIn).await?;
        let no = account_no(&self.ring, pool, name, user.as_ref());
        Ok(Account { user, no })
    }

    /// Returns the second factors of an account. A pool without second factors needs no statement;
    /// in another one a name without a user costs the same.
    async fn factors(&self, pool: &Pool, account_no: i64) -> Outcome<UserFactors> {
        match pool.settings.mfa.mode {
            MfaMode::Off => Ok(UserFactors::default()),
            MfaMode::Optional | MfaMode::Required => Ok(self.store.factors(account_no).await?),
        }
    }

    /// Checks and hashes a new password of `user`.
    async fn prepare(
        &self,
        pool: &Pool,
        user: &User,
        password: &Secret,
        (network, keeps_verifiers): (u64, bool),
    ) -> Outcome<PreparedPassword> {
        let verifier_entropy = keeps_verifiers.then_some(&self.entropy);
        let new = NewPassword { password, network, verifier_entropy };
        let policy = &pool.settings.password_policy;
        Ok(self.passwords.prepare(policy, user, new).await?)
    }
}

/// Returns the user with this number as stored now.
async fn current(tx: &mut Tx<'_>, no: i64) -> Outcome<User> {
    tx.user_by_number(no).await?.ok_or_else(|| ErrorKind::UserNotFound.into())
}

/// Writes the audit line of a change. `client_id` is of the client through which the user made it;
/// an administrator has none.
pub(super) fn audit(change: &str, user: &User, client_id: Option<&str>) {
    let (sub, pool) = (&*user.id, &*user.pool_id);
    tracing::info!(target: "audit", event = "account_changed", change, sub, pool, client_id);
}
