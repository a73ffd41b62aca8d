//! Refresh tokens of users. A token is an encrypted pair of family and generation. The store
//! contains only the current generation of each family.

use super::dpop::Proof;
use crate::base::{Duration, Entropy, KeyRing, Purpose, Timestamp, base64url_decode, base64url_encode, uuid};
use crate::model::AppClient;
use crate::store::{RefreshFamily, ReplayKey, Result, Tx};

/// Maximum length of an accepted refresh token, in characters.
const MAX_LENGTH: usize = 512;

/// The data of a new family of refresh tokens.
#[derive(Clone, Copy, Debug)]
pub struct NewFamily<'a> {
    /// The user's number.
    pub user_no: i64,
    /// When the user was authenticated.
    pub auth_time: Timestamp,
    /// The granted scopes, separated by spaces.
    pub scope: &'a str,
    /// The key of the remembered device; may be empty.
    pub device_key: &'a str,
    /// The authentication methods (RFC 8176).
    pub amr: &'a [String],
    /// The thumbprint of the key to which the refresh tokens are bound; empty if none.
    pub key: &'a str,
}

/// The result of a redeemed refresh token.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The family.
    pub family: RefreshFamily,
    /// The next refresh token; `None` for a client without rotation.
    pub next: Option<String>,
}

/// The reason why a refresh token is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshError {
    /// The token is not a refresh token of this pool and client.
    Invalid,
    /// The token has expired.
    Expired,
    /// The token's family has ended.
    Revoked,
    /// The token was used before. Its family has been ended.
    Reused,
    /// The token is bound to a key, of which there is no proof.
    Key,
    /// The proof of the client's key was used before.
    ProofReused,
}

/// An issuer and verifier of refresh tokens.
#[derive(Clone, Copy)]
pub struct RefreshTokens<'a> {
    /// The encryption keys.
    pub ring: &'a KeyRing,
    /// The pool's id.
    pub pool: &'a str,
    /// The app client.
    pub client: &'a AppClient,
}

impl RefreshTokens<'_> {
    /// Creates a family. Returns it with its first token.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn begin(
        self,
        tx: &mut Tx<'_>,
        new: NewFamily<'_>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(RefreshFamily, String)> {
        let validity = Duration::from_secs(self.client.settings.refresh_token_validity);
        let family = RefreshFamily {
            id: uuid(entropy),
            user_no: new.user_no,
            client_id: self.client.id.clone(),
            generation: 1,
            rotated_at: now,
            auth_time: new.auth_time,
            scope: new.scope.to_owned(),
            device_key: new.device_key.to_owned(),
            created_at: now,
            expires_at: now.plus(validity),
            key: new.key.to_owned(),
            amr: new.amr.to_vec(),
        };
        tx.add_refresh_family(&family).await?;
        let token = self.seal(&family.id, family.generation, entropy);
        Ok((family, token))
    }

    /// Redeems a token. RFC 9700, section 4.14.2: if a rotated token is used again, "the
    /// authorization server cannot determine which party submitted the invalid refresh token, but
    /// it will revoke the active refresh token".
    ///
    /// During the client's grace period, the earlier token stays valid, and its redemption returns
    /// the current one. Several tabs may use the same token.
    ///
    /// A wrong or missing `proof` of the client's key changes nothing.
    ///
    /// # Errors
    /// The outer error is the database's. After an inner error the transaction must be committed,
    /// because the end of a family is recorded in it.
    pub async fn redeem(
        self,
        tx: &mut Tx<'_>,
        token: &str,
        proof: Option<&Proof>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<std::result::Result<Refreshed, RefreshError>> {
        let (family, generation) = match self.find(tx, token).await? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        if !family.key.is_empty() && proof.is_none_or(|proof| proof.thumbprint != family.key) {
            return Ok(Err(RefreshError::Key));
        }
        if let Some(proof) = proof
            && !tx.use_once(ReplayKey::Proof, &base64url_encode(proof.id), proof.expires_at).await?
        {
            return Ok(Err(RefreshError::ProofReused));
        }
        if family.expires_at <= now {
            return Ok(Err(RefreshError::Expired));
        }
        let Some(rotation) = self.client.settings.rotation else {
            // A client that had rotation before may still have an earlier token.
            return Ok(match generation == family.generation {
                true => Ok(Refreshed { family, next: None }),
                false => Err(RefreshError::Revoked),
            });
        };
        let grace = Duration::from_secs(rotation.grace);
        let in_grace = generation + 1 == family.generation && now.since(family.rotated_at) < grace;
        let current = match generation {
            current if current == family.generation => {
                if !tx.rotate_refresh_family(&family.id, current, now).await? {
                    return Ok(Err(RefreshError::Revoked));
                }
                current + 1
            }
            _ if in_grace => family.generation,
            _ => {
                tx.end_refresh_family(&family, now, entropy).await?;
                return Ok(Err(RefreshError::Reused));
            }
        };
        let next = Some(self.seal(&family.id, current, entropy));
        Ok(Ok(Refreshed { family: RefreshFamily { generation: current, ..family }, next }))
    }

    /// Ends the family of a token, which may be an earlier one (RFC 7009, section 2.1). Returns the
    /// family.
    ///
    /// # Errors
    /// The outer error is the database's; the inner error is the reason why the token is rejected.
    pub async fn revoke(
        self,
        tx: &mut Tx<'_>,
        token: &str,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<std::result::Result<RefreshFamily, RefreshError>> {
        match self.find(tx, token).await? {
            Ok((family, _)) => {
                tx.end_refresh_family(&family, now, entropy).await?;
                Ok(Ok(family))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Returns the id of a token's family, if the token was issued to the client; the family may
    /// have ended.
    pub fn family_id(self, token: &str) -> Option<String> {
        self.open(token).map(|(family, _)| family)
    }

    /// Returns the family and the generation of a token.
    async fn find(
        self,
        tx: &mut Tx<'_>,
        token: &str,
    ) -> Result<std::result::Result<(RefreshFamily, i64), RefreshError>> {
        let Some((id, generation)) = self.open(token) else { return Ok(Err(RefreshError::Invalid)) };
        let Some(family) = tx.refresh_family(&id).await? else { return Ok(Err(RefreshError::Revoked)) };
        // The client is part of the encryption context as well. In a restored database, the row may
        // differ.
        match family.client_id == self.client.id && generation <= family.generation {
            true => Ok(Ok((family, generation))),
            false => Ok(Err(RefreshError::Invalid)),
        }
    }

    fn seal(self, family: &str, generation: i64, entropy: &dyn Entropy) -> String {
        let plain = format!("{generation} {family}");
        base64url_encode(self.ring.seal(Purpose::RefreshToken, &self.context(), plain.as_bytes(), entropy))
    }

    fn open(self, token: &str) -> Option<(String, i64)> {
        let sealed = Some(token).filter(|token| token.len() <= MAX_LENGTH).and_then(base64url_decode)?;
        let plain = self.ring.open(Purpose::RefreshToken, &self.context(), &sealed).ok()?;
        let (generation, family) = std::str::from_utf8(&plain).ok()?.split_once(' ')?;
        Some((family.to_owned(), generation.parse().ok()?))
    }

    /// Returns the encryption context. Neither id contains a space, so that no two pairs share a
    /// context.
    fn context(self) -> String {
        format!("refresh token {} {}", self.pool, self.client.id)
    }
}
