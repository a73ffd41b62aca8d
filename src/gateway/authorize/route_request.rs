//! Matches a request to a route and authorizes it. The request is the received one, or the original
//! request of a forward-auth subrequest.

use crate::authn::{Assertion, Principal};
use crate::catalogue::{PolicyRule, Route, Rule};
use crate::config::Preflight;
use crate::gateway::authorize::allow_list;
use crate::gateway::authorize::policy_rule::{self, PolicyDenial, Requested};
use crate::gateway::authorize::second_factor;
use crate::gateway::builtin::sign_in::sign_in;
use crate::gateway::request;
use crate::gateway::request::cors;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::request::path::Path;
use crate::gateway::state::request_context::RequestContext;
use crate::gateway::state::request_state;
use crate::gateway::state::routes::{RouteEntry, Target};
use crate::pages::ErrorResponse;
use crate::policy::{self, Denial, Permit, Question};
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
    /// The decoded path.
    pub path: Path<'t>,
}

/// Returns the target of a request for `target`.
///
/// # Errors
/// A 400 response if servers could read the path differently; a 404 response if there is no such
/// target.
pub fn match_route<'t>(ctx: &RequestContext<'_>, target: &'t str) -> Result<RouteMatch<'t>, LocalResponse> {
    let (table, host) = (ctx.table, &ctx.incoming.host);
    let bad_path = |why: &str| ctx.refusal(ErrorResponse::bad_path(), why);
    let path =
        Path::parse(request::path_part(target)).map_err(|bad| bad_path(&format!("the path: {bad:?}")))?;
    let place = table.target(host, &path);
    if let Some(Target::Route(entry)) = &place
        && (!entry.accepts_path(&path) || table.is_ambiguous(host, &path, entry))
    {
        return Err(bad_path("the path is ambiguous for this route"));
    }
    let place = place.ok_or_else(|| ctx.failure(ErrorResponse::not_found()))?;
    Ok(RouteMatch { target: place, path })
}

/// A request for a route.
#[derive(Clone, Copy)]
pub struct RouteRequest<'a> {
    /// The route.
    pub entry: &'a Arc<RouteEntry>,
    /// The decoded path.
    pub path: &'a Path<'a>,
    /// The path and query, unchanged.
    pub target: &'a str,
}

/// Authenticates and authorizes the request, and mints the assertion of its principal.
///
/// # Errors
/// A redirect to the sign-in page, or a refusal. Success requires a permit, and a principal
/// requires an assertion.
pub async fn authorize(
    ctx: &RequestContext<'_>,
    wanted: RouteRequest<'_>,
) -> Result<Authorized, LocalResponse> {
    let route = &wanted.entry.route;
    let requested =
        Requested { incoming: ctx.incoming, path: wanted.path, headers: &ctx.session.req_header().headers };
    if let Some(preflight) = preflight(ctx, &requested, route) {
        return authorize_preflight(ctx, route, preflight);
    }
    let presented = ctx.authenticate(route, wanted.target).await?;
    if let Some(principal) = &presented {
        request_state::with_record(|record| record.set_principal(principal));
    }
    refuse_foreign_websocket(ctx, route, presented.as_ref())?;
    if let Some(rule) = route.config.second_factor {
        second_factor::require(ctx, wanted, rule, presented.as_ref())?;
    }
    let (permit, principal, assumed, guest_cookie) = match (&*route.rule, presented) {
        (Rule::Policy(judged), presented) => {
            if let Some(name) = requested.method_override() {
                let reason = format!("`{name}` names another method than the request");
                return Err(ctx.refusal(ErrorResponse::bad_request(), &reason));
            }
            let (principal, cookie) = match presented {
                Some(principal) => (principal, None),
                None if judged.identity_pool.config.guest_role.is_none() => {
                    return Err(require_sign_in(ctx, wanted));
                }
                None => Box::pin(ctx.guest(&judged.identity_pool)).await?,
            };
            let deny = |denial: PolicyDenial<'_>| {
                deny_by_policy(ctx, wanted, judged, &requested, &principal, &denial)
            };
            let assumed = policy_rule::assume(ctx, judged, &principal).await?;
            let assumed = assumed.map_err(|none| deny(PolicyDenial::NoRole(none)))?;
            let now = ctx.incoming.received.wall;
            let permit = policy_rule::evaluate(judged, &assumed, &requested, now).map_err(deny)?;
            (permit, Some(principal), Some(assumed), cookie)
        }
        (rule, presented) => (permit_by_rule(ctx, wanted, rule, presented.as_ref())?, presented, None, None),
    };
    let mint = |principal: Principal| -> Result<_, LocalResponse> {
        let (minter, assumed) = (&ctx.gateway.minter, assumed.as_deref());
        let minted = minter.mint(&permit, &principal, assumed, ctx.catalogue(), route, ctx.incoming.received);
        let assertion = minted.map_err(|error| {
            tracing::error!(request_id = ctx.incoming.request_id, %error, "no assertion was made");
            ctx.failure(ErrorResponse::internal())
        })?;
        Ok((principal, assertion))
    };
    let identity = principal.map(mint).transpose()?;
    Ok(Authorized { permit, identity, guest_cookie })
}

/// Returns the configured handling of the request, if it is a preflight.
fn preflight(ctx: &RequestContext<'_>, requested: &Requested<'_>, route: &Route) -> Option<Preflight> {
    // Fetch, section 4.8: a preflight has no credentials, so it would otherwise always be refused.
    route.config.preflight.filter(|preflight| {
        // A proxy reads any 2xx as a permission, so the response to a preflight would permit it.
        !(ctx.incoming.is_forward_auth && *preflight == Preflight::Answer)
            && request::is_preflight(ctx.session, &ctx.incoming.method)
            && requested.method_override().is_none()
    })
}

/// Responds to a preflight, or permits it without an identity.
fn authorize_preflight(
    ctx: &RequestContext<'_>,
    route: &Route,
    preflight: Preflight,
) -> Result<Authorized, LocalResponse> {
    if preflight == Preflight::Answer {
        return Err(cors::preflight(ctx.session, ctx.incoming, &route.config));
    }
    let permit = policy::evaluate(Question::Public);
    let permit = permit.map_err(|_| ctx.failure(ErrorResponse::internal()))?;
    Ok(Authorized { permit, identity: None, guest_cookie: None })
}

/// Refuses a WebSocket that a page of another origin opens with a cookie of this host.
fn refuse_foreign_websocket(
    ctx: &RequestContext<'_>,
    route: &Route,
    presented: Option<&Principal>,
) -> Result<(), LocalResponse> {
    let by_cookie = match presented {
        Some(principal) => !matches!(principal, Principal::Bearer(_)),
        // A guest's cookie is read later.
        None => matches!(&*route.rule, Rule::Policy(_)),
    };
    if by_cookie && cors::is_foreign_websocket(ctx.session, ctx.incoming, &route.config) {
        let reason = "a page of another origin opens a WebSocket; help: add it to `cors_origins`";
        return Err(ctx.refusal(ErrorResponse::access_denied(), reason));
    }
    Ok(())
}

/// Returns the permit of a route without policies.
fn permit_by_rule(
    ctx: &RequestContext<'_>,
    wanted: RouteRequest<'_>,
    rule: &Rule,
    principal: Option<&Principal>,
) -> Result<Permit, LocalResponse> {
    let question = match rule {
        Rule::Public => Question::Public,
        Rule::Listed(allow) => {
            Question::Listed(principal.map(|who| who.is_named_by(allow, &ctx.catalogue().config)))
        }
        Rule::SignedIn | Rule::Policy(_) => Question::SignedIn(principal.map(Principal::subject)),
    };
    policy::evaluate(question).map_err(|denial| match (denial, principal) {
        (Denial::NotAllowed, Some(principal)) => allow_list::deny(ctx, &wanted.entry.route.config, principal),
        _ => require_sign_in(ctx, wanted),
    })
}

/// Returns the response to a request that policies deny. A guest must sign in.
fn deny_by_policy(
    ctx: &RequestContext<'_>,
    wanted: RouteRequest<'_>,
    judged: &PolicyRule,
    requested: &Requested<'_>,
    principal: &Principal,
    denial: &PolicyDenial<'_>,
) -> LocalResponse {
    match principal {
        Principal::SignedIn(_) | Principal::Bearer(_) => {
            policy_rule::deny(ctx, judged, requested, principal, denial)
        }
        Principal::Guest(_) => {
            if matches!(denial, PolicyDenial::Denied(_, Denial::Denied(_))) {
                policy_rule::audit_denial(judged, requested, principal, denial);
            }
            require_sign_in(ctx, wanted)
        }
    }
}

fn require_sign_in(ctx: &RequestContext<'_>, wanted: RouteRequest<'_>) -> LocalResponse {
    sign_in(ctx, wanted.target, &wanted.entry.route.config)
}
