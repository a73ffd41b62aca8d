//! Secrets of app clients: the current one and its successor.

use super::shapes::{Time, optional_secret};
use crate::aws::call::AdminCall;
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::base::Secret;
use crate::directory::pools::{self, NewSecret};
use crate::model::ClientSecret;
use serde::{Deserialize, Serialize};

pub const OPERATIONS: &[Operation] = operations! {
    Admin "AddUserPoolClientSecret" => add_user_pool_client_secret;
    Admin "DeleteUserPoolClientSecret" => delete_user_pool_client_secret;
    Admin "ListUserPoolClientSecrets" => list_user_pool_client_secrets;
};

/// `ClientSecretDescriptorType`
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Descriptor {
    client_secret_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_value: Option<String>,
    client_secret_create_date: Time,
}

impl Descriptor {
    fn new(secret: &ClientSecret, value: Option<&Secret>) -> Self {
        Self {
            client_secret_id: secret.id.clone(),
            client_secret_value: value.map(|value| value.expose().to_owned()),
            client_secret_create_date: Time(secret.created_at),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AddSecretRequest {
    user_pool_id: String,
    client_id: String,
    #[serde(default, deserialize_with = "optional_secret")]
    client_secret: Option<Secret>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AddSecretResponse {
    client_secret_descriptor: Descriptor,
}

async fn add_user_pool_client_secret(
    call: &AdminCall,
    request: AddSecretRequest,
) -> Answer<AddSecretResponse> {
    let AddSecretRequest { user_pool_id, client_id, client_secret } = request;
    let (pool_id, client_id) = (&*user_pool_id, &*client_id);
    let new = &client_secret.map_or(NewSecret::Generated, NewSecret::Given);
    let (now, entropy) = (call.now(), call.entropy());
    let add = call
        .change(pool_id, |tx| Box::pin(pools::add_client_secret(tx, pool_id, client_id, new, now, entropy)));
    let added = add.await?;
    let value = matches!(new, NewSecret::Generated).then_some(&added.secret);
    Ok(AddSecretResponse { client_secret_descriptor: Descriptor::new(&added, value) })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteSecretRequest {
    user_pool_id: String,
    client_id: String,
    client_secret_id: String,
}

async fn delete_user_pool_client_secret(call: &AdminCall, request: DeleteSecretRequest) -> Answer<Empty> {
    let DeleteSecretRequest { user_pool_id, client_id, client_secret_id } = &request;
    let entropy = call.entropy();
    let remove = call.change(user_pool_id, |tx| {
        Box::pin(pools::remove_client_secret(tx, user_pool_id, client_id, client_secret_id, entropy))
    });
    remove.await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListSecretsRequest {
    user_pool_id: String,
    client_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListSecretsResponse {
    client_secrets: Vec<Descriptor>,
}

async fn list_user_pool_client_secrets(
    call: &AdminCall,
    request: ListSecretsRequest,
) -> Answer<ListSecretsResponse> {
    let pool = call.stored_pool(&request.user_pool_id).await?;
    let secrets = pools::list_client_secrets(call.store(), &pool, &request.client_id).await?;
    let client_secrets = secrets.iter().map(|secret| Descriptor::new(secret, None)).collect();
    Ok(ListSecretsResponse { client_secrets })
}
