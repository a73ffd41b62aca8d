//! Jumps of the wall clock, on the real binary. libfaketime steps the wall clock, and leaves the
//! monotonic one alone.

use crate::support::client_credentials::{NEXT_SECRET, access_token, oauth2_request, pool_toml};
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::pages::{follow_to_provider, page_links, query_parameter};
use crate::support::parties::{OpenIdProvider, Postgres};
use crate::support::time::WallClock;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, get_with_token, location, redirect_target};
use reqwest::Method;
use std::process::Command;
use std::time::{Duration, Instant};

async fn revoke(narthex: &Narthex, token: &str) {
    let revoke =
        oauth2_request(narthex, "revoke").basic_auth("reporter", Some(NEXT_SECRET)).form(&[("token", token)]);
    assert_status(&revoke.send().await.unwrap(), 200);
}

async fn wait_for_status(narthex: &Narthex, token: &str, status: u16) {
    let begun = Instant::now();
    while get_with_token(narthex, token).await.status() != status {
        assert!(begun.elapsed() < Duration::from_secs(20), "never {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_jump_of_the_wall_clock_lets_a_revoked_token_work_again() {
    let (upstream, clock) = (Upstream::start().await, WallClock::new());
    let builder =
        NarthexBuilder::new().tables(&pool_toml("ES256")).route("app", upstream.port, "bearer = true");
    let narthex = clock.apply_to(builder).start();
    let (revoked, good, late) =
        (access_token(&narthex).await, access_token(&narthex).await, access_token(&narthex).await);
    for token in [&revoked, &good, &late, &revoked, &good, &late] {
        assert_status(&get_with_token(&narthex, token).await, 200);
    }
    revoke(&narthex, &revoked).await;
    wait_for_status(&narthex, &revoked, 401).await;
    // A day at most: certificates that it issues then begin a day early.
    for ahead in ["+7200", "+72000"] {
        clock.jump(&narthex, ahead);
        assert_status(&get_with_token(&narthex, &good).await, 401);
        // Over by this clock, and to be revoked all the same.
        revoke(&narthex, &late).await;
        clock.set("+0");
        let begun = Instant::now();
        let jumps = narthex.audit("clock_jumped").len();
        // From the very moment on at which it is set back, noticed or not.
        while narthex.audit("clock_jumped").len() == jumps || begun.elapsed() < Duration::from_secs(4) {
            assert_status(&get_with_token(&narthex, &revoked).await, 401);
            // That one was revoked a moment ago.
            if begun.elapsed() > Duration::from_secs(3) {
                assert_status(&get_with_token(&narthex, &late).await, 401);
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "the jump is not noticed");
        }
        wait_for_status(&narthex, &good, 200).await;
    }
    // Issued by a clock that was ahead, it is not good before its time; the others are by a clock
    // that is behind.
    clock.jump(&narthex, "+7200");
    let early = access_token(&narthex).await;
    for _ in 0..3 {
        assert_status(&get_with_token(&narthex, &early).await, 200);
    }
    clock.jump(&narthex, "+0");
    assert_status(&get_with_token(&narthex, &early).await, 401);
    clock.jump(&narthex, "-7200");
    assert_status(&get_with_token(&narthex, &revoked).await, 401);
    clock.jump(&narthex, "+0");
    assert_status(&get_with_token(&narthex, &good).await, 200);
    assert_status(&get_with_token(&narthex, &revoked).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_hours_off_hears_of_a_sign_out_as_soon_as_any() {
    let (upstream, clock) = (Upstream::start().await, WallClock::new());
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let builder = builder
        .postgres(&Postgres::shared().database())
        .tables(&provider.toml("\"anyone\""))
        .route("app", upstream.port, "");
    let one = builder.clone().start();
    let two = clock.apply_to(one.share_authority(&builder)).start_at("127.0.0.2");
    let app = format!("{}/", one.origin("app"));
    for offset in ["+7200", "-7200"] {
        let alice = Visitor::new(&one);
        assert_status(&alice.sign_in(&app, "alice").await, 200);
        clock.jump(&two, offset);
        let elsewhere = alice.on_node(&two);
        assert_status(&elsewhere.request_json(Method::GET, &app).await, 200);
        let mut command = Command::new(env!("CARGO_BIN_EXE_narthex"));
        let done = command.args(["users", "sign-out", "alice@corp.example", "--config"]).arg(&one.file);
        assert!(done.output().unwrap().status.success());
        let begun = Instant::now();
        for visitor in [&elsewhere, &alice] {
            while visitor.request_json(Method::GET, &app).await.status() != 401 {
                assert!(begun.elapsed() < Duration::from_secs(10), "at {offset} a node does not hear of it");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        clock.jump(&two, "+0");
        assert_status(&elsewhere.request_json(Method::GET, &app).await, 401);
    }
}

/// Signs in at the provider's page `url` as `login`, and returns the callback that it leads to.
async fn callback_of(visitor: &Visitor, url: &str, login: &str) -> String {
    let page = visitor.follow(url).await;
    let at = page.url().clone();
    let text = page.text().await.unwrap();
    let action = text.split("action=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let fields = [("prompt", "login"), ("login", login), ("password", "any")];
    let mut answer = visitor.client.post(at.join(&action).unwrap()).form(&fields).send().await.unwrap();
    loop {
        let to = redirect_target(&answer).expect("a way back");
        if to.contains("/oauth2/idpresponse/") {
            return to;
        }
        answer = visitor.get(&to).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_took_all_night_leads_back_to_what_was_wanted() {
    let clock = WallClock::new();
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex =
        clock.apply_to(builder.tables(&provider.toml("\"anyone\"")).route("app", upstream.port, "")).start();
    let app = narthex.origin("app");
    let wanted = format!("{app}/deep?x=1");
    let alice = Visitor::new(&narthex);
    let at_provider = follow_to_provider(&alice, &wanted).await;
    let state = query_parameter(&at_provider, "state");
    clock.jump(&narthex, "+700");
    let callback = callback_of(&alice, at_provider.as_str(), "alice").await;
    assert!(callback.contains(&state));

    // It signs nobody in, and has the way back to a sign-in that does.
    let page = alice.get(&callback).await;
    assert_status(&page, 400);
    assert_eq!(narthex.audit("login_failed")[0]["reason"], "no_attempt");
    let back = page_links(&page.text().await.unwrap()).remove(0);
    let landed = alice.sign_in(&back, "alice").await;
    assert_status(&landed, 200);
    assert_eq!(landed.url().as_str(), wanted);
    // By then it leads there at once.
    let answer = alice.get(&callback).await;
    assert_status(&answer, 303);
    assert!(location(&answer).as_str().starts_with(&format!("{app}/")));
    assert_status(&alice.follow(location(&answer).as_str()).await, 200);
}
