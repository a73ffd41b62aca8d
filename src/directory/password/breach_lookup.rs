//! Requests to the breached-password service.

use super::breached::{Acceptance, MAX_RANGE_BYTES, RangeError, RangeQuery, accept_after_lookup};
use crate::base::Secret;
use crate::catalogue::CatalogueCell;
use crate::config::BreachedPasswords;
use reqwest::StatusCode;
use std::sync::{Arc, Mutex, PoisonError};

/// Asks the service of the configuration whether a password is in a published breach.
pub struct BreachLookup {
    catalogue: Arc<CatalogueCell>,
    /// The HTTP client for the most recently used settings.
    client: Mutex<Option<(BreachedPasswords, reqwest::Client)>>,
}

/// Why the service gave no answer.
#[derive(Debug, thiserror::Error)]
enum LookupError {
    #[error("{}", .0)]
    Http(#[from] reqwest::Error),
    #[error("the status is {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Range(#[from] RangeError),
    #[error("the address is not valid")]
    Address,
}

impl BreachLookup {
    /// Creates a lookup that uses the current settings in `catalogue`.
    pub(in crate::directory) fn new(catalogue: Arc<CatalogueCell>) -> Self {
        Self { catalogue, client: Mutex::default() }
    }

    /// Decides on a new password. Without a service, and if it cannot be asked, every password is
    /// accepted.
    pub(in crate::directory) async fn accept(&self, password: &Secret) -> Acceptance {
        let config = self.catalogue.load().config.clone();
        let Some(service) = &config.breached_passwords else { return Acceptance::Accepted };
        accept_after_lookup(match self.count(service, password).await {
            Ok(count) => Some(Ok(count)),
            Err(error) => {
                // The address has digits of the digest.
                let error = match error {
                    LookupError::Http(error) => LookupError::Http(error.without_url()),
                    error => error,
                };
                tracing::warn!(%error, "a new password was not looked up in the breached-password service");
                None
            }
        })
    }

    async fn count(&self, service: &BreachedPasswords, password: &Secret) -> Result<u64, LookupError> {
        let query = RangeQuery::new(password);
        let url = service.url.join(query.segment()).map_err(|_| LookupError::Address)?;
        // Padding hides the number of lines, which would reveal the digits to an observer.
        let request = self.client(service)?.get(url).header("Add-Padding", "true");
        let mut response = request.send().await?;
        if response.status() != StatusCode::OK {
            return Err(LookupError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_RANGE_BYTES {
                break;
            }
        }
        Ok(query.count(&body)?)
    }

    fn client(&self, service: &BreachedPasswords) -> reqwest::Result<reqwest::Client> {
        let mut current = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((settings, client)) = &*current
            && settings == service
        {
            return Ok(client.clone());
        }
        let mut builder = reqwest::Client::builder()
            // Another address would get the digits of the digest.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(service.timeout)
            .user_agent(concat!("narthex/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &service.ca {
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(ca.text.as_bytes())?);
        }
        let client = builder.build()?;
        *current = Some((service.clone(), client.clone()));
        Ok(client)
    }
}
