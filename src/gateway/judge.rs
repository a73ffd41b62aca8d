//! The two middle steps of a request's way: what it is for, and whether it may pass. They work on the
//! request's own words, or on those of a proxy that asks for somebody else's request.

use super::app_host;
use super::core::Gateway;
use super::incoming::{self, Incoming};
use super::path::Path;
use super::stop::Stop;
use super::table::{Entry, Place, Table};
use crate::access::{Assertion, Principal};
use crate::hosted::Failure;
use crate::policy::{self, Permit};
use pingora_proxy::Session;
use std::sync::Arc;

/// What lets a request pass, and who it speaks for.
pub struct Passed {
    /// The proof.
    pub permit: Permit,
    /// The person, and what the upstream is told of them.
    pub identity: Option<(Principal, Assertion)>,
}

/// What a request for `target` is for.
///
/// # Errors
/// A 400 where servers could disagree on what it names, a 404 where it names nothing.
pub fn place<'t>(
    table: &'t Table,
    session: &Session,
    incoming: &Incoming,
    target: &str,
) -> Result<Place<'t>, Stop> {
    let bad_path = |why: &str| {
        incoming.refused(why);
        Stop::from(Failure::bad_path().answer(&incoming.visitor(session)))
    };
    let path =
        Path::parse(incoming::path_part(target)).map_err(|bad| bad_path(&format!("the path: {bad:?}")))?;
    let place = table.find(&incoming.host, &path);
    if let Some(Place::Route(entry)) = &place
        && (!entry.takes(&path) || table.is_ambiguous(&incoming.host, &path, entry))
    {
        return Err(bad_path("the path is ambiguous for this route"));
    }
    place.ok_or_else(|| Failure::not_found().answer(&incoming.visitor(session)).into())
}

/// Who the request speaks for, whether it may pass, and the assertion that goes along.
///
/// # Errors
/// The way to sign in, or a refusal; never a pass without a permit, or a person without an assertion.
pub async fn pass(
    gateway: &Gateway,
    session: &Session,
    table: &Table,
    incoming: &Incoming,
    entry: &Arc<Entry>,
    target: &str,
) -> Result<Passed, Stop> {
    let principal = gateway.principal(session, incoming).await?;
    let request =
        policy::Request { subject: principal.as_ref().map(|principal| principal.user().id.as_str()) };
    let permit = policy::evaluate(entry.rule, &request).map_err(|denial| {
        let route = &entry.route.config;
        app_host::sign_in(gateway, &table.catalogue, session, incoming, target, route, denial)
    })?;
    let mint = |principal: Principal| -> Result<_, Stop> {
        let minted = gateway.minter.mint(&permit, &principal, &table.catalogue, &entry.route);
        let assertion = minted.map_err(|error| {
            tracing::error!(request_id = incoming.request_id, %error, "no assertion was made");
            Stop::from(Failure::internal().answer(&incoming.visitor(session)))
        })?;
        Ok((principal, assertion))
    };
    let identity = principal.map(mint).transpose()?;
    Ok(Passed { permit, identity })
}
