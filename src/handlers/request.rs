//! Request data for handlers.

use crate::directory::Browser;
use crate::pages::{ErrorResponse, Texts, accepted_languages};
use axum::extract::FromRequestParts;
use http::request::Parts;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;

/// Maximum number of languages that are looked up.
const MAX_LANGUAGES: usize = 20;
/// Maximum stored length of a `User-Agent` in characters.
const MAX_USER_AGENT_LENGTH: usize = 256;

/// The gateway's information on a request, from its extensions, and the headers.
#[derive(Clone, Debug)]
pub struct RequestData {
    /// The request id.
    pub request_id: String,
    /// The client address, as determined by trusted proxies.
    pub client: Option<IpAddr>,
    headers: http::HeaderMap,
    query: String,
}

/// The extension that the gateway adds to a request.
#[derive(Clone, Debug, Default)]
pub struct RequestOrigin {
    /// The request id.
    pub request_id: String,
    /// The client address.
    pub client: Option<IpAddr>,
    /// The path and query as the client sent them, which a signature covers.
    pub target: String,
}

/// Parameters by name; each occurs once.
pub type Form = HashMap<String, String>;

impl RequestData {
    /// Iterates over the `Cookie` headers.
    pub fn cookies(&self) -> impl Iterator<Item = &[u8]> {
        self.headers.get_all(http::header::COOKIE).iter().map(http::HeaderValue::as_bytes)
    }

    /// Returns the headers.
    pub fn headers(&self) -> &http::HeaderMap {
        &self.headers
    }

    /// Returns a header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the number of occurrences of a header.
    pub fn count(&self, name: &http::HeaderName) -> usize {
        self.headers.get_all(name).iter().count()
    }

    /// Verifies by `Sec-Fetch-Site` or `Origin` that a form is same-origin. `SameSite=Lax` already
    /// withholds the cookie from cross-site forms.
    ///
    /// # Errors
    /// A 400 response, if the form is from another origin than `own`.
    pub fn same_origin(&self, own: &str) -> Result<(), ErrorResponse> {
        let same = match self.header("sec-fetch-site") {
            Some(site) => site == "same-origin",
            None => self.header("origin") == Some(own),
        };
        if same { Ok(()) } else { Err(ErrorResponse::bad_request()) }
    }

    /// Returns the client address for log lines.
    pub fn client(&self) -> String {
        self.client.map_or_else(String::new, |ip| ip.to_string())
    }

    /// Returns the browser's description, truncated.
    pub fn browser(&self) -> Browser {
        let user_agent = self.header("user-agent").unwrap_or_default();
        Browser {
            user_agent: user_agent.chars().take(MAX_USER_AGENT_LENGTH).collect(),
            address: self.client(),
        }
    }

    /// Returns the texts of the pages in the browser's language, or in that of `lang` or
    /// `ui_locales` (OpenID Connect Core 1.0, section 3.1.2.1).
    pub fn texts(&self) -> &'static Texts {
        let asked = url::form_urlencoded::parse(self.query.as_bytes());
        let asked: Vec<_> = asked
            .filter(|(name, _)| name == "lang" || name == "ui_locales")
            .map(|(_, value)| value)
            .collect();
        self.texts_of(&asked.join(" "))
    }

    /// Returns the texts in the first of the languages `asked`, which are separated by spaces, or
    /// in the browser's.
    pub fn texts_of(&self, asked: &str) -> &'static Texts {
        let asked = asked.split(' ').filter(|language| !language.is_empty());
        let accepted = accepted_languages(self.header("accept-language").unwrap_or_default());
        Texts::of(&asked.chain(accepted).take(MAX_LANGUAGES).collect::<Vec<_>>())
    }

    /// Returns the query's parameters; `None` if one is repeated.
    pub fn parameters(&self) -> Option<Form> {
        form(&self.query)
    }
}

/// Parses the parameters of a query or form; `None` if one is repeated.
///
/// RFC 6749, section 3.1: "Request and response parameters MUST NOT be included more than once."
pub fn form(text: &str) -> Option<Form> {
    let mut form = Form::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        if form.insert(name.into_owned(), value.into_owned()).is_some() {
            return None;
        }
    }
    Some(form)
}

impl<S: Send + Sync> FromRequestParts<S> for RequestData {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let origin = parts.extensions.remove();
        let RequestOrigin { request_id, client, .. } = origin.unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        // No other extractor needs the headers: the handler decides on the interpretation of the
        // body.
        Ok(Self { request_id, client, headers: std::mem::take(&mut parts.headers), query })
    }
}
