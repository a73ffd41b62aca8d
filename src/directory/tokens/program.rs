//! The tokens of app clients themselves.

use super::{TokenService, check_proof, signing_failed};
use crate::base::Duration;
use crate::directory::PoolOfClient;
use crate::directory::error::Outcome;
use crate::token::{ProgramToken, client_origin, issue_to_program};

impl TokenService {
    /// Issues an access token to a client that was made through the API, with `scope` (RFC 6749,
    /// section 4.4). It is bound to the key with the thumbprint `key`, and ends with the client.
    ///
    /// # Errors
    /// Returns an error if the database fails, or the client's tokens must be bound to a key.
    pub async fn issue_to_client(
        &self,
        of: &PoolOfClient,
        issuer: &str,
        scope: &str,
        key: Option<&str>,
    ) -> Outcome<String> {
        check_proof(&of.client, key.is_some())?;
        let keys = self.access_token_keys(&of.pool).await?;
        let overrides = self.events.client_token_overrides(&of.pool, &of.client.id, scope).await?;
        let origin = client_origin(&of.client.id);
        let token = ProgramToken {
            issuer,
            client_id: &of.client.id,
            scope,
            validity: Duration::from_secs(of.client.settings.access_token_validity),
            key,
            origin: Some(&origin),
            overrides: overrides.as_ref(),
        };
        let issued = issue_to_program(&keys, token, self.clock.now(), &*self.entropy);
        issued.map_err(|error| signing_failed(&error))
    }
}
