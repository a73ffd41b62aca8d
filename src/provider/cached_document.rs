//! What a provider publishes of itself, kept and fetched again.

use super::ProviderError;
use crate::base::{Clock, Duration, MonotonicTime};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Mutex;

/// Maximum age of a document that cannot be fetched again.
pub const MAX_STALE: Duration = Duration::from_secs(24 * 3600);
/// How often an unknown key, or a provider that is down, may make us fetch.
pub const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// A document of a provider's, kept.
pub struct CachedDocument<D> {
    /// Whose, for the log.
    provider: String,
    clock: Arc<dyn Clock>,
    state: ArcSwap<DocumentState<D>>,
    /// Held during a fetch, so that many waiting callers cause one. A caller that accepts the
    /// cached document does not wait.
    fetching: Mutex<()>,
    /// Counts how often a document had to be fetched again whatever its age.
    generation: AtomicU32,
}

struct DocumentState<D> {
    document: Option<(Arc<D>, MonotonicTime)>,
    failed: Option<(ProviderError, MonotonicTime)>,
    /// The value of [`CachedDocument::generation`] when the fetch of the document began.
    generation: u32,
}

impl<D> DocumentState<D> {
    fn within(&self, age: Duration, now: MonotonicTime) -> Option<&Arc<D>> {
        let (document, fetched) = self.document.as_ref()?;
        (now.since(*fetched) < age).then_some(document)
    }
}

impl<D> CachedDocument<D> {
    /// Nothing is known of `provider` yet but `document`, where it is there.
    pub fn new(provider: String, document: Option<D>, clock: Arc<dyn Clock>) -> Self {
        let document = document.map(|document| (Arc::new(document), clock.monotonic()));
        let state = ArcSwap::from_pointee(DocumentState { document, failed: None, generation: 0 });
        Self { provider, clock, state, fetching: Mutex::default(), generation: AtomicU32::new(0) }
    }

    /// Returns the cached document if it is still valid, without waiting.
    pub fn current(&self) -> Option<Arc<D>> {
        self.state.load().within(MAX_STALE, self.clock.monotonic()).cloned()
    }

    /// Returns whether the document that is valid `now` satisfies the condition. Called for each
    /// request.
    pub fn current_is(&self, now: MonotonicTime, is: impl FnOnce(&D) -> bool) -> bool {
        self.state.load().within(MAX_STALE, now).is_some_and(|document| is(document))
    }

    /// The document, by `fetch` where it is older than `age`. Where that fails, an older one counts
    /// for a day, and nobody asks again for some seconds.
    pub async fn get_or_fetch(
        &self,
        age: Duration,
        fetch: impl Future<Output = Result<D, ProviderError>>,
    ) -> Result<Arc<D>, ProviderError> {
        if let Some(document) = self.fresh(&self.state.load(), age, self.clock.monotonic()) {
            return Ok(document);
        }
        let _fetching = self.fetching.lock().await;
        let (known, now) = (self.state.load_full(), self.clock.monotonic());
        if let Some(document) = self.fresh(&known, age, now) {
            return Ok(document);
        }
        let stale = known.within(MAX_STALE, now).cloned();
        if let Some((error, at)) = &known.failed
            && now.since(*at) < MIN_INTERVAL
        {
            return stale.ok_or_else(|| error.clone());
        }
        let generation = self.generation.load(Ordering::Acquire);
        let fetched = fetch.await;
        // The fetch ended just now: callers that waited meanwhile need no other one.
        let now = self.clock.monotonic();
        match fetched {
            Ok(document) => {
                let document = Arc::new(document);
                let fetched = Some((document.clone(), now));
                self.state.store(Arc::new(DocumentState { document: fetched, failed: None, generation }));
                Ok(document)
            }
            Err(error) => {
                tracing::warn!(provider = self.provider, %error, "the provider's metadata could not be had");
                let failed = Some((error.clone(), now));
                self.state.store(Arc::new(DocumentState {
                    document: known.document.clone(),
                    failed,
                    generation: known.generation,
                }));
                stale.ok_or(error)
            }
        }
    }

    /// Has the document fetched again at the next opportunity: what was judged by the wall clock
    /// when it was read, such as a `validUntil`, was judged by a wrong one. Until then it is used
    /// as one that cannot be fetched.
    pub fn expire(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn fresh(&self, known: &DocumentState<D>, age: Duration, now: MonotonicTime) -> Option<Arc<D>> {
        let current = || known.generation == self.generation.load(Ordering::Acquire);
        known.within(age, now).filter(|_| age >= MAX_STALE || current()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ManualClock, Timestamp};

    #[tokio::test]
    async fn a_document_is_as_old_as_the_time_that_has_passed_and_is_fetched_again_once_it_is_expired() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_800_000_000)));
        let hour = Duration::from_secs(3600);
        let kept = CachedDocument::new("corp".to_owned(), Some(1), clock.clone());
        let get =
            async |answer| kept.get_or_fetch(hour, async move { answer }).await.map(|document| *document);
        let down = || Err(ProviderError::Unavailable("down".to_owned()));
        clock.jump_forward(hour * 48);
        assert_eq!(get(Ok(2)).await.unwrap(), 1, "no time has passed");
        clock.jump_back(hour * 96);
        clock.advance(hour);
        assert_eq!(get(Ok(2)).await.unwrap(), 2, "though the clock shows less");
        kept.expire();
        assert_eq!(get(down()).await.unwrap(), 2, "what cannot be fetched is used on");
        assert_eq!(get(Ok(3)).await.unwrap(), 2, "nor is it asked for without a pause");
        clock.advance(MIN_INTERVAL);
        assert_eq!(get(Ok(3)).await.unwrap(), 3);
        assert_eq!(get(Ok(4)).await.unwrap(), 3);
        clock.advance(MAX_STALE);
        clock.jump_back(MAX_STALE);
        assert!(get(down()).await.is_err());
    }
}
