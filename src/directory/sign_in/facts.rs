//! What a step depends on, read from the store.

use super::input::StepInput;
use super::reply::SignInError;
use super::service::SignInService;
use super::state::{Challenge, Facts, Flow, NamedDevice, State, UserFacts};
use crate::base::Timestamp;
use crate::directory::remembered_devices::MAX_DEVICE_KEY_LENGTH;
use crate::model::{Factor, FirstFactor, MfaMode, User, UserFactors, UserStatus, usable_first_factors};

impl SignInService {
    /// Returns the facts of a step.
    pub(super) async fn facts(&self, input: &StepInput<'_>, now: Timestamp) -> Result<Facts, SignInError> {
        let locked = input.attempts(&self.store).is_locked(now).await?;
        // A name without a user costs the same statements: the time must not depend on it.
        let factors = match input.sender.pool.settings.mfa.mode {
            MfaMode::Off => UserFactors::default(),
            MfaMode::Optional | MfaMode::Required => self.store.factors(input.account_no).await?,
        };
        let device = self.named_device(input).await?;
        // Also for nobody.
        let nobody = User::default();
        let facts = input.user_facts(input.user.as_ref().unwrap_or(&nobody), (&factors, device), now);
        let first_factors = match &input.user {
            Some(user) => input.first_factors(user, &factors),
            None => self.workers.simulated_first_factors(input.sender.pool, &input.name),
        };
        let user = input.user.is_some().then_some(facts);
        let rounds = input.history().map(|history| history.len());
        let session_is_new = input.step_up.as_ref().is_some_and(|of| of.is_new(now));
        Ok(Facts { user, locked, rounds, first_factors, session_is_new, result: None })
    }
}

impl SignInService {
    /// Returns the device that the client names, or that the challenge is of.
    async fn named_device(&self, input: &StepInput<'_>) -> Result<NamedDevice, SignInError> {
        let on_page = input.attempt.as_ref().is_some_and(|attempt| attempt.on_page);
        let key = input.device_key().filter(|_| input.sender.pool.settings.devices.is_on() && !on_page);
        let Some(key) = key else { return Ok(NamedDevice::None) };
        if key.len() > MAX_DEVICE_KEY_LENGTH {
            return Ok(NamedDevice::Unknown);
        }
        Ok(match self.store.remembered_device(input.account_no, key).await? {
            Some(device) if device.is_remembered => NamedDevice::Remembered(device.key),
            Some(_) => NamedDevice::Known,
            None => NamedDevice::Unknown,
        })
    }
}

impl StepInput<'_> {
    /// Returns the key of the device that the challenge is of, or that the client names.
    pub(super) fn device_key(&self) -> Option<&str> {
        let of_challenge = match &self.state {
            State::Challenged(challenge) => challenge.device_key(),
            State::Begin(_) => None,
        };
        // Each answer names it: a client that forgets a device leaves it out of the next one.
        of_challenge.or(self.sender.device_key)
    }

    /// Returns the first factors of a user. One who has to replace the password proves that one.
    fn first_factors(&self, user: &User, factors: &UserFactors) -> Vec<FirstFactor> {
        let settings = &self.sender.pool.settings;
        let of = (user, factors, self.password.is_some());
        let mut usable = usable_first_factors(&settings.first_factors, &settings.mfa, of);
        usable.retain(|of| user.status == UserStatus::Confirmed || *of == FirstFactor::Password);
        usable
    }

    fn user_facts(
        &self,
        user: &User,
        (factors, device): (&UserFactors, NamedDevice),
        now: Timestamp,
    ) -> UserFacts {
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
            factors: self.second_factors(user, factors),
            demands_factor: settings.mfa.demands(factors),
            preferred_factor: factors.preferred,
            device,
            proved_first_factor: proved == Some(password_set_at),
        }
    }

    /// Returns the second factors of a user: none that is a code to the same address as the first.
    fn second_factors(&self, user: &User, factors: &UserFactors) -> Vec<Factor> {
        let mut usable = self.sender.pool.settings.mfa.of_sign_in(user, factors);
        usable.retain(|factor| self.first_code() != Some(*factor));
        usable
    }

    /// Returns the code that is or was the first factor.
    pub(super) fn first_code(&self) -> Option<Factor> {
        match &self.state {
            State::Challenged(Challenge::FirstFactor(factor)) => Some(*factor),
            State::Challenged(Challenge::SignUpConfirmed { verified, .. }) => Some(*verified),
            State::Begin(Flow::StepUp) => self.step_up.as_ref().and_then(|of| of.first_code),
            _ => self.attempt.as_ref().and_then(|attempt| attempt.first_code),
        }
    }
}
