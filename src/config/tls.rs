//! `[[tls]]`: TLS certificates.

use super::host_pattern::{HOSTS_TYPE, HostPattern};
use super::key::{Key, Section};
use super::reader::Table;
use super::types::INPUT_FILE;
use std::path::PathBuf;

pub(super) const SECTION: Section = Section {
    header: "[[tls]]",
    about: "Certificates, chosen by server name (SNI). A host without one gets a certificate of the local authority.",
    keys: &[&HOSTS, &CERT, &KEY],
};
const HOSTS: Key<Vec<HostPattern>> =
    Key::new("hosts", HOSTS_TYPE, "Host names that use the certificate. `*.` matches exactly one label.")
        .required("")
        .example("[\"*.example.com\"]");
const CERT: Key<PathBuf> = Key::new("cert", INPUT_FILE, "PEM file of the certificate chain, leaf first.")
    .required("")
    .example("\"certs/example.pem\"");
const KEY: Key<PathBuf> =
    Key::new("key", INPUT_FILE, "PEM file of the private key.").required("").example("\"certs/example.key\"");

/// A TLS certificate, with the hosts that use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsCertificate {
    /// The hosts.
    pub hosts: Vec<HostPattern>,
    /// The chain, PEM, leaf first.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

impl TlsCertificate {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let hosts = table.read(&HOSTS);
        let cert = table.read(&CERT);
        let key = table.read(&KEY);
        table.finish();
        Some(Self { hosts: hosts?, cert: cert?, key: key? })
    }
}
