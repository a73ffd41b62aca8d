//! Texts of messages with Cognito's placeholders, parsed once.

/// A parsed text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageText(pub Vec<TextPiece>);

/// A piece of a message's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextPiece {
    /// Literal text.
    Text(String),
    /// `{####}`: the code, or the temporary password.
    Code,
    /// `{username}`: the user name.
    Username,
    /// `{##text##}`: a link with this text, which confirms without a code.
    Link(String),
}

impl MessageText {
    /// Parses `text`. Other braces, such as those in style sheets, are literal text.
    pub fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            let Some((piece, length)) = placeholder(rest) else {
                plain.push('{');
                rest = &rest[1..];
                continue;
            };
            if !plain.is_empty() {
                pieces.push(TextPiece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece);
            rest = &rest[length..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(TextPiece::Text(plain));
        }
        Self(pieces)
    }

    /// Returns whether the text contains the code.
    pub fn has_code(&self) -> bool {
        self.0.contains(&TextPiece::Code)
    }

    /// Returns whether the text contains the user name.
    pub fn has_username(&self) -> bool {
        self.0.contains(&TextPiece::Username)
    }

    /// Returns whether the text contains a link.
    pub fn has_link(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, TextPiece::Link(_)))
    }
}

/// Returns the placeholder at the start of `text`, and its length in bytes.
fn placeholder(text: &str) -> Option<(TextPiece, usize)> {
    for (word, piece) in [("{####}", TextPiece::Code), ("{username}", TextPiece::Username)] {
        if text.starts_with(word) {
            return Some((piece, word.len()));
        }
    }
    let inner = text.strip_prefix("{##")?;
    let end = inner.find("##}")?;
    let link = &inner[..end];
    // The text of a link is on one line and contains no braces.
    let is_text = !link.trim().is_empty() && !link.contains(['{', '}', '\n']);
    is_text.then(|| (TextPiece::Link(link.trim().to_owned()), end + 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_and_other_braces_are_text() {
        let text = |text: &str| TextPiece::Text(text.to_owned());
        for (given, pieces) in [
            ("Code {####}.", vec![text("Code "), TextPiece::Code, text(".")]),
            ("{username}{####}", vec![TextPiece::Username, TextPiece::Code]),
            ("{##Confirm now##}!", vec![TextPiece::Link("Confirm now".into()), text("!")]),
            ("a { color: red } {x}", vec![text("a { color: red } {x}")]),
            ("{{####}}", vec![text("{"), TextPiece::Code, text("}")]),
            ("{##{####}##}", vec![text("{##"), TextPiece::Code, text("##}")]),
            ("{## ##}", vec![text("{## ##}")]),
            ("{##open", vec![text("{##open")]),
            ("", vec![]),
        ] {
            assert_eq!(MessageText::parse(given).0, pieces, "{given}");
        }
    }
}
