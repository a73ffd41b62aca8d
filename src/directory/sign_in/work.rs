//! The work of a step: passwords on the hashing threads, Secure Remote Password on blocking ones.

use super::reply::{BegunExchange, SignInError};
use super::service::StepInput;
use super::state::{Answer, Challenge, PasswordCheck, WorkResult};
use super::{Flow, Refusal};
use crate::base::{Duration, Entropy, KeyRing, Secret, Timestamp, sha256};
use crate::directory::new_password::{
    NewPassword, PreparedPassword, derive_verifier, parse_hash, prepare_password,
};
use crate::directory::srp::{self, Claim, Realm, SessionKey, Simulator, Verifier};
use crate::directory::{HashError, Hasher, Lockout, PasswordHash, Verdict};
use crate::store::{AccountCode, CodeCheck, PasswordFailures, Result, Store, Tx};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Exchanges that are computed at the same time, some 7 ms of a core each.
const MAX_EXCHANGES: usize = 2;
/// Exchanges that are computed or wait; others are refused at once.
const MAX_WAITING_EXCHANGES: usize = 64;
/// The longest time that an exchange waits for others.
const MAX_EXCHANGE_WAIT: Duration = Duration::from_secs(3);
/// Wrong codes until a code is void.
const MAX_CODE_ATTEMPTS: u32 = 5;
/// The purpose of the codes of sign-up.
pub const SIGN_UP_PURPOSE: &str = "sign_up";
/// Where the code of a sign-up was sent: one code is valid, whatever the channel.
pub const SIGN_UP_TARGET: &str = "account";

/// Threads and keys of the work.
pub(super) struct Workers {
    hasher: Arc<Hasher>,
    simulator: Arc<Simulator>,
    ring: Arc<KeyRing>,
    exchanges: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// A hash and a verifier of a password that was right.
pub(super) struct NewCredentials {
    set_at: Timestamp,
    hash: PasswordHash,
    verifier: Option<Verifier>,
}

impl Workers {
    /// The simulated users follow from the master key: every node has the same ones.
    pub(super) fn new(hasher: Arc<Hasher>, ring: Arc<KeyRing>) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&ring.pseudonym(b"simulated SRP users, 1"));
        key[16..].copy_from_slice(&ring.pseudonym(b"simulated SRP users, 2"));
        let exchanges = Arc::new(Semaphore::new(MAX_EXCHANGES));
        let waiting = Arc::new(Semaphore::new(MAX_WAITING_EXCHANGES));
        Self { hasher, simulator: Arc::new(Simulator::new(&key)), ring, exchanges, waiting }
    }

    /// Compares the answer's password. A user without one gets the work of a wrong password.
    pub(super) async fn check_password(
        &self,
        store: &Store,
        input: &StepInput<'_>,
    ) -> std::result::Result<PasswordCheck, SignInError> {
        let Answer::Password(password) = input.answer else { return Ok(PasswordCheck::Wrong) };
        let network = input.sender.network;
        let (Some(user), Some(stored)) = (&input.user, &input.password) else {
            return match self.hasher.verify_unknown(network, password.clone()).await {
                Ok(()) | Err(HashError::TooLong) => Ok(PasswordCheck::Wrong),
                Err(error) => Err(error.into()),
            };
        };
        let hash = Arc::new(parse_hash(&stored.hash)?);
        match self.hasher.verify(network, password.clone(), hash).await {
            Ok(Verdict::Match { needs_rehash }) => {
                let lacks_verifier =
                    input.sender.client.rules.uses_srp() && store.srp_verifier(user.no).await?.is_none();
                Ok(PasswordCheck::Right { outdated: needs_rehash || lacks_verifier })
            }
            Ok(Verdict::Mismatch) | Err(HashError::TooLong) => Ok(PasswordCheck::Wrong),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins an exchange. A user without a verifier gets a simulated one.
    pub(super) async fn begin_srp(
        &self,
        (store, entropy): (&Store, &Arc<dyn Entropy>),
        input: &StepInput<'_>,
    ) -> std::result::Result<Option<BegunExchange>, SignInError> {
        let Answer::SrpA(client_public) = input.answer else { return Ok(None) };
        let verifier = match &input.user {
            Some(user) => store.srp_verifier(user.no).await?,
            None => None,
        };
        let busy = || SignInError::Busy { retry_after: Duration::from_secs(1) };
        let place = self.waiting.clone().try_acquire_owned().map_err(|_| busy())?;
        let permit = tokio::time::timeout(MAX_EXCHANGE_WAIT, self.exchanges.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| busy())?.map_err(|_| busy())?;
        let (client_public, entropy, simulator) =
            (client_public.clone(), entropy.clone(), self.simulator.clone());
        let (pool_id, name) = (input.sender.pool.id.clone(), crate::base::base64url_encode(input.name_key));
        let begun = spawn_blocking(move || {
            // The work goes on when its client leaves, and keeps its share until it ends.
            let _permits = (permit, place);
            // Also for a user with a verifier: the time must not depend on it.
            let simulated = simulator.user(&pool_id, &name);
            let verifier = verifier.and_then(|bytes| Verifier::from_bytes(&bytes).ok());
            let challenge = match verifier {
                Some(verifier) => srp::Challenge::begin(&verifier, &client_public, &*entropy),
                None => simulated.begin(&client_public, &*entropy),
            };
            challenge.map(|challenge| (challenge, simulated.user_id().to_owned()))
        });
        let begun = begun.await.map_err(|_| busy())?;
        let names_are_ids = !input.sender.pool.settings.sign_in.username_attributes.is_empty();
        let username = input.user.as_ref().map(|user| user.username.clone());
        Ok(begun.ok().map(|(challenge, simulated_id)| BegunExchange {
            challenge,
            user_id: username.or_else(|| names_are_ids.then_some(simulated_id)),
        }))
    }

    /// Returns whether the answer proves the password of the exchange.
    pub(super) fn check_proof(&self, input: &StepInput<'_>, now: Timestamp) -> bool {
        let Answer::SrpProof { timestamp, signature } = input.answer else { return false };
        let super::State::Challenged(Challenge::PasswordVerifier { exchange, .. }) = &input.state else {
            return false;
        };
        let (Some(realm), Ok(key)) =
            (Realm::of_pool(&input.sender.pool.id), SessionKey::from_bytes(&exchange.0))
        else {
            return false;
        };
        let user_id = input.user.as_ref().map_or("", |user| user.username.as_str());
        let secret_block = input.secret_block;
        Claim { realm, user_id, secret_block, timestamp, signature }.verify(&key, now).is_ok()
    }

    /// Checks and hashes a new password.
    pub(super) async fn prepare(
        &self,
        (store, entropy): (&Store, &Arc<dyn Entropy>),
        input: &StepInput<'_>,
    ) -> std::result::Result<std::result::Result<PreparedPassword, Refusal>, SignInError> {
        let (Some(user), Answer::NewPassword { password, .. }) = (&input.user, input.answer) else {
            return Ok(Err(Refusal::InvalidSession));
        };
        let client = input.sender.client;
        let verifier_entropy = client.rules.uses_srp().then_some(entropy);
        let new = NewPassword { password, network: input.sender.network, verifier_entropy };
        match prepare_password((store, &self.hasher), &client.password_policy, user, new).await {
            Ok(prepared) => Ok(Ok(prepared)),
            Err(error) => Refusal::try_from(error).map(Err),
        }
    }

    /// Compares the code of a sign-up.
    pub(super) async fn check_code(
        &self,
        store: &Store,
        input: &StepInput<'_>,
        now: Timestamp,
    ) -> std::result::Result<WorkResult, SignInError> {
        let (Some(user), Answer::Code(code)) = (&input.user, input.answer) else {
            return Ok(WorkResult::Code(Err(Box::new(Refusal::CodeExpired))));
        };
        let account_code = AccountCode { user_no: user.no, purpose: SIGN_UP_PURPOSE, target: SIGN_UP_TARGET };
        let hash = code_hash(&self.ring, account_code, code);
        let check = store.transaction(|tx| {
            Box::pin(async move { tx.check_account_code(account_code, &hash, MAX_CODE_ATTEMPTS, now).await })
        });
        Ok(WorkResult::Code(match check.await? {
            CodeCheck::Match => Ok(()),
            CodeCheck::Mismatch => Err(Box::new(Refusal::CodeMismatch)),
            CodeCheck::Expired => Err(Box::new(Refusal::CodeExpired)),
        }))
    }

    /// Hashes the right password again, and derives a verifier where the client may use one.
    pub(super) async fn credentials(
        &self,
        entropy: &Arc<dyn Entropy>,
        input: &StepInput<'_>,
    ) -> std::result::Result<Option<NewCredentials>, SignInError> {
        let (Some(user), Some(stored), Answer::Password(password)) =
            (&input.user, &input.password, input.answer)
        else {
            return Ok(None);
        };
        let hash = match self.hasher.hash(input.sender.network, password.clone()).await {
            Ok(hash) => hash,
            // The next sign-in tries again: a right password is not refused for want of a better
            // hash.
            Err(_) => return Ok(None),
        };
        let verifier = match input.sender.client.rules.uses_srp() {
            true => derive_verifier(user, password, entropy).await,
            false => None,
        };
        Ok(Some(NewCredentials { set_at: stored.set_at, hash, verifier }))
    }
}

impl NewCredentials {
    /// Stores the credentials, unless the password was changed since.
    pub(super) async fn save(&self, tx: &mut Tx<'_>, user_no: i64, entropy: &dyn Entropy) -> Result<()> {
        let hash = self.hash.expose().as_bytes();
        if tx.replace_password_hash(user_no, self.set_at, hash, entropy).await?
            && let Some(verifier) = &self.verifier
        {
            tx.set_srp_verifier(user_no, &verifier.to_bytes()[..], entropy).await?;
        }
        Ok(())
    }
}

impl super::Rules {
    /// Returns whether a flow of the client needs verifiers for Secure Remote Password.
    pub(super) fn uses_srp(&self) -> bool {
        self.flows.iter().any(|flow| matches!(flow, Flow::UserSrp | Flow::UserAuth))
    }
}

/// Returns what is stored of a code: a digest that a copy of the database does not help to guess.
pub fn code_hash(ring: &KeyRing, of: AccountCode<'_>, code: &Secret) -> [u8; 32] {
    let AccountCode { user_no, purpose, target } = of;
    sha256(ring.pseudonym(format!("code {user_no} {purpose} {target} {}", code.expose()).as_bytes()))
}

/// Returns the lockout of stored failures.
pub(super) fn lockout(stored: Option<PasswordFailures>) -> Lockout {
    stored.map_or_else(Lockout::default, |stored| {
        Lockout::from_parts(stored.failures, stored.last_failure_at, stored.locked_until)
    })
}

/// Returns the failures to store.
pub(super) fn failures(lockout: Lockout) -> PasswordFailures {
    let (failures, last_failure_at, locked_until) = lockout.parts();
    PasswordFailures { failures, last_failure_at, locked_until }
}
