//! The response to a request that does not reach the HTTP parser, or that the parser refused.
//! Status, request id and security headers are the same as in other responses of Narthex. The
//! connection is closed after the response.

use crate::base::Duration;
use crate::gateway::access_log::AccessRecord;
use crate::gateway::framing::FramingError;
use crate::gateway::metrics;
use crate::gateway::state::gateway::Gateway;
use crate::pages::{ClientKind, ErrorResponse, ResponseContext, Site, Texts};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::{HeaderValue, StatusCode};
use pingora_core::protocols::http::date::get_cached_date;
use std::io::Result;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// The timeout for writing the response and discarding received bytes. A connection that is closed
/// with unread bytes is reset, and the reset may reach the client before the response does.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_DISCARDED_BYTES: usize = 256 * 1024;

/// A response after which the writing side is closed, and received bytes are discarded.
#[derive(Debug)]
pub struct MalformedRequestResponse {
    response: Vec<u8>,
    written: usize,
    flushed: bool,
    shut_down: bool,
    discarded: usize,
    linger: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl MalformedRequestResponse {
    /// Creates the response to a request that begins with the bytes of `head`, and logs the
    /// refusal.
    pub fn new(gateway: &Gateway, ambiguity: FramingError, head: &[u8], client: Option<IpAddr>) -> Self {
        let request_id = gateway.request_id();
        let reason = format!("the framing is ambiguous: {ambiguity:?}");
        tracing::info!(target: "audit", event = "request_refused", request_id, reason = reason);
        let failure = match ambiguity {
            FramingError::HeadTooLarge => ErrorResponse::headers_too_large(),
            _ => ErrorResponse::bad_request(),
        };
        metrics::response(false, failure.status.as_u16());
        if gateway.records_requests() {
            let mut record = Box::new(AccessRecord::of_bytes(head));
            record.time = Some(gateway.pool.clock.now());
            (record.request_id, record.client) = (request_id.clone(), client);
            record.status = failure.status.as_u16();
            gateway.record(record, Some(&reason));
        }
        let reader = if accepts_html(head) { ClientKind::Browser } else { ClientKind::Program };
        let mut answer = failure.into_response(&ResponseContext {
            request_id,
            client: reader,
            strict_transport: false,
            site: Site::Unknown,
            is_get: false,
            texts: Texts::of(&[]),
        });
        let length = HeaderValue::from(answer.body().len());
        let headers = answer.headers_mut();
        headers.insert(CONTENT_LENGTH, length);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(DATE, get_cached_date());
        let mut response = status_line(failure.status).into_bytes();
        for (name, value) in answer.headers() {
            response.extend_from_slice(name.as_str().as_bytes());
            response.extend_from_slice(b": ");
            response.extend_from_slice(value.as_bytes());
            response.extend_from_slice(b"\r\n");
        }
        response.extend_from_slice(b"\r\n");
        response.extend_from_slice(answer.body());
        Self {
            response,
            written: 0,
            flushed: false,
            shut_down: false,
            discarded: 0,
            linger: None,
            over: false,
        }
    }

    /// Completes when the response was sent and the connection can be closed.
    pub fn poll(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if !self.over {
            let linger = self.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER_TIMEOUT)));
            if linger.as_mut().poll(cx).is_pending() {
                // An error is ignored, because the connection is closed either way.
                drop(ready!(self.poll_send(stream, cx)));
            }
            self.over = true;
        }
        Poll::Ready(())
    }

    fn poll_send(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        while self.written < self.response.len() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &self.response[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Ok(()));
            }
            self.written += written;
        }
        if !self.flushed {
            ready!(Pin::new(&mut *stream).poll_flush(cx))?;
            self.flushed = true;
        }
        if !self.shut_down {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            self.shut_down = true;
        }
        let mut bytes = [0; 4096];
        while self.discarded < MAX_DISCARDED_BYTES {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            self.discarded += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

fn status_line(status: StatusCode) -> String {
    format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default())
}

/// Returns whether the head, which may be malformed or incomplete, looks like a browser's.
fn accepts_html(head: &[u8]) -> bool {
    let accept = |line: &[u8]| {
        line.get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"accept:"))
            && memchr::memmem::find(line, b"text/html").is_some()
    };
    head.split(|byte| *byte == b'\n').any(accept)
}
