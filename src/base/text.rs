//! Characters that change how a text is displayed or where its lines end.

use std::fmt::Write as _;

/// Returns whether `c` is a control character (C0, DEL, C1) or a line or paragraph separator.
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Returns whether `c` can disguise a text: a control character, a separator, a zero-width
/// character, or a direction control (UAX #9). The two joiners are excluded, because words of some
/// languages need them.
pub fn is_deceptive(c: char) -> bool {
    is_control(c)
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Escapes deceptive characters as JSON does (RFC 8259, section 7), except those that `keep`
/// accepts.
pub fn escape_deceptive(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_deceptive(c) && !keep(c) {
            // All of them are in the Basic Multilingual Plane.
            true => _ = write!(escaped, "\\u{:04x}", u32::from(c)),
            false => escaped.push(c),
        }
    }
    escaped
}
