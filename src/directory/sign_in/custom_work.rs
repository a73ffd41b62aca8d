//! The work of custom challenges: calls of the pool's functions.

use super::input::{Products, StepInput};
use super::reply::SignInError;
use super::service::SignInService;
use super::state::{Answer, Challenge, PrivateParameters, State, WorkResult};
use super::step::Work;
use crate::base::Timestamp;
use crate::directory::ErrorKind;
use crate::directory::events::Challenged;
use crate::trigger::{ChallengeResult, CreatedChallenge};

impl Products {
    /// Records the result of a challenge, in a sign-in with custom challenges.
    pub(super) fn record(&mut self, state: &State, is_right: bool, metadata: Option<String>) {
        let (State::Challenged(challenge), Some(history)) = (state, &mut self.history) else { return };
        history.push(ChallengeResult {
            challenge_name: challenge.name().to_owned(),
            challenge_result: is_right,
            challenge_metadata: metadata,
        });
    }
}

impl SignInService {
    /// Calls a function of the pool. Returns `None` if the name is locked.
    pub(super) async fn custom_work(
        &self,
        work: Work,
        input: &StepInput<'_>,
        products: &mut Products,
        now: Timestamp,
    ) -> Result<Option<WorkResult>, SignInError> {
        // The calls of one network wait for each other, so that it does not take all of a function.
        let busy = SignInError::busy;
        let _turn = self.function_calls.wait(input.sender.network).await.ok_or_else(busy)?;
        let of = Challenged { sender: input.sender, name: &input.name, user: input.user.as_ref() };
        let history = products.history.clone().unwrap_or_default();
        Ok(Some(match work {
            Work::DefineChallenge => WorkResult::Defined(self.events.define_challenge(of, &history).await?),
            Work::CreateChallenge => {
                let created = self.events.create_challenge(of, &history).await?;
                let CreatedChallenge {
                    public_challenge_parameters: public,
                    private_challenge_parameters: private,
                    challenge_metadata: metadata,
                } = created;
                products.public = public.unwrap_or_default();
                WorkResult::Created { private: PrivateParameters(private.unwrap_or_default()), metadata }
            }
            _ => {
                if !self.verify_answer(of, input, products, now).await? {
                    return Ok(None);
                }
                WorkResult::Answered
            }
        }))
    }

    /// Has a function compare the answer, and counts a wrong one. Returns false if the name is
    /// locked.
    async fn verify_answer(
        &self,
        of: Challenged<'_>,
        input: &StepInput<'_>,
        products: &mut Products,
        now: Timestamp,
    ) -> Result<bool, SignInError> {
        let (State::Challenged(Challenge::Custom { private, metadata }), Answer::Custom(answer)) =
            (&input.state, input.answer)
        else {
            return Ok(true);
        };
        let attempts = input.attempts(&self.store);
        if !attempts.begin(now).await? {
            return Ok(false);
        }
        let is_right = match self.events.verify_challenge(of, private, answer).await {
            Ok(is_right) => is_right,
            Err(error) => {
                // A function that refuses has compared the answer; one that fails has not.
                match error.kind() {
                    ErrorKind::UserLambdaValidation => attempts.fail(now).await?,
                    _ => attempts.withdraw(now).await?,
                }
                return Err(error.into());
            }
        };
        match is_right {
            true => attempts.withdraw(now).await?,
            false => attempts.fail(now).await?,
        }
        products.record(&input.state, is_right, metadata.clone());
        Ok(true)
    }
}
