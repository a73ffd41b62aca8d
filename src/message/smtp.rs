//! The SMTP session with a mail server (RFC 5321, RFC 4954). It is divided into steps, so that the
//! caller can distinguish their failures.

use super::errors::SendError;
use super::{mime, smtp_stream};
use crate::config::{Mail, MailTransport, SmtpServer, mail_address};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail as MailCommand, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use std::time::{Duration, Instant};

/// The maximum number of messages on one connection. Servers limit this number, often to 100.
const MAX_MESSAGES: u32 = 50;
/// The time after which an idle connection is not used again.
const MAX_IDLE: Duration = Duration::from_secs(10);
/// The authentication mechanisms. Both transmit the password, because connections are encrypted or
/// stay on this machine.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// A connection to a mail server after authentication.
pub(super) struct Connection {
    inner: AsyncSmtpConnection,
    server: SmtpServer,
    sent: u32,
    used_at: Instant,
    /// Whether the connection was lost or closed by the server.
    is_lost: bool,
}

impl Connection {
    /// Opens a connection and authenticates.
    ///
    /// # Errors
    /// Returns [`SendError::Unavailable`] with the failed step.
    pub async fn open(server: &SmtpServer) -> Result<Self, SendError> {
        let stream = smtp_stream::open(server).await?;
        let name = server.authority();
        let inner = AsyncSmtpConnection::connect_with_transport(stream, &ClientId::default()).await;
        let mut inner = inner
            .map_err(|error| SendError::Unavailable(format!("no session with {name}: {}", words(&error))))?;
        if let Some((user, password)) = &server.credentials {
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            inner.auth(&MECHANISMS, &credentials).await.map_err(|error| {
                SendError::Unavailable(format!(
                    "{name} refuses the user `{user}`: {}; help: correct `smtp` and `password` in [mail]",
                    words(&error)
                ))
            })?;
        }
        Ok(Self { inner, server: server.clone(), sent: 0, used_at: Instant::now(), is_lost: false })
    }

    /// Returns whether the connection can be used for another message to `server`.
    pub fn is_reusable(&self, server: &SmtpServer) -> bool {
        !self.is_lost
            && !self.inner.has_broken()
            && self.server == *server
            && self.sent < MAX_MESSAGES
            && self.used_at.elapsed() < MAX_IDLE
    }

    /// Returns whether the connection was lost or closed by the server.
    pub fn is_broken(&self) -> bool {
        self.is_lost
    }

    /// Begins a message to `to`, up to the server's request for the text.
    ///
    /// # Errors
    /// [`SendError::Rejected`] and [`SendError::Postponed`] concern this recipient only.
    pub async fn begin(&mut self, mail: &Mail, to: &str) -> Result<(), SendError> {
        let to = mail_address(to).map_err(|why| SendError::Rejected(format!("the address {why}")))?;
        let (from, to) = (mime::address(&mail.from.address)?, mime::address(&to)?);
        // An error for the sender concerns all messages, because they have the same sender.
        let sender = self.inner.command(MailCommand::new(Some(from), Vec::new())).await;
        sender.map_err(|error| match self.refusal(&error) {
            SendError::Rejected(words) | SendError::Postponed(words) if error.status().is_some() => {
                SendError::Unavailable(format!("the server refuses the sender: {words}"))
            }
            other => other,
        })?;
        let recipient = self.inner.command(Rcpt::new(to, Vec::new())).await;
        recipient.map_err(|error| self.refusal(&error))?;
        let data = self.inner.command(Data).await;
        data.map(drop).map_err(|error| self.refusal(&error))
    }

    /// Converts an error, and records whether the connection was lost or closed.
    fn refusal(&mut self, error: &Error) -> SendError {
        // RFC 5321, section 3.8: after a reply with 421 the server closes the connection.
        self.is_lost |= error.status().is_none_or(|status| u16::from(status) == 421);
        refusal(error)
    }

    /// Transmits the text of the message.
    ///
    /// # Errors
    /// Returns [`SendError::Doubtful`] if the server did not reply.
    pub async fn transmit(&mut self, text: &[u8]) -> Result<(), SendError> {
        self.sent += 1;
        let result = self.inner.message(text).await;
        self.used_at = Instant::now();
        result.map(drop).map_err(|error| match error.status() {
            Some(_) => refusal(&error),
            None => SendError::Doubtful(words(&error)),
        })
    }

    /// Ends the session. Waits at most a second for the server's reply.
    pub async fn close(mut self) {
        drop(tokio::time::timeout(Duration::from_secs(1), self.inner.quit()).await);
    }
}

/// Converts an error that occurred before the text was transmitted.
fn refusal(error: &Error) -> SendError {
    let words = words(error);
    match error.status().map(u16::from) {
        Some(500..=599) => SendError::Rejected(words),
        // This includes a closed connection: the server may have closed it because of this
        // recipient, and other messages must not wait.
        Some(_) | None => SendError::Postponed(words),
    }
}

/// Returns the error with its causes, which contain the server's reply.
fn words(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// Connects to the server of `mail`, with TLS and authentication, without sending a message.
///
/// # Errors
/// Returns the failed step, and the remedy if there is one.
pub async fn verify_server(mail: &Mail) -> Result<(), SendError> {
    let MailTransport::Smtp(server) = &mail.transport else { return Ok(()) };
    let work = async {
        Connection::open(server).await?.close().await;
        Ok(())
    };
    tokio::time::timeout(mail.timeout, work).await.unwrap_or_else(|_| Err(SendError::timeout(mail.timeout)))
}
