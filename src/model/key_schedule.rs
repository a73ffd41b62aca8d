//! The times of a SAML key. The phase of each key follows from these times alone, so that all nodes
//! agree on it.

use crate::base::Timestamp;

/// When a key begins to sign, and when it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySchedule {
    /// When it begins to sign.
    pub signs_from: Timestamp,
    /// When it no longer decrypts; [`Timestamp::NEVER`] where no key replaces it.
    pub removed_at: Timestamp,
}

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyPhase {
    /// Published in the metadata and decrypting, before it signs.
    Next,
    /// Signing, published and decrypting.
    Signing,
    /// Decrypting only.
    Retired,
    /// Not used any more.
    Removed,
}

impl KeyPhase {
    /// The phase's name in logs and commands.
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
    /// Returns the phase of each key at `now`. One key signs at any time.
    pub fn phases(schedules: &[Self], now: Timestamp) -> Vec<KeyPhase> {
        let usable = || schedules.iter().enumerate().filter(|(_, key)| now < key.removed_at);
        let begun = usable().filter(|(_, key)| key.signs_from <= now).max_by_key(|(_, key)| key.signs_from);
        // The first key may have been made by a node whose clock is ahead.
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
