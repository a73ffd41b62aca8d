//! Attackers who want to wear the gateway out, while others go on with their work: slowhttptest's
//! four modes, floods of HTTP/2 frames, garbage. One after another, with nothing beside them, so
//! that what they do to others can be measured.

// Tests with many cases, and the servers they start, may be longer than the program's functions.
#![allow(clippy::too_many_lines)]

#[allow(dead_code)]
#[path = "../it/support/mod.rs"]
mod support;

mod fuzz;
mod saml;
mod saml_bombs;
mod saml_differential;

use std::process::{Command, Stdio};
use std::time::Duration;
use support::load::{Load, Outcome};
use support::narthex::{Narthex, NarthexBuilder};
use support::parties::OpenIdProvider;
use support::process::parties;
use support::upstream::Upstream;
use support::visitor::{Visitor, assert_status};

/// What the process may hold while it is attacked.
const MEMORY: usize = 400 << 20;
/// How many seconds a flood of frames takes: a hundredth of the requests then is not a matter of
/// one moment.
const ATTACK: &str = "15";
/// Requests a second of the others.
const RATE: usize = 150;

/// The pool at which passwords are guessed.
const POOL: &str = "[[user_pool]]\nname = \"people\"\n[[user_pool.client]]\nname = \"web\"\nid = \"webclient\"\n\
                    auth_flows = [\"ALLOW_USER_PASSWORD_AUTH\"]\n";

/// A deployment with signed-in visitors, who come from another address than the attackers.
struct Scene {
    _upstream: Upstream,
    _provider: OpenIdProvider,
    narthex: Narthex,
    visitors: Vec<Visitor>,
}

impl Scene {
    async fn set() -> Self {
        let upstream = Upstream::start().await;
        let builder = NarthexBuilder::new().listen("connections_per_address = 500");
        let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
        let builder = builder.tables(&provider.toml("\"anyone\"")).tables(POOL);
        let narthex = builder.route("app", upstream.port, "").start();
        let mut visitors = Vec::new();
        for _ in 0..10 {
            let address: std::net::IpAddr = [127, 0, 0, 50].into();
            let visitor = Visitor::with_client(&narthex, |builder| builder.local_address(address));
            assert_status(&visitor.sign_in(&format!("{}/", narthex.origin("app")), "alice").await, 200);
            visitors.push(visitor);
        }
        Self { _upstream: upstream, _provider: provider, narthex, visitors }
    }

    /// What the others meet with while `attack` runs.
    async fn others(&self, attack: impl Future<Output = ()>) -> Outcome {
        let load = Load::start(self.visitors.clone(), &format!("{}/", self.narthex.origin("app")), RATE);
        attack.await;
        load.stop().await
    }

    /// Lets `attack` run, and judges by what it did to the others and to memory.
    async fn bear(&self, name: &str, attack: impl Future<Output = ()>) {
        let before = self.others(tokio::time::sleep(Duration::from_secs(5))).await;
        let during = self.others(attack).await;
        let (calm, p99) = (before.percentile(0.99), during.percentile(0.99));
        let memory = self.narthex.peak_memory() >> 20;
        println!(
            "{name}: p99 {calm:?} before, {p99:?} during, {} and {} requests; at most {memory} MB",
            before.good, during.good
        );
        assert!(during.bad.is_empty(), "{name}: {:?}", &during.bad[..during.bad.len().min(3)]);
        assert!(self.narthex.peak_memory() < MEMORY, "{name}: {memory} MB");
        // A hundredth of some hundred requests is a handful: differences of a few milliseconds are
        // not significant.
        let bound = (calm * 2).max(Duration::from_millis(15));
        assert!(p99 <= bound, "{name}: p99 {p99:?}, {calm:?} without");
    }
}

/// Held by tests that measure waiting times, and by tests that make the machine busy.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// An attacker. It has machines of its own, so it must not take the processor from its target here:
/// it runs when nobody else would (SCHED_IDLE). A nice process may keep the processor for a while.
fn attacker(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("chrt");
    command.args(["--idle", "0"]).arg(program);
    command
}

async fn run(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.stderr(Stdio::null()).output().unwrap());
    String::from_utf8_lossy(&output.await.unwrap().stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn others_go_on_while_attackers_wear_it_out() {
    let _alone = ALONE.lock().await;
    let scene = Scene::set().await;
    let port = scene.narthex.https.to_string();
    let url = format!("https://127.0.0.1:{port}/");
    for (name, mode) in [
        ("slow heads", &["-H", "-i", "5"][..]),
        ("slow bodies", &["-B", "-i", "5", "-s", "8192"]),
        ("ranges", &["-R", "-a", "1", "-b", "3000"]),
        ("slow reading", &["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "3"]),
    ] {
        scene
            .bear(name, async {
                let mut command = attacker("slowhttptest");
                command.args(mode).args(["-c", "700", "-r", "150", "-l", "12", "-p", "3", "-u", &url]);
                run(command).await;
            })
            .await;
    }
    for mode in ["rapid-reset", "continuation", "empty-data", "settings", "ping", "header-bomb", "no-window"]
    {
        scene
            .bear(mode, async {
                let mut command = attacker(parties().join("venv/bin/python"));
                command.arg(parties().join("h2-floods.py")).args([&port, "app.localhost", mode, ATTACK]);
                let said = run(command).await;
                println!("{mode}: frames, connections ended: {said}");
                assert!(!said.is_empty(), "{mode}: the attacker fell");
            })
            .await;
    }
    let refused = scene.narthex.admin("/metrics");
    assert!(
        refused.contains("narthex_connections_refused_total{reason=\"too_many_from_address\"}"),
        "{refused}"
    );
}

/// 37: a flood of sign-ins leaves the gateway its rate and its waiting times.
#[tokio::test(flavor = "multi_thread")]
async fn pain_37_others_go_on_while_passwords_are_guessed() {
    let _alone = ALONE.lock().await;
    let scene = Scene::set().await;
    let before = scene.others(tokio::time::sleep(Duration::from_secs(15))).await;
    let flood = async {
        let mut command = attacker(parties().join("venv/bin/python"));
        let port = scene.narthex.https.to_string();
        command.arg(parties().join("password-flood.py")).args([&port, "webclient", "32", ATTACK]);
        let said = run(command).await;
        println!("guesses by answer: {said}");
        assert!(said.contains("NotAuthorizedException"), "{said}");
        assert!(!said.contains("InternalErrorException"), "{said}");
    };
    let during = scene.others(flood).await;
    let (calm, median) = (before.percentile(0.5), during.percentile(0.5));
    println!(
        "{} requests before, {} during; median {calm:?} and {median:?}, p99 {:?} and {:?}",
        before.good,
        during.good,
        before.percentile(0.99),
        during.percentile(0.99)
    );
    assert!(during.bad.is_empty(), "{:?}", &during.bad[..during.bad.len().min(3)]);
    // The hashing threads have a low priority: the rate stays, and most requests wait for nothing.
    assert!(during.good * 10 >= before.good * 8, "{} requests, {} without a flood", during.good, before.good);
    assert!(median <= (calm * 2).max(Duration::from_millis(15)), "{median:?}, {calm:?} without a flood");
}
