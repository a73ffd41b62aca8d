//! Drives a sign-in: reads the facts, does the work that the state machine asks for, applies the
//! effects.

use super::effects::Applied;
use super::input::{Products, StepInput};
use super::reply::{Reply, SignInError};
use super::state::{Answer, Flow, PasswordCheck, Rules, State, WorkResult};
use super::step::{Effect, Step, Work, advance};
use super::work::Workers;
use super::{Attempt, Refusal, SessionSealer, StepUp};
use crate::base::{Clock, Entropy, KeyRing, Timestamp};
use crate::config::LOCAL_PROVIDER;
use crate::directory::answer_time::in_whole_intervals;
use crate::directory::events::{ConfirmationSource, PoolEvents};
use crate::directory::new_password::NewPasswords;
use crate::directory::password_attempts::account_no;
use crate::directory::turns::Turns;
use crate::directory::{AccountService, DirectoryDeps, Sender};
use crate::model::{Session, User};
use crate::store::{Lookup, Store};
use std::sync::Arc;

/// Whose step it is.
#[derive(Default)]
struct Subject {
    name: String,
    user: Option<User>,
    attempt: Option<Attempt>,
    step_up: Option<StepUp>,
}

/// Passwords of one account that are compared at the same time on a node; fewer than lock it.
const MAX_CONCURRENT_CHECKS: usize = 4;

/// Functions for custom challenges that are called for one network at the same time.
const MAX_FUNCTION_CALLS_OF_NETWORK: usize = 4;

/// Signs users in with the passwords of their pool.
pub struct SignInService {
    pub(super) store: Store,
    pub(super) workers: Workers,
    turns: Turns<i64>,
    /// The calls of functions for custom challenges, by network.
    pub(super) function_calls: Turns<u64>,
    pub(super) ring: Arc<KeyRing>,
    pub(super) sealer: SessionSealer,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    /// Sends the codes of second factors.
    pub(super) accounts: Arc<AccountService>,
    pub(super) events: Arc<PoolEvents>,
}

impl SignInService {
    /// Creates the service of a deployment.
    pub fn new(
        deps: DirectoryDeps,
        passwords: Arc<NewPasswords>,
        (accounts, events): (Arc<AccountService>, Arc<PoolEvents>),
    ) -> Self {
        let DirectoryDeps { store, ring, clock, entropy, .. } = deps;
        Self {
            store,
            workers: Workers::new(passwords, ring.clone()),
            turns: Turns::new(MAX_CONCURRENT_CHECKS),
            function_calls: Turns::new(MAX_FUNCTION_CALLS_OF_NETWORK),
            sealer: SessionSealer::new(ring.clone()),
            ring,
            clock,
            entropy,
            accounts,
            events,
        }
    }

    /// Begins a sign-in as `name`.
    ///
    /// # Errors
    /// Returns an error if the work could not be done. A refusal is a [`Reply`].
    pub async fn begin(
        &self,
        sender: Sender<'_>,
        flow: Flow,
        name: &str,
        answer: &Answer,
    ) -> Result<Reply, SignInError> {
        in_whole_intervals(async {
            let user = match self.store.find_user(sender.pool, name, Lookup::SignIn).await? {
                Some(user) => Some(user),
                None => self.events.migrate_at_sign_in(sender, name, answer).await?,
            };
            self.events.pre_authentication(sender, name, user.as_ref()).await?;
            let subject = Subject { name: name.to_owned(), user, ..Subject::default() };
            let begun = self.run(sender, State::Begin(flow), answer, subject, &[]);
            Ok(self.events.post_authentication(sender, begun.await?).await?)
        })
        .await
    }

    /// Asks the user of `session` for a second factor, and for nothing else. The reply of the last
    /// step names the session, whose user is authenticated already.
    ///
    /// # Errors
    /// As [`SignInService::begin`].
    pub async fn begin_step_up(&self, sender: Sender<'_>, session: &Session) -> Result<Reply, SignInError> {
        let user = self.store.user(&session.user_id).await?;
        // Only such a user has second factors.
        let is_local = session.provider == LOCAL_PROVIDER && session.pool_id == sender.pool.id;
        let Some(user) = user.filter(|user| is_local && user.pool_id == sender.pool.id) else {
            return Ok(Reply::Refused(Refusal::FactorNotFound));
        };
        let step_up = Some(StepUp::of(session));
        let subject = Subject { name: user.username.clone(), user: Some(user), attempt: None, step_up };
        self.run(sender, State::Begin(Flow::StepUp), &Answer::Nothing, subject, &[]).await
    }

    /// Continues a sign-in with the answer to a challenge. `session` is the `Session` string.
    ///
    /// # Errors
    /// As [`SignInService::begin`].
    pub async fn respond(
        &self,
        sender: Sender<'_>,
        session: &str,
        answer: &Answer,
    ) -> Result<Reply, SignInError> {
        self.respond_from(false, sender, session, answer).await
    }

    /// As [`SignInService::respond`], for a sign-in that began with [`Flow::Page`]. Neither takes
    /// the session of the other.
    ///
    /// # Errors
    /// As [`SignInService::begin`].
    pub async fn respond_on_page(
        &self,
        sender: Sender<'_>,
        session: &str,
        answer: &Answer,
    ) -> Result<Reply, SignInError> {
        self.respond_from(true, sender, session, answer).await
    }

    async fn respond_from(
        &self,
        on_page: bool,
        sender: Sender<'_>,
        session: &str,
        answer: &Answer,
    ) -> Result<Reply, SignInError> {
        let (pool, client) = (sender.pool.id.as_str(), sender.client.id.as_str());
        match self.sealer.open(pool, client, session, self.clock.now()) {
            Ok(attempt) if attempt.on_page == on_page => self.resume(sender, attempt, &[], answer).await,
            Ok(_) => Ok(Reply::Refused(Refusal::InvalidSession)),
            Err(error) => Ok(Reply::Refused(error.into())),
        }
    }

    /// Continues a Secure Remote Password exchange. `secret_block` has the bytes of
    /// `PASSWORD_CLAIM_SECRET_BLOCK`, which identify the exchange in the place of a session.
    ///
    /// # Errors
    /// As [`SignInService::begin`].
    pub async fn respond_to_exchange(
        &self,
        sender: Sender<'_>,
        secret_block: &[u8],
        answer: &Answer,
    ) -> Result<Reply, SignInError> {
        let (pool, client) = (sender.pool.id.as_str(), sender.client.id.as_str());
        match self.sealer.open_bytes(pool, client, secret_block, self.clock.now()) {
            Ok(attempt) if !attempt.on_page => self.resume(sender, attempt, secret_block, answer).await,
            // Cognito answers a foreign block as a wrong password.
            _ => Ok(Reply::Refused(Refusal::IncorrectPassword)),
        }
    }

    async fn resume(
        &self,
        sender: Sender<'_>,
        attempt: Attempt,
        secret_block: &[u8],
        answer: &Answer,
    ) -> Result<Reply, SignInError> {
        in_whole_intervals(async {
            let user = self.store.user_by_number(attempt.user_no).await?;
            let state = State::Challenged(attempt.challenge.clone());
            let name = attempt.name.clone();
            let subject = Subject { name, user, attempt: Some(attempt), step_up: None };
            let resumed = self.run(sender, state, answer, subject, secret_block);
            Ok(self.events.post_authentication(sender, resumed.await?).await?)
        })
        .await
    }

    /// Runs one step of the state machine to its end.
    async fn run(
        &self,
        sender: Sender<'_>,
        state: State,
        answer: &Answer,
        subject: Subject,
        secret_block: &[u8],
    ) -> Result<Reply, SignInError> {
        let Subject { name, user, attempt, step_up } = subject;
        let account_no = account_no(&self.ring, sender.pool, &name, user.as_ref());
        // Until the effects are applied, which forget the attempts that count as failed.
        let _turn = match answer {
            Answer::Password(_) | Answer::SrpProof { .. } | Answer::Custom(_) => {
                Some(self.turns.wait(account_no).await.ok_or_else(SignInError::busy)?)
            }
            _ => None,
        };
        // A name without a user costs the same statements: the time must not depend on it.
        let password = self.store.password(account_no).await?;
        let step = StepInput { step_up, ..StepInput::new((sender, state, answer), (name, account_no), user) };
        let input = StepInput { secret_block, password, attempt, ..step };
        let now = self.clock.now();
        let of_pool = Rules::of(&sender.client.settings, &sender.pool.settings);
        let rules = Rules { on_page: input.on_page(), ..of_pool };
        let mut facts = self.facts(&input, now).await?;
        let mut products = Products { history: input.history(), ..Products::default() };
        let (outcome, effects) = loop {
            let step = advance(&input.state, input.answer, &facts, &rules);
            match step {
                Step::Done(outcome, effects) => break (outcome, effects),
                Step::Work(work) => match self.work(work, &input, &mut products).await? {
                    Some(result) => facts.result = Some(result),
                    None => facts.locked = true,
                },
            }
        };
        if effects.contains(&Effect::UpdateCredentials) {
            products.credentials = self.workers.credentials(&self.entropy, &input).await?;
        }
        products.message = self.factor_message(&input, (&effects, &facts)).await?;
        let signs_in = outcome.proves();
        let applied = match effects.is_empty() {
            true => Applied { user: input.user.clone(), sent: None },
            false => match self.apply(&input, &effects, signs_in, &products, now).await {
                Ok(applied) => applied,
                Err(SignInError::Refused(refusal)) => return Ok(Reply::Refused(refusal)),
                Err(error) => {
                    // The password was right, also if the message with a code cannot be sent.
                    if effects.contains(&Effect::ResetFailures) {
                        input.attempts(&self.store).clear().await?;
                    }
                    return Err(error);
                }
            },
        };
        if let Some(user) = applied.user.as_ref().filter(|_| effects.contains(&Effect::ConfirmSignUp)) {
            let (subject, source) = (sender.subject(&user.username), ConfirmationSource::SignUp);
            self.events.post_confirmation(subject, source, user, sender.data).await?;
        }
        let reply = self.reply_of(&input, outcome, applied, products, (now, &facts))?;
        self.keep_session_of_device(&input, &reply).await?;
        Ok(reply)
    }

    /// Compares a password. Returns `None` if the name is locked.
    async fn check_password(
        &self,
        input: &StepInput<'_>,
        now: Timestamp,
    ) -> Result<Option<WorkResult>, SignInError> {
        // Side by side: a write before the comparison would distinguish known users by time.
        let (admitted, check) = tokio::join!(
            input.attempts(&self.store).begin(now),
            self.workers.check_password(&self.store, input)
        );
        match (admitted?, check) {
            (false, _) => Ok(None),
            (true, Ok(check)) => {
                if check == PasswordCheck::Wrong {
                    input.attempts(&self.store).fail(now).await?;
                }
                Ok(Some(WorkResult::Password(check)))
            }
            (true, Err(error)) => {
                input.attempts(&self.store).withdraw(now).await?;
                Err(error)
            }
        }
    }

    /// Does `work`. Returns `None` if the name is locked.
    async fn work(
        &self,
        work: Work,
        input: &StepInput<'_>,
        products: &mut Products,
    ) -> Result<Option<WorkResult>, SignInError> {
        let now = self.clock.now();
        match work {
            Work::CheckPassword => self.check_password(input, now).await,
            Work::BeginSrp => {
                let begun = self.workers.begin_srp((&self.store, &self.entropy), input).await?;
                Ok(Some(products.begun(begun)))
            }
            Work::BeginDeviceSrp => {
                let begun = self.workers.begin_device_srp((&self.store, &self.entropy), input).await?;
                Ok(Some(products.begun(begun)))
            }
            Work::CheckSrpProof | Work::CheckDeviceProof => {
                let is_right = self.workers.check_proof(input, now);
                let admitted = input.attempts(&self.store).begin(now).await?;
                if admitted && !is_right {
                    input.attempts(&self.store).fail(now).await?;
                }
                products.record(&input.state, is_right, None);
                Ok(admitted.then_some(WorkResult::SrpProof(is_right)))
            }
            Work::DefineChallenge | Work::CreateChallenge | Work::VerifyAnswer => {
                self.custom_work(work, input, products, now).await
            }
            Work::PrepareNewPassword => {
                let prepared = self.workers.prepare(&self.entropy, input).await?;
                Ok(Some(WorkResult::NewPassword(keep(prepared, &mut products.password))))
            }
            Work::CheckCode => {
                let right = self.workers.check_code(&self.store, input, now).await?;
                Ok(Some(WorkResult::Code(keep(right, &mut products.code))))
            }
            Work::CheckFirstCode(factor) => {
                let right = self.workers.check_first_code(&self.store, input, factor, now).await?;
                Ok(Some(WorkResult::Code(keep(right, &mut products.code))))
            }
            Work::CheckFactor(factor) => {
                let result = match self.workers.check_factor(&self.store, input, factor, now).await? {
                    Ok(right) => {
                        products.code = right;
                        Ok(())
                    }
                    Err(refusal) => Err(Box::new(refusal)),
                };
                Ok(Some(WorkResult::Factor(result)))
            }
        }
    }
}

/// Keeps the product of work that succeeded.
fn keep<T>(result: Result<T, Refusal>, slot: &mut Option<T>) -> Result<(), Box<Refusal>> {
    match result {
        Ok(product) => {
            *slot = Some(product);
            Ok(())
        }
        Err(refusal) => Err(Box::new(refusal)),
    }
}
