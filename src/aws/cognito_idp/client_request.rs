//! The members of requests that create and change app clients.

use crate::aws::error::ApiError;
use crate::aws::operation::{Answer, decode};
use crate::base::Secret;
use crate::directory::pools::NewSecret;
use crate::model::{AppClientSettings, Members, RefreshRotation};
use serde::Deserialize;
use serde_json::Value;

/// Members without an effect, and members whose form the settings do not hold: numbers with their
/// units, and whether a list was given.
pub const KEPT: [&str; 16] = [
    "AccessTokenValidity",
    "AllowedOAuthFlows",
    "AllowedOAuthScopes",
    "AnalyticsConfiguration",
    "CallbackURLs",
    "EnablePropagateAdditionalUserContextData",
    "EnableTokenRevocation",
    "ExplicitAuthFlows",
    "IdTokenValidity",
    "LogoutURLs",
    "ReadAttributes",
    "RefreshTokenRotation",
    "RefreshTokenValidity",
    "SupportedIdentityProviders",
    "TokenValidityUnits",
    "WriteAttributes",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ClientRequest {
    client_name: Option<String>,
    generate_secret: Option<bool>,
    #[serde(default, deserialize_with = "super::shapes::optional_secret")]
    client_secret: Option<Secret>,
    refresh_token_validity: Option<u64>,
    access_token_validity: Option<u64>,
    id_token_validity: Option<u64>,
    token_validity_units: Option<Units>,
    read_attributes: Option<Vec<String>>,
    write_attributes: Option<Vec<String>>,
    explicit_auth_flows: Option<Vec<String>>,
    supported_identity_providers: Option<Vec<String>>,
    #[serde(rename = "CallbackURLs")]
    callback_urls: Option<Vec<String>>,
    #[serde(rename = "LogoutURLs")]
    logout_urls: Option<Vec<String>>,
    #[serde(rename = "DefaultRedirectURI")]
    default_redirect_uri: Option<String>,
    #[serde(rename = "AllowedOAuthFlows")]
    allowed_oauth_flows: Option<Vec<String>>,
    #[serde(rename = "AllowedOAuthScopes")]
    allowed_oauth_scopes: Option<Vec<String>>,
    #[serde(rename = "AllowedOAuthFlowsUserPoolClient")]
    oauth_allowed: Option<bool>,
    prevent_user_existence_errors: Option<String>,
    auth_session_validity: Option<u64>,
    refresh_token_rotation: Option<Rotation>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Units {
    access_token: Option<Unit>,
    id_token: Option<Unit>,
    refresh_token: Option<Unit>,
}

/// `TimeUnitsType`
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unit {
    Seconds,
    Minutes,
    Hours,
    Days,
}

impl Unit {
    /// Returns the seconds of `value` units. The bounds of the model keep the product small.
    fn seconds(self, value: u64) -> u64 {
        let unit = match self {
            Self::Seconds => 1,
            Self::Minutes => 60,
            Self::Hours => 3600,
            Self::Days => 86_400,
        };
        value.saturating_mul(unit)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rotation {
    feature: String,
    retry_grace_period_seconds: Option<u64>,
}

/// An app client as a request describes it; defaults for what is absent.
pub struct RequestedClient {
    /// The settings.
    pub settings: AppClientSettings,
    /// The secret, at its creation.
    pub secret: Option<NewSecret>,
}

impl RequestedClient {
    /// Reads the request of `CreateUserPoolClient` or `UpdateUserPoolClient`.
    ///
    /// # Errors
    /// Returns `InvalidParameterException`.
    pub fn read(request: Value) -> Answer<Self> {
        let kept = kept_members(&request);
        let mut request: ClientRequest = decode(request)?;
        let secret = match (request.generate_secret, request.client_secret.take()) {
            (Some(true), Some(_)) => {
                return Err(ApiError::invalid_parameter(
                    "GenerateSecret and ClientSecret cannot be set together.",
                ));
            }
            (Some(true), None) => Some(NewSecret::Generated),
            (_, secret) => secret.map(NewSecret::Given),
        };
        Ok(Self { settings: settings(request, kept), secret })
    }
}

fn settings(request: ClientRequest, kept: Members) -> AppClientSettings {
    let default = AppClientSettings::default();
    let units = request.token_validity_units.unwrap_or_default();
    let validity = |value: Option<u64>, unit: Option<Unit>, default_unit: Unit, default: u64| {
        // Of 0: "Amazon Cognito overrides the value with the default value" (RefreshTokenValidity)
        let value = value.filter(|value| *value > 0);
        value.map_or(default, |value| unit.unwrap_or(default_unit).seconds(value))
    };
    let rotation = request.refresh_token_rotation.filter(|rotation| rotation.feature == "ENABLED");
    AppClientSettings {
        name: request.client_name.unwrap_or_default(),
        explicit_auth_flows: request.explicit_auth_flows.unwrap_or(default.explicit_auth_flows),
        hide_unknown_users: request.prevent_user_existence_errors.as_deref() != Some("LEGACY"),
        session_validity: request
            .auth_session_validity
            .map_or(default.session_validity, |minutes| Unit::Minutes.seconds(minutes)),
        access_token_validity: validity(
            request.access_token_validity,
            units.access_token,
            Unit::Hours,
            default.access_token_validity,
        ),
        id_token_validity: validity(
            request.id_token_validity,
            units.id_token,
            Unit::Hours,
            default.id_token_validity,
        ),
        refresh_token_validity: validity(
            request.refresh_token_validity,
            units.refresh_token,
            Unit::Days,
            default.refresh_token_validity,
        ),
        rotation: rotation.map(|of| RefreshRotation { grace: of.retry_grace_period_seconds.unwrap_or(0) }),
        read_attributes: request.read_attributes,
        write_attributes: request.write_attributes,
        allowed_oauth_flows: request.allowed_oauth_flows.unwrap_or_default(),
        oauth_allowed: Some(request.oauth_allowed.unwrap_or(false)),
        allowed_oauth_scopes: request.allowed_oauth_scopes.unwrap_or_default(),
        callback_urls: request.callback_urls.unwrap_or_default(),
        default_redirect_uri: request.default_redirect_uri,
        logout_urls: request.logout_urls.unwrap_or_default(),
        identity_providers: request.supported_identity_providers.unwrap_or(default.identity_providers),
        authenticates_by_key: false,
        dpop_bound_access_tokens: false,
        kept,
    }
}

fn kept_members(request: &Value) -> Members {
    let is_zero = |value: &Value| value.as_u64() == Some(0);
    let given = |name: &str| request.get(name).filter(|value| !value.is_null() && !is_zero(value)).cloned();
    KEPT.iter().filter_map(|name| Some(((*name).to_owned(), given(name)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn validities_have_units_with_defaults() {
        let validities = |request: Value| {
            let of = RequestedClient::read(request).unwrap_or_else(|error| panic!("{error}")).settings;
            [of.access_token_validity, of.id_token_validity, of.refresh_token_validity]
        };
        assert_eq!(validities(json!({})), [3600, 3600, 2_592_000]);
        let values = json!({ "AccessTokenValidity": 2, "IdTokenValidity": 3, "RefreshTokenValidity": 5 });
        assert_eq!(validities(values.clone()), [7200, 10_800, 432_000]);
        let mut with_units = values;
        with_units["TokenValidityUnits"] = json!({ "AccessToken": "days", "RefreshToken": "hours" });
        assert_eq!(validities(with_units), [172_800, 10_800, 18_000]);
        assert_eq!(validities(json!({ "RefreshTokenValidity": 0 })), [3600, 3600, 2_592_000]);
    }

    #[test]
    fn oauth_needs_permission_and_one_secret_is_given_or_generated() {
        let read = |request: Value| RequestedClient::read(request);
        let settings =
            read(json!({ "AllowedOAuthFlows": ["code"] })).unwrap_or_else(|e| panic!("{e}")).settings;
        assert!(!settings.may_use_oauth() && settings.hide_unknown_users);
        let secret = "s".repeat(24);
        assert!(read(json!({ "GenerateSecret": true, "ClientSecret": secret })).is_err());
        assert!(read(json!({ "GenerateSecret": false })).is_ok_and(|of| of.secret.is_none()));
    }
}
