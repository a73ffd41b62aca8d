//! The signature algorithms of JOSE (RFC 7518, section 3.1; RFC 8037, section 3.1).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
};

/// The key type of an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// RSA, at least 2048 bits.
    Rsa,
    /// An elliptic curve with this name; each coordinate has this many bytes.
    Ec(&'static str, usize),
    /// Ed25519.
    Ed25519,
}

macro_rules! algorithms {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $family:expr, $verification:expr;)*) => {
        /// A signature algorithm.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Algorithm {
            $($(#[$doc])* $variant,)*
        }

        impl Algorithm {
            /// All algorithms.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name in the JOSE registry.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Returns the key type.
            pub const fn family(self) -> Family {
                match self {
                    $(Self::$variant => $family,)*
                }
            }

            pub(super) fn verification(self) -> &'static dyn VerificationAlgorithm {
                match self {
                    $(Self::$variant => &$verification,)*
                }
            }
        }
    };
}

algorithms! {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256 = "RS256", Family::Rsa, RSA_PKCS1_2048_8192_SHA256;
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384 = "RS384", Family::Rsa, RSA_PKCS1_2048_8192_SHA384;
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512 = "RS512", Family::Rsa, RSA_PKCS1_2048_8192_SHA512;
    /// RSASSA-PSS with SHA-256.
    Ps256 = "PS256", Family::Rsa, RSA_PSS_2048_8192_SHA256;
    /// RSASSA-PSS with SHA-384.
    Ps384 = "PS384", Family::Rsa, RSA_PSS_2048_8192_SHA384;
    /// RSASSA-PSS with SHA-512.
    Ps512 = "PS512", Family::Rsa, RSA_PSS_2048_8192_SHA512;
    /// ECDSA on P-256 with SHA-256.
    Es256 = "ES256", Family::Ec("P-256", 32), ECDSA_P256_SHA256_FIXED;
    /// ECDSA on P-384 with SHA-384.
    Es384 = "ES384", Family::Ec("P-384", 48), ECDSA_P384_SHA384_FIXED;
    /// ECDSA on P-521 with SHA-512.
    Es512 = "ES512", Family::Ec("P-521", 66), ECDSA_P521_SHA512_FIXED;
    /// Ed25519.
    EdDsa = "EdDSA", Family::Ed25519, ED25519;
}

impl Algorithm {
    /// Returns the names of all algorithms, separated by spaces.
    pub fn names() -> String {
        Self::ALL.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(" ")
    }

    /// Returns the algorithm called `name`. Returns `None` for `none` and symmetric algorithms: a
    /// public key must never be used as a secret (RFC 8725, section 3.1).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|algorithm| algorithm.name() == name).copied()
    }
}
