//! The demo: a configuration without a file, a user pool with sign-up, an echo app that shows the
//! received identity, and a mock provider that accepts any name. Both servers exist only in the
//! demo and listen on loopback; no configuration file can name them.

mod echo;
mod provider;

use super::build::CommandError;
use crate::base::{Entropy as _, RandomToken, SystemEntropy, base64url_encode};
use crate::config::Config;
use crate::handlers::AppState;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;

/// The policy of signed-in users: the lobby, and a folder for each user.
const USER_POLICY: &str = include_str!("user.json");
/// The policy of guests: the lobby.
const GUEST_POLICY: &str = include_str!("guest.json");

/// The demo's servers.
pub struct Demo {
    port: u16,
    app: SocketAddr,
    provider: SocketAddr,
    secret: String,
    state: PathBuf,
    pool: Arc<OnceLock<Arc<AppState>>>,
}

impl Demo {
    /// Starts the echo app and the mock provider.
    ///
    /// # Errors
    /// Returns an error if loopback ports or a state directory are unavailable.
    pub async fn start(port: u16) -> Result<Self, CommandError> {
        let bind = async || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .map_err(|e| CommandError::new("loopback", e))?;
            let address = listener.local_addr().map_err(|e| CommandError::new("loopback", e))?;
            Ok::<_, CommandError>((listener, address))
        };
        let (app_listener, app) = bind().await?;
        let (provider_listener, provider) = bind().await?;
        let mut name = [0; 12];
        SystemEntropy.fill(&mut name);
        let state = std::env::temp_dir().join(format!("narthex-demo-{}", base64url_encode(name)));
        let failed = |error: std::io::Error| CommandError::new(&state.display().to_string(), error);
        make_private(&state).map_err(failed)?;
        for (name, policy) in [("user.json", USER_POLICY), ("guest.json", GUEST_POLICY)] {
            std::fs::write(state.join(name), policy).map_err(failed)?;
        }

        let pool = Arc::new(OnceLock::new());
        let secret = RandomToken::random(&SystemEntropy).text();
        let registration = provider::Registration {
            issuer: format!("http://{provider}"),
            client_id: "narthex-demo".to_owned(),
            client_secret: secret.clone(),
            redirect_uri: format!("{}/oauth2/idpresponse/stand-in", origin("auth", port)),
            origins: ["auth", "app"].map(|name| origin(name, port)),
        };
        let stand_in = provider::router(registration)
            .map_err(|error| CommandError::new("the stand-in provider", error))?;
        tokio::spawn(async move { drop(axum::serve(provider_listener, stand_in).await) });
        let echo = echo::router(pool.clone());
        tokio::spawn(async move { drop(axum::serve(app_listener, echo).await) });
        Ok(Self { port, app, provider, secret, state, pool })
    }

    /// Returns the configuration.
    ///
    /// # Errors
    /// Returns an error if the built-in configuration is invalid, which is a bug.
    pub fn config(&self) -> Result<Config, CommandError> {
        let Self { port, app, provider, secret, state, .. } = self;
        let admin = if *port == 8443 { 9090 } else { 0 };
        let text = format!(
            r#"
public_url = "{auth}"
state_dir = "."

[listen]
https = "127.0.0.1:{port}"
http = "off"
admin = "127.0.0.1:{admin}"

[store]
url = "sqlite:{state}/narthex.db"

[mail]
smtp = "log"
from = "Narthex <no-reply@auth.localhost>"

[[provider]]
name = "stand-in"
display_name = "the stand-in provider"
type = "oidc"
issuer = "http://{provider}"
client_id = "narthex-demo"
client_secret = "{secret}"
allow = "anyone"

[[user_pool]]
username_attributes = ["email"]
sign_up = true
password_sign_in = true

[[role]]
name = "user"
policies = ["{state}/user.json"]

[[role]]
name = "guest"
policies = ["{state}/guest.json"]

[[identity_pool]]
name = "demo"
authenticated_role = "user"
guest_role = "guest"
principal_tags = {{ user = "sub" }}

[[route]]
host = "app.localhost"
title = "The echo app"
upstream = "http://{app}"

[[route]]
host = "app.localhost"
path = "/open"
access = "public"
upstream = "http://{app}"

[[route]]
name = "folders"
host = "app.localhost"
path = "/folders"
title = "Folders under a policy"
access = "policy"
upstream = "http://{app}"
"#,
            auth = origin("auth", *port),
            state = state.display(),
        );
        Config::parse(&text, "the demo", Path::new("."), &|_| None)
            .map_err(|error| CommandError::new("the demo", error))
    }

    /// Passes `pool` to the echo app, which verifies assertions with its key set.
    pub fn show_to(&self, pool: &Arc<AppState>) {
        // This is called once, so the cell is empty.
        drop(self.pool.set(pool.clone()));
    }

    /// Returns the text for the terminal.
    pub fn banner(&self) -> String {
        format!(
            "\n  Narthex is running a demo on this machine.\n\n\
             \x20   1. Open   {app}\n\
             \x20   2. Create an account: the message with the code is printed here.\n\
             \x20      Or continue with the mock provider, which accepts any name.\n\
             \x20   3. See the identity that the app received, and follow its links:\n\
             \x20      a policy, a page for guests, a public page, your account.\n\n\
             \x20 The sign-in pages are at {auth}. Your browser will warn you once about\n\
             \x20 the certificate: its authority, certs/local-authority.pem, was just created.\n\n\
             \x20 For your own apps: write a narthex.toml and start again. Stop with Ctrl-C.\n",
            app = origin("app", self.port),
            auth = origin("auth", self.port),
        )
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // The demo's state is temporary.
        drop(std::fs::remove_dir_all(&self.state));
    }
}

fn origin(name: &str, port: u16) -> String {
    format!("https://{name}.localhost:{port}")
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(folder)
}
