//! Logos of known providers: SVG, inlined in the page.

macro_rules! marks {
    ($folder:literal: $($name:literal),*) => {
        [$(($name, include_str!(concat!($folder, "/", $name, ".svg")))),*]
    };
}

/// Logos by preset name.
const LOGOS: [(&str, &str); 10] = marks![
    "logos":
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

/// Icons of apps by their names.
const ICONS: [(&str, &str); 12] = marks![
    "icons":
    "app",
    "book",
    "calendar",
    "chart",
    "chat",
    "code",
    "file",
    "gear",
    "mail",
    "photo",
    "server",
    "users"
];

/// Returns the SVG of a built-in icon of apps, or `None` if there is none with this name.
pub fn app_icon(name: &str) -> Option<&'static str> {
    ICONS.iter().find(|(known, _)| *known == name).map(|(_, svg)| svg.trim_end())
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_icon_of_the_configuration_exists() {
        for name in crate::config::APP_ICONS {
            assert!(
                super::app_icon(name).is_some_and(|svg| svg.starts_with("<svg class=\"icon\"")),
                "{name}"
            );
        }
    }

    #[test]
    fn each_preset_has_a_mark() {
        for preset in crate::config::PRESETS {
            assert!(super::logo(preset.name).is_some(), "{}", preset.name);
        }
    }
}
