//! Amazon Cognito's API for user pools, as AWS SDKs call it: `POST /` with the operation in
//! `X-Amz-Target` and JSON in the body.
//!
//! A request is checked against the model of the service (`model`), its signature is verified if
//! the operation has one (`sigv4`), the administrator's policies are evaluated, and a handler in
//! `cognito_idp` calls the directory. No handler holds a rule of its own.

mod access;
mod administrator;
mod call;
mod cognito_idp;
mod error;
mod exceptions;
mod metrics;
mod model;
mod operation;
mod protocol;
mod sigv4;
mod supported;
mod validate;

pub use access::{SignedAccess, SignedBy};
pub use cognito_idp::operations;
pub use error::ApiError;
pub use operation::OperationSummary;
pub use protocol::{entity_too_large, is_api_request, router, router_with};
pub use sigv4::{Presented, SignedRequest};
