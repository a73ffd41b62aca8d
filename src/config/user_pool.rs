//! `[[user_pool]]`: the directory, the groups that bear roles, and the programs that get tokens.

use super::app_client::{AppClient, ResourceServer};
use super::reader::Table;
use super::role::plain_name;

/// The directory of a deployment.
#[derive(Clone, Debug)]
pub struct UserPool {
    /// Its name: another one is another pool, with other users.
    pub name: String,
    /// Its groups.
    pub groups: Vec<Group>,
    /// What its access tokens are signed with: the algorithm's name in JOSE.
    pub signing_algorithm: &'static str,
    /// The APIs that its access tokens are for.
    pub resource_servers: Vec<ResourceServer>,
    /// The programs that are registered.
    pub clients: Vec<AppClient>,
}

/// What tokens are signed with: Cognito's own, and the two that cost less.
const SIGNING: [(&str, &str); 3] = [("RS256", "RS256"), ("ES256", "ES256"), ("EdDSA", "EdDSA")];

/// A group of a user pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Unique in its pool.
    pub name: String,
    /// The role that its members may be given, by role mappings of the type `token`.
    pub role: Option<String>,
    /// Which group's role is preferred: that of the lowest number. A group without one comes last.
    pub precedence: Option<u32>,
}

impl Default for UserPool {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            groups: Vec::new(),
            signing_algorithm: "RS256",
            resource_servers: Vec::new(),
            clients: Vec::new(),
        }
    }
}

impl UserPool {
    pub(super) fn read(table: &Table<'_>, roles: &[String]) -> Self {
        let name = table.get("name").and_then(|item| item.parse(|text| plain_name(text, "a user pool")));
        let tables = table.get("group").map(|item| item.tables("[[user_pool.group]]"));
        let groups = super::unique(
            tables.unwrap_or_default(),
            |table| Group::read(table, roles),
            |group| (group.name.clone(), format!("two groups are named \"{}\"", group.name)),
        );
        let signing_algorithm = table.get("signing_algorithm").and_then(|item| item.choice(&SIGNING));
        let tables = |key, name: &str| table.get(key).map(|item| item.tables(name)).unwrap_or_default();
        let resource_servers = super::unique(
            tables("resource_server", "[[user_pool.resource_server]]"),
            ResourceServer::read,
            |server| {
                (server.identifier.clone(), format!("two resource servers are \"{}\"", server.identifier))
            },
        );
        let clients = super::unique(
            tables("client", "[[user_pool.client]]"),
            |table| AppClient::read(table, &resource_servers),
            |client| (client.name.clone(), format!("two app clients are named \"{}\"", client.name)),
        );
        for (at, client) in clients.iter().enumerate() {
            let same = |other: &AppClient| client.id.is_some() && other.id == client.id;
            if clients[..at].iter().any(same) {
                table.wrong(
                    format!("two app clients have the id of \"{}\"", client.name),
                    "give each an id of its own, or none: then it gets one",
                );
            }
        }
        table.finish();
        let default = Self::default();
        Self {
            name: name.unwrap_or(default.name),
            groups,
            signing_algorithm: signing_algorithm.unwrap_or(default.signing_algorithm),
            resource_servers,
            clients,
        }
    }

    /// Whether any program may get access tokens of it.
    pub fn issues_access_tokens(&self) -> bool {
        self.clients.iter().any(|client| !client.allowed_oauth_flows.is_empty())
    }

    /// Its group of this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }
}

impl Group {
    fn read(table: &Table<'_>, roles: &[String]) -> Option<Self> {
        let name = table
            .must("name", "give it a name: name = \"editors\"")
            .and_then(|item| item.string().map(str::to_owned));
        let role = table.get("role").and_then(|item| item.name_of("role", roles));
        let precedence = table.get("precedence").and_then(|item| item.whole());
        table.finish();
        Some(Self { name: name?, role, precedence })
    }
}
