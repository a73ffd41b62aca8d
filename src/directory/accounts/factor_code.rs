//! The codes of second factors in messages.

use super::AccountService;
use super::code_delivery::{Addressee, CodeDelivery, Prepared, Requester, address_of};
use crate::base::{Duration, Timestamp};
use crate::config::MessageEvent;
use crate::directory::account_code::CodePurpose;
use crate::directory::error::{ErrorKind, Outcome};
use crate::directory::events::MessageSource;
use crate::directory::sender::Sender;
use crate::model::{Factor, User};
use crate::store::Tx;

/// The message with the code of a second factor, ready to be added in a transaction.
pub(in crate::directory) struct FactorMessage {
    purpose: CodePurpose,
    message: Prepared,
}

impl AccountService {
    /// Prepares the message with a new code, valid for `lifetime`. A function of the pool may write
    /// its text.
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
        let mut message = self.code_message(MessageEvent::Mfa, recipient);
        let of = (sender.subject(&user.username), MessageSource::Authentication);
        self.customize(&mut message, of, user, sender.data).await?;
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
