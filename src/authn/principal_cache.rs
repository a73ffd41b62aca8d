//! What is worked out once for a principal, and kept with it.

use super::assertion::Assertion;
use crate::base::{Duration, Moment};
use crate::catalogue::{Catalogue, IdentityPool, Route};
use crate::identity::{AssumedRole, NoRole};
use arc_swap::ArcSwapOption;
use smallvec::SmallVec;
use std::sync::{Arc, Weak};

/// How many assertions are kept with a principal: a principal with more apps at a time costs
/// signatures, and no memory.
const MAX_ASSERTIONS: usize = 16;

/// What is worked out once for a principal: in one allocation, since both are needed together.
#[derive(Default)]
pub(super) struct PrincipalCache(ArcSwapOption<Cached>);

/// A principal outlives many catalogues, and holds none of them.
#[derive(Clone, Default)]
struct Cached {
    roles: Few<(Weak<IdentityPool>, RoleOutcome)>,
    assertions: Few<CachedAssertion>,
}

/// The role that an identity pool gives, or why it gives none.
type RoleOutcome = Result<Arc<AssumedRole>, NoRole>;

/// Most principals come to one route by one identity pool: what is kept for that needs no list
/// elsewhere.
type Few<One> = SmallVec<[One; 1]>;

/// An assertion, and for what it may be sent again.
#[derive(Clone)]
struct CachedAssertion {
    route: Weak<Route>,
    signed_at: Moment,
    lifetime: Duration,
    assertion: Assertion,
}

impl CachedAssertion {
    /// Whether it may be sent `now`: by either clock. After a step back of the wall clock its `iat`
    /// lies in the future, after a step forward its `exp` in the past.
    fn is_fresh(&self, now: Moment) -> bool {
        now.wall.seconds() >= self.signed_at.wall.seconds()
            && now.wall < self.signed_at.wall.plus(self.lifetime)
            && now.monotonic < self.signed_at.monotonic.plus(self.lifetime)
    }
}

impl PrincipalCache {
    /// What `pool` was found to give.
    pub(super) fn role(&self, pool: &Arc<IdentityPool>) -> Option<RoleOutcome> {
        let pieces = self.0.load();
        let (_, given) = pieces.as_ref()?.roles.iter().find(|(of, _)| of.as_ptr() == Arc::as_ptr(pool))?;
        Some(given.clone())
    }

    /// Keeps what `pool` gives, beside what the others of `catalogue` do.
    pub(super) fn insert_role(&self, catalogue: &Catalogue, pool: &Arc<IdentityPool>, given: &RoleOutcome) {
        let current = |(of, _): &mut (Weak<IdentityPool>, RoleOutcome)| {
            catalogue.identity_pools.iter().any(|pool| Arc::as_ptr(pool) == of.as_ptr())
        };
        self.update(|pieces| {
            pieces.roles.retain(current);
            pieces.roles.push((Arc::downgrade(pool), given.clone()));
        });
    }

    /// The assertion for `route`, where it need not be renewed `now`.
    pub(super) fn assertion(&self, route: &Arc<Route>, now: Moment) -> Option<Assertion> {
        let pieces = self.0.load();
        let good = |kept: &&CachedAssertion| kept.route.as_ptr() == Arc::as_ptr(route) && kept.is_fresh(now);
        pieces.as_ref()?.assertions.iter().find(good).map(|kept| kept.assertion.clone())
    }

    /// Keeps an assertion for `route` that was signed `now`, for `lifetime`.
    pub(super) fn insert_assertion(
        &self,
        route: &Arc<Route>,
        assertion: &Assertion,
        now: Moment,
        lifetime: Duration,
    ) {
        self.update(|pieces| {
            // Those of routes that are gone would be in the way of others, and nobody asks for them
            // again.
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
