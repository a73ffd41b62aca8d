//! Sign-ins by valid SAML responses, and why a sign-in failed.

use super::narthex::Narthex;
use super::saml_provider::{SamlProvider, Signed, begin, post};
use super::visitor::Visitor;

pub const AUDIENCE: &str = "urn:narthex:test";
pub const OURS: &str = "entity_id = \"urn:narthex:test\"";

pub fn same(text: String) -> String {
    text
}

/// Why the last login failed.
pub fn why(narthex: &Narthex) -> String {
    narthex
        .audit("login_failed")
        .last()
        .map_or_else(String::new, |line| format!("{}: {}", line["reason"], line["detail"]))
}

/// Signs in by an honest response, changed by `change` before it is signed.
pub async fn sign_in_with(
    narthex: &Narthex,
    provider: &SamlProvider,
    change: impl Fn(String) -> String,
) -> (Visitor, reqwest::Response, String) {
    let (visitor, asked) = begin(narthex).await;
    let acs = provider.acs(narthex);
    let response = provider.honest(&acs, AUDIENCE, &asked, Signed::Assertion, change, same);
    let landed = post(&visitor, &acs, &response, &asked.relay_state).await;
    (visitor, landed, response)
}

pub async fn sign_in(narthex: &Narthex, provider: &SamlProvider) -> (Visitor, reqwest::Response, String) {
    sign_in_with(narthex, provider, same).await
}
