//! ID tokens and signed UserInfo responses (OpenID Connect Core 1.0, sections 3.1.3.7 and 5.3.2):
//! whose keys must have signed them, their audience, and when they are valid.
//!
//! Claims are read as untyped JSON: a claim of an odd type that no check needs rejects nobody.

use super::OidcProvider;
use crate::base::Timestamp;
use crate::config::{Issuer, Oidc};
use crate::jose::{MAX_BODY_TOKEN_LENGTH, NumericDate, Unverified};
use crate::provider::ProviderError;
use crate::provider::claims::{SKEW, claim_text, payload, warn_of_skew};
use crate::provider::metadata::{ProviderMetadata, PublishedMetadata};
use serde_json::{Map, Value};

type Claims = Map<String, Value>;

impl OidcProvider {
    /// The issuer and the verified claims of `token`; the keys are fetched again where none of them
    /// signed it.
    pub(super) async fn verified(
        &self,
        published: &PublishedMetadata,
        token: &str,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<(String, Claims), ProviderError> {
        let document = self.document_of(published, token)?;
        let claims = match signed_claims(token, &document) {
            Err(ProviderError::Invalid { check: "signature", .. }) => {
                let published = self.metadata.after_unknown_key().await?;
                signed_claims(token, &self.document_of(&published, token)?)
            }
            claims => claims,
        }?;
        check_issuer(&self.settings, &document, &claims)?;
        check_audience(&self.settings, &claims)?;
        check_times(&claims, now)?;
        // OpenID Connect Core 1.0, section 3.1.3.7: "a nonce Claim MUST be present and its value
        // checked to verify that it is the same value as the one that was sent". Section 12.2: a
        // renewed token "SHOULD NOT have a nonce Claim".
        if nonce.is_some_and(|nonce| claims.get("nonce").and_then(Value::as_str) != Some(nonce)) {
            return Err(ProviderError::invalid("nonce", "it is missing, or another login's"));
        }
        warn_of_skew(&document.issuer, &claims, now);
        Ok((document.issuer, claims))
    }

    /// The verified claims of a signed UserInfo response. Section 5.3.2: it "SHOULD contain the
    /// Claims iss (issuer) and aud (audience) as members"; where it does, they must be right.
    pub(super) async fn verified_user_info(
        &self,
        document: &ProviderMetadata,
        token: &str,
        now: Timestamp,
    ) -> Result<Claims, ProviderError> {
        let refuse = |error| match error {
            ProviderError::Invalid { check, detail } => ProviderError::invalid(
                "userinfo",
                format!("its signed response: the check `{check}` failed: {detail}"),
            ),
            error => error,
        };
        let claims = match signed_claims(token, document) {
            Err(ProviderError::Invalid { check: "signature", .. }) => {
                let published = self.metadata.after_unknown_key().await?;
                let current = match &self.settings.issuer {
                    Issuer::One(_) => published.document.clone(),
                    Issuer::PerTenant(_) => document.clone(),
                };
                signed_claims(token, &current)
            }
            claims => claims,
        };
        let claims = claims.map_err(refuse)?;
        if claims.contains_key("iss") {
            check_issuer(&self.settings, document, &claims).map_err(refuse)?;
        }
        if claims.contains_key("aud") {
            check_audience(&self.settings, &claims).map_err(refuse)?;
        }
        let has_expired = |value: &Value| NumericDate::read(value).is_none_or(|at| now >= at.plus(SKEW));
        if claims.get("exp").is_some_and(has_expired) {
            return Err(ProviderError::invalid("userinfo", "its signed response has expired"));
        }
        let is_early = |value: &Value| NumericDate::read(value).is_none_or(|at| at > now.plus(SKEW));
        if ["nbf", "iat"].iter().any(|name| claims.get(*name).is_some_and(is_early)) {
            return Err(ProviderError::invalid("userinfo", "its signed response is of the future"));
        }
        // OpenID Connect Back-Channel Logout 1.0, section 2.4: a token with `events` is another
        // statement.
        if claims.contains_key("events") {
            return Err(ProviderError::invalid("userinfo", "its signed response is a logout or event token"));
        }
        Ok(claims)
    }

    /// The metadata that applies to `token`, which is not yet verified: it must be one of an issuer
    /// whose people may come, and is verified by that issuer's own keys.
    pub(super) fn document_of(
        &self,
        published: &PublishedMetadata,
        token: &str,
    ) -> Result<ProviderMetadata, ProviderError> {
        let Issuer::PerTenant(tenants) = &self.settings.issuer else { return Ok(published.document.clone()) };
        let claims = payload(token).unwrap_or_default();
        let tenant = claims.get("tid").and_then(Value::as_str).unwrap_or_default();
        let issuer = tenants.issuer_of(tenant).ok_or_else(|| {
            ProviderError::invalid("tenant", format!("`{tenant}` is none whose people may come"))
        })?;
        published.for_tenant(tenant, &issuer)
    }
}

/// The claims of `token`, which a key of `document` must have signed.
fn signed_claims(token: &str, document: &ProviderMetadata) -> Result<Claims, ProviderError> {
    // Neither `none` nor the HMAC family is an algorithm there: a client secret is no key.
    let Unverified { jws, claims } = Unverified::read_within(token, MAX_BODY_TOKEN_LENGTH)
        .map_err(|why| ProviderError::invalid("token", why))?;
    // RFC 8725, section 3.11: a token of another type, such as an access token, is not taken for
    // this one.
    if jws.typ.as_deref().is_some_and(|typ| !matches!(typ, "jwt" | "application/jwt")) {
        return Err(ProviderError::invalid("typ", format!("its type is `{}`", jws.typ.unwrap_or_default())));
    }
    match document.keys.verify(jws.kid.as_deref(), jws.algorithm, jws.message, &jws.signature) {
        true => Ok(claims),
        false => Err(ProviderError::invalid(
            "signature",
            format!("no key of the provider signed it; it names the key `{}`", jws.kid.unwrap_or_default()),
        )),
    }
}

/// "The Issuer Identifier for the OpenID Provider MUST exactly match the value of the iss (issuer)
/// Claim."
fn check_issuer(settings: &Oidc, document: &ProviderMetadata, claims: &Claims) -> Result<(), ProviderError> {
    let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    match issuer == document.issuer || settings.quirks.issuer_aliases.contains(&issuer) {
        true => Ok(()),
        false => Err(ProviderError::invalid(
            "issuer",
            format!("it is of `{issuer}`, not of `{}`", document.issuer),
        )),
    }
}

/// "The Client MUST validate that the aud (audience) Claim contains its client_id value"; a token
/// of several audiences "MUST be rejected if […] it contains additional audiences not trusted by
/// the Client".
///
/// Without `trusted_audiences`, any additional audience is trusted: the token came from the token
/// endpoint itself, bound to our code and nonce, and `azp` shows that no other client requested it.
fn check_audience(settings: &Oidc, claims: &Claims) -> Result<(), ProviderError> {
    let (client_id, trusted) = (&settings.client.id, settings.trusted_audiences.as_ref());
    let audiences: Vec<String> = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().map(|one| claim_text(one).unwrap_or_default()).collect(),
        Some(one) => vec![claim_text(one).unwrap_or_default()],
        None => Vec::new(),
    };
    let shown = || audiences.join("`, `");
    if !audiences.contains(client_id) {
        return Err(ProviderError::invalid("aud", format!("it is for `{}`, not for `{client_id}`", shown())));
    }
    let is_trusted =
        |name: &String| name == client_id || trusted.is_some_and(|trusted| trusted.contains(name));
    if trusted.is_some() && !audiences.iter().all(is_trusted) {
        let detail =
            format!("it is for `{}` as well, and `trusted_audiences` does not name each of them", shown());
        return Err(ProviderError::invalid("aud", detail));
    }
    // "If an azp (authorized party) Claim is present, the Client SHOULD verify that its client_id
    // is the Claim Value."
    let Some(party) = claims.get("azp").filter(|party| !party.is_null()) else { return Ok(()) };
    let party = claim_text(party).unwrap_or_default();
    match is_trusted(&party) {
        true => Ok(()),
        false => Err(ProviderError::invalid(
            "azp",
            format!(
                "another client, `{party}`, asked for it; help: name it in trusted_audiences if its tokens are for you"
            ),
        )),
    }
}

/// Rejects a token outside of its lifetime, by clocks that may differ by [`SKEW`].
fn check_times(claims: &Claims, now: Timestamp) -> Result<(), ProviderError> {
    let time =
        |name: &'static str, check: &'static str| match claims.get(name).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => match NumericDate::read(value) {
                Some(at) => Ok(Some(at)),
                None => Err(ProviderError::invalid(check, format!("`{name}` is not a time"))),
            },
        };
    let missing = |name: &str| ProviderError::invalid("exp or iat", format!("`{name}` is missing"));
    // "The current time MUST be before the time represented by the exp Claim."
    let expires_at = time("exp", "exp or iat")?.ok_or_else(|| missing("exp"))?;
    if now >= expires_at.plus(SKEW) {
        let ago = now.since(expires_at).as_secs();
        return Err(ProviderError::invalid("exp or iat", format!("the token expired {ago} s ago")));
    }
    let issued_at = time("iat", "exp or iat")?.ok_or_else(|| missing("iat"))?;
    // RFC 7519, section 4.1.5: before nbf the token "MUST NOT be accepted for processing".
    let not_before = time("nbf", "nbf")?;
    for (at, check) in [(Some(issued_at), "exp or iat"), (not_before, "nbf")] {
        let Some(at) = at.filter(|at| *at > now.plus(SKEW)) else { continue };
        let detail = format!(
            "the token was issued {} s in the future, and {} s are allowed; help: synchronize the clocks of this machine \
             and the provider",
            at.since(now).as_secs(),
            SKEW.as_secs()
        );
        return Err(ProviderError::invalid(check, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Kind};
    use serde_json::json;
    use std::path::Path;

    const APPLE: &str = "https://appleid.apple.com";

    fn settings(provider: &str) -> Oidc {
        let text = format!(
            "public_url = \"https://auth.example.com\"\n[[provider]]\nclient_id = \"narthex\"\nallow = \"anyone\"\n{provider}\n"
        );
        let config = Config::parse(&text, "narthex.toml", Path::new("/tmp"), &|_| None).unwrap();
        let Kind::Oidc(settings) = &config.providers[0].kind else { panic!("it is an OpenID provider") };
        (**settings).clone()
    }

    fn document(issuer: &str) -> ProviderMetadata {
        let at = |path: &str| format!("https://idp.example{path}");
        let members = json!({
            "issuer": issuer, "authorization_endpoint": at("/a"), "token_endpoint": at("/t"), "jwks_uri": at("/k"),
        });
        ProviderMetadata::read(members.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_preset_knows_its_issuer_by_each_of_its_names_and_no_other_provider_does() {
        const KEY: &str = "team_id = \"ABCDE12345\"\nkey_id = \"ABCDE12345\"\nprivate_key = \"-----BEGIN PRIVATE KEY-----\"";
        let is_taken = |provider: &str, iss: Value| {
            let claims = json!({ "iss": iss });
            check_issuer(&settings(provider), &document(APPLE), claims.as_object().unwrap()).is_ok()
        };
        let apple = format!("type = \"apple\"\n{KEY}");
        let elsewhere = format!("{apple}\nbase_url = \"https://idp.example.com\"");
        let plain = format!("type = \"oidc\"\nissuer = \"{APPLE}\"");
        for (provider, iss, outcome) in [
            (&apple, json!(APPLE), true),
            (&apple, json!("https://account.apple.com"), true),
            (&apple, json!("https://account.apple.com/"), false),
            (&apple, json!("https://evil.example"), false),
            (&apple, Value::Null, false),
            (&elsewhere, json!("https://account.apple.com"), false),
            (&plain, json!(APPLE), true),
            (&plain, json!("https://account.apple.com"), false),
        ] {
            assert_eq!(is_taken(provider, iss.clone()), outcome, "{provider} {iss}");
        }
    }
}
