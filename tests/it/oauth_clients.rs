//! Client libraries of OAuth 2.0 and OpenID Connect, unchanged, whose provider is a user pool.

use crate::support::apache::{self, Apache};
use crate::support::aws::{PASSWORD, text};
use crate::support::browser::wait_for_text;
use crate::support::libraries::{InBrowser, Library, serve_app};
use crate::support::narthex::NarthexBuilder;
use crate::support::oauth_clients::{Provider, SECRET, changed};
use crate::support::orders::Orders;
use crate::support::process::free_port;
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{assert_status, redirect_target};
use fantoccini::Locator;
use reqwest::Url;
use serde_json::{Value, json};

const CALLBACK: &str = "https://app.example/callback";
const SIGNED_OUT: &str = "https://app.example/bye";

/// What a library does not verify by itself, or not do.
#[derive(Clone, Copy, Default)]
struct Gaps {
    /// The `iss` of authorization responses (RFC 9207).
    iss: bool,
    /// Revocation (RFC 7009).
    revocation: bool,
}

/// Signs `ada` in by a library: with changed requests and responses, then with its own.
async fn live(library: &str, client: &str, algorithm: &str, gaps: Gaps) {
    let provider = Provider::start(algorithm, CALLBACK, SIGNED_OUT);
    let mut library = provider.library(library, client);
    for (name, is_of_request) in [("nonce", true), ("code_challenge", true), ("state", false), ("iss", false)]
    {
        if name == "iss" && gaps.iss {
            continue;
        }
        let authorize = text(&library.done(json!({ "do": "authorize" })));
        let request = if is_of_request { changed(&authorize, name) } else { authorize };
        let response = provider.sign_in(&provider.visitor(), &request).await;
        let response = if is_of_request { response } else { changed(&response, name) };
        Library::refused(&mut library, json!({ "do": "callback", "url": response }));
    }
    let visitor = provider.visitor();
    let authorize = text(&library.done(json!({ "do": "authorize" })));
    let response = provider.sign_in(&visitor, &authorize).await;
    let tokens = library.done(json!({ "do": "callback", "url": response }));
    let claims = &tokens["claims"];
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(provider.issuer()), &json!(client)));
    assert_eq!((&claims["email"], &tokens["scope"]), (&json!("ada@example.com"), &json!("openid email")));
    let user = library.done(json!({ "do": "userInfo" }));
    assert_eq!((&user["sub"], &user["email_verified"]), (&claims["sub"], &json!(true)));
    let refreshed = library.done(json!({ "do": "refresh" }));
    assert_eq!(refreshed["claims"]["sub"], claims["sub"]);
    assert_ne!(refreshed["access"], tokens["access"]);
    if !gaps.revocation {
        library.done(json!({ "do": "revoke" }));
        assert_eq!(Library::refused(&mut library, json!({ "do": "refresh" })), "invalid_grant");
    }
    let sign_out = text(&library.done(json!({ "do": "signOut" })));
    assert!(provider.has_session(&visitor, &authorize).await);
    let onward = redirect_target(&visitor.get(&sign_out).await).expect("the way back to the app");
    assert!(onward.starts_with(&format!("{SIGNED_OUT}?state=")), "{onward}");
    assert!(!provider.has_session(&visitor, &authorize).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn openid_client() {
    live("openid-client", "server", "RS256", Gaps::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth4webapi() {
    live("oauth4webapi", "spa", "ES256", Gaps::default()).await;
}

/// Authlib 1.9 does not read `iss`.
#[tokio::test(flavor = "multi_thread")]
async fn authlib() {
    live("authlib", "server", "ES256", Gaps { iss: true, revocation: true }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pyoidc() {
    live("pyoidc", "server", "RS256", Gaps { iss: false, revocation: true }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_push_their_requests() {
    for (name, client) in [("openid-client", "server"), ("oauth4webapi", "spa")] {
        let provider = Provider::start("ES256", CALLBACK, SIGNED_OUT);
        let mut config = provider.config(client);
        config["pushed"] = json!(true);
        let mut library = provider.library_with(name, config);
        let authorize = text(&library.done(json!({ "do": "authorize" })));
        assert!(authorize.contains("request_uri=urn") && !authorize.contains("redirect_uri"), "{authorize}");
        let response = provider.sign_in(&provider.visitor(), &authorize).await;
        let tokens = library.done(json!({ "do": "callback", "url": response }));
        assert_eq!(tokens["claims"]["email"], "ada@example.com");
    }
}

/// Of an unchanged client; that sign-out ends the session is also a part of each library's test.
#[tokio::test(flavor = "multi_thread")]
async fn pain_6_a_client_ends_the_pools_session_and_its_length_is_a_setting() {
    let provider = Provider::start_with("RS256", CALLBACK, SIGNED_OUT, "auth", |builder| {
        builder.tables("[session]\nidle = \"6s\"\nabsolute = \"6s\"\n")
    });
    let mut library = provider.library("openid-client", "server");
    let (visitor, other) = (provider.visitor(), provider.visitor());
    let authorize = text(&library.done(json!({ "do": "authorize" })));
    let response = provider.sign_in(&visitor, &authorize).await;
    library.done(json!({ "do": "callback", "url": response }));
    assert!(provider.has_session(&visitor, &authorize).await);
    visitor.get(&text(&library.done(json!({ "do": "signOut" })))).await;
    assert!(!provider.has_session(&visitor, &authorize).await);
    provider.sign_in(&other, &authorize).await;
    let begun = std::time::Instant::now();
    assert!(provider.has_session(&other, &authorize).await);
    while provider.has_session(&other, &authorize).await {
        assert!(begun.elapsed().as_secs() < 20, "the session goes on");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_jwt_verify() {
    for algorithm in ["RS256", "ES256"] {
        let provider = Provider::start(algorithm, CALLBACK, SIGNED_OUT);
        let mut library = provider.library("oauth4webapi", "spa");
        let authorize = text(&library.done(json!({ "do": "authorize" })));
        let response = provider.sign_in(&provider.visitor(), &authorize).await;
        let tokens = library.done(json!({ "do": "callback", "url": response }));
        let verify = |token: &Value, token_use| json!({ "do": "verify", "token": token, "use": token_use });
        for (token, other) in [("id", "access"), ("access", "id")] {
            let claims = library.done(verify(&tokens[token], token));
            assert_eq!((&claims["sub"], &claims["token_use"]), (&tokens["claims"]["sub"], &json!(token)));
            Library::refused(&mut library, verify(&tokens[token], other));
            let (signed, signature) = tokens[token].as_str().unwrap().rsplit_once('.').unwrap();
            let forged = json!(format!("{signed}.{}", signature.chars().rev().collect::<String>()));
            Library::refused(&mut library, verify(&forged, token));
        }
    }
}

/// An app in Chromium, whose library `ada` signs in with.
struct App {
    provider: Provider,
    address: String,
    page: InBrowser,
}

impl App {
    async fn open(library: &str, scope: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Cognito allows addresses without TLS at this host only.
        let address = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
        serve_app(listener, "oauth-browser.mjs").await;
        let provider = Provider::start("RS256", &address, &address);
        let mut config = provider.config("spa");
        config["scope"] = json!(scope);
        let page = InBrowser::on_page(&address, library, config).await;
        Self { provider, address, page }
    }

    /// Waits until the browser is at an address that begins so.
    async fn until_at(&self, begin: &str) -> Url {
        for _ in 0..400 {
            let at = self.page.browser.current_url().await.unwrap();
            if at.as_str().starts_with(begin) {
                return at;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("at {} in the place of {begin}", self.page.browser.current_url().await.unwrap());
    }

    /// Has the library ask for a sign-in, and signs in on the page.
    async fn sign_in(&self, order: Value) -> Url {
        self.page.leave(order).await;
        wait_for_text(&self.page.browser, "Forgot your password?").await;
        for (name, value) in [("username", "ada".to_owned()), ("password", format!("{PASSWORD}\n"))] {
            let field = self
                .page
                .browser
                .wait()
                .for_element(Locator::Css(&format!("input[name={name}]")))
                .await
                .unwrap();
            field.send_keys(&value).await.unwrap();
        }
        self.until_at(&format!("{}?code=", self.address)).await
    }

    /// Asserts that a library's tokens are those of `ada`.
    fn assert_tokens(&self, tokens: &Value) {
        let claims = &tokens["claims"];
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!(self.provider.issuer()), &json!("spa")));
        assert_eq!(claims["email"], "ada@example.com");
    }

    /// Signs out by the library, which ends the pool's session, too: the next sign-in has a page.
    async fn sign_out(mut self) {
        self.page.leave(json!({ "do": "signOut" })).await;
        self.provider.api.narthex.wait_for_log("\"event\":\"logout\"");
        self.until_at(&self.address).await;
        assert_eq!(self.page.done(json!({ "do": "signedOut" })), true);
        self.page.browser.goto(&self.address).await.unwrap();
        self.page.leave(json!({ "do": "leave" })).await;
        wait_for_text(&self.page.browser, "Forgot your password?").await;
        self.page.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oidc_client_ts() {
    let mut app = App::open("oidc-client-ts", "openid email").await;
    let back = app.sign_in(json!({ "do": "leave", "nonce": "n-1" })).await;
    let wrong = changed(back.as_str(), "state");
    app.page.browser.goto(&wrong).await.unwrap();
    app.page.refused(json!({ "do": "arrive" }));
    app.page.browser.goto(back.as_str()).await.unwrap();
    let tokens = app.page.done(json!({ "do": "arrive" }));
    app.assert_tokens(&tokens);
    // From userInfo alone.
    assert_eq!(tokens["claims"]["username"], "ada");
    let refreshed = app.page.done(json!({ "do": "refresh" }));
    assert_ne!(refreshed["access"], tokens["access"]);
    app.page.done(json!({ "do": "revoke" }));
    // The frame of another site has no session. The library learns it by the state of the error.
    assert_eq!(app.page.refused(json!({ "do": "silent" })), "login_required");
    app.sign_out().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_amplify() {
    let mut app = App::open("amplify", "openid email aws.cognito.signin.user.admin").await;
    app.sign_in(json!({ "do": "leave" })).await;
    let tokens = app.page.done(json!({ "do": "arrive" }));
    app.assert_tokens(&tokens);
    assert_eq!(tokens["scope"], "openid email aws.cognito.signin.user.admin");
    assert_eq!(app.page.done(json!({ "do": "attributes" }))["email_verified"], "true");
    let refreshed = app.page.done(json!({ "do": "refresh" }));
    assert_ne!(refreshed["access"], tokens["access"]);
    app.sign_out().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mod_auth_openidc() {
    let (port, upstream) = (free_port(), Upstream::start_without_cookies().await);
    let at = |path: &str| format!("http://localhost:{port}{path}");
    let provider = Provider::start("RS256", &at("/callback"), &at("/bye"));
    let authority = provider.api.narthex.folder().join("certs/local-authority.pem");
    let (issuer, client) = (provider.issuer(), ("server", SECRET));
    let config =
        apache::Config { port, upstream: upstream.port, issuer: &issuer, authority: &authority, client };
    let _apache = Apache::start(&config);
    let begin = async |visitor: &crate::support::visitor::Visitor| {
        redirect_target(&visitor.get(&at("/page")).await).expect("the way to the provider")
    };
    let visitor = provider.visitor();
    let request = changed(&begin(&visitor).await, "nonce");
    let response = provider.sign_in(&visitor, &request).await;
    let page = visitor.get(&response).await.text().await.unwrap();
    assert!(page.contains("Error in handling response type"), "{page}");
    let visitor = provider.visitor();
    let response = provider.sign_in(&visitor, &begin(&visitor).await).await;
    assert_status(&visitor.get(&changed(&response, "state")).await, 400);
    let landed = visitor.follow(&response).await;
    assert_eq!((landed.status().as_u16(), landed.url().as_str()), (200, &*at("/page")));
    let seen: Seen = landed.json().await.unwrap();
    assert_eq!(
        (seen.header("oidc_claim_iss"), seen.header("oidc_claim_email")),
        (&*issuer, "ada@example.com")
    );
    // From userInfo alone.
    assert_eq!(seen.header("oidc_claim_username"), "ada");
    let refresh = |token: &str| {
        at(&format!("/callback?refresh=http%3A%2F%2Flocalhost%3A{port}%2Fpage&access_token={token}"))
    };
    let later: Seen = visitor.follow(&refresh(seen.header("oidc_access_token"))).await.json().await.unwrap();
    assert_ne!(later.header("oidc_access_token"), seen.header("oidc_access_token"));
    let sign_out = visitor.get(&at(&format!("/callback?logout=http%3A%2F%2Flocalhost%3A{port}%2Fbye"))).await;
    let at_provider = redirect_target(&sign_out).expect("the way to the provider");
    assert!(at_provider.contains("id_token_hint="), "{at_provider}");
    assert_eq!(redirect_target(&visitor.get(&at_provider).await), Some(at("/bye")));
    assert!(!provider.has_session(&visitor, &begin(&visitor).await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_narthex() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let signed_out = format!("{}/logout", builder.origin("auth"));
    let provider = Provider::start_with("ES256", &builder.callback("first"), &signed_out, "", |of| of);
    let authority = provider.api.narthex.folder().join("certs/local-authority.pem");
    // Both have certificates of one authority, so that the visitor trusts both.
    let builder = provider.api.narthex.share_authority(&builder);
    let second = builder
        .tables(&format!(
            "[[provider]]\nname = \"first\"\ntype = \"oidc\"\nissuer = \"{}\"\nclient_id = \"server\"\n\
             client_secret = \"{SECRET}\"\nca = \"{}\"\nallow = \"anyone\"\n",
            provider.issuer(),
            authority.display()
        ))
        .route("app", upstream.port, "")
        .start();
    let (app, visitor) = (format!("{}/page", second.origin("app")), provider.visitor());
    let response = provider.sign_in(&visitor, &app).await;
    let landed = visitor.follow(&response).await;
    assert_eq!((landed.status().as_u16(), landed.url().as_str()), (200, &*app), "{}", second.log());
    let seen: Seen = landed.json().await.unwrap();
    let claims = seen.claims();
    assert_eq!((&claims["email"], &claims["email_verified"]), (&json!("ada@example.com"), &json!(true)));
    let home = second.origin("auth");
    let form =
        visitor.client.post(format!("{home}/logout")).header("origin", &home).header("accept", "text/html");
    let page = form.send().await.unwrap();
    let onward = page.headers()["refresh"].to_str().unwrap().strip_prefix("0;url=").unwrap().to_owned();
    assert!(onward.starts_with(&format!("{}/logout?", provider.api.narthex.origin(""))), "{onward}");
    let landed = visitor.follow(&onward).await;
    assert!(landed.url().as_str().starts_with(&signed_out), "{}", landed.url());
    visitor.open(&app).await.assert_shows("Forgot your password?");
}

/// With its provider for Cognito, which is given an issuer and a client.
#[tokio::test(flavor = "multi_thread")]
async fn auth_js() {
    const CALLBACK: &str = "https://app.example/auth/callback/cognito";
    for algorithm in ["RS256", "ES256"] {
        let provider = Provider::start(algorithm, CALLBACK, SIGNED_OUT);
        let authority = provider.api.narthex.folder().join("certs/local-authority.pem");
        let mut app = Orders::node("auth-js.mjs", &[&provider.config("server").to_string()], &authority);
        let authorize = text(&app.done(json!({ "do": "authorize" })));
        assert!(authorize.contains("code_challenge="), "{authorize}");
        let response = provider.sign_in(&provider.visitor(), &changed(&authorize, "code_challenge")).await;
        Library::refused(&mut app, json!({ "do": "callback", "url": response }));
        assert_eq!(app.done(json!({ "do": "session" })), Value::Null);
        let authorize = text(&app.done(json!({ "do": "authorize" })));
        let response = provider.sign_in(&provider.visitor(), &authorize).await;
        app.done(json!({ "do": "callback", "url": response }));
        assert_eq!(app.done(json!({ "do": "session" }))["user"]["email"], "ada@example.com");
    }
}
