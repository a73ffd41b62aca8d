//! Images of the pages.

use crate::base::{base64url_encode, sha256};
use std::fmt;
use std::sync::Arc;

/// Maximum size of an image in bytes: Cognito's 100 KB.
pub const MAX_IMAGE_BYTES: usize = 100 * 1024;

/// The format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// ICO, for favicons.
    Ico,
    /// SVG, from the configuration file only: it can have scripts.
    Svg,
}

/// The formats, with the extensions of their addresses and their media types.
const FORMATS: [(ImageFormat, &str, &str); 4] = [
    (ImageFormat::Png, "png", "image/png"),
    (ImageFormat::Jpeg, "jpg", "image/jpeg"),
    (ImageFormat::Ico, "ico", "image/vnd.microsoft.icon"),
    (ImageFormat::Svg, "svg", "image/svg+xml"),
];

/// The first bytes of the formats.
const SIGNATURES: [(&[u8], ImageFormat); 3] = [
    (b"\x89PNG\r\n\x1a\n", ImageFormat::Png),
    (b"\xff\xd8\xff", ImageFormat::Jpeg),
    (b"\0\0\x01\0", ImageFormat::Ico),
];

impl ImageFormat {
    /// Returns the extension, which is also the stored name.
    pub fn extension(self) -> &'static str {
        self.row().1
    }

    /// Returns the media type.
    pub fn media_type(self) -> &'static str {
        self.row().2
    }

    /// Returns the format with this extension.
    pub fn of_extension(extension: &str) -> Option<Self> {
        FORMATS.iter().find(|(_, known, _)| *known == extension).map(|(format, ..)| *format)
    }

    fn row(self) -> &'static (Self, &'static str, &'static str) {
        FORMATS.iter().find(|(format, ..)| *format == self).unwrap_or(&FORMATS[0])
    }

    /// Returns the format of an image by its content; a name or a header may be wrong.
    pub fn of_content(bytes: &[u8]) -> Option<Self> {
        let signature = SIGNATURES.iter().find(|(start, _)| bytes.starts_with(start));
        signature.map(|(_, format)| *format).or_else(|| is_svg(bytes).then_some(Self::Svg))
    }
}

fn is_svg(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with("<svg") || (text.starts_with("<?xml") && text.contains("<svg"))
}

/// An image with its address.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// The format.
    pub format: ImageFormat,
    /// The content.
    pub bytes: Arc<[u8]>,
    /// The name in its address: a digest of the content, and the extension.
    pub file_name: String,
}

impl Image {
    /// Creates an image; `None` if the format is unknown.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let format = ImageFormat::of_content(bytes)?;
        let file_name = format!("{}.{}", digest(bytes), format.extension());
        Some(Self { format, bytes: bytes.into(), file_name })
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Image").field(&self.file_name).finish()
    }
}

/// Returns the digest of a file in its address.
pub fn digest(bytes: &[u8]) -> String {
    base64url_encode(&sha256(bytes)[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_decides_about_the_format() {
        for (bytes, format) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Some(ImageFormat::Png)),
            (b"\xff\xd8\xff\xe0", Some(ImageFormat::Jpeg)),
            (b"\0\0\x01\0\x01", Some(ImageFormat::Ico)),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", Some(ImageFormat::Svg)),
            (b"\xef\xbb\xbf <?xml version=\"1.0\"?><svg/>", Some(ImageFormat::Svg)),
            (b"<html><svg>", None),
            (b"GIF89a", None),
            (b"", None),
            (b"\x89PNG", None),
        ] {
            assert_eq!(ImageFormat::of_content(bytes), format, "{bytes:?}");
        }
    }
}
