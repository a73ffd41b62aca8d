//! Routing of requests to the user pool's pages, to one of Narthex's own addresses on an app host,
//! or to a route.

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
    /// The upstreams of its requests.
    pub cluster: Arc<UpstreamCluster>,
    /// The metrics of its requests.
    pub metrics: Arc<RouteMetrics>,
    /// The case-folded path of the route.
    casefolded_path: Vec<String>,
    /// Whether some route with the same host pattern has a path with capital letters, or others
    /// that case folding changes.
    sibling_has_uppercase: bool,
    /// The entries of single hosts that match the route's wildcard; `None` without a wildcard.
    instances: Option<Cache<Host, Arc<RouteEntry>>>,
}

/// The maximum number of cached hosts of a wildcard. The entries of other hosts are created again
/// for each request.
const MAX_WILDCARD_HOSTS: u64 = 1024;

/// An address on an app host that Narthex itself serves.
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

    /// Returns whether hosts without a route have the address, too. Every page links to it,
    /// including the error page of an unknown host.
    fn is_on_every_host(self) -> bool {
        matches!(self, Self::Style | Self::Icon)
    }
}

/// The target of a request.
pub enum Target {
    /// A page or endpoint of the pool.
    UserPool,
    /// An address below `/.narthex/` on an app host.
    Builtin(Builtin),
    /// A route.
    Route(Arc<RouteEntry>),
}

/// A snapshot of the configuration and its routes.
pub struct RouteTable {
    /// The catalogue from which this table was built.
    pub catalogue: Arc<Catalogue>,
    /// Header names that clients may not send.
    pub reserved: ReservedHeaders,
    pool_path: Vec<String>,
    clusters: HashMap<String, Arc<UpstreamCluster>>,
    metrics: HashMap<String, Arc<RouteMetrics>>,
    by_host: HashMap<Host, Vec<Arc<RouteEntry>>>,
    /// The routes with a wildcard, by the domain after the star.
    by_domain: HashMap<Host, Vec<Arc<RouteEntry>>>,
}

impl RouteTable {
    /// Builds the table of `catalogue`. Unchanged upstreams keep their state.
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
            // The metrics depend on the route's name only.
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

    /// Returns the upstreams of each route.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<UpstreamCluster>> {
        self.clusters.values()
    }

    /// Returns the routes of `host`, those with the longest paths first, like
    /// [`Catalogue::routes_of`].
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

    /// Returns whether `host` has a route or the user pool's pages.
    pub fn serves_host(&self, host: &Host) -> bool {
        host == self.catalogue.config.public_url.host() || !self.entries(host).is_empty()
    }

    /// Returns the pages of `host` to which an error page can link.
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

    /// Returns whether a less strict server could find `path` below another route than `found`, by
    /// any leniency of [`crate::gateway::request::lenient_path`].
    pub fn is_ambiguous(&self, host: &Host, path: &Path<'_>, found: &RouteEntry) -> bool {
        // A path that all servers read alike may still match another route whose path has capital
        // letters.
        if path.lenient.is_none() && !found.sibling_has_uppercase {
            return false;
        }
        let entries = self.entries(host);
        // No leniency changes a route's path. Therefore the reading with all leniencies matches
        // every route that any other reading matches.
        let below = |entry: &&Arc<RouteEntry>| path.may_start_with(&entry.casefolded_path);
        entries.iter().find(below).is_none_or(|entry| entry.casefolded_path != found.casefolded_path)
    }

    /// Returns the target of a request for `host` and `path`; `None` if there is none.
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

/// Returns the route that serves `path` on `host`.
///
/// # Errors
/// The reason for which no route serves it.
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
    /// Returns the entry for one of the hosts that match the route.
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

    /// Returns whether the route accepts the path.
    pub fn accepts_path(&self, path: &Path<'_>) -> bool {
        !path.opaque || self.route.config.path_handling == PathHandling::Opaque
    }
}
