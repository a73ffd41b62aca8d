//! `[[identity_pool]]`: from a person's claims to a role (Amazon Cognito, "Identity pools").

use super::reader::Table;
use super::role::plain_name;
use std::collections::BTreeMap;

/// "You can specify up to 25 rules" for a provider.
const MOST_RULES: usize = 25;
/// "A resource can have up to 50 tags."
const MOST_TAGS: usize = 50;

/// Who gets which role.
#[derive(Clone, Debug)]
pub struct IdentityPool {
    /// Unique in a deployment.
    pub name: String,
    /// The role of who is signed in, unless a mapping says otherwise.
    pub authenticated_role: Option<String>,
    /// The role of who is not; without one, guests are turned away.
    pub guest_role: Option<String>,
    /// What else chooses a role, by the provider that a person came through.
    pub role_mappings: Vec<RoleMapping>,
    /// Principal tag -> the claim that fills it.
    pub principal_tags: BTreeMap<String, String>,
}

/// How the people of a provider get their roles.
#[derive(Clone, Debug)]
pub struct RoleMapping {
    /// The provider.
    pub provider: String,
    /// How a role is chosen.
    pub by: MappingType,
    /// What becomes of those for whom that chooses none.
    pub ambiguous: AmbiguousRoleResolution,
}

/// How a role is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingType {
    /// By the groups of the user pool: the role of the preferred one.
    Token,
    /// By the first rule that matches.
    Rules(Vec<MappingRule>),
}

/// What becomes of those for whom a mapping chooses no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmbiguousRoleResolution {
    /// They get the pool's role for who is signed in.
    AuthenticatedRole,
    /// They get none.
    Deny,
}

/// A rule that looks at one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingRule {
    /// The claim.
    pub claim: String,
    /// How it is compared.
    pub match_type: MatchType,
    /// With what.
    pub value: String,
    /// The role that the rule gives.
    pub role: String,
}

/// How a claim is compared. A claim of several values matches where one of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchType {
    /// It is the value.
    Equals,
    /// The value stands in it.
    Contains,
    /// It begins with the value.
    StartsWith,
    /// It is there, and no value of it is this one.
    NotEqual,
}

impl IdentityPool {
    pub(super) fn read(table: &Table<'_>, roles: &[String], providers: &[String]) -> Option<Self> {
        let name = table
            .must("name", "give it a name: name = \"main\"")
            .and_then(|item| item.parse(|text| plain_name(text, "an identity pool")));
        let role = |key| table.get(key).and_then(|item| item.name_of("role", roles));
        let (authenticated_role, guest_role) = (role("authenticated_role"), role("guest_role"));
        let tables = table.get("role_mapping").map(|item| item.tables("[[identity_pool.role_mapping]]"));
        let mapping = |table: &Table<'_>| RoleMapping::read(table, roles, providers);
        let role_mappings = super::unique(tables.unwrap_or_default(), mapping, |mapping| {
            (mapping.provider.clone(), format!("two role mappings are for \"{}\"", mapping.provider))
        });
        let principal_tags = principal_tags(table);
        table.finish();
        if authenticated_role.is_none() && guest_role.is_none() && role_mappings.is_empty() {
            table
                .wrong("this identity pool gives nobody a role", "name one: authenticated_role = \"reader\"");
        }
        let unresolved = |mapping: &&RoleMapping| {
            mapping.ambiguous == AmbiguousRoleResolution::AuthenticatedRole && authenticated_role.is_none()
        };
        if let Some(mapping) = role_mappings.iter().find(unresolved) {
            table.wrong(
                format!(
                    "the role mapping for \"{}\" falls back on a role that is not there",
                    mapping.provider
                ),
                "name it, authenticated_role = \"reader\", or say ambiguous = \"deny\"",
            );
        }
        Some(Self { name: name?, authenticated_role, guest_role, role_mappings, principal_tags })
    }

    /// The mapping for the people of `provider`.
    pub fn mapping(&self, provider: &str) -> Option<&RoleMapping> {
        self.role_mappings.iter().find(|mapping| mapping.provider == provider)
    }

    /// The claims that decide on the roles and the tags of the people of `provider`.
    pub fn judged_claims(&self, provider: &str) -> impl Iterator<Item = &String> {
        let rules = self.mapping(provider).into_iter().flat_map(|mapping| match &mapping.by {
            MappingType::Rules(rules) => rules.as_slice(),
            MappingType::Token => &[],
        });
        rules.map(|rule| &rule.claim).chain(self.principal_tags.values())
    }

    /// Every role that it may give by name; a mapping of the type `token` gives those of groups beside.
    pub fn roles(&self) -> impl Iterator<Item = &String> {
        let rules = self.role_mappings.iter().flat_map(|mapping| match &mapping.by {
            MappingType::Rules(rules) => rules.as_slice(),
            MappingType::Token => &[],
        });
        self.authenticated_role.iter().chain(&self.guest_role).chain(rules.map(|rule| &rule.role))
    }
}

fn principal_tags(table: &Table<'_>) -> BTreeMap<String, String> {
    let Some(item) = table.get("principal_tags") else { return BTreeMap::new() };
    let Some(tags) = item.table("[identity_pool.principal_tags]") else { return BTreeMap::new() };
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for tag in tags.all() {
        let plain = |c: char| c.is_alphanumeric() || " _.:/=+-@".contains(c);
        if tag.key.is_empty() || tag.key.chars().count() > 128 || !tag.key.chars().all(plain) {
            tag.wrong(
                format!("`{}` cannot name a tag", tag.key),
                "use 1 to 128 letters, digits, spaces and _ . : / = + - @",
            );
        }
        if all.keys().any(|known| known.eq_ignore_ascii_case(&tag.key)) {
            tag.wrong(
                format!("`{}` and another tag differ in nothing but case", tag.key),
                "policies do not tell them apart: keep one",
            );
        }
        let Some(claim) = tag.string() else { continue };
        if matches!(claim, "groups" | "cognito:groups") {
            tag.wrong(
                format!("`{claim}` has many values, and a tag has one"),
                "give roles by groups instead: [[user_pool.group]], or a rule",
            );
        }
        all.insert(tag.key, claim.to_owned());
    }
    if all.len() > MOST_TAGS {
        item.wrong(format!("there are more than {MOST_TAGS} tags"), "keep those that policies speak of");
    }
    all
}

impl RoleMapping {
    fn read(table: &Table<'_>, roles: &[String], providers: &[String]) -> Option<Self> {
        let provider = table
            .must("provider", "say whose people it is for: provider = \"corp\"")
            .and_then(|item| item.name_of("provider", providers));
        let token = table
            .must("type", "say how a role is chosen: type = \"rules\", or \"token\"")
            .and_then(|item| item.choice(&[("token", true), ("rules", false)]));
        const AMBIGUOUS: &str = "say what becomes of those for whom it chooses none: ambiguous = \"deny\", or \
                                 \"authenticated_role\"";
        let ambiguous = table.must("ambiguous", AMBIGUOUS).and_then(|item| {
            item.choice(&[
                ("authenticated_role", AmbiguousRoleResolution::AuthenticatedRole),
                ("deny", AmbiguousRoleResolution::Deny),
            ])
        });
        let by = match token {
            Some(true) => Some(MappingType::Token),
            _ => rules(table, roles).map(MappingType::Rules).filter(|_| token.is_some()),
        };
        table.finish();
        Some(Self { provider: provider?, by: by?, ambiguous: ambiguous? })
    }
}

fn rules(table: &Table<'_>, roles: &[String]) -> Option<Vec<MappingRule>> {
    const MEND: &str =
        "rules = [{ claim = \"custom:department\", match = \"Equals\", value = \"eng\", role = \"editor\" }]";
    let item = table.must("rules", &format!("say them: {MEND}"))?;
    let rules: Vec<_> =
        item.tables("rules").iter().filter_map(|table| MappingRule::read(table, roles)).collect();
    if rules.is_empty() {
        item.wrong("there is no rule", format!("say them: {MEND}"));
    }
    if rules.len() > MOST_RULES {
        item.wrong(
            format!("there are more than {MOST_RULES} rules"),
            "put what they have in common into groups",
        );
    }
    Some(rules)
}

impl MappingRule {
    fn read(table: &Table<'_>, roles: &[String]) -> Option<Self> {
        let text = |key, mend| table.must(key, mend).and_then(|item| item.string().map(str::to_owned));
        let claim = text("claim", "name the claim: claim = \"custom:department\"");
        let match_type = table.must("match", "say how it is compared: match = \"Equals\"").and_then(|item| {
            item.choice(&[
                ("Equals", MatchType::Equals),
                ("Contains", MatchType::Contains),
                ("StartsWith", MatchType::StartsWith),
                ("NotEqual", MatchType::NotEqual),
            ])
        });
        let value = text("value", "say with what: value = \"eng\"");
        let role = table
            .must("role", "name the role that it gives: role = \"editor\"")
            .and_then(|item| item.name_of("role", roles));
        table.finish();
        let value = value?;
        if value.is_empty() {
            // Everything begins with nothing, and holds it.
            table.wrong("a rule compares with nothing", "give it a value");
        }
        Some(Self { claim: claim?, match_type: match_type?, value, role: role? })
    }
}
