//! Bulk operations on users: look-ups before an import, the insertion of a batch, and the reads of
//! an export.

use super::bulk_text::{Insert, ListLookup};
use super::factors::{self, StoredFactors};
use super::passwords::{self, StoredPassword};
use super::pools::Counter;
use super::users::json;
use super::{Result, Store, Tx, within_deadline};
use crate::base::{Duration, Entropy, Timestamp, time_ordered_number};
use crate::model::{Pool, SearchKey, SignInName, User};
use sqlx::Row as _;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, any::AnyRow};
use std::collections::HashMap;

/// Maximum attempts to find consecutive unused numbers.
const MAX_NUMBER_ATTEMPTS: u32 = 64;

#[rustfmt::skip]
static USERS: Insert = Insert::new("users", &[
    "id", "no", "pool_id", "username", "enabled", "status", "attributes", "provider_groups", "version",
    "indexed_version", "created_at", "updated_at",
]);
static KEYS: Insert = Insert::new("user_keys", &["user_no", "kind", "pool", "k"]);
static NAMES: Insert = Insert::new("sign_in_names", &["pool", "name", "user_no", "kind"]);
static PASSWORDS: Insert = Insert::new("passwords", &["user_no", "sealed", "set_at", "expires_at"]);
#[rustfmt::skip]
static FACTORS: Insert = Insert::new("user_factors", &[
    "user_no", "token", "pending_token", "last_step", "enabled", "preferred",
]);
static MEMBERS: Insert = Insert::new("group_members", &["group_no", "user_no", "added_at"]);
#[rustfmt::skip]
static IDENTITIES: Insert = Insert::new("user_identities", &[
    "pool_id", "issuer", "subject", "user_id", "provider", "created_at", "saml", "attributes", "provider_groups",
]);

static TAKEN_NAMES: ListLookup =
    ListLookup::new("SELECT name FROM sign_in_names WHERE pool = $1 AND name IN", 1);
static TAKEN_IDS: ListLookup = ListLookup::new("SELECT id, pool_id FROM users WHERE id IN", 0);
static TAKEN_USERNAMES: ListLookup =
    ListLookup::new("SELECT username FROM users WHERE pool_id = $1 AND username IN", 1);
static TAKEN_SUBJECTS: ListLookup = ListLookup::new(
    "SELECT issuer, subject FROM user_identities WHERE pool_id = $1 AND issuer = $2 AND subject IN",
    2,
);
static GROUPS: ListLookup =
    ListLookup::new("SELECT no, name FROM user_groups WHERE pool = $1 AND name IN", 1);
static GROUPS_OF_USERS: ListLookup = ListLookup::new(
    "SELECT m.user_no, g.name FROM group_members m JOIN user_groups g ON g.no = m.group_no WHERE m.user_no IN",
    0,
);
static PASSWORDS_OF_USERS: ListLookup =
    ListLookup::new("SELECT user_no, sealed, set_at, expires_at FROM passwords WHERE user_no IN", 0);
static FACTORS_OF_USERS: ListLookup =
    ListLookup::new("SELECT user_no, token, enabled, preferred FROM user_factors WHERE user_no IN", 0);
const USED_NUMBER: &str = "SELECT no FROM users WHERE no > 0 AND no >= $1 AND no < $2 ORDER BY no LIMIT 1";

/// A user of a batch, with all stored data of the user.
#[derive(Clone, Debug)]
pub struct BulkUser {
    /// The user. The batch assigns the number.
    pub user: User,
    /// The names with which the user signs in.
    pub names: Vec<SignInName>,
    /// The password.
    pub password: Option<StoredPassword>,
    /// The second factors.
    pub factors: Option<StoredFactors>,
}

/// The users of a batch, each with the numbers of the user's groups.
pub type BulkBatch<'a> = [(&'a BulkUser, Vec<i64>)];

impl Tx<'_> {
    /// Returns the elements of `names` that belong to a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn taken_names(&mut self, pool: i64, names: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let rows = self.rows(&TAKEN_NAMES, |query| query.bind(pool), names, |query, name| query.bind(*name));
        rows.await?.iter().map(|row| Ok(row.try_get("name")?)).collect()
    }

    /// Returns the elements of `ids` that belong to users of any pool, each with its pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn taken_ids(&mut self, ids: &[&str]) -> Result<Vec<(String, String)>> {
        let rows = self.rows(&TAKEN_IDS, |query| query, ids, |query, id| query.bind(*id));
        rows.await?.iter().map(|row| Ok((row.try_get("id")?, row.try_get("pool_id")?))).collect()
    }

    /// Returns the elements of `usernames` that belong to users of the pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn taken_usernames(&mut self, pool_id: &str, usernames: &[&str]) -> Result<Vec<String>> {
        let bind = |query: Statement<'static>, name: &&str| query.bind(*name);
        let rows = self.rows(&TAKEN_USERNAMES, |query| query.bind(pool_id), usernames, bind);
        rows.await?.iter().map(|row| Ok(row.try_get("username")?)).collect()
    }

    /// Returns the elements of `subjects` of an issuer that are linked to a user of the pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn taken_subjects(
        &mut self,
        pool_id: &str,
        issuer: &str,
        subjects: &[&str],
    ) -> Result<Vec<String>> {
        let bind = |query: Statement<'static>, subject: &&str| query.bind(*subject);
        let before = |query: Statement<'static>| query.bind(pool_id).bind(issuer);
        let rows = self.rows(&TAKEN_SUBJECTS, before, subjects, bind);
        rows.await?.iter().map(|row| Ok(row.try_get("subject")?)).collect()
    }

    /// Returns the numbers of the groups of the pool whose names are in `names`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn group_numbers(&mut self, pool: i64, names: &[&str]) -> Result<HashMap<String, i64>> {
        let rows = self.rows(&GROUPS, |query| query.bind(pool), names, |query, name| query.bind(*name));
        rows.await?.iter().map(|row| Ok((row.try_get("name")?, row.try_get("no")?))).collect()
    }

    /// Returns the first of `count` consecutive unused user numbers. Random numbers would collide
    /// within a batch, because all its users are created in the same millisecond.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn free_user_numbers(
        &mut self,
        count: usize,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<i64> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let mut attempt = 0;
        loop {
            let at = now.plus(Duration::from_millis(attempt));
            let first = time_ordered_number(at, entropy);
            let query = sqlx::query_scalar(USED_NUMBER).bind(first).bind(first.saturating_add(count));
            let used: Option<i64> = query.fetch_optional(&mut *self.inner).await?;
            attempt += 1;
            if used.is_none() || attempt == u64::from(MAX_NUMBER_ATTEMPTS) {
                return Ok(first);
            }
        }
    }

    /// Adds the users of a batch, numbered from `first_no`, with search keys, names, provider
    /// accounts, passwords and memberships. Adds them to the pool's counter.
    ///
    /// # Errors
    /// Returns an error if the database fails, or an id, name or account of a user is taken.
    pub async fn add_users(
        &mut self,
        pool: &Pool,
        batch: &BulkBatch<'_>,
        first_no: i64,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        let numbered: Vec<(i64, &BulkUser)> = (first_no..).zip(batch.iter().map(|(user, _)| *user)).collect();
        self.add_user_rows(&numbered).await?;
        self.add_keys_and_names(pool, &numbered).await?;
        self.add_identities(&numbered).await?;
        self.add_passwords(&numbered, entropy).await?;
        self.add_factors(&numbered, entropy).await?;
        let member = |(no, (user, groups)): (i64, &(&BulkUser, Vec<i64>))| {
            let at = user.user.created_at.millis();
            groups.iter().map(move |group| (*group, no, at)).collect::<Vec<_>>()
        };
        let members: Vec<_> = (first_no..).zip(batch).flat_map(member).collect();
        self.insert(&MEMBERS, &members, |query, (group, no, at)| query.bind(*group).bind(*no).bind(*at))
            .await?;
        let users = i64::try_from(batch.len()).unwrap_or(i64::MAX);
        self.count(pool.no, Counter::Users, users, entropy).await
    }

    async fn add_user_rows(&mut self, users: &[(i64, &BulkUser)]) -> Result<()> {
        let mut rows = Vec::with_capacity(users.len());
        for (no, BulkUser { user, .. }) in users {
            rows.push((*no, user, json(&user.attributes)?, json(&user.groups)?));
        }
        let bind = |query: Statement<'static>,
                    (no, user, attributes, groups): &(i64, &User, String, String)| {
            let query = query.bind(&user.id).bind(*no).bind(&user.pool_id).bind(&user.username);
            let query = query.bind(i64::from(user.enabled)).bind(user.status.name());
            let query = query.bind(attributes).bind(groups).bind(user.version).bind(user.version);
            query.bind(user.created_at.millis()).bind(user.updated_at.millis())
        };
        self.insert(&USERS, &rows, bind).await
    }

    async fn add_keys_and_names(&mut self, pool: &Pool, users: &[(i64, &BulkUser)]) -> Result<()> {
        let (mut keys, mut names) =
            (Vec::with_capacity(6 * users.len()), Vec::with_capacity(2 * users.len()));
        for (no, user) in users {
            let of_user = |key: SearchKey| Some((*no, key, key.stored(key.value(&user.user)?)));
            keys.extend(SearchKey::all().filter_map(of_user));
            names.extend(user.names.iter().map(|name| (*no, name)));
        }
        self.insert(&KEYS, &keys, |query, (no, key, k)| {
            query.bind(*no).bind(*key as i64).bind(pool.no).bind(&k[..])
        })
        .await?;
        self.insert(&NAMES, &names, |query, (no, name)| {
            query.bind(pool.no).bind(&name.name[..]).bind(*no).bind(name.kind as i64)
        })
        .await
    }

    async fn add_identities(&mut self, users: &[(i64, &BulkUser)]) -> Result<()> {
        let mut rows = Vec::new();
        for (_, BulkUser { user, .. }) in users {
            for identity in user.stored_accounts() {
                let profile = user.profiles.get(&identity.provider);
                let attributes = profile.map(|profile| json(&profile.attributes)).transpose()?;
                let groups = profile.map(|profile| json(&profile.groups)).transpose()?;
                rows.push((user, identity, attributes, groups));
            }
        }
        self.insert(&IDENTITIES, &rows, |query, (user, identity, attributes, groups)| {
            let query = query.bind(&user.pool_id).bind(&identity.issuer).bind(&identity.subject);
            let query = query.bind(&user.id).bind(&identity.provider).bind(user.created_at.millis());
            query.bind(i64::from(identity.saml)).bind(attributes.as_deref()).bind(groups.as_deref())
        })
        .await
    }

    async fn add_passwords(&mut self, users: &[(i64, &BulkUser)], entropy: &dyn Entropy) -> Result<()> {
        let mut rows = Vec::new();
        for (no, user) in users {
            if let Some(password) = &user.password {
                rows.push((*no, passwords::sealed(&self.ring, *no, password, entropy), password));
            }
        }
        self.insert(&PASSWORDS, &rows, |query, (no, sealed, password)| {
            let query = query.bind(*no).bind(&sealed[..]).bind(password.set_at.millis());
            query.bind(passwords::stored_expiry(password))
        })
        .await
    }

    async fn add_factors(&mut self, users: &[(i64, &BulkUser)], entropy: &dyn Entropy) -> Result<()> {
        let mut rows = Vec::new();
        for (no, user) in users {
            if let Some(of) = &user.factors {
                rows.push((*no, factors::stored(&self.ring, *no, of, entropy)));
            }
        }
        self.insert(&FACTORS, &rows, |query, (no, (token, pending, enabled, preferred))| {
            let query = query.bind(*no).bind(&token[..]).bind(&pending[..]).bind(0_i64);
            query.bind(&**enabled).bind(*preferred)
        })
        .await
    }

    async fn insert<T>(
        &mut self,
        insert: &'static Insert,
        rows: &[T],
        bind: impl Fn(Statement<'static>, &T) -> Statement<'static>,
    ) -> Result<()> {
        for (text, part) in insert.parts(rows) {
            let query = part.iter().fold(sqlx::query(text), &bind);
            query.execute(&mut *self.inner).await?;
        }
        Ok(())
    }

    async fn rows<T>(
        &mut self,
        lookup: &'static ListLookup,
        before: impl Fn(Statement<'static>) -> Statement<'static>,
        values: &[T],
        bind: impl Fn(Statement<'static>, &T) -> Statement<'static>,
    ) -> Result<Vec<AnyRow>> {
        let mut rows = Vec::new();
        for (text, part) in lookup.parts(values) {
            let query = part.into_iter().fold(before(sqlx::query(text)), &bind);
            rows.extend(query.fetch_all(&mut *self.inner).await?);
        }
        Ok(rows)
    }
}

type Statement<'q> = Query<'q, Any, AnyArguments>;

impl Store {
    /// Returns the sorted group names of each of these users.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn groups_of_users(&self, users: &[i64]) -> Result<HashMap<i64, Vec<String>>> {
        let mut groups: HashMap<i64, Vec<String>> = HashMap::new();
        for row in self.of_users(&GROUPS_OF_USERS, users).await? {
            groups.entry(row.try_get("user_no")?).or_default().push(row.try_get("name")?);
        }
        groups.values_mut().for_each(|names| names.sort());
        Ok(groups)
    }

    /// Returns the passwords of these users.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn passwords_of_users(&self, users: &[i64]) -> Result<HashMap<i64, StoredPassword>> {
        let rows = self.of_users(&PASSWORDS_OF_USERS, users).await?;
        let read = |row: &AnyRow| {
            let no: i64 = row.try_get("user_no")?;
            Ok((no, passwords::read(&self.ring, no, row)?))
        };
        rows.iter().map(read).collect()
    }

    /// Returns the second factors of these users, with the secrets of their software tokens.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn factors_of_users(&self, users: &[i64]) -> Result<HashMap<i64, StoredFactors>> {
        let rows = self.of_users(&FACTORS_OF_USERS, users).await?;
        let read = |row: &AnyRow| {
            let no: i64 = row.try_get("user_no")?;
            Ok((no, factors::read(&self.ring, no, row)?))
        };
        rows.iter().map(read).collect()
    }

    async fn of_users(&self, lookup: &'static ListLookup, users: &[i64]) -> Result<Vec<AnyRow>> {
        within_deadline(async {
            let mut rows = Vec::new();
            for (text, part) in lookup.parts(users) {
                let query = part.into_iter().fold(sqlx::query(text), |query, no| query.bind(*no));
                rows.extend(query.fetch_all(&self.pool).await?);
            }
            Ok(rows)
        })
        .await
    }
}

/// Returns the SQL of the look-ups, so that a test can check their query plans.
pub fn bulk_lookups() -> impl Iterator<Item = &'static str> {
    let texts = |lookup: &'static ListLookup| lookup.parts(&[()]).next().map(|(text, _)| text);
    let lookups: [&'static ListLookup; 8] = [
        &TAKEN_NAMES,
        &TAKEN_IDS,
        &TAKEN_USERNAMES,
        &TAKEN_SUBJECTS,
        &GROUPS,
        &GROUPS_OF_USERS,
        &PASSWORDS_OF_USERS,
        &FACTORS_OF_USERS,
    ];
    lookups.into_iter().filter_map(texts).chain([USED_NUMBER])
}
