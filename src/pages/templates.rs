//! The pages, each a template and what it shows.

use super::texts::{ENGLISH, Texts};
use super::{Action, Device, ErrorResponse, HttpResponse, STYLE_PATH, with_body};
use askama::Template;
use http::{HeaderValue, StatusCode};
use url::Url;

/// A provider to choose.
#[derive(Clone, Debug)]
pub struct ProviderChoice {
    /// What the button says.
    pub name: String,
    /// Its mark, as SVG; its initial stands for one that has none.
    pub logo: Option<&'static str>,
    /// Where it leads.
    pub href: String,
    /// Whether this browser chose it the last time.
    pub last_used: bool,
}

/// Finds a provider by an e-mail address.
#[derive(Clone, Debug)]
pub struct EmailLookup {
    /// Where the form is sent.
    pub action: String,
    /// What goes along.
    pub fields: Vec<(String, String)>,
    /// What was typed.
    pub typed: String,
    /// Whether no provider is known for that.
    pub unknown: bool,
}

impl ProviderChoice {
    fn initial(&self) -> String {
        self.name.chars().take(1).flat_map(char::to_uppercase).collect()
    }
}

/// Chooses a provider.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    /// The host that the person wants to reach; empty where it is the pool's own pages.
    pub destination: String,
    /// The providers.
    pub choices: Vec<ProviderChoice>,
    /// Where an address finds one of them.
    pub email_lookup: Option<EmailLookup>,
}

/// Asks whether to sign out, where the request for it may come from elsewhere.
#[derive(Template)]
#[template(path = "sign_out.html")]
pub struct SignOutPage {
    /// Whom it is about.
    pub name: String,
    /// Where the form is sent.
    pub action: String,
    /// Where staying leads.
    pub stay: String,
}

/// Says that the person is signed out.
#[derive(Template)]
#[template(path = "signed_out.html")]
pub struct SignedOutPage {
    /// The address at which to sign in again.
    pub sign_in_again: String,
}

/// Sends the person on after a form. A form may lead to our own pages only (CSP `form-action`), and
/// browsers hold redirects to that; a page of ours may go anywhere.
#[derive(Template)]
#[template(path = "onward.html")]
pub(super) struct RedirectPage {
    /// Where to.
    pub href: String,
}

impl RedirectPage {
    /// The page as an answer, which browsers leave at once.
    ///
    /// # Errors
    /// Where the template cannot be rendered.
    pub fn answer(&self) -> Result<HttpResponse, ErrorResponse> {
        let mut answer = page(StatusCode::OK, self)?;
        let refresh = HeaderValue::from_str(&format!("0;url={}", self.href));
        answer.headers_mut().insert("refresh", refresh.map_err(|_| ErrorResponse::internal())?);
        Ok(answer)
    }
}

/// Sends the person on by a form, where that is what the other side takes.
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
        let mut answer = page(StatusCode::OK, self)?;
        let policy = format!(
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action {}; frame-ancestors 'none'; base-uri 'none'",
            self.action.origin().ascii_serialization()
        );
        let policy = HeaderValue::from_str(&policy).map_err(|_| ErrorResponse::internal())?;
        answer.headers_mut().insert(http::header::CONTENT_SECURITY_POLICY, policy);
        Ok(answer)
    }
}

/// A session in a list.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Its id.
    pub id: String,
    /// In which browser.
    pub device: Device,
    /// At which address; empty where none is known.
    pub address: String,
    /// Through which provider.
    pub provider: String,
    /// When it began.
    pub began: String,
    /// When it was last used.
    pub last_seen: String,
    /// Whether it is the one that asks.
    pub is_current: bool,
}

/// A person's sessions.
#[derive(Template)]
#[template(path = "sessions.html")]
pub struct SessionsPage {
    /// Whose.
    pub name: String,
    /// Where the forms are sent.
    pub action: String,
    /// The address of the list of apps.
    pub home: String,
    /// The sessions.
    pub rows: Vec<SessionRow>,
}

/// An app that stands behind Narthex.
#[derive(Clone, Debug)]
pub struct App {
    /// Its host.
    pub name: String,
    /// Its address.
    pub href: String,
}

/// Where a signed-in person finds the apps.
#[derive(Template)]
#[template(path = "home.html")]
pub struct HomePage {
    /// Who is signed in.
    pub name: String,
    /// What there is to reach.
    pub apps: Vec<App>,
    /// Where signing out leads.
    pub sign_out: String,
    /// Where the person's sessions are.
    pub sessions: String,
}

/// A failure, for people.
#[derive(Template)]
#[template(path = "failure.html")]
pub(super) struct FailurePage<'a> {
    pub failure: &'a ErrorResponse,
    pub action: Option<Action>,
    pub request_id: &'a str,
}

/// What every page needs.
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
            /// The page as an answer.
            ///
            /// # Errors
            /// Where the template cannot be rendered.
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
