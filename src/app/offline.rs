//! Read-only access to a deployment, running or not.

use super::build::CommandError;
use crate::base::{KeyRing, MasterKey, SystemEntropy};
use crate::catalogue::{Catalogue, Ids};
use crate::config::Config;
use crate::store::{OpenStoreError, Store, StoreError};
use std::sync::Arc;

/// Opens the database, if it exists.
pub async fn open_store(config: &Config) -> Result<Option<Store>, OpenStoreError> {
    // A random key suffices: no encrypted column is read.
    let ring = Arc::new(KeyRing::new(&MasterKey::random(&SystemEntropy)));
    Store::open_read_only(&config.store.url, ring).await
}

/// Reads the ids in the database. Missing ids are placeholders.
pub async fn ids(config: &Config, store: Option<&Store>) -> Result<Ids, StoreError> {
    match store {
        Some(store) => Ids::read_existing(config, store).await,
        None => Ok(Ids::unknown(config)),
    }
}

/// Builds the catalogue with these ids.
pub fn catalogue(config: Config, ids: Ids) -> Result<Arc<Catalogue>, CommandError> {
    let catalogue = Catalogue::of(config, ids, 0);
    catalogue
        .map(Arc::new)
        .map_err(|error| CommandError::new("policies cannot be used", format!("\n{error}")))
}
