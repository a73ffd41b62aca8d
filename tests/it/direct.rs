//! What is sent on without pingora's proxy, beside what is sent on by it: nobody can tell which it was.

use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::process::wait_until;
use crate::support::tunnel::{behind_terminator, head, say, upstream};
use crate::support::visitor::{Visitor, is};
use reqwest::Method;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;

/// By this a request is left to pingora, and nothing else comes of it.
const LEFT_TO_PINGORA: &str = "TE: trailers\r\n";

/// An app that answers in every form there is, and remembers what it was asked.
async fn app() -> (u16, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let remembered = seen.clone();
    let port = upstream(move |mut stream| {
        let seen = seen.clone();
        async move {
            loop {
                let asked = head(&mut stream).await;
                let Some(path) = asked.split(' ').nth(1).map(str::to_owned) else { return };
                let body = if asked.starts_with("HEAD") { "" } else { "hello" };
                seen.lock().unwrap().push(asked);
                let (goes_on, answer) = match path.as_str() {
                    "/length" => (true, format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Own: a\r\nX-Own: b\r\n\r\n{body}")),
                    "/chunked" if body.is_empty() => {
                        (true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned())
                    }
                    "/chunked" => {
                        let body = "5\r\nhello\r\n4\r\n you\r\n0\r\n\r\n";
                        (true, format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"))
                    }
                    "/closing" => (false, format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{body}")),
                    "/old" => (false, format!("HTTP/1.0 200 Fine\r\n\r\n{body}")),
                    "/nothing" => (true, "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
                    "/unchanged" => (true, "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n".to_owned()),
                    "/early" => {
                        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
                        (true, format!("{hints}HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n{body}"))
                    }
                    "/large" => {
                        let body = body.repeat(200_000);
                        (true, format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{body}"))
                    }
                    "/named" => {
                        let named = "Connection: X-Inner, close\r\nX-Inner: a\r\nKeep-Alive: timeout=1\r\n";
                        (false, format!("HTTP/1.1 200 OK\r\n{named}Content-Length: 5\r\n\r\n{body}"))
                    }
                    "/switching" => (
                        false,
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello".to_owned(),
                    ),
                    "/short" => (false, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello".to_owned()),
                    "/both" => (
                        true,
                        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                            .to_owned(),
                    ),
                    "/surplus" => {
                        let next = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
                        (true, format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{next}"))
                    }
                    "/garbage" => (false, "SSH-2.0-OpenSSH_9.6\r\n".to_owned()),
                    "/silence" => (false, String::new()),
                    other => panic!("{other}"),
                };
                if !say(&mut stream, &answer).await || !goes_on {
                    return;
                }
            }
        }
    })
    .await;
    (port, remembered)
}

const PATHS: [&str; 15] = [
    "/length",
    // Whoever comes next must not get what was too much.
    "/surplus",
    "/chunked",
    "/closing",
    "/old",
    "/nothing",
    "/unchanged",
    "/early",
    "/large",
    "/named",
    "/switching",
    "/short",
    "/both",
    "/garbage",
    "/silence",
];

/// What comes back for this head, until the connection ends or is silent.
async fn ask(narthex: &Narthex, request: &str) -> String {
    let mut stream = behind_terminator(narthex).await;
    say(&mut stream, request).await;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    // How a connection ends that was cut is no part of the answer.
    drop(tokio::time::timeout(Duration::from_secs(10), reading).await.expect("an end"));
    String::from_utf8(answer).unwrap()
}

/// Without what differs from request to request.
fn alike(message: &str) -> String {
    let own = |line: &&str| {
        let line = line.to_ascii_lowercase();
        !line.starts_with("x-request-id:") && !line.starts_with("date:")
    };
    // A failure names its request.
    let lines =
        message.split("\r\n").filter(own).map(|line| line.split("\"request_id\"").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_any_form_is_the_same_by_either_way() {
    let (port, seen) = app().await;
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"").start();
    for path in PATHS {
        for (method, version, connection) in [
            ("GET", "1.1", "close"),
            ("HEAD", "1.1", "close"),
            ("GET", "1.0", "close"),
            ("DELETE", "1.1", "Keep-Alive, Close"),
        ] {
            let fields = "Accept: application/json\r\nCookie: theme=dark\r\nX-Forwarded-Proto: https\r\nX-Own: a\r\nX-Own: b\r\n";
            let line = format!(
                "{method} {path} HTTP/{version}\r\nHost: app.localhost\r\n{fields}Connection: {connection}\r\n"
            );
            seen.lock().unwrap().clear();
            let direct = ask(&narthex, &format!("{line}\r\n")).await;
            let told_directly = std::mem::take(&mut *seen.lock().unwrap());
            let by_pingora = ask(&narthex, &format!("{line}{LEFT_TO_PINGORA}\r\n")).await;
            let told_by_pingora = std::mem::take(&mut *seen.lock().unwrap());
            match path {
                // The connection is cut; whether what came had been handed on before is chance.
                "/short" if method != "HEAD" => {
                    assert!(direct.is_empty() || direct.ends_with("\r\n\r\nhello"), "{direct}");
                }
                _ => assert_eq!(alike(&direct), alike(&by_pingora), "{line}"),
            }
            let told = |all: &[String]| -> Vec<Vec<String>> {
                let sorted = |head: &String| {
                    let mut lines: Vec<String> = alike(head).lines().map(str::to_owned).collect();
                    lines[1..].sort();
                    lines
                };
                all.iter().map(sorted).collect()
            };
            assert_eq!(told(&told_directly), told(&told_by_pingora), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_any_form_reaches_who_speaks_http2() {
    let (port, _) = app().await;
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"").start();
    let visitor = Visitor::new(&narthex);
    for (path, status, body) in [
        ("/length", 200, "hello"),
        ("/chunked", 200, "hello you"),
        ("/closing", 200, "hello"),
        ("/old", 200, "hello"),
        ("/nothing", 204, ""),
        ("/unchanged", 304, ""),
        ("/early", 404, "hello"),
        ("/named", 200, "hello"),
        ("/both", 200, "hello"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let answer = visitor.program(method.clone(), &format!("{}{path}", narthex.origin("app"))).await;
            assert_eq!(answer.version(), reqwest::Version::HTTP_2);
            assert!(answer.headers().get("x-inner").is_none() || path == "/named");
            is(&answer, status);
            let body = if method == Method::HEAD { "" } else { body };
            assert_eq!(answer.text().await.unwrap(), body, "{method} {path}");
        }
    }
    let large = visitor.program(Method::GET, &format!("{}/large", narthex.origin("app"))).await;
    assert_eq!(large.bytes().await.unwrap().len(), 1_000_000);
    for path in ["/switching", "/garbage", "/silence"] {
        is(&visitor.program(Method::GET, &format!("{}{path}", narthex.origin("app"))).await, 502);
    }
    let short = visitor.program(Method::GET, &format!("{}/short", narthex.origin("app"))).await;
    assert!(short.bytes().await.is_err(), "what is not whole must not pass for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_concern_a_connection_end_with_it() {
    let (port, seen) = app().await;
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"").start();
    let connection = "Connection: close, X-Inner\r\nX-Inner: a\r\nKeep-Alive: timeout=5\r\nProxy-Authorization: Basic a\r\n\
                      Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
    let request = format!(
        "GET /length HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\n{connection}\r\n"
    );
    assert!(ask(&narthex, &request).await.starts_with("HTTP/1.1 200 "));
    let told = seen.lock().unwrap().concat().to_lowercase();
    for name in ["connection", "x-inner", "keep-alive", "proxy-authorization", "upgrade", "http2-settings"] {
        assert!(!told.contains(&format!("\n{name}:")), "{told}");
    }
}

/// RFC 9110, section 9.2.2: "A proxy MUST NOT automatically retry non-idempotent requests."
#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_be_sent_twice_is_when_a_kept_connection_has_died() {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = asked.clone();
    let port = upstream(move |mut stream| {
        let seen = seen.clone();
        async move {
            for first in [true, false] {
                let line = head(&mut stream).await.lines().next().unwrap_or_default().to_owned();
                if line.is_empty() {
                    return;
                }
                seen.lock().unwrap().push(line.clone());
                if !first && line.contains("/hinted") {
                    say(&mut stream, "HTTP/1.1 103 Early Hints\r\n\r\n").await;
                }
                if !first {
                    return;
                }
                let end = if line.contains("/last") { "Connection: close\r\n" } else { "" };
                say(&mut stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{end}\r\nhi")).await;
            }
        }
    })
    .await;
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"").start();
    let visitor = Visitor::new(&narthex);
    for (method, path, status, times) in
        [(Method::GET, "/", 200, 2), (Method::POST, "/", 502, 1), (Method::GET, "/hinted", 502, 1)]
    {
        let url = format!("{}{path}", narthex.origin("app"));
        // Each begins with one connection that was kept, and no other.
        is(&visitor.program(method.clone(), &format!("{}/first", narthex.origin("app"))).await, 200);
        asked.lock().unwrap().clear();
        is(&visitor.program(method.clone(), &url).await, status);
        let seen = asked.lock().unwrap().clone();
        let line = format!("{method} {path} ");
        assert_eq!(seen.iter().filter(|seen| seen.starts_with(&line)).count(), times, "{line}: {seen:?}");
        // Nothing is kept of the second try.
        if times == 2 {
            is(&visitor.program(method, &format!("{}/last", narthex.origin("app"))).await, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_is_waited_for_by_no_app() {
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (begun.clone(), ended.clone());
    let port = upstream(move |mut stream| {
        let (begun, ended) = counts.clone();
        async move {
            if head(&mut stream).await.is_empty() {
                return;
            }
            begun.fetch_add(1, Ordering::SeqCst);
            // The other side's end; nothing else comes.
            drop(stream.read(&mut [0]).await);
            ended.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"").start();
    let mut client = behind_terminator(&narthex).await;
    say(&mut client, "GET / HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\n\r\n").await;
    wait_until("the app is asked", || begun.load(Ordering::SeqCst) == 1);
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    drop(client);
    let gone = Instant::now();
    wait_until("the app is let go", || ended.load(Ordering::SeqCst) == 1);
    assert!(gone.elapsed() < Duration::from_secs(20), "it was let go when its own time was over");
}
