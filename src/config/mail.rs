//! `[mail]`: the server through which e-mail is sent.

use super::authorities::AUTHORITIES;
use super::email::{MailAddress, mail_address};
use super::item::Item;
use super::key::{Key, Section, Shape, Type};
use super::reader::{Invalid, Table};
use super::role::TextFile;
use super::types::SECRET;
use crate::base::{Duration, Secret, is_control};
use std::net::IpAddr;
use url::{Host, Url};

/// The maximum of `connections`. Mail servers limit the connections of one client.
const MAX_CONNECTIONS: usize = 64;
/// The maximum of `rate`, in messages per second.
const MAX_RATE: usize = 10_000;
/// The maximum of `timeout`, which is shorter than the lease on a message.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// The maximum length of a display name, in characters.
const MAX_NAME: usize = 100;

pub(super) const SECTION: Section = Section {
    header: "[mail]",
    about: "The server through which e-mail of the user pool is sent. Without it no e-mail is sent.",
    keys: &[&SMTP, &PASSWORD, &TLS, &CA, &FROM, &REPLY_TO, &RATE, &CONNECTIONS, &TIMEOUT],
};
const SMTP: Key<MailTransport> = Key::new(
    "smtp",
    Type::Read(Shape::Text, |item| item.parse(transport)),
    "Server: `smtps:` for TLS from the first byte, `smtp:` for STARTTLS, which is required. `\"log\"` prints messages in the \
     log instead, for a `public_url` on this machine.",
)
.required("")
.example("\"smtps://narthex@mail.example.com\"");
const PASSWORD: Key<Secret> = Key::new("password", SECRET, "Password of the user in `smtp`.")
    .required_if("`smtp` names a user")
    .example("{ env = \"SMTP_PASSWORD\" }");
const TLS: Key<bool> = Key::new(
    "tls",
    Type::ProviderChoice(&[("required", true), ("off", false)]),
    "Whether connections are encrypted. `\"off\"` is for a server on this machine or in a private network.",
)
.default("\"required\"");
const CA: Key<TextFile> =
    Key::new("ca", AUTHORITIES, "PEM file of certificate authorities to trust besides the system's.")
        .example("\"certs/internal-ca.pem\"");
const FROM: Key<Mailbox> = Key::new(
    "from",
    Type::Read(Shape::Text, |item| item.parse(mailbox)),
    "Sender: an address, or a name and an address.",
)
.required("")
.example("\"Example <no-reply@example.com>\"");
const REPLY_TO: Key<Mailbox> = Key::new(
    "reply_to",
    Type::Read(Shape::Text, |item| item.parse(mailbox)),
    "Address to which recipients reply.",
)
.example("\"help@example.com\"");
const RATE: Key<usize> = Key::new(
    "rate",
    Type::Read(Shape::Integer(1), |item| at_most(item, MAX_RATE)),
    "Maximum number of messages per second, of all nodes together.",
)
.default("10");
const CONNECTIONS: Key<usize> = Key::new(
    "connections",
    Type::Read(Shape::Integer(1), |item| at_most(item, MAX_CONNECTIONS)),
    "Maximum number of connections to the server, of each node.",
)
.default("4");
const TIMEOUT: Key<Duration> = Key::new(
    "timeout",
    Type::Read(Shape::Duration, timeout),
    "Maximum time for one message, with the connection; at most `\"60s\"`.",
)
.default("\"30s\"");

/// The settings for e-mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The transport of messages.
    pub transport: MailTransport,
    /// The sender.
    pub from: Mailbox,
    /// The address to which recipients reply.
    pub reply_to: Option<Mailbox>,
    /// The maximum number of messages per second, of all nodes.
    pub rate: u32,
    /// The maximum number of connections of a node.
    pub connections: usize,
    /// The maximum time for one message.
    pub timeout: Duration,
}

/// The transport of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailTransport {
    /// A mail server.
    Smtp(SmtpServer),
    /// The log: messages are printed instead of sent.
    Log,
}

/// A submission server (RFC 6409).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpServer {
    /// The host name or IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The encryption of connections.
    pub security: MailSecurity,
    /// User and password.
    pub credentials: Option<(String, Secret)>,
    /// Certificate authorities to trust besides the system's.
    pub ca: Option<TextFile>,
}

/// The encryption of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailSecurity {
    /// TLS from the first byte (RFC 8314, section 3.3).
    Implicit,
    /// TLS after STARTTLS (RFC 3207), which is required.
    StartTls,
    /// No encryption: the peer must have an address of this machine or of a private network.
    Plain,
}

/// An address with an optional name (RFC 5322, section 3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The name.
    pub name: Option<String>,
    /// The address.
    pub address: MailAddress,
}

impl Mail {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let transport = table.get(&SMTP).and_then(|item| Some((SMTP.value(&item)?, item)));
        let tls = table.get(&TLS);
        let encrypts = table.read(&TLS)?;
        let (password, ca) = (table.get(&PASSWORD), table.read(&CA));
        let secret = password.as_ref().map(|item| PASSWORD.value(item));
        let (from, reply_to) = (table.read(&FROM), table.read(&REPLY_TO));
        let (rate, connections, timeout) =
            (table.read(&RATE), table.read(&CONNECTIONS), table.read(&TIMEOUT));
        table.finish();
        let (mut transport, item) = transport?;
        let MailTransport::Smtp(server) = &mut transport else {
            let (rate, connections) = (u32::try_from(rate?).ok()?, connections?);
            return Some(Self { transport, from: from?, reply_to, rate, connections, timeout: timeout? });
        };
        server.ca = ca;
        match (&mut server.credentials, secret, &password) {
            (Some((_, password)), Some(secret), _) => *password = secret?,
            (Some(_), None, _) => item.report(
                "`smtp` names a user, and `password` is missing in [mail]",
                "add password = { env = \"SMTP_PASSWORD\" }",
            ),
            (None, _, Some(password)) => password.report(
                "`password` is not used without a user in `smtp`",
                "name the user, as in smtp = \"smtps://narthex@mail.example.com\", or remove the password",
            ),
            (None, ..) => {}
        }
        if let (false, Some(tls)) = (encrypts, &tls) {
            report_unencrypted(server, tls);
            server.security = MailSecurity::Plain;
        }
        let (rate, connections) = (u32::try_from(rate?).ok()?, connections?);
        Some(Self { transport, from: from?, reply_to, rate, connections, timeout: timeout? })
    }

    /// Returns the server; `None` if messages are written to the log.
    pub fn server(&self) -> Option<&SmtpServer> {
        match &self.transport {
            MailTransport::Smtp(server) => Some(server),
            MailTransport::Log => None,
        }
    }
}

impl SmtpServer {
    /// Returns host and port in the form of a URL's authority.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Returns whether a connection without TLS to `address` is allowed.
    pub fn may_be_plain(address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        }
    }

    /// Returns whether the host is this machine, by its name or address.
    fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

/// Reports `tls = "off"` if others could read messages or the password.
fn report_unencrypted(server: &SmtpServer, tls: &Item<'_>) {
    if server.security == MailSecurity::Implicit {
        tls.report("`tls` is off, and `smtp` begins with smtps:", "remove `tls`, or write smtp:");
    }
    if server.host.parse().is_ok_and(|address| !SmtpServer::may_be_plain(address)) {
        tls.report(
            format!("`tls` cannot be off: {} is no address of a private network", server.host),
            "remove `tls`: others could read the codes in the messages",
        );
    }
    if server.credentials.is_some() && !server.is_local() {
        tls.report(
            "`tls` cannot be off with a user in `smtp`",
            "remove `tls`: the password would be sent in plain text",
        );
    }
}

/// Parses the URL of a server, or the word `log`.
fn transport(text: &str) -> Result<MailTransport, Invalid> {
    let help =
        "write it like \"smtps://user@mail.example.com\" or \"smtp://mail.example.com:587\"".to_owned();
    if text == "log" {
        return Ok(MailTransport::Log);
    }
    let invalid = |why: &str| Err((format!("\"{text}\" {why}"), help.clone()));
    let Ok(url) = Url::parse(text) else { return invalid("is not a URL") };
    let (security, port) = match url.scheme() {
        "smtps" => (MailSecurity::Implicit, 465),
        "smtp" => (MailSecurity::StartTls, 587),
        _ => return invalid("does not begin with smtps: or smtp:"),
    };
    if url.password().is_some() {
        return Err((
            "`smtp` contains a password".to_owned(),
            "name it with password = { env = \"SMTP_PASSWORD\" }".to_owned(),
        ));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return invalid("has more than a host and a port");
    }
    let host = match url.host() {
        Some(Host::Domain(name)) if !name.is_empty() => {
            // The url crate does not normalize hosts of unknown schemes.
            match url::Host::parse(name) {
                Ok(host) => host.to_string().trim_matches(['[', ']']).to_owned(),
                Err(_) => return invalid("has no valid host"),
            }
        }
        Some(Host::Ipv4(ip)) => ip.to_string(),
        Some(Host::Ipv6(ip)) => ip.to_string(),
        _ => return invalid("has no host"),
    };
    let user = percent_decoded(url.username());
    let credentials = (!user.is_empty()).then(|| (user, Secret::new("")));
    let port = url.port().unwrap_or(port);
    Ok(MailTransport::Smtp(SmtpServer { host, port, security, credentials, ca: None }))
}

/// Decodes the user name of a URL.
fn percent_decoded(text: &str) -> String {
    // Form decoding turns `+` into a space, but a user name keeps its `+`.
    let pair = format!("u={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// Parses an address, or a name and an address in angle brackets.
fn mailbox(text: &str) -> Result<Mailbox, Invalid> {
    let invalid = |why: &str| {
        (format!("\"{text}\" {why}"), "write it like \"Example <no-reply@example.com>\"".to_owned())
    };
    let (name, address) = match text.trim().strip_suffix('>').and_then(|text| text.split_once('<')) {
        Some((name, address)) => (name.trim().trim_matches('"'), address),
        None => ("", text),
    };
    if name.chars().count() > MAX_NAME || name.chars().any(|c| is_control(c) || matches!(c, '<' | '>' | '"'))
    {
        return Err(invalid("has a name that cannot be used"));
    }
    let address = mail_address(address).map_err(invalid)?;
    Ok(Mailbox { name: (!name.is_empty()).then(|| name.to_owned()), address })
}

pub(super) fn at_most(item: &Item<'_>, limit: usize) -> Option<usize> {
    let count = item.count()?;
    if count > limit {
        item.report(format!("`{}` is larger than {limit}", item.key), format!("write at most {limit}"));
        return None;
    }
    Some(count)
}

pub(super) fn timeout(item: &Item<'_>) -> Option<Duration> {
    let timeout = item.duration()?;
    if timeout > MAX_TIMEOUT {
        item.report("`timeout` is longer than a minute", "write at most \"60s\"");
        return None;
    }
    Some(timeout)
}
