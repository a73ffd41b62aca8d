//! SAML: rotation of our own key. Each step is seen by what the metadata publishes, by what signs
//! requests, and by which encrypted assertions are accepted.

use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::Postgres;
use crate::support::process::wait_until;
use crate::support::saml_provider::{
    SIGN_ON, SamlKey, SamlProvider, SamlRequest, encrypt, new_visitor, parse_request, post_response,
    start_narthex,
};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, redirect_target};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};
use std::process::Command;

const AUDIENCE: &str = "urn:narthex:test";
const OURS: &str = "entity_id = \"urn:narthex:test\"\nrequest_signing = true\nencrypted_responses = true";
const AES256_GCM: &str = "http://www.w3.org/2009/xmlenc11#aes256-gcm";
const OAEP: &str = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p";

/// Runs `narthex saml` in the folder of `narthex`; returns whether it succeeded, and its output.
fn saml(narthex: &Narthex, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_narthex"));
    let output = command.arg("saml").args(arguments).current_dir(narthex.folder()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout) + &text(output.stderr))
}

fn succeeds(narthex: &Narthex, arguments: &[&str]) -> String {
    let (success, output) = saml(narthex, arguments);
    assert!(success, "{arguments:?}: {output}");
    output
}

/// The certificates of the metadata, in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Published {
    signing: Vec<String>,
    encryption: Vec<String>,
}

async fn published(narthex: &Narthex) -> Published {
    let url = format!("{}/saml2/metadata/corp", narthex.origin("auth"));
    let answer = new_visitor(narthex).get(&url).await;
    assert_status(&answer, 200);
    let text = answer.text().await.unwrap();
    let of = |usage: &str| {
        let descriptors = text.split("<md:KeyDescriptor use=\"").filter(|text| text.starts_with(usage));
        let certificate = |text: &str| text.split("X509Certificate>").nth(1).unwrap().replace("</ds:", "");
        descriptors.map(certificate).collect()
    };
    Published { signing: of("signing\""), encryption: of("encryption\"") }
}

/// Waits until the metadata is as `is_right` wants it.
async fn wait_for_published(narthex: &Narthex, is_right: impl Fn(&Published) -> bool) -> Published {
    for _ in 0..600 {
        let now = published(narthex).await;
        if is_right(&now) {
            return now;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the metadata stays as it is: {:?}", published(narthex).await);
}

fn certificate_file(folder: &Path, base64: &str) -> PathBuf {
    let lines: Vec<&str> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let file = folder.join("our.pem");
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
    std::fs::write(&file, pem).unwrap();
    file
}

/// Begins a sign-in at this node, and returns the address at the provider.
async fn begin(narthex: &Narthex) -> (Visitor, String) {
    let visitor = new_visitor(narthex);
    let mut url = format!("{}/", narthex.origin("app"));
    while !url.starts_with(SIGN_ON) {
        url = redirect_target(&visitor.get(&url).await).expect("a way to the provider");
    }
    (visitor, url)
}

/// Whether openssl verifies the signature of the request in `url` by the certificate.
fn verifies(url: &str, certificate: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let query = url.split_once('?').unwrap().1;
    let (signed, signature) = query.split_once("&Signature=").expect("a signed request");
    let pair = format!("s={signature}");
    let signature = url::form_urlencoded::parse(pair.as_bytes()).next().unwrap().1;
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("signed"), signed).unwrap();
    std::fs::write(at("signature"), STANDARD.decode(signature.as_bytes()).unwrap()).unwrap();
    let certificate = certificate_file(folder.path(), certificate);
    let openssl = |arguments: &[&str]| {
        Command::new("openssl")
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("openssl is installed")
    };
    let key = openssl(&["x509", "-in", &certificate.display().to_string(), "-noout", "-pubkey"]);
    std::fs::write(at("public"), key.stdout).unwrap();
    openssl(&["dgst", "-sha256", "-verify", "public", "-signature", "signature", "signed"]).status.success()
}

/// Signs in by an assertion that is encrypted for `certificate`; returns the status.
async fn sign_in(narthex: &Narthex, provider: &SamlProvider, certificate: &str) -> u16 {
    let (visitor, url) = begin(narthex).await;
    let asked: SamlRequest = parse_request(&url);
    let acs = provider.acs(narthex);
    let assertion = provider.sign(&provider.assertion(&acs, AUDIENCE, &asked));
    let file = certificate_file(provider.folder.path(), certificate);
    let response = provider.response(&acs, &asked, &encrypt(&assertion, &file, AES256_GCM, OAEP));
    post_response(&visitor, &acs, &response, &asked.relay_state).await.status().as_u16()
}

fn phases(narthex: &Narthex) -> Vec<String> {
    let lines = narthex.audit("saml_key_phase");
    lines.iter().map(|line| line["phase"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_publishes_then_signs_then_removes_on_all_nodes() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let builder = NarthexBuilder::new()
        .tables(&provider.toml(OURS))
        .route("app", upstream.port, "")
        .postgres(&Postgres::shared().database());
    let mut one = builder.clone().start();
    let mut two = one.share_authority(&builder).start_at("127.0.0.2");
    let before = published(&one).await;
    assert_eq!((before.signing.len(), &before.encryption), (1, &before.signing));
    assert_eq!(published(&two).await, before, "all nodes have one key");
    let old = before.signing[0].clone();
    assert!(verifies(&begin(&one).await.1, &old));
    assert_eq!(sign_in(&one, &provider, &old).await, 200);
    assert!(saml(&one, &["reschedule", "--keep", "0"]).1.contains("no rotation has begun"));

    // The next certificate is published, and its key decrypts. The old one signs.
    let listed = succeeds(&one, &["rotate", "--sign-after", "1d", "--keep", "1d"]);
    assert!(listed.contains(" signing\n") && listed.contains(" next\n"), "{listed}");
    let (success, output) = saml(&two, &["rotate"]);
    assert!(!success && output.contains("narthex saml reschedule"), "{output}");
    one.kill();
    one.start();
    let during = wait_for_published(&one, |now| now.signing.len() == 2).await;
    let new = during.signing[1].clone();
    assert_eq!(during.signing, [old.clone(), new.clone()]);
    assert_eq!(during.encryption, [new.clone(), old.clone()], "new assertions are for the key that stays");
    wait_for_published(&two, |now| *now == during).await;
    for node in [&one, &two] {
        let request = begin(node).await.1;
        assert!(verifies(&request, &old) && !verifies(&request, &new));
        assert_eq!(sign_in(node, &provider, &old).await, 200);
        assert_eq!(sign_in(node, &provider, &new).await, 200);
    }

    // The new one signs, and the old one still decrypts: on a node that restarts in the middle,
    // too.
    succeeds(&two, &["reschedule", "--sign-after", "0"]);
    two.kill();
    two.start();
    for node in [&one, &two] {
        let after = wait_for_published(node, |now| now.signing.len() == 1).await;
        assert_eq!((after.signing, after.encryption), (vec![new.clone()], vec![new.clone()]));
        let request = begin(node).await.1;
        assert!(verifies(&request, &new) && !verifies(&request, &old));
        assert_eq!(sign_in(node, &provider, &old).await, 200);
        assert_eq!(sign_in(node, &provider, &new).await, 200);
    }

    // The old one is removed: from memory on every node, and from the store.
    succeeds(&one, &["reschedule", "--keep", "0"]);
    for node in [&one, &two] {
        wait_until("the removal", || phases(node).contains(&"removed".to_owned()));
    }
    wait_until("the deletion", || succeeds(&one, &["keys"]).matches("signs from").count() == 1);
    for node in [&one, &two] {
        let begun = std::time::Instant::now();
        while sign_in(node, &provider, &old).await != 400 {
            assert!(begun.elapsed().as_secs() < 30, "an assertion for the removed key is accepted");
        }
        assert_eq!(node.audit("login_failed").last().unwrap()["reason"], "encryption");
        assert_eq!(sign_in(node, &provider, &new).await, 200);
    }
    assert!(phases(&one).contains(&"signing".to_owned()), "{:?}", phases(&one));
    assert!(phases(&two).contains(&"next".to_owned()), "{:?}", phases(&two));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_own_key_takes_over_at_its_time_and_a_wrong_pair_is_refused() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let narthex = start_narthex(&provider, upstream.port, OURS);
    let old = published(&narthex).await.signing[0].clone();
    let private = narthex.saml_key().await;
    let folder = narthex.folder();
    let [mine, other] = ["mine", "other"].map(|name| SamlKey::make(folder, name, &["rsa:2048"]));
    let curve = SamlKey::make(folder, "curve", &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    let short = SamlKey::make(folder, "short", &["rsa:1024"]);
    for (key, certificate, words) in [
        ("mine.key", "other.pem", "`mine.key` is not the key of the certificate `other.pem`"),
        ("curve.key", "curve.pem", "`curve.key`: it holds no RSA private key of 2048 bits or more"),
        ("short.key", "short.pem", "`short.key`: it holds no RSA private key of 2048 bits or more"),
        ("mine.key", "mine.key", "`mine.key`: it holds no certificate in PEM"),
        ("none.key", "mine.pem", "`none.key`: "),
    ] {
        let (success, output) = saml(&narthex, &["rotate", "--key", key, "--certificate", certificate]);
        assert!(!success && output.contains(words), "{words}: {output}");
    }
    let far = ["rotate", "--key", "mine.key", "--certificate", "mine.pem", "--sign-after", "200d"];
    assert!(saml(&narthex, &far).1.contains("`mine.pem`: it expires at "));
    assert!(saml(&narthex, &["rotate", "--sign-after", "soon"]).1.contains("is not a duration"));
    assert_eq!(succeeds(&narthex, &["keys"]).matches("signs from").count(), 1, "nothing has changed");
    assert!(curve.private.exists() && short.private.exists());

    // By time alone, without another command: it signs, and the old one goes.
    let mine_arguments =
        ["--key", "mine.key", "--certificate", "mine.pem", "--sign-after", "8s", "--keep", "1s"];
    succeeds(&narthex, &[&["rotate"][..], &mine_arguments].concat());
    let during = wait_for_published(&narthex, |now| now.signing.len() == 2).await;
    assert_eq!(during.signing, [old.clone(), mine.base64()]);
    let after = wait_for_published(&narthex, |now| now.signing.len() == 1).await;
    assert_eq!(after.signing, [mine.base64()]);
    assert!(verifies(&begin(&narthex).await.1, &mine.base64()));
    wait_until("the deletion", || succeeds(&narthex, &["keys"]).matches("signs from").count() == 1);
    assert_ne!(narthex.saml_key().await, private, "the removed key is in the store");
    assert_eq!(sign_in(&narthex, &provider, &old).await, 400);
    assert_eq!(sign_in(&narthex, &provider, &mine.base64()).await, 200);

    // Of 100 days, the metric; a certificate of 30 days is warned of.
    let expires_in = |narthex: &Narthex| -> i64 {
        let metrics = narthex.admin("/metrics");
        let line =
            metrics.lines().find(|line| line.starts_with("narthex_saml_certificate_expires_in_seconds"));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    };
    let day = 86400;
    assert!((99 * day..=100 * day).contains(&expires_in(&narthex)));
    let renewed = Command::new("openssl")
        .args(["req", "-x509", "-key", "other.key", "-days", "30", "-subj", "/CN=sp", "-out", "soon.pem"])
        .current_dir(folder)
        .status();
    assert!(renewed.unwrap().success() && other.private.exists());
    let soon =
        ["rotate", "--key", "other.key", "--certificate", "soon.pem", "--sign-after", "0", "--keep", "0"];
    succeeds(&narthex, &soon);
    wait_until("the metric", || expires_in(&narthex) < 31 * day);
    let checked =
        Command::new(env!("CARGO_BIN_EXE_narthex")).arg("check").current_dir(folder).output().unwrap();
    let checked = String::from_utf8(checked.stdout).unwrap();
    let warning = "our SAML certificate expires in 29 day(s); help: run `narthex saml rotate`";
    assert!(checked.contains(&format!("warning  {warning}")), "{checked}");
    drop(narthex);
}
