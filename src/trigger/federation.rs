//! Events of sign-ins with accounts of identity providers.

use super::event::{Event, Metadata};
use crate::config::TriggerEvent;
use serde::{Deserialize, Serialize};

/// The event before what a provider says of a user is mapped to attributes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundFederation<'a> {
    /// The provider's name.
    pub provider_name: &'a str,
    /// The provider's type, as in Cognito's API.
    pub provider_type: &'a str,
    /// What the provider says.
    pub attributes: ProviderAttributes,
}

/// What a provider says of a user, by name. A value that is no text is JSON.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderAttributes {
    /// The claims of an OpenID or social provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<Metadata>,
    /// The attributes of a SAML assertion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saml_response: Option<Metadata>,
}

/// The answer to [`InboundFederation`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MappedAttributes {
    /// What replaces the provider's attributes; empty to leave them as they are.
    pub user_attributes_to_map: Option<Metadata>,
}

impl Event for InboundFederation<'_> {
    const EVENT: TriggerEvent = TriggerEvent::InboundFederation;
    type Response = MappedAttributes;
}
