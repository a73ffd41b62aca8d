//! The time, and wall clocks that jump: libfaketime steps them, and leaves the monotonic clock
//! alone.

use super::narthex::{Narthex, NarthexBuilder};
use super::process::wait_until;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Returns the seconds since the Unix epoch.
pub fn unix_seconds() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// The wall clock of a process, which others of this machine do not share.
pub struct WallClock {
    folder: tempfile::TempDir,
}

impl WallClock {
    /// Returns a clock that shows the right time.
    pub fn new() -> Self {
        let clock = Self { folder: tempfile::tempdir().unwrap() };
        clock.set("+0");
        clock
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// Sets the offset from the right time.
    pub fn set(&self, offset: &str) {
        // Replaced in one step: it is read at any time.
        let new = self.folder.path().join("new");
        std::fs::write(&new, format!("{offset}\n")).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    /// Steps it to `offset` from the right time, and waits until `narthex` has noticed.
    pub fn jump(&self, narthex: &Narthex, offset: &str) {
        let before = narthex.audit("clock_jumped").len();
        self.set(offset);
        wait_until("the jump to be noticed", || narthex.audit("clock_jumped").len() > before);
    }

    /// Has the process that `builder` starts use this clock.
    pub fn apply_to(&self, builder: NarthexBuilder) -> NarthexBuilder {
        builder
            .environment("LD_PRELOAD", library().display().to_string())
            .environment("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string())
            .environment("FAKETIME_NO_CACHE", "1")
            .environment("DONT_FAKE_MONOTONIC", "1")
    }
}

/// libfaketime for programs of several threads, where distributions put it.
fn library() -> PathBuf {
    let of_architectures = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut folders = of_architectures.map(|entry| entry.path().join("faketime"));
    let found = |folder: &Path| Some(folder.join("libfaketimeMT.so.1")).filter(|file| file.exists());
    let library = folders.find_map(|folder| found(&folder)).or_else(|| found("/usr/lib64/faketime".as_ref()));
    library.expect("libfaketime is installed: run through `make test`")
}
