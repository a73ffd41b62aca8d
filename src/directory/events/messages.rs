//! The event before a message is written.

use super::PoolEvents;
use crate::config::{Channel, MessageEvent, MessageTemplate};
use crate::directory::accounts::{html_template, sms_template};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::model::User;
use crate::trigger::{
    CODE_PARAMETER, ClientData, CustomMessage, CustomMessageAnswer, LINK_PARAMETER, Subject,
    USERNAME_PARAMETER, user_attributes,
};

/// The maximum lengths of texts: Cognito's.
const MAX_SMS_CHARS: usize = 140;
const MAX_EMAIL_CHARS: usize = 20_000;
const MAX_SUBJECT_CHARS: usize = 140;

/// Why a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::directory) enum MessageSource {
    SignUp,
    AdminCreateUser,
    ResendCode,
    ForgotPassword,
    UpdateUserAttribute,
    VerifyUserAttribute,
    Authentication,
}

impl MessageSource {
    fn name(self) -> &'static str {
        match self {
            Self::SignUp => "CustomMessage_SignUp",
            Self::AdminCreateUser => "CustomMessage_AdminCreateUser",
            Self::ResendCode => "CustomMessage_ResendCode",
            Self::ForgotPassword => "CustomMessage_ForgotPassword",
            Self::UpdateUserAttribute => "CustomMessage_UpdateUserAttribute",
            Self::VerifyUserAttribute => "CustomMessage_VerifyUserAttribute",
            Self::Authentication => "CustomMessage_Authentication",
        }
    }
}

impl PoolEvents {
    /// Returns the text of a message that the pool's function writes; `None` if it has none, and if
    /// the pool's own text applies. The function does not get the code.
    ///
    /// # Errors
    /// Returns the function's refusal, or why it gave no valid answer.
    pub(in crate::directory) async fn custom_text(
        &self,
        subject: Subject<'_>,
        (source, event, channel): (MessageSource, MessageEvent, Channel),
        user: &User,
        data: ClientData<'_>,
    ) -> Outcome<Option<MessageTemplate>> {
        if !self.triggers.has::<CustomMessage<'_>>(subject.pool) {
            return Ok(None);
        }
        let of_invitation = source == MessageSource::AdminCreateUser;
        let asked = CustomMessage {
            user_attributes: user_attributes(user),
            code_parameter: CODE_PARAMETER,
            username_parameter: of_invitation.then_some(USERNAME_PARAMETER),
            link_parameter: LINK_PARAMETER,
            client_metadata: data.client_metadata,
        };
        match self.triggers.call(subject, source.name(), &asked).await? {
            Some(answer) => template(answer, event, channel),
            None => Ok(None),
        }
    }
}

/// Returns the text in an answer for a channel.
fn template(
    answer: CustomMessageAnswer,
    event: MessageEvent,
    channel: Channel,
) -> Outcome<Option<MessageTemplate>> {
    let is_short = |text: Option<&String>, max: usize| text.is_none_or(|text| text.chars().count() <= max);
    let template = match channel {
        Channel::Email => {
            html_template(event, answer.email_subject.as_deref(), answer.email_message.as_deref())
        }
        Channel::Sms => sms_template(event, answer.sms_message.as_deref()),
    };
    let fits = match channel {
        Channel::Email => {
            is_short(answer.email_message.as_ref(), MAX_EMAIL_CHARS)
                && is_short(answer.email_subject.as_ref(), MAX_SUBJECT_CHARS)
        }
        Channel::Sms => is_short(answer.sms_message.as_ref(), MAX_SMS_CHARS),
    };
    let has_secret = |template: &MessageTemplate| {
        let can_have_link = event.can_have_link() && channel == Channel::Email;
        template.text.has_code() || (can_have_link && template.text.has_link())
    };
    match fits && template.as_ref().is_none_or(has_secret) {
        true => Ok(template),
        false => Err(DirectoryError::new(
            ErrorKind::InvalidLambdaResponse,
            format!("CustomMessage returned a text that is too long, or lacks {CODE_PARAMETER}."),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_the_code_and_a_length() {
        let of = |event, channel, text: &str| {
            let text = Some(text.to_owned());
            let answer =
                CustomMessageAnswer { sms_message: text.clone(), email_message: text, email_subject: None };
            template(answer, event, channel).map(|template| template.is_some())
        };
        let (sign_up, forgot) = (MessageEvent::SignUp, MessageEvent::ForgotPassword);
        for (event, channel, text) in [
            (sign_up, Channel::Email, "<b>{####}</b>"),
            (sign_up, Channel::Email, "{##Click Here##}"),
            (forgot, Channel::Sms, "{####}"),
        ] {
            assert_eq!(of(event, channel, text).ok(), Some(true), "{text}");
        }
        for (event, channel, text) in [
            (sign_up, Channel::Email, "123456"),
            (sign_up, Channel::Sms, "{##Click Here##}"),
            (forgot, Channel::Email, "{##Click Here##}"),
            (forgot, Channel::Sms, &format!("{{####}}{}", "x".repeat(MAX_SMS_CHARS))),
        ] {
            assert_eq!(
                of(event, channel, text).unwrap_err().exception(),
                "InvalidLambdaResponseException",
                "{text}"
            );
        }
        let none = template(CustomMessageAnswer::default(), sign_up, Channel::Email);
        assert_eq!(none.ok(), Some(None));
    }
}
