//! The asynchronous interface to the hashing threads, with load shedding.

use super::argon::{Argon2Params, SALT_BYTES, Workspace};
use super::hash::{PasswordHash, Verdict, WorkError};
use super::metrics;
use super::worker::{self, Job, JobError, Output, Shared, State, Work};
use crate::base::{Duration, Entropy, Secret};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Instant;
use tokio::sync::oneshot;

/// Longest password, in bytes: 256 characters of 4 bytes.
const MAX_PASSWORD_BYTES: usize = 4 * super::policy::MAX_PASSWORD_CHARS;
/// Most waiting jobs.
const MAX_QUEUED: usize = 1024;
/// Shortest time after which a refused client should try again.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Settings of a [`Hasher`].
#[derive(Clone, Copy, Debug)]
pub struct HasherSettings {
    /// The cost of new hashes.
    pub params: Argon2Params,
    /// The number of threads.
    pub threads: NonZeroUsize,
    /// The longest time that a password waits for a thread.
    pub max_wait: Duration,
}

/// A bounded pool of threads that hash and verify passwords.
pub struct Hasher {
    shared: Arc<Shared>,
    settings: HasherSettings,
    entropy: Arc<dyn Entropy>,
    /// A hash that no password has, for unknown users.
    dummy: Arc<PasswordHash>,
}

/// A password that was not hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashError {
    /// Too much other work.
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The password exceeds 256 characters of 4 bytes.
    TooLong,
    /// The algorithm failed.
    Failed,
}

impl Default for HasherSettings {
    /// One core is left for requests.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = NonZeroUsize::new(cores - 1).unwrap_or(NonZeroUsize::MIN);
        Self { params: Argon2Params::default(), threads, max_wait: Duration::from_secs(3) }
    }
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { retry_after } => {
                write!(
                    f,
                    "too many passwords are being verified; help: retry after {} s",
                    retry_after.as_secs()
                )
            }
            Self::TooLong => f.write_str("the password is too long"),
            Self::Failed => f.write_str("the password could not be hashed"),
        }
    }
}

impl std::error::Error for HashError {}

impl From<WorkError> for HashError {
    fn from(WorkError: WorkError) -> Self {
        Self::Failed
    }
}

impl Hasher {
    /// Starts the threads. Computes one hash, whose duration is the first estimate of the work.
    ///
    /// # Errors
    ///
    /// [`std::io::Error`] if a thread cannot be started, or memory for one hash is missing.
    pub fn start(settings: HasherSettings, entropy: Arc<dyn Entropy>) -> std::io::Result<Self> {
        let (mut unknown, mut salt) = ([0; 32], [0; SALT_BYTES]);
        entropy.fill(&mut unknown);
        entropy.fill(&mut salt);
        let start = Instant::now();
        let dummy = PasswordHash::compute(&unknown, salt, settings.params, &mut Workspace::default())
            .map_err(std::io::Error::other)?;
        let shared = Arc::new(Shared::new(settings.params, start.elapsed()));
        let hasher = Self { shared, settings, entropy, dummy: Arc::new(dummy) };
        for index in 0..settings.threads.get() {
            let shared = Arc::clone(&hasher.shared);
            let name = format!("password-{index}");
            thread::Builder::new().name(name).spawn(move || worker::run(&shared))?;
        }
        Ok(hasher)
    }

    /// Verifies `password`. `client` identifies the client, such as a digest of its network:
    /// clients take turns. Dropping the future removes the work from the queue.
    ///
    /// # Errors
    ///
    /// [`HashError::Busy`] if the work could not begin within the longest wait.
    pub async fn verify(
        &self,
        client: u64,
        password: Secret,
        hash: Arc<PasswordHash>,
    ) -> Result<Verdict, HashError> {
        match self.run(client, &password, |password| Work::Verify(password, hash)).await? {
            Output::Verdict(verdict) => Ok(verdict),
            Output::Hash(_) => Err(HashError::Failed),
        }
    }

    /// Does the work of [`Hasher::verify`] for a user who does not exist. The response time is that
    /// of a wrong password with a hash of the current parameters.
    ///
    /// # Errors
    ///
    /// As [`Hasher::verify`].
    pub async fn verify_unknown(&self, client: u64, password: Secret) -> Result<(), HashError> {
        self.verify(client, password, Arc::clone(&self.dummy)).await.map(drop)
    }

    /// Hashes a new password.
    ///
    /// # Errors
    ///
    /// As [`Hasher::verify`].
    pub async fn hash(&self, client: u64, password: Secret) -> Result<PasswordHash, HashError> {
        let mut salt = [0; SALT_BYTES];
        self.entropy.fill(&mut salt);
        match self.run(client, &password, |password| Work::Hash(password, salt)).await? {
            Output::Hash(hash) => Ok(hash),
            Output::Verdict(_) => Err(HashError::Failed),
        }
    }

    async fn run(
        &self,
        client: u64,
        password: &Secret,
        work: impl FnOnce(Secret) -> Work,
    ) -> Result<Output, HashError> {
        if password.expose().len() > MAX_PASSWORD_BYTES {
            return Err(HashError::TooLong);
        }
        let outcome = self.submit(client, work(password.clone()))?.await;
        match outcome {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(JobError::Busy)) => Err(HashError::Busy { retry_after: MIN_RETRY_AFTER }),
            Ok(Err(JobError::Failed)) | Err(_) => Err(HashError::Failed),
        }
    }

    /// Queues `work`, unless it would wait too long.
    fn submit(&self, client: u64, work: Work) -> Result<oneshot::Receiver<worker::Outcome>, HashError> {
        let now = Instant::now();
        let (reply, outcome) = oneshot::channel();
        let job = Job { work, queued_at: now, deadline: now + self.settings.max_wait, reply };
        let mut state = self.shared.lock();
        if self.wait(&state, client) > self.settings.max_wait || state.queue.len() >= MAX_QUEUED {
            state.queue.retain(|job| !job.reply.is_closed());
        }
        let wait = self.wait(&state, client);
        let has_room = wait <= self.settings.max_wait
            && (state.queue.len() < MAX_QUEUED || displace(&mut state, client));
        if !has_room {
            drop(state);
            metrics::count_refused("busy");
            let retry_after = wait.saturating_sub(self.settings.max_wait).max(MIN_RETRY_AFTER);
            return Err(HashError::Busy { retry_after });
        }
        state.queue.push(client, job);
        metrics::set_queue_length(state.queue.len());
        drop(state);
        self.shared.notify();
        Ok(outcome)
    }

    /// Estimates how long a new job of `client` would wait.
    fn wait(&self, state: &State, client: u64) -> Duration {
        let threads = self.settings.threads.get();
        // A thread that works is counted as if it had just begun.
        let ahead = (state.queue.ahead_of(client) + state.busy + 1).saturating_sub(threads);
        let ahead = u32::try_from(ahead.div_ceil(threads)).unwrap_or(u32::MAX);
        state.mean_work.saturating_mul(ahead)
    }
}

/// Removes the newest job of the client with the most, in favor of one of `client`.
fn displace(state: &mut State, client: u64) -> bool {
    let Some(job) = state.queue.displace(client) else { return false };
    metrics::count_refused("displaced");
    let _ = job.reply.send(Err(JobError::Busy));
    true
}

impl Drop for Hasher {
    /// Ends the threads after their current jobs.
    fn drop(&mut self) {
        self.shared.close();
    }
}

#[cfg(test)]
mod tests;
