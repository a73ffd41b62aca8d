//! Existing apps behind Narthex, unchanged.

use crate::support::browser::{self, DESK, wait_for_text};
use crate::support::certificates;
use crate::support::narthex::NarthexBuilder;
use crate::support::parties::OpenIdProvider;
use crate::support::process::{Party, free_port, parties, wait_for_port};
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, assert_status};
use fantoccini::Locator;
use reqwest::Method;
use reqwest::cookie::CookieStore as _;
use std::io::{BufRead as _, BufReader};

#[tokio::test(flavor = "multi_thread")]
async fn radicale_believes_the_header_and_keeps_each_persons_calendars_apart() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _radicale = Party::start(
        parties().join("venv/bin/radicale"),
        &[
            "--config",
            "",
            &format!("--server-hosts=127.0.0.1:{port}"),
            "--auth-type=http_x_remote_user",
            &format!("--storage-filesystem-folder={}", folder.path().display()),
            "--rights-type=owner_only",
        ],
    );
    wait_for_port(port);
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("calendar", port, "[route.headers]\nX-Remote-User = \"${name}\"")
        .start();
    let origin = narthex.origin("calendar");
    let (alice, bob) = (Visitor::new(&narthex), Visitor::new(&narthex));
    for (visitor, login) in [(&alice, "alice"), (&bob, "bob")] {
        assert_status(&visitor.sign_in(&format!("{origin}/.web/"), login).await, 200);
    }
    let make = Method::from_bytes(b"MKCALENDAR").unwrap();
    let propfind = Method::from_bytes(b"PROPFIND").unwrap();
    assert_status(&alice.request_json(make.clone(), &format!("{origin}/alice/work/")).await, 201);
    assert_status(&alice.request_json(propfind.clone(), &format!("{origin}/alice/work/")).await, 207);
    assert_status(&bob.request_json(propfind.clone(), &format!("{origin}/alice/work/")).await, 403);
    assert_status(&bob.request_json(make, &format!("{origin}/alice/theft/")).await, 403);
    let liar = bob.client.request(propfind, format!("{origin}/alice/work/")).header("X-Remote-User", "alice");
    assert_status(&liar.send().await.unwrap(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_for_a_load_balancer_verifies_the_assertion_with_the_keys_that_we_publish() {
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let (port, other) = (free_port(), Upstream::start().await);
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", port, "name = \"photos\"")
        .route("other", other.port, "")
        .start();
    let visitor = Visitor::new(&narthex);
    let landed = visitor.sign_in(&format!("{}/", narthex.origin("other")), "alice").await;
    assert_status(&landed, 200);
    let elsewhere: Seen = landed.json().await.unwrap();
    let header = elsewhere.header("x-amzn-oidc-data").split('.').next().unwrap().to_owned();
    let header: serde_json::Value = {
        use base64::Engine as _;
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap())
            .unwrap()
    };
    let (client, signer) = (header["client"].as_str().unwrap(), header["signer"].as_str().unwrap());
    let signer = signer.replace("/other-localhost-/", "/photos/");
    let app = narthex.origin("app");
    let arguments = [&port.to_string(), &narthex.origin("auth"), &signer, client, &format!("{app}/")];
    let authority = narthex.folder().join("certs/local-authority.pem");
    let _app = Party::node_with("assertion-app.mjs", &arguments, &[("NODE_EXTRA_CA_CERTS", &authority)]);

    let landed = visitor.follow(&format!("{app}/")).await;
    assert_status(&landed, 200);
    let told: serde_json::Value = landed.json().await.unwrap();
    assert_eq!(told["byPem"], "alice@corp.example");
    assert_eq!(told["byKeySet"], "alice@corp.example");
    assert_eq!(told["sub"], elsewhere.header("x-amzn-oidc-identity"));

    // ALBeast: an assertion for another route is not valid for this one.
    let direct = reqwest::Client::new().get(format!("http://127.0.0.1:{port}/"));
    let stolen =
        direct.header("x-amzn-oidc-data", elsewhere.header("x-amzn-oidc-data")).send().await.unwrap();
    assert_status(&stolen, 403);
    let why = stolen.text().await.unwrap();
    assert!(why.contains("ALB ARN"), "{why}");
}

/// Goes to `url` in a browser and signs in at the provider.
async fn browse(browser: &fantoccini::Client, url: &str, login: &str) {
    browser.goto(url).await.unwrap();
    let field =
        |name: &'static str| async move { browser.wait().for_element(Locator::Css(name)).await.unwrap() };
    field("input[name=login]").await.send_keys(login).await.unwrap();
    field("input[name=password]").await.send_keys("any").await.unwrap();
    field("button[type=submit]").await.click().await.unwrap();
    browser.wait().for_url(&url.parse().unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn jupyter_runs_a_persons_code_over_a_websocket() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let home = folder.path().display().to_string();
    let _jupyter = Party::start(
        parties().join("venv/bin/jupyter-server"),
        &[
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            &format!("--port={port}"),
            "--ServerApp.port_retries=0",
            &format!("--ServerApp.root_dir={home}"),
            "--IdentityProvider.token=",
            "--ServerApp.allow_remote_access=True",
        ],
    );
    wait_for_port(port);
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder.tables(&provider.toml("\"anyone\"")).route("jupyter", port, "").start();
    let browser = browser::open(DESK).await;
    browse(&browser, &format!("{}/no-such-page", narthex.origin("jupyter")), "alice").await;

    // What a notebook does: a kernel is started, and spoken with over a WebSocket.
    let script = r#"
        const [code, done] = arguments;
        const xsrf = document.cookie.split('; ').find(c => c.startsWith('_xsrf='))?.slice(6) ?? '';
        fetch('/api/kernels', { method: 'POST', headers: { 'X-XSRFToken': xsrf }, body: '{}' })
          .then(answer => answer.json())
          .then(kernel => {
            const socket = window.socket = new WebSocket(`wss://${location.host}/api/kernels/${kernel.id}/channels`);
            socket.onclose = event => { window.closed = event.code; };
            socket.onmessage = event => {
              const message = JSON.parse(event.data);
              if (message.msg_type === 'execute_result') done(message.content.data['text/plain']);
              if (message.msg_type === 'error') done(message.content.evalue);
            };
            socket.onopen = () => socket.send(JSON.stringify({
              channel: 'shell', parent_header: {}, metadata: {}, buffers: [],
              header: { msg_id: '1', msg_type: 'execute_request', session: 's', username: '', version: '5.3' },
              content: { code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false },
            }));
          })
          .catch(error => done(String(error)));
    "#;
    let answer = browser.execute_async(script, vec!["6 * 7".into()]).await.unwrap();
    assert_eq!(answer, "42");

    // Signed out in another tab, the kernel's socket goes too.
    browser.execute("window.fetch('/.narthex/sign-out', { method: 'POST' })", vec![]).await.unwrap();
    let begun = std::time::Instant::now();
    while browser.execute("return window.closed ?? null", vec![]).await.unwrap().is_null() {
        assert!(begun.elapsed().as_secs() < 4, "the socket outlived its session");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn esbuild_tells_a_page_of_changes_by_events() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("app.js", "document.body.append('first build');");
    write(
        "page.js",
        "new EventSource('/esbuild').addEventListener('change', e => document.body.append('event: ' + e.data));",
    );
    write("index.html", "<body><script src=out/app.js></script><script src=page.js></script>");
    let port = free_port();
    let home = folder.path().display().to_string();
    let _esbuild = Party::start(
        parties().join("node_modules/.bin/esbuild"),
        &[
            &format!("{home}/app.js"),
            "--watch=forever",
            &format!("--outdir={home}/out"),
            &format!("--servedir={home}"),
            &format!("--serve=127.0.0.1:{port}"),
        ],
    );
    wait_for_port(port);
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex =
        builder.tables(&provider.toml("\"anyone\"")).route("build", port, "preserve_host = false").start();
    let browser = browser::open(DESK).await;
    browse(&browser, &format!("{}/", narthex.origin("build")), "alice").await;
    wait_for_text(&browser, "first build").await;
    write("app.js", "document.body.append('second build');");
    wait_for_text(&browser, "event: {\"added\":[],\"removed\":[],\"updated\":[\"/out/app.js\"]}").await;
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_streams_both_ways_with_and_without_tls_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    certificates::make(&cert, &key, "grpc", "localhost", 2);
    let (plain, tls) = (free_port(), free_port());
    let files = [cert.display().to_string(), key.display().to_string()];
    let _plain = Party::python("grpc-app.py", &[&plain.to_string()]);
    let _tls = Party::python("grpc-app.py", &[&tls.to_string(), &files[0], &files[1]]);
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let (door, home) = (Upstream::start().await, "path = \"/home\"");
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("plain", door.port, home)
        .route("tls", door.port, home)
        .tables(&format!("[[route]]\nhost = \"plain.localhost\"\nupstream = \"h2c://127.0.0.1:{plain}\"\n"))
        .tables(&format!(
            "[[route]]\nhost = \"tls.localhost\"\nupstream = \"https://localhost:{tls}\"\nupstream_ca = \"{}\"\n",
            files[0]
        ))
        .start();
    let ca = narthex.folder().join("certs/local-authority.pem").display().to_string();
    let call = |host: &str, cookie: &str| {
        let mut command = std::process::Command::new(parties().join("venv/bin/python"));
        command.arg(parties().join("grpc-client.py"));
        command.args([&narthex.https.to_string(), &format!("{host}.localhost"), &ca, cookie]);
        command.stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let said =
        |child: std::process::Child| String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    for host in ["plain", "tls"] {
        let strangers = said(call(host, ""));
        assert_eq!(strangers.matches("UNAUTHENTICATED").count(), 5, "{strangers}");

        let visitor = Visitor::new(&narthex);
        let at_home = format!("{}/home", narthex.origin(host));
        assert_status(&visitor.sign_in(&at_home, "alice").await, 200);
        let cookie = visitor.jar.cookies(&at_home.parse().unwrap()).unwrap();
        let mut client = call(host, cookie.to_str().unwrap());
        let mut lines = BufReader::new(client.stdout.take().unwrap()).lines().map(Result::unwrap);
        let first: Vec<String> = lines.by_ref().take(4).collect();
        assert_eq!(first, ["check 1", "missing NOT_FOUND", "conversation 100", "watch 1"], "{host}");
        let out = format!("{}/.narthex/sign-out", narthex.origin(host));
        assert_status(
            &visitor.client.post(out).header("sec-fetch-site", "same-origin").send().await.unwrap(),
            200,
        );
        assert_eq!(lines.next().as_deref(), Some("watch ended CANCELLED"), "{host}");
        client.wait().unwrap();
    }
}
