//! Whether an ID token shows what the authorization request demanded of the authentication.

use crate::base::Timestamp;
use crate::config::Demands;
use crate::jose::NumericDate;
use crate::provider::ProviderError;
use crate::provider::claims::{SKEW, claim_text};
use serde_json::{Map, Value};

/// Compares the claims of an ID token with the demands of the request that was sent at `begun_at`.
pub(super) fn check_demands(
    demands: &Demands,
    claims: &Map<String, Value>,
    begun_at: Timestamp,
) -> Result<(), ProviderError> {
    let auth_time = NumericDate::of(claims, "auth_time");
    // OpenID Connect Core 1.0, section 3.1.2.1: "When max_age is used, the ID Token returned MUST
    // include an auth_time Claim Value."
    if (demands.auth_time || demands.max_age.is_some()) && auth_time.is_none() {
        let detail = "the ID token has no `auth_time`, which the request demands; help: have the provider send it, or \
                      remove `max_age` from authorization_parameters";
        return Err(ProviderError::invalid("auth_time", detail));
    }
    // The provider has judged "the last time the End-User was actively authenticated" when the
    // request reached it: what the person read there since then is no authentication.
    if let (Some(max_age), Some(auth_time)) = (demands.max_age, auth_time)
        && begun_at > auth_time.plus(max_age).plus(SKEW)
    {
        let detail = format!(
            "the person was authenticated {} s before the request, and `max_age` is {}; help: have the provider \
             respect `max_age`",
            begun_at.since(auth_time).as_secs(),
            max_age.as_secs()
        );
        return Err(ProviderError::invalid("auth_time", detail));
    }
    let acr = claims.get("acr").and_then(claim_text);
    if !demands.acr.is_empty() && !acr.as_ref().is_some_and(|acr| demands.acr.contains(acr)) {
        let detail = format!(
            "the ID token has `acr` = `{}`, and the request demands one of `{}`; help: enable it at the provider, or \
             correct `acr_values` in authorization_parameters",
            acr.unwrap_or_default(),
            demands.acr.join(" ")
        );
        return Err(ProviderError::invalid("acr", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Duration;
    use serde_json::json;

    #[test]
    fn what_was_demanded_is_in_the_claims() {
        let check = |parameters: &[(&str, &str)], claims: Value| {
            let parameters: Vec<_> =
                parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let demands = Demands::of(&parameters).unwrap();
            let claims = claims.as_object().unwrap().clone();
            match check_demands(&demands, &claims, Timestamp::from_seconds(10_000)) {
                Ok(()) => "good",
                Err(ProviderError::Invalid { check, .. }) => check,
                Err(_) => "another error",
            }
        };
        let (hour, acr) = (&[("max_age", "3600")][..], &[("acr_values", "gold silver")][..]);
        for (demands, claims, outcome) in [
            (&[][..], json!({}), "good"),
            (hour, json!({"auth_time": 6400}), "good"),
            (hour, json!({"auth_time": 6340.5}), "good"),
            (hour, json!({"auth_time": 6339}), "auth_time"),
            (hour, json!({"auth_time": -1}), "auth_time"),
            (hour, json!({"auth_time": "6400"}), "good"),
            (hour, json!({"auth_time": "6339"}), "auth_time"),
            (hour, json!({"auth_time": "soon"}), "auth_time"),
            (hour, json!({"auth_time": null}), "auth_time"),
            (hour, json!({}), "auth_time"),
            (&[("max_age", "0")], json!({"auth_time": 9939}), "auth_time"),
            (&[("max_age", "0")], json!({"auth_time": 10_500}), "good"),
            (acr, json!({"acr": "silver"}), "good"),
            (acr, json!({"acr": "Silver"}), "acr"),
            (acr, json!({"acr": "gold silver"}), "acr"),
            (acr, json!({"acr": ["gold"]}), "acr"),
            (acr, json!({}), "acr"),
            (
                &[("claims", r#"{"id_token": {"acr": {"essential": true, "values": ["gold"]}}}"#)],
                json!({"acr": "0"}),
                "acr",
            ),
            (
                &[("claims", r#"{"id_token": {"acr": {"essential": true, "value": "gold"}}}"#)],
                json!({"acr": "gold"}),
                "good",
            ),
            (&[("claims", r#"{"id_token": {"acr": {"values": ["gold"]}}}"#)], json!({}), "good"),
            (&[("claims", r#"{"id_token": {"auth_time": {"essential": true}}}"#)], json!({}), "auth_time"),
        ] {
            assert_eq!(check(demands, claims.clone()), outcome, "{demands:?} {claims}");
        }
        assert_eq!(Demands::of(&[]).unwrap().max_age, None::<Duration>);
    }
}
