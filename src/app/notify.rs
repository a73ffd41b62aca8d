//! Notifies systemd, where it asks for that (`Type=notify` or `notify-reload`), of readiness, reloads and the end, and
//! that the process is alive (`WatchdogSec`). Elsewhere nothing is sent.

use sd_notify::NotifyState;
use std::time::Duration;

/// Notifies that this process serves. For an upgrade it is another one than systemd started.
pub fn ready() {
    send(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
}

/// Notifies that the configuration is being read again. [`ready`] follows, whatever comes of it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "systemd was not notified of the reload"),
    }
}

/// Notifies that this process ends.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Notifies, as often as systemd asks for it, that the process is alive: that its tasks make progress.
pub async fn watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    // sd_watchdog_enabled(3): "every half of the time returned".
    let mut ticks = tokio::time::interval((limit / 2).max(Duration::from_millis(10)));
    loop {
        ticks.tick().await;
        send(&[NotifyState::Watchdog]);
    }
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd was not notified");
    }
}
