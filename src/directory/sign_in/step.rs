//! The transitions of a sign-in.

use super::Refusal;
use super::custom::{begin_custom, custom_answer};
use super::first_factor::{
    choice, code, first_code, first_factor, new_password, password, password_on_page, sign_up_confirmed,
    srp_a, srp_proof,
};
use super::second_factor::{device_proof, device_srp_a, factor_code, factor_set_up, select, step_up};
use super::state::{Answer, Challenge, Facts, Flow, Rules, State};
use crate::model::{Factor, FirstFactor, UserStatus};
use std::collections::BTreeMap;

/// What follows from a state, an answer and the facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Do this work, and call [`advance`] again with its result among the facts.
    Work(Work),
    /// The step is complete. The effects are applied in one transaction, also after a refusal.
    Done(Outcome, Vec<Effect>),
}

/// Work outside of the state machine. It takes the same time without a user.
///
/// A check of a password or a proof counts as failed before it begins, so that parallel attempts do
/// not exceed the limit. [`Effect::ResetFailures`] follows the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Compare the answer's password with the user's.
    CheckPassword,
    /// Begin a Secure Remote Password exchange.
    BeginSrp,
    /// Check the proof of the exchange.
    CheckSrpProof,
    /// Begin the exchange of a remembered device.
    BeginDeviceSrp,
    /// Check the proof of that exchange.
    CheckDeviceProof,
    /// Ask a function what follows the challenges so far.
    DefineChallenge,
    /// Have a function make a challenge.
    CreateChallenge,
    /// Have a function compare the answer. Wrong answers are counted as wrong passwords.
    VerifyAnswer,
    /// Check the new password against the pool's policy and the user's earlier passwords, and hash
    /// it.
    PrepareNewPassword,
    /// Compare the answer's code with the one of the user's sign-up.
    CheckCode,
    /// Compare the answer's code with the one that replaces a password.
    CheckFirstCode(Factor),
    /// Check the answer's code of this second factor. Wrong codes are counted by themselves.
    CheckFactor(Factor),
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client has to answer this.
    Challenge(Challenge),
    /// The user is authenticated.
    SignedIn,
    /// The sign-up is confirmed, and the user has to sign in.
    Confirmed,
    /// The step failed. The state stays as it was.
    Refused(Refusal),
}

/// A change of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Reset the count of wrong passwords.
    ResetFailures,
    /// Hash the password again with today's parameters, and derive what a client needs of it.
    UpdateCredentials,
    /// Replace the temporary password with the one that was prepared.
    SetPassword,
    /// Set these attributes.
    SetAttributes(BTreeMap<String, String>),
    /// Set the user's status.
    SetStatus(UserStatus),
    /// Use the code of the sign-up, which verifies its address, and set the status.
    ConfirmSignUp,
    /// Use the code of a factor that was sent in a message.
    UseCode,
    /// Send the code that replaces a password; to nobody, if the user does not have it.
    SendFirstCode(Factor),
    /// Send the code of a second factor.
    SendCode(Factor),
    /// Record a sign-in with the device of the challenge.
    UseDevice,
    /// Record that the challenge was answered, so that it is not answered again.
    SpendChallenge,
}

/// Returns what follows from `answer` to `state`.
///
/// The function is pure. It is called until it returns [`Step::Done`]; every call gets the same
/// state, answer and user, and the result of the work that the last one asked for.
pub fn advance(state: &State, answer: &Answer, facts: &Facts, rules: &Rules) -> Step {
    let step = match (state, answer) {
        (State::Begin(flow), _) if !rules.allow(*flow) => refuse(Refusal::FlowNotEnabled(*flow)),
        (State::Begin(_) | State::Challenged(Challenge::SelectChallenge), answer)
            if is_password(answer) && !rules.has_first_factor(FirstFactor::Password) =>
        {
            refuse(Refusal::UnexpectedAnswer)
        }
        (
            State::Begin(Flow::UserPassword | Flow::AdminUserPassword | Flow::UserAuth),
            Answer::Password(_),
        )
        | (State::Challenged(Challenge::SelectChallenge), Answer::Password(_)) => password(facts, rules),
        (State::Begin(Flow::Custom), Answer::Nothing | Answer::SrpA(_)) => begin_custom(answer, facts, rules),
        (State::Challenged(Challenge::Custom { .. }), Answer::Custom(_)) => {
            custom_answer(answer, facts, rules)
        }
        (State::Begin(Flow::Page), Answer::Password(_)) => password_on_page(facts, rules),
        (State::Begin(Flow::StepUp), Answer::Nothing) => step_up(facts, rules),
        (State::Begin(Flow::UserSrp | Flow::UserAuth), Answer::SrpA(_))
        | (State::Challenged(Challenge::SelectChallenge), Answer::SrpA(_)) => srp_a(facts, rules),
        (State::Begin(Flow::UserAuth), Answer::Nothing) => choice(facts, rules),
        (
            State::Begin(Flow::UserAuth | Flow::Page) | State::Challenged(Challenge::SelectChallenge),
            Answer::FirstFactor(chosen),
        ) => first_factor(state, *chosen, facts, rules),
        // A page offers another code beside the field.
        (State::Challenged(Challenge::FirstFactor(_)), Answer::FirstFactor(chosen)) if rules.on_page => {
            first_factor(state, *chosen, facts, rules)
        }
        (State::Challenged(Challenge::FirstFactor(factor)), Answer::Code(_)) => {
            first_code(*factor, facts, rules)
        }
        (State::Challenged(Challenge::SignUpConfirmed { password_set_at, .. }), Answer::Nothing) => {
            sign_up_confirmed(*password_set_at, facts, rules)
        }
        (State::Challenged(Challenge::PasswordVerifier { password_set_at, .. }), Answer::SrpProof { .. }) => {
            srp_proof(*password_set_at, answer, facts, rules)
        }
        (
            State::Challenged(Challenge::NewPasswordRequired { password_set_at }),
            Answer::NewPassword { attributes, .. },
        ) => new_password(*password_set_at, attributes, facts, rules),
        (State::Challenged(Challenge::ConfirmSignUp { password_set_at }), Answer::Code(_)) => {
            code(*password_set_at, facts, rules)
        }
        (State::Challenged(Challenge::Factor(factor)), Answer::Code(_)) => factor_code(*factor, facts),
        (State::Challenged(Challenge::Device { key }), Answer::SrpA(_)) => device_srp_a(key, facts),
        (State::Challenged(Challenge::DeviceVerifier { key, .. }), Answer::SrpProof { .. }) => {
            device_proof(key, facts, rules)
        }
        (State::Challenged(Challenge::SelectFactor), Answer::Factor(chosen)) => select(*chosen, facts),
        // A page asks for one factor, and offers the others beside it.
        (State::Challenged(Challenge::Factor(_)), Answer::Factor(chosen)) if rules.on_page => {
            select(*chosen, facts)
        }
        (State::Challenged(Challenge::SetUpFactor { is_verified, .. }), Answer::FactorSetUp) => {
            factor_set_up(*is_verified, facts)
        }
        _ => refuse(Refusal::UnexpectedAnswer),
    };
    spend(state, step)
}

fn is_password(answer: &Answer) -> bool {
    matches!(answer, Answer::Password(_) | Answer::SrpA(_))
}

impl Rules {
    fn allow(&self, flow: Flow) -> bool {
        flow.is_on_page() || self.flows.contains(&flow)
    }
}

/// Adds [`Effect::SpendChallenge`] where an answer to a challenge proved something. A wrong answer
/// leaves the challenge as it is: the client may try again until the limits of attempts. The start
/// of an exchange proves nothing, and spending it would distinguish known users.
fn spend(state: &State, step: Step) -> Step {
    match (state, step) {
        (State::Challenged(_), Step::Done(outcome, mut effects)) if outcome.proves() => {
            effects.push(Effect::SpendChallenge);
            Step::Done(outcome, effects)
        }
        (_, step) => step,
    }
}

impl Outcome {
    /// Returns whether the answer proved something. The start of an exchange, and a code that is
    /// sent, prove nothing: a disabled user gets them as a name without a user does.
    pub(super) fn proves(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::Challenge(challenge) => {
                !challenge.is_exchange() && !matches!(challenge, Challenge::FirstFactor(_))
            }
            Self::SignedIn | Self::Confirmed => true,
        }
    }
}

/// A wrong password or proof, and whatever must look like one.
pub(super) fn failed() -> Step {
    refuse(Refusal::IncorrectPassword)
}

pub(super) fn refuse(refusal: Refusal) -> Step {
    Step::Done(Outcome::Refused(refusal), Vec::new())
}
