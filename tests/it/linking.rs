//! A person who comes through two providers, and an administrator who knows that it is one.

use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::OpenIdProvider;
use crate::support::process::wait_until;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, is, location};
use serde_json::Value;
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

/// Signs in through `provider`; answers the visitor and what the app was told.
async fn come(narthex: &Narthex, upstream: &Upstream, provider: &str) -> (Visitor, Value) {
    let visitor = Visitor::new(narthex);
    let asked = visitor.get(&format!("{}/", narthex.origin("app"))).await;
    let landed = visitor.land(&format!("{}&identity_provider={provider}", location(&asked)), "alice").await;
    is(&landed, 200);
    (visitor, upstream.seen().last().unwrap().claims())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_through_two_providers_is_two_users_until_an_administrator_links_them() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let (corp, club) = (
        OpenIdProvider::start("corp", &builder.callback("corp")),
        OpenIdProvider::start("club", &builder.callback("club")),
    );
    let narthex = builder
        .tables(&(corp.toml("\"anyone\"") + &club.toml("\"anyone\"")))
        .route("app", upstream.port, "")
        .start();
    let (at_corp, by_corp) = come(&narthex, &upstream, "corp").await;
    let (at_club, by_club) = come(&narthex, &upstream, "club").await;
    assert_ne!(by_corp["sub"], by_club["sub"]);
    let name = |claims: &Value| claims["cognito:username"].as_str().unwrap().to_owned();
    let (corp_name, club_name) = (name(&by_corp), name(&by_club));

    for (arguments, said) in [
        (["link", "nobody@corp.example", &club_name], "nobody is called \"nobody@corp.example\""),
        (["link", &corp_name, "alice@corp.example"], "both are the same user already"),
        (["unlink", &corp_name, "club"], "the user has no account of this provider"),
        (["unlink", &corp_name, "corp"], "the user is named after this account"),
    ] {
        let (good, told) = users(&narthex, &arguments);
        assert!(!good && told.contains(said) && told.contains("narthex users"), "{said}: {told}");
    }

    let (good, told) = users(&narthex, &["link", &corp_name, "alice@club.example"]);
    assert!(good && told.contains("signs in by corp, club"), "{told}");
    // Who is gone is signed out; who stays is not.
    let app = format!("{}/", narthex.origin("app"));
    let begun = std::time::Instant::now();
    loop {
        if at_club.get(&app).await.status() == 303 {
            break;
        }
        assert!(begun.elapsed().as_secs() < 5, "a session of a user who is gone goes on");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    is(&at_corp.get(&app).await, 200);
    let (at_club, told) = come(&narthex, &upstream, "club").await;
    assert_eq!(told["sub"], by_corp["sub"]);
    assert_eq!(told["identities"].as_array().unwrap().len(), 2);
    assert_eq!(come(&narthex, &upstream, "corp").await.1["sub"], by_corp["sub"]);

    let (good, told) = users(&narthex, &["unlink", &corp_name, "club"]);
    assert!(good && told.contains("signs in by corp\n"), "{told}");
    wait_until("the end of the other account's session", || {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async { at_club.get(&app).await.status() == 303 })
        })
    });
    let (_, apart) = come(&narthex, &upstream, "club").await;
    assert!(apart["sub"] != by_corp["sub"] && apart["sub"] != by_club["sub"], "a `sub` is never used again");
    is(&at_corp.get(&app).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_of_one_provider_are_not_linked_and_a_name_of_two_is_no_name() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let corp = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder.tables(&corp.toml("\"anyone\"")).route("app", upstream.port, "").start();
    for login in ["alice", "alice+staff", "bob"] {
        is(&Visitor::new(&narthex).land(&format!("{}/", narthex.origin("app")), login).await, 200);
    }
    let (good, told) = users(&narthex, &["link", "bob@corp.example", "alice@corp.example"]);
    assert!(
        !good && told.contains("several users are called") && told.contains("mend: give a user name"),
        "{told}"
    );
    let alice = told.lines().find(|line| line.ends_with("_alice")).unwrap().trim().to_owned();
    let (good, told) = users(&narthex, &["link", "bob@corp.example", &alice]);
    assert!(!good && told.contains("both have an account of corp"), "{told}");
}
