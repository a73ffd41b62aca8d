//! From a provider's groups to the user pool's.

use crate::config::{Config, Group};

/// The groups of a person.
#[derive(Clone, Debug)]
pub struct Groups<'a> {
    /// Those of the user pool, which may bear roles.
    pub pool_groups: Vec<&'a Group>,
    /// What apps and rules are told: the names of these, and the provider's own.
    pub visible: Vec<&'a str>,
}

impl<'a> Groups<'a> {
    /// The groups of whom `provider` says that they are in `groups`.
    ///
    /// Only what the file maps makes a member of a group of the pool: a provider's group that merely has the same
    /// name is not told either, since nobody could tell the two apart.
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

    /// The group whose role is preferred: the one of the lowest precedence that bears one; none, where several
    /// with that precedence bear different roles.
    pub fn preferred(&self) -> Option<&'a Group> {
        let rank = |group: &Group| group.precedence.unwrap_or(u32::MAX);
        let bearing = || self.pool_groups.iter().copied().filter(|group| group.role.is_some());
        let first = bearing().min_by_key(|group| rank(group))?;
        let same = |group: &Group| rank(group) != rank(first) || group.role == first.role;
        bearing().all(same).then_some(first)
    }
}
