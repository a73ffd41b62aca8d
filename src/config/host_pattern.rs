//! Host names with an optional wildcard.

use super::item::Item;
use super::key::{Shape, Type};
use super::public_url::Host;
use super::reader::Invalid;

/// A host name, or `*.` and a domain: the wildcard matches exactly one label (RFC 9525, section
/// 6.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    /// Whether the pattern begins with `*.`.
    pub wildcard: bool,
    /// The name, or the domain after `*.`.
    pub host: Host,
}

/// The value type of one host or several.
pub(super) const HOSTS_TYPE: Type<Vec<HostPattern>> =
    Type::Read(Shape::OneOrMore(&Shape::Text), |item: &Item<'_>| {
        let hosts = item.list(|item| item.parse(host));
        (!hosts.is_empty()).then_some(hosts)
    });

fn host(text: &str) -> Result<HostPattern, Invalid> {
    HostPattern::parse(text).ok_or_else(|| {
        (
            format!("\"{text}\" is not a host"),
            "write the bare name, without scheme, port or path: \"app.example.com\", or \"*.example.com\""
                .into(),
        )
    })
}

impl HostPattern {
    /// Parses a pattern. Returns `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("*.") {
            Some(domain) => Some(Self { wildcard: true, host: Host::parse(domain)? }),
            None => Some(Self { wildcard: false, host: Host::parse(text)? }),
        }
    }

    /// Returns whether the pattern is exactly `host`, without a wildcard.
    pub fn is(&self, host: &Host) -> bool {
        !self.wildcard && self.host == *host
    }

    /// Returns whether the pattern matches `host`.
    pub fn matches(&self, host: &str) -> bool {
        match self.wildcard {
            false => host == self.host.as_str(),
            true => host
                .split_once('.')
                .is_some_and(|(first, rest)| !first.is_empty() && rest == self.host.as_str()),
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.wildcard { "*." } else { "" }, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_matches_exactly_one_label() {
        let pattern = HostPattern::parse("*.example.com").unwrap();
        assert!(pattern.matches("app.example.com"));
        assert!(!pattern.matches("example.com"));
        assert!(!pattern.matches("a.b.example.com"));
        assert!(!pattern.matches(".example.com"));
        assert!(HostPattern::parse("a*.example.com").is_none());
        assert!(HostPattern::parse("*").is_none());
    }
}
