//! Which access tokens of the user pool were revoked (RFC 7009), as far as this node has heard.

use crate::base::{Clock, Duration, Timestamp};
use crate::store::{Change, Result, SILENCE, Store};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// How long a revoked token is remembered whose end is not known: longer than any counts.
const LONGEST: Duration = Duration::from_secs(2 * 86400);

/// Revoked tokens.
pub struct Revocations {
    store: Store,
    clock: Arc<dyn Clock>,
    /// By `jti`, with the moment from which they need not be remembered. Most deployments have none: then a token is
    /// judged without looking for it.
    known: ArcSwap<HashMap<String, Timestamp>>,
    heard_at: AtomicI64,
}

/// Why it is not known to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCounted {
    /// It was revoked.
    Revoked,
    /// The store was silent for so long that it may have been.
    Unheard,
}

impl Revocations {
    /// Reads what was revoked before.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn open(store: Store, clock: Arc<dyn Clock>) -> Result<Self> {
        let now = clock.now();
        let known = store.revoked_tokens(now).await?.into_iter().collect();
        let heard_at = AtomicI64::new(now.millis());
        Ok(Self { store, clock, known: ArcSwap::from_pointee(known), heard_at })
    }

    /// Whether the token with this `jti` still counts.
    ///
    /// # Errors
    /// Why that is not known, or not so.
    pub fn judge(&self, jti: &str, now: Timestamp) -> std::result::Result<(), NotCounted> {
        let known = self.known.load();
        if !known.is_empty() && known.contains_key(jti) {
            return Err(NotCounted::Revoked);
        }
        match now.millis() > self.heard_at.load(Ordering::Acquire) + SILENCE.as_millis() as i64 {
            true => Err(NotCounted::Unheard),
            false => Ok(()),
        }
    }

    /// Takes over what `changes` speak of; `at` is the moment before which everything has been heard of then.
    ///
    /// # Errors
    /// Where the store is needed and does not answer: then nothing counts as heard.
    pub async fn hear(&self, changes: &[Change], at: Timestamp) -> Result<()> {
        let now = self.clock.now();
        let revoked: Vec<_> = if changes.contains(&Change::Everything) {
            self.store.revoked_tokens(now).await?
        } else {
            let token = |change: &Change| match change {
                Change::Token(jti) => Some((jti.clone(), now.plus(LONGEST))),
                _ => None,
            };
            changes.iter().filter_map(token).collect()
        };
        if !revoked.is_empty() {
            // All that came at once is one new map: a second of mass revocation costs one copy.
            let known = self.known.load();
            let still = known.iter().filter(|(_, over)| **over > now);
            let mut next: HashMap<_, _> = still.map(|(jti, over)| (jti.clone(), *over)).collect();
            next.extend(revoked);
            self.known.store(Arc::new(next));
        }
        self.heard_at.fetch_max(at.millis(), Ordering::AcqRel);
        Ok(())
    }
}
