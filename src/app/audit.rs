//! Audit log events for the reference page. A test compares the table with the source.

use std::fmt::Write as _;

/// An event of the audit log.
struct Event {
    name: &'static str,
    /// The fields, in alphabetical order. A log line may lack some.
    fields: &'static [&'static str],
    about: &'static str,
}

const EVENTS: [Event; 37] = [
    Event {
        name: "login",
        fields: &["client", "provider", "request_id", "sid", "sub", "username"],
        about: "A user signed in.",
    },
    Event {
        name: "login_failed",
        fields: &["client", "detail", "provider", "reason", "request_id"],
        about: "A sign-in failed. `reason` is one of the reasons below.",
    },
    Event {
        name: "client_logout_failed",
        fields: &["client_id", "reason", "sid", "sub"],
        about: "An app client could not be notified of the end of a session, and will not be notified again.",
    },
    Event {
        name: "client_registered",
        fields: &["client", "client_id", "name", "pool", "request_id"],
        about: "An app client registered itself.",
    },
    Event {
        name: "code_reused",
        fields: &["client_id", "pool", "request_id"],
        about: "An app client redeemed an authorization code twice: its tokens were ended.",
    },
    Event {
        name: "consent_decided",
        fields: &["client", "client_id", "is_allowed", "request_id", "scope", "sub"],
        about: "A user was asked whether an app client may have scopes.",
    },
    Event {
        name: "consent_withdrawn",
        fields: &["client", "client_id", "request_id", "sub"],
        about: "A user withdrew the consent to an app client, whose refresh tokens of that user ended.",
    },
    Event {
        name: "step_up",
        fields: &["client", "factor", "request_id", "sid", "sub", "username"],
        about: "A user with a session proved a second factor, for a route or a client that requires one.",
    },
    Event {
        name: "device_decided",
        fields: &["client", "client_id", "is_allowed", "request_id", "scope", "sub"],
        about: "A user entered the code of a device, and allowed or denied it.",
    },
    Event {
        name: "user_created",
        fields: &["provider", "request_id", "sub"],
        about: "A user was created at the first sign-in.",
    },
    Event {
        name: "user_updated",
        fields: &["provider", "request_id", "sid", "sub"],
        about: "Attributes or groups of a user changed, at a sign-in or when the provider's tokens were renewed.",
    },
    Event {
        name: "guest_merged",
        fields: &["guest", "identity_id", "request_id", "sub"],
        about: "A guest signed in; `identity_id` is the identity that the user has now.",
    },
    Event {
        name: "sign_in_loop",
        fields: &["reason", "request_id"],
        about: "A browser was redirected to sign in too often, and got an error page.",
    },
    Event { name: "logout", fields: &["client", "request_id", "sid"], about: "A user signed out." },
    Event {
        name: "logout_without_session",
        fields: &["provider", "request_id"],
        about: "A logout message of a provider matched no session.",
    },
    Event {
        name: "backchannel_logout_failed",
        fields: &["client", "detail", "provider", "reason", "request_id"],
        about: "A logout token was rejected. `reason` is the failed check.",
    },
    Event {
        name: "saml_logout_failed",
        fields: &["client", "detail", "provider", "reason", "request_id"],
        about: "A SAML logout message was rejected. `reason` is the failed check.",
    },
    Event {
        name: "session_ended",
        fields: &["provider", "reason", "request_id", "sid", "sub"],
        about: "A session ended before it expired.",
    },
    Event {
        name: "stream_ended",
        fields: &["reason", "request_id", "sid"],
        about: "A long-lived request was ended, because its access was revoked or its session ended.",
    },
    Event {
        name: "request_refused",
        fields: &["client", "reason", "request_id"],
        about: "A request was rejected: it is malformed, not authenticated, or its token is not valid.",
    },
    Event {
        name: "access_denied",
        fields: &[
            "client",
            "context",
            "decision",
            "identity_id",
            "request_id",
            "resource",
            "role",
            "route",
            "sid",
            "statement",
            "sub",
            "username",
        ],
        about: "Policies, or the lists of a route, denied a request of a signed-in user.",
    },
    Event {
        name: "client_authentication_failed",
        fields: &["client", "client_id", "reason", "request_id"],
        about: "An app client sent wrong credentials.",
    },
    Event {
        name: "token_revoked",
        fields: &["client", "client_id", "jti", "request_id"],
        about: "An app client revoked one of its access tokens.",
    },
    Event {
        name: "account_changed",
        fields: &["change", "client_id", "device", "factor", "pool", "sub"],
        about: "An account of a user pool changed; `change` says how. Without `client_id` an administrator did it.",
    },
    Event {
        name: "trigger_failed",
        fields: &["client_id", "detail", "id", "pool", "reason", "source", "trigger"],
        about: "A function of a user pool refused, or gave no valid answer. `source` is the event's `triggerSource`, `reason` \
                the result in the metric.",
    },
    Event {
        name: "refresh_token_reused",
        fields: &["client_id", "pool"],
        about: "A refresh token was used again after its rotation. All tokens of that sign-in were revoked.",
    },
    Event {
        name: "user_pool_released",
        fields: &["name", "pool"],
        about: "The file no longer declares a user pool. It stays with its users, and the API may change it.",
    },
    Event {
        name: "reload",
        fields: &["files", "generation"],
        about: "A changed configuration took effect; `files` are the changed files.",
    },
    Event {
        name: "reload_failed",
        fields: &["error", "files"],
        about: "A changed configuration has errors. The previous one stays in effect.",
    },
    Event {
        name: "api_call",
        fields: &["administrator", "client", "operation", "request_id", "result"],
        about: "An administrator called an operation of the AWS APIs: `success`, or the exception.",
    },
    Event {
        name: "api_denied",
        fields: &["administrator", "operation", "pool", "request_id"],
        about: "The policies of an administrator do not allow a call of the AWS APIs.",
    },
    Event { name: "nodes_differ", fields: &["node"], about: "Another node has a different configuration." },
    Event {
        name: "saml_key_phase",
        fields: &["expires_at", "kid", "phase", "removed_at", "signs_from"],
        about: "A SAML key of Narthex entered another phase on this node.",
    },
    Event {
        name: "message_failed",
        fields: &["channel", "error", "message_event", "message_id", "pool"],
        about: "A message was refused for good. `error` has the server's words without the recipient.",
    },
    Event {
        name: "message_doubtful",
        fields: &["channel", "message_event", "message_id", "pool"],
        about: "It is unknown whether a message was sent. An e-mail is sent again, a text message is not.",
    },
    Event {
        name: "message_expired",
        fields: &["channel", "message_event"],
        about: "A message was not sent before its code expired, and was deleted.",
    },
    Event {
        name: "clock_jumped",
        fields: &["seconds"],
        about: "The wall clock jumped by more than five seconds. Cached decisions are discarded.",
    },
];

/// The reasons of `login_failed`. Any other reason is the name of the failed check of the
/// provider's response.
const REASONS: [(&str, &str); 23] = [
    ("attempt_used", "The sign-in attempt was completed before."),
    ("challenge_expired", "The next step of a sign-in with a password came too late, or its state is void."),
    ("idp_init_off", "A SAML provider sent a response without a request, and `idp_init` is not set."),
    ("locked", "Too many wrong passwords: the name waits."),
    (
        "new_password_refused",
        "A new password does not meet the pool's rules, or a required value is missing.",
    ),
    ("no_attempt", "The browser has no cookie of this sign-in attempt, or the attempt expired."),
    ("no_second_factor", "A second factor is required, and the user can have none."),
    ("no_such_provider", "No provider has this name."),
    ("not_allowed", "The account is not in the provider's `allow`."),
    ("other_provider", "The attempt was started at another provider."),
    ("overloaded", "Too many SAML messages are being verified."),
    ("password_reset_required", "The user must set a new password with a code."),
    ("provider_answer_unreadable", "A response of the provider cannot be parsed."),
    ("provider_refused", "The provider returned an error, or the user cancelled."),
    ("provider_unavailable", "The provider did not respond."),
    ("store_unavailable", "The database failed."),
    ("temporary_password_expired", "The user's temporary password has expired."),
    ("trigger_denied", "A function of the user pool refused."),
    ("trigger_failed", "A function of the user pool gave no valid answer."),
    ("unmappable", "A required attribute is missing, or a claim cannot be used."),
    ("user_disabled", "The user is disabled."),
    ("wrong_code", "The code of a message is wrong, or has expired."),
    ("wrong_password", "The name or the password is wrong."),
];

const HEAD: &str = "# Audit log

<!-- Generated by: narthex reference audit -->

Log lines with the target `audit` have these events, whose names do not change. `request_id` is the `x-request-id` of the
response, `client` the address of the client, `sub` the user and `sid` the session.
[Troubleshooting](../guides/troubleshooting.md) explains the reasons.

| Event | Fields | Description |
|---|---|---|
";

/// Returns the reference page, in Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for event in EVENTS {
        let fields: Vec<String> = event.fields.iter().map(|field| format!("`{field}`")).collect();
        let _ = writeln!(page, "| `{}` | {} | {} |", event.name, fields.join(", "), event.about);
    }
    page.push_str(
        "\n## Reasons of `login_failed`\n\nAny other reason is the name of a check of the provider's response that failed, \
         such as `nonce` or `signature`.\n\n| Reason | Description |\n|---|---|\n",
    );
    for (reason, about) in REASONS {
        let _ = writeln!(page, "| `{reason}` | {about} |");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
        files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
    }

    /// Splits the arguments of a macro call that begin at `text`.
    fn arguments(text: &str) -> Vec<String> {
        let (mut depth, mut quoted, mut escaped) = (0, false, false);
        let mut found = vec![String::new()];
        for c in text.chars() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '(' | '[' | '{' if !quoted => depth += 1,
                ')' if !quoted && depth == 0 => break,
                ')' | ']' | '}' if !quoted => depth -= 1,
                ',' if !quoted && depth == 0 => {
                    found.push(String::new());
                    continue;
                }
                _ => {}
            }
            found.last_mut().unwrap().push(c);
        }
        found
            .iter()
            .map(|argument| argument.trim().to_owned())
            .filter(|argument| !argument.is_empty())
            .collect()
    }

    /// Returns the events in the source with their fields.
    fn emitted() -> BTreeMap<String, BTreeSet<String>> {
        let mut events: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
            if file.ends_with("app/audit.rs") || file.ends_with("app/telemetry.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            for call in text.split("target: \"audit\",").skip(1) {
                let arguments = arguments(call);
                let name = |argument: &String| argument.split('=').next().unwrap().trim().to_owned();
                let fields = arguments.iter().filter(|argument| !argument.starts_with('"')).map(name);
                let fields: BTreeSet<String> = fields.filter(|field| field != "event").collect();
                let event = arguments.iter().find_map(|argument| argument.strip_prefix("event ="));
                // At a sign-in, the event is the kind of change: `LoginResult::change`.
                let names = match event {
                    Some(event) => vec![event.trim().trim_matches('"').to_owned()],
                    None => vec!["user_created".to_owned(), "user_updated".to_owned()],
                };
                for name in names {
                    events.entry(name).or_default().extend(fields.iter().cloned());
                }
            }
        }
        events
    }

    #[test]
    fn the_table_has_the_events_and_fields_of_the_source() {
        let declared: BTreeMap<String, BTreeSet<String>> = EVENTS
            .iter()
            .map(|event| {
                (event.name.to_owned(), event.fields.iter().map(|field| (*field).to_owned()).collect())
            })
            .collect();
        assert_eq!(declared, emitted());
    }

    #[test]
    fn the_table_has_the_reasons_of_a_failed_sign_in() {
        let of_providers = (include_str!("../broker/mod.rs"), "pub fn reason(&self)", "\n    }\n");
        let of_passwords = (include_str!("../handlers/hosted/words.rs"), "fn reason(refusal", "\n}\n");
        let mut reasons = BTreeSet::new();
        for (source, start, end) in [of_providers, of_passwords] {
            let body = source.split(start).nth(1).unwrap().split(end).next().unwrap();
            reasons.extend(body.split('"').skip(1).step_by(2));
        }
        assert_eq!(reasons, REASONS.iter().map(|(reason, _)| *reason).collect());
    }
}
