//! Cache of a principal's roles and assertions, stored with the principal.

use super::assertion::Assertion;
use crate::base::{Duration, Moment};
use crate::catalogue::{Catalogue, IdentityPool, Route};
use crate::identity::{AssumedRole, NoRole};
use arc_swap::ArcSwapOption;
use smallvec::SmallVec;
use std::sync::{Arc, Weak};

/// Maximum number of assertions per principal. A principal that uses more apps at a time causes
/// more signatures, but no more memory.
const MAX_ASSERTIONS: usize = 16;

/// The cached roles and assertions of a principal. One allocation contains both, because requests
/// need them together.
#[derive(Default)]
pub(super) struct PrincipalCache(ArcSwapOption<Cached>);

/// The roles and assertions. The references are weak, because a principal outlives many catalogues.
#[derive(Clone, Default)]
struct Cached {
    roles: Few<(Weak<IdentityPool>, RoleOutcome)>,
    assertions: Few<CachedAssertion>,
}

/// The role in an identity pool, or the reason that there is none.
type RoleOutcome = Result<Arc<AssumedRole>, NoRole>;

/// A list with one inline element: most principals use one route and one identity pool.
type Few<One> = SmallVec<[One; 1]>;

/// An assertion, with the route and period in which it may be reused.
#[derive(Clone)]
struct CachedAssertion {
    route: Weak<Route>,
    signed_at: Moment,
    lifetime: Duration,
    assertion: Assertion,
}

impl CachedAssertion {
    /// Returns whether the assertion may be reused at `now`, by both clocks. After a backward step
    /// of the wall clock, its `iat` is in the future; after a forward step, its `exp` may be in the
    /// past.
    fn is_fresh(&self, now: Moment) -> bool {
        now.wall.seconds() >= self.signed_at.wall.seconds()
            && now.wall < self.signed_at.wall.plus(self.lifetime)
            && now.monotonic < self.signed_at.monotonic.plus(self.lifetime)
    }
}

impl PrincipalCache {
    /// Returns the cached role in `pool`, if any.
    pub(super) fn role(&self, pool: &Arc<IdentityPool>) -> Option<RoleOutcome> {
        let pieces = self.0.load();
        let (_, given) = pieces.as_ref()?.roles.iter().find(|(of, _)| of.as_ptr() == Arc::as_ptr(pool))?;
        Some(given.clone())
    }

    /// Caches the role in `pool`. Removes roles of pools that are not in `catalogue`.
    pub(super) fn insert_role(&self, catalogue: &Catalogue, pool: &Arc<IdentityPool>, given: &RoleOutcome) {
        let current = |(of, _): &mut (Weak<IdentityPool>, RoleOutcome)| {
            catalogue.identity_pools.iter().any(|pool| Arc::as_ptr(pool) == of.as_ptr())
        };
        self.update(|pieces| {
            pieces.roles.retain(current);
            pieces.roles.push((Arc::downgrade(pool), given.clone()));
        });
    }

    /// Returns the cached assertion for `route` if it may be reused at `now`.
    pub(super) fn assertion(&self, route: &Arc<Route>, now: Moment) -> Option<Assertion> {
        let pieces = self.0.load();
        let good = |kept: &&CachedAssertion| kept.route.as_ptr() == Arc::as_ptr(route) && kept.is_fresh(now);
        pieces.as_ref()?.assertions.iter().find(good).map(|kept| kept.assertion.clone())
    }

    /// Caches an assertion for `route` that was signed at `now`, for `lifetime`.
    pub(super) fn insert_assertion(
        &self,
        route: &Arc<Route>,
        assertion: &Assertion,
        now: Moment,
        lifetime: Duration,
    ) {
        self.update(|pieces| {
            // Assertions of removed routes are never used again, and would take the place of
            // others.
            pieces.assertions.retain(|kept| kept.is_fresh(now) && kept.route.strong_count() > 0);
            if pieces.assertions.len() == MAX_ASSERTIONS {
                pieces.assertions.remove(0);
            }
            let route = Arc::downgrade(route);
            pieces.assertions.push(CachedAssertion {
                route,
                signed_at: now,
                lifetime,
                assertion: assertion.clone(),
            });
        });
    }

    fn update(&self, change: impl Fn(&mut Cached)) {
        self.0.rcu(|pieces| {
            let mut next = pieces.as_deref().cloned().unwrap_or_default();
            change(&mut next);
            Some(Arc::new(next))
        });
    }
}
