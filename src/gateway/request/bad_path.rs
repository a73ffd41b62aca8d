//! The reasons for refusing a path.

/// The reason for which a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// The path does not begin with a slash, or contains a space.
    Form,
    /// A `%` without two hexadecimal digits after it, or bytes that are not UTF-8.
    Escape,
    /// Escapes that remain after decoding twice.
    NestedEscape,
    /// `.` or `..`, in any spelling.
    DotSegment,
    /// A backslash, which some servers read as a slash.
    Backslash,
    /// A control character or a line separator, at which some servers end the path.
    Control,
}
