//! What is worked out once for a principal, and kept with it.

use super::assertion::Assertion;
use crate::base::{Duration, Moment};
use crate::catalogue::{Catalogue, IdentityPool, Route};
use crate::identity::{Assumed, NoRole};
use arc_swap::ArcSwapOption;
use smallvec::SmallVec;
use std::sync::{Arc, Weak};

/// How many assertions are kept with a principal: whoever goes to more apps at a time costs signatures, and no memory.
const MOST_ASSERTIONS: usize = 16;

/// What is worked out once for a principal: all of it in one piece of memory, since whoever asks for one asks for the other.
#[derive(Default)]
pub(super) struct Kept(ArcSwapOption<Pieces>);

/// A principal outlives many catalogues, and holds none of them.
#[derive(Clone, Default)]
struct Pieces {
    roles: Few<(Weak<IdentityPool>, Given)>,
    assertions: Few<ForRoute>,
}

/// The role that an identity pool gives, or why it gives none.
type Given = Result<Arc<Assumed>, NoRole>;

/// Most principals come to one route by one identity pool: what is kept for that needs no list elsewhere.
type Few<One> = SmallVec<[One; 1]>;

/// An assertion, and for what it may be sent again.
#[derive(Clone)]
struct ForRoute {
    route: Weak<Route>,
    signed_at: Moment,
    lifetime: Duration,
    assertion: Assertion,
}

impl ForRoute {
    /// Whether it may be sent `now`: by either clock. After a step back of the wall clock its `iat` lies in the future,
    /// after a step forward its `exp` in the past.
    fn is_fresh(&self, now: Moment) -> bool {
        now.wall.seconds() >= self.signed_at.wall.seconds()
            && now.wall < self.signed_at.wall.plus(self.lifetime)
            && now.monotonic < self.signed_at.monotonic.plus(self.lifetime)
    }
}

impl Kept {
    /// What `pool` was found to give.
    pub(super) fn given(&self, pool: &Arc<IdentityPool>) -> Option<Given> {
        let pieces = self.0.load();
        let (_, given) = pieces.as_ref()?.roles.iter().find(|(of, _)| of.as_ptr() == Arc::as_ptr(pool))?;
        Some(given.clone())
    }

    /// Keeps what `pool` gives, beside what the others of `catalogue` do.
    pub(super) fn keep_given(&self, catalogue: &Catalogue, pool: &Arc<IdentityPool>, given: &Given) {
        let current = |(of, _): &mut (Weak<IdentityPool>, Given)| {
            catalogue.identity_pools.iter().any(|pool| Arc::as_ptr(pool) == of.as_ptr())
        };
        self.change(|pieces| {
            pieces.roles.retain(current);
            pieces.roles.push((Arc::downgrade(pool), given.clone()));
        });
    }

    /// The assertion for `route`, where it need not be renewed `now`.
    pub(super) fn assertion(&self, route: &Arc<Route>, now: Moment) -> Option<Assertion> {
        let pieces = self.0.load();
        let good = |kept: &&ForRoute| kept.route.as_ptr() == Arc::as_ptr(route) && kept.is_fresh(now);
        pieces.as_ref()?.assertions.iter().find(good).map(|kept| kept.assertion.clone())
    }

    /// Keeps an assertion for `route` that was signed `now`, for `lifetime`.
    pub(super) fn keep_assertion(
        &self,
        route: &Arc<Route>,
        assertion: &Assertion,
        now: Moment,
        lifetime: Duration,
    ) {
        self.change(|pieces| {
            // Those of routes that are gone would be in the way of others, and nobody asks for them again.
            pieces.assertions.retain(|kept| kept.is_fresh(now) && kept.route.strong_count() > 0);
            if pieces.assertions.len() == MOST_ASSERTIONS {
                pieces.assertions.remove(0);
            }
            let route = Arc::downgrade(route);
            pieces.assertions.push(ForRoute {
                route,
                signed_at: now,
                lifetime,
                assertion: assertion.clone(),
            });
        });
    }

    fn change(&self, change: impl Fn(&mut Pieces)) {
        self.0.rcu(|pieces| {
            let mut next = pieces.as_deref().cloned().unwrap_or_default();
            change(&mut next);
            Some(Arc::new(next))
        });
    }
}
