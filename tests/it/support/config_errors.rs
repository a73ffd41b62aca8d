//! Errors of configuration files.

use std::path::Path;
use std::process::Command;

/// What is said of the file `text`, if anything is wrong about it.
pub fn told_of(text: &str) -> Option<String> {
    let read = narthex::config::Config::parse(text, "narthex.toml", Path::new("/tmp"), &|_| None);
    read.err().map(|mistakes| mistakes.to_string())
}

/// Asserts that each replacement in a good file is reported: from what, to what, and what is
/// said.
pub fn each_is_told(good: &str, mistakes: &[(&str, &str, &str)]) {
    assert_eq!(told_of(good), None);
    for (from, to, message) in mistakes {
        assert!(good.contains(from), "{from}");
        let told = told_of(&good.replacen(from, to, 1)).unwrap_or_else(|| panic!("{to} is taken"));
        assert!(told.contains(message), "{message}:\n{told}");
    }
}

/// The output of `narthex check` on `text`, and whether it was content.
pub fn check(folder: &Path, text: &str) -> (bool, String, String) {
    std::fs::write(folder.join("narthex.toml"), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["check", "--config", "narthex.toml"])
        .current_dir(folder)
        .env("EMPTY", "")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

pub const GOOD: &str = r#"public_url = "https://auth.example.com"

[[provider]]
type = "oidc"
issuer = "https://idp.example.com"
client_id = "narthex"
allow = "anyone"

[[route]]
host = "app.example.com"
upstream = "http://127.0.0.1:3000"
"#;
