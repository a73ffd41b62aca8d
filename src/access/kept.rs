//! What is worked out once for a principal, and kept with it.

use super::assertion::Minted;
use crate::catalogue::IdentityPool;
use crate::identity::{Assumed, NoRole};
use arc_swap::ArcSwap;
use smallvec::SmallVec;
use std::sync::{Arc, Weak};

/// What a principal is given in an identity pool. A principal outlives many catalogues, and holds none of them.
pub(super) type OfPool = (Weak<IdentityPool>, Result<Arc<Assumed>, NoRole>);

/// Most principals come to one route by one identity pool: what is kept for that stands in one place.
pub(super) type Few<One> = SmallVec<[One; 1]>;

/// What is worked out once for a principal, and kept with it.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) minted: ArcSwap<Few<Minted>>,
    pub(super) assumed: ArcSwap<Few<OfPool>>,
}
