//! The demo and every page in Chromium, at every screen size.

use crate::support::browser::{self, DESK, LOOKS, Look, wait_for_text};
use crate::support::narthex::NarthexBuilder;
use crate::support::parties::OpenIdProvider;
use crate::support::policies::allow_policy;
use crate::support::process::{free_port, wait_until};
use crate::support::saml_provider::SamlProvider;
use crate::support::stand_in::ec_key;
use crate::support::upstream::Upstream;
use fantoccini::{Client, Locator};
use std::process::{Child, Command, Stdio};

/// The demo, as its one command starts it.
struct Demo {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Demo {
    fn start() -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let out = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(["run", "--demo-port", &port.to_string()])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(out("out"))
            .stderr(out("err"))
            .spawn()
            .unwrap();
        let demo = Self { child, folder, port };
        wait_until("the banner", || demo.said("out").contains("Open   https://app.localhost"));
        demo
    }

    fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn url(&self, name: &str, path: &str) -> String {
        format!("https://{name}.localhost:{}{path}", self.port)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(Command::new("kill").arg(self.child.id().to_string()).status());
        drop(self.child.wait());
    }
}

async fn click(browser: &Client, css: &str) {
    browser.wait().for_element(Locator::Css(css)).await.unwrap().click().await.unwrap();
}

/// Opens the demo's app and signs in at the stand-in provider.
async fn sign_in(browser: &Client, demo: &Demo, email: &str) {
    browser.goto(&demo.url("app", "/some/page?x=1")).await.unwrap();
    click(browser, ".choices a").await;
    wait_for_text(browser, "Who are you?").await;
    let field = browser.wait().for_element(Locator::Css("#email")).await.unwrap();
    field.clear().await.unwrap();
    field.send_keys(email).await.unwrap();
    click(browser, "button").await;
}

async fn demo_from_door_to_door(look: Look) {
    let demo = Demo::start();
    let browser = browser::open(look).await;
    sign_in(&browser, &demo, "zoe@example.com").await;
    wait_for_text(&browser, "Hello, ").await;
    assert_eq!(browser.current_url().await.unwrap().as_str(), demo.url("app", "/some/page?x=1"));
    let claims = browser.wait().for_element(Locator::Css("#claims")).await.unwrap().text().await.unwrap();
    let claims: serde_json::Value = serde_json::from_str(&claims).unwrap();
    assert_eq!(claims["iss"], demo.url("auth", ""));
    assert_eq!(claims["email"], "zoe@example.com");

    click(&browser, ".foot a").await;
    wait_for_text(&browser, "You are signed out").await;
    click(&browser, "a.button").await;
    click(&browser, ".choices a").await;
    wait_for_text(&browser, "Who are you?").await;
    browser.goto(&demo.url("app", "/open")).await.unwrap();
    wait_for_text(&browser, "Hello, stranger").await;
    browser.close().await.unwrap();
}

async fn fill_in(browser: &Client, values: &[(&str, &str)]) {
    for (name, value) in values {
        let field = browser.wait().for_element(Locator::Css(&format!("input[name='{name}']"))).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(value).await.unwrap();
    }
    click(browser, "form button.primary").await;
}

async fn follow(browser: &Client, label: &str) {
    browser.wait().for_element(Locator::LinkText(label)).await.unwrap().click().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_has_a_pool_with_sign_up_a_policy_and_guests() {
    const PASSWORD: &str = "Correct-Horse-7-Battery";
    let demo = Demo::start();
    let browser = browser::open(DESK).await;
    // A guest sees the lobby, and no folder.
    browser.goto(&demo.url("app", "/folders/")).await.unwrap();
    wait_for_text(&browser, "Hello, guest").await;
    browser.goto(&demo.url("app", "/folders/somebody/")).await.unwrap();
    wait_for_text(&browser, "Create an account").await;
    follow(&browser, "Create an account").await;
    fill_in(&browser, &[("attribute.email", "ann@example.com"), ("password", PASSWORD)]).await;
    wait_for_text(&browser, "Confirm your account").await;
    // The message is in the terminal.
    let code = || {
        let log = demo.said("out") + &demo.said("err");
        let message =
            log.lines().rfind(|line| line.contains("ann@example.com") && line.contains("code"))?.to_owned();
        let digits: Vec<&str> =
            message.split(|c: char| !c.is_ascii_digit()).filter(|run| run.len() == 6).collect();
        digits.last().map(|digits| (*digits).to_owned())
    };
    wait_until("the message", || code().is_some());
    fill_in(&browser, &[("code", &code().unwrap())]).await;
    // Signed in, and still not the owner of that folder.
    wait_for_text(&browser, "You do not have access").await;
    browser.goto(&demo.url("app", "/")).await.unwrap();
    wait_for_text(&browser, "Hello, ann@example.com").await;
    follow(&browser, "Your folder").await;
    wait_for_text(&browser, "Hello, ann@example.com").await;
    assert!(browser.current_url().await.unwrap().path().starts_with("/folders/"));
    follow(&browser, "Another folder").await;
    wait_for_text(&browser, "You do not have access").await;
    browser.goto(&demo.url("app", "/open")).await.unwrap();
    follow(&browser, "Your account").await;
    wait_for_text(&browser, "ann@example.com").await;
    browser.goto(&demo.url("app", "/open")).await.unwrap();
    follow(&browser, "Your sessions").await;
    wait_for_text(&browser, "this browser").await;
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_signs_a_person_in_and_shows_what_the_app_was_handed() {
    demo_from_door_to_door(DESK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_works_without_javascript() {
    demo_from_door_to_door(Look { scripts: false, ..DESK }).await;
}

/// A provider of each preset, none of which is there.
fn every_preset() -> String {
    let mut tables = String::new();
    for preset in narthex::config::PRESETS {
        let own = match preset.name {
            "apple" => format!(
                "team_id = \"ABCDE12345\"\nkey_id = \"ABCDE12345\"\nprivate_key = \"\"\"{}\"\"\"",
                ec_key().0
            ),
            "microsoft" => "client_secret = \"s\"\ntenant = \"common\"".to_owned(),
            _ => "client_secret = \"s\"".to_owned(),
        };
        tables += &format!(
            "[[provider]]\ntype = \"{}\"\nbase_url = \"http://127.0.0.1:1\"\nclient_id = \"c\"\nallow = \"anyone\"\n{own}\n\n",
            preset.name
        );
    }
    tables
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_every_screen_by_day_and_by_night() {
    let demo = Demo::start();
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let (corp, club) = (
        OpenIdProvider::start("corp", &builder.callback("corp")),
        OpenIdProvider::start("club", &builder.callback("club")),
    );
    // One that takes requests by forms alone.
    let forms = SamlProvider::new("forms");
    let metadata = forms.metadata(&[&forms.key]).replace("HTTP-Redirect", "HTTP-POST");
    std::fs::write(forms.metadata_file(), metadata).unwrap();
    let narthex = builder
        .tables(
            &(corp.toml("\"anyone\"")
                + &club.toml("\"anyone\"")
                + &forms.toml("domains = [\"corp.example\"]")),
        )
        .route("app", upstream.port, "")
        .route("broken", free_port(), "access = \"public\"")
        .start();
    let known = NarthexBuilder::new().tables(&every_preset()).route("app", upstream.port, "").start();
    // Somewhere else the same person is signed in, too.
    let elsewhere = browser::open(DESK).await;
    sign_in(&elsewhere, &demo, "ann@example.com").await;
    wait_for_text(&elsewhere, "Hello, Ann").await;
    for (look, name) in LOOKS {
        let browser = browser::open(look).await;
        let keep = async |page: &str| browser::keep(&browser, look, &format!("{page}-{name}")).await;
        browser.goto(&narthex.origin("app")).await.unwrap();
        keep("choose").await;
        browser.goto(&known.origin("app")).await.unwrap();
        keep("presets").await;
        let marks = "return document.querySelectorAll('.choices svg.mark').length";
        assert_eq!(browser.execute(marks, vec![]).await.unwrap(), narthex::config::PRESETS.len());
        browser.goto(&narthex.origin("app")).await.unwrap();
        let address = browser.wait().for_element(Locator::Css("#login_hint")).await.unwrap();
        address.send_keys("ann@elsewhere.example\n").await.unwrap();
        wait_for_text(&browser, "No sign-in provider is known").await;
        keep("no-provider").await;
        let address = browser.wait().for_element(Locator::Css("#login_hint")).await.unwrap();
        address.clear().await.unwrap();
        address.send_keys("ann@corp.example\n").await.unwrap();
        wait_for_text(&browser, "One more step").await;
        keep("post").await;
        browser.goto(&narthex.origin("broken")).await.unwrap();
        keep("upstream-down").await;
        browser.goto(&format!("{}/oauth2/idpresponse/corp?state=x", narthex.origin("auth"))).await.unwrap();
        keep("attempt-lost").await;
        browser.goto(&demo.url("app", "/")).await.unwrap();
        keep("demo").await;
        click(&browser, ".choices a").await;
        wait_for_text(&browser, "Who are you?").await;
        keep("stand-in").await;
        click(&browser, "button").await;
        wait_for_text(&browser, "Hello, Ann").await;
        keep("echo").await;
        browser.goto(&demo.url("auth", "/")).await.unwrap();
        keep("home").await;
        browser.goto(&demo.url("app", "/.narthex/sessions")).await.unwrap();
        wait_for_text(&browser, "this browser").await;
        keep("sessions").await;
        browser.goto(&demo.url("auth", "/logout")).await.unwrap();
        keep("sign-out").await;
        click(&browser, "button").await;
        wait_for_text(&browser, "You are signed out").await;
        keep("signed-out").await;
        browser.close().await.unwrap();
    }
    elsewhere.goto(&demo.url("auth", "/sessions")).await.unwrap();
    click(&elsewhere, ".card > form button").await;
    wait_for_text(&elsewhere, "You are signed out").await;
    elsewhere.close().await.unwrap();
}

/// Signs in at an OpenID provider's own page.
async fn sign_in_at_provider(browser: &Client, login: &str) {
    wait_for_text(browser, "Sign-in").await;
    for (field, text) in [("login", login), ("password", "any")] {
        let field = browser.wait().for_element(Locator::Css(&format!("input[name={field}]"))).await.unwrap();
        field.send_keys(text).await.unwrap();
    }
    click(browser, "button[type=submit]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_is_refused_sees_who_they_are_and_comes_as_somebody_else() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let corp = OpenIdProvider::start("corp", &builder.callback("corp"));
    let roles = "[[role]]\nname = \"ops\"\npolicies = [\"ops.json\"]\n[[identity_pool]]\nname = \"main\"\n\
                 [[identity_pool.role_mapping]]\nprovider = \"corp\"\ntype = \"rules\"\nambiguous = \"deny\"\n\
                 rules = [{ claim = \"groups\", match = \"Equals\", value = \"ops\", role = \"ops\" }]\n";
    let narthex = builder
        .file("ops.json", allow_policy(&["GET/*"]).to_string())
        .tables(&corp.toml("\"anyone\""))
        .tables(roles)
        .route("app", upstream.port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    let app = format!("{}/albums", narthex.origin("app"));
    for (look, name) in LOOKS {
        let browser = browser::open(look).await;
        browser.goto(&app).await.unwrap();
        sign_in_at_provider(&browser, "ann").await;
        wait_for_text(&browser, "You are signed in as ann").await;
        browser::keep(&browser, look, &format!("access-denied-{name}")).await;
        if name == "desk-light" {
            click(&browser, "a.button").await;
            wait_for_text(&browser, "Do you want to sign-out").await;
            click(&browser, "button[value=yes]").await;
            wait_for_text(&browser, "You are signed out").await;
            click(&browser, "a.button").await;
            sign_in_at_provider(&browser, "bob+ops").await;
            wait_for_text(&browser, "x-amzn-oidc-data").await;
        }
        browser.close().await.unwrap();
    }
}
