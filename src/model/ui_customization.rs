//! The look of the sign-in pages that the API sets.

use crate::base::Timestamp;

/// A stored customization, of an app client or of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UiCustomization {
    /// The number of the pool.
    pub pool: i64,
    /// The client id, or [`UiCustomization::OF_POOL`].
    pub client_id: String,
    /// The digest of the CSS and the image, part of their addresses.
    pub digest: String,
    /// The CSS, as it was given.
    pub css: String,
    /// The extension of the image's format; empty without an image.
    pub image_format: String,
    /// The image; empty without one.
    pub image: Vec<u8>,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
}

impl UiCustomization {
    /// The client id of a customization for all clients of the pool (Cognito's `ALL`).
    pub const OF_POOL: &str = "ALL";
}

/// The values of a customization that a page needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UiCustomizationKey {
    /// The client id, or [`UiCustomization::OF_POOL`].
    pub client_id: String,
    /// The digest.
    pub digest: String,
    /// The extension of the image's format; empty without an image.
    pub image_format: String,
}
