//! The work of a step: passwords on the hashing threads, Secure Remote Password on blocking ones.

use super::Refusal;
use super::input::StepInput;
use super::reply::{BegunExchange, SignInError};
use super::state::{Answer, Challenge, PasswordCheck};
use crate::base::{Duration, Entropy, KeyRing, Secret, Timestamp};
use crate::directory::account_code::{CodePurpose, RightCode};
use crate::directory::factors::{ByUser, TokenCheck, check_token_code, is_recovery_code};
use crate::directory::new_password::{
    NewPassword, NewPasswords, PreparedPassword, derive_verifier, parse_hash,
};
use crate::directory::remembered_devices::group_key;
use crate::directory::srp::{self, Claim, Realm, SessionKey, Simulator, Verifier};
use crate::directory::turns::Turns;
use crate::directory::{ErrorKind, HashError, PasswordHash, Verdict};
use crate::model::{Factor, FirstFactor, Pool, SignInAttribute, is_address, is_phone_number};
use crate::store::{Result, Store, Tx};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

/// Exchanges that are computed at the same time, some 7 ms of a core each.
const MAX_EXCHANGES: usize = 2;
/// Exchanges of one network that are computed or wait for the others: one network must not take
/// the places of all.
const MAX_EXCHANGES_OF_NETWORK: usize = 4;
/// Exchanges that are computed or wait; others are refused at once.
const MAX_WAITING_EXCHANGES: usize = 64;
/// The longest time that an exchange waits for others.
const MAX_EXCHANGE_WAIT: Duration = Duration::from_secs(3);

/// Threads and keys of the work.
pub(super) struct Workers {
    passwords: Arc<NewPasswords>,
    simulator: Arc<Simulator>,
    ring: Arc<KeyRing>,
    exchanges: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    networks: Turns<u64>,
}

/// A hash and a verifier of a password that was right.
pub(super) struct NewCredentials {
    set_at: Timestamp,
    hash: PasswordHash,
    verifier: Option<Verifier>,
}

impl Workers {
    /// The simulated users follow from the master key: every node has the same ones.
    pub(super) fn new(passwords: Arc<NewPasswords>, ring: Arc<KeyRing>) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&ring.pseudonym(b"simulated SRP users, 1"));
        key[16..].copy_from_slice(&ring.pseudonym(b"simulated SRP users, 2"));
        let exchanges = Arc::new(Semaphore::new(MAX_EXCHANGES));
        let waiting = Arc::new(Semaphore::new(MAX_WAITING_EXCHANGES));
        let networks = Turns::new(MAX_EXCHANGES_OF_NETWORK);
        Self { passwords, simulator: Arc::new(Simulator::new(&key)), ring, exchanges, waiting, networks }
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
            return self.check_unknown(network, password).await;
        };
        let hash = Arc::new(parse_hash(&stored.hash)?);
        match self.passwords.hasher.verify(network, password.clone(), hash).await {
            Ok(Verdict::Match { needs_rehash }) => {
                let lacks_verifier =
                    input.sender.keeps_verifiers && store.srp_verifier(user.no).await?.is_none();
                Ok(PasswordCheck::Right { outdated: needs_rehash || lacks_verifier })
            }
            // The hash of another system may take less time than that of a name without a user.
            Ok(Verdict::Mismatch) if !stored.hash.starts_with(b"$argon2") => {
                self.check_unknown(network, password).await
            }
            Ok(Verdict::Mismatch) | Err(HashError::TooLong) => Ok(PasswordCheck::Wrong),
            Err(error) => Err(error.into()),
        }
    }

    /// Does the work for a name without a user.
    async fn check_unknown(
        &self,
        network: u64,
        password: &Secret,
    ) -> std::result::Result<PasswordCheck, SignInError> {
        match self.passwords.hasher.verify_unknown(network, password.clone()).await {
            Ok(()) | Err(HashError::TooLong) => Ok(PasswordCheck::Wrong),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins an exchange. A user without a verifier gets a simulated one.
    pub(super) async fn begin_srp(
        &self,
        (store, entropy): (&Store, &Arc<dyn Entropy>),
        input: &StepInput<'_>,
    ) -> std::result::Result<Option<BegunExchange>, SignInError> {
        let verifier = store.srp_verifier(input.account_no).await?;
        self.begin_exchange(entropy, input, verifier).await
    }

    /// Begins the exchange of the device of the challenge. One that has been forgotten gets a
    /// simulated one.
    pub(super) async fn begin_device_srp(
        &self,
        (store, entropy): (&Store, &Arc<dyn Entropy>),
        input: &StepInput<'_>,
    ) -> std::result::Result<Option<BegunExchange>, SignInError> {
        let key = input.device_key().unwrap_or_default();
        let device = store.remembered_device(input.account_no, key).await?;
        self.begin_exchange(entropy, input, device.map(|device| device.verifier)).await
    }

    async fn begin_exchange(
        &self,
        entropy: &Arc<dyn Entropy>,
        input: &StepInput<'_>,
        verifier: Option<Zeroizing<Vec<u8>>>,
    ) -> std::result::Result<Option<BegunExchange>, SignInError> {
        let Answer::SrpA(client_public) = input.answer else { return Ok(None) };
        let busy = SignInError::busy;
        let _turn = self.networks.wait(input.sender.network).await.ok_or_else(busy)?;
        let place = self.waiting.clone().try_acquire_owned().map_err(|_| busy())?;
        let permit = tokio::time::timeout(MAX_EXCHANGE_WAIT, self.exchanges.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| busy())?.map_err(|_| busy())?;
        let (client_public, entropy, simulator) =
            (client_public.clone(), entropy.clone(), self.simulator.clone());
        let pool_id = input.sender.pool.id.clone();
        let name = crate::base::base64url_encode(input.sender.pool.stored_name(&input.name));
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
        let username = input.user.as_ref().map(|user| user.username.clone());
        let simulated = |id| simulated_username(input.sender.pool, &input.name, id);
        Ok(begun.ok().map(|(challenge, id)| BegunExchange {
            challenge,
            user_id: username.unwrap_or_else(|| simulated(id)),
        }))
    }

    /// Returns the user name that answers have for a name without a user.
    pub(super) fn simulated_username(&self, pool: &Pool, typed: &str) -> String {
        let name = crate::base::base64url_encode(pool.stored_name(typed));
        simulated_username(pool, typed, self.simulator.user(&pool.id, &name).user_id().to_owned())
    }

    /// Returns whether the answer proves the password of the exchange.
    pub(super) fn check_proof(&self, input: &StepInput<'_>, now: Timestamp) -> bool {
        let Answer::SrpProof { timestamp, signature } = input.answer else { return false };
        let pool = input.sender.pool;
        let (group, username);
        let (realm, user_id, exchange) = match &input.state {
            super::State::Challenged(Challenge::PasswordVerifier { exchange, .. }) => {
                username = input.user.as_ref().map_or("", |user| user.username.as_str());
                (Realm::of_pool(&pool.id), username, exchange)
            }
            super::State::Challenged(Challenge::DeviceVerifier { key, exchange }) => {
                group = group_key(&self.ring, pool);
                (Some(Realm::of_device_group(&group)), key.as_str(), exchange)
            }
            _ => return false,
        };
        let (Some(realm), Ok(key)) = (realm, SessionKey::from_bytes(&exchange.0)) else { return false };
        let secret_block = input.secret_block;
        Claim { realm, user_id, secret_block, timestamp, signature }.verify(&key, now).is_ok()
    }

    /// Checks and hashes a new password.
    pub(super) async fn prepare(
        &self,
        entropy: &Arc<dyn Entropy>,
        input: &StepInput<'_>,
    ) -> std::result::Result<std::result::Result<PreparedPassword, Refusal>, SignInError> {
        let (Some(user), Answer::NewPassword { password, .. }) = (&input.user, input.answer) else {
            return Ok(Err(Refusal::InvalidSession));
        };
        let sender = input.sender;
        let verifier_entropy = sender.keeps_verifiers.then_some(entropy);
        let new = NewPassword { password, network: sender.network, verifier_entropy };
        let policy = &sender.pool.settings.password_policy;
        match self.passwords.prepare(policy, user, new).await {
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
    ) -> std::result::Result<std::result::Result<RightCode, Refusal>, SignInError> {
        let (Some(user), Answer::Code(code)) = (&input.user, input.answer) else {
            return Ok(Err(Refusal::CodeExpired));
        };
        self.check_sent_code(store, CodePurpose::SignUp, ((user.no, false), code), now).await
    }

    /// Checks the code of a second factor. Returns one that was sent in a message; those of tokens
    /// and recovery codes are used up.
    pub(super) async fn check_factor(
        &self,
        store: &Store,
        input: &StepInput<'_>,
        factor: Factor,
        now: Timestamp,
    ) -> std::result::Result<std::result::Result<Option<RightCode>, Refusal>, SignInError> {
        let (Some(user), Answer::Code(code)) = (&input.user, input.answer) else {
            return Ok(Err(Refusal::InvalidSession));
        };
        if factor == Factor::SoftwareToken || is_recovery_code(code) {
            let client_id = Some(&*input.sender.client.id);
            let by = ByUser { pool: input.sender.pool, user, client_id };
            let check = check_token_code((store, &self.ring), (by, factor), code, now).await?;
            return Ok(match check {
                TokenCheck::Right => Ok(None),
                TokenCheck::Wrong => Err(Refusal::CodeMismatch),
                TokenCheck::Used => Err(Refusal::TokenCodeUsed),
                TokenCheck::Locked => Err(Refusal::AttemptsExceeded),
            });
        }
        let purpose = CodePurpose::SecondFactor(factor, input.sender.client.settings.session_validity());
        let code = &purpose.of_client(Some(&input.sender.client.id), code);
        self.check_sent_code(store, purpose, ((user.no, false), code), now)
            .await
            .map(|result| result.map(Some))
    }

    /// Compares the code that replaces a password. It is of the address that the user has now.
    pub(super) async fn check_first_code(
        &self,
        store: &Store,
        input: &StepInput<'_>,
        factor: Factor,
        now: Timestamp,
    ) -> std::result::Result<std::result::Result<RightCode, Refusal>, SignInError> {
        let Answer::Code(code) = input.answer else { return Ok(Err(Refusal::CodeMismatch)) };
        let settings = &input.sender.client.settings;
        let purpose = CodePurpose::FirstFactor(factor, settings.session_validity());
        let code = &purpose.of_client(Some(&input.sender.client.id), code);
        let account = (input.account_no, settings.hide_unknown_users);
        let address = factor.address().map(|address| address.name());
        let address = input.user.as_ref().zip(address).and_then(|(user, name)| user.attributes.get(name));
        Ok(match self.check_sent_code(store, purpose, (account, code), now).await? {
            Ok(right) if address == Some(&right.address) => Ok(right),
            Ok(_) => Err(Refusal::CodeMismatch),
            Err(refusal) => Err(refusal),
        })
    }

    /// Returns the first factors of a name without a user. They follow from the name: every
    /// combination occurs, so that none reveals that a user exists.
    pub(super) fn simulated_first_factors(&self, pool: &Pool, name: &str) -> Vec<FirstFactor> {
        let mut text = format!("first factors {} ", pool.no).into_bytes();
        text.extend(pool.stored_name(name));
        let [for_password, for_email, for_sms, ..] = self.ring.pseudonym(&text);
        let has = |of: &FirstFactor| match of {
            FirstFactor::Password => for_password >= 16,
            FirstFactor::Email => for_email >= 16 || is_address(name),
            FirstFactor::Sms => for_sms >= 128 || is_phone_number(name),
        };
        let allowed = &pool.settings.first_factors;
        let some: Vec<_> = allowed.iter().copied().filter(has).collect();
        if some.is_empty() { allowed.clone() } else { some }
    }

    /// Compares a code that was sent in a message.
    async fn check_sent_code(
        &self,
        store: &Store,
        purpose: CodePurpose,
        (account, code): ((i64, bool), &Secret),
        now: Timestamp,
    ) -> std::result::Result<std::result::Result<RightCode, Refusal>, SignInError> {
        match purpose.check((store, &self.ring), account, code, now).await {
            Ok(right) => Ok(Ok(right)),
            Err(error) => match error.kind() {
                ErrorKind::CodeMismatch => Ok(Err(Refusal::CodeMismatch)),
                ErrorKind::CodeExpired => Ok(Err(Refusal::CodeExpired)),
                ErrorKind::LimitExceeded => Ok(Err(Refusal::AttemptsExceeded)),
                _ => Err(error.into()),
            },
        }
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
        let hash = match self.passwords.hasher.hash(input.sender.network, password.clone()).await {
            Ok(hash) => hash,
            // The next sign-in tries again: a right password is not refused for want of a better
            // hash.
            Err(_) => return Ok(None),
        };
        let verifier = match input.sender.keeps_verifiers {
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

/// Returns the user name of a name without a user. It is the id of a simulated user where a user
/// name cannot be what was typed, and otherwise the name as it is compared.
fn simulated_username(pool: &Pool, typed: &str, simulated_id: String) -> String {
    let sign_in = &pool.settings.sign_in;
    let is_alias = sign_in.alias_attributes.iter().any(|attribute| match attribute {
        SignInAttribute::Email => is_address(typed),
        SignInAttribute::PhoneNumber => is_phone_number(typed),
        SignInAttribute::PreferredUsername => false,
    });
    match String::from_utf8(pool.stored_name(typed)) {
        _ if is_alias || !sign_in.username_attributes.is_empty() => simulated_id,
        Ok(folded) => folded,
        Err(_) => typed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PoolSettings, SignInSettings};

    #[test]
    fn the_user_name_of_nobody_is_the_name_as_it_is_compared() {
        let name = |sign_in: SignInSettings, typed: &str| {
            let settings = PoolSettings { sign_in, ..Default::default() };
            simulated_username(&Pool { settings, ..Pool::default() }, typed, "id".to_owned())
        };
        let plain = SignInSettings::default;
        assert_eq!(name(plain(), "ADA"), "ada");
        assert_eq!(name(SignInSettings { case_sensitive: true, ..plain() }, "ADA"), "ADA");
        let aliases = || vec![SignInAttribute::Email];
        assert_eq!(name(SignInSettings { username_attributes: aliases(), ..plain() }, "ADA"), "id");
        let by_alias = || SignInSettings { alias_attributes: aliases(), ..plain() };
        assert_eq!((&*name(by_alias(), "a@b.example"), &*name(by_alias(), "ADA")), ("id", "ada"));
    }
}
