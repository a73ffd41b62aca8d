//! Authentication and authorization of administrators.

use super::error::ApiError;
use super::sigv4::{Presented, SignedRequest};
use crate::base::Timestamp;
use crate::catalogue::{Administrator, Catalogue};
use crate::policy::{self, Context, Denial, EvalRequest, Key, Known, Permit, Question, Value, Values};
use std::net::IpAddr;
use std::sync::Arc;

/// The service in credential scopes, actions and ARNs.
const SERVICE: &str = "cognito-idp";

/// What an administrator's request is about.
#[derive(Clone, Copy, Debug)]
pub struct Requested<'a> {
    /// The operation.
    pub operation: &'a str,
    /// The id of the user pool, if the request names one.
    pub pool_id: Option<&'a str>,
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
pub fn authorize(
    catalogue: &Catalogue,
    administrator: &Administrator,
    requested: &Requested<'_>,
) -> Result<Permit, ApiError> {
    let action = format!("{SERVICE}:{}", requested.operation);
    let resource = resource(catalogue, requested.pool_id);
    let context = RequestContext { administrator, requested };
    let request =
        EvalRequest { action: &action, resource: &resource, loose: None, principal: None, context: &context };
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

/// Returns the ARN of a user pool; `*` for operations on none ("Actions, resources, and condition
/// keys for Amazon Cognito User Pools").
fn resource(catalogue: &Catalogue, pool_id: Option<&str>) -> String {
    let config = &catalogue.config;
    match pool_id {
        Some(id) => format!("arn:aws:{SERVICE}:{}:{}:userpool/{id}", config.region, config.account_id),
        None => "*".to_owned(),
    }
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
            Known::PrincipalArn => Value::Text(&self.administrator.arn),
            Known::Username => Value::Text(&self.administrator.name),
            Known::SourceIp => match requested.client {
                Some(address) => Value::Ip(address),
                None => return Values::Unreadable,
            },
            Known::CurrentTime => Value::Time(requested.now),
            Known::EpochTime => Value::Number(requested.now.seconds()),
            Known::SecureTransport => Value::Bool(true),
            Known::UserAgent => match requested.user_agent {
                Some(text) => Value::Text(text),
                None => return Values::Absent,
            },
            Known::MultiFactorAuthPresent => Value::Bool(false),
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
