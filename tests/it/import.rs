//! Import and export of users: every kind of failure, compared with users that are created one by
//! one; passwords of other systems; a process that is killed; memory.

use crate::support::accounts::AccountScene;
use crate::support::client_credentials::pool_toml;
use crate::support::documentation::{block, repository_root};
use crate::support::engine::Engine;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::users::{ALIASES, add_pool, attributes, pool_settings};
use narthex::base::{Entropy, ManualClock, Secret, SystemClock, SystemEntropy, Timestamp};
use narthex::config::StoreUrl;
use narthex::directory::{
    self, DirectoryError, Hasher, HasherSettings, ImportCounts, ImportEvent, ImportTarget, NewGroup, NewUser,
    Origin, PasswordHash, RowFailure, Takeover, Verdict, csv_header,
};
use narthex::model::{
    AttributeType, Factor, Pool, PoolSettings, Quotas, Schema, SchemaAttribute, SignInAttribute, UserStatus,
};
use narthex::store::{CheckedWork, Counter, Lookup, Store};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row as _};
use std::fmt::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

on_both_engines! {
    mixed_rows_are_imported_as_one_by_one
    pain_29_a_pool_is_restored_with_other_settings
    pain_38_each_imported_hash_signs_in_and_is_replaced
    a_csv_file_of_cognito_is_imported
    a_second_import_of_a_file_changes_nothing
    two_imports_of_a_file_import_each_row_once
    numbers_of_one_millisecond_do_not_collide
    a_row_that_the_database_refuses_fails_alone
    a_killed_import_leaves_whole_batches_and_is_completed
}

/// Rows of one transaction.
const BATCH: u64 = 512;

fn target(store: &Store, pool: &Pool) -> ImportTarget {
    ImportTarget {
        store: store.clone(),
        pool: Arc::new(pool.clone()),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        dry_run: false,
    }
}

async fn import(target: &ImportTarget, text: &str) -> (ImportCounts, Vec<RowFailure>) {
    let (mut failures, input) = (Vec::new(), std::io::Cursor::new(text.as_bytes().to_vec()));
    let mut report = |event: ImportEvent<'_>| {
        if let ImportEvent::Failure(failure) = event {
            failures.push(failure.clone());
        }
    };
    let counts = directory::import_users(target, input, &mut report).await.unwrap();
    assert_eq!(counts.failures, failures.len() as u64);
    assert_eq!(counts.rows, counts.users + counts.groups + counts.failures);
    (counts, failures)
}

/// How a row of the mixed file ends.
enum Expected {
    /// As the creation of this user with these groups.
    Creation(NewUser, Vec<String>),
    /// With this error.
    Error(&'static str),
}

fn sub(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// Returns a row of the mixed file, each kind of mistake in turn.
fn mixed(i: usize) -> (String, Expected) {
    let name = format!("user{i}");
    let (email, earlier) = (format!("u{i}@x.example"), format!("u{}@x.example", i.saturating_sub(i % 22)));
    let long = "x".repeat(2049);
    let verified = vec![("email", email.as_str()), ("email_verified", "true")];
    let exists = "UsernameExistsException: A user with this `sub` exists.";
    type Mixed<'a> = (String, Vec<(&'a str, &'a str)>, Vec<&'a str>, Option<&'static str>);
    let (username, of, groups, error): Mixed<'_> = match i % 22 {
        0 => (name, verified, vec!["staff"], None),
        1 => (name, vec![("email", &earlier), ("custom:age", "7")], vec![], None),
        2 => (format!("USER{}", i - 2), vec![], vec![], None),
        3 => (name, vec![("email", &earlier), ("email_verified", "true")], vec![], None),
        4 => (format!("a b{i}"), vec![], vec![], None),
        5 => (format!("corp~0123abcd_{i}"), vec![], vec![], None),
        6 => (email.clone(), vec![], vec![], None),
        7 => (name, vec![("name", &long)], vec![], None),
        8 => (name, vec![("custom:none", "x"), ("shoe", "y")], vec![], None),
        9 => (name, vec![("custom:age", "seven")], vec![], None),
        10 => (name, vec![("email", "no")], vec![], None),
        11 => (name, vec![("phone_number_verified", "true")], vec![], None),
        12 => (name, vec![("sub", "x")], vec![], None),
        13 => (name, vec![("phone_number", "0041")], vec![], None),
        14 => (name, vec![("preferred_username", "pp")], vec![], None),
        15 => (name, vec![("preferred_username", &earlier)], vec![], None),
        16 => (name, vec![("name", "")], vec!["staff", "other", "third"], None),
        17 => (
            name,
            vec![],
            vec!["nobody"],
            Some("ResourceNotFoundException: groups: the group `nobody` does not exist."),
        ),
        18 => (name, vec![("given_name", "Zoë")], vec!["other", "staff", "staff"], None),
        // The `sub` of the row of kind 0 before.
        19 => (name, vec![], vec![], Some(exists)),
        20 => (sub(i - 20), vec![], vec![], Some("UsernameExistsException: User account already exists")),
        _ => (name, vec![], vec![], Some("InvalidParameterException: unknown field `shoe`")),
    };
    let attributes = attributes(&of);
    let mut line =
        json!({ "kind": "user", "username": username, "attributes": attributes, "groups": groups });
    match i % 22 {
        0 => line["sub"] = sub(i).into(),
        19 => line["sub"] = sub(i - 19).into(),
        21 => line["shoe"] = 1.into(),
        _ => {}
    }
    let status = UserStatus::ResetRequired;
    let new =
        NewUser { username, attributes, status, origin: Origin::Administrator, takeover: Takeover::Refuse };
    let mut groups: Vec<String> = groups.into_iter().map(str::to_owned).collect();
    groups.sort();
    groups.dedup();
    (line.to_string(), error.map_or(Expected::Creation(new, groups), Expected::Error))
}

fn settings() -> PoolSettings {
    let age = SchemaAttribute {
        name: "custom:age".into(),
        kind: AttributeType::Number,
        mutable: true,
        required: false,
        min: None,
        max: None,
    };
    let quotas = Quotas { groups_of_user: 2, ..Quotas::default() };
    PoolSettings { schema: Schema::new(vec![age]), quotas, ..pool_settings(&[], ALIASES, false) }
}

async fn one_by_one(
    store: &Store,
    pool: &Pool,
    new: &NewUser,
    groups: &[String],
) -> Result<(), DirectoryError> {
    let created = store.checked_transaction(|tx| -> CheckedWork<'_, (), DirectoryError> {
        Box::pin(async move {
            let (now, entropy) = (Timestamp::from_seconds(1_800_000_000), &SystemEntropy);
            let user = directory::create_user(tx, pool, new, now, entropy).await?;
            for group in groups {
                directory::add_to_group(tx, pool, group, &user, now, entropy).await?;
            }
            Ok(())
        })
    });
    created.await
}

/// Returns what is stored of the users of a pool, without numbers, times and `sub`s.
async fn stored(engine: &Engine, pool: &Pool) -> Vec<String> {
    let mut connection = engine.connect().await;
    let (id, no) = (&pool.id, pool.no);
    let mut all = Vec::new();
    for sql in [
        format!(
            "SELECT username || ' ' || status || ' ' || attributes || ' ' || provider_groups AS t FROM users \
                 WHERE pool_id = '{id}'"
        ),
        format!(
            "SELECT u.username || ' in ' || g.name AS t FROM group_members m JOIN users u ON u.no = m.user_no \
                 JOIN user_groups g ON g.no = m.group_no WHERE g.pool = {no}"
        ),
    ] {
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        all.extend(rows.iter().map(|row| row.get::<String, _>("t")));
    }
    for sql in [
        format!(
            "SELECT u.username, s.kind, s.name AS b FROM sign_in_names s JOIN users u ON u.no = s.user_no \
                 WHERE s.pool = {no}"
        ),
        format!(
            "SELECT u.username, s.kind, s.k AS b FROM user_keys s JOIN users u ON u.no = s.user_no \
                 WHERE s.pool = {no} AND s.kind <> 8"
        ),
    ] {
        for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap() {
            let (name, kind): (String, i64) = (row.get("username"), row.get("kind"));
            all.push(format!("{name} {kind} {:?}", row.get::<Vec<u8>, _>("b")));
        }
    }
    all.sort();
    all
}

async fn mixed_rows_are_imported_as_one_by_one(engine: Engine) {
    const ROWS: usize = 2000;
    let store = engine.open().await;
    let (pool, single) =
        (add_pool(&store, "pool", settings()).await, add_pool(&store, "single", settings()).await);
    let mut text = String::from("{\"kind\":\"format\",\"version\":1}\n");
    for group in ["staff", "other", "third"] {
        writeln!(text, "{}", json!({ "kind": "group", "name": group, "precedence": 3 })).unwrap();
        let new = &NewGroup { name: group.into(), precedence: Some(3), ..NewGroup::default() };
        let single = &single;
        let made = store.checked_transaction(|tx| -> CheckedWork<'_, _, _> {
            let (now, entropy) = (Timestamp::from_seconds(1_800_000_000), &SystemEntropy);
            Box::pin(async move { directory::create_group(tx, single, new, now, entropy).await })
        });
        made.await.unwrap();
    }
    let mut expected = Vec::new();
    for i in 0..ROWS {
        let (line, outcome) = mixed(i);
        writeln!(text, "{line}").unwrap();
        let error = match outcome {
            Expected::Creation(new, groups) => one_by_one(&store, &single, &new, &groups).await.err(),
            Expected::Error(words) => {
                expected.push((i as u64 + 5, words.to_owned()));
                continue;
            }
        };
        if let Some(error) = error {
            expected.push((i as u64 + 5, error.to_string().trim_end().to_owned()));
        }
    }
    writeln!(text, "no JSON\n\n{{\"kind\":\"group\",\"name\":\"staff\"}}\r\n{}", "x".repeat(1 << 21))
        .unwrap();
    let end = ROWS as u64 + 5;
    expected.push((
        end,
        "InvalidParameterException: The line is not a JSON object, or a name occurs in it twice.".into(),
    ));
    expected.push((end + 2, "GroupExistsException: A group with the name already exists.".into()));
    expected.push((end + 3, "InvalidParameterException: The line is too long.".into()));

    let dry = ImportTarget { dry_run: true, ..target(&store, &pool) };
    let (checked, failures_of_check) = import(&dry, &text).await;
    assert!(stored(&engine, &pool).await.is_empty(), "a dry run writes nothing");
    assert_eq!(store.counter(pool.no, Counter::Groups).await.unwrap(), 0);
    let (counts, failures) = import(&target(&store, &pool), &text).await;
    assert_eq!((checked, &failures_of_check), (counts, &failures), "a dry run finds the same");
    let reasons: Vec<_> = failures.into_iter().map(|failure| (failure.line, failure.reason)).collect();
    assert_eq!(reasons, expected);
    assert_eq!((counts.groups, counts.rows), (3, ROWS as u64 + 6));
    assert!(counts.users > 200 && counts.failures > 1000, "{counts:?}");

    let counters = [Counter::Users, Counter::Groups];
    for (counter, expected) in counters.into_iter().zip([counts.users, counts.groups]) {
        assert_eq!(store.counter(pool.no, counter).await.unwrap(), expected as i64, "{counter:?}");
        assert_eq!(store.counter(single.no, counter).await.unwrap(), expected as i64, "{counter:?}");
    }
    let (bulk, single) = (stored(&engine, &pool).await, stored(&engine, &single).await);
    assert!(bulk.len() > 4 * counts.users as usize);
    assert_eq!(bulk, single);
    assert_eq!(store.unindexed_users(10).await.unwrap(), Vec::<String>::new());
}

/// Hashes of other systems, with their passwords.
fn hashes() -> Vec<(String, String)> {
    let vectors =
        std::fs::read_to_string(repository_root().join("tests/password_hashes/vectors.json")).unwrap();
    let vectors: Vec<Value> = serde_json::from_str(&vectors).unwrap();
    let text = |vector: &Value, name: &str| vector[name].as_str().unwrap().to_owned();
    vectors.iter().map(|vector| (text(vector, "hash"), text(vector, "password"))).collect()
}

async fn export(store: &Store, pool: &Pool, passwords: bool) -> String {
    let mut text = Vec::new();
    directory::export_users(store, pool, passwords, &mut text, &mut |_| {}).await.unwrap();
    String::from_utf8(text).unwrap()
}

/// A file with a user of each hash, and users of every other kind.
fn users_of_all_kinds() -> String {
    let mut text = String::new();
    let mut add = |line: Value| writeln!(text, "{line}").unwrap();
    add(json!({ "kind": "group", "name": "staff", "description": "All", "role": "arn:x", "precedence": 0 }));
    add(json!({ "kind": "group", "name": "Ops" }));
    for (number, (hash, _)) in hashes().into_iter().enumerate() {
        add(json!({
            "kind": "user", "username": format!("User{number}"), "sub": sub(number),
            "attributes": { "email": format!("u{number}@x.example"), "email_verified": "true" },
            "groups": ["staff"], "created_at": 1_700_000_000.5 + number as f64, "updated_at": 1_700_100_000,
            "password": { "hash": hash, "set_at": 1_700_000_001 },
            "factors": { "enabled": ["SOFTWARE_TOKEN_MFA", "EMAIL_OTP"], "preferred": "EMAIL_OTP",
                "software_token": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" },
        }));
    }
    let first = hashes().swap_remove(0).0;
    add(json!({
        "kind": "user", "username": "temporary", "status": "FORCE_CHANGE_PASSWORD", "enabled": false,
        "attributes": { "email": "t@x.example" },
        "password": { "hash": first, "expires_at": 1_700_000_002 }, "groups": ["Ops", "staff"],
    }));
    add(json!({
        "kind": "user", "username": "pending", "status": "UNCONFIRMED", "attributes": { "email": "p@x.example" },
    }));
    // The first four bytes of SHA-256 of `https://idp`, and the subject.
    let digest = narthex::base::sha256("https://idp");
    let issuer: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    add(json!({
        "kind": "user", "username": format!("corp~{issuer}_Al"), "status": "EXTERNAL_PROVIDER",
        "attributes": { "custom:unknown": "x", "email": "al@x.example" }, "provider_groups": ["g1", "g2"],
        "identities": [
            { "issuer": "https://idp", "subject": "Al", "provider": "corp" },
            { "issuer": "https://other", "subject": "7", "provider": "other", "saml": true,
              "attributes": { "name": "A" }, "groups": ["g3"] },
        ],
    }));
    text
}

async fn pain_29_a_pool_is_restored_with_other_settings(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "old", pool_settings(&[], &[], true)).await;
    let (counts, failures) = import(&target(&store, &pool), &users_of_all_kinds()).await;
    assert_eq!(failures, []);
    assert_eq!((counts.groups, counts.users), (2, hashes().len() as u64 + 3));
    let exported = export(&store, &pool, true).await;
    let without = export(&store, &pool, false).await;
    assert!(!without.contains("password") && !without.contains("factors"));

    let settings = HasherSettings { max_wait: Duration::from_secs(60), ..HasherSettings::default() };
    let hasher = Hasher::start(settings, Arc::new(SystemEntropy)).unwrap();
    let by_email = [SignInAttribute::Email];
    for settings in [pool_settings(&[], ALIASES, false), pool_settings(&by_email, &[], false)] {
        // A `sub` is unique in its database.
        let other = if engine.is_sqlite() { Engine::sqlite() } else { Engine::postgres() };
        let (store, has_names) = (other.open().await, settings.sign_in.username_attributes.is_empty());
        let pool = add_pool(&store, "new", settings).await;
        assert_eq!(import(&target(&store, &pool), &exported).await.1, []);
        let again = export(&store, &pool, true).await;
        match has_names {
            true => assert!(exported.lines().skip(1).eq(again.lines().skip(1)), "{exported}\n{again}"),
            false => assert_eq!(exported.lines().count(), again.lines().count()),
        }
        for (number, (_, password)) in hashes().into_iter().enumerate() {
            let name = format!("U{number}@X.example");
            let user = store.find_user(&pool, &name, Lookup::SignIn).await.unwrap().expect(&name);
            assert_eq!(user.id, sub(number));
            assert_eq!(user.username, if has_names { format!("User{number}") } else { sub(number) });
            assert_eq!(user.created_at.millis(), 1_700_000_000_500 + 1000 * number as i64);
            assert_eq!(store.groups_of_user(user.no, 0, 9).await.unwrap()[0].name, "staff");
            let token = store.token_secrets(user.no).await.unwrap().current.unwrap();
            assert_eq!(&token[..], b"12345678901234567890");
            let factors = store.factors(user.no).await.unwrap();
            assert_eq!((factors.enabled.len(), factors.preferred), (2, Some(Factor::Email)));
            let stored = store.password(user.no).await.unwrap().unwrap();
            assert_eq!(stored.set_at.seconds(), 1_700_000_001);
            let hash = Arc::new(PasswordHash::parse(std::str::from_utf8(&stored.hash).unwrap()).unwrap());
            let verdict = hasher.verify(0, Secret::new(password), hash).await.unwrap();
            assert!(matches!(verdict, Verdict::Match { .. }), "{name}");
        }
        let found = store.find_user(&pool, "t@x.example", Lookup::SignIn).await.unwrap();
        assert_eq!(found.is_some(), !has_names, "an alias is one once it is verified");
    }
}

async fn pain_38_each_imported_hash_signs_in_and_is_replaced(engine: Engine) {
    let scene = AccountScene::new(engine, pool_settings(&[], &[], false)).await;
    let (_, failures) = import(&target(&scene.store, &scene.pool), &users_of_all_kinds()).await;
    assert_eq!(failures, []);
    for (number, (hash, password)) in hashes().into_iter().enumerate() {
        let name = format!("user{number}");
        let user = scene.store.find_user(&scene.pool, &name, Lookup::SignIn).await.unwrap().expect(&name);
        let stored = async || {
            let password = scene.store.password(user.no).await.unwrap().unwrap();
            (String::from_utf8(password.hash.to_vec()).unwrap(), password.set_at)
        };
        let imported = stored().await;
        assert_eq!(imported.0, hash);
        assert!(scene.sign_in_with_password(&name, "a wrong password").await.is_none(), "{hash}");
        assert_eq!(stored().await, imported, "a wrong password replaces nothing");
        assert!(scene.sign_in_with_password(&name, &password).await.is_some(), "{hash}");
        let replaced = stored().await;
        assert!(replaced.0.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}: {}", replaced.0);
        assert_eq!(replaced.1, imported.1, "the password is not a new one");
        assert!(scene.sign_in_with_password(&name, &password).await.is_some(), "{hash}");
        assert_eq!(stored().await, replaced);
    }
}

async fn a_csv_file_of_cognito_is_imported(engine: Engine) {
    let store = engine.open().await;
    let auto_verified = vec![SignInAttribute::Email];
    let pool =
        add_pool(&store, "pool", PoolSettings { auto_verified, ..pool_settings(&[], ALIASES, false) }).await;
    let header = csv_header(&pool);
    let row = |values: &[(&str, &str)]| {
        let value =
            |column: &String| values.iter().find(|(name, _)| name == column).map_or("", |(_, value)| *value);
        header.iter().map(value).collect::<Vec<_>>().join(",") + "\r\n"
    };
    let ann = [
        ("cognito:username", " ann "),
        ("cognito:mfa_enabled", "false"),
        ("email", "ann@x.example"),
        ("email_verified", "true"),
        ("name", "Lovelace\\, Ann"),
        ("birthdate", "02/29/2000"),
    ];
    let bob = [("cognito:username", "bob"), ("cognito:mfa_enabled", "false"), ("email_verified", "true")];
    let text = format!("{}\r\n{}{}{}", header.join(","), row(&ann), row(&bob), row(&ann));
    let (counts, failures) = import(&target(&store, &pool), &text).await;
    assert_eq!((counts.rows, counts.users), (3, 1));
    let reasons: Vec<_> =
        failures.iter().map(|failure| (failure.line, &*failure.name, &*failure.reason)).collect();
    assert_eq!(
        reasons,
        [
            (3, "bob", "InvalidParameterException: Email is required to verify/un-verify an email"),
            (4, "ann", "UsernameExistsException: User account already exists"),
        ]
    );
    let user = store.find_user(&pool, "ANN@x.example", Lookup::SignIn).await.unwrap().unwrap();
    assert_eq!((user.username.as_str(), user.status), ("ann", UserStatus::ResetRequired));
    assert_eq!(user.attributes.get("name"), Some("Lovelace, Ann"));
    assert_eq!(user.attributes.get("birthdate"), Some("2000-02-29"));
    for (text, why) in [
        ("", "the file is empty"),
        ("\u{feff}name,email\n", "the file begins with a byte order mark"),
        ("name,email\n", "the header lacks the column `given_name`"),
        ("{\"kind\":\"format\",\"version\":2}\n", "the file has another version of the format than 1"),
        ("\u{0}\n", "the first line: The line has a NUL character."),
    ] {
        let input = std::io::Cursor::new(text.as_bytes().to_vec());
        let error = directory::import_users(&target(&store, &pool), input, &mut |_| {}).await.unwrap_err();
        assert_eq!(error.to_string().lines().next(), Some(why));
    }
}

fn plain_rows(rows: usize) -> String {
    let mut text = String::new();
    for number in 0..rows {
        let attributes =
            json!({ "email": format!("person{number}@x.example"), "name": format!("Person {number}") });
        let line = json!({ "kind": "user", "username": format!("person{number}"), "attributes": attributes });
        writeln!(text, "{line}").unwrap();
    }
    text
}

async fn a_second_import_of_a_file_changes_nothing(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "pool", pool_settings(&[], ALIASES, false)).await;
    let first = import(&target(&store, &pool), &users_of_all_kinds()).await.0;
    let before = export(&store, &pool, true).await;
    let (second, failures) = import(&target(&store, &pool), &users_of_all_kinds()).await;
    assert_eq!((second.users, second.groups, second.failures), (0, 0, first.rows));
    let exists = |failure: &&RowFailure| failure.reason.contains("exists");
    assert_eq!(failures.iter().filter(exists).count(), failures.len());
    assert_eq!(export(&store, &pool, true).await, before);
    assert_eq!(store.counter(pool.no, Counter::Users).await.unwrap(), first.users as i64);
}

async fn two_imports_of_a_file_import_each_row_once(engine: Engine) {
    const ROWS: usize = 3000;
    let (store, text) = (engine.open().await, plain_rows(ROWS));
    let pool = add_pool(&store, "pool", pool_settings(&[], ALIASES, false)).await;
    let target = target(&store, &pool);
    let ((one, _), (other, _)) = tokio::join!(import(&target, &text), import(&target, &text));
    assert_eq!(one.users + other.users, ROWS as u64);
    assert_eq!(store.counter(pool.no, Counter::Users).await.unwrap(), ROWS as i64);
    assert!(store.find_user(&pool, "PERSON2999", Lookup::SignIn).await.unwrap().is_some());
}

/// Every number of one millisecond is the same.
struct Stuck;

impl Entropy for Stuck {
    fn fill(&self, buffer: &mut [u8]) {
        match buffer.len() {
            4 => buffer.fill(0),
            _ => SystemEntropy.fill(buffer),
        }
    }
}

async fn numbers_of_one_millisecond_do_not_collide(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_800_000_000)));
    let target = ImportTarget { clock, entropy: Arc::new(Stuck), ..target(&store, &pool) };
    let rows = 4 * BATCH as usize;
    let (counts, failures) = import(&target, &plain_rows(rows)).await;
    assert_eq!((counts.users, failures), (rows as u64, vec![]));
    let lines = export(&store, &pool, false).await;
    let names: Vec<String> = lines
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["username"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.iter().enumerate().all(|(number, name)| *name == format!("person{number}")), "in order");
}

async fn a_row_that_the_database_refuses_fails_alone(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    // Too long for an index of PostgreSQL, and not compressible.
    let random = || {
        let mut bytes = [0; 1400];
        SystemEntropy.fill(&mut bytes);
        narthex::base::base64url_encode(bytes)
    };
    let identity = json!({ "issuer": random(), "subject": random(), "provider": "corp" });
    let mut text = plain_rows(20);
    writeln!(text, "{}", json!({ "kind": "user", "username": "long", "identities": [identity] })).unwrap();
    text.push_str(&plain_rows(25));
    let (counts, failures) = import(&target(&store, &pool), &text).await;
    assert_eq!(counts.users, if engine.is_sqlite() { 26 } else { 25 });
    let refused: Vec<_> = failures.iter().filter(|failure| failure.name == "long").collect();
    assert_eq!(refused.len(), usize::from(!engine.is_sqlite()), "{refused:?}");
    assert_eq!(store.counter(pool.no, Counter::Users).await.unwrap(), counts.users as i64);
}

/// Starts a deployment, whose user pool exists then.
fn deployment(url: Option<&StoreUrl>) -> Narthex {
    let name = "name = \"people\"\n";
    let pool = pool_toml("RS256").replace(name, &format!("{name}auto_verified = \"none\"\n"));
    let mut builder = NarthexBuilder::new().tables(&pool).route("app", 9, "bearer = true\n");
    if let Some(StoreUrl::Postgres(url)) = url {
        builder = builder.postgres(url.expose());
    }
    builder.start()
}

fn command(narthex: &Narthex, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_narthex"));
    command.arg("users").args(arguments).current_dir(narthex.folder()).stdin(Stdio::null());
    command
}

fn run(narthex: &Narthex, arguments: &[&str]) -> (bool, String, String) {
    let Output { status, stdout, stderr } = command(narthex, arguments).output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

async fn a_killed_import_leaves_whole_batches_and_is_completed(engine: Engine) {
    const ROWS: u64 = 16 * BATCH;
    let narthex = deployment((!engine.is_sqlite()).then_some(&engine.url));
    std::fs::write(narthex.folder().join("users.jsonl"), plain_rows(ROWS as usize)).unwrap();
    sqlx::any::install_default_drivers();
    let address = match &engine.url {
        StoreUrl::Sqlite(_) => format!("sqlite://{}", narthex.folder().join("narthex.db").display()),
        StoreUrl::Postgres(url) => url.expose().to_owned(),
    };
    let mut connection = <sqlx::AnyConnection as sqlx::Connection>::connect(&address).await.unwrap();
    let mut count = async || {
        let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM users").fetch_one(&mut connection);
        u64::try_from(count.await.unwrap()).unwrap()
    };
    let mut child = command(&narthex, &["import", "users.jsonl"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while count().await < 2 * BATCH {
        assert!(begun.elapsed().as_secs() < 60, "the import is too slow");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = count().await;
    assert!((2 * BATCH..ROWS).contains(&before), "{before} of {ROWS}");
    assert_eq!(before % BATCH, 0, "a part of a batch is left");
    let (is_success, stdout, stderr) = run(&narthex, &["import", "users.jsonl", "--json"]);
    assert!(!is_success, "{stdout}{stderr}");
    let result: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let expected =
        json!({ "rows": ROWS, "users": ROWS - before, "groups": 0, "failures": before, "dry_run": false });
    assert_eq!(result, expected);
    assert_eq!(stdout.lines().filter(|line| line.contains("UsernameExistsException")).count() as u64, before);
    assert_eq!(count().await, ROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_import_and_export_beside_the_service() {
    use std::os::unix::fs::PermissionsExt as _;
    let narthex = deployment(None);
    let write = |name: &str, text: &str| std::fs::write(narthex.folder().join(name), text).unwrap();
    write("users.jsonl", &(users_of_all_kinds() + "{\"kind\":\"user\",\"username\":\"a\\nb\",\"shoe\":1}\n"));
    let (is_success, stdout, stderr) = run(&narthex, &["import", "users.jsonl", "--dry-run"]);
    let users = hashes().len() + 3;
    assert!(!is_success);
    assert!(stdout.contains("a\\u000ab: InvalidParameterException: unknown field `shoe`\n"), "{stdout}");
    assert!(
        stdout.ends_with(&format!(
            "{users} user(s) and 2 group(s) could be imported; 1 of {} row(s) failed\n",
            users + 3
        )),
        "{stdout}"
    );
    assert_eq!(
        stderr,
        format!(
            "narthex users import: 1 of {} rows failed\n  help: correct them and import the file again; rows that exist \
             fail alone\n",
            users + 3
        )
    );
    write("documented.jsonl", &block("docs/src/guides/import.md", "jsonl"));
    let (is_success, stdout, stderr) = run(&narthex, &["import", "documented.jsonl"]);
    assert!(is_success, "{stdout}{stderr}");
    assert!(run(&narthex, &["delete", "ann"]).0, "the documented user is there");
    write("users.jsonl", &users_of_all_kinds().replace("\"staff\"", "\"staff2\""));
    let (is_success, stdout, stderr) = run(&narthex, &["import", "users.jsonl"]);
    assert!(is_success && stderr.is_empty(), "{stdout}{stderr}");
    assert!(run(&narthex, &["show", "User0"]).1.contains("User0  CONFIRMED  enabled  u0@x.example"));

    // The old file could be read by others.
    write("export.jsonl", "old");
    let (is_success, stdout, stderr) = run(&narthex, &["export", "--passwords", "--output", "export.jsonl"]);
    assert!(is_success && stdout.is_empty(), "{stderr}");
    let warning = "warning: the export contains password hashes; keep it as secret as the database\n";
    assert_eq!(stderr, format!("{warning}{users} user(s) and 3 group(s) exported\n"));
    let file = narthex.folder().join("export.jsonl");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let exported = std::fs::read_to_string(&file).unwrap();
    assert_eq!(exported.matches("\"hash\"").count(), users - 2);
    let left = std::fs::read_dir(narthex.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().starts_with(".export")));
    let (is_success, stdout, _) = run(&narthex, &["export"]);
    assert!(is_success && !stdout.contains("hash"));
    assert_eq!(stdout.lines().count(), users + 4);

    let (_, header, _) = run(&narthex, &["csv-header"]);
    assert_eq!(header.trim().split(',').count(), 21);
    write("users.csv", &header);
    for (arguments, why) in [
        (
            &["import", "users.csv"][..],
            "narthex users import: `users.csv`: the pool verifies neither e-mail addresses",
        ),
        (&["import", "none.csv"], "narthex users import: cannot open `none.csv`: No such file or directory"),
        (&["import", "users.csv", "--pool", "none"], "narthex users: there is no user pool `none`"),
        (&["export", "--output", "."], "narthex users export: cannot write `.`: it is not a file"),
        (
            &["export", "--output", "none/file"],
            "narthex users export: cannot write `none/file`: No such file",
        ),
    ] {
        let (is_success, _, stderr) = run(&narthex, arguments);
        assert!(!is_success && stderr.starts_with(why) && stderr.contains("\n  help: "), "{stderr}");
    }
}

/// Returns the most memory that an import has held, in KiB.
fn peak_memory(narthex: &Narthex, file: &str) -> usize {
    let mut child =
        command(narthex, &["import", file]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        peak = peak.max(line.trim().trim_end_matches("kB").trim().parse().unwrap_or_default());
        std::thread::sleep(Duration::from_millis(5));
    }
    peak
}

/// One row in twenty is a user, so that the test is fast; the others are refused by the database's
/// names, or before.
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_file() {
    let narthex = deployment(None);
    let mut peaks = Vec::new();
    for (name, rows) in [("warm.jsonl", 10_000), ("few.jsonl", 10_000), ("many.jsonl", 100_000)] {
        let mut text = String::new();
        for number in 0..rows {
            let username = match number % 20 {
                0 => format!("{name}{number}"),
                _ => format!("a bad name {number} {}", "x".repeat(200)),
            };
            writeln!(text, "{}", json!({ "kind": "user", "username": username })).unwrap();
        }
        text.push_str(&"x".repeat(1 << 22));
        std::fs::write(narthex.folder().join(name), text).unwrap();
        peaks.push(peak_memory(&narthex, name));
    }
    println!("peaks of memory: {peaks:?} KiB");
    assert!(peaks[1] > 10_000 && peaks[2] < peaks[1] + 8 * 1024, "{peaks:?} KiB");
}
