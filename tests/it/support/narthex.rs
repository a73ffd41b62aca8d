//! The real binary, on free ports, in a folder of its own.

use super::process::{free_port, wait_until};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a test wants of its Narthex.
#[derive(Clone)]
pub struct NarthexBuilder {
    https: u16,
    public: (&'static str, &'static str),
    tables: String,
    environment: Vec<(&'static str, String)>,
    under: Vec<&'static str>,
    certificates: Option<PathBuf>,
    listen: String,
    files: Vec<(&'static str, String)>,
    front: Option<u16>,
}

impl NarthexBuilder {
    /// A deployment at `https://auth.localhost:{port}`.
    pub fn new() -> Self {
        Self {
            https: free_port(),
            public: ("auth", ""),
            tables: String::new(),
            environment: Vec::new(),
            under: Vec::new(),
            certificates: None,
            files: Vec::new(),
            listen: "trusted_proxies = [\"127.0.0.7\"]".to_owned(),
            front: None,
        }
    }

    /// Sets the port of a proxy in front, which browsers use.
    pub fn behind_proxy(mut self, port: u16) -> Self {
        self.front = Some(port);
        self
    }

    /// Says more in `[listen]`, in the place of the trusted proxy 127.0.0.7.
    pub fn listen(mut self, toml: &str) -> Self {
        self.listen = toml.to_owned();
        self
    }

    /// The origin of `name`.localhost; of localhost, if `name` is empty.
    pub fn origin(&self, name: &str) -> String {
        origin(name, self.front.unwrap_or(self.https))
    }

    /// Where the provider `name` sends browsers back to.
    pub fn callback(&self, name: &str) -> String {
        format!("{}{}/oauth2/idpresponse/{name}", self.origin(self.public.0), self.public.1)
    }

    /// Puts the pages elsewhere than at `https://auth.localhost:{port}`.
    pub fn public_url(mut self, name: &'static str, path: &'static str) -> Self {
        self.public = (name, path);
        self
    }

    /// Adds tables.
    pub fn tables(mut self, toml: &str) -> Self {
        writeln!(self.tables, "{toml}").unwrap();
        self
    }

    /// Puts a file into its folder.
    pub fn file(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.files.push((name, text.into()));
        self
    }

    /// Sets a variable of its environment.
    pub fn environment(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Starts it by another command, which gets the program with its arguments.
    pub fn started_by(mut self, command: &[&'static str]) -> Self {
        self.under = command.to_vec();
        self
    }

    /// Adds a route from `{host}.localhost` to a port of this machine.
    pub fn route(self, host: &str, port: u16, more: &str) -> Self {
        self.tables(&format!(
            "[[route]]\nhost = \"{host}.localhost\"\nupstream = \"http://127.0.0.1:{port}\"\n{more}\n"
        ))
    }

    /// A store that several nodes share.
    pub fn postgres(self, url: &str) -> Self {
        self.tables(&format!("[store]\nurl = \"{url}\"\nmaster_key = \"{}\"\n", "A".repeat(43)))
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> Narthex {
        self.start_at("127.0.0.1")
    }

    /// The same on another address of this machine, so that several nodes share a port as they
    /// would behind a load balancer.
    pub fn start_at(self, address: &str) -> Narthex {
        let folder = tempfile::tempdir().unwrap();
        let (http, admin) = (free_port(), free_port());
        let text = format!(
            "public_url = \"{}{}\"\nstate_dir = \".\"\n[listen]\nhttps = \"{address}:{}\"\nhttp = \"127.0.0.1:{http}\"\n\
             admin = \"127.0.0.1:{admin}\"\n{}\n\n{}",
            self.origin(self.public.0),
            self.public.1,
            self.https,
            self.listen,
            self.tables
        );
        if let Some(certificates) = &self.certificates {
            std::fs::create_dir(folder.path().join("certs")).unwrap();
            for file in std::fs::read_dir(certificates).unwrap() {
                let file = file.unwrap().path();
                std::fs::copy(&file, folder.path().join("certs").join(file.file_name().unwrap())).unwrap();
            }
        }
        for (name, text) in &self.files {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let file = folder.path().join("narthex.toml");
        std::fs::write(&file, text).unwrap();
        let mut narthex = Narthex {
            child: None,
            environment: self.environment,
            under: self.under,
            folder,
            file,
            address: address.parse().unwrap(),
            https: self.https,
            http,
            admin,
        };
        narthex.start();
        narthex
    }
}

fn origin(name: &str, port: u16) -> String {
    let dot = if name.is_empty() { "" } else { "." };
    format!("https://{name}{dot}localhost:{port}")
}

/// A running Narthex.
pub struct Narthex {
    child: Option<Child>,
    environment: Vec<(&'static str, String)>,
    under: Vec<&'static str>,
    folder: tempfile::TempDir,
    pub file: PathBuf,
    pub address: std::net::IpAddr,
    pub https: u16,
    pub http: u16,
    pub admin: u16,
}

impl Narthex {
    /// Starts a process that takes the place of the running one, which is answered.
    pub fn upgrade(&mut self) -> Child {
        let old = self.child.take().unwrap();
        self.spawn(&["--upgrade"]);
        old
    }

    /// Starts the binary again, on the same file and store.
    pub fn start(&mut self) {
        self.spawn(&[]);
    }

    fn spawn(&mut self, more: &[&str]) {
        let log = std::fs::File::options().append(true).create(true).open(self.log_file()).unwrap();
        let command: Vec<&str> = self.under.iter().copied().chain([env!("CARGO_BIN_EXE_narthex")]).collect();
        let child = Command::new(command[0])
            .args(&command[1..])
            .args(["run", "--config"])
            .arg(&self.file)
            .args(more)
            .envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let admin = self.admin;
        let mut ended = None;
        wait_until("narthex", || {
            ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            ended.is_some() || get(admin, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
        assert!(ended.is_none(), "narthex ended:\n{}", self.log());
    }

    /// Kills it with -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Returns the id of its process.
    pub fn process_id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Returns the most memory that the process has held, in bytes.
    pub fn peak_memory(&self) -> usize {
        let pid = self.child.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() * 1024
    }

    /// Waits until the process has ended, and returns whether it succeeded.
    pub fn wait_for_exit(&mut self) -> bool {
        self.child.take().unwrap().wait().unwrap().success()
    }

    /// The origin of `name`.localhost; of localhost, if `name` is empty.
    pub fn origin(&self, name: &str) -> String {
        origin(name, self.https)
    }

    /// Lets it have the certificates of another node, as nodes of one deployment have.
    pub fn share_authority(&self, with: &NarthexBuilder) -> NarthexBuilder {
        let certs = self.folder.path().join("certs");
        let mut node = with.clone();
        node.certificates = Some(certs);
        node
    }

    /// The folder of its file.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The log lines with this event.
    pub fn audit(&self, event: &str) -> Vec<serde_json::Value> {
        self.log()
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|line| line["event"] == event)
            .collect()
    }

    /// Waits until the log holds `text`.
    pub fn wait_for_log(&self, text: &str) {
        wait_until(text, || self.log().contains(text));
    }

    /// An answer of the admin listener.
    pub fn admin(&self, path: &str) -> String {
        get(self.admin, path).expect("the admin listener answers")
    }

    /// The authority that its certificates come from.
    pub fn authority(&self) -> reqwest::Certificate {
        let pem = std::fs::read(self.folder.path().join("certs/local-authority.pem")).unwrap();
        reqwest::Certificate::from_pem(&pem).unwrap()
    }

    /// Changes the file.
    pub fn edit(&self, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(&self.file).unwrap();
        std::fs::write(&self.file, change(text)).unwrap();
    }

    /// Our private key for SAML, as PEM.
    pub async fn saml_key(&self) -> String {
        let store = self.store().await;
        let keys = store.signing_keys("saml").await.unwrap();
        store.close().await;
        let base64 = STANDARD.encode(&*keys[0].private_key);
        let lines: Vec<&str> =
            base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
    }

    /// Counts the rows of its SQLite file in tables that logins write.
    pub async fn count_login_rows(&self) -> i64 {
        let store = self.store().await;
        let rows = store.count_rows().await.unwrap();
        store.close().await;
        rows
    }

    /// What is known of the user whose `sub` this is.
    pub async fn attributes(&self, sub: &str) -> narthex::model::Attributes {
        let store = self.store().await;
        let user = store.transaction(|tx| Box::pin(async move { tx.user(sub).await })).await.unwrap();
        store.close().await;
        user.unwrap().attributes
    }

    /// Its SQLite file, opened beside it.
    async fn store(&self) -> narthex::store::Store {
        let key = std::fs::read_to_string(self.folder.path().join("narthex.db.key")).unwrap();
        let master = narthex::base::MasterKey::parse(&key).unwrap();
        let ring = std::sync::Arc::new(narthex::base::KeyRing::new(&master));
        let url = narthex::config::StoreUrl::Sqlite(self.folder.path().join("narthex.db"));
        narthex::store::Store::open(&url, ring).await.unwrap()
    }
}

impl Drop for Narthex {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("narthex logged:\n{}", self.log());
        }
    }
}

/// A plain GET, without any client's help.
fn get(port: u16, path: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
