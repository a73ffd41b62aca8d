//! Users of user pools, as the directory makes them. Time is a value.

use narthex::base::{Entropy as _, KeyRing, SystemEntropy, Timestamp};
use narthex::directory::{
    self, Actor, DirectoryError, FederatedAccount, NewUser, Origin, Takeover, UsersQuery,
};
use narthex::model::{
    Attributes, Identity, Pool, PoolSettings, PoolSource, SignInAttribute, SignInSettings, User, UserStatus,
};
use narthex::store::{CheckedWork, Store};

/// Returns the time of all operations.
pub fn now() -> Timestamp {
    Timestamp::from_seconds(1_800_000_000)
}

/// Returns pool settings with these sign-in attributes.
pub fn pool_settings(
    username: &[SignInAttribute],
    alias: &[SignInAttribute],
    case_sensitive: bool,
) -> PoolSettings {
    PoolSettings {
        sign_in: SignInSettings {
            username_attributes: username.to_vec(),
            alias_attributes: alias.to_vec(),
            case_sensitive,
        },
        ..PoolSettings::default()
    }
}

pub const ALIASES: &[SignInAttribute] =
    &[SignInAttribute::Email, SignInAttribute::PhoneNumber, SignInAttribute::PreferredUsername];
pub const ADDRESSES: &[SignInAttribute] = &[SignInAttribute::Email, SignInAttribute::PhoneNumber];

/// Adds a pool with these settings.
pub async fn add_pool(store: &Store, id: &str, settings: PoolSettings) -> Pool {
    let mut random = [0; 4];
    SystemEntropy.fill(&mut random);
    let pool = Pool {
        no: i64::from(u32::from_be_bytes(random)) + 1,
        id: id.to_owned(),
        source: PoolSource::Api,
        settings,
        created_at: now(),
        updated_at: now(),
        ..Pool::default()
    };
    let added = &pool;
    assert!(store.transaction(|tx| Box::pin(async move { tx.add_pool(added).await })).await.unwrap());
    assert_eq!(store.pool(id).await.unwrap().as_ref(), Some(added));
    pool
}

/// Returns these attributes.
pub fn attributes(of: &[(&str, &str)]) -> Attributes {
    of.iter().copied().collect()
}

/// Returns a confirmed user to create, with these attributes.
pub fn new_user(username: &str, of: &[(&str, &str)]) -> NewUser {
    NewUser {
        username: username.to_owned(),
        attributes: attributes(of),
        status: UserStatus::Confirmed,
        origin: Origin::Administrator,
        takeover: Takeover::Refuse,
    }
}

/// Creates a user.
pub async fn create_user(
    store: &Store,
    pool: &Pool,
    new: &NewUser,
    at: Timestamp,
) -> Result<User, DirectoryError> {
    store
        .checked_transaction(|tx| -> CheckedWork<'_, User, _> {
            Box::pin(async move { directory::create_user(tx, pool, new, at, &SystemEntropy).await })
        })
        .await
}

/// Creates a confirmed user with these attributes.
pub async fn create_confirmed_user(store: &Store, pool: &Pool, username: &str, of: &[(&str, &str)]) -> User {
    create_user(store, pool, &new_user(username, of), now()).await.unwrap()
}

/// Changes attributes of a user.
pub async fn update_attributes(
    store: &Store,
    pool: &Pool,
    user: &User,
    changes: &[(&str, &str)],
    actor: Actor<'_>,
) -> Result<User, DirectoryError> {
    let changes = &attributes(changes);
    let update = store.checked_transaction(|tx| -> CheckedWork<'_, _, _> {
        Box::pin(async move {
            directory::update_attributes(tx, pool, user, changes, actor, now(), &SystemEntropy).await
        })
    });
    update.await.map(|update| update.user)
}

/// Deletes a user.
pub async fn delete_user(store: &Store, user: &User) {
    let delete = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        Box::pin(async move { directory::delete_user(tx, user, now(), &SystemEntropy).await })
    });
    delete.await.unwrap();
}

/// Sets the status of a user.
pub async fn set_status(
    store: &Store,
    pool: &Pool,
    user: &User,
    next: UserStatus,
    takeover: Takeover,
) -> Result<User, DirectoryError> {
    let change = store.checked_transaction(|tx| -> CheckedWork<'_, _, _> {
        Box::pin(
            async move { directory::set_status(tx, pool, user, next, takeover, now(), &SystemEntropy).await },
        )
    });
    change.await
}

/// Creates or updates the user of a provider's account.
pub async fn upsert_federated_user(store: &Store, pool: &Pool, subject: &str, of: &[(&str, &str)]) -> User {
    let account = &FederatedAccount {
        identity: Identity {
            issuer: "https://idp".into(),
            subject: subject.into(),
            provider: "corp".into(),
            saml: false,
        },
        attributes: attributes(of),
        groups: vec![],
        unverified: vec![],
        first_login_attributes: &[],
    };
    let upsert = store.transaction(|tx| {
        Box::pin(async move { directory::upsert(tx, &pool.id, account, now(), &SystemEntropy).await })
    });
    upsert.await.unwrap()
}

/// Returns the exception and the message of a refused operation.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, DirectoryError>) -> (&'static str, String) {
    let error = result.unwrap_err();
    (error.exception(), error.message().to_owned())
}

/// Returns the names of the users that `filter` finds.
pub async fn list_user_names(store: &Store, ring: &KeyRing, pool: &Pool, filter: &str) -> Vec<String> {
    let query = UsersQuery { filter, ..UsersQuery::default() };
    let page = directory::list_users(store, ring, pool, query, now(), &SystemEntropy).await.unwrap();
    page.entries.into_iter().map(|user| user.username).collect()
}
