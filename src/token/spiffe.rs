//! SPIFFE IDs: the subjects of JWT-SVIDs.

/// The maximum length of an ID (SPIFFE ID, section 2.3).
const MAX_ID_LENGTH: usize = 2048;

/// Returns whether `id` is a SPIFFE ID of a workload in `trust_domain`, which has the form
/// `spiffe://example.org`.
///
/// SPIFFE ID, section 2.2: a segment has letters, digits and `.-_`, is not empty, and is neither
/// `.` nor `..`.
pub(super) fn is_in_trust_domain(id: &str, trust_domain: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain);
    let path = id.strip_prefix(trust_domain).and_then(|rest| rest.strip_prefix('/'));
    id.len() <= MAX_ID_LENGTH && path.is_some_and(|path| path.split('/').all(is_segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_normal_id_is_in_its_trust_domain() {
        let is_in = |id: &str| is_in_trust_domain(id, "spiffe://example.org");
        assert!(is_in("spiffe://example.org/app"));
        assert!(is_in("spiffe://example.org/ns/A-1/sa/web_x.y/..."));
        for other in [
            "",
            "root",
            "/app",
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe://example.org/app/",
            "spiffe://example.org//app",
            "spiffe://example.org/./app",
            "spiffe://example.org/../evil.org/app",
            "spiffe://example.org/%2e%2e/app",
            "spiffe://example.org/app?x",
            "spiffe://example.org/app#x",
            "spiffe://example.org/a b",
            "spiffe://example.org/caf\u{e9}",
            "spiffe://example.org/a\0",
            "spiffe://example.orgx/app",
            "spiffe://example.org.evil/app",
            "spiffe://example.org@evil.org/app",
            "SPIFFE://example.org/app",
            "spiffe://evil.org/app",
        ] {
            assert!(!is_in(other), "{other}");
        }
        assert!(!is_in(&format!("spiffe://example.org/{}", "a".repeat(MAX_ID_LENGTH))));
    }
}
