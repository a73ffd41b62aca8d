//! Requests to an SMS service, with a timeout, without redirects, and with a bounded response.

use super::content::Content;
use super::errors::SendError;
use super::sms_requests;
use crate::base::Timestamp;
use crate::config::Sms;
use std::sync::{Mutex, PoisonError};

/// The maximum size of a response, in bytes. Further bytes are not read.
const MAX_ANSWER: usize = 16 * 1024;

/// The HTTP client for the most recently used settings.
#[derive(Default)]
pub(super) struct SmsClient(Mutex<Option<(Sms, reqwest::Client)>>);

impl SmsClient {
    /// Sends a message.
    ///
    /// # Errors
    /// Returns [`SendError::Doubtful`] if the request was sent but no response arrived, and another
    /// [`SendError`] if the service rejects the message or is unavailable.
    pub async fn send(&self, sms: &Sms, content: &Content, now: Timestamp) -> Result<(), SendError> {
        let client = self.client(sms)?;
        let request = sms_requests::request(sms, &content.to, &content.text, now);
        let request =
            request.ok_or_else(|| SendError::Rejected("the request cannot be written".to_owned()))?;
        let request = reqwest::Request::try_from(request)
            .map_err(|error| SendError::Rejected(error.without_url().to_string()))?;
        let mut response = client.execute(request).await.map_err(failure)?;
        let mut body = Vec::new();
        while body.len() < MAX_ANSWER
            && let Some(chunk) = response.chunk().await.map_err(failure)?
        {
            body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - body.len())]);
        }
        sms_requests::judge(sms.shape, response.status(), &body)
    }

    fn client(&self, sms: &Sms) -> Result<reqwest::Client, SendError> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((settings, client)) = &*current
            && settings == sms
        {
            return Ok(client.clone());
        }
        let failed = |error: reqwest::Error| SendError::Unavailable(format!("no HTTP client: {error}"));
        let mut builder = reqwest::Client::builder()
            // A redirect is not followed, because the request contains the account's secret.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(sms.timeout)
            .timeout(sms.timeout)
            .user_agent(concat!("narthex/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &sms.ca {
            let roots = reqwest::Certificate::from_pem_bundle(ca.text.as_bytes()).map_err(failed)?;
            builder = builder.tls_certs_merge(roots);
        }
        let client = builder.build().map_err(failed)?;
        *current = Some((sms.clone(), client.clone()));
        Ok(client)
    }
}

/// Returns the error for a request without a response. Only a failed connection proves that nothing
/// was sent.
fn failure(error: reqwest::Error) -> SendError {
    let is_unsent = error.is_connect() || error.is_builder();
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    if is_unsent { SendError::Unavailable(text) } else { SendError::Doubtful(text) }
}
