//! Links between users and accounts of identity providers, made and removed by administrators.

use super::{AccountService, audit};
use crate::config::{Kind, STANDARD_ATTRIBUTES};
use crate::directory::credential_events::{CredentialEvent, Current, end_credentials};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::linking::{save_changed, unlink_account};
use crate::directory::provider_links::{LOCAL_SOURCE, add_link, find_account, find_named};
use crate::model::{
    Identity, LOCAL_PROVIDER, Pool, ProviderKind, ProviderLink, SUBJECT_ATTRIBUTE, User, UserStatus,
};
use crate::store::{CheckedWork, Tx};

/// The name of a SAML account's subject in its assertion.
const NAME_ID: &str = "NameID";
/// Maximum bytes of an attribute's value: an index has it.
const MAX_VALUE_BYTES: usize = 2048;

/// An identity provider of a pool, as far as links depend on it.
struct KnownProvider {
    is_saml: bool,
    /// Whether accounts are linked by their subject alone.
    is_social: bool,
    /// The issuer of the accounts, if all have one.
    issuer: Option<String>,
    /// The attributes that the provider's claims are mapped to.
    attributes: Vec<String>,
}

impl AccountService {
    /// Links an account that has not signed in yet to a user: its first sign-in is one of this user
    /// (`AdminLinkProviderForUser`).
    ///
    /// # Errors
    /// Returns `ResourceNotFoundException` for an unknown provider, `UserNotFoundException` for an
    /// unknown destination, `InvalidParameterException` for an account that cannot be linked,
    /// `LimitExceededException` for the sixth account of a user.
    pub async fn admin_link_provider(
        &self,
        pool: &Pool,
        destination: &ProviderLink,
        mut source: ProviderLink,
    ) -> Outcome<User> {
        if source.provider == LOCAL_PROVIDER {
            return Err(DirectoryError::invalid(LOCAL_SOURCE));
        }
        let provider = self.known_provider(pool, &source.provider).await?;
        let provider = provider.ok_or_else(|| no_provider(&source.provider))?;
        provider.name_subject(&mut source);
        provider.check_source(&source)?;
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let source = (&source, provider.issuer.as_deref());
        let linked = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move { add_link(tx, pool, destination, source, now, entropy).await })
        });
        let user = linked.await?;
        audit("provider_linked", &user, None);
        Ok(user)
    }

    /// Removes an account or a link from its user. For a user of the pool itself, takes the
    /// password away (`AdminDisableProviderForUser`). All sessions and tokens of the user end.
    ///
    /// # Errors
    /// Returns `ResourceNotFoundException` for an unknown provider, `UserNotFoundException` if no
    /// user has the account, `InvalidParameterException` for the account that created the user.
    pub async fn admin_disable_provider(&self, pool: &Pool, mut account: ProviderLink) -> Outcome<User> {
        if account.provider == LOCAL_PROVIDER {
            return self.disable_password(pool, &account).await;
        }
        let provider = self.known_provider(pool, &account.provider).await?;
        if let Some(provider) = &provider {
            provider.name_subject(&mut account);
        }
        let (now, entropy, account) = (self.clock.now(), &*self.entropy, &account);
        let issuer = provider.as_ref().and_then(|provider| provider.issuer.as_deref());
        let removed = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let (user, identity) = find_linked(tx, pool, account, issuer).await?;
                Ok(unlink_account(tx, &user, &identity, now, entropy).await??)
            })
        });
        let user = removed.await.map_err(|error| match error.kind() {
            // A provider that is gone may have left accounts behind.
            ErrorKind::UserNotFound if provider.is_none() => no_provider(&account.provider),
            _ => error,
        })?;
        audit("provider_unlinked", &user, None);
        Ok(user)
    }

    async fn disable_password(&self, pool: &Pool, named: &ProviderLink) -> Outcome<User> {
        if named.attribute != SUBJECT_ATTRIBUTE {
            let words = "ProviderAttributeName of a user of the user pool must be Cognito_Subject.";
            return Err(DirectoryError::invalid(words));
        }
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let disabled = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let mut user = find_named(tx, pool, named).await?;
                if user.status == UserStatus::ExternalProvider {
                    return Err(DirectoryError::invalid("User has no password."));
                }
                let event = CredentialEvent::PasswordSetByAdministrator;
                end_credentials(tx, &user, event, Current::default(), now, entropy).await?;
                tx.remove_password(user.no).await?;
                if user.password_is_disabled() {
                    return Ok(user);
                }
                let mark = ProviderLink::no_password(&user.id);
                tx.add_account(&user, &mark.to_identity(), None, now).await?;
                user.links.push(mark);
                Ok(save_changed(tx, user, now, entropy).await?)
            })
        });
        let user = disabled.await?;
        audit("password_disabled", &user, None);
        Ok(user)
    }

    /// Returns the identity provider of a pool with this name: one of the configuration file, or
    /// one of the API.
    async fn known_provider(&self, pool: &Pool, name: &str) -> Outcome<Option<KnownProvider>> {
        let catalogue = self.catalogue.load();
        let declared = catalogue.config.providers.iter().find(|provider| provider.name == name);
        if let Some(provider) = declared.filter(|_| catalogue.pool.id == pool.id) {
            let standard = STANDARD_ATTRIBUTES.into_iter().map(str::to_owned);
            return Ok(Some(KnownProvider {
                is_saml: matches!(provider.kind, Kind::Saml(_)),
                is_social: false,
                issuer: match &provider.kind {
                    Kind::Oidc(oidc) => oidc.issuer.only().map(str::to_owned),
                    Kind::Saml(_) | Kind::OAuth2(_) => None,
                },
                attributes: standard.chain(provider.attributes.keys().cloned()).collect(),
            }));
        }
        let made = self.store.identity_provider(pool.no, name).await?;
        Ok(made.map(|provider| KnownProvider {
            is_saml: provider.kind == ProviderKind::Saml,
            is_social: provider.kind.is_social(),
            issuer: None,
            attributes: provider.settings.attribute_mapping.into_keys().collect(),
        }))
    }
}

impl KnownProvider {
    /// Names the subject of a SAML account as that of every other account.
    fn name_subject(&self, account: &mut ProviderLink) {
        if self.is_saml && account.attribute == NAME_ID {
            SUBJECT_ATTRIBUTE.clone_into(&mut account.attribute);
        }
    }

    /// Checks that accounts can be linked by this attribute and value.
    fn check_source(&self, source: &ProviderLink) -> Outcome<()> {
        let ProviderLink { attribute, value, .. } = source;
        if value.is_empty() || value.len() > MAX_VALUE_BYTES || value.chars().any(char::is_control) {
            return Err(DirectoryError::invalid("Invalid SourceUser: ProviderAttributeValue is not valid."));
        }
        if attribute == SUBJECT_ATTRIBUTE {
            return Ok(());
        }
        // Flags and groups are those of many accounts.
        let is_shared = attribute.ends_with("_verified") || attribute == "groups";
        if self.is_social || is_shared || !self.attributes.contains(attribute) {
            return Err(DirectoryError::invalid(
                "Invalid SourceUser: ProviderAttributeName must be Cognito_Subject, or an attribute that the \
                 provider's claims are mapped to.",
            ));
        }
        Ok(())
    }
}

/// Returns this account or link as it is stored, with its user.
async fn find_linked(
    tx: &mut Tx<'_>,
    pool: &Pool,
    account: &ProviderLink,
    issuer: Option<&str>,
) -> Outcome<(User, Identity)> {
    if let Some(user) = tx.user_by_link(&pool.id, account).await? {
        return Ok((user, account.to_identity()));
    }
    let found = match account.attribute == SUBJECT_ATTRIBUTE {
        true => find_account(tx, pool, account, issuer).await?,
        false => None,
    };
    found.ok_or_else(|| ErrorKind::UserNotFound.into())
}

/// Lets the user have a password again, which an administrator sets.
pub(super) async fn enable_password(tx: &mut Tx<'_>, user: &mut User) -> Outcome<()> {
    for mark in user.links.iter().filter(|link| link.provider == LOCAL_PROVIDER) {
        tx.remove_identity(&user.pool_id, &mark.to_identity()).await?;
    }
    user.links.retain(|link| link.provider != LOCAL_PROVIDER);
    Ok(())
}

fn no_provider(name: &str) -> DirectoryError {
    DirectoryError::new(ErrorKind::ResourceNotFound, format!("Identity provider {name} does not exist."))
}
