//! Bounded reading of files that the configuration names. Special files are rejected and never
//! block.

use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Read as _, Result};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Maximum size of a certificate chain, a key, a secret or a policy, in bytes.
pub const MAX_SMALL_FILE: u64 = 1024 * 1024;

/// Reads the regular file at `path`, of at most `limit` bytes.
///
/// # Errors
/// Returns an error if the file is missing, too large, or not a regular file. Reading a pipe or a
/// device may block or never end.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    // Without this flag, opening a pipe blocks until it has a writer.
    #[expect(clippy::cast_possible_wrap, reason = "flags are bits")]
    let without_waiting = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(without_waiting).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(Error::new(ErrorKind::InvalidData, format!("it is larger than {limit} bytes"))),
        false => Ok(bytes),
    }
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// Returns the errors of [`read_file`], and an error for invalid UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    String::from_utf8(read_file(path, limit)?)
        .map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_within_its_limit_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "text").unwrap();
        assert_eq!(read_text(&file, 4).unwrap(), "text");
        assert!(read_file(&file, 3).unwrap_err().to_string().contains("larger than 3 bytes"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_text(&link, 4).unwrap(), "text");
        std::fs::write(&file, b"\xff").unwrap();
        assert!(read_text(&file, 4).is_err());
        // The pipe has no writer: a blocking open would never return.
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for other in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            let error = read_file(other, 4).unwrap_err().to_string();
            assert_eq!(error, "it is no regular file", "{}", other.display());
        }
        assert_eq!(read_file(&folder.path().join("none"), 4).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
