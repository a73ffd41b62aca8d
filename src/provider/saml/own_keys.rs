//! All SAML keys of our own. Which one signs follows from the time, so that all nodes switch
//! together.

use super::key::{KeyError, ServiceProviderKey};
use crate::base::Timestamp;
use crate::model::{KeyPhase, KeySchedule};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// A key with its id and its times.
#[derive(Clone)]
pub struct ScheduledKey {
    /// The key's id.
    pub kid: String,
    /// The key with its certificate.
    pub key: Arc<ServiceProviderKey>,
    /// The key's times.
    pub schedule: KeySchedule,
}

/// The keys of this service provider, replaced as a whole when the store has other ones.
#[derive(Default)]
pub struct OwnKeys(ArcSwap<Vec<ScheduledKey>>);

impl OwnKeys {
    /// A set with this one key, which signs.
    pub fn of_one(key: ServiceProviderKey) -> Self {
        let schedule = KeySchedule { signs_from: Timestamp::from_seconds(0), removed_at: Timestamp::NEVER };
        let key = ScheduledKey { kid: String::new(), key: Arc::new(key), schedule };
        Self(ArcSwap::from_pointee(vec![key]))
    }

    /// Replaces the keys.
    pub fn replace(&self, keys: Vec<ScheduledKey>) {
        self.0.store(Arc::new(keys));
    }

    /// Returns the keys, whatever their phase.
    pub fn all(&self) -> Arc<Vec<ScheduledKey>> {
        self.0.load_full()
    }

    /// Returns each key with its phase at `now`.
    pub fn phases(&self, now: Timestamp) -> Vec<(ScheduledKey, KeyPhase)> {
        let keys = self.0.load();
        let schedules: Vec<_> = keys.iter().map(|key| key.schedule).collect();
        keys.iter().cloned().zip(KeySchedule::phases(&schedules, now)).collect()
    }

    fn in_phase(&self, now: Timestamp, phase: KeyPhase) -> impl Iterator<Item = Arc<ServiceProviderKey>> {
        self.phases(now).into_iter().filter(move |(_, its)| *its == phase).map(|(key, _)| key.key)
    }

    /// Returns the key that signs at `now`.
    ///
    /// # Errors
    /// Where every key is removed.
    pub fn signing(&self, now: Timestamp) -> Result<Arc<ServiceProviderKey>, KeyError> {
        let none = "no key for SAML is left; help: run `narthex saml rotate`";
        self.in_phase(now, KeyPhase::Signing).next().ok_or_else(|| KeyError::new(none))
    }

    /// Returns the keys whose certificates the metadata publishes at `now`: the signing key, and
    /// the next one.
    ///
    /// A retired key decrypts, and is not published: a provider that reads the metadata then must
    /// encrypt for a key that stays.
    ///
    /// # Errors
    /// Where every key is removed.
    pub fn published(&self, now: Timestamp) -> Result<Vec<Arc<ServiceProviderKey>>, KeyError> {
        Ok([self.signing(now)?].into_iter().chain(self.in_phase(now, KeyPhase::Next)).collect())
    }

    /// Returns the keys that decrypt at `now`, the signing one first.
    pub fn decrypting(&self, now: Timestamp) -> Vec<Arc<ServiceProviderKey>> {
        let usable = [KeyPhase::Signing, KeyPhase::Next, KeyPhase::Retired];
        usable.into_iter().flat_map(|phase| self.in_phase(now, phase)).collect()
    }
}
