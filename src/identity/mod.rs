//! Identity pools: the identity and the role of a principal. The role's policies authorize the
//! principal's requests (Amazon Cognito Developer Guide, "Using role-based access control", "Using
//! attributes for access control").

mod assumed;
mod context;
mod groups;
mod identities;
mod person;
mod role;

pub use assumed::{ASSUME, AssumedRole, IDENTITY_POOLS};
pub use context::RequestContext;
pub use groups::Groups;
pub use identities::{IdentityDirectory, MergeOutcome, guest_id, merge_guest};
pub use person::Person;
pub use role::{NoRole, Reason, RoleChoice, choose_role};
