//! Libraries for Cognito, driven by orders.

use super::aws::{Api, KEY};
use super::browser::{self, DESK};
use super::orders::Orders;
use super::process::parties;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use serde_json::{Value, json};
use std::process::Command;

/// A library in a process or in a browser.
pub trait Library {
    /// Returns the answer to an order.
    fn ask(&mut self, order: &Value) -> Value;

    /// Returns the result of an order, which succeeds.
    fn done(&mut self, order: Value) -> Value {
        let answer = self.ask(&order);
        answer.get("ok").unwrap_or_else(|| panic!("{order}: {answer}")).clone()
    }

    /// Returns the name of the error of an order, which fails.
    fn refused(&mut self, order: Value) -> String {
        let answer = self.ask(&order);
        answer["error"].as_str().unwrap_or_else(|| panic!("{order}: {answer}")).to_owned()
    }
}

impl Library for Orders {
    fn ask(&mut self, order: &Value) -> Value {
        Self::ask(self, order)
    }
}

fn config(api: &Api, client_id: &str, client_secret: Option<&str>) -> Value {
    json!({
        "endpoint": format!("{}/", api.narthex.origin("auth")),
        "poolId": api.pool_id(),
        "clientId": client_id,
        "clientSecret": client_secret,
        "region": "us-east-1",
        "key": [KEY.0, KEY.1],
        "ca": api.narthex.folder().join("certs/local-authority.pem"),
    })
}

/// A library that uses this app client: `identityJs`, `sdk`, `amplify`, `pycognito` or `rust-sdk`.
pub fn client(api: &Api, library: &str, client_id: &str, client_secret: Option<&str>) -> Orders {
    let config = config(api, client_id, client_secret).to_string();
    if library == "pycognito" {
        return Orders::python("pycognito-client.py", &[&config]);
    }
    if library == "rust-sdk" {
        return Orders::program("rust-sdk", &[&config]);
    }
    let authority = api.narthex.folder().join("certs/local-authority.pem");
    Orders::node("cognito-client.mjs", &[library, &config], &authority)
}

/// A library of JavaScript in Chromium, on the page of an app at another origin.
pub struct InBrowser {
    pub browser: fantoccini::Client,
    library: String,
    config: Value,
}

impl InBrowser {
    /// Opens the app's page.
    pub async fn open(api: &Api, library: &str, client_id: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
        serve_app(listener, "cognito-libraries.mjs").await;
        Self::on_page(&app, library, config(api, client_id, None)).await
    }

    /// Opens the page of an app that [`serve_app`] serves.
    pub async fn on_page(app: &str, library: &str, config: Value) -> Self {
        let browser = browser::open(DESK).await;
        browser.goto(app).await.unwrap();
        Self { browser, library: library.to_owned(), config }
    }

    /// Gives an order on which the library leaves the page.
    pub async fn leave(&self, order: Value) {
        const SCRIPT: &str = "const [library, config, order] = arguments;\
            window.run ??= libraries.open(library, config);\
            window.run(order)";
        let arguments = vec![json!(self.library), self.config.clone(), order];
        self.browser.execute(SCRIPT, arguments).await.unwrap();
    }

    /// Closes the browser.
    pub async fn close(self) {
        self.browser.close().await.unwrap();
    }
}

impl Library for InBrowser {
    fn ask(&mut self, order: &Value) -> Value {
        const SCRIPT: &str = "const [library, config, order, done] = arguments;\
            window.run ??= libraries.open(library, config);\
            window.run(order).then(done, (error) => done({ error: String(error), message: error.stack }))";
        let arguments = vec![json!(self.library), self.config.clone(), order.clone()];
        let answer = async { self.browser.execute_async(SCRIPT, arguments).await.unwrap() };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(answer))
    }
}

/// Starts an app whose page loads the libraries of `program`.
pub async fn serve_app(listener: tokio::net::TcpListener, program: &'static str) {
    let script = tokio::task::spawn_blocking(move || bundle(program)).await.unwrap();
    let page: Html<&str> = Html("<!doctype html><title>app</title><script src=/libraries.js></script>");
    let script = get(async move || ([(CONTENT_TYPE, "text/javascript")], script));
    let router = Router::new().route("/", get(async move || page)).route("/libraries.js", script);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
}

/// Returns the libraries as one script for browsers.
fn bundle(program: &str) -> String {
    let output = Command::new(parties().join("node_modules/.bin/esbuild"))
        .current_dir(parties())
        .args([program, "--bundle", "--format=iife", "--global-name=libraries"])
        .args(["--define:global=globalThis", "--log-level=error"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// AWS CLI: a command of `aws cognito-idp`, with the administrator's key.
pub struct Cli<'a> {
    program: std::path::PathBuf,
    api: &'a Api,
}

impl<'a> Cli<'a> {
    /// The newest version 1.
    pub fn version_1(api: &'a Api) -> Self {
        Self { program: parties().join("cli/bin/aws"), api }
    }

    /// The version 2 of the system.
    pub fn version_2(api: &'a Api) -> Self {
        Self { program: "/usr/bin/aws".into(), api }
    }

    /// Returns the output of a command, or what the program says of its failure.
    pub fn run(&self, arguments: &[&str]) -> Result<Value, String> {
        let (id, secret) = KEY;
        let output = Command::new(&self.program)
            .args(["--endpoint-url", &self.api.narthex.origin("auth"), "--output", "json", "cognito-idp"])
            .args(arguments)
            .env("PYTHONPATH", parties())
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_CA_BUNDLE", self.api.narthex.folder().join("certs/local-authority.pem"))
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(serde_json::from_slice(&output.stdout).unwrap_or_default()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}
