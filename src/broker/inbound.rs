//! The pool's function for what identity providers say (`inbound_federation`).

use super::{Broker, ProviderEntry};
use crate::base::Duration;
use crate::catalogue::Catalogue;
use crate::config::{Kind, Provider};
use crate::directory::{Directory, DirectoryError, ErrorKind, InboundProvider};
use crate::model::ProviderKind;
use crate::provider::{ExternalIdentity, ProviderError};

/// The claims by which a provider keeps others back (OpenID Connect Core 1.0, section 5.6.2). They
/// are no attributes, and stay whatever the function answers: decisions depend on them.
const DISTRIBUTED: [&str; 2] = ["_claim_names", "_claim_sources"];
/// The presets that are types of Cognito's API.
const KINDS: [(&str, ProviderKind); 4] = [
    ("amazon", ProviderKind::LoginWithAmazon),
    ("apple", ProviderKind::SignInWithApple),
    ("facebook", ProviderKind::Facebook),
    ("google", ProviderKind::Google),
];
/// Timeout of the function during a renewal, within its lease.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Lets the pool's function change the claims of a sign-in.
///
/// # Errors
/// Returns the function's refusal, or why it gave no valid answer.
pub(super) async fn change_claims(
    directory: &Directory,
    (pool_id, client_id): (&str, &str),
    provider: &Provider,
    external: &mut ExternalIdentity,
) -> Result<(), DirectoryError> {
    let inbound = InboundProvider {
        name: &provider.name,
        kind: kind(provider).name(),
        is_saml: matches!(provider.kind, Kind::Saml(_)),
        subject: &external.subject,
    };
    let claims = external.claims.clone();
    let mut changed = directory.inbound_claims((pool_id, client_id), inbound, claims).await?;
    for name in DISTRIBUTED {
        match external.claims.get(name) {
            Some(claim) => changed.insert(name.to_owned(), claim.clone()),
            None => changed.remove(name),
        };
    }
    external.claims = changed;
    Ok(())
}

impl Broker {
    /// Lets the pool's function change the claims of a renewal: they must not be other ones than
    /// those of the sign-in.
    ///
    /// # Errors
    /// `Refused` if the function refuses the user, `Unavailable` if it gave no valid answer.
    pub(super) async fn change_renewed_claims(
        &self,
        catalogue: &Catalogue,
        entry: &ProviderEntry,
        external: &mut ExternalIdentity,
    ) -> Result<(), ProviderError> {
        let Some(directory) = self.directory.get() else { return Ok(()) };
        let of = (&*catalogue.pool.id, &*catalogue.gateway_client);
        let changed = change_claims(directory, of, &entry.config, external);
        match tokio::time::timeout(RENEWAL_TIMEOUT, changed).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.kind() == ErrorKind::UserLambdaValidation => {
                let description = error.message().to_owned();
                Err(ProviderError::Refused { code: "inbound_federation".to_owned(), description })
            }
            Ok(Err(error)) => Err(ProviderError::Unavailable(error.to_string())),
            Err(_) => Err(ProviderError::Unavailable("the function did not answer in time".to_owned())),
        }
    }
}

/// Returns the type of a provider in Cognito's API.
fn kind(provider: &Provider) -> ProviderKind {
    let preset = provider.preset.and_then(|preset| KINDS.iter().find(|(name, _)| *name == preset.name));
    match (&provider.kind, preset) {
        (Kind::Saml(_), _) => ProviderKind::Saml,
        (_, Some((_, kind))) => *kind,
        (_, None) => ProviderKind::Oidc,
    }
}
