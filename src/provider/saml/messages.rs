//! What we say, and how it travels: requests and responses written in canonical form from the
//! outset, so that what is digested is what is sent.

use super::key::{KeyError, ServiceProviderKey};
use super::metadata::{Binding, Endpoint};
use super::subject::NameId;
use super::xml::{DS, SAML, SAMLP, escaped, escaped_value};
use crate::base::{Clock, Entropy, Timestamp, sha256};
use crate::config;
use crate::provider::BrowserAction;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::io::Write as _;
use url::form_urlencoded::byte_serialize;

const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";

/// A message of ours: what stands before the place of its signature, and what stands behind it.
pub struct Message {
    /// The name of the parameter that carries it: `SAMLRequest` or `SAMLResponse`.
    parameter: &'static str,
    /// Its id.
    pub id: String,
    before: String,
    after: String,
}

/// Who speaks, and when.
pub struct MessageContext<'a> {
    /// Our entity id.
    pub entity_id: &'a str,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Chance.
    pub entropy: &'a dyn Entropy,
}

/// A new id: 160 random bits. SAML core, section 1.3.4: "the probability of two randomly chosen
/// identifiers being identical [...] SHOULD be less than or equal to 2^-160".
pub fn new_id(entropy: &dyn Entropy) -> String {
    let mut random = [0; 20];
    entropy.fill(&mut random);
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    // An id is a name, and must not begin with a digit.
    format!("_{digits}")
}

impl MessageContext<'_> {
    /// Canonical XML 1.1, section 2.3: attributes stand in the order of their names, which the
    /// callers keep to; namespaces stand where they are first used (Exclusive XML Canonicalization
    /// 1.0, section 3).
    fn message(
        &self,
        parameter: &'static str,
        name: &str,
        attributes: &[(&str, &str)],
        after: &str,
    ) -> Message {
        let id = new_id(self.entropy);
        let issued = utc(self.clock.now());
        let mut all = attributes.to_vec();
        all.extend([("ID", &*id), ("IssueInstant", &*issued), ("Version", "2.0")]);
        all.sort_unstable();
        let all: String =
            all.iter().map(|(name, value)| format!(" {name}=\"{}\"", escaped_value(value))).collect();
        let issuer = escaped(self.entity_id);
        Message {
            parameter,
            id,
            before: format!(
                "<samlp:{name} xmlns:samlp=\"{SAMLP}\"{all}><saml:Issuer xmlns:saml=\"{SAML}\">{issuer}</saml:Issuer>"
            ),
            after: format!("{after}</samlp:{name}>"),
        }
    }

    /// SAML core, section 3.4.1: asks to authenticate the user of the browser.
    pub fn authn_request(
        &self,
        to: &Endpoint,
        acs: &str,
        settings: &config::Saml,
        other_account: bool,
    ) -> Message {
        let format = settings.name_id_format.as_deref().map(escaped_value);
        let format = format.map_or(String::new(), |format| format!(" Format=\"{format}\""));
        // SAML core, section 3.4.1.1: without AllowCreate, the provider may only answer with an
        // identifier that it made before, and some answer nobody who comes for the first time.
        let mut after = format!("<samlp:NameIDPolicy AllowCreate=\"true\"{format}></samlp:NameIDPolicy>");
        if !settings.authn_context.is_empty() {
            after.push_str("<samlp:RequestedAuthnContext Comparison=\"exact\">");
            for class in &settings.authn_context {
                let class = escaped(class);
                after.push_str(&format!(
                    "<saml:AuthnContextClassRef xmlns:saml=\"{SAML}\">{class}</saml:AuthnContextClassRef>"
                ));
            }
            after.push_str("</samlp:RequestedAuthnContext>");
        }
        let mut attributes = vec![
            ("AssertionConsumerServiceURL", acs),
            ("Destination", to.location.as_str()),
            ("ProtocolBinding", Binding::Post.uri()),
        ];
        // With it, the provider "MUST authenticate the presenter directly rather than rely on a
        // previous security context".
        if settings.force_authn || other_account {
            attributes.push(("ForceAuthn", "true"));
        }
        self.message("SAMLRequest", "AuthnRequest", &attributes, &after)
    }

    /// SAML core, section 3.7.1: asks to end a session.
    pub fn logout_request(&self, to: &Endpoint, who: &NameId) -> Message {
        let attribute = |name: &str, value: &Option<String>| {
            value.as_ref().map_or(String::new(), |value| format!(" {name}=\"{}\"", escaped_value(value)))
        };
        let mut after = format!(
            "<saml:NameID xmlns:saml=\"{SAML}\"{}{}{}>{}</saml:NameID>",
            attribute("Format", &who.format),
            attribute("NameQualifier", &who.name_qualifier),
            attribute("SPNameQualifier", &who.sp_name_qualifier),
            escaped(&who.value)
        );
        if let Some(index) = &who.session_index {
            after.push_str(&format!("<samlp:SessionIndex>{}</samlp:SessionIndex>", escaped(index)));
        }
        self.message("SAMLRequest", "LogoutRequest", &[("Destination", to.location.as_str())], &after)
    }

    /// SAML core, section 3.7.2: says that a session has ended.
    pub fn logout_response(&self, to: &Endpoint, request_id: &str) -> Message {
        let status = "<samlp:Status><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"></samlp:StatusCode></samlp:Status>";
        let attributes = [("Destination", to.response_location.as_str()), ("InResponseTo", request_id)];
        self.message("SAMLResponse", "LogoutResponse", &attributes, status)
    }
}

impl Message {
    /// The message on its way by a browser, signed by `key` where that is given.
    ///
    /// # Errors
    /// Where signing fails.
    pub fn into_browser_action(
        self,
        to: &Endpoint,
        relay_state: &str,
        key: Option<&ServiceProviderKey>,
    ) -> Result<BrowserAction, KeyError> {
        let location = match self.parameter {
            "SAMLRequest" => to.location.clone(),
            _ => to.response_location.clone(),
        };
        match to.binding {
            Binding::Redirect => {
                let mut query = self.query(relay_state, key)?;
                if let Some(theirs) = location.query().filter(|query| !query.is_empty()) {
                    query = format!("{theirs}&{query}");
                }
                let mut location = location;
                location.set_query(Some(&query));
                Ok(BrowserAction::Redirect(location))
            }
            Binding::Post => {
                let parameter = self.parameter;
                let text = match key {
                    Some(key) => enveloped(&self.before, &self.after, &self.id, key)?,
                    None => format!("{}{}", self.before, self.after),
                };
                let mut fields = vec![(parameter.to_owned(), STANDARD.encode(text))];
                if !relay_state.is_empty() {
                    fields.push(("RelayState".to_owned(), relay_state.to_owned()));
                }
                Ok(BrowserAction::Form { action: location, fields })
            }
        }
    }

    /// SAML bindings, section 3.4.4.1: DEFLATE, base64, and where it is signed the signature over
    /// the parameters as they stand in the query.
    fn query(&self, relay_state: &str, key: Option<&ServiceProviderKey>) -> Result<String, KeyError> {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
        let written = deflate.write_all(format!("{}{}", self.before, self.after).as_bytes());
        let deflated = written.and_then(|()| deflate.finish());
        let bytes = deflated.map_err(|_| KeyError::new("the message could not be deflated"))?;
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let mut query = format!("{}={}", self.parameter, encoded(&STANDARD.encode(bytes)));
        if !relay_state.is_empty() {
            query.push_str(&format!("&RelayState={}", encoded(relay_state)));
        }
        if let Some(key) = key {
            query.push_str(&format!("&SigAlg={}", encoded(RSA_SHA256)));
            let signature = STANDARD.encode(key.sign(query.as_bytes())?);
            query.push_str(&format!("&Signature={}", encoded(&signature)));
        }
        Ok(query)
    }
}

/// An element with an enveloped signature between `before` and `after` (SAML core, section 5.4).
/// Both are in canonical form, and so is what is made of them here.
pub fn enveloped(before: &str, after: &str, id: &str, key: &ServiceProviderKey) -> Result<String, KeyError> {
    let digest = STANDARD.encode(sha256(format!("{before}{after}")));
    let info = |namespace: &str| {
        format!(
            "<ds:SignedInfo{namespace}>\
             <ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"></ds:CanonicalizationMethod>\
             <ds:SignatureMethod Algorithm=\"{RSA_SHA256}\"></ds:SignatureMethod>\
             <ds:Reference URI=\"#{id}\"><ds:Transforms>\
             <ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"></ds:Transform>\
             <ds:Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"></ds:Transform>\
             </ds:Transforms><ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"></ds:DigestMethod>\
             <ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
        )
    };
    // By itself it carries the namespace that it inherits where it stands.
    let value = STANDARD.encode(key.sign(info(&format!(" xmlns:ds=\"{DS}\"")).as_bytes())?);
    let (info, certificate) = (info(""), STANDARD.encode(key.certificate()));
    Ok(format!(
        "{before}<ds:Signature xmlns:ds=\"{DS}\">{info}<ds:SignatureValue>{value}</ds:SignatureValue><ds:KeyInfo>\
         <ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>{after}"
    ))
}

/// SAML core, section 1.3.3: times are in UTC, without fractions that a reader may not know.
fn utc(at: Timestamp) -> String {
    let at = chrono::DateTime::from_timestamp(at.seconds(), 0).unwrap_or_default();
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
