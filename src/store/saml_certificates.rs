//! Certificates and schedules of SAML keys. The private keys are in `signing_keys`.

use super::{Result, Store, Tx, within_deadline};
use crate::base::Timestamp;
use crate::model::KeySchedule;
use sqlx::Row;
use sqlx::any::AnyRow;

/// The certificate of a SAML key, with the key's schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCertificate {
    /// The key's id.
    pub kid: String,
    /// The certificate in DER.
    pub certificate: Vec<u8>,
    /// When the key signs and when it is removed.
    pub schedule: KeySchedule,
}

const SELECT: &str =
    "SELECT kid, certificate, signs_from, removed_at FROM saml_certificates ORDER BY signs_from, kid";

fn read(row: &AnyRow) -> Result<StoredCertificate> {
    let schedule = KeySchedule {
        signs_from: Timestamp::from_millis(row.try_get("signs_from")?),
        removed_at: Timestamp::from_millis(row.try_get("removed_at")?),
    };
    Ok(StoredCertificate { kid: row.try_get("kid")?, certificate: row.try_get("certificate")?, schedule })
}

impl Store {
    /// Returns the certificates of all SAML keys, ordered by the time from which they sign.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn saml_certificates(&self) -> Result<Vec<StoredCertificate>> {
        let rows = within_deadline(async { Ok(sqlx::query(SELECT).fetch_all(&self.pool).await?) }).await?;
        rows.iter().map(read).collect()
    }
}

impl Tx<'_> {
    /// Returns the same as [`Store::saml_certificates`], within this transaction.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn saml_certificates(&mut self) -> Result<Vec<StoredCertificate>> {
        let rows = sqlx::query(SELECT).fetch_all(&mut *self.inner).await?;
        rows.iter().map(read).collect()
    }

    /// Stores a certificate and the key's schedule. If the certificate exists, only its schedule is
    /// replaced.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn save_saml_certificate(&mut self, stored: &StoredCertificate) -> Result<()> {
        sqlx::query(
            "INSERT INTO saml_certificates (kid, certificate, signs_from, removed_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (kid) DO UPDATE SET signs_from = excluded.signs_from, removed_at = excluded.removed_at",
        )
        .bind(&stored.kid)
        .bind(stored.certificate.clone())
        .bind(stored.schedule.signs_from.millis())
        .bind(stored.schedule.removed_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Deletes the SAML keys whose removal is due at `now`. Returns how many.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn delete_removed_saml_keys(&mut self, now: Timestamp) -> Result<u64> {
        const KEYS: &str = "DELETE FROM signing_keys WHERE purpose = 'saml' AND kid IN \
                            (SELECT kid FROM saml_certificates WHERE removed_at <= $1)";
        sqlx::query(KEYS).bind(now.millis()).execute(&mut *self.inner).await?;
        let rows = sqlx::query("DELETE FROM saml_certificates WHERE removed_at <= $1").bind(now.millis());
        Ok(rows.execute(&mut *self.inner).await?.rows_affected())
    }
}
