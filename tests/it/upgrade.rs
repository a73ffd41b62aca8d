//! Reloads and upgrades of the program under load.

use crate::support::load::Load;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::OpenIdProvider;
use crate::support::process::wait_until;
use crate::support::streams::{Socket, echoes, open_socket, signed_in_visitor, start_stream_app};
use crate::support::upstream::Upstream;
use crate::support::visitor::Visitor;
use std::time::Duration;

/// Requests a second.
const RATE: usize = 1000;

/// An app under load, and a WebSocket beside it.
struct Scene {
    _provider: OpenIdProvider,
    _upstream: Upstream,
    narthex: Narthex,
    load: Load,
}

impl Scene {
    async fn set() -> Self {
        let upstream = Upstream::start().await;
        let builder = NarthexBuilder::new();
        let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
        let narthex = builder
            .tables(&provider.toml("\"anyone\""))
            .route("app", start_stream_app().await, "")
            .route("loaded", upstream.port, "")
            .start();
        let mut visitors = Vec::new();
        for number in 0..40 {
            let visitor = Visitor::with_client(&narthex, |builder| {
                // Both versions; HTTP/1.1 meets the harder case, a connection that ends under it.
                if number % 4 == 0 { builder } else { builder.http1_only() }
            });
            let url = format!("{}/", narthex.origin("loaded"));
            assert_eq!(visitor.sign_in(&url, "alice").await.status(), 200);
            visitors.push(visitor);
        }
        let load = Load::start(visitors, &format!("{}/some/file", narthex.origin("loaded")), RATE);
        Self { _provider: provider, _upstream: upstream, narthex, load }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_under_load_loses_no_request_and_drops_no_websocket() {
    let mut scene = Scene::set().await;
    let alice = signed_in_visitor(&scene.narthex, "alice").await;
    let mut socket = open_socket(&scene.narthex, &alice).await;
    assert!(echoes(&mut socket, "before").await);

    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut old = scene.narthex.upgrade();
    scene.narthex.wait_for_log("\"ending\":\"HandOver\"");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(echoes(&mut socket, "after").await, "what was begun goes on");
    let outcome = scene.load.stop().await;
    assert!(outcome.bad.is_empty(), "{:?}", &outcome.bad[..outcome.bad.len().min(3)]);
    println!("an upgrade: {} requests, {:.0} a second, none failed", outcome.good, outcome.rate);
    assert!(outcome.good > 3 * RATE, "{} requests are no load", outcome.good);
    // A new WebSocket is the new process's; sign-out reaches the one of the old process, too.
    let mut new = open_socket(&scene.narthex, &alice).await;
    assert!(echoes(&mut new, "new").await);
    let out = format!("{}/.narthex/sign-out", scene.narthex.origin("app"));
    let out = alice.client.post(out).header("sec-fetch-site", "same-origin").send().await.unwrap();
    assert_eq!(out.status(), 200);
    let over = async |socket: &mut Socket| {
        use futures_util::StreamExt as _;
        let ended = async { while matches!(socket.next().await, Some(Ok(_))) {} };
        tokio::time::timeout(Duration::from_secs(4), ended).await.is_ok()
    };
    assert!(over(&mut new).await && over(&mut socket).await, "both end with their session");
    drop((socket, new));
    // Its last connections are let go once they have been idle long enough.
    wait_until("the old process to end", || old.try_wait().unwrap().is_some());
    assert!(scene.narthex.admin("/readyz").contains("ready"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_fails_leaves_the_running_process_as_it_was() {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    narthex.edit(|text| text.replace("[listen]", "[lisen]"));
    let run = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_narthex"));
        command.args(["run", "--upgrade", "--config"]).arg(&narthex.file).output().unwrap()
    };
    let failed = run();
    assert!(!failed.status.success());
    assert!(String::from_utf8_lossy(&failed.stderr).contains("did you mean `listen`"));
    let visitor = Visitor::new(&narthex);
    assert_eq!(visitor.get(&format!("{}/", narthex.origin("app"))).await.status(), 200);

    // Somebody who does not know the words gets nothing; others of this machine cannot even ask.
    use std::os::unix::fs::PermissionsExt as _;
    let place = narthex.folder().join("narthex.sock");
    assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stranger = std::os::unix::net::UnixStream::connect(&place).unwrap();
    std::io::Write::write_all(&mut stranger, b"give me all the sockets\n").unwrap();
    let mut answer = Vec::new();
    drop(std::io::Read::read_to_end(&mut stranger, &mut answer));
    assert!(answer.is_empty());
    assert_eq!(visitor.get(&format!("{}/", narthex.origin("app"))).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_under_load_fail_no_request() {
    let scene = Scene::set().await;
    let alice = signed_in_visitor(&scene.narthex, "alice").await;
    let mut socket = open_socket(&scene.narthex, &alice).await;
    for round in 1..=100 {
        scene.narthex.edit(|text| {
            let text = text.split("\n# round").next().unwrap().to_owned();
            format!("{text}\n# round {round}\n")
        });
        scene.narthex.signal("HUP");
        wait_until("the reload", || scene.narthex.audit("reload").len() >= round);
    }
    assert!(echoes(&mut socket, "still here").await);
    let outcome = scene.load.stop().await;
    assert!(outcome.bad.is_empty(), "{:?}", &outcome.bad[..outcome.bad.len().min(3)]);
    println!("100 reloads: {} requests, {:.0} a second, none failed", outcome.good, outcome.rate);
    assert!(outcome.good > RATE, "{} requests are no load", outcome.good);
}
