//! What a request costs a proxy.

use super::load::{Load, Way};
use super::proxies::Proxy;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 8;
/// In how many turns the requests of a round are sent.
pub const TURNS: usize = 8;
/// The same where what is looked for is a small part of what is measured: a machine that is slow for a while must be slow
/// for all of it. Each turn opens its connections anew, so that more of them cost something, too.
pub const SHORT_TURNS: usize = 4 * TURNS;
const SHORT: usize = 1_000;
pub const LONG: usize = 4_000;
/// How many of the requests are sent under callgrind, where each costs fifty times as much.
pub const FEW: usize = 1_000;

/// Within what a proxy rests that has nothing to do. A thread's processor time is reported as of the last tick, or
/// of when it last rested: up to four milliseconds would be missing.
const REST: Duration = Duration::from_millis(2);

/// Within what it begins that the last use of each session is written down, which comes once a minute.
const WRITTEN_DOWN: Duration = Duration::from_secs(6);
/// Who has less than this of a processor in a second is at rest: all keep house.
const KEEPS_HOUSE: Duration = Duration::from_millis(20);
/// Within how many seconds all are at rest.
const AT_REST: usize = 120;

/// What a proxy was measured to cost in one round.
#[derive(Clone, Copy)]
pub struct Round {
    /// Microseconds of CPU a request.
    pub cpu: f64,
    /// Requests a second.
    pub rate: f64,
    /// How long half, all but one in a hundred and all but one in a thousand took, in microseconds.
    pub latency: [f64; 3],
}

/// What a proxy was measured to cost.
pub struct Measured {
    pub rounds: Vec<Round>,
    /// What it holds in memory at the end, in bytes.
    pub memory: u64,
}

impl Measured {
    /// The median of something over the rounds, with the least and the most.
    pub fn of(&self, what: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(what))
    }

    /// The same of its ratio to another's in the same round.
    pub fn to(&self, other: &Self, what: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().zip(&other.rounds).map(|(one, other)| what(one) / what(other)))
    }
}

/// A median, and between what it lies.
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Self { low: values[0], median: values[values.len() / 2], high: values[values.len() - 1] }
    }
}

/// Where profiles are kept, which show the sources of instructions and cache misses.
pub fn profile() -> Option<String> {
    std::env::var("NARTHEX_BENCH_PROFILE").ok()
}

/// User-space instructions of one request: what a longer run took more than a shorter one. Of requests that are to be
/// `new`, none is sent twice.
pub fn instructions(load: &Load, proxy: &Proxy, way: Way, new: bool) -> u64 {
    let few = &proxy.requests[..FEW.min(proxy.requests.len())];
    let run = |count: usize| {
        let out = tempfile::NamedTempFile::new().unwrap();
        let kept = match profile() {
            Some(file) => format!("{file}.{}.{count}", proxy.port),
            None => out.path().display().to_string(),
        };
        let file = format!("--callgrind-out-file={kept}");
        let mut words = vec!["valgrind", "--tool=callgrind", &file];
        if profile().is_some() {
            // What misses a cache of this size comes from the memory, or from where others evict it.
            words.extend(["--cache-sim=yes", "--LL=1048576,16,64"]);
        }
        let mut running = proxy.start(load, &words);
        // All are met before the count, as the caches of a running gateway have met them: twice, since what came once may
        // never come again.
        load.run(proxy, way, few, (0, 2 * few.len()), 1);
        std::thread::sleep(WRITTEN_DOWN);
        match new {
            true => load.run(proxy, way, &proxy.requests, (few.len(), count), 1),
            false => load.run(proxy, way, few, (0, count), 1),
        };
        // Bare pingora stops at once only when it is interrupted.
        signal(running.pid, "INT");
        let mut said = String::new();
        running.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        running.child.wait().unwrap();
        let total =
            said.lines().rev().find_map(|line| line.split("Collected : ").nth(1)).expect("callgrind's sum");
        let first = total.split_whitespace().next().unwrap();
        first.parse::<u64>().unwrap()
    };
    (run(LONG) - run(SHORT)) / (LONG - SHORT) as u64
}

/// What each proxy costs: in turn on one core, the load and the upstream on the other. `requests` a round; where each
/// is to be `new`, as many are sent beforehand, and none twice.
///
/// Each round is a process of its own: where code and data come to lie differs from one to the next by a tenth and
/// more. Within a round they take turns, so that a machine that is slow for a while is slow for all.
pub fn in_turn(load: &Load, proxies: &[&Proxy], way: Way, much: (usize, usize), new: bool) -> Vec<Measured> {
    in_turn_with(load, (proxies, &[]), way, (much.0, TURNS, much.1), new).0
}

/// What is done again and again on the proxies' core, in their turns, while the load's core is as busy as with them.
pub type Work<'a> = &'a (dyn Fn() + Sync);

/// The same, and beside it the microseconds of CPU that each of some works takes once, in each round.
pub fn in_turn_with(
    load: &Load,
    (proxies, works): (&[&Proxy], &[Work<'_>]),
    way: Way,
    (rounds, turns, requests): (usize, usize, usize),
    new: bool,
) -> (Vec<Measured>, Vec<Vec<f64>>) {
    run(Command::new("taskset").args(["-apc", "1", &std::process::id().to_string()]));
    let mut measured: Vec<_> = proxies.iter().map(|_| Measured { rounds: Vec::new(), memory: 0 }).collect();
    let mut worked = vec![Vec::new(); works.len()];
    for round in 0..rounds {
        let mut all = Vec::new();
        for proxy in proxies {
            eprint!("\r\x1b[2K{} of {rounds}: {}", round + 1, proxy.name);
            let running = proxy.start(load, &["taskset", "-c", "0"]);
            // Every token and session is met twice, since what came once may never come again, and is not expected; of
            // new ones, as many as make a proxy warm.
            let count = running.requests(proxy).len();
            let (first, met) = if new { (1, requests) } else { (0, (2 * count).max(requests)) };
            load.run(proxy, way, running.requests(proxy), (first, met), CONNECTIONS);
            all.push((*proxy, running, first + met, Sum::default()));
        }
        if proxies.iter().any(|proxy| proxy.store_size() > 0) {
            std::thread::sleep(WRITTEN_DOWN);
        }
        let pids: Vec<u32> = all.iter().map(|(_, running, ..)| running.pid).collect();
        until_at_rest(&pids);
        eprint!("\r\x1b[2K{} of {rounds}: in turn", round + 1);
        let a_turn = requests / turns;
        // A turn that does not count: what has rested is cold.
        for (proxy, running, first, _) in all.iter().filter(|_| !new) {
            load.run(proxy, way, running.requests(proxy), (first + requests, a_turn), CONNECTIONS);
        }
        let mut taken = vec![Duration::ZERO; works.len()];
        for turn in 0..turns {
            for (proxy, running, first, sum) in &mut all {
                let (before, begun) = (cpu_time(running.pid), Instant::now());
                let range = (*first + turn * a_turn, a_turn);
                sum.times.extend(load.run(proxy, way, running.requests(proxy), range, CONNECTIONS));
                sum.wall += begun.elapsed();
                std::thread::sleep(REST);
                sum.cpu += cpu_time(running.pid) - before;
            }
            for (work, taken) in works.iter().zip(&mut taken) {
                *taken += on_the_proxies_core(load, *work, a_turn);
            }
        }
        for (taken, worked) in taken.into_iter().zip(&mut worked) {
            worked.push(taken.as_secs_f64() * 1e6 / (a_turn * turns) as f64);
        }
        for ((_, mut running, _, sum), measured) in all.into_iter().zip(&mut measured) {
            measured.rounds.push(sum.round());
            measured.memory = memory(running.pid);
            signal(running.pid, "INT");
            running.child.wait().unwrap();
        }
    }
    eprintln!();
    (measured, worked)
}

/// Waits until none of them does anything: what one does in another's turn is felt there.
fn until_at_rest(pids: &[u32]) {
    let taken = || -> Vec<Duration> { pids.iter().map(|pid| cpu_time(*pid)).collect() };
    let mut before = taken();
    for _ in 0..AT_REST {
        std::thread::sleep(Duration::from_secs(1));
        let now = taken();
        let rest = now.iter().zip(&before).all(|(now, before)| now.saturating_sub(*before) < KEEPS_HOUSE);
        if rest {
            return;
        }
        before = now;
    }
    panic!("a proxy does not come to rest within {AT_REST} s");
}

/// What `count` times `work` take of a processor. The other one waits meanwhile as it does for a proxy: what it does is felt
/// here, since two reported processors may be two halves of one.
fn on_the_proxies_core(load: &Load, work: Work<'_>, count: usize) -> Duration {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let thread = std::fs::read_link("/proc/thread-self").unwrap();
            let id = thread.file_name().unwrap().to_str().unwrap().to_owned();
            run(Command::new("taskset").args(["-pc", "0", &id]));
            let file = format!("/proc/{}/schedstat", thread.display());
            let taken = || {
                std::thread::sleep(REST);
                schedstat(Path::new(&file))
            };
            let before = taken();
            (0..count).for_each(|_| work());
            let taken = taken().zip(before).map(|(after, before)| after - before);
            done.store(true, Ordering::Relaxed);
            Duration::from_nanos(taken.unwrap())
        });
        load.wait(CONNECTIONS, || done.load(Ordering::Relaxed) || worker.is_finished());
        worker.join().unwrap()
    })
}

/// What came together in the turns of a round.
#[derive(Default)]
struct Sum {
    cpu: Duration,
    wall: Duration,
    times: Vec<Duration>,
}

impl Sum {
    fn round(mut self) -> Round {
        self.times.sort_unstable();
        let count = self.times.len() as f64;
        let quantile = |part: f64| self.times[(count * part) as usize].as_secs_f64() * 1e6;
        Round {
            cpu: self.cpu.as_secs_f64() * 1e6 / count,
            rate: count / self.wall.as_secs_f64(),
            latency: [quantile(0.5), quantile(0.99), quantile(0.999)],
        }
    }
}

/// What all threads of a process have had of the processors so far.
fn cpu_time(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanoseconds = tasks.filter_map(|task| schedstat(&task.ok()?.path().join("schedstat")));
    Duration::from_nanos(nanoseconds.sum())
}

/// What a thread has had of the processors so far, in nanoseconds.
fn schedstat(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.split(' ').next()?.parse().ok()
}

/// What a process holds in memory (RSS).
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

fn signal(pid: u32, name: &str) {
    run(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]));
}

fn run(command: &mut Command) {
    assert!(command.stdout(Stdio::null()).status().unwrap().success(), "{command:?}");
}
