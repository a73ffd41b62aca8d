//! Events of sign-ins.

use super::PoolEvents;
use crate::directory::error::Outcome;
use crate::directory::sender::Sender;
use crate::directory::sign_in::{AuthenticatedUser, Reply, SignInDevice};
use crate::model::User;
use crate::trigger::{ClientData, PostAuthentication, PreAuthentication, Subject, user_attributes};

impl PoolEvents {
    /// Asks the pool's function whether a sign-in may go on. Where users are hidden, it is also
    /// asked about a name without a user.
    ///
    /// # Errors
    /// Returns the function's refusal, or why it gave no valid answer.
    pub(in crate::directory) async fn pre_authentication(
        &self,
        sender: Sender<'_>,
        name: &str,
        user: Option<&User>,
    ) -> Outcome<()> {
        if user.is_none() && !sender.client.settings.hide_unknown_users {
            return Ok(());
        }
        let username = user.map_or(name, |user| &user.username);
        self.call_pre_authentication(sender.subject(username), user, sender.data).await
    }

    pub(super) async fn call_pre_authentication(
        &self,
        subject: Subject<'_>,
        user: Option<&User>,
        data: ClientData<'_>,
    ) -> Outcome<()> {
        if !self.triggers.has::<PreAuthentication<'_>>(subject.pool) {
            return Ok(());
        }
        let event = PreAuthentication {
            user_attributes: user.map(user_attributes).unwrap_or_default(),
            validation_data: data.validation_data,
            user_not_found: user.is_none(),
        };
        self.triggers.call(subject, "PreAuthentication_Authentication", &event).await?;
        Ok(())
    }

    /// Calls the pool's function after a sign-in that is complete. Returns the reply.
    ///
    /// # Errors
    /// Returns the function's refusal, or why it gave no valid answer.
    pub(in crate::directory) async fn post_authentication(
        &self,
        sender: Sender<'_>,
        reply: Reply,
    ) -> Outcome<Reply> {
        if let Reply::SignedIn(AuthenticatedUser { user, device, .. }) = &reply {
            let is_new = *device == SignInDevice::New;
            self.call_post_authentication(sender.subject(&user.username), (user, is_new), sender.data)
                .await?;
        }
        Ok(reply)
    }

    pub(super) async fn call_post_authentication(
        &self,
        subject: Subject<'_>,
        (user, new_device_used): (&User, bool),
        data: ClientData<'_>,
    ) -> Outcome<()> {
        if !self.triggers.has::<PostAuthentication<'_>>(subject.pool) {
            return Ok(());
        }
        let event = PostAuthentication {
            user_attributes: user_attributes(user),
            new_device_used,
            client_metadata: data.client_metadata,
        };
        self.triggers.call(subject, "PostAuthentication_Authentication", &event).await?;
        Ok(())
    }
}
