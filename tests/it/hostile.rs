//! Published attacks on proxies, sign-ins and cookies.

use crate::support::deployment::deployment;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::OpenIdProvider;
use crate::support::process::wait_until;
use crate::support::tunnel::{connect_tls, read_head, start_upstream, try_write};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, location, redirect_target};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Sends raw bytes from a trusted TLS terminator's address, and answers everything that comes back.
fn raw(narthex: &Narthex, bytes: &str) -> String {
    use std::net::SocketAddr;
    let runtime = tokio::net::TcpSocket::new_v4().unwrap();
    runtime.bind("127.0.0.7:0".parse().unwrap()).unwrap();
    let to: SocketAddr = ([127, 0, 0, 1], narthex.http).into();
    let stream =
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(runtime.connect(to)))
            .unwrap();
    let mut stream: TcpStream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_two_readings_is_refused_and_what_hides_in_it_is_never_seen() {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    let head = "Host: app.localhost\r\nX-Forwarded-Proto: https\r\nConnection: keep-alive\r\n";
    let hidden = "GET /hidden HTTP/1.1\r\nHost: app.localhost\r\n\r\n";
    for (name, message) in [
        (
            "CL and TE",
            format!(
                "POST /a HTTP/1.1\r\n{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
        ),
        (
            "two CLs",
            format!(
                "POST /a HTTP/1.1\r\n{head}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}",
                hidden.len()
            ),
        ),
        ("obs-fold", format!("GET /a HTTP/1.1\r\n{head}X: a\r\n Content-Length: 0\r\n\r\n{hidden}")),
        (
            "bare LF",
            format!("GET /a HTTP/1.1\r\n{head}X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "TE on HTTP/1.0",
            format!("POST /a HTTP/1.0\r\n{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "TE twice",
            format!(
                "POST /a HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}"
            ),
        ),
        ("odd TE", format!("POST /a HTTP/1.1\r\n{head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}")),
        ("two hosts", format!("GET /a HTTP/1.1\r\n{head}Host: other.localhost\r\n\r\n{hidden}")),
        ("no host", format!("GET /a HTTP/1.1\r\nX-Forwarded-Proto: https\r\n\r\n{hidden}")),
    ] {
        let answer = raw(&narthex, &message);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{name}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), usize::from(!answer.is_empty()), "{name}: {answer}");
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
    // The same without the trick passes: it was the trick that was refused.
    assert!(raw(&narthex, &format!("GET /a HTTP/1.0\r\n{head}\r\n")).starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_servers_read_differently_is_refused() {
    let (open, shut) = (Upstream::start().await, Upstream::start().await);
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", open.port, "path = \"/public\"\naccess = \"public\"")
        .route("app", open.port, "path = \"/keys\"\naccess = \"public\"\npath_handling = \"opaque\"")
        .route("app", shut.port, "")
        .start();
    let status = |target: &str| {
        let answer = raw(
            &narthex,
            &format!(
                "GET {target} HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
            ),
        );
        answer.split(' ').nth(1).map(str::to_owned).unwrap_or_default()
    };
    for target in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/.%2e/admin",
        "/public/..;/admin",
        "/public/..%2fadmin",
        "/public//admin",
        "//public",
        "/public/%5c..%5cadmin",
        "/public/..\\admin",
        "/public/%00",
        "/public/%zz",
        "/public%2fadmin",
        "/keys/../admin",
        "/keys/%2e%2e%2fadmin",
    ] {
        assert_eq!(status(target), "400", "{target}");
    }
    for target in ["/admin?/public", "/admin%23/public", "/admin;/public", "/publicity"] {
        assert_eq!(status(target), "401", "{target}");
    }
    // Some servers strip control characters, and for some a path ends before a line break.
    for prefix in ["/public/x", "/keys/x", "/shut"] {
        let control = (0..0x20).chain([0x7f]).map(|byte: u8| format!("%{byte:02x}"));
        let next_line = (0x80..0xa0).map(|byte: u8| format!("%C2%{byte:02X}"));
        let separators = ["%E2%80%A8", "%E2%80%A9", "%250a", "%2500"].map(str::to_owned);
        for end in control.chain(next_line).chain(separators) {
            for target in [format!("{prefix}{end}"), format!("{prefix}{end}y/z")] {
                assert_eq!(status(&target), "400", "{target}");
            }
        }
    }
    for target in ["/public", "/public/a%20b", "/keys//a", "/keys/a%2Fb"] {
        assert_eq!(status(target), "200", "{target}");
    }
    assert!(shut.seen().is_empty());
    let targets: Vec<String> = open.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(
        targets,
        ["/public", "/public/a%20b", "/keys//a", "/keys/a%2Fb"],
        "the bytes go on as they came"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_a_looser_server_would_place_elsewhere_is_refused() {
    let (open, shut) = (Upstream::start().await, Upstream::start().await);
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", open.port, "access = \"public\"")
        .route("app", shut.port, "path = \"/admin\"")
        .route("app", shut.port, "path = \"/Reports\"")
        .start();
    let visitor = Visitor::new(&narthex);
    for path in [
        "/Admin",
        "/ADMIN/users",
        "/admin;x=1/users",
        "/admin;/users",
        "/;x/admin",
        "/reports",
        "/REPORTS/1",
        "/admin.",
        "/admin%20/users",
        "/admin%C2%A0/users",
        "/%20admin",
        "/%EF%BD%81dmin",
        "/%C3%A1dmin",
        "/adm%C4%B1n",
        "/%2561dmin/users",
        "/admin%252Fusers",
        "/admin%3Fx",
        "/admin::$INDEX_ALLOCATION/x",
    ] {
        assert_status(
            &visitor.request_json(reqwest::Method::GET, &format!("{}{path}", narthex.origin("app"))).await,
            400,
        );
    }
    for path in
        ["/Administration", "/a;b", "/Files", "/U.S.", "/%C3%9Cbung", "/job/a%252Fb", "/100%25", "/C%23"]
    {
        assert_status(
            &visitor.request_json(reqwest::Method::GET, &format!("{}{path}", narthex.origin("app"))).await,
            200,
        );
    }
    assert!(shut.seen().is_empty());
    assert!(open.seen().iter().all(|seen| !seen.target.to_lowercase().starts_with("/admin/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_headers_reach_the_app_though_the_client_nominates_them_for_removal() {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    for nominated in ["X-Amzn-Oidc-Data, X-Request-Id", "close, x-forwarded-for", "Upgrade, X-Request-Id"] {
        let upgrade = if nominated.starts_with("Upgrade") { "Upgrade: websocket\r\n" } else { "" };
        let answer = raw(
            &narthex,
            &format!(
                "GET / HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\nConnection: {nominated}\r\n{upgrade}\r\n"
            ),
        );
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    }
    for seen in upstream.seen() {
        assert_eq!(seen.header_values("x-request-id").len(), 1, "{:?}", seen.headers);
        let connection = seen.header_values("connection").join(",").to_lowercase();
        assert!(!connection.contains("x-"), "{connection}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_belongs_to_the_browser_that_began_it() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let app = format!("{}/", narthex.origin("app"));
    let (mallory, alice) = (Visitor::new(&narthex), Visitor::new(&narthex));

    // Mallory signs in up to the provider's answer, and has Alice's browser open it instead.
    let mut answer = mallory.get(&app).await;
    while !redirect_target(&answer).unwrap().starts_with("http://127.0.0.1") {
        answer = mallory.get(&redirect_target(&answer).unwrap()).await;
    }
    let at_provider = redirect_target(&answer).unwrap();
    let form = mallory.follow(&at_provider).await;
    let url = form.url().clone();
    let page = form.text().await.unwrap();
    let action = page.split("action=\"").nth(1).unwrap().split('"').next().unwrap();
    let fields = [("prompt", "login"), ("login", "mallory"), ("password", "x")];
    let mut answer = mallory.client.post(url.join(action).unwrap()).form(&fields).send().await.unwrap();
    while redirect_target(&answer).unwrap().starts_with("http://127.0.0.1") {
        answer = mallory.get(&redirect_target(&answer).unwrap()).await;
    }
    let callback = redirect_target(&answer).unwrap();
    assert!(callback.contains("/oauth2/idpresponse/corp"));
    let refused = alice.get(&callback).await;
    assert_status(&refused, 400);
    assert!(refused.headers().get("set-cookie").is_none());
    assert_status(&alice.get(&app).await, 303);

    // A state that was altered finds no attempt either.
    let state = location(&answer).query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    assert_status(&mallory.get(&callback.replace(&state, &state.replace('A', "B"))).await, 400);
    // An `iss` of another provider is refused (RFC 9207), and the code is not redeemed for it.
    let other =
        format!("{}&x=1", callback.replace("iss=http%3A%2F%2F127.0.0.1", "iss=http%3A%2F%2F127.0.0.2"));
    assert_status(&mallory.get(&other).await, 400);
    assert!(narthex.audit("login_failed").iter().any(|line| line["reason"] == "iss"));

    // Mallory's own browser finishes it, once; the second time the attempt is gone, and the browser
    // goes on to the app.
    let done = mallory.get(&callback).await;
    assert_status(&done, 303);
    let again = mallory.get(&callback).await;
    assert_status(&again, 303);
    assert_eq!(location(&again).as_str(), app);
    assert!(
        !again
            .headers()
            .get_all("set-cookie")
            .iter()
            .any(|cookie| cookie.as_bytes().starts_with(b"__Host-narthex-pool"))
    );
    assert_eq!(narthex.audit("login").len(), 1);

    // The code for the app, too, is of use to the browser that asked for it only.
    let code = location(&done);
    assert_status(&alice.get(code.as_str()).await, 400);
    assert_status(&mallory.follow(code.as_str()).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_of_one_provider_is_none_of_another() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let redirects = format!("{},{}", builder.callback("corp"), builder.callback("club"));
    let (corp, club) = (OpenIdProvider::start("corp", &redirects), OpenIdProvider::start("club", &redirects));
    let narthex = builder
        .tables(&(corp.toml("\"anyone\"") + &club.toml("\"anyone\"")))
        .route("app", upstream.port, "")
        .start();
    let visitor = Visitor::new(&narthex);
    let page = visitor.follow(&format!("{}/", narthex.origin("app"))).await.text().await.unwrap();
    let href = page
        .split("href=\"")
        .map(|rest| rest.split('"').next().unwrap())
        .find(|h| h.ends_with("=corp"))
        .unwrap();
    let sent = visitor.get(&href.replace("&#38;", "&")).await;
    let state = location(&sent).query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let mixed = format!(
        "{}?code=c&state={state}&iss=http%3A%2F%2F127.0.0.1%3A{}",
        narthex.origin("auth") + "/oauth2/idpresponse/club",
        club.port
    );
    assert_status(&visitor.get(&mixed).await, 400);
    assert_eq!(narthex.audit("login_failed")[0]["reason"], "other_provider");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_leads_anywhere_but_to_our_own_hosts() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let visitor = Visitor::new(&narthex);
    let auth = narthex.origin("auth");
    let sent = visitor.get(&format!("{}/", narthex.origin("app"))).await;
    let good = location(&sent);
    let with = |name: &str, value: &str| {
        let mut url = good.clone();
        let pairs: Vec<(String, String)> = good.query_pairs().into_owned().collect();
        url.query_pairs_mut()
            .clear()
            .extend_pairs(pairs.iter().map(|(n, v)| (n, if n == name { value } else { v })));
        url.to_string()
    };
    let callback = format!("{}/.narthex/callback", narthex.origin("app"));
    for uri in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "",
        &format!("{callback}/"),
        &format!("{callback}?x"),
        &callback.to_uppercase(),
        &callback.replace("app.", "app.evil."),
        &callback.replace("://", "://x@"),
        &format!("{callback} "),
        &format!("{callback}\r\nX: y"),
    ] {
        let answer = visitor.get(&with("redirect_uri", uri)).await;
        assert_status(&answer, 400);
        assert!(answer.headers().get("location").is_none(), "{uri}");
    }
    assert_status(&visitor.get(&with("client_id", "somebody")).await, 400);
    // Other errors go to the client, with `iss` (RFC 9207).
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
    ] {
        let told = location(&visitor.get(&with(name, value)).await);
        assert!(told.as_str().starts_with(&callback), "{told}");
        let pairs: Vec<(String, String)> = told.query_pairs().into_owned().collect();
        assert!(
            pairs.contains(&("error".into(), error.into())) && pairs.contains(&("iss".into(), auth.clone())),
            "{told}"
        );
    }
    let page = visitor.get(&format!("{auth}/logout?app=evil.example")).await.text().await.unwrap();
    assert!(!page.contains("evil"), "{page}");
    // The address that was wanted comes back on this host, whatever it looks like.
    let odd = visitor.sign_in(&format!("{}/?next=//evil.example", narthex.origin("app")), "alice").await;
    assert_eq!(odd.url().as_str(), format!("{}/?next=//evil.example", narthex.origin("app")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_was_planted_before_is_another_after_signing_in() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    use reqwest::cookie::CookieStore as _;
    let (mallory, alice) = (Visitor::new(&narthex), Visitor::new(&narthex));
    let app = format!("{}/", narthex.origin("app"));
    assert_status(&mallory.sign_in(&app, "mallory").await, 200);
    let pool = reqwest::Url::parse(&narthex.origin("auth")).unwrap();
    // A cookie jar has no order, and takes one cookie at a time.
    let session_of = |visitor: &Visitor| {
        let cookies = visitor.jar.cookies(&pool).unwrap().to_str().unwrap().to_owned();
        cookies.split("; ").find(|cookie| cookie.starts_with("__Host-narthex-pool=")).unwrap().to_owned()
    };
    let planted = session_of(&mallory);
    alice.jar.add_cookie_str(&format!("{planted}; Path=/; Secure"), &pool);

    // Alice signs in by herself, as the link of a provider makes her do.
    let sent = alice.get(&app).await;
    let landed = alice.sign_in(&format!("{}&identity_provider=corp", location(&sent)), "alice").await;
    assert_status(&landed, 200);
    assert_ne!(session_of(&alice), planted);
    // What was planted is over, so it can neither follow Alice nor be followed.
    let request = mallory.client.get(location(&sent)).header("accept", "text/html").header("cookie", planted);
    let answer = request.send().await.unwrap();
    assert_eq!(location(&answer).host_str(), Some("127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_does_not_replace_who_is_signed_in() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let alice = Visitor::new(&narthex);
    let app = format!("{}/", narthex.origin("app"));
    let named = format!("{}&identity_provider=corp", location(&alice.get(&app).await));
    assert_status(&alice.sign_in(&app, "alice").await, 200);
    let led_from = async |site: &str| {
        let request = alice.client.get(&named).header("accept", "text/html").header("sec-fetch-site", site);
        location(&request.send().await.unwrap())
    };
    for (site, at_provider) in
        [("cross-site", false), ("same-site", false), ("same-origin", true), ("none", true)]
    {
        let onward = led_from(site).await;
        assert_eq!(onward.host_str() == Some("127.0.0.1"), at_provider, "{site}: {onward}");
    }
    assert_status(&alice.get(&app).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_wanted_is_no_second_request() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", upstream.port, "")
        .route("app", upstream.port, "path = \"/open\"\naccess = \"public\"")
        .start();
    let hidden = "GET /open/hidden HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\n\r\n";
    let head = "Host: app.localhost\r\nX-Forwarded-Proto: https\r\n";
    // Refused before its body is read: by us for want of a session, and for its path.
    for target in ["/shut", "/open/%2e%2e/shut", "/.narthex/sign-out", "/.narthex/nothing"] {
        let message =
            format!("POST {target} HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n{hidden}", hidden.len());
        let answer = raw(&narthex, &message);
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{target}: {answer}");
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_agent_that_looks_like_a_health_check_opens_nothing() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let visitor = Visitor::new(&narthex);
    for agent in ["ELB-HealthChecker/2.0", "kube-probe/1.30", "GoogleHC/1.0", "HAProxy-HealthCheck"] {
        for path in ["/", "/healthz", "/ping", "/ready"] {
            let request = visitor.client.get(format!("{}{path}", narthex.origin("app")));
            assert_status(&request.header("user-agent", agent).send().await.unwrap(), 401);
        }
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_decides_whatever_name_the_connection_was_made_for() {
    let (open, shut) = (Upstream::start().await, Upstream::start().await);
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("open", open.port, "access = \"public\"")
        .route("shut", shut.port, "")
        .start();
    for host in ["shut.localhost", "SHUT.localhost.", "shut.localhost:1"] {
        let mut stream = connect_tls(&narthex, "open", false).await;
        assert!(try_write(&mut stream, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await);
        let answer = read_head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{host}: {answer}");
    }
    assert!(open.seen().is_empty() && shut.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_ours_says_how_it_may_be_used() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let visitor = Visitor::new(&narthex);
    let (app, auth) = (narthex.origin("app"), narthex.origin("auth"));
    let answers = [
        visitor.get(&format!("{app}/")).await,
        visitor.request_json(reqwest::Method::GET, &format!("{app}/")).await,
        visitor.get(&format!("{auth}/")).await,
        visitor.get(&format!("{auth}/logout")).await,
        visitor.get(&format!("{auth}/nothing")).await,
        visitor.get(&format!("{app}/a//b")).await,
    ];
    for answer in answers {
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let policy = header("content-security-policy").unwrap();
        for words in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"]
        {
            assert!(policy.contains(words), "{}: {policy}", answer.url());
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"));
        assert_eq!(header("referrer-policy").as_deref(), Some("no-referrer"));
        assert_eq!(header("cache-control").as_deref(), Some("no-store"));
        assert!(header("x-request-id").is_some_and(|id| !id.is_empty()));
        for cookie in answer.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            for words in ["__Host-narthex", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
                assert!(cookie.contains(words), "{cookie}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_fails_too_often_is_told_to_wait_and_others_are_not() {
    let upstream = Upstream::start().await;
    let (narthex, provider) = deployment(&upstream).await;
    let from = |address: [u8; 4]| {
        Visitor::with_client(&narthex, |builder| builder.local_address(std::net::IpAddr::from(address)))
    };
    let attacker = from([127, 0, 0, 66]);
    let app = format!("{}/", narthex.origin("app"));
    // Each begins as it should, and comes back with a code of its own making, about which the
    // provider has to be asked.
    let mut answers = Vec::new();
    let mut callback = String::new();
    for _ in 0..40 {
        let begun = attacker.get(location(&attacker.get(&app).await).as_str()).await;
        let there = location(&begun);
        let query: std::collections::HashMap<_, _> = there.query_pairs().collect();
        let mut back = url::Url::parse(&query["redirect_uri"]).unwrap();
        back.query_pairs_mut()
            .append_pair("state", &query["state"])
            .append_pair("code", "made-up")
            .append_pair("iss", &format!("http://127.0.0.1:{}", provider.port));
        callback = back.into();
        answers.push(attacker.get(&callback).await.status().as_u16());
    }
    assert_eq!(answers.iter().position(|status| *status == 429), Some(30), "{answers:?}");
    let told = attacker.get(&callback).await;
    assert!(told.headers().contains_key("retry-after"));
    // A request without cost is no failure: any page could have browsers send it.
    let office = from([127, 0, 0, 68]);
    for _ in 0..40 {
        assert_status(
            &office.get(&format!("{}/oauth2/idpresponse/corp?state=x", narthex.origin("auth"))).await,
            400,
        );
    }
    assert_status(&office.sign_in(&app, "carol").await, 200);
    // A sign-in of the same address has to wait, too; another one's does not.
    assert_status(&attacker.sign_in(&format!("{}/", narthex.origin("app")), "mallory").await, 429);
    assert_status(&from([127, 0, 0, 67]).sign_in(&format!("{}/", narthex.origin("app")), "alice").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_only_so_many_connections_and_gets_them_back() {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new()
        .listen("connections_per_address = 10")
        .route("app", upstream.port, "access = \"public\"")
        .start();
    let request = "GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n";
    let connect = |address: &'static str| async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        socket.connect(([127, 0, 0, 1], narthex.http).into()).await.unwrap()
    };
    let answered = async |stream: &mut tokio::net::TcpStream| {
        try_write(stream, request).await && read_head(stream).await.starts_with("HTTP/1.1 308")
    };
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut stream = connect("127.0.0.66").await;
        assert!(answered(&mut stream).await);
        held.push(stream);
    }
    assert!(!answered(&mut connect("127.0.0.66").await).await, "an eleventh is closed unheard");
    assert!(answered(&mut connect("127.0.0.67").await).await, "another address is another's");
    drop(held);
    let begun = std::time::Instant::now();
    while !answered(&mut connect("127.0.0.66").await).await {
        assert!(begun.elapsed().as_secs() < 10, "places are not given back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_only_so_many_requests_in_progress_however_few_its_connections() {
    let silent = start_upstream(|stream| async move {
        // Held open without an answer.
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let app = Upstream::start().await;
    let narthex = NarthexBuilder::new()
        .listen("connections_per_address = 10")
        .route("silent", silent, "access = \"public\"")
        .route("app", app.port, "access = \"public\"")
        .start();
    let stream = hyper_util::rt::TokioIo::new(connect_tls(&narthex, "silent", true).await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    tokio::spawn(connection);
    let get = |host: &str| {
        let uri = format!("https://{host}.localhost:{}/", narthex.https);
        let request = http::Request::get(uri)
            .header("x-forwarded-for", "192.0.2.7")
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap();
        let mut sender = sender.clone();
        async move { sender.send_request(request).await.unwrap().status() }
    };
    let held: Vec<_> = (0..20).map(|_| tokio::spawn(get("silent"))).collect();
    wait_until("ten requests of twenty to be refused", || {
        narthex
            .admin("/metrics")
            .contains("narthex_requests_refused_total{reason=\"too_many_from_address\"} 10")
    });
    assert_eq!(get("app").await, http::StatusCode::SERVICE_UNAVAILABLE);
    held.iter().for_each(tokio::task::JoinHandle::abort);
    let begun = std::time::Instant::now();
    while get("app").await != http::StatusCode::OK {
        assert!(begun.elapsed().as_secs() < 10, "the shares are not given back");
    }
}
