//! Case and compatibility folding: one form for all texts that some server treats as equal.

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use icu_properties::props::{BinaryProperty as _, DefaultIgnorableCodePoint};
use std::borrow::Cow;

/// Returns `text` NFKC-normalized (UAX #15), in lower case, without accents and without
/// default-ignorable characters.
///
/// Lower-case ASCII is returned unchanged.
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => Cow::Borrowed(text),
        };
    }
    let nfkd = DecomposingNormalizerBorrowed::new_nfkd();
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let base = nfkd.normalize_iter(text.chars()).filter(|c| !is_removed(*c));
    // Characters are mapped one by one, because the mapping of a whole text depends on context.
    // There are three steps, because servers compare either lower or upper case: `ı` and `i` share
    // an upper-case form, `ẞ` and `ß` a lower-case one.
    let folded = base.flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    // Some letters have an accent only in the other case.
    Cow::Owned(nfkc.normalize_iter(nfkd.normalize_iter(folded).filter(|c| !is_removed(*c))).collect())
}

/// Returns whether a comparison that ignores accents (MySQL's default) or ignorable characters
/// (HFS+'s) skips `c`.
fn is_removed(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}') || DefaultIgnorableCodePoint::for_char(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_text_have_one_form() {
        for (text, folded) in [
            ("admin", "admin"),
            ("ADMIN", "admin"),
            ("\u{ff21}\u{ff24}\u{ff4d}\u{ff49}\u{ff4e}", "admin"),
            ("ad\u{ad}m\u{200d}in", "admin"),
            ("\u{24d0}dm\u{131}n", "admin"),
            ("ADM\u{130}N", "admin"),
            ("ta\u{17f}k\u{212a}", "taskk"),
            ("Übung", "ubung"),
            ("U\u{308}BUNG", "ubung"),
            ("straße", "strasse"),
            ("STRA\u{1e9e}E", "strasse"),
            ("ΛΌΓΟΣ", "λογοσ"),
            ("λόγος", "λογοσ"),
            ("ﬁle", "file"),
            ("a\u{3000}b", "a b"),
            ("\u{ff0e}\u{2026}\u{ff0f}\u{ff1b}\u{ff05}", "..../;%"),
            ("한글", "한글"),
            ("\u{1112}\u{1161}\u{11ab}글", "한글"),
            ("が", "が"),
        ] {
            assert_eq!(fold(text), folded, "{text:?}");
            assert_eq!(fold(&fold(text)), folded, "{text:?} twice");
        }
        assert!(matches!(fold("admin/x;%"), Cow::Borrowed(_)));
    }
}
