//! `narthex trigger`: a function is sent an event by hand.

use super::build::CommandError;
use super::output::{on_one_line, say};
use crate::base::{SystemClock, SystemEntropy, read_text, uuid};
use crate::config::Config;
use crate::trigger::{check_answer, send};
use clap::Subcommand;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The maximum size of a file with an event.
const MAX_EVENT_BYTES: u64 = 256 * 1024;
const COMMAND: &str = "narthex trigger test";

/// Subcommands of `narthex trigger`.
#[derive(Subcommand)]
pub enum Command {
    /// Sends an event to a function, and explains its answer
    Test {
        /// The name of a function in the configuration
        name: String,
        /// The event: a JSON object, as the function gets it
        #[arg(long, value_name = "FILE")]
        event: PathBuf,
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = super::commands::DEFAULT_FILE)]
        config: PathBuf,
    },
}

/// Runs the command.
///
/// # Errors
/// Returns an error if a file is invalid, or the function refuses or gives no valid answer.
pub async fn run(command: Command) -> Result<(), CommandError> {
    let Command::Test { name, event, config } = command;
    let config = Config::load(&config, &|name| std::env::var(name).ok())?;
    let Some(trigger) = config.triggers.iter().find(|trigger| trigger.name == name) else {
        let known: Vec<&str> = config.triggers.iter().map(|trigger| trigger.name.as_str()).collect();
        let help = match &known[..] {
            [] => "help: add a [[trigger]] to the configuration".to_owned(),
            known => format!("help: the file has {}", known.join(", ")),
        };
        return Err(CommandError::new(COMMAND, format!("no [[trigger]] is named `{name}`\n  {help}")));
    };
    let (source, body) = read_event(&event)?;
    say!("sends {source} to {}", trigger.url);
    let begun = Instant::now();
    let answer = send(trigger, &uuid(&SystemEntropy), body.as_bytes(), &SystemClock).await;
    let failed = |why: String| CommandError::new(COMMAND, on_one_line(&why));
    let answer = answer.map_err(failed)?;
    say!("answered after {} ms with {} bytes", begun.elapsed().as_millis(), answer.len());
    check_answer(&source, &answer).map_err(failed)?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    say!("the answer is valid: response = {}", on_one_line(&answer["response"].to_string()));
    Ok(())
}

/// Returns the `triggerSource` and the text of an event.
fn read_event(file: &Path) -> Result<(String, String), CommandError> {
    let doing = format!("the event in {}", file.display());
    let failed = |why: String| CommandError::new(&doing, why);
    let text = read_text(file, MAX_EVENT_BYTES).map_err(|error| failed(error.to_string()))?;
    let event: Value = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    match event["triggerSource"].as_str() {
        Some(source) => Ok((source.to_owned(), text)),
        None => Err(failed(
            "`triggerSource` is missing\n  help: add \"triggerSource\": \"PreSignUp_SignUp\"".to_owned(),
        )),
    }
}
