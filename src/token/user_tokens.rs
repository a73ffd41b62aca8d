//! ID tokens and access tokens of users, with Cognito's claims.

use super::keys::KeySet;
use super::overrides::TokenOverrides;
use super::pool_keys::TokenUse;
use crate::base::{Duration, Entropy, Timestamp, uuid};
use crate::jose::{self, KeyError};
use crate::model::{AcrLevel, AppClient, User, UserGroup};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The user and the app client for which tokens are issued.
#[derive(Clone, Copy)]
pub struct TokenSubject<'a> {
    /// The app client.
    pub client: &'a AppClient,
    /// The user.
    pub user: &'a User,
    /// The user's groups.
    pub groups: &'a [UserGroup],
}

/// The authorization for which tokens are issued.
#[derive(Clone, Copy)]
pub struct TokenGrant<'a> {
    /// The `iss` claim.
    pub issuer: &'a str,
    /// The granted scopes, separated by spaces.
    pub scope: &'a str,
    /// When the user was authenticated.
    pub auth_time: Timestamp,
    /// The authentication methods (RFC 8176).
    pub amr: &'a [String],
    /// The id of the refresh token family. When the family ends, these tokens are revoked.
    pub origin_jti: &'a str,
    /// The id of the authentication event.
    pub event_id: &'a str,
    /// The `nonce` of an authorization request.
    pub nonce: Option<&'a str>,
    /// The key of the remembered device; may be empty.
    pub device_key: &'a str,
    /// The id of the session, for a client that is notified of its end.
    pub sid: Option<&'a str>,
    /// The thumbprint of the key to which the access token is bound.
    pub key: Option<&'a str>,
    /// The changes by a function of the pool.
    pub overrides: Option<&'a TokenOverrides>,
}

/// An ID token and an access token.
#[derive(Clone)]
pub struct UserTokens {
    /// The ID token.
    pub id_token: String,
    /// The access token.
    pub access_token: String,
    /// The lifetime of the access token.
    pub expires_in: Duration,
}

impl std::fmt::Debug for UserTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserTokens").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// The keys that sign both tokens.
#[derive(Clone)]
pub struct UserTokenKeys {
    /// The keys for access tokens.
    pub access: Arc<KeySet>,
    /// The keys for ID tokens.
    pub id: Arc<KeySet>,
}

/// Issues an ID token and an access token.
///
/// # Errors
/// Returns an error if signing fails.
pub fn issue_user_tokens(
    keys: &UserTokenKeys,
    subject: TokenSubject<'_>,
    grant: TokenGrant<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<UserTokens, KeyError> {
    let settings = &subject.client.settings;
    let mut access = access_claims(subject, grant, (now, uuid(entropy)));
    let mut id = id_claims(subject, grant, (now, uuid(entropy)));
    if let Some(overrides) = grant.overrides {
        overrides.apply_to_access(&mut access);
        overrides.apply_to_id(&mut id);
    }
    Ok(UserTokens {
        id_token: jose::sign(&keys.id.signing, &[], &id)?,
        access_token: jose::sign(&keys.access.signing, &[], &access)?,
        expires_in: Duration::from_secs(settings.access_token_validity),
    })
}

/// Returns the claims that both tokens have.
fn common_claims(
    subject: TokenSubject<'_>,
    grant: TokenGrant<'_>,
    (now, jti): (Timestamp, String),
    (token_use, validity): (TokenUse, u64),
) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("sub".into(), json!(subject.user.id));
    if !subject.groups.is_empty() {
        claims.insert("cognito:groups".into(), json!(group_names(subject.groups)));
    }
    claims.insert("iss".into(), json!(grant.issuer));
    claims.insert("origin_jti".into(), json!(grant.origin_jti));
    claims.insert("event_id".into(), json!(grant.event_id));
    claims.insert("token_use".into(), json!(token_use.name()));
    claims.insert("auth_time".into(), json!(grant.auth_time.seconds()));
    // RFC 9470, section 6.1: a resource server reads the level of the authentication in the token.
    if let Some(level) = AcrLevel::of(grant.amr) {
        claims.insert("acr".into(), json!(level.name()));
        claims.insert("amr".into(), json!(grant.amr));
    }
    claims.insert("exp".into(), json!(now.plus(Duration::from_secs(validity)).seconds()));
    claims.insert("iat".into(), json!(now.seconds()));
    claims.insert("jti".into(), json!(jti));
    claims
}

fn access_claims(
    subject: TokenSubject<'_>,
    grant: TokenGrant<'_>,
    times: (Timestamp, String),
) -> Map<String, Value> {
    let client = subject.client;
    let kind = (TokenUse::Access, client.settings.access_token_validity);
    let mut claims = common_claims(subject, grant, times, kind);
    claims.insert("client_id".into(), json!(client.id));
    claims.insert("scope".into(), json!(grant.scope));
    claims.insert("username".into(), json!(subject.user.username));
    if !grant.device_key.is_empty() {
        claims.insert("device_key".into(), json!(grant.device_key));
    }
    if let Some(key) = grant.key {
        claims.insert("cnf".into(), json!({ "jkt": key }));
    }
    claims
}

fn id_claims(
    subject: TokenSubject<'_>,
    grant: TokenGrant<'_>,
    times: (Timestamp, String),
) -> Map<String, Value> {
    let (client, user) = (subject.client, subject.user);
    let kind = (TokenUse::Id, client.settings.id_token_validity);
    let mut claims = common_claims(subject, grant, times, kind);
    let is_visible = |name: &str| client.settings.may_read(name) && is_released(grant.scope, name);
    for (name, value) in user.attributes.iter().filter(|(name, _)| is_visible(name)) {
        // An attribute never replaces a claim of the protocol.
        if !claims.contains_key(name) {
            claims.insert(name.to_owned(), attribute_claim(name, value));
        }
    }
    claims.insert("aud".into(), json!(client.id));
    claims.insert("cognito:username".into(), json!(user.username));
    let roles = roles(subject.groups);
    if !roles.is_empty() {
        claims.insert("cognito:roles".into(), json!(roles));
    }
    if let Some(role) = preferred_role(subject.groups) {
        claims.insert("cognito:preferred_role".into(), json!(role));
    }
    if let Some(nonce) = grant.nonce {
        claims.insert("nonce".into(), json!(nonce));
    }
    if let Some(sid) = grant.sid {
        claims.insert("sid".into(), json!(sid));
    }
    if !user.identities.is_empty() {
        claims.insert("identities".into(), identities(user));
    }
    claims
}

/// Returns the claim for an attribute. Cognito encodes the verification of an address as a boolean.
/// OpenID Connect Core 1.0, section 5.1, encodes the time of the last update as a number.
pub fn attribute_claim(name: &str, value: &str) -> Value {
    match name {
        "email_verified" | "phone_number_verified" => json!(value == "true"),
        "updated_at" => value.parse::<i64>().map_or_else(|_| json!(value), |number| json!(number)),
        // Section 5.1.1: the address is a JSON object.
        "address" => json!({ "formatted": value }),
        _ => json!(value),
    }
}

/// Returns whether a scope releases an attribute (OpenID Connect Core 1.0, section 5.4). As at
/// Cognito, `openid` alone releases all that the client can read, and `profile` does, too; `email`
/// and `phone` narrow it.
pub fn is_released(scope: &str, attribute: &str) -> bool {
    let has = |name: &str| scope.split(' ').any(|scope| scope == name);
    let is_narrowed = !has("profile") && (has("email") || has("phone"));
    match attribute {
        "email" | "email_verified" => !is_narrowed || has("email"),
        "phone_number" | "phone_number_verified" => !is_narrowed || has("phone"),
        _ => !is_narrowed,
    }
}

/// Returns the provider accounts, in Cognito's form. A link to an account that has not signed in is
/// none.
fn identities(user: &User) -> Value {
    let account = |identity: &crate::model::Identity| {
        json!({
            "userId": identity.subject,
            "providerName": identity.provider,
            "issuer": identity.issuer,
            "primary": user.is_primary(identity).to_string(),
            "dateCreated": user.created_at.millis().to_string(),
        })
    };
    user.identities.iter().map(account).collect()
}

/// Returns the groups by rank: the lowest number first, those without a number last.
fn by_rank(groups: &[UserGroup]) -> Vec<&UserGroup> {
    let mut sorted: Vec<_> = groups.iter().collect();
    sorted.sort_by_key(|group| (group.precedence.unwrap_or(u32::MAX), &group.name));
    sorted
}

/// Returns the names of groups by rank.
pub fn group_names(groups: &[UserGroup]) -> Vec<&str> {
    by_rank(groups).into_iter().map(|group| &*group.name).collect()
}

/// Returns the roles of groups by rank.
pub fn roles(groups: &[UserGroup]) -> Vec<&str> {
    let mut roles: Vec<&str> = Vec::new();
    for group in by_rank(groups).into_iter().filter(|group| !group.role.is_empty()) {
        if !roles.contains(&&*group.role) {
            roles.push(&group.role);
        }
    }
    roles
}

/// Returns the role of the group with the lowest precedence. Returns `None` if two groups of that
/// precedence have different roles.
pub fn preferred_role(groups: &[UserGroup]) -> Option<&str> {
    let with_role = || groups.iter().filter(|group| !group.role.is_empty());
    let first = with_role().filter_map(|group| group.precedence).min()?;
    let mut roles = with_role().filter(|group| group.precedence == Some(first)).map(|group| &*group.role);
    let role = roles.next()?;
    roles.all(|other| other == role).then_some(role)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppClientSettings, Attributes, Identity, UserStatus};
    use std::collections::BTreeMap;

    fn group(name: &str, role: &str, precedence: Option<u32>) -> UserGroup {
        UserGroup {
            no: 1,
            pool: 1,
            name: name.to_owned(),
            description: String::new(),
            role: role.to_owned(),
            precedence,
            created_at: Timestamp::from_seconds(0),
            updated_at: Timestamp::from_seconds(0),
        }
    }

    fn user() -> User {
        let attributes = [
            ("email", "ada@example.com"),
            ("email_verified", "true"),
            ("custom:plan", "gold"),
            ("name", "Ada"),
            ("iss", "https://evil.example"),
        ];
        User {
            id: "sub-1".into(),
            no: 1,
            pool_id: "pool".into(),
            username: "ada".into(),
            enabled: true,
            status: UserStatus::Confirmed,
            attributes: Attributes::from_iter(attributes),
            groups: vec!["provider group".into()],
            identities: vec![Identity {
                issuer: "https://idp.example".into(),
                subject: "7".into(),
                provider: "Google".into(),
                saml: false,
            }],
            links: Vec::new(),
            profiles: BTreeMap::new(),
            version: 1,
            created_at: Timestamp::from_seconds(5),
            updated_at: Timestamp::from_seconds(5),
        }
    }

    const GRANT: TokenGrant<'_> = TokenGrant {
        issuer: "https://auth.example/pool",
        scope: "aws.cognito.signin.user.admin",
        auth_time: Timestamp::from_seconds(90),
        amr: &[],
        origin_jti: "family",
        event_id: "event",
        nonce: Some("n"),
        device_key: "",
        sid: None,
        key: None,
        overrides: None,
    };

    #[test]
    fn the_tokens_have_cognitos_claims() {
        let read = vec!["email".to_owned(), "email_verified".to_owned(), "iss".to_owned()];
        let settings = AppClientSettings { read_attributes: Some(read), ..Default::default() };
        let client = AppClient { id: "client".into(), settings, ..Default::default() };
        let groups = [group("b", "arn:b", Some(2)), group("a", "arn:a", Some(1)), group("c", "", None)];
        let user = user();
        let subject = TokenSubject { client: &client, user: &user, groups: &groups };
        let times = || (Timestamp::from_seconds(100), "jti".to_owned());
        let access = json!({
            "sub": "sub-1", "cognito:groups": ["a", "b", "c"], "iss": "https://auth.example/pool",
            "client_id": "client", "origin_jti": "family", "event_id": "event", "token_use": "access",
            "scope": "aws.cognito.signin.user.admin", "auth_time": 90, "exp": 3700, "iat": 100,
            "jti": "jti", "username": "ada",
        });
        assert_eq!(Value::Object(access_claims(subject, GRANT, times())), access);
        let id = json!({
            "sub": "sub-1", "cognito:groups": ["a", "b", "c"], "iss": "https://auth.example/pool",
            "aud": "client", "origin_jti": "family", "event_id": "event", "token_use": "id",
            "auth_time": 90, "exp": 3700, "iat": 100, "jti": "jti", "cognito:username": "ada",
            "cognito:roles": ["arn:a", "arn:b"], "cognito:preferred_role": "arn:a", "nonce": "n",
            "email": "ada@example.com", "email_verified": true,
            "identities": [{
                "userId": "7", "providerName": "Google", "issuer": "https://idp.example",
                "primary": "true", "dateCreated": "5000",
            }],
        });
        assert_eq!(Value::Object(id_claims(subject, GRANT, times())), id);
    }

    #[test]
    fn the_preferred_role_is_unset_on_a_tie() {
        let role = |groups: &[UserGroup]| preferred_role(groups).map(str::to_owned);
        assert_eq!(role(&[]), None);
        assert_eq!(role(&[group("a", "r1", Some(1)), group("b", "r2", Some(1))]), None);
        assert_eq!(role(&[group("a", "r1", Some(1)), group("b", "r1", Some(1))]).as_deref(), Some("r1"));
        assert_eq!(role(&[group("a", "", Some(1)), group("b", "r2", Some(2))]).as_deref(), Some("r2"));
        assert_eq!(role(&[group("a", "r1", None)]), None);
    }
}
