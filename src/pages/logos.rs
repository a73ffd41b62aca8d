//! Logos of known providers: SVG, inlined in the page.

macro_rules! marks {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("logos/", $name, ".svg")))),*]
    };
}

/// Logos by preset name.
const LOGOS: [(&str, &str); 10] = marks![
    "amazon",
    "apple",
    "discord",
    "facebook",
    "github",
    "gitlab",
    "google",
    "linkedin",
    "microsoft",
    "slack"
];

/// Returns the SVG logo of a provider preset, or `None` if the preset is unknown.
pub fn logo(preset: &str) -> Option<&'static str> {
    LOGOS.iter().find(|(name, _)| *name == preset).map(|(_, svg)| svg.trim_end())
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_preset_has_a_mark() {
        for preset in crate::config::PRESETS {
            assert!(super::logo(preset.name).is_some(), "{}", preset.name);
        }
    }
}
