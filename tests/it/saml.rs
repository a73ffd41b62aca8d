//! SAML: honest responses in every form that is taken, and hostile ones, each of which differs from an
//! honest twin in one thing.

use crate::support::narthex::Narthex;
use crate::support::saml_provider::{
    Asked, EACH, SamlProvider, Signed, at, begin, encrypt, narthex, our_certificate, post,
};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, is};

const AUDIENCE: &str = "urn:narthex:test";
const OURS: &str = "entity_id = \"urn:narthex:test\"";

fn same(text: String) -> String {
    text
}

/// Whether nobody is signed in after that: the way leads to the provider again.
async fn left_no_session(narthex: &Narthex, visitor: &Visitor) {
    let again = visitor.get(&format!("{}/", narthex.origin("app"))).await;
    is(&again, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_by_saml_however_the_response_is_signed() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let narthex = narthex(&provider, upstream.port, OURS);
    for signed in EACH {
        let (visitor, asked) = begin(&narthex).await;
        let response = provider.honest(&provider.acs(&narthex), AUDIENCE, &asked, signed, same, same);
        let landed = post(&visitor, &provider.acs(&narthex), &response, &asked.relay_state).await;
        let detail: Vec<_> =
            narthex.audit("login_failed").iter().map(|line| line["detail"].to_string()).collect();
        assert_eq!(landed.status(), 200, "{signed:?}: {detail:?}");
    }
    let seen = upstream.seen();
    assert_eq!(seen.len(), 3);
    let claims = seen[0].claims();
    assert_eq!(claims["email"], "alice@corp.example");
    assert_eq!(claims["cognito:groups"], serde_json::json!(["staff", "admins"]));
    assert_eq!(claims["amr"], serde_json::json!(["pwd"]));
}
