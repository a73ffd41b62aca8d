//! Second factors of users: software tokens, codes in messages, recovery codes.
//!
//! The state machine of sign-in decides when one is asked for. This module sets factors up, and
//! checks the codes of software tokens and recovery codes.

mod draft;
mod recovery_codes;
mod totp;

pub use draft::{NewToken, TokenDraft};

use super::error::{DirectoryError, ErrorKind, Outcome, TOO_MANY_ATTEMPTS};
use super::password_attempts::{Attempts, negative_no};
use super::service::DirectoryDeps;
use crate::base::{Clock, Entropy, KeyRing, Secret, Timestamp};
use crate::model::{
    Factor, FirstFactor, MfaMode, MfaSettings, Pool, PoolSettings, User, UserFactors, usable_first_factors,
};
use crate::store::{CheckedWork, ReplayKey, Store, Tx};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Sets up the second factors of users.
pub struct FactorService {
    store: Store,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// A change of a user's factors; `None` leaves a setting as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FactorChange {
    /// Whether the factor is turned on.
    pub is_enabled: Option<bool>,
    /// Whether it is asked for without a choice.
    pub is_preferred: Option<bool>,
}

/// The user whose factors change, with the app client through which the user does that; an
/// administrator has none.
#[derive(Clone, Copy)]
pub struct ByUser<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// The user.
    pub user: &'a User,
    /// The id of the client.
    pub client_id: Option<&'a str>,
}

/// The result of the check of a token's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenCheck {
    Right,
    Wrong,
    /// The code was right, and was used before.
    Used,
    /// There were too many wrong codes.
    Locked,
}

impl FactorService {
    pub(super) fn new(deps: DirectoryDeps) -> Self {
        let DirectoryDeps { store, ring, clock, entropy, catalogue: _ } = deps;
        Self { store, ring, clock, entropy }
    }

    /// Returns the second factors of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn of_user(&self, user: &User) -> Outcome<UserFactors> {
        Ok(self.store.factors(user.no).await?)
    }

    /// Returns the first factors with which a user can sign in.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn first_factors(&self, pool: &Pool, user: &User) -> Outcome<Vec<FirstFactor>> {
        let factors = self.store.factors(user.no).await?;
        let has_password = self.store.password(user.no).await?.is_some();
        let PoolSettings { first_factors, mfa, .. } = &pool.settings;
        Ok(usable_first_factors(first_factors, mfa, (user, &factors, has_password)))
    }

    /// Creates a software token for the user of an access token. It is not used before its first
    /// code is right; an existing token stays until then.
    ///
    /// # Errors
    /// Returns `SoftwareTokenMFANotFoundException` if the pool does not allow it.
    pub async fn new_token(&self, pool: &Pool, user: &User) -> Outcome<NewToken> {
        require(pool, Factor::SoftwareToken)?;
        let secret = totp::new_secret(&*self.entropy);
        let (bytes, entropy) = (&secret, &*self.entropy);
        let set = self
            .store
            .transaction(|tx| Box::pin(async move { tx.set_pending_token(user.no, bytes, entropy).await }));
        set.await?;
        Ok(NewToken::new(pool, user, &secret))
    }

    /// Takes the token of [`FactorService::new_token`] into use, if `code` is its code of now. It
    /// replaces an existing one; [`FactorService::change`] turns it on.
    ///
    /// # Errors
    /// Returns `EnableSoftwareTokenMFAException` for a wrong code, `NotAuthorizedException` after
    /// too many of them, or `SoftwareTokenMFANotFoundException` if no token waits.
    pub async fn confirm_token(&self, by: ByUser<'_>, code: &Secret) -> Outcome<()> {
        require(by.pool, Factor::SoftwareToken)?;
        let pending = self.store.token_secrets(by.user.no).await?.pending;
        let secret = &pending.ok_or(ErrorKind::SoftwareTokenNotFound)?;
        let step = self.check_first_code(by.user, secret, code).await?;
        let (user, entropy) = (by.user, &*self.entropy);
        let set = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                // Another request may have confirmed it, or created another one.
                let pending = tx.token_secrets(user.no).await?.pending;
                if pending.as_ref() != Some(secret) {
                    return Err(ErrorKind::SoftwareTokenNotFound.into());
                }
                Ok(tx.set_token(user.no, (secret, step), entropy).await?)
            })
        });
        set.await?;
        audit("factor_added", by, Some(Factor::SoftwareToken));
        Ok(())
    }

    /// Creates a software token for a sign-in, whose session keeps the secret.
    pub(super) fn new_token_of_session(
        &self,
        pool: &Pool,
        user: &User,
    ) -> Outcome<(NewToken, Zeroizing<Vec<u8>>)> {
        require(pool, Factor::SoftwareToken)?;
        let secret = totp::new_secret(&*self.entropy);
        Ok((NewToken::new(pool, user, &secret), secret))
    }

    /// Creates a software token for a form of the user's session. Returns it with the text that the
    /// form returns.
    ///
    /// # Errors
    /// As [`FactorService::new_token`].
    pub fn draft_token(&self, by: ByUser<'_>, session: &str) -> Outcome<(NewToken, String)> {
        require(by.pool, Factor::SoftwareToken)?;
        let draft = TokenDraft::new(by.user, self.clock.now(), &*self.entropy);
        let token = NewToken::new(by.pool, by.user, draft.secret());
        Ok((token, draft.seal(&self.ring, session, &*self.entropy)))
    }

    /// Returns the draft of a form.
    ///
    /// # Errors
    /// Returns `ExpiredCodeException` for a text that is not one of this session and user, or has
    /// expired.
    pub fn open_draft(&self, user: &User, session: &str, sealed: &str) -> Outcome<TokenDraft> {
        let draft = TokenDraft::open(&self.ring, session, user, sealed, self.clock.now());
        draft.ok_or_else(|| ErrorKind::CodeExpired.into())
    }

    /// Returns the token of a draft, to show it again.
    pub fn token_of_draft(&self, by: ByUser<'_>, draft: &TokenDraft) -> NewToken {
        NewToken::new(by.pool, by.user, draft.secret())
    }

    /// Takes the token of a draft into use, if `code` is its code of now, and turns it on. It
    /// replaces an existing one.
    ///
    /// # Errors
    /// Returns `EnableSoftwareTokenMFAException` for a wrong code, `NotAuthorizedException` after
    /// too many of them, or `ExpiredCodeException` for a draft that was confirmed before.
    pub async fn confirm_draft(&self, by: ByUser<'_>, draft: &TokenDraft, code: &Secret) -> Outcome<()> {
        let spent = (&*draft.id, draft.expires_at());
        self.enable_token(by, draft.secret(), code, (spent, false)).await
    }

    /// Takes a token into use and turns it on. `spent` is what the confirmation uses up, with its
    /// end; `is_first` is whether the user must have no other factor.
    pub(super) async fn enable_token(
        &self,
        by: ByUser<'_>,
        secret: &[u8],
        code: &Secret,
        (spent, is_first): ((&str, Timestamp), bool),
    ) -> Outcome<()> {
        require(by.pool, Factor::SoftwareToken)?;
        let step = self.check_first_code(by.user, secret, code).await?;
        let (user, entropy, (id, expires_at)) = (by.user, &*self.entropy, spent);
        let mfa = &by.pool.settings.mfa;
        let set = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                if !tx.use_once(ReplayKey::LoginAttempt, id, expires_at).await? {
                    return Err(ErrorKind::CodeExpired.into());
                }
                let mut factors = tx.factors(user.no).await?;
                if is_first && mfa.is_asked_of(user, &factors) {
                    return Err(ErrorKind::CodeExpired.into());
                }
                forget_devices(tx, (mfa, user), &factors).await?;
                factors.set(Factor::SoftwareToken, true);
                tx.set_enabled_factors(user.no, &factors).await?;
                Ok(tx.set_token(user.no, (secret, step), entropy).await?)
            })
        });
        set.await?;
        audit("factor_added", by, Some(Factor::SoftwareToken));
        Ok(())
    }

    /// Checks the first code of a new token. Returns its time step.
    async fn check_first_code(&self, user: &User, secret: &[u8], code: &Secret) -> Outcome<i64> {
        let now = self.clock.now();
        // Apart from the codes of sign-ins: who sets a token up must not lock those.
        let account_no = attempts_no(&self.ring, "new token", user.no);
        let attempts = Attempts { store: &self.store, account_no };
        if !attempts.begin(now).await? {
            return Err(DirectoryError::new(ErrorKind::NotAuthorized, TOO_MANY_ATTEMPTS));
        }
        match totp::step_of_code(secret, code.expose().trim(), now) {
            Some(step) => {
                attempts.clear().await?;
                Ok(step)
            }
            None => {
                attempts.fail(now).await?;
                Err(ErrorKind::TokenCodeMismatch.into())
            }
        }
    }

    /// Changes which factors a user has turned on, and the preferred one.
    ///
    /// # Errors
    /// Returns `InvalidParameterException` if the user or the pool lacks a factor that is turned
    /// on, or if two are preferred.
    pub async fn change(&self, by: ByUser<'_>, changes: &[(Factor, FactorChange)]) -> Outcome<()> {
        let ByUser { pool, user, .. } = by;
        let set = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let mut factors = tx.factors(user.no).await?;
                if changes.iter().any(|(_, change)| change.is_enabled == Some(true)) {
                    forget_devices(tx, (&pool.settings.mfa, user), &factors).await?;
                }
                for (factor, change) in changes {
                    apply(&mut factors, (pool, user), *factor, *change)?;
                }
                Ok(tx.set_enabled_factors(user.no, &factors).await?)
            })
        });
        set.await?;
        for (factor, change) in changes.iter().filter(|(_, change)| change.is_enabled.is_some()) {
            let event = if change.is_enabled == Some(true) { "factor_enabled" } else { "factor_disabled" };
            audit(event, by, Some(*factor));
        }
        Ok(())
    }

    /// Removes the software token of a user with its recovery codes, and turns it off.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_token(&self, by: ByUser<'_>) -> Outcome<()> {
        let user = by.user;
        let removed = self.store.transaction(|tx| {
            Box::pin(async move {
                let mut factors = tx.factors(user.no).await?;
                factors.set(Factor::SoftwareToken, false);
                tx.set_enabled_factors(user.no, &factors).await?;
                tx.remove_token(user.no).await
            })
        });
        removed.await?;
        audit("factor_removed", by, Some(Factor::SoftwareToken));
        Ok(())
    }

    /// Creates a set of recovery codes in place of the earlier one. They are shown once.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn new_recovery_codes(&self, by: ByUser<'_>) -> Outcome<Vec<Secret>> {
        let user = by.user;
        let codes = recovery_codes::new_codes(&*self.entropy);
        let hash = |code| recovery_codes::hash(&self.ring, user.no, code);
        let hashes: Vec<_> = codes.iter().filter_map(hash).collect();
        let hashes = &hashes[..];
        let set = self
            .store
            .transaction(|tx| Box::pin(async move { tx.set_recovery_codes(user.no, hashes).await }));
        set.await?;
        audit("recovery_codes_created", by, None);
        Ok(codes)
    }

    /// Returns the number of recovery codes that a user still has.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn count_recovery_codes(&self, user: &User) -> Outcome<usize> {
        Ok(self.store.count_recovery_codes(user.no).await?)
    }
}

/// Removes the devices of a user who turns on a first second factor. They signed in without one,
/// and must not replace it.
async fn forget_devices(
    tx: &mut Tx<'_>,
    (mfa, user): (&MfaSettings, &User),
    before: &UserFactors,
) -> crate::store::Result<()> {
    match mfa.is_asked_of(user, before) {
        true => Ok(()),
        false => tx.remove_remembered_devices(user.no).await,
    }
}

/// Returns the secret of a software token in base32.
pub(super) fn token_text(secret: &[u8]) -> Secret {
    totp::base32(secret)
}

/// Parses the secret of a software token. Returns `None` for anything but base32 of 16 to 64 bytes.
pub(super) fn parse_token(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    totp::parse_base32(text)
}

/// Returns whether a typed text can be a recovery code.
pub(super) fn is_recovery_code(code: &Secret) -> bool {
    recovery_codes::is_code(code)
}

/// Checks the code of a user's software token, or a recovery code in the place of `factor`, and
/// uses it up.
pub(super) async fn check_token_code(
    (store, ring): (&Store, &KeyRing),
    (by, factor): (ByUser<'_>, Factor),
    code: &Secret,
    now: Timestamp,
) -> crate::store::Result<TokenCheck> {
    let user_no = by.user.no;
    let attempts = Attempts { store, account_no: attempts_no(ring, "token", user_no) };
    if !attempts.begin(now).await? {
        return Ok(TokenCheck::Locked);
    }
    let secret = match factor {
        Factor::SoftwareToken => store.token_secrets(user_no).await?.current,
        Factor::Email | Factor::Sms => None,
    };
    let step = secret.and_then(|secret| totp::step_of_code(&secret, code.expose().trim(), now));
    let hash = recovery_codes::hash(ring, user_no, code);
    let used = store.transaction(|tx| {
        Box::pin(async move {
            match (step, hash) {
                (Some(step), _) => Ok(Some(tx.use_token_step(user_no, step).await?)),
                (None, Some(hash)) => Ok(tx.use_recovery_code(user_no, &hash).await?.then_some(true)),
                (None, None) => Ok(None),
            }
        })
    });
    let check = match used.await? {
        Some(true) => TokenCheck::Right,
        Some(false) => TokenCheck::Used,
        None => TokenCheck::Wrong,
    };
    match check {
        TokenCheck::Right => {
            attempts.clear().await?;
            if step.is_none() {
                audit("recovery_code_used", by, Some(factor));
            }
        }
        // A repetition of a right code is no guess.
        TokenCheck::Used => attempts.withdraw(now).await?,
        TokenCheck::Wrong | TokenCheck::Locked => attempts.fail(now).await?,
    }
    Ok(check)
}

/// Checks that users of the pool can have the factor.
fn require(pool: &Pool, factor: Factor) -> Outcome<()> {
    let mfa = &pool.settings.mfa;
    match mfa.mode != MfaMode::Off && mfa.factors.contains(&factor) {
        true => Ok(()),
        false if factor == Factor::SoftwareToken => Err(ErrorKind::SoftwareTokenNotFound.into()),
        false => Err(invalid(format!("{} is not a second factor of the user pool.", factor.name()))),
    }
}

fn apply(
    factors: &mut UserFactors,
    (pool, user): (&Pool, &User),
    factor: Factor,
    change: FactorChange,
) -> Outcome<()> {
    if change.is_enabled == Some(true) {
        require(pool, factor)?;
        if !factors.can_use(user, factor) {
            let lacks = match factor.address() {
                None => "User has not verified software token mfa".to_owned(),
                Some(address) => format!("User does not have a verified {}", address.name()),
            };
            return Err(invalid(lacks));
        }
    }
    if let Some(is_enabled) = change.is_enabled {
        factors.set(factor, is_enabled);
    }
    match change.is_preferred {
        Some(true) if !factors.enabled.contains(&factor) => {
            return Err(invalid(format!("{} is not enabled, and cannot be preferred.", factor.name())));
        }
        Some(true) => factors.preferred = Some(factor),
        Some(false) if factors.preferred == Some(factor) => factors.preferred = None,
        _ => {}
    }
    Ok(())
}

fn invalid(message: String) -> DirectoryError {
    DirectoryError::new(ErrorKind::InvalidParameter, message)
}

/// Returns the number under which wrong codes of a user's tokens are counted, negative as that of a
/// name without a user.
fn attempts_no(ring: &KeyRing, of: &str, user_no: i64) -> i64 {
    negative_no(ring, format!("wrong codes, {of} of {user_no}").as_bytes())
}

fn audit(change: &str, by: ByUser<'_>, factor: Option<Factor>) {
    let (sub, pool, factor) = (&*by.user.id, &*by.user.pool_id, factor.map(Factor::name));
    let client_id = by.client_id;
    tracing::info!(target: "audit", event = "account_changed", change, sub, pool, client_id, factor);
}
