//! Codes in messages to users.

use super::{AccountService, link, pool_messages};
use crate::base::{Entropy, KeyRing, Secret, Timestamp, uuid};
use crate::catalogue::Catalogue;
use crate::config::{Channel, MessageEvent, MessageTemplate};
use crate::directory::account_code::{CodePurpose, DIGITS};
use crate::directory::error::Outcome;
use crate::directory::events::MessageSource;
use crate::message::{Message, MessageSettings, enqueue};
use crate::model::{Pool, Recovery, SignInAttribute, User, UserFactors, is_address, is_phone_number};
use crate::store::Tx;
use crate::trigger::{ClientData, Subject};
use std::net::IpAddr;
use std::sync::Arc;

/// Where a code was sent (Cognito's `CodeDeliveryDetails`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeDelivery {
    /// The attribute with the address.
    pub attribute: SignInAttribute,
    /// The kind of the message.
    pub channel: Channel,
    /// The masked address.
    pub destination: String,
}

/// An address of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipient {
    pub attribute: SignInAttribute,
    pub address: String,
}

/// Who asked for a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Requester<'a> {
    pub address: Option<IpAddr>,
    pub language: Option<&'a str>,
    /// The app client, for the link in a message.
    pub client_id: Option<&'a str>,
    /// The redirect URI of the client's authorization request.
    pub redirect_uri: Option<&'a str>,
}

/// A message that is ready to be added in a transaction, which may be run several times.
pub(super) struct Prepared {
    pub secret: Secret,
    key: String,
    catalogue: Arc<Catalogue>,
    ring: Arc<KeyRing>,
    event: MessageEvent,
    recipient: Recipient,
    /// The text that a function of the pool wrote.
    own_text: Option<MessageTemplate>,
    /// Whether the code is a second factor.
    pub(super) follows_first_factor: bool,
}

/// The account that a message is for.
#[derive(Clone, Copy)]
pub(super) struct Addressee<'a> {
    /// The user's number, or that of a name without a user.
    pub account_no: i64,
    /// The user; `None` for a name without one, for which nothing is sent.
    pub user: Option<&'a User>,
    /// The name that the client sent, for a name without a user.
    pub name: &'a str,
}

impl AccountService {
    /// Prepares a message with a new code.
    pub(super) fn code_message(&self, event: MessageEvent, recipient: Recipient) -> Prepared {
        self.secret_message(event, recipient, self.codes.new_code(DIGITS))
    }

    /// Prepares a message with a code or a temporary password.
    pub(super) fn secret_message(
        &self,
        event: MessageEvent,
        recipient: Recipient,
        secret: Secret,
    ) -> Prepared {
        let (key, catalogue) = (uuid(&*self.entropy), self.catalogue.load());
        let (ring, own_text, follows_first_factor) = (self.ring.clone(), None, false);
        Prepared { secret, key, catalogue, ring, event, recipient, own_text, follows_first_factor }
    }

    /// Lets the pool's function write the text of a message to `user`.
    ///
    /// # Errors
    /// Returns the function's refusal, or why it gave no valid answer.
    pub(super) async fn customize(
        &self,
        message: &mut Prepared,
        (subject, source): (Subject<'_>, MessageSource),
        user: &User,
        data: ClientData<'_>,
    ) -> Outcome<()> {
        let of = (source, message.event, channel(message.recipient.attribute));
        message.own_text = self.events.custom_text(subject, of, user, data).await?;
        Ok(())
    }

    /// Returns the address in an answer without a message. For a name without a user, it is of the
    /// first kind for which there are settings. For a `user` who gets no message it is the user's:
    /// all answers about a name have the same one.
    pub(super) fn simulated_recipient(
        &self,
        attributes: &[SignInAttribute],
        (name, account_no): (&str, i64),
        user: Option<&User>,
    ) -> Recipient {
        let config = &self.catalogue.load().config;
        let has_settings = |attribute: &SignInAttribute| match channel(*attribute) {
            Channel::Email => config.mail.is_some(),
            Channel::Sms => config.sms.is_some(),
        };
        let configured: Vec<_> = attributes.iter().copied().filter(has_settings).collect();
        let own = |user: &User| configured.iter().find_map(|attribute| address_of(user, *attribute));
        if let Some(recipient) = user.and_then(own) {
            return recipient;
        }
        let prefix = config.sms.as_ref().and_then(|sms| sms.allowed_prefixes.first());
        let prefix = prefix.filter(|prefix| prefix.len() > 1).map_or("+1", String::as_str);
        simulated_recipient(&configured, (name, account_no), prefix)
    }

    /// Stores the code of a message, and adds the message to the outbox.
    pub(super) async fn send_code(
        &self,
        tx: &mut Tx<'_>,
        (pool, to): (&Pool, Addressee<'_>),
        purpose: CodePurpose,
        (message, requester): (&Prepared, Requester<'_>),
        now: Timestamp,
    ) -> Outcome<CodeDelivery> {
        let of = (to.account_no, &*message.recipient.address);
        let secret = purpose.of_client(requester.client_id, &message.secret);
        purpose.put(tx, of, &secret, (&self.ring, now)).await?;
        let expires_at = now.plus(purpose.lifetime());
        message.send(tx, (pool, to), requester, (now, expires_at), &*self.entropy).await
    }
}

impl Prepared {
    /// Returns where the message goes.
    pub(super) fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// Adds the message to the outbox. Its key makes a repeated transaction add it once.
    pub(super) async fn send(
        &self,
        tx: &mut Tx<'_>,
        (pool, to): (&Pool, Addressee<'_>),
        requester: Requester<'_>,
        (now, expires_at): (Timestamp, Timestamp),
        entropy: &dyn Entropy,
    ) -> Outcome<CodeDelivery> {
        let Self { secret, key, catalogue, ring, event, recipient, own_text, follows_first_factor } = self;
        let channel = channel(recipient.attribute);
        let locale = to.user.and_then(|user| user.attributes.get("locale"));
        let username = to.user.map_or(to.name, |user| &user.username);
        let of = (to.account_no, username, secret);
        let can_have_link = event.can_have_link() && channel == Channel::Email;
        let link = can_have_link.then(|| link::address((catalogue, ring), requester, of)).flatten();
        let simulated = format!("unknown {}", to.account_no);
        let message = Message {
            key,
            pool: &pool.id,
            event: *event,
            channel,
            recipient: &recipient.address,
            language: locale.or(requester.language),
            user: to.user.map_or(&simulated, |user| &user.id),
            user_no: to.account_no,
            is_simulated: to.user.is_none(),
            username,
            code: secret,
            link: link.as_deref(),
            follows_first_factor: *follows_first_factor,
            client: requester.address,
            expires_at,
        };
        let mut templates = pool_messages::templates(catalogue, pool);
        if let Some(own) = own_text {
            templates.retain(|of| of.event != own.event || of.channel != own.channel);
            templates.push(own.clone());
        }
        let settings = MessageSettings::of(&catalogue.config, &templates);
        let destination = enqueue(tx, settings, &message, now, entropy).await??;
        Ok(CodeDelivery { attribute: recipient.attribute, channel, destination })
    }
}

/// Returns the kind of messages to an address.
fn channel(attribute: SignInAttribute) -> Channel {
    match attribute {
        SignInAttribute::PhoneNumber => Channel::Sms,
        SignInAttribute::Email | SignInAttribute::PreferredUsername => Channel::Email,
    }
}

/// Returns an address of `user`.
pub(super) fn address_of(user: &User, attribute: SignInAttribute) -> Option<Recipient> {
    let address = user.attributes.get(attribute.name())?.to_owned();
    Some(Recipient { attribute, address })
}

/// Returns the address that a sign-up verifies. "Phone goes first where both wait for a code.", but
/// the address that was typed as the user name precedes both: it may be another person's, who must
/// get the code.
pub(super) fn sign_up_recipient(pool: &Pool, user: &User) -> Option<Recipient> {
    let verified = &pool.settings.auto_verified;
    let names = &pool.settings.sign_in.username_attributes;
    // A sign-up removes the flag of the typed address.
    let is_typed = |attribute: &SignInAttribute| {
        let flag = attribute.verified_name().and_then(|flag| user.attributes.get(flag));
        names.contains(attribute) && user.attributes.contains(attribute.name()) && flag.is_none()
    };
    let mut order = [SignInAttribute::PhoneNumber, SignInAttribute::Email];
    order.sort_by_key(|attribute| !is_typed(attribute));
    let mut allowed = order.into_iter().filter(|attribute| verified.contains(attribute));
    allowed.find_map(|attribute| address_of(user, attribute))
}

/// Returns the address to which a code for a new password is sent: the first of the pool's list
/// that the user has verified.
pub(super) fn recovery_recipient(pool: &Pool, user: &User, factors: &UserFactors) -> Option<Recipient> {
    recovery_recipients(pool, user, factors).next()
}

/// Returns whether `address`, to which a code was sent, still is one of `user`. The code of an
/// older node has none.
pub(super) fn is_recovery_address(pool: &Pool, user: &User, factors: &UserFactors, address: &str) -> bool {
    address.is_empty() || recovery_recipients(pool, user, factors).any(|to| to.address == address)
}

/// Who reads the messages to an address must not get both factors by it: "no SMS where SMS is the
/// user's MFA".
fn recovery_recipients<'a>(
    pool: &'a Pool,
    user: &'a User,
    factors: &UserFactors,
) -> impl Iterator<Item = Recipient> + use<'a> {
    let second = pool.settings.mfa.of_sign_in(user, factors);
    let is_second =
        move |attribute: SignInAttribute| second.iter().any(|factor| factor.address() == Some(attribute));
    let order = recovery_attributes(pool);
    let is_verified = |attribute: &&SignInAttribute| {
        let flag = attribute.verified_name().and_then(|name| user.attributes.get(name));
        flag == Some("true")
    };
    let allowed = order.iter().filter(is_verified).filter(move |attribute| !is_second(**attribute));
    allowed.filter_map(|attribute| address_of(user, *attribute))
}

/// Returns the address in the answer for a name without a user: what was typed, or one that follows
/// from it. It is of a kind to which the pool sends codes, in the order of `attributes`.
fn simulated_recipient(
    attributes: &[SignInAttribute],
    (name, account_no): (&str, i64),
    sms_prefix: &str,
) -> Recipient {
    let number = account_no.unsigned_abs();
    let letter = char::from(b'a' + (number % 26) as u8);
    let first = name.chars().find(|c| c.is_ascii_alphanumeric()).unwrap_or(letter);
    let sends = |attribute| attributes.contains(&attribute);
    match attributes.first() {
        _ if sends(SignInAttribute::Email) && is_address(name) && name.is_ascii() => {
            Recipient { attribute: SignInAttribute::Email, address: name.to_owned() }
        }
        _ if sends(SignInAttribute::PhoneNumber) && is_phone_number(name) => {
            Recipient { attribute: SignInAttribute::PhoneNumber, address: name.to_owned() }
        }
        Some(SignInAttribute::PhoneNumber) => Recipient {
            attribute: SignInAttribute::PhoneNumber,
            address: format!("{sms_prefix}{:07}", number % 10_000_000),
        },
        _ => Recipient { attribute: SignInAttribute::Email, address: format!("{first}@{letter}.invalid") },
    }
}

/// Returns the addresses to which the pool sends codes for new passwords.
fn recovery_attributes(pool: &Pool) -> &[SignInAttribute] {
    match &pool.settings.recovery {
        Recovery::Addresses(order) => order,
        Recovery::Administrator => &[],
    }
}

/// Returns the addresses to which the code of most users is sent: those that the pool verifies.
pub(super) fn usual_recovery_attributes(pool: &Pool) -> Vec<SignInAttribute> {
    let order = recovery_attributes(pool);
    let verified = &pool.settings.auto_verified;
    let usual: Vec<_> = order.iter().copied().filter(|attribute| verified.contains(attribute)).collect();
    if usual.is_empty() { order.to_vec() } else { usual }
}
