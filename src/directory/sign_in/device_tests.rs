//! Remembered devices in the state machine, against tables.

use super::Refusal::{DeviceNotFound, InvalidSession};
use super::*;
use crate::base::Secret;
use crate::model::Factor::{self, Email, SoftwareToken};
use crate::model::{FirstFactor, MfaMode, MfaSettings, UserStatus};

fn rules(mode: MfaMode, device_replaces_factor: bool) -> Rules {
    let mfa = MfaSettings { mode, factors: vec![SoftwareToken, Email] };
    let first_factors = vec![FirstFactor::Password];
    let flows = Flow::all().collect();
    Rules { flows, hide_unknown_users: true, on_page: false, first_factors, mfa, device_replaces_factor }
}

fn facts(factors: &[Factor], device: NamedDevice, result: Option<WorkResult>) -> Facts {
    let user = UserFacts {
        status: UserStatus::Confirmed,
        enabled: true,
        password_set_at: 1,
        temporary_password_expired: false,
        missing_attributes: Vec::new(),
        present_attributes: Vec::new(),
        factors: factors.to_vec(),
        demands_factor: !factors.is_empty(),
        preferred_factor: None,
        device,
        proved_first_factor: true,
    };
    Facts {
        user: Some(user),
        locked: false,
        rounds: None,
        first_factors: vec![FirstFactor::Password],
        session_is_new: false,
        result,
    }
}

fn remembered(key: &str) -> NamedDevice {
    NamedDevice::Remembered(key.to_owned())
}

fn outcome(step: Step) -> Outcome {
    match step {
        Step::Done(outcome, _) => outcome,
        Step::Work(work) => panic!("still to do: {work:?}"),
    }
}

/// The device, the second factors of the user, the mode of the pool, whether a device replaces the
/// factor, and what follows the right password.
#[test]
fn a_remembered_device_replaces_the_second_factor_alone() {
    let (token, both) = (&[SoftwareToken][..], &[SoftwareToken, Email][..]);
    let device = || Challenge::Device { key: "k".to_owned() };
    let set_up = Challenge::SetUpFactor { is_verified: false, secret: None };
    let (optional, required) = (MfaMode::Optional, MfaMode::Required);
    for (named, factors, mode, replaces, expected) in [
        (remembered("k"), &[][..], optional, false, Outcome::Challenge(device())),
        (remembered("k"), token, optional, true, Outcome::Challenge(device())),
        (remembered("k"), both, required, true, Outcome::Challenge(device())),
        (remembered("k"), token, optional, false, Outcome::Challenge(Challenge::Factor(SoftwareToken))),
        (remembered("k"), &[], required, true, Outcome::Challenge(set_up)),
        (NamedDevice::Known, token, optional, true, Outcome::Challenge(Challenge::Factor(SoftwareToken))),
        (NamedDevice::Known, &[], optional, true, Outcome::SignedIn),
        (NamedDevice::None, token, optional, true, Outcome::Challenge(Challenge::Factor(SoftwareToken))),
        (NamedDevice::Unknown, token, optional, true, Outcome::Refused(DeviceNotFound)),
        (NamedDevice::Unknown, &[], optional, true, Outcome::Refused(DeviceNotFound)),
    ] {
        let right = Some(WorkResult::Password(PasswordCheck::Right { outdated: false }));
        let (state, answer) = (State::Begin(Flow::UserPassword), Answer::Password(Secret::new("p")));
        let facts = facts(factors, named.clone(), right);
        let found = outcome(advance(&state, &answer, &facts, &rules(mode, replaces)));
        assert_eq!(found, expected, "{named:?} {factors:?} {mode:?} {replaces}");
    }
}

#[test]
fn a_device_that_is_another_one_or_forgotten_proves_nothing() {
    let rules = rules(MfaMode::Optional, true);
    let challenge = Challenge::DeviceVerifier { key: "k".to_owned(), exchange: ExchangeState(vec![1]) };
    let proof = Answer::SrpProof { timestamp: String::new(), signature: String::new() };
    let step = |facts: &Facts| advance(&State::Challenged(challenge.clone()), &proof, facts, &rules);
    let right = || Some(WorkResult::SrpProof(true));
    let signed_in = step(&facts(&[SoftwareToken], remembered("k"), right()));
    let effects = vec![Effect::ResetFailures, Effect::UseDevice, Effect::SpendChallenge];
    assert_eq!(signed_in, Step::Done(Outcome::SignedIn, effects));
    // The user lost the factor meanwhile: the set-up is not replaced.
    let required =
        Rules { mfa: MfaSettings { mode: MfaMode::Required, ..rules.mfa.clone() }, ..rules.clone() };
    let lost = facts(&[], remembered("k"), right());
    let set_up = Challenge::SetUpFactor { is_verified: false, secret: None };
    let found = advance(&State::Challenged(challenge.clone()), &proof, &lost, &required);
    assert_eq!(outcome(found), Outcome::Challenge(set_up));
    for device in [remembered("other"), NamedDevice::Known, NamedDevice::Unknown, NamedDevice::None] {
        let refused = outcome(step(&facts(&[SoftwareToken], device, right())));
        assert_eq!(refused, Outcome::Refused(DeviceNotFound));
    }
    let mut changed = facts(&[SoftwareToken], remembered("k"), right());
    if let Some(user) = &mut changed.user {
        user.proved_first_factor = false;
    }
    assert_eq!(outcome(step(&changed)), Outcome::Refused(InvalidSession));
    let wrong = step(&facts(&[SoftwareToken], remembered("k"), Some(WorkResult::SrpProof(false))));
    assert_eq!(outcome(wrong), Outcome::Refused(Refusal::IncorrectPassword));
}
