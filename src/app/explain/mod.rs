//! `narthex explain`: what becomes of somebody's request, and why, by the gateway's own steps.

mod told;
mod who;

pub use who::Named;

use super::build::CommandError;
use crate::base::{Clock as _, SystemClock, Timestamp};
use crate::catalogue::{PolicyRule, Route, Rule};
use crate::config::{Config, Host, MappingType};
use crate::gateway::{self, Path, Resources};
use crate::identity::{AssumedRole, Person, RequestContext, RoleChoice, choose_role};
use crate::policy::{self, Context, Grants, KNOWN_KEYS, Key, Known, MatchLevel, Value, Values, Verdict};
use chrono::DateTime;
use http::Method;
use std::collections::BTreeMap;
use std::sync::Arc;
pub use told::Explained;
use told::Line;
use who::{Scene, Who};

/// What is to be explained.
pub struct Arguments {
    /// Whose request it is.
    pub who: Named,
    /// The provider that they come through, where that is not plain.
    pub provider: Option<String>,
    /// What else is known of the request: key and value.
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

/// Explains, on standard output: as JSON, where `json` says so.
///
/// # Errors
/// Where nobody is meant, or nothing that could be asked for, or the decision is another one than `expect`.
pub async fn explain(
    config: &std::path::Path,
    arguments: Arguments,
    json: bool,
    expect: Option<Expectation>,
) -> Result<(), CommandError> {
    let config = Config::load(config, &|name| std::env::var(name).ok())?;
    let explained = decide(config, arguments).await?;
    if json {
        explained.print_json()
    } else {
        explained.print()
    }
    match expect.filter(|expect| *expect != explained.decision()) {
        None => Ok(()),
        Some(expect) => Err(CommandError::new(
            "narthex explain",
            format!("{expect} is expected, and it is {}", explained.summary()),
        )),
    }
}

/// Finds out what becomes of a request, and why.
///
/// # Errors
/// Where nobody is meant, or nothing that could be asked for.
pub async fn decide(config: Config, arguments: Arguments) -> Result<Explained, CommandError> {
    let wrong = |why: String| CommandError::new("narthex explain", why);
    let Arguments { who, provider, context, method, url } = arguments;
    let method: Method = method.parse().map_err(|_| wrong(format!("\"{method}\" is no method")))?;
    let told = Told::of(&context).map_err(wrong)?;
    let scene = Scene::set(config, who, provider.as_deref()).await?;

    let (host, path) = split(&url).map_err(wrong)?;
    let mut explained = Explained::new(&method, &url, scene.who.as_ref());
    match Path::parse(path) {
        Err(bad) => explained.stopped(format!("the path is refused with 400: {bad:?}")),
        Ok(path) => match gateway::locate(&scene.catalogue, &host, &path) {
            Err(why) => explained.stopped(why.to_owned()),
            Ok(route) => judge(&scene, &route, &method, &path, &told, &mut explained),
        },
    }
    Ok(explained)
}

/// Host and raw path of an address: as it is written, since servers differ in what they make of one.
fn split(url: &str) -> Result<(Host, &str), String> {
    let mend = "write it as it stands in the browser: https://app.example.com/path";
    let rest = url
        .strip_prefix("https://")
        .ok_or_else(|| format!("\"{url}\" is no https address\n  mend: {mend}"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = Host::from_authority(&rest[..end])
        .ok_or_else(|| format!("\"{}\" is no host\n  mend: {mend}", &rest[..end]))?;
    let path = &rest[end..];
    let path = &path[..path.find(['?', '#']).unwrap_or(path.len())];
    Ok((host, if path.is_empty() { "/" } else { path }))
}

fn judge(
    scene: &Scene,
    route: &Arc<Route>,
    method: &Method,
    path: &Path<'_>,
    told: &Told,
    explained: &mut Explained,
) {
    explained.route = Some(route.config.name.clone());
    if let Some(scopes) = scene.who.as_ref().and_then(|who| who.scopes.as_ref()) {
        let lacking = route.config.scopes.iter().find(|scope| !scopes.contains(scope));
        match (route.config.bearer, lacking) {
            (false, _) => {
                return explained.stopped("the route takes no bearer tokens: it does not look at it".into());
            }
            (true, Some(scope)) => {
                return explained.stopped(format!("the token lacks the scope `{scope}` of the route: 403"));
            }
            (true, None) => {}
        }
    }
    match &*route.rule {
        Rule::Public => explained.passes("public", "anyone may pass"),
        Rule::SignedIn | Rule::Listed(_) if scene.who.is_none() => {
            explained.asks_to_sign_in("signed-in", "nobody is signed in")
        }
        Rule::SignedIn => explained.passes("signed-in", "everybody who is signed in may pass"),
        Rule::Listed(allow) => {
            explained.access = "signed-in";
            let who = scene.who.as_ref();
            match who.is_some_and(|who| who.person(&scene.catalogue.config).is_named_by(allow)) {
                true => explained.passes("signed-in", "the lists of the route name the person"),
                false => explained
                    .refused("implicitDeny", "the lists of the route do not name the person".to_owned()),
            }
        }
        Rule::Policy(judged) => by_policy(scene, judged, method, path, told, explained),
    }
}

fn by_policy(
    scene: &Scene,
    judged: &PolicyRule,
    method: &Method,
    path: &Path<'_>,
    told: &Told,
    explained: &mut Explained,
) {
    let catalogue = &scene.catalogue;
    let pool = &judged.identity_pool;
    explained.access = "policy";
    explained.identity_pool = Some(pool.config.name.clone());
    let person = scene.who.as_ref().map(|who| who.person(&catalogue.config));
    explained.rules = rules(scene, person.as_ref(), judged);
    let chosen = match choose_role(&catalogue.roles, pool, person.as_ref()) {
        Ok(chosen) => chosen,
        Err(none) => return explained.refused("implicitDeny", none.to_string()),
    };
    let RoleChoice { role, reason } = chosen.clone();
    explained.role = Some(role.id.arn.clone());
    explained.reason = Some(reason.to_string());
    let identity_id = scene.identity_id(pool);
    let assumed = match AssumedRole::new(catalogue, pool, chosen, &identity_id, person.as_ref()) {
        Ok(assumed) => assumed,
        Err(none) => return explained.refused("implicitDeny", none.to_string()),
    };
    explained.identity_id = Some(assumed.identity_id().to_owned());
    explained.tags = assumed.tags().map(|(tag, value)| (tag.name.clone(), value.to_owned())).collect();

    let resources = Resources::of(judged, method.as_str(), path);
    let context = told.over(&assumed);
    if let Some(trust) = judged.trust_by_request(&role.id)
        && let Err(none) = assumed.trusted(trust, &context)
    {
        return explained.refused("implicitDeny", none.to_string());
    }
    let asked = resources.eval_request(&context);
    explained.context = seen(&context, &assumed, told);
    explained.statements = policy::explain(&role.grants, &asked).iter().map(Line::of).collect();
    let nothing = Grants::default();
    match judged.grants(&role.id).unwrap_or(&nothing).judge(&asked) {
        Verdict::Allowed(statement) => explained.passes("policy", &statement.place()),
        Verdict::Denied(statement) => explained.refused("explicitDeny", statement.place()),
        Verdict::NotAllowed => {
            let unbound = matches!(role.grants.policies.judge(&asked), Verdict::Allowed(_));
            let why =
                match (unbound, explained.statements.iter().any(|line| line.near == MatchLevel::Condition)) {
                    (true, _) => "the role's policies allow it, and its permissions_boundary does not",
                    (false, true) => "no statement allows it; a condition of one that would is not met",
                    (false, false) => "no statement allows it",
                };
            explained.refused("implicitDeny", why.to_owned());
        }
    }
    explained.resource = Some(resources.exact);
}

/// The rules of the mapping for the person's provider, each with what it looks at.
fn rules(scene: &Scene, person: Option<&Person<'_>>, judged: &PolicyRule) -> Vec<String> {
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
            let groups = scene.catalogue.config.user_pool.groups.iter();
            let line = |group: &crate::config::Group| {
                let role = group.role.as_deref().unwrap_or("none");
                let member = person.groups.pool_groups.iter().any(|of| of.name == group.name);
                let precedence = group
                    .precedence
                    .map_or_else(|| "no precedence".to_owned(), |p| format!("precedence {p}"));
                let member = if member { "a member" } else { "not a member" };
                format!("group {} ({precedence}) bears {role}: {member}", group.name)
            };
            groups.map(line).collect()
        }
        None => Vec::new(),
    }
}

/// What is known of the request beside who makes it.
struct Told {
    now: Timestamp,
    /// None: what would be in them is given by key.
    headers: http::HeaderMap,
    given: Vec<(Key, Vec<String>)>,
}

impl Told {
    fn of(context: &[(String, String)]) -> Result<Self, String> {
        let mut told = Self { now: SystemClock.now(), headers: http::HeaderMap::new(), given: Vec::new() };
        for (name, value) in context {
            let key = Key::named(name);
            if matches!(key, Key::Other(_)) {
                let known: Vec<_> = KNOWN_KEYS.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "nothing fills `{name}`\n  mend: give one of {}, aws:PrincipalTag/…",
                    known.join(", ")
                ));
            }
            if key == Key::named("aws:CurrentTime") {
                let at = DateTime::parse_from_rfc3339(value).map_err(|_| {
                    format!("\"{value}\" is no moment\n  mend: write it like 2026-11-23T09:00:00Z")
                })?;
                told.now = Timestamp::from_millis(at.timestamp_millis());
                continue;
            }
            match told.given.iter_mut().find(|(known, _)| *known == key) {
                Some((_, values)) => values.push(value.clone()),
                None => told.given.push((key, vec![value.clone()])),
            }
        }
        Ok(told)
    }

    fn over<'a>(&'a self, assumed: &'a AssumedRole) -> Over<'a> {
        let request =
            RequestContext { assumed, now: self.now, source_ip: None, secure: true, headers: &self.headers };
        Over { request, given: &self.given }
    }
}

/// A request, and what was said of it.
struct Over<'a> {
    request: RequestContext<'a>,
    given: &'a [(Key, Vec<String>)],
}

impl Context for Over<'_> {
    fn values(&self, key: &Key) -> Values<'_> {
        match self.given.iter().find(|(given, _)| given == key) {
            Some((_, values)) => match values.as_slice() {
                [one] => Values::One(Value::Text(one)),
                many => Values::Many(many),
            },
            // What was not given is not known to be unreadable.
            None if *key == Key::Known(Known::SourceIp) => Values::Absent,
            None => self.request.values(key),
        }
    }
}

/// What policies see.
fn seen(context: &dyn Context, assumed: &AssumedRole, told: &Told) -> BTreeMap<String, Vec<String>> {
    let known = KNOWN_KEYS.iter().map(|(_, known)| Key::Known(*known));
    let tags = assumed.tags().map(|(tag, _)| Key::named(&format!("aws:PrincipalTag/{}", tag.name)));
    let given = told.given.iter().map(|(key, _)| key.clone());
    let all = known.chain(tags).chain(given);
    let values = |key: Key| {
        let values: Vec<_> = context.values(&key).each().map(|value| value.text().into_owned()).collect();
        (!values.is_empty()).then(|| (key.to_string(), values))
    };
    all.filter_map(values).collect()
}
