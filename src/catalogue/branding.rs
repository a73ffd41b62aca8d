//! The look of sign-in pages in the configuration, with its stylesheet.

use crate::config::{self, digest};
use std::sync::Arc;

/// The look of a pool's or an app client's pages.
#[derive(Debug)]
pub struct Branding {
    /// The configuration.
    pub config: config::Branding,
    /// The rules that follow the pages' stylesheet.
    pub stylesheet: String,
    /// The digest of these rules, part of the stylesheet's address.
    pub digest: String,
}

impl Branding {
    /// Precomputes the values of `config`; `None` if it changes nothing.
    pub(super) fn new(config: &config::Branding) -> Option<Arc<Self>> {
        if *config == config::Branding::default() {
            return None;
        }
        let stylesheet = config.stylesheet();
        Some(Arc::new(Self { config: config.clone(), digest: digest(stylesheet.as_bytes()), stylesheet }))
    }
}
