//! What the page about the own account shows, and the session that it needs.

use super::factors::ShownFactors;
use crate::authn::{SessionPrincipal, rate_limit_key};
use crate::catalogue::Catalogue;
use crate::config::LOCAL_PROVIDER;
use crate::directory::{DirectoryError, ErrorKind, Sender};
use crate::handlers::authorize::{SignInClient, own_client};
use crate::handlers::hosted::{attribute_field, new_password_field, words_of_error};
use crate::handlers::logout::own_origin;
use crate::handlers::{AppState, Form, Handled, RequestData, form, session_principal};
use crate::model::{Pool, Schema};
use crate::pages::{AccountPage, ErrorResponse, Field, Form as PageForm, FormPage, Link, Section, Texts};
use crate::store::Change;
use std::sync::Arc;

/// Attributes that are no part of the profile: addresses and names have forms of their own.
const NOT_OF_PROFILE: [&str; 7] = [
    "sub",
    "email",
    "email_verified",
    "phone_number",
    "phone_number_verified",
    "preferred_username",
    "updated_at",
];

/// Where a problem is shown, and its words.
pub(super) type Problem<'a> = Option<(&'a str, &'a str)>;

/// The context of a request about the own account.
pub(super) struct AccountContext<'a> {
    pub app: &'a AppState,
    pub info: &'a RequestData,
    pub t: &'static Texts,
    pub principal: SessionPrincipal,
    catalogue: Arc<Catalogue>,
    client: SignInClient,
    pub(super) factors: ShownFactors,
}

impl<'a> AccountContext<'a> {
    /// Returns the context of a user who signed in with a password.
    ///
    /// # Errors
    /// Nobody is signed in, or a user of a provider, who has no account here.
    pub async fn read(app: &'a AppState, info: &'a RequestData) -> Result<Self, ErrorResponse> {
        let principal = session_principal(app, info).await?.ok_or_else(ErrorResponse::sign_in_required)?;
        if principal.session().provider != LOCAL_PROVIDER {
            return Err(ErrorResponse::not_found());
        }
        let catalogue = app.catalogue.load();
        let client = own_client(app, &catalogue, &principal.session().pool_id).await.map_err(|error| {
            tracing::error!(request_id = info.request_id, %error, "cannot read a user pool");
            ErrorResponse::unavailable()
        })?;
        let mode = client.of.pool.settings.mfa.mode;
        let factors = ShownFactors::read(app, mode, principal.user()).await.map_err(|error| {
            tracing::error!(request_id = info.request_id, %error, "cannot read second factors");
            ErrorResponse::unavailable()
        })?;
        Ok(Self { app, info, t: info.texts(), principal, catalogue, client, factors })
    }

    /// As [`AccountContext::read`], with the fields of a form.
    ///
    /// # Errors
    /// As there; the form is of another site, or its sender guessed too often.
    pub async fn read_form(
        app: &'a AppState,
        info: &'a RequestData,
        body: &str,
    ) -> Result<(Self, Form), ErrorResponse> {
        info.same_origin(&own_origin(app))?;
        let context = Self::read(app, info).await?;
        let fields = form(body).ok_or_else(ErrorResponse::bad_request)?;
        let limit = app.limits.wrong_guesses.check(info.client.map(rate_limit_key).as_ref());
        limit.map_err(|_| ErrorResponse::too_many_failures())?;
        Ok((context, fields))
    }

    /// Returns the pool.
    pub fn pool(&self) -> &Pool {
        &self.client.of.pool
    }

    /// Counts a wrong password or code of the client's address.
    pub fn record_guess(&self) {
        self.app.limits.wrong_guesses.record(self.info.client.map(rate_limit_key));
    }

    /// Returns the sender of the directory's operations.
    pub fn sender(&self) -> Sender<'_> {
        self.client.sender(self.info, Some(&self.t.language))
    }

    /// Returns the address of a page of the sign-in host.
    pub fn url(&self, path: &str) -> String {
        self.catalogue.config.public_url.join(path)
    }

    /// Returns the attributes that the user edits: standard ones that are mutable, and that the
    /// user has or the pool declares. An attribute of the pool's own may decide about access.
    pub fn profile_attributes(&self) -> Vec<String> {
        let (schema, user) = (&self.client.of.pool.settings.schema, self.principal.user());
        let is_declared = |name: &str| schema.declared().iter().any(|of| of.name == name);
        let is_shown = |name: &str| {
            matches!(name, "name" | "given_name" | "family_name" | "locale" | "zoneinfo")
                || user.attributes.contains(name)
                || is_declared(name)
        };
        let all = schema.iter().filter(|of| of.mutable && Schema::standard(&of.name).is_some());
        let names = all.map(|of| of.name.to_string());
        names.filter(|name| !NOT_OF_PROFILE.contains(&name.as_str()) && is_shown(name)).collect()
    }

    /// Returns the page after a change, with the user as stored now.
    pub async fn updated(&self, notice: &str) -> Handled {
        self.app.sessions.apply_changes(&[Change::User(self.principal.user().id.clone())]);
        let (app, info) = (self.app, self.info);
        AccountContext::read(app, info).await?.page(notice, None)
    }

    /// Returns the page with the words for a refusal at a field.
    pub fn failed(&self, error: &DirectoryError, field: &str) -> Handled {
        self.refused(error, |words| self.page("", Some((field, words))))
    }

    /// Answers a refused operation with the page that `show` makes of its words.
    pub fn refused(&self, error: &DirectoryError, show: impl FnOnce(&str) -> Handled) -> Handled {
        if matches!(error.kind(), ErrorKind::CodeMismatch | ErrorKind::NotAuthorized) {
            self.record_guess();
        }
        match words_of_error(self.t, error) {
            Some(words) => show(words),
            None => {
                tracing::error!(request_id = self.info.request_id, %error, "a change of an account failed");
                Err(ErrorResponse::unavailable())
            }
        }
    }

    /// Returns a page with a heading alone, in the pool's look.
    pub fn new_page(&self, title: &str) -> FormPage {
        FormPage { brand: self.client.brand(&self.catalogue), ..FormPage::new(self.t, title) }
    }

    /// Returns the page.
    pub fn page(&self, notice: &str, problem: Problem<'_>) -> Handled {
        let t = self.t;
        let links = [
            (&t.your_apps, "/"),
            (&t.your_sessions, "/sessions"),
            (&t.download_data, "/account/data"),
            (&t.sign_out, "/logout"),
        ];
        let link = |(label, path): (&String, &str)| Link {
            before: String::new(),
            label: label.clone(),
            href: self.url(path),
        };
        AccountPage {
            t,
            brand: self.client.brand(&self.catalogue),
            name: self.principal.user().display_name().to_owned(),
            notice: notice.to_owned(),
            sections: self.sections(problem),
            links: links.into_iter().map(link).collect(),
        }
        .answer()
    }

    fn sections(&self, problem: Problem<'_>) -> Vec<Section> {
        let (t, user) = (self.t, self.principal.user());
        let new = new_password_field(&self.client.of.pool, t, &t.new_password);
        let new = shown(new, "password", problem);
        let email = (&*t.your_email, &t.new_email, &*t.change_email);
        let phone = (&*t.your_phone_number, &t.new_phone_number, &*t.change_phone_number);
        let sends_sms = self.catalogue.config.sms.is_some();
        let [first @ .., delete] = [
            Some(self.section((&t.profile, ""), ("/account", &t.save), self.profile_fields(problem))),
            Some(self.address_section("email", "/account/email", email, problem)),
            sends_sms.then(|| self.address_section("phone_number", "/account/phone", phone, problem)),
            Some(self.section(
                (&t.your_password, ""),
                ("/account/password", &t.change_password),
                vec![self.current_password_field("old_password", problem), new],
            )),
            Some(Section {
                title: t.linked_accounts.clone(),
                lead: String::new(),
                items: self.linked_accounts(),
                form: None,
            })
            .filter(|_| !user.identities.is_empty()),
            Some(self.section(
                (&t.delete_account, &t.delete_effect),
                ("/account/delete", &t.delete_account),
                vec![self.current_password_field("delete_password", problem)],
            )),
        ];
        let sections = first.into_iter().flatten().chain(self.factor_sections(problem));
        sections.chain(delete).collect()
    }

    /// Returns the form of a new address, which needs the password.
    fn address_section(
        &self,
        name: &str,
        path: &str,
        (title, label, submit): (&str, &String, &str),
        problem: Problem<'_>,
    ) -> Section {
        let current = self.principal.user().attributes.get(name).unwrap_or_default();
        let field = Field { name: name.to_owned(), ..attribute_field(self.t, name, "") };
        let field = shown(Field { label: label.clone(), ..field }, name, problem);
        let key = format!("current_password_{name}");
        let password = self.current_password_field(&key, problem);
        self.section((title, current), (path, submit), vec![field, password])
    }

    pub(super) fn current_password_field(&self, key: &str, problem: Problem<'_>) -> Field {
        let field = Field::password("current_password", &self.t.current_password, "current-password");
        Field { id: key.to_owned(), ..shown(field, key, problem) }
    }

    /// Returns the names of the providers whose accounts are linked to the user.
    fn linked_accounts(&self) -> Vec<String> {
        let providers = &self.catalogue.config.providers;
        let name = |provider: &String| {
            let known = providers.iter().find(|of| of.name == *provider);
            known.map_or_else(|| provider.clone(), |of| of.display_name.clone())
        };
        self.principal.user().identities.iter().map(|of| name(&of.provider)).collect()
    }

    fn profile_fields(&self, problem: Problem<'_>) -> Vec<Field> {
        let user = self.principal.user();
        let field = |name: &String| {
            let field = attribute_field(self.t, name, user.attributes.get(name).unwrap_or_default());
            shown(Field { is_required: false, name: name.clone(), ..field }, name, problem)
        };
        self.profile_attributes().iter().map(field).collect()
    }

    pub(super) fn section(
        &self,
        (title, lead): (&str, &str),
        (path, submit): (&str, &str),
        fields: Vec<Field>,
    ) -> Section {
        Section {
            title: title.to_owned(),
            lead: lead.to_owned(),
            items: Vec::new(),
            form: Some(PageForm {
                action: self.url(path),
                hidden: Vec::new(),
                fields,
                submit: submit.to_owned(),
            }),
        }
    }
}

/// Returns the field with the problem, if it is the one of this key.
fn shown(field: Field, key: &str, problem: Problem<'_>) -> Field {
    match problem.filter(|(at, _)| *at == key) {
        Some((_, words)) => field.problem(words),
        None => field,
    }
}
