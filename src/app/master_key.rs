//! The master key: from the configuration, or for SQLite from a file beside the database.

use crate::base::{Entropy, MAX_SMALL_FILE, MasterKey, read_text};
use crate::config::{StoreSettings, StoreUrl};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The reason why there is no usable master key.
#[derive(Debug, Error)]
pub enum MasterKeyError {
    /// A shared database requires a configured key.
    #[error("master_key in [store] must be set for a store that several nodes share")]
    NotSet,
    /// The text is not a key.
    #[error("{} holds no master key: 32 bytes in base64url", .0.display())]
    Malformed(PathBuf),
    /// Other users may read the key file.
    #[error("others may read {path}\n  help: chmod 600 {path}", path = .0.display())]
    Exposed(PathBuf),
    /// The database exists, but its key file does not.
    #[error(
        "the database `{}` exists, and the file of its master key `{}` does not\n  help: restore the file from a backup, \
         or give the key with `master_key` in [store]; a new key could not decrypt what the database holds",
        .database.display(), .file.display()
    )]
    Missing { file: PathBuf, database: PathBuf },
    /// The key file cannot be read or created.
    #[error(
        "cannot read or make the file `{path}`: {1}\n  help: let the user that Narthex runs as read and write it and \
         its folder",
        path = .0.display()
    )]
    File(PathBuf, std::io::Error),
}

/// Returns the master key of `settings`. Creates one for a new SQLite database.
///
/// # Errors
/// Returns an error if there is no usable key.
pub fn open(settings: &StoreSettings, entropy: &dyn Entropy) -> Result<MasterKey, MasterKeyError> {
    match look(settings)? {
        Found::Key(key) => Ok(key),
        Found::NotMade(file) => {
            let key = MasterKey::random(entropy);
            write(&file, &key.text()).map_err(|error| MasterKeyError::File(file, error))?;
            Ok(key)
        }
    }
}

/// The master key, or the path where it would be created.
pub enum Found {
    Key(MasterKey),
    NotMade(PathBuf),
}

/// Reads the master key without creating one.
///
/// # Errors
/// Returns the errors of [`open`].
pub fn look(settings: &StoreSettings) -> Result<Found, MasterKeyError> {
    if let Some(secret) = &settings.master_key {
        return MasterKey::parse(secret.expose()).map(Found::Key).ok_or(MasterKeyError::NotSet);
    }
    let StoreUrl::Sqlite(database) = &settings.url else { return Err(MasterKeyError::NotSet) };
    let mut file = database.clone().into_os_string();
    file.push(".key");
    let file = PathBuf::from(file);
    match read_text(&file, MAX_SMALL_FILE) {
        Ok(text) => {
            let mode = std::fs::metadata(&file)
                .map_err(|e| MasterKeyError::File(file.clone(), e))?
                .permissions()
                .mode();
            if mode & 0o077 != 0 {
                return Err(MasterKeyError::Exposed(file));
            }
            MasterKey::parse(text.trim_end()).map(Found::Key).ok_or(MasterKeyError::Malformed(file))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // An empty file is not yet a database: it may have been created to set its permissions.
            match std::fs::metadata(database) {
                Ok(metadata) if metadata.len() > 0 => {
                    Err(MasterKeyError::Missing { file, database: database.clone() })
                }
                _ => Ok(Found::NotMade(file)),
            }
        }
        Err(error) => Err(MasterKeyError::File(file, error)),
    }
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    // create_new: two concurrent processes must not create two keys.
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()
}
