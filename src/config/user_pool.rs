//! `[[user_pool]]`: the directory, and the groups that bear roles.

use super::reader::Table;
use super::role::plain_name;

/// The directory of a deployment.
#[derive(Clone, Debug)]
pub struct UserPool {
    /// Its name: another one is another pool, with other users.
    pub name: String,
    /// Its groups.
    pub groups: Vec<Group>,
}

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
        Self { name: "default".to_owned(), groups: Vec::new() }
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
        table.finish();
        Self { name: name.unwrap_or_else(|| Self::default().name), groups }
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
