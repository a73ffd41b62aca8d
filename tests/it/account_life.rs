//! The life of an account on the pages, in Chromium and with a mail server: each step with wrong,
//! late and repeated input, with and without scripts, in two languages.

use crate::support::browser::{self, DESK, Look, wait_for_text};
use crate::support::hosted::{HostedScene, OTHER, PASSWORD, POOL};
use crate::support::time::WallClock;
use fantoccini::{Client, Locator};
use narthex::pages::Texts;
use tokio::task::block_in_place;

const EMAIL: &str = "ada@example.com";
const NEW_EMAIL: &str = "ada@new.example";

/// A user, the browser, and the clock of the server.
struct Life {
    scene: HostedScene,
    clock: WallClock,
    look: Look,
    browser: Client,
    t: &'static Texts,
    /// Messages to [`EMAIL`] so far.
    messages: usize,
}

/// Fills in the form at `css` and sends it.
async fn send(browser: &Client, css: &str, values: &[(&str, &str)]) {
    for (name, value) in values {
        let field = browser.wait().for_element(Locator::Css(&format!("{css} input[name='{name}']"))).await;
        let field = field.unwrap_or_else(|error| panic!("{css} {name}: {error}"));
        field.clear().await.unwrap();
        field.send_keys(value).await.unwrap();
    }
    browser.wait().for_element(Locator::Css(&format!("{css} button"))).await.unwrap().click().await.unwrap();
}

/// The main form of a page.
const FORM: &str = "form:not(.second)";
/// The form that sends another code.
const AGAIN: &str = "form.second";

impl Life {
    async fn begin(look: Look) -> Self {
        let clock = WallClock::new();
        let scene = HostedScene::with(POOL, "", |builder| clock.apply_to(builder)).await;
        let browser = browser::open(look).await;
        Self { scene, clock, look, browser, t: Texts::of(&[look.language]), messages: 0 }
    }

    async fn send(&self, css: &str, values: &[(&str, &str)]) {
        send(&self.browser, css, values).await;
    }

    async fn shows(&self, words: &str) {
        wait_for_text(&self.browser, words).await;
    }

    async fn open(&self, path: &str) {
        let auth = self.scene.api.narthex.origin("auth");
        self.browser.goto(&format!("{auth}{path}")).await.unwrap();
    }

    fn jump(&self, offset: &str) {
        block_in_place(|| self.clock.jump(&self.scene.api.narthex, offset));
    }

    /// Returns the code of the next message to [`EMAIL`].
    fn code(&mut self) -> String {
        self.messages += 1;
        block_in_place(|| self.scene.api.code(EMAIL, self.messages))
    }

    /// Deletes the cookies of both hosts.
    async fn forget(&self) {
        for url in [format!("{}style.css", self.scene.app), self.scene.api.narthex.origin("auth")] {
            self.browser.goto(&url).await.unwrap();
            self.browser.delete_all_cookies().await.unwrap();
        }
    }

    async fn arrived(&self) {
        // The app shows the headers that it received.
        self.shows("x-amzn-oidc-data").await;
    }

    /// The app's own request is as old as the first page: it begins again, without a question.
    async fn arrived_late(&self) {
        self.shows(&self.t.try_again).await;
        self.browser.wait().for_element(Locator::Css("a.button")).await.unwrap().click().await.unwrap();
        self.arrived().await;
    }

    async fn sign_in(&self, password: &str) {
        self.browser.goto(&self.scene.app).await.unwrap();
        self.send(FORM, &[("username", "ada"), ("password", password)]).await;
    }

    async fn sign_up(&mut self) {
        self.browser.goto(&self.scene.app).await.unwrap();
        self.browser
            .wait()
            .for_element(Locator::LinkText(&self.t.create_account))
            .await
            .unwrap()
            .click()
            .await
            .unwrap();
        let person = [("attribute.email", EMAIL), ("username", "ada")];
        self.send(FORM, &[&person[..], &[("password", "short")]].concat()).await;
        self.shows(&self.t.weak_password).await;
        // What was typed is still there.
        self.send(FORM, &[("password", PASSWORD)]).await;
        self.shows(&self.t.confirm_title).await;
        let first = self.code();
        self.send(FORM, &[("code", "000000")]).await;
        self.shows(&self.t.wrong_code).await;
        // A day later the page has expired, and so has the code. A sign-in leads to both again.
        self.jump("+90000");
        self.send(FORM, &[("code", &first)]).await;
        self.shows(&self.t.session_expired).await;
        self.send(FORM, &[("username", "ada"), ("password", PASSWORD)]).await;
        self.shows(&self.t.confirm_title).await;
        self.send(FORM, &[("code", &first)]).await;
        self.shows(&self.t.expired_code).await;
        self.send(AGAIN, &[]).await;
        self.shows(&self.t.code_resent).await;
        let second = self.code();
        self.send(FORM, &[("code", &first)]).await;
        self.shows(&self.t.wrong_code).await;
        self.send(FORM, &[("code", &second)]).await;
        self.arrived_late().await;
        // The same account again.
        self.forget().await;
        self.open("/signup").await;
        self.send(FORM, &[&person[..], &[("password", PASSWORD)]].concat()).await;
        self.shows(&self.t.username_taken).await;
    }

    async fn recover(&mut self) {
        self.sign_in(OTHER).await;
        self.shows(&self.t.wrong_password).await;
        self.browser
            .wait()
            .for_element(Locator::LinkText(&self.t.forgot_password))
            .await
            .unwrap()
            .click()
            .await
            .unwrap();
        self.send(FORM, &[("username", EMAIL)]).await;
        self.shows(&self.t.reset_code_sent).await;
        let first = self.code();
        self.send(FORM, &[("code", "000000"), ("password", OTHER)]).await;
        self.shows(&self.t.wrong_code).await;
        self.jump("+97300");
        self.send(FORM, &[("code", &first), ("password", OTHER)]).await;
        self.shows(&self.t.expired_code).await;
        self.send(AGAIN, &[]).await;
        let second = self.code();
        self.send(FORM, &[("code", &second), ("password", "short")]).await;
        self.shows(&self.t.weak_password).await;
        self.send(FORM, &[("code", &second), ("password", OTHER)]).await;
        self.arrived_late().await;
        // The code works once, and the earlier password no more.
        self.forget().await;
        self.open("/forgotPassword").await;
        self.send(FORM, &[("username", EMAIL)]).await;
        self.shows(&self.t.reset_code_sent).await;
        let _third = self.code();
        self.send(FORM, &[("code", &second), ("password", PASSWORD)]).await;
        self.shows(&self.t.wrong_code).await;
        self.sign_in(PASSWORD).await;
        self.shows(&self.t.wrong_password).await;
    }

    async fn change_address(&mut self) {
        self.sign_in(OTHER).await;
        self.arrived().await;
        self.open("/account").await;
        let form = "form[action$='/account/email']";
        self.send(form, &[("email", NEW_EMAIL), ("current_password", PASSWORD)]).await;
        self.shows(&self.t.wrong_password).await;
        self.send(form, &[("email", NEW_EMAIL), ("current_password", OTHER)]).await;
        self.shows(&self.t.new_address_code).await;
        let code = block_in_place(|| self.scene.api.code(NEW_EMAIL, 1));
        self.send(FORM, &[("code", "000000")]).await;
        self.shows(&self.t.wrong_code).await;
        self.send(FORM, &[("code", &code)]).await;
        self.shows(&self.t.address_changed).await;
        self.shows(NEW_EMAIL).await;
    }

    async fn end_sessions(&self) {
        let elsewhere = browser::open(self.look).await;
        elsewhere.goto(&self.scene.app).await.unwrap();
        send(&elsewhere, FORM, &[("username", NEW_EMAIL), ("password", OTHER)]).await;
        wait_for_text(&elsewhere, "x-amzn-oidc-data").await;
        self.open("/sessions").await;
        self.shows(&self.t.this_browser).await;
        let other = Locator::Css("ul.sessions li:not(:has(.here)) form button");
        self.browser.find(other).await.unwrap().click().await.unwrap();
        self.shows(&self.t.your_sessions).await;
        let begun = std::time::Instant::now();
        loop {
            elsewhere.goto(&self.scene.app).await.unwrap();
            if elsewhere.find(Locator::Css("input[name='password']")).await.is_ok() {
                break;
            }
            assert!(begun.elapsed().as_secs() < 10, "the other session goes on");
        }
        elsewhere.close().await.unwrap();
    }

    async fn delete(&self) {
        self.open("/account").await;
        let form = "form[action$='/account/delete']";
        self.send(form, &[("current_password", PASSWORD)]).await;
        self.shows(&self.t.wrong_password).await;
        self.send(form, &[("current_password", OTHER)]).await;
        self.shows(&self.t.account_deleted).await;
        self.forget().await;
        self.sign_in(OTHER).await;
        self.shows(&self.t.wrong_password).await;
    }
}

async fn live(look: Look) {
    let mut life = Life::begin(look).await;
    life.sign_up().await;
    life.recover().await;
    life.change_address().await;
    life.end_sessions().await;
    life.delete().await;
    life.browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_from_sign_up_to_deletion() {
    live(DESK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_from_sign_up_to_deletion_without_scripts_in_arabic() {
    live(Look { scripts: false, language: "ar", ..DESK }).await;
}
