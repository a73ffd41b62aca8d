//! Applies the effects of a step in one transaction.

use super::input::{Products, StepInput};
use super::reply::SignInError;
use super::service::SignInService;
use super::{Effect, Facts, Refusal};
use crate::base::{Entropy, Timestamp};
use crate::directory::accounts::{AccountService, CodeAccount, FactorMessage};
use crate::directory::lifecycle::confirm;
use crate::directory::{Actor, CodeDelivery, Takeover, set_status, update_attributes};
use crate::model::{Attributes, FirstFactor, User};
use crate::store::{CheckedWork, ReplayKey, Tx};

/// The user after the effects, and where the code of a factor was sent.
pub(super) struct Applied {
    pub user: Option<User>,
    pub sent: Option<CodeDelivery>,
}

/// What effects are applied with.
#[derive(Clone, Copy)]
struct EffectContext<'a> {
    input: &'a StepInput<'a>,
    products: &'a Products,
    accounts: &'a AccountService,
    now: Timestamp,
    entropy: &'a dyn Entropy,
}

impl SignInService {
    /// Returns the message of the effects, whose code must not change where the transaction is
    /// repeated.
    pub(super) async fn factor_message(
        &self,
        input: &StepInput<'_>,
        (effects, facts): (&[Effect], &Facts),
    ) -> Result<Option<FactorMessage>, SignInError> {
        let lifetime = input.sender.client.settings.session_validity();
        for effect in effects {
            let message = match (effect, &input.user) {
                (Effect::SendCode(factor), Some(user)) => {
                    self.accounts.factor_message((&input.sender, user), *factor, lifetime).await?
                }
                (Effect::SendFirstCode(factor), user) => {
                    let has =
                        FirstFactor::of_code(*factor).is_some_and(|of| facts.first_factors.contains(&of));
                    // A disabled user looks like a name without one.
                    let user = user.as_ref().filter(|user| has && user.enabled);
                    let to = CodeAccount { user, ..input.code_account() };
                    self.accounts.first_factor_message(&input.sender, to, *factor, lifetime).await?
                }
                _ => continue,
            };
            return Ok(Some(message));
        }
        Ok(None)
    }

    /// Applies the effects. `signs_in` is whether the step succeeds.
    pub(super) async fn apply(
        &self,
        input: &StepInput<'_>,
        effects: &[Effect],
        signs_in: bool,
        products: &Products,
        now: Timestamp,
    ) -> Result<Applied, SignInError> {
        let context =
            EffectContext { input, products, accounts: &self.accounts, now, entropy: &*self.entropy };
        let Some(before) = &input.user else {
            // A code of nobody has the same writes as one of a user.
            let sent = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, SignInError> {
                Box::pin(async move {
                    if effects.contains(&Effect::SpendChallenge) {
                        context.spend(tx).await?;
                    }
                    context.send_code(tx, None).await
                })
            });
            return Ok(Applied { user: None, sent: sent.await? });
        };
        let changed = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, SignInError> {
            Box::pin(async move {
                // The facts are of before the work, which took its time.
                let mut user = match tx.user_by_number(before.no).await? {
                    Some(current) if current.status != before.status => {
                        return Err(Refusal::InvalidSession.into());
                    }
                    Some(current) if current.enabled || !signs_in => current,
                    Some(_) => return Err(Refusal::UserDisabled.into()),
                    None => return Err(Refusal::InvalidSession.into()),
                };
                let set_at = tx.password(user.no).await?.map(|password| password.set_at);
                if set_at != input.password.as_ref().map(|password| password.set_at) {
                    return Err(Refusal::InvalidSession.into());
                }
                let mut sent = None;
                for effect in effects {
                    match effect {
                        Effect::SendFirstCode(_) | Effect::SendCode(_) => {
                            sent = context.send_code(tx, Some(&user)).await?;
                        }
                        effect => user = context.apply_one(tx, user, effect).await?,
                    }
                }
                Ok(Applied { user: Some(user), sent })
            })
        });
        changed.await
    }
}

impl EffectContext<'_> {
    /// Applies one effect. Returns the user after it.
    async fn apply_one(self, tx: &mut Tx<'_>, user: User, effect: &Effect) -> Result<User, SignInError> {
        let Self { input, products, now, entropy, .. } = self;
        let pool = input.sender.pool;
        let policy = &pool.settings.password_policy;
        match effect {
            Effect::ResetFailures => tx.clear_password_failures(user.no).await?,
            Effect::UpdateCredentials => {
                if let Some(credentials) = &products.credentials {
                    credentials.save(tx, user.no, entropy).await?;
                }
            }
            Effect::SetPassword => {
                let prepared = products.password.as_ref().ok_or(Refusal::InvalidSession)?;
                prepared.set(tx, user.no, policy, (now, None), entropy).await?;
            }
            Effect::SetAttributes(attributes) => {
                let changes: Attributes = attributes.iter().collect();
                let actor = Actor::User(&input.sender.client.settings);
                return Ok(update_attributes(tx, pool, &user, &changes, actor, now, entropy).await?.user);
            }
            Effect::SetStatus(status) => {
                let takeover = Takeover::LastVerifier;
                return Ok(set_status(tx, pool, &user, *status, takeover, now, entropy).await?);
            }
            Effect::ConfirmSignUp => {
                let code = products.code.as_ref().ok_or(Refusal::InvalidSession)?;
                // A sign-up takes no alias from another user.
                return Ok(confirm(tx, pool, &user, Some(code), Takeover::Refuse, now, entropy).await?);
            }
            Effect::SpendChallenge => self.spend(tx).await?,
            // The code of a token, or a recovery code, is used up already.
            Effect::UseCode => {
                if let Some(code) = &products.code {
                    code.use_up(tx).await?;
                }
            }
            Effect::UseDevice => {
                let address = input.sender.address.map_or_else(String::new, |address| address.to_string());
                let key = input.device_key().unwrap_or_default();
                if !tx.use_remembered_device(user.no, key, (&address, now)).await? {
                    return Err(Refusal::DeviceNotFound.into());
                }
            }
            // Sent by `send_code`.
            Effect::SendFirstCode(_) | Effect::SendCode(_) => {}
        }
        Ok(user)
    }

    /// Records that the challenge was answered.
    async fn spend(self, tx: &mut Tx<'_>) -> Result<(), SignInError> {
        let attempt = self.input.attempt.as_ref().ok_or(Refusal::InvalidSession)?;
        let expires_at = Timestamp::from_millis(attempt.expires_at);
        match tx.use_once(ReplayKey::LoginAttempt, &attempt.id, expires_at).await? {
            true => Ok(()),
            false => Err(Refusal::InvalidSession.into()),
        }
    }

    /// Stores the code of a factor, and adds its message to the outbox.
    async fn send_code(
        self,
        tx: &mut Tx<'_>,
        user: Option<&User>,
    ) -> Result<Option<CodeDelivery>, SignInError> {
        let Some(message) = &self.products.message else { return Ok(None) };
        let to = CodeAccount { user, ..self.input.code_account() };
        let sent = self.accounts.send_factor_code(tx, (&self.input.sender, to), message, self.now);
        Ok(Some(sent.await?))
    }
}
