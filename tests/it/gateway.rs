//! What the gateway does with requests: routes, headers, upstreams, TLS.

use crate::support::certificates;
use crate::support::deployment::deployment;
use crate::support::narthex::NarthexBuilder;
use crate::support::parties::OpenIdProvider;
use crate::support::process::{Party, free_port, wait_for_port};
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, assert_status, location};
use reqwest::header::{COOKIE, HOST};
use reqwest::{Method, Version};

#[tokio::test(flavor = "multi_thread")]
async fn a_public_route_passes_anyone_and_the_identity_where_there_is_one() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = crate::support::parties::OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", upstream.port, "path = \"/open\"\naccess = \"public\"")
        .route("app", upstream.port, "")
        .start();
    let visitor = Visitor::new(&narthex);
    let open = format!("{}/open", narthex.origin("app"));
    let stranger: Seen = visitor.request_json(Method::GET, &open).await.json().await.unwrap();
    assert!(stranger.header_values("x-amzn-oidc-data").is_empty());
    assert_status(&visitor.sign_in(&format!("{}/", narthex.origin("app")), "alice").await, 200);
    let known: Seen = visitor.request_json(Method::GET, &open).await.json().await.unwrap();
    assert_eq!(known.claims()["email"], "alice@corp.example");
    // Each route has an audience of its own: an assertion for one is none for the other.
    assert_eq!(known.claims()["aud"], open);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_of_itself_never_reaches_the_app() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = crate::support::parties::OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route(
            "app",
            upstream.port,
            "[route.headers]\nX-Remote-User = \"${email}\"\nX-Groups = \"staff,${groups}\"",
        )
        // The same app by a route without headers of its own: what it trusts is stripped here too.
        .route("open", upstream.port, "access = \"public\"")
        .start();
    let visitor = Visitor::new(&narthex);
    let app = format!("{}/", narthex.origin("app"));
    assert_status(&visitor.sign_in(&app, "alice+writers").await, 200);
    let lies = [
        ("X-Amzn-Oidc-Data", "forged"),
        ("x_amzn_oidc_data", "forged"),
        ("x-amzn-oidc_identity", "forged"),
        ("X-Amzn-Oidc-Accesstoken", "forged"),
        ("X-Remote-User", "root"),
        ("X_Remote_User", "root"),
        ("x-remote_user", "root"),
        ("X-Forwarded-User", "root"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "http"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Real-IP", "6.6.6.6"),
        ("X-Original-URL", "/admin"),
        ("X-Request-Id", "chosen"),
        ("x.remote.user", "root"),
        // Servers that read such a header would serve another path than the authorized one.
        ("SCRIPT_NAME", "/admin"),
        ("Script-Name", "/admin"),
        ("X-Script-Name", "/admin"),
        ("Path_Info", "/admin"),
        ("X_Original_URI", "/admin"),
        ("X-Groups", "root"),
        ("x_groups", "root"),
        ("X-Envoy-Original-Path", "/admin"),
        ("X-Rewrite_URL", "/admin"),
        ("X-Middleware-Subrequest", "/admin"),
        ("Client-IP", "6.6.6.6"),
        ("CLIENT_IP", "6.6.6.6"),
        ("True-Client-IP", "6.6.6.6"),
        ("CF-Connecting-IP", "6.6.6.6"),
        ("Fastly_Client_IP", "6.6.6.6"),
        ("X-Azure-ClientIP", "6.6.6.6"),
        ("X-Original-Host", "evil.example"),
        ("X.Host", "evil.example"),
        ("Proxy", "http://evil.example"),
        ("Remote-User", "root"),
        ("REMOTE_USER", "root"),
        ("X-MS-Client-Principal-Name", "root"),
        ("$WSRU", "root"),
    ];
    // Naming a header in Connection does not keep it from being removed.
    let old = Visitor::with_client(&narthex, |builder| builder.http1_only());
    let nominating = old.client.get(format!("{}/", narthex.origin("open")));
    let nominating = nominating.header("connection", "client-ip, proxy").header("client-ip", "6.6.6.6");
    let answer = nominating.header("proxy", "http://evil.example").send().await.unwrap();
    let seen: Seen = answer.json().await.unwrap();
    assert!(
        seen.header_values("client-ip").is_empty() && seen.header_values("proxy").is_empty(),
        "{:?}",
        seen.headers
    );
    for (url, signed_in) in [(&app, true), (&format!("{}/", narthex.origin("open")), false)] {
        let mut request = visitor.client.get(url).header("accept", "application/json");
        for (name, value) in lies {
            request = request.header(name, value).header(name, value);
        }
        let answer = request.send().await.unwrap();
        assert_status(&answer, 200);
        let seen: Seen = answer.json().await.unwrap();
        let text = format!("{:?}", seen.headers);
        for lie in ["forged", "root", "6.6.6.6", "evil.example", "/admin", "chosen"] {
            assert!(!text.contains(lie), "{lie}: {text}");
        }
        assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1");
        assert_eq!(seen.header("x-forwarded-proto"), "https");
        let user = seen.header_values("x-remote-user");
        match signed_in {
            true => {
                assert_eq!((user, seen.header("x-groups")), (vec!["alice@corp.example"], "staff,writers"))
            }
            false => assert!(user.is_empty()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_cookies_stay_with_us_in_both_directions() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let visitor = Visitor::new(&narthex);
    let app = format!("{}/", narthex.origin("app"));
    assert_status(&visitor.sign_in(&app, "alice").await, 200);
    let url: reqwest::Url = app.parse().unwrap();
    visitor.jar.add_cookie_str("mine=1; Path=/", &url);
    let answer = visitor.get(&app).await;
    let set: Vec<&str> = answer.headers().get_all("set-cookie").iter().map(|v| v.to_str().unwrap()).collect();
    assert_eq!(set, ["app=1; Path=/"]);
    let seen: Seen = answer.json().await.unwrap();
    // One header, whatever the browser's protocol made of it.
    let cookies = seen.header("cookie");
    assert!(cookies.contains("mine=1") && cookies.contains("app=1"), "{cookies}");
    assert!(!cookies.contains("narthex"), "{cookies}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_paths_find_their_route_in_every_spelling_and_only_theirs() {
    let (outer, inner) = (Upstream::start().await, Upstream::start().await);
    let narthex = NarthexBuilder::new()
        .route("app", outer.port, "access = \"public\"")
        .route(
            "app",
            inner.port,
            "path = \"/inner\"\naccess = \"public\"\nstrip_prefix = true\npreserve_host = false",
        )
        .start();
    let visitor = Visitor::new(&narthex);
    let origin = narthex.origin("app");
    for (path, target, by_inner) in [
        ("/", "/", false),
        ("/innermost", "/innermost", false),
        ("/inner", "/", true),
        ("/inner/a%20b?q=/inner", "/a%20b?q=/inner", true),
        ("/inner?q", "/?q", true),
        ("/x/inner", "/x/inner", false),
    ] {
        let seen: Seen =
            visitor.request_json(Method::GET, &format!("{origin}{path}")).await.json().await.unwrap();
        assert_eq!(seen.target, target, "{path}");
        let host = if by_inner {
            format!("127.0.0.1:{}", inner.port)
        } else {
            format!("app.localhost:{}", narthex.https)
        };
        assert_eq!(seen.header("host"), host, "{path}");
    }
    let old = Visitor::with_client(&narthex, |builder| builder.http1_only());
    for host in [format!("APP.localhost.:{}", narthex.https), "app.LOCALHOST".to_owned()] {
        assert_status(&old.client.get(format!("{origin}/")).header(HOST, &host).send().await.unwrap(), 200);
    }
    // RFC 9113, section 8.3.1: an authority and a Host that differ are malformed.
    assert_status(
        &visitor.client.get(format!("{origin}/")).header(HOST, "other.localhost").send().await.unwrap(),
        400,
    );
    let unknown = old.client.get(format!("{origin}/")).header(HOST, "elsewhere.example");
    assert_status(&unknown.send().await.unwrap(), 404);
    for path in ["/.narthex", "/.narthex/", "/.narthex/anything"] {
        assert_status(&visitor.request_json(Method::GET, &format!("{origin}{path}")).await, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_are_taken_in_turn_and_a_dead_one_costs_nobody_a_request() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let dead = free_port();
    let route = |ports: &[u16]| {
        let list: Vec<String> = ports.iter().map(|port| format!("\"http://127.0.0.1:{port}\"")).collect();
        format!(
            "[[route]]\nhost = \"app.localhost\"\naccess = \"public\"\nupstream = [{}]\n",
            list.join(", ")
        )
    };
    let narthex = NarthexBuilder::new().tables(&route(&[one.port, dead, two.port])).start();
    let visitor = Visitor::new(&narthex);
    for _ in 0..30 {
        assert_status(&visitor.request_json(Method::GET, &format!("{}/", narthex.origin("app"))).await, 200);
    }
    let (one, two) = (one.seen().len(), two.seen().len());
    assert_eq!(one + two, 30);
    assert!(one >= 10 && two >= 10, "{one} and {two}");

    let alone = NarthexBuilder::new().tables(&route(&[dead])).start();
    let answer = Visitor::new(&alone).get(&format!("{}/", alone.origin("app"))).await;
    assert_status(&answer, 502);
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let page = answer.text().await.unwrap();
    assert!(page.contains("The app is not responding") && page.contains(&id), "{page}");
    assert!(!page.contains(&dead.to_string()), "the page shows nothing internal");
    assert!(alone.log().contains(&id));
}

#[tokio::test(flavor = "multi_thread")]
async fn http_is_sent_to_https_unless_a_trusted_proxy_ended_tls() {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    let plain = |from: &'static str| {
        Visitor::with_client(&narthex, |builder| builder.local_address(Some(from.parse().unwrap())))
    };
    let url = format!("http://app.localhost:{}/a?b=c", narthex.http);
    let stranger = plain("127.0.0.1");
    let sent = stranger.client.post(&url).header("x-forwarded-proto", "https").send().await.unwrap();
    assert_status(&sent, 308);
    assert_eq!(location(&sent).as_str(), format!("{}/a?b=c", narthex.origin("app")));
    let elsewhere = stranger.client.get(&url).header(HOST, "evil.example").send().await.unwrap();
    assert_status(&elsewhere, 404);

    let proxy = plain("127.0.0.7");
    assert_status(&proxy.get(&url).await, 308);
    let forwarded = proxy
        .client
        .get(&url)
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-for", "6.6.6.6, 198.51.100.9");
    let seen: Seen = forwarded.send().await.unwrap().json().await.unwrap();
    assert_eq!(seen.header("x-forwarded-for"), "198.51.100.9");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_https_upstream_is_verified_against_its_own_authority() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    certificates::make(
        &folder.path().join("cert.pem"),
        &folder.path().join("key.pem"),
        "app",
        "localhost",
        2,
    );
    let port = free_port();
    let _server = Party::start(
        "openssl",
        &[
            "s_server",
            "-accept",
            &port.to_string(),
            "-key",
            &path("key.pem"),
            "-cert",
            &path("cert.pem"),
            "-www",
            "-quiet",
        ],
    );
    wait_for_port(port);
    let route = |host: &str, name: &str, more: &str| {
        format!(
            "[[route]]\nhost = \"{host}.localhost\"\naccess = \"public\"\nupstream = \"https://{name}:{port}\"\n{more}\n"
        )
    };
    let ca = format!("upstream_ca = \"{}\"", path("cert.pem"));
    let narthex = NarthexBuilder::new()
        .tables(&route("good", "localhost", &ca))
        .tables(&route("unknown", "localhost", ""))
        .tables(&route("misnamed", "127.0.0.1", &ca))
        .start();
    let visitor = Visitor::new(&narthex);
    for (host, status) in [("good", 200), ("unknown", 502), ("misnamed", 502)] {
        assert_status(&visitor.get(&format!("{}/", narthex.origin(host))).await, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_and_of_tls_are_spoken() {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    let url = format!("{}/", narthex.origin("app"));
    let old = Visitor::with_client(&narthex, |builder| {
        builder.http1_only().tls_version_max(reqwest::tls::Version::TLS_1_2)
    });
    assert_eq!(old.get(&url).await.version(), Version::HTTP_11);
    let new =
        Visitor::with_client(&narthex, |builder| builder.tls_version_min(reqwest::tls::Version::TLS_1_3));
    let answer = new.client.post(&url).body("x".repeat(1 << 20)).send().await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    assert_eq!(answer.json::<Seen>().await.unwrap().body.len(), 1 << 20);
    let ancient =
        Visitor::with_client(&narthex, |builder| builder.tls_version_max(reqwest::tls::Version::TLS_1_2));
    assert_status(&ancient.get(&url).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_for_a_cookie_is_nobody_and_goes_nowhere() {
    let upstream = Upstream::start().await;
    let (narthex, _provider) = deployment(&upstream).await;
    let visitor = Visitor::new(&narthex);
    let app = format!("{}/", narthex.origin("app"));
    let token = "A".repeat(43);
    for value in [
        "",
        "x",
        ".",
        &token,
        &format!("{token}."),
        &format!("{token}.{}", "A".repeat(22)),
        "ä",
        &"y".repeat(9000),
    ] {
        let request = visitor
            .client
            .get(&app)
            .header("accept", "text/html")
            .header(COOKIE, format!("__Host-narthex={value}"));
        assert_status(&request.send().await.unwrap(), 303);
    }
    assert!(upstream.seen().is_empty());

    // A good cookie of one host is garbage on another.
    assert_status(&visitor.sign_in(&app, "alice").await, 200);
    use reqwest::cookie::CookieStore as _;
    let cookies = visitor.jar.cookies(&app.parse().unwrap()).unwrap();
    let thief = Visitor::new(&narthex);
    let other = format!("{}/", narthex.origin("other"));
    let request = thief.client.get(&other).header("accept", "text/html").header(COOKIE, cookies.clone());
    assert_status(&request.send().await.unwrap(), 303);
    assert_status(&thief.client.get(&app).header(COOKIE, cookies).send().await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_told_so() {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    let visitor = Visitor::new(&narthex);
    let app = format!("{}/", narthex.origin("app"));
    let long = visitor.client.get(&app).header("x-long", "x".repeat(60_000));
    assert_status(&long.send().await.unwrap(), 431);
    assert_status(&visitor.get(&format!("{app}{}", "a".repeat(9000))).await, 431);
    let form = visitor.client.post(format!("{}/logout", narthex.origin("auth"))).body("x".repeat(70_000));
    assert_status(&form.send().await.unwrap(), 413);
    assert!(upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_how_it_is_and_stops_in_order() {
    let upstream = Upstream::start().await;
    let mut narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    assert_status(&Visitor::new(&narthex).get(&format!("{}/", narthex.origin("app"))).await, 200);
    assert!(narthex.admin("/healthz").starts_with("HTTP/1.1 200"));
    assert!(narthex.admin("/metrics").contains("narthex_requests_total{by=\"upstream\",class=\"2xx\"} 1"));
    let begun = std::time::Instant::now();
    narthex.signal("TERM");
    assert!(narthex.wait_for_exit());
    assert!(begun.elapsed().as_secs() < 10);
    assert!(narthex.log().contains("\"ended\""));
    for file in ["narthex.db", "narthex.db.key", "certs/local-authority.key"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(narthex.folder().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_both_ways() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    async fn head(stream: &mut tokio::net::TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"").start();
    tokio::spawn(async move {
        // A connection that only opens and closes, as of a health check, is accepted.
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut first = [0];
                if stream.peek(&mut first).await.unwrap_or(0) == 0 {
                    return;
                }
                let asked = head(&mut stream).await.to_lowercase();
                assert!(
                    asked.contains("upgrade: websocket") && asked.contains("sec-websocket-key: abc"),
                    "{asked}"
                );
                let answer =
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
                let mut bytes = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    stream.write_all(&bytes[..count]).await.unwrap();
                }
            });
        }
    });
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.7:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(([127, 0, 0, 1], narthex.http).into()).await.unwrap();
    let ask = "GET /socket HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\nConnection: Upgrade\r\n\
               Upgrade: websocket\r\nSec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 101"));
    for word in ["one", "two"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        let mut echo = [0; 3];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, word.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_groups_burst_no_header_and_the_log_tells_which_were_left_out() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", upstream.port, "")
        .route("few", upstream.port, "assertion_groups = [\"department-19*\"]")
        .start();
    let groups: Vec<String> = (0..200).map(|n| format!("department-{n:03}-of-a-large-company")).collect();
    provider.test_command(&format!("groups?login=alice&groups={}", groups.join(","))).await;
    let visitor = Visitor::new(&narthex);
    let seen: Seen =
        visitor.sign_in(&format!("{}/", narthex.origin("app")), "alice").await.json().await.unwrap();
    assert!(seen.header("x-amzn-oidc-data").len() < 7000, "servers commonly refuse 8 KB");
    let told = seen.claims()["cognito:groups"].as_array().unwrap().len();
    assert!((50..200).contains(&told), "{told}");
    assert!(narthex.log().contains("the groups do not fit an assertion"));
    // The cookie does not grow with them, and the route that wants a few gets all of those.
    let cookies =
        reqwest::cookie::CookieStore::cookies(&*visitor.jar, &narthex.origin("app").parse().unwrap());
    assert!(cookies.unwrap().len() < 300);
    let few: Seen = visitor.follow(&format!("{}/", narthex.origin("few"))).await.json().await.unwrap();
    assert_eq!(few.claims()["cognito:groups"].as_array().unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_on_one_route_is_none_on_another() {
    let (open, shut) = (Upstream::start().await, Upstream::start().await);
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", open.port, "path = \"/open\"\naccess = \"public\"")
        .route("app", shut.port, "path = \"/one\"")
        .route("app", shut.port, "path = \"/two\"")
        .start();
    let origin = narthex.origin("app");
    let stranger = Visitor::with_client(&narthex, |builder| builder.http1_only());
    // On one connection, in turn: what let the first pass lets the next not.
    for _ in 0..3 {
        assert_status(&stranger.request_json(Method::GET, &format!("{origin}/open")).await, 200);
        assert_status(&stranger.request_json(Method::GET, &format!("{origin}/one")).await, 401);
    }
    let alice = Visitor::new(&narthex);
    assert_status(&alice.sign_in(&format!("{origin}/one"), "alice").await, 200);
    for path in ["/one", "/two", "/one"] {
        let seen: Seen =
            alice.request_json(Method::GET, &format!("{origin}{path}")).await.json().await.unwrap();
        assert_eq!(seen.claims()["aud"], format!("{origin}{path}"), "an assertion is for its route alone");
    }
    assert!(shut.seen().iter().all(|seen| seen.header_values("x-amzn-oidc-data").len() == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_may_ask_for_health_by_http_1_0_without_a_host() {
    use crate::support::tunnel::{connect_as_trusted_proxy, read_head, try_write};
    let narthex = NarthexBuilder::new().start();
    let ask = async |request: &str| {
        let mut stream = connect_as_trusted_proxy(&narthex).await;
        try_write(&mut stream, request).await;
        read_head(&mut stream).await.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(ask("GET /.narthex/healthz HTTP/1.0\r\n\r\n").await, "200");
    assert_eq!(ask("GET / HTTP/1.0\r\n\r\n").await, "400");
    assert_eq!(ask("GET /.narthex/healthz HTTP/1.0\r\nHost: a b\r\n\r\n").await, "400");
    assert_eq!(ask("GET /.narthex/healthz HTTP/1.1\r\n\r\n").await, "400");
}
