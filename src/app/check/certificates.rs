//! Checks of certificates: key, hosts and validity.

use super::connections::check_writable;
use super::report::Report;
use crate::base::{Duration, Timestamp};
use crate::config::{Config, TlsCertificate};
use crate::gateway::{LoadedCertificate, LocalAuthority, hosts_without_certificate};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The time before the expiry of a certificate from which a warning is printed.
const EXPIRY_WARNING: Duration = Duration::from_secs(21 * 86400);

/// Checks every certificate of the configuration.
pub fn check(config: &Config, now: Timestamp, report: &mut Report) {
    for tls in &config.tls {
        match LoadedCertificate::read(&tls.cert, &tls.key, &tls.hosts) {
            Ok(loaded) => {
                let before = report.problems;
                let leaf = loaded.key.cert.first();
                match leaf.map(|der| X509Certificate::from_der(der)) {
                    Some(Ok((_, certificate))) => check_leaf(tls, &certificate, now, report),
                    _ => report.problem(format!("{}: the certificate cannot be read", tls.cert.display())),
                }
                if report.problems == before {
                    report.good(format!("{} belongs to {}", tls.key.display(), tls.cert.display()));
                }
            }
            Err(error) => report.problem(error),
        }
    }
    let bare = hosts_without_certificate(config);
    if !bare.is_empty()
        && !config.state_dir.join(LocalAuthority::CERTIFICATE).exists()
        && let Err(why) = check_writable(&config.state_dir)
    {
        report.problem(format!(
            "the certificates of the local authority cannot be made: {why}; help: name a folder that can be written with \
             `state_dir`, or a [[tls]] certificate for each host"
        ));
    }
    for host in bare {
        report
            .warn(format!("{host} is named by no [[tls]]: it gets a certificate that browsers do not trust"));
    }
}

fn check_leaf(tls: &TlsCertificate, certificate: &X509Certificate<'_>, now: Timestamp, report: &mut Report) {
    let file = tls.cert.display();
    let validity = certificate.validity();
    let (from, until) = (
        Timestamp::from_seconds(validity.not_before.timestamp()),
        Timestamp::from_seconds(validity.not_after.timestamp()),
    );
    if now < from {
        report.problem(format!("{file}: it is not valid before {}", validity.not_before));
    } else if now >= until {
        report.problem(format!("{file}: it expired at {}", validity.not_after));
    } else if now.plus(EXPIRY_WARNING) >= until {
        report.warn(format!("{file}: it expires soon, at {}", validity.not_after));
    }
    let names: Vec<String> = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|extension| &extension.value.general_names)
        .into_iter()
        .flatten()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    for host in &tls.hosts {
        let text = host.to_string();
        let parent = text.split_once('.').map(|(_, domain)| format!("*.{domain}"));
        if !names.iter().any(|name| *name == text || parent.as_ref() == Some(name)) {
            report.problem(format!("{file}: it is for {}, not for {text}", names.join(", ")));
        }
    }
}
