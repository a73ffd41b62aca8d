//! `narthex run --emulate` in a process of its own, and its clients.

use super::aws::Boto;
use super::orders::Orders;
use super::process::{parties, wait_until};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// An emulator that has printed its banner.
pub struct Emulator {
    child: Child,
    folder: tempfile::TempDir,
    /// The port of its listener.
    pub port: u16,
    /// How long it took from the start of the process to the banner.
    pub started_in: Duration,
}

impl Emulator {
    /// Starts one on a free port with these options, in an empty folder.
    pub fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let out = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
        let begun = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(["run", "--emulate", "--port", "0"])
            .args(options)
            .stdin(Stdio::null())
            .current_dir(folder.path())
            // Where its store is.
            .env("TMPDIR", folder.path())
            .stdout(out("out"))
            .stderr(out("err"))
            .spawn()
            .unwrap();
        let mut emulator = Self { child, folder, port: 0, started_in: Duration::ZERO };
        wait_until("the banner", || emulator.said().contains("Stop with"));
        emulator.started_in = begun.elapsed();
        let said = emulator.said();
        let port = said.split("http://localhost:").nth(1).unwrap();
        emulator.port = port.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
        emulator
    }

    /// Returns what it printed on the terminal.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out")).unwrap()
    }

    /// Returns the address without a path.
    pub fn origin(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Returns the names of its folders of state.
    pub fn states(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("narthex-emulator-")).collect()
    }

    /// Ends it as Ctrl-C does.
    pub fn stop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            drop(Command::new("kill").arg(self.child.id().to_string()).status());
            drop(self.child.wait());
        }
    }

    /// boto3 with any access key, in a region.
    pub fn boto(&self, region: &str) -> Boto {
        Boto::of_endpoint(&self.origin(), ("anykey", "anysecret"), region)
    }

    /// A library for JavaScript in Node; see `libraries::client`.
    pub fn library(&self, library: &str, pool_id: &str, client_id: &str) -> Orders {
        let config = json!({
            "endpoint": format!("{}/", self.origin()),
            "poolId": pool_id,
            "clientId": client_id,
            "region": "us-east-1",
        });
        Orders::node("cognito-client.mjs", &[library, &config.to_string()], Path::new("/dev/null"))
    }

    /// Sends a request with these headers; returns status and body.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut command = Command::new("curl");
        command.args(["--silent", "--max-time", "30", "--request", method, "--write-out", "\n%{http_code}"]);
        for (name, value) in headers {
            command.args(["--header", &format!("{name}: {value}")]);
        }
        if !body.is_empty() {
            command.args(["--data-binary", "@-"]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).arg(format!("{}{path}", self.origin()));
        let mut curl = command.spawn().unwrap();
        // An answer may come before the end of the body.
        drop(curl.stdin.take().unwrap().write_all(body.as_bytes()));
        let output = curl.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// Returns the messages to a recipient.
    pub fn messages(&self, to: &str) -> Vec<Value> {
        let path = format!("/.narthex/emulator/messages?to={}", to.replace('+', "%2B"));
        let (status, body) = self.send("GET", &path, &[], "");
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        body["messages"].as_array().unwrap().clone()
    }

    /// Returns the newest code for a recipient.
    pub fn code(&self, to: &str) -> String {
        let messages = self.messages(to);
        let newest = messages.last().unwrap_or_else(|| panic!("no message to {to}"));
        newest["code"].as_str().unwrap_or_else(|| panic!("{newest}")).to_owned()
    }

    /// Deletes everything.
    pub fn reset(&self) {
        assert_eq!(self.send("POST", "/.narthex/emulator/reset", &[], "").0, 200);
    }

    /// Runs a script for `sh`, with the programs in a folder before others.
    pub fn shell(&self, programs: &Path, script: &str) -> Output {
        let path = std::env::var("PATH").unwrap();
        Command::new("sh")
            .args(["-euc", script])
            .env("PATH", format!("{}:{path}", programs.display()))
            .output()
            .unwrap()
    }

    /// Runs a module of JavaScript, which finds the packages of the tests.
    pub fn node(&self, module: &str, environment: &[(&str, &str)]) -> Output {
        Command::new("node")
            .current_dir(parties())
            .args(["--input-type=module", "--eval", module])
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop();
    }
}
