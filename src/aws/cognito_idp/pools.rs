//! User pools: creation, description, changes, deletion, lists.

use super::lambda_config;
use super::pool_request::RequestedPool;
use super::pool_shape::{PoolFacts, describe};
use super::schema::SchemaAttributeShape;
use super::shapes::Time;
use crate::aws::call::AdminCall;
use crate::aws::operation::{Answer, Empty, Operation, decode, operations};
use crate::directory::PageRequest;
use crate::directory::pools::{self, PoolChanges};
use crate::model::Pool;
use crate::store::{CheckedWork, Counter};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const OPERATIONS: &[Operation] = operations! {
    Admin "CreateUserPool" on Any => create_user_pool;
    Admin "DescribeUserPool" => describe_user_pool;
    Admin "UpdateUserPool" => update_user_pool;
    Admin "DeleteUserPool" => delete_user_pool;
    Admin "ListUserPools" on Any => list_user_pools;
    Admin "AddCustomAttributes" => add_custom_attributes;
};

/// A request that names a pool and nothing else that the handler reads.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PoolIdRequest {
    user_pool_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UserPoolResponse {
    user_pool: Value,
}

async fn create_user_pool(call: &AdminCall, request: Value) -> Answer<UserPoolResponse> {
    let settings = &RequestedPool::read(request)?.settings;
    pools::check_triggers(&call.catalogue.config, &settings.triggers)?;
    let (region, now, entropy) = (&*call.by.region, call.now(), call.entropy());
    let create = call.store().checked_transaction(|tx| -> CheckedWork<'_, _, _> {
        Box::pin(pools::create_pool(tx, region, settings, now, entropy))
    });
    let pool = create.await?;
    call.apply_change(&pool.id);
    description(call, &pool).await
}

async fn describe_user_pool(call: &AdminCall, request: PoolIdRequest) -> Answer<UserPoolResponse> {
    description(call, &call.stored_pool(&request.user_pool_id).await?).await
}

async fn description(call: &AdminCall, pool: &Pool) -> Answer<UserPoolResponse> {
    let facts = PoolFacts {
        arn: call.arn(&pool.id),
        users: call.store().counter(pool.no, Counter::Users).await?,
        domains: pools::list_domains(call.store(), pool).await?,
    };
    Ok(UserPoolResponse { user_pool: describe(pool, facts)? })
}

async fn update_user_pool(call: &AdminCall, request: Value) -> Answer<Empty> {
    let PoolIdRequest { user_pool_id } = decode(request.clone())?;
    let RequestedPool { settings, verify_before_update, mfa_mode } = RequestedPool::read(request)?;
    pools::check_triggers(&call.catalogue.config, &settings.triggers)?;
    let changes = &PoolChanges::replacing(settings, verify_before_update, mfa_mode);
    let (id, now, entropy) = (&*user_pool_id, call.now(), call.entropy());
    call.change(id, |tx| Box::pin(pools::update_pool(tx, id, changes, now, entropy))).await?;
    Ok(Empty {})
}

async fn delete_user_pool(call: &AdminCall, request: PoolIdRequest) -> Answer<Empty> {
    let (id, now, entropy) = (&*request.user_pool_id, call.now(), call.entropy());
    call.change(id, |tx| Box::pin(pools::delete_pool(tx, id, now, entropy))).await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListUserPoolsRequest {
    next_token: Option<String>,
    max_results: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListUserPoolsResponse {
    user_pools: Vec<UserPoolDescription>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UserPoolDescription {
    id: String,
    name: String,
    lambda_config: Value,
    last_modified_date: Time,
    creation_date: Time,
}

async fn list_user_pools(call: &AdminCall, request: ListUserPoolsRequest) -> Answer<ListUserPoolsResponse> {
    let page = PageRequest { limit: Some(request.max_results), token: request.next_token.as_deref() };
    let (prefix, now) = (&*call.by.pool_prefix, call.now());
    let page = pools::list_pools((call.store(), call.ring()), prefix, page, now, call.entropy()).await?;
    let description = |pool: Pool| UserPoolDescription {
        lambda_config: lambda_config::describe(&pool.settings, &call.arn(&pool.id)),
        id: pool.id,
        name: pool.settings.name,
        last_modified_date: Time(pool.updated_at),
        creation_date: Time(pool.created_at),
    };
    let user_pools = page.entries.into_iter().map(description).collect();
    Ok(ListUserPoolsResponse { user_pools, next_token: page.token })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AddCustomAttributesRequest {
    user_pool_id: String,
    custom_attributes: Vec<SchemaAttributeShape>,
}

async fn add_custom_attributes(call: &AdminCall, request: AddCustomAttributesRequest) -> Answer<Empty> {
    let attributes = request.custom_attributes.into_iter().map(SchemaAttributeShape::custom_attribute);
    let attributes = &attributes.collect::<Answer<Vec<_>>>()?;
    let (id, now, entropy) = (&*request.user_pool_id, call.now(), call.entropy());
    call.change(id, |tx| Box::pin(pools::add_custom_attributes(tx, id, attributes, now, entropy))).await?;
    Ok(Empty {})
}
