//! `narthex run --emulate`: Cognito user pools on this machine, for tests of other people's apps.
//!
//! An emulator is an ordinary deployment with an empty temporary database and an environment of
//! its own (`crate::app::environment`): any access key, messages that stay here, cheap password
//! hashes, and, if asked for, one fixed code. Everything else is production's, and verifies what
//! production verifies. It listens on loopback addresses only.

mod access;
mod code;
mod deployment;
mod hosts;
mod mailbox;
mod options;
mod server;

pub use options::Options;

use super::build::CommandError;
use super::output::say;
use super::run::shutdown_signal;
use super::telemetry;
use arc_swap::ArcSwap;
use deployment::{Deployment, Settings};
use options::IssuerForm;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

/// How long requests may take that are in progress at the end.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// The interval between looks at the requests in progress.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The emulator: the current deployment, which a reset replaces.
struct Emulator {
    settings: Settings,
    current: ArcSwap<Deployment>,
    /// Held during a reset.
    resetting: Mutex<()>,
}

impl Emulator {
    /// Replaces the deployment by an empty one. Requests in progress end with the earlier one.
    async fn reset(&self) -> Result<(), CommandError> {
        let _resetting = self.resetting.lock().await;
        let previous = self.current.swap(Arc::new(Deployment::start(&self.settings).await?));
        tokio::spawn(async move {
            let deadline = tokio::time::Instant::now() + END_TIMEOUT;
            // Each request in progress holds the deployment.
            while Arc::strong_count(&previous) > 1 && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            previous.stop().await;
        });
        Ok(())
    }
}

/// Emulates until a signal.
///
/// # Errors
/// Returns an error with its remedy if it cannot serve.
pub async fn serve(options: Options) -> Result<(), CommandError> {
    telemetry::start();
    let (listeners, address) = listen(&options).await?;
    let settings = Settings { options, port: address.port() };
    let current = ArcSwap::from_pointee(Deployment::start(&settings).await?);
    let emulator = Arc::new(Emulator { settings, current, resetting: Mutex::default() });
    let (end, ended) = watch::channel(false);
    let servers: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(server::serve(listener, emulator.clone(), ended.clone())))
        .collect();
    say!("{}", banner(&emulator.settings, address));
    shutdown_signal().await;
    end.send_replace(true);
    for server in servers {
        // What is in progress after the timeout is cut off.
        drop(tokio::time::timeout(END_TIMEOUT, server).await);
    }
    emulator.current.load().stop().await;
    Ok(())
}

/// Binds the address, and for 127.0.0.1 also `::1` if that is free: `localhost` may mean either.
async fn listen(options: &Options) -> Result<(Vec<TcpListener>, SocketAddr), CommandError> {
    let ip = options.listen.ip();
    let failed = |error| {
        let asked = SocketAddr::new(ip, options.port);
        CommandError::new(
            "the emulator",
            format!("{asked} cannot be listened on: {error}\n  help: choose another port with --port"),
        )
    };
    let first = TcpListener::bind((ip, options.port)).await.map_err(failed)?;
    let address = first.local_addr().map_err(failed)?;
    let mut listeners = vec![first];
    if ip == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        listeners.extend(TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await.ok());
    }
    Ok((listeners, address))
}

/// Returns the text for the terminal.
fn banner(settings: &Settings, address: SocketAddr) -> String {
    let Settings { options, port } = settings;
    let issuer = match options.issuer {
        IssuerForm::Aws => "https://cognito-idp.REGION.amazonaws.com/POOL_ID".to_owned(),
        IssuerForm::Local => format!("http://localhost:{port}/POOL_ID"),
    };
    let codes = match options.code {
        Some(_) => "the one of --code",
        None => "random",
    };
    format!(
        "\n  Narthex emulates Amazon Cognito user pools on this machine, for tests.\n\
         \x20 It is not for real users: it accepts any access key, and whatever it stores is deleted at its end.\n\n\
         \x20   Endpoint   http://localhost:{port} (only from this machine: {address})\n\
         \x20   Account    {account}\n\
         \x20   Issuer     {issuer}\n\
         \x20   Codes      {codes}\n\
         \x20   Messages   GET http://localhost:{port}{messages}\n\
         \x20   Reset      POST http://localhost:{port}{reset}\n\n\
         \x20 Stop with Ctrl-C.\n",
        account = options.account_id,
        messages = server::MESSAGES_PATH,
        reset = server::RESET_PATH,
    )
}
