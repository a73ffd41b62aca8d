//! The servers that requests go to: found by name, taken in turn, left out while they do not answer.

use crate::base::Duration;
use crate::config::{Route, Scheme, Upstream};
use crate::policy::Permit;
use async_trait::async_trait;
use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use pingora_error::{Error, ErrorType};
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::TcpHealthCheck;
use pingora_load_balancing::selection::RoundRobin;
use pingora_load_balancing::{Backend, Backends, LoadBalancer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

const CONNECT: Duration = Duration::from_secs(3);
const CONNECT_WITH_TLS: Duration = Duration::from_secs(6);
/// How long an upstream may leave a plain exchange without a byte.
const SILENCE: Duration = Duration::from_secs(60);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(55);

/// The upstreams of a route.
pub struct Group {
    upstreams: Vec<Upstream>,
    ca_pem: Option<Vec<u8>>,
    ca: Option<Arc<[WrappedX509]>>,
    balancer: LoadBalancer<RoundRobin>,
}

/// Finds the addresses of upstreams by name, again and again: names move.
struct ByName(Vec<Upstream>);

#[async_trait]
impl ServiceDiscovery for ByName {
    async fn discover(&self) -> pingora_error::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let mut backends = BTreeSet::new();
        let mut failure = None;
        for upstream in &self.0 {
            let name = upstream.host.trim_matches(['[', ']']);
            let looked_up =
                tokio::time::timeout(CONNECT, tokio::net::lookup_host((name, upstream.port))).await;
            match looked_up {
                Ok(Ok(addresses)) => {
                    for address in addresses {
                        let mut backend = Backend::new(&address.to_string())?;
                        backend.ext.insert(Arc::new(upstream.clone()));
                        backends.insert(backend);
                    }
                }
                Ok(Err(error)) => failure = Some(error.to_string()),
                Err(_) => failure = Some("no answer in time".to_owned()),
            }
        }
        match failure {
            Some(why) if backends.is_empty() => Error::e_explain(ErrorType::ConnectError, why),
            _ => Ok((backends, HashMap::new())),
        }
    }
}

impl Group {
    /// The upstreams of `route`. They have no address until [`Group::look_up`] found one.
    pub fn new(route: &Route) -> Self {
        let mut backends = Backends::new(Box::new(ByName(route.upstreams.clone())));
        let mut check = TcpHealthCheck::new();
        check.consecutive_failure = 2;
        check.peer_template.options.connection_timeout = Some(CONNECT);
        backends.set_health_check(check);
        let ca_pem = route.upstream_ca.as_deref().map(read_pem);
        Self {
            upstreams: route.upstreams.clone(),
            ca: ca_pem.as_deref().map(certificates),
            ca_pem,
            balancer: LoadBalancer::from_backends(backends),
        }
    }

    /// Whether these are the upstreams that `route` names, and their authorities what its file holds.
    pub fn serves(&self, route: &Route) -> bool {
        self.upstreams == route.upstreams && self.ca_pem == route.upstream_ca.as_deref().map(read_pem)
    }

    /// Looks the names up again.
    pub async fn look_up(&self) {
        if let Err(error) = self.balancer.update().await {
            let names: Vec<String> = self.upstreams.iter().map(ToString::to_string).collect();
            tracing::warn!(upstreams = names.join(", "), %error, "an upstream's name could not be looked up");
        }
    }

    /// Tries every address, so that the dead are left out and the revived taken in again.
    pub async fn check_health(&self) {
        self.balancer.backends().run_health_check(true).await;
    }

    /// The next upstream in turn; any of them, where all seem dead: a wrong suspicion must not shut
    /// an app out. Only a permitted request has an upstream. A long-lived exchange has no limit on
    /// silence.
    pub fn next(&self, _permit: &Permit, long_lived: bool) -> Option<(Box<HttpPeer>, Arc<Upstream>)> {
        let backend = self
            .balancer
            .select(b"", 64)
            .or_else(|| self.balancer.backends().get_backend().iter().next().cloned())?;
        let upstream = backend.ext.get::<Arc<Upstream>>()?.clone();
        let tls = upstream.scheme == Scheme::Https;
        // Without a name pingora would verify nothing, so an address stands for itself.
        let name = if tls { upstream.host.trim_matches(['[', ']']).to_owned() } else { String::new() };
        let mut peer = Box::new(HttpPeer::new(backend.addr, tls, name));
        let options = &mut peer.options;
        options.connection_timeout = Some(CONNECT);
        options.total_connection_timeout = Some(CONNECT_WITH_TLS);
        options.idle_timeout = Some(IDLE);
        options.read_timeout = (!long_lived).then_some(SILENCE);
        options.write_timeout = Some(SILENCE);
        if tls {
            options.alpn = ALPN::H2H1;
            options.ca = self.ca.clone();
        }
        Some((peer, upstream))
    }

    /// How many upstreams there are, which bounds how often connecting is tried.
    pub fn count(&self) -> usize {
        self.balancer.backends().get_backend().len()
    }
}

/// The file's content; nothing where it cannot be read, so that no upstream is trusted by it.
fn read_pem(file: &Path) -> Vec<u8> {
    std::fs::read(file).unwrap_or_else(|error| {
        tracing::error!(file = %file.display(), %error, "upstream_ca cannot be read: no upstream is trusted by it");
        Vec::new()
    })
}

fn certificates(pem: &[u8]) -> Arc<[WrappedX509]> {
    let readable = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    readable.map(|der| WrappedX509::new(der.to_vec(), parse_x509)).collect()
}
