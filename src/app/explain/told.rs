//! The explanation: a table for people, JSON for programs.

use super::{Expectation, Who};
use crate::app::output::say;
use crate::policy::{Effect, MatchLevel, StatementTrace};
use http::Method;
use serde::Serialize;
use std::collections::BTreeMap;

/// What becomes of a request, and why.
#[derive(Serialize)]
pub struct Explained {
    method: String,
    url: String,
    pub route: Option<String>,
    pub access: &'static str,
    username: Option<String>,
    provider: Option<String>,
    groups: Vec<String>,
    notes: Vec<String>,
    /// Why they cannot come at all.
    barred: Option<String>,
    pub identity_pool: Option<String>,
    pub rules: Vec<String>,
    pub role: Option<String>,
    pub reason: Option<String>,
    pub identity_id: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub resource: Option<String>,
    pub context: BTreeMap<String, Vec<String>>,
    pub statements: Vec<Line>,
    decision: &'static str,
    why: String,
    /// What the gateway does with the request.
    outcome: &'static str,
}

/// How a statement stands to the request.
#[derive(Serialize)]
pub struct Line {
    statement: String,
    effect: &'static str,
    /// Whether it only sets bounds.
    bound: bool,
    result: &'static str,
    why: String,
    #[serde(skip)]
    pub near: MatchLevel,
}

impl Line {
    pub fn of(told: &StatementTrace<'_>) -> Self {
        Self {
            statement: told.statement.place(),
            effect: match told.statement.effect {
                Effect::Allow => "Allow",
                Effect::Deny => "Deny",
            },
            bound: told.bound,
            result: match told.nearness {
                MatchLevel::Met => "met",
                MatchLevel::Condition => "a condition is not met",
                MatchLevel::Action => "another resource",
                MatchLevel::None => "another action",
            },
            why: told.why.clone(),
            near: told.nearness,
        }
    }
}

impl Explained {
    pub fn new(method: &Method, url: &str, who: Option<&Who>) -> Self {
        Self {
            method: method.to_string(),
            url: url.to_owned(),
            route: None,
            access: "",
            username: who.map(|who| who.user.username.clone()),
            provider: who.map(|who| who.provider.clone()),
            groups: who.map(|who| who.user.groups.clone()).unwrap_or_default(),
            notes: who.map(|who| who.notes.clone()).unwrap_or_default(),
            barred: who.and_then(|who| who.barred.clone()),
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

    pub fn passes(&mut self, access: &'static str, why: &str) {
        (self.access, self.decision, self.why, self.outcome) =
            (access, "allowed", why.to_owned(), "it passes");
    }

    pub fn asks_to_sign_in(&mut self, access: &'static str, why: &str) {
        self.access = access;
        self.refused("implicitDeny", why.to_owned());
    }

    pub fn refused(&mut self, decision: &'static str, why: String) {
        (self.decision, self.why) = (decision, why);
        self.outcome = match self.username {
            Some(_) => "403",
            None => "people are asked to sign in, programs get 401",
        };
    }

    /// It never comes to a decision.
    pub fn stopped(&mut self, why: String) {
        (self.decision, self.why, self.outcome) = ("implicitDeny", why, "it goes no further");
    }

    /// Whether the request passes.
    pub fn decision(&self) -> Expectation {
        match self.decision == "allowed" && self.barred.is_none() {
            true => Expectation::Allow,
            false => Expectation::Deny,
        }
    }

    /// The decision and its reason, in a line.
    pub fn summary(&self) -> String {
        let why = self.barred.as_ref().unwrap_or(&self.why);
        format!("{}: {why}", self.decision())
    }

    pub fn print_json(&self) {
        say!("{:#}", serde_json::json!(self));
    }

    pub fn print(&self) {
        say!("{} {}", self.method, self.url);
        let line = |name: &str, value: &str| say!("  {name:<10} {value}");
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
        let near: Vec<&Line> = self.statements.iter().filter(|line| line.near != MatchLevel::None).collect();
        for told in &near {
            let bound = if told.bound { " (boundary)" } else { "" };
            say!("  {:<10} {}{bound}: {}", told.effect, told.statement, told.result);
            if !told.why.is_empty() {
                line("", &told.why);
            }
        }
        if self.statements.len() > near.len() {
            line("", &format!("{} more are about other actions", self.statements.len() - near.len()));
        }
        let outcome = match &self.barred {
            Some(why) => format!("but they cannot sign in: {why}"),
            None => self.outcome.to_owned(),
        };
        say!("{}: {} ({outcome})", self.decision, self.why);
    }
}
