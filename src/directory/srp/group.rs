//! The group: integers modulo the 3072-bit prime of RFC 5054, and their byte form.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, CtLt as _};
use std::sync::LazyLock;
use zeroize::{Zeroize as _, Zeroizing};

/// The length of an element in bytes.
pub const ELEMENT_LENGTH: usize = 384;
/// The length of the exponents x, u and b in bytes. b has the strength of the hash: RFC 5054,
/// section 2.5.3, asks for at least 256 bits.
pub const EXPONENT_LENGTH: usize = 32;

const ELEMENT_BITS: u32 = 3072;
const EXPONENT_BITS: u32 = 256;

/// N: RFC 5054, appendix A, "3072-bit Group"; RFC 3526, section 4.
pub(super) const PRIME: &str = "\
    FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
    EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
    EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
    83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
    E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
    15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7\
    ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C\
    BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF";

/// k = H(pad N ‖ pad g), a constant of the group.
const MULTIPLIER: &str = "538282c4354742d7cbbde2359fcf67f9f5b3a6b08791e5011b43b8a5b66d9ee6";

static GROUP: LazyLock<Group> = LazyLock::new(Group::new);

struct Group {
    params: BoxedMontyParams,
    prime_minus_one: BoxedUint,
    generator: Element,
    multiplier: Element,
}

impl Group {
    fn new() -> Self {
        let prime = integer(PRIME);
        let prime_minus_one = prime.wrapping_sub(BoxedUint::one_with_precision(ELEMENT_BITS));
        let params = BoxedMontyParams::new(prime.to_odd().into_option().expect("invariant: N is odd"));
        let element = |value: BoxedUint| Element(BoxedMontyForm::new(value, &params));
        // RFC 5054 has g = 5 for this N; Cognito's clients have 2.
        let generator = element(integer("2"));
        let multiplier = element(integer(MULTIPLIER));
        Self { params, prime_minus_one, generator, multiplier }
    }
}

fn integer(hex: &str) -> BoxedUint {
    let digits = format!("{hex:0>width$}", width = ELEMENT_LENGTH * 2);
    BoxedUint::from_be_hex(&digits, ELEMENT_BITS).into_option().expect("invariant: constants are hexadecimal")
}

/// An integer modulo N in Montgomery form. Its operations take constant time.
pub struct Element(BoxedMontyForm);

impl Element {
    /// Returns g.
    pub fn generator() -> &'static Self {
        &GROUP.generator
    }

    /// Returns k.
    pub fn multiplier() -> &'static Self {
        &GROUP.multiplier
    }

    /// Parses a big-endian A or v, 1 < value < N − 1; `None` for anything else. RFC 5054, section
    /// 2.5.4: A modulo N must not be zero. With a v of 0, 1 or −1 anyone can compute S.
    pub fn parse(bytes: &[u8; ELEMENT_LENGTH]) -> Option<Self> {
        let mut value = BoxedUint::from_be_slice_truncated(bytes, ELEMENT_BITS);
        let valid =
            BoxedUint::one_with_precision(ELEMENT_BITS).ct_lt(&value) & value.ct_lt(&GROUP.prime_minus_one);
        let element = valid.to_bool().then(|| Self(BoxedMontyForm::new(value.clone(), &GROUP.params)));
        value.zeroize();
        element
    }

    /// Returns `bytes` modulo N.
    pub fn reduced(bytes: &[u8; ELEMENT_LENGTH]) -> Self {
        Self(BoxedMontyForm::new(BoxedUint::from_be_slice_truncated(bytes, ELEMENT_BITS), &GROUP.params))
    }

    /// Returns `self` to the power of a big-endian `exponent`.
    pub fn power(&self, exponent: &[u8; EXPONENT_LENGTH]) -> Self {
        let mut exponent = BoxedUint::from_be_slice_truncated(exponent, EXPONENT_BITS);
        let power = self.0.pow_bounded_exp(&exponent, EXPONENT_BITS);
        exponent.zeroize();
        Self(power)
    }

    /// Returns the product.
    pub fn times(&self, other: &Self) -> Self {
        Self(self.0.mul(&other.0))
    }

    /// Returns the sum.
    pub fn plus(&self, other: &Self) -> Self {
        Self(self.0.add(&other.0))
    }

    /// Returns the big-endian bytes.
    pub fn to_bytes(&self) -> Zeroizing<[u8; ELEMENT_LENGTH]> {
        let mut value = self.0.retrieve();
        let mut bytes = Zeroizing::new([0; ELEMENT_LENGTH]);
        let boxed = Zeroizing::new(value.to_be_bytes());
        bytes.copy_from_slice(&boxed);
        value.zeroize();
        bytes
    }
}

impl Drop for Element {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Returns the shortest two's complement of a positive big-endian integer, as Java's
/// `BigInteger.toByteArray` and the clients' `padHex` do: without leading zeros, but with one zero
/// byte where the first bit is set.
pub fn padded(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = Zeroizing::new(Vec::with_capacity(significant.len() + 1));
    if significant.first().is_none_or(|first| first & 0x80 != 0) {
        out.push(0);
    }
    out.extend_from_slice(significant);
    out
}

/// Returns the lower-case hexadecimal digits of [`padded`] bytes. A client that parses them as an
/// integer and one that pads the text hash the same bytes.
pub fn padded_hex(bytes: &[u8]) -> String {
    padded(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
