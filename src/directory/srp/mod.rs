//! Secure Remote Password, SRP-6a (RFC 5054), in the variant of Amazon Cognito's clients.
//!
//! A client proves that it knows a password without sending it. The variant differs from RFC 5054
//! in its hash (SHA-256), its byte form of integers (`padHex`), the identity in `x`, and
//! its proof: an HMAC instead of `M1`.
//!
//! | Value | Definition |
//! |---|---|
//! | N, g | the 3072-bit group of RFC 5054, appendix A; g = 2 in Cognito |
//! | k | H(pad N ‖ pad g) |
//! | x, v | H(pad salt ‖ H(realm ‖ user id ‖ `:` ‖ password)), g^x |
//! | A, B | g^a of the client, k·v + g^b of the server |
//! | u | H(pad A ‖ pad B) |
//! | S | (A · v^u)^b |
//! | key | HKDF-SHA-256(salt: pad u, secret: pad S, info: `Caldera Derived Key`), 16 bytes |
//! | signature | HMAC-SHA-256(key, realm ‖ user id ‖ secret block ‖ timestamp) |
//!
//! # Use
//!
//! 1. A password is set: [`Verifier::create`]. The verifier is as good as a fast hash of the
//!    password, so the store seals [`Verifier::to_bytes`].
//! 2. The client sends `SRP_A`: [`Challenge::begin`], or [`SimulatedUser::begin`] for a name
//!    without a verifier. The caller seals [`SessionKey::to_bytes`], the user and an expiry time
//!    into `SECRET_BLOCK`.
//! 3. The client sends `PASSWORD_CLAIM_SIGNATURE`: the caller opens the block, and
//!    [`Claim::verify`] decides. The caller accepts a block once.
//!
//! Step 2 costs three 3072-bit powers of 256-bit exponents, some milliseconds of CPU time: run it
//! where it does not delay requests, and limit its rate. Step 3 costs one HMAC.
//!
//! # Arithmetic
//!
//! `crypto-bigint` computes in Montgomery form in constant time. AWS-LC's
//! `BN_mod_exp_mont_consttime` is about four times as fast, but no maintained crate has a safe
//! wrapper of it: `aws-lc-rs` exposes no big integers, and `openssl` wraps only `BN_mod_exp`, which
//! is not constant-time in AWS-LC. The boxed integers are as fast as the fixed ones, and stay fast
//! in test builds, because they are not generic.

mod challenge;
mod claim;
mod group;
mod simulated;
mod timestamp;
mod verifier;

#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
pub(super) mod tests;

pub use challenge::{Challenge, SESSION_KEY_LENGTH, SessionKey};
pub use claim::Claim;
pub use simulated::{SimulatedUser, Simulator};
pub use timestamp::{MAX_TIMESTAMP_AGE, MAX_TIMESTAMP_AHEAD};
pub use verifier::{SALT_LENGTH, VERIFIER_LENGTH, Verifier};

/// The scope of a verifier, which the password's hash includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Realm<'a>(&'a str);

impl<'a> Realm<'a> {
    /// Returns the realm of a user pool: the part of its id after `_`. `None` if there is none.
    pub fn of_pool(pool_id: &'a str) -> Option<Self> {
        let (_, name) = pool_id.split_once('_')?;
        (!name.is_empty()).then_some(Self(name))
    }

    /// Returns the realm of a device, whose key is the user id: its `DeviceGroupKey`.
    pub const fn of_device_group(device_group_key: &'a str) -> Self {
        Self(device_group_key)
    }

    /// Returns the text that is hashed.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// Why a step failed. The variants are for logs: clients get one message for all of them, so that
/// no answer reveals whether a user exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrpError {
    /// `SRP_A` is empty, too long, or not hexadecimal.
    MalformedClientPublic,
    /// `SRP_A` is zero modulo N, or not below N.
    ClientPublicOutOfRange,
    /// A stored verifier has another length, or its value is not a possible one.
    MalformedVerifier,
    /// A session key has another length or version.
    MalformedSessionKey,
    /// `TIMESTAMP` has another form, or its day of the week is wrong.
    MalformedTimestamp,
    /// `TIMESTAMP` is older than [`MAX_TIMESTAMP_AGE`].
    TimestampTooOld,
    /// `TIMESTAMP` is further ahead than [`MAX_TIMESTAMP_AHEAD`].
    TimestampInFuture,
    /// `PASSWORD_CLAIM_SIGNATURE` is not the Base64 of 32 bytes.
    MalformedSignature,
    /// The signature is of another password or message.
    WrongSignature,
    /// The challenge was simulated: the user or its verifier does not exist.
    Simulated,
}

impl std::fmt::Display for SrpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::MalformedClientPublic => "`SRP_A` is not a hexadecimal number of up to 770 digits",
            Self::ClientPublicOutOfRange => "`SRP_A` is zero or not below the group's prime",
            Self::MalformedVerifier => "the stored verifier is malformed",
            Self::MalformedSessionKey => "the session key in `SECRET_BLOCK` is malformed",
            Self::MalformedTimestamp => "`TIMESTAMP` does not have the form `Sat Nov 7 09:05:04 UTC 2026`",
            Self::TimestampTooOld => "`TIMESTAMP` is too old",
            Self::TimestampInFuture => "`TIMESTAMP` is in the future",
            Self::MalformedSignature => "`PASSWORD_CLAIM_SIGNATURE` is not the Base64 of 32 bytes",
            Self::WrongSignature => "`PASSWORD_CLAIM_SIGNATURE` does not match",
            Self::Simulated => "the user has no verifier",
        })
    }
}

impl std::error::Error for SrpError {}
