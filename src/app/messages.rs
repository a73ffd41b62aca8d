//! `narthex messages`: messages that could not be sent, and a test message.

use super::build::CommandError;
use super::output::{on_one_line, say};
use super::users::open;
use crate::base::{Clock as _, SystemClock, SystemEntropy};
use crate::broker::utc;
use crate::config::Config;
use crate::message::{self, SendError};
use crate::store::DeadMessage;
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;

/// The maximum number of listed messages.
const MAX_LISTED: u32 = 1000;

/// Subcommands of `narthex messages`.
#[derive(Subcommand)]
pub enum Command {
    /// Lists messages that were refused for good, until their codes expire
    List {
        /// Prints JSON
        #[arg(long)]
        json: bool,
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = super::commands::DEFAULT_FILE)]
        config: PathBuf,
    },
    /// Sends such a message again
    Retry {
        /// The id that the list has
        id: String,
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = super::commands::DEFAULT_FILE)]
        config: PathBuf,
    },
    /// Deletes such a message
    Drop {
        /// The id that the list has
        id: String,
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = super::commands::DEFAULT_FILE)]
        config: PathBuf,
    },
    /// Sends a test e-mail at once
    Test {
        /// The recipient
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = super::commands::DEFAULT_FILE)]
        config: PathBuf,
    },
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the file is invalid, there is no such message, or the database or the server
/// fails.
pub async fn run(command: Command) -> Result<(), CommandError> {
    let (Command::List { config, .. }
    | Command::Retry { config, .. }
    | Command::Drop { config, .. }
    | Command::Test { config, .. }) = &command;
    let config = Config::load(config, &|name| std::env::var(name).ok())?;
    if let Command::Test { to, .. } = &command {
        return send_test(&config, to).await;
    }
    let store = open(&config).await?;
    let failed = |error: crate::store::StoreError| CommandError::new("the store", error);
    let found = match &command {
        Command::List { json, .. } => {
            list(&store.dead_messages(MAX_LISTED).await.map_err(failed)?, *json);
            None
        }
        Command::Retry { id, .. } => {
            let now = store.time().await.map_err(failed)?;
            Some((id, store.retry_dead_message(id, now).await.map_err(failed)?, "is sent again"))
        }
        Command::Drop { id, .. } => {
            Some((id, store.drop_dead_message(id).await.map_err(failed)?, "is deleted"))
        }
        Command::Test { .. } => None,
    };
    store.close().await;
    match found {
        Some((id, false, _)) => Err(CommandError::new(
            "narthex messages",
            format!("no message that was refused has the id `{id}`\n  help: see narthex messages list"),
        )),
        Some((id, true, what)) => {
            say!("{id} {what}");
            Ok(())
        }
        None => Ok(()),
    }
}

fn list(messages: &[DeadMessage], json: bool) {
    if json {
        let object = |message: &DeadMessage| {
            json!({
                "id": message.id,
                "pool": message.pool,
                "channel": message.channel,
                "event": message.event,
                "attempts": message.attempts,
                "created_at": utc(message.created_at),
                "expires_at": utc(message.expires_at),
                "failure": message.failure,
            })
        };
        let list: Vec<_> = messages.iter().map(object).collect();
        say!("{:#}", serde_json::Value::Array(list));
        return;
    }
    for message in messages {
        let (id, channel, event) = (&message.id, &message.channel, &message.event);
        say!("{id}  {}  {channel}  {event}  {}", utc(message.created_at), on_one_line(&message.failure));
    }
    if messages.is_empty() {
        say!("no messages were refused");
    }
}

async fn send_test(config: &Config, to: &str) -> Result<(), CommandError> {
    const COMMAND: &str = "narthex messages test";
    let Some(mail) = &config.mail else {
        return Err(CommandError::new(COMMAND, "there is no [mail]\n  help: add it to the configuration"));
    };
    match message::send_test(mail, to, SystemClock.now(), &SystemEntropy).await {
        Ok(true) => say!("the server accepted the message"),
        Ok(false) => say!("`smtp = \"log\"` sends nothing: messages are printed in the log of narthex run"),
        Err(error) => return Err(CommandError::new(COMMAND, explain(&error))),
    }
    Ok(())
}

fn explain(error: &SendError) -> String {
    match error {
        SendError::Unavailable(why) => format!("the server cannot be used: {why}"),
        SendError::Postponed(why) => format!("the server does not accept the message now: {why}"),
        SendError::Rejected(why) => format!("the server refuses the message: {why}"),
        SendError::Doubtful(_) | SendError::LeaseLost => error.to_string(),
    }
}
