//! Signing in and out, at one provider and at two.

use crate::support::deployment::deployment;
use crate::support::narthex::NarthexBuilder;
use crate::support::pages::{follow_to_provider, page_links, query_parameter};
use crate::support::parties::{OpenIdProvider, Postgres, provider_toml};
use crate::support::process::free_port;
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, assert_status, location, redirect_target};
use reqwest::Method;

#[tokio::test(flavor = "multi_thread")]
async fn the_app_gets_the_request_that_was_made_with_a_signed_identity() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let visitor = Visitor::new(&narthex);
    let wanted = format!("{}/some/page?with=a%20query&and=more", narthex.origin("app"));

    let landed = visitor.sign_in(&wanted, "alice").await;
    assert_status(&landed, 200);
    assert_eq!(landed.url().as_str(), wanted);
    let seen: Seen = landed.json().await.unwrap();
    assert_eq!(seen.target, "/some/page?with=a%20query&and=more");
    let claims = seen.claims();
    assert_eq!(claims["iss"], narthex.origin("auth"));
    assert_eq!(claims["aud"], format!("{}/", narthex.origin("app")));
    assert_eq!(claims["email"], "alice@corp.example");
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["name"], "alice");
    assert_eq!(claims["identities"][0]["userId"], "alice");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
    assert_eq!(seen.header("x-amzn-oidc-identity"), claims["sub"]);

    assert!(
        narthex.admin("/metrics").contains("narthex_logins_total{provider=\"corp\",result=\"success\"} 1")
    );
    let logins = narthex.audit("login");
    assert_eq!(logins.len(), 1);
    assert_eq!(logins[0]["sub"], claims["sub"]);
    assert_eq!(narthex.audit("user_created")[0]["sub"], claims["sub"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sign_in_serves_every_app_host_and_signing_out_ends_them_all() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let visitor = Visitor::new(&narthex);
    let (app, other) = (format!("{}/", narthex.origin("app")), format!("{}/", narthex.origin("other")));
    assert_status(&visitor.sign_in(&app, "alice").await, 200);

    // No form is met on the way: `follow` fills in none.
    let second = visitor.follow(&other).await;
    assert_status(&second, 200);
    assert_eq!(second.url().as_str(), other);

    // From elsewhere, sign-out asks first and ends nothing.
    let out = format!("{}/.narthex/sign-out", narthex.origin("app"));
    let asked = visitor.get(&out).await;
    assert_status(&asked, 200);
    assert!(asked.text().await.unwrap().contains("Sign out?"));
    assert_status(&visitor.get(&other).await, 200);

    let done = visitor.client.post(&out).header("origin", narthex.origin("app")).send().await.unwrap();
    let page = visitor.confirm_sign_out(done, "corp").await;
    assert!(page.text().await.unwrap().contains("You are signed out"));
    for url in [&app, &other] {
        assert_status(&visitor.get(url).await, 303);
    }
    // The pool's session is over too: the way leads to the provider, not straight back.
    let mut answer = visitor.get(&app).await;
    while let Some(url) = redirect_target(&answer).filter(|url| !url.starts_with("http://127.0.0.1")) {
        answer = visitor.get(&url).await;
    }
    assert_eq!(location(&answer).host_str(), Some("127.0.0.1"));
    assert_eq!(narthex.audit("logout").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_finds_its_provider_and_the_last_one_used_comes_first() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let corp = OpenIdProvider::start("corp", &builder.callback("corp"));
    let club = OpenIdProvider::start("club", &builder.callback("club"));
    let domains = "domains = [\"club.example\", \"Team.example\"]\n";
    let narthex = builder
        .tables(
            &(corp.toml("\"anyone\"")
                + &club.toml("\"anyone\"").replace("[[provider]]\n", &format!("[[provider]]\n{domains}"))),
        )
        .route("app", upstream.port, "")
        .start();
    let (app, visitor) = (format!("{}/", narthex.origin("app")), Visitor::new(&narthex));
    let page = visitor.follow(&app).await;
    let ask = page.url().as_str().replace("/oauth2/authorize?", "/login?");
    let typed = async |address: &str| {
        let address: String = url::form_urlencoded::byte_serialize(address.as_bytes()).collect();
        visitor.get(&format!("{ask}&login_hint={address}")).await
    };
    let html = page.text().await.unwrap();
    assert!(html.contains("type=\"email\"") && !html.contains("last time"), "{html}");

    for unknown in
        ["zoe@other.example", "zoe@notclub.example", "\"><script>alert(1)</script>@x.example", "club.example"]
    {
        let answer = typed(unknown).await;
        assert_status(&answer, 200);
        let html = answer.text().await.unwrap();
        assert!(
            html.contains("No sign-in provider is known for this address") && !html.contains("<script"),
            "{html}"
        );
        assert!(html.contains("value=\"zoe@") || !unknown.starts_with("zoe"), "what was typed stays: {html}");
    }
    // A form may not lead elsewhere by itself: a page of ours does.
    let answer = typed(" Zoe@TEAM.example ").await;
    assert_status(&answer, 200);
    let onward = answer.headers()["refresh"].to_str().unwrap().strip_prefix("0;url=").unwrap().to_owned();
    assert!(onward.starts_with(&format!("http://127.0.0.1:{}", club.port)), "{onward}");
    assert!(onward.contains("login_hint=Zoe%40TEAM.example"), "{onward}");
    assert_status(&visitor.sign_in(&onward, "zoe").await, 200);

    let out = format!("{}/.narthex/sign-out", narthex.origin("app"));
    assert_status(
        &visitor.client.post(out).header("sec-fetch-site", "same-origin").send().await.unwrap(),
        200,
    );
    let html = visitor.follow(&app).await.text().await.unwrap();
    let (club, corp) = (html.find("Continue with Club").unwrap(), html.find("Continue with Corp").unwrap());
    assert!(club < corp && html.contains("last time"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_providers_stand_on_one_page_and_their_people_are_different_users() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let corp = OpenIdProvider::start("corp", &builder.callback("corp"));
    let club = OpenIdProvider::start("club", &builder.callback("club"));
    let narthex = builder
        .tables(&(corp.toml("\"anyone\"") + &club.toml("{ groups = [\"members\"] }")))
        .route("app", upstream.port, "")
        .start();
    let app = format!("{}/", narthex.origin("app"));
    let choose = async |visitor: &Visitor, provider: &str| {
        let page = visitor.follow(&app).await;
        assert_status(&page, 200);
        assert_eq!(page.url().path(), "/oauth2/authorize");
        let html = page.text().await.unwrap();
        assert!(html.contains("Continue with Corp") && html.contains("Continue with Club"), "{html}");
        let choice =
            html.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&"));
        choice
            .into_iter()
            .find(|href| href.ends_with(&format!("identity_provider={provider}")))
            .expect("a choice")
    };

    let mut subs = Vec::new();
    for (provider, login) in [("corp", "alice"), ("club", "alice+members")] {
        let visitor = Visitor::new(&narthex);
        let href = choose(&visitor, provider).await;
        let landed = visitor.sign_in(&href, login).await;
        assert_status(&landed, 200);
        let claims = landed.json::<Seen>().await.unwrap().claims();
        assert_eq!(claims["identities"][0]["providerName"], provider);
        subs.push(claims["sub"].clone());
    }
    assert_ne!(subs[0], subs[1]);

    let stranger = Visitor::new(&narthex);
    let href = choose(&stranger, "club").await;
    let refused = stranger.sign_in(&href, "mallory+others").await;
    assert_status(&refused, 403);
    assert_eq!(narthex.audit("login_failed")[0]["reason"], "not_allowed");
    // A refused login leaves no session behind: the page is offered again.
    assert_status(&stranger.follow(&app).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_the_provider_did_not_verify_opens_no_domain() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let visitor = Visitor::new(&narthex);
    let refused = visitor.sign_in(&format!("{}/", narthex.origin("app")), "alice!").await;
    assert_status(&refused, 403);
    let page = refused.text().await.unwrap();
    assert!(page.contains("This account may not sign in here"), "{page}");
    assert!(page.contains("alice"), "the page names the account: {page}");
    // The provider would choose the same account again: it is asked not to.
    let another =
        page_links(&page).into_iter().find(|link| link.contains("prompt=")).expect("another account");
    let at_provider = follow_to_provider(&visitor, &another).await;
    assert_eq!(query_parameter(&at_provider, "prompt"), "login");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_told_and_people_are_sent() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let visitor = Visitor::new(&narthex);
    let app = format!("{}/", narthex.origin("app"));
    assert_status(&visitor.get(&app).await, 303);
    let told = visitor.request_json(Method::GET, &app).await;
    assert_status(&told, 401);
    assert!(told.headers().contains_key("www-authenticate"));
    let body: serde_json::Value = told.json().await.unwrap();
    assert_eq!(body["error"], "sign_in_required");
    assert!(body["request_id"].is_string());
    for (name, value) in [("x-requested-with", "XMLHttpRequest"), ("sec-fetch-mode", "cors")] {
        let request = visitor.client.get(&app).header("accept", "text/html").header(name, value);
        assert_status(&request.send().await.unwrap(), 401);
    }
    let posted = visitor.client.post(&app).header("accept", "text/html").body("a=1").send().await.unwrap();
    assert_status(&posted, 401);
    assert!(posted.text().await.unwrap().contains("Please sign in"));
    assert!(narthex.audit("request_refused").iter().all(|line| line["reason"] == "nobody is signed in"));
    assert_eq!(narthex.audit("request_refused").len(), 4);
    assert!(upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_logins_in_parallel_tabs_end_in_three_hundred_landings() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let mut people = tokio::task::JoinSet::new();
    for person in 0..10 {
        let visitors: Vec<Visitor> = (0..10).map(|_| Visitor::new(&narthex)).collect();
        let origins = [narthex.origin("app"), narthex.origin("other")];
        people.spawn(async move {
            let mut landings = 0;
            for (round, visitor) in visitors.into_iter().enumerate() {
                let mut tabs = tokio::task::JoinSet::new();
                for tab in 0..3 {
                    let (visitor, url) = (visitor.clone(), format!("{}/{round}/{tab}", origins[tab % 2]));
                    tabs.spawn(async move {
                        let landed = visitor.sign_in(&url, &format!("person{person}")).await;
                        assert_eq!(landed.url().as_str(), url);
                        assert_eq!(landed.status(), 200);
                    });
                }
                while let Some(tab) = tabs.join_next().await {
                    tab.unwrap();
                    landings += 1;
                }
            }
            landings
        });
    }
    let mut landings = 0;
    while let Some(person) = people.join_next().await {
        landings += person.unwrap();
    }
    assert_eq!(landings, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_anonymous_requests_write_nothing() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let before = narthex.count_login_rows().await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..20 {
        let visitor = Visitor::new(&narthex);
        let origin = narthex.origin("app");
        tasks.spawn(async move {
            for i in 0..250 {
                // Each goes as far as a visitor gets who signs in nowhere: to the provider's door.
                let sent = visitor.get(&format!("{origin}/{task}/{i}")).await;
                let begun = visitor.get(location(&sent).as_str()).await;
                assert_eq!(location(&begun).host_str(), Some("127.0.0.1"));
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(narthex.count_login_rows().await, before);
    assert!(upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_is_a_message_and_not_a_hang() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let (port, callback) = (free_port(), builder.callback("corp"));
    let narthex =
        builder.tables(&provider_toml("corp", port, "\"anyone\"")).route("app", upstream.port, "").start();
    let visitor = Visitor::new(&narthex);
    let app = format!("{}/", narthex.origin("app"));
    let down = visitor.follow(&app).await;
    assert_status(&down, 502);
    let page = down.text().await.unwrap();
    assert!(page.contains("The sign-in provider is not responding") && page.contains("Try again"), "{page}");

    // It comes back, and nobody has to restart anything.
    let _provider = OpenIdProvider::start_on("corp", port, &callback);
    let begun = std::time::Instant::now();
    let landed = loop {
        let landed = visitor.sign_in(&app, "alice").await;
        if landed.status() == 200 || begun.elapsed().as_secs() > 30 {
            break landed;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    };
    assert_status(&landed, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_serves_an_app_and_the_pages_where_there_is_no_other() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new().public_url("app", "/.narthex");
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder.tables(&provider.toml("\"anyone\"")).route("app", upstream.port, "").start();
    let visitor = Visitor::new(&narthex);
    let app = format!("{}/page", narthex.origin("app"));
    let landed = visitor.sign_in(&app, "alice").await;
    assert_status(&landed, 200);
    assert_eq!(landed.url().as_str(), app);
    let claims = landed.json::<Seen>().await.unwrap().claims();
    assert_eq!(claims["iss"], format!("{}/.narthex", narthex.origin("app")));
    assert_status(
        &visitor.get(&format!("{}/.narthex/.well-known/jwks.json", narthex.origin("app"))).await,
        200,
    );
    for name in ["style.css", "favicon.svg"] {
        assert_status(&visitor.get(&format!("{}/.narthex/{name}", narthex.origin("app"))).await, 200);
    }
    assert_status(&visitor.get(&format!("{}/.narthex/", narthex.origin("app"))).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_keeps_what_sqlite_keeps_and_a_restart_loses_nothing() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let store = format!(
        "[store]\nurl = \"{}\"\nmaster_key = \"{}\"\n",
        Postgres::shared().database(),
        "A".repeat(43)
    );
    let mut narthex =
        builder.tables(&store).tables(&provider.toml("\"anyone\"")).route("app", upstream.port, "").start();
    let visitor = Visitor::new(&narthex);
    let app = format!("{}/", narthex.origin("app"));
    let before: Seen = visitor.sign_in(&app, "alice").await.json().await.unwrap();
    narthex.signal("TERM");
    assert!(narthex.wait_for_exit());
    narthex.start();
    let after: Seen = visitor.request_json(Method::GET, &app).await.json().await.unwrap();
    for claim in ["sub", "sid", "iss"] {
        assert_eq!(after.claims()[claim], before.claims()[claim]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_loop_is_noticed_and_ends_on_a_page_that_says_why() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let app = format!("{}/", narthex.origin("app"));
    let url: url::Url = app.parse().unwrap();
    for (kept, words) in
        [("", "Your browser did not keep your sign-in"), ("somebody.elses", "Your session was not found")]
    {
        let visitor = Visitor::new(&narthex);
        assert_status(&visitor.sign_in(&app, "alice").await, 200);
        let mut rounds = 1;
        let page = loop {
            let age = if kept.is_empty() { "; Max-Age=0" } else { "" };
            visitor.jar.add_cookie_str(&format!("__Host-narthex={kept}; Path=/; Secure{age}"), &url);
            let landed = visitor.follow(&app).await;
            if landed.status() != 200 {
                break landed;
            }
            rounds += 1;
            assert!(rounds < 10, "it goes round and round");
        };
        assert_status(&page, 508);
        let text = page.text().await.unwrap();
        assert!(text.contains(words) && text.contains("Try again"), "{text}");
        assert_eq!(narthex.audit("sign_in_loop").len(), if kept.is_empty() { 1 } else { 2 });
        // A browser with cookies enabled gets in.
        assert_status(&visitor.sign_in(&app, "alice").await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_says_what_becomes_of_strangers_and_which_groups_the_app_is_told() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", upstream.port, "on_unauthenticated_request = \"deny\"\nassertion_groups = [\"team-*\", \"staff\"]\n[route.headers]\nX-Groups = \"${groups}\"")
        .route("page", upstream.port, "on_unauthenticated_request = \"authenticate\"\nsame_site = \"none\"")
        .start();
    let visitor = Visitor::new(&narthex);
    assert_status(&visitor.get(&format!("{}/", narthex.origin("app"))).await, 401);
    assert_status(&visitor.request_json(Method::GET, &format!("{}/", narthex.origin("page"))).await, 303);

    let sign_in = |to: &str| format!("{}/.narthex/sign-in?return_to={to}", narthex.origin("app"));
    let landed = visitor.sign_in(&sign_in("/a?b=c&d=e"), "alice+team-a+staff+secret+team-b").await;
    assert_eq!(landed.url().as_str(), format!("{}/a?b=c&d=e", narthex.origin("app")));
    let seen: Seen = landed.json().await.unwrap();
    assert_eq!(seen.claims()["cognito:groups"], serde_json::json!(["team-a", "staff", "team-b"]));
    assert_eq!(seen.header("x-groups"), "team-a,staff,team-b");
    for elsewhere in ["https://evil.example/", "@evil.example/", ".evil.example/", "%2F%2F%0d%0aX:%20y"] {
        let answer = Visitor::new(&narthex).get(&sign_in(elsewhere)).await;
        assert_status(&answer, 400);
    }

    // The cookie of an app that others embed goes along there, and no other of ours does.
    let mut answer = visitor.get(&format!("{}/", narthex.origin("page"))).await;
    while let Some(to) = redirect_target(&answer).filter(|to| !to.contains("/.narthex/callback")) {
        answer = visitor.get(&to).await;
    }
    let landed = visitor.get(&redirect_target(&answer).unwrap()).await;
    let cookies: Vec<&str> =
        landed.headers().get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    let same_site = |name: &str| cookies.iter().find(|cookie| cookie.starts_with(name)).unwrap();
    assert!(same_site("__Host-narthex=").contains("SameSite=None"), "{cookies:?}");
    assert!(same_site("__Host-narthex-landings=").contains("SameSite=Lax"), "{cookies:?}");
}
