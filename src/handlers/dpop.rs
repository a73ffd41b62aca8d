//! DPoP proofs at the OAuth endpoints (RFC 9449).

use super::error::{EndpointError, OAuthError};
use super::{AppState, RequestData, unavailable};
use crate::base::base64url_encode;
use crate::store::{ReplayKey, StoreError};
use crate::token::{Proof, ProofRequest, verify_proof};
use http::{HeaderName, Method};

/// The header of proofs.
pub(super) const HEADER: HeaderName = HeaderName::from_static("dpop");

/// Returns the verified proof of the request for `path`, if it has one. It may have been used
/// before. `access_token` is the token of a request for a resource.
///
/// # Errors
/// `invalid_dpop_proof`.
pub(super) fn proof(
    app: &AppState,
    info: &RequestData,
    method: &Method,
    path: &str,
    access_token: Option<&str>,
) -> Result<Option<Proof>, OAuthError> {
    let invalid = |why: String| OAuthError::new("invalid_dpop_proof", why);
    let text = match (info.count(&HEADER), info.header(HEADER.as_str())) {
        (0, _) => return Ok(None),
        // RFC 9449, section 4.3: "There is not more than one DPoP HTTP request header field."
        (1, Some(text)) => text,
        _ => return Err(invalid("there is more than one DPoP header, or it is no text".to_owned())),
    };
    let url = app.catalogue.load().config.public_url.join(path);
    let request = ProofRequest { method: method.as_str(), url: &url, access_token };
    verify_proof(text, request, app.clock.now()).map(Some).map_err(|error| invalid(error.to_string()))
}

/// Records the use of a proof, on every node.
///
/// # Errors
/// `invalid_dpop_proof`, if it was used before; the database fails.
pub(super) async fn use_once(app: &AppState, info: &RequestData, proof: &Proof) -> Result<(), EndpointError> {
    let (id, expires_at) = (base64url_encode(proof.id), proof.expires_at);
    let used = app.store.transaction(|tx| {
        let id = &id;
        Box::pin(async move { tx.use_once(ReplayKey::Proof, id, expires_at).await })
    });
    match used.await.map_err(|error: StoreError| unavailable(info, &error))? {
        true => Ok(()),
        false => Err(reused().into()),
    }
}

/// Returns the error for a proof that is missing or was used before.
pub(super) fn reused() -> OAuthError {
    let why = "a DPoP proof is required for this client, or the proof was used before";
    OAuthError::new("invalid_dpop_proof", why)
}
