//! `narthex users list`, `show`, `create`, `disable`, `enable` and `delete`; import and export are
//! in separate files.

use super::build::CommandError;
use super::offline;
use super::output::{on_one_line, say};
use super::user_import::{self, PoolArg};
use super::users::open;
use super::{user_export, user_password};
use crate::base::{Clock as _, KeyRing, SystemClock, SystemEntropy};
use crate::catalogue::Ids;
use crate::config::Config;
use crate::directory::{self, DirectoryError, ErrorKind, NewUser, Origin, PageRequest, Takeover, UsersQuery};
use crate::model::{Pool, PoolState, User, UserStatus};
use crate::store::{CheckedWork, Lookup, Store, StoreError, Tx};
use clap::{Args, Subcommand};

/// The command, in errors.
const COMMAND: &str = "narthex users";
/// Maximum number of users in one page of the directory.
const PAGE: u32 = 60;

/// A command on the users of a user pool.
#[derive(Subcommand)]
pub enum Command {
    /// Lists users
    List {
        /// A condition: `email ^= "a"`, `cognito:user_status = "CONFIRMED"`, `status = "Disabled"`
        #[arg(long, value_name = "FILTER")]
        filter: Option<String>,
        /// Maximum number of users
        #[arg(long, value_name = "COUNT", default_value_t = 60)]
        limit: usize,
        /// Prints a JSON object per user
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        pool: PoolArg,
    },
    /// Shows a user with all attributes
    Show {
        #[command(flatten)]
        user: Name,
        /// Prints a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Creates a confirmed user without a password
    Create {
        #[command(flatten)]
        user: Name,
        /// An attribute, such as `email=a@b.example`; may be repeated
        #[arg(long, value_name = "NAME=VALUE", value_parser = super::commands::key_and_value)]
        attribute: Vec<(String, String)>,
    },
    /// Disables a user and ends all sessions, on every node
    Disable(Name),
    /// Enables a user
    Enable(Name),
    /// Deletes a user and everything that is stored of the user
    Delete(Name),
    /// Removes every second factor of a user, who has lost a device
    RemoveFactors(Name),
    /// Voids the password of a user, and sends a code for a new one
    ResetPassword(user_password::Arguments),
    /// Imports users and groups; a row that fails changes nothing, and the others are imported
    Import(user_import::Arguments),
    /// Exports users and groups as JSON lines, which `import` reads
    Export(user_export::Arguments),
    /// Prints the header of a CSV file for `import`
    CsvHeader(PoolArg),
}

/// A user of a user pool.
#[derive(Args)]
pub struct Name {
    /// A user name, an alias, or a `sub`
    pub(super) user: String,
    #[command(flatten)]
    pub(super) pool: PoolArg,
}

/// Runs a command.
///
/// # Errors
/// Returns an error if there is no such user, the directory rejects the operation, or the database
/// fails.
pub async fn run(command: Command) -> Result<(), CommandError> {
    let (user, operation) = match command {
        Command::List { filter, limit, json, pool } => {
            return list(&pool, filter.as_deref().unwrap_or_default(), limit, json).await;
        }
        Command::ResetPassword(arguments) => return user_password::reset(arguments).await,
        Command::Import(arguments) => return user_import::import(arguments).await,
        Command::Export(arguments) => return user_export::export(arguments).await,
        Command::CsvHeader(pool) => return user_import::csv_header(pool).await,
        Command::Show { user, json } => (user, Operation::Show { json }),
        Command::Create { user, attribute } => (user, Operation::Create(attribute)),
        Command::Disable(user) => (user, Operation::SetEnabled(false)),
        Command::Enable(user) => (user, Operation::SetEnabled(true)),
        Command::Delete(user) => (user, Operation::Delete),
        Command::RemoveFactors(user) => (user, Operation::RemoveFactors),
    };
    let Name { user: name, pool } = user;
    let (store, pool) = open_pool(&pool).await?;
    let (pool, operation, name) = (&pool, &operation, name.as_str());
    let done = store
        .checked_transaction(|tx| -> CheckedWork<'_, _, _> {
            Box::pin(async move { operation.run(tx, pool, name).await })
        })
        .await;
    store.close().await;
    let user = done.map_err(|error| failed(COMMAND, error))?;
    match operation {
        Operation::Show { json: true } => say!("{}", json_of(&user)),
        Operation::Show { json: false } => show(&user),
        Operation::RemoveFactors => say!("{}: second factors removed", on_one_line(&user.username)),
        Operation::Delete => say!("deleted {}", on_one_line(&user.username)),
        _ => say!("{}", line_of(&user)),
    }
    Ok(())
}

enum Operation {
    Show { json: bool },
    Create(Vec<(String, String)>),
    SetEnabled(bool),
    Delete,
    RemoveFactors,
}

impl Operation {
    async fn run(&self, tx: &mut Tx<'_>, pool: &Pool, name: &str) -> Result<User, DirectoryError> {
        let (now, entropy) = (SystemClock.now(), &SystemEntropy);
        if let Self::Create(attributes) = self {
            let new = NewUser {
                username: name.to_owned(),
                attributes: attributes.iter().map(|(name, value)| (name, value)).collect(),
                status: UserStatus::Confirmed,
                origin: Origin::Administrator,
                takeover: Takeover::Refuse,
            };
            return directory::create_user(tx, pool, &new, now, entropy).await;
        }
        let user = tx.find_user(pool, name, Lookup::Administrator).await?;
        let user = user.ok_or(ErrorKind::UserNotFound)?;
        match self {
            Self::SetEnabled(enabled) => directory::set_enabled(tx, &user, *enabled, now, entropy).await,
            Self::Delete => directory::delete_user(tx, &user, now, entropy).await.map(|()| user),
            Self::RemoveFactors => {
                tx.remove_factors(user.no).await?;
                Ok(user)
            }
            Self::Show { .. } | Self::Create(_) => Ok(user),
        }
    }
}

async fn list(pool: &PoolArg, filter: &str, limit: usize, json: bool) -> Result<(), CommandError> {
    let (store, pool) = open_pool(pool).await?;
    // Only this process reads the page tokens, so a random key suffices.
    let ring = KeyRing::new(&crate::base::MasterKey::random(&SystemEntropy));
    let (mut left, mut token) = (limit, None::<String>);
    while left > 0 {
        let wanted = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
        let page = PageRequest { limit: Some(wanted), token: token.as_deref() };
        let query = UsersQuery { filter, page };
        let page = directory::list_users(&store, &ring, &pool, query, SystemClock.now(), &SystemEntropy)
            .await
            .map_err(|error| failed(COMMAND, error))?;
        for user in &page.entries {
            match json {
                true => say!("{}", json_of(user)),
                false => say!("{}", line_of(user)),
            }
        }
        left -= page.entries.len().min(left);
        token = page.token;
        if token.is_none() {
            break;
        }
    }
    store.close().await;
    Ok(())
}

/// Opens the database of a deployment and the user pool: the name of a pool of the configuration,
/// or the id of any pool. By default, the first pool of the configuration. Indexes the users of an
/// older version.
pub(super) async fn open_pool(pool: &PoolArg) -> Result<(Store, Pool), CommandError> {
    let named = pool.pool.as_deref();
    let config = Config::load(&pool.config, &|name| std::env::var(name).ok())?;
    let store = open(&config).await?;
    let ids = offline::ids(&config, Some(&store)).await.map_err(store_failed)?;
    let own = ids.pool.pool;
    let further = config.further_user_pools.iter().zip(&ids.further_pools);
    let mut pools =
        std::iter::once((&config.user_pool, &own)).chain(further.map(|(of, ids)| (of, &ids.pool)));
    let by_name = named.and_then(|named| pools.find(|(pool, _)| pool.name == named));
    let id = by_name.map(|(_, id)| id.as_str()).or(named);
    let is_own = id.is_none_or(|id| id == own);
    if Ids::is_unknown(id.unwrap_or(&own)) {
        let why = "the user pool does not exist yet\n  help: start this deployment once";
        return Err(CommandError::new(COMMAND, why));
    }
    let (now, entropy, own) = (SystemClock.now(), &SystemEntropy, own.as_str());
    let pool = match id.filter(|_| !is_own) {
        Some(id) => store.pool(id).await.map_err(store_failed)?.filter(|pool| pool.state == PoolState::Live),
        None => {
            let added = store
                .transaction(|tx| Box::pin(async move { tx.get_or_add_pool(own, now, entropy).await }))
                .await;
            Some(added.map_err(store_failed)?)
        }
    };
    let Some(pool) = pool else {
        let id = on_one_line(named.unwrap_or_default());
        let why =
            format!("there is no user pool `{id}`\n  help: leave out `--pool` for the first of the file");
        return Err(CommandError::new(COMMAND, why));
    };
    directory::index_users(&store, u32::MAX, now, entropy).await.map_err(store_failed)?;
    Ok((store, pool))
}

fn store_failed(error: StoreError) -> CommandError {
    CommandError::new("the store", error)
}

/// Returns the command's error for an error of the directory.
pub(super) fn failed(command: &str, error: DirectoryError) -> CommandError {
    match error {
        DirectoryError::Store(error) => CommandError::new("the store", error),
        refused => CommandError::new(command, on_one_line(refused.to_string().trim_end())),
    }
}

fn line_of(user: &User) -> String {
    let enabled = if user.enabled { "enabled" } else { "disabled" };
    let email = user.email().unwrap_or_default();
    let line = format!("{}  {}  {enabled}  {email}", user.username, user.status.name());
    on_one_line(line.trim_end())
}

fn json_of(user: &User) -> serde_json::Value {
    serde_json::json!({
        "username": user.username,
        "sub": user.id,
        "status": user.status.name(),
        "enabled": user.enabled,
        "attributes": user.attributes,
        "providers": user.identities.iter().map(|account| &account.provider).collect::<Vec<_>>(),
        "created_at": user.created_at.seconds(),
        "updated_at": user.updated_at.seconds(),
    })
}

fn show(user: &User) {
    say!("{}", line_of(user));
    say!("  sub: {}", user.id);
    for (name, value) in user.attributes.iter() {
        say!("  {}: {}", on_one_line(name), on_one_line(value));
    }
    for account in &user.identities {
        say!("  signs in by {}", on_one_line(&account.provider));
    }
    for link in user.waiting_links() {
        let (provider, attribute) = (on_one_line(&link.provider), on_one_line(&link.attribute));
        say!("  linked to the account of {provider} whose {attribute} is {}", on_one_line(&link.value));
    }
}
