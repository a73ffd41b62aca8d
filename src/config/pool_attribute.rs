//! `[[user_pool.attribute]]`: custom attributes, and changed declarations of standard attributes.

use super::attributes::STANDARD_ATTRIBUTES;
use super::item::Item;
use super::key::{Key, Section, Shape, Type};
use super::reader::{Invalid, Table};
use super::types::FLAG;

/// Maximum number of custom attributes of a pool.
pub(super) const MAX_CUSTOM: usize = 50;
/// Maximum length of a text, in characters.
const MAX_LENGTH: u32 = 2048;
/// The prefix of custom attributes.
const CUSTOM: &str = "custom:";

pub(super) const SECTION: Section = Section {
    header: "[[user_pool.attribute]]",
    about: "Custom attributes of the users, and standard ones with another rule.",
    keys: &[&NAME, &TYPE, &MUTABLE, &REQUIRED, &MIN, &MAX],
};
const NAME: Key<String> = Key::new(
    "name",
    Type::Read(Shape::Text, |item| item.parse(attribute_name)),
    "Name: a standard attribute, or `custom:` and at most 20 characters.",
)
.required("")
.example("\"custom:department\"");
const TYPE: Key<AttributeKind> = Key::new(
    "type",
    Type::ProviderChoice(&[
        ("String", AttributeKind::String),
        ("Number", AttributeKind::Number),
        ("DateTime", AttributeKind::DateTime),
        ("Boolean", AttributeKind::Boolean),
    ]),
    "Type of the value. Standard attributes are strings.",
)
.default("\"String\"");
const MUTABLE: Key<bool> = Key::new("mutable", FLAG, "Whether the value may change.").default("true");
const REQUIRED: Key<bool> =
    Key::new("required", FLAG, "Whether each user has a value. Custom attributes cannot be required.")
        .default("false");
const MIN: Key<i64> =
    Key::new("min", Type::Read(Shape::Integer(0), bound), "Smallest number, or length of the shortest text.")
        .example("1");
const MAX: Key<i64> =
    Key::new("max", Type::Read(Shape::Integer(0), bound), "Largest number, or length of the longest text.")
        .example("64");

/// The type of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeKind {
    /// Text.
    String,
    /// An integer.
    Number,
    /// A date and time.
    DateTime,
    /// `true` or `false`.
    Boolean,
}

/// An attribute of a user pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolAttribute {
    /// The name.
    pub name: String,
    /// The type.
    pub kind: AttributeKind,
    /// Whether the value may change.
    pub mutable: bool,
    /// Whether each user must have a value.
    pub required: bool,
    /// The smallest number, or the minimum length of a text in characters.
    pub min: Option<i64>,
    /// The largest number, or the maximum length of a text in characters.
    pub max: Option<i64>,
}

impl PoolAttribute {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let name = table.read(&NAME);
        let kind = table.read(&TYPE);
        let mutable = table.read(&MUTABLE);
        let required = table.read(&REQUIRED);
        let (min, max) = (table.read(&MIN), table.read(&MAX));
        table.finish();
        let attribute = Self { name: name?, kind: kind?, mutable: mutable?, required: required?, min, max };
        attribute.check(table);
        Some(attribute)
    }

    fn check(&self, table: &Table<'_>) {
        let (name, is_custom) = (&self.name, self.is_custom());
        if is_custom && self.required {
            table.report(format!("the custom attribute `{name}` cannot be required"), "remove `required`");
        }
        if !is_custom && self.kind != AttributeKind::String {
            table.report(format!("the standard attribute `{name}` is a string"), "remove `type`");
        }
        if self.min.zip(self.max).is_some_and(|(min, max)| min > max) {
            table.report(format!("`min` of `{name}` is larger than `max`"), "exchange them");
        }
        let has_bound = self.min.or(self.max).is_some();
        match self.kind {
            AttributeKind::DateTime | AttributeKind::Boolean if has_bound => {
                table.report(format!("`{name}` has bounds and no length"), "remove `min` and `max`");
            }
            AttributeKind::String if self.max.max(self.min) > Some(i64::from(MAX_LENGTH)) => {
                table.report(
                    format!("`{name}` may be longer than {MAX_LENGTH} characters"),
                    format!("choose at most {MAX_LENGTH}"),
                );
            }
            _ => {}
        }
    }

    pub(super) fn is_custom(&self) -> bool {
        self.name.starts_with(CUSTOM)
    }
}

fn bound(item: &Item<'_>) -> Option<i64> {
    item.integer().map(i64::from)
}

fn attribute_name(text: &str) -> Result<String, Invalid> {
    let is_custom = text.strip_prefix(CUSTOM).is_some_and(|own| {
        (1..=20).contains(&own.chars().count()) && own.bytes().all(|byte| byte.is_ascii_graphic())
    });
    match is_custom || text == "address" || STANDARD_ATTRIBUTES.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is not a user attribute"),
            "use a standard one (email, name, …) or \"custom:something\"".to_owned(),
        )),
    }
}
