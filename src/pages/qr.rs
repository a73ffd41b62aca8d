//! QR codes as paths of inline SVG.

use qrcode::{Color, EcLevel, QrCode};
use std::fmt::Write as _;

/// The light modules around a code (ISO/IEC 18004: "4X").
const MARGIN: usize = 4;

/// A QR code with a text that says the same.
#[derive(Clone, Debug)]
pub struct Qr {
    /// The width in modules, with the margin.
    pub width: usize,
    /// The dark modules, as data of an SVG path.
    pub path: String,
    /// The text in groups, for users who type it.
    pub text: String,
}

impl Qr {
    /// Creates the code of `content`, beside which `text` is shown. Returns `None` if it is too
    /// long.
    pub fn new(content: &str, text: &str) -> Option<Self> {
        let code = QrCode::with_error_correction_level(content, EcLevel::M).ok()?;
        let width = code.width();
        let mut path = String::new();
        for (y, row) in code.to_colors().chunks(width).enumerate() {
            let mut x = 0;
            for run in row.chunk_by(|one, next| one == next) {
                if run[0] == Color::Dark {
                    let (x, y, length) = (x + MARGIN, y + MARGIN, run.len());
                    let _ = write!(path, "M{x} {y}h{length}v1h-{length}z");
                }
                x += run.len();
            }
        }
        let groups = text.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group));
        let text = groups.collect::<Vec<_>>().join(" ");
        Some(Self { width: width + 2 * MARGIN, path, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_finder_patterns_and_a_margin() {
        let qr = Qr::new("otpauth://totp/a:b?secret=GEZDGNBVGY3TQOJQ", "GEZDGNBVGY").unwrap();
        assert!(qr.path.starts_with("M4 4h7v1h-7z"), "{}", qr.path);
        assert_eq!(qr.text, "GEZD GNBV GY");
        assert!(qr.width > 21 + 2 * MARGIN && qr.path.len() < 12_000);
        assert!(Qr::new(&"x".repeat(5000), "").is_none());
    }
}
