//! Operations and their handlers.

use super::call::{AdminCall, Call};
use super::error::ApiError;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The result of a handler.
pub type Answer<T> = Result<T, ApiError>;

/// An empty response.
#[derive(Serialize)]
pub struct Empty {}

type Run<C> = for<'a> fn(&'a C, Value) -> BoxFuture<'a, Answer<Value>>;

/// An operation of the API.
pub struct Operation {
    /// Its name.
    pub name: &'static str,
    /// What an administrator's policies decide on.
    pub resource: Resource,
    /// Its handler.
    pub handler: Handler,
}

/// The name of an implemented operation, and who calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationSummary {
    /// The name.
    pub name: &'static str,
    /// Whether an administrator signs the request.
    pub is_signed: bool,
}

/// The resource of a policy's decision ("Actions, resources, and condition keys for Amazon Cognito
/// User Pools").
#[derive(Clone, Copy, Debug)]
pub enum Resource {
    /// The user pool of the member `UserPoolId`.
    Pool,
    /// The ARN of the member `ResourceArn`.
    Arn,
    /// No resource: `*`.
    Any,
}

/// The handler of an operation: requests of end users have no signature, those of administrators
/// do.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Called by apps.
    Public(Run<Call>),
    /// Called with an access key whose policies allow it.
    Admin(Run<AdminCall>),
}

/// Reads the request of a handler, whose members were checked against the model.
///
/// # Errors
/// Returns `SerializationException` for a member that the model allows and the handler cannot read.
pub fn decode<T: DeserializeOwned>(request: Value) -> Answer<T> {
    serde_json::from_value(request).map_err(|error| {
        tracing::debug!(%error, "a request fits the model and not its handler");
        ApiError::serialization("The request could not be read.")
    })
}

/// Writes the response of a handler.
///
/// # Errors
/// Returns `InternalErrorException` if it is no JSON.
pub fn encode(response: &impl Serialize) -> Answer<Value> {
    serde_json::to_value(response).map_err(|_| ApiError::internal())
}

/// Declares operations: `Public "SignUp" => sign_up`. The resource is a pool but where another one
/// is named: `Admin "ListUserPools" on Any => list_user_pools`.
macro_rules! operations {
    (@resource) => { $crate::aws::operation::Resource::Pool };
    (@resource $resource:ident) => { $crate::aws::operation::Resource::$resource };
    ($($kind:ident $name:literal $(on $resource:ident)? => $handler:path;)*) => {
        &[$($crate::aws::operation::Operation {
            name: $name,
            resource: $crate::aws::operation::operations!(@resource $($resource)?),
            handler: $crate::aws::operation::Handler::$kind(|call, request| {
                Box::pin(async move {
                    let response = $handler(call, $crate::aws::operation::decode(request)?).await?;
                    $crate::aws::operation::encode(&response)
                })
            }),
        }),*]
    };
}
pub(super) use operations;
