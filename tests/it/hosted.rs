//! The pages on which users of a pool sign in with a password, sign up and recover, without scripts
//! and with real messages.

use crate::support::aws::ok;
use crate::support::hosted::{HostedScene, OTHER, PASSWORD, POOL, Page};
use crate::support::visitor::{Visitor, assert_status, redirect_target};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_up_confirms_and_reaches_the_app() {
    let scene = HostedScene::start(POOL).await;
    let visitor = scene.visitor();
    let page = visitor.open(&scene.app).await;
    page.assert_shows("to continue to");
    let sign_up = visitor.open(&page.link("Create an account")).await;
    // A problem is shown beside its field, and the typed values stay.
    let typed = [("username", "ada"), ("attribute.email", "ada@example.com")];
    let weak = visitor.submit(&sign_up, &[&typed[..], &[("password", "short")]].concat()).await;
    weak.assert_shows("The password does not meet the rules.");
    assert_eq!((weak.value("username"), weak.value("password")), ("ada".into(), String::new()));
    let wrong = [("username", "ada"), ("attribute.email", "ada"), ("password", PASSWORD)];
    visitor.submit(&sign_up, &wrong).await.assert_shows("This value is not valid.");
    let code_page = visitor.submit(&weak, &[("password", PASSWORD)]).await;
    code_page.assert_shows("Confirm your account");
    let code = scene.api.code("ada@example.com", 1);
    let refused = visitor.submit(&code_page, &[("code", "000000")]).await;
    refused.assert_shows("The code is wrong.");
    // Another code voids the earlier one.
    let again = Page::of(visitor.send_form(&refused, 1, &[]).await).await;
    again.assert_shows("We sent another code.");
    let newer = scene.api.code("ada@example.com", 2);
    if newer != code {
        visitor.submit(&again, &[("code", &code)]).await.assert_shows("The code is wrong.");
    }
    let back = visitor.submit_onward(&again, &[("code", &newer)]).await;
    assert!(back.starts_with(&scene.app), "{back}");
    assert_status(&visitor.follow(&back).await, 200);
    let seen = scene.upstream.seen();
    assert!(!seen.is_empty());
    let login = scene.api.narthex.audit("login");
    assert_eq!(login[0]["provider"], "COGNITO");
    // The session is known without the password, and a second sign-up finds the name taken.
    assert_status(&visitor.get(&scene.app).await, 200);
    let other = scene.visitor();
    let page = other.open(&scene.app).await;
    let sign_up = other.open(&page.link("Create an account")).await;
    let same = [("username", "ADA"), ("attribute.email", "x@example.com"), ("password", PASSWORD)];
    other.submit(&sign_up, &same).await.assert_shows("An account with this name exists already.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_name_get_one_page() {
    let scene = HostedScene::start(POOL).await;
    scene.create_user(&mut scene.api.boto(), "ada");
    let visitor = scene.visitor();
    let page = visitor.open(&scene.app).await;
    let try_as = async |name: &str, password: &str| {
        visitor.submit(&page, &[("username", name), ("password", password)]).await
    };
    let known = try_as("ada", OTHER).await;
    known.assert_shows("The name or the password is wrong.");
    assert_eq!(known.value("username"), "ada");
    let unknown = try_as("bob", OTHER).await;
    assert_eq!(known.html.replace("\"ada\"", "\"bob\""), unknown.html);
    try_as("ada", "").await.assert_shows("Fill in this field.");
    let script = try_as("\"><script>alert(1)</script>", OTHER).await;
    assert!(!script.html.contains("<script"), "{}", script.html);
    // An alias signs in, too.
    let back =
        visitor.submit_onward(&known, &[("username", "ADA@example.com"), ("password", PASSWORD)]).await;
    assert_status(&visitor.follow(&back).await, 200);
    let failed = scene.api.narthex.audit("login_failed");
    assert!(failed.iter().all(|event| event["reason"] == "wrong_password"), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_password_is_replaced_and_signs_in() {
    let scene = HostedScene::start(POOL).await;
    scene.create_user(&mut scene.api.boto(), "ada");
    let visitor = scene.visitor();
    let page = visitor.open(&scene.app).await;
    let forgot = visitor.open(&page.link("Forgot your password?")).await;
    // A name without a user gets the same page.
    let unknown = visitor.submit(&forgot, &[("username", "nobody")]).await;
    let reset = visitor.submit(&forgot, &[("username", "ada")]).await;
    assert_eq!(unknown.html.replace("nobody", "ada"), reset.html);
    reset.assert_shows("If there is an account with this name");
    let code = scene.api.code("ada@example.com", 1);
    let wrong = visitor.submit(&reset, &[("code", "000000"), ("password", OTHER)]).await;
    wrong.assert_shows("The code is wrong.");
    let weak = visitor.submit(&reset, &[("code", &code), ("password", "short")]).await;
    weak.assert_shows("The password does not meet the rules.");
    assert_eq!(weak.value("code"), code, "the code stays");
    let back = visitor.submit_onward(&weak, &[("password", OTHER)]).await;
    assert_status(&visitor.follow(&back).await, 200);
    let again = visitor.submit(&reset, &[("code", &code), ("password", PASSWORD)]).await;
    again.assert_shows("The code is wrong.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_password_leads_to_a_new_one() {
    let scene = HostedScene::start(POOL).await;
    let mut boto = scene.api.boto();
    let request = json!({
        "UserPoolId": scene.api.pool_id(), "Username": "ada", "TemporaryPassword": OTHER,
        "MessageAction": "SUPPRESS",
    });
    ok(&mut boto, "AdminCreateUser", request);
    let visitor = scene.visitor();
    let page = visitor.open(&scene.app).await;
    let new = visitor.submit(&page, &[("username", "ada"), ("password", OTHER)]).await;
    new.assert_shows("Choose a new password");
    // The page takes no attribute that it does not ask for.
    let (action, mut fields) = new.form(0);
    fields.iter_mut().find(|(name, _)| name == "password").unwrap().1 = PASSWORD.to_owned();
    fields.push(("attribute.name".to_owned(), "Somebody else".to_owned()));
    let origin = new.url.origin().ascii_serialization();
    let added = visitor.client.post(action).header("origin", origin).form(&fields).send().await.unwrap();
    Page::of(added).await.assert_shows("A required value is missing.");
    let weak = visitor.submit(&new, &[("password", "short")]).await;
    weak.assert_shows("The password does not meet the rules.");
    let back = visitor.submit_onward(&weak, &[("password", PASSWORD)]).await;
    assert_status(&visitor.follow(&back).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_other_sites_and_pages_that_are_off_are_refused() {
    let scene = HostedScene::start(&POOL.replace("sign_up = true", "sign_up = false")).await;
    scene.create_user(&mut scene.api.boto(), "ada");
    let visitor = scene.visitor();
    let auth = scene.api.narthex.origin("auth");
    for path in [
        "/login",
        "/loginCode",
        "/newPassword",
        "/mfa",
        "/mfaSetup",
        "/confirmUser",
        "/resendCode",
        "/forgotPassword",
        "/confirmForgotPassword",
    ] {
        let post = |name: &'static str, value: String| {
            let fields = [
                ("username", "ada"),
                ("password", PASSWORD),
                ("code", "123456"),
                ("session", "x"),
                ("factor", "SMS_MFA"),
            ];
            visitor.client.post(format!("{auth}{path}")).header(name, value).form(&fields).send()
        };
        for (name, value) in [
            ("origin", "https://evil.example".to_owned()),
            ("origin", "null".to_owned()),
            ("sec-fetch-site", "cross-site".to_owned()),
            ("sec-fetch-site", "same-site".to_owned()),
            ("x-none", String::new()),
        ] {
            let response = post(name, value.clone()).await.unwrap();
            assert_eq!(response.status(), 400, "{path} {name}: {value}");
            assert!(response.headers().get("set-cookie").is_none());
        }
        assert_ne!(post("origin", auth.clone()).await.unwrap().status(), 400, "{path}");
    }
    assert_status(&visitor.get(&format!("{auth}/signup")).await, 404);
    let page = visitor.open(&scene.app).await;
    assert!(!page.html.contains("Create an account"));
    // Without passwords, no page of them exists.
    let scene = HostedScene::with_route("[[user_pool]]\nsign_up = true\n", "access = \"public\"\n").await;
    let auth = scene.api.narthex.origin("auth");
    for path in ["/signup", "/forgotPassword", "/confirmUser?user_name=a&confirmation_code=1"] {
        assert_status(&scene.visitor().get(&format!("{auth}{path}")).await, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_on_pages_are_limited_by_address() {
    let scene = HostedScene::start(POOL).await;
    let visitor = scene.visitor();
    let page = visitor.open(&scene.app).await;
    let mut limited = false;
    for guess in 0..200 {
        let response =
            visitor.send_form(&page, 0, &[("username", &format!("user{guess}")), ("password", OTHER)]).await;
        if response.status() == 429 {
            limited = true;
            break;
        }
    }
    assert!(limited, "200 guesses of different names from one address");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_speak_the_language_of_the_browser_or_of_the_client() {
    let scene = HostedScene::start(POOL).await;
    let visitor = Visitor::with_client(&scene.api.narthex, |builder| {
        let headers = [(reqwest::header::ACCEPT_LANGUAGE, "de-CH, en;q=0.5".parse().unwrap())];
        builder.default_headers(headers.into_iter().collect())
    });
    let page = visitor.open(&scene.app).await;
    page.assert_shows("<html lang=\"de\"");
    page.assert_shows("Passwort vergessen?");
    let english = format!("{}&lang=en", page.link("Passwort vergessen?"));
    let forgot = visitor.open(&english).await;
    forgot.assert_shows("Reset your password");
    // The choice holds on the next page.
    visitor.submit(&forgot, &[("username", "nobody")]).await.assert_shows("Set the password");
    // Error pages, too.
    let auth = scene.api.narthex.origin("auth");
    for url in [format!("{auth}/nowhere"), format!("{}..%2f", scene.app)] {
        let page = visitor.open(&url).await;
        assert!(page.html.contains("<html lang=\"de\"") && page.status >= 400, "{url}: {}", page.html);
    }
    let missing = visitor.open(&format!("{auth}/nowhere")).await;
    missing.assert_shows("Seite nicht gefunden");
    missing.assert_shows("Zur Startseite");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_the_password_and_the_user() {
    let scene = HostedScene::start(POOL).await;
    let mut boto = scene.api.boto();
    let pool = scene.api.pool_id();
    let disable = json!({ "UserPoolId": pool, "Username": "eve" });
    let set = json!({ "UserPoolId": pool, "Username": "ada", "Password": OTHER, "Permanent": true });
    for (name, operation, request) in
        [("ada", "AdminSetUserPassword", set), ("eve", "AdminDisableUser", disable)]
    {
        scene.create_user(&mut boto, name);
        let visitor = scene.visitor();
        let page = visitor.open(&scene.app).await;
        let back = visitor.submit_onward(&page, &[("username", name), ("password", PASSWORD)]).await;
        assert_status(&visitor.follow(&back).await, 200);
        ok(&mut boto, operation, request);
        let begun = std::time::Instant::now();
        while redirect_target(&visitor.get(&scene.app).await).is_none() {
            assert!(begun.elapsed().as_secs() < 5, "{operation} ends no session");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_with_the_address_of_another_person_gives_no_access() {
    let scene = HostedScene::start(POOL).await;
    // Somebody signs up with the address of a person, who later comes with a password of her own.
    let (attacker, visitor) = (scene.visitor(), scene.visitor());
    let page = attacker.open(&scene.app).await;
    let sign_up = attacker.open(&page.link("Create an account")).await;
    let typed = [("username", "ada"), ("attribute.email", "ada@example.com"), ("password", OTHER)];
    attacker.submit(&sign_up, &typed).await.assert_shows("Confirm your account");
    let own = visitor.open(&scene.app).await;
    let code_page = visitor.submit(&own, &[("username", "ada"), ("password", PASSWORD)]).await;
    let code = scene.api.code("ada@example.com", 1);
    let reset = visitor.submit(&code_page, &[("code", &code)]).await;
    reset.assert_shows("You must reset your password before you can sign in.");
    let refused = attacker.submit(&page, &[("username", "ada"), ("password", OTHER)]).await;
    refused.assert_shows("You must reset your password before you can sign in.");
    let new = visitor.submit(&reset, &[("username", "ada@example.com")]).await;
    let code = scene.api.code("ada@example.com", 2);
    let back = visitor.submit_onward(&new, &[("code", &code), ("password", PASSWORD)]).await;
    assert_status(&visitor.follow(&back).await, 200);
}
