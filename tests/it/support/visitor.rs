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
        Self::with_client(narthex, |builder| builder)
    }

    /// Creates a visitor whose HTTP client is built by `make`.
    pub fn with_client(
        narthex: &Narthex,
        make: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Self {
        Self::at(narthex, Arc::default(), make)
    }

    /// Returns the same visitor, with the same cookies, as a client of another node.
    pub fn on_node(&self, narthex: &Narthex) -> Self {
        self.on_node_from(narthex, [127, 0, 0, 1].into())
    }

    /// Returns the same visitor as a client of another node, from the given address.
    pub fn on_node_from(&self, narthex: &Narthex, address: IpAddr) -> Self {
        Self::at(narthex, self.jar.clone(), |builder| builder.local_address(address))
    }

    /// Creates a visitor who trusts `authority`.
    pub fn with_authority(
        authority: reqwest::Certificate,
        make: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Self {
        Self::build(authority, [127, 0, 0, 1].into(), Arc::default(), make)
    }

    fn at(
        narthex: &Narthex,
        jar: Arc<reqwest::cookie::Jar>,
        make: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Self {
        Self::build(narthex.authority(), narthex.address, jar, make)
    }

    fn build(
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

    /// Sends one request as a program sends it: it accepts JSON only.
    pub async fn request_json(&self, method: Method, url: &str) -> Response {
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
            match redirect_target(&response) {
                Some(to) => url = to,
                None => return Ok(response),
            }
        }
        panic!("more than 20 redirects, the last to {url}");
    }

    /// Follows `url`, and signs in as `login` at the provider's form.
    pub async fn sign_in(&self, url: &str, login: &str) -> Response {
        self.follow_and_sign_in(url, login).await.unwrap()
    }

    /// Follows `url` and signs in as `login`. Returns nothing if a connection fails.
    pub async fn try_sign_in(&self, url: &str, login: &str) -> Option<Response> {
        self.follow_and_sign_in(url, login).await.ok()
    }

    /// Follows the response to a sign-out to the provider, confirms there, and follows the
    /// redirects back.
    pub async fn confirm_sign_out(&self, signed_out: Response, provider: &str) -> Response {
        let onward = match redirect_target(&signed_out) {
            Some(url) => url,
            None => {
                assert_status(&signed_out, 200);
                let refresh = signed_out.headers().get("refresh").expect("a way on").to_str().unwrap();
                refresh.strip_prefix("0;url=").unwrap().to_owned()
            }
        };
        assert!(onward.starts_with("http://127.0.0.1"), "the way leads to {provider}: {onward}");
        let answer = self.end_provider_session(&onward).await;
        self.follow(&redirect_target(&answer).expect("the provider sends its visitor back")).await
    }

    /// Ends the session at the provider, by the form of its page at `page`.
    pub async fn end_provider_session(&self, page: &str) -> Response {
        let asked = self.follow(page).await;
        let url = asked.url().clone();
        let page = asked.text().await.unwrap();
        let action = url.join(&form_action(&page)).unwrap();
        let xsrf =
            page.split("name=\"xsrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let fields = [("xsrf", xsrf), ("logout", "yes")];
        self.client.post(action).form(&fields).send().await.unwrap()
    }

    /// Follows redirects from `url`, and fills in the provider's forms.
    async fn follow_and_sign_in(&self, url: &str, login: &str) -> reqwest::Result<Response> {
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
            response = match redirect_target(&answer) {
                Some(url) => self.try_follow(&url).await?,
                None => answer,
            };
        }
        Ok(response)
    }
}

/// Returns the address that a response redirects to, if it is a redirect.
pub fn redirect_target(response: &Response) -> Option<String> {
    response.status().is_redirection().then(|| location(response).to_string())
}

/// Returns the address in the `Location` field of a response.
pub fn location(response: &Response) -> Url {
    let location = response.headers().get(LOCATION).expect("a redirect").to_str().unwrap();
    response.url().join(location).unwrap()
}

fn form_action(page: &str) -> String {
    let action = page.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
    action.unwrap_or_else(|| panic!("no form in:\n{page}")).replace("&amp;", "&")
}

/// Asserts the status of a response.
pub fn assert_status(response: &Response, status: u16) {
    assert_eq!(response.status(), StatusCode::from_u16(status).unwrap(), "{}", response.url());
}

/// Sends a GET with a bearer token to the app.
pub async fn get_with_token(narthex: &Narthex, token: &str) -> Response {
    let client = Visitor::new(narthex).client;
    client.get(format!("{}/", narthex.origin("app"))).bearer_auth(token).send().await.unwrap()
}

/// Sends one request as a program sends it, and returns the status of the response.
pub async fn request_status(visitor: &Visitor, method: Method, url: &str) -> u16 {
    visitor.request_json(method, url).await.status().as_u16()
}
