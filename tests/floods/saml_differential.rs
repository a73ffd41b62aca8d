//! Our verification of XML signatures beside xmlsec1's: responses are varied before they are
//! signed, and again afterwards in ways of which many leave the canonical form as it was.

use crate::fuzz::Chance;
use crate::saml::{ACS, AUDIENCE, Parties};
use crate::support::saml_provider::{SAML, SAMLP, Signed, sign_template};
use narthex::provider::ProviderError;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// How many documents, unless NARTHEX_DIFFERENTIAL says otherwise.
const DOCUMENTS: usize = 600;
/// Signed documents of which they are made.
const SIGNED: usize = 40;

const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const METHODS: [(&str, &str); 3] = [
    ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2001/04/xmlenc#sha256"),
    ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha384", "http://www.w3.org/2001/04/xmldsig-more#sha384"),
    ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha512", "http://www.w3.org/2001/04/xmlenc#sha512"),
];
/// Values that canonicalization writes otherwise than a person would.
const VALUES: [&str; 10] = [
    "a &amp; b &lt; c &gt; d",
    "tab&#9;line&#10;return&#13;",
    "<![CDATA[<x> & ]]>y<![CDATA[]]>",
    "\u{e9}\u{4e2d}\u{1f600}&#x1F600;",
    "quote \" and ' and &quot; and &apos;",
    "a\r\nb\rc\td",
    " spaces ",
    "]]&gt;",
    "&#160;\u{2028}",
    "",
];
const PREFIX_LISTS: [&str; 6] = ["", "xs", "#default", "xs xsi #default", "saml samlp", "unknown xs"];

fn exclusive(chance: &mut Chance, element: &str) -> String {
    let comments = if chance.below(4) == 0 { "WithComments" } else { "" };
    let list = PREFIX_LISTS[chance.below(PREFIX_LISTS.len())];
    match chance.below(3) {
        0 => format!("<ds:{element} Algorithm=\"{EXCLUSIVE}{comments}\"/>"),
        _ => format!(
            "<ds:{element} Algorithm=\"{EXCLUSIVE}{comments}\">\
             <ec:InclusiveNamespaces xmlns:ec=\"{EXCLUSIVE}\" PrefixList=\"{list}\"/></ds:{element}>"
        ),
    }
}

/// An attribute with namespaces in odd places.
fn extra(chance: &mut Chance) -> String {
    let value = VALUES[chance.below(VALUES.len())];
    let quoted = value.replace("<![CDATA[<x> & ]]>y<![CDATA[]]>", "x").replace('"', "&quot;");
    let element = match chance.below(6) {
        0 => format!(
            "<saml:AttributeValue xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"xs:string\">{value}</saml:AttributeValue>"
        ),
        1 => format!(
            "<AttributeValue xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\"><x xmlns=\"\" a=\"{quoted}\"><y xmlns=\"urn:y\"/><z/></x></AttributeValue>"
        ),
        2 => format!(
            "<saml:AttributeValue xmlns:p=\"urn:p\"><p:a p:z=\"1\" b=\"{quoted}\" xmlns:q=\"urn:a\" q:y=\"2\" a=\"3\"><p:b xmlns:p=\"urn:q\"><p:c/></p:b><p:d/></p:a></saml:AttributeValue>"
        ),
        3 => format!(
            "<saml:AttributeValue xml:lang=\"en\" xml:space=\"preserve\">{value}</saml:AttributeValue>"
        ),
        4 => format!(
            "<saml:AttributeValue xmlns:unused=\"urn:unused\" b=\"2\" a=\"{quoted}\">{value}<e xmlns:xs=\"urn:other\"/></saml:AttributeValue>"
        ),
        _ => format!("<saml:AttributeValue>{value}</saml:AttributeValue>"),
    };
    format!("<saml:Attribute Name=\"extra{}\">{element}</saml:Attribute>", chance.below(1000))
}

/// A response that xmlsec1 signed, of a form that chance chose.
fn signed(parties: &Parties, chance: &mut Chance, which: Signed) -> String {
    let (method, digest) = METHODS[chance.below(METHODS.len())];
    let extras: String = (0..=chance.below(3)).map(|_| extra(chance)).collect();
    let assertion = parties.idp.assertion(ACS, AUDIENCE, &parties.asked);
    let assertion =
        assertion.replace("</saml:AttributeStatement>", &format!("{extras}</saml:AttributeStatement>"));
    let mut response = parties.idp.response(ACS, &parties.asked, &assertion);
    if chance.below(2) == 0 {
        let declared =
            " xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" xmlns=\"urn:default\" xmlns:z=\"urn:z\"";
        response = response.replacen("<samlp:Response", &format!("<samlp:Response{declared}"), 1);
    }
    let element = if which == Signed::Response { "<samlp:Response " } else { "<saml:Assertion " };
    let at = response.find(element).or_else(|| response.find("<samlp:Response")).unwrap();
    let id = response[at..].split(" ID=\"").nth(1).unwrap().split('"').next().unwrap();
    let template = format!(
        "<ds:Signature xmlns:ds=\"{DS}\">\n<ds:SignedInfo>\n{}<ds:SignatureMethod Algorithm=\"{method}\"/>\
         <ds:Reference URI=\"#{id}\"><ds:Transforms><ds:Transform Algorithm=\"{DS}enveloped-signature\"/>{}</ds:Transforms>\
         <ds:DigestMethod Algorithm=\"{digest}\"/><ds:DigestValue/></ds:Reference></ds:SignedInfo><ds:SignatureValue/></ds:Signature>",
        exclusive(chance, "CanonicalizationMethod"),
        exclusive(chance, "Transform"),
    );
    let behind = at + response[at..].find("</saml:Issuer>").unwrap() + "</saml:Issuer>".len();
    response.insert_str(behind, &template);
    sign_template(&response, &parties.idp.key)
}

/// The ranges of start tags without their brackets.
fn tags(text: &str) -> Vec<std::ops::Range<usize>> {
    let document = roxmltree::Document::parse(text).unwrap();
    let elements = document.descendants().filter(|node| node.is_element());
    elements
        .map(|node| {
            let start = node.range().start + 1;
            // No value of these documents holds a `>`.
            start..start + text[start..].find('>').unwrap()
        })
        .collect()
}

/// `text` after one change.
fn varied(chance: &mut Chance, mut text: String) -> String {
    let Ok(document) = roxmltree::Document::parse(&text) else { return text };
    let texts: Vec<_> =
        document.descendants().filter(|node| node.is_text()).map(|node| node.range()).collect();
    drop(document);
    let tags = tags(&text);
    let tag = tags[chance.below(tags.len())].clone();
    let inside = text[tag.clone()].to_owned();
    let place = texts[chance.below(texts.len())].clone();
    let letters = text[place.clone()].to_owned();
    match chance.below(12) {
        // The canonical form stays.
        0 => text.replace_range(tag, &inside.replacen(' ', "\n\t ", 1)),
        1 => text.replace_range(tag, &inside.replace("=\"", " = \"")),
        2 if inside.ends_with('/') => {
            let name = inside.split([' ', '/']).next().unwrap();
            text.replace_range(tag, &format!("{}></{name}", inside.trim_end_matches('/')));
        }
        3 => {
            let mut parts: Vec<&str> = inside.trim_end_matches('/').split("\" ").collect();
            if parts.len() > 2 {
                let last = parts.len() - 1;
                parts.swap(1, last);
                let end = if inside.ends_with('/') { "/" } else { "" };
                let joined =
                    parts.iter().map(|part| part.trim_end_matches('"')).collect::<Vec<_>>().join("\" ");
                text.replace_range(tag, &format!("{joined}\"{end}"));
            }
        }
        4 if !letters.contains(['&', '<', '[']) && letters.is_ascii() => {
            let codes: String = letters.bytes().map(|byte| format!("&#{byte};")).collect();
            text.replace_range(place, &codes);
        }
        5 if !letters.contains(['&', '<', ']']) => {
            text.replace_range(place, &format!("<![CDATA[{letters}]]>"))
        }
        6 => {
            let name = inside.find([' ', '/']).unwrap_or(inside.len());
            let with = format!(
                "{} xmlns:unused{}=\"urn:unused\"{}",
                &inside[..name],
                chance.below(9),
                &inside[name..]
            );
            text.replace_range(tag, &with);
        }
        7 => {
            let name = inside.find([' ', '/']).unwrap_or(inside.len());
            let same = format!("{} xmlns:ds=\"{DS}\"{}", &inside[..name], &inside[name..]);
            if !inside.contains("xmlns:ds=") {
                text.replace_range(tag, &same);
            }
        }
        // It does not.
        8 => text.insert(tag.end + 1, ' '),
        9 => {
            let name = inside.find([' ', '/']).unwrap_or(inside.len());
            text.replace_range(tag, &format!("{} added=\"1\"{}", &inside[..name], &inside[name..]));
        }
        10 if letters.len() > 1 && letters.is_ascii() && !letters.contains(['&', '<']) => {
            let at = chance.below(letters.len());
            text.replace_range(place.start + at..place.start + at + 1, "x");
        }
        _ => {
            let name = inside.find([' ', '/']).unwrap_or(inside.len());
            if !inside.contains("xmlns:xs=") {
                let other = format!("{} xmlns:xs=\"urn:else\"{}", &inside[..name], &inside[name..]);
                text.replace_range(tag, &other);
            }
        }
    }
    text
}

/// Whether xmlsec1 verifies the first signature of `text` by the certificate.
fn xmlsec1_verifies(text: &str, certificate: &Path) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.xml");
    std::fs::write(&file, text).unwrap();
    let ids = [SAML.to_owned() + ":Assertion", SAMLP.to_owned() + ":Response"];
    let done = Command::new("xmlsec1")
        .args(["--verify", "--enabled-reference-uris", "same-doc", "--pubkey-cert-pem"])
        .arg(certificate)
        .args(ids.iter().flat_map(|id| ["--id-attr:ID", id]))
        .arg(&file)
        .output()
        .expect("xmlsec1 is installed");
    done.status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_judged_as_xmlsec1_judges_them() {
    let _alone = crate::ALONE.lock().await;
    let parties = Parties::new();
    let number = std::env::var("NARTHEX_DIFFERENTIAL").ok().and_then(|text| text.parse().ok());
    let count: usize = number.unwrap_or(DOCUMENTS);
    let mut chance = Chance(0x5eed_5a31);
    let mut documents = Vec::new();
    let mut originals = Vec::new();
    for turn in 0..SIGNED {
        let which = if turn % 2 == 0 { Signed::Response } else { Signed::Assertion };
        originals.push(signed(&parties, &mut chance, which));
    }
    for turn in 0..count {
        let mut text = originals[turn % SIGNED].clone();
        for _ in 0..(turn / SIGNED).min(3) {
            text = varied(&mut chance, text);
        }
        let ours = parties.finish(&text).await;
        documents.push((text, ours));
    }
    let certificate = &parties.idp.key.certificate;
    let half = documents.len().div_ceil(2);
    let theirs: Vec<bool> = std::thread::scope(|scope| {
        let verify =
            |part: &[(String, _)]| part.iter().map(|(text, _)| xmlsec1_verifies(text, certificate)).collect();
        let parts: Vec<_> =
            documents.chunks(half).map(|part| scope.spawn(move || -> Vec<bool> { verify(part) })).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    let mut counts = BTreeMap::<(String, bool), usize>::new();
    for ((text, ours), verified) in documents.iter().zip(theirs) {
        let said = match ours {
            Ok(identity) => {
                assert_eq!(identity.subject, "alice");
                "accepted".to_owned()
            }
            Err(ProviderError::Invalid { check, .. }) => (*check).to_owned(),
            Err(error) => panic!("{error}: {text}"),
        };
        *counts.entry((said.clone(), verified)).or_default() += 1;
        let differs = match said.as_str() {
            "accepted" => !verified,
            "signature" => verified,
            // Refused before its signature was looked at, or for what it says.
            _ => false,
        };
        assert!(!differs, "xmlsec1 says {verified}, we say {ours:?}:\n{text}");
    }
    println!("{count} documents, by our check and whether xmlsec1 verifies: {counts:?}");
    let accepted = counts.get(&("accepted".to_owned(), true)).copied().unwrap_or_default();
    let refused = counts.get(&("signature".to_owned(), false)).copied().unwrap_or_default();
    assert!(accepted > count / 5 && refused > count / 10, "{counts:?}");
}
