//! Password hashing: hashes per second through the pool against the bare algorithm, and how much of
//! a core's throughput remains for other threads while the pool is saturated.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use narthex::base::{Secret, SystemEntropy};
use narthex::directory::{Argon2Params, Hasher, HasherSettings};
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Duration of each measurement.
const DURATION: Duration = Duration::from_secs(5);
/// Callers that wait at the same time.
const CALLERS: u64 = 16;
/// Measurements of each kind, in turn, of which the best counts: other programs only slow one down.
const ROUNDS: usize = 3;

/// Returns hashes per second of one thread with OWASP's parameters and reused memory.
fn bare() -> f64 {
    let params = Params::new(19_456, 2, 1, Some(32)).expect("the parameters are valid");
    let mut memory = vec![Block::default(); params.block_count()];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < DURATION {
        let mut output = [0; 32];
        let result = argon.hash_password_into_with_memory(b"Xk9!vZqw", &[7; 16], &mut output, &mut memory);
        result.expect("the lengths are valid");
        black_box(output);
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn start(threads: usize) -> Arc<Hasher> {
    let threads = NonZeroUsize::new(threads).expect("at least one thread");
    let settings =
        HasherSettings { params: Argon2Params::default(), threads, max_wait: Duration::from_secs(60) };
    Arc::new(Hasher::start(settings, Arc::new(SystemEntropy)).expect("threads start"))
}

/// Keeps `hasher` busy until `stop`. Returns the number of hashes.
async fn saturate(hasher: Arc<Hasher>, stop: Arc<AtomicBool>) -> u64 {
    let callers = (0..CALLERS).map(|client| {
        let (hasher, stop) = (Arc::clone(&hasher), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                hasher.verify_unknown(client, Secret::new("Xk9!vZqw")).await.expect("the queue has room");
                count += 1;
            }
            count
        })
    });
    let mut total = 0;
    for caller in callers.collect::<Vec<_>>() {
        total += caller.await.expect("no caller panics");
    }
    total
}

/// Returns hashes per second through a pool of one thread.
fn pooled(runtime: &tokio::runtime::Runtime) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let running = runtime.spawn(saturate(start(1), Arc::clone(&stop)));
    let begin = Instant::now();
    // The length of the measurement, which counts what other threads do meanwhile.
    thread::sleep(DURATION);
    stop.store(true, Ordering::Relaxed);
    let count = runtime.block_on(running).expect("no caller panics");
    count as f64 / begin.elapsed().as_secs_f64()
}

/// Returns steps per second of one busy thread for each core.
fn busy_threads() -> f64 {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (stop, steps) = (AtomicBool::new(false), AtomicU64::new(0));
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut state = 1_u64;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..10_000 {
                        state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                    }
                    steps.fetch_add(10_000, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(DURATION);
        stop.store(true, Ordering::Relaxed);
    });
    steps.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
}

/// Returns the throughput of busy threads while a pool of the default size is saturated.
fn busy_threads_beside_pool(runtime: &tokio::runtime::Runtime) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let threads = HasherSettings::default().threads.get();
    let running = runtime.spawn(saturate(start(threads), Arc::clone(&stop)));
    let steps = busy_threads();
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(running).expect("no caller panics");
    steps
}

fn best(mut measure: impl FnMut() -> f64) -> f64 {
    measure().max(measure()).max(measure())
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("the runtime starts");
    let (mut bare_rate, mut pool_rate) = (0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        bare_rate = bare_rate.max(bare());
        pool_rate = pool_rate.max(pooled(&runtime));
    }
    let share = 100.0 * pool_rate / bare_rate;
    println!("argon2id, one thread: {bare_rate:.1}/s; through the pool: {pool_rate:.1}/s, {share:.0} %");
    let alone = best(busy_threads);
    let beside = best(|| busy_threads_beside_pool(&runtime));
    let kept = 100.0 * beside / alone;
    println!(
        "busy threads, millions of steps/s: {:.0}; beside a saturated pool: {:.0}, {kept:.0} %",
        alone / 1e6,
        beside / 1e6
    );
}
