//! Events of new users.

use super::PoolEvents;
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::model::{SignInAttribute, User, UserStatus};
use crate::trigger::{ClientData, PostConfirmation, PreSignUp, PreSignUpAnswer, Subject, user_attributes};

/// How a user is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::directory) enum SignUpSource {
    SignUp,
    AdminCreateUser,
}

/// What was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::directory) enum ConfirmationSource {
    SignUp,
    ForgotPassword,
}

impl PoolEvents {
    /// Asks the pool's function whether a user may be added. The function may confirm a user who
    /// signs up, and the addresses.
    ///
    /// # Errors
    /// Returns the function's refusal, or why it gave no valid answer.
    pub(in crate::directory) async fn pre_sign_up(
        &self,
        subject: Subject<'_>,
        source: SignUpSource,
        user: &mut User,
        data: ClientData<'_>,
    ) -> Outcome<()> {
        let event = PreSignUp {
            user_attributes: user.attributes.iter().collect(),
            validation_data: data.validation_data,
            client_metadata: data.client_metadata,
        };
        let name = match source {
            SignUpSource::SignUp => "PreSignUp_SignUp",
            SignUpSource::AdminCreateUser => "PreSignUp_AdminCreateUser",
        };
        match self.triggers.call(subject, name, &event).await? {
            // Cognito ignores the answer about a user of an administrator.
            Some(answer) if source == SignUpSource::SignUp => apply(answer, user),
            _ => Ok(()),
        }
    }

    /// Calls the pool's function after a confirmation, which stays whatever it answers.
    ///
    /// # Errors
    /// Returns the function's refusal, or why it gave no valid answer.
    pub(in crate::directory) async fn post_confirmation(
        &self,
        subject: Subject<'_>,
        source: ConfirmationSource,
        user: &User,
        data: ClientData<'_>,
    ) -> Outcome<()> {
        let event = PostConfirmation {
            user_attributes: user_attributes(user),
            client_metadata: data.client_metadata,
        };
        let name = match source {
            ConfirmationSource::SignUp => "PostConfirmation_ConfirmSignUp",
            ConfirmationSource::ForgotPassword => "PostConfirmation_ConfirmForgotPassword",
        };
        self.triggers.call(subject, name, &event).await?;
        Ok(())
    }
}

/// Applies the answer of the function to a new user.
fn apply(answer: PreSignUpAnswer, user: &mut User) -> Outcome<()> {
    for (verifies, attribute) in [
        (answer.auto_verify_email, SignInAttribute::Email),
        (answer.auto_verify_phone, SignInAttribute::PhoneNumber),
    ] {
        let Some(flag) = attribute.verified_name().filter(|_| verifies == Some(true)) else { continue };
        // Cognito refuses the answer, too.
        if !user.attributes.contains(attribute.name()) {
            let words = format!("PreSignUp verifies {}, which the user does not have.", attribute.name());
            return Err(DirectoryError::new(ErrorKind::InvalidLambdaResponse, words));
        }
        user.attributes.set(flag, "true");
    }
    if answer.auto_confirm_user == Some(true) {
        user.status = UserStatus::Confirmed;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Attributes;

    #[test]
    fn an_answer_confirms_the_user_and_verifies_addresses_that_exist() {
        let user = || User {
            status: UserStatus::Unconfirmed,
            attributes: Attributes::from_iter([("email", "a@b.example")]),
            ..User::default()
        };
        let (mut same, mut changed, mut wrong) = (user(), user(), user());
        apply(PreSignUpAnswer::default(), &mut same).unwrap();
        assert_eq!(same, user());
        let all = PreSignUpAnswer {
            auto_confirm_user: Some(true),
            auto_verify_email: Some(true),
            auto_verify_phone: None,
        };
        apply(all, &mut changed).unwrap();
        assert_eq!(
            (changed.status, changed.attributes.get("email_verified")),
            (UserStatus::Confirmed, Some("true"))
        );
        let phone = PreSignUpAnswer { auto_verify_phone: Some(true), ..all };
        let error = apply(phone, &mut wrong).unwrap_err();
        assert_eq!(error.exception(), "InvalidLambdaResponseException");
    }
}
