//! Blocking threads that parse and verify messages, so that outside input takes no time of the
//! async workers.

use crate::provider::ProviderError;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Messages that wait for a thread. More are refused at once: each holds its text in memory.
const MAX_WAITING: usize = 64;
/// Until a message is verified, waiting included.
const DEADLINE: Duration = Duration::from_secs(5);

static WAITING: Semaphore = Semaphore::const_new(MAX_WAITING);
/// One thread a core: the work is CPU alone.
static RUNNING: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// Runs `job` on a blocking thread.
///
/// # Errors
/// [`ProviderError::Overloaded`] where it was not done by the deadline. A job that has begun keeps
/// its place until it ends.
pub async fn run<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, ProviderError> + Send + 'static,
) -> Result<T, ProviderError> {
    run_within(DEADLINE, job).await
}

async fn run_within<T: Send + 'static>(
    deadline: Duration,
    job: impl FnOnce() -> Result<T, ProviderError> + Send + 'static,
) -> Result<T, ProviderError> {
    let _waiting = WAITING.try_acquire().map_err(|_| ProviderError::Overloaded)?;
    let done = async {
        let running = RUNNING.acquire().await.map_err(|_| ProviderError::Overloaded)?;
        let job = move || {
            let _running = running;
            job()
        };
        tokio::task::spawn_blocking(job).await.map_err(|_| ProviderError::Overloaded)?
    };
    tokio::time::timeout(deadline, done).await.unwrap_or(Err(ProviderError::Overloaded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_message_waits_for_a_thread_until_its_deadline_and_only_so_many_wait() {
        const SHORT: Duration = Duration::from_millis(50);
        let threads = RUNNING.available_permits();
        let mut ends = Vec::new();
        let mut jobs = Vec::new();
        for _ in 0..threads {
            let (end, ended) = mpsc::channel::<()>();
            let (begin, begun) = tokio::sync::oneshot::channel();
            ends.push(end);
            jobs.push(tokio::spawn(run(move || {
                let _ = begin.send(());
                let _ = ended.recv();
                Ok(())
            })));
            begun.await.unwrap();
        }
        // All threads are taken.
        assert_eq!(run_within(SHORT, || Ok(())).await, Err(ProviderError::Overloaded));
        let waiting: Vec<_> = (0..MAX_WAITING - threads).map(|_| tokio::spawn(run(|| Ok(())))).collect();
        while WAITING.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(run(|| Ok(())).await, Err(ProviderError::Overloaded));
        drop(ends);
        for job in jobs.into_iter().chain(waiting) {
            assert_eq!(job.await.unwrap(), Ok(()));
        }
        assert_eq!(run(|| Ok(())).await, Ok(()));
    }
}
