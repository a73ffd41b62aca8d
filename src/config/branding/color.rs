//! Colours of the pages, and the contrast of text on them.

use std::fmt;

/// A colour of sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color([u8; 3]);

/// The contrast that text needs. WCAG 2.2, success criterion 1.4.3: text "has a contrast ratio of
/// at least 4.5:1".
pub const MIN_CONTRAST: f64 = 4.5;

impl Color {
    /// Creates a colour of its red, green and blue parts.
    pub const fn rgb(red: u8, green: u8, blue: u8) -> Self {
        Self([red, green, blue])
    }

    /// Parses `#rrggbb` or `#rgb`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        let digit = |c: char| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let digits: Vec<u8> = digits.chars().map(digit).collect::<Option<_>>()?;
        match digits.as_slice() {
            [r, g, b] => Some(Self([r * 17, g * 17, b * 17])),
            [r, s, g, h, b, c] => Some(Self([r * 16 + s, g * 16 + h, b * 16 + c])),
            _ => None,
        }
    }

    /// Returns the contrast ratio to another colour, 1 to 21 (WCAG 2.2, "contrast ratio").
    pub fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// Returns the relative luminance (WCAG 2.2, "relative luminance").
    fn luminance(self) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = self.0.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// Returns the colour with `percent` of another one.
    pub fn mix(self, other: Self, percent: u32) -> Self {
        let mixed = |(one, two): (u8, u8)| {
            let part = (u32::from(one) * (100 - percent) + u32::from(two) * percent) / 100;
            u8::try_from(part).unwrap_or(u8::MAX)
        };
        let ([a, b, c], [x, y, z]) = (self.0, other.0);
        Self([mixed((a, x)), mixed((b, y)), mixed((c, z))])
    }

    /// Returns the first mixture with `other`, in steps of 2 percent, on which `is_readable` holds.
    pub fn toward(self, other: Self, is_readable: impl Fn(Self) -> bool) -> Self {
        let mixtures = (0..=50).map(|step| self.mix(other, step * 2));
        mixtures.into_iter().find(|color| is_readable(*color)).unwrap_or(other)
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_written_with_three_or_six_digits() {
        for (text, shown) in [
            ("#fff", Some("#ffffff")),
            ("#7A3b12", Some("#7a3b12")),
            ("7a3b12", None),
            ("#ffff", None),
            ("#ggg", None),
            ("red", None),
            ("#", None),
        ] {
            assert_eq!(Color::parse(text).map(|color| color.to_string()).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn the_contrast_is_that_of_wcag() {
        let color = |text| Color::parse(text).unwrap();
        for (one, two, expected) in [
            ("#000000", "#ffffff", 21.0),
            ("#ffffff", "#ffffff", 1.0),
            // The greys on white on both sides of the limit.
            ("#767676", "#ffffff", 4.54),
            ("#777777", "#ffffff", 4.48),
        ] {
            assert!((color(one).contrast(color(two)) - expected).abs() < 0.01, "{one} {two}");
            assert!((color(two).contrast(color(one)) - expected).abs() < 0.01);
        }
        let white = color("#fff");
        let readable = color("#fd0").toward(color("#000"), |color| color.contrast(white) >= MIN_CONTRAST);
        assert!(readable.contrast(white) >= MIN_CONTRAST);
    }
}
