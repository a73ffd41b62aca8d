//! The sign-in state machine of a user pool. Pages, OAuth endpoints and the Cognito API drive it;
//! none of them decides anything about a sign-in.
//!
//! A sign-in is a sequence of steps. Each step has a [`State`], the client's [`Answer`] to it, and
//! the [`Facts`] that the store and the password hasher supply. [`advance`] is a pure function of
//! these: it returns the work that is still to be done, or the [`Outcome`] with its [`Effect`]s.
//! The state between two steps is encrypted into the `Session` string that the client returns
//! ([`SessionSealer`]), so that anonymous calls write nothing.

mod custom;
mod custom_work;
#[cfg(test)]
mod device_tests;
mod effects;
#[cfg(test)]
mod factor_tests;
mod facts;
mod first_factor;
mod input;
mod names;
mod refusal;
mod reply;
mod second_factor;
mod service;
#[cfg(test)]
mod service_tests;
mod session;
mod set_up;
mod state;
mod step;
#[cfg(test)]
mod table_tests;
mod work;

pub use names::{ChallengeId, ChallengeNames};
pub use refusal::Refusal;
pub use reply::{
    AuthenticatedUser, ChallengeReply, Exchange, FactorParameters, NewPasswordParameters, Reply,
    SignInDevice, SignInError,
};
pub use service::SignInService;
pub use session::{Attempt, SessionError, SessionSealer, StepUp, client_of_session};
pub use state::{
    Answer, Challenge, Definition, ExchangeState, Facts, Flow, NamedDevice, PasswordCheck, PrivateParameters,
    Rules, State, TokenSecret, UserFacts, WorkResult,
};
pub use step::{Effect, Outcome, Step, Work, advance};
