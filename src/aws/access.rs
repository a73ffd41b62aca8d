//! Authentication of signed requests: whose they are, and which user pools they may name.

use super::administrator::authenticate;
use super::error::ApiError;
use super::sigv4::SignedRequest;
use crate::base::Timestamp;
use crate::catalogue::{Administrator, Catalogue};
use std::sync::Arc;

/// The authentication of signed requests. Each router of the API has one from its construction on;
/// no request and no configuration selects another.
pub trait SignedAccess: Send + Sync {
    /// Returns the sender of a request.
    ///
    /// # Errors
    /// Returns AWS's exceptions of signatures.
    fn authenticate(
        &self,
        catalogue: &Catalogue,
        request: &SignedRequest<'_>,
        now: Timestamp,
    ) -> Result<SignedBy, ApiError>;
}

/// The sender of a signed request.
#[derive(Clone, Debug)]
pub struct SignedBy {
    /// The administrator, whose policies apply.
    pub administrator: Arc<Administrator>,
    /// The region of the request, which is that of new user pools and of ARNs.
    pub region: String,
    /// The prefix of the ids of the user pools that exist for the request; empty for all of them.
    pub pool_prefix: String,
}

/// The administrators of the configuration, whose signatures are verified. Every pool of the
/// deployment exists for them.
pub struct ConfiguredAdministrators;

impl SignedAccess for ConfiguredAdministrators {
    fn authenticate(
        &self,
        catalogue: &Catalogue,
        request: &SignedRequest<'_>,
        now: Timestamp,
    ) -> Result<SignedBy, ApiError> {
        let administrator = authenticate(catalogue, request, now)?;
        Ok(SignedBy { administrator, region: catalogue.config.region.clone(), pool_prefix: String::new() })
    }
}
