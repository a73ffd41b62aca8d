//! `[[identity_pool]]`: roles of principals (Amazon Cognito, "Identity pools").

use super::item::Item;
use super::key::{Key, Nested, Section, Shape, Type};
use super::reader::Table;
use super::role::plain_name;
use super::role_mapping::{self, AmbiguousRoleResolution, MappingType, RoleMapping};
use super::types::TEXT;
use std::collections::BTreeMap;

/// Quotation from the AWS documentation: "A resource can have up to 50 tags."
const MAX_TAGS: usize = 50;

pub(super) const SECTION: Section = Section {
    header: "[[identity_pool]]",
    about: "Rules that give roles to users, guests and programs.",
    keys: &[&NAME, &AUTHENTICATED_ROLE, &GUEST_ROLE, &ROLE_MAPPINGS, &PRINCIPAL_TAGS],
};
const NAME: Key<String> = Key::new(
    "name",
    Type::Read(Shape::Text, |item| item.parse(|text| plain_name(text, "an identity pool"))),
    "Unique name, which a route's `identity_pool` refers to.",
)
.required("")
.example("\"main\"");
const AUTHENTICATED_ROLE: Key<String> =
    Key::new("authenticated_role", TEXT, "Name of the `[[role]]` of signed-in users without a role mapping.")
        .example("\"reader\"");
const GUEST_ROLE: Key<String> = Key::new(
    "guest_role",
    TEXT,
    "Name of the `[[role]]` of guests. Without it, requests without a session are sent to sign in.",
)
.example("\"visitor\"");
const ROLE_MAPPINGS: Key<Nested> = Key::tables("role_mapping", &role_mapping::SECTION);
const PRINCIPAL_TAGS: Key<BTreeMap<String, String>> = Key::new(
    "principal_tags",
    Type::Read(Shape::Map(&Shape::Text), |item| Some(principal_tags(item))),
    "Principal tags for `${aws:PrincipalTag/…}`, each with the claim that contains its value; at most 50.",
)
.example("{ team = \"custom:team\" }");

/// Rules that give roles to principals.
#[derive(Clone, Debug)]
pub struct IdentityPool {
    /// The name, unique in the deployment.
    pub name: String,
    /// The role of signed-in users, unless a role mapping assigns another one.
    pub authenticated_role: Option<String>,
    /// The role of guests; `None` disables guests.
    pub guest_role: Option<String>,
    /// The role mappings, at most one per provider.
    pub role_mappings: Vec<RoleMapping>,
    /// The claim that contains the value of each principal tag.
    pub principal_tags: BTreeMap<String, String>,
}

impl IdentityPool {
    pub(super) fn read(table: &Table<'_>, roles: &[String], providers: &[String]) -> Option<Self> {
        let name = table.read(&NAME);
        let role = |key| table.get(key).and_then(|item| item.name_of("role", roles));
        let (authenticated_role, guest_role) = (role(&AUTHENTICATED_ROLE), role(&GUEST_ROLE));
        let mapping = |table: &Table<'_>| RoleMapping::read(table, roles, providers);
        let role_mappings = table.distinct(&ROLE_MAPPINGS, mapping, |mapping| {
            (mapping.provider.clone(), format!("two role mappings are for \"{}\"", mapping.provider))
        });
        let principal_tags = table.read(&PRINCIPAL_TAGS).unwrap_or_default();
        table.finish();
        if authenticated_role.is_none() && guest_role.is_none() && role_mappings.is_empty() {
            table.report("this identity pool gives no role", "name one: authenticated_role = \"reader\"");
        }
        let unresolved = |mapping: &&RoleMapping| {
            mapping.ambiguous == AmbiguousRoleResolution::AuthenticatedRole && authenticated_role.is_none()
        };
        if let Some(mapping) = role_mappings.iter().find(unresolved) {
            table.report(
                format!(
                    "the role mapping for \"{}\" uses `authenticated_role`, which is missing",
                    mapping.provider
                ),
                "add it, authenticated_role = \"reader\", or write ambiguous = \"deny\"",
            );
        }
        Some(Self { name: name?, authenticated_role, guest_role, role_mappings, principal_tags })
    }

    /// Returns the role mapping for `provider`.
    pub fn mapping(&self, provider: &str) -> Option<&RoleMapping> {
        self.role_mappings.iter().find(|mapping| mapping.provider == provider)
    }

    /// Returns the claims that determine roles and tags of users of `provider`.
    pub fn judged_claims(&self, provider: &str) -> impl Iterator<Item = &String> {
        let rules = self.mapping(provider).into_iter().flat_map(|mapping| match &mapping.by {
            MappingType::Rules(rules) => rules.as_slice(),
            MappingType::Token => &[],
        });
        rules.map(|rule| &rule.claim).chain(self.principal_tags.values())
    }

    /// Returns every role that the pool names. The roles of groups, which mappings of the type
    /// `token` assign, are not included.
    pub fn roles(&self) -> impl Iterator<Item = &String> {
        let rules = self.role_mappings.iter().flat_map(|mapping| match &mapping.by {
            MappingType::Rules(rules) => rules.as_slice(),
            MappingType::Token => &[],
        });
        self.authenticated_role.iter().chain(&self.guest_role).chain(rules.map(|rule| &rule.role))
    }
}

fn principal_tags(item: &Item<'_>) -> BTreeMap<String, String> {
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    for tag in item.entries() {
        let plain = |c: char| c.is_alphanumeric() || " _.:/=+-@".contains(c);
        if tag.key.is_empty() || tag.key.chars().count() > 128 || !tag.key.chars().all(plain) {
            tag.report(
                format!("`{}` cannot name a tag", tag.key),
                "use 1 to 128 letters, digits, spaces and _ . : / = + - @",
            );
        }
        if tags.keys().any(|known| known.eq_ignore_ascii_case(&tag.key)) {
            tag.report(
                format!("`{}` and another tag differ only in case", tag.key),
                "policies do not distinguish them: keep one",
            );
        }
        let Some(claim) = tag.string() else { continue };
        if matches!(claim, "groups" | "cognito:groups") {
            tag.report(
                format!("`{claim}` has many values, and a tag has one"),
                "give roles by groups instead: [[user_pool.group]], or a rule",
            );
        }
        tags.insert(tag.key, claim.to_owned());
    }
    if tags.len() > MAX_TAGS {
        item.report(format!("there are more than {MAX_TAGS} tags"), "keep those that policies use");
    }
    tags
}
