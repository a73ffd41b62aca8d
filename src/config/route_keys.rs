//! The keys of `[[route]]`.

use super::allow::{ALLOWED_DOMAINS, ALLOWED_EMAILS, ALLOWED_GROUPS};
use super::app_icon::AppIcon;
use super::branding::name;
use super::header_template::{HeaderTemplate, header_templates};
use super::host_pattern::{HOSTS_TYPE, HostPattern};
use super::issuer::SCOPES_TYPE;
use super::key::{Key, Section, Shape, Type};
use super::reader::Invalid;
use super::response_header::response_headers;
use super::route::{Access, OnUnauthenticatedRequest, PathHandling, Preflight, SameSite, origin, path};
use super::types::{DURATION, FLAG, TEXT, TEXTS};
use super::upstream::{self, Upstream};
use crate::base::Duration;
use http::{HeaderName, HeaderValue};

pub const SECTION: Section = Section {
    header: "[[route]]",
    about: "Hosts and paths, their upstreams, and the access to them. The route with the longest path applies.",
    keys: &[
        &NAME,
        &TITLE,
        &ICON,
        &HOST,
        &PATH,
        &UPSTREAM,
        &upstream::CA,
        &upstream::SERVER_NAME,
        &upstream::CERT,
        &upstream::KEY,
        &TIMEOUT,
        &ACCESS,
        &IDENTITY_POOL,
        &ON_UNAUTHENTICATED_REQUEST,
        &ALLOWED_GROUPS,
        &ALLOWED_EMAILS,
        &ALLOWED_DOMAINS,
        &SECOND_FACTOR,
        &SECOND_FACTOR_AGE,
        &ASSERTION_GROUPS,
        &SAME_SITE,
        &BEARER,
        &USER_POOLS,
        &BASIC_PASSWORD,
        &SCOPES,
        &CORS_ORIGINS,
        &CORS_CREDENTIALS,
        &PREFLIGHT,
        &ACCESS_TOKEN,
        &FORWARD_AUTH,
        &PRESERVE_HOST,
        &STRIP_PREFIX,
        &REWRITE_RESPONSES,
        &PATH_HANDLING,
        &HEADERS,
        &RESPONSE_HEADERS,
        &GROUPS,
    ],
};
pub const NAME: Key<String> = Key::new("name", TEXT, "Unique name, which ARNs of policies contain.")
    .computed("host and path; required if `access` is `\"policy\"`")
    .example("\"photos\"");
pub const TITLE: Key<String> = Key::new(
    "title",
    Type::Read(Shape::Text, |item| item.parse(name)),
    "Name of the app on the home page of users who may open it.",
)
.computed("the host; a host without any title has one entry")
.example("\"Photos\"");
pub const ICON: Key<AppIcon> = Key::new(
    "icon",
    Type::Read(Shape::Text, AppIcon::read),
    "Icon of the app on the home page: a file (SVG, PNG or JPEG), or `app`, `book`, `calendar`, `chart`, `chat`, `code`, \
     `file`, `gear`, `mail`, `photo`, `server` or `users`.",
)
.default("\"app\"");
pub const HOST: Key<Vec<HostPattern>> = Key::new(
    "host",
    HOSTS_TYPE,
    "Host names of the app. `*.` matches exactly one label that no other route names.",
)
.required("")
.example("\"app.example.com\"");
pub const PATH: Key<Vec<String>> =
    Key::new("path", Type::Read(Shape::Text, |item| item.parse(path)), "Path below which the route applies.")
        .default("\"/\"");
pub const UPSTREAM: Key<Vec<Upstream>> = Key::new(
    "upstream",
    Type::Read(Shape::OneOrMore(&Shape::Text), |item| Some(item.list(|item| item.parse(Upstream::parse)))),
    "Servers of the app, used in turn: `http://`, `https://`, `h2c://` (gRPC without TLS) or `unix:///`, all the same.",
)
.required_if("`forward_auth` is not set")
.example("\"http://127.0.0.1:3000\"");
pub const TIMEOUT: Key<Duration> = Key::new(
    "timeout",
    DURATION,
    "Maximum time without a byte from the upstream. It does not apply once the upstream has begun a WebSocket, an event stream or a gRPC response.",
)
.default("\"60s\"");
pub const ACCESS: Key<Access> = Key::new(
    "access",
    Type::ProviderChoice(&[
        ("signed-in", Access::SignedIn),
        ("public", Access::Public),
        ("policy", Access::Policy),
    ]),
    "Access control: signed-in users, everyone, or the policies of roles.",
)
.default("\"signed-in\"");
pub const IDENTITY_POOL: Key<String> = Key::new(
    "identity_pool",
    TEXT,
    "Name of the `[[identity_pool]]` that gives roles. Needs `access = \"policy\"`.",
)
.computed("the only identity pool of the file")
.example("\"main\"");
pub const ON_UNAUTHENTICATED_REQUEST: Key<OnUnauthenticatedRequest> = Key::new(
    "on_unauthenticated_request",
    Type::ProviderChoice(&[
        ("auto", OnUnauthenticatedRequest::Auto),
        ("authenticate", OnUnauthenticatedRequest::Authenticate),
        ("deny", OnUnauthenticatedRequest::Deny),
    ]),
    "Response to unauthenticated requests: a redirect to sign in for browsers and 401 for programs, a redirect, or 401.",
)
.default("\"auto\"");
pub const ASSERTION_GROUPS: Key<Vec<String>> = Key::new(
    "assertion_groups",
    TEXTS,
    "Groups that the assertion contains: names, or prefixes followed by `*`.",
)
.computed("every group")
.example("[\"team-*\", \"staff\"]");
pub const SAME_SITE: Key<SameSite> = Key::new(
    "same_site",
    Type::ProviderChoice(&[("lax", SameSite::Lax), ("none", SameSite::None)]),
    "`SameSite` attribute of the session cookie; `\"none\"` for apps that other sites embed. One value for each host.",
)
.default("\"lax\"");
pub const BEARER: Key<bool> = Key::new(
    "bearer",
    FLAG,
    "Whether access tokens of `[[issuer]]` and of the user pool are accepted in `Authorization: Bearer`.",
)
.default("false");
pub const USER_POOLS: Key<Vec<String>> = Key::new(
    "user_pools",
    Type::Read(Shape::OneOrMore(&Shape::Text), |item| Some(item.list(|item| item.parse(user_pool)))),
    "User pools whose tokens are accepted: names of those of the file, and ids of pools that were made by the API. Needs \
     `bearer`.",
)
.computed("the first user pool of the file")
.example("[\"us-east-1_Ab3dEf6hI\"]");
pub const BASIC_PASSWORD: Key<()> = Key::new(
    "basic_password",
    Type::ProviderChoice(&[("token", ())]),
    "`\"token\"`: the password of `Authorization: Basic` is accepted as a bearer token. Needs `bearer`.",
)
.example("\"token\"");
pub const SCOPES: Key<Vec<String>> =
    Key::new("scopes", SCOPES_TYPE, "Scopes that a bearer token must have. Needs `bearer`.")
        .example("[\"photos/read\"]");
pub const CORS_ORIGINS: Key<Vec<String>> = Key::new(
    "cors_origins",
    Type::Read(Shape::OneOrMore(&Shape::Text), |item| Some(item.list(|item| item.parse(origin)))),
    "Origins whose scripts may read responses: scheme, host and port, compared exactly.",
)
.example("[\"https://spa.example.com\"]");
pub const CORS_CREDENTIALS: Key<bool> =
    Key::new("cors_credentials", FLAG, "Whether scripts of `cors_origins` may send the session cookie.")
        .computed("`true`, and `false` with `bearer`")
        .example("true");
pub const PREFLIGHT: Key<Preflight> = Key::new(
    "preflight",
    Type::ProviderChoice(&[("answer", Preflight::Answer), ("pass", Preflight::Pass)]),
    "`\"answer\"`: Narthex responds to CORS preflight requests. `\"pass\"`: the app does, without an identity.",
)
.computed("`\"answer\"` with `cors_origins` or `bearer`; otherwise as other requests")
.example("\"pass\"");
pub const ACCESS_TOKEN: Key<bool> = Key::new(
    "access_token",
    FLAG,
    "Whether the upstream gets the access token of the provider or client in `x-amzn-oidc-accesstoken`.",
)
.default("false");
pub const FORWARD_AUTH: Key<bool> = Key::new(
    "forward_auth",
    FLAG,
    "Whether a trusted proxy forwards the requests itself, and asks Narthex for decisions about them.",
)
.default("false");
pub const PRESERVE_HOST: Key<bool> = Key::new(
    "preserve_host",
    FLAG,
    "Whether the upstream gets the request's `Host`. Otherwise it gets its own.",
)
.default("true");
pub const STRIP_PREFIX: Key<bool> = Key::new(
    "strip_prefix",
    FLAG,
    "Whether `path` is removed from requests to the upstream, which gets it in `X-Forwarded-Prefix`.",
)
.default("false");
pub const REWRITE_RESPONSES: Key<bool> = Key::new(
    "rewrite_responses",
    FLAG,
    "Whether addresses of the upstream in response headers and cookies are replaced by those of the route.",
)
.default("true");
pub const PATH_HANDLING: Key<PathHandling> = Key::new(
    "path_handling",
    Type::ProviderChoice(&[("strict", PathHandling::Strict), ("opaque", PathHandling::Opaque)]),
    "`\"opaque\"` accepts empty segments and `%2F` in paths, as object keys have them.",
)
.default("\"strict\"");
pub const SECOND_FACTOR: Key<bool> = Key::new(
    "second_factor",
    FLAG,
    "Whether users must have proved a second factor. A browser without it is asked for the factor alone; a program gets 401.",
)
.default("false");
pub const SECOND_FACTOR_AGE: Key<Duration> = Key::new(
    "second_factor_age",
    DURATION,
    "Maximum time since the second factor was proved, at least a minute. Older ones are asked for again.",
)
.computed("the session's")
.example("\"15m\"");
pub const HEADERS: Key<Vec<HeaderTemplate>> = Key::new(
    "headers",
    Type::Read(Shape::Map(&Shape::Secret), |item| Some(header_templates(item))),
    "Request headers for the upstream; `${claim}` is replaced by `sub`, `username`, `groups` or a user attribute.",
)
.example("{ X-Remote-User = \"${email}\" }");
pub const RESPONSE_HEADERS: Key<Vec<(HeaderName, HeaderValue)>> = Key::new(
    "response_headers",
    Type::Read(Shape::Map(&Shape::Secret), |item| Some(response_headers(item))),
    "Headers that replace those of the upstream's responses.",
)
.example("{ X-Frame-Options = \"DENY\" }");
const GROUPS: Key<()> = Key::removed(
    "groups",
    "to limit access, write allowed_groups = [\"admins\"]; to choose the groups that the app gets, rename it to `assertion_groups`",
);

/// Reads the name or the id of a user pool.
fn user_pool(text: &str) -> Result<String, Invalid> {
    match (1..=128).contains(&text.len()) && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is neither a name nor an id of a user pool"),
            "write an id like \"us-east-1_Ab3dEf6hI\"; `narthex pools list` prints them".to_owned(),
        )),
    }
}
