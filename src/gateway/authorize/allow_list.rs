//! Refusal of users that are not in the lists of a route.

use crate::authn::Principal;
use crate::config::Route;
use crate::gateway::authorize::policy_rule::access_denied;
use crate::gateway::metrics;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::state::request_context::RequestContext;

/// Returns the 403 response, and writes the refusal to the audit log.
pub fn deny(ctx: &RequestContext<'_>, route: &Route, principal: &Principal) -> LocalResponse {
    let incoming = ctx.incoming;
    metrics::denied("implicitDeny");
    tracing::warn!(
        target: "audit",
        event = "access_denied",
        request_id = incoming.request_id,
        client = incoming.client.map_or_else(String::new, |ip| ip.to_string()),
        sub = principal.subject(),
        username = principal.user().map(|user| user.username.as_str()),
        sid = principal.signed_in().map(|who| who.session().id.as_str()),
        route = route.name,
        decision = "implicitDeny",
        statement = "neither allowed_groups nor allowed_emails nor allowed_domains names the person",
    );
    access_denied(ctx, principal)
}
