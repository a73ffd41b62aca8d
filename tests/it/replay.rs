//! Codes and cookies that are sent again: by another visitor, twice, or after another sign-in.

use crate::support::deployment::deployment;
use crate::support::narthex::Narthex;
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, assert_status, location, redirect_target};
use reqwest::Method;
use reqwest::cookie::CookieStore as _;

/// The cookies that a browser would send to `url`.
fn cookies(visitor: &Visitor, url: &str) -> String {
    let cookies = visitor.jar.cookies(&url.parse().unwrap());
    cookies.map_or_else(String::new, |cookies| cookies.to_str().unwrap().to_owned())
}

/// The value of one of them.
fn cookie(visitor: &Visitor, url: &str, name: &str) -> Option<String> {
    let value = |pair: &str| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
    cookies(visitor, url).split("; ").find_map(value)
}

/// Follows redirects from `url` up to one that leads to `end`, and returns that.
async fn up_to(visitor: &Visitor, url: &str, end: &str) -> String {
    let mut url = url.to_owned();
    while !url.contains(end) {
        url = redirect_target(&visitor.get(&url).await).expect("a way on");
    }
    url
}

/// A request by somebody who has nothing but these cookies.
async fn with_cookies(narthex: &Narthex, url: &str, cookies: &str) -> reqwest::Response {
    let request =
        Visitor::new(narthex).client.get(url).header("cookie", cookies).header("accept", "text/html");
    request.send().await.unwrap()
}

/// A visitor who has signed in at the pool and at `other`, and the address with the code for `app`.
async fn with_code(narthex: &Narthex, login: &str) -> (Visitor, String) {
    let visitor = Visitor::new(narthex);
    assert_status(&visitor.sign_in(&format!("{}/", narthex.origin("other")), login).await, 200);
    let callback = up_to(&visitor, &format!("{}/wanted", narthex.origin("app")), "/.narthex/callback?").await;
    (visitor, callback)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_in_other_hands_signs_nobody_out_and_is_not_used_up() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let app = format!("{}/wanted", narthex.origin("app"));
    let (alice, callback) = with_code(&narthex, "alice").await;
    let code = |url: &str| {
        let url: url::Url = url.parse().unwrap();
        url.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned()
    };
    // Mallory has attempts of her own at both hosts, and Alice's code.
    let (mallory, hers) = with_code(&narthex, "mallory").await;
    let there =
        up_to(&mallory, &format!("{}/.narthex/sign-in", narthex.origin("other")), "/.narthex/callback?")
            .await;
    let stolen = hers.replace(&code(&hers), &code(&callback));
    let elsewhere = there.replace(&code(&there), &code(&callback));

    for url in [&stolen, &elsewhere] {
        assert_status(&mallory.get(url).await, 400);
    }
    // It is Alice's still; and spent, it is of no more use to Mallory.
    assert_status(&alice.follow(&callback).await, 200);
    for url in [&stolen, &elsewhere] {
        assert_status(&mallory.get(url).await, 400);
    }
    assert_status(&alice.request_json(Method::GET, &app).await, 200);
    assert_status(&alice.request_json(Method::GET, &format!("{}/", narthex.origin("other"))).await, 200);
    assert!(narthex.audit("session_ended").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apps_callback_that_is_delivered_twice_signs_nobody_out() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let app = format!("{}/wanted", narthex.origin("app"));
    let (alice, callback) = with_code(&narthex, "alice").await;
    let sent = cookies(&alice, &callback);
    let mut deliveries = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (client, callback, sent) = (Visitor::new(&narthex).client, callback.clone(), sent.clone());
        deliveries.spawn(async move {
            let request = client.get(callback).header("cookie", sent).header("accept", "text/html");
            request.send().await.unwrap()
        });
    }
    let mut sessions = Vec::new();
    for answer in deliveries.join_all().await {
        assert_status(&answer, 303);
        assert_eq!(location(&answer).as_str(), app, "each leads where the person wanted to go");
        let set =
            answer.headers().get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap().to_owned());
        sessions.extend(set.filter(|cookie| cookie.starts_with("__Host-narthex=")));
    }
    assert_eq!(sessions.len(), 1, "one of them brings a session: {sessions:?}");
    let session = sessions[0].split(';').next().unwrap();
    assert_status(&with_cookies(&narthex, &app, session).await, 200);
    assert_status(&with_cookies(&narthex, &callback, &sent).await, 303);
    assert_status(&with_cookies(&narthex, &app, session).await, 200);
    // Whichever answer the browser took, it lands.
    assert_status(&alice.follow(&callback).await, 200);
    assert_status(&with_cookies(&narthex, &app, session).await, 200);
    assert!(narthex.audit("session_ended").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_again_replaces_every_cookie_of_the_browser() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let [app, other] = ["app", "other"].map(|name| format!("{}/", narthex.origin(name)));
    let pool = format!("{}/sessions", narthex.origin("auth"));
    let alice = Visitor::new(&narthex);
    let before = alice.sign_in(&app, "alice").await.json::<Seen>().await.unwrap().claims();
    assert_status(&alice.follow(&other).await, 200);
    let old = [
        (&app, format!("__Host-narthex={}", cookie(&alice, &app, "__Host-narthex").unwrap())),
        (&other, format!("__Host-narthex={}", cookie(&alice, &other, "__Host-narthex").unwrap())),
        (&pool, format!("__Host-narthex-pool={}", cookie(&alice, &pool, "__Host-narthex-pool").unwrap())),
    ];
    for (url, cookie) in &old {
        assert_status(&with_cookies(&narthex, url, cookie).await, 200);
    }

    let again = redirect_target(&alice.get(&format!("{app}.narthex/sign-in")).await).unwrap();
    let landed = alice.sign_in(&format!("{again}&identity_provider=corp"), "alice").await;
    assert_status(&landed, 200);
    let after = landed.json::<Seen>().await.unwrap().claims();
    assert_eq!(after["sub"], before["sub"]);
    let new = |url: &str, name: &str| format!("{name}={}", cookie(&alice, url, name).unwrap());
    assert_ne!(new(&app, "__Host-narthex"), old[0].1);
    assert_ne!(new(&pool, "__Host-narthex-pool"), old[2].1);
    // Nobody who kept one of the old cookies has anything by it, nor by the new sign-in.
    for (url, cookie) in &old {
        assert_ne!(with_cookies(&narthex, url, cookie).await.status(), 200, "{url}");
    }
    // The other app's cookie is replaced by the way, without a form.
    assert_status(&alice.request_json(Method::GET, &other).await, 401);
    let landed = alice.follow(&other).await;
    assert_status(&landed, 200);
    assert_eq!(landed.url().as_str(), other);
    assert_ne!(new(&other, "__Host-narthex"), old[1].1);
    assert_eq!(narthex.audit("session_ended").len(), 1);

    // A cookie of an app that the browser kept, but not the pool's: another sign-in ends its
    // session too.
    let kept = new(&app, "__Host-narthex");
    alice.jar.add_cookie_str("__Host-narthex-pool=; Path=/; Secure; Max-Age=0", &pool.parse().unwrap());
    let again = redirect_target(&alice.get(&format!("{app}.narthex/sign-in")).await).unwrap();
    assert_status(&alice.sign_in(&again, "alice").await, 200);
    assert_ne!(new(&app, "__Host-narthex"), kept);
    for url in [&app, &other] {
        assert_ne!(with_cookies(&narthex, url, &kept).await.status(), 200);
    }
    // Where nobody signed in anew, a cookie stays as it is.
    let kept = new(&app, "__Host-narthex");
    assert_status(&alice.follow(&format!("{app}.narthex/sign-in")).await, 200);
    assert_eq!(new(&app, "__Host-narthex"), kept);
}
