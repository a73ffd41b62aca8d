//! The principals of trust policies (IAM User Guide, "AWS JSON policy elements: Principal").

/// The principal kind for AWS accounts, users and roles.
const AWS: &str = "AWS";

/// Returns an error for a principal that AWS rejects: an unknown kind, or a name that is invalid
/// for its kind.
pub(super) fn check(kind: &str, name: &str) -> Result<(), String> {
    let (valid, form) = match kind {
        AWS => (
            name == "*" || is_account(name) || is_unique_id(name) || is_arn(name),
            "`*`, a 12-digit account id or an ARN without wildcards",
        ),
        // "Federated principals must be valid domain names or SAML metadata ARNs."
        "Federated" => (is_domain(name) || is_arn(name), "a domain name or an ARN without wildcards"),
        "Service" => (is_domain(name), "a domain name"),
        "CanonicalUser" => (is_hex(name), "64 hexadecimal digits"),
        _ => {
            let kinds = "help: write AWS, Federated, Service or CanonicalUser";
            return Err(format!("`{kind}` is no kind of principal; {kinds}"));
        }
    };
    if valid {
        Ok(())
    } else {
        Err(format!("`{name}` is no principal of the kind `{kind}`; help: write {form}"))
    }
}

/// Returns whether the principal denotes everyone: "`\"Principal\": \"*\"` and `\"Principal\":
/// {\"AWS\": \"*\"}` are equivalent".
pub(super) fn is_everybody(kind: &str, name: &str) -> bool {
    matches!(kind, "*" | AWS) && name == "*"
}

fn is_account(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|b| b.is_ascii_digit())
}

/// Returns whether `name` is an identifier that AWS writes instead of the ARN of a deleted user or
/// role.
fn is_unique_id(name: &str) -> bool {
    (16..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
}

/// Returns whether `name` is an ARN without wildcards: "You cannot use a wildcard to match part of
/// a principal name or ARN."
fn is_arn(name: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '*' | '?' | '$');
    name.starts_with("arn:") && name.splitn(6, ':').count() == 6 && name.chars().all(plain)
}

fn is_domain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'/' | b':' | b'_');
    name.contains('.') && !name.starts_with('.') && name.len() <= 255 && name.bytes().all(plain)
}

fn is_hex(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}
