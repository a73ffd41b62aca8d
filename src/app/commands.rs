//! The command line.

use super::build::CommandError;
use super::explain::{self, Arguments, Expectation, SubjectArg};
use super::output::{complain, say};
use super::reference::Page;
use super::user_import::PoolArg;
use super::{cases, check, emulate, load, messages, pools, run, saml, trigger, user_admin, users};
use crate::config;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// The default configuration file.
pub(super) const DEFAULT_FILE: &str = "narthex.toml";

#[derive(Parser)]
#[command(
    name = "narthex",
    version,
    about = "Single sign-on in front of existing web apps",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts the server; without a configuration, a local demo; with --emulate, Cognito for tests
    Run {
        /// The configuration file [default: narthex.toml, if it exists]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The port of the demo
        #[arg(long, value_name = "PORT", default_value_t = 8443, conflicts_with = "config")]
        demo_port: u16,
        /// Replaces the running process with this configuration, which finishes its requests
        #[arg(long, conflicts_with = "demo_port")]
        upgrade: bool,
        /// Emulates Cognito user pools on this machine, for tests: any access key, and an empty
        /// store that is deleted at the end
        #[arg(long, conflicts_with_all = ["config", "demo_port", "upgrade"])]
        emulate: bool,
        #[command(flatten)]
        emulator: Box<emulate::Options>,
    },
    /// Checks the configuration, store, listeners, certificates, providers and upstreams, and
    /// prints what to register where
    Check {
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
        /// Fails on warnings, too
        #[arg(long)]
        strict: bool,
    },
    /// Prints documents about the configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prints a reference page of the documentation
    #[command(hide = true)]
    Reference {
        /// The page
        page: Page,
    },
    /// Checks the decisions that a file of cases expects
    Cases {
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
        /// The cases: a JSON array
        file: PathBuf,
    },
    /// Explains the access decision for a request: route, role, and each statement
    Explain {
        #[command(flatten)]
        who: Who,
        /// The user's provider, if ambiguous
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
        /// A condition key's value, as in aws:SourceIp=192.0.2.7; may be repeated
        #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
        context: Vec<(String, String)>,
        /// Prints JSON
        #[arg(long)]
        json: bool,
        /// Fails if the decision differs
        #[arg(long, value_name = "DECISION")]
        expect: Option<Expectation>,
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
        /// The method
        method: String,
        /// The URL
        url: String,
    },
    /// Measures the maximum request rate of a server
    #[command(after_help = load::HELP)]
    Load(Box<load::Arguments>),
    /// Manages users
    #[command(subcommand)]
    Users(Users),
    /// Lists and shows user pools
    #[command(subcommand)]
    Pools(pools::Command),
    /// Manages e-mail and text messages that could not be sent
    #[command(subcommand)]
    Messages(messages::Command),
    /// Rotates the key and certificate for SAML providers
    #[command(subcommand)]
    Saml(saml::Command),
    /// Calls a function of user pools by hand
    #[command(subcommand)]
    Trigger(trigger::Command),
}

/// The principal of the request.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Who {
    /// A user: by user name, `sub` or verified e-mail address
    #[arg(long, value_name = "WHO")]
    user: Option<String>,
    /// A user with these claims from a provider: a JSON object
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    /// The subject of a token: a provider's ID token, or an assertion of Narthex; - reads standard
    /// input
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// A guest
    #[arg(long)]
    guest: bool,
}

impl From<Who> for SubjectArg {
    fn from(who: Who) -> Self {
        match who {
            Who { user: Some(user), .. } => Self::User(user),
            Who { claims: Some(file), .. } => Self::Claims(file),
            Who { token: Some(file), .. } => Self::Token(file),
            _ => Self::Guest,
        }
    }
}

pub(super) fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Prints the JSON Schema of the configuration file, which editors use
    Schema,
    /// Prints the reference page of the configuration file, in Markdown
    Reference,
}

#[derive(Subcommand)]
enum Users {
    #[command(flatten)]
    Admin(user_admin::Command),
    /// Links the provider accounts of one user to another user
    Link {
        /// The remaining user: a user name, an e-mail address, or a `sub`
        destination: String,
        /// The user whose accounts are moved; it is deleted
        source: String,
        #[command(flatten)]
        pool: PoolArg,
    },
    /// Unlinks a provider account from a user; the account then signs in as a separate user
    Unlink {
        /// A user name, an e-mail address, or a `sub`
        who: String,
        /// The provider's name in the configuration
        provider: String,
        #[command(flatten)]
        pool: PoolArg,
    },
    /// Ends every session of a user, on every node
    SignOut {
        /// A user name, an e-mail address, or a `sub`
        who: String,
        #[command(flatten)]
        pool: PoolArg,
    },
}

/// Prints a document.
fn print(text: &str) -> Result<(), CommandError> {
    say!("{}", text.trim_end());
    Ok(())
}

/// Runs the program.
pub fn main() -> ExitCode {
    // pingora would install another provider; the first one installed remains.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let cli = Cli::parse();
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("narthex").build() {
            Ok(runtime) => runtime,
            Err(error) => {
                complain!("narthex: no threads could be started: {error}");
                return ExitCode::FAILURE;
            }
        };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Run { emulate: true, emulator, .. } => emulate::serve(*emulator).await,
            Command::Run { config, demo_port, upgrade, .. } => {
                let file = config.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()));
                match file {
                    Some(file) => run::serve_file(file, upgrade).await,
                    None => run::serve_demo(demo_port).await,
                }
            }
            Command::Check { config, strict } => check::check(&config, strict).await,
            Command::Config(ConfigCommand::Schema) => print(&config::schema()),
            Command::Config(ConfigCommand::Reference) => print(&config::reference()),
            Command::Reference { page } => print(&page.text(Cli::command())),
            Command::Cases { config, file } => cases::run(&config, &file).await,
            Command::Explain { who, provider, context, json, expect, config, method, url } => {
                let arguments = Arguments { who: who.into(), provider, context, method, url };
                explain::explain(&config, arguments, json, expect).await
            }
            Command::Load(arguments) => load::load(*arguments).await,
            Command::Users(Users::Admin(command)) => user_admin::run(command).await,
            Command::Users(Users::Link { destination, source, pool }) => {
                users::link(&pool, &destination, &source).await
            }
            Command::Users(Users::Unlink { who, provider, pool }) => {
                users::unlink(&pool, &who, &provider).await
            }
            Command::Pools(command) => pools::run(command).await,
            Command::Messages(command) => messages::run(command).await,
            Command::Saml(command) => saml::run(command).await,
            Command::Trigger(command) => trigger::run(command).await,
            Command::Users(Users::SignOut { who, pool }) => users::sign_out(&pool, &who).await,
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn the_committed_reference_pages_are_current() {
        for page in Page::value_variants() {
            let name = page.to_possible_value().unwrap().get_name().to_owned();
            let file = format!("docs/src/reference/{name}.md");
            let committed = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
            let update = format!("help: run `cargo run -- reference {name} > {file}`");
            let current = std::fs::read_to_string(committed).unwrap_or_default() == page.text(Cli::command());
            assert!(current, "`{file}` differs from the program\n{update}");
        }
    }
}
