//! Both database engines, each with nothing in it yet.

use super::parties::Postgres;
use narthex::base::{KeyRing, MasterKey, Secret, SystemEntropy};
use narthex::config::StoreUrl;
use narthex::store::Store;
use sqlx::Connection as _;
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
        Store::open(&self.url, ring()).await.unwrap()
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

/// The keys of a new master key.
pub fn ring() -> Arc<KeyRing> {
    Arc::new(KeyRing::new(&MasterKey::random(&SystemEntropy)))
}
