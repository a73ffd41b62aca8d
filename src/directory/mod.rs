//! Operations on the users and sessions of a user pool, shared by pages, OAuth endpoints and
//! commands.

mod account_code;
mod accounts;
mod answer_time;
mod attributes;
mod consents;
mod create;
mod credential_events;
mod error;
mod events;
mod export;
mod factors;
mod federated;
mod filter;
mod groups;
mod import;
mod lifecycle;
mod linking;
mod list;
mod maintenance;
mod names;
mod new_password;
mod page_token;
mod password;
mod password_attempts;
mod pool_cache;
pub mod pools;
mod provider_links;
mod remembered_devices;
mod secret_hash;
mod sender;
mod service;
mod sessions;
pub mod sign_in;
pub mod srp;
mod tokens;
mod turns;

pub use account_code::{CodePurpose, CodeSource, new_code};
pub use accounts::{
    AccountService, AdminNewUser, Administration, CodeDelivery, ConfirmationLink, Invitation, LinkState,
    SignUp, SignedUp,
};
pub use attributes::{Actor, AttributeUpdate, delete_attributes, update_attributes};
pub use create::{NewUser, Origin, create_user};
pub use credential_events::{
    CREDENTIAL_EVENTS, CredentialEvent, Current, Ends, Extent, end_tokens_everywhere, sign_out_everywhere,
};
pub use error::{DirectoryError, ErrorKind};
pub use events::{InboundProvider, PoolEvents, TokenSource};
pub use export::{ExportCounts, ExportError, export_users};
pub use factors::{ByUser, FactorChange, FactorService, NewToken, TokenDraft};
pub use federated::{FederatedAccount, new_user, upsert};
pub use filter::Filter;
pub use groups::{
    GroupChanges, NewGroup, add_to_group, create_group, delete_group, find_group, list_groups,
    list_groups_of_user, list_members, remove_from_group, update_group,
};
pub use import::{
    ImportCounts, ImportError, ImportEvent, ImportTarget, RowFailure, csv_header, import_users,
};
pub use lifecycle::{delete_user, set_enabled, set_status};
pub use linking::{LinkError, link, unlink};
pub use list::{UsersPage, UsersQuery, list_users, select_attributes};
pub use maintenance::{index_users, purge_pools};
pub use names::Takeover;
pub use new_password::{NewPassword, NewPasswordError, NewPasswords, PreparedPassword};
pub use page_token::{Page, PageRequest};
pub use password::{
    Argon2Params, HashError, HashFormatError, Hasher, HasherSettings, Locked, Lockout, MAX_LOCK,
    MAX_PASSWORD_CHARS, ParamsError, PasswordHash, Verdict, Violation, is_common_password,
};
pub use pool_cache::{CachedPool, PoolCache, PoolOfClient};
pub use provider_links::{LinkedUser, claim_link, find_linked_user};
pub use remembered_devices::{DeviceConfirmation, RememberedDeviceService};
pub use sender::Sender;
pub use service::{Directory, DirectoryDeps};
pub use sessions::{
    Authentication, Browser, PasswordSignIn, StepUpSession, begin_session, methods as authentication_methods,
};
pub use tokens::{
    API_SCOPE, CodeRedemption, DeviceError, DeviceRedemption, IssuedTokens, RefreshFlow, SignedIn,
    TokenService, TokenUser,
};
