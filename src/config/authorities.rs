//! Files with certificate authorities.

use super::item::Item;
use super::key::{Shape, Type};
use super::role::TextFile;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// A PEM file of certificate authorities.
pub(super) const AUTHORITIES: Type<TextFile> = Type::Read(Shape::Path, authorities);

fn authorities(item: &Item<'_>) -> Option<TextFile> {
    let file = TextFile::read(item)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.text.as_bytes()).collect();
    let are_certificates = |all: &Vec<CertificateDer<'_>>| {
        !all.is_empty() && all.iter().all(|der| x509_parser::parse_x509_certificate(der).is_ok())
    };
    match certificates {
        Ok(all) if are_certificates(&all) => Some(file),
        _ => {
            item.report(
                format!("`{}` contains no certificates", file.path.display()),
                "name a PEM file of certificate authorities, which begins with -----BEGIN CERTIFICATE-----",
            );
            None
        }
    }
}
