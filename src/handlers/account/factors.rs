//! `/account/mfa`: the second factors of the own account. Each change needs the password.

use super::context::{AccountContext, Problem};
use crate::base::Secret;
use crate::directory::{ByUser, DirectoryError, ErrorKind, FactorChange, NewToken};
use crate::handlers::hosted::{recovery_codes_page, secret, text, token_image};
use crate::handlers::{AppState, Form as Fields, Handled, Reply, RequestData, Shared};
use crate::model::{Factor, MfaMode, UserFactors};
use crate::pages::{ErrorResponse, Field, Form, FormPage, Link, Section};
use axum::extract::State;

/// The second factors of the user, as the page shows them.
#[derive(Default)]
pub(super) struct ShownFactors {
    of_user: UserFactors,
    recovery_codes: usize,
}

impl ShownFactors {
    /// Reads the factors, if users of the pool have any.
    pub async fn read(
        app: &AppState,
        mode: MfaMode,
        user: &crate::model::User,
    ) -> Result<Self, DirectoryError> {
        if mode == MfaMode::Off {
            return Ok(Self::default());
        }
        let factors = &app.directory.factors;
        let (of_user, recovery_codes) =
            (factors.of_user(user).await?, factors.count_recovery_codes(user).await?);
        Ok(Self { of_user, recovery_codes })
    }
}

pub async fn new_token_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(new_token(&app, &info, &body).await)
}

/// Shows a new authenticator app's key, whose first code takes it into use.
async fn new_token(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, _) = match with_password(app, info, body, "mfa_password").await? {
        Ok(checked) => checked,
        Err(answer) => return answer,
    };
    match app.directory.factors.draft_token(context.by_user(), &context.principal.session().id) {
        Ok((token, draft)) => context.token_page(&token, &draft, ""),
        Err(error) => context.failed(&error, "mfa_password"),
    }
}

pub async fn confirm_token_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(confirm_token(&app, &info, &body).await)
}

/// Takes the app of a form into use. The form is the proof that the password was right.
async fn confirm_token(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = AccountContext::read_form(app, info, body).await?;
    let (factors, sealed) = (&app.directory.factors, text(&fields, "token"));
    let draft = factors.open_draft(context.principal.user(), &context.principal.session().id, sealed);
    let draft = match draft {
        Ok(draft) => draft,
        Err(error) => return context.failed(&error, "mfa_password"),
    };
    let code = Secret::new(text(&fields, "code").trim());
    let words = match factors.confirm_draft(context.by_user(), &draft, &code).await {
        Ok(()) => return context.new_codes_page().await,
        Err(error) => match error.kind() {
            ErrorKind::TokenCodeMismatch => &context.t.wrong_token_code,
            ErrorKind::NotAuthorized => &context.t.attempts_exceeded,
            _ => return context.failed(&error, "mfa_password"),
        },
    };
    context.record_guess();
    context.token_page(&factors.token_of_draft(context.by_user(), &draft), sealed, words)
}

pub async fn remove_token_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(remove_token(&app, &info, &body).await)
}

async fn remove_token(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, _) = match with_password(app, info, body, "remove_password").await? {
        Ok(checked) => checked,
        Err(answer) => return answer,
    };
    match app.directory.factors.remove_token(context.by_user()).await {
        Ok(()) => context.updated(&context.t.app_removed).await,
        Err(error) => context.failed(&error, "remove_password"),
    }
}

pub async fn recovery_codes_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(recovery_codes(&app, &info, &body).await)
}

async fn recovery_codes(app: &AppState, info: &RequestData, body: &str) -> Handled {
    match with_password(app, info, body, "codes_password").await? {
        Ok((context, _)) => context.new_codes_page().await,
        Err(answer) => answer,
    }
}

pub async fn message_factor_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(change_message_factor(&app, &info, &body).await)
}

/// Turns codes in messages on or off.
async fn change_message_factor(app: &AppState, info: &RequestData, body: &str) -> Handled {
    let (context, fields) = match with_password(app, info, body, "message_password").await? {
        Ok(checked) => checked,
        Err(answer) => return answer,
    };
    let factor = Factor::parse(text(&fields, "factor")).ok_or_else(ErrorResponse::bad_request)?;
    let is_enabled = Some(text(&fields, "enabled") == "true");
    let change = [(factor, FactorChange { is_enabled, is_preferred: None })];
    match app.directory.factors.change(context.by_user(), &change).await {
        Ok(()) => context.updated(&context.t.saved).await,
        Err(error) => context.failed(&error, "message_password"),
    }
}

/// Returns the context of a form whose password is right, with its fields, or the page that says
/// that it is not.
async fn with_password<'a>(
    app: &'a AppState,
    info: &'a RequestData,
    body: &str,
    field: &str,
) -> Result<Result<(AccountContext<'a>, Fields), Handled>, ErrorResponse> {
    let (context, fields) = AccountContext::read_form(app, info, body).await?;
    let password = secret(&fields, "current_password");
    let user = context.principal.user();
    Ok(match app.directory.accounts.check_password(context.sender(), user, &password).await {
        Ok(()) => Ok((context, fields)),
        Err(error) => Err(context.failed(&error, field)),
    })
}

impl AccountContext<'_> {
    /// Returns the user, who changes the own factors.
    fn by_user(&self) -> ByUser<'_> {
        let client_id = Some(&*self.sender().client.id);
        ByUser { pool: self.pool(), user: self.principal.user(), client_id }
    }

    /// Returns the page with the key of a new authenticator app.
    fn token_page(&self, token: &NewToken, draft: &str, problem: &str) -> Handled {
        let t = self.t;
        let form = Form {
            action: self.url("/account/mfa/verify"),
            hidden: vec![("token", draft.to_owned())],
            fields: vec![Field { max_length: 6, ..Field::code(t) }.problem(problem)],
            submit: t.confirm.clone(),
        };
        let page = FormPage { lead: t.set_up_lead.clone(), ..self.new_page(&t.set_up_title) };
        let links = vec![self.account_link(&t.your_account)];
        FormPage { qr: token_image(token), form: Some(form), links, ..page }.answer()
    }

    /// Creates recovery codes, and returns the page that shows them.
    async fn new_codes_page(&self) -> Handled {
        match self.app.directory.factors.new_recovery_codes(self.by_user()).await {
            Ok(codes) => {
                let onward = self.account_link(&self.t.go_on);
                let page = self.new_page(&self.t.recovery_codes);
                recovery_codes_page(page, self.t, &codes, onward).answer()
            }
            Err(error) => self.failed(&error, "codes_password"),
        }
    }

    fn account_link(&self, label: &str) -> Link {
        Link { before: String::new(), label: label.to_owned(), href: self.url("/account") }
    }

    /// Returns the sections about second factors; none where the pool has no second factors.
    pub(super) fn factor_sections(&self, problem: Problem<'_>) -> Vec<Section> {
        let (t, mfa) = (self.t, &self.pool().settings.mfa);
        let (of, user) = (&self.factors.of_user, self.principal.user());
        if mfa.mode == MfaMode::Off {
            return Vec::new();
        }
        let section = |(title, lead): (&str, &str), (path, submit): (&str, &str), key: &str| {
            self.section((title, lead), (path, submit), vec![self.current_password_field(key, problem)])
        };
        let mut sections = Vec::new();
        if mfa.factors.contains(&Factor::SoftwareToken) {
            let submit = if of.has_software_token { &t.replace_app } else { &t.set_up_app };
            let title = (&*t.second_factor, &*t.second_factor_lead);
            sections.push(section(title, ("/account/mfa", submit), "mfa_password"));
        }
        if of.has_software_token {
            let left = t.codes_left.replace("{}", &self.factors.recovery_codes.to_string());
            sections.push(section(
                (&t.remove_app, ""),
                ("/account/mfa/remove", &t.remove_app),
                "remove_password",
            ));
            let submit = ("/account/mfa/codes", &*t.new_recovery_codes);
            sections.push(section((&t.recovery_codes, &left), submit, "codes_password"));
        }
        for (factor, on, off) in [
            (Factor::Email, &t.turn_on_email, &t.turn_off_email),
            (Factor::Sms, &t.turn_on_sms, &t.turn_off_sms),
        ] {
            let is_on = of.enabled.contains(&factor);
            if !mfa.factors.contains(&factor) || !(is_on || of.can_use(user, factor)) {
                continue;
            }
            let label = if is_on { off } else { on };
            let mut section = section((label, ""), ("/account/mfa/message", label), "message_password");
            if let Some(form) = &mut section.form {
                let enabled = (!is_on).to_string();
                form.hidden = vec![("factor", factor.name().to_owned()), ("enabled", enabled)];
                // Two sections can have the field.
                form.fields.iter_mut().for_each(|field| field.id = format!("{}_{}", field.id, factor.name()));
            }
            sections.push(section);
        }
        sections
    }
}
