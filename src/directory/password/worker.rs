//! Threads that hash passwords, with a low priority.

use super::argon::{Argon2Params, SALT_BYTES, Workspace};
use super::hash::{PasswordHash, Verdict, WorkError};
use super::metrics;
use super::queue::FairQueue;
use crate::base::{Duration, Secret};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::oneshot;

/// Increase of the nice value, so that the threads of requests go first.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;
/// Weight of the last duration in the mean: 1/8.
const MEAN_WEIGHT: u32 = 8;

/// The work on one password.
pub enum Work {
    /// Verification against a hash.
    Verify(Secret, Arc<PasswordHash>),
    /// A new hash with this salt.
    Hash(Secret, [u8; SALT_BYTES]),
    /// A panic, for a test.
    #[cfg(test)]
    Panic,
}

/// The result of [`Work`].
pub enum Output {
    /// Of a verification.
    Verdict(Verdict),
    /// A new hash.
    Hash(PasswordHash),
}

/// The end of a job: [`Output`], or why there is none.
pub type Outcome = Result<Output, JobError>;

/// A job without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobError {
    /// Too much other work.
    Busy,
    /// The algorithm failed.
    Failed,
}

/// Queued work. The receiver's end means that the caller has dropped its future.
pub struct Job {
    /// What to compute.
    pub work: Work,
    /// When the job was queued.
    pub queued_at: Instant,
    /// When the job is too old to begin.
    pub deadline: Instant,
    /// Where the outcome goes.
    pub reply: oneshot::Sender<Outcome>,
}

/// What the threads and the callers share.
pub struct Shared {
    /// The cost of new hashes.
    pub params: Argon2Params,
    state: Mutex<State>,
    ready: Condvar,
}

/// The queue and what an estimate of the waiting time needs.
pub struct State {
    /// Jobs that wait.
    pub queue: FairQueue<Job>,
    /// Threads at work.
    pub busy: usize,
    /// Moving mean of the time of one job.
    pub mean_work: Duration,
    /// Whether the threads end.
    pub is_closed: bool,
}

impl Shared {
    /// Creates an empty queue; one job takes about `mean_work`.
    pub fn new(params: Argon2Params, mean_work: Duration) -> Self {
        let state = State { queue: FairQueue::new(), busy: 0, mean_work, is_closed: false };
        Self { params, state: Mutex::new(state), ready: Condvar::new() }
    }

    /// Locks the state. Jobs run outside of the lock, so no panic leaves it inconsistent.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one thread for a new job.
    pub fn notify(&self) {
        self.ready.notify_one();
    }

    /// Ends the threads; waiting callers get an error.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.queue = FairQueue::new();
        metrics::set_queue_length(0);
        self.ready.notify_all();
    }

    /// Returns the next job that is still wanted, or `None` if there is none.
    fn take(&self, state: &mut State) -> Option<Job> {
        let now = Instant::now();
        let next = loop {
            let Some(job) = state.queue.pop() else { break None };
            if job.reply.is_closed() {
                continue;
            }
            if job.deadline < now {
                metrics::count_refused("expired");
                let _ = job.reply.send(Err(JobError::Busy));
                continue;
            }
            break Some(job);
        };
        metrics::set_queue_length(state.queue.len());
        next
    }

    /// Waits for a job; `None` after [`Shared::close`]. Zeroizes the memory before it waits.
    fn next(&self, workspace: &mut Workspace) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = self.take(&mut state) {
                state.busy += 1;
                return Some(job);
            }
            if workspace.is_dirty() {
                drop(state);
                workspace.clear();
                state = self.lock();
                continue;
            }
            if state.is_closed {
                return None;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(&self, took: Duration) {
        metrics::observe_work(took);
        let mut state = self.lock();
        state.busy -= 1;
        state.mean_work = (state.mean_work * (MEAN_WEIGHT - 1) + took) / MEAN_WEIGHT;
    }
}

/// Works on jobs until the queue is closed.
pub fn run(shared: &Shared) {
    lower_priority();
    let mut workspace = Workspace::default();
    while let Some(job) = shared.next(&mut workspace) {
        metrics::observe_wait(job.queued_at.elapsed());
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| job.work.run(shared.params, &mut workspace)));
        let outcome = match result {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(WorkError)) | Err(_) => Err(JobError::Failed),
        };
        workspace.shrink(shared.params);
        shared.finish(start.elapsed());
        let _ = job.reply.send(outcome);
    }
}

impl Work {
    fn run(&self, params: Argon2Params, workspace: &mut Workspace) -> Result<Output, WorkError> {
        match self {
            Self::Verify(password, hash) => {
                hash.verify(password.expose().as_bytes(), params, workspace).map(Output::Verdict)
            }
            Self::Hash(password, salt) => {
                PasswordHash::compute(password.expose().as_bytes(), *salt, params, workspace)
                    .map(Output::Hash)
            }
            #[cfg(test)]
            Self::Panic => panic!("a test"),
        }
    }
}

/// Raises the nice value of this thread. On Linux it belongs to a thread (sched(7), "the nice value
/// is a per-thread attribute"); elsewhere it is the whole process's and stays as it is.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!(%error, "failed to lower the priority of a hashing thread");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_older_than_its_deadline_is_not_begun() {
        let shared = Shared::new(Argon2Params::default(), Duration::ZERO);
        let now = Instant::now();
        let mut outcomes = [now - Duration::from_secs(1), now + Duration::from_secs(3600)].map(|deadline| {
            let (reply, outcome) = oneshot::channel();
            shared.lock().queue.push(1, Job { work: Work::Panic, queued_at: now, deadline, reply });
            outcome
        });
        let before = metrics::refused("expired");
        let begun = shared.next(&mut Workspace::default()).unwrap();
        assert_eq!(begun.deadline, now + Duration::from_secs(3600));
        assert_eq!(outcomes[0].try_recv().unwrap().err(), Some(JobError::Busy));
        assert!(outcomes[1].try_recv().is_err());
        assert_eq!(metrics::refused("expired"), before + 1);
    }

    #[test]
    fn an_idle_thread_has_zeroized_its_memory() {
        let params = Argon2Params::new(8, 1, 1).unwrap();
        let shared = Shared::new(params, Duration::ZERO);
        let mut workspace = Workspace::default();
        PasswordHash::compute(b"Xk9!vZqw", [7; SALT_BYTES], params, &mut workspace).unwrap();
        assert!(workspace.is_dirty());
        shared.close();
        assert!(shared.next(&mut workspace).is_none());
        assert!(!workspace.is_dirty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_priority_of_this_thread_alone_is_lowered() {
        let nice = || -> i32 {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // proc(5): nice is field 19; the fields after the name begin with the third.
            stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().parse().unwrap()
        };
        let before = nice();
        let lowered = std::thread::spawn(move || {
            lower_priority();
            nice()
        });
        assert_eq!(lowered.join().unwrap(), (before + NICE).min(19));
        assert_eq!(nice(), before);
    }
}
