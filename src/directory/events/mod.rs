//! The events of a pool at which its functions are called. Each call is outside of a transaction.

mod custom_auth;
mod federated;
mod messages;
mod migration;
mod sign_in;
mod sign_up;
mod tokens;

pub use federated::InboundProvider;
pub use tokens::TokenSource;

pub(super) use custom_auth::Challenged;
pub(super) use messages::MessageSource;
pub(super) use sign_up::{ConfirmationSource, SignUpSource};

use super::error::{DirectoryError, ErrorKind};
use super::new_password::NewPasswords;
use super::sender::Sender;
use super::service::DirectoryDeps;
use crate::base::{Clock, Entropy, KeyRing};
use crate::store::Store;
use crate::trigger::{Subject, TriggerError, TriggerErrorKind, Triggers};
use std::sync::Arc;

/// Calls the functions of pools, and applies their answers.
pub struct PoolEvents {
    store: Store,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Hashes the passwords of users from other systems.
    passwords: Arc<NewPasswords>,
    triggers: Triggers,
}

impl PoolEvents {
    /// Creates the events of a deployment.
    pub fn new(deps: DirectoryDeps, passwords: Arc<NewPasswords>) -> Self {
        let DirectoryDeps { store, ring, clock, entropy, catalogue } = deps;
        let triggers = Triggers::new(catalogue, clock.clone(), entropy.clone());
        Self { store, ring, clock, entropy, passwords, triggers }
    }
}

impl<'a> Sender<'a> {
    /// Returns what the events of a request are about: the user with this name.
    pub(super) fn subject(&self, username: &'a str) -> Subject<'a> {
        Subject { pool: self.pool, client_id: Some(&self.client.id), username }
    }
}

impl From<TriggerError> for DirectoryError {
    fn from(error: TriggerError) -> Self {
        let kind = match error.kind {
            TriggerErrorKind::Denied => ErrorKind::UserLambdaValidation,
            TriggerErrorKind::Unexpected => ErrorKind::UnexpectedLambda,
            TriggerErrorKind::InvalidResponse => ErrorKind::InvalidLambdaResponse,
        };
        Self::new(kind, error.message)
    }
}
