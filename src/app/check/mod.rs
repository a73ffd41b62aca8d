//! `narthex check`: checks the configuration, the store, listeners, certificates, providers and
//! upstreams. Prints what to register at each provider.

mod certificates;
mod connections;
mod mail;
mod providers;
mod report;
mod saml;
mod settings;

use super::build::CommandError;
use super::lint;
use super::offline;
use super::output::say;
use crate::base::{Clock as _, SystemClock};
use crate::catalogue::{Catalogue, Ids};
use crate::config::{self, Config, Kind};
use crate::gateway;
use report::Report;
use std::path::Path;

/// Checks `file` and everything that it refers to.
///
/// # Errors
/// Returns an error if a check failed, or there is a warning and `strict` is set.
pub async fn check(file: &Path, strict: bool) -> Result<(), CommandError> {
    let config = Config::load(file, &|name| std::env::var(name).ok())?;
    let mut report = Report::default();
    say!("{}", file.display());
    report.good(format!("{} provider(s), {} route(s)", config.providers.len(), config.routes.len()));
    say!("store");
    let store = connections::store(&config, &mut report).await;
    // A deployment that was never started has no store, or one without tables.
    let ids = offline::ids(&config, store.as_ref()).await;
    let is_unreachable = store.is_none() && report.problems > 0 || ids.is_err();
    let catalogue = offline::catalogue(config.clone(), ids.unwrap_or_else(|_| Ids::unknown(&config)))?;
    say!("listeners");
    connections::listeners(&config, &mut report);
    if let (Some(_), Some(file)) = (config.log.format, &config.log.file) {
        say!("access log");
        connections::access_log(file, &mut report);
    }
    say!("certificates");
    certificates::check(&config, SystemClock.now(), &mut report);
    saml::check(&config, store.as_ref(), SystemClock.now(), &mut report).await;
    gateway::unusable_upstream_files(&config).into_iter().for_each(|line| report.problem(line));
    say!("settings");
    settings::check(&catalogue, &mut report);
    providers::open_to_the_public(&config, &mut report);
    if !config.roles.is_empty() {
        say!("roles and policies");
        check_policies(&catalogue, &mut report);
    }
    if config.mail.is_some() || config.sms.is_some() {
        say!("messages");
        mail::check(&config, &mut report).await;
    }
    say!("upstreams");
    connections::upstreams(&config, &mut report).await;
    say!("providers");
    providers::check(&catalogue, &mut report).await?;
    print_registrations(&config);
    print_app_clients(&catalogue, is_unreachable);
    say!("what each app's verifier expects of the assertion: aud, and signer where it asks for one");
    for route in catalogue.routes() {
        say!("  {}", route.config.name);
        say!("    aud            {}", route.audience);
        say!("    signer         {}", route.signer);
    }
    if let Some(store) = store {
        store.close().await;
    }
    match (report.problems, report.warnings) {
        (0, 0) => Ok(()),
        (0, _) if !strict => Ok(()),
        (0, count) => {
            Err(CommandError::new("narthex check --strict", format!("{count} warning(s), listed above")))
        }
        (count, _) => Err(CommandError::new("narthex check", format!("{count} problem(s), listed above"))),
    }
}

/// Prints the settings to register at each provider.
fn print_registrations(config: &Config) {
    say!("register at each provider");
    for provider in &config.providers {
        say!("  {}", provider.name);
        for (what, address) in provider_settings(config, provider) {
            say!("    {what:<26} {address}");
        }
    }
}

fn check_policies(catalogue: &Catalogue, report: &mut Report) {
    let findings = lint::lint(catalogue);
    findings.errors.iter().for_each(|line| report.problem(format!("a Deny can never apply: {line}")));
    findings.warnings.iter().for_each(|line| report.warn(line));
    if findings.errors.is_empty() && findings.warnings.is_empty() {
        let (roles, pools) = (catalogue.config.roles.len(), catalogue.config.identity_pools.len());
        report.good(format!("{roles} role(s), {pools} identity pool(s)"));
    }
}

/// Prints the settings for app clients of each user pool.
fn print_app_clients(catalogue: &Catalogue, is_unreachable: bool) {
    let has_further = !catalogue.further_pools.is_empty();
    if catalogue.config.user_pool.clients.is_empty() && !has_further {
        return;
    }
    let url = &catalogue.config.public_url;
    say!("programs that get tokens");
    say!("  token endpoint   {}", url.join("/oauth2/token"));
    let mut unknown = false;
    let mut line = |what: &str, id: &str| {
        let known = !Ids::is_unknown(id);
        unknown |= !known;
        say!("  {what:<16} {}", if known { id } else { "not made yet" });
    };
    for pool in catalogue.pools() {
        if has_further {
            say!("  {:<16} {}", "user pool", pool.name);
        }
        line("pool id", &pool.id);
        line("issuer", &pool.issuer);
        let mut clients: Vec<_> = pool.clients().collect();
        clients.sort_by(|a, b| a.name.cmp(&b.name));
        clients.iter().for_each(|client| line(&client.name, &client.id));
    }
    match (unknown, is_unreachable) {
        (true, true) => say!("  what is not made yet may be in the store, which cannot be opened"),
        (true, false) => say!("  what is not made yet is made at the first start, and stays"),
        (false, _) => {}
    }
}

/// Returns the settings to register at a provider.
fn provider_settings(config: &Config, provider: &config::Provider) -> Vec<(&'static str, String)> {
    let at = |path: &str| config.public_url.join(path);
    let callback = at(&provider.callback_path());
    let name = &provider.name;
    match &provider.kind {
        Kind::OAuth2(_) => vec![("redirect URI", callback)],
        Kind::Oidc(_) if provider.preset.is_some() && !provider.logout => vec![("redirect URI", callback)],
        Kind::Oidc(_) => {
            let mut lines = vec![("redirect URI", callback)];
            if provider.logout {
                lines.push(("post-logout redirect URI", at("/logout")));
            }
            lines.push(("back-channel logout URI", at(&format!("/oauth2/backchannel-logout/{name}"))));
            lines
        }
        Kind::Saml(settings) => vec![
            ("metadata", at(&format!("/saml2/metadata/{name}"))),
            ("entity id", settings.entity_id.clone().unwrap_or_else(|| "as the metadata has it".into())),
            ("reply URL (ACS)", callback),
            ("single logout URL", at(&format!("/saml2/logout/{name}"))),
        ],
    }
}
