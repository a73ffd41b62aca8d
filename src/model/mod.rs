//! Plain state and its changes: who the users are and what sessions they have. Nothing here reads
//! a clock, a file or a database.

mod attributes;
mod claim;
mod grant;
mod key_schedule;
mod provider_tokens;
mod session;
mod user;
mod user_status;

pub use attributes::Attributes;
pub use claim::{TokenClaims, UnreadableClaim, claim_texts, is_distributed};
pub use grant::{AuthorizationCode, AuthorizationRequest};
pub use key_schedule::{KeyPhase, KeySchedule};
pub use provider_tokens::{Freshness, ProviderTokens, RenewalTimes};
pub use session::{CookieScope, Session, SessionCookie};
pub use user::{
    Identity, MAX_ATTRIBUTE_LENGTH, MAX_GROUP_NAME_LENGTH, MAX_GROUPS, Profile, User, is_address,
};
pub use user_status::UserStatus;
