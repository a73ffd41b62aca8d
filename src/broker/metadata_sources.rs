//! Check that a SAML provider may authenticate the users of an entity id. A provider publishes its
//! own entity id, so the id alone proves nothing. The configuration must name it (`issuer`), or the
//! metadata must be that of the users' provider. The database contains the source of each
//! provider's metadata, because the provider's configured name may change.

use crate::base::{MAX_SMALL_FILE, base64url_encode, read_file, sha256};
use crate::catalogue::Catalogue;
use crate::config::{Kind, MetadataSource, Provider, Saml};
use crate::model::{Identity, is_link_issuer};
use crate::provider::ProviderError;
use crate::store::{Result, Store, Tx};

fn setting(provider: &str) -> String {
    format!("saml_metadata_source/{provider}")
}

/// Returns the identifiers of a provider's metadata: its URL, or the path and content digest of its
/// file.
fn sources(saml: &Saml) -> Vec<String> {
    match &saml.metadata {
        MetadataSource::Url(url) => vec![format!("url {url}")],
        MetadataSource::File(path) => {
            let content = read_file(path, MAX_SMALL_FILE)
                .ok()
                .map(|content| format!("content {}", base64url_encode(sha256(content))));
            [format!("file {}", path.display())].into_iter().chain(content).collect()
        }
    }
}

/// Stores the source of the metadata of each SAML provider in the configuration.
pub(super) async fn record(store: &Store, providers: &[Provider]) -> Result<()> {
    for provider in providers {
        let Kind::Saml(saml) = &provider.kind else { continue };
        let (name, value) = (setting(&provider.name), sources(saml).join("\n"));
        if store.setting(&name).await?.as_ref() == Some(&value) {
            continue;
        }
        let (name, value) = (&name, &value);
        store.transaction(|tx| Box::pin(async move { tx.save_setting(name, value).await })).await?;
    }
    Ok(())
}

/// Returns whether the SAML provider `config` may authenticate an account that was created under
/// another provider's name. The configuration must name the account's entity id for it, or both
/// must have the same source of metadata.
pub(super) async fn is_same_source(tx: &mut Tx<'_>, config: &Provider, owner: &Identity) -> Result<bool> {
    let Kind::Saml(saml) = &config.kind else { return Ok(false) };
    if config.issues(&owner.issuer) {
        return Ok(true);
    }
    let recorded = tx.setting(&setting(&owner.provider)).await?.unwrap_or_default();
    let current = sources(saml);
    Ok(recorded.lines().any(|source| current.iter().any(|known| known == source)))
}

/// Rejects an issuer that has the form of a stored link, an entity id that differs from the
/// configured one of a SAML provider, and one that is configured for another provider.
pub(super) fn check_issuer(
    catalogue: &Catalogue,
    config: &Provider,
    issuer: &str,
) -> std::result::Result<(), ProviderError> {
    let invalid = |detail| Err(ProviderError::Invalid { check: "issuer", detail });
    if is_link_issuer(issuer) {
        return invalid(format!("the issuer or entity id `{issuer}` is not a URI"));
    }
    let Kind::Saml(saml) = &config.kind else { return Ok(()) };
    match &saml.issuer {
        Some(named) if named == issuer => return Ok(()),
        Some(named) => {
            return invalid(format!(
                "its entity id is `{issuer}`, not `{named}` as the file says; help: correct `issuer` or `metadata`"
            ));
        }
        None => {}
    }
    let names_it = |other: &&Provider| matches!(&other.kind, Kind::Saml(_)) && other.issues(issuer);
    match catalogue.config.providers.iter().find(names_it) {
        Some(other) if !config.is_same_source(other) => invalid(format!(
            "the file says that `{issuer}` is the provider `{}`; help: if both are one identity provider, set \
             issuer = \"{issuer}\" on `{}` as well",
            other.name, config.name
        )),
        _ => Ok(()),
    }
}
