//! Links between users and accounts of identity providers.

use crate::aws::call::AdminCall;
use crate::aws::error::ApiError;
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::model::{LOCAL_PROVIDER, ProviderLink, SUBJECT_ATTRIBUTE};
use serde::Deserialize;

pub const OPERATIONS: &[Operation] = operations! {
    Admin "AdminLinkProviderForUser" => link_provider;
    Admin "AdminDisableProviderForUser" => disable_provider;
};

/// `ProviderUserIdentifierType`
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProviderUser {
    provider_name: Option<String>,
    provider_attribute_name: Option<String>,
    provider_attribute_value: Option<String>,
}

impl ProviderUser {
    /// Returns the account that the member `member` of a request names. Without an attribute's name
    /// it is the account's subject.
    fn named(self, member: &str) -> Result<ProviderLink, ApiError> {
        let lacks =
            |name: &str| ApiError::invalid_parameter(format!("Invalid {member}: {name} is required."));
        let value = self.provider_attribute_value.filter(|value| !value.is_empty());
        Ok(ProviderLink {
            provider: self.provider_name.ok_or_else(|| lacks("ProviderName"))?,
            attribute: self.provider_attribute_name.unwrap_or_else(|| SUBJECT_ATTRIBUTE.to_owned()),
            value: value.ok_or_else(|| lacks("ProviderAttributeValue"))?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LinkProviderRequest {
    user_pool_id: String,
    destination_user: ProviderUser,
    source_user: ProviderUser,
}

async fn link_provider(call: &AdminCall, request: LinkProviderRequest) -> Answer<Empty> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    // "The ProviderAttributeName of the DestinationUser is ignored."
    let destination = request.destination_user.named("DestinationUser")?;
    let source = request.source_user;
    if source.provider_attribute_name.is_none() && source.provider_name.as_deref() != Some(LOCAL_PROVIDER) {
        let words = "Invalid SourceUser: ProviderAttributeName is required.";
        return Err(ApiError::invalid_parameter(words));
    }
    let source = source.named("SourceUser")?;
    call.directory().accounts.admin_link_provider(&pool, &destination, source).await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DisableProviderRequest {
    user_pool_id: String,
    user: ProviderUser,
}

async fn disable_provider(call: &AdminCall, request: DisableProviderRequest) -> Answer<Empty> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    let account = request.user.named("User")?;
    call.directory().accounts.admin_disable_provider(&pool, account).await?;
    Ok(Empty {})
}
