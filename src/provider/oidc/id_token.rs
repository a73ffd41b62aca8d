//! ID tokens (OpenID Connect Core 1.0, section 3.1.3.7): by whose keys they must be signed, and for whom.

use super::OpenId;
use crate::base::Timestamp;
use crate::config::Issuer;
use crate::jose::NumericDate;
use crate::provider::ProviderError;
use crate::provider::claims::{SKEW, check_name, payload, tell_skew};
use crate::provider::metadata::{Document, Published};
use chrono::DateTime;
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreJwsSigningAlgorithm};
use openidconnect::{ClaimsVerificationError, Nonce, NonceVerifier, SignatureVerificationError};
use serde_json::{Map, Value};

/// What signs ID tokens. `none` and the HMAC family are not among them: a client secret is no key.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 10] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EcdsaP521Sha512,
    CoreJwsSigningAlgorithm::EdDsa,
];

impl OpenId {
    /// The issuer and the verified claims of `token`; the keys are fetched again where none of them signed it.
    pub(super) async fn verified(
        &self,
        published: &Published,
        token: &CoreIdToken,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<(String, Map<String, Value>), ProviderError> {
        let document = self.document_of(published, token)?;
        let mut verified = self.verify(&self.client(&document, None)?, token, nonce, now);
        if matches!(
            verified,
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey | SignatureVerificationError::CryptoError(_)
            ))
        ) {
            let document = self.document_of(&*self.metadata.after_unknown_key().await?, token)?;
            verified = self.verify(&self.client(&document, None)?, token, nonce, now);
        }
        let claims = verified.map_err(|error| ProviderError::invalid(check_name(&error), error))?;
        let issuer = document.issuer().to_string();
        tell_skew(&issuer, &claims, now);
        Ok((issuer, claims))
    }

    /// The verified claims of `token` by the keys that are known (OpenID Connect Core 1.0, section 3.1.3.7).
    fn verify(
        &self,
        client: &super::Client,
        token: &CoreIdToken,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<Map<String, Value>, ClaimsVerificationError> {
        let time = |at: Timestamp| DateTime::from_timestamp(at.seconds(), 0).unwrap_or_default();
        // "The current time MUST be before the time represented by the exp Claim": by a clock that
        // may be a minute behind ours.
        let behind = time(now.minus(SKEW));
        let ahead = time(now.plus(SKEW));
        let verifier: CoreIdTokenVerifier<'_> = client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || behind)
            .set_issue_time_verifier_fn(move |issued| match issued <= ahead {
                true => Ok(()),
                false => Err("issued in the future".to_owned()),
            });
        let expected = nonce.map(|nonce| Nonce::new(nonce.to_owned()));
        token.claims(&verifier, |told: Option<&Nonce>| match (&expected, told) {
            (Some(expected), told) => expected.verify(told),
            // OpenID Connect Core 1.0, section 12.2: a renewed token "SHOULD NOT have a nonce Claim".
            (None, _) => Ok(()),
        })?;
        // The signature covers these very bytes: reading them again keeps the claims that have no
        // place in the library's types.
        let claims = payload(&token.to_string())
            .ok_or_else(|| ClaimsVerificationError::Other("its payload is no object".to_owned()))?;
        let other = |why: &str| Err(ClaimsVerificationError::Other(why.to_owned()));
        // "If an azp (authorized party) Claim is present, the Client SHOULD verify that its
        // client_id is the Claim Value."
        if claims.get("azp").is_some_and(|azp| azp.as_str() != Some(&self.settings.client.id)) {
            return other("azp names another client");
        }
        // RFC 7519, section 4.1.5: before nbf the token "MUST NOT be accepted for processing".
        let not_before = claims.get("nbf");
        if not_before.is_some_and(|nbf| NumericDate::read(nbf).is_none_or(|at| at > now.plus(SKEW))) {
            return other("nbf lies in the future");
        }
        // The library reads times in its own way: what it took must be a time here as well.
        let time = |name: &str| NumericDate::of(&claims, name);
        if time("exp").is_none_or(|at| now.minus(SKEW) >= at)
            || time("iat").is_none_or(|at| at > now.plus(SKEW))
        {
            return other("exp or iat is no time, or not one that counts");
        }
        Ok(claims)
    }

    /// The metadata that counts for `token`, which is not yet verified: it must be one of an issuer whose
    /// people may come, and is verified by that issuer's own keys.
    fn document_of(&self, published: &Published, token: &CoreIdToken) -> Result<Document, ProviderError> {
        let Issuer::PerTenant(tenants) = &self.settings.issuer else { return Ok(published.document.clone()) };
        let claims = payload(&token.to_string()).unwrap_or_default();
        let tenant = claims.get("tid").and_then(Value::as_str).unwrap_or_default();
        let issuer = tenants.issuer_of(tenant).ok_or_else(|| {
            ProviderError::invalid("tenant", format!("`{tenant}` is none whose people may come"))
        })?;
        published.of_tenant(tenant, &issuer)
    }
}
