//! Pages where a sign-in cannot continue, the lifetime of its cookies, and who is signed in.

use crate::support::deployment::deployment;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::pages::{follow_to_provider, page_links, query_parameter};
use crate::support::parties::OpenIdProvider;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, location, redirect_target};
use reqwest::Method;
use reqwest::cookie::CookieStore as _;
use serde_json::Value;

/// Takes a cookie out of the visitor's browser.
fn lose(visitor: &Visitor, origin: &str, name: &str) {
    visitor.jar.add_cookie_str(&format!("{name}=; Path=/; Secure; Max-Age=0"), &origin.parse().unwrap());
}

fn cookies(visitor: &Visitor, url: &str) -> String {
    let cookies = visitor.jar.cookies(&url.parse().unwrap());
    cookies.map_or_else(String::new, |cookies| cookies.to_str().unwrap().to_owned())
}

/// An address of the callback for the attempt `id`.
fn callback(narthex: &Narthex, id: &str) -> String {
    format!("{}/oauth2/idpresponse/corp?state={id}&code=x", narthex.origin("auth"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_whose_attempt_is_lost_goes_on_to_its_app_or_shows_the_way() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let [app, auth] = ["app", "auth"].map(|name| narthex.origin(name));
    let alice = Visitor::new(&narthex);
    let authorize = location(&alice.get(&format!("{app}/deep?x=1")).await);
    let id_of_app = query_parameter(&authorize, "state");
    let id = query_parameter(&follow_to_provider(&alice, authorize.as_str()).await, "state");
    lose(&alice, &auth, &format!("__Host-narthex-login-{id}"));

    // Nobody is signed in: the state alone names the app.
    let page = alice.get(&callback(&narthex, &id)).await;
    assert_status(&page, 400);
    assert_eq!(page_links(&page.text().await.unwrap()), [format!("{app}/")]);
    assert_eq!(narthex.audit("login_failed")[0]["reason"], "no_attempt");
    assert_status(&alice.sign_in(&format!("{app}/"), "alice").await, 200);
    let answer = alice.get(&callback(&narthex, &id)).await;
    assert_status(&answer, 303);
    assert_eq!(location(&answer).as_str(), format!("{app}/"));
    // A state of no attempt leads to the pool's own page, and nowhere else.
    for state in ["x", "https%3A%2F%2Fevil.example", "x%3Dy%3B%20Path%3D%2F%3B%20x"] {
        let answer = alice.get(&callback(&narthex, state)).await;
        assert!(answer.headers().get("set-cookie").is_none(), "{state} writes no cookie");
        assert_eq!(location(&answer).as_str(), format!("{auth}/"), "{state}");
        let page = Visitor::new(&narthex).get(&callback(&narthex, state)).await;
        assert_status(&page, 400);
        assert_eq!(page_links(&page.text().await.unwrap()), [format!("{auth}/")], "{state}");
    }
    // The app's own callback, after Back.
    lose(&alice, &app, &format!("__Host-narthex-login-{id_of_app}"));
    let answer = alice.get(&format!("{app}/.narthex/callback?state={id_of_app}&code=x&iss=y")).await;
    assert_eq!(location(&answer).as_str(), format!("{app}/"));
    let page = Visitor::new(&narthex).get(&format!("{app}/.narthex/callback?state={id_of_app}&code=x")).await;
    assert_status(&page, 400);
    assert_eq!(page_links(&page.text().await.unwrap()), [format!("{app}/")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_fails_has_a_way_back_to_what_was_wanted() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let [app, auth] = ["app", "auth"].map(|name| narthex.origin(name));
    let wanted = format!("{app}/deep?x=1");
    let alice = Visitor::new(&narthex);
    let id = query_parameter(&follow_to_provider(&alice, &wanted).await, "state");
    let (at_app, at_pool) = (cookies(&alice, &app), cookies(&alice, &auth));
    assert_status(&alice.sign_in(&wanted, "alice").await, 200);

    // The attempt is another tab's.
    let repeated = |jar: String| {
        let (client, url) = (Visitor::new(&narthex).client, callback(&narthex, &id));
        async move { client.get(url).header("accept", "text/html").header("cookie", jar).send().await.unwrap() }
    };
    // The code is none of the provider's: refused, with a way to what was wanted.
    let pool = cookies(&alice, &auth);
    let page = repeated(format!("{at_pool}; {pool}")).await;
    assert_status(&page, 400);
    let back = page_links(&page.text().await.unwrap()).remove(0);
    assert!(back.starts_with(&format!("{app}/.narthex/sign-in?attempt=")), "{back}");
    // That leads there at once for a browser that is signed in at the app, and by a sign-in
    // otherwise.
    let go = |jar: String| {
        let (client, back) = (Visitor::new(&narthex).client, back.clone());
        async move { client.get(back).header("accept", "text/html").header("cookie", jar).send().await.unwrap() }
    };
    let answer = go(format!("{at_app}; {}", cookies(&alice, &app))).await;
    assert_eq!(location(&answer).as_str(), wanted);
    let stranger = Visitor::new(&narthex);
    for cookie in at_app.split("; ") {
        stranger.jar.add_cookie_str(&format!("{cookie}; Path=/; Secure"), &app.parse().unwrap());
    }
    let landed = stranger.sign_in(&back, "bob").await;
    assert_status(&landed, 200);
    assert_eq!(landed.url().as_str(), wanted);
    // Without the attempt it leads to the front page, and never elsewhere.
    let other = back.replace("attempt=", "attempt=//evil.example/");
    let landed = stranger.follow(&other).await;
    assert_eq!(landed.url().as_str(), format!("{app}/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pools_front_page_signs_people_in() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let auth = narthex.origin("auth");
    let visitor = Visitor::new(&narthex);
    let page = visitor.get(&format!("{auth}/")).await;
    assert_status(&page, 200);
    let page = page.text().await.unwrap();
    assert!(page.contains("Continue with Corp"), "{page}");
    let href = page_links(&page).remove(0);
    assert_eq!(href, format!("{auth}/login?identity_provider=corp"));
    let landed = visitor.sign_in(&href, "alice").await;
    assert_status(&landed, 200);
    assert_eq!(landed.url().as_str(), format!("{auth}/"));
    assert!(landed.text().await.unwrap().contains("Your apps"));
    // Another site does not lead who is signed in to another sign-in.
    let foreign =
        visitor.client.get(&href).header("accept", "text/html").header("sec-fetch-site", "cross-site");
    let answer = foreign.send().await.unwrap();
    assert_status(&answer, 303);
    assert_eq!(location(&answer).as_str(), format!("{auth}/"));
    // A client's request is held to its rules all the same.
    assert_status(&visitor.get(&format!("{auth}/login?redirect_uri=https://evil.example/")).await, 400);
    assert_status(&visitor.get(&format!("{auth}/oauth2/authorize?identity_provider=corp")).await, 400);
    let sessions = Visitor::new(&narthex).get(&format!("{auth}/sessions")).await;
    assert_eq!(page_links(&sessions.text().await.unwrap()), ["/"]);
}

/// The `Max-Age` of the session's cookies that a sign-in at `app` sets: the pool's, and the app's.
async fn ages(narthex: &Narthex) -> Vec<Option<u64>> {
    let visitor = Visitor::new(narthex);
    let url = follow_to_provider(&visitor, &format!("{}/", narthex.origin("app"))).await;
    // Every step from the provider on, with what it sets.
    let page = visitor.follow(url.as_str()).await;
    let at = page.url().clone();
    let text = page.text().await.unwrap();
    let action =
        at.join(&text.split("action=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&"));
    let fields = [("prompt", "login"), ("login", "alice"), ("password", "any")];
    let mut answer = visitor.client.post(action.unwrap()).form(&fields).send().await.unwrap();
    let mut set = Vec::new();
    loop {
        let values = answer.headers().get_all("set-cookie").iter();
        set.extend(values.map(|value| value.to_str().unwrap().to_owned()));
        let Some(to) = redirect_target(&answer) else { break };
        answer = visitor.get(&to).await;
    }
    assert_status(&answer, 200);
    let age = |name: &str| {
        let cookie = set.iter().find(|cookie| cookie.starts_with(name)).unwrap();
        cookie.split("Max-Age=").nth(1).map(|age| age.split(';').next().unwrap().parse().unwrap())
    };
    vec![age("__Host-narthex-pool="), age("__Host-narthex=")]
}

#[tokio::test(flavor = "multi_thread")]
async fn session_cookies_last_as_long_as_the_session_unless_they_go_with_the_browser() {
    let upstream = Upstream::start().await;
    for (more, lasts) in [("", true), ("persistent = true", true), ("persistent = false", false)] {
        let builder = NarthexBuilder::new();
        let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
        let narthex = builder
            .tables(&format!("[session]\nidle = \"1h\"\nabsolute = \"2h\"\n{more}\n"))
            .tables(&provider.toml("\"anyone\""))
            .route("app", upstream.port, "")
            .start();
        for age in ages(&narthex).await {
            assert_eq!(age.is_some(), lasts, "{more}");
            assert!(age.is_none_or(|age| (7000..=7200).contains(&age)), "{age:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apps_scripts_are_told_who_is_signed_in_and_nobody_elses_are() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables("[session]\nidle = \"1h\"\nabsolute = \"2h\"\n")
        .tables(&provider.toml("\"anyone\""))
        .route("app", upstream.port, "assertion_groups = [\"team-*\"]")
        .route("public", upstream.port, "access = \"public\"")
        .start();
    let visitor = Visitor::new(&narthex);
    let userinfo = |name: &str| format!("{}/.narthex/userinfo", narthex.origin(name));
    for stranger in
        [visitor.get(&userinfo("app")).await, visitor.request_json(Method::GET, &userinfo("public")).await]
    {
        assert_status(&stranger, 401);
        assert_eq!(stranger.headers()["content-type"], "application/json");
        assert_eq!(stranger.headers()["cache-control"], "no-store");
        assert_eq!(stranger.json::<Value>().await.unwrap()["error"], "sign_in_required");
    }
    assert_status(&visitor.sign_in(&format!("{}/", narthex.origin("app")), "alice+team-a+secret").await, 200);
    let request = visitor.client.get(userinfo("app")).header("origin", "https://evil.example");
    let answer = request.send().await.unwrap();
    assert_status(&answer, 200);
    let headers = answer.headers().clone();
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
    assert!(!headers.keys().any(|name| name.as_str().starts_with("access-control")), "{headers:?}");
    let told: Value = answer.json().await.unwrap();
    assert_eq!(told["email"], "alice@corp.example");
    assert_eq!(told["name"], "alice");
    assert_eq!(told["groups"], serde_json::json!(["team-a"]), "scripts get no more than the app");
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let seconds = |name: &str| told[name].as_i64().unwrap() - now;
    assert!((3500..=3601).contains(&seconds("session_expires_at")), "{told}");
    assert!((7100..=7201).contains(&seconds("session_ends_at")), "{told}");
    assert_status(&visitor.request_json(Method::HEAD, &userinfo("app")).await, 200);
    assert_status(&visitor.request_json(Method::POST, &userinfo("app")).await, 404);
    assert_status(
        &visitor.request_json(Method::GET, &format!("{}/.narthex/userinfo", narthex.origin("auth"))).await,
        404,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_ends_where_the_file_says() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\"").replace("allow =", "logout = false\nallow ="))
        .tables("[session]\nsigned_out_url = \"https://www.example.com/goodbye?from=app\"\n")
        .route("app", upstream.port, "")
        .start();
    let visitor = Visitor::new(&narthex);
    let app = narthex.origin("app");
    assert_status(&visitor.sign_in(&format!("{app}/"), "alice").await, 200);
    let out = visitor.client.post(format!("{app}/.narthex/sign-out")).header("origin", &app);
    let answer = out.header("accept", "text/html").send().await.unwrap();
    let onward = |answer: &reqwest::Response| {
        let refresh = answer.headers()["refresh"].to_str().unwrap();
        refresh.strip_prefix("0;url=").unwrap().to_owned()
    };
    let pages = visitor.follow(&onward(&answer)).await;
    assert_status(&pages, 200);
    assert_eq!(onward(&pages), "https://www.example.com/goodbye?from=app");
    assert_status(&visitor.get(&format!("{app}/")).await, 303);
}
