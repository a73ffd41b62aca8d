//! TLS to upstreams: verification of their certificates, and Narthex's client certificate.

use crate::base::{MAX_SMALL_FILE, read_file, sha256};
use crate::config::{ClientCertificate, Config, Route, UpstreamTls};
use crate::gateway::connection::tls::LoadedCertificate;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The TLS settings of a route's https upstreams, with the content of the files.
pub struct UpstreamIdentity {
    server_name: Option<String>,
    /// The content of the files: authorities, certificate, key.
    files: [Option<Vec<u8>>; 3],
    ca: Option<Arc<[WrappedX509]>>,
    client: Client,
}

/// The client certificate.
enum Client {
    /// The configuration has none.
    None,
    /// The configured certificate cannot be used.
    Unusable,
    Certificate(Arc<CertKey>),
}

impl PartialEq for UpstreamIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.server_name == other.server_name && self.files == other.files
    }
}

impl UpstreamIdentity {
    /// Reads the files that `settings` names.
    pub fn read(settings: &UpstreamTls) -> Self {
        let ca = settings.ca.as_deref().map(|file| read_named("upstream_ca", file));
        let client_files = settings.client.as_ref().map(|client| {
            (read_named("upstream_cert", &client.cert), read_named("upstream_key", &client.key))
        });
        let client = match &settings.client {
            None => Client::None,
            Some(files) => match client_certificate(files) {
                Ok(certificate) => Client::Certificate(Arc::new(certificate)),
                Err(why) => {
                    tracing::error!(
                        why,
                        "the client certificate cannot be used: its upstreams are not asked"
                    );
                    Client::Unusable
                }
            },
        };
        let (cert, key) = client_files.unzip();
        Self {
            server_name: settings.server_name.clone(),
            ca: ca.as_deref().map(certificates),
            files: [ca, cert, key],
            client,
        }
    }

    /// Returns the name that an upstream's certificate must have, if one is configured.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Sets the authorities and the client certificate of connections to `peer`; `None` if the
    /// client certificate cannot be used.
    pub fn apply(&self, peer: &mut HttpPeer) -> Option<()> {
        peer.options.ca.clone_from(&self.ca);
        peer.client_cert_key = match &self.client {
            Client::None => None,
            Client::Unusable => return None,
            Client::Certificate(certificate) => Some(certificate.clone()),
        };
        // pingora's pool key contains only the address, the name and the certificate's serial
        // number. A connection that was verified against other authorities, or made with another
        // certificate, must not be reused.
        let mut text = Vec::new();
        for file in &self.files {
            text.extend(file.as_ref().map_or([0; 32], sha256));
        }
        let key = u64::from_be_bytes(sha256(text)[..8].try_into().unwrap_or_default());
        peer.group_key = if self.files.iter().any(Option::is_some) { key } else { 0 };
        Some(())
    }
}

/// Returns the file's content; empty if the file cannot be read, so that no upstream is trusted by
/// it.
fn read_named(setting: &'static str, file: &Path) -> Vec<u8> {
    read_file(file, MAX_SMALL_FILE).unwrap_or_else(|error| {
        tracing::error!(file = %file.display(), %error, "{setting} cannot be read: no upstream is trusted by it");
        Vec::new()
    })
}

fn client_certificate(files: &ClientCertificate) -> Result<CertKey, String> {
    // This function checks that the key belongs to the certificate.
    let loaded = LoadedCertificate::read(&files.cert, &files.key, &[]).map_err(|error| error.to_string())?;
    let key = read_file(&files.key, MAX_SMALL_FILE).map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| error.to_string())?;
    // pingora's parser panics on invalid certificates.
    if loaded.key.cert.iter().any(|der| X509Certificate::from_der(der).is_err()) {
        return Err(format!("{}: it holds something that is no certificate", files.cert.display()));
    }
    let chain = loaded.key.cert.iter().map(|der| der.to_vec()).collect();
    Ok(CertKey::new(chain, key.secret_der().to_vec()))
}

/// Returns the errors in the files that `config`'s routes name for their https upstreams, one per
/// line.
pub fn unusable_upstream_files(config: &Config) -> Vec<String> {
    let authorities = |route: &Route| {
        let file = route.upstream_tls.ca.as_deref()?;
        let certificates = |pem: Vec<u8>| {
            let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
            certificates.map_err(|error| error.to_string())
        };
        match read_file(file, MAX_SMALL_FILE).map_err(|error| error.to_string()).and_then(certificates) {
            Ok(found) if found.iter().any(|der| X509Certificate::from_der(der).is_ok()) => None,
            Ok(_) => Some(format!(
                "{}: it holds no certificate, so \"{}\" trusts no upstream",
                file.display(),
                route.name
            )),
            Err(error) => Some(format!("{}: {error}", file.display())),
        }
    };
    let client = |route: &Route| {
        let why = client_certificate(route.upstream_tls.client.as_ref()?).err()?;
        Some(format!("{why}; route \"{}\" has no client certificate for its upstreams", route.name))
    };
    config.routes.iter().flat_map(|route| authorities(route).into_iter().chain(client(route))).collect()
}

fn certificates(pem: &[u8]) -> Arc<[WrappedX509]> {
    let readable = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    // pingora's parser panics on invalid certificates.
    let sound = readable.filter(|der| X509Certificate::from_der(der).is_ok());
    sound.map(|der| WrappedX509::new(der.to_vec(), parse_x509)).collect()
}
