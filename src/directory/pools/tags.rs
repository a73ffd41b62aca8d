//! The tags of user pools.

use super::{check_writable, live_pool, publish};
use crate::base::{Entropy, Timestamp};
use crate::directory::error::{DirectoryError, Outcome};
use crate::store::Tx;
use std::collections::BTreeMap;

/// Maximum tags of a pool.
const MAX_TAGS: usize = 50;
/// Maximum characters of a key.
const MAX_KEY_LENGTH: usize = 128;
/// Maximum characters of a value.
const MAX_VALUE_LENGTH: usize = 256;
/// The prefix of keys that AWS alone sets.
const RESERVED_PREFIX: &str = "aws:";

/// Changes of the tags of a pool.
#[derive(Clone, Debug, Default)]
pub struct TagChanges {
    /// Tags to add or replace.
    pub set: BTreeMap<String, String>,
    /// Keys of tags to remove.
    pub remove: Vec<String>,
}

/// Changes the tags of a pool.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such pool, `InvalidParameterException` for
/// tags that are not valid.
pub async fn change_tags(
    tx: &mut Tx<'_>,
    pool_id: &str,
    changes: &TagChanges,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    let mut pool = live_pool(tx, pool_id).await?;
    check_writable(pool.source, "user pool", pool_id)?;
    let tags = &mut pool.settings.tags;
    changes.remove.iter().for_each(|key| drop(tags.remove(key)));
    tags.extend(changes.set.clone());
    check_tags(tags)?;
    pool.version += 1;
    pool.updated_at = now;
    tx.save_pool(&pool).await?;
    publish(tx, &pool, entropy).await
}

/// Checks the tags of a pool.
///
/// # Errors
/// Returns `InvalidParameterException`.
pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Outcome<()> {
    if tags.len() > MAX_TAGS {
        return Err(DirectoryError::invalid(format!("A user pool has at most {MAX_TAGS} tags.")));
    }
    for (key, value) in tags {
        let fits = (1..=MAX_KEY_LENGTH).contains(&key.chars().count())
            && value.chars().count() <= MAX_VALUE_LENGTH
            && !key.get(..RESERVED_PREFIX.len()).is_some_and(|of| of.eq_ignore_ascii_case(RESERVED_PREFIX));
        if !fits {
            return Err(DirectoryError::invalid(format!(
                "The tag {key} is not valid: a key has 1 to {MAX_KEY_LENGTH} characters and does not begin with \
                 {RESERVED_PREFIX}, a value has at most {MAX_VALUE_LENGTH} characters."
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_awss_bounds() {
        let fits = |key: &str, value: &str| check_tags(&[(key.to_owned(), value.to_owned())].into()).is_ok();
        assert!(fits("stage", "") && fits(&"k".repeat(128), &"v".repeat(256)));
        assert!(!fits("", "v") && !fits(&"k".repeat(129), "v") && !fits("k", &"v".repeat(257)));
        assert!(!fits("aws:cloudformation:stack-name", "x") && !fits("AWS:x", "x") && fits("awsx", "x"));
        let many = |count: u32| (0..count).map(|number| (number.to_string(), String::new())).collect();
        assert!(check_tags(&many(50)).is_ok() && check_tags(&many(51)).is_err());
    }
}
