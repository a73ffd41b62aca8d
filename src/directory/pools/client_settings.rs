//! The settings of app clients, checked with Cognito's bounds.

use super::callback_url::check_urls;
use super::check::{check_length, check_name, check_range, check_visible, duplicate, unsatisfied};
use super::provider::MAX_PROVIDERS;
use super::resource_server::MAX_RESOURCE_SERVERS;
use crate::config::AUTH_FLOWS;
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::model::{AppClientSettings, Pool, Schema};
use crate::store::Tx;

/// Maximum characters of a client's name.
const MAX_CLIENT_NAME: usize = 128;
/// Maximum scopes of a client.
const MAX_SCOPES: usize = 50;
/// The name of the pool itself among its identity providers.
const POOL_PROVIDER: &str = "COGNITO";
/// The earlier names of flows.
const LEGACY_FLOWS: [&str; 3] = ["ADMIN_NO_SRP_AUTH", CUSTOM_FLOW_ONLY, "USER_PASSWORD_AUTH"];
/// The flow of a client whose users sign in by custom authentication alone.
const CUSTOM_FLOW_ONLY: &str = "CUSTOM_AUTH_FLOW_ONLY";
/// The scopes that every pool has.
const STANDARD_SCOPES: [&str; 5] = ["openid", "email", "phone", "profile", "aws.cognito.signin.user.admin"];
/// The attributes that the pool alone writes.
const POOL_ATTRIBUTES: [&str; 3] = ["sub", "email_verified", "phone_number_verified"];
const CLIENT_CREDENTIALS: &str = "client_credentials";
const OAUTH_FLOWS: [&str; 3] = ["code", "implicit", CLIENT_CREDENTIALS];

/// Checks the settings of a client of `pool`.
///
/// # Errors
/// Returns `InvalidParameterException`, `InvalidOAuthFlowException` or
/// `ScopeDoesNotExistException`.
pub(super) async fn check_client(
    tx: &mut Tx<'_>,
    pool: &Pool,
    settings: &AppClientSettings,
    has_secret: bool,
) -> Outcome<()> {
    check_without_providers(tx, pool, settings, has_secret).await?;
    if settings.identity_providers.iter().any(|name| name != POOL_PROVIDER) {
        let known = tx.identity_provider_names(pool.no, MAX_PROVIDERS).await?;
        let unknown = |name: &&String| *name != POOL_PROVIDER && !known.contains(name);
        if let Some(name) = settings.identity_providers.iter().find(unknown) {
            let message = format!("The provider {name} does not exist for User Pool {}", pool.id);
            return Err(DirectoryError::invalid(message));
        }
    }
    Ok(())
}

/// Checks the settings of a client whose providers are those that the pool has.
///
/// # Errors
/// As [`check_client`].
pub(super) async fn check_without_providers(
    tx: &mut Tx<'_>,
    pool: &Pool,
    settings: &AppClientSettings,
    has_secret: bool,
) -> Outcome<()> {
    check_settings(&pool.settings.schema, settings, has_secret)?;
    if settings.allowed_oauth_scopes.iter().any(|scope| !STANDARD_SCOPES.contains(&scope.as_str())) {
        let servers = tx.resource_servers(pool.no, MAX_RESOURCE_SERVERS).await?;
        let known = |scope: &str| {
            STANDARD_SCOPES.contains(&scope) || servers.iter().any(|server| server.has_scope(scope))
        };
        if let Some(scope) = settings.allowed_oauth_scopes.iter().find(|scope| !known(scope)) {
            let message = format!("Invalid scope requested: {scope}");
            return Err(DirectoryError::new(ErrorKind::ScopeDoesNotExist, message));
        }
    }
    Ok(())
}

/// Checks what needs no other row.
fn check_settings(schema: &Schema, settings: &AppClientSettings, has_secret: bool) -> Outcome<()> {
    check_name("clientName", &settings.name, MAX_CLIENT_NAME)?;
    check_auth_flows(&settings.explicit_auth_flows)?;
    check_validities(settings)?;
    check_attributes(schema, settings)?;
    check_urls("callbackURLs", &settings.callback_urls)?;
    check_urls("logoutURLs", &settings.logout_urls)?;
    if let Some(uri) = &settings.default_redirect_uri
        && !settings.callback_urls.contains(uri)
    {
        return Err(DirectoryError::invalid("defaultRedirectURI must be in the list of callbackURLs."));
    }
    if duplicate(&settings.identity_providers).is_some() {
        return Err(DirectoryError::invalid("SupportedIdentityProviders has a provider twice."));
    }
    check_oauth(settings, has_secret)
}

fn check_auth_flows(flows: &[String]) -> Outcome<()> {
    let legacy = flows.iter().filter(|flow| LEGACY_FLOWS.contains(&flow.as_str())).count();
    let current = flows.iter().filter(|flow| AUTH_FLOWS.contains(&flow.as_str())).count();
    if legacy + current < flows.len() {
        let words = [&LEGACY_FLOWS[..], &AUTH_FLOWS[..]].concat().join(", ");
        return Err(unsatisfied("explicitAuthFlows", format_args!("satisfy enum value set: [{words}]")));
    }
    if legacy > 0 && current > 0 {
        return Err(DirectoryError::invalid(
            "Flows with the prefix ALLOW_ cannot be set together with flows without it.",
        ));
    }
    if flows.iter().any(|flow| flow == CUSTOM_FLOW_ONLY) {
        return Err(DirectoryError::invalid(
            "CUSTOM_AUTH_FLOW_ONLY is not supported: there is no custom authentication.",
        ));
    }
    if flows.len() > 1 && flows.iter().any(|flow| flow == "ALLOW_CLIENT_TOKEN_AUTH") {
        return Err(DirectoryError::invalid("ALLOW_CLIENT_TOKEN_AUTH excludes every other flow."));
    }
    match duplicate(flows) {
        Some(flow) => Err(DirectoryError::invalid(format!("ExplicitAuthFlows has {flow} twice."))),
        None => Ok(()),
    }
}

fn check_validities(settings: &AppClientSettings) -> Outcome<()> {
    const DAY: u64 = 86_400;
    for (at, value, bounds) in [
        ("accessTokenValidity", settings.access_token_validity, 300..=DAY),
        ("idTokenValidity", settings.id_token_validity, 300..=DAY),
        ("refreshTokenValidity", settings.refresh_token_validity, 3600..=3650 * DAY),
        ("authSessionValidity", settings.session_validity, 180..=900),
        ("retryGracePeriodSeconds", settings.rotation.map_or(0, |rotation| rotation.grace), 0..=60),
    ] {
        check_range(at, value, bounds)?;
    }
    Ok(())
}

fn check_attributes(schema: &Schema, settings: &AppClientSettings) -> Outcome<()> {
    let none = Vec::new();
    let readable = |name: &String| schema.get(name).is_some();
    if !settings.read_attributes.as_ref().unwrap_or(&none).iter().all(readable) {
        return Err(DirectoryError::invalid("Invalid read attributes specified while creating a client"));
    }
    let writable = |name: &String| readable(name) && !POOL_ATTRIBUTES.contains(&name.as_str());
    if !settings.write_attributes.as_ref().unwrap_or(&none).iter().all(writable) {
        return Err(DirectoryError::invalid("Invalid write attributes specified while creating a client"));
    }
    Ok(())
}

fn check_oauth(settings: &AppClientSettings, has_secret: bool) -> Outcome<()> {
    let (flows, scopes) = (&settings.allowed_oauth_flows, &settings.allowed_oauth_scopes);
    if !flows.iter().all(|flow| OAUTH_FLOWS.contains(&flow.as_str())) {
        let words = OAUTH_FLOWS.join(", ");
        return Err(unsatisfied("allowedOAuthFlows", format_args!("satisfy enum value set: [{words}]")));
    }
    check_length("allowedOAuthScopes", scopes.len(), 0..=MAX_SCOPES)?;
    scopes.iter().try_for_each(|scope| check_visible("allowedOAuthScopes", scope, 256))?;
    if duplicate(flows).is_some() || duplicate(scopes).is_some() {
        return Err(DirectoryError::invalid("AllowedOAuthFlows or AllowedOAuthScopes has an entry twice."));
    }
    let is_incomplete = settings.oauth_allowed == Some(true) && flows.is_empty();
    if is_incomplete || (!flows.is_empty() && scopes.is_empty()) {
        return Err(DirectoryError::invalid(
            "AllowedOAuthFlows and AllowedOAuthScopes are required if user pool client is allowed to use OAuth flows.",
        ));
    }
    let refuse = |why: &'static str| Err(DirectoryError::new(ErrorKind::InvalidOAuthFlow, why));
    if flows.iter().any(|flow| flow == CLIENT_CREDENTIALS) {
        if flows.len() > 1 {
            return refuse(
                "client_credentials flow can not be selected along with code flow or implicit flow.",
            );
        }
        if !has_secret {
            return refuse(
                "client_credentials flow can not be selected if client does not have a client secret.",
            );
        }
        if scopes.iter().any(|scope| STANDARD_SCOPES.contains(&scope.as_str())) {
            return refuse("client_credentials flow has the scopes of resource servers only.");
        }
    } else if !flows.is_empty() && settings.may_use_oauth() && settings.callback_urls.is_empty() {
        return Err(DirectoryError::invalid("CallbackURLs are required for the code and implicit flows."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RefreshRotation;

    fn strings(of: &[&str]) -> Vec<String> {
        of.iter().map(|text| (*text).to_owned()).collect()
    }

    /// The exception for a change of good settings of a client with a secret.
    fn exception(change: impl FnOnce(&mut AppClientSettings)) -> Option<&'static str> {
        let mut settings = AppClientSettings {
            name: "web".to_owned(),
            allowed_oauth_flows: strings(&["code"]),
            allowed_oauth_scopes: strings(&["openid"]),
            callback_urls: strings(&["https://app.example/cb"]),
            ..AppClientSettings::default()
        };
        change(&mut settings);
        check_settings(&Schema::default(), &settings, true).err().map(|error| error.exception())
    }

    #[test]
    fn settings_have_cognitos_bounds() {
        type Change = fn(&mut AppClientSettings);
        let invalid = Some("InvalidParameterException");
        let flow = Some("InvalidOAuthFlowException");
        let table: [(Change, Option<&str>); 40] = [
            (|_| {}, None),
            (|s| s.name = String::new(), invalid),
            (|s| s.name = "a/b".to_owned(), invalid),
            (|s| s.explicit_auth_flows = strings(&[]), None),
            (|s| s.explicit_auth_flows = strings(&["ALLOW_USER_AUTH"]), None),
            (|s| s.explicit_auth_flows = strings(&["ADMIN_NO_SRP_AUTH"]), None),
            (|s| s.explicit_auth_flows = strings(&["ADMIN_NO_SRP_AUTH", "USER_PASSWORD_AUTH"]), None),
            (|s| s.explicit_auth_flows = strings(&["CUSTOM_AUTH_FLOW_ONLY"]), invalid),
            (|s| s.explicit_auth_flows = strings(&["ALLOW_ANYTHING"]), invalid),
            (|s| s.explicit_auth_flows = strings(&["ALLOW_USER_AUTH", "ADMIN_NO_SRP_AUTH"]), invalid),
            (|s| s.explicit_auth_flows = strings(&["ALLOW_USER_AUTH", "ALLOW_USER_AUTH"]), invalid),
            (|s| s.access_token_validity = 299, invalid),
            (|s| s.access_token_validity = 300, None),
            (|s| s.access_token_validity = 86_400, None),
            (|s| s.access_token_validity = 86_401, invalid),
            (|s| s.id_token_validity = 299, invalid),
            (|s| s.id_token_validity = 86_401, invalid),
            (|s| s.refresh_token_validity = 3599, invalid),
            (|s| s.refresh_token_validity = 315_360_000, None),
            (|s| s.refresh_token_validity = 315_360_001, invalid),
            (|s| s.session_validity = 179, invalid),
            (|s| s.session_validity = 901, invalid),
            (|s| s.rotation = Some(RefreshRotation { grace: 60 }), None),
            (|s| s.rotation = Some(RefreshRotation { grace: 61 }), invalid),
            (|s| s.read_attributes = Some(strings(&["email", "email_verified"])), None),
            (|s| s.read_attributes = Some(strings(&["custom:none"])), invalid),
            (|s| s.write_attributes = Some(strings(&["email"])), None),
            (|s| s.write_attributes = Some(strings(&["email_verified"])), invalid),
            (|s| s.write_attributes = Some(strings(&["sub"])), invalid),
            (|s| s.logout_urls = strings(&["http://app.example"]), invalid),
            (|s| s.default_redirect_uri = Some("https://app.example/cb".to_owned()), None),
            (|s| s.default_redirect_uri = Some("https://other.example".to_owned()), invalid),
            (|s| s.allowed_oauth_flows = strings(&["password"]), invalid),
            (|s| s.allowed_oauth_scopes = strings(&[]), invalid),
            (|s| s.callback_urls = strings(&[]), invalid),
            (|s| (s.oauth_allowed, s.callback_urls) = (Some(false), strings(&[])), None),
            (|s| (s.oauth_allowed, s.allowed_oauth_flows) = (Some(true), strings(&[])), invalid),
            (|s| s.allowed_oauth_flows = strings(&["code", "client_credentials"]), flow),
            (|s| s.allowed_oauth_flows = strings(&["client_credentials"]), flow),
            (|s| s.identity_providers = strings(&["COGNITO", "COGNITO"]), invalid),
        ];
        for (at, (change, expected)) in table.into_iter().enumerate() {
            assert_eq!(exception(change), expected, "line {at}");
        }
    }

    #[test]
    fn a_public_client_has_no_client_credentials() {
        let settings = AppClientSettings {
            name: "web".to_owned(),
            allowed_oauth_flows: strings(&["client_credentials"]),
            allowed_oauth_scopes: strings(&["photos/read"]),
            ..AppClientSettings::default()
        };
        assert!(check_settings(&Schema::default(), &settings, true).is_ok());
        let refused = check_settings(&Schema::default(), &settings, false).unwrap_err();
        assert_eq!(refused.exception(), "InvalidOAuthFlowException");
    }
}
