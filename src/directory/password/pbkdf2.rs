//! PBKDF2 (RFC 8018, section 5.2), of imported users only.

use super::argon::ArgonHash;
use super::foreign::{self, HashFormatError, Scheme};
use aws_lc_rs::pbkdf2::{
    Algorithm, PBKDF2_HMAC_SHA1, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA384, PBKDF2_HMAC_SHA512, verify,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// Most iterations, times the blocks of the output: about two seconds.
const MAX_ITERATIONS: u64 = 5_000_000;
/// Iterations of version 2 of ASP.NET Identity's format.
const ASPNET_V2_ITERATIONS: u32 = 1000;

/// The hash functions: names in texts, number in ASP.NET Identity, length in bytes.
#[rustfmt::skip]
const DIGESTS: [(&[&str], Option<u32>, usize, Algorithm); 4] = [
    (&["sha1", ""],  Some(0), 20, PBKDF2_HMAC_SHA1),
    (&["sha256"],    Some(1), 32, PBKDF2_HMAC_SHA256),
    (&["sha384"],    None,    48, PBKDF2_HMAC_SHA384),
    (&["sha512"],    Some(2), 64, PBKDF2_HMAC_SHA512),
];

/// A parsed PBKDF2 hash.
pub struct Pbkdf2Hash {
    algorithm: Algorithm,
    iterations: NonZeroU32,
    salt: Vec<u8>,
    output: Vec<u8>,
}

/// A credential of Keycloak's export: both members hold JSON as a text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credential {
    credential_data: String,
    secret_data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialData {
    algorithm: String,
    hash_iterations: u32,
    #[serde(default)]
    additional_parameters: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct SecretData {
    value: String,
    salt: String,
}

impl Pbkdf2Hash {
    fn new(digest: &str, iterations: u32, salt: Vec<u8>, output: Vec<u8>) -> Result<Self, HashFormatError> {
        let (_, _, block, algorithm) =
            DIGESTS.iter().find(|(names, ..)| names.contains(&digest)).ok_or(HashFormatError::Malformed)?;
        let iterations = NonZeroU32::new(iterations).ok_or(HashFormatError::Bounds("iterations"))?;
        foreign::check_lengths(0, &salt, &output)?;
        let blocks = output.len().div_ceil(*block) as u64;
        if u64::from(iterations.get()) * blocks > MAX_ITERATIONS {
            return Err(HashFormatError::Bounds("iterations"));
        }
        Ok(Self { algorithm: *algorithm, iterations, salt, output })
    }

    /// Parses passlib's `$pbkdf2-sha256$rounds$salt$hash` and the PHC string
    /// `$pbkdf2-sha256$i=rounds,l=length$salt$hash`.
    pub fn parse_phc(text: &str) -> Result<Self, HashFormatError> {
        let ["", name, costs, salt, output] = foreign::fields(text, '$')? else {
            return Err(HashFormatError::Malformed);
        };
        let digest = name.strip_prefix("pbkdf2").ok_or(HashFormatError::Malformed)?;
        let output = foreign::base64(output)?;
        let iterations = match costs.split_once(',') {
            None => foreign::number(costs.strip_prefix("i=").unwrap_or(costs))?,
            Some(_) => {
                let [iterations, length] = foreign::numbers(costs, ["i", "l"])?;
                if length as usize != output.len() {
                    return Err(HashFormatError::Malformed);
                }
                iterations
            }
        };
        Self::new(digest.trim_start_matches('-'), iterations, foreign::base64(salt)?, output)
    }

    /// Parses Django's `pbkdf2_sha256$iterations$salt$hash`.
    pub fn parse_django(text: &str) -> Result<Self, HashFormatError> {
        let [name, iterations, salt, output] = foreign::fields(text, '$')?;
        let digest = name.strip_prefix("pbkdf2_").ok_or(HashFormatError::Malformed)?;
        let output = foreign::base64(output)?;
        Self::new(digest, foreign::number(iterations)?, salt.as_bytes().to_vec(), output)
    }

    /// Parses Werkzeug's `pbkdf2:sha256:iterations$salt$hex`.
    pub fn parse_werkzeug(text: &str) -> Result<Self, HashFormatError> {
        let [head, salt, output] = foreign::fields(text, '$')?;
        let ["pbkdf2", digest, iterations] = foreign::fields(head, ':')? else {
            return Err(HashFormatError::Malformed);
        };
        let output = foreign::hexadecimal(output)?;
        Self::new(digest, foreign::number(iterations)?, salt.as_bytes().to_vec(), output)
    }

    /// Parses the base64 text of ASP.NET Identity's `PasswordHasher`. Version 2 is a 0, 16 bytes of
    /// salt and 32 of hash; version 3 is a 1, then hash function, iterations and length of the salt
    /// as big-endian 32-bit numbers, salt and hash.
    pub fn parse_aspnet(text: &str) -> Result<Self, HashFormatError> {
        let bytes = foreign::base64(text)?;
        match bytes.split_first() {
            Some((0, rest)) if rest.len() == 48 => {
                Self::new("sha1", ASPNET_V2_ITERATIONS, rest[..16].to_vec(), rest[16..].to_vec())
            }
            Some((1, rest)) => {
                let (numbers, rest) = rest.split_at_checked(12).ok_or(HashFormatError::Malformed)?;
                let mut numbers = numbers.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes));
                let mut next = || numbers.next().ok_or(HashFormatError::Malformed);
                let (digest, iterations, salt_length) = (next()?, next()?, next()? as usize);
                let (names, ..) = DIGESTS
                    .iter()
                    .find(|(_, number, ..)| *number == Some(digest))
                    .ok_or(HashFormatError::Malformed)?;
                let (salt, output) = rest.split_at_checked(salt_length).ok_or(HashFormatError::Malformed)?;
                Self::new(names[0], iterations, salt.to_vec(), output.to_vec())
            }
            _ => Err(HashFormatError::Malformed),
        }
    }

    /// Returns whether `password` has this hash, in constant time.
    pub fn verify(&self, password: &[u8]) -> bool {
        verify(self.algorithm, self.iterations, &self.salt, password, &self.output).is_ok()
    }
}

/// Parses a credential of Keycloak's export, PBKDF2 or Argon2, as JSON.
pub fn parse_keycloak(text: &str) -> Result<Scheme, HashFormatError> {
    fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, HashFormatError> {
        serde_json::from_str(text).map_err(|_| HashFormatError::Malformed)
    }
    let credential: Credential = read(text)?;
    let data: CredentialData = read(&credential.credential_data)?;
    let secret: SecretData = read(&credential.secret_data)?;
    let (salt, output) = (foreign::base64(&secret.salt)?, foreign::base64(&secret.value)?);
    if let Some(digest) = data.algorithm.strip_prefix("pbkdf2") {
        let digest = digest.trim_start_matches('-');
        return Ok(Scheme::Pbkdf2(Pbkdf2Hash::new(digest, data.hash_iterations, salt, output)?));
    }
    if data.algorithm != "argon2" {
        return Err(HashFormatError::Malformed);
    }
    let parameter = |name: &str| {
        let values = data.additional_parameters.get(name);
        values.and_then(|values| values.first()).map(String::as_str).ok_or(HashFormatError::Malformed)
    };
    let version = match parameter("version")? {
        "1.0" => "16",
        "1.3" => "19",
        _ => return Err(HashFormatError::Malformed),
    };
    let memory_kib = foreign::number(parameter("memory")?)?;
    let lanes = foreign::number(parameter("parallelism")?)?;
    let costs = [memory_kib, data.hash_iterations, lanes];
    Ok(Scheme::Argon2(ArgonHash::from_parts(parameter("type")?, version, costs, salt, output)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterations_have_bounds_that_count_the_blocks_of_the_output() {
        let form = |digest: &str, iterations: u32, length| {
            Pbkdf2Hash::new(digest, iterations, b"salt".to_vec(), vec![0; length]).map(drop)
        };
        assert_eq!(form("sha256", 5_000_000, 32), Ok(()));
        for (digest, iterations, length) in [
            ("sha256", 5_000_001, 32),
            ("sha1", 1_666_667, 64),
            ("sha256", 2_500_001, 33),
            ("sha256", 0, 32),
            ("sha512", u32::MAX, 64),
        ] {
            let refused = form(digest, iterations, length);
            assert_eq!(refused, Err(HashFormatError::Bounds("iterations")), "{digest} {iterations} {length}");
        }
    }
}
