//! Step-up authentication: a client needs a level that the session does not have (RFC 9470, section
//! 4; OpenID Connect Core 1.0, section 3.1.2.1: `acr_values`).

use super::request::SignInRequest;
use crate::base::{Duration, Timestamp};
use crate::config::LOCAL_PROVIDER;
use crate::handlers::hosted::{StepUpPage, step_up_page};
use crate::handlers::{AppState, Handled, RequestData};
use crate::model::{AcrLevel, AuthorizationRequest, MfaMode, Session};
use crate::pages::ErrorResponse;

/// What follows for a browser with a session.
pub(super) enum NextStep {
    /// The session is sufficient.
    Continue(Box<SignInRequest>),
    /// The response: a page that asks for a second factor, or a refusal.
    Respond(Handled),
}

/// Returns whether `session` has a level that the request needs.
pub(in crate::handlers) fn is_sufficient(
    request: &AuthorizationRequest,
    session: &Session,
    now: Timestamp,
) -> bool {
    request.levels.is_empty() || request.levels.iter().any(|level| has_level(request, session, *level, now))
}

fn has_level(request: &AuthorizationRequest, session: &Session, level: AcrLevel, now: Timestamp) -> bool {
    let has_it = AcrLevel::of(&session.amr).is_some_and(|reached| reached >= level);
    let at = session.factor_at.or(session.auth_time);
    // As the gateway compares it: a difference would send the browser to and fro.
    let is_recent =
        |age: u64| at.is_some_and(|at| now < at.plus(Duration::from_secs(age))) || level < AcrLevel::Three;
    has_it && request.factor_age.is_none_or(is_recent)
}

/// Returns what follows for `session`. A level that it lacks, and that precedes those that it has,
/// is asked for if the user can reach it.
pub(super) async fn next_step(
    app: &AppState,
    info: &RequestData,
    request: Box<SignInRequest>,
    session: &Session,
) -> Result<NextStep, ErrorResponse> {
    let now = app.clock.now();
    let Some(of) = request.request.as_ref().filter(|of| !of.levels.is_empty()) else {
        return Ok(NextStep::Continue(request));
    };
    let is_sufficient = is_sufficient(of, session, now);
    let missing = of.levels.iter().take_while(|level| !has_level(of, session, **level, now));
    let can_be_reached = |level: &AcrLevel| matches!(level, AcrLevel::Two | AcrLevel::Three);
    let is_missing = missing.copied().any(|level| can_be_reached(&level));
    let is_local = session.provider == LOCAL_PROVIDER;
    let asks = is_missing && is_local && request.client.of.pool.settings.mfa.mode != MfaMode::Off;
    if asks && request.prompt.none {
        let refusal = match is_sufficient {
            true => return Ok(NextStep::Continue(request)),
            false => request.error("interaction_required", "the user must prove a second factor"),
        };
        return Ok(NextStep::Respond(refusal.into_response(info)));
    }
    let request = match asks {
        true => match step_up_page(app, info, request, session, !is_sufficient).await? {
            StepUpPage::Shown(page) => return Ok(NextStep::Respond(page)),
            StepUpPage::NoFactor(request) => request,
        },
        false => request,
    };
    Ok(match is_sufficient {
        true => NextStep::Continue(request),
        false => NextStep::Respond(unmet(info, &request)),
    })
}

/// Returns the refusal of a request whose level the user cannot reach.
fn unmet(info: &RequestData, request: &SignInRequest) -> Handled {
    match request.client.is_gateway {
        true => Err(ErrorResponse::second_factor_missing()),
        // OpenID Connect Core Error Code unmet_authentication_requirements 1.0.
        false => {
            let why = "the user cannot reach a level of acr_values";
            request.error("unmet_authentication_requirements", why).into_response(info)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_factor_is_recent_until_its_age_is_reached() {
        let at = Timestamp::from_seconds(1_800_000_000);
        let session = Session {
            id: "s".into(),
            pool_id: "p".into(),
            user_id: "u".into(),
            provider: LOCAL_PROVIDER.into(),
            provider_sid: String::new(),
            user_agent: String::new(),
            address: String::new(),
            amr: ["pwd", "otp", "mfa"].map(str::to_owned).to_vec(),
            auth_time: Some(at.minus(Duration::from_secs(1000))),
            factor_at: Some(at),
            created_at: at,
            last_seen_at: at,
            expires_at: at.plus(Duration::from_secs(5000)),
        };
        let request = |levels: &[AcrLevel], factor_age| AuthorizationRequest {
            levels: levels.to_vec(),
            factor_age,
            ..AuthorizationRequest::default()
        };
        let after = |millis| at.plus(Duration::from_millis(millis));
        let (three, four) = ([AcrLevel::Three], [AcrLevel::Four]);
        for (request, now, expected) in [
            (request(&[], Some(60)), after(90_000), true),
            (request(&three, None), after(4_000_000), true),
            (request(&three, Some(60)), after(59_999), true),
            (request(&three, Some(60)), after(60_000), false),
            (request(&three, Some(u64::MAX)), after(60_000), true),
            (request(&four, None), after(0), false),
            (request(&[AcrLevel::Four, AcrLevel::One], None), after(0), true),
        ] {
            assert_eq!(is_sufficient(&request, &session, now), expected, "{request:?}");
        }
    }
}
