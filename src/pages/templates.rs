//! The pages: each a template with its data.

use super::texts::{ENGLISH, Texts};
use super::{Action, Device, ErrorResponse, HttpResponse, STYLE_PATH, with_body};
use askama::Template;
use http::{HeaderValue, StatusCode};
use url::Url;

/// A provider on the sign-in page.
#[derive(Clone, Debug)]
pub struct ProviderChoice {
    /// The label of the button.
    pub name: String,
    /// Its logo, as SVG; if absent, its initial is shown.
    pub logo: Option<&'static str>,
    /// The link.
    pub href: String,
    /// Whether this browser used it last.
    pub last_used: bool,
}

/// Lookup of a provider by e-mail address.
#[derive(Clone, Debug)]
pub struct EmailLookup {
    /// The address of the form.
    pub action: String,
    /// Hidden fields.
    pub fields: Vec<(String, String)>,
    /// The entered address.
    pub typed: String,
    /// Whether no provider matches the address.
    pub unknown: bool,
}

impl ProviderChoice {
    fn initial(&self) -> String {
        self.name.chars().take(1).flat_map(char::to_uppercase).collect()
    }
}

/// Selection of a provider.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    /// The host of the requested app; empty for the user pool's own pages.
    pub destination: String,
    /// The providers.
    pub choices: Vec<ProviderChoice>,
    /// The e-mail lookup, if enabled.
    pub email_lookup: Option<EmailLookup>,
}

/// Confirmation of a sign-out request, which may come from another site.
#[derive(Template)]
#[template(path = "sign_out.html")]
pub struct SignOutPage {
    /// The user's name.
    pub name: String,
    /// The address of the form.
    pub action: String,
    /// The link back.
    pub stay: String,
}

/// Confirmation after sign-out.
#[derive(Template)]
#[template(path = "signed_out.html")]
pub struct SignedOutPage {
    /// The sign-in address.
    pub sign_in_again: String,
}

/// Redirection after a form. CSP `form-action` limits forms to Narthex's own pages, and browsers
/// apply it to redirects; a page may link anywhere.
#[derive(Template)]
#[template(path = "onward.html")]
pub(super) struct RedirectPage {
    /// The target.
    pub href: String,
}

impl RedirectPage {
    /// Renders the page; browsers leave it at once.
    ///
    /// # Errors
    /// Returns an error if the template cannot be rendered.
    pub fn answer(&self) -> Result<HttpResponse, ErrorResponse> {
        let mut response = page(StatusCode::OK, self)?;
        let refresh = HeaderValue::from_str(&format!("0;url={}", self.href));
        response.headers_mut().insert("refresh", refresh.map_err(|_| ErrorResponse::internal())?);
        Ok(response)
    }
}

/// Redirection by a form, for recipients that require POST.
#[derive(Template)]
#[template(path = "post.html")]
pub(super) struct PostPage<'a> {
    pub action: &'a Url,
    pub fields: &'a [(String, String)],
}

impl PostPage<'_> {
    fn host(&self) -> &str {
        self.action.host_str().unwrap_or_default()
    }

    pub fn answer(&self) -> Result<HttpResponse, ErrorResponse> {
        let mut response = page(StatusCode::OK, self)?;
        let policy = format!(
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action {}; frame-ancestors 'none'; base-uri 'none'",
            self.action.origin().ascii_serialization()
        );
        let policy = HeaderValue::from_str(&policy).map_err(|_| ErrorResponse::internal())?;
        response.headers_mut().insert(http::header::CONTENT_SECURITY_POLICY, policy);
        Ok(response)
    }
}

/// A session in a list.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Its id.
    pub id: String,
    /// The browser.
    pub device: Device,
    /// The client address; empty if unknown.
    pub address: String,
    /// The provider's name.
    pub provider: String,
    /// When it was created.
    pub began: String,
    /// When it was last used.
    pub last_seen: String,
    /// Whether it is the session of this request.
    pub is_current: bool,
}

/// The user's sessions.
#[derive(Template)]
#[template(path = "sessions.html")]
pub struct SessionsPage {
    /// The user's name.
    pub name: String,
    /// The address of the forms.
    pub action: String,
    /// The address of the home page.
    pub home: String,
    /// The sessions.
    pub rows: Vec<SessionRow>,
}

/// An app on the home page.
#[derive(Clone, Debug)]
pub struct App {
    /// Its host.
    pub name: String,
    /// Its address.
    pub href: String,
}

/// The home page: the user's apps.
#[derive(Template)]
#[template(path = "home.html")]
pub struct HomePage {
    /// The user's name.
    pub name: String,
    /// The apps.
    pub apps: Vec<App>,
    /// The sign-out address.
    pub sign_out: String,
    /// The address of the session list.
    pub sessions: String,
}

/// An error page.
#[derive(Template)]
#[template(path = "failure.html")]
pub(super) struct FailurePage<'a> {
    pub failure: &'a ErrorResponse,
    pub action: Option<Action>,
    pub request_id: &'a str,
}

/// Common parts of all pages.
trait Page: Template {
    fn t(&self) -> &'static Texts {
        &ENGLISH
    }
    fn style(&self) -> &'static str {
        STYLE_PATH
    }
}

impl<T: Template> Page for T {}

macro_rules! answers {
    ($($page:ty),*) => {$(
        impl $page {
            /// Renders the page.
            ///
            /// # Errors
            /// Returns an error if the template cannot be rendered.
            pub fn answer(&self) -> Result<HttpResponse, ErrorResponse> {
                page(StatusCode::OK, self)
            }
        }
    )*};
}

answers!(SignInPage, SignOutPage, SignedOutPage, HomePage, SessionsPage);

pub(super) fn page(status: StatusCode, template: &impl Template) -> Result<HttpResponse, ErrorResponse> {
    let html = template.render().map_err(|error| {
        tracing::error!(%error, "a page could not be rendered");
        ErrorResponse::internal()
    })?;
    Ok(with_body(status, "text/html; charset=utf-8", html))
}
