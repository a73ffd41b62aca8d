//! Notifications to systemd (`Type=notify` or `notify-reload`) of readiness, reloads and shutdown,
//! and of liveness (`WatchdogSec`). Without systemd, nothing is sent.

use sd_notify::NotifyState;
use std::fmt::Write as _;
use std::io::{Error, ErrorKind, Result};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Notifies systemd that this process serves. After an upgrade it is not the process that systemd
/// started.
pub fn ready() {
    send(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
}

/// Notifies systemd that the configuration is being reloaded. The caller must call [`ready`]
/// afterwards.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "systemd was not notified of the reload"),
    }
}

/// Notifies systemd that this process shuts down.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Notifies systemd at the requested interval that the process is alive and its tasks make
/// progress. Returns if systemd requests no such notification.
pub async fn watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    // sd_watchdog_enabled(3): "every half of the time returned".
    let mut ticks = tokio::time::interval((limit / 2).max(Duration::from_millis(10)));
    loop {
        ticks.tick().await;
        send(&[NotifyState::Watchdog]);
    }
}

/// Sends notifications without waiting. If the socket is not read, its queue is full, and waiting
/// would block all other tasks on the thread.
fn send(states: &[NotifyState<'_>]) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = socket_address(address.as_encoded_bytes()).and_then(|address| send_to(&address, states));
    if let Err(error) = sent {
        tracing::warn!(
            %error,
            "systemd was not notified; help: NOTIFY_SOCKET must name a socket that is read, or be unset"
        );
    }
}

fn send_to(address: &SocketAddr, states: &[NotifyState<'_>]) -> Result<()> {
    let mut message = String::new();
    for state in states {
        // Writing to a `String` cannot fail.
        _ = writeln!(message, "{state}");
    }
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(address)?;
    // A datagram is sent completely or not at all.
    socket.send(message.as_bytes()).map(|_| ())
}

/// Returns the address that `NOTIFY_SOCKET` names: a path, or an abstract name after `@`
/// (sd_notify(3)).
fn socket_address(name: &[u8]) -> Result<SocketAddr> {
    use std::os::unix::ffi::OsStrExt as _;
    match name {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
        _ => Err(Error::new(ErrorKind::InvalidInput, "NOTIFY_SOCKET is neither a path nor an abstract name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_not_read_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("notify");
        let _unread = UnixDatagram::bind(&place).unwrap();
        let address = socket_address(place.as_os_str().as_encoded_bytes()).unwrap();
        let (done, sent) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // The kernel's queue is shorter than this.
            let all = (0..100_000).map(|_| send_to(&address, &[NotifyState::Watchdog]));
            done.send(all.filter_map(Result::err).next()).unwrap();
        });
        let error = sent.recv_timeout(Duration::from_secs(30)).expect("sending waits");
        assert_eq!(error.unwrap().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_socket_may_have_an_abstract_name() {
        let name = format!("narthex-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let address = socket_address(format!("@{name}").as_bytes()).unwrap();
        send_to(&address, &[NotifyState::Ready, NotifyState::MainPid(7)]).unwrap();
        let mut bytes = [0; 64];
        let count = socket.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"READY=1\nMAINPID=7\n");
        assert!(socket_address(b"relative").is_err());
    }
}
