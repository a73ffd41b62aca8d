//! Logins at providers: [`Broker::begin`] sends a browser to a provider, and [`Broker::finish`]
//! creates a session from the callback. No transaction includes a call to a provider, and an
//! unfinished login stores nothing.

mod attempt;
mod inbound;
mod logout;
mod mapping;
mod metadata_sources;
mod renewal;
mod saml;
mod saml_keys;
mod saml_rotation;

use attempt::Deliveries;

pub use attempt::{ATTEMPT_LIFETIME, COOKIE_LIFETIME as ATTEMPT_COOKIE_LIFETIME, LoginAttempts};
pub use logout::{EndedSession, end_session, post_logout_uri};
pub use mapping::{check_allowed, map_account};
pub use saml::{LogoutOutcome, SamlPost, ValidatedLogin, entity_id, logout_url};
pub use saml_keys::{SamlKeyError, expiry_warning, utc};
pub use saml_rotation::{RotationError, RotationTimes, reschedule, rotate};

use crate::base::{Clock, Duration, Entropy, KeyRing, RandomToken, Timestamp};
use crate::catalogue::Catalogue;
use crate::config;
use crate::directory::{
    self, Authentication, Browser, Directory, DirectoryError, ErrorKind, FederatedAccount, LinkedUser,
};
use crate::model::{
    AuthorizationRequest, CookieScope, Identity, ProviderTokens, Session, SessionCookie, User,
};
use crate::provider::{
    self, BrowserAction, Callback, ExternalIdentity, LoginHints, LoginState, Provider, ProviderError,
    ProviderHttpClient,
};
use crate::store::{ReplayKey, Store, StoreError, Tx};
use arc_swap::ArcSwap;
use saml_keys::SamlKeys;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use thiserror::Error;

/// Total timeout of a login's calls to its provider.
const FINISH_TIMEOUT: Duration = Duration::from_secs(25);

/// The reason to refuse an account that several users are linked to.
const SEVERAL_LINKS: &str =
    "several users are linked to the account by its attributes; help: link one of them by Cognito_Subject";

/// A login in progress at a provider. The browser stores it sealed in a cookie.
#[derive(Debug, Serialize, Deserialize)]
pub struct Login {
    /// The provider's name.
    provider: String,
    /// The state to validate the provider's response.
    pending: LoginState,
    /// The authorization request to continue after the login. `None` for an IdP-initiated login,
    /// and for a login started at the user pool's own pages.
    pub request: Option<AuthorizationRequest>,
}

impl Login {
    /// Returns the URL to restart the login: at the app, whose attempt contains the requested URL.
    pub fn restart_url(&self, catalogue: &Catalogue) -> String {
        let Some(AuthorizationRequest { client_id, redirect_uri: uri, state, .. }) = &self.request else {
            return catalogue.config.public_url.join("/");
        };
        let path = uri.match_indices('/').nth(2).map_or(uri.len(), |(at, _)| at);
        // `state` comes from a URL that anyone can construct, so validate its form.
        match LoginAttempts::started_at(state) {
            Some(_) if *client_id == catalogue.gateway_client => {
                format!("{}/.narthex/sign-in?attempt={state}", &uri[..path])
            }
            _ => format!("{}/", &uri[..path]),
        }
    }
}

/// A started login, with the browser's next request to the provider.
#[derive(Debug)]
pub struct LoginStart {
    /// The action that sends the browser to the provider.
    pub action: BrowserAction,
    /// Whether the provider responds by a form POST (SAML) instead of a redirect.
    pub by_form: bool,
    /// The attempt's id, which is also the `state` parameter.
    pub id: String,
    /// The sealed attempt, the value of the browser's cookie.
    pub sealed: String,
}

/// The input of a login's callback.
#[derive(Debug)]
pub struct CallbackInput<'a> {
    /// The parameters of the callback.
    pub parameters: &'a HashMap<String, String>,
    /// The attempt's id.
    pub id: &'a str,
    /// The attempt.
    pub login: Login,
    /// The browser's user agent and address.
    pub browser: Browser,
    /// The id of the browser's existing session at the user pool, if any.
    pub earlier: Option<String>,
}

/// A successful login.
#[derive(Debug)]
pub struct CompletedLogin {
    /// The user.
    pub user: User,
    /// The browser's session.
    pub session: Session,
    /// The token for the user pool's session cookie.
    pub token: RandomToken,
    /// The authorization request to continue, as in [`Login::request`].
    pub request: Option<AuthorizationRequest>,
    /// The audit event of the change of the user, if any.
    pub change: Option<&'static str>,
}

/// The reason that a login failed.
#[derive(Debug, Error)]
pub enum LoginError {
    /// No provider has this name.
    #[error("no provider has this name")]
    NoSuchProvider,
    /// The browser has no attempt with this id: it started in another browser, has expired, or its
    /// cookie was lost.
    #[error("the browser carries no attempt of this id")]
    NoAttempt,
    /// The provider sent an unsolicited response, and `idp_init` is off.
    #[error(
        "the provider sent a response that nobody asked for; help: let people start at the app, or set idp_init = true \
         on the provider"
    )]
    Unsolicited,
    /// The attempt was started at another provider.
    #[error("the attempt was begun at another provider")]
    OtherProvider,
    /// The attempt or logout message was used before, or is being processed.
    #[error("the attempt was used before")]
    Used,
    /// The provider failed, or rejected the user, or its response failed a check.
    #[error(transparent)]
    Provider(ProviderError),
    /// A claim on which a decision depends is missing or invalid.
    #[error("{0}")]
    Unmappable(String),
    /// `allow` does not name the user.
    #[error("`allow` does not name {0}")]
    NotAllowed(String),
    /// The user is disabled.
    #[error("{0} is disabled")]
    Disabled(String),
    /// A function of the pool refused, or gave no valid answer.
    #[error(transparent)]
    Trigger(DirectoryError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DirectoryError> for LoginError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Store(error) => Self::Store(error),
            error => Self::Trigger(error),
        }
    }
}

impl LoginError {
    /// Returns a stable name of the reason for the audit log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSuchProvider => "no_such_provider",
            Self::NoAttempt => "no_attempt",
            Self::Unsolicited => "idp_init_off",
            Self::OtherProvider => "other_provider",
            Self::Used => "attempt_used",
            Self::Provider(ProviderError::Unavailable(_)) => "provider_unavailable",
            Self::Provider(ProviderError::Unreadable(_)) => "provider_answer_unreadable",
            Self::Provider(ProviderError::Refused { .. }) => "provider_refused",
            Self::Provider(ProviderError::Overloaded) => "overloaded",
            Self::Provider(ProviderError::Invalid { check, .. }) => check,
            Self::Unmappable(_) => "unmappable",
            Self::NotAllowed(_) => "not_allowed",
            Self::Disabled(_) => "user_disabled",
            Self::Trigger(error) if error.kind() == ErrorKind::UserLambdaValidation => "trigger_denied",
            Self::Trigger(_) => "trigger_failed",
            Self::Store(_) => "store_unavailable",
        }
    }
}

struct ProviderEntry {
    config: config::Provider,
    /// Narthex's entity id, if the provider is a SAML provider.
    entity_id: Option<String>,
    provider: Arc<dyn Provider>,
}

impl ProviderEntry {
    /// Fetches the provider's metadata again, and logs warnings and errors.
    async fn refresh(&self) {
        let name = &self.config.name;
        match self.provider.refresh().await {
            Ok(lines) => lines.iter().for_each(|line| tracing::warn!(provider = name, "{line}")),
            Err(error) => {
                tracing::warn!(provider = name, %error, "the provider's metadata cannot be fetched")
            }
        }
    }
}

/// The broker of the user pool: logins, logouts and renewals at its providers.
pub struct Broker {
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    outbound: ProviderHttpClient,
    attempts: LoginAttempts,
    deliveries: Deliveries,
    saml_keys: SamlKeys,
    providers: ArcSwap<HashMap<String, Arc<ProviderEntry>>>,
    /// The directory, whose functions also see what a renewal brings.
    directory: OnceLock<Arc<Directory>>,
}

impl Broker {
    /// Creates a broker without providers; [`Self::apply`] sets them.
    pub fn new(
        store: Store,
        ring: Arc<KeyRing>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        outbound: ProviderHttpClient,
    ) -> Self {
        let attempts = LoginAttempts::new(ring, clock.clone(), entropy.clone());
        let saml_keys = SamlKeys::new(store.clone(), clock.clone(), entropy.clone());
        let deliveries = Deliveries::default();
        Self {
            store,
            clock,
            entropy,
            outbound,
            attempts,
            deliveries,
            saml_keys,
            providers: ArcSwap::default(),
            directory: OnceLock::new(),
        }
    }

    /// Sets the directory, once: renewals call its functions.
    pub fn set_directory(&self, directory: Arc<Directory>) {
        // A second one would be the same.
        _ = self.directory.set(directory);
    }

    /// Applies the providers of `catalogue`. Unchanged providers keep their fetched metadata.
    ///
    /// # Errors
    /// Returns an error if the SAML key cannot be read or created for a SAML provider, or if the
    /// database fails. The previous providers then remain.
    pub async fn apply(&self, catalogue: &Catalogue) -> Result<(), SamlKeyError> {
        let old = self.providers.load_full();
        let mut providers = HashMap::new();
        for config in &catalogue.config.providers {
            let own = self.own(catalogue, config).await?;
            let entity_id = own.as_ref().map(|own| own.entity_id.clone());
            let same = old
                .get(&config.name)
                .filter(|entry| entry.config.kind == config.kind && entry.entity_id == entity_id)
                .filter(|entry| entry.config.ca == config.ca);
            let provider = match same {
                Some(entry) => entry.provider.clone(),
                None => {
                    let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
                    provider::connect(config, own, self.outbound.clone(), clock, entropy)
                }
            };
            let entry = ProviderEntry { config: config.clone(), entity_id, provider };
            providers.insert(config.name.clone(), Arc::new(entry));
        }
        metadata_sources::record(&self.store, &catalogue.config.providers)
            .await
            .map_err(SamlKeyError::Store)?;
        self.providers.store(Arc::new(providers));
        Ok(())
    }

    /// Fetches every provider's metadata again, so that no login waits for it.
    pub async fn refresh(&self) {
        for entry in self.providers.load_full().values() {
            entry.refresh().await;
        }
    }

    /// Reads Narthex's SAML keys from the database again. If `deletes`, deletes keys past their
    /// removal time.
    ///
    /// # Errors
    /// Returns an error if the database fails or a key cannot be read. The keys in memory then
    /// remain.
    pub async fn refresh_saml_keys(&self, deletes: bool) -> Result<(), SamlKeyError> {
        self.saml_keys.refresh(deletes).await
    }

    /// Logs a warning if Narthex's SAML certificate expires soon.
    pub fn warn_of_saml_expiry(&self) {
        self.saml_keys.warn_of_expiry();
    }

    /// Reads the files named by providers' settings again, such as SAML metadata.
    pub async fn reread_files(&self) {
        for entry in self.providers.load_full().values().filter(|entry| entry.provider.expire_files()) {
            entry.refresh().await;
        }
    }

    /// Expires the cached metadata of all providers, so that it is fetched again.
    pub fn distrust_cache(&self) {
        self.providers.load().values().for_each(|entry| entry.provider.expire());
    }

    /// Starts a login at the provider `name`.
    ///
    /// # Errors
    /// Returns [`LoginError::NoSuchProvider`], or [`LoginError::Provider`] if the provider's
    /// metadata is not available.
    pub async fn begin(
        &self,
        catalogue: &Catalogue,
        name: &str,
        request: Option<AuthorizationRequest>,
        wish: LoginHints<'_>,
    ) -> Result<LoginStart, LoginError> {
        let entry = self.entry(name)?;
        let host = request.as_ref().and_then(|request| catalogue.host_of_callback(&request.redirect_uri));
        let host = host.as_ref().unwrap_or(catalogue.config.public_url.host());
        let id = self.attempts.new_id(host.as_str());
        let begun = entry
            .provider
            .begin(&callback_url(catalogue, &entry.config), &id, wish)
            .await
            .map_err(LoginError::Provider)?;
        let login = Login { provider: name.to_owned(), pending: begun.pending, request };
        let sealed = self.attempts.seal(&seal_context(catalogue), &id, &login);
        let by_form = matches!(entry.config.kind, config::Kind::Saml(_));
        Ok(LoginStart { action: begun.action, by_form, id, sealed })
    }

    /// Opens the browser's attempt with this id, unless it has expired.
    pub fn attempt(&self, catalogue: &Catalogue, id: &str, sealed: &str) -> Option<Login> {
        self.attempts.open(&seal_context(catalogue), id, sealed)
    }

    /// Opens the browser's attempt with this id, regardless of its age. It only serves to return to
    /// the login's destination.
    pub fn expired_attempt(&self, catalogue: &Catalogue, id: &str, sealed: &str) -> Option<Login> {
        self.attempts.open_expired(&seal_context(catalogue), id, sealed)
    }

    /// Completes a login with the browser's request to the callback of the provider `name`, and
    /// creates a session.
    ///
    /// # Errors
    /// Returns an error if any check fails. No session is then created. The attempt may be marked
    /// as used, and a disabled user's attributes may be updated.
    pub async fn finish(
        &self,
        (catalogue, directory): (&Catalogue, &Directory),
        name: &str,
        returned: CallbackInput<'_>,
    ) -> Result<CompletedLogin, LoginError> {
        let entry = self.entry(name)?;
        // RFC 9700, section 4.4.2: each provider has a separate callback, so that a response of one
        // cannot be used as another's (mix-up attack).
        if returned.login.provider != name {
            return Err(LoginError::OtherProvider);
        }
        // SAML responses are validated by `Broker::validate_saml_response` instead.
        if matches!(entry.config.kind, config::Kind::Saml(_)) {
            return Err(LoginError::NoSuchProvider);
        }
        // RFC 6749, section 4.1.2: a provider that receives a code twice "SHOULD revoke (when
        // possible) all tokens previously issued based on that authorization code". If the browser
        // repeats a callback, the code must not be sent twice: the session would end with its
        // tokens.
        let _delivery = self.deliveries.try_begin(returned.id).ok_or(LoginError::Used)?;
        if self.store.login_attempt_is_used(returned.id).await? {
            return Err(LoginError::Used);
        }
        let redirect_uri = callback_url(catalogue, &entry.config);
        let callback = Callback {
            parameters: returned.parameters,
            redirect_uri: &redirect_uri,
            pending: Some(&returned.login.pending),
            started_at: LoginAttempts::started_at(returned.id),
        };
        let finished = tokio::time::timeout(FINISH_TIMEOUT, entry.provider.finish(callback)).await;
        let external = finished
            .unwrap_or_else(|_| Err(ProviderError::Unavailable("it did not answer in time".to_owned())))
            .map_err(LoginError::Provider)?;
        self.establish_session((catalogue, directory), &entry, returned, external).await
    }

    /// Creates a session for the user that a provider authenticated.
    async fn establish_session(
        &self,
        (catalogue, directory): (&Catalogue, &Directory),
        entry: &ProviderEntry,
        returned: CallbackInput<'_>,
        mut external: ExternalIdentity,
    ) -> Result<CompletedLogin, LoginError> {
        let CallbackInput { id, login, browser, earlier, .. } = returned;
        metadata_sources::check_issuer(catalogue, &entry.config, &external.issuer)
            .map_err(LoginError::Provider)?;
        let request = login.request.as_ref();
        let client_id = request.map_or(&catalogue.gateway_client, |request| &request.client_id);
        let of = (&*catalogue.pool.id, client_id.as_str());
        inbound::change_claims(directory, of, &entry.config, &mut external).await?;
        let account = mapping::map_account(&entry.config, &external).map_err(LoginError::Unmappable)?;
        mapping::check_allowed(&entry.config.allow, &account).map_err(LoginError::NotAllowed)?;
        directory.before_federated_sign_in(of, &account).await?;

        let (now, token) = (self.clock.now(), RandomToken::random(&*self.entropy));
        let tokens = external.tokens;
        let authentication = Authentication {
            provider: entry.config.name.clone(),
            provider_sid: external.sid.map(|sid| logout::sid_key(&sid)).unwrap_or_default(),
            browser,
            amr: external.amr,
            auth_time: external.auth_time,
            factor_at: None,
            ends_at: external.session_ends_at,
            begun_at: LoginAttempts::started_at(id).unwrap_or(Timestamp::NEVER),
        };
        let new = NewLogin {
            catalogue,
            config: &entry.config,
            attempt: id,
            account: &account,
            authentication: &authentication,
            earlier: earlier.as_deref(),
            cookie: &token,
            tokens: &tokens,
            now,
            entropy: &*self.entropy,
        };
        let made = self.store.transaction(|tx| Box::pin(async move { new.store(tx).await })).await?;
        let (user, session) = made?;
        directory.after_federated_sign_in(of, &user, user.created_at == now).await?;
        let change = match () {
            () if user.created_at == now => Some("user_created"),
            () if user.updated_at == now => Some("user_updated"),
            () => None,
        };
        Ok(CompletedLogin { user, session, token, request: login.request, change })
    }

    fn entry(&self, name: &str) -> Result<Arc<ProviderEntry>, LoginError> {
        self.providers.load().get(name).cloned().ok_or(LoginError::NoSuchProvider)
    }
}

/// A login authenticated by a provider, to be stored in one transaction.
#[derive(Clone, Copy)]
struct NewLogin<'a> {
    catalogue: &'a Catalogue,
    config: &'a config::Provider,
    /// The attempt's id.
    attempt: &'a str,
    account: &'a FederatedAccount,
    authentication: &'a Authentication,
    /// The id of the browser's existing session.
    earlier: Option<&'a str>,
    /// The token of the session's cookie.
    cookie: &'a RandomToken,
    tokens: &'a ProviderTokens,
    now: Timestamp,
    entropy: &'a dyn Entropy,
}

impl NewLogin<'_> {
    /// Marks the attempt as used, and stores the user and the session. An error in the inner result
    /// commits the transaction.
    async fn store(self, tx: &mut Tx<'_>) -> Result<Result<(User, Session), LoginError>, StoreError> {
        let Self { account, now, entropy, .. } = self;
        let (id, pool_id) = (self.attempt, &self.catalogue.pool.id);
        if !tx.use_once(ReplayKey::LoginAttempt, id, now.plus(ATTEMPT_LIFETIME)).await? {
            return Ok(Err(LoginError::Used));
        }
        let identity = &account.identity;
        let known = tx.user_by_identity(pool_id, &identity.issuer, &identity.subject).await?;
        if let Some(other) = owner_conflict(tx, self.config, account, known.as_ref()).await? {
            return Ok(Err(other));
        }
        // Before the user is updated: a refused login commits what it wrote.
        let linked = match &known {
            Some(_) => LinkedUser::None,
            None => directory::find_linked_user(tx, pool_id, account).await?,
        };
        let owner = match &linked {
            LinkedUser::None => known.as_ref(),
            LinkedUser::One(user, _) => Some(&**user),
            LinkedUser::Several => return Ok(Err(LoginError::Unmappable(SEVERAL_LINKS.to_owned()))),
        };
        if let Some(disabled) = owner.filter(|user| !user.may_sign_in_by_provider()) {
            return Ok(Err(LoginError::Disabled(disabled.username.clone())));
        }
        if let Err(why) = mapping::check_required(self.config, account, known) {
            return Ok(Err(LoginError::Unmappable(why)));
        }
        let user = match &linked {
            LinkedUser::One(user, link) => {
                directory::claim_link(tx, user, link, account, now, entropy).await?
            }
            LinkedUser::None | LinkedUser::Several => {
                directory::upsert(tx, pool_id, account, now, entropy).await?
            }
        };
        let (authentication, limits) = (self.authentication, self.catalogue.config.session);
        let session =
            directory::begin_session(tx, &user, authentication, self.earlier, limits, now, entropy).await?;
        let cookie = SessionCookie {
            hash: self.cookie.hash(),
            session_id: session.id.clone(),
            scope: CookieScope::Pool,
            created_at: now,
        };
        tx.add_session_cookie(&cookie).await?;
        tx.save_provider_tokens(&session.id, self.tokens, self.tokens.due_at(now), entropy).await?;
        Ok(Ok((user, session)))
    }
}

/// Returns an error if the account belongs to another provider. A SAML provider states its entity
/// id in its own metadata. With another provider's id it could sign in as that provider's users, or
/// create users for a provider that is added later.
async fn owner_conflict(
    tx: &mut Tx<'_>,
    config: &config::Provider,
    account: &FederatedAccount,
    known: Option<&User>,
) -> Result<Option<LoginError>, StoreError> {
    let identity = &account.identity;
    let same = |known: &&Identity| known.issuer == identity.issuer && known.subject == identity.subject;
    let Some(owner) = known.and_then(|known| known.identities.iter().find(same)) else { return Ok(None) };
    let other = match (owner.saml, identity.saml) {
        (false, false) => false,
        (true, true) if owner.provider == identity.provider => false,
        (true, true) => !metadata_sources::is_same_source(tx, config, owner).await?,
        (true, false) | (false, true) => true,
    };
    let error = || {
        LoginError::Provider(ProviderError::Invalid {
            check: "issuer",
            detail: format!(
                "the account is one of the provider `{}`, which has the same issuer or entity id; help: if both are \
                 SAML and one identity provider, set issuer = \"{}\" on `{}` in the file",
                owner.provider, identity.issuer, config.name
            ),
        })
    };
    Ok(other.then(error))
}

/// Returns the callback URL of `provider`, which is registered there.
pub fn callback_url(catalogue: &Catalogue, provider: &config::Provider) -> String {
    catalogue.config.public_url.join(&provider.callback_path())
}

fn seal_context(catalogue: &Catalogue) -> String {
    format!("login at {}", catalogue.config.public_url)
}
