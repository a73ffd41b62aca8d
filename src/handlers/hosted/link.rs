//! `/confirmUser?client_id=…&user_name=…&confirmation_code=…`: the link in a message. It works in
//! every browser, and without an authorization request.

use super::context::text;
use super::words;
use crate::authn::rate_limit_key;
use crate::base::Secret;
use crate::catalogue::Catalogue;
use crate::config::LOCAL_PROVIDER;
use crate::directory::{ConfirmationLink, DirectoryError, ErrorKind, LinkState, Sender, Takeover};
use crate::handlers::authorize::{SignInClient, client_by_id};
use crate::handlers::logout::own_origin;
use crate::handlers::{AppState, Form, Handled, Reply, RequestData, Shared, form, metrics};
use crate::pages::{ErrorResponse, Form as PageForm, FormPage, Link, Texts};
use axum::extract::State;
use std::sync::Arc;

/// The parameter with which a form of the page asks for another link.
const RESEND: &str = "resend";

/// The context of a link's page.
struct LinkContext<'a> {
    app: &'a AppState,
    info: &'a RequestData,
    t: &'static Texts,
    catalogue: Arc<Catalogue>,
    client: SignInClient,
    parameters: Form,
    code: Secret,
}

/// Returns whether a request has the parameters of a link.
pub(super) fn is_link(info: &RequestData) -> bool {
    info.parameters().is_some_and(|parameters| parameters.contains_key("confirmation_code"))
}

/// Shows a button. Mail servers open links to check them, which must confirm nothing.
pub async fn confirm_user(State(app): Shared, info: RequestData) -> Reply {
    Reply(link_page(&app, &info).await)
}

async fn link_page(app: &AppState, info: &RequestData) -> Handled {
    let context = LinkContext::read(app, info).await?;
    match context.state().await? {
        LinkState::Confirmed => context.confirmed_page(&context.t.already_confirmed),
        LinkState::Pending | LinkState::Unproven => context.button_page(),
    }
}

/// Answers the forms of the page.
pub(super) async fn link_form(app: &AppState, info: &RequestData, body: &str) -> Reply {
    Reply(confirm_or_resend(app, info, body).await)
}

async fn confirm_or_resend(app: &AppState, info: &RequestData, body: &str) -> Handled {
    info.same_origin(&own_origin(app))?;
    let context = LinkContext::read(app, info).await?;
    let fields = form(body).ok_or_else(ErrorResponse::bad_request)?;
    app.limits.wrong_guesses.check(info.client.map(rate_limit_key).as_ref()).map_err(|_| {
        metrics::login(LOCAL_PROVIDER, "too_many_failures");
        ErrorResponse::too_many_failures()
    })?;
    match (context.state().await?, fields.contains_key(RESEND)) {
        (LinkState::Confirmed, _) => context.confirmed_page(&context.t.already_confirmed),
        (LinkState::Pending, true) => context.resend().await,
        (LinkState::Unproven, true) => Err(ErrorResponse::bad_request()),
        (state, false) => context.confirm(state).await,
    }
}

impl<'a> LinkContext<'a> {
    /// Reads the parameters of a link.
    ///
    /// # Errors
    /// A parameter is missing, the client is unknown, or the redirect URI is none of the client's.
    async fn read(app: &'a AppState, info: &'a RequestData) -> Result<Self, ErrorResponse> {
        let catalogue = app.catalogue.load();
        let parameters = info.parameters().ok_or_else(ErrorResponse::bad_request)?;
        let client_id = parameters.get("client_id").unwrap_or(&catalogue.gateway_client);
        let client = client_by_id(app, &catalogue, client_id).await.map_err(|error| failed(info, &error))?;
        let client = client.ok_or_else(ErrorResponse::bad_request)?;
        if client.is_gateway && !client.has_passwords {
            return Err(ErrorResponse::not_found());
        }
        let code = Secret::new(text(&parameters, "confirmation_code"));
        let redirect_uri = parameters.get("redirect_uri");
        let is_foreign = redirect_uri.is_some_and(|uri| !client.has_redirect_uri(&catalogue, uri));
        if text(&parameters, "user_name").is_empty() || code.expose().is_empty() || is_foreign {
            return Err(ErrorResponse::bad_request());
        }
        Ok(Self { app, info, t: info.texts(), catalogue, client, parameters, code })
    }

    /// Returns a page with a heading alone, in the client's look.
    fn new_page(&self, title: &str) -> FormPage {
        FormPage { brand: self.client.brand(&self.catalogue), ..FormPage::new(self.t, title) }
    }

    fn name(&self) -> &str {
        text(&self.parameters, "user_name")
    }

    fn redirect_uri(&self) -> Option<&str> {
        self.parameters.get("redirect_uri").map(String::as_str)
    }

    fn sender(&self) -> Sender<'_> {
        let redirect_uri = self.redirect_uri();
        Sender { redirect_uri, ..self.client.sender(self.info, Some(&self.t.language)) }
    }

    async fn state(&self) -> Result<LinkState, ErrorResponse> {
        let link =
            ConfirmationLink { name: self.name(), code: &self.code, proof: text(&self.parameters, "proof") };
        let state = self.app.directory.accounts.link_state(self.sender(), link).await;
        state.map_err(|error| failed(self.info, &error))
    }

    /// Confirms the sign-up. `state` is that of the link before.
    async fn confirm(&self, state: LinkState) -> Handled {
        let accounts = &self.app.directory.accounts;
        let confirmed =
            accounts.confirm_sign_up(self.sender(), self.name(), &self.code, Takeover::Refuse).await;
        let Err(error) = confirmed else { return self.confirmed_page(&self.t.can_sign_in) };
        if error.kind() == ErrorKind::CodeMismatch {
            self.app.limits.wrong_guesses.record(self.info.client.map(rate_limit_key));
        }
        let is_void = matches!(
            error.kind(),
            ErrorKind::CodeExpired | ErrorKind::CodeMismatch | ErrorKind::NotAuthorized
        );
        match (is_void, state) {
            // A double click: the other request has confirmed it in the meantime.
            (true, _) if self.state().await? == LinkState::Confirmed => {
                self.confirmed_page(&self.t.already_confirmed)
            }
            (true, LinkState::Pending) => self.resend_page("", &self.t.link_expired),
            (true, _) => self.resend_page("", &self.t.link_used),
            (false, _) => self.refused(&error),
        }
    }

    async fn resend(&self) -> Handled {
        match self.app.directory.accounts.resend_sign_up_code(self.sender(), self.name()).await {
            Ok(_) => self.resend_page(&self.t.link_resent, ""),
            Err(error) => self.refused(&error),
        }
    }

    fn refused(&self, error: &DirectoryError) -> Handled {
        match words::of_error(self.t, error) {
            Some(words) => self.resend_page("", words),
            None => Err(failed(self.info, error)),
        }
    }

    /// Returns the form that is sent to the link's own address.
    fn form(&self, submit: &str) -> PageForm {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.parameters);
        let action = self.catalogue.config.public_url.join(&format!("/confirmUser?{}", query.finish()));
        PageForm { action, submit: submit.to_owned(), ..PageForm::default() }
    }

    fn button_page(&self) -> Handled {
        let t = self.t;
        let lead = t.confirm_account_of.replace("{}", self.name());
        FormPage { lead, form: Some(self.form(&t.confirm)), ..self.new_page(&t.confirm_title) }.answer()
    }

    /// Returns the page that offers another link, if this one is Narthex's.
    fn resend_page(&self, notice: &str, problem: &str) -> Handled {
        let t = self.t;
        let can_resend = self.parameters.contains_key("proof") && problem != t.link_used;
        let mut again = self.form(&t.resend_link);
        again.hidden = vec![(RESEND, "1".to_owned())];
        FormPage {
            notice: notice.to_owned(),
            problem: problem.to_owned(),
            other_forms: can_resend.then_some(again).into_iter().collect(),
            links: self.onward().into_iter().collect(),
            ..self.new_page(&t.confirm_title)
        }
        .answer()
    }

    fn confirmed_page(&self, lead: &str) -> Handled {
        let t = self.t;
        FormPage { lead: lead.to_owned(), onward: self.onward(), ..self.new_page(&t.account_confirmed) }
            .answer()
    }

    /// Returns the link to the app in which the sign-up began.
    fn onward(&self) -> Option<Link> {
        let href = self.client.start_page(&self.catalogue, self.redirect_uri())?;
        Some(Link { before: String::new(), label: self.t.go_on.clone(), href })
    }
}

fn failed(info: &RequestData, error: &DirectoryError) -> ErrorResponse {
    tracing::error!(request_id = info.request_id, %error, "a confirmation by link failed");
    ErrorResponse::unavailable()
}
