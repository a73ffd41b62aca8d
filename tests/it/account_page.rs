//! The page on which a user of a pool looks after the own account.

use crate::support::aws::{Api, ok};
use crate::support::hosted::{HostedScene, OTHER, PASSWORD, POOL, Page};
use crate::support::mail::MailServer;
use crate::support::parties::OpenIdProvider;
use crate::support::process::wait_until;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, redirect_target};
use axum::extract::State;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const CUSTOM: &str = "[[user_pool.attribute]]\nname = \"custom:role\"\n";

/// Signs `ada` in, and opens the page.
async fn signed_in(scene: &HostedScene) -> (Visitor, Page) {
    let visitor = scene.visitor();
    let page = visitor.open(&scene.app).await;
    let back = visitor.submit_onward(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
    assert_status(&visitor.follow(&back).await, 200);
    let page = visitor.open(&account(scene)).await;
    page.assert_shows("Your account");
    (visitor, page)
}

fn account(scene: &HostedScene) -> String {
    format!("{}/account", scene.api.narthex.origin("auth"))
}

/// Sends the `number`-th form, and returns the page that follows.
async fn submit(visitor: &Visitor, page: &Page, number: usize, values: &[(&str, &str)]) -> Page {
    Page::of(visitor.send_form(page, number, values).await).await
}

fn attribute(scene: &HostedScene, name: &str) -> Option<String> {
    let request = json!({ "UserPoolId": scene.api.pool_id(), "Username": "ada" });
    let user = ok(&mut scene.api.boto(), "AdminGetUser", request);
    let attributes = user["UserAttributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["Name"] == name)?;
    Some(found["Value"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_changes_profile_address_and_password() {
    let scene = HostedScene::start(&format!("{POOL}{CUSTOM}")).await;
    scene.create_user(&mut scene.api.boto(), "ada");
    let (visitor, page) = signed_in(&scene).await;
    let saved = submit(&visitor, &page, 0, &[("name", "Ada <b>Lovelace</b>")]).await;
    saved.assert_shows("Saved.");
    saved.assert_shows("Ada &#60;b&#62;Lovelace");
    assert_eq!(attribute(&scene, "name").as_deref(), Some("Ada <b>Lovelace</b>"));
    // A new address waits for its code, and needs the password.
    let wrong = [("email", "new@example.com"), ("current_password", OTHER)];
    let refused = submit(&visitor, &page, 1, &wrong).await;
    refused.assert_shows("The name or the password is wrong.");
    let code_page =
        submit(&visitor, &page, 1, &[("email", "new@example.com"), ("current_password", PASSWORD)]).await;
    code_page.assert_shows("Enter the code that we sent to the new address.");
    assert_eq!(attribute(&scene, "email").as_deref(), Some("ada@example.com"));
    submit(&visitor, &code_page, 0, &[("code", "000000")]).await.assert_shows("The code is wrong.");
    let code = scene.api.code("new@example.com", 1);
    submit(&visitor, &code_page, 0, &[("code", &code)]).await.assert_shows("Your address is changed.");
    assert_eq!(attribute(&scene, "email").as_deref(), Some("new@example.com"));
    assert_eq!(attribute(&scene, "email_verified").as_deref(), Some("true"));
    // A new password ends all other sessions, and this one stays.
    let (elsewhere, _) = signed_in(&scene).await;
    let weak = submit(&visitor, &page, 2, &[("current_password", PASSWORD), ("password", "short")]).await;
    weak.assert_shows("The password does not meet the rules.");
    let wrong = submit(&visitor, &page, 2, &[("current_password", OTHER), ("password", OTHER)]).await;
    wrong.assert_shows("The name or the password is wrong.");
    let changed = submit(&visitor, &page, 2, &[("current_password", PASSWORD), ("password", OTHER)]).await;
    changed.assert_shows("You are signed out everywhere else.");
    assert_status(&visitor.get(&scene.app).await, 200);
    let begun = std::time::Instant::now();
    while redirect_target(&elsewhere.get(&scene.app).await).is_none() {
        assert!(begun.elapsed().as_secs() < 5, "the other session goes on");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// A service that takes text messages. Returns its port and the messages.
async fn sms_service() -> (u16, Arc<Mutex<Vec<Value>>>) {
    let messages: Arc<Mutex<Vec<Value>>> = Arc::default();
    let keep = async |State(messages): State<Arc<Mutex<Vec<Value>>>>, body: String| {
        messages.lock().unwrap().push(serde_json::from_str(&body).unwrap());
    };
    let router = axum::Router::new().fallback(keep).with_state(messages.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (port, messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_changes_the_phone_number_with_a_code() {
    let (port, messages) = sms_service().await;
    let sms = format!(
        "[sms]\nshape = \"json\"\nurl = \"http://127.0.0.1:{port}/send\"\nsecret = \"word\"\nfrom = \"Example\"\n\
         allowed_prefixes = \"+49\"\n"
    );
    let scene = HostedScene::start(&format!("{POOL}{sms}")).await;
    scene.create_user(&mut scene.api.boto(), "ada");
    let (visitor, page) = signed_in(&scene).await;
    let number = "+4915112345678";
    let wrong = [("phone_number", number), ("current_password", OTHER)];
    submit(&visitor, &page, 2, &wrong).await.assert_shows("The name or the password is wrong.");
    assert_eq!(attribute(&scene, "phone_number"), None);
    let foreign = [("phone_number", "+12025550123"), ("current_password", PASSWORD)];
    submit(&visitor, &page, 2, &foreign).await.assert_shows("The code could not be sent.");
    let right = [("phone_number", number), ("current_password", PASSWORD)];
    let code_page = submit(&visitor, &page, 2, &right).await;
    code_page.assert_shows("Enter the code that we sent to the new number.");
    assert_eq!(attribute(&scene, "phone_number"), None, "the number waits for its code");
    submit(&visitor, &code_page, 0, &[("code", "000000")]).await.assert_shows("The code is wrong.");
    wait_until("a text message", || !messages.lock().unwrap().is_empty());
    let message = messages.lock().unwrap()[0].clone();
    assert_eq!(message["to"], number);
    let mut words = message["text"].as_str().unwrap().split(|c: char| !c.is_ascii_digit());
    let code = words.find(|word| word.len() == 6).unwrap();
    let changed = submit(&visitor, &code_page, 0, &[("code", code)]).await;
    changed.assert_shows("Your number is changed.");
    changed.assert_shows(number);
    assert_eq!(attribute(&scene, "phone_number").as_deref(), Some(number));
    assert_eq!(attribute(&scene, "phone_number_verified").as_deref(), Some("true"));
    // The e-mail address is not verified by it.
    assert_eq!(attribute(&scene, "email").as_deref(), Some("ada@example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_linked_accounts() {
    let (upstream, mail) = (Upstream::start().await, MailServer::start("starttls", &[]));
    let builder = Api::builder(&mail, POOL);
    let corp = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder.tables(&corp.toml("\"anyone\"")).route("app", upstream.port, "").start();
    let app = format!("{}/", narthex.origin("app"));
    let scene = HostedScene { api: Api { narthex, mail }, upstream, app };
    let mut boto = scene.api.boto();
    scene.create_user(&mut boto, "ada");
    let (_, page) = signed_in(&scene).await;
    assert!(!page.html.contains("Linked accounts"), "{}", page.html);
    let source = json!({
        "ProviderName": "corp", "ProviderAttributeName": "Cognito_Subject", "ProviderAttributeValue": "alice",
    });
    let user = json!({ "ProviderName": "Cognito", "ProviderAttributeValue": "ada" });
    let request = json!({ "UserPoolId": scene.api.pool_id(), "DestinationUser": user, "SourceUser": source });
    ok(&mut boto, "AdminLinkProviderForUser", request);
    let visitor = scene.visitor();
    let asked = visitor.get(&scene.app).await;
    let by_corp = format!("{}&identity_provider=corp", redirect_target(&asked).unwrap());
    assert_status(&visitor.sign_in(&by_corp, "alice").await, 200);
    let (_, page) = signed_in(&scene).await;
    page.assert_shows("Linked accounts");
    page.assert_shows("<li>Corp</li>");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_writes_nothing_else_and_takes_forms_of_its_own_alone() {
    let scene = HostedScene::start(&format!("{POOL}{CUSTOM}")).await;
    scene.create_user(&mut scene.api.boto(), "ada");
    let (visitor, page) = signed_in(&scene).await;
    let auth = scene.api.narthex.origin("auth");
    let post = |path: &str, origin: &str, fields: &[(&str, &str)]| {
        let request = visitor.client.post(format!("{auth}{path}")).header("origin", origin.to_owned());
        request.form(fields).send()
    };
    // Neither an attribute that may decide about access, nor an address without its forms.
    let fields = [
        ("custom:role", "admin"),
        ("attribute.custom:role", "admin"),
        ("email", "boss@example.com"),
        ("email_verified", "true"),
        ("phone_number", "+4912345678"),
        ("preferred_username", "boss"),
        ("sub", "x"),
    ];
    assert_status(&post("/account", &auth, &fields).await.unwrap(), 200);
    for (name, value) in [
        ("custom:role", None),
        ("email", Some("ada@example.com")),
        ("phone_number", None),
        ("preferred_username", None),
    ] {
        assert_eq!(attribute(&scene, name).as_deref(), value, "{name}");
    }
    for path in [
        "/account",
        "/account/phone",
        "/account/email",
        "/account/verify",
        "/account/password",
        "/account/delete",
    ] {
        for origin in ["https://evil.example", "null"] {
            assert_status(&post(path, origin, &[("current_password", PASSWORD)]).await.unwrap(), 400);
        }
        // Without a session there is no account.
        let nobody = scene.visitor().client.post(format!("{auth}{path}")).header("origin", auth.clone());
        assert_status(&nobody.form(&[("current_password", PASSWORD)]).send().await.unwrap(), 401);
    }
    assert_status(&scene.visitor().get(&account(&scene)).await, 401);
    assert_status(&scene.visitor().get(&format!("{auth}/account/data")).await, 401);
    // Guesses of the password are those of a sign-in.
    for _ in 0..5 {
        submit(&visitor, &page, 3, &[("current_password", OTHER)]).await;
    }
    let locked = submit(&visitor, &page, 3, &[("current_password", PASSWORD)]).await;
    locked.assert_shows("The name or the password is wrong.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_gets_the_stored_data_and_deletes_the_account() {
    let scene = HostedScene::start(POOL).await;
    let mut boto = scene.api.boto();
    scene.create_user(&mut boto, "ada");
    let pool = scene.api.pool_id();
    ok(&mut boto, "CreateGroup", json!({ "UserPoolId": pool, "GroupName": "staff" }));
    let member = json!({ "UserPoolId": pool, "Username": "ada", "GroupName": "staff" });
    ok(&mut boto, "AdminAddUserToGroup", member);
    let (visitor, page) = signed_in(&scene).await;
    let response = visitor.get(&format!("{}/data", account(&scene))).await;
    assert!(response.headers()["content-disposition"].to_str().unwrap().contains("account.json"));
    let data: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!((&data["username"], &data["groups"]), (&json!("ada"), &json!(["staff"])));
    assert_eq!(data["attributes"]["email"], "ada@example.com");
    assert_eq!(data["sessions"].as_array().unwrap().len(), 1);
    let refused = submit(&visitor, &page, 3, &[("current_password", OTHER)]).await;
    refused.assert_shows("The name or the password is wrong.");
    let deleted = submit(&visitor, &page, 3, &[("current_password", PASSWORD)]).await;
    deleted.assert_shows("Your account is deleted");
    assert_status(&visitor.get(&account(&scene)).await, 401);
    assert!(redirect_target(&visitor.get(&scene.app).await).is_some());
    let gone = boto.call("AdminGetUser", json!({ "UserPoolId": pool, "Username": "ada" }));
    assert_eq!(gone.unwrap_err().code, "UserNotFoundException");
}
