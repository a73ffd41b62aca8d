//! `[route.response_headers]`: headers that replace those in the upstream's responses.

use super::header_template::{PROTOCOL_HEADERS, fixed_value, normalize_name};
use super::item::Item;
use super::reserved_name::{Meaning, meaning_of};
use http::{HeaderName, HeaderValue};

/// Header names that a route must not set, each with the reason and the remedy.
const RESERVED: &[(&str, &str, &str)] = &[
    ("content-encoding", "says how the upstream wrote the body", "let the app set it"),
    ("content-range", "says how the upstream wrote the body", "let the app set it"),
    ("location", "belongs to one response", "let the app set it"),
    ("set-cookie", "would give every client the same cookie", "let the app set it"),
    ("access-control-allow-origin", "is set for the origins that the file names", "use `cors_origins`"),
    (
        "access-control-allow-credentials",
        "is set for the origins that the file names",
        "use `cors_credentials`",
    ),
];

/// Reads the table. Reports names that occur twice.
pub(super) fn response_headers(item: &Item<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for item in item.entries() {
        let Ok(name) = HeaderName::from_bytes(item.key.as_bytes()) else {
            item.report(format!("`{}` is not a header name", item.key), "use letters, digits and -");
            continue;
        };
        let unusable = unusable(&name).or_else(|| {
            let twice = headers.iter().any(|(other, _)| *other == name);
            twice.then_some(("occurs twice, in different case", "remove one of the two"))
        });
        if let Some((why, help)) = unusable {
            item.report(format!("`{}` {why}", item.key), help);
            continue;
        }
        headers.extend(fixed_value(&item).map(|value| (name, value)));
    }
    headers
}

fn unusable(name: &HeaderName) -> Option<(&'static str, &'static str)> {
    let name = normalize_name(name.as_str());
    if PROTOCOL_HEADERS.contains(&&*name) || name.starts_with("proxy-") {
        return Some(("belongs to HTTP itself", "choose another header"));
    }
    if meaning_of(&name) == Some(Meaning::Gateway) {
        return Some(("is set by Narthex itself", "choose another header"));
    }
    let known = RESERVED.iter().find(|(reserved, ..)| *reserved == name);
    known.map(|(_, why, help)| (*why, *help))
}
