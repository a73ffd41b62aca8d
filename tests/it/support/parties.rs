//! The parties that many tests share: providers, PostgreSQL, a WebDriver.

use super::process::{Party, free_port, wait_for_port, wait_until};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// An OpenID Certified provider of its own.
pub struct OpenIdProvider {
    pub name: &'static str,
    pub port: u16,
    _party: Party,
}

impl OpenIdProvider {
    /// Starts one that sends browsers back to `redirect_uri`.
    pub fn start(name: &'static str, redirect_uri: &str) -> Self {
        Self::start_on(name, free_port(), redirect_uri)
    }

    /// Starts a provider whose access tokens are valid for `seconds`, and can be renewed.
    pub fn start_with_token_lifetime(name: &'static str, redirect_uri: &str, seconds: u32) -> Self {
        let port = free_port();
        let arguments = [&port.to_string(), redirect_uri, name, &seconds.to_string()];
        Self { name, port, _party: Party::node("oidc-provider.mjs", &arguments) }
    }

    /// Sends a command to the provider's test endpoint, and returns its answer.
    pub async fn test_command(&self, what: &str) -> String {
        let url = format!("http://127.0.0.1:{}/test/{what}", self.port);
        reqwest::get(url).await.unwrap().text().await.unwrap()
    }

    /// How often it did something.
    pub async fn count(&self, what: &str) -> u64 {
        let counts: serde_json::Value = serde_json::from_str(&self.test_command("counts").await).unwrap();
        counts[what].as_u64().unwrap()
    }

    /// The same on a given port.
    pub fn start_on(name: &'static str, port: u16, redirect_uri: &str) -> Self {
        let party = Party::node("oidc-provider.mjs", &[&port.to_string(), redirect_uri, name]);
        Self { name, port, _party: party }
    }

    /// The `[[provider]]` that speaks of it.
    pub fn toml(&self, allow: &str) -> String {
        provider_toml(self.name, self.port, allow)
    }
}

/// A `[[provider]]` of an OpenID provider on `port`.
pub fn provider_toml(name: &str, port: u16, allow: &str) -> String {
    format!(
        "[[provider]]\nname = \"{name}\"\ntype = \"oidc\"\nissuer = \"http://127.0.0.1:{port}\"\n\
         client_id = \"narthex\"\nclient_secret = \"{name}-secret-0123456789abcdef0123456789\"\nallow = {allow}\n\n"
    )
}

/// A PostgreSQL server for all tests.
pub struct Postgres {
    port: u16,
    party: Option<Party>,
    folder: tempfile::TempDir,
}

static DATABASES: AtomicU32 = AtomicU32::new(0);

impl Postgres {
    /// The server, started at the first call.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One of a test's own.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (bin, port) = (binaries(), free_port());
        let data = folder.path().join("data");
        if is_root() {
            assert!(Command::new("chown").arg("postgres").arg(folder.path()).status().unwrap().success());
        }
        let run_as = run_as();
        let init = Command::new(run_as[0])
            .args(&run_as[1..])
            .arg(bin.join("initdb"))
            .args(["--auth=trust", "--no-sync", "--username=narthex", "--encoding=UTF8", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(init.success(), "initdb failed");
        let mut server = Self { port, party: None, folder };
        server.restart();
        server
    }

    /// Starts it again on the same data.
    pub fn restart(&mut self) {
        let run_as = run_as();
        let (port, home) = (self.port.to_string(), self.folder.path().display().to_string());
        let (data, postgres) = (format!("{home}/data"), binaries().join("postgres").display().to_string());
        let mut arguments: Vec<&str> = run_as[1..].to_vec();
        arguments.extend([&*postgres, "-D", &data, "-p", &port, "-h", "127.0.0.1", "-k", &home]);
        arguments.extend(["-c", "fsync=off", "-c", "max_connections=200"]);
        self.party = Some(Party::start(run_as[0], &arguments));
        wait_for_port(self.port);
        wait_until("PostgreSQL", || self.sql("SELECT 1"));
    }

    /// Stops it without a farewell, as a machine that fails does.
    pub fn stop(&mut self) {
        self.signal("QUIT");
        wait_until("PostgreSQL to be gone", || !self.folder.path().join("data/postmaster.pid").exists());
        self.party = None;
    }

    /// Sends a signal to the server and every process of its.
    pub fn signal(&self, name: &str) {
        let file = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap();
        let server = file.lines().next().unwrap();
        let children = Command::new("pgrep").args(["-P", server]).output().unwrap().stdout;
        let children = String::from_utf8(children).unwrap();
        let all: Vec<&str> = match name {
            // The server itself sees to its children's end.
            "QUIT" => vec![server],
            _ => std::iter::once(server).chain(children.split_whitespace()).collect(),
        };
        assert!(Command::new("kill").arg(format!("-{name}")).args(all).status().unwrap().success());
    }

    fn sql(&self, sql: &str) -> bool {
        let url = format!("postgres://narthex@127.0.0.1:{}/postgres", self.port);
        let psql = Command::new(binaries().join("psql")).args(["-qc", sql, &url]).output().unwrap();
        psql.status.success()
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("narthex_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        assert!(self.sql(&format!("CREATE DATABASE {name}")), "no database");
        format!("postgres://narthex@127.0.0.1:{}/{name}", self.port)
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

/// PostgreSQL refuses to run as root.
fn run_as() -> &'static [&'static str] {
    match is_root() {
        true => &["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"],
        false => &["env"],
    }
}

fn binaries() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| {
        let which = Command::new("sh").args(["-c", "command -v initdb"]).output().unwrap();
        let path = String::from_utf8(which.stdout).unwrap();
        Path::new(path.trim()).parent().expect("PostgreSQL is installed: run through `make test`").to_owned()
    })
}

/// The address of a WebDriver for Chromium.
pub fn webdriver() -> String {
    static SHARED: OnceLock<(u16, Party)> = OnceLock::new();
    let (port, _) = SHARED.get_or_init(|| {
        let port = free_port();
        let party = Party::start("chromedriver", &[&format!("--port={port}")]);
        wait_for_port(port);
        (port, party)
    });
    format!("http://127.0.0.1:{port}")
}
