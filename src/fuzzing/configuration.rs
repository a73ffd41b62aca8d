//! Fuzz target for configuration files.

use crate::catalogue::{Catalogue, Ids};
use crate::config::Config;
use std::path::Path;

/// Value of all environment variables: 32 bytes in base64url, like a master key.
const SECRET: &str = "YSBzZWNyZXQgb2YgdGhlIGVudmlyb25tZW50IDAxMjM";

/// Parses the input as a configuration file in the source folder, which contains policies. Returns
/// whether a catalogue can be built from it.
pub fn configuration(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let parse = || {
        let environment = |name: &str| (!name.is_empty()).then(|| SECRET.to_owned());
        Config::parse(text, "narthex.toml", Path::new(env!("CARGO_MANIFEST_DIR")), &environment)
    };
    match parse() {
        Err(found) => {
            assert!(!found.diagnostics.is_empty(), "a file is rejected without a diagnostic");
            let lines = text.split('\n').count();
            for diagnostic in &found.diagnostics {
                assert!((1..=lines).contains(&diagnostic.line) && diagnostic.column > 0, "{diagnostic:?}");
            }
            assert!(!found.to_string().contains(SECRET), "a diagnostic shows a secret");
            false
        }
        Ok(config) => {
            let printed = format!("{config:?}");
            assert!(!printed.contains(SECRET), "a secret is printed");
            assert_eq!(printed, format!("{:?}", parse().unwrap()), "a file is read in two ways");
            let ids = Ids::unknown(&config);
            Catalogue::of(config, ids, 1).is_ok()
        }
    }
}
