//! Mapping of a provider's groups to the user pool's groups.

use crate::config::{Config, Group};

/// The groups of a user.
#[derive(Clone, Debug)]
pub struct Groups<'a> {
    /// The user's groups of the user pool, which can have roles.
    pub pool_groups: Vec<&'a Group>,
    /// The names visible to apps and rules: the provider's groups and `pool_groups`.
    pub visible: Vec<&'a str>,
}

impl<'a> Groups<'a> {
    /// Maps the groups of a user of `provider`.
    ///
    /// Only configured mappings create membership in a pool group. A provider's group with the name
    /// of a pool group is hidden, because apps could not distinguish the two.
    pub fn of(config: &'a Config, provider: &str, groups: &'a [String]) -> Self {
        let pool = &config.user_pool;
        let mapped = config.providers.iter().find(|known| known.name == provider).map(|known| &known.groups);
        let names = || {
            groups.iter().filter_map(|group| mapped?.get(group)).flatten().filter_map(|name| pool.group(name))
        };
        let pool_groups: Vec<&Group> =
            pool.groups.iter().filter(|group| names().any(|member| member.name == group.name)).collect();
        let own = groups.iter().map(String::as_str).filter(|name| pool.group(name).is_none());
        let visible = own.chain(pool_groups.iter().map(|group| group.name.as_str())).collect();
        Self { pool_groups, visible }
    }

    /// Returns the groups of a user of the pool called `pool`, who is a member of them in the
    /// directory. A group of the file's pool has the role that the file gives to its name.
    pub fn of_pool_user(config: &'a Config, pool: &str, groups: &'a [String]) -> Self {
        let own = &config.user_pool;
        let is_member = |group: &&Group| own.name == pool && groups.contains(&group.name);
        Self {
            pool_groups: own.groups.iter().filter(is_member).collect(),
            visible: groups.iter().map(String::as_str).collect(),
        }
    }

    /// Returns the group with the lowest precedence value among those with a role. Returns `None`
    /// if there is none, or if several with that value have different roles.
    pub fn preferred(&self) -> Option<&'a Group> {
        let rank = |group: &Group| group.precedence.unwrap_or(u32::MAX);
        let bearing = || self.pool_groups.iter().copied().filter(|group| group.role.is_some());
        let first = bearing().min_by_key(|group| rank(group))?;
        let same = |group: &Group| rank(group) != rank(first) || group.role == first.role;
        bearing().all(same).then_some(first)
    }
}
