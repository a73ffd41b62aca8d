//! What a provider granted us beside the identity: its tokens, which belong to one session.

use crate::base::{Duration, Secret, Timestamp};

/// How long before their end tokens are renewed, so that requests need not wait for it.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// How long a session goes on after its tokens' end while the provider does not answer, counted
/// from when its first failed call: for an idle session there was no call.
const OUTAGE_GRACE: Duration = Duration::from_secs(3600);

/// How far the clock of the node that wrote a time may be ahead.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// A provider's tokens (RFC 6749, section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderTokens {
    /// Speaks for the person at the provider's APIs. SAML has none: it is empty then, and over.
    pub access_token: Secret,
    /// Gets new tokens; many providers give one only for the scope `offline_access`.
    pub refresh_token: Option<Secret>,
    /// Names the person's session there, when we ask to end it.
    pub id_token: Option<Secret>,
    /// Names the person and the session there in a SAML logout request (SAML core, section 3.7.1).
    pub name_id: Option<Secret>,
    /// When the access token ends.
    pub expires_at: Timestamp,
}

impl ProviderTokens {
    /// What an assertion that came at `now` leaves of itself.
    pub fn of_assertion(name_id: Secret, now: Timestamp) -> Self {
        Self {
            access_token: Secret::new(""),
            refresh_token: None,
            id_token: None,
            name_id: Some(name_id),
            expires_at: now,
        }
    }

    /// When tokens that were granted at `now` should be renewed; never where they cannot be.
    pub fn due_at(&self, now: Timestamp) -> Timestamp {
        match self.refresh_token {
            Some(_) => self.expires_at.minus(RENEW_BEFORE.min(self.expires_at.since(now) / 4)),
            None => Timestamp::NEVER,
        }
    }
}

/// When a session's tokens are to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewalTimes {
    /// From when on they should be.
    pub due_at: Timestamp,
    /// When the access token ends.
    pub expires_at: Timestamp,
    /// Until when the provider's last complete answer about the person is good: the end of the
    /// access token that came with it. New tokens without such an answer do not move it.
    pub confirmed_until: Timestamp,
    /// Since when the provider has not confirmed the person; never, where it did the last time.
    pub failing_since: Timestamp,
}

/// How a session stands with its provider's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing is to be done.
    Fresh,
    /// They should be renewed, and requests go on meanwhile.
    Due,
    /// They are over: what was known of the person is too old, so requests wait for the renewal.
    Expired,
    /// They have been over for so long that the session is, too.
    Lost,
}

impl RenewalTimes {
    /// The times as they are to be read at `now`, where two renewals are `longest` apart at most.
    /// One that lies further ahead was written by a clock that was wrong, and is due: otherwise a
    /// provider's refusal would go unnoticed for as long as that clock was ahead.
    pub fn corrected(self, now: Timestamp, longest: Duration) -> Self {
        let failing_since = match self.failing_since {
            Timestamp::NEVER => Timestamp::NEVER,
            at => at.min(now),
        };
        let latest_due = now.plus(longest).plus(MAX_SKEW);
        let confirmed_until = match self.confirmed_until {
            at if at <= latest_due.plus(RENEW_BEFORE) => at,
            _ => failing_since.min(now),
        };
        match self.due_at {
            Timestamp::NEVER => self,
            due_at if due_at <= latest_due => Self { confirmed_until, failing_since, ..self },
            _ => Self {
                due_at: now,
                expires_at: now,
                confirmed_until: confirmed_until.min(now),
                failing_since,
            },
        }
    }

    /// How things stand at `now`.
    pub fn freshness(&self, now: Timestamp) -> Freshness {
        match () {
            () if self.due_at == Timestamp::NEVER => Freshness::Fresh,
            () if now >= self.confirmed_until.max(self.failing_since).plus(OUTAGE_GRACE)
                && self.failing_since != Timestamp::NEVER =>
            {
                Freshness::Lost
            }
            // A renewal that failed is tried again later: `due_at` has moved on.
            () if now < self.due_at => Freshness::Fresh,
            () if now < self.confirmed_until => Freshness::Due,
            () => Freshness::Expired,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_before_their_end_and_given_up_long_after_it() {
        let at = Timestamp::from_seconds;
        let tokens = |refresh: bool, expires| ProviderTokens {
            access_token: Secret::new("a"),
            refresh_token: refresh.then(|| Secret::new("r")),
            id_token: None,
            name_id: None,
            expires_at: at(expires),
        };
        assert_eq!(tokens(true, 3600).due_at(at(0)), at(3540));
        assert_eq!(tokens(true, 8).due_at(at(0)), at(6));
        assert_eq!(tokens(false, 8).due_at(at(0)), Timestamp::NEVER);

        let times = RenewalTimes {
            due_at: at(60),
            expires_at: at(100),
            confirmed_until: at(100),
            failing_since: Timestamp::NEVER,
        };
        let stage = |now| times.freshness(at(now));
        // After a long pause the provider is asked, however late it is.
        assert_eq!(
            [stage(59), stage(60), stage(100), stage(9000)],
            [Freshness::Fresh, Freshness::Due, Freshness::Expired, Freshness::Expired]
        );
        let postponed = RenewalTimes { due_at: at(9130), failing_since: at(9100), ..times };
        assert_eq!(postponed.freshness(at(9120)), Freshness::Fresh);
        assert_eq!(postponed.freshness(at(9130)), Freshness::Expired);
        assert_eq!(postponed.freshness(at(12_700)), Freshness::Lost);
        // New access tokens without an answer about the person extend nothing.
        let granted = RenewalTimes { due_at: at(12_730), expires_at: at(16_300), ..postponed };
        assert_eq!(granted.freshness(at(12_699)), Freshness::Fresh);
        assert_eq!(granted.freshness(at(12_700)), Freshness::Lost);
        let never = RenewalTimes { due_at: Timestamp::NEVER, ..times };
        assert_eq!(never.freshness(at(9999)), Freshness::Fresh);
    }

    #[test]
    fn times_that_only_a_wrong_clock_can_have_written_are_due() {
        let at = Timestamp::from_seconds;
        let times = |due, failing_since| RenewalTimes {
            due_at: due,
            expires_at: at(20_000),
            confirmed_until: at(20_000),
            failing_since,
        };
        let hour = Duration::from_secs(3600);
        let good = RenewalTimes { confirmed_until: at(13_900), ..times(at(13_600), Timestamp::NEVER) };
        assert_eq!(good.corrected(at(10_000), hour), good);
        let never = times(Timestamp::NEVER, Timestamp::NEVER);
        assert_eq!(never.corrected(at(10_000), hour), never);
        let ahead = times(at(17_200), at(17_100)).corrected(at(10_000), hour);
        assert_eq!(ahead.freshness(at(10_000)), Freshness::Expired);
        assert_eq!(ahead.freshness(at(13_600)), Freshness::Lost, "an outage lasts no longer for it");
        let postponed = times(at(10_030), at(10_000)).corrected(at(10_000), hour);
        assert_eq!(postponed.freshness(at(13_600)), Freshness::Lost, "nor after a retry");
    }
}
