//! Users, aliases and groups of user pools, on both engines. Time is a value, so nothing waits.

use crate::support::engine::{Engine, everything, occurrences, ring};
use crate::support::users::{
    ADDRESSES, ALIASES, add_pool, attributes, create, created, delete, federated, new_user, now,
    pool_settings, status, update,
};
use narthex::base::{Duration, Entropy as _, KeyRing, SystemEntropy, Timestamp, sha256, uuid};
use narthex::config::SessionLimits;
use narthex::directory::{
    self, Actor, Authentication, Browser, DirectoryError, ErrorKind, GroupChanges, NewGroup, NewUser, Origin,
    PageRequest, Takeover, UsersQuery,
};
use narthex::model::{
    AppClientSettings, Pool, PoolSettings, PoolState, Quotas, Schema, SchemaAttribute, User, UserStatus,
};
use narthex::store::{
    AccountCode, CheckedWork, CodeCheck, Counter, Lookup, PasswordFailures, RefreshFamily, Store,
    StoredPassword, Tx, bulk_lookups, statements_of_people,
};
use sqlx::{AssertSqlSafe, Row as _};
use std::sync::{Arc, LazyLock};

/// A client through which a user can write every attribute.
static CLIENT: LazyLock<AppClientSettings> = LazyLock::new(AppClientSettings::default);

on_both_engines! {
    a_name_finds_its_user_by_the_rules_of_the_pool
    names_are_compared_without_case_and_composition_unless_the_pool_says_otherwise
    an_alias_belongs_to_the_last_who_verified_it
    a_name_is_never_taken_from_its_user
    attributes_are_checked_and_verification_does_not_outlive_its_address
    a_status_follows_only_where_it_may
    a_disabled_user_has_no_session_and_no_refresh_token
    users_are_listed_page_by_page_each_once
    filters_find_values_longer_than_a_key
    a_page_token_is_of_one_list
    groups_have_members_and_quotas
    nothing_is_left_of_a_deleted_user
    a_deleted_pool_is_purged_in_batches
    rows_of_an_older_node_are_indexed
    two_connections_race_for_a_name_and_one_wins
    passwords_and_codes_are_kept_as_the_rules_say
    a_refresh_family_is_rotated_once
    a_refused_operation_leaves_nothing
    every_statement_uses_an_index
}

fn refusal<T: std::fmt::Debug>(result: Result<T, DirectoryError>) -> (&'static str, String) {
    let error = result.unwrap_err();
    (error.exception(), error.message().to_owned())
}

async fn names(store: &Store, ring: &KeyRing, pool: &Pool, filter: &str) -> Vec<String> {
    let query = UsersQuery { filter, ..UsersQuery::default() };
    let page = directory::list_users(store, ring, pool, query, now(), &SystemEntropy).await.unwrap();
    page.entries.into_iter().map(|user| user.username).collect()
}

/// One table of expected answers: each name at sign-in and at an administrator's operation, in
/// pools of all three kinds.
async fn a_name_finds_its_user_by_the_rules_of_the_pool(engine: Engine) {
    let store = engine.open().await;
    let pools = [
        add_pool(&store, "plain", pool_settings(&[], &[], false)).await,
        add_pool(&store, "alias", pool_settings(&[], ALIASES, false)).await,
        add_pool(&store, "address", pool_settings(ADDRESSES, &[], false)).await,
    ];
    let mut users = Vec::new();
    for pool in &pools {
        let by_address = !pool.settings.sign_in.username_attributes.is_empty();
        let username = if by_address { "v@x.example" } else { "verified" };
        let verified = [
            ("email", "v@x.example"),
            ("email_verified", "true"),
            ("phone_number", "+15550001"),
            ("phone_number_verified", "true"),
            ("preferred_username", "vv"),
        ];
        let username2 = if by_address { "u@x.example" } else { "unverified" };
        let unverified = [("email", "u@x.example"), ("phone_number", "+15550002")];
        let first = created(&store, pool, username, &verified).await;
        let second = created(&store, pool, username2, &unverified).await;
        let pending = NewUser {
            status: UserStatus::Unconfirmed,
            ..new_user(
                if by_address { "p@x.example" } else { "pending" },
                &[("email", "p@x.example"), ("email_verified", "true"), ("preferred_username", "pp")],
            )
        };
        create(&store, pool, &pending, now()).await.unwrap();
        let google =
            federated(&store, pool, "Alice", &[("email", "g@x.example"), ("email_verified", "true")]).await;
        users.push((first, second, google));
    }
    // Name; found in the plain pool, the alias pool, the address pool: n never, a by an
    // administrator, s by both.
    for (name, expected) in [
        ("verified", "ss-"),
        ("VERIFIED", "ss-"),
        ("unverified", "ss-"),
        ("pending", "ss-"),
        ("v@x.example", "nss"),
        ("V@X.example", "nss"),
        ("u@x.example", "nns"),
        ("p@x.example", "nns"),
        ("pp", "nnn"),
        ("g@x.example", "nnn"),
        ("+15550001", "nss"),
        ("+15550002", "nnn"),
        ("vv", "nsn"),
        ("<sub>", "aaa"),
        ("<sub of a provider's>", "aaa"),
        ("<name of a provider's>", "aaa"),
        ("nobody", "nnn"),
        ("", "nnn"),
    ] {
        for ((pool, (first, _, google)), expected) in pools.iter().zip(&users).zip(expected.chars()) {
            let name = match name {
                "<sub>" => &first.id,
                "<sub of a provider's>" => &google.id,
                "<name of a provider's>" => &google.username,
                name => name,
            };
            let admin = store.find_user(pool, name, Lookup::Administrator).await.unwrap();
            let sign_in = store.find_user(pool, name, Lookup::SignIn).await.unwrap();
            let found = match (sign_in.is_some(), admin.is_some()) {
                (true, true) => 's',
                (false, true) => 'a',
                (false, false) => 'n',
                (true, false) => panic!("{name}: an administrator finds less"),
            };
            let expected = if expected == '-' { 'n' } else { expected };
            assert_eq!(found, expected, "`{name}` in the pool {}", pool.id);
        }
    }
    // A `sub` is of its own pool alone.
    let other = store.find_user(&pools[1], &users[0].0.id, Lookup::Administrator).await.unwrap();
    assert_eq!(other, None);
}

async fn names_are_compared_without_case_and_composition_unless_the_pool_says_otherwise(engine: Engine) {
    let store = engine.open().await;
    let loose = add_pool(&store, "loose", pool_settings(&[], &[], false)).await;
    let strict = add_pool(&store, "strict", pool_settings(&[], &[], true)).await;
    for (one, other, without_case, with_case) in [
        ("Straße", "STRASSE", true, false),
        ("Kelvin", "\u{212a}elvin", true, true),
        ("long\u{17f}", "longs", true, false),
        ("\u{130}x", "ix", false, false),
        ("caf\u{e9}", "cafe\u{301}", true, true),
        ("caf\u{c9}", "cafe\u{301}", true, false),
        ("bob", "Bob", true, false),
        ("resume", "r\u{e9}sum\u{e9}", false, false),
    ] {
        for (pool, same) in [(&loose, without_case), (&strict, with_case)] {
            let user = created(&store, pool, one, &[]).await;
            let found = store.find_user(pool, other, Lookup::SignIn).await.unwrap();
            assert_eq!(found.is_some(), same, "{one} {other} {}", pool.id);
            let second = create(&store, pool, &new_user(other, &[]), now()).await;
            match same {
                true => assert_eq!(
                    refusal(second),
                    ("UsernameExistsException", "User account already exists".into())
                ),
                false => delete(&store, &second.unwrap()).await,
            }
            delete(&store, &user).await;
        }
    }
}

async fn an_alias_belongs_to_the_last_who_verified_it(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "alias", pool_settings(&[], ALIASES, false)).await;
    let address = [("email", "a@x.example"), ("email_verified", "true")];
    let holder = async || {
        store.find_user(&pool, "A@x.example", Lookup::SignIn).await.unwrap().map(|user| user.username)
    };
    let one = created(&store, &pool, "one", &address).await;
    assert_eq!(
        refusal(create(&store, &pool, &new_user("two", &address), now()).await),
        ("AliasExistsException", "An account with the given email already exists.".into())
    );
    // `ForceAliasCreation`
    let forced = NewUser { takeover: Takeover::LastVerifier, ..new_user("two", &address) };
    let two = create(&store, &pool, &forced, now()).await.unwrap();
    assert_eq!(holder().await, Some("two".into()));
    let one = store.user(&one.id).await.unwrap().unwrap();
    assert_eq!((one.attributes.get("email_verified"), one.version), (Some("false"), 2));
    // The first verifies it again.
    update(&store, &pool, &one, &[("email_verified", "true")], Actor::Verification).await.unwrap();
    assert_eq!(holder().await, Some("one".into()));
    let two = store.user(&two.id).await.unwrap().unwrap();
    assert!(!two.email_verified());
    // An unconfirmed user claims nothing before the confirmation.
    let pending = NewUser { status: UserStatus::Unconfirmed, ..new_user("three", &address) };
    let three = create(&store, &pool, &pending, now()).await.unwrap();
    assert_eq!(holder().await, Some("one".into()));
    let refused = status(&store, &pool, &three, UserStatus::Confirmed, Takeover::Refuse).await;
    assert_eq!(refusal(refused).0, "AliasExistsException");
    status(&store, &pool, &three, UserStatus::Confirmed, Takeover::LastVerifier).await.unwrap();
    assert_eq!(holder().await, Some("three".into()));
    // A user who goes frees the alias.
    delete(&store, &store.user(&three.id).await.unwrap().unwrap()).await;
    assert_eq!(holder().await, None);
}

async fn a_name_is_never_taken_from_its_user(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "alias", pool_settings(&[], ALIASES, false)).await;
    let bob = created(&store, &pool, "bob", &[]).await;
    let eve = created(&store, &pool, "eve", &[]).await;
    for name in ["bob", "BOB", &bob.id, &bob.id.to_uppercase()] {
        let taken = update(&store, &pool, &eve, &[("preferred_username", name)], Actor::Administrator).await;
        assert_eq!(refusal(taken).0, "AliasExistsException", "{name}");
        assert_eq!(
            refusal(create(&store, &pool, &new_user(name, &[]), now()).await).0,
            "UsernameExistsException"
        );
    }
    // A user name that is also the preferred one stays when the latter goes.
    let bob =
        update(&store, &pool, &bob, &[("preferred_username", "Bob")], Actor::User(&CLIENT)).await.unwrap();
    update(&store, &pool, &bob, &[("preferred_username", "")], Actor::User(&CLIENT)).await.unwrap();
    assert!(store.find_user(&pool, "bob", Lookup::SignIn).await.unwrap().is_some());
    for (name, words) in [
        ("a@x.example", "Username cannot be of email format, since user pool is configured for email alias."),
        (
            "+15550001",
            "Username cannot be of phone number format, since user pool is configured for phone number alias.",
        ),
        ("corp~0123abcd_alice", "Username is reserved for users of an identity provider."),
    ] {
        let refused = create(&store, &pool, &new_user(name, &[]), now()).await;
        assert_eq!(refusal(refused), ("InvalidParameterException", words.into()));
        let preferred =
            update(&store, &pool, &eve, &[("preferred_username", name)], Actor::User(&CLIENT)).await;
        assert_eq!(
            refusal(preferred),
            ("InvalidParameterException", words.into()),
            "a preferred one neither"
        );
    }
    for name in ["", "a b", "a\u{200b}", &"x".repeat(129)] {
        assert_eq!(
            refusal(create(&store, &pool, &new_user(name, &[]), now()).await).0,
            "InvalidParameterException"
        );
    }
    // In a pool of addresses, the address is the user name, also before its verification.
    let pool = add_pool(&store, "address", pool_settings(ADDRESSES, &[], false)).await;
    let one = created(&store, &pool, "a@x.example", &[]).await;
    assert_eq!((one.email(), &one.username), (Some("a@x.example"), &one.id));
    let again = NewUser {
        takeover: Takeover::LastVerifier,
        ..new_user("A@X.example", &[("email_verified", "true")])
    };
    assert_eq!(
        refusal(create(&store, &pool, &again, now()).await),
        ("UsernameExistsException", "An account with the given email already exists.".into())
    );
    let two = created(&store, &pool, "b@x.example", &[]).await;
    let moved = update(
        &store,
        &pool,
        &two,
        &[("email", "a@x.example"), ("email_verified", "true")],
        Actor::Administrator,
    );
    assert_eq!(refusal(moved.await).0, "AliasExistsException");
    assert_eq!(
        refusal(create(&store, &pool, &new_user("bob", &[]), now()).await).1,
        "Username should be either an email or a phone number."
    );
    let removed = update(&store, &pool, &two, &[("email", "")], Actor::Administrator).await;
    assert_eq!(refusal(removed).0, "InvalidParameterException", "the only name stays");
}

async fn attributes_are_checked_and_verification_does_not_outlive_its_address(engine: Engine) {
    let store = engine.open().await;
    let own = |name: &'static str, mutable, required| SchemaAttribute {
        name: name.into(),
        kind: narthex::model::AttributeType::String,
        mutable,
        required,
        min: Some(0),
        max: Some(20),
    };
    let schema = Schema::new(vec![own("custom:fixed", false, false), own("name", true, true)]);
    let pool = add_pool(&store, "pool", PoolSettings { schema, ..PoolSettings::default() }).await;
    let sign_up = NewUser { origin: Origin::SignUp, ..new_user("bob", &[]) };
    assert_eq!(
        refusal(create(&store, &pool, &sign_up, now()).await).1,
        "Attributes did not conform to the schema: name: The attribute is required\n"
    );
    let flagged = NewUser {
        origin: Origin::SignUp,
        ..new_user("bob", &[("name", "B"), ("email", "b@x.example"), ("email_verified", "true")])
    };
    assert_eq!(refusal(create(&store, &pool, &flagged, now()).await).0, "NotAuthorizedException");
    let bob = created(&store, &pool, "bob", &[("name", "B"), ("custom:fixed", "1")]).await;
    let change = async |of: &[(&str, &str)], actor| {
        update(&store, &pool, &store.user(&bob.id).await.unwrap().unwrap(), of, actor).await
    };
    for (changes, words) in [
        (&[("custom:fixed", "2")][..], "user.custom:fixed: Attribute cannot be updated.\n"),
        (&[("sub", "2")], "user.sub: Attribute cannot be updated.\n"),
        (&[("name", "")], "user.name: Required attribute cannot be deleted.\n"),
        (
            &[("name", &"x".repeat(21))],
            "Attributes did not conform to the schema: name: String must be no longer than 20 characters\n",
        ),
        (
            &[("custom:no", "2")],
            "Attributes did not conform to the schema: custom:no: Attribute does not exist in the schema.\n",
        ),
        (&[("email", "no")], "Invalid email address format."),
        (&[("email_verified", "true")], "Email is required to verify/un-verify an email"),
        (&[("phone_number_verified", "true")], "Phone Number is required to verify/un-verify a phone number"),
    ] {
        assert_eq!(
            refusal(change(changes, Actor::Administrator).await),
            ("InvalidParameterException", words.into())
        );
    }
    assert_eq!(
        refusal(change(&[("email_verified", "true")], Actor::User(&CLIENT)).await).0,
        "NotAuthorizedException"
    );
    let user =
        change(&[("email", "b@x.example"), ("email_verified", "true")], Actor::Administrator).await.unwrap();
    assert!(user.email_verified());
    let user = change(&[("email", "b@x.example")], Actor::User(&CLIENT)).await.unwrap();
    assert!(user.email_verified(), "the same address stays verified");
    let user = change(&[("email", "c@x.example")], Actor::User(&CLIENT)).await.unwrap();
    assert_eq!(user.attributes.get("email_verified"), Some("false"));
    let user = change(&[("email", "")], Actor::User(&CLIENT)).await.unwrap();
    assert_eq!((user.email(), user.attributes.get("email_verified")), (None, None));
    assert_eq!(store.user(&bob.id).await.unwrap(), Some(user));
}

async fn a_status_follows_only_where_it_may(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let user = created(&store, &pool, "bob", &[]).await;
    let refused = status(&store, &pool, &user, UserStatus::Unconfirmed, Takeover::Refuse).await;
    assert_eq!(
        refusal(refused),
        ("NotAuthorizedException", "User cannot become UNCONFIRMED. Current status is CONFIRMED".into())
    );
    let user = status(&store, &pool, &user, UserStatus::ResetRequired, Takeover::Refuse).await.unwrap();
    assert_eq!(store.user(&user.id).await.unwrap().unwrap().status, UserStatus::ResetRequired);
    let google = federated(&store, &pool, "g", &[]).await;
    assert!(status(&store, &pool, &google, UserStatus::Confirmed, Takeover::Refuse).await.is_err());
}

fn family(user: &User) -> RefreshFamily {
    RefreshFamily {
        id: uuid(&SystemEntropy),
        user_no: user.no,
        client_id: "client".into(),
        generation: 1,
        rotated_at: now(),
        auth_time: now(),
        scope: "openid".into(),
        device_key: String::new(),
        created_at: now(),
        expires_at: now().plus(Duration::from_secs(3600)),
    }
}

async fn begin_session(tx: &mut Tx<'_>, user: &User) -> narthex::store::Result<()> {
    let authentication = Authentication {
        provider: "corp".into(),
        provider_sid: String::new(),
        browser: Browser::default(),
        amr: vec![],
        auth_time: None,
        ends_at: None,
        begun_at: now(),
    };
    let limits = SessionLimits {
        idle: Duration::from_secs(3600),
        absolute: Duration::from_secs(86400),
        persistent: true,
    };
    directory::begin_session(tx, user, &authentication, None, limits, now(), &SystemEntropy).await.map(drop)
}

async fn a_disabled_user_has_no_session_and_no_refresh_token(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let (user, ring) = (&created(&store, &pool, "bob", &[]).await, ring());
    let family = &family(user);
    let add = store.transaction(|tx| {
        Box::pin(async move {
            begin_session(tx, user).await?;
            tx.add_refresh_family(family).await
        })
    });
    add.await.unwrap();
    let disable = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        Box::pin(async move { directory::set_enabled(tx, user, false, now(), &SystemEntropy).await })
    });
    let disabled = disable.await.unwrap();
    assert!(!disabled.enabled && disabled.version == 2);
    let sessions =
        store.transaction(|tx| Box::pin(async move { tx.sessions_of(&user.id).await })).await.unwrap();
    assert!(sessions.is_empty());
    assert_eq!(store.refresh_family(&family.id).await.unwrap(), None);
    assert_eq!(names(&store, &ring, &pool, "status = \"Disabled\"").await, ["bob"]);
    assert!(names(&store, &ring, &pool, "status = \"Enabled\"").await.is_empty());
}

async fn users_are_listed_page_by_page_each_once(engine: Engine) {
    let (store, ring) = (engine.open().await, ring());
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let other = add_pool(&store, "other", PoolSettings::default()).await;
    created(&store, &other, "not-here", &[("name", "Same")]).await;
    for number in 0..130 {
        let at = now().plus(Duration::from_millis(number));
        let given = format!("g{:03}", 999 - number);
        let new = new_user(&format!("user{number:03}"), &[("name", "Same"), ("given_name", &given)]);
        create(&store, &pool, &new, at).await.unwrap();
    }
    assert_eq!(store.counter(pool.no, Counter::Users).await.unwrap(), 130);
    let expected: Vec<String> = (0..130).map(|number| format!("user{number:03}")).collect();
    let reversed: Vec<String> = expected.iter().rev().cloned().collect();
    for (filter, expected) in
        [("", &expected), ("name = \"SAME\"", &expected), ("given_name ^= \"G\"", &reversed)]
    {
        for limit in [1, 7, 60] {
            let (mut found, mut token) = (Vec::new(), None);
            loop {
                let page = PageRequest { limit: Some(limit), token: token.as_deref() };
                let query = UsersQuery { filter, page };
                let page =
                    directory::list_users(&store, &ring, &pool, query, now(), &SystemEntropy).await.unwrap();
                found.extend(page.entries.into_iter().map(|user| user.username));
                token = page.token;
                if token.is_none() {
                    break;
                }
            }
            assert_eq!(&found, expected, "{filter} {limit}");
        }
    }
    let user = store.find_user(&pool, "user000", Lookup::SignIn).await.unwrap().unwrap();
    let users = &[user];
    let selected = directory::select_attributes(&pool, users, &["name"]).unwrap();
    assert_eq!(selected, [attributes(&[("name", "Same")])]);
    let all = directory::select_attributes(&pool, users, &[]).unwrap();
    assert_eq!(all[0].get("sub"), Some(&*users[0].id));
    assert!(directory::select_attributes(&pool, users, &["custom:no"]).is_err());
    assert!(directory::select_attributes(&pool, &[], &["custom:no"]).is_err());
}

async fn filters_find_values_longer_than_a_key(engine: Engine) {
    let (store, ring) = (engine.open().await, ring());
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    // Folding makes three bytes of each.
    let long = "\u{fb03}".repeat(240);
    created(&store, &pool, "one", &[("name", &format!("{long}1"))]).await;
    created(&store, &pool, "two", &[("name", &format!("{long}2"))]).await;
    created(&store, &pool, "quote", &[("name", r#"a "b" \"#)]).await;
    assert_eq!(names(&store, &ring, &pool, &format!("name = \"{long}1\"")).await, ["one"]);
    assert_eq!(names(&store, &ring, &pool, &format!("name ^= \"{long}2\"")).await, ["two"]);
    let mut both = names(&store, &ring, &pool, &format!("name ^= \"{long}\"")).await;
    both.sort();
    assert_eq!(both, ["one", "two"]);
    assert_eq!(names(&store, &ring, &pool, r#"name = "A \"B\" \\""#).await, ["quote"]);
    assert_eq!(names(&store, &ring, &pool, "username = \"One\"").await, Vec::<String>::new());
    assert_eq!(names(&store, &ring, &pool, "cognito:user_status = \"confirmed\"").await.len(), 3);
}

async fn a_page_token_is_of_one_list(engine: Engine) {
    let (store, ring) = (engine.open().await, ring());
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let other = add_pool(&store, "other", PoolSettings::default()).await;
    for name in ["a", "b", "c"] {
        created(&store, &pool, name, &[("name", name)]).await;
    }
    let list = async |pool, filter, token, at| {
        let query = UsersQuery { filter, page: PageRequest { limit: Some(1), token } };
        directory::list_users(&store, &ring, pool, query, at, &SystemEntropy).await
    };
    let token = list(&pool, "name ^= \"\"", None, now()).await.unwrap().token.unwrap();
    let soon = now().plus(Duration::from_secs(3599));
    assert_eq!(list(&pool, "name ^= \"\"", Some(&*token), soon).await.unwrap().entries[0].username, "b");
    let late = now().plus(Duration::from_secs(3600));
    for (pool, filter, at) in
        [(&pool, "", now()), (&other, "name ^= \"\"", now()), (&pool, "name ^= \"\"", late)]
    {
        assert_eq!(
            refusal(list(pool, filter, Some(&*token), at).await),
            ("InvalidParameterException", "Invalid pagination token.".into())
        );
    }
    let groups = directory::list_groups(
        &store,
        &ring,
        &pool,
        PageRequest { limit: None, token: Some(&token) },
        now(),
        &SystemEntropy,
    );
    assert!(groups.await.is_err());
}

async fn groups_have_members_and_quotas(engine: Engine) {
    let (store, ring) = (engine.open().await, ring());
    let quotas = Quotas { groups: 3, groups_of_user: 2 };
    let pool = &add_pool(&store, "pool", PoolSettings { quotas, ..PoolSettings::default() }).await;
    let (bob, ann) = (&created(&store, pool, "bob", &[]).await, &created(&store, pool, "ann", &[]).await);
    let add_group = async |name: &str| {
        let new = &NewGroup { name: name.into(), precedence: Some(0), ..NewGroup::default() };
        let create = store.checked_transaction(|tx| -> CheckedWork<'_, _, _> {
            Box::pin(async move { directory::create_group(tx, pool, new, now(), &SystemEntropy).await })
        });
        create.await
    };
    let join = async |name: &str, user: &User| {
        let join = store.checked_transaction(|tx| -> CheckedWork<'_, _, _> {
            Box::pin(
                async move { directory::add_to_group(tx, pool, name, user, now(), &SystemEntropy).await },
            )
        });
        join.await
    };
    for name in ["one", "two", "three"] {
        add_group(name).await.unwrap();
    }
    assert_eq!(
        refusal(add_group("one").await),
        ("GroupExistsException", "A group with the name already exists.".into())
    );
    assert_eq!(refusal(add_group("four").await).0, "LimitExceededException");
    assert_eq!(store.group(pool.no, "four").await.unwrap(), None, "a refusal leaves nothing");
    assert_eq!(refusal(add_group("a b").await).0, "InvalidParameterException");
    assert_eq!(refusal(join("no", bob).await), ("ResourceNotFoundException", "Group not found.".into()));
    for name in ["one", "two", "two"] {
        join(name, bob).await.unwrap();
    }
    assert_eq!(refusal(join("three", bob).await).0, "LimitExceededException");
    join("two", ann).await.unwrap();
    let members = async |name: &str| {
        let page = PageRequest::default();
        let members =
            directory::list_members(&store, &ring, pool, name, page, now(), &SystemEntropy).await.unwrap();
        members.entries.into_iter().map(|user| user.username).collect::<Vec<_>>()
    };
    let mut two = members("two").await;
    two.sort();
    assert_eq!(two, ["ann", "bob"]);
    let of_bob = directory::list_groups_of_user(
        &store,
        &ring,
        bob,
        PageRequest { limit: Some(1), token: None },
        now(),
        &SystemEntropy,
    )
    .await
    .unwrap();
    assert_eq!(of_bob.entries.len(), 1);
    let next = PageRequest { limit: Some(1), token: of_bob.token.as_deref() };
    let next = directory::list_groups_of_user(&store, &ring, bob, next, now(), &SystemEntropy).await.unwrap();
    assert!(next.token.is_none() && next.entries[0].no > of_bob.entries[0].no);
    let changes = &GroupChanges { description: Some("new".into()), ..GroupChanges::default() };
    let group = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        Box::pin(async move {
            directory::remove_from_group(tx, pool, "two", ann, &SystemEntropy).await?;
            directory::delete_group(tx, pool, "one", &SystemEntropy).await?;
            directory::update_group(tx, pool, "two", changes, now()).await
        })
    });
    let group = group.await.unwrap();
    assert_eq!((&*group.description, group.precedence), ("new", Some(0)), "what is absent stays");
    assert_eq!(store.group(pool.no, "two").await.unwrap(), Some(group));
    assert_eq!(members("two").await, ["bob"]);
    assert_eq!(store.counter(pool.no, Counter::Groups).await.unwrap(), 2);
    add_group("four").await.unwrap();
    delete(&store, bob).await;
    assert!(members("two").await.is_empty());
}

async fn nothing_is_left_of_a_deleted_user(engine: Engine) {
    let store = engine.open().await;
    let pool = &add_pool(&store, "pool", pool_settings(&[], ALIASES, false)).await;
    let address = "leaver@corp.example";
    let of = [("email", address), ("email_verified", "true"), ("name", "leaver-name")];
    let google = federated(&store, pool, "leaver-subject", &of).await;
    let local = created(&store, pool, "leaver-login", &of).await;
    for user in [&local, &google] {
        let family = &family(user);
        let work = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                begin_session(tx, user).await?;
                tx.add_refresh_family(family).await?;
                let password =
                    StoredPassword { hash: b"hash".to_vec().into(), set_at: now(), expires_at: None };
                tx.set_password(user.no, &password, 2, &SystemEntropy).await?;
                tx.set_password(user.no, &password, 2, &SystemEntropy).await?;
                tx.set_srp_verifier(user.no, b"verifier", &SystemEntropy).await?;
                let failures = PasswordFailures { failures: 1, last_failure_at: now(), locked_until: now() };
                tx.save_password_failures(user.no, failures).await?;
                let code = AccountCode { user_no: user.no, purpose: "attribute", target: address };
                tx.put_account_code(code, (&sha256("code"), address), now(), now()).await?;
                tx.get_or_insert_identity("eu:pool", &user.id, &uuid(&SystemEntropy), now()).await?;
                if tx.group(pool.no, "staff").await?.is_none() {
                    let new = NewGroup { name: "staff".into(), ..NewGroup::default() };
                    directory::create_group(tx, pool, &new, now(), &SystemEntropy).await?;
                }
                directory::add_to_group(tx, pool, "staff", user, now(), &SystemEntropy).await
            })
        });
        work.await.unwrap();
    }
    let needles = [address, &local.id, &google.id, "leaver-name", "leaver-login", "leaver-subject"];
    let before = everything(&engine).await;
    for needle in needles {
        assert!(occurrences(&before, needle) >= 2, "{needle} is nowhere: the search finds nothing");
    }
    for user in [&local, &google] {
        delete(&store, user).await;
    }
    // The feed, by which nodes forget the user, is kept for an hour of the database's own clock.
    let limits = SessionLimits {
        idle: Duration::from_secs(3600),
        absolute: Duration::from_secs(86400),
        persistent: true,
    };
    let later = store.time().await.unwrap().plus(Duration::from_secs(7200));
    store.purge(limits, later).await.unwrap();
    let after = everything(&engine).await;
    assert!(occurrences(&after, "staff") > 0);
    for needle in needles {
        assert_eq!(occurrences(&after, needle), 0, "{needle}");
    }
    let mut connection = engine.connect().await;
    let tables = [
        "sign_in_names",
        "user_keys",
        "group_members",
        "passwords",
        "password_history",
        "password_failures",
        "srp_verifiers",
        "account_codes",
        "refresh_families",
        "sessions",
        "users",
    ];
    for table in tables {
        let rows = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let rows: i64 = sqlx::query_scalar(rows).fetch_one(&mut connection).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    assert_eq!(store.counter(pool.no, Counter::Users).await.unwrap(), 0);
}

async fn a_deleted_pool_is_purged_in_batches(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let other = add_pool(&store, "other", PoolSettings::default()).await;
    for number in 0..250 {
        create(&store, &pool, &new_user(&format!("user{number}"), &[]), now()).await.unwrap();
    }
    created(&store, &other, "stays", &[]).await;
    let gone = &Pool { state: PoolState::Deleting, version: 2, ..pool.clone() };
    store.transaction(|tx| Box::pin(async move { tx.save_pool(gone).await })).await.unwrap();
    assert_eq!(
        create(&store, gone, &new_user("late", &[]), now()).await.unwrap_err().kind(),
        ErrorKind::PoolNotFound
    );
    assert!(directory::purge_pools(&store, 1, now(), &SystemEntropy).await.unwrap());
    assert_eq!(store.counter(pool.no, Counter::Users).await.unwrap(), 50);
    assert!(!directory::purge_pools(&store, 10, now(), &SystemEntropy).await.unwrap());
    assert_eq!(store.pool("pool").await.unwrap(), None);
    assert!(store.find_user(&other, "stays", Lookup::SignIn).await.unwrap().is_some());
}

/// A node of the version before writes rows without number, status and keys, and changes others.
async fn rows_of_an_older_node_are_indexed(engine: Engine) {
    let (store, ring) = (engine.open().await, ring());
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let known = federated(&store, &pool, "known", &[("email", "old@x.example")]).await;
    let mut connection = engine.connect().await;
    let insert = "INSERT INTO users (id, pool_id, username, enabled, attributes, provider_groups, version, created_at, \
                  updated_at) VALUES ('00000000-0000-4000-8000-000000000001', 'pool', 'corp~00000000_x', 1, \
                  '{\"email\":\"Old2@x.example\"}', '[]', 1, 1700000000000, 1700000000000)";
    sqlx::query(insert).execute(&mut connection).await.unwrap();
    let change = "UPDATE users SET attributes = '{\"email\":\"new@x.example\"}', version = version + 1 WHERE username = $1";
    sqlx::query(change).bind(&known.username).execute(&mut connection).await.unwrap();
    drop(connection);
    let named = async |name: &str| {
        let users = store.transaction(|tx| Box::pin(async move { tx.users_named(name).await }));
        users.await.unwrap().into_iter().map(|user| user.username).collect::<Vec<_>>()
    };
    assert_eq!(named("OLD2@x.example").await, ["corp~00000000_x"], "found before it is indexed");
    assert_eq!(names(&store, &ring, &pool, "email = \"new@x.example\"").await, Vec::<String>::new());
    assert_eq!(directory::index_users(&store, 10, now(), &SystemEntropy).await.unwrap(), 2);
    assert_eq!(directory::index_users(&store, 10, now(), &SystemEntropy).await.unwrap(), 0);
    assert_eq!(
        names(&store, &ring, &pool, "email = \"new@x.example\"").await,
        std::slice::from_ref(&known.username)
    );
    assert!(names(&store, &ring, &pool, "email = \"old@x.example\"").await.is_empty());
    assert_eq!(names(&store, &ring, &pool, "").await, ["corp~00000000_x".to_owned(), known.username.clone()]);
    assert_eq!(names(&store, &ring, &pool, "cognito:user_status = \"EXTERNAL_PROVIDER\"").await.len(), 2);
    assert_eq!(named("OLD2@x.example").await, ["corp~00000000_x"]);
    assert_eq!(named("new@x.example").await, std::slice::from_ref(&known.username));
    assert_eq!(named(&known.id).await, std::slice::from_ref(&known.username));
    assert_eq!(named(&known.username).await, std::slice::from_ref(&known.username));
    assert!(named("x@x.example").await.is_empty());
    assert_eq!(store.counter(pool.no, Counter::Users).await.unwrap(), 2);
    // The next change by a provider's sign-in keeps the keys current.
    federated(&store, &pool, "known", &[("email", "third@x.example")]).await;
    assert_eq!(named("third@x.example").await, [known.username]);
}

async fn two_connections_race_for_a_name_and_one_wins(engine: Engine) {
    let store = Arc::new(engine.open().await);
    let pool = Arc::new(add_pool(&store, "pool", pool_settings(&[], ALIASES, false)).await);
    for round in 0..10 {
        let (name, alias) = (format!("name{round}"), format!("a{round}@x.example"));
        let race = |username: String, alias: String| {
            let (store, pool) = (store.clone(), pool.clone());
            tokio::spawn(async move {
                let new = new_user(&username, &[("email", &alias), ("email_verified", "true")]);
                create(&store, &pool, &new, now()).await
            })
        };
        // The same name in another case, and the same alias.
        let (one, other) = tokio::join!(
            race(name.clone(), format!("x{alias}")),
            race(name.to_uppercase(), format!("y{alias}"))
        );
        let errors: Vec<_> = [one, other].into_iter().filter_map(|result| result.unwrap().err()).collect();
        assert_eq!(
            errors.iter().map(DirectoryError::exception).collect::<Vec<_>>(),
            ["UsernameExistsException"]
        );
        let (one, other) =
            tokio::join!(race(format!("one{round}"), alias.clone()), race(format!("two{round}"), alias));
        let errors: Vec<_> = [one, other].into_iter().filter_map(|result| result.unwrap().err()).collect();
        assert_eq!(
            errors.iter().map(DirectoryError::exception).collect::<Vec<_>>(),
            ["AliasExistsException"]
        );
    }
}

async fn passwords_and_codes_are_kept_as_the_rules_say(engine: Engine) {
    let store = engine.open().await;
    let set = async |text: &str, at: Timestamp, history| {
        let password = &StoredPassword {
            hash: text.as_bytes().to_vec().into(),
            set_at: at,
            expires_at: Some(at.plus(Duration::from_secs(9))),
        };
        store
            .transaction(|tx| {
                Box::pin(async move { tx.set_password(7, password, history, &SystemEntropy).await })
            })
            .await
            .unwrap();
    };
    for (second, text) in ["secret-one", "secret-two", "secret-three", "secret-four"].into_iter().enumerate()
    {
        set(text, now().plus(Duration::from_secs(second as u64)), 2).await;
    }
    let current = store.password(7).await.unwrap().unwrap();
    assert_eq!(
        (&current.hash[..], current.expires_at),
        (&b"secret-four"[..], Some(now().plus(Duration::from_secs(12))))
    );
    assert!(!format!("{current:?}").contains("secret"));
    let earlier = async || {
        store.transaction(|tx| Box::pin(async move { tx.password_history(7, 9).await })).await.unwrap()
    };
    assert_eq!(
        earlier().await.iter().map(|hash| hash.to_vec()).collect::<Vec<_>>(),
        [b"secret-three".to_vec(), b"secret-two".to_vec()]
    );
    assert_eq!(occurrences(&everything(&engine).await, "secret-"), 0, "hashes are sealed");
    set("secret-five", now().plus(Duration::from_secs(9)), 0).await;
    assert!(earlier().await.is_empty(), "without a history nothing is kept");
    assert!(store.password(8).await.unwrap().is_none());

    let code = AccountCode { user_no: 7, purpose: "sign_up", target: "email" };
    let put = async || {
        let expires_at = now().plus(Duration::from_secs(60));
        store
            .transaction(|tx| {
                Box::pin(async move {
                    tx.put_account_code(code, (&sha256("123456"), "a@b.example"), expires_at, now()).await
                })
            })
            .await
            .unwrap();
    };
    let check = async |code, text: &str, at| {
        let hash = &sha256(text);
        store
            .transaction(|tx| Box::pin(async move { tx.check_account_code(code, hash, 3, at).await }))
            .await
            .unwrap()
    };
    put().await;
    for other in [
        AccountCode { user_no: 8, ..code },
        AccountCode { purpose: "forgot", ..code },
        AccountCode { target: "phone_number", ..code },
    ] {
        assert_eq!(
            check(other, "123456", now()).await,
            CodeCheck::Absent,
            "a code is of its user, purpose and target"
        );
    }
    assert_eq!(check(code, "000000", now()).await, CodeCheck::Mismatch);
    for _ in 0..4 {
        let matched = check(code, "123456", now()).await;
        assert_eq!(matched, CodeCheck::Match("a@b.example".to_owned()), "a right one is no attempt");
    }
    let use_up = async |hash: [u8; 32]| {
        let hash = &hash;
        store.transaction(|tx| Box::pin(async move { tx.use_account_code(code, hash).await })).await.unwrap()
    };
    assert!(!use_up(sha256("000000")).await, "another code");
    assert!(use_up(sha256("123456")).await);
    assert!(!use_up(sha256("123456")).await);
    assert_eq!(check(code, "123456", now()).await, CodeCheck::Absent, "it is used up");
    put().await;
    for _ in 0..3 {
        assert_eq!(check(code, "000000", now()).await, CodeCheck::Mismatch);
    }
    assert_eq!(check(code, "123456", now()).await, CodeCheck::Expired, "three attempts");
    put().await;
    assert_eq!(check(code, "123456", now().plus(Duration::from_secs(60))).await, CodeCheck::Expired);
}

async fn a_refresh_family_is_rotated_once(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let user = created(&store, &pool, "bob", &[]).await;
    let family = &family(&user);
    store.transaction(|tx| Box::pin(async move { tx.add_refresh_family(family).await })).await.unwrap();
    let rotate = || {
        store.transaction(|tx| Box::pin(async move { tx.rotate_refresh_family(&family.id, 1, now()).await }))
    };
    let (one, other) = tokio::join!(rotate(), rotate());
    assert!(one.unwrap() ^ other.unwrap());
    let current = store.refresh_family(&family.id).await.unwrap().unwrap();
    assert_eq!(current, RefreshFamily { generation: 2, ..family.clone() });
    assert_eq!(store.refresh_families(user.no, 10).await.unwrap(), [current]);
}

async fn a_refused_operation_leaves_nothing(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "alias", pool_settings(&[], ALIASES, false)).await;
    created(&store, &pool, "one", &[("email", "a@x.example"), ("email_verified", "true")]).await;
    // The user name is claimed before the alias is refused.
    let refused = create(
        &store,
        &pool,
        &new_user("two", &[("email", "a@x.example"), ("email_verified", "true")]),
        now(),
    )
    .await;
    assert_eq!(refusal(refused).0, "AliasExistsException");
    created(&store, &pool, "two", &[]).await;
    assert_eq!(store.counter(pool.no, Counter::Users).await.unwrap(), 2);
}

/// Statements that read a partial index to its end: it has the rows of older nodes alone.
const WHOLE_INDEX: [(&str, &str); 2] = [("user_index", "UNINDEXED"), ("users", "UNINDEXED")];

async fn every_statement_uses_an_index(engine: Engine) {
    drop(engine.open().await);
    let mut connection = engine.connect().await;
    let mut read = 0;
    if !engine.is_sqlite() {
        // The tables are empty: without statistics, the planner would rather read and sort a few
        // pages.
        for statement in [
            "SET enable_seqscan = off",
            "SET enable_bitmapscan = off",
            "SET enable_hashjoin = off",
            "SET enable_mergejoin = off",
            "SET plan_cache_mode = force_generic_plan",
        ] {
            sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        }
    }
    let lookups = bulk_lookups().map(|sql| ("bulk", "LOOKUP", sql));
    for (file, name, sql) in statements_of_people().chain(lookups) {
        let plan = match engine.is_sqlite() {
            true => sqlite_plan(&mut connection, sql).await,
            false => postgres_plan(&mut connection, sql).await,
        };
        let whole_index = WHOLE_INDEX.contains(&(file, name));
        let wrong = match engine.is_sqlite() {
            true => plan.iter().any(|line| match line.starts_with("SCAN") {
                true => !(whole_index && line.contains("users_unindexed")),
                false => {
                    line.contains("AUTOMATIC")
                        || line.contains("TEMP B-TREE FOR ORDER") && name != "IDENTITIES"
                }
            }),
            false => {
                let text = plan.join("\n");
                let scans = text.matches("Scan").count() - text.matches("Bitmap Heap Scan").count();
                let conditions = text.matches("Index Cond").count();
                text.contains("Seq Scan")
                    || (scans > conditions && !(whole_index && text.contains("users_unindexed")))
            }
        };
        assert!(!wrong, "{file} {name}:\n{sql}\n{}", plan.join("\n"));
        read += 1;
    }
    assert!(read > 60, "{read} statements");
}

async fn sqlite_plan(connection: &mut sqlx::AnyConnection, sql: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = sqlx::raw_sql(explain).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect()
}

async fn postgres_plan(connection: &mut sqlx::AnyConnection, sql: &str) -> Vec<String> {
    let parameters = (1..100).take_while(|number| sql.contains(&format!("${number}"))).count();
    let nulls = vec!["NULL"; parameters].join(", ");
    let arguments = if parameters == 0 { String::new() } else { format!("({nulls})") };
    let prepare = AssertSqlSafe(format!("PREPARE p AS {sql}"));
    sqlx::raw_sql(prepare).execute(&mut *connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE p{arguments}"));
    let rows = sqlx::raw_sql(explain).fetch_all(&mut *connection).await.unwrap();
    sqlx::raw_sql("DEALLOCATE p").execute(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}
