//! Tests of every declared key.

use super::item::Item;
use super::key::{Declared, Presence, Section, Shape};
use super::reader::Source;
use super::{Config, file, provider_keys, reference, schema};
use std::collections::BTreeSet;
use std::path::Path;
use toml::de::DeValue;

/// Returns the root section and every section below it.
fn sections() -> Vec<&'static Section> {
    let mut found = vec![&file::SECTION];
    let mut at = 0;
    while let Some(section) = found.get(at) {
        let nested = section.declared().filter_map(|key| match key.shape() {
            Shape::Table(section) | Shape::Tables(section) | Shape::WordOrTable(_, section) => Some(section),
            _ => None,
        });
        let nested: Vec<_> = nested.collect();
        found.extend(nested);
        at += 1;
    }
    found
}

/// Creates a folder with the files that the examples name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
    for name in ["certs/internal-ca.pem", "certs/idp-metadata.pem", "certs/client.pem", "certs/example.pem"] {
        write(name, &certificate);
    }
    for name in ["client.pem", "AuthKey.p8", "certs/client.key", "certs/example.key"] {
        write(name, &key.serialize_pem());
    }
    let policies = ["editor", "boundary", "trust", "user-admin"];
    for name in policies.map(|name| format!("policies/{name}.json")) {
        write(&name, "{}");
    }
    write("brand/logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
    write("brand/pages.css", ".logo-customizable { max-width: 60% }");
    write("mail.html", "<p>{####}</p>");
    folder
}

fn environment(name: &str) -> Option<String> {
    Some(if name == "NARTHEX_MASTER_KEY" { "A".repeat(43) } else { "a secret of 22 characters".to_owned() })
}

fn report_problems(section: &Section, key: &dyn Declared, toml: &str, folder: &Path) -> Option<String> {
    let name = format!("{} in {}", key.entry().name, section.header);
    let Ok(value) = DeValue::parse(toml) else { return Some(format!("{name}: `{toml}` is not TOML")) };
    let source = Source::new(toml, folder, &environment);
    let accepted = key.accepts(&Item::new(&source, key.entry().name.to_owned(), &value));
    let diagnostics: Vec<String> =
        source.diagnostics.borrow().iter().map(|found| found.message.clone()).collect();
    (!accepted || !diagnostics.is_empty())
        .then(|| format!("{name}: `{toml}` is not accepted: {diagnostics:?}"))
}

#[test]
fn every_default_and_example_is_valid() {
    let folder = folder();
    let mut problems = Vec::new();
    for section in sections() {
        for key in section.declared().filter(|key| key.section().is_none()) {
            let entry = key.entry();
            if let Presence::Default(toml) = entry.presence {
                problems.extend(report_problems(section, key, toml, folder.path()));
            }
            problems.extend(report_problems(section, key, entry.example, folder.path()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_key_is_described_in_one_or_two_plain_sentences() {
    for section in sections() {
        for entry in section.entries(None) {
            let name = format!("`{}` in {}", entry.name, section.header);
            assert!(entry.about.ends_with('.') && entry.about.len() > 10, "{name}: {}", entry.about);
            assert!(!entry.about.contains('|') && !entry.about.contains('\n'), "{name}: {}", entry.about);
        }
        let names: Vec<_> = section.keys.iter().map(|key| (key.entry().name, key.entry().only)).collect();
        let distinct: BTreeSet<_> = names.iter().collect();
        assert_eq!(names.len(), distinct.len(), "{}: a key is declared twice", section.header);
    }
}

/// Returns the required keys of a section, with their examples.
fn required(section: &Section, kind: &str) -> String {
    let is_required =
        |presence| !matches!(presence, Presence::Default(_) | Presence::Computed(_) | Presence::Optional);
    let entries = section.entries(Some(kind)).filter(|entry| is_required(entry.presence));
    let entries = entries
        .filter(|entry| !matches!(entry.name, "type" | "allow" | "private_key") || entry.only == ["apple"]);
    entries.map(|entry| format!("{} = {}\n", entry.name, entry.example)).collect()
}

/// A configuration with each section of the file, and each of its required keys.
const EVERY_SECTION: &str = r#"public_url = "https://auth.example.com"
[listen]
[store]
[session]
[log]
[mail]
smtp = "smtps://mail.example.com"
from = "no-reply@example.com"
[breached_passwords]
url = "https://breaches.example.com/range/"
[sms]
shape = "json"
url = "https://sms.example.com/"
from = "Example"
allowed_prefixes = "+49"
[messages]
[[trigger]]
name = "check-invitation"
url = "https://hooks.example.com/cognito"
secret = { env = "SECRET" }
[[tls]]
hosts = "app.example.com"
cert = "certs/example.pem"
key = "certs/example.key"
[[provider]]
type = "saml"
metadata = "https://idp.example.com/metadata"
allow = { groups = ["staff"] }
[[issuer]]
url = "https://idp.example.com"
audience = "photos-api"
[[role]]
name = "editor"
policies = "policies/editor.json"
[[user_pool]]
[user_pool.branding]
[user_pool.triggers]
[user_pool.password_policy]
[user_pool.registration]
secret = { env = "SECRET" }
[[user_pool.attribute]]
name = "custom:team"
[[user_pool.group]]
name = "editors"
[[user_pool.resource_server]]
identifier = "photos"
scopes = "read"
[[user_pool.client]]
name = "reporter"
secret = { env = "SECRET" }
[user_pool.client.branding]
[[user_pool.message]]
"event" = "sign_up"
subject = "Your code"
text = "{####}"
[[identity_pool]]
name = "main"
[[identity_pool.role_mapping]]
provider = "saml"
type = "token"
ambiguous = "deny"
[[identity_pool.role_mapping]]
provider = "idp.example.com"
type = "rules"
ambiguous = "deny"
rules = [{ claim = "groups", match = "Equals", value = "staff", role = "editor" }]
[[route]]
host = "app.example.com"
upstream = "http://127.0.0.1:3000""#;

/// `Table::finish` panics on a declared key that no reader has looked up.
#[test]
fn every_declared_key_is_read() {
    let folder = folder();
    let read = |text: &str| {
        Config::parse(text, "narthex.toml", folder.path(), &environment)
            .unwrap_or_else(|found| panic!("{found}"))
    };
    let types = provider_keys::TYPE.words();
    assert_eq!(types.len(), super::PRESETS.len() + 3);
    for kind in types {
        let provider = required(&provider_keys::SECTION, kind);
        read(&format!(
            "public_url = \"https://a.example\"\n[[provider]]\ntype = \"{kind}\"\nallow = \"anyone\"\n{provider}"
        ));
    }
    read(EVERY_SECTION);
}

#[test]
fn keys_of_other_types_and_removed_keys_are_reported_with_the_remedy() {
    let read = |text: &str| {
        let text = format!("public_url = \"https://a.example\"\n{text}");
        let folder = Path::new("/nonexistent");
        Config::parse(&text, "narthex.toml", folder, &environment)
            .err()
            .map(|found| found.to_string())
            .unwrap()
    };
    let found =
        read("[[provider]]\ntype = \"saml\"\nmetadata = \"a.xml\"\nallow = \"anyone\"\ntenant = \"common\"");
    assert!(found.contains("[[provider]] with type = \"saml\" has no key `tenant`"), "{found}");
    assert!(found.contains("choose a type that has it: microsoft"), "{found}");
    let found = read(
        "[[route]]\nhost = \"b.example\"\nupstream = \"http://127.0.0.1\"\naccess = \"public\"\ngroups = \"a\"",
    );
    assert!(found.contains("`groups` was removed from [[route]]"), "{found}");
    assert!(found.contains("allowed_groups = [\"admins\"]"), "{found}");
}

/// Redaction of a secret depends on the name of its key.
#[test]
fn every_secret_key_is_redacted_in_diagnostics() {
    for section in sections() {
        for key in section.declared() {
            let is_secret = matches!(key.shape(), Shape::Secret | Shape::OneOrMore(Shape::Secret));
            // The URL of a database is redacted because of its form.
            if !is_secret || key.entry().name == "url" {
                continue;
            }
            let text = format!("public_url = \"https://a.example\"\n{} = \"hunter2\"", key.entry().name);
            let found = Config::parse(&text, "narthex.toml", Path::new("/"), &environment).unwrap_err();
            assert!(!found.to_string().contains("hunter2"), "{found}");
        }
    }
}

fn committed(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default()
}

#[test]
fn the_committed_reference_and_schema_are_current() {
    for (file, command, printed) in [
        ("docs/narthex.schema.json", "schema", schema()),
        ("docs/src/reference/configuration.md", "reference", reference()),
    ] {
        let update = format!("help: run `cargo run -- config {command} > {file}`");
        assert!(committed(file) == printed, "`{file}` differs from the declared keys\n{update}");
    }
}
