//! The access log: a line for each request, written by a separate thread. Requests never wait for
//! the log. If the destination is slower than the requests, lines are dropped, and a metric counts
//! them.

mod record;

pub use record::{AccessRecord, printable};

use record::LineFormatter;

use crate::base::Duration;
use crate::base::metrics;
use crate::config::AccessLogSettings;
use prometheus::IntCounter;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

/// The maximum number of records that wait to be written.
const MAX_WAITING: usize = 8192;
/// The number of bytes after which a batch is written.
const BATCH_BYTES: usize = 64 * 1024;
/// The interval of checks whether log rotation has moved the file.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);
/// The minimum interval between log lines about failed writes.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// The maximum time for which shutdown waits for records to be written.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

static DROPPED: LazyLock<IntCounter> = LazyLock::new(|| metrics::ACCESS_LOG_DROPPED.counter());

/// An open access log.
pub struct AccessLog {
    /// The settings with which it was opened.
    pub settings: AccessLogSettings,
    /// The channel to the writer; `None` ends the writer.
    sender: SyncSender<Option<Box<AccessRecord>>>,
    writer: JoinHandle<()>,
}

impl AccessLog {
    /// Opens the access log of `settings`; `None` if it is disabled.
    ///
    /// # Errors
    /// Its file cannot be written.
    pub fn open(settings: &AccessLogSettings) -> Result<Option<Self>> {
        let Some(format) = settings.format else { return Ok(None) };
        let destination = match &settings.file {
            Some(path) => Destination::File(LogFile::open(path)?),
            None => Destination::Stdout,
        };
        let (sender, records) = sync_channel(MAX_WAITING);
        LazyLock::force(&DROPPED);
        let form = LineFormatter::new(format, settings.query);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&records, destination, form))?;
        Ok(Some(Self { settings: settings.clone(), sender, writer }))
    }

    /// Opens the existing file at `path` and closes it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn check_file(path: &Path) -> Result<()> {
        open_file(path, OpenOptions::new().append(true)).map(drop)
    }

    /// Passes a record to the writer; drops it if too many are waiting.
    pub fn add(&self, record: Box<AccessRecord>) {
        if self.sender.try_send(Some(record)).is_err() {
            DROPPED.inc();
        }
    }

    /// Waits until all records are written, at most `CLOSE_TIMEOUT`.
    pub async fn close(&self) {
        let written = async {
            let mut is_ending = false;
            while !self.writer.is_finished() {
                is_ending = is_ending || self.sender.try_send(None).is_ok();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, written).await.is_err() {
            tracing::warn!("the end of the access log could not be written in time");
        }
    }
}

/// The destination of lines.
enum Destination {
    Stdout,
    File(LogFile),
}

impl Destination {
    fn write(&mut self, lines: &[u8]) -> Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::File(file) => file.write(lines),
        }
    }
}

/// A file to which lines are appended. After the file was moved, lines are written to a new file
/// with the same name.
struct LogFile {
    path: PathBuf,
    file: File,
    checked: Instant,
    /// Whether the file ends within a line: a write failed halfway.
    ends_within_line: bool,
}

/// Opens the file at `path` for writing. A pipe without a reader is an error; a plain open would
/// wait for a reader. Writes to a pipe wait for the reader.
fn open_file(path: &Path, options: &mut OpenOptions) -> Result<File> {
    #[expect(clippy::cast_possible_wrap, reason = "flags are bits")]
    let without_waiting = OFlags::NONBLOCK.bits() as i32;
    let opened = options.custom_flags(without_waiting).open(path).and_then(|file| {
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        Ok(file)
    });
    opened.map_err(|error| {
        let help = match error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) {
            true => "; help: start the program that reads this pipe first, or name a regular file",
            false => "",
        };
        Error::new(error.kind(), format!("cannot write the access log `{}`: {error}{help}", path.display()))
    })
}

impl LogFile {
    fn open(path: &Path) -> Result<Self> {
        let file = open_file(path, OpenOptions::new().append(true).create(true).mode(0o640))?;
        let ends_within_line = ends_within_line(path);
        Ok(Self { path: path.to_owned(), file, checked: Instant::now(), ends_within_line })
    }

    fn write(&mut self, lines: &[u8]) -> Result<()> {
        if self.checked.elapsed() >= REOPEN_INTERVAL {
            self.checked = Instant::now();
            let id = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
            if std::fs::metadata(&self.path).map(id).ok() != self.file.metadata().map(id).ok() {
                *self = Self::open(&self.path)?;
            }
        }
        if self.ends_within_line {
            // The next record must not be read as the rest of that line.
            self.append(b"\n")?;
        }
        self.append(lines)
    }

    fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.ends_within_line = bytes[count - 1] != b'\n';
                    bytes = &bytes[count..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Returns whether the regular file at `path` ends within a line, as after a crash. Returns false
/// if the file cannot be read.
fn ends_within_line(path: &Path) -> bool {
    let Ok(metadata) = std::fs::metadata(path) else { return false };
    if !metadata.is_file() || metadata.len() == 0 {
        return false;
    }
    let mut last = [0];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut last, metadata.len() - 1));
    read.is_ok() && last != *b"\n"
}

/// Writes records until it receives `None`, or until the sender is dropped.
fn write_all(
    records: &Receiver<Option<Box<AccessRecord>>>,
    mut destination: Destination,
    mut form: LineFormatter,
) {
    let mut reported: Option<Instant> = None;
    let mut is_ending = false;
    while !is_ending {
        let Ok(Some(first)) = records.recv() else { return };
        let (mut lines, mut count) = (String::new(), 0);
        let mut next = Some(first);
        while let Some(record) = next.take() {
            record.write(&mut form, &mut lines);
            count += 1;
            if lines.len() < BATCH_BYTES {
                match records.try_recv() {
                    Ok(Some(record)) => next = Some(record),
                    Ok(None) => is_ending = true,
                    Err(_) => {}
                }
            }
        }
        if let Err(error) = destination.write(lines.as_bytes()) {
            DROPPED.inc_by(count);
            if reported.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL) {
                reported = Some(Instant::now());
                tracing::error!(%error, "the access log cannot be written; its lines are dropped");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AccessLogFormat;

    fn settings(file: &Path) -> AccessLogSettings {
        AccessLogSettings {
            format: Some(AccessLogFormat::Combined),
            file: Some(file.to_owned()),
            query: false,
        }
    }

    #[tokio::test]
    async fn every_line_is_written_before_the_log_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.log");
        let log = AccessLog::open(&settings(&file)).unwrap().unwrap();
        for _ in 0..1000 {
            log.add(Box::default());
        }
        log.close().await;
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1000);
    }

    #[tokio::test]
    async fn a_file_that_was_moved_away_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (file, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let mut log = LogFile::open(&file).unwrap();
        log.write(b"one\n").unwrap();
        std::fs::rename(&file, &moved).unwrap();
        log.checked -= REOPEN_INTERVAL;
        log.write(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "two\n");
    }

    #[test]
    fn records_are_dropped_where_the_writer_takes_none() {
        let (sender, records) = sync_channel(1);
        let writer = std::thread::spawn(|| {});
        let log = AccessLog { settings: AccessLogSettings::default(), sender, writer };
        let before = DROPPED.get();
        log.add(Box::default());
        log.add(Box::default());
        assert_eq!(DROPPED.get(), before + 1);
        drop(records);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = AccessLog::open(&settings(Path::new("/nonexistent/access.log"))).err().unwrap();
        assert!(
            error.to_string().contains("cannot write the access log `/nonexistent/access.log`"),
            "{error}"
        );
    }

    #[test]
    fn a_pipe_without_a_reader_is_an_error_and_one_with_a_reader_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let (done, opened) = std::sync::mpsc::channel();
        let path = pipe.clone();
        std::thread::spawn(move || {
            let error = |opened: Result<()>| opened.unwrap_err().to_string();
            done.send([error(LogFile::open(&path).map(drop)), error(AccessLog::check_file(&path))])
        });
        for error in opened.recv_timeout(Duration::from_secs(30)).expect("opening waits") {
            assert!(error.contains("help: start the program that reads this pipe first"), "{error}");
        }
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read(pipe).unwrap()
        });
        let mut log = loop {
            match LogFile::open(&pipe) {
                Ok(log) => break log,
                Err(_) => std::thread::yield_now(),
            }
        };
        // More than a pipe holds: writing waits for the reader.
        let lines = "line\n".repeat(100_000);
        log.write(lines.as_bytes()).unwrap();
        drop(log);
        assert_eq!(reader.join().unwrap().len(), lines.len());
    }

    #[test]
    fn a_record_never_continues_a_line_that_was_not_finished() {
        use std::io::Read as _;
        let folder = tempfile::tempdir().unwrap();
        // A crash left half a line.
        let file = folder.path().join("access.log");
        std::fs::write(&file, "one\nha").unwrap();
        LogFile::open(&file).unwrap().write(b"two\n").unwrap();
        LogFile::open(&file).unwrap().write(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\nha\ntwo\nthree\n");
        // A socket whose queue is full takes a part of what is written, as a full disk does.
        let (mut reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let mut log = LogFile::open(&file).unwrap();
        log.file = File::from(std::os::fd::OwnedFd::from(writer));
        log.write(&[b'x'; 10_000_000]).unwrap_err();
        reader.set_nonblocking(true).unwrap();
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap_err();
        log.write(b"two\n").unwrap();
        log.write(b"three\n").unwrap();
        drop(log);
        reader.read_to_end(&mut text).unwrap();
        assert!(text.starts_with(b"xx") && text.ends_with(b"x\ntwo\nthree\n"));
    }
}
