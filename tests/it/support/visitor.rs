//! A visitor with a cookie jar, who follows redirects and fills in forms as a browser would, and
//! sees every step.

use super::narthex::Narthex;
use reqwest::header::{ACCEPT, LOCATION};
use reqwest::{Client, Method, Response, StatusCode, Url};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// *.localhost is this machine, whatever the C library knows.
struct Localhost(IpAddr);

impl reqwest::dns::Resolve for Localhost {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let addresses: Box<dyn Iterator<Item = SocketAddr> + Send> =
            Box::new(std::iter::once(SocketAddr::from((self.0, 0))));
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
        Self::at(narthex, Arc::default(), make)
    }

    /// The same person, in the same browser, sent to another node.
    pub fn sent_to(&self, narthex: &Narthex) -> Self {
        self.sent_to_from(narthex, [127, 0, 0, 1].into())
    }

    /// The same from an address of one's own.
    pub fn sent_to_from(&self, narthex: &Narthex, address: IpAddr) -> Self {
        Self::at(narthex, self.jar.clone(), |builder| builder.local_address(address))
    }

    /// Somebody who trusts `authority`.
    pub fn trusting(
        authority: reqwest::Certificate,
        make: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Self {
        Self::made(authority, [127, 0, 0, 1].into(), Arc::default(), make)
    }

    fn at(
        narthex: &Narthex,
        jar: Arc<reqwest::cookie::Jar>,
        make: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Self {
        Self::made(narthex.authority(), narthex.address, jar, make)
    }

    fn made(
        authority: reqwest::Certificate,
        address: IpAddr,
        jar: Arc<reqwest::cookie::Jar>,
        make: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Self {
        let builder = Client::builder()
            .cookie_provider(jar.clone())
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(Localhost(address)))
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

    /// Goes on from the answer to a sign-out to the provider, agrees there, and comes back.
    pub async fn leave(&self, signed_out: Response, provider: &str) -> Response {
        let onward = match next(&signed_out) {
            Some(url) => url,
            None => {
                is(&signed_out, 200);
                let refresh = signed_out.headers().get("refresh").expect("a way on").to_str().unwrap();
                refresh.strip_prefix("0;url=").unwrap().to_owned()
            }
        };
        assert!(onward.starts_with("http://127.0.0.1"), "the way leads to {provider}: {onward}");
        let answer = self.end_at_provider(&onward).await;
        self.follow(&next(&answer).expect("the provider sends its visitor back")).await
    }

    /// Ends the session at the provider, on the page that asks whether to.
    pub async fn end_at_provider(&self, page: &str) -> Response {
        let asked = self.follow(page).await;
        let url = asked.url().clone();
        let page = asked.text().await.unwrap();
        let action = url.join(&form_action(&page)).unwrap();
        let xsrf =
            page.split("name=\"xsrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let fields = [("xsrf", xsrf), ("logout", "yes")];
        self.client.post(action).form(&fields).send().await.unwrap()
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

pub async fn bring(narthex: &Narthex, token: &str) -> Response {
    let client = Visitor::new(narthex).client;
    client.get(format!("{}/", narthex.origin("app"))).bearer_auth(token).send().await.unwrap()
}

pub async fn status(visitor: &Visitor, method: Method, url: &str) -> u16 {
    visitor.program(method, url).await.status().as_u16()
}
