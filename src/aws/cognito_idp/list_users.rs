//! Search and lists of users.

use super::shapes::{UserShape, attribute_list};
use crate::aws::call::AdminCall;
use crate::aws::operation::{Answer, Operation, operations};
use crate::directory::{DirectoryDeps, PageRequest, UsersQuery, list_users as list, select_attributes};
use serde::{Deserialize, Serialize};

pub const OPERATIONS: &[Operation] = operations! {
    Admin "ListUsers" => list_users;
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListUsersRequest {
    user_pool_id: String,
    attributes_to_get: Option<Vec<String>>,
    limit: Option<u32>,
    pagination_token: Option<String>,
    filter: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListUsersResponse {
    users: Vec<UserShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pagination_token: Option<String>,
}

async fn list_users(call: &AdminCall, request: ListUsersRequest) -> Answer<ListUsersResponse> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    let DirectoryDeps { store, ring, clock, entropy, .. } = &call.directory().deps;
    let page = PageRequest { limit: request.limit, token: request.pagination_token.as_deref() };
    let query = UsersQuery { filter: request.filter.as_deref().unwrap_or_default(), page };
    let page = list(store, ring, &pool, query, clock.now(), &**entropy).await?;
    let names: Vec<&str> = request.attributes_to_get.iter().flatten().map(String::as_str).collect();
    let attributes = select_attributes(&pool, &page.entries, &names)?;
    let users = page.entries.iter().zip(&attributes);
    let users = users.map(|(user, attributes)| UserShape::new(user, attribute_list(attributes))).collect();
    Ok(ListUsersResponse { users, pagination_token: page.token })
}
