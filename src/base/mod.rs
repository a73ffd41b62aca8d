//! Basic utilities: clock, random numbers, ids, secrets that cannot be printed, encryption at rest.
//! No protocols, and no I/O except reading of named files.

mod aws_signature;
mod case_fold;
mod clock;
mod entropy;
mod fingerprint;
mod fold;
mod ids;
mod jump;
pub mod metrics;
mod named_file;
mod seal;
mod secret;
mod text;

pub use aws_signature::{AwsSigner, hex};
pub use case_fold::{fold_case, nfc};
pub use clock::{Clock, Duration, ManualClock, Moment, MonotonicTime, SystemClock, Timestamp};
pub use entropy::{Entropy, SystemEntropy};
pub use fingerprint::{Fingerprint, Fingerprints};
pub use fold::fold;
pub use ids::{
    RandomToken, base64url_decode, base64url_encode, base64url_encode_into, client_id, client_secret,
    pool_id, sha256, time_ordered_number, uuid, uuid_from_bytes,
};
pub use jump::JumpDetector;
pub use named_file::{MAX_SMALL_FILE, read_file, read_text};
pub use seal::{KeyRing, MasterKey, OpenError, Purpose};
pub use secret::Secret;
pub use text::{escape_deceptive, is_control, is_deceptive};
