//! The configuration file's user pool, in the form in which pools are stored.

use crate::config::{
    self, AttributeKind, ContactAttribute, DeviceRule, FactorRule, FirstFactorRule, MfaRule, RecoveryRule,
};
use crate::model::{
    AppClientSettings, AttributeType, DeviceMode, DeviceSettings, Factor, FirstFactor, MfaMode, MfaSettings,
    PasswordPolicy, PoolSettings, Quotas, Recovery, RefreshRotation, ResourceScope, ResourceServerSettings,
    Schema, SchemaAttribute, SignInAttribute, SignInSettings,
};

/// Returns the settings of the pool.
pub(super) fn pool_settings(pool: &config::UserPool) -> PoolSettings {
    let rules = &pool.rules;
    PoolSettings {
        name: pool.name.clone(),
        schema: Schema::new(rules.attributes.iter().map(attribute).collect()),
        sign_in: SignInSettings {
            username_attributes: addresses(&rules.username_attributes),
            alias_attributes: addresses(&rules.alias_attributes),
            case_sensitive: rules.case_sensitive,
        },
        quotas: Quotas::default(),
        password_policy: password_policy(&rules.password_policy),
        only_administrators_create: !rules.sign_up,
        auto_verified: addresses(&rules.auto_verified),
        verify_before_update: addresses(&rules.verify_before_update),
        recovery: match &rules.recovery {
            RecoveryRule::Addresses(of) => Recovery::Addresses(addresses(of)),
            RecoveryRule::Administrator => Recovery::Administrator,
        },
        temporary_password_recovery: rules.temporary_password_recovery,
        first_factors: rules.first_factors.iter().map(first_factor).collect(),
        mfa: mfa(rules.mfa, &rules.mfa_factors),
        devices: DeviceSettings {
            mode: device_mode(rules.remembered_devices),
            replaces_factor: rules.device_replaces_factor,
        },
        deletion_protection: rules.deletion_protection,
        signing_algorithm: pool.signing_algorithm.to_owned(),
        triggers: pool.triggers.clone(),
        ..PoolSettings::default()
    }
}

/// Returns the settings of an app client.
pub(super) fn client_settings(client: &config::AppClient) -> AppClientSettings {
    let sign_in = &client.sign_in;
    AppClientSettings {
        name: client.name.clone(),
        explicit_auth_flows: sign_in.auth_flows.clone(),
        hide_unknown_users: sign_in.hide_unknown_users,
        session_validity: sign_in.session_validity.as_secs(),
        access_token_validity: client.access_token_validity.as_secs(),
        id_token_validity: sign_in.id_token_validity.as_secs(),
        refresh_token_validity: sign_in.refresh_token_validity.as_secs(),
        rotation: sign_in.refresh_rotation_grace.map(|grace| RefreshRotation { grace: u64::from(grace) }),
        read_attributes: sign_in.read_attributes.clone(),
        write_attributes: sign_in.write_attributes.clone(),
        allowed_oauth_flows: client.allowed_oauth_flows.iter().map(|flow| oauth_flow(*flow)).collect(),
        allowed_oauth_scopes: client.allowed_oauth_scopes.clone(),
        callback_urls: sign_in.callback_urls.clone(),
        logout_urls: sign_in.logout_urls.clone(),
        identity_providers: sign_in.identity_providers.clone(),
        extensions: sign_in.extensions.clone(),
        ..AppClientSettings::default()
    }
}

/// Returns the identifier and the settings of a resource server, whose scopes the file names in
/// full and does not describe.
pub(super) fn server_settings(server: &config::ResourceServer) -> (String, ResourceServerSettings) {
    let name = |full: &String| full.strip_prefix(&format!("{}/", server.identifier)).map(str::to_owned);
    let scope = |full: &String| {
        let name = name(full)?;
        Some(ResourceScope { description: name.clone(), name })
    };
    let scopes = server.scopes.iter().filter_map(scope).collect();
    (server.identifier.clone(), ResourceServerSettings { name: server.identifier.clone(), scopes })
}

fn oauth_flow(flow: config::OAuthFlow) -> String {
    match flow {
        config::OAuthFlow::AuthorizationCode => "code".to_owned(),
        config::OAuthFlow::Implicit => "implicit".to_owned(),
        config::OAuthFlow::ClientCredentials => "client_credentials".to_owned(),
    }
}

fn device_mode(rule: DeviceRule) -> DeviceMode {
    match rule {
        DeviceRule::Off => DeviceMode::Off,
        DeviceRule::Always => DeviceMode::Always,
        DeviceRule::OptIn => DeviceMode::OptIn,
    }
}

fn first_factor(rule: &FirstFactorRule) -> FirstFactor {
    match rule {
        FirstFactorRule::Password => FirstFactor::Password,
        FirstFactorRule::Email => FirstFactor::Email,
        FirstFactorRule::Sms => FirstFactor::Sms,
    }
}

fn mfa(rule: MfaRule, factors: &[FactorRule]) -> MfaSettings {
    let mode = match rule {
        // As in Cognito's API, a pool without second factors lists none.
        MfaRule::Off => return MfaSettings::default(),
        MfaRule::Optional => MfaMode::Optional,
        MfaRule::Required => MfaMode::Required,
    };
    let factor = |of: &FactorRule| match of {
        FactorRule::SoftwareToken => Factor::SoftwareToken,
        FactorRule::Email => Factor::Email,
        FactorRule::Sms => Factor::Sms,
    };
    MfaSettings { mode, factors: factors.iter().map(factor).collect() }
}

fn addresses(of: &[ContactAttribute]) -> Vec<SignInAttribute> {
    let address = |attribute: &ContactAttribute| match attribute {
        ContactAttribute::Email => SignInAttribute::Email,
        ContactAttribute::PhoneNumber => SignInAttribute::PhoneNumber,
        ContactAttribute::PreferredUsername => SignInAttribute::PreferredUsername,
    };
    of.iter().map(address).collect()
}

fn attribute(of: &config::PoolAttribute) -> SchemaAttribute {
    let kind = match of.kind {
        AttributeKind::String => AttributeType::String,
        AttributeKind::Number => AttributeType::Number,
        AttributeKind::DateTime => AttributeType::DateTime,
        AttributeKind::Boolean => AttributeType::Boolean,
    };
    // A standard attribute without bounds in the file keeps its own.
    let (min, max) = Schema::standard(&of.name).map_or((None, None), |standard| (standard.min, standard.max));
    SchemaAttribute {
        name: of.name.clone().into(),
        kind,
        mutable: of.mutable,
        required: of.required,
        min: of.min.or(min),
        max: of.max.or(max),
    }
}

fn password_policy(of: &config::PasswordRules) -> PasswordPolicy {
    PasswordPolicy {
        minimum_length: of.minimum_length,
        require_uppercase: of.require_uppercase,
        require_lowercase: of.require_lowercase,
        require_numbers: of.require_numbers,
        require_symbols: of.require_symbols,
        history_size: of.history_size,
        temporary_password_validity_days: of.temporary_password_validity_days,
        refuse_common: of.refuse_common,
    }
}
