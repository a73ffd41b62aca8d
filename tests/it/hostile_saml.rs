//! Hostile SAML responses. Each differs from a valid one in one thing, is refused by the check for
//! it, and leaves no session.

use crate::support::hostile_responses::{
    AES256_GCM, Hostile, Scene, ambiguous_responses, broken_assertions, broken_responses, replace_once,
    start_scene,
};
use crate::support::hostile_signatures::{
    badly_encrypted_responses, badly_signed_responses, wrapped_responses,
};
use crate::support::narthex::Narthex;
use crate::support::saml_provider::{
    EACH_SIGNED, OAEP, SamlRequest, Signed, logout_request, post_response, start_sign_in,
};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use saml_rs::raw::{Binding, EntitySetting, HttpRequest, IdentityProvider, ServiceProvider};

/// What we refuse and the other reader takes, by the beginning of a response's name, and why we do.
const STRICTER: [(&str, &str); 18] = [
    ("no issuer's format", "SAML profiles, 4.1.4.2, leave an issuer no format but entity; it does not look"),
    ("issued in the future", "it looks at when an assertion holds, not at when it was issued"),
    (
        "a confirmation that begins",
        "SAML profiles, 4.1.4.2, forbid NotBefore there; it waits for that time instead",
    ),
    ("a confirmation for a week", "we must remember an assertion for as long, and set a bound"),
    ("nobody authenticated", "SAML profiles, 4.1.4.2, want an AuthnStatement; it does without"),
    ("somebody will be authenticated", "it does not look at when the person was authenticated"),
    ("no name", "it leaves to its caller who the person is"),
    ("a transient name", "the same: a user could not be found again"),
    ("sent in the future", "as with the assertion's own time"),
    ("another issuer, outside", "it reads the issuer of the assertion that is signed"),
    ("wrapping 7", "it reads the assertion that is signed, and passes over the other one"),
    ("a second SignedInfo", "it reads the first, where XML Signature's schema has one"),
    ("RSA with SHA-1", "its caller may refuse SHA-1"),
    ("a digest by SHA-1", "the same"),
    ("a comment in the name", "it reads the text on both sides of a comment as one; others do not"),
    ("a comment anywhere", "the same"),
    ("another encoding", "it reads UTF-8 whatever the text says of itself; others do not"),
    ("an assertion within an encrypted one", "it reads the outer one, which is signed"),
];

/// The subject that another implementation reads from a response.
fn other_reader(scene: &Scene, asked: &SamlRequest, text: &str) -> Result<String, String> {
    let mut settings = EntitySetting::default();
    settings.is_assertion_encrypted = text.contains("EncryptedAssertion");
    settings.enc_private_key = Some(scene.private_key.clone());
    settings.clock_drifts = (-60_000, 60_000);
    settings.want_assertions_signed = false;
    let provider = IdentityProvider::from_metadata(
        &scene.provider.metadata(&[&scene.provider.key]),
        EntitySetting::default(),
    );
    let ours =
        ServiceProvider::from_metadata(&scene.our_metadata, settings).map_err(|error| error.to_string())?;
    let form = [
        ("SAMLResponse".to_owned(), STANDARD.encode(text)),
        ("RelayState".to_owned(), asked.relay_state.clone()),
    ];
    let request = HttpRequest::post(form.to_vec());
    let judged =
        ours.parse_login_response_with_request_id(&provider.unwrap(), Binding::Post, &request, &asked.id);
    judged.map(|judged| format!("{:?}", judged.extract)).map_err(|error| error.to_string())
}

/// Whether nobody is signed in after that: the way leads on to the provider again.
async fn left_no_session(narthex: &Narthex, visitor: &Visitor) {
    assert_status(&visitor.get(&format!("{}/", narthex.origin("app"))).await, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_nobody_fetch_anything() {
    let upstream = Upstream::start().await;
    let scene = start_scene(&upstream).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/x", listener.local_addr().unwrap());
    let (narthex, acs) = (&scene.narthex, scene.provider.acs(&scene.narthex));
    let logout = format!("{}/saml2/logout/corp", narthex.origin("auth"));
    // A reader that ignores namespaces takes the first of the two for the reference.
    let lead = |text: &str| {
        let other = format!("<ds:Reference xmlns:x=\"urn:x\" x:URI=\"{address}\" URI=");
        replace_once(text, "<ds:Reference URI=", &other)
    };
    for signed in EACH_SIGNED {
        let (visitor, asked) = start_sign_in(narthex).await;
        let text = lead(&scene.valid_response(&asked, signed));
        assert_status(&post_response(&visitor, &acs, &text, &asked.relay_state).await, 400);
        assert_eq!(narthex.audit("login_failed").last().unwrap()["reason"], "signature");
        let request = logout_request(&scene.provider.entity_id, &logout, "alice", &[]);
        let form = [("SAMLRequest", STANDARD.encode(lead(&scene.provider.sign(&request))))];
        assert_status(&visitor.client.post(&logout).form(&form).send().await.unwrap(), 400);
    }
    for entity in [
        "<!DOCTYPE a SYSTEM \"{}\">",
        "<!DOCTYPE a [<!ENTITY e SYSTEM \"{}\">]>",
        "<?xml-stylesheet href=\"{}\"?>",
    ] {
        let (visitor, asked) = start_sign_in(narthex).await;
        let text =
            format!("{}{}", entity.replace("{}", &address), scene.valid_response(&asked, Signed::Both));
        assert_status(&post_response(&visitor, &acs, &text, &asked.relay_state).await, 400);
    }
    let asked = tokio::time::timeout(std::time::Duration::from_millis(500), listener.accept()).await;
    assert!(asked.is_err(), "it was led to an address");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_response_is_refused_by_its_own_check_and_leaves_no_session() {
    let upstream = Upstream::start().await;
    let scene = start_scene(&upstream).await;
    let (narthex, acs) = (&scene.narthex, scene.provider.acs(&scene.narthex));
    let all = [
        broken_assertions(),
        broken_responses(),
        wrapped_responses(),
        badly_signed_responses(),
        ambiguous_responses(),
        badly_encrypted_responses(),
    ];
    let (mut problems, mut stricter) = (Vec::new(), std::collections::BTreeSet::new());
    let mut count = 0;
    for Hostile(name, check, make) in all.into_iter().flatten() {
        let (visitor, asked) = start_sign_in(narthex).await;
        let text = make(&scene, &asked);
        if let Ok(whom) = other_reader(&scene, &asked, &text) {
            assert!(!whom.contains("mallory"), "{name}: the other reader is deceived");
            match STRICTER.iter().position(|(known, _)| name.starts_with(known)) {
                Some(at) => drop(stricter.insert(at)),
                None => problems
                    .push(format!("{name}: the other reader takes it, and nothing says why we do not")),
            }
        }
        let refused = post_response(&visitor, &acs, &text, &asked.relay_state).await;
        let failed = narthex.audit("login_failed");
        if failed.len() != count + 1 {
            problems.push(format!("{name}: was taken, {}", refused.status()));
            count = failed.len();
            continue;
        }
        let line = &failed[count];
        count += 1;
        if line["reason"] != check {
            problems.push(format!(
                "{name}: refused by {} and not by {check}: {}",
                line["reason"], line["detail"]
            ));
        }
        let page = refused.text().await.unwrap();
        assert!(page.contains(line["request_id"].as_str().unwrap()), "{name}: {page}");
        left_no_session(narthex, &visitor).await;
    }
    println!("{count} hostile responses");
    assert_eq!(stricter.len(), STRICTER.len(), "a difference is explained that there is not");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(upstream.seen().is_empty());
    assert!(narthex.audit("login").is_empty() && narthex.audit("user_created").is_empty());

    // Their twins are taken.
    for signed in EACH_SIGNED {
        let (visitor, asked) = start_sign_in(narthex).await;
        let honest = scene.valid_response(&asked, signed);
        assert!(other_reader(&scene, &asked, &honest).is_ok(), "{:?}", other_reader(&scene, &asked, &honest));
        assert_status(&post_response(&visitor, &acs, &honest, &asked.relay_state).await, 200);
        let (visitor, asked) = start_sign_in(narthex).await;
        let encrypted = scene.encrypted(&asked, signed, AES256_GCM, OAEP);
        assert!(
            other_reader(&scene, &asked, &encrypted).is_ok(),
            "{:?}",
            other_reader(&scene, &asked, &encrypted)
        );
        assert_status(&post_response(&visitor, &acs, &encrypted, &asked.relay_state).await, 200);
    }
}
