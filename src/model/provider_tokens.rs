//! A session's tokens from its identity provider, and the times of their renewal.

use crate::base::{Duration, Secret, Timestamp};

/// How long before their expiry tokens are renewed, so that requests need not wait for the renewal.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// How long a session stays valid after its tokens expire while the provider is unavailable. The
/// time starts with the first failed call, if that is later: an idle session makes no calls.
const OUTAGE_GRACE: Duration = Duration::from_secs(3600);

/// How far the clock of the node that stored a time may be ahead.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// A provider's tokens (RFC 6749, section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderTokens {
    /// The access token for the provider's APIs. It is empty and expired for SAML, which has none.
    pub access_token: Secret,
    /// The refresh token. Many providers issue one only for the scope `offline_access`.
    pub refresh_token: Option<Secret>,
    /// The ID token, which identifies the provider's session in a logout request.
    pub id_token: Option<Secret>,
    /// The name id and session index for a SAML logout request (SAML core, section 3.7.1).
    pub name_id: Option<Secret>,
    /// When the access token expires.
    pub expires_at: Timestamp,
}

impl ProviderTokens {
    /// Returns the tokens of a SAML sign-in at `now`, which only contain the name id.
    pub fn of_assertion(name_id: Secret, now: Timestamp) -> Self {
        Self {
            access_token: Secret::new(""),
            refresh_token: None,
            id_token: None,
            name_id: Some(name_id),
            expires_at: now,
        }
    }

    /// Returns when tokens that were issued at `now` should be renewed; [`Timestamp::NEVER`]
    /// without a refresh token.
    pub fn due_at(&self, now: Timestamp) -> Timestamp {
        match self.refresh_token {
            Some(_) => self.expires_at.minus(RENEW_BEFORE.min(self.expires_at.since(now) / 4)),
            None => Timestamp::NEVER,
        }
    }
}

/// The times that determine the renewal of a session's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewalTimes {
    /// When the next renewal is due.
    pub due_at: Timestamp,
    /// When the access token expires.
    pub expires_at: Timestamp,
    /// The time until which the provider's last complete response about the user is valid: the
    /// expiry of the access token that was issued with it. New tokens without such a response do
    /// not change it.
    pub confirmed_until: Timestamp,
    /// The time since when the provider has not confirmed the user; [`Timestamp::NEVER`] if the
    /// last renewal confirmed the user.
    pub failing_since: Timestamp,
}

/// The state of a session with respect to its provider's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// No renewal is needed.
    Fresh,
    /// A renewal is due. Requests continue meanwhile.
    Due,
    /// The last confirmation of the user has expired, so that requests wait for the renewal.
    Expired,
    /// Renewals have failed for so long that the session must end.
    Lost,
}

impl RenewalTimes {
    /// Returns the times to use at `now`, if two renewals are at most `longest` apart. A time
    /// further ahead was stored by a node with a wrong clock, and is treated as due. Otherwise a
    /// rejection by the provider would go unnoticed until that time.
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

    /// Returns the state at `now`.
    pub fn freshness(&self, now: Timestamp) -> Freshness {
        match () {
            () if self.due_at == Timestamp::NEVER => Freshness::Fresh,
            () if now >= self.confirmed_until.max(self.failing_since).plus(OUTAGE_GRACE)
                && self.failing_since != Timestamp::NEVER =>
            {
                Freshness::Lost
            }
            // A failed renewal is retried later, because `due_at` was moved.
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
        // After a long pause the provider is asked, regardless of how late it is.
        assert_eq!(
            [stage(59), stage(60), stage(100), stage(9000)],
            [Freshness::Fresh, Freshness::Due, Freshness::Expired, Freshness::Expired]
        );
        let postponed = RenewalTimes { due_at: at(9130), failing_since: at(9100), ..times };
        assert_eq!(postponed.freshness(at(9120)), Freshness::Fresh);
        assert_eq!(postponed.freshness(at(9130)), Freshness::Expired);
        assert_eq!(postponed.freshness(at(12_700)), Freshness::Lost);
        // New access tokens without a confirmation of the user extend nothing.
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
