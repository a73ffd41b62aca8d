//! Hostile SAML responses with wrong signatures and encryption, each with the check that refuses
//! it.

use super::hostile_responses::{
    AES256_CBC, AES256_GCM, Hostile, Scene, assertion_of, forged_assertion, hostile, replace_once,
    signature_of, text_between,
};
use super::saml_provider::{
    EACH_SIGNED, OAEP, RSA_SHA256, SHA256, SamlRequest, Signed, attribute, encrypt, new_id, sign,
    sign_template, time_from_now,
};

/// Returns responses whose signed element is moved (Somorovsky et al., On Breaking SAML, 2012).
pub fn wrapped_responses() -> Vec<Hostile> {
    vec![
        hostile("wrapping 1: the response within the signature of another", "shape", |scene, asked| {
            let good = scene.valid_response(asked, Signed::Response);
            let (signature, assertion) = (signature_of(&good).to_owned(), assertion_of(&good).to_owned());
            let plain = good.replace(&signature, "");
            let held = signature.replace("</ds:Signature>", &format!("{plain}</ds:Signature>"));
            let evil_assertion = assertion
                .replace(attribute(&assertion, "ID"), &new_id("evil"))
                .replace(">alice<", ">mallory<");
            plain
                .replace(attribute(&good, "ID"), &new_id("evil"))
                .replace(&assertion, &format!("{held}{evil_assertion}"))
        }),
        hostile("wrapping 2: the response beside its signature", "shape", |scene, asked| {
            let good = scene.valid_response(asked, Signed::Response);
            let (signature, assertion) = (signature_of(&good).to_owned(), assertion_of(&good).to_owned());
            let plain = good.replace(&signature, "");
            let evil_assertion = assertion
                .replace(attribute(&assertion, "ID"), &new_id("evil"))
                .replace(">alice<", ">mallory<");
            plain
                .replace(attribute(&good, "ID"), &new_id("evil"))
                .replace(&assertion, &format!("{plain}{signature}{evil_assertion}"))
        }),
        hostile("wrapping 3: an assertion before the signed one", "shape", |scene, asked| {
            let good = scene.valid_response(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            good.replace(assertion, &format!("{}{assertion}", forged_assertion(assertion)))
        }),
        hostile("wrapping 4: the signed assertion within another", "shape", |scene, asked| {
            let good = scene.valid_response(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            let outer = forged_assertion(assertion)
                .replace("</saml:Assertion>", &format!("{assertion}</saml:Assertion>"));
            good.replace(assertion, &outer)
        }),
        hostile("wrapping 5: the signature in another assertion", "shape", |scene, asked| {
            let good = scene.valid_response(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            let signature = signature_of(assertion);
            let outer = forged_assertion(assertion).replacen(
                "</saml:Issuer>",
                &format!("</saml:Issuer>{signature}"),
                1,
            );
            good.replace(assertion, &format!("{outer}{}", assertion.replace(signature, "")))
        }),
        hostile("wrapping 6: the signed assertion within the signature", "shape", |scene, asked| {
            let good = scene.valid_response(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            let signature = signature_of(assertion);
            let held = signature
                .replace("</ds:Signature>", &format!("{}</ds:Signature>", assertion.replace(signature, "")));
            good.replace(
                assertion,
                &forged_assertion(assertion).replacen("</saml:Issuer>", &format!("</saml:Issuer>{held}"), 1),
            )
        }),
        hostile("wrapping 7: another assertion in an extension", "shape", |scene, asked| {
            let good = scene.valid_response(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            let extension = format!("<samlp:Extensions>{}</samlp:Extensions>", forged_assertion(assertion));
            replace_once(&good, "<samlp:Status>", &format!("{extension}<samlp:Status>"))
        }),
        hostile("wrapping 8: the signed assertion in an object", "shape", |scene, asked| {
            let good = scene.valid_response(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            let signature = signature_of(assertion);
            let object =
                format!("<ds:Object>{}</ds:Object></ds:Signature>", assertion.replace(signature, ""));
            let held = signature.replace("</ds:Signature>", &object);
            good.replace(
                assertion,
                &forged_assertion(assertion).replacen("</saml:Issuer>", &format!("</saml:Issuer>{held}"), 1),
            )
        }),
        hostile("the signature alone moved to another assertion", "signature", |scene, asked| {
            let good = scene.valid_response(asked, Signed::Assertion);
            let assertion = assertion_of(&good);
            let signature = signature_of(assertion);
            good.replace(
                assertion,
                &forged_assertion(assertion).replacen(
                    "</saml:Issuer>",
                    &format!("</saml:Issuer>{signature}"),
                    1,
                ),
            )
        }),
        hostile("a second SignedInfo", "signature", |scene, asked| {
            let good = scene.valid_response(asked, Signed::Assertion);
            let info = text_between(&good, "<ds:SignedInfo>", "</ds:SignedInfo>");
            good.replace(info, &format!("{info}{info}"))
        }),
        hostile("two signatures in one element", "signature", |scene, asked| {
            let good = scene.valid_response(asked, Signed::Assertion);
            let signature = signature_of(&good);
            good.replace(signature, &format!("{signature}{signature}"))
        }),
        hostile("a signature deep in the message", "signature", |scene, asked| {
            let good = scene.valid_response(asked, Signed::Assertion);
            let signature = signature_of(&good).to_owned();
            replace_once(
                &good,
                "</samlp:Status>",
                &format!("<samlp:StatusDetail>{signature}</samlp:StatusDetail></samlp:Status>"),
            )
        }),
        hostile("an assertion before an encrypted one", "shape", |scene, asked| {
            let good = scene.encrypted(asked, Signed::Assertion, AES256_GCM, OAEP);
            let plain = scene.assertion(asked).replace(">alice<", ">mallory<");
            replace_once(&good, "<saml:EncryptedAssertion", &format!("{plain}<saml:EncryptedAssertion"))
        }),
        hostile("an assertion behind an encrypted one", "shape", |scene, asked| {
            let good = scene.encrypted(asked, Signed::Assertion, AES256_GCM, OAEP);
            let plain = scene.assertion(asked).replace(">alice<", ">mallory<");
            replace_once(&good, "</samlp:Response>", &format!("{plain}</samlp:Response>"))
        }),
    ]
}

/// Returns responses that were changed after signing, signed by another key, or not signed.
pub fn badly_signed_responses() -> Vec<Hostile> {
    let mut all = Vec::new();
    for signed in EACH_SIGNED {
        all.push(hostile(format!("another person, {signed:?}"), "signature", move |scene, asked| {
            replace_once(&scene.valid_response(asked, signed), ">alice<", ">mallory<")
        }));
        all.push(hostile(format!("no signature at all, {signed:?}"), "unsigned", move |scene, asked| {
            let mut text = scene.valid_response(asked, signed);
            while text.contains("<ds:Signature ") {
                text = text.replace(signature_of(&text), "");
            }
            text
        }));
        all.push(hostile(format!("a group more, {signed:?}"), "signature", move |scene, asked| {
            replace_once(&scene.valid_response(asked, signed), ">staff<", ">root<")
        }));
    }
    let with = |method: &'static str, digest: &'static str| {
        move |scene: &Scene, asked: &SamlRequest| {
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
        scene.provider.response(&scene.acs(), asked, &replace_once(&assertion, "</ds:SignatureValue>", &told))
    }));
    all.push(hostile("HMAC, keyed with the certificate", "signature", |scene, asked| {
        replace_once(
            &scene.valid_response(asked, Signed::Assertion),
            RSA_SHA256,
            "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
        )
    }));
    all.push(hostile("a reference to all of the document", "signature", |scene, asked| {
        let good = scene.valid_response(asked, Signed::Assertion);
        let id = format!("URI=\"#{}\"", attribute(assertion_of(&good), "ID"));
        replace_once(&good, &id, "URI=\"\"")
    }));
    all.push(hostile("a transform that picks", "signature", |scene, asked| {
        let xpath = "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"><ds:XPath>true()</ds:XPath></ds:Transform></ds:Transforms>";
        replace_once(&scene.valid_response(asked, Signed::Assertion), "</ds:Transforms>", xpath)
    }));
    all.push(hostile("a transform that picks, signed by the provider", "signature", |scene, asked| {
        let signed = scene.provider.sign(&scene.assertion(asked));
        let xpath = "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"><ds:XPath>true()</ds:XPath></ds:Transform></ds:Transforms>";
        let template = replace_once(&signed, "</ds:Transforms>", xpath);
        let (digest, value) = (text_between(&template, "<ds:DigestValue>", "</ds:DigestValue>"), text_between(&template, "<ds:SignatureValue>", "</ds:SignatureValue>"));
        let template = template.replace(digest, "<ds:DigestValue/>").replace(value, "<ds:SignatureValue/>");
        let assertion = sign_template(&template, &scene.provider.key);
        scene.provider.response(&scene.acs(), asked, &assertion)
    }));
    all.push(hostile("a canonical form with comments", "signature", |scene, asked| {
        replace_once(
            &scene.valid_response(asked, Signed::Assertion),
            "xml-exc-c14n#\"/><ds:SignatureMethod",
            "xml-exc-c14n#WithComments\"/><ds:SignatureMethod",
        )
    }));
    all
}

/// Returns responses whose encryption is weak or wrong.
pub fn badly_encrypted_responses() -> Vec<Hostile> {
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
            let conditions = text_between(&text, "<saml:Conditions ", ">").to_owned();
            let text = text
                .replace(&conditions, &format!("<saml:Conditions NotOnOrAfter=\"{}\">", time_from_now(-120)));
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
