//! Measurement of a proxy's cost per request.

use super::load::{Load, Way};
use super::proxies::Proxy;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 8;
/// Number of turns in a round.
pub const TURNS: usize = 8;
/// Number of turns if the measured difference is small: interference must affect all proxies
/// equally. Each turn opens new connections, so more turns cost more.
pub const SHORT_TURNS: usize = 4 * TURNS;
const SHORT: usize = 1_000;
pub const LONG: usize = 4_000;
/// Number of requests under callgrind, which is fifty times slower.
pub const FEW: usize = 1_000;

/// Time in which an idle proxy comes to rest. The CPU time of a thread is updated at ticks or when
/// it sleeps, so up to four milliseconds would be missing.
const REST: Duration = Duration::from_millis(2);

/// Time in which a proxy begins the periodic update of last-seen times.
const WRITTEN_DOWN: Duration = Duration::from_secs(6);
/// Maximum CPU time per second of a proxy at rest, which still runs periodic tasks.
const KEEPS_HOUSE: Duration = Duration::from_millis(20);
/// Timeout until all are at rest, in seconds.
const AT_REST: usize = 120;

/// The results of a proxy in one round.
#[derive(Clone, Copy)]
pub struct Round {
    /// CPU time per request, in microseconds.
    pub cpu: f64,
    /// Requests per second.
    pub rate: f64,
    /// Latency: median, 99th and 99.9th percentile, in microseconds.
    pub latency: [f64; 3],
}

/// The results of a proxy.
pub struct Measured {
    pub rounds: Vec<Round>,
    /// Resident memory at the end, in bytes.
    pub memory: u64,
}

impl Measured {
    /// Returns median, minimum and maximum over the rounds.
    pub fn of(&self, what: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(what))
    }

    /// Returns the ratio to another proxy in the same round, as median, minimum and maximum.
    pub fn to(&self, other: &Self, what: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().zip(&other.rounds).map(|(one, other)| what(one) / what(other)))
    }
}

/// Median, minimum and maximum.
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

/// Returns the folder for callgrind profiles, if requested.
pub fn profile() -> Option<String> {
    std::env::var("NARTHEX_BENCH_PROFILE").ok()
}

/// Returns the user-space instructions per request: the difference of a run with many requests and
/// one with few, which idles for the rest of the same time. Background tasks are in both: under
/// callgrind they would be a tenth of the difference. If requests must be `new`, none is repeated.
pub fn instructions(load: &Load, proxy: &Proxy, way: Way, new: bool) -> u64 {
    let few = &proxy.requests[..FEW.min(proxy.requests.len())];
    let run = |count: usize, lasts: Duration| {
        let out = tempfile::NamedTempFile::new().unwrap();
        let kept = match profile() {
            Some(file) => format!("{file}.{}.{count}", proxy.port),
            None => out.path().display().to_string(),
        };
        let file = format!("--callgrind-out-file={kept}");
        let mut words = vec!["valgrind", "--tool=callgrind", &file];
        if profile().is_some() {
            // Misses of a cache of this size are memory accesses.
            words.extend(["--cache-sim=yes", "--LL=1048576,16,64"]);
        }
        let mut running = proxy.start(load, &words);
        // All tokens are seen twice before the measurement, as in a running gateway: caches may
        // admit only repeated ones.
        load.run(proxy, way, few, (0, 2 * few.len()), 1);
        std::thread::sleep(WRITTEN_DOWN);
        let begun = Instant::now();
        match new {
            true => load.run(proxy, way, &proxy.requests, (few.len(), count), 1),
            false => load.run(proxy, way, few, (0, count), 1),
        };
        let lasted = begun.elapsed();
        std::thread::sleep(lasts.saturating_sub(lasted));
        // Bare pingora exits at once only on SIGINT.
        signal(running.pid, "INT");
        let mut said = String::new();
        running.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        running.child.wait().unwrap();
        let total =
            said.lines().rev().find_map(|line| line.split("Collected : ").nth(1)).expect("callgrind's sum");
        let first = total.split_whitespace().next().unwrap();
        (first.parse::<u64>().unwrap(), lasted)
    };
    let (many, lasted) = run(LONG, Duration::ZERO);
    (many - run(SHORT, lasted).0) / (LONG - SHORT) as u64
}

/// Measures the proxies in turn on one core; load and upstream run on the other. `requests` per
/// round; if they must be `new`, as many are sent before, and none is repeated.
///
/// Each round is a new process: memory layout changes the results by a tenth and more. Turns are
/// interleaved within a round, so interference affects all proxies.
pub fn in_turn(load: &Load, proxies: &[&Proxy], way: Way, much: (usize, usize), new: bool) -> Vec<Measured> {
    in_turn_with(load, (proxies, &[]), way, (much.0, TURNS, much.1), new).0
}

/// Work that runs repeatedly on the proxies' core, in turn, while the load's core is as busy as
/// with proxies.
pub type Work<'a> = &'a (dyn Fn() + Sync);

/// Also returns the CPU time of each work, in microseconds, for each round.
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
            // Every token and session is sent twice, because caches may admit only repeated ones;
            // of new ones, enough to warm the proxy up.
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
        // An uncounted turn: idle processes have cold caches.
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

/// Waits until all are idle: activity of one affects the turns of others.
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

/// Returns the CPU time of `count` runs of `work`. The other core polls as for a proxy, because the
/// two may be hyperthreads of one core.
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

/// The sums over the turns of a round.
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

/// Returns the CPU time of all threads of a process.
fn cpu_time(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanoseconds = tasks.filter_map(|task| schedstat(&task.ok()?.path().join("schedstat")));
    Duration::from_nanos(nanoseconds.sum())
}

/// Returns the CPU time of a thread, in nanoseconds.
fn schedstat(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.split(' ').next()?.parse().ok()
}

/// Returns the resident memory of a process (RSS).
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
