//! The transitions of custom challenges: functions of the pool decide what follows, and the server
//! whether a user may sign in.

use super::Refusal;
use super::first_factor::refused_by_name;
use super::second_factor::after_first_factor;
use super::state::{Answer, Challenge, Definition, Facts, NamedDevice, Rules, WorkResult};
use super::step::{Effect, Outcome, Step, Work, failed, refuse};
use crate::model::UserStatus;

/// Challenges of one sign-in; one more fails it.
const MAX_ROUNDS: usize = 10;

/// The first message of a sign-in with custom challenges.
pub(super) fn begin_custom(answer: &Answer, facts: &Facts, rules: &Rules) -> Step {
    match refused_by_name(facts, rules) {
        Some(refusal) => refuse(refusal),
        None => next_challenge(answer, facts, rules),
    }
}

/// The answer to a challenge of a function.
pub(super) fn custom_answer(answer: &Answer, facts: &Facts, rules: &Rules) -> Step {
    if let Some(refusal) = refused_by_name(facts, rules) {
        return refuse(refusal);
    }
    match &facts.result {
        None => Step::Work(Work::VerifyAnswer),
        Some(WorkResult::Answered) if facts.rounds.is_none_or(|rounds| rounds + 1 >= MAX_ROUNDS) => failed(),
        _ => next_challenge(answer, facts, rules),
    }
}

/// What follows the challenges so far, as the function defines it.
pub(super) fn next_challenge(answer: &Answer, facts: &Facts, rules: &Rules) -> Step {
    let sends = |challenge| Step::Done(Outcome::Challenge(challenge), Vec::new());
    match &facts.result {
        Some(WorkResult::Defined(Definition::Fail)) => failed(),
        Some(WorkResult::Defined(Definition::IssueTokens)) => issue_tokens(facts, rules),
        Some(WorkResult::Defined(Definition::Custom)) => Step::Work(Work::CreateChallenge),
        // The client has to send its public value with the first message.
        Some(WorkResult::Defined(Definition::Password)) if matches!(answer, Answer::SrpA(_)) => {
            Step::Work(Work::BeginSrp)
        }
        Some(WorkResult::Defined(Definition::Password)) => refuse(Refusal::UnexpectedAnswer),
        Some(WorkResult::Created { private, metadata }) => {
            sends(Challenge::Custom { private: private.clone(), metadata: metadata.clone() })
        }
        Some(WorkResult::SrpBegun(Some(exchange))) => {
            let password_set_at = facts.user.as_ref().map_or(0, |user| user.password_set_at);
            sends(Challenge::PasswordVerifier { exchange: exchange.clone(), password_set_at })
        }
        Some(WorkResult::SrpBegun(None)) => refuse(Refusal::InvalidSrpA),
        _ => Step::Work(Work::DefineChallenge),
    }
}

/// The function vouches for the first factor. Whether the user may sign in, and with which second
/// factor, is decided here.
fn issue_tokens(facts: &Facts, rules: &Rules) -> Step {
    let Some(user) = facts.user.as_ref().filter(|user| user.status == UserStatus::Confirmed) else {
        return failed();
    };
    if !user.enabled {
        return refuse(Refusal::UserDisabled);
    }
    if user.device == NamedDevice::Unknown {
        return refuse(Refusal::DeviceNotFound);
    }
    let (outcome, sent) = after_first_factor(user, rules);
    let mut effects = vec![Effect::ResetFailures];
    effects.extend(sent);
    Step::Done(outcome, effects)
}
