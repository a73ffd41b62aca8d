//! The explanation of an access decision, printed as a table or as JSON.

use super::{Expectation, Subject};
use crate::app::output::{on_one_line, say};
use crate::base::escape_deceptive;
use crate::policy::{Effect, MatchLevel, StatementTrace};
use http::Method;
use serde::Serialize;
use std::collections::BTreeMap;

/// The access decision for a request, and its reasons.
#[derive(Serialize)]
pub struct Explanation {
    method: String,
    url: String,
    pub route: Option<String>,
    pub access: &'static str,
    username: Option<String>,
    provider: Option<String>,
    groups: Vec<String>,
    notes: Vec<String>,
    /// The reason why the subject cannot sign in.
    sign_in_error: Option<String>,
    pub identity_pool: Option<String>,
    pub rules: Vec<String>,
    pub role: Option<String>,
    pub reason: Option<String>,
    pub identity_id: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub resource: Option<String>,
    pub context: BTreeMap<String, Vec<String>>,
    pub statements: Vec<StatementResult>,
    decision: &'static str,
    why: String,
    /// The gateway's response.
    outcome: &'static str,
}

/// The result of one statement.
#[derive(Serialize)]
pub struct StatementResult {
    statement: String,
    effect: &'static str,
    /// Whether the statement is part of a permissions boundary.
    bound: bool,
    result: &'static str,
    why: String,
    #[serde(skip)]
    pub near: MatchLevel,
}

impl StatementResult {
    pub fn of(trace: &StatementTrace<'_>) -> Self {
        Self {
            statement: trace.statement.place(),
            effect: match trace.statement.effect {
                Effect::Allow => "Allow",
                Effect::Deny => "Deny",
            },
            bound: trace.bound,
            result: match trace.nearness {
                MatchLevel::Met => "met",
                MatchLevel::Condition => "a condition is not met",
                MatchLevel::Action => "another resource",
                MatchLevel::None => "another action",
            },
            why: trace.why.clone(),
            near: trace.nearness,
        }
    }
}

impl Explanation {
    pub fn new(method: &Method, url: &str, subject: Option<&Subject>) -> Self {
        Self {
            method: method.to_string(),
            url: url.to_owned(),
            route: None,
            access: "",
            username: subject.map(|subject| subject.user.username.clone()),
            provider: subject.map(|subject| subject.provider.clone()),
            groups: subject.map(|subject| subject.user.groups.clone()).unwrap_or_default(),
            notes: subject.map(|subject| subject.notes.clone()).unwrap_or_default(),
            sign_in_error: subject.and_then(|subject| subject.sign_in_error.clone()),
            identity_pool: None,
            rules: Vec::new(),
            role: None,
            reason: None,
            identity_id: None,
            tags: BTreeMap::new(),
            resource: None,
            context: BTreeMap::new(),
            statements: Vec::new(),
            decision: "implicitDeny",
            why: String::new(),
            outcome: "",
        }
    }

    pub fn allow(&mut self, access: &'static str, why: &str) {
        (self.access, self.decision, self.why, self.outcome) =
            (access, "allowed", why.to_owned(), "it passes");
    }

    pub fn require_sign_in(&mut self, access: &'static str, why: &str) {
        self.access = access;
        self.deny("implicitDeny", why.to_owned());
    }

    pub fn deny(&mut self, decision: &'static str, why: String) {
        (self.decision, self.why) = (decision, why);
        self.outcome = match self.username {
            Some(_) => "403",
            None => "people are asked to sign in, programs get 401",
        };
    }

    /// Ends the explanation without a decision.
    pub fn stop(&mut self, why: String) {
        (self.decision, self.why, self.outcome) = ("implicitDeny", why, "it goes no further");
    }

    /// Returns whether the request is allowed.
    pub fn decision(&self) -> Expectation {
        match self.decision == "allowed" && self.sign_in_error.is_none() {
            true => Expectation::Allow,
            false => Expectation::Deny,
        }
    }

    /// Returns the decision and its reason in one line.
    pub fn summary(&self) -> String {
        let why = self.sign_in_error.as_ref().unwrap_or(&self.why);
        format!("{}: {}", self.decision(), on_one_line(why))
    }

    pub fn print_json(&self) {
        // The serializer escapes ASCII control characters in strings, except DEL.
        let json = format!("{:#}", serde_json::json!(self));
        say!("{}", escape_deceptive(&json, |c| c == '\n'));
    }

    pub fn print(&self) {
        say!("{} {}", self.method, on_one_line(&self.url));
        let line = |name: &str, value: &str| say!("  {name:<10} {}", on_one_line(value));
        let optional = |name: &str, value: &Option<String>| value.iter().for_each(|value| line(name, value));
        if let Some(route) = &self.route {
            let pool = self
                .identity_pool
                .as_ref()
                .map_or_else(String::new, |pool| format!(", identity pool {pool}"));
            line("route", &format!("{route}, access = \"{}\"{pool}", self.access));
        }
        match (&self.username, &self.provider) {
            (Some(user), Some(provider)) => line("who", &format!("{user}, through {provider}")),
            _ => line("who", "a guest"),
        }
        if !self.groups.is_empty() {
            line("groups", &self.groups.join(", "));
        }
        self.notes.iter().for_each(|note| line("note", note));
        self.rules.iter().enumerate().for_each(|(at, rule)| line(&format!("rule {}", at + 1), rule));
        if let (Some(role), Some(reason)) = (&self.role, &self.reason) {
            line("role", role);
            line("", &format!("since {reason}"));
        }
        optional("identity", &self.identity_id);
        self.tags.iter().for_each(|(name, value)| line("tag", &format!("{name} = {value}")));
        optional("resource", &self.resource);
        let near: Vec<&StatementResult> =
            self.statements.iter().filter(|line| line.near != MatchLevel::None).collect();
        for result in &near {
            let bound = if result.bound { " (boundary)" } else { "" };
            line(result.effect, &format!("{}{bound}: {}", result.statement, result.result));
            if !result.why.is_empty() {
                line("", &result.why);
            }
        }
        if self.statements.len() > near.len() {
            line("", &format!("{} more are about other actions", self.statements.len() - near.len()));
        }
        let outcome = match &self.sign_in_error {
            Some(why) => format!("but they cannot sign in: {why}"),
            None => self.outcome.to_owned(),
        };
        say!("{}: {} ({})", self.decision, on_one_line(&self.why), on_one_line(&outcome));
    }
}
