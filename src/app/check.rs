//! `narthex check`: the file, the certificates, the providers, and what to register where.

use super::at_rest;
use super::build::Fatal;
use super::lint;
use crate::base::{Clock as _, Duration, SystemClock, SystemEntropy, Timestamp};
use crate::catalogue::{Catalogue, Ids};
use crate::config::{self, Access, Config, Kind, Route, TlsCertificate};
use crate::gateway::{self, LoadedCertificate, hosts_without_certificate};
use crate::provider::saml::{Own, OwnKey};
use crate::provider::{self, IntrospectionError, IssuerKeys, Outbound};
use std::path::Path;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How long before its end a certificate is worth a warning.
const SOON: Duration = Duration::from_secs(21 * 86400);

/// What was found.
#[derive(Default)]
struct Report {
    problems: usize,
}

impl Report {
    fn good(&self, line: impl std::fmt::Display) {
        println!("  ok       {line}");
    }

    fn warn(&self, line: impl std::fmt::Display) {
        println!("  warning  {line}");
    }

    fn problem(&mut self, line: impl std::fmt::Display) {
        self.problems += 1;
        println!("  problem  {line}");
    }
}

/// Checks `file` and everything it speaks of.
///
/// # Errors
/// Where something would keep people from signing in.
pub async fn check(file: &Path) -> Result<(), Fatal> {
    let config = Config::load(file, &|name| std::env::var(name).ok())?;
    // A deployment that was never started has no store, or one without tables.
    let looked = match at_rest::store(&config).await {
        Ok(store) => at_rest::ids(&config, store.as_ref()).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let (ids, unreachable) = match looked {
        Ok(ids) => (ids, None),
        Err(error) => (Ids::unknown(&config), Some(error)),
    };
    let catalogue = at_rest::catalogue(config.clone(), ids)?;
    let mut report = Report::default();
    println!("{}", file.display());
    report.good(format!("{} provider(s), {} route(s)", config.providers.len(), config.routes.len()));
    if let Some(route) = config.routes.iter().find(|route| route.host == *config.public_url.host()) {
        report.warn(format!(
            "the sign-in pages share the origin of \"{}\": a script of that app can act on them; give them a host of their own where you can",
            route.name
        ));
    }
    for route in open_to_programs(&config) {
        report.warn(format!(
            "route \"{}\": every program that gets a token of the user pool may pass: name the `scopes` that it needs, or \
             let a policy judge",
            route.name
        ));
    }
    println!("certificates");
    certificates(&config, SystemClock.now(), &mut report);
    gateway::unusable_authorities(&config).into_iter().for_each(|line| report.problem(line));
    if !config.roles.is_empty() {
        println!("roles and policies");
        let odd = lint::lint(&catalogue);
        odd.errors.iter().for_each(|line| report.problem(format!("a Deny can never apply: {line}")));
        odd.warnings.iter().for_each(|line| report.warn(line));
        if odd.errors.is_empty() && odd.warnings.is_empty() {
            let (roles, pools) = (config.roles.len(), config.identity_pools.len());
            report.good(format!("{roles} role(s), {pools} identity pool(s)"));
        }
    }
    println!("providers");
    providers(&config, &mut report).await?;
    println!("register at each provider");
    for provider in &config.providers {
        println!("  {}", provider.name);
        for (what, address) in to_register(&config, provider) {
            println!("    {what:<26} {address}");
        }
    }
    programs(&catalogue, unreachable.as_ref());
    println!("what each app's verifier expects of the assertion: aud, and signer where it asks for one");
    for route in catalogue.routes() {
        println!("  {}", route.config.name);
        println!("    aud            {}", route.audience);
        println!("    signer         {}", route.signer);
    }
    match report.problems {
        0 => Ok(()),
        count => Err(Fatal::new("narthex check", format!("{count} problem(s), told above"))),
    }
}

/// The routes that any token of the user pool opens, whatever it was meant for.
fn open_to_programs(config: &Config) -> impl Iterator<Item = &Route> {
    let open = |route: &&Route| route.bearer && route.access == Access::SignedIn && route.scopes.is_empty();
    let issues = config.user_pool.issues_access_tokens();
    config.routes.iter().filter(move |_| issues).filter(open)
}

/// What programs that get tokens need to know.
fn programs(catalogue: &Catalogue, unreachable: Option<&String>) {
    if catalogue.config.user_pool.clients.is_empty() {
        return;
    }
    let url = &catalogue.config.public_url;
    println!("programs that get tokens");
    println!("  token endpoint   {}", url.join("/oauth2/token"));
    let mut unknown = false;
    let mut line = |what: &str, id: &str| {
        let known = !Ids::is_unknown(id);
        unknown |= !known;
        println!("  {what:<16} {}", if known { id } else { "not made yet" });
    };
    line("issuer", &catalogue.pool.issuer);
    let mut clients: Vec<_> = catalogue.pool.clients().collect();
    clients.sort_by(|a, b| a.name.cmp(&b.name));
    clients.iter().for_each(|client| line(&client.name, &client.id));
    match (unknown, unreachable) {
        (true, Some(error)) => {
            println!("  what is not made yet may be in the store, which cannot be looked at: {error}")
        }
        (true, None) => println!("  what is not made yet is made at the first start, and stays"),
        (false, _) => {}
    }
}

fn certificates(config: &Config, now: Timestamp, report: &mut Report) {
    for tls in &config.tls {
        match LoadedCertificate::read(&tls.cert, &tls.key, &tls.hosts) {
            Ok(loaded) => {
                let before = report.problems;
                let leaf = loaded.key.cert.first();
                match leaf.map(|der| X509Certificate::from_der(der)) {
                    Some(Ok((_, certificate))) => leaf_of(tls, &certificate, now, report),
                    _ => report.problem(format!("{}: the certificate cannot be read", tls.cert.display())),
                }
                if report.problems == before {
                    report.good(format!("{} belongs to {}", tls.key.display(), tls.cert.display()));
                }
            }
            Err(error) => report.problem(error),
        }
    }
    for host in hosts_without_certificate(config) {
        report
            .warn(format!("{host} is named by no [[tls]]: it gets a certificate that browsers do not trust"));
    }
}

fn leaf_of(tls: &TlsCertificate, certificate: &X509Certificate<'_>, now: Timestamp, report: &mut Report) {
    let file = tls.cert.display();
    let validity = certificate.validity();
    let (from, until) = (
        Timestamp::from_seconds(validity.not_before.timestamp()),
        Timestamp::from_seconds(validity.not_after.timestamp()),
    );
    if now < from {
        report.problem(format!("{file}: it is not valid before {}", validity.not_before));
    } else if now >= until {
        report.problem(format!("{file}: it expired at {}", validity.not_after));
    } else if now.plus(SOON) >= until {
        report.warn(format!("{file}: it expires soon, at {}", validity.not_after));
    }
    let names: Vec<String> = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|extension| &extension.value.general_names)
        .into_iter()
        .flatten()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    for host in &tls.hosts {
        let text = host.to_string();
        let parent = text.split_once('.').map(|(_, domain)| format!("*.{domain}"));
        if !names.iter().any(|name| *name == text || parent.as_ref() == Some(name)) {
            report.problem(format!("{file}: it is for {}, not for {text}", names.join(", ")));
        }
    }
}

/// What a provider must be told of us.
fn to_register(config: &Config, provider: &config::Provider) -> Vec<(&'static str, String)> {
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

async fn providers(config: &Config, report: &mut Report) -> Result<(), Fatal> {
    let outbound = Outbound::new().map_err(|error| Fatal::new("calls to providers", error))?;
    // Nothing is said to anybody here: any key does.
    let key = OwnKey::generate().and_then(|pkcs8| OwnKey::read(&pkcs8, SystemClock.now()));
    let key = key.map_err(|error| Fatal::new("a key for SAML", error))?;
    let own = Some(Own { entity_id: String::new(), key: Arc::new(key) });
    for settings in &config.providers {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let provider = provider::connect(settings, own.clone(), outbound.clone(), clock, entropy);
        match provider.refresh().await {
            Ok(lines) => {
                report.good(format!("{} answers, and its metadata can be used", settings.name));
                lines.iter().for_each(|line| report.warn(format!("{}: {line}", settings.name)));
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
        // A token that nobody has issued: any answer shows that our credentials are accepted.
        let Some(introspector) = keys.introspector() else { continue };
        match introspector.claims("narthex-check").await {
            Ok(_) | Err(IntrospectionError::Inactive) => {
                report.good(format!("{}: its introspection endpoint answers", issuer.name));
            }
            Err(IntrospectionError::Unavailable(why)) => {
                report.warn(format!("{}: its introspection endpoint: {why}", issuer.name));
            }
        }
    }
    if config.providers.is_empty() {
        report.warn("there is none: nobody can sign in");
    }
    Ok(())
}
