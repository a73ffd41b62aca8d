//! The codes of second factors in messages.

use super::AccountService;
use super::code_delivery::{Addressee, CodeDelivery, Prepared, Requester, address_of};
use crate::base::{Duration, Timestamp};
use crate::config::MessageEvent;
use crate::directory::account_code::CodePurpose;
use crate::directory::error::{ErrorKind, Outcome};
use crate::directory::sender::Sender;
use crate::model::{Factor, User};
use crate::store::Tx;

/// The message with the code of a second factor, ready to be added in a transaction.
pub(in crate::directory) struct FactorMessage {
    purpose: CodePurpose,
    message: Prepared,
}

impl AccountService {
    /// Prepares the message with a new code, valid for `lifetime`.
    ///
    /// # Errors
    /// Returns `CodeDeliveryFailureException` if the user has no address of the factor.
    pub(in crate::directory) fn factor_message(
        &self,
        user: &User,
        factor: Factor,
        lifetime: Duration,
    ) -> Outcome<FactorMessage> {
        let recipient = factor.address().and_then(|address| address_of(user, address));
        let recipient = recipient.ok_or(ErrorKind::CodeDelivery)?;
        let message = self.code_message(MessageEvent::Mfa, recipient);
        Ok(FactorMessage { purpose: CodePurpose::SecondFactor(factor, lifetime), message })
    }

    /// Stores the code, and adds its message to the outbox.
    ///
    /// # Errors
    /// Returns `LimitExceededException` above the limits of messages, or an error if the database
    /// fails.
    pub(in crate::directory) async fn send_factor_code(
        &self,
        tx: &mut Tx<'_>,
        (sender, user): (&Sender<'_>, &User),
        of: &FactorMessage,
        now: Timestamp,
    ) -> Outcome<CodeDelivery> {
        let to = Addressee { account_no: user.no, user: Some(user), name: &user.username };
        let message = (&of.message, Requester::of(sender));
        self.send_code(tx, (sender.pool, to), of.purpose, message, now).await
    }
}
