//! Remembered devices: what a pool does with them.

use serde::{Deserialize, Serialize};

/// Which devices of users a pool remembers (`DeviceConfiguration`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceMode {
    /// None.
    #[default]
    Off,
    /// Each that an app confirms.
    Always,
    /// Those that the user wants to be remembered (`DeviceOnlyRememberedOnUserPrompt`).
    OptIn,
}

/// The settings of a pool for devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceSettings {
    /// Which devices are remembered.
    pub mode: DeviceMode,
    /// Whether a remembered device replaces the second factor (`ChallengeRequiredOnNewDevice`).
    pub replaces_factor: bool,
}

impl DeviceSettings {
    /// Returns whether devices are remembered at all.
    pub fn is_on(self) -> bool {
        self.mode != DeviceMode::Off
    }
}
