//! Characters that change how a text is displayed or where its lines end.

/// Returns whether `c` is a control character (C0, DEL, C1) or a line or paragraph separator.
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Returns whether `c` can disguise a text: a control character, a separator, a zero-width
/// character, or a change of direction (UAX #9). The two joiners are excluded: words of some
/// languages need them.
pub fn is_deceptive(c: char) -> bool {
    is_control(c)
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
