//! Responses that Narthex generates instead of the upstream.

use crate::pages::HttpResponse;
use http::HeaderMap;
use pingora_core::protocols::http::ServerSession;
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

/// Returns whether a final response has begun. Another response may follow an informational one.
pub fn is_answered(session: &Session) -> bool {
    session.response_written().is_some_and(|response| {
        !response.status.is_informational() || response.status == http::StatusCode::SWITCHING_PROTOCOLS
    })
}

/// A response that Narthex generates instead of the upstream.
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
    /// Closes the connection after the response, because later bytes on the connection cannot be
    /// trusted.
    pub fn close_connection(mut self) -> Self {
        self.close = true;
        self
    }

    /// Applies `change` to the headers of the response.
    pub fn map_headers(mut self, change: impl FnOnce(&mut HeaderMap)) -> Self {
        change(self.response.headers_mut());
        self
    }

    /// Sends the response.
    ///
    /// # Errors
    /// The connection is closed.
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
        // gRPC clients read the status from the header frame that ends the stream. pingora's method
        // for all versions of HTTP would end the stream with a separate frame.
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
