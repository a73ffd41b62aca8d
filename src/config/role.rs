//! `[[role]]`: what those may do who are given it, by the policies in its files.

use super::reader::{Item, Table, Wrong};
use crate::base::read_text;
use std::path::PathBuf;

/// The largest such file that is read.
const LARGEST: u64 = 256 * 1024;

/// A role (IAM User Guide, "IAM roles"): what those may do who are given it.
#[derive(Clone, Debug)]
pub struct Role {
    /// Unique in a deployment; the last part of its ARN.
    pub name: String,
    /// What it allows and denies.
    pub policies: Vec<TextFile>,
    /// What must allow a request beside them.
    pub permissions_boundary: Option<TextFile>,
    /// Who may take it on; whoever it is given to, where absent.
    pub assume_role_policy: Option<TextFile>,
}

/// A file that the configuration names, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFile {
    /// Its name as the configuration has it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

impl Role {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let name = table
            .must("name", "give it a name: name = \"editor\"")
            .and_then(|item| item.parse(|text| plain_name(text, "a role")));
        let policies = table
            .must("policies", "name the files that say what it may do: policies = [\"policies/editor.json\"]")
            .map(|item| item.one_or_more().iter().filter_map(TextFile::read).collect());
        let file = |key| table.get(key).and_then(|item| TextFile::read(&item));
        let (permissions_boundary, assume_role_policy) =
            (file("permissions_boundary"), file("assume_role_policy"));
        table.finish();
        Some(Self { name: name?, policies: policies?, permissions_boundary, assume_role_policy })
    }

    /// Every file of its.
    pub fn files(&self) -> impl Iterator<Item = &TextFile> {
        self.policies.iter().chain(&self.permissions_boundary).chain(&self.assume_role_policy)
    }
}

impl TextFile {
    pub(super) fn read(item: &Item<'_>) -> Option<Self> {
        let (name, path) = (item.string()?.to_owned(), item.path()?);
        match read_text(&path, LARGEST) {
            Ok(text) => Some(Self { name, path, text }),
            Err(error) => {
                item.wrong(
                    format!("cannot read `{}`: {error}", path.display()),
                    "name a file that Narthex may read",
                );
                None
            }
        }
    }
}

/// A name that may stand in an ARN as it is.
pub(super) fn plain_name(text: &str, what: &str) -> Result<String, Wrong> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    match (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" cannot name {what}"),
            "use 1 to 64 letters, digits, -, _ and .: the name stands in ARNs".into(),
        )),
    }
}
