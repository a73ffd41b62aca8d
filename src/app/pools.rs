//! `narthex pools list` and `show`, and the user pools of the configuration file.

use super::build::CommandError;
use super::output::{on_one_line, say};
use super::users::open;
use crate::base::{Entropy, Timestamp};
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::directory::DirectoryError;
use crate::directory::pools::{self, FilePool};
use crate::model::{Pool, PoolSource, SignInAttribute};
use crate::store::{Counter, Store, StoreError};
use clap::Subcommand;
use std::path::{Path, PathBuf};

/// Maximum number of rows in one read.
const PAGE: u32 = 100;

/// A command on user pools.
#[derive(Subcommand)]
pub enum Command {
    /// Lists the user pools, in the order of creation
    List {
        /// Prints a JSON object per pool
        #[arg(long)]
        json: bool,
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = super::commands::DEFAULT_FILE)]
        config: PathBuf,
    },
    /// Shows a user pool: settings, app clients, domains, resource servers and providers
    Show {
        /// The name or the id of a user pool
        #[arg(value_name = "NAME_OR_ID")]
        pool: String,
        /// Prints a JSON object
        #[arg(long)]
        json: bool,
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = super::commands::DEFAULT_FILE)]
        config: PathBuf,
    },
}

/// Runs a command.
///
/// # Errors
/// Returns an error if there is no such pool, or the database fails.
pub async fn run(command: Command) -> Result<(), CommandError> {
    let failed = |error: StoreError| CommandError::new("the store", error);
    match command {
        Command::List { json, config } => {
            let store = open_store(&config).await?;
            each_pool(&store, |pool| match json {
                true => say!("{}", json_of(pool)),
                false => say!("{}", line_of(pool)),
            })
            .await
            .map_err(failed)?;
            store.close().await;
        }
        Command::Show { pool, json, config } => {
            let store = open_store(&config).await?;
            let pool = find(&store, &pool).await?;
            let parts = Parts::read(&store, &pool).await.map_err(failed)?;
            store.close().await;
            match json {
                true => say!("{}", parts.json(&pool)),
                false => parts.print(&pool),
            }
        }
    }
    Ok(())
}

/// Writes the user pools of the configuration file to the database. Logs the pools that the file no
/// longer declares.
///
/// # Errors
/// Returns the message of a rejection with its remedy, or the error of the database.
pub(super) async fn write_file_pools(
    catalogue: &Catalogue,
    store: &Store,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<(), String> {
    let written = pools::write_file_pools(store, &FilePool::all(catalogue), now, entropy).await;
    let released = written.map_err(|error| match error {
        DirectoryError::Store(error) => error.to_string(),
        refused => refused.message().to_owned(),
    })?;
    for pool in released {
        tracing::info!(
            target: "audit",
            event = "user_pool_released",
            pool = pool.id,
            name = pool.settings.name,
            "the file no longer declares a user pool; it stays with its users, and the API may change it"
        );
    }
    Ok(())
}

async fn open_store(config: &Path) -> Result<Store, CommandError> {
    open(&Config::load(config, &|name| std::env::var(name).ok())?).await
}

/// Calls `visit` for each pool in use.
async fn each_pool(store: &Store, mut visit: impl FnMut(&Pool)) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let pools = store.live_pools(after, PAGE).await?;
        pools.iter().for_each(&mut visit);
        match pools.last() {
            Some(last) => after = last.no,
            None => return Ok(()),
        }
    }
}

/// Returns the pool with this id, or the only one with this name.
async fn find(store: &Store, name: &str) -> Result<Pool, CommandError> {
    const COMMAND: &str = "narthex pools show";
    let mut named = Vec::new();
    let read = each_pool(store, |pool| {
        if pool.id == name || pool.settings.name == name {
            named.push(pool.clone());
        }
    });
    read.await.map_err(|error| CommandError::new("the store", error))?;
    if let Some(exact) = named.iter().position(|pool| pool.id == name) {
        return Ok(named.swap_remove(exact));
    }
    match named.len() {
        1 => Ok(named.remove(0)),
        0 => {
            let name = on_one_line(name);
            let why =
                format!("no user pool has the name or the id `{name}`\n  help: see `narthex pools list`");
            Err(CommandError::new(COMMAND, why))
        }
        _ => {
            let ids: Vec<_> = named.iter().map(|pool| pool.id.as_str()).collect();
            let name = on_one_line(name);
            let why =
                format!("several user pools have the name `{name}`\n  help: give an id: {}", ids.join(", "));
            Err(CommandError::new(COMMAND, why))
        }
    }
}

/// The contents of a pool, for the output.
struct Parts {
    users: i64,
    groups: i64,
    /// Ids and names.
    clients: Vec<(String, String)>,
    domains: Vec<String>,
    resource_servers: Vec<String>,
    /// Names and kinds.
    providers: Vec<(String, &'static str)>,
}

impl Parts {
    async fn read(store: &Store, pool: &Pool) -> Result<Self, StoreError> {
        let mut clients: Vec<(String, String)> = Vec::new();
        loop {
            let after = clients.last().map_or("", |(id, _)| id);
            let page = store.app_clients(pool.no, after, PAGE).await?;
            if page.is_empty() {
                break;
            }
            clients.extend(page.into_iter().map(|client| (client.id, client.settings.name)));
        }
        let domains = store.pool_domains(pool.no, PAGE).await?;
        let servers = store.resource_servers(pool.no, "", PAGE).await?;
        Ok(Self {
            users: store.counter(pool.no, Counter::Users).await?,
            groups: store.counter(pool.no, Counter::Groups).await?,
            clients,
            domains: domains.into_iter().map(|domain| domain.domain).collect(),
            resource_servers: servers.into_iter().map(|server| server.identifier).collect(),
            providers: store.identity_provider_kinds(pool.no).await?,
        })
    }

    fn json(&self, pool: &Pool) -> serde_json::Value {
        let mut json = json_of(pool);
        json["settings"] = serde_json::json!(pool.settings);
        json["users"] = self.users.into();
        json["groups"] = self.groups.into();
        let named = |(id, name): &(String, String)| serde_json::json!({ "id": id, "name": name });
        json["clients"] = self.clients.iter().map(named).collect();
        json["domains"] = self.domains.iter().map(String::as_str).collect();
        json["resource_servers"] = self.resource_servers.iter().map(String::as_str).collect();
        let kind = |(name, kind): &(String, &str)| serde_json::json!({ "name": name, "type": kind });
        json["providers"] = self.providers.iter().map(kind).collect();
        json
    }

    fn print(&self, pool: &Pool) {
        let sign_in = &pool.settings.sign_in;
        let names = |of: &[SignInAttribute]| {
            of.iter().map(|attribute| attribute.name()).collect::<Vec<_>>().join(", ")
        };
        let by = match (&*sign_in.username_attributes, &*sign_in.alias_attributes) {
            ([], []) => "user name".to_owned(),
            ([], aliases) => format!("user name, {}", names(aliases)),
            (attributes, _) => names(attributes),
        };
        say!("{}", line_of(pool));
        say!("  users: {}", self.users);
        say!("  groups: {}", self.groups);
        say!("  sign-in by: {by}");
        say!("  sign-up: {}", if pool.settings.only_administrators_create { "no" } else { "yes" });
        for (id, name) in &self.clients {
            say!("  app client: {id}  {}", on_one_line(name));
        }
        self.domains.iter().for_each(|domain| say!("  domain: {domain}"));
        self.resource_servers.iter().for_each(|server| say!("  resource server: {}", on_one_line(server)));
        for (name, kind) in &self.providers {
            say!("  identity provider: {}  {kind}", on_one_line(name));
        }
    }
}

fn source_of(pool: &Pool) -> &'static str {
    match pool.source {
        PoolSource::File => "file",
        PoolSource::Api => "API",
    }
}

fn line_of(pool: &Pool) -> String {
    on_one_line(&format!("{}  {}  {}", pool.id, source_of(pool), pool.settings.name))
}

fn json_of(pool: &Pool) -> serde_json::Value {
    serde_json::json!({
        "id": pool.id,
        "name": pool.settings.name,
        "source": source_of(pool),
        "created_at": pool.created_at.seconds(),
        "updated_at": pool.updated_at.seconds(),
    })
}
