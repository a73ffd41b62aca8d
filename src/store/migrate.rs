//! The tables, brought up to date at start.

use super::{Result, StoreError};
use crate::base::Duration;
use crate::config::StoreUrl;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyPool, SqlSafeStr};

/// Version, description, and the text for each engine: they differ only in the blob's name.
const MIGRATIONS: &[(i64, &str, &str, &str)] = &[(
    1,
    "first light",
    include_str!("migrations/sqlite/0001_first_light.sql"),
    include_str!("migrations/postgres/0001_first_light.sql"),
)];

const TRIES: u32 = 10;
const WAIT: Duration = Duration::from_millis(100);

pub(super) async fn run(pool: &AnyPool, url: &StoreUrl) -> Result<()> {
    let migration =
        |(version, description, sqlite, postgres): &(i64, &'static str, &'static str, &'static str)| {
            let sql = match url {
                StoreUrl::Sqlite(_) => *sqlite,
                StoreUrl::Postgres(_) => *postgres,
            };
            Migration::new(*version, (*description).into(), MigrationType::Simple, sql.into_sql_str(), false)
        };
    let migrations: Vec<_> = MIGRATIONS.iter().map(migration).collect();
    // An older node must start beside a newer one, which may have added tables it does not know.
    let migrator = Migrator { migrations: migrations.into(), ignore_missing: true, ..Migrator::DEFAULT };
    let mut tries = 0;
    loop {
        match migrator.run(pool).await {
            Ok(()) => return Ok(()),
            // SQLite has no lock that spans a migration: whoever comes second at the first start finds
            // the tables half-made, and a moment later made.
            Err(_) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(WAIT).await;
            }
            Err(sqlx::migrate::MigrateError::Execute(error)) => return Err(StoreError::Sql(error)),
            Err(error) => return Err(StoreError::Corrupt(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MIGRATIONS;

    #[test]
    fn the_engines_differ_only_in_the_name_of_the_blob() {
        for (version, _, sqlite, postgres) in MIGRATIONS {
            assert_eq!(sqlite.replace("BLOB", "BYTEA"), *postgres, "migration {version}");
        }
    }
}
