//! The tokens of users: issued after a sign-in, refreshed, revoked, verified.

mod device;
mod logout;
mod program;
mod refresh;

pub use device::{DeviceError, DeviceRedemption};
pub use refresh::RefreshFlow;

use super::consents::is_within;
use super::error::{DirectoryError, ErrorKind, Outcome};
use super::events::{PoolEvents, TokenSource};
use super::sender::Sender;
use crate::base::{Clock, Entropy, KeyRing, RandomToken, Timestamp, uuid};
use crate::jose::KeyError;
use crate::model::{AppClient, Pool, Session, User, UserGroup, UserStatus};
use crate::store::{CheckedWork, RefreshFamily, Store, Tx};
use crate::token::{
    self, AccessClaims, AccessTokenError, CodeError, Grant, KeySet, NewFamily, PoolKeys, Proof,
    RefreshTokens, TokenGrant, TokenOverrides, TokenSubject, TokenUse, UserTokenKeys, UserTokens,
    issue_user_tokens, verify_access_token,
};
use std::sync::Arc;

/// The scope of tokens that the Cognito API issues.
pub const API_SCOPE: &str = "aws.cognito.signin.user.admin";

/// The stored scope of a family that the Cognito API began. It has no scope of OAuth, which a
/// client could lose.
const OF_API: &str = "";

/// Issues and verifies the tokens of users.
pub struct TokenService {
    store: Store,
    ring: Arc<KeyRing>,
    keys: PoolKeys,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    events: Arc<PoolEvents>,
}

/// A completed sign-in, for which tokens are issued.
#[derive(Clone, Copy, Debug)]
pub struct SignedIn<'a> {
    /// The user.
    pub user: &'a User,
    /// When the password was set that the user had at the sign-in; `None` without one.
    pub password_set_at: Option<Timestamp>,
    /// The scopes of the access token, separated by spaces.
    pub scope: &'a str,
    /// The `nonce` of an authorization request.
    pub nonce: Option<&'a str>,
    /// The remembered device; may be empty.
    pub device_key: &'a str,
    /// When the user was authenticated; `None` for now.
    pub auth_time: Option<Timestamp>,
    /// The authentication methods (RFC 8176).
    pub amr: &'a [String],
    /// The kind of the sign-in, for the function that changes tokens.
    pub source: TokenSource,
}

/// A code that a client redeems, with what must fit it.
#[derive(Clone, Copy, Debug)]
pub struct CodeRedemption<'a> {
    /// The code.
    pub code: &'a RandomToken,
    /// The redirect URI to which the code was sent.
    pub redirect_uri: &'a str,
    /// The PKCE verifier; empty if the client sent none.
    pub verifier: &'a str,
    /// The proof of the client's key, to which the access token is bound.
    pub proof: Option<&'a Proof>,
    /// Whether the client is public, so that its refresh tokens are bound to its key, too.
    pub is_public: bool,
}

/// Tokens for a client.
#[derive(Clone, Debug)]
pub struct IssuedTokens {
    /// The id token and the access token.
    pub tokens: UserTokens,
    /// The refresh token; `None` at a refresh without rotation.
    pub refresh_token: Option<String>,
    /// The granted scopes, separated by spaces.
    pub scope: String,
}

/// The user of an access token.
#[derive(Clone, Debug)]
pub struct TokenUser {
    /// The user.
    pub user: User,
    /// What the token says.
    pub claims: AccessClaims,
}

impl TokenService {
    /// Creates the service of a deployment.
    pub fn new(
        store: Store,
        ring: Arc<KeyRing>,
        keys: PoolKeys,
        (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
        events: Arc<PoolEvents>,
    ) -> Self {
        Self { store, ring, keys, clock, entropy, events }
    }

    /// Issues the tokens of a sign-in. `issuer` is the `iss` claim of the pool's tokens.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException` if the user was disabled or got another password since.
    pub async fn issue(
        &self,
        sender: Sender<'_>,
        issuer: &str,
        signed_in: SignedIn<'_>,
    ) -> Outcome<IssuedTokens> {
        check_proof(sender.client, false)?;
        // Before the transaction, which must wait neither for the making of a key nor for a
        // function.
        let keys = self.signing_keys(sender.pool).await?;
        let overrides = self.overrides(sender, signed_in.source, signed_in.user, signed_in.scope).await?;
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let refresh_tokens = self.refresh_tokens(&sender);
        let begun = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let user = current_user(tx, signed_in.user.no).await?;
                let set_at = tx.password(user.no).await?.map(|password| password.set_at);
                if set_at != signed_in.password_set_at {
                    return Err(not_authorized("Incorrect username or password."));
                }
                let groups = groups(tx, sender.pool, &user).await?;
                let SignedIn { scope, device_key, auth_time, amr, .. } = signed_in;
                let auth_time = auth_time.unwrap_or(now);
                let scope = if scope == API_SCOPE { OF_API } else { scope };
                let new = NewFamily { user_no: user.no, auth_time, scope, device_key, amr, key: "" };
                let (family, token) = refresh_tokens.begin(tx, new, now, entropy).await?;
                Ok((user, groups, family, token))
            })
        });
        let (user, groups, family, token) = begun.await?;
        let subject = TokenSubject { client: sender.client, user: &user, groups: &groups };
        let nonce = signed_in.nonce;
        let claims = GrantClaims { issuer, nonce, overrides: overrides.as_ref(), ..GrantClaims::default() };
        let tokens = self.tokens(&keys, subject, claims, &family, now)?;
        let scope = granted_scope(&family.scope).to_owned();
        Ok(IssuedTokens { tokens, refresh_token: Some(token), scope })
    }

    /// Issues the tokens of an authorization code (RFC 6749, section 4.1.3).
    /// The code and its tokens are one transaction: a code that is used again ends its tokens.
    ///
    /// # Errors
    /// The inner error is the reason why the code is rejected. The outer one is of the user, who
    /// was disabled, or of the database.
    pub async fn redeem_code(
        &self,
        sender: Sender<'_>,
        issuer: &str,
        redemption: CodeRedemption<'_>,
    ) -> Outcome<Result<IssuedTokens, CodeError>> {
        check_proof(sender.client, redemption.proof.is_some())?;
        // Any client can send an invented code. A read rejects it, so that it does not block
        // writers.
        if !self.store.code_exists(&redemption.code.hash()).await? {
            return Ok(Err(CodeError::Unknown));
        }
        let keys = self.signing_keys(sender.pool).await?;
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let refresh_tokens = self.refresh_tokens(&sender);
        let redeemed = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let CodeRedemption { code, redirect_uri, verifier, proof, is_public } = redemption;
                let grant = Grant { client_id: &sender.client.id, redirect_uri, proof };
                let redeemed = match token::redeem(tx, code, grant, verifier, now, entropy).await? {
                    Ok(redeemed) if redeemed.session.pool_id == sender.pool.id => redeemed,
                    Ok(_) => return Ok(Err(CodeError::Mismatch)),
                    Err(CodeError::ProofReused) => return Err(ErrorKind::ProofRefused.into()),
                    // Committed also with an error: it ends the tokens of the code.
                    Err(error) => return Ok(Err(error)),
                };
                let key = refresh_key(proof, is_public);
                let (session, scope) = (&redeemed.session, &*redeemed.scope);
                let granted = Granted { session, scope, key, needs_consent: false };
                let begun = begin_family(tx, refresh_tokens, sender.pool, granted, (now, entropy)).await?;
                tx.set_code_family(&code.hash(), &begun.family.id).await?;
                Ok(Ok((begun, redeemed.nonce)))
            })
        });
        let (begun, nonce) = match redeemed.await? {
            Ok(redeemed) => redeemed,
            Err(error) => return Ok(Err(error)),
        };
        let nonce = Some(&*nonce).filter(|nonce| !nonce.is_empty());
        Ok(Ok(self.first_tokens(&keys, sender, (issuer, nonce, redemption.proof), begun, now).await?))
    }

    /// Issues the tokens of the implicit grant (RFC 6749, section 4.2) for a session. There is no
    /// refresh token; the tokens end with their family.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException` if the user was disabled, or an error of the database.
    pub async fn issue_for_session(
        &self,
        sender: Sender<'_>,
        issuer: &str,
        session: &Session,
        scope: &str,
        nonce: Option<&str>,
    ) -> Outcome<IssuedTokens> {
        check_proof(sender.client, false)?;
        let keys = self.signing_keys(sender.pool).await?;
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let refresh_tokens = self.refresh_tokens(&sender);
        let begun = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                // The session comes from a cache: it may have ended, on this node or another one.
                let session = tx.session(&session.id).await?.filter(|session| now < session.expires_at);
                let session = &session.ok_or_else(|| not_authorized("The session has ended"))?;
                let granted = Granted { session, scope, key: "", needs_consent: false };
                begin_family(tx, refresh_tokens, sender.pool, granted, (now, entropy)).await
            })
        });
        let issued = self.first_tokens(&keys, sender, (issuer, nonce, None), begun.await?, now).await?;
        Ok(IssuedTokens { refresh_token: None, ..issued })
    }

    /// Returns the first tokens of a family. The access token is bound to the key of `proof`.
    async fn first_tokens(
        &self,
        keys: &UserTokenKeys,
        sender: Sender<'_>,
        (issuer, nonce, proof): (&str, Option<&str>, Option<&Proof>),
        begun: BegunFamily,
        now: Timestamp,
    ) -> Outcome<IssuedTokens> {
        let BegunFamily { user, groups, family, token, sid } = begun;
        let subject = TokenSubject { client: sender.client, user: &user, groups: &groups };
        let (of, source) = ((sender.pool, sender.client), TokenSource::HostedAuth);
        let scope = granted_scope(&family.scope);
        let overrides = self.events.token_overrides(of, source, (&user, &groups), scope, sender.data).await?;
        let key = proof.map(|proof| &*proof.thumbprint);
        let claims = GrantClaims { issuer, nonce, key, sid: sid.as_deref(), overrides: overrides.as_ref() };
        let tokens = self.tokens(keys, subject, claims, &family, now)?;
        Ok(IssuedTokens { tokens, refresh_token: Some(token), scope: family.scope })
    }

    /// Verifies an access token of a user of `pool`. The store is asked whether it has ended: a
    /// sign-out on another node counts at once. `key` is the thumbprint of the key that the client
    /// has proven.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException`, or `UserNotFoundException` for a user who was deleted.
    pub async fn user_of_access_token(
        &self,
        pool: &Pool,
        issuer: &str,
        token: &str,
        key: Option<&str>,
    ) -> Outcome<TokenUser> {
        let keys = self.keys.of(pool, TokenUse::Access).await.map_err(|error| key_error(&error))?;
        let claims = verify_access_token(&keys, issuer, token, self.clock.now()).map_err(|error| {
            not_authorized(match error {
                AccessTokenError::Invalid => "Invalid Access Token",
                AccessTokenError::Expired => "Access Token has expired",
            })
        })?;
        // RFC 9449, section 7.1: the key of the token and that of the proof are the same.
        if claims.key.as_deref() != key {
            return Err(not_authorized("Access Token is bound to another key, or to none"));
        }
        let family = self.store.refresh_family(&claims.origin_jti).await?;
        if family.is_none_or(|family| family.client_id != claims.client_id) {
            return Err(not_authorized("Access Token has been revoked"));
        }
        let user = self.store.user(&claims.subject).await?.filter(|user| user.pool_id == pool.id);
        match user {
            Some(user) if user.enabled => Ok(TokenUser { user, claims }),
            Some(_) => Err(not_authorized("User is disabled.")),
            None => Err(ErrorKind::UserNotFound.into()),
        }
    }

    /// Returns the public keys of a pool, of access tokens and id tokens, as a JWK Set (RFC 7517,
    /// section 5). The first call for a pool makes the keys.
    ///
    /// # Errors
    /// Returns an error if the database fails, or a key cannot be made.
    pub async fn jwk_set(&self, pool: &Pool) -> Outcome<String> {
        self.keys.jwk_set(pool).await.map_err(|error| key_error(&error))
    }

    /// Returns the keys of a pool's access tokens.
    ///
    /// # Errors
    /// As [`TokenService::jwk_set`].
    pub async fn access_token_keys(&self, pool: &Pool) -> Outcome<Arc<KeySet>> {
        self.keys.of(pool, TokenUse::Access).await.map_err(|error| key_error(&error))
    }

    async fn signing_keys(&self, pool: &Pool) -> Outcome<UserTokenKeys> {
        let (access, id) =
            tokio::join!(self.keys.of(pool, TokenUse::Access), self.keys.of(pool, TokenUse::Id));
        let failed = |error: Arc<_>| key_error(&error);
        Ok(UserTokenKeys { access: access.map_err(failed)?, id: id.map_err(failed)? })
    }

    /// Returns the changes of a user's tokens by a function of the pool, if it has one.
    async fn overrides(
        &self,
        sender: Sender<'_>,
        source: TokenSource,
        user: &User,
        scope: &str,
    ) -> Outcome<Option<TokenOverrides>> {
        if !self.events.changes_tokens(sender.pool) {
            return Ok(None);
        }
        let groups =
            self.store.groups_of_user(user.no, 0, sender.pool.settings.quotas.groups_of_user).await?;
        let of = (sender.pool, sender.client);
        self.events.token_overrides(of, source, (user, &groups), scope, sender.data).await
    }

    fn refresh_tokens<'a>(&'a self, sender: &Sender<'a>) -> RefreshTokens<'a> {
        RefreshTokens { ring: &self.ring, pool: &sender.pool.id, client: sender.client }
    }

    fn tokens(
        &self,
        keys: &UserTokenKeys,
        subject: TokenSubject<'_>,
        GrantClaims { issuer, nonce, key, sid, overrides }: GrantClaims<'_>,
        family: &RefreshFamily,
        now: Timestamp,
    ) -> Outcome<UserTokens> {
        let entropy = &*self.entropy;
        let event_id = uuid(entropy);
        let grant = TokenGrant {
            issuer,
            scope: granted_scope(&family.scope),
            auth_time: family.auth_time,
            amr: &family.amr,
            origin_jti: &family.id,
            event_id: &event_id,
            nonce,
            device_key: &family.device_key,
            sid,
            key,
            overrides,
        };
        issue_user_tokens(keys, subject, grant, now, entropy).map_err(|error| signing_failed(&error))
    }
}

/// Returns the user of a sign-in or a refresh, who may have changed since.
async fn current_user(tx: &mut Tx<'_>, no: i64) -> Outcome<User> {
    let user =
        tx.user_by_number(no).await?.ok_or_else(|| not_authorized("Refresh Token has been revoked"))?;
    match user.status {
        _ if !user.enabled => Err(not_authorized("User is disabled.")),
        UserStatus::Confirmed | UserStatus::ExternalProvider => Ok(user),
        UserStatus::ResetRequired => Err(ErrorKind::PasswordResetRequired.into()),
        _ => Err(not_authorized("Incorrect username or password.")),
    }
}

/// The claims of tokens that neither their family nor their user has.
#[derive(Clone, Copy, Default)]
struct GrantClaims<'a> {
    issuer: &'a str,
    nonce: Option<&'a str>,
    /// The thumbprint of the key to which the access token is bound.
    key: Option<&'a str>,
    /// The session of the ID token, for a client that is notified of its end.
    sid: Option<&'a str>,
    /// The changes by a function of the pool.
    overrides: Option<&'a TokenOverrides>,
}

/// A new family of refresh tokens, with its user.
struct BegunFamily {
    user: User,
    groups: Vec<UserGroup>,
    family: RefreshFamily,
    token: String,
    /// The id of the session, if the client is notified of its end.
    sid: Option<String>,
}

/// What is granted to a client.
struct Granted<'a> {
    session: &'a Session,
    scope: &'a str,
    /// The key to which the refresh tokens are bound; empty for none.
    key: &'a str,
    /// Whether the user must have consented, also to a client that does not ask for it.
    needs_consent: bool,
}

/// Returns the key to which refresh tokens are bound. RFC 9449, section 5: those of a confidential
/// client are bound to its credentials.
fn refresh_key(proof: Option<&Proof>, is_public: bool) -> &str {
    proof.filter(|_| is_public).map_or("", |proof| &proof.thumbprint)
}

/// Begins a family for the user of a session.
async fn begin_family(
    tx: &mut Tx<'_>,
    refresh_tokens: RefreshTokens<'_>,
    pool: &Pool,
    Granted { session, scope, key, needs_consent }: Granted<'_>,
    (now, entropy): (Timestamp, &dyn Entropy),
) -> Outcome<BegunFamily> {
    let client = refresh_tokens.client;
    // The user may have withdrawn it since the authorization.
    if needs_consent || client.settings.extensions.require_consent {
        let granted = tx.consent(&session.user_id, &client.id).await?;
        if !granted.is_some_and(|granted| is_within(scope, &granted)) {
            return Err(not_authorized("The user has withdrawn the consent"));
        }
    }
    let user = tx.user(&session.user_id).await?.ok_or(ErrorKind::UserNotFound)?;
    let user = current_user(tx, user.no).await?;
    let groups = groups(tx, pool, &user).await?;
    let auth_time = session.auth_time.unwrap_or(session.created_at);
    let new = NewFamily { user_no: user.no, auth_time, scope, device_key: "", amr: &session.amr, key };
    let (family, token) = refresh_tokens.begin(tx, new, now, entropy).await?;
    let sid = client.settings.extensions.has_logout_uri().then(|| session.id.clone());
    if let Some(sid) = &sid {
        tx.add_session_client(sid, &client.id).await?;
    }
    Ok(BegunFamily { user, groups, family, token, sid })
}

async fn groups(tx: &mut Tx<'_>, pool: &Pool, user: &User) -> Outcome<Vec<UserGroup>> {
    Ok(tx.groups_of_user(user.no, pool.settings.quotas.groups_of_user).await?)
}

/// Returns the scopes of a family.
fn granted_scope(stored: &str) -> &str {
    if stored == OF_API { API_SCOPE } else { stored }
}

/// Checks that a client whose access tokens must be bound has proven a key (RFC 9449, section 5.2:
/// `dpop_bound_access_tokens`).
fn check_proof(client: &AppClient, is_proven: bool) -> Outcome<()> {
    match client.settings.extensions.dpop_bound_access_tokens && !is_proven {
        true => Err(ErrorKind::ProofRefused.into()),
        false => Ok(()),
    }
}

fn not_authorized(words: &'static str) -> DirectoryError {
    DirectoryError::new(ErrorKind::NotAuthorized, words)
}

fn signing_failed(error: &KeyError) -> DirectoryError {
    tracing::error!(%error, "a token was not signed");
    ErrorKind::Internal.into()
}

fn key_error(error: &crate::token::KeyChainError) -> DirectoryError {
    tracing::error!(%error, "the signing keys of a user pool cannot be used");
    ErrorKind::Internal.into()
}
