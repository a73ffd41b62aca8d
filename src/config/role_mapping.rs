//! `[[identity_pool.role_mapping]]`: assignment of roles by groups or claims.

use super::key::{Key, Nested, Section, Type};
use super::reader::Table;
use super::types::TEXT;

/// The maximum number of rules: "You can specify up to 25 rules" for a provider.
const MAX_RULES: usize = 25;

pub(super) const SECTION: Section = Section {
    header: "[[identity_pool.role_mapping]]",
    about: "How the users of one provider, or the programs of one issuer, get their roles.",
    keys: &[&PROVIDER, &TYPE, &AMBIGUOUS, &RULES],
};
const PROVIDER: Key<String> = Key::new(
    "provider",
    TEXT,
    "Name of a `[[provider]]`, of an `[[issuer]]`, or of the user pool for its app clients.",
)
.required("")
.example("\"corp\"");
const TYPE: Key<bool> = Key::new(
    "type",
    Type::ProviderChoice(&[("token", true), ("rules", false)]),
    "`\"token\"`: the role of the user pool's group with the lowest `precedence`. `\"rules\"`: the first rule that matches.",
)
.required("or \"token\"")
.example("\"rules\"");
const AMBIGUOUS: Key<AmbiguousRoleResolution> = Key::new(
    "ambiguous",
    Type::ProviderChoice(&[
        ("authenticated_role", AmbiguousRoleResolution::AuthenticatedRole),
        ("deny", AmbiguousRoleResolution::Deny),
    ]),
    "Role if the mapping gives none: the pool's `authenticated_role`, or no role.",
)
.required("or \"authenticated_role\"")
.example("\"deny\"");
const RULES: Key<Nested> = Key::tables("rules", &RULE)
    .required_if("`type` is `\"rules\"`")
    .example("[{ claim = \"custom:department\", match = \"Equals\", value = \"eng\", role = \"editor\" }]")
    .only(&["rules"]);

const RULE: Section = Section {
    header: "[[identity_pool.role_mapping.rules]]",
    about: "Rules that compare one claim; the first that matches gives its role. At most 25.",
    keys: &[&CLAIM, &MATCH, &VALUE, &ROLE],
};
const CLAIM: Key<String> = Key::new(
    "claim",
    TEXT,
    "Name of the claim: `sub`, `username`, `groups`, a verified `email`, a user attribute, or any claim of an access token.",
)
.required("")
.example("\"custom:department\"");
const MATCH: Key<MatchType> = Key::new(
    "match",
    Type::ProviderChoice(&[
        ("Equals", MatchType::Equals),
        ("Contains", MatchType::Contains),
        ("StartsWith", MatchType::StartsWith),
        ("NotEqual", MatchType::NotEqual),
    ]),
    "Comparison. A claim with several values matches if one of them does; `NotEqual` requires that none is equal.",
)
.required("")
.example("\"Equals\"");
const VALUE: Key<String> =
    Key::new("value", TEXT, "Value with which the claim is compared.").required("").example("\"eng\"");
const ROLE: Key<String> =
    Key::new("role", TEXT, "Name of the `[[role]]` that the rule gives.").required("").example("\"editor\"");

/// The assignment of roles to users of a provider.
#[derive(Clone, Debug)]
pub struct RoleMapping {
    /// The name of the provider or issuer.
    pub provider: String,
    /// The method that selects the role.
    pub by: MappingType,
    /// The result for users without a role from the mapping.
    pub ambiguous: AmbiguousRoleResolution,
}

/// The method that selects the role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingType {
    /// The role of the user pool's group with the lowest precedence.
    Token,
    /// The role of the first rule that matches.
    Rules(Vec<MappingRule>),
}

/// The result for users without a role from the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmbiguousRoleResolution {
    /// The pool's role for signed-in users.
    AuthenticatedRole,
    /// No role.
    Deny,
}

/// A rule that compares one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingRule {
    /// The claim.
    pub claim: String,
    /// The comparison.
    pub match_type: MatchType,
    /// The value with which it is compared.
    pub value: String,
    /// The role that the rule assigns.
    pub role: String,
}

/// A comparison. A claim with several values matches if one of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchType {
    /// The claim equals the value.
    Equals,
    /// The claim contains the value.
    Contains,
    /// The claim begins with the value.
    StartsWith,
    /// The claim exists, and none of its values equals the value.
    NotEqual,
}

impl RoleMapping {
    pub(super) fn read(table: &Table<'_>, roles: &[String], providers: &[String]) -> Option<Self> {
        let provider = table.get(&PROVIDER).and_then(|item| item.name_of("provider", providers));
        let token = table.read(&TYPE);
        if let Some(token) = token {
            table.select(if token { "token" } else { "rules" });
        }
        let ambiguous = table.read(&AMBIGUOUS);
        let by = match token {
            Some(true) => Some(MappingType::Token),
            _ => rules(table, roles).map(MappingType::Rules).filter(|_| token.is_some()),
        };
        table.finish();
        Some(Self { provider: provider?, by: by?, ambiguous: ambiguous? })
    }
}

fn rules(table: &Table<'_>, roles: &[String]) -> Option<Vec<MappingRule>> {
    let item = table.required(&RULES)?;
    let rules: Vec<_> =
        table.tables(&RULES).iter().filter_map(|table| MappingRule::read(table, roles)).collect();
    if rules.is_empty() {
        item.report("there is no rule", format!("write rules = {}", RULES.entry.example));
    }
    if rules.len() > MAX_RULES {
        item.report(format!("there are more than {MAX_RULES} rules"), "use groups instead");
    }
    Some(rules)
}

impl MappingRule {
    fn read(table: &Table<'_>, roles: &[String]) -> Option<Self> {
        let claim = table.read(&CLAIM);
        let match_type = table.read(&MATCH);
        let value = table.read(&VALUE);
        let role = table.get(&ROLE).and_then(|item| item.name_of("role", roles));
        table.finish();
        let value = value?;
        if value.is_empty() {
            // Every string begins with and contains the empty string.
            table.report("the `value` of a rule is empty", "write a value");
        }
        Some(Self { claim: claim?, match_type: match_type?, value, role: role? })
    }
}
