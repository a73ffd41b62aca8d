//! The files that a configuration names, and the detection of their changes.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The state of a file; `None` inside if it cannot be found. Links are followed, so that replacing
/// a link or folder (such as `..data` of Kubernetes) changes the state of every file below it. The
/// state includes the time of the last status change, which programs cannot set, unlike the
/// modification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState(Option<[i64; 6]>);

impl FileState {
    /// Returns the state of the file at `path` now.
    pub fn of(path: &Path) -> Self {
        let state = |of: std::fs::Metadata| {
            #[expect(clippy::cast_possible_wrap, reason = "they are compared, and nothing else")]
            let (device, inode, length) = (of.dev() as i64, of.ino() as i64, of.len() as i64);
            [
                device,
                inode,
                length,
                of.mtime(),
                of.ctime(),
                of.mtime_nsec().wrapping_mul(31) ^ of.ctime_nsec(),
            ]
        };
        Self(std::fs::metadata(path).ok().map(state))
    }
}

/// Files with their states.
pub type Files = BTreeMap<PathBuf, FileState>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_renamed_over_or_linked_anew_has_another_state() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), text).unwrap();
        };
        write("one/secret", "first");
        write("two/secret", "other");
        std::os::unix::fs::symlink("one", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/secret", at("secret")).unwrap();
        let secret = at("secret");
        let first = FileState::of(&secret);
        assert_eq!(FileState::of(&secret), first);
        std::os::unix::fs::symlink("two", at("..new")).unwrap();
        std::fs::rename(at("..new"), at("..data")).unwrap();
        let second = FileState::of(&secret);
        assert_ne!(second, first);
        // The length and the modification time are unchanged.
        let modified = std::fs::metadata(&secret).unwrap().modified().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        write("two/secret", "third");
        std::fs::File::options().write(true).open(&secret).unwrap().set_modified(modified).unwrap();
        assert_ne!(FileState::of(&secret), second);
        std::fs::remove_file(at("..data")).unwrap();
        assert_eq!(FileState::of(&secret), FileState::of(Path::new("/nonexistent/file")));
    }
}
