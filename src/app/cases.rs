//! `narthex cases`: verifies expected decisions, for CI pipelines.

use super::build::CommandError;
use super::explain::{self, Arguments, Expectation, SubjectArg};
use super::output::{on_one_line, say};
use crate::base::read_text;
use crate::config::Config;
use crate::jose::UniqueKeysObject;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Maximum size of a file of cases, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// A request with its expected decision.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: Option<String>,
    /// A user of the store.
    user: Option<String>,
    /// Claims of a user.
    claims: Option<UniqueKeysObject>,
    /// A guest.
    #[serde(default)]
    guest: bool,
    provider: Option<String>,
    #[serde(default)]
    context: BTreeMap<String, Values>,
    method: String,
    url: String,
    expect: Expectation,
}

/// One value or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

impl Values {
    fn each(self) -> Vec<String> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

/// Runs every case in `file` with the configuration `config`.
///
/// # Errors
/// Returns an error if a decision differs, or a case is invalid.
pub async fn run(config: &Path, file: &Path) -> Result<(), CommandError> {
    let wrong = |why: String| CommandError::new("narthex cases", why);
    let cases = read(file).map_err(wrong)?;
    let config = Config::load(config, &|name| std::env::var(name).ok())?;
    let count = cases.len();
    let mut failed = 0;
    for (at, case) in cases.into_iter().enumerate() {
        let expect = case.expect;
        let name = case.name.clone().unwrap_or_else(|| format!("{} {}", case.method, case.url));
        let name = on_one_line(&name);
        let arguments =
            arguments(case).map_err(|why| wrong(format!("case {}, \"{name}\": {why}", at + 1)))?;
        let explained = explain::decide(config.clone(), arguments).await;
        let explained = explained.map_err(|error| wrong(format!("case {}, \"{name}\": {error}", at + 1)))?;
        match explained.decision() == expect {
            true => say!("ok      {name}"),
            false => {
                failed += 1;
                say!("FAILED  {name}: {expect} is expected, and it is {}", explained.summary());
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(wrong(format!("{failed} of {count} case(s) failed"))),
    }
}

fn read(file: &Path) -> Result<Vec<Case>, String> {
    let name = file.display();
    let text = read_text(file, MAX_FILE_BYTES).map_err(|error| format!("cannot read `{name}`: {error}"))?;
    let cases: Vec<Case> = serde_json::from_str(&text).map_err(|error| {
        let error = on_one_line(&error.to_string());
        format!("cannot read the cases of `{name}`: {error}\n  help: write a JSON array of objects, as the guide to policies shows")
    })?;
    match cases.is_empty() {
        true => Err(format!("`{name}` has no case\n  help: add one, so that something is checked")),
        false => Ok(cases),
    }
}

fn arguments(case: Case) -> Result<Arguments, String> {
    let Case { user, claims, guest, provider, context, method, url, .. } = case;
    let who = match (user, claims, guest) {
        (Some(user), None, false) => SubjectArg::User(user),
        (None, Some(UniqueKeysObject(claims)), false) => SubjectArg::Described(claims),
        (None, None, true) => SubjectArg::Guest,
        _ => return Err("give one of `user`, `claims` and `guest`".to_owned()),
    };
    let context = context.into_iter();
    let context =
        context.flat_map(|(key, values)| values.each().into_iter().map(move |value| (key.clone(), value)));
    Ok(Arguments { who, provider, context: context.collect(), method, url })
}
