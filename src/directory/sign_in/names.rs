//! What a client answers with: the sessions of challenges, and the names of their users.

use super::Attempt;
use super::input::StepInput;
use super::reply::{Reply, SignInError};
use super::service::SignInService;
use super::state::{Challenge, Flow, Rules};
use crate::directory::Sender;
use crate::directory::answer_time::in_whole_intervals;
use crate::directory::password_attempts::account_no;
use crate::directory::remembered_devices::MAX_DEVICE_KEY_LENGTH;
use crate::model::{Factor, User};
use crate::store::Lookup;

/// What identifies a challenge that a client answers.
#[derive(Clone, Copy, Debug)]
pub enum ChallengeId<'a> {
    /// The `Session` string.
    Session(&'a str),
    /// The bytes of `PASSWORD_CLAIM_SECRET_BLOCK`.
    SecretBlock(&'a [u8]),
}

/// The names of the user of a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeNames {
    /// What the client sent at the beginning.
    pub typed: String,
    /// The user name; a simulated one for a name without a user.
    pub username: String,
}

impl SignInService {
    /// Returns the session with which a user who has just confirmed the sign-up signs in, by
    /// [`Answer::Nothing`](super::Answer::Nothing); `None` for a client without
    /// [`Flow::UserAuth`]. `verified` is the factor to whose address the code was sent.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn confirmed_session(
        &self,
        sender: Sender<'_>,
        user: &User,
        verified: Factor,
    ) -> Result<Option<String>, SignInError> {
        let (client, pool) = (&sender.client.settings, &sender.pool.settings);
        if !Rules::of(client, pool).flows.contains(&Flow::UserAuth) {
            return Ok(None);
        }
        let password = self.store.password(user.no).await?;
        let password_set_at = password.map_or(0, |password| password.set_at.millis());
        let challenge = Challenge::SignUpConfirmed { verified, password_set_at };
        let (times, entropy) = ((self.clock.now(), client.session_validity()), &*self.entropy);
        let attempt = Attempt::begin(&user.username, user.no, challenge, times, entropy);
        Ok(Some(self.sealer.seal(&sender.pool.id, &sender.client.id, &attempt, entropy)))
    }

    /// Returns the session of the sign-in that waits for the device that the sender names, for
    /// clients that do not return it. It is one of the same network; `None` without one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn session_of_device(
        &self,
        sender: Sender<'_>,
        name: &str,
    ) -> Result<Option<String>, SignInError> {
        let key = sender.device_key.filter(|key| key.len() <= MAX_DEVICE_KEY_LENGTH).unwrap_or_default();
        in_whole_intervals(async {
            let user = self.store.find_user(sender.pool, name, Lookup::SignIn).await?;
            let account_no = account_no(&self.ring, sender.pool, name, user.as_ref());
            let session = self.store.session_of_device(account_no, key).await?;
            let (pool, client) = (&sender.pool.id, &sender.client.id);
            Ok(session.filter(|session| {
                let attempt = self.sealer.open(pool, client, session, self.clock.now());
                attempt.is_ok_and(|attempt| attempt.network == Some(sender.network))
            }))
        })
        .await
    }

    /// Keeps the session of a challenge for [`SignInService::session_of_device`].
    pub(super) async fn keep_session_of_device(
        &self,
        input: &StepInput<'_>,
        reply: &Reply,
    ) -> Result<(), SignInError> {
        let Reply::Challenge(reply) = reply else { return Ok(()) };
        let Challenge::Device { key } = &reply.challenge else { return Ok(()) };
        let (account_no, session) = (input.account_no, &reply.session);
        let kept = self
            .store
            .transaction(|tx| Box::pin(async move { tx.set_device_session(account_no, key, session).await }));
        Ok(kept.await?)
    }

    /// Returns the names of the user of a challenge; `None` for a challenge that is not valid.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn names(
        &self,
        sender: Sender<'_>,
        challenge: ChallengeId<'_>,
    ) -> Result<Option<ChallengeNames>, SignInError> {
        let (pool, client, now) = (sender.pool.id.as_str(), sender.client.id.as_str(), self.clock.now());
        let attempt = match challenge {
            ChallengeId::Session(session) => self.sealer.open(pool, client, session, now),
            ChallengeId::SecretBlock(block) => self.sealer.open_bytes(pool, client, block, now),
        };
        let Some(attempt) = attempt.ok().filter(|attempt| !attempt.on_page) else { return Ok(None) };
        in_whole_intervals(async {
            let user = self.store.user_by_number(attempt.user_no).await?;
            // Also for a known name: the time must not depend on it.
            let simulated = self.workers.simulated_username(sender.pool, &attempt.name);
            let username = user.map_or(simulated, |user| user.username);
            Ok(Some(ChallengeNames { typed: attempt.name, username }))
        })
        .await
    }
}
