//! One login across provider, mapping and directory: [`Broker::begin`] sends a browser to a
//! provider, [`Broker::finish`] makes a session of what comes back. No transaction spans a call to
//! a provider, and an unfinished login leaves nothing in the store.

mod attempt;
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
use crate::directory::{self, Authentication, Browser, FederatedAccount};
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
use std::sync::Arc;
use thiserror::Error;

/// How long all of a login's calls to its provider may take.
const FINISH_TIMEOUT: Duration = Duration::from_secs(25);

/// A login that was begun at a provider, as the browser carries it, sealed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Login {
    /// The provider's name.
    provider: String,
    /// What the provider wants remembered.
    pending: LoginState,
    /// What the login is for; nothing, where the provider began by itself or the person at the
    /// pool's own page.
    pub request: Option<AuthorizationRequest>,
}

impl Login {
    /// Where the person can begin again: at the app, which remembers what they wanted there.
    pub fn restart_url(&self, catalogue: &Catalogue) -> String {
        let Some(AuthorizationRequest { redirect_uri: uri, state, .. }) = &self.request else {
            return catalogue.config.public_url.join("/");
        };
        let path = uri.match_indices('/').nth(2).map_or(uri.len(), |(at, _)| at);
        // The state came in an address that anybody may have written.
        match LoginAttempts::started_at(state) {
            Some(_) => format!("{}/.narthex/sign-in?attempt={state}", &uri[..path]),
            None => format!("{}/", &uri[..path]),
        }
    }
}

/// A browser on its way to a provider.
#[derive(Debug)]
pub struct LoginStart {
    /// Where to send it.
    pub action: BrowserAction,
    /// Whether the provider sends it back by a form.
    pub by_form: bool,
    /// The attempt's id, which is the state too.
    pub id: String,
    /// The attempt, sealed, for the browser's cookie.
    pub sealed: String,
}

/// A browser that came back from a provider.
#[derive(Debug)]
pub struct CallbackInput<'a> {
    /// What it brought.
    pub parameters: &'a HashMap<String, String>,
    /// The attempt's id.
    pub id: &'a str,
    /// The attempt.
    pub login: Login,
    /// The browser's user agent and address.
    pub browser: Browser,
    /// The session that it has at the pool already.
    pub earlier: Option<String>,
}

/// A login that came about.
#[derive(Debug)]
pub struct CompletedLogin {
    /// Whose.
    pub user: User,
    /// The browser's session.
    pub session: Session,
    /// What the pool's own cookie is to hold.
    pub token: RandomToken,
    /// What the login was for; nothing, where the provider began by itself.
    pub request: Option<AuthorizationRequest>,
    /// The audit event of the change of the user, if any.
    pub change: Option<&'static str>,
}

/// Why a login failed.
#[derive(Debug, Error)]
pub enum LoginError {
    /// No provider has this name.
    #[error("no provider has this name")]
    NoSuchProvider,
    /// The browser carries no attempt of this id: it was begun elsewhere, took too long, or the
    /// cookie was lost.
    #[error("the browser carries no attempt of this id")]
    NoAttempt,
    /// The provider sent a response that nobody asked for, and `idp_init` is off.
    #[error(
        "the provider sent a response that nobody asked for; help: let people start at the app, or set idp_init = true \
         on the provider"
    )]
    Unsolicited,
    /// The attempt was begun at another provider.
    #[error("the attempt was begun at another provider")]
    OtherProvider,
    /// The attempt was used before.
    #[error("the attempt was used before")]
    Used,
    /// The provider did not vouch for anybody.
    #[error(transparent)]
    Provider(ProviderError),
    /// What the provider says of the person cannot be taken over.
    #[error("{0}")]
    Unmappable(String),
    /// `allow` does not name the person.
    #[error("`allow` does not name {0}")]
    NotAllowed(String),
    /// The user is disabled.
    #[error("{0} is disabled")]
    Disabled(String),
    /// The store did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LoginError {
    /// A stable name for the audit line.
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
            Self::Store(_) => "store_unavailable",
        }
    }
}

struct ProviderEntry {
    config: config::Provider,
    /// Our entity id there, where it speaks SAML.
    entity_id: Option<String>,
    provider: Arc<dyn Provider>,
}

impl ProviderEntry {
    /// Renews what is known of the provider, and logs what is wrong.
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

/// The broker of one user pool.
pub struct Broker {
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    outbound: ProviderHttpClient,
    attempts: LoginAttempts,
    deliveries: Deliveries,
    saml_keys: SamlKeys,
    providers: ArcSwap<HashMap<String, Arc<ProviderEntry>>>,
}

impl Broker {
    /// A broker that knows no provider yet.
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
        }
    }

    /// Takes over the providers of `catalogue`; metadata already fetched stays for those that did
    /// not change.
    ///
    /// # Errors
    /// Where a provider speaks SAML, and our key for that cannot be had; nothing is taken over
    /// then.
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

    /// Renews what is known of every provider, so that no login waits for it.
    pub async fn refresh(&self) {
        for entry in self.providers.load_full().values() {
            entry.refresh().await;
        }
    }

    /// Reads our SAML keys from the store again, and deletes those at their end where `deletes`.
    ///
    /// # Errors
    /// Where the store does not answer, or a key cannot be read; the keys stay as they are.
    pub async fn refresh_saml_keys(&self, deletes: bool) -> Result<(), SamlKeyError> {
        self.saml_keys.refresh(deletes).await
    }

    /// Warns of our SAML certificate where it expires soon.
    pub fn warn_of_saml_expiry(&self) {
        self.saml_keys.warn_of_expiry();
    }

    /// Reads the files again that providers' settings name, such as SAML metadata.
    pub async fn reread_files(&self) {
        for entry in self.providers.load_full().values().filter(|entry| entry.provider.expire_files()) {
            entry.refresh().await;
        }
    }

    /// Has what providers publish fetched again, whatever its age.
    pub fn distrust_cache(&self) {
        self.providers.load().values().for_each(|entry| entry.provider.expire());
    }

    /// Sends a browser to the provider called `name`, with what was typed of who the person is.
    ///
    /// # Errors
    /// [`LoginError::NoSuchProvider`], or [`LoginError::Provider`] where its metadata cannot be
    /// had.
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

    /// The attempt that the browser carries under this id, if it is still good.
    pub fn attempt(&self, catalogue: &Catalogue, id: &str, sealed: &str) -> Option<Login> {
        self.attempts.open(&seal_context(catalogue), id, sealed)
    }

    /// The attempt that the browser carries under this id, however old: for the way back, and for
    /// nothing else.
    pub fn expired_attempt(&self, catalogue: &Catalogue, id: &str, sealed: &str) -> Option<Login> {
        self.attempts.open_expired(&seal_context(catalogue), id, sealed)
    }

    /// Makes a session of what the browser brought back to the callback of the provider `name`.
    ///
    /// # Errors
    /// Any doubt: nothing is left behind then, but that the attempt was used.
    pub async fn finish(
        &self,
        catalogue: &Catalogue,
        name: &str,
        returned: CallbackInput<'_>,
    ) -> Result<CompletedLogin, LoginError> {
        let entry = self.entry(name)?;
        // RFC 9700, section 4.4.2: each provider has a callback of its own, so that a response of
        // one cannot pass for another's.
        if returned.login.provider != name {
            return Err(LoginError::OtherProvider);
        }
        // A SAML response comes by a form, and works once by its own id: see [`Broker::judge`].
        if matches!(entry.config.kind, config::Kind::Saml(_)) {
            return Err(LoginError::NoSuchProvider);
        }
        // RFC 6749, section 4.1.2: a provider to which a code comes twice "SHOULD revoke (when
        // possible) all tokens previously issued based on that authorization code". A response that
        // a browser delivers twice must not reach the provider twice, or the session would end with
        // its tokens.
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
        self.establish_session(catalogue, &entry, returned, external).await
    }

    /// Makes a session for the user that a provider authenticated.
    async fn establish_session(
        &self,
        catalogue: &Catalogue,
        entry: &ProviderEntry,
        returned: CallbackInput<'_>,
        external: ExternalIdentity,
    ) -> Result<CompletedLogin, LoginError> {
        let CallbackInput { id, login, browser, earlier, .. } = returned;
        metadata_sources::check_issuer(catalogue, &entry.config, &external.issuer)
            .map_err(LoginError::Provider)?;
        let account = mapping::map_account(&entry.config, &external).map_err(LoginError::Unmappable)?;
        mapping::check_allowed(&entry.config.allow, &account).map_err(LoginError::NotAllowed)?;

        let (now, token) = (self.clock.now(), RandomToken::random(&*self.entropy));
        let tokens = external.tokens;
        let authentication = Authentication {
            provider: entry.config.name.clone(),
            provider_sid: external.sid.map(|sid| logout::sid_key(&sid)).unwrap_or_default(),
            browser,
            amr: external.amr,
            auth_time: external.auth_time,
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

/// A login that a provider has vouched for, to be stored in one transaction.
#[derive(Clone, Copy)]
struct NewLogin<'a> {
    catalogue: &'a Catalogue,
    config: &'a config::Provider,
    /// The attempt's id.
    attempt: &'a str,
    account: &'a FederatedAccount,
    authentication: &'a Authentication,
    /// The browser's session so far.
    earlier: Option<&'a str>,
    /// The token of the session's cookie.
    cookie: &'a RandomToken,
    tokens: &'a ProviderTokens,
    now: Timestamp,
    entropy: &'a dyn Entropy,
}

impl NewLogin<'_> {
    /// Marks the attempt as used, and stores the user and the session.
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
        if let Err(why) = mapping::check_required(self.config, account, known) {
            return Ok(Err(LoginError::Unmappable(why)));
        }
        let user = directory::upsert(tx, pool_id, account, now, entropy).await?;
        if !user.enabled {
            return Ok(Err(LoginError::Disabled(user.username)));
        }
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

/// Why the account is another provider's. A SAML provider says in its own metadata who it is: it
/// must not be able to say that it is another one, whose people it would sign in as, nor to make
/// users for one to come.
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

/// Where `provider` sends browsers back to; registered there.
pub fn callback_url(catalogue: &Catalogue, provider: &config::Provider) -> String {
    catalogue.config.public_url.join(&provider.callback_path())
}

fn seal_context(catalogue: &Catalogue) -> String {
    format!("login at {}", catalogue.config.public_url)
}
