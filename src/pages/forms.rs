//! Pages with a form: fields with the typed values and their problems.

use super::brand::Brand;
use super::qr::Qr;
use super::templates::{Page, page, pages};
use super::texts::Texts;
use super::{ErrorResponse, HttpResponse};
use askama::Template;
use http::StatusCode;
use std::sync::Arc;

/// Maximum length of a value that a field takes in characters, unless it has another.
const MAX_VALUE_LENGTH: usize = 2048;

/// A field of a form.
#[derive(Clone, Debug)]
pub struct Field {
    /// The name of the parameter.
    pub name: String,
    /// Distinguishes fields with one name on a page; empty for the name.
    pub id: String,
    /// The visible name.
    pub label: String,
    /// The `type` attribute.
    pub kind: &'static str,
    /// The value that was typed; empty for a password.
    pub value: String,
    /// The `autocomplete` attribute.
    pub autocomplete: &'static str,
    /// Whether the browser demands a value.
    pub is_required: bool,
    /// Whether the page says that the field may stay empty.
    pub is_optional: bool,
    /// The maximum length in characters.
    pub max_length: usize,
    /// Whether phones show digits alone.
    pub is_numeric: bool,
    /// What is wrong with the value; may be empty.
    pub problem: String,
    /// What a value looks like; may be empty.
    pub hint: String,
}

impl Field {
    /// Creates a required field with a visible value.
    pub fn new(name: &str, label: &str, autocomplete: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            id: String::new(),
            label: label.to_owned(),
            kind: "text",
            value: String::new(),
            autocomplete,
            is_required: true,
            is_optional: false,
            max_length: MAX_VALUE_LENGTH,
            is_numeric: false,
            problem: String::new(),
            hint: String::new(),
        }
    }

    /// Creates a field of a password.
    pub fn password(name: &str, label: &str, autocomplete: &'static str) -> Self {
        Self { kind: "password", max_length: 256, ..Self::new(name, label, autocomplete) }
    }

    /// Creates a field of a code that was sent in a message.
    pub fn code(t: &Texts) -> Self {
        Self { max_length: 32, is_numeric: true, ..Self::new("code", &t.code, "one-time-code") }
    }

    /// Returns the field with this value.
    #[must_use]
    pub fn value(mut self, value: &str) -> Self {
        value.clone_into(&mut self.value);
        self
    }

    /// Returns the field with this problem, which may be empty.
    #[must_use]
    pub fn problem(mut self, problem: &str) -> Self {
        problem.clone_into(&mut self.problem);
        self
    }

    /// Returns the `id` attribute: names of attributes have characters that ids should not have.
    pub(super) fn id(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let distinct = if self.id.is_empty() { &self.name } else { &self.id };
        format!("field-{}", distinct.chars().map(plain).collect::<String>())
    }

    pub(super) fn is_described(&self) -> bool {
        !self.problem.is_empty() || !self.hint.is_empty()
    }
}

/// A form that is sent to the sign-in host.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// The URL that receives it.
    pub action: String,
    /// Hidden fields, names and values.
    pub hidden: Vec<(&'static str, String)>,
    /// The visible fields.
    pub fields: Vec<Field>,
    /// The label of the button.
    pub submit: String,
}

/// A link below a form.
#[derive(Clone, Debug)]
pub struct Link {
    /// The text before it; may be empty.
    pub before: String,
    /// The label.
    pub label: String,
    /// The URL.
    pub href: String,
}

/// A page with a form, or with a message alone.
#[derive(Clone, Debug, Template)]
#[template(path = "form.html")]
pub struct FormPage {
    /// The texts.
    pub t: &'static Texts,
    /// The look.
    pub brand: Arc<Brand>,
    /// The heading.
    pub title: String,
    /// The sentence below it; may be empty.
    pub lead: String,
    /// What was done; may be empty.
    pub notice: String,
    /// What is wrong, if it concerns no single field; may be empty.
    pub problem: String,
    /// The form.
    pub form: Option<Form>,
    /// The link that leads on, shown as a button.
    pub onward: Option<Link>,
    /// A QR code above the form.
    pub qr: Option<Qr>,
    /// Codes for the user to keep.
    pub codes: Vec<String>,
    /// Further forms of one button each.
    pub other_forms: Vec<Form>,
    /// Links below.
    pub links: Vec<Link>,
}

/// A part of the page about a user's own account.
#[derive(Clone, Debug)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// The sentence below it; may be empty.
    pub lead: String,
    /// What is listed; may be empty.
    pub items: Vec<String>,
    /// The form, if something can be changed.
    pub form: Option<Form>,
}

/// The page about a user's own account.
#[derive(Clone, Debug, Template)]
#[template(path = "account.html")]
pub struct AccountPage {
    /// The texts.
    pub t: &'static Texts,
    /// The look.
    pub brand: Arc<Brand>,
    /// The user's name.
    pub name: String,
    /// What was done; may be empty.
    pub notice: String,
    /// The parts.
    pub sections: Vec<Section>,
    /// Links below.
    pub links: Vec<Link>,
}

pages!(FormPage, AccountPage);

impl AccountPage {
    /// Renders the page.
    ///
    /// # Errors
    /// Returns an error if the template cannot be rendered.
    pub fn answer(&self) -> Result<HttpResponse, ErrorResponse> {
        page(StatusCode::OK, self)
    }
}

impl FormPage {
    /// Creates a page with a heading alone.
    pub fn new(t: &'static Texts, title: &str) -> Self {
        Self {
            t,
            brand: Brand::standard(),
            title: title.to_owned(),
            lead: String::new(),
            notice: String::new(),
            problem: String::new(),
            form: None,
            onward: None,
            qr: None,
            codes: Vec::new(),
            other_forms: Vec::new(),
            links: Vec::new(),
        }
    }

    /// Renders the page.
    ///
    /// # Errors
    /// Returns an error if the template cannot be rendered.
    pub fn answer(&self) -> Result<HttpResponse, ErrorResponse> {
        page(StatusCode::OK, self)
    }
}
