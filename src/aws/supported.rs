//! Members of requests that would promise what Narthex does not do: most of them protections.
//! Requests with them are refused, so that no administrator relies on them.

use super::error::ApiError;
use serde_json::Value;

/// A member with its path, and the values that Narthex gives effect to; without any, the member
/// must be absent, `false` or empty.
struct Limited {
    path: &'static [&'static str],
    accepted: &'static [&'static str],
}

const fn limited(path: &'static [&'static str], accepted: &'static [&'static str]) -> Limited {
    Limited { path, accepted }
}

/// The members. Their names are unique among the requests of administrators.
const LIMITED: [Limited; 17] = [
    limited(&["WebAuthnMfaSettings", "Enabled"], &[]),
    limited(&["WebAuthnConfiguration"], &[]),
    limited(&["Policies", "SignInPolicy", "AllowedFirstAuthFactors"], &["PASSWORD", "EMAIL_OTP", "SMS_OTP"]),
    limited(&[ADD_ONS, "AdvancedSecurityMode"], &["OFF", "AUDIT"]),
    limited(&[ADD_ONS, "AdvancedSecurityAdditionalFlows", "CustomAuthMode"], &["AUDIT"]),
    limited(&[LAMBDA, "CustomSMSSender"], &[]),
    limited(&[LAMBDA, "CustomEmailSender"], &[]),
    limited(&[LAMBDA, "KMSKeyID"], &[]),
    limited(&["Schema", "DeveloperOnlyAttribute"], &[]),
    limited(&["CustomAttributes", "DeveloperOnlyAttribute"], &[]),
    limited(&["DcrConfiguration", "EnableStatus"], &["Disabled"]),
    limited(&["AcrConfiguration"], &[]),
    limited(&["AcrMapping"], &[]),
    limited(&["KeyConfiguration", "KeyType"], &["AWS_OWNED_KEY"]),
    limited(&["IssuerConfiguration", "Type"], &["ORIGINAL"]),
    limited(&["PublishSecretsInAWSSecretsManager"], &[]),
    limited(&["Routing", "Failover"], &[]),
];
/// The member of the functions.
const LAMBDA: &str = "LambdaConfig";
/// The member of the threat protection.
const ADD_ONS: &str = "UserPoolAddOns";

/// Refuses a request with a member that Narthex does not give effect to.
///
/// # Errors
/// Returns `InvalidParameterException`, or `FeatureUnavailableInTierException` for the threat
/// protection; the message names the member.
pub fn refuse_unsupported(request: &Value) -> Result<(), ApiError> {
    for of in &LIMITED {
        if is_accepted(request, of.path, of.accepted) {
            continue;
        }
        let exception = match of.path[0] {
            ADD_ONS => "FeatureUnavailableInTierException",
            _ => "InvalidParameterException",
        };
        let member = of.path.join(".");
        let values = match of.accepted {
            [] => String::new(),
            values => format!(" The supported values are: {}.", values.join(", ")),
        };
        return Err(ApiError::new(exception, format!("{member} is not supported with this value.{values}")));
    }
    Ok(())
}

/// Returns whether the member at `path` has accepted values only, in every item of a list.
fn is_accepted(value: &Value, path: &[&str], accepted: &[&str]) -> bool {
    match (value, path) {
        (Value::Array(items), _) => items.iter().all(|item| is_accepted(item, path, accepted)),
        (Value::Object(members), [name, rest @ ..]) => {
            members.get(*name).is_none_or(|value| is_accepted(value, rest, accepted))
        }
        (Value::Object(members), []) => members.values().all(|value| is_accepted(value, path, &[])),
        (Value::String(text), []) => accepted.contains(&&**text),
        (Value::Null | Value::Bool(false), _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_without_effect_are_refused() {
        let exception = |request: Value| refuse_unsupported(&request).err().map(|error| error.exception);
        let (invalid, tier) = (Some("InvalidParameterException"), Some("FeatureUnavailableInTierException"));
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
        for (request, expected) in [
            (json!({}), None),
            (json!({ "LambdaConfig": {}, "AcrConfiguration": {} }), None),
            (json!({ "LambdaConfig": { "PreSignUp": null } }), None),
            (json!({ "LambdaConfig": { "PreSignUp": arn } }), None),
            (json!({ "LambdaConfig": { "DefineAuthChallenge": arn } }), None),
            (json!({ "LambdaConfig": { "KMSKeyID": "arn:aws:kms:us-east-1:000000000000:key/k" } }), invalid),
            (json!({ "LambdaConfig": { "CustomSMSSender": { "LambdaArn": arn } } }), invalid),
            (json!({ "UserPoolAddOns": { "AdvancedSecurityMode": "AUDIT" } }), None),
            (json!({ "UserPoolAddOns": { "AdvancedSecurityMode": "ENFORCED" } }), tier),
            (
                json!({ "UserPoolAddOns": { "AdvancedSecurityAdditionalFlows": { "CustomAuthMode": "ENFORCED" } } }),
                tier,
            ),
            (json!({ "DeviceConfiguration": { "ChallengeRequiredOnNewDevice": true } }), None),
            (
                json!({ "Policies": { "SignInPolicy": { "AllowedFirstAuthFactors": ["PASSWORD", "WEB_AUTHN"] } } }),
                invalid,
            ),
            (json!({ "Schema": [{ "Name": "a" }, { "DeveloperOnlyAttribute": true }] }), invalid),
            (json!({ "KeyConfiguration": { "KeyType": "CUSTOMER_MANAGED_KEY" } }), invalid),
            (json!({ "AcrMapping": { "Level1": "x" } }), invalid),
            (json!({ "PublishSecretsInAWSSecretsManager": true }), invalid),
            (json!({ "WebAuthnMfaSettings": { "Enabled": true } }), invalid),
        ] {
            assert_eq!(exception(request.clone()), expected, "{request}");
        }
        let text =
            refuse_unsupported(&json!({ "KeyConfiguration": { "KeyType": "x" } })).unwrap_err().to_string();
        assert!(text.contains("KeyType") && text.contains("AWS_OWNED_KEY"), "{text}");
    }
}
