//! The store's contract, on both engines. Time is a value, so nothing waits.

use crate::support::engine::{Engine, new_key_ring};
use narthex::base::{
    Clock as _, Duration, Entropy as _, ManualClock, MonotonicTime, OpenError, RandomToken, Secret,
    SystemEntropy, Timestamp, uuid,
};
use narthex::catalogue::IdentityPool;
use narthex::config::{SessionLimits, StoreUrl};
use narthex::directory::{self, Authentication, Browser, FederatedAccount};
use narthex::identity::{IdentityDirectory, MergeOutcome, merge_guest};
use narthex::jose::Algorithm;
use narthex::model::{
    AuthorizationRequest, CookieScope, Identity, ProviderTokens, Session, SessionCookie, User,
};
use narthex::store::{Change, Feed, LeaseResult, ReplayKey, Store};
use narthex::token::{self, CodeError, Grant, KeyChain, RevocationError, Revocations};
use std::sync::Arc;

const LIMITS: SessionLimits =
    SessionLimits { idle: Duration::from_secs(3600), absolute: Duration::from_secs(86400), persistent: true };
const GRANT: Grant<'_> = Grant { client_id: "client", redirect_uri: "https://app/cb", proof: None };

fn now() -> Timestamp {
    Timestamp::from_seconds(1_800_000_000)
}

on_both_engines! {
    facts_are_fixed_at_first_sight
    another_master_key_is_told
    private_keys_are_sealed_and_agreed_on
    keys_are_published_before_they_sign_and_after
    another_algorithm_is_taken_up_as_a_new_key_is
    revoked_tokens_are_heard_of_and_nothing_counts_after_a_long_silence
    a_user_is_found_by_issuer_and_subject_alone
    the_account_that_created_a_user_stays_also_under_another_name_of_its_provider
    a_session_is_found_by_its_cookies_until_it_ends
    a_browser_has_one_session
    a_code_works_once_and_its_reuse_ends_the_session
    a_code_is_compared_before_it_is_used_up_or_ends_anything
    a_code_is_redeemed_once_though_many_try_at_the_same_instant
    a_login_attempt_is_used_once
    changes_are_heard_once_by_every_node
    what_is_over_is_purged_and_nothing_else
    a_failed_transaction_leaves_nothing
    a_value_that_no_column_takes_is_no_failure_of_the_database
    a_connection_that_was_left_in_a_transaction_is_used_by_nobody
    a_renewal_that_a_wrong_clock_put_off_is_due
    new_tokens_without_an_answer_about_the_person_confirm_nothing
    two_first_sign_ins_of_one_person_make_one_user
    a_second_node_opens_the_same_store
    a_person_has_one_identity_in_a_pool_and_a_guests_goes_over_once
}

fn account(issuer: &str, subject: &str, email: &str) -> FederatedAccount {
    FederatedAccount {
        identity: Identity {
            issuer: issuer.into(),
            subject: subject.into(),
            provider: "corp".into(),
            saml: false,
        },
        attributes: [("email", email)].into_iter().collect(),
        groups: vec!["staff".into()],
        unverified: vec![],
        first_login_attributes: &[],
    }
}

async fn user(store: &Store, account: &FederatedAccount) -> User {
    store
        .transaction(|tx| {
            Box::pin(async move { directory::upsert(tx, "pool", account, now(), &SystemEntropy).await })
        })
        .await
        .unwrap()
}

async fn the_account_that_created_a_user_stays_also_under_another_name_of_its_provider(engine: Engine) {
    let store = engine.open().await;
    user(&store, &account("https://idp", "rz", "rz@corp.example")).await;
    let renamed = account("https://idp", "rz", "rz@corp.example");
    let renamed =
        FederatedAccount { identity: Identity { provider: "corq".into(), ..renamed.identity }, ..renamed };
    let found = &user(&store, &renamed).await;
    let unlinked = store.transaction(|tx| {
        Box::pin(async move { directory::unlink(tx, found, "corq", now(), &SystemEntropy).await })
    });
    assert_eq!(unlinked.await.unwrap().err(), Some(directory::LinkError::NamedAfter));
    // Back under the first name, it is the same user.
    assert_eq!(user(&store, &account("https://idp", "rz", "rz@corp.example")).await.id, found.id);
}

async fn session(store: &Store, user: &User, earlier: Option<&str>) -> Session {
    session_of(store, user, earlier, now(), &["pwd", "otp"]).await
}

/// The same by an attempt that was begun at `begun_at`, by these methods.
async fn session_of(
    store: &Store,
    user: &User,
    earlier: Option<&str>,
    begun_at: Timestamp,
    amr: &[&str],
) -> Session {
    let authentication = Authentication {
        provider: "corp".into(),
        provider_sid: "there".into(),
        browser: Browser { user_agent: "test".into(), address: "192.0.2.7".into() },
        amr: amr.iter().map(|method| (*method).to_owned()).collect(),
        auth_time: Some(now()),
        factor_at: None,
        ends_at: None,
        begun_at,
    };
    let authentication = &authentication;
    store
        .transaction(|tx| {
            Box::pin(async move {
                directory::begin_session(tx, user, authentication, earlier, LIMITS, now(), &SystemEntropy)
                    .await
            })
        })
        .await
        .unwrap()
}

async fn cookie(store: &Store, session: &Session, scope: CookieScope) -> RandomToken {
    let token = RandomToken::random(&SystemEntropy);
    let cookie =
        SessionCookie { hash: token.hash(), session_id: session.id.clone(), scope, created_at: now() };
    let cookie = &cookie;
    store.transaction(|tx| Box::pin(async move { tx.add_session_cookie(cookie).await })).await.unwrap();
    token
}

async fn code(store: &Store, session: &Session, verifier: &str) -> RandomToken {
    store
        .transaction(|tx| {
            Box::pin(async move {
                let request = AuthorizationRequest {
                    client_id: GRANT.client_id.to_owned(),
                    redirect_uri: GRANT.redirect_uri.to_owned(),
                    code_challenge: token::challenge(verifier),
                    ..AuthorizationRequest::default()
                };
                token::issue(tx, &request, session, now(), &SystemEntropy).await
            })
        })
        .await
        .unwrap()
}

async fn redeem(
    store: &Store,
    code: &RandomToken,
    grant: Grant<'_>,
    verifier: &str,
    at: Timestamp,
) -> Result<Session, CodeError> {
    store
        .transaction(|tx| {
            Box::pin(async move { token::redeem(tx, code, grant, verifier, at, &SystemEntropy).await })
        })
        .await
        .unwrap()
        .map(|redeemed| redeemed.session)
}

async fn facts_are_fixed_at_first_sight(engine: Engine) {
    let store = engine.open().await;
    assert_eq!(store.get_or_init("pool", "one").await.unwrap(), "one");
    assert_eq!(store.get_or_init("pool", "two").await.unwrap(), "one");
    assert_eq!(store.get_or_init("other", "two").await.unwrap(), "two");
}

async fn another_master_key_is_told(engine: Engine) {
    let ring = new_key_ring();
    let store = Store::open(&engine.url, ring.clone()).await.unwrap();
    assert_eq!(store.check_master_key(&SystemEntropy).await.unwrap(), Ok(()));
    let again = Store::open(&engine.url, ring).await.unwrap();
    assert_eq!(again.check_master_key(&SystemEntropy).await.unwrap(), Ok(()));
    let other = engine.open().await;
    assert_eq!(other.check_master_key(&SystemEntropy).await.unwrap(), Err(OpenError::OtherKey));
}

async fn private_keys_are_sealed_and_agreed_on(engine: Engine) {
    let ring = new_key_ring();
    let store = Store::open(&engine.url, ring).await.unwrap();
    let mut secret = [0; 48];
    SystemEntropy.fill(&mut secret);
    let key = |generation, private: &[u8]| narthex::store::StoredKey {
        purpose: "assertion".into(),
        generation,
        kid: uuid(&SystemEntropy),
        algorithm: "ES256".into(),
        private_key: private.to_vec().into(),
        created_at: now(),
    };
    let first = key(1, &secret);
    store.add_signing_key(&first, &SystemEntropy).await.unwrap();
    store.add_signing_key(&key(1, b"of another node, a moment later"), &SystemEntropy).await.unwrap();
    let keys = store.signing_keys("assertion").await.unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!((&keys[0].kid, &keys[0].private_key[..]), (&first.kid, &secret[..]));
    assert!(store.signing_keys("other").await.unwrap().is_empty());
    if let StoreUrl::Sqlite(path) = &engine.url {
        store.close().await;
        let bytes = std::fs::read(path).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the key lies open in the file");
    }
}

async fn a_user_is_found_by_issuer_and_subject_alone(engine: Engine) {
    let store = engine.open().await;
    let first = user(&store, &account("https://a", "alice", "alice@corp.example")).await;
    assert_eq!(store.user(&first.id).await.unwrap(), Some(first.clone()));
    let again = user(&store, &account("https://a", "alice", "alice@corp.example")).await;
    assert_eq!((&again.id, again.version), (&first.id, 1));
    let moved = user(&store, &account("https://a", "alice", "new@corp.example")).await;
    assert_eq!((&moved.id, moved.version, moved.email()), (&first.id, 2, Some("new@corp.example")));
    for (issuer, subject) in [("https://b", "alice"), ("https://a", "Alice"), ("https://a/", "alice")] {
        let other = user(&store, &account(issuer, subject, "alice@corp.example")).await;
        assert_ne!(other.id, first.id, "{issuer} {subject}");
        assert_ne!(other.username, first.username, "{issuer} {subject}");
    }
}

async fn a_session_is_found_by_its_cookies_until_it_ends(engine: Engine) {
    let store = engine.open().await;
    let user = user(&store, &account("https://a", "alice", "a@b.example")).await;
    let session = session(&store, &user, None).await;
    let (pool, app) = (
        cookie(&store, &session, CookieScope::Pool).await,
        cookie(&store, &session, CookieScope::App("app.example".into())).await,
    );
    for (token, scope) in [(&pool, CookieScope::Pool), (&app, CookieScope::App("app.example".into()))] {
        let found = store.session_by_cookie(&token.hash()).await.unwrap().unwrap();
        assert_eq!((found.session, found.user, found.scope), (session.clone(), user.clone(), scope));
    }
    assert!(
        store.session_by_cookie(token_bytes(&app)).await.unwrap().is_none(),
        "the hash finds it, not the token"
    );
    store.note_last_seen(&[(session.id.clone(), now().plus(Duration::from_secs(60)))]).await.unwrap();
    store.note_last_seen(&[(session.id.clone(), now())]).await.unwrap();
    let seen = store.session_by_cookie(&app.hash()).await.unwrap().unwrap().session.last_seen_at;
    assert_eq!(seen, now().plus(Duration::from_secs(60)), "the last use never moves back");
    let id = session.id.as_str();
    let end = || store.transaction(|tx| Box::pin(async move { tx.end_session(id, &SystemEntropy).await }));
    assert!(end().await.unwrap());
    assert!(!end().await.unwrap());
    for token in [&pool, &app] {
        assert!(store.session_by_cookie(&token.hash()).await.unwrap().is_none());
    }
}

fn token_bytes(token: &RandomToken) -> &[u8; 32] {
    token.bytes()
}

async fn a_browser_has_one_session(engine: Engine) {
    let store = engine.open().await;
    let alice = user(&store, &account("https://a", "alice", "a@b.example")).await;
    let bob = user(&store, &account("https://a", "bob", "b@b.example")).await;
    let first = session(&store, &alice, None).await;
    let token = cookie(&store, &first, CookieScope::App("app.example".into())).await;
    // Another tab in which the same person signed in meanwhile.
    let before = now().minus(Duration::from_secs(1));
    let parallel = session_of(&store, &alice, Some(&first.id), before, &["pwd", "otp"]).await;
    assert_eq!(parallel.id, first.id, "parallel sign-ins share a session");
    assert!(store.session_by_cookie(&token.hash()).await.unwrap().is_some());

    for (what, user, begun_at, amr) in [
        ("a sign-in of another person", &bob, before, &["pwd", "otp"][..]),
        ("a later sign-in", &alice, now(), &["pwd", "otp"]),
        ("a sign-in by other methods", &alice, before, &["mfa"]),
    ] {
        let first = session(&store, &alice, None).await;
        let token = cookie(&store, &first, CookieScope::App("app.example".into())).await;
        let second = session_of(&store, user, Some(&first.id), begun_at, amr).await;
        assert_ne!(second.id, first.id, "{what}");
        assert!(
            store.session_by_cookie(&token.hash()).await.unwrap().is_none(),
            "{what} ends the earlier session"
        );
    }
}

async fn a_code_works_once_and_its_reuse_ends_the_session(engine: Engine) {
    let store = engine.open().await;
    let alice = user(&store, &account("https://a", "alice", "a@b.example")).await;
    let session = session(&store, &alice, None).await;
    let token = cookie(&store, &session, CookieScope::Pool).await;
    let good = code(&store, &session, "verifier").await;
    assert_eq!(redeem(&store, &good, GRANT, "verifier", now()).await, Ok(session.clone()));
    for (grant, verifier) in [
        (GRANT, "guess"),
        (Grant { client_id: "other", ..GRANT }, "verifier"),
        (Grant { redirect_uri: "https://app/cb/", ..GRANT }, "verifier"),
    ] {
        let code = code(&store, &session, "verifier").await;
        assert_eq!(redeem(&store, &code, grant, verifier, now()).await, Err(CodeError::Mismatch));
    }
    let late = code(&store, &session, "verifier").await;
    let later = now().plus(Duration::from_secs(120));
    assert_eq!(redeem(&store, &late, GRANT, "verifier", later).await, Err(CodeError::Unknown));
    let made_up = RandomToken::random(&SystemEntropy);
    assert_eq!(redeem(&store, &made_up, GRANT, "verifier", now()).await, Err(CodeError::Unknown));
    // A response that is delivered twice brings nothing, and ends nothing.
    let soon = now().plus(Duration::from_secs(14));
    assert_eq!(redeem(&store, &good, GRANT, "verifier", soon).await, Err(CodeError::Duplicate));
    assert!(store.session_by_cookie(&token.hash()).await.unwrap().is_some());
    let replayed = now().plus(Duration::from_secs(15));
    assert_eq!(redeem(&store, &good, GRANT, "verifier", replayed).await, Err(CodeError::Reused));
    assert!(store.session_by_cookie(&token.hash()).await.unwrap().is_none());
    let other = code(&store, &session, "verifier").await;
    assert_eq!(redeem(&store, &other, GRANT, "verifier", now()).await, Err(CodeError::SessionEnded));
}

async fn a_code_is_compared_before_it_is_used_up_or_ends_anything(engine: Engine) {
    let store = engine.open().await;
    let alice = user(&store, &account("https://a", "alice", "a@b.example")).await;
    let session = session(&store, &alice, None).await;
    let token = cookie(&store, &session, CookieScope::Pool).await;
    let code = code(&store, &session, "verifier").await;
    let foreign = [
        (GRANT, "guess"),
        (Grant { client_id: "other", ..GRANT }, "verifier"),
        (Grant { redirect_uri: "https://other/cb", ..GRANT }, "verifier"),
    ];
    for (grant, verifier) in foreign {
        assert_eq!(redeem(&store, &code, grant, verifier, now()).await, Err(CodeError::Mismatch));
    }
    assert_eq!(redeem(&store, &code, GRANT, "verifier", now()).await, Ok(session));
    for (grant, verifier) in foreign {
        let later = now().plus(Duration::from_secs(3000));
        assert_eq!(redeem(&store, &code, grant, verifier, later).await, Err(CodeError::Mismatch));
    }
    assert!(store.session_by_cookie(&token.hash()).await.unwrap().is_some(), "nothing was ended");
}

async fn a_code_is_redeemed_once_though_many_try_at_the_same_instant(engine: Engine) {
    let store = engine.open().await;
    let alice = user(&store, &account("https://a", "alice", "a@b.example")).await;
    for _ in 0..10 {
        let session = session(&store, &alice, None).await;
        let code = code(&store, &session, "verifier").await;
        let mut tries = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let (store, code) = (store.clone(), code.clone());
            tries.spawn(async move { redeem(&store, &code, GRANT, "verifier", now()).await.is_ok() });
        }
        let good = tries.join_all().await.into_iter().filter(|good| *good).count();
        assert_eq!(good, 1);
    }
}

async fn a_login_attempt_is_used_once(engine: Engine) {
    let store = engine.open().await;
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tries.spawn(async move {
            store
                .transaction(|tx| {
                    Box::pin(async move { tx.use_once(ReplayKey::LoginAttempt, "id", now()).await })
                })
                .await
                .unwrap()
        });
    }
    assert_eq!(tries.join_all().await.into_iter().filter(|first| *first).count(), 1);
}

async fn changes_are_heard_once_by_every_node(engine: Engine) {
    let store = engine.open().await;
    let (mut one, mut two) = (Feed::default(), Feed::default());
    let tell = |id: &'static str, pause: Duration| {
        let store = store.clone();
        async move {
            let change = &Change::Session(id.into());
            let tell = store.transaction(|tx| {
                Box::pin(async move {
                    tx.publish(change, &SystemEntropy).await?;
                    tokio::time::sleep(pause).await;
                    Ok(())
                })
            });
            tell.await.unwrap();
        }
    };
    let begun = MonotonicTime::from_millis(0);
    tell("a", Duration::ZERO).await;
    assert_eq!(one.poll(&store, begun).await.unwrap(), [Change::Session("a".into())]);
    assert!(one.poll(&store, begun).await.unwrap().is_empty());
    // Committed after a look at the feed that it is older than: still heard.
    let late = tokio::spawn(tell("b", Duration::from_millis(300)));
    while !late.is_finished() {
        one.poll(&store, begun).await.unwrap().into_iter().for_each(|change| {
            assert_eq!(change, Change::Session("b".into()));
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    late.await.unwrap();
    one.poll(&store, begun).await.unwrap();
    assert_eq!(two.poll(&store, begun).await.unwrap().len(), 2);
    // A node that was away knows that what it finds may not be all, and so does one by whose own
    // clock too much has passed, or that finds the database's clock elsewhere than it must be by
    // now.
    tell("c", Duration::ZERO).await;
    let later = begun.plus(Duration::from_secs(3600));
    assert_eq!(one.poll(&store, later).await.unwrap(), [Change::Everything, Change::Session("c".into())]);
    let heard = two.poll(&store, begun.plus(Duration::from_secs(29))).await.unwrap();
    assert_eq!(heard, [Change::Session("c".into())]);
    let drifted = begun.plus(Duration::from_secs(60));
    assert_eq!(two.poll(&store, drifted).await.unwrap(), [Change::Everything]);
}

async fn what_is_over_is_purged_and_nothing_else(engine: Engine) {
    let store = engine.open().await;
    let alice = user(&store, &account("https://a", "alice", "a@b.example")).await;
    let session = session(&store, &alice, None).await;
    let token = cookie(&store, &session, CookieScope::Pool).await;
    code(&store, &session, "verifier").await;
    store
        .transaction(|tx| Box::pin(async move { tx.use_once(ReplayKey::LoginAttempt, "id", now()).await }))
        .await
        .unwrap();
    assert_eq!(store.purge(LIMITS, now()).await.unwrap(), 0);
    assert!(store.session_by_cookie(&token.hash()).await.unwrap().is_some());
    let much_later = now().plus(LIMITS.absolute).plus(Duration::from_secs(7200));
    assert!(store.purge(LIMITS, much_later).await.unwrap() >= 3);
    assert!(store.session_by_cookie(&token.hash()).await.unwrap().is_none());
    // Users stay: one row, and one for the account.
    assert_eq!(store.count_rows().await.unwrap(), 2);
}

async fn a_failed_transaction_leaves_nothing(engine: Engine) {
    let store = engine.open().await;
    let failed = store
        .transaction(|tx| {
            Box::pin(async move {
                tx.use_once(ReplayKey::LoginAttempt, "id", now()).await?;
                Err::<(), _>(narthex::store::StoreError::Corrupt("on purpose".into()))
            })
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(store.count_rows().await.unwrap(), 0);
}

/// What a failed COMMIT, a cut-off request or a deadline leaves: more often than there are
/// connections.
async fn a_connection_that_was_left_in_a_transaction_is_used_by_nobody(engine: Engine) {
    let store = engine.open().await;
    for _ in 0..12 {
        let store = store.clone();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let begun = std::sync::Mutex::new(Some(begun));
        let cut_off = tokio::spawn(async move {
            let begun = &begun;
            store
                .transaction(|tx| {
                    Box::pin(async move {
                        tx.use_once(ReplayKey::LoginAttempt, "id", now()).await?;
                        begun.lock().unwrap().take().unwrap().send(()).unwrap();
                        std::future::pending::<narthex::store::Result<()>>().await
                    })
                })
                .await
        });
        has_begun.await.unwrap();
        cut_off.abort();
    }
    for number in 0..12 {
        let id = &number.to_string();
        let first = store
            .transaction(|tx| Box::pin(async move { tx.use_once(ReplayKey::LoginAttempt, id, now()).await }));
        assert!(first.await.unwrap());
    }
    assert_eq!(store.count_rows().await.unwrap(), 12);
    assert!(store.ping().await.is_ok());
}

async fn a_renewal_that_a_wrong_clock_put_off_is_due(engine: Engine) {
    let store = engine.open().await;
    let alice = user(&store, &account("https://a", "alice", "a@b.example")).await;
    let id = &session(&store, &alice, None).await.id;
    let (hour, lease, ahead) =
        (Duration::from_secs(3600), Duration::from_secs(45), now().plus(Duration::from_secs(7200)));
    let tokens = &ProviderTokens {
        access_token: Secret::new("a"),
        refresh_token: Some(Secret::new("r")),
        id_token: None,
        name_id: None,
        expires_at: ahead.plus(hour),
    };
    let take = async |at: Timestamp| {
        let take = store.transaction(|tx| {
            Box::pin(async move { tx.lease_provider_tokens(id, at, at.plus(lease), hour).await })
        });
        take.await.unwrap()
    };
    let save = |due_at: Timestamp| {
        store.transaction(move |tx| {
            Box::pin(async move { tx.save_provider_tokens(id, tokens, due_at, &SystemEntropy).await })
        })
    };
    // Due in an hour: of a node whose clock was ahead for two, that is three.
    save(now().plus(hour)).await.unwrap();
    assert!(matches!(take(now()).await, LeaseResult::NotDue));
    save(ahead.plus(hour)).await.unwrap();
    assert!(matches!(take(now()).await, LeaseResult::Taken(_)));
    assert!(matches!(take(now()).await, LeaseResult::Elsewhere));
    assert!(store.renewal_under_way(id, now(), lease).await.unwrap());
    // And a lease that was taken by that clock keeps nobody waiting for two hours.
    save(now()).await.unwrap();
    assert!(matches!(take(ahead).await, LeaseResult::Taken(_)));
    assert!(!store.renewal_under_way(id, now(), lease).await.unwrap());
    assert!(matches!(take(now()).await, LeaseResult::Taken(_)));
}

async fn new_tokens_without_an_answer_about_the_person_confirm_nothing(engine: Engine) {
    let store = engine.open().await;
    let alice = user(&store, &account("https://a", "alice", "a@b.example")).await;
    let id = &session(&store, &alice, None).await.id;
    let at = |seconds| now().plus(Duration::from_secs(seconds));
    let tokens = |expires_at| ProviderTokens {
        access_token: Secret::new("a"),
        refresh_token: Some(Secret::new("r")),
        id_token: None,
        name_id: None,
        expires_at,
    };
    let (first, second) = (&tokens(at(60)), &tokens(at(120)));
    let save = store.transaction(|tx| {
        Box::pin(async move { tx.save_provider_tokens(id, first, at(45), &SystemEntropy).await })
    });
    save.await.unwrap();
    let failures = store.transaction(|tx| {
        Box::pin(async move {
            tx.postpone_provider_tokens(id, at(45), at(75)).await?;
            tx.replace_provider_tokens(id, second, &SystemEntropy).await?;
            tx.postpone_provider_tokens(id, at(75), at(105)).await?;
            tx.provider_tokens(id).await
        })
    });
    let times = failures.await.unwrap().unwrap().times;
    assert_eq!((times.expires_at, times.confirmed_until), (at(120), at(60)));
    assert_eq!((times.failing_since, times.due_at), (at(45), at(105)));
}

async fn a_second_node_opens_the_same_store(engine: Engine) {
    let ring = new_key_ring();
    let (one, two) =
        tokio::join!(Store::open(&engine.url, ring.clone()), Store::open(&engine.url, ring.clone()));
    let (one, two) = (one.unwrap(), two.unwrap());
    let (a, b) = tokio::join!(one.get_or_init("pool", "one"), two.get_or_init("pool", "two"));
    assert_eq!(a.unwrap(), b.unwrap());
}

async fn two_first_sign_ins_of_one_person_make_one_user(engine: Engine) {
    let store = engine.open().await;
    for person in 0..10 {
        let account = account("https://a", &person.to_string(), "a@b.example");
        let mut tries = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (store, account) = (store.clone(), account.clone());
            tries.spawn(async move { user(&store, &account).await.id });
        }
        let ids: std::collections::HashSet<String> = tries.join_all().await.into_iter().collect();
        assert_eq!(ids.len(), 1);
    }
}

async fn keys_are_published_before_they_sign_and_after(engine: Engine) {
    let store = engine.open().await;
    let clock = Arc::new(ManualClock::new(now()));
    let open = || {
        KeyChain::open("test", Algorithm::Es256, store.clone(), clock.clone(), Arc::new(SystemEntropy), true)
    };
    let (one, two) = tokio::join!(open(), open());
    let (one, two) = (one.unwrap(), two.unwrap());
    let first = one.current().signing.kid().to_owned();
    two.rotate(true).await.unwrap();
    assert_eq!(two.current().signing.kid(), first, "two nodes agree");
    let hours = async |hours: u64| {
        clock.advance(Duration::from_secs(hours * 3600));
        one.rotate(true).await.unwrap();
        let keys = one.current();
        (
            keys.signing.kid().to_owned(),
            keys.published.iter().map(|key| key.kid().to_owned()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(hours(719).await, (first.clone(), vec![first.clone()]));
    let (signing, published) = hours(1).await;
    assert_eq!((&signing, published.len()), (&first, 2), "the next one is published, and does not sign yet");
    let second = published[0].clone();
    assert_eq!(hours(23).await.0, first);
    assert_eq!(hours(1).await, (second.clone(), vec![second.clone(), first.clone()]), "it signs after a day");
    assert_eq!(hours(25).await.1.len(), 2, "the old one stays published while anything it signed may live");
    assert_eq!(hours(1).await, (second.clone(), vec![second]));
}

async fn another_algorithm_is_taken_up_as_a_new_key_is(engine: Engine) {
    let store = engine.open().await;
    let clock = Arc::new(ManualClock::new(now()));
    let open = |algorithm| {
        KeyChain::open("test", algorithm, store.clone(), clock.clone(), Arc::new(SystemEntropy), true)
    };
    let names = |chain: &KeyChain| {
        let keys = chain.current();
        let published: Vec<_> = keys.published.iter().map(|key| key.algorithm().name()).collect();
        (keys.signing.algorithm().name(), published)
    };
    assert_eq!(names(&open(Algorithm::Rs256).await.unwrap()), ("RS256", vec!["RS256"]));
    let chain = open(Algorithm::EdDsa).await.unwrap();
    assert_eq!(names(&chain), ("RS256", vec!["EdDSA", "RS256"]), "it is published first");
    // A node with another file makes none before that one signs.
    assert_eq!(names(&open(Algorithm::Es256).await.unwrap()), ("RS256", vec!["EdDSA", "RS256"]));
    clock.advance(Duration::from_secs(24 * 3600));
    chain.rotate(true).await.unwrap();
    assert_eq!(names(&chain), ("EdDSA", vec!["EdDSA", "RS256"]));
}

async fn revoked_tokens_are_heard_of_and_nothing_counts_after_a_long_silence(engine: Engine) {
    let store = engine.open().await;
    let clock = Arc::new(ManualClock::new(now()));
    let revoke = async |jti: &str| {
        let until = now().plus(Duration::from_secs(600));
        store
            .transaction(|tx| {
                let jti = jti.to_owned();
                Box::pin(async move { tx.revoke_token(&jti, until, &SystemEntropy).await })
            })
            .await
            .unwrap();
    };
    revoke("before").await;
    let known = Revocations::open(store.clone(), clock.clone()).await.unwrap();
    let judge = |jti: &str| known.check(jti, clock.monotonic()).err();
    assert_eq!((judge("before"), judge("good")), (Some(RevocationError::Revoked), None));
    let mut feed = Feed::default();
    feed.poll(&store, clock.monotonic()).await.unwrap();
    revoke("heard").await;
    revoke("heard").await;
    let news = feed.poll(&store, clock.monotonic()).await.unwrap();
    let until = now().plus(Duration::from_secs(600));
    assert_eq!(news, vec![Change::Token("heard".into(), until); 2], "each publication is delivered");
    known.apply_changes(&news, clock.monotonic()).await.unwrap();
    assert_eq!(
        (judge("heard"), judge("before")),
        (Some(RevocationError::Revoked), Some(RevocationError::Revoked))
    );
    // What was missed is read again.
    revoke("missed").await;
    assert_eq!(judge("missed"), None);
    known.apply_changes(&[Change::Everything], clock.monotonic()).await.unwrap();
    assert_eq!(judge("missed"), Some(RevocationError::Revoked));
    // An unpublished change is found after a while.
    revoke("untold").await;
    clock.advance(Duration::from_secs(60));
    assert_eq!(judge("good"), None);
    clock.advance(Duration::from_millis(1));
    assert_eq!(
        (judge("good"), judge("heard")),
        (Some(RevocationError::Unknown), Some(RevocationError::Revoked))
    );
    known.apply_changes(&[], clock.monotonic()).await.unwrap();
    assert_eq!((judge("good"), judge("untold")), (None, None));
    clock.advance(Duration::from_secs(240));
    known.apply_changes(&[], clock.monotonic()).await.unwrap();
    assert_eq!(judge("untold"), Some(RevocationError::Revoked));
    // After their end they are forgotten.
    let limits = LIMITS;
    let later = now().plus(Duration::from_secs(601 + 3600));
    assert!(store.is_revoked("heard").await.unwrap());
    store.purge(limits, later).await.unwrap();
    assert!(!store.is_revoked("heard").await.unwrap());
    assert_eq!(judge("heard"), Some(RevocationError::Revoked), "the store has the time");
    known.apply_changes(&[Change::Everything], clock.monotonic()).await.unwrap();
    assert_eq!(judge("heard"), None);
}

async fn a_person_has_one_identity_in_a_pool_and_a_guests_goes_over_once(engine: Engine) {
    let store = engine.open().await;
    let toml = "public_url = \"https://a.example.com\"\n[[role]]\nname = \"r\"\npolicies = [\"r.json\"]\n\
                [[identity_pool]]\nname = \"main\"\nguest_role = \"r\"\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("r.json"), "{}").unwrap();
    let config = narthex::config::Config::parse(toml, "f", folder.path(), &|_| None).unwrap();
    let pool = |id: &str| IdentityPool::new(id.to_owned(), config.identity_pools[0].clone());
    let (one, other) = (pool("us-east-1:one"), pool("us-east-1:other"));
    let clock = Arc::new(ManualClock::new(now()));
    let identities =
        Arc::new(IdentityDirectory::new(store.clone(), new_key_ring(), clock, Arc::new(SystemEntropy)));

    // However many requests of one person come first, at the same instant.
    let first = (0..8).map(|_| identities.for_user(&one, "us-east-1", "ann"));
    let first = futures_util::future::join_all(first).await;
    let ann = first[0].as_ref().unwrap().clone();
    assert!(first.iter().all(|id| id.as_ref().unwrap() == &ann), "{first:?}");
    assert_ne!(identities.for_user(&other, "us-east-1", "ann").await.unwrap(), ann);
    assert_ne!(identities.for_user(&one, "us-east-1", "bob").await.unwrap(), ann);

    let merge = async |guest: &'static str, user: &'static str| {
        let one = &one;
        store.transaction(|tx| Box::pin(merge_guest(tx, one, guest, user, now()))).await.unwrap()
    };
    assert!(identities.is_guest("g1").await.unwrap());
    assert_eq!(merge("g1", "carol").await, MergeOutcome::Promoted);
    assert_eq!(merge("g1", "carol").await, MergeOutcome::Promoted);
    assert!(!identities.is_guest("g1").await.unwrap());
    assert_eq!(identities.for_user(&one, "us-east-1", "carol").await.unwrap(), "g1");
    // Another person with a copy of the guest's cookie gets nothing of it.
    assert_eq!(merge("g1", "dora").await, MergeOutcome::AlreadyOwned);
    assert_ne!(identities.for_user(&one, "us-east-1", "dora").await.unwrap(), "g1");
    assert_eq!(merge("g1", "ann").await, MergeOutcome::AlreadyOwned);
    assert_eq!(identities.for_user(&one, "us-east-1", "carol").await.unwrap(), "g1");
    assert_eq!(merge("g2", "ann").await, MergeOutcome::Merged(ann.clone()));
    assert!(!identities.is_guest("g2").await.unwrap());

    // Two users who are one person: what the one who stays has counts, and nobody gets what is
    // over.
    let moved = store.transaction(|tx| Box::pin(tx.move_pool_identities("carol", "ann")));
    moved.await.unwrap();
    assert_eq!(identities.for_user(&one, "us-east-1", "ann").await.unwrap(), ann);
    assert!(!identities.is_guest("g1").await.unwrap());
    assert_ne!(identities.for_user(&one, "us-east-1", "carol").await.unwrap(), "g1");
    store.transaction(|tx| Box::pin(tx.move_pool_identities("bob", "erin"))).await.unwrap();
    let erin = identities.for_user(&one, "us-east-1", "erin").await.unwrap();
    assert_eq!(store.identity_of(&one.id, "bob").await.unwrap(), None);
    assert_ne!(erin, ann);
}

/// PostgreSQL refuses U+0000 in texts; SQLite stores it.
async fn a_value_that_no_column_takes_is_no_failure_of_the_database(engine: Engine) {
    let store = engine.open().await;
    let is_postgres = matches!(engine.url, StoreUrl::Postgres(_));
    assert_eq!(store.get_or_init("a\0b", "value").await.is_err(), is_postgres);
    store.ping().await.unwrap();
}
