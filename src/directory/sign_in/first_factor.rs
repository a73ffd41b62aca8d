//! The transitions of first factors: passwords, Secure Remote Password, codes, new passwords.

use super::Refusal;
use super::custom::next_challenge;
use super::second_factor::after_first_factor;
use super::state::{
    Answer, Challenge, Facts, Flow, NamedDevice, PasswordCheck, Rules, State, UserFacts, WorkResult,
};
use super::step::{Effect, Outcome, Step, Work, failed, refuse};
use crate::model::{Factor, FirstFactor, UserStatus};
use std::collections::BTreeMap;

/// `SELECT_CHALLENGE`, unless the name alone is refused.
pub(super) fn choice(facts: &Facts, rules: &Rules) -> Step {
    match refused_by_name(facts, rules) {
        Some(refusal) => refuse(refusal),
        None => Step::Done(Outcome::Challenge(Challenge::SelectChallenge), Vec::new()),
    }
}

/// The challenge of the code that replaces a password. A name without a user, and on the page a
/// user who cannot get a code, have the same answer.
pub(super) fn first_factor(state: &State, chosen: Factor, facts: &Facts, rules: &Rules) -> Step {
    let Some(factor) = FirstFactor::of_code(chosen).filter(|of| rules.has_first_factor(*of)) else {
        return match state {
            // Cognito lets the user choose.
            State::Begin(Flow::UserAuth) => choice(facts, rules),
            _ => refuse(Refusal::UnexpectedAnswer),
        };
    };
    let is_unconfirmed = facts.user.as_ref().is_some_and(|user| user.status == UserStatus::Unconfirmed);
    if rules.on_page && is_unconfirmed && !facts.locked {
        return Step::Done(
            Outcome::Challenge(Challenge::ConfirmSignUp { password_set_at: None }),
            Vec::new(),
        );
    }
    match (refused_by_name(facts, rules), state) {
        (Some(refusal), _) => refuse(refusal),
        (None, _) if rules.on_page || facts.first_factors.contains(&factor) => {
            let challenge = Outcome::Challenge(Challenge::FirstFactor(chosen));
            Step::Done(challenge, vec![Effect::SendFirstCode(chosen)])
        }
        (None, State::Begin(_)) => choice(facts, rules),
        (None, _) => refuse(Refusal::UnexpectedAnswer),
    }
}

pub(super) fn first_code(factor: Factor, facts: &Facts, rules: &Rules) -> Step {
    if let Some(refusal) = refused_by_name(facts, rules) {
        return refuse(refusal);
    }
    let can_sign_in = |user: &&UserFacts| {
        let has_factor = FirstFactor::of_code(factor).is_some_and(|of| facts.first_factors.contains(&of));
        user.status == UserStatus::Confirmed && has_factor
    };
    match (facts.user.as_ref().filter(can_sign_in), &facts.result) {
        (_, None) => Step::Work(Work::CheckFirstCode(factor)),
        (Some(user), Some(WorkResult::Code(Ok(())))) if user.enabled => {
            signed_in_by_code(user, Effect::UseCode, rules)
        }
        (Some(_), Some(WorkResult::Code(Ok(())))) => refuse(Refusal::UserDisabled),
        (_, Some(WorkResult::Code(Err(refusal)))) => refuse((**refusal).clone()),
        _ => refuse(Refusal::CodeMismatch),
    }
}

fn signed_in_by_code(user: &UserFacts, effect: Effect, rules: &Rules) -> Step {
    if user.device == NamedDevice::Unknown {
        return refuse(Refusal::DeviceNotFound);
    }
    let (outcome, sent) = after_first_factor(user, rules);
    if matches!(outcome, Outcome::Refused(_)) {
        return Step::Done(outcome, Vec::new());
    }
    let mut effects = vec![effect];
    effects.extend(sent);
    Step::Done(outcome, effects)
}

/// The sign-in of a user who has just confirmed the sign-up, with the session of that answer.
pub(super) fn sign_up_confirmed(password_set_at: i64, facts: &Facts, rules: &Rules) -> Step {
    let valid = |user: &&UserFacts| {
        user.enabled && user.status == UserStatus::Confirmed && user.password_set_at == password_set_at
    };
    match facts.user.as_ref().filter(valid) {
        Some(user) => {
            let (outcome, sent) = after_first_factor(user, rules);
            Step::Done(outcome, sent.into_iter().collect())
        }
        None => refuse(Refusal::InvalidSession),
    }
}

pub(super) fn password(facts: &Facts, rules: &Rules) -> Step {
    if let Some(refusal) = refused_by_name(facts, rules) {
        return refuse(refusal);
    }
    match (&facts.user, &facts.result) {
        (_, None) => Step::Work(Work::CheckPassword),
        (Some(user), Some(WorkResult::Password(PasswordCheck::Right { outdated }))) => {
            authenticated(user, *outdated, rules)
        }
        _ => failed(),
    }
}

/// As [`password`], and an unconfirmed user continues with the code, whether the password was right
/// or not: the page must not reveal that.
pub(super) fn password_on_page(facts: &Facts, rules: &Rules) -> Step {
    let Some(user) = facts.user.as_ref().filter(|user| user.status == UserStatus::Unconfirmed) else {
        return password(facts, rules);
    };
    if facts.locked {
        return refuse(Refusal::AttemptsExceeded);
    }
    let (password_set_at, effects) = match &facts.result {
        None => return Step::Work(Work::CheckPassword),
        Some(WorkResult::Password(PasswordCheck::Right { .. })) => {
            (Some(user.password_set_at), vec![Effect::ResetFailures])
        }
        _ => (None, Vec::new()),
    };
    Step::Done(Outcome::Challenge(Challenge::ConfirmSignUp { password_set_at }), effects)
}

pub(super) fn srp_a(facts: &Facts, rules: &Rules) -> Step {
    if let Some(refusal) = refused_by_name(facts, rules) {
        return refuse(refusal);
    }
    let password_set_at = facts.user.as_ref().map_or(0, |user| user.password_set_at);
    match &facts.result {
        None => Step::Work(Work::BeginSrp),
        Some(WorkResult::SrpBegun(Some(exchange))) => {
            let challenge = Challenge::PasswordVerifier { exchange: exchange.clone(), password_set_at };
            Step::Done(Outcome::Challenge(challenge), Vec::new())
        }
        _ => refuse(Refusal::InvalidSrpA),
    }
}

pub(super) fn srp_proof(password_set_at: i64, answer: &Answer, facts: &Facts, rules: &Rules) -> Step {
    if let Some(refusal) = refused_by_name(facts, rules) {
        return refuse(refusal);
    }
    match (&facts.user, &facts.result) {
        (_, None) => Step::Work(Work::CheckSrpProof),
        (Some(user), Some(WorkResult::SrpProof(true))) if user.password_set_at == password_set_at => {
            match facts.rounds {
                // A function decides what follows the password.
                Some(_) => Step::Work(Work::DefineChallenge),
                None => authenticated(user, false, rules),
            }
        }
        (_, Some(WorkResult::Defined(_) | WorkResult::Created { .. })) if facts.rounds.is_some() => {
            next_challenge(answer, facts, rules)
        }
        _ => failed(),
    }
}

pub(super) fn new_password(
    password_set_at: i64,
    attributes: &BTreeMap<String, String>,
    facts: &Facts,
    rules: &Rules,
) -> Step {
    let valid = |user: &&UserFacts| {
        user.enabled
            && user.status == UserStatus::ForceChangePassword
            && user.password_set_at == password_set_at
            && !user.temporary_password_expired
    };
    let Some(user) = facts.user.as_ref().filter(valid) else { return refuse(Refusal::InvalidSession) };
    let given = |name: &&String| attributes.get(*name).is_some_and(|value| !value.is_empty());
    if let Some(name) = user.missing_attributes.iter().find(|name| !given(name)) {
        return refuse(Refusal::AttributeMissing(name.clone()));
    }
    if let Some(name) = user.present_attributes.iter().find(|name| attributes.contains_key(*name)) {
        return refuse(Refusal::AttributePresent(name.clone()));
    }
    let is_asked = |name: &&String| user.missing_attributes.contains(name);
    if let Some(name) = attributes.keys().find(|name| rules.on_page && !is_asked(name)) {
        return refuse(Refusal::AttributePresent(name.clone()));
    }
    match &facts.result {
        None => Step::Work(Work::PrepareNewPassword),
        Some(WorkResult::NewPassword(Ok(()))) => {
            let mut effects = vec![Effect::SetPassword, Effect::SetStatus(UserStatus::Confirmed)];
            if !attributes.is_empty() {
                effects.push(Effect::SetAttributes(attributes.clone()));
            }
            let (outcome, sent) = after_first_factor(user, rules);
            effects.extend(sent);
            Step::Done(outcome, effects)
        }
        Some(WorkResult::NewPassword(Err(refusal))) => refuse((**refusal).clone()),
        _ => refuse(Refusal::InvalidSession),
    }
}

pub(super) fn code(password_set_at: Option<i64>, facts: &Facts, rules: &Rules) -> Step {
    let unconfirmed = |user: &&UserFacts| user.status == UserStatus::Unconfirmed;
    let Some(user) = facts.user.as_ref().filter(unconfirmed) else { return refuse(Refusal::CodeExpired) };
    match &facts.result {
        None => Step::Work(Work::CheckCode),
        Some(WorkResult::Code(Ok(()))) => {
            // Without a password the code is the first factor.
            let same_password = password_set_at == Some(user.password_set_at) || user.password_set_at == 0;
            let (outcome, sent) = match user.enabled && same_password {
                true => after_first_factor(user, rules),
                false => (Outcome::Confirmed, None),
            };
            let mut effects = vec![Effect::ConfirmSignUp];
            effects.extend(sent);
            if !same_password {
                // The owner of the code did not know the password: perhaps another person signed up
                // with this address, and waits for its owner to confirm it. That password must not
                // be of use.
                effects.push(Effect::SetStatus(UserStatus::ResetRequired));
            }
            Step::Done(outcome, effects)
        }
        Some(WorkResult::Code(Err(refusal))) => refuse((**refusal).clone()),
        _ => refuse(Refusal::CodeMismatch),
    }
}

/// Returns the refusal that does not depend on a credential.
///
/// Cognito refuses an unconfirmed user before it compares the password.
pub(super) fn refused_by_name(facts: &Facts, rules: &Rules) -> Option<Refusal> {
    if facts.locked {
        return Some(Refusal::AttemptsExceeded);
    }
    match facts.user.as_ref().map(|user| user.status) {
        None if !rules.hide_unknown_users => Some(Refusal::UserNotFound),
        Some(UserStatus::Unconfirmed) => Some(Refusal::UserNotConfirmed),
        // An imported user has no password yet. Where users are hidden, the answer waits for the
        // right one.
        Some(UserStatus::ResetRequired) if !rules.hide_unknown_users => Some(Refusal::PasswordResetRequired),
        _ => None,
    }
}

/// The step after the right password.
pub(super) fn authenticated(user: &UserFacts, outdated: bool, rules: &Rules) -> Step {
    if !user.enabled {
        return refuse(Refusal::UserDisabled);
    }
    let mut sent = None;
    let outcome = match user.status {
        UserStatus::Confirmed if user.device == NamedDevice::Unknown => {
            Outcome::Refused(Refusal::DeviceNotFound)
        }
        UserStatus::Confirmed => {
            let (outcome, effect) = after_first_factor(user, rules);
            sent = effect;
            outcome
        }
        UserStatus::ForceChangePassword if user.temporary_password_expired => {
            Outcome::Refused(Refusal::TemporaryPasswordExpired)
        }
        UserStatus::ForceChangePassword => {
            Outcome::Challenge(Challenge::NewPasswordRequired { password_set_at: user.password_set_at })
        }
        UserStatus::ResetRequired => Outcome::Refused(Refusal::PasswordResetRequired),
        UserStatus::Unconfirmed
        | UserStatus::ExternalProvider
        | UserStatus::Archived
        | UserStatus::Compromised
        | UserStatus::Unknown => return failed(),
    };
    let mut effects = vec![Effect::ResetFailures];
    if outdated {
        effects.push(Effect::UpdateCredentials);
    }
    effects.extend(sent);
    Step::Done(outcome, effects)
}
