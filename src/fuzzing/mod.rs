//! Fuzz targets: parsers of untrusted input and the Cognito API, as functions of bytes.
//!
//! Each function returns whether it accepts the input, and panics if an accepted input violates a
//! property on which the rest of the program relies. `make fuzz` runs them under libFuzzer, and the
//! tests below run the seeds of `fuzz/seeds`. This module is only built for tests and with the
//! feature `fuzzing`.

mod api;
mod configuration;
mod cookies;
mod deployment;
mod policies;
mod proofs;
mod tokens;

pub use crate::gateway::fuzzing::{path, proxy_header, request_head};
pub use crate::provider::saml::fuzzing::{
    canonical, document as saml_canonical, logout as saml_logout, response as saml_response,
};
pub use api::api;
pub use configuration::configuration;
pub use cookies::cookies;
pub use policies::policy;
pub use proofs::proof;
pub use tokens::token;

/// A fuzz target: its name and its function.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// All targets. A file in `fuzz/targets` and a folder in `fuzz/seeds` have the same name.
pub const TARGETS: &[Target] = &[
    ("api", api),
    ("configuration", configuration),
    ("cookies", cookies),
    ("path", path),
    ("policy", policy),
    ("proof", proof),
    ("proxy_header", proxy_header),
    ("request_head", request_head),
    ("saml_canonical", saml_canonical),
    ("saml_logout", saml_logout),
    ("saml_response", saml_response),
    ("token", token),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Seeds with the prefix `refused` must be rejected, or violated a property in an earlier
    /// version.
    #[test]
    fn every_seed_is_judged_as_its_name_says() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        let mut wrong = Vec::new();
        for (name, target) in TARGETS {
            let files = files(&seeds.join(name));
            assert!(files.len() > 2, "{name} has too few seeds");
            for file in files {
                let refused = file.file_name().unwrap().to_str().unwrap().starts_with("refused");
                let accepted = target(&std::fs::read(&file).unwrap());
                if accepted == refused {
                    wrong.push(file);
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn every_target_has_a_program_and_seeds() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names(&fuzz.join("targets")), targets);
        assert_eq!(names(&fuzz.join("seeds")), targets);
    }
}
