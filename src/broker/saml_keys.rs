//! Narthex's SAML keys in the database: created at first use, read at intervals by every node, and
//! deleted after their end.

use crate::base::{Clock, Duration, Entropy, Timestamp, metrics, uuid};
use crate::model::{KeyPhase, KeySchedule};
use crate::provider::saml::{KeyError, OwnKeys, ScheduledKey, ServiceProviderKey};
use crate::store::{Store, StoreError, StoredCertificate, StoredKey};
use prometheus::IntGauge;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use thiserror::Error;
use tokio::sync::{Mutex, OnceCell};

/// The purpose of SAML keys in the database.
pub(super) const PURPOSE: &str = "saml";
/// Time before the expiry of a signing certificate at which warnings begin. It is longer than a
/// rotation.
pub const CERTIFICATE_WARNING: Duration = Duration::from_secs(60 * 86400);

static EXPIRES_IN: LazyLock<IntGauge> = LazyLock::new(|| metrics::SAML_CERTIFICATE_EXPIRY.gauge());

/// The reason that no SAML key is available.
#[derive(Debug, Error)]
pub enum SamlKeyError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key could not be created or read.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Returns a warning if a signing certificate has expired, or expires within 60 days.
pub fn expiry_warning(expires_at: Timestamp, now: Timestamp) -> Option<String> {
    const HELP: &str = "help: run `narthex saml rotate`";
    let days = expires_at.since(now).as_secs() / 86400;
    match () {
        () if now >= expires_at => Some(format!("our SAML certificate has expired; {HELP}")),
        () if now.plus(CERTIFICATE_WARNING) >= expires_at => {
            Some(format!("our SAML certificate expires in {days} day(s); {HELP}"))
        }
        () => None,
    }
}

/// This node's copy of the SAML keys.
pub(super) struct SamlKeys {
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Empty until a SAML provider is configured.
    keys: OnceCell<Arc<OwnKeys>>,
    /// The phase of each key at the last refresh.
    phases: Mutex<HashMap<String, KeyPhase>>,
}

impl SamlKeys {
    pub(super) fn new(store: Store, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, clock, entropy, keys: OnceCell::new(), phases: Mutex::default() }
    }

    /// Returns the keys. Creates the first key if there is none.
    ///
    /// # Errors
    /// Returns an error if the database fails, or a key cannot be created or read.
    pub(super) async fn get(&self) -> Result<Arc<OwnKeys>, SamlKeyError> {
        let opened = self.keys.get_or_try_init(|| async {
            ensure_first(&self.store, self.clock.now(), &*self.entropy).await?;
            let keys = Arc::new(OwnKeys::default());
            self.read_into(&keys).await?;
            self.report_phases(&keys, true).await;
            Ok(keys)
        });
        opened.await.cloned()
    }

    /// Reads the keys again and reports their phases. If `deletes`, deletes keys past their removal
    /// time; `deletes` must be false after a jump of the clock.
    ///
    /// # Errors
    /// Returns an error if the database fails or a key cannot be read. The keys in memory then
    /// remain.
    pub(super) async fn refresh(&self, deletes: bool) -> Result<(), SamlKeyError> {
        let Some(keys) = self.keys.get() else { return Ok(()) };
        self.read_into(keys).await?;
        self.report_phases(keys, false).await;
        if deletes && keys.phases(self.clock.now()).iter().any(|(_, phase)| *phase == KeyPhase::Removed) {
            // A deleted key cannot be restored, so use the earlier time of this node and the
            // database.
            let now = self.store.time().await?.min(self.clock.now());
            self.store
                .transaction(|tx| Box::pin(async move { tx.delete_removed_saml_keys(now).await }))
                .await?;
        }
        Ok(())
    }

    async fn read_into(&self, keys: &OwnKeys) -> Result<(), SamlKeyError> {
        let certificates = self.store.saml_certificates().await?;
        let known = keys.all();
        let known = |kid: &str| known.iter().find(|key| key.kid == kid).map(|key| key.key.clone());
        let mut read: Vec<ScheduledKey> = Vec::new();
        // Decrypt private keys only if a key is new.
        let is_known = certificates.iter().all(|stored| known(&stored.kid).is_some());
        let private = if is_known { Vec::new() } else { self.store.signing_keys(PURPOSE).await? };
        for StoredCertificate { kid, certificate, schedule } in certificates {
            let key = match (known(&kid), private.iter().find(|key| key.kid == kid)) {
                (Some(key), _) => key,
                (None, Some(stored)) => Arc::new(ServiceProviderKey::read(&stored.private_key, certificate)?),
                // The key was deleted between the two reads.
                (None, None) => continue,
            };
            read.push(ScheduledKey { kid, key, schedule });
        }
        keys.replace(read);
        Ok(())
    }

    /// Logs each key whose phase has changed, and sets the metric of the certificate's expiry.
    async fn report_phases(&self, keys: &OwnKeys, is_start: bool) {
        let now = self.clock.now();
        let mut before = self.phases.lock().await;
        let mut phases = HashMap::new();
        for (key, phase) in keys.phases(now) {
            let expires_at = key.key.expires_at();
            if phase == KeyPhase::Signing {
                EXPIRES_IN.set((expires_at.millis() - now.millis()) / 1000);
            }
            let is_new = before.get(&key.kid) != Some(&phase);
            phases.insert(key.kid.clone(), phase);
            if is_new {
                report_phase(&key, phase, is_start);
            }
        }
        // Another node may have deleted a key before this one saw its end.
        for (kid, _) in
            before.iter().filter(|(kid, phase)| **phase != KeyPhase::Removed && !phases.contains_key(*kid))
        {
            let phase = KeyPhase::Removed.name();
            tracing::info!(target: "audit", event = "saml_key_phase", kid, phase, "SAML key `{kid}` is removed");
        }
        *before = phases;
    }

    /// Logs a warning if the signing certificate has expired or expires soon.
    pub(super) fn warn_of_expiry(&self) {
        let (now, Some(keys)) = (self.clock.now(), self.keys.get()) else { return };
        let warning = keys.signing(now).ok().and_then(|key| expiry_warning(key.expires_at(), now));
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
    }
}

/// Logs the phase of a key. A change of phase is an audit event; the phase at the start is not.
fn report_phase(key: &ScheduledKey, phase: KeyPhase, is_start: bool) {
    let (kid, phase) = (&key.kid, phase.name());
    let (signs_from, removed_at) = (utc(key.schedule.signs_from), utc(key.schedule.removed_at));
    let expires_at = utc(key.key.expires_at());
    match is_start {
        true => {
            tracing::info!(kid, phase, signs_from, removed_at, expires_at, "SAML key `{kid}` is `{phase}`")
        }
        false => tracing::info!(
            target: "audit",
            event = "saml_key_phase",
            kid,
            phase,
            signs_from,
            removed_at,
            expires_at,
            "SAML key `{kid}` is now `{phase}`"
        ),
    }
}

/// Formats a time as `YYYY-MM-DDThh:mm:ssZ`, or `never` if it is out of range, as
/// [`Timestamp::NEVER`] is.
pub fn utc(at: Timestamp) -> String {
    match chrono::DateTime::from_timestamp(at.seconds(), 0) {
        Some(at) => at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        None => "never".to_owned(),
    }
}

/// Creates the first key if there is none, and the certificate of each key without one.
pub(super) async fn ensure_first(
    store: &Store,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<(), SamlKeyError> {
    let mut keys = store.signing_keys(PURPOSE).await?;
    if keys.is_empty() {
        let key = StoredKey {
            purpose: PURPOSE.to_owned(),
            generation: 1,
            kid: uuid(entropy),
            algorithm: "RS256".to_owned(),
            private_key: ServiceProviderKey::generate()?,
            created_at: now,
        };
        // Another node may have stored its key first. That key is then used.
        store.add_signing_key(&key, entropy).await?;
        keys = store.signing_keys(PURPOSE).await?;
    }
    let known = store.saml_certificates().await?;
    for key in keys.iter().filter(|key| known.iter().all(|known| known.kid != key.kid)) {
        let certificate = StoredCertificate {
            kid: key.kid.clone(),
            certificate: ServiceProviderKey::self_signed(&key.private_key, key.created_at)?,
            schedule: KeySchedule { signs_from: key.created_at, removed_at: Timestamp::NEVER },
        };
        let certificate = &certificate;
        store
            .transaction(|tx| {
                Box::pin(async move {
                    // A concurrent rotation may have stored the certificate with other times.
                    let known = tx.saml_certificates().await?;
                    match known.iter().any(|known| known.kid == certificate.kid) {
                        true => Ok(()),
                        false => tx.save_saml_certificate(certificate).await,
                    }
                })
            })
            .await?;
    }
    Ok(())
}
