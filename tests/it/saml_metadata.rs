//! SAML: metadata of providers and of Narthex, and keys that change.

use crate::support::process::wait_until;
use crate::support::saml_provider::{
    RSA_SHA256, SAML, SHA256, SamlKey, SamlProvider, sign, sign_template, start_narthex, start_sign_in,
};
use crate::support::saml_sign_in::{ENTITY_ID_TOML, last_failure, sign_in};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, location};
use std::process::Command;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_change_during_use_and_one_that_is_gone_counts_no_longer_than_the_refresh() {
    let upstream = Upstream::start().await;
    let mut provider = SamlProvider::new("corp");
    let narthex =
        start_narthex(&provider, upstream.port, &format!("{ENTITY_ID_TOML}\nmetadata_refresh = \"12s\""));
    let (old, new) = (provider.key.clone(), SamlKey::make(provider.folder.path(), "new", &["rsa:2048"]));
    assert_status(&sign_in(&narthex, &provider).await.1, 200);
    // In its time: both are published, then the new one signs.
    provider.publish(&[&old, &new]);
    assert_status(&sign_in(&narthex, &provider).await.1, 200);
    tokio::time::sleep(Duration::from_secs(11)).await;
    provider.key = new.clone();
    let (_, landed, _) = sign_in(&narthex, &provider).await;
    assert_eq!(landed.status(), 200, "{}", last_failure(&narthex));
    provider.publish(&[&new]);
    tokio::time::sleep(Duration::from_secs(13)).await;
    provider.key = old;
    assert_status(&sign_in(&narthex, &provider).await.1, 400);
    assert!(last_failure(&narthex).starts_with("\"signature\""), "{}", last_failure(&narthex));
    provider.key = new;
    assert_status(&sign_in(&narthex, &provider).await.1, 200);
    assert_eq!(narthex.audit("login_failed").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_in_a_file_that_is_replaced_counts_at_once_and_a_bad_one_is_told() {
    let upstream = Upstream::start().await;
    let mut provider = SamlProvider::new("corp");
    let narthex = start_narthex(&provider, upstream.port, ENTITY_ID_TOML);
    let (old, new) = (provider.key.clone(), SamlKey::make(provider.folder.path(), "new", &["rsa:2048"]));
    assert_status(&sign_in(&narthex, &provider).await.1, 200);
    let replace = |keys: &[&SamlKey]| {
        let before = narthex.audit("reload").len();
        provider.publish(keys);
        wait_until("the reload", || narthex.audit("reload").len() > before);
    };
    replace(&[&new]);
    assert_status(&sign_in(&narthex, &provider).await.1, 400);
    provider.key = new;
    assert_status(&sign_in(&narthex, &provider).await.1, 200);
    // Half of it, for a while: the last good one is used.
    let text = std::fs::read_to_string(provider.metadata_file()).unwrap();
    std::fs::write(provider.metadata_file(), &text[..text.len() / 2]).unwrap();
    wait_until("the log line", || narthex.log().contains("the provider's metadata could not be had"));
    assert_status(&sign_in(&narthex, &provider).await.1, 200);
    provider.key = old;
    assert_status(&sign_in(&narthex, &provider).await.1, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_nothing_could_be_judged_by_is_not_used() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let (good, key) = (provider.metadata(&[&provider.key]), &provider.key);
    let other = SamlKey::make(provider.folder.path(), "other", &["rsa:2048"]);
    let weak = SamlKey::make(provider.folder.path(), "weak", &["rsa:1024"]);
    let pinned = format!("metadata_certificate = \"{}\"", key.certificate.display());
    let signed_by = |key: &SamlKey| {
        let template = sign_template_of(&good);
        sign_template(&template, key)
    };
    let changed = |from: &str, to: &str| good.replace(from, to);
    for (name, text, more, status, said) in [
        ("as it is", good.clone(), "", 303, ""),
        ("with a comment", changed("<md:IDPSSO", "<!-- ours --><md:IDPSSO"), "", 303, ""),
        ("without a key", provider.metadata(&[]), "", 502, "it has no signing key"),
        ("with a weak key", provider.metadata(&[&weak]), "", 502, "an RSA key has 1024 bits"),
        ("with a weak key beside a good one", provider.metadata(&[&weak, key]), "", 303, ""),
        (
            "whose key only encrypts",
            changed("use=\"signing\"", "use=\"encryption\""),
            "",
            502,
            "it has no signing key",
        ),
        (
            "that has ended",
            changed(" entityID", " validUntil=\"2020-01-01T00:00:00Z\" entityID"),
            "",
            502,
            "validUntil has passed",
        ),
        ("without an address", changed("SingleSignOnService", "Other"), "", 502, "no SingleSignOnService"),
        (
            "that leads to plain http",
            changed("http://127.0.0.1:1/sso", "http://idp.example/sso"),
            "",
            502,
            "is not https",
        ),
        ("that is no metadata", "<html/>".into(), "", 502, "describes 0 identity providers"),
        ("cut short", good[..good.len() - 9].to_owned(), "", 502, "cannot be used"),
        ("signed, and it must be", signed_by(key), &*pinned, 303, ""),
        ("not signed, and it must be", good.clone(), &*pinned, 502, "nothing is signed"),
        ("signed by another, and it must be", signed_by(&other), &*pinned, 502, "verifies it"),
    ] {
        std::fs::write(provider.metadata_file(), text).unwrap();
        let narthex = start_narthex(&provider, upstream.port, &format!("{ENTITY_ID_TOML}\n{more}"));
        let visitor = Visitor::new(&narthex);
        let to = visitor.get(&format!("{}/", narthex.origin("app"))).await;
        let answer = visitor.get(location(&to).as_str()).await;
        assert_eq!(answer.status(), status, "metadata {name}");
        assert!(narthex.log().contains(said), "metadata {name}: {}", narthex.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_library_reads_our_metadata_and_our_request() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let narthex = start_narthex(&provider, upstream.port, ENTITY_ID_TOML);
    let url = format!("{}/saml2/metadata/corp", narthex.origin("auth"));
    let text = Visitor::new(&narthex).get(&url).await.text().await.unwrap();
    let ours: samael::metadata::EntityDescriptor = text.parse().unwrap();
    assert_eq!(ours.entity_id.as_deref(), Some("urn:narthex:test"));
    let descriptor = &ours.sp_sso_descriptors.as_ref().unwrap()[0];
    let [acs] = &descriptor.assertion_consumer_services[..] else { panic!("{descriptor:?}") };
    assert_eq!(acs.location, provider.acs(&narthex));
    let (_, asked) = start_sign_in(&narthex).await;
    let request: samael::schema::AuthnRequest = asked.request.parse().unwrap();
    assert_eq!(request.id, asked.id);
    assert_eq!(request.issuer.unwrap().value.as_deref(), Some("urn:narthex:test"));
    assert_eq!(request.assertion_consumer_service_url, Some(provider.acs(&narthex)));
}

/// A key whose certificate `authority` issued.
fn issued_by(authority: &SamlKey, folder: &std::path::Path) -> SamlKey {
    let key = SamlKey { private: folder.join("leaf.key"), certificate: folder.join("leaf.pem") };
    let request = folder.join("leaf.csr");
    let openssl = |arguments: &[&std::ffi::OsStr]| {
        assert!(Command::new("openssl").args(arguments).output().unwrap().status.success());
    };
    let words =
        ["req", "-new", "-nodes", "-subj", "/CN=leaf", "-newkey", "rsa:2048", "-keyout"].map(AsRef::as_ref);
    openssl(&[&words[..], &[key.private.as_ref(), "-out".as_ref(), request.as_ref()]].concat());
    let words = ["x509", "-req", "-days", "100", "-CAcreateserial", "-in"].map(AsRef::as_ref);
    let (by, by_key) = (authority.certificate.as_ref(), authority.private.as_ref());
    let to = ["-CA".as_ref(), by, "-CAkey".as_ref(), by_key, "-out".as_ref(), key.certificate.as_ref()];
    openssl(&[&words[..], &[request.as_ref()], &to].concat());
    key
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_in_metadata_has_one_key_that_signs() {
    let upstream = Upstream::start().await;
    let mut provider = SamlProvider::new("corp");
    let authority = provider.key.clone();
    provider.key = issued_by(&authority, provider.folder.path());
    let certificate = format!("<ds:X509Certificate>{}</ds:X509Certificate>", provider.key.base64());
    let chain = format!("<ds:X509Certificate>{}</ds:X509Certificate>{certificate}", authority.base64());
    let apart =
        chain.replacen("</ds:X509Certificate>", "</ds:X509Certificate></ds:X509Data><ds:X509Data>", 1);
    let leaf = provider.key.clone();
    for chain in [chain, apart] {
        provider.key = leaf.clone();
        let metadata = provider.metadata(&[&provider.key]).replace(&certificate, &chain);
        std::fs::write(provider.metadata_file(), metadata).unwrap();
        let narthex = start_narthex(&provider, upstream.port, ENTITY_ID_TOML);
        let (_, landed, _) = sign_in(&narthex, &provider).await;
        assert_status(&landed, 200);
        provider.key = authority.clone();
        let (_, refused, _) = sign_in(&narthex, &provider).await;
        assert_status(&refused, 400);
        assert_eq!(narthex.audit("login_failed").last().unwrap()["reason"], "signature");
    }
}

/// `metadata` with the template of a signature.
fn sign_template_of(metadata: &str) -> String {
    let signed = format!("{}<saml:Issuer>x</saml:Issuer>", &metadata[..=metadata.find('>').unwrap()]);
    let folder = tempfile::tempdir().unwrap();
    let key = SamlKey::make(folder.path(), "none", &["rsa:2048"]);
    // The form is that of any other signature; its values are made anew.
    let whole = format!(
        "{}</md:EntityDescriptor>",
        signed.replace("<saml:Issuer>", &format!("<saml:Issuer xmlns:saml=\"{SAML}\">"))
    );
    let signature = sign(&whole, &key, RSA_SHA256, SHA256);
    let begin = signature.find("<ds:Signature ").unwrap();
    let end = signature.find("</ds:Signature>").unwrap() + "</ds:Signature>".len();
    let mut template = signature[begin..end].to_owned();
    for name in ["DigestValue", "SignatureValue"] {
        let (from, to) = (format!("<ds:{name}>"), format!("</ds:{name}>"));
        let begin = template.find(&from).unwrap() + from.len();
        let end = template.find(&to).unwrap();
        template.replace_range(begin..end, "");
    }
    let behind = metadata.find('>').unwrap() + 1;
    format!("{}{template}{}", &metadata[..behind], &metadata[behind..])
}
