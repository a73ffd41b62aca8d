//! The logout tokens of app clients.

use super::{TokenService, key_error, signing_failed};
use crate::directory::error::Outcome;
use crate::jose::Unverified;
use crate::model::Pool;
use crate::token::{LogoutToken, TokenUse, issue_logout_token};
use serde_json::Value;

impl TokenService {
    /// Issues the token that notifies an app client of a pool of the end of a session (OpenID
    /// Connect Back-Channel Logout 1.0, section 2.4).
    ///
    /// # Errors
    /// Returns an error if the database fails, or a key cannot be made.
    pub async fn issue_logout_token(&self, pool: &Pool, of: LogoutToken<'_>) -> Outcome<String> {
        let keys = self.keys.of(pool, TokenUse::Id).await.map_err(|error| key_error(&error))?;
        let issued = issue_logout_token(&keys, of, self.clock.now(), &*self.entropy);
        issued.map_err(|error| signing_failed(&error))
    }

    /// Returns the user of an ID token that the pool has issued to a client; the token may have
    /// expired. `None` for any other text.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn user_of_id_token(
        &self,
        pool: &Pool,
        issuer: &str,
        client_id: &str,
        token: &str,
    ) -> Outcome<Option<String>> {
        let Ok(Unverified { jws, claims }) = Unverified::read(token) else { return Ok(None) };
        let keys = self.keys.of(pool, TokenUse::Id).await.map_err(|error| key_error(&error))?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let is_ours = keys.verifying.verify(jws.kid.as_deref(), jws.algorithm, jws.message, &jws.signature)
            && text("iss") == Some(issuer)
            && text("token_use") == Some(TokenUse::Id.name())
            && text("aud") == Some(client_id);
        Ok(text("sub").filter(|_| is_ours).map(str::to_owned))
    }
}
