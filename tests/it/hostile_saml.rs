//! Hostile SAML responses. Each differs from an honest twin in one thing; every one is refused by
//! the check that is meant for it, and leaves no session.

use crate::support::narthex::Narthex;
use crate::support::saml_provider::{
    Asked, EACH, SamlKey, SamlProvider, Signed, at, attribute, begin, encrypt, fresh, logout_request,
    narthex, our_certificate, post, sign, sign_template,
};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, is};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use saml_rs::raw::{Binding, EntitySetting, HttpRequest, IdentityProvider, ServiceProvider};
use std::path::PathBuf;

const AUDIENCE: &str = "urn:narthex:test";
const OURS: &str = "entity_id = \"urn:narthex:test\"";
const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
const OAEP: &str = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p";
const AES256_GCM: &str = "http://www.w3.org/2009/xmlenc11#aes256-gcm";
const AES256_CBC: &str = "http://www.w3.org/2001/04/xmlenc#aes256-cbc";

fn same(text: String) -> String {
    text
}

/// What a hostile response is made of.
struct Scene {
    narthex: Narthex,
    provider: SamlProvider,
    /// Another provider's key, and that of nobody.
    other: SamlKey,
    certificate: PathBuf,
    our_metadata: String,
    private_key: String,
}

impl Scene {
    fn acs(&self) -> String {
        self.provider.acs(&self.narthex)
    }

    fn honest(&self, asked: &Asked, signed: Signed) -> String {
        self.provider.honest(&self.acs(), AUDIENCE, asked, signed, same, same)
    }

    fn assertion(&self, asked: &Asked) -> String {
        self.provider.assertion(&self.acs(), AUDIENCE, asked)
    }

    /// An honest response whose assertion was changed before it was signed.
    fn said(&self, asked: &Asked, signed: Signed, change: impl Fn(String) -> String) -> String {
        self.provider.honest(&self.acs(), AUDIENCE, asked, signed, change, same)
    }

    /// The same of the message around it.
    fn sent(&self, asked: &Asked, signed: Signed, change: impl Fn(String) -> String) -> String {
        self.provider.honest(&self.acs(), AUDIENCE, asked, signed, same, change)
    }

    fn encrypted(&self, asked: &Asked, signed: Signed, cipher: &str, transport: &str) -> String {
        let mut assertion = self.assertion(asked);
        if signed != Signed::Response {
            assertion = self.provider.sign(&assertion);
        }
        let inner = encrypt(&assertion, &self.certificate, cipher, transport);
        let response = self.provider.response(&self.acs(), asked, &inner);
        if signed == Signed::Assertion { response } else { self.provider.sign(&response) }
    }
}

/// The part of `text` from `begin` to the end of the first `end` behind it.
fn part<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let from = text.find(begin).unwrap_or_else(|| panic!("{begin} in {text}"));
    let to = from + text[from..].find(end).unwrap_or_else(|| panic!("{end} in {text}")) + end.len();
    &text[from..to]
}

fn assertion_of(text: &str) -> &str {
    part(text, "<saml:Assertion ", "</saml:Assertion>")
}

fn signature_of(text: &str) -> &str {
    part(text, "<ds:Signature ", "</ds:Signature>")
}

/// `text` once replaced, which must be there.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in {text}");
    text.replacen(from, to, 1)
}

/// An assertion of the attacker's making: another person, another id, no signature.
fn evil(assertion: &str) -> String {
    let plain = assertion.replace(signature_of(assertion), "");
    let id = attribute(assertion, "ID").to_owned();
    plain.replace(&id, &fresh("evil")).replace(">alice<", ">mallory<")
}

type Make = Box<dyn Fn(&Scene, &Asked) -> String>;

/// The name of a response, the check that refuses it, and how it is made.
struct Hostile(String, &'static str, Make);

fn hostile(
    name: impl Into<String>,
    check: &'static str,
    make: impl Fn(&Scene, &Asked) -> String + 'static,
) -> Hostile {
    Hostile(name.into(), check, Box::new(make))
}

/// Each profile check broken in the assertion, however the response is signed.
fn broken_assertions() -> Vec<Hostile> {
    type Change = fn(&str) -> String;
    let changes: [(&str, &str, Change); 30] = [
        ("another issuer", "issuer", |t| {
            replaced(t, "https://corp.example/idp<", "https://evil.example/idp<")
        }),
        ("no issuer's format", "issuer", |t| {
            replaced(t, "<saml:Issuer>", "<saml:Issuer Format=\"urn:other\">")
        }),
        ("another audience", "audience", |t| replaced(t, "urn:narthex:test", "urn:somebody:else")),
        ("an audience that begins like ours", "audience", |t| {
            replaced(t, "urn:narthex:test<", "urn:narthex:test2<")
        }),
        ("no audience", "audience", |t| {
            t.replace(part(t, "<saml:AudienceRestriction>", "</saml:AudienceRestriction>"), "")
        }),
        ("one of two audience restrictions", "audience", |t| {
            replaced(
                t,
                "</saml:Conditions>",
                "<saml:AudienceRestriction><saml:Audience>urn:else</saml:Audience></saml:AudienceRestriction></saml:Conditions>",
            )
        }),
        ("no conditions", "conditions", |t| {
            t.replace(part(t, "<saml:Conditions ", "</saml:Conditions>"), "")
        }),
        ("an unknown condition", "conditions", |t| {
            replaced(
                t,
                "</saml:Conditions>",
                "<saml:Condition xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"x\"/></saml:Conditions>",
            )
        }),
        ("not yet", "not_before", |t| {
            replaced(t, part(t, "NotBefore=\"", "Z\""), &format!("NotBefore=\"{}\"", at(120)))
        }),
        ("no more", "not_on_or_after", |t| {
            let conditions = part(t, "<saml:Conditions ", ">").to_owned();
            t.replace(&conditions, &format!("<saml:Conditions NotOnOrAfter=\"{}\">", at(-120)))
        }),
        ("a time that is none", "not_on_or_after", |t| {
            let conditions = part(t, "<saml:Conditions ", ">").to_owned();
            t.replace(&conditions, "<saml:Conditions NotOnOrAfter=\"tomorrow\">")
        }),
        ("issued in the future", "issue_instant", |t| {
            replaced(t, part(t, "IssueInstant=\"", "Z\""), &format!("IssueInstant=\"{}\"", at(120)))
        }),
        ("never issued", "issue_instant", |t| replaced(t, part(t, "IssueInstant=\"", "Z\""), "X=\"1\"")),
        ("another version", "version", |t| replaced(t, "Version=\"2.0\"", "Version=\"1.1\"")),
        ("another recipient", "recipient", |t| {
            replaced(t, "/saml2/idpresponse/corp\"", "/saml2/idpresponse/other\"")
        }),
        ("no recipient", "recipient", |t| replaced(t, part(t, " Recipient=\"", "corp\""), "")),
        ("another request", "in_response_to", |t| {
            replaced(t, part(t, "InResponseTo=\"", "\" N"), "InResponseTo=\"_other\" N")
        }),
        ("no request", "in_response_to", |t| replaced(t, part(t, "InResponseTo=\"", "\" "), "")),
        ("no bearer", "subject_confirmation", |t| replaced(t, ":cm:bearer", ":cm:holder-of-key")),
        ("no confirmation", "subject_confirmation", |t| {
            t.replace(part(t, "<saml:SubjectConfirmation ", "</saml:SubjectConfirmation>"), "")
        }),
        ("a confirmation that is over", "subject_confirmation", |t| {
            let data = part(t, "<saml:SubjectConfirmationData ", "/>").to_owned();
            t.replace(
                &data,
                &data.replace(
                    part(&data, "NotOnOrAfter=\"", "Z\""),
                    &format!("NotOnOrAfter=\"{}\"", at(-120)),
                ),
            )
        }),
        ("a confirmation without an end", "subject_confirmation", |t| {
            let data = part(t, "<saml:SubjectConfirmationData ", "/>").to_owned();
            t.replace(&data, &data.replace(part(&data, "NotOnOrAfter=\"", "Z\""), ""))
        }),
        ("a confirmation that begins", "subject_confirmation", |t| {
            replaced(
                t,
                "<saml:SubjectConfirmationData ",
                &format!("<saml:SubjectConfirmationData NotBefore=\"{}\" ", at(-5)),
            )
        }),
        ("a confirmation for a week", "subject_confirmation", |t| {
            let data = part(t, "<saml:SubjectConfirmationData ", "/>").to_owned();
            t.replace(
                &data,
                &data.replace(
                    part(&data, "NotOnOrAfter=\"", "Z\""),
                    &format!("NotOnOrAfter=\"{}\"", at(7 * 86400)),
                ),
            )
        }),
        ("a session that is over", "session_not_on_or_after", |t| {
            replaced(
                t,
                "<saml:AuthnStatement ",
                &format!("<saml:AuthnStatement SessionNotOnOrAfter=\"{}\" ", at(-120)),
            )
        }),
        ("somebody will be authenticated", "authn_statement", |t| {
            let instant = part(t, "AuthnInstant=\"", "Z\"");
            replaced(t, instant, &format!("AuthnInstant=\"{}\"", at(300)))
        }),
        ("nobody authenticated", "authn_statement", |t| {
            t.replace(part(t, "<saml:AuthnStatement ", "</saml:AuthnStatement>"), "")
        }),
        ("no subject", "subject", |t| t.replace(part(t, "<saml:Subject>", "</saml:Subject>"), "")),
        ("no name", "name_id", |t| t.replace(part(t, "<saml:NameID ", "</saml:NameID>"), "")),
        ("a transient name", "name_id", |t| {
            replaced(t, "nameid-format:persistent", "nameid-format:transient")
        }),
    ];
    let mut all = Vec::new();
    for (name, check, change) in changes {
        for signed in EACH {
            all.push(hostile(format!("{name}, {signed:?}"), check, move |scene, asked| {
                scene.said(asked, signed, |text| change(&text))
            }));
        }
    }
    all
}

/// Each check of the message broken. Where it is not signed, an honest one agrees all the same.
fn broken_responses() -> Vec<Hostile> {
    type Change = fn(&str) -> String;
    let changes: [(&str, &str, Change); 8] = [
        ("another destination", "destination", |t| {
            replaced(t, "idpresponse/corp\" ID", "idpresponse/other\" ID")
        }),
        ("another request, outside", "in_response_to", |t| {
            replaced(t, part(t, "InResponseTo=\"", "\" I"), "InResponseTo=\"_x\" I")
        }),
        ("no request, outside", "in_response_to", |t| replaced(t, part(t, "InResponseTo=\"", "\" "), "")),
        ("sent in the future", "issue_instant", |t| {
            replaced(t, part(t, "IssueInstant=\"", "Z\""), &format!("IssueInstant=\"{}\"", at(120)))
        }),
        ("another version, outside", "version", |t| replaced(t, "Version=\"2.0\"", "Version=\"1.1\"")),
        ("another issuer, outside", "issuer", |t| {
            replaced(t, "https://corp.example/idp<", "https://evil.example/idp<")
        }),
        ("no status", "status", |t| t.replace(part(t, "<samlp:Status>", "</samlp:Status>"), "")),
        ("no success", "provider_refused", |t| replaced(t, "status:Success", "status:Responder")),
    ];
    let mut all = Vec::new();
    for (name, check, change) in changes {
        for signed in EACH {
            all.push(hostile(format!("{name}, {signed:?}"), check, move |scene, asked| {
                scene.sent(asked, signed, |text| change(&text))
            }));
        }
    }
    for signed in [Signed::Response, Signed::Both] {
        all.push(hostile(format!("no destination, {signed:?}"), "destination", move |scene, asked| {
            scene.sent(asked, signed, |t| t.replace(part(&t, " Destination=\"", "corp\""), ""))
        }));
    }
    all
}

/// What was signed, moved away from what is read (Somorovsky et al., On Breaking SAML, 2012).
fn wrapped() -> Vec<Hostile> {
    vec![
        hostile("wrapping 1: the response within the signature of another", "shape", |scene, asked| {
            let good = scene.honest(asked, Signed::Response);
            let (signature, assertion) = (signature_of(&good).to_owned(), assertion_of(&good).to_owned());
            let plain = good.replace(&signature, "");
            let held = signature.replace("</ds:Signature>", &format!("{plain}</ds:Signature>"));
            let evil_assertion = assertion
                .replace(attribute(&assertion, "ID"), &fresh("evil"))
                .replace(">alice<", ">mallory<");
            plain
                .replace(attribute(&good, "ID"), &fresh("evil"))
                .replace(&assertion, &format!("{held}{evil_assertion}"))
        }),
        hostile("wrapping 2: the response beside its signature", "shape", |scene, asked| {
            let good = scene.honest(asked, Signed::Response);
            let (signature, assertion) = (signature_of(&good).to_owned(), assertion_of(&good).to_owned());
            let plain = good.replace(&signature, "");
            let evil_assertion = assertion
                .replace(attribute(&assertion, "ID"), &fresh("evil"))
                .replace(">alice<", ">mallory<");
            plain
                .replace(attribute(&good, "ID"), &fresh("evil"))
                .replace(&assertion, &format!("{plain}{signature}{evil_assertion}"))
        }),
        hostile("wrapping 3: an assertion before the signed one", "shape", |scene, asked| {
            let good = scene.honest(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            good.replace(assertion, &format!("{}{assertion}", evil(assertion)))
        }),
        hostile("wrapping 4: the signed assertion within another", "shape", |scene, asked| {
            let good = scene.honest(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            let outer =
                evil(assertion).replace("</saml:Assertion>", &format!("{assertion}</saml:Assertion>"));
            good.replace(assertion, &outer)
        }),
        hostile("wrapping 5: the signature in another assertion", "shape", |scene, asked| {
            let good = scene.honest(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            let signature = signature_of(assertion);
            let outer = evil(assertion).replacen("</saml:Issuer>", &format!("</saml:Issuer>{signature}"), 1);
            good.replace(assertion, &format!("{outer}{}", assertion.replace(signature, "")))
        }),
        hostile("wrapping 6: the signed assertion within the signature", "shape", |scene, asked| {
            let good = scene.honest(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            let signature = signature_of(assertion);
            let held = signature
                .replace("</ds:Signature>", &format!("{}</ds:Signature>", assertion.replace(signature, "")));
            good.replace(
                assertion,
                &evil(assertion).replacen("</saml:Issuer>", &format!("</saml:Issuer>{held}"), 1),
            )
        }),
        hostile("wrapping 7: another assertion in an extension", "shape", |scene, asked| {
            let good = scene.honest(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            let extension = format!("<samlp:Extensions>{}</samlp:Extensions>", evil(assertion));
            replaced(&good, "<samlp:Status>", &format!("{extension}<samlp:Status>"))
        }),
        hostile("wrapping 8: the signed assertion in an object", "shape", |scene, asked| {
            let good = scene.honest(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            let signature = signature_of(assertion);
            let object =
                format!("<ds:Object>{}</ds:Object></ds:Signature>", assertion.replace(signature, ""));
            let held = signature.replace("</ds:Signature>", &object);
            good.replace(
                assertion,
                &evil(assertion).replacen("</saml:Issuer>", &format!("</saml:Issuer>{held}"), 1),
            )
        }),
        hostile("the signature alone moved to another assertion", "signature", |scene, asked| {
            let good = scene.honest(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            let signature = signature_of(assertion);
            good.replace(
                assertion,
                &evil(assertion).replacen("</saml:Issuer>", &format!("</saml:Issuer>{signature}"), 1),
            )
        }),
        hostile("a second SignedInfo", "signature", |scene, asked| {
            let good = scene.honest(asked, Signed::Assertion);
            let info = part(&good, "<ds:SignedInfo>", "</ds:SignedInfo>");
            good.replace(info, &format!("{info}{info}"))
        }),
        hostile("two signatures in one element", "signature", |scene, asked| {
            let good = scene.honest(asked, Signed::Assertion);
            let signature = signature_of(&good);
            good.replace(signature, &format!("{signature}{signature}"))
        }),
        hostile("a signature deep in the message", "signature", |scene, asked| {
            let good = scene.honest(asked, Signed::Assertion);
            let signature = signature_of(&good).to_owned();
            replaced(
                &good,
                "</samlp:Status>",
                &format!("<samlp:StatusDetail>{signature}</samlp:StatusDetail></samlp:Status>"),
            )
        }),
        hostile("an assertion before an encrypted one", "shape", |scene, asked| {
            let good = scene.encrypted(asked, Signed::Assertion, AES256_GCM, OAEP);
            let plain = scene.assertion(asked).replace(">alice<", ">mallory<");
            replaced(&good, "<saml:EncryptedAssertion", &format!("{plain}<saml:EncryptedAssertion"))
        }),
        hostile("an assertion behind an encrypted one", "shape", |scene, asked| {
            let good = scene.encrypted(asked, Signed::Assertion, AES256_GCM, OAEP);
            let plain = scene.assertion(asked).replace(">alice<", ">mallory<");
            replaced(&good, "</samlp:Response>", &format!("{plain}</samlp:Response>"))
        }),
    ]
}

/// What was signed, changed; signed by somebody else; not signed; signed badly.
fn badly_signed() -> Vec<Hostile> {
    let mut all = Vec::new();
    for signed in EACH {
        all.push(hostile(format!("another person, {signed:?}"), "signature", move |scene, asked| {
            replaced(&scene.honest(asked, signed), ">alice<", ">mallory<")
        }));
        all.push(hostile(format!("no signature at all, {signed:?}"), "unsigned", move |scene, asked| {
            let mut text = scene.honest(asked, signed);
            while text.contains("<ds:Signature ") {
                text = text.replace(signature_of(&text), "");
            }
            text
        }));
        all.push(hostile(format!("a group more, {signed:?}"), "signature", move |scene, asked| {
            replaced(&scene.honest(asked, signed), ">staff<", ">root<")
        }));
    }
    let with = |method: &'static str, digest: &'static str| {
        move |scene: &Scene, asked: &Asked| {
            let assertion = sign(&scene.assertion(asked), &scene.provider.key, method, digest);
            scene.provider.response(&scene.acs(), asked, &assertion)
        }
    };
    all.push(hostile(
        "RSA with SHA-1",
        "signature",
        with("http://www.w3.org/2000/09/xmldsig#rsa-sha1", SHA256),
    ));
    all.push(hostile(
        "a digest by SHA-1",
        "signature",
        with(RSA_SHA256, "http://www.w3.org/2000/09/xmldsig#sha1"),
    ));
    all.push(hostile("another's key", "signature", |scene, asked| {
        let assertion = sign(&scene.assertion(asked), &scene.other, RSA_SHA256, SHA256);
        scene.provider.response(&scene.acs(), asked, &assertion)
    }));
    all.push(hostile("another's key, contained in the message itself", "signature", |scene, asked| {
        let assertion = sign(&scene.assertion(asked), &scene.other, RSA_SHA256, SHA256);
        let told = format!(
            "</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>",
            scene.other.base64()
        );
        scene.provider.response(&scene.acs(), asked, &replaced(&assertion, "</ds:SignatureValue>", &told))
    }));
    all.push(hostile("HMAC, keyed with the certificate", "signature", |scene, asked| {
        replaced(
            &scene.honest(asked, Signed::Assertion),
            RSA_SHA256,
            "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
        )
    }));
    all.push(hostile("a reference to all of the document", "signature", |scene, asked| {
        let good = scene.honest(asked, Signed::Assertion);
        let id = format!("URI=\"#{}\"", attribute(assertion_of(&good), "ID"));
        replaced(&good, &id, "URI=\"\"")
    }));
    all.push(hostile("a transform that picks", "signature", |scene, asked| {
        let xpath = "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"><ds:XPath>true()</ds:XPath></ds:Transform></ds:Transforms>";
        replaced(&scene.honest(asked, Signed::Assertion), "</ds:Transforms>", xpath)
    }));
    all.push(hostile("a transform that picks, signed by the provider", "signature", |scene, asked| {
        let signed = scene.provider.sign(&scene.assertion(asked));
        let xpath = "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"><ds:XPath>true()</ds:XPath></ds:Transform></ds:Transforms>";
        let template = replaced(&signed, "</ds:Transforms>", xpath);
        let (digest, value) = (part(&template, "<ds:DigestValue>", "</ds:DigestValue>"), part(&template, "<ds:SignatureValue>", "</ds:SignatureValue>"));
        let template = template.replace(digest, "<ds:DigestValue/>").replace(value, "<ds:SignatureValue/>");
        let assertion = sign_template(&template, &scene.provider.key);
        scene.provider.response(&scene.acs(), asked, &assertion)
    }));
    all.push(hostile("a canonical form with comments", "signature", |scene, asked| {
        replaced(
            &scene.honest(asked, Signed::Assertion),
            "xml-exc-c14n#\"/><ds:SignatureMethod",
            "xml-exc-c14n#WithComments\"/><ds:SignatureMethod",
        )
    }));
    all
}

/// Text that two readers could take in two ways.
fn ambiguous() -> Vec<Hostile> {
    let mut all = Vec::new();
    type Change = fn(&str) -> String;
    let changes: [(&str, &str, Change); 13] = [
        ("a comment in the name", "xml", |t| replaced(t, ">alice<", ">alice<!-- --><")),
        ("a comment that cuts the name", "xml", |t| replaced(t, ">alice<", ">alice<!-- -->.evil<")),
        ("a comment anywhere", "xml", |t| replaced(t, "<samlp:Status>", "<!-- --><samlp:Status>")),
        ("a processing instruction", "xml", |t| replaced(t, ">alice<", ">alice<?x y?><")),
        ("a DOCTYPE", "xml", |t| format!("<!DOCTYPE Response>{t}")),
        ("an entity", "xml", |t| format!("<!DOCTYPE Response [<!ENTITY e \"x\">]>{t}")),
        ("an entity of outside", "xml", |t| {
            format!(
                "<!DOCTYPE Response [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>{}",
                replaced(t, ">alice<", ">&e;<")
            )
        }),
        ("a truncated message", "xml", |t| t[..t.len() - "</samlp:Response>".len()].to_owned()),
        ("junk behind it", "xml", |t| format!("{t}junk")),
        ("a second document behind it", "xml", |t| format!("{t}{t}")),
        ("another encoding", "xml", |t| {
            let hidden = "+ADw-samlp:Extensions/+AD4-";
            let t = replaced(t, "<samlp:Status>", &format!("{hidden}<samlp:Status>"));
            format!("<?xml version=\"1.0\" encoding=\"UTF-7\"?>{t}")
        }),
        ("an id twice", "id", |t| {
            let id = attribute(assertion_of(t), "ID").to_owned();
            replaced(t, "<samlp:Status>", &format!("<samlp:Status ID=\"{id}\">"))
        }),
        ("an id twice, in another spelling", "id", |t| {
            let id = attribute(assertion_of(t), "ID").to_owned();
            replaced(t, "<samlp:Status>", &format!("<samlp:Status Id=\"{id}\">"))
        }),
    ];
    for (name, check, change) in changes {
        all.push(hostile(name, check, move |scene, asked| change(&scene.honest(asked, Signed::Assertion))));
    }
    all
}

/// Encryption that does not hold.
fn badly_encrypted() -> Vec<Hostile> {
    let mut all = vec![
        hostile("a key by RSA 1.5", "encryption", |scene, asked| {
            scene.encrypted(asked, Signed::Both, AES256_GCM, "http://www.w3.org/2001/04/xmlenc#rsa-1_5")
        }),
        hostile("triple DES", "encryption", |scene, asked| {
            scene.encrypted(asked, Signed::Both, "http://www.w3.org/2001/04/xmlenc#tripledes-cbc", OAEP)
        }),
        hostile("encrypted for somebody else", "encryption", |scene, asked| {
            let assertion = scene.provider.sign(&scene.assertion(asked));
            let inner = encrypt(&assertion, &scene.other.certificate, AES256_GCM, OAEP);
            scene.provider.response(&scene.acs(), asked, &inner)
        }),
        hostile("encrypted, and nothing signed", "unsigned", |scene, asked| {
            let inner = encrypt(&scene.assertion(asked), &scene.certificate, AES256_GCM, OAEP);
            scene.provider.response(&scene.acs(), asked, &inner)
        }),
        hostile("encrypted, and signed by somebody else", "signature", |scene, asked| {
            let assertion = sign(&scene.assertion(asked), &scene.other, RSA_SHA256, SHA256);
            let inner = encrypt(&assertion, &scene.certificate, AES256_GCM, OAEP);
            scene.provider.response(&scene.acs(), asked, &inner)
        }),
        hostile("another person in an encrypted assertion", "signature", |scene, asked| {
            let assertion = scene.provider.sign(&scene.assertion(asked)).replace(">alice<", ">mallory<");
            let inner = encrypt(&assertion, &scene.certificate, AES256_GCM, OAEP);
            scene.provider.response(&scene.acs(), asked, &inner)
        }),
        hostile("an encrypted assertion that is over", "not_on_or_after", |scene, asked| {
            let text = scene.assertion(asked);
            let conditions = part(&text, "<saml:Conditions ", ">").to_owned();
            let text = text.replace(&conditions, &format!("<saml:Conditions NotOnOrAfter=\"{}\">", at(-120)));
            let inner = encrypt(&scene.provider.sign(&text), &scene.certificate, AES256_GCM, OAEP);
            scene.provider.response(&scene.acs(), asked, &inner)
        }),
        hostile("an assertion within an encrypted one", "shape", |scene, asked| {
            let inner_assertion = scene.assertion(asked);
            let text = scene.assertion(asked).replace(
                "</saml:Assertion>",
                &format!("<saml:Advice>{inner_assertion}</saml:Advice></saml:Assertion>"),
            );
            let inner = encrypt(&scene.provider.sign(&text), &scene.certificate, AES256_GCM, OAEP);
            scene.provider.response(&scene.acs(), asked, &inner)
        }),
    ];
    for cipher in [AES256_GCM, AES256_CBC] {
        all.push(hostile(format!("a bent ciphertext, {cipher}"), "encryption", move |scene, asked| {
            let good = scene.encrypted(asked, Signed::Assertion, cipher, OAEP);
            let at = good.rfind("</xenc:CipherValue>").unwrap() - 8;
            // Within the last block, where CBC keeps its padding and GCM its tag.
            let bent = if &good[at..at + 1] == "A" { "B" } else { "A" };
            format!("{}{bent}{}", &good[..at], &good[at + 1..])
        }));
    }
    all
}

/// What we refuse and the other reader takes, by the beginning of a response's name, and why we do.
const STRICTER: [(&str, &str); 18] = [
    ("no issuer's format", "SAML profiles, 4.1.4.2, leave an issuer no format but entity; it does not look"),
    ("issued in the future", "it looks at when an assertion holds, not at when it was issued"),
    (
        "a confirmation that begins",
        "SAML profiles, 4.1.4.2, forbid NotBefore there; it waits for that time instead",
    ),
    ("a confirmation for a week", "we must remember an assertion for as long, and set a bound"),
    ("nobody authenticated", "SAML profiles, 4.1.4.2, want an AuthnStatement; it does without"),
    ("somebody will be authenticated", "it does not look at when the person was authenticated"),
    ("no name", "it leaves to its caller who the person is"),
    ("a transient name", "the same: a user could not be found again"),
    ("sent in the future", "as with the assertion's own time"),
    ("another issuer, outside", "it reads the issuer of the assertion that is signed"),
    ("wrapping 7", "it reads the assertion that is signed, and passes over the other one"),
    ("a second SignedInfo", "it reads the first, where XML Signature's schema has one"),
    ("RSA with SHA-1", "its caller may refuse SHA-1"),
    ("a digest by SHA-1", "the same"),
    ("a comment in the name", "it reads the text on both sides of a comment as one; others do not"),
    ("a comment anywhere", "the same"),
    ("another encoding", "it reads UTF-8 whatever the text says of itself; others do not"),
    ("an assertion within an encrypted one", "it reads the outer one, which is signed"),
];

/// The subject that another implementation reads from a response.
fn other_reader(scene: &Scene, asked: &Asked, text: &str) -> Result<String, String> {
    let mut settings = EntitySetting::default();
    settings.is_assertion_encrypted = text.contains("EncryptedAssertion");
    settings.enc_private_key = Some(scene.private_key.clone());
    settings.clock_drifts = (-60_000, 60_000);
    settings.want_assertions_signed = false;
    let provider = IdentityProvider::from_metadata(
        &scene.provider.metadata(&[&scene.provider.key]),
        EntitySetting::default(),
    );
    let ours =
        ServiceProvider::from_metadata(&scene.our_metadata, settings).map_err(|error| error.to_string())?;
    let form = [
        ("SAMLResponse".to_owned(), STANDARD.encode(text)),
        ("RelayState".to_owned(), asked.relay_state.clone()),
    ];
    let request = HttpRequest::post(form.to_vec());
    let judged =
        ours.parse_login_response_with_request_id(&provider.unwrap(), Binding::Post, &request, &asked.id);
    judged.map(|judged| format!("{:?}", judged.extract)).map_err(|error| error.to_string())
}

async fn scene(upstream: &Upstream) -> Scene {
    let provider = SamlProvider::new("corp");
    let other = SamlKey::make(provider.folder.path(), "other", &["rsa:2048"]);
    let narthex = narthex(&provider, upstream.port, OURS);
    let certificate = our_certificate(&narthex, "corp", provider.folder.path()).await;
    let url = format!("{}/saml2/metadata/corp", narthex.origin("auth"));
    let our_metadata = Visitor::new(&narthex).get(&url).await.text().await.unwrap();
    // The other reader would hold us to it, where we take a signed message around an unsigned
    // assertion.
    let our_metadata =
        our_metadata.replace("WantAssertionsSigned=\"true\"", "WantAssertionsSigned=\"false\"");
    let private_key = narthex.saml_key().await;
    Scene { narthex, provider, other, certificate, our_metadata, private_key }
}

/// Whether nobody is signed in after that: the way leads on to the provider again.
async fn left_no_session(narthex: &Narthex, visitor: &Visitor) {
    is(&visitor.get(&format!("{}/", narthex.origin("app"))).await, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_nobody_fetch_anything() {
    let upstream = Upstream::start().await;
    let scene = scene(&upstream).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/x", listener.local_addr().unwrap());
    let (narthex, acs) = (&scene.narthex, scene.provider.acs(&scene.narthex));
    let logout = format!("{}/saml2/logout/corp", narthex.origin("auth"));
    // A reader that ignores namespaces takes the first of the two for the reference.
    let lead = |text: &str| {
        let other = format!("<ds:Reference xmlns:x=\"urn:x\" x:URI=\"{address}\" URI=");
        replaced(text, "<ds:Reference URI=", &other)
    };
    for signed in EACH {
        let (visitor, asked) = begin(narthex).await;
        let text = lead(&scene.honest(&asked, signed));
        is(&post(&visitor, &acs, &text, &asked.relay_state).await, 400);
        assert_eq!(narthex.audit("login_failed").last().unwrap()["reason"], "signature");
        let request = logout_request(&scene.provider.entity_id, &logout, "alice", &[]);
        let form = [("SAMLRequest", STANDARD.encode(lead(&scene.provider.sign(&request))))];
        is(&visitor.client.post(&logout).form(&form).send().await.unwrap(), 400);
    }
    for entity in [
        "<!DOCTYPE a SYSTEM \"{}\">",
        "<!DOCTYPE a [<!ENTITY e SYSTEM \"{}\">]>",
        "<?xml-stylesheet href=\"{}\"?>",
    ] {
        let (visitor, asked) = begin(narthex).await;
        let text = format!("{}{}", entity.replace("{}", &address), scene.honest(&asked, Signed::Both));
        is(&post(&visitor, &acs, &text, &asked.relay_state).await, 400);
    }
    let asked = tokio::time::timeout(std::time::Duration::from_millis(500), listener.accept()).await;
    assert!(asked.is_err(), "it was led to an address");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_response_is_refused_by_its_own_check_and_leaves_no_session() {
    let upstream = Upstream::start().await;
    let scene = scene(&upstream).await;
    let (narthex, acs) = (&scene.narthex, scene.provider.acs(&scene.narthex));
    let all =
        [broken_assertions(), broken_responses(), wrapped(), badly_signed(), ambiguous(), badly_encrypted()];
    let (mut problems, mut stricter) = (Vec::new(), std::collections::BTreeSet::new());
    let mut count = 0;
    for Hostile(name, check, make) in all.into_iter().flatten() {
        let (visitor, asked) = begin(narthex).await;
        let text = make(&scene, &asked);
        if let Ok(whom) = other_reader(&scene, &asked, &text) {
            assert!(!whom.contains("mallory"), "{name}: the other reader is deceived");
            match STRICTER.iter().position(|(known, _)| name.starts_with(known)) {
                Some(at) => drop(stricter.insert(at)),
                None => problems
                    .push(format!("{name}: the other reader takes it, and nothing says why we do not")),
            }
        }
        let refused = post(&visitor, &acs, &text, &asked.relay_state).await;
        let failed = narthex.audit("login_failed");
        if failed.len() != count + 1 {
            problems.push(format!("{name}: was taken, {}", refused.status()));
            count = failed.len();
            continue;
        }
        let line = &failed[count];
        count += 1;
        if line["reason"] != check {
            problems.push(format!(
                "{name}: refused by {} and not by {check}: {}",
                line["reason"], line["detail"]
            ));
        }
        let page = refused.text().await.unwrap();
        assert!(page.contains(line["request_id"].as_str().unwrap()), "{name}: {page}");
        left_no_session(narthex, &visitor).await;
    }
    println!("{count} hostile responses");
    assert_eq!(stricter.len(), STRICTER.len(), "a difference is explained that there is not");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(upstream.seen().is_empty());
    assert!(narthex.audit("login").is_empty() && narthex.audit("user_created").is_empty());

    // Their twins are taken.
    for signed in EACH {
        let (visitor, asked) = begin(narthex).await;
        let honest = scene.honest(&asked, signed);
        assert!(other_reader(&scene, &asked, &honest).is_ok(), "{:?}", other_reader(&scene, &asked, &honest));
        is(&post(&visitor, &acs, &honest, &asked.relay_state).await, 200);
        let (visitor, asked) = begin(narthex).await;
        let encrypted = scene.encrypted(&asked, signed, AES256_GCM, OAEP);
        assert!(
            other_reader(&scene, &asked, &encrypted).is_ok(),
            "{:?}",
            other_reader(&scene, &asked, &encrypted)
        );
        is(&post(&visitor, &acs, &encrypted, &asked.relay_state).await, 200);
    }
}
