//! `[log]`: the access log.

use super::reader::Item;
use std::path::{Path, PathBuf};

/// The settings of the access log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// The form of its lines; without one there is no access log.
    pub format: Option<AccessLogFormat>,
    /// The file that it is appended to; standard output without one.
    pub file: Option<PathBuf>,
    /// Whether it holds queries, which may carry secrets.
    pub query: bool,
}

/// The form of an access log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One JSON object a line.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
}

impl AccessLogSettings {
    /// Reads `[log]`; relative paths start in `folder`.
    pub(super) fn read(item: Option<Item<'_>>, folder: &Path) -> Self {
        let Some(table) = item.and_then(|item| item.table("[log]")) else { return Self::default() };
        let formats = [
            ("off", None),
            ("json", Some(AccessLogFormat::Json)),
            ("combined", Some(AccessLogFormat::Combined)),
        ];
        let format = table.get("access").and_then(|item| item.choice(&formats)).flatten();
        let file = table.get("access_file").and_then(|item| item.string()).map(|path| folder.join(path));
        let query = table.get("access_query").and_then(|item| item.boolean());
        table.finish();
        Self { format, file, query: query.unwrap_or(false) }
    }
}
