//! What an operator sets and sees: listeners without TLS, the state folder, the access log,
//! metrics, systemd, and why a store cannot be opened.

use crate::support::narthex::NarthexBuilder;
use crate::support::parties::{OpenIdProvider, Postgres, provider_toml};
use crate::support::process::{free_port, wait_for_port, wait_until};
use crate::support::raw::Client;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status};
use reqwest::Method;
use serde_json::Value;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process of the binary that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A narthex that serves `text`, which is in `folder`.
fn run(folder: &Path, text: &str) -> Process {
    std::fs::write(folder.join("narthex.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_narthex"));
    command.args(["run", "--config"]).arg(folder.join("narthex.toml"));
    Process(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// What a command says on a file in `folder`, and whether it was content.
fn command(folder: &Path, name: &str, text: &str) -> (bool, String) {
    std::fs::write(folder.join("narthex.toml"), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args([name, "--config", "narthex.toml"])
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout) + &text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_that_ends_tls_the_plain_listener_serves() {
    let upstream = Upstream::start().await;
    let (folder, http, admin) = (tempfile::tempdir().unwrap(), free_port(), free_port());
    let text = |trusted: &str| {
        format!(
            "public_url = \"https://auth.localhost\"\n[listen]\nhttps = \"off\"\nhttp = \"127.0.0.1:{http}\"\n\
             admin = \"127.0.0.1:{admin}\"\ntrusted_proxies = [\"{trusted}\"]\n{}\n\
             [[route]]\nhost = \"app.localhost\"\nupstream = \"http://127.0.0.1:{}\"\n\
             [[route]]\nhost = \"open.localhost\"\naccess = \"public\"\nupstream = \"http://127.0.0.1:{}\"\n",
            provider_toml("corp", free_port(), "\"anyone\""),
            upstream.port,
            upstream.port,
        )
    };
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let get = |host: &'static str, proto: Option<&'static str>| {
        let request = client.get(format!("http://127.0.0.1:{http}/x?y")).header("host", host);
        let request =
            proto.into_iter().fold(request, |request, proto| request.header("x-forwarded-proto", proto));
        async move { request.header("accept", "text/html").send().await.unwrap() }
    };
    {
        let _narthex = run(folder.path(), &text("127.0.0.1"));
        wait_for_port(http);
        assert_status(&get("open.localhost", Some("https")).await, 200);
        // Its cookies are of https, whatever the connection is.
        let sign_in = get("app.localhost", Some("https")).await;
        assert_status(&sign_in, 303);
        let cookie = sign_in.headers()["set-cookie"].to_str().unwrap();
        assert!(cookie.starts_with("__Host-narthex-login-") && cookie.contains("; Secure;"), "{cookie}");
        let upgraded = get("open.localhost", Some("http")).await;
        assert_status(&upgraded, 308);
        assert_eq!(upgraded.headers()["location"], "https://open.localhost/x?y");
        // A proxy that does not say how it was asked would be sent round and round.
        for proto in [None, Some("https, http"), Some("ftp")] {
            let status = get("open.localhost", proto).await.status();
            assert_eq!(status, if proto.is_none() { 400 } else { 308 }, "{proto:?}");
        }
        assert!(!folder.path().join("certs").exists(), "no certificate is made");
    }
    // Nobody else's word is taken.
    let _narthex = run(folder.path(), &text("127.0.0.9"));
    wait_for_port(http);
    for proto in [Some("https"), None] {
        assert_status(&get("open.localhost", proto).await, 308);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_goes_to_the_state_folder() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (https, admin) = (free_port(), free_port());
    let text = |more: &str| {
        format!(
            "public_url = \"https://auth.localhost:{https}\"\n{more}\n[listen]\nhttps = \"127.0.0.1:{https}\"\nhttp = \"off\"\n\
             admin = \"127.0.0.1:{admin}\"\n"
        )
    };
    let within = state.path().join("made/here");
    let database = state.path().join("other.db");
    let key = format!("[store]\nurl = \"sqlite:{}\"\n", database.display());
    for (more, at) in [
        (format!("state_dir = \"{}\"", within.display()), within.as_path()),
        // By default, beside the database.
        (String::new(), state.path()),
    ] {
        let text = if more.is_empty() { text("") + &key } else { text(&more) };
        let _narthex = run(folder.path(), &text);
        wait_for_port(https);
        wait_until("the socket", || at.join("narthex.sock").exists());
        assert!(at.join("certs/local-authority.pem").exists());
        let named: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(named, ["narthex.toml"]);
    }
    assert!(within.join("narthex.db").exists() && database.exists());
}

/// The lines of an access log of JSON.
fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_has_a_line_in_the_access_log_and_a_count_by_route() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let mut narthex = builder
        .tables("[log]\naccess = \"json\"\naccess_file = \"access.log\"\n")
        .tables(&provider.toml("\"anyone\""))
        .route("app", upstream.port, "name = \"the app\"")
        .start();
    let file = narthex.folder().join("access.log");
    let app = narthex.origin("app");
    let alice = Visitor::new(&narthex);
    assert_status(&alice.sign_in(&format!("{app}/secret/page?token=hidden"), "alice").await, 200);
    assert_status(&alice.request_json(Method::POST, &format!("{app}/other")).await, 200);
    let agent = "agent \"with\" quotes";
    let refused =
        Visitor::new(&narthex).client.get(format!("{app}/api?token=hidden")).header("user-agent", agent);
    let refused = refused.send().await.unwrap();
    assert_status(&refused, 401);
    let mut raw = Client::connect(&narthex).await;
    raw.send("GET / HTTP/1.1\r\nHost: nohost.localhost\r\n\r\n").await;
    assert_eq!(raw.response().await.unwrap().status(), 404);
    // What the HTTP parser never sees.
    raw.send("GET /bad HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
        .await;
    assert_eq!(raw.response().await.unwrap().status(), 400);

    let of = |path: &str| lines(&file).into_iter().rfind(|line| line["path"] == path);
    wait_until("the lines", || of("/bad").is_some() && of("/api").is_some());
    let page = of("/secret/page").unwrap();
    assert_eq!((&page["method"], &page["status"]), (&"GET".into(), &200.into()));
    assert_eq!((&page["route"], &page["client"]), (&"the app".into(), &"127.0.0.1".into()));
    assert_eq!(page["upstream"], format!("127.0.0.1:{}", upstream.port));
    assert!(page["bytes"].as_u64().unwrap() > 100 && page["duration_ms"].as_f64().unwrap() > 0.0, "{page}");
    assert!(page["user"].as_str().unwrap().contains("alice") && page["sub"].is_string(), "{page}");
    assert_eq!(of("/other").unwrap()["method"], "POST");
    let api = of("/api").unwrap();
    assert_eq!((&api["status"], &api["user_agent"]), (&401.into(), &agent.into()));
    assert_eq!((&api["route"], &api["user"]), (&"the app".into(), &Value::Null));
    assert_eq!(api["request_id"], refused.headers()["x-request-id"].to_str().unwrap());
    let unknown = lines(&file).into_iter().find(|line| line["host"] == "nohost.localhost").unwrap();
    assert_eq!((&unknown["status"], &unknown["route"]), (&404.into(), &Value::Null));
    assert_eq!(of("/bad").unwrap()["client"], "127.0.0.7");
    assert!(!std::fs::read_to_string(&file).unwrap().contains("hidden"), "no query is written");

    let metrics = narthex.admin("/metrics");
    let count = |method: &str, code: u16| {
        let series =
            format!("narthex_route_requests_total{{code=\"{code}\",method=\"{method}\",route=\"the app\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or_else(|| panic!("{series}:\n{metrics}")).parse::<u64>().unwrap()
    };
    assert_eq!((count("GET", 200), count("POST", 200), count("GET", 401)), (1, 1, 1));
    assert!(
        metrics.contains("narthex_request_duration_seconds_bucket{route=\"the app\",le=\"0.5\"}"),
        "{metrics}"
    );
    assert!(!metrics.contains("nohost"), "no label is a client's word");

    // Another form takes effect without a restart, and queries are written where they are asked
    // for.
    narthex.edit(|text| text.replace("access = \"json\"", "access = \"combined\"\naccess_query = true"));
    wait_until("the reload", || !narthex.audit("reload").is_empty());
    assert_status(&alice.request_json(Method::GET, &format!("{app}/last?a=b")).await, 200);
    narthex.signal("TERM");
    assert!(narthex.wait_for_exit());
    let text = std::fs::read_to_string(&file).unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("127.0.0.1 - corp~") && last.contains("_alice ["), "{last}");
    assert!(last.contains("\"GET /last?a=b HTTP/2.0\" 200 "), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_notified_of_readiness_reloads_life_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("notify");
    let socket = UnixDatagram::bind(&place).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let wait_for = |wanted: &str| {
        let mut bytes = [0; 512];
        loop {
            let count = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("{wanted}: {error}"));
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            if text.contains(wanted) {
                return text;
            }
        }
    };
    let mut narthex = NarthexBuilder::new()
        .environment("NOTIFY_SOCKET", place.display().to_string())
        .environment("WATCHDOG_USEC", "200000")
        .start();
    assert!(wait_for("READY=1").contains(&format!("MAINPID={}", narthex.process_id())));
    wait_for("WATCHDOG=1");
    narthex.signal("HUP");
    assert!(wait_for("RELOADING=1").contains("MONOTONIC_USEC="));
    wait_for("READY=1");
    narthex.signal("TERM");
    wait_for("STOPPING=1");
    assert!(narthex.wait_for_exit());
}

#[test]
fn why_a_store_cannot_be_opened_is_told_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let text = |store: &str| {
        let (https, admin) = (free_port(), free_port());
        format!(
            "public_url = \"https://auth.localhost:{https}\"\n[listen]\nhttps = \"127.0.0.1:{https}\"\nhttp = \"off\"\n\
             admin = \"127.0.0.1:{admin}\"\n[store]\nmaster_key = \"{}\"\n{store}\n",
            "A".repeat(43)
        )
    };
    std::fs::write(
        folder.path().join("broken.db"),
        "this is no database at all, whatever its name is\n".repeat(99),
    )
    .unwrap();
    std::fs::create_dir(folder.path().join("folder.db")).unwrap();
    let nobody = free_port();
    let postgres = format!("url = \"postgres://narthex:hidden@127.0.0.1:{nobody}/narthex\"");
    for (store, words) in [
        ("url = \"sqlite:broken.db\"", "broken.db`: it is damaged, or no SQLite database"),
        ("url = \"sqlite:folder.db\"", "folder.db`: it is a folder"),
        (&*postgres, &*format!("PostgreSQL `127.0.0.1:{nobody}`: connection refused: nothing listens there")),
    ] {
        for name in ["run", "check"] {
            let (good, said) = command(folder.path(), name, &text(store));
            assert!(!good && said.contains(words) && said.contains("help: "), "{name}, {words}:\n{said}");
            assert!(!said.contains("hidden"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_not_opened_with_another_key_than_its_own() {
    let mut narthex = NarthexBuilder::new().start();
    narthex.kill();
    let folder = narthex.folder().to_owned();
    let text = std::fs::read_to_string(&narthex.file).unwrap();
    let key = folder.join("narthex.db.key");
    let (good, said) = command(&folder, "check", &text);
    assert!(good && said.contains("the store can be opened"), "{said}");

    // Its key file is gone: a new one would not do.
    let moved = folder.join("moved");
    std::fs::rename(&key, &moved).unwrap();
    for name in ["run", "check"] {
        let (good, said) = command(&folder, name, &text);
        assert!(!good && said.contains("narthex.db.key` does not"), "{name}: {said}");
        assert!(!key.exists(), "none is made");
    }
    let wrong = format!("{text}\n[store]\nmaster_key = \"{}\"\n", "B".repeat(42) + "A");
    for name in ["run", "check"] {
        let (good, said) = command(&folder, name, &wrong);
        assert!(!good && said.contains("cannot decrypt the database: wrong master key"), "{name}: {said}");
    }
    std::fs::rename(&moved, &key).unwrap();
    std::fs::write(&narthex.file, &text).unwrap();
    narthex.start();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_that_the_store_cannot_note_says_so_and_works_later() {
    let upstream = Upstream::start().await;
    let mut postgres = Postgres::start();
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", upstream.port, "")
        .postgres(&postgres.database())
        .start();
    let (app, auth) = (narthex.origin("app"), narthex.origin("auth"));
    let alice = Visitor::new(&narthex);
    assert_status(&alice.sign_in(&format!("{app}/"), "alice").await, 200);
    let leave = |origin: &str, path: &str| {
        let request = alice.client.post(format!("{origin}{path}")).header("origin", origin);
        async move { request.header("accept", "text/html").send().await.unwrap() }
    };
    postgres.stop();
    for (origin, path) in [(&app, "/.narthex/sign-out"), (&auth, "/logout")] {
        let answer = leave(origin, path).await;
        assert_status(&answer, 503);
        assert!(answer.headers().get("set-cookie").is_none(), "the cookie stays, to try again with");
        let page = answer.text().await.unwrap();
        assert!(
            page.contains("Sign-out is not available right now") && page.contains("You are still signed in"),
            "{page}"
        );
        assert!(page.contains(&format!("href=\"{origin}{path}\"")), "{page}");
    }
    postgres.restart();
    wait_until("the store", || narthex.admin("/readyz").starts_with("HTTP/1.1 200"));
    let answer = leave(&app, "/.narthex/sign-out").await;
    assert!(answer.status().is_success() || answer.status().is_redirection(), "{}", answer.status());
    assert_status(&alice.request_json(Method::GET, &format!("{app}/")).await, 401);
}

#[test]
fn check_reports_an_access_log_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let text = |file: &str| {
        format!(
            "public_url = \"https://auth.localhost\"\n[log]\naccess = \"json\"\naccess_file = \"{}/{file}\"\n",
            folder.path().display()
        )
    };
    let (good, output) = command(folder.path(), "check", &text("pipe"));
    assert!(!good && output.contains("help: start the program that reads this pipe first"), "{output}");
    let (good, output) = command(folder.path(), "check", &text("narthex.toml/access.log"));
    assert!(!good && output.contains("correct `access_file` in [log]"), "{output}");
    let (_, output) = command(folder.path(), "check", &text("access.log"));
    assert!(output.contains("/access.log` can be written"), "{output}");
    assert!(!folder.path().join("access.log").exists(), "check changes nothing");
}
