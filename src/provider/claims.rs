//! What an OpenID provider's answers say, read out of them: claims, tokens, and how far its clock
//! is off.

use super::ProviderError;
use super::metadata::ProviderMetadata;
use super::token_response::GrantedTokens;
use crate::base::{Duration, Secret, Timestamp, base64url_decode, is_deceptive};
use crate::config::{DEFAULT_LIFETIME, Issuer, Verified};
use crate::jose::NumericDate;
use crate::model::ProviderTokens;
use openidconnect::OAuth2TokenResponse as _;
use serde_json::{Map, Value};

/// How far clocks may differ.
pub const SKEW: Duration = Duration::from_secs(60);
/// The skew that is logged, in seconds: less is common.
const WARN_SKEW_SECONDS: u64 = 5;

/// A token that ends sooner is renewed no more often than this.
const MIN_RENEWAL_INTERVAL: Duration = Duration::from_secs(4);

/// Logs a clock that differs long before logins fail, which tolerate a minute.
pub fn warn_of_skew(issuer: &str, claims: &Map<String, Value>, now: Timestamp) {
    let time = |name: &str| NumericDate::of(claims, name);
    let ahead = time("iat").map_or(Duration::ZERO, |issued| issued.since(now));
    let behind = time("exp").map_or(Duration::ZERO, |expires| now.since(expires));
    for (seconds, direction) in [(ahead.as_secs(), "ahead of"), (behind.as_secs(), "behind")] {
        if seconds >= WARN_SKEW_SECONDS {
            tracing::warn!(
                issuer,
                seconds,
                "the provider's clock is {direction} ours: logins fail from {} s on; set both clocks",
                SKEW.as_secs()
            );
        }
    }
}

/// The claims of a JWT, read without judging it.
pub fn payload(token: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&token.split('.').nth(1).and_then(base64url_decode)?).ok()
}

/// The account's name at the provider, of the claims `names`.
///
/// OpenID Connect Core 1.0, section 2: sub "MUST NOT exceed 255 ASCII characters in length".
pub fn subject_of(claims: &Map<String, Value>, names: &[&str]) -> Result<String, ProviderError> {
    let part = |name: &&str| claim(claims, name).and_then(claim_text).filter(|text| !text.is_empty());
    let parts: Option<Vec<String>> = names.iter().map(part).collect();
    let subject = parts.unwrap_or_default().join(".");
    // Some apps read a name without the white space around it: as another person's.
    let is_bare = subject.trim().len() == subject.len();
    if subject.is_empty() || subject.len() > 255 || !is_bare || subject.chars().any(is_deceptive) {
        return Err(ProviderError::invalid(
            "sub",
            "it is missing, too long, or holds control or invisible characters, or white space around it",
        ));
    }
    Ok(subject)
}

/// The text of a claim that names something: some providers write numbers as texts, and others
/// texts as numbers.
pub fn claim_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        // A larger number would have lost its last digits on the way here, by which accounts
        // differ.
        Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        _ => None,
    }
}

/// A claim by its name, or by a JSON Pointer (RFC 6901), which begins with `/`.
pub fn claim<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    let Some(path) = name.strip_prefix('/') else { return claims.get(name) };
    let (first, rest) = path.find('/').map_or((path, ""), |at| path.split_at(at));
    claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
}

/// Has `email_verified` say what the provider's own way of saying it means.
pub fn normalize_email_verified(claims: &mut Map<String, Value>, verified: Verified) {
    let says = |name: &str| match claims.get(name) {
        Some(Value::Bool(said)) => *said,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true") || text == "1",
        Some(Value::Number(number)) => number.as_f64() == Some(1.0),
        _ => false,
    };
    let email_verified = match verified {
        Verified::Claim(name) => says(name),
        Verified::WhereGoogleIsAuthoritative => {
            let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
            // Google's own rule: it is authoritative for its mailboxes, and where `hd` names a
            // Workspace.
            says("email_verified") && (text("email").ends_with("@gmail.com") || !text("hd").is_empty())
        }
        Verified::Never => false,
    };
    if claims.contains_key("email") {
        claims.insert("email_verified".to_owned(), email_verified.into());
    }
}

/// `claims` with whatever `more` adds to them. An address and what is said of it come from one
/// document, or not at all.
pub fn joined(mut claims: Map<String, Value>, more: Map<String, Value>) -> Map<String, Value> {
    let has_address = claims.contains_key("email");
    if !has_address {
        claims.remove("email_verified");
    }
    for (name, value) in more {
        if name != "email_verified" || !has_address {
            claims.entry(name).or_insert(value);
        }
    }
    claims
}

/// How the person was authenticated. RFC 8176: `amr` is a list; some providers write one method, or
/// several with spaces between, as a text.
pub fn methods(claims: &Map<String, Value>) -> Vec<String> {
    let amr: Vec<&str> = match claims.get("amr") {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => text.split(' ').filter(|method| !method.is_empty()).collect(),
        _ => Vec::new(),
    };
    let plain = |method: &&str| !method.contains(|c: char| c.is_whitespace() || c.is_control());
    amr.into_iter().filter(plain).map(str::to_owned).collect()
}

/// The `sid` of the person's session at the provider.
pub fn sid_of(claims: &Map<String, Value>) -> Option<String> {
    claims.get("sid").and_then(claim_text).filter(|sid| !sid.is_empty())
}

/// The tokens of an answer. RFC 6749, section 6: without a new refresh token the old one stays; so
/// does the ID token, as a hint. `lifetime` is for how long what the provider says of the person
/// counts, where that is not for the access token to say.
pub fn granted_tokens(
    answer: &GrantedTokens,
    before: Option<&ProviderTokens>,
    lifetime: Option<Duration>,
    now: Timestamp,
) -> ProviderTokens {
    let refresh_token = answer.refresh_token().map(|token| Secret::new(token.secret().as_str()));
    let id_token = answer.id_token().cloned();
    let of_token =
        || answer.expires_in().unwrap_or(DEFAULT_LIFETIME).clamp(MIN_RENEWAL_INTERVAL, DEFAULT_LIFETIME);
    ProviderTokens {
        access_token: Secret::new(answer.access_token().secret().as_str()),
        refresh_token: refresh_token.or_else(|| before?.refresh_token.clone()),
        id_token: id_token.or_else(|| before?.id_token.clone()),
        name_id: None,
        expires_at: now.plus(lifetime.unwrap_or_else(of_token)),
    }
}

/// RFC 9207, section 2.4: clients "MUST reject the response if the parameter is absent" where the
/// server says that it sends it, and MUST compare it with the issuer they sent the browser to.
pub fn check_issuer(
    issuer: &Issuer,
    aliases: &[&str],
    document: &ProviderMetadata,
    iss: Option<&String>,
) -> Result<(), ProviderError> {
    match iss {
        Some(iss) if issuer.is(iss) || aliases.contains(&iss.as_str()) => Ok(()),
        Some(iss) => Err(ProviderError::invalid("iss", format!("the response is of `{iss}`"))),
        None if document.sends_issuer => {
            Err(ProviderError::invalid("iss", "the response does not say whose it is"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn google_is_believed_about_the_mailboxes_that_it_hosts() {
        let email_verified = |claims: Value| {
            let mut claims = object(claims);
            normalize_email_verified(&mut claims, Verified::WhereGoogleIsAuthoritative);
            claims["email_verified"].clone()
        };
        assert_eq!(email_verified(json!({"email": "a@gmail.com", "email_verified": true})), true);
        assert_eq!(email_verified(json!({"email": "a@gmail.com", "email_verified": false})), false);
        assert_eq!(
            email_verified(json!({"email": "a@corp.example", "email_verified": true, "hd": "corp.example"})),
            true
        );
        assert_eq!(
            email_verified(json!({"email": "a@corp.example", "email_verified": true, "hd": ""})),
            false
        );
        assert_eq!(email_verified(json!({"email": "a@notgmail.com", "email_verified": true})), false);
    }

    #[test]
    fn claims_of_odd_types_are_read_and_say_no_more_than_those_of_the_right_ones() {
        let verified = |value: Value| {
            let mut claims = object(json!({"email": "a@x", "email_verified": value}));
            normalize_email_verified(&mut claims, Verified::Claim("email_verified"));
            claims["email_verified"] == true
        };
        for yes in [json!(true), json!("true"), json!("True"), json!("1"), json!(1), json!(1.0)] {
            assert!(verified(yes.clone()), "{yes}");
        }
        for no in [
            json!(false),
            json!("false"),
            json!(""),
            json!("yes"),
            json!(0),
            json!(2),
            json!([true]),
            Value::Null,
        ] {
            assert!(!verified(no.clone()), "{no}");
        }
        let amr = |value: Value| methods(&object(json!({ "amr": value }))).join(",");
        assert_eq!(amr(json!(["pwd", "mfa", 7])), "pwd,mfa");
        assert_eq!(amr(json!("pwd")), "pwd");
        assert_eq!(amr(json!("pwd mfa")), "pwd,mfa");
        assert_eq!(amr(json!({"mfa": true})) + &amr(json!(1)), "");
        assert_eq!(sid_of(&object(json!({"sid": 7}))).as_deref(), Some("7"));
    }

    #[test]
    fn an_account_has_a_name_that_no_other_has() {
        let subject = |claims: Value, names: &[&str]| subject_of(&object(claims), names).ok();
        assert_eq!(subject(json!({"id": 7}), &["id"]).as_deref(), Some("7"));
        assert_eq!(subject(json!({"data": {"id": "x"}}), &["/data/id"]).as_deref(), Some("x"));
        assert_eq!(subject(json!({"team": "T", "sub": "U"}), &["team", "sub"]).as_deref(), Some("T.U"));
        for (claims, names) in [
            (json!({"sub": ""}), &["sub"][..]),
            (json!({"sub": "U"}), &["team", "sub"]),
            (json!({"team": "", "sub": "U"}), &["team", "sub"]),
            (json!({"id": 1e21}), &["id"]),
            (json!({"id": 7.5}), &["id"]),
            (json!({"id": true}), &["id"]),
            (json!({"id": ["x"]}), &["id"]),
            (json!({"sub": "U "}), &["sub"]),
            (json!({"sub": "\u{a0}U"}), &["sub"]),
        ] {
            assert_eq!(subject(claims.clone(), names), None, "{claims}");
        }
    }
}
