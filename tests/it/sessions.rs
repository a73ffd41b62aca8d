//! Sessions over time. The clock is the test's own, so nothing waits.

use narthex::authn::{Minter, Principal, Renewals, SessionAuthenticator, SessionPrincipal};
use narthex::base::{
    Clock as _, Duration, KeyRing, ManualClock, MasterKey, RandomToken, SystemEntropy, Timestamp,
};
use narthex::broker::Broker;
use narthex::catalogue::{Catalogue, CatalogueCell};
use narthex::config::Config;
use narthex::directory::{self, Authentication, Browser, FederatedAccount};
use narthex::identity::IdentityDirectory;
use narthex::jose::Algorithm;
use narthex::model::{CookieScope, Identity, SessionCookie};
use narthex::policy::{self, Question};
use narthex::provider::ProviderHttpClient;
use narthex::store::{Change, Feed, Store};
use narthex::token::KeyChain;
use std::sync::Arc;

const FILE: &str = r#"
public_url = "https://auth.example.com"
[session]
idle = "1h"
absolute = "5h"
[[provider]]
name = "corp"
type = "oidc"
issuer = "https://idp"
client_id = "x"
allow = { domains = ["example.com"] }
"#;

struct Scene {
    clock: Arc<ManualClock>,
    store: Store,
    ring: Arc<KeyRing>,
    current: Arc<CatalogueCell>,
    sessions: Arc<SessionAuthenticator>,
    _folder: tempfile::TempDir,
}

fn node(
    store: &Store,
    ring: &Arc<KeyRing>,
    clock: &Arc<ManualClock>,
    current: &Arc<CatalogueCell>,
) -> Arc<SessionAuthenticator> {
    let (clock, entropy) = (clock.clone(), Arc::new(SystemEntropy));
    let outbound = ProviderHttpClient::new().unwrap();
    let broker = Broker::new(store.clone(), ring.clone(), clock.clone(), entropy, outbound);
    let renewals = Renewals::new(Arc::new(broker), current.clone());
    Arc::new(SessionAuthenticator::new(store.clone(), ring.clone(), clock, current.clone(), renewals))
}

impl Scene {
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_800_000_000)));
        let ring = Arc::new(KeyRing::new(&MasterKey::random(&SystemEntropy)));
        let config = Config::parse(FILE, "test", folder.path(), &|_| None).unwrap();
        let store = Store::open(&config.store.url, ring.clone()).await.unwrap();
        let catalogue = Catalogue::build(config, &store, &SystemEntropy, 1).await.unwrap();
        let current = Arc::new(CatalogueCell::new(catalogue));
        let sessions = node(&store, &ring, &clock, &current);
        Self { clock, store, ring, current, sessions, _folder: folder }
    }

    /// Another node on the same store.
    fn node(&self) -> Arc<SessionAuthenticator> {
        node(&self.store, &self.ring, &self.clock, &self.current)
    }

    /// Signs somebody in; answers the session's id and the cookie of `app`.
    async fn sign_in(&self, email: &str) -> (String, String) {
        let (now, token) = (self.clock.now(), RandomToken::random(&SystemEntropy));
        let account = FederatedAccount {
            identity: Identity {
                issuer: "https://idp".into(),
                subject: email.into(),
                provider: "corp".into(),
                saml: false,
            },
            attributes: [("email", email), ("email_verified", "true")].into_iter().collect(),
            groups: vec![],
            unverified: vec![],
            first_login_attributes: &[],
        };
        let authentication = Authentication {
            provider: "corp".into(),
            provider_sid: String::new(),
            browser: Browser::default(),
            amr: vec![],
            auth_time: Some(now),
            factor_at: None,
            ends_at: None,
            begun_at: now,
        };
        let limits = self.current.load().config.session;
        let id = self
            .store
            .transaction(|tx| {
                let (account, authentication, token) = (&account, &authentication, &token);
                Box::pin(async move {
                    let user = directory::upsert(tx, "pool", account, now, &SystemEntropy).await?;
                    let session = directory::begin_session(
                        tx,
                        &user,
                        authentication,
                        None,
                        limits,
                        now,
                        &SystemEntropy,
                    )
                    .await?;
                    let cookie = SessionCookie {
                        hash: token.hash(),
                        session_id: session.id.clone(),
                        scope: app(),
                        created_at: now,
                    };
                    tx.add_session_cookie(&cookie).await?;
                    Ok(session.id)
                })
            })
            .await
            .unwrap();
        (id, self.sessions.cookie(&token, app().borrowed()))
    }

    /// A catalogue in which a role opens one route under policy.
    async fn under_policy(&self) -> Catalogue {
        std::fs::write(
        self._folder.path().join("all.json"),
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#,
    )
    .unwrap();
        let file = format!(
            "{FILE}
        [[role]]
        name = \"reader\"
        policies = [\"all.json\"]
        [[identity_pool]]
        name = \"main\"
        authenticated_role = \"reader\"
        [[route]]
        name = \"photos\"
        host = \"app.example.com\"
        upstream = \"http://127.0.0.1:9\"
        access = \"policy\""
        );
        let config = Config::parse(&file, "test", self._folder.path(), &|_| None).unwrap();
        Catalogue::build(config, &self.store, &SystemEntropy, 2).await.unwrap()
    }

    async fn minter(&self) -> Minter {
        let (clock, entropy) = (self.clock.clone(), Arc::new(SystemEntropy));
        let keys =
            KeyChain::open("assertion", Algorithm::Es256, self.store.clone(), clock, entropy.clone(), true);
        Minter::new(Arc::new(keys.await.unwrap()), entropy)
    }

    /// The principal of `cookie` now, as one node sees it.
    async fn who(&self, node: &Arc<SessionAuthenticator>, cookie: &str) -> Option<SessionPrincipal> {
        node.authenticate(cookie, app().borrowed(), self.clock.moment()).await.unwrap()
    }

    async fn end(&self, id: &str) {
        self.store
            .transaction(|tx| Box::pin(async move { tx.end_session(id, &SystemEntropy).await }))
            .await
            .unwrap();
    }

    /// Moves the clock, and has everybody hear that nothing happened meanwhile.
    fn pass(&self, minutes: u64, nodes: &[&Arc<SessionAuthenticator>]) {
        self.clock.advance(Duration::from_secs(minutes * 60));
        for node in nodes.iter().chain([&&self.sessions]) {
            node.mark_synced_at(self.clock.monotonic());
        }
    }
}

fn app() -> CookieScope {
    CookieScope::App("app.example.com".into())
}

#[tokio::test]
async fn a_session_ends_after_idleness_and_after_its_age_on_the_warm_path_too() {
    let scene = Scene::set().await;
    let (_, cookie) = scene.sign_in("ann@example.com").await;
    for _ in 0..4 {
        assert!(scene.who(&scene.sessions, &cookie).await.is_some());
        scene.pass(59, &[]);
    }
    assert!(scene.who(&scene.sessions, &cookie).await.is_some(), "busy, and not five hours old");
    scene.pass(59, &[]);
    assert!(scene.who(&scene.sessions, &cookie).await.is_some());
    scene.pass(6, &[]);
    assert!(scene.who(&scene.sessions, &cookie).await.is_none(), "five hours old");

    let (_, cookie) = scene.sign_in("ann@example.com").await;
    assert!(scene.who(&scene.sessions, &cookie).await.is_some());
    scene.pass(61, &[]);
    assert!(scene.who(&scene.sessions, &cookie).await.is_none(), "idle for an hour");
    // It does not come back by being asked for again.
    assert!(scene.who(&scene.sessions, &cookie).await.is_none());

    // Nor does its cookie cost a read for ever, though the store keeps it for a while.
    scene.pass(2, &[]);
    assert!(scene.who(&scene.sessions, &cookie).await.is_none());
    scene.store.close().await;
    assert!(scene.who(&scene.sessions, &cookie).await.is_none());
}

#[tokio::test]
async fn a_session_that_is_busy_on_another_node_is_not_idle_here() {
    let scene = Scene::set().await;
    let other = scene.node();
    let (_, cookie) = scene.sign_in("ann@example.com").await;
    assert!(scene.who(&scene.sessions, &cookie).await.is_some());
    for _ in 0..2 {
        scene.pass(50, &[&other]);
        assert!(scene.who(&other, &cookie).await.is_some());
        other.flush_last_seen().await.unwrap();
    }
    assert!(
        scene.who(&scene.sessions, &cookie).await.is_some(),
        "the other node wrote down when it was last used"
    );
}

#[tokio::test]
async fn a_session_that_another_node_ended_is_over_as_soon_as_that_is_heard() {
    let scene = Scene::set().await;
    let other = scene.node();
    let (id, cookie) = scene.sign_in("ann@example.com").await;
    let mut feed = Feed::default();
    assert!(scene.who(&other, &cookie).await.is_some());
    scene.end(&id).await;
    let news = feed.poll(&scene.store, scene.clock.monotonic()).await.unwrap();
    assert!(news.contains(&Change::Session(id)));
    other.apply_changes(&news);
    assert!(scene.who(&other, &cookie).await.is_none());
}

#[tokio::test]
async fn a_session_whose_end_nobody_told_of_is_over_within_minutes() {
    let scene = Scene::set().await;
    let (id, cookie) = scene.sign_in("ann@example.com").await;
    assert!(scene.who(&scene.sessions, &cookie).await.is_some());
    scene.end(&id).await;
    assert!(scene.who(&scene.sessions, &cookie).await.is_some(), "no change reports it");
    scene.pass(6, &[&scene.sessions]);
    let begun = std::time::Instant::now();
    while scene.who(&scene.sessions, &cookie).await.is_some() {
        assert!(begun.elapsed().as_secs() < 10, "it goes on for ever");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn sessions_in_memory_are_refused_after_a_minute_of_silence() {
    let scene = Scene::set().await;
    let (_, cookie) = scene.sign_in("ann@example.com").await;
    assert!(scene.who(&scene.sessions, &cookie).await.is_some());
    scene.clock.advance(Duration::from_secs(60));
    assert!(scene.who(&scene.sessions, &cookie).await.is_some());
    scene.clock.advance(Duration::from_secs(1));
    assert!(
        scene.sessions.authenticate(&cookie, app().borrowed(), scene.clock.moment()).await.is_err(),
        "a sign-out elsewhere may have gone unheard"
    );
    scene.sessions.mark_synced_at(scene.clock.monotonic());
    assert!(scene.who(&scene.sessions, &cookie).await.is_some());
}

#[tokio::test]
async fn no_jump_of_the_clock_makes_a_silent_store_count_for_longer_or_a_session_end() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let scene = Scene::set().await;
    let (_, cookie) = scene.sign_in("ann@example.com").await;
    assert!(scene.who(&scene.sessions, &cookie).await.is_some());
    let app = app();
    // Ahead and back, while the store is heard; then it is gone.
    scene.clock.jump_forward(hours(2));
    scene.sessions.mark_synced_at(scene.clock.monotonic());
    scene.clock.jump_back(hours(2));
    scene.clock.advance(Duration::from_secs(60));
    assert!(scene.who(&scene.sessions, &cookie).await.is_some());
    scene.clock.advance(Duration::from_secs(1));
    for jump in [ManualClock::jump_back, ManualClock::jump_forward, ManualClock::jump_forward] {
        let principal = scene.sessions.authenticate(&cookie, app.borrowed(), scene.clock.moment());
        assert!(principal.await.is_err(), "a sign-out elsewhere may have gone unheard");
        jump(&scene.clock, hours(2));
    }
    scene.clock.jump_back(hours(2));
    scene.sessions.mark_synced_at(scene.clock.monotonic());
    assert!(scene.who(&scene.sessions, &cookie).await.is_some());

    // Idleness is what has passed, and not what the clock was set to: it neither ends for a jump
    // nor is put off by one.
    scene.clock.jump_forward(hours(2));
    assert!(scene.who(&scene.sessions, &cookie).await.is_some(), "idle since a moment");
    scene.clock.jump_back(hours(2));
    scene.pass(61, &[]);
    assert!(scene.who(&scene.sessions, &cookie).await.is_none(), "idle for an hour");
}

#[tokio::test]
async fn a_cookie_that_a_wrong_clock_took_for_over_is_looked_up_again() {
    let scene = Scene::set().await;
    let (_, cookie) = scene.sign_in("ann@example.com").await;
    scene.clock.jump_forward(Duration::from_secs(7200));
    assert!(scene.who(&scene.sessions, &cookie).await.is_none());
    scene.clock.jump_back(Duration::from_secs(7200));
    scene.sessions.distrust_cache();
    assert!(scene.who(&scene.sessions, &cookie).await.is_some());
}

#[tokio::test]
async fn an_assertion_is_not_sent_before_its_time_nor_after_half_its_life_by_either_clock() {
    let scene = Scene::set().await;
    let (_, cookie) = scene.sign_in("ann@example.com").await;
    let (catalogue, minter) = (scene.under_policy().await, scene.minter().await);
    let who = Principal::SignedIn(scene.who(&scene.sessions, &cookie).await.unwrap());
    let (permit, route) = (policy::evaluate(Question::Public).unwrap(), catalogue.routes().next().unwrap());
    let minted = || {
        let data = minter.mint(&permit, &who, None, &catalogue, route, scene.clock.moment()).unwrap().data;
        let claims = data.to_str().unwrap().split('.').nth(1).unwrap().to_owned();
        let claims: serde_json::Value =
            serde_json::from_slice(&narthex::base::base64url_decode(&claims).unwrap()).unwrap();
        (data, claims["iat"].as_i64().unwrap())
    };
    let first = minted();
    assert!(minted() == first, "it is kept");
    let second = Duration::from_secs(1);
    scene.clock.jump_back(second);
    let earlier = minted();
    assert_eq!(earlier.1, first.1 - 1, "`iat` does not lie in the future");
    scene.clock.jump_forward(Duration::from_secs(7200));
    let ahead = minted();
    assert_eq!(ahead.1, scene.clock.now().seconds());
    scene.clock.jump_back(Duration::from_secs(7200));
    assert_eq!(minted().1, scene.clock.now().seconds());
    // A step back does not make it live longer.
    let kept = minted();
    scene.clock.advance(Duration::from_secs(149));
    assert!(minted() == kept);
    scene.clock.jump_back(Duration::from_secs(100));
    scene.clock.advance(second);
    assert!(minted() != kept);
}

#[tokio::test]
async fn a_cookie_counts_where_it_was_set_and_only_unaltered() {
    let scene = Scene::set().await;
    let (_, cookie) = scene.sign_in("ann@example.com").await;
    let (token, mac) = cookie.split_once('.').unwrap();
    let other = RandomToken::random(&SystemEntropy).text();
    for bad in [token.to_owned(), format!("{token}."), format!("{other}.{mac}"), format!(".{mac}")] {
        assert!(scene.who(&scene.sessions, &bad).await.is_none(), "{bad}");
    }
    // Cold and warm: what memory knows must not make the scope superfluous.
    for _ in 0..2 {
        for scope in [CookieScope::Pool, CookieScope::App("other.example.com")] {
            let principal = scene.sessions.authenticate(&cookie, scope, scene.clock.moment());
            assert!(principal.await.unwrap().is_none());
        }
        assert!(scene.who(&scene.sessions, &cookie).await.is_some());
    }
}

#[tokio::test]
async fn a_changed_user_is_seen_by_the_next_request() {
    let scene = Scene::set().await;
    let (_, cookie) = scene.sign_in("ann@example.com").await;
    let before = scene.who(&scene.sessions, &cookie).await.unwrap();
    let mut user = before.user().clone();
    user.enabled = false;
    let user = &user;
    scene.store.transaction(|tx| Box::pin(async move { tx.save_user(user).await })).await.unwrap();
    scene.sessions.apply_changes(&[Change::User(user.id.clone())]);
    assert!(scene.who(&scene.sessions, &cookie).await.is_none(), "a disabled user has no session");
}

#[tokio::test]
async fn whom_the_file_no_longer_lets_in_has_no_session_either() {
    let scene = Scene::set().await;
    let (_, cookie) = scene.sign_in("ann@example.com").await;
    assert!(scene.who(&scene.sessions, &cookie).await.is_some());
    for file in
        [FILE.replace("example.com\"] }", "other.example\"] }"), FILE.replace("\"corp\"", "\"other\"")]
    {
        let node = scene.node();
        let config = Config::parse(&file, "test", scene._folder.path(), &|_| None).unwrap();
        scene.current.replace(Catalogue::build(config, &scene.store, &SystemEntropy, 2).await.unwrap());
        assert!(scene.who(&node, &cookie).await.is_none(), "{file}");
        scene.sessions.apply_changes(&[Change::Everything]);
        assert!(scene.who(&scene.sessions, &cookie).await.is_none(), "{file}");
    }
}

/// Sessions and tokens are remembered for hours. A file that changes every minute would fill the
/// memory with what it said.
#[tokio::test]
async fn who_is_remembered_holds_nothing_of_a_file_that_counts_no_more() {
    let scene = Scene::set().await;
    let (_, cookie) = scene.sign_in("ann@example.com").await;
    let (catalogue, minter) = (scene.under_policy().await, scene.minter().await);
    let (store, clock, entropy) = (scene.store.clone(), scene.clock.clone(), Arc::new(SystemEntropy));
    let identities = IdentityDirectory::new(store, scene.ring.clone(), clock, entropy);

    let who = Principal::SignedIn(scene.who(&scene.sessions, &cookie).await.unwrap());
    let (pool, route) = (&catalogue.identity_pools[0], catalogue.routes().next().unwrap());
    let assumed = who.assume(&identities, &catalogue, pool).await.unwrap().unwrap();
    let permit = policy::evaluate(Question::Public).unwrap();
    let minted =
        || minter.mint(&permit, &who, Some(&assumed), &catalogue, route, scene.clock.moment()).unwrap();
    assert!(minted().data == minted().data, "an assertion is kept");
    let again = who.assume(&identities, &catalogue, pool).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&again, &assumed), "and so is a role");
    let role = catalogue.roles.named(&assumed.role.name).unwrap();
    let (pool, route, role) = (Arc::downgrade(pool), Arc::downgrade(route), Arc::downgrade(role));

    drop((catalogue, assumed, again));
    assert!(route.upgrade().is_none(), "a route");
    assert!(pool.upgrade().is_none(), "an identity pool");
    assert!(role.upgrade().is_none(), "a role with its policies");
    assert!(scene.who(&scene.sessions, &cookie).await.is_some(), "the session is remembered all the while");
    drop(who);
}

/// A stream holds the session that it began with, also when the user has changed since. Requests
/// beside it are about what was read since then, and read it once.
#[tokio::test]
async fn a_session_that_changed_is_read_once_whoever_still_holds_the_old_one() {
    let scene = Scene::set().await;
    let (_, cookie) = scene.sign_in("ann@example.com").await;
    let held = scene.who(&scene.sessions, &cookie).await.unwrap();
    assert!(scene.who(&scene.sessions, &cookie).await.is_some());
    scene.sessions.apply_changes(&[Change::User(held.user().id.clone())]);
    let again = scene.who(&scene.sessions, &cookie).await;
    assert!(again.is_some_and(|again| !std::ptr::eq(again.user(), held.user())), "it is read again");
    scene.store.close().await;
    for _ in 0..3 {
        assert!(scene.who(&scene.sessions, &cookie).await.is_some(), "and remembered");
    }
    drop(held);
}

#[tokio::test]
async fn what_is_kept_for_routes_that_are_gone_is_in_nobodys_way() {
    let scene = Scene::set().await;
    let (_, cookie) = scene.sign_in("ann@example.com").await;
    let (catalogue, minter) = (scene.under_policy().await, scene.minter().await);
    let who = Principal::SignedIn(scene.who(&scene.sessions, &cookie).await.unwrap());
    let minted = |catalogue: &Catalogue| {
        let (permit, route) =
            (policy::evaluate(Question::Public).unwrap(), catalogue.routes().next().unwrap());
        minter.mint(&permit, &who, None, catalogue, route, scene.clock.moment()).unwrap().data
    };
    let kept = minted(&catalogue);
    // More of them than assertions are kept.
    for _ in 0..20 {
        minted(&scene.under_policy().await);
    }
    assert!(minted(&catalogue) == kept, "it is signed again though it is kept");
}
