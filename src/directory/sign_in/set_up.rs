//! The set-up of a software token in the middle of a sign-in.

use super::service::{SignInService, StepInput};
use super::state::{Challenge, State};
use super::{Answer, Attempt, Refusal, SignInError, step};
use crate::base::{Secret, Timestamp};
use crate::directory::answer_time::in_whole_intervals;
use crate::directory::{FactorService, NewToken, Sender};
use crate::model::User;

/// A sign-in whose user sets a token up.
struct SetUp {
    user: User,
    attempt: Attempt,
}

impl SignInService {
    /// Creates the software token of a user who has to set one up, and the session of the next
    /// step. `on_page` is whether the sign-in began on the pool's page.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException` for a session that is not of this challenge.
    pub async fn new_token(
        &self,
        (factors, on_page): (&FactorService, bool),
        sender: Sender<'_>,
        session: &str,
    ) -> Result<(NewToken, String), SignInError> {
        let SetUp { user, attempt } = self.set_up(on_page, sender, session).await?;
        let token = factors.new_token(sender.pool, &user).await?;
        Ok((token, self.next_session(sender, &attempt, false)))
    }

    /// Returns the software token that [`SignInService::new_token`] created for the session.
    ///
    /// # Errors
    /// As there.
    pub async fn pending_token(
        &self,
        (factors, on_page): (&FactorService, bool),
        sender: Sender<'_>,
        session: &str,
    ) -> Result<NewToken, SignInError> {
        let SetUp { user, .. } = self.set_up(on_page, sender, session).await?;
        Ok(factors.pending_token(sender.pool, &user).await?)
    }

    /// Takes the software token of the challenge into use, if `code` is right. Returns the session
    /// that completes the sign-in.
    ///
    /// # Errors
    /// As [`SignInService::new_token`], and those of [`FactorService::confirm_token`].
    pub async fn confirm_token(
        &self,
        (factors, on_page): (&FactorService, bool),
        sender: Sender<'_>,
        session: &str,
        code: &Secret,
    ) -> Result<String, SignInError> {
        let SetUp { user, attempt } = self.set_up(on_page, sender, session).await?;
        factors.confirm_token(sender.pool, &user, code, true).await?;
        Ok(self.next_session(sender, &attempt, true))
    }

    /// Returns the user of a session, if the next answer may set a token up.
    async fn set_up(&self, on_page: bool, sender: Sender<'_>, session: &str) -> Result<SetUp, SignInError> {
        let (pool, client) = (sender.pool.id.as_str(), sender.client.id.as_str());
        let attempt = self.sealer.open(pool, client, session, self.clock.now()).map_err(Refusal::from)?;
        let is_set_up = matches!(attempt.challenge, Challenge::SetUpFactor { .. });
        if attempt.on_page != on_page || !is_set_up {
            return Err(Refusal::InvalidSession.into());
        }
        in_whole_intervals(async {
            let user = self.store.user_by_number(attempt.user_no).await?.ok_or(Refusal::InvalidSession)?;
            let password = self.store.password(user.no).await?;
            let input = StepInput {
                sender,
                state: State::Challenged(attempt.challenge.clone()),
                answer: &Answer::Nothing,
                secret_block: &[],
                name: attempt.name.clone(),
                account_no: user.no,
                user: Some(user.clone()),
                password,
                attempt: Some(attempt.clone()),
            };
            let facts = self.facts(&input, self.clock.now()).await?;
            // Who has got a factor meanwhile answers with that one.
            match step::may_set_up(&facts) {
                true => Ok(SetUp { user, attempt }),
                false => Err(Refusal::InvalidSession.into()),
            }
        })
        .await
    }

    fn next_session(&self, sender: Sender<'_>, attempt: &Attempt, is_verified: bool) -> String {
        let now: Timestamp = self.clock.now();
        let times = (now, sender.client.settings.session_validity());
        let next = attempt.next(Challenge::SetUpFactor { is_verified }, times, &*self.entropy);
        self.sealer.seal(&sender.pool.id, &sender.client.id, &next, &*self.entropy)
    }
}
