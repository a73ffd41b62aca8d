//! Errors of configuration files.

use std::path::Path;
use std::process::Command;

/// Returns the errors of the configuration `text`, if it has any.
pub fn config_errors(text: &str) -> Option<String> {
    let read = narthex::config::Config::parse(text, "narthex.toml", Path::new("/tmp"), &|_| None);
    read.err().map(|mistakes| mistakes.to_string())
}

/// Asserts that each replacement in a valid configuration is reported: what is replaced, by what,
/// and the message.
pub fn assert_each_reported(good: &str, mistakes: &[(&str, &str, &str)]) {
    assert_eq!(config_errors(good), None);
    for (from, to, message) in mistakes {
        assert!(good.contains(from), "{from}");
        let told = config_errors(&good.replacen(from, to, 1)).unwrap_or_else(|| panic!("{to} is taken"));
        assert!(told.contains(message), "{message}:\n{told}");
    }
}

/// Runs `narthex check` on the configuration `text`. Returns whether it succeeded, its output and
/// its errors.
pub fn run_check(folder: &Path, text: &str) -> (bool, String, String) {
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

pub const VALID_FILE: &str = r#"public_url = "https://auth.example.com"

[[provider]]
type = "oidc"
issuer = "https://idp.example.com"
client_id = "narthex"
allow = "anyone"

[[route]]
host = "app.example.com"
upstream = "http://127.0.0.1:3000"
"#;
