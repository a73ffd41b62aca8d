//! Paginated lists of users of a pool: all, by status, or by search key.

use super::statements::{statements, user_columns};
use super::{Result, Store, users, within_deadline};
use crate::model::{SearchKey, User, UserStatus};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use std::collections::HashMap;

/// Maximum users of one query: Cognito's page size of 60, and one that shows whether another page
/// follows.
pub const MAX_LISTED_USERS: u32 = 61;

/// The users to list, of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserList {
    /// All of them, in the order of creation.
    All,
    /// The users with this status, in the order of creation.
    Status(UserStatus),
    /// The users who are enabled or disabled, in the order of creation.
    Enabled(bool),
    /// The users with this search key, in the order of creation.
    Key(SearchKey, Vec<u8>),
    /// The users whose search key begins with this prefix, in the order of the keys.
    Prefix(SearchKey, Vec<u8>),
}

/// The position after a user in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPosition {
    /// The user's key; empty except in a list by prefix.
    pub key: Vec<u8>,
    /// The user's number.
    pub user_no: i64,
}

statements! {
    ALL = concat!(
        "SELECT ", user_columns!(), " FROM users u WHERE u.pool_id = $1 AND u.no > $2 ORDER BY u.no LIMIT $3"
    );
    OF_STATUS = concat!(
        "SELECT ", user_columns!(), " FROM users u WHERE u.pool_id = $1 AND u.status = $2 AND u.no > $3 \
         ORDER BY u.no LIMIT $4"
    );
    OF_ENABLED = concat!(
        "SELECT ", user_columns!(), " FROM users u WHERE u.pool_id = $1 AND u.enabled = $2 AND u.no > $3 \
         ORDER BY u.no LIMIT $4"
    );
    OF_KEY = concat!(
        "SELECT ", user_columns!(), " FROM user_keys i JOIN users u ON u.no = i.user_no AND u.no > 0 \
         WHERE i.pool = $1 AND i.kind = $2 AND i.k = $3 AND i.user_no > $4 ORDER BY i.user_no LIMIT $5"
    );
    // With an additional `k >= $3`, SQLite would start at the beginning of the prefix on each page.
    OF_PREFIX = concat!(
        "SELECT ", user_columns!(), ", i.k FROM user_keys i JOIN users u ON u.no = i.user_no AND u.no > 0 \
         WHERE i.pool = $1 AND i.kind = $2 AND (i.k, i.user_no) > ($3, $4) AND i.k < $5 \
         ORDER BY i.k, i.user_no LIMIT $6"
    );
    IDENTITIES = "SELECT user_id, issuer, subject, provider, saml, attributes, provider_groups \
                  FROM user_identities WHERE user_id IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44, $45, $46, $47, $48, $49, $50, $51, $52, $53, $54, $55, $56, $57, $58, $59, $60, $61) \
                  ORDER BY created_at, issuer, subject";
}

impl Store {
    /// Returns at most `limit` users of a list after the position `after`, each with its position.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn list_users(
        &self,
        pool: (&str, i64),
        list: &UserList,
        after: Option<&ListPosition>,
        limit: u32,
    ) -> Result<Vec<(ListPosition, User)>> {
        within_deadline(async {
            let mut connection = self.pool.acquire().await?;
            let rows = rows(&mut connection, pool, list, after, limit.min(MAX_LISTED_USERS)).await?;
            let mut found = Vec::with_capacity(rows.len());
            for row in &rows {
                let user = users::read(row)?;
                let key = match list {
                    UserList::Prefix(..) => row.try_get("k")?,
                    _ => Vec::new(),
                };
                found.push((ListPosition { key, user_no: user.no }, user));
            }
            add_identities(&mut connection, &mut found).await?;
            Ok(found)
        })
        .await
    }
}

async fn rows(
    connection: &mut AnyConnection,
    (pool_id, pool): (&str, i64),
    list: &UserList,
    after: Option<&ListPosition>,
    limit: u32,
) -> Result<Vec<AnyRow>> {
    let (after_no, limit) = (after.map_or(0, |after| after.user_no), i64::from(limit));
    let query = match list {
        UserList::All => sqlx::query(ALL).bind(pool_id).bind(after_no).bind(limit),
        UserList::Status(status) => {
            sqlx::query(OF_STATUS).bind(pool_id).bind(status.name()).bind(after_no).bind(limit)
        }
        UserList::Enabled(enabled) => {
            sqlx::query(OF_ENABLED).bind(pool_id).bind(i64::from(*enabled)).bind(after_no).bind(limit)
        }
        UserList::Key(kind, key) => {
            sqlx::query(OF_KEY).bind(pool).bind(*kind as i64).bind(&key[..]).bind(after_no).bind(limit)
        }
        UserList::Prefix(kind, prefix) => {
            let from = after.map_or(prefix, |after| &after.key);
            let query = sqlx::query(OF_PREFIX).bind(pool).bind(*kind as i64).bind(&from[..]).bind(after_no);
            query.bind(end_of(prefix)).bind(limit)
        }
    };
    Ok(query.fetch_all(connection).await?)
}

/// Returns a key after all keys that begin with `prefix`. UTF-8 contains no byte 255.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    match prefix.split_last() {
        Some((last, before)) => [before, &[last.saturating_add(1)]].concat(),
        None => vec![u8::MAX],
    }
}

/// Fetches the provider accounts of all users of a page with one query.
async fn add_identities(connection: &mut AnyConnection, found: &mut [(ListPosition, User)]) -> Result<()> {
    let mut places = HashMap::with_capacity(found.len());
    let mut query = sqlx::query(IDENTITIES);
    for (place, (_, user)) in found.iter().enumerate() {
        places.insert(user.id.clone(), place);
        query = query.bind(user.id.clone());
    }
    for _ in found.len()..MAX_LISTED_USERS as usize {
        query = query.bind("");
    }
    for row in query.fetch_all(connection).await? {
        let user_id: String = row.try_get("user_id")?;
        if let Some((_, user)) = places.get(&user_id).and_then(|place| found.get_mut(*place)) {
            users::add_identity(user, &row)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(end_of(b"ab"), b"ac");
        assert_eq!(end_of("a\u{10ffff}".as_bytes()), b"a\xf4\x8f\xbf\xc0");
        assert_eq!(end_of(b""), [255]);
    }
}
