//! A disk that is full for a while: what needs it is refused meanwhile, and nothing is broken
//! after.

use crate::support::client_credentials::{NEXT_SECRET, access_token, oauth2_request, pool_toml};
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::upstream::Upstream;
use crate::support::visitor::{assert_status, get_with_token};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Where the database lies, and what keeps it from growing.
enum Disk {
    /// A file system of a few megabytes, which only an administrator may mount.
    Own(tempfile::TempDir),
    /// The process's limit for the size of files, on any disk.
    Limit(tempfile::TempDir),
}

impl Disk {
    /// A file system of its own, where this user may mount one.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(folder.path());
        match mount.output().is_ok_and(|mounted| mounted.status.success()) {
            true => Self::Own(folder),
            false => Self::Limit(folder),
        }
    }

    fn folder(&self) -> PathBuf {
        let (Self::Own(folder) | Self::Limit(folder)) = self;
        folder.path().to_owned()
    }

    fn fill(&self, narthex: &Narthex) {
        match self {
            Self::Own(folder) => {
                // Until nothing fits any more.
                let full = std::io::copy(
                    &mut std::io::repeat(0),
                    &mut std::fs::File::create(folder.path().join("filler")).unwrap(),
                );
                assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
            }
            Self::Limit(_) => limit(narthex, "4096"),
        }
    }

    fn free(&self, narthex: &Narthex) {
        match self {
            Self::Own(folder) => std::fs::remove_file(folder.path().join("filler")).unwrap(),
            Self::Limit(_) => limit(narthex, "unlimited"),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Own(folder) = self {
            drop(Command::new("umount").arg("--lazy").arg(folder.path()).status());
        }
    }
}

/// Sets how long files may become that `narthex` writes; the hard limit stays, so that it can be
/// lifted.
fn limit(narthex: &Narthex, bytes: &str) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &narthex.process_id().to_string(), &format!("--fsize={bytes}:")]);
    assert!(command.status().unwrap().success());
}

async fn one_moment_of_it_breaks_nothing(disk: Disk) {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new()
        .tables(&format!("[store]\nurl = \"sqlite:{}\"\n", disk.folder().join("narthex.db").display()))
        .tables(&pool_toml("ES256"))
        .route("app", upstream.port, "bearer = true")
        // A file that may not grow is an error and not the end.
        .started_by(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .start();
    let revoke = async |token: &str| {
        let revoke = oauth2_request(&narthex, "revoke")
            .basic_auth("reporter", Some(NEXT_SECRET))
            .form(&[("token", token)]);
        revoke.send().await.unwrap()
    };
    let mut tokens = Vec::new();
    for _ in 0..12 {
        tokens.push(access_token(&narthex).await);
    }
    assert_status(&get_with_token(&narthex, &tokens[0]).await, 200);
    disk.fill(&narthex);
    // More often than there are connections.
    let mut failed = 0;
    for token in &tokens {
        match revoke(token).await.status().as_u16() {
            503 => failed += 1,
            // What was written before leaves some room in SQLite's log.
            200 => {}
            other => panic!("{other}"),
        }
    }
    assert!(failed > 4, "{failed}");
    let begun = Instant::now();
    while !narthex.admin("/readyz").starts_with("HTTP/1.1 503") {
        assert!(begun.elapsed() < Duration::from_secs(15), "/readyz does not report it");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(narthex.admin("/healthz").starts_with("HTTP/1.1 200"));
    disk.free(&narthex);
    // The very next ones, as often as there are connections.
    for token in &tokens {
        assert_status(&revoke(token).await, 200);
    }
    assert!(narthex.admin("/readyz").starts_with("HTTP/1.1 200"));
    for token in &tokens {
        wait_until_refused(&narthex, token).await;
    }
}

async fn wait_until_refused(narthex: &Narthex, token: &str) {
    let begun = Instant::now();
    while get_with_token(narthex, token).await.status() != 401 {
        assert!(begun.elapsed().as_secs() < 10, "it was revoked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_full_disk_everything_is_written_again() {
    one_moment_of_it_breaks_nothing(Disk::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_limit_of_file_sizes_everything_is_written_again() {
    one_moment_of_it_breaks_nothing(Disk::Limit(tempfile::tempdir().unwrap())).await;
}
