//! A value outside of the file: `{ env = "NAME" }` or `{ file = "path" }`.

use toml::Spanned;
use toml::de::DeValue;

/// The source of a value outside of the file.
#[derive(Clone, Copy)]
pub(super) enum External<'a> {
    /// An environment variable.
    Env(&'a Spanned<DeValue<'a>>),
    /// A file.
    File(&'a Spanned<DeValue<'a>>),
}

impl<'a> External<'a> {
    /// Returns the source that `value` names, if `value` is a table with the single key `env` or
    /// `file`.
    pub fn of(value: &'a DeValue<'a>) -> Option<Self> {
        let table = value.as_table().filter(|table| table.len() == 1)?;
        let named = |key| table.get(key).filter(|name| name.get_ref().is_str());
        named("env").map(Self::Env).or_else(|| named("file").map(Self::File))
    }
}

impl std::fmt::Display for External<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Env(name) | Self::File(name)) = self;
        let key = if matches!(self, Self::Env(_)) { "env" } else { "file" };
        write!(f, "{{ {key} = \"{}\" }}", name.get_ref().as_str().unwrap_or_default())
    }
}

/// Returns the name in the first `${NAME}` of `text`. Shells replace such placeholders, but Narthex
/// does not: it would send them unchanged.
pub(super) fn placeholder(text: &str) -> Option<&str> {
    text.split("${").skip(1).find_map(|rest| {
        let name = rest.split_once('}')?.0;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let begins = name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
        (begins && name.bytes().all(plain)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_placeholders_are_found() {
        assert_eq!(placeholder("${CID}"), Some("CID"));
        assert_eq!(placeholder("https://${HOST_1}/x"), Some("HOST_1"));
        assert_eq!(placeholder("${} ${1} ${a-b} ${_x}"), Some("_x"));
        for plain in ["$CID", "{CID}", "${CID", "$${}", "${1}", "${a b}", ""] {
            assert_eq!(placeholder(plain), None, "{plain}");
        }
    }
}
