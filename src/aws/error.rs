//! Errors in the form of AWS's JSON protocol.

use crate::base::Duration;
use crate::directory::DirectoryError;
use crate::store::StoreError;
use http::StatusCode;
use std::borrow::Cow;
use thiserror::Error;

/// An exception for the client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{exception}: {message}")]
pub struct ApiError {
    /// The name of the exception.
    pub exception: &'static str,
    /// The message.
    pub message: Cow<'static, str>,
    /// When to try again, if that can help.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// Creates an exception.
    pub fn new(exception: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { exception, message: message.into(), retry_after: None }
    }

    /// Creates an exception that says when to try again.
    pub fn too_many_requests(retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new("TooManyRequestsException", "Rate exceeded") }
    }

    /// Creates an exception of a member of the request.
    pub fn invalid_parameter(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("InvalidParameterException", message)
    }

    /// Creates an exception of the request's JSON.
    pub fn serialization(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("SerializationException", message)
    }

    /// Creates an exception of a credential or a state.
    pub fn not_authorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new("NotAuthorizedException", message)
    }

    /// Creates a server fault.
    pub fn internal() -> Self {
        Self::new("InternalErrorException", "Internal error.")
    }

    /// Returns the status: 400, but for a server fault and a body above the limit.
    pub fn status(&self) -> StatusCode {
        match self.exception {
            "InternalErrorException" => StatusCode::INTERNAL_SERVER_ERROR,
            "RequestEntityTooLargeException" => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<DirectoryError> for ApiError {
    fn from(error: DirectoryError) -> Self {
        if let DirectoryError::Store(error) = &error {
            tracing::error!(%error, "database error");
        }
        let retry_after = error.retry_after();
        Self { retry_after, ..Self::new(error.exception(), error.message().to_owned()) }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        DirectoryError::Store(error).into()
    }
}
