//! `[user_pool.branding]` and `[user_pool.client.branding]`: the look of the sign-in pages.

mod color;
mod css;
mod image;

pub use css::{MAX_CSS_LENGTH, read_css};
pub use image::{Image, ImageFormat, MAX_IMAGE_BYTES, digest};

use super::address::safe_url;
use super::item::Item;
use super::key::{Declared, Key, Nested, Section, Shape, Type};
use super::reader::{Invalid, Table};
use super::types::TEXT_FILE;
use crate::base::{is_control, is_deceptive, read_file};
use color::{Color, MIN_CONTRAST};

/// Maximum characters of the name.
const MAX_NAME_LENGTH: usize = 60;
/// Maximum characters of a link.
const MAX_LINK_LENGTH: usize = 1024;

const KEYS: &[&dyn Declared] = &[
    &NAME,
    &LOGO,
    &FAVICON,
    &ACCENT,
    &ACCENT_DARK,
    &BACKGROUND,
    &BACKGROUND_DARK,
    &CSS,
    &SUPPORT_URL,
    &TERMS_URL,
];
pub(super) const OF_POOL: Section = Section {
    header: "[user_pool.branding]",
    about: "Look of the sign-in pages for all app clients of the pool, and for the account page.",
    keys: KEYS,
};
pub(super) const OF_CLIENT: Section = Section {
    header: "[user_pool.client.branding]",
    about: "Look of the sign-in pages for an app client. Absent keys have the values of `[user_pool.branding]`.",
    keys: KEYS,
};
const NAME: Key<String> = Key::new(
    "name",
    Type::Read(Shape::Text, |item| item.parse(name)),
    "Name of the organization or app, shown on each page.",
)
.example("\"Example Photos\"");
const LOGO: Key<Image> = Key::new(
    "logo",
    Type::Read(Shape::Path, |item| image(item, &[ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Svg])),
    "File with the logo: SVG, PNG or JPEG, at most 100 KB.",
)
.example("\"brand/logo.svg\"");
const FAVICON: Key<Image> = Key::new(
    "favicon",
    Type::Read(Shape::Path, |item| image(item, &[ImageFormat::Svg, ImageFormat::Png, ImageFormat::Ico])),
    "File with the page icon: SVG, PNG or ICO, at most 100 KB.",
)
.example("\"brand/logo.svg\"");
const ACCENT: Key<Color> = Key::new(
    "accent",
    Type::Read(Shape::Text, |item| item.parse(color)),
    "Color of buttons and links, as `#rrggbb`. Text in it and on it must have a contrast of 4.5 (WCAG 2.2).",
)
.example("\"#0b5cad\"");
const ACCENT_DARK: Key<Color> =
    Key::new("accent_dark", Type::Read(Shape::Text, |item| item.parse(color)), "The same for dark screens.")
        .computed("`accent`, as much lighter as it must be")
        .example("\"#7ab8f5\"");
const BACKGROUND: Key<Color> = Key::new(
    "background",
    Type::Read(Shape::Text, |item| item.parse(color)),
    "Color behind the card, as `#rrggbb`. Text on it must have a contrast of 4.5.",
)
.example("\"#f4f7fb\"");
const BACKGROUND_DARK: Key<Color> = Key::new(
    "background_dark",
    Type::Read(Shape::Text, |item| item.parse(color)),
    "The same for dark screens.",
)
.example("\"#0d1117\"");
const CSS: Key<super::TextFile> = Key::new(
    "css",
    TEXT_FILE,
    "File with CSS of Cognito's classes, such as `.submitButton-customizable`; see the guide for the properties.",
)
.example("\"brand/pages.css\"");
const SUPPORT_URL: Key<String> = Key::new(
    "support_url",
    Type::Read(Shape::Text, |item| item.parse(link)),
    "Address of the help for users, below each page: https or mailto.",
)
.example("\"https://example.com/help\"");
const TERMS_URL: Key<String> = Key::new(
    "terms_url",
    Type::Read(Shape::Text, |item| item.parse(link)),
    "Address of the terms of use, below each page: https or mailto.",
)
.example("\"https://example.com/terms\"");

/// Colours of the stylesheet on which text stands: card, ground and secondary text.
struct Scheme {
    card: Color,
    ground: Color,
    quiet: Color,
    /// The colour toward which an accent becomes readable.
    ink: Color,
}

const LIGHT: Scheme = Scheme {
    card: Color::rgb(0xff, 0xfd, 0xf9),
    ground: Color::rgb(0xf2, 0xef, 0xe9),
    quiet: Color::rgb(0x66, 0x5f, 0x55),
    ink: Color::rgb(0, 0, 0),
};
const DARK: Scheme = Scheme {
    card: Color::rgb(0x21, 0x1e, 0x18),
    ground: Color::rgb(0x17, 0x15, 0x0f),
    quiet: Color::rgb(0xb0, 0xa7, 0x97),
    ink: Color::rgb(0xff, 0xff, 0xff),
};

/// The look of the sign-in pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branding {
    /// The name; may be empty.
    pub name: String,
    /// The logo.
    pub logo: Option<Image>,
    /// The page icon.
    pub favicon: Option<Image>,
    /// The address of the help for users.
    pub support_url: Option<String>,
    /// The address of the terms of use.
    pub terms_url: Option<String>,
    accent: Option<Color>,
    accent_dark: Option<Color>,
    background: Option<Color>,
    background_dark: Option<Color>,
    /// CSS of Cognito's classes, as [`read_css`] returns it.
    css: String,
}

impl Branding {
    /// Reads the table `key` below `table`; returns `base` if there is none.
    pub(super) fn of_table(table: &Table<'_>, key: &Key<Nested>, base: &Self) -> Self {
        match table.table(key).filter(|_| table.has(key)) {
            Some(table) => Self::read(&table, base),
            None => base.clone(),
        }
    }

    /// Reads the table. Absent keys have the values of `base`.
    fn read(table: &Table<'_>, base: &Self) -> Self {
        let css = table.get(&CSS).and_then(|item| {
            let file = super::TextFile::read(&item)?;
            read_css(&file.text)
                .map_err(|why| {
                    item.report(
                        format!("`{}` is no CSS of the pages: {why}", file.name),
                        "use the classes and properties in docs/src/guides/branding.md",
                    );
                })
                .ok()
        });
        let branding = Self {
            name: table.read(&NAME).unwrap_or_else(|| base.name.clone()),
            logo: table.read(&LOGO).or_else(|| base.logo.clone()),
            favicon: table.read(&FAVICON).or_else(|| base.favicon.clone()),
            support_url: table.read(&SUPPORT_URL).or_else(|| base.support_url.clone()),
            terms_url: table.read(&TERMS_URL).or_else(|| base.terms_url.clone()),
            accent: table.read(&ACCENT).or(base.accent),
            accent_dark: table.read(&ACCENT_DARK).or(base.accent_dark),
            background: table.read(&BACKGROUND).or(base.background),
            background_dark: table.read(&BACKGROUND_DARK).or(base.background_dark),
            css: css.unwrap_or_else(|| base.css.clone()),
        };
        table.finish();
        branding.report_contrast(table);
        branding
    }

    /// Reports colours on which text could not be read.
    fn report_contrast(&self, table: &Table<'_>) {
        let schemes = [
            (&LIGHT, ("accent", self.accent), ("background", self.background)),
            (&DARK, ("accent_dark", self.accent_dark), ("background_dark", self.background_dark)),
        ];
        for (scheme, (accent_key, accent), (ground_key, ground)) in schemes {
            if let Some(ground) = ground {
                let is_readable = |ground: Color| ground.contrast(scheme.quiet) >= MIN_CONTRAST;
                report(table, (ground_key, ground, ground.contrast(scheme.quiet)), || {
                    ground.toward(scheme.card, is_readable)
                });
            }
            if let Some(accent) = accent {
                let contrast = scheme.contrast_of(accent, ground);
                let is_readable = |accent: Color| scheme.contrast_of(accent, ground) >= MIN_CONTRAST;
                report(table, (accent_key, accent, contrast), || accent.toward(scheme.ink, is_readable));
            }
        }
    }

    /// Returns the rules that follow the pages' stylesheet.
    pub fn stylesheet(&self) -> String {
        let accent_dark = self.accent_dark.or_else(|| {
            let is_readable = |accent: Color| DARK.contrast_of(accent, self.background_dark) >= MIN_CONTRAST;
            Some(self.accent?.toward(DARK.ink, is_readable))
        });
        // The rules for light screens would otherwise replace those for dark ones.
        let ground_dark = self.background_dark.or(self.background.map(|_| DARK.ground));
        let light = LIGHT.variables(self.accent, self.background);
        let dark = DARK.variables(accent_dark, ground_dark);
        let mut rules = String::new();
        if !light.is_empty() {
            rules.push_str(&format!(":root {{{light} }}\n"));
        }
        if !dark.is_empty() {
            rules.push_str(&format!("@media (prefers-color-scheme: dark) {{ :root {{{dark} }} }}\n"));
        }
        rules + &self.css
    }

    /// Iterates over the images.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.logo.iter().chain(&self.favicon)
    }
}

impl Scheme {
    /// Returns the least contrast of an accent: as a link on the card and on the ground, and as the
    /// ground of a button's text, which has the colour of the card.
    fn contrast_of(&self, accent: Color, ground: Option<Color>) -> f64 {
        accent.contrast(self.card).min(accent.contrast(ground.unwrap_or(self.ground)))
    }

    fn variables(&self, accent: Option<Color>, ground: Option<Color>) -> String {
        let mut variables = String::new();
        if let Some(accent) = accent {
            let (hover, on) = (accent.mix(self.ink, 20), self.card);
            variables = format!(" --accent: {accent}; --accent-hover: {hover}; --on-accent: {on};");
        }
        if let Some(ground) = ground {
            variables.push_str(&format!(" --ground: {ground};"));
        }
        variables
    }
}

fn report(table: &Table<'_>, (key, color, contrast): (&str, Color, f64), readable: impl Fn() -> Color) {
    if contrast < MIN_CONTRAST {
        table.report(
            format!(
                "text has a contrast of {contrast:.1} with `{key}` \"{color}\", and needs {MIN_CONTRAST}"
            ),
            format!("choose a color that is easier to read on, such as {key} = \"{}\"", readable()),
        );
    }
}

pub(super) fn name(text: &str) -> Result<String, Invalid> {
    let text = text.trim();
    let is_plain = !text.is_empty() && !text.chars().any(|c| is_control(c) || is_deceptive(c));
    match is_plain && text.chars().count() <= MAX_NAME_LENGTH {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is not a name"),
            format!("write 1 to {MAX_NAME_LENGTH} characters on one line"),
        )),
    }
}

fn color(text: &str) -> Result<Color, Invalid> {
    let help = || (format!("\"{text}\" is not a color"), "write it like \"#0b5cad\"".to_owned());
    Color::parse(text).ok_or_else(help)
}

fn link(text: &str) -> Result<String, Invalid> {
    let help = "write an https address, or mailto: and an e-mail address";
    if text.chars().count() > MAX_LINK_LENGTH {
        return Err((format!("a link has more than {MAX_LINK_LENGTH} characters"), help.to_owned()));
    }
    let is_mail = |url: &url::Url| url.scheme() == "mailto" && url.path().contains('@');
    match url::Url::parse(text).ok().filter(is_mail) {
        Some(url) => Ok(url.into()),
        None => safe_url(text, help).map(Into::into),
    }
}

/// Reads an image of one of these formats.
pub(super) fn image(item: &Item<'_>, formats: &[ImageFormat]) -> Option<Image> {
    let path = item.path()?;
    let bytes = match read_file(&path, MAX_IMAGE_BYTES as u64) {
        Ok(bytes) => bytes,
        Err(error) => {
            item.report(
                format!("cannot read `{}`: {error}", path.display()),
                "name an image of at most 100 KB that Narthex may read",
            );
            return None;
        }
    };
    let image = Image::new(&bytes).filter(|image| formats.contains(&image.format));
    if image.is_none() {
        let names: Vec<_> = formats.iter().map(|format| format.extension()).collect();
        item.report(
            format!("`{}` is no image of a known format", path.display()),
            format!("convert it to one of: {}", names.join(", ")),
        );
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    fn color(text: &str) -> Option<Color> {
        Some(Color::parse(text).unwrap())
    }

    #[test]
    fn dark_screens_get_a_lighter_accent() {
        let branding = Branding { accent: color("#0b5cad"), ..Branding::default() };
        let rules = branding.stylesheet();
        assert!(rules.starts_with(":root { --accent: #0b5cad; --accent-hover: "), "{rules}");
        let dark = rules.split("dark) { :root { --accent: ").nth(1).unwrap();
        let dark = Color::parse(&dark[..7]).unwrap();
        assert!(DARK.contrast_of(dark, None) >= MIN_CONTRAST);
        assert_eq!(Branding::default().stylesheet(), "");
        let light = Branding { background: color("#ffffff"), ..Branding::default() };
        assert!(light.stylesheet().contains("dark) { :root { --ground: #17150f; } }"));
    }
}
