//! What a step depends on, read from the store.

use super::reply::SignInError;
use super::service::{SignInService, StepInput};
use super::state::{Facts, UserFacts};
use crate::base::Timestamp;
use crate::model::{MfaMode, User, UserFactors};

impl SignInService {
    /// Returns the facts of a step.
    pub(super) async fn facts(&self, input: &StepInput<'_>, now: Timestamp) -> Result<Facts, SignInError> {
        let locked = input.attempts(&self.store).is_locked(now).await?;
        // A name without a user costs the same statements: the time must not depend on it.
        let factors = match input.sender.pool.settings.mfa.mode {
            MfaMode::Off => UserFactors::default(),
            MfaMode::Optional | MfaMode::Required => self.store.factors(input.account_no).await?,
        };
        // Also for nobody.
        let nobody = User::default();
        let facts = input.user_facts(input.user.as_ref().unwrap_or(&nobody), &factors, now);
        let user = input.user.is_some().then_some(facts);
        Ok(Facts { user, locked, result: None })
    }
}

impl StepInput<'_> {
    fn user_facts(&self, user: &User, factors: &UserFactors, now: Timestamp) -> UserFacts {
        let settings = &self.sender.pool.settings;
        let required = settings.schema.iter().filter(|of| of.required && of.name != "sub");
        let (present_attributes, missing_attributes) = required
            .map(|attribute| attribute.name.to_string())
            .partition(|name| user.attributes.contains(name));
        let password = self.password.as_ref();
        let password_set_at = password.map_or(0, |password| password.set_at.millis());
        let proved = self.attempt.as_ref().and_then(|attempt| attempt.proved_password_of);
        UserFacts {
            status: user.status,
            enabled: user.enabled,
            password_set_at,
            temporary_password_expired: password
                .and_then(|password| password.expires_at)
                .is_some_and(|end| end <= now),
            missing_attributes,
            present_attributes,
            factors: settings.mfa.of_sign_in(user, factors),
            demands_factor: settings.mfa.demands(factors),
            preferred_factor: factors.preferred,
            proved_password: proved == Some(password_set_at),
        }
    }
}
