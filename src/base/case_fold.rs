//! Unicode caseless matching of names (Unicode Standard, section 3.13).
//!
//! [`super::fold()`] also removes accents, so that spellings which some server treats as equal are
//! equal. Names of different people must stay different, so this module removes only differences in
//! case.

use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use std::borrow::Cow;

const CASE: CaseMapperBorrowed<'static> = CaseMapper::new();

/// Returns `text` in normalization form C (UAX #15).
pub fn nfc(text: &str) -> Cow<'_, str> {
    match text.is_ascii() {
        true => Cow::Borrowed(text),
        false => ComposingNormalizerBorrowed::new_nfc().normalize(text),
    }
}

/// Returns the full case folding of `text`, in normalization form C.
///
/// Unicode Standard, D145: "A string X is a canonical caseless match for a string Y if and only if:
/// NFD(toCasefold(NFD(X))) = NFD(toCasefold(NFD(Y)))". Form C of both sides is equal if form D is.
pub fn fold_case(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => Cow::Borrowed(text),
        };
    }
    let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(text);
    let folded = CASE.fold_string(&decomposed);
    Cow::Owned(ComposingNormalizerBorrowed::new_nfc().normalize(&folded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_differ_in_case_or_composition_alone_have_one_form() {
        for (text, folded) in [
            ("bob", "bob"),
            ("BOB@Example.COM", "bob@example.com"),
            ("Straße", "strasse"),
            ("STRASSE", "strasse"),
            ("STRA\u{1e9e}E", "strasse"),
            ("\u{130}stanbul", "i\u{307}stanbul"),
            ("I\u{307}stanbul", "i\u{307}stanbul"),
            ("\u{17f}un", "sun"),
            ("\u{212a}elvin", "kelvin"),
            ("Caf\u{e9}", "caf\u{e9}"),
            ("CAFE\u{301}", "caf\u{e9}"),
            ("ΛΌΓΟΣ", "λόγοσ"),
            ("λόγος", "λόγοσ"),
            ("\u{1f80}\u{345}", "\u{1f00}ιι"),
        ] {
            assert_eq!(fold_case(text), folded, "{text:?}");
            assert_eq!(fold_case(&fold_case(text)), folded, "{text:?} twice");
        }
    }

    #[test]
    fn different_names_stay_different() {
        for (one, other) in [
            ("resume", "r\u{e9}sum\u{e9}"),
            ("istanbul", "\u{130}stanbul"),
            ("\u{131}", "i"),
            ("\u{ff41}", "a"),
            ("a\u{200d}b", "ab"),
            ("1", "\u{2460}"),
        ] {
            assert_ne!(fold_case(one), fold_case(other));
        }
    }

    #[test]
    fn composition_is_equal_without_case() {
        assert_eq!(nfc("Cafe\u{301}"), "Caf\u{e9}");
        assert_eq!(nfc("\u{212a}"), "K");
        assert!(matches!(nfc("Bob"), Cow::Borrowed(_)));
    }
}
