//! The nodes of a deployment, and the configuration that each of them uses.

use super::{Result, Store, within_deadline};
use crate::base::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

/// The last reported state of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// A random id of the process.
    pub id: String,
    /// The name by which administrators identify the node.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// A digest of the configuration.
    pub catalogue: String,
}

impl Store {
    /// Stores the state of `node` at `now`, a time of the database's clock.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn upsert_node(&self, node: &Node, now: Timestamp) -> Result<()> {
        self.write(
            sqlx::query(
                "INSERT INTO nodes (id, name, version, catalogue, seen_at) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (id) DO UPDATE SET catalogue = excluded.catalogue, seen_at = excluded.seen_at",
            )
            .bind(&node.id)
            .bind(&node.name)
            .bind(&node.version)
            .bind(&node.catalogue)
            .bind(now.millis()),
        )
        .await
    }

    /// Returns the nodes that reported at or after `since`, a time of the database's clock.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn nodes(&self, since: Timestamp) -> Result<Vec<Node>> {
        let rows = within_deadline(async {
            let query =
                "SELECT id, name, version, catalogue FROM nodes WHERE seen_at >= $1 ORDER BY name, id";
            Ok(sqlx::query(query).bind(since.millis()).fetch_all(&self.pool).await?)
        })
        .await?;
        let node = |row: &AnyRow| {
            Ok(Node {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                version: row.try_get("version")?,
                catalogue: row.try_get("catalogue")?,
            })
        };
        rows.iter().map(node).collect()
    }

    /// Removes a node that stops.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_node(&self, id: &str) -> Result<()> {
        self.write(sqlx::query("DELETE FROM nodes WHERE id = $1").bind(id)).await
    }
}
