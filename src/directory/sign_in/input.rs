//! One step of a sign-in: what it begins with, and the reply that it ends with.

use super::effects::Applied;
use super::reply::{
    AuthenticatedUser, BegunExchange, ChallengeReply, FactorParameters, NewPasswordParameters,
    PublicParameters, Reply, SignInDevice, SignInError,
};
use super::service::SignInService;
use super::session::{MAX_SESSION_LENGTH, StepUp};
use super::state::{Answer, Challenge, ExchangeState, Facts, Flow, State, WorkResult};
use super::step::Outcome;
use super::work::NewCredentials;
use super::{Attempt, Refusal};
use crate::base::Timestamp;
use crate::directory::account_code::RightCode;
use crate::directory::accounts::{CodeAccount, FactorMessage};
use crate::directory::new_password::PreparedPassword;
use crate::directory::password_attempts::Attempts;
use crate::directory::{DirectoryError, ErrorKind, Sender};
use crate::model::{Factor, User};
use crate::store::{Store, StoredPassword};
use crate::trigger::ChallengeResult;
use std::collections::BTreeMap;

/// One step, as far as it does not change.
pub(super) struct StepInput<'a> {
    pub(super) sender: Sender<'a>,
    pub(super) state: State,
    pub(super) answer: &'a Answer,
    /// The bytes of `SECRET_BLOCK`, if the step has one.
    pub(super) secret_block: &'a [u8],
    /// The name that the client sent.
    pub(super) name: String,
    /// The user's number; a negative one that follows from the name if no user has it.
    pub(super) account_no: i64,
    pub(super) user: Option<User>,
    pub(super) password: Option<StoredPassword>,
    pub(super) attempt: Option<Attempt>,
    /// The session that a first step gives a second factor to.
    pub(super) step_up: Option<StepUp>,
}

/// What the work of a step produced, for its effects and its reply.
#[derive(Default)]
pub(super) struct Products {
    pub(super) password: Option<PreparedPassword>,
    pub(super) credentials: Option<NewCredentials>,
    pub(super) exchange: Option<BegunExchange>,
    pub(super) code: Option<RightCode>,
    pub(super) message: Option<FactorMessage>,
    /// The challenges that were answered, in a sign-in with custom challenges.
    pub(super) history: Option<Vec<ChallengeResult>>,
    /// What the client gets of a custom challenge.
    pub(super) public: BTreeMap<String, String>,
}

impl Products {
    /// Keeps an exchange that has begun, and returns its state.
    pub(super) fn begun(&mut self, exchange: Option<BegunExchange>) -> WorkResult {
        let key = exchange.as_ref().map(|begun| begun.challenge.key.to_bytes().to_vec());
        self.exchange = exchange;
        WorkResult::SrpBegun(key.map(ExchangeState))
    }
}

impl<'a> StepInput<'a> {
    /// Returns the step of a sign-in that begins.
    pub(super) fn new(
        (sender, state, answer): (Sender<'a>, State, &'a Answer),
        (name, account_no): (String, i64),
        user: Option<User>,
    ) -> Self {
        let (secret_block, password, attempt, step_up) = (&[][..], None, None, None);
        Self { sender, state, answer, secret_block, name, account_no, user, password, attempt, step_up }
    }

    /// Returns the account that gets a code, without its user.
    pub(super) fn code_account(&self) -> CodeAccount<'_> {
        CodeAccount { account_no: self.account_no, user: None, known: self.user.as_ref(), name: &self.name }
    }

    pub(super) fn attempts<'s>(&self, store: &'s Store) -> Attempts<'s> {
        Attempts { store, account_no: self.account_no }
    }
}

impl StepInput<'_> {
    /// Returns the challenges that were answered before this step, in a sign-in with custom
    /// challenges.
    pub(super) fn history(&self) -> Option<Vec<ChallengeResult>> {
        let answered = |name: &str| ChallengeResult {
            challenge_name: name.to_owned(),
            challenge_result: true,
            challenge_metadata: None,
        };
        match (&self.state, self.answer) {
            // "define sees [{SRP_A, true}]"
            (State::Begin(Flow::Custom), Answer::SrpA(_)) => Some(vec![answered("SRP_A")]),
            (State::Begin(Flow::Custom), _) => Some(Vec::new()),
            _ => self.attempt.as_ref().and_then(|attempt| attempt.history.clone()),
        }
    }

    /// Returns the device of a sign-in that is complete.
    fn device(&self) -> SignInDevice {
        match (&self.state, self.device_key()) {
            _ if self.on_page() || !self.sender.pool.settings.devices.is_on() => SignInDevice::Untracked,
            (State::Challenged(Challenge::DeviceVerifier { key, .. }), _) => {
                SignInDevice::Proved(key.clone())
            }
            (_, Some(_)) => SignInDevice::Named,
            (_, None) => SignInDevice::New,
        }
    }

    /// Returns whether the sign-in is on the pool's own pages.
    pub(super) fn on_page(&self) -> bool {
        matches!(self.state, State::Begin(flow) if flow.is_on_page())
            || self.attempt.as_ref().is_some_and(|attempt| attempt.on_page)
    }

    fn signed_in(
        &self,
        user: User,
        password_set_at: Option<Timestamp>,
        first_code: Option<Factor>,
        now: Timestamp,
    ) -> AuthenticatedUser {
        let attempt = self.attempt.as_ref();
        AuthenticatedUser {
            user: Box::new(user),
            begun_at: attempt.map_or(now, |it| Timestamp::from_millis(it.begun_at)),
            password_set_at,
            first_code,
            factor: self.state.factor(),
            device: self.device(),
            step_up: attempt.and_then(|attempt| attempt.step_up.clone()),
            by_functions: self.is_by_functions(),
        }
    }

    /// Returns whether functions alone decided that the user is authenticated: the sign-in has
    /// custom challenges and no password.
    fn is_by_functions(&self) -> bool {
        let attempt = self.attempt.as_ref();
        let is_password = |of: &ChallengeResult| of.challenge_name == "PASSWORD_VERIFIER";
        let is_custom = |history: Vec<ChallengeResult>| !history.iter().any(is_password);
        let is_proof = matches!(self.answer, Answer::SrpProof { .. });
        let was = attempt.is_some_and(|attempt| attempt.by_functions);
        was || (!is_proof && self.history().is_some_and(is_custom))
    }

    /// Returns the factor whose code confirmed the sign-up of a user without a password.
    fn confirmed_by(&self, products: &Products) -> Option<Factor> {
        let confirms = matches!(self.state, State::Challenged(Challenge::ConfirmSignUp { .. }));
        let code = products.code.as_ref().filter(|_| confirms && self.password.is_none())?;
        Some(code.factor())
    }
}

impl SignInService {
    /// Returns the reply to a step.
    pub(super) fn reply_of(
        &self,
        input: &StepInput<'_>,
        outcome: Outcome,
        Applied { user, sent }: Applied,
        products: Products,
        (now, facts): (Timestamp, &Facts),
    ) -> Result<Reply, SignInError> {
        let password_set_at = match &products.password {
            Some(_) => Some(now),
            None => input.password.as_ref().map(|password| password.set_at),
        };
        let first_code = input.first_code().or_else(|| input.confirmed_by(&products));
        let public = products.public;
        let (challenge, user) = match (outcome, user) {
            (Outcome::Challenge(challenge), user) => (challenge, user),
            (Outcome::SignedIn, Some(user)) => {
                return Ok(Reply::SignedIn(input.signed_in(user, password_set_at, first_code, now)));
            }
            (Outcome::SignedIn, None) => return Ok(Reply::Refused(Refusal::IncorrectPassword)),
            (Outcome::Confirmed, _) => return Ok(Reply::Confirmed),
            (Outcome::Refused(refusal), _) => return Ok(Reply::Refused(refusal)),
        };
        let new_password = match (&challenge, user) {
            (Challenge::NewPasswordRequired { .. }, Some(user)) => {
                Some(NewPasswordParameters::of(input.sender, user))
            }
            _ => None,
        };
        let entropy = &*self.entropy;
        let mut attempt = self.next_attempt(input, &challenge, now);
        if challenge.follows_first_factor() {
            attempt.proved_password_of = Some(password_set_at.map_or(0, Timestamp::millis));
            attempt.first_code = first_code;
            attempt.by_functions = input.is_by_functions();
        }
        let was_wrong =
            |history: &Vec<ChallengeResult>| history.last().is_some_and(|of| !of.challenge_result);
        let follows_wrong_answer =
            matches!(input.answer, Answer::Custom(_)) && products.history.as_ref().is_some_and(was_wrong);
        attempt.history = products.history.filter(|_| !challenge.follows_first_factor());
        attempt.network = matches!(challenge, Challenge::Device { .. }).then_some(input.sender.network);
        let (pool, client) = (input.sender.pool.id.as_str(), input.sender.client.id.as_str());
        Ok(Reply::Challenge(Box::new(match (&challenge, products.exchange) {
            (challenge_of_exchange, Some(begun)) if challenge_of_exchange.is_exchange() => {
                let secret_block = self.sealer.seal_bytes(pool, client, &attempt, entropy);
                ChallengeReply::with_exchange(challenge, begun, secret_block)
            }
            _ => {
                let session = self.sealer.seal(pool, client, &attempt, entropy);
                if session.len() > MAX_SESSION_LENGTH {
                    let words = "CreateAuthChallenge answers too many values.";
                    return Err(DirectoryError::new(ErrorKind::InvalidLambdaResponse, words).into());
                }
                let factors = FactorParameters::of(facts, sent);
                let is_custom = matches!(challenge, Challenge::Custom { .. });
                let public = is_custom.then(|| self.public_parameters(input, public));
                let reply = ChallengeReply::with_session(challenge, session);
                ChallengeReply { new_password, factors, public, follows_wrong_answer, ..reply }
            }
        })))
    }

    /// Returns the attempt that waits for the answer to `challenge`.
    fn next_attempt(&self, input: &StepInput<'_>, challenge: &Challenge, now: Timestamp) -> Attempt {
        let times = (now, input.sender.client.settings.session_validity());
        let entropy = &*self.entropy;
        match &input.attempt {
            Some(attempt) => {
                let next = attempt.next(challenge.clone(), times, entropy);
                // The proof of an exchange also answers the challenge that began it.
                match challenge.is_exchange() {
                    true => Attempt { id: attempt.id.clone(), ..next },
                    false => next,
                }
            }
            None => {
                let user_no = input.user.as_ref().map_or(0, |user| user.no);
                let begun = Attempt::begin(&input.name, user_no, challenge.clone(), times, entropy);
                Attempt { on_page: input.on_page(), step_up: input.step_up.clone(), ..begun }
            }
        }
    }

    fn public_parameters(&self, input: &StepInput<'_>, values: BTreeMap<String, String>) -> PublicParameters {
        let simulated = || self.workers.simulated_username(input.sender.pool, &input.name);
        let username = input.user.as_ref().map_or_else(simulated, |user| user.username.clone());
        PublicParameters { username, values }
    }
}
