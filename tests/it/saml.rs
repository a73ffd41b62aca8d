//! SAML: valid responses in every accepted form, and the users that they sign in.

use crate::support::narthex::NarthexBuilder;
use crate::support::parties::{OpenIdProvider, Postgres};
use crate::support::saml_provider::{
    EACH_SIGNED, OAEP, SAML, SHA256, SamlKey, SamlProvider, SamlRequest, Signed, base64, encrypt,
    encrypt_with_oaep_sha256, narthex_certificate, new_visitor, post_response, sign, start_narthex,
    start_sign_in, time_from_now,
};
use crate::support::saml_sign_in::{
    AUDIENCE, ENTITY_ID_TOML, last_failure, sign_in, sign_in_with, unchanged,
};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, location};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_by_saml_however_the_response_is_signed() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let narthex = start_narthex(&provider, upstream.port, ENTITY_ID_TOML);
    for signed in EACH_SIGNED {
        let (visitor, asked) = start_sign_in(&narthex).await;
        assert!(asked.id.len() > 40 && !asked.request.contains("Signature"));
        let response =
            provider.valid_response(&provider.acs(&narthex), AUDIENCE, &asked, signed, unchanged, unchanged);
        let landed = post_response(&visitor, &provider.acs(&narthex), &response, &asked.relay_state).await;
        assert_eq!(landed.status(), 200, "{signed:?}: {}", last_failure(&narthex));
    }
    let seen = upstream.seen();
    assert_eq!(seen.len(), 3);
    let claims = seen[0].claims();
    assert_eq!(claims["email"], "alice@corp.example");
    assert_eq!(claims["email_verified"], false, "nobody said that it is");
    assert_eq!(claims["cognito:groups"], serde_json::json!(["staff", "admins"]));
    assert_eq!(claims["amr"], serde_json::json!(["pwd"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_may_be_encrypted_by_each_algorithm_and_must_be_where_the_file_says_so() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let narthex =
        start_narthex(&provider, upstream.port, &format!("{ENTITY_ID_TOML}\nencrypted_responses = true"));
    let (acs, certificate) =
        (provider.acs(&narthex), narthex_certificate(&narthex, "corp", provider.folder.path()).await);
    for cipher in [
        "http://www.w3.org/2001/04/xmlenc#aes128-cbc",
        "http://www.w3.org/2001/04/xmlenc#aes256-cbc",
        "http://www.w3.org/2009/xmlenc11#aes128-gcm",
        "http://www.w3.org/2009/xmlenc11#aes256-gcm",
    ] {
        for signed in EACH_SIGNED {
            let (visitor, asked) = start_sign_in(&narthex).await;
            let mut assertion = provider.assertion(&acs, AUDIENCE, &asked);
            if signed != Signed::Response {
                assertion = provider.sign(&assertion);
            }
            let mut response =
                provider.response(&acs, &asked, &encrypt(&assertion, &certificate, cipher, OAEP));
            if signed != Signed::Assertion {
                response = provider.sign(&response);
            }
            let landed = post_response(&visitor, &acs, &response, &asked.relay_state).await;
            assert_eq!(landed.status(), 200, "{cipher} {signed:?}: {}", last_failure(&narthex));
        }
    }
    let (visitor, asked) = start_sign_in(&narthex).await;
    let assertion = provider.sign(&provider.assertion(&acs, AUDIENCE, &asked));
    let response = provider.response(&acs, &asked, &encrypt_with_oaep_sha256(&assertion, &narthex).await);
    let landed = post_response(&visitor, &acs, &response, &asked.relay_state).await;
    assert_eq!(landed.status(), 200, "{}", last_failure(&narthex));

    for signed in EACH_SIGNED {
        let (visitor, asked) = start_sign_in(&narthex).await;
        let plain = provider.valid_response(&acs, AUDIENCE, &asked, signed, unchanged, unchanged);
        assert_status(&post_response(&visitor, &acs, &plain, &asked.relay_state).await, 400);
        assert!(last_failure(&narthex).starts_with("\"encryption\""), "{}", last_failure(&narthex));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_other_kinds_and_clocks_that_differ_by_less_than_a_minute_are_taken() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let curve =
        SamlKey::make(provider.folder.path(), "ec", &["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    provider.publish(&[&provider.key, &curve]);
    let narthex = start_narthex(&provider, upstream.port, ENTITY_ID_TOML);
    let acs = provider.acs(&narthex);
    let more = "http://www.w3.org/2001/04/xmldsig-more#";
    for (key, method, digest) in [
        (&provider.key, format!("{more}rsa-sha512"), "http://www.w3.org/2001/04/xmlenc#sha512"),
        (&provider.key, format!("{more}rsa-sha384"), "http://www.w3.org/2001/04/xmldsig-more#sha384"),
        (&curve, format!("{more}ecdsa-sha256"), SHA256),
    ] {
        let (visitor, asked) = start_sign_in(&narthex).await;
        let assertion = sign(&provider.assertion(&acs, AUDIENCE, &asked), key, &method, digest);
        let response = provider.response(&acs, &asked, &assertion);
        let landed = post_response(&visitor, &acs, &response, &asked.relay_state).await;
        assert_eq!(landed.status(), 200, "{method}: {}", last_failure(&narthex));
    }
    for shift in [-50, 50] {
        let (_, landed, _) = sign_in_with(&narthex, &provider, |text| {
            let text = text
                .replace(&time_from_now(0), &time_from_now(shift))
                .replace(&time_from_now(-5), &time_from_now(shift - 5));
            text.replace(&time_from_now(300), &time_from_now(shift.min(0)))
        })
        .await;
        assert_eq!(landed.status(), 200, "{shift} s: {}", last_failure(&narthex));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_in_a_thousand_groups_is_signed_in_and_more_than_anybody_needs_is_refused() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let narthex = start_narthex(&provider, upstream.port, ENTITY_ID_TOML);
    let with = |groups: usize| {
        let values: String = (0..groups)
            .map(|number| format!("<saml:AttributeValue>CN=group-{number:06},OU=groups,OU=company,DC=corp,DC=example</saml:AttributeValue>"))
            .collect();
        move |text: String| text.replace("<saml:AttributeValue>staff</saml:AttributeValue>", &values)
    };
    let (_, landed, response) = sign_in_with(&narthex, &provider, with(999)).await;
    assert!(response.len() > 90_000);
    assert_eq!(landed.status(), 200, "{}", last_failure(&narthex));
    // Where no group decides anything, those beyond the bound are left out.
    assert_status(&sign_in_with(&narthex, &provider, with(1001)).await.1, 200);
    narthex.wait_for_log("a claim was left out: the groups are too many");
    assert_status(&sign_in_with(&narthex, &provider, with(4000)).await.1, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_works_once_on_every_node_and_in_the_browser_that_asked_for_it() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let builder = NarthexBuilder::new()
        .tables(&provider.toml(ENTITY_ID_TOML))
        .route("app", upstream.port, "")
        .postgres(&Postgres::shared().database());
    let mut one = builder.clone().start();
    let two = one.share_authority(&builder).start_at("127.0.0.2");
    let acs = provider.acs(&one);

    // Another browser has not asked for it.
    let (visitor, asked) = start_sign_in(&one).await;
    let response = provider.valid_response(&acs, AUDIENCE, &asked, Signed::Assertion, unchanged, unchanged);
    let stranger = Visitor::new(&one);
    assert_status(&post_response(&stranger, &acs, &response, &asked.relay_state).await, 400);
    assert!(last_failure(&one).starts_with("\"no_attempt\""), "{}", last_failure(&one));
    // Nor does an address in the place of the relay state lead anywhere.
    assert_status(&post_response(&visitor, &acs, &response, "https://evil.example/").await, 400);

    assert_status(&post_response(&visitor, &acs, &response, &asked.relay_state).await, 200);
    for _ in 0..2 {
        // The attempt is used up: a browser that is signed in goes on to the app, and no session
        // begins.
        let again = visitor
            .client
            .post(&acs)
            .form(&[("SAMLResponse", STANDARD.encode(&response)), ("RelayState", asked.relay_state.clone())]);
        let again = again.send().await.unwrap();
        assert_status(&again, 303);
        let landed = visitor.follow(location(&again).as_str()).await;
        assert_eq!(landed.url().as_str(), format!("{}/", one.origin("app")));
    }
    let (keeper, asked) = start_sign_in(&one).await;
    let response = provider.valid_response(&acs, AUDIENCE, &asked, Signed::Assertion, unchanged, unchanged);
    let form = [("SAMLResponse", STANDARD.encode(&response)), ("RelayState", asked.relay_state.clone())];
    // Brought to both nodes at once by the same browser, it is judged by one of them.
    let elsewhere = keeper.on_node(&two);
    let (here, there) = tokio::join!(
        keeper.client.post(&acs).form(&form).send(),
        elsewhere.client.post(&acs).form(&form).send()
    );
    let mut statuses = [here.unwrap().status().as_u16(), there.unwrap().status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 400]);
    one.kill();
    one.start();
    let after = keeper.client.post(&acs).form(&form).send().await.unwrap();
    assert_status(&after, 400);
    assert!(last_failure(&one).starts_with("\"replay\""), "{}", last_failure(&one));
    assert_eq!(one.audit("login").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_providers_response_is_none_of_anothers_and_equal_names_are_two_people() {
    let upstream = Upstream::start().await;
    let (corp, other) = (SamlProvider::new("corp"), SamlProvider::new("other"));
    let narthex = NarthexBuilder::new()
        .tables(&corp.toml(ENTITY_ID_TOML))
        .tables(&other.toml(ENTITY_ID_TOML))
        .route("app", upstream.port, "")
        .start();
    let begin_at = async |provider: &SamlProvider| {
        let visitor = new_visitor(&narthex);
        let page = visitor.follow(&format!("{}/", narthex.origin("app"))).await;
        let page = page.text().await.unwrap().replace("&amp;", "&").replace("&#38;", "&");
        let link =
            page.split("href=\"").find(|link| link.contains(&format!("identity_provider={}", provider.name)));
        let to = visitor.get(link.unwrap().split('"').next().unwrap()).await;
        let asked = crate::support::saml_provider::parse_request(location(&to).as_str());
        (visitor, asked)
    };
    // The other provider answers for this one: at this one's address, and at its own.
    for acs in [corp.acs(&narthex), other.acs(&narthex)] {
        let (visitor, asked) = begin_at(&corp).await;
        let response = other.valid_response(&acs, AUDIENCE, &asked, Signed::Both, unchanged, unchanged);
        assert_status(&post_response(&visitor, &acs, &response, &asked.relay_state).await, 400);
    }
    let reasons: Vec<String> =
        narthex.audit("login_failed").iter().map(|line| line["reason"].to_string()).collect();
    assert_eq!(reasons, ["\"signature\"", "\"other_provider\""]);

    for provider in [&corp, &other] {
        let (visitor, asked) = begin_at(provider).await;
        let acs = provider.acs(&narthex);
        let response = provider.valid_response(&acs, AUDIENCE, &asked, Signed::Both, unchanged, unchanged);
        assert_status(&post_response(&visitor, &acs, &response, &asked.relay_state).await, 200);
    }
    let seen = upstream.seen();
    assert_ne!(seen[0].claims()["sub"], seen[1].claims()["sub"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_calls_itself_another_one_signs_nobody_in_as_that_ones_people() {
    let upstream = Upstream::start().await;
    let (corp, mut partner) = (SamlProvider::new("corp"), SamlProvider::new("partner"));
    partner.entity_id = corp.entity_id.clone();
    partner.publish(&[&partner.key]);
    let start = |provider: &SamlProvider, database: &str| {
        let builder =
            NarthexBuilder::new().tables(&provider.toml(ENTITY_ID_TOML)).route("app", upstream.port, "");
        builder.postgres(database).start()
    };
    let database = Postgres::shared().database();
    let narthex = start(&corp, &database);
    assert_status(&sign_in(&narthex, &corp).await.1, 200);
    drop(narthex);
    let narthex = start(&partner, &database);
    assert_status(&sign_in(&narthex, &partner).await.1, 400);
    assert!(last_failure(&narthex).starts_with("\"issuer\""), "{}", last_failure(&narthex));
    // Its own people it may sign in.
    assert_status(&sign_in_with(&narthex, &partner, |text| text.replace(">alice<", ">bob<")).await.1, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_saml_made_is_never_one_of_a_provider_that_speaks_otherwise() {
    let upstream = Upstream::start().await;
    let builder =
        NarthexBuilder::new().postgres(&Postgres::shared().database()).route("app", upstream.port, "");
    let club = OpenIdProvider::start("club", &builder.callback("club"));
    // It says that it is the other one, which may not even be in the file yet.
    let mut corp = SamlProvider::new("corp");
    corp.entity_id = format!("http://127.0.0.1:{}", club.port);
    corp.publish(&[&corp.key]);
    let by_saml = || builder.clone().tables(&corp.toml(ENTITY_ID_TOML)).start();
    let by_openid = || builder.clone().tables(&club.toml("\"anyone\"")).start();

    let narthex = by_saml();
    assert_status(&sign_in(&narthex, &corp).await.1, 200);
    drop(narthex);
    let narthex = by_openid();
    let app = format!("{}/", narthex.origin("app"));
    assert_status(&Visitor::new(&narthex).sign_in(&app, "alice").await, 400);
    assert!(last_failure(&narthex).starts_with("\"issuer\""), "{}", last_failure(&narthex));
    assert_status(&Visitor::new(&narthex).sign_in(&app, "bob").await, 200);
    drop(narthex);
    let narthex = by_saml();
    assert_status(&sign_in_with(&narthex, &corp, |text| text.replace(">alice<", ">bob<")).await.1, 400);
    assert!(last_failure(&narthex).starts_with("\"issuer\""), "{}", last_failure(&narthex));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_providers_are_known_to_do_is_taken() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    let narthex = start_narthex(&provider, upstream.port, ENTITY_ID_TOML);
    // One attribute for each value, a name on a line of its own, and the text's own declaration.
    let twice = "<saml:Attribute Name=\"urn:groups\"><saml:AttributeValue>more</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>";
    let (_, landed, _) = sign_in_with(&narthex, &provider, |text| {
        text.replace("</saml:AttributeStatement>", twice).replace(">alice<", ">\n  alice\n  <")
    })
    .await;
    assert_eq!(landed.status(), 200, "{}", last_failure(&narthex));
    let claims = upstream.seen()[0].claims();
    assert_eq!(claims["cognito:groups"], serde_json::json!(["staff", "admins", "more"]));
    assert_eq!(claims["identities"][0]["userId"], "alice");

    let (visitor, asked) = start_sign_in(&narthex).await;
    let acs = provider.acs(&narthex);
    let response = provider.valid_response(&acs, AUDIENCE, &asked, Signed::Both, unchanged, unchanged);
    let declared = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{response}");
    assert_status(&post_response(&visitor, &acs, &declared, &asked.relay_state).await, 200);

    // An encrypted assertion whose namespaces stand around it.
    for signed in [Signed::Assertion, Signed::Response] {
        let (visitor, asked) = start_sign_in(&narthex).await;
        let mut assertion = provider.assertion(&acs, AUDIENCE, &asked);
        if signed == Signed::Assertion {
            assertion = provider.sign(&assertion);
        }
        let bare = assertion.replacen(&format!(" xmlns:saml=\"{SAML}\""), "", 1);
        let inner = encrypt_with_oaep_sha256(&bare, &narthex).await;
        let response = provider.response(&acs, &asked, &inner);
        let response =
            response.replacen("<samlp:Response ", &format!("<samlp:Response xmlns:saml=\"{SAML}\" "), 1);
        let response = if signed == Signed::Response { provider.sign(&response) } else { response };
        let landed = post_response(&visitor, &acs, &response, &asked.relay_state).await;
        assert_eq!(landed.status(), 200, "{signed:?}: {}", last_failure(&narthex));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_begins_by_itself_only_where_the_file_lets_it() {
    let upstream = Upstream::start().await;
    let provider = SamlProvider::new("corp");
    for (more, status) in [("", 400), ("idp_init = true", 200)] {
        let narthex = start_narthex(&provider, upstream.port, &format!("{ENTITY_ID_TOML}\n{more}"));
        let visitor = new_visitor(&narthex);
        let acs = provider.acs(&narthex);
        let nobody = SamlRequest { id: "none".into(), relay_state: String::new(), request: String::new() };
        let unasked = |text: String| text.replace(" InResponseTo=\"none\"", "");
        let response = provider.valid_response(&acs, AUDIENCE, &nobody, Signed::Both, unasked, unasked);
        assert_status(&post_response(&visitor, &acs, &response, "anything").await, status);
        // What answers somebody's request is not for those who did not ask.
        let (_, asked) = start_sign_in(&narthex).await;
        let response = provider.valid_response(&acs, AUDIENCE, &asked, Signed::Both, unchanged, unchanged);
        assert_status(&post_response(&visitor, &acs, &response, "").await, 400);
        let check = if status == 200 { "\"in_response_to\"" } else { "\"idp_init_off\"" };
        assert!(last_failure(&narthex).starts_with(check), "{}", last_failure(&narthex));
        // However often any page has a browser do that, its address may still sign in. What costs
        // time is refused.
        let mut last = 400;
        for _ in 0..40 {
            last = visitor
                .client
                .post(&acs)
                .form(&[("SAMLResponse", "x")])
                .send()
                .await
                .unwrap()
                .status()
                .as_u16();
        }
        assert_eq!(last, if status == 200 { 429 } else { 400 });
        let (other, asked) = start_sign_in(&narthex).await;
        let response = provider.valid_response(&acs, AUDIENCE, &asked, Signed::Both, unchanged, unchanged);
        assert_status(&post_response(&other, &acs, &response, &asked.relay_state).await, 200);
        // Signed in at the pool, the app needs no more of the provider.
        let app = visitor.get(&format!("{}/", narthex.origin("app"))).await;
        let asked = visitor.get(location(&app).as_str()).await;
        let signed_in = location(&asked).as_str().starts_with(&narthex.origin("app"));
        assert_eq!(signed_in, status == 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_only_so_many_messages_verified_at_a_time() {
    let upstream = Upstream::start().await;
    // It takes connections and never answers, so that messages wait for its metadata.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metadata = format!("http://{}/metadata", silent.local_addr().unwrap());
    let provider = SamlProvider::new("corp");
    let tables = provider.toml(&format!("{ENTITY_ID_TOML}\nidp_init = true"));
    let tables = tables.replace(provider.metadata_file().to_str().unwrap(), &metadata);
    let narthex = NarthexBuilder::new().tables(&tables).route("app", upstream.port, "").start();
    let response =
        base64(&format!("<samlp:Response xmlns:samlp=\"urn:x\">{}</samlp:Response>", "x".repeat(100)));
    let visitor = new_visitor(&narthex);
    let send = |path| {
        let address = format!("{}/saml2/{path}/corp", narthex.origin("auth"));
        visitor.client.post(&address).form(&[("SAMLResponse", &response)]).send()
    };
    let paths = ["idpresponse"; 9].into_iter().chain(["logout"; 8]);
    let mut sent: FuturesUnordered<_> = paths.map(send).collect();
    let begun = std::time::Instant::now();
    assert_status(&sent.next().await.unwrap().unwrap(), 503);
    // The provider's time to answer is not over.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}
