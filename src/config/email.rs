//! Comparison of e-mail addresses and their domains, and validation of addresses to which e-mail is
//! sent.
//!
//! Only ASCII letters are folded. Unicode case folding maps the KELVIN SIGN (U+212A) to `k`, so
//! that the owner of one name could use the account of another. A non-ASCII domain is compared in
//! its IDNA form (RFC 5890) if it is the Unicode form of that name, and byte for byte otherwise.

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

/// The maximum length of an address, in bytes (RFC 5321, section 4.5.3.1.3, without the angle
/// brackets).
const MAX_ADDRESS: usize = 254;
/// The maximum length of the part before the `@`, in bytes (RFC 5321, section 4.5.3.1.1).
const MAX_LOCAL: usize = 64;

/// An address to which e-mail can be sent: a dot-string and a domain, in ASCII (RFC 5321, section
/// 4.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAddress {
    /// The part before the `@`.
    pub local: String,
    /// The domain in its IDNA form.
    pub domain: String,
}

impl std::fmt::Display for MailAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// Reads an address to which e-mail can be sent. Converts a Unicode domain to its IDNA form (RFC
/// 5890).
///
/// # Errors
/// Returns the reason, without the address. Quoted local parts, address literals and local parts
/// that are not ASCII (RFC 6531) are rejected.
pub fn mail_address(text: &str) -> Result<MailAddress, &'static str> {
    if text.len() > MAX_ADDRESS {
        return Err("is longer than an e-mail address can be");
    }
    let (local, domain) = text.split_once('@').ok_or("is no e-mail address: it has no `@`")?;
    if domain.contains('@') {
        return Err("is no e-mail address: it has two `@`");
    }
    if !local.is_ascii() {
        return Err("has a local part that is not ASCII, which many mail servers do not accept");
    }
    // RFC 5321, section 4.1.2: "Dot-string = Atom *("."  Atom)".
    let is_atext = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    let is_atom = |atom: &str| !atom.is_empty() && atom.bytes().all(is_atext);
    if local.len() > MAX_LOCAL || !local.split('.').all(is_atom) {
        return Err("is no e-mail address: its local part cannot be used");
    }
    let canonical = canonical_domain(domain);
    let is_label = |label: &str| {
        let is_edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && is_edge(label.bytes().next())
            && is_edge(label.bytes().last())
    };
    if canonical.len() > 253 || !canonical.split('.').all(is_label) {
        return Err("is no e-mail address: its domain cannot be used");
    }
    if local.len() + 1 + canonical.len() > MAX_ADDRESS {
        return Err("is longer than an e-mail address can be");
    }
    Ok(MailAddress { local: local.to_owned(), domain: canonical.into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_send_to_is_a_dot_string_and_a_domain() {
        for (text, address) in [
            ("ada@example.com", "ada@example.com"),
            ("Ada.L+tag@EXAMPLE.com", "Ada.L+tag@example.com"),
            ("o'neil@b\u{fc}cher.example", "o'neil@xn--bcher-kva.example"),
            ("root@localhost", "root@localhost"),
        ] {
            assert_eq!(mail_address(text).map(|found| found.to_string()), Ok(address.to_owned()));
        }
        let long = format!("{}@example.com", "a".repeat(65));
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@a@b.example",
            "ada@example.com\r\nBcc: eve@example.com",
            "ada@example.com\n",
            "ada@exa mple.com",
            "ada@example.com>",
            "ada@example.com,eve@example.com",
            "<ada@example.com>",
            "\"ada l\"@example.com",
            "ada..l@example.com",
            ".ada@example.com",
            "ada@-a.example",
            "ada@a..example",
            "ada@[192.0.2.1]",
            "zo\u{eb}@example.com",
            "ada@B\u{dc}CHER.example",
            "ada\0@example.com",
            &long,
        ] {
            assert!(mail_address(text).is_err(), "{text:?}");
        }
    }

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
