//! Tags of user pools, by ARN.

use super::pool_request::tags;
use crate::aws::administrator::pool_of_arn;
use crate::aws::call::AdminCall;
use crate::aws::error::ApiError;
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::directory::pools::{self, TagChanges};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const OPERATIONS: &[Operation] = operations! {
    Admin "TagResource" on Arn => tag_resource;
    Admin "UntagResource" on Arn => untag_resource;
    Admin "ListTagsForResource" on Arn => list_tags_for_resource;
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagRequest {
    resource_arn: String,
    tags: BTreeMap<String, Option<String>>,
}

async fn tag_resource(call: &AdminCall, request: TagRequest) -> Answer<Empty> {
    let changes = TagChanges { set: tags(Some(request.tags)), remove: Vec::new() };
    change(call, &request.resource_arn, &changes).await
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UntagRequest {
    resource_arn: String,
    tag_keys: Vec<String>,
}

async fn untag_resource(call: &AdminCall, request: UntagRequest) -> Answer<Empty> {
    let changes = TagChanges { set: BTreeMap::new(), remove: request.tag_keys };
    change(call, &request.resource_arn, &changes).await
}

async fn change(call: &AdminCall, arn: &str, changes: &TagChanges) -> Answer<Empty> {
    let id = pool_id(call, arn)?;
    let (now, entropy) = (call.now(), call.entropy());
    call.change(id, |tx| Box::pin(pools::change_tags(tx, id, changes, now, entropy))).await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListTagsRequest {
    resource_arn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListTagsResponse {
    tags: BTreeMap<String, String>,
}

async fn list_tags_for_resource(call: &AdminCall, request: ListTagsRequest) -> Answer<ListTagsResponse> {
    let pool = call.stored_pool(pool_id(call, &request.resource_arn)?).await?;
    Ok(ListTagsResponse { tags: pool.settings.tags })
}

/// Returns the id of the pool with this ARN. A policy has allowed the operation on this very text.
fn pool_id<'a>(call: &AdminCall, arn: &'a str) -> Answer<&'a str> {
    let id = pool_of_arn(call.arn_scope(), arn)
        .ok_or_else(|| ApiError::invalid_parameter(format!("{arn} is not the ARN of a user pool.")))?;
    call.check_pool(id).map(|()| id)
}
