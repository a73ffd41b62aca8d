//! `/signup`, `/confirmUser` and `/resendCode`: a user signs up, and confirms it with a code.

use super::context::{PageContext, secret, text};
use super::link::{is_link, link_form};
use super::reply::{ATTRIBUTE_PREFIX, Step};
use crate::base::Secret;
use crate::directory::sign_in::{Answer, Flow};
use crate::directory::{DirectoryError, ErrorKind, SignUp};
use crate::handlers::{AppState, Form, Handled, Reply, RequestData, Shared};
use crate::model::{Attributes, FirstFactor, SignInAttribute, UserStatus};
use crate::pages::{ErrorResponse, Field, FormPage};
use axum::extract::State;

pub async fn sign_up(State(app): Shared, info: RequestData) -> Reply {
    Reply(sign_up_page(&app, &info).await)
}

pub async fn sign_up_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(add_user(&app, &info, &body).await)
}

async fn sign_up_page(app: &AppState, info: &RequestData) -> Handled {
    let context = open(PageContext::read(app, info).await?)?;
    context.sign_up_page(&Form::new(), None, "")
}

/// Returns the context of a pool that has sign-up.
fn open(context: PageContext<'_>) -> Result<PageContext<'_>, ErrorResponse> {
    match context.pool().settings.only_administrators_create {
        true => Err(ErrorResponse::not_found()),
        false => Ok(context),
    }
}

/// Where a problem is shown: at the field of this name, or above the form.
type Problem<'a> = Option<(&'a str, &'a str)>;

impl PageContext<'_> {
    /// Returns the sign-up page, with what was typed.
    fn sign_up_page(&self, typed: &Form, problem: Problem<'_>, above: &str) -> Handled {
        let t = self.t;
        let of_field = |name: &str| problem.filter(|(at, _)| *at == name).map_or("", |(_, words)| words);
        let mut fields = Vec::new();
        if !self.name_is_address() {
            let field = Field { max_length: 128, ..Field::new("username", &t.username, "username") };
            fields.push(field);
        }
        for (name, is_required) in self.sign_up_attributes() {
            let field = self.attribute_field(&name, "");
            fields.push(Field { is_required, is_optional: !is_required, ..field });
        }
        let shown = |field: Field| {
            let value = text(typed, &field.name).to_owned();
            let problem = of_field(&field.name).to_owned();
            field.value(&value).problem(&problem)
        };
        let mut fields: Vec<Field> = fields.into_iter().map(shown).collect();
        if self.has_password() {
            fields.push(self.new_password_field(&t.password).problem(of_field("password")));
        }
        let form = self.form("/signup", &t.sign_up, fields);
        FormPage {
            problem: above.to_owned(),
            form: Some(form),
            links: vec![self.sign_in_link(&t.have_account)],
            ..self.new_page(&t.sign_up)
        }
        .answer()
    }

    /// Returns whether users sign in with passwords.
    fn has_password(&self) -> bool {
        self.pool().settings.first_factors.contains(&FirstFactor::Password)
    }

    /// Returns whether users sign up with an address in place of a user name.
    fn name_is_address(&self) -> bool {
        !self.pool().settings.sign_in.username_attributes.is_empty()
    }

    /// Returns the attributes of the sign-up page, and whether each is required: those that the
    /// pool requires, those that users sign in with, and those to which a code is sent. A client
    /// that may not write one does not ask for it.
    fn sign_up_attributes(&self) -> Vec<(String, bool)> {
        let settings = &self.pool().settings;
        let required = settings.schema.iter().filter(|of| of.required && of.name != "sub");
        let mut all: Vec<(String, bool)> = required.map(|of| (of.name.to_string(), true)).collect();
        let sign_in = &settings.sign_in;
        let names = sign_in.username_attributes.first().map(|attribute| (*attribute, true));
        let sent =
            settings.auto_verified.iter().map(|attribute| (*attribute, settings.auto_verified.len() == 1));
        let aliases = sign_in.alias_attributes.iter().map(|attribute| (*attribute, false));
        for (attribute, is_required) in names.into_iter().chain(sent).chain(aliases) {
            if !all.iter().any(|(name, _)| name == attribute.name()) {
                all.push((attribute.name().to_owned(), is_required));
            }
        }
        let client = &self.request.client.of.client.settings;
        all.retain(|(name, _)| client.may_write(name));
        all.sort_by_key(|(name, is_required)| (name != SignInAttribute::Email.name(), !is_required));
        all
    }
}

/// Signs a user up, and shows the page for the code.
async fn add_user(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = PageContext::read_form(app, info, body).await?;
    let context = open(context)?;
    let read = |(name, _): &(String, bool)| {
        let value = text(&fields, &format!("{ATTRIBUTE_PREFIX}{name}")).trim().to_owned();
        (!value.is_empty()).then(|| (name.clone(), value))
    };
    let attributes: Attributes = context.sign_up_attributes().iter().filter_map(read).collect();
    let username = match context.pool().settings.sign_in.username_attributes.first() {
        Some(address) => attributes.get(address.name()).unwrap_or_default().to_owned(),
        None => text(&fields, "username").trim().to_owned(),
    };
    let password = context.has_password().then(|| secret(&fields, "password"));
    let mut required = vec![(context.name_field_of_sign_up(), &*username)];
    required.extend(password.as_ref().map(|password| ("password".to_owned(), password.expose())));
    if let Some((field, _)) = required.iter().find(|(_, value)| value.is_empty()) {
        return context.sign_up_page(&fields, Some((field, &context.t.required)), "");
    }
    let new = SignUp { username: &username, password: password.as_ref(), attributes: &attributes };
    match app.directory.accounts.sign_up(context.sender(), new).await {
        Ok(signed_up) if signed_up.delivery.is_none() && signed_up.user.status == UserStatus::Unconfirmed => {
            context.waiting_page()
        }
        Ok(_) => context.begin_confirmation(&username, password).await,
        Err(error) => {
            let at = context.field_of(&error);
            context.directory_failed(&error, |words| match &at {
                Some(field) => context.sign_up_page(&fields, Some((field, words)), ""),
                None => context.sign_up_page(&fields, None, words),
            })
        }
    }
}

impl PageContext<'_> {
    /// Returns the name of the field that holds the name of a sign-up.
    fn name_field_of_sign_up(&self) -> String {
        let names = &self.pool().settings.sign_in.username_attributes;
        let of = |attribute: &SignInAttribute| format!("{ATTRIBUTE_PREFIX}{}", attribute.name());
        names.first().map_or_else(|| "username".to_owned(), of)
    }

    /// Returns the field that a refusal is about.
    fn field_of(&self, error: &DirectoryError) -> Option<String> {
        match error.kind() {
            ErrorKind::UsernameExists => Some(self.name_field_of_sign_up()),
            ErrorKind::AliasExists => Some(format!("{ATTRIBUTE_PREFIX}email")),
            ErrorKind::InvalidPassword => Some("password".to_owned()),
            // Cognito's words name the attribute.
            ErrorKind::InvalidParameter => {
                let all = self.sign_up_attributes();
                let named = all.iter().find(|(name, _)| error.message().contains(name.as_str()));
                named.map(|(name, _)| format!("{ATTRIBUTE_PREFIX}{name}"))
            }
            _ => None,
        }
    }

    /// Shows the page for the code. The code then completes the sign-in.
    async fn begin_confirmation(&self, username: &str, password: Option<Secret>) -> Handled {
        let codes = self.pool().settings.first_factors.iter().filter_map(|of| of.code());
        let answer = match password {
            Some(password) => Answer::Password(password),
            None => codes.map(Answer::FirstFactor).next().unwrap_or(Answer::Nothing),
        };
        let reply = self.app.directory.sign_in.begin(self.sender(), Flow::Page, username, &answer).await;
        self.answer(reply, Step::Password { name: username }).await
    }

    fn waiting_page(&self) -> Handled {
        let t = self.t;
        let lead = t.wait_for_administrator.clone();
        FormPage { lead, links: vec![self.sign_in_link("")], ..self.new_page(&t.account_created) }.answer()
    }
}

/// Answers the page for the code of a sign-up, and the page of a link.
pub async fn confirm_user_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    match is_link(&info) {
        true => link_form(&app, &info, &body).await,
        false => Reply(confirm(&app, &info, &body).await),
    }
}

/// Confirms a sign-up within a sign-in, which it completes.
async fn confirm(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = PageContext::read_form(app, info, body).await?;
    let (session, code) = (text(&fields, "session"), Secret::new(text(&fields, "code").trim()));
    let reply = app.directory.sign_in.respond_on_page(context.sender(), session, &Answer::Code(code)).await;
    context.answer(reply, Step::Code { fields: &fields }).await
}

pub async fn resend_code_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(resend(&app, &info, &body).await)
}

/// Sends another code for a sign-up.
async fn resend(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = PageContext::read_form(app, info, body).await?;
    let (session, name) = (text(&fields, "session"), text(&fields, "username"));
    match app.directory.accounts.resend_sign_up_code(context.sender(), name).await {
        Ok(_) => {
            let by_link = app.directory.accounts.confirms_by_link(context.pool(), Some(&context.t.language));
            let notice = if by_link { &context.t.link_resent } else { &context.t.code_resent };
            context.code_page(session, name, notice, "")
        }
        Err(error) => context.directory_failed(&error, |words| context.code_page(session, name, "", words)),
    }
}
