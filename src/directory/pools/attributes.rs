//! The attributes of a user pool's schema.

use super::check::{check_length, duplicate};
use super::{check_writable, live_pool, publish};
use crate::base::{Entropy, Timestamp};
use crate::directory::error::{DirectoryError, Outcome};
use crate::model::{
    AttributeType, CUSTOM_PREFIX, MAX_CUSTOM_NAME_LENGTH, Pool, Schema, SchemaAttribute, is_name,
};
use crate::store::Tx;

/// Maximum own attributes of a pool.
const MAX_CUSTOM_ATTRIBUTES: usize = 50;
/// Maximum attributes of one request.
const MAX_NEW_ATTRIBUTES: usize = 25;
/// Maximum characters of a text attribute.
const MAX_TEXT_LENGTH: i64 = 2048;

/// Adds attributes to the schema of a pool. No attribute is ever changed or removed.
///
/// # Errors
/// Returns `InvalidParameterException` for an attribute that is not valid or exists already, or
/// more than 50; `ResourceNotFoundException` if there is no such pool.
pub async fn add_custom_attributes(
    tx: &mut Tx<'_>,
    pool_id: &str,
    new: &[SchemaAttribute],
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Pool> {
    let mut pool = live_pool(tx, pool_id).await?;
    check_writable(pool.source, "user pool", pool_id)?;
    check_length("customAttributes", new.len(), 1..=MAX_NEW_ATTRIBUTES)?;
    let mut declared = pool.settings.schema.declared().to_vec();
    for attribute in new {
        if !attribute.name.starts_with(CUSTOM_PREFIX) {
            let name = &attribute.name;
            return Err(DirectoryError::invalid(format!(
                "{name}: the name of a custom attribute is needed."
            )));
        }
        if declared.iter().any(|known| known.name == attribute.name) {
            let name = &attribute.name;
            return Err(DirectoryError::invalid(format!(
                "{name}: Existing attribute already has name {name}."
            )));
        }
        declared.push(attribute.clone());
    }
    check_declared(&declared)?;
    pool.settings.schema = Schema::new(declared);
    pool.version += 1;
    pool.updated_at = now;
    tx.save_pool(&pool).await?;
    publish(tx, &pool, entropy).await?;
    Ok(pool)
}

/// Checks the attributes that a pool declares.
///
/// # Errors
/// Returns `InvalidParameterException`.
pub(super) fn check_declared(declared: &[SchemaAttribute]) -> Outcome<()> {
    let names: Vec<&str> = declared.iter().map(|attribute| &*attribute.name).collect();
    if let Some(twice) = duplicate(&names) {
        return Err(DirectoryError::invalid(format!("{twice}: the attribute is declared twice.")));
    }
    let own = names.iter().filter(|name| name.starts_with(CUSTOM_PREFIX)).count();
    if own > MAX_CUSTOM_ATTRIBUTES {
        return Err(DirectoryError::invalid(format!(
            "A user pool has at most {MAX_CUSTOM_ATTRIBUTES} custom attributes."
        )));
    }
    declared.iter().try_for_each(check_attribute)
}

fn check_attribute(attribute: &SchemaAttribute) -> Outcome<()> {
    let name = &*attribute.name;
    let invalid = |why: &str| Err(DirectoryError::invalid(format!("{name}: {why}")));
    match (name.strip_prefix(CUSTOM_PREFIX), Schema::standard(name)) {
        (Some(own), _) => {
            if own.chars().count() > MAX_CUSTOM_NAME_LENGTH || !is_name(own) {
                return invalid("the name of a custom attribute has 1 to 20 characters without spaces.");
            }
            if attribute.required {
                return invalid("Required custom attributes are not supported currently.");
            }
        }
        (None, Some(standard)) if standard.kind != attribute.kind => {
            return invalid("a standard attribute keeps its type.");
        }
        (None, Some(_)) => {}
        (None, None) => return invalid("there is no such standard attribute."),
    }
    let (min, max) = (attribute.min, attribute.max);
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        return invalid("the minimum is larger than the maximum.");
    }
    let is_length = |bound: i64| (0..=MAX_TEXT_LENGTH).contains(&bound);
    match attribute.kind {
        AttributeType::String if ![min, max].into_iter().flatten().all(is_length) => {
            invalid("the length of a text is between 0 and 2048.")
        }
        AttributeType::DateTime | AttributeType::Boolean if min.or(max).is_some() => {
            invalid("only texts and numbers have bounds.")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &'static str) -> SchemaAttribute {
        SchemaAttribute {
            name: name.into(),
            kind: AttributeType::String,
            mutable: true,
            required: false,
            min: None,
            max: None,
        }
    }

    #[test]
    fn attributes_have_cognitos_bounds() {
        let number = |min, max| SchemaAttribute { kind: AttributeType::Number, min, max, ..own("custom:n") };
        let length = |min, max| SchemaAttribute { min, max, ..own("custom:s") };
        for (attribute, fits) in [
            (own("custom:tier"), true),
            (own("custom:12345678901234567890"), true),
            (own("custom:123456789012345678901"), false),
            (own("custom:"), false),
            (own("custom:a b"), false),
            (own("tier"), false),
            (SchemaAttribute { required: true, ..own("custom:a") }, false),
            (SchemaAttribute { required: true, ..own("email") }, true),
            (SchemaAttribute { kind: AttributeType::Number, ..own("email") }, false),
            (length(Some(0), Some(2048)), true),
            (length(Some(-1), None), false),
            (length(None, Some(2049)), false),
            (length(Some(5), Some(4)), false),
            (number(Some(-5), Some(1_000_000)), true),
            (number(Some(6), Some(5)), false),
            (SchemaAttribute { kind: AttributeType::Boolean, min: Some(0), ..own("custom:b") }, false),
        ] {
            assert_eq!(check_attribute(&attribute).is_ok(), fits, "{attribute:?}");
        }
        assert!(check_declared(&[own("custom:a"), own("custom:a")]).is_err());
    }
}
