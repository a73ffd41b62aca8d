//! Rate of an import of users, size of the database, and latency of look-ups, searches and pages in
//! a large user pool, on both database engines. `NARTHEX_USERS` sets the number of users,
//! `NARTHEX_ENGINES` the engines.

// The servers of the tests may be longer than the program's functions.
#![allow(clippy::too_many_lines)]

#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../tests/it/support/mod.rs"]
mod support;

use narthex::base::{KeyRing, MasterKey, SystemClock, SystemEntropy, Timestamp};
use narthex::config::StoreUrl;
use narthex::directory::{self, ImportEvent, ImportTarget, PageRequest, UsersQuery};
use narthex::model::{Pool, PoolSettings, PoolSource, SignInAttribute, SignInSettings};
use narthex::store::{Lookup, Store};
use serde_json::json;
use std::io::{Cursor, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use support::engine::Engine;

/// Repetitions of each measurement.
const ROUNDS: usize = 200;
/// A hash of another system, for the import.
const HASH: &str = "$2b$04$6Gox9WpMNn/0T87w57Chp.7VPfrxAB/4O/k9fdEP1qIZWnlpxjWBG";
/// Members of the group that is paged through, at most.
const MAX_MEMBERS: usize = 100_000;

fn now() -> Timestamp {
    Timestamp::from_seconds(1_800_000_000)
}

/// Lines of an import: a group, and users. They are made while they are read.
struct Lines {
    users: Range<usize>,
    line: Cursor<String>,
}

impl Lines {
    fn new(users: usize) -> Self {
        Self { users: 0..users, line: Cursor::new("{\"kind\":\"group\",\"name\":\"staff\"}\n".into()) }
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.line.read(buffer)? {
            0 => match self.users.next() {
                Some(number) => {
                    self.line = Cursor::new(user(number));
                    self.line.read(buffer)
                }
                None => Ok(0),
            },
            length => Ok(length),
        }
    }
}

/// Returns the line of a user. One of 10,000 has no password, and has to set one.
fn user(number: usize) -> String {
    let (given, family) = (format!("Given{}", number % 5000), format!("Family{}", number % 20_000));
    let mut user = json!({
        "kind": "user",
        "username": format!("user{number:07}"),
        "attributes": {
            "email": format!("person{number:07}@corp{}.example", number % 1000),
            "email_verified": "true",
            "name": format!("{given} {family}"),
            "given_name": given,
            "family_name": family,
        },
    });
    if number % 10_000 != 7 {
        user["password"] = json!({ "hash": HASH });
    }
    if number < MAX_MEMBERS {
        user["groups"] = json!(["staff"]);
    }
    format!("{user}\n")
}

/// Imports the users, and prints the rate.
async fn load(store: &Store, pool: &Pool, users: usize) {
    let target = ImportTarget {
        store: store.clone(),
        pool: Arc::new(pool.clone()),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        dry_run: false,
    };
    let begun = Instant::now();
    let mut reported = begun;
    let mut report = |event: ImportEvent<'_>| {
        let ImportEvent::Progress(counts) = event else { return };
        if reported.elapsed().as_secs() >= 10 {
            eprintln!("{} users after {:.0} s", counts.users, begun.elapsed().as_secs_f64());
            reported = Instant::now();
        }
    };
    let counts = directory::import_users(&target, Lines::new(users), &mut report).await.unwrap();
    assert_eq!((counts.users, counts.failures), (users as u64, 0));
    let seconds = begun.elapsed().as_secs_f64();
    println!("Imported in {seconds:.0} s: {:.0} users a second.", users as f64 / seconds);
}

/// Prints the median and the 99th percentile of `measure` in milliseconds.
async fn report(what: &str, mut measure: impl AsyncFnMut(usize)) {
    let mut times = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let begun = Instant::now();
        measure(round).await;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    println!("| {what} | {:.2} | {:.2} |", times[ROUNDS / 2], times[ROUNDS * 99 / 100]);
}

async fn measure(store: &Store, ring: &KeyRing, pool: &Pool, users: usize) {
    let any = |round: usize| round * 7919 % users;
    println!("| | median, ms | p99, ms |\n|---|---|---|");
    report("sign-in name", async |round| {
        let name = format!("USER{:07}", any(round));
        assert!(store.find_user(pool, &name, Lookup::SignIn).await.unwrap().is_some());
    })
    .await;
    report("e-mail alias", async |round| {
        let name = format!("person{:07}@corp{}.example", any(round), any(round) % 1000);
        assert!(store.find_user(pool, &name, Lookup::SignIn).await.unwrap().is_some());
    })
    .await;
    let list = async |filter: &str, token: Option<&str>, limit| {
        let query = UsersQuery { filter, page: PageRequest { limit: Some(limit), token } };
        directory::list_users(store, ring, pool, query, now(), &SystemEntropy).await.unwrap()
    };
    report("exact e-mail", async |round| {
        let filter = format!("email = \"person{:07}@corp{}.example\"", any(round), any(round) % 1000);
        assert_eq!(list(&filter, None, 60).await.entries.len(), 1);
    })
    .await;
    report("prefix of many, 60 users", async |_| {
        assert_eq!(list("email ^= \"person\"", None, 60).await.entries.len(), 60);
    })
    .await;
    for (what, filter) in
        [("all", ""), ("a prefix", "email ^= \"person\""), ("an exact name", "family_name = \"Family7\"")]
    {
        let mut token = None;
        report(&format!("next page of {what}"), async |_| {
            let page = list(filter, token.as_deref(), 20).await;
            assert!(!page.entries.is_empty());
            token = page.token;
        })
        .await;
    }
    report("rare status", async |_| {
        list("cognito:user_status = \"RESET_REQUIRED\"", None, 60).await;
    })
    .await;
    let mut token = None;
    report("next page of a group's members", async |_| {
        let page = PageRequest { limit: Some(60), token: token.as_deref() };
        let page =
            directory::list_members(store, ring, pool, "staff", page, now(), &SystemEntropy).await.unwrap();
        token = page.token;
    })
    .await;
}

/// Returns the most memory that this process has used, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn size(engine: &Engine) -> u64 {
    if let StoreUrl::Sqlite(path) = &engine.url {
        let mut connection = engine.connect().await;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(&mut connection).await.unwrap();
        return std::fs::metadata(path).unwrap().len();
    }
    let mut connection = engine.connect().await;
    sqlx::query("VACUUM ANALYZE").execute(&mut connection).await.unwrap();
    let size = sqlx::query_scalar::<_, i64>("SELECT pg_database_size(current_database())");
    size.fetch_one(&mut connection).await.unwrap() as u64
}

#[tokio::main]
async fn main() {
    let number =
        |name: &str, default: usize| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let users = number("NARTHEX_USERS", 1000);
    let engines = std::env::var("NARTHEX_ENGINES").unwrap_or_else(|_| "sqlite postgres".into());
    for name in engines.split_whitespace() {
        let engine = if name == "sqlite" { Engine::sqlite() } else { Engine::postgres() };
        let ring = Arc::new(KeyRing::new(&MasterKey::random(&SystemEntropy)));
        let store = Store::open(&engine.url, ring.clone()).await.unwrap();
        let sign_in =
            SignInSettings { alias_attributes: vec![SignInAttribute::Email], ..SignInSettings::default() };
        let settings = PoolSettings { sign_in, ..PoolSettings::default() };
        let pool = Pool {
            no: 1,
            id: "eu-west-1_benchmark".into(),
            source: PoolSource::Api,
            settings,
            ..Pool::default()
        };
        let added = &pool;
        store.transaction(|tx| Box::pin(async move { tx.add_pool(added).await })).await.unwrap();
        println!("\n## {users} users, {name}\n");
        load(&store, &pool, users).await;
        println!("{} MiB.\n", size(&engine).await >> 20);
        measure(&store, &ring, &pool, users).await;
        println!("\nMemory of this process, at most: {} MiB.", peak_memory() >> 10);
        store.close().await;
    }
}
