//! `LambdaConfig`: the functions of a user pool, as ARNs.

use crate::aws::error::ApiError;
use crate::aws::operation::Answer;
use crate::config::{PoolTriggers, TRIGGER_EVENTS, TriggerEvent};
use crate::model::PoolSettings;
use serde_json::{Map, Value, json};

/// The member, which is also kept as it was given.
pub const MEMBER: &str = "LambdaConfig";
/// The member with the version of the event before tokens are signed.
const TOKEN_CONFIG: &str = "PreTokenGenerationConfig";
/// The versions of that event.
const VERSIONS: [(&str, u8); 3] = [("V1_0", 1), ("V2_0", 2), ("V3_0", 3)];
/// The version of the event of inbound federation.
const ONLY_VERSION: &str = "V1_0";

/// Reads the functions of a request.
///
/// # Errors
/// Returns `InvalidParameterException` for an ARN that is none of a function, and for two different
/// functions for one event.
pub fn read(request: &Value) -> Answer<PoolTriggers> {
    let mut triggers = PoolTriggers::default();
    let Some(config) = request.get(MEMBER) else { return Ok(triggers) };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    for (event, _, member) in TRIGGER_EVENTS {
        let arn = match event {
            TriggerEvent::InboundFederation => versioned_function(config.get(member))?,
            _ => text(config.get(member)),
        };
        if let Some(arn) = arn {
            triggers.set(event, function_name(&arn)?);
        }
    }
    let Some(versioned) = config.get(TOKEN_CONFIG).filter(|value| !value.is_null()) else {
        return Ok(triggers);
    };
    let version = text(versioned.get("LambdaVersion")).unwrap_or_default();
    let known = VERSIONS.iter().find(|(name, _)| *name == version);
    let (_, number) = known.ok_or_else(|| ApiError::invalid_parameter("Invalid LambdaVersion."))?;
    let name = function_name(&text(versioned.get("LambdaArn")).unwrap_or_default())?;
    let event = TriggerEvent::PreTokenGeneration;
    if triggers.name(event).is_some_and(|other| other != name) {
        return Err(ApiError::invalid_parameter(
            "PreTokenGeneration and PreTokenGenerationConfig must have the same function.",
        ));
    }
    triggers.set(event, name);
    triggers.token_version = *number;
    Ok(triggers)
}

/// Returns the ARN of a function whose event has one version.
fn versioned_function(value: Option<&Value>) -> Answer<Option<String>> {
    let Some(versioned) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    match versioned.get("LambdaVersion").and_then(Value::as_str) {
        Some(ONLY_VERSION) => Ok(versioned.get("LambdaArn").and_then(Value::as_str).map(str::to_owned)),
        _ => Err(ApiError::invalid_parameter("Invalid LambdaVersion.")),
    }
}

/// Returns the name in a function's ARN: `arn:aws:lambda:REGION:ACCOUNT:function:NAME`, which may
/// be followed by a version or an alias.
fn function_name(arn: &str) -> Answer<String> {
    let parts: Vec<&str> = arn.split(':').collect();
    match &parts[..] {
        ["arn", _, "lambda", _, _, "function", name] | ["arn", _, "lambda", _, _, "function", name, _]
            if !name.is_empty() =>
        {
            Ok((*name).to_owned())
        }
        _ => Err(ApiError::invalid_parameter(format!("{arn} is not the ARN of a Lambda function."))),
    }
}

/// Returns the functions of a pool: as they were given, or for a pool of the file with the region
/// and the account of `pool_arn`.
pub fn describe(settings: &PoolSettings, pool_arn: &str) -> Value {
    if let Some(given) = settings.kept.get(MEMBER).and_then(Value::as_object) {
        return given
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
    }
    let mut parts = pool_arn.split(':').skip(3);
    let (region, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let arn = |name: &str| json!(format!("arn:aws:lambda:{region}:{account}:function:{name}"));
    let mut config = Map::new();
    for (event, _, member) in TRIGGER_EVENTS {
        if let Some(name) = settings.triggers.name(event) {
            let function = match event {
                TriggerEvent::InboundFederation => {
                    json!({ "LambdaVersion": ONLY_VERSION, "LambdaArn": arn(name) })
                }
                _ => arn(name),
            };
            config.insert(member.to_owned(), function);
        }
    }
    if let Some(name) = settings.triggers.name(TriggerEvent::PreTokenGeneration) {
        let version = VERSIONS.iter().find(|(_, number)| *number == settings.triggers.token_version);
        let version = version.map_or("V1_0", |(name, _)| name);
        config.insert(TOKEN_CONFIG.to_owned(), json!({ "LambdaVersion": version, "LambdaArn": arn(name) }));
    }
    Value::Object(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

    fn of(config: Value) -> Answer<PoolTriggers> {
        read(&json!({ MEMBER: config }))
    }

    #[test]
    fn functions_are_read_by_the_names_in_their_arns() {
        assert_eq!(read(&json!({})).unwrap(), PoolTriggers::default());
        let read = of(json!({ "PreSignUp": ARN, "CustomMessage": format!("{ARN}:live") })).unwrap();
        assert_eq!(read.name(TriggerEvent::PreSignUp), Some("f"));
        assert_eq!(read.name(TriggerEvent::CustomMessage), Some("f"));
        assert_eq!((read.name(TriggerEvent::UserMigration), read.token_version), (None, 1));
        let versioned = json!({ TOKEN_CONFIG: { "LambdaVersion": "V2_0", "LambdaArn": ARN } });
        let read = of(versioned).unwrap();
        assert_eq!((read.name(TriggerEvent::PreTokenGeneration), read.token_version), (Some("f"), 2));
        let other = "arn:aws:lambda:us-east-1:000000000000:function:g";
        for wrong in [
            json!({ "PreSignUp": "arn:aws:s3:::bucket" }),
            json!({ "PreSignUp": "arn:aws:lambda:us-east-1:000000000000:layer:f" }),
            json!({ TOKEN_CONFIG: { "LambdaVersion": "V9_0", "LambdaArn": ARN } }),
            json!({ "InboundFederation": { "LambdaVersion": "V2_0", "LambdaArn": ARN } }),
            json!({ "InboundFederation": { "LambdaVersion": "V1_0", "LambdaArn": "f" } }),
            json!({ "PreTokenGeneration": other, TOKEN_CONFIG: { "LambdaVersion": "V1_0", "LambdaArn": ARN } }),
        ] {
            assert!(of(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pool_of_the_file_is_described_with_arns() {
        let mut settings = PoolSettings::default();
        let pool = "arn:aws:cognito-idp:us-east-1:000000000000:userpool/us-east-1_a";
        assert_eq!(describe(&settings, pool), json!({}));
        settings.triggers.set(TriggerEvent::PreTokenGeneration, "f".to_owned());
        settings.triggers.token_version = 3;
        settings.kept.insert(MEMBER.to_owned(), json!({ "PreSignUp": ARN, "UserMigration": null }));
        assert_eq!(describe(&settings, pool), json!({ "PreSignUp": ARN }), "as it was given");
        settings.kept.clear();
        settings.triggers.set(TriggerEvent::InboundFederation, "f".to_owned());
        let expected = json!({
            "PreTokenGeneration": ARN, TOKEN_CONFIG: { "LambdaVersion": "V3_0", "LambdaArn": ARN },
            "InboundFederation": { "LambdaVersion": "V1_0", "LambdaArn": ARN },
        });
        assert_eq!(describe(&settings, pool), expected);
    }
}
