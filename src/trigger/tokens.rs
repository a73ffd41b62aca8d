//! The event before tokens are signed, in its three versions.

use super::event::{Event, Metadata};
use crate::config::TriggerEvent;
use crate::token::{ClaimOverrides, GroupOverrides, TokenOverrides};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The event before tokens are signed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreTokenGeneration<'a> {
    /// The version of the event: 1, 2 or 3.
    #[serde(skip)]
    pub version: u8,
    /// The attributes of the user; none of an app client itself.
    pub user_attributes: BTreeMap<String, String>,
    /// The groups of the user.
    pub group_configuration: GroupConfiguration,
    /// What the app sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_metadata: Option<&'a Metadata>,
    /// The granted scopes, from version 2 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<&'a str>>,
}

/// The groups of a user in events, and what takes their place in answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupConfiguration {
    /// The names of the groups.
    pub groups_to_override: Option<Vec<String>>,
    /// The ARNs of the groups' roles.
    pub iam_roles_to_override: Option<Vec<String>>,
    /// The ARN of the preferred role.
    pub preferred_role: Option<String>,
}

/// The answer to [`PreTokenGeneration`]. The version of the event selects the member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenAnswer {
    #[serde(deserialize_with = "object")]
    claims_override_details: Option<ClaimsOverrideDetails>,
    #[serde(deserialize_with = "object")]
    claims_and_scope_override_details: Option<ClaimsAndScopeOverrideDetails>,
}

/// `claimsOverrideDetails` of version 1: of the ID token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimsOverrideDetails {
    claims_to_add_or_override: Option<BTreeMap<String, String>>,
    claims_to_suppress: Option<Vec<String>>,
    #[serde(deserialize_with = "present")]
    group_override_details: Option<Option<GroupConfiguration>>,
}

/// `claimsAndScopeOverrideDetails` of the later versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimsAndScopeOverrideDetails {
    #[serde(deserialize_with = "object")]
    id_token_generation: Option<TokenGeneration>,
    #[serde(deserialize_with = "object")]
    access_token_generation: Option<TokenGeneration>,
    #[serde(deserialize_with = "present")]
    group_override_details: Option<Option<GroupConfiguration>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TokenGeneration {
    claims_to_add_or_override: Option<Map<String, Value>>,
    claims_to_suppress: Option<Vec<String>>,
    #[serde(deserialize_with = "scopes")]
    scopes_to_add: Option<Vec<String>>,
    scopes_to_suppress: Option<Vec<String>>,
}

impl Event for PreTokenGeneration<'_> {
    const EVENT: TriggerEvent = TriggerEvent::PreTokenGeneration;
    type Response = TokenAnswer;

    fn version(&self) -> &'static str {
        match self.version {
            3 => "3",
            2 => "2",
            _ => "1",
        }
    }

    fn response(&self) -> serde_json::Result<Value> {
        Ok(match self.version {
            2 | 3 => json!({ "claimsAndScopeOverrideDetails": null }),
            _ => json!({ "claimsOverrideDetails": null }),
        })
    }
}

/// Reads an object. A structure could also be read from an array.
fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let Some(members) = Option::<Map<String, Value>>::deserialize(deserializer)? else { return Ok(None) };
    serde_json::from_value(members.into()).map(Some).map_err(serde::de::Error::custom)
}

/// Reads an object that may be `null`, which differs from an absent one.
fn present<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    object(deserializer).map(Some)
}

/// Reads scopes. RFC 6749, section 3.3: `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`.
fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let scopes = Option::<Vec<String>>::deserialize(deserializer)?;
    let is_allowed = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let is_token = |scope: &String| !scope.is_empty() && scope.bytes().all(is_allowed);
    match scopes.iter().flatten().all(is_token) {
        true => Ok(scopes),
        false => Err(serde::de::Error::custom("expected scopes without spaces and quotation marks")),
    }
}

/// Returns the changes of an answer to the event of this version.
pub fn token_overrides(version: u8, answer: TokenAnswer) -> TokenOverrides {
    match version {
        2 | 3 => answer.claims_and_scope_override_details.map(later_overrides).unwrap_or_default(),
        _ => answer.claims_override_details.map(first_overrides).unwrap_or_default(),
    }
}

fn first_overrides(details: ClaimsOverrideDetails) -> TokenOverrides {
    let claims = details.claims_to_add_or_override.unwrap_or_default();
    let add = claims.into_iter().map(|(name, value)| (name, value.into())).collect();
    let id = ClaimOverrides { add, suppress: details.claims_to_suppress.unwrap_or_default() };
    TokenOverrides { id, groups: details.group_override_details.map(groups), ..TokenOverrides::default() }
}

fn later_overrides(details: ClaimsAndScopeOverrideDetails) -> TokenOverrides {
    let claims = |of: &mut TokenGeneration| ClaimOverrides {
        add: of.claims_to_add_or_override.take().unwrap_or_default(),
        suppress: of.claims_to_suppress.take().unwrap_or_default(),
    };
    let mut id = details.id_token_generation.unwrap_or_default();
    let mut access = details.access_token_generation.unwrap_or_default();
    TokenOverrides {
        id: claims(&mut id),
        access: claims(&mut access),
        scopes_to_add: access.scopes_to_add.unwrap_or_default(),
        scopes_to_suppress: access.scopes_to_suppress.unwrap_or_default(),
        groups: details.group_override_details.map(groups),
    }
}

/// Returns the groups of an answer: none for `null` and for an empty object.
fn groups(of: Option<GroupConfiguration>) -> GroupOverrides {
    let of = of.unwrap_or_default();
    GroupOverrides {
        groups: of.groups_to_override.unwrap_or_default(),
        roles: of.iam_roles_to_override.unwrap_or_default(),
        preferred_role: of.preferred_role.filter(|role| !role.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(version: u8, response: Value) -> TokenOverrides {
        token_overrides(version, serde_json::from_value(response).unwrap())
    }

    #[test]
    fn each_version_has_its_member() {
        let first = json!({ "claimsOverrideDetails": { "claimsToAddOrOverride": { "a": "1" } } });
        let later = json!({ "claimsAndScopeOverrideDetails": { "accessTokenGeneration": {
            "claimsToAddOrOverride": { "a": [1] }, "scopesToAdd": ["x"], "scopesToSuppress": ["y"] } } });
        let overrides = read(1, first.clone());
        assert_eq!(overrides.id.add["a"], "1");
        assert!(overrides.access.add.is_empty() && overrides.groups.is_none());
        assert_eq!(read(2, first), TokenOverrides::default());
        assert_eq!(read(1, later.clone()), TokenOverrides::default());
        for version in [2, 3] {
            let overrides = read(version, later.clone());
            assert_eq!(overrides.access.add["a"], json!([1]));
            assert_eq!(
                (&*overrides.scopes_to_add, &*overrides.scopes_to_suppress),
                (&["x".to_owned()][..], &["y".to_owned()][..])
            );
        }
        for nothing in [json!({}), json!({ "claimsOverrideDetails": null })] {
            assert_eq!(read(1, nothing), TokenOverrides::default());
        }
    }

    #[test]
    fn null_clears_the_groups_and_an_absent_member_keeps_them() {
        let of = |details: Value| read(1, json!({ "claimsOverrideDetails": details })).groups;
        assert_eq!(of(json!({})), None);
        for cleared in [Value::Null, json!({}), json!({ "groupsToOverride": null })] {
            assert_eq!(of(json!({ "groupOverrideDetails": cleared })), Some(GroupOverrides::default()));
        }
        let groups =
            of(json!({ "groupOverrideDetails": { "groupsToOverride": ["a"], "preferredRole": "r" } }));
        assert_eq!(groups.unwrap().groups, ["a"]);
    }

    #[test]
    fn other_types_are_no_answer() {
        for details in [
            json!({ "claimsToAddOrOverride": { "a": 1 } }),
            json!({ "claimsToSuppress": "a" }),
            json!({ "groupOverrideDetails": [] }),
        ] {
            let response = json!({ "claimsOverrideDetails": details });
            assert!(serde_json::from_value::<TokenAnswer>(response.clone()).is_err(), "{response}");
        }
        for scope in ["", "a b", "a\"b", "ä"] {
            let response = json!({ "claimsAndScopeOverrideDetails": { "accessTokenGeneration": { "scopesToAdd": [scope] } } });
            assert!(serde_json::from_value::<TokenAnswer>(response).is_err(), "{scope}");
        }
    }
}
