//! The pages of the sign-in host, used as a browser without scripts uses them.

use super::aws::{Api, Boto, ok};
use super::mail::MailServer;
use super::narthex::NarthexBuilder;
use super::process::wait_until;
use super::totp::Authenticator;
use super::upstream::Upstream;
use super::visitor::{Visitor, redirect_target};
use reqwest::header::ACCEPT;
use reqwest::{Response, Url};
use serde_json::json;

/// A password that the default policy accepts.
pub const PASSWORD: &str = "Correct-Horse-7-Battery";
/// Another one.
pub const OTHER: &str = "Another-Horse-8-Staple";
/// A pool whose users sign up and sign in on the pages.
pub const POOL: &str = r#"
[[user_pool]]
name = "declared"
signing_algorithm = "ES256"
alias_attributes = ["email"]
sign_up = true
password_sign_in = true
"#;

/// A deployment with an app behind the gateway.
pub struct HostedScene {
    pub api: Api,
    pub upstream: Upstream,
    pub app: String,
}

impl HostedScene {
    pub async fn start(pool: &str) -> Self {
        Self::with_route(pool, "").await
    }

    /// As [`HostedScene::start`], with further keys of the app's route.
    pub async fn with_route(pool: &str, route: &str) -> Self {
        Self::with(pool, route, |builder| builder).await
    }

    /// As [`HostedScene::with_route`], with a changed builder.
    pub async fn with(
        pool: &str,
        route: &str,
        change: impl FnOnce(NarthexBuilder) -> NarthexBuilder,
    ) -> Self {
        let (upstream, mail) = (Upstream::start().await, MailServer::start("starttls", &[]));
        let narthex = change(Api::builder(&mail, pool).route("app", upstream.port, route)).start();
        let app = format!("{}/", narthex.origin("app"));
        Self { api: Api { narthex, mail }, upstream, app }
    }

    pub fn visitor(&self) -> Visitor {
        Visitor::new(&self.api.narthex)
    }

    /// Creates a confirmed user with [`PASSWORD`].
    pub fn create_user(&self, boto: &mut Boto, name: &str) {
        let pool = self.api.pool_id();
        let email = format!("{name}@example.com");
        let attributes =
            json!([{ "Name": "email", "Value": email }, { "Name": "email_verified", "Value": "true" }]);
        let request = json!({
            "UserPoolId": pool, "Username": name, "UserAttributes": attributes, "MessageAction": "SUPPRESS",
        });
        ok(boto, "AdminCreateUser", request);
        let set = json!({ "UserPoolId": pool, "Username": name, "Password": PASSWORD, "Permanent": true });
        ok(boto, "AdminSetUserPassword", set);
    }
}

/// A page that was received.
pub struct Page {
    pub url: Url,
    pub status: u16,
    pub html: String,
}

impl Page {
    /// Reads a response.
    pub async fn of(response: Response) -> Self {
        let (url, status) = (response.url().clone(), response.status().as_u16());
        Self { url, status, html: response.text().await.unwrap() }
    }

    /// Returns the address and the fields of the `number`-th form with `method="post"`.
    pub fn form(&self, number: usize) -> (Url, Vec<(String, String)>) {
        let form = self.html.split("<form").filter(|form| form.contains("method=\"post\"")).nth(number);
        let form = form.unwrap_or_else(|| panic!("no form {number} in:\n{}", self.html));
        let form = form.split("</form>").next().unwrap();
        let attribute = |tag: &str, name: &str| {
            let value = tag.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?;
            Some(
                value
                    .replace("&#38;", "&")
                    .replace("&#34;", "\"")
                    .replace("&#39;", "'")
                    .replace("&#60;", "<"),
            )
        };
        let action = self.url.join(&attribute(form, "action").unwrap()).unwrap();
        let fields = form
            .split("<input")
            .skip(1)
            .map(|tag| (attribute(tag, "name").unwrap(), attribute(tag, "value").unwrap_or_default()));
        (action, fields.collect())
    }

    /// Returns the value that a field of the first form has.
    pub fn value(&self, name: &str) -> String {
        let (_, fields) = self.form(0);
        fields.into_iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no field {name}")).1
    }

    /// Returns the address of the link with this label.
    pub fn link(&self, label: &str) -> String {
        let before = self.html.split(&format!(">{label}</a>")).next().unwrap();
        assert!(before.len() < self.html.len(), "no link {label} in:\n{}", self.html);
        let href = before.rsplit("href=\"").next().unwrap().split('"').next().unwrap();
        self.url.join(&href.replace("&#38;", "&")).unwrap().to_string()
    }

    /// Asserts that the page has these words.
    pub fn assert_shows(&self, words: &str) {
        assert!(self.html.contains(words), "{} ({}) lacks {words:?}:\n{}", self.url, self.status, self.html);
    }
}

impl Visitor {
    /// Opens a page, and follows redirects within the sign-in host and to it.
    pub async fn open(&self, url: &str) -> Page {
        Page::of(self.follow(url).await).await
    }

    /// Sends the `number`-th form of a page with these values, as its browser would.
    pub async fn send_form(&self, page: &Page, number: usize, values: &[(&str, &str)]) -> Response {
        let (action, mut fields) = page.form(number);
        for (name, value) in values {
            match fields.iter_mut().find(|(known, _)| known == name) {
                Some(field) => (*value).clone_into(&mut field.1),
                // A button.
                None if page.html.contains(&format!("type=\"submit\" name=\"{name}\"")) => {
                    fields.push(((*name).to_owned(), (*value).to_owned()));
                }
                None => panic!("no field {name} in:\n{}", page.html),
            }
        }
        let origin = page.url.origin().ascii_serialization();
        let request = self.client.post(action).header(ACCEPT, "text/html").header("origin", origin);
        request.form(&fields).send().await.unwrap()
    }

    /// Sends the first form, and returns the page that follows.
    pub async fn submit(&self, page: &Page, values: &[(&str, &str)]) -> Page {
        Page::of(self.send_form(page, 0, values).await).await
    }

    /// Sends the first form, which leads on to another site, and returns the address there.
    pub async fn submit_onward(&self, page: &Page, values: &[(&str, &str)]) -> String {
        let response = self.send_form(page, 0, values).await;
        if let Some(to) = redirect_target(&response) {
            return to;
        }
        let refresh = response.headers().get("refresh").map(|value| value.to_str().unwrap().to_owned());
        let page = Page::of(response).await;
        let refresh = refresh.unwrap_or_else(|| panic!("no way on:\n{}", page.html));
        refresh.strip_prefix("0;url=").unwrap().to_owned()
    }
}

/// Returns the link in the newest of `count` messages to `address`.
pub fn link(scene: &HostedScene, address: &str, count: usize) -> String {
    wait_until("a message", || scene.api.mail.count(address) >= count);
    let accepted = scene.api.mail.accepted();
    let message = accepted.iter().rfind(|message| message["to"] == address).unwrap();
    let text = message["text"].as_str().unwrap().replace("\r\n", "\n").replace("=\n", "").replace("=3D", "=");
    let start = text.find("https://").unwrap_or_else(|| panic!("{text}"));
    text[start..].split(['\n', '"', ' ']).next().unwrap().to_owned()
}

/// Returns the app with the key of a page.
pub fn authenticator(page: &Page) -> Authenticator {
    page.assert_shows("<svg class=\"qr\"");
    let key = page.html.split("<code dir=\"ltr\">").nth(1).unwrap().split('<').next().unwrap();
    Authenticator::new(key)
}

/// Sends the form of the page that has a button with this label.
pub async fn press(visitor: &Visitor, page: &Page, label: &str, values: &[(&str, &str)]) -> Page {
    let forms = page.html.split("<form").filter(|form| form.contains("method=\"post\""));
    let button = format!("type=\"submit\">{label}</button>");
    let found = forms.enumerate().find(|(_, form)| form.contains(&button));
    let (number, _) = found.unwrap_or_else(|| panic!("no button {label} in:\n{}", page.html));
    Page::of(visitor.send_form(page, number, values).await).await
}
