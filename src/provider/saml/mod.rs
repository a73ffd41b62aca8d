//! SAML 2.0, web browser SSO and single logout profiles, as the service provider.
//!
//! A message is parsed once, strictly and within limits, into the tree that its signatures are
//! verified over. What is read afterwards is the canonical text of what was signed. Nothing that a
//! message names is fetched or executed.

mod attributes;
mod bounds;
mod canonical;
mod encryption;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod key;
mod key_files;
mod logout;
mod messages;
mod metadata;
mod own_keys;
mod own_metadata;
mod response;
mod signature;
mod subject;
mod verification;
mod workers;
mod xml;

pub use key::{KeyError, ServiceProviderKey};
pub use key_files::KeyFiles;
pub use logout::{LogoutBinding, LogoutMessage};
pub use own_keys::{OwnKeys, ScheduledKey};

use super::cached_document::{CachedDocument, MIN_INTERVAL};
use super::{
    BrowserAction, Callback, ExternalIdentity, LoginHints, LoginStart, LoginState, LogoutToken, Provider,
    ProviderError, ProviderHttpClient, Renewed,
};
use crate::base::{Clock, Duration, Entropy, MAX_SMALL_FILE, Secret, Timestamp, read_file};
use crate::config::{self, MetadataSource};
use crate::model::{Identity, ProviderTokens};
use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use messages::MessageContext;
use response::Expected;
use std::path::Path;
use std::sync::Arc;
use subject::NameId;
use verification::VerificationKey;

/// How large a response may be. One with a thousand groups has some hundred kilobytes.
const MAX_RESPONSE_BYTES: usize = 256 * 1024;
/// How large metadata may be.
const MAX_METADATA_BYTES: u64 = 1024 * 1024;
/// How long before an expiry administrators are warned.
const EXPIRY_WARNING: Duration = Duration::from_secs(21 * 86400);

/// Ours, in the eyes of one provider.
#[derive(Clone)]
pub struct ServiceProvider {
    /// Our entity id.
    pub entity_id: String,
    /// Our keys.
    pub keys: Arc<OwnKeys>,
}

/// Our signed metadata with its input, so that a request for it signs nothing.
struct WrittenMetadata {
    addresses: (String, String),
    keys: Vec<Arc<ServiceProviderKey>>,
    text: Arc<str>,
}

/// A SAML identity provider, seen by its service provider.
pub struct SamlProvider {
    settings: config::Saml,
    own: Arc<ServiceProvider>,
    kept: CachedDocument<metadata::Provider>,
    /// Our metadata as it was signed last.
    written: ArcSwapOption<WrittenMetadata>,
    outbound: ProviderHttpClient,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// Base64 as messages carry it, which some providers break into lines.
fn base64(text: &str) -> Option<Vec<u8>> {
    const STRICT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
    );
    let plain: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STRICT.decode(plain).ok()
}

/// SAML bindings, section 3.5.4: the text of a message in a form.
fn decode(message: &str) -> Result<String, ProviderError> {
    if message.len() > MAX_RESPONSE_BYTES * 4 / 3 + 4096 {
        return Err(ProviderError::invalid("form", "the message is too large"));
    }
    let bytes = base64(message).ok_or_else(|| ProviderError::invalid("form", "the message is no base64"))?;
    String::from_utf8(bytes).map_err(|_| ProviderError::invalid("xml", "the message is no UTF-8"))
}

/// SAML core, section 1.3.3: a time, in UTC.
fn instant(text: Option<&str>) -> Option<Timestamp> {
    let text = xml::trim(text?);
    let at = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    (at.offset().local_minus_utc() == 0).then(|| Timestamp::from_millis(at.timestamp_millis()))
}

impl SamlProvider {
    pub fn new(
        settings: config::Saml,
        own: ServiceProvider,
        outbound: ProviderHttpClient,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let kept = CachedDocument::new(settings.metadata.to_string(), None, clock.clone());
        let written = ArcSwapOption::empty();
        Self { settings, own: Arc::new(own), kept, written, outbound, clock, entropy }
    }

    async fn metadata(&self) -> Result<Arc<metadata::Provider>, ProviderError> {
        let known = self.kept.get_or_fetch(self.settings.metadata_refresh, self.fetch()).await?;
        match self.usable(known) {
            Ok(known) => Ok(known),
            // It has ended before it was to be fetched again.
            Err(_) => self.after_unknown_key().await,
        }
    }

    /// The metadata after something came whose key is not in it: the provider may have changed
    /// keys.
    async fn after_unknown_key(&self) -> Result<Arc<metadata::Provider>, ProviderError> {
        self.kept.get_or_fetch(MIN_INTERVAL, self.fetch()).await.and_then(|known| self.usable(known))
    }

    /// What was good when it was fetched may have ended since.
    fn usable(&self, known: Arc<metadata::Provider>) -> Result<Arc<metadata::Provider>, ProviderError> {
        match known.valid_until.is_some_and(|until| self.clock.now() >= until) {
            true => Err(ProviderError::Unavailable("its metadata's validUntil has passed".into())),
            false => Ok(known),
        }
    }

    async fn fetch(&self) -> Result<metadata::Provider, ProviderError> {
        let unavailable = |why: String| ProviderError::Unavailable(why);
        let bytes = match &self.settings.metadata {
            MetadataSource::Url(url) => {
                self.outbound.get(url).await.map_err(|error| error.of("its metadata"))?
            }
            MetadataSource::File(path) => read_file(path, MAX_METADATA_BYTES)
                .map_err(|error| unavailable(format!("{}: {error}", path.display())))?,
        };
        let no_text = |_| ProviderError::Unreadable("its metadata is not UTF-8".to_owned());
        let text = String::from_utf8(bytes).map_err(no_text)?;
        let pinned = self.settings.metadata_certificate.as_deref().map(pinned).transpose()?;
        let now = self.clock.now();
        let named = self.settings.issuer.clone();
        let read = workers::run(move || metadata::read(&text, named.as_deref(), pinned.as_ref(), now)).await;
        let known = read.map_err(|error| match error {
            ProviderError::Overloaded => unavailable(error.to_string()),
            error => error,
        })?;
        for line in warnings(&known, self.clock.now()) {
            tracing::warn!(provider = known.entity_id, "{line}");
        }
        Ok(known)
    }

    fn message_context(&self) -> MessageContext<'_> {
        MessageContext { entity_id: &self.own.entity_id, clock: &*self.clock, entropy: &*self.entropy }
    }

    /// Validates a response by the metadata `known`.
    async fn validate(
        &self,
        text: &Arc<str>,
        callback: &Callback<'_>,
        known: Arc<metadata::Provider>,
    ) -> Result<response::ValidatedAssertion, ProviderError> {
        let (text, own, now) = (text.clone(), self.own.clone(), self.clock.now());
        let encrypted = self.settings.encrypted_responses;
        let acs = callback.redirect_uri.to_owned();
        let request_id = callback.pending.map(|pending| pending.nonce.clone());
        let authn_context = self.settings.authn_context.clone();
        let authenticated_after = callback.started_at.filter(|_| self.settings.force_authn);
        workers::run(move || {
            response::validate(
                &text,
                &Expected {
                    provider: &known.entity_id,
                    keys: &known.keys,
                    audience: &own.entity_id,
                    acs: &acs,
                    request_id: request_id.as_deref(),
                    decryption: &own.keys.decrypting(now),
                    encrypted,
                    authn_context: &authn_context,
                    authenticated_after,
                    now,
                },
            )
        })
        .await
    }

    /// Validates a logout message by the metadata `known`.
    async fn validate_logout(
        &self,
        arrived: &LogoutBinding,
        here: &str,
        known: Arc<metadata::Provider>,
    ) -> Result<LogoutMessage, ProviderError> {
        let (arrived, here, now) = (arrived.clone(), here.to_owned(), self.clock.now());
        workers::run(move || logout::validate(&arrived, &known, &here, now)).await
    }
}

/// The certificate that metadata must be signed by.
fn pinned(file: &Path) -> Result<VerificationKey, ProviderError> {
    use rustls::pki_types::pem::PemObject as _;
    let unusable = |error: String| ProviderError::Unavailable(format!("{}: {error}", file.display()));
    let pem = read_file(file, MAX_SMALL_FILE).map_err(|error| unusable(error.to_string()))?;
    let der = rustls::pki_types::CertificateDer::from_pem_slice(&pem);
    let der = der.map_err(|error| unusable(error.to_string()))?;
    VerificationKey::from_certificate(&der).map_err(|error| unusable(error.to_string()))
}

/// What an administrator should know before it is too late.
fn warnings(known: &metadata::Provider, now: Timestamp) -> Vec<String> {
    let days = |at: Timestamp| at.since(now).as_secs() / 86400;
    let mut lines = Vec::new();
    if let Some(until) = known.valid_until.filter(|until| now.plus(EXPIRY_WARNING) >= *until) {
        lines.push(format!("its metadata counts for {} more day(s): logins fail then", days(until)));
    }
    for key in known.keys.iter().filter(|key| now.plus(EXPIRY_WARNING) >= key.expires_at) {
        lines.push(match now >= key.expires_at {
            true => {
                "a signing certificate of its metadata has ended: ask whether a new one is to come".to_owned()
            }
            false => format!("a signing certificate of its metadata ends in {} day(s)", days(key.expires_at)),
        });
    }
    lines
}

fn unsigned(error: KeyError) -> ProviderError {
    ProviderError::Unavailable(error.to_string())
}

#[async_trait]
impl Provider for SamlProvider {
    async fn begin(
        &self,
        redirect_uri: &str,
        state: &str,
        wish: LoginHints<'_>,
    ) -> Result<LoginStart, ProviderError> {
        let known = self.metadata().await?;
        let to = &known.sign_on;
        let request =
            self.message_context().authn_request(to, redirect_uri, &self.settings, wish.other_account);
        let pending = LoginState { nonce: request.id.clone(), code_verifier: String::new() };
        let signs = self.settings.request_signing || known.wants_signed_requests;
        let key = signs.then(|| self.own.keys.signing(self.clock.now())).transpose().map_err(unsigned)?;
        let action = request.into_browser_action(to, state, key.as_deref()).map_err(unsigned)?;
        Ok(LoginStart { action, pending })
    }

    async fn finish(&self, callback: Callback<'_>) -> Result<ExternalIdentity, ProviderError> {
        let message = callback
            .parameters
            .get("SAMLResponse")
            .ok_or_else(|| ProviderError::invalid("form", "there is no SAMLResponse"))?;
        let text: Arc<str> = decode(message)?.into();
        let known = self.metadata().await?;
        let mut judged = self.validate(&text, &callback, known.clone()).await;
        let mut issuer = known.entity_id.clone();
        if matches!(judged, Err(ProviderError::Invalid { check: "signature", .. })) {
            let newer = self.after_unknown_key().await?;
            // The same metadata has the same keys.
            if !Arc::ptr_eq(&newer, &known) {
                issuer = newer.entity_id.clone();
                judged = self.validate(&text, &callback, newer).await;
            }
        }
        let judged = judged?;
        let name_id = serde_json::to_string(&judged.name_id)
            .map_err(|error| ProviderError::invalid("name_id", error))?;
        let tokens = ProviderTokens::of_assertion(Secret::new(name_id), self.clock.now());
        Ok(ExternalIdentity {
            amr: judged.amr,
            auth_time: Some(judged.auth_time),
            sid: judged.name_id.session_index,
            once: Some((judged.id, judged.usable_until)),
            session_ends_at: judged.session_ends_at,
            ..ExternalIdentity::new(issuer, judged.name_id.value, judged.claims, tokens)
        })
    }

    async fn renew(&self, _: &ProviderTokens, _: &Identity) -> Result<Renewed, ProviderError> {
        Err(ProviderError::Unavailable("a SAML provider cannot be asked again".into()))
    }

    async fn logout(&self, tokens: &ProviderTokens, _: &str, state: &str) -> Option<BrowserAction> {
        let known = self.metadata().await.ok()?;
        let to = known.logout.as_ref()?;
        let name_id: NameId = serde_json::from_str(tokens.name_id.as_ref()?.expose()).ok()?;
        // SAML profiles, section 4.4.4.1: the request "MUST be signed" on its way by the browser.
        let key = self.own.keys.signing(self.clock.now()).ok()?;
        self.message_context().logout_request(to, &name_id).into_browser_action(to, state, Some(&key)).ok()
    }

    async fn logout_token(&self, _: &str) -> Result<LogoutToken, ProviderError> {
        Err(ProviderError::invalid("logout_token", "this provider speaks SAML"))
    }

    async fn logout_message(
        &self,
        arrived: LogoutBinding,
        here: &str,
    ) -> Result<LogoutMessage, ProviderError> {
        let known = self.metadata().await?;
        let judged = self.validate_logout(&arrived, here, known.clone()).await;
        if !matches!(judged, Err(ProviderError::Invalid { check: "signature", .. })) {
            return judged;
        }
        let newer = self.after_unknown_key().await?;
        match Arc::ptr_eq(&newer, &known) {
            true => judged,
            false => self.validate_logout(&arrived, here, newer).await,
        }
    }

    async fn logout_answer(&self, id: &str, relay_state: &str) -> Option<BrowserAction> {
        let known = self.metadata().await.ok()?;
        let to = known.logout.as_ref()?;
        let key = self.own.keys.signing(self.clock.now()).ok()?;
        self.message_context().logout_response(to, id).into_browser_action(to, relay_state, Some(&key)).ok()
    }

    fn own_metadata(&self, acs: &str, logout: &str) -> Option<Arc<str>> {
        let addresses = (acs.to_owned(), logout.to_owned());
        let ServiceProvider { entity_id, keys } = &*self.own;
        let keys = keys.published(self.clock.now()).ok()?;
        let is_same = |one: &[Arc<ServiceProviderKey>], other: &[Arc<ServiceProviderKey>]| {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
        };
        if let Some(written) = &*self.written.load()
            && written.addresses == addresses
            && is_same(&written.keys, &keys)
        {
            return Some(written.text.clone());
        }
        let signs = self.settings.request_signing;
        let text: Arc<str> = own_metadata::write(entity_id, acs, logout, signs, &keys).ok()?.into();
        self.written.store(Some(Arc::new(WrittenMetadata { addresses, keys, text: text.clone() })));
        Some(text)
    }

    async fn refresh(&self) -> Result<Vec<String>, ProviderError> {
        let known = self.metadata().await?;
        Ok(warnings(&known, self.clock.now()))
    }

    fn expire(&self) {
        self.kept.expire();
    }

    fn expire_files(&self) -> bool {
        let config::Saml { metadata, metadata_certificate, .. } = &self.settings;
        let has_files = matches!(metadata, MetadataSource::File(_)) || metadata_certificate.is_some();
        if has_files {
            self.kept.expire();
        }
        has_files
    }
}
