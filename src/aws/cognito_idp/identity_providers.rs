//! Identity providers of user pools.

use super::shapes::Time;
use crate::aws::call::AdminCall;
use crate::aws::error::ApiError;
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::directory::PageRequest;
use crate::directory::pools::{self, NewProvider, ProviderChanges};
use crate::model::{IdentityProvider, IdentityProviderSettings, ProviderKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const OPERATIONS: &[Operation] = operations! {
    Admin "CreateIdentityProvider" => create_identity_provider;
    Admin "DescribeIdentityProvider" => describe_identity_provider;
    Admin "UpdateIdentityProvider" => update_identity_provider;
    Admin "DeleteIdentityProvider" => delete_identity_provider;
    Admin "ListIdentityProviders" => list_identity_providers;
    Admin "GetIdentityProviderByIdentifier" => get_identity_provider_by_identifier;
};

/// `IdentityProviderType`
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProviderShape {
    user_pool_id: String,
    provider_name: String,
    provider_type: &'static str,
    provider_details: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attribute_mapping: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    idp_identifiers: Vec<String>,
    last_modified_date: Time,
    creation_date: Time,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProviderResponse {
    identity_provider: ProviderShape,
}

impl ProviderResponse {
    fn new(pool_id: &str, of: IdentityProvider) -> Self {
        let identity_provider = ProviderShape {
            user_pool_id: pool_id.to_owned(),
            provider_name: of.name,
            provider_type: of.kind.name(),
            provider_details: of.settings.details,
            attribute_mapping: of.settings.attribute_mapping,
            idp_identifiers: of.identifiers,
            last_modified_date: Time(of.updated_at),
            creation_date: Time(of.created_at),
        };
        Self { identity_provider }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateProviderRequest {
    user_pool_id: String,
    provider_name: String,
    provider_type: String,
    provider_details: BTreeMap<String, String>,
    attribute_mapping: Option<BTreeMap<String, String>>,
    idp_identifiers: Option<Vec<String>>,
}

async fn create_identity_provider(
    call: &AdminCall,
    request: CreateProviderRequest,
) -> Answer<ProviderResponse> {
    let kind = ProviderKind::parse(&request.provider_type)
        .ok_or_else(|| ApiError::invalid_parameter("The provider type is not known."))?;
    let new = &NewProvider {
        name: request.provider_name,
        kind,
        settings: IdentityProviderSettings {
            details: request.provider_details,
            attribute_mapping: request.attribute_mapping.unwrap_or_default(),
        },
        identifiers: request.idp_identifiers.unwrap_or_default(),
    };
    let (id, now, entropy) = (&*request.user_pool_id, call.now(), call.entropy());
    let create = call.change(id, |tx| Box::pin(pools::create_provider(tx, id, new, now, entropy)));
    Ok(ProviderResponse::new(id, create.await?))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateProviderRequest {
    user_pool_id: String,
    provider_name: String,
    provider_details: Option<BTreeMap<String, String>>,
    attribute_mapping: Option<BTreeMap<String, String>>,
    idp_identifiers: Option<Vec<String>>,
}

async fn update_identity_provider(
    call: &AdminCall,
    request: UpdateProviderRequest,
) -> Answer<ProviderResponse> {
    let changes = &ProviderChanges {
        details: request.provider_details,
        attribute_mapping: request.attribute_mapping,
        identifiers: request.idp_identifiers,
    };
    let (id, name) = (&*request.user_pool_id, &*request.provider_name);
    let (now, entropy) = (call.now(), call.entropy());
    let update = call.change(id, |tx| Box::pin(pools::update_provider(tx, id, name, changes, now, entropy)));
    Ok(ProviderResponse::new(id, update.await?))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProviderNameRequest {
    user_pool_id: String,
    provider_name: String,
}

async fn describe_identity_provider(
    call: &AdminCall,
    request: ProviderNameRequest,
) -> Answer<ProviderResponse> {
    let pool = call.stored_pool(&request.user_pool_id).await?;
    let provider = pools::describe_provider(call.store(), &pool, &request.provider_name).await?;
    Ok(ProviderResponse::new(&pool.id, provider))
}

async fn delete_identity_provider(call: &AdminCall, request: ProviderNameRequest) -> Answer<Empty> {
    let (id, name, entropy) = (&*request.user_pool_id, &*request.provider_name, call.entropy());
    call.change(id, |tx| Box::pin(pools::delete_provider(tx, id, name, entropy))).await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IdentifierRequest {
    user_pool_id: String,
    idp_identifier: String,
}

async fn get_identity_provider_by_identifier(
    call: &AdminCall,
    request: IdentifierRequest,
) -> Answer<ProviderResponse> {
    let pool = call.stored_pool(&request.user_pool_id).await?;
    let provider = pools::find_provider(call.store(), &pool, &request.idp_identifier).await?;
    Ok(ProviderResponse::new(&pool.id, provider))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListProvidersRequest {
    user_pool_id: String,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListProvidersResponse {
    providers: Vec<ProviderSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// `ProviderDescription`
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProviderSummary {
    provider_name: String,
    provider_type: &'static str,
    last_modified_date: Time,
    creation_date: Time,
}

async fn list_identity_providers(
    call: &AdminCall,
    request: ListProvidersRequest,
) -> Answer<ListProvidersResponse> {
    let pool = call.stored_pool(&request.user_pool_id).await?;
    let page = PageRequest { limit: request.max_results, token: request.next_token.as_deref() };
    let (store, ring) = (call.store(), call.ring());
    let page = pools::list_providers(store, ring, &pool, page, call.now(), call.entropy()).await?;
    let summary = |of: IdentityProvider| ProviderSummary {
        provider_name: of.name,
        provider_type: of.kind.name(),
        last_modified_date: Time(of.updated_at),
        creation_date: Time(of.created_at),
    };
    let providers = page.entries.into_iter().map(summary).collect();
    Ok(ListProvidersResponse { providers, next_token: page.token })
}
