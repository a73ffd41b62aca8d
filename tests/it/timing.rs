//! Whether the time of an answer reveals who is a user. Calls for a user and for a name without one
//! take turns. They differ if a rank test says so with p < 0.001, or if the medians differ
//! by more than a tenth of the interquartile range, in each of three runs.
//!
//! `NARTHEX_TIMING` is the number of calls of each kind. With fewer than 1,000 only gross
//! differences are found, p < 0.000001: the medians differ by chance, and in an unoptimized build
//! the work of the processor takes many times as long as it does, beside that of the database.

use crate::support::accounts::{AccountScene, OTHER, PASSWORD};
use crate::support::engine::Engine;
use narthex::base::{Duration, Secret};
use narthex::directory::sign_in::{Answer, Flow, Reply};
use narthex::directory::{Administration, Argon2Params, Sender, Takeover};
use narthex::model::{PoolSettings, SignInAttribute, SignInSettings};
use std::time::Instant;

/// The calls that are compared; each needs the name of an account.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Password,
    SrpBegin,
    SrpProof,
    Choice,
    ForgotPassword,
    ConfirmForgotPassword,
    ConfirmSignUp,
    ResendCode,
}

/// Each operation with its user, who is confirmed or is not.
const OPERATIONS: [(Operation, &str); 8] = [
    (Operation::Password, "confirmed"),
    (Operation::SrpBegin, "confirmed"),
    (Operation::SrpProof, "confirmed"),
    (Operation::Choice, "confirmed"),
    (Operation::ForgotPassword, "confirmed"),
    (Operation::ConfirmForgotPassword, "confirmed"),
    (Operation::ConfirmSignUp, "signed-up"),
    (Operation::ResendCode, "signed-up"),
];
/// A name without a user.
const NOBODY: &str = "nobody";

/// A pool with [`OPERATIONS`]' users.
async fn scene() -> AccountScene {
    let settings = PoolSettings {
        sign_in: SignInSettings { alias_attributes: vec![SignInAttribute::Email], ..Default::default() },
        auto_verified: vec![SignInAttribute::Email],
        ..Default::default()
    };
    let scene = AccountScene::with_hashing(Engine::sqlite(), settings, Argon2Params::default()).await;
    scene.create_user("confirmed", "confirmed@example.com").await;
    let administration = Administration { keeps_verifiers: true, ..scene.administration() };
    let password = (&Secret::new(PASSWORD), true);
    scene.accounts.admin_set_password(administration, "confirmed", password).await.unwrap();
    scene.sign_up("signed-up", &[("email", "signed-up@example.com")]).await.unwrap();
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_about_a_name_takes_an_interval() {
    let scene = scene().await;
    for (operation, user) in OPERATIONS {
        for name in [user, NOBODY] {
            let seconds = time(&scene, operation, name).await;
            assert!(seconds >= 0.01, "{operation:?} of {name}: {seconds} s");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_20_the_time_of_an_answer_does_not_reveal_a_user() {
    let calls: usize = std::env::var("NARTHEX_TIMING").map_or(40, |calls| calls.parse().unwrap());
    let scene = scene().await;
    let mut revealing = Vec::new();
    for (operation, user) in OPERATIONS {
        let mut told_apart = 0;
        for _ in 0..3 {
            let (mut known, mut unknown) = (Vec::new(), Vec::new());
            for at in 0..calls {
                // In turns, each of them first: the database does more after some calls.
                if at % 2 == 0 {
                    known.push(time(&scene, operation, user).await);
                }
                unknown.push(time(&scene, operation, NOBODY).await);
                if at % 2 == 1 {
                    known.push(time(&scene, operation, user).await);
                }
            }
            let (p, medians) = (rank_test(&known, &unknown), median_difference(&known, &unknown));
            println!(
                "{operation:?}: p = {p:.6}, medians differ by {medians:.3} of the interquartile range, {:.1} ms",
                quantile(&known, 0.5) * 1000.0
            );
            told_apart += usize::from(match calls {
                1000.. => p < 0.001 || medians > 0.1,
                _ => p < 1e-6,
            });
        }
        if told_apart == 3 {
            revealing.push(operation);
        }
    }
    assert!(revealing.is_empty(), "the times of a user and of nobody differ: {revealing:?}");
}

/// Returns the seconds that a call takes.
async fn time(scene: &AccountScene, operation: Operation, name: &str) -> f64 {
    // Locks and limits are over.
    scene.clock.advance(Duration::from_hours(2));
    let sender = Sender { keeps_verifiers: true, ..scene.sender() };
    let (wrong, code) = (Answer::Password(Secret::new(OTHER)), Secret::new("wrong"));
    let public = Answer::SrpA("1f".repeat(300));
    let begin = async |flow, answer: &Answer| scene.sign_in.begin(sender, flow, name, answer).await.unwrap();
    let accounts = &scene.accounts;
    let before = match operation {
        Operation::SrpProof => Some(begin(Flow::UserSrp, &public).await),
        Operation::ConfirmForgotPassword => {
            accounts.forgot_password(sender, name).await.unwrap();
            None
        }
        Operation::ConfirmSignUp => {
            accounts.resend_sign_up_code(sender, name).await.unwrap();
            None
        }
        _ => None,
    };
    let begun = Instant::now();
    match operation {
        Operation::Password => drop(begin(Flow::UserPassword, &wrong).await),
        Operation::SrpBegin => drop(begin(Flow::UserSrp, &public).await),
        Operation::Choice => drop(begin(Flow::UserAuth, &Answer::Nothing).await),
        Operation::SrpProof => {
            let Some(Reply::Challenge(challenge)) = before else { panic!("{before:?}") };
            let proof = Answer::SrpProof {
                timestamp: "Fri Jan 15 08:00:00 UTC 2027".to_owned(),
                signature: "A".repeat(43) + "=",
            };
            let block = &challenge.exchange.as_ref().unwrap().secret_block;
            drop(scene.sign_in.respond_to_exchange(sender, block, &proof).await.unwrap());
        }
        Operation::ForgotPassword => drop(accounts.forgot_password(sender, name).await.unwrap()),
        Operation::ConfirmForgotPassword => {
            let password = Secret::new(OTHER);
            drop(accounts.confirm_forgot_password(sender, name, &code, &password).await.unwrap_err());
        }
        Operation::ConfirmSignUp => {
            drop(accounts.confirm_sign_up(sender, name, &code, Takeover::Refuse).await.unwrap_err());
        }
        Operation::ResendCode => drop(accounts.resend_sign_up_code(sender, name).await.unwrap()),
    }
    begun.elapsed().as_secs_f64()
}

/// Returns the two-sided p of the Mann-Whitney test, by the normal distribution.
fn rank_test(one: &[f64], other: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        one.iter().map(|time| (*time, true)).chain(other.iter().map(|time| (*time, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (n, m) = (one.len() as f64, other.len() as f64);
    let ranks: f64 =
        all.iter().enumerate().filter(|(_, (_, is_one))| *is_one).map(|(at, _)| at as f64 + 1.0).sum();
    let u = ranks - n * (n + 1.0) / 2.0;
    let z = (u - n * m / 2.0).abs() / (n * m * (n + m + 1.0) / 12.0).sqrt();
    2.0 * upper_tail(z)
}

/// Returns the probability of more than `z` (Abramowitz and Stegun, 26.2.17; error below 1e-7).
fn upper_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.2316419 * z);
    let polynomial = [1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.319381530]
        .iter()
        .fold(0.0, |sum, factor| (sum + factor) * t);
    polynomial * (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

/// Returns the difference of the medians, in interquartile ranges of both together.
fn median_difference(one: &[f64], other: &[f64]) -> f64 {
    let all = [one, other].concat();
    let range = quantile(&all, 0.75) - quantile(&all, 0.25);
    (quantile(one, 0.5) - quantile(other, 0.5)).abs() / range
}

#[test]
fn the_rank_test_tells_shifted_times_apart_and_equal_ones_not() {
    let times = |shift: f64| (0..200).map(|at| f64::from(at * 37 % 200) + shift).collect::<Vec<_>>();
    assert!(rank_test(&times(0.0), &times(0.5)) > 0.5);
    assert!(rank_test(&times(0.0), &times(40.0)) < 0.001);
    assert!((2.0 * upper_tail(1.959964) - 0.05).abs() < 1e-5);
    assert!(median_difference(&times(0.0), &times(40.0)) > 0.1);
}
