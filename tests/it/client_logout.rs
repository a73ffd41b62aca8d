//! App clients learn that a session has ended (OpenID Connect Back-Channel Logout 1.0 and
//! Front-Channel Logout 1.0).

use crate::support::aws::{claims, ok, text};
use crate::support::browser::{self, DESK, wait_for_text};
use crate::support::config_errors::{VALID_FILE, assert_each_reported};
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::oauth::{PASSWORD, Scene, create_user, parameter};
use crate::support::parties::Postgres;
use crate::support::process::{parties, wait_until};
use crate::support::time::WallClock;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, redirect_target};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fantoccini::Locator;
use reqwest::Url;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The clients `one` and `two`, which are called at `port`, and `page`, which the browser opens.
fn clients(port: u16) -> String {
    let client = |id: &str, more: &str| {
        format!(
            "[[user_pool.client]]\nname = \"{id}\"\nid = \"{id}\"\nallowed_oauth_flows = [\"code\"]\n\
             allowed_oauth_scopes = [\"openid\"]\ncallback_urls = [\"https://spa.example/callback\", \"http://localhost:{port}/callback\"]\n\
             logout_urls = [\"https://spa.example/bye\", \"http://localhost:{port}/bye\"]\n{more}\n"
        )
    };
    let back = |path: &str| format!("backchannel_logout_uri = \"http://127.0.0.1:{port}/{path}?app=1\"");
    let front = format!("frontchannel_logout_uri = \"http://127.0.0.1:{port}/front?app=1\"");
    [client("one", &back("one")), client("two", &back("two")), client("page", &front)].concat()
}

/// Signs in to a client, and returns the claims of the ID token.
async fn sign_in(scene: &Scene, visitor: &Visitor, client: &str) -> Value {
    let request = scene.authorize(&[("client_id", client), ("scope", "openid")]);
    let opened = visitor.get(&request).await;
    let back: Url = match redirect_target(&opened) {
        Some(to) => to.parse().unwrap(),
        None => scene.sign_in(visitor, &request).await,
    };
    let (status, tokens) = scene.redeem(&parameter(&back, "code").unwrap(), &[("client_id", client)]).await;
    assert_eq!(status, 200, "{tokens}");
    claims(&text(&tokens["id_token"]))
}

/// Waits for `count` calls of a path, and returns their bodies.
async fn calls(app: &Upstream, path: &str, count: usize) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let seen = app.seen();
        let bodies: Vec<_> = seen.iter().filter(|call| call.target.starts_with(path)).collect();
        if bodies.len() >= count {
            return bodies.iter().map(|call| call.body.clone()).collect();
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{path}: {} of {count} calls", bodies.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the claims of a logout token that pyoidc has verified.
async fn verified(scene: &Scene, client: &str, form: &str) -> Value {
    let issuer = format!("{}/{}", scene.auth, scene.api.pool_id());
    let keys = format!("{issuer}/.well-known/jwks.json");
    let keys = scene.visitor().client.get(keys).send().await.unwrap().text().await.unwrap();
    let program = parties().join("venv/bin/python");
    let mut command = Command::new(program);
    command.arg(parties().join("logout-token.py")).args([&issuer, client, &keys, form]);
    let ran = command.output().unwrap();
    let output = String::from_utf8_lossy(&ran.stdout).into_owned();
    serde_json::from_str(&output).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&ran.stderr)))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_of_a_session_gets_a_logout_token_once() {
    let app = Upstream::start().await;
    let scene = Scene::start_with(&clients(app.port), |builder| builder).await;
    let (visitor, other) = (scene.visitor(), scene.visitor());
    let id = sign_in(&scene, &visitor, "one").await;
    assert_eq!(sign_in(&scene, &visitor, "two").await["sid"], id["sid"]);
    // A second sign-in of the same client in the session, and another session of the user.
    sign_in(&scene, &visitor, "one").await;
    let elsewhere = sign_in(&scene, &other, "one").await;
    assert_ne!(elsewhere["sid"], id["sid"]);
    // A client without such an address has no `sid`.
    assert_eq!(sign_in(&scene, &visitor, "spa").await["sid"], Value::Null);
    let bye = format!("{}/logout?client_id=one&logout_uri=https://spa.example/bye", scene.auth);
    assert_eq!(redirect_target(&visitor.get(&bye).await).as_deref(), Some("https://spa.example/bye"));
    for client in ["one", "two"] {
        let form = &calls(&app, &format!("/{client}?app=1"), 1).await[0];
        let token = verified(&scene, client, form).await;
        assert_eq!((&token["sub"], &token["sid"]), (&id["sub"], &id["sid"]), "{client}");
        assert_eq!(token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap(), 120);
        let encoded = form.strip_prefix("logout_token=").unwrap();
        let header = URL_SAFE_NO_PAD.decode(encoded.split('.').next().unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&header).unwrap()["typ"], "logout+jwt");
        // No endpoint takes it for another token.
        assert_eq!(scene.user_info(&json!(encoded)).await.0, 401);
    }
    // The other session ends by a change of the password, which an administrator makes.
    let mut boto = scene.api.boto();
    ok(&mut boto, "AdminDisableUser", json!({ "UserPoolId": scene.api.pool_id(), "Username": "ada" }));
    let forms = calls(&app, "/one", 2).await;
    assert_eq!(verified(&scene, "one", &forms[1]).await["sid"], elsewhere["sid"]);
    assert_eq!(app.seen().iter().filter(|call| call.target.starts_with("/two")).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_failed_is_called_again_while_another_one_is_slow() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let answer = move |uri: axum::http::Uri| async move {
        if uri.path() == "/two" {
            tokio::time::sleep(Duration::from_millis(4500)).await;
            return StatusCode::OK;
        }
        match counted.fetch_add(1, Ordering::SeqCst) {
            0 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(answer))).await.unwrap() });
    let scene = Scene::start_with(&clients(port), |builder| builder).await;
    let ended = async |client: &str| {
        let visitor = scene.visitor();
        sign_in(&scene, &visitor, client).await;
        visitor
            .get(&format!("{}/logout?client_id={client}&logout_uri=https://spa.example/bye", scene.auth))
            .await;
    };
    // Sign-outs for the slow client, so that its calls never end for long.
    let begun = Instant::now();
    ended("two").await;
    ended("one").await;
    while count.load(Ordering::SeqCst) < 1 {
        assert!(begun.elapsed() < Duration::from_secs(10), "no call");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while count.load(Ordering::SeqCst) < 2 {
        assert!(begun.elapsed() < Duration::from_secs(12), "{} calls", count.load(Ordering::SeqCst));
        ended("two").await;
        ended("one").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_fails_is_called_again_and_one_that_refuses_is_not() {
    let (status, count) = (Arc::new(AtomicU16::new(500)), Arc::new(AtomicUsize::new(0)));
    let (of, counted) = (status.clone(), count.clone());
    let answer = move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
        StatusCode::from_u16(of.load(Ordering::SeqCst)).unwrap()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(answer))).await.unwrap() });
    let wall = WallClock::new();
    let scene = Scene::start_with(&clients(port), |builder| wall.apply_to(builder)).await;
    let ended = async |visitor: &Visitor| {
        sign_in(&scene, visitor, "one").await;
        let bye = format!("{}/logout?client_id=one&logout_uri=https://spa.example/bye", scene.auth);
        visitor.get(&bye).await;
    };
    let counted = async |expected: usize| {
        let begun = Instant::now();
        while count.load(Ordering::SeqCst) != expected {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} calls", count.load(Ordering::SeqCst));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    ended(&scene.visitor()).await;
    for (attempt, now) in [(1, "+11"), (2, "+75"), (3, "+400"), (4, "+2300")] {
        counted(attempt).await;
        // Its time is set after the response, and then it is counted.
        let postponed = format!("narthex_client_logouts_total{{result=\"postponed\"}} {attempt}");
        tokio::task::block_in_place(|| {
            wait_until("the next attempt's time", || {
                scene.api.narthex.admin("/metrics").contains(&postponed)
            });
            wall.jump(&scene.api.narthex, now);
        });
    }
    counted(5).await;
    let failed = async |expected: usize| {
        let begun = Instant::now();
        while scene.api.narthex.audit("client_logout_failed").len() != expected {
            assert!(begun.elapsed() < Duration::from_secs(10), "no audit line");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    failed(1).await;
    // A client that refuses the token is not called again.
    status.store(400, Ordering::SeqCst);
    ended(&scene.visitor()).await;
    counted(6).await;
    failed(2).await;
    // A success ends it, whatever its status of the two.
    status.store(204, Ordering::SeqCst);
    ended(&scene.visitor()).await;
    counted(7).await;
    tokio::task::block_in_place(|| wall.jump(&scene.api.narthex, "+9900"));
    ended(&scene.visitor()).await;
    counted(8).await;
    assert_eq!(scene.api.narthex.audit("client_logout_failed").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_call_a_client_once() {
    let app = Upstream::start().await;
    let builder = |builder: NarthexBuilder| builder.postgres(&Postgres::shared().database());
    let mut kept = None;
    let scene = Scene::start_with(&clients(app.port), |of| {
        let of = builder(of);
        kept = Some(of.clone());
        of
    })
    .await;
    let _second: Narthex = scene.api.narthex.share_authority(&kept.unwrap()).start_at("127.0.0.2");
    for number in 1..=5 {
        let visitor = scene.visitor();
        sign_in(&scene, &visitor, "one").await;
        visitor.get(&format!("{}/logout?client_id=one&logout_uri=https://spa.example/bye", scene.auth)).await;
        calls(&app, "/one", number).await;
    }
    assert_eq!(calls(&app, "/one", 5).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_opens_the_address_of_a_client_before_it_goes_on() {
    let app = Upstream::start().await;
    let scene = Scene::start_with(&clients(app.port), |builder| builder).await;
    let browser = browser::open(DESK).await;
    let callback = format!("http://localhost:{}/callback", app.port);
    let of_page = [("client_id", "page"), ("redirect_uri", &*callback)];
    let request = scene.authorize(&[&of_page[..], &[("scope", "openid"), ("state", "s")]].concat());
    browser.goto(&request).await.unwrap();
    for (name, value) in [("username", "ada"), ("password", PASSWORD)] {
        let field = browser.wait().for_element(Locator::Css(&format!("input[name='{name}']"))).await.unwrap();
        field.send_keys(value).await.unwrap();
    }
    browser.wait().for_element(Locator::Css("form button.primary")).await.unwrap().click().await.unwrap();
    wait_for_text(&browser, "\"target\":\"/callback?").await;
    let back: Url = browser.current_url().await.unwrap().as_str().parse().unwrap();
    let (_, tokens) = scene.redeem(&parameter(&back, "code").unwrap(), &of_page).await;
    let sid = text(&claims(&text(&tokens["id_token"]))["sid"]);
    let bye = format!("http://localhost:{}/bye", app.port);
    browser.goto(&format!("{}/logout?client_id=page&logout_uri={bye}", scene.auth)).await.unwrap();
    // The app answers with the request that it got.
    wait_for_text(&browser, "\"target\":\"/bye\"").await;
    let seen = app.seen();
    let frame = seen.iter().find(|call| call.target.starts_with("/front?app=1&iss=")).expect("the frame");
    assert!(frame.target.ends_with(&format!("&sid={sid}")), "{}", frame.target);
    assert_eq!(frame.header_values("referer"), Vec::<&str>::new());
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_delays_no_other_one() {
    let app = Upstream::start().await;
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = hanging.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = hanging.accept().await {
            open.push(stream);
        }
    });
    let hangs =
        clients(port).replace("\"one\"", "\"hangs\"").split("[[").nth(1).map(|table| format!("[[{table}"));
    let scene = Scene::start_with(&(clients(app.port) + &hangs.unwrap()), |builder| builder).await;
    create_user(&mut scene.api.boto(), &scene.api.pool_id(), "bob");
    for _ in 0..40 {
        sign_in(&scene, &scene.visitor(), "hangs").await;
    }
    let mut boto = scene.api.boto();
    ok(&mut boto, "AdminDisableUser", json!({ "UserPoolId": scene.api.pool_id(), "Username": "ada" }));
    let visitor = scene.visitor();
    let page = visitor.open(&scene.authorize(&[("client_id", "one"), ("scope", "openid")])).await;
    let back: Url =
        visitor.submit_onward(&page, &[("username", "bob"), ("password", PASSWORD)]).await.parse().unwrap();
    scene.redeem(&parameter(&back, "code").unwrap(), &[("client_id", "one")]).await;
    let begun = Instant::now();
    visitor.get(&format!("{}/logout?client_id=one&logout_uri=https://spa.example/bye", scene.auth)).await;
    calls(&app, "/one", 1).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn an_address_that_would_change_the_policy_of_a_page_is_refused() {
    let good = format!("{VALID_FILE}[[user_pool]]\npassword_sign_in = true\n{}", clients(3000));
    let front = "frontchannel_logout_uri = \"http://127.0.0.1:3000/front?app=1\"";
    let with = |uri: &str| format!("frontchannel_logout_uri = \"{uri}\"");
    for (uri, words) in [
        ("https://x;sandbox/o", "unusual host"),
        ("https://*/o", "unusual host"),
        ("https://a.example/o#x", "has a fragment"),
        ("http://a.example/o", "is not https"),
    ] {
        assert_each_reported(&good, &[(front, &with(uri), words)]);
    }
}
