//! Tests of the pool: results, shedding, cancellation.

use super::*;
use crate::base::SystemEntropy;

/// So cheap that a test does not wait.
fn cheap() -> Argon2Params {
    Argon2Params::new(8, 1, 1).unwrap()
}

/// About a tenth of a second, in a debug build too.
fn slow() -> Argon2Params {
    Argon2Params::new(65_536, 2, 1).unwrap()
}

fn hasher(params: Argon2Params, threads: usize, max_wait: Duration) -> Hasher {
    let settings = HasherSettings { params, threads: NonZeroUsize::new(threads).unwrap(), max_wait };
    Hasher::start(settings, Arc::new(SystemEntropy)).unwrap()
}

fn secret() -> Secret {
    Secret::new("Xk9!vZqw")
}

#[tokio::test]
async fn a_hash_verifies_and_salts_differ() {
    let hasher = hasher(cheap(), 2, Duration::from_secs(30));
    let hash = Arc::new(hasher.hash(1, secret()).await.unwrap());
    let other = hasher.hash(1, secret()).await.unwrap();
    assert_ne!(hash.expose(), other.expose());
    let verdict = hasher.verify(1, secret(), Arc::clone(&hash)).await;
    assert_eq!(verdict, Ok(Verdict::Match { needs_rehash: false }));
    let verdict = hasher.verify(1, Secret::new("xk9!vZqw"), hash).await;
    assert_eq!(verdict, Ok(Verdict::Mismatch));
    assert_eq!(hasher.verify_unknown(1, secret()).await, Ok(()));
}

#[tokio::test]
async fn too_long_passwords_are_refused_before_work() {
    let hasher = hasher(cheap(), 1, Duration::from_secs(30));
    assert!(hasher.hash(1, Secret::new("😀".repeat(256))).await.is_ok());
    let refused = hasher.hash(1, Secret::new("x".repeat(1025))).await.map(drop);
    assert_eq!(refused, Err(HashError::TooLong));
}

#[tokio::test]
async fn a_panic_ends_one_job_and_no_thread() {
    let hasher = hasher(cheap(), 1, Duration::from_secs(30));
    let outcome = hasher.submit(1, Work::Panic).unwrap().await.unwrap();
    assert_eq!(outcome.err(), Some(JobError::Failed));
    assert!(hasher.hash(1, secret()).await.is_ok());
    assert_eq!(hasher.shared.lock().busy, 0);
}

#[tokio::test]
async fn work_that_would_wait_too_long_is_refused_at_once_with_an_estimate() {
    let hasher = hasher(slow(), 1, Duration::from_secs(60));
    hasher.shared.lock().mean_work = Duration::from_secs(100);
    let before = metrics::refused("busy");
    let work = || Work::Hash(secret(), [0; SALT_BYTES]);
    // The thread takes the first; the second would wait 100 seconds.
    let first = hasher.submit(1, work()).unwrap();
    while hasher.shared.lock().busy == 0 {
        thread::yield_now();
    }
    let start = Instant::now();
    let refused = hasher.submit(1, work()).map(drop);
    assert!(
        matches!(refused, Err(HashError::Busy { retry_after }) if retry_after == Duration::from_secs(40))
    );
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(metrics::refused("busy") > before);
    assert!(first.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_flood_of_one_client_does_not_lock_out_another() {
    let hasher = hasher(slow(), 1, Duration::from_secs(60));
    let work = || Work::Hash(secret(), [0; SALT_BYTES]);
    hasher.shared.lock().mean_work = Duration::from_millis(50);
    let fill = || std::iter::from_fn(|| hasher.submit(1, work()).ok()).take(5000).collect::<Vec<_>>();
    let mut flood = fill();
    assert!(flood.len() <= MAX_QUEUED + 2, "{}", flood.len());
    let before = metrics::refused("displaced");
    // A job that ends in this moment makes room by itself: then nothing is displaced.
    for _ in 0..20 {
        flood.extend(fill());
        let start = Instant::now();
        assert!(hasher.hash(2, secret()).await.is_ok());
        let waited = start.elapsed();
        // Two jobs of the flood at most go first; a thousand would take minutes.
        assert!(waited < Duration::from_secs(10), "{waited:?}");
        if metrics::refused("displaced") > before {
            break;
        }
    }
    assert!(metrics::refused("displaced") > before);
}

#[tokio::test]
async fn dropped_futures_cancel_queued_work() {
    let hasher = hasher(slow(), 1, Duration::from_secs(3600));
    let work = || Work::Hash(secret(), [0; SALT_BYTES]);
    let first = hasher.submit(1, work()).unwrap();
    let dropped: Vec<_> = (0..500).map(|_| hasher.submit(1, work()).unwrap()).collect();
    drop(dropped);
    let start = Instant::now();
    assert!(first.await.unwrap().is_ok());
    assert!(hasher.hash(1, secret()).await.is_ok());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn dropped_work_makes_room_for_new() {
    let hasher = hasher(slow(), 1, Duration::from_secs(600));
    hasher.shared.lock().mean_work = Duration::from_millis(1);
    let work = || Work::Hash(secret(), [0; SALT_BYTES]);
    let dropped: Vec<_> = std::iter::from_fn(|| hasher.submit(1, work()).ok()).take(5000).collect();
    assert!(dropped.len() < 5000);
    drop(dropped);
    assert!(hasher.submit(1, work()).is_ok());
}

#[tokio::test]
async fn the_threads_end_with_the_hasher() {
    let hasher = hasher(cheap(), 2, Duration::from_secs(30));
    let shared = Arc::clone(&hasher.shared);
    drop(hasher);
    let start = Instant::now();
    while Arc::strong_count(&shared) > 1 {
        assert!(start.elapsed() < Duration::from_secs(30));
        thread::yield_now();
    }
}

#[test]
fn an_unknown_user_costs_what_a_wrong_password_costs() {
    let settings = HasherSettings { params: cheap(), ..HasherSettings::default() };
    let hasher = Hasher::start(settings, Arc::new(SystemEntropy)).unwrap();
    assert!(!hasher.dummy.needs_rehash(settings.params));
    assert!(hasher.dummy.expose().starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
}
