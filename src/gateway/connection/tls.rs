//! TLS certificates: chosen by SNI, read again when their files change, and issued by a local
//! authority for hosts without one.

use crate::base::{Duration, MAX_SMALL_FILE, Timestamp, read_file, read_text};
use crate::config::{Config, HostPattern};
use arc_swap::ArcSwap;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use time::OffsetDateTime;

/// The lifetime of the local authority's certificate.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86400);
/// The lifetime of a certificate that the local authority issues; browsers refuse more than 398
/// days.
const LEAF_LIFETIME: Duration = Duration::from_secs(90 * 86400);

/// An error in a certificate file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {message}", .file.display())]
pub struct CertificateError {
    /// The file.
    pub file: PathBuf,
    /// The error in the file.
    pub message: String,
}

impl CertificateError {
    fn new(file: &Path, message: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), message: message.to_string() }
    }
}

/// A certificate chain with its key and its hosts.
pub struct LoadedCertificate {
    /// The chain and the key.
    pub key: Arc<CertifiedKey>,
    /// The hosts.
    pub hosts: Vec<HostPattern>,
}

impl LoadedCertificate {
    /// Reads a certificate chain and its key.
    ///
    /// # Errors
    /// A file cannot be read, or the key does not belong to the certificate.
    pub fn read(cert: &Path, key: &Path, hosts: &[HostPattern]) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(cert)?)
            .collect::<Result<_, _>>()
            .map_err(|error| CertificateError::new(cert, error))?;
        if chain.is_empty() {
            return Err(CertificateError::new(cert, "it holds no certificate"));
        }
        let private = zeroize::Zeroizing::new(read(key)?);
        let private =
            PrivateKeyDer::from_pem_slice(&private).map_err(|error| CertificateError::new(key, error))?;
        let key =
            CertifiedKey::from_der(chain, private, &provider::default_provider()).map_err(
                |error| match error {
                    rustls::Error::InconsistentKeys(_) => {
                        CertificateError::new(key, format!("it is not the key of {}", cert.display()))
                    }
                    error => CertificateError::new(key, error),
                },
            )?;
        Ok(Self { key: Arc::new(key), hosts: hosts.to_vec() })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CertificateError> {
    read_file(file, MAX_SMALL_FILE).map_err(|error| CertificateError::new(file, error))
}

/// A local certificate authority, for hosts without a certificate. Its files are in `certs/`; a
/// user imports `local-authority.pem` so that a browser trusts it.
pub struct LocalAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl LocalAuthority {
    /// The path of the authority's certificate below `state_dir`.
    pub const CERTIFICATE: &'static str = "certs/local-authority.pem";
    const KEY: &'static str = "certs/local-authority.key";

    /// Reads the authority in `folder`, or creates it if there is none.
    ///
    /// # Errors
    /// Its files cannot be read or written.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, CertificateError> {
        let (cert_file, key_file) = (folder.join(Self::CERTIFICATE), folder.join(Self::KEY));
        if !cert_file.exists() || !key_file.exists() {
            Self::create(&cert_file, &key_file, now)?;
        }
        let key =
            read_text(&key_file, MAX_SMALL_FILE).map_err(|error| CertificateError::new(&key_file, error))?;
        let key = KeyPair::from_pem(&key).map_err(|error| CertificateError::new(&key_file, error))?;
        let certificate = CertificateDer::from_pem_slice(&read(&cert_file)?)
            .map_err(|error| CertificateError::new(&cert_file, error))?;
        Ok(Self { issuer: Issuer::new(authority_params(now), key), certificate })
    }

    fn create(cert_file: &Path, key_file: &Path, now: Timestamp) -> Result<(), CertificateError> {
        let failed = |error: rcgen::Error| CertificateError::new(cert_file, error);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = authority_params(now).self_signed(&key).map_err(failed)?;
        if let Some(folder) = cert_file.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| CertificateError::new(folder, without_folder(&error)))?;
        }
        write_private(key_file, &key.serialize_pem())
            .map_err(|error| CertificateError::new(key_file, without_folder(&error)))?;
        std::fs::write(cert_file, certificate.pem()).map_err(|error| CertificateError::new(cert_file, error))
    }

    /// Issues a certificate for `host`.
    ///
    /// # Errors
    /// `host` is not valid in a certificate.
    pub fn issue(&self, host: &str, now: Timestamp) -> Result<LoadedCertificate, CertificateError> {
        let failed = |error: rcgen::Error| CertificateError::new(Path::new(host), error);
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(failed)?;
        (params.not_before, params.not_after) = validity(now, LEAF_LIFETIME);
        params.distinguished_name.push(DnType::CommonName, host);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        let private = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|e| CertificateError::new(Path::new(host), e))?;
        let key = CertifiedKey::from_der(chain, private, &provider::default_provider())
            .map_err(|error| CertificateError::new(Path::new(host), error))?;
        Ok(LoadedCertificate { key: Arc::new(key), hosts: HostPattern::parse(host).into_iter().collect() })
    }
}

fn authority_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = validity(now, AUTHORITY_LIFETIME);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Narthex local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Returns the validity period, which begins a day early because clocks differ.
fn validity(now: Timestamp, lifetime: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let at = |time: Timestamp| {
        OffsetDateTime::from_unix_timestamp(time.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    };
    (at(now.minus(Duration::from_secs(86400))), at(now.plus(lifetime)))
}

/// Describes why the local authority's files cannot be written.
fn without_folder(error: &std::io::Error) -> String {
    format!(
        "{error}; help: name a folder that can be written with `state_dir`, or name a [[tls]] certificate for each host, \
         or set https = \"off\" in [listen] behind a proxy that ends TLS"
    )
}

/// Writes a file that only its owner may read.
fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file).and_then(|mut file| file.write_all(text.as_bytes()))
}

/// Certificates by host.
#[derive(Default)]
pub struct Certificates {
    exact: HashMap<String, Arc<CertifiedKey>>,
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    fallback: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads the certificates that `config` names, and issues local ones for the other hosts.
    ///
    /// # Errors
    /// An error for every file that cannot be used.
    pub fn read(config: &Config, now: Timestamp) -> Result<Self, Vec<CertificateError>> {
        let (mut loaded, mut errors) = (Vec::new(), Vec::new());
        for tls in &config.tls {
            match LoadedCertificate::read(&tls.cert, &tls.key, &tls.hosts) {
                Ok(certificate) => loaded.push(certificate),
                Err(error) => errors.push(error),
            }
        }
        let bare = hosts_without_certificate(config);
        if !bare.is_empty() {
            let local = LocalAuthority::open(&config.state_dir, now).and_then(|authority| {
                bare.iter().map(|host| authority.issue(host, now)).collect::<Result<Vec<_>, _>>()
            });
            match local {
                Ok(certificates) => loaded.extend(certificates),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut certificates = Certificates::default();
        for LoadedCertificate { key, hosts } in loaded {
            for pattern in hosts {
                let of = if pattern.wildcard { &mut certificates.wildcard } else { &mut certificates.exact };
                of.entry(pattern.host.to_string()).or_insert_with(|| key.clone());
            }
            certificates.fallback.get_or_insert(key);
        }
        Ok(certificates)
    }
}

/// The certificates for new handshakes.
pub struct TlsStore(ArcSwap<Certificates>);

impl fmt::Debug for TlsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsStore")
    }
}

impl TlsStore {
    /// Creates a store with the certificates that `config` names, and local ones for the other
    /// hosts.
    ///
    /// # Errors
    /// An error for every file that cannot be used.
    pub fn open(config: &Config, now: Timestamp) -> Result<Self, Vec<CertificateError>> {
        let store = Self(ArcSwap::default());
        store.reload(config, now)?;
        Ok(store)
    }

    /// Reads the files again; later handshakes use their content.
    ///
    /// # Errors
    /// An error for every file that cannot be used; the previous certificates remain in use.
    pub fn reload(&self, config: &Config, now: Timestamp) -> Result<(), Vec<CertificateError>> {
        self.replace(Certificates::read(config, now)?);
        Ok(())
    }

    /// Uses `certificates` for later handshakes.
    pub fn replace(&self, certificates: Certificates) {
        self.0.store(Arc::new(certificates));
    }

    /// Returns the TLS configuration of the listeners: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1,
    /// session tickets.
    ///
    /// # Errors
    /// The keys of session tickets cannot be created.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Tickets contain the session, so the server stores nothing for clients that never return.
        config.ticketer = provider::Ticketer::new()?;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for TlsStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.0.load();
        let Some(name) = hello.server_name().map(str::to_ascii_lowercase) else {
            return certificates.fallback.clone();
        };
        let domain = name.split_once('.').map(|(_, domain)| domain);
        let chosen = certificates.exact.get(&name).or_else(|| certificates.wildcard.get(domain?));
        chosen.or(certificates.fallback.as_ref()).cloned()
    }
}

/// Returns the hosts that `config` serves over TLS without a configured certificate.
pub fn hosts_without_certificate(config: &Config) -> Vec<String> {
    if config.listen.https.is_none() {
        return Vec::new();
    }
    let mut hosts: Vec<String> =
        config.routes.iter().flat_map(|route| &route.hosts).map(ToString::to_string).collect();
    hosts.push(config.public_url.host().to_string());
    hosts.sort();
    hosts.dedup();
    // A wildcard host needs a certificate for the same wildcard.
    let serves = |pattern: &HostPattern, host: &str| pattern.to_string() == host || pattern.matches(host);
    let named =
        |host: &String| config.tls.iter().flat_map(|tls| &tls.hosts).any(|pattern| serves(pattern, host));
    hosts.retain(|host| !named(host));
    hosts
}
