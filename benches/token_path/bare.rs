//! Bare pingora: the baseline of all comparisons.

use super::proxies::Proxy;
use super::tokens::{self, Issuer};
use narthex::base::base64url_decode;
use narthex::jose::{Algorithm, JwkSet, SigningKey};
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// The environment variable that makes a process of this program the bare proxy.
pub const ROLE: &str = "NARTHEX_BENCH_ROLE";

/// The baseline proxy: only connects; or also verifies each request's token, or signs something,
/// and discards the result.
struct Bare {
    upstream: u16,
    verifies: Option<JwkSet>,
    signs: Option<SigningKey>,
}

#[async_trait::async_trait]
impl ProxyHttp for Bare {
    type CTX = ();
    fn new_ctx(&self) {}
    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora_error::Result<bool> {
        if let Some(keys) = &self.verifies {
            let token = session.req_header().headers["authorization"].to_str().unwrap();
            let (message, signature) = token["Bearer ".len()..].rsplit_once('.').unwrap();
            let signature = base64url_decode(signature).unwrap();
            assert!(keys.verify(Some("one"), Algorithm::Rs256, message.as_bytes(), &signature));
        }
        if let Some(key) = &self.signs {
            drop(tokens::sign_something(key));
        }
        Ok(false)
    }
    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora_error::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(("127.0.0.1", self.upstream), false, String::new())))
    }
}

/// Runs the bare proxy in this process.
pub fn be_bare(ports: &str) {
    // Two crypto providers are linked here, so rustls cannot choose.
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let words: Vec<&str> = ports.split(' ').collect();
    let [listen, tls, upstream, cert, key, ref works @ ..] = words[..] else { unreachable!() };
    let signs = works.first().map(|name| tokens::signing_key(Algorithm::from_name(name).unwrap()));
    let verifies = works.get(1).map(|file| JwkSet::read(&std::fs::read(file).unwrap()).unwrap());
    let bare = Bare { upstream: upstream.parse().unwrap(), verifies, signs };
    let conf = ServerConf { threads: 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, bare);
    service.add_tcp(&format!("127.0.0.1:{listen}"));
    let mut settings = TlsSettings::intermediate(cert, key).unwrap();
    settings.enable_h2();
    service.add_tls_with_settings(&format!("127.0.0.1:{tls}"), None, settings);
    server.add_service(service);
    server.run_forever();
}

/// Returns bare pingora.
pub fn bare(upstream: u16, requests: Vec<Vec<u8>>) -> Proxy {
    let mut proxy = Proxy::new("bare pingora", requests);
    proxy.command = vec![std::env::current_exe().unwrap().display().to_string()];
    let [cert, key] = proxy.identity();
    let told = format!("bare {} {} {upstream} {cert} {key}", proxy.port, proxy.tls_port);
    proxy.environment = vec![(ROLE, told)];
    proxy
}

/// Returns bare pingora with one signature per request: the minimum for a proxy that signs.
pub fn bare_that_signs(name: &'static str, algorithm: Algorithm, upstream: u16, request: Vec<u8>) -> Proxy {
    let mut proxy = bare(upstream, vec![request]);
    proxy.name = name;
    is_told(&mut proxy, algorithm.name());
    proxy
}

/// Returns bare pingora with verification and signature per request: the minimum for a proxy that
/// does both.
pub fn bare_with_both(upstream: u16, issuer: &Issuer, requests: Vec<Vec<u8>>) -> Proxy {
    let mut proxy = bare(upstream, requests);
    proxy.name = "bare pingora, which verifies and signs";
    let jwks = proxy.file("jwks.json", &issuer.jwks().to_string());
    is_told(&mut proxy, &format!("{} {jwks}", Algorithm::Es256.name()));
    proxy
}

/// Sets the additional work of a bare proxy.
fn is_told(proxy: &mut Proxy, works: &str) {
    let (_, told) = &mut proxy.environment[0];
    told.push(' ');
    told.push_str(works);
}
