//! `narthex load`: its measurements are right.

use crate::support::documentation;
use crate::support::narthex::{Narthex, NarthexBuilder};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const PAGE: &str = "docs/src/guides/load-testing.md";
const SECRET: &str = "k3+/wQ9z%41Zb0pYxTn7fRm2==";

/// An app that answers each request after the one before, and takes so long for each; the first one
/// takes as long as given.
struct Paced {
    port: u16,
    free_at: Arc<Mutex<Instant>>,
    answered: Arc<AtomicU64>,
}

impl Paced {
    async fn start(each: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let free_at = Arc::new(Mutex::new(Instant::now()));
        let answered = Arc::default();
        let of_all = (free_at.clone(), Arc::clone(&answered));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, of_all.clone(), each));
            }
        });
        Self { port, free_at, answered }
    }

    /// Nothing is answered for so long.
    fn stall(&self, time: Duration) {
        *self.free_at.lock().unwrap() += time;
    }
}

async fn answer(
    mut stream: TcpStream,
    (free_at, answered): (Arc<Mutex<Instant>>, Arc<AtomicU64>),
    each: Duration,
) {
    let mut head = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(read @ 1..) => head.extend_from_slice(&piece[..read]),
            _ => return,
        }
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        let ready = {
            let mut free_at = free_at.lock().unwrap();
            *free_at = (*free_at).max(Instant::now()) + each;
            *free_at
        };
        tokio::time::sleep_until(ready.into()).await;
        answered.fetch_add(1, Ordering::Relaxed);
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
            return;
        }
    }
}

/// Runs `narthex load`, in the folder of `narthex`.
async fn load(narthex: &Narthex, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_narthex"));
    command.arg("load").current_dir(narthex.folder()).env("NARTHEX_LOAD_CLIENT_SECRET", SECRET);
    command.args(["--cacert", "certs/local-authority.pem", "--json"]).args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// What a line of the guide ends with, with fewer requests and for this deployment.
async fn by_hand(narthex: &Narthex, line: &str) -> String {
    let program = format!("{} load --cacert certs/local-authority.pem", env!("CARGO_BIN_EXE_narthex"));
    let few = "--rate 50 --step-time 0.5 --users 10 --until 50";
    let line = line.replace("--until 20000 ", "").replace("narthex load", &format!("{program} {few}"));
    let line = line.replace("https://photos.example.com", &narthex.origin("app"));
    let line = line.replace("https://auth.example.com", &narthex.origin("auth"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).current_dir(narthex.folder()).env("REPORTER_SECRET", SECRET);
    let output = tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap_or_default().to_owned()
}

fn report(output: &Output) -> Value {
    let told = || String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told()))
}

fn told(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_knee_of_a_slow_upstream_is_found_where_it_is() {
    let upstream = Paced::start(Duration::from_millis(10)).await;
    let narthex = NarthexBuilder::new()
        .tables("[[issuer]]\nname = \"other\"\nurl = \"https://idp.example.com\"\naudience = \"x\"\n")
        .route("app", upstream.port, "bearer = true")
        .start();
    let url = format!("{}/photos/1", narthex.origin("app"));
    let tokens = ["--issuer", "load", "--users", "100", "--unseen", "5", "--bad", "0"];
    // Nobody trusts its tokens yet, and it says what the file must say for that.
    let first = told(&load(&narthex, &[&tokens[..], &[&url]].concat()).await);
    let (_, block) = first.split_once("says\n\n").unwrap_or_else(|| panic!("{first}"));
    let (block, rest) = block.split_once("\n\n").unwrap();
    assert!(rest.contains("bearer = true"), "{first}");
    narthex.edit(|text| text + "\n" + block + "\n");
    narthex.wait_for_log("\"event\":\"reload\"");

    let steps = ["--rate", "25", "--until", "1000", "--step-time", "3", "--report", "load.html"];
    let report = report(&load(&narthex, &[&tokens[..], &steps, &[&url]].concat()).await);
    let knee = report["knee"].as_f64().unwrap();
    assert!(
        (90.0..=110.0).contains(&knee),
        "an upstream that sustains 100 a second was measured at {knee}: {report}"
    );
    assert_eq!(report["found"], true, "{report}");
    let rows = report["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["wrongly_accepted"] == 0), "{report}");
    let sustained = rows.iter().filter(|row| row["sustained"] == true);
    sustained.for_each(|row| assert_eq!(row["failed"], 0.0, "{report}"));
    let page = std::fs::read_to_string(narthex.folder().join("load.html")).unwrap();
    assert!(page.contains("<polyline") && page.contains("Maximum sustained rate: "), "{page}");

    for line in documentation::block(PAGE, "sh load").lines() {
        assert_eq!(
            by_hand(&narthex, line).await,
            "Sustained 50 requests per second; no higher rate was tried."
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_counts_for_all_that_were_due_in_it() {
    let upstream = Paced::start(Duration::from_micros(100)).await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    let url = format!("{}/", narthex.origin("app"));
    let stalls = async {
        // In the middle of the step, whenever that is.
        let middle = async {
            while upstream.answered.load(Ordering::Relaxed) < 60 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), middle).await.expect("sixty answers");
        upstream.stall(Duration::from_millis(1500));
    };
    let steps = ["--rate", "50", "--until", "50", "--step-time", "4", "--connections", "1", &url];
    let (output, ()) = tokio::join!(load(&narthex, &steps), stalls);
    let report = report(&output);
    let row = &report["rows"][0];
    // One connection waits once; three of eight seconds' requests were due meanwhile, or had to
    // wait behind those.
    assert!(row["p90"].as_u64().unwrap() > 500_000, "{report}");
    assert!(row["p99_sent"].as_u64().unwrap() < 100_000, "{report}");
    assert!(row["max"].as_u64().unwrap() > 1_300_000, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_from_the_deployment_itself_and_requests_go_by_http2() {
    let upstream = Paced::start(Duration::from_micros(10)).await;
    let pool = format!(
        "[[user_pool]]\nname = \"people\"\n[[user_pool.resource_server]]\nidentifier = \"photos\"\nscopes = [\"read\"]\n\
         [[user_pool.client]]\nname = \"reporter\"\nid = \"reporter\"\nsecret = \"{SECRET}\"\n\
         allowed_oauth_flows = [\"client_credentials\"]\nallowed_oauth_scopes = [\"photos/read\"]\n"
    );
    let narthex = NarthexBuilder::new()
        .tables(&pool)
        .route("app", upstream.port, "bearer = true\nscopes = [\"photos/read\"]")
        .route("open", upstream.port, "access = \"public\"\nbearer = false")
        .start();
    let endpoint = format!("{}/oauth2/token", narthex.origin("auth"));
    let client = ["--client-id", "reporter", "--token-endpoint", &endpoint, "--scope", "photos/read"];
    let pace = ["--rate", "100", "--until", "100", "--step-time", "1", "--users", "20"];
    let mix = ["--unseen", "20", "--bad", "20"];
    for more in [&["--http2", "--connections", "2"][..], &["--connections", "8"]] {
        let url = format!("{}/photos/1", narthex.origin("app"));
        let report = report(&load(&narthex, &[&client[..], &pace, &mix, more, &[&url]].concat()).await);
        let row = &report["rows"][0];
        assert_eq!(
            (&row["good"], &row["wrongly_accepted"], &row["sustained"]),
            (&100.into(), &0.into(), &true.into()),
            "{report}"
        );
    }
    let line = documentation::block(PAGE, "sh program");
    assert_eq!(by_hand(&narthex, &line).await, "Sustained 50 requests per second; no higher rate was tried.");
    // A target that accepts every token is reported.
    let url = format!("{}/", narthex.origin("open"));
    let told = told(&load(&narthex, &[&client[..], &pace, &mix, &[&url]].concat()).await);
    assert!(told.contains(" requests with invalid tokens were accepted"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_this_machine_is_loaded_unless_it_is_said() {
    let upstream = Paced::start(Duration::from_micros(10)).await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    let own = format!("{}/", narthex.origin("app"));
    let elsewhere = ["--connect-to", "192.0.2.1:443"];
    let endpoint = ["--client-id", "load", "--token-endpoint", "https://192.0.2.1/oauth2/token"];
    let here = ["--connect-to", "127.0.0.1:9"];
    for arguments in [
        &["https://192.0.2.1/"][..],
        &[&elsewhere[..], &[&own]].concat(),
        &[&endpoint[..], &[&own]].concat(),
        &[&here[..], &endpoint, &[&own]].concat(),
    ] {
        let told = told(&load(&narthex, arguments).await);
        assert!(told.contains("is not this machine") && told.contains("--i-own-this-host"), "{told}");
    }
    // Wrong arguments get a remedy too.
    for (arguments, mend) in [
        (&["--bad", "1", &own][..], "add --issuer or --client-id"),
        (&["--rate", "0", &own], "it lies between 1 and 1000000"),
        (
            &["--issuer", "load", "--unseen", "100", "--rate", "1000000", "--step-time", "3600", &own],
            "lower --unseen",
        ),
        (&["ftp://localhost/"], "write it like https://app.example.com/"),
        (&[&own, "https://localhost:1/"], "of several servers"),
    ] {
        let told = told(&load(&narthex, arguments).await);
        assert!(told.contains(mend), "{told}");
    }
}

/// A server that issues tokens which count for a second, and is the app, too: it notes who came.
struct Brief {
    port: u16,
    /// How many tokens there were so far.
    issued: Arc<AtomicU64>,
    /// Those that were brought, by their numbers.
    brought: Arc<Mutex<BTreeSet<u64>>>,
}

impl Brief {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let this = Self { port, issued: Arc::default(), brought: Arc::default() };
        let (issued, brought) = (this.issued.clone(), this.brought.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (issued, brought) = (issued.clone(), brought.clone());
                tokio::spawn(async move {
                    let mut buffer = vec![0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
                        let body = if head.starts_with("POST /long ") {
                            "x".repeat(1 << 20)
                        } else if head.starts_with("POST ") {
                            let number = issued.fetch_add(1, Ordering::Relaxed);
                            format!(
                                r#"{{"access_token":"a.b.{number}","token_type":"Bearer","expires_in":1}}"#
                            )
                        } else {
                            let token = head.lines().find_map(|line| line.split("Bearer a.b.").nth(1));
                            brought.lock().unwrap().insert(token.unwrap().parse().unwrap());
                            "ok".to_owned()
                        };
                        let answer =
                            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        this
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_got_anew_before_they_end_and_what_is_too_long_is_none() {
    let server = Brief::start().await;
    let narthex = NarthexBuilder::new().route("app", server.port, "access = \"public\"").start();
    let (app, root) =
        (format!("http://localhost:{}/", server.port), format!("http://127.0.0.1:{}", server.port));
    let endpoint = format!("{root}/token");
    let client = ["--client-id", "reporter", "--users", "3", "--rate", "40", "--until", "40"];
    let steps = ["--token-endpoint", &endpoint, "--step-time", "3", &app];
    let report = report(&load(&narthex, &[&client[..], &steps].concat()).await);
    assert_eq!(report["rows"][0]["good"], 120, "{report}");
    // Nothing took nearly as long as the step: nothing was given up.
    assert!(report["rows"][0]["max"].as_u64().unwrap() < 3_000_000, "{report}");
    let (issued, last) =
        (server.issued.load(Ordering::Relaxed), *server.brought.lock().unwrap().last().unwrap());
    assert!(issued >= 9 && last >= 6, "{issued} tokens were issued, and the last that came was {last}");
    let long = format!("{root}/long");
    for (more, mend) in [
        (&["--unseen", "10", "--token-endpoint", &endpoint, &app][..], "a --step-time of half as long"),
        (&["--token-endpoint", &long, &app], "token response is too long"),
    ] {
        let told = told(&load(&narthex, &[&client[..], more].concat()).await);
        assert!(told.contains(mend), "{told}");
    }
}
