//! A mail server, and the messages that it accepted.

use super::certificates;
use super::process::{Party, free_port};
use serde_json::Value;
use std::path::Path;

/// aiosmtpd on a port that stays the same. `tests/parties/smtp-server.py` describes the recipients.
pub struct MailServer {
    pub port: u16,
    mode: &'static str,
    credentials: Vec<&'static str>,
    folder: tempfile::TempDir,
    party: Option<Party>,
}

impl MailServer {
    /// Starts a server in this mode, which demands user and password unless they are empty.
    pub fn start(mode: &'static str, credentials: &[&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        certificates::make(&cert, &key, "mail", "localhost", 30);
        let credentials = credentials.to_vec();
        let mut server = Self { port: free_port(), mode, credentials, folder, party: None };
        server.restart();
        server
    }

    /// Stops it.
    pub fn stop(&mut self) {
        self.party = None;
    }

    /// Starts it again.
    pub fn restart(&mut self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let (port, folder) = (self.port.to_string(), self.folder.path().display().to_string());
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let mut arguments = vec![port.as_str(), &folder, self.mode, &cert, &key];
        arguments.extend(&self.credentials);
        self.party = Some(Party::python("smtp-server.py", &arguments));
    }

    /// The file of the certificate.
    pub fn ca(&self) -> std::path::PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// `[mail]` for this server, with further keys.
    pub fn toml(&self, more: &str) -> String {
        let scheme = if self.mode == "implicit" { "smtps" } else { "smtp" };
        let user = self.credentials.first().map(|user| format!("{user}@")).unwrap_or_default();
        let password =
            self.credentials.get(1).map(|word| format!("password = \"{word}\"\n")).unwrap_or_default();
        let ca = self.ca();
        format!(
            "[mail]\nsmtp = \"{scheme}://{user}localhost:{}\"\n{password}ca = \"{}\"\nfrom = \"Example <no-reply@example.com>\"\n\
             rate = 1000\n{more}\n",
            self.port,
            ca.display()
        )
    }

    /// The accepted messages, in their order.
    pub fn accepted(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("accepted.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How many messages to `to` were accepted.
    pub fn count(&self, to: &str) -> usize {
        self.accepted().iter().filter(|message| message["to"] == to).count()
    }

    /// Whether any file of the store beside `database` contains `text`.
    pub fn store_contains(database: &Path, text: &str) -> bool {
        let files = std::fs::read_dir(database.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        let mut stores =
            files.filter(|path| path.to_string_lossy().starts_with(&*database.to_string_lossy()));
        stores.any(|path| {
            let bytes = std::fs::read(path).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }
}

/// The Message-ID of an accepted message.
pub fn message_id(message: &Value) -> String {
    let text = message["text"].as_str().unwrap();
    text.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap().to_owned()
}
