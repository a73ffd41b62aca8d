//! The icon of an app on the home page.

use super::branding::{Image, ImageFormat, image};
use super::item::Item;

/// The built-in icons.
pub const APP_ICONS: [&str; 12] =
    ["app", "book", "calendar", "chart", "chat", "code", "file", "gear", "mail", "photo", "server", "users"];

/// The icon of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppIcon {
    /// One of [`APP_ICONS`].
    BuiltIn(&'static str),
    /// An image of the operator.
    Image(Image),
}

impl AppIcon {
    /// Reads the name of a built-in icon, or else the path of a file.
    pub(super) fn read(item: &Item<'_>) -> Option<Self> {
        let text = item.string()?;
        if let Some(name) = APP_ICONS.iter().find(|name| **name == text) {
            return Some(Self::BuiltIn(name));
        }
        if !text.contains(['.', '/']) {
            item.report(
                format!("there is no icon \"{text}\""),
                format!("name a file, or one of: {}", APP_ICONS.join(", ")),
            );
            return None;
        }
        image(item, &[ImageFormat::Svg, ImageFormat::Png, ImageFormat::Jpeg]).map(Self::Image)
    }
}
