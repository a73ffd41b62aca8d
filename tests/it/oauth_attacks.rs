//! Attacks on the endpoints of the OpenID provider, each against one defense.

use crate::support::aws::{create, ok, text};
use crate::support::oauth::{CALLBACK, PASSWORD, Scene, answer, create_user, parameter};
use crate::support::process::wait_until;
use crate::support::proofs::{proof, thumbprint};
use crate::support::time::unix_seconds;
use crate::support::token_issuer::{Key, base64url};
use crate::support::visitor::{Visitor, assert_status, redirect_target};
use reqwest::Url;
use serde_json::{Value, json};

const CLIENTS: &str = r#"
[[user_pool.client]]
name = "old"
id = "old"
allowed_oauth_flows = ["implicit"]
allowed_oauth_scopes = ["openid", "email"]
callback_urls = ["https://spa.example/callback"]
[[user_pool.client]]
name = "partner"
id = "partner"
allowed_oauth_flows = ["code"]
allowed_oauth_scopes = ["openid", "email"]
callback_urls = ["https://spa.example/callback"]
auth_flows = ["ALLOW_REFRESH_TOKEN_AUTH"]
require_consent = true
[[user_pool.client]]
name = "tv"
id = "tv"
device_authorization = true
allowed_oauth_scopes = ["openid", "email"]
auth_flows = ["ALLOW_REFRESH_TOKEN_AUTH"]
"#;

async fn start() -> Scene {
    let scene = Scene::start_with(CLIENTS, |builder| builder).await;
    create_user(&mut scene.api.boto(), &scene.api.pool_id(), "bob");
    scene
}

fn credentials(name: &str) -> [(&str, &str); 2] {
    [("username", name), ("password", PASSWORD)]
}

/// Signs a user in to `partner`, with the user's consent. Returns the code.
async fn consented(scene: &Scene, visitor: &Visitor) -> String {
    let page = visitor.open(&scene.authorize(&[("client_id", "partner")])).await;
    let consent = visitor.submit_onward(&page, &credentials("ada")).await;
    let page = visitor.open(&consent).await;
    let back: Url = visitor.submit_onward(&page, &[("decision", "allow")]).await.parse().unwrap();
    parameter(&back, "code").unwrap()
}

async fn sessions_form(scene: &Scene, visitor: &Visitor, fields: &[(&str, &str)]) {
    let form = visitor.client.post(format!("{}/sessions", scene.auth)).header("origin", &scene.auth);
    let status = form.form(fields).send().await.unwrap().status().as_u16();
    assert!(matches!(status, 200 | 303), "{status}");
}

async fn refresh(scene: &Scene, client: &str, tokens: &Value) -> (u16, Value) {
    let token = text(&tokens["refresh_token"]);
    scene.token(&[("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", &token)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_ended_gives_no_tokens() {
    let scene = start().await;
    let visitor = scene.visitor();
    let others = [("response_type", "token"), ("client_id", "old")];
    let request = scene.authorize(&others);
    scene.sign_in(&visitor, &request).await;
    let mut boto = scene.api.boto();
    let user = json!({ "UserPoolId": scene.api.pool_id(), "Username": "ada" });
    ok(&mut boto, "AdminUserGlobalSignOut", user);
    // The cache of a node may know the session for a moment longer.
    for _ in 0..50 {
        let response = visitor.get(&request).await;
        let to = redirect_target(&response).unwrap_or_default();
        assert!(!to.contains("access_token"), "{to}");
        if response.status() == 200 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_consent_leaves_nothing_to_its_client() {
    let scene = start().await;
    let visitor = scene.visitor();
    let code = consented(&scene, &visitor).await;
    let (_, tokens) = scene.redeem(&code, &[("client_id", "partner")]).await;
    let request = scene.authorize(&[("client_id", "partner"), ("prompt", "none")]);
    let second: Url = redirect_target(&visitor.get(&request).await).unwrap().parse().unwrap();
    let back = scene.sign_in(&scene.visitor(), &scene.authorize(&[])).await;
    let (_, of_another) = scene.redeem(&parameter(&back, "code").unwrap(), &[]).await;
    sessions_form(&scene, &visitor, &[("withdraw", "partner")]).await;
    // Neither the refresh token, nor a code that was not redeemed yet.
    assert_eq!(refresh(&scene, "partner", &tokens).await.1["error"], "invalid_grant");
    let redeemed = scene.redeem(&parameter(&second, "code").unwrap(), &[("client_id", "partner")]).await;
    assert_eq!((redeemed.0, &redeemed.1["error"]), (400, &json!("invalid_grant")));
    // The tokens of another client stay.
    assert_eq!(refresh(&scene, "spa", &of_another).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_listed_and_ends_when_its_user_says_so() {
    let scene = start().await;
    let visitor = scene.visitor();
    let connected = async || {
        let (_, begun) = scene.post("device_authorization", &[("client_id", "tv")]).await;
        let complete = text(&begun["verification_uri_complete"]);
        let mut page = visitor.get(&complete).await;
        if let Some(to) = redirect_target(&page) {
            let sign_in = visitor.open(&to).await;
            let onward = visitor.submit_onward(&sign_in, &credentials("ada")).await;
            page = visitor.get(&onward).await;
        }
        let page = crate::support::hosted::Page::of(page).await;
        visitor.submit(&page, &[("decision", "allow")]).await.assert_shows("Your device is connected");
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        let code = text(&begun["device_code"]);
        let fields = [("grant_type", grant), ("client_id", "tv"), ("device_code", &*code)];
        let (status, tokens) = scene.token(&fields).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    };
    let tokens = connected().await;
    visitor.open(&format!("{}/sessions", scene.auth)).await.assert_shows("Apps with access");
    let data = visitor.get(&format!("{}/account/data", scene.auth)).await;
    let data: Value = serde_json::from_str(&data.text().await.unwrap()).unwrap();
    assert_eq!(data["apps_with_access"][0]["client_id"], "tv");
    sessions_form(&scene, &visitor, &[("withdraw", "tv")]).await;
    assert_eq!(refresh(&scene, "tv", &tokens).await.1["error"], "invalid_grant");
    assert_eq!(scene.user_info(&tokens["access_token"]).await.0, 401);
    // A sign-out everywhere ends tokens, too.
    let tokens = connected().await;
    let back: Url = redirect_target(&visitor.get(&scene.authorize(&[])).await).unwrap().parse().unwrap();
    let (_, of_app) = scene.redeem(&parameter(&back, "code").unwrap(), &[]).await;
    sessions_form(&scene, &visitor, &[("all", "1")]).await;
    for (client, tokens) in [("tv", &tokens), ("spa", &of_app)] {
        assert_eq!(refresh(&scene, client, tokens).await.1["error"], "invalid_grant", "{client}");
        assert_eq!(scene.user_info(&tokens["access_token"]).await.0, 401, "{client}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_user_codes_of_a_visitor_lock_nobody_out_of_the_sign_in() {
    let scene = start().await;
    let visitor = scene.visitor();
    // An image on any page.
    let guess = format!("{}/device?user_code=BCDFBCDF", scene.auth);
    for _ in 0..130 {
        let image = visitor.client.get(&guess).header("sec-fetch-site", "cross-site");
        assert_status(&image.header("sec-fetch-dest", "image").send().await.unwrap(), 400);
    }
    assert_eq!(visitor.get(&guess).await.status(), 200, "no guess was counted");
    // Guesses that a person makes are limited, and block nothing else.
    let mut last = 200;
    for _ in 0..130 {
        last = visitor.get(&guess).await.status().as_u16();
    }
    assert_eq!(last, 429);
    let back = scene.sign_in(&visitor, &scene.authorize(&[])).await;
    assert!(parameter(&back, "code").is_some(), "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_client_fills_no_database_with_pushed_requests() {
    let scene = start().await;
    let url: Url = scene.authorize(&[]).parse().unwrap();
    let fields: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let mut fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let junk = "x".repeat(50_000);
    fields.push(("junk", &junk));
    let mut count = 0_u64;
    let refused = loop {
        let (status, pushed) = scene.post("par", &fields).await;
        if status != 201 {
            break (status, pushed);
        }
        count += 1;
        assert!(count < 400, "no limit");
    };
    assert_eq!(refused.0, 429, "{}", refused.1);
    // Each unknown parameter was larger than all of the others.
    let files = ["narthex.db", "narthex.db-wal"].map(|name| scene.api.narthex.folder().join(name));
    let size: u64 = files.iter().map(|file| std::fs::metadata(file).map_or(0, |of| of.len())).sum();
    assert!(size > 0 && size < 50_000 * count, "{size} bytes for {count} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_with_a_pushed_request_binds_its_code() {
    let scene = start().await;
    let url: Url = scene.authorize(&[]).parse().unwrap();
    let fields: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let par = format!("{}/oauth2/par", scene.auth);
    let push = async |proof: &str, more: &[(&str, &str)]| {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let fields: Vec<_> = fields.iter().cloned().chain(more).collect();
        let request = scene.visitor().client.post(&par).form(&fields).header("dpop", proof);
        answer(request.send().await.unwrap()).await
    };
    let (key, other) = (Key::new("ES256", "one"), Key::new("ES256", "other"));
    assert_eq!(push("garbage", &[]).await.1["error"], "invalid_dpop_proof");
    let elsewhere = proof(&key, "POST", &format!("{}/oauth2/token", scene.auth), None);
    assert_eq!(push(&elsewhere, &[]).await.1["error"], "invalid_dpop_proof");
    let mismatch = [("dpop_jkt", &*thumbprint(&other))];
    assert_eq!(push(&proof(&key, "POST", &par, None), &mismatch).await.1["error"], "invalid_request");
    let good = proof(&key, "POST", &par, None);
    let (status, pushed) = push(&good, &[]).await;
    assert_eq!(status, 201, "{pushed}");
    assert_eq!(push(&good, &[]).await.1["error"], "invalid_dpop_proof", "a replay");
    let uri = text(&pushed["request_uri"]);
    let mut open = Url::parse(&format!("{}/oauth2/authorize", scene.auth)).unwrap();
    open.query_pairs_mut().append_pair("client_id", "spa").append_pair("request_uri", &uri);
    let back = scene.sign_in(&scene.visitor(), open.as_str()).await;
    let code = parameter(&back, "code").unwrap();
    let redeem = async |key: &Key| {
        let url = format!("{}/oauth2/token", scene.auth);
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", "spa"),
            ("redirect_uri", CALLBACK),
            ("code", &*code),
            ("code_verifier", crate::support::oauth::VERIFIER),
        ];
        let request = scene.visitor().client.post(&url).form(&form);
        answer(request.header("dpop", proof(key, "POST", &url, None)).send().await.unwrap()).await
    };
    assert_eq!(redeem(&other).await.1["error"], "invalid_grant");
    let (status, tokens) = redeem(&key).await;
    assert_eq!((status, &tokens["token_type"]), (200, &json!("DPoP")), "{tokens}");
    // A key has one spelling: another one would have another thumbprint.
    let padded = {
        let mut jwk = key.jwk();
        jwk["x"] = json!(format!("{}=", text(&jwk["x"])));
        jwk
    };
    let claims = json!({ "jti": "p-1", "htm": "POST", "htu": par, "iat": unix_seconds() });
    let header = json!({ "jwk": padded });
    let proof = crate::support::proofs::proof_with(&key, &header, &claims);
    assert_eq!(push(&proof, &[]).await.1["error"], "invalid_dpop_proof");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consent_page_does_not_replace_the_sign_in_that_a_client_demands() {
    let scene = start().await;
    let visitor = scene.visitor();
    scene.sign_in(&visitor, &scene.authorize(&[])).await;
    let pushed = async |client: &str, prompt: &str| {
        let url: Url = scene.authorize(&[("client_id", client), ("prompt", prompt)]).parse().unwrap();
        let fields: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (_, pushed) = scene.post("par", &fields).await;
        let mut page = Url::parse(&format!("{}/consent", scene.auth)).unwrap();
        let uri = text(&pushed["request_uri"]);
        page.query_pairs_mut().append_pair("client_id", client).append_pair("request_uri", &uri);
        page
    };
    // The clock of authentications has seconds or less; the request is later than the sign-in.
    let page = pushed("partner", "login").await;
    let to = redirect_target(&visitor.get(page.as_str()).await).expect("the sign-in");
    assert!(to.starts_with(&format!("{}/oauth2/authorize?", scene.auth)), "{to}");
    let form = [("decision", "allow"), ("user", "x")];
    let sent =
        visitor.client.post(page.clone()).header("origin", &scene.auth).form(&form).send().await.unwrap();
    assert!(redirect_target(&sent).is_some_and(|to| to.contains("/oauth2/authorize?")));
    // After the sign-in, the page asks.
    let sign_in = visitor.open(&to).await;
    let onward = visitor.submit_onward(&sign_in, &credentials("ada")).await;
    visitor.open(&onward).await.assert_shows("partner asks for access");
    // So does a pushed `max_age`, however long the user looks at the page.
    let page = pushed("partner", "consent").await;
    let aged = {
        let url: Url = scene.authorize(&[("client_id", "partner"), ("max_age", "0")]).parse().unwrap();
        let fields: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        text(&scene.post("par", &fields).await.1["request_uri"])
    };
    let mut open = page.clone();
    open.query_pairs_mut().clear().append_pair("client_id", "partner").append_pair("request_uri", &aged);
    open.set_path("/oauth2/authorize");
    // Ages are whole seconds.
    let next_second = || {
        let begun = unix_seconds();
        tokio::task::block_in_place(|| wait_until("the next second", || unix_seconds() > begun + 1));
    };
    next_second();
    let sign_in = visitor.open(open.as_str()).await;
    let onward = visitor.submit_onward(&sign_in, &credentials("ada")).await;
    next_second();
    let consent = visitor.open(&onward).await;
    let back = visitor.submit_onward(&consent, &[("decision", "allow")]).await;
    assert!(back.starts_with(CALLBACK), "{back}");
    // Without a page where the client allows none.
    let silent = pushed("partner", "none").await;
    let to: Url = redirect_target(&visitor.get(silent.as_str()).await).unwrap().parse().unwrap();
    assert_eq!(parameter(&to, "error").as_deref(), Some("consent_required"));
    // A client that asks for no consent has no such page.
    let page = pushed("spa", "login").await;
    let to = redirect_target(&visitor.get(page.as_str()).await).unwrap();
    assert!(to.contains("/oauth2/authorize?"), "{to}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_of_the_user_whom_the_page_has_shown() {
    let scene = start().await;
    let visitor = scene.visitor();
    let page = visitor.open(&scene.authorize(&[("client_id", "partner")])).await;
    let consent = visitor.submit_onward(&page, &credentials("ada")).await;
    let of_ada = visitor.open(&consent).await;
    of_ada.assert_shows("ada");
    let (_, begun) = scene.post("device_authorization", &[("client_id", "tv")]).await;
    let device_of_ada = visitor.open(&text(&begun["verification_uri_complete"])).await;
    // In another tab.
    let sign_in = visitor.open(&scene.authorize(&[("prompt", "login")])).await;
    visitor.submit_onward(&sign_in, &credentials("bob")).await;
    let again = visitor.submit(&of_ada, &[("decision", "allow")]).await;
    again.assert_shows("partner asks for access");
    again.assert_shows("bob");
    let again = visitor.submit(&device_of_ada, &[("decision", "allow")]).await;
    again.assert_shows("tv asks for access");
    again.assert_shows("bob");
    assert!(scene.api.narthex.audit("consent_decided").is_empty());
    assert!(scene.api.narthex.audit("device_decided").is_empty());
    let back = visitor.submit_onward(&visitor.open(&consent).await, &[("decision", "allow")]).await;
    assert!(back.starts_with(CALLBACK), "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_loses_its_only_scope_refreshes_no_more() {
    let scene = start().await;
    let mut boto = scene.api.boto();
    let pool = text(&create(&mut boto, json!({}))["Id"]);
    create_user(&mut boto, &pool, "ada");
    let scope = "aws.cognito.signin.user.admin";
    let settings = |flows: Value, scopes: Value| {
        json!({ "UserPoolId": pool, "ClientName": "app", "AllowedOAuthFlows": flows, "AllowedOAuthScopes": scopes,
            "AllowedOAuthFlowsUserPoolClient": flows != json!([]), "CallbackURLs": [CALLBACK],
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
            "SupportedIdentityProviders": ["COGNITO"] })
    };
    let made = ok(&mut boto, "CreateUserPoolClient", settings(json!(["code"]), json!([scope])));
    let id = text(&made["UserPoolClient"]["ClientId"]);
    let back =
        scene.sign_in(&scene.visitor(), &scene.authorize(&[("client_id", &id), ("scope", scope)])).await;
    let (status, tokens) = scene.redeem(&parameter(&back, "code").unwrap(), &[("client_id", &id)]).await;
    assert_eq!((status, &tokens["scope"]), (200, &json!(scope)), "{tokens}");
    let auth = json!({ "ClientId": id, "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": { "USERNAME": "ada", "PASSWORD": PASSWORD } });
    let of_api = boto.unsigned("InitiateAuth", auth).unwrap();
    let of_api = json!({ "refresh_token": of_api["AuthenticationResult"]["RefreshToken"] });
    assert_eq!(refresh(&scene, &id, &tokens).await.0, 200);
    let mut update = settings(json!([]), json!([]));
    update["ClientId"] = json!(id);
    ok(&mut boto, "UpdateUserPoolClient", update);
    assert_eq!(refresh(&scene, &id, &tokens).await.1["error"], "invalid_grant");
    // A sign-in at the API has that scope of its own.
    assert_eq!(refresh(&scene, &id, &of_api).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_id_token_of_the_user_signs_out_without_a_question() {
    let scene = start().await;
    let visitor = scene.visitor();
    let back = scene.sign_in(&visitor, &scene.authorize(&[])).await;
    let (_, of_ada) = scene.redeem(&parameter(&back, "code").unwrap(), &[]).await;
    let other = scene.visitor();
    let page = other.open(&scene.authorize(&[])).await;
    let back: Url = other.submit_onward(&page, &credentials("bob")).await.parse().unwrap();
    let (_, of_bob) = scene.redeem(&parameter(&back, "code").unwrap(), &[]).await;
    let claims = json!({ "aud": "spa", "iss": format!("{}/{}", scene.auth, scene.api.pool_id()),
        "sub": "x", "token_use": "id", "exp": 9_999_999_999_u64 });
    let forged = Key::new("ES256", "forged").token(&Value::Null, &claims.to_string());
    let none = format!("{}.{}.", base64url(r#"{"alg":"none"}"#), base64url(claims.to_string()));
    let logout = |hint: &str, more: &str| {
        let bye = "https%3A%2F%2Fspa.example%2Fbye";
        format!("{}/logout?id_token_hint={hint}&post_logout_redirect_uri={bye}{more}", scene.auth)
    };
    let (bob, access) = (text(&of_bob["id_token"]), text(&of_ada["access_token"]));
    for (hint, more) in [
        (&forged, ""),
        (&none, ""),
        (&"nonsense".to_owned(), "&client_id=spa"),
        (&bob, ""),
        (&access, "&client_id=spa"),
        (&text(&of_ada["id_token"]), "&client_id=server"),
    ] {
        let response = visitor.get(&logout(hint, more)).await;
        assert_eq!(redirect_target(&response), None, "{hint} {more}");
        assert!(redirect_target(&visitor.get(&scene.authorize(&[])).await).is_some(), "signed out: {more}");
    }
    let right = visitor.get(&logout(&text(&of_ada["id_token"]), "&client_id=spa")).await;
    assert_eq!(redirect_target(&right).as_deref(), Some("https://spa.example/bye"));
}
