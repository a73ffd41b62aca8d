//! A deployment as it stands, whether it runs or not: looked at, and never changed.

use super::build::CommandError;
use crate::base::{KeyRing, MasterKey, SystemEntropy};
use crate::catalogue::{Catalogue, Ids};
use crate::config::Config;
use crate::store::{OpenStoreError, Store, StoreError};
use std::sync::Arc;

/// The store, if there is one yet.
pub async fn open_store(config: &Config) -> Result<Option<Store>, OpenStoreError> {
    // Nothing that is looked at so is sealed.
    let ring = Arc::new(KeyRing::new(&MasterKey::random(&SystemEntropy)));
    Store::open_read_only(&config.store.url, ring).await
}

/// The ids that the store has fixed, as far as there is one.
pub async fn ids(config: &Config, store: Option<&Store>) -> Result<Ids, StoreError> {
    match store {
        Some(store) => Ids::read_existing(config, store).await,
        None => Ok(Ids::unknown(config)),
    }
}

/// The catalogue, with these ids.
pub fn catalogue(config: Config, ids: Ids) -> Result<Arc<Catalogue>, CommandError> {
    let catalogue = Catalogue::of(config, ids, 0);
    catalogue
        .map(Arc::new)
        .map_err(|error| CommandError::new("policies cannot be used", format!("\n{error}")))
}
