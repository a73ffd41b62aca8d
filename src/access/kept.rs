//! What is worked out once for a principal, and kept with it.

use super::assertion::Minted;
use crate::catalogue::IdentityPool;
use crate::identity::{Assumed, NoRole};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// What a principal is given in an identity pool.
pub(super) type OfPool = (Arc<IdentityPool>, Result<Arc<Assumed>, NoRole>);

/// What is worked out once for a principal, and kept with it.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) minted: ArcSwap<Vec<Minted>>,
    pub(super) assumed: ArcSwap<Vec<OfPool>>,
}
