//! Lists of users, their filters and pages, and groups with members, on both engines.

use crate::support::engine::{Engine, new_key_ring};
use crate::support::users::{
    add_pool, attributes, create_confirmed_user, create_user, delete_user, list_user_names, new_user, now,
    refusal,
};
use narthex::base::{Duration, SystemEntropy};
use narthex::directory::{self, DirectoryError, GroupChanges, NewGroup, PageRequest, UsersQuery};
use narthex::model::{PoolSettings, Quotas, User};
use narthex::store::{CheckedWork, Counter, Lookup};

on_both_engines! {
    users_are_listed_page_by_page_each_once
    filters_find_values_longer_than_a_key
    a_page_token_is_of_one_list
    groups_have_members_and_quotas
}

async fn users_are_listed_page_by_page_each_once(engine: Engine) {
    let (store, ring) = (engine.open().await, new_key_ring());
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let other = add_pool(&store, "other", PoolSettings::default()).await;
    create_confirmed_user(&store, &other, "not-here", &[("name", "Same")]).await;
    for number in 0..130 {
        let at = now().plus(Duration::from_millis(number));
        let given = format!("g{:03}", 999 - number);
        let new = new_user(&format!("user{number:03}"), &[("name", "Same"), ("given_name", &given)]);
        create_user(&store, &pool, &new, at).await.unwrap();
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
    let (store, ring) = (engine.open().await, new_key_ring());
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    // Folding makes three bytes of each.
    let long = "\u{fb03}".repeat(240);
    create_confirmed_user(&store, &pool, "one", &[("name", &format!("{long}1"))]).await;
    create_confirmed_user(&store, &pool, "two", &[("name", &format!("{long}2"))]).await;
    create_confirmed_user(&store, &pool, "quote", &[("name", r#"a "b" \"#)]).await;
    assert_eq!(list_user_names(&store, &ring, &pool, &format!("name = \"{long}1\"")).await, ["one"]);
    assert_eq!(list_user_names(&store, &ring, &pool, &format!("name ^= \"{long}2\"")).await, ["two"]);
    let mut both = list_user_names(&store, &ring, &pool, &format!("name ^= \"{long}\"")).await;
    both.sort();
    assert_eq!(both, ["one", "two"]);
    assert_eq!(list_user_names(&store, &ring, &pool, r#"name = "A \"B\" \\""#).await, ["quote"]);
    assert_eq!(list_user_names(&store, &ring, &pool, "username = \"One\"").await, Vec::<String>::new());
    assert_eq!(list_user_names(&store, &ring, &pool, "cognito:user_status = \"confirmed\"").await.len(), 3);
}

async fn a_page_token_is_of_one_list(engine: Engine) {
    let (store, ring) = (engine.open().await, new_key_ring());
    let pool = add_pool(&store, "pool", PoolSettings::default()).await;
    let other = add_pool(&store, "other", PoolSettings::default()).await;
    for name in ["a", "b", "c"] {
        create_confirmed_user(&store, &pool, name, &[("name", name)]).await;
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
    let (store, ring) = (engine.open().await, new_key_ring());
    let quotas = Quotas { groups: 3, groups_of_user: 2 };
    let pool = &add_pool(&store, "pool", PoolSettings { quotas, ..PoolSettings::default() }).await;
    let (bob, ann) = (
        &create_confirmed_user(&store, pool, "bob", &[]).await,
        &create_confirmed_user(&store, pool, "ann", &[]).await,
    );
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
    delete_user(&store, bob).await;
    assert!(members("two").await.is_empty());
}
