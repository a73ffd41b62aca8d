//! Upgrade without lost requests: a new process takes over the listening sockets of the running
//! one, which finishes its requests and exits.
//!
//! The running process listens on `narthex.sock` in `state_dir`, for its own user only. It keeps
//! serving until the new process confirms that it serves.

use super::build::CommandError;
use crate::base::Duration;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// The first message of the new process, with the protocol version.
const HELLO_MESSAGE: &[u8] = b"narthex hand-over 1\n";
/// The confirmation of the new process.
const SERVING_MESSAGE: &[u8] = b"serving\n";
/// Timeout of each step.
const DEADLINE: Duration = Duration::from_secs(10);
/// Maximum number of listeners plus one.
const MAX_SOCKETS: usize = 4;

fn socket_path(folder: &Path) -> PathBuf {
    folder.join("narthex.sock")
}

/// Returns whether a process serves with this state directory.
pub fn is_running(folder: &Path) -> bool {
    UnixStream::connect(socket_path(folder)).is_ok()
}

/// Listening sockets inherited from the running process.
#[derive(Default)]
pub struct Inherited {
    sockets: Vec<(SocketAddr, TcpListener)>,
    running: Option<UnixStream>,
}

impl Inherited {
    /// Takes the socket bound to `address`, if there is one.
    pub fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.sockets.iter().position(|(bound, _)| *bound == address)?;
        Some(self.sockets.swap_remove(at).1)
    }

    /// Confirms to the old process that this one serves.
    ///
    /// # Errors
    /// Returns an error if the old process has exited, which is harmless.
    pub fn confirm(&mut self) -> std::io::Result<()> {
        // Unused sockets are closed, so that their clients are rejected instead of waiting.
        self.sockets.clear();
        match self.running.take() {
            Some(mut running) => running.write_all(SERVING_MESSAGE),
            None => Ok(()),
        }
    }
}

/// Takes over the sockets of the process that serves from `folder`.
///
/// # Errors
/// Returns an error if no process runs, or it does not send its sockets.
pub async fn take_over(folder: &Path) -> Result<Inherited, CommandError> {
    let place = socket_path(folder);
    let taken = tokio::task::spawn_blocking(move || receive(&place).map_err(|error| (place, error))).await;
    match taken {
        Ok(Ok(inherited)) => Ok(inherited),
        Ok(Err((place, error))) => Err(CommandError::new(
            "--upgrade",
            format!(
                "{}: {error}\n  help: leave --upgrade out where no Narthex runs with this configuration",
                place.display()
            ),
        )),
        Err(error) => Err(CommandError::new("--upgrade", error)),
    }
}

fn receive(place: &Path) -> std::io::Result<Inherited> {
    let mut running = UnixStream::connect(place)?;
    running.set_read_timeout(Some(DEADLINE))?;
    running.set_write_timeout(Some(DEADLINE))?;
    running.write_all(HELLO_MESSAGE)?;
    let mut text = [0; 512];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut text)];
    let message = rustix::net::recvmsg(&running, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut files: Vec<OwnedFd> = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            files.extend(rights);
        }
    }
    let malformed = || std::io::Error::other("the running process answered something else");
    let text = std::str::from_utf8(&text[..message.bytes]).map_err(|_| malformed())?;
    let addresses: Option<Vec<SocketAddr>> = text.lines().map(|line| line.parse().ok()).collect();
    let addresses =
        addresses.filter(|all| !all.is_empty() && all.len() == files.len()).ok_or_else(malformed)?;
    let sockets = addresses.into_iter().zip(files.into_iter().map(TcpListener::from)).collect();
    Ok(Inherited { sockets, running: Some(running) })
}

/// Offers `sockets` to a new process. Returns when the new process serves. Never returns if the
/// Unix socket cannot be created.
pub async fn offer(folder: &Path, sockets: Vec<(SocketAddr, OwnedFd)>) {
    let place = socket_path(folder);
    let listener = match listen(&place) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(place = %place.display(), %error, "no upgrade will be possible without a restart");
            return std::future::pending().await;
        }
    };
    let sockets = std::sync::Arc::new(sockets);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (sockets, stream) = (sockets.clone(), stream.into_std());
        let handed = tokio::task::spawn_blocking(move || hand_over(stream?, &sockets)).await;
        match handed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::warn!(%error, "upgrade failed; this process keeps serving"),
            Err(error) => tracing::warn!(%error, "upgrade failed; this process keeps serving"),
        }
    }
}

/// Binds the Unix socket. Only the same user may connect, because a client receives the listeners.
fn listen(place: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The umask is set because the socket must be private from its creation. For a moment it
    // applies to the whole process.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(place);
    rustix::process::umask(before);
    listener
}

fn hand_over(mut stream: UnixStream, sockets: &[(SocketAddr, OwnedFd)]) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let mut hello = [0; HELLO_MESSAGE.len()];
    stream.read_exact(&mut hello)?;
    if hello != HELLO_MESSAGE {
        return Err(std::io::Error::other("it speaks another language"));
    }
    let text: String = sockets.iter().map(|(address, _)| format!("{address}\n")).collect();
    let files: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, file)| file.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(std::io::Error::other("there are too many listeners"));
    }
    rustix::net::sendmsg(&stream, &[IoSlice::new(text.as_bytes())], &mut ancillary, SendFlags::empty())?;
    // The new process may open a database and contact providers before it serves.
    stream.set_read_timeout(Some(DEADLINE * 6))?;
    let mut serving = [0; SERVING_MESSAGE.len()];
    stream.read_exact(&mut serving)?;
    Ok(())
}
