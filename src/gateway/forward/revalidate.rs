//! Revalidation of long-lived requests, by the same rules as for new requests.

use crate::authn::{APP_COOKIE, Principal, cookie_value};
use crate::base::Secret;
use crate::catalogue::Rule;
use crate::gateway::authorize::policy_rule::{self, Requested};
use crate::gateway::request::path::Path;
use crate::gateway::request::{self, RequestInfo};
use crate::gateway::state::credentials::{accepts_pool, missing_scope, scope_of};
use crate::gateway::state::gateway::Gateway;
use crate::gateway::state::long_lived::{Credential, LongRequest, StreamGuard};
use crate::gateway::state::request_state;
use crate::gateway::state::routes::{RouteTable, Target};
use http::header::{REFERER, USER_AGENT};
use pingora_proxy::Session;

impl Gateway {
    /// Ends the long-lived requests that are no longer authorized.
    pub async fn revalidate_streams(&self) {
        let table = self.route_table();
        for some in self.streams.all() {
            let judged = some.iter().map(|(_, request)| self.revocation_reason(&table, request));
            let judged = futures_util::future::join_all(judged).await;
            for ((id, _), why) in some.iter().zip(judged) {
                why.into_iter().for_each(|why| self.streams.end(*id, why));
            }
        }
    }

    /// Returns the reason for which a long-lived request must end; `None` if a new request would be
    /// allowed. The request also ends if the database was unavailable for too long to decide.
    async fn revocation_reason(&self, table: &RouteTable, request: &LongRequest) -> Option<&'static str> {
        let principal = match &request.credential {
            Credential::None => None,
            Credential::Bearer(token) => match self.bearers.revalidate(token.expose()).await {
                Some(bearer) => Some(Principal::Bearer(bearer)),
                None => return Some("its token is over"),
            },
            Credential::Guest(guest) => match self.guests.is_active(guest).await {
                Ok(true) => Some(Principal::Guest(guest.clone())),
                _ => return Some("its guest is none any more"),
            },
            Credential::Session { cookie, scope, id } => {
                match self.pool.sessions.authenticate_without_touch(cookie, scope.borrowed()).await {
                    Ok(Some(who)) if who.session().id == *id => Some(Principal::SignedIn(who)),
                    _ => return Some("its session is over"),
                }
            }
        };
        let Ok(path) = Path::parse(&request.path) else { return None };
        let Some(Target::Route(entry)) = table.target(&request.info.host, &path) else {
            return Some("its route is not in the file any more");
        };
        let Some(principal) = principal else {
            let is_public = matches!(*entry.route.rule, Rule::Public);
            return (!is_public).then_some("its route is not public any more");
        };
        if let Principal::Bearer(bearer) = &principal
            && (!entry.route.config.bearer
                || !accepts_pool(bearer, &entry.route, &table.catalogue)
                || missing_scope(bearer, &entry.route).is_some())
        {
            return Some("its token is not accepted here any more");
        }
        let judged = match (&*entry.route.rule, &principal) {
            (Rule::Policy(judged), _) => judged,
            (Rule::SignedIn | Rule::Listed(_), Principal::Guest(_)) => return Some("nobody is signed in"),
            (Rule::Listed(allow), principal) if !principal.is_named_by(allow, &table.catalogue.config) => {
                return Some("its principal may not have it any more");
            }
            (Rule::SignedIn | Rule::Listed(_) | Rule::Public, _) => return None,
        };
        let requested = Requested { incoming: &request.info, path: &path, headers: &request.headers };
        let now = self.pool.clock.now();
        match principal.assume(&self.identities, &table.catalogue, &judged.identity_pool).await {
            Ok(Ok(assumed)) if policy_rule::evaluate(judged, &assumed, &requested, now).is_ok() => None,
            _ => Some("its principal may not have it any more"),
        }
    }

    /// Registers a request for revalidation until the guard is dropped.
    pub(in crate::gateway) fn watch(
        &self,
        session: &Session,
        incoming: &RequestInfo,
        principal: Option<&Principal>,
    ) -> Option<StreamGuard> {
        let credential = match principal {
            None => Credential::None,
            Some(Principal::Guest(guest)) => Credential::Guest(guest.clone()),
            Some(Principal::Bearer(_)) => {
                Credential::Bearer(Secret::new(request::bearer(session, true).ok()??.token.into_owned()))
            }
            Some(Principal::SignedIn(who)) => Credential::Session {
                cookie: cookie_value(request::cookies(session), APP_COOKIE)?.to_owned(),
                scope: scope_of(incoming).owned(),
                id: who.session().id.clone(),
            },
        };
        let path = request::path_part(request::target(session)?).to_owned();
        let header = &session.req_header().headers;
        let kept = [USER_AGENT, REFERER]
            .into_iter()
            .flat_map(|name| header.get_all(&name).iter().map(move |value| (name.clone(), value.clone())));
        let headers = kept.collect();
        let request = LongRequest { credential, info: incoming.clone(), path, headers };
        let (open, end) = self.streams.watch(request);
        request_state::cancel_on(end);
        Some(open)
    }
}
