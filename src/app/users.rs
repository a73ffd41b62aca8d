//! `narthex users`: user management on the command line.

use super::build::CommandError;
use super::master_key;
use super::output::say;
use super::user_admin::open_pool;
use super::user_import::PoolArg;
use crate::base::{Clock as _, KeyRing, SystemClock, SystemEntropy};
use crate::config::Config;
use crate::directory::{self, LinkError};
use crate::model::{Pool, User};
use crate::store::{Store, StoreError};
use std::sync::Arc;

/// Ends every session and every token of the user `who`: a user name, a `sub`, or an e-mail
/// address. Running nodes apply this within two seconds.
///
/// # Errors
/// Returns an error if there is no such user or the database fails.
pub async fn sign_out(pool: &PoolArg, who: &str) -> Result<(), CommandError> {
    let (store, pool) = open_named(pool).await?;
    let pool = pool.as_ref();
    let failed = |error: StoreError| CommandError::new("the store", error);
    let entropy = SystemEntropy;
    let ended = store
        .transaction(|tx| {
            let entropy = &entropy;
            Box::pin(async move {
                let mut ended = Vec::new();
                for user in of_pool(pool, tx.users_named(who).await?) {
                    let sessions = tx.sessions_of(&user.id).await?.len();
                    directory::sign_out_everywhere(tx, &user, SystemClock.now(), entropy).await?;
                    ended.push((user, sessions));
                }
                Ok(ended)
            })
        })
        .await
        .map_err(failed)?;
    store.close().await;
    if ended.is_empty() {
        return Err(CommandError::new("narthex users sign-out", no_such_user(who)));
    }
    for (user, sessions) in ended {
        say!("{}: {sessions} session(s) ended", user.username);
    }
    Ok(())
}

/// Links the provider accounts of `source` to `destination`; deletes `source` and its sessions.
///
/// # Errors
/// Returns an error if a name is unknown or ambiguous, the users cannot be linked, or the database
/// fails.
pub async fn link(pool: &PoolArg, destination: &str, source: &str) -> Result<(), CommandError> {
    const COMMAND: &str = "narthex users link";
    let (store, pool) = open_named(pool).await?;
    let pool = pool.as_ref();
    let (now, entropy) = (SystemClock.now(), SystemEntropy);
    let linked = store
        .transaction(|tx| {
            let entropy = &entropy;
            Box::pin(async move {
                let (to, from) = (tx.users_named(destination).await?, tx.users_named(source).await?);
                let (to, from) = (of_pool(pool, to), of_pool(pool, from));
                match (only(destination, to), only(source, from)) {
                    (Ok(to), Ok(from)) => {
                        let linked = directory::link(tx, &to, &from, now, entropy).await?;
                        Ok(linked.map(|user| (user, from.username)).map_err(|error| words(&error)))
                    }
                    (Err(why), _) | (_, Err(why)) => Ok(Err(why)),
                }
            })
        })
        .await
        .map_err(|error| CommandError::new("the store", error))?;
    store.close().await;
    let (user, removed) = linked.map_err(|why| CommandError::new(COMMAND, why))?;
    print_user(&user);
    say!("deleted {removed}");
    Ok(())
}

/// Unlinks the account of `provider` from a user. The next sign-in with it creates a separate user.
///
/// # Errors
/// Returns an error if `who` is unknown or ambiguous, has no such account, or the database fails.
pub async fn unlink(pool: &PoolArg, who: &str, provider: &str) -> Result<(), CommandError> {
    const COMMAND: &str = "narthex users unlink";
    let (store, pool) = open_named(pool).await?;
    let pool = pool.as_ref();
    let (now, entropy) = (SystemClock.now(), SystemEntropy);
    let left = store
        .transaction(|tx| {
            let entropy = &entropy;
            Box::pin(async move {
                match only(who, of_pool(pool, tx.users_named(who).await?)) {
                    Ok(user) => {
                        let left = directory::unlink(tx, &user, provider, now, entropy).await?;
                        Ok(left.map_err(|error| words(&error)))
                    }
                    Err(why) => Ok(Err(why)),
                }
            })
        })
        .await
        .map_err(|error| CommandError::new("the store", error))?;
    store.close().await;
    print_user(&left.map_err(|why| CommandError::new(COMMAND, why))?);
    Ok(())
}

/// Opens the database, and the pool if the command names one.
async fn open_named(pool: &PoolArg) -> Result<(Store, Option<Pool>), CommandError> {
    match pool.pool {
        Some(_) => open_pool(pool).await.map(|(store, pool)| (store, Some(pool))),
        None => Ok((open(&Config::load(&pool.config, &|name| std::env::var(name).ok())?).await?, None)),
    }
}

/// Returns the users of a pool; all of them without one.
fn of_pool(pool: Option<&Pool>, users: Vec<User>) -> Vec<User> {
    users.into_iter().filter(|user| pool.is_none_or(|pool| pool.id == user.pool_id)).collect()
}

/// Returns the only user with this name, in any pool. An unverified e-mail address identifies no
/// one.
pub(super) fn only(who: &str, mut users: Vec<User>) -> Result<User, String> {
    let is_exact = |user: &User| user.id == who || user.username == who;
    match users.iter().any(is_exact) {
        true => users.retain(is_exact),
        false => users.retain(User::email_verified),
    }
    match users.len() {
        0 => Err(no_such_user(who)),
        1 => Ok(users.remove(0)),
        _ => {
            let name =
                |user: &User| format!("  {} ({}) of the pool {}", user.username, user.id, user.pool_id);
            let names: Vec<_> = users.iter().map(name).collect();
            let help = "help: give a user name or a `sub` of these";
            Err(format!("several users are called \"{who}\":\n{}\n  {help}", names.join("\n")))
        }
    }
}

fn no_such_user(who: &str) -> String {
    format!(
        "no user is called \"{who}\"\n  help: give a user name, a `sub` or a verified e-mail address, as the audit log has them"
    )
}

fn words(error: &LinkError) -> String {
    match error {
        LinkError::Same => "both are the same user already".to_owned(),
        LinkError::Disabled => "one of them is disabled\n  help: enable it first".to_owned(),
        LinkError::SameProvider(provider) => format!(
            "both have an account of {provider}, and a user has one of each provider\n  help: unlink one of them first"
        ),
        LinkError::NoAccount => {
            "the user has no account of this provider\n  help: give the provider's name, as the file has it"
                .to_owned()
        }
        LinkError::LocalSource => {
            "the second user is no provider's user, and would lose the password\n  help: name that user first"
                .to_owned()
        }
        LinkError::Unconfirmed => {
            "the first user has not confirmed the sign-up\n  help: confirm it first".to_owned()
        }
        LinkError::TooMany => {
            "a user has at most five linked accounts\n  help: unlink one of them first".to_owned()
        }
        LinkError::NamedAfter => {
            "the user is named after this account, which stays\n  help: unlink the other accounts instead"
                .to_owned()
        }
    }
}

fn print_user(user: &User) {
    let accounts: Vec<_> = user.identities.iter().map(|identity| identity.provider.as_str()).collect();
    let accounts = if accounts.is_empty() { vec!["password"] } else { accounts };
    say!("{}: signs in by {}", user.username, accounts.join(", "));
}

/// Returns the encryption keys of a deployment.
pub(super) fn ring(config: &Config) -> Result<Arc<KeyRing>, CommandError> {
    let master = master_key::open(&config.store, &SystemEntropy)
        .map_err(|e| CommandError::new("the master key", e))?;
    Ok(Arc::new(KeyRing::new(&master)))
}

/// Opens the database of a deployment, for a command that changes it.
pub(super) async fn open(config: &Config) -> Result<Store, CommandError> {
    let store = Store::open(&config.store.url, ring(config)?).await;
    store.map_err(|error| CommandError::new("the store", error))
}
