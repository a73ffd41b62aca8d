//! Software tokens: time-based codes (RFC 6238) of six digits, SHA-1 and 30 seconds, which are what
//! every authenticator app shows.

use crate::base::{Entropy, Secret, Timestamp};
use totp_rs::{Algorithm, Builder, Totp};
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

/// The length of a secret, in bytes. RFC 4226, section 4: "This document RECOMMENDs a shared secret
/// length of 160 bits."
const SECRET_LENGTH: usize = 20;
/// The lengths of secrets of other systems.
const SECRET_LENGTHS: std::ops::RangeInclusive<usize> = 16..=64;
const DIGITS: u8 = 6;
/// The length of a time step, in seconds.
const STEP: u64 = 30;
/// Time steps before and after the present one whose codes are accepted. RFC 6238, section 5.2:
/// "We RECOMMEND that at most one time step is allowed as the network delay." The one after is for
/// clocks of devices that are ahead.
const SKEW: u16 = 1;

/// Returns the secret of a new token.
pub(super) fn new_secret(entropy: &dyn Entropy) -> Zeroizing<Vec<u8>> {
    let mut secret = Zeroizing::new(vec![0; SECRET_LENGTH]);
    entropy.fill(&mut secret);
    secret
}

/// Returns the secret in base32, as users type it into an app.
pub(super) fn base32(secret: &[u8]) -> Secret {
    Secret::new(totp_rs::Secret::new(secret.into()).to_base32())
}

/// Parses a secret in base32, with or without padding.
pub(super) fn parse_base32(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let secret = totp_rs::Secret::try_from_base32(text.trim_end_matches('=')).ok()?;
    let bytes = Zeroizing::new(secret.as_bytes().to_vec());
    // RFC 4226, section 4: "The length of the shared secret MUST be at least 128 bits."
    Some(bytes).filter(|bytes| SECRET_LENGTHS.contains(&bytes.len()))
}

/// Returns the time step whose code this is, if that is the present one or one beside it.
pub(super) fn step_of_code(secret: &[u8], code: &str, now: Timestamp) -> Option<i64> {
    let seconds = u64::try_from(now.millis()).ok()? / 1000;
    let step = totp(secret)?.check(code, seconds)?;
    i64::try_from(step).ok()
}

fn totp(secret: &[u8]) -> Option<Totp> {
    let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(DIGITS);
    builder.with_skew(SKEW).with_step_duration(STEP).with_secret(secret.to_vec()).build().ok()
}

/// Returns the address that an authenticator app reads from a QR code. The format is of Google
/// Authenticator ("Key Uri Format").
pub(super) fn uri(secret: &Secret, issuer: &str, account: &str) -> Secret {
    // Apps decode `%20`, and some show a `+` as it is.
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let (issuer, account) = (encode(issuer), encode(account));
    let secret = secret.expose();
    let parameters = format!("secret={secret}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP}");
    Secret::new(format!("otpauth://totp/{issuer}:{account}?{parameters}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B: the secret, and codes of SHA-1 without their first two digits.
    const SECRET: &[u8] = b"12345678901234567890";
    const VECTORS: [(i64, &str); 6] = [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ];

    #[test]
    fn codes_are_those_of_rfc_6238_within_one_step() {
        for (seconds, code) in VECTORS {
            let at =
                |offset: i64| step_of_code(SECRET, code, Timestamp::from_seconds(seconds / 30 * 30 + offset));
            for offset in [-30, -1, 0, 29, 30, 59] {
                assert_eq!(at(offset), Some(seconds / 30), "{seconds} {offset}");
            }
            assert_eq!((at(-31), at(60)), (None, None), "{seconds}");
        }
    }

    #[test]
    fn anything_but_six_digits_is_no_code() {
        let now = Timestamp::from_seconds(59);
        for code in ["", "28708", "2870822", "287 082", "28708a", "+87082", "２８７０８２", "-87082"] {
            assert_eq!(step_of_code(SECRET, code, now), None, "{code}");
        }
        assert_eq!(step_of_code(b"short", "287082", now), None);
    }

    #[test]
    fn secrets_of_other_systems_are_read() {
        let read = |text: &str| parse_base32(text).map(|bytes| bytes.to_vec());
        assert_eq!(read("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").as_deref(), Some(SECRET));
        assert_eq!(read("GEZDGNBVGY3TQOJQGEZDGNBVGY======").as_deref(), Some(&SECRET[..16]));
        for text in ["", "GEZDGNBVGY3TQOJQGEZDGNBV", "!", "0189", &"A".repeat(104)] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn the_address_has_the_secret_and_readable_names() {
        let secret = base32(SECRET);
        assert_eq!(secret.expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(
            uri(&secret, "Acme & Co", "ada@example.com").expose(),
            "otpauth://totp/Acme%20%26%20Co:ada%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Acme%20%26%20Co&algorithm=SHA1&digits=6&period=30"
        );
    }
}
