//! Second factors in the state machine, against tables.

use super::Refusal::{
    CodeMismatch, FactorNotFound, FactorNotSetUp, InvalidSession, TokenCodeUsed, UnexpectedAnswer,
};
use super::*;
use crate::base::Secret;
use crate::model::Factor::{self, Email, Sms, SoftwareToken};
use crate::model::{FirstFactor, MfaMode, MfaSettings, UserStatus};
use std::collections::BTreeMap;

const SET_AT: i64 = 17;
const ALL: [Factor; 3] = [SoftwareToken, Email, Sms];
const ALL_FIRST: [FirstFactor; 3] = [FirstFactor::Password, FirstFactor::Email, FirstFactor::Sms];

fn rules(mode: MfaMode, factors: &[Factor], on_page: bool) -> Rules {
    let mfa = MfaSettings { mode, factors: factors.to_vec() };
    Rules {
        flows: Flow::all().collect(),
        hide_unknown_users: true,
        on_page,
        first_factors: ALL_FIRST.to_vec(),
        mfa,
        device_replaces_factor: true,
    }
}

fn user(factors: &[Factor], preferred: Option<Factor>) -> UserFacts {
    UserFacts {
        status: UserStatus::Confirmed,
        enabled: true,
        password_set_at: SET_AT,
        temporary_password_expired: false,
        missing_attributes: Vec::new(),
        present_attributes: Vec::new(),
        factors: factors.to_vec(),
        demands_factor: false,
        preferred_factor: preferred,
        device: NamedDevice::None,
        proved_first_factor: true,
    }
}

fn facts(user: UserFacts, result: Option<WorkResult>) -> Facts {
    Facts {
        user: Some(user),
        locked: false,
        rounds: None,
        first_factors: ALL_FIRST.to_vec(),
        session_is_new: false,
        result,
    }
}

fn done(step: Step) -> (Outcome, Vec<Effect>) {
    match step {
        Step::Done(outcome, effects) => (outcome, effects),
        Step::Work(work) => panic!("still to do: {work:?}"),
    }
}

fn refused(step: Step) -> Refusal {
    match done(step) {
        (Outcome::Refused(refusal), effects) if effects.is_empty() => refusal,
        other => panic!("{other:?}"),
    }
}

/// Every way in which a password is proved: state, answer and the result of the work.
fn first_factors() -> [(State, Answer, WorkResult, UserStatus); 4] {
    let verifier = Challenge::PasswordVerifier { exchange: ExchangeState(vec![1]), password_set_at: SET_AT };
    let proof = Answer::SrpProof { timestamp: String::new(), signature: String::new() };
    let new = Answer::NewPassword { password: Secret::new("n"), attributes: BTreeMap::new() };
    [
        (
            State::Begin(Flow::UserPassword),
            Answer::Password(Secret::new("p")),
            WorkResult::Password(PasswordCheck::Right { outdated: false }),
            UserStatus::Confirmed,
        ),
        (State::Challenged(verifier), proof, WorkResult::SrpProof(true), UserStatus::Confirmed),
        (
            State::Challenged(Challenge::NewPasswordRequired { password_set_at: SET_AT }),
            new,
            WorkResult::NewPassword(Ok(())),
            UserStatus::ForceChangePassword,
        ),
        (
            State::Challenged(Challenge::ConfirmSignUp { password_set_at: Some(SET_AT) }),
            Answer::Code(Secret::new("123456")),
            WorkResult::Code(Ok(())),
            UserStatus::Unconfirmed,
        ),
    ]
}

#[test]
fn every_first_factor_leads_to_the_second_one() {
    let ask = |factor| Outcome::Challenge(Challenge::Factor(factor));
    let set_up = Outcome::Challenge(Challenge::SetUpFactor { is_verified: false, secret: None });
    let select = Outcome::Challenge(Challenge::SelectFactor);
    let (off, optional, required) = (MfaMode::Off, MfaMode::Optional, MfaMode::Required);
    let token = &[SoftwareToken][..];
    for (mode, of_pool, of_user, preferred, on_page, expected, sent) in [
        (off, &[][..], &[][..], None, false, Outcome::SignedIn, None),
        (optional, &ALL, &[], None, false, Outcome::SignedIn, None),
        (optional, &ALL, token, None, false, ask(SoftwareToken), None),
        (optional, &ALL, &[Sms], None, false, ask(Sms), Some(Sms)),
        (optional, &ALL, &ALL, None, false, select, None),
        (optional, &ALL, &ALL, Some(Email), false, ask(Email), Some(Email)),
        (optional, &ALL, &ALL, None, true, ask(SoftwareToken), None),
        (optional, &ALL, &[Email, Sms], None, true, ask(Email), Some(Email)),
        // A preferred factor that the user lost is none.
        (optional, &ALL, token, Some(Sms), false, ask(SoftwareToken), None),
        (required, token, &[], None, false, set_up.clone(), None),
        (required, &[Email], &[], None, false, Outcome::Refused(FactorNotFound), None),
        (required, &ALL, token, None, false, ask(SoftwareToken), None),
    ] {
        for (state, answer, result, status) in first_factors() {
            let user = UserFacts { status, ..user(of_user, preferred) };
            let step = advance(&state, &answer, &facts(user, Some(result)), &rules(mode, of_pool, on_page));
            let (outcome, effects) = done(step);
            assert_eq!(outcome, expected, "{mode:?} {of_user:?} {on_page} {state:?}");
            let sends: Vec<_> = effects
                .iter()
                .filter_map(|effect| match effect {
                    Effect::SendCode(factor) => Some(*factor),
                    _ => None,
                })
                .collect();
            assert_eq!(sends, sent.into_iter().collect::<Vec<_>>(), "{of_user:?} {state:?}");
        }
    }
}

#[test]
fn a_factor_that_is_turned_on_and_cannot_be_used_ends_the_sign_in() {
    for mode in [MfaMode::Optional, MfaMode::Required] {
        for (state, answer, result, status) in first_factors() {
            let user = UserFacts { status, demands_factor: true, ..user(&[], None) };
            let step = advance(&state, &answer, &facts(user, Some(result)), &rules(mode, &ALL, false));
            assert_eq!(done(step).0, Outcome::Refused(FactorNotFound), "{mode:?} {state:?}");
        }
    }
    let lost = UserFacts { demands_factor: true, ..user(&[], None) };
    assert!(!second_factor::may_set_up(&facts(lost, None)));
}

#[test]
fn the_right_code_signs_in_once_and_every_other_one_does_not() {
    let rules = rules(MfaMode::Optional, &ALL, false);
    let code = Answer::Code(Secret::new("123456"));
    for factor in ALL {
        let state = State::Challenged(Challenge::Factor(factor));
        let step = |of: UserFacts, result| advance(&state, &code, &facts(of, result), &rules);
        assert_eq!(step(user(&ALL, None), None), Step::Work(Work::CheckFactor(factor)));
        let right = || Some(WorkResult::Factor(Ok(())));
        let signed_in = Step::Done(Outcome::SignedIn, vec![Effect::UseCode, Effect::SpendChallenge]);
        assert_eq!(step(user(&ALL, None), right()), signed_in);
        for refusal in [CodeMismatch, TokenCodeUsed, Refusal::CodeExpired, Refusal::AttemptsExceeded] {
            let wrong = Some(WorkResult::Factor(Err(Box::new(refusal.clone()))));
            assert_eq!(refused(step(user(&ALL, None), wrong)), refusal);
        }
        // The result of other work is none.
        assert_eq!(refused(step(user(&ALL, None), Some(WorkResult::Code(Ok(()))))), CodeMismatch);
        let without: Vec<_> = ALL.into_iter().filter(|of| *of != factor).collect();
        for void in [
            UserFacts { proved_first_factor: false, ..user(&ALL, None) },
            UserFacts { enabled: false, ..user(&ALL, None) },
            UserFacts { status: UserStatus::ResetRequired, ..user(&ALL, None) },
            user(&without, None),
        ] {
            assert_eq!(refused(step(void.clone(), None)), InvalidSession, "{void:?}");
            assert_eq!(refused(step(void, right())), InvalidSession);
        }
        let nobody = Facts {
            user: None,
            locked: false,
            rounds: None,
            first_factors: ALL_FIRST.to_vec(),
            session_is_new: false,
            result: right(),
        };
        assert_eq!(refused(advance(&state, &code, &nobody, &rules)), InvalidSession);
    }
}

#[test]
fn a_user_chooses_among_the_own_factors() {
    let choose = |state: Challenge, chosen, on_page| {
        let rules = rules(MfaMode::Optional, &ALL, on_page);
        let facts = facts(user(&[SoftwareToken, Email], None), None);
        advance(&State::Challenged(state), &Answer::Factor(chosen), &facts, &rules)
    };
    let asked = |factor, sent: Vec<Effect>| {
        let effects = sent.into_iter().chain([Effect::SpendChallenge]).collect();
        Step::Done(Outcome::Challenge(Challenge::Factor(factor)), effects)
    };
    let by_email = || asked(Email, vec![Effect::SendCode(Email)]);
    assert_eq!(choose(Challenge::SelectFactor, SoftwareToken, false), asked(SoftwareToken, Vec::new()));
    assert_eq!(choose(Challenge::SelectFactor, Email, false), by_email());
    assert_eq!(refused(choose(Challenge::SelectFactor, Sms, false)), UnexpectedAnswer);
    // A page asks for one factor at once, and offers the others.
    assert_eq!(choose(Challenge::Factor(SoftwareToken), Email, true), by_email());
    assert_eq!(refused(choose(Challenge::Factor(SoftwareToken), Email, false)), UnexpectedAnswer);
}

#[test]
fn only_a_verified_token_ends_the_set_up() {
    let rules = rules(MfaMode::Required, &[SoftwareToken], false);
    let step = |is_verified, of: UserFacts| {
        let state = State::Challenged(Challenge::SetUpFactor { is_verified, secret: None });
        advance(&state, &Answer::FactorSetUp, &facts(of, None), &rules)
    };
    let with_token = || user(&[SoftwareToken], None);
    let signed_in = Step::Done(Outcome::SignedIn, vec![Effect::SpendChallenge]);
    assert_eq!(step(true, with_token()), signed_in);
    // The session of somebody who knows the password, from before the user set a token up.
    assert_eq!(refused(step(false, with_token())), FactorNotSetUp);
    assert_eq!(refused(step(true, user(&[], None))), FactorNotSetUp);
    assert_eq!(refused(step(true, UserFacts { proved_first_factor: false, ..with_token() })), InvalidSession);
    assert!(second_factor::may_set_up(&facts(user(&[], None), None)));
    assert!(!second_factor::may_set_up(&facts(with_token(), None)));
    assert!(!second_factor::may_set_up(&facts(
        UserFacts { proved_first_factor: false, ..user(&[], None) },
        None
    )));
}

#[test]
fn a_session_gets_a_second_factor_where_the_pool_has_one() {
    let ask = |factor| Outcome::Challenge(Challenge::Factor(factor));
    let set_up = Outcome::Challenge(Challenge::SetUpFactor { is_verified: false, secret: None });
    let none = Outcome::Refused(FactorNotFound);
    let token = &[SoftwareToken][..];
    for (mode, of_pool, of_user, expected) in [
        (MfaMode::Off, token, token, none.clone()),
        (MfaMode::Optional, token, token, ask(SoftwareToken)),
        (MfaMode::Optional, token, &[][..], set_up.clone()),
        (MfaMode::Optional, &[Email], &[], none),
        (MfaMode::Required, token, token, ask(SoftwareToken)),
    ] {
        // A remembered device does not replace it.
        let device = NamedDevice::Remembered("device".to_owned());
        let known = UserFacts { device, ..user(of_user, None) };
        let step = |user, session_is_new| {
            let begin = State::Begin(Flow::StepUp);
            let facts = Facts { session_is_new, ..facts(user, None) };
            advance(&begin, &Answer::Nothing, &facts, &rules(mode, of_pool, true))
        };
        assert_eq!(done(step(known.clone(), true)).0, expected, "{mode:?} {of_user:?}");
        // The cookie of an older session may be somebody else's.
        let later = if expected == set_up { Outcome::Refused(FactorNotFound) } else { expected.clone() };
        assert_eq!(done(step(known.clone(), false)).0, later);
        let disabled = UserFacts { enabled: false, ..known.clone() };
        assert_eq!(refused(step(disabled, true)), InvalidSession);
        let reset = UserFacts { status: UserStatus::ResetRequired, ..known };
        assert_eq!(refused(step(reset, true)), InvalidSession);
    }
}
