//! Checks of Narthex's SAML certificate: its expiry, and a rotation in progress.

use super::report::Report;
use crate::base::Timestamp;
use crate::broker::{expiry_warning, utc};
use crate::config::{Config, Kind};
use crate::model::{KeyPhase, KeySchedule};
use crate::store::Store;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Checks the SAML certificates, if a provider uses SAML and the store contains keys.
pub async fn check(config: &Config, store: Option<&Store>, now: Timestamp, report: &mut Report) {
    let has_saml = config.providers.iter().any(|provider| matches!(provider.kind, Kind::Saml(_)));
    let Some(store) = store.filter(|_| has_saml) else { return };
    // A store of an older version has no table of certificates. Its key is valid for 20 years.
    let Ok(keys) = store.saml_certificates().await else { return };
    let schedules: Vec<_> = keys.iter().map(|key| key.schedule).collect();
    for (key, phase) in keys.iter().zip(KeySchedule::phases(&schedules, now)) {
        let Ok((_, certificate)) = X509Certificate::from_der(&key.certificate) else {
            report.problem(format!("our SAML certificate `{}` cannot be read", key.kid));
            continue;
        };
        let expires_at = Timestamp::from_seconds(certificate.validity().not_after.timestamp());
        match phase {
            KeyPhase::Signing => match expiry_warning(expires_at, now) {
                Some(warning) => report.warn(warning),
                None => report.good(format!("our SAML certificate is valid until {}", utc(expires_at))),
            },
            KeyPhase::Next => report.note(format!(
                "our next SAML certificate signs from {}: have each provider read the metadata again",
                utc(key.schedule.signs_from)
            )),
            KeyPhase::Retired => {
                report.note(format!("our old SAML key decrypts until {}", utc(key.schedule.removed_at)));
            }
            KeyPhase::Removed => {}
        }
    }
}
