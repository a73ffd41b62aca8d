//! Sessions after the sign-in: changes at the provider, other nodes, and their end by the user.

use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::{OpenIdProvider, Postgres};
use crate::support::process::wait_until;
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, assert_status};
use reqwest::Method;
use std::time::{Duration, Instant};

/// How long access tokens live here.
const SECONDS: u32 = 6;

struct Scene {
    upstream: Upstream,
    provider: OpenIdProvider,
    nodes: [Narthex; 2],
}

impl Scene {
    /// Two nodes on one PostgreSQL, and a provider whose tokens must be renewed often.
    async fn set(allow: &str) -> Self {
        let upstream = Upstream::start().await;
        let builder = NarthexBuilder::new();
        let provider = OpenIdProvider::start_with_token_lifetime("corp", &builder.callback("corp"), SECONDS);
        let builder = builder.postgres(&Postgres::shared().database()).tables(&provider.toml(allow)).route(
            "app",
            upstream.port,
            "access_token = true",
        );
        let one = builder.clone().start();
        let two = one.share_authority(&builder).start_at("127.0.0.2");
        Self { upstream, provider, nodes: [one, two] }
    }

    fn app(&self) -> String {
        format!("{}/", self.nodes[0].origin("app"))
    }

    async fn signed_in(&self, login: &str) -> Visitor {
        let visitor = Visitor::new(&self.nodes[0]);
        assert_status(&visitor.sign_in(&self.app(), login).await, 200);
        visitor
    }
}

/// Asks again until the answer has this status; answers how long that took.
async fn until_status(visitor: &Visitor, url: &str, status: u16) -> Duration {
    let begun = Instant::now();
    while visitor.request_json(Method::GET, url).await.status() != status {
        assert!(begun.elapsed().as_secs() < 30, "{url} never answered {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_requests_on_two_nodes_at_the_tokens_end_cause_one_refresh() {
    let scene = Scene::set("\"anyone\"").await;
    let alice = scene.signed_in("alice").await;
    let (app, elsewhere) = (scene.app(), alice.on_node(&scene.nodes[1]));
    assert_status(&elsewhere.request_json(Method::GET, &app).await, 200);
    for round in 1..=2 {
        // Past their end, not only due: every request has to wait for the answer.
        tokio::time::sleep(Duration::from_secs(u64::from(SECONDS) + 1)).await;
        let requests = (0..200).map(|count| {
            let visitor = if count % 2 == 0 { alice.clone() } else { elsewhere.clone() };
            let app = app.clone();
            async move { visitor.request_json(Method::GET, &app).await.status().as_u16() }
        });
        let answers = futures_util::future::join_all(requests).await;
        assert_eq!(answers, vec![200; 200]);
        assert_eq!(scene.provider.count("refreshes").await, round);
    }
    assert_eq!(scene.provider.count("reuses").await, 0);

    // The app that asks for it gets the provider's token, and each time one that is valid.
    let tokens: std::collections::HashSet<String> = scene
        .upstream
        .seen()
        .iter()
        .filter_map(|seen| {
            seen.header_values("x-amzn-oidc-accesstoken").first().map(|token| (*token).to_owned())
        })
        .collect();
    assert_eq!(tokens.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_groups_take_effect_within_a_tokens_life_and_lost_ones_end_the_session() {
    let scene = Scene::set("{ groups = [\"staff\"] }").await;
    let alice = scene.signed_in("alice+staff").await;
    let app = scene.app();
    let groups = async || {
        let seen: Seen = alice.request_json(Method::GET, &app).await.json().await.unwrap();
        seen.claims()["cognito:groups"].clone()
    };
    assert_eq!(groups().await, serde_json::json!(["staff"]));
    let bound = Duration::from_secs(u64::from(SECONDS) + 3);

    scene.provider.test_command("groups?login=alice%2Bstaff&groups=staff,editors").await;
    let begun = Instant::now();
    while groups().await != serde_json::json!(["staff", "editors"]) {
        assert!(begun.elapsed() < bound, "the change took too long");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.provider.test_command("groups?login=alice%2Bstaff&groups=guests").await;
    assert!(until_status(&alice, &app, 401).await < bound);
    let ended = scene.nodes[0].audit("session_ended");
    assert!(ended[0]["reason"].as_str().unwrap().contains("`allow` does not name"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_to_renew_ends_the_session_on_every_node() {
    let scene = Scene::set("\"anyone\"").await;
    let (alice, bob) = (scene.signed_in("alice").await, scene.signed_in("bob").await);
    let (app, elsewhere) = (scene.app(), alice.on_node(&scene.nodes[1]));
    assert_status(&elsewhere.request_json(Method::GET, &app).await, 200);
    scene.provider.test_command("revoke?login=alice").await;
    let bound = Duration::from_secs(u64::from(SECONDS) + 3);
    assert!(until_status(&alice, &app, 401).await < bound);
    assert!(until_status(&elsewhere, &app, 401).await < Duration::from_secs(2));
    assert_status(&bob.request_json(Method::GET, &app).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_out_on_one_node_is_refused_by_the_other_within_two_seconds() {
    let scene = Scene::set("\"anyone\"").await;
    let alice = scene.signed_in("alice").await;
    let (app, elsewhere) = (scene.app(), alice.on_node(&scene.nodes[1]));
    assert_status(&elsewhere.request_json(Method::GET, &app).await, 200);
    let out = alice.client.post(format!("{app}.narthex/sign-out")).header("sec-fetch-site", "same-origin");
    // The cookie goes on in another pocket: the browser that signed out has thrown its own away.
    let thief = Visitor::new(&scene.nodes[1]);
    let url: url::Url = app.parse().unwrap();
    for cookie in
        reqwest::cookie::CookieStore::cookies(&*alice.jar, &url).unwrap().to_str().unwrap().split("; ")
    {
        thief.jar.add_cookie_str(&format!("{cookie}; Path=/; Secure"), &url);
    }
    assert_status(&thief.request_json(Method::GET, &app).await, 200);
    assert_status(&out.send().await.unwrap(), 200);
    assert!(until_status(&thief, &app, 401).await < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_here_signs_out_at_the_provider_and_the_other_way_round() {
    let scene = Scene::set("\"anyone\"").await;
    let app = scene.app();
    let alice = scene.signed_in("alice").await;
    let out = format!("{app}.narthex/sign-out");
    let done = alice.client.post(&out).header("sec-fetch-site", "same-origin").send().await.unwrap();
    let page = alice.confirm_sign_out(done, "corp").await;
    let words = page.text().await.unwrap();
    assert!(words.contains("You are signed out") && words.contains(&app), "{words}");
    // The provider asks again, too.
    let asked = alice.follow(&app).await.text().await.unwrap();
    assert!(asked.contains("name=\"login\""), "{asked}");

    // From the provider, behind the browser's back, and to both nodes.
    let bob = scene.signed_in("bob").await;
    let elsewhere = bob.on_node(&scene.nodes[1]);
    assert_status(&elsewhere.request_json(Method::GET, &app).await, 200);
    let there = format!("http://127.0.0.1:{}/session/end", scene.provider.port);
    bob.end_provider_session(&there).await;
    wait_until("the provider's call", || !scene.nodes[0].audit("session_ended").is_empty());
    assert_status(&bob.request_json(Method::GET, &app).await, 401);
    assert!(until_status(&elsewhere, &app, 401).await < Duration::from_secs(2));
    assert_eq!(scene.provider.count("backchannel").await, 2, "one notification in each direction");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_every_session_and_ends_one_or_all() {
    let scene = Scene::set("\"anyone\"").await;
    let app = scene.app();
    let phone =
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1";
    let (desk, other) = (scene.signed_in("alice").await, scene.signed_in("alice").await);
    let phone = Visitor::with_client(&scene.nodes[0], |builder| builder.user_agent(phone));
    assert_status(&phone.sign_in(&app, "alice").await, 200);
    let bob = scene.signed_in("bob").await;

    let page = desk.follow(&format!("{app}.narthex/sessions")).await;
    let address = page.url().to_string();
    assert_eq!(address, format!("{}/sessions", scene.nodes[0].origin("auth")));
    let text = page.text().await.unwrap();
    assert_eq!(text.matches("name=\"session\"").count(), 3, "{text}");
    assert_eq!(text.matches("this browser").count(), 1);
    assert!(text.contains("Safari on iPhone") && text.contains("127.0.0.1") && text.contains("just now"));

    let row = text.split("<li>").find(|row| row.contains("iPhone")).unwrap();
    let id = row.split("value=\"").nth(1).unwrap().split('"').next().unwrap();
    let press = async |visitor: &Visitor, form: &[(&str, &str)], site: &str| {
        visitor.client.post(&address).header("sec-fetch-site", site).form(form).send().await.unwrap()
    };
    // Neither another site's form nor another person ends it.
    assert_status(&press(&desk, &[("session", id)], "cross-site").await, 400);
    assert_status(&press(&bob, &[("session", id)], "same-origin").await, 303);
    assert_status(&phone.request_json(Method::GET, &app).await, 200);
    assert_status(&press(&desk, &[("session", id)], "same-origin").await, 303);
    assert_status(&phone.request_json(Method::GET, &app).await, 401);
    assert_status(&other.request_json(Method::GET, &app).await, 200);

    assert_status(&press(&desk, &[("all", "1")], "same-origin").await, 200);
    for visitor in [&desk, &other] {
        assert_status(&visitor.request_json(Method::GET, &app).await, 401);
    }
    assert_status(&bob.request_json(Method::GET, &app).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_signs_a_person_out_by_name_or_address() {
    let scene = Scene::set("\"anyone\"").await;
    let (alice, bob, app) = (scene.signed_in("alice").await, scene.signed_in("bob").await, scene.app());
    let elsewhere = alice.on_node(&scene.nodes[1]);
    assert_status(&elsewhere.request_json(Method::GET, &app).await, 200);
    let run = |who: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_narthex"));
        command.args(["users", "sign-out", who, "--config"]).arg(&scene.nodes[0].file).output().unwrap()
    };
    let nobody = run("carol@corp.example");
    assert!(!nobody.status.success());
    assert!(String::from_utf8(nobody.stderr).unwrap().contains("no user is called \"carol@corp.example\""));

    let done = run("Alice@corp.example");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8(done.stdout).unwrap().ends_with("_alice: 1 session(s) ended\n"));
    for visitor in [&alice, &elsewhere] {
        assert!(until_status(visitor, &app, 401).await < Duration::from_secs(2));
    }
    assert_status(&bob.request_json(Method::GET, &app).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_different_files_say_so_until_they_agree() {
    let scene = Scene::set("\"anyone\"").await;
    let [one, two] = &scene.nodes;
    let differing = |count: u8| one.admin("/metrics").contains(&format!("narthex_nodes_differing {count}"));
    wait_until("the nodes to know of each other", || differing(0));
    assert!(one.audit("nodes_differ").is_empty() && two.audit("nodes_differ").is_empty());
    let change = |text: String| text.replace("allow = \"anyone\"", "allow = { groups = [\"staff\"] }");
    one.edit(change);
    wait_until("both to notice", || {
        !one.audit("nodes_differ").is_empty() && !two.audit("nodes_differ").is_empty()
    });
    assert!(differing(1));
    two.edit(change);
    wait_until("both to agree", || differing(0));
    // A further user pool is part of the configuration.
    let pools = "[[user_pool]]\nname = \"default\"\n[[user_pool]]\nname = \"staff\"\n";
    one.edit(|text| text + pools);
    wait_until("a difference of pools", || differing(1));
    two.edit(|text| text + pools);
    wait_until("both to agree again", || differing(0));
}
