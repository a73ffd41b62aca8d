//! Requests forwarded without pingora's proxy do not differ from those forwarded by it.

use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::process::wait_until;
use crate::support::tunnel::{connect_as_trusted_proxy, connect_tls, read_head, start_upstream, try_write};
use crate::support::visitor::{Visitor, assert_status};
use reqwest::Method;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// This leaves a request to pingora and has no other effect.
const LEFT_TO_PINGORA: &str = "TE: trailers\r\n";

/// Says an answer with a pause after so many bytes, or else after each of them.
async fn say_in_pieces(stream: &mut TcpStream, answer: &str, first: Option<usize>) -> bool {
    let (first, others) = first.map_or((1, 1), |first| (first.min(answer.len()), answer.len()));
    let (begin, rest) = answer.as_bytes().split_at(first);
    for piece in std::iter::once(begin).chain(rest.chunks(others)) {
        if stream.write_all(piece).await.is_err() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}

/// An app that answers in every form there is, in pieces where the query says so, and remembers
/// what it was asked.
async fn app() -> (u16, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let remembered = seen.clone();
    let port = start_upstream(move |mut stream| {
        let seen = seen.clone();
        async move {
            stream.set_nodelay(true).unwrap();
            loop {
                let asked = read_head(&mut stream).await;
                let Some(target) = asked.split(' ').nth(1).map(str::to_owned) else { return };
                let (path, pieces) = target.split_once('?').map_or((&*target, None), |(path, at)| (path, Some(at)));
                let body = if asked.starts_with("HEAD") { "" } else { "hello" };
                seen.lock().unwrap().push(asked);
                let (goes_on, answer) = match path {
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
                let said = match pieces {
                    None => try_write(&mut stream, &answer).await,
                    Some(at) => say_in_pieces(&mut stream, &answer, at.parse().ok()).await,
                };
                if !said || !goes_on {
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
    // The next request must not get the surplus.
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
    let mut stream = connect_as_trusted_proxy(narthex).await;
    try_write(&mut stream, request).await;
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
    // Wherever an answer breaks off, in its head or in the length of a chunk, it goes on there.
    for pieces in ["", "?each"] {
        each_form_reaches(&narthex, &visitor, pieces).await;
    }
    for at in 1..71 {
        let url = format!("{}/chunked?{at}", narthex.origin("app"));
        assert_eq!(visitor.request_json(Method::GET, &url).await.text().await.unwrap(), "hello you", "{at}");
    }
    let large = visitor.request_json(Method::GET, &format!("{}/large", narthex.origin("app"))).await;
    assert_eq!(large.bytes().await.unwrap().len(), 1_000_000);
}

async fn each_form_reaches(narthex: &Narthex, visitor: &Visitor, pieces: &str) {
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
            let answer = visitor
                .request_json(method.clone(), &format!("{}{path}{pieces}", narthex.origin("app")))
                .await;
            assert_eq!(answer.version(), reqwest::Version::HTTP_2);
            assert!(answer.headers().get("x-inner").is_none() || path == "/named");
            assert_status(&answer, status);
            let body = if method == Method::HEAD { "" } else { body };
            assert_eq!(answer.text().await.unwrap(), body, "{method} {path}");
        }
    }
    for path in ["/switching", "/garbage", "/silence"] {
        assert_status(
            &visitor.request_json(Method::GET, &format!("{}{path}{pieces}", narthex.origin("app"))).await,
            502,
        );
    }
    let short = visitor.request_json(Method::GET, &format!("{}/short{pieces}", narthex.origin("app"))).await;
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

/// RFC 9113, section 8.1.1: a request is "malformed if the value of a Content-Length header field
/// does not equal the sum of the DATA frame payload lengths". To a server that takes it for another
/// request it must not come.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_said_not_to_be_there_reaches_no_app() {
    let (port, seen) = app().await;
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"").start();
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    // RFC 7541: GET and https by their index; the others by the index of their name.
    let text = |index: &[u8], value: &str| [index, &[value.len() as u8], value.as_bytes()].concat();
    let host = format!("app.localhost:{}", narthex.https);
    let fields = [text(&[0x04], "/length"), text(&[0x01], &host), text(&[0x0f, 0x0d], "0")].concat();
    let request = frame(1, 4, 1, &[&[0x82, 0x87], &*fields].concat());
    let body = frame(0, 1, 1, b"DELETE /chunked HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut client = connect_tls(&narthex, "app", true).await;
    let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat();
    client.write_all(&[begin, request, body].concat()).await.unwrap();
    let mut kinds = Vec::new();
    // RST_STREAM.
    while !kinds.contains(&3) {
        let mut head = [0; 9];
        client.read_exact(&mut head).await.unwrap();
        kinds.push(head[3]);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        client.read_exact(&mut vec![0; length as usize]).await.unwrap();
    }
    assert_status(
        &Visitor::new(&narthex).request_json(Method::GET, &format!("{}/length", narthex.origin("app"))).await,
        200,
    );
    let seen = seen.lock().unwrap().clone();
    assert!(
        (1..=2).contains(&seen.len()) && seen.iter().all(|head| head.starts_with("GET /length ")),
        "{seen:?}"
    );
}

/// RFC 9110, section 9.2.2: "A proxy MUST NOT automatically retry non-idempotent requests."
#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_be_sent_twice_is_when_a_kept_connection_has_died() {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = asked.clone();
    let port = start_upstream(move |mut stream| {
        let seen = seen.clone();
        async move {
            for first in [true, false] {
                let line = read_head(&mut stream).await.lines().next().unwrap_or_default().to_owned();
                if line.is_empty() {
                    return;
                }
                seen.lock().unwrap().push(line.clone());
                if !first && line.contains("/hinted") {
                    try_write(&mut stream, "HTTP/1.1 103 Early Hints\r\n\r\n").await;
                }
                if !first {
                    return;
                }
                let end = if line.contains("/last") { "Connection: close\r\n" } else { "" };
                try_write(&mut stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{end}\r\nhi")).await;
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
        assert_status(
            &visitor.request_json(method.clone(), &format!("{}/first", narthex.origin("app"))).await,
            200,
        );
        asked.lock().unwrap().clear();
        assert_status(&visitor.request_json(method.clone(), &url).await, status);
        let seen = asked.lock().unwrap().clone();
        let line = format!("{method} {path} ");
        assert_eq!(seen.iter().filter(|seen| seen.starts_with(&line)).count(), times, "{line}: {seen:?}");
        // Nothing is kept of the second try.
        if times == 2 {
            assert_status(
                &visitor.request_json(method, &format!("{}/last", narthex.origin("app"))).await,
                200,
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_is_waited_for_by_no_app() {
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (begun.clone(), ended.clone());
    let port = start_upstream(move |mut stream| {
        let (begun, ended) = counts.clone();
        async move {
            if read_head(&mut stream).await.is_empty() {
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
    let mut client = connect_as_trusted_proxy(&narthex).await;
    try_write(&mut client, "GET / HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\n\r\n").await;
    wait_until("the app is asked", || begun.load(Ordering::SeqCst) == 1);
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    drop(client);
    let gone = Instant::now();
    wait_until("the app is let go", || ended.load(Ordering::SeqCst) == 1);
    assert!(gone.elapsed() < Duration::from_secs(20), "it was let go when its own time was over");
}
