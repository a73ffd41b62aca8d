//! The transitions of a sign-in.

use super::Refusal;
use super::state::{Answer, Challenge, Facts, Flow, PasswordCheck, Rules, State, UserFacts, WorkResult};
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
        (_, Answer::Password(_) | Answer::SrpA(_)) if !rules.has_first_factor(FirstFactor::Password) => {
            refuse(Refusal::UnexpectedAnswer)
        }
        (
            State::Begin(Flow::UserPassword | Flow::AdminUserPassword | Flow::UserAuth),
            Answer::Password(_),
        )
        | (State::Challenged(Challenge::SelectChallenge), Answer::Password(_)) => password(facts, rules),
        (State::Begin(Flow::Page), Answer::Password(_)) => password_on_page(facts, rules),
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
            srp_proof(*password_set_at, facts, rules)
        }
        (
            State::Challenged(Challenge::NewPasswordRequired { password_set_at }),
            Answer::NewPassword { attributes, .. },
        ) => new_password(*password_set_at, attributes, facts, rules),
        (State::Challenged(Challenge::ConfirmSignUp { password_set_at }), Answer::Code(_)) => {
            code(*password_set_at, facts, rules)
        }
        (State::Challenged(Challenge::Factor(factor)), Answer::Code(_)) => factor_code(*factor, facts),
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

impl Rules {
    fn allow(&self, flow: Flow) -> bool {
        flow == Flow::Page || self.flows.contains(&flow)
    }
}

/// Adds [`Effect::SpendChallenge`] where an answer to a challenge proved something. A wrong answer
/// leaves the challenge as it is: the client may try again until the limits of attempts. The start
/// of an exchange proves nothing, and spending it would distinguish known users.
fn spend(state: &State, step: Step) -> Step {
    match (state, step) {
        (State::Challenged(_), Step::Done(outcome, mut effects)) if proves(&outcome) => {
            effects.push(Effect::SpendChallenge);
            Step::Done(outcome, effects)
        }
        (_, step) => step,
    }
}

fn proves(outcome: &Outcome) -> bool {
    let proves_nothing = |challenge: &Challenge| {
        matches!(challenge, Challenge::PasswordVerifier { .. } | Challenge::FirstFactor(_))
    };
    match outcome {
        Outcome::Refused(_) => false,
        Outcome::Challenge(challenge) => !proves_nothing(challenge),
        Outcome::SignedIn | Outcome::Confirmed => true,
    }
}

/// `SELECT_CHALLENGE`, unless the name alone is refused.
fn choice(facts: &Facts, rules: &Rules) -> Step {
    match refused_by_name(facts, rules) {
        Some(refusal) => refuse(refusal),
        None => Step::Done(Outcome::Challenge(Challenge::SelectChallenge), Vec::new()),
    }
}

/// The challenge of the code that replaces a password. A name without a user, and on the page a
/// user who cannot get a code, have the same answer.
fn first_factor(state: &State, chosen: Factor, facts: &Facts, rules: &Rules) -> Step {
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

fn first_code(factor: Factor, facts: &Facts, rules: &Rules) -> Step {
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
    let (outcome, sent) = after_first_factor(user, rules);
    if matches!(outcome, Outcome::Refused(_)) {
        return Step::Done(outcome, Vec::new());
    }
    let mut effects = vec![effect];
    effects.extend(sent);
    Step::Done(outcome, effects)
}

/// The sign-in of a user who has just confirmed the sign-up, with the session of that answer.
fn sign_up_confirmed(password_set_at: i64, facts: &Facts, rules: &Rules) -> Step {
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

fn password(facts: &Facts, rules: &Rules) -> Step {
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
fn password_on_page(facts: &Facts, rules: &Rules) -> Step {
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

fn srp_a(facts: &Facts, rules: &Rules) -> Step {
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

fn srp_proof(password_set_at: i64, facts: &Facts, rules: &Rules) -> Step {
    if let Some(refusal) = refused_by_name(facts, rules) {
        return refuse(refusal);
    }
    match (&facts.user, &facts.result) {
        (_, None) => Step::Work(Work::CheckSrpProof),
        (Some(user), Some(WorkResult::SrpProof(true))) if user.password_set_at == password_set_at => {
            authenticated(user, false, rules)
        }
        _ => failed(),
    }
}

fn new_password(
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

fn code(password_set_at: Option<i64>, facts: &Facts, rules: &Rules) -> Step {
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
fn refused_by_name(facts: &Facts, rules: &Rules) -> Option<Refusal> {
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
fn authenticated(user: &UserFacts, outdated: bool, rules: &Rules) -> Step {
    if !user.enabled {
        return refuse(Refusal::UserDisabled);
    }
    let mut sent = None;
    let outcome = match user.status {
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

/// Returns what follows the first factor: the challenge of a second one, where the user has one or
/// the pool demands one. On a page the user is asked for the first one, and can choose another.
fn after_first_factor(user: &UserFacts, rules: &Rules) -> (Outcome, Option<Effect>) {
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

/// Returns whether the user may set a software token up in this sign-in: a first factor was proved,
/// and there is no second factor yet.
pub(super) fn may_set_up(facts: &Facts) -> bool {
    proved_user(facts).is_ok_and(|user| user.factors.is_empty() && !user.demands_factor)
}

fn factor_code(factor: Factor, facts: &Facts) -> Step {
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

fn select(chosen: Factor, facts: &Facts) -> Step {
    match proved_user(facts) {
        Ok(user) if user.factors.contains(&chosen) => {
            let (outcome, sent) = ask(chosen);
            Step::Done(outcome, sent.into_iter().collect())
        }
        Ok(_) => refuse(Refusal::UnexpectedAnswer),
        Err(step) => step,
    }
}

fn factor_set_up(is_verified: bool, facts: &Facts) -> Step {
    match proved_user(facts) {
        Ok(user) if is_verified && user.factors.contains(&Factor::SoftwareToken) => {
            Step::Done(Outcome::SignedIn, Vec::new())
        }
        Ok(_) => refuse(Refusal::FactorNotSetUp),
        Err(step) => step,
    }
}

/// A wrong password or proof, and whatever must look like one.
fn failed() -> Step {
    refuse(Refusal::IncorrectPassword)
}

fn refuse(refusal: Refusal) -> Step {
    Step::Done(Outcome::Refused(refusal), Vec::new())
}
