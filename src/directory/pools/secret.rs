//! Secrets of app clients: the current one and its successor.

use super::check::{check_length, check_pattern};
use super::client::{NewSecret, describe_client, writable_client};
use super::publish;
use crate::base::{Entropy, Secret, Timestamp, client_secret};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::model::{AppClient, ClientSecret, Pool};
use crate::store::{Store, Tx};

/// Maximum secrets of a client.
const MAX_SECRETS: usize = 2;

/// Adds a secret to an app client.
///
/// # Errors
/// Returns `LimitExceededException` for a third one, `ResourceNotFoundException` if there is no
/// such client, `InvalidParameterException` for a secret that is not valid.
pub async fn add_client_secret(
    tx: &mut Tx<'_>,
    pool_id: &str,
    client_id: &str,
    new: &NewSecret,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<ClientSecret> {
    let (pool, client) = writable_client(tx, pool_id, client_id).await?;
    let secrets = tx.client_secrets(client_id).await?;
    if secrets.len() >= MAX_SECRETS {
        let message = format!("An app client has at most {MAX_SECRETS} secrets.");
        return Err(DirectoryError::new(ErrorKind::LimitExceeded, message));
    }
    if let NewSecret::Given(secret) = new {
        check_given(secret)?;
        if secrets.iter().any(|known| known.secret == *secret) {
            return Err(DirectoryError::invalid("The app client has this secret already."));
        }
    }
    let secret = next_secret(&client, &secrets, new, now, entropy);
    tx.add_client_secret(&client, &secret, entropy).await?;
    publish(tx, &pool, entropy).await?;
    Ok(secret)
}

/// Removes a secret of an app client. The last one stays: without it, the client would be public.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such client or secret,
/// `InvalidParameterException` for the last secret.
pub async fn remove_client_secret(
    tx: &mut Tx<'_>,
    pool_id: &str,
    client_id: &str,
    secret_id: &str,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    let (pool, client) = writable_client(tx, pool_id, client_id).await?;
    let secrets = tx.client_secrets(&client.id).await?;
    if !secrets.iter().any(|secret| secret.id == secret_id) {
        let message = format!("Client secret {secret_id} does not exist.");
        return Err(DirectoryError::new(ErrorKind::ResourceNotFound, message));
    }
    if secrets.len() == 1 {
        return Err(DirectoryError::invalid("The last secret of an app client cannot be deleted."));
    }
    tx.remove_client_secret(&client.id, secret_id).await?;
    publish(tx, &pool, entropy).await
}

/// Returns the secrets of an app client, in the order of creation.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such client.
pub async fn list_client_secrets(store: &Store, pool: &Pool, client_id: &str) -> Outcome<Vec<ClientSecret>> {
    Ok(describe_client(store, pool, client_id).await?.secrets)
}

/// Checks the form of a secret that the caller chose.
pub(super) fn check_given(secret: &Secret) -> Outcome<()> {
    let text = secret.expose();
    check_length("clientSecret", text.chars().count(), 24..=64)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '+';
    check_pattern("clientSecret", text, "[\\w+]+", allowed)
}

/// Returns a secret with an id that none of `others` has: the client's id and the time.
pub(super) fn next_secret(
    client: &AppClient,
    others: &[ClientSecret],
    new: &NewSecret,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> ClientSecret {
    let secret = match new {
        NewSecret::Generated => client_secret(entropy),
        NewSecret::Given(secret) => secret.clone(),
    };
    let id = (now.millis()..)
        .map(|millis| format!("{}--{millis}", client.id))
        .find(|id| !others.iter().any(|other| other.id == *id))
        .expect("invariant: others are few");
    ClientSecret { id, secret, created_at: now }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    #[test]
    fn a_secret_has_a_form_and_an_id_of_its_own() {
        for (secret, fits) in [
            ("A".repeat(24), true),
            ("A".repeat(64), true),
            ("A".repeat(23), false),
            ("A".repeat(65), false),
            ("a_+".repeat(8), true),
            ("a-b".repeat(8), false),
        ] {
            assert_eq!(check_given(&Secret::new(secret.clone())).is_ok(), fits, "{secret}");
        }
        let client = AppClient { id: "web".to_owned(), ..AppClient::default() };
        let now = Timestamp::from_millis(5);
        let first = next_secret(&client, &[], &NewSecret::Generated, now, &SystemEntropy);
        let second =
            next_secret(&client, std::slice::from_ref(&first), &NewSecret::Generated, now, &SystemEntropy);
        assert_eq!((&*first.id, &*second.id), ("web--5", "web--6"));
        assert_ne!(first.secret, second.secret);
    }
}
