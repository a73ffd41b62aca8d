//! Checks of `[mail]` and `[sms]`.

use super::report::Report;
use crate::config::{Config, MailSecurity, MailTransport};
use crate::message;

/// Connects to the mail server, with TLS and authentication, without sending a message.
pub async fn check(config: &Config, report: &mut Report) {
    match config.mail.as_ref().map(|mail| (mail, &mail.transport)) {
        Some((mail, MailTransport::Smtp(server))) => {
            if server.security == MailSecurity::Plain {
                report.warn(format!(
                    "[mail]: `tls` is off: codes go to {} in plain text; help: remove `tls` if the server has TLS",
                    server.authority()
                ));
            }
            match message::verify_server(mail).await {
                Ok(()) => report.good(format!("{} accepts messages", server.authority())),
                Err(error) => report.problem(format!("[mail]: {error}")),
            }
        }
        Some((_, MailTransport::Log)) => {
            report.warn("[mail]: messages with their codes are printed in the log, and not sent");
        }
        None => {}
    }
    if let Some(sms) = &config.sms
        && sms.allowed_prefixes.iter().any(|prefix| prefix == "+")
    {
        report.warn(
            "[sms]: `allowed_prefixes` allows every country: strangers can cause expensive messages; help: name the \
             countries of your users",
        );
    }
}
