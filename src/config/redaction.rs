//! Removes external values, and user information in URLs, from messages, because messages are
//! printed and logged.

use std::cell::RefCell;
use zeroize::Zeroizing;

/// The minimum length of a value that is replaced everywhere, in bytes. A shorter value is replaced
/// only between quotes.
const MIN_BARE_LENGTH: usize = 6;

/// The values read from variables and files, each with its source as written in the file.
#[derive(Default)]
pub(super) struct ExternalValues(RefCell<Vec<(Zeroizing<String>, String)>>);

impl ExternalValues {
    /// Adds the value of the source `place`.
    pub fn add(&self, value: &str, place: String) {
        let value = Zeroizing::new(value.to_ascii_lowercase());
        self.0.borrow_mut().push((value, place));
    }

    /// Replaces every value in `message` with its source. The search ignores ASCII case, because
    /// hosts are converted to lower case.
    pub fn redact(&self, message: &str) -> String {
        let mut message = message.to_owned();
        for (value, place) in self.0.borrow().iter() {
            for quotes in ["\"", "`"] {
                message = replace(&message, &format!("{quotes}{}{quotes}", &**value), place);
            }
            if value.len() >= MIN_BARE_LENGTH {
                message = replace(&message, value, place);
            }
        }
        message
    }
}

/// Replaces `wanted`, which must be in lower case, ignoring the ASCII case of `text`.
fn replace(text: &str, wanted: &str, by: &str) -> String {
    let folded = text.to_ascii_lowercase();
    let (mut replaced, mut end) = (String::with_capacity(text.len()), 0);
    for (at, found) in folded.match_indices(wanted) {
        replaced.push_str(&text[end..at]);
        replaced.push_str(by);
        end = at + found.len();
    }
    replaced.push_str(&text[end..]);
    replaced
}

/// Removes user names and passwords from the URLs in `message`.
pub(super) fn without_user_info(message: &str) -> String {
    let mut parts = message.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        let end = part.find('"').unwrap_or(part.len());
        let authority = &part[..part[..end].find(['/', '?', '#']).unwrap_or(end)];
        // A password with `/` is not valid, and the text before the slash resembles a port.
        let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
        let has_password = authority.rsplit_once(':').is_some_and(|(_, port)| !is_port(port));
        let user_info = part[..end].rfind('@').filter(|_| authority.contains('@') || has_password);
        shown.push_str(user_info.map_or(part, |at| &part[at + 1..]));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_values_are_replaced_by_their_places() {
        let values = ExternalValues::default();
        values.add("Hunter2 \u{e9}", "{ env = \"A\" }".to_owned());
        values.add("on", "{ file = \"b\" }".to_owned());
        for (message, shown) in [
            ("\"Hunter2 \u{e9}\" is no host", "{ env = \"A\" } is no host"),
            ("cannot read `/etc/hunter2 \u{e9}/x`", "cannot read `/etc/{ env = \"A\" }/x`"),
            ("\"on\" is no option", "{ file = \"b\" } is no option"),
            ("two routes", "two routes"),
        ] {
            assert_eq!(values.redact(message), shown);
        }
        for value in ["a", "\"", "``", "\u{e9}\u{e9}\u{e9}\u{e9}"] {
            values.add(value, String::new());
        }
        assert_eq!(values.redact("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9} \"\"\""), "\u{e9} ");
    }

    #[test]
    fn addresses_are_shown_without_user_info() {
        for (message, shown) in [
            ("\"http://u:PW@h/\" is not https", "\"http://h/\" is not https"),
            ("\"http://u:P/W@h/\" is not a URL", "\"http://h/\" is not a URL"),
            ("\"http://u:P@W@h/\" and \"http://v@i\"", "\"http://h/\" and \"http://i\""),
            ("\"http://h:1/@b\" is not https", "\"http://h:1/@b\" is not https"),
            ("\"http://h/\" and \"a@b\"", "\"http://h/\" and \"a@b\""),
            ("no address", "no address"),
        ] {
            assert_eq!(without_user_info(message), shown);
        }
    }
}
