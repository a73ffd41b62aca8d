//! `[user_pool.registration]`: app clients that register themselves (RFC 7591).

use super::app_client::{USER_SCOPES, secrets};
use super::client_sign_in::distinct;
use super::key::{Key, Section, Shape, Type};
use super::reader::Table;
use super::resource_server::ResourceServer;
use super::types::FLAG;
use crate::base::{Secret, sha256};
use aws_lc_rs::constant_time::verify_slices_are_equal;

pub(super) const SECTION: Section = Section {
    header: "[user_pool.registration]",
    about: "Dynamic registration of app clients (RFC 7591) at `/{pool_id}/register`. Without the table there is none.",
    keys: &[&TOKENS, &SCOPES, &REQUIRE_CONSENT],
};
const TOKENS: Key<Vec<Secret>> = Key::new(
    "secret",
    Type::Read(Shape::OneOrMore(&Shape::Secret), |item| Some(secrets(item))),
    "Initial access token of at least 22 characters, which a registration needs; two of them during a rotation.",
)
.required("")
.example("{ env = \"REGISTRATION_TOKEN\" }");
const SCOPES: Key<Vec<String>> = Key::new(
    "allowed_scopes",
    Type::Read(Shape::OneOrMore(&Shape::Text), |item| {
        Some(distinct(item, |item| item.string().map(str::to_owned)))
    }),
    "Scopes that a registered client can have.",
)
.default("[\"openid\", \"email\", \"profile\"]");
const REQUIRE_CONSENT: Key<bool> = Key::new(
    "require_consent",
    FLAG,
    "Whether a page asks users whether a registered client may have its scopes. Its name is what it says of itself.",
)
.default("true");

/// The registration of app clients by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The initial access tokens.
    pub tokens: Vec<Secret>,
    /// The scopes that a client can have.
    pub allowed_scopes: Vec<String>,
    /// Whether users are asked whether the client may have its scopes.
    pub require_consent: bool,
}

impl Registration {
    pub(super) fn read(table: &Table<'_>, known: &[ResourceServer]) -> Option<Self> {
        let (tokens, require_consent) = (table.read(&TOKENS), table.read(&REQUIRE_CONSENT));
        let scopes = table.get(&SCOPES);
        let allowed_scopes = table.read(&SCOPES);
        for scope in allowed_scopes.iter().flatten().filter(|scope| !is_known(scope, known)) {
            if let Some(item) = &scopes {
                item.report(
                    format!("no resource server has the scope \"{scope}\""),
                    "add it to a [[user_pool.resource_server]], or remove it",
                );
            }
        }
        table.finish();
        Some(Self { tokens: tokens?, allowed_scopes: allowed_scopes?, require_consent: require_consent? })
    }

    /// Returns whether `token` is an initial access token. Compares in constant time.
    pub fn accepts(&self, token: &str) -> bool {
        let digest = sha256(token);
        let same = |known: &Secret| verify_slices_are_equal(&sha256(known.expose()), &digest).is_ok();
        self.tokens.iter().any(same)
    }
}

fn is_known(scope: &str, known: &[ResourceServer]) -> bool {
    USER_SCOPES.contains(&scope) || known.iter().any(|server| server.scopes.iter().any(|of| of == scope))
}
