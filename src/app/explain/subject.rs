//! The subject of a request: a user of the store, or a subject with given claims.

use crate::app::build::CommandError;
use crate::app::offline;
use crate::app::output::message;
use crate::app::users;
use crate::authn::{methods, user_from_claims};
use crate::base::{
    Clock as _, Secret, SystemClock, SystemEntropy, Timestamp, base64url_decode, read_text, uuid,
};
use crate::broker;
use crate::catalogue::{Catalogue, IdentityPool};
use crate::config::{Config, Issuer, KeySource, Kind, Provider, TrustedIssuer};
use crate::directory;
use crate::identity::{Groups, Person};
use crate::jose::{NumericDate, UniqueKeysObject, authenticated_at};
use crate::model::{ProviderTokens, Session, TokenClaims, User};
use crate::provider::{ExternalIdentity, normalize_email_verified, subject_of};
use crate::store::{OpenStoreError, Store, StoreError};
use crate::token::{self, SKEW, scopes};

use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The maximum size of a file of claims, in bytes.
const MAX_CLAIMS_BYTES: u64 = 1 << 20;

/// The subject as given on the command line or in a case.
#[derive(Clone, Debug)]
pub enum SubjectArg {
    /// A user of the store: by user name, `sub` or verified e-mail address.
    User(String),
    /// A subject with these claims of a provider: a JSON object.
    Claims(PathBuf),
    /// A subject with these claims of a provider, given in a case.
    Described(Map<String, Value>),
    /// The subject of a token: of a provider's ID token, or of an assertion. `-` is standard input.
    Token(PathBuf),
    /// A guest.
    Guest,
}

/// The subject, and the configuration that applies.
pub struct ExplainContext {
    pub catalogue: Arc<Catalogue>,
    pub subject: Option<Subject>,
    identities: HashMap<String, String>,
}

/// The subject of a request.
pub struct Subject {
    pub user: User,
    pub provider: String,
    claims: Option<TokenClaims>,
    sign_in: SignIn,
    of_user_pool: bool,
    /// Notes on the explanation.
    pub notes: Vec<String>,
    /// The reason why the subject cannot sign in.
    pub sign_in_error: Option<String>,
    /// The scopes of a bearer token.
    pub scopes: Option<Vec<String>>,
}

/// The authentication methods and times of a subject's sign-in, as far as they are known.
#[derive(Default)]
struct SignIn {
    methods: Vec<String>,
    auth_time: Option<Timestamp>,
    factor_at: Option<Timestamp>,
    issued_at: Option<Timestamp>,
}

impl Subject {
    /// Returns a subject with a session of the user pool.
    fn of_user_pool(
        user: User,
        provider: String,
        sign_in: SignIn,
        note: Option<&str>,
        sign_in_error: Option<String>,
    ) -> Self {
        Self {
            user,
            provider,
            claims: None,
            sign_in,
            of_user_pool: true,
            notes: note.map(str::to_owned).into_iter().collect(),
            sign_in_error,
            scopes: None,
        }
    }

    pub fn person<'a>(&'a self, config: &'a Config) -> Person<'a> {
        Person {
            user: &self.user,
            provider: &self.provider,
            groups: Groups::of(config, &self.provider, &self.user.groups),
            claims: self.claims.as_ref(),
            methods: &self.sign_in.methods,
            auth_time: self.sign_in.auth_time,
            factor_at: self.sign_in.factor_at,
            issued_at: self.sign_in.issued_at,
            of_user_pool: self.of_user_pool,
            pool_issuer: None,
        }
    }
}

impl ExplainContext {
    pub async fn load(
        config: Config,
        named: SubjectArg,
        provider: Option<&str>,
    ) -> Result<Self, CommandError> {
        let error = |why: String| CommandError::new("narthex explain", message(&why));
        let (claims, own) = match &named {
            SubjectArg::User(who) => {
                let store = offline::open_store(&config).await.map_err(store_open_error)?;
                return Self::from_store(config, store, LookupKey::User(who.clone()), provider).await;
            }
            SubjectArg::Guest => (None, false),
            SubjectArg::Described(claims) => (Some(claims.clone()), false),
            SubjectArg::Claims(file) => {
                (Some(parse_claims(&read(file).map_err(error)?).map_err(error)?), false)
            }
            SubjectArg::Token(file) => {
                let claims = payload(read(file).map_err(error)?.trim()).map_err(error)?;
                let own = claims.get("iss").and_then(Value::as_str) == Some(&config.public_url.to_string());
                (Some(claims), own)
            }
        };
        let store = offline::open_store(&config).await.map_err(store_open_error)?;
        if let (Some(claims), true) = (&claims, own) {
            let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let key = LookupKey::Session { sub: text("sub"), sid: text("sid") };
            return Self::from_store(config, store, key, provider).await;
        }
        let ids = offline::ids(&config, store.as_ref()).await.map_err(store_error)?;
        let catalogue = offline::catalogue(config, ids)?;
        let subject = claims
            .map(|claims| subject_from_claims(&catalogue, claims, provider))
            .transpose()
            .map_err(error)?;
        Ok(Self { catalogue, subject, identities: HashMap::new() })
    }

    /// Loads a user of the store.
    async fn from_store(
        config: Config,
        store: Option<Store>,
        key: LookupKey,
        provider: Option<&str>,
    ) -> Result<Self, CommandError> {
        let error = |why: String| CommandError::new("narthex explain", message(&why));
        let ids = offline::ids(&config, store.as_ref()).await.map_err(store_error)?;
        let catalogue = offline::catalogue(config, ids)?;
        let Some(store) = store else {
            return Err(error("there is no store yet: nobody has signed in".to_owned()));
        };
        let (users, sessions) = key.read(&store).await.map_err(store_error)?;
        let user = users::only(key.name(), users).map_err(error)?;
        let session = key.session(sessions, provider).map_err(error)?;
        let provider = sign_in_provider(&user, session.as_ref(), provider).map_err(error)?;
        let mut identities = HashMap::new();
        for pool in &catalogue.identity_pools {
            if let Some(id) = store.identity_of(&pool.id, &user.id).await.map_err(store_error)? {
                identities.insert(pool.config.name.clone(), id);
            }
        }
        store.close().await;
        let subject = subject_of_user(&catalogue.config, user, session, provider);
        Ok(Self { catalogue, subject: Some(subject), identities })
    }

    /// Returns the user's identity in `pool`, or a placeholder if it is unknown.
    pub fn identity_id(&self, pool: &IdentityPool) -> String {
        let unknown = || format!("{}:00000000-0000-0000-0000-000000000000", self.catalogue.config.region);
        self.identities.get(&pool.config.name).cloned().unwrap_or_else(unknown)
    }
}

fn store_open_error(error: OpenStoreError) -> CommandError {
    CommandError::new("narthex explain", error)
}

fn store_error(error: StoreError) -> CommandError {
    CommandError::new("the store", error)
}

/// The key of a user in the store.
enum LookupKey {
    User(String),
    Session { sub: String, sid: String },
}

impl LookupKey {
    fn name(&self) -> &str {
        match self {
            Self::User(who) => who,
            Self::Session { sub, .. } => sub,
        }
    }

    /// Reads the matching users, and the sessions if there is exactly one user.
    async fn read(&self, store: &Store) -> Result<(Vec<User>, Vec<Session>), StoreError> {
        let work = store.transaction(|tx| {
            Box::pin(async move {
                let users = match self {
                    Self::User(who) => tx.users_named(who).await?,
                    Self::Session { sub, .. } => tx.user(sub).await?.into_iter().collect(),
                };
                let sessions = match users.as_slice() {
                    [user] => tx.sessions_of(&user.id).await?,
                    _ => Vec::new(),
                };
                Ok((users, sessions))
            })
        });
        work.await
    }

    /// Returns the session that the token names, or the most recently used one of the provider.
    fn session(&self, sessions: Vec<Session>, provider: Option<&str>) -> Result<Option<Session>, String> {
        match self {
            Self::User(_) => {
                let through =
                    |session: &Session| provider.is_none_or(|provider| session.provider == provider);
                Ok(sessions.into_iter().filter(through).max_by_key(|session| session.last_seen_at))
            }
            Self::Session { sid, .. } => {
                let named = sessions.into_iter().find(|session| session.id == *sid);
                named.map(Some).ok_or_else(|| "the session that the token was made for is over".to_owned())
            }
        }
    }
}

/// Returns the provider of the session, or the given one, or the user's only one.
fn sign_in_provider(user: &User, session: Option<&Session>, named: Option<&str>) -> Result<String, String> {
    let provider = match (session, named, user.identities.as_slice()) {
        (Some(session), ..) => session.provider.clone(),
        (None, Some(provider), _) => provider.to_owned(),
        (None, None, [only]) => only.provider.clone(),
        (None, None, _) => {
            return Err("the user signs in by several providers\n  help: name one with --provider".to_owned());
        }
    };
    if !user.identities.iter().any(|identity| identity.provider == provider) {
        return Err(format!("{} does not sign in by {provider}", user.username));
    }
    Ok(provider)
}

/// Returns a user of the store as the subject. Without a session, the subject is treated as signed
/// in now.
fn subject_of_user(config: &Config, user: User, session: Option<Session>, provider: String) -> Subject {
    let user = user.for_provider(&provider);
    let allow = config.providers.iter().find(|known| known.name == provider).map(|known| &known.allow);
    let email = user.email().filter(|_| user.email_verified());
    let is_allowed = allow.is_some_and(|allow| allow.names(email, &user.groups));
    let sign_in_error = match (user.enabled, is_allowed) {
        (false, _) => Some("the user is disabled".to_owned()),
        (true, false) => Some(format!("the file does not let them in by {provider}")),
        (true, true) => None,
    };
    let (note, sign_in) = match session {
        Some(session) => {
            let Session { amr: methods, auth_time, factor_at, created_at, .. } = session;
            (None, SignIn { methods, auth_time, factor_at, issued_at: Some(created_at) })
        }
        None => {
            let sign_in = SignIn { issued_at: Some(SystemClock.now()), ..SignIn::default() };
            (Some("there is no session: signed in now, by an unknown method"), sign_in)
        }
    };
    Subject::of_user_pool(user, provider, sign_in, note, sign_in_error)
}

/// Returns the subject that a sign-in with these claims would create.
fn subject_from_claims(
    catalogue: &Catalogue,
    mut claims: Map<String, Value>,
    provider: Option<&str>,
) -> Result<Subject, String> {
    let config = &*catalogue.config;
    let issuer = claims.get("iss").and_then(Value::as_str);
    let own: Vec<_> = catalogue.pools().map(|pool| pool.as_issuer(String::new(), Vec::new())).collect();
    let by_token = own.iter().chain(&config.issuers).find(|known| Some(known.url.as_str()) == issuer);
    if let (Some(issuer), None) = (by_token, provider) {
        return subject_from_bearer_token(issuer, &claims);
    }
    let provider = provider_of(config, &claims, provider)?;
    if let Some(preset) = provider.preset {
        normalize_email_verified(&mut claims, preset.quirks.verified);
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let list = |name: &str| match claims.get(name) {
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let subject = match claims.contains_key("sub") {
        true => subject_of(&claims, &["sub"]).map_err(|error| format!("the sign-in is refused: {error}"))?,
        false => "unknown".to_owned(),
    };
    let now = SystemClock.now();
    let auth_time = authenticated_at(&claims, now, SKEW);
    let methods: Vec<String> = list("amr");
    let issuer = text("iss").or_else(|| issuer_of(provider)).unwrap_or_default();
    let tokens = ProviderTokens::of_assertion(Secret::new(""), now);
    let external = ExternalIdentity {
        amr: methods.clone(),
        auth_time,
        ..ExternalIdentity::new(issuer, subject, claims, tokens)
    };
    let account = broker::map_account(provider, &external)?;
    let sign_in_error = broker::check_allowed(&provider.allow, &account).err();
    let sign_in_error =
        sign_in_error.map(|whom| format!("`allow` of {} does not name {whom}", provider.name));
    let user = directory::new_user(uuid(&SystemEntropy), "", account, now);
    let sign_in = SignIn { methods, auth_time, issued_at: Some(now), ..SignIn::default() };
    let note = Some("these claims are believed here: nothing was verified");
    Ok(Subject::of_user_pool(user, provider.name.clone(), sign_in, note, sign_in_error))
}

/// Returns the subject of a bearer token of `issuer` with these claims.
fn subject_from_bearer_token(issuer: &TrustedIssuer, claims: &Map<String, Value>) -> Result<Subject, String> {
    let subject =
        token::subject(claims).map_err(|error| format!("the token is refused with 401: {error}"))?;
    let now = SystemClock.now();
    let id = match issuer.keys {
        KeySource::Own(_) => subject.to_owned(),
        _ => uuid(&SystemEntropy),
    };
    let sign_in_error = match (&issuer.keys, claims.get("client_id").and_then(Value::as_str)) {
        (KeySource::Own(_), Some(client)) if issuer.audiences.iter().any(|known| known == client) => None,
        (KeySource::Own(_), client) => {
            Some(format!("no app client of the file that may get tokens is `{}`", client.unwrap_or_default()))
        }
        _ => None,
    };
    let (user, others) = user_from_claims(issuer, subject, claims, id, now)
        .map_err(|claim| format!("the token is refused with 401: its claim `{claim}` cannot be compared"))?;
    let auth_time = authenticated_at(claims, now, SKEW);
    Ok(Subject {
        user,
        provider: issuer.name.clone(),
        claims: Some(others),
        sign_in: SignIn {
            methods: methods(claims, auth_time),
            auth_time,
            factor_at: None,
            issued_at: NumericDate::of(claims, "iat").map(|at| at.min(now)),
        },
        of_user_pool: false,
        notes: vec!["the token is believed here: neither its signature nor its end was looked at".to_owned()],
        sign_in_error,
        scopes: Some(scopes(claims)),
    })
}

/// Returns the issuer of a provider, if it has exactly one.
fn issuer_of(provider: &Provider) -> Option<String> {
    match &provider.kind {
        Kind::Oidc(oidc) => match &oidc.issuer {
            Issuer::One(issuer) => Some(issuer.clone()),
            Issuer::PerTenant(_) => None,
        },
        Kind::OAuth2(oauth2) => Some(oauth2.issuer.clone()),
        Kind::Saml(_) => None,
    }
}

fn provider_of<'c>(
    config: &'c Config,
    claims: &Map<String, Value>,
    named: Option<&str>,
) -> Result<&'c Provider, String> {
    let issuer = claims.get("iss").and_then(Value::as_str);
    let found = match (named, issuer, config.providers.as_slice()) {
        (Some(name), ..) => config.providers.iter().find(|provider| provider.name == name),
        (None, _, [only]) => Some(only),
        (None, Some(issuer), _) => config.providers.iter().find(|provider| provider.issues(issuer)),
        (None, None, _) => None,
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
        format!(
            "it is not plain which provider says this\n  help: name it: --provider {}",
            names.join(" or ")
        )
    })
}

fn read(file: &Path) -> Result<String, String> {
    let text = match file == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin().take(MAX_CLAIMS_BYTES)),
        false => read_text(file, MAX_CLAIMS_BYTES),
    };
    text.map_err(|error| format!("cannot read {}: {error}", file.display()))
}

/// Parses claims like a sign-in, which rejects duplicate names.
fn parse_claims(text: &str) -> Result<Map<String, Value>, String> {
    let parsed = serde_json::from_str(text);
    parsed
        .map(|UniqueKeysObject(claims)| claims)
        .map_err(|error| format!("the claims are not a JSON object with unique names: {error}"))
}

/// Returns the claims of a JWT (RFC 7519). They are not verified, because the command gives no
/// access.
fn payload(token: &str) -> Result<Map<String, Value>, String> {
    let mut parts = token.split('.');
    let payload = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        // An assertion in the format for load balancer verifiers may have padding.
        (Some(_), Some(payload), Some(_), None) => base64url_decode(payload.trim_end_matches('=')),
        _ => None,
    };
    let payload = payload.ok_or("the token is not a signed JWT: it has three parts, separated by `.`")?;
    parse_claims(&String::from_utf8_lossy(&payload))
}
