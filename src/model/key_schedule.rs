//! The schedule of a SAML key. The phase of a key depends only on the schedules, so that all nodes
//! agree on it.

use crate::base::Timestamp;

/// The times at which a key begins to sign and is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySchedule {
    /// When the key begins to sign.
    pub signs_from: Timestamp,
    /// When the key stops decrypting; [`Timestamp::NEVER`] if no key replaces it.
    pub removed_at: Timestamp,
}

/// The current use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyPhase {
    /// Published in the metadata and used for decryption, but not yet for signing.
    Next,
    /// Published, and used for signing and decryption.
    Signing,
    /// Used for decryption only.
    Retired,
    /// No longer used.
    Removed,
}

impl KeyPhase {
    /// Returns the phase's name in logs and commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signing => "signing",
            Self::Retired => "retired",
            Self::Removed => "removed",
        }
    }
}

impl KeySchedule {
    /// Returns the phase of each key at `now`. Exactly one key signs, unless all are removed.
    pub fn phases(schedules: &[Self], now: Timestamp) -> Vec<KeyPhase> {
        let usable = || schedules.iter().enumerate().filter(|(_, key)| now < key.removed_at);
        let begun = usable().filter(|(_, key)| key.signs_from <= now).max_by_key(|(_, key)| key.signs_from);
        // The first key may have been created by a node whose clock is ahead.
        let signing = begun.or_else(|| usable().min_by_key(|(_, key)| key.signs_from)).map(|(at, _)| at);
        let phase = |(at, key): (usize, &Self)| match () {
            () if now >= key.removed_at => KeyPhase::Removed,
            () if signing == Some(at) => KeyPhase::Signing,
            () if key.signs_from > now => KeyPhase::Next,
            () => KeyPhase::Retired,
        };
        schedules.iter().enumerate().map(phase).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_published_then_signs_then_decrypts_only_and_is_removed_at_its_times() {
        let at = Timestamp::from_seconds;
        let keys = [
            KeySchedule { signs_from: at(100), removed_at: at(300) },
            KeySchedule { signs_from: at(200), removed_at: Timestamp::NEVER },
        ];
        use KeyPhase::{Next, Removed, Retired, Signing};
        for (now, phases) in [
            (99, [Signing, Next]),
            (100, [Signing, Next]),
            (199, [Signing, Next]),
            (200, [Retired, Signing]),
            (299, [Retired, Signing]),
            (300, [Removed, Signing]),
        ] {
            assert_eq!(KeySchedule::phases(&keys, at(now)), phases, "{now}");
        }
    }
}
