//! Resource servers and their scopes.

use crate::aws::call::AdminCall;
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::directory::PageRequest;
use crate::directory::pools;
use crate::model::{ResourceScope, ResourceServer, ResourceServerSettings};
use serde::{Deserialize, Serialize};

pub const OPERATIONS: &[Operation] = operations! {
    Admin "CreateResourceServer" => create_resource_server;
    Admin "DescribeResourceServer" => describe_resource_server;
    Admin "UpdateResourceServer" => update_resource_server;
    Admin "DeleteResourceServer" => delete_resource_server;
    Admin "ListResourceServers" => list_resource_servers;
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServerRequest {
    user_pool_id: String,
    identifier: String,
    name: String,
    scopes: Option<Vec<Scope>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Scope {
    scope_name: String,
    scope_description: String,
}

impl ServerRequest {
    fn settings(&self) -> ResourceServerSettings {
        let scope = |of: &Scope| ResourceScope {
            name: of.scope_name.clone(),
            description: of.scope_description.clone(),
        };
        let scopes = self.scopes.iter().flatten().map(scope).collect();
        ResourceServerSettings { name: self.name.clone(), scopes }
    }
}

/// `ResourceServerType`
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerShape {
    user_pool_id: String,
    identifier: String,
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<Scope>,
}

impl ServerShape {
    fn new(pool_id: &str, of: ResourceServer) -> Self {
        let scope = |of: ResourceScope| Scope { scope_name: of.name, scope_description: of.description };
        Self {
            user_pool_id: pool_id.to_owned(),
            identifier: of.identifier,
            name: of.settings.name,
            scopes: of.settings.scopes.into_iter().map(scope).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerResponse {
    resource_server: ServerShape,
}

async fn create_resource_server(call: &AdminCall, request: ServerRequest) -> Answer<ServerResponse> {
    let (id, identifier, settings) = (&*request.user_pool_id, &*request.identifier, &request.settings());
    let (now, entropy) = (call.now(), call.entropy());
    let create = call
        .change(id, |tx| Box::pin(pools::create_resource_server(tx, id, identifier, settings, now, entropy)));
    Ok(ServerResponse { resource_server: ServerShape::new(id, create.await?) })
}

async fn update_resource_server(call: &AdminCall, request: ServerRequest) -> Answer<ServerResponse> {
    let (id, identifier, settings) = (&*request.user_pool_id, &*request.identifier, &request.settings());
    let (now, entropy) = (call.now(), call.entropy());
    let update = call
        .change(id, |tx| Box::pin(pools::update_resource_server(tx, id, identifier, settings, now, entropy)));
    Ok(ServerResponse { resource_server: ServerShape::new(id, update.await?) })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IdentifierRequest {
    user_pool_id: String,
    identifier: String,
}

async fn describe_resource_server(call: &AdminCall, request: IdentifierRequest) -> Answer<ServerResponse> {
    let pool = call.stored_pool(&request.user_pool_id).await?;
    let server = pools::describe_resource_server(call.store(), &pool, &request.identifier).await?;
    Ok(ServerResponse { resource_server: ServerShape::new(&pool.id, server) })
}

async fn delete_resource_server(call: &AdminCall, request: IdentifierRequest) -> Answer<Empty> {
    let (id, identifier, entropy) = (&*request.user_pool_id, &*request.identifier, call.entropy());
    call.change(id, |tx| Box::pin(pools::delete_resource_server(tx, id, identifier, entropy))).await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListServersRequest {
    user_pool_id: String,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListServersResponse {
    resource_servers: Vec<ServerShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

async fn list_resource_servers(call: &AdminCall, request: ListServersRequest) -> Answer<ListServersResponse> {
    let pool = call.stored_pool(&request.user_pool_id).await?;
    let page = PageRequest { limit: request.max_results, token: request.next_token.as_deref() };
    let (store, ring) = (call.store(), call.ring());
    let page = pools::list_resource_servers(store, ring, &pool, page, call.now(), call.entropy()).await?;
    let servers = page.entries.into_iter().map(|server| ServerShape::new(&pool.id, server));
    Ok(ListServersResponse { resource_servers: servers.collect(), next_token: page.token })
}
