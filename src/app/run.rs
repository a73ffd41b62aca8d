//! `narthex run`.

use super::build::{App, Fatal};
use super::{admin, demo, housekeeping, reload, telemetry};
use crate::config::Config;
use crate::gateway::{self, LocalAuthority};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Files that are open beside connections: the store's, logs, listeners.
const SPARE_FILES: u64 = 256;

/// Serves what `file` says, until it is told to stop.
///
/// # Errors
/// Whatever keeps it from serving, with the mend.
pub async fn serve_file(file: PathBuf) -> Result<(), Fatal> {
    telemetry::start();
    let config = Config::load(&file, &|name| std::env::var(name).ok())?;
    let app = Arc::new(App::build(config).await?);
    let (stop, shutdown) = watch::channel(false);
    let tasks = start(&app, &shutdown).await?;
    tokio::spawn(reload::watch(app.clone(), file, shutdown));
    until_told(stop).await;
    finish(app, tasks).await;
    Ok(())
}

/// Serves the demo on `port`, until it is told to stop.
///
/// # Errors
/// Whatever keeps it from serving, with the mend.
pub async fn serve_demo(port: u16) -> Result<(), Fatal> {
    telemetry::start();
    let demo = demo::Demo::start(port).await?;
    let app = Arc::new(App::build(demo.config()?).await?);
    demo.show_to(&app.pool);
    let (stop, shutdown) = watch::channel(false);
    let tasks = start(&app, &shutdown).await?;
    println!("{}", demo.banner());
    until_told(stop).await;
    finish(app, tasks).await;
    Ok(())
}

/// A proxied connection takes two files, and the usual soft limit of 1024 is soon used up: it is raised
/// to the hard one.
fn raise_file_limit(connections: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = 2 * connections as u64 + SPARE_FILES;
    if files < needed {
        tracing::warn!(
            files,
            needed,
            "the limit of open files is too low for `connections` in [listen]: raise it, or lower that"
        );
    }
}

/// Binds every listener before serving any: either all serve, or none.
async fn start(app: &Arc<App>, shutdown: &watch::Receiver<bool>) -> Result<JoinSet<()>, Fatal> {
    let catalogue = app.pool.current.load();
    let listen = &catalogue.config.listen;
    raise_file_limit(listen.connections);
    let taken = |address| move |error| Fatal::new(&format!("{address} cannot be listened on"), error);
    let config = app.tls.server_config().map_err(|error| Fatal::new("TLS", error))?;
    let tls = gateway::Listener::bind(listen.https, Some(config)).map_err(taken(listen.https))?;
    let plain = match listen.http {
        Some(address) => Some(gateway::Listener::bind(address, None).map_err(taken(address))?),
        None => None,
    };
    let admin = TcpListener::bind(listen.admin).await.map_err(taken(listen.admin))?;

    for host in gateway::hosts_without_certificate(&catalogue.config) {
        let authority = catalogue.config.folder.join(LocalAuthority::CERTIFICATE);
        tracing::warn!(host, authority = %authority.display(), "no [[tls]] names this host: it gets a certificate of the local authority, which browsers do not trust");
    }
    tracing::info!(
        https = %tls.address(),
        http = plain.as_ref().map(|listener| tracing::field::display(listener.address())),
        admin = admin.local_addr().ok().map(tracing::field::display),
        public_url = %catalogue.config.public_url,
        pool = catalogue.pool.id,
        client = catalogue.pool.gateway_client,
        routes = catalogue.routes().count(),
        "serving"
    );
    let mut tasks = JoinSet::new();
    for listener in std::iter::once(tls).chain(plain) {
        tasks.spawn(gateway::serve(listener, app.gateway.clone(), shutdown.clone()));
    }
    tasks.spawn(admin::serve(admin, app.pool.clone(), shutdown.clone()));
    tasks.spawn(housekeeping::keep(app.clone(), shutdown.clone()));
    Ok(tasks)
}

async fn until_told(stop: watch::Sender<bool>) {
    let told = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = told => {}
    }
    tracing::info!("stopping");
    stop.send_replace(true);
}

async fn finish(app: Arc<App>, mut tasks: JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
    app.pool.store.close().await;
    tracing::info!("stopped");
}
