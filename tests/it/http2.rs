//! HTTP/2 on either side: bodies whose frames end in other ways than HTTP/1.1's, and clients that
//! do not read.

use crate::support::narthex::NarthexBuilder;
use crate::support::raw::RawUpstream;
use crate::support::visitor::{Visitor, assert_status};
use bytes::Bytes;
use http::{Method, Response};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

const CHUNK: usize = 64 * 1024;

/// An app that speaks HTTP/2 without TLS: below `/large` a body without end, elsewhere a word.
/// Beside its port, how many bytes of bodies it has made.
async fn h2c_app() -> (u16, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let count = count.clone();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let chunks = if request.uri().path().starts_with("/large") { usize::MAX } else { 1 };
                let size = if chunks == 1 { 4 } else { CHUNK };
                let count = count.clone();
                let frame = move |_| {
                    count.fetch_add(size, Ordering::Relaxed);
                    Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; size])))
                };
                let frames = futures_util::stream::iter((0..chunks).map(frame));
                let response = Response::builder().header("content-type", "text/plain");
                std::future::ready(response.body(UnsyncBoxBody::new(StreamBody::new(frames))))
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    (port, made)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_by_http2_ends_once_for_an_upstream_by_http1() {
    let upstream = RawUpstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    let visitor = Visitor::new(&narthex);
    let shapes: [&[&'static str]; 6] =
        [&[], &[""], &["abc"], &["abc", ""], &["", "abc"], &["a", "", "bc", ""]];
    for (number, (method, shape)) in [Method::POST, Method::PUT, Method::GET, Method::DELETE]
        .into_iter()
        .flat_map(|method| shapes.map(|shape| (method.clone(), shape)))
        .enumerate()
    {
        // Without a length, the last frame that ends the stream is an empty one.
        let pieces = futures_util::stream::iter(shape.iter().map(|piece| Ok::<_, Infallible>(*piece)));
        let target = format!("{}/upload-{number}", narthex.origin("app"));
        let upload = visitor.client.request(method.clone(), &target).body(reqwest::Body::wrap_stream(pieces));
        let answer = upload.send().await.unwrap();
        assert_eq!(answer.version(), http::Version::HTTP_2);
        assert_status(&answer, 200);
        let body: usize = shape.iter().map(|piece| piece.len()).sum();
        assert_eq!(answer.text().await.unwrap(), format!("{method} /upload-{number} {body}"), "{shape:?}");
        // The next request on the upstream's connection.
        let next = visitor.get(&format!("{}/next-{number}", narthex.origin("app"))).await;
        assert_status(&next, 200);
        assert_eq!(next.text().await.unwrap(), format!("GET /next-{number} 0"), "{method} {shape:?}");
    }
    let odd = |head: &String| !head.lines().next().unwrap().ends_with(" HTTP/1.1");
    assert_eq!(upstream.heads().into_iter().filter(odd).collect::<Vec<_>>(), [""; 0]);
    assert!(upstream.connections() <= 2, "the connections of both forwarding paths stay in use");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_leaves_an_http2_upstream_to_the_others() {
    let (port, made) = h2c_app().await;
    let narthex = NarthexBuilder::new()
        .tables(&format!(
            "[[route]]\nhost = \"app.localhost\"\nupstream = \"h2c://127.0.0.1:{port}\"\naccess = \"public\"\n"
        ))
        .start();
    let idle = Visitor::with_client(&narthex, |builder| builder.http2_initial_stream_window_size(1000));
    let mut unread = Vec::new();
    for number in 0..12 {
        let answer = idle.get(&format!("{}/large/{number}", narthex.origin("app"))).await;
        assert_eq!(answer.version(), http::Version::HTTP_2);
        unread.push(answer);
    }
    // Until the app waits for them.
    let mut before = 0;
    while before < made.load(Ordering::Relaxed) {
        before = made.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let visitor = Visitor::new(&narthex);
    for number in 0..10 {
        let url = format!("{}/small/{number}", narthex.origin("app"));
        let answer = visitor.get(&url);
        let answer =
            tokio::time::timeout(Duration::from_secs(3), answer).await.expect("the others are answered");
        assert_eq!(answer.text().await.unwrap(), "xxxx");
    }
    let megabytes = narthex.peak_memory() >> 20;
    assert!(megabytes < 150, "{megabytes} MB for {} responses that nobody reads", unread.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn values_with_white_space_around_them_are_refused_by_http2() {
    let upstream = RawUpstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    let visitor = Visitor::new(&narthex);
    let url = format!("{}/", narthex.origin("app"));
    for (value, status) in [
        ("Bearer abc", 200),
        (" Bearer abc", 400),
        ("\tBearer abc", 400),
        ("x ", 400),
        ("x\t", 400),
        ("", 200),
    ] {
        for name in ["authorization", "x-any"] {
            let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            assert_status(&visitor.client.get(&url).header(name, value).send().await.unwrap(), status);
        }
    }
}

/// An app that speaks HTTP/2 without TLS: below `/never` it does not answer, elsewhere with a body
/// of the type that the path names, whose second piece comes late.
async fn late_app() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: http::Request<Incoming>| async move {
                let kind = request.uri().path().trim_start_matches('/').to_owned();
                if kind == "never" {
                    std::future::pending::<()>().await;
                }
                let late = futures_util::stream::once(async {
                    tokio::time::sleep(Duration::from_secs(66)).await;
                    Ok::<_, Infallible>(Frame::data(Bytes::from("late")))
                });
                let soon = futures_util::stream::iter([Ok(Frame::data(Bytes::from("soon")))]);
                let body = StreamBody::new(futures_util::StreamExt::chain(soon, late));
                Response::builder().header("content-type", kind).body(UnsyncBoxBody::new(body))
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_call_has_no_deadline_once_it_is_answered_and_the_one_of_its_route_before() {
    let port = late_app().await;
    let upstream = format!("host = \"app.localhost\"\nupstream = \"h2c://127.0.0.1:{port}\"");
    let narthex = NarthexBuilder::new()
        .tables(&format!("[[route]]\n{upstream}\naccess = \"public\"\ntimeout = \"2s\"\n"))
        .start();
    let visitor = Visitor::new(&narthex);
    let call = async |path: &str| {
        let url = format!("{}/{path}", narthex.origin("app"));
        let call = visitor
            .client
            .post(url)
            .header("content-type", "application/grpc")
            .timeout(Duration::from_secs(90))
            .body("x");
        call.send().await?.text().await
    };
    let unanswered = tokio::time::timeout(Duration::from_secs(20), call("never"));
    let (unanswered, grpc, encoded, plain) = tokio::join!(
        unanswered,
        call("application/grpc"),
        call("application/grpc+proto"),
        call("application/json")
    );
    assert!(unanswered.expect("the deadline of the route").is_err());
    assert_eq!([grpc.unwrap(), encoded.unwrap()], ["soonlate", "soonlate"]);
    assert!(plain.is_err(), "a response of another type is no stream");
}
