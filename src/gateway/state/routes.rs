//! Where a request goes: the pool's pages, an address of our own on an app host, or a route.

use crate::base::fold;
use crate::catalogue::{Catalogue, Route};
use crate::config::{Host, PathHandling};
use crate::gateway::metrics::routes::RouteMetrics;
use crate::gateway::request::headers::ReservedHeaders;
use crate::gateway::request::path::Path;
use crate::gateway::upstream::cluster::UpstreamCluster;
use crate::pages::Site;
use moka::sync::Cache;
use std::collections::HashMap;
use std::sync::Arc;

/// A route with its upstreams.
pub struct RouteEntry {
    /// The route.
    pub route: Arc<Route>,
    /// Where its requests go.
    pub cluster: Arc<UpstreamCluster>,
    /// Counts its requests.
    pub metrics: Arc<RouteMetrics>,
    /// The route's path in the folded spelling.
    casefolded_path: Vec<String>,
    /// Whether a route of its host has capital letters or others that fold in its path.
    sibling_has_uppercase: bool,
    /// The same for the single hosts that its wildcard means, where it has one.
    instances: Option<Cache<Host, Arc<RouteEntry>>>,
}

/// How many hosts of a wildcard are remembered: what they need is worked out anew for others.
const MAX_WILDCARD_HOSTS: u64 = 1024;

/// An address of an app host that Narthex answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// The style sheet of the pages.
    Style,
    /// The icon of the pages.
    Icon,
    /// The redirect URI, at which a code is redeemed.
    Callback,
    /// Starts a sign-in.
    SignIn,
    /// Ends the session.
    SignOut,
    /// Redirects to the page of the user's sessions.
    Sessions,
    /// Describes the session to scripts.
    UserInfo,
}

/// The name of each address below `/.narthex/`.
const BUILTINS: [(&str, Builtin); 7] = [
    ("style.css", Builtin::Style),
    ("favicon.svg", Builtin::Icon),
    ("callback", Builtin::Callback),
    ("sign-in", Builtin::SignIn),
    ("sign-out", Builtin::SignOut),
    ("sessions", Builtin::Sessions),
    ("userinfo", Builtin::UserInfo),
];

impl Builtin {
    fn named(segment: &str) -> Option<Self> {
        BUILTINS.iter().find(|(name, _)| *name == segment).map(|(_, builtin)| *builtin)
    }

    /// Returns whether hosts without a route have the address: each page links to it, and an
    /// unknown host has an error page.
    fn is_on_every_host(self) -> bool {
        matches!(self, Self::Style | Self::Icon)
    }
}

/// What a request is for.
pub enum Target {
    /// A page or endpoint of the pool.
    UserPool,
    /// An address below `/.narthex/` on an app host.
    Builtin(Builtin),
    /// A route.
    Route(Arc<RouteEntry>),
}

/// The configuration and the routes of one moment.
pub struct RouteTable {
    /// The snapshot that this table was made of.
    pub catalogue: Arc<Catalogue>,
    /// Header names that clients may not send.
    pub reserved: ReservedHeaders,
    pool_path: Vec<String>,
    clusters: HashMap<String, Arc<UpstreamCluster>>,
    metrics: HashMap<String, Arc<RouteMetrics>>,
    by_host: HashMap<Host, Vec<Arc<RouteEntry>>>,
    /// By the domain behind the star.
    by_domain: HashMap<Host, Vec<Arc<RouteEntry>>>,
}

impl RouteTable {
    /// The table of `catalogue`; upstreams that did not change keep their state.
    pub fn build(catalogue: Arc<Catalogue>, old: Option<&RouteTable>) -> Self {
        let mut clusters: HashMap<String, Arc<UpstreamCluster>> = HashMap::new();
        let mut metrics: HashMap<String, Arc<RouteMetrics>> = HashMap::new();
        let (mut by_host, mut by_domain) = (HashMap::new(), HashMap::new());
        for route in catalogue.routes() {
            let name = &route.config.name;
            let group = clusters.entry(name.clone()).or_insert_with(|| {
                let kept = old
                    .and_then(|table| table.clusters.get(name))
                    .filter(|group| group.matches_config(&route.config));
                kept.cloned().unwrap_or_else(|| Arc::new(UpstreamCluster::new(&route.config)))
            });
            // Its counters go by its name.
            let metrics = metrics.entry(name.clone()).or_insert_with(|| {
                let kept = old.and_then(|table| table.metrics.get(name)).cloned();
                kept.unwrap_or_else(|| Arc::new(RouteMetrics::new(name)))
            });
            let folded = route.config.path.iter().map(|segment| fold(segment).into_owned()).collect();
            let capitals =
                |route: &Arc<Route>| route.config.path.iter().any(|segment| fold(segment) != *segment);
            let beside = |other: &&Arc<Route>| other.pattern == route.pattern;
            let beside_capitals = catalogue.routes().filter(beside).any(capitals);
            let wildcard = route.pattern.wildcard;
            let instances = wildcard.then(|| Cache::new(MAX_WILDCARD_HOSTS));
            let entry = RouteEntry {
                route: route.clone(),
                cluster: group.clone(),
                metrics: metrics.clone(),
                casefolded_path: folded,
                sibling_has_uppercase: beside_capitals,
                instances,
            };
            let of_kind = if wildcard { &mut by_domain } else { &mut by_host };
            let entries: &mut Vec<Arc<RouteEntry>> = of_kind.entry(route.pattern.host.clone()).or_default();
            entries.push(Arc::new(entry));
        }
        for entries in by_host.values_mut().chain(by_domain.values_mut()) {
            entries.sort_by_key(|entry| std::cmp::Reverse(entry.route.config.path.len()));
        }
        let pool_path = catalogue.config.public_url.path().split('/').skip(1).map(str::to_owned).collect();
        let reserved = ReservedHeaders::new(catalogue.config.routes.iter().flat_map(|route| &route.headers));
        Self { catalogue, reserved, pool_path, clusters, metrics, by_host, by_domain }
    }

    /// The upstreams of each route.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<UpstreamCluster>> {
        self.clusters.values()
    }

    /// The routes of `host`, those with the longest paths first, as [`Catalogue::routes_of`] has
    /// them.
    fn entries(&self, host: &Host) -> &[Arc<RouteEntry>] {
        if let Some(entries) = self.by_host.get(host) {
            return entries;
        }
        if self.by_domain.is_empty() || host == self.catalogue.config.public_url.host() {
            return &[];
        }
        let domain = host.as_str().split_once('.').and_then(|(_, domain)| self.by_domain.get(domain));
        domain.map_or(&[], Vec::as_slice)
    }

    /// Whether anything is served for `host`.
    pub fn serves_host(&self, host: &Host) -> bool {
        host == self.catalogue.config.public_url.host() || !self.entries(host).is_empty()
    }

    /// Returns the pages of `host` to which a page of a failure can link.
    pub fn site(&self, host: &Host) -> Site {
        let public_url = &self.catalogue.config.public_url;
        // The routes with the longest paths come first, and the sign-in pages before them.
        match self.entries(host).last() {
            _ if host == public_url.host() && public_url.path().is_empty() => Site::SignInPages("/".into()),
            Some(entry) => Site::App(entry.route.start_page()),
            None if host == public_url.host() => Site::SignInPages(format!("{}/", public_url.path()).into()),
            None => Site::Unknown,
        }
    }

    /// Whether a server that is less exact than we are would take `path` to lie below another route
    /// than `found`, by any of the liberties of [`crate::gateway::request::lenient_path`].
    pub fn is_ambiguous(&self, host: &Host, path: &Path<'_>, found: &RouteEntry) -> bool {
        // A path that all servers read alike may still be another route's, whose own path has
        // capital letters.
        if path.lenient.is_none() && !found.sibling_has_uppercase {
            return false;
        }
        let entries = self.entries(host);
        // A route's path has nothing in it that a liberty concerns, so the reading with all of them
        // finds each route that another finds.
        let below = |entry: &&Arc<RouteEntry>| path.may_start_with(&entry.casefolded_path);
        entries.iter().find(below).is_none_or(|entry| entry.casefolded_path != found.casefolded_path)
    }

    /// What a request for `host` and `path` is for.
    pub fn target(&self, host: &Host, path: &Path<'_>) -> Option<Target> {
        let entries = self.entries(host);
        let reserved = path.segments.first().is_some_and(|first| first == ".narthex");
        if reserved && path.segments.len() == 2 {
            let builtin = Builtin::named(&path.segments[1]);
            if let Some(builtin) = builtin.filter(|builtin| builtin.is_on_every_host() || !entries.is_empty())
            {
                return Some(Target::Builtin(builtin));
            }
        }
        if host == self.catalogue.config.public_url.host() && path.starts_with(&self.pool_path) {
            return Some(Target::UserPool);
        }
        let serves = |entry: &&Arc<RouteEntry>| path.starts_with(&entry.route.config.path);
        let entry = entries.iter().find(serves).filter(|_| !reserved)?;
        Some(Target::Route(entry.for_host(&self.catalogue, host)))
    }
}

/// The route that serves `path` on `host`, where nothing stops a request for it before.
///
/// # Errors
/// Why there is none.
pub fn locate(catalogue: &Arc<Catalogue>, host: &Host, path: &Path<'_>) -> Result<Arc<Route>, &'static str> {
    let table = RouteTable::build(catalogue.clone(), None);
    match table.target(host, path) {
        None => Err("no route answers for it: 404"),
        Some(Target::UserPool) => Err("it is an address of the sign-in pages"),
        Some(Target::Builtin(_)) => Err("it is an address of Narthex's own"),
        Some(Target::Route(entry)) if !entry.accepts_path(path) || table.is_ambiguous(host, path, &entry) => {
            Err("servers could disagree on which route it is for: 400")
        }
        Some(Target::Route(entry)) => Ok(entry.route.clone()),
    }
}

impl RouteEntry {
    /// The same for one of the hosts that it is for.
    fn for_host(self: &Arc<Self>, catalogue: &Catalogue, host: &Host) -> Arc<Self> {
        let Some(instances) = &self.instances else { return self.clone() };
        instances.get_with_by_ref(host, || {
            Arc::new(Self {
                route: Arc::new(self.route.at(&catalogue.config, host)),
                cluster: self.cluster.clone(),
                metrics: self.metrics.clone(),
                casefolded_path: self.casefolded_path.clone(),
                sibling_has_uppercase: self.sibling_has_uppercase,
                instances: None,
            })
        })
    }

    /// Whether the route takes such a path.
    pub fn accepts_path(&self, path: &Path<'_>) -> bool {
        !path.opaque || self.route.config.path_handling == PathHandling::Opaque
    }
}
