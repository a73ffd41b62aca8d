//! A deployment without a network, for targets that need its state.

use crate::authn::{ClientKeys, Renewals, SessionAuthenticator};
use crate::base::{Clock, Duration, Entropy, KeyRing, ManualClock, MasterKey, SystemEntropy, Timestamp};
use crate::broker::Broker;
use crate::catalogue::{Catalogue, CatalogueCell};
use crate::config::{Config, StoreUrl};
use crate::directory::{Argon2Params, Directory, DirectoryDeps, HasherSettings};
use crate::handlers::{AppState, Limits};
use crate::identity::IdentityDirectory;
use crate::jose::Algorithm;
use crate::provider::ProviderHttpClient;
use crate::store::Store;
use crate::token::{AccessTokens, KeyChain};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Runtime;

/// The access key of the administrator.
pub const KEY: (&str, &str) = ("AKIAADMINISTRATOR001", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
/// The time of every request.
pub const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
/// The same in `X-Amz-Date`.
pub const DATE: &str = "20270115T080000Z";
/// The name of the folder, before the process id.
const FOLDER_PREFIX: &str = "narthex-fuzz-";
const POLICY: &str = r#"{ "Version": "2012-10-17",
    "Statement": { "Effect": "Allow", "Action": "cognito-idp:*", "Resource": "*" } }"#;

/// The state of a deployment with an administrator, and the runtime of its tasks.
pub struct Deployment {
    /// The state.
    pub app: Arc<AppState>,
    /// The clock, which stands still by itself.
    pub clock: Arc<ManualClock>,
    /// The runtime.
    pub runtime: Runtime,
}

impl Deployment {
    /// Starts a deployment in a new temporary folder.
    ///
    /// # Panics
    /// Panics if the folder or the database cannot be created.
    pub fn start() -> Self {
        let runtime = Runtime::new().expect("the runtime starts");
        let clock = Arc::new(ManualClock::new(NOW));
        let app = Arc::new(runtime.block_on(state(clock.clone())));
        Self { app, clock, runtime }
    }
}

/// Creates the folder of the configuration and the database. Removes those of processes that have
/// ended.
fn folder() -> PathBuf {
    let (temporary, own) = (std::env::temp_dir(), std::process::id().to_string());
    for entry in std::fs::read_dir(&temporary).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX));
        let is_own = process == Some(&*own);
        if is_own || process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let folder = temporary.join(format!("{FOLDER_PREFIX}{own}"));
    std::fs::create_dir(&folder).expect("a folder is created");
    std::fs::write(folder.join("admin.json"), POLICY).expect("a file is written");
    folder
}

async fn state(clock: Arc<ManualClock>) -> AppState {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let clock: Arc<dyn Clock> = clock;
    let folder = folder();
    let ring = Arc::new(KeyRing::new(&MasterKey::random(&*entropy)));
    let url = StoreUrl::Sqlite(folder.join("narthex.db"));
    let store = Store::open(&url, ring.clone()).await.expect("the database opens");
    let (id, secret) = KEY;
    let text = format!(
        "public_url = \"https://auth.example.com\"\n[[administrator]]\nname = \"admin\"\naccess_key_id = \"{id}\"\n\
         secret_access_key = \"{secret}\"\npolicies = [\"admin.json\"]\n"
    );
    let config = Config::parse(&text, "narthex.toml", &folder, &|_| None)
        .unwrap_or_else(|found| panic!("the configuration is valid: {found}"));
    let catalogue = Catalogue::build(config, &store, &*entropy, 1).await;
    let catalogue = Arc::new(CatalogueCell::new(catalogue.unwrap_or_else(|error| panic!("{error}"))));
    let outbound = ProviderHttpClient::new().expect("a client needs no network");
    let broker =
        Arc::new(Broker::new(store.clone(), ring.clone(), clock.clone(), entropy.clone(), outbound.clone()));
    let renewals = Renewals::new(broker.clone(), catalogue.clone());
    let sessions =
        SessionAuthenticator::new(store.clone(), ring.clone(), clock.clone(), catalogue.clone(), renewals);
    let (es256, for_keys) = (Algorithm::Es256, entropy.clone());
    let keys = KeyChain::open("assertion", es256, store.clone(), clock.clone(), for_keys, true).await;
    let access_tokens = AccessTokens::open(store.clone(), clock.clone(), entropy.clone()).await;
    let deps = DirectoryDeps {
        store: store.clone(),
        ring: ring.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        catalogue: catalogue.clone(),
    };
    // The least cost, because the fuzzer hashes many passwords.
    let params = Argon2Params::new(8, 1, 1).expect("the least cost is within the bounds");
    let hashing = HasherSettings { params, threads: NonZeroUsize::MIN, max_wait: Duration::from_secs(30) };
    let identities = IdentityDirectory::new(store.clone(), ring.clone(), clock.clone(), entropy.clone());
    AppState {
        identities: Arc::new(identities),
        catalogue,
        broker,
        sessions: Arc::new(sessions),
        store,
        directory: Arc::new(Directory::start(deps, hashing).expect("threads start")),
        keys: Arc::new(keys.expect("keys are created")),
        access_tokens: Arc::new(access_tokens.expect("no token was issued")),
        client_keys: ClientKeys::new(outbound.clone(), clock.clone()),
        outbound,
        limits: Limits::new(&clock),
        clock,
        entropy,
    }
}
