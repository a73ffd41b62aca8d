//! `/account`: a user of a pool looks after the own account. The directory holds the rules.

mod context;
mod data;
mod factors;

pub use data::data;
pub use factors::{
    confirm_token_form, message_factor_form, new_token_form, recovery_codes_form, remove_token_form,
};

use super::hosted::{secret, text};
use super::{AppState, Handled, Reply, RequestData, Shared};
use crate::authn::{POOL_COOKIE, clear_cookie_value};
use crate::directory::{Current, ErrorKind};
use crate::model::{Attributes, SignInAttribute};
use crate::pages::{Field, Form, FormPage, Link, set_cookie};
use crate::store::Change;
use axum::extract::State;
use context::AccountContext;

pub async fn get(State(app): Shared, info: RequestData) -> Reply {
    Reply(match AccountContext::read(&app, &info).await {
        Ok(context) => context.page("", None),
        Err(failure) => Err(failure),
    })
}

pub async fn profile_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(save_profile(&app, &info, &body).await)
}

/// Saves the attributes of the profile.
async fn save_profile(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = AccountContext::read_form(app, info, body).await?;
    let user = context.principal.user();
    let changed = |name: &String| {
        let value = text(&fields, name).trim();
        let stored = user.attributes.get(name).unwrap_or_default();
        (fields.contains_key(name) && value != stored).then(|| (name.clone(), value.to_owned()))
    };
    let changes: Attributes = context.profile_attributes().iter().filter_map(changed).collect();
    let saved = app.directory.accounts.update_own_attributes(context.sender(), user, &changes).await;
    match saved {
        Ok(_) => context.updated(&context.t.saved).await,
        Err(error) => context.failed(&error, "name"),
    }
}

pub async fn email_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(change_address(&app, &info, &body, SignInAttribute::Email).await)
}

pub async fn phone_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(change_address(&app, &info, &body, SignInAttribute::PhoneNumber).await)
}

/// Begins the change of an address. The password is needed: the owner of the address can set a new
/// one.
async fn change_address(
    app: &AppState,
    info: &RequestData,
    body: &str,
    attribute: SignInAttribute,
) -> Handled {
    let (context, fields) = AccountContext::read_form(app, info, body).await?;
    let (accounts, user, name) = (&app.directory.accounts, context.principal.user(), attribute.name());
    let password = secret(&fields, "current_password");
    if let Err(error) = accounts.check_password(context.sender(), user, &password).await {
        return context.failed(&error, &format!("current_password_{name}"));
    }
    let address = text(&fields, name).trim();
    if attribute == SignInAttribute::PhoneNumber {
        // A pool need not verify numbers; this page does.
        return match accounts.begin_address_change(context.sender(), user, (attribute, address)).await {
            Ok(_) => context.code_page(attribute, ""),
            Err(error) => context.failed(&error, name),
        };
    }
    let changes = Attributes::from_iter([(name, address)]);
    match accounts.update_own_attributes(context.sender(), user, &changes).await {
        Ok((_, sent)) if sent.is_empty() => context.updated(&context.t.address_changed).await,
        Ok(_) => context.code_page(attribute, ""),
        Err(error) => context.failed(&error, name),
    }
}

pub async fn verify_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(verify(&app, &info, &body).await)
}

/// Ends the change of an address with the code that was sent to it.
async fn verify(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = AccountContext::read_form(app, info, body).await?;
    let code = crate::base::Secret::new(text(&fields, "code").trim());
    let user = context.principal.user();
    let attribute = match text(&fields, "attribute") {
        name if name == SignInAttribute::PhoneNumber.name() => SignInAttribute::PhoneNumber,
        _ => SignInAttribute::Email,
    };
    let accounts = &app.directory.accounts;
    let notice = match attribute {
        SignInAttribute::PhoneNumber => &context.t.number_changed,
        _ => &context.t.address_changed,
    };
    match accounts.verify_own_attribute(context.sender(), user, attribute, &code).await {
        Ok(_) => context.updated(notice).await,
        Err(error) => context.refused(&error, |words| context.code_page(attribute, words)),
    }
}

pub async fn password_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(change_password(&app, &info, &body).await)
}

/// Changes the password. All other sessions and tokens of the user end.
async fn change_password(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = AccountContext::read_form(app, info, body).await?;
    let passwords = (&secret(&fields, "current_password"), &secret(&fields, "password"));
    let current = Current { session: Some(&context.principal.session().id), ..Current::default() };
    let user = context.principal.user();
    match app.directory.accounts.change_password(context.sender(), user, current, passwords).await {
        Ok(()) => context.updated(&context.t.password_changed).await,
        Err(error) if error.kind() == ErrorKind::NotAuthorized => context.failed(&error, "old_password"),
        Err(error) => context.failed(&error, "password"),
    }
}

pub async fn delete_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(delete(&app, &info, &body).await)
}

/// Deletes the account, with everything that is stored of the user.
async fn delete(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = AccountContext::read_form(app, info, body).await?;
    let (accounts, user) = (&app.directory.accounts, context.principal.user());
    let password = secret(&fields, "current_password");
    let checked = accounts.check_password(context.sender(), user, &password).await;
    let deleted = match checked {
        Ok(()) => accounts.delete_own_account(context.sender(), user).await,
        Err(error) => Err(error),
    };
    if let Err(error) = deleted {
        return context.failed(&error, "delete_password");
    }
    app.sessions.apply_changes(&[Change::User(user.id.clone())]);
    let t = context.t;
    let page = FormPage { lead: t.account_deleted_effect.clone(), ..context.new_page(&t.account_deleted) };
    let mut response = page.answer()?;
    set_cookie(&mut response, &clear_cookie_value(POOL_COOKIE))?;
    Ok(response)
}

impl AccountContext<'_> {
    /// Returns the page for the code of a new address.
    fn code_page(&self, attribute: SignInAttribute, problem: &str) -> Handled {
        let t = self.t;
        let (title, lead) = match attribute {
            SignInAttribute::PhoneNumber => (&t.change_phone_number, &t.new_number_code),
            _ => (&t.change_email, &t.new_address_code),
        };
        let form = Form {
            action: self.url("/account/verify"),
            hidden: vec![("attribute", attribute.name().to_owned())],
            fields: vec![Field::code(t).problem(problem)],
            submit: t.confirm.clone(),
        };
        let back = Link { before: String::new(), label: t.your_account.clone(), href: self.url("/account") };
        let page = FormPage { lead: lead.clone(), ..self.new_page(title) };
        FormPage { form: Some(form), links: vec![back], ..page }.answer()
    }
}
