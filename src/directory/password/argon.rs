//! Argon2 (RFC 9106): the hash of new passwords, and PHC strings of all three variants.

use super::foreign::{self, HashFormatError};
use super::hash::WorkError;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::fmt;
use zeroize::{Zeroize as _, Zeroizing};

/// Length of a new salt, in bytes (RFC 9106, section 3.1: "16 bytes is RECOMMENDED").
pub const SALT_BYTES: usize = 16;
/// Length of a new hash, in bytes.
const OUTPUT_BYTES: usize = 32;
/// Shortest salt, in bytes (RFC 9106, section 3.1).
const MIN_SALT_BYTES: usize = 8;
/// Largest memory, in KiB: 256 MiB.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
/// Most passes over the memory.
const MAX_PASSES: u32 = 64;
/// Most lanes.
const MAX_LANES: u32 = 16;
/// Most work, in KiB times passes: about a second.
const MAX_WORK_KIB: u64 = 1024 * 1024;

/// The memory that Argon2 fills, reused by one thread.
#[derive(Default)]
pub struct Workspace {
    blocks: Vec<Block>,
    is_dirty: bool,
}

/// The cost of an Argon2 hash, within the bounds of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Params {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// A cost out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamsError;

/// A parsed Argon2 hash.
pub struct ArgonHash {
    algorithm: Algorithm,
    version: Version,
    params: Argon2Params,
    salt: Vec<u8>,
    output: Vec<u8>,
}

impl Default for Argon2Params {
    /// The first choice of the OWASP Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

impl fmt::Display for ParamsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cost of argon2 is out of bounds; help: use at most 262144 KiB, 64 passes, 16 lanes")
    }
}

impl std::error::Error for ParamsError {}

impl Argon2Params {
    /// Checks memory in KiB, passes and lanes.
    ///
    /// # Errors
    ///
    /// [`ParamsError`] if one of them or the total work is out of bounds.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, ParamsError> {
        let is_within = (1..=MAX_LANES).contains(&lanes)
            // RFC 9106, section 3.1: "an integer number of kibibytes from 8*p to 2^(32)-1".
            && (8 * lanes..=MAX_MEMORY_KIB).contains(&memory_kib)
            && (1..=MAX_PASSES).contains(&passes)
            && u64::from(memory_kib) * u64::from(passes) <= MAX_WORK_KIB;
        if is_within { Ok(Self { memory_kib, passes, lanes }) } else { Err(ParamsError) }
    }
}

impl Workspace {
    /// Returns whether the memory may hold data of a password.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Zeroizes the memory, unless that is done.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_dirty) {
            self.blocks.iter_mut().for_each(|block| block.zeroize());
        }
    }

    /// Frees the memory if it exceeds that of `params`, as after an imported hash.
    pub fn shrink(&mut self, params: Argon2Params) {
        if self.blocks.len() > params.memory_kib as usize {
            self.clear();
            self.blocks = Vec::new();
        }
    }

    fn blocks(&mut self, params: &Params) -> &mut [Block] {
        let count = params.block_count();
        if self.blocks.len() < count {
            self.blocks = vec![Block::default(); count];
        }
        self.is_dirty = true;
        &mut self.blocks[..count]
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.clear();
    }
}

impl ArgonHash {
    /// Hashes `password` with Argon2id.
    pub fn compute(
        password: &[u8],
        salt: [u8; SALT_BYTES],
        params: Argon2Params,
        workspace: &mut Workspace,
    ) -> Result<Self, WorkError> {
        let mut hash = Self {
            algorithm: Algorithm::Argon2id,
            version: Version::V0x13,
            params,
            salt: salt.to_vec(),
            output: vec![0; OUTPUT_BYTES],
        };
        hash.output = hash.derive(password, workspace)?.to_vec();
        Ok(hash)
    }

    /// Returns whether `password` has this hash.
    pub fn verify(&self, password: &[u8], workspace: &mut Workspace) -> Result<bool, WorkError> {
        let output = self.derive(password, workspace)?;
        Ok(verify_slices_are_equal(&output, &self.output).is_ok())
    }

    fn derive(&self, password: &[u8], workspace: &mut Workspace) -> Result<Zeroizing<Vec<u8>>, WorkError> {
        let Argon2Params { memory_kib, passes, lanes } = self.params;
        let params =
            Params::new(memory_kib, passes, lanes, Some(self.output.len())).map_err(|_| WorkError)?;
        let mut output = Zeroizing::new(vec![0; self.output.len()]);
        let blocks = workspace.blocks(&params);
        Argon2::new(self.algorithm, self.version, params)
            .hash_password_into_with_memory(password, &self.salt, &mut output, blocks)
            .map_err(|_| WorkError)?;
        Ok(output)
    }

    /// Returns whether this is what [`ArgonHash::compute`] makes with `params`.
    pub fn is_current(&self, params: Argon2Params) -> bool {
        self.algorithm == Algorithm::Argon2id
            && self.version == Version::V0x13
            && self.params == params
            && self.salt.len() >= SALT_BYTES
            && self.output.len() >= OUTPUT_BYTES
    }

    /// Returns the PHC string.
    pub fn encode(&self) -> String {
        let Argon2Params { memory_kib, passes, lanes } = self.params;
        let (name, version) = (self.algorithm.as_str(), u32::from(self.version));
        let (salt, output) = (STANDARD_NO_PAD.encode(&self.salt), STANDARD_NO_PAD.encode(&self.output));
        format!("${name}$v={version}$m={memory_kib},t={passes},p={lanes}${salt}${output}")
    }

    /// Parses a PHC string, or the rest of Django's form `argon2$argon2id$…`. Without `v=` the
    /// version is 1.0, as in the reference implementation.
    pub fn parse(text: &str) -> Result<Self, HashFormatError> {
        let text = text.strip_prefix("argon2").unwrap_or(text);
        let mut fields = text.split('$').skip(1).peekable();
        let mut next = || fields.next().ok_or(HashFormatError::Malformed);
        let name = next()?;
        let mut costs = next()?;
        let version = match costs.strip_prefix("v=") {
            Some(version) => {
                costs = next()?;
                version
            }
            None => "16",
        };
        let [memory_kib, passes, lanes] = foreign::numbers(costs, ["m", "t", "p"])?;
        let (salt, output) = (foreign::base64(next()?)?, foreign::base64(next()?)?);
        if fields.next().is_some() {
            return Err(HashFormatError::Malformed);
        }
        let variant = name.strip_prefix("argon2").ok_or(HashFormatError::Malformed)?;
        Self::from_parts(variant, version, [memory_kib, passes, lanes], salt, output)
    }

    /// Checks the parts of a hash: `variant` is `i`, `d` or `id`, `version` is `16` or `19`,
    /// `costs` are memory, passes and lanes.
    pub fn from_parts(
        variant: &str,
        version: &str,
        costs: [u32; 3],
        salt: Vec<u8>,
        output: Vec<u8>,
    ) -> Result<Self, HashFormatError> {
        let algorithm = match variant {
            "i" => Algorithm::Argon2i,
            "d" => Algorithm::Argon2d,
            "id" => Algorithm::Argon2id,
            _ => return Err(HashFormatError::Malformed),
        };
        let version = match version {
            "16" => Version::V0x10,
            "19" => Version::V0x13,
            _ => return Err(HashFormatError::Malformed),
        };
        let [memory_kib, passes, lanes] = costs;
        let params =
            Argon2Params::new(memory_kib, passes, lanes).map_err(|_| HashFormatError::Bounds("cost"))?;
        foreign::check_lengths(MIN_SALT_BYTES, &salt, &output)?;
        Ok(Self { algorithm, version, params, salt, output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_have_bounds() {
        for (memory, passes, lanes) in
            [(8, 1, 1), (19_456, 2, 1), (65_536, 3, 4), (262_144, 4, 1), (7168, 64, 1)]
        {
            assert!(Argon2Params::new(memory, passes, lanes).is_ok(), "{memory} {passes} {lanes}");
        }
        for (memory, passes, lanes) in [
            (7, 1, 1),
            (8, 0, 1),
            (8, 1, 0),
            (15, 1, 2),
            (262_145, 1, 1),
            (8, 65, 1),
            (1024, 1, 17),
            (262_144, 5, 1),
        ] {
            assert_eq!(
                Argon2Params::new(memory, passes, lanes),
                Err(ParamsError),
                "{memory} {passes} {lanes}"
            );
        }
    }

    #[test]
    fn the_workspace_is_zeroized_and_gives_back_what_a_foreign_hash_needed() {
        let small = Argon2Params::new(8, 1, 1).unwrap();
        let large = Argon2Params::new(64, 1, 1).unwrap();
        let mut workspace = Workspace::default();
        ArgonHash::compute(b"password", [7; SALT_BYTES], large, &mut workspace).unwrap();
        assert!(workspace.blocks.iter().any(|block| block.as_ref().iter().any(|word| *word != 0)));
        workspace.clear();
        assert!(workspace.blocks.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
        workspace.shrink(large);
        assert_eq!(workspace.blocks.len(), 64);
        workspace.shrink(small);
        assert_eq!(workspace.blocks.capacity(), 0);
    }

    #[test]
    fn what_the_memory_held_does_not_matter() {
        let params = Argon2Params::new(32, 2, 2).unwrap();
        let mut used = Workspace::default();
        ArgonHash::compute(b"another", [9; SALT_BYTES], params, &mut used).unwrap();
        let one = ArgonHash::compute(b"password", [7; SALT_BYTES], params, &mut used).unwrap();
        let two =
            ArgonHash::compute(b"password", [7; SALT_BYTES], params, &mut Workspace::default()).unwrap();
        assert_eq!(one.encode(), two.encode());
    }
}
