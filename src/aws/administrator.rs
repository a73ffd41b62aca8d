//! Authentication and authorization of administrators.

use super::error::ApiError;
use super::operation::Resource;
use super::sigv4::{Presented, SignedRequest};
use crate::base::Timestamp;
use crate::catalogue::{Administrator, Catalogue};
use crate::policy::{self, Context, Denial, EvalRequest, Key, Known, Permit, Question, Values};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// The service in credential scopes, actions and ARNs.
const SERVICE: &str = "cognito-idp";

/// What an administrator's request is about.
#[derive(Clone, Copy, Debug)]
pub struct Requested<'a> {
    /// The operation.
    pub operation: &'a str,
    /// The resource: an ARN, or `*`.
    pub resource: &'a str,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The `User-Agent` header.
    pub user_agent: Option<&'a str>,
    /// The time of the request.
    pub now: Timestamp,
}

/// Verifies the signature of a request.
///
/// # Errors
/// Returns AWS's exceptions of signatures.
pub fn authenticate(
    catalogue: &Catalogue,
    request: &SignedRequest<'_>,
    now: Timestamp,
) -> Result<Arc<Administrator>, ApiError> {
    let presented = Presented::read(request)?;
    let administrator =
        catalogue.administrators.with_access_key(&presented.access_key_id).ok_or_else(|| {
            let message = "The security token included in the request is invalid.";
            ApiError::new("UnrecognizedClientException", message)
        })?;
    let scope = (catalogue.config.region.as_str(), SERVICE);
    presented.verify(request, &administrator.secret_access_key, scope, now)?;
    Ok(administrator.clone())
}

/// Evaluates the policies of `administrator`.
///
/// # Errors
/// Returns `AccessDeniedException` with the action and the resource.
pub fn authorize(administrator: &Administrator, requested: &Requested<'_>) -> Result<Permit, ApiError> {
    let action = format!("{SERVICE}:{}", requested.operation);
    let resource = requested.resource;
    let context = RequestContext { administrator, requested };
    let request = EvalRequest { action: &action, resource, loose: None, principal: None, context: &context };
    policy::evaluate(Question::Policy(&administrator.grants, &request)).map_err(|denial| {
        let why = match denial {
            Denial::Denied(_) => "with an explicit deny in an identity-based policy".to_owned(),
            Denial::NotSignedIn | Denial::NotAllowed => {
                format!("because no identity-based policy allows the {action} action")
            }
        };
        let arn = &administrator.arn;
        let message =
            format!("User: {arn} is not authorized to perform: {action} on resource: {resource} {why}");
        ApiError::new("AccessDeniedException", message)
    })
}

/// The region and the account in ARNs.
#[derive(Clone, Copy, Debug)]
pub struct ArnScope<'a> {
    /// The region.
    pub region: &'a str,
    /// The account's id.
    pub account_id: &'a str,
}

/// Returns the resource that a request of an operation names; `*` if it names none.
pub fn requested_resource(scope: ArnScope<'_>, resource: Resource, request: &Value) -> String {
    let member = |name: &str| request.get(name).and_then(Value::as_str);
    let named = match resource {
        Resource::Pool => member("UserPoolId").map(|id| pool_arn(scope, id)),
        Resource::Arn => member("ResourceArn").map(str::to_owned),
        Resource::Any => None,
    };
    named.unwrap_or_else(|| "*".to_owned())
}

/// Returns the ARN of a user pool.
pub fn pool_arn(scope: ArnScope<'_>, id: &str) -> String {
    let ArnScope { region, account_id } = scope;
    format!("arn:aws:{SERVICE}:{region}:{account_id}:userpool/{id}")
}

/// Returns the id of the user pool of this region and account with this ARN.
pub fn pool_of_arn<'a>(scope: ArnScope<'_>, arn: &'a str) -> Option<&'a str> {
    arn.strip_prefix(&pool_arn(scope, "")).filter(|id| !id.is_empty())
}

/// The condition keys of an administrator's request.
struct RequestContext<'a> {
    administrator: &'a Administrator,
    requested: &'a Requested<'a>,
}

impl Context for RequestContext<'_> {
    fn values(&self, key: &Key) -> Values<'_> {
        let Key::Known(key) = key else { return Values::Absent };
        let requested = self.requested;
        let one = match key {
            Known::PrincipalArn => policy::Value::Text(&self.administrator.arn),
            Known::Username => policy::Value::Text(&self.administrator.name),
            Known::SourceIp => match requested.client {
                Some(address) => policy::Value::Ip(address),
                None => return Values::Unreadable,
            },
            Known::CurrentTime => policy::Value::Time(requested.now),
            Known::EpochTime => policy::Value::Number(requested.now.seconds()),
            Known::SecureTransport => policy::Value::Bool(true),
            Known::UserAgent => match requested.user_agent {
                Some(text) => policy::Value::Text(text),
                None => return Values::Absent,
            },
            Known::MultiFactorAuthPresent => policy::Value::Bool(false),
            Known::IdentityAud
            | Known::IdentitySub
            | Known::IdentityAmr
            | Known::UserId
            | Known::TokenIssueTime
            | Known::Referer
            | Known::MultiFactorAuthAge => return Values::Absent,
        };
        Values::One(one)
    }
}
