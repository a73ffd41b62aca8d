//! Sign-ins against a database and hashing threads.

use super::*;
use crate::base::{Clock as _, Duration, KeyRing, ManualClock, MasterKey, Secret, SystemEntropy, Timestamp};
use crate::catalogue::{Catalogue, CatalogueCell, Ids};
use crate::config::{Config, StoreUrl};
use crate::directory::srp::tests::{Client, NOW, POOL, TIMESTAMP, series};
use crate::directory::{
    AccountService, Argon2Params, ByUser, CodePurpose, CodeSource, DirectoryDeps, FactorChange,
    FactorService, Hasher, HasherSettings, NewPassword, NewPasswords, NewUser, Origin, PoolEvents, Sender,
    Takeover, create_user, set_enabled,
};
use crate::model::{
    AppClient, AppClientSettings, Attributes, Factor, MfaMode, MfaSettings, PasswordPolicy, Pool,
    PoolSettings, SignInAttribute, SignInSettings, User, UserStatus,
};
use crate::store::{CheckedWork, Store};
use crate::trigger::ClientData;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

const PASSWORD: &str = "Correct-Horse-7-Battery";
const OTHER: &str = "Another-Horse-8-Staple";

/// A source of one code.
struct FixedCode;

impl CodeSource for FixedCode {
    fn new_code(&self, _digits: usize) -> Secret {
        Secret::new("424242")
    }
}

struct Scene {
    store: Store,
    passwords: Arc<NewPasswords>,
    ring: Arc<KeyRing>,
    service: SignInService,
    factors: FactorService,
    clock: Arc<ManualClock>,
    pool: Pool,
    client: AppClient,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ring = Arc::new(KeyRing::new(&MasterKey::random(&SystemEntropy)));
        let url = StoreUrl::Sqlite(folder.path().join("store.db"));
        let store = Store::open(&url, ring.clone()).await.unwrap();
        let settings = HasherSettings {
            params: Argon2Params::new(64, 1, 1).unwrap(),
            threads: NonZeroUsize::MIN,
            max_wait: Duration::from_secs(20),
        };
        let hasher = Arc::new(Hasher::start(settings, Arc::new(SystemEntropy)).unwrap());
        let clock = Arc::new(ManualClock::new(NOW));
        let entropy = Arc::new(SystemEntropy);
        let config =
            Config::parse("public_url = \"https://auth.localhost\"", "test", Path::new("."), &|_| None);
        let config = config.unwrap();
        let ids = Ids::unknown(&config);
        let catalogue = Arc::new(CatalogueCell::new(Catalogue::of(config, ids, 1).unwrap()));
        let passwords = Arc::new(NewPasswords::new(store.clone(), hasher, catalogue.clone()));
        let deps = DirectoryDeps {
            store: store.clone(),
            ring: ring.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            catalogue,
        };
        let factors = FactorService::new(deps.clone());
        let events = Arc::new(PoolEvents::new(deps.clone(), passwords.clone()));
        let codes = (Arc::new(FixedCode) as Arc<dyn CodeSource>, events.clone());
        let accounts = Arc::new(AccountService::new(deps.clone(), passwords.clone(), codes));
        let service = SignInService::new(deps, passwords.clone(), (accounts, events));
        let aliases = SignInSettings { alias_attributes: vec![SignInAttribute::Email], ..Default::default() };
        let settings = PoolSettings {
            sign_in: aliases,
            password_policy: PasswordPolicy { history_size: 2, ..Default::default() },
            auto_verified: vec![SignInAttribute::Email],
            ..Default::default()
        };
        let pool = Pool { no: 7, id: POOL.to_owned(), settings, ..Pool::default() };
        store
            .transaction(|tx| {
                let pool = &pool;
                Box::pin(tx.add_pool(pool))
            })
            .await
            .unwrap();
        let flows = Flow::all().map(|flow| flow.setting().to_owned()).collect();
        let client = AppClient {
            id: "client".to_owned(),
            settings: AppClientSettings { explicit_auth_flows: flows, ..Default::default() },
            ..Default::default()
        };
        Self { store, passwords, ring, service, factors, clock, pool, client, _folder: folder }
    }

    fn sender(&self) -> Sender<'_> {
        Sender {
            pool: &self.pool,
            client: &self.client,
            keeps_verifiers: true,
            network: 1,
            address: None,
            language: None,
            redirect_uri: None,
            device_key: None,
            data: ClientData::default(),
        }
    }

    async fn user(&self, name: &str, status: UserStatus, expires_at: Option<Timestamp>) -> User {
        let new = NewUser {
            username: name.to_owned(),
            attributes: Attributes::from_iter([("email", format!("{name}@example.com"))]),
            status,
            origin: Origin::Administrator,
            takeover: Takeover::Refuse,
        };
        let (pool, now) = (&self.pool, self.clock.now());
        let created = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, SignInError> {
            let new = &new;
            Box::pin(async move { Ok(create_user(tx, pool, new, now, &SystemEntropy).await?) })
        });
        let user = created.await.unwrap();
        self.set_password(&user, PASSWORD, expires_at).await;
        user
    }

    async fn set_password(&self, user: &User, password: &str, expires_at: Option<Timestamp>) {
        let now = self.clock.now();
        let (policy, password) = (&self.pool.settings.password_policy, Secret::new(password));
        let new = NewPassword { password: &password, network: 1, verifier_entropy: None };
        let prepared = self.passwords.prepare(policy, user, new).await.unwrap();
        let set = self.store.transaction(|tx| {
            let prepared = &prepared;
            Box::pin(prepared.set(tx, user.no, policy, (now, expires_at), &SystemEntropy))
        });
        set.await.unwrap();
    }

    async fn password(&self, flow: Flow, name: &str, password: &str) -> Reply {
        let answer = Answer::Password(Secret::new(password));
        self.service.begin(self.sender(), flow, name, &answer).await.unwrap()
    }

    async fn by_srp(&self, name: &str, password: &str) -> (Reply, Vec<u8>, Answer) {
        let client = Client::new(series("a", 1));
        let begin = Answer::SrpA(client.public_hex());
        let reply = self.service.begin(self.sender(), Flow::UserSrp, name, &begin).await.unwrap();
        self.prove(&client, reply, password).await
    }

    /// Answers an exchange that has begun.
    async fn prove(&self, client: &Client, begun: Reply, password: &str) -> (Reply, Vec<u8>, Answer) {
        let Reply::Challenge(challenge) = begun else { panic!("{begun:?}") };
        let exchange = challenge.exchange.as_ref().unwrap();
        let values = (&*exchange.server_public, &*exchange.salt, &*exchange.secret_block);
        let user_id = &*exchange.user_id;
        let signature = client.answer_as((user_id, password), values, TIMESTAMP).signature;
        let proof = Answer::SrpProof { timestamp: TIMESTAMP.to_owned(), signature };
        let block = exchange.secret_block.clone();
        let reply = self.service.respond_to_exchange(self.sender(), &block, &proof).await.unwrap();
        (reply, block, proof)
    }
}

fn signed_in(reply: &Reply) -> &str {
    let Reply::SignedIn(AuthenticatedUser { user, .. }) = reply else { panic!("{reply:?}") };
    &user.username
}

fn refused(reply: &Reply) -> &Refusal {
    let Reply::Refused(refusal) = reply else { panic!("{reply:?}") };
    refusal
}

#[tokio::test]
async fn a_password_signs_in_and_wrong_ones_lock_the_name_known_or_not() {
    let scene = Scene::new().await;
    scene.user("alice", UserStatus::Confirmed, None).await;
    assert_eq!(signed_in(&scene.password(Flow::UserPassword, "Alice", PASSWORD).await), "alice");
    // An unknown name is locked after as many attempts.
    for name in ["alice", "nobody"] {
        for _ in 0..5 {
            assert_eq!(
                refused(&scene.password(Flow::UserPassword, name, OTHER).await),
                &Refusal::IncorrectPassword
            );
        }
        for password in [OTHER, PASSWORD] {
            assert_eq!(
                refused(&scene.password(Flow::UserPassword, name, password).await),
                &Refusal::AttemptsExceeded
            );
        }
    }
    scene.clock.advance(Duration::from_secs(2));
    assert_eq!(signed_in(&scene.password(Flow::UserPassword, "alice", PASSWORD).await), "alice");
    // The right password reset the count.
    assert_eq!(
        refused(&scene.password(Flow::UserPassword, "alice", OTHER).await),
        &Refusal::IncorrectPassword
    );
    assert_eq!(signed_in(&scene.password(Flow::UserPassword, "alice", PASSWORD).await), "alice");
}

#[tokio::test]
async fn parallel_wrong_passwords_do_not_exceed_the_limit() {
    let scene = Scene::new().await;
    scene.user("alice", UserStatus::Confirmed, None).await;
    let attempts = (0..12).map(|_| scene.password(Flow::UserPassword, "alice", OTHER));
    let replies = futures_util::future::join_all(attempts).await;
    let compared = replies.iter().filter(|reply| *refused(reply) == Refusal::IncorrectPassword).count();
    assert_eq!(compared, 5);
}

#[tokio::test]
async fn an_exchange_signs_in_after_a_plain_sign_in_and_its_block_works_once() {
    let scene = Scene::new().await;
    scene.user("alice", UserStatus::Confirmed, None).await;
    // Without a verifier the exchange looks like one with a wrong password.
    assert_eq!(refused(&scene.by_srp("alice", PASSWORD).await.0), &Refusal::IncorrectPassword);
    assert_eq!(refused(&scene.by_srp("nobody", PASSWORD).await.0), &Refusal::IncorrectPassword);
    signed_in(&scene.password(Flow::UserPassword, "alice", PASSWORD).await);
    let (reply, block, proof) = scene.by_srp("alice", PASSWORD).await;
    assert_eq!(signed_in(&reply), "alice");
    let again = scene.service.respond_to_exchange(scene.sender(), &block, &proof).await.unwrap();
    assert_eq!(refused(&again), &Refusal::InvalidSession);
    assert_eq!(refused(&scene.by_srp("alice", OTHER).await.0), &Refusal::IncorrectPassword);
    // A block of another client, an altered one, and an expired one.
    let mut other = scene.client.clone();
    other.id = "other".to_owned();
    let sender = Sender { client: &other, ..scene.sender() };
    let foreign = scene.service.respond_to_exchange(sender, &block, &proof).await.unwrap();
    assert_eq!(refused(&foreign), &Refusal::IncorrectPassword);
    let mut altered = block.clone();
    altered[100] ^= 1;
    let altered = scene.service.respond_to_exchange(scene.sender(), &altered, &proof).await.unwrap();
    assert_eq!(refused(&altered), &Refusal::IncorrectPassword);
}

#[tokio::test]
async fn a_choice_of_the_exchange_is_not_spent_and_reveals_no_user() {
    let scene = Scene::new().await;
    scene.user("alice", UserStatus::Confirmed, None).await;
    for name in ["alice", "nobody"] {
        let begun =
            scene.service.begin(scene.sender(), Flow::UserAuth, name, &Answer::Nothing).await.unwrap();
        let Reply::Challenge(choice) = begun else { panic!("{begun:?}") };
        let public = Answer::SrpA(Client::new(series("a", 1)).public_hex());
        for _ in 0..2 {
            let reply = scene.service.respond(scene.sender(), &choice.session, &public).await.unwrap();
            assert!(matches!(reply, Reply::Challenge(_)), "{name}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn a_choice_of_the_exchange_signs_in_once() {
    let scene = Scene::new().await;
    scene.user("alice", UserStatus::Confirmed, None).await;
    signed_in(&scene.password(Flow::UserPassword, "alice", PASSWORD).await);
    let begun = scene.service.begin(scene.sender(), Flow::UserAuth, "alice", &Answer::Nothing).await.unwrap();
    let Reply::Challenge(choice) = begun else { panic!("{begun:?}") };
    let exchange = async || {
        let client = Client::new(series("a", 1));
        let public = Answer::SrpA(client.public_hex());
        let reply = scene.service.respond(scene.sender(), &choice.session, &public).await.unwrap();
        scene.prove(&client, reply, PASSWORD).await.0
    };
    assert_eq!(signed_in(&exchange().await), "alice");
    assert_eq!(refused(&exchange().await), &Refusal::InvalidSession);
}

#[tokio::test]
async fn a_temporary_password_leads_to_a_new_one_that_is_no_earlier_one() {
    let scene = Scene::new().await;
    let end = NOW.plus(Duration::from_hours(1));
    let bob = scene.user("bob", UserStatus::ForceChangePassword, Some(end)).await;
    let reply = scene.password(Flow::UserPassword, "bob", PASSWORD).await;
    let Reply::Challenge(challenge) = reply else { panic!("{reply:?}") };
    assert_eq!(challenge.challenge.name(), "NEW_PASSWORD_REQUIRED");
    let change = async |session: &str, password: &str| {
        let answer = Answer::NewPassword { password: Secret::new(password), attributes: BTreeMap::new() };
        scene.service.respond(scene.sender(), session, &answer).await.unwrap()
    };
    let session = challenge.session.clone();
    assert_eq!(refused(&change(&session, PASSWORD).await), &Refusal::ReusedPassword);
    let weak = change(&session, "short").await;
    assert_eq!(refused(&weak).to_string(), "Password did not conform with policy: Password not long enough");
    assert_eq!(signed_in(&change(&session, OTHER).await), "bob");
    assert_eq!(refused(&change(&session, OTHER).await), &Refusal::InvalidSession);
    assert_eq!(signed_in(&scene.by_srp("bob", OTHER).await.0), "bob", "the new password has a verifier");
    assert_eq!(signed_in(&scene.password(Flow::UserPassword, "bob", OTHER).await), "bob");
    assert_eq!(
        refused(&scene.password(Flow::UserPassword, "bob", PASSWORD).await),
        &Refusal::IncorrectPassword
    );
    let stored = scene.store.user(&bob.id).await.unwrap().unwrap();
    assert_eq!(stored.status, UserStatus::Confirmed);
    scene.user("carol", UserStatus::ForceChangePassword, Some(end)).await;
    scene.clock.advance(Duration::from_hours(1));
    let late = scene.password(Flow::UserPassword, "carol", PASSWORD).await;
    assert_eq!(refused(&late), &Refusal::TemporaryPasswordExpired);
}

#[tokio::test]
async fn an_unconfirmed_user_confirms_on_the_page_and_is_signed_in_by_the_right_password() {
    let scene = Scene::new().await;
    for (name, password, signs_in) in [("dave", PASSWORD, true), ("erin", OTHER, false)] {
        let user = scene.user(name, UserStatus::Unconfirmed, None).await;
        let refusal = scene.password(Flow::UserPassword, name, password).await;
        assert_eq!(refused(&refusal), &Refusal::UserNotConfirmed);
        let (code, address) = (&Secret::new("123456"), &*format!("{name}@example.com"));
        let times = (&*scene.ring, scene.clock.now());
        let put = scene
            .store
            .transaction(|tx| Box::pin(CodePurpose::SignUp.put(tx, (user.no, address), code, times)));
        put.await.unwrap();
        let Reply::Challenge(challenge) = scene.password(Flow::Page, name, password).await else { panic!() };
        let enter = async |code: &str| {
            let answer = Answer::Code(Secret::new(code));
            scene.service.respond_on_page(scene.sender(), &challenge.session, &answer).await.unwrap()
        };
        // The session of a page is none of the API.
        let right = Answer::Code(Secret::new("123456"));
        let by_api = scene.service.respond(scene.sender(), &challenge.session, &right).await.unwrap();
        assert_eq!(refused(&by_api), &Refusal::InvalidSession);
        assert_eq!(refused(&enter("654321").await), &Refusal::CodeMismatch);
        let reply = enter("123456").await;
        assert_eq!(matches!(reply, Reply::SignedIn { .. }), signs_in, "{reply:?}");
        assert_eq!(matches!(reply, Reply::Confirmed), !signs_in, "{reply:?}");
        let confirmed = scene.store.user(&user.id).await.unwrap().unwrap();
        assert!(confirmed.email_verified(), "the code was sent to the address");
        assert_eq!(refused(&enter("123456").await), &Refusal::CodeExpired);
        // The password of a sign-up that the code's owner did not know is void.
        let reply = scene.password(Flow::Page, name, PASSWORD).await;
        match signs_in {
            true => assert_eq!(signed_in(&reply), name),
            false => assert_eq!(refused(&reply), &Refusal::PasswordResetRequired),
        }
    }
}

#[tokio::test]
async fn a_disabled_user_does_not_sign_in_and_a_challenge_expires() {
    let scene = Scene::new().await;
    let user = scene.user("frank", UserStatus::ForceChangePassword, None).await;
    let Reply::Challenge(challenge) = scene.password(Flow::UserPassword, "frank", PASSWORD).await else {
        panic!()
    };
    let answer = Answer::NewPassword { password: Secret::new(OTHER), attributes: BTreeMap::new() };
    let respond = || scene.service.respond(scene.sender(), &challenge.session, &answer);
    let on_page = scene.service.respond_on_page(scene.sender(), &challenge.session, &answer).await.unwrap();
    assert_eq!(refused(&on_page), &Refusal::InvalidSession);
    scene.clock.advance(Duration::from_mins(3));
    assert_eq!(refused(&respond().await.unwrap()), &Refusal::SessionExpired);
    let now = scene.clock.now();
    let disable = scene.store.checked_transaction(|tx| -> CheckedWork<'_, _, SignInError> {
        let user = &user;
        Box::pin(async move { Ok(set_enabled(tx, user, false, now, &SystemEntropy).await?) })
    });
    disable.await.unwrap();
    let reply = scene.password(Flow::UserPassword, "frank", PASSWORD).await;
    assert_eq!(refused(&reply), &Refusal::UserDisabled);
    assert_eq!(
        refused(&scene.password(Flow::UserPassword, "frank", OTHER).await),
        &Refusal::IncorrectPassword
    );
}

/// Returns the code of a software token.
fn token_code(secret: &Secret, now: Timestamp) -> Secret {
    let secret = totp_rs::Secret::try_from_base32(secret.expose()).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    Secret::new(totp.generate(u64::try_from(now.millis()).unwrap() / 1000).to_string())
}

#[tokio::test]
async fn a_challenge_of_a_second_factor_is_void_once_the_password_changes() {
    let mut scene = Scene::new().await;
    scene.pool.settings.mfa = MfaSettings { mode: MfaMode::Optional, factors: vec![Factor::SoftwareToken] };
    let user = scene.user("grace", UserStatus::Confirmed, None).await;
    let secret = scene.factors.new_token(&scene.pool, &user).await.unwrap().secret;
    let code = token_code(&secret, scene.clock.now());
    let by = ByUser { pool: &scene.pool, user: &user, client_id: None };
    scene.factors.confirm_token(by, &code).await.unwrap();
    let on = FactorChange { is_enabled: Some(true), is_preferred: None };
    scene.factors.change(by, &[(Factor::SoftwareToken, on)]).await.unwrap();
    let ask = async || match scene.password(Flow::UserPassword, "grace", PASSWORD).await {
        Reply::Challenge(challenge) => challenge,
        other => panic!("{other:?}"),
    };
    let answer = async |session: &str| {
        let code = Answer::Code(token_code(&secret, scene.clock.now()));
        scene.service.respond(scene.sender(), session, &code).await.unwrap()
    };
    let first = ask().await;
    assert_eq!(first.challenge, Challenge::Factor(Factor::SoftwareToken));
    assert_eq!(refused(&answer(&first.session).await), &Refusal::TokenCodeUsed);
    scene.clock.advance(Duration::from_secs(30));
    let reply = answer(&first.session).await;
    let Reply::SignedIn(AuthenticatedUser { factor, .. }) = reply else { panic!("{reply:?}") };
    assert_eq!(factor, Some(Factor::SoftwareToken));
    let late = ask().await;
    scene.clock.advance(Duration::from_secs(30));
    scene.set_password(&user, OTHER, None).await;
    assert_eq!(refused(&answer(&late.session).await), &Refusal::InvalidSession);
    let expired = scene.password(Flow::UserPassword, "grace", OTHER).await;
    let Reply::Challenge(expired) = expired else { panic!("{expired:?}") };
    scene.clock.advance(Duration::from_mins(3));
    assert_eq!(refused(&answer(&expired.session).await), &Refusal::SessionExpired);
}

#[tokio::test]
async fn a_software_token_is_set_up_where_the_sign_in_began() {
    let mut scene = Scene::new().await;
    scene.pool.settings.mfa = MfaSettings { mode: MfaMode::Required, factors: vec![Factor::SoftwareToken] };
    scene.user("heidi", UserStatus::Confirmed, None).await;
    for (flow, on_page) in [(Flow::Page, true), (Flow::UserPassword, false)] {
        let reply = scene.password(flow, "heidi", PASSWORD).await;
        let Reply::Challenge(challenge) = reply else { panic!("{reply:?}") };
        let begin = async |on_page| {
            scene.service.new_token((&scene.factors, on_page), scene.sender(), &challenge.session).await
        };
        let elsewhere = begin(!on_page).await.err().map(|error| error.to_string());
        assert_eq!(elsewhere, Some(Refusal::InvalidSession.to_string()));
        let (token, session) = begin(on_page).await.ok().unwrap();
        let code = token_code(&token.secret, scene.clock.now());
        let confirm = async |on_page| {
            let factors = (&scene.factors, on_page);
            scene.service.confirm_token(factors, scene.sender(), &session, &code).await
        };
        let elsewhere = confirm(!on_page).await.err().map(|error| error.to_string());
        assert_eq!(elsewhere, Some(Refusal::InvalidSession.to_string()));
    }
}
