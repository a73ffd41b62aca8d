//! The look of a page: name, logo, stylesheet and links of a pool or an app client.

use super::{ICON_PATH, Link, STYLE, STYLE_PATH};
use crate::config::digest;
use std::sync::{Arc, LazyLock};

/// The look of a page.
#[derive(Clone, Debug)]
pub struct Brand {
    /// The name of the organization or app; may be empty.
    pub name: String,
    /// The address of the stylesheet.
    pub style: String,
    /// The address of the page icon.
    pub icon: String,
    /// The address of the logo.
    pub logo: Option<String>,
    /// The address of the help for users.
    pub support: Option<String>,
    /// The address of the terms of use.
    pub terms: Option<String>,
}

static DEFAULT: LazyLock<Arc<Brand>> = LazyLock::new(|| {
    Arc::new(Brand {
        name: String::new(),
        style: STYLE_PATH.to_owned(),
        icon: ICON_PATH.to_owned(),
        logo: None,
        support: None,
        terms: None,
    })
});
static STYLE_DIGEST: LazyLock<String> = LazyLock::new(|| digest(STYLE.as_bytes()));

impl Brand {
    /// Returns the look of pages that are of no pool.
    pub fn standard() -> Arc<Self> {
        DEFAULT.clone()
    }

    /// Returns the name of a stylesheet that consists of the pages' own and of rules with this
    /// digest. Another version of the pages has another name.
    pub fn style_name(rules: &str) -> String {
        format!("{rules}.{}.css", *STYLE_DIGEST)
    }

    /// Returns the links below the page.
    pub(super) fn links(&self, t: &super::Texts) -> Vec<Link> {
        let link = |(label, href): (&String, &Option<String>)| {
            Some(Link { before: String::new(), label: label.clone(), href: href.clone()? })
        };
        [(&t.support, &self.support), (&t.terms, &self.terms)].into_iter().filter_map(link).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colours_whose_contrast_is_checked_are_those_of_the_stylesheet() {
        for (name, colour) in [
            ("card", "#fffdf9"),
            ("ground", "#f2efe9"),
            ("quiet", "#665f55"),
            ("card", "#211e18"),
            ("ground", "#17150f"),
            ("quiet", "#b0a797"),
        ] {
            assert!(STYLE.contains(&format!("--{name}: {colour};")), "{name}");
        }
    }
}
