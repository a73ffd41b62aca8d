//! Database migrations, run at startup.

use super::{Result, StoreError};
use crate::base::Duration;
use crate::config::StoreUrl;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyPool, AssertSqlSafe, SqlSafeStr as _};

/// Version, description and SQL text, in the dialect of SQLite. For PostgreSQL, `BLOB` is replaced
/// by `BYTEA`, and `WITHOUT ROWID` is removed.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "first light", include_str!("migrations/0001_first_light.sql")),
    (2, "sessions over time", include_str!("migrations/0002_sessions_over_time.sql")),
    (3, "saml", include_str!("migrations/0003_saml.sql")),
    (4, "accounts", include_str!("migrations/0004_accounts.sql")),
    (5, "identities", include_str!("migrations/0005_identities.sql")),
    (6, "revoked tokens", include_str!("migrations/0006_revoked_tokens.sql")),
    (7, "saml certificates", include_str!("migrations/0007_saml_certificates.sql")),
    (8, "confirmed until", include_str!("migrations/0008_confirmed_until.sql")),
    (9, "people", include_str!("migrations/0009_people.sql")),
    (10, "outbox", include_str!("migrations/0010_outbox.sql")),
    (11, "account codes", include_str!("migrations/0011_account_codes.sql")),
    (12, "app clients", include_str!("migrations/0012_app_clients.sql")),
    (13, "outbox users", include_str!("migrations/0013_outbox_users.sql")),
    (14, "domain members", include_str!("migrations/0014_domain_members.sql")),
    (15, "pool sources", include_str!("migrations/0015_pool_sources.sql")),
    (16, "code grants", include_str!("migrations/0016_code_grants.sql")),
    (17, "ui customizations", include_str!("migrations/0017_ui_customizations.sql")),
    (18, "proofs", include_str!("migrations/0018_proofs.sql")),
    (19, "authorization requests", include_str!("migrations/0019_authorization_requests.sql")),
    (20, "client logout", include_str!("migrations/0020_client_logout.sql")),
    (21, "factors", include_str!("migrations/0021_factors.sql")),
    (23, "remembered devices", include_str!("migrations/0023_remembered_devices.sql")),
    (26, "step-up authentication", include_str!("migrations/0026_step_up.sql")),
];

const MAX_ATTEMPTS: u32 = 10;
const RETRY_DELAY: Duration = Duration::from_millis(100);

pub(super) async fn run(pool: &AnyPool, url: &StoreUrl) -> Result<()> {
    let migration = |(version, description, text): &(i64, &'static str, &'static str)| {
        let sql = match url {
            StoreUrl::Sqlite(_) => (*text).to_owned(),
            StoreUrl::Postgres(_) => text.replace(" BLOB ", " BYTEA ").replace(") WITHOUT ROWID;", ");"),
        };
        let sql = AssertSqlSafe(sql).into_sql_str();
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql, false)
    };
    let migrations: Vec<_> = MIGRATIONS.iter().map(migration).collect();
    // A node of an older version must be able to start after a newer one has added tables.
    let migrator = Migrator { migrations: migrations.into(), ignore_missing: true, ..Migrator::DEFAULT };
    let mut tries = 0;
    loop {
        match migrator.run(pool).await {
            Ok(()) => return Ok(()),
            // SQLite has no lock that spans a migration. A second node at the first start can find
            // the tables incomplete, and succeeds a moment later.
            Err(_) if tries < MAX_ATTEMPTS => {
                tries += 1;
                tokio::time::sleep(RETRY_DELAY).await;
            }
            Err(sqlx::migrate::MigrateError::Execute(error)) => return Err(StoreError::Sql(error)),
            Err(error) => return Err(StoreError::Corrupt(error.to_string())),
        }
    }
}
