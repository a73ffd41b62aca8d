//! The set-up of a software token in the middle of a sign-in. The secret is in the session: a
//! session shows and confirms the token that it created, and no other one.

use super::input::StepInput;
use super::service::SignInService;
use super::state::{Challenge, State, TokenSecret};
use super::{Answer, Attempt, Refusal, SignInError, second_factor};
use crate::base::{Secret, Timestamp};
use crate::directory::answer_time::in_whole_intervals;
use crate::directory::{ByUser, ErrorKind, FactorService, NewToken, Sender};
use crate::model::User;

/// A sign-in whose user sets a token up.
struct SetUp {
    user: User,
    attempt: Attempt,
    secret: Option<TokenSecret>,
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
        let SetUp { user, attempt, .. } = self.set_up(on_page, sender, session).await?;
        let (token, secret) = factors.new_token_of_session(sender.pool, &user)?;
        let next = Challenge::SetUpFactor { is_verified: false, secret: Some(TokenSecret(secret.to_vec())) };
        Ok((token, self.next_session(sender, &attempt, next)))
    }

    /// Returns the session of a step-up that `session` is about; `None` in a new sign-in, and for a
    /// text that is not a session.
    pub fn session_of_step_up(&self, sender: Sender<'_>, session: &str) -> Option<String> {
        let (pool, client) = (sender.pool.id.as_str(), sender.client.id.as_str());
        let attempt = self.sealer.open(pool, client, session, self.clock.now()).ok()?;
        attempt.step_up.map(|of| of.session_id)
    }

    /// Returns the software token of the session, to show it again.
    ///
    /// # Errors
    /// As [`SignInService::new_token`].
    pub async fn pending_token(
        &self,
        on_page: bool,
        sender: Sender<'_>,
        session: &str,
    ) -> Result<NewToken, SignInError> {
        let SetUp { user, secret, .. } = self.set_up(on_page, sender, session).await?;
        let secret = secret.ok_or(Refusal::InvalidSession)?;
        Ok(NewToken::new(sender.pool, &user, &secret.0))
    }

    /// Takes the software token of the session into use, if `code` is right. Returns the session
    /// that completes the sign-in; the given one is spent.
    ///
    /// # Errors
    /// As [`SignInService::new_token`]; `EnableSoftwareTokenMFAException` for a wrong code.
    pub async fn confirm_token(
        &self,
        (factors, on_page): (&FactorService, bool),
        sender: Sender<'_>,
        session: &str,
        code: &Secret,
    ) -> Result<String, SignInError> {
        let SetUp { user, attempt, secret } = self.set_up(on_page, sender, session).await?;
        let secret = secret.ok_or(Refusal::InvalidSession)?;
        let by = ByUser { pool: sender.pool, user: &user, client_id: Some(&sender.client.id) };
        let spent = (&*attempt.id, Timestamp::from_millis(attempt.expires_at));
        match factors.enable_token(by, &secret.0, code, (spent, true)).await {
            // Another request was faster.
            Err(error) if error.kind() == ErrorKind::CodeExpired => {
                return Err(Refusal::InvalidSession.into());
            }
            confirmed => confirmed?,
        }
        let next = Challenge::SetUpFactor { is_verified: true, secret: None };
        Ok(self.next_session(sender, &attempt, next))
    }

    /// Returns the user of a session, if the next answer may set a token up.
    async fn set_up(&self, on_page: bool, sender: Sender<'_>, session: &str) -> Result<SetUp, SignInError> {
        let (pool, client) = (sender.pool.id.as_str(), sender.client.id.as_str());
        let attempt = self.sealer.open(pool, client, session, self.clock.now()).map_err(Refusal::from)?;
        let secret = match &attempt.challenge {
            Challenge::SetUpFactor { is_verified: false, secret } if attempt.on_page == on_page => {
                secret.clone()
            }
            _ => return Err(Refusal::InvalidSession.into()),
        };
        in_whole_intervals(async {
            let user = self.store.user_by_number(attempt.user_no).await?.ok_or(Refusal::InvalidSession)?;
            let password = self.store.password(user.no).await?;
            let step = (sender, State::Challenged(attempt.challenge.clone()), &Answer::Nothing);
            let step = StepInput::new(step, (attempt.name.clone(), user.no), Some(user.clone()));
            let input = StepInput { password, attempt: Some(attempt.clone()), ..step };
            let facts = self.facts(&input, self.clock.now()).await?;
            // A user who has got a factor meanwhile answers with that one.
            match second_factor::may_set_up(&facts) {
                true => Ok(SetUp { user, attempt, secret }),
                false => Err(Refusal::InvalidSession.into()),
            }
        })
        .await
    }

    fn next_session(&self, sender: Sender<'_>, attempt: &Attempt, challenge: Challenge) -> String {
        let times = (self.clock.now(), sender.client.settings.session_validity());
        let next = attempt.next(challenge, times, &*self.entropy);
        self.sealer.seal(&sender.pool.id, &sender.client.id, &next, &*self.entropy)
    }
}
