//! `[[user_pool]]`: the user directory, its groups, and the app clients.

use super::app_client::{self, AppClient};
use super::branding::{self, Branding};
use super::key::{Key, Nested, Section, Shape, Type};
use super::message::{self, MessageTemplate};
use super::pool_rules::{self, PoolRules};
use super::pool_triggers::{self, PoolTriggers};
use super::reader::Table;
use super::registration::{self, Registration};
use super::resource_server::{self, ResourceServer};
use super::role::plain_name;
use super::types::{INTEGER, TEXT};
use std::collections::HashSet;

pub(super) const SECTION: Section = Section {
    header: "[[user_pool]]",
    about: "User directories, their groups, and the app clients that get access tokens. Users of `[[provider]]` are in the \
            first one.",
    keys: &[
        &NAME,
        &SIGNING_ALGORITHM,
        &pool_rules::USERNAME_ATTRIBUTES,
        &pool_rules::ALIAS_ATTRIBUTES,
        &pool_rules::CASE_SENSITIVE,
        &pool_rules::SIGN_UP,
        &pool_rules::PASSWORD_SIGN_IN,
        &pool_rules::AUTO_VERIFIED,
        &pool_rules::VERIFY_BEFORE_UPDATE,
        &pool_rules::RECOVERY,
        &pool_rules::FIRST_FACTORS,
        &pool_rules::MFA,
        &pool_rules::MFA_FACTORS,
        &pool_rules::REMEMBERED_DEVICES,
        &pool_rules::DEVICE_REPLACES_FACTOR,
        &pool_rules::TEMPORARY_PASSWORD_RECOVERY,
        &pool_rules::DELETION_PROTECTION,
        &pool_rules::PASSWORD_POLICY,
        &pool_rules::ATTRIBUTES,
        &BRANDING,
        &REGISTRATION,
        &GROUPS,
        &RESOURCE_SERVERS,
        &CLIENTS,
        &MESSAGES,
        &TRIGGERS,
    ],
};
const NAME: Key<String> = Key::new(
    "name",
    Type::Read(Shape::Text, |item| item.parse(|text| plain_name(text, "a user pool"))),
    "Unique name of the pool. A pool with another name has other users.",
)
.default("\"default\"");
const SIGNING_ALGORITHM: Key<&str> = Key::new(
    "signing_algorithm",
    Type::ProviderChoice(&[("RS256", "RS256"), ("ES256", "ES256"), ("EdDSA", "EdDSA")]),
    "Signature algorithm of access tokens. A change takes effect after a day, in which the new key is published.",
)
.default("\"RS256\"");
const BRANDING: Key<Nested> = Key::table("branding", &branding::OF_POOL);
const REGISTRATION: Key<Nested> = Key::table("registration", &registration::SECTION);
const GROUPS: Key<Nested> = Key::tables("group", &GROUP);
const RESOURCE_SERVERS: Key<Nested> = Key::tables("resource_server", &resource_server::SECTION);
const CLIENTS: Key<Nested> = Key::tables("client", &app_client::SECTION);
const MESSAGES: Key<Nested> = Key::tables("message", &message::SECTION);
const TRIGGERS: Key<Nested> = Key::table("triggers", &pool_triggers::SECTION);

const GROUP: Section = Section {
    header: "[[user_pool.group]]",
    about: "Groups of the user pool that have roles. `[provider.groups]` maps a provider's groups to those of the first pool.",
    keys: &[&GROUP_NAME, &GROUP_ROLE, &GROUP_PRECEDENCE],
};
const GROUP_NAME: Key<String> =
    Key::new("name", TEXT, "Unique name in the pool.").required("").example("\"editors\"");
const GROUP_ROLE: Key<String> =
    Key::new("role", TEXT, "Name of the `[[role]]` that role mappings of the type `token` give to members.")
        .example("\"editor\"");
const GROUP_PRECEDENCE: Key<u32> = Key::new(
    "precedence",
    INTEGER,
    "Rank of the group's role: the lowest number applies. Different roles with the same number give none.",
)
.computed("after every group with a number")
.example("1");

/// A user directory of a deployment.
#[derive(Clone, Debug)]
pub struct UserPool {
    /// The name. A pool with another name has other users.
    pub name: String,
    /// The groups.
    pub groups: Vec<Group>,
    /// The rules of sign-in, sign-up, verification and recovery.
    pub rules: PoolRules,
    /// The JOSE name of the signature algorithm of access tokens.
    pub signing_algorithm: &'static str,
    /// The APIs for which access tokens are issued.
    pub resource_servers: Vec<ResourceServer>,
    /// The registered app clients.
    pub clients: Vec<AppClient>,
    /// The look of the sign-in pages.
    pub branding: Branding,
    /// The registration of app clients by themselves; `None` if there is none.
    pub registration: Option<Registration>,
    /// The message templates that replace the built-in ones.
    pub messages: Vec<MessageTemplate>,
    /// The functions that are called at events.
    pub triggers: PoolTriggers,
}

/// A group of a user pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name, unique in the pool.
    pub name: String,
    /// The role that role mappings of the type `token` assign to members.
    pub role: Option<String>,
    /// The rank of the group's role: the role with the lowest number applies. A group without a
    /// rank is last.
    pub precedence: Option<u32>,
}

impl UserPool {
    /// Reads the array of tables `key`. Without any table, there is one pool with the defaults.
    /// `known` has the names of the roles and of the triggers.
    pub(super) fn read_all(
        file: &Table<'_>,
        key: &Key<Nested>,
        known: (&[String], &[String]),
    ) -> Option<Vec<Self>> {
        let (mut client_ids, mut is_wrong) = (HashSet::new(), false);
        let read = |table: &Table<'_>| {
            let pool = Self::read(table, known, &mut client_ids);
            is_wrong |= pool.is_none();
            pool
        };
        let mut pools = file.distinct(key, read, |pool| {
            (pool.name.clone(), format!("two user pools are named \"{}\"", pool.name))
        });
        // Without the wrong pool, another one would be the first.
        if is_wrong {
            return None;
        }
        if pools.is_empty() {
            pools.push(Self::read(&file.empty(key)?, known, &mut client_ids)?);
        }
        Some(pools)
    }

    /// Reads a pool. `client_ids` contains the client ids of the pools before it.
    fn read(
        table: &Table<'_>,
        (roles, triggers): (&[String], &[String]),
        client_ids: &mut HashSet<String>,
    ) -> Option<Self> {
        let name = table.read(&NAME);
        let signing_algorithm = table.read(&SIGNING_ALGORITHM);
        let rules = PoolRules::read(table);
        let groups = table.distinct(
            &GROUPS,
            |table| Group::read(table, roles),
            |group| (group.name.clone(), format!("two groups are named \"{}\"", group.name)),
        );
        let resource_servers = table.distinct(&RESOURCE_SERVERS, ResourceServer::read, |server| {
            (server.identifier.clone(), format!("two resource servers are \"{}\"", server.identifier))
        });
        let attributes = rules.as_ref().map_or(&[][..], |rules| &rules.attributes);
        let branding = Branding::of_table(table, &BRANDING, &Branding::default());
        let clients = table.distinct(
            &CLIENTS,
            |table| AppClient::read(table, &resource_servers, attributes, &branding),
            |client| (client.name.clone(), format!("two app clients are named \"{}\"", client.name)),
        );
        let registration = table.table(&REGISTRATION).filter(|_| table.has(&REGISTRATION));
        let registration = registration.map(|table| Registration::read(&table, &resource_servers));
        let messages = table.distinct(&MESSAGES, MessageTemplate::read, |message| {
            let (event, channel) = (message.event.name(), message.channel.name());
            let identity = format!("{event} {channel} {:?}", message.language);
            (identity, format!("two messages are for `{event}` by `{channel}` in the same language"))
        });
        let triggers = table.table(&TRIGGERS).and_then(|table| PoolTriggers::read(&table, triggers));
        // A client id determines the pool in every request.
        for client in
            clients.iter().filter(|of| of.id.as_ref().is_some_and(|id| !client_ids.insert(id.clone())))
        {
            table.report(
                format!("two app clients have the id of \"{}\"", client.name),
                "give each another id, or remove `id`: one is generated then",
            );
        }
        table.finish();
        Some(Self {
            name: name?,
            groups,
            rules: rules?,
            signing_algorithm: signing_algorithm?,
            resource_servers,
            clients,
            branding,
            registration: registration.map_or(Some(None), |of| of.map(Some))?,
            messages,
            triggers: triggers?,
        })
    }

    /// Returns whether any app client may get access tokens, for itself or for its users.
    pub fn issues_access_tokens(&self) -> bool {
        let issues = |client: &AppClient| {
            !client.allowed_oauth_flows.is_empty() || !client.sign_in.auth_flows.is_empty()
        };
        self.registration.is_some() || self.clients.iter().any(issues)
    }

    /// Returns the group with this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }
}

impl Group {
    fn read(table: &Table<'_>, roles: &[String]) -> Option<Self> {
        let name = table.read(&GROUP_NAME);
        let role = table.get(&GROUP_ROLE).and_then(|item| item.name_of("role", roles));
        let precedence = table.read(&GROUP_PRECEDENCE);
        table.finish();
        Some(Self { name: name?, role, precedence })
    }
}
