//! What handlers need to know of a request.

use crate::directory::Browser;
use crate::pages::ErrorResponse;
use axum::extract::FromRequestParts;
use http::request::Parts;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;

/// How much of a `User-Agent` is kept.
const MAX_USER_AGENT_LENGTH: usize = 256;

/// What the gateway knows of a request, handed on in its extensions, and its headers.
#[derive(Clone, Debug)]
pub struct RequestData {
    /// The request's id.
    pub request_id: String,
    /// The client's address, as far as trusted proxies tell it.
    pub client: Option<IpAddr>,
    headers: http::HeaderMap,
    query: String,
}

/// What the gateway puts into a request's extensions.
#[derive(Clone, Debug, Default)]
pub struct RequestOrigin {
    /// The request's id.
    pub request_id: String,
    /// The client's address.
    pub client: Option<IpAddr>,
}

/// Parameters, each of which came exactly once.
pub type Form = HashMap<String, String>;

impl RequestData {
    /// The request's `Cookie` headers.
    pub fn cookies(&self) -> impl Iterator<Item = &[u8]> {
        self.headers.get_all(http::header::COOKIE).iter().map(http::HeaderValue::as_bytes)
    }

    /// The text of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How often a header comes.
    pub fn count(&self, name: &http::HeaderName) -> usize {
        self.headers.get_all(name).iter().count()
    }

    /// A browser says where a form comes from; an old one at least from which origin. SameSite=Lax has
    /// kept the cookie out already where that is another site.
    ///
    /// # Errors
    /// Where the form is of another origin than `own`.
    pub fn same_origin(&self, own: &str) -> Result<(), ErrorResponse> {
        let same = match self.header("sec-fetch-site") {
            Some(site) => site == "same-origin",
            None => self.header("origin") == Some(own),
        };
        if same { Ok(()) } else { Err(ErrorResponse::bad_request()) }
    }

    /// The client's address, for log lines.
    pub fn client(&self) -> String {
        self.client.map_or_else(String::new, |ip| ip.to_string())
    }

    /// What the browser tells of itself, as far as it is kept.
    pub fn browser(&self) -> Browser {
        let user_agent = self.header("user-agent").unwrap_or_default();
        Browser {
            user_agent: user_agent.chars().take(MAX_USER_AGENT_LENGTH).collect(),
            address: self.client(),
        }
    }

    /// The query's parameters; `None` where one comes twice.
    pub fn parameters(&self) -> Option<Form> {
        form(&self.query)
    }
}

/// The parameters of a query or form; `None` where one comes twice.
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
        let RequestOrigin { request_id, client } = origin.unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        // Nothing else asks for them: what a body is taken for is the handler's to say.
        Ok(Self { request_id, client, headers: std::mem::take(&mut parts.headers), query })
    }
}
