//! `[[route]]`: hosts and paths, their upstreams, and the access control.

use super::allow::{Allow, allowed};
use super::app_icon::AppIcon;
use super::header_template::HeaderTemplate;
use super::host_pattern::HostPattern;
use super::reader::{Invalid, Table};
use super::role::plain_name;
use super::route_keys as keys;
use super::upstream::{Upstream, UpstreamTls};
use super::user_pool::UserPool;
use crate::base::{Duration, fold, is_control};
use http::{HeaderName, HeaderValue};
use url::Url;

/// The smallest `second_factor_age`. A shorter one could end between the proof and the request.
const MIN_FACTOR_AGE: Duration = Duration::from_secs(60);

/// A host and path, with the upstream and the access control.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name, unique in the deployment; by default the first host and the path.
    pub name: String,
    /// The name on the home page; absent for the host.
    pub title: Option<String>,
    /// The icon on the home page.
    pub icon: AppIcon,
    /// The hosts, at least one.
    pub hosts: Vec<HostPattern>,
    /// The decoded segments of the path; empty for `/`.
    pub path: Vec<String>,
    /// Whether another proxy may request decisions about its requests (forward authentication).
    pub forward_auth: bool,
    /// The servers, used in turn; empty if another proxy forwards the requests.
    pub upstreams: Vec<Upstream>,
    /// TLS settings for https upstreams.
    pub upstream_tls: UpstreamTls,
    /// The access control.
    pub access: Access,
    /// The identity pool that assigns roles, if the access control uses policies.
    pub identity_pool: Option<String>,
    /// Whether bearer tokens are accepted.
    pub bearer: bool,
    /// The user pools whose tokens are accepted, by name or id; `None` for the file's.
    pub user_pools: Option<Vec<String>>,
    /// Whether the password of `Authorization: Basic` is accepted as a bearer token.
    pub basic_password: bool,
    /// The handling of CORS preflight requests; if absent, they are handled like other requests.
    pub preflight: Option<Preflight>,
    /// The origins whose scripts may read responses.
    pub cors_origins: Vec<String>,
    /// Whether scripts of these origins may send the session cookie.
    pub cors_credentials: bool,
    /// The scopes that a bearer token must have.
    pub scopes: Vec<String>,
    /// The response to unauthenticated requests.
    pub on_unauthenticated_request: OnUnauthenticatedRequest,
    /// The `SameSite` attribute of the session cookie.
    pub same_site: SameSite,
    /// The signed-in users that may use the route; all if absent.
    pub allowed: Option<Allow>,
    /// The second factor that the route requires; `None` for none.
    pub second_factor: Option<SecondFactorRule>,
    /// The groups in the assertion: names, or prefixes followed by `*`. All if absent.
    pub assertion_groups: Option<Vec<String>>,
    /// Whether the upstream receives the provider's access token.
    pub access_token: bool,
    /// Whether the upstream receives the `Host` of the request.
    pub preserve_host: bool,
    /// Whether the route's path is removed from requests to the upstream.
    pub strip_prefix: bool,
    /// Whether URLs in response headers are rewritten to those of the route.
    pub rewrite_responses: bool,
    /// The accepted forms of paths.
    pub path_handling: PathHandling,
    /// The maximum time without a byte from the upstream. Streams are exempt.
    pub timeout: Duration,
    /// Additional request headers for the upstream.
    pub headers: Vec<HeaderTemplate>,
    /// Headers that are set in responses.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
}

/// The access control of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Signed-in users.
    SignedIn,
    /// Principals whose role's policies allow the request.
    Policy,
    /// Everyone. The upstream receives the identity of signed-in users.
    Public,
}

/// A second factor that a route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondFactorRule {
    /// The greatest age of its proof; `None` for the session's.
    pub max_age: Option<Duration>,
}

/// The response to unauthenticated requests, with the names of Application Load Balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnauthenticatedRequest {
    /// Browsers are redirected to sign in; programs receive 401.
    Auto,
    /// A redirect to sign in.
    Authenticate,
    /// 401.
    Deny,
}

/// The `SameSite` attribute of the session cookie (RFC 6265bis, section 4.1.2.7). `Strict` is not
/// supported: a sign-in returns from another site, and the cookie would be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// The cookie is not sent from pages of other sites.
    Lax,
    /// The cookie is sent from pages of other sites too.
    None,
}

/// The handling of CORS preflight requests (Fetch, section 4.8), which have no credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preflight {
    /// Narthex responds, according to `cors_origins`.
    Answer,
    /// The app responds.
    Pass,
}

/// The accepted forms of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathHandling {
    /// Paths without empty segments and encoded slashes.
    Strict,
    /// Paths that may have both, such as object keys.
    Opaque,
}

impl Route {
    pub(super) fn read(table: &Table<'_>, identity_pools: &[String]) -> Option<Self> {
        let (title, icon) = (table.read(&keys::TITLE), table.read(&keys::ICON));
        let hosts = table.read(&keys::HOST);
        let path = table.read(&keys::PATH);
        let forward_auth = table.read(&keys::FORWARD_AUTH)?;
        let upstreams = upstreams(table, forward_auth);
        let upstream_tls = UpstreamTls::read(table, &upstreams);
        let access = table.read(&keys::ACCESS)?;
        let name = name(table, access);
        let identity_pool = identity_pool(table, access, identity_pools);
        let on_unauthenticated_request = table.read(&keys::ON_UNAUTHENTICATED_REQUEST);
        let (allowed, assertion_groups) = (allowed(table, access), table.read(&keys::ASSERTION_GROUPS));
        let (second_factor, bearer) = (second_factor(table, access), table.read(&keys::BEARER)?);
        report_without_bearer(table, bearer);
        let (user_pools, access_token) = (table.read(&keys::USER_POOLS), table.read(&keys::ACCESS_TOKEN));
        let scopes = table.read(&keys::SCOPES).unwrap_or_default();
        let basic_password = table.read(&keys::BASIC_PASSWORD).is_some();
        let cors_origins = table.read(&keys::CORS_ORIGINS).unwrap_or_default();
        let cors_credentials = cors_credentials(table, bearer, &cors_origins);
        let preflight = table.read(&keys::PREFLIGHT);
        let preflight = preflight.or((bearer || !cors_origins.is_empty()).then_some(Preflight::Answer));
        let (preserve_host, strip_prefix) =
            (table.read(&keys::PRESERVE_HOST), table.read(&keys::STRIP_PREFIX));
        let (same_site, rewrite_responses) =
            (table.read(&keys::SAME_SITE), table.read(&keys::REWRITE_RESPONSES));
        let (path_handling, timeout) = (table.read(&keys::PATH_HANDLING), table.read(&keys::TIMEOUT));
        let (headers, response_headers) = (table.read(&keys::HEADERS), table.read(&keys::RESPONSE_HEADERS));
        table.finish();

        let (hosts, path) = (hosts?, path?);
        Some(Self {
            name: name.unwrap_or_else(|| format!("{}/{}", hosts[0], path.join("/"))),
            title,
            icon: icon?,
            hosts,
            path,
            forward_auth,
            upstreams,
            upstream_tls,
            access,
            identity_pool,
            bearer,
            user_pools,
            basic_password,
            preflight,
            cors_origins,
            cors_credentials,
            scopes,
            on_unauthenticated_request: on_unauthenticated_request?,
            same_site: same_site?,
            allowed,
            second_factor,
            assertion_groups,
            access_token: access_token?,
            preserve_host: preserve_host?,
            strip_prefix: strip_prefix?,
            rewrite_responses: rewrite_responses?,
            path_handling: path_handling?,
            timeout: timeout?,
            headers: headers.unwrap_or_default(),
            response_headers: response_headers.unwrap_or_default(),
        })
    }

    /// Returns whether tokens of the user pool with these names are accepted; `is_own` states
    /// whether it is the first pool of the file.
    pub fn accepts_user_pool(&self, names: &[&str], is_own: bool) -> bool {
        let is_named = |pools: &Vec<String>| pools.iter().any(|name| names.contains(&name.as_str()));
        self.user_pools.as_ref().map_or(is_own, is_named)
    }

    /// Returns whether a user pool whose tokens are accepted may issue any. `pools` are those of
    /// the file; a pool that is not among them was made by the API.
    pub fn may_get_pool_tokens<'a>(&self, pools: impl IntoIterator<Item = &'a UserPool> + Clone) -> bool {
        let first_issues = || pools.clone().into_iter().next().is_some_and(UserPool::issues_access_tokens);
        let issues = |name: &String| {
            let declared = pools.clone().into_iter().find(|pool| pool.name == *name);
            declared.is_none_or(UserPool::issues_access_tokens)
        };
        self.user_pools.as_ref().map_or_else(first_issues, |names| names.iter().any(issues))
    }

    /// Returns whether the assertion contains `group`.
    pub fn passes_group(&self, group: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => group.starts_with(prefix),
            None => group == pattern,
        };
        self.assertion_groups.as_ref().is_none_or(|patterns| patterns.iter().any(fits))
    }

    /// Returns the path as text: `/` or `/a/b`.
    pub fn path_text(&self) -> String {
        format!("/{}", self.path.join("/"))
    }
}

/// Reads the servers, which must have the same scheme.
fn upstreams(table: &Table<'_>, forward_auth: bool) -> Vec<Upstream> {
    let item = match forward_auth {
        true => table.get(&keys::UPSTREAM),
        false => table.required(&keys::UPSTREAM),
    };
    let Some(item) = item else { return Vec::new() };
    let upstreams = keys::UPSTREAM.value(&item).unwrap_or_default();
    if upstreams.windows(2).any(|pair| pair[0].scheme != pair[1].scheme) {
        item.report(
            "`upstream` mixes http, https and h2c",
            "use the same scheme for all upstreams of a route",
        );
    }
    upstreams
}

/// Reads the name, which is part of ARNs if the access control uses policies.
fn name(table: &Table<'_>, access: Access) -> Option<String> {
    match access {
        Access::Policy => table
            .required(&keys::NAME)
            .and_then(|item| item.parse(|text| plain_name(text, "a route with access = \"policy\""))),
        Access::SignedIn | Access::Public => table.read(&keys::NAME),
    }
}

/// Reads whether the route requires a second factor.
fn second_factor(table: &Table<'_>, access: Access) -> Option<SecondFactorRule> {
    let max_age = table.read(&keys::SECOND_FACTOR_AGE);
    let is_required = table.read(&keys::SECOND_FACTOR).unwrap_or_default();
    let items = [table.get(&keys::SECOND_FACTOR), table.get(&keys::SECOND_FACTOR_AGE)];
    for item in items.iter().flatten().filter(|_| access == Access::Public) {
        item.report(
            format!("`{}` has no effect with access = \"public\"", item.key),
            "remove `access`, or the key",
        );
    }
    if let Some(item) = &items[1] {
        if !is_required {
            item.report(
                "`second_factor_age` has no effect without `second_factor`",
                "add second_factor = true",
            );
        }
        if max_age.is_some_and(|age| age < MIN_FACTOR_AGE) {
            item.report("`second_factor_age` is shorter than a minute", "write at least \"1m\"");
        }
    }
    is_required.then_some(SecondFactorRule { max_age })
}

/// Reads the identity pool that assigns roles: the named one, or the only one.
fn identity_pool(table: &Table<'_>, access: Access, known: &[String]) -> Option<String> {
    match (table.get(&keys::IDENTITY_POOL), access == Access::Policy, known) {
        (Some(item), true, _) => item.name_of("identity_pool", known),
        (Some(item), false, _) => {
            item.report(
                "`identity_pool` has no effect without access = \"policy\"",
                "add access = \"policy\", or remove it",
            );
            None
        }
        (None, false, _) => None,
        (None, true, [only]) => Some(only.clone()),
        (None, true, _) => {
            table.report(
                "access = \"policy\" needs an identity pool",
                "name an [[identity_pool]] of the file: identity_pool = \"main\"",
            );
            None
        }
    }
}

/// Reports keys that have no effect without bearer tokens.
fn report_without_bearer(table: &Table<'_>, bearer: bool) {
    let items = [table.get(&keys::SCOPES), table.get(&keys::BASIC_PASSWORD), table.get(&keys::USER_POOLS)];
    for item in items.into_iter().flatten().filter(|_| !bearer) {
        item.report(
            format!("`{}` has no effect without bearer = true", item.key),
            "add bearer = true, or remove it",
        );
    }
}

/// Reads whether scripts of the origins may send the session cookie.
fn cors_credentials(table: &Table<'_>, bearer: bool, origins: &[String]) -> bool {
    if let Some(item) = table.get(&keys::CORS_CREDENTIALS)
        && origins.is_empty()
    {
        item.report(
            "`cors_credentials` has no effect without `cors_origins`",
            "name the origins: cors_origins = [\"https://spa.example.com\"]",
        );
    }
    // Scripts that use bearer tokens need no cookie, so the file must allow it explicitly.
    table.read(&keys::CORS_CREDENTIALS).unwrap_or(!bearer)
}

/// Reads an origin in the form that browsers send (RFC 6454, section 6.2).
pub(super) fn origin(text: &str) -> Result<String, Invalid> {
    let parsed = Url::parse(text).ok().map(|url| url.origin()).filter(url::Origin::is_tuple);
    match parsed.is_some_and(|origin| origin.ascii_serialization() == text) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is not an origin"),
            "write scheme and host, and the port if it is not the scheme's: \"https://spa.example.com\""
                .into(),
        )),
    }
}

/// Parses a path into its decoded segments.
pub(super) fn path(text: &str) -> Result<Vec<String>, Invalid> {
    let wrong =
        |why: &str| (format!("\"{text}\" {why}"), "write a plain path such as \"/\" or \"/files\"".into());
    let rest = text.strip_prefix('/').ok_or_else(|| wrong("does not begin with a slash"))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let segments: Vec<String> = rest.split('/').map(str::to_owned).collect();
    // Lenient servers interpret such a path as a different one.
    let bad = |s: &String| {
        let folded = fold(s);
        s.is_empty()
            || folded.ends_with('.')
            || folded.trim() != folded
            || folded.contains(['/', '%', '\\', '?', '#', '*', ';'])
            || folded.contains(":$")
            || s.chars().any(is_control)
    };
    if segments.iter().any(bad) {
        return Err(wrong("is not a plain path"));
    }
    if segments[0] == ".narthex" {
        return Err(wrong("is Narthex's own"));
    }
    Ok(segments)
}
