//! Limits of what addresses and app clients may do.

use crate::authn::{ConcurrencyLimiter, RateLimiter};
use crate::base::{Clock, Duration};
use std::net::IpAddr;
use std::sync::Arc;

/// Burst of failed sign-ins per address: many users may share an office's address.
const FAILURES: u32 = 30;
/// Interval after which another failed sign-in is allowed.
const FAILURE_EVERY: Duration = Duration::from_secs(3);

/// Burst and interval of wrong guesses of API calls per address, which an app's users may share.
const WRONG_GUESSES: u32 = 100;
const WRONG_GUESS_EVERY: Duration = Duration::from_secs(1);

/// Burst of failed authentications per app client and address. A misconfigured client retries
/// constantly and must not lock out others. Guessing is prevented by the secret's length.
const CLIENT_FAILURES: u32 = 300;
const CLIENT_FAILURE_EVERY: Duration = Duration::from_millis(200);
/// Burst and interval of revocations per app client.
const REVOCATIONS: u32 = 10_000;
const REVOCATION_EVERY: Duration = Duration::from_millis(20);
/// Burst and interval of requests that the database keeps, per app client or, of a public client,
/// per address.
const PUBLIC_REQUESTS: u32 = 200;
const PUBLIC_REQUEST_EVERY: Duration = Duration::from_secs(1);
const STORED_REQUESTS: u32 = 1000;
const STORED_REQUEST_EVERY: Duration = Duration::from_millis(20);

/// Burst and interval of registrations of app clients per user pool.
const REGISTRATIONS: u32 = 100;
const REGISTRATION_EVERY: Duration = Duration::from_secs(10);

/// Maximum number of SAML messages per address that are being verified or are waiting.
const SAML_MESSAGES: u32 = 16;

/// The limits of a node.
pub struct Limits {
    /// Failed sign-ins, by address.
    pub failed_sign_ins: RateLimiter<IpAddr>,
    /// Wrong user codes of devices, by address. Any page can make a browser send them, so they
    /// block nothing else.
    pub user_code_guesses: RateLimiter<IpAddr>,
    /// Failed IdP-initiated SAML responses, by address. Any page can make a browser send them, so
    /// they do not block sign-ins from the address.
    pub unsolicited_failures: RateLimiter<IpAddr>,
    /// Wrong passwords and codes of API calls, by address.
    pub wrong_guesses: RateLimiter<IpAddr>,
    /// SAML messages in verification, by address.
    pub saml_messages: ConcurrencyLimiter<IpAddr>,
    /// Failed client authentications, by address and client.
    pub client_failures: RateLimiter<(IpAddr, String)>,
    /// Revoked tokens, by client, because each uses memory on every node.
    pub client_revocations: RateLimiter<String>,
    /// Requests that the database keeps for confidential clients, by client.
    pub stored_requests: RateLimiter<String>,
    /// The same for public clients, by address.
    pub public_requests: RateLimiter<IpAddr>,
    /// Registrations of app clients, by user pool.
    pub registrations: RateLimiter<String>,
}

impl Limits {
    /// Creates the limits, of which nothing is used.
    pub fn new(clock: &Arc<dyn Clock>) -> Self {
        let clock = || clock.clone();
        Self {
            failed_sign_ins: RateLimiter::new(clock(), FAILURES, FAILURE_EVERY),
            unsolicited_failures: RateLimiter::new(clock(), FAILURES, FAILURE_EVERY),
            wrong_guesses: RateLimiter::new(clock(), WRONG_GUESSES, WRONG_GUESS_EVERY),
            user_code_guesses: RateLimiter::new(clock(), WRONG_GUESSES, WRONG_GUESS_EVERY),
            saml_messages: ConcurrencyLimiter::new(SAML_MESSAGES),
            client_failures: RateLimiter::new(clock(), CLIENT_FAILURES, CLIENT_FAILURE_EVERY),
            client_revocations: RateLimiter::new(clock(), REVOCATIONS, REVOCATION_EVERY),
            stored_requests: RateLimiter::new(clock(), STORED_REQUESTS, STORED_REQUEST_EVERY),
            public_requests: RateLimiter::new(clock(), PUBLIC_REQUESTS, PUBLIC_REQUEST_EVERY),
            registrations: RateLimiter::new(clock(), REGISTRATIONS, REGISTRATION_EVERY),
        }
    }
}
