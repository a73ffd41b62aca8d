//! Desynchronisation: raw messages that two parsers read differently, from clients and from
//! upstreams, by both forwarding paths. After each, a second client uses the kept connections: it
//! must get its own responses, and the upstream must see no request that nobody was permitted to
//! send.

use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::raw::{Client, Kind, RawUpstream, Scripted};
use futures_util::StreamExt as _;
use std::sync::Arc;

/// How many probes run at once.
const CONCURRENCY: usize = 16;
/// The two forwarding paths: with such a field a request is left to pingora's proxy.
const PATHS: [(&str, &str); 2] = [("direct", ""), ("proxy", "TE: trailers\r\n")];

/// What a probe is for the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// One request, which is answered; what follows it is another one, or is not looked at.
    Answered,
    /// Refused with this status, before the upstream hears of it.
    Refused(u16),
    /// Refused in the middle of its body, so that the upstream may have seen the request, but not
    /// its end.
    Broken,
}
use Verdict::{Answered, Broken, Refused};

/// `{f}` are a host and what else a request needs, `{n}` is the probe's number, `{h}` a hidden
/// request, and `{l}` its length.
const CLIENT_PROBES: &[(Verdict, &str)] = &[
    // Content-Length and Transfer-Encoding.
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}",
    ),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{h}",
    ),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: {l}\r\nTransfer-Encoding: identity\r\n\r\n{h}",
    ),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 0\r\nContent-Length: {l}\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: {l}\r\nContent-Length: {l}\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: {l}, {l}\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: {l}, 0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 0,\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: ,0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length:\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: +0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: -0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 0x0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 0.0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 0 0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: \"0\"\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 0_0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 18446744073709551616\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 0;{l}\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length : 0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length\t: 0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 0\x0b\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 0\0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 0\r\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}\0Content-Length: {l}\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}(Content-Length): {l}\r\n\r\n{h}"),
    (Answered, "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 00\r\n\r\n{h}"),
    (Answered, "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: {l}\r\n\r\n{h}"),
    (Answered, "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: 0{l}\r\n\r\n{h}"),
    (Answered, "POST /probe-{n} HTTP/1.1\r\n{f}Content-Length: \t {l} \t\r\n\r\n{h}"),
    (Answered, "POST /probe-{n} HTTP/1.1\r\n{f}Content_Length: {l}\r\n\r\n{h}"),
    (Answered, "GET /probe-{n} HTTP/1.1\r\n{f}Content-Length: {l}\r\n\r\n{h}"),
    (Answered, "DELETE /probe-{n} HTTP/1.1\r\n{f}Content-Length: {l}\r\n\r\n{h}"),
    (Answered, "HEAD /probe-{n} HTTP/1.1\r\n{f}Content-Length: {l}\r\n\r\n{h}"),
    (Answered, "OPTIONS /probe-{n} HTTP/1.1\r\n{f}Content-Length: {l}\r\n\r\n{h}"),
    // Transfer-Encoding.
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n{h}"),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}",
    ),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n{h}",
    ),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: 'chunked'\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding:\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: \x0cchunked\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f} Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}X: y\r\n\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.0\r\n{f}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}"),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.0\r\n{f}Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}",
    ),
    (Answered, "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n{h}"),
    (Answered, "POST /probe-{n} HTTP/1.1\r\n{f}tRANSFER-eNCODING:chunked\r\n\r\n0\r\n\r\n{h}"),
    (Answered, "POST /probe-{n} HTTP/1.1\r\n{f}Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n{h}"),
    (Answered, "GET /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n{h}"),
    // Chunks.
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n\r\n\r\n{h}"),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n\r\n\r\n{h}",
    ),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n;x\r\n\r\n{h}"),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n{h}",
    ),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3;\nabc\r\n0\r\n\r\n{h}",
    ),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n0;a\n\r\n\r\n{h}"),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3;a\rb\r\nabc\r\n0\r\n\r\n{h}",
    ),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\rabc\r\n0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n{h}"),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n{h}",
    ),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n{h}"),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n{h}",
    ),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n{h}",
    ),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n{h}",
    ),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n{h}",
    ),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n{h}",
    ),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3_\r\nabc\r\n0\r\n\r\n{h}",
    ),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3g\r\nabc\r\n0\r\n\r\n{h}",
    ),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\0\r\nabc\r\n0\r\n\r\n{h}",
    ),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n{h}",
    ),
    (
        Refused(400),
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc\r\n0\r\n\r\n{h}",
    ),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n0\r\n\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n0\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n0\r\n X: y\r\n\r\n{h}"),
    (Refused(400), "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n0\r\nX: \0\r\n\r\n{h}"),
    (
        Broken,
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n{wait}\r\n\r\n{h}",
    ),
    (
        Broken,
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n{wait}3;a\nb\r\nabc\r\n0\r\n\r\n{h}",
    ),
    (
        Broken,
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\r\nabc{wait}d\r\n0\r\n\r\n{h}",
    ),
    (
        Answered,
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n03;a=b\r\nabc\r\n0;z\r\nX: y\r\n\r\n{h}",
    ),
    (
        Answered,
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n000\r\nContent-Length: {l}\r\n\r\n{h}",
    ),
    (
        Answered,
        "POST /probe-{n} HTTP/1.1\r\n{f}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n{wait}0\r\n\r\n{h}",
    ),
    // Lines and the request line.
    (Refused(400), "GET /probe-{n} HTTP/1.1\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/1.1\r\n{f}\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/1.1\r\n{f}X: y\n\r\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/1.1\r\n{f}X: y\r\r\n\r\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/1.1\r\n{f}X y\r\n\r\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/1.1\r\n{f}: y\r\n\r\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/1.1\r\n{f}X: y\r\n z\r\n\r\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/1.1\r\n X: y\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n} /x HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/1.1 HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "GET  /probe-{n} HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "GET\t/probe-{n} HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n}\tHTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n}\rx HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n}\x01 HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n}\x7f HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n}\0 HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), " GET /probe-{n} HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n}\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/0.9\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/1.2\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/2.0\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/1.10\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n} xHTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "G(T /probe-{n} HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "\nGET /probe-{n} HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{h}"),
    (
        Refused(405),
        "CONNECT app.localhost:443 HTTP/1.1\r\nHost: app.localhost:443\r\nX-Forwarded-Proto: https\r\n\r\n{h}",
    ),
    (Answered, "\r\nGET /probe-{n} HTTP/1.1\r\n{f}\r\n{h}"),
    (Answered, "\r\n\r\nGET /probe-{n} HTTP/1.1\r\n{f}\r\n{h}"),
    (Answered, "GET /probe-{n} HTTP/1.1\r\n{f}\r\n{h}"),
    (Answered, "GET /probe-{n} HTTP/1.1\r\n{f}\r\n\r\n{h}"),
    (Answered, "GET /probe-{n} HTTP/1.0\r\n{f}\r\n{h}"),
    (Answered, "GET /probe-{n} HTTP/1.0\r\n{f}Connection: keep-alive\r\n\r\n{h}"),
    // Hosts and targets.
    (Refused(400), "GET /probe-{n} HTTP/1.1\r\n{f}Host: app.localhost\r\n\r\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/1.1\r\n{f}Host: other.localhost\r\n\r\n{h}"),
    (Refused(400), "GET /probe-{n} HTTP/1.1\r\nX-Forwarded-Proto: https\r\n\r\n{h}"),
    (Refused(400), "GET http://other.localhost/probe-{n} HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "GET http://user@app.localhost/probe-{n} HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "GET probe-{n} HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "GET * HTTP/1.1\r\n{f}\r\n{h}"),
    (Refused(400), "GET /probe-{n}#x HTTP/1.1\r\n{f}\r\n{h}"),
    // Expectations and upgrades.
    (Refused(417), "POST /probe-{n} HTTP/1.1\r\n{f}Expect: 200-ok\r\nContent-Length: {l}\r\n\r\n{h}"),
    (
        Refused(417),
        "POST /probe-{n} HTTP/1.1\r\n{f}Expect: 100-continue, x\r\nContent-Length: {l}\r\n\r\n{h}",
    ),
    (Refused(417), "POST /probe-{n} HTTP/1.1\r\n{f}Expect:\r\nContent-Length: {l}\r\n\r\n{h}"),
    (
        Refused(417),
        "POST /probe-{n} HTTP/1.1\r\n{f}Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: {l}\r\n\r\n{h}",
    ),
    (Answered, "POST /probe-{n} HTTP/1.1\r\n{f}Expect: 100-Continue\r\nContent-Length: {l}\r\n\r\n{h}"),
    (Answered, "GET /probe-{n} HTTP/1.1\r\n{f}Expect: 100-continue\r\n\r\n{h}"),
    (Answered, "POST /probe-{n} HTTP/1.0\r\n{f}Expect: x\r\nContent-Length: {l}\r\n\r\n{h}"),
    (Answered, "GET /probe-{n} HTTP/1.1\r\n{f}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n{h}"),
    (Answered, "GET /probe-{n} HTTP/1.1\r\n{f}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n{h}"),
    (
        Answered,
        "POST /probe-{n} HTTP/1.1\r\n{f}Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: {l}\r\n\r\n{h}",
    ),
    (Answered, "POST /probe-{n} HTTP/1.1\r\n{f}Connection: Content-Length\r\nContent-Length: {l}\r\n\r\n{h}"),
    (
        Answered,
        "POST /probe-{n} HTTP/1.1\r\n{f}Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{h}",
    ),
    (
        Answered,
        "POST /probe-{n} HTTP/1.1\r\n{f}Content-Type: application/grpc\r\nContent-Length: {l}\r\n\r\n{h}",
    ),
];

async fn start() -> (Arc<Narthex>, RawUpstream) {
    let upstream = RawUpstream::start().await;
    let narthex = NarthexBuilder::new().route("app", upstream.port, "access = \"public\"").start();
    (Arc::new(narthex), upstream)
}

fn fields(more: &str) -> String {
    format!("Host: app.localhost\r\nX-Forwarded-Proto: https\r\n{more}")
}

/// Another client uses whatever connections were kept, by both ways, twice each: it must get its
/// own responses.
async fn second_client(narthex: &Narthex, number: usize, probe: &str) {
    let mut client = Client::connect(narthex).await;
    for turn in 0..2 {
        for (way, more) in PATHS {
            let target = format!("/second-{number}-{turn}-{way}");
            for (method, body) in [("GET", ""), ("POST", "hello")] {
                let length = if body.is_empty() {
                    String::new()
                } else {
                    format!("Content-Length: {}\r\n", body.len())
                };
                client
                    .send(format!("{method} {target} HTTP/1.1\r\n{}{length}\r\n{body}", fields(more)))
                    .await;
                let response =
                    client.response().await.unwrap_or_else(|| panic!("{probe:?}: {method} {target}: none"));
                let expected = (200, format!("{method} {target} {}", body.len()));
                assert_eq!((response.status(), response.text()), expected, "{probe:?}");
            }
        }
    }
}

/// Sends a probe, in two parts where it says so: the second once the upstream has seen the request.
async fn send(client: &mut Client, upstream: &RawUpstream, probe: &str, number: usize) {
    for (at, part) in probe.split("{wait}").enumerate() {
        if at > 0 {
            upstream.wait_for(&format!("/probe-{number}")).await;
        }
        client.send(part).await;
    }
}

/// Runs probes, so many at once, and says of each that fails why.
async fn run(probes: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>, at_once: usize) {
    let failed = futures_util::stream::iter(probes)
        .map(tokio::spawn)
        .buffer_unordered(at_once)
        .filter(|outcome| std::future::ready(outcome.is_err()))
        .count();
    assert_eq!(failed.await, 0, "probes that failed");
}

async fn client_probe(
    narthex: Arc<Narthex>,
    upstream: RawUpstream,
    number: usize,
    (verdict, template): (Verdict, &str),
    more: &str,
) {
    let hidden = format!("GET /hidden-{number} HTTP/1.1\r\n{}\r\n", fields(""));
    let probe = template
        .replace("{f}", &fields(more))
        .replace("{n}", &number.to_string())
        .replace("{l}", &hidden.len().to_string())
        .replace("{h}", &hidden);
    let mut client = Client::connect(&narthex).await;
    send(&mut client, &upstream, &probe, number).await;
    let kind = if probe.starts_with("HEAD") { Kind::ResponseToHead } else { Kind::Response };
    let response = client.response_of(kind).await;
    if let Some(response) = &response {
        assert!(response.field("x-request-id").is_some(), "{probe:?}: {response:?}");
    }
    let status = response.as_ref().map_or(0, |response| response.status());
    match verdict {
        Answered => {
            assert_eq!(status, 200, "{probe:?}: {response:?}");
            let text = response.unwrap().text();
            assert!(text.is_empty() || text.contains(&format!(" /probe-{number} ")), "{probe:?}: {text}");
            // What follows is a request of this client's, or is not looked at.
            let after = format!("/after-{number}");
            client.send(format!("GET {after} HTTP/1.1\r\n{}Connection: close\r\n\r\n", fields(""))).await;
            let rest = client.rest().await;
            assert!(rest.matches("HTTP/1.1 ").count() <= 1, "{probe:?}: {rest}");
            assert!(rest.is_empty() || rest.contains(&after) || rest.contains(" 400 "), "{probe:?}: {rest}");
        }
        Refused(expected) => {
            assert_eq!(status, expected, "{probe:?}: {response:?}");
            let response = response.unwrap();
            for name in ["x-content-type-options", "content-security-policy"] {
                assert!(response.field(name).is_some(), "{probe:?}: {response:?}");
            }
            assert_eq!(client.rest().await, "", "{probe:?}");
            assert_eq!(upstream.count(&format!("/probe-{number} ")), 0, "{probe:?}");
        }
        Broken => {
            assert!(matches!(status, 0 | 400), "{probe:?}: {response:?}");
            assert_eq!(client.rest().await, "", "{probe:?}");
        }
    }
    second_client(&narthex, number, &probe).await;
    assert_eq!(upstream.count(&format!("/hidden-{number}")), 0, "{probe:?}");
    assert!(upstream.count(&format!("/probe-{number} ")) <= 1, "{probe:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_of_a_client_hides_another_one() {
    const { assert!(CLIENT_PROBES.len() >= 100) };
    let (narthex, upstream) = start().await;
    let probes = PATHS.iter().flat_map(|(_, more)| CLIENT_PROBES.iter().map(move |probe| (*probe, *more)));
    let probes = probes
        .enumerate()
        .map(|(number, (probe, more))| client_probe(narthex.clone(), upstream.clone(), number, probe, more));
    run(probes, CONCURRENCY).await;
    // Whatever was parsed of all that: only what the clients of this test meant.
    let meant = [" /probe-", " /second-", " /after-"];
    let odd = |head: &String| !meant.iter().any(|target| head.lines().next().unwrap().contains(target));
    assert_eq!(upstream.heads().into_iter().filter(odd).collect::<Vec<_>>(), [""; 0]);
}

/// What becomes of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is handed on with this status and body.
    Passed(u16, &'static str),
    /// It is refused: 502.
    Bad,
    /// It is cut, or handed on up to somewhere: how far is chance.
    Cut,
}
use Fate::{Bad, Cut, Passed};

/// `{e}` is another response, which nobody asked for. What follows `{wait}` is sent once the client
/// has the response.
const UPSTREAM_PROBES: &[(Fate, &str)] = &[
    // More than there should be.
    (Passed(200, "hello"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{e}"),
    (Passed(200, "hello"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{wait}{e}"),
    (Passed(200, ""), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{e}"),
    (Passed(200, ""), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{wait}{e}"),
    (Passed(200, "hello"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{e}"),
    (
        Passed(200, "hello"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{wait}{e}",
    ),
    (
        Passed(200, "hello"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n{e}",
    ),
    (
        Passed(200, "hello"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\r\n{e}",
    ),
    (Passed(200, "hello"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\r\n"),
    (Passed(200, "hello"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{wait}\r\n"),
    (Passed(204, ""), "HTTP/1.1 204 No Content\r\n\r\n{e}"),
    (Passed(204, ""), "HTTP/1.1 204 No Content\r\n\r\n{wait}{e}"),
    (Passed(204, ""), "HTTP/1.1 204 No Content\r\nContent-Length: 76\r\n\r\n{e}"),
    (Passed(204, ""), "HTTP/1.1 204 No Content\r\nContent-Length: 76\r\n\r\n{wait}{e}"),
    (Passed(204, ""), "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{e}"),
    (Passed(204, ""), "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n{wait}0\r\n\r\n{e}"),
    (Passed(304, ""), "HTTP/1.1 304 Not Modified\r\n\r\n{e}"),
    (Passed(304, ""), "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello{e}"),
    (Passed(304, ""), "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n{wait}hello{e}"),
    (Passed(304, ""), "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{e}"),
    // Content-Length.
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: 5,5\r\n\r\nhello"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: 5, 0\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: 5,\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: ,5\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\ncontent-length: 5\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: 5.0\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: 5 5\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: \"5\"\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: 5;\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 204 No Content\r\nContent-Length: 5, 5\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 304 Not Modified\r\nContent-Length: a\r\n\r\nhello{e}"),
    (Passed(200, "hello"), "HTTP/1.1 200 OK\r\nContent-Length: 05\r\n\r\nhello{e}"),
    (Passed(200, "hello"), "HTTP/1.1 200 OK\r\ncontent-length:\t5 \r\n\r\nhello{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nhello{close}"),
    (Cut, "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nhello{e}{close}"),
    // Transfer-Encoding.
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\nContent-Length: 5\r\n\r\nhello{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n{e}"),
    (Bad, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{e}"),
    (Bad, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{e}"),
    (Passed(200, "hello"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n{e}"),
    (
        Passed(200, "hello"),
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{e}",
    ),
    (
        Passed(200, "hello"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n5\r\nhello\r\n0\r\n\r\n{e}",
    ),
    // Chunks.
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n;x\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello\r\n0\r\n\r\n{e}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\n{e}{close}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\n\r\n{e}{close}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{e}{close}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n{close}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe{close}"),
    (Cut, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{close}"),
    (
        Passed(200, "hello"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n05;a=b\r\nhello\r\n000;c\r\n\r\n{e}",
    ),
    // Heads.
    (Bad, "HTTP/1.1 200 OK\r\nSet-Cookie: a=secret\r\nX y\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 200 OK\r\n: y\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nX\0: y\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 20 OK\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 2000 OK\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 099 OK\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 abc OK\r\n\r\n{e}"),
    (Bad, "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n{e}"),
    (Bad, "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n{e}"),
    (Bad, "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{e}"),
    (Bad, "ICY 200 OK\r\nContent-Length: 0\r\n\r\n{e}"),
    (Bad, " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{e}"),
    (Bad, "hello{close}"),
    (Bad, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{close}"),
    (Bad, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n{e}"),
    (Bad, "HTTP/1.1 103 Early Hints\r\n\r\nhello{close}"),
    (Bad, "HTTP/1.1 103 Early Hints\r\n\r\n{close}"),
    (
        Passed(200, "hello"),
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{e}",
    ),
    (
        Passed(200, "hello"),
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{wait}{e}",
    ),
    (
        Passed(200, "hello"),
        "HTTP/1.1 103 Early Hints\r\nContent-Length: 76\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{e}",
    ),
    (
        Passed(200, "hello"),
        "HTTP/1.1 200 OK\r\nX: y\r\n Content-Length: 76\r\nContent-Length: 5\r\n\r\nhello{e}",
    ),
    (
        Passed(200, "hello"),
        "HTTP/1.1 200 OK\r\nX: y\r\n\tTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello{e}",
    ),
    (Passed(200, "hello"), "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello{e}"),
    (Passed(200, "hello"), "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello{e}"),
    (Passed(200, "hello"), "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello{e}"),
    (Passed(200, "hello"), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello{e}"),
    (
        Passed(200, "hello"),
        "HTTP/1.1 200 OK\r\nConnection: close, keep-alive\r\nContent-Length: 5\r\n\r\nhello{wait}{e}",
    ),
    (Passed(200, "hello"), "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello{wait}{e}"),
    (
        Passed(200, "hello"),
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello{wait}{e}",
    ),
    (Passed(200, "hello"), "HTTP/1.1 200 OK\r\n\r\nhello{close}"),
    (Passed(200, "hello"), "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhello{close}"),
];

async fn upstream_probe(
    narthex: Arc<Narthex>,
    upstream: RawUpstream,
    number: usize,
    (fate, template): (Fate, &str),
    (method, more): (&str, &str),
) {
    let target = format!("/probe-{number}");
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Evil: evil\r\n\r\nevil";
    let probe = template.replace("{e}", evil);
    let (probe, closes) = match probe.strip_suffix("{close}") {
        Some(probe) => (probe.to_owned(), true),
        None => (probe, false),
    };
    let (response, late) = probe.split_once("{wait}").unwrap_or((&probe, ""));
    upstream.set_response(
        &target,
        Scripted { response: response.into(), late: late.into(), closes, leaves_body: false },
    );
    let mut client = Client::connect(&narthex).await;
    client.send(format!("{method} {target} HTTP/1.1\r\n{}{more}", fields(""))).await;
    let response = client.response().await;
    let status = response.as_ref().map_or(0, |response| response.status());
    match fate {
        Passed(expected, body) => {
            let response = response.unwrap_or_else(|| panic!("{probe:?}: nothing"));
            assert_eq!((status, &*response.text()), (expected, body), "{probe:?}");
            assert!(response.complete, "{probe:?}");
        }
        Bad => assert_eq!(status, 502, "{probe:?}: {response:?}"),
        Cut => {
            let text = response.map(|response| response.text()).unwrap_or_default();
            assert!(matches!(status, 0 | 200 | 502), "{probe:?}: {status} {text}");
            assert!(!text.contains("evil") || text.contains("HTTP/1.1 200"), "{probe:?}: {text}");
        }
    }
    if !late.is_empty() {
        upstream.write_late(&target).await;
    }
    second_client(&narthex, number, &probe).await;
    // The same client's next request, where its connection goes on.
    let after = format!("/after-{number}");
    client.send(format!("GET {after} HTTP/1.1\r\n{}Connection: close\r\n\r\n", fields(""))).await;
    let rest = client.rest().await;
    assert!(!rest.contains("X-Evil"), "{probe:?}: {rest}");
    assert!(rest.is_empty() || rest.contains(&after), "{probe:?}: {rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_response_of_an_upstream_reaches_another_client() {
    const { assert!(UPSTREAM_PROBES.len() >= 100) };
    let (narthex, upstream) = start().await;
    let ways = [("GET", "\r\n"), ("GET", "TE: trailers\r\n\r\n"), ("POST", "Content-Length: 5\r\n\r\nhello")];
    let probes: Vec<_> =
        ways.iter().flat_map(|way| UPSTREAM_PROBES.iter().map(move |probe| (*probe, *way))).collect();
    // What comes late on a kept connection is noticed when that is wanted again; not what comes
    // after that. So those run alone: by no other client the connection is taken meanwhile.
    for late in [false, true] {
        let chosen =
            probes.iter().enumerate().filter(|(_, ((_, probe), _))| probe.contains("{wait}") == late);
        let chosen = chosen.map(|(number, (probe, way))| {
            upstream_probe(narthex.clone(), upstream.clone(), number, *probe, *way)
        });
        run(chosen, if late { 1 } else { CONCURRENCY }).await;
    }
    // Nothing of a message that could not be parsed is written down.
    let log = narthex.log();
    assert!(log.contains("a request was not proxied"), "{log}");
    for secret in ["secret", "evil", "hello"] {
        assert!(!log.to_lowercase().contains(secret), "{secret}: {log}");
    }
}
