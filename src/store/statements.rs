//! The SQL statements on tables of users, as constants in lists. One test checks the query plan of
//! each statement on both engines. Another one checks that these files run no other statement.

/// Declares statements as constants, and the list of all of them.
macro_rules! statements {
    ($($name:ident = $sql:expr;)*) => {
        $(const $name: &str = $sql;)*
        /// Every statement of this file, by its name.
        pub(super) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}
pub(super) use statements;

/// The columns that [`super::users::read`] reads.
macro_rules! user_columns {
    () => {
        "u.id, u.no, u.pool_id, u.username, u.enabled, u.status, u.attributes, u.provider_groups, u.version, \
         u.created_at, u.updated_at"
    };
}
pub(super) use user_columns;

/// The files whose statements are listed.
const FILES: [(&str, &[(&str, &str)]); 18] = [
    ("account_codes", super::account_codes::STATEMENTS),
    ("accounts", super::accounts::STATEMENTS),
    ("app_clients", super::app_clients::STATEMENTS),
    ("client_secrets", super::client_secrets::STATEMENTS),
    ("factors", super::factors::STATEMENTS),
    ("groups", super::groups::STATEMENTS),
    ("identity_providers", super::identity_providers::STATEMENTS),
    ("passwords", super::passwords::STATEMENTS),
    ("pool_domains", super::pool_domains::STATEMENTS),
    ("pools", super::pools::STATEMENTS),
    ("refresh_families", super::refresh_families::STATEMENTS),
    ("remembered_devices", super::remembered_devices::STATEMENTS),
    ("resource_servers", super::resource_servers::STATEMENTS),
    ("sign_in_names", super::sign_in_names::STATEMENTS),
    ("ui_customizations", super::ui_customizations::STATEMENTS),
    ("user_index", super::user_index::STATEMENTS),
    ("user_lists", super::user_lists::STATEMENTS),
    ("users", super::users::STATEMENTS),
];

/// Returns every statement on tables of users: file, name and SQL.
pub fn statements_of_people() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    FILES.iter().flat_map(|(file, all)| all.iter().map(move |(name, sql)| (*file, *name, *sql)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_run_listed_statements_alone() {
        for (file, statements) in FILES {
            let path = format!("{}/src/store/{file}.rs", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let mut runs = 0;
            for call in text.split("sqlx::query").skip(1) {
                let call = call.trim_start_matches("_scalar").trim_start_matches("::<_, _>");
                let argument = call.strip_prefix('(').unwrap_or_else(|| panic!("{file}: {call:.40}"));
                let name: String = argument.chars().take_while(|c| *c != ')').collect();
                let listed = name == "statement" || statements.iter().any(|(known, _)| *known == name);
                assert!(listed, "{file} runs `{name}`, which is not in its list");
                runs += 1;
            }
            assert!(runs > 0, "{file}");
            assert!(!text.contains("AssertSqlSafe"), "{file} composes a statement");
        }
    }

    #[test]
    fn no_statement_counts_skips_or_matches_patterns() {
        for (file, name, sql) in statements_of_people() {
            let upper = sql.to_uppercase();
            for word in ["COUNT(", " LIKE ", " OFFSET "] {
                assert!(!upper.contains(word), "{file} {name} has `{word}`");
            }
        }
    }
}
