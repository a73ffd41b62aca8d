//! Second factors of users: software tokens, codes in messages, recovery codes.
//!
//! The state machine of sign-in decides when one is asked for. This module sets factors up, and
//! checks the codes of software tokens and recovery codes.

mod recovery_codes;
mod totp;

use super::error::{DirectoryError, ErrorKind, Outcome, TOO_MANY_ATTEMPTS};
use super::password_attempts::{Attempts, negative_no};
use super::service::DirectoryDeps;
use crate::base::{Clock, Entropy, KeyRing, Secret, Timestamp};
use crate::model::{Factor, MfaMode, Pool, User, UserFactors};
use crate::store::{CheckedWork, Store};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Sets up the second factors of users.
pub struct FactorService {
    store: Store,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// The secret of a new software token.
pub struct NewToken {
    /// In base32.
    pub secret: Secret,
    /// The address for the QR code.
    pub uri: Secret,
}

impl NewToken {
    fn new(pool: &Pool, user: &User, secret: &[u8]) -> Self {
        let secret = totp::base32(secret);
        let uri = totp::uri(&secret, &pool.settings.name, user.email().unwrap_or(&user.username));
        Self { secret, uri }
    }
}

/// A change of a user's factors; `None` leaves a setting as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FactorChange {
    /// Whether the factor is turned on.
    pub is_enabled: Option<bool>,
    /// Whether it is asked for without a choice.
    pub is_preferred: Option<bool>,
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

    /// Creates a software token for a user. It is not used before its first code is right; an
    /// existing token stays until then.
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

    /// Returns the software token whose first code is awaited.
    ///
    /// # Errors
    /// Returns `SoftwareTokenMFANotFoundException` if none is.
    pub async fn pending_token(&self, pool: &Pool, user: &User) -> Outcome<NewToken> {
        let pending = self.store.token_secrets(user.no).await?.pending;
        let secret = pending.ok_or(ErrorKind::SoftwareTokenNotFound)?;
        Ok(NewToken::new(pool, user, &secret))
    }

    /// Takes the new software token into use, if `code` is its code of now. It replaces an existing
    /// one. With `turns_on` it is asked for from the next sign-in on.
    ///
    /// # Errors
    /// Returns `EnableSoftwareTokenMFAException` for a wrong code, `NotAuthorizedException` after
    /// too many of them, or `SoftwareTokenMFANotFoundException` if no token waits.
    pub async fn confirm_token(
        &self,
        pool: &Pool,
        user: &User,
        code: &Secret,
        turns_on: bool,
    ) -> Outcome<()> {
        require(pool, Factor::SoftwareToken)?;
        let now = self.clock.now();
        let pending = self.store.token_secrets(user.no).await?.pending;
        let secret = pending.ok_or(ErrorKind::SoftwareTokenNotFound)?;
        let attempts = Attempts { store: &self.store, account_no: attempts_no(&self.ring, user.no) };
        if !attempts.begin(now).await? {
            return Err(DirectoryError::new(ErrorKind::NotAuthorized, TOO_MANY_ATTEMPTS));
        }
        let Some(step) = totp::step_of_code(&secret, code.expose().trim(), now) else {
            attempts.fail(now).await?;
            return Err(ErrorKind::TokenCodeMismatch.into());
        };
        attempts.clear().await?;
        let (secret, entropy) = (&secret, &*self.entropy);
        let set = self.store.transaction(|tx| {
            Box::pin(async move {
                tx.set_token(user.no, (secret, step), entropy).await?;
                if turns_on {
                    let mut factors = tx.factors(user.no).await?;
                    factors.set(Factor::SoftwareToken, true);
                    tx.set_enabled_factors(user.no, &factors).await?;
                }
                Ok(())
            })
        });
        set.await?;
        audit("factor_added", user, Factor::SoftwareToken);
        Ok(())
    }

    /// Changes which factors a user has turned on, and the preferred one.
    ///
    /// # Errors
    /// Returns `InvalidParameterException` if the user or the pool lacks a factor that is turned
    /// on, or if two are preferred.
    pub async fn change(&self, pool: &Pool, user: &User, changes: &[(Factor, FactorChange)]) -> Outcome<()> {
        let set = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let mut factors = tx.factors(user.no).await?;
                for (factor, change) in changes {
                    apply(&mut factors, (pool, user), *factor, *change)?;
                }
                Ok(tx.set_enabled_factors(user.no, &factors).await?)
            })
        });
        set.await?;
        for (factor, change) in changes.iter().filter(|(_, change)| change.is_enabled.is_some()) {
            let event = if change.is_enabled == Some(true) { "factor_enabled" } else { "factor_disabled" };
            audit(event, user, *factor);
        }
        Ok(())
    }

    /// Removes the software token of a user, and turns it off.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_token(&self, user: &User) -> Outcome<()> {
        let removed = self.store.transaction(|tx| {
            Box::pin(async move {
                let mut factors = tx.factors(user.no).await?;
                factors.set(Factor::SoftwareToken, false);
                tx.set_enabled_factors(user.no, &factors).await?;
                tx.remove_token(user.no).await
            })
        });
        removed.await?;
        audit("factor_removed", user, Factor::SoftwareToken);
        Ok(())
    }

    /// Removes every second factor of a user, and the recovery codes.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_all(&self, user: &User) -> Outcome<()> {
        let removed = self.store.transaction(|tx| Box::pin(async move { tx.remove_factors(user.no).await }));
        removed.await?;
        let (sub, pool) = (&*user.id, &*user.pool_id);
        tracing::info!(target: "audit", event = "account_changed", change = "factors_removed", sub, pool);
        Ok(())
    }

    /// Creates a set of recovery codes in place of the earlier one. They are shown once.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn new_recovery_codes(&self, user: &User) -> Outcome<Vec<Secret>> {
        let codes = recovery_codes::new_codes(&*self.entropy);
        let hash = |code| recovery_codes::hash(&self.ring, user.no, code);
        let hashes: Vec<_> = codes.iter().filter_map(hash).collect();
        let hashes = &hashes[..];
        let set = self
            .store
            .transaction(|tx| Box::pin(async move { tx.set_recovery_codes(user.no, hashes).await }));
        set.await?;
        let (sub, pool) = (&*user.id, &*user.pool_id);
        tracing::info!(target: "audit", event = "account_changed", change = "recovery_codes_created", sub, pool);
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
    (user_no, factor): (i64, Factor),
    code: &Secret,
    now: Timestamp,
) -> crate::store::Result<TokenCheck> {
    let attempts = Attempts { store, account_no: attempts_no(ring, user_no) };
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
        TokenCheck::Right => attempts.clear().await?,
        _ => attempts.fail(now).await?,
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

/// Returns the number under which wrong codes of a user's token are counted, negative as that of a
/// name without a user.
fn attempts_no(ring: &KeyRing, user_no: i64) -> i64 {
    negative_no(ring, format!("wrong codes of the token of {user_no}").as_bytes())
}

fn audit(change: &str, user: &User, factor: Factor) {
    let (sub, pool, factor) = (&*user.id, &*user.pool_id, factor.name());
    tracing::info!(target: "audit", event = "account_changed", change, sub, pool, factor);
}
