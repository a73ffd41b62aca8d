//! A request to a route under policy: the role that it comes with, what it asks for, and what
//! becomes of it.

use crate::authn::Principal;
use crate::base::Timestamp;
use crate::catalogue::{INVOKE_ACTION, PolicyRule};
use crate::config;
use crate::gateway::metrics;
use crate::gateway::request::RequestInfo;
use crate::gateway::request::lenient_path::{self, Segments};
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::request::path::Path;
use crate::gateway::state::credentials::INVALID_TOKEN;
use crate::gateway::state::request_context::RequestContext;
use crate::identity::{self, AssumedRole, NoRole};
use crate::model::User;
use crate::pages::ErrorResponse;
use crate::policy::{
    self, Context, Denial, EvalRequest, Grants, KNOWN_KEYS, Key, Known, Permit, Question, Spellings, Values,
};
use http::HeaderMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Headers that change a request's method for some servers.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];
/// How much of a header's value goes into the audit.
const MAX_LOGGED_VALUE_BYTES: usize = 256;
const REFERER_KEY: Key = Key::Known(Known::Referer);

/// Why a request does not pass.
pub enum PolicyDenial<'a> {
    /// The principal has no role.
    NoRole(NoRole),
    /// The role's policies do not let it pass.
    Denied(&'a AssumedRole, Denial<'a>),
}

/// The role that the request comes with.
///
/// # Errors
/// Where the store is needed, and does not answer. That there is none is a value.
pub async fn assume(
    ctx: &RequestContext<'_>,
    judged: &PolicyRule,
    principal: &Principal,
) -> Result<Result<Arc<AssumedRole>, NoRole>, LocalResponse> {
    let identities = &ctx.gateway.identities;
    let assumed = principal.assume(identities, ctx.catalogue(), &judged.identity_pool).await;
    assumed.map_err(|error| ctx.unavailable(&error))
}

/// Judges a request by the role that it comes with.
///
/// # Errors
/// The refusal.
pub fn evaluate<'a>(
    judged: &'a PolicyRule,
    assumed: &'a AssumedRole,
    requested: &Requested<'_>,
    now: Timestamp,
) -> Result<Permit, PolicyDenial<'a>> {
    let method = requested.incoming.method.as_str();
    let resources = Resources::of(judged, method, requested.path);
    let context = requested.context(assumed, now);
    if let Some(trust) = judged.trust_by_request(&assumed.role) {
        assumed.trusted(trust, &context).map_err(PolicyDenial::NoRole)?;
    }
    let asked = resources.eval_request(&context);
    static NOTHING: std::sync::LazyLock<Grants> = std::sync::LazyLock::new(Grants::default);
    let grants = judged.grants(&assumed.role).unwrap_or(&NOTHING);
    policy::evaluate(Question::Policy(grants, &asked)).map_err(|denial| PolicyDenial::Denied(assumed, denial))
}

/// The resource that a request is for, in each spelling that a server may take it for.
pub struct Resources {
    /// The resource, as the gateway reads it.
    pub exact: String,
    /// Its other readings, folded; none where every server reads it alike.
    folded: Vec<String>,
    without_ending: Option<String>,
}

impl Resources {
    /// Returns the resource of a request for `path`.
    pub fn of(judged: &PolicyRule, method: &str, path: &Path<'_>) -> Self {
        let exact = judged.resource_of(method, &path.segments);
        let Some(lenient) = &path.lenient else {
            // All servers read its segments alike, but some ignore a closing slash.
            let bare = exact.strip_suffix('/').filter(|_| path.segments.len() > 1).map(str::to_owned);
            let folded = bare.map_or_else(Vec::new, |bare| vec![exact.clone(), bare]);
            return Self { exact, folded, without_ending: None };
        };
        let resource = |segments: &Segments| judged.resource_of(method, segments);
        let folded = lenient.readings().iter().map(resource).collect();
        let without_ending = lenient_path::without_ending(&path.segments).as_ref().map(resource);
        Self { exact, folded, without_ending }
    }

    /// Returns the request for a decision about it.
    pub fn eval_request<'a>(&'a self, context: &'a dyn Context) -> EvalRequest<'a> {
        // A method in small letters is another spelling, whatever the path.
        let folded = match &*self.folded {
            [] => std::slice::from_ref(&self.exact),
            folded => folded,
        };
        let loose = Spellings { folded, without_ending: self.without_ending.as_deref() };
        EvalRequest {
            action: INVOKE_ACTION,
            resource: &self.exact,
            loose: Some(loose),
            principal: None,
            context,
        }
    }
}

/// What a request asks for, and with what.
#[derive(Clone, Copy)]
pub struct Requested<'a> {
    /// Its head, as it was read.
    pub incoming: &'a RequestInfo,
    /// Its path, decoded.
    pub path: &'a Path<'a>,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

impl Requested<'_> {
    /// The header by which it says that it is of another method; policies judge what the request
    /// line says.
    pub fn method_override(&self) -> Option<&'static str> {
        let own = self.incoming.method.as_str().as_bytes();
        // Few headers have names that begin and end so, and most need not be looked at further.
        let like = |name: &str| name.starts_with('x') && name.ends_with(['d', 'e']);
        let mut likely = self.headers.iter().filter(|(name, _)| like(name.as_str()));
        likely.find_map(|(name, method)| {
            let name = config::normalize_name(name.as_str());
            METHOD_OVERRIDES.into_iter().find(|other| *other == name).filter(|_| method.as_bytes() != own)
        })
    }

    fn context<'c>(&'c self, assumed: &'c AssumedRole, now: Timestamp) -> identity::RequestContext<'c> {
        identity::RequestContext {
            assumed,
            now,
            source_ip: self.incoming.source_ip(),
            secure: self.incoming.secure,
            headers: self.headers,
        }
    }
}

/// Writes a denial to the audit log: role, statement and context.
pub fn audit_denial(
    judged: &PolicyRule,
    requested: &Requested<'_>,
    principal: &Principal,
    refusal: &PolicyDenial<'_>,
) {
    let incoming = requested.incoming;
    let (role, identity_id, decision, statement, context) = match refusal {
        PolicyDenial::NoRole(none) => ("", "", "implicitDeny", none.to_string(), String::new()),
        PolicyDenial::Denied(assumed, denial) => {
            let (decision, statement) = match denial {
                Denial::Denied(statement) => ("explicitDeny", statement.place()),
                Denial::NotAllowed | Denial::NotSignedIn => ("implicitDeny", "none allows it".to_owned()),
            };
            let context = describe_context(&requested.context(assumed, incoming.received.wall), assumed);
            (assumed.role.name.as_str(), assumed.identity_id(), decision, statement, context)
        }
    };
    metrics::denied(decision);
    tracing::warn!(
        target: "audit",
        event = "access_denied",
        request_id = incoming.request_id,
        client = incoming.client.map_or_else(String::new, |ip| ip.to_string()),
        sub = principal.subject(),
        username = principal.user().map(|user| user.username.as_str()),
        sid = principal.signed_in().map(|who| who.session().id.as_str()),
        identity_id,
        role,
        resource = judged.resource_of(incoming.method.as_str(), &requested.path.segments),
        decision,
        statement,
        context,
    );
}

/// The answer to who is signed in, and may not have this.
pub fn deny(
    ctx: &RequestContext<'_>,
    judged: &PolicyRule,
    requested: &Requested<'_>,
    principal: &Principal,
    refusal: &PolicyDenial<'_>,
) -> LocalResponse {
    audit_denial(judged, requested, principal, refusal);
    if let (Principal::Bearer(_), PolicyDenial::NoRole(NoRole::UnreadableClaim(_))) = (principal, refusal) {
        return ctx.failure(ErrorResponse::invalid_token().with_challenge(INVALID_TOKEN));
    }
    access_denied(ctx, principal)
}

/// The 403 for a principal that may not have what it asked for: a page that names it, or JSON.
pub fn access_denied(ctx: &RequestContext<'_>, principal: &Principal) -> LocalResponse {
    let name = principal.user().map_or_else(|| "a guest".to_owned(), display_label);
    ctx.failure(ErrorResponse::access_denied().with_advice(format!(
        "You are signed in as {name}. If you need access, ask your administrator and give them the request ID below."
    )))
}

/// By name and address, since people have several accounts of one name.
fn display_label(user: &User) -> String {
    let name = user.display_name();
    match user.email() {
        Some(email) if email != name => format!("{name} ({email})"),
        _ => name.to_owned(),
    }
}

/// What policies could see of a request, for the audit.
fn describe_context(context: &dyn Context, assumed: &AssumedRole) -> String {
    let known = KNOWN_KEYS.iter().map(|(_, known)| Key::Known(*known));
    let tags = assumed.tags().map(|(tag, _)| Key::named(&format!("aws:PrincipalTag/{}", tag.name)));
    let mut text = String::new();
    for key in known.chain(tags) {
        if context.values(&key) == Values::Unreadable {
            // Writing to a text does not fail.
            _ = write!(text, "{}{key}=unreadable", if text.is_empty() { "" } else { " " });
        }
        for value in context.values(&key).each() {
            let value = value.text();
            // What stands in a query may be a secret of another site's.
            let end = value.find('?').filter(|_| key == REFERER_KEY).unwrap_or(value.len());
            let short: String = value[..end].chars().take(MAX_LOGGED_VALUE_BYTES).collect();
            let space = if text.is_empty() { "" } else { " " };
            // Writing to a text does not fail.
            _ = write!(text, "{space}{key}={short:?}");
        }
    }
    text
}
