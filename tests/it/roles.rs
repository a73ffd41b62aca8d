//! Who is given which role, and what its policies let through.

use crate::support::load::Load;
use crate::support::narthex::NarthexBuilder;
use crate::support::parties::OpenIdProvider;
use crate::support::policies::{SECONDS, Scene, allows};
use crate::support::streams::{app, echoes, open_socket};
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, is, location, status};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn text<'v>(claims: &'v Value, name: &str) -> &'v str {
    claims[name].as_str().unwrap_or_else(|| panic!("no {name} in {claims}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_through_two_providers_get_their_roles_and_each_their_own_folder() {
    let scene = Scene::set().await;
    let (alice, of_alice) = scene.come("corp", "alice+staff").await;
    let (bob, of_bob) = scene.come("club", "bob+Editors").await;
    assert_eq!(of_alice["role"], "arn:aws:iam::123456789012:role/member");
    assert_eq!(of_bob["role"], "arn:aws:iam::123456789012:role/editor");
    // The app gets the pool's group and the provider's own.
    assert_eq!(of_bob["cognito:groups"], json!(["Editors", "editors"]));
    assert_eq!(of_bob["tags"], json!({"mail": "bob@club.example"}));
    let (hers, his) = (text(&of_alice, "identity_id"), text(&of_bob, "identity_id"));
    assert!(hers.starts_with("us-east-1:") && hers.len() == 46 && hers != his, "{hers} {his}");

    let folder = |of: &str| scene.url(&format!("/home/{of}/a.jpg"));
    for (who, method, url, expected) in [
        (&alice, Method::GET, folder(hers), 200),
        (&alice, Method::GET, folder(his), 403),
        // Her role only looks.
        (&alice, Method::PUT, folder(hers), 403),
        (&bob, Method::GET, folder(his), 200),
        (&bob, Method::PUT, folder(his), 200),
        (&bob, Method::GET, folder(hers), 403),
        (&bob, Method::GET, scene.url("/mail/bob@club.example"), 200),
        (&bob, Method::GET, scene.url("/mail/alice@corp.example"), 403),
        (&alice, Method::GET, scene.url("/elsewhere"), 403),
    ] {
        assert_eq!(status(who, method.clone(), &url).await, expected, "{method} {url}");
    }
    // A user without a role gets 403; a group of the provider that is called like one of the pool's
    // is none.
    for (provider, login, why) in [
        ("corp", "carol+guests", "no rule of the role mapping for corp matches"),
        ("club", "dora+editors", "no group has a preferred role"),
    ] {
        let visitor = Visitor::new(&scene.narthex);
        let asked = visitor.get(&scene.url("/.narthex/sign-in?return_to=/")).await;
        let page = visitor.land(&format!("{}&identity_provider={provider}", location(&asked)), login).await;
        is(&page, 403);
        assert!(page.text().await.unwrap().contains("You are signed in as"), "{login}");
        let denied = scene.narthex.audit("access_denied");
        assert!(text(denied.last().unwrap(), "statement").contains(why), "{denied:?}");
    }

    // The identity is the person's, whatever the session.
    let (_, again) = scene.come("corp", "alice+staff").await;
    assert_eq!(again["identity_id"], of_alice["identity_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_who_one_is_and_lets_one_switch_and_the_audit_names_role_statement_and_context() {
    let scene = Scene::set().await;
    let (alice, claims) = scene.come("corp", "alice+staff").await;
    let page = alice.get(&scene.url("/elsewhere")).await;
    is(&page, 403);
    let id = page.headers()["x-request-id"].to_str().unwrap().to_owned();
    let page = page.text().await.unwrap();
    assert!(page.contains("You are signed in as alice") && page.contains(&id), "{page}");
    assert!(page.contains("href=\"/.narthex/sign-out\"") && page.contains("Use another account"), "{page}");
    let told: Value = alice.program(Method::GET, &scene.url("/elsewhere")).await.json().await.unwrap();
    assert_eq!(told["error"], "access_denied");

    let denied = scene.narthex.audit("access_denied");
    let line = denied.iter().find(|line| line["request_id"] == id.as_str()).unwrap();
    assert_eq!(line["role"], "member");
    assert_eq!(line["identity_id"], claims["identity_id"]);
    assert_eq!(line["sub"], claims["sub"]);
    assert_eq!(line["decision"], "implicitDeny");
    let metrics = scene.narthex.admin("/metrics");
    assert!(metrics.contains("narthex_access_denied_total{decision=\"implicitDeny\"} 2"), "{metrics}");
    let resource = "arn:aws:execute-api:us-east-1:123456789012:photos/$default/GET/elsewhere";
    assert_eq!(line["resource"], resource);
    let context = text(line, "context");
    for part in [
        "aws:SourceIp=\"127.0.0.1\"",
        "aws:SecureTransport=\"true\"",
        "aws:PrincipalTag/mail=\"alice@corp.example\"",
    ] {
        assert!(context.contains(part), "{part}: {context}");
    }
    assert_eq!(scene.upstream.seen().iter().filter(|seen| seen.target == "/elsewhere").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_reaches_the_guest_paths_keeps_an_identity_and_takes_it_along() {
    let scene = Scene::set().await;
    let before = scene.narthex.rows().await;
    let guest = Visitor::new(&scene.narthex);
    let home = guest.get(&scene.url("/")).await;
    is(&home, 200);
    assert_eq!(home.headers()["cache-control"], "private, no-store");
    let first: Seen = home.json().await.unwrap();
    let claims = first.claims();
    assert_eq!(claims["role"], "arn:aws:iam::123456789012:role/visitor");
    assert_eq!(claims["sub"], claims["identity_id"]);
    assert!(claims.get("cognito:username").is_none() && claims.get("sid").is_none(), "{claims}");
    let identity = text(&claims, "identity_id").to_owned();
    // An app that trusts a plain header must not take a guest for somebody.
    assert!(first.all("x-remote-user").is_empty());

    let again: Seen = guest.program(Method::GET, &scene.url("/public/a")).await.json().await.unwrap();
    assert_eq!(text(&again.claims(), "identity_id"), identity);
    assert_eq!(again.all("cookie"), ["app=1"], "our cookies are not the app's");
    let basket = scene.url(&format!("/baskets/{identity}"));
    assert_eq!(status(&guest, Method::PUT, &basket).await, 200);
    let other = Visitor::new(&scene.narthex);
    let others: Seen = other.program(Method::GET, &scene.url("/")).await.json().await.unwrap();
    assert_ne!(text(&others.claims(), "identity_id"), identity);
    // Elsewhere, a browser is redirected to sign in, and a program gets 401.
    assert_eq!(status(&other, Method::PUT, &basket).await, 401);
    assert_eq!(status(&guest, Method::GET, &scene.url("/private")).await, 401);
    let sent = guest.get(&scene.url("/private")).await;
    is(&sent, 303);
    assert!(location(&sent).path().ends_with("/oauth2/authorize"));
    // For all of this, nothing was written.
    assert_eq!(scene.narthex.rows().await, before);

    // A guest who signs in for the first time stays who they were.
    let thief = Visitor::new(&scene.narthex);
    let cookies =
        reqwest::cookie::CookieStore::cookies(&*guest.jar, &scene.url("/").parse().unwrap()).unwrap();
    let stolen =
        cookies.to_str().unwrap().split("; ").find(|c| c.starts_with("__Host-narthex-guest=")).unwrap();
    let alice = scene.sign_in(&guest, "corp", "alice+staff").await;
    assert_eq!(text(&alice, "identity_id"), identity);
    assert_eq!(scene.upstream.seen().last().unwrap().one("x-remote-user"), text(&alice, "sub"));
    assert_eq!(scene.narthex.audit("guest_merged")[0]["identity_id"], identity.as_str());
    // A copy of the guest's cookie is another guest from now on.
    let copy = thief.client.get(scene.url("/")).header("cookie", stolen).send().await.unwrap();
    let copy: Seen = copy.json().await.unwrap();
    assert_ne!(text(&copy.claims(), "identity_id"), identity);

    // One who has an identity already keeps that one.
    let later = Visitor::new(&scene.narthex);
    let as_guest: Seen = later.program(Method::GET, &scene.url("/")).await.json().await.unwrap();
    assert_ne!(text(&as_guest.claims(), "identity_id"), identity);
    assert_eq!(text(&scene.sign_in(&later, "corp", "alice+staff").await, "identity_id"), identity);
    let merged = scene.narthex.audit("guest_merged");
    assert_eq!(merged[1]["guest"], as_guest.claims()["identity_id"]);
    assert_eq!(merged[1]["identity_id"], identity.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_taken_away_at_the_provider_ends_access_within_a_tokens_life() {
    let scene = Scene::set().await;
    let (alice, claims) = scene.come("corp", "alice+staff").await;
    let folder = scene.url(&format!("/home/{}/a.jpg", text(&claims, "identity_id")));
    assert_eq!(status(&alice, Method::GET, &folder).await, 200);
    scene.corp.ask("groups?login=alice%2Bstaff&groups=guests").await;
    let begun = Instant::now();
    while status(&alice, Method::GET, &folder).await != 403 {
        assert!(begun.elapsed() < Duration::from_secs(u64::from(SECONDS) + 3), "access goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_edited_under_load_takes_effect_without_a_failed_request() {
    let scene = Scene::set().await;
    let mut visitors = Vec::new();
    for number in 0..5 {
        visitors.push(scene.come("corp", &format!("person{number}+staff")).await.0);
    }
    let load = Load::start(visitors.clone(), &scene.url("/"), 200);
    let file = scene.narthex.folder().join("policies/member.json");
    for round in 0..3 {
        let path = format!("/new/{round}");
        assert_eq!(status(&visitors[0], Method::GET, &scene.url(&path)).await, 403);
        std::fs::write(&file, allows(&["GET/", &format!("GET{path}")]).to_string()).unwrap();
        let begun = Instant::now();
        while status(&visitors[0], Method::GET, &scene.url(&path)).await != 200 {
            assert!(begun.elapsed() < Duration::from_secs(10), "the new policy does not count");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // A wrong policy is reported with its position, and the last good one stays in use.
    std::fs::write(&file, "{\n  \"Statement\": [{\"Effect\": \"Perhaps\"}]\n}").unwrap();
    scene.narthex.wait_for_log("member.json:2");
    assert_eq!(status(&visitors[0], Method::GET, &scene.url("/new/2")).await, 200);
    // So it is with a file that is named before it is there, and comes without another word.
    scene.narthex.edit(|text| text.replace("\"policies/member.json\"", "\"policies/later.json\""));
    scene.narthex.wait_for_log("policies/later.json`: No such file");
    let later = scene.narthex.folder().join("policies/later.json");
    std::fs::write(later, allows(&["GET/", "GET/later"]).to_string()).unwrap();
    let begun = Instant::now();
    while status(&visitors[0], Method::GET, &scene.url("/later")).await != 200 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the file that came later does not count");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let outcome = load.stop().await;
    assert!(outcome.bad.is_empty() && outcome.good > 200, "{}: {:?}", outcome.good, outcome.bad);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_ends_when_policies_no_longer_let_its_principal_have_it() {
    let port = app().await;
    let builder = NarthexBuilder::new();
    let corp = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .file("all.json", allows(&["GET/", "GET/socket"]).to_string())
        .tables(&corp.toml("\"anyone\""))
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\n")
        .tables("authenticated_role = \"all\"\nguest_role = \"all\"\n")
        .route("app", port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    let (alice, guest) = (Visitor::new(&narthex), Visitor::new(&narthex));
    let asked = alice.get(&format!("{}/.narthex/sign-in?return_to=/", narthex.origin("app"))).await;
    is(&alice.land(location(&asked).as_str(), "alice").await, 200);
    is(&guest.get(&format!("{}/", narthex.origin("app"))).await, 200);
    let mut sockets = Vec::new();
    for visitor in [&alice, &guest] {
        let mut socket = open_socket(&narthex, visitor).await;
        assert!(echoes(&mut socket, "one").await);
        sockets.push(socket);
    }
    // Two looks of the watcher later both are still there.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for socket in &mut sockets {
        assert!(echoes(socket, "two").await);
    }
    // A guest's ends when the guest has signed in: the identity is a person's then.
    let bob = Visitor::new(&narthex);
    is(&bob.get(&format!("{}/", narthex.origin("app"))).await, 200);
    let mut his = open_socket(&narthex, &bob).await;
    assert!(echoes(&mut his, "one").await);
    let asked = bob.get(&format!("{}/.narthex/sign-in?return_to=/", narthex.origin("app"))).await;
    is(&bob.land(location(&asked).as_str(), "bob").await, 200);
    let begun = Instant::now();
    while echoes(&mut his, "two").await {
        assert!(begun.elapsed() < Duration::from_secs(4), "it goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    std::fs::write(narthex.folder().join("all.json"), allows(&["GET/"]).to_string()).unwrap();
    let begun = Instant::now();
    for socket in &mut sockets {
        while echoes(socket, "three").await {
            assert!(begun.elapsed() < Duration::from_secs(6), "it goes on");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let ended = narthex.audit("stream_ended");
    assert_eq!(ended.len(), 3);
    assert_eq!(ended[0]["reason"], "its guest is none any more");
    assert!(
        ended[1..].iter().all(|line| line["reason"] == "its principal may not have it any more"),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_nobody_verified_gives_no_role_and_fills_no_tag() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let corp = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .file("all.json", allows(&["*"]).to_string())
        .file("mail.json", allows(&["GET/", "GET/mail/${aws:PrincipalTag/mail}"]).to_string())
        .tables(&corp.toml("\"anyone\""))
        .tables(
            "[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[role]]\nname = \"mail\"\npolicies = [\"mail.json\"]\n\
             [[identity_pool]]\nname = \"main\"\nauthenticated_role = \"mail\"\n\
             [identity_pool.principal_tags]\nmail = \"email\"\n\
             [[identity_pool.role_mapping]]\nprovider = \"corp\"\ntype = \"rules\"\nambiguous = \"authenticated_role\"\n\
             rules = [{ claim = \"email\", match = \"Equals\", value = \"boss@corp.example\", role = \"all\" }]\n",
        )
        .route("app", upstream.port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    let url = |path: &str| format!("{}{path}", narthex.origin("app"));
    for (login, anything, own) in [("boss", 200, 200), ("boss!", 403, 403), ("ann", 403, 403)] {
        let visitor = Visitor::new(&narthex);
        is(&visitor.land(&url("/"), login).await, 200);
        assert_eq!(status(&visitor, Method::GET, &url("/anything")).await, anything, "{login}");
        assert_eq!(status(&visitor, Method::GET, &url("/mail/boss@corp.example")).await, own, "{login}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_cookie_that_we_did_not_make_is_nobodys() {
    let scene = Scene::set().await;
    let identity = async |cookie: Option<&str>| {
        let request = Visitor::new(&scene.narthex).client.get(scene.url("/"));
        let request = cookie.map_or(request.try_clone().unwrap(), |cookie| request.header("cookie", cookie));
        let answer = request.send().await.unwrap();
        let set = answer.headers().get_all("set-cookie").iter();
        let mut set = set.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
        let made = set.find(|cookie| cookie.starts_with("__Host-narthex-guest=")).map(str::to_owned);
        let seen: Seen = answer.json().await.unwrap();
        (text(&seen.claims(), "identity_id").to_owned(), made)
    };
    let (first, cookie) = identity(None).await;
    let cookie = cookie.unwrap();
    assert_eq!(identity(Some(&cookie)).await, (first.clone(), None));
    // Another token under the MAC of this one, this token under another MAC, and what is none at
    // all.
    let (name, value) = cookie.split_once('=').unwrap();
    let (token, mac) = value.split_once('.').unwrap();
    let turned = |text: &str| format!("{}{}", if text.starts_with('A') { 'B' } else { 'A' }, &text[1..]);
    for forged in
        [format!("{}.{mac}", turned(token)), format!("{token}.{}", turned(mac)), "nonsense".to_owned()]
    {
        let (other, made) = identity(Some(&format!("{name}={forged}"))).await;
        assert!(other != first && made.is_some(), "{forged}");
    }
    // A guest's cookie opens no session, and a session's makes no guest.
    let request = Visitor::new(&scene.narthex).client.get(scene.url("/private"));
    is(&request.header("cookie", format!("__Host-narthex={value}")).send().await.unwrap(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_was_pointed_elsewhere_does_not_speak_for_who_came_before() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let before = OpenIdProvider::start("corp", &builder.callback("corp"));
    let after = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder.tables(&before.toml("\"anyone\"")).route("app", upstream.port, "").start();
    let alice = Visitor::new(&narthex);
    let url = format!("{}/", narthex.origin("app"));
    is(&alice.land(&url, "alice").await, 200);
    narthex.edit(|text| text.replace(&before.port.to_string(), &after.port.to_string()));
    crate::support::process::wait_until("the reload", || !narthex.audit("reload").is_empty());
    assert_eq!(status(&alice, Method::GET, &url).await, 401);
}
