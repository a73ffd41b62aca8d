//! Policy statements, compiled once and evaluated without allocation.

use super::arn::{self, Arn};
use super::condition::{Condition, Unmet};
use super::context::{EvalRequest, Key, Nothing, Values};
use super::pattern::{Case, Matched, Pattern, Syntax, Variable};
use super::principal;
use crate::base::fold;
use serde::Deserialize;
use smallvec::SmallVec;
use std::sync::Arc;

/// The effect of a statement that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Effect {
    /// Allows the request, unless another statement denies it.
    Allow,
    /// Denies the request, regardless of other statements.
    Deny,
}

/// A statement of a policy.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The Sid.
    pub sid: Option<String>,
    /// The name of the policy.
    pub policy: Arc<str>,
    /// The statement's number in its policy, from 1.
    pub number: usize,
    /// The statement's first line, from 1.
    pub line: usize,
    /// The effect.
    pub effect: Effect,
    principal: Option<Vec<(String, String)>>,
    /// Boxed to keep statements small, because all statements of a route match the same action.
    action: Box<Element>,
    resource: Option<Element>,
    conditions: Vec<Condition>,
}

/// Patterns of which one must match; for `Not…` elements, none may match.
#[derive(Clone, Debug)]
struct Element {
    not: bool,
    /// The patterns. Most elements have one, which is stored inline.
    alternatives: SmallVec<[Alternative; 1]>,
    /// The same patterns, folded.
    loose: SmallVec<[Pattern; 1]>,
}

/// One of an element's patterns.
#[derive(Clone, Debug)]
struct Alternative {
    pattern: Pattern,
    /// The components, if the pattern is matched component by component.
    arn: Option<Box<Arn>>,
    /// Whether the pattern contains path parameters, which are then part of the match.
    names_parameters: bool,
}

/// The parts of a statement.
pub(super) struct Elements {
    pub sid: Option<String>,
    pub number: usize,
    pub line: usize,
    pub effect: Effect,
    pub principal: Option<Vec<(String, String)>>,
    pub action: (bool, Vec<String>),
    pub resource: Option<(bool, Vec<String>)>,
    /// Operator, key and operands of each condition.
    pub conditions: Vec<(String, String, Vec<String>)>,
    /// Whether the document's version supports variables.
    pub variables: bool,
}

/// The reason why a request does not match a statement.
#[derive(Clone, Copy, Debug)]
pub enum Miss<'p> {
    /// The action does not match.
    Action,
    /// The resource does not match.
    Resource,
    /// The principal does not match.
    Principal,
    /// A variable in the resource has no value.
    Unfilled(&'p Key),
    /// This condition is not met.
    Condition(&'p Condition, Unmet<'p>),
}

impl Statement {
    pub(super) fn new(elements: Elements) -> Result<Self, String> {
        let Elements { sid, number, line, effect, principal, action, resource, conditions, variables } =
            elements;
        if let Some(action) = action.1.iter().find(|action| !is_action(action)) {
            return Err(format!("`{action}` is no action; write it like `execute-api:Invoke`"));
        }
        for resource in resource.iter().flat_map(|(_, resources)| resources) {
            arn::check_resource(resource)?;
        }
        let texts = resource.iter().flat_map(|(_, resources)| resources);
        let mut texts = texts.chain(conditions.iter().flat_map(|(_, _, values)| values));
        // "Variable unsupported in version": it would be literal text, and its Deny would never
        // apply.
        if let Some(text) = texts.find(|text| !variables && text.contains("${")) {
            return Err(format!(
                "`{text}` has a policy variable, which version 2008-10-17 does not know; help: write \"Version\": \"2012-10-17\""
            ));
        }
        let conditions = conditions
            .into_iter()
            .map(|(operator, key, values)| Condition::parse(&operator, &key, values, variables))
            .collect::<Result<_, _>>()?;
        if principal.as_ref().is_some_and(Vec::is_empty) {
            return Err("the Principal is empty".into());
        }
        let resource = resource.map(|resource| Element::new("Resource", resource, variables)).transpose()?;
        Ok(Self {
            sid,
            policy: "".into(),
            number,
            line,
            effect,
            principal,
            action: Box::new(Element::new("Action", action, false)?),
            resource: resource.map(|element| match effect {
                Effect::Allow => element.part_by_part(variables),
                Effect::Deny => element,
            }),
            conditions,
        })
    }

    /// Matches `request`.
    ///
    /// # Errors
    /// Returns the reason if it does not match.
    pub fn met(&self, request: &EvalRequest<'_>) -> Result<(), Miss<'_>> {
        let denies = self.effect == Effect::Deny;
        match self.action.matches(request.action, None, Case::Ignored, request, denies) {
            Matched::Yes => {}
            Matched::No | Matched::Unfilled(_) => return Err(Miss::Action),
        }
        self.met_by_action(request)
    }

    /// Matches all elements except the action, which must be known to match.
    ///
    /// # Errors
    /// Returns the reason if it does not match.
    pub(super) fn met_by_action(&self, request: &EvalRequest<'_>) -> Result<(), Miss<'_>> {
        let denies = self.effect == Effect::Deny;
        match self.resource.as_ref().map(|of| of.concerns(request, denies)) {
            None | Some(Matched::Yes) => {}
            Some(Matched::No) => return Err(Miss::Resource),
            Some(Matched::Unfilled(key)) if denies && request.context.values(key) == Values::Unreadable => {}
            Some(Matched::Unfilled(key)) => return Err(Miss::Unfilled(key)),
        }
        if !self.names_principal(request.principal) {
            return Err(Miss::Principal);
        }
        for condition in &self.conditions {
            condition.met(request, denies).map_err(|unmet| Miss::Condition(condition, unmet))?;
        }
        Ok(())
    }

    /// Returns whether `principal` matches. A statement without a Principal matches everyone.
    pub(super) fn names_principal(&self, principal: Option<(&str, &str)>) -> bool {
        let named = |(kind, name): &(String, String)| {
            principal::is_everybody(kind, name) || principal == Some((kind.as_str(), name.as_str()))
        };
        self.principal.as_ref().is_none_or(|principals| principals.iter().any(named))
    }

    /// Returns whether a request for `action` on a resource that begins with `prefix` may match.
    pub fn may_be_met(&self, action: &str, prefix: &str) -> bool {
        let request = EvalRequest { action, resource: "", loose: None, principal: None, context: &Nothing };
        // Actions contain no variables, so the context may be empty.
        let acts = self.action.matches(action, None, Case::Ignored, &request, false) == Matched::Yes;
        // A Deny applies to every spelling of a resource.
        let loose = (self.effect == Effect::Deny).then(|| fold(prefix));
        let concerns = |element: &Element| {
            element.not
                || element.patterns().any(|pattern| pattern.may_begin_with(prefix))
                || loose
                    .as_ref()
                    .is_some_and(|loose| element.loose.iter().any(|pattern| pattern.may_begin_with(loose)))
        };
        acts && self.resource.as_ref().is_none_or(concerns)
    }

    /// Returns the literal text after `prefix` that all matching resources share. Returns an empty
    /// text if it is unknown, and for a Deny, which applies to every spelling.
    pub(super) fn lead(&self, prefix: &str) -> &str {
        let Some(element) = self.resource.as_ref().filter(|of| self.effect == Effect::Allow && !of.not)
        else {
            return "";
        };
        let likely = element.patterns().filter(|pattern| pattern.may_begin_with(prefix));
        let lead = |pattern| Pattern::lead(pattern).get(prefix.len()..).unwrap_or_default();
        likely.map(lead).reduce(common).unwrap_or_default()
    }

    /// Returns the patterns of Resource that match no resource beginning with one of `prefixes`.
    /// ARNs are compared component by component: a `*` that spans several components does not
    /// match.
    pub(super) fn resources_beyond(&self, prefixes: &[String]) -> Vec<String> {
        let Some(element) = self.resource.as_ref().filter(|element| !element.not) else { return Vec::new() };
        let case = if self.effect == Effect::Deny { Case::Ignored } else { Case::Sensitive };
        let beyond = |pattern: &String| {
            Arn::of_resource(pattern, true)
                .is_ok_and(|arn| !prefixes.iter().any(|prefix| arn.may_begin_with(prefix, case)))
        };
        element.patterns().map(ToString::to_string).filter(beyond).collect()
    }

    /// Returns whether NotResource excludes every resource that begins with one of `prefixes`.
    pub(super) fn spares_all(&self, prefixes: &[String]) -> bool {
        let spares = |element: &Element, prefix: &String| {
            // A pattern that matches the prefix and ends with a wildcard matches any continuation.
            element.patterns().any(|pattern| {
                pattern.to_string().ends_with('*')
                    && pattern.matches(prefix, Case::Sensitive, &Nothing) == Matched::Yes
            })
        };
        let element = self.resource.as_ref().filter(|element| element.not);
        element.is_some_and(|element| prefixes.iter().all(|prefix| spares(element, prefix)))
    }

    /// Returns the statement's location for messages: file, line and Sid.
    pub fn place(&self) -> String {
        let sid = self.sid.as_ref().map_or_else(String::new, |sid| format!(" ({sid})"));
        format!("{}:{}{sid}", self.policy, self.line)
    }

    /// Returns the conditions.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Returns whether the actions are excluded (NotAction), and their patterns.
    pub fn actions(&self) -> (bool, impl Iterator<Item = &Pattern>) {
        (self.action.not, self.action.patterns())
    }

    /// Returns whether the resources are excluded (NotResource), and their patterns.
    pub fn resources(&self) -> (bool, impl Iterator<Item = &Pattern>) {
        let element = self.resource.as_ref();
        (element.is_some_and(|element| element.not), element.into_iter().flat_map(Element::patterns))
    }

    /// Iterates over the variables of resources and conditions.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        let (_, resources) = self.resources();
        resources.flat_map(Pattern::variables).chain(self.conditions.iter().flat_map(Condition::variables))
    }
}

/// Returns whether `action` is `*`, or a service and an action name, which may contain wildcards.
fn is_action(action: &str) -> bool {
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'*' | b'?'))
    };
    action == "*" || action.split_once(':').is_some_and(|(service, name)| plain(service) && plain(name))
}

/// Returns the common prefix of two texts.
fn common<'a>(one: &'a str, other: &str) -> &'a str {
    let same = one.char_indices().zip(other.chars()).take_while(|((_, a), b)| a == b);
    &one[..same.map(|((at, letter), _)| at + letter.len_utf8()).last().unwrap_or(0)]
}

impl Element {
    fn new(name: &str, (not, texts): (bool, Vec<String>), variables: bool) -> Result<Self, String> {
        let name = if not { format!("Not{name}") } else { name.to_owned() };
        if texts.is_empty() {
            return Err(format!("{name} names nothing"));
        }
        let syntax = Syntax { wildcards: true, variables };
        let alternative = |text: &String| {
            let names_parameters = text.contains(';');
            Pattern::parse(text, syntax).map(|pattern| Alternative { pattern, arn: None, names_parameters })
        };
        let alternatives: Result<SmallVec<[Alternative; 1]>, _> = texts.iter().map(alternative).collect();
        let alternatives = alternatives.map_err(|why| format!("{name}: {why}"))?;
        let loose = alternatives.iter().map(|one| one.pattern.folded()).collect();
        Ok(Self { not, alternatives, loose })
    }

    fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.alternatives.iter().map(|one| &one.pattern)
    }

    /// Makes allowed resources match component by component. A wildcard for region or account must
    /// not span components: `…:*:*:photos/…` would match another resource whose path contains the
    /// rest.
    fn part_by_part(mut self, variables: bool) -> Self {
        if !self.not {
            for Alternative { pattern, arn, .. } in &mut self.alternatives {
                let parts = Arn::of_resource(&pattern.to_string(), variables).ok().filter(Arn::is_wide);
                *arn = parts.map(Box::new);
            }
        }
        self
    }

    /// Returns whether the element matches the resource of the request. A restriction (Deny with
    /// `Resource`, Allow with `NotResource`) applies to every spelling that a server may accept. A
    /// permission must match both with and without a suffix that some servers drop.
    fn concerns<'p>(&'p self, request: &EvalRequest<'_>, denies: bool) -> Matched<'p> {
        let shuts = denies != self.not;
        let ending = request.loose.and_then(|loose| loose.without_ending).filter(|_| !shuts);
        let exactly = self.matches(request.resource, ending, Case::Sensitive, request, denies);
        let Some(loose) = request.loose.filter(|_| shuts) else { return exactly };
        let meant = |pattern: &Pattern, text: &String| {
            pattern.matches(text, Case::Folded, request.context) == Matched::Yes
        };
        let named = |pattern: &Pattern| loose.folded.iter().any(|text| meant(pattern, text));
        match exactly {
            Matched::Yes if denies => exactly,
            _ if self.loose.iter().any(named) => {
                if denies {
                    Matched::Yes
                } else {
                    Matched::No
                }
            }
            _ => exactly,
        }
    }

    /// Returns whether the element matches `text`, and also `shorter` if it is present. If a
    /// variable has no value, an Allow does not match, and `Not…` elements of a Deny do.
    fn matches<'p>(
        &'p self,
        text: &str,
        shorter: Option<&str>,
        case: Case,
        request: &EvalRequest<'_>,
        denies: bool,
    ) -> Matched<'p> {
        let mut unfilled = None;
        for Alternative { pattern, arn, names_parameters } in &self.alternatives {
            // Most statements do not match, which their first bytes show.
            if !self.not && case == Case::Sensitive && !pattern.may_match(text) {
                continue;
            }
            let matches = |text| match arn {
                Some(arn) => arn.matches(text, request.context),
                None => pattern.matches(text, case, request.context),
            };
            let matched = match (matches(text), shorter) {
                (Matched::Yes, Some(shorter)) if !names_parameters => matches(shorter),
                (matched, _) => matched,
            };
            match matched {
                Matched::Yes if self.not => return Matched::No,
                Matched::Yes => return Matched::Yes,
                Matched::No => {}
                Matched::Unfilled(key) => unfilled = Some(key),
            }
        }
        match (unfilled, self.not) {
            (None, true) => Matched::Yes,
            (None, false) => Matched::No,
            (Some(_), true) if denies => Matched::Yes,
            (Some(key), _) => Matched::Unfilled(key),
        }
    }
}
