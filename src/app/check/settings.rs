//! Checks for valid settings that are probably not intended.

use super::report::Report;
use crate::app::lint::may_be_told;
use crate::catalogue::Catalogue;
use crate::config::{Access, Allow, Config, MappingType, MatchType, Piece, Route};

/// Reports every such setting as a warning.
pub fn check(catalogue: &Catalogue, report: &mut Report) {
    let config = &catalogue.config;
    if let Some(route) =
        config.routes.iter().find(|route| route.hosts.iter().any(|host| host.is(config.public_url.host())))
    {
        report.warn(format!(
            "the sign-in pages share the origin of \"{}\": a script of that app can act on them; give them a host of their own where you can",
            route.name
        ));
    }
    for route in open_to_programs(config) {
        report.warn(format!(
            "route \"{}\": every program that gets a token of the user pool may pass: name the `scopes` that it needs, or \
             let a policy judge",
            route.name
        ));
    }
    for (route, name) in unknown_attributes(config) {
        report.warn(format!(
            "route \"{route}\": no provider supplies the attribute `{name}` of a header: it stays empty; help: add it to \
             [provider.attributes], or correct the name"
        ));
    }
    for (place, pattern) in literal_patterns(config) {
        report.warn(format!(
            "{place}: the `*` in \"{pattern}\" is compared literally, not as a pattern; help: write the whole name of \
             the group"
        ));
    }
    if config.listen.https.is_none() && !config.tls.is_empty() {
        report.warn("[[tls]] is not used: https = \"off\" in [listen] leaves TLS to the proxy in front");
    }
}

/// Returns the routes that accept every token of a user pool.
fn open_to_programs(config: &Config) -> impl Iterator<Item = &Route> {
    let open = |route: &&Route| {
        let anybody = route.access == Access::SignedIn && route.allowed.is_none();
        route.bearer && anybody && route.scopes.is_empty()
    };
    let gets = |route: &&Route| route.may_get_pool_tokens(config.user_pools());
    config.routes.iter().filter(gets).filter(open)
}

/// Returns the attributes of headers that no provider supplies, each with its route.
fn unknown_attributes(config: &Config) -> Vec<(&str, &str)> {
    let known = |name: &str| name == "groups" || may_be_told(config, name);
    let mut unknown = Vec::new();
    for route in &config.routes {
        for piece in route.headers.iter().flat_map(|header| header.value.pieces()) {
            if let Piece::Claim(name) = piece
                && !known(name)
            {
                unknown.push((route.name.as_str(), name.as_str()));
            }
        }
    }
    unknown
}

/// Returns the names of groups with a `*` that is not a pattern, each with its location in the
/// file.
fn literal_patterns(config: &Config) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    let has_star = |name: &&String| name.contains('*');
    for provider in &config.providers {
        if let Allow::Only { groups, .. } = &provider.allow {
            let place = || format!("`allow` of provider \"{}\"", provider.name);
            found.extend(groups.iter().filter(has_star).map(|group| (place(), group.as_str())));
        }
        let place = || format!("`groups` of provider \"{}\"", provider.name);
        found.extend(provider.groups.keys().filter(has_star).map(|group| (place(), group.as_str())));
    }
    for route in &config.routes {
        // Only a `*` at the end is a pattern.
        let inner = |name: &&String| name.strip_suffix('*').unwrap_or(name.as_str()).contains('*');
        let place = || format!("`assertion_groups` of route \"{}\"", route.name);
        let groups = route.assertion_groups.iter().flatten();
        found.extend(groups.filter(inner).map(|group| (place(), group.as_str())));
        if let Some(Allow::Only { groups, .. }) = &route.allowed {
            let place = || format!("`allowed_groups` of route \"{}\"", route.name);
            found.extend(groups.iter().filter(has_star).map(|group| (place(), group.as_str())));
        }
    }
    for pool in &config.identity_pools {
        let rules = pool.role_mappings.iter().flat_map(|mapping| match &mapping.by {
            MappingType::Rules(rules) => rules.as_slice(),
            MappingType::Token => &[],
        });
        let exact = |rule: &&crate::config::MappingRule| {
            rule.match_type == MatchType::Equals && rule.claim.ends_with("groups") && rule.value.contains('*')
        };
        let place = || format!("a rule of identity pool \"{}\"", pool.name);
        found.extend(rules.filter(exact).map(|rule| (place(), rule.value.as_str())));
    }
    found
}
