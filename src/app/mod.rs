//! The program: commands, construction, reload, background tasks, telemetry, the demo, and the
//! emulator.

mod admin;
mod audit;
mod build;
mod cases;
mod check;
mod commands;
mod demo;
mod emulate;
mod environment;
mod explain;
mod handover;
mod housekeeping;
mod lint;
mod load;
mod log_writer;
mod master_key;
mod messages;
mod nodes;
mod notify;
mod offline;
mod output;
mod pools;
mod progress;
mod reference;
mod reload;
mod run;
mod saml;
mod telemetry;
mod trigger;
mod user_admin;
mod user_export;
mod user_import;
mod user_password;
mod users;

pub use commands::main;
