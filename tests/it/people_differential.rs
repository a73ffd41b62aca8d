//! Users, aliases, groups and filters against a naive reference in memory, under random operations.
//! `NARTHEX_DIFFERENTIAL=100000` sets the number of operations; the seed is printed.

use crate::support::engine::{Engine, new_key_ring};
use crate::support::users::{
    ADDRESSES, ALIASES, add_pool, create_user, delete_user, pool_settings, set_status, update_attributes,
    upsert_federated_user,
};
use narthex::base::{Duration, Entropy as _, KeyRing, SystemEntropy, Timestamp};
use narthex::directory::{
    self, Actor, DirectoryError, NewGroup, NewUser, Origin, PageRequest, Takeover, UsersQuery,
};
use narthex::model::{Attributes, Pool, User, UserStatus};
use narthex::store::{CheckedWork, Counter, Lookup, Store};
use std::collections::{BTreeMap, BTreeSet};
use unicode_normalization::UnicodeNormalization as _;

on_both_engines! {
    random_operations_have_the_results_of_a_naive_reference
}

/// The number of operations unless the environment has another.
const OPERATIONS: usize = 1500;
/// Users of a pool beyond which one is deleted before another is created.
const MAX_USERS: usize = 40;

const NAMES: &[&str] = &[
    "bob",
    "BOB",
    "Zoë",
    "Zoe\u{308}",
    "ZOË",
    "straße",
    "STRASSE",
    "ann",
    "Ann",
    "eve",
    "k",
    "\u{212a}",
    "dan",
    "fay",
];
const EMAILS: &[&str] =
    &["a@x.example", "A@x.Example", "b@x.example", "c@y.example", "é@x.example", "e\u{301}@x.example"];
const PHONES: &[&str] = &["+15550001", "+15550002", "+15550003"];
const TEXTS: &[&str] =
    &["Ann", "ann \"the\" b", "Anna", "Straße", "", "back\\slash", "Ångström", "A\u{30a}ngstro\u{308}m"];
const STATUSES: &[UserStatus] = &[
    UserStatus::Confirmed,
    UserStatus::Unconfirmed,
    UserStatus::ForceChangePassword,
    UserStatus::ResetRequired,
];
const GROUPS: &[&str] = &["staff", "admins", "guests"];

/// A small generator (SplitMix64), so that a seed repeats a run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn chance(&mut self, in_ten: usize) -> bool {
        self.below(10) < in_ten
    }
}

#[derive(Clone, Debug)]
struct NaiveUser {
    sub: String,
    username: String,
    attributes: BTreeMap<String, String>,
    status: UserStatus,
    groups: BTreeSet<String>,
    subject: Option<String>,
}

/// A pool as a list of users, whose names are found by looking at all of them.
struct NaivePool {
    pool: Pool,
    users: Vec<NaiveUser>,
    groups: BTreeSet<String>,
}

/// Another folding than the program's: of other tables, for the characters above.
fn folded(text: &str) -> String {
    let lower: String = text.nfd().flat_map(char::to_lowercase).collect();
    lower.replace('ß', "ss").nfc().collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Username,
    Email,
    Phone,
    Preferred,
}

impl NaivePool {
    fn form(&self, text: &str) -> String {
        match self.pool.settings.sign_in.case_sensitive {
            true => text.nfc().collect(),
            false => folded(text),
        }
    }

    fn is_address_pool(&self) -> bool {
        !self.pool.settings.sign_in.username_attributes.is_empty()
    }

    fn names(&self, user: &NaiveUser) -> Vec<(Kind, String)> {
        let (mut names, get) = (Vec::new(), |name: &str| user.attributes.get(name).cloned());
        if user.subject.is_some() {
            return names;
        }
        let verified = |flag: &str| get(flag).as_deref() == Some("true");
        if self.is_address_pool() {
            let counts = |flag: &str| get(flag).as_deref() != Some("false");
            names.extend(get("email").filter(|_| counts("email_verified")).map(|email| (Kind::Email, email)));
            names.extend(
                get("phone_number")
                    .filter(|_| counts("phone_number_verified"))
                    .map(|phone| (Kind::Phone, phone)),
            );
        } else {
            names.push((Kind::Username, user.username.clone()));
        }
        if !self.pool.settings.sign_in.alias_attributes.is_empty() && user.status != UserStatus::Unconfirmed {
            names.extend(
                get("email").filter(|_| verified("email_verified")).map(|email| (Kind::Email, email)),
            );
            names.extend(
                get("phone_number")
                    .filter(|_| verified("phone_number_verified"))
                    .map(|phone| (Kind::Phone, phone)),
            );
            names.extend(get("preferred_username").map(|name| (Kind::Preferred, name)));
        }
        let mut seen = BTreeSet::new();
        names
            .iter()
            .map(|(kind, name)| (*kind, self.form(name)))
            .filter(|(_, name)| seen.insert(name.clone()))
            .collect()
    }

    fn holder(&self, name: &str) -> Option<(usize, Kind)> {
        let held = |(place, user): (usize, &NaiveUser)| {
            self.names(user).into_iter().find(|(_, held)| held == name).map(|(kind, _)| (place, kind))
        };
        self.users.iter().enumerate().find_map(held)
    }

    /// Puts `after` at `place`, or adds it; unless a name is taken.
    fn put(
        &mut self,
        place: Option<usize>,
        after: NaiveUser,
        creates: bool,
        takeover: bool,
    ) -> Result<(), &'static str> {
        let mut losers = Vec::new();
        for (kind, name) in self.names(&after) {
            if self.users.iter().enumerate().any(|(at, user)| user.sub == name && Some(at) != place) {
                return Err(self.exception(kind, creates));
            }
            match self.holder(&name) {
                Some((at, _)) if Some(at) == place => {}
                None => {}
                Some((at, held)) => {
                    let address = |kind| matches!(kind, Kind::Email | Kind::Phone);
                    if !(takeover && !self.is_address_pool() && address(kind) && address(held)) {
                        return Err(self.exception(kind, creates));
                    }
                    losers.push((
                        at,
                        if held == Kind::Email { "email_verified" } else { "phone_number_verified" },
                    ));
                }
            }
        }
        for (at, flag) in losers {
            self.users[at].attributes.insert(flag.into(), "false".into());
        }
        match place {
            Some(place) => self.users[place] = after,
            None => self.users.push(after),
        }
        Ok(())
    }

    fn exception(&self, kind: Kind, creates: bool) -> &'static str {
        match kind == Kind::Username || (creates && self.is_address_pool()) {
            true => "UsernameExistsException",
            false => "AliasExistsException",
        }
    }

    fn find(&self, name: &str, lookup: Lookup) -> Option<&str> {
        let by_name = self.holder(&self.form(name)).map(|(place, _)| &*self.users[place].sub);
        let other = || {
            let by_username = self.users.iter().find(|user| user.username == name);
            by_username.or_else(|| self.users.iter().find(|user| user.sub == name)).map(|user| &*user.sub)
        };
        match lookup {
            _ if name.is_empty() => None,
            Lookup::SignIn => by_name,
            Lookup::Administrator => by_name.or_else(other),
        }
    }
}

struct Run {
    store: Store,
    ring: std::sync::Arc<KeyRing>,
    pools: Vec<NaivePool>,
    random: Random,
    now: Timestamp,
    subjects: usize,
}

async fn random_operations_have_the_results_of_a_naive_reference(engine: Engine) {
    let operations =
        std::env::var("NARTHEX_DIFFERENTIAL").map_or(OPERATIONS, |number| number.parse().unwrap());
    let mut seed = [0; 8];
    SystemEntropy.fill(&mut seed);
    let seed = std::env::var("NARTHEX_SEED").map_or(u64::from_be_bytes(seed), |seed| seed.parse().unwrap());
    println!("NARTHEX_SEED={seed}");
    let store = engine.open().await;
    let mut pools = Vec::new();
    for (id, settings) in [
        ("plain", pool_settings(&[], &[], true)),
        ("alias", pool_settings(&[], ALIASES, false)),
        ("address", pool_settings(ADDRESSES, &[], false)),
    ] {
        let pool = add_pool(&store, id, settings).await;
        pools.push(NaivePool { pool, users: Vec::new(), groups: BTreeSet::new() });
    }
    let now = Timestamp::from_seconds(1_800_000_000);
    let mut run = Run { store, ring: new_key_ring(), pools, random: Random(seed), now, subjects: 0 };
    let begun = std::time::Instant::now();
    for _ in 0..operations {
        run.now = run.now.plus(Duration::from_millis(1));
        let place = run.random.below(run.pools.len());
        match run.random.below(16) {
            0..=2 => run.create(place).await,
            3 => run.sign_in_through_provider(place).await,
            4..=6 => run.change(place).await,
            7 => run.set_status(place).await,
            8 => run.delete(place).await,
            9..=10 => run.group(place).await,
            11..=13 => run.find(place).await,
            _ => run.list(place).await,
        }
    }
    run.compare_all().await;
    println!("{operations} operations in {:.1} s", begun.elapsed().as_secs_f64());
}

fn exception<T: std::fmt::Debug>(result: &Result<T, DirectoryError>) -> Option<&'static str> {
    result.as_ref().err().map(DirectoryError::exception)
}

impl Run {
    fn attributes(&mut self) -> BTreeMap<String, String> {
        let random = &mut self.random;
        let mut all = BTreeMap::new();
        let mut add = |name: &str, value: &str| drop(all.insert(name.to_owned(), value.to_owned()));
        if random.chance(4) {
            add("email", random.one(EMAILS));
            if random.chance(6) {
                add("email_verified", random.one(&["true", "false"]));
            }
        }
        if random.chance(3) {
            add("phone_number", random.one(PHONES));
            if random.chance(6) {
                add("phone_number_verified", random.one(&["true", "false"]));
            }
        }
        if random.chance(3) {
            add("preferred_username", random.one(NAMES));
        }
        if random.chance(5) {
            add("name", random.one(TEXTS));
        }
        if random.chance(2) {
            add("given_name", &random.one(&["x", "ﬃ"]).repeat(300));
        }
        all
    }

    async fn create(&mut self, place: usize) {
        if self.pools[place].users.len() >= MAX_USERS {
            self.delete(place).await;
        }
        let (mut attributes, random) = (self.attributes(), &mut self.random);
        let pool = &mut self.pools[place];
        let typed = match (pool.is_address_pool(), random.chance(7)) {
            (false, _) => random.one(NAMES),
            (true, true) => random.one(EMAILS),
            (true, false) => random.one(PHONES),
        };
        if pool.is_address_pool() {
            attributes.remove(if typed.starts_with('+') { "phone_number" } else { "email" });
        }
        let takeover = random.chance(5);
        let new = NewUser {
            username: typed.to_owned(),
            attributes: attributes.iter().collect(),
            status: random.one(STATUSES),
            origin: Origin::Administrator,
            takeover: if takeover { Takeover::LastVerifier } else { Takeover::Refuse },
        };
        let created = create_user(&self.store, &pool.pool, &new, self.now).await;
        attributes.retain(|_, value| !value.is_empty());
        if pool.is_address_pool() {
            attributes
                .insert(if typed.starts_with('+') { "phone_number" } else { "email" }.into(), typed.into());
        }
        // A flag without its address is refused before anything else.
        let flagless = |flag: &str, of: &str| attributes.contains_key(flag) && !attributes.contains_key(of);
        if flagless("email_verified", "email") || flagless("phone_number_verified", "phone_number") {
            assert_eq!(exception(&created), Some("InvalidParameterException"));
            return;
        }
        // The typed address is a name at once, and another one when it is verified.
        for (of, flag) in [("email", "email_verified"), ("phone_number", "phone_number_verified")] {
            let is_typed = typed.starts_with('+') == (of == "phone_number");
            let is_verified = attributes.get(flag).is_some_and(|value| value == "true");
            match is_typed {
                _ if !pool.is_address_pool() || is_verified || !attributes.contains_key(of) => {}
                true => drop(attributes.remove(flag)),
                false => drop(attributes.insert(flag.into(), "false".into())),
            }
        }
        let sub = created.as_ref().map_or_else(|_| "refused".to_owned(), |user| user.id.clone());
        let username = if pool.is_address_pool() { sub.clone() } else { typed.to_owned() };
        let user = NaiveUser {
            sub,
            username,
            attributes,
            status: new.status,
            groups: BTreeSet::new(),
            subject: None,
        };
        let expected = pool.put(None, user, true, takeover);
        assert_eq!(exception(&created), expected.err(), "{new:?}");
    }

    async fn sign_in_through_provider(&mut self, place: usize) {
        if self.pools[place].users.len() >= MAX_USERS {
            self.delete(place).await;
        }
        let attributes = self.attributes();
        let known: Vec<String> =
            self.pools[place].users.iter().filter_map(|user| user.subject.clone()).collect();
        let subject = match known.is_empty() || self.random.chance(3) {
            true => {
                self.subjects += 1;
                format!("s{}", self.subjects)
            }
            false => known[self.random.below(known.len())].clone(),
        };
        let pool = &mut self.pools[place];
        let of: Vec<(&str, &str)> = attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
        let user = upsert_federated_user(&self.store, &pool.pool, &subject, &of).await;
        match pool.users.iter_mut().find(|known| known.subject.as_deref() == Some(&*subject)) {
            Some(known) => known.attributes = attributes,
            None => pool.users.push(NaiveUser {
                sub: user.id,
                username: user.username,
                attributes,
                status: UserStatus::ExternalProvider,
                groups: BTreeSet::new(),
                subject: Some(subject),
            }),
        }
    }

    /// Selects a local user at random: where, and as the store has it.
    async fn local(&mut self, place: usize) -> Option<(usize, User)> {
        let locals: Vec<usize> = (0..self.pools[place].users.len())
            .filter(|at| self.pools[place].users[*at].subject.is_none())
            .collect();
        if locals.is_empty() {
            return None;
        }
        let at = locals[self.random.below(locals.len())];
        let user = self.store.user(&self.pools[place].users[at].sub).await.unwrap().unwrap();
        Some((at, user))
    }

    async fn change(&mut self, place: usize) {
        let Some((at, user)) = self.local(place).await else { return };
        let mut changes = self.attributes();
        if self.random.chance(2) {
            let name = self.random.one(&["email", "phone_number", "preferred_username", "name"]);
            changes.insert(name.into(), String::new());
        }
        let of: Vec<(&str, &str)> = changes.iter().map(|(name, value)| (&**name, &**value)).collect();
        let pool = &mut self.pools[place];
        let result = update_attributes(&self.store, &pool.pool, &user, &of, Actor::Administrator).await;
        let before = pool.users[at].clone();
        let mut after = before.clone();
        for (name, value) in &changes {
            match value.is_empty() {
                true => after.attributes.remove(name),
                false => after.attributes.insert(name.clone(), value.clone()),
            };
        }
        for (of, flag) in [("email", "email_verified"), ("phone_number", "phone_number_verified")] {
            if changes.contains_key(flag) && !after.attributes.contains_key(of) {
                assert_eq!(exception(&result), Some("InvalidParameterException"), "{changes:?}");
                return;
            }
            if before.attributes.get(of) == after.attributes.get(of) {
                continue;
            }
            match after.attributes.contains_key(of) {
                false => drop(after.attributes.remove(flag)),
                true if changes.get(flag).map(String::as_str) == Some("true") => {}
                true => drop(after.attributes.insert(flag.into(), "false".into())),
            }
        }
        if pool.names(&after).is_empty() {
            assert_eq!(exception(&result), Some("InvalidParameterException"), "{changes:?}");
            return;
        }
        let expected = pool.put(Some(at), after, false, true);
        assert_eq!(exception(&result), expected.err(), "{changes:?} of {before:?}");
    }

    async fn set_status(&mut self, place: usize) {
        let Some((at, user)) = self.local(place).await else { return };
        let (next, takeover) = (self.random.one(STATUSES), self.random.chance(5));
        let pool = &mut self.pools[place];
        let words = if takeover { Takeover::LastVerifier } else { Takeover::Refuse };
        let result = set_status(&self.store, &pool.pool, &user, next, words).await;
        let before = pool.users[at].clone();
        if !before.status.may_become(next) {
            assert_eq!(exception(&result), Some("NotAuthorizedException"));
            return;
        }
        let expected = pool.put(Some(at), NaiveUser { status: next, ..before }, false, takeover);
        assert_eq!(exception(&result), expected.err());
    }

    async fn delete(&mut self, place: usize) {
        let pool = &mut self.pools[place];
        if pool.users.is_empty() {
            return;
        }
        let gone = pool.users.remove(self.random.below(pool.users.len()));
        let user = self.store.user(&gone.sub).await.unwrap().unwrap();
        delete_user(&self.store, &user).await;
    }

    async fn group(&mut self, place: usize) {
        let (name, action) = (self.random.one(GROUPS), self.random.below(10));
        let naive = &mut self.pools[place];
        let pool = &naive.pool;
        let at = (!naive.users.is_empty()).then(|| self.random.below(naive.users.len()));
        let user = match at {
            Some(at) => self.store.user(&naive.users[at].sub).await.unwrap(),
            None => None,
        };
        let (user, now) = (user.as_ref(), self.now);
        let result = self.store.checked_transaction(|tx| -> CheckedWork<'_, (), DirectoryError> {
            Box::pin(async move {
                match (action, user) {
                    (0, _) => directory::delete_group(tx, pool, name, &SystemEntropy).await,
                    (1..=2, _) => {
                        let new = NewGroup { name: name.into(), ..NewGroup::default() };
                        directory::create_group(tx, pool, &new, now, &SystemEntropy).await.map(drop)
                    }
                    (3..=7, Some(user)) => {
                        directory::add_to_group(tx, pool, name, user, now, &SystemEntropy).await
                    }
                    (_, Some(user)) => {
                        directory::remove_from_group(tx, pool, name, user, &SystemEntropy).await
                    }
                    _ => Ok(()),
                }
            })
        });
        let result = result.await;
        let exists = naive.groups.contains(name);
        let expected = match action {
            1..=2 => exists.then_some("GroupExistsException"),
            3.. if user.is_none() => None,
            _ => (!exists).then_some("ResourceNotFoundException"),
        };
        assert_eq!(exception(&result), expected);
        match (action, at) {
            (1..=2, _) => _ = naive.groups.insert(name.into()),
            (0, _) => {
                naive.groups.remove(name);
                naive.users.iter_mut().for_each(|user| _ = user.groups.remove(name));
            }
            (3..=7, Some(at)) if exists => _ = naive.users[at].groups.insert(name.into()),
            (8.., Some(at)) if exists => _ = naive.users[at].groups.remove(name),
            _ => {}
        }
    }

    async fn find(&mut self, place: usize) {
        let naive = &self.pools[place];
        let name = match self.random.below(6) {
            0 if !naive.users.is_empty() => naive.users[self.random.below(naive.users.len())].sub.clone(),
            1 if !naive.users.is_empty() => {
                naive.users[self.random.below(naive.users.len())].username.clone()
            }
            2 => self.random.one(PHONES).to_owned(),
            3 => self.random.one(EMAILS).to_owned(),
            _ => self.random.one(NAMES).to_owned(),
        };
        for lookup in [Lookup::SignIn, Lookup::Administrator] {
            let found = self.store.find_user(&naive.pool, &name, lookup).await.unwrap();
            assert_eq!(found.map(|user| user.id).as_deref(), naive.find(&name, lookup), "{name} {lookup:?}");
        }
    }

    async fn list(&mut self, place: usize) {
        let attribute = self.random.one(&[
            "username",
            "email",
            "phone_number",
            "name",
            "given_name",
            "preferred_username",
            "sub",
            "cognito:user_status",
        ]);
        let prefix = self.random.chance(5);
        let naive = &self.pools[place];
        let whole = match attribute {
            "username" => self.random.one(NAMES).to_owned(),
            "email" => self.random.one(EMAILS).to_owned(),
            "phone_number" => self.random.one(PHONES).to_owned(),
            "given_name" => self.random.one(&["x", "ﬃ"]).repeat(230),
            "sub" if !naive.users.is_empty() => naive.users[self.random.below(naive.users.len())].sub.clone(),
            "cognito:user_status" => self.random.one(STATUSES).name().to_lowercase(),
            _ => self.random.one(TEXTS).to_owned(),
        };
        let cut = self.random.below(whole.chars().count() + 1);
        let value: String = if prefix { whole.chars().take(cut).collect() } else { whole };
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let filter = match self.random.chance(2) {
            true => String::new(),
            false => format!("{attribute} {} \"{quoted}\"", if prefix { "^=" } else { "=" }),
        };
        let matches = |user: &&NaiveUser| {
            let of = match attribute {
                _ if filter.is_empty() => return true,
                "username" => Some(user.username.nfc().collect::<String>()),
                "sub" => Some(user.sub.clone()),
                "cognito:user_status" => Some(user.status.name().to_lowercase()),
                name => user
                    .attributes
                    .get(name)
                    .filter(|value| !value.is_empty() || user.subject.is_some())
                    .map(|text| folded_all(text)),
            };
            let wanted = if attribute == "username" { value.nfc().collect() } else { folded_all(&value) };
            of.is_some_and(|of| if prefix { of.starts_with(&wanted) } else { of == wanted })
        };
        let expected: BTreeSet<&str> = naive.users.iter().filter(matches).map(|user| &*user.sub).collect();
        let limit = 1 + self.random.below(20) as u32;
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let page = PageRequest { limit: Some(limit), token: token.as_deref() };
            let query = UsersQuery { filter: &filter, page };
            let page =
                directory::list_users(&self.store, &self.ring, &naive.pool, query, self.now, &SystemEntropy)
                    .await;
            let page = page.unwrap_or_else(|error| panic!("{filter}: {error}"));
            found.extend(page.entries.into_iter().map(|user| user.id));
            token = page.token;
            if token.is_none() {
                break;
            }
        }
        let once: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(once.len(), found.len(), "{filter}: a user is listed twice");
        assert_eq!(once, expected, "{filter}");
    }

    /// Compares every user, every group and the counters.
    async fn compare_all(&self) {
        for naive in &self.pools {
            for user in &naive.users {
                let stored = self.store.user(&user.sub).await.unwrap().unwrap();
                let attributes: Attributes = user.attributes.iter().collect();
                assert_eq!((&stored.attributes, stored.status), (&attributes, user.status));
                let groups = self.store.groups_of_user(stored.no, 0, 60).await.unwrap();
                let groups: BTreeSet<String> = groups.into_iter().map(|group| group.name).collect();
                assert_eq!(groups, user.groups);
            }
            let users = self.store.counter(naive.pool.no, Counter::Users).await.unwrap();
            assert_eq!(users, naive.users.len() as i64);
            assert_eq!(
                self.store.counter(naive.pool.no, Counter::Groups).await.unwrap(),
                naive.groups.len() as i64
            );
            for group in self.store.groups(naive.pool.no, 0, 60).await.unwrap() {
                let members = self.store.group_members(group.no, 0, 60).await.unwrap();
                let members: BTreeSet<String> = members.into_iter().map(|user| user.id).collect();
                let expected = naive.users.iter().filter(|user| user.groups.contains(&group.name));
                assert_eq!(members, expected.map(|user| user.sub.clone()).collect());
            }
        }
    }
}

/// The folding of values, with the ligature that the long ones are made of.
fn folded_all(text: &str) -> String {
    folded(text).replace('ﬃ', "ffi")
}
