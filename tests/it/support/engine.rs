//! Both database engines, each with nothing in it yet.

use super::parties::Postgres;
use narthex::base::{KeyRing, MasterKey, Secret, SystemEntropy};
use narthex::config::StoreUrl;
use narthex::store::Store;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use std::sync::Arc;

/// An engine with nothing in it yet.
pub struct Engine {
    pub url: StoreUrl,
    _folder: tempfile::TempDir,
}

impl Engine {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { url: StoreUrl::Sqlite(folder.path().join("a store.db")), _folder: folder }
    }

    pub fn postgres() -> Self {
        let url = StoreUrl::Postgres(Secret::new(Postgres::shared().database()));
        Self { url, _folder: tempfile::tempdir().unwrap() }
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self.url, StoreUrl::Sqlite(_))
    }

    pub async fn open(&self) -> Store {
        Store::open(&self.url, new_key_ring()).await.unwrap()
    }

    /// Opens a connection past the store.
    pub async fn connect(&self) -> sqlx::AnyConnection {
        sqlx::any::install_default_drivers();
        let address = match &self.url {
            StoreUrl::Sqlite(path) => format!("sqlite://{}", path.display()).replace(' ', "%20"),
            StoreUrl::Postgres(url) => url.expose().to_owned(),
        };
        sqlx::AnyConnection::connect(&address).await.unwrap()
    }
}

/// Returns the keys of a new master key.
pub fn new_key_ring() -> Arc<KeyRing> {
    Arc::new(KeyRing::new(&MasterKey::random(&SystemEntropy)))
}

/// Returns the whole content of the database.
pub async fn database_content(engine: &Engine) -> Vec<u8> {
    let mut connection = engine.connect().await;
    if let StoreUrl::Sqlite(path) = &engine.url {
        for statement in ["PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"] {
            sqlx::query(statement).fetch_all(&mut connection).await.unwrap();
        }
        let mut all = std::fs::read(path).unwrap();
        all.extend(std::fs::read(path.with_extension("db-wal")).unwrap_or_default());
        return all;
    }
    let tables = "SELECT CAST(tablename AS TEXT) AS t FROM pg_tables WHERE schemaname = 'public'";
    let mut all = Vec::new();
    for table in sqlx::query(tables).fetch_all(&mut connection).await.unwrap() {
        let table: String = table.get("t");
        let rows = AssertSqlSafe(format!("SELECT CAST(t AS TEXT) AS r FROM {table} t"));
        for row in sqlx::query(rows).fetch_all(&mut connection).await.unwrap() {
            all.extend(row.get::<String, _>("r").into_bytes());
            all.push(b'\n');
        }
    }
    all
}

/// Counts the occurrences of `needle`, also in hexadecimal digits.
pub fn count_occurrences(haystack: &[u8], needle: &str) -> usize {
    // PostgreSQL shows a BYTEA in hexadecimal digits.
    let hex: String = needle.bytes().map(|byte| format!("{byte:02x}")).collect();
    [needle, &hex]
        .iter()
        .map(|needle| haystack.windows(needle.len()).filter(|window| *window == needle.as_bytes()).count())
        .sum()
}
