//! Why a path is refused.

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// It does not begin with a slash, or has a space in it.
    Form,
    /// A `%` that two hexadecimal digits do not follow, or bytes that are no UTF-8.
    Escape,
    /// Escapes in escapes in escapes.
    NestedEscape,
    /// `.` or `..`, in whatever spelling.
    DotSegment,
    /// A backslash, which some servers take for a slash.
    Backslash,
    /// A control character or a line separator, at which a path ends for some.
    Control,
}
