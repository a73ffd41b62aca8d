//! Domains of user pools: a label, or a full host name.

use super::pool_shape::with_kept;
use crate::aws::call::AdminCall;
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::base::Timestamp;
use crate::directory::pools;
use crate::model::Members;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const OPERATIONS: &[Operation] = operations! {
    Admin "CreateUserPoolDomain" => create_user_pool_domain;
    Admin "DescribeUserPoolDomain" on Any => describe_user_pool_domain;
    Admin "UpdateUserPoolDomain" => update_user_pool_domain;
    Admin "DeleteUserPoolDomain" => delete_user_pool_domain;
};

/// Members without an effect.
const KEPT: [&str; 2] = [MANAGED_LOGIN_VERSION, "CustomDomainConfig"];
const MANAGED_LOGIN_VERSION: &str = "ManagedLoginVersion";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DomainRequest {
    domain: String,
    user_pool_id: String,
    managed_login_version: Option<i64>,
    custom_domain_config: Option<Value>,
}

impl DomainRequest {
    fn kept(&self) -> Members {
        let version = self.managed_login_version.map(Value::from);
        let members = KEPT.into_iter().zip([version, self.custom_domain_config.clone()]);
        members.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    fn response(&self, call: &AdminCall) -> DomainResponse {
        DomainResponse {
            managed_login_version: self.managed_login_version.unwrap_or(1),
            cloud_front_domain: self.domain.contains('.').then(|| public_host(call)),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DomainResponse {
    managed_login_version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_front_domain: Option<String>,
}

async fn create_user_pool_domain(call: &AdminCall, request: DomainRequest) -> Answer<DomainResponse> {
    let (id, domain, kept) = (&*request.user_pool_id, &*request.domain, &request.kept());
    let (now, entropy) = (call.now(), call.entropy());
    call.change(id, |tx| Box::pin(pools::create_domain(tx, id, domain, kept, now, entropy))).await?;
    Ok(request.response(call))
}

async fn update_user_pool_domain(call: &AdminCall, request: DomainRequest) -> Answer<DomainResponse> {
    let (id, domain, kept) = (&*request.user_pool_id, &*request.domain, &request.kept());
    let entropy = call.entropy();
    call.change(id, |tx| Box::pin(pools::update_domain(tx, id, domain, kept, entropy))).await?;
    Ok(request.response(call))
}

async fn delete_user_pool_domain(call: &AdminCall, request: DomainRequest) -> Answer<Empty> {
    let (id, domain, entropy) = (&*request.user_pool_id, &*request.domain, call.entropy());
    call.change(id, |tx| Box::pin(pools::delete_domain(tx, id, domain, entropy))).await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeDomainRequest {
    domain: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeDomainResponse {
    domain_description: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DomainDescription<'a> {
    user_pool_id: &'a str,
    #[serde(rename = "AWSAccountId")]
    aws_account_id: &'a str,
    domain: &'a str,
    cloud_front_distribution: String,
    version: String,
    status: &'static str,
    managed_login_version: i64,
}

/// A domain that does not exist has an empty description.
async fn describe_user_pool_domain(
    call: &AdminCall,
    request: DescribeDomainRequest,
) -> Answer<DescribeDomainResponse> {
    let found = pools::find_domain(call.store(), &request.domain).await?;
    let Some((domain, pool_id)) = found.filter(|(_, pool_id)| call.check_pool(pool_id).is_ok()) else {
        return Ok(DescribeDomainResponse { domain_description: Value::Object(Members::new()) });
    };
    let shape = DomainDescription {
        user_pool_id: &pool_id,
        aws_account_id: &call.catalogue.config.account_id,
        domain: &domain.domain,
        cloud_front_distribution: public_host(call),
        version: version(domain.created_at),
        status: "ACTIVE",
        managed_login_version: 1,
    };
    Ok(DescribeDomainResponse { domain_description: with_kept(&shape, &KEPT, &domain.kept)? })
}

/// Returns the host of the sign-in pages, to which the DNS name of a domain must lead.
fn public_host(call: &AdminCall) -> String {
    call.catalogue.config.public_url.host().to_string()
}

/// Returns the time of creation as a version: at most 20 digits.
fn version(created_at: Timestamp) -> String {
    created_at.millis().to_string()
}
