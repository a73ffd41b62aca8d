//! `narthex explain`: the access decision for a request and its reasons, determined with the
//! gateway's own steps.

mod explanation;
mod subject;

pub use subject::SubjectArg;

use super::build::CommandError;
use super::output::message;
use crate::base::{Clock as _, SystemClock, Timestamp};
use crate::catalogue::{PolicyRule, Route, Rule};
use crate::config::{Config, Host, MappingType};
use crate::gateway::{self, Path, Resources};
use crate::identity::{AssumedRole, Person, RequestContext, RoleChoice, choose_role};
use crate::policy::{self, Context, Grants, KNOWN_KEYS, Key, Known, MatchLevel, Value, Values, Verdict};
use chrono::DateTime;
pub use explanation::Explanation;
use explanation::StatementResult;
use http::Method;
use std::collections::BTreeMap;
use std::sync::Arc;
use subject::{ExplainContext, Subject};

/// The request to explain.
pub struct Arguments {
    /// The subject of the request.
    pub who: SubjectArg,
    /// The subject's provider, if there are several.
    pub provider: Option<String>,
    /// Additional condition keys with their values.
    pub context: Vec<(String, String)>,
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
}

/// The decision that is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Expectation {
    /// The request passes.
    Allow,
    /// It does not.
    Deny,
}

impl std::fmt::Display for Expectation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

/// Prints the explanation, as JSON if `json` is set.
///
/// # Errors
/// Returns an error if the subject or the request is not valid, or the decision differs from
/// `expect`.
pub async fn explain(
    config: &std::path::Path,
    arguments: Arguments,
    json: bool,
    expect: Option<Expectation>,
) -> Result<(), CommandError> {
    let config = Config::load(config, &|name| std::env::var(name).ok())?;
    let explanation = decide(config, arguments).await?;
    if json {
        explanation.print_json()
    } else {
        explanation.print()
    }
    match expect.filter(|expect| *expect != explanation.decision()) {
        None => Ok(()),
        Some(expect) => Err(CommandError::new(
            "narthex explain",
            format!("{expect} is expected, and it is {}", explanation.summary()),
        )),
    }
}

/// Returns the access decision for a request, and its reasons.
///
/// # Errors
/// Returns an error if the subject or the request is not valid.
pub async fn decide(config: Config, arguments: Arguments) -> Result<Explanation, CommandError> {
    let error = |why: String| CommandError::new("narthex explain", message(&why));
    let Arguments { who, provider, context, method, url } = arguments;
    let method: Method = method.parse().map_err(|_| error(format!("\"{method}\" is no method")))?;
    let overrides = ContextOverrides::of(&context).map_err(error)?;
    let subject_context = ExplainContext::load(config, who, provider.as_deref()).await?;

    let (host, path) = split(&url).map_err(error)?;
    let mut explanation = Explanation::new(&method, &url, subject_context.subject.as_ref());
    match Path::parse(path) {
        Err(bad) => explanation.stop(format!("the path is refused with 400: {bad:?}")),
        Ok(path) => match gateway::locate(&subject_context.catalogue, &host, &path) {
            Err(why) => explanation.stop(why.to_owned()),
            Ok(route) => {
                explain_route(&subject_context, &route, &method, &path, &overrides, &mut explanation)
            }
        },
    }
    Ok(explanation)
}

/// Splits a URL into host and raw path. The path is not normalized, because servers normalize paths
/// differently.
fn split(url: &str) -> Result<(Host, &str), String> {
    let help = "write it as it stands in the browser: https://app.example.com/path";
    let rest = url
        .strip_prefix("https://")
        .ok_or_else(|| format!("\"{url}\" is no https address\n  help: {help}"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = Host::from_authority(&rest[..end])
        .ok_or_else(|| format!("\"{}\" is no host\n  help: {help}", &rest[..end]))?;
    let path = &rest[end..];
    let path = &path[..path.find(['?', '#']).unwrap_or(path.len())];
    Ok((host, if path.is_empty() { "/" } else { path }))
}

fn explain_route(
    subject_context: &ExplainContext,
    route: &Arc<Route>,
    method: &Method,
    path: &Path<'_>,
    overrides: &ContextOverrides,
    explanation: &mut Explanation,
) {
    explanation.route = Some(route.config.name.clone());
    if let Some(scopes) = subject_context.subject.as_ref().and_then(|subject| subject.scopes.as_ref()) {
        let missing_scope = route.config.scopes.iter().find(|scope| !scopes.contains(scope));
        match (route.config.bearer, missing_scope) {
            (false, _) => {
                return explanation.stop("the route takes no bearer tokens: it does not look at it".into());
            }
            (true, Some(scope)) => {
                return explanation.stop(format!("the token lacks the scope `{scope}` of the route: 403"));
            }
            (true, None) => {}
        }
    }
    match &*route.rule {
        Rule::Public => explanation.allow("public", "anyone may pass"),
        Rule::SignedIn | Rule::Listed(_) if subject_context.subject.is_none() => {
            explanation.require_sign_in("signed-in", "nobody is signed in")
        }
        Rule::SignedIn => explanation.allow("signed-in", "everybody who is signed in may pass"),
        Rule::Listed(allow) => {
            explanation.access = "signed-in";
            let who = subject_context.subject.as_ref();
            match who.is_some_and(|who| who.person(&subject_context.catalogue.config).is_named_by(allow)) {
                true => explanation.allow("signed-in", "the lists of the route name the person"),
                false => explanation
                    .deny("implicitDeny", "the lists of the route do not name the person".to_owned()),
            }
        }
        Rule::Policy(judged) => explain_policy(subject_context, judged, method, path, overrides, explanation),
    }
}

fn explain_policy(
    subject_context: &ExplainContext,
    judged: &PolicyRule,
    method: &Method,
    path: &Path<'_>,
    overrides: &ContextOverrides,
    explanation: &mut Explanation,
) {
    let catalogue = &subject_context.catalogue;
    let pool = &judged.identity_pool;
    explanation.access = "policy";
    explanation.identity_pool = Some(pool.config.name.clone());
    let person = subject_context.subject.as_ref().map(|subject| subject.person(&catalogue.config));
    explanation.rules = rules(subject_context, person.as_ref(), judged);
    let chosen = match choose_role(&catalogue.roles, pool, person.as_ref()) {
        Ok(chosen) => chosen,
        Err(none) => return explanation.deny("implicitDeny", none.to_string()),
    };
    let RoleChoice { role, reason } = chosen.clone();
    explanation.role = Some(role.id.arn.clone());
    explanation.reason = Some(reason.to_string());
    let identity_id = subject_context.identity_id(pool);
    let assumed = match AssumedRole::new(catalogue, pool, chosen, &identity_id, person.as_ref()) {
        Ok(assumed) => assumed,
        Err(none) => return explanation.deny("implicitDeny", none.to_string()),
    };
    explanation.identity_id = Some(assumed.identity_id().to_owned());
    explanation.tags = assumed.tags().map(|(tag, value)| (tag.name.clone(), value.to_owned())).collect();

    let resources = Resources::of(judged, method.as_str(), path);
    let context = overrides.apply(&assumed);
    if let Some(trust) = judged.trust_by_request(&role.id)
        && let Err(none) = assumed.trusted(trust, &context)
    {
        return explanation.deny("implicitDeny", none.to_string());
    }
    let asked = resources.eval_request(&context);
    explanation.context = describe_context(&context, &assumed, overrides);
    explanation.statements = policy::explain(&role.grants, &asked).iter().map(StatementResult::of).collect();
    let nothing = Grants::default();
    match judged.grants(&role.id).unwrap_or(&nothing).judge(&asked) {
        Verdict::Allowed(statement) => explanation.allow("policy", &statement.place()),
        Verdict::Denied(statement) => explanation.deny("explicitDeny", statement.place()),
        Verdict::NotAllowed => {
            let unbound = matches!(role.grants.policies.judge(&asked), Verdict::Allowed(_));
            let why =
                match (unbound, explanation.statements.iter().any(|line| line.near == MatchLevel::Condition))
                {
                    (true, _) => "the role's policies allow it, and its permissions_boundary does not",
                    (false, true) => "no statement allows it; a condition of one that would is not met",
                    (false, false) => "no statement allows it",
                };
            explanation.deny("implicitDeny", why.to_owned());
        }
    }
    explanation.resource = Some(resources.exact);
}

/// Describes the rules of the role mapping for the subject's provider, each with the claim's value.
fn rules(subject_context: &ExplainContext, person: Option<&Person<'_>>, judged: &PolicyRule) -> Vec<String> {
    let Some(person) = person else { return Vec::new() };
    let mapping = judged.identity_pool.config.mapping(person.provider);
    let values = |claim: &str| match person.claim(claim).as_deref() {
        Ok([]) => "is not there".to_owned(),
        Ok(values) => format!("is {}", values.join(", ")),
        Err(_) => "cannot be compared".to_owned(),
    };
    match mapping.map(|mapping| &mapping.by) {
        Some(MappingType::Rules(rules)) => rules
            .iter()
            .map(|rule| {
                let (claim, wanted) = (&rule.claim, &rule.value);
                format!(
                    "{claim} {:?} \"{wanted}\" gives {}: {claim} {}",
                    rule.match_type,
                    rule.role,
                    values(claim)
                )
            })
            .collect(),
        Some(MappingType::Token) => {
            let config = &subject_context.catalogue.config;
            let named = config.user_pools().find(|pool| pool.name == person.provider);
            let groups = named.unwrap_or(&config.user_pool).groups.iter();
            let line = |group: &crate::config::Group| {
                let role = group.role.as_deref().unwrap_or("none");
                let member = person.groups.pool_groups.iter().any(|of| of.name == group.name);
                let precedence = group
                    .precedence
                    .map_or_else(|| "no precedence".to_owned(), |p| format!("precedence {p}"));
                let member = if member { "a member" } else { "not a member" };
                format!("group {} ({precedence}) has the role {role}: {member}", group.name)
            };
            groups.map(line).collect()
        }
        None => Vec::new(),
    }
}

/// Condition keys of the request that the command line sets.
struct ContextOverrides {
    now: Timestamp,
    /// Always empty, because their values are given as condition keys.
    headers: http::HeaderMap,
    given: Vec<(Key, Vec<String>)>,
}

impl ContextOverrides {
    fn of(context: &[(String, String)]) -> Result<Self, String> {
        let mut overrides =
            Self { now: SystemClock.now(), headers: http::HeaderMap::new(), given: Vec::new() };
        for (name, value) in context {
            let key = Key::named(name);
            if matches!(key, Key::Other(_)) {
                let known: Vec<_> = KNOWN_KEYS.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "nothing fills `{name}`\n  help: give one of {}, aws:PrincipalTag/…",
                    known.join(", ")
                ));
            }
            if key == Key::named("aws:CurrentTime") {
                let at = DateTime::parse_from_rfc3339(value).map_err(|_| {
                    format!("\"{value}\" is no moment\n  help: write it like 2026-11-23T09:00:00Z")
                })?;
                overrides.now = Timestamp::from_millis(at.timestamp_millis());
                continue;
            }
            match overrides.given.iter_mut().find(|(known, _)| *known == key) {
                Some((_, values)) => values.push(value.clone()),
                None => overrides.given.push((key, vec![value.clone()])),
            }
        }
        Ok(overrides)
    }

    fn apply<'a>(&'a self, assumed: &'a AssumedRole) -> OverriddenContext<'a> {
        let request =
            RequestContext { assumed, now: self.now, source_ip: None, secure: true, headers: &self.headers };
        OverriddenContext { request, given: &self.given }
    }
}

/// The context of a request, with overrides from the command line.
struct OverriddenContext<'a> {
    request: RequestContext<'a>,
    given: &'a [(Key, Vec<String>)],
}

impl Context for OverriddenContext<'_> {
    fn values(&self, key: &Key) -> Values<'_> {
        match self.given.iter().find(|(given, _)| given == key) {
            Some((_, values)) => match values.as_slice() {
                [one] => Values::One(Value::Text(one)),
                many => Values::Many(many),
            },
            // Without a value, the key is absent and not unreadable.
            None if *key == Key::Known(Known::SourceIp) => Values::Absent,
            None => self.request.values(key),
        }
    }
}

/// Returns the condition keys that have a value, with their values.
fn describe_context(
    context: &dyn Context,
    assumed: &AssumedRole,
    overrides: &ContextOverrides,
) -> BTreeMap<String, Vec<String>> {
    let known = KNOWN_KEYS.iter().map(|(_, known)| Key::Known(*known));
    let tags = assumed.tags().map(|(tag, _)| Key::named(&format!("aws:PrincipalTag/{}", tag.name)));
    let given = overrides.given.iter().map(|(key, _)| key.clone());
    let all = known.chain(tags).chain(given);
    let values = |key: Key| {
        let values: Vec<_> = context.values(&key).each().map(|value| value.text().into_owned()).collect();
        (!values.is_empty()).then(|| (key.to_string(), values))
    };
    all.filter_map(values).collect()
}
