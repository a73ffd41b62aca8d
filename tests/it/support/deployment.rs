//! A deployment with one provider and two apps.

use super::narthex::{Narthex, NarthexBuilder};
use super::parties::OpenIdProvider;
use super::upstream::Upstream;

/// Starts a deployment with one provider and the apps `app` and `other`.
pub async fn deployment(upstream: &Upstream) -> (Narthex, OpenIdProvider) {
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("{ domains = [\"corp.example\"] }"))
        .route("app", upstream.port, "")
        .route("other", upstream.port, "")
        .start();
    (narthex, provider)
}
