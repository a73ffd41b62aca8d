//! `[breached_passwords]`: the service that knows passwords of published breaches.

use super::address::safe_url;
use super::authorities::AUTHORITIES;
use super::key::{Key, Section, Shape, Type};
use super::mail::timeout;
use super::reader::{Invalid, Table};
use super::role::TextFile;
use crate::base::Duration;
use url::Url;

pub(super) const SECTION: Section = Section {
    header: "[breached_passwords]",
    about: "A service that knows passwords of published breaches, with the range API of Pwned Passwords. New passwords \
            that it knows are refused in all user pools. It sees the first 5 of the 40 digits of a password's SHA-1 \
            digest, and no name. If it cannot be reached, the password is accepted and counted in \
            `narthex_password_breach_checks_total`.",
    keys: &[&URL, &CA, &TIMEOUT],
};
const URL: Key<Url> = Key::new(
    "url",
    Type::Read(Shape::Text, |item| item.parse(range_url)),
    "Address to which the 5 digits are appended; it ends with a slash.",
)
.required("")
.example("\"https://api.pwnedpasswords.com/range/\"");
const CA: Key<TextFile> =
    Key::new("ca", AUTHORITIES, "PEM file of certificate authorities to trust besides the system's.")
        .example("\"certs/internal-ca.pem\"");
const TIMEOUT: Key<Duration> = Key::new(
    "timeout",
    Type::Read(Shape::Duration, timeout),
    "Maximum time for one request, which a sign-up or a change of a password waits for; at most `\"60s\"`.",
)
.default("\"2s\"");

/// The settings of the service that knows passwords of published breaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreachedPasswords {
    /// The address to which the first digits of a digest are appended.
    pub url: Url,
    /// Certificate authorities to trust besides the system's.
    pub ca: Option<TextFile>,
    /// The maximum time for one request.
    pub timeout: Duration,
}

impl BreachedPasswords {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let (url, ca, timeout) = (table.read(&URL), table.read(&CA), table.read(&TIMEOUT));
        table.finish();
        Some(Self { url: url?, ca, timeout: timeout? })
    }
}

fn range_url(text: &str) -> Result<Url, Invalid> {
    let help = "write an https address that ends with a slash";
    let url = safe_url(text, help)?;
    match url.path().ends_with('/') && url.query().is_none() && url.fragment().is_none() {
        true => Ok(url),
        false => Err((format!("\"{text}\" does not end with a slash"), help.to_owned())),
    }
}
