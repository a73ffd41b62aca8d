//! Routes that require a second factor (`second_factor`).

use crate::authn::Principal;
use crate::base::Timestamp;
use crate::config::{Config, SecondFactorRule};
use crate::gateway::authorize::RouteRequest;
use crate::gateway::builtin::sign_in::sign_in;
use crate::gateway::metrics;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::state::request_context::RequestContext;
use crate::model::AcrLevel;
use crate::pages::ErrorResponse;

/// Checks that the principal has proved a second factor, recently enough.
///
/// # Errors
/// The response to a request without it: a browser is asked for the factor alone, a program gets
/// 401 with the challenge of RFC 9470, section 3.
pub fn require(
    ctx: &RequestContext<'_>,
    wanted: RouteRequest<'_>,
    rule: SecondFactorRule,
    principal: Option<&Principal>,
) -> Result<(), LocalResponse> {
    let route = &wanted.entry.route.config;
    let Some(principal) = principal else { return Err(sign_in(ctx, wanted.target, route)) };
    let now = ctx.incoming.received.wall;
    if is_proved(principal, rule, &ctx.catalogue().config, now) {
        return Ok(());
    }
    metrics::denied("secondFactor");
    let is_bearer = matches!(principal, Principal::Bearer(_));
    if !is_bearer && ctx.incoming.may_redirect(&ctx.response_context()) {
        return Err(sign_in(ctx, wanted.target, route));
    }
    let failure = ErrorResponse::second_factor_required().with_challenge(&challenge(rule));
    Err(ctx.refusal(failure, "no second factor was proved, or too long ago"))
}

fn is_proved(principal: &Principal, rule: SecondFactorRule, config: &Config, now: Timestamp) -> bool {
    let at = principal.person(config).and_then(|person| person.multi_factor_at());
    at.is_some_and(|at| rule.max_age.is_none_or(|age| now < at.plus(age)))
}

/// Returns the challenge: `acr_values` and `max_age` are the parameters of an authorization request
/// that would be sufficient.
fn challenge(rule: SecondFactorRule) -> String {
    let level = AcrLevel::Three.name();
    let age = rule.max_age.map_or_else(String::new, |age| format!(", max_age={}", age.as_secs()));
    format!(
        "Bearer realm=\"narthex\", error=\"insufficient_user_authentication\", \
         error_description=\"A second factor is required\", acr_values=\"{level}\"{age}"
    )
}
