//! Groups and their members.

use super::shapes::{Time, UserShape, attributes_of_user};
use crate::aws::call::AdminCall;
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::directory::{self, DirectoryDeps, DirectoryError, GroupChanges, NewGroup, PageRequest};
use crate::model::{Pool, UserGroup};
use crate::store::CheckedWork;
use serde::{Deserialize, Serialize};

pub const OPERATIONS: &[Operation] = operations! {
    Admin "CreateGroup" => create_group;
    Admin "GetGroup" => get_group;
    Admin "UpdateGroup" => update_group;
    Admin "DeleteGroup" => delete_group;
    Admin "ListGroups" => list_groups;
    Admin "AdminAddUserToGroup" => add_user;
    Admin "AdminRemoveUserFromGroup" => remove_user;
    Admin "AdminListGroupsForUser" => list_groups_for_user;
    Admin "ListUsersInGroup" => list_users;
};

/// `GroupType`
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GroupShape {
    group_name: String,
    user_pool_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    role_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    precedence: Option<u32>,
    creation_date: Time,
    last_modified_date: Time,
}

impl GroupShape {
    fn new(pool: &Pool, group: UserGroup) -> Self {
        Self {
            group_name: group.name,
            user_pool_id: pool.id.clone(),
            description: group.description,
            role_arn: group.role,
            precedence: group.precedence,
            creation_date: Time(group.created_at),
            last_modified_date: Time(group.updated_at),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GroupResponse {
    group: GroupShape,
}

/// The members of a group that a request sets.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GroupRequest {
    user_pool_id: String,
    group_name: String,
    description: Option<String>,
    role_arn: Option<String>,
    precedence: Option<u32>,
}

async fn create_group(call: &AdminCall, request: GroupRequest) -> Answer<GroupResponse> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    let DirectoryDeps { store, clock, entropy, .. } = &call.directory().deps;
    let new = NewGroup {
        name: request.group_name,
        description: request.description.unwrap_or_default(),
        role: request.role_arn.unwrap_or_default(),
        precedence: request.precedence,
    };
    let (pool, new, now) = (&pool, &new, clock.now());
    let created = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        Box::pin(async move { directory::create_group(tx, pool, new, now, &**entropy).await })
    });
    Ok(GroupResponse { group: GroupShape::new(pool, created.await?) })
}

/// A request about one group.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NamedGroup {
    user_pool_id: String,
    group_name: String,
}

async fn get_group(call: &AdminCall, request: NamedGroup) -> Answer<GroupResponse> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    let group = directory::find_group(&call.directory().deps.store, &pool, &request.group_name).await?;
    Ok(GroupResponse { group: GroupShape::new(&pool, group) })
}

async fn update_group(call: &AdminCall, request: GroupRequest) -> Answer<GroupResponse> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    let DirectoryDeps { store, clock, .. } = &call.directory().deps;
    let GroupRequest { description, role_arn: role, precedence, group_name: name, .. } = &request;
    let changes =
        GroupChanges { description: description.clone(), role: role.clone(), precedence: *precedence };
    let (pool, changes, now) = (&pool, &changes, clock.now());
    let updated = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        Box::pin(async move { directory::update_group(tx, pool, name, changes, now).await })
    });
    Ok(GroupResponse { group: GroupShape::new(pool, updated.await?) })
}

async fn delete_group(call: &AdminCall, request: NamedGroup) -> Answer<Empty> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    let DirectoryDeps { store, entropy, .. } = &call.directory().deps;
    let (pool, name) = (&pool, &request.group_name);
    let deleted = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        Box::pin(async move { directory::delete_group(tx, pool, name, &**entropy).await })
    });
    deleted.await?;
    Ok(Empty {})
}

/// A request for a page.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListRequest {
    user_pool_id: String,
    #[serde(default)]
    group_name: String,
    #[serde(default)]
    username: String,
    limit: Option<u32>,
    next_token: Option<String>,
}

impl ListRequest {
    fn page(&self) -> PageRequest<'_> {
        PageRequest { limit: self.limit, token: self.next_token.as_deref() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GroupsResponse {
    groups: Vec<GroupShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

async fn list_groups(call: &AdminCall, request: ListRequest) -> Answer<GroupsResponse> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    let DirectoryDeps { store, ring, clock, entropy, .. } = &call.directory().deps;
    let page = directory::list_groups(store, ring, &pool, request.page(), clock.now(), &**entropy).await?;
    let groups = page.entries.into_iter().map(|group| GroupShape::new(&pool, group)).collect();
    Ok(GroupsResponse { groups, next_token: page.token })
}

async fn list_groups_for_user(call: &AdminCall, request: ListRequest) -> Answer<GroupsResponse> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    let user = call.directory().accounts.admin_user(&pool, &request.username).await?;
    let DirectoryDeps { store, ring, clock, entropy, .. } = &call.directory().deps;
    let page =
        directory::list_groups_of_user(store, ring, &user, request.page(), clock.now(), &**entropy).await?;
    let groups = page.entries.into_iter().map(|group| GroupShape::new(&pool, group)).collect();
    Ok(GroupsResponse { groups, next_token: page.token })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsersResponse {
    users: Vec<UserShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

async fn list_users(call: &AdminCall, request: ListRequest) -> Answer<UsersResponse> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    let DirectoryDeps { store, ring, clock, entropy, .. } = &call.directory().deps;
    let (name, page, now) = (&request.group_name, request.page(), clock.now());
    let page = directory::list_members(store, ring, &pool, name, page, now, &**entropy).await?;
    let users = page.entries.iter().map(|user| UserShape::new(user, attributes_of_user(user))).collect();
    Ok(UsersResponse { users, next_token: page.token })
}

/// A request about the membership of a user.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Membership {
    user_pool_id: String,
    username: String,
    group_name: String,
}

async fn add_user(call: &AdminCall, request: Membership) -> Answer<Empty> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    let user = call.directory().accounts.admin_user(&pool, &request.username).await?;
    let DirectoryDeps { store, clock, entropy, .. } = &call.directory().deps;
    let (pool, user, name, now) = (&pool, &user, &request.group_name, clock.now());
    let added = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        Box::pin(async move { directory::add_to_group(tx, pool, name, user, now, &**entropy).await })
    });
    added.await?;
    Ok(Empty {})
}

async fn remove_user(call: &AdminCall, request: Membership) -> Answer<Empty> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    let user = call.directory().accounts.admin_user(&pool, &request.username).await?;
    let DirectoryDeps { store, entropy, .. } = &call.directory().deps;
    let (pool, user, name) = (&pool, &user, &request.group_name);
    let removed = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        Box::pin(async move { directory::remove_from_group(tx, pool, name, user, &**entropy).await })
    });
    removed.await?;
    Ok(Empty {})
}
