//! `/forgotPassword` and `/confirmForgotPassword`: a new password with a code.

use super::context::{PageContext, secret, text};
use super::reply::Step;
use crate::base::Secret;
use crate::directory::ErrorKind;
use crate::directory::sign_in::{Answer, Flow};
use crate::handlers::{AppState, Handled, Reply, RequestData, Shared};
use crate::pages::{Field, FormPage};
use axum::extract::State;

pub async fn forgot_password(State(app): Shared, info: RequestData) -> Reply {
    Reply(match PageContext::read(&app, &info).await {
        Ok(context) => context.forgot_page("", ""),
        Err(failure) => Err(failure),
    })
}

pub async fn forgot_password_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(send_code(&app, &info, &body).await)
}

impl PageContext<'_> {
    /// Returns the page that asks for the name.
    pub(super) fn forgot_page(&self, name: &str, problem: &str) -> Handled {
        let t = self.t;
        let form = self.form("/forgotPassword", &t.send_code, vec![self.name_field().value(name)]);
        FormPage {
            lead: t.reset_lead.clone(),
            problem: problem.to_owned(),
            form: Some(form),
            links: vec![self.sign_in_link("")],
            ..self.new_page(&t.reset_title)
        }
        .answer()
    }

    /// Returns the page for code and new password. `problems` are of the code and the password.
    fn reset_page(&self, name: &str, code: &str, problems: (&str, &str)) -> Handled {
        let t = self.t;
        let code = Field::code(t).value(code).problem(problems.0);
        let password = self.new_password_field(&t.new_password).problem(problems.1);
        let mut form = self.form("/confirmForgotPassword", &t.set_password, vec![code, password]);
        form.hidden = vec![("username", name.to_owned())];
        let mut again = self.form("/forgotPassword", &t.resend_code, Vec::new());
        again.hidden.clone_from(&form.hidden);
        FormPage {
            lead: t.reset_code_sent.clone(),
            form: Some(form),
            other_forms: vec![again],
            links: vec![self.sign_in_link("")],
            ..self.new_page(&t.reset_title)
        }
        .answer()
    }
}

/// Sends a code for a new password. The page says the same whether the name is of a user.
async fn send_code(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = PageContext::read_form(app, info, body).await?;
    let name = text(&fields, "username").trim();
    if name.is_empty() {
        return context.forgot_page("", &context.t.required);
    }
    match app.directory.accounts.forgot_password(context.sender(), name).await {
        Ok(_) => context.reset_page(name, "", ("", "")),
        Err(error) => context.directory_failed(&error, |words| context.forgot_page(name, words)),
    }
}

pub async fn confirm_forgot_password(State(app): Shared, info: RequestData) -> Reply {
    forgot_password(State(app), info).await
}

pub async fn confirm_forgot_password_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(reset(&app, &info, &body).await)
}

/// Sets the new password, and signs the user in with it.
async fn reset(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = PageContext::read_form(app, info, body).await?;
    let (name, code, password) =
        (text(&fields, "username"), text(&fields, "code").trim(), secret(&fields, "password"));
    let set = app
        .directory
        .accounts
        .confirm_forgot_password(context.sender(), name, &Secret::new(code), &password)
        .await;
    match set {
        Ok(_) => {
            let answer = Answer::Password(password);
            let reply = app.directory.sign_in.begin(context.sender(), Flow::Page, name, &answer).await;
            context.answer(reply, Step::Password { name }).await
        }
        Err(error) => {
            let is_of_password =
                matches!(error.kind(), ErrorKind::InvalidPassword | ErrorKind::ReusedPassword);
            context.directory_failed(&error, |words| match is_of_password {
                true => context.reset_page(name, code, ("", words)),
                false => context.reset_page(name, code, (words, "")),
            })
        }
    }
}
