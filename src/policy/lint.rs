//! What is probably a mistake in a statement that is well-formed.

use super::arn::Arn;
use super::context::{Asked, Key, Nothing};
use super::pattern::{Case, Matched};
use super::statement::{Effect, Statement};

/// What is odd about `statement`, where requests are for one of `actions`, and `fills` says which keys they may have.
pub fn lint(statement: &Statement, actions: &[&str], fills: &dyn Fn(&Key) -> bool) -> Vec<String> {
    let mut odd = Vec::new();
    let (not, patterns) = statement.actions();
    for pattern in patterns.filter(|_| !not) {
        let asked = |action: &&str| pattern.matches(action, Case::Ignored, &Nothing) == Matched::Yes;
        if !actions.iter().any(asked) {
            odd.push(format!("nothing asks for the action `{pattern}`: write {}", actions.join(" or ")));
        }
    }
    let (not, resources) = statement.resources();
    for resource in resources.map(ToString::to_string).filter(|_| !not && statement.effect == Effect::Allow) {
        let wildcard = resource.find(['*', '?']).unwrap_or(resource.len());
        if Arn::parse(&resource, true).is_err() && wildcard + 1 < resource.len() {
            odd.push(format!(
                "`{resource}` has not six parts with : between: its wildcard may match in a path of another resource"
            ));
        }
        if resource.contains("/$default/*/") {
            odd.push(format!(
                "`{resource}` allows more than its path: * stands for any text, slashes too; write the methods instead"
            ));
        }
    }
    for condition in statement.conditions().iter().filter(|condition| !fills(&condition.key)) {
        let asked = Asked { action: "", resource: "", loose: None, principal: None, context: &Nothing };
        let always = condition.met(&asked, statement.effect == Effect::Deny).is_ok();
        let often = if always { "always" } else { "never" };
        odd.push(format!(
            "nothing fills `{}` for those who have the role: {} of it is {often} met",
            condition.key, condition.operator
        ));
    }
    for variable in
        statement.variables().filter(|variable| variable.default.is_none() && !fills(&variable.key))
    {
        odd.push(format!("nothing fills `${{{}}}` for those who have the role", variable.key));
    }
    odd.dedup();
    odd
}
