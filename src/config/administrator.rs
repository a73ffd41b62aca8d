//! `[[administrator]]`: access keys that sign requests to the AWS APIs, and their IAM policies.

use super::item::Item;
use super::key::{Key, Section, Shape, Type};
use super::reader::{Invalid, Table};
use super::role::{TextFile, plain_name};
use crate::base::Secret;

/// The minimum length of a secret access key: 128 bits in base64.
const MIN_SECRET_BYTES: usize = 22;

pub(super) const SECTION: Section = Section {
    header: "[[administrator]]",
    about: "Access keys for the AWS APIs, whose requests they sign, and the IAM policies that apply to these requests.",
    keys: &[&NAME, &ACCESS_KEY_ID, &SECRET_ACCESS_KEY, &POLICIES],
};
const NAME: Key<String> = Key::new(
    "name",
    Type::Read(Shape::Text, |item| item.parse(|text| plain_name(text, "an administrator"))),
    "Unique name, the last part of the administrator's ARN.",
)
.required("")
.example("\"terraform\"");
const ACCESS_KEY_ID: Key<String> = Key::new(
    "access_key_id",
    Type::Read(Shape::Text, |item| item.parse(access_key_id)),
    "Unique id of the access key: 16 to 128 letters, digits and `_`.",
)
.required("")
.example("\"AKIAIOSFODNN7EXAMPLE\"");
const SECRET_ACCESS_KEY: Key<Secret> = Key::new(
    "secret_access_key",
    Type::Read(Shape::Secret, secret),
    "Secret of the access key, of at least 22 characters.",
)
.required("")
.example("{ env = \"ADMIN_SECRET_ACCESS_KEY\" }");
const POLICIES: Key<Vec<TextFile>> = Key::new(
    "policies",
    Type::Read(Shape::OneOrMore(&Shape::Path), |item| Some(item.list(TextFile::read))),
    "Files with IAM policy documents, whose actions are those of the API: `cognito-idp:ListUsers`.",
)
.required("")
.example("[\"policies/user-admin.json\"]");

/// An administrator (IAM User Guide, "IAM users").
#[derive(Clone, Debug)]
pub struct Administrator {
    /// Unique in a deployment; the last part of the ARN.
    pub name: String,
    /// The id of the access key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: Secret,
    /// The policies.
    pub policies: Vec<TextFile>,
}

impl Administrator {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let (name, access_key_id) = (table.read(&NAME), table.read(&ACCESS_KEY_ID));
        let (secret_access_key, policies) = (table.read(&SECRET_ACCESS_KEY), table.read(&POLICIES));
        table.finish();
        Some(Self {
            name: name?,
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?,
            policies: policies?,
        })
    }
}

/// Reads an access key id in the form of IAM's: `[\w]+`, 16 to 128 characters.
fn access_key_id(text: &str) -> Result<String, Invalid> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    match (16..=128).contains(&text.len()) && text.bytes().all(good) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is not an access key id"),
            "use 16 to 128 letters, digits and `_`, such as `AKIA` and 16 capital letters".to_owned(),
        )),
    }
}

fn secret(item: &Item<'_>) -> Option<Secret> {
    let secret = item.secret()?;
    if secret.expose().len() < MIN_SECRET_BYTES {
        item.report(
            format!("the secret access key is shorter than {MIN_SECRET_BYTES} characters"),
            "generate it: `openssl rand -base64 30`",
        );
        return None;
    }
    Some(secret)
}
