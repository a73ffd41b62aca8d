//! A pool of idle connections to upstreams.
//!
//! For each idle connection and each request, pingora's pool creates a task with a timer, a lock
//! and two channels. This pool has no tasks for connections: it checks a connection when it is
//! requested, and periodically.

use crate::base::Duration;
use foldhash::fast::RandomState;
use futures_util::FutureExt as _;
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::socket::SocketAddr;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncReadExt as _;
use tokio::task::unconstrained;

/// The interval between evictions of unusable connections.
const EVICTION_INTERVAL: Duration = Duration::from_secs(5);
/// The number of evictions after which an unused connection is closed: up to 55 seconds.
const MAX_IDLE_ROUNDS: u32 = 11;
/// The minimum capacity of a worker's shard, however many workers there are. A full shard closes
/// connections that the next requests need.
const MIN_PER_SHARD: usize = 64;

/// Idle connections without TLS, by server address.
pub struct IdlePool {
    /// One shard for each worker. A worker tries its own shard first, because it mostly needs the
    /// connection that it returned.
    shards: Box<[Mutex<Shard>]>,
    /// The maximum number of connections in a shard.
    max_per_shard: usize,
    round: AtomicU32,
}

#[derive(Default)]
struct Shard {
    /// The idle connections of each server, in the order of their return.
    by_server: HashMap<SocketAddr, VecDeque<IdleConnection>, RandomState>,
    count: usize,
}

struct IdleConnection {
    stream: Stream,
    since: u32,
}

impl IdlePool {
    /// Creates a pool of about `most` connections for `workers` workers.
    pub fn new(most: usize, workers: usize) -> Self {
        let workers = workers.max(1);
        Self::of(most.div_ceil(workers).max(MIN_PER_SHARD), workers)
    }

    fn of(max_per_shard: usize, workers: usize) -> Self {
        let shards = (0..workers).map(|_| Mutex::default()).collect();
        Self { shards, max_per_shard, round: AtomicU32::new(0) }
    }

    /// Returns a connection to `server` on which nothing was received since its return to the pool.
    /// Received bytes would be read as the response to the next request.
    pub fn get(&self, server: &SocketAddr) -> Option<Stream> {
        let (own, others) = self.shards();
        let others = others.filter_map(|shard| shard.try_lock().ok());
        std::iter::once(lock(own)).chain(others).find_map(|mut shard| shard.pop_newest(server))
    }

    /// Returns a connection to `server` to the pool. A full shard first closes its connection that
    /// was unused for the longest time, to any server. Connections to a server that was busy once
    /// thus make room for those of other servers.
    pub fn put(&self, server: &SocketAddr, stream: Stream) {
        let since = self.round.load(Ordering::Relaxed);
        let mut shard = lock(self.shards().0);
        let mut surplus = None;
        if shard.count == self.max_per_shard {
            surplus = shard.pop_oldest(since);
        }
        shard.count += 1;
        match shard.by_server.get_mut(server) {
            Some(kept) => kept.push_back(IdleConnection { stream, since }),
            None => drop(
                shard.by_server.insert(server.clone(), VecDeque::from([IdleConnection { stream, since }])),
            ),
        }
        // Closing needs a system call, so the lock is released before.
        drop(shard);
        drop(surplus);
    }

    /// Periodically closes connections that the server has closed or that were unused for too long.
    /// Never returns.
    pub async fn run_eviction_loop(&self) {
        loop {
            tokio::time::sleep(EVICTION_INTERVAL).await;
            self.evict();
        }
    }

    fn evict(&self) {
        let round = self.round.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        for shard in &self.shards {
            let Shard { by_server, count } = &mut *lock(shard);
            by_server.retain(|_, kept| {
                kept.retain_mut(|kept| {
                    round.wrapping_sub(kept.since) < MAX_IDLE_ROUNDS && is_reusable(&mut kept.stream)
                });
                !kept.is_empty()
            });
            *count = by_server.values().map(VecDeque::len).sum();
        }
    }

    /// Returns this worker's shard, and those of the other workers.
    fn shards(&self) -> (&Mutex<Shard>, impl Iterator<Item = &Mutex<Shard>>) {
        static WORKERS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static WORKER: usize = WORKERS.fetch_add(1, Ordering::Relaxed));
        let (before, from) = self.shards.split_at(WORKER.with(|worker| worker % self.shards.len()));
        (&from[0], from[1..].iter().chain(before))
    }
}

impl Shard {
    /// Removes the connection that was returned last, because it is the least likely to have been
    /// closed.
    fn pop_newest(&mut self, server: &SocketAddr) -> Option<Stream> {
        let kept = self.by_server.get_mut(server)?;
        while let Some(IdleConnection { mut stream, .. }) = kept.pop_back() {
            self.count -= 1;
            if is_reusable(&mut stream) {
                return Some(stream);
            }
        }
        None
    }

    /// Removes the connection that was returned first, to any server. `round` is the current round.
    fn pop_oldest(&mut self, round: u32) -> Option<IdleConnection> {
        let age = |kept: &VecDeque<IdleConnection>| kept.front().map(|kept| round.wrapping_sub(kept.since));
        let oldest = self.by_server.values_mut().max_by_key(|kept| age(kept))?.pop_front()?;
        self.count -= 1;
        Some(oldest)
    }
}

/// Returns whether nothing was received, not even the end of the stream.
fn is_reusable(stream: &mut Stream) -> bool {
    unconstrained(stream.read(&mut [0])).now_or_never().is_none()
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora_core::protocols::l4::stream::Stream as L4Stream;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    fn address_of(listener: &TcpListener) -> SocketAddr {
        SocketAddr::Inet(listener.local_addr().unwrap())
    }

    /// Returns a connection, and the server's end of it.
    async fn connected(listener: &TcpListener) -> (Stream, TcpStream) {
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Box::new(L4Stream::from(ours.unwrap())), theirs.unwrap().0)
    }

    /// Waits until the pool has no usable connection to `server`, which requires that the runtime
    /// has processed the received bytes.
    async fn none_is_left(idle: &IdlePool, server: &SocketAddr) {
        let emptied = async {
            while let Some(silent) = idle.get(server) {
                idle.put(server, silent);
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), emptied)
            .await
            .expect("what has spoken is not used again");
    }

    #[tokio::test]
    async fn a_connection_is_taken_once_and_for_its_server_alone() {
        let (one, other) = (
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let (server, another) = (&address_of(&one), &address_of(&other));
        let idle = IdlePool::new(8, 2);
        let ((stream, _theirs), (later, _theirs_too)) = (connected(&one).await, connected(&one).await);
        let ids = [stream.id(), later.id()];
        idle.put(server, stream);
        idle.put(server, later);
        assert!(idle.get(another).is_none());
        let taken = [idle.get(server).unwrap(), idle.get(server).unwrap()];
        assert_eq!([taken[1].id(), taken[0].id()], ids, "the last one first");
        assert!(idle.get(server).is_none());
    }

    #[tokio::test]
    async fn what_another_worker_keeps_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = &address_of(&listener);
        let idle = IdlePool::new(8, 4);
        for _ in 0..4 {
            let (stream, theirs) = connected(&listener).await;
            std::thread::scope(|scope| scope.spawn(|| idle.put(server, stream)).join()).unwrap();
            let taken = idle.get(server).expect("whose worker it is does not matter");
            std::thread::scope(|scope| scope.spawn(|| idle.put(server, taken)).join()).unwrap();
            drop(theirs);
            none_is_left(&idle, server).await;
        }
    }

    #[tokio::test]
    async fn a_connection_on_which_something_came_is_not_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = &address_of(&listener);
        let idle = IdlePool::new(8, 1);
        let (stream, mut theirs) = connected(&listener).await;
        idle.put(server, stream);
        theirs.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        none_is_left(&idle, server).await;
    }

    #[tokio::test]
    async fn no_more_are_kept_than_may_be_and_none_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = &address_of(&listener);
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let idle = IdlePool::of(2, 1);
        let (busy, mut end) = connected(&other).await;
        idle.put(&address_of(&other), busy);
        let mut ends = Vec::new();
        idle.evict();
        for _ in 0..2 {
            let (stream, theirs) = connected(&listener).await;
            idle.put(server, stream);
            ends.push(theirs);
        }
        let mut read = [0];
        let closed = tokio::time::timeout(Duration::from_secs(5), end.read(&mut read)).await;
        assert_eq!(closed.expect("it is the third, and the oldest").unwrap(), 0);
        (1..MAX_IDLE_ROUNDS).for_each(|_| idle.evict());
        let taken = idle.get(server).expect("it is young enough");
        idle.put(server, taken);
        idle.evict();
        let closed = tokio::time::timeout(Duration::from_secs(5), ends[0].read(&mut read)).await;
        assert_eq!(closed.expect("nobody wanted it for long").unwrap(), 0);
        assert!(idle.get(server).is_some(), "the one that was used lately was not");
        assert!(lock(&idle.shards[0]).by_server.values().all(VecDeque::is_empty));
        idle.evict();
        assert!(lock(&idle.shards[0]).by_server.is_empty());
    }
}
