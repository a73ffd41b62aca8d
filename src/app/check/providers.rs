//! Checks of providers: their availability, and the acceptance of the client's credentials.

use super::report::Report;
use crate::app::build::CommandError;
use crate::base::{Clock as _, SystemClock, SystemEntropy};
use crate::broker::callback_url;
use crate::catalogue::Catalogue;
use crate::config::{self, Allow, Config, Issuer, Kind, PRESETS, Preset, Protocol};
use crate::provider::saml::{OwnKeys, ServiceProvider, ServiceProviderKey};
use crate::provider::{
    self, Callback, IntrospectionError, IssuerKeys, LoginState, Provider, ProviderError, ProviderHttpClient,
};
use std::collections::HashMap;
use std::sync::Arc;
use url::Url;

/// A code that no provider has issued.
const NO_CODE: &str = "narthex-check-of-client-credentials";
/// The errors of providers that reject the client's credentials (RFC 6749, section 5.2); the last
/// one is GitHub's.
const NOT_AUTHENTICATED: [&str; 3] =
    ["invalid_client", "unauthorized_client", "incorrect_client_credentials"];
/// The errors of providers that accept the credentials and reject the code.
const AUTHENTICATED: [&str; 2] = ["invalid_grant", "bad_verification_code"];

/// Checks every provider and issuer of the configuration.
///
/// # Errors
/// Returns an error if no HTTP client or SAML key can be created.
pub async fn check(catalogue: &Catalogue, report: &mut Report) -> Result<(), CommandError> {
    let config = &catalogue.config;
    let outbound =
        ProviderHttpClient::new().map_err(|error| CommandError::new("calls to providers", error))?;
    // Nothing is encrypted for later: any key is sufficient.
    let key = ServiceProviderKey::generate().and_then(|pkcs8| {
        ServiceProviderKey::read(&pkcs8, ServiceProviderKey::self_signed(&pkcs8, SystemClock.now())?)
    });
    let key = key.map_err(|error| CommandError::new("a key for SAML", error))?;
    let own = Some(ServiceProvider { entity_id: String::new(), keys: Arc::new(OwnKeys::of_one(key)) });
    for settings in &config.providers {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let provider = provider::connect(settings, own.clone(), outbound.clone(), clock, entropy);
        match provider.refresh().await {
            Ok(lines) => {
                report.good(format!("{} answers, and its metadata can be used", settings.name));
                lines.iter().for_each(|line| report.warn(format!("{}: {line}", settings.name)));
                credentials(catalogue, settings, &*provider, report).await;
            }
            Err(error) => report.problem(format!("{}: {error}", settings.name)),
        }
    }
    for issuer in &config.issuers {
        let keys = IssuerKeys::new(issuer.clone(), outbound.clone(), Arc::new(SystemClock));
        match keys.refresh().await {
            Ok(()) => report.good(format!("{}: its keys can be used", issuer.name)),
            Err(error) => report.problem(format!("{}: {error}", issuer.name)),
        }
        // A token that was never issued: any response shows that the credentials are accepted.
        let Some(introspector) = keys.introspector() else { continue };
        match introspector.claims("narthex-check", None).await {
            Ok(_) | Err(IntrospectionError::Inactive) => {
                report.good(format!("{}: its introspection endpoint answers", issuer.name));
            }
            Err(IntrospectionError::Unavailable(why)) => {
                report.warn(format!("{}: its introspection endpoint: {why}", issuer.name));
            }
            // A single call cannot be rejected because of others.
            Err(IntrospectionError::Overloaded) => {}
        }
    }
    if config.providers.is_empty() {
        report.warn("there is none: nobody can sign in");
    }
    Ok(())
}

/// Tries the client's credentials with a code that the provider never issued. A provider
/// authenticates the client before it validates the code (RFC 6749, section 4.1.3).
async fn credentials(
    catalogue: &Catalogue,
    settings: &config::Provider,
    provider: &dyn Provider,
    report: &mut Report,
) {
    let Some(client) = settings.client() else { return };
    let redirect_uri = callback_url(catalogue, settings);
    let mut parameters = HashMap::from([("code".to_owned(), NO_CODE.to_owned())]);
    if let Kind::Oidc(oidc) = &settings.kind {
        // RFC 9207: some providers announce this parameter, and then it is checked first.
        parameters.insert("iss".to_owned(), oidc.issuer.location());
    }
    let pending = LoginState { nonce: NO_CODE.to_owned(), code_verifier: "v".repeat(43) };
    let callback = Callback {
        parameters: &parameters,
        redirect_uri: &redirect_uri,
        pending: Some(&pending),
        started_at: None,
    };
    let name = &settings.name;
    let answer = match provider.finish(callback).await {
        Ok(_) | Err(ProviderError::Overloaded) => return,
        Err(error) => error.to_string(),
    };
    let says = |words: &[&str]| words.iter().any(|word| answer.contains(word));
    if says(&NOT_AUTHENTICATED) {
        report.problem(format!(
            "{name}: it does not take the client `{}`: {answer}; help: correct client_id, and client_secret or private_key",
            client.id
        ));
    } else if says(&AUTHENTICATED) {
        report.good(format!("{name} takes the client `{}`", client.id));
    } else {
        report.note(format!("{name}: whether it takes the client `{}` is not known: {answer}", client.id));
    }
}

/// Reports public providers with `allow = "anyone"`.
pub fn open_to_the_public(config: &Config, report: &mut Report) {
    for provider in config.providers.iter().filter(|provider| provider.allow == Allow::Anyone) {
        if is_public(&provider.kind) {
            report.warn(format!(
                "{}: allow = \"anyone\" lets in everybody with an account of {}, which anybody can get; help: name who may \
                 sign in: allow = {{ domains = [\"example.com\"] }}, or emails, or groups",
                provider.name, provider.display_name
            ));
        }
    }
}

/// Returns whether everyone can get an account of the provider: it is a preset's provider at its
/// public address.
fn is_public(kind: &Kind) -> bool {
    let issuer = match kind {
        Kind::Oidc(oidc) => match &oidc.issuer {
            Issuer::One(issuer) => issuer,
            Issuer::PerTenant(tenants) => return tenants.only.is_empty(),
        },
        Kind::OAuth2(settings) => &settings.issuer,
        Kind::Saml(_) => return false,
    };
    let host = |address: &str| Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned));
    let known = |preset: &Preset| match &preset.protocol {
        Protocol::OpenId { issuer } | Protocol::OAuth2 { issuer, .. } => host(issuer),
        // Each tenant controls its accounts.
        Protocol::OpenIdTenants { .. } => None,
    };
    host(issuer).is_some_and(|host| PRESETS.iter().any(|preset| known(preset).as_ref() == Some(&host)))
}
