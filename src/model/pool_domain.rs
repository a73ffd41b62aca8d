//! A domain of a user pool.

use super::Members;
use crate::base::Timestamp;

/// A stored domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolDomain {
    /// A label below the domain of the sign-in pages, or a full host name. Unique among all pools.
    pub domain: String,
    /// The number of the domain's pool.
    pub pool: i64,
    /// Members of Cognito's API that have no effect here. Responses repeat them.
    pub kept: Members,
    /// The time of creation.
    pub created_at: Timestamp,
}
