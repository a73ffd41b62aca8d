//! `SECRET_HASH`: the proof that a request comes from an app that knows its client's secret.

use super::error::{DirectoryError, ErrorKind, Outcome};
use super::pool_cache::PoolOfClient;
use crate::base::Secret;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

impl PoolOfClient {
    /// Checks the `SECRET_HASH` of a request, which must be over one of `usernames`; a public
    /// client has none.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException` if it is missing, wrong, or of a client without a secret.
    pub fn check_secret_hash(&self, usernames: &[&str], presented: Option<&str>) -> Outcome<()> {
        let id = &self.client.id;
        let refused = |message: String| Err(DirectoryError::new(ErrorKind::NotAuthorized, message));
        match presented {
            None if self.secrets.is_empty() => Ok(()),
            None => {
                refused(format!("Client {id} is configured with secret but SECRET_HASH was not received"))
            }
            Some(_) if self.secrets.is_empty() => {
                refused(format!("Client {id} is configured without secret but SECRET_HASH was received"))
            }
            Some(presented) => {
                let presented = STANDARD.decode(presented).unwrap_or_default();
                // Each is compared: the time does not depend on which one matches.
                let mut matches = false;
                for secret in &self.secrets {
                    for username in usernames {
                        matches |= is_hash(secret, &format!("{username}{id}"), &presented);
                    }
                }
                if matches {
                    Ok(())
                } else {
                    refused(format!("Unable to verify secret hash for client {id}"))
                }
            }
        }
    }
}

impl PoolOfClient {
    /// Checks the secret itself, which a public client does not have.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException` if it is missing, wrong, or of a client without a secret.
    pub fn check_secret(&self, presented: Option<&Secret>) -> Outcome<()> {
        let presented = presented.map_or("", |secret| secret.expose()).as_bytes();
        let is_same = |secret: &Secret| {
            aws_lc_rs::constant_time::verify_slices_are_equal(secret.expose().as_bytes(), presented).is_ok()
        };
        let is_right = match &*self.secrets {
            [] => presented.is_empty(),
            secrets => secrets.iter().any(is_same),
        };
        match is_right {
            true => Ok(()),
            false => {
                let message = format!("Client {} has another secret.", self.client.id);
                Err(DirectoryError::new(ErrorKind::NotAuthorized, message))
            }
        }
    }
}

/// Returns whether `presented` is the HMAC-SHA256 of `text`, in constant time.
fn is_hash(secret: &Secret, text: &str, presented: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    hmac::verify(&key, text.as_bytes(), presented).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppClient, Pool};
    use std::sync::Arc;

    fn client(secrets: &[&str]) -> PoolOfClient {
        PoolOfClient {
            pool: Arc::new(Pool::default()),
            client: Arc::new(AppClient { id: "app".to_owned(), ..AppClient::default() }),
            secrets: secrets.iter().map(|secret| Secret::new(*secret)).collect(),
            keeps_verifiers: false,
            customizations: Default::default(),
        }
    }

    fn hash(secret: &str, username: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        STANDARD.encode(hmac::sign(&key, format!("{username}app").as_bytes()))
    }

    #[test]
    fn a_hash_is_of_a_secret_and_a_user_name() {
        let of = client(&["old secret", "new secret"]);
        for secret in ["old secret", "new secret"] {
            assert!(of.check_secret_hash(&["alice"], Some(&hash(secret, "alice"))).is_ok());
        }
        assert!(of.check_secret_hash(&["a", "alice"], Some(&hash("new secret", "alice"))).is_ok());
        let message = |hash: Option<&str>| of.check_secret_hash(&["alice"], hash).unwrap_err().to_string();
        let wrong = "NotAuthorizedException: Unable to verify secret hash for client app";
        assert_eq!(message(Some(&hash("new secret", "bob"))), wrong);
        assert_eq!(message(Some(&hash("other", "alice"))), wrong);
        assert_eq!(message(Some("")), wrong);
        assert!(message(None).ends_with("configured with secret but SECRET_HASH was not received"));
    }

    #[test]
    fn a_public_client_has_no_hash() {
        let of = client(&[]);
        assert!(of.check_secret_hash(&["alice"], None).is_ok());
        assert!(of.check_secret_hash(&["alice"], Some("")).is_err());
    }
}
