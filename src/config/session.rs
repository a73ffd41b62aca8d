//! `[session]`: lifetime of sessions, and the redirect after a sign-out.

use super::address::safe_url;
use super::key::{Key, Section, Shape, Type};
use super::reader::Table;
use super::types::{DURATION, FLAG};
use crate::base::{Duration, Timestamp};
use url::Url;

pub(super) const SECTION: Section = Section {
    header: "[session]",
    about: "Lifetime of sessions.",
    keys: &[&IDLE, &ABSOLUTE, &PERSISTENT, &SIGNED_OUT_URL],
};
const IDLE: Key<Duration> =
    Key::new("idle", DURATION, "Maximum time without a request, after which a session expires.")
        .default("\"8h\"");
const ABSOLUTE: Key<Duration> =
    Key::new("absolute", DURATION, "Maximum lifetime of a session.").default("\"7d\"");
const PERSISTENT: Key<bool> = Key::new(
    "persistent",
    FLAG,
    "Whether session cookies last until the session expires. Otherwise browsers delete them when they close.",
)
.default("true");
const SIGNED_OUT_URL: Key<Url> = Key::new(
    "signed_out_url",
    Type::Read(Shape::Text, |item| {
        item.parse(|text| safe_url(text, "write an https address: \"https://www.example.com/goodbye\""))
    }),
    "Address to which browsers are redirected after a sign-out.",
)
.computed("a page that confirms the sign-out")
.example("\"https://www.example.com/\"");

/// The lifetime limits of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// The maximum time without a request.
    pub idle: Duration,
    /// The maximum time since the sign-in.
    pub absolute: Duration,
    /// Whether session cookies are kept when the browser closes.
    pub persistent: bool,
}

impl SessionLimits {
    /// Reads the limits, and the URL to which browsers are redirected after a sign-out.
    pub(super) fn read(table: &Table<'_>) -> (Option<Self>, Option<Url>) {
        let (idle_item, absolute_item) = (table.get(&IDLE), table.get(&ABSOLUTE));
        let (idle, absolute) = (table.read(&IDLE), table.read(&ABSOLUTE));
        let persistent = table.read(&PERSISTENT);
        let signed_out_url = table.read(&SIGNED_OUT_URL);
        table.finish();
        let limits = || Some(Self { idle: idle?, absolute: absolute?, persistent: persistent? });
        let limits = limits();
        if let Some(Self { idle, absolute, .. }) = limits
            && idle > absolute
            && let Some(item) = idle_item.or(absolute_item)
        {
            item.report_conflict("`idle` is longer than `absolute`", "make `idle` the shorter of the two");
        }
        (limits, signed_out_url)
    }

    /// Returns the `Max-Age` of a cookie that is set at `now` for a session that expires at
    /// `expires_at`. Returns `None` for a cookie that the browser deletes when it closes.
    pub fn cookie_age(&self, expires_at: Timestamp, now: Timestamp) -> Option<Duration> {
        self.persistent.then(|| expires_at.since(now))
    }
}
