//! `[[role]]`: roles and their policies.

use super::item::Item;
use super::key::{Key, Section, Shape, Type};
use super::reader::{Invalid, Table};
use super::types::TEXT_FILE;
use crate::base::read_text;
use std::path::PathBuf;

/// The maximum size of a text file, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;

pub(super) const SECTION: Section = Section {
    header: "[[role]]",
    about: "Roles, and the IAM policies that apply to requests of a principal with the role.",
    keys: &[&NAME, &POLICIES, &PERMISSIONS_BOUNDARY, &ASSUME_ROLE_POLICY],
};
const NAME: Key<String> = Key::new(
    "name",
    Type::Read(Shape::Text, |item| item.parse(|text| plain_name(text, "a role"))),
    "Unique name, the last part of the role's ARN.",
)
.required("")
.example("\"editor\"");
const POLICIES: Key<Vec<TextFile>> = Key::new(
    "policies",
    Type::Read(Shape::OneOrMore(&Shape::Path), |item| Some(item.list(TextFile::read))),
    "Files with IAM policy documents.",
)
.required("")
.example("[\"policies/editor.json\"]");
const PERMISSIONS_BOUNDARY: Key<TextFile> =
    Key::new("permissions_boundary", TEXT_FILE, "File with a policy that must allow each request too.")
        .example("\"policies/boundary.json\"");
const ASSUME_ROLE_POLICY: Key<TextFile> =
    Key::new("assume_role_policy", TEXT_FILE, "File with a trust policy, which limits who can get the role.")
        .computed("every principal to which an identity pool gives the role")
        .example("\"policies/trust.json\"");

/// A role (IAM User Guide, "IAM roles").
#[derive(Clone, Debug)]
pub struct Role {
    /// The name, unique in the deployment and the last part of the role's ARN.
    pub name: String,
    /// The policies.
    pub policies: Vec<TextFile>,
    /// A policy that must also allow each request.
    pub permissions_boundary: Option<TextFile>,
    /// The trust policy. If absent, every principal to which an identity pool assigns the role can
    /// have it.
    pub assume_role_policy: Option<TextFile>,
}

/// A text file that the configuration names, with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFile {
    /// The file's name in the configuration.
    pub name: String,
    /// The file's path.
    pub path: PathBuf,
    /// The file's content.
    pub text: String,
}

impl Role {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let name = table.read(&NAME);
        let policies = table.read(&POLICIES);
        let permissions_boundary = table.read(&PERMISSIONS_BOUNDARY);
        let assume_role_policy = table.read(&ASSUME_ROLE_POLICY);
        table.finish();
        Some(Self { name: name?, policies: policies?, permissions_boundary, assume_role_policy })
    }

    /// Returns every file of the role.
    pub fn files(&self) -> impl Iterator<Item = &TextFile> {
        self.policies.iter().chain(&self.permissions_boundary).chain(&self.assume_role_policy)
    }
}

impl TextFile {
    pub(super) fn read(item: &Item<'_>) -> Option<Self> {
        let (name, path) = (item.string()?.to_owned(), item.path()?);
        match read_text(&path, MAX_FILE_BYTES) {
            Ok(text) => Some(Self { name, path, text }),
            Err(error) => {
                item.report(
                    format!("cannot read `{}`: {error}", path.display()),
                    "name a file that Narthex may read",
                );
                None
            }
        }
    }
}

/// Reads a name that needs no escaping in an ARN.
pub(super) fn plain_name(text: &str, what: &str) -> Result<String, Invalid> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    match (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" cannot name {what}"),
            "use 1 to 64 letters, digits, -, _ and .: the name is part of ARNs".into(),
        )),
    }
}
