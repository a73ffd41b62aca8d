//! A user pool with the services that pages and APIs call, and a clock of its own.

use super::engine::Engine;
use narthex::base::{
    Clock as _, Duration, KeyRing, ManualClock, MasterKey, Secret, SystemEntropy, Timestamp,
};
use narthex::catalogue::{Catalogue, CatalogueCell};
use narthex::config::Config;
use narthex::directory::sign_in::{Answer, AuthenticatedUser, Flow, Reply, SignInService};
use narthex::directory::{
    AccountService, Administration, Argon2Params, Directory, DirectoryDeps, DirectoryError, HasherSettings,
    IssuedTokens, Sender, SignUp, SignedIn, TokenService,
};
use narthex::model::{AppClient, AppClientSettings, Attributes, Pool, PoolSettings, User};
use narthex::store::Store;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

/// The issuer of the pool's tokens.
pub const ISSUER: &str = "https://auth.example/eu-central-1_Abc123def";
/// A password that the default policy accepts.
pub const PASSWORD: &str = "Correct-Horse-7-Battery";
/// Another one.
pub const OTHER: &str = "Another-Horse-8-Staple";
/// The settings of messages: enough for a test that sends as many as it likes.
const MESSAGES: &str = r#"
    public_url = "https://auth.localhost"
    [mail]
    smtp = "log"
    from = "no-reply@example.com"
    [sms]
    shape = "json"
    url = "https://sms.example/send"
    secret = "s"
    from = "Example"
    allowed_prefixes = ["+49"]
    [messages]
    per_user = 5
    per_address = 1000
"#;

/// The services of one deployment on one engine.
pub struct AccountScene {
    _engine: Engine,
    pub store: Store,
    pub clock: Arc<ManualClock>,
    pub accounts: Arc<AccountService>,
    pub tokens: TokenService,
    pub sign_in: SignInService,
    pub pool: Pool,
    pub client: AppClient,
}

impl AccountScene {
    /// Creates a pool with these settings, and a client with every flow.
    pub async fn new(engine: Engine, settings: PoolSettings) -> Self {
        Self::with_hashing(engine, settings, Argon2Params::new(64, 1, 1).unwrap()).await
    }

    /// As [`AccountScene::new`], with these parameters of password hashes.
    pub async fn with_hashing(engine: Engine, settings: PoolSettings, params: Argon2Params) -> Self {
        let ring = Arc::new(KeyRing::new(&MasterKey::random(&SystemEntropy)));
        let store = Store::open(&engine.url, ring.clone()).await.unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_800_000_000)));
        let entropy = Arc::new(SystemEntropy);
        let hashing =
            HasherSettings { params, threads: NonZeroUsize::MIN, max_wait: Duration::from_secs(20) };
        let config = Config::parse(MESSAGES, "test", Path::new("."), &|_| None);
        let config = config.unwrap_or_else(|found| panic!("{found}"));
        let catalogue = Catalogue::build(config, &store, &SystemEntropy, 1).await;
        let catalogue = catalogue.unwrap_or_else(|error| panic!("{error}"));
        let deps = DirectoryDeps {
            store: store.clone(),
            ring,
            clock: clock.clone(),
            entropy,
            catalogue: Arc::new(CatalogueCell::new(catalogue)),
        };
        let Directory { accounts, tokens, sign_in, .. } = Directory::start(deps, hashing).unwrap();
        // Keys of RSA take a second to make.
        let settings = PoolSettings { signing_algorithm: "ES256".to_owned(), ..settings };
        let pool = Pool { no: 7, id: "eu-central-1_Abc123def".to_owned(), settings, ..Pool::default() };
        store.transaction(|tx| Box::pin(tx.add_pool(&pool))).await.unwrap();
        let flows = Flow::all().map(|flow| flow.setting().to_owned());
        let flows = flows.chain(["ALLOW_REFRESH_TOKEN_AUTH".to_owned()]).collect();
        let settings = AppClientSettings { explicit_auth_flows: flows, ..Default::default() };
        let client = AppClient { id: "client".to_owned(), pool: 7, settings, ..Default::default() };
        Self { _engine: engine, store, clock, accounts, tokens, sign_in, pool, client }
    }

    pub fn sender(&self) -> Sender<'_> {
        Sender {
            pool: &self.pool,
            client: &self.client,
            keeps_verifiers: false,
            network: 1,
            address: None,
            language: None,
            redirect_uri: None,
            device_key: None,
            data: narthex::trigger::ClientData::default(),
        }
    }

    pub fn administration(&self) -> Administration<'_> {
        Administration {
            pool: &self.pool,
            keeps_verifiers: false,
            data: narthex::trigger::ClientData::default(),
        }
    }

    /// Signs a user up.
    pub async fn sign_up(&self, name: &str, attributes: &[(&str, &str)]) -> Result<User, DirectoryError> {
        let attributes: Attributes = attributes.iter().copied().collect();
        let password = &Secret::new(PASSWORD);
        let sign_up = SignUp { username: name, password: Some(password), attributes: &attributes };
        Ok(self.accounts.sign_up(self.sender(), sign_up).await?.user)
    }

    /// Creates a confirmed user with a verified e-mail address and [`PASSWORD`].
    pub async fn create_user(&self, name: &str, email: &str) -> User {
        let attributes = Attributes::from_iter([("email", email), ("email_verified", "true")]);
        let new = narthex::directory::AdminNewUser {
            username: name.to_owned(),
            attributes,
            temporary_password: Some(Secret::new("Temporary-9-Password")),
            invitation: narthex::directory::Invitation::Suppress,
            takeover: narthex::directory::Takeover::LastVerifier,
        };
        let created = self.accounts.admin_create_user(self.administration(), new).await.unwrap();
        let password = (&Secret::new(PASSWORD), true);
        let set = self.accounts.admin_set_password(self.administration(), &created.username, password);
        set.await.unwrap()
    }

    /// Returns the messages that were added since the last call: recipient and text.
    pub async fn take_messages(&self) -> Vec<(String, String)> {
        let (now, mut all) = (self.clock.now(), Vec::new());
        for channel in ["email", "sms"] {
            let until = now.plus(Duration::from_secs(60));
            for message in self.store.claim_messages(channel, 100, now, until).await.unwrap() {
                let content = message.content.as_ref().unwrap();
                let content: serde_json::Value = serde_json::from_slice(content).unwrap();
                let text = |name: &str| content[name].as_str().unwrap().to_owned();
                all.push((text("to"), text("text")));
                self.store.finish_message(&message).await.unwrap();
            }
        }
        all
    }

    /// Returns the recipient and the code of the only new message.
    pub async fn take_code(&self) -> (String, Secret) {
        let messages = self.take_messages().await;
        let [(to, text)] = &messages[..] else { panic!("{messages:?}") };
        let words = text.split(|c: char| !c.is_ascii_digit());
        let code = words.into_iter().find(|word| word.len() == 6).unwrap_or_else(|| panic!("{text}"));
        (to.clone(), Secret::new(code))
    }

    /// Signs in with a password. Returns nothing for a refusal.
    pub async fn sign_in_with_password(&self, name: &str, password: &str) -> Option<IssuedTokens> {
        let answer = Answer::Password(Secret::new(password));
        let reply = self.sign_in.begin(self.sender(), Flow::UserPassword, name, &answer).await.unwrap();
        let Reply::SignedIn(AuthenticatedUser { user, password_set_at, .. }) = reply else { return None };
        let signed_in = SignedIn {
            user: &user,
            password_set_at,
            scope: "aws.cognito.signin.user.admin",
            nonce: None,
            device_key: "",
            auth_time: None,
            amr: &[],
            source: narthex::directory::TokenSource::default(),
        };
        Some(self.tokens.issue(self.sender(), ISSUER, signed_in).await.unwrap())
    }

    /// Returns whether an access token is valid.
    pub async fn is_valid(&self, tokens: &IssuedTokens) -> bool {
        let token = &tokens.tokens.access_token;
        self.tokens.user_of_access_token(&self.pool, ISSUER, token, None).await.is_ok()
    }
}

/// Returns the exception and the message of a refusal.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, DirectoryError>) -> (String, String) {
    let error = result.unwrap_err();
    (error.exception().to_owned(), error.message().to_owned())
}
