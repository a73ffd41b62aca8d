//! Fuzz target for policy documents.

use crate::base::{Timestamp, fold};
use crate::catalogue::INVOKE_ACTION;
use crate::policy::{
    Context, Document, Effect, EvalRequest, Grants, Key, Known, MatchLevel, Pattern, Purpose, Requests,
    Spellings, Statements, Value, Values, Verdict, explain, lint,
};
use std::net::{IpAddr, Ipv4Addr};

/// Prefix of the resources of a route.
const PREFIX: &str = "arn:aws:execute-api:us-east-1:123456789012:photos/";
/// The principal of trust policies.
const PRINCIPAL: (&str, &str) = ("Federated", "cognito-identity.amazonaws.com");
/// Maximum number of actions and of resources that are tested for a document.
const MAX_QUESTIONS: usize = 4;

/// Parses the input as a permissions policy and as a trust policy. Evaluates requests in several
/// ways, which must agree. Returns whether the input is valid for either purpose.
pub fn policy(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut accepted = false;
    for purpose in [Purpose::Identity, Purpose::Trust] {
        match Document::parse(text, purpose) {
            Ok(document) => {
                judged_alike(text, purpose, &document);
                accepted = true;
            }
            Err(mistake) => {
                let lines = text.split('\n').count();
                assert!((1..=lines + 1).contains(&mistake.line), "{mistake}");
            }
        }
    }
    accepted
}

fn judged_alike(text: &str, purpose: Purpose, document: &Document) {
    // A generic JSON parser uses the last duplicate member. Accepted documents have no duplicates,
    // so both parsers agree.
    let generic: serde_json::Value = serde_json::from_str(text).expect("an accepted policy is JSON");
    let generic =
        Document::parse(&generic.to_string(), purpose).expect("its generic reading is accepted too");
    let grants = |document: &Document| Grants { policies: Statements::of([document]), bounds: Vec::new() };
    let (direct, generic) = (grants(document), grants(&generic));
    let narrowed = direct.narrowed(INVOKE_ACTION, PREFIX);
    let (actions, resources) = questions(document);
    for action in &actions {
        for resource in &resources {
            let folded = [fold(resource).into_owned()];
            let shorter = resource.split(';').next();
            let spellings =
                [None, shorter].map(|without_ending| Some(Spellings { folded: &folded, without_ending }));
            for loose in spellings.into_iter().chain([None]) {
                let principal = (purpose == Purpose::Trust).then_some(PRINCIPAL);
                let request = EvalRequest { action, resource, loose, principal, context: &Filled };
                let verdict = word(&direct.judge(&request));
                assert_eq!(verdict, naive(&direct, &request), "statement by statement: {action} {resource}");
                assert_eq!(verdict, word(&generic.judge(&request)), "read generically: {action} {resource}");
                assert_eq!(verdict, explained(&direct, &request), "explained: {action} {resource}");
                if action == INVOKE_ACTION && resource.starts_with(PREFIX) {
                    assert_eq!(verdict, word(&narrowed.judge(&request)), "narrowed: {resource}");
                }
                let exact = EvalRequest { loose: None, ..request };
                if verdict == "allowed" {
                    assert_eq!(
                        word(&direct.judge(&exact)),
                        verdict,
                        "a looser reading allows more: {resource}"
                    );
                }
            }
        }
    }
    let requests = Requests {
        actions: &[INVOKE_ACTION],
        principal: (purpose == Purpose::Trust).then_some(PRINCIPAL),
        resources: &[PREFIX.to_owned()],
        fills: &|key| !matches!(key, Key::Other(_)),
    };
    for statement in &document.statements {
        lint(statement, &requests);
        statement.place();
    }
}

/// Returns actions and resources of the document, with wildcards replaced, and those of a route.
fn questions(document: &Document) -> (Vec<String>, Vec<String>) {
    let filled = |pattern: &Pattern| pattern.to_string().replace('*', "a/B").replace('?', "c");
    let (mut actions, mut resources) =
        (vec![INVOKE_ACTION.to_owned()], vec![format!("{PREFIX}$default/GET/a/B")]);
    for statement in document.statements.iter().take(MAX_QUESTIONS) {
        actions.extend(statement.actions().1.take(1).map(filled));
        resources.extend(statement.resources().1.take(2).map(filled));
    }
    actions.truncate(MAX_QUESTIONS);
    resources.truncate(MAX_QUESTIONS);
    (actions, resources)
}

fn word(verdict: &Verdict<'_>) -> &'static str {
    match verdict {
        Verdict::Allowed(_) => "allowed",
        Verdict::Denied(_) => "denied",
        Verdict::NotAllowed => "not allowed",
    }
}

/// A direct implementation of IAM User Guide, "Policy evaluation logic".
fn naive(grants: &Grants, request: &EvalRequest<'_>) -> &'static str {
    let any = |effect| grants.policies.iter().any(|of| of.effect == effect && of.met(request).is_ok());
    match (any(Effect::Deny), any(Effect::Allow)) {
        (true, _) => "denied",
        (false, true) => "allowed",
        (false, false) => "not allowed",
    }
}

fn explained(grants: &Grants, request: &EvalRequest<'_>) -> &'static str {
    let all = explain(grants, request);
    let any = |effect| all.iter().any(|of| of.nearness == MatchLevel::Met && of.statement.effect == effect);
    match (any(Effect::Deny), any(Effect::Allow)) {
        (true, _) => "denied",
        (false, true) => "allowed",
        (false, false) => "not allowed",
    }
}

/// A context in which every known key has a value, and most others are absent.
struct Filled;

impl Context for Filled {
    fn values(&self, key: &Key) -> Values<'_> {
        static MANY: std::sync::LazyLock<Vec<String>> =
            std::sync::LazyLock::new(|| vec!["authenticated".to_owned(), "corp".to_owned()]);
        let at = Timestamp::from_seconds(1_800_000_000);
        Values::One(match key {
            Key::Known(Known::IdentityAmr) => return Values::Many(&MANY),
            Key::Known(Known::SourceIp) => Value::Ip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))),
            Key::Known(Known::CurrentTime | Known::TokenIssueTime) => Value::Time(at),
            Key::Known(Known::EpochTime | Known::MultiFactorAuthAge) => Value::Number(at.seconds()),
            Key::Known(Known::SecureTransport | Known::MultiFactorAuthPresent) => Value::Bool(true),
            Key::Known(_) => Value::Text("ann"),
            Key::PrincipalTag(_) => Value::Text("a*?${b}"),
            Key::RequestTag(_) | Key::Other(_) => return Values::Absent,
        })
    }
}
