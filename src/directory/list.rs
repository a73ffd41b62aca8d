//! Lists of users: filter, pages, selection of attributes.

use super::error::{DirectoryError, Outcome};
use super::filter::Filter;
use super::page_token::{Page, PageRequest, Tokens};
use crate::base::{Entropy, KeyRing, Timestamp};
use crate::model::{Attributes, Pool, User};
use crate::store::{ListPosition, Store, UserList};

/// Maximum reads for one page. Long values are compared again with the row, which may leave few of
/// a read; a page may then be short.
const MAX_READS: usize = 20;

/// A list of users that a client asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsersQuery<'a> {
    /// The filter; all users if it is empty.
    pub filter: &'a str,
    /// The page.
    pub page: PageRequest<'a>,
}

/// A page of users.
pub type UsersPage = Page<User>;

/// The position after a user: which of the filter's lists, and where in it.
struct Position {
    list: usize,
    after: Option<ListPosition>,
}

/// Returns a page of the users of `pool` that match a filter.
///
/// # Errors
/// Returns `InvalidParameterException` for a filter that is not valid, more than 60 entries, or a
/// token that is not of this list or older than an hour.
pub async fn list_users(
    store: &Store,
    ring: &KeyRing,
    pool: &Pool,
    query: UsersQuery<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<UsersPage> {
    let filter = Filter::parse(query.filter)?;
    let lists = filter.as_ref().map_or_else(|| vec![UserList::All], Filter::lists);
    let limit = query.page.limit()?;
    let list = format!("users/{}/{}", pool.id, query.filter.trim());
    let tokens = Tokens { ring, list: &list, now };
    let mut position = Position::read(query.page.position(tokens)?)?;
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut entries = Vec::with_capacity(wanted);
    for _ in 0..MAX_READS {
        let Some(list) = lists.get(position.list) else { return Ok(Page { entries, token: None }) };
        // One more than wanted shows whether another page follows.
        let room = limit + 1 - u32::try_from(entries.len()).unwrap_or(limit);
        let found = store.list_users((&pool.id, pool.no), list, position.after.as_ref(), room).await?;
        let exhausted = found.len() < usize::try_from(room).unwrap_or(usize::MAX);
        for (after, user) in found {
            let matches = filter.as_ref().is_none_or(|filter| filter.matches(&user));
            if matches && entries.len() == wanted {
                return Ok(Page { entries, token: Some(tokens.seal(&position.bytes(), entropy)) });
            }
            position.after = Some(after);
            if matches {
                entries.push(user);
            }
        }
        if exhausted {
            position = Position { list: position.list + 1, after: None };
        }
    }
    Ok(Page { entries, token: Some(tokens.seal(&position.bytes(), entropy)) })
}

impl Position {
    fn read(bytes: Option<Vec<u8>>) -> Outcome<Self> {
        let Some(bytes) = bytes else { return Ok(Self { list: 0, after: None }) };
        let invalid = || DirectoryError::invalid("Invalid pagination token.");
        let (list, rest) = bytes.split_first().ok_or_else(invalid)?;
        let after = rest
            .split_first_chunk::<8>()
            .map(|(no, key)| ListPosition { key: key.to_vec(), user_no: i64::from_be_bytes(*no) });
        Ok(Self { list: usize::from(*list), after })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(self.list).expect("invariant: a filter has at most eight lists")];
        if let Some(ListPosition { key, user_no }) = &self.after {
            bytes.extend_from_slice(&user_no.to_be_bytes());
            bytes.extend_from_slice(key);
        }
        bytes
    }
}

/// Returns the attributes of each of `users`, `sub` among them, that a client asks for; all if it
/// names none.
///
/// # Errors
/// Returns `InvalidParameterException` for a name that is not in the schema, also without users.
pub fn select_attributes(pool: &Pool, users: &[User], names: &[&str]) -> Outcome<Vec<Attributes>> {
    let exists = |name: &&&str| **name == "identities" || pool.settings.schema.get(name).is_some();
    if !names.iter().all(|name| exists(&name)) {
        return Err(DirectoryError::invalid("One or more requested attributes do not exist."));
    }
    let selected = |user: &User| {
        let all = user.all_attributes();
        let named = all.iter().filter(|(name, _)| names.is_empty() || names.contains(name));
        named.map(|(name, value)| (*name, &**value)).collect()
    };
    Ok(users.iter().map(selected).collect())
}
