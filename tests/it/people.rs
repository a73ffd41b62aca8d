//! Users of user pools, their names, aliases and attributes, on both engines. Time is a value, so
//! nothing waits.

use crate::support::engine::Engine;
use crate::support::users::{
    ADDRESSES, ALIASES, add_pool, create_confirmed_user, create_user, delete_user, new_user, now,
    pool_settings, refusal, set_status, update_attributes, upsert_federated_user,
};
use narthex::directory::{Actor, DirectoryError, NewUser, Origin, Takeover};
use narthex::model::{AppClientSettings, PoolSettings, Schema, SchemaAttribute, UserStatus};
use narthex::store::{Counter, Lookup};
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
    two_connections_race_for_a_name_and_one_wins
    a_refused_operation_leaves_nothing
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
        let first = create_confirmed_user(&store, pool, username, &verified).await;
        let second = create_confirmed_user(&store, pool, username2, &unverified).await;
        let pending = NewUser {
            status: UserStatus::Unconfirmed,
            ..new_user(
                if by_address { "p@x.example" } else { "pending" },
                &[("email", "p@x.example"), ("email_verified", "true"), ("preferred_username", "pp")],
            )
        };
        create_user(&store, pool, &pending, now()).await.unwrap();
        let google = upsert_federated_user(
            &store,
            pool,
            "Alice",
            &[("email", "g@x.example"), ("email_verified", "true")],
        )
        .await;
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
            let user = create_confirmed_user(&store, pool, one, &[]).await;
            let found = store.find_user(pool, other, Lookup::SignIn).await.unwrap();
            assert_eq!(found.is_some(), same, "{one} {other} {}", pool.id);
            let second = create_user(&store, pool, &new_user(other, &[]), now()).await;
            match same {
                true => assert_eq!(
                    refusal(second),
                    ("UsernameExistsException", "User account already exists".into())
                ),
                false => delete_user(&store, &second.unwrap()).await,
            }
            delete_user(&store, &user).await;
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
    let one = create_confirmed_user(&store, &pool, "one", &address).await;
    assert_eq!(
        refusal(create_user(&store, &pool, &new_user("two", &address), now()).await),
        ("AliasExistsException", "An account with the given email already exists.".into())
    );
    // `ForceAliasCreation`
    let forced = NewUser { takeover: Takeover::LastVerifier, ..new_user("two", &address) };
    let two = create_user(&store, &pool, &forced, now()).await.unwrap();
    assert_eq!(holder().await, Some("two".into()));
    let one = store.user(&one.id).await.unwrap().unwrap();
    assert_eq!((one.attributes.get("email_verified"), one.version), (Some("false"), 2));
    // The first verifies it again.
    update_attributes(&store, &pool, &one, &[("email_verified", "true")], Actor::Verification).await.unwrap();
    assert_eq!(holder().await, Some("one".into()));
    let two = store.user(&two.id).await.unwrap().unwrap();
    assert!(!two.email_verified());
    // An unconfirmed user claims nothing before the confirmation.
    let pending = NewUser { status: UserStatus::Unconfirmed, ..new_user("three", &address) };
    let three = create_user(&store, &pool, &pending, now()).await.unwrap();
    assert_eq!(holder().await, Some("one".into()));
    let refused = set_status(&store, &pool, &three, UserStatus::Confirmed, Takeover::Refuse).await;
    assert_eq!(refusal(refused).0, "AliasExistsException");
    set_status(&store, &pool, &three, UserStatus::Confirmed, Takeover::LastVerifier).await.unwrap();
    assert_eq!(holder().await, Some("three".into()));
    // A user who goes frees the alias.
    delete_user(&store, &store.user(&three.id).await.unwrap().unwrap()).await;
    assert_eq!(holder().await, None);
}

async fn a_name_is_never_taken_from_its_user(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "alias", pool_settings(&[], ALIASES, false)).await;
    let bob = create_confirmed_user(&store, &pool, "bob", &[]).await;
    let eve = create_confirmed_user(&store, &pool, "eve", &[]).await;
    for name in ["bob", "BOB", &bob.id, &bob.id.to_uppercase()] {
        let taken =
            update_attributes(&store, &pool, &eve, &[("preferred_username", name)], Actor::Administrator)
                .await;
        assert_eq!(refusal(taken).0, "AliasExistsException", "{name}");
        assert_eq!(
            refusal(create_user(&store, &pool, &new_user(name, &[]), now()).await).0,
            "UsernameExistsException"
        );
    }
    // A user name that is also the preferred one stays when the latter goes.
    let bob = update_attributes(&store, &pool, &bob, &[("preferred_username", "Bob")], Actor::User(&CLIENT))
        .await
        .unwrap();
    update_attributes(&store, &pool, &bob, &[("preferred_username", "")], Actor::User(&CLIENT))
        .await
        .unwrap();
    assert!(store.find_user(&pool, "bob", Lookup::SignIn).await.unwrap().is_some());
    for (name, words) in [
        ("a@x.example", "Username cannot be of email format, since user pool is configured for email alias."),
        (
            "+15550001",
            "Username cannot be of phone number format, since user pool is configured for phone number alias.",
        ),
        ("corp~0123abcd_alice", "Username is reserved for users of an identity provider."),
    ] {
        let refused = create_user(&store, &pool, &new_user(name, &[]), now()).await;
        assert_eq!(refusal(refused), ("InvalidParameterException", words.into()));
        let preferred =
            update_attributes(&store, &pool, &eve, &[("preferred_username", name)], Actor::User(&CLIENT))
                .await;
        assert_eq!(
            refusal(preferred),
            ("InvalidParameterException", words.into()),
            "a preferred one neither"
        );
    }
    for name in ["", "a b", "a\u{200b}", &"x".repeat(129)] {
        assert_eq!(
            refusal(create_user(&store, &pool, &new_user(name, &[]), now()).await).0,
            "InvalidParameterException"
        );
    }
    // In a pool of addresses, the address is the user name, also before its verification.
    let pool = add_pool(&store, "address", pool_settings(ADDRESSES, &[], false)).await;
    let one = create_confirmed_user(&store, &pool, "a@x.example", &[]).await;
    assert_eq!((one.email(), &one.username), (Some("a@x.example"), &one.id));
    let again = NewUser {
        takeover: Takeover::LastVerifier,
        ..new_user("A@X.example", &[("email_verified", "true")])
    };
    assert_eq!(
        refusal(create_user(&store, &pool, &again, now()).await),
        ("UsernameExistsException", "An account with the given email already exists.".into())
    );
    let two = create_confirmed_user(&store, &pool, "b@x.example", &[]).await;
    let moved = update_attributes(
        &store,
        &pool,
        &two,
        &[("email", "a@x.example"), ("email_verified", "true")],
        Actor::Administrator,
    );
    assert_eq!(refusal(moved.await).0, "AliasExistsException");
    assert_eq!(
        refusal(create_user(&store, &pool, &new_user("bob", &[]), now()).await).1,
        "Username should be either an email or a phone number."
    );
    let removed = update_attributes(&store, &pool, &two, &[("email", "")], Actor::Administrator).await;
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
        refusal(create_user(&store, &pool, &sign_up, now()).await).1,
        "Attributes did not conform to the schema: name: The attribute is required\n"
    );
    let flagged = NewUser {
        origin: Origin::SignUp,
        ..new_user("bob", &[("name", "B"), ("email", "b@x.example"), ("email_verified", "true")])
    };
    assert_eq!(refusal(create_user(&store, &pool, &flagged, now()).await).0, "NotAuthorizedException");
    let bob = create_confirmed_user(&store, &pool, "bob", &[("name", "B"), ("custom:fixed", "1")]).await;
    let change = async |of: &[(&str, &str)], actor| {
        update_attributes(&store, &pool, &store.user(&bob.id).await.unwrap().unwrap(), of, actor).await
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
    let user = create_confirmed_user(&store, &pool, "bob", &[]).await;
    let refused = set_status(&store, &pool, &user, UserStatus::Unconfirmed, Takeover::Refuse).await;
    assert_eq!(
        refusal(refused),
        ("NotAuthorizedException", "User cannot become UNCONFIRMED. Current status is CONFIRMED".into())
    );
    let user = set_status(&store, &pool, &user, UserStatus::ResetRequired, Takeover::Refuse).await.unwrap();
    assert_eq!(store.user(&user.id).await.unwrap().unwrap().status, UserStatus::ResetRequired);
    let google = upsert_federated_user(&store, &pool, "g", &[]).await;
    assert!(set_status(&store, &pool, &google, UserStatus::Confirmed, Takeover::Refuse).await.is_err());
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
                create_user(&store, &pool, &new, now()).await
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

async fn a_refused_operation_leaves_nothing(engine: Engine) {
    let store = engine.open().await;
    let pool = add_pool(&store, "alias", pool_settings(&[], ALIASES, false)).await;
    create_confirmed_user(&store, &pool, "one", &[("email", "a@x.example"), ("email_verified", "true")])
        .await;
    // The user name is claimed before the alias is refused.
    let refused = create_user(
        &store,
        &pool,
        &new_user("two", &[("email", "a@x.example"), ("email_verified", "true")]),
        now(),
    )
    .await;
    assert_eq!(refusal(refused).0, "AliasExistsException");
    create_confirmed_user(&store, &pool, "two", &[]).await;
    assert_eq!(store.counter(pool.no, Counter::Users).await.unwrap(), 2);
}
