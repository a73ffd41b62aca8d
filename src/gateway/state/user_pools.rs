//! The user pools that routes name, as issuers of bearer tokens.

use crate::catalogue::Catalogue;
use crate::config::TrustedIssuer;
use crate::directory::Directory;
use std::collections::BTreeSet;

/// Returns the pools that routes name, except the file's own, as far as they exist.
pub async fn user_pool_issuers(directory: &Directory, catalogue: &Catalogue) -> Vec<TrustedIssuer> {
    let named = catalogue.config.routes.iter().filter_map(|route| route.user_pools.as_ref()).flatten();
    let own = [&catalogue.config.user_pool.name, &catalogue.pool.id];
    let ids: BTreeSet<&String> = named.filter(|name| !own.contains(name)).collect();
    let mut issuers = Vec::new();
    for id in ids {
        match issuer_of(directory, catalogue, id).await {
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

async fn issuer_of(
    directory: &Directory,
    catalogue: &Catalogue,
    id: &str,
) -> Result<Option<TrustedIssuer>, crate::directory::DirectoryError> {
    let Some(pool) = directory.pools.pool(id).await? else { return Ok(None) };
    let keys = directory.tokens.access_token_keys(&pool).await?;
    let algorithms = keys.published.iter().map(|key| key.algorithm().name().to_owned()).collect();
    let (name, url) = (id.to_owned(), catalogue.issuer_of(id));
    Ok(Some(TrustedIssuer::of_user_pool(name, url, keys.jwk_set.clone(), algorithms, Vec::new())))
}
