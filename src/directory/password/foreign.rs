//! Formats of stored hashes, ours and those of other systems, and what their parsers share.

use super::argon::{ArgonHash, Workspace};
use super::bcrypt::BcryptHash;
use super::hash::WorkError;
use super::pbkdf2::{self, Pbkdf2Hash};
use super::scrypt::ScryptHash;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::fmt;

/// Longest text of a hash, in bytes.
pub const MAX_TEXT_BYTES: usize = 2048;
/// Longest salt, in bytes.
const MAX_SALT_BYTES: usize = 256;
/// Shortest hash, in bytes. A shorter one would match many passwords, an empty one all.
const MIN_OUTPUT_BYTES: usize = 16;
/// Longest hash, in bytes.
const MAX_OUTPUT_BYTES: usize = 128;
/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The starts of a format's texts, and its parser.
type Format = (&'static [&'static str], fn(&str) -> Result<Scheme, HashFormatError>);

/// All formats. The first with a prefix that fits parses the text.
#[rustfmt::skip]
const FORMATS: [Format; 12] = [
    // PHC strings; Django puts `argon2` in front.
    (&["$argon2", "argon2$argon2"],   |text| ArgonHash::parse(text).map(Scheme::Argon2)),
    // crypt(3), PHP, Auth0, passlib; Django.
    (&["$2a$", "$2b$", "$2y$", "bcrypt$$2", "bcrypt_sha256$$2"],
                                      |text| BcryptHash::parse(text).map(Scheme::Bcrypt)),
    // passlib and PHC strings; Django; Werkzeug.
    (&["$pbkdf2$", "$pbkdf2-"],       |text| Pbkdf2Hash::parse_phc(text).map(Scheme::Pbkdf2)),
    (&["pbkdf2_"],                    |text| Pbkdf2Hash::parse_django(text).map(Scheme::Pbkdf2)),
    (&["pbkdf2:"],                    |text| Pbkdf2Hash::parse_werkzeug(text).map(Scheme::Pbkdf2)),
    // passlib and PHC strings; crypt(3) and libsodium; Django; Werkzeug.
    (&["$scrypt$"],                   |text| ScryptHash::parse_phc(text).map(Scheme::Scrypt)),
    (&["$7$"],                        |text| ScryptHash::parse_crypt(text).map(Scheme::Scrypt)),
    (&["scrypt$"],                    |text| ScryptHash::parse_django(text).map(Scheme::Scrypt)),
    (&["scrypt:"],                    |text| ScryptHash::parse_werkzeug(text).map(Scheme::Scrypt)),
    // Firebase, in Ory's form.
    (&["$firescrypt$"],               |text| ScryptHash::parse_firebase(text).map(Scheme::Scrypt)),
    // Keycloak's export.
    (&["{"],                          pbkdf2::parse_keycloak),
    // ASP.NET Identity: base64 of a first byte 0 or 1. The last, since it has no prefix of its own.
    (&["A"],                          |text| Pbkdf2Hash::parse_aspnet(text).map(Scheme::Pbkdf2)),
];

/// A parsed hash, by algorithm.
pub enum Scheme {
    /// Argon2, also that of new passwords.
    Argon2(ArgonHash),
    /// bcrypt.
    Bcrypt(BcryptHash),
    /// scrypt.
    Scrypt(ScryptHash),
    /// PBKDF2.
    Pbkdf2(Pbkdf2Hash),
}

/// A text that is no hash of a known format within the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashFormatError {
    /// No format has this prefix.
    Unknown,
    /// The text does not follow its format.
    Malformed,
    /// The value named is out of bounds.
    Bounds(&'static str),
}

impl fmt::Display for HashFormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("the password hash has no known format"),
            Self::Malformed => f.write_str("the password hash is malformed"),
            Self::Bounds(name) => write!(f, "the password hash has a `{name}` out of bounds"),
        }
    }
}

impl std::error::Error for HashFormatError {}

impl Scheme {
    /// Parses a hash of any format.
    pub fn parse(text: &str) -> Result<Self, HashFormatError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(HashFormatError::Bounds("length"));
        }
        let fits = |(prefixes, _): &&Format| prefixes.iter().any(|prefix| text.starts_with(prefix));
        let (_, parse) = FORMATS.iter().find(fits).ok_or(HashFormatError::Unknown)?;
        parse(text)
    }

    /// Returns whether `password` has this hash.
    pub fn verify(&self, password: &[u8], workspace: &mut Workspace) -> Result<bool, WorkError> {
        match self {
            Self::Argon2(hash) => hash.verify(password, workspace),
            Self::Bcrypt(hash) => Ok(hash.verify(password)),
            Self::Scrypt(hash) => hash.verify(password),
            Self::Pbkdf2(hash) => Ok(hash.verify(password)),
        }
    }
}

/// Checks the lengths of salt and hash.
pub fn check_lengths(min_salt: usize, salt: &[u8], output: &[u8]) -> Result<(), HashFormatError> {
    if !(min_salt..=MAX_SALT_BYTES).contains(&salt.len()) {
        return Err(HashFormatError::Bounds("salt"));
    }
    if !(MIN_OUTPUT_BYTES..=MAX_OUTPUT_BYTES).contains(&output.len()) {
        return Err(HashFormatError::Bounds("hash"));
    }
    Ok(())
}

/// Divides `text` into exactly `N` fields.
pub fn fields<const N: usize>(text: &str, separator: char) -> Result<[&str; N], HashFormatError> {
    let fields: Vec<&str> = text.splitn(N + 1, separator).collect();
    fields.try_into().map_err(|_| HashFormatError::Malformed)
}

/// Parses a decimal number without a sign.
pub fn number(text: &str) -> Result<u32, HashFormatError> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().map_err(|_| HashFormatError::Malformed),
        false => Err(HashFormatError::Malformed),
    }
}

/// Parses `name=number` for each of `names`, in this order, separated by commas.
pub fn numbers<const N: usize>(text: &str, names: [&str; N]) -> Result<[u32; N], HashFormatError> {
    let fields: [&str; N] = fields(text, ',')?;
    let mut values = [0; N];
    for ((field, name), value) in fields.into_iter().zip(names).zip(&mut values) {
        let (key, text) = field.split_once('=').ok_or(HashFormatError::Malformed)?;
        if key != name {
            return Err(HashFormatError::Malformed);
        }
        *value = number(text)?;
    }
    Ok(values)
}

/// Decodes base64, in which passlib writes `.` for `+`.
pub fn base64(text: &str) -> Result<Vec<u8>, HashFormatError> {
    BASE64.decode(text.replace('.', "+")).map_err(|_| HashFormatError::Malformed)
}

/// Decodes hexadecimal digits.
pub fn hexadecimal(text: &str) -> Result<Vec<u8>, HashFormatError> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? << 4) | digit(*low)?);
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.filter(|_| rest.is_empty()).ok_or(HashFormatError::Malformed)
}
