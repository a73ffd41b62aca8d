//! The user pools that routes name, as issuers of bearer tokens.

use crate::catalogue::Catalogue;
use crate::config::TrustedIssuer;
use crate::handlers::AppState;
use std::collections::BTreeMap;

/// Returns the pools that routes name, as far as they exist, except those whose keys are in
/// [`AppState::access_tokens`].
pub async fn user_pool_issuers(app: &AppState, catalogue: &Catalogue) -> Vec<TrustedIssuer> {
    let mut issuers = Vec::new();
    for (id, name) in named_pools(app, catalogue) {
        match issuer_of(app, catalogue, id, name).await {
            Ok(Some(issuer)) => issuers.push(issuer),
            Ok(None) => tracing::warn!(
                pool = id,
                "a route names a user pool that does not exist; help: see `narthex pools list`"
            ),
            Err(error) => tracing::warn!(pool = id, %error, "cannot read a user pool that a route names"),
        }
    }
    issuers
}

/// Returns the ids of the pools, each with the name of its issuer.
fn named_pools<'c>(app: &AppState, catalogue: &'c Catalogue) -> BTreeMap<&'c str, &'c str> {
    let mut pools = BTreeMap::new();
    for name in catalogue.config.routes.iter().filter_map(|route| route.user_pools.as_ref()).flatten() {
        match catalogue.pools().find(|pool| pool.name == *name || pool.id == *name) {
            Some(pool) if app.access_tokens.as_issuer(pool).is_some() => {}
            Some(pool) => drop(pools.insert(pool.id.as_str(), pool.name.as_str())),
            None => drop(pools.insert(name.as_str(), name.as_str())),
        }
    }
    pools
}

async fn issuer_of(
    app: &AppState,
    catalogue: &Catalogue,
    id: &str,
    name: &str,
) -> Result<Option<TrustedIssuer>, crate::directory::DirectoryError> {
    let Some(pool) = app.directory.pools.pool(id).await? else { return Ok(None) };
    let keys = app.directory.tokens.access_token_keys(&pool).await?;
    Ok(Some(catalogue.trusted_pool(id, name, keys.jwk_set.clone(), keys.algorithms())))
}
