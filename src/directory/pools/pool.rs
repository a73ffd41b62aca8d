//! User pools: creation, changes, deletion, lists.

use super::attributes::check_declared;
use super::check::{check_name, duplicate};
use super::file::forget_file_pool;
use super::tags::check_tags;
use super::{check_writable, live_pool, no_pool, publish};
use crate::base::{Entropy, KeyRing, Timestamp, pool_id, time_ordered_number};
use crate::config::PoolTriggers;
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::page_token::{Page, PageRequest, Tokens};
use crate::model::{
    DeviceSettings, Factor, FirstFactor, Members, MfaMode, MfaSettings, PasswordPolicy, Pool, PoolSettings,
    PoolSource, PoolState, Recovery, SignInAttribute, SignInSettings,
};
use crate::store::{Store, Tx};
use std::collections::BTreeMap;

/// Maximum characters of a pool's name.
const MAX_POOL_NAME: usize = 128;
/// How often another id is tried: an id has 53 random bits.
const MAX_ATTEMPTS: u32 = 3;

/// Changes of a pool; what is absent stays. The sign-in settings and the attributes of a pool never
/// change after its creation, and have no place here.
#[derive(Clone, Debug, Default)]
pub struct PoolChanges {
    /// The name.
    pub name: Option<String>,
    /// The rules for new passwords.
    pub password_policy: Option<PasswordPolicy>,
    /// Whether only administrators create users.
    pub only_administrators_create: Option<bool>,
    /// The addresses to which a code is sent at sign-up.
    pub auto_verified: Option<Vec<SignInAttribute>>,
    /// The addresses whose earlier value stays until the new one is verified.
    pub verify_before_update: Option<Vec<SignInAttribute>>,
    /// Where the code for a forgotten password is sent.
    pub recovery: Option<Recovery>,
    /// The first factors.
    pub first_factors: Option<Vec<FirstFactor>>,
    /// Who signs in with a second factor. A pool without factors gets software tokens.
    pub mfa_mode: Option<MfaMode>,
    /// The second factors.
    pub mfa: Option<MfaChange>,
    /// The remembered devices.
    pub devices: Option<DeviceSettings>,
    /// Whether the pool cannot be deleted.
    pub deletion_protection: Option<bool>,
    /// The tags.
    pub tags: Option<BTreeMap<String, String>>,
    /// The functions that are called at events.
    pub triggers: Option<PoolTriggers>,
    /// What Cognito's API keeps with the pool, but for members that are fixed at its creation.
    pub kept: Option<Members>,
}

/// A change of a pool's second factors (`SetUserPoolMfaConfig`), which replaces all of them.
#[derive(Clone, Debug, Default)]
pub struct MfaChange {
    /// Who signs in with one; `None` leaves that as it is.
    pub mode: Option<MfaMode>,
    /// The factors.
    pub factors: Vec<Factor>,
    /// The texts of messages: `EmailMfaConfiguration` and `SmsMfaConfiguration`.
    pub texts: Members,
}

/// The members of Cognito's API among the kept ones that `UpdateUserPool` does not affect.
const FIXED_MEMBERS: [&str; 3] = ["UsernameConfiguration", EMAIL_MFA, SMS_MFA];
/// The texts of e-mails with codes of second factors.
pub const EMAIL_MFA: &str = "EmailMfaConfiguration";
/// The texts of text messages with such codes.
pub const SMS_MFA: &str = "SmsMfaConfiguration";

impl PoolChanges {
    /// Returns the changes by which a pool gets the settings of `new`. The rules for addresses that
    /// are verified before an update stay where `verify_before_update` is absent, and so does the
    /// second factor: a request about something else must not turn it off.
    pub fn replacing(
        new: PoolSettings,
        verify_before_update: Option<Vec<SignInAttribute>>,
        mfa_mode: Option<MfaMode>,
    ) -> Self {
        Self {
            // A pool has a name.
            name: Some(new.name).filter(|name| !name.is_empty()),
            password_policy: Some(new.password_policy),
            only_administrators_create: Some(new.only_administrators_create),
            auto_verified: Some(new.auto_verified),
            verify_before_update,
            recovery: Some(new.recovery),
            first_factors: Some(new.first_factors),
            mfa_mode,
            mfa: None,
            devices: Some(new.devices),
            deletion_protection: Some(new.deletion_protection),
            tags: Some(new.tags),
            triggers: Some(new.triggers),
            kept: Some(new.kept),
        }
    }
}

/// Creates a pool in a region.
///
/// # Errors
/// Returns `InvalidParameterException` for settings that are not valid.
pub async fn create_pool(
    tx: &mut Tx<'_>,
    region: &str,
    settings: &PoolSettings,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Pool> {
    check_settings(settings)?;
    for _ in 0..MAX_ATTEMPTS {
        let pool = Pool {
            no: time_ordered_number(now, entropy),
            id: pool_id(region, entropy),
            source: PoolSource::Api,
            settings: settings.clone(),
            created_at: now,
            updated_at: now,
            ..Pool::default()
        };
        if tx.add_pool(&pool).await? {
            // Another node may have looked this id up before.
            publish(tx, &pool, entropy).await?;
            return Ok(pool);
        }
    }
    Err(ErrorKind::TooManyRequests.into())
}

/// Changes a pool.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such pool, `InvalidParameterException` for
/// settings that are not valid.
pub async fn update_pool(
    tx: &mut Tx<'_>,
    id: &str,
    changes: &PoolChanges,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Pool> {
    let mut pool = live_pool(tx, id).await?;
    check_writable(pool.source, "user pool", id)?;
    let settings = &mut pool.settings;
    let mut changes = changes.clone();
    if let Some(kept) = &mut changes.kept {
        let fixed = FIXED_MEMBERS.iter().filter_map(|name| settings.kept.remove_entry(*name));
        FIXED_MEMBERS.iter().for_each(|name| drop(kept.remove(*name)));
        kept.extend(fixed);
    }
    // Cognito has no such rule: a request that replaces the policy does not mean it.
    if let Some(policy) = &mut changes.password_policy {
        policy.refuse_common = settings.password_policy.refuse_common;
    }
    macro_rules! apply {
        ($($field:ident)*) => { $(if let Some(value) = changes.$field { settings.$field = value; })* };
    }
    apply! { name password_policy only_administrators_create auto_verified verify_before_update recovery }
    apply! { first_factors devices deletion_protection tags triggers kept }
    if let Some(mode) = changes.mfa_mode {
        settings.mfa = with_mode(&settings.mfa, mode);
    }
    if let Some(change) = changes.mfa {
        let mode = change.mode.unwrap_or(settings.mfa.mode);
        settings.mfa = MfaSettings { mode, factors: change.factors };
        [EMAIL_MFA, SMS_MFA].iter().for_each(|name| drop(settings.kept.remove(*name)));
        settings.kept.extend(change.texts);
    }
    check_settings(settings)?;
    pool.version += 1;
    pool.updated_at = now;
    tx.save_pool(&pool).await?;
    publish(tx, &pool, entropy).await?;
    Ok(pool)
}

/// Returns second factors with another mode. One without factors gets software tokens, which need
/// no further settings; a pool without second factors lists none.
pub fn with_mode(of: &MfaSettings, mode: MfaMode) -> MfaSettings {
    let factors = match mode {
        MfaMode::Off => Vec::new(),
        _ if of.factors.is_empty() => vec![Factor::SoftwareToken],
        _ => of.factors.clone(),
    };
    MfaSettings { mode, factors }
}

/// Checks that a mode with second factors has some, and the other one has none.
fn check_mfa(of: &MfaSettings) -> Outcome<()> {
    match (of.mode, of.factors.is_empty()) {
        (MfaMode::Off, false) => Err(DirectoryError::invalid(
            "Invalid MFA configuration given, can't turn off MFA and configure an MFA together.",
        )),
        (MfaMode::Optional | MfaMode::Required, true) => {
            Err(DirectoryError::invalid("At least one MFA method must be configured."))
        }
        _ => Ok(()),
    }
}

/// Deletes a pool. It is gone at once, with its app clients and domains; its users and the rest are
/// removed in batches by [`crate::directory::purge_pools`].
///
/// # Errors
/// Returns `InvalidParameterException` for a pool with deletion protection,
/// `ResourceNotFoundException` if there is no such pool.
pub async fn delete_pool(tx: &mut Tx<'_>, id: &str, now: Timestamp, entropy: &dyn Entropy) -> Outcome<()> {
    let mut pool = live_pool(tx, id).await?;
    check_writable(pool.source, "user pool", id)?;
    if pool.settings.deletion_protection {
        return Err(DirectoryError::invalid(
            "The user pool cannot be deleted because deletion protection is activated. Deletion protection must be \
             inactivated first.",
        ));
    }
    pool.state = PoolState::Deleting;
    pool.version += 1;
    pool.updated_at = now;
    tx.save_pool(&pool).await?;
    tx.remove_pool_domains(pool.no).await?;
    tx.remove_ui_customizations(pool.no).await?;
    tx.remove_app_clients(pool.no).await?;
    forget_file_pool(tx, id).await?;
    publish(tx, &pool, entropy).await
}

/// Returns the pool with this id, if it is in use.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such pool.
pub async fn find_pool(store: &Store, id: &str) -> Outcome<Pool> {
    let pool = store.pool(id).await?.filter(|pool| pool.state == PoolState::Live);
    pool.ok_or_else(|| no_pool(id))
}

/// Returns a page of the pools whose ids begin with `id_prefix`, in the order of creation.
///
/// # Errors
/// Returns `InvalidParameterException` for a page that is not valid.
pub async fn list_pools(
    (store, ring): (&Store, &KeyRing),
    id_prefix: &str,
    page: PageRequest<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Page<Pool>> {
    let tokens = Tokens { ring, list: "pools", now };
    let (limit, mut after) = (page.limit()?, page.number(tokens)?);
    let (wanted, mut listed) = (limit as usize + 1, Vec::new());
    loop {
        let pools = store.live_pools(after, limit + 1).await?;
        let is_last = pools.len() < wanted;
        after = pools.last().map_or(after, |pool| pool.no);
        listed.extend(pools.into_iter().filter(|pool| pool.id.starts_with(id_prefix)));
        if is_last || listed.len() >= wanted {
            break;
        }
    }
    listed.truncate(wanted);
    Ok(tokens.page(listed, limit, |pool| pool.no, entropy))
}

/// Checks the settings of a pool.
///
/// # Errors
/// Returns `InvalidParameterException`.
fn check_settings(settings: &PoolSettings) -> Outcome<()> {
    check_name("poolName", &settings.name, MAX_POOL_NAME)?;
    settings.password_policy.validate().map_err(|error| DirectoryError::invalid(error.to_string()))?;
    check_declared(settings.schema.declared())?;
    check_sign_in(&settings.sign_in)?;
    check_tags(&settings.tags)?;
    check_mfa(&settings.mfa)?;
    if settings.first_factors.is_empty() {
        return Err(DirectoryError::invalid("At least one first authentication factor must be allowed."));
    }
    for (what, attributes) in [
        ("auto verified attributes", &settings.auto_verified),
        ("attributes that require verification before update", &settings.verify_before_update),
    ] {
        if !are_addresses(attributes) {
            return Err(DirectoryError::invalid(format!("Invalid {what} specified for a user pool.")));
        }
    }
    match &settings.recovery {
        Recovery::Addresses(addresses) if addresses.is_empty() || !are_addresses(addresses) => {
            Err(DirectoryError::invalid(
                "The account recovery setting needs verified_email, verified_phone_number or both, or admin_only alone.",
            ))
        }
        _ => Ok(()),
    }
}

fn check_sign_in(sign_in: &SignInSettings) -> Outcome<()> {
    let SignInSettings { username_attributes, alias_attributes, .. } = sign_in;
    if !username_attributes.is_empty() && !alias_attributes.is_empty() {
        return Err(DirectoryError::invalid(
            "Only one of the aliasAttributes or usernameAttributes can be set in a user pool.",
        ));
    }
    if !are_addresses(username_attributes) {
        return Err(DirectoryError::invalid(
            "Invalid username attributes specified while creating a user pool",
        ));
    }
    match duplicate(alias_attributes) {
        Some(_) => {
            Err(DirectoryError::invalid("Invalid alias attributes specified while creating a user pool"))
        }
        None => Ok(()),
    }
}

/// Returns whether these are distinct addresses.
fn are_addresses(attributes: &[SignInAttribute]) -> bool {
    duplicate(attributes).is_none() && attributes.iter().all(|attribute| attribute.verified_name().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked() {
        use SignInAttribute::{Email, PhoneNumber, PreferredUsername};
        let good = PoolSettings { name: "people".to_owned(), ..PoolSettings::default() };
        assert!(check_settings(&good).is_ok());
        let sign_in = |username: &[SignInAttribute], alias: &[SignInAttribute]| PoolSettings {
            sign_in: SignInSettings {
                username_attributes: username.to_vec(),
                alias_attributes: alias.to_vec(),
                case_sensitive: false,
            },
            ..good.clone()
        };
        assert!(check_settings(&sign_in(&[Email, PhoneNumber], &[])).is_ok());
        assert!(check_settings(&sign_in(&[], &[Email, PreferredUsername])).is_ok());
        let wrong_policy = PasswordPolicy { minimum_length: 5, ..PasswordPolicy::default() };
        for (what, settings) in [
            ("name", PoolSettings { name: "a/b".to_owned(), ..good.clone() }),
            ("policy", PoolSettings { password_policy: wrong_policy, ..good.clone() }),
            ("both", sign_in(&[Email], &[PhoneNumber])),
            ("twice", sign_in(&[Email, Email], &[])),
            ("preferred", sign_in(&[PreferredUsername], &[])),
            ("alias twice", sign_in(&[], &[Email, Email])),
            ("auto", PoolSettings { auto_verified: vec![PreferredUsername], ..good.clone() }),
            ("update", PoolSettings { verify_before_update: vec![Email, Email], ..good.clone() }),
            ("tag", PoolSettings { tags: [("aws:a".to_owned(), String::new())].into(), ..good.clone() }),
            ("recovery", PoolSettings { recovery: Recovery::Addresses(vec![]), ..good.clone() }),
        ] {
            assert_eq!(
                check_settings(&settings).unwrap_err().exception(),
                "InvalidParameterException",
                "{what}"
            );
        }
    }
}
