//! `/loginCode`: the code that replaces a password.

use super::context::{PageContext, text};
use super::reply::Step;
use crate::base::Secret;
use crate::directory::sign_in::{Answer, ChallengeReply};
use crate::handlers::{AppState, Form, Handled, Reply, RequestData, Shared};
use crate::model::{FIRST_FACTORS, Factor, FirstFactor, PoolSettings};
use crate::pages::{CodeButton, ErrorResponse, Field, FormPage, Texts};
use axum::extract::State;

/// The field with the code that the user chose.
const METHOD: &str = "method";

/// What the page of the code shows. Hidden fields repeat it for the page after a wrong code; the
/// session alone decides.
pub(super) struct CodeForm {
    session: String,
    name: String,
    factor: FirstFactor,
    destination: String,
}

impl CodeForm {
    /// Returns the form of a challenge.
    pub fn of_reply(reply: &ChallengeReply, factor: Factor, name: &str) -> Option<Self> {
        let sent = reply.factors.sent.as_ref();
        Some(Self {
            session: reply.session.clone(),
            name: name.to_owned(),
            factor: FirstFactor::of_code(factor)?,
            destination: sent.map_or_else(String::new, |sent| sent.destination.clone()),
        })
    }

    /// Returns the form that was sent; `None` for one without a factor.
    pub fn of_fields(fields: &Form) -> Option<Self> {
        Some(Self {
            session: text(fields, "session").to_owned(),
            name: text(fields, "username").to_owned(),
            factor: FirstFactor::parse(text(fields, "factor"))?,
            destination: text(fields, "destination").to_owned(),
        })
    }

    fn hidden(&self) -> Vec<(&'static str, String)> {
        vec![
            ("session", self.session.clone()),
            ("username", self.name.clone()),
            ("factor", self.factor.name().to_owned()),
            ("destination", self.destination.clone()),
        ]
    }
}

/// Returns the codes that replace a password, as buttons.
pub(super) fn methods(settings: &PoolSettings, t: &'static Texts) -> Vec<CodeButton> {
    let method = |of: &FirstFactor| {
        let label = label(t, *of)?;
        Some(CodeButton { name: METHOD, value: of.name(), label: label.to_owned() })
    };
    let known = FIRST_FACTORS.iter().map(|(of, ..)| of).filter(|of| settings.first_factors.contains(of));
    known.filter_map(method).collect()
}

/// Returns the label of the button that sends a code; `None` for a password.
fn label(t: &'static Texts, of: FirstFactor) -> Option<&'static str> {
    match of {
        FirstFactor::Password => None,
        FirstFactor::Email => Some(&t.use_email),
        FirstFactor::Sms => Some(&t.use_sms),
    }
}

/// Returns the code that the form of a page asks for.
///
/// # Errors
/// Returns an error for an unknown one.
pub(super) fn chosen(fields: &Form) -> Result<Option<Answer>, ErrorResponse> {
    match text(fields, METHOD) {
        "" => Ok(None),
        name => {
            let code = FirstFactor::parse(name).and_then(FirstFactor::code);
            code.map(Answer::FirstFactor).map(Some).ok_or_else(ErrorResponse::bad_request)
        }
    }
}

impl PageContext<'_> {
    /// Returns the page for the code.
    pub fn first_code_page(&self, of: &CodeForm, problem: &str) -> Handled {
        let t = self.t;
        let mut form = self.form("/loginCode", &t.sign_in, vec![Field::code(t).problem(problem)]);
        form.hidden = of.hidden();
        let change = |method: CodeButton| {
            let label = if method.value == of.factor.name() { &t.resend_code } else { &method.label };
            let mut form = self.form("/loginCode", label, Vec::new());
            form.hidden = of.hidden();
            form.hidden.push((METHOD, method.value.to_owned()));
            form
        };
        let page =
            FormPage { lead: t.factor_sent.replace("{}", &of.destination), ..self.new_page(&t.sign_in) };
        FormPage {
            form: Some(form),
            other_forms: methods(&self.pool().settings, t).into_iter().map(change).collect(),
            links: vec![self.sign_in_link("")],
            ..page
        }
        .answer()
    }
}

/// Answers the form with the code, or with the choice of another one.
pub async fn first_code_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(answer_code(&app, &info, &body).await)
}

async fn answer_code(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = PageContext::read_form(app, info, body).await?;
    let answer = match chosen(&fields)? {
        Some(choice) => choice,
        None => Answer::Code(Secret::new(text(&fields, "code").trim())),
    };
    let session = text(&fields, "session");
    let reply = app.directory.sign_in.respond_on_page(context.sender(), session, &answer).await;
    context.answer(reply, Step::FirstCode { fields: &fields }).await
}
