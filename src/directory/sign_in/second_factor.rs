//! The transitions after the first factor: second factors, and remembered devices.

use super::Refusal;
use super::state::{Challenge, Facts, NamedDevice, Rules, UserFacts, WorkResult};
use super::step::{Effect, Outcome, Step, Work, failed, refuse};
use crate::model::{Factor, MfaMode, MfaSettings, UserStatus};

/// Returns what follows the first factor: the proof of a remembered device, or what follows without
/// one. "A remembered device replaces the second factor only": it does not replace its set-up.
pub(super) fn after_first_factor(user: &UserFacts, rules: &Rules) -> (Outcome, Option<Effect>) {
    let without = second_factor(user, rules);
    match (&user.device, &without.0) {
        (NamedDevice::Remembered(key), Outcome::SignedIn) => (device(key), None),
        (
            NamedDevice::Remembered(key),
            Outcome::Challenge(Challenge::Factor(_) | Challenge::SelectFactor),
        ) if rules.device_replaces_factor => (device(key), None),
        _ => without,
    }
}

fn device(key: &str) -> Outcome {
    Outcome::Challenge(Challenge::Device { key: key.to_owned() })
}

/// Returns the challenge of a second factor, where the user has one or the pool demands one. On a
/// page the user is asked for the first one, and can choose another.
fn second_factor(user: &UserFacts, rules: &Rules) -> (Outcome, Option<Effect>) {
    let preferred = user.preferred_factor.filter(|factor| user.factors.contains(factor));
    let first = preferred.or_else(|| user.factors.first().copied());
    match (first, &user.factors[..]) {
        (Some(first), [_]) => ask(first),
        (Some(first), _) if preferred.is_some() || rules.on_page => ask(first),
        (Some(_), _) => (Outcome::Challenge(Challenge::SelectFactor), None),
        // The user has turned on a factor, and has lost what it needs.
        (None, _) if user.demands_factor => (Outcome::Refused(Refusal::FactorNotFound), None),
        (None, _) if !rules.requires_factor() => (Outcome::SignedIn, None),
        (None, _) if rules.can_set_up_factor() => {
            (Outcome::Challenge(Challenge::SetUpFactor { is_verified: false, secret: None }), None)
        }
        (None, _) => (Outcome::Refused(Refusal::FactorNotFound), None),
    }
}

/// The second factor of a user whose session proves the first one, also where the pool requires
/// none. A remembered device does not replace it. A user without one sets one up if the session has
/// just begun: later it may be somebody else who has its cookie, and `/account` asks for the
/// password.
pub(super) fn step_up(facts: &Facts, rules: &Rules) -> Step {
    let valid = |user: &&UserFacts| user.enabled && user.status == UserStatus::Confirmed;
    let Some(user) = facts.user.as_ref().filter(valid) else { return refuse(Refusal::InvalidSession) };
    let mfa = MfaSettings { mode: MfaMode::Required, ..rules.mfa.clone() };
    match (rules.mfa.mode, second_factor(user, &Rules { mfa, ..rules.clone() })) {
        (MfaMode::Off, _) | (_, (Outcome::SignedIn, _)) => refuse(Refusal::FactorNotFound),
        (_, (Outcome::Challenge(Challenge::SetUpFactor { .. }), _)) if !facts.session_is_new => {
            refuse(Refusal::FactorNotFound)
        }
        (_, (outcome, sent)) => Step::Done(outcome, sent.into_iter().collect()),
    }
}

/// Returns the challenge of a factor, and the message with its code.
fn ask(factor: Factor) -> (Outcome, Option<Effect>) {
    let sent = factor.address().is_some().then_some(Effect::SendCode(factor));
    (Outcome::Challenge(Challenge::Factor(factor)), sent)
}

/// Returns the user who may answer the challenge of a second factor: the first one was proved, and
/// the password is the same since.
fn proved_user(facts: &Facts) -> Result<&UserFacts, Step> {
    let valid =
        |user: &&UserFacts| user.enabled && user.status == UserStatus::Confirmed && user.proved_first_factor;
    facts.user.as_ref().filter(valid).ok_or_else(|| refuse(Refusal::InvalidSession))
}

/// Returns whether the device of a challenge still is a remembered one of the user.
fn proved_user_of_device(key: &str, facts: &Facts) -> Result<(), Step> {
    let user = proved_user(facts)?;
    match &user.device {
        NamedDevice::Remembered(known) if known == key => Ok(()),
        _ => Err(refuse(Refusal::DeviceNotFound)),
    }
}

pub(super) fn device_srp_a(key: &str, facts: &Facts) -> Step {
    if let Err(step) = proved_user_of_device(key, facts) {
        return step;
    }
    match &facts.result {
        _ if facts.locked => refuse(Refusal::AttemptsExceeded),
        None => Step::Work(Work::BeginDeviceSrp),
        Some(WorkResult::SrpBegun(Some(exchange))) => {
            let challenge = Challenge::DeviceVerifier { key: key.to_owned(), exchange: exchange.clone() };
            Step::Done(Outcome::Challenge(challenge), Vec::new())
        }
        _ => refuse(Refusal::InvalidSrpA),
    }
}

pub(super) fn device_proof(key: &str, facts: &Facts, rules: &Rules) -> Step {
    if let Err(step) = proved_user_of_device(key, facts) {
        return step;
    }
    // The user may have lost a factor since: a device does not replace its set-up.
    let next = facts.user.as_ref().map(|user| after_first_factor(user, rules));
    if let Some((outcome, sent)) = next.filter(|(outcome, _)| *outcome != device(key)) {
        return Step::Done(outcome, sent.into_iter().collect());
    }
    match &facts.result {
        _ if facts.locked => refuse(Refusal::AttemptsExceeded),
        None => Step::Work(Work::CheckDeviceProof),
        Some(WorkResult::SrpProof(true)) => {
            Step::Done(Outcome::SignedIn, vec![Effect::ResetFailures, Effect::UseDevice])
        }
        _ => failed(),
    }
}

/// Returns whether the user may set a software token up in this sign-in: a first factor was proved,
/// and there is no second factor yet.
pub(super) fn may_set_up(facts: &Facts) -> bool {
    proved_user(facts).is_ok_and(|user| user.factors.is_empty() && !user.demands_factor)
}

pub(super) fn factor_code(factor: Factor, facts: &Facts) -> Step {
    let user = match proved_user(facts) {
        Ok(user) => user,
        Err(step) => return step,
    };
    match &facts.result {
        _ if !user.factors.contains(&factor) => refuse(Refusal::InvalidSession),
        None => Step::Work(Work::CheckFactor(factor)),
        Some(WorkResult::Factor(Ok(()))) => Step::Done(Outcome::SignedIn, vec![Effect::UseCode]),
        Some(WorkResult::Factor(Err(refusal))) => refuse((**refusal).clone()),
        _ => refuse(Refusal::CodeMismatch),
    }
}

pub(super) fn select(chosen: Factor, facts: &Facts) -> Step {
    match proved_user(facts) {
        Ok(user) if user.factors.contains(&chosen) => {
            let (outcome, sent) = ask(chosen);
            Step::Done(outcome, sent.into_iter().collect())
        }
        Ok(_) => refuse(Refusal::UnexpectedAnswer),
        Err(step) => step,
    }
}

pub(super) fn factor_set_up(is_verified: bool, facts: &Facts) -> Step {
    match proved_user(facts) {
        Ok(user) if is_verified && user.factors.contains(&Factor::SoftwareToken) => {
            Step::Done(Outcome::SignedIn, Vec::new())
        }
        Ok(_) => refuse(Refusal::FactorNotSetUp),
        Err(step) => step,
    }
}
