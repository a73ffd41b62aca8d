//! Limits on messages per user, client address and country code, shared by all nodes.

use super::Message;
use super::errors::EnqueueError;
use super::recipient::sms_prefix;
use crate::base::{Duration, Timestamp};
use crate::config::{Channel, MessageEvent, MessageLimits};
use crate::store::{self, Tx};
use std::net::{IpAddr, Ipv6Addr};

/// The name of the limit of codes that replace a password. Everybody can request them: they have
/// the event of second factors, and do not use those up.
const FIRST_FACTOR: &str = "first_factor";
/// The period to which all limits apply.
const PERIOD: Duration = Duration::from_secs(3600);

/// A limit on messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Per user.
    User,
    /// Per client address.
    Address,
    /// Text messages per country code.
    Prefix,
}

impl Limit {
    /// Returns the key in `[messages]`.
    pub fn key(self) -> &'static str {
        match self {
            Self::User => "per_user",
            Self::Address => "per_address",
            Self::Prefix => "per_prefix",
        }
    }
}

/// Counts the message against every limit that applies. If one is exceeded, counts against none.
pub(super) async fn take(
    tx: &mut Tx<'_>,
    limits: MessageLimits,
    message: &Message<'_>,
    now: Timestamp,
) -> store::Result<Result<(), EnqueueError>> {
    let mut taken = Vec::new();
    for (limit, name, per_hour) in applicable(limits, message) {
        let stored = tx.message_limit(&name).await?;
        match next_at(stored, per_hour, now) {
            Ok(next_at) => taken.push((name, next_at)),
            Err(wait) => return Ok(Err(EnqueueError::TooMany(limit, wait))),
        }
    }
    for (name, next_at) in taken {
        tx.save_message_limit(&name, next_at).await?;
    }
    Ok(Ok(()))
}

/// Returns the limits that apply to a message, each with its name in the store and its messages per
/// hour.
fn applicable(limits: MessageLimits, message: &Message<'_>) -> Vec<(Limit, String, u32)> {
    let pool = message.pool;
    // The limit is separate for each event: reset codes that someone else requests do not use up
    // the codes of a sign-in or a new address.
    let class = match (message.event, message.follows_first_factor) {
        (MessageEvent::Mfa, false) => FIRST_FACTOR,
        (event, _) => event.name(),
    };
    let user = format!("user/{pool}/{}/{class}", message.user);
    let mut applicable = vec![(Limit::User, user, limits.per_user)];
    // Many accounts may have the same address, whose owner requested none of the messages.
    // Simulated messages have no address.
    let recipient = match message.is_simulated {
        true => message.user.to_owned(),
        false => canonical(message.recipient),
    };
    let recipient = format!("recipient/{pool}/{recipient}/{class}");
    applicable.push((Limit::User, recipient, limits.per_user));
    // A code of a second factor follows a right first one: requests of strangers behind the same
    // address do not use it up.
    if let Some(client) = message.client.filter(|_| !message.follows_first_factor) {
        applicable.push((Limit::Address, format!("address/{}", network(client)), limits.per_address));
    }
    if message.channel == Channel::Sms {
        let prefix = sms_prefix(message.recipient);
        applicable.push((Limit::Prefix, format!("prefix/{prefix}"), limits.per_prefix));
    }
    applicable
}

/// Returns a recipient in one spelling: in small letters, and the domain of an e-mail address in
/// ASCII.
fn canonical(recipient: &str) -> String {
    let recipient = recipient.to_lowercase();
    let Some((local, domain)) = recipient.rsplit_once('@') else { return recipient };
    match url::Host::parse(domain) {
        Ok(host) => format!("{local}@{host}"),
        Err(_) => recipient,
    }
}

/// Returns the address by which a client is counted. For IPv6 this is the network of 64 bits, which
/// one client may use alone.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Returns the new `next_at` of a limit (generic cell rate algorithm), or the wait until the next
/// message is possible.
fn next_at(stored: Option<Timestamp>, per_hour: u32, now: Timestamp) -> Result<Timestamp, Duration> {
    let interval = PERIOD / per_hour.max(1);
    // A time further ahead was stored by a node whose clock was ahead.
    let from = stored.unwrap_or(now).clamp(now, now.plus(PERIOD));
    let next = from.plus(interval);
    match next.since(now) {
        ahead if ahead > PERIOD => Err(ahead.saturating_sub(PERIOD)),
        _ => Ok(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_an_address_have_one_limit() {
        for other in ["ADA@EXAMPLE.com", "ada@ex\u{ad}ample.com"] {
            assert_eq!(canonical(other), "ada@example.com");
        }
        assert_eq!(canonical("ada@bücher.example"), canonical("ada@xn--bcher-kva.EXAMPLE"));
        assert_eq!(canonical("+4915112345678"), "+4915112345678");
        assert_ne!(canonical("ada@example.com"), canonical("bob@example.com"));
    }

    #[test]
    fn an_hours_messages_are_possible_at_once_and_then_one_after_each_interval() {
        let start = Timestamp::from_seconds(1_000_000);
        let mut stored = None;
        for _ in 0..10 {
            stored = Some(next_at(stored, 10, start).unwrap());
        }
        assert_eq!(next_at(stored, 10, start), Err(Duration::from_secs(360)));
        let later = start.plus(Duration::from_secs(359));
        assert_eq!(next_at(stored, 10, later), Err(Duration::from_secs(1)));
        let later = start.plus(Duration::from_secs(360));
        stored = Some(next_at(stored, 10, later).unwrap());
        assert!(next_at(stored, 10, later).is_err());
        // A clock that is set back by a day blocks messages for at most an hour.
        let earlier = start.minus(Duration::from_secs(86400));
        assert!(next_at(stored, 10, earlier).unwrap_err() <= Duration::from_secs(360));
    }

    #[test]
    fn an_ipv6_client_is_counted_by_its_network() {
        let address = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(address("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(address("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
