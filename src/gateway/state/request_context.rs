//! The context that the steps of a request share.

use crate::catalogue::Catalogue;
use crate::gateway::request::RequestInfo;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::state::gateway::Gateway;
use crate::gateway::state::routes::RouteTable;
use crate::pages::{ErrorResponse, ResponseContext};
use crate::store::StoreError;
use pingora_proxy::Session;

/// A request, the gateway, and the routes at the time of the request's receipt.
#[derive(Clone, Copy)]
pub struct RequestContext<'a> {
    /// The gateway.
    pub gateway: &'a Gateway,
    /// The request as pingora parsed it.
    pub session: &'a Session,
    /// The routes and the configuration.
    pub table: &'a RouteTable,
    /// The request as the gateway parsed it.
    pub incoming: &'a RequestInfo,
}

impl<'a> RequestContext<'a> {
    /// Returns the configuration.
    pub fn catalogue(&self) -> &'a Catalogue {
        &self.table.catalogue
    }

    /// Returns the context of a local response.
    pub fn response_context(&self) -> ResponseContext {
        self.incoming.response_context(self.session)
    }

    /// Returns `failure` as the response.
    pub fn failure(&self, failure: ErrorResponse) -> LocalResponse {
        failure.into_response(&self.response_context()).into()
    }

    /// Returns `failure` as the response, and writes the refusal to the audit log.
    pub fn refusal(&self, failure: ErrorResponse, reason: &str) -> LocalResponse {
        self.incoming.audit_refusal(reason);
        self.failure(failure)
    }

    /// Logs a database error and returns the response to it.
    pub fn unavailable(&self, error: &StoreError) -> LocalResponse {
        unavailable(&self.response_context(), error)
    }
}

/// Logs a database error and returns the response to it.
pub fn unavailable(visitor: &ResponseContext, error: &StoreError) -> LocalResponse {
    tracing::error!(request_id = visitor.request_id, %error, "the store did not do its part");
    ErrorResponse::unavailable().into_response(visitor).into()
}
