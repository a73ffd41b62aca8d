//! A process that does what lines of JSON say, and answers each with a line.

use super::process::parties;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running process.
pub struct Orders {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Orders {
    /// A program in Node that trusts the authority in this file.
    pub fn node(program: &str, arguments: &[&str], authority: &Path) -> Self {
        let mut command = Command::new("node");
        command.arg(parties().join(program)).args(arguments).env("NODE_EXTRA_CA_CERTS", authority);
        Self::start(command)
    }

    /// A program in Python, with the packages of the tests. It takes this machine for all names
    /// below `localhost`.
    pub fn python(program: &str, arguments: &[&str]) -> Self {
        Self::python_at(program, arguments, "127.0.0.1")
    }

    /// The same with another address for these names.
    pub fn python_at(program: &str, arguments: &[&str], address: &str) -> Self {
        let mut command = Command::new(parties().join("venv/bin/python"));
        command.arg(parties().join(program)).args(arguments).env("PYTHONUTF8", "1");
        command.env("PYTHONPATH", parties()).env("LOCALHOST_ADDRESS", address);
        Self::start(command)
    }

    /// A program that was built with the parties.
    pub fn program(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(parties().join(name));
        command.args(arguments);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, orders, answers }
    }

    /// The answer to an order.
    pub fn ask(&mut self, order: &Value) -> Value {
        writeln!(self.orders, "{order}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{order}: {line}"))
    }

    /// The result of an order, which succeeds.
    pub fn done(&mut self, order: Value) -> Value {
        let answer = self.ask(&order);
        answer.get("ok").unwrap_or_else(|| panic!("{order}: {answer}")).clone()
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
