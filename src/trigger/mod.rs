//! Functions that are called at events of user pools, with the events of AWS Lambda's Cognito
//! triggers: their data, their delivery, and the validation of their answers.
//!
//! A function is called outside of every transaction, with a deadline, a limit on concurrent calls,
//! and a bound on its answer. A slow function holds up only the requests that wait for it.

mod answer;
mod custom_auth;
mod delivery;
mod error;
mod event;
mod federation;
mod messages;
mod metrics;
mod migration;
mod request;
mod sign_in;
mod sign_up;
mod tokens;

pub use answer::check_answer;
pub use custom_auth::{
    ChallengeResult, CreateAuthChallenge, CreatedChallenge, DefineAuthChallenge, DefinedChallenge,
    VerifiedAnswer, VerifyAuthChallenge,
};
pub use error::{TriggerError, TriggerErrorKind, words_of_function};
pub use event::{ClientData, Event, Metadata, NoResponse, Subject, user_attributes};
pub use federation::{InboundFederation, MappedAttributes, ProviderAttributes};
pub use messages::{CODE_PARAMETER, CustomMessage, CustomMessageAnswer, LINK_PARAMETER, USERNAME_PARAMETER};
pub use migration::{MigratedUser, UserMigration};
pub use sign_in::{PostAuthentication, PreAuthentication};
pub use sign_up::{PostConfirmation, PreSignUp, PreSignUpAnswer};
pub use tokens::{GroupConfiguration, PreTokenGeneration, TokenAnswer, token_overrides};

use crate::base::{Clock, Entropy, MonotonicTime, uuid};
use crate::catalogue::CatalogueCell;
use crate::config::Trigger;
use crate::model::Pool;
use delivery::{Endpoint, Failure};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Calls the functions of user pools.
pub struct Triggers {
    /// The configuration, which has the addresses of the functions.
    catalogue: Arc<CatalogueCell>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// The functions that were called, by name.
    endpoints: Mutex<HashMap<String, Arc<Endpoint>>>,
}

impl Triggers {
    /// Creates the functions of a deployment, which uses the current settings in `catalogue`.
    pub fn new(catalogue: Arc<CatalogueCell>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { catalogue, clock, entropy, endpoints: Mutex::default() }
    }

    /// Returns whether `pool` has a function for the event `E`.
    pub fn has<E: Event>(&self, pool: &Pool) -> bool {
        pool.settings.triggers.name(E::EVENT).is_some()
    }

    /// Calls the function that the pool of `subject` has for the event, and returns the answer.
    /// Returns `None` if it has none.
    ///
    /// # Errors
    /// Returns the function's refusal, or why it gave no valid answer.
    pub async fn call<E: Event>(
        &self,
        subject: Subject<'_>,
        source: &'static str,
        event: &E,
    ) -> Result<Option<E::Response>, TriggerError> {
        let Some(name) = subject.pool.settings.triggers.name(E::EVENT) else { return Ok(None) };
        let error = |kind, words| TriggerError::new(E::EVENT, kind, words);
        let body = event::write(subject, source, event)
            .map_err(|_| error(TriggerErrorKind::Unexpected, "the event cannot be written".to_owned()))?;
        let (id, begun) = (uuid(&*self.entropy), self.clock.monotonic());
        let delivered = match self.declared(name) {
            Some(trigger) => self.deliver(&trigger, &id, &body).await,
            // The file no longer has the function. What it protects stays closed.
            None => Err(Failure::Undeclared),
        };
        let answer = delivered.and_then(|answer| answer::read::<E>(&answer));
        self.report((name, source, &id), subject, begun, answer.as_ref().err());
        answer.map(Some).map_err(|failure| failure.error(E::EVENT))
    }

    fn declared(&self, name: &str) -> Option<Trigger> {
        let config = self.catalogue.load().config.clone();
        config.triggers.iter().find(|trigger| trigger.name == name).cloned()
    }

    async fn deliver(&self, trigger: &Trigger, id: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
        self.endpoint(trigger)?.deliver(id, body, &*self.clock).await
    }

    /// Returns the connections and the limit of a function, which last as long as its settings.
    fn endpoint(&self, trigger: &Trigger) -> Result<Arc<Endpoint>, Failure> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = endpoints.get(&trigger.name).filter(|known| known.settings == *trigger) {
            return Ok(endpoint.clone());
        }
        let endpoint = Arc::new(Endpoint::new(trigger)?);
        endpoints.insert(trigger.name.clone(), endpoint.clone());
        Ok(endpoint)
    }

    /// Counts a call, and writes a line of a failure. The event and the words of the function are
    /// not written: both may contain a password.
    fn report(
        &self,
        (trigger, source, id): (&str, &str, &str),
        subject: Subject<'_>,
        begun: MonotonicTime,
        failure: Option<&Failure>,
    ) {
        let duration = self.clock.monotonic().since(begun);
        metrics::count(trigger, failure.map_or("success", Failure::result), duration);
        let (pool, client_id) = (&*subject.pool.id, subject.client_id);
        match failure {
            None => tracing::debug!(trigger, source, pool, id, ?duration, "a function was called"),
            Some(failure) => {
                let (reason, detail) = (failure.result(), failure.to_string());
                tracing::warn!(
                    target: "audit",
                    event = "trigger_failed",
                    trigger,
                    source,
                    pool,
                    client_id,
                    id,
                    reason,
                    detail,
                );
            }
        }
    }
}

/// Sends `body` to a function, and returns its answer. `id` is the same in all tries.
///
/// # Errors
/// Returns why there is no answer, with the words of a function that refuses, for an operator.
pub async fn send(trigger: &Trigger, id: &str, body: &[u8], clock: &dyn Clock) -> Result<Vec<u8>, String> {
    let sent = async { Endpoint::new(trigger)?.deliver(id, body, clock).await };
    sent.await.map_err(|failure| match failure {
        Failure::Denied(words) => format!("the function refused: {words}"),
        failure => failure.to_string(),
    })
}
