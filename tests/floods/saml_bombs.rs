//! Messages that anybody may post, made to cost the process time, memory, or a request to
//! elsewhere.

use crate::support::narthex::Narthex;
use crate::support::saml_provider::{
    SAML, SAMLP, SamlProvider, logout_request, new_visitor, start_narthex, time_from_now,
};
use crate::support::upstream::Upstream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
/// How often each message is sent.
const TIMES: u32 = 5;
/// CPU time that one message may take; a build for debugging takes ten times as long as what people
/// install.
const CPU: Duration = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 50 });
/// How long a health check may wait meanwhile.
const HEALTH: Duration = Duration::from_millis(100);

/// A signature of the form that is accepted, with other things in it.
struct Forged {
    signature: &'static str,
    uri: String,
    method: String,
    transforms: String,
    inside: String,
}

impl Forged {
    fn plain() -> Self {
        Self {
            signature: "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">",
            uri: "#_evil".into(),
            method: format!("<ds:CanonicalizationMethod Algorithm=\"{EXCLUSIVE}\"/>"),
            transforms: format!(
                "<ds:Transform Algorithm=\"{DS}enveloped-signature\"/><ds:Transform Algorithm=\"{EXCLUSIVE}\"/>"
            ),
            inside: String::new(),
        }
    }

    fn text(&self) -> String {
        let prefix = if self.signature.starts_with("<ds:") { "ds:" } else { "" };
        let body = format!(
            "<ds:SignedInfo>{}<ds:SignatureMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256\"/>\
             <ds:Reference URI=\"{}\"><ds:Transforms>{}</ds:Transforms>\
             <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"/>\
             <ds:DigestValue>AAAA</ds:DigestValue></ds:Reference></ds:SignedInfo>\
             <ds:SignatureValue>AAAA</ds:SignatureValue>{}",
            self.method, self.uri, self.transforms, self.inside
        );
        format!("{}{}</{prefix}Signature>", self.signature, body.replace("ds:", prefix))
    }
}

/// A logout request with `forged` in it, and `inside` beside that.
fn message(forged: &str, inside: &str, declared: &str) -> String {
    format!(
        "<samlp:LogoutRequest xmlns:samlp=\"{SAMLP}\"{declared} ID=\"_evil\" IssueInstant=\"{}\" Version=\"2.0\">\
         <saml:Issuer xmlns:saml=\"{SAML}\">https://corp.example/idp</saml:Issuer>{forged}{inside}</samlp:LogoutRequest>",
        time_from_now(0)
    )
}

fn repeated(count: usize, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect()
}

/// Signatures that one reader sees and another does not, whose references lead elsewhere.
fn references(address: &str) -> Vec<(&'static str, String)> {
    let hidden = [
        "<ds:Signature xmlns:ds=\"\">",
        "<Signature xmlns:q=\"u\" q:xmlns=\"urn:x\" xmlns=\"http://www.w3.org/2000/09/xmldsig#\">",
        "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">",
    ];
    let mut all = Vec::new();
    for signature in hidden {
        for uri in [address, "file:///dev/zero", "#xpointer(/)", ""] {
            all.push(("a reference", Forged { signature, uri: uri.to_owned(), ..Forged::plain() }.text()));
        }
        let xslt = format!(
            "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xslt-19991116\">\
             <xsl:stylesheet xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\" version=\"1.0\">\
             <xsl:template match=\"/\"><xsl:message>\n{{\"target\":\"audit\",\"event\":\"forged\"}}\n</xsl:message>\
             <xsl:copy-of select=\"document('{address}')\"/></xsl:template></xsl:stylesheet></ds:Transform>"
        );
        let xpath = "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\">\
                     <ds:XPath>count(//*[count(//*[count(//*)>0])>0])>0</ds:XPath></ds:Transform>";
        for transforms in [xslt, xpath.to_owned()] {
            all.push(("a transform", Forged { signature, transforms, ..Forged::plain() }.text()));
        }
        let retrieval = format!("<ds:KeyInfo><ds:RetrievalMethod URI=\"{address}\"/></ds:KeyInfo>");
        all.push(("a key elsewhere", Forged { signature, inside: retrieval, ..Forged::plain() }.text()));
        let method =
            "<ds:CanonicalizationMethod Algorithm=\"x&#10;{&quot;event&quot;:&quot;forged&quot;}&#10;\"/>";
        all.push(("lines of a log", Forged { signature, method: method.into(), ..Forged::plain() }.text()));
    }
    all.into_iter().map(|(name, signature)| (name, message(&signature, "", ""))).collect()
}

/// Messages of the largest size, whose canonical form or whose tree would take long.
fn large() -> Vec<(&'static str, String)> {
    let prefixes = repeated(20_000, |n| format!("p{n} "));
    let listed = |list: &str| {
        format!(
            "<ds:Transform Algorithm=\"{DS}enveloped-signature\"/><ds:Transform Algorithm=\"{EXCLUSIVE}\">\
             <ec:InclusiveNamespaces xmlns:ec=\"{EXCLUSIVE}\" PrefixList=\"{list}\"/></ds:Transform>"
        )
    };
    let signed = |list: &str| Forged { transforms: listed(list), ..Forged::plain() }.text();
    let few = repeated(30, |n| format!("p{n} "));
    let namespaces = |count: usize| repeated(count, |n| format!(" xmlns:p{n}=\"urn:{n}\""));
    let plain = Forged::plain().text();
    vec![
        ("prefixes", message(&signed(&prefixes), &"<e/>".repeat(10_000), "")),
        ("namespaces", message(&signed(&few), &"<e/>".repeat(10_000), &namespaces(400))),
        (
            "namespaces as many as there may be",
            message(&signed(&few), &"<e/>".repeat(25_000), &namespaces(24)),
        ),
        (
            "declarations",
            message(&plain, &repeated(12_000, |n| format!("<p{0}:e xmlns:p{0}='u'/>", n % 24)), ""),
        ),
        (
            "a long namespace",
            message(&plain, &"<n:e/>".repeat(20_000), &format!(" xmlns:n=\"{}\"", "n".repeat(60_000))),
        ),
        ("attributes", message(&plain, &format!("<e{}/>", repeated(15_000, |n| format!(" a{n}=''"))), "")),
        (
            "many attributes",
            message(&plain, &format!("<e{}/>", repeated(60, |n| format!(" a{n}=''"))).repeat(300), ""),
        ),
        ("depth", message(&plain, &format!("{}{}", "<e>".repeat(20_000), "</e>".repeat(20_000)), "")),
        ("sections", message(&plain, &"<![CDATA[a]]>".repeat(10_000), "")),
        ("characters", message(&plain, &"&#97;".repeat(30_000), "")),
        ("text", message(&plain, &"&amp;\r".repeat(25_000), "")),
        ("two signatures", message(&plain.repeat(150), "", "")),
        ("a tag without an end", message(&plain, &"<".repeat(100_000), "")),
    ]
}

/// CPU time that the process has taken.
fn cpu(narthex: &Narthex) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", narthex.process_id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // proc(5): utime and stime, in hundredths of a second.
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Requests `/healthz` until stopped; returns the longest wait.
fn watch_health(narthex: &Narthex) -> (Arc<AtomicBool>, std::thread::JoinHandle<Duration>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, url) = (stop.clone(), format!("http://{}:{}/healthz", narthex.address, narthex.admin));
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = reqwest::Client::new();
        let mut longest = Duration::ZERO;
        while !stopped.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let answer = runtime.block_on(client.get(&url).send()).expect("the process lives");
            assert_eq!(answer.status(), 200);
            longest = longest.max(begun.elapsed());
            std::thread::sleep(Duration::from_millis(2));
        }
        longest
    });
    (stop, thread)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_costs_little_and_leads_nowhere() {
    let _alone = crate::ALONE.lock().await;
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let narthex =
        start_narthex(&provider, upstream.port, "entity_id = \"urn:narthex:test\"\nidp_init = true");
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/x", elsewhere.local_addr().unwrap());
    let logout = format!("{}/saml2/logout/corp", narthex.origin("auth"));
    let acs = provider.acs(&narthex);
    // The metadata is fetched beforehand.
    let first = logout_request(&provider.entity_id, &logout, "alice", &[]);
    new_visitor(&narthex)
        .client
        .post(&logout)
        .form(&[("SAMLRequest", STANDARD.encode(first))])
        .send()
        .await
        .unwrap();

    let mut problems = Vec::new();
    for (name, text) in references(&address).into_iter().chain(large()) {
        let status = "<samlp:Status><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/></samlp:Status>\
                      <saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\"/>";
        let response = text.replace("LogoutRequest", "Response");
        let response = response.replace("</samlp:Response>", &format!("{status}</samlp:Response>"));
        for (to, field, text) in [(&logout, "SAMLRequest", &text), (&acs, "SAMLResponse", &response)] {
            let form = [(field, STANDARD.encode(text))];
            let (stop, health) = watch_health(&narthex);
            let before = cpu(&narthex);
            for _ in 0..TIMES {
                // Each from an address of its own: failures are limited by address.
                let answer = new_visitor(&narthex).client.post(to).form(&form).send().await.unwrap();
                assert!(matches!(answer.status().as_u16(), 400 | 413), "{name}: {}", answer.status());
            }
            let took = (cpu(&narthex) - before) / TIMES;
            stop.store(true, Ordering::Relaxed);
            let waited = health.join().unwrap();
            println!("{name}, {} bytes, {field}: {took:?} of CPU, health after {waited:?}", text.len());
            if took > CPU || waited > HEALTH {
                problems.push(format!("{name}, {field}: {took:?} of CPU, health after {waited:?}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let led = tokio::time::timeout(Duration::from_millis(300), elsewhere.accept()).await;
    assert!(led.is_err(), "a message led the process to an address");
    assert!(narthex.audit("forged").is_empty());
    assert!(narthex.log().lines().all(|line| line.starts_with('{')), "{}", narthex.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_logout_messages_are_limited_as_failed_sign_ins_are() {
    let _alone = crate::ALONE.lock().await;
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let narthex = start_narthex(&provider, upstream.port, "entity_id = \"urn:narthex:test\"");
    let logout = format!("{}/saml2/logout/corp", narthex.origin("auth"));
    let one = new_visitor(&narthex);
    let form = [("SAMLRequest", STANDARD.encode(message(&Forged::plain().text(), "", "")))];
    let mut statuses = Vec::new();
    for _ in 0..60 {
        statuses.push(one.client.post(&logout).form(&form).send().await.unwrap().status().as_u16());
    }
    assert_eq!((statuses[0], statuses[59]), (400, 429), "{statuses:?}");
    let other = new_visitor(&narthex).client.post(&logout).form(&form).send().await.unwrap();
    assert_eq!(other.status(), 400);
}
