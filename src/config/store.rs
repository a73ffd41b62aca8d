//! `[store]`: the database and its master key.

use super::item::Item;
use super::key::{Key, Section, Shape, Type};
use super::reader::{Invalid, Table};
use super::types::SECRET;
use crate::base::{MasterKey, Secret};
use std::path::{Path, PathBuf};

pub(super) const SECTION: Section =
    Section { header: "[store]", about: "Database and master key.", keys: &[&URL, &MASTER_KEY] };
const URL: Key<Secret> = Key::new(
    "url",
    SECRET,
    "Database: `sqlite:` and a file, or the URL of a PostgreSQL database, which several nodes can share.",
)
.computed("`narthex.db` in `state_dir`, or beside the configuration")
.example("\"sqlite:narthex.db\"");
const MASTER_KEY: Key<Secret> = Key::new(
    "master_key",
    Type::Read(Shape::Secret, master_key),
    "Key that encrypts secrets in the database: 32 bytes in base64url, the same on every node. Required for PostgreSQL.",
)
.computed("a file that is created beside the SQLite database, with mode 0600")
.example("{ env = \"NARTHEX_MASTER_KEY\" }");

/// The database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A database with PostgreSQL's protocol; the URL contains a password.
    Postgres(Secret),
}

/// The database, and the key that encrypts secrets in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The database.
    pub url: StoreUrl,
    /// The master key. If absent, a key file beside the SQLite database is used, and created if
    /// necessary.
    pub master_key: Option<Secret>,
}

impl StoreUrl {
    /// Returns the folder of the SQLite file; `None` for PostgreSQL.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(file) => file.parent(),
            Self::Postgres(_) => None,
        }
    }
}

impl StoreSettings {
    /// Reads the section of a file in `folder`. `state` is the default folder of the database.
    pub(super) fn read(table: &Table<'_>, folder: &Path, state: &Path) -> Self {
        let item = table.get(&URL);
        let master_key = table.get(&MASTER_KEY);
        table.finish();
        let url = item.as_ref().and_then(|item| {
            let secret = URL.value(item)?;
            let url =
                store_url(&secret, folder).map_err(|(message, help)| item.report(message, help)).ok()?;
            if matches!(url, StoreUrl::Postgres(_)) && master_key.is_none() {
                item.report(
                    "a store that several nodes share needs `master_key` in [store]",
                    "add master_key = { env = \"NARTHEX_MASTER_KEY\" }, the same on every node",
                );
            }
            Some(url)
        });
        Self {
            url: url.unwrap_or_else(|| StoreUrl::Sqlite(state.join("narthex.db"))),
            master_key: master_key.and_then(|item| MASTER_KEY.value(&item)),
        }
    }
}

fn store_url(secret: &Secret, folder: &Path) -> Result<StoreUrl, Invalid> {
    match secret.expose().split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() && !path.starts_with("//") && !path.contains('?') => {
            Ok(StoreUrl::Sqlite(folder.join(path)))
        }
        Some(("postgres" | "postgresql", _)) if url::Url::parse(secret.expose()).is_ok() => {
            Ok(StoreUrl::Postgres(secret.clone()))
        }
        _ => Err((
            "`url` is not the URL of a supported store".to_owned(),
            "write \"sqlite:narthex.db\" or \"postgres://user:password@host/database\"".to_owned(),
        )),
    }
}

fn master_key(item: &Item<'_>) -> Option<Secret> {
    let secret = item.secret()?;
    if MasterKey::parse(secret.expose()).is_none() {
        item.report(
            "the master key is not 32 bytes in base64url",
            "make one with: head -c 32 /dev/urandom | basenc --base64url | tr -d '='",
        );
        return None;
    }
    Some(secret)
}
