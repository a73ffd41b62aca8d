//! `narthex run`.

use super::build::{App, CommandError};
use super::handover::{self, Inherited};
use super::output::say;
use super::{admin, demo, housekeeping, notify, reload, telemetry};
use crate::config::Config;
use crate::gateway::{self, LocalAuthority, Shutdown};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// File descriptors besides connections: database, logs, listeners.
const SPARE_FILES: u64 = 256;

/// Serves the configuration in `file` until a signal. With `upgrade`, takes over the listeners of
/// the process that serves the same file.
///
/// # Errors
/// Returns an error with its remedy if it cannot serve.
pub async fn serve_file(file: PathBuf, upgrade: bool) -> Result<(), CommandError> {
    telemetry::start();
    let config = Config::load(&file, &|name| std::env::var(name).ok())?;
    let folder = config.state_dir.clone();
    let app = Arc::new(App::build(config).await?);
    let mut inherited = match upgrade {
        true => handover::take_over(&folder).await?,
        false => Inherited::default(),
    };
    let serving = start(&app, &mut inherited).await?;
    if let Err(error) = inherited.confirm() {
        tracing::warn!(%error, "the previous process has exited already");
    }
    let sockets = serving.sockets.iter().map(|(address, socket)| Ok((*address, socket.try_clone()?)));
    let sockets: Vec<_> =
        sockets.collect::<std::io::Result<_>>().map_err(|e| CommandError::new("listeners", e))?;
    notify::ready();
    tokio::spawn(notify::watchdog());
    tokio::spawn(reload::watch(app.clone(), file, serving.quiet.subscribe()));
    let ending = tokio::select! {
        () = shutdown_signal() => {
            notify::stopping();
            Shutdown::Stop
        }
        () = handover::offer(&folder, sockets) => Shutdown::HandOver,
    };
    serving.end(&app, ending).await;
    Ok(())
}

/// Serves the demo on `port` until a signal.
///
/// # Errors
/// Returns an error with its remedy if it cannot serve.
pub async fn serve_demo(port: u16) -> Result<(), CommandError> {
    telemetry::start();
    let demo = demo::Demo::start(port).await?;
    let app = Arc::new(App::build(demo.config()?).await?);
    demo.show_to(&app.pool);
    let serving = start(&app, &mut Inherited::default()).await?;
    say!("{}", demo.banner());
    shutdown_signal().await;
    serving.end(&app, Shutdown::Stop).await;
    Ok(())
}

/// A running server.
struct Serving {
    /// Stops the listeners.
    ending: watch::Sender<Option<Shutdown>>,
    /// Stops everything else, after the listeners.
    quiet: watch::Sender<bool>,
    listeners: JoinSet<()>,
    others: JoinSet<()>,
    /// The listening sockets, for an upgrade.
    sockets: Vec<(SocketAddr, OwnedFd)>,
}

impl Serving {
    /// Shuts down in order: requests first, then the background tasks.
    async fn end(mut self, app: &App, ending: Shutdown) {
        tracing::info!(?ending, "ending");
        self.sockets.clear();
        self.ending.send_replace(Some(ending));
        let listeners = async { while self.listeners.join_next().await.is_some() {} };
        tokio::select! {
            () = listeners => {}
            // A second signal ends open streams immediately.
            () = shutdown_signal() => {}
        }
        app.gateway.close_access_log().await;
        app.pool.sessions.drain_renewals().await;
        self.quiet.send_replace(true);
        while self.others.join_next().await.is_some() {}
        app.pool.store.close().await;
        tracing::info!("ended");
    }
}

/// Raises the soft limit on open files to the hard limit: a proxied connection uses up to three
/// files, and the usual soft limit is 1024.
fn raise_file_limit(connections: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "failed to raise the limit of open files");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = 3 * connections as u64 + gateway::MAX_IDLE_FILES + SPARE_FILES;
    if files < needed {
        tracing::warn!(
            files,
            needed,
            "the limit of open files is too low for `connections` in [listen]: raise it, or lower that"
        );
    }
}

/// Binds all listeners before serving any: either all serve, or none.
async fn start(app: &Arc<App>, inherited: &mut Inherited) -> Result<Serving, CommandError> {
    let catalogue = app.pool.catalogue.load();
    let listen = &catalogue.config.listen;
    raise_file_limit(listen.connections);
    let taken = |address| move |error| CommandError::new(&format!("{address} cannot be listened on"), error);
    let config = app.tls.server_config().map_err(|error| CommandError::new("TLS", error))?;
    let mut listener = |address: SocketAddr, tls| match inherited.take(address) {
        Some(socket) => gateway::Listener::inherit(socket, tls).map_err(taken(address)),
        None => gateway::Listener::bind(address, tls).map_err(taken(address)),
    };
    let tls = listen.https.map(|address| listener(address, Some(config))).transpose()?;
    let plain = listen.http.map(|address| listener(address, None)).transpose()?;
    let admin = match inherited.take(listen.admin) {
        Some(socket) => socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket)),
        None => TcpListener::bind(listen.admin).await,
    };
    let admin = admin.and_then(TcpListener::into_std).map_err(taken(listen.admin))?;
    let mut sockets = vec![(listen.admin, OwnedFd::from(admin.try_clone().map_err(taken(listen.admin))?))];
    for listener in tls.iter().chain(&plain) {
        if let Some(address) = listener.address() {
            sockets.push((address, listener.copy().map_err(taken(address))?));
        }
    }
    // The Unix socket is bound last, because this replaces the socket of a running process.
    let unix = listen.socket.as_deref().map(|path| {
        let failed = |error| CommandError::new(&format!("{} cannot be listened on", path.display()), error);
        gateway::Listener::bind_unix(path).map_err(failed)
    });
    let unix = unix.transpose()?;
    let admin = TcpListener::from_std(admin).map_err(taken(listen.admin))?;

    for host in gateway::hosts_without_certificate(&catalogue.config) {
        let authority = catalogue.config.state_dir.join(LocalAuthority::CERTIFICATE);
        tracing::warn!(host, authority = %authority.display(), "no [[tls]] names this host: it gets a certificate of the local authority, which browsers do not trust");
    }
    tracing::info!(
        https = tls.as_ref().and_then(|listener| listener.address()).map(tracing::field::display),
        http = plain.as_ref().and_then(|listener| listener.address()).map(tracing::field::display),
        socket = listen.socket.as_ref().map(|path| tracing::field::display(path.display())),
        admin = admin.local_addr().ok().map(tracing::field::display),
        public_url = %catalogue.config.public_url,
        pool = catalogue.pool.id,
        client = catalogue.gateway_client,
        routes = catalogue.routes().count(),
        "serving"
    );
    let (ending, ended) = watch::channel(None);
    let (quiet, silence) = watch::channel(false);
    let (mut listeners, mut others) = (JoinSet::new(), JoinSet::new());
    listeners.spawn(admin::serve(admin, app.pool.clone(), ended.clone()));
    for listener in tls.into_iter().chain(plain).chain(unix) {
        listeners.spawn(gateway::serve(listener, app.gateway.clone(), ended.clone()));
    }
    others.spawn(housekeeping::run(app.clone(), silence));
    Ok(Serving { ending, quiet, listeners, others, sockets })
}

/// Waits for SIGTERM or Control-C.
pub(super) async fn shutdown_signal() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
