//! Users who sign in at two providers, and whose accounts an administrator links.

use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::odd_provider::OddProvider;
use crate::support::parties::{OpenIdProvider, provider_toml};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, location};
use serde_json::{Value, json};
use std::process::Command;

/// What `narthex users …` says, and whether it was content.
fn users(narthex: &Narthex, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .arg("users")
        .args(arguments)
        .arg("--config")
        .arg(&narthex.file)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout) + &text(output.stderr))
}

/// A deployment with two providers, each with its `allow`.
async fn two_providers(by_corp: &str, by_club: &str) -> (Narthex, Upstream, [OpenIdProvider; 2]) {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let (corp, club) = (
        OpenIdProvider::start("corp", &builder.callback("corp")),
        OpenIdProvider::start("club", &builder.callback("club")),
    );
    let narthex =
        builder.tables(&(corp.toml(by_corp) + &club.toml(by_club))).route("app", upstream.port, "").start();
    (narthex, upstream, [corp, club])
}

/// Signs in through `provider`; returns the visitor and the identity that the app got.
async fn come(narthex: &Narthex, upstream: &Upstream, provider: &str) -> (Visitor, Value) {
    let visitor = Visitor::new(narthex);
    let asked = visitor.get(&format!("{}/", narthex.origin("app"))).await;
    let landed =
        visitor.sign_in(&format!("{}&identity_provider={provider}", location(&asked)), "alice").await;
    assert_status(&landed, 200);
    (visitor, upstream.seen().last().unwrap().claims())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_through_two_providers_is_two_users_until_an_administrator_links_them() {
    let (narthex, upstream, _providers) = two_providers("\"anyone\"", "\"anyone\"").await;
    let (at_corp, by_corp) = come(&narthex, &upstream, "corp").await;
    let (at_club, by_club) = come(&narthex, &upstream, "club").await;
    assert_ne!(by_corp["sub"], by_club["sub"]);
    let name = |claims: &Value| claims["cognito:username"].as_str().unwrap().to_owned();
    let (corp_name, club_name) = (name(&by_corp), name(&by_club));

    for (arguments, said) in [
        (["link", "nobody@corp.example", &club_name], "no user is called \"nobody@corp.example\""),
        (["link", &corp_name, "alice@corp.example"], "both are the same user already"),
        (["unlink", &corp_name, "club"], "the user has no account of this provider"),
        (["unlink", &corp_name, "corp"], "the user is named after this account"),
    ] {
        let (good, told) = users(&narthex, &arguments);
        assert!(!good && told.contains(said) && told.contains("narthex users"), "{said}: {told}");
    }

    let (good, told) = users(&narthex, &["link", &corp_name, "alice@club.example"]);
    let gone = format!("deleted {club_name}");
    assert!(good && told.contains("signs in by corp, club") && told.contains(&gone), "{told}");
    // Who is gone is signed out; who stays is not.
    let app = format!("{}/", narthex.origin("app"));
    until_out(&at_club, &app).await;
    assert_status(&at_corp.get(&app).await, 200);
    let (at_club, told) = come(&narthex, &upstream, "club").await;
    assert_eq!(told["sub"], by_corp["sub"]);
    assert_eq!(told["identities"].as_array().unwrap().len(), 2);
    assert_eq!(come(&narthex, &upstream, "corp").await.1["sub"], by_corp["sub"]);

    // Apart again, every session ends: some may know the provider by another name.
    let (good, told) = users(&narthex, &["unlink", &corp_name, "club"]);
    assert!(good && told.contains("signs in by corp\n"), "{told}");
    until_out(&at_club, &app).await;
    until_out(&at_corp, &app).await;
    let (_, apart) = come(&narthex, &upstream, "club").await;
    assert!(apart["sub"] != by_corp["sub"] && apart["sub"] != by_club["sub"], "a `sub` is never used again");
    assert_eq!(come(&narthex, &upstream, "corp").await.1["sub"], by_corp["sub"]);
}

/// Waits until a visitor is signed out.
async fn until_out(visitor: &Visitor, app: &str) {
    let begun = std::time::Instant::now();
    while visitor.get(app).await.status() != 303 {
        assert!(begun.elapsed().as_secs() < 5, "a session goes on that has ended");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_provider_speaks_for_the_sessions_through_it() {
    // Neither lets in by what the other says.
    let (narthex, upstream, _providers) =
        two_providers("{ groups = [\"staff\"] }", "{ domains = [\"club.example\"] }").await;
    let come = async |provider: &str, login: &str| {
        let visitor = Visitor::new(&narthex);
        let asked = visitor.get(&format!("{}/", narthex.origin("app"))).await;
        let landed =
            visitor.sign_in(&format!("{}&identity_provider={provider}", location(&asked)), login).await;
        assert_status(&landed, 200);
        (visitor, upstream.seen().last().unwrap().claims())
    };
    let (at_corp, by_corp) = come("corp", "alice+staff").await;
    come("club", "alice+admins").await;
    let corp_name = by_corp["cognito:username"].as_str().unwrap();
    let (good, told) = users(&narthex, &["link", corp_name, "alice@club.example"]);
    assert!(good, "{told}");

    let (at_club, by_club) = come("club", "alice+admins").await;
    assert_eq!(by_club["sub"], by_corp["sub"]);
    assert_eq!(
        (&by_club["email"], &by_club["cognito:groups"]),
        (&"alice@club.example".into(), &serde_json::json!(["admins"]))
    );
    let app = format!("{}/", narthex.origin("app"));
    for (visitor, email, groups) in
        [(&at_corp, "alice@corp.example", ["staff"]), (&at_club, "alice@club.example", ["admins"])]
    {
        // Read anew, by a node that remembers nothing.
        assert_status(&visitor.get(&app).await, 200);
        let claims = upstream.seen().last().unwrap().claims();
        assert_eq!(
            (&claims["email"], &claims["cognito:groups"]),
            (&email.into(), &serde_json::json!(groups))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_nobody_has_verified_names_nobody() {
    let (narthex, upstream, _providers) = two_providers("\"anyone\"", "\"anyone\"").await;
    // Somebody who only says that the address is his, and somebody who is to get another account.
    let land = async |provider: &str, login: &str| {
        let visitor = Visitor::new(&narthex);
        let asked = visitor.get(&format!("{}/", narthex.origin("app"))).await;
        assert_status(
            &visitor.sign_in(&format!("{}&identity_provider={provider}", location(&asked)), login).await,
            200,
        );
        upstream.seen().last().unwrap().claims()["cognito:username"].as_str().unwrap().to_owned()
    };
    let (impostor, bob) = (land("corp", "alice!").await, land("club", "bob").await);
    for arguments in [["link", "alice@corp.example", &bob], ["link", &bob, "alice@corp.example"]] {
        let (good, told) = users(&narthex, &arguments);
        assert!(!good && told.contains("no user is called"), "{told}");
    }
    // By his own name he can be meant.
    let (good, told) = users(&narthex, &["link", &impostor, &bob]);
    assert!(good, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_of_one_provider_are_not_linked_and_a_name_of_two_is_no_name() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let corp = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder.tables(&corp.toml("\"anyone\"")).route("app", upstream.port, "").start();
    for login in ["alice", "alice+staff", "bob"] {
        assert_status(
            &Visitor::new(&narthex).sign_in(&format!("{}/", narthex.origin("app")), login).await,
            200,
        );
    }
    let (good, told) = users(&narthex, &["link", "bob@corp.example", "alice@corp.example"]);
    assert!(
        !good && told.contains("several users are called") && told.contains("help: give a user name"),
        "{told}"
    );
    let mut names = told.lines().filter_map(|line| line.trim().split(' ').next());
    let alice = names.find(|name| name.ends_with("_alice")).unwrap().to_owned();
    let (good, told) = users(&narthex, &["link", "bob@corp.example", &alice]);
    assert!(!good && told.contains("both have an account of corp"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_is_refused_and_stays_as_it_is() {
    let (upstream, provider) = (Upstream::start().await, OddProvider::start().await);
    let narthex = NarthexBuilder::new()
        .tables(&provider_toml("corp", provider.port(), "\"anyone\""))
        .route("app", upstream.port, "")
        .start();
    let named = |name: &'static str| {
        provider.configure(|odd| odd.user_info = json!({ "name": name }));
    };
    named("Ann");
    let app = format!("{}/", narthex.origin("app"));
    assert_status(&Visitor::new(&narthex).follow(&app).await, 200);
    let claims = upstream.seen().last().unwrap().claims();
    let (sub, name) = (claims["sub"].as_str().unwrap(), claims["cognito:username"].as_str().unwrap());
    assert_eq!(narthex.attributes(sub).await.get("name"), Some("Ann"));
    named("Bob");
    let (good, output) = users(&narthex, &["disable", name]);
    assert!(good, "{output}");
    assert_status(&Visitor::new(&narthex).follow(&app).await, 403);
    assert_eq!(narthex.attributes(sub).await.get("name"), Some("Ann"), "a refused login changed the user");
    let (good, output) = users(&narthex, &["enable", name]);
    assert!(good, "{output}");
    assert_status(&Visitor::new(&narthex).follow(&app).await, 200);
    assert_eq!(narthex.attributes(sub).await.get("name"), Some("Bob"));
}
