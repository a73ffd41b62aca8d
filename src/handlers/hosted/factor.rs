//! `/mfa`: the code of a second factor; `/mfaSetup`: an authenticator app for a user without one.

use super::context::{PageContext, secret, text};
use super::reply::Step;
use super::words;
use crate::base::Secret;
use crate::directory::sign_in::{Answer, ChallengeReply, Refusal, Reply as SignInReply, SignInError};
use crate::directory::{ByUser, ErrorKind, NewToken};
use crate::handlers::{AppState, Form, Handled, Reply, RequestData, Shared, session_principal};
use crate::model::Factor;
use crate::pages::{ErrorResponse, Field, FormPage, Link, Qr, Texts};
use axum::extract::State;

/// Separates the names of factors in a hidden field.
const SEPARATOR: char = ',';

/// What the page of a second factor shows. Hidden fields repeat it for the page after a wrong code;
/// the session alone decides.
pub(super) struct FactorForm {
    session: String,
    name: String,
    factor: Factor,
    choices: Vec<Factor>,
    destination: String,
}

impl FactorForm {
    /// Returns the form of a challenge.
    pub fn of_reply(reply: &ChallengeReply, factor: Factor, name: &str) -> Self {
        Self {
            session: reply.session.clone(),
            name: name.to_owned(),
            factor,
            choices: reply.factors.choices.clone(),
            destination: reply
                .factors
                .sent
                .as_ref()
                .map_or_else(String::new, |sent| sent.destination.clone()),
        }
    }

    /// Returns the form that was sent; `None` for one without a factor.
    pub fn of_fields(fields: &Form) -> Option<Self> {
        let choices = text(fields, "choices").split(SEPARATOR);
        Some(Self {
            session: text(fields, "session").to_owned(),
            name: text(fields, "username").to_owned(),
            factor: Factor::parse(text(fields, "factor"))?,
            choices: choices.filter_map(Factor::parse).collect(),
            destination: text(fields, "destination").to_owned(),
        })
    }

    /// Returns whether the code is one of an authenticator app.
    pub fn is_of_token(&self) -> bool {
        self.factor == Factor::SoftwareToken
    }

    fn hidden(&self) -> Vec<(&'static str, String)> {
        let choices: Vec<_> = self.choices.iter().map(|factor| factor.name()).collect();
        vec![
            ("session", self.session.clone()),
            ("username", self.name.clone()),
            ("factor", self.factor.name().to_owned()),
            ("choices", choices.join(&SEPARATOR.to_string())),
            ("destination", self.destination.clone()),
        ]
    }
}

/// Returns the label of the button that changes to a factor.
fn change_label(t: &'static Texts, factor: Factor) -> &'static str {
    match factor {
        Factor::SoftwareToken => &t.use_app,
        Factor::Email => &t.use_email,
        Factor::Sms => &t.use_sms,
    }
}

/// Returns the image and the key of a new token.
pub(in crate::handlers) fn token_image(token: &NewToken) -> Option<Qr> {
    Qr::new(token.uri.expose(), token.secret.expose())
}

impl PageContext<'_> {
    /// Returns the page for the code of a second factor.
    pub fn factor_page(&self, of: &FactorForm, problem: &str) -> Handled {
        let t = self.t;
        let lead = match of.factor {
            Factor::SoftwareToken => t.token_lead.clone(),
            Factor::Email | Factor::Sms => t.factor_sent.replace("{}", &of.destination),
        };
        // A recovery code has letters.
        let code = Field { is_numeric: false, ..Field::code(t) }.problem(problem);
        let mut form = self.form("/mfa", &t.confirm, vec![code]);
        form.hidden = of.hidden();
        let change = |factor: Factor| {
            let label = if factor == of.factor { &t.resend_code } else { change_label(t, factor) };
            let mut form = self.form("/mfa", label, Vec::new());
            form.hidden = of.hidden();
            form.hidden.push(("choose", factor.name().to_owned()));
            form
        };
        let sends = |factor: &Factor| *factor != of.factor || factor.address().is_some();
        let others = of.choices.iter().copied().filter(|factor| sends(factor)).map(change).collect();
        let page = FormPage { lead, ..self.new_page(&t.second_factor) };
        FormPage { form: Some(form), other_forms: others, links: vec![self.sign_in_link("")], ..page }
            .answer()
    }

    /// Returns the page on which the user sets an authenticator app up.
    pub async fn set_up_page(&self, session: &str, name: &str) -> Handled {
        let directory = &self.app.directory;
        let new = directory.sign_in.new_token((&directory.factors, true), self.sender(), session).await;
        match new {
            Ok((token, session)) => self.token_page(&token, &session, name, ""),
            Err(error) => self.failed(&error, name),
        }
    }

    fn token_page(&self, token: &NewToken, session: &str, name: &str, problem: &str) -> Handled {
        let t = self.t;
        let fields = vec![Field { max_length: 6, ..Field::code(t) }.problem(problem)];
        let mut form = self.form("/mfaSetup", &t.confirm, fields);
        form.hidden = vec![("session", session.to_owned()), ("username", name.to_owned())];
        let page = FormPage { lead: t.set_up_lead.clone(), ..self.new_page(&t.set_up_title) };
        let links = vec![self.sign_in_link("")];
        FormPage { qr: token_image(token), form: Some(form), links, ..page }.answer()
    }
}

/// Answers the form with the code of a second factor, or with the choice of another one.
pub async fn factor_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(answer_factor(&app, &info, &body).await)
}

async fn answer_factor(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = PageContext::read_form(app, info, body).await?;
    let answer = match text(&fields, "choose") {
        "" => Answer::Code(Secret::new(text(&fields, "code").trim())),
        name => Answer::Factor(Factor::parse(name).ok_or_else(ErrorResponse::bad_request)?),
    };
    let session = text(&fields, "session");
    let reply = app.directory.sign_in.respond_on_page(context.sender(), session, &answer).await;
    context.answer(reply, Step::Factor { fields: &fields }).await
}

/// Answers the form with the first code of an authenticator app.
pub async fn set_up_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(set_up(&app, &info, &body).await)
}

async fn set_up(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = PageContext::read_form(app, info, body).await?;
    let (session, name) = (text(&fields, "session"), text(&fields, "username"));
    let (sign_in, factors) = (&app.directory.sign_in, (&app.directory.factors, true));
    // Before the token is stored.
    if !context.has_session_of_step_up(session).await? {
        return context.sign_in_page(name, "", words::of_refusal(context.t, &Refusal::InvalidSession));
    }
    let confirmed = sign_in.confirm_token(factors, context.sender(), session, &secret(&fields, "code")).await;
    let next = match confirmed {
        Ok(next) => next,
        Err(SignInError::Directory(error)) => {
            let words = match error.kind() {
                ErrorKind::TokenCodeMismatch => &context.t.wrong_token_code,
                ErrorKind::NotAuthorized => &context.t.attempts_exceeded,
                _ => return context.failed(&error.into(), name),
            };
            context.record_guess();
            let pending = sign_in.pending_token(true, context.sender(), session).await;
            return match pending {
                Ok(token) => context.token_page(&token, session, name, words),
                Err(error) => context.failed(&error, name),
            };
        }
        Err(error) => return context.failed(&error, name),
    };
    let reply = sign_in.respond_on_page(context.sender(), &next, &Answer::FactorSetUp).await;
    match reply {
        Ok(SignInReply::SignedIn(signed_in)) => {
            let client_id = Some(&*context.sender().client.id);
            let by = ByUser { pool: context.pool(), user: &signed_in.user, client_id };
            let codes = match app.directory.factors.new_recovery_codes(by).await {
                Ok(codes) => codes,
                Err(error) => return context.failed(&error.into(), name),
            };
            let onward = Link {
                before: String::new(),
                label: context.t.go_on.clone(),
                href: context.url(if context.request.request.is_some() { "/oauth2/authorize" } else { "/" }),
            };
            let page =
                recovery_codes_page(context.new_page(&context.t.recovery_codes), context.t, &codes, onward);
            context.finish_on(&signed_in, page).await
        }
        reply => context.answer(reply, Step::Factor { fields: &fields }).await,
    }
}

impl PageContext<'_> {
    /// Returns whether the browser has the session that a step-up is about. A new sign-in needs
    /// none.
    async fn has_session_of_step_up(&self, session: &str) -> Result<bool, ErrorResponse> {
        let Some(id) = self.app.directory.sign_in.session_of_step_up(self.sender(), session) else {
            return Ok(true);
        };
        let principal = session_principal(self.app, self.info).await?;
        Ok(principal.is_some_and(|principal| principal.session().id == id))
    }
}

/// Returns the page with new recovery codes.
pub(in crate::handlers) fn recovery_codes_page(
    page: FormPage,
    t: &'static Texts,
    codes: &[Secret],
    onward: Link,
) -> FormPage {
    let codes = codes.iter().map(|code| code.expose().to_owned()).collect();
    FormPage { lead: t.recovery_codes_lead.clone(), codes, onward: Some(onward), ..page }
}
