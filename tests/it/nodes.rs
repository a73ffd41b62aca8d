//! Two nodes on one PostgreSQL: what holds while one of them dies, and while the database does.

use crate::support::load::Load;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::{OpenIdProvider, Postgres};
use crate::support::process::wait_until;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, location, redirect_target};
use reqwest::Method;
use reqwest::header::ACCEPT;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

struct Scene {
    _upstream: Upstream,
    _provider: OpenIdProvider,
    nodes: [Narthex; 2],
}

impl Scene {
    async fn set(database: &str) -> Self {
        let upstream = Upstream::start().await;
        let builder = NarthexBuilder::new();
        let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
        let builder = builder
            .postgres(database)
            .tables(&provider.toml("\"anyone\""))
            .route("app", upstream.port, "")
            .route("other", upstream.port, "");
        let one = builder.clone().start();
        let two = one.share_authority(&builder).start_at("127.0.0.2");
        Self { _upstream: upstream, _provider: provider, nodes: [one, two] }
    }

    fn app(&self) -> String {
        format!("{}/", self.nodes[0].origin("app"))
    }
}

const CODES: usize = 250;
const TRIES: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_tries_at_the_same_instant_on_both_nodes_one_a_code_succeeds() {
    let scene = Scene::set(&Postgres::shared().database()).await;
    let app = scene.app();
    for round in 0..CODES {
        // Each from an address of its own: an address that fails so often is rate limited.
        let address = [127, 1, 0, u8::try_from(round).unwrap()].into();
        let visitor = Visitor::with_client(&scene.nodes[0], |builder| builder.local_address(Some(address)));
        // The provider is asked once; the codes come from the pool's own session.
        assert_status(&visitor.sign_in(&app, &format!("person{round}")).await, 200);
        let other = format!("{}/", scene.nodes[0].origin("other"));
        let mut answer = visitor.get(&other).await;
        let callback = loop {
            let to = redirect_target(&answer).expect("the pool knows who it is");
            if to.contains("/.narthex/callback?") {
                break to;
            }
            answer = visitor.get(&to).await;
        };
        let elsewhere = visitor.on_node_from(&scene.nodes[1], address);
        let start = Arc::new(tokio::sync::Barrier::new(TRIES));
        let tries = (0..TRIES).map(|count| {
            let client = if count % 2 == 0 { &visitor } else { &elsewhere }.client.clone();
            let (callback, start) = (callback.clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                let answer = client.get(callback).header(ACCEPT, "text/html").send().await.unwrap();
                let set = answer.headers().get_all("set-cookie").iter();
                let session = set.filter(|cookie| cookie.as_bytes().starts_with(b"__Host-narthex=")).count();
                (answer.status().as_u16(), session)
            })
        });
        let mut good = 0;
        for outcome in futures_util::future::join_all(tries).await {
            match outcome.unwrap() {
                (303, 1) => good += 1,
                // Delivered already, or too often from this address.
                (303 | 400 | 429, 0) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(good, 1, "code {round}");
        assert_status(&visitor.request_json(Method::GET, &app).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_killed_under_load_loses_no_login_that_was_answered() {
    let mut scene = Scene::set(&Postgres::shared().database()).await;
    let app = scene.app();
    let (landed, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let mut people = tokio::task::JoinSet::new();
    for person in 0..8 {
        let (app, landed, stop) = (app.clone(), landed.clone(), stop.clone());
        let make: Vec<Visitor> = (0..200).map(|_| Visitor::new(&scene.nodes[person % 2])).collect();
        people.spawn(async move {
            for visitor in make {
                let answer = visitor.try_sign_in(&app, &format!("person{person}")).await;
                if stop.load(Ordering::SeqCst) || answer.is_none_or(|answer| answer.status() != 200) {
                    return;
                }
                landed.lock().unwrap().push((person % 2, visitor));
            }
        });
    }
    let begun = Instant::now();
    while landed.lock().unwrap().iter().filter(|(node, _)| *node == 1).count() < 30 {
        assert!(begun.elapsed().as_secs() < 60, "sign-ins are too slow");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    scene.nodes[1].kill();
    stop.store(true, Ordering::SeqCst);
    while people.join_next().await.is_some() {}
    let landed = std::mem::take(&mut *landed.lock().unwrap());
    for (node, visitor) in &landed {
        let answer = visitor.on_node(&scene.nodes[0]).request_json(Method::GET, &app).await;
        assert_eq!(answer.status(), 200, "a session that node {node} answered is gone");
    }
}

/// Processor time that a process has used.
fn processor_time(narthex: &Narthex) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", narthex.process_id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_gone_warm_sessions_are_served_and_nothing_is_lost() {
    let mut database = Postgres::start();
    let scene = Scene::set(&database.database()).await;
    let (app, node) = (scene.app(), &scene.nodes[0]);
    let visitors: Vec<Visitor> = (0..8).map(|_| Visitor::new(node)).collect();
    for (number, visitor) in visitors.iter().enumerate() {
        assert_status(&visitor.sign_in(&app, &format!("person{number}")).await, 200);
    }
    // One signs out before, and must not come back with the database.
    let out = Visitor::new(node);
    assert_status(&out.sign_in(&app, "out").await, 200);
    let url: url::Url = app.parse().unwrap();
    let kept = reqwest::cookie::CookieStore::cookies(&*out.jar, &url).unwrap();
    let signed_out =
        out.client.post(format!("{app}.narthex/sign-out")).header("sec-fetch-site", "same-origin");
    assert_status(&signed_out.send().await.unwrap(), 200);

    let measure = async |seconds: u64| {
        let (before, load) = (processor_time(node), Load::start(visitors.clone(), &app, 300));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let outcome = load.stop().await;
        assert!(outcome.bad.is_empty(), "{:?}", &outcome.bad[..outcome.bad.len().min(3)]);
        let cost = (processor_time(node) - before) / outcome.good as u32;
        (cost, outcome.percentile(0.5))
    };
    let with = measure(8).await;
    database.stop();
    let begun = Instant::now();
    let without = measure(12).await;
    // A sign-in gets an error now, without a long wait.
    let asked = Instant::now();
    let stranger = Visitor::new(node);
    let page = stranger.sign_in(&app, "late").await;
    assert_status(&page, 503);
    let text = page.text().await.unwrap();
    assert!(text.contains("Sign-in is not available right now"), "{text}");
    assert!(asked.elapsed() < Duration::from_secs(12), "{:?}", asked.elapsed());
    assert!(node.admin("/readyz").starts_with("HTTP/1.1 503"));
    let rest = Duration::from_secs(30).saturating_sub(begun.elapsed());
    let again = measure(rest.as_secs().max(1)).await;
    database.restart();
    println!(
        "a warm request: processor time and median with the database {with:?}, without {without:?}, {again:?}"
    );
    assert!(without.0 < with.0 * 2, "with {with:?}, without {without:?}");

    wait_until("the database to be found again", || node.admin("/readyz").starts_with("HTTP/1.1 200"));
    for visitor in &visitors {
        assert_status(&visitor.request_json(Method::GET, &app).await, 200);
        assert_status(&visitor.on_node(&scene.nodes[1]).request_json(Method::GET, &app).await, 200);
    }
    assert_status(&Visitor::new(node).sign_in(&app, "late").await, 200);
    let thief = Visitor::new(node);
    for cookie in kept.to_str().unwrap().split("; ") {
        thief.jar.add_cookie_str(&format!("{cookie}; Path=/; Secure"), &url);
    }
    assert_status(&thief.request_json(Method::GET, &app).await, 401);
    assert_eq!(location(&thief.get(&app).await).host_str(), Some("auth.localhost"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_database_is_noticed_and_sessions_in_memory_end_after_the_stated_grace() {
    let database = Postgres::start();
    let scene = Scene::set(&database.database()).await;
    let (app, visitor) = (scene.app(), Visitor::new(&scene.nodes[0]));
    assert_status(&visitor.sign_in(&app, "alice").await, 200);
    database.signal("STOP");
    let begun = Instant::now();
    let ended = loop {
        let answer = visitor.request_json(Method::GET, &app).await;
        match answer.status().as_u16() {
            200 => tokio::time::sleep(Duration::from_millis(200)).await,
            503 => break begun.elapsed(),
            other => panic!("{other}"),
        }
        assert!(begun.elapsed().as_secs() < 90, "a sign-out elsewhere could go unheard for ever");
    };
    database.signal("CONT");
    assert!((50..80).contains(&ended.as_secs()), "{ended:?}");
    wait_until("the database to be heard again", || scene.nodes[0].admin("/readyz").contains("HTTP/1.1 200"));
    let begun = Instant::now();
    while visitor.request_json(Method::GET, &app).await.status() != 200 {
        assert!(begun.elapsed().as_secs() < 20, "the session does not come back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_stopped_for_long_trusts_nothing_of_what_it_remembers() {
    let scene = Scene::set(&Postgres::shared().database()).await;
    let (app, alice) = (scene.app(), Visitor::new(&scene.nodes[0]));
    assert_status(&alice.sign_in(&app, "alice").await, 200);
    assert_status(&alice.request_json(Method::GET, &app).await, 200);
    scene.nodes[0].signal("STOP");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_narthex"));
    let done =
        command.args(["users", "sign-out", "alice@corp.example", "--config"]).arg(&scene.nodes[1].file);
    assert!(done.output().unwrap().status.success());
    // Longer than what is remembered counts without a word from the database.
    tokio::time::sleep(Duration::from_secs(62)).await;
    // It is there before anything else that the node does.
    let first = tokio::spawn({
        let (alice, app) = (alice.clone(), app.clone());
        async move { alice.request_json(Method::GET, &app).await.status().as_u16() }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    scene.nodes[0].signal("CONT");
    assert!([401, 503].contains(&first.await.unwrap()));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        let status = alice.request_json(Method::GET, &app).await.status().as_u16();
        assert!([401, 503].contains(&status), "{status}");
    }
    assert_status(&alice.request_json(Method::GET, &app).await, 401);
}
