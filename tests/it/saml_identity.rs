//! Whose people a SAML provider speaks for: the same ones, whatever it is called in the file, and
//! nobody else's.

use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::Postgres;
use crate::support::saml_provider::{
    SIGN_ON, SamlKey, SamlProvider, Signed, new_visitor, parse_request, post_response,
};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, location, redirect_target};
use serde_json::Value;

const AUDIENCE: &str = "urn:narthex:test";
const OURS: &str = "entity_id = \"urn:narthex:test\"";

/// Signs `person` in by `provider`; returns the browser and what the app answered.
async fn sign_in(narthex: &Narthex, provider: &SamlProvider, person: &str) -> (Visitor, reqwest::Response) {
    let visitor = new_visitor(narthex);
    let mut url = redirect_target(&visitor.get(&format!("{}/", narthex.origin("app"))).await).unwrap();
    url = format!("{url}&identity_provider={}", provider.name);
    while !url.starts_with(SIGN_ON) {
        url = redirect_target(&visitor.get(&url).await).expect("a way to the provider");
    }
    let (asked, acs) = (parse_request(&url), provider.acs(narthex));
    let named = |text: String| text.replace(">alice<", &format!(">{person}<"));
    let response = provider.valid_response(&acs, AUDIENCE, &asked, Signed::Both, named, |text| text);
    let landed = post_response(&visitor, &acs, &response, &asked.relay_state).await;
    (visitor, landed)
}

/// The same where it must succeed; returns the `sub` beside the browser.
async fn signed_in(
    narthex: &Narthex,
    upstream: &Upstream,
    provider: &SamlProvider,
    person: &str,
) -> (Visitor, Value) {
    let (visitor, landed) = sign_in(narthex, provider, person).await;
    assert_eq!(landed.status(), 200, "{}", why(narthex));
    (visitor, upstream.seen().last().unwrap().claims()["sub"].clone())
}

fn why(narthex: &Narthex) -> String {
    let failed = narthex.audit("login_failed").pop();
    failed.map_or_else(String::new, |line| format!("{}: {}", line["reason"], line["detail"]))
}

/// The provider's table, with these keys besides.
fn table(provider: &SamlProvider, more: &str) -> String {
    provider.toml(&format!("{OURS}\n{more}"))
}

fn start(upstream: &Upstream, database: &str, providers: &[String]) -> Narthex {
    let builder = NarthexBuilder::new().route("app", upstream.port, "").postgres(database);
    providers.iter().fold(builder, |builder, table| builder.tables(table)).start()
}

/// The same identity provider under another name in the file.
fn renamed(provider: &SamlProvider, name: &'static str) -> SamlProvider {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(provider.folder.path()).unwrap() {
        let file = file.unwrap().path();
        std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
    }
    let of = |path: &std::path::Path| folder.path().join(path.file_name().unwrap());
    let key = SamlKey { private: of(&provider.key.private), certificate: of(&provider.key.certificate) };
    SamlProvider { key, name, entity_id: provider.entity_id.clone(), folder }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_keep_their_accounts_when_their_provider_is_renamed() {
    let upstream = Upstream::start().await;
    let database = Postgres::shared().database();
    let mut corp = SamlProvider::new("corp");
    let narthex = start(&upstream, &database, &[table(&corp, "")]);
    let (_, alice) = signed_in(&narthex, &upstream, &corp, "alice").await;
    let (_, bob) = signed_in(&narthex, &upstream, &corp, "bob").await;
    drop(narthex);

    // Another name, and the same file.
    corp.name = "staff";
    let narthex = start(&upstream, &database, &[table(&corp, "")]);
    assert_eq!(signed_in(&narthex, &upstream, &corp, "alice").await.1, alice);
    drop(narthex);

    // Another name, and a file of another name with the same content.
    let moved = renamed(&corp, "people");
    let narthex = start(&upstream, &database, &[table(&moved, "")]);
    assert_eq!(signed_in(&narthex, &upstream, &moved, "alice").await.1, alice);
    drop(narthex);

    // Another name, another file and another key could be anybody: the file says who it is.
    let mut other = renamed(&moved, "other");
    other.key = SamlKey::make(other.folder.path(), "own", &["rsa:2048"]);
    other.publish(&[&other.key]);
    let narthex = start(&upstream, &database, &[table(&other, "")]);
    assert_status(&sign_in(&narthex, &other, "bob").await.1, 400);
    assert!(why(&narthex).contains("help: if both are SAML and one identity provider, set issuer ="));
    drop(narthex);
    let issuer = format!("issuer = \"{}\"", other.entity_id);
    let narthex = start(&upstream, &database, &[table(&other, &issuer)]);
    assert_eq!(signed_in(&narthex, &upstream, &other, "bob").await.1, bob);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_entries_of_one_identity_provider_sign_in_the_same_people() {
    let upstream = Upstream::start().await;
    let corp = SamlProvider::new("corp");
    let app = |narthex: &Narthex| format!("{}/", narthex.origin("app"));
    let issuer = format!("issuer = \"{}\"", corp.entity_id);
    let mut apart = renamed(&corp, "twin");
    apart.key = SamlKey::make(apart.folder.path(), "own", &["rsa:2048"]);
    apart.publish(&[&apart.key]);
    let together = renamed(&corp, "twin");
    let same_file = table(&corp, "").replace("name = \"corp\"", "name = \"twin\"");
    // Metadata and keys of their own, where the file says that they are one.
    let named = [table(&corp, &issuer), table(&apart, &issuer)];
    for (twin, providers) in [(together, [table(&corp, ""), same_file]), (apart, named)] {
        let narthex = start(&upstream, &Postgres::shared().database(), &providers);
        let (at_corp, one) = signed_in(&narthex, &upstream, &corp, "alice").await;
        let (at_twin, other) = signed_in(&narthex, &upstream, &twin, "alice").await;
        assert_eq!(one, other);
        assert_eq!(signed_in(&narthex, &upstream, &corp, "alice").await.1, one);
        // Neither ends the sessions through the other.
        for visitor in [at_corp, at_twin] {
            assert_status(&visitor.get(&app(&narthex)).await, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_id_that_the_file_gives_to_one_provider_is_no_other_ones() {
    let upstream = Upstream::start().await;
    let (corp, mut partner) = (SamlProvider::new("corp"), SamlProvider::new("partner"));
    let issuer = format!("issuer = \"{}\"", corp.entity_id);
    partner.entity_id = corp.entity_id.clone();
    partner.publish(&[&partner.key]);
    let providers = [table(&corp, &issuer), table(&partner, "")];
    let narthex = start(&upstream, &Postgres::shared().database(), &providers);
    assert_status(&sign_in(&narthex, &corp, "alice").await.1, 200);
    // Not even people who have not come yet.
    for person in ["alice", "bob"] {
        assert_status(&sign_in(&narthex, &partner, person).await.1, 400);
        assert!(why(&narthex).starts_with("\"issuer\""), "{}", why(&narthex));
    }
    drop(narthex);

    let wrong = "issuer = \"https://somebody.example/idp\"";
    let narthex = start(&upstream, &Postgres::shared().database(), &[table(&corp, wrong)]);
    let (visitor, refused) = sign_in(&narthex, &corp, "alice").await;
    assert_status(&refused, 400);
    assert!(why(&narthex).starts_with("\"issuer\""), "{}", why(&narthex));
    let again = visitor.get(&format!("{}/", narthex.origin("app"))).await;
    assert_eq!(location(&again).path(), "/oauth2/authorize");
}
