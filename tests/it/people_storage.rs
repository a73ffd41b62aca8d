//! What the store keeps of users, on both engines: passwords, codes, sessions, indexes, and what is
//! deleted.

use crate::support::engine::{Engine, count_occurrences, database_content, new_key_ring};
use crate::support::users::{
    ALIASES, add_pool, create_confirmed_user, create_user, delete_user, list_user_names, new_user, now,
    pool_settings, upsert_federated_user,
};
use narthex::base::{Duration, SystemEntropy, Timestamp, sha256, uuid};
use narthex::config::SessionLimits;
use narthex::directory::{self, Authentication, Browser, DirectoryError, ErrorKind, NewGroup};
use narthex::model::{Pool, PoolSettings, PoolState, User};
use narthex::store::{
    AccountCode, CheckedWork, CodeCheck, Counter, Lookup, PasswordFailures, RefreshFamily, StoredPassword,
    Tx, bulk_lookups, statements_of_people,
};
use sqlx::{AssertSqlSafe, Row as _};

on_both_engines! {
    a_disabled_user_has_no_session_and_no_refresh_token
    nothing_is_left_of_a_deleted_user
    a_deleted_pool_is_purged_in_batches
    rows_of_an_older_node_are_indexed
    passwords_and_codes_are_kept_as_the_rules_say
    a_refresh_family_is_rotated_once
    every_statement_uses_an_index
}

fn family(user: &User) -> RefreshFamily {
    RefreshFamily {
        amr: Vec::new(),
        id: uuid(&SystemEntropy),
        user_no: user.no,
        client_id: "client".into(),
        generation: 1,
        rotated_at: now(),
        auth_time: now(),
        scope: "openid".into(),
        device_key: String::new(),
        created_at: now(),
        expires_at: now().plus(Duration::from_secs(3600)),
        key: String::new(),
    }
}

async fn begin_session(tx: &mut Tx<'_>, user: &User) -> narthex::store::Result<()> {
    let authentication = Authentication {
        provider: "corp".into(),
        provider_sid: String::new(),
        browser: Browser::default(),
        amr: vec![],
        auth_time: None,
        factor_at: None,
        ends_at: None,
        begun_at: now(),
    };
    let limits = SessionLimits {
        idle: Duration::from_secs(3600),
        absolute: Duration::from_secs(86400),
        persistent: true,
    };
    directory::begin_session(tx, user, &authentication, None, limits, now(), &SystemEntropy).await.map(drop)
}

async fn a_disabled_user_has_no_session_and_no_refresh_token(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let (user, ring) = (&create_confirmed_user(&store, &pool, "bob", &[]).await, new_key_ring());
    let family = &family(user);
    let add = store.transaction(|tx| {
        Box::pin(async move {
            begin_session(tx, user).await?;
            tx.add_refresh_family(family).await
        })
    });
    add.await.unwrap();
    let disable = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        Box::pin(async move { directory::set_enabled(tx, user, false, now(), &SystemEntropy).await })
    });
    let disabled = disable.await.unwrap();
    assert!(!disabled.enabled && disabled.version == 2);
    let sessions =
        store.transaction(|tx| Box::pin(async move { tx.sessions_of(&user.id).await })).await.unwrap();
    assert!(sessions.is_empty());
    assert_eq!(store.refresh_family(&family.id).await.unwrap(), None);
    assert_eq!(list_user_names(&store, &ring, &pool, "status = \"Disabled\"").await, ["bob"]);
    assert!(list_user_names(&store, &ring, &pool, "status = \"Enabled\"").await.is_empty());
}

async fn nothing_is_left_of_a_deleted_user(engine: Engine) {
    let store = engine.open().await;
    let pool = &add_pool(&store, "pool", pool_settings(&[], ALIASES, false)).await;
    let address = "leaver@corp.example";
    let of = [("email", address), ("email_verified", "true"), ("name", "leaver-name")];
    let google = upsert_federated_user(&store, pool, "leaver-subject", &of).await;
    let local = create_confirmed_user(&store, pool, "leaver-login", &of).await;
    for user in [&local, &google] {
        let family = &family(user);
        let work = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                begin_session(tx, user).await?;
                tx.add_refresh_family(family).await?;
                let password =
                    StoredPassword { hash: b"hash".to_vec().into(), set_at: now(), expires_at: None };
                tx.set_password(user.no, &password, 2, &SystemEntropy).await?;
                tx.set_password(user.no, &password, 2, &SystemEntropy).await?;
                tx.set_srp_verifier(user.no, b"verifier", &SystemEntropy).await?;
                let failures = PasswordFailures { failures: 1, last_failure_at: now(), locked_until: now() };
                tx.save_password_failures(user.no, failures).await?;
                let code = AccountCode { user_no: user.no, purpose: "attribute", target: address };
                tx.put_account_code(code, (&sha256("code"), address), now(), now()).await?;
                tx.set_pending_token(user.no, b"secret", &SystemEntropy).await?;
                tx.set_recovery_codes(user.no, &[sha256("recovery")]).await?;
                tx.get_or_insert_identity("eu:pool", &user.id, &uuid(&SystemEntropy), now()).await?;
                if tx.group(pool.no, "staff").await?.is_none() {
                    let new = NewGroup { name: "staff".into(), ..NewGroup::default() };
                    directory::create_group(tx, pool, &new, now(), &SystemEntropy).await?;
                }
                directory::add_to_group(tx, pool, "staff", user, now(), &SystemEntropy).await
            })
        });
        work.await.unwrap();
    }
    let needles = [address, &local.id, &google.id, "leaver-name", "leaver-login", "leaver-subject"];
    let before = database_content(&engine).await;
    for needle in needles {
        assert!(count_occurrences(&before, needle) >= 2, "{needle} is nowhere: the search finds nothing");
    }
    for user in [&local, &google] {
        delete_user(&store, user).await;
    }
    // The feed, by which nodes forget the user, is kept for an hour of the database's own clock.
    let limits = SessionLimits {
        idle: Duration::from_secs(3600),
        absolute: Duration::from_secs(86400),
        persistent: true,
    };
    let later = store.time().await.unwrap().plus(Duration::from_secs(7200));
    store.purge(limits, later).await.unwrap();
    let after = database_content(&engine).await;
    assert!(count_occurrences(&after, "staff") > 0);
    for needle in needles {
        assert_eq!(count_occurrences(&after, needle), 0, "{needle}");
    }
    let mut connection = engine.connect().await;
    let tables = [
        "sign_in_names",
        "user_keys",
        "group_members",
        "passwords",
        "password_history",
        "password_failures",
        "srp_verifiers",
        "account_codes",
        "user_factors",
        "recovery_codes",
        "refresh_families",
        "sessions",
        "users",
    ];
    for table in tables {
        let rows = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let rows: i64 = sqlx::query_scalar(rows).fetch_one(&mut connection).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    assert_eq!(store.counter(pool.no, Counter::Users).await.unwrap(), 0);
}

async fn a_deleted_pool_is_purged_in_batches(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let other = add_pool(&store, "other", PoolSettings::default()).await;
    for number in 0..250 {
        // Numbers of one millisecond collide at times.
        let at = now().plus(Duration::from_millis(number));
        create_user(&store, &pool, &new_user(&format!("user{number}"), &[]), at).await.unwrap();
    }
    create_confirmed_user(&store, &other, "stays", &[]).await;
    let gone = &Pool { state: PoolState::Deleting, version: 2, ..pool.clone() };
    store.transaction(|tx| Box::pin(async move { tx.save_pool(gone).await })).await.unwrap();
    assert_eq!(
        create_user(&store, gone, &new_user("late", &[]), now()).await.unwrap_err().kind(),
        ErrorKind::PoolNotFound
    );
    assert!(directory::purge_pools(&store, 1, now(), &SystemEntropy).await.unwrap());
    assert_eq!(store.counter(pool.no, Counter::Users).await.unwrap(), 50);
    assert!(!directory::purge_pools(&store, 10, now(), &SystemEntropy).await.unwrap());
    assert_eq!(store.pool("pool").await.unwrap(), None);
    assert!(store.find_user(&other, "stays", Lookup::SignIn).await.unwrap().is_some());
}

/// A node of the version before writes rows without number, status and keys, and changes others.
async fn rows_of_an_older_node_are_indexed(engine: Engine) {
    let (store, ring) = (engine.open().await, new_key_ring());
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let known = upsert_federated_user(&store, &pool, "known", &[("email", "old@x.example")]).await;
    let mut connection = engine.connect().await;
    let insert = "INSERT INTO users (id, pool_id, username, enabled, attributes, provider_groups, version, created_at, \
                  updated_at) VALUES ('00000000-0000-4000-8000-000000000001', 'pool', 'corp~00000000_x', 1, \
                  '{\"email\":\"Old2@x.example\"}', '[]', 1, 1700000000000, 1700000000000)";
    sqlx::query(insert).execute(&mut connection).await.unwrap();
    let change = "UPDATE users SET attributes = '{\"email\":\"new@x.example\"}', version = version + 1 WHERE username = $1";
    sqlx::query(change).bind(&known.username).execute(&mut connection).await.unwrap();
    drop(connection);
    let named = async |name: &str| {
        let users = store.transaction(|tx| Box::pin(async move { tx.users_named(name).await }));
        users.await.unwrap().into_iter().map(|user| user.username).collect::<Vec<_>>()
    };
    assert_eq!(named("OLD2@x.example").await, ["corp~00000000_x"], "found before it is indexed");
    assert_eq!(
        list_user_names(&store, &ring, &pool, "email = \"new@x.example\"").await,
        Vec::<String>::new()
    );
    assert_eq!(directory::index_users(&store, 10, now(), &SystemEntropy).await.unwrap(), 2);
    assert_eq!(directory::index_users(&store, 10, now(), &SystemEntropy).await.unwrap(), 0);
    assert_eq!(
        list_user_names(&store, &ring, &pool, "email = \"new@x.example\"").await,
        std::slice::from_ref(&known.username)
    );
    assert!(list_user_names(&store, &ring, &pool, "email = \"old@x.example\"").await.is_empty());
    assert_eq!(
        list_user_names(&store, &ring, &pool, "").await,
        ["corp~00000000_x".to_owned(), known.username.clone()]
    );
    assert_eq!(
        list_user_names(&store, &ring, &pool, "cognito:user_status = \"EXTERNAL_PROVIDER\"").await.len(),
        2
    );
    assert_eq!(named("OLD2@x.example").await, ["corp~00000000_x"]);
    assert_eq!(named("new@x.example").await, std::slice::from_ref(&known.username));
    assert_eq!(named(&known.id).await, std::slice::from_ref(&known.username));
    assert_eq!(named(&known.username).await, std::slice::from_ref(&known.username));
    assert!(named("x@x.example").await.is_empty());
    assert_eq!(store.counter(pool.no, Counter::Users).await.unwrap(), 2);
    // The next change by a provider's sign-in keeps the keys current.
    upsert_federated_user(&store, &pool, "known", &[("email", "third@x.example")]).await;
    assert_eq!(named("third@x.example").await, [known.username]);
}

async fn passwords_and_codes_are_kept_as_the_rules_say(engine: Engine) {
    let store = engine.open().await;
    let set = async |text: &str, at: Timestamp, history| {
        let password = &StoredPassword {
            hash: text.as_bytes().to_vec().into(),
            set_at: at,
            expires_at: Some(at.plus(Duration::from_secs(9))),
        };
        store
            .transaction(|tx| {
                Box::pin(async move { tx.set_password(7, password, history, &SystemEntropy).await })
            })
            .await
            .unwrap();
    };
    for (second, text) in ["secret-one", "secret-two", "secret-three", "secret-four"].into_iter().enumerate()
    {
        set(text, now().plus(Duration::from_secs(second as u64)), 2).await;
    }
    let current = store.password(7).await.unwrap().unwrap();
    assert_eq!(
        (&current.hash[..], current.expires_at),
        (&b"secret-four"[..], Some(now().plus(Duration::from_secs(12))))
    );
    assert!(!format!("{current:?}").contains("secret"));
    let earlier = async || {
        store.transaction(|tx| Box::pin(async move { tx.password_history(7, 9).await })).await.unwrap()
    };
    assert_eq!(
        earlier().await.iter().map(|hash| hash.to_vec()).collect::<Vec<_>>(),
        [b"secret-three".to_vec(), b"secret-two".to_vec()]
    );
    assert_eq!(count_occurrences(&database_content(&engine).await, "secret-"), 0, "hashes are sealed");
    set("secret-five", now().plus(Duration::from_secs(9)), 0).await;
    assert!(earlier().await.is_empty(), "without a history nothing is kept");
    assert!(store.password(8).await.unwrap().is_none());

    let code = AccountCode { user_no: 7, purpose: "sign_up", target: "email" };
    let put = async || {
        let expires_at = now().plus(Duration::from_secs(60));
        store
            .transaction(|tx| {
                Box::pin(async move {
                    tx.put_account_code(code, (&sha256("123456"), "a@b.example"), expires_at, now()).await
                })
            })
            .await
            .unwrap();
    };
    let check = async |code, text: &str, at| {
        let hash = &sha256(text);
        store
            .transaction(|tx| Box::pin(async move { tx.check_account_code(code, hash, 3, at).await }))
            .await
            .unwrap()
    };
    put().await;
    for other in [
        AccountCode { user_no: 8, ..code },
        AccountCode { purpose: "forgot", ..code },
        AccountCode { target: "phone_number", ..code },
    ] {
        assert_eq!(
            check(other, "123456", now()).await,
            CodeCheck::Absent,
            "a code is of its user, purpose and target"
        );
    }
    assert_eq!(check(code, "000000", now()).await, CodeCheck::Mismatch);
    for _ in 0..4 {
        let matched = check(code, "123456", now()).await;
        assert_eq!(matched, CodeCheck::Match("a@b.example".to_owned()), "a right one is no attempt");
    }
    let use_up = async |hash: [u8; 32]| {
        let hash = &hash;
        store.transaction(|tx| Box::pin(async move { tx.use_account_code(code, hash).await })).await.unwrap()
    };
    assert!(!use_up(sha256("000000")).await, "another code");
    assert!(use_up(sha256("123456")).await);
    assert!(!use_up(sha256("123456")).await);
    assert_eq!(check(code, "123456", now()).await, CodeCheck::Absent, "it is used up");
    put().await;
    for _ in 0..3 {
        assert_eq!(check(code, "000000", now()).await, CodeCheck::Mismatch);
    }
    assert_eq!(check(code, "123456", now()).await, CodeCheck::UsedUp, "three attempts");
    put().await;
    assert_eq!(check(code, "123456", now().plus(Duration::from_secs(60))).await, CodeCheck::Expired);
}

async fn a_refresh_family_is_rotated_once(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let user = create_confirmed_user(&store, &pool, "bob", &[]).await;
    let family = &family(&user);
    store.transaction(|tx| Box::pin(async move { tx.add_refresh_family(family).await })).await.unwrap();
    let rotate = || {
        store.transaction(|tx| Box::pin(async move { tx.rotate_refresh_family(&family.id, 1, now()).await }))
    };
    let (one, other) = tokio::join!(rotate(), rotate());
    assert!(one.unwrap() ^ other.unwrap());
    let current = store.refresh_family(&family.id).await.unwrap().unwrap();
    assert_eq!(current, RefreshFamily { generation: 2, ..family.clone() });
    assert_eq!(store.refresh_families(user.no, 10).await.unwrap(), [current]);
}

/// Statements that read a partial index to its end: it has the rows of older nodes alone.
const WHOLE_INDEX: [(&str, &str); 2] = [("user_index", "UNINDEXED"), ("users", "UNINDEXED")];

async fn every_statement_uses_an_index(engine: Engine) {
    drop(engine.open().await);
    let mut connection = engine.connect().await;
    let mut read = 0;
    if !engine.is_sqlite() {
        // The tables are empty: without statistics, the planner would rather read and sort a few
        // pages.
        for statement in [
            "SET enable_seqscan = off",
            "SET enable_bitmapscan = off",
            "SET enable_hashjoin = off",
            "SET enable_mergejoin = off",
            "SET plan_cache_mode = force_generic_plan",
        ] {
            sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        }
    }
    let lookups = bulk_lookups().map(|sql| ("bulk", "LOOKUP", sql));
    for (file, name, sql) in statements_of_people().chain(lookups) {
        let plan = match engine.is_sqlite() {
            true => sqlite_plan(&mut connection, sql).await,
            false => postgres_plan(&mut connection, sql).await,
        };
        let whole_index = WHOLE_INDEX.contains(&(file, name));
        let wrong = match engine.is_sqlite() {
            true => plan.iter().any(|line| match line.starts_with("SCAN") {
                true => !(whole_index && line.contains("users_unindexed")),
                false => {
                    line.contains("AUTOMATIC")
                        || line.contains("TEMP B-TREE FOR ORDER") && name != "IDENTITIES"
                }
            }),
            false => {
                let text = plan.join("\n");
                let scans = text.matches("Scan").count() - text.matches("Bitmap Heap Scan").count();
                let conditions = text.matches("Index Cond").count();
                text.contains("Seq Scan")
                    || (scans > conditions && !(whole_index && text.contains("users_unindexed")))
            }
        };
        assert!(!wrong, "{file} {name}:\n{sql}\n{}", plan.join("\n"));
        read += 1;
    }
    assert!(read > 60, "{read} statements");
}

async fn sqlite_plan(connection: &mut sqlx::AnyConnection, sql: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = sqlx::raw_sql(explain).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect()
}

async fn postgres_plan(connection: &mut sqlx::AnyConnection, sql: &str) -> Vec<String> {
    let parameters = (1..100).take_while(|number| sql.contains(&format!("${number}"))).count();
    let nulls = vec!["NULL"; parameters].join(", ");
    let arguments = if parameters == 0 { String::new() } else { format!("({nulls})") };
    let prepare = AssertSqlSafe(format!("PREPARE p AS {sql}"));
    sqlx::raw_sql(prepare).execute(&mut *connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE p{arguments}"));
    let rows = sqlx::raw_sql(explain).fetch_all(&mut *connection).await.unwrap();
    sqlx::raw_sql("DEALLOCATE p").execute(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}
