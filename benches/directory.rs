//! Latency of look-ups, searches and pages in a large user pool, on both database engines, the size
//! of the database, and the rate of an import. `NARTHEX_USERS` sets the number of users,
//! `NARTHEX_ENGINES` the engines.

// The servers of the tests may be longer than the program's functions.
#![allow(clippy::too_many_lines)]

#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../tests/it/support/mod.rs"]
mod support;

use narthex::base::{Duration, KeyRing, MasterKey, SystemClock, SystemEntropy, Timestamp};
use narthex::config::StoreUrl;
use narthex::directory::{self, ImportTarget, NewGroup, NewUser, Origin, PageRequest, Takeover, UsersQuery};
use narthex::model::{
    Attributes, Pool, PoolSettings, PoolSource, SignInAttribute, SignInSettings, UserStatus,
};
use narthex::store::{CheckedWork, Lookup, Store};
use std::sync::Arc;
use std::time::Instant;
use support::engine::Engine;

/// Users of one transaction while loading.
const BATCH: usize = 100;
/// Repetitions of each measurement.
const ROUNDS: usize = 200;
/// A hash of another system, for the import.
const HASH: &str = "$2b$04$6Gox9WpMNn/0T87w57Chp.7VPfrxAB/4O/k9fdEP1qIZWnlpxjWBG";
/// Members of the group that is paged through, at most.
const MAX_MEMBERS: usize = 100_000;

fn now() -> Timestamp {
    Timestamp::from_seconds(1_800_000_000)
}

fn user(number: usize) -> NewUser {
    let email = format!("person{number:07}@corp{}.example", number % 1000);
    let (given, family) = (format!("Given{}", number % 5000), format!("Family{}", number % 20_000));
    let attributes: Attributes = [
        ("email", email.as_str()),
        ("email_verified", "true"),
        ("name", &format!("{given} {family}")),
        ("given_name", &given),
        ("family_name", &family),
    ]
    .into_iter()
    .collect();
    NewUser {
        username: format!("user{number:07}"),
        attributes,
        status: if number % 10_000 == 7 { UserStatus::ResetRequired } else { UserStatus::Confirmed },
        origin: Origin::Administrator,
        takeover: Takeover::Refuse,
    }
}

async fn load(store: &Store, pool: &Pool, users: usize) {
    let group = NewGroup { name: "staff".into(), ..NewGroup::default() };
    let group = &group;
    let create = store.checked_transaction(|tx| -> CheckedWork<'_, _, _> {
        Box::pin(async move { directory::create_group(tx, pool, group, now(), &SystemEntropy).await })
    });
    let group_no = create.await.unwrap().no;
    for from in (0..users).step_by(BATCH) {
        let at = now().plus(Duration::from_millis(from as u64 / 5));
        let work = store.checked_transaction(|tx| -> CheckedWork<'_, _, directory::DirectoryError> {
            Box::pin(async move {
                for number in from..users.min(from + BATCH) {
                    let at = at.plus(Duration::from_millis((number - from) as u64 / 5));
                    let user = directory::create_user(tx, pool, &user(number), at, &SystemEntropy).await?;
                    if number < MAX_MEMBERS {
                        tx.add_member(group_no, user.no, at).await?;
                    }
                }
                Ok(())
            })
        });
        work.await.unwrap();
    }
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

/// Imports users of JSON lines into a pool of their own, and prints the rate.
async fn import(store: &Store, pool: &Pool, users: usize) {
    let pool = Pool { no: 2, id: "eu-west-1_import".into(), ..pool.clone() };
    let added = &pool;
    store.transaction(|tx| Box::pin(async move { tx.add_pool(added).await })).await.unwrap();
    let mut text = String::from("{\"kind\":\"group\",\"name\":\"staff\"}\n");
    for number in 0..users {
        let NewUser { username, attributes, .. } = user(number);
        let line = serde_json::json!({
            "kind": "user", "username": username, "attributes": attributes, "groups": ["staff"],
            "password": { "hash": HASH },
        });
        text.push_str(&format!("{line}\n"));
    }
    let target = ImportTarget {
        store: store.clone(),
        pool: Arc::new(pool),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        dry_run: false,
    };
    let begun = Instant::now();
    let counts = directory::import_users(&target, std::io::Cursor::new(text), &mut |_| {}).await.unwrap();
    assert_eq!((counts.users, counts.failures), (users as u64, 0));
    println!("\nImport: {:.0} users a second.", users as f64 / begun.elapsed().as_secs_f64());
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
        let begun = Instant::now();
        load(&store, &pool, users).await;
        println!(
            "\n## {users} users, {name}\n\nLoaded in {:.0} s; {} MiB.\n",
            begun.elapsed().as_secs_f64(),
            size(&engine).await >> 20
        );
        measure(&store, &ring, &pool, users).await;
        println!("\nMemory of this process, at most: {} MiB.", peak_memory() >> 10);
        import(&store, &pool, users).await;
        store.close().await;
    }
}
