//! Explanation of a decision, statement by statement. It uses the evaluator's own steps.

use super::condition::Unmet;
use super::context::{EvalRequest, Values};
use super::decision::{Grants, Statements};
use super::statement::{Miss, Statement};

/// How closely a request matches a statement, ordered from the closest match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchLevel {
    /// A full match.
    Met,
    /// Everything matches except a condition.
    Condition,
    /// The action matches, but the resource or the principal does not.
    Action,
    /// The action does not match.
    None,
}

/// The evaluation of one statement.
#[derive(Clone, Debug)]
pub struct StatementTrace<'p> {
    /// The statement.
    pub statement: &'p Statement,
    /// Whether the statement is part of a boundary.
    pub bound: bool,
    /// How closely the request matches.
    pub nearness: MatchLevel,
    /// The reason why the statement does not match; empty for a match.
    pub why: String,
}

/// Evaluates each statement of `grants`. The result is ordered by closeness of the match, then Deny
/// before Allow, then in the order of the policies.
pub fn explain<'p>(grants: &'p Grants, request: &EvalRequest<'_>) -> Vec<StatementTrace<'p>> {
    let trace = |statements: &'p Statements, bound| {
        statements.iter().map(move |statement| {
            let (nearness, why) = match statement.met(request) {
                Ok(()) => (MatchLevel::Met, String::new()),
                Err(miss) => (nearness(&miss), words(statement, &miss, request)),
            };
            StatementTrace { statement, bound, nearness, why }
        })
    };
    let bounds = grants.bounds.iter().flat_map(|bound| trace(bound, true));
    let mut traces: Vec<StatementTrace<'p>> = trace(&grants.policies, false).chain(bounds).collect();
    traces.sort_by_key(|entry| entry.nearness);
    traces
}

fn nearness(miss: &Miss<'_>) -> MatchLevel {
    match miss {
        Miss::Condition(..) => MatchLevel::Condition,
        Miss::Resource | Miss::Unfilled(_) | Miss::Principal => MatchLevel::Action,
        Miss::Action => MatchLevel::None,
    }
}

fn words(statement: &Statement, miss: &Miss<'_>, request: &EvalRequest<'_>) -> String {
    match miss {
        Miss::Action => {
            let (not, actions) = statement.actions();
            format!("it is about {}", listed(not, actions.map(ToString::to_string)))
        }
        Miss::Resource => {
            let (not, resources) = statement.resources();
            format!("it is about {}", listed(not, resources.map(ToString::to_string)))
        }
        Miss::Principal => "it is about another principal".to_owned(),
        Miss::Unfilled(key) => format!("its resource has a variable, and the request has no `{key}`"),
        Miss::Condition(condition, Unmet::Absent) => {
            format!("{} asks for `{}`, which the request has not", condition.operator, condition.key)
        }
        Miss::Condition(condition, Unmet::Unreadable) => {
            format!("{} asks for `{}`, which cannot be read", condition.operator, condition.key)
        }
        Miss::Condition(condition, Unmet::Unfilled(key)) => {
            format!("{} compares with a variable, and the request has no `{key}`", condition.operator)
        }
        Miss::Condition(condition, Unmet::Differs) => {
            let held = match request.context.values(&condition.key) {
                Values::Absent | Values::Unreadable => "none".to_owned(),
                values => listed(false, values.each().map(|value| value.text().into_owned())),
            };
            let wanted = listed(false, condition.written().iter().cloned());
            format!(
                "{} of `{}`: the request has {held}, the policy {wanted}",
                condition.operator, condition.key
            )
        }
    }
}

/// Joins quoted texts for a sentence.
fn listed(not: bool, all: impl Iterator<Item = String>) -> String {
    let quoted: Vec<String> = all.map(|text| format!("`{text}`")).collect();
    let texts = match quoted.is_empty() {
        true => "none".to_owned(),
        false => quoted.join(", "),
    };
    if not { format!("everything but {texts}") } else { texts }
}
