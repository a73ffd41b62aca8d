//! Sign-ins by valid SAML responses, and why a sign-in failed.

use super::narthex::Narthex;
use super::saml_provider::{SamlProvider, Signed, post_response, start_sign_in};
use super::visitor::Visitor;

pub const AUDIENCE: &str = "urn:narthex:test";
pub const ENTITY_ID_TOML: &str = "entity_id = \"urn:narthex:test\"";

/// Returns the text as it is.
pub fn unchanged(text: String) -> String {
    text
}

/// Returns why the last login failed.
pub fn last_failure(narthex: &Narthex) -> String {
    narthex
        .audit("login_failed")
        .last()
        .map_or_else(String::new, |line| format!("{}: {}", line["reason"], line["detail"]))
}

/// Signs in by a valid response, changed by `change` before it is signed.
pub async fn sign_in_with(
    narthex: &Narthex,
    provider: &SamlProvider,
    change: impl Fn(String) -> String,
) -> (Visitor, reqwest::Response, String) {
    let (visitor, asked) = start_sign_in(narthex).await;
    let acs = provider.acs(narthex);
    let response = provider.valid_response(&acs, AUDIENCE, &asked, Signed::Assertion, change, unchanged);
    let landed = post_response(&visitor, &acs, &response, &asked.relay_state).await;
    (visitor, landed, response)
}

/// Signs in by a valid response.
pub async fn sign_in(narthex: &Narthex, provider: &SamlProvider) -> (Visitor, reqwest::Response, String) {
    sign_in_with(narthex, provider, unchanged).await
}
