//! Hostile SAML responses with wrong content, each with the check that refuses it.

use super::narthex::Narthex;
use super::saml_provider::{
    EACH_SIGNED, SamlKey, SamlProvider, SamlRequest, Signed, attribute, encrypt, narthex_certificate, new_id,
    start_narthex, time_from_now,
};
use super::saml_sign_in::{AUDIENCE, ENTITY_ID_TOML, unchanged};
use super::upstream::Upstream;
use super::visitor::Visitor;
use std::path::PathBuf;

pub const AES256_GCM: &str = "http://www.w3.org/2009/xmlenc11#aes256-gcm";
pub const AES256_CBC: &str = "http://www.w3.org/2001/04/xmlenc#aes256-cbc";

/// What a hostile response is made of.
pub struct Scene {
    pub narthex: Narthex,
    pub provider: SamlProvider,
    /// Another provider's key, and that of nobody.
    pub other: SamlKey,
    pub certificate: PathBuf,
    pub our_metadata: String,
    pub private_key: String,
}

impl Scene {
    pub fn acs(&self) -> String {
        self.provider.acs(&self.narthex)
    }

    /// Returns a valid response.
    pub fn valid_response(&self, asked: &SamlRequest, signed: Signed) -> String {
        self.provider.valid_response(&self.acs(), AUDIENCE, asked, signed, unchanged, unchanged)
    }

    pub fn assertion(&self, asked: &SamlRequest) -> String {
        self.provider.assertion(&self.acs(), AUDIENCE, asked)
    }

    /// Returns a valid response whose assertion was changed before it was signed.
    pub fn with_changed_assertion(
        &self,
        asked: &SamlRequest,
        signed: Signed,
        change: impl Fn(String) -> String,
    ) -> String {
        self.provider.valid_response(&self.acs(), AUDIENCE, asked, signed, change, unchanged)
    }

    /// Returns a valid response that was changed around its assertion before it was signed.
    pub fn with_changed_response(
        &self,
        asked: &SamlRequest,
        signed: Signed,
        change: impl Fn(String) -> String,
    ) -> String {
        self.provider.valid_response(&self.acs(), AUDIENCE, asked, signed, unchanged, change)
    }

    pub fn encrypted(&self, asked: &SamlRequest, signed: Signed, cipher: &str, transport: &str) -> String {
        let mut assertion = self.assertion(asked);
        if signed != Signed::Response {
            assertion = self.provider.sign(&assertion);
        }
        let inner = encrypt(&assertion, &self.certificate, cipher, transport);
        let response = self.provider.response(&self.acs(), asked, &inner);
        if signed == Signed::Assertion { response } else { self.provider.sign(&response) }
    }
}

/// Returns the part of `text` from `begin` to the end of the next `end`.
pub fn text_between<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let from = text.find(begin).unwrap_or_else(|| panic!("{begin} in {text}"));
    let to = from + text[from..].find(end).unwrap_or_else(|| panic!("{end} in {text}")) + end.len();
    &text[from..to]
}

pub fn assertion_of(text: &str) -> &str {
    text_between(text, "<saml:Assertion ", "</saml:Assertion>")
}

pub fn signature_of(text: &str) -> &str {
    text_between(text, "<ds:Signature ", "</ds:Signature>")
}

/// Replaces the first occurrence, which must exist.
pub fn replace_once(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in {text}");
    text.replacen(from, to, 1)
}

/// Returns an assertion for another user, with another id and without a signature.
pub fn forged_assertion(assertion: &str) -> String {
    let plain = assertion.replace(signature_of(assertion), "");
    let id = attribute(assertion, "ID").to_owned();
    plain.replace(&id, &new_id("evil")).replace(">alice<", ">mallory<")
}

pub type Make = Box<dyn Fn(&Scene, &SamlRequest) -> String>;

/// The name of a response, the check that refuses it, and how it is made.
pub struct Hostile(pub String, pub &'static str, pub Make);

pub fn hostile(
    name: impl Into<String>,
    check: &'static str,
    make: impl Fn(&Scene, &SamlRequest) -> String + 'static,
) -> Hostile {
    Hostile(name.into(), check, Box::new(make))
}

/// Returns responses whose assertion fails one check, for each way to sign.
pub fn broken_assertions() -> Vec<Hostile> {
    type Change = fn(&str) -> String;
    let changes: [(&str, &str, Change); 30] = [
        ("another issuer", "issuer", |t| {
            replace_once(t, "https://corp.example/idp<", "https://evil.example/idp<")
        }),
        ("no issuer's format", "issuer", |t| {
            replace_once(t, "<saml:Issuer>", "<saml:Issuer Format=\"urn:other\">")
        }),
        ("another audience", "audience", |t| replace_once(t, "urn:narthex:test", "urn:somebody:else")),
        ("an audience that begins like ours", "audience", |t| {
            replace_once(t, "urn:narthex:test<", "urn:narthex:test2<")
        }),
        ("no audience", "audience", |t| {
            t.replace(text_between(t, "<saml:AudienceRestriction>", "</saml:AudienceRestriction>"), "")
        }),
        ("one of two audience restrictions", "audience", |t| {
            replace_once(
                t,
                "</saml:Conditions>",
                "<saml:AudienceRestriction><saml:Audience>urn:else</saml:Audience></saml:AudienceRestriction></saml:Conditions>",
            )
        }),
        ("no conditions", "conditions", |t| {
            t.replace(text_between(t, "<saml:Conditions ", "</saml:Conditions>"), "")
        }),
        ("an unknown condition", "conditions", |t| {
            replace_once(
                t,
                "</saml:Conditions>",
                "<saml:Condition xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"x\"/></saml:Conditions>",
            )
        }),
        ("not yet", "not_before", |t| {
            replace_once(
                t,
                text_between(t, "NotBefore=\"", "Z\""),
                &format!("NotBefore=\"{}\"", time_from_now(120)),
            )
        }),
        ("no more", "not_on_or_after", |t| {
            let conditions = text_between(t, "<saml:Conditions ", ">").to_owned();
            t.replace(&conditions, &format!("<saml:Conditions NotOnOrAfter=\"{}\">", time_from_now(-120)))
        }),
        ("a time that is none", "not_on_or_after", |t| {
            let conditions = text_between(t, "<saml:Conditions ", ">").to_owned();
            t.replace(&conditions, "<saml:Conditions NotOnOrAfter=\"tomorrow\">")
        }),
        ("issued in the future", "issue_instant", |t| {
            replace_once(
                t,
                text_between(t, "IssueInstant=\"", "Z\""),
                &format!("IssueInstant=\"{}\"", time_from_now(120)),
            )
        }),
        ("never issued", "issue_instant", |t| {
            replace_once(t, text_between(t, "IssueInstant=\"", "Z\""), "X=\"1\"")
        }),
        ("another version", "version", |t| replace_once(t, "Version=\"2.0\"", "Version=\"1.1\"")),
        ("another recipient", "recipient", |t| {
            replace_once(t, "/saml2/idpresponse/corp\"", "/saml2/idpresponse/other\"")
        }),
        ("no recipient", "recipient", |t| replace_once(t, text_between(t, " Recipient=\"", "corp\""), "")),
        ("another request", "in_response_to", |t| {
            replace_once(t, text_between(t, "InResponseTo=\"", "\" N"), "InResponseTo=\"_other\" N")
        }),
        ("no request", "in_response_to", |t| replace_once(t, text_between(t, "InResponseTo=\"", "\" "), "")),
        ("no bearer", "subject_confirmation", |t| replace_once(t, ":cm:bearer", ":cm:holder-of-key")),
        ("no confirmation", "subject_confirmation", |t| {
            t.replace(text_between(t, "<saml:SubjectConfirmation ", "</saml:SubjectConfirmation>"), "")
        }),
        ("a confirmation that is over", "subject_confirmation", |t| {
            let data = text_between(t, "<saml:SubjectConfirmationData ", "/>").to_owned();
            t.replace(
                &data,
                &data.replace(
                    text_between(&data, "NotOnOrAfter=\"", "Z\""),
                    &format!("NotOnOrAfter=\"{}\"", time_from_now(-120)),
                ),
            )
        }),
        ("a confirmation without an end", "subject_confirmation", |t| {
            let data = text_between(t, "<saml:SubjectConfirmationData ", "/>").to_owned();
            t.replace(&data, &data.replace(text_between(&data, "NotOnOrAfter=\"", "Z\""), ""))
        }),
        ("a confirmation that begins", "subject_confirmation", |t| {
            replace_once(
                t,
                "<saml:SubjectConfirmationData ",
                &format!("<saml:SubjectConfirmationData NotBefore=\"{}\" ", time_from_now(-5)),
            )
        }),
        ("a confirmation for a week", "subject_confirmation", |t| {
            let data = text_between(t, "<saml:SubjectConfirmationData ", "/>").to_owned();
            t.replace(
                &data,
                &data.replace(
                    text_between(&data, "NotOnOrAfter=\"", "Z\""),
                    &format!("NotOnOrAfter=\"{}\"", time_from_now(7 * 86400)),
                ),
            )
        }),
        ("a session that is over", "session_not_on_or_after", |t| {
            replace_once(
                t,
                "<saml:AuthnStatement ",
                &format!("<saml:AuthnStatement SessionNotOnOrAfter=\"{}\" ", time_from_now(-120)),
            )
        }),
        ("somebody will be authenticated", "authn_statement", |t| {
            let instant = text_between(t, "AuthnInstant=\"", "Z\"");
            replace_once(t, instant, &format!("AuthnInstant=\"{}\"", time_from_now(300)))
        }),
        ("nobody authenticated", "authn_statement", |t| {
            t.replace(text_between(t, "<saml:AuthnStatement ", "</saml:AuthnStatement>"), "")
        }),
        ("no subject", "subject", |t| t.replace(text_between(t, "<saml:Subject>", "</saml:Subject>"), "")),
        ("no name", "name_id", |t| t.replace(text_between(t, "<saml:NameID ", "</saml:NameID>"), "")),
        ("a transient name", "name_id", |t| {
            replace_once(t, "nameid-format:persistent", "nameid-format:transient")
        }),
    ];
    let mut all = Vec::new();
    for (name, check, change) in changes {
        for signed in EACH_SIGNED {
            all.push(hostile(format!("{name}, {signed:?}"), check, move |scene, asked| {
                scene.with_changed_assertion(asked, signed, |text| change(&text))
            }));
        }
    }
    all
}

/// Returns responses whose message fails one check, though the assertion is valid.
pub fn broken_responses() -> Vec<Hostile> {
    type Change = fn(&str) -> String;
    let changes: [(&str, &str, Change); 8] = [
        ("another destination", "destination", |t| {
            replace_once(t, "idpresponse/corp\" ID", "idpresponse/other\" ID")
        }),
        ("another request, outside", "in_response_to", |t| {
            replace_once(t, text_between(t, "InResponseTo=\"", "\" I"), "InResponseTo=\"_x\" I")
        }),
        ("no request, outside", "in_response_to", |t| {
            replace_once(t, text_between(t, "InResponseTo=\"", "\" "), "")
        }),
        ("sent in the future", "issue_instant", |t| {
            replace_once(
                t,
                text_between(t, "IssueInstant=\"", "Z\""),
                &format!("IssueInstant=\"{}\"", time_from_now(120)),
            )
        }),
        ("another version, outside", "version", |t| replace_once(t, "Version=\"2.0\"", "Version=\"1.1\"")),
        ("another issuer, outside", "issuer", |t| {
            replace_once(t, "https://corp.example/idp<", "https://evil.example/idp<")
        }),
        ("no status", "status", |t| t.replace(text_between(t, "<samlp:Status>", "</samlp:Status>"), "")),
        ("no success", "provider_refused", |t| replace_once(t, "status:Success", "status:Responder")),
    ];
    let mut all = Vec::new();
    for (name, check, change) in changes {
        for signed in EACH_SIGNED {
            all.push(hostile(format!("{name}, {signed:?}"), check, move |scene, asked| {
                scene.with_changed_response(asked, signed, |text| change(&text))
            }));
        }
    }
    for signed in [Signed::Response, Signed::Both] {
        all.push(hostile(format!("no destination, {signed:?}"), "destination", move |scene, asked| {
            scene.with_changed_response(asked, signed, |t| {
                t.replace(text_between(&t, " Destination=\"", "corp\""), "")
            })
        }));
    }
    all
}

/// Returns responses that two parsers could read differently.
pub fn ambiguous_responses() -> Vec<Hostile> {
    let mut all = Vec::new();
    type Change = fn(&str) -> String;
    let changes: [(&str, &str, Change); 13] = [
        ("a comment in the name", "xml", |t| replace_once(t, ">alice<", ">alice<!-- --><")),
        ("a comment that cuts the name", "xml", |t| replace_once(t, ">alice<", ">alice<!-- -->.evil<")),
        ("a comment anywhere", "xml", |t| replace_once(t, "<samlp:Status>", "<!-- --><samlp:Status>")),
        ("a processing instruction", "xml", |t| replace_once(t, ">alice<", ">alice<?x y?><")),
        ("a DOCTYPE", "xml", |t| format!("<!DOCTYPE Response>{t}")),
        ("an entity", "xml", |t| format!("<!DOCTYPE Response [<!ENTITY e \"x\">]>{t}")),
        ("an entity of outside", "xml", |t| {
            format!(
                "<!DOCTYPE Response [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>{}",
                replace_once(t, ">alice<", ">&e;<")
            )
        }),
        ("a truncated message", "xml", |t| t[..t.len() - "</samlp:Response>".len()].to_owned()),
        ("junk behind it", "xml", |t| format!("{t}junk")),
        ("a second document behind it", "xml", |t| format!("{t}{t}")),
        ("another encoding", "xml", |t| {
            let hidden = "+ADw-samlp:Extensions/+AD4-";
            let t = replace_once(t, "<samlp:Status>", &format!("{hidden}<samlp:Status>"));
            format!("<?xml version=\"1.0\" encoding=\"UTF-7\"?>{t}")
        }),
        ("an id twice", "id", |t| {
            let id = attribute(assertion_of(t), "ID").to_owned();
            replace_once(t, "<samlp:Status>", &format!("<samlp:Status ID=\"{id}\">"))
        }),
        ("an id twice, in another spelling", "id", |t| {
            let id = attribute(assertion_of(t), "ID").to_owned();
            replace_once(t, "<samlp:Status>", &format!("<samlp:Status Id=\"{id}\">"))
        }),
    ];
    for (name, check, change) in changes {
        all.push(hostile(name, check, move |scene, asked| {
            change(&scene.valid_response(asked, Signed::Assertion))
        }));
    }
    all
}

/// Starts a Narthex with a provider, and collects what hostile responses need.
pub async fn start_scene(upstream: &Upstream) -> Scene {
    let provider = SamlProvider::new("corp");
    let other = SamlKey::make(provider.folder.path(), "other", &["rsa:2048"]);
    let narthex = start_narthex(&provider, upstream.port, ENTITY_ID_TOML);
    let certificate = narthex_certificate(&narthex, "corp", provider.folder.path()).await;
    let url = format!("{}/saml2/metadata/corp", narthex.origin("auth"));
    let our_metadata = Visitor::new(&narthex).get(&url).await.text().await.unwrap();
    // The other reader would hold us to it, where we take a signed message around an unsigned
    // assertion.
    let our_metadata =
        our_metadata.replace("WantAssertionsSigned=\"true\"", "WantAssertionsSigned=\"false\"");
    let private_key = narthex.saml_key().await;
    Scene { narthex, provider, other, certificate, our_metadata, private_key }
}
