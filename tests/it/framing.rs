//! How messages are delimited: early responses, expectations, HTTP/1.0, the limits of a head, and
//! what exists by HTTP/2 only.

use crate::support::narthex::NarthexBuilder;
use crate::support::parties::OpenIdProvider;
use crate::support::raw::{Client, RawUpstream, Scripted};
use crate::support::tunnel::{connect_from_proxy_address, read_head};
use std::time::{Duration, Instant};

/// What a request needs beside its own fields.
const FIELDS: &str = "Host: app.localhost\r\nX-Forwarded-Proto: https\r\n";
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\n\r\n";

fn scripted(response: &str, late: &str) -> Scripted {
    Scripted { response: response.into(), late: late.into(), closes: false, leaves_body: true }
}

/// An upstream that answers before it has read the body takes the rest of the body for the next
/// request.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_was_answered_early_is_not_sent_on_and_its_connections_end() {
    let upstream = RawUpstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    let length = format!("Content-Length: {}\r\n\r\n", HIDDEN.len());
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for (number, (framing, body, response)) in [
        (&*length, HIDDEN, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nhello"),
        (&*length, HIDDEN, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"),
        (&*length, HIDDEN, "HTTP/1.1 204 No Content\r\n\r\n"),
        (&*length, HIDDEN, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        (chunked, &*chunk, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nhello"),
        (chunked, &*chunk, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/early-{number}");
        upstream.set_response(&target, scripted(response, ""));
        let mut client = Client::connect(&narthex).await;
        client.send(format!("POST {target} HTTP/1.1\r\n{FIELDS}{framing}")).await;
        let answered = client.response().await.expect("the early response");
        assert!(response.contains(&format!(" {} ", answered.status())), "{response}: {answered:?}");
        assert_eq!(answered.field("connection"), Some("close"), "{response}");
        client.send(body).await;
        assert_eq!(client.rest().await, "", "{response}");
        for method in ["GET", "POST"] {
            let mut other = Client::connect(&narthex).await;
            other.send(format!("{method} /next HTTP/1.1\r\n{FIELDS}Content-Length: 1\r\n\r\na")).await;
            assert_eq!(other.response().await.unwrap().text(), format!("{method} /next 1"), "{response}");
        }
    }
    assert_eq!(upstream.count("/hidden"), 0, "{:?}", upstream.heads());
}

/// The body is complete before the response is, but it began after it: whether the upstream has
/// read it is not known.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_a_response_began_before_the_body_was_sent_is_not_used_again() {
    let upstream = RawUpstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    // More than the tries that a request has otherwise.
    for number in 0..6 {
        let target = format!("/early-{number}");
        upstream.set_response(&target, scripted(CHUNKED, "5\r\nhello\r\n0\r\n\r\n"));
        let mut client = Client::connect(&narthex).await;
        client.send(format!("POST {target} HTTP/1.1\r\n{FIELDS}Content-Length: 3\r\n\r\n")).await;
        assert!(read_head(&mut client.0).await.starts_with("HTTP/1.1 200"));
        client.send("abc").await;
        // The upstream is sent all of the body before it ends its response.
        tokio::task::yield_now().await;
        upstream.write_late(&target).await;
        assert_eq!(client.rest().await, "5\r\nhello\r\n0\r\n\r\n");
    }
    for number in 0..6 {
        let mut other = Client::connect(&narthex).await;
        other.send(format!("POST /next-{number} HTTP/1.1\r\n{FIELDS}Content-Length: 1\r\n\r\na")).await;
        assert_eq!(other.response().await.unwrap().text(), format!("POST /next-{number} 1"));
    }
    assert!(upstream.heads().iter().all(|head| !head.starts_with("abc")), "{:?}", upstream.heads());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_to_go_on_is_told_so_once_it_may() {
    let upstream = RawUpstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", upstream.port, "path = \"/open\"\naccess = \"public\"")
        .route("app", upstream.port, "")
        .start();
    let request = |target: &str, version: &str, host: &str| {
        format!(
            "POST {target} HTTP/{version}\r\nHost: {host}.localhost\r\nX-Forwarded-Proto: https\r\n\
             Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
    };
    let mut client = Client::connect(&narthex).await;
    for _ in 0..2 {
        client.send(request("/open", "1.1", "app")).await;
        assert_eq!(read_head(&mut client.0).await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("hello").await;
        // The connection goes on.
        assert_eq!(client.response().await.unwrap().text(), "POST /open 5");
    }
    // A page of ours reads its body, too.
    let mut client = Client::connect(&narthex).await;
    client.send(request("/logout", "1.1", "auth")).await;
    assert_eq!(read_head(&mut client.0).await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("a=bcd").await;
    assert!(client.response().await.unwrap().status() < 500);
    // A body that nobody may send is not asked for.
    let mut client = Client::connect(&narthex).await;
    client.send(request("/", "1.1", "app")).await;
    assert!(read_head(&mut client.0).await.starts_with("HTTP/1.1 401 "));
    // RFC 9110, section 10.1.1: in an HTTP/1.0 request it must be ignored.
    let mut client = Client::connect(&narthex).await;
    client.send(request("/open", "1.0", "app") + "hello").await;
    let rest = client.rest().await;
    assert!(rest.contains(" 200 ") && !rest.contains("Continue"), "{rest}");
    assert!(
        upstream.heads().iter().all(|head| !head.to_lowercase().contains("expect")),
        "{:?}",
        upstream.heads()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_0_gets_neither_chunks_nor_informational_responses() {
    let upstream = RawUpstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    let chunked = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    upstream.set_response("/chunked", Scripted { leaves_body: false, ..scripted(chunked, "") });
    let unframed = "HTTP/1.1 200 OK\r\n\r\nhello world";
    upstream
        .set_response("/unframed", Scripted { leaves_body: false, closes: true, ..scripted(unframed, "") });
    for target in ["/chunked", "/unframed"] {
        for (method, more) in
            [("GET", "\r\n"), ("GET", "TE: trailers\r\n\r\n"), ("POST", "Content-Length: 1\r\n\r\na")]
        {
            let mut client = Client::connect(&narthex).await;
            client
                .send(format!("{method} {target} HTTP/1.0\r\n{FIELDS}Connection: keep-alive\r\n{more}"))
                .await;
            let rest = client.rest().await;
            let text = rest.to_lowercase();
            assert!(text.starts_with("http/1.1 200 ") && rest.ends_with("\r\n\r\nhello world"), "{rest}");
            assert!(!text.contains("transfer-encoding") && text.contains("connection: close\r\n"), "{rest}");
        }
    }
}

/// Resident memory of 400 connections with an unfinished head of 47 KB each, measured in the debug
/// binary: 330 MB were held when the HTTP parser read up to 1 MB of each; now it is 24 MB.
#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_head_holds_little_memory_and_a_large_one_is_refused() {
    const CONNECTIONS: usize = 400;
    let upstream = RawUpstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    let mut client = Client::connect(&narthex).await;
    client.send(format!("GET / HTTP/1.1\r\n{FIELDS}\r\n")).await;
    assert_eq!(client.response().await.unwrap().status(), 200);
    let before = narthex.peak_memory();
    let unfinished = format!("GET / HTTP/1.1\r\n{FIELDS}X: {}", "a".repeat(47 * 1024));
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Client(connect_from_proxy_address(&narthex, 7).await);
        client.send(&unfinished).await;
        clients.push(client);
    }
    // An answered client was read before.
    for client in &mut clients {
        client.send("\n").await;
    }
    let mut held = 0;
    for client in &mut clients {
        assert_eq!(client.response().await.unwrap().status(), 400);
        held = held.max(narthex.peak_memory().saturating_sub(before));
    }
    println!("400 unfinished heads: {} KB before, {} KB more at most", before / 1024, held / 1024);
    assert!(held < 64 << 20, "{held} bytes");
    // One that is too large is refused as soon as it is, whether it ends or not.
    for accept in ["", "Accept: text/html\r\n"] {
        let mut client = Client::connect(&narthex).await;
        client.send(format!("GET / HTTP/1.1\r\n{FIELDS}{accept}X: {}", "a".repeat(400 * 1024))).await;
        let response = client.response().await.unwrap();
        assert_eq!(response.status(), 431);
        assert_eq!(response.text().contains("<html"), !accept.is_empty(), "{response:?}");
        assert!(response.field("x-request-id").is_some());
        assert_eq!(client.rest().await, "");
    }
}

/// gRPC exists over HTTP/2 only: by HTTP/1.1 its words lift no deadline.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_by_http_1_1_has_the_deadlines_of_any_request() {
    let upstream = RawUpstream::start().await;
    upstream.set_response("/silent", Scripted { leaves_body: false, ..scripted("", "never") });
    let narthex =
        NarthexBuilder::new().route("app", upstream.port, "access = \"public\"\ntimeout = \"1s\"").start();
    for kind in ["application/grpc", "application/grpc+proto"] {
        let begun = Instant::now();
        let mut client = Client::connect(&narthex).await;
        let fields = format!("{FIELDS}Content-Type: {kind}\r\nContent-Length: 1\r\n");
        client.send(format!("POST /silent HTTP/1.1\r\n{fields}\r\na")).await;
        let response = client.response().await.expect("the time-out's response");
        assert_eq!(response.status(), 502);
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        // Nor is it a gRPC client that is answered.
        assert_eq!(response.field("grpc-status"), None);
    }
}

/// What such a response announces may come at any time, and would be taken for the response to the
/// next request.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_without_a_body_that_announces_one_ends_its_connection() {
    let upstream = RawUpstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    for (number, (more, kept)) in [
        ("Content-Length: 5\r\n", false),
        ("Transfer-Encoding: chunked\r\n", false),
        ("Content-Length: 0\r\n", true),
        ("", true),
    ]
    .into_iter()
    .enumerate()
    {
        for (way, fields) in ["", "TE: trailers\r\n"].into_iter().enumerate() {
            let target = format!("/bodiless-{number}-{way}");
            let response = format!("HTTP/1.1 204 No Content\r\n{more}\r\n");
            upstream.set_response(&target, scripted(&response, ""));
            let before = upstream.connections();
            let mut client = Client::connect(&narthex).await;
            client.send(format!("GET {target} HTTP/1.1\r\n{FIELDS}{fields}\r\n")).await;
            assert_eq!(client.response().await.unwrap().status(), 204);
            client.send(format!("GET /next HTTP/1.1\r\n{FIELDS}{fields}\r\n")).await;
            assert_eq!(client.response().await.unwrap().text(), "GET /next 0");
            // The first request may need one more, the second does only where the first one's was
            // given up.
            let more_connections = upstream.connections() - before;
            assert!(
                if kept { more_connections <= 1 } else { more_connections >= 1 },
                "{more:?}: {more_connections}"
            );
        }
    }
}
