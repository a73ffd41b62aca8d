//! `[[route]]`: host and path to upstream, and who may pass.

use super::allowed::allowed;
use super::header_template::{HeaderTemplate, header_templates};
use super::issuer::scopes;
use super::provider::Allow;
use super::reader::{Item, Table, Wrong};
use super::response_header::response_headers;
use super::role::plain_name;
use super::server::HostPattern;
use super::upstream::{Upstream, UpstreamTls};
use crate::base::{Duration, fold, is_control};
use http::{HeaderName, HeaderValue};
use url::Url;

/// How long an upstream may be silent unless the file says otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What is served under a host and path, and who may pass.
#[derive(Clone, Debug)]
pub struct Route {
    /// Unique in a deployment; the first host and the path unless given.
    pub name: String,
    /// The hosts that it answers for, at least one.
    pub hosts: Vec<HostPattern>,
    /// The decoded segments its path begins with; none for `/`.
    pub path: Vec<String>,
    /// Whether another proxy may ask about requests for it.
    pub forward_auth: bool,
    /// Where requests go, in turn; nowhere where another proxy sends them on.
    pub upstreams: Vec<Upstream>,
    /// How https upstreams are verified, and how Narthex proves itself to them.
    pub upstream_tls: UpstreamTls,
    /// Who may pass.
    pub access: Access,
    /// The identity pool whose roles decide, where policies do.
    pub identity_pool: Option<String>,
    /// Whether `Authorization: Bearer` is ours to judge.
    pub bearer: bool,
    /// Whether the password of `Authorization: Basic` is taken as a bearer token.
    pub basic_password: bool,
    /// What becomes of a preflight of CORS; where absent, it is a request like any other.
    pub preflight: Option<Preflight>,
    /// The origins whose scripts may read what is answered here.
    pub cors_origins: Vec<String>,
    /// Whether the scripts of these origins may send the session's cookie along, and read what is answered then.
    pub cors_credentials: bool,
    /// The scopes that a bearer token must have here.
    pub scopes: Vec<String>,
    /// What becomes of a request that speaks for nobody, where somebody is wanted.
    pub on_unauthenticated_request: OnUnauthenticatedRequest,
    /// Whether the session's cookie goes along where the app is embedded in other sites' pages.
    pub same_site: SameSite,
    /// Who may enter among those who are signed in; everybody where absent.
    pub allowed: Option<Allow>,
    /// Which groups go into the assertion: names, or beginnings with a star behind. All where absent.
    pub assertion_groups: Option<Vec<String>>,
    /// Whether the upstream gets the access token that the provider granted.
    pub access_token: bool,
    /// Whether the upstream sees the `Host` that the browser sent.
    pub preserve_host: bool,
    /// Whether the upstream sees the path without the route's own.
    pub strip_prefix: bool,
    /// Whether addresses in the upstream's responses become addresses of the route.
    pub rewrite_responses: bool,
    /// What a path may hold.
    pub path_handling: PathHandling,
    /// How long the upstream may leave an exchange without a byte; streams may be silent for ever.
    pub timeout: Duration,
    /// More headers for the upstream.
    pub headers: Vec<HeaderTemplate>,
    /// Headers that its responses get.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
}

/// Who may pass a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever has a session.
    SignedIn,
    /// Whom the policies of their role allow it.
    Policy,
    /// Anyone; the identity goes along where there is one.
    Public,
}

/// What becomes of a request that speaks for nobody, in the words of Application Load Balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnauthenticatedRequest {
    /// People are sent to sign in, programs get 401.
    Auto,
    /// Everyone is sent to sign in.
    Authenticate,
    /// Everyone gets 401.
    Deny,
}

/// The `SameSite` attribute of the session's cookie (RFC 6265bis, section 4.1.2.7). Strict is not among
/// them: the way back from signing in may begin at another site, and would never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Not in other sites' pages.
    Lax,
    /// There, too.
    None,
}

/// What becomes of a preflight (Fetch, section 4.8), which has no credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preflight {
    /// It is answered, by what the file says of its origin.
    Answer,
    /// It is passed on to the app, which answers it.
    Pass,
}

/// What a path may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathHandling {
    /// No empty segment and no encoded slash.
    Strict,
    /// Both, as object keys have them.
    Opaque,
}

impl Route {
    pub(super) fn read(table: &Table<'_>, identity_pools: &[String]) -> Option<Self> {
        let hosts =
            table.must("host", "name the host people type: host = \"app.example.com\"").and_then(|item| {
                let hosts: Vec<_> = item.one_or_more().iter().filter_map(|item| item.parse(host)).collect();
                (!hosts.is_empty()).then_some(hosts)
            });
        let path = table.get("path").map_or(Some(Vec::new()), |item| item.parse(path));
        let forward_auth = table.get("forward_auth").and_then(|item| item.boolean()).unwrap_or(false);
        let item = match forward_auth {
            true => table.get("upstream"),
            false => table.must(
                "upstream",
                "name where requests go: upstream = \"http://127.0.0.1:3000\"; or say forward_auth = true, where \
                 another proxy sends them on",
            ),
        };
        let upstreams: Vec<Upstream> = item.as_ref().map_or_else(Vec::new, |item| {
            item.one_or_more().iter().filter_map(|item| item.parse(Upstream::parse)).collect()
        });
        let access = table.get("access").and_then(|item| {
            item.choice(&[
                ("signed-in", Access::SignedIn),
                ("public", Access::Public),
                ("policy", Access::Policy),
            ])
        });
        let under_policy = access == Some(Access::Policy);
        let name = match under_policy {
            true => table
                .must("name", "policies speak of it by a name: name = \"photos\"")
                .and_then(|item| item.parse(|text| plain_name(text, "a route under policy"))),
            false => table.get("name").and_then(|item| item.string().map(str::to_owned)),
        };
        let identity_pool = identity_pool(table, under_policy, identity_pools);
        let on_unauthenticated_request = table.get("on_unauthenticated_request").and_then(|item| {
            item.choice(&[
                ("auto", OnUnauthenticatedRequest::Auto),
                ("authenticate", OnUnauthenticatedRequest::Authenticate),
                ("deny", OnUnauthenticatedRequest::Deny),
            ])
        });
        let same_site = table
            .get("same_site")
            .and_then(|item| item.choice(&[("lax", SameSite::Lax), ("none", SameSite::None)]));
        let allowed = allowed(table, access.unwrap_or(Access::SignedIn));
        let assertion_groups = table.get("assertion_groups").map(|item| item.strings());
        if let Some(item) = table.get("groups") {
            item.wrong(
                "`groups` keeps nobody out: it chose the groups that the app gets, and is called `assertion_groups` now",
                "say who may enter: allowed_groups = [\"admins\"]; or rename it to `assertion_groups`",
            );
        }
        let scopes = table.get("scopes").map(|item| (scopes(&item), item));
        let flag = |key| table.get(key).and_then(|item| item.boolean());
        let (preserve_host, strip_prefix) = (flag("preserve_host"), flag("strip_prefix"));
        let preflight = table
            .get("preflight")
            .and_then(|item| item.choice(&[("answer", Preflight::Answer), ("pass", Preflight::Pass)]));
        let cors_origins = table.get("cors_origins").map(|item| origins(&item)).unwrap_or_default();
        let cors_credentials = table.get("cors_credentials");
        let (access_token, bearer) = (flag("access_token"), flag("bearer").unwrap_or(false));
        if let (Some((_, item)), false) = (&scopes, bearer) {
            item.wrong("`scopes` are those of bearer tokens", "say bearer = true, or remove it");
        }
        let basic_password = table.get("basic_password");
        if let (Some(item), false) = (&basic_password, bearer) {
            item.wrong(
                "`basic_password` takes bearer tokens as passwords",
                "say bearer = true, or remove it",
            );
        }
        let basic_password = basic_password.and_then(|item| item.choice(&[("token", ())])).is_some();
        let preflight = preflight.or((bearer || !cors_origins.is_empty()).then_some(Preflight::Answer));
        if let (Some(item), true) = (&cors_credentials, cors_origins.is_empty()) {
            item.wrong(
                "`cors_credentials` concerns the origins of `cors_origins`, and there are none",
                "name them: cors_origins = [\"https://spa.example.com\"]",
            );
        }
        // Where tokens are taken, a script needs no cookie: it must be asked for.
        let cors_credentials = cors_credentials.and_then(|item| item.boolean()).unwrap_or(!bearer);
        let upstream_tls = UpstreamTls::read(table, &upstreams);
        let path_handling = table.get("path_handling").and_then(|item| {
            item.choice(&[("strict", PathHandling::Strict), ("opaque", PathHandling::Opaque)])
        });
        let timeout = table.get("timeout").and_then(|item| item.duration());
        let headers = table.get("headers").map(header_templates).unwrap_or_default();
        let response_headers = table.get("response_headers").map(response_headers).unwrap_or_default();
        let rewrite_responses = flag("rewrite_responses");
        table.finish();

        let (hosts, path) = (hosts?, path?);
        if let Some(item) = &item
            && upstreams.windows(2).any(|pair| pair[0].scheme != pair[1].scheme)
        {
            item.wrong("`upstream` mixes http, https and h2c", "let all upstreams of a route speak the same");
        }
        Some(Self {
            name: name.unwrap_or_else(|| format!("{}/{}", hosts[0], path.join("/"))),
            hosts,
            path,
            forward_auth,
            upstreams,
            upstream_tls,
            access: access.unwrap_or(Access::SignedIn),
            identity_pool,
            bearer,
            basic_password,
            preflight,
            cors_origins,
            cors_credentials,
            scopes: scopes.map(|(scopes, _)| scopes).unwrap_or_default(),
            on_unauthenticated_request: on_unauthenticated_request.unwrap_or(OnUnauthenticatedRequest::Auto),
            same_site: same_site.unwrap_or(SameSite::Lax),
            allowed,
            assertion_groups,
            access_token: access_token.unwrap_or(false),
            preserve_host: preserve_host.unwrap_or(true),
            strip_prefix: strip_prefix.unwrap_or(false),
            rewrite_responses: rewrite_responses.unwrap_or(true),
            path_handling: path_handling.unwrap_or(PathHandling::Strict),
            timeout: timeout.unwrap_or(TIMEOUT),
            headers,
            response_headers,
        })
    }

    /// Whether `group` goes into the assertion.
    pub fn tells_group(&self, group: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => group.starts_with(beginning),
            None => group == pattern,
        };
        self.assertion_groups.as_ref().is_none_or(|patterns| patterns.iter().any(fits))
    }

    /// The path that the route begins with, as text: `/` or `/a/b`.
    pub fn path_text(&self) -> String {
        format!("/{}", self.path.join("/"))
    }
}

/// The identity pool whose roles decide: the one that is named, or the only one.
fn identity_pool(table: &Table<'_>, under_policy: bool, known: &[String]) -> Option<String> {
    match (table.get("identity_pool"), under_policy, known) {
        (Some(item), true, _) => item.name_of("identity_pool", known),
        (Some(item), false, _) => {
            item.wrong(
                "`identity_pool` decides nothing here",
                "let its roles decide, access = \"policy\", or remove it",
            );
            None
        }
        (None, false, _) => None,
        (None, true, [only]) => Some(only.clone()),
        (None, true, _) => {
            table.wrong(
                "nothing says whose roles decide here",
                "name an [[identity_pool]] of the file: identity_pool = \"main\"",
            );
            None
        }
    }
}

/// Origins as browsers write them (RFC 6454, section 6.2).
fn origins(item: &Item<'_>) -> Vec<String> {
    let origin = |text: &str| {
        let good = Url::parse(text)
            .is_ok_and(|url| url.origin().is_tuple() && url.origin().ascii_serialization() == text);
        match good {
            true => Ok(text.to_owned()),
            false => Err((
                format!("\"{text}\" is no origin"),
                "write scheme and host, and the port where it is not the scheme's: \"https://spa.example.com\"".into(),
            )),
        }
    };
    item.one_or_more().iter().filter_map(|item| item.parse(origin)).collect()
}

fn host(text: &str) -> Result<HostPattern, Wrong> {
    HostPattern::parse(text).ok_or_else(|| {
        (
            format!("\"{text}\" is not a host"),
            "write the bare name, without scheme, port or path: \"app.example.com\", or \"*.example.com\""
                .into(),
        )
    })
}

pub(super) fn path(text: &str) -> Result<Vec<String>, Wrong> {
    let wrong =
        |why: &str| (format!("\"{text}\" {why}"), "write a plain path such as \"/\" or \"/files\"".into());
    let rest = text.strip_prefix('/').ok_or_else(|| wrong("does not begin with a slash"))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let segments: Vec<String> = rest.split('/').map(str::to_owned).collect();
    // What less exact servers take a liberty with would make it a path that some of them never serve.
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
        return Err(wrong("is no plain path"));
    }
    if segments[0] == ".narthex" {
        return Err(wrong("is Narthex's own"));
    }
    Ok(segments)
}
