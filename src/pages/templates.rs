//! The pages: HTML templates and their data.

use super::brand::Brand;
use super::forms::{Form, Link};
use super::logos::app_icon;
use super::texts::Texts;
use super::{Device, ErrorResponse, HttpResponse, with_body};
use askama::Template;
use http::{HeaderValue, StatusCode};
use std::sync::Arc;
use url::Url;

/// The page that asks a user whether an app client may have its scopes.
#[derive(Template)]
#[template(path = "consent.html")]
pub struct ConsentPage {
    /// The texts.
    pub t: &'static Texts,
    /// The look.
    pub brand: Arc<Brand>,
    /// The heading, with the client's name.
    pub title: String,
    /// The user's name.
    pub account: String,
    /// The code that the user's device shows; empty for a client in the browser.
    pub code: String,
    /// What the client gets.
    pub scopes: Vec<String>,
    /// Where the browser goes on: a host, or the scheme of an app; empty for a device.
    pub site: String,
    /// The URL that receives the decision.
    pub action: String,
    /// Hidden fields, names and values.
    pub hidden: Vec<(&'static str, String)>,
    /// The URL of a sign-in with another account.
    pub other_account: String,
}

/// An app client that may use the account of a user.
#[derive(Clone, Debug)]
pub struct AllowedApp {
    /// The client id.
    pub id: String,
    /// The name.
    pub name: String,
    /// What it gets.
    pub scopes: String,
}

/// A provider on the sign-in page.
#[derive(Clone, Debug)]
pub struct ProviderChoice {
    /// The label of the button.
    pub name: String,
    /// The provider's logo as SVG. If absent, the page shows the initial of `name`.
    pub logo: Option<&'static str>,
    /// The URL that starts the sign-in.
    pub href: String,
    /// Whether this browser used the provider last.
    pub last_used: bool,
}

/// A button of the form for name and password, which sends a code instead.
#[derive(Clone, Debug)]
pub struct CodeButton {
    /// The name of the button.
    pub name: &'static str,
    /// The value.
    pub value: &'static str,
    /// The label.
    pub label: String,
}

/// The form that looks up a provider by e-mail address.
#[derive(Clone, Debug)]
pub struct EmailLookup {
    /// The URL that receives the form.
    pub action: String,
    /// The hidden fields, names and values.
    pub fields: Vec<(String, String)>,
    /// The e-mail address that the user entered.
    pub typed: String,
    /// Whether no provider matches the address.
    pub unknown: bool,
}

impl ProviderChoice {
    fn initial(&self) -> String {
        self.name.chars().take(1).flat_map(char::to_uppercase).collect()
    }
}

/// The sign-in page: name and password, or selection of a provider.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    /// The texts.
    pub t: &'static Texts,
    /// The look.
    pub brand: Arc<Brand>,
    /// The host of the requested app; empty for the user pool's own pages.
    pub destination: String,
    /// What was done before; may be empty.
    pub notice: String,
    /// What is wrong; may be empty.
    pub problem: String,
    /// The form for name and password, if users can sign in with a password.
    pub password: Option<Form>,
    /// The codes that replace a password.
    pub methods: Vec<CodeButton>,
    /// The URL of the page for a forgotten password, if users have passwords.
    pub forgot: Option<String>,
    /// The URL of the sign-up page, if users can sign up.
    pub sign_up: Option<String>,
    /// The providers.
    pub choices: Vec<ProviderChoice>,
    /// The e-mail lookup, if enabled.
    pub email_lookup: Option<EmailLookup>,
}

/// The confirmation page of a sign-out request, which another site can cause.
#[derive(Template)]
#[template(path = "sign_out.html")]
pub struct SignOutPage {
    /// The texts.
    pub t: &'static Texts,
    /// The look.
    pub brand: Arc<Brand>,
    /// The user's name.
    pub name: String,
    /// The URL that receives the form.
    pub action: String,
    /// The URL of the link that cancels the sign-out.
    pub stay: String,
}

/// The page after sign-out.
#[derive(Template)]
#[template(path = "signed_out.html")]
pub struct SignedOutPage {
    /// The texts.
    pub t: &'static Texts,
    /// The look.
    pub brand: Arc<Brand>,
    /// The sign-in URL.
    pub sign_in_again: String,
}

/// The intermediate page of a redirect after a form. CSP `form-action` limits forms to Narthex's
/// own pages, and browsers apply it to redirects. A page may link to any site.
#[derive(Template)]
#[template(path = "onward.html")]
pub(super) struct RedirectPage<'a> {
    pub t: &'static Texts,
    pub brand: Arc<Brand>,
    /// The target URL.
    pub href: &'a str,
    /// Addresses of other sites that the page loads first. Its CSP `frame-src` allows their
    /// origins.
    pub frames: &'a [Url],
}

/// The time for which a page with frames is shown, in seconds.
const FRAMES_SECONDS: u8 = 2;

impl RedirectPage<'_> {
    /// Renders the page. Its `Refresh` header makes browsers open the target immediately, or when
    /// the frames had time to load.
    ///
    /// # Errors
    /// Returns an error if the template cannot be rendered or a URL is not a valid header value.
    pub fn answer(&self) -> Result<HttpResponse, ErrorResponse> {
        let mut response = page(StatusCode::OK, self)?;
        let seconds = if self.frames.is_empty() { 0 } else { FRAMES_SECONDS };
        let refresh = HeaderValue::from_str(&format!("{seconds};url={}", self.href));
        response.headers_mut().insert("refresh", refresh.map_err(|_| ErrorResponse::internal())?);
        if !self.frames.is_empty() {
            let origins: Vec<_> = self.frames.iter().map(|url| url.origin().ascii_serialization()).collect();
            let policy = format!(
                "default-src 'none'; style-src 'self'; img-src 'self'; frame-src {}; frame-ancestors 'none'; base-uri 'none'",
                origins.join(" ")
            );
            let policy = HeaderValue::from_str(&policy).map_err(|_| ErrorResponse::internal())?;
            response.headers_mut().insert(http::header::CONTENT_SECURITY_POLICY, policy);
        }
        Ok(response)
    }
}

/// The page with a form to another site, for recipients that require POST. Its CSP `form-action`
/// allows the origin of `action`.
#[derive(Template)]
#[template(path = "post.html")]
pub(super) struct PostPage<'a> {
    pub t: &'static Texts,
    pub brand: Arc<Brand>,
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

/// A session in the session list.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// The session's id.
    pub id: String,
    /// The browser.
    pub device: Device,
    /// The client's IP address; empty if unknown.
    pub address: String,
    /// The provider's name.
    pub provider: String,
    /// The creation time, formatted.
    pub began: String,
    /// The time of last use, formatted.
    pub last_seen: String,
    /// Whether this is the session of the request.
    pub is_current: bool,
}

/// The page with the user's sessions.
#[derive(Template)]
#[template(path = "sessions.html")]
pub struct SessionsPage {
    /// The texts.
    pub t: &'static Texts,
    /// The look.
    pub brand: Arc<Brand>,
    /// The user's name.
    pub name: String,
    /// The URL that receives the forms.
    pub action: String,
    /// The URL of the home page.
    pub home: String,
    /// The sessions.
    pub rows: Vec<SessionRow>,
    /// The apps that the user has allowed.
    pub apps: Vec<AllowedApp>,
}

/// An app on the home page.
#[derive(Clone, Debug)]
pub struct App {
    /// The app's name.
    pub name: String,
    /// The app's URL.
    pub href: String,
    /// The app's icon.
    pub icon: AppIcon,
}

/// The icon of an app.
#[derive(Clone, Debug)]
pub enum AppIcon {
    /// A built-in one with this name.
    BuiltIn(&'static str),
    /// The image at this URL.
    Image(String),
}

impl App {
    /// Returns the SVG of a built-in icon.
    fn svg(&self) -> Option<&'static str> {
        match &self.icon {
            AppIcon::BuiltIn(name) => app_icon(name),
            AppIcon::Image(_) => None,
        }
    }

    /// Returns the URL of another icon.
    fn image(&self) -> &str {
        match &self.icon {
            AppIcon::BuiltIn(_) => "",
            AppIcon::Image(url) => url,
        }
    }
}

/// The home page with the user's apps.
#[derive(Template)]
#[template(path = "home.html")]
pub struct HomePage {
    /// The texts.
    pub t: &'static Texts,
    /// The look.
    pub brand: Arc<Brand>,
    /// The user's name.
    pub name: String,
    /// The apps.
    pub apps: Vec<App>,
    /// The sign-out URL.
    pub sign_out: String,
    /// The URL of the session list.
    pub sessions: String,
    /// The URL of the page about the user's own account, if the user has one here.
    pub account: Option<String>,
}

/// An error page.
#[derive(Template)]
#[template(path = "failure.html")]
pub(super) struct FailurePage<'a> {
    pub t: &'static Texts,
    pub brand: Arc<Brand>,
    pub title: &'a str,
    pub advice: String,
    /// The label and the URL of a link.
    pub action: Option<(String, String)>,
    pub request_id: &'a str,
}

/// Values that all templates read.
pub(super) trait Page: Template {
    /// Returns the look of the page.
    fn brand(&self) -> &Brand;
    /// Returns the links that the look adds.
    fn brand_links(&self) -> Vec<Link>;
}

macro_rules! pages {
    ($($page:ty),*) => {$(
        impl Page for $page {
            fn brand(&self) -> &Brand {
                &self.brand
            }

            fn brand_links(&self) -> Vec<Link> {
                self.brand.links(self.t)
            }
        }
    )*};
}
pub(super) use pages;

pages!(
    ConsentPage,
    SignInPage,
    SignOutPage,
    SignedOutPage,
    HomePage,
    SessionsPage,
    RedirectPage<'_>,
    PostPage<'_>,
    FailurePage<'_>
);

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

answers!(ConsentPage, SignInPage, SignOutPage, SignedOutPage, HomePage, SessionsPage);

pub(super) fn page(status: StatusCode, template: &impl Template) -> Result<HttpResponse, ErrorResponse> {
    let html = template.render().map_err(|error| {
        tracing::error!(%error, "a page could not be rendered");
        ErrorResponse::internal()
    })?;
    Ok(with_body(status, "text/html; charset=utf-8", html))
}
