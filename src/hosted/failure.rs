//! What a refusal looks like: a page for people, JSON for programs. Neither tells anything of the
//! inside; the request id leads to the log line that does.

use super::pages::{FailurePage, page};
use super::{Answer, Reader, Visitor, body, finish, grpc};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use std::borrow::Cow;

/// A way on, offered on the page of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What the button says.
    pub label: &'static str,
    /// Where it leads: an address of ours.
    pub href: String,
}

/// A refusal or a fault, as the other side sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status.
    pub status: StatusCode,
    /// A stable word for programs.
    pub code: &'static str,
    /// What happened, in a few words.
    pub title: &'static str,
    /// What to do about it.
    pub advice: Cow<'static, str>,
    /// A way on.
    pub action: Option<Action>,
    /// What credentials would help (RFC 9110, section 11.6.1), where that is not a session.
    pub challenge: Option<Box<str>>,
}

/// Status, code, title, advice.
type Row = (StatusCode, &'static str, &'static str, &'static str);

const BAD_REQUEST: Row = (
    StatusCode::BAD_REQUEST,
    "bad_request",
    "That request cannot be understood",
    "Check the address, or go back and try again.",
);
const BAD_PATH: Row = (
    StatusCode::BAD_REQUEST,
    "bad_path",
    "That address cannot be served",
    "It holds something that is read in more than one way. Type it plainly.",
);
const SIGN_IN_REQUIRED: Row = (
    StatusCode::UNAUTHORIZED,
    "sign_in_required",
    "Please sign in",
    "Your session is over, and what you sent has not been passed on. Sign in and send it again.",
);
const FORBIDDEN: Row = (
    StatusCode::FORBIDDEN,
    "forbidden",
    "This account may not sign in here",
    "Sign in with another account, or ask your administrator for access and name the request below.",
);
const ACCESS_DENIED: Row = (
    StatusCode::FORBIDDEN,
    "access_denied",
    "You have no access to this",
    "If you should have, ask your administrator and name the request below.",
);
const INVALID_TOKEN: Row = (
    StatusCode::UNAUTHORIZED,
    "invalid_token",
    "That token does not count here",
    "Get a new one, and send the request again.",
);
const INSUFFICIENT_SCOPE: Row = (
    StatusCode::FORBIDDEN,
    "insufficient_scope",
    "That token does not reach so far",
    "Get one with the scopes that this needs.",
);
const NOT_FOUND: Row = (
    StatusCode::NOT_FOUND,
    "not_found",
    "There is nothing here",
    "Check the address. If it should be right, ask your administrator.",
);
const METHOD_NOT_ALLOWED: Row = (
    StatusCode::METHOD_NOT_ALLOWED,
    "method_not_allowed",
    "That method is not supported here",
    "Use another method.",
);
const EXPECTATION_FAILED: Row = (
    StatusCode::EXPECTATION_FAILED,
    "expectation_failed",
    "That expectation cannot be met",
    "Send the request without the Expect header.",
);
const TOO_LARGE: Row = (
    StatusCode::PAYLOAD_TOO_LARGE,
    "too_large",
    "That is too much at once",
    "Send less, or in several parts.",
);
const HEADERS_TOO_LARGE: Row = (
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "headers_too_large",
    "Your browser sent too much along",
    "Remove this site's cookies and try again.",
);
const TOO_MANY_FAILURES: Row = (
    StatusCode::TOO_MANY_REQUESTS,
    "too_many_failures",
    "That went wrong too often",
    "Wait a minute, and sign in again.",
);
const SIGN_IN_FAILED: Row = (
    StatusCode::BAD_REQUEST,
    "sign_in_failed",
    "Sign-in did not work",
    "Try again. If it keeps happening, tell your administrator the request below.",
);
const COOKIE_LOST: Row = (
    StatusCode::LOOP_DETECTED,
    "sign_in_loop",
    "You signed in, but your browser forgot it",
    "Your browser does not keep this site's cookies. Allow them for this address, and try again.",
);
const SESSION_UNKNOWN: Row = (
    StatusCode::LOOP_DETECTED,
    "sign_in_loop",
    "You signed in, but the session is not known here",
    "Tell your administrator the request below: several servers may not share one store, or a clock is wrong.",
);
const ATTEMPT_LOST: Row = (
    StatusCode::BAD_REQUEST,
    "sign_in_expired",
    "This sign-in is no longer open",
    "It took too long, was finished already, or your browser did not keep its cookie. Start again.",
);
const PROVIDER_REFUSED: Row = (
    StatusCode::FORBIDDEN,
    "provider_refused",
    "The sign-in was not completed",
    "The provider ended it, or you did. Start again, perhaps with another account.",
);
const UNSOLICITED: Row = (
    StatusCode::BAD_REQUEST,
    "sign_in_not_requested",
    "Sign-in cannot start at the provider",
    "Start at the app instead. If it should work from here, ask your administrator and name the request below.",
);
const PROVIDER_DOWN: Row = (
    StatusCode::BAD_GATEWAY,
    "provider_unavailable",
    "The sign-in provider does not answer",
    "Wait a moment and try again, or choose another provider.",
);
const PROVIDER_UNREADABLE: Row = (
    StatusCode::BAD_GATEWAY,
    "provider_answer_unreadable",
    "The sign-in provider's answer cannot be read",
    "Try again, or choose another provider. If it keeps happening, tell your administrator the request below.",
);
const UPSTREAM_DOWN: Row = (
    StatusCode::BAD_GATEWAY,
    "upstream_unavailable",
    "The app does not answer",
    "Wait a moment and try again. If it keeps happening, tell your administrator the request below.",
);
const UNAVAILABLE: Row = (
    StatusCode::SERVICE_UNAVAILABLE,
    "unavailable",
    "Sign-in is not possible right now",
    "Wait a moment and try again.",
);
const SIGN_OUT_UNAVAILABLE: Row = (
    StatusCode::SERVICE_UNAVAILABLE,
    "sign_out_unavailable",
    "Sign-out is not possible right now",
    "You are still signed in. Wait a moment and try again, or close the browser.",
);
const INTERNAL: Row = (
    StatusCode::INTERNAL_SERVER_ERROR,
    "internal",
    "Something went wrong here",
    "Try again. If it keeps happening, tell your administrator the request below.",
);

macro_rules! failures {
    ($($(#[$doc:meta])* $name:ident = $row:ident;)*) => {
        impl Failure {
            $($(#[$doc])* pub fn $name() -> Self { Self::from_row(&$row) })*
        }
    };
}

failures! {
    /// The request is malformed.
    bad_request = BAD_REQUEST;
    /// The path is ambiguous.
    bad_path = BAD_PATH;
    /// Nobody is signed in, and the request cannot be sent to sign in and back.
    sign_in_required = SIGN_IN_REQUIRED;
    /// The account may not sign in.
    forbidden = FORBIDDEN;
    /// Policies do not let the principal have it.
    access_denied = ACCESS_DENIED;
    /// The bearer token is not believed.
    invalid_token = INVALID_TOKEN;
    /// The bearer token lacks a scope.
    insufficient_scope = INSUFFICIENT_SCOPE;
    /// No route, no page.
    not_found = NOT_FOUND;
    /// The method has no meaning for any address.
    method_not_allowed = METHOD_NOT_ALLOWED;
    /// The client expects something unknown.
    expectation_failed = EXPECTATION_FAILED;
    /// The body is larger than a page of ours takes.
    too_large = TOO_LARGE;
    /// The headers are larger than is taken.
    headers_too_large = HEADERS_TOO_LARGE;
    /// Too many sign-ins from the same address have failed.
    too_many_failures = TOO_MANY_FAILURES;
    /// A check of the sign-in failed.
    sign_in_failed = SIGN_IN_FAILED;
    /// Sign-ins follow on one another, since the browser does not bring the session's cookie back.
    cookie_lost = COOKIE_LOST;
    /// Sign-ins follow on one another, since the session that the browser brings back is unknown.
    session_unknown = SESSION_UNKNOWN;
    /// The attempt is over, used, or another browser's.
    attempt_lost = ATTEMPT_LOST;
    /// The provider began a sign-in that nobody asked for, where the file does not let it.
    unsolicited = UNSOLICITED;
    /// The provider refused the person.
    provider_refused = PROVIDER_REFUSED;
    /// The provider is down, slow or broken.
    provider_down = PROVIDER_DOWN;
    /// The provider answers what cannot be read.
    provider_unreadable = PROVIDER_UNREADABLE;
    /// The upstream is down, slow or broken.
    upstream_down = UPSTREAM_DOWN;
    /// The store does not answer.
    unavailable = UNAVAILABLE;
    /// The store does not answer, so that no session can be ended.
    sign_out_unavailable = SIGN_OUT_UNAVAILABLE;
    /// A fault of ours.
    internal = INTERNAL;
}

impl Failure {
    fn from_row((status, code, title, advice): &Row) -> Self {
        Self { status: *status, code, title, advice: Cow::Borrowed(advice), action: None, challenge: None }
    }

    /// The same with a way on.
    pub fn with_action(mut self, label: &'static str, href: impl Into<String>) -> Self {
        self.action = Some(Action { label, href: href.into() });
        self
    }

    /// The same with other words on what to do.
    pub fn with_advice(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.advice = advice.into();
        self
    }

    /// The same with a challenge of its own.
    pub fn with_challenge(mut self, challenge: &str) -> Self {
        self.challenge = Some(challenge.into());
        self
    }

    /// The failure as an answer for `visitor`.
    pub fn answer(&self, visitor: &Visitor) -> Answer {
        let mut answer = match visitor.reader {
            Reader::Grpc => return finish(grpc::refusal(self), visitor),
            Reader::Person => {
                page(self.status, &FailurePage { failure: self, request_id: &visitor.request_id })
                    .unwrap_or_else(|_| self.json(visitor))
            }
            Reader::Program => self.json(visitor),
        };
        // RFC 9110, section 15.5.2: a 401 "MUST send a WWW-Authenticate header field".
        let challenge = match (&self.challenge, self.status) {
            (Some(challenge), _) => HeaderValue::from_str(challenge).ok(),
            (None, StatusCode::UNAUTHORIZED) => Some(HeaderValue::from_static("Cookie realm=\"narthex\"")),
            (None, _) => None,
        };
        answer.headers_mut().extend(challenge.map(|challenge| (WWW_AUTHENTICATE, challenge)));
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY) {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
        }
        finish(answer, visitor)
    }

    fn json(&self, visitor: &Visitor) -> Answer {
        let text = serde_json::json!({
            "error": self.code,
            "message": format!("{}. {}", self.title, self.advice),
            "request_id": visitor.request_id,
        });
        body(self.status, "application/json", text.to_string())
    }
}
