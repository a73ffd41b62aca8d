//! The sender of a request to a user pool.

use crate::model::{AppClient, Pool};
use crate::trigger::ClientData;
use std::net::IpAddr;

/// The pool, the app client and the network of a request.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// The app client.
    pub client: &'a AppClient,
    /// Whether a client of the pool allows Secure Remote Password: new passwords then get a
    /// verifier.
    pub keeps_verifiers: bool,
    /// A digest of the client's network, for a fair share of the hashing threads.
    pub network: u64,
    /// The client's address, for the limits on messages.
    pub address: Option<IpAddr>,
    /// The user's language, as in `de-CH`, for the texts of messages.
    pub language: Option<&'a str>,
    /// The redirect URI of the client's authorization request, to which the link in a message leads
    /// back.
    pub redirect_uri: Option<&'a str>,
    /// The key of the device with which the user signs in, as the client names it.
    pub device_key: Option<&'a str>,
    /// What the app sends along, for the functions of the pool.
    pub data: ClientData<'a>,
}

impl Sender<'_> {
    /// Returns the digest of a client's network: an IPv4 address, or the /64 of an IPv6 address.
    pub fn network_of(address: Option<IpAddr>) -> u64 {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => u64::from(u32::from(address)),
            Some(IpAddr::V6(address)) => u64::try_from(u128::from(address) >> 64).unwrap_or_default(),
            None => 0,
        }
    }
}
