//! Matches a request to a route and authorizes it: the request itself, or the one that a subrequest of
//! forward authentication describes.

use crate::authn::{Assertion, Principal};
use crate::catalogue::Rule;
use crate::config::Preflight;
use crate::gateway::authorize::allow_list;
use crate::gateway::authorize::policy_rule::{self, PolicyDenial, Requested};
use crate::gateway::builtin::app_host;
use crate::gateway::request::cors;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::request::path::Path;
use crate::gateway::request::{self, RequestInfo};
use crate::gateway::state::gateway::Gateway;
use crate::gateway::state::request_state;
use crate::gateway::state::routes::{RouteEntry, RouteTable, Target};
use crate::pages::ErrorResponse;
use crate::policy::{self, Denial, Permit, Question};
use pingora_proxy::Session;
use std::sync::Arc;

/// A permit, with the identity of the request.
pub struct Authorized {
    /// The proof that a rule permits the request.
    pub permit: Permit,
    /// The principal, and its assertion for the upstream.
    pub identity: Option<(Principal, Assertion)>,
    /// The cookie of a new guest.
    pub guest_cookie: Option<String>,
}

/// The target of a request, and its path.
pub struct RouteMatch<'t> {
    /// The target.
    pub target: Target,
    /// The path, decoded.
    pub path: Path<'t>,
}

/// Returns the target of a request for `target`.
///
/// # Errors
/// A 400 if servers could read the path differently, a 404 if there is no such target.
pub fn match_route<'t>(
    table: &'t RouteTable,
    session: &Session,
    incoming: &RequestInfo,
    target: &'t str,
) -> Result<RouteMatch<'t>, LocalResponse> {
    let bad_path = |why: &str| {
        incoming.audit_refusal(why);
        LocalResponse::from(ErrorResponse::bad_path().into_response(&incoming.response_context(session)))
    };
    let path =
        Path::parse(request::path_part(target)).map_err(|bad| bad_path(&format!("the path: {bad:?}")))?;
    let place = table.target(&incoming.host, &path);
    if let Some(Target::Route(entry)) = &place
        && (!entry.accepts_path(&path) || table.is_ambiguous(&incoming.host, &path, entry))
    {
        return Err(bad_path("the path is ambiguous for this route"));
    }
    let place = place.ok_or_else(|| {
        LocalResponse::from(ErrorResponse::not_found().into_response(&incoming.response_context(session)))
    })?;
    Ok(RouteMatch { target: place, path })
}

/// A request for a route.
#[derive(Clone, Copy)]
pub struct RouteRequest<'a> {
    /// The route.
    pub entry: &'a Arc<RouteEntry>,
    /// The path, decoded.
    pub path: &'a Path<'a>,
    /// The path and query, unchanged.
    pub target: &'a str,
}

/// Authenticates and authorizes the request, and mints the assertion of its principal.
///
/// # Errors
/// A redirect to the sign-in page, or a refusal. There is no success without a permit, and no principal
/// without an assertion.
pub async fn authorize(
    gateway: &Gateway,
    session: &Session,
    table: &RouteTable,
    incoming: &RequestInfo,
    wanted: RouteRequest<'_>,
) -> Result<Authorized, LocalResponse> {
    let (catalogue, route) = (&*table.catalogue, &wanted.entry.route);
    let requested = Requested { incoming, path: wanted.path, headers: &session.req_header().headers };
    // Fetch, section 4.8: a preflight has no credentials, and would always be refused for that.
    if let Some(preflight) = route.config.preflight
        // A proxy takes each 2xx for permission: the response to a preflight would permit it.
        && !(incoming.is_forward_auth && preflight == Preflight::Answer)
        && request::is_preflight(session, &incoming.method)
        && requested.method_override().is_none()
    {
        if preflight == Preflight::Answer {
            return Err(cors::preflight(session, incoming, &route.config));
        }
        let permit = policy::evaluate(Question::Public);
        let permit = permit.map_err(|_| {
            LocalResponse::from(ErrorResponse::internal().into_response(&incoming.response_context(session)))
        })?;
        return Ok(Authorized { permit, identity: None, guest_cookie: None });
    }
    let presented = gateway.authenticate(session, incoming, route).await?;
    if let Some(principal) = &presented {
        request_state::with_record(|record| record.set_principal(principal));
    }
    let by_cookie = match &presented {
        Some(principal) => !matches!(principal, Principal::Bearer(_)),
        // A guest's cookie is read below.
        None => matches!(&*route.rule, Rule::Policy(_)),
    };
    if by_cookie && cors::is_foreign_websocket(session, incoming, &route.config) {
        incoming.audit_refusal("a page of another origin opens a WebSocket; help: add it to `cors_origins`");
        return Err(ErrorResponse::access_denied().into_response(&incoming.response_context(session)).into());
    }
    let sign_in = || app_host::sign_in(gateway, catalogue, session, incoming, wanted.target, &route.config);

    let (permit, principal, assumed, guest_cookie) = match (&*route.rule, presented) {
        (Rule::Policy(judged), presented) => {
            if let Some(name) = requested.method_override() {
                incoming.audit_refusal(&format!("`{name}` names another method than the request"));
                return Err(ErrorResponse::bad_request()
                    .into_response(&incoming.response_context(session))
                    .into());
            }
            let (principal, cookie) = match presented {
                Some(principal) => (principal, None),
                None if judged.identity_pool.config.guest_role.is_none() => return Err(sign_in()),
                None => Box::pin(gateway.guest(session, incoming, catalogue, &judged.identity_pool)).await?,
            };
            let now = incoming.received.wall;
            let refuse = |refusal: &PolicyDenial<'_>| match &principal {
                Principal::SignedIn(_) | Principal::Bearer(_) => {
                    policy_rule::deny(session, judged, &requested, &principal, refusal, now)
                }
                Principal::Guest(_) => {
                    if matches!(refusal, PolicyDenial::Denied(_, Denial::Denied(_))) {
                        policy_rule::audit_denial(judged, &requested, &principal, refusal, now);
                    }
                    sign_in()
                }
            };
            let assumed =
                policy_rule::assume(gateway, session, incoming, catalogue, judged, &principal).await?;
            let assumed = assumed.map_err(|none| refuse(&PolicyDenial::NoRole(none)))?;
            let permit = policy_rule::evaluate(judged, &assumed, &requested, now)
                .map_err(|refusal| refuse(&refusal))?;
            (permit, Some(principal), Some(assumed), cookie)
        }
        (rule, presented) => {
            let subject = presented.as_ref().map(Principal::subject);
            let question = match rule {
                Rule::Public => Question::Public,
                Rule::Listed(allow) => {
                    Question::Listed(presented.as_ref().map(|who| who.is_named_by(allow, &catalogue.config)))
                }
                Rule::SignedIn | Rule::Policy(_) => Question::SignedIn(subject),
            };
            let permit = policy::evaluate(question).map_err(|denial| match (denial, &presented) {
                (Denial::NotAllowed, Some(principal)) => {
                    allow_list::deny(session, incoming, &route.config, principal)
                }
                _ => sign_in(),
            })?;
            (permit, presented, None, None)
        }
    };
    let mint = |principal: Principal| -> Result<_, LocalResponse> {
        let minted =
            gateway.minter.mint(&permit, &principal, assumed.as_deref(), catalogue, route, incoming.received);
        let assertion = minted.map_err(|error| {
            tracing::error!(request_id = incoming.request_id, %error, "no assertion was made");
            LocalResponse::from(ErrorResponse::internal().into_response(&incoming.response_context(session)))
        })?;
        Ok((principal, assertion))
    };
    let identity = principal.map(mint).transpose()?;
    Ok(Authorized { permit, identity, guest_cookie })
}
