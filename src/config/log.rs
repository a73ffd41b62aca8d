//! `[log]`: the access log.

use super::key::{Key, Section, Type};
use super::reader::Table;
use super::types::{FLAG, OUTPUT_PATH};
use std::path::PathBuf;

pub(super) const SECTION: Section = Section {
    header: "[log]",
    about: "Access log, with one line for each request.",
    keys: &[&ACCESS, &ACCESS_FILE, &ACCESS_QUERY],
};
const ACCESS: Key<Option<AccessLogFormat>> = Key::new(
    "access",
    Type::ProviderChoice(&[
        ("off", None),
        ("json", Some(AccessLogFormat::Json)),
        ("combined", Some(AccessLogFormat::Combined)),
    ]),
    "Format of the access log; `\"combined\"` is the format of Apache and nginx.",
)
.default("\"off\"");
const ACCESS_FILE: Key<PathBuf> = Key::new("access_file", OUTPUT_PATH, "File to which lines are appended.")
    .computed("standard output")
    .example("\"access.log\"");
const ACCESS_QUERY: Key<bool> =
    Key::new("access_query", FLAG, "Whether lines contain query strings, which may contain secrets.")
        .default("false");

/// The settings of the access log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// The format of the lines; `None` disables the access log.
    pub format: Option<AccessLogFormat>,
    /// The file to which lines are appended; standard output if absent.
    pub file: Option<PathBuf>,
    /// Whether lines contain query strings, which may contain secrets.
    pub query: bool,
}

/// The format of an access log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One JSON object per line.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
}

impl AccessLogSettings {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let format = table.read(&ACCESS);
        let file = table.read(&ACCESS_FILE);
        let query = table.read(&ACCESS_QUERY);
        table.finish();
        Some(Self { format: format?, file, query: query? })
    }
}
