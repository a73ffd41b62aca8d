//! Step-up authentication: a route or a client needs a second factor, and the user is asked for
//! nothing else (RFC 9470).

use crate::support::aws::{Api, Boto, ok, text};
use crate::support::hosted::{HostedScene, PASSWORD, authenticator, press};
use crate::support::mail::MailServer;
use crate::support::oauth::{Scene, parameter};
use crate::support::totp::Authenticator;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, redirect_target};
use reqwest::cookie::CookieStore as _;
use reqwest::header::{ACCEPT, AUTHORIZATION, COOKIE, WWW_AUTHENTICATE};
use serde_json::{Value, json};

const ASK: &str = "Enter the code that your authenticator app shows, or a recovery code.";

fn pool(mfa: &str) -> String {
    format!(
        "[[user_pool]]\nname = \"people\"\nsigning_algorithm = \"ES256\"\npassword_sign_in = true\n{mfa}\n\
         [[user_pool.client]]\nname = \"api\"\nid = \"api\"\n\
         auth_flows = [\"ALLOW_USER_PASSWORD_AUTH\", \"ALLOW_REFRESH_TOKEN_AUTH\"]\n"
    )
}

const OPTIONAL: &str = "mfa = \"optional\"\nmfa_factors = [\"software_token\"]";

/// Starts a deployment with the user `ada`, and returns the address of a host whose routes need a
/// second factor.
async fn start(mfa: &str, route: &str) -> (HostedScene, String) {
    let (upstream, mail) = (Upstream::start().await, MailServer::start("starttls", &[]));
    let route = format!("second_factor = true\n{route}");
    let builder = Api::builder(&mail, &pool(mfa)).route("app", upstream.port, "");
    let narthex = builder.route("admin", upstream.port, &route).start();
    let (app, admin) = (format!("{}/", narthex.origin("app")), format!("{}/", narthex.origin("admin")));
    let scene = HostedScene { api: Api { narthex, mail }, upstream, app };
    scene.create_user(&mut scene.api.boto(), "ada");
    (scene, admin)
}

/// Signs `ada` in to the app by the password alone.
async fn sign_in(scene: &HostedScene) -> Visitor {
    let visitor = scene.visitor();
    let page = visitor.open(&scene.app).await;
    let back = visitor.submit_onward(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
    assert_status(&visitor.follow(&back).await, 200);
    visitor
}

/// Sets an authenticator app up on the own account, with the code of the step before this one.
async fn set_up(scene: &HostedScene, visitor: &Visitor) -> Authenticator {
    let account = format!("{}/account", scene.api.narthex.origin("auth"));
    let page = visitor.open(&account).await;
    let password = [("current_password", PASSWORD)];
    let token = press(visitor, &page, "Set up an authenticator app", &password).await;
    let app = authenticator(&token);
    visitor.submit(&token, &[("code", &app.code(-1))]).await.assert_shows("They are not shown again.");
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_asks_for_a_second_factor_and_for_nothing_else() {
    let (scene, admin) = start(OPTIONAL, "").await;
    let visitor = sign_in(&scene).await;
    let app = set_up(&scene, &visitor).await;
    let seen = scene.upstream.seen().len();
    let ask = visitor.open(&admin).await;
    ask.assert_shows(ASK);
    assert!(!ask.html.contains("type=\"password\""), "{}", ask.html);
    visitor.submit(&ask, &[("code", "000000")]).await.assert_shows("The code is wrong.");
    assert_eq!(scene.upstream.seen().len(), seen, "the app gets no request");
    // Another browser cannot answer for this one.
    let stranger = scene.visitor();
    let foreign = stranger.submit(&ask, &[("code", &app.code(0))]).await;
    assert!(foreign.html.contains("type=\"password\""), "{}", foreign.html);
    let ask = visitor.open(&admin).await;
    let back = visitor.submit_onward(&ask, &[("code", &app.code(1))]).await;
    assert_status(&visitor.follow(&back).await, 200);
    assert_status(&visitor.follow(&admin).await, 200);
    // It is the same session, in which the other app goes on.
    let (login, step) = (scene.api.narthex.audit("login"), scene.api.narthex.audit("step_up"));
    assert_eq!((login.len(), step.len(), &step[0]["sid"]), (1, 1, &login[0]["sid"]));
    assert_eq!(step[0]["factor"], "SOFTWARE_TOKEN_MFA");
    assert_status(&visitor.follow(&scene.app).await, 200);
    assert_eq!(scene.api.narthex.audit("login").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_of_before_a_step_up_are_void() {
    let (scene, admin) = start(OPTIONAL, "").await;
    let visitor = sign_in(&scene).await;
    let app = set_up(&scene, &visitor).await;
    let auth = scene.api.narthex.origin("auth");
    let cookies = |url: &str| visitor.jar.cookies(&url.parse().unwrap()).unwrap();
    let copies = [cookies(&scene.app), cookies(&auth)];
    let ask = visitor.open(&admin).await;
    let back = visitor.submit_onward(&ask, &[("code", &app.code(0))]).await;
    assert_status(&visitor.follow(&back).await, 200);
    for (url, cookie) in [(scene.app.clone(), &copies[0]), (format!("{auth}/account"), &copies[1])] {
        let thief = scene.visitor().client;
        let stolen = thief.get(&url).header(COOKIE, cookie).send().await.unwrap();
        assert_status(&stolen, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_factor_sets_one_up_or_is_told_that_there_is_none() {
    let (scene, admin) = start(OPTIONAL, "").await;
    let visitor = sign_in(&scene).await;
    let page = visitor.open(&admin).await;
    page.assert_shows("Set up your authenticator app");
    let app = authenticator(&page);
    // Without the session's cookies nothing is stored.
    scene.visitor().submit(&page, &[("code", &app.code(-1))]).await;
    let named = json!({ "UserPoolId": scene.api.pool_id(), "Username": "ada" });
    let ada = ok(&mut scene.api.boto(), "AdminGetUser", named);
    assert!(ada.get("UserMFASettingList").is_none(), "{ada}");
    let codes = visitor.submit(&page, &[("code", &app.code(-1))]).await;
    codes.assert_shows("They are not shown again.");
    assert_status(&visitor.follow(&codes.link("Continue")).await, 200);
    // A sign-in that begins at the route.
    let other = scene.visitor();
    let page = other.open(&admin).await;
    let ask = other.submit(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
    ask.assert_shows(ASK);
    let back = other.submit_onward(&ask, &[("code", &app.code(0))]).await;
    assert_status(&other.follow(&back).await, 200);

    let (scene, admin) = start("", "").await;
    let visitor = sign_in(&scene).await;
    let page = visitor.open(&admin).await;
    assert_eq!(page.status, 403);
    page.assert_shows("This page needs two-step verification");
    page.assert_shows("href=");
}

/// Returns the access token of a sign-in by the API.
fn access_token(boto: &mut Boto, app: Option<&Authenticator>) -> String {
    let begin = json!({ "ClientId": "api", "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": { "USERNAME": "ada", "PASSWORD": PASSWORD } });
    let mut reply = boto.unsigned("InitiateAuth", begin).unwrap();
    if let Some(app) = app {
        let answer = json!({ "ClientId": "api", "ChallengeName": "SOFTWARE_TOKEN_MFA", "Session": reply["Session"],
            "ChallengeResponses": { "USERNAME": "ada", "SOFTWARE_TOKEN_MFA_CODE": app.code(0) } });
        reply = boto.unsigned("RespondToAuthChallenge", answer).unwrap();
    }
    text(&reply["AuthenticationResult"]["AccessToken"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_the_challenge_of_rfc_9470() {
    let (scene, admin) = start(OPTIONAL, "second_factor_age = \"10m\"\nbearer = true").await;
    let mut boto = scene.api.boto();
    let weak = access_token(&mut boto, None);
    let visitor = sign_in(&scene).await;
    let app = set_up(&scene, &visitor).await;
    let strong = access_token(&mut boto, Some(&app));
    assert_eq!(claims(&weak)["acr"], "urn:cognito:loa:1");
    assert_eq!(claims(&strong)["acr"], "urn:cognito:loa:3");
    assert_eq!(claims(&strong)["amr"], json!(["pwd", "otp", "mfa"]));
    let client = scene.visitor().client;
    let send = async |token: &str| {
        let bearer = format!("Bearer {token}");
        client
            .get(&admin)
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, "application/json")
            .send()
            .await
            .unwrap()
    };
    let refused = send(&weak).await;
    assert_status(&refused, 401);
    assert_eq!(
        refused.headers()[WWW_AUTHENTICATE],
        "Bearer realm=\"narthex\", error=\"insufficient_user_authentication\", error_description=\"A second \
         factor is required\", acr_values=\"urn:cognito:loa:3\", max_age=600"
    );
    assert_eq!(refused.json::<Value>().await.unwrap()["error"], "insufficient_user_authentication");
    assert_status(&send(&strong).await, 200);
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&narthex::base::base64url_decode(payload).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_asks_for_a_level_and_reads_it_in_its_tokens() {
    let scene = Scene::with_pool_keys(OPTIONAL).await;
    let visitor = scene.visitor();
    let two = "urn:cognito:loa:3";
    let first = scene.sign_in(&visitor, &scene.authorize(&[])).await;
    let (_, tokens) = scene.redeem(&parameter(&first, "code").unwrap(), &[]).await;
    let of = claims(&text(&tokens["id_token"]));
    assert_eq!((&of["acr"], &of["amr"]), (&json!("urn:cognito:loa:1"), &json!(["pwd"])));
    // Unknown levels alone cannot be met; with another one they are ignored.
    let answered = async |others: &[(&str, &str)]| {
        let response = visitor.get(&scene.authorize(others)).await;
        redirect_target(&response).map(|url| url.parse::<reqwest::Url>().unwrap())
    };
    let error = async |others: &[(&str, &str)]| parameter(&answered(others).await.unwrap(), "error").unwrap();
    assert_eq!(error(&[("acr_values", "gold silver")]).await, "unmet_authentication_requirements");
    assert_eq!(error(&[("acr_values", "urn:cognito:loa:4")]).await, "unmet_authentication_requirements");
    assert_eq!(error(&[("acr_values", two), ("prompt", "none")]).await, "interaction_required");
    for list in ["gold urn:cognito:loa:1", "urn:cognito:loa:3 urn:cognito:loa:1", "urn:cognito:loa:1"] {
        let back = answered(&[("acr_values", list)]).await.expect("a code");
        assert!(parameter(&back, "code").is_some(), "{list}: {back}");
    }
    // The user has no factor, and sets one up.
    let page = visitor.open(&scene.authorize(&[("acr_values", two)])).await;
    page.assert_shows("Set up your authenticator app");
    let app = authenticator(&page);
    let codes = visitor.submit(&page, &[("code", &app.code(-1))]).await;
    let back = redirect_target(&visitor.get(&codes.link("Continue")).await).unwrap().parse().unwrap();
    let (_, tokens) = scene.redeem(&parameter(&back, "code").unwrap(), &[]).await;
    let of = claims(&text(&tokens["id_token"]));
    assert_eq!((&of["acr"], &of["amr"]), (&json!(two), &json!(["pwd", "otp", "mfa"])));
    // A refresh does not change how the user was authenticated.
    let (_, refreshed) = scene
        .token(&[
            ("grant_type", "refresh_token"),
            ("client_id", "spa"),
            ("refresh_token", &text(&tokens["refresh_token"])),
        ])
        .await;
    assert_eq!(claims(&text(&refreshed["id_token"]))["acr"], two);
    // Now a level that the user can reach precedes the one of the session.
    let other = scene.visitor();
    let page = other.open(&scene.authorize(&[("acr_values", "urn:cognito:loa:3 urn:cognito:loa:1")])).await;
    let ask = other.submit(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
    ask.assert_shows(ASK);
}
