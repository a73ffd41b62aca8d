//! Authorization on routes with policies: the principal's role, the requested resource, and the
//! decision.

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
/// The maximum number of characters of a value in the audit log.
const MAX_LOGGED_VALUE_BYTES: usize = 256;
const REFERER_KEY: Key = Key::Known(Known::Referer);

/// The reason for which a request is denied.
pub enum PolicyDenial<'a> {
    /// The principal has no role.
    NoRole(NoRole),
    /// The role's policies do not allow the request.
    Denied(&'a AssumedRole, Denial<'a>),
}

/// Returns the principal's role, or the reason for which it has none.
///
/// # Errors
/// A 503 response, if the database is needed and unavailable.
pub async fn assume(
    ctx: &RequestContext<'_>,
    judged: &PolicyRule,
    principal: &Principal,
) -> Result<Result<Arc<AssumedRole>, NoRole>, LocalResponse> {
    let identities = &ctx.gateway.identities;
    let assumed = principal.assume(identities, ctx.catalogue(), &judged.identity_pool).await;
    assumed.map_err(|error| ctx.unavailable(&error))
}

/// Evaluates the policies of the assumed role, and its trust policy if that depends on the request.
///
/// # Errors
/// The denial.
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

/// The resource of a request, in each spelling that a server may read.
pub struct Resources {
    /// The resource as the gateway reads it.
    pub exact: String,
    /// Its other readings, case-folded; empty if every server reads the path alike.
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

    /// Returns the evaluation request for the resource.
    pub fn eval_request<'a>(&'a self, context: &'a dyn Context) -> EvalRequest<'a> {
        // A lower-case method is another spelling, for any path.
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

/// The properties of a request that policies evaluate.
#[derive(Clone, Copy)]
pub struct Requested<'a> {
    /// Its parsed head.
    pub incoming: &'a RequestInfo,
    /// Its decoded path.
    pub path: &'a Path<'a>,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

impl Requested<'_> {
    /// Returns the name of a header that overrides the method with another one. Policies evaluate
    /// the method of the request line.
    pub fn method_override(&self) -> Option<&'static str> {
        let own = self.incoming.method.as_str().as_bytes();
        // Few header names begin and end like these, so most headers are skipped.
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

/// Audits a denial, and returns the response to the principal.
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

/// Returns the 403 response: a page with the user's name, or JSON.
pub fn access_denied(ctx: &RequestContext<'_>, principal: &Principal) -> LocalResponse {
    let name = principal.user().map_or_else(|| "a guest".to_owned(), display_label);
    ctx.failure(ErrorResponse::access_denied().with_account(&name))
}

/// Returns the user's name and email address, because users may have several accounts with the same
/// name.
fn display_label(user: &User) -> String {
    let name = user.display_name();
    match user.email() {
        Some(email) if email != name => format!("{name} ({email})"),
        _ => name.to_owned(),
    }
}

/// Describes the context that policies evaluated, for the audit log.
fn describe_context(context: &dyn Context, assumed: &AssumedRole) -> String {
    let known = KNOWN_KEYS.iter().map(|(_, known)| Key::Known(*known));
    let tags = assumed.tags().map(|(tag, _)| Key::named(&format!("aws:PrincipalTag/{}", tag.name)));
    let mut text = String::new();
    for key in known.chain(tags) {
        if context.values(&key) == Values::Unreadable {
            // Writing to a `String` does not fail.
            _ = write!(text, "{}{key}=unreadable", if text.is_empty() { "" } else { " " });
        }
        for value in context.values(&key).each() {
            let value = value.text();
            // The query may contain a secret of another site.
            let end = value.find('?').filter(|_| key == REFERER_KEY).unwrap_or(value.len());
            let short: String = value[..end].chars().take(MAX_LOGGED_VALUE_BYTES).collect();
            let space = if text.is_empty() { "" } else { " " };
            // Writing to a `String` does not fail.
            _ = write!(text, "{space}{key}={short:?}");
        }
    }
    text
}
