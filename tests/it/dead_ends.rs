//! Error pages in Chromium: each has a link or a button, and that leads to a page that works.

use crate::support::browser::{self, DESK, Look, wait_for_text};
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::odd_provider::OddProvider;
use crate::support::pages::{follow_to_provider, query_parameter};
use crate::support::parties::{Postgres, provider_toml};
use crate::support::process::{free_port, wait_until};
use crate::support::saml_provider::{SamlProvider, SamlRequest, Signed, base64};
use crate::support::time::WallClock;
use crate::support::upstream::Upstream;
use crate::support::visitor::Visitor;
use fantoccini::{Client, Locator};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

const PHONE: Look = Look { width: 320, height: 640, ..DESK };
/// A page of the app.
const APP: &str = "x-amzn-oidc-data";
const CHOICE: &str = "Continue with Corp";
const START: &str = "Go to the start page";
/// A folder for screenshots of each page, where somebody wants them.
const SCREENSHOTS: &str = "NARTHEX_SCREENSHOTS";

/// A browser at a deployment with one provider whose answers change.
struct Walk {
    browser: Client,
    narthex: Narthex,
    provider: Arc<OddProvider>,
}

impl Walk {
    async fn begin(narthex: Narthex, provider: Arc<OddProvider>) -> Self {
        Self { browser: browser::open(PHONE).await, narthex, provider }
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("{}{path}", self.narthex.origin(host))
    }

    async fn open(&self, host: &str, path: &str) {
        self.browser.goto(&self.url(host, path)).await.unwrap();
    }

    async fn click(&self, css: &str) {
        self.browser.wait().for_element(Locator::Css(css)).await.unwrap().click().await.unwrap();
    }

    async fn run(&self, script: &str) -> Value {
        self.browser.execute(script, vec![]).await.unwrap()
    }

    /// Checks that the page says `title` and fits a phone, and that its first button says `button`,
    /// if it has one.
    async fn shows(&self, title: &str, button: &str) {
        wait_for_text(&self.browser, title).await;
        let width = self.run("return document.documentElement.scrollWidth").await.as_u64().unwrap();
        assert!(width <= 320, "`{title}` is {width} wide");
        let round = "return getComputedStyle(document.querySelector('.card')).borderRadius !== '0px'";
        assert_eq!(self.run(round).await, true, "`{title}` has no style sheet");
        let text = "return document.querySelector('.button')?.innerText.split('\\n').pop() ?? ''";
        assert_eq!(self.run(text).await, button, "`{title}`");
        let Some(folder) = std::env::var_os(SCREENSHOTS) else { return };
        let name: String = format!("{title} {button}")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        for (width, dark) in [(390, false), (390, true), (1280, false), (1280, true)] {
            let look = Look { width, height: 800, dark, ..DESK };
            browser::set_look(&self.browser, look).await;
            let file = format!("{name}-{width}-{}.png", if dark { "dark" } else { "light" });
            std::fs::write(PathBuf::from(&folder).join(file), self.browser.screenshot().await.unwrap())
                .unwrap();
        }
        browser::set_look(&self.browser, PHONE).await;
    }

    /// Checks a page like [`Self::shows`], presses its button, and waits for `next`.
    async fn leads(&self, title: &str, button: &str, next: &str) {
        self.shows(title, button).await;
        self.click(".button").await;
        wait_for_text(&self.browser, next).await;
    }

    /// Signs in at the page of the providers, and waits for `next`.
    async fn choose(&self, next: &str) {
        wait_for_text(&self.browser, CHOICE).await;
        self.click("a[href*='identity_provider=corp']").await;
        wait_for_text(&self.browser, next).await;
    }

    /// Goes to `path` of the app as far as the provider's page; returns the address of that page.
    async fn at_provider(&self, path: &str) -> url::Url {
        self.provider.configure(|odd| {
            odd.answers.insert("/authorize", (200, "text/plain", "the provider".to_owned()));
        });
        self.open("app", path).await;
        self.choose("the provider").await;
        self.provider.configure(|_| {});
        self.browser.current_url().await.unwrap()
    }

    /// Removes the browser's cookies for `host` whose name begins with `name`.
    async fn lose(&self, host: &str, name: &str) {
        self.open(host, "/.narthex/style.css").await;
        for cookie in self.browser.get_all_cookies().await.unwrap() {
            if cookie.name().starts_with(name) {
                self.browser.delete_cookie(cookie.name()).await.unwrap();
            }
        }
    }

    /// Signs the browser out, without the provider.
    async fn forget(&self) {
        for host in ["app", "photos", "auth"] {
            self.lose(host, "").await;
        }
    }

    /// Submits a form to `action` from the page that is open.
    async fn submit(&self, action: &str, fields: Value) {
        let script = "const form = document.createElement('form'); form.method = 'post'; form.action = arguments[0];\
                      for (const [name, value] of Object.entries(arguments[1])) { const field = document.createElement('input');\
                      field.name = name; field.value = value; form.append(field) } document.body.append(form); form.submit()";
        self.browser.execute(script, vec![json!(action), fields]).await.unwrap();
    }

    async fn is_at(&self, host: &str, path: &str) {
        wait_for_text(&self.browser, APP).await;
        assert_eq!(self.browser.current_url().await.unwrap().as_str(), self.url(host, path));
    }
}

/// The address of a callback by which the provider says that the person cancelled.
fn cancelled_at(state: &str) -> String {
    format!("/oauth2/idpresponse/corp?state={state}&error=access_denied")
}

fn provider_tables(provider: &OddProvider) -> String {
    provider_toml("corp", provider.port(), "{ domains = [\"corp.example\"] }")
        + &provider_toml("dark", free_port(), "\"anyone\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_refused_requests_lead_on() {
    let (upstream, provider) = (Upstream::start().await, OddProvider::start().await);
    let saml = SamlProvider::new("forms");
    let port = free_port();
    let narthex = NarthexBuilder::new()
        .tables(&provider_tables(&provider))
        .tables(&saml.toml("entity_id = \"urn:narthex:test\""))
        .route("app", upstream.port, "name = \"app\"")
        .route("wiki", upstream.port, "name = \"wiki\"\npath = \"/wiki\"")
        .route("photos", upstream.port, "name = \"photos\"\nallowed_emails = [\"boss@corp.example\"]")
        .route("broken", port, "name = \"broken\"\naccess = \"public\"")
        .start();
    let walk = Walk::begin(narthex, provider).await;

    walk.open("app", "/").await;
    walk.shows("to continue to app.localhost", CHOICE).await;
    walk.open("auth", "/").await;
    wait_for_text(&walk.browser, CHOICE).await;
    for (host, path, title, button, next) in [
        ("auth", "/nothing", "Page not found", START, CHOICE),
        ("wiki", "/other", "Page not found", START, "to continue to wiki.localhost"),
        ("app", "/a%00b", "This address is not allowed", START, CHOICE),
        ("auth", "/sessions", "Please sign in", "Sign in", CHOICE),
        ("auth", "/logout", "You are signed out", "Sign in again", CHOICE),
    ] {
        walk.open(host, path).await;
        walk.leads(title, button, next).await;
    }
    walk.open("app", &format!("/?{}", "x".repeat(9000))).await;
    walk.leads("The address is too long", START, CHOICE).await;
    // No page of this host would be another one.
    walk.open("nowhere", "/").await;
    walk.shows("Page not found", "").await;
    walk.open("auth", "/").await;
    walk.submit("/logout", json!({ "x": "x".repeat(70_000) })).await;
    walk.leads("The request is too large", START, CHOICE).await;
    walk.open("app", "/a%00b").await;
    walk.submit("/form", json!({})).await;
    walk.leads("Please sign in", "Sign in", "to continue to app.localhost").await;

    walk.open("broken", "/page?x=1").await;
    walk.leads("The app is not responding", "Try again", "The app is not responding").await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let _app = Upstream::serve(listener);
    walk.click(".button").await;
    wait_for_text(&walk.browser, "/page?x=1").await;
    let fill = "for (let i = 0; i < 13; i++) document.cookie = `c${i}=${'x'.repeat(4000)}; path=/; secure`";
    walk.run(fill).await;
    walk.open("broken", "/").await;
    walk.shows("Your browser sent too much data", "").await;
    walk.browser.delete_all_cookies().await.unwrap();
    walk.open("broken", "/").await;
    wait_for_text(&walk.browser, "accept-language").await;

    // The account that is signed in may not see it, and another one may.
    walk.open("photos", "/albums").await;
    walk.choose("You do not have access").await;
    wait_for_text(&walk.browser, "ann@corp.example").await;
    walk.provider.configure(|odd| {
        odd.claims = json!({ "sub": "boss", "email": "boss@corp.example" });
        odd.user_info = json!({ "sub": "boss", "name": "Boss" });
    });
    walk.leads("You do not have access", "Use another account", "You are signed out").await;
    walk.leads("You are signed out", "Sign in again", CHOICE).await;
    walk.choose(APP).await;
    walk.open("auth", "/sessions").await;
    walk.shows("Your sessions", "Sign out").await;
    walk.click(".foot a").await;
    walk.shows("Your apps", "app.localhost").await;
    walk.click("a[href*='//wiki.']").await;
    walk.is_at("wiki", "/wiki/").await;
    walk.open("auth", "/logout").await;
    walk.leads("Sign out?", "Sign out", "You are signed out").await;

    // A response that this browser did not ask for.
    let nobody = SamlRequest { id: "none".into(), relay_state: String::new(), request: String::new() };
    let unasked = |text: String| text.replace(" InResponseTo=\"none\"", "");
    let acs = saml.acs(&walk.narthex);
    let response = saml.valid_response(&acs, "urn:narthex:test", &nobody, Signed::Both, unasked, unasked);
    walk.provider.configure(|odd| {
        odd.answers.insert("/form", (200, "text/html", "a form".to_owned()));
    });
    walk.browser.goto(&format!("{}/form", walk.provider.address)).await.unwrap();
    walk.submit(&acs, json!({ "SAMLResponse": base64(&response) })).await;
    walk.leads("Sign-in must start at the app", START, CHOICE).await;
    walk.browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_that_fail_lead_back_to_what_was_wanted() {
    const DEEP: &str = "/deep?x=1";
    let (upstream, provider) = (Upstream::start().await, OddProvider::start().await);
    let clock = WallClock::new();
    let builder = NarthexBuilder::new().tables(&provider_tables(&provider));
    let builder = builder.route("app", upstream.port, "").route("photos", upstream.port, "");
    let walk = Walk::begin(clock.apply_to(builder).start(), provider).await;

    walk.open("app", DEEP).await;
    wait_for_text(&walk.browser, CHOICE).await;
    walk.click("a[href*='identity_provider=dark']").await;
    walk.leads("The sign-in provider is not responding", "Try again", CHOICE).await;
    walk.provider.configure(|odd| {
        odd.answers.insert("/token", (200, "application/json", "not JSON".to_owned()));
    });
    walk.choose("The sign-in provider sent an invalid response").await;
    walk.provider.configure(|odd| odd.claims = json!({ "email": "mallory@elsewhere.example" }));
    walk.shows("The sign-in provider sent an invalid response", "Try again").await;
    walk.click(".button").await;
    walk.choose("This account may not sign in here").await;
    wait_for_text(&walk.browser, "mallory@elsewhere.example").await;
    walk.provider.configure(|_| {});
    walk.leads("This account may not sign in here", "Use another account", APP).await;
    walk.is_at("app", DEEP).await;
    walk.forget().await;

    let cancelled = walk.at_provider(DEEP).await;
    walk.open("auth", &cancelled_at(&query_parameter(&cancelled, "state"))).await;
    walk.shows("Sign-in was not completed", "Try again").await;
    walk.click(".button").await;
    walk.choose(APP).await;
    walk.is_at("app", DEEP).await;

    walk.forget().await;

    // Repeated, with a session: by the same address, and by the browser's own button.
    let once = walk.at_provider(DEEP).await;
    walk.browser.goto(once.as_str()).await.unwrap();
    walk.is_at("app", DEEP).await;
    let callback = format!("/oauth2/idpresponse/corp?state={}&code=code", query_parameter(&once, "state"));
    walk.open("auth", &callback).await;
    walk.is_at("app", "/").await;
    walk.browser.back().await.unwrap();
    wait_for_text(&walk.browser, APP).await;
    // And without one.
    walk.forget().await;
    walk.open("auth", &callback).await;
    walk.shows("This sign-in has expired", "Sign in again").await;
    walk.click(".button").await;
    walk.choose(APP).await;
    walk.is_at("app", "/").await;

    // Its cookie is lost, without a session and with one that began meanwhile.
    walk.forget().await;
    for signed_in in [false, true] {
        let lost = walk.at_provider(DEEP).await;
        if signed_in {
            walk.open("photos", "/").await;
            walk.choose(APP).await;
        }
        walk.lose("auth", "__Host-narthex-login").await;
        walk.browser.goto(lost.as_str()).await.unwrap();
        if !signed_in {
            walk.leads("This sign-in has expired", "Sign in again", CHOICE).await;
            walk.choose(APP).await;
        }
        walk.is_at("app", "/").await;
        walk.forget().await;
    }

    // Late, without a session and with one.
    for signed_in in [false, true] {
        let late = walk.at_provider(DEEP).await;
        if signed_in {
            walk.open("photos", "/").await;
            walk.choose(APP).await;
        }
        clock.jump(&walk.narthex, "+700");
        walk.browser.goto(late.as_str()).await.unwrap();
        if !signed_in {
            walk.shows("This sign-in has expired", "Sign in again").await;
        }
        clock.jump(&walk.narthex, "+0");
        if !signed_in {
            walk.click(".button").await;
            walk.choose(APP).await;
        }
        walk.is_at("app", DEEP).await;
        walk.forget().await;
    }

    let visitor = Visitor::new(&walk.narthex);
    let login = walk.url("auth", "/login?identity_provider=corp");
    for _ in 0..40 {
        let state = query_parameter(&follow_to_provider(&visitor, &login).await, "state");
        visitor.get(&walk.url("auth", &cancelled_at(&state))).await;
    }
    walk.open("app", DEEP).await;
    walk.choose("Too many failed sign-ins").await;
    walk.leads("Too many failed sign-ins", "Try again", "Too many failed sign-ins").await;
    walk.browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_an_unavailable_database_lead_on_once_it_is_back() {
    let (upstream, provider) = (Upstream::start().await, OddProvider::start().await);
    let mut postgres = Postgres::start();
    let narthex = NarthexBuilder::new()
        .tables(&provider_tables(&provider))
        .route("app", upstream.port, "")
        .postgres(&postgres.database())
        .start();
    let walk = Walk::begin(narthex, provider).await;
    let ready = || walk.narthex.admin("/readyz").starts_with("HTTP/1.1 200");
    walk.open("app", "/").await;
    walk.choose(APP).await;
    walk.open("app", "/a%00b").await;
    postgres.stop();
    walk.submit("/.narthex/sign-out", json!({})).await;
    walk.shows("Sign-out is not available right now", "Try again").await;
    postgres.restart();
    wait_until("the database", ready);
    walk.click(".button").await;
    walk.shows("You are signed out", "Sign in again").await;
    let callback = walk.at_provider("/deep?x=1").await;
    postgres.stop();
    walk.browser.goto(callback.as_str()).await.unwrap();
    walk.shows("Sign-in is not available right now", "Try again").await;
    postgres.restart();
    wait_until("the database", ready);
    walk.click(".button").await;
    walk.choose(APP).await;
    walk.is_at("app", "/deep?x=1").await;
    walk.browser.close().await.unwrap();
}
