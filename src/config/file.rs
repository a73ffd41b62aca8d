//! The top-level keys of the file, and checks that involve several sections.

use super::allow::Allow;
use super::host_pattern::HostPattern;
use super::key::{Key, Nested, Section, Shape, Type};
use super::reader::{Invalid, Table};
use super::route::Access;
use super::types::OUTPUT_PATH;
use super::{
    AccessLogSettings, Administrator, BreachedPasswords, Config, Files, IdentityPool, LOCAL_PROVIDER, Listen,
    Mail, MailTransport, MessageLimits, PoolIssuer, Provider, PublicUrl, Role, Route, SessionLimits, Sms,
    StoreSettings, TlsCertificate, Trigger, TrustedIssuer, UserPool,
};
use super::{
    administrator, breached_passwords, identity_pool, issuer, listen, log, mail, message, provider_keys,
    role, route_keys, session, sms, store, tls, trigger, user_pool,
};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

pub(super) const SECTION: Section = Section {
    header: "the file",
    about: "General settings.",
    keys: &[
        &PUBLIC_URL,
        &REGION,
        &ACCOUNT_ID,
        &STATE_DIR,
        &LISTEN,
        &TLS,
        &STORE,
        &SESSION,
        &LOG,
        &MAIL,
        &SMS,
        &BREACHED_PASSWORDS,
        &MESSAGES,
        &TRIGGERS,
        &PROVIDERS,
        &ROUTES,
        &ISSUERS,
        &USER_POOLS,
        &ROLES,
        &IDENTITY_POOLS,
        &ADMINISTRATORS,
    ],
};
const PUBLIC_URL: Key<PublicUrl> = Key::new(
    "public_url",
    Type::Read(Shape::Text, |item| item.parse(PublicUrl::parse)),
    "Address of the sign-in pages, and the issuer of assertions. It may have a path if only one host is available.",
)
.required("")
.example("\"https://auth.example.com\"");
const REGION: Key<String> = Key::new(
    "region",
    Type::Read(Shape::Text, |item| item.parse(region)),
    "AWS region in pool ids and ARNs.",
)
.default("\"us-east-1\"");
const ACCOUNT_ID: Key<String> =
    Key::new("account_id", Type::Read(Shape::Text, |item| item.parse(account_id)), "AWS account id in ARNs.")
        .default("\"123456789012\"");
const STATE_DIR: Key<PathBuf> = Key::new("state_dir", OUTPUT_PATH, "Folder of `certs/` and `narthex.sock`.")
    .computed("the folder of the SQLite database, or of the configuration")
    .example("\"/var/lib/narthex\"");
const LISTEN: Key<Nested> = Key::table("listen", &listen::SECTION);
const TLS: Key<Nested> = Key::tables("tls", &tls::SECTION);
const STORE: Key<Nested> = Key::table("store", &store::SECTION);
const SESSION: Key<Nested> = Key::table("session", &session::SECTION);
const LOG: Key<Nested> = Key::table("log", &log::SECTION);
const MAIL: Key<Nested> = Key::table("mail", &mail::SECTION);
const SMS: Key<Nested> = Key::table("sms", &sms::SECTION);
const BREACHED_PASSWORDS: Key<Nested> = Key::table("breached_passwords", &breached_passwords::SECTION);
const MESSAGES: Key<Nested> = Key::table("messages", &message::LIMITS);
const TRIGGERS: Key<Nested> = Key::tables("trigger", &trigger::SECTION);
const PROVIDERS: Key<Nested> = Key::tables("provider", &provider_keys::SECTION);
const ROUTES: Key<Nested> = Key::tables("route", &route_keys::SECTION);
const ISSUERS: Key<Nested> = Key::tables("issuer", &issuer::SECTION);
const USER_POOLS: Key<Nested> = Key::tables("user_pool", &user_pool::SECTION);
const ROLES: Key<Nested> = Key::tables("role", &role::SECTION);
const IDENTITY_POOLS: Key<Nested> = Key::tables("identity_pool", &identity_pool::SECTION);
const ADMINISTRATORS: Key<Nested> = Key::tables("administrator", &administrator::SECTION);

/// Reads the file, which is in `folder`.
pub(super) fn read(table: &Table<'_>, folder: &Path) -> Option<Config> {
    let public_url = table.read(&PUBLIC_URL);
    let (region, account_id) = (table.read(&REGION), table.read(&ACCOUNT_ID));
    let listen = Listen::read(&table.table(&LISTEN)?);
    let tls = table.tables(&TLS).iter().filter_map(TlsCertificate::read).collect();
    let state_dir = table.read(&STATE_DIR);
    let store = StoreSettings::read(&table.table(&STORE)?, folder, state_dir.as_deref().unwrap_or(folder));
    let log = AccessLogSettings::read(&table.table(&LOG)?);
    let (session, signed_out_url) = SessionLimits::read(&table.table(&SESSION)?);
    let mail = mail(table, public_url.as_ref());
    let sms = sms(table, region.as_deref().unwrap_or_default());
    let breached = table.get(&BREACHED_PASSWORDS).and_then(|item| item.table(&breached_passwords::SECTION));
    let breached_passwords = breached.and_then(|table| BreachedPasswords::read(&table));
    let message_limits = MessageLimits::read(&table.table(&MESSAGES)?);
    let roles = table.distinct(&ROLES, Role::read, |role| {
        (role.name.clone(), format!("two roles are named \"{}\"", role.name))
    });
    let role_names: Vec<String> = roles.iter().map(|role| role.name.clone()).collect();
    let (triggers, user_pools) = triggers_and_pools(table, region.as_deref(), &role_names)?;
    let mut providers = providers(table, &user_pools);
    let issuers = issuers(table, public_url.as_ref());
    let principals = principal_sources(table, &providers, &issuers, &user_pools);
    let identity_pool = |table: &Table<'_>| IdentityPool::read(table, &role_names, &principals);
    let identity_pools = table.distinct(&IDENTITY_POOLS, identity_pool, |pool| {
        (pool.name.clone(), format!("two identity pools are named \"{}\"", pool.name))
    });
    let routes = routes(table, &identity_pools);
    set_judged_attributes(&mut providers, &identity_pools, &routes);
    let administrators = administrators(table);
    report_route_conflicts(table, &routes, public_url.as_ref());
    report_closed_and_open_routes(table, &routes, &identity_pools, &user_pools);
    table.finish();
    let mut user_pools = user_pools.into_iter();
    Some(Config {
        folder: folder.to_owned(),
        state_dir: state_dir.unwrap_or_else(|| store.url.folder().unwrap_or(folder).to_owned()),
        public_url: public_url?,
        pool_issuer: PoolIssuer::default(),
        region: region?,
        account_id: account_id?,
        listen: listen?,
        tls,
        store,
        log: log?,
        session: session?,
        mail,
        sms,
        breached_passwords,
        message_limits: message_limits?,
        triggers,
        signed_out_url,
        user_pool: user_pools.next()?,
        further_user_pools: user_pools.collect(),
        roles,
        identity_pools,
        administrators,
        providers,
        issuers,
        routes,
        files: Files::new(),
    })
}

fn sms(table: &Table<'_>, region: &str) -> Option<Sms> {
    Sms::read(&table.get(&SMS)?.table(&sms::SECTION)?, region)
}

/// Reads `[[trigger]]` and the user pools, which name the functions.
fn triggers_and_pools(
    table: &Table<'_>,
    region: Option<&str>,
    roles: &[String],
) -> Option<(Vec<Trigger>, Vec<UserPool>)> {
    let triggers = table.distinct(
        &TRIGGERS,
        |table| Trigger::read(table, region.unwrap_or_default()),
        |trigger| (trigger.name.clone(), format!("two triggers are named \"{}\"", trigger.name)),
    );
    let names: Vec<String> = triggers.iter().map(|trigger| trigger.name.clone()).collect();
    let user_pools = UserPool::read_all(table, &USER_POOLS, (roles, &names))?;
    Some((triggers, user_pools))
}

/// Reads `[mail]`. Reports messages in the log (`smtp = "log"`) for a `public_url` on another
/// machine.
fn mail(table: &Table<'_>, public_url: Option<&PublicUrl>) -> Option<Mail> {
    let item = table.get(&MAIL)?;
    let mail = Mail::read(&item.table(&mail::SECTION)?)?;
    let is_local = |url: &PublicUrl| {
        let host = url.host().as_str();
        let is_loopback = |ip: std::net::IpAddr| ip.is_loopback();
        host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(is_loopback)
    };
    if mail.transport == MailTransport::Log && !public_url.is_none_or(is_local) {
        item.report(
            "`smtp = \"log\"` prints codes in the log, which is for a `public_url` on this machine",
            "name a server: smtp = \"smtps://user@mail.example.com\"",
        );
    }
    Some(mail)
}

fn providers(table: &Table<'_>, user_pools: &[UserPool]) -> Vec<Provider> {
    let groups = user_pools.first().map(|pool| pool.groups.as_slice()).unwrap_or_default();
    let groups: Vec<String> = groups.iter().map(|group| group.name.clone()).collect();
    let mut domains = HashSet::new();
    let provider = |table: &Table<'_>| {
        let provider = Provider::read(table, &groups)?;
        for domain in provider.domains.iter().filter(|domain| !domains.insert((*domain).clone())) {
            table.report(format!("two providers have the domain {domain}"), "remove it from one of them");
        }
        Some(provider)
    };
    let providers = table.distinct(&PROVIDERS, provider, |provider| {
        (provider.name.clone(), format!("two providers are named \"{}\"", provider.name))
    });
    report_unknown_providers(table, user_pools, &providers);
    providers
}

/// Reports providers of app clients that do not exist, and those of clients of further pools:
/// `[[provider]]` is of the first pool.
fn report_unknown_providers(table: &Table<'_>, user_pools: &[UserPool], providers: &[Provider]) {
    for (at, pool) in user_pools.iter().enumerate() {
        for client in &pool.clients {
            let names = client.sign_in.identity_providers.iter().filter(|name| *name != LOCAL_PROVIDER);
            let is_known = |name: &str| at == 0 && providers.iter().any(|provider| provider.name == name);
            for name in names.filter(|name| !is_known(name)) {
                table.report(
                    format!(
                        "the app client `{}` has the identity provider \"{name}\", which is none of its pool",
                        client.name
                    ),
                    "name a [[provider]], for a client of the first pool, or \"COGNITO\"",
                );
            }
        }
    }
    if let Some(pool) = user_pools.iter().skip(1).find(|pool| pool.rules.password_sign_in) {
        table.report(
            format!("`password_sign_in` of the user pool `{}` has no effect", pool.name),
            "routes have the users of the first [[user_pool]]: remove it, or move the pool to the beginning",
        );
    }
}

/// Sets the attributes of each provider on which decisions about requests depend.
fn set_judged_attributes(providers: &mut [Provider], identity_pools: &[IdentityPool], routes: &[Route]) {
    for provider in providers {
        let by_pools = identity_pools.iter().flat_map(|pool| pool.judged_claims(&provider.name)).cloned();
        let by_routes = routes.iter().filter_map(|route| route.allowed.as_ref()).flat_map(Allow::judged);
        provider.judged_attributes = by_pools.chain(by_routes.map(str::to_owned)).collect();
    }
}

fn issuers(table: &Table<'_>, public_url: Option<&PublicUrl>) -> Vec<TrustedIssuer> {
    let issuers = table.distinct(&ISSUERS, TrustedIssuer::read, |issuer| {
        (issuer.url.clone(), format!("two issuers are {}", issuer.url))
    });
    for issuer in &issuers {
        let is_own =
            |url: &PublicUrl| issuer.url == url.to_string() || issuer.url.starts_with(&url.join("/"));
        if public_url.is_some_and(is_own) {
            table.report(
                format!("the issuer {} is this deployment itself", issuer.url),
                "remove it: the user pool's own access tokens are accepted without it",
            );
        }
    }
    for second in issuers.iter().filter(|issuer| issuer.introspection.is_some()).skip(1) {
        table.report(
            format!("two issuers have `introspection`: \"{}\" is the second", second.name),
            "keep it in one: an opaque token does not name its issuer, and must not be sent to another one",
        );
    }
    issuers
}

/// Returns the names to which role mappings can refer: of providers, issuers and user pools.
fn principal_sources(
    table: &Table<'_>,
    providers: &[Provider],
    issuers: &[TrustedIssuer],
    user_pools: &[UserPool],
) -> Vec<String> {
    let mut names: Vec<String> = providers.iter().map(|provider| provider.name.clone()).collect();
    for issuer in issuers {
        if names.contains(&issuer.name) {
            table.report(
                format!("an issuer and another issuer or a provider are named \"{}\"", issuer.name),
                "give each another name: role mappings refer to it",
            );
        }
        names.push(issuer.name.clone());
    }
    let issuing: Vec<&UserPool> = user_pools.iter().filter(|pool| pool.issues_access_tokens()).collect();
    for pool in issuing.iter().filter(|pool| names.contains(&pool.name)) {
        table.report(
            format!("the user pool and an issuer or a provider are named \"{}\"", pool.name),
            "give the pool another name: role mappings refer to it",
        );
    }
    names.extend(issuing.iter().map(|pool| pool.name.clone()));
    names
}

fn administrators(table: &Table<'_>) -> Vec<Administrator> {
    let administrators = table.distinct(&ADMINISTRATORS, Administrator::read, |administrator| {
        let name = &administrator.name;
        (name.clone(), format!("two administrators are named \"{name}\""))
    });
    let mut ids = HashSet::new();
    for second in administrators.iter().filter(|of| !ids.insert(&of.access_key_id)) {
        table.report(
            format!("two administrators have the access key `{}`", second.access_key_id),
            "give each a key of its own: the audit log names the administrator",
        );
    }
    administrators
}

fn routes(table: &Table<'_>, identity_pools: &[IdentityPool]) -> Vec<Route> {
    let pools: Vec<String> = identity_pools.iter().map(|pool| pool.name.clone()).collect();
    let mut addresses = HashSet::new();
    let mut route = |table: &Table<'_>| {
        let route = Route::read(table, &pools)?;
        for host in &route.hosts {
            let address = format!("{host}{}", route.path_text());
            if !addresses.insert(address.clone()) {
                table
                    .report(format!("two routes are for {address}"), "make them one, or change host or path");
            }
        }
        Some(route)
    };
    table.tables(&ROUTES).iter().filter_map(&mut route).collect()
}

fn report_route_conflicts(table: &Table<'_>, routes: &[Route], public_url: Option<&PublicUrl>) {
    let mut names = HashSet::new();
    for route in routes {
        if !names.insert(&route.name) {
            table.report(format!("two routes are named \"{}\"", route.name), "give each another name");
        }
        let of_pages =
            |url: &&PublicUrl| url.path().is_empty() && route.hosts.iter().any(|host| host.is(url.host()));
        if let Some(url) = public_url.filter(of_pages) {
            table.report(
                format!("{} serves the sign-in pages and route \"{}\"", url.host(), route.name),
                "give the app another host, or the pages a path: public_url = \"https://…/.narthex\"",
            );
        }
        let differs = |host: &&HostPattern| {
            routes.iter().any(|other| other.hosts.contains(host) && other.same_site != route.same_site)
        };
        if let Some(host) = route.hosts.iter().find(differs) {
            table.report(
                format!("routes of {host} differ in `same_site`, and its cookie has one"),
                "give all routes of the host the same",
            );
        }
    }
}

/// Reports routes that no request can pass, and those that too many could.
fn report_closed_and_open_routes(
    table: &Table<'_>,
    routes: &[Route],
    identity_pools: &[IdentityPool],
    user_pools: &[UserPool],
) {
    report_closed_routes(table, routes, identity_pools, user_pools);
    report_routes_of_registered_apps(table, routes, user_pools);
}

/// Reports routes that any app could pass, because it can register itself and needs no scope.
fn report_routes_of_registered_apps(table: &Table<'_>, routes: &[Route], user_pools: &[UserPool]) {
    for (at, pool) in user_pools.iter().enumerate().filter(|(_, pool)| pool.registration.is_some()) {
        let is_open = |route: &&Route| {
            route.bearer
                && route.scopes.is_empty()
                && route.access != Access::Policy
                && route.accepts_user_pool(&[&pool.name], at == 0)
        };
        if let Some(route) = routes.iter().find(is_open) {
            table.report(
                format!(
                    "any app that registers at the user pool \"{}\" can pass route \"{}\"",
                    pool.name, route.name
                ),
                "name the `scopes` that the route needs, or remove [user_pool.registration]",
            );
        }
    }
}

/// Reports routes that no request can pass. A provider or issuer with an error counts as present,
/// because its error is reported already.
fn report_closed_routes(
    table: &Table<'_>,
    routes: &[Route],
    identity_pools: &[IdentityPool],
    user_pools: &[UserPool],
) {
    for route in routes {
        if route.bearer && !table.has(&ISSUERS) && !route.may_get_pool_tokens(user_pools) {
            table.report(
                format!("no token can be valid for route \"{}\"", route.name),
                "add an [[issuer]] or a [[user_pool.client]] that may get tokens, or remove `bearer`",
            );
        }
        let has_guests = |pool: &IdentityPool| {
            pool.guest_role.is_some() && Some(&pool.name) == route.identity_pool.as_ref()
        };
        let open = route.access == Access::Public || identity_pools.iter().any(has_guests);
        let has_passwords = user_pools.first().is_some_and(|pool| pool.rules.password_sign_in);
        if !open && !table.has(&PROVIDERS) && !route.bearer && !has_passwords {
            table.report(
                format!("no user can sign in for route \"{}\"", route.name),
                "add a [[provider]], set password_sign_in = true on the first [[user_pool]], or give the route access = \"public\"",
            );
        }
    }
}

/// Reads a region. SDKs check its form.
fn region(text: &str) -> Result<String, Invalid> {
    let parts: Vec<&str> = text.split('-').collect();
    let word = |s: &&str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase());
    let digit = parts.last().is_some_and(|s| s.len() == 1 && s.bytes().all(|b| b.is_ascii_digit()));
    match (3..=4).contains(&parts.len()) && parts[..parts.len() - 1].iter().all(word) && digit {
        true => Ok(text.to_owned()),
        false => Err((format!("\"{text}\" is not an AWS region"), "write it like \"us-east-1\"".into())),
    }
}

fn account_id(text: &str) -> Result<String, Invalid> {
    match text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => {
            Err((format!("\"{text}\" is not an AWS account id"), "write twelve digits in quotes".into()))
        }
    }
}
