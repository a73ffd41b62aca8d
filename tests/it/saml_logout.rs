//! SAML: the end of sessions, by their lifetime and by logout requests.

use crate::support::process::wait_until;
use crate::support::saml_provider::{
    SamlKey, SamlProvider, attribute, logout_request, signed_query, start_narthex, time_from_now,
};
use crate::support::saml_sign_in::{ENTITY_ID_TOML, sign_in, sign_in_with};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, location};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_the_providers_own() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let narthex = start_narthex(&provider, upstream.port, ENTITY_ID_TOML);
    let (visitor, landed, _) = sign_in_with(&narthex, &provider, |text| {
        let told = format!("<saml:AuthnStatement SessionNotOnOrAfter=\"{}\" ", time_from_now(4));
        text.replace("<saml:AuthnStatement ", &told)
    })
    .await;
    assert_status(&landed, 200);
    let app = format!("{}/", narthex.origin("app"));
    assert_status(&visitor.get(&app).await, 200);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_status(&visitor.get(&app).await, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_ends_sessions_by_a_request_that_it_signed_and_by_no_other() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let other = SamlKey::make(provider.folder.path(), "other", &["rsa:2048"]);
    let narthex = start_narthex(&provider, upstream.port, ENTITY_ID_TOML);
    let here = format!("{}/saml2/logout/corp", narthex.origin("auth"));
    let app = format!("{}/", narthex.origin("app"));
    let (visitor, landed, response) = sign_in(&narthex, &provider).await;
    assert_status(&landed, 200);
    let session = attribute(&response, "SessionIndex").to_owned();
    let id = &provider.entity_id;

    let anybody = Visitor::new(&narthex);
    let good = || logout_request(id, &here, "alice", &[&session]);
    let query = |message: &str, key: &SamlKey| signed_query("SAMLRequest", message, "back", key);
    let old = good().replace(&time_from_now(0), &time_from_now(-600));
    for (check, query) in [
        ("signature", query(&good(), &other)),
        ("unsigned", query(&good(), &provider.key).split("&SigAlg").next().unwrap().to_owned()),
        ("signature", query(&good(), &provider.key).replace("RelayState=back", "RelayState=else")),
        ("form", format!("{}&SAMLRequest=x", query(&good(), &provider.key))),
        ("issuer", query(&logout_request("https://evil.example", &here, "alice", &[]), &provider.key)),
        ("destination", query(&logout_request(id, "https://else.example", "alice", &[]), &provider.key)),
        ("not_on_or_after", query(&old, &provider.key)),
        ("issue_instant", query(&good().replace(&time_from_now(0), &time_from_now(600)), &provider.key)),
        ("xml", query(&format!("<!DOCTYPE a>{}", good()), &provider.key)),
        ("shape", query(&good().replace("LogoutRequest", "AuthnRequest"), &provider.key)),
    ] {
        assert_status(&anybody.get(&format!("{here}?{query}")).await, 400);
        let failed = narthex.audit("saml_logout_failed");
        assert_eq!(failed.last().unwrap()["reason"], check, "{}", failed.last().unwrap()["detail"]);
        assert_status(&visitor.get(&app).await, 200);
    }
    // Another person's, and another session of the same person, end nothing here.
    for (name, session) in [("bob", session.as_str()), ("alice", "_another")] {
        let request = query(&logout_request(id, &here, name, &[session]), &provider.key);
        assert_status(&anybody.get(&format!("{here}?{request}")).await, 303);
        assert_status(&visitor.get(&app).await, 200);
    }
    let request = query(&good(), &provider.key);
    let answer = anybody.get(&format!("{here}?{request}")).await;
    let back = location(&answer);
    assert!(back.as_str().starts_with("http://127.0.0.1:1/slo?SAMLResponse="), "{back}");
    assert!(
        back.query_pairs().any(|pair| pair == ("RelayState".into(), "back".into()))
            && back.as_str().contains("&Signature=")
    );
    wait_until("the session's end", || narthex.audit("session_ended").len() == 1);
    assert_status(&visitor.get(&app).await, 303);
    // It works once.
    assert_status(&anybody.get(&format!("{here}?{request}")).await, 400);
    assert_eq!(narthex.audit("saml_logout_failed").last().unwrap()["reason"], "attempt_used");

    // Nor does an answer that nobody signed do more than end on our own page.
    let answer = good().replace("LogoutRequest", "LogoutResponse");
    let query = signed_query("SAMLResponse", &answer, "evil.example", &provider.key);
    let unsigned = query.split("&SigAlg").next().unwrap();
    let answer = anybody.get(&format!("{here}?{unsigned}")).await;
    assert_eq!(location(&answer).as_str(), format!("{}/logout", narthex.origin("auth")));
    let many: String = (0..40).map(|number| format!("a{number}=b&")).collect();
    assert_status(&anybody.get(&format!("{here}?{many}SAMLRequest=x")).await, 400);
    assert_eq!(narthex.audit("saml_logout_failed").last().unwrap()["reason"], "form");

    // By a form, signed in the message itself.
    let (visitor, landed, _) = sign_in(&narthex, &provider).await;
    assert_status(&landed, 200);
    let form = |message: &str| [("SAMLRequest", STANDARD.encode(message)), ("RelayState", "back".to_owned())];
    assert_status(&anybody.client.post(&here).form(&form(&good())).send().await.unwrap(), 400);
    assert_status(&visitor.get(&app).await, 200);
    let signed = provider.sign(&logout_request(id, &here, "alice", &[]));
    assert_status(&anybody.client.post(&here).form(&form(&signed)).send().await.unwrap(), 200);
    assert_status(&visitor.get(&app).await, 303);
}
