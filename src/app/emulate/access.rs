//! The emulator's authentication of signed requests: a signature must be there and have its form.
//! The access key and the signature itself are not checked.

use crate::app::build::CommandError;
use crate::aws::{ApiError, Presented, SignedAccess, SignedBy, SignedRequest};
use crate::base::{Secret, SystemEntropy, Timestamp, client_secret};
use crate::catalogue::{Administrator, Catalogue};
use crate::policy::{Document, Grants, Purpose, Statements};
use std::sync::Arc;

/// The name of the administrator, in logs and in the ARN of denials.
const NAME: &str = "emulator";
/// The administrator's policy.
const POLICY: &str = r#"{ "Version": "2012-10-17",
    "Statement": { "Effect": "Allow", "Action": "cognito-idp:*", "Resource": "*" } }"#;
/// Maximum characters of a region: a pool's id has at most 55, ten of them after the region.
const MAX_REGION: usize = 32;

/// Any access key, in any region. The pools of a region exist for its own requests alone.
pub struct AnyAccessKey {
    administrator: Arc<Administrator>,
}

impl AnyAccessKey {
    /// Creates the authentication for an account.
    ///
    /// # Errors
    /// Returns an error if the built-in policy is invalid, which is a bug.
    pub fn new(account_id: &str) -> Result<Self, CommandError> {
        let document = Document::parse(POLICY, Purpose::Identity)
            .map_err(|error| CommandError::new("the emulator's policy", error))?;
        let policies = Statements::of(&[document.named(NAME)]);
        let secret: Secret = client_secret(&SystemEntropy);
        let administrator = Arc::new(Administrator {
            name: NAME.to_owned(),
            arn: format!("arn:aws:iam::{account_id}:user/{NAME}"),
            // No signature is verified: nobody knows this secret.
            secret_access_key: secret,
            grants: Grants { policies, bounds: Vec::new() },
        });
        Ok(Self { administrator })
    }
}

impl SignedAccess for AnyAccessKey {
    fn authenticate(
        &self,
        _: &Catalogue,
        request: &SignedRequest<'_>,
        _: Timestamp,
    ) -> Result<SignedBy, ApiError> {
        let region = Presented::read(request)?.region;
        if !is_region(&region) {
            let message = "Credential should be scoped to a valid region.";
            return Err(ApiError::new("InvalidSignatureException", message));
        }
        let pool_prefix = format!("{region}_");
        Ok(SignedBy { administrator: self.administrator.clone(), region, pool_prefix })
    }
}

/// Returns whether a text can be the region of pool ids, ARNs and issuers.
fn is_region(text: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= MAX_REGION && text.split('-').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_lower_case_words_with_hyphens() {
        for good in ["us-east-1", "eu-central-2", "us-gov-west-1", "local"] {
            assert!(is_region(good), "{good}");
        }
        for bad in ["", "-", "us--1", "US-EAST-1", "us_east", "a.b", "a/b", &"a".repeat(33)] {
            assert!(!is_region(bad), "{bad}");
        }
    }
}
