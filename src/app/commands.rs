//! The command line.

use super::explain::{self, Arguments, Expectation, SubjectArg};
use super::output::{complain, say};
use super::reference::Page;
use super::{cases, check, load, run, saml, users};
use crate::config;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Where the configuration is looked for.
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
    /// Serves what the configuration says; without a configuration, a demo on this machine
    Run {
        /// The configuration [default: narthex.toml, where there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The port of the demo
        #[arg(long, value_name = "PORT", default_value_t = 8443, conflicts_with = "config")]
        demo_port: u16,
        /// Takes the place of the Narthex that runs with this configuration, which ends what it has begun
        #[arg(long, conflicts_with = "demo_port")]
        upgrade: bool,
    },
    /// Checks the configuration, store, listeners, certificates, providers and upstreams, and prints what to register where
    Check {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
        /// Fails where there are warnings, too
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
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
        /// The cases: a JSON array
        file: PathBuf,
    },
    /// Tells what becomes of somebody's request, and why: route, role, and each statement
    Explain {
        #[command(flatten)]
        who: Who,
        /// The provider that they come through, where that is not plain
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
        /// What else is known of the request, as in aws:SourceIp=192.0.2.7; several times, if need be
        #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
        context: Vec<(String, String)>,
        /// Tells it as JSON
        #[arg(long)]
        json: bool,
        /// Fails where the decision is another one
        #[arg(long, value_name = "DECISION")]
        expect: Option<Expectation>,
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
        /// The method
        method: String,
        /// The address, as it stands in the browser
        url: String,
    },
    /// Loads a server at growing rates, and tells how much it bears
    #[command(after_help = load::HELP)]
    Load(Box<load::Arguments>),
    /// What an administrator does with users
    #[command(subcommand)]
    Users(Users),
    /// Rotates the key and the certificate by which SAML providers know Narthex
    #[command(subcommand)]
    Saml(saml::Command),
}

/// Whose request it is.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Who {
    /// A user: by user name, `sub` or verified e-mail address
    #[arg(long, value_name = "WHO")]
    user: Option<String>,
    /// Whoever a provider says this of: a JSON object with its claims
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    /// Whoever a token speaks for: a provider's id token, or an assertion of Narthex's; - reads it from standard input
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// Whoever is not signed in
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

fn key_and_value(text: &str) -> Result<(String, String), String> {
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
    /// Has the provider accounts of one user sign in as another, who is the same person
    Link {
        /// The user that stays: a user name, an e-mail address, or a `sub`
        destination: String,
        /// The user whose accounts go over, and who is gone then
        source: String,
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
    },
    /// Takes a provider account from a user: it signs in as a user of its own again
    Unlink {
        /// A user name, an e-mail address, or a `sub`
        who: String,
        /// The provider's name in the file
        provider: String,
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
    },
    /// Ends every session of a person, on every node
    SignOut {
        /// A user name, an e-mail address, or a `sub`
        who: String,
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
    },
}

/// Runs the program.
pub fn main() -> ExitCode {
    // pingora would install another one, and the first to be installed stays.
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
            Command::Run { config, demo_port, upgrade } => {
                let file = config.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()));
                match file {
                    Some(file) => run::serve_file(file, upgrade).await,
                    None => run::serve_demo(demo_port).await,
                }
            }
            Command::Check { config, strict } => check::check(&config, strict).await,
            Command::Config(document) => {
                let text = match document {
                    ConfigCommand::Schema => config::schema(),
                    ConfigCommand::Reference => config::reference(),
                };
                say!("{}", text.trim_end());
                Ok(())
            }
            Command::Reference { page } => {
                say!("{}", page.text(Cli::command()).trim_end());
                Ok(())
            }
            Command::Cases { config, file } => cases::run(&config, &file).await,
            Command::Explain { who, provider, context, json, expect, config, method, url } => {
                let arguments = Arguments { who: who.into(), provider, context, method, url };
                explain::explain(&config, arguments, json, expect).await
            }
            Command::Load(arguments) => load::load(*arguments).await,
            Command::Users(Users::Link { destination, source, config }) => {
                users::link(&config, &destination, &source).await
            }
            Command::Users(Users::Unlink { who, provider, config }) => {
                users::unlink(&config, &who, &provider).await
            }
            Command::Saml(command) => saml::run(command).await,
            Command::Users(Users::SignOut { who, config }) => users::sign_out(&config, &who).await,
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
