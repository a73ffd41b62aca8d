//! Mapping of a provider's groups to the groups of the first user pool, and the groups of pool
//! users.

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
    /// directory. A group of a pool of the file has the role that the file gives to its name.
    pub fn of_pool_user(config: &'a Config, pool: &str, groups: &'a [String]) -> Self {
        let declared = config.user_pools().find(|declared| declared.name == pool);
        let is_member = |group: &&Group| groups.contains(&group.name);
        Self {
            pool_groups: declared.iter().flat_map(|pool| &pool.groups).filter(is_member).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_the_role_that_its_own_pool_gives() {
        let text = r#"
            public_url = "https://auth.example.com"
            [[role]]
            name = "reader"
            policies = ["policy.json"]
            [[role]]
            name = "editor"
            policies = ["policy.json"]
            [[user_pool]]
            name = "people"
            [[user_pool.group]]
            name = "writers"
            role = "reader"
            [[user_pool]]
            name = "staff"
            [[user_pool.group]]
            name = "writers"
            role = "editor"
        "#;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("policy.json"), "{}").unwrap();
        let config = Config::parse(text, "test", folder.path(), &|_| None).unwrap();
        let member = ["writers".to_owned()];
        let role = |pool| {
            let groups = Groups::of_pool_user(&config, pool, &member);
            assert_eq!(groups.visible, ["writers"]);
            groups.preferred().and_then(|group| group.role.clone())
        };
        assert_eq!(role("people").as_deref(), Some("reader"));
        assert_eq!(role("staff").as_deref(), Some("editor"));
        // The directory of a pool that was made by the API grants no role of the file.
        assert_eq!(role("us-east-1_Ab3dEf6hI"), None);
    }
}
