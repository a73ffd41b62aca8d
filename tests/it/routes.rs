//! What a route says beyond host and upstream: who may enter, headers, addresses, sockets,
//! certificates.

use crate::support::certificates;
use crate::support::config_errors::assert_each_reported;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::OpenIdProvider;
use crate::support::process::wait_until;
use crate::support::raw::{RawUpstream, Scripted};
use crate::support::tunnel::{connect_tls, has_request, read_head, start_upstream, try_write};
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, assert_status};
use reqwest::{Method, StatusCode};
use rustls::pki_types::pem::PemObject as _;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

/// A file with a provider and a route that says `more`.
fn file(more: &str) -> String {
    format!(
        "public_url = \"https://auth.example.com\"\n[[provider]]\ntype = \"oidc\"\nissuer = \"https://idp.example.com\"\n\
         client_id = \"narthex\"\nallow = \"anyone\"\n[[route]]\nhost = \"app.example.com\"\n{more}\n"
    )
}

#[test]
fn mistakes_in_what_a_route_says_are_told() {
    assert_each_reported(
        &file(
            "upstream = \"http://10.0.0.1:3000/base\"\nallowed_groups = [\"a\"]\nallowed_emails = [\"ann@example.com\"]",
        ),
        &[
            ("allowed_groups", "groups", "`groups` was removed from [[route]]"),
            ("allowed_groups", "groups", "rename it to `assertion_groups`"),
            ("allowed_groups", "access = \"public\"\nallowed_groups", "`allowed_groups` has no effect"),
            ("allowed_groups = [\"a\"]", "allowed_groups = []", "`allowed_groups` is empty"),
            ("ann@example.com", "ann", "\"ann\" is not an e-mail address"),
            ("allowed_emails = [\"ann@", "allowed_domains = [\"ann@", "is not an e-mail domain"),
            ("/base", "/base?a=b", "has more than scheme, host, port and path"),
            ("/base", "/base/../x", "has a path with dot segments"),
            ("/base", "/base/%2e%2E/x", "has a path with dot segments"),
            ("/base", "/base/.%2e/x", "has a path with dot segments"),
            ("/base", "/base/%2E", "has a path with dot segments"),
            ("/base", "/a%2Fb", "is not a plain path"),
            ("http://10.0.0.1:3000/base", "unix://run/app.sock", "is not the absolute path of a socket"),
            ("http://10.0.0.1:3000/base", "unix:///run/", "is not the absolute path of a socket"),
            ("http://10.0.0.1:3000/base", &format!("unix:///{}", "a".repeat(120)), "is too long"),
            (
                "allowed_emails",
                "upstream_server_name = \"a.example\"\nallowed_emails",
                "has no effect on an upstream without https",
            ),
        ],
    );
    assert_each_reported(
        &file("upstream = \"https://10.0.0.1\"\nupstream_server_name = \"app.internal\""),
        &[
            ("app.internal", "app internal", "is not a host"),
            (
                "upstream_server_name",
                "upstream_cert = \"c.pem\"\nupstream_server_name",
                "`upstream_cert` needs the other part",
            ),
            (
                "upstream_server_name",
                "upstream_key = \"c.pem\"\nupstream_server_name",
                "`upstream_key` needs the other part",
            ),
            (
                "upstream_server_name",
                "cors_credentials = true\nupstream_server_name",
                "has no effect without `cors_origins`",
            ),
            ("upstream_server_name", "cors_origins = \"*\"\nupstream_server_name", "\"*\" is not an origin"),
        ],
    );
    assert_each_reported(
        &file(
            "upstream = \"http://10.0.0.1\"\n[route.response_headers]\nX-Frame-Options = \"DENY\"\n[route.headers]\nX-Key = \"k\"",
        ),
        &[
            ("X-Frame-Options", "Set-Cookie", "would give every client the same cookie"),
            ("X-Frame-Options", "Location", "belongs to one response"),
            ("X-Frame-Options", "Content-Length", "belongs to HTTP itself"),
            ("X-Frame-Options", "Proxy-Authenticate", "belongs to HTTP itself"),
            ("X-Frame-Options", "X-Request-Id", "is set by Narthex itself"),
            ("X-Frame-Options", "X-Narthex-Any", "is set by Narthex itself"),
            ("X-Frame-Options", "Access-Control-Allow-Origin", "`cors_origins`"),
            ("X-Frame-Options", "\"X Frame\"", "is not a header name"),
            (
                "X-Frame-Options",
                "x-frame-options = \"a\"\nX-Frame-Options",
                "occurs twice, in different case",
            ),
            ("\"DENY\"", "\"a\\nb\"", "holds a control character"),
            ("\"DENY\"", "{ env = \"NOT_SET\" }", "the environment has no variable `NOT_SET`"),
            ("\"k\"", "{ file = \"/nonexistent\" }", "cannot read `/nonexistent`"),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_admits_whom_its_lists_name_and_tells_the_others_so() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("groups", upstream.port, "allowed_groups = [\"admins\"]")
        .route("emails", upstream.port, "allowed_emails = [\"Alice@corp.example\"]")
        .route("domains", upstream.port, "allowed_domains = [\"corp.example\"]")
        .route(
            "either",
            upstream.port,
            "allowed_groups = [\"admins\"]\nallowed_emails = [\"bob@corp.example\"]",
        )
        .start();
    let url = |host: &str| format!("{}/", narthex.origin(host));
    for (login, admitted) in [
        ("alice+admins", ["groups", "emails", "domains", "either"].as_slice()),
        ("bob+admins-of-nothing", &["domains", "either"]),
    ] {
        let visitor = Visitor::new(&narthex);
        for host in ["groups", "emails", "domains", "either"] {
            let landed = visitor.sign_in(&url(host), login).await;
            assert_eq!(
                landed.status().as_u16(),
                if admitted.contains(&host) { 200 } else { 403 },
                "{login} {host}"
            );
            if landed.status() == StatusCode::FORBIDDEN {
                let page = landed.text().await.unwrap();
                assert!(page.contains("bob@corp.example") && page.contains("Use another account"), "{page}");
                let told = visitor.request_json(Method::GET, &url(host)).await;
                assert_status(&told, 403);
                assert!(told.headers()["content-type"].to_str().unwrap().contains("json"));
            }
        }
    }
    let denied = narthex.audit("access_denied");
    assert_eq!(denied.len(), 4, "{denied:?}");
    assert_eq!(denied[0]["decision"], "implicitDeny");
    // Nobody is sent to sign in, not refused.
    assert_status(&Visitor::new(&narthex).get(&url("groups")).await, 303);
    assert!(
        upstream.seen().iter().all(|seen| seen.claims()["email"] != "bob@corp.example"
            || seen.header("host").starts_with(['d', 'e']))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_named_origins_may_use_the_session() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", upstream.port, "cors_origins = [\"https://spa.test\"]\nsame_site = \"none\"")
        .route("app", upstream.port, "path = \"/own\"\npreflight = \"pass\"\ncors_origins = [\"https://spa.test\"]\nsame_site = \"none\"")
        .route("plain", upstream.port, "")
        .start();
    let visitor = Visitor::new(&narthex);
    let stranger = Visitor::new(&narthex);
    let url = |host: &str, path: &str| format!("{}{path}", narthex.origin(host));
    assert_status(&visitor.sign_in(&url("app", "/"), "alice").await, 200);
    let ask = async |who: &Visitor, method: Method, url: String, origin: &str| {
        let request = who.client.request(method.clone(), url).header("origin", origin);
        let request = match method {
            Method::OPTIONS => request.header("access-control-request-method", "POST"),
            _ => request.header("sec-fetch-mode", "cors"),
        };
        request.send().await.unwrap()
    };
    let header = |answer: &reqwest::Response, name: &str| {
        let all: Vec<_> =
            answer.headers().get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect();
        all.join("|")
    };
    let good = "https://spa.test";
    let preflight = ask(&stranger, Method::OPTIONS, url("app", "/api"), good).await;
    assert_status(&preflight, 204);
    assert_eq!(header(&preflight, "access-control-allow-origin"), good);
    assert_eq!(header(&preflight, "access-control-allow-credentials"), "true");
    assert_eq!(header(&preflight, "access-control-allow-methods"), "POST");
    assert_eq!(header(&preflight, "vary"), "Origin");
    assert!(upstream.seen().iter().all(|seen| seen.method != "OPTIONS"));
    for origin in [
        "https://spa.test.evil.example",
        "https://SPA.test",
        "http://spa.test",
        "null",
        "https://spa.test:444",
    ] {
        let preflight = ask(&stranger, Method::OPTIONS, url("app", "/api"), origin).await;
        assert_eq!(header(&preflight, "access-control-allow-origin"), "", "{origin}");
        assert_eq!(header(&preflight, "access-control-allow-credentials"), "", "{origin}");
        let answer = ask(&visitor, Method::GET, url("app", "/api"), origin).await;
        assert_status(&answer, 200);
        assert_eq!(header(&answer, "access-control-allow-credentials"), "", "{origin}");
        assert_eq!(header(&answer, "access-control-allow-origin"), "", "{origin}");
    }
    let answer = ask(&visitor, Method::POST, url("app", "/api"), good).await;
    assert_status(&answer, 200);
    assert_eq!(header(&answer, "access-control-allow-origin"), good);
    assert_eq!(header(&answer, "access-control-allow-credentials"), "true");
    // A script can read that it must have its visitor sign in.
    let refused = ask(&stranger, Method::POST, url("app", "/api"), good).await;
    assert_status(&refused, 401);
    assert_eq!(header(&refused, "access-control-allow-origin"), good);
    assert_eq!(header(&refused, "access-control-allow-credentials"), "true");
    // The app's own answer, which it gives without an identity.
    assert_status(&ask(&stranger, Method::OPTIONS, url("app", "/own"), good).await, 200);
    let seen = upstream.seen().into_iter().find(|seen| seen.method == "OPTIONS").unwrap();
    assert!(seen.header_values("x-amzn-oidc-data").is_empty());
    // Without these keys, a preflight is a request like any other; nor is what is none let through.
    assert_status(&ask(&stranger, Method::OPTIONS, url("plain", "/"), good).await, 401);
    assert_status(
        &stranger
            .client
            .request(Method::OPTIONS, url("app", "/own"))
            .header("origin", good)
            .send()
            .await
            .unwrap(),
        401,
    );
    let sly = stranger.client.request(Method::OPTIONS, url("app", "/own")).header("origin", good);
    let sly = sly.header("access-control-request-method", "POST").header("x-http-method-override", "POST");
    assert_status(&sly.send().await.unwrap(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn fixed_headers_go_along_always_and_responses_get_theirs() {
    let app = Upstream::start().await;
    let narthex = NarthexBuilder::new()
        .environment("APP_TOKEN", "Basic c2VjcmV0")
        .file("key", "k\r\n")
        .route(
            "app",
            app.port,
            "access = \"public\"\n[route.headers]\nX-Api-Key = { file = \"key\" }\nAuthorization = { env = \"APP_TOKEN\" }\n\
             X-User = \"${email}\"\nX-Plain = \"plain text\"\n\
             [route.response_headers]\nX-Frame-Options = \"DENY\"\nContent-Type = \"application/json; charset=utf-8\"",
        )
        .route("other", app.port, "access = \"public\"")
        .route("claims", app.port, "access = \"public\"\n[route.headers]\nAuthorization = \"Person ${email}\"")
        .start();
    let visitor = Visitor::new(&narthex);
    // A client's own does not stand in for what nobody's claims fill.
    let forged = visitor.client.get(format!("{}/", narthex.origin("claims")));
    let forged = forged.header("authorization", "Person root@corp.example").send().await.unwrap();
    assert!(forged.json::<Seen>().await.unwrap().header_values("authorization").is_empty());
    for (method, body) in [(Method::GET, ""), (Method::POST, "body")] {
        let request =
            visitor.client.request(method.clone(), format!("{}/", narthex.origin("app"))).body(body);
        let lies = request
            .header("x-api-key", "mine")
            .header("authorization", "Basic bWluZQ")
            .header("x-user", "root");
        let answer = lies.send().await.unwrap();
        assert_status(&answer, 200);
        let headers = answer.headers().clone();
        assert_eq!(headers.get_all("x-frame-options").iter().collect::<Vec<_>>(), ["DENY"]);
        assert_eq!(
            headers.get_all("content-type").iter().collect::<Vec<_>>(),
            ["application/json; charset=utf-8"]
        );
        let seen: Seen = answer.json().await.unwrap();
        assert_eq!(
            (seen.header("x-api-key"), seen.header("authorization")),
            ("k", "Basic c2VjcmV0"),
            "{method}"
        );
        assert_eq!(seen.header("x-plain"), "plain text");
        assert!(seen.header_values("x-user").is_empty());
        // What one route sets is nobody's to send to another; what proves a client to an app is.
        let other = visitor.client.request(method, format!("{}/", narthex.origin("other")));
        let other =
            other.header("x-api-key", "mine").header("authorization", "Basic bWluZQ").send().await.unwrap();
        assert!(other.headers().get("x-frame-options").is_none());
        let seen: Seen = other.json().await.unwrap();
        assert!(seen.header_values("x-api-key").is_empty());
        assert_eq!(seen.header("authorization"), "Basic bWluZQ");
    }
    // A secret that is exchanged counts from then on.
    std::fs::write(narthex.folder().join("key.new"), "new\n").unwrap();
    std::fs::rename(narthex.folder().join("key.new"), narthex.folder().join("key")).unwrap();
    wait_until("the new key", || {
        let url = format!("{}/", narthex.origin("app"));
        let visitor = visitor.clone();
        let runtime = tokio::runtime::Handle::current();
        let seen: Seen = tokio::task::block_in_place(|| {
            runtime.block_on(async { visitor.request_json(Method::GET, &url).await.json().await.unwrap() })
        });
        seen.header("x-api-key") == "new"
    });
    assert!(!narthex.log().contains("c2VjcmV0"));
}

/// An app that redirects to its own addresses and does not know its external address.
async fn redirecting() -> (u16, Arc<std::sync::Mutex<Vec<String>>>) {
    let seen: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let heads = seen.clone();
    let port = start_upstream(move |mut stream| {
        let heads = heads.clone();
        async move {
            if !has_request(&stream).await {
                return;
            }
            let asked = read_head(&mut stream).await.to_lowercase();
            let host = asked.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or("none").to_owned();
            if asked.starts_with("post") {
                drop(stream.read_exact(&mut [0; 2]).await);
            }
            heads.lock().unwrap().push(asked);
            let answer = format!(
                "HTTP/1.1 302 Found\r\nLocation: http://{host}/base/login?a=b\r\nContent-Location: /base/x\r\n\
                 Refresh: 1; url=/base/y\r\nSet-Cookie: a=1; Path=/base; Domain=127.0.0.1\r\n\
                 Set-Cookie: __Host-narthex=stolen; Path=/base\r\nSet-Cookie: __Host-b=1; Path=/; Secure\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            try_write(&mut stream, &answer).await;
        }
    })
    .await;
    (port, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_below_a_path_need_not_know_where_it_stands() {
    let (port, seen) = redirecting().await;
    let route = |host: &str, more: &str| {
        format!(
            "[[route]]\nhost = \"{host}.localhost\"\naccess = \"public\"\nupstream = \"http://127.0.0.1:{port}/base\"\n{more}\n"
        )
    };
    let narthex = NarthexBuilder::new()
        .tables(&route("app", "path = \"/sub\"\nstrip_prefix = true\npreserve_host = false"))
        .tables(&route("whole", ""))
        .tables(&route("as-it-is", "rewrite_responses = false"))
        .start();
    let visitor = Visitor::new(&narthex);
    for (method, body) in [(Method::GET, ""), (Method::POST, "{}")] {
        let ask = async |host: &str, path: &str| {
            let request = visitor.client.request(method.clone(), format!("{}{path}", narthex.origin(host)));
            let answer = request.header("x-forwarded-prefix", "/evil").body(body).send().await.unwrap();
            assert_status(&answer, 302);
            let all = |name: &str| -> Vec<String> {
                answer
                    .headers()
                    .get_all(name)
                    .iter()
                    .map(|value| value.to_str().unwrap().to_owned())
                    .collect()
            };
            (all("location"), all("content-location"), all("refresh"), all("set-cookie"))
        };
        let origin = narthex.origin("app");
        let (location, content, refresh, cookies) = ask("app", "/sub/page?q=1").await;
        assert_eq!(location, [format!("{origin}/sub/login?a=b")], "{method}");
        assert_eq!(content, [format!("{origin}/sub/x")]);
        assert_eq!(refresh, [format!("1; url={origin}/sub/y")]);
        assert_eq!(cookies, ["a=1; Path=/sub", "__Host-b=1; Path=/; Secure"]);
        let asked = seen.lock().unwrap().pop().unwrap();
        let method_name = method.as_str().to_lowercase();
        assert!(asked.starts_with(&format!("{method_name} /base/page?q=1 http/1.1\r\n")), "{asked}");
        assert!(asked.contains("x-forwarded-prefix: /sub\r\n") && !asked.contains("/evil"), "{asked}");
        assert!(asked.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{asked}");

        let origin = narthex.origin("whole");
        let (location, content, _, cookies) = ask("whole", "/page").await;
        assert_eq!((location, content), (vec![format!("{origin}/login?a=b")], vec![format!("{origin}/x")]));
        assert_eq!(cookies[0], "a=1; Path=/");
        let asked = seen.lock().unwrap().pop().unwrap();
        assert!(asked.starts_with(&format!("{method_name} /base/page http/1.1\r\n")), "{asked}");
        assert!(!asked.contains("x-forwarded-prefix"), "{asked}");

        let (location, content, ..) = ask("as-it-is", "/page").await;
        assert!(location[0].starts_with("http://as-it-is.localhost:") && content == ["/base/x"]);
    }
}

/// Responds to each request on a connection with the body that `body_of` returns for its head, and
/// to a request for a WebSocket with the switch.
async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, body_of: impl Fn(&str) -> String) {
    loop {
        let asked = read_head(&mut stream).await;
        if asked.is_empty() {
            return;
        }
        if asked.to_lowercase().contains("upgrade: websocket") {
            let switch =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframes";
            try_write(&mut stream, switch).await;
            return;
        }
        if asked.starts_with("POST") {
            drop(stream.read_exact(&mut [0; 2]).await);
        }
        let body = body_of(&asked);
        try_write(&mut stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_may_listen_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counted = counted.clone();
            tokio::spawn(converse(stream, move |asked| {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                asked.to_lowercase()
            }));
        }
    });
    let route = |host: &str, more: &str| {
        format!(
            "[[route]]\nhost = \"{host}.localhost\"\naccess = \"public\"\nupstream = \"unix://{}\"\n{more}\n",
            socket.display()
        )
    };
    let narthex = NarthexBuilder::new()
        .tables(&route("app", ""))
        .tables(&route("inner", "preserve_host = false"))
        .start();
    let visitor = Visitor::new(&narthex);
    for (method, body) in [(Method::GET, ""), (Method::POST, "{}"), (Method::GET, ""), (Method::POST, "{}")] {
        let url = |host: &str| format!("{}/a?b", narthex.origin(host));
        let answer = visitor.client.request(method.clone(), url("app")).body(body).send().await.unwrap();
        assert_status(&answer, 200);
        let asked = answer.text().await.unwrap();
        assert!(
            asked.starts_with(&format!("{} /a?b http/1.1\r\n", method.as_str().to_lowercase())),
            "{asked}"
        );
        assert!(asked.contains(&format!("host: app.localhost:{}\r\n", narthex.https)), "{asked}");
        let answer = visitor.client.request(method, url("inner")).body(body).send().await.unwrap();
        assert!(answer.text().await.unwrap().contains("host: localhost\r\n"));
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::Relaxed), 8);
    let mut stream = connect_tls(&narthex, "app", false).await;
    try_write(
        &mut stream,
        "GET / HTTP/1.1\r\nHost: app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    )
    .await;
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101"));
    let mut frames = [0; 6];
    stream.read_exact(&mut frames).await.unwrap();
    assert_eq!(&frames, b"frames");
    // Nobody listens there any more.
    std::fs::remove_file(&socket).unwrap();
    let gone = NarthexBuilder::new().tables(&route("app", "")).start();
    assert_status(&Visitor::new(&gone).get(&format!("{}/", gone.origin("app"))).await, 502);
}

/// A server that asks for a client certificate of `trusted`, and returns whose it got: the
/// organization among `names`.
async fn asking_for_certificates(folder: &Path, trusted: &[&str]) -> u16 {
    let pem = |name: &str| rustls::pki_types::CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    trusted.iter().for_each(|name| roots.add(pem(&format!("{name}.pem"))).unwrap());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![pem("server.pem")], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let names: Vec<String> = trusted.iter().map(|name| (*name).to_owned()).collect();
    start_upstream(move |stream| {
        let (acceptor, names) = (acceptor.clone(), names.clone());
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
            let holds = |name: &String| certificate.windows(name.len()).any(|part| part == name.as_bytes());
            let whose = names.iter().find(|name| holds(name)).unwrap().clone();
            let sni = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
            converse(stream, move |_| format!("{whose} {sni}")).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_https_upstream_is_known_by_its_name_and_knows_each_route_by_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, organization: &str, host: &str| {
        let (cert, key) =
            (folder.path().join(format!("{name}.pem")), folder.path().join(format!("{name}.key")));
        certificates::make(&cert, &key, organization, host, 2);
    };
    make("server", "server", "app.internal");
    make("first", "first", "client");
    make("second", "second", "client");
    make("third", "third", "client");
    let port = asking_for_certificates(folder.path(), &["first", "second", "third"]).await;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let route = |host: &str, name: &str, client: Option<&str>| {
        let client = client.map_or_else(String::new, |client| {
            format!(
                "upstream_cert = \"{}\"\nupstream_key = \"{}\"\n",
                path(&format!("{client}.pem")),
                path(&format!("{client}.key"))
            )
        });
        format!(
            "[[route]]\nhost = \"{host}.localhost\"\naccess = \"public\"\nupstream = \"https://127.0.0.1:{port}\"\n\
             upstream_ca = \"{}\"\nupstream_server_name = \"{name}\"\n{client}",
            path("server.pem")
        )
    };
    let narthex = NarthexBuilder::new()
        .tables(&route("first", "app.internal", Some("first")))
        .tables(&route("second", "app.internal", Some("second")))
        .tables(&route("bare", "app.internal", None))
        .tables(&route("misnamed", "other.internal", Some("first")))
        .start();
    let visitor = Visitor::new(&narthex);
    let url = |host: &str| format!("{}/", narthex.origin(host));
    for _ in 0..3 {
        for whose in ["first", "second"] {
            let answer = visitor.get(&url(whose)).await;
            assert_eq!(
                answer.text().await.unwrap(),
                format!("{whose} app.internal"),
                "another's connection was taken"
            );
        }
        for host in ["bare", "misnamed"] {
            assert_status(&visitor.get(&url(host)).await, 502);
        }
    }
    let absent = NarthexBuilder::new().tables(&route("app", "app.internal", Some("absent"))).start();
    assert_status(&Visitor::new(&absent).get(&format!("{}/", absent.origin("app"))).await, 502);
    // An exchanged certificate is used from then on.
    for part in ["pem", "key"] {
        std::fs::rename(path(&format!("third.{part}")), path(&format!("first.{part}"))).unwrap();
    }
    let runtime = tokio::runtime::Handle::current();
    wait_until("the new certificate", || {
        let answer = async { visitor.get(&url("first")).await.text().await.unwrap() };
        tokio::task::block_in_place(|| runtime.block_on(answer)) == "third app.internal"
    });
    check_tells_of_client_certificates(
        &narthex,
        &route("app", "app.internal", Some("second")),
        &path("first.key"),
    );
}

/// `narthex check` reports a key of another certificate, and a missing key.
fn check_tells_of_client_certificates(narthex: &Narthex, good: &str, other_key: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("narthex.toml");
    let check = |route: &str| {
        let url = narthex.origin("auth");
        let text = format!(
            "public_url = \"{url}\"\n[[provider]]\ntype = \"google\"\nclient_id = \"a\"\nclient_secret = \"b\"\nallow = \"anyone\"\n{route}"
        );
        std::fs::write(&file, text).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(["check", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!check(good).contains("client certificate"));
    let key = good.lines().find(|line| line.starts_with("upstream_key")).unwrap();
    let told = check(&good.replace(key, &format!("upstream_key = \"{other_key}\"")));
    assert!(told.contains("it is not the key of") && told.contains("has no client certificate"), "{told}");
    let told = check(&good.replace(key, "upstream_key = \"absent.key\""));
    assert!(told.contains("absent.key"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_on_this_machine_may_come_by_a_unix_socket() {
    use std::os::unix::fs::PermissionsExt as _;
    let app = Upstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("http.sock");
    let builder = NarthexBuilder::new()
        .listen(&format!("unix_socket = \"unix://{}\"", socket.display()))
        .route("app", app.port, "access = \"public\"");
    let mut narthex = builder.start();
    let ask = async |fields: &str| {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        try_write(
            &mut stream,
            &format!("GET /a HTTP/1.1\r\nHost: app.localhost\r\nConnection: close\r\n{fields}\r\n"),
        )
        .await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    for restarted in [false, true] {
        if restarted {
            narthex.kill();
            narthex.start();
        }
        assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
        // A redirect would come back by the same proxy, without end.
        let refused = ask("").await;
        assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
        let redirected = ask("X-Forwarded-Proto: http\r\n").await;
        assert!(redirected.starts_with("HTTP/1.1 308"), "{redirected}");
        let answer = ask("X-Forwarded-Proto: https\r\nX-Forwarded-For: 198.51.100.7\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("198.51.100.7"), "{answer}");
        let answer = ask("X-Forwarded-Proto: https\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("x-forwarded-for"), "{answer}");
    }
    // By another listener, the same words are a stranger's.
    let plain = Visitor::new(&narthex);
    let url = format!("http://app.localhost:{}/a", narthex.http);
    assert_status(&plain.client.get(url).header("x-forwarded-proto", "https").send().await.unwrap(), 308);
    // What is no socket is left alone.
    narthex.kill();
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, "precious").unwrap();
    let refused = std::process::Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["run", "--config"])
        .arg(&narthex.file)
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
    assert!(!refused.status.success() && said.contains("something is there that is no socket"), "{said}");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_opens_no_websocket_with_the_session() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", upstream.port, "cors_origins = [\"https://spa.test\"]\nsame_site = \"none\"")
        .route(
            "app",
            upstream.port,
            "path = \"/reads\"\ncors_origins = [\"https://spa.test\"]\ncors_credentials = false\nsame_site = \"none\"",
        )
        .route("open", upstream.port, "access = \"public\"")
        .start();
    let visitor = Visitor::with_client(&narthex, |builder| builder.http1_only());
    assert_status(&visitor.sign_in(&format!("{}/", narthex.origin("app")), "alice").await, 200);
    let own = narthex.origin("app");
    let evil = "https://evil.localhost";
    let open = async |path: &str, field: (&'static str, &'static str), origin: &str| {
        let request = visitor.client.get(format!("{}{path}", narthex.origin("app"))).header(field.0, field.1);
        let request = if origin.is_empty() { request } else { request.header("origin", origin) };
        request.send().await.unwrap().status().as_u16()
    };
    for field in [("sec-websocket-key", "abc"), ("upgrade", "websocket")] {
        for origin in [&own, "https://spa.test", ""] {
            assert_eq!(open("/socket", field, origin).await, 200, "{field:?} of {origin}");
        }
        for origin in
            [evil, "null", "http://app.localhost", "https://app.localhost.evil.test", "https://spa.test:444"]
        {
            assert_eq!(open("/socket", field, origin).await, 403, "{field:?} of {origin}");
        }
        assert_eq!(open("/reads", field, "https://spa.test").await, 403, "without credentials");
    }
    // Other requests have answers of their own for this, and without a session there is nothing to
    // abuse.
    assert_eq!(open("/socket", ("x-any", "abc"), evil).await, 200);
    let request = visitor.client.get(narthex.origin("open")).header("sec-websocket-key", "abc");
    assert_status(&request.header("origin", evil).send().await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_without_credentials_get_no_leave_for_them_from_the_app() {
    let upstream = RawUpstream::start().await;
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAccess-Control-Allow-Credentials: true\r\n\r\n";
    let scripted =
        Scripted { response: response.into(), late: Vec::new(), closes: false, leaves_body: false };
    upstream.set_response("/", scripted);
    let narthex = NarthexBuilder::new()
        .route(
            "app",
            upstream.port,
            "access = \"public\"\ncors_origins = [\"https://spa.test\"]\ncors_credentials = false",
        )
        .start();
    let request = Visitor::new(&narthex).client.get(format!("{}/", narthex.origin("app")));
    let answer = request.header("origin", "https://spa.test").send().await.unwrap();
    assert_status(&answer, 200);
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://spa.test");
    assert!(!answer.headers().contains_key("access-control-allow-credentials"), "{answer:?}");
}
