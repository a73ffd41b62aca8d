//! Mapping of a provider's claims to the user pool's attributes, and the check of `allow`.

use crate::config::{Allow, Kind, Provider, STANDARD_ATTRIBUTES};
use crate::directory::FederatedAccount;
use crate::model::{
    Attributes, Identity, MAX_ATTRIBUTE_LENGTH, MAX_GROUP_NAME_LENGTH, MAX_GROUPS, UnreadableClaim, User,
    claim_texts, is_address, is_distributed,
};
use crate::provider::{self, ExternalIdentity};
use serde_json::Value;

/// Maps a provider's claims to the user pool's attributes and groups. An invalid claim is omitted
/// and logged, unless a decision depends on it.
///
/// # Errors
/// Returns a description of an invalid claim on which a decision depends.
pub fn map_account(config: &Provider, external: &ExternalIdentity) -> Result<FederatedAccount, String> {
    let claim = |attribute: &str| provider::claim(&external.claims, claim_name(config, attribute));
    let mut attributes = Attributes::default();
    let mapped =
        config.attributes.keys().map(String::as_str).filter(|name| !STANDARD_ATTRIBUTES.contains(name));
    for attribute in STANDARD_ATTRIBUTES
        .into_iter()
        .chain(mapped.filter(|name| !matches!(*name, "groups" | "email_verified")))
    {
        let text = attribute_text(config, attribute, external).and_then(|text| match text {
            Some(text) if attribute == "email" && !is_address(&text) => {
                Err("the e-mail address is not one".to_owned())
            }
            text => Ok(text),
        });
        match text {
            Ok(Some(text)) => attributes.set(attribute, &text),
            Ok(None) => {}
            Err(why) if is_used_for_decisions(config, attribute) => return Err(why),
            Err(why) => log_omitted(config, external, &why),
        }
    }
    if attributes.contains("email") {
        // An address is verified only if the provider has proved that it is the user's.
        // `email_verified` is about the claim `email` (OpenID Connect Core 1.0, section 5.1). It
        // does not apply if the configuration maps the address from another claim.
        let other = config.attributes.get("email").is_some_and(|claim| claim != "email");
        let of_it = !other || config.attributes.contains_key("email_verified");
        let said = of_it && claim("email_verified").and_then(text).is_some_and(|value| value == "true");
        attributes.set("email_verified", if said || config.trust_email { "true" } else { "false" });
    }
    let groups = groups(config, external)?;
    let identity = Identity {
        issuer: external.issuer.clone(),
        subject: external.subject.clone(),
        provider: config.name.clone(),
        saml: matches!(config.kind, Kind::Saml(_)),
    };
    Ok(FederatedAccount {
        identity,
        unverified: unverified(config, external, &attributes),
        attributes,
        groups,
        first_login_attributes: external.first_login_attributes,
    })
}

/// Returns the attributes with an address that the provider has not verified, whichever attribute
/// the configuration gives it: OpenID Connect Core 1.0, section 5.1, has a flag for each of two
/// claims.
fn unverified(config: &Provider, external: &ExternalIdentity, attributes: &Attributes) -> Vec<String> {
    let flag = |name: &str| provider::claim(&external.claims, name).and_then(text);
    let is_verified = |name: &str| match name {
        "email" => attributes.get("email_verified") == Some("true"),
        _ => false,
    };
    let is_unproven = |name: &str| match claim_name(config, name) {
        "email" => !config.trust_email && flag("email_verified").is_none_or(|value| value != "true"),
        "phone_number" => flag("phone_number_verified").is_none_or(|value| value != "true"),
        _ => matches!(name, "email" | "phone_number") && !is_verified(name),
    };
    attributes.iter().map(|(name, _)| name).filter(|name| is_unproven(name)).map(str::to_owned).collect()
}

/// Returns the groups. Omits invalid ones if no decision depends on groups; otherwise returns an
/// error.
fn groups(config: &Provider, external: &ExternalIdentity) -> Result<Vec<String>, String> {
    let name = claim_name(config, "groups");
    let claim = provider::claim(&external.claims, name);
    let all = match claim {
        Some(groups) => claim_texts(groups, MAX_GROUP_NAME_LENGTH),
        None if may_be_withheld(external, name) => Err(UnreadableClaim),
        None => Ok(Vec::new()),
    };
    let why = match all {
        Ok(groups) => return Ok(groups),
        Err(UnreadableClaim) if claim.is_none() => {
            "the groups are not in the answer; help: have the provider send them in the ID token"
        }
        Err(UnreadableClaim) => {
            "the groups are too many or too long, hold control characters, or are objects; help: have the provider send \
             fewer, by name"
        }
    };
    if is_used_for_decisions(config, "groups") {
        return Err(why.to_owned());
    }
    log_omitted(config, external, why);
    let each = claim.and_then(Value::as_array).into_iter().flatten().take(MAX_GROUPS);
    Ok(each.filter_map(|group| claim_texts(group, MAX_GROUP_NAME_LENGTH).ok()).flatten().collect())
}

/// Returns whether a decision depends on `attribute`: sign-in, access to a route, the role, or a
/// policy.
fn is_used_for_decisions(config: &Provider, attribute: &str) -> bool {
    let is_among = |names: &[String]| names.iter().any(|name| name == attribute);
    let by_allow = config.allow.judged().any(|name| name == attribute);
    let by_groups = attribute == "groups"
        && (!config.groups.is_empty()
            || config.judged_attributes.iter().any(|name| name == "cognito:groups"));
    by_allow || by_groups || is_among(&config.required_attributes) || is_among(&config.judged_attributes)
}

/// Returns whether the provider may have an absent claim: a distributed claim, or an incomplete
/// response.
fn may_be_withheld(external: &ExternalIdentity, name: &str) -> bool {
    let is_absent = || provider::claim(&external.claims, name).is_none();
    is_distributed(&external.claims, name) || (external.is_incomplete && is_absent())
}

fn log_omitted(config: &Provider, external: &ExternalIdentity, why: &str) {
    let (provider, subject) = (&config.name, &external.subject);
    tracing::warn!(provider, subject, "a claim was left out: {why}");
}

/// Returns the name of the claim that is mapped to `attribute`.
fn claim_name<'c>(config: &'c Provider, attribute: &'c str) -> &'c str {
    config.attributes.get(attribute).map_or(attribute, String::as_str)
}

/// Returns the text of the claim for `attribute`, or `None` if it is absent. A list or an object is
/// treated as absent. If a rule or a tag uses the attribute, it is an error instead, because an
/// absent claim would let the user bypass them.
fn attribute_text(
    config: &Provider,
    attribute: &str,
    external: &ExternalIdentity,
) -> Result<Option<String>, String> {
    let name = claim_name(config, attribute);
    let is_judged = config.judged_attributes.iter().any(|judged| judged == attribute);
    let Some(value) = provider::claim(&external.claims, name) else {
        return match is_judged && may_be_withheld(external, name) {
            true => Err(format!(
                "the claim for `{attribute}` is not in the answer; help: have the provider send it in the ID token"
            )),
            false => Ok(None),
        };
    };
    if !is_judged && (value.is_array() || value.is_object()) {
        return Ok(None);
    }
    let texts = claim_texts(value, MAX_ATTRIBUTE_LENGTH).map_err(|_| {
        format!("the claim for `{attribute}` is too long or holds control characters, or is no text")
    })?;
    match texts.as_slice() {
        [] => Ok(None),
        [text] => Ok(Some(text.clone())),
        _ => Err(format!("the claim for `{attribute}` has several values, and a rule or a tag asks for one")),
    }
}

/// Checks that the account has all required attributes. An attribute that the provider sends only
/// at the first login may also come from the stored user `known`.
///
/// # Errors
/// Returns a description of the missing attribute.
pub fn check_required(
    config: &Provider,
    account: &FederatedAccount,
    known: Option<User>,
) -> Result<(), String> {
    let known = known.map(|known| known.for_provider(&config.name).attributes).unwrap_or_default();
    let lacks = |name: &&String| {
        let before = account.first_login_attributes.contains(&name.as_str()) && known.contains(name);
        !account.attributes.contains(name) && !before
    };
    match config.required_attributes.iter().find(lacks) {
        Some(name) => Err(format!("`{name}` is required of everybody, and the provider does not send it")),
        None => Ok(()),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Checks that `allow` contains the account's verified e-mail address or one of its groups.
///
/// # Errors
/// Returns a description of the account, for the log.
pub fn check_allowed(allow: &Allow, account: &FederatedAccount) -> Result<(), String> {
    let email = account.attributes.get("email");
    let verified = account.attributes.get("email_verified").is_some_and(|value| value == "true");
    if allow.names(email.filter(|_| verified), &account.groups) {
        return Ok(());
    }
    Err(match (email, verified) {
        (Some(email), true) => email.to_owned(),
        (Some(email), false) => format!("{email}, whose address the provider has not verified"),
        (None, _) => format!("subject {}, without an e-mail address", account.identity.subject),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Secret, Timestamp};
    use crate::config::{Client, Issuer, Oidc, STANDARD};
    use crate::model::ProviderTokens;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn provider(allow: Allow, attributes: &[(&str, &str)], trust_email: bool) -> Provider {
        Provider {
            name: "corp".into(),
            display_name: "Corp".into(),
            kind: Kind::Oidc(Box::new(Oidc {
                issuer: Issuer::One("https://idp".into()),
                client: Client {
                    id: "c".into(),
                    secret: None,
                    auth: None,
                    scopes: vec![],
                    parameters: vec![],
                    demands: Box::default(),
                },
                quirks: STANDARD,
                discovery_url: None,
                userinfo: true,
                trusted_audiences: None,
            })),
            preset: None,
            ca: None,
            groups: BTreeMap::new(),
            required_attributes: vec![],
            judged_attributes: vec![],
            allow,
            attributes: attributes.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
            trust_email,
            domains: vec![],
            logout: true,
        }
    }

    fn external(claims: Value) -> ExternalIdentity {
        ExternalIdentity {
            issuer: "https://idp".into(),
            subject: "s".into(),
            claims: claims.as_object().unwrap().clone(),
            amr: vec![],
            auth_time: None,
            sid: None,
            tokens: ProviderTokens {
                access_token: Secret::new("a"),
                refresh_token: None,
                id_token: None,
                name_id: None,
                expires_at: Timestamp::from_seconds(60),
            },
            once: None,
            session_ends_at: None,
            first_login_attributes: &[],
            is_incomplete: false,
        }
    }

    fn domains(domain: &str) -> Allow {
        Allow::Only { domains: vec![domain.into()], emails: vec![], groups: vec![] }
    }

    #[test]
    fn claims_become_attributes_by_name_or_by_mapping() {
        let config = provider(
            Allow::Anyone,
            &[("custom:department", "dept"), ("name", "cn"), ("groups", "roles")],
            false,
        );
        let claims = json!({"cn": "Ann", "name": "other", "dept": 7, "roles": ["a", "b"], "email": "ann@corp.example"});
        let account = map_account(&config, &external(claims)).unwrap();
        let get = |name: &str| account.attributes.get(name);
        assert_eq!(get("name"), Some("Ann"));
        assert_eq!(get("custom:department"), Some("7"));
        assert_eq!(get("email_verified"), Some("false"));
        assert_eq!(account.groups, ["a", "b"]);
    }

    #[test]
    fn an_address_is_unverified_whichever_attribute_has_it() {
        let both = &[("preferred_username", "email"), ("custom:mobile", "phone_number")][..];
        let phone = &[("phone_number", "phone_number")][..];
        let other = &[("email", "upn")][..];
        for (mapping, trust, flags, expected) in [
            (both, false, json!({}), &["custom:mobile", "email", "phone_number", "preferred_username"][..]),
            (both, true, json!({}), &["custom:mobile", "phone_number"]),
            (both, false, json!({ "email_verified": "true" }), &["custom:mobile", "phone_number"]),
            (both, false, json!({ "email_verified": true, "phone_number_verified": true }), &[]),
            (
                both,
                false,
                json!({ "email_verified": 1, "phone_number_verified": "yes" }),
                &["custom:mobile", "email", "phone_number", "preferred_username"],
            ),
            (phone, false, json!({ "email_verified": true }), &["phone_number"]),
            (phone, false, json!({ "email_verified": true, "phone_number_verified": true }), &[]),
            // The flag is about the claim `email`.
            (other, false, json!({ "email_verified": true }), &["email", "phone_number"]),
            (other, true, json!({ "phone_number_verified": true }), &[]),
        ] {
            let mut claims = flags.clone();
            for (name, value) in
                [("email", "a@corp.example"), ("upn", "a@corp.example"), ("phone_number", "+49123456")]
            {
                claims[name] = json!(value);
            }
            let account = map_account(&provider(Allow::Anyone, mapping, trust), &external(claims)).unwrap();
            let mut found = account.unverified;
            found.sort();
            assert_eq!(found, expected, "{mapping:?} {trust} {flags}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_left_out_and_refused_where_addresses_decide() {
        let (open, by_domain) =
            (provider(Allow::Anyone, &[], false), provider(domains("corp.example"), &[], false));
        let visible = ["a@b@c", "a,b@c", "a\n@c", "@c", "a@", "plain", "a b@c"];
        let invisible = [
            "a@c\u{a0}",
            "\u{a0}a@c",
            "a\u{200b}@c",
            "a@\u{2028}c",
            "a\u{202e}@c",
            "a@c\u{feff}",
            "a\u{ad}@c",
        ];
        for bad in visible.into_iter().chain(invisible) {
            let external = external(json!({"email": bad, "email_verified": true, "name": "Ann"}));
            let account = map_account(&open, &external).unwrap();
            assert_eq!(
                (account.attributes.get("email"), account.attributes.get("email_verified")),
                (None, None)
            );
            assert_eq!(account.attributes.get("name"), Some("Ann"));
            assert!(super::map_account(&by_domain, &external).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_claim_that_cannot_be_taken_over_locks_nobody_out_unless_it_decides() {
        let long = "x".repeat(3000);
        let claims = json!({"picture": long, "name": "A\tnn", "nickname": "ann", "groups": ["a", "g".repeat(300), "b", {}]});
        let open = provider(Allow::Anyone, &[], false);
        let account = map_account(&open, &external(claims.clone())).unwrap();
        let names: Vec<&str> = account.attributes.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["nickname"]);
        assert_eq!(account.groups, ["a", "b"]);
        let many = super::map_account(&open, &external(json!({"groups": vec!["g"; 1200]}))).unwrap();
        assert_eq!(many.groups.len(), 1000);
        let decided_by = |change: fn(&mut Provider)| {
            let mut config = provider(Allow::Anyone, &[], false);
            change(&mut config);
            super::map_account(&config, &external(claims.clone())).is_err()
        };
        for change in [
            (|config| config.required_attributes = vec!["picture".into()]) as fn(&mut Provider),
            |config| config.judged_attributes = vec!["name".into()],
            |config| config.judged_attributes = vec!["groups".into()],
            |config| config.judged_attributes = vec!["cognito:groups".into()],
            |config| config.groups = BTreeMap::from([("a".into(), vec!["staff".into()])]),
            |config| config.allow = Allow::Only { domains: vec![], emails: vec![], groups: vec!["a".into()] },
        ] {
            assert!(decided_by(change));
        }
        assert!(!decided_by(|config| config.judged_attributes = vec!["nickname".into()]));
    }

    #[test]
    fn an_incomplete_answer_does_not_hide_a_claim_that_decides() {
        let incomplete = |claims: Value| ExternalIdentity { is_incomplete: true, ..external(claims) };
        let mut config = provider(Allow::Anyone, &[], false);
        assert!(map_account(&config, &incomplete(json!({}))).is_ok());
        config.judged_attributes = vec!["locale".into(), "groups".into()];
        assert!(map_account(&config, &incomplete(json!({"locale": "en", "groups": []}))).is_ok());
        assert!(map_account(&config, &incomplete(json!({"groups": []}))).is_err());
        assert!(map_account(&config, &incomplete(json!({"locale": "en"}))).is_err());
        assert!(map_account(&config, &external(json!({}))).is_ok());
    }

    #[test]
    fn a_domain_counts_only_for_a_verified_address_and_only_whole() {
        let judge = |claims: Value, trust: bool| {
            let config = provider(domains("corp.example"), &[], trust);
            check_allowed(&config.allow, &map_account(&config, &external(claims)).unwrap()).is_ok()
        };
        assert!(judge(json!({"email": "Ann@Corp.Example", "email_verified": true}), false));
        assert!(judge(json!({"email": "ann@corp.example", "email_verified": "true"}), false));
        assert!(judge(json!({"email": "ann@corp.example"}), true));
        assert!(!judge(json!({"email": "ann@corp.example"}), false));
        assert!(!judge(json!({"email": "ann@corp.example", "email_verified": false}), false));
        assert!(!judge(json!({"email": "ann@evil-corp.example", "email_verified": true}), false));
        assert!(!judge(json!({"email": "ann@corp.example.evil", "email_verified": true}), false));
        assert!(!judge(json!({}), true));
    }

    #[test]
    fn an_address_from_another_claim_does_not_borrow_the_verification_of_email() {
        let claims = json!({"preferred_username": "boss@corp.example", "email": "ann@corp.example", "email_verified": true});
        let verified = |attributes: &[(&str, &str)]| {
            let config = provider(domains("corp.example"), attributes, false);
            check_allowed(&config.allow, &map_account(&config, &external(claims.clone())).unwrap()).is_ok()
        };
        assert!(verified(&[]));
        assert!(verified(&[("email", "email")]));
        assert!(!verified(&[("email", "preferred_username")]));
        assert!(verified(&[("email", "preferred_username"), ("email_verified", "email_verified")]));
    }

    #[test]
    fn a_group_is_enough() {
        let allow = Allow::Only { domains: vec![], emails: vec![], groups: vec!["staff".into()] };
        let config = provider(allow, &[], false);
        let judge = |claims: Value| {
            check_allowed(&config.allow, &map_account(&config, &external(claims)).unwrap()).is_ok()
        };
        assert!(judge(json!({"groups": ["guests", "staff"]})));
        assert!(judge(json!({"groups": "staff"})));
        assert!(!judge(json!({"groups": ["Staff"]})));
    }
}
