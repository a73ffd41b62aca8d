//! CSS of Cognito's classes. It may be an administrator's of one pool, and must not reach further:
//! only these classes, these properties and these values are read, and everything is written anew.

use super::color::Color;

/// Maximum characters of the CSS (Cognito's `CSSType`).
pub const MAX_CSS_LENGTH: usize = 131_072;
/// Maximum values of a declaration.
const MAX_VALUES: usize = 4;
/// The suffix of Cognito's classes.
const SUFFIX: &str = "-customizable";

/// The classes, without their suffix.
const CLASSES: [&str; 17] = [
    "background",
    "banner",
    "errorMessage",
    "idpButton",
    "idpDescription",
    "inputField",
    "label",
    "legalText",
    "logo",
    "passwordCheck-notValid",
    "passwordCheck-valid",
    "redirect",
    "socialButton",
    "socialButton-icon",
    "submitButton",
    "textDescription",
    "userCode",
];
/// The states of a class.
const STATES: [&str; 5] = ["hover", "focus", "active", "disabled", "focus-visible"];

/// The values of a property.
#[derive(Clone, Copy)]
struct Values {
    /// Whether colours are values.
    color: bool,
    /// Whether lengths and percentages are values.
    length: bool,
    /// Whether numbers without a unit are values.
    number: bool,
    /// Further words that are values.
    words: &'static [&'static str],
}

const NOTHING: Values = Values { color: false, length: false, number: false, words: &[] };
const COLOR: Values = Values { color: true, ..NOTHING };
const LENGTH: Values = Values { length: true, words: &["auto"], ..NOTHING };
const STYLES: &[&str] = &["solid", "dashed", "dotted", "double", "none"];
const BORDER: Values = Values { color: true, length: true, words: STYLES, ..NOTHING };

const fn words(words: &'static [&'static str]) -> Values {
    Values { words, ..NOTHING }
}

/// The properties, with their values.
#[rustfmt::skip]
const PROPERTIES: [(&str, Values); 45] = [
    ("background", COLOR), ("background-color", COLOR), ("color", COLOR), ("opacity", Values { number: true, ..NOTHING }),
    ("border", BORDER), ("border-top", BORDER), ("border-right", BORDER), ("border-bottom", BORDER),
    ("border-left", BORDER), ("border-color", COLOR), ("border-width", LENGTH), ("border-radius", LENGTH),
    ("border-style", words(STYLES)), ("outline", BORDER), ("outline-color", COLOR), ("outline-offset", LENGTH),
    ("box-shadow", Values { color: true, length: true, words: &["none", "inset"], ..NOTHING }),
    ("width", LENGTH), ("min-width", LENGTH), ("max-width", LENGTH),
    ("height", LENGTH), ("min-height", LENGTH), ("max-height", LENGTH),
    ("margin", LENGTH), ("margin-top", LENGTH), ("margin-right", LENGTH), ("margin-bottom", LENGTH),
    ("margin-left", LENGTH),
    ("padding", LENGTH), ("padding-top", LENGTH), ("padding-right", LENGTH), ("padding-bottom", LENGTH),
    ("padding-left", LENGTH),
    ("display", words(&["block", "inline", "inline-block", "flex", "grid"])),
    ("font-size", LENGTH), ("letter-spacing", LENGTH),
    ("font-style", words(&["normal", "italic", "oblique"])),
    ("font-weight", Values { number: true, words: &["normal", "bold", "bolder", "lighter"], ..NOTHING }),
    ("font-family", words(&["serif", "sans-serif", "monospace", "system-ui", "inherit"])),
    ("line-height", Values { number: true, length: true, words: &["normal"], ..NOTHING }),
    ("text-align", words(&["left", "right", "center", "start", "end", "justify"])),
    ("text-decoration", words(&["none", "underline"])),
    ("text-transform", words(&["none", "uppercase", "lowercase", "capitalize"])),
    ("vertical-align", words(&["top", "middle", "bottom", "baseline"])),
    ("float", words(&["none", "left", "right"])),
];
/// Colours with names, those of CSS 2.1.
const COLOR_NAMES: [&str; 19] = [
    "aqua",
    "black",
    "blue",
    "fuchsia",
    "gray",
    "grey",
    "green",
    "lime",
    "maroon",
    "navy",
    "olive",
    "orange",
    "purple",
    "red",
    "silver",
    "teal",
    "transparent",
    "white",
    "yellow",
];
const UNITS: [&str; 8] = ["px", "em", "rem", "%", "pt", "vw", "vh", "ch"];

/// Reads CSS of Cognito's classes. Returns it with one rule on each line.
///
/// # Errors
/// Returns what is not allowed.
pub fn read_css(text: &str) -> Result<String, String> {
    if text.chars().count() > MAX_CSS_LENGTH {
        return Err(format!("it has more than {MAX_CSS_LENGTH} characters"));
    }
    // An escape can spell any of the words below in another way.
    if let Some(c) = text.chars().find(|c| matches!(c, '\\' | '@' | '<' | '"' | '\'' | '\0')) {
        return Err(format!("it has the character {c:?}"));
    }
    let text = without_comments(text)?;
    let mut css = String::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (selectors, after) = rest.split_once('{').ok_or("a rule has no `{`")?;
        let (declarations, after) = after.split_once('}').ok_or("a rule has no `}`")?;
        let selectors = selectors.split(',').map(selector).collect::<Result<Vec<_>, _>>()?;
        let written = declarations.split(';').map(str::trim).filter(|of| !of.is_empty());
        let written = written.map(declaration).collect::<Result<Vec<_>, _>>()?;
        css.push_str(&format!("{} {{ {} }}\n", selectors.join(", "), written.join("; ")));
        rest = after.trim_start();
    }
    Ok(css)
}

fn without_comments(text: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("/*") {
        // A space: a comment separates words.
        plain.push_str(before);
        plain.push(' ');
        rest = comment.split_once("*/").ok_or("a comment has no end")?.1;
    }
    plain.push_str(rest);
    Ok(plain)
}

/// Reads a selector: a class, with a state or without one.
fn selector(text: &str) -> Result<String, String> {
    let text = text.trim();
    let (class, state) = match text.split_once(':') {
        Some((class, state)) => (class, Some(state)),
        None => (text, None),
    };
    let name = class.strip_prefix('.').and_then(|name| name.strip_suffix(SUFFIX));
    let is_known =
        name.is_some_and(|name| CLASSES.contains(&name)) && state.is_none_or(|state| STATES.contains(&state));
    match is_known {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("`{}` is not one of the classes, as in `.submitButton{SUFFIX}:hover`", short(text)))
        }
    }
}

/// Reads a declaration.
fn declaration(text: &str) -> Result<String, String> {
    let invalid = || format!("`{}` is not allowed", short(text));
    let (name, value) = text.split_once(':').ok_or_else(invalid)?;
    let name = name.trim().to_ascii_lowercase();
    let (_, values) = PROPERTIES.iter().find(|(known, _)| *known == name).ok_or_else(invalid)?;
    let value = value.trim().to_ascii_lowercase();
    let (value, is_important) = match value.strip_suffix("!important") {
        Some(value) => (value.trim_end().to_owned(), " !important"),
        None => (value, ""),
    };
    let parts = split_values(&value);
    let is_allowed =
        (1..=MAX_VALUES + 1).contains(&parts.len()) && parts.iter().all(|part| values.allow(part));
    match is_allowed {
        true => Ok(format!("{name}: {}{is_important}", parts.join(" "))),
        false => Err(invalid()),
    }
}

/// Splits values at spaces outside of parentheses.
fn split_values(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0_u32);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if c.is_whitespace() && depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    parts
}

impl Values {
    fn allow(&self, value: &str) -> bool {
        self.words.contains(&value)
            || (self.color && is_color(value))
            || (self.length && is_length(value))
            || (self.number && is_number(value))
    }
}

fn is_color(value: &str) -> bool {
    COLOR_NAMES.contains(&value) || Color::parse(value).is_some() || is_color_function(value)
}

/// Returns whether `value` is `rgb(…)`, `rgba(…)`, `hsl(…)` or `hsla(…)` of numbers.
fn is_color_function(value: &str) -> bool {
    let Some((name, parts)) = value.strip_suffix(')').and_then(|value| value.split_once('(')) else {
        return false;
    };
    let is_part = |part: &str| is_number(part.trim_end_matches('%'));
    let parts: Vec<&str> =
        parts.split([',', ' ', '/']).map(str::trim).filter(|part| !part.is_empty()).collect();
    matches!(name, "rgb" | "rgba" | "hsl" | "hsla")
        && (3..=4).contains(&parts.len())
        && parts.iter().all(|part| is_part(part))
}

fn is_length(value: &str) -> bool {
    let number = UNITS.iter().find_map(|unit| value.strip_suffix(unit));
    value == "0" || number.is_some_and(is_number)
}

/// Returns whether `value` is a number of a few digits.
fn is_number(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_plain
        && digits.len() <= 8
        && digits.matches('.').count() <= 1
        && digits.bytes().any(|b| b.is_ascii_digit())
}

/// Returns the beginning of a text, for messages.
fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn css_of_the_classes_is_written_anew() {
        let css = ".logo-customizable{max-width:60%;MAX-HEIGHT : 30%}/* a { */\n\
                   .submitButton-customizable, .idpButton-customizable:hover { color: #FFF !important; \
                   background-color: rgba(0, 10, 20, .5); margin: 20px 0px 10px auto; border: 1px solid red;; }";
        let written = read_css(css).unwrap();
        assert_eq!(
            written,
            ".logo-customizable { max-width: 60%; max-height: 30% }\n\
             .submitButton-customizable, .idpButton-customizable:hover { color: #fff !important; \
             background-color: rgba(0, 10, 20, .5); margin: 20px 0px 10px auto; border: 1px solid red }\n"
        );
        assert_eq!(read_css(&written).unwrap(), written, "it is read as it is written");
        assert_eq!(read_css(" /* nothing */ ").unwrap(), "");
    }

    #[test]
    fn everything_else_is_refused() {
        let rule = |declaration: &str| format!(".logo-customizable {{ {declaration} }}");
        for declaration in [
            "background: url(https://evil.example/a.png)",
            "background-image: url(a)",
            "background: URL(a)",
            "background: u/**/rl(a)",
            "background: \\75rl(a)",
            "color: expression(alert(1))",
            "color: var(--accent)",
            "width: calc(1px)",
            "position: fixed",
            "content: 'x'",
            "behavior: x",
            "-moz-binding: x",
            "--accent: red",
            "color: red }\nbody { color: red",
            "color",
            "color:",
            "color: #12",
            "width: 1e9px",
            "width: 123456789px",
            "font-family: Comic",
            "margin: 1px 1px 1px 1px 1px 1px",
            "color: rgb(1)",
            "color: rgb(1,2,3",
            "display: none",
        ] {
            assert!(read_css(&rule(declaration)).is_err(), "{declaration}");
        }
        for css in [
            "@import url(x);",
            "@media print { .logo-customizable { color: red } }",
            "body { color: red }",
            ".card { color: red }",
            "* { color: red }",
            ".logo-customizable .x { color: red }",
            ".logo-customizable, body { color: red }",
            ".logo-customizable:has(a) { color: red }",
            ".logo-customizable::before { color: red }",
            ".logo-customizable { color: red",
            ".logo-customizable color: red }",
            "} .logo-customizable { color: red }",
            "</style><script>",
            "/* open",
            ".logo-customizable { .logo-customizable { color: red } }",
        ] {
            assert!(read_css(css).is_err(), "{css}");
        }
        assert!(read_css(&" ".repeat(MAX_CSS_LENGTH + 1)).is_err());
    }
}
