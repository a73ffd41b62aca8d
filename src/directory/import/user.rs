//! A user of a file, checked by the rules of the pool.

use super::row::{Entry, ImportedUser};
use crate::base::{Entropy, Timestamp, sha256, uuid};
use crate::directory::create::{NewUser, Origin, new_local_user, typed_attribute};
use crate::directory::error::{DirectoryError, Outcome};
use crate::directory::names::{SUB_LENGTH, Takeover};
use crate::directory::new_password::temporary_end;
use crate::model::{
    Attributes, Identity, MAX_ATTRIBUTE_LENGTH, MAX_GROUP_NAME_LENGTH, MAX_GROUPS, MAX_NAME_LENGTH, Pool,
    Profile, ProviderLink, User, UserStatus, is_federated_name,
};
use crate::store::{BulkUser, StoredFactors, StoredPassword};
use std::collections::BTreeMap;

/// A time that the file does not state.
pub const NOT_STATED: Timestamp = Timestamp::from_millis(0);
/// Maximum bytes of an account's issuer, subject and provider, and of the name of its user.
const MAX_ACCOUNT_BYTES: usize = 2048;

/// What a row states of a user.
#[derive(Debug, Default)]
pub struct UserLine {
    pub username: String,
    pub sub: Option<String>,
    pub attributes: Attributes,
    pub status: Option<UserStatus>,
    pub enabled: Option<bool>,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
    pub groups: Vec<String>,
    pub provider_groups: Vec<String>,
    pub identities: Vec<(Identity, Option<Profile>)>,
    pub password: Option<StoredPassword>,
    pub factors: Option<StoredFactors>,
}

impl UserLine {
    /// Checks the user by every rule that needs no database.
    ///
    /// # Errors
    /// Returns `InvalidParameterException`.
    pub fn check(mut self, pool: &Pool, now: Timestamp, entropy: &dyn Entropy) -> Outcome<Entry> {
        let id = match self.sub.take() {
            Some(sub) if is_sub(&sub) => sub,
            Some(_) => return Err(DirectoryError::invalid("sub: must be a UUID in lower case.")),
            None => uuid(entropy),
        };
        let status = self.status();
        let created_at = self.created_at.unwrap_or(now);
        let mut user = match status {
            UserStatus::ExternalProvider => self.providers_user(pool, id)?,
            status => {
                let new = NewUser {
                    username: self.typed_name(pool),
                    attributes: std::mem::take(&mut self.attributes),
                    status,
                    origin: Origin::Administrator,
                    takeover: Takeover::Refuse,
                };
                new_local_user(pool, &new, id, created_at)?
            }
        };
        user.enabled = self.enabled.unwrap_or(true);
        (user.created_at, user.updated_at) = (created_at, self.updated_at.unwrap_or(created_at));
        check_provider_groups(&self.provider_groups)?;
        user.groups = std::mem::take(&mut self.provider_groups);
        add_accounts(&mut user, std::mem::take(&mut self.identities))?;
        let names = pool.sign_in_names(&user);
        let password = self.password.map(|password| match password.set_at {
            NOT_STATED => StoredPassword { set_at: now, ..password },
            _ => password,
        });
        // A temporary password ends.
        let password = password.map(|password| match user.status {
            UserStatus::ForceChangePassword if password.expires_at.is_none() => {
                let end = temporary_end(&pool.settings.password_policy, password.set_at);
                StoredPassword { expires_at: Some(end), ..password }
            }
            _ => password,
        });
        let mut groups = self.groups;
        groups.sort();
        groups.dedup();
        Ok(Entry::User(Box::new(ImportedUser {
            stored: BulkUser { user, names, password, factors: self.factors },
            groups,
        })))
    }

    /// Returns the status that the user gets. A user without a password must set one with a code,
    /// unless the status allows no sign-in.
    fn status(&self) -> UserStatus {
        use UserStatus::{Archived, Compromised, Confirmed, ExternalProvider, ResetRequired, Unconfirmed};
        match (self.status, &self.password) {
            (None, Some(_)) => Confirmed,
            (Some(status @ (Unconfirmed | ExternalProvider | Archived | Compromised)), None) => status,
            (_, None) => ResetRequired,
            (Some(status), Some(_)) => status,
        }
    }

    /// Returns the name that would be typed. A file of a pool with other names has the address of a
    /// pool with `username_attributes` among the attributes.
    fn typed_name(&mut self, pool: &Pool) -> String {
        let username = std::mem::take(&mut self.username);
        let allowed = &pool.settings.sign_in.username_attributes;
        if allowed.is_empty() || typed_attribute(allowed, &username).is_ok() {
            return username;
        }
        let address = allowed.iter().find_map(|attribute| self.attributes.get(attribute.name()));
        address.map_or(username, str::to_owned)
    }

    /// Returns a user of a provider. The provider's attributes need not fit the schema, as at a
    /// sign-in.
    fn providers_user(&mut self, pool: &Pool, id: String) -> Outcome<User> {
        if self.password.is_some() {
            return Err(DirectoryError::invalid("password: a user of a provider has none."));
        }
        if !self.identities.iter().any(|(identity, _)| is_named_after(&self.username, identity)) {
            return Err(DirectoryError::invalid(
                "username: the name of a provider's user is made of one of the identities.",
            ));
        }
        check_provider_attributes(&self.attributes)?;
        Ok(User {
            id,
            no: 0,
            pool_id: pool.id.clone(),
            username: std::mem::take(&mut self.username),
            enabled: true,
            status: UserStatus::ExternalProvider,
            attributes: std::mem::take(&mut self.attributes),
            groups: Vec::new(),
            identities: Vec::new(),
            links: Vec::new(),
            profiles: BTreeMap::new(),
            version: 1,
            created_at: NOT_STATED,
            updated_at: NOT_STATED,
        })
    }
}

/// Returns whether it is a UUID as this directory writes them.
fn is_sub(sub: &str) -> bool {
    let is_allowed = |(place, byte): (usize, u8)| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    sub.len() == SUB_LENGTH && sub.bytes().enumerate().all(is_allowed)
}

/// Returns whether `username` was made for this account. The provider may have another name since.
fn is_named_after(username: &str, identity: &Identity) -> bool {
    let [a, b, c, d, ..] = sha256(&identity.issuer);
    let end = format!("~{:08x}_{}", u32::from_be_bytes([a, b, c, d]), identity.subject);
    let provider = username.strip_suffix(&end);
    is_federated_name(username) && provider.is_some_and(|name| !name.is_empty() && !name.contains('~'))
}

/// Adds the provider accounts, of which each issuer and provider has one.
fn add_accounts(user: &mut User, accounts: Vec<(Identity, Option<Profile>)>) -> Outcome<()> {
    for (identity, profile) in accounts {
        let parts = [&identity.issuer, &identity.subject, &identity.provider, &user.username];
        if parts.iter().any(|part| part.is_empty() || part.len() > MAX_ACCOUNT_BYTES) {
            return Err(DirectoryError::invalid("identities: a text is empty or too long."));
        }
        let same = |other: &Identity| other.provider == identity.provider || other.issuer == identity.issuer;
        if user.stored_accounts().iter().any(same) {
            return Err(DirectoryError::invalid("identities: a user has one account of each provider."));
        }
        if let Some(link) = ProviderLink::from_identity(&identity) {
            user.links.push(link);
            continue;
        }
        if let Some(profile) = profile {
            check_provider_attributes(&profile.attributes)?;
            check_provider_groups(&profile.groups)?;
            user.profiles.insert(identity.provider.clone(), profile);
        }
        user.identities.push(identity);
    }
    Ok(())
}

fn check_provider_attributes(attributes: &Attributes) -> Outcome<()> {
    let is_long = |(name, value): (&str, &str)| {
        name.chars().count() > MAX_NAME_LENGTH || value.chars().count() > MAX_ATTRIBUTE_LENGTH
    };
    match attributes.iter().any(is_long) {
        true => Err(DirectoryError::invalid("attributes: a name or a value is too long.")),
        false => Ok(()),
    }
}

fn check_provider_groups(groups: &[String]) -> Outcome<()> {
    let is_long = |name: &String| name.chars().count() > MAX_GROUP_NAME_LENGTH;
    match groups.len() > MAX_GROUPS || groups.iter().any(is_long) {
        true => Err(DirectoryError::invalid("provider_groups: too many, or a name is too long.")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;
    use crate::directory::federated::username;
    use crate::model::{PoolSettings, SignInAttribute, SignInSettings};
    use zeroize::Zeroizing;

    fn check(line: UserLine, pool: &Pool) -> Result<ImportedUser, String> {
        match line.check(pool, Timestamp::from_seconds(1_800_000_000), &SystemEntropy) {
            Ok(Entry::User(user)) => Ok(*user),
            Ok(Entry::Group(_)) => panic!("it is a user"),
            Err(error) => Err(error.message().to_owned()),
        }
    }

    fn line(username: &str) -> UserLine {
        UserLine { username: username.to_owned(), ..UserLine::default() }
    }

    fn account() -> Identity {
        Identity { issuer: "https://idp".into(), subject: "7".into(), provider: "corp".into(), saml: false }
    }

    #[test]
    fn a_user_without_a_password_must_set_one_unless_the_status_allows_no_sign_in() {
        use UserStatus::*;
        let password = || StoredPassword {
            hash: Zeroizing::new(b"hash".to_vec()),
            set_at: NOT_STATED,
            expires_at: None,
        };
        for (stated, without, with) in [
            (None, ResetRequired, Confirmed),
            (Some(Confirmed), ResetRequired, Confirmed),
            (Some(ForceChangePassword), ResetRequired, ForceChangePassword),
            (Some(ResetRequired), ResetRequired, ResetRequired),
            (Some(Unconfirmed), Unconfirmed, Unconfirmed),
            (Some(Archived), Archived, Archived),
            (Some(Compromised), Compromised, Compromised),
        ] {
            let status = |password| UserLine { status: stated, password, ..line("ann") }.status();
            assert_eq!((status(None), status(Some(password()))), (without, with), "{stated:?}");
        }
    }

    #[test]
    fn a_providers_user_is_named_after_an_account_and_no_other_is() {
        let pool = Pool::default();
        let name = username(&account());
        let external = |name: &str, identities: Vec<Identity>| UserLine {
            status: Some(UserStatus::ExternalProvider),
            identities: identities.into_iter().map(|identity| (identity, None)).collect(),
            ..line(name)
        };
        assert!(check(external(&name, vec![account()]), &pool).is_ok());
        let renamed = Identity { provider: "new".into(), ..account() };
        assert!(check(external(&name, vec![renamed]), &pool).is_ok());
        let other = Identity { subject: "8".into(), ..account() };
        for line in [external(&name, vec![]), external("ann", vec![account()]), external(&name, vec![other])]
        {
            let words = "username: the name of a provider's user is made of one of the identities.";
            assert_eq!(check(line, &pool).err().as_deref(), Some(words));
        }
        let words = "Username is reserved for users of an identity provider.";
        assert_eq!(check(line(&name), &pool).err().as_deref(), Some(words));
        let twice = check(external(&name, vec![account(), account()]), &pool);
        assert_eq!(twice.err().as_deref(), Some("identities: a user has one account of each provider."));
    }

    #[test]
    fn a_sub_is_kept_and_has_the_form_of_ours() {
        let sub = "01234567-89ab-4def-8123-456789abcdef";
        let with = |sub: &str| UserLine { sub: Some(sub.to_owned()), ..line("ann") };
        assert_eq!(check(with(sub), &Pool::default()).unwrap().stored.user.id, sub);
        assert_eq!(check(line("ann"), &Pool::default()).unwrap().stored.user.id.len(), SUB_LENGTH);
        for wrong in ["", "ann", &sub.to_uppercase(), &sub.replace('-', "0"), &format!("{sub}0")] {
            let words = "sub: must be a UUID in lower case.";
            assert_eq!(check(with(wrong), &Pool::default()).err().as_deref(), Some(words), "{wrong}");
        }
    }

    #[test]
    fn in_a_pool_of_addresses_the_address_is_the_name() {
        let sign_in =
            SignInSettings { username_attributes: vec![SignInAttribute::Email], ..SignInSettings::default() };
        let settings = PoolSettings { sign_in, ..PoolSettings::default() };
        let pool = Pool { settings, ..Pool::default() };
        let with = |username: &str, email: &str| UserLine {
            attributes: [("email", email)].into_iter().collect(),
            ..line(username)
        };
        let user = check(with("ann", "ann@x.example"), &pool).unwrap().stored.user;
        assert_eq!((user.username, user.attributes.get("email")), (user.id, Some("ann@x.example")));
        assert!(check(with("ann@x.example", "ann@x.example"), &pool).is_ok());
        assert!(check(with("ann@x.example", "bob@x.example"), &pool).is_err());
        assert_eq!(check(line("ann"), &pool).err().as_deref(), Some("Username should be an email."));
    }
}
