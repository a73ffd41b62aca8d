//! A SAML identity provider whose every word a test chooses. xmlsec1 signs and encrypts for it.

use super::narthex::{Narthex, NarthexBuilder};
use super::visitor::{Visitor, assert_status, location, redirect_target};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use narthex::base::{Clock as _, SystemClock};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub const SAML: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
pub const SAMLP: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
pub const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
pub const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
/// Where the provider would be spoken with, were there one.
pub const SIGN_ON: &str = "http://127.0.0.1:1/sso";

/// A key with its certificate.
#[derive(Clone)]
pub struct SamlKey {
    pub private: PathBuf,
    pub certificate: PathBuf,
}

impl SamlKey {
    /// Makes one in `folder`, by openssl's words for it.
    pub fn make(folder: &Path, name: &str, algorithm: &[&str]) -> Self {
        let (private, certificate) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pem")));
        let status = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "100", "-subj", "/CN=idp", "-newkey"])
            .args(algorithm)
            .arg("-keyout")
            .arg(&private)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null())
            .status();
        assert!(status.expect("openssl is installed").success());
        Self { private, certificate }
    }

    /// The certificate without its lines of PEM.
    pub fn base64(&self) -> String {
        let pem = std::fs::read_to_string(&self.certificate).unwrap();
        pem.lines().filter(|line| !line.starts_with("-----")).collect()
    }
}

/// What a browser was sent to the provider with.
#[derive(Clone, Debug)]
pub struct SamlRequest {
    pub id: String,
    pub relay_state: String,
    pub request: String,
}

/// Which parts of a response are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    Assertion,
    Response,
    Both,
}

pub const EACH_SIGNED: [Signed; 3] = [Signed::Assertion, Signed::Response, Signed::Both];

/// The provider.
pub struct SamlProvider {
    pub folder: tempfile::TempDir,
    pub key: SamlKey,
    pub name: &'static str,
    pub entity_id: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// Returns a new id.
pub fn new_id(prefix: &str) -> String {
    format!("_{prefix}{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Returns the time in this many seconds.
pub fn time_from_now(seconds: i64) -> String {
    let at = chrono::DateTime::from_timestamp(SystemClock.now().seconds() + seconds, 0).unwrap();
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl SamlProvider {
    /// A provider with a key of RSA.
    pub fn new(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SamlKey::make(folder.path(), "idp", &["rsa:2048"]);
        let provider = Self { folder, key, name, entity_id: format!("https://{name}.example/idp") };
        provider.publish(&[&provider.key]);
        provider
    }

    /// Publishes metadata with these keys.
    pub fn publish(&self, keys: &[&SamlKey]) {
        std::fs::write(self.metadata_file(), self.metadata(keys)).unwrap();
    }

    pub fn metadata_file(&self) -> PathBuf {
        self.folder.path().join("metadata.xml")
    }

    pub fn metadata(&self, keys: &[&SamlKey]) -> String {
        let keys: String = keys
            .iter()
            .map(|key| {
                format!(
                    "<md:KeyDescriptor use=\"signing\"><ds:KeyInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:X509Data>\
                     <ds:X509Certificate>{}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>",
                    key.base64()
                )
            })
            .collect();
        format!(
            "<md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" ID=\"_md\" entityID=\"{}\">\
             <md:IDPSSODescriptor protocolSupportEnumeration=\"{SAMLP}\">{keys}\
             <md:SingleLogoutService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"http://127.0.0.1:1/slo\"/>\
             <md:SingleSignOnService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"{SIGN_ON}\"/>\
             </md:IDPSSODescriptor></md:EntityDescriptor>",
            self.entity_id
        )
    }

    /// The `[[provider]]` that speaks of it.
    pub fn toml(&self, more: &str) -> String {
        format!(
            "[[provider]]\nname = \"{}\"\ntype = \"saml\"\nmetadata = \"{}\"\nallow = \"anyone\"\n{more}\n",
            self.name,
            self.metadata_file().display()
        )
    }

    /// Where responses go.
    pub fn acs(&self, narthex: &Narthex) -> String {
        format!("{}/saml2/idpresponse/{}", narthex.origin("auth"), self.name)
    }

    /// An assertion for `asked`, not signed yet; the words in braces are what tests change.
    pub fn assertion(&self, acs: &str, audience: &str, asked: &SamlRequest) -> String {
        let (id, entity_id) = (new_id("a"), &self.entity_id);
        let (now, begin, end, session) =
            (time_from_now(0), time_from_now(-5), time_from_now(300), new_id("s"));
        format!(
            "<saml:Assertion xmlns:saml=\"{SAML}\" ID=\"{id}\" IssueInstant=\"{now}\" Version=\"2.0\">\
             <saml:Issuer>{entity_id}</saml:Issuer>\
             <saml:Subject><saml:NameID Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\">alice</saml:NameID>\
             <saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\">\
             <saml:SubjectConfirmationData InResponseTo=\"{}\" NotOnOrAfter=\"{end}\" Recipient=\"{acs}\"/>\
             </saml:SubjectConfirmation></saml:Subject>\
             <saml:Conditions NotBefore=\"{begin}\" NotOnOrAfter=\"{end}\">\
             <saml:AudienceRestriction><saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>\
             <saml:AuthnStatement AuthnInstant=\"{now}\" SessionIndex=\"{session}\"><saml:AuthnContext>\
             <saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef>\
             </saml:AuthnContext></saml:AuthnStatement>\
             <saml:AttributeStatement><saml:Attribute Name=\"mail\"><saml:AttributeValue>alice@corp.example</saml:AttributeValue></saml:Attribute>\
             <saml:Attribute Name=\"urn:groups\" FriendlyName=\"groups\"><saml:AttributeValue>staff</saml:AttributeValue>\
             <saml:AttributeValue>admins</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>\
             </saml:Assertion>",
            asked.id
        )
    }

    /// A response around `inner`, not signed yet.
    pub fn response(&self, acs: &str, asked: &SamlRequest, inner: &str) -> String {
        format!(
            "<samlp:Response xmlns:samlp=\"{SAMLP}\" Destination=\"{}\" ID=\"{}\" InResponseTo=\"{}\" IssueInstant=\"{}\" Version=\"2.0\">\
             <saml:Issuer xmlns:saml=\"{SAML}\">{}</saml:Issuer>\
             <samlp:Status><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/></samlp:Status>{inner}</samlp:Response>",
            acs,
            new_id("r"),
            asked.id,
            time_from_now(0),
            self.entity_id
        )
    }

    /// `text`, an element with an id and an issuer, signed by the provider's key.
    pub fn sign(&self, text: &str) -> String {
        sign(text, &self.key, RSA_SHA256, SHA256)
    }

    /// Returns a valid response, with changes before the signatures, and signed as `signed` states.
    pub fn valid_response(
        &self,
        acs: &str,
        audience: &str,
        asked: &SamlRequest,
        signed: Signed,
        change_assertion: impl Fn(String) -> String,
        change_response: impl Fn(String) -> String,
    ) -> String {
        let mut assertion = change_assertion(self.assertion(acs, audience, asked));
        if signed != Signed::Response {
            assertion = self.sign(&assertion);
        }
        let mut response = change_response(self.response(acs, asked, &assertion));
        if signed != Signed::Assertion {
            response = self.sign(&response);
        }
        response
    }
}

/// `text` with an enveloped signature behind its issuer.
pub fn sign(text: &str, key: &SamlKey, method: &str, digest: &str) -> String {
    let id = attribute(text, "ID");
    let template = format!(
        "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:SignedInfo>\
         <ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"/>\
         <ds:SignatureMethod Algorithm=\"{method}\"/><ds:Reference URI=\"#{id}\"><ds:Transforms>\
         <ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"/>\
         <ds:Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"/></ds:Transforms>\
         <ds:DigestMethod Algorithm=\"{digest}\"/><ds:DigestValue/></ds:Reference></ds:SignedInfo><ds:SignatureValue/></ds:Signature>"
    );
    let behind = text.find("</saml:Issuer>").expect("an issuer") + "</saml:Issuer>".len();
    sign_template(&format!("{}{template}{}", &text[..behind], &text[behind..]), key)
}

/// `text`, whose first signature is a template, signed.
pub fn sign_template(text: &str, key: &SamlKey) -> String {
    let keys = format!("{},{}", key.private.display(), key.certificate.display());
    let ids = ["Assertion", "Response", "LogoutRequest", "EntityDescriptor"].map(|name| {
        let space = match name {
            "Assertion" => SAML,
            "EntityDescriptor" => "urn:oasis:names:tc:SAML:2.0:metadata",
            _ => SAMLP,
        };
        ["--id-attr:ID".to_owned(), format!("{space}:{name}")]
    });
    let mut arguments = vec!["--sign".to_owned(), "--privkey-pem".to_owned(), keys];
    arguments.extend(ids.into_iter().flatten());
    xmlsec1(text, &arguments)
}

/// `assertion` encrypted for the certificate, in an `EncryptedAssertion`.
pub fn encrypt(assertion: &str, certificate: &Path, cipher: &str, transport: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("assertion.xml");
    std::fs::write(&data, assertion).unwrap();
    let size = if cipher.contains("128") {
        "aes-128"
    } else if cipher.contains("tripledes") {
        "des-192"
    } else {
        "aes-256"
    };
    let template = format!(
        "<xenc:EncryptedData xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\" Type=\"http://www.w3.org/2001/04/xmlenc#Element\">\
         <xenc:EncryptionMethod Algorithm=\"{cipher}\"/><ds:KeyInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">\
         <xenc:EncryptedKey><xenc:EncryptionMethod Algorithm=\"{transport}\"/><xenc:CipherData><xenc:CipherValue/></xenc:CipherData>\
         </xenc:EncryptedKey></ds:KeyInfo><xenc:CipherData><xenc:CipherValue/></xenc:CipherData></xenc:EncryptedData>"
    );
    let arguments = [
        "--encrypt",
        "--pubkey-cert-pem",
        &certificate.display().to_string(),
        "--session-key",
        size,
        "--xml-data",
        &data.display().to_string(),
    ];
    let encrypted = xmlsec1(&template, &arguments.map(str::to_owned));
    format!("<saml:EncryptedAssertion xmlns:saml=\"{SAML}\">{encrypted}</saml:EncryptedAssertion>")
}

fn xmlsec1(text: &str, arguments: &[String]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (folder.path().join("in.xml"), folder.path().join("out.xml"));
    std::fs::write(&before, text).unwrap();
    let done =
        Command::new("xmlsec1").args(arguments).arg("--output").arg(&after).arg(&before).output().unwrap();
    assert!(done.status.success(), "{}\n{text}", String::from_utf8_lossy(&done.stderr));
    let made = std::fs::read_to_string(&after).unwrap();
    made.trim_start_matches("<?xml version=\"1.0\"?>").trim().to_owned()
}

/// The value of the first attribute of that name.
pub fn attribute<'t>(text: &'t str, name: &str) -> &'t str {
    let begin = text.find(&format!(" {name}=\"")).expect("the attribute") + name.len() + 3;
    text[begin..].split('"').next().unwrap()
}

/// Creates a visitor with an address of its own, so that rate limits do not apply to others.
pub fn new_visitor(narthex: &Narthex) -> Visitor {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let address = std::net::Ipv4Addr::new(127, 9, (number / 250) as u8, 1 + (number % 250) as u8);
    Visitor::with_client(narthex, |builder| builder.local_address(std::net::IpAddr::V4(address)))
}

/// Opens the app as a new visitor, and follows redirects to the provider.
pub async fn start_sign_in(narthex: &Narthex) -> (Visitor, SamlRequest) {
    let visitor = new_visitor(narthex);
    let mut url = format!("{}/", narthex.origin("app"));
    while !url.starts_with(SIGN_ON) {
        let answer = visitor.get(&url).await;
        url = redirect_target(&answer).expect("a way to the provider");
    }
    (visitor, parse_request(&url))
}

/// Parses the SAML request in an address of the provider.
pub fn parse_request(url: &str) -> SamlRequest {
    let url = url::Url::parse(url).unwrap();
    let get =
        |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let deflated = STANDARD.decode(get("SAMLRequest").unwrap()).unwrap();
    let mut request = String::new();
    flate2::read::DeflateDecoder::new(&*deflated).read_to_string(&mut request).unwrap();
    let id = attribute(&request, "ID").to_owned();
    SamlRequest { id, relay_state: get("RelayState").unwrap_or_default(), request }
}

/// A message as a form carries it.
pub fn base64(message: &str) -> String {
    STANDARD.encode(message)
}

/// Posts a response, and follows the redirects.
pub async fn post_response(
    visitor: &Visitor,
    acs: &str,
    response: &str,
    relay_state: &str,
) -> reqwest::Response {
    post_encoded_response(visitor, acs, &base64(response), relay_state).await
}

/// Posts an encoded response, and follows the redirects.
pub async fn post_encoded_response(
    visitor: &Visitor,
    acs: &str,
    message: &str,
    relay_state: &str,
) -> reqwest::Response {
    let form = [("SAMLResponse", message), ("RelayState", relay_state)];
    let answer = visitor.client.post(acs).header("accept", "text/html").form(&form).send().await.unwrap();
    match redirect_target(&answer) {
        Some(_) => visitor.follow(location(&answer).as_str()).await,
        None => answer,
    }
}

/// Writes the certificate of Narthex's metadata to a file of `folder`.
pub async fn narthex_certificate(narthex: &Narthex, provider: &str, folder: &Path) -> PathBuf {
    let url = format!("{}/saml2/metadata/{provider}", narthex.origin("auth"));
    let answer = Visitor::new(narthex).get(&url).await;
    assert_status(&answer, 200);
    let text = answer.text().await.unwrap();
    let base64 = text.split("X509Certificate>").nth(1).unwrap().trim_end_matches("</ds:").to_owned();
    let file = folder.join("sp.pem");
    let lines: Vec<&str> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    std::fs::write(
        &file,
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")),
    )
    .unwrap();
    file
}

/// Starts a Narthex with one app and `provider`.
pub fn start_narthex(provider: &SamlProvider, port: u16, more: &str) -> Narthex {
    NarthexBuilder::new().tables(&provider.toml(more)).route("app", port, "").start()
}

/// A logout request of the provider's for `name`, not signed yet.
pub fn logout_request(issuer: &str, destination: &str, name: &str, sessions: &[&str]) -> String {
    let sessions: String =
        sessions.iter().map(|index| format!("<samlp:SessionIndex>{index}</samlp:SessionIndex>")).collect();
    format!(
        "<samlp:LogoutRequest xmlns:samlp=\"{SAMLP}\" Destination=\"{destination}\" ID=\"{}\" IssueInstant=\"{}\" Version=\"2.0\">\
         <saml:Issuer xmlns:saml=\"{SAML}\">{issuer}</saml:Issuer>\
         <saml:NameID xmlns:saml=\"{SAML}\">{name}</saml:NameID>{sessions}</samlp:LogoutRequest>",
        new_id("l"),
        time_from_now(0)
    )
}

/// A message in a query, signed by `key` as SAML bindings, section 3.4.4.1, has it.
pub fn signed_query(parameter: &str, message: &str, relay_state: &str, key: &SamlKey) -> String {
    use std::io::Write as _;
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    deflate.write_all(message.as_bytes()).unwrap();
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let message = encoded(&STANDARD.encode(deflate.finish().unwrap()));
    let query =
        format!("{parameter}={message}&RelayState={}&SigAlg={}", encoded(relay_state), encoded(RSA_SHA256));
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(&key.private)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(query.as_bytes()).unwrap();
    let signature = openssl.wait_with_output().unwrap().stdout;
    format!("{query}&Signature={}", encoded(&STANDARD.encode(signature)))
}

/// Encrypts in AES-256-GCM, the key by RSA-OAEP with SHA-256. The key is beside the data, not
/// within it. Some versions of xmlsec1 cannot do this.
pub async fn encrypt_with_oaep_sha256(assertion: &str, narthex: &Narthex) -> String {
    let pem = narthex.saml_key().await;
    let der = STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
    let public: PublicEncryptingKey =
        aws_lc_rs::rsa::PrivateDecryptingKey::from_pkcs8(&der).unwrap().public_key();
    let public = OaepPublicEncryptingKey::new(public).unwrap();
    let (key, nonce) = ([7; 32], [9; 12]);
    let mut wrapped = vec![0; public.ciphertext_size()];
    let wrapped = public.encrypt(&OAEP_SHA256_MGF1SHA256, &key, &mut wrapped, None).unwrap();
    let mut data = assertion.as_bytes().to_vec();
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap())
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut data)
        .unwrap();
    let data = STANDARD.encode([&nonce[..], &data].concat());
    let wrapped = STANDARD.encode(wrapped);
    format!(
        "<saml:EncryptedAssertion xmlns:saml=\"{SAML}\" xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\">\
         <xenc:EncryptedData Type=\"http://www.w3.org/2001/04/xmlenc#Element\">\
         <xenc:EncryptionMethod Algorithm=\"http://www.w3.org/2009/xmlenc11#aes256-gcm\"/>\
         <xenc:CipherData><xenc:CipherValue>{data}</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData>\
         <xenc:EncryptedKey><xenc:EncryptionMethod Algorithm=\"http://www.w3.org/2009/xmlenc11#rsa-oaep\">\
         <ds:DigestMethod xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" Algorithm=\"{SHA256}\"/>\
         <x:MGF xmlns:x=\"http://www.w3.org/2009/xmlenc11#\" Algorithm=\"http://www.w3.org/2009/xmlenc11#mgf1sha256\"/>\
         </xenc:EncryptionMethod><xenc:CipherData><xenc:CipherValue>{wrapped}</xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey>\
         </saml:EncryptedAssertion>"
    )
}
pub const OAEP: &str = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p";
