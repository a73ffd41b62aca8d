//! Levels of authentication (OpenID Connect Core 1.0, section 2: `acr`).

use serde::{Deserialize, Serialize};

/// The level of an authentication. A higher one includes the lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AcrLevel {
    /// One factor.
    One,
    /// One factor that cannot be given to another site: a passkey.
    Two,
    /// Two factors.
    Three,
    /// A passkey that verified its user, or a passkey and a second factor.
    Four,
}

/// Each level with its value of `acr`.
const LEVELS: [(AcrLevel, &str); 4] = [
    (AcrLevel::One, "urn:cognito:loa:1"),
    (AcrLevel::Two, "urn:cognito:loa:2"),
    (AcrLevel::Three, "urn:cognito:loa:3"),
    (AcrLevel::Four, "urn:cognito:loa:4"),
];

impl AcrLevel {
    /// Returns the values of `acr`, from the lowest level.
    pub fn names() -> impl Iterator<Item = &'static str> {
        LEVELS.iter().map(|(_, name)| *name)
    }

    /// Returns the value of `acr`.
    pub fn name(self) -> &'static str {
        LEVELS.iter().find(|(level, _)| *level == self).map_or("", |(_, name)| name)
    }

    /// Returns the level of this name.
    pub fn parse(name: &str) -> Option<Self> {
        LEVELS.iter().find(|(_, known)| *known == name).map(|(level, _)| *level)
    }

    /// Returns the known levels of a list of names, in its order.
    pub fn parse_list(names: &str) -> Vec<Self> {
        names.split_ascii_whitespace().filter_map(Self::parse).collect()
    }

    /// Returns the level of an authentication with these methods (RFC 8176); `None` without any.
    pub fn of(methods: &[String]) -> Option<Self> {
        let has = |name: &str| methods.iter().any(|method| method == name);
        // RFC 8176, section 2: "pop": "Proof-of-possession (PoP) of a key", "mfa":
        // "Multiple-factor authentication".
        match (has("pop"), has("mfa")) {
            _ if methods.is_empty() => None,
            (true, true) => Some(Self::Four),
            (false, true) => Some(Self::Three),
            (true, false) => Some(Self::Two),
            (false, false) => Some(Self::One),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_follows_from_the_methods() {
        for (methods, level) in [
            ("", None),
            ("pwd", Some(AcrLevel::One)),
            ("otp", Some(AcrLevel::One)),
            ("pop", Some(AcrLevel::Two)),
            ("pwd otp mfa", Some(AcrLevel::Three)),
            ("mfa", Some(AcrLevel::Three)),
            ("pop mfa", Some(AcrLevel::Four)),
        ] {
            let methods: Vec<String> = methods.split_whitespace().map(str::to_owned).collect();
            assert_eq!(AcrLevel::of(&methods), level, "{methods:?}");
        }
    }

    #[test]
    fn unknown_levels_of_a_list_are_ignored() {
        let list = AcrLevel::parse_list("urn:cognito:loa:3 gold  urn:cognito:loa:1 URN:COGNITO:LOA:2");
        assert_eq!(list, [AcrLevel::Three, AcrLevel::One]);
        assert_eq!(AcrLevel::parse_list(""), []);
        assert!(AcrLevel::names().all(|name| AcrLevel::parse(name).map(AcrLevel::name) == Some(name)));
    }
}
