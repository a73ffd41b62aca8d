//! The pages people see, and what programs get in their place. Rendered on the server; every page
//! works without JavaScript, and carries none.

mod device;
mod failure;
mod grpc;
mod logos;
mod site;
mod templates;
mod texts;

pub use device::Device;
pub use failure::{Action, ErrorResponse};
pub use logos::logo;
pub use site::Site;
pub use templates::{
    App, EmailLookup, HomePage, ProviderChoice, SessionRow, SessionsPage, SignInPage, SignOutPage,
    SignedOutPage,
};

use crate::provider::BrowserAction;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, STRICT_TRANSPORT_SECURITY};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use templates::{PostPage, RedirectPage};

/// An answer of our own.
pub type HttpResponse = Response<Bytes>;

/// The stylesheet, and where every host of ours serves it.
pub const STYLE: &str = include_str!("style.css");
/// The stylesheet's path.
pub const STYLE_PATH: &str = "/.narthex/style.css";

const ICON: &str = include_str!("favicon.svg");

/// Who is answered.
#[derive(Clone, Debug)]
pub struct ResponseContext {
    /// The request's id, as log lines carry it.
    pub request_id: String,
    /// What reads the answer.
    pub client: ClientKind,
    /// Whether the host's certificate is one that browsers trust, so that it may insist on TLS.
    pub strict_transport: bool,
    /// The pages of the host.
    pub site: Site,
    /// Whether the request is a GET or HEAD, which a link can repeat.
    pub is_get: bool,
}

/// What reads an answer of ours, and so the form that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// A person, in a browser.
    Browser,
    /// A program or a script.
    Program,
    /// A gRPC client, which knows an outcome by its trailers alone.
    Grpc,
}

const SECURITY: [(HeaderName, &str); 5] = [
    (
        http::header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; \
         base-uri 'none'",
    ),
    (http::header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (http::header::X_FRAME_OPTIONS, "DENY"),
    (http::header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// The name of the header that carries the request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Adds what every answer of ours carries.
pub fn add_common_headers(mut answer: HttpResponse, visitor: &ResponseContext) -> HttpResponse {
    let headers = answer.headers_mut();
    for (name, value) in &SECURITY {
        // A page whose form leads elsewhere brings a policy of its own.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if visitor.strict_transport {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    if let Ok(id) = HeaderValue::from_str(&visitor.request_id) {
        headers.insert(REQUEST_ID, id);
    }
    answer
}

/// An answer with a body.
pub fn with_body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> HttpResponse {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// The stylesheet's answer. Its address carries no version, so that it is asked about once an hour.
pub fn style() -> HttpResponse {
    let mut answer = with_body(StatusCode::OK, "text/css; charset=utf-8", STYLE);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    answer
}

/// The icon that browsers show beside a page's title.
pub fn icon() -> HttpResponse {
    let mut answer = with_body(StatusCode::OK, "image/svg+xml", ICON);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    answer
}

/// 303 to `location`: what was a POST becomes a GET (RFC 9700, section 4.12).
///
/// # Errors
/// Where `location` is no header value, which a checked URL always is.
pub fn see_other(location: &str) -> Result<HttpResponse, ErrorResponse> {
    let location = HeaderValue::from_str(location).map_err(|_| ErrorResponse::internal())?;
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::SEE_OTHER;
    answer.headers_mut().insert(http::header::LOCATION, location);
    Ok(answer)
}

/// Sends a browser on: after a form by a page of ours, since browsers hold redirects to `form-action` too.
///
/// # Errors
/// Where a template cannot be rendered.
pub fn browser_action(to: &BrowserAction, method: &Method) -> Result<HttpResponse, ErrorResponse> {
    match to {
        BrowserAction::Redirect(url) if method == Method::POST => {
            RedirectPage { href: url.to_string() }.answer()
        }
        BrowserAction::Redirect(url) => see_other(url.as_str()),
        BrowserAction::Form { action, fields } => PostPage { action, fields }.answer(),
    }
}

/// Adds a `Set-Cookie` header.
///
/// # Errors
/// Where `cookie` is no header value, which one of ours always is.
pub fn set_cookie(answer: &mut HttpResponse, cookie: &str) -> Result<(), ErrorResponse> {
    let mut value = HeaderValue::from_str(cookie).map_err(|_| ErrorResponse::internal())?;
    value.set_sensitive(true);
    answer.headers_mut().append(http::header::SET_COOKIE, value);
    Ok(())
}
