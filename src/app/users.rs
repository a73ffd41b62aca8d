//! `narthex users`: what an administrator does with users, from the machine's own command line.

use super::build::Fatal;
use super::master_key;
use crate::base::{Clock as _, KeyRing, SystemClock, SystemEntropy};
use crate::config::Config;
use crate::store::{Store, StoreError};
use std::path::Path;
use std::sync::Arc;

/// Ends every session of whom `who` names: by user name, by `sub`, or by e-mail address. Running nodes
/// hear of it within two seconds.
///
/// # Errors
/// Where nobody has that name, or the store does not answer.
pub async fn sign_out(file: &Path, who: &str) -> Result<(), Fatal> {
    let config = Config::load(file, &|name| std::env::var(name).ok())?;
    let store = open(&config).await?;
    let failed = |error: StoreError| Fatal::new("the store", error);
    let (now, entropy) = (SystemClock.now(), SystemEntropy);
    let ended = store
        .transaction(|tx| {
            let entropy = &entropy;
            Box::pin(async move {
                let mut ended = Vec::new();
                for user in tx.users_named(who).await? {
                    let sessions = tx.sessions_of(&user.id).await?;
                    for session in &sessions {
                        tx.end_session(&session.id, now, entropy).await?;
                    }
                    ended.push((user, sessions.len()));
                }
                Ok(ended)
            })
        })
        .await
        .map_err(failed)?;
    store.close().await;
    if ended.is_empty() {
        return Err(Fatal::new(
            "narthex users sign-out",
            format!(
                "nobody is called \"{who}\"\n  mend: give a user name, an e-mail address or a `sub`, as the audit log has them"
            ),
        ));
    }
    for (user, sessions) in ended {
        println!("{}: {sessions} session(s) ended", user.username);
    }
    Ok(())
}

async fn open(config: &Config) -> Result<Store, Fatal> {
    let master =
        master_key::open(&config.store, &SystemEntropy).map_err(|e| Fatal::new("the master key", e))?;
    Store::open(&config.store.url, Arc::new(KeyRing::new(&master)))
        .await
        .map_err(|error| Fatal::new("the store cannot be opened", error))
}
