//! The attributes of a signed-in user: changes, and the verification of addresses.
//!
//! A new address waits until its code is entered where the pool says so, or where the address is
//! the name by which the user signs in: a mistyped one must not keep the user out.

use super::code_delivery::{Addressee, CodeDelivery, Prepared, Recipient, Requester};
use super::{AccountService, audit, current};
use crate::base::Secret;
use crate::config::MessageEvent;
use crate::directory::account_code::{CodePurpose, RightCode};
use crate::directory::attributes::{
    Actor, check_new_values, check_writable, delete_attributes, update_attributes,
};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::events::MessageSource;
use crate::directory::lifecycle::delete_user;
use crate::directory::sender::Sender;
use crate::model::{Attributes, Pool, SignInAttribute, User};
use crate::store::{CheckedWork, Tx};
use crate::trigger::{ClientData, Subject};

/// The attributes that are addresses.
const ADDRESSES: [SignInAttribute; 2] = [SignInAttribute::Email, SignInAttribute::PhoneNumber];

impl AccountService {
    /// Changes attributes. Returns where codes were sent that verify new addresses.
    ///
    /// # Errors
    /// Returns the errors of a change of attributes and of a message; then nothing has changed.
    pub async fn update_own_attributes(
        &self,
        sender: Sender<'_>,
        user: &User,
        changes: &Attributes,
    ) -> Outcome<(User, Vec<CodeDelivery>)> {
        let actor = Actor::User(&sender.client.settings);
        let (of, by) = ((sender.subject(&user.username), user), (actor, Requester::of(&sender)));
        let (user, deliveries) = self.change_attributes(of, changes, by, sender.data).await?;
        audit("attributes_updated", &user, Some(&sender.client.id));
        Ok((user, deliveries))
    }

    /// Changes attributes on behalf of `actor`. An address waits for its code unless the actor
    /// states whether it is verified.
    ///
    /// # Errors
    /// Returns the errors of a change of attributes and of a message; then nothing has changed.
    pub(super) async fn change_attributes(
        &self,
        (subject, user): (Subject<'_>, &User),
        changes: &Attributes,
        (actor, requester): (Actor<'_>, Requester<'_>),
        data: ClientData<'_>,
    ) -> Outcome<(User, Vec<CodeDelivery>)> {
        let (pool, entropy, now) = (subject.pool, &*self.entropy, self.clock.now());
        check_writable(changes, actor)?;
        check_new_values(pool, user, changes)?;
        let (at_once, waiting) = split(pool, user, changes);
        let mut messages = Vec::new();
        for to in unverified(pool, user, changes) {
            let mut message = self.attribute_message(to);
            let of = (subject, MessageSource::UpdateUserAttribute);
            self.customize(&mut message, of, user, data).await?;
            messages.push(message);
        }
        let (at_once, waiting, messages) = (&at_once, &waiting, &messages);
        let changed = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            let no = user.no;
            Box::pin(async move {
                let mut user = match actor {
                    Actor::User(_) => signed_in(tx, no).await?,
                    Actor::Administrator | Actor::Verification => current(tx, no).await?,
                };
                for to in waiting {
                    let name = pool.stored_name(&to.address);
                    let holder = tx.holder_of_name(pool.no, &name).await?;
                    if holder.is_some_and(|holder| holder.user_no != no) && is_username(pool, to.attribute) {
                        return Err(taken(to.attribute));
                    }
                }
                user = update_attributes(tx, pool, &user, at_once, actor, now, entropy).await?.user;
                let mut deliveries = Vec::new();
                for message in messages {
                    let to = Addressee { account_no: no, user: Some(&user), name: "" };
                    let purpose = CodePurpose::Attribute(message.attribute().name());
                    let request = (message, requester);
                    deliveries.push(self.send_code(tx, (pool, to), purpose, request, now).await?);
                }
                Ok((user, deliveries))
            })
        });
        changed.await
    }

    /// Removes attributes.
    ///
    /// # Errors
    /// Returns the errors of [`delete_attributes`].
    pub async fn delete_own_attributes(
        &self,
        sender: Sender<'_>,
        user: &User,
        names: &[&str],
    ) -> Outcome<User> {
        let (pool, entropy, now) = (sender.pool, &*self.entropy, self.clock.now());
        let actor = Actor::User(&sender.client.settings);
        let removed = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            let no = user.no;
            Box::pin(async move {
                let user = signed_in(tx, no).await?;
                delete_attributes(tx, pool, &user, names, actor, now, entropy).await
            })
        });
        let user = removed.await?;
        audit("attributes_deleted", &user, Some(&sender.client.id));
        Ok(user)
    }

    /// Deletes the account of a user, with everything that is stored of the user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn delete_own_account(&self, sender: Sender<'_>, user: &User) -> Outcome<()> {
        let (entropy, now) = (&*self.entropy, self.clock.now());
        let deleted = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            let no = user.no;
            Box::pin(async move {
                let user = signed_in(tx, no).await?;
                delete_user(tx, &user, now, entropy).await
            })
        });
        deleted.await?;
        audit("user_deleted", user, Some(&sender.client.id));
        Ok(())
    }

    /// Sends a code that verifies an address: the new one that waits, or else the current one.
    ///
    /// # Errors
    /// Returns `InvalidParameterException` for another attribute, or one without a value.
    pub async fn send_attribute_code(
        &self,
        sender: Sender<'_>,
        user: &User,
        attribute: SignInAttribute,
    ) -> Outcome<CodeDelivery> {
        let (pool, now) = (sender.pool, self.clock.now());
        let purpose = purpose(attribute)?;
        let (waiting, account) = (purpose.of(user.no), user.no);
        let waiting =
            self.store.transaction(|tx| Box::pin(async move { tx.account_code_address(waiting).await }));
        let waiting = waiting.await?.filter(|address| !address.is_empty());
        let current = || user.attributes.get(attribute.name()).map(str::to_owned);
        let address = waiting
            .or_else(current)
            .ok_or_else(|| DirectoryError::invalid(format!("User does not have {}.", attribute.name())))?;
        let mut message = self.attribute_message(Recipient { attribute, address });
        let of = (sender.subject(&user.username), MessageSource::VerifyUserAttribute);
        self.customize(&mut message, of, user, sender.data).await?;
        let message = &message;
        let requester = Requester::of(&sender);
        let sent = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let user = signed_in(tx, account).await?;
                let to = Addressee { account_no: account, user: Some(&user), name: "" };
                self.send_code(tx, (pool, to), purpose, (message, requester), now).await
            })
        });
        sent.await
    }

    /// Sends a code to a new address, which takes the place of the current one when the code is
    /// entered. Until then nothing changes, whatever the pool does with other changes.
    ///
    /// # Errors
    /// Returns `InvalidParameterException` for an address that is not valid or not mutable, and the
    /// errors of a message.
    pub async fn begin_address_change(
        &self,
        sender: Sender<'_>,
        user: &User,
        (attribute, address): (SignInAttribute, &str),
    ) -> Outcome<CodeDelivery> {
        let (pool, now, no) = (sender.pool, self.clock.now(), user.no);
        let changes = Attributes::from_iter([(attribute.name(), address)]);
        check_writable(&changes, Actor::User(&sender.client.settings))?;
        check_new_values(pool, user, &changes)?;
        let purpose = purpose(attribute)?;
        let mut message = self.attribute_message(Recipient { attribute, address: address.to_owned() });
        let of = (sender.subject(&user.username), MessageSource::UpdateUserAttribute);
        self.customize(&mut message, of, user, sender.data).await?;
        let message = &message;
        let requester = Requester::of(&sender);
        let sent = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let user = signed_in(tx, no).await?;
                let to = Addressee { account_no: no, user: Some(&user), name: "" };
                self.send_code(tx, (pool, to), purpose, (message, requester), now).await
            })
        });
        sent.await
    }

    /// Verifies an address with the code that was sent to it. A new address that waited takes the
    /// place of the current one.
    ///
    /// # Errors
    /// Returns `CodeMismatchException`, `ExpiredCodeException`, or `AliasExistsException` if the
    /// address is the user name of another user. A refusal leaves the code valid.
    pub async fn verify_own_attribute(
        &self,
        sender: Sender<'_>,
        user: &User,
        attribute: SignInAttribute,
        code: &Secret,
    ) -> Outcome<User> {
        let (pool, entropy, now) = (sender.pool, &*self.entropy, self.clock.now());
        let keys = (&self.store, &*self.ring);
        let right = &purpose(attribute)?.check(keys, (user.no, false), code, now).await?;
        let verified = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            let no = user.no;
            Box::pin(async move {
                let user = signed_in(tx, no).await?;
                let changes = verification(&user, attribute, right)?;
                right.use_up(tx).await?;
                let update =
                    update_attributes(tx, pool, &user, &changes, Actor::Verification, now, entropy).await?;
                Ok(update.user)
            })
        });
        let user = verified.await?;
        audit("address_verified", &user, Some(&sender.client.id));
        Ok(user)
    }

    fn attribute_message(&self, to: Recipient) -> Prepared {
        self.code_message(MessageEvent::AttributeVerification, to)
    }
}

/// Returns the changes that take effect at once, and the addresses that wait for a code.
fn split(pool: &Pool, user: &User, changes: &Attributes) -> (Attributes, Vec<Recipient>) {
    let waits = |name: &str, value: &str| {
        let attribute = ADDRESSES.into_iter().find(|attribute| attribute.name() == name)?;
        let is_new = !value.is_empty() && user.attributes.get(name) != Some(value);
        let has_earlier = user.attributes.contains(name);
        let before_update = pool.settings.verify_before_update.contains(&attribute) && has_earlier;
        let is_stated = attribute.verified_name().is_some_and(|flag| changes.contains(flag));
        (is_new && !is_stated && (before_update || is_username(pool, attribute)))
            .then(|| Recipient { attribute, address: value.to_owned() })
    };
    let waiting: Vec<_> = changes.iter().filter_map(|(name, value)| waits(name, value)).collect();
    let is_waiting = |name: &str| waiting.iter().any(|to| to.attribute.name() == name);
    (changes.iter().filter(|(name, _)| !is_waiting(name)).collect(), waiting)
}

/// Returns the new addresses to which a code is sent: those that wait, and those that the pool
/// verifies.
fn unverified(pool: &Pool, user: &User, changes: &Attributes) -> Vec<Recipient> {
    let (at_once, mut unverified) = split(pool, user, changes);
    for attribute in ADDRESSES {
        let Some(value) = at_once.get(attribute.name()).filter(|value| !value.is_empty()) else { continue };
        let is_new = user.attributes.get(attribute.name()) != Some(value);
        let is_verified = attribute.verified_name().map(|flag| changes.get(flag)) == Some(Some("true"));
        if is_new && !is_verified && pool.settings.auto_verified.contains(&attribute) {
            unverified.push(Recipient { attribute, address: value.to_owned() });
        }
    }
    unverified
}

/// Returns the changes that follow from the right code for an address.
fn verification(user: &User, attribute: SignInAttribute, right: &RightCode) -> Outcome<Attributes> {
    let (name, Some(flag)) = (attribute.name(), attribute.verified_name()) else {
        return Err(DirectoryError::invalid("The attribute cannot be verified."));
    };
    // A code of an older node is for the current address: a change of that removed the code.
    let current = user.attributes.get(name).unwrap_or_default();
    let address = if right.address.is_empty() { current } else { &right.address };
    match address {
        "" => Err(ErrorKind::CodeExpired.into()),
        // An immutable attribute can be verified, and not be set.
        address if address == current => Ok(Attributes::from_iter([(flag, "true")])),
        address => Ok(Attributes::from_iter([(name, address), (flag, "true")])),
    }
}

fn purpose(attribute: SignInAttribute) -> Outcome<CodePurpose> {
    match attribute {
        SignInAttribute::Email | SignInAttribute::PhoneNumber => Ok(CodePurpose::Attribute(attribute.name())),
        SignInAttribute::PreferredUsername => {
            Err(DirectoryError::invalid("The attribute cannot be verified."))
        }
    }
}

fn is_username(pool: &Pool, attribute: SignInAttribute) -> bool {
    pool.settings.sign_in.username_attributes.contains(&attribute)
}

fn taken(attribute: SignInAttribute) -> DirectoryError {
    let name = attribute.name();
    DirectoryError::new(ErrorKind::AliasExists, format!("An account with the given {name} already exists."))
}

/// Returns the user of a request, who may have been deleted or disabled since.
async fn signed_in(tx: &mut Tx<'_>, no: i64) -> Outcome<User> {
    let user = current(tx, no).await?;
    match user.enabled {
        true => Ok(user),
        false => Err(DirectoryError::new(ErrorKind::NotAuthorized, "User is disabled.")),
    }
}

impl Prepared {
    fn attribute(&self) -> SignInAttribute {
        self.recipient().attribute
    }
}
