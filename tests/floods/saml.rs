//! Garbage for the judge of SAML responses: sound ones, signed and encrypted, bent at random.
//! Whatever comes is refused, or says what the sound one said.

use crate::fuzz::Chance;
use crate::support::saml_provider::{EACH_SIGNED, SamlProvider, SamlRequest, encrypt, new_id};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use narthex::base::{Clock as _, ManualClock, SystemClock, SystemEntropy};
use narthex::config::Config;
use narthex::provider::saml::{OwnKeys, ServiceProvider, ServiceProviderKey};
use narthex::provider::{
    self, Callback, ExternalIdentity, LoginState, Provider, ProviderError, ProviderHttpClient,
};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long, unless NARTHEX_FUZZ_SECONDS says otherwise.
const SECONDS: u64 = 10;
pub const ACS: &str = "https://auth.example/saml2/idpresponse/corp";
pub const AUDIENCE: &str = "urn:narthex:test";

const PIECES: [&str; 30] = [
    "<",
    ">",
    "/>",
    "</",
    "\"",
    "&",
    "&amp;",
    "&#0;",
    "&#x110000;",
    "<!-- -->",
    "<?x y?>",
    "<![CDATA[",
    "]]>",
    "<!DOCTYPE a>",
    "\0",
    "\u{feff}",
    "\u{202e}",
    " ID=\"_a1\"",
    " xmlns=\"\"",
    " xmlns:saml=\"urn:x\"",
    "xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"",
    "mallory",
    "#xpointer(/)",
    "http://www.w3.org/2001/10/xml-exc-c14n#",
    "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
    "<saml:Assertion>",
    "</saml:Assertion>",
    "<ds:Signature>",
    "-1",
    "9999-99-99T99:99:99Z",
];

/// The ranges of elements in `text`: moving whole elements gets past the parser more often.
fn elements(text: &str) -> Vec<std::ops::Range<usize>> {
    let Ok(document) = roxmltree::Document::parse(text) else { return Vec::new() };
    document.descendants().filter(|node| node.is_element()).map(|node| node.range()).collect()
}

fn bent(chance: &mut Chance, seeds: &[String]) -> String {
    let mut text = seeds[chance.below(seeds.len())].clone();
    for _ in 0..=chance.below(3) {
        let ranges = elements(&text);
        let pick = |chance: &mut Chance| ranges[chance.below(ranges.len())].clone();
        let mut at = chance.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        match chance.below(10) {
            0 => text.insert_str(at, PIECES[chance.below(PIECES.len())]),
            1 => text.truncate(at),
            2 if at < text.len() => drop(text.remove(at)),
            // An element is taken out, put somewhere else, doubled, or put in another's place.
            3 if !ranges.is_empty() => text.replace_range(pick(chance), ""),
            4 if !ranges.is_empty() => {
                let moved = text[pick(chance)].to_owned();
                let to = pick(chance).start;
                text.insert_str(to, &moved);
            }
            5 if !ranges.is_empty() => {
                let (from, to) = (text[pick(chance)].to_owned(), pick(chance));
                text.replace_range(to, &from);
            }
            6 if !ranges.is_empty() => {
                let other = &seeds[chance.below(seeds.len())];
                let theirs = elements(other);
                let from = other[theirs[chance.below(theirs.len())].clone()].to_owned();
                text.replace_range(pick(chance), &from);
            }
            7 => {
                let values: Vec<(usize, usize)> = text
                    .match_indices('"')
                    .map(|(at, _)| at)
                    .collect::<Vec<_>>()
                    .chunks_exact(2)
                    .map(|p| (p[0] + 1, p[1]))
                    .collect();
                if !values.is_empty() {
                    let (from, to) = values[chance.below(values.len())];
                    let (other, end) = values[chance.below(values.len())];
                    let value = text[other..end].to_owned();
                    text.replace_range(from..to, &value);
                }
            }
            8 => text = text.replace("alice", "mallory"),
            _ if at < text.len() => {
                let letter = char::from(32 + (chance.next() % 95) as u8);
                let end = at + text[at..].chars().next().map_or(0, char::len_utf8);
                text.replace_range(at..end, &letter.to_string());
            }
            _ => {}
        }
    }
    text
}

/// A service provider's half of the library, beside an identity provider whose messages a test
/// forges.
pub struct Parties {
    pub idp: SamlProvider,
    pub asked: SamlRequest,
    /// Our certificate, to encrypt for.
    certificate: PathBuf,
    provider: Arc<dyn Provider>,
    pending: LoginState,
}

impl Parties {
    pub fn new() -> Self {
        let idp = SamlProvider::new("corp");
        let file = format!("public_url = \"https://auth.example\"\n{}", idp.toml(""));
        let config = Config::parse(&file, "test", idp.folder.path(), &|_| None).unwrap();
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let pkcs8 = ServiceProviderKey::generate().unwrap();
        let key =
            ServiceProviderKey::read(&pkcs8, ServiceProviderKey::self_signed(&pkcs8, clock.now()).unwrap())
                .unwrap();
        let certificate = idp.folder.path().join("sp.pem");
        let base64 = STANDARD.encode(key.certificate());
        let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        std::fs::write(&certificate, pem).unwrap();
        let own = ServiceProvider { entity_id: AUDIENCE.into(), keys: Arc::new(OwnKeys::of_one(key)) };
        let outbound = ProviderHttpClient::new().unwrap();
        let provider =
            provider::connect(&config.providers[0], Some(own), outbound, clock, Arc::new(SystemEntropy));
        let asked = SamlRequest { id: new_id("request"), relay_state: String::new(), request: String::new() };
        let pending = LoginState { nonce: asked.id.clone(), code_verifier: String::new() };
        Self { idp, asked, certificate, provider, pending }
    }

    /// What a response with `text` is taken for.
    pub async fn finish(&self, text: &str) -> Result<ExternalIdentity, ProviderError> {
        let parameters = HashMap::from([("SAMLResponse".to_owned(), STANDARD.encode(text))]);
        let callback = Callback {
            parameters: &parameters,
            redirect_uri: ACS,
            pending: Some(&self.pending),
            started_at: None,
        };
        self.provider.finish(callback).await
    }
}

#[tokio::test]
async fn bent_saml_responses_are_refused_or_say_what_the_sound_one_said() {
    let _alone = crate::ALONE.lock().await;
    let parties = Parties::new();
    let (idp, asked) = (&parties.idp, &parties.asked);
    let mut seeds: Vec<String> = EACH_SIGNED
        .iter()
        .map(|signed| idp.valid_response(ACS, AUDIENCE, asked, *signed, |t| t, |t| t))
        .collect();
    let oaep = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p";
    for cipher in
        ["http://www.w3.org/2009/xmlenc11#aes128-gcm", "http://www.w3.org/2001/04/xmlenc#aes256-cbc"]
    {
        let assertion = idp.sign(&idp.assertion(ACS, AUDIENCE, asked));
        seeds.push(idp.response(ACS, asked, &encrypt(&assertion, &parties.certificate, cipher, oaep)));
    }
    let mut sound = Vec::new();
    for seed in &seeds {
        let identity = parties.finish(seed).await.expect("a sound response is taken");
        sound.push((identity.subject, identity.claims, identity.issuer));
    }
    assert!(sound.iter().all(|identity| *identity == sound[0]));

    let number =
        |name: &str, or: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or);
    let (seconds, seed) = (number("NARTHEX_FUZZ_SECONDS", SECONDS), number("NARTHEX_FUZZ_SEED", 88_172_645));
    let (begun, mut chance) = (Instant::now(), Chance(seed));
    let (mut count, mut taken, mut slowest) = (0u64, 0u64, Duration::ZERO);
    let mut checks: BTreeMap<&'static str, u64> = BTreeMap::new();
    while begun.elapsed() < Duration::from_secs(seconds) {
        let text = bent(&mut chance, &seeds);
        let at = Instant::now();
        let judged = parties.finish(&text).await;
        slowest = slowest.max(at.elapsed());
        count += 1;
        match judged {
            Ok(identity) => {
                taken += 1;
                assert_eq!((identity.subject, identity.claims, identity.issuer), sound[0], "{text}");
            }
            Err(ProviderError::Invalid { check, .. }) => *checks.entry(check).or_default() += 1,
            Err(ProviderError::Refused { .. }) => *checks.entry("refused").or_default() += 1,
            Err(error) => panic!("{error}: {text}"),
        }
    }
    println!(
        "{count} bent responses in {seconds} s, seed {seed}: {taken} said the same, slowest {slowest:?}; {checks:?}"
    );
    // They get past the parser, and as far as each kind of check.
    for check in ["xml", "id", "shape", "signature", "in_response_to", "encryption"] {
        assert!(checks.contains_key(check), "{check} was never reached: {checks:?}");
    }
}
