//! Rotation of Narthex's SAML key: the next certificate is published, then its key signs, then the
//! old key is removed. Commands write the times to the database, and every node applies them.

use super::saml_keys::{PURPOSE, SamlKeyError, ensure_first};
use crate::base::{Duration, Entropy, Timestamp, uuid};
use crate::model::{KeyPhase, KeySchedule};
use crate::provider::saml::{KeyFiles, ServiceProviderKey};
use crate::store::{Store, StoreError, StoredCertificate, StoredKey, Tx};
use thiserror::Error;

/// The durations of a rotation.
#[derive(Clone, Copy, Debug)]
pub struct RotationTimes {
    /// Time from the publication of the next certificate until its key signs.
    pub sign_after: Duration,
    /// Time after that in which the old key still decrypts.
    pub keep: Duration,
}

/// The reason that a rotation is not possible.
#[derive(Debug, Error)]
pub enum RotationError {
    /// The keys could not be read or created.
    #[error(transparent)]
    Keys(SamlKeyError),
    /// A rotation is in progress; its next key signs from this time.
    #[error(
        "a rotation has begun, and its key signs from {}; help: change its times with `narthex saml reschedule`",
        super::saml_keys::utc(*.0)
    )]
    UnderWay(Timestamp),
    /// No rotation is in progress.
    #[error("no rotation has begun; help: begin one with `narthex saml rotate`")]
    NotBegun,
}

impl<E: Into<SamlKeyError>> From<E> for RotationError {
    fn from(error: E) -> Self {
        Self::Keys(error.into())
    }
}

fn phases(keys: &[StoredCertificate], now: Timestamp) -> Vec<KeyPhase> {
    KeySchedule::phases(&keys.iter().map(|key| key.schedule).collect::<Vec<_>>(), now)
}

fn in_phase(keys: &[StoredCertificate], now: Timestamp, wanted: KeyPhase) -> Vec<StoredCertificate> {
    let with_phases = keys.iter().zip(phases(keys, now));
    with_phases.filter(|(_, phase)| *phase == wanted).map(|(key, _)| key.clone()).collect()
}

/// Starts a rotation to the key of `files`, or to a generated one.
///
/// # Errors
/// Returns an error if a rotation is in progress, a key cannot be created, or the database fails.
pub async fn rotate(
    store: &Store,
    files: Option<KeyFiles>,
    times: RotationTimes,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<(), RotationError> {
    ensure_first(store, now, entropy).await?;
    let signs_from = now.plus(times.sign_after);
    let (private_key, certificate) = match files {
        Some(KeyFiles { private_key, certificate }) => (private_key, certificate),
        None => {
            let private_key = ServiceProviderKey::generate()?;
            let certificate = ServiceProviderKey::self_signed(&private_key, now)?;
            (private_key, certificate)
        }
    };
    let (kid, newest) = (uuid(entropy), store.signing_keys(PURPOSE).await?);
    let key = StoredKey {
        purpose: PURPOSE.to_owned(),
        generation: newest.last().map_or(1, |key| key.generation + 1),
        kid: kid.clone(),
        algorithm: "RS256".to_owned(),
        private_key,
        created_at: now,
    };
    let schedule = KeySchedule { signs_from, removed_at: Timestamp::NEVER };
    let next = StoredCertificate { kid, certificate, schedule };
    let (key, next) = (&key, &next);
    let under_way = store
        .transaction(|tx| {
            Box::pin(async move {
                let keys = tx.saml_certificates().await?;
                if let Some(pending) = in_phase(&keys, now, KeyPhase::Next).first() {
                    return Ok(Some(pending.schedule.signs_from));
                }
                replace(tx, &keys, signs_from.plus(times.keep), now).await?;
                tx.add_signing_key(key, entropy).await?;
                tx.save_saml_certificate(next).await?;
                Ok(None)
            })
        })
        .await?;
    under_way.map_or(Ok(()), |at| Err(RotationError::UnderWay(at)))
}

/// Schedules the removal of the key that signs at `now`.
async fn replace(
    tx: &mut Tx<'_>,
    keys: &[StoredCertificate],
    removed_at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    for mut current in in_phase(keys, now, KeyPhase::Signing) {
        current.schedule.removed_at = removed_at;
        tx.save_saml_certificate(&current).await?;
    }
    Ok(())
}

/// Changes the times of a rotation in progress: `sign_after` from now until the next key signs, and
/// `keep` thereafter until old keys are removed.
///
/// # Errors
/// Returns an error if no rotation is in progress, or the database fails.
pub async fn reschedule(
    store: &Store,
    sign_after: Option<Duration>,
    keep: Option<Duration>,
    now: Timestamp,
) -> Result<(), RotationError> {
    let is_begun = store
        .transaction(|tx| {
            Box::pin(async move {
                let keys = tx.saml_certificates().await?;
                let (signing, next) =
                    (in_phase(&keys, now, KeyPhase::Signing), in_phase(&keys, now, KeyPhase::Next));
                if let (Some(current), Some(mut next)) = (signing.first(), next.into_iter().next()) {
                    let kept = current.schedule.removed_at.since(next.schedule.signs_from);
                    if let Some(sign_after) = sign_after {
                        next.schedule.signs_from = now.plus(sign_after);
                    }
                    let removed_at = next.schedule.signs_from.plus(keep.unwrap_or(kept));
                    replace(tx, &keys, removed_at, now).await?;
                    tx.save_saml_certificate(&next).await?;
                    return Ok(true);
                }
                // The new key already signs, so only the removal of old keys can change.
                let (retired, Some(keep), None) = (in_phase(&keys, now, KeyPhase::Retired), keep, sign_after)
                else {
                    return Ok(false);
                };
                let Some(current) = signing.first().filter(|_| !retired.is_empty()) else { return Ok(false) };
                for mut old in retired {
                    old.schedule.removed_at = current.schedule.signs_from.plus(keep);
                    tx.save_saml_certificate(&old).await?;
                }
                Ok(true)
            })
        })
        .await?;
    if is_begun { Ok(()) } else { Err(RotationError::NotBegun) }
}
