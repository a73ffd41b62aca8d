//! Error responses: HTML for browsers, JSON for programs, `grpc-status` for gRPC clients. They omit
//! internal details. The request id identifies the log line with the details.

use super::site::DefaultLink;
use super::templates::{FailurePage, page};
use super::{Brand, ClientKind, HttpResponse, ResponseContext, Texts, add_common_headers, grpc, with_body};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use std::borrow::Cow;

/// A link on an error page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The label of the button.
    pub label: &'static str,
    /// The URL, always one of Narthex.
    pub href: String,
}

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The status.
    pub status: StatusCode,
    /// A stable error code.
    pub code: &'static str,
    /// A short description.
    pub title: &'static str,
    /// The remedy, one or more sentences.
    pub advice: Cow<'static, str>,
    /// The link set by the handler.
    pub action: Option<Box<Action>>,
    /// The link of the page if `action` is `None`.
    pub(super) default_link: DefaultLink,
    /// The name of the constructor, by which languages have their texts.
    name: &'static str,
    /// The account in the advice.
    account: Option<Box<str>>,
    /// Whether the advice is one of the handler, which is in English.
    has_own_advice: bool,
    /// The value of `WWW-Authenticate` (RFC 9110, section 11.6.1). If `None`, a 401 asks for a
    /// session cookie.
    pub challenge: Option<Box<str>>,
}

/// Status, code, title, advice, default link.
type Row = (StatusCode, &'static str, &'static str, &'static str, DefaultLink);

const BAD_REQUEST: Row = (
    StatusCode::BAD_REQUEST,
    "bad_request",
    "This request is not valid",
    "Check the address, or go back and try again.",
    DefaultLink::StartPage,
);
const BAD_PATH: Row = (
    StatusCode::BAD_REQUEST,
    "bad_path",
    "This address is not allowed",
    "It contains characters that can be read in more than one way. Check the address.",
    DefaultLink::StartPage,
);
const SIGN_IN_REQUIRED: Row = (
    StatusCode::UNAUTHORIZED,
    "sign_in_required",
    "Please sign in",
    "You are not signed in, or your session has ended. Sign in, then try again.",
    DefaultLink::SignIn,
);
const NO_PROVIDER: Row = (
    StatusCode::UNAUTHORIZED,
    "sign_in_required",
    "Sign-in is not set up",
    "No sign-in provider is configured. Ask your administrator.",
    DefaultLink::None,
);
const FORBIDDEN: Row = (
    StatusCode::FORBIDDEN,
    "forbidden",
    "This account may not sign in here",
    "Sign in with another account, or ask your administrator for access and give them the request ID below.",
    DefaultLink::OtherAccount,
);
const ACCESS_DENIED: Row = (
    StatusCode::FORBIDDEN,
    "access_denied",
    "You do not have access",
    "If you need access, ask your administrator and give them the request ID below.",
    DefaultLink::OtherAccount,
);
const SECOND_FACTOR_MISSING: Row = (
    StatusCode::FORBIDDEN,
    "second_factor_missing",
    "This page needs two-step verification",
    "Your account has no second step that you can use here. Set one up in your account, or sign in with another account.",
    DefaultLink::OtherAccount,
);
const SECOND_FACTOR_REQUIRED: Row = (
    StatusCode::UNAUTHORIZED,
    "insufficient_user_authentication",
    "A second factor is required",
    "Sign in again with a second factor, and send the request with the new token or session.",
    DefaultLink::StartPage,
);
const INVALID_TOKEN: Row = (
    StatusCode::UNAUTHORIZED,
    "invalid_token",
    "The access token is not valid",
    "Get a new token and send the request again.",
    DefaultLink::StartPage,
);
const INSUFFICIENT_SCOPE: Row = (
    StatusCode::FORBIDDEN,
    "insufficient_scope",
    "The access token lacks a scope",
    "Get a token with the scopes that this address requires.",
    DefaultLink::StartPage,
);
const NOT_FOUND: Row = (
    StatusCode::NOT_FOUND,
    "not_found",
    "Page not found",
    "Check the address. If it is correct, ask your administrator.",
    DefaultLink::StartPage,
);
const METHOD_NOT_ALLOWED: Row = (
    StatusCode::METHOD_NOT_ALLOWED,
    "method_not_allowed",
    "This method is not supported",
    "Use another HTTP method.",
    DefaultLink::StartPage,
);
const EXPECTATION_FAILED: Row = (
    StatusCode::EXPECTATION_FAILED,
    "expectation_failed",
    "The Expect header is not supported",
    "Send the request without the Expect header.",
    DefaultLink::StartPage,
);
const TOO_LARGE: Row = (
    StatusCode::PAYLOAD_TOO_LARGE,
    "too_large",
    "The request is too large",
    "Send less data, or send it in several parts.",
    DefaultLink::StartPage,
);
const HEADERS_TOO_LARGE: Row = (
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "headers_too_large",
    "Your browser sent too much data",
    "The cookies of this site are too large. Delete them in your browser, then open the page again.",
    DefaultLink::None,
);
const TARGET_TOO_LONG: Row = (
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "headers_too_large",
    "The address is too long",
    "Check the address, or begin at the start page.",
    DefaultLink::StartPage,
);
const TOO_MANY_FAILURES: Row = (
    StatusCode::TOO_MANY_REQUESTS,
    "too_many_failures",
    "Too many failed sign-ins",
    "Wait a minute, then try again.",
    DefaultLink::SameAddress,
);
const SIGN_IN_FAILED: Row = (
    StatusCode::BAD_REQUEST,
    "sign_in_failed",
    "Sign-in failed",
    "Try again. If it keeps failing, give your administrator the request ID below.",
    DefaultLink::StartPage,
);
const COOKIE_LOST: Row = (
    StatusCode::LOOP_DETECTED,
    "sign_in_loop",
    "Your browser did not keep your sign-in",
    "You signed in, but the browser did not send the cookie back. Allow cookies for this site, then try again.",
    DefaultLink::SameAddress,
);
const SESSION_UNKNOWN: Row = (
    StatusCode::LOOP_DETECTED,
    "sign_in_loop",
    "Your session was not found",
    "You signed in, but this server does not have your session. Give your administrator the request ID below: servers may not share one database, or a clock may be wrong.",
    DefaultLink::SameAddress,
);
const ATTEMPT_LOST: Row = (
    StatusCode::BAD_REQUEST,
    "sign_in_expired",
    "This sign-in has expired",
    "It took too long, was already completed, or your browser did not keep its cookie. Sign in again.",
    DefaultLink::StartPage,
);
const PROVIDER_REFUSED: Row = (
    StatusCode::FORBIDDEN,
    "provider_refused",
    "Sign-in was not completed",
    "It was cancelled, or the sign-in provider refused it. Try again, or use another account.",
    DefaultLink::StartPage,
);
const UNSOLICITED: Row = (
    StatusCode::BAD_REQUEST,
    "sign_in_not_requested",
    "Sign-in must start at the app",
    "Open the app and sign in there. If sign-in should also start at the provider, give your administrator the request ID below.",
    DefaultLink::StartPage,
);
const PROVIDER_DOWN: Row = (
    StatusCode::BAD_GATEWAY,
    "provider_unavailable",
    "The sign-in provider is not responding",
    "Wait a moment, then try again.",
    DefaultLink::SameAddress,
);
const PROVIDER_UNREADABLE: Row = (
    StatusCode::BAD_GATEWAY,
    "provider_answer_unreadable",
    "The sign-in provider sent an invalid response",
    "Try again. If it keeps failing, give your administrator the request ID below.",
    DefaultLink::SameAddress,
);
const UPSTREAM_DOWN: Row = (
    StatusCode::BAD_GATEWAY,
    "upstream_unavailable",
    "The app is not responding",
    "Wait a moment, then try again. If it keeps failing, give your administrator the request ID below.",
    DefaultLink::SameAddress,
);
const UNAVAILABLE: Row = (
    StatusCode::SERVICE_UNAVAILABLE,
    "unavailable",
    "Sign-in is not available right now",
    "Wait a moment, then try again.",
    DefaultLink::SameAddress,
);
const OVERLOADED: Row = (
    StatusCode::SERVICE_UNAVAILABLE,
    "overloaded",
    "Too many requests are in progress",
    "Wait a moment, then try again.",
    DefaultLink::SameAddress,
);
const SIGN_OUT_UNAVAILABLE: Row = (
    StatusCode::SERVICE_UNAVAILABLE,
    "sign_out_unavailable",
    "Sign-out is not available right now",
    "You are still signed in. Wait a moment, then try again.",
    DefaultLink::SameAddress,
);
const INTERNAL: Row = (
    StatusCode::INTERNAL_SERVER_ERROR,
    "internal",
    "Something went wrong",
    "Try again. If it keeps failing, give your administrator the request ID below.",
    DefaultLink::SameAddress,
);

macro_rules! failures {
    ($($(#[$doc:meta])* $name:ident = $row:ident;)*) => {
        impl ErrorResponse {
            $($(#[$doc])* pub fn $name() -> Self { Self::from_row(stringify!($name), &$row) })*
        }

        /// The names of the constructors.
        #[cfg(test)]
        pub(super) const ERROR_NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

failures! {
    /// Reports a malformed request.
    bad_request = BAD_REQUEST;
    /// Reports an ambiguous path.
    bad_path = BAD_PATH;
    /// Reports that a sign-in is required, for a request that cannot be redirected to one.
    sign_in_required = SIGN_IN_REQUIRED;
    /// Reports that no provider is configured.
    no_provider = NO_PROVIDER;
    /// Reports that the account may not sign in.
    forbidden = FORBIDDEN;
    /// Reports that policies deny the request.
    access_denied = ACCESS_DENIED;
    /// Reports a user who has no second factor where one is required.
    second_factor_missing = SECOND_FACTOR_MISSING;
    /// Reports a token or a session without the required second factor.
    second_factor_required = SECOND_FACTOR_REQUIRED;
    /// Reports an invalid bearer token.
    invalid_token = INVALID_TOKEN;
    /// Reports a bearer token without a required scope.
    insufficient_scope = INSUFFICIENT_SCOPE;
    /// Reports an unknown route or page.
    not_found = NOT_FOUND;
    /// Reports a method that no resource supports.
    method_not_allowed = METHOD_NOT_ALLOWED;
    /// Reports an unsupported `Expect` header.
    expectation_failed = EXPECTATION_FAILED;
    /// Reports a body over the limit of Narthex's own pages.
    too_large = TOO_LARGE;
    /// Reports headers over the limit.
    headers_too_large = HEADERS_TOO_LARGE;
    /// Reports a path and query over the limit.
    target_too_long = TARGET_TOO_LONG;
    /// Reports too many failed sign-ins from the client's address.
    too_many_failures = TOO_MANY_FAILURES;
    /// Reports a sign-in that failed a check.
    sign_in_failed = SIGN_IN_FAILED;
    /// Reports repeated sign-ins of a browser that does not return the session cookie.
    cookie_lost = COOKIE_LOST;
    /// Reports repeated sign-ins whose sessions are unknown to this server.
    session_unknown = SESSION_UNKNOWN;
    /// Reports a sign-in attempt that has expired, was used, or belongs to another browser.
    attempt_lost = ATTEMPT_LOST;
    /// Reports an IdP-initiated sign-in, which is not allowed for this provider.
    unsolicited = UNSOLICITED;
    /// Reports that the provider rejected the user.
    provider_refused = PROVIDER_REFUSED;
    /// Reports an unreachable, slow or failing provider.
    provider_down = PROVIDER_DOWN;
    /// Reports a malformed response of the provider.
    provider_unreadable = PROVIDER_UNREADABLE;
    /// Reports an unreachable, slow or failing upstream.
    upstream_down = UPSTREAM_DOWN;
    /// Reports an unavailable database.
    unavailable = UNAVAILABLE;
    /// Reports too many requests in progress.
    overloaded = OVERLOADED;
    /// Reports that sessions cannot be ended, because the database is unavailable.
    sign_out_unavailable = SIGN_OUT_UNAVAILABLE;
    /// Reports an internal error.
    internal = INTERNAL;
}

impl ErrorResponse {
    fn from_row(name: &'static str, (status, code, title, advice, link): &Row) -> Self {
        Self {
            status: *status,
            code,
            title,
            advice: Cow::Borrowed(advice),
            action: None,
            default_link: *link,
            name,
            account: None,
            has_own_advice: false,
            challenge: None,
        }
    }

    /// Sets the page's link, which replaces the default link.
    pub fn with_action(mut self, label: &'static str, href: impl Into<String>) -> Self {
        self.action = Some(Box::new(Action { label, href: href.into() }));
        self
    }

    /// Replaces the advice.
    pub fn with_advice(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.advice = advice.into();
        self.has_own_advice = true;
        self
    }

    /// Names the account in the advice, which is about missing access.
    pub fn with_account(mut self, name: &str) -> Self {
        self.advice = Texts::of(&[]).denied_as.replace("{}", name).into();
        self.account = Some(name.into());
        self
    }

    /// Returns the texts of the page: those of the browser's language, but for an English advice.
    fn texts(&self, visitor: &ResponseContext) -> &'static Texts {
        if self.has_own_advice { Texts::of(&[]) } else { visitor.texts }
    }

    /// Returns the page for a browser.
    fn page(&self, visitor: &ResponseContext) -> Result<HttpResponse, Self> {
        let t = self.texts(visitor);
        let texts = t.errors.get(self.name);
        let advice = match (&self.account, texts) {
            (Some(name), _) => t.denied_as.replace("{}", name),
            (None, Some([_, advice])) => advice.clone(),
            (None, None) => self.advice.to_string(),
        };
        let action = self.action.as_deref().cloned().or_else(|| self.default_link.action(visitor));
        let (label, href) = action.map(|of| (label(t, of.label).to_owned(), of.href)).unzip();
        page(
            self.status,
            &FailurePage {
                t,
                brand: Brand::standard(),
                title: texts.map_or(self.title, |[title, _]| title),
                advice,
                action: label.zip(href),
                request_id: &visitor.request_id,
            },
        )
    }

    /// Sets the value of `WWW-Authenticate`.
    pub fn with_challenge(mut self, challenge: &str) -> Self {
        self.challenge = Some(challenge.into());
        self
    }

    /// Renders the response in the client's format, with `Retry-After` in seconds for 429, 502 and
    /// 503.
    pub fn into_response(&self, visitor: &ResponseContext) -> HttpResponse {
        let mut response = match visitor.client {
            ClientKind::Grpc => return add_common_headers(grpc::refusal(self), visitor),
            ClientKind::Browser => self.page(visitor).unwrap_or_else(|_| self.json(visitor)),
            ClientKind::Program => self.json(visitor),
        };
        // RFC 9110, section 15.5.2: a 401 "MUST send a WWW-Authenticate header field".
        let challenge = match (&self.challenge, self.status) {
            (Some(challenge), _) => HeaderValue::from_str(challenge).ok(),
            (None, StatusCode::UNAUTHORIZED) => Some(HeaderValue::from_static("Cookie realm=\"narthex\"")),
            (None, _) => None,
        };
        response.headers_mut().extend(challenge.map(|challenge| (WWW_AUTHENTICATE, challenge)));
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
        }
        add_common_headers(response, visitor)
    }

    fn json(&self, visitor: &ResponseContext) -> HttpResponse {
        let text = serde_json::json!({
            "error": self.code,
            "message": format!("{}. {}", self.title, self.advice),
            "request_id": visitor.request_id,
        });
        with_body(self.status, "application/json", text.to_string())
    }
}

/// Returns the label of a link in the language of the page.
fn label<'t>(t: &'t Texts, english: &'t str) -> &'t str {
    match english {
        "Try again" => &t.try_again,
        "Sign in" => &t.sign_in,
        "Use another account" => &t.use_another_account,
        "Go to the start page" => &t.go_to_start_page,
        other => other,
    }
}
