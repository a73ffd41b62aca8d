//! An app client of a user pool: the sign-ins, grants and tokens that an application may use.

use super::{Members, PoolSource};
use crate::base::{Duration, Secret, Timestamp};
use crate::config::ClientExtensions;
use serde::{Deserialize, Serialize};

/// A stored app client. Its secrets are stored separately and encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppClient {
    /// The client id, unique among all pools.
    pub id: String,
    /// The number of the client's pool.
    pub pool: i64,
    /// Where the client is declared.
    pub source: PoolSource,
    /// The settings.
    pub settings: AppClientSettings,
    /// The number of changes, starting at 1.
    pub version: i64,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
}

/// A secret of an app client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSecret {
    /// The id, unique among the client's secrets.
    pub id: String,
    /// The secret text.
    pub secret: Secret,
    /// The time of creation.
    pub created_at: Timestamp,
}

/// The settings of an app client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppClientSettings {
    /// The name.
    pub name: String,
    /// The flows of `InitiateAuth` that the client may use, with their names in
    /// `ExplicitAuthFlows`.
    pub explicit_auth_flows: Vec<String>,
    /// Whether an unknown user gets the response to a wrong password
    /// (`PreventUserExistenceErrors`).
    pub hide_unknown_users: bool,
    /// Lifetime of a challenge in seconds, 3 to 15 minutes.
    pub session_validity: u64,
    /// Lifetime of access tokens in seconds, 5 minutes to a day.
    pub access_token_validity: u64,
    /// Lifetime of ID tokens in seconds, 5 minutes to a day.
    pub id_token_validity: u64,
    /// Lifetime of refresh tokens in seconds, an hour to 3,650 days.
    pub refresh_token_validity: u64,
    /// The rotation of refresh tokens; `None` disables it.
    pub rotation: Option<RefreshRotation>,
    /// The attributes that a user can read through this client; `None` for all.
    pub read_attributes: Option<Vec<String>>,
    /// The attributes that a user can write through this client; `None` for all mutable ones.
    pub write_attributes: Option<Vec<String>>,
    /// The OAuth 2.0 grants that the client may use (`AllowedOAuthFlows`).
    pub allowed_oauth_flows: Vec<String>,
    /// Whether the client may use these grants (`AllowedOAuthFlowsUserPoolClient`). `None`: it may.
    pub oauth_allowed: Option<bool>,
    /// The scopes that the client may request.
    pub allowed_oauth_scopes: Vec<String>,
    /// The redirect URIs, compared exactly.
    pub callback_urls: Vec<String>,
    /// The redirect URI of a request that names none.
    pub default_redirect_uri: Option<String>,
    /// The URLs to which a browser may be redirected after a sign-out.
    pub logout_urls: Vec<String>,
    /// The identity providers that users of the client may choose; `COGNITO` is the pool itself.
    pub identity_providers: Vec<String>,
    /// Settings that Cognito's API does not have.
    pub extensions: ClientExtensions,
    /// Members of Cognito's API that have no effect here, or whose form the other settings do not
    /// hold. Responses repeat them.
    pub kept: Members,
}

/// The rotation of refresh tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshRotation {
    /// How long the earlier token stays valid, in seconds, 0 to 60.
    pub grace: u64,
}

impl Default for AppClient {
    /// Returns a client that is not stored, with the default settings.
    fn default() -> Self {
        Self {
            id: String::new(),
            pool: 0,
            source: PoolSource::Api,
            settings: AppClientSettings::default(),
            version: 1,
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(0),
        }
    }
}

impl Default for AppClientSettings {
    /// Returns Cognito's defaults: challenges of 3 minutes, ID and access tokens of an hour, and
    /// refresh tokens of 30 days without rotation.
    fn default() -> Self {
        let flows = ["ALLOW_CUSTOM_AUTH", "ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"];
        Self {
            name: String::new(),
            explicit_auth_flows: flows.map(str::to_owned).to_vec(),
            hide_unknown_users: true,
            session_validity: 180,
            access_token_validity: 3600,
            id_token_validity: 3600,
            refresh_token_validity: 30 * 86_400,
            rotation: None,
            read_attributes: None,
            write_attributes: None,
            allowed_oauth_flows: Vec::new(),
            oauth_allowed: None,
            allowed_oauth_scopes: Vec::new(),
            callback_urls: Vec::new(),
            default_redirect_uri: None,
            logout_urls: Vec::new(),
            identity_providers: vec!["COGNITO".to_owned()],
            extensions: ClientExtensions::default(),
            kept: Members::new(),
        }
    }
}

/// The earlier names in `ExplicitAuthFlows`, and the flows that each allows. The name for custom
/// authentication alone, which no flow here is, allows nothing.
const EARLIER_AUTH_FLOWS: [(&str, &[&str]); 3] = [
    (
        "ADMIN_NO_SRP_AUTH",
        &["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    ),
    ("USER_PASSWORD_AUTH", &["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]),
    ("CUSTOM_AUTH_FLOW_ONLY", &[]),
];

impl AppClientSettings {
    /// Returns the lifetime of a challenge.
    pub fn session_validity(&self) -> Duration {
        Duration::from_secs(self.session_validity)
    }

    /// Returns whether `flow` is allowed. `flow` is its name in `ExplicitAuthFlows`, with the
    /// prefix `ALLOW_`.
    ///
    /// An earlier name, without the prefix, allows its own flow, SRP and refresh.
    pub fn allows_auth_flow(&self, flow: &str) -> bool {
        self.explicit_auth_flows.iter().any(|allowed| {
            let earlier = EARLIER_AUTH_FLOWS.iter().find(|(name, _)| *name == allowed.as_str());
            earlier.map_or(allowed == flow, |(_, flows)| flows.contains(&flow))
        })
    }

    /// Returns whether the client may use its grants of OAuth 2.0.
    pub fn may_use_oauth(&self) -> bool {
        self.oauth_allowed
            .unwrap_or(!self.allowed_oauth_flows.is_empty() || self.extensions.device_authorization)
    }

    /// Returns whether the client may use the grant with this name in `AllowedOAuthFlows`.
    pub fn allows_oauth_flow(&self, flow: &str) -> bool {
        self.may_use_oauth() && self.allowed_oauth_flows.iter().any(|allowed| allowed == flow)
    }

    /// Returns whether the client allows Secure Remote Password. Then a verifier is stored with
    /// each new password of the pool.
    pub fn keeps_verifiers(&self) -> bool {
        let flows = ["ALLOW_USER_SRP_AUTH", "ALLOW_USER_AUTH", "ALLOW_CUSTOM_AUTH"];
        flows.iter().any(|flow| self.allows_auth_flow(flow))
    }

    /// Returns whether a user can read `attribute` through this client.
    pub fn may_read(&self, attribute: &str) -> bool {
        self.read_attributes.as_ref().is_none_or(|names| names.iter().any(|name| name == attribute))
    }

    /// Returns whether a user can write `attribute` through this client.
    pub fn may_write(&self, attribute: &str) -> bool {
        self.write_attributes.as_ref().is_none_or(|names| names.iter().any(|name| name == attribute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_attributes_limits_and_none_does_not() {
        let all = AppClientSettings::default();
        assert!(all.may_read("email") && all.may_write("email"));
        let some = AppClientSettings {
            read_attributes: Some(vec!["email".to_owned()]),
            write_attributes: Some(Vec::new()),
            ..all
        };
        assert!(some.may_read("email") && !some.may_read("name") && !some.may_write("email"));
    }

    #[test]
    fn an_earlier_name_allows_its_flow_srp_and_refresh() {
        let flows = [
            "ALLOW_ADMIN_USER_PASSWORD_AUTH",
            "ALLOW_USER_PASSWORD_AUTH",
            "ALLOW_USER_SRP_AUTH",
            "ALLOW_REFRESH_TOKEN_AUTH",
            "ALLOW_USER_AUTH",
            "ALLOW_CUSTOM_AUTH",
            "",
        ];
        for (set, expected) in [
            (&["ADMIN_NO_SRP_AUTH"][..], [true, false, true, true, false, false, false]),
            (&["USER_PASSWORD_AUTH"], [false, true, true, true, false, false, false]),
            (&["ADMIN_NO_SRP_AUTH", "USER_PASSWORD_AUTH"], [true, true, true, true, false, false, false]),
            (&["CUSTOM_AUTH_FLOW_ONLY"], [false; 7]),
            (&["ALLOW_USER_AUTH"], [false, false, false, false, true, false, false]),
            (&["allow_user_auth", "ALLOW_USER_AUTH "], [false; 7]),
            (&[], [false; 7]),
        ] {
            let explicit_auth_flows = set.iter().map(|flow| (*flow).to_owned()).collect();
            let settings = AppClientSettings { explicit_auth_flows, ..AppClientSettings::default() };
            assert_eq!(flows.map(|flow| settings.allows_auth_flow(flow)), expected, "{set:?}");
            assert_eq!(settings.keeps_verifiers(), expected[2] || expected[4] || expected[5], "{set:?}");
        }
    }

    #[test]
    fn settings_of_an_older_node_are_read_with_defaults() {
        let read: AppClientSettings = serde_json::from_str(r#"{"name": "web", "later": 1}"#).unwrap();
        assert_eq!(read, AppClientSettings { name: "web".to_owned(), ..AppClientSettings::default() });
    }
}
