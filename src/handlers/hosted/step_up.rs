//! The second factor of a user whose session exists: the page asks for nothing else.

use super::context::PageContext;
use super::reply::Step;
use crate::directory::sign_in::{Challenge, Refusal, Reply};
use crate::handlers::authorize::SignInRequest;
use crate::handlers::{AppState, Handled, RequestData};
use crate::model::Session;
use crate::pages::ErrorResponse;

/// The page of a step-up.
pub enum StepUpPage {
    /// The page.
    Shown(Handled),
    /// The user has no second factor and can set none up, or need not.
    NoFactor(Box<SignInRequest>),
}

/// Returns the page that asks the user of `session` for a second factor. `may_set_up` is whether a
/// user without one has to set one up.
///
/// # Errors
/// Returns an error page if the database fails.
pub async fn step_up_page(
    app: &AppState,
    info: &RequestData,
    request: Box<SignInRequest>,
    session: &Session,
    may_set_up: bool,
) -> Result<StepUpPage, ErrorResponse> {
    let (catalogue, t) = (app.catalogue.load(), request.texts(info));
    let context = PageContext { app, info, catalogue, request: *request, t };
    let reply = app.directory.sign_in.begin_step_up(context.sender(), session).await;
    let is_set_up = match &reply {
        Ok(Reply::Challenge(challenge)) => matches!(challenge.challenge, Challenge::SetUpFactor { .. }),
        _ => false,
    };
    let has_none =
        matches!(&reply, Ok(Reply::Refused(Refusal::FactorNotFound))) || (is_set_up && !may_set_up);
    if has_none {
        return Ok(StepUpPage::NoFactor(Box::new(context.request)));
    }
    Ok(StepUpPage::Shown(context.answer(reply, Step::Password { name: "" }).await))
}
