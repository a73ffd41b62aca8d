//! What every page has: its client, its texts and its addresses.

use crate::authn::rate_limit_key;
use crate::base::Secret;
use crate::catalogue::Catalogue;
use crate::config::LOCAL_PROVIDER;
use crate::directory::Sender;
use crate::handlers::authorize::{SignInRequest, page_url};
use crate::handlers::logout::own_origin;
use crate::handlers::{AppState, Form, RequestData, form, metrics};
use crate::model::{Pool, SignInAttribute};
use crate::pages::{ErrorResponse, Field, Form as PageForm, FormPage, Link, Texts};
use std::sync::Arc;

/// The context of a page.
pub(super) struct PageContext<'a> {
    pub app: &'a AppState,
    pub info: &'a RequestData,
    pub catalogue: Arc<Catalogue>,
    pub request: SignInRequest,
    pub t: &'static Texts,
}

impl<'a> PageContext<'a> {
    /// Reads the request of a page.
    ///
    /// # Errors
    /// The client is unknown, or its users have no passwords: the page does not exist.
    pub async fn read(app: &'a AppState, info: &'a RequestData) -> Result<Self, ErrorResponse> {
        let catalogue = app.catalogue.load();
        let request = match SignInRequest::read(app, &catalogue, info, false).await {
            Ok(request) => request,
            Err(refusal) => {
                return Err(refusal.into_response(info).err().unwrap_or_else(ErrorResponse::bad_request));
            }
        };
        if !request.client.has_passwords {
            return Err(ErrorResponse::not_found());
        }
        Ok(Self { app, info, t: request.texts(info), catalogue, request })
    }

    /// Reads the request and the fields of a page's form.
    ///
    /// # Errors
    /// As [`PageContext::read`]; the form is of another site, or its sender guessed too often.
    pub async fn read_form(
        app: &'a AppState,
        info: &'a RequestData,
        text: &str,
    ) -> Result<(Self, Form), ErrorResponse> {
        info.same_origin(&own_origin(app))?;
        let context = Self::read(app, info).await?;
        let fields = form(text).ok_or_else(ErrorResponse::bad_request)?;
        // One limit for guesses on pages and at the API.
        app.limits.wrong_guesses.check(info.client.map(rate_limit_key).as_ref()).map_err(|_| {
            metrics::login(LOCAL_PROVIDER, "too_many_failures");
            ErrorResponse::too_many_failures()
        })?;
        Ok((context, fields))
    }

    /// Returns the pool.
    pub fn pool(&self) -> &Pool {
        &self.request.client.of.pool
    }

    /// Returns the sender of the directory's operations.
    pub fn sender(&self) -> Sender<'_> {
        let redirect_uri = self.request.request.as_ref().map(|request| &*request.redirect_uri);
        Sender { redirect_uri, ..self.request.client.sender(self.info, Some(&self.t.language)) }
    }

    /// Returns the address of a page that continues the request.
    pub fn url(&self, path: &str) -> String {
        let language = self.request.language.as_deref().map(|language| ("lang", language));
        page_url(&self.catalogue, path, self.request.request.as_ref(), language.as_slice())
    }

    /// Returns a page with a heading alone, in the client's look.
    pub fn new_page(&self, title: &str) -> FormPage {
        FormPage { brand: self.request.client.brand(&self.catalogue), ..FormPage::new(self.t, title) }
    }

    /// Returns the link back to the sign-in page.
    pub fn sign_in_link(&self, before: &str) -> Link {
        let label = if before.is_empty() { &self.t.back_to_sign_in } else { &self.t.sign_in };
        Link { before: before.to_owned(), label: label.clone(), href: self.url("/login") }
    }

    /// Returns a form that is sent to a page.
    pub fn form(&self, path: &str, submit: &str, fields: Vec<Field>) -> PageForm {
        PageForm { action: self.url(path), hidden: Vec::new(), fields, submit: submit.to_owned() }
    }

    /// Returns the field of the name at sign-in.
    pub fn name_field(&self) -> Field {
        name_field(self.pool(), self.t)
    }

    /// Returns the field of a new password, with the pool's rules.
    pub fn new_password_field(&self, label: &str) -> Field {
        new_password_field(self.pool(), self.t, label)
    }

    /// Counts a wrong password or code of the client's address.
    pub fn record_guess(&self) {
        self.app.limits.wrong_guesses.record(self.info.client.map(rate_limit_key));
    }
}

/// Returns a field of a form; empty if it is absent.
pub(in crate::handlers) fn text<'f>(fields: &'f Form, name: &str) -> &'f str {
    fields.get(name).map_or("", String::as_str)
}

/// Returns a secret of a form.
pub(in crate::handlers) fn secret(fields: &Form, name: &str) -> Secret {
    Secret::new(text(fields, name))
}

/// Returns the field of the name at sign-in, as the pool has it.
pub(super) fn name_field(pool: &Pool, t: &'static Texts) -> Field {
    let sign_in = &pool.settings.sign_in;
    let (names, aliases) = (&sign_in.username_attributes, &sign_in.alias_attributes);
    let by_email = names.contains(&SignInAttribute::Email);
    let by_phone = names.contains(&SignInAttribute::PhoneNumber);
    let label = match (by_email, by_phone) {
        (true, true) => &t.email_or_phone,
        (true, false) => &t.email,
        (false, true) => &t.phone_number,
        (false, false) if aliases.contains(&SignInAttribute::Email) => &t.username_or_email,
        (false, false) => &t.username,
    };
    Field { max_length: 128, ..Field::new("username", label, "username") }
}

/// Returns the field of a new password, with the pool's rules.
pub(in crate::handlers) fn new_password_field(pool: &Pool, t: &'static Texts, label: &str) -> Field {
    let policy = &pool.settings.password_policy;
    let rules = [
        (policy.require_uppercase, &t.with_uppercase),
        (policy.require_lowercase, &t.with_lowercase),
        (policy.require_numbers, &t.with_number),
        (policy.require_symbols, &t.with_symbol),
    ];
    let length = t.at_least.replace("{}", &policy.minimum_length.to_string());
    let demanded = rules.into_iter().filter(|(is_demanded, _)| *is_demanded).map(|(_, words)| words.as_str());
    let hint = std::iter::once(length.as_str()).chain(demanded).collect::<Vec<_>>().join(", ");
    Field { hint, ..Field::password("password", label, "new-password") }
}
