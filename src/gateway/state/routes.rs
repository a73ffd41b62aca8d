//! Where a request goes: the pool's pages, an address of our own on an app host, or a route.

use crate::base::fold;
use crate::catalogue::{Catalogue, Route};
use crate::config::{Host, PathHandling};
use crate::gateway::metrics::routes::RouteMetrics;
use crate::gateway::request::headers::Reserved;
use crate::gateway::request::path::Path;
use crate::gateway::upstream::cluster::Group;
use crate::hosted::Site;
use moka::sync::Cache;
use std::collections::HashMap;
use std::sync::Arc;

/// A route with its upstreams.
pub struct Entry {
    /// The route.
    pub route: Arc<Route>,
    /// Where its requests go.
    pub group: Arc<Group>,
    /// Counts its requests.
    pub metrics: Arc<RouteMetrics>,
    /// The route's path in the folded spelling.
    folded: Vec<String>,
    /// Whether a route of its host has capital letters or others that fold in its path.
    beside_capitals: bool,
    /// The same for the single hosts that its wildcard means, where it has one.
    instances: Option<Cache<Host, Arc<Entry>>>,
}

/// How many hosts of a wildcard are remembered: what they need is worked out anew for others.
const MAX_WILDCARD_HOSTS: u64 = 1024;

/// What a request is for.
pub enum Place {
    /// A page or endpoint of the pool.
    Pool,
    /// An address below `/.narthex/` on an app host; its name.
    Own(&'static str),
    /// A route.
    Route(Arc<Entry>),
}

/// Everything the conductor looks at, of one moment.
pub struct Table {
    /// The snapshot that this table was made of.
    pub catalogue: Arc<Catalogue>,
    /// Header names that clients may not send.
    pub reserved: Reserved,
    pool_path: Vec<String>,
    groups: HashMap<String, Arc<Group>>,
    metrics: HashMap<String, Arc<RouteMetrics>>,
    by_host: HashMap<Host, Vec<Arc<Entry>>>,
    /// By the domain behind the star.
    by_domain: HashMap<Host, Vec<Arc<Entry>>>,
}

impl Table {
    /// The table of `catalogue`; upstreams that did not change keep their state.
    pub fn build(catalogue: Arc<Catalogue>, old: Option<&Table>) -> Self {
        let mut groups: HashMap<String, Arc<Group>> = HashMap::new();
        let mut metrics: HashMap<String, Arc<RouteMetrics>> = HashMap::new();
        let (mut by_host, mut by_domain) = (HashMap::new(), HashMap::new());
        for route in catalogue.routes() {
            let name = &route.config.name;
            let group = groups.entry(name.clone()).or_insert_with(|| {
                let kept =
                    old.and_then(|table| table.groups.get(name)).filter(|group| group.serves(&route.config));
                kept.cloned().unwrap_or_else(|| Arc::new(Group::new(&route.config)))
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
            let entry = Entry {
                route: route.clone(),
                group: group.clone(),
                metrics: metrics.clone(),
                folded,
                beside_capitals,
                instances,
            };
            let of_kind = if wildcard { &mut by_domain } else { &mut by_host };
            let entries: &mut Vec<Arc<Entry>> = of_kind.entry(route.pattern.host.clone()).or_default();
            entries.push(Arc::new(entry));
        }
        for entries in by_host.values_mut().chain(by_domain.values_mut()) {
            entries.sort_by_key(|entry| std::cmp::Reverse(entry.route.config.path.len()));
        }
        let pool_path = catalogue.config.public_url.path().split('/').skip(1).map(str::to_owned).collect();
        let reserved = Reserved::new(catalogue.config.routes.iter().flat_map(|route| &route.headers));
        Self { catalogue, reserved, pool_path, groups, metrics, by_host, by_domain }
    }

    /// The upstreams of each route.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.values()
    }

    /// The routes of `host`, those with the longest paths first, as [`Catalogue::routes_of`] has them.
    fn entries(&self, host: &Host) -> &[Arc<Entry>] {
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
    pub fn knows(&self, host: &Host) -> bool {
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

    /// Whether a server that is less exact than we are would take `path` to lie below another route than
    /// `found`, by any of the liberties of [`crate::gateway::request::lenient_path`].
    pub fn is_ambiguous(&self, host: &Host, path: &Path<'_>, found: &Entry) -> bool {
        // A path that all servers read alike may still be another route's, whose own path has capital letters.
        if path.lenient.is_none() && !found.beside_capitals {
            return false;
        }
        let entries = self.entries(host);
        // A route's path has nothing in it that a liberty concerns, so the reading with all of them finds each route that
        // another finds.
        let below = |entry: &&Arc<Entry>| path.may_start_with(&entry.folded);
        entries.iter().find(below).is_none_or(|entry| entry.folded != found.folded)
    }

    /// What a request for `host` and `path` is for.
    pub fn find(&self, host: &Host, path: &Path<'_>) -> Option<Place> {
        let entries = self.entries(host);
        let reserved = path.segments.first().is_some_and(|first| first == ".narthex");
        if reserved && path.segments.len() == 2 {
            match &*path.segments[1] {
                // Each page links to them, and an unknown host has the page that says so.
                "style.css" => return Some(Place::Own("style.css")),
                "favicon.svg" => return Some(Place::Own("favicon.svg")),
                "callback" if !entries.is_empty() => return Some(Place::Own("callback")),
                "sign-out" if !entries.is_empty() => return Some(Place::Own("sign-out")),
                "sign-in" if !entries.is_empty() => return Some(Place::Own("sign-in")),
                "sessions" if !entries.is_empty() => return Some(Place::Own("sessions")),
                "userinfo" if !entries.is_empty() => return Some(Place::Own("userinfo")),
                _ => {}
            }
        }
        if host == self.catalogue.config.public_url.host() && path.starts_with(&self.pool_path) {
            return Some(Place::Pool);
        }
        let serves = |entry: &&Arc<Entry>| path.starts_with(&entry.route.config.path);
        let entry = entries.iter().find(serves).filter(|_| !reserved)?;
        Some(Place::Route(entry.at(&self.catalogue, host)))
    }
}

/// The route that serves `path` on `host`, where nothing stops a request for it before.
///
/// # Errors
/// Why there is none.
pub fn locate(catalogue: &Arc<Catalogue>, host: &Host, path: &Path<'_>) -> Result<Arc<Route>, &'static str> {
    let table = Table::build(catalogue.clone(), None);
    match table.find(host, path) {
        None => Err("no route answers for it: 404"),
        Some(Place::Pool) => Err("it is an address of the sign-in pages"),
        Some(Place::Own(_)) => Err("it is an address of Narthex's own"),
        Some(Place::Route(entry)) if !entry.takes(path) || table.is_ambiguous(host, path, &entry) => {
            Err("servers could disagree on which route it is for: 400")
        }
        Some(Place::Route(entry)) => Ok(entry.route.clone()),
    }
}

impl Entry {
    /// The same for one of the hosts that it is for.
    fn at(self: &Arc<Self>, catalogue: &Catalogue, host: &Host) -> Arc<Self> {
        let Some(instances) = &self.instances else { return self.clone() };
        instances.get_with_by_ref(host, || {
            Arc::new(Self {
                route: Arc::new(self.route.at(&catalogue.config, host)),
                group: self.group.clone(),
                metrics: self.metrics.clone(),
                folded: self.folded.clone(),
                beside_capitals: self.beside_capitals,
                instances: None,
            })
        })
    }

    /// Whether the route takes such a path.
    pub fn takes(&self, path: &Path<'_>) -> bool {
        !path.opaque || self.route.config.path_handling == PathHandling::Opaque
    }
}
