//! scrypt (RFC 7914), of imported users only.

use super::foreign::{self, HashFormatError};
use super::hash::WorkError;
use ::scrypt::Params;
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

/// Largest memory, 128 * N * r, in bytes: 256 MiB.
const MAX_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// Most work, 128 * N * r * p, in bytes: about two seconds.
const MAX_WORK_BYTES: u64 = 512 * 1024 * 1024;
/// Largest block size `r` and parallelism `p`.
const MAX_FACTOR: u32 = 64;
/// Length of Firebase's AES key, in bytes.
const AES_KEY_BYTES: usize = 32;
/// The alphabet of crypt(3), by value.
const CRYPT64: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A parsed scrypt hash.
pub struct ScryptHash {
    log_n: u8,
    r: u32,
    p: u32,
    salt: Vec<u8>,
    output: Vec<u8>,
    /// Firebase's signer key. Its encryption under the derived key is the hash.
    signer_key: Option<Vec<u8>>,
}

impl ScryptHash {
    fn new(log_n: u32, [r, p]: [u32; 2], salt: Vec<u8>, output: Vec<u8>) -> Result<Self, HashFormatError> {
        const OUT_OF_BOUNDS: HashFormatError = HashFormatError::Bounds("cost");
        if !(1..=32).contains(&log_n) || !(1..=MAX_FACTOR).contains(&r) || !(1..=MAX_FACTOR).contains(&p) {
            return Err(OUT_OF_BOUNDS);
        }
        let memory = (128 * u64::from(r)) << log_n;
        if memory > MAX_MEMORY_BYTES || memory * u64::from(p) > MAX_WORK_BYTES {
            return Err(OUT_OF_BOUNDS);
        }
        foreign::check_lengths(0, &salt, &output)?;
        let log_n = u8::try_from(log_n).map_err(|_| OUT_OF_BOUNDS)?;
        Ok(Self { log_n, r, p, salt, output, signer_key: None })
    }

    /// Parses the PHC string `$scrypt$ln=…,r=…,p=…$salt$hash`, as passlib writes it.
    pub fn parse_phc(text: &str) -> Result<Self, HashFormatError> {
        let ["", "scrypt", costs, salt, output] = foreign::fields(text, '$')? else {
            return Err(HashFormatError::Malformed);
        };
        let [log_n, r, p] = foreign::numbers(costs, ["ln", "r", "p"])?;
        Self::new(log_n, [r, p], foreign::base64(salt)?, foreign::base64(output)?)
    }

    /// Parses crypt(3)'s `$7$`: one digit of log N, five of r, five of p, the salt as text, the
    /// hash.
    pub fn parse_crypt(text: &str) -> Result<Self, HashFormatError> {
        let ["", "7", head, output] = foreign::fields(text, '$')? else {
            return Err(HashFormatError::Malformed);
        };
        let (costs, salt) = head.as_bytes().split_at_checked(11).ok_or(HashFormatError::Malformed)?;
        let number = |digits: &[u8]| {
            digits.iter().rev().try_fold(0_u32, |sum, digit| Some((sum << 6) | crypt64_value(*digit)?))
        };
        let parts = (number(&costs[..1]), number(&costs[1..6]), number(&costs[6..]));
        let (Some(log_n), Some(r), Some(p)) = parts else { return Err(HashFormatError::Malformed) };
        Self::new(log_n, [r, p], salt.to_vec(), crypt64_decode(output.as_bytes())?)
    }

    /// Parses Django's `scrypt$N$salt$r$p$hash`.
    pub fn parse_django(text: &str) -> Result<Self, HashFormatError> {
        let ["scrypt", n, salt, r, p, output] = foreign::fields(text, '$')? else {
            return Err(HashFormatError::Malformed);
        };
        let [n, r, p] = [foreign::number(n)?, foreign::number(r)?, foreign::number(p)?];
        Self::new(log2(n)?, [r, p], salt.as_bytes().to_vec(), foreign::base64(output)?)
    }

    /// Parses Werkzeug's `scrypt:N:r:p$salt$hex`.
    pub fn parse_werkzeug(text: &str) -> Result<Self, HashFormatError> {
        let [head, salt, output] = foreign::fields(text, '$')?;
        let ["scrypt", n, r, p] = foreign::fields(head, ':')? else { return Err(HashFormatError::Malformed) };
        let [n, r, p] = [foreign::number(n)?, foreign::number(r)?, foreign::number(p)?];
        Self::new(log2(n)?, [r, p], salt.as_bytes().to_vec(), foreign::hexadecimal(output)?)
    }

    /// Parses Firebase's parameters in Ory's form,
    /// `$firescrypt$ln=…,r=…,p=1$salt$hash$salt_separator$signer_key`. Firebase exports `mem_cost`
    /// as ln and `rounds` as r.
    pub fn parse_firebase(text: &str) -> Result<Self, HashFormatError> {
        let ["", "firescrypt", costs, salt, output, separator, signer_key] = foreign::fields(text, '$')?
        else {
            return Err(HashFormatError::Malformed);
        };
        let [log_n, r, p] = foreign::numbers(costs, ["ln", "r", "p"])?;
        let salt = [foreign::base64(salt)?, foreign::base64(separator)?].concat();
        let (output, signer_key) = (foreign::base64(output)?, foreign::base64(signer_key)?);
        if output.len() != signer_key.len() {
            return Err(HashFormatError::Malformed);
        }
        Ok(Self { signer_key: Some(signer_key), ..Self::new(log_n, [r, p], salt, output)? })
    }

    /// Returns whether `password` has this hash.
    pub fn verify(&self, password: &[u8]) -> Result<bool, WorkError> {
        let params = Params::new(self.log_n, self.r, self.p).map_err(|_| WorkError)?;
        let length = if self.signer_key.is_some() { AES_KEY_BYTES } else { self.output.len() };
        let mut output = Zeroizing::new(vec![0; length]);
        ::scrypt::scrypt(password, &self.salt, &params, &mut output).map_err(|_| WorkError)?;
        if let Some(signer_key) = &self.signer_key {
            output = encrypt(&output, signer_key)?;
        }
        Ok(verify_slices_are_equal(&output, &self.output).is_ok())
    }
}

/// Encrypts `signer_key` by AES-256 in counter mode from the counter 0, as Firebase does.
fn encrypt(key: &[u8], signer_key: &[u8]) -> Result<Zeroizing<Vec<u8>>, WorkError> {
    let mut text = Zeroizing::new(signer_key.to_vec());
    let key = UnboundCipherKey::new(&AES_256, key).map_err(|_| WorkError)?;
    let counter = EncryptionContext::Iv128(FixedLength::from([0; 16]));
    EncryptingKey::ctr(key)
        .and_then(|key| key.less_safe_encrypt(&mut text, counter))
        .map_err(|_| WorkError)?;
    Ok(text)
}

fn log2(n: u32) -> Result<u32, HashFormatError> {
    // RFC 7914, section 2: N "must be larger than 1, a power of 2".
    if n.is_power_of_two() { Ok(n.trailing_zeros()) } else { Err(HashFormatError::Malformed) }
}

fn crypt64_value(digit: u8) -> Option<u32> {
    CRYPT64.iter().position(|known| *known == digit).and_then(|value| u32::try_from(value).ok())
}

/// Decodes crypt(3)'s base64: the first digit has the lowest bits.
fn crypt64_decode(text: &[u8]) -> Result<Vec<u8>, HashFormatError> {
    let mut bytes = Vec::with_capacity(text.len());
    for group in text.chunks(4) {
        let mut value = 0;
        for (index, digit) in group.iter().enumerate() {
            value |= crypt64_value(*digit).ok_or(HashFormatError::Malformed)? << (6 * index);
        }
        bytes.extend_from_slice(&value.to_le_bytes()[..group.len() * 6 / 8]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_out_of_bounds_are_refused_before_work() {
        let form = |costs: &str| {
            ScryptHash::parse_phc(&format!(
                "$scrypt${costs}$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            ))
            .map(drop)
        };
        for costs in ["ln=14,r=8,p=1", "ln=17,r=8,p=1", "ln=18,r=8,p=2"] {
            assert_eq!(form(costs), Ok(()), "{costs}");
        }
        for costs in [
            "ln=19,r=8,p=1",
            "ln=18,r=8,p=3",
            "ln=0,r=8,p=1",
            "ln=40,r=8,p=1",
            "ln=1,r=65,p=1",
            "ln=1,r=1,p=65",
            "ln=14,r=0,p=1",
            "ln=4294967295,r=8,p=1",
        ] {
            assert_eq!(form(costs), Err(HashFormatError::Bounds("cost")), "{costs}");
        }
        assert_eq!(form("ln=14,r=8,p=4294967296"), Err(HashFormatError::Malformed));
    }
}
