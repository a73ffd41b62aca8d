//! The two middle steps of a request's way: what it is for, and whether it may pass. They work on the
//! request's own words, or on those of a proxy that asks for somebody else's request.

use crate::access::{Assertion, Principal};
use crate::catalogue::Rule;
use crate::config::Preflight;
use crate::gateway::authorize::allow_list;
use crate::gateway::authorize::policy_rule::{self, Refusal, Requested};
use crate::gateway::builtin::app_host;
use crate::gateway::request::cors;
use crate::gateway::request::local_response::Stop;
use crate::gateway::request::path::Path;
use crate::gateway::request::{self, Incoming};
use crate::gateway::state::gateway::Gateway;
use crate::gateway::state::request_state;
use crate::gateway::state::routes::{Entry, Place, Table};
use crate::hosted::Failure;
use crate::policy::{self, Denial, Permit, Question};
use pingora_proxy::Session;
use std::sync::Arc;

/// What lets a request pass, and who it speaks for.
pub struct Passed {
    /// The proof.
    pub permit: Permit,
    /// The principal, and what the upstream is told of it.
    pub identity: Option<(Principal, Assertion)>,
    /// The cookie by which a guest who is new is known again.
    pub guest_cookie: Option<String>,
}

/// What a request is for, and its path as it is judged.
pub struct Placed<'t> {
    /// What it is for.
    pub place: Place,
    /// Its path.
    pub path: Path<'t>,
}

/// What a request for `target` is for.
///
/// # Errors
/// A 400 where servers could disagree on what it names, a 404 where it names nothing.
pub fn place<'t>(
    table: &'t Table,
    session: &Session,
    incoming: &Incoming,
    target: &'t str,
) -> Result<Placed<'t>, Stop> {
    let bad_path = |why: &str| {
        incoming.refused(why);
        Stop::from(Failure::bad_path().answer(&incoming.visitor(session)))
    };
    let path =
        Path::parse(request::path_part(target)).map_err(|bad| bad_path(&format!("the path: {bad:?}")))?;
    let place = table.find(&incoming.host, &path);
    if let Some(Place::Route(entry)) = &place
        && (!entry.takes(&path) || table.is_ambiguous(&incoming.host, &path, entry))
    {
        return Err(bad_path("the path is ambiguous for this route"));
    }
    let place = place.ok_or_else(|| Stop::from(Failure::not_found().answer(&incoming.visitor(session))))?;
    Ok(Placed { place, path })
}

/// A request for a route.
#[derive(Clone, Copy)]
pub struct ForRoute<'a> {
    /// The route.
    pub entry: &'a Arc<Entry>,
    /// The path, decoded.
    pub path: &'a Path<'a>,
    /// Path and query, as they came.
    pub target: &'a str,
}

/// Who the request speaks for, whether it may pass, and the assertion that goes along.
///
/// # Errors
/// The way to sign in, or a refusal; never a pass without a permit, or a principal without an assertion.
pub async fn pass(
    gateway: &Gateway,
    session: &Session,
    table: &Table,
    incoming: &Incoming,
    wanted: ForRoute<'_>,
) -> Result<Passed, Stop> {
    let (catalogue, route) = (&*table.catalogue, &wanted.entry.route);
    let requested = Requested { incoming, path: wanted.path, headers: &session.req_header().headers };
    // Fetch, section 4.8: a preflight has no credentials, so that asking for them would refuse each one.
    if let Some(preflight) = route.config.preflight
        && request::is_preflight(session)
        && requested.method_override().is_none()
    {
        // The file says that the app answers it, whoever sends it.
        if preflight == Preflight::Answer {
            return Err(cors::preflight(session, incoming, &route.config));
        }
        let permit = policy::evaluate(Question::Public);
        let permit =
            permit.map_err(|_| Stop::from(Failure::internal().answer(&incoming.visitor(session))))?;
        return Ok(Passed { permit, identity: None, guest_cookie: None });
    }
    let presented = gateway.presented(session, incoming, route).await?;
    if let Some(principal) = &presented {
        request_state::with_record(|record| record.set_principal(principal));
    }
    let sign_in = || app_host::sign_in(gateway, catalogue, session, incoming, wanted.target, &route.config);

    let (permit, principal, assumed, guest_cookie) = match (&*route.rule, presented) {
        (Rule::Policy(judged), presented) => {
            if let Some(name) = requested.method_override() {
                incoming.refused(&format!("`{name}` says another method than the request"));
                return Err(Failure::bad_request().answer(&incoming.visitor(session)).into());
            }
            let (principal, cookie) = match presented {
                Some(principal) => (principal, None),
                None if judged.identity_pool.config.guest_role.is_none() => return Err(sign_in()),
                None => Box::pin(gateway.guest(session, incoming, catalogue, &judged.identity_pool)).await?,
            };
            let now = incoming.received.wall;
            let refuse = |refusal: &Refusal<'_>| match &principal {
                Principal::SignedIn(_) | Principal::Bearer(_) => {
                    policy_rule::refuse(session, judged, &requested, &principal, refusal, now)
                }
                Principal::Guest(_) => {
                    if matches!(refusal, Refusal::Denied(_, Denial::Denied(_))) {
                        policy_rule::tell(judged, &requested, &principal, refusal, now);
                    }
                    sign_in()
                }
            };
            let assumed =
                policy_rule::assume(gateway, session, incoming, catalogue, judged, &principal).await?;
            let assumed = assumed.map_err(|none| refuse(&Refusal::NoRole(none)))?;
            let permit =
                policy_rule::judge(judged, &assumed, &requested, now).map_err(|refusal| refuse(&refusal))?;
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
                    allow_list::refuse(session, incoming, &route.config, principal)
                }
                _ => sign_in(),
            })?;
            (permit, presented, None, None)
        }
    };
    let mint = |principal: Principal| -> Result<_, Stop> {
        let minted =
            gateway.minter.mint(&permit, &principal, assumed.as_deref(), catalogue, route, incoming.received);
        let assertion = minted.map_err(|error| {
            tracing::error!(request_id = incoming.request_id, %error, "no assertion was made");
            Stop::from(Failure::internal().answer(&incoming.visitor(session)))
        })?;
        Ok((principal, assertion))
    };
    let identity = principal.map(mint).transpose()?;
    Ok(Passed { permit, identity, guest_cookie })
}
