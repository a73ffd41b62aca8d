//! Comparison of e-mail addresses and their domains.
//!
//! ASCII letters are folded, nothing else: to Unicode, the KELVIN SIGN (U+212A) is a `k`, and with
//! it the owner of one name could use another's. A domain that is not ASCII is compared in its IDNA
//! form (RFC 5890) if it is the Unicode form of it, and byte for byte otherwise.

use std::borrow::Cow;

/// Returns the canonical form of a domain.
pub fn canonical_domain(domain: &str) -> Cow<'_, str> {
    if domain.is_ascii() {
        return folded(domain);
    }
    let ascii = url::quirks::domain_to_ascii(domain);
    match !ascii.is_empty() && url::quirks::domain_to_unicode(&ascii) == domain {
        true => ascii.into(),
        false => domain.into(),
    }
}

/// Returns the canonical form of an e-mail address.
pub fn canonical_email(email: &str) -> Cow<'_, str> {
    match email.rsplit_once('@') {
        Some((local, domain)) if !domain.is_ascii() => {
            format!("{}@{}", folded(local), canonical_domain(domain)).into()
        }
        _ => folded(email),
    }
}

fn folded(text: &str) -> Cow<'_, str> {
    match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => text.to_ascii_lowercase().into(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_ascii_letters_is_folded() {
        for (one, other) in [
            ("a@kit.example", "A@KIT.Example"),
            ("Zo\u{eb}@kit.example", "Zo\u{eb}@KIT.example"),
            ("a@b\u{fc}cher.example", "a@xn--bcher-kva.example"),
            ("a@b\u{fc}cher.example", "A@XN--bcher-kva.example"),
        ] {
            assert_eq!(canonical_email(one), canonical_email(other), "{one} {other}");
        }
        for (one, other) in [
            ("a@\u{212a}it.example", "a@kit.example"),
            ("\u{212a}@kit.example", "k@kit.example"),
            ("a@\u{17f}ite.example", "a@site.example"),
            ("a@\u{ff4b}it.example", "a@kit.example"),
            ("a@kit\u{3002}example", "a@kit.example"),
            ("a@k\u{ad}it.example", "a@kit.example"),
            ("Zo\u{cb}@kit.example", "Zo\u{eb}@kit.example"),
            ("a@B\u{dc}CHER.example", "a@xn--bcher-kva.example"),
            ("a@bu\u{308}cher.example", "a@xn--bcher-kva.example"),
            ("a@kit.example.", "a@kit.example"),
        ] {
            assert_ne!(canonical_email(one), canonical_email(other), "{one} {other}");
        }
    }
}
