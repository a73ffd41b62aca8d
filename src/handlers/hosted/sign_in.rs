//! `/login`: the sign-in page and its form; `/newPassword`: a password in place of a temporary one.

use super::context::{PageContext, name_field, secret, text};
use super::first_code::{chosen, methods};
use super::reply::{ATTRIBUTE_PREFIX, Step};
use crate::authn::{PROVIDER_COOKIE, cookie_value};
use crate::catalogue::Catalogue;
use crate::directory::sign_in::{Answer, Flow};
use crate::handlers::authorize::{SignInRequest, page_url, request_parameters, to_provider};
use crate::handlers::{AppState, Handled, Reply, RequestData, Shared};
use crate::model::{FirstFactor, Pool};
use crate::pages::{EmailLookup, Field, Form, ProviderChoice, SignInPage, logo};
use axum::extract::State;
use http::Method;
use std::collections::BTreeMap;

/// What the sign-in page shows beside its choices.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignInForm<'a> {
    /// The name that was typed.
    pub name: &'a str,
    /// Whether no provider has the typed address.
    pub unknown_address: bool,
    /// What was done before.
    pub notice: &'a str,
    /// What is wrong.
    pub problem: &'a str,
    /// What is wrong with the name.
    pub name_problem: &'a str,
    /// What is wrong with the password.
    pub password_problem: &'a str,
}

/// Returns the sign-in page; the last used provider comes first.
pub fn sign_in_page(
    catalogue: &Catalogue,
    info: &RequestData,
    request: &SignInRequest,
    shown: SignInForm<'_>,
) -> Handled {
    let (client, t) = (&request.client, request.texts(info));
    let of = request.request.as_ref();
    let language = request.language.as_deref().map(|language| ("lang", language));
    let url = |path: &str| page_url(catalogue, path, of, language.as_slice());
    let has_sign_up = client.has_passwords && !client.of.pool.settings.only_administrators_create;
    SignInPage {
        t,
        brand: client.brand(catalogue),
        destination: destination(catalogue, request),
        notice: shown.notice.to_owned(),
        problem: shown.problem.to_owned(),
        password: client.has_passwords.then(|| password_form(catalogue, info, request, shown, url("/login"))),
        methods: if client.has_passwords { methods(&client.of.pool.settings, t) } else { Vec::new() },
        forgot: signs_in_by_password(&client.of.pool).then(|| url("/forgotPassword")),
        sign_up: has_sign_up.then(|| url("/signup")),
        choices: choices(catalogue, info, request),
        email_lookup: email_lookup(catalogue, request, shown),
    }
    .answer()
}

/// Returns the form of name and password. An address of a provider's domain needs no password.
fn password_form(
    catalogue: &Catalogue,
    info: &RequestData,
    request: &SignInRequest,
    shown: SignInForm<'_>,
    action: String,
) -> Form {
    let t = request.texts(info);
    let has_domains = request.client.offered(catalogue).any(|provider| !provider.domains.is_empty());
    let pool = &request.client.of.pool;
    let name = name_field(pool, t).value(shown.name).problem(shown.name_problem);
    if !signs_in_by_password(pool) {
        // The buttons of the codes are the only ones.
        return Form { action, fields: vec![name], ..Form::default() };
    }
    let password =
        Field::password("password", &t.password, "current-password").problem(shown.password_problem);
    let password = Field { is_required: !has_domains, ..password };
    Form { action, hidden: Vec::new(), fields: vec![name, password], submit: t.sign_in.clone() }
}

fn signs_in_by_password(pool: &Pool) -> bool {
    pool.settings.first_factors.contains(&FirstFactor::Password)
}

/// Returns what the user goes on to: the app's host, or the name of the app client.
fn destination(catalogue: &Catalogue, request: &SignInRequest) -> String {
    let Some(of) = &request.request else { return String::new() };
    match request.client.is_gateway {
        true => {
            catalogue.host_of_callback(&of.redirect_uri).map_or_else(String::new, |host| host.to_string())
        }
        false => request.client.of.client.settings.name.clone(),
    }
}

fn choices(catalogue: &Catalogue, info: &RequestData, request: &SignInRequest) -> Vec<ProviderChoice> {
    let last = cookie_value(info.cookies(), PROVIDER_COOKIE);
    let of = request.request.as_ref();
    let path = if of.is_some() { "/oauth2/authorize" } else { "/login" };
    let choice = |provider: &crate::config::Provider| ProviderChoice {
        name: provider.display_name.clone(),
        logo: provider.preset.and_then(|preset| logo(preset.name)),
        href: page_url(catalogue, path, of, &[("identity_provider", &provider.name)]),
        last_used: last == Some(&provider.name),
    };
    let mut choices: Vec<_> = request.client.offered(catalogue).map(choice).collect();
    choices.sort_by_key(|choice| !choice.last_used);
    choices
}

/// Returns the form for an e-mail address, if providers have domains. Where users have passwords,
/// the field of the name does the same.
fn email_lookup(
    catalogue: &Catalogue,
    request: &SignInRequest,
    shown: SignInForm<'_>,
) -> Option<EmailLookup> {
    let client = &request.client;
    let finds = !client.has_passwords && client.offered(catalogue).any(|of| !of.domains.is_empty());
    let parameters = request.request.as_ref().map(request_parameters).unwrap_or_default();
    finds.then(|| EmailLookup {
        action: catalogue.config.public_url.join("/login"),
        fields: parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        unknown: shown.unknown_address,
        typed: shown.name.to_owned(),
    })
}

/// Answers the form of the sign-in page.
pub async fn login_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(sign_in(&app, &info, &body).await)
}

async fn sign_in(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = PageContext::read_form(app, info, body).await?;
    let name = text(&fields, "username").trim();
    if let Some(answer) = chosen(&fields)? {
        if name.is_empty() {
            let shown = SignInForm { name_problem: &context.t.required, ..SignInForm::default() };
            return sign_in_page(&context.catalogue, info, &context.request, shown);
        }
        let reply = app.directory.sign_in.begin(context.sender(), Flow::Page, name, &answer).await;
        return context.answer(reply, Step::Password { name }).await;
    }
    if text(&fields, "password").is_empty() {
        // An address of a provider's domain needs no password here.
        if let Some(provider) = context.request.client.provider_of(&context.catalogue, name) {
            let PageContext { catalogue, mut request, .. } = context;
            request.login_hint = Some(name.to_owned());
            return to_provider(app, &catalogue, info, &provider, request, &Method::POST).await;
        }
        let shown = SignInForm { name, password_problem: &context.t.required, ..SignInForm::default() };
        return sign_in_page(&context.catalogue, info, &context.request, shown);
    }
    let answer = Answer::Password(secret(&fields, "password"));
    let reply = app.directory.sign_in.begin(context.sender(), Flow::Page, name, &answer).await;
    context.answer(reply, Step::Password { name }).await
}

/// Answers the form with which a user replaces a temporary password.
pub async fn new_password_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(set_new_password(&app, &info, &body).await)
}

async fn set_new_password(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = PageContext::read_form(app, info, body).await?;
    let attribute = |(name, value): (&String, &String)| {
        Some((name.strip_prefix(ATTRIBUTE_PREFIX)?.to_owned(), value.trim().to_owned()))
    };
    let attributes: BTreeMap<String, String> = fields.iter().filter_map(attribute).collect();
    let answer = Answer::NewPassword { password: secret(&fields, "password"), attributes };
    let reply =
        app.directory.sign_in.respond_on_page(context.sender(), text(&fields, "session"), &answer).await;
    context.answer(reply, Step::NewPassword { fields: &fields }).await
}
