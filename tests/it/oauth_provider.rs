//! The OAuth 2.0 and OpenID provider of a user pool: authorization codes, tokens, errors, sign-out.

use crate::support::aws::{claims, create, ok, text};
use crate::support::hosted::Page;
use crate::support::oauth::{CALLBACK, PASSWORD, SECRET, Scene, VERIFIER, answer, create_user, parameter};
use crate::support::visitor::{assert_status, redirect_target};
use narthex::token::challenge;
use reqwest::Url;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_public_client_gets_tokens_refreshes_and_revokes() {
    let scene = Scene::start().await;
    let visitor = scene.visitor();
    let back = scene.sign_in(&visitor, &scene.authorize(&[])).await;
    assert!(back.as_str().starts_with(CALLBACK), "{back}");
    let issuer = format!("{}/{}", scene.auth, scene.api.pool_id());
    assert_eq!(parameter(&back, "state").unwrap(), "s-1 &x");
    assert_eq!(parameter(&back, "iss").unwrap(), issuer);
    let (status, tokens) = scene.redeem(&parameter(&back, "code").unwrap(), &[]).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert_eq!(tokens["scope"], "openid email");
    let id = claims(&text(&tokens["id_token"]));
    assert_eq!((&id["nonce"], &id["aud"], &id["iss"]), (&json!("n-1"), &json!("spa"), &json!(issuer)));
    assert_eq!((&id["email"], &id["given_name"]), (&json!("ada@example.com"), &Value::Null));
    let (status, user) = scene.user_info(&tokens["access_token"]).await;
    assert_eq!((status, &user["sub"], &user["email"]), (200, &id["sub"], &json!("ada@example.com")));
    assert_eq!((&user["email_verified"], &user["given_name"]), (&json!(true), &Value::Null));
    // A second request of the same browser needs no password, and another scope releases more.
    let again = visitor.get(&scene.authorize(&[("scope", "openid profile")])).await;
    let back: Url = redirect_target(&again).expect("a code at once").parse().unwrap();
    let (_, more) = scene.redeem(&parameter(&back, "code").unwrap(), &[]).await;
    let more = claims(&text(&more["id_token"]));
    assert_eq!((&more["given_name"], &more["auth_time"]), (&json!("Ada"), &id["auth_time"]));
    let refresh = async |token: &Value, more: &[(&str, &str)]| {
        let token = text(token);
        let fields = [("grant_type", "refresh_token"), ("client_id", "spa"), ("refresh_token", &*token)];
        scene.token(&[&fields[..], more].concat()).await
    };
    let (status, error) = refresh(&tokens["refresh_token"], &[("client_id", "server")]).await;
    assert_eq!((status, &error["error"]), (400, &json!("invalid_request")), "a parameter comes twice");
    // A scope that was not granted is an error, which leaves the token as it is.
    let (status, error) = refresh(&tokens["refresh_token"], &[("scope", "openid profile")]).await;
    assert_eq!((status, &error["error"]), (400, &json!("invalid_scope")));
    let (status, refreshed) = refresh(&tokens["refresh_token"], &[("scope", "openid")]).await;
    assert_eq!((status, &claims(&text(&refreshed["id_token"]))["sub"]), (200, &id["sub"]));
    // Without a grace period an earlier token ends the family.
    let (status, error) = refresh(&tokens["refresh_token"], &[]).await;
    assert_eq!((status, &error["error"]), (400, &json!("invalid_grant")));
    assert_eq!(scene.user_info(&refreshed["access_token"]).await.0, 401);
    // Revocation ends refresh token and access tokens, and an unknown token is no error.
    let back = scene.sign_in(&scene.visitor(), &scene.authorize(&[])).await;
    let (_, tokens) = scene.redeem(&parameter(&back, "code").unwrap(), &[]).await;
    for token in [&text(&tokens["refresh_token"]), "nonsense"] {
        let fields = [("client_id", "spa"), ("token", token)];
        let request = scene.visitor().client.post(format!("{}/oauth2/revoke", scene.auth)).form(&fields);
        assert_status(&request.send().await.unwrap(), 200);
    }
    assert_eq!(refresh(&tokens["refresh_token"], &[]).await.0, 400);
    assert_eq!(scene.user_info(&tokens["access_token"]).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_used_twice_ends_its_tokens() {
    let scene = Scene::start().await;
    let back = scene.sign_in(&scene.visitor(), &scene.authorize(&[])).await;
    let code = parameter(&back, "code").unwrap();
    let (_, tokens) = scene.redeem(&code, &[]).await;
    assert_eq!(scene.user_info(&tokens["access_token"]).await.0, 200);
    // Somebody who only saw the code ends nothing.
    let (status, error) = scene.redeem(&code, &[("code_verifier", &"x".repeat(43))]).await;
    assert_eq!((status, &error["error"]), (400, &json!("invalid_grant")));
    assert_eq!(scene.user_info(&tokens["access_token"]).await.0, 200);
    let (status, error) = scene.redeem(&code, &[]).await;
    assert_eq!((status, &error["error"]), (400, &json!("invalid_grant")));
    assert_eq!(scene.user_info(&tokens["access_token"]).await.0, 401);
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", "spa"),
        ("refresh_token", &*text(&tokens["refresh_token"])),
    ];
    assert_eq!(scene.token(&refresh).await.0, 400);
    assert_eq!(scene.api.narthex.audit("code_reused").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_5_every_error_redirect_carries_the_state() {
    let scene = Scene::start().await;
    let visitor = scene.visitor();
    let long = "x".repeat(1025);
    for (others, error) in [
        (&[("response_type", "")][..], "unsupported_response_type"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_type", "code id_token")], "unsupported_response_type"),
        (&[("response_mode", "fragment")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("code_challenge", ""), ("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge", "short")], "invalid_request"),
        (&[("scope", "openid nonsense")], "invalid_scope"),
        (&[("scope", "email")], "invalid_scope"),
        (&[("scope", "aws.cognito.signin.user.admin")], "invalid_scope"),
        (&[("request", "x")], "request_not_supported"),
        (&[("request_uri", "https://x.example")], "request_uri_not_supported"),
        (&[("registration", "{}")], "registration_not_supported"),
        (&[("prompt", "none")], "login_required"),
        (&[("prompt", "none login")], "invalid_request"),
        (&[("max_age", "x")], "invalid_request"),
        (&[("identity_provider", "nonesuch")], "invalid_request"),
        (&[("nonce", &long)], "invalid_request"),
        (&[("client_id", "api"), ("redirect_uri", "https://api.example/callback")], "unauthorized_client"),
    ] {
        let response = visitor.get(&scene.authorize(others)).await;
        let to = redirect_target(&response).unwrap_or_else(|| panic!("{others:?}: no redirect"));
        let to: Url = to.parse().unwrap();
        assert_eq!(parameter(&to, "error").as_deref(), Some(error), "{others:?}: {to}");
        assert_eq!(parameter(&to, "state").as_deref(), Some("s-1 &x"), "{others:?}: {to}");
        assert!(parameter(&to, "iss").unwrap().ends_with(&scene.api.pool_id()), "{others:?}: {to}");
        assert!(parameter(&to, "code").is_none());
    }
    let too_long = visitor.get(&scene.authorize(&[("state", &long)])).await;
    let to: Url = redirect_target(&too_long).unwrap().parse().unwrap();
    assert_eq!(
        (parameter(&to, "error").as_deref(), parameter(&to, "state")),
        (Some("invalid_request"), None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_sent_to_no_address_that_is_not_registered() {
    let scene = Scene::start().await;
    let visitor = scene.visitor();
    let mut spellings: Vec<String> = [
        "https://evil.example/callback",
        "https://spa.example",
        "https://spa.example/",
        "https://spa.example/callback/",
        "https://spa.example/callback?",
        "https://spa.example/callback#",
        "https://spa.example/callback?x=y",
        "https://spa.example/callback/../callback",
        "https://spa.example/./callback",
        "https://spa.example//callback",
        "https://spa.example/callback%20",
        "https://spa.example/%63allback",
        "https://spa.example/Callback",
        "https://SPA.example/callback",
        "HTTPS://spa.example/callback",
        "https://spa.example:443/callback",
        "https://spa.example./callback",
        "https://spa.example.evil.example/callback",
        "https://spa.example@evil.example/callback",
        "https://evil.example/https://spa.example/callback",
        "https://evil.example\\@spa.example/callback",
        "https://spa.example\\callback",
        "https:\\\\spa.example/callback",
        "https:/spa.example/callback",
        "https:spa.example/callback",
        "//spa.example/callback",
        "/callback",
        "callback",
        "http://spa.example/callback",
        "javascript:alert(1)//https://spa.example/callback",
        "data:text/html,x",
        "https://spa.example/callback;x",
        "https://spa.example/callback\u{0}",
        "https://spa.example/callback\u{200b}",
        "https://spa.example/callback\r\nX: y",
        "https://spa.example/other?a=b&c=d",
        "https://spa.example/other?a=B",
        "https://spa.example/other",
        "myapp://signed-in/",
        "myapp://signed-in?x",
        "MYAPP://signed-in",
        "myapp:signed-in",
        "https://server.example/callback",
        "https://[::1]/callback",
        "https://127.0.0.1/callback",
        "https://spa。example/callback",
        "https://xn--spa.example/callback",
    ]
    .map(str::to_owned)
    .to_vec();
    spellings.extend([" ", "\t", "\n"].map(|space| format!("{space}{CALLBACK}")));
    spellings.extend([" ", "\t", "\n"].map(|space| format!("{CALLBACK}{space}")));
    assert!(spellings.len() >= 50);
    for spelling in &spellings {
        for more in [&[][..], &[("prompt", "none")], &[("response_type", "x")]] {
            let others = [&[("redirect_uri", &**spelling)][..], more].concat();
            let response = visitor.get(&scene.authorize(&others)).await;
            assert_eq!((response.status().as_u16(), redirect_target(&response)), (400, None), "{spelling:?}");
        }
    }
    for missing in [&[("redirect_uri", "")][..], &[("client_id", "")], &[("client_id", "nonesuch")]] {
        assert_status(&visitor.get(&scene.authorize(missing)).await, 400);
    }
    let twice = format!("{}&redirect_uri=https://evil.example", scene.authorize(&[]));
    assert_status(&visitor.get(&twice).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_endpoint_refuses_what_does_not_fit_the_code() {
    let scene = Scene::start().await;
    let visitor = scene.visitor();
    let public = scene.sign_in(&visitor, &scene.authorize(&[])).await;
    let code = parameter(&public, "code").unwrap();
    let long = "x".repeat(43);
    for (others, expected) in [
        (&[("code_verifier", "")][..], (400, "invalid_grant")),
        (&[("code_verifier", &*long)], (400, "invalid_grant")),
        (&[("code_verifier", &*challenge(VERIFIER))], (400, "invalid_grant")),
        (&[("redirect_uri", "https://spa.example/other?a=b")], (400, "invalid_grant")),
        (&[("redirect_uri", "")], (400, "invalid_request")),
        (&[("code", "")], (400, "invalid_request")),
        (&[("code", "nonsense")], (400, "invalid_grant")),
        (&[("client_id", "server"), ("client_secret", SECRET)], (400, "invalid_grant")),
        (&[("client_id", "server"), ("client_secret", "wrong-secret")], (401, "invalid_client")),
        (&[("client_id", "server")], (401, "invalid_client")),
        (&[("client_secret", "any-secret")], (401, "invalid_client")),
        (&[("client_id", "nonesuch")], (401, "invalid_client")),
        (&[("client_id", "api")], (400, "unauthorized_client")),
        (&[("grant_type", "")], (400, "invalid_request")),
        (&[("grant_type", "password")], (400, "unsupported_grant_type")),
        (&[("grant_type", "client_credentials")], (400, "unauthorized_client")),
    ] {
        let (status, error) = scene.redeem(&code, others).await;
        assert_eq!((status, error["error"].as_str().unwrap()), expected, "{others:?}: {error}");
    }
    // A public client has no secret that could be guessed: nobody shuts it out.
    for _ in 0..320 {
        scene.token(&[("client_id", "spa"), ("client_secret", "z"), ("grant_type", "refresh_token")]).await;
    }
    // None of these has used the code up.
    assert_eq!(scene.redeem(&code, &[]).await.0, 200);
    // A confidential client may go without a challenge; a verifier then belongs to none.
    let server = [
        ("client_id", "server"),
        ("redirect_uri", "https://server.example/callback"),
        ("scope", ""),
        ("code_challenge", ""),
        ("code_challenge_method", ""),
    ];
    let back = visitor.get(&scene.authorize(&server)).await;
    let code = parameter(&redirect_target(&back).unwrap().parse().unwrap(), "code").unwrap();
    let own = [
        ("client_id", "server"),
        ("client_secret", SECRET),
        ("redirect_uri", "https://server.example/callback"),
    ];
    let (status, error) = scene.redeem(&code, &own).await;
    assert_eq!((status, &error["error"]), (400, &json!("invalid_grant")), "a verifier without a challenge");
    let (status, tokens) = scene.redeem(&code, &[&own[..], &[("code_verifier", "")]].concat()).await;
    assert_eq!((status, &tokens["scope"]), (200, &json!("openid aws.cognito.signin.user.admin")));
    // A token of the API has no `openid`: userInfo refuses it.
    let api = json!({
        "ClientId": "api", "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": { "USERNAME": "ada", "PASSWORD": PASSWORD },
    });
    let signed_in = scene.api.boto().unsigned("InitiateAuth", api).unwrap();
    let (status, error) = scene.user_info(&signed_in["AuthenticationResult"]["AccessToken"]).await;
    assert_eq!((status, &error["error"]), (403, &json!("insufficient_scope")));
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_4_lang_login_hint_and_prompt_change_the_page_or_forbid_it() {
    let scene = Scene::start().await;
    let visitor = scene.visitor();
    scene.sign_in(&visitor, &scene.authorize(&[])).await;
    let asked = async |others: &[(&str, &str)]| redirect_target(&visitor.get(&scene.authorize(others)).await);
    let silent: Url = asked(&[("prompt", "none")]).await.expect("a code").parse().unwrap();
    assert!(parameter(&silent, "code").is_some());
    assert!(asked(&[("max_age", "3600")]).await.is_some());
    for others in
        [&[("prompt", "login")][..], &[("prompt", "select_account")], &[("identity_provider", "COGNITO")]]
    {
        assert_eq!(asked(others).await, None, "{others:?}");
    }
    // `max_age` has seconds: the sign-in must be more than one second old by the real clock.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(asked(&[("max_age", "1")]).await, None);
    let old: Url = asked(&[("max_age", "1"), ("prompt", "none")]).await.unwrap().parse().unwrap();
    assert_eq!(parameter(&old, "error").as_deref(), Some("login_required"));
    let hint =
        visitor.open(&scene.authorize(&[("prompt", "login"), ("login_hint", "ada@example.com")])).await;
    assert_eq!(hint.value("username"), "ada@example.com");
    for name in ["lang", "ui_locales"] {
        let german = visitor.open(&scene.authorize(&[("prompt", "login"), (name, "de")])).await;
        german.assert_shows("Passwort vergessen?");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_signs_in_to_the_clients_of_its_own_pool_alone() {
    let scene = Scene::start().await;
    let mut boto = scene.api.boto();
    let other = text(&create(&mut boto, json!({}))["Id"]);
    let client = json!({
        "UserPoolId": other, "ClientName": "app", "CallbackURLs": ["https://other.example/cb"],
        "AllowedOAuthFlows": ["code"], "AllowedOAuthFlowsUserPoolClient": true,
        "AllowedOAuthScopes": ["openid"], "SupportedIdentityProviders": ["COGNITO"],
    });
    let client = text(&ok(&mut boto, "CreateUserPoolClient", client)["UserPoolClient"]["ClientId"]);
    create_user(&mut boto, &other, "ada");
    let of_other = scene.authorize(&[
        ("client_id", &client),
        ("redirect_uri", "https://other.example/cb"),
        ("scope", "openid"),
    ]);
    let visitor = scene.visitor();
    let back = scene.sign_in(&visitor, &of_other).await;
    assert!(back.as_str().starts_with("https://other.example/cb?code="), "{back}");
    // The user of the other pool is nobody at the gateway and at the first pool's clients.
    visitor.open(&scene.app).await.assert_shows("Forgot your password?");
    visitor.open(&scene.authorize(&[])).await.assert_shows("Forgot your password?");
    let silent = redirect_target(&visitor.get(&scene.authorize(&[("prompt", "none")])).await).unwrap();
    assert!(silent.contains("error=login_required"), "{silent}");
    // A code of one pool is none at a client of another.
    let code = parameter(&back, "code").unwrap();
    assert_eq!(scene.redeem(&code, &[]).await.1["error"], "invalid_grant");
    let own = [("client_id", &*client), ("redirect_uri", "https://other.example/cb")];
    let (status, tokens) = scene.redeem(&code, &own).await;
    assert_eq!(status, 200, "{tokens}");
    assert!(text(&claims(&text(&tokens["id_token"]))["iss"]).ends_with(&other));
    // The other way round.
    let visitor = scene.visitor();
    scene.sign_in(&visitor, &scene.authorize(&[])).await;
    visitor.open(&of_other).await.assert_shows("Forgot your password?");
    assert_status(&visitor.follow(&scene.app).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_has_the_scopes_that_the_client_still_has() {
    let scene = Scene::start().await;
    let mut boto = scene.api.boto();
    let pool = text(&create(&mut boto, json!({}))["Id"]);
    let members = |scopes: Value, is_allowed: bool| {
        json!({
            "UserPoolId": pool, "ClientName": "app", "CallbackURLs": ["https://other.example/cb"],
            "AllowedOAuthFlows": ["code"], "AllowedOAuthFlowsUserPoolClient": is_allowed,
            "AllowedOAuthScopes": scopes, "SupportedIdentityProviders": ["COGNITO"],
            "ExplicitAuthFlows": ["ALLOW_REFRESH_TOKEN_AUTH"],
        })
    };
    let request = members(json!(["openid", "email", "phone"]), true);
    let client = text(&ok(&mut boto, "CreateUserPoolClient", request)["UserPoolClient"]["ClientId"]);
    create_user(&mut boto, &pool, "ada");
    let own = [("client_id", &*client), ("redirect_uri", "https://other.example/cb")];
    let asked = scene.authorize(&[&own[..], &[("scope", "openid email phone")]].concat());
    let back = scene.sign_in(&scene.visitor(), &asked).await;
    let (_, tokens) = scene.redeem(&parameter(&back, "code").unwrap(), &own).await;
    let token = text(&tokens["refresh_token"]);
    let fields = [("grant_type", "refresh_token"), ("client_id", &*client), ("refresh_token", &*token)];
    let mut change = |scopes: Value, is_allowed: bool| {
        let mut request = members(scopes, is_allowed);
        request["ClientId"] = json!(client);
        ok(&mut boto, "UpdateUserPoolClient", request);
    };
    let scope_of = |tokens: &Value| text(&claims(&text(&tokens["access_token"]))["scope"]);
    assert_eq!(scope_of(&scene.token(&fields).await.1), "openid email phone");
    change(json!(["openid", "phone"]), true);
    // The node serves a client from memory until the change feed names its pool.
    let begun = Instant::now();
    while scope_of(&scene.token(&fields).await.1) != "openid phone" {
        assert!(begun.elapsed().as_secs() < 5, "the token keeps a scope that the client lost");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    change(json!(["openid", "phone"]), false);
    let begun = Instant::now();
    while scene.token(&fields).await.1["error"] != "invalid_grant" {
        assert!(begun.elapsed().as_secs() < 5, "the client still refreshes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_challenge_of_a_page_gives_no_tokens_at_the_api() {
    let scene = Scene::start().await;
    let mut boto = scene.api.boto();
    let temporary = "Temporary-Horse-9-Staple";
    let request = json!({
        "UserPoolId": scene.api.pool_id(), "Username": "temp", "TemporaryPassword": temporary,
        "MessageAction": "SUPPRESS",
    });
    ok(&mut boto, "AdminCreateUser", request);
    let visitor = scene.visitor();
    // No user signs in through this client by the API.
    let page = visitor.open(&scene.authorize(&[])).await;
    let new = visitor.submit(&page, &[("username", "temp"), ("password", temporary)]).await;
    let answer = json!({
        "ClientId": "spa", "ChallengeName": "NEW_PASSWORD_REQUIRED", "Session": new.value("session"),
        "ChallengeResponses": { "USERNAME": "temp", "NEW_PASSWORD": PASSWORD },
    });
    assert_eq!(boto.unsigned("RespondToAuthChallenge", answer).unwrap_err().code, "NotAuthorizedException");
    let back = visitor.submit_onward(&new, &[("password", PASSWORD)]).await;
    assert!(back.starts_with(CALLBACK), "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_signs_out_and_gets_the_browser_back() {
    let scene = Scene::start().await;
    let visitor = scene.visitor();
    let back = scene.sign_in(&visitor, &scene.authorize(&[])).await;
    let (_, tokens) = scene.redeem(&parameter(&back, "code").unwrap(), &[]).await;
    let logout = |query: &str| format!("{}/logout?{query}", scene.auth);
    let bye = "https%3A%2F%2Fspa.example%2Fbye";
    for query in [
        "client_id=spa&logout_uri=https%3A%2F%2Fevil.example%2F".to_owned(),
        format!("client_id=spa&logout_uri={bye}%2F"),
        format!("client_id=server&logout_uri={bye}"),
        format!("client_id=nonesuch&logout_uri={bye}"),
    ] {
        let response = visitor.get(&logout(&query)).await;
        assert_eq!((response.status().as_u16(), redirect_target(&response)), (400, None), "{query}");
    }
    // An image of another site ends nothing.
    let image = visitor.client.get(logout(&format!("client_id=spa&logout_uri={bye}")));
    assert_status(&image.header("sec-fetch-dest", "image").send().await.unwrap(), 400);
    let is_signed_in = async || redirect_target(&visitor.get(&scene.authorize(&[])).await).is_some();
    assert!(is_signed_in().await);
    let hint = text(&tokens["id_token"]);
    let query = format!("id_token_hint={hint}&post_logout_redirect_uri={bye}&state=s%20t");
    let response = visitor.get(&logout(&query)).await;
    assert_eq!(redirect_target(&response).as_deref(), Some("https://spa.example/bye?state=s+t"));
    assert!(!is_signed_in().await);
    scene.sign_in(&visitor, &scene.authorize(&[])).await;
    let response = visitor.get(&logout(&format!("client_id=spa&logout_uri={bye}"))).await;
    assert_eq!(redirect_target(&response).as_deref(), Some("https://spa.example/bye"));
    assert!(!is_signed_in().await);
    // Without an address of the client, the page asks.
    scene.sign_in(&visitor, &scene.authorize(&[])).await;
    Page::of(visitor.get(&logout("")).await).await.assert_shows("Sign out?");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_send_its_requests_as_forms() {
    let scene = Scene::start().await;
    let visitor = scene.visitor();
    let send = async |url: &str| {
        let mut url: Url = url.parse().unwrap();
        let fields: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        url.set_query(None);
        let request = visitor.client.post(url).header("origin", "https://spa.example");
        request.header("sec-fetch-site", "cross-site").form(&fields).send().await.unwrap()
    };
    let request = redirect_target(&send(&scene.authorize(&[])).await).expect("a request of the browser");
    let back = scene.sign_in(&visitor, &request).await;
    assert_eq!(parameter(&back, "state").as_deref(), Some("s-1 &x"));
    let (_, tokens) = scene.redeem(&parameter(&back, "code").unwrap(), &[]).await;
    let elsewhere = scene.authorize(&[("redirect_uri", "https://evil.example/")]);
    let request = redirect_target(&send(&elsewhere).await).unwrap();
    assert!(request.starts_with(&scene.auth), "{request}");
    assert_status(&visitor.get(&request).await, 400);
    let long = scene.authorize(&[("scope", &"x".repeat(9000))]);
    assert_status(&send(&long).await, 400);
    let hint = text(&tokens["id_token"]);
    let logout = format!("{}/logout", scene.auth);
    let named = [
        ("id_token_hint", &*hint),
        ("post_logout_redirect_uri", "https://spa.example/bye"),
        ("state", "s t"),
    ];
    let request = redirect_target(&send(Url::parse_with_params(&logout, named).unwrap().as_str()).await);
    assert!(redirect_target(&visitor.get(&scene.authorize(&[])).await).is_some(), "a session still");
    let onward = redirect_target(&visitor.get(&request.unwrap()).await);
    assert_eq!(onward.as_deref(), Some("https://spa.example/bye?state=s+t"));
    assert!(redirect_target(&visitor.get(&scene.authorize(&[])).await).is_none());
    // The form of the page without a client is Narthex's own.
    assert_status(&send(&logout).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_discovery_document_names_what_works() {
    let scene = Scene::start().await;
    let client = scene.visitor().client;
    let issuer = format!("{}/{}", scene.auth, scene.api.pool_id());
    let found = client.get(format!("{issuer}/.well-known/openid-configuration")).send().await.unwrap();
    let (_, document) = answer(found).await;
    assert_eq!(document["issuer"], issuer);
    for (name, path) in [
        ("authorization_endpoint", "/oauth2/authorize"),
        ("token_endpoint", "/oauth2/token"),
        ("userinfo_endpoint", "/oauth2/userInfo"),
        ("revocation_endpoint", "/oauth2/revoke"),
        ("end_session_endpoint", "/logout"),
        ("introspection_endpoint", "/oauth2/introspect"),
        ("pushed_authorization_request_endpoint", "/oauth2/par"),
        ("device_authorization_endpoint", "/oauth2/device_authorization"),
    ] {
        assert_eq!(document[name], format!("{}{path}", scene.auth), "{name}");
        let response = client.get(text(&document[name])).send().await.unwrap();
        assert!(matches!(response.status().as_u16(), 200 | 400 | 401 | 404), "{name}");
    }
    assert_eq!(
        document["grant_types_supported"],
        json!([
            "authorization_code",
            "refresh_token",
            "client_credentials",
            "implicit",
            "urn:ietf:params:oauth:grant-type:device_code"
        ])
    );
    for path in ["/oauth2/token", "/oauth2/userInfo", "/oauth2/revoke"] {
        let preflight = client.request(reqwest::Method::OPTIONS, format!("{}{path}", scene.auth));
        let response = preflight.header("origin", "https://spa.example").send().await.unwrap();
        assert_status(&response, 204);
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        let allowed = response.headers()["access-control-allow-headers"].to_str().unwrap();
        // aws-amplify sends the last one.
        for name in ["authorization", "content-type", "x-amz-user-agent"] {
            assert!(allowed.split(", ").any(|one| one == name), "{path}: {allowed}");
        }
    }
}
