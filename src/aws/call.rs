//! A call of an operation: the request's sender, and what handlers find their objects by.

use super::access::SignedBy;
use super::administrator::{ArnScope, pool_arn};
use super::error::ApiError;
use crate::authn::rate_limit_key;
use crate::base::{Duration, Entropy, KeyRing, Secret, Timestamp};
use crate::catalogue::Catalogue;
use crate::directory::pools::find_pool;
use crate::directory::{
    Administration, Directory, DirectoryError, ErrorKind, PoolOfClient, Sender, TokenUser,
};
use crate::handlers::AppState;
use crate::model::{Pool, User};
use crate::policy::Permit;
use crate::store::{Change, CheckedWork, Store, Tx};
use crate::trigger::{ClientData, Metadata};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The scope of access tokens that may call the API.
const USER_ADMIN_SCOPE: &str = crate::directory::API_SCOPE;

/// A call by an app.
pub struct Call {
    /// The state of the deployment.
    pub app: Arc<AppState>,
    /// The current snapshot of the configuration.
    pub catalogue: Arc<Catalogue>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The language that the client asks for.
    pub language: Option<String>,
    /// How long the client's address must wait after too many wrong guesses.
    wait: Option<Duration>,
    /// Whether the client has proved that it is the app's server.
    confidential: AtomicBool,
    /// Whether the request has an access token, which nobody guesses.
    has_token: AtomicBool,
}

/// A call by an administrator that a policy allows.
pub struct AdminCall {
    /// The call.
    pub call: Call,
    /// The administrator, with the region of the call.
    pub by: SignedBy,
    /// Proof that a policy allows the call.
    pub _permit: Permit,
}

/// The user of an access token, with pool and client.
pub struct TokenCall {
    /// The user.
    pub user: User,
    /// The `origin_jti` claim, by which the token ends.
    pub origin_jti: String,
    /// The `device_key` claim; empty without one.
    pub device_key: String,
    /// The methods of the sign-in (RFC 8176).
    pub amr: Vec<String>,
    /// The client, with its pool.
    pub of: Arc<PoolOfClient>,
}

impl std::ops::Deref for AdminCall {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

impl Call {
    /// Creates a call.
    pub fn new(app: Arc<AppState>, address: Option<IpAddr>, language: Option<String>) -> Self {
        let catalogue = app.catalogue.load();
        let wait = app.limits.wrong_guesses.check(address.map(rate_limit_key).as_ref()).err();
        Self {
            app,
            catalogue,
            address,
            language,
            wait,
            confidential: AtomicBool::default(),
            has_token: AtomicBool::default(),
        }
    }

    /// Refuses an address with too many wrong guesses, before any work that costs much. The app's
    /// server, whose address is that of all its users, is not limited.
    ///
    /// # Errors
    /// Returns `TooManyRequestsException`.
    pub fn admit(&self) -> Result<(), ApiError> {
        match self.wait {
            Some(wait) if !self.confidential.load(Ordering::Relaxed) => {
                Err(ApiError::too_many_requests(wait))
            }
            _ => Ok(()),
        }
    }

    /// Counts a wrong guess of the client's address.
    pub fn record_guess(&self) {
        if !self.proves_itself() {
            self.app.limits.wrong_guesses.record(self.address.map(rate_limit_key));
        }
    }

    /// Returns the services of the user pools.
    pub fn directory(&self) -> &Directory {
        &self.app.directory
    }

    /// Returns the `iss` claim of a pool's tokens.
    pub fn issuer(&self, pool: &Pool) -> String {
        self.catalogue.issuer_of(&pool.id)
    }

    /// Returns an app client with its pool.
    ///
    /// # Errors
    /// Returns `ResourceNotFoundException` if there is none, `NotAuthorizedException` if it
    /// authenticates only with a key, which the API has no parameter for.
    pub async fn client(&self, client_id: &str) -> Result<Arc<PoolOfClient>, ApiError> {
        let of = self.directory().pools.client(client_id).await?.ok_or_else(|| no_client(client_id))?;
        if of.client.settings.extensions.authenticates_by_key && of.secrets.is_empty() {
            let message = format!("Client {client_id} authenticates with a key, at the OAuth endpoints.");
            return Err(DirectoryError::new(ErrorKind::NotAuthorized, message).into());
        }
        Ok(of)
    }

    /// Returns an app client after the check of `SecretHash`, which is over `username`.
    ///
    /// # Errors
    /// Returns `ResourceNotFoundException` or `NotAuthorizedException`.
    pub async fn client_with_hash(
        &self,
        client_id: &str,
        username: &str,
        secret_hash: Option<&str>,
    ) -> Result<Arc<PoolOfClient>, ApiError> {
        let of = self.client(client_id).await?;
        self.check_hash(&of, &[username], secret_hash)?;
        Ok(of)
    }

    /// Checks `SecretHash`, which must be over one of `usernames`.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException`.
    pub fn check_hash(
        &self,
        of: &PoolOfClient,
        usernames: &[&str],
        secret_hash: Option<&str>,
    ) -> Result<(), ApiError> {
        self.admit_client(of, of.check_secret_hash(usernames, secret_hash).map_err(ApiError::from))
    }

    /// Checks `ClientSecret`, which a client with a secret sends.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException`.
    pub fn check_secret(&self, of: &PoolOfClient, secret: Option<&Secret>) -> Result<(), ApiError> {
        self.admit_client(of, of.check_secret(secret).map_err(ApiError::from))
    }

    /// Admits a client after the check of its secret.
    fn admit_client(&self, of: &PoolOfClient, checked: Result<(), ApiError>) -> Result<(), ApiError> {
        if checked.is_ok() && !of.secrets.is_empty() {
            self.confidential.store(true, Ordering::Relaxed);
        }
        self.admit()?;
        checked
    }

    /// Returns whether a failure is no guess of somebody at this address: the client is the app's
    /// server, whose address is that of all its users, or the request has an access token.
    pub fn proves_itself(&self) -> bool {
        self.confidential.load(Ordering::Relaxed) || self.has_token.load(Ordering::Relaxed)
    }

    /// Returns the sender of a request through `of`.
    pub fn sender<'a>(&'a self, of: &'a PoolOfClient) -> Sender<'a> {
        Sender {
            pool: &of.pool,
            client: &of.client,
            keeps_verifiers: of.keeps_verifiers,
            network: Sender::network_of(self.address),
            address: self.address,
            language: self.language.as_deref(),
            redirect_uri: None,
            device_key: None,
            data: ClientData::default(),
        }
    }

    /// As [`Call::sender`], with the `ClientMetadata` of the request.
    pub fn sender_with<'a>(&'a self, of: &'a PoolOfClient, metadata: Option<&'a Metadata>) -> Sender<'a> {
        let data = ClientData { client_metadata: metadata, validation_data: None };
        Sender { data, ..self.sender(of) }
    }

    /// Returns the user of an access token.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException` for a token that is not valid.
    pub async fn user(&self, access_token: &str) -> Result<TokenCall, ApiError> {
        self.has_token.store(true, Ordering::Relaxed);
        let invalid = || ApiError::not_authorized("Invalid Access Token");
        let client_id = crate::token::client_of_access_token(access_token).ok_or_else(invalid)?;
        let of = self.directory().pools.client(&client_id).await?.ok_or_else(invalid)?;
        let tokens = &self.directory().tokens;
        let found = tokens.user_of_access_token(&of.pool, &self.issuer(&of.pool), access_token, None).await?;
        let TokenUser { user, claims } = found;
        if !claims.scope.split(' ').any(|scope| scope == USER_ADMIN_SCOPE) {
            return Err(ApiError::not_authorized("Access Token does not have required scopes"));
        }
        let crate::token::AccessClaims { origin_jti, device_key, amr, .. } = claims;
        Ok(TokenCall { user, origin_jti, device_key, amr, of })
    }
}

impl AdminCall {
    /// Returns the region and the account in the ARNs of pools.
    pub fn arn_scope(&self) -> ArnScope<'_> {
        ArnScope { region: &self.by.region, account_id: &self.catalogue.config.account_id }
    }

    /// Returns the ARN of a pool.
    pub fn arn(&self, pool_id: &str) -> String {
        pool_arn(self.arn_scope(), pool_id)
    }

    /// Checks that the pool with this id exists for the call.
    ///
    /// # Errors
    /// Returns `ResourceNotFoundException` if it does not.
    pub fn check_pool(&self, id: &str) -> Result<(), ApiError> {
        if id.starts_with(&self.by.pool_prefix) { Ok(()) } else { Err(no_pool(id)) }
    }

    /// Returns the pool with this id.
    ///
    /// # Errors
    /// Returns `ResourceNotFoundException` if there is none.
    pub async fn pool(&self, id: &str) -> Result<(Arc<Pool>, bool), ApiError> {
        let found = self.directory().pools.pool_with_parts(id).await?.ok_or_else(|| no_pool(id))?;
        Ok((found.pool, found.keeps_verifiers))
    }

    /// Returns the pool with this id as the database has it now.
    ///
    /// # Errors
    /// Returns `ResourceNotFoundException` if there is none.
    pub async fn stored_pool(&self, id: &str) -> Result<Pool, ApiError> {
        Ok(find_pool(self.store(), id).await?)
    }

    /// Runs a change of the pool with this id or of what belongs to it. The change is in effect on
    /// this node when the function returns; other nodes read it from the change feed.
    ///
    /// # Errors
    /// Returns the exception of the change.
    pub async fn change<'a, T: Send>(
        &self,
        pool_id: &str,
        work: impl for<'t> Fn(&'t mut Tx<'a>) -> CheckedWork<'t, T, DirectoryError> + Send + Sync,
    ) -> Result<T, ApiError> {
        let changed = self.store().checked_transaction(work).await?;
        self.apply_change(pool_id);
        Ok(changed)
    }

    /// Has this node read the pool with this id and what belongs to it again.
    pub fn apply_change(&self, pool_id: &str) {
        self.directory().pools.apply_changes(&[Change::Pool(pool_id.to_owned())]);
    }

    /// Returns the database.
    pub fn store(&self) -> &Store {
        &self.directory().deps.store
    }

    /// Returns the encryption keys, which seal the tokens of pages.
    pub fn ring(&self) -> &KeyRing {
        &self.directory().deps.ring
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        self.directory().deps.clock.now()
    }

    /// Returns the random number generator.
    pub fn entropy(&self) -> &dyn Entropy {
        &*self.directory().deps.entropy
    }

    /// Returns the administration of a pool.
    pub fn administration<'a>(&self, (pool, keeps_verifiers): &'a (Arc<Pool>, bool)) -> Administration<'a> {
        Administration { pool, keeps_verifiers: *keeps_verifiers, data: ClientData::default() }
    }

    /// As [`AdminCall::administration`], with the `ClientMetadata` of the request.
    pub fn administration_with<'a>(
        &self,
        pool: &'a (Arc<Pool>, bool),
        metadata: Option<&'a Metadata>,
    ) -> Administration<'a> {
        let data = ClientData { client_metadata: metadata, validation_data: None };
        Administration { data, ..self.administration(pool) }
    }
}

/// There is no such pool.
pub fn no_pool(id: &str) -> ApiError {
    ApiError::new("ResourceNotFoundException", format!("User pool {id} does not exist."))
}

/// There is no such app client.
pub fn no_client(id: &str) -> ApiError {
    ApiError::new("ResourceNotFoundException", format!("User pool client {id} does not exist."))
}
