//! A domain of a user pool.

use crate::base::Timestamp;

/// A domain, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolDomain {
    /// A label below the domain of the sign-in pages, or a full host name. Unique among all pools.
    pub domain: String,
    /// The number of its pool.
    pub pool: i64,
    /// The time of creation.
    pub created_at: Timestamp,
}
