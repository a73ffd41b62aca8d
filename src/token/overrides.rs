//! Changes of tokens by a function of the pool, before they are signed.

use serde_json::{Map, Value, json};

/// The prefix of scopes that no function adds: they allow calls of Cognito's API.
const RESERVED_SCOPES: &str = "aws.cognito.";
/// Prefixes of claims that no function sets.
const RESERVED_CLAIMS: [&str; 2] = ["aws:", "dev:"];
/// The claims of the protocol, which no function sets or removes: the verification of tokens, their
/// revocation and their binding to a user, a client and a key depend on them.
const PROTOCOL_CLAIMS: [&str; 24] = [
    "acr",
    "act",
    "amr",
    "at_hash",
    "aud",
    "auth_time",
    "azp",
    "client_id",
    "cnf",
    "cognito:username",
    "device_key",
    "event_id",
    "exp",
    "iat",
    "identities",
    "iss",
    "jti",
    "nbf",
    "nonce",
    "origin_jti",
    "sid",
    "sub",
    "token_use",
    "version",
];
/// The same of access tokens alone: other members of the answer change the scopes.
const ACCESS_CLAIMS: [&str; 2] = ["scope", "username"];

/// The changes of both tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenOverrides {
    /// The claims of the ID token.
    pub id: ClaimOverrides,
    /// The claims of the access token.
    pub access: ClaimOverrides,
    /// The scopes that the access token gets.
    pub scopes_to_add: Vec<String>,
    /// The scopes that the access token does not get.
    pub scopes_to_suppress: Vec<String>,
    /// The groups in the place of the user's.
    pub groups: Option<GroupOverrides>,
}

/// The changes of a token's claims.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimOverrides {
    /// The claims to set.
    pub add: Map<String, Value>,
    /// The claims to remove, also if they are set.
    pub suppress: Vec<String>,
}

/// Groups in the place of a user's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupOverrides {
    /// The names.
    pub groups: Vec<String>,
    /// The ARNs of their roles.
    pub roles: Vec<String>,
    /// The ARN of the preferred role.
    pub preferred_role: Option<String>,
}

impl TokenOverrides {
    /// Changes the claims of an ID token.
    pub(super) fn apply_to_id(&self, claims: &mut Map<String, Value>) {
        if let Some(groups) = &self.groups {
            set_groups(claims, groups);
            set(claims, "cognito:roles", (!groups.roles.is_empty()).then(|| json!(groups.roles)));
            set(claims, "cognito:preferred_role", groups.preferred_role.as_ref().map(|role| json!(role)));
        }
        apply(claims, &self.id, &[]);
    }

    /// Changes the claims of an access token.
    pub(super) fn apply_to_access(&self, claims: &mut Map<String, Value>) {
        if let Some(groups) = &self.groups {
            set_groups(claims, groups);
        }
        apply(claims, &self.access, &ACCESS_CLAIMS);
        if let Some(granted) = claims.get("scope").and_then(Value::as_str) {
            let scope = self.scope(granted);
            claims.insert("scope".into(), json!(scope));
        }
    }

    /// Returns the scopes of the access token, separated by spaces.
    fn scope(&self, granted: &str) -> String {
        let added = self.scopes_to_add.iter().map(String::as_str);
        let added = added.filter(|scope| !scope.starts_with(RESERVED_SCOPES));
        let mut scopes: Vec<&str> = Vec::new();
        for scope in granted.split(' ').chain(added) {
            let is_suppressed = self.scopes_to_suppress.iter().any(|suppressed| suppressed == scope);
            if !is_suppressed && !scope.is_empty() && !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        scopes.join(" ")
    }
}

fn set_groups(claims: &mut Map<String, Value>, groups: &GroupOverrides) {
    set(claims, "cognito:groups", (!groups.groups.is_empty()).then(|| json!(groups.groups)));
}

/// Sets a claim, or removes it.
fn set(claims: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(claims.insert(name.to_owned(), value)),
        None => drop(claims.remove(name)),
    }
}

/// Sets and then removes claims: a claim that is set and removed is absent, as at Cognito.
fn apply(claims: &mut Map<String, Value>, overrides: &ClaimOverrides, of_protocol: &[&str]) {
    let is_free = |name: &str| !PROTOCOL_CLAIMS.contains(&name) && !of_protocol.contains(&name);
    let may_set =
        |name: &str| is_free(name) && !RESERVED_CLAIMS.iter().any(|prefix| name.starts_with(prefix));
    for (name, value) in overrides.add.iter().filter(|(name, _)| may_set(name)) {
        claims.insert(name.clone(), value.clone());
    }
    for name in overrides.suppress.iter().filter(|name| is_free(name)) {
        claims.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn claims_are_set_then_removed_and_those_of_the_protocol_stay() {
        let before =
            json!({ "sub": "u", "iss": "i", "client_id": "c", "email": "a@b.example", "scope": "x" });
        let mut claims = object(before);
        let all = ClaimOverrides {
            add: object(
                json!({ "sub": "eve", "client_id": "other", "aws:x": 1, "dev:x": 1, "team": ["a"], "both": 1 }),
            ),
            suppress: ["iss", "email", "both", "absent"].map(str::to_owned).to_vec(),
        };
        let overrides = TokenOverrides { access: all, ..TokenOverrides::default() };
        overrides.apply_to_access(&mut claims);
        let after = json!({ "sub": "u", "iss": "i", "client_id": "c", "team": ["a"], "scope": "x" });
        assert_eq!(Value::Object(claims), after);
    }

    #[test]
    fn a_suppressed_scope_is_not_added_and_those_of_the_api_are_never() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let overrides = TokenOverrides {
            scopes_to_add: words(&["b", "c", "a", "aws.cognito.signin.user.admin"]),
            scopes_to_suppress: words(&["c", "openid"]),
            ..TokenOverrides::default()
        };
        assert_eq!(overrides.scope("openid a"), "a b");
        let admin = "aws.cognito.signin.user.admin";
        assert_eq!(TokenOverrides::default().scope(admin), admin);
    }

    #[test]
    fn groups_take_the_place_of_the_users() {
        let before =
            json!({ "cognito:groups": ["a"], "cognito:roles": ["r"], "cognito:preferred_role": "r" });
        let of = |groups: GroupOverrides| {
            let overrides = TokenOverrides { groups: Some(groups), ..TokenOverrides::default() };
            let mut claims = object(before.clone());
            overrides.apply_to_id(&mut claims);
            Value::Object(claims)
        };
        assert_eq!(of(GroupOverrides::default()), json!({}));
        let groups = GroupOverrides { groups: vec!["b".to_owned()], ..GroupOverrides::default() };
        assert_eq!(of(groups), json!({ "cognito:groups": ["b"] }));
    }
}
