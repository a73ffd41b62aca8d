//! A visitor with a cookie jar, who follows redirects and fills in forms as a browser would, and sees
//! every step.

use super::narthex::Narthex;
use reqwest::header::{ACCEPT, LOCATION};
use reqwest::{Client, Method, Response, StatusCode, Url};
use std::net::SocketAddr;
use std::sync::Arc;

/// *.localhost is this machine, whatever the C library knows.
struct Localhost;

impl reqwest::dns::Resolve for Localhost {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let addresses: Box<dyn Iterator<Item = SocketAddr> + Send> =
            Box::new(std::iter::once(([127, 0, 0, 1], 0).into()));
        Box::pin(async move { Ok(addresses) })
    }
}

/// A visitor.
#[derive(Clone)]
pub struct Visitor {
    pub client: Client,
    pub jar: Arc<reqwest::cookie::Jar>,
}

impl Visitor {
    /// Somebody who trusts the authority of `narthex`.
    pub fn new(narthex: &Narthex) -> Self {
        Self::with(narthex, |builder| builder)
    }

    /// The same with a client of one's own making.
    pub fn with(
        narthex: &Narthex,
        make: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Self {
        Self::trusting(narthex.authority(), make)
    }

    /// Somebody who trusts `authority`.
    pub fn trusting(
        authority: reqwest::Certificate,
        make: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Self {
        let jar = Arc::new(reqwest::cookie::Jar::default());
        let builder = Client::builder()
            .cookie_provider(jar.clone())
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(Localhost))
            .timeout(std::time::Duration::from_secs(30))
            .tls_certs_only([authority]);
        Self { client: make(builder).build().unwrap(), jar }
    }

    /// One GET as a browser's navigation sends it.
    pub async fn get(&self, url: &str) -> Response {
        self.client.get(url).header(ACCEPT, "text/html").send().await.unwrap()
    }

    /// One request as a program sends it.
    pub async fn program(&self, method: Method, url: &str) -> Response {
        self.client.request(method, url).header(ACCEPT, "application/json").send().await.unwrap()
    }

    /// Follows redirects from `url` until there is none.
    pub async fn follow(&self, url: &str) -> Response {
        self.try_follow(url).await.unwrap()
    }

    async fn try_follow(&self, url: &str) -> reqwest::Result<Response> {
        let mut url = url.to_owned();
        for _ in 0..20 {
            let response = self.client.get(&url).header(ACCEPT, "text/html").send().await?;
            match next(&response) {
                Some(to) => url = to,
                None => return Ok(response),
            }
        }
        panic!("more than 20 redirects, the last to {url}");
    }

    /// Goes to `url`, and signs in as `login` wherever a provider asks.
    pub async fn land(&self, url: &str, login: &str) -> Response {
        self.walk(url, login).await.unwrap()
    }

    /// The same where the other side may be gone at any moment.
    pub async fn try_land(&self, url: &str, login: &str) -> Option<Response> {
        self.walk(url, login).await.ok()
    }

    async fn walk(&self, url: &str, login: &str) -> reqwest::Result<Response> {
        let mut response = self.try_follow(url).await?;
        for _ in 0..3 {
            let url = response.url().clone();
            if url.host_str() != Some("127.0.0.1") {
                break;
            }
            let page = response.text().await?;
            let action = url.join(&form_action(&page)).unwrap();
            let fields = [("prompt", "login"), ("login", login), ("password", "any")];
            let answer = self.client.post(action).form(&fields).send().await?;
            response = match next(&answer) {
                Some(url) => self.try_follow(&url).await?,
                None => answer,
            };
        }
        Ok(response)
    }
}

/// Where a response sends its reader.
pub fn next(response: &Response) -> Option<String> {
    response.status().is_redirection().then(|| location(response).to_string())
}

/// Where a response sends its reader.
pub fn location(response: &Response) -> Url {
    let location = response.headers().get(LOCATION).expect("a redirect").to_str().unwrap();
    response.url().join(location).unwrap()
}

fn form_action(page: &str) -> String {
    let action = page.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
    action.unwrap_or_else(|| panic!("no form in:\n{page}")).replace("&amp;", "&")
}

/// The status, for messages.
pub fn is(response: &Response, status: u16) {
    assert_eq!(response.status(), StatusCode::from_u16(status).unwrap(), "{}", response.url());
}
