//! `narthex users reset-password`: a code for a new password, or a temporary password.

use super::build::CommandError;
use super::output::{on_one_line, say};
use super::user_admin::{Name, failed, open_pool};
use super::users::ring;
use crate::base::{Entropy, SystemClock, SystemEntropy};
use crate::catalogue::{Catalogue, CatalogueCell};
use crate::config::Config;
use crate::directory::{Administration, Directory, DirectoryDeps, HasherSettings};
use crate::trigger::ClientData;
use clap::Args;
use std::sync::Arc;

/// The options of the command.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    user: Name,
    /// Sets a temporary password and prints it, in the place of a message with a code
    #[arg(long)]
    print: bool,
}

/// Invalidates the password of a user, and ends all sessions and tokens. A running node sends the
/// message with the code.
///
/// # Errors
/// Returns an error if there is no such user, the user cannot set a password, or the database
/// fails.
pub async fn reset(arguments: Arguments) -> Result<(), CommandError> {
    const COMMAND: &str = "narthex users reset-password";
    let Arguments { user: Name { user: name, pool }, print } = arguments;
    let config = Config::load(&pool.config, &|name| std::env::var(name).ok())?;
    let (store, pool) = open_pool(&pool).await?;
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let ring = ring(&config)?;
    let catalogue = Catalogue::build(config, &store, &*entropy, 1).await;
    let catalogue = catalogue.map_err(|error| CommandError::new("the configuration", error))?;
    let keeps_verifiers = store.keeps_verifiers(pool.no).await;
    let keeps_verifiers = keeps_verifiers.map_err(|error| CommandError::new("the store", error))?;
    let deps = DirectoryDeps {
        store: store.clone(),
        ring,
        clock: Arc::new(SystemClock),
        entropy,
        catalogue: Arc::new(CatalogueCell::new(catalogue)),
    };
    let directory = Directory::start(deps, HasherSettings::default());
    let directory = directory.map_err(|error| CommandError::new("the threads that hash passwords", error))?;
    let accounts = &directory.accounts;
    let administration = Administration { pool: &pool, keeps_verifiers, data: ClientData::default() };
    let done = match print {
        true => {
            let set = accounts.admin_generate_password(administration, &name).await;
            set.map(|password| format!("temporary password: {}", password.expose()))
        }
        false => {
            let reset = accounts.admin_reset_password(administration, &name).await;
            reset.map(|delivery| format!("a code is sent to {}", delivery.destination))
        }
    };
    store.close().await;
    say!("{}", on_one_line(&done.map_err(|error| failed(COMMAND, error))?));
    Ok(())
}
