//! The nodes of a deployment, and by which file each of them judges.

use super::{Result, Store, within_deadline};
use crate::base::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

/// A node, as it last said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Random, one a process.
    pub id: String,
    /// What an administrator would know it by.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// A digest of the configuration.
    pub catalogue: String,
}

impl Store {
    /// Says what `node` is at `now`, by the database's clock.
    ///
    /// # Errors
    /// Where the store does not answer.
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

    /// The nodes that were there after `since`, by the database's clock.
    ///
    /// # Errors
    /// Where the store does not answer.
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

    /// Takes a node out that ends.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn remove_node(&self, id: &str) -> Result<()> {
        self.write(sqlx::query("DELETE FROM nodes WHERE id = $1").bind(id)).await
    }
}
