//! WebSockets and event streams: what ends them, and what they outlive.

use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::OpenIdProvider;
use crate::support::process::wait_until;
use crate::support::streams::{
    cookie_header, echoes, open_socket, open_socket_at_host, open_socket_with_header, signed_in_visitor,
    start_stream_app,
};
use crate::support::tunnel::{
    connect_as_trusted_proxy, connect_tls, has_request, read_head, start_upstream, try_write,
};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status};
use futures_util::StreamExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long a stream may outlive its session: the feed and the watcher each look once a second.
const BOUND: Duration = Duration::from_secs(3);

async fn deployment(port: u16, more: &str) -> (Narthex, OpenIdProvider) {
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder.tables(more).tables(&provider.toml("\"anyone\"")).route("app", port, "").start();
    (narthex, provider)
}

async fn sign_out(narthex: &Narthex, visitor: &Visitor) {
    let url = format!("{}/.narthex/sign-out", narthex.origin("app"));
    let answer = visitor.client.post(url).header("sec-fetch-site", "same-origin").send().await.unwrap();
    assert_status(&answer, 200);
}

/// Waits until nothing more comes; answers how long that took.
async fn until_ended(mut ended: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    let wait = async { while !ended().await {} };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it ends");
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_ends_with_its_session_and_an_idle_one_lives() {
    let (narthex, _provider) = deployment(start_stream_app().await, "").await;
    let (alice, bob) = (signed_in_visitor(&narthex, "alice").await, signed_in_visitor(&narthex, "bob").await);
    let (mut hers, mut his) = (open_socket(&narthex, &alice).await, open_socket(&narthex, &bob).await);
    assert!(echoes(&mut hers, "one").await && echoes(&mut his, "one").await);
    assert!(narthex.admin("/metrics").contains("narthex_streams 2"));

    sign_out(&narthex, &alice).await;
    let took = until_ended(async || !matches!(hers.next().await, Some(Ok(_)))).await;
    assert!(took < BOUND, "{took:?}");
    assert_eq!(narthex.audit("stream_ended").len(), 1);
    assert!(echoes(&mut his, "two").await, "another person's socket lives");
    drop(his);
    wait_until("nothing to be watched", || narthex.admin("/metrics").contains("narthex_streams 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_ends_when_its_session_is_idle_and_lives_while_the_person_speaks() {
    let (narthex, _provider) =
        deployment(start_stream_app().await, "[session]\nidle = \"4s\"\nabsolute = \"1h\"").await;
    let visitor = signed_in_visitor(&narthex, "alice").await;
    let mut socket = open_socket(&narthex, &visitor).await;
    for _ in 0..7 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(echoes(&mut socket, "still here").await);
    }
    let took = until_ended(async || !matches!(socket.next().await, Some(Ok(_)))).await;
    assert!((Duration::from_secs(3)..Duration::from_secs(7)).contains(&took), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_is_not_gathered_and_ends_with_its_session() {
    let (narthex, _provider) = deployment(start_stream_app().await, "").await;
    let url = format!("{}/events", narthex.origin("app"));
    for http2 in [false, true] {
        let visitor =
            Visitor::with_client(&narthex, |builder| if http2 { builder } else { builder.http1_only() });
        assert_status(&visitor.sign_in(&format!("{}/", narthex.origin("app")), "alice").await, 200);
        let events = visitor.client.get(&url).header("accept", "text/event-stream").send();
        let mut events = events.await.unwrap();
        assert_eq!(events.version() == http::Version::HTTP_2, http2);
        let begun = Instant::now();
        for _ in 0..5 {
            assert!(events.chunk().await.unwrap().is_some());
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "events are forwarded as they arrive");
        sign_out(&narthex, &visitor).await;
        let took = until_ended(async || !matches!(events.chunk().await, Ok(Some(_)))).await;
        assert!(took < BOUND, "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_websocket_and_a_silent_event_stream_live_beyond_every_time_out() {
    // Both sides are silent for longer than an upstream of this route, or a client of any, may be.
    let port = start_upstream(|mut stream| async move {
        if !has_request(&stream).await {
            return;
        }
        let asked = read_head(&mut stream).await.to_lowercase();
        let silence = Duration::from_secs(if asked.contains(" /soon") { 5 } else { 66 });
        let beginning = match asked.contains("upgrade: websocket") {
            true => "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            false if asked.contains(" /soon") => {
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
            }
            false => "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\nConnection: close\r\n\r\n",
        };
        try_write(&mut stream, beginning).await;
        tokio::time::sleep(silence).await;
        try_write(&mut stream, "still here").await;
    })
    .await;
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"\ntimeout = \"3s\"").start();
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let lives = async |request: &str, headers: &str| {
        let mut stream = connect_tls(&narthex, "app", false).await;
        try_write(&mut stream, &format!("{request} HTTP/1.1\r\nHost: app.localhost\r\n{headers}\r\n")).await;
        read_head(&mut stream).await;
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
        String::from_utf8_lossy(&rest).contains("still here")
    };
    // A request without a body is sent on without pingora's proxy, the others by it.
    let post = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let posted = ["POST /long", "POST /soon"].map(|target| lives(target, post));
    let [posted, posted_soon] = posted;
    let (socket, announced, events, posted, soon, plain, by_proxy, posted_soon) = tokio::join!(
        lives("GET /long", websocket),
        lives("GET /long", "Accept: text/event-stream\r\n"),
        lives("GET /long", "Accept: application/json\r\n"),
        posted,
        lives("GET /soon", websocket),
        lives("GET /soon", "Accept: text/event-stream\r\n"),
        lives("GET /soon", "Accept: text/event-stream\r\nTE: trailers\r\n"),
        posted_soon,
    );
    assert!(socket && announced && events && posted && soon);
    assert!(
        !plain && !by_proxy && !posted_soon,
        "what is no stream has the route's timeout, whatever was announced"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_begin_is_given_up_in_the_routes_time() {
    let port = start_upstream(|mut stream| async move {
        if has_request(&stream).await {
            read_head(&mut stream).await;
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
    })
    .await;
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"\ntimeout = \"2s\"").start();
    for headers in ["Accept: text/event-stream\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n"] {
        let mut stream = connect_tls(&narthex, "app", false).await;
        try_write(&mut stream, &format!("GET / HTTP/1.1\r\nHost: app.localhost\r\n{headers}\r\n")).await;
        let took = until_ended(async || stream.read_u8().await.is_err()).await;
        assert!(took < Duration::from_secs(4), "{headers} {took:?}");
    }
    narthex.wait_for_log("was silent for longer than its route's timeout");
    // By pingora's proxy: the client learns why, and the request is not sent once more.
    let mut stream = connect_tls(&narthex, "app", false).await;
    try_write(&mut stream, "POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 2\r\n\r\n{}").await;
    let begun = Instant::now();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 502"));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_asks_for_a_stream_and_gets_none_has_the_deadline_of_its_route() {
    let port = start_upstream(|mut stream| async move {
        if !has_request(&stream).await {
            return;
        }
        if read_head(&mut stream).await.contains(" /begun ") {
            try_write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc").await;
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
    })
    .await;
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"\ntimeout = \"1s\"").start();
    let begun = Instant::now();
    let socket = async {
        let mut stream = connect_tls(&narthex, "app", false).await;
        let fields = "Host: app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket";
        try_write(&mut stream, &format!("GET /begun HTTP/1.1\r\n{fields}\r\n\r\n")).await;
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
        // Once a response has begun, a slow client looks like a silent upstream: the limit is a
        // minute.
        let ended = async { while stream.read_u8().await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(75), ended).await.expect("a stalled response ends");
    };
    // The call has ended its own part, or goes on with it.
    let visitor = Visitor::new(&narthex);
    let call = async |body: reqwest::Body| {
        let url = format!("{}/silent", narthex.origin("app"));
        let call = visitor.client.post(url).header("content-type", "application/grpc").body(body);
        // A client of gRPC gets the failure as a status of that.
        let refused = call.send().await.map(|response| response.headers().contains_key("grpc-status"));
        assert!(refused.unwrap_or(true));
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    };
    let endless = futures_util::stream::pending::<Result<&str, std::io::Error>>();
    tokio::join!(socket, call("".into()), call("abc".into()), call(reqwest::Body::wrap_stream(endless)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_with_a_length_comes_as_it_is_written_and_ends_with_its_session() {
    let port = start_upstream(|mut stream| async move {
        if !has_request(&stream).await {
            return;
        }
        let target = read_head(&mut stream).await;
        if target.starts_with("GET / ") {
            try_write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
                .await;
            return;
        }
        let kind = if target.contains(" /text ") { "text/plain" } else { "text/event-stream" };
        let fields = format!("Content-Type: {kind}\r\nContent-Length: 100000\r\n");
        try_write(&mut stream, &format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).await;
        try_write(&mut stream, "data: tick\n\n").await;
        // Longer than this test lasts.
        tokio::time::sleep(Duration::from_secs(30)).await;
    })
    .await;
    let (narthex, _provider) = deployment(port, "").await;
    for (method, path, http2) in [
        ("GET", "/events", false),
        ("POST", "/events", false),
        ("GET", "/events", true),
        ("GET", "/text", false),
        ("POST", "/text", false),
    ] {
        let visitor =
            Visitor::with_client(&narthex, |builder| if http2 { builder } else { builder.http1_only() });
        assert_status(&visitor.sign_in(&format!("{}/", narthex.origin("app")), "alice").await, 200);
        let url = format!("{}{path}", narthex.origin("app"));
        let body = if method == "POST" { "{}" } else { "" };
        let request = visitor.client.request(method.parse().unwrap(), url).body(body);
        let first = async {
            let mut events = request.send().await.unwrap();
            assert_eq!(events.chunk().await.unwrap().unwrap(), "data: tick\n\n");
            events
        };
        let first = tokio::time::timeout(Duration::from_secs(5), first).await;
        let mut events = first.unwrap_or_else(|_| panic!("{method} {path}: the first event is held back"));
        if path == "/events" {
            sign_out(&narthex, &visitor).await;
            let took = until_ended(async || !matches!(events.chunk().await, Ok(Some(_)))).await;
            assert!(took < BOUND, "{method} {http2} {took:?}");
        }
    }
}

/// A client that reads slowly is no upstream that is silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pauses_gets_all_of_a_large_response() {
    const LARGE: usize = 24 << 20;
    let port = start_upstream(|mut stream| async move {
        if !has_request(&stream).await {
            return;
        }
        read_head(&mut stream).await;
        drop(stream.read_exact(&mut [0; 2]).await);
        try_write(
            &mut stream,
            &format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\nConnection: close\r\n\r\n"),
        )
        .await;
        try_write(&mut stream, &"a".repeat(LARGE)).await;
    })
    .await;
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"\ntimeout = \"1s\"").start();
    let mut stream = connect_tls(&narthex, "app", false).await;
    try_write(&mut stream, "POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 2\r\n\r\n{}").await;
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
    // The pause is what is tested.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut body = vec![0; LARGE];
    stream.read_exact(&mut body).await.unwrap();
}

/// A body without a length ends with its connection: one that was ended for its silence must not
/// pass for a whole one.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_was_given_up_is_not_taken_for_a_whole_one() {
    let port = start_upstream(|mut stream| async move {
        if has_request(&stream).await {
            read_head(&mut stream).await;
            try_write(&mut stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf").await;
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
    })
    .await;
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"\ntimeout = \"1s\"").start();
    for request in ["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\nContent-Length: 2\r\n"] {
        let mut stream = connect_tls(&narthex, "app", false).await;
        let body = if request.starts_with("POST") { "{}" } else { "" };
        try_write(&mut stream, &format!("{request}Host: app.localhost\r\n\r\n{body}")).await;
        assert!(read_head(&mut stream).await.contains("chunked"));
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
        let rest = String::from_utf8_lossy(&rest);
        assert!(rest.contains("half") && !rest.ends_with("0\r\n\r\n"), "{rest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_body_that_comes_in_drops_does_not_outlive_its_session() {
    // It waits for all of the body before it says a word.
    let port = start_upstream(|mut stream| async move {
        if has_request(&stream).await && !read_head(&mut stream).await.starts_with("POST") {
            try_write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
                .await;
            return;
        }
        let mut body = vec![0; 60];
        drop(stream.read_exact(&mut body).await);
    })
    .await;
    let (narthex, _provider) = deployment(port, "").await;
    let visitor = signed_in_visitor(&narthex, "alice").await;
    let url = format!("{}/drops", narthex.origin("app"));
    let mut stream = connect_tls(&narthex, "app", false).await;
    let cookie = cookie_header(&visitor, &url);
    let request = format!(
        "POST /drops HTTP/1.1\r\nHost: app.localhost\r\nCookie: {cookie}\r\nContent-Length: 60\r\n\r\n"
    );
    assert!(try_write(&mut stream, &request).await);
    let (mut reading, mut writing) = tokio::io::split(stream);
    let mut drops = tokio::spawn(async move {
        for _ in 0..59 {
            if !try_write(&mut writing, "a").await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    sign_out(&narthex, &visitor).await;
    let mut rest = Vec::new();
    tokio::select! {
        _ = reading.read_to_end(&mut rest) => {}
        _ = &mut drops => {}
    }
    assert!(!drops.is_finished(), "all of it went through");
    assert_eq!(narthex.audit("stream_ended").len(), 1);
    drops.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_answer_that_comes_in_drops_does_not_outlive_its_session() {
    let port = start_upstream(|mut stream| async move {
        if !has_request(&stream).await {
            return;
        }
        if !read_head(&mut stream).await.starts_with("GET /drops") {
            try_write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
                .await;
            return;
        }
        try_write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n").await;
        while try_write(&mut stream, "a").await {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
    .await;
    let (narthex, _provider) = deployment(port, "").await;
    let visitor = signed_in_visitor(&narthex, "alice").await;
    let cookie = cookie_header(&visitor, &format!("{}/drops", narthex.origin("app")));
    let mut stream = connect_tls(&narthex, "app", false).await;
    let request = format!("GET /drops HTTP/1.1\r\nHost: app.localhost\r\nCookie: {cookie}\r\n\r\n");
    assert!(try_write(&mut stream, &request).await);
    sign_out(&narthex, &visitor).await;
    let begun = Instant::now();
    drop(stream.read_to_end(&mut Vec::new()).await);
    assert!(begun.elapsed() < Duration::from_secs(20), "all of it went through");
    assert_eq!(narthex.audit("stream_ended").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_socket_ends_once_its_route_is_closed_or_gone() {
    let port = start_stream_app().await;
    let restrict = |text: String| text.replacen("access = \"public\"", "access = \"signed-in\"", 1);
    let remove = |text: String| {
        let start = text.find("[[route]]\nname = \"gone\"").unwrap();
        let end = text[start + 1..].find("[[").map_or(text.len(), |length| start + 1 + length);
        text[..start].to_owned() + &text[end..]
    };
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let gone = format!(
        "[[route]]\nname = \"gone\"\nhost = \"gone.localhost\"\nupstream = \"http://127.0.0.1:{port}\"\n\
         access = \"public\"\n"
    );
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", port, "access = \"public\"")
        .tables(&gone)
        .start();
    let mut first = open_socket_with_header(&narthex, "x-nothing", "1").await;
    let mut second = open_socket_at_host(&narthex, "gone", "x-nothing", "1").await;
    assert!(echoes(&mut first, "one").await && echoes(&mut second, "one").await);
    narthex.edit(restrict);
    until_ended(async || !matches!(first.next().await, Some(Ok(_)))).await;
    assert!(echoes(&mut second, "two").await, "another route's socket lives");
    narthex.edit(remove);
    until_ended(async || !matches!(second.next().await, Some(Ok(_)))).await;
    let reasons: Vec<_> = narthex.audit("stream_ended").iter().map(|line| line["reason"].clone()).collect();
    assert_eq!(reasons, ["its route is not public any more", "its route is not in the file any more"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_101_and_the_frames_behind_it_all_arrive() {
    let port = start_upstream(|mut stream| async move {
        if has_request(&stream).await {
            read_head(&mut stream).await;
            // In one packet with the head: pingora once tore such a tunnel down.
            let answer =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst";
            try_write(&mut stream, answer).await;
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.unwrap();
            try_write(&mut stream, &format!("second {}", String::from_utf8_lossy(&word))).await;
        }
    })
    .await;
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"").start();
    let ask = "GET / HTTP/1.1\r\nHost: app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    // Whether it goes wrong is a matter of turns: a process that is often interrupted takes them in
    // every order.
    let renice = Command::new("renice").args(["-n", "19", "-p", &narthex.process_id().to_string()]).output();
    assert!(renice.unwrap().status.success());
    let _busy = Busy::threads(2);
    let tunnel = || async {
        let mut stream = connect_tls(&narthex, "app", false).await;
        try_write(&mut stream, ask).await;
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101"));
        let mut first = [0; 5];
        stream.read_exact(&mut first).await.expect("what came with the head");
        assert!(try_write(&mut stream, "word").await);
        let mut rest = String::new();
        drop(stream.read_to_string(&mut rest).await);
        assert_eq!((&first, rest.as_str()), (b"first", "second word"));
    };
    for _ in 0..5 {
        futures_util::future::join_all((0..300).map(|_| tunnel())).await;
    }
}

/// Threads that leave others little of the processor, as long as this lives.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn threads(count: usize) -> Self {
        let busy = Self(Arc::new(AtomicBool::new(true)));
        for _ in 0..count {
            let on = busy.0.clone();
            std::thread::spawn(move || while on.load(Ordering::Relaxed) {});
        }
        busy
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_a_request_to_upgrade_is_no_request_of_its_own() {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    let hidden = "GET /hidden HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\n\r\n";
    for upgrade in ["websocket", "h2c", "anything"] {
        let mut stream = connect_as_trusted_proxy(&narthex).await;
        let ask = format!(
            "GET /open HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\n\
             Connection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n{hidden}"
        );
        assert!(try_write(&mut stream, &ask).await);
        let mut answer = vec![0; 64 * 1024];
        drop(tokio::time::timeout(Duration::from_secs(2), stream.read(&mut answer)).await);
    }
    let targets: Vec<String> = upstream.seen().into_iter().map(|seen| seen.target).collect();
    assert!(!targets.is_empty() && targets.iter().all(|target| target == "/open"), "{targets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_waits_for_100_continue_and_its_trailers_do_no_harm() {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    let mut stream = connect_tls(&narthex, "app", false).await;
    let ask = "POST / HTTP/1.1\r\nHost: app.localhost\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    assert!(try_write(&mut stream, ask).await);
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 100"));
    assert!(try_write(&mut stream, "5\r\nhello\r\n0\r\nX-Amzn-Oidc-Data: forged\r\n\r\n").await);
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
    let seen = upstream.seen();
    assert_eq!(seen[0].body, "hello");
    assert!(seen[0].header_values("x-amzn-oidc-data").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_to_its_end_is_given_up() {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    // A first head, and one on a connection that has carried a request: it may have been idle
    // before.
    let trickle = async |requests: usize| {
        let mut stream = connect_tls(&narthex, "app", false).await;
        for _ in 0..requests {
            assert!(try_write(&mut stream, "GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n").await);
            assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
        }
        assert!(try_write(&mut stream, "GET / HTTP/1.1\r\nHost: app.localhost\r\n").await);
        let begun = Instant::now();
        let (mut reading, mut writing) = tokio::io::split(stream);
        let more = async {
            while try_write(&mut writing, "X-Slow: 1\r\n").await {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let mut rest = Vec::new();
        tokio::select! {
            _ = reading.read_to_end(&mut rest) => {}
            () = more => {}
            () = tokio::time::sleep(Duration::from_secs(120)) => {}
        }
        begun.elapsed().as_secs()
    };
    let (first, later) = tokio::join!(trickle(0), trickle(1));
    assert!((10..20).contains(&first), "{first} s");
    assert!((70..85).contains(&later), "{later} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_given_up() {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    // Without a word, and with the beginning of HTTP/2 but no request.
    for (http2, words) in
        [(false, ""), (true, ""), (true, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")]
    {
        let mut stream = connect_tls(&narthex, "app", http2).await;
        assert!(try_write(&mut stream, words).await);
        let begun = Instant::now();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "over HTTP/2: {http2}, {words:?}");
        assert!((10..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }
}

const CHUNK: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn four_gibibytes_pass_each_way_while_memory_stays_flat() {
    pass_each_way(4 << 10, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_passes_each_way_over_http2_while_memory_stays_flat() {
    pass_each_way(1 << 10, true).await;
}

/// Downloads and uploads this many chunks of a mebibyte.
async fn pass_each_way(chunks: usize, http2: bool) {
    let port = start_upstream(move |mut stream| async move {
        if !has_request(&stream).await {
            return;
        }
        let asked = read_head(&mut stream).await;
        let mut chunk = vec![7; CHUNK];
        if asked.starts_with("POST") {
            let mut count = 0;
            while count < CHUNK * chunks {
                count += stream.read(&mut chunk).await.unwrap();
            }
            try_write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
                .await;
            return;
        }
        try_write(&mut stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", CHUNK * chunks))
            .await;
        for _ in 0..chunks {
            stream.write_all(&chunk).await.unwrap();
        }
    })
    .await;
    let narthex = NarthexBuilder::new().route("app", port, "access = \"public\"").start();
    let url = format!("{}/file", narthex.origin("app"));
    let visitor = Visitor::with_client(&narthex, |builder| {
        let builder = builder.timeout(Duration::from_secs(300));
        if http2 { builder } else { builder.http1_only() }
    });
    drop(visitor.get(&url).await);
    let before = narthex.peak_memory();
    let mut answer = visitor.get(&url).await;
    let mut count = 0;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        count += chunk.len();
    }
    assert_eq!(count, CHUNK * chunks);

    let part = bytes::Bytes::from(vec![7; CHUNK]);
    let parts = futures_util::stream::iter((0..chunks).map(move |_| Ok::<_, std::io::Error>(part.clone())));
    let upload = visitor.client.post(&url).header("content-length", CHUNK * chunks);
    assert_status(&upload.body(reqwest::Body::wrap_stream(parts)).send().await.unwrap(), 200);
    let grown = narthex.peak_memory().saturating_sub(before);
    assert!(grown < 16 << 20, "memory grew by {grown} bytes over HTTP/2: {http2}");
}
