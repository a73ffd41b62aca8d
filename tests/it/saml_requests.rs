//! SAML: what requests ask of a provider, and the forms of answers that providers really send.

use crate::support::config_errors::assert_each_reported;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::pages::page_links;
use crate::support::saml_provider::{
    SamlProvider, Signed, encrypt_with_oaep_sha256, parse_request, post_response, sign_template,
    start_narthex, start_sign_in, time_from_now,
};
use crate::support::upstream::Upstream;
use crate::support::visitor::{assert_status, redirect_target};

const AUDIENCE: &str = "urn:narthex:test";
const OURS: &str = "entity_id = \"urn:narthex:test\"";
const PASSWORD: &str = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport";
const MULTIPLE: &str = "https://refeds.org/profile/mfa";

fn why(narthex: &Narthex) -> String {
    let failed = narthex.audit("login_failed");
    failed.last().map_or_else(String::new, |line| format!("{}: {}", line["reason"], line["detail"]))
}

async fn sign_in_with(narthex: &Narthex, provider: &SamlProvider, change: impl Fn(String) -> String) -> u16 {
    let (visitor, asked) = start_sign_in(narthex).await;
    let acs = provider.acs(narthex);
    let response = provider.valid_response(&acs, AUDIENCE, &asked, Signed::Assertion, change, |text| text);
    post_response(&visitor, &acs, &response, &asked.relay_state).await.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_asks_for_what_the_file_demands_and_the_assertion_must_show_it() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let plain = start_narthex(&provider, upstream.port, OURS);
    let (_, asked) = start_sign_in(&plain).await;
    assert!(
        asked.request.contains("<samlp:NameIDPolicy AllowCreate=\"true\"></samlp:NameIDPolicy>"),
        "{}",
        asked.request
    );
    assert!(!asked.request.contains("ForceAuthn") && !asked.request.contains("RequestedAuthnContext"));
    let old = |text: String| {
        let instant = text.split("AuthnInstant=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        text.replace(
            &format!("AuthnInstant=\"{instant}\""),
            &format!("AuthnInstant=\"{}\"", time_from_now(-600)),
        )
    };
    assert_eq!(sign_in_with(&plain, &provider, old).await, 200, "{}", why(&plain));

    let more = format!(
        "{OURS}\nforce_authn = true\nauthn_context = [\"{MULTIPLE}\", \"urn:other\"]\nname_id_format = \"persistent\""
    );
    let strict = start_narthex(&provider, upstream.port, &more);
    let (_, asked) = start_sign_in(&strict).await;
    for part in [
        " ForceAuthn=\"true\"",
        "<samlp:NameIDPolicy AllowCreate=\"true\" Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\">",
        "<samlp:RequestedAuthnContext Comparison=\"exact\"><saml:AuthnContextClassRef",
        &format!(">{MULTIPLE}</saml:AuthnContextClassRef>"),
    ] {
        assert!(asked.request.contains(part), "{part}: {}", asked.request);
    }
    let multiple = |text: String| {
        let class = text.split("AuthnContextClassRef>").nth(1).unwrap().split('<').next().unwrap().to_owned();
        text.replace(&format!(">{class}<"), &format!(">{MULTIPLE}<"))
    };
    assert_eq!(sign_in_with(&strict, &provider, multiple).await, 200, "{}", why(&strict));
    assert_eq!(sign_in_with(&strict, &provider, |text| text).await, 400);
    assert!(
        why(&strict).starts_with("\"authn_context\"") && why(&strict).contains("help:"),
        "{}",
        why(&strict)
    );
    let parted = |text: String| text.replace(&format!(">{MULTIPLE}<"), &format!(">{MULTIPLE}<saml:x/>no<"));
    assert_eq!(sign_in_with(&strict, &provider, |text| parted(multiple(text))).await, 400);
    assert!(why(&strict).starts_with("\"authn_context\""), "{}", why(&strict));
    let both = |text: String| {
        let from = text.find("<saml:AuthnStatement ").unwrap();
        let to = text.find("</saml:AuthnStatement>").unwrap() + "</saml:AuthnStatement>".len();
        format!("{}{}{}", &text[..from], multiple(text[from..to].to_owned()), &text[from..])
    };
    assert_eq!(sign_in_with(&strict, &provider, both).await, 400);
    assert!(why(&strict).starts_with("\"authn_context\""), "{}", why(&strict));
    assert_eq!(sign_in_with(&strict, &provider, |text| old(multiple(text))).await, 400);
    assert!(
        why(&strict).starts_with("\"authn_instant\"") && why(&strict).contains("help:"),
        "{}",
        why(&strict)
    );
    let claims = upstream.seen().last().unwrap().claims();
    assert_eq!(claims["amr"], serde_json::json!(["mfa"]), "{PASSWORD}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_aggregate_the_file_names_the_provider() {
    let upstream = Upstream::start().await;
    let (provider, other) = (SamlProvider::new("corp"), SamlProvider::new("other"));
    let both = [
        other.metadata(&[&other.key]).replace("ID=\"_md\"", "ID=\"_other\""),
        provider.metadata(&[&provider.key]),
    ]
    .concat();
    let aggregate = format!(
        "<md:EntitiesDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\">{both}</md:EntitiesDescriptor>"
    );
    std::fs::write(provider.metadata_file(), &aggregate).unwrap();
    let named =
        start_narthex(&provider, upstream.port, &format!("{OURS}\nissuer = \"{}\"", provider.entity_id));
    assert_eq!(sign_in_with(&named, &provider, |text| text).await, 200, "{}", why(&named));
    // The keys of the others sign nothing for it.
    let (visitor, asked) = start_sign_in(&named).await;
    let acs = provider.acs(&named);
    let forged = SamlProvider { entity_id: provider.entity_id.clone(), ..SamlProvider::new("corp") };
    let forged = SamlProvider { key: other.key.clone(), ..forged };
    // Nor does an entity that another member puts within its own.
    let nested = forged.metadata(&[&other.key]).replace("ID=\"_md\"", "ID=\"_nested\"");
    let begin = aggregate.find("ID=\"_other\"").unwrap();
    let (before, after) = aggregate.split_at(begin + aggregate[begin..].find('>').unwrap() + 1);
    let within = format!("{before}<md:Extensions>{nested}</md:Extensions>{after}");
    std::fs::write(provider.metadata_file(), within).unwrap();
    let nested =
        start_narthex(&provider, upstream.port, &format!("{OURS}\nissuer = \"{}\"", provider.entity_id));
    assert_eq!(sign_in_with(&nested, &provider, |text| text).await, 200, "{}", why(&nested));
    std::fs::write(provider.metadata_file(), &aggregate).unwrap();
    let response = forged.valid_response(&acs, AUDIENCE, &asked, Signed::Assertion, |text| text, |text| text);
    assert_eq!(post_response(&visitor, &acs, &response, &asked.relay_state).await.status(), 400);
    for (more, said) in [
        ("", "it describes 2 identity providers, and must describe one; help: name the one"),
        ("\nissuer = \"https://third.example/idp\"", "0 have the entity id `https://third.example/idp`"),
    ] {
        let narthex = start_narthex(&provider, upstream.port, &format!("{OURS}{more}"));
        narthex.wait_for_log(said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn assertions_are_read_in_the_forms_that_providers_send() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let narthex = start_narthex(&provider, upstream.port, OURS);
    let acs = provider.acs(&narthex);
    for around in [
        ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", ""),
        ("\n  ", "\n"),
        ("<?xml version=\"1.0\"?>\n", " \n"),
    ] {
        let (visitor, asked) = start_sign_in(&narthex).await;
        let assertion = provider.sign(&provider.assertion(&acs, AUDIENCE, &asked));
        let assertion = &assertion[assertion.find("<saml:Assertion").unwrap()..];
        let text = format!("{}{}{}", around.0, assertion.trim_end(), around.1);
        let response = provider.response(&acs, &asked, &encrypt_with_oaep_sha256(&text, &narthex).await);
        let landed = post_response(&visitor, &acs, &response, &asked.relay_state).await;
        assert_eq!(landed.status(), 200, "{around:?}: {}", why(&narthex));
    }
    // Canonical XML with comments.
    let (visitor, asked) = start_sign_in(&narthex).await;
    let signed = provider.sign(&provider.assertion(&acs, AUDIENCE, &asked));
    let empty = |text: &str, name: &str| {
        let (begin, end) = (format!("<ds:{name}>"), format!("</ds:{name}>"));
        let (from, to) = (text.find(&begin).unwrap(), text.find(&end).unwrap() + end.len());
        format!("{}<ds:{name}/>{}", &text[..from], &text[to..])
    };
    let template = empty(&empty(&signed, "DigestValue"), "SignatureValue")
        .replace("xml-exc-c14n#\"", "xml-exc-c14n#WithComments\"");
    assert!(template.contains("WithComments"));
    let response = provider.response(&acs, &asked, &sign_template(&template, &provider.key));
    let landed = post_response(&visitor, &acs, &response, &asked.relay_state).await;
    assert_eq!(landed.status(), 200, "{}", why(&narthex));
}

#[test]
fn what_is_wrong_about_requests_is_told() {
    let good = "public_url = \"https://auth.example.com\"\n[[provider]]\nname = \"corp\"\ntype = \"saml\"\n\
                metadata = \"https://idp.example.com/metadata\"\nforce_authn = true\nauthn_context = \"urn:x\"\nidp_init = false\n\
                allow = \"anyone\"\n[[route]]\nhost = \"app.example.com\"\nupstream = \"http://127.0.0.1:3000\"\n";
    assert_each_reported(
        good,
        &[
            ("idp_init = false", "idp_init = true", "`force_authn` requires a request"),
            ("force_authn = true", "force_authn = 1", "`force_authn` is a number"),
            ("\"urn:x\"", "\"a b\"", "\"a b\" is not a valid authentication context class"),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_sign_in_is_not_chosen_again() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let tables = provider.toml(OURS).replace("\"anyone\"", "{ groups = [\"nobody\"] }");
    let narthex = NarthexBuilder::new().tables(&tables).route("app", upstream.port, "").start();
    let (visitor, asked_first) = start_sign_in(&narthex).await;
    assert!(!asked_first.request.contains("ForceAuthn"));
    let acs = provider.acs(&narthex);
    let response =
        provider.valid_response(&acs, AUDIENCE, &asked_first, Signed::Both, |text| text, |text| text);
    let refused = post_response(&visitor, &acs, &response, &asked_first.relay_state).await;
    assert_status(&refused, 403);
    let page = refused.text().await.unwrap();
    let another =
        page_links(&page).into_iter().find(|link| link.contains("prompt=")).expect("another account");
    let at_provider = redirect_target(&visitor.get(&another).await).expect("a way to the provider");
    assert!(parse_request(&at_provider).request.contains(" ForceAuthn=\"true\""));
}
