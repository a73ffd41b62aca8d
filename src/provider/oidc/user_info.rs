//! The UserInfo endpoint (OpenID Connect Core 1.0, section 5.3).

use super::OidcProvider;
use crate::base::Timestamp;
use crate::config;
use crate::provider::claims::{claim_text, normalize_email_verified};
use crate::provider::http_client::is_outage;
use crate::provider::metadata::PublishedMetadata;
use crate::provider::{OutboundError, ProviderError};
use http::StatusCode;
use openidconnect::AccessToken;
use serde_json::{Map, Value};

/// The attributes that a UserInfo endpoint returns.
pub(super) const PROFILE: [&str; 16] = {
    let mut names = ["email_verified"; 16];
    let mut at = 0;
    while at < config::STANDARD_ATTRIBUTES.len() {
        names[at] = config::STANDARD_ATTRIBUTES[at];
        at += 1;
    }
    names
};

/// The outcome of a UserInfo request.
pub(super) enum UserInfo {
    /// There is no UserInfo endpoint, or it is not to be asked.
    None,
    /// The endpoint does not take the access token.
    Refused,
    /// The claims.
    Claims(Map<String, Value>),
}

impl OidcProvider {
    /// The claims of the UserInfo endpoint, which must speak of the same person.
    pub(super) async fn user_info(
        &self,
        published: &PublishedMetadata,
        token: &AccessToken,
        claims: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<UserInfo, ProviderError> {
        let endpoint = published.document.userinfo_endpoint.as_ref().filter(|_| self.settings.userinfo);
        let Some(endpoint) = endpoint else { return Ok(UserInfo::None) };
        let answer = self.outbound.get_api(endpoint, token.secret()).await;
        let answer = answer.map_err(|error| error.of("its UserInfo endpoint"))?;
        match answer.status {
            status if status.is_success() => {}
            // The access token may be one for another API (Microsoft's are, with a scope of one),
            // or the endpoint may be switched off.
            status if is_refusal(status) && !answer.limited => {
                tracing::warn!(
                    issuer = published.document.issuer,
                    %status,
                    "the UserInfo endpoint refused the access token: only the ID token's claims are used; help: set \
                     userinfo = false if the ID token has all of them"
                );
                return Ok(UserInfo::Refused);
            }
            status => return Err(OutboundError::Status(status).of("its UserInfo endpoint")),
        }
        let mut more = match (answer.jwt, answer.json) {
            (Some(jwt), _) => {
                let document = match &self.settings.issuer {
                    config::Issuer::One(_) => published.document.clone(),
                    config::Issuer::PerTenant(_) => {
                        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
                        published.for_tenant(text("tid"), text("iss"))?
                    }
                };
                self.verified_user_info(&document, &jwt, now).await?
            }
            (None, Value::Object(more)) => more,
            (None, _) => {
                let why = format!("its UserInfo endpoint answered {} without a JSON object", answer.status);
                return Err(ProviderError::Unreadable(why));
            }
        };
        // OpenID Connect Core 1.0, section 5.3.2: "The sub Claim in the UserInfo Response MUST be
        // verified to exactly match the sub Claim in the ID Token".
        let sub = |claims: &Map<String, Value>| claims.get("sub").and_then(claim_text);
        if sub(&more).is_none() || sub(&more) != sub(claims) {
            return Err(ProviderError::invalid(
                "userinfo",
                "its `sub` is not the ID token's; help: set userinfo = false",
            ));
        }
        normalize_email_verified(&mut more, self.settings.quirks.verified);
        Ok(UserInfo::Claims(more))
    }
}

/// Whether the UserInfo endpoint will not answer this access token, however often it is asked.
fn is_refusal(status: StatusCode) -> bool {
    let is_outage = is_outage(status);
    status == StatusCode::NOT_IMPLEMENTED || (status.is_client_error() && !is_outage)
}
