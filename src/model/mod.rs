//! Plain data of users and sessions, and its changes. No code in this module reads a clock, a file
//! or a database.

mod acr;
mod app_client;
mod attributes;
mod claim;
mod devices;
mod factors;
mod first_factors;
mod grant;
mod identity_provider;
mod key_schedule;
mod names;
mod password_policy;
mod pool;
mod pool_domain;
mod provider_link;
mod provider_tokens;
mod resource_server;
mod schema;
mod session;
mod ui_customization;
mod user;
mod user_status;

pub use acr::AcrLevel;
pub use app_client::{AppClient, AppClientSettings, ClientSecret, RefreshRotation};
pub use attributes::Attributes;
pub use claim::{TokenClaims, UnreadableClaim, claim_texts, is_distributed};
pub use devices::{DeviceMode, DeviceSettings};
pub use factors::{FACTORS, Factor, MfaMode, MfaSettings, UserFactors};
pub use first_factors::{FIRST_FACTORS, FirstFactor, has_code_address, usable_first_factors};
pub use grant::{
    AuthorizationCode, AuthorizationRequest, Consent, DeviceRequest, DeviceState, PushedRequest, ResponseType,
};
pub use identity_provider::{IdentityProvider, IdentityProviderSettings, ProviderKind};
pub use key_schedule::{KeyPhase, KeySchedule};
pub use names::{
    MAX_NAME_LENGTH, MAX_SEARCH_KEY, NameKind, SearchKey, SignInName, is_federated_name, is_name,
    is_phone_number,
};
pub use password_policy::{PasswordPolicy, PolicyError};
pub use pool::{
    Members, Pool, PoolSettings, PoolSource, PoolState, Quotas, Recovery, SignInAttribute, SignInSettings,
    UserGroup,
};
pub use pool_domain::PoolDomain;
pub use provider_link::{LOCAL_PROVIDER, ProviderLink, SUBJECT_ATTRIBUTE, is_link_issuer};
pub use provider_tokens::{Freshness, ProviderTokens, RenewalTimes};
pub use resource_server::{ResourceScope, ResourceServer, ResourceServerSettings};
pub use schema::{
    AttributeType, CUSTOM_PREFIX, MAX_ATTRIBUTES, MAX_CUSTOM_NAME_LENGTH, Schema, SchemaAttribute,
    SchemaViolations, check_addresses,
};
pub use session::{CookieScope, LogoutNotice, Session, SessionCookie};
pub use ui_customization::{UiCustomization, UiCustomizationKey};
pub use user::{
    Identity, MAX_ATTRIBUTE_LENGTH, MAX_GROUP_NAME_LENGTH, MAX_GROUPS, Profile, User, is_address,
};
pub use user_status::UserStatus;
