//! A deployment as it stands, whether it runs or not: looked at, and never changed.

use super::build::Fatal;
use crate::base::{KeyRing, MasterKey, SystemEntropy};
use crate::catalogue::{Catalogue, Ids};
use crate::config::Config;
use crate::store::{Store, StoreError};
use std::sync::Arc;

/// The store, if there is one yet.
pub async fn store(config: &Config) -> Result<Option<Store>, StoreError> {
    // Nothing that is looked at so is sealed.
    let ring = Arc::new(KeyRing::new(&MasterKey::random(&SystemEntropy)));
    Store::look(&config.store.url, ring).await
}

/// The catalogue, with the ids that `store` has fixed.
pub async fn catalogue(config: Config, store: Option<&Store>) -> Result<Arc<Catalogue>, Fatal> {
    let ids = match store {
        Some(store) => Ids::look(&config, store).await.map_err(|error| Fatal::new("the store", error))?,
        None => Ids::unknown(&config),
    };
    let catalogue = Catalogue::of(config, ids, 0);
    catalogue.map(Arc::new).map_err(|error| Fatal::new("policies cannot be used", format!("\n{error}")))
}
