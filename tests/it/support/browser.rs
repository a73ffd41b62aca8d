//! A person with Chromium.

use super::parties::webdriver;
use super::process::parties;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::LazyLock;

/// How the person looks at pages.
#[derive(Clone, Copy)]
pub struct Look {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
    pub scripts: bool,
    /// What the browser sends as `Accept-Language`.
    pub language: &'static str,
}

/// A desk, by day.
pub const DESK: Look = Look { width: 1280, height: 900, dark: false, scripts: true, language: "en" };

/// A command of Chromium's own protocol.
#[derive(Debug)]
struct Cdp(&'static str, Value);

impl WebDriverCompatibleCommand for Cdp {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "cmd": self.0, "params": self.1 }).to_string()))
    }
}

/// Opens a browser with nothing in it.
pub async fn open(look: Look) -> Client {
    let mut capabilities = Capabilities::new();
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ];
    let scripts = if look.scripts { 1 } else { 2 };
    capabilities.insert(
        "goog:chromeOptions".into(),
        json!({
            "args": arguments,
            "prefs": {
                "profile.managed_default_content_settings.javascript": scripts,
                "intl.accept_languages": look.language,
            },
        }),
    );
    capabilities.insert("acceptInsecureCerts".into(), true.into());
    let browser = ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities)
        .connect(&webdriver())
        .await
        .unwrap();
    set_look(&browser, look).await;
    browser
}

/// Changes the size and the colours of the page that `browser` shows.
pub async fn set_look(browser: &Client, look: Look) {
    let size = json!({ "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": look.width < 600 });
    browser.issue_cmd(Cdp("Emulation.setDeviceMetricsOverride", size)).await.unwrap();
    let scheme = if look.dark { "dark" } else { "light" };
    let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
    browser.issue_cmd(Cdp("Emulation.setEmulatedMedia", media)).await.unwrap();
}

/// The looks of screenshots.
pub const LOOKS: [(Look, &str); 4] = [
    (DESK, "desk-light"),
    (Look { dark: true, ..DESK }, "desk-dark"),
    (Look { width: 320, height: 640, ..DESK }, "phone-light"),
    (Look { width: 320, height: 640, dark: true, ..DESK }, "phone-dark"),
];

/// Keeps a picture of the page. It must be no wider than the screen, have targets that fingers hit
/// and no broken image, and axe must find nothing, in forced colors neither.
pub async fn keep(browser: &Client, look: Look, page: &str) {
    static AXE: LazyLock<String> = LazyLock::new(|| {
        std::fs::read_to_string(parties().join("node_modules/axe-core/axe.min.js")).unwrap()
    });
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{page}.png")), browser.screenshot().await.unwrap()).unwrap();
    let run = async |script: &str| browser.execute(script, vec![]).await.unwrap();
    let width = run("return document.documentElement.scrollWidth").await.as_u64().unwrap();
    assert!(width <= u64::from(look.width), "{page} is {width} wide");
    let small = "return [...document.querySelectorAll('.button, input:not([type=hidden])')]\
                 .map(e => e.getBoundingClientRect().height).filter(height => height < 44).length";
    assert_eq!(run(small).await, 0, "{page} has small targets");
    let broken = "return [...document.images].filter(image => image.naturalWidth === 0).length";
    assert_eq!(run(broken).await, 0, "{page} has an image that is none");
    run(&AXE).await;
    let axe = "axe.run(document, { resultTypes: ['violations'] }).then(found => arguments[0](\
               found.violations.map(of => `${of.id}: ${of.nodes.map(node => node.target)}`)))";
    let found = browser.execute_async(axe, vec![]).await.unwrap();
    assert_eq!(found, json!([]), "axe on {page}");
    // With the colors of the user, each field and button still has an edge.
    let forced = json!({ "features": [{ "name": "forced-colors", "value": "active" }] });
    browser.issue_cmd(Cdp("Emulation.setEmulatedMedia", forced)).await.unwrap();
    let hidden = "return [...document.querySelectorAll('.button, input:not([type=hidden])')]\
                  .filter(e => getComputedStyle(e).borderTopStyle === 'none').length";
    assert_eq!(run(hidden).await, 0, "{page} has fields without an edge in forced colors");
    set_look(browser, look).await;
}

/// Waits until the page contains `words`. After a click, the next page may not be loaded yet.
pub async fn wait_for_text(browser: &Client, words: &str) {
    let begun = std::time::Instant::now();
    loop {
        // Between two pages there may be none to read.
        let page = match browser.find(Locator::Css("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        if page.contains(words) {
            return;
        }
        assert!(begun.elapsed().as_secs() < 20, "the page never said {words:?}, but:\n{page}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
