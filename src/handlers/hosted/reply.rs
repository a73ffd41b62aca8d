//! The page that follows a step of a sign-in.

use super::context::{PageContext, text};
use super::factor::FactorForm;
use super::first_code::CodeForm;
use super::sign_in::{SignInForm, sign_in_page};
use super::words;
use crate::authn::{POOL_COOKIE, PROVIDER_COOKIE, set_cookie_value};
use crate::base::RandomToken;
use crate::config::LOCAL_PROVIDER;
use crate::directory::sign_in::{AuthenticatedUser, Challenge, ChallengeReply, Refusal, Reply, SignInError};
use crate::directory::{DirectoryError, PasswordSignIn, StepUpSession};
use crate::handlers::authorize::grant;
use crate::handlers::{Form, Handled, audit_replaced_session, metrics, session_principal};
use crate::model::{CookieScope, Session, User};
use crate::pages::{ErrorResponse, Field, FormPage, HttpResponse, Texts, browser_action, set_cookie};
use crate::provider::BrowserAction;
use crate::store::Change;
use http::Method;
use url::Url;

/// The prefix of the fields of attributes.
pub(super) const ATTRIBUTE_PREFIX: &str = "attribute.";

/// The step that was answered, with what the user typed.
#[derive(Clone, Copy)]
pub(super) enum Step<'f> {
    /// Name and password.
    Password { name: &'f str },
    /// A new password.
    NewPassword { fields: &'f Form },
    /// The code of a sign-up.
    Code { fields: &'f Form },
    /// The code that replaces a password.
    FirstCode { fields: &'f Form },
    /// The code of a second factor.
    Factor { fields: &'f Form },
}

impl Step<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Password { name } => name,
            Self::NewPassword { fields }
            | Self::Code { fields }
            | Self::FirstCode { fields }
            | Self::Factor { fields } => text(fields, "username"),
        }
    }

    fn session(&self) -> &str {
        match self {
            Self::Password { .. } => "",
            Self::NewPassword { fields }
            | Self::Code { fields }
            | Self::FirstCode { fields }
            | Self::Factor { fields } => text(fields, "session"),
        }
    }
}

impl PageContext<'_> {
    /// Answers a step of a sign-in: the next page, or the way to the app.
    pub async fn answer(&self, reply: Result<Reply, SignInError>, step: Step<'_>) -> Handled {
        let name = step.name();
        match reply {
            Ok(Reply::SignedIn(signed_in)) => self.finish(&signed_in).await,
            Ok(Reply::Challenge(challenge)) => self.challenge_page(*challenge, name).await,
            // The password was another one, and is void.
            Ok(Reply::Confirmed) => self.forgot_page(name, &self.t.reset_required),
            Ok(Reply::Refused(refusal)) | Err(SignInError::Refused(refusal)) => self.refused(&refusal, step),
            Err(error) => self.failed(&error, name),
        }
    }

    /// Returns the sign-in page with a notice or a problem.
    pub fn sign_in_page(&self, name: &str, notice: &str, problem: &str) -> Handled {
        let shown = SignInForm { name, notice, problem, ..SignInForm::default() };
        sign_in_page(&self.catalogue, self.info, &self.request, shown)
    }

    async fn challenge_page(&self, reply: ChallengeReply, name: &str) -> Handled {
        match reply.challenge {
            Challenge::NewPasswordRequired { .. } => {
                let missing = reply.new_password.map(|of| of.missing).unwrap_or_default();
                let fields = missing.iter().map(|attribute| self.attribute_field(attribute, "")).collect();
                self.new_password_page(&reply.session, name, fields, "")
            }
            Challenge::ConfirmSignUp { .. } => self.code_page(&reply.session, name, "", ""),
            Challenge::FirstFactor(factor) => {
                let form = CodeForm::of_reply(&reply, factor, name).ok_or_else(ErrorResponse::internal)?;
                self.first_code_page(&form, "")
            }
            Challenge::Factor(factor) => self.factor_page(&FactorForm::of_reply(&reply, factor, name), ""),
            Challenge::SetUpFactor { .. } => self.set_up_page(&reply.session, name).await,
            // Not on pages.
            Challenge::SelectChallenge
            | Challenge::SignUpConfirmed { .. }
            | Challenge::PasswordVerifier { .. }
            | Challenge::Custom { .. }
            | Challenge::Device { .. }
            | Challenge::DeviceVerifier { .. }
            | Challenge::SelectFactor => Err(ErrorResponse::internal()),
        }
    }

    /// Returns the field of an attribute.
    pub fn attribute_field(&self, name: &str, value: &str) -> Field {
        attribute_field(self.t, name, value)
    }

    /// Returns the page for a password in place of a temporary one.
    fn new_password_page(&self, session: &str, name: &str, attributes: Vec<Field>, problem: &str) -> Handled {
        let t = self.t;
        let mut fields = vec![self.new_password_field(&t.new_password).problem(problem)];
        fields.extend(attributes);
        let mut form = self.form("/newPassword", &t.set_password, fields);
        form.hidden = vec![("session", session.to_owned()), ("username", name.to_owned())];
        let page = FormPage { lead: t.new_password_lead.clone(), ..self.new_page(&t.new_password_title) };
        FormPage { form: Some(form), links: vec![self.sign_in_link("")], ..page }.answer()
    }

    /// Returns the page for the code of a sign-up.
    pub fn code_page(&self, session: &str, name: &str, notice: &str, problem: &str) -> Handled {
        let t = self.t;
        let hidden = vec![("session", session.to_owned()), ("username", name.to_owned())];
        let by_link = self.app.directory.accounts.confirms_by_link(self.pool(), Some(&t.language));
        let mut form = self.form("/confirmUser", &t.confirm, vec![Field::code(t).problem(problem)]);
        form.hidden.clone_from(&hidden);
        let (lead, resend) = match by_link {
            true => (&t.link_sent, &t.resend_link),
            false => (&t.code_sent, &t.resend_code),
        };
        let mut again = self.form("/resendCode", resend, Vec::new());
        again.hidden = hidden;
        let page = FormPage { lead: lead.clone(), ..self.new_page(&t.confirm_title) };
        FormPage {
            notice: notice.to_owned(),
            problem: if by_link { problem.to_owned() } else { String::new() },
            form: (!by_link).then_some(form),
            other_forms: vec![again],
            links: vec![self.sign_in_link("")],
            ..page
        }
        .answer()
    }

    /// Returns the page of a refused step, with what was typed.
    fn refused(&self, refusal: &Refusal, step: Step<'_>) -> Handled {
        self.audit_refusal(refusal);
        let words = words::of_refusal(self.t, refusal);
        match (step, refusal) {
            (_, Refusal::PasswordResetRequired) => self.forgot_page(step.name(), words),
            (
                Step::NewPassword { fields },
                Refusal::InvalidPassword(_) | Refusal::ReusedPassword | Refusal::AttributeMissing(_),
            ) => {
                let attribute = |(name, value): (&String, &String)| {
                    Some(self.attribute_field(name.strip_prefix(ATTRIBUTE_PREFIX)?, value))
                };
                let attributes = fields.iter().filter_map(attribute).collect();
                self.new_password_page(step.session(), step.name(), attributes, words)
            }
            (Step::Code { .. }, Refusal::CodeMismatch | Refusal::CodeExpired) => {
                self.code_page(step.session(), step.name(), "", words)
            }
            (
                Step::FirstCode { fields },
                Refusal::CodeMismatch | Refusal::CodeExpired | Refusal::AttemptsExceeded,
            ) => match CodeForm::of_fields(fields) {
                Some(form) => self.first_code_page(&form, words),
                None => self.sign_in_page(step.name(), "", words),
            },
            (
                Step::Factor { fields },
                Refusal::CodeMismatch
                | Refusal::CodeExpired
                | Refusal::TokenCodeUsed
                | Refusal::AttemptsExceeded,
            ) => match FactorForm::of_fields(fields) {
                Some(form) if form.is_of_token() && *refusal == Refusal::CodeMismatch => {
                    self.factor_page(&form, &self.t.wrong_token_code)
                }
                Some(form) => self.factor_page(&form, words),
                None => self.sign_in_page(step.name(), "", words),
            },
            _ => self.sign_in_page(step.name(), "", words),
        }
    }

    /// Returns the page of a step that failed.
    pub fn failed(&self, error: &SignInError, name: &str) -> Handled {
        match error {
            SignInError::Refused(refusal) => {
                self.audit_refusal(refusal);
                self.sign_in_page(name, "", words::of_refusal(self.t, refusal))
            }
            SignInError::Busy { .. } => self.sign_in_page(name, "", &self.t.busy),
            SignInError::Directory(error) => {
                self.directory_failed(error, |words| self.sign_in_page(name, "", words))
            }
            error => {
                tracing::error!(request_id = self.info.request_id, %error, "a sign-in failed");
                Err(ErrorResponse::unavailable())
            }
        }
    }

    /// Answers a refused operation of the directory with the page that `show` makes of its words;
    /// any other failure is an error page.
    pub fn directory_failed(&self, error: &DirectoryError, show: impl FnOnce(&str) -> Handled) -> Handled {
        if matches!(error.kind(), crate::directory::ErrorKind::CodeMismatch) {
            self.record_guess();
        }
        match words::of_error(self.t, error) {
            Some(words) => show(words),
            None => {
                tracing::error!(request_id = self.info.request_id, %error, "a page's operation failed");
                Err(ErrorResponse::unavailable())
            }
        }
    }

    fn audit_refusal(&self, refusal: &Refusal) {
        let reason = words::reason(refusal);
        if matches!(reason, "wrong_password" | "wrong_code") {
            self.record_guess();
        }
        metrics::login(LOCAL_PROVIDER, reason);
        tracing::warn!(
            target: "audit",
            event = "login_failed",
            request_id = self.info.request_id,
            client = self.info.client(),
            provider = LOCAL_PROVIDER,
            reason,
            detail = %refusal,
        );
    }

    /// Creates the session of a user who has signed in, and leads to the app.
    async fn finish(&self, signed_in: &AuthenticatedUser) -> Handled {
        let (app, info) = (self.app, self.info);
        let (session, token) = match self.begin_session(signed_in).await {
            Ok(begun) => begun,
            Err(answer) => return answer,
        };
        let to = match &self.request.request {
            Some(request) => {
                grant(app, &self.catalogue, info, &self.request.client, request, &session).await?
            }
            None => self.catalogue.config.public_url.join("/"),
        };
        let to = Url::parse(&to).map_err(|_| ErrorResponse::internal())?;
        let response = browser_action(&BrowserAction::Redirect(to), &Method::POST, self.t)?;
        self.with_cookies(response, &session, &token)
    }

    /// Creates the session of a user who has signed in, and shows a page from which a link leads to
    /// the app.
    pub async fn finish_on(&self, signed_in: &AuthenticatedUser, page: FormPage) -> Handled {
        match self.begin_session(signed_in).await {
            Ok((session, token)) => self.with_cookies(page.answer()?, &session, &token),
            Err(answer) => answer,
        }
    }

    /// Creates a session.
    ///
    /// # Errors
    /// Returns the page to show if there can be none.
    async fn begin_session(&self, signed_in: &AuthenticatedUser) -> Result<(Session, RandomToken), Handled> {
        let of = signed_in;
        let (app, info) = (self.app, self.info);
        let earlier = session_principal(app, info).await.map_err(Err)?;
        let earlier = earlier.map(|principal| principal.session().id.clone());
        if let Some(of) = &of.step_up {
            return self.step_up_session(signed_in, &of.session_id, earlier.as_deref()).await;
        }
        let sign_in = PasswordSignIn {
            user_no: of.user.no,
            begun_at: of.begun_at,
            password_set_at: of.password_set_at,
            first_code: of.first_code,
            factor: of.factor,
            browser: &info.browser(),
            earlier: earlier.as_deref(),
        };
        let begun = app.directory.deps.begin_password_session(sign_in).await;
        let (user, session, token) = begun.map_err(|error| {
            self.directory_failed(&error, |words| self.sign_in_page(&of.user.username, "", words))
        })?;
        app.sessions.apply_changes(&[Change::User(user.id.clone())]);
        if let Some(earlier) = earlier {
            if earlier != session.id {
                audit_replaced_session(&info.request_id, &earlier);
            }
            app.sessions.apply_changes(&[Change::Session(earlier)]);
        }
        self.audit_login(&user, &session);
        Ok((session, token))
    }

    /// Records the second factor in the browser's session.
    ///
    /// # Errors
    /// Returns the sign-in page if the browser has another session by now.
    async fn step_up_session(
        &self,
        signed_in: &AuthenticatedUser,
        session_id: &str,
        of_browser: Option<&str>,
    ) -> Result<(Session, RandomToken), Handled> {
        let username = &signed_in.user.username;
        let Some(factor) = signed_in.factor.filter(|_| of_browser == Some(session_id)) else {
            return Err(self.sign_in_page(username, "", words::of_refusal(self.t, &Refusal::InvalidSession)));
        };
        let of = StepUpSession { session_id, user_no: signed_in.user.no, factor };
        let (user, session, token) =
            self.app.directory.deps.step_up_session(of).await.map_err(|error| {
                self.directory_failed(&error, |words| self.sign_in_page(username, "", words))
            })?;
        self.app.sessions.apply_changes(&[Change::Session(session.id.clone())]);
        metrics::login(LOCAL_PROVIDER, "step_up");
        tracing::info!(
            target: "audit",
            event = "step_up",
            request_id = self.info.request_id,
            client = self.info.client(),
            sub = user.id,
            username = user.username,
            sid = session.id,
            factor = factor.name(),
        );
        Ok((session, token))
    }

    fn with_cookies(&self, mut response: HttpResponse, session: &Session, token: &RandomToken) -> Handled {
        let app = self.app;
        let cookie = app.sessions.cookie(token, CookieScope::Pool);
        let age = self.catalogue.config.session.cookie_age(session.expires_at, app.clock.now());
        set_cookie(&mut response, &set_cookie_value(POOL_COOKIE, &cookie, age))?;
        set_cookie(&mut response, &crate::authn::clear_cookie_value(PROVIDER_COOKIE))?;
        Ok(response)
    }

    fn audit_login(&self, user: &User, session: &Session) {
        metrics::login(LOCAL_PROVIDER, "success");
        tracing::info!(
            target: "audit",
            event = "login",
            request_id = self.info.request_id,
            client = self.info.client(),
            provider = LOCAL_PROVIDER,
            sub = user.id,
            username = user.username,
            sid = session.id,
        );
    }
}

/// Returns the field of an attribute.
pub(in crate::handlers) fn attribute_field(t: &Texts, name: &str, value: &str) -> Field {
    let (kind, autocomplete) = match name {
        "email" => ("email", "email"),
        "phone_number" => ("tel", "tel"),
        "birthdate" => ("date", "bday"),
        "website" | "profile" | "picture" => ("url", "url"),
        "name" => ("text", "name"),
        "given_name" => ("text", "given-name"),
        "family_name" => ("text", "family-name"),
        "nickname" => ("text", "nickname"),
        _ => ("text", "off"),
    };
    let name_of_field = format!("{ATTRIBUTE_PREFIX}{name}");
    Field { kind, ..Field::new(&name_of_field, t.attribute(name), autocomplete) }.value(value)
}
