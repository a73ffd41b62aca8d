//! Checks of the store, the listeners and the upstreams.

use super::report::Report;
use crate::app::build::WRONG_KEY;
use crate::app::{handover, master_key};
use crate::base::{Duration, KeyRing, MasterKey, SystemEntropy};
use crate::config::{Config, Endpoint, StoreUrl};
use crate::gateway::AccessLog;
use crate::store::Store;
use rustix::fs::{Access, access};
use std::collections::{BTreeSet, HashSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{TcpSocket, TcpStream, UnixStream};

/// Timeout of a connection to an upstream.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Opens the store and checks the master key, without changing anything. Returns `None` if there is
/// no store yet, or it cannot be opened.
pub async fn store(config: &Config, report: &mut Report) -> Option<Store> {
    if let StoreUrl::Sqlite(file) = &config.store.url
        && matches!(file.try_exists(), Ok(false) | Err(_))
    {
        match check_writable(file.parent().unwrap_or(Path::new("."))) {
            Ok(()) => report.note("there is no database yet: it is made at the first start"),
            Err(why) => report.problem(format!(
                "the database cannot be made: {why}; help: let the user that Narthex runs as write there, or name another \
                 place with `url` in [store]"
            )),
        }
        return None;
    }
    let key = match master_key::look(&config.store) {
        Ok(master_key::Found::Key(key)) => key,
        // A new store gets a key at the first start.
        Ok(master_key::Found::NotMade(_)) => MasterKey::random(&SystemEntropy),
        Err(error) => {
            report.problem(format!("the master key: {error}"));
            return None;
        }
    };
    let store = match Store::open_read_only(&config.store.url, Arc::new(KeyRing::new(&key))).await {
        Ok(Some(store)) => store,
        Ok(None) => return None,
        Err(error) => {
            report.problem(error);
            return None;
        }
    };
    match store.verify_master_key().await {
        Ok(Ok(())) => {
            if let StoreUrl::Sqlite(file) = &config.store.url
                && let Err(error) = access(file, Access::WRITE_OK)
            {
                report.problem(format!("the database `{}` cannot be written: {error}", file.display()));
            } else {
                report.good("the store can be opened, with the master key that it was made with");
            }
        }
        Ok(Err(error)) => {
            report.problem(format!("cannot decrypt the database: wrong master key ({error}); {WRONG_KEY}"));
        }
        Err(error) => report.problem(error),
    }
    Some(store)
}

/// Checks that `folder`, or files in it, can be created.
pub fn check_writable(folder: &Path) -> Result<(), String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    if !existing.is_dir() {
        return Err(format!("`{}` is no folder", existing.display()));
    }
    access(existing, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("`{}` cannot be written: {error}", existing.display()))
}

/// Opens the file of the access log, or checks that it can be created.
pub fn access_log(file: &Path, report: &mut Report) {
    let checked = match file.try_exists() {
        Ok(true) => AccessLog::check_file(file).map_err(|error| error.to_string()),
        _ => check_writable(file.parent().unwrap_or(Path::new("."))).map_err(|why| {
            format!(
                "the access log `{}` cannot be created: {why}; help: correct `access_file` in [log]",
                file.display()
            )
        }),
    };
    match checked {
        Ok(()) => report.good(format!("`{}` can be written", file.display())),
        Err(why) => report.problem(why),
    }
}

/// Binds each listener's address, without listening.
pub fn listeners(config: &Config, report: &mut Report) {
    let listen = &config.listen;
    let keys = [("https", listen.https), ("http", listen.http), ("admin", Some(listen.admin))];
    let runs = handover::is_running(&config.state_dir);
    let mut seen = BTreeSet::new();
    for (key, address) in keys.into_iter().filter_map(|(key, address)| Some((key, address?))) {
        if !seen.insert(address) && address.port() != 0 {
            report
                .problem(format!("`{key}` in [listen]: another listener has the address {address} already"));
            continue;
        }
        match bind(address) {
            Ok(()) => report.good(format!("`{key}` can listen on {address}")),
            Err(error) if error.kind() == ErrorKind::AddrInUse && runs => {
                report.good(format!("`{key}`: the Narthex that runs with this file listens on {address}"));
            }
            // Another user may run the service.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => report.warn(format!(
                "`{key}`: the user of this check may not listen on {address}: {error}; help: ports below 1024 need \
                 CAP_NET_BIND_SERVICE"
            )),
            Err(error) => report.problem(format!(
                "`{key}` cannot listen on {address}: {error}; help: stop what listens there, or name another address in \
                 [listen]"
            )),
        }
    }
}

fn bind(address: SocketAddr) -> std::io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

/// Connects to each upstream once. A failure is a warning, because the upstream may be started
/// later.
pub async fn upstreams(config: &Config, report: &mut Report) {
    let mut seen = HashSet::new();
    for route in &config.routes {
        for upstream in &route.upstreams {
            if !seen.insert(&upstream.endpoint) {
                continue;
            }
            let name = match &upstream.endpoint {
                Endpoint::Tcp(..) => upstream.authority(),
                Endpoint::Unix(_) => upstream.to_string(),
            };
            let connecting = async {
                match &upstream.endpoint {
                    Endpoint::Tcp(host, port) => {
                        TcpStream::connect((host.trim_matches(['[', ']']), *port)).await.map(drop)
                    }
                    Endpoint::Unix(path) => UnixStream::connect(path).await.map(drop),
                }
            };
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
            let why = match connected {
                Ok(Ok(())) => {
                    report.good(format!("{name} answers"));
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
            };
            report.warn(format!(
                "route \"{}\": cannot connect to the upstream {}: {why}; help: start the app, or correct `upstream`",
                route.name, name
            ));
        }
    }
}
