//! What of a batch is taken: by users in the database, or by earlier rows of the file.

use super::row::ImportedUser;
use crate::base::sha256;
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::groups::too_many_groups_of_user;
use crate::directory::names::{SUB_LENGTH, Stage, conflict};
use crate::model::{Identity, NameKind, Pool, SignInName, User};
use crate::store::Tx;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Maximum names that a dry run remembers, of half a million users: about 70 MiB.
const MAX_REMEMBERED: usize = 2_000_000;

/// What the database has of the names of a batch.
#[derive(Default)]
pub struct Lookup {
    names: HashSet<Vec<u8>>,
    /// Ids with their pools.
    ids: HashMap<String, String>,
    usernames: HashSet<String>,
    /// Issuers and subjects.
    accounts: HashSet<(String, String)>,
    groups: HashMap<String, i64>,
}

impl Lookup {
    /// Looks everything of a batch up.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn read(tx: &mut Tx<'_>, pool: &Pool, users: &[&ImportedUser]) -> Outcome<Self> {
        let stored = || users.iter().map(|user| &user.stored);
        let subs: Vec<Vec<u8>> = stored().map(|user| pool.stored_name(&user.user.id)).collect();
        let names: Vec<&[u8]> = stored()
            .flat_map(|user| &user.names)
            .map(|name| &name.name[..])
            .chain(subs.iter().map(|sub| &sub[..]))
            .collect();
        let ids: Vec<&str> = stored()
            .flat_map(|user| user.names.iter().filter_map(sub_of).chain([user.user.id.as_str()]))
            .collect();
        let usernames: Vec<&str> = stored().map(|user| user.user.username.as_str()).collect();
        let groups: Vec<&str> = users.iter().flat_map(|user| &user.groups).map(String::as_str).collect();
        let mut accounts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let all: Vec<Identity> = stored().flat_map(|user| user.user.stored_accounts()).collect();
        for identity in &all {
            accounts.entry(&identity.issuer).or_default().push(&identity.subject);
        }
        let mut found = Self {
            names: tx.taken_names(pool.no, &distinct(names)).await?.into_iter().collect(),
            ids: tx.taken_ids(&distinct(ids)).await?.into_iter().collect(),
            usernames: tx.taken_usernames(&pool.id, &distinct(usernames)).await?.into_iter().collect(),
            accounts: HashSet::new(),
            groups: tx.group_numbers(pool.no, &distinct(groups)).await?,
        };
        for (issuer, subjects) in accounts {
            let taken = tx.taken_subjects(&pool.id, issuer, &distinct(subjects)).await?;
            found.accounts.extend(taken.into_iter().map(|subject| (issuer.to_owned(), subject)));
        }
        Ok(found)
    }
}

fn distinct<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort();
    values.dedup();
    values
}

/// Returns the name as a `sub`, if it can be one.
fn sub_of(name: &SignInName) -> Option<&str> {
    std::str::from_utf8(&name.name).ok().filter(|text| text.len() == SUB_LENGTH)
}

/// What the rows before have taken: those of the batch, or of the whole file in a dry run.
#[derive(Default)]
pub struct Claims {
    taken: HashSet<[u8; 16]>,
    /// Groups that a dry run would have created.
    pub groups: HashSet<String>,
}

impl Claims {
    /// Returns whether further rows are remembered.
    pub fn is_full(&self) -> bool {
        self.taken.len() > MAX_REMEMBERED
    }

    /// Checks that everything of a user is free, and takes it. Returns the numbers of the user's
    /// groups.
    ///
    /// # Errors
    /// Returns the error that the creation of the user alone would have.
    pub fn take(&mut self, pool: &Pool, imported: &ImportedUser, found: &Lookup) -> Outcome<Vec<i64>> {
        let user = &imported.stored.user;
        let (id, username) = (key("id", user.id.as_bytes()), key("username", user.username.as_bytes()));
        if found.ids.contains_key(&user.id) || self.taken.contains(&id) {
            return Err(DirectoryError::new(ErrorKind::UsernameExists, "A user with this `sub` exists."));
        }
        let names = &imported.stored.names;
        for name in names {
            if self.is_sub_of_another(pool, name, user, found)
                || found.names.contains(&name.name)
                || self.taken.contains(&key("name", &name.name))
            {
                return Err(conflict(name.kind, Stage::AdminCreate, pool));
            }
        }
        let sub = pool.stored_name(&user.id);
        if !names.iter().any(|name| name.name == sub)
            && (found.names.contains(&sub) || self.taken.contains(&key("name", &sub)))
        {
            let words = "The `sub` is the sign-in name of another user.";
            return Err(DirectoryError::new(ErrorKind::UsernameExists, words));
        }
        if found.usernames.contains(&user.username) || self.taken.contains(&username) {
            return Err(conflict(NameKind::Username, Stage::AdminCreate, pool));
        }
        let accounts = self.check_accounts(user, found)?;
        let groups = self.check_groups(pool, &imported.groups, found)?;
        if !self.is_full() {
            self.taken.extend([id, username]);
            self.taken.extend(names.iter().map(|name| key("name", &name.name)));
            self.taken.extend(accounts);
        }
        Ok(groups)
    }

    /// Returns whether a name is the `sub` of another user, which would hide that user from
    /// administrators.
    fn is_sub_of_another(&self, pool: &Pool, name: &SignInName, user: &User, found: &Lookup) -> bool {
        let Some(sub) = sub_of(name).filter(|sub| *sub != user.id) else { return false };
        found.ids.get(sub) == Some(&pool.id) || self.taken.contains(&key("id", sub.as_bytes()))
    }

    fn check_accounts(&self, user: &User, found: &Lookup) -> Outcome<Vec<[u8; 16]>> {
        let mut keys = Vec::with_capacity(user.identities.len());
        for identity in user.stored_accounts() {
            let account = (identity.issuer, identity.subject);
            let key = key("account", format!("{}\0{}", account.0, account.1).as_bytes());
            if found.accounts.contains(&account) || self.taken.contains(&key) {
                let words = "An identity signs in as another user.";
                return Err(DirectoryError::new(ErrorKind::AliasExists, words));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    fn check_groups(&self, pool: &Pool, names: &[String], found: &Lookup) -> Outcome<Vec<i64>> {
        if names.len() > usize::try_from(pool.settings.quotas.groups_of_user).unwrap_or(usize::MAX) {
            return Err(too_many_groups_of_user());
        }
        let number = |name: &String| match found.groups.get(name) {
            Some(number) => Ok(*number),
            None if self.groups.contains(name) => Ok(0),
            None => {
                let kind = ErrorKind::GroupNotFound;
                Err(DirectoryError::new(kind, format!("groups: the group `{name}` does not exist.")))
            }
        };
        names.iter().map(number).collect()
    }
}

/// Returns a short digest of a name of some kind.
fn key(kind: &str, name: &[u8]) -> [u8; 16] {
    let digest = sha256([kind.as_bytes(), &[0], name].concat());
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}
