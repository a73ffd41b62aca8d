//! The codes of first and second factors in messages.

use super::AccountService;
use super::code_delivery::{Addressee, CodeDelivery, Prepared, Recipient, Requester, address_of};
use crate::base::{Duration, Timestamp};
use crate::config::MessageEvent;
use crate::directory::account_code::CodePurpose;
use crate::directory::error::{ErrorKind, Outcome};
use crate::directory::events::MessageSource;
use crate::directory::sender::Sender;
use crate::model::{Factor, User};
use crate::store::Tx;

/// The message with the code of a factor, ready to be added in a transaction.
pub(in crate::directory) struct FactorMessage {
    purpose: CodePurpose,
    message: Prepared,
    /// Whether nothing is sent: nobody has the address.
    is_simulated: bool,
}

/// The account that gets a code.
#[derive(Clone, Copy)]
pub(in crate::directory) struct CodeAccount<'a> {
    /// The number of the user, or that of a name without one.
    pub account_no: i64,
    /// The user who gets it; `None` for nobody.
    pub user: Option<&'a User>,
    /// The user who has the name, and perhaps gets none.
    pub known: Option<&'a User>,
    /// The name that the client sent.
    pub name: &'a str,
}

impl AccountService {
    /// Prepares the message with a new code of a second factor, valid for `lifetime`. A function of
    /// the pool may write its text.
    ///
    /// # Errors
    /// Returns `CodeDeliveryFailureException` if the user has no address of the factor, or the
    /// errors of the function.
    pub(in crate::directory) async fn factor_message(
        &self,
        (sender, user): (&Sender<'_>, &User),
        factor: Factor,
        lifetime: Duration,
    ) -> Outcome<FactorMessage> {
        let recipient = factor.address().and_then(|address| address_of(user, address));
        let recipient = recipient.ok_or(ErrorKind::CodeDelivery)?;
        let purpose = CodePurpose::SecondFactor(factor, lifetime);
        self.code_for_user((sender, user), recipient, purpose).await
    }

    /// As [`AccountService::factor_message`], with a code that replaces a password. `user` is one
    /// who can have it; for nobody the message is simulated.
    ///
    /// # Errors
    /// As [`AccountService::factor_message`].
    pub(in crate::directory) async fn first_factor_message(
        &self,
        sender: &Sender<'_>,
        to: CodeAccount<'_>,
        factor: Factor,
        lifetime: Duration,
    ) -> Outcome<FactorMessage> {
        let purpose = CodePurpose::FirstFactor(factor, lifetime);
        let address = factor.address().ok_or(ErrorKind::CodeDelivery)?;
        if let Some(user) = to.user {
            let recipient = address_of(user, address).ok_or(ErrorKind::CodeDelivery)?;
            return self.code_for_user((sender, user), recipient, purpose).await;
        }
        let recipient = self.simulated_recipient(&[address], (to.name, to.account_no), to.known);
        let message =
            self.secret_message(MessageEvent::Mfa, recipient, self.codes.new_code(purpose.digits()));
        Ok(FactorMessage { purpose, message, is_simulated: true })
    }

    async fn code_for_user(
        &self,
        (sender, user): (&Sender<'_>, &User),
        recipient: Recipient,
        purpose: CodePurpose,
    ) -> Outcome<FactorMessage> {
        let code = self.codes.new_code(purpose.digits());
        let mut message = self.secret_message(MessageEvent::Mfa, recipient, code);
        message.follows_first_factor = matches!(purpose, CodePurpose::SecondFactor(..));
        let of = (sender.subject(&user.username), MessageSource::Authentication);
        self.customize(&mut message, of, user, sender.data).await?;
        Ok(FactorMessage { purpose, message, is_simulated: false })
    }

    /// Stores the code, and adds its message to the outbox.
    ///
    /// # Errors
    /// Returns `LimitExceededException` above the limits of messages, or an error if the database
    /// fails.
    pub(in crate::directory) async fn send_factor_code(
        &self,
        tx: &mut Tx<'_>,
        (sender, to): (&Sender<'_>, CodeAccount<'_>),
        of: &FactorMessage,
        now: Timestamp,
    ) -> Outcome<CodeDelivery> {
        let CodeAccount { account_no, user, name, .. } = to;
        let to = Addressee { account_no, user: user.filter(|_| !of.is_simulated), name };
        let message = (&of.message, Requester::of(sender));
        self.send_code(tx, (sender.pool, to), of.purpose, message, now).await
    }
}
