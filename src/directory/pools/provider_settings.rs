//! Names, identifiers and settings of identity providers, checked with Cognito's bounds.

use super::check::{check_length, check_pattern, duplicate, is_java_space, unsatisfied};
use crate::directory::error::{DirectoryError, Outcome};
use crate::model::{IdentityProvider, IdentityProviderSettings, ProviderKind, Schema, is_name};
use url::Url;

/// Maximum characters of a provider's name, and the least.
const NAME_LENGTHS: std::ops::RangeInclusive<usize> = 3..=32;
/// Maximum identifiers of a provider.
const MAX_IDENTIFIERS: usize = 50;
/// Maximum characters of an identifier.
const MAX_IDENTIFIER_LENGTH: usize = 40;
/// Maximum characters of an attribute's name.
const MAX_ATTRIBUTE_NAME: usize = 32;
/// Maximum characters of all details and of the whole mapping.
const MAX_SETTINGS_LENGTH: usize = 131_072;
/// The target of a mapping that is no attribute.
const USERNAME: &str = "username";

/// The details without which a provider cannot be used; of each list, one is needed.
fn required_details(kind: ProviderKind) -> &'static [&'static [&'static str]] {
    match kind {
        ProviderKind::Saml => &[&["MetadataURL", "MetadataFile"]],
        ProviderKind::Oidc => {
            &[&["client_id"], &["oidc_issuer"], &["authorize_scopes"], &["attributes_request_method"]]
        }
        ProviderKind::SignInWithApple => &[&["client_id"], &["team_id"], &["key_id"], &["authorize_scopes"]],
        ProviderKind::Facebook | ProviderKind::Google | ProviderKind::LoginWithAmazon => {
            &[&["client_id"], &["client_secret"], &["authorize_scopes"]]
        }
    }
}

/// The details that are addresses.
const ADDRESSES: [&str; 6] =
    ["MetadataURL", "oidc_issuer", "authorize_url", "token_url", "attributes_url", "jwks_uri"];

/// Checks a provider.
///
/// # Errors
/// Returns `InvalidParameterException`.
pub(super) fn check_provider(schema: &Schema, provider: &IdentityProvider) -> Outcome<()> {
    check_provider_name(provider.kind, &provider.name)?;
    check_length("idpIdentifiers", provider.identifiers.len(), 0..=MAX_IDENTIFIERS)?;
    if let Some(twice) = duplicate(&provider.identifiers) {
        return Err(DirectoryError::invalid(format!("The identifier {twice} is given twice.")));
    }
    for identifier in &provider.identifiers {
        check_length("idpIdentifiers", identifier.chars().count(), 1..=MAX_IDENTIFIER_LENGTH)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || is_java_space(c) || "_+=.@-".contains(c);
        check_pattern("idpIdentifiers", identifier, "[\\w\\s+=.@-]+", allowed)?;
    }
    check_details(provider.kind, &provider.settings)?;
    check_mapping(schema, &provider.settings)
}

/// Checks the name: a social provider has the name of its kind, and no other provider has it or the
/// pool's. Names without `_` and spaces stay apart from the user names that contain them.
fn check_provider_name(kind: ProviderKind, name: &str) -> Outcome<()> {
    if kind.is_social() {
        return match name == kind.name() {
            true => Ok(()),
            false => Err(DirectoryError::invalid(format!(
                "The provider name of the type {kind} must be {kind}.",
                kind = kind.name()
            ))),
        };
    }
    let is_reserved = name.eq_ignore_ascii_case("COGNITO")
        || ProviderKind::parse(name).is_some_and(ProviderKind::is_social);
    if is_reserved {
        return Err(DirectoryError::invalid(format!("The provider name {name} is reserved.")));
    }
    check_length("providerName", name.chars().count(), NAME_LENGTHS)?;
    match is_name(name) && !name.starts_with('_') && !name.chars().skip(2).any(|c| c == '_') {
        true => Ok(()),
        false => Err(unsatisfied(
            "providerName",
            "satisfy regular expression pattern: [^_\\p{Z}][\\p{L}\\p{M}\\p{S}\\p{N}\\p{P}][^_\\p{Z}]+",
        )),
    }
}

fn check_details(kind: ProviderKind, settings: &IdentityProviderSettings) -> Outcome<()> {
    let details = &settings.details;
    let length: usize = details.iter().map(|(key, value)| key.len() + value.len()).sum();
    check_length("providerDetails", length, 1..=MAX_SETTINGS_LENGTH)?;
    for names in required_details(kind) {
        if !names.iter().any(|name| details.get(*name).is_some_and(|value| !value.is_empty())) {
            return Err(DirectoryError::invalid(format!(
                "The provider details of the type {} need {}.",
                kind.name(),
                names.join(" or ")
            )));
        }
    }
    let is_https = |text: &str| {
        Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.username().is_empty())
            && text.starts_with("https://")
    };
    let wrong = ADDRESSES.iter().find(|name| details.get(**name).is_some_and(|url| !is_https(url)));
    match wrong {
        Some(name) => Err(DirectoryError::invalid(format!("{name} must be an https URL."))),
        None => Ok(()),
    }
}

fn check_mapping(schema: &Schema, settings: &IdentityProviderSettings) -> Outcome<()> {
    let mapping = &settings.attribute_mapping;
    let length: usize = mapping.iter().map(|(key, value)| key.len() + value.len()).sum();
    check_length("attributeMapping", length, 0..=MAX_SETTINGS_LENGTH)?;
    for (attribute, claim) in mapping {
        check_length("attributeMapping", attribute.chars().count(), 1..=MAX_ATTRIBUTE_NAME)?;
        let is_known = attribute == USERNAME || (attribute != "sub" && schema.get(attribute).is_some());
        if !is_known || claim.is_empty() {
            return Err(DirectoryError::invalid(format!(
                "Invalid attribute mapping: {attribute} is not an attribute of the user pool, or has no claim."
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use std::collections::BTreeMap;

    fn map(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn provider(kind: ProviderKind, name: &str, details: &[(&str, &str)]) -> IdentityProvider {
        IdentityProvider {
            pool: 1,
            name: name.to_owned(),
            kind,
            settings: IdentityProviderSettings { details: map(details), attribute_mapping: map(&[]) },
            identifiers: Vec::new(),
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn names_and_details_fit_the_kind() {
        use ProviderKind::{Google, Oidc, Saml, SignInWithApple};
        let saml: &[(&str, &str)] = &[("MetadataURL", "https://idp.example/metadata")];
        let oidc: &[(&str, &str)] = &[
            ("client_id", "a"),
            ("oidc_issuer", "https://idp.example"),
            ("authorize_scopes", "openid"),
            ("attributes_request_method", "GET"),
        ];
        let google: &[(&str, &str)] =
            &[("client_id", "a"), ("client_secret", "b"), ("authorize_scopes", "openid")];
        for (kind, name, details, fits) in [
            (Saml, "corp", saml, true),
            (Saml, "corp", &[("MetadataFile", "<EntityDescriptor/>")], true),
            (Saml, "corp", &[("MetadataURL", "http://idp.example/metadata")], false),
            (Saml, "corp", &[], false),
            (Saml, "ab", saml, false),
            (Saml, "COGNITO", saml, false),
            (Saml, "Google", saml, false),
            (Saml, "_corp", saml, false),
            (Saml, "co_rp", saml, false),
            (Saml, "my corp", saml, false),
            (Saml, "caf\u{e9}", saml, true),
            (Oidc, "corp", oidc, true),
            (Oidc, "corp", &oidc[1..], false),
            (Oidc, "corp", &[oidc[0], ("oidc_issuer", "http://idp.example"), oidc[2], oidc[3]], false),
            (Google, "Google", google, true),
            (Google, "google", google, false),
            (Google, "Google", &google[..2], false),
            (SignInWithApple, "SignInWithApple", google, false),
        ] {
            let provider = provider(kind, name, details);
            let fit = check_provider(&Schema::default(), &provider).is_ok();
            assert_eq!(fit, fits, "{kind:?} {name:?} {details:?}");
        }
    }

    #[test]
    fn identifiers_and_mappings_have_bounds() {
        let good = provider(ProviderKind::Saml, "corp", &[("MetadataFile", "x")]);
        let with = |identifiers: Vec<String>, mapping: &[(&str, &str)]| {
            let mut provider = IdentityProvider { identifiers, ..good.clone() };
            provider.settings.attribute_mapping = map(mapping);
            check_provider(&Schema::default(), &provider).is_ok()
        };
        assert!(with(vec!["corp.example".to_owned()], &[("email", "mail"), ("username", "id")]));
        assert!(!with(vec!["a/b".to_owned()], &[]));
        assert!(!with(vec!["a".repeat(41)], &[]));
        assert!(!with(vec!["a".to_owned(), "a".to_owned()], &[]));
        assert!(!with((0..51).map(|number| number.to_string()).collect(), &[]));
        assert!(!with(vec![], &[("custom:none", "x")]));
        assert!(!with(vec![], &[("sub", "x")]));
        assert!(!with(vec![], &[("email", "")]));
    }
}
