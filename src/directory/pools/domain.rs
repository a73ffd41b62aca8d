//! Domains of user pools: a label below the domain of the sign-in pages, or a full host name.

use super::check::unsatisfied;
use super::{live_pool, publish};
use crate::base::{Entropy, Timestamp};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::model::{Members, Pool, PoolDomain};
use crate::store::{Store, Tx};

/// Maximum characters of a host name (RFC 1035, section 2.3.4).
const MAX_HOST_LENGTH: usize = 253;
/// Maximum characters of a label.
const MAX_LABEL_LENGTH: usize = 63;
/// Domains of a pool: one label and one full host name.
const MAX_DOMAINS: u32 = 2;

/// Gives a domain to a pool.
///
/// # Errors
/// Returns `InvalidParameterException` for a domain that is not valid or taken, or if the pool has
/// one of this kind; `ResourceNotFoundException` if there is no such pool.
pub async fn create_domain(
    tx: &mut Tx<'_>,
    pool_id: &str,
    domain: &str,
    kept: &Members,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<PoolDomain> {
    let pool = live_pool(tx, pool_id).await?;
    if !is_label(domain) && !is_host(domain) {
        return Err(unsatisfied(
            "domain",
            "satisfy regular expression pattern: ^[a-z0-9](?:[a-z0-9\\-]{0,61}[a-z0-9])?$, or be a host name",
        ));
    }
    let others = tx.pool_domains(pool.no, MAX_DOMAINS).await?;
    if others.iter().any(|other| other.domain.contains('.') == domain.contains('.')) {
        return Err(DirectoryError::invalid("User pool already has a domain configured."));
    }
    let domain = PoolDomain { domain: domain.to_owned(), pool: pool.no, kept: kept.clone(), created_at: now };
    if !tx.add_pool_domain(&domain).await? {
        return Err(DirectoryError::invalid("Domain already exists."));
    }
    publish(tx, &pool, entropy).await?;
    Ok(domain)
}

/// Replaces what Cognito's API keeps with a domain.
///
/// # Errors
/// Returns `ResourceNotFoundException` if the pool has no such domain.
pub async fn update_domain(
    tx: &mut Tx<'_>,
    pool_id: &str,
    domain: &str,
    kept: &Members,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    let pool = live_pool(tx, pool_id).await?;
    if !tx.save_pool_domain(pool.no, domain, kept).await? {
        return Err(not_found());
    }
    publish(tx, &pool, entropy).await
}

/// Takes a domain from a pool.
///
/// # Errors
/// Returns `ResourceNotFoundException` if the pool has no such domain.
pub async fn delete_domain(
    tx: &mut Tx<'_>,
    pool_id: &str,
    domain: &str,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    let pool = live_pool(tx, pool_id).await?;
    if !tx.remove_pool_domain(pool.no, domain).await? {
        return Err(not_found());
    }
    publish(tx, &pool, entropy).await
}

/// Returns a domain and the id of its pool, if there is one.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn find_domain(store: &Store, domain: &str) -> Outcome<Option<(PoolDomain, String)>> {
    Ok(store.pool_domain(domain).await?)
}

/// Returns the domains of a pool.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn list_domains(store: &Store, pool: &Pool) -> Outcome<Vec<PoolDomain>> {
    Ok(store.pool_domains(pool.no, MAX_DOMAINS).await?)
}

fn not_found() -> DirectoryError {
    DirectoryError::new(ErrorKind::ResourceNotFound, "No such domain or user pool exists.")
}

/// Returns whether `text` is a label: lower-case letters, digits, and hyphens inside.
fn is_label(text: &str) -> bool {
    (1..=MAX_LABEL_LENGTH).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Returns whether `text` is a full host name, and no address.
fn is_host(text: &str) -> bool {
    let labels: Vec<&str> = text.split('.').collect();
    let is_address = labels.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    labels.len() >= 2 && text.len() <= MAX_HOST_LENGTH && labels.into_iter().all(is_label) && !is_address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_label_or_a_host() {
        let (label, long) = ("a".repeat(63), "a".repeat(64));
        for (text, fits) in [
            ("acme", true),
            ("a", true),
            ("a-1", true),
            (&label, true),
            (&long, false),
            ("-a", false),
            ("a-", false),
            ("Acme", false),
            ("", false),
            ("auth.acme.example", true),
            ("auth..example", false),
            (".example", false),
            ("auth.acme.example.", false),
            ("192.0.2.7", false),
            ("auth.acme.example:443", false),
            ("*.acme.example", false),
        ] {
            assert_eq!(is_label(text) || is_host(text), fits, "{text:?}");
        }
    }
}
