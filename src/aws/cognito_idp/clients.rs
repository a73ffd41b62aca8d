//! App clients: creation, description, changes, deletion, lists.

use super::client_request::{KEPT, RequestedClient};
use super::pool_shape::with_kept;
use super::shapes::Time;
use crate::aws::call::AdminCall;
use crate::aws::operation::{Answer, Empty, Operation, decode, operations};
use crate::directory::PageRequest;
use crate::directory::pools::{self, ClientDescription, NewClient};
use crate::model::AppClientSettings;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub const OPERATIONS: &[Operation] = operations! {
    Admin "CreateUserPoolClient" => create_user_pool_client;
    Admin "DescribeUserPoolClient" => describe_user_pool_client;
    Admin "UpdateUserPoolClient" => update_user_pool_client;
    Admin "DeleteUserPoolClient" => delete_user_pool_client;
    Admin "ListUserPoolClients" => list_user_pool_clients;
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PoolIdRequest {
    user_pool_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ClientIdRequest {
    user_pool_id: String,
    client_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ClientResponse {
    user_pool_client: Value,
}

/// `UserPoolClientType`, but for the kept members.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ClientShape<'a> {
    user_pool_id: &'a str,
    client_name: &'a str,
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a str>,
    last_modified_date: Time,
    creation_date: Time,
    refresh_token_validity: u64,
    #[serde(rename = "DefaultRedirectURI", skip_serializing_if = "Option::is_none")]
    default_redirect_uri: Option<&'a str>,
    #[serde(rename = "AllowedOAuthFlowsUserPoolClient")]
    allowed_oauth_flows_user_pool_client: bool,
    prevent_user_existence_errors: &'static str,
    enable_token_revocation: bool,
    enable_propagate_additional_user_context_data: bool,
    auth_session_validity: u64,
}

async fn create_user_pool_client(call: &AdminCall, request: Value) -> Answer<ClientResponse> {
    let PoolIdRequest { user_pool_id } = decode(request.clone())?;
    let RequestedClient { settings, secret } = RequestedClient::read(request)?;
    let new = &NewClient { settings, secret };
    let (id, now, entropy) = (&*user_pool_id, call.now(), call.entropy());
    let created = call.change(id, |tx| Box::pin(pools::create_client(tx, id, new, now, entropy))).await?;
    description(id, &created)
}

async fn describe_user_pool_client(call: &AdminCall, request: ClientIdRequest) -> Answer<ClientResponse> {
    let pool = call.stored_pool(&request.user_pool_id).await?;
    description(&pool.id, &pools::describe_client(call.store(), &pool, &request.client_id).await?)
}

async fn update_user_pool_client(call: &AdminCall, request: Value) -> Answer<ClientResponse> {
    let of: ClientIdRequest = decode(request.clone())?;
    let settings = &RequestedClient::read(request)?.settings;
    let (pool_id, client_id) = (&*of.user_pool_id, &*of.client_id);
    let (now, entropy) = (call.now(), call.entropy());
    let update = call
        .change(pool_id, |tx| Box::pin(pools::update_client(tx, pool_id, client_id, settings, now, entropy)));
    update.await?;
    describe_user_pool_client(call, of).await
}

async fn delete_user_pool_client(call: &AdminCall, request: ClientIdRequest) -> Answer<Empty> {
    let ClientIdRequest { user_pool_id, client_id } = &request;
    let (now, entropy) = (call.now(), call.entropy());
    pools::delete_client(call.store(), user_pool_id, client_id, now, entropy).await?;
    call.apply_change(user_pool_id);
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListClientsRequest {
    user_pool_id: String,
    max_results: Option<u32>,
    next_token: Option<String>,
    client_type: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListClientsResponse {
    user_pool_clients: Vec<ClientSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ClientSummary {
    client_id: String,
    user_pool_id: String,
    client_name: String,
}

async fn list_user_pool_clients(
    call: &AdminCall,
    request: ListClientsRequest,
) -> Answer<ListClientsResponse> {
    let pool = call.stored_pool(&request.user_pool_id).await?;
    if request.client_type.as_deref() == Some("DCR") {
        // No client registers itself.
        return Ok(ListClientsResponse { user_pool_clients: Vec::new(), next_token: None });
    }
    let page = PageRequest { limit: request.max_results, token: request.next_token.as_deref() };
    let page =
        pools::list_clients(call.store(), call.ring(), &pool, page, call.now(), call.entropy()).await?;
    let summaries = page.entries.into_iter().map(|client| ClientSummary {
        client_id: client.id,
        user_pool_id: pool.id.clone(),
        client_name: client.settings.name,
    });
    Ok(ListClientsResponse { user_pool_clients: summaries.collect(), next_token: page.token })
}

fn description(pool_id: &str, of: &ClientDescription) -> Answer<ClientResponse> {
    let (client, settings) = (&of.client, &of.client.settings);
    let shape = ClientShape {
        user_pool_id: pool_id,
        client_name: &settings.name,
        client_id: &client.id,
        client_secret: of.secrets.first().map(|secret| secret.secret.expose()),
        last_modified_date: Time(client.updated_at),
        creation_date: Time(client.created_at),
        refresh_token_validity: 30,
        default_redirect_uri: settings.default_redirect_uri.as_deref(),
        allowed_oauth_flows_user_pool_client: settings.may_use_oauth(),
        prevent_user_existence_errors: if settings.hide_unknown_users { "ENABLED" } else { "LEGACY" },
        enable_token_revocation: true,
        enable_propagate_additional_user_context_data: false,
        auth_session_validity: settings.session_validity / 60,
    };
    let mut user_pool_client = with_kept(&shape, &KEPT, &settings.kept)?;
    if let Value::Object(members) = &mut user_pool_client
        && settings.oauth_allowed.is_none()
    {
        members.extend(declared_members(settings));
    }
    Ok(ClientResponse { user_pool_client })
}

/// Returns the members of a client that the configuration file declares: it has no kept ones.
fn declared_members(settings: &AppClientSettings) -> impl Iterator<Item = (String, Value)> {
    let default = AppClientSettings::default();
    let list = |of: &[String], default: &[String]| (of != default).then(|| json!(of));
    let attributes = |of: &Option<Vec<String>>| of.as_ref().map(|of| json!(of));
    let rotation =
        settings.rotation.map(|of| json!({ "Feature": "ENABLED", "RetryGracePeriodSeconds": of.grace }));
    let seconds = json!({ "AccessToken": "seconds", "IdToken": "seconds", "RefreshToken": "seconds" });
    let members = [
        ("ExplicitAuthFlows", list(&settings.explicit_auth_flows, &default.explicit_auth_flows)),
        ("SupportedIdentityProviders", list(&settings.identity_providers, &default.identity_providers)),
        ("CallbackURLs", list(&settings.callback_urls, &[])),
        ("LogoutURLs", list(&settings.logout_urls, &[])),
        ("AllowedOAuthFlows", list(&settings.allowed_oauth_flows, &[])),
        ("AllowedOAuthScopes", list(&settings.allowed_oauth_scopes, &[])),
        ("ReadAttributes", attributes(&settings.read_attributes)),
        ("WriteAttributes", attributes(&settings.write_attributes)),
        ("RefreshTokenRotation", rotation),
        ("AccessTokenValidity", Some(json!(settings.access_token_validity))),
        ("IdTokenValidity", Some(json!(settings.id_token_validity))),
        ("RefreshTokenValidity", Some(json!(settings.refresh_token_validity))),
        ("TokenValidityUnits", Some(seconds)),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)))
}
