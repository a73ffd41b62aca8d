//! A request that goes no further: the answer it gets.

use crate::pages::HttpResponse;
use http::HeaderMap;
use pingora_core::protocols::http::ServerSession;
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

/// Returns whether a final response was begun; an informational one may be followed by another.
pub fn is_answered(session: &Session) -> bool {
    session.response_written().is_some_and(|response| {
        !response.status.is_informational() || response.status == http::StatusCode::SWITCHING_PROTOCOLS
    })
}

/// An answer of our own, instead of the upstream's.
#[derive(Debug)]
pub struct LocalResponse {
    response: Box<HttpResponse>,
    close: bool,
}

impl From<HttpResponse> for LocalResponse {
    fn from(answer: HttpResponse) -> Self {
        Self { response: Box::new(answer), close: false }
    }
}

impl LocalResponse {
    /// The same, with the connection closed after it: what follows on it cannot be trusted.
    pub fn close_connection(mut self) -> Self {
        self.close = true;
        self
    }

    /// The same, with what `change` makes of its headers.
    pub fn map_headers(mut self, change: impl FnOnce(&mut HeaderMap)) -> Self {
        change(self.response.headers_mut());
        self
    }

    /// Sends the answer.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub async fn send(self, session: &mut Session) -> Result<()> {
        let (parts, body) = self.response.into_parts();
        let mut header = ResponseHeader::build(parts.status, Some(parts.headers.len() + 2))?;
        for (name, value) in &parts.headers {
            header.append_header(name, value)?;
        }
        header.insert_header(http::header::CONTENT_LENGTH, body.len())?;
        if self.close {
            session.set_keepalive(None);
        }
        let head = session.req_header().method == http::Method::HEAD;
        let empty = head || body.is_empty();
        // gRPC knows an outcome by the headers that also end the stream. pingora's own way for both
        // versions of HTTP would end it by a frame of its own.
        if empty && let ServerSession::H2(http2) = session.as_downstream_mut() {
            return http2.write_response_header(Box::new(header), true);
        }
        session.write_response_header(Box::new(header), empty).await?;
        if !empty {
            session.write_response_body(Some(body), true).await?;
        }
        Ok(())
    }
}
