//! Rows of a file: parsed and checked as far as that needs no database.

use crate::directory::error::Outcome;
use crate::directory::groups::NewGroup;
use crate::store::BulkUser;

/// A row of a file.
pub struct Row {
    /// The number of its line.
    pub line: u64,
    /// The name of its user or group, as far as it is known.
    pub name: String,
    /// What it has, or why it is refused.
    pub entry: Outcome<Entry>,
}

/// The group or the user of a row.
pub enum Entry {
    /// A group.
    Group(NewGroup),
    /// A user.
    User(Box<ImportedUser>),
}

/// A user of a row.
pub struct ImportedUser {
    /// What is stored of the user.
    pub stored: BulkUser,
    /// The names of the user's groups, each once.
    pub groups: Vec<String>,
}

impl Row {
    /// Returns the user, if the row has one.
    pub fn user(&self) -> Option<&ImportedUser> {
        match &self.entry {
            Ok(Entry::User(user)) => Some(user),
            _ => None,
        }
    }

    /// Returns the group, if the row has one.
    pub fn group(&self) -> Option<&NewGroup> {
        match &self.entry {
            Ok(Entry::Group(group)) => Some(group),
            _ => None,
        }
    }
}
