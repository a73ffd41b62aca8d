//! Requirements of an authorization request for the authentication, which the ID token must meet.

use super::reader::Invalid;
use crate::base::Duration;
use serde_json::Value;

/// Requirements from additional parameters (OpenID Connect Core 1.0, sections 3.1.2.1 and 5.5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// The maximum age of the authentication.
    pub max_age: Option<Duration>,
    /// The acceptable authentication contexts, one of which is required; empty for any.
    pub acr: Vec<String>,
    /// Whether `auth_time` is required.
    pub auth_time: bool,
}

impl Demands {
    /// Reads the requirements from `parameters`.
    ///
    /// # Errors
    /// Returns a message about an invalid value, and the remedy.
    pub fn of(parameters: &[(String, String)]) -> Result<Self, Invalid> {
        let mut demands = Self::default();
        for (name, value) in parameters {
            match name.as_str() {
                "max_age" => {
                    let seconds: u32 = value.parse().map_err(|_| {
                        let remedy = "write whole seconds: max_age = \"3600\"";
                        (format!("\"{value}\" is not a number of seconds"), remedy.to_owned())
                    })?;
                    demands.max_age = Some(Duration::from_secs(seconds.into()));
                }
                "acr_values" => demands.acr.extend(value.split_whitespace().map(str::to_owned)),
                "claims" => demands.add_claims(value)?,
                _ => {}
            }
        }
        Ok(demands)
    }

    /// Adds the essential claims of the parameter `claims` (section 5.5.1).
    fn add_claims(&mut self, text: &str) -> Result<(), Invalid> {
        let Ok(claims @ Value::Object(_)) = serde_json::from_str::<Value>(text) else {
            let remedy = "write a JSON object: claims = '{\"id_token\": {\"acr\": {\"essential\": true}}}'";
            return Err(("`claims` is not a JSON object".to_owned(), remedy.to_owned()));
        };
        let essential = |name: &str| {
            let claim = claims.pointer(&format!("/id_token/{name}"))?;
            (claim.get("essential") == Some(&Value::Bool(true))).then_some(claim)
        };
        self.auth_time |= essential("auth_time").is_some();
        if let Some(acr) = essential("acr") {
            let values = acr.get("values").and_then(Value::as_array).into_iter().flatten();
            let values = values.chain(acr.get("value")).filter_map(Value::as_str);
            self.acr.extend(values.map(str::to_owned));
        }
        Ok(())
    }
}
