//! Export of a pool's groups and users as JSON lines, which an import reads. A page at a time is in
//! memory.

use super::error::DirectoryError;
use super::factors::token_text;
use super::import::VERSION;
use crate::base::Timestamp;
use crate::model::{Pool, User, UserGroup};
use crate::store::{MAX_LISTED_USERS, Store, StoreError, StoredFactors, StoredPassword, UserList};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Groups of one page.
const GROUPS_AT_ONCE: u32 = 500;

/// How much is exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportCounts {
    /// Groups.
    pub groups: u64,
    /// Users.
    pub users: u64,
}

/// Why an export ended.
#[derive(Debug)]
pub enum ExportError {
    /// The output cannot be written.
    Write(io::Error),
    /// The database failed.
    Directory(DirectoryError),
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Directory(error.into())
    }
}

impl std::fmt::Display for ExportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write(error) => write!(f, "cannot write the output: {error}"),
            Self::Directory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ExportError {}

/// Writes the groups and users of `pool`, the users' password hashes and second factors only with
/// `passwords`. Recovery codes are left out, because their digests belong to this database.
/// Verifiers for Secure Remote Password hold the pool's id and are left out: the first sign-in with
/// a password makes another one.
///
/// A user who is created or changed meanwhile may be written as before.
///
/// # Errors
/// Returns an error if the database or the output fails.
pub async fn export_users(
    store: &Store,
    pool: &Pool,
    passwords: bool,
    output: &mut dyn Write,
    report: &mut dyn FnMut(&ExportCounts),
) -> Result<ExportCounts, ExportError> {
    let mut counts = ExportCounts::default();
    writeln!(output, "{}", json!({ "kind": "format", "version": VERSION, "pool": pool.id }))?;
    let mut after = i64::MIN;
    loop {
        let groups = store.groups(pool.no, after, GROUPS_AT_ONCE).await?;
        let Some(last) = groups.last() else { break };
        after = last.no;
        for group in &groups {
            writeln!(output, "{}", Value::Object(line_of_group(group)))?;
        }
        counts.groups += groups.len() as u64;
    }
    let mut after = None;
    loop {
        let page = store.list_users((&pool.id, pool.no), &UserList::All, after.as_ref(), MAX_LISTED_USERS);
        let page = page.await?;
        let numbers: Vec<i64> = page.iter().map(|(_, user)| user.no).collect();
        let mut groups = store.groups_of_users(&numbers).await?;
        let mut hashes = match passwords {
            true => store.passwords_of_users(&numbers).await?,
            false => Default::default(),
        };
        let mut factors = match passwords {
            true => store.factors_of_users(&numbers).await?,
            false => Default::default(),
        };
        for (_, user) in &page {
            let groups = groups.remove(&user.no).unwrap_or_default();
            let secrets = (hashes.remove(&user.no), factors.remove(&user.no));
            let line = line_of_user(user, &groups, secrets)?;
            writeln!(output, "{}", Value::Object(line))?;
        }
        counts.users += page.len() as u64;
        report(&counts);
        match page.into_iter().next_back() {
            Some((position, _)) => after = Some(position),
            None => break,
        }
    }
    output.flush()?;
    Ok(counts)
}

fn line_of_group(group: &UserGroup) -> Map<String, Value> {
    let mut line = object(json!({ "kind": "group", "name": group.name }));
    for (name, text) in [("description", &group.description), ("role", &group.role)] {
        if !text.is_empty() {
            line.insert(name.to_owned(), text.as_str().into());
        }
    }
    if let Some(precedence) = group.precedence {
        line.insert("precedence".to_owned(), precedence.into());
    }
    line
}

fn line_of_user(
    user: &User,
    groups: &[String],
    (password, factors): (Option<StoredPassword>, Option<StoredFactors>),
) -> Result<Map<String, Value>, ExportError> {
    let mut line = object(json!({
        "kind": "user",
        "username": user.username,
        "sub": user.id,
        "attributes": user.attributes,
        "status": user.status.name(),
        "enabled": user.enabled,
        "created_at": seconds(user.created_at),
        "updated_at": seconds(user.updated_at),
    }));
    let mut add = |name: &str, value: Value| line.insert(name.to_owned(), value);
    if !groups.is_empty() {
        add("groups", json!(groups));
    }
    if !user.groups.is_empty() {
        add("provider_groups", json!(user.groups));
    }
    let accounts = user.stored_accounts();
    if !accounts.is_empty() {
        let identities = accounts.iter().map(|identity| {
            let mut line = json!({
                "issuer": identity.issuer,
                "subject": identity.subject,
                "provider": identity.provider,
                "saml": identity.saml,
            });
            if let Some(profile) = user.profiles.get(&identity.provider) {
                line["attributes"] = json!(profile.attributes);
                line["groups"] = json!(profile.groups);
            }
            line
        });
        add("identities", identities.collect());
    }
    if let Some(password) = password {
        let hash = std::str::from_utf8(&password.hash)
            .map_err(|_| StoreError::Corrupt("passwords.sealed: no password hash".to_owned()))?;
        let mut line = json!({ "hash": hash, "set_at": seconds(password.set_at) });
        if let Some(expires_at) = password.expires_at {
            line["expires_at"] = seconds(expires_at);
        }
        add("password", line);
    }
    if let Some(factors) = factors {
        add("factors", factors_of_line(&factors));
    }
    Ok(line)
}

/// Returns the second factors as a line has them: the names of Cognito's API, and the secret in
/// base32.
fn factors_of_line(of: &StoredFactors) -> Value {
    let enabled: Vec<_> = of.factors.enabled.iter().map(|factor| factor.name()).collect();
    let mut line = json!({ "enabled": enabled });
    if let Some(preferred) = of.factors.preferred {
        line["preferred"] = preferred.name().into();
    }
    if let Some(secret) = &of.token {
        line["software_token"] = token_text(secret).expose().into();
    }
    line
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// Returns a time as seconds since 1970, with milliseconds as decimals.
fn seconds(time: Timestamp) -> Value {
    match time.millis() % 1000 {
        0 => time.seconds().into(),
        _ => (time.millis() as f64 / 1000.0).into(),
    }
}
