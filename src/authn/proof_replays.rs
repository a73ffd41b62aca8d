//! DPoP proofs that this node has accepted at app hosts.

use crate::base::MonotonicTime;
use crate::token::{PROOF_RETENTION, ProofError};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Maximum number of proofs in memory, about 40 MB. More than eight thousand new ones per second
/// are refused.
const MAX_PROOFS: usize = 1 << 20;

/// A memory of used proofs. Another node accepts the same proof once more, for the same request
/// with the same token: a write to the database for each request would cost more than that.
#[derive(Default)]
pub struct ProofReplays(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    current: HashSet<u128>,
    /// The proofs of the period before, which may still be valid.
    earlier: HashSet<u128>,
    /// When the current period began.
    since: Option<MonotonicTime>,
}

impl ProofReplays {
    /// Records the use of the proof with the digest `id`.
    ///
    /// # Errors
    /// Returns an error if it was used before, or too many proofs were used.
    pub fn use_once(&self, id: &[u8; 32], now: MonotonicTime) -> Result<(), ProofError> {
        let [high @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *id;
        let id = u128::from_be_bytes(high);
        // The data behind this lock is consistent after every statement, so poisoning can be
        // ignored.
        let mut of = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.since(*of.since.get_or_insert(now));
        if age >= PROOF_RETENTION {
            let current = std::mem::take(&mut of.current);
            of.earlier = if age < PROOF_RETENTION * 2 { current } else { HashSet::new() };
            of.since = Some(now);
        }
        if of.earlier.contains(&id) || of.current.contains(&id) {
            return Err(ProofError("it was used before"));
        }
        if of.current.len() + of.earlier.len() >= MAX_PROOFS {
            return Err(ProofError("too many proofs were used in the last minutes"));
        }
        of.current.insert(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Duration;

    #[test]
    fn a_proof_is_used_once_while_it_is_valid() {
        let used = ProofReplays::default();
        let at = |seconds: u64| MonotonicTime::from_millis(0).plus(Duration::from_secs(seconds));
        let mut id = [0; 32];
        for start in [0, 119, 240, 700] {
            id[0] += 1;
            for (after, is_used) in [(0, false), (0, true), (60, true), (119, true)] {
                assert_eq!(used.use_once(&id, at(start + after)).is_err(), is_used, "{start} {after}");
            }
        }
        // The first one was forgotten after its validity.
        assert!(used.use_once(&[0; 32], at(1000)).is_ok());
        id[0] = 1;
        assert!(used.use_once(&id, at(1000)).is_ok());
    }
}
