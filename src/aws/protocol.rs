//! AWS's JSON protocol over HTTP: requests, responses, errors, CORS.

use super::access::{ConfiguredAdministrators, SignedAccess};
use super::administrator::{ArnScope, Requested, authorize, requested_resource};
use super::call::{AdminCall, Call};
use super::cognito_idp::find_operation;
use super::error::ApiError;
use super::exceptions::as_listed;
use super::metrics;
use super::model::{COGNITO_IDP, OperationModel};
use super::operation::{Handler, Operation};
use super::sigv4::SignedRequest;
use super::supported::refuse_unsupported;
use super::validate::{prune, unknown_in_response, validate};
use crate::handlers::{AppState, RequestOrigin};
use crate::jose::UniqueKeysValue;
use crate::pages::HttpResponse;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::routing::post;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts};
use serde_json::Value;
use std::sync::Arc;

/// The prefix of `X-Amz-Target`.
const TARGET_PREFIX: &str = "AWSCognitoIdentityProviderService.";
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
/// The headers that SDKs in browsers send.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, cache-control, content-type, x-amz-target, x-amz-user-agent, x-amz-date, x-amz-security-token, \
     x-amz-content-sha256, amz-sdk-invocation-id, amz-sdk-request",
);
const EXPOSED_HEADERS: HeaderValue =
    HeaderValue::from_static("x-amzn-requestid, x-amzn-errortype, x-amzn-errormessage, retry-after");
/// Exceptions of a guess that was wrong: an address has a limited number of them.
const WRONG_GUESSES: [&str; 4] =
    ["NotAuthorizedException", "UserNotFoundException", "CodeMismatchException", "ExpiredCodeException"];
/// Maximum characters of a message in a header.
const MAX_HEADER_MESSAGE: usize = 512;

/// The state of the API's routes.
#[derive(Clone)]
struct Api {
    app: Arc<AppState>,
    access: Arc<dyn SignedAccess>,
}

/// Returns the routes of the API, for the administrators of the configuration.
pub fn router(app: Arc<AppState>) -> Router {
    router_with(app, Arc::new(ConfiguredAdministrators))
}

/// Returns the routes of the API with another authentication of signed requests.
pub fn router_with(app: Arc<AppState>, access: Arc<dyn SignedAccess>) -> Router {
    Router::new().route("/", post(answer).options(preflight)).with_state(Api { app, access })
}

/// Returns whether a request to this path names an operation.
pub fn is_api_request(path: &str, headers: &HeaderMap) -> bool {
    path == "/" && headers.contains_key(TARGET)
}

/// Returns the response to a body above the limit.
pub fn entity_too_large(request_id: &str) -> HttpResponse {
    let error = ApiError::new("RequestEntityTooLargeException", "The request is too large.");
    metrics::request("unknown", error.exception);
    write(Err(error), request_id)
}

/// Answers a browser's preflight request. Any site may call the API: a request has its credentials
/// in the body, and no cookie.
async fn preflight() -> axum::response::Response {
    let mut response = axum::response::Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

async fn answer(State(api): State<Api>, mut parts: Parts, body: Bytes) -> axum::response::Response {
    let origin: RequestOrigin = parts.extensions.remove().unwrap_or_default();
    let target = Target::of(&parts.headers);
    let result = match &target {
        Ok(target) => target.call(&api, &parts, &origin, &body).await,
        Err(error) => Err(error.clone()),
    };
    let operation = target.as_ref().map_or("unknown", |target| target.operation.name);
    metrics::request(operation, result.as_ref().map_or_else(|error| error.exception, |_| "success"));
    write(result, &origin.request_id).map(Body::from)
}

/// The operation that a request names.
struct Target {
    operation: &'static Operation,
    model: &'static OperationModel,
}

impl Target {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let unknown = || ApiError::new("UnknownOperationException", "The operation is not known.");
        let mut values = headers.get_all(TARGET).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(unknown()) };
        let name =
            value.to_str().ok().and_then(|value| value.strip_prefix(TARGET_PREFIX)).ok_or_else(unknown)?;
        let (operation, model) = find_operation(name).zip(COGNITO_IDP.operation(name)).ok_or_else(unknown)?;
        Ok(Self { operation, model })
    }

    /// Runs the operation.
    async fn call(
        &self,
        api: &Api,
        parts: &Parts,
        origin: &RequestOrigin,
        body: &[u8],
    ) -> Result<Value, ApiError> {
        let mut request = read_body(body)?;
        let call = Call::new(api.app.clone(), origin.client, language(&parts.headers));
        let (name, input) = (self.operation.name, &self.model.input);
        let response = match self.operation.handler {
            Handler::Public(run) => {
                validate(&COGNITO_IDP, input, &request)?;
                prune(&COGNITO_IDP, input, &mut request);
                limited(&call, run(&call, request)).await.map_err(|error| self.as_listed(error))?
            }
            Handler::Admin(run) => {
                let call = self.admin_call((api, call), parts, origin, body, &request)?;
                let pool = request.get("UserPoolId").and_then(Value::as_str);
                let checked = validate(&COGNITO_IDP, input, &request)
                    .and_then(|()| refuse_unsupported(&request))
                    .and_then(|()| pool.map_or(Ok(()), |id| call.check_pool(id)));
                let result = match checked {
                    Ok(()) => {
                        prune(&COGNITO_IDP, input, &mut request);
                        run(&call, request).await
                    }
                    Err(error) => Err(error),
                };
                let result = result.map_err(|error| self.as_listed(error));
                audit(name, &call, origin, &result);
                result?
            }
        };
        if cfg!(debug_assertions)
            && let Some(output) = &self.model.output
            && let Some(unknown) = unknown_in_response(&COGNITO_IDP, output, &response)
        {
            tracing::error!(operation = name, unknown, "the model does not know a part of the response");
            return Err(ApiError::internal());
        }
        Ok(response)
    }

    /// Returns an error of the operation as an exception that the model lists for it.
    fn as_listed(&self, error: ApiError) -> ApiError {
        as_listed(self.operation.name, self.model, error)
    }

    /// Verifies the signature, and evaluates the administrator's policies.
    fn admin_call(
        &self,
        (api, call): (&Api, Call),
        parts: &Parts,
        origin: &RequestOrigin,
        body: &[u8],
        request: &Value,
    ) -> Result<AdminCall, ApiError> {
        let (path, query) = origin.target.split_once('?').unwrap_or((&origin.target, ""));
        let signed = SignedRequest { method: &parts.method, path, query, headers: &parts.headers, body };
        let now = call.app.clock.now();
        let by = api.access.authenticate(&call.catalogue, &signed, now)?;
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let scope = ArnScope { region: &by.region, account_id: &call.catalogue.config.account_id };
        let resource = requested_resource(scope, self.operation.resource, request);
        let requested = Requested {
            operation: self.operation.name,
            resource: &resource,
            client: origin.client,
            user_agent: text("user-agent"),
            now,
        };
        let permit = match authorize(&by.administrator, &requested) {
            Ok(permit) => permit,
            Err(error) => {
                let (operation, administrator) = (self.operation.name, &by.administrator.name);
                let pool = request.get("UserPoolId").and_then(Value::as_str);
                tracing::warn!(
                    target: "audit", event = "api_denied", request_id = origin.request_id, operation,
                    administrator, pool
                );
                return Err(error);
            }
        };
        Ok(AdminCall { call, by, _permit: permit })
    }
}

/// Reads the body: JSON without a member that occurs twice, of which two parsers could choose
/// different values. An empty body is an empty object.
fn read_body(body: &[u8]) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    match serde_json::from_slice(body) {
        // PostgreSQL stores no U+0000.
        Ok(UniqueKeysValue(value)) if contains_nul(&value) => {
            Err(ApiError::serialization("U+0000 is not allowed in JSON."))
        }
        Ok(UniqueKeysValue(value)) => Ok(value),
        Err(error) if error.is_data() => Err(ApiError::serialization("A member occurs twice in JSON.")),
        Err(_) => Err(ApiError::serialization("Unexpected token or end of input in JSON.")),
    }
}

fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(contains_nul),
        Value::Object(members) => {
            members.iter().any(|(name, value)| name.contains('\0') || contains_nul(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Runs a public operation, and counts a wrong guess against the client's address.
async fn limited(call: &Call, run: impl Future<Output = Result<Value, ApiError>>) -> Result<Value, ApiError> {
    let result = run.await;
    // A request that succeeds has proved something, or was admitted before its work.
    if let Err(error) = &result
        && !call.proves_itself()
    {
        call.admit()?;
        if WRONG_GUESSES.contains(&error.exception) {
            call.record_guess();
        }
    }
    result
}

/// Returns the first language of `Accept-Language`.
fn language(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(http::header::ACCEPT_LANGUAGE)?.to_str().ok()?;
    let first = value.split([',', ';']).next()?.trim();
    let is_language = !first.is_empty()
        && first.len() <= 35
        && first.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_language.then(|| first.to_owned())
}

/// Writes the audit line of an administrator's call.
fn audit(
    operation: &'static str,
    call: &AdminCall,
    origin: &RequestOrigin,
    result: &Result<Value, ApiError>,
) {
    let (administrator, request_id) = (&*call.by.administrator.name, &*origin.request_id);
    let client = call.address.map(|address| address.to_string());
    let result = result.as_ref().map_or_else(|error| error.exception, |_| "success");
    tracing::info!(
        target: "audit", event = "api_call", request_id, operation, administrator, client, result
    );
}

/// Writes a response.
fn write(result: Result<Value, ApiError>, request_id: &str) -> HttpResponse {
    let (status, body) = match &result {
        Ok(value) => (StatusCode::OK, value.to_string()),
        Err(error) => {
            let body = serde_json::json!({ "__type": error.exception, "message": error.message });
            (error.status(), body.to_string())
        }
    };
    let mut response = HttpResponse::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    let mut insert = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    insert("x-amzn-requestid", request_id.to_owned());
    if let Err(error) = &result {
        insert("x-amzn-errortype", format!("{}:", error.exception));
        // A header has ASCII alone.
        let visible = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        insert("x-amzn-errormessage", error.message.chars().take(MAX_HEADER_MESSAGE).map(visible).collect());
        if let Some(wait) = error.retry_after {
            insert("retry-after", wait.as_secs().max(1).to_string());
        }
    }
    response
}
