//! Roles of users and guests: how they are assigned, and when a change applies.

use crate::support::load::Load;
use crate::support::narthex::NarthexBuilder;
use crate::support::parties::OpenIdProvider;
use crate::support::policies::{RolesDeployment, TOKEN_SECONDS, allow_policy};
use crate::support::streams::{echoes, open_socket, start_stream_app};
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, assert_status, location, request_status};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn text<'v>(claims: &'v Value, name: &str) -> &'v str {
    claims[name].as_str().unwrap_or_else(|| panic!("no {name} in {claims}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_through_two_providers_get_their_roles_and_each_their_own_folder() {
    let deployment = RolesDeployment::start().await;
    let (alice, of_alice) = deployment.new_visitor("corp", "alice+staff").await;
    let (bob, of_bob) = deployment.new_visitor("club", "bob+Editors").await;
    assert_eq!(of_alice["role"], "arn:aws:iam::123456789012:role/member");
    assert_eq!(of_bob["role"], "arn:aws:iam::123456789012:role/editor");
    // The app gets the pool's group and the provider's own.
    assert_eq!(of_bob["cognito:groups"], json!(["Editors", "editors"]));
    assert_eq!(of_bob["tags"], json!({"mail": "bob@club.example"}));
    let (hers, his) = (text(&of_alice, "identity_id"), text(&of_bob, "identity_id"));
    assert!(hers.starts_with("us-east-1:") && hers.len() == 46 && hers != his, "{hers} {his}");

    let folder = |of: &str| deployment.url(&format!("/home/{of}/a.jpg"));
    for (who, method, url, expected) in [
        (&alice, Method::GET, folder(hers), 200),
        (&alice, Method::GET, folder(his), 403),
        // Her role only looks.
        (&alice, Method::PUT, folder(hers), 403),
        (&bob, Method::GET, folder(his), 200),
        (&bob, Method::PUT, folder(his), 200),
        (&bob, Method::GET, folder(hers), 403),
        (&bob, Method::GET, deployment.url("/mail/bob@club.example"), 200),
        (&bob, Method::GET, deployment.url("/mail/alice@corp.example"), 403),
        (&alice, Method::GET, deployment.url("/elsewhere"), 403),
    ] {
        assert_eq!(request_status(who, method.clone(), &url).await, expected, "{method} {url}");
    }
    // A user without a role gets 403; a group of the provider that is called like one of the pool's
    // is none.
    for (provider, login, why) in [
        ("corp", "carol+guests", "no rule of the role mapping for corp matches"),
        ("club", "dora+editors", "no group has a preferred role"),
    ] {
        let visitor = Visitor::new(&deployment.narthex);
        let asked = visitor.get(&deployment.url("/.narthex/sign-in?return_to=/")).await;
        let page =
            visitor.sign_in(&format!("{}&identity_provider={provider}", location(&asked)), login).await;
        assert_status(&page, 403);
        assert!(page.text().await.unwrap().contains("You are signed in as"), "{login}");
        let denied = deployment.narthex.audit("access_denied");
        assert!(text(denied.last().unwrap(), "statement").contains(why), "{denied:?}");
    }

    // The identity is the person's, whatever the session.
    let (_, again) = deployment.new_visitor("corp", "alice+staff").await;
    assert_eq!(again["identity_id"], of_alice["identity_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_who_one_is_and_lets_one_switch_and_the_audit_names_role_statement_and_context() {
    let deployment = RolesDeployment::start().await;
    let (alice, claims) = deployment.new_visitor("corp", "alice+staff").await;
    let page = alice.get(&deployment.url("/elsewhere")).await;
    assert_status(&page, 403);
    let id = page.headers()["x-request-id"].to_str().unwrap().to_owned();
    let page = page.text().await.unwrap();
    assert!(page.contains("You are signed in as alice") && page.contains(&id), "{page}");
    assert!(page.contains("href=\"/.narthex/sign-out\"") && page.contains("Use another account"), "{page}");
    let told: Value =
        alice.request_json(Method::GET, &deployment.url("/elsewhere")).await.json().await.unwrap();
    assert_eq!(told["error"], "access_denied");

    let denied = deployment.narthex.audit("access_denied");
    let line = denied.iter().find(|line| line["request_id"] == id.as_str()).unwrap();
    assert_eq!(line["role"], "member");
    assert_eq!(line["identity_id"], claims["identity_id"]);
    assert_eq!(line["sub"], claims["sub"]);
    assert_eq!(line["decision"], "implicitDeny");
    let metrics = deployment.narthex.admin("/metrics");
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
    assert_eq!(deployment.upstream.seen().iter().filter(|seen| seen.target == "/elsewhere").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_reaches_the_guest_paths_keeps_an_identity_and_takes_it_along() {
    let deployment = RolesDeployment::start().await;
    let before = deployment.narthex.count_login_rows().await;
    let guest = Visitor::new(&deployment.narthex);
    let home = guest.get(&deployment.url("/")).await;
    assert_status(&home, 200);
    assert_eq!(home.headers()["cache-control"], "private, no-store");
    let first: Seen = home.json().await.unwrap();
    let claims = first.claims();
    assert_eq!(claims["role"], "arn:aws:iam::123456789012:role/visitor");
    assert_eq!(claims["sub"], claims["identity_id"]);
    assert!(claims.get("cognito:username").is_none() && claims.get("sid").is_none(), "{claims}");
    let identity = text(&claims, "identity_id").to_owned();
    // An app that trusts a plain header must not take a guest for somebody.
    assert!(first.header_values("x-remote-user").is_empty());

    let again: Seen =
        guest.request_json(Method::GET, &deployment.url("/public/a")).await.json().await.unwrap();
    assert_eq!(text(&again.claims(), "identity_id"), identity);
    assert_eq!(again.header_values("cookie"), ["app=1"], "our cookies are not the app's");
    let basket = deployment.url(&format!("/baskets/{identity}"));
    assert_eq!(request_status(&guest, Method::PUT, &basket).await, 200);
    let other = Visitor::new(&deployment.narthex);
    let others: Seen = other.request_json(Method::GET, &deployment.url("/")).await.json().await.unwrap();
    assert_ne!(text(&others.claims(), "identity_id"), identity);
    // Elsewhere, a browser is redirected to sign in, and a program gets 401.
    assert_eq!(request_status(&other, Method::PUT, &basket).await, 401);
    assert_eq!(request_status(&guest, Method::GET, &deployment.url("/private")).await, 401);
    let sent = guest.get(&deployment.url("/private")).await;
    assert_status(&sent, 303);
    assert!(location(&sent).path().ends_with("/oauth2/authorize"));
    // For all of this, nothing was written.
    assert_eq!(deployment.narthex.count_login_rows().await, before);

    // A guest who signs in for the first time stays who they were.
    let thief = Visitor::new(&deployment.narthex);
    let cookies =
        reqwest::cookie::CookieStore::cookies(&*guest.jar, &deployment.url("/").parse().unwrap()).unwrap();
    let stolen =
        cookies.to_str().unwrap().split("; ").find(|c| c.starts_with("__Host-narthex-guest=")).unwrap();
    let alice = deployment.sign_in(&guest, "corp", "alice+staff").await;
    assert_eq!(text(&alice, "identity_id"), identity);
    assert_eq!(deployment.upstream.seen().last().unwrap().header("x-remote-user"), text(&alice, "sub"));
    assert_eq!(deployment.narthex.audit("guest_merged")[0]["identity_id"], identity.as_str());
    // A copy of the guest's cookie is another guest from now on.
    let copy = thief.client.get(deployment.url("/")).header("cookie", stolen).send().await.unwrap();
    let copy: Seen = copy.json().await.unwrap();
    assert_ne!(text(&copy.claims(), "identity_id"), identity);

    // One who has an identity already keeps that one.
    let later = Visitor::new(&deployment.narthex);
    let as_guest: Seen = later.request_json(Method::GET, &deployment.url("/")).await.json().await.unwrap();
    assert_ne!(text(&as_guest.claims(), "identity_id"), identity);
    assert_eq!(text(&deployment.sign_in(&later, "corp", "alice+staff").await, "identity_id"), identity);
    let merged = deployment.narthex.audit("guest_merged");
    assert_eq!(merged[1]["guest"], as_guest.claims()["identity_id"]);
    assert_eq!(merged[1]["identity_id"], identity.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_taken_away_at_the_provider_ends_access_within_a_tokens_life() {
    let deployment = RolesDeployment::start().await;
    let (alice, claims) = deployment.new_visitor("corp", "alice+staff").await;
    let folder = deployment.url(&format!("/home/{}/a.jpg", text(&claims, "identity_id")));
    assert_eq!(request_status(&alice, Method::GET, &folder).await, 200);
    deployment.corp.test_command("groups?login=alice%2Bstaff&groups=guests").await;
    let begun = Instant::now();
    while request_status(&alice, Method::GET, &folder).await != 403 {
        assert!(begun.elapsed() < Duration::from_secs(u64::from(TOKEN_SECONDS) + 3), "access goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_edited_under_load_takes_effect_without_a_failed_request() {
    let deployment = RolesDeployment::start().await;
    let mut visitors = Vec::new();
    for number in 0..5 {
        visitors.push(deployment.new_visitor("corp", &format!("person{number}+staff")).await.0);
    }
    let load = Load::start(visitors.clone(), &deployment.url("/"), 200);
    let file = deployment.narthex.folder().join("policies/member.json");
    for round in 0..3 {
        let path = format!("/new/{round}");
        assert_eq!(request_status(&visitors[0], Method::GET, &deployment.url(&path)).await, 403);
        std::fs::write(&file, allow_policy(&["GET/", &format!("GET{path}")]).to_string()).unwrap();
        let begun = Instant::now();
        while request_status(&visitors[0], Method::GET, &deployment.url(&path)).await != 200 {
            assert!(begun.elapsed() < Duration::from_secs(10), "the new policy does not count");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // A wrong policy is reported with its position, and the last good one stays in use.
    std::fs::write(&file, "{\n  \"Statement\": [{\"Effect\": \"Perhaps\"}]\n}").unwrap();
    deployment.narthex.wait_for_log("member.json:2");
    assert_eq!(request_status(&visitors[0], Method::GET, &deployment.url("/new/2")).await, 200);
    // So it is with a file that is named before it is there, and comes without another word.
    deployment.narthex.edit(|text| text.replace("\"policies/member.json\"", "\"policies/later.json\""));
    deployment.narthex.wait_for_log("policies/later.json`: No such file");
    let later = deployment.narthex.folder().join("policies/later.json");
    std::fs::write(later, allow_policy(&["GET/", "GET/later"]).to_string()).unwrap();
    let begun = Instant::now();
    while request_status(&visitors[0], Method::GET, &deployment.url("/later")).await != 200 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the file that came later does not count");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let outcome = load.stop().await;
    assert!(outcome.bad.is_empty() && outcome.good > 200, "{}: {:?}", outcome.good, outcome.bad);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_ends_when_policies_no_longer_let_its_principal_have_it() {
    let port = start_stream_app().await;
    let builder = NarthexBuilder::new();
    let corp = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .file("all.json", allow_policy(&["GET/", "GET/socket"]).to_string())
        .tables(&corp.toml("\"anyone\""))
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\n")
        .tables("authenticated_role = \"all\"\nguest_role = \"all\"\n")
        .route("app", port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    let (alice, guest) = (Visitor::new(&narthex), Visitor::new(&narthex));
    let asked = alice.get(&format!("{}/.narthex/sign-in?return_to=/", narthex.origin("app"))).await;
    assert_status(&alice.sign_in(location(&asked).as_str(), "alice").await, 200);
    assert_status(&guest.get(&format!("{}/", narthex.origin("app"))).await, 200);
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
    assert_status(&bob.get(&format!("{}/", narthex.origin("app"))).await, 200);
    let mut his = open_socket(&narthex, &bob).await;
    assert!(echoes(&mut his, "one").await);
    let asked = bob.get(&format!("{}/.narthex/sign-in?return_to=/", narthex.origin("app"))).await;
    assert_status(&bob.sign_in(location(&asked).as_str(), "bob").await, 200);
    let begun = Instant::now();
    while echoes(&mut his, "two").await {
        assert!(begun.elapsed() < Duration::from_secs(4), "it goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    std::fs::write(narthex.folder().join("all.json"), allow_policy(&["GET/"]).to_string()).unwrap();
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
        .file("all.json", allow_policy(&["*"]).to_string())
        .file("mail.json", allow_policy(&["GET/", "GET/mail/${aws:PrincipalTag/mail}"]).to_string())
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
        assert_status(&visitor.sign_in(&url("/"), login).await, 200);
        assert_eq!(request_status(&visitor, Method::GET, &url("/anything")).await, anything, "{login}");
        assert_eq!(
            request_status(&visitor, Method::GET, &url("/mail/boss@corp.example")).await,
            own,
            "{login}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_cookie_that_we_did_not_make_is_nobodys() {
    let deployment = RolesDeployment::start().await;
    let identity = async |cookie: Option<&str>| {
        let request = Visitor::new(&deployment.narthex).client.get(deployment.url("/"));
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
    let request = Visitor::new(&deployment.narthex).client.get(deployment.url("/private"));
    assert_status(&request.header("cookie", format!("__Host-narthex={value}")).send().await.unwrap(), 401);
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
    assert_status(&alice.sign_in(&url, "alice").await, 200);
    narthex.edit(|text| text.replace(&before.port.to_string(), &after.port.to_string()));
    crate::support::process::wait_until("the reload", || !narthex.audit("reload").is_empty());
    assert_eq!(request_status(&alice, Method::GET, &url).await, 401);
}
