//! The state machine of sign-in against a table of every state, answer and status.

use super::Refusal::{
    AttemptsExceeded, AttributeMissing, AttributePresent, CodeExpired, CodeMismatch, FactorNotFound,
    FactorNotSetUp, FlowNotEnabled, IncorrectPassword, InvalidPassword, InvalidSession, InvalidSrpA,
    PasswordResetRequired, TemporaryPasswordExpired, UnexpectedAnswer, UserDisabled, UserNotConfirmed,
    UserNotFound,
};
use super::*;
use crate::base::Secret;
use crate::model::Factor::{Email, SoftwareToken};
use crate::model::FirstFactor::{self, Password};
use crate::model::MfaSettings;
use crate::model::UserStatus::{
    self, Archived, Compromised, Confirmed, ExternalProvider, ForceChangePassword, ResetRequired,
    Unconfirmed, Unknown,
};
use std::collections::BTreeMap;

const SET_AT: i64 = 17;
const KEY: &str = "device";
const ALL_FIRST: [FirstFactor; 3] = [Password, FirstFactor::Email, FirstFactor::Sms];

fn states() -> Vec<State> {
    let challenges = [
        Challenge::SelectChallenge,
        Challenge::FirstFactor(Email),
        Challenge::SignUpConfirmed { verified: Email, password_set_at: SET_AT },
        Challenge::PasswordVerifier { exchange: ExchangeState(vec![1]), password_set_at: SET_AT },
        Challenge::NewPasswordRequired { password_set_at: SET_AT },
        Challenge::ConfirmSignUp { password_set_at: Some(SET_AT) },
        Challenge::Custom { private: PrivateParameters::default(), metadata: None },
        Challenge::Device { key: KEY.to_owned() },
        Challenge::DeviceVerifier { key: KEY.to_owned(), exchange: ExchangeState(vec![1]) },
        Challenge::SelectFactor,
        Challenge::Factor(SoftwareToken),
        Challenge::SetUpFactor { is_verified: false, secret: None },
    ];
    Flow::all().map(State::Begin).chain(challenges.map(State::Challenged)).collect()
}

fn answers() -> Vec<Answer> {
    vec![
        Answer::Nothing,
        Answer::Password(Secret::new("p")),
        Answer::SrpA("a1".into()),
        Answer::SrpProof { timestamp: String::new(), signature: String::new() },
        Answer::NewPassword { password: Secret::new("n"), attributes: BTreeMap::new() },
        Answer::Code(Secret::new("123456")),
        Answer::Factor(SoftwareToken),
        Answer::FactorSetUp,
        Answer::FirstFactor(Email),
        Answer::Custom(Secret::new("a")),
    ]
}

fn rules() -> Rules {
    let mfa = MfaSettings::default();
    Rules {
        flows: Flow::all().collect(),
        hide_unknown_users: true,
        on_page: false,
        first_factors: ALL_FIRST.to_vec(),
        mfa,
        device_replaces_factor: true,
    }
}

fn user(status: UserStatus) -> UserFacts {
    UserFacts {
        status,
        enabled: true,
        password_set_at: SET_AT,
        temporary_password_expired: false,
        missing_attributes: Vec::new(),
        present_attributes: Vec::new(),
        factors: Vec::new(),
        demands_factor: false,
        preferred_factor: None,
        device: NamedDevice::None,
        proved_first_factor: true,
    }
}

fn facts(user: Option<UserFacts>, result: Option<WorkResult>) -> Facts {
    Facts {
        user,
        locked: false,
        rounds: None,
        first_factors: ALL_FIRST.to_vec(),
        session_is_new: false,
        result,
    }
}

fn right() -> Option<WorkResult> {
    Some(WorkResult::Password(PasswordCheck::Right { outdated: false }))
}

fn wrong() -> Option<WorkResult> {
    Some(WorkResult::Password(PasswordCheck::Wrong))
}

fn outcome(step: Step) -> Outcome {
    match step {
        Step::Done(outcome, _) => outcome,
        Step::Work(work) => panic!("still to do: {work:?}"),
    }
}

fn by_password(facts: &Facts, rules: &Rules) -> Step {
    advance(&State::Begin(Flow::UserPassword), &Answer::Password(Secret::new("p")), facts, rules)
}

/// Every state with the work that each answer asks for: `P` password, `S` the exchange's start, `V`
/// its proof, `N` the new password, `C` the code, `O` the code that replaces a password, `F` the
/// second factor's code, `D` and `d` the exchange of a device, `n` the function that names a
/// challenge, `v` the one that compares an answer, `c` a choice without work, `e` the challenge of
/// a code that is sent, `s` a factor's challenge, `i` the step after a confirmed sign-up, `u` a
/// token that is not set up, `x` a second factor that the pool does not have, `-` not an answer to
/// this state. The answers are in the order of [`answers`].
const WORK: [&str; 19] = [
    "-P--------", // USER_PASSWORD_AUTH
    "-P--------", // ADMIN_USER_PASSWORD_AUTH
    "--S-------", // USER_SRP_AUTH
    "cPS-----e-", // USER_AUTH
    "n-n-------", // CUSTOM_AUTH
    "-P------e-", // the page
    "x---------", // a second factor for a session
    "-PS-----e-", // SELECT_CHALLENGE
    "-----O----", // EMAIL_OTP
    "i---------", // a confirmed sign-up
    "---V------", // PASSWORD_VERIFIER
    "----N-----", // NEW_PASSWORD_REQUIRED
    "-----C----", // the code of a sign-up
    "---------v", // CUSTOM_CHALLENGE
    "--D-------", // DEVICE_SRP_AUTH
    "---d------", // DEVICE_PASSWORD_VERIFIER
    "------s---", // SELECT_MFA_TYPE
    "-----F----", // SOFTWARE_TOKEN_MFA
    "-------u--", // MFA_SETUP
];

#[test]
fn each_state_takes_its_own_answers_alone_and_no_answer_signs_in_without_work() {
    for (state, row) in states().iter().zip(WORK) {
        for (answer, expected) in answers().iter().zip(row.chars()) {
            let status = match expected {
                'N' => ForceChangePassword,
                'C' => Unconfirmed,
                _ => Confirmed,
            };
            let done = |outcome| Step::Done(outcome, Vec::new());
            let expected = match expected {
                'P' => Step::Work(Work::CheckPassword),
                'S' => Step::Work(Work::BeginSrp),
                'V' => Step::Work(Work::CheckSrpProof),
                'N' => Step::Work(Work::PrepareNewPassword),
                'C' => Step::Work(Work::CheckCode),
                'O' => Step::Work(Work::CheckFirstCode(Email)),
                'n' => Step::Work(Work::DefineChallenge),
                'v' => Step::Work(Work::VerifyAnswer),
                'D' => Step::Work(Work::BeginDeviceSrp),
                'd' => Step::Work(Work::CheckDeviceProof),
                'F' => Step::Work(Work::CheckFactor(SoftwareToken)),
                'e' => {
                    let sent = Outcome::Challenge(Challenge::FirstFactor(Email));
                    Step::Done(sent, vec![Effect::SendFirstCode(Email)])
                }
                'i' => {
                    let asked = Outcome::Challenge(Challenge::Device { key: KEY.to_owned() });
                    Step::Done(asked, vec![Effect::SpendChallenge])
                }
                's' => {
                    let asked = Outcome::Challenge(Challenge::Factor(SoftwareToken));
                    Step::Done(asked, vec![Effect::SpendChallenge])
                }
                'x' => done(Outcome::Refused(FactorNotFound)),
                'u' => done(Outcome::Refused(FactorNotSetUp)),
                'c' => done(Outcome::Challenge(Challenge::SelectChallenge)),
                _ => done(Outcome::Refused(UnexpectedAnswer)),
            };
            let device = NamedDevice::Remembered(KEY.to_owned());
            let user = UserFacts { factors: vec![SoftwareToken], device, ..user(status) };
            let found = advance(state, answer, &facts(Some(user), None), &rules());
            assert_eq!(found, expected, "{state:?} {answer:?}");
        }
    }
}

#[test]
fn an_unknown_user_asks_for_the_same_work_and_fails_whatever_its_result() {
    let results = || {
        let proof = Some(WorkResult::SrpProof(true));
        [right(), proof, Some(WorkResult::NewPassword(Ok(()))), Some(WorkResult::Code(Ok(())))]
    };
    for (state, row) in states().iter().zip(WORK) {
        for (answer, work) in answers().iter().zip(row.chars()) {
            let known = advance(state, answer, &facts(Some(user(Confirmed)), None), &rules());
            let unknown = advance(state, answer, &facts(None, None), &rules());
            match work {
                'P' | 'S' | 'V' | 'O' | 'n' | 'v' | 'c' | 'e' | '-' => {
                    assert_eq!(known, unknown, "{state:?} {answer:?}")
                }
                _ => assert!(matches!(unknown, Step::Done(Outcome::Refused(_), _))),
            }
            for result in results() {
                let step = advance(state, answer, &facts(None, result), &rules());
                let signed_in = matches!(step, Step::Done(Outcome::SignedIn | Outcome::Confirmed, _));
                assert!(!signed_in, "{state:?} {answer:?}");
            }
        }
    }
    let failed = Step::Done(Outcome::Refused(IncorrectPassword), Vec::new());
    assert_eq!(by_password(&facts(None, wrong()), &rules()), failed);
    assert_eq!(by_password(&facts(Some(user(Confirmed)), wrong()), &rules()), failed);
    let legacy = Rules { hide_unknown_users: false, ..rules() };
    assert_eq!(outcome(by_password(&facts(None, None), &legacy)), Outcome::Refused(UserNotFound));
}

/// Every status with what the right and the wrong password lead to; before the password is compared
/// where both are equal and marked so.
#[test]
fn each_status_has_its_outcome_for_the_right_and_the_wrong_password() {
    let change = || Outcome::Challenge(Challenge::NewPasswordRequired { password_set_at: SET_AT });
    let refused = |refusal: &Refusal| Outcome::Refused(refusal.clone());
    let table: [(UserStatus, bool, Outcome, &Refusal); 8] = [
        (Confirmed, false, Outcome::SignedIn, &IncorrectPassword),
        (ForceChangePassword, false, change(), &IncorrectPassword),
        (Unconfirmed, true, refused(&UserNotConfirmed), &UserNotConfirmed),
        (ResetRequired, false, refused(&PasswordResetRequired), &IncorrectPassword),
        (ExternalProvider, false, refused(&IncorrectPassword), &IncorrectPassword),
        (Archived, false, refused(&IncorrectPassword), &IncorrectPassword),
        (Compromised, false, refused(&IncorrectPassword), &IncorrectPassword),
        (Unknown, false, refused(&IncorrectPassword), &IncorrectPassword),
    ];
    assert_eq!(table.len(), UserStatus::all().count());
    for (status, before_password, with_right, with_wrong) in table {
        let first = by_password(&facts(Some(user(status)), None), &rules());
        assert_eq!(matches!(first, Step::Done(..)), before_password, "{status:?}");
        let found = outcome(by_password(&facts(Some(user(status)), right()), &rules()));
        assert_eq!(found, with_right, "{status:?}");
        let found = outcome(by_password(&facts(Some(user(status)), wrong()), &rules()));
        assert_eq!(found, refused(with_wrong), "{status:?}");
        // By Secure Remote Password the same.
        let exchange =
            Challenge::PasswordVerifier { exchange: ExchangeState(vec![1]), password_set_at: SET_AT };
        let proof = Answer::SrpProof { timestamp: String::new(), signature: String::new() };
        for (right, expected) in [(true, with_right), (false, refused(with_wrong))] {
            let facts = facts(Some(user(status)), Some(WorkResult::SrpProof(right)));
            let step = advance(&State::Challenged(exchange.clone()), &proof, &facts, &rules());
            assert_eq!(outcome(step), expected, "{status:?}");
        }
        // A disabled user is refused, and only the right password reveals that.
        let disabled = || Some(UserFacts { enabled: false, ..user(status) });
        let expected = if before_password { with_wrong } else { &UserDisabled };
        assert_eq!(outcome(by_password(&facts(disabled(), right()), &rules())), refused(expected));
        assert_eq!(outcome(by_password(&facts(disabled(), wrong()), &rules())), refused(with_wrong));
    }
}

#[test]
fn a_locked_name_is_refused_without_work_and_a_lock_is_not_lengthened() {
    let refused = Step::Done(Outcome::Refused(AttemptsExceeded), Vec::new());
    for user in [Some(user(Confirmed)), Some(user(Unconfirmed)), None] {
        for (state, row) in states().iter().zip(WORK) {
            for (answer, work) in answers().iter().zip(row.chars()).filter(|(_, work)| "PSVc".contains(*work))
            {
                let facts = Facts { locked: true, ..facts(user.clone(), right()) };
                assert_eq!(advance(state, answer, &facts, &rules()), refused, "{state:?} {answer:?} {work}");
            }
        }
    }
}

#[test]
fn a_flow_that_the_client_lacks_is_refused_and_the_page_needs_none() {
    let none = Rules { flows: Vec::new(), ..rules() };
    for flow in Flow::all() {
        let found =
            advance(&State::Begin(flow), &answers()[1], &facts(Some(user(Confirmed)), right()), &none);
        let expected = match flow {
            Flow::Page => Outcome::SignedIn,
            Flow::StepUp => Outcome::Refused(UnexpectedAnswer),
            flow => Outcome::Refused(FlowNotEnabled(flow)),
        };
        assert_eq!(outcome(found), expected);
    }
    assert_eq!(
        FlowNotEnabled(Flow::UserPassword).to_string(),
        "USER_PASSWORD_AUTH flow not enabled for this client"
    );
    assert_eq!(Flow::parse(""), None);
    assert_eq!(Flow::parse("USER_SRP_AUTH"), Some(Flow::UserSrp));
}

#[test]
fn a_right_password_resets_failures_updates_old_hashes_and_spends_a_challenge() {
    let outdated = || Some(WorkResult::Password(PasswordCheck::Right { outdated: true }));
    let step = by_password(&facts(Some(user(Confirmed)), outdated()), &rules());
    assert_eq!(step, Step::Done(Outcome::SignedIn, vec![Effect::ResetFailures, Effect::UpdateCredentials]));
    let select = State::Challenged(Challenge::SelectChallenge);
    let step = advance(&select, &answers()[1], &facts(Some(user(Confirmed)), right()), &rules());
    assert_eq!(step, Step::Done(Outcome::SignedIn, vec![Effect::ResetFailures, Effect::SpendChallenge]));
    // A wrong one leaves the challenge.
    let step = advance(&select, &answers()[1], &facts(Some(user(Confirmed)), wrong()), &rules());
    assert_eq!(step, Step::Done(Outcome::Refused(IncorrectPassword), Vec::new()));
}

#[test]
fn a_temporary_password_expires_and_its_challenge_is_void_after_any_change() {
    let expired = UserFacts { temporary_password_expired: true, ..user(ForceChangePassword) };
    let found = outcome(by_password(&facts(Some(expired.clone()), right()), &rules()));
    assert_eq!(found, Outcome::Refused(TemporaryPasswordExpired));
    let state = State::Challenged(Challenge::NewPasswordRequired { password_set_at: SET_AT });
    let (answer, accepted) = (answers().remove(4), || Some(WorkResult::NewPassword(Ok(()))));
    let step = |user| advance(&state, &answer, &facts(user, accepted()), &rules());
    let set = vec![Effect::SetPassword, Effect::SetStatus(Confirmed), Effect::SpendChallenge];
    assert_eq!(step(Some(user(ForceChangePassword))), Step::Done(Outcome::SignedIn, set));
    let void = [
        None,
        Some(expired),
        Some(user(Confirmed)),
        Some(user(ResetRequired)),
        Some(UserFacts { enabled: false, ..user(ForceChangePassword) }),
        Some(UserFacts { password_set_at: SET_AT + 1, ..user(ForceChangePassword) }),
    ];
    for user in void {
        assert_eq!(step(user.clone()), Step::Done(Outcome::Refused(InvalidSession), Vec::new()), "{user:?}");
    }
    let exchange =
        Challenge::PasswordVerifier { exchange: ExchangeState(vec![1]), password_set_at: SET_AT - 1 };
    let proof = Answer::SrpProof { timestamp: String::new(), signature: String::new() };
    let right = facts(Some(user(Confirmed)), Some(WorkResult::SrpProof(true)));
    let found = outcome(advance(&State::Challenged(exchange), &proof, &right, &rules()));
    assert_eq!(found, Outcome::Refused(IncorrectPassword), "the password changed during the exchange");
}

#[test]
fn a_new_password_brings_the_missing_attributes_and_changes_no_required_one() {
    let state = State::Challenged(Challenge::NewPasswordRequired { password_set_at: SET_AT });
    let user = UserFacts {
        missing_attributes: vec!["name".into()],
        present_attributes: vec!["email".into()],
        ..user(ForceChangePassword)
    };
    let step = |attributes: &[(&str, &str)], result| {
        let attributes = attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let answer = Answer::NewPassword { password: Secret::new("n"), attributes };
        advance(&state, &answer, &facts(Some(user.clone()), result), &rules())
    };
    let refused = |refusal| Step::Done(Outcome::Refused(refusal), Vec::new());
    assert_eq!(step(&[], None), refused(AttributeMissing("name".into())));
    assert_eq!(step(&[("name", "")], None), refused(AttributeMissing("name".into())));
    let both = [("name", "N"), ("email", "e@example.com")];
    assert_eq!(step(&both, None), refused(AttributePresent("email".into())));
    let (given, weak) = ([("name", "N")], "Password did not conform with policy: Password not long enough");
    assert_eq!(step(&given, None), Step::Work(Work::PrepareNewPassword));
    let found = step(&given, Some(WorkResult::NewPassword(Err(Box::new(InvalidPassword(weak.into()))))));
    assert_eq!(found, refused(InvalidPassword(weak.into())));
    let Step::Done(Outcome::SignedIn, effects) = step(&given, Some(WorkResult::NewPassword(Ok(())))) else {
        panic!("not signed in");
    };
    let attributes = BTreeMap::from([("name".to_owned(), "N".to_owned())]);
    assert!(effects.contains(&Effect::SetAttributes(attributes)));
}

#[test]
fn an_unconfirmed_user_reaches_the_code_with_any_password_and_the_app_with_the_right_one() {
    let page = State::Begin(Flow::Page);
    let password = &answers()[1];
    let confirm = |password_set_at| Challenge::ConfirmSignUp { password_set_at };
    let table = [
        (right(), confirm(Some(SET_AT)), vec![Effect::ResetFailures], Outcome::SignedIn),
        (wrong(), confirm(None), Vec::new(), Outcome::Confirmed),
    ];
    for (result, challenge, effects, end) in table {
        let step = advance(&page, password, &facts(Some(user(Unconfirmed)), result), &rules());
        assert_eq!(step, Step::Done(Outcome::Challenge(challenge.clone()), effects));
        let code = |user, result| {
            advance(&State::Challenged(challenge.clone()), &answers()[5], &facts(user, result), &rules())
        };
        let accepted = || Some(WorkResult::Code(Ok(())));
        let confirmed = vec![Effect::ConfirmSignUp, Effect::SpendChallenge];
        // A password that was not proved is void.
        let voided = vec![Effect::ConfirmSignUp, Effect::SetStatus(ResetRequired), Effect::SpendChallenge];
        let effects_of = |is_proved| if is_proved { confirmed.clone() } else { voided.clone() };
        let is_proved = end == Outcome::SignedIn;
        assert_eq!(code(Some(user(Unconfirmed)), accepted()), Step::Done(end, effects_of(is_proved)));
        // Nothing signs in a disabled user, or one whose password changed meanwhile.
        let disabled = UserFacts { enabled: false, ..user(Unconfirmed) };
        let changed = UserFacts { password_set_at: SET_AT + 1, ..user(Unconfirmed) };
        for (other, is_proved) in [(disabled, is_proved), (changed, false)] {
            let expected = Step::Done(Outcome::Confirmed, effects_of(is_proved));
            assert_eq!(code(Some(other), accepted()), expected);
        }
        let mismatch = Some(WorkResult::Code(Err(Box::new(CodeMismatch))));
        assert_eq!(outcome(code(Some(user(Unconfirmed)), mismatch)), Outcome::Refused(CodeMismatch));
        for late in [None, Some(user(Confirmed))] {
            assert_eq!(outcome(code(late, accepted())), Outcome::Refused(CodeExpired));
        }
    }
}

#[test]
fn an_exchange_begins_with_a_valid_public_value_alone() {
    let begin = |result| {
        let facts = facts(Some(user(Confirmed)), Some(WorkResult::SrpBegun(result)));
        outcome(advance(&State::Begin(Flow::UserSrp), &answers()[2], &facts, &rules()))
    };
    assert_eq!(begin(None), Outcome::Refused(InvalidSrpA));
    let challenge = Challenge::PasswordVerifier { exchange: ExchangeState(vec![9]), password_set_at: SET_AT };
    assert_eq!(begin(Some(ExchangeState(vec![9]))), Outcome::Challenge(challenge));
}
