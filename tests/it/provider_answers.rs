//! Unusual answers of providers: the forms that are read, and for each a stricter neighbor that is
//! refused.

use crate::support::config_errors::assert_each_reported;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::odd_provider::{OddProvider, Oddity};
use crate::support::parties::provider_toml;
use crate::support::policies::allow_policy;
use crate::support::time::unix_seconds;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, location};
use serde_json::{Value, json};
use std::sync::Arc;

struct Scene {
    provider: Arc<OddProvider>,
    narthex: Narthex,
    upstream: Upstream,
}

/// A provider without oddities, and keys of `[[provider]]` beside the usual ones.
async fn scene(keys: &str, tables: &str) -> Scene {
    let (provider, upstream) = (OddProvider::start().await, Upstream::start().await);
    let narthex = NarthexBuilder::new()
        .tables(&format!("{}{keys}", provider_toml("corp", provider.port(), "\"anyone\"")))
        .tables(tables)
        .route("app", upstream.port, "")
        .start();
    Scene { provider, narthex, upstream }
}

impl Scene {
    async fn sign_in(&self) -> reqwest::Response {
        Visitor::new(&self.narthex).follow(&format!("{}/", self.narthex.origin("app"))).await
    }

    /// Signs in against each oddity; where a check is named, it must be the one that refuses.
    async fn expect(&self, cases: Vec<Case>) {
        for (name, bend, check) in cases {
            self.provider.configure(bend);
            let failed = self.narthex.audit("login_failed").len();
            let landed = self.sign_in().await;
            let failures = self.narthex.audit("login_failed");
            match check {
                None => {
                    let detail = failures.get(failed).map(ToString::to_string).unwrap_or_default();
                    assert_eq!(landed.status(), 200, "{name}: {detail}");
                }
                Some((status, reason)) => {
                    assert_eq!(landed.status(), status, "{name} is taken");
                    assert_eq!(failures[failed]["reason"], reason, "{name}: {}", failures[failed]["detail"]);
                }
            }
        }
    }
}

type Case = (&'static str, Box<dyn FnOnce(&mut Oddity)>, Option<(u16, &'static str)>);

fn claims(name: &'static str, claims: Value, check: Option<(u16, &'static str)>) -> Case {
    (name, Box::new(|oddity| oddity.claims = claims), check)
}

fn token(name: &'static str, token: Value, check: Option<(u16, &'static str)>) -> Case {
    (name, Box::new(|oddity| oddity.token = token), check)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_may_be_for_others_as_well_and_never_for_others_alone() {
    let lists = |azp: Value| json!({ "aud": ["narthex", "3298366@project"], "azp": azp });
    scene("", "")
        .await
        .expect(vec![
            claims("several audiences", lists(Value::Null), None),
            claims("several audiences, and we asked for it", lists(json!("narthex")), None),
            claims("several audiences, and another asked for it", lists(json!("other")), Some((400, "azp"))),
            claims("the audience of another", json!({"aud": "other"}), Some((400, "aud"))),
            claims("the audiences of others", json!({"aud": ["a", "b"]}), Some((400, "aud"))),
            claims("an audience like ours", json!({"aud": "Narthex"}), Some((400, "aud"))),
            claims("ours within another text", json!({"aud": "a narthex b"}), Some((400, "aud"))),
            claims("no audience", json!({"aud": null}), Some((400, "aud"))),
            claims("an audience that is no text", json!({"aud": {"narthex": true}}), Some((400, "aud"))),
        ])
        .await;
    scene("trusted_audiences = [\"account\"]\n", "")
        .await
        .expect(vec![
            claims("a trusted audience", json!({"aud": ["narthex", "account"]}), None),
            claims("a trusted party", json!({"aud": ["narthex"], "azp": "account"}), None),
            claims("an audience that is not trusted", json!({"aud": ["narthex", "b"]}), Some((400, "aud"))),
            claims("a party that is not trusted", json!({"azp": "b"}), Some((400, "azp"))),
            claims("trusted audiences alone", json!({"aud": "account"}), Some((400, "aud"))),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_of_odd_types_reject_nobody() {
    let scene = scene("", "").await;
    let now = unix_seconds();
    scene
        .expect(vec![
            claims("amr as a text", json!({"amr": "pwd"}), None),
            claims("acr as a number", json!({"acr": 1}), None),
            claims("auth_time as a text", json!({"auth_time": (now - 60).to_string()}), None),
            claims("auth_time in words", json!({"auth_time": "yesterday"}), None),
            claims("an address as a text", json!({"address": "Main St 1"}), None),
            claims("a number for a birthdate", json!({"birthdate": 1990}), None),
            claims("an object for a locale", json!({"locale": {"country": "US"}}), None),
            claims("email_verified as a number", json!({"email_verified": 1}), None),
            claims("updated_at as an object", json!({"updated_at": {}}), None),
            claims("times as texts", json!({"exp": (now + 300).to_string(), "iat": now.to_string()}), None),
            claims("nbf that is null", json!({"nbf": null}), None),
            claims("expired, as a text", json!({"exp": (now - 70).to_string()}), Some((400, "exp or iat"))),
            claims("an end in words", json!({"exp": "tomorrow"}), Some((400, "exp or iat"))),
            claims("no end", json!({"exp": null}), Some((400, "exp or iat"))),
            claims("no issue", json!({"iat": null}), Some((400, "exp or iat"))),
            claims("a nonce as a list", json!({"nonce": ["n"]}), Some((400, "nonce"))),
            claims("no nonce", json!({"nonce": null}), Some((400, "nonce"))),
            claims("an issuer as a list", json!({"iss": [scene.provider.address]}), Some((400, "issuer"))),
            claims(
                "an issuer with a slash more",
                json!({"iss": format!("{}/", scene.provider.address)}),
                Some((400, "issuer")),
            ),
            claims("a subject as a list", json!({"sub": ["ann-1"]}), Some((400, "sub"))),
        ])
        .await;
    // An account is the same, whether its number is written as one or as a text.
    for sub in [json!(12345), json!("12345")] {
        scene.provider.configure(|oddity| {
            oddity.claims = json!({ "sub": sub });
            oddity.user_info = json!({ "sub": "12345" });
        });
        assert_status(&scene.sign_in().await, 200);
    }
    let subjects: Vec<_> =
        scene.upstream.seen().iter().rev().take(2).map(|seen| seen.claims()["sub"].clone()).collect();
    assert_eq!(subjects[0], subjects[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_issued_in_the_future_is_refused_with_the_seconds() {
    let scene = scene("", "").await;
    let now = unix_seconds();
    scene.expect(vec![claims("the future", json!({"iat": now + 600}), Some((400, "exp or iat")))]).await;
    let detail = scene.narthex.audit("login_failed")[0]["detail"].as_str().unwrap().to_owned();
    let seconds: i64 = detail.split("issued ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((590..=600).contains(&seconds) && detail.contains("help: synchronize the clocks"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_cannot_be_taken_over_is_left_out_and_logged() {
    let scene = scene("", "").await;
    let long = format!("data:image/png;base64,{}", "A".repeat(3000));
    scene
        .expect(vec![
            claims("a long picture", json!({"picture": long, "name": "A\tnn", "email": "ann"}), None),
            claims("1200 groups", json!({"groups": vec!["g"; 1200]}), None),
            claims("a long group", json!({"groups": ["staff", "g".repeat(300)]}), None),
        ])
        .await;
    let told = scene.upstream.seen().last().unwrap().claims();
    assert_eq!((&told["cognito:groups"], &told["picture"]), (&json!(["staff"]), &Value::Null));
    scene.narthex.wait_for_log("a claim was left out: the claim for `picture` is too long");
    scene.narthex.wait_for_log("a claim was left out: the e-mail address is not one");
    let strict = self::scene("required_attributes = [\"picture\"]\n", "").await;
    strict.expect(vec![claims("a long picture", json!({"picture": long}), Some((400, "unmappable")))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn user_info_may_refuse_be_left_alone_or_be_signed() {
    let refuses = |status, check| -> Case {
        let bend =
            move |oddity: &mut Oddity| {
                drop(oddity.answers.insert(
                    "/userinfo",
                    (status, "application/json", "{\"error\": \"invalid_token\"}".into()),
                ));
            };
        ("a refusal", Box::new(bend), check)
    };
    let answers = |status, body: &'static str, check| -> Case {
        let bend = move |oddity: &mut Oddity| {
            drop(oddity.answers.insert("/userinfo", (status, "text/html", body.into())))
        };
        ("another answer", Box::new(bend), Some(check))
    };
    let signed = |name, user_info: Value, check| -> Case {
        (name, Box::new(|oddity| (oddity.signed_user_info, oddity.user_info) = (true, user_info)), check)
    };
    let scene = scene("", "").await;
    let at = scene.provider.address.clone();
    let now = unix_seconds();
    let forged = scene.provider.forge(&json!({"sub": "ann-1", "iss": at, "aud": "narthex"}));
    let wrong = Some((400, "userinfo"));
    scene
        .expect(vec![
            refuses(401, None),
            refuses(403, None),
            answers(500, "<html>", (502, "provider_unavailable")),
            answers(302, "", (502, "provider_answer_unreadable")),
            refuses(404, None),
            refuses(405, None),
            answers(200, "<html>", (502, "provider_answer_unreadable")),
            answers(200, "{\"sub\":\"ann-1\",\"sub\":\"ann-1\"}", (502, "provider_answer_unreadable")),
            signed("signed", json!({"iss": at, "aud": "narthex"}), None),
            signed("signed for several", json!({"iss": at, "aud": ["x", "narthex"]}), None),
            signed("signed without issuer", json!({}), None),
            signed("signed for another client", json!({"iss": at, "aud": "other"}), wrong),
            signed(
                "signed by another issuer",
                json!({"iss": "https://other.example", "aud": "narthex"}),
                wrong,
            ),
            signed("signed for another person", json!({"sub": "bob"}), wrong),
            signed("signed long ago", json!({"exp": now - 300}), wrong),
            signed("signed for later", json!({"nbf": now + 3600}), wrong),
            signed("signed in the future", json!({"iat": now + 3600}), wrong),
            signed("a signed event", json!({"events": {}}), wrong),
            (
                "signed by another key",
                Box::new(move |oddity| {
                    drop(oddity.answers.insert("/userinfo", (200, "application/jwt", forged)))
                }),
                wrong,
            ),
        ])
        .await;
    scene.narthex.wait_for_log("the UserInfo endpoint refused the access token");
    let silent = self::scene("userinfo = false\n", "").await;
    assert_status(&silent.sign_in().await, 200);
    assert!(silent.provider.received("/userinfo").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusing_user_info_endpoint_hides_no_claim_that_decides() {
    let tables = "[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\n\
                  authenticated_role = \"all\"\n[identity_pool.principal_tags]\nteam = \"locale\"\n";
    let (provider, upstream) = (OddProvider::start().await, Upstream::start().await);
    let narthex = NarthexBuilder::new()
        .file("all.json", allow_policy(&["*"]).to_string())
        .tables(&provider_toml("corp", provider.port(), "\"anyone\""))
        .tables(tables)
        .route("app", upstream.port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    let scene = Scene { provider, narthex, upstream };
    let refuses = |claims: Value| -> Box<dyn FnOnce(&mut Oddity)> {
        Box::new(move |oddity| {
            oddity.claims = claims;
            oddity.answers.insert("/userinfo", (403, "application/json", "{}".into()));
        })
    };
    scene
        .expect(vec![
            ("the ID token has it", refuses(json!({"locale": "en"})), None),
            ("no document has it", refuses(json!({})), Some((400, "unmappable"))),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_accounts_lock_out_no_address() {
    let (provider, upstream) = (OddProvider::start().await, Upstream::start().await);
    let narthex = NarthexBuilder::new()
        .tables(&provider_toml("corp", provider.port(), "{ domains = [\"corp.example\"] }"))
        .route("app", upstream.port, "")
        .start();
    let scene = Scene { provider, narthex, upstream };
    scene.provider.configure(|oddity| oddity.claims = json!({"email": "ann@other.example"}));
    for _ in 0..35 {
        assert_status(&scene.sign_in().await, 403);
    }
    scene.provider.configure(|oddity| oddity.claims = json!({}));
    assert_status(&scene.sign_in().await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_opens_a_route_is_read_whole_or_not_at_all() {
    let (provider, upstream) = (OddProvider::start().await, Upstream::start().await);
    let route = |name, list| (name, upstream.port, list);
    let narthex =
        [route("app", "allowed_groups = [\"staff\"]"), route("mail", "allowed_emails = [\"a@b.example\"]")]
            .into_iter()
            .fold(
                NarthexBuilder::new().tables(&provider_toml("corp", provider.port(), "\"anyone\"")),
                |builder, (name, port, list)| builder.route(name, port, list),
            )
            .start();
    let scene = Scene { provider, narthex, upstream };
    let unmappable = Some((400, "unmappable"));
    let withheld: Box<dyn FnOnce(&mut Oddity)> = Box::new(|oddity| {
        oddity.claims = json!({"groups": ["staff"], "email": null});
        oddity.answers.insert("/userinfo", (403, "application/json", "{}".into()));
    });
    scene
        .expect(vec![
            claims("all groups", json!({"groups": ["staff"]}), None),
            claims("a list in a list", json!({"groups": [["staff"]]}), unmappable),
            claims("a control character", json!({"groups": ["sta\0ff", "staff"]}), unmappable),
            claims("null beside a name", json!({"groups": [null, "staff"]}), unmappable),
            ("an address that UserInfo refuses", withheld, unmappable),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_response_may_lack_what_is_not_used() {
    scene("", "")
        .await
        .expect(vec![
            token("no token_type", json!({"token_type": null}), None),
            token("scopes as a list", json!({"scope": ["openid", "email"]}), None),
            token("a lifetime as a text", json!({"expires_in": "300"}), None),
            token("a lifetime in words", json!({"expires_in": "long"}), None),
            token("an empty refresh token", json!({"refresh_token": ""}), None),
            token(
                "no access token",
                json!({"access_token": null}),
                Some((502, "provider_answer_unreadable")),
            ),
            token("no ID token", json!({"id_token": null}), Some((400, "id token"))),
            ("no key id", Box::new(|oddity| oddity.no_kid = true), None),
            ("an access token for an ID token", Box::new(|oddity| oddity.typ = "at+jwt"), Some((400, "typ"))),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_read_is_called_that() {
    let answers = |status, body: &'static str, reason| -> Case {
        let bend = move |oddity: &mut Oddity| {
            drop(oddity.answers.insert("/token", (status, "text/html", body.into())))
        };
        (body, Box::new(bend), Some((502, reason)))
    };
    let scene = scene("", "").await;
    scene
        .expect(vec![
            answers(200, "<html>", "provider_answer_unreadable"),
            answers(302, "", "provider_answer_unreadable"),
            answers(404, "<html>", "provider_answer_unreadable"),
            answers(503, "<html>", "provider_unavailable"),
            answers(429, "slow down", "provider_unavailable"),
        ])
        .await;
    let details: Vec<_> =
        scene.narthex.audit("login_failed").iter().map(|failed| failed["detail"].to_string()).collect();
    assert!(details[0].contains("answer cannot be read") && details[0].contains("200 OK"), "{details:?}");
    assert!(details[2].contains("404 Not Found") && details[3].contains("503"), "{details:?}");
    scene
        .provider
        .configure(|oddity| drop(oddity.answers.insert("/token", (200, "text/html", "<html>".into()))));
    let page = scene.sign_in().await.text().await.unwrap();
    assert!(page.contains("The sign-in provider sent an invalid response"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discovery_document_may_lack_what_is_not_used_and_stand_elsewhere() {
    let start = async |provider: &Arc<OddProvider>, issuer: &str, keys: &str| {
        let upstream = Upstream::start().await;
        let narthex = NarthexBuilder::new()
            .tables(&format!(
                "[[provider]]\nname = \"corp\"\ntype = \"oidc\"\nissuer = \"{issuer}\"\nclient_id = \"narthex\"\n\
                 client_secret = \"s\"\nallow = \"anyone\"\n{keys}"
            ))
            .route("app", upstream.port, "")
            .start();
        Scene { provider: provider.clone(), narthex, upstream }
    };
    let provider = OddProvider::start().await;
    let at = provider.address.clone();
    provider.configure(|oddity| {
        oddity.document = json!({
            "subject_types_supported": null, "id_token_signing_alg_values_supported": null,
            "response_types_supported": null, "userinfo_endpoint": "", "end_session_endpoint": "", "op_policy_uri": "",
        });
    });
    assert_status(&start(&provider, &at, "").await.sign_in().await, 200);

    // The document is elsewhere, and its address redirects.
    let issuer = format!("{at}/4c2f1234/v2.0/");
    provider.configure(|oddity| {
        oddity.issuer = Some(issuer.clone());
        oddity.redirects.insert("/old", format!("{at}/b2c/.well-known/openid-configuration"));
    });
    let there = format!("discovery_url = \"{at}/old\"\n");
    assert_status(&start(&provider, &issuer, &there).await.sign_in().await, 200);
    // The issuer is compared all the same.
    let other = start(&provider, &format!("{at}/4c2f1234/v2.0"), &there).await;
    assert_status(&other.sign_in().await, 502);
    other.narthex.wait_for_log("its discovery document says the issuer is");
    // A redirect leads to no place that is not safe, and not on for ever.
    for (to, why) in
        [("http://idp.example/x", "that is not an https address"), ("/old", "too many redirects")]
    {
        let issuer = issuer.clone();
        provider.configure(|oddity| {
            oddity.issuer = Some(issuer);
            oddity.redirects.insert("/old", to.to_owned());
        });
        let lost = start(&provider, &format!("{at}/4c2f1234/v2.0/"), &there).await;
        assert_status(&lost.sign_in().await, 502);
        lost.narthex.wait_for_log(why);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_authenticates_as_the_file_or_the_metadata_says() {
    let start = async |provider: &Arc<OddProvider>, keys: &str| {
        let upstream = Upstream::start().await;
        let (pem, public) = crate::support::stand_in::ec_key();
        let narthex = NarthexBuilder::new()
            .file("client.pem", pem)
            .tables(&format!(
                "[[provider]]\nname = \"corp\"\ntype = \"oidc\"\nissuer = \"{}\"\nclient_id = \"narthex\"\nallow = \"anyone\"\n{keys}\n",
                provider.address
            ))
            .route("app", upstream.port, "")
            .start();
        (Scene { provider: provider.clone(), narthex, upstream }, public)
    };
    let provider = OddProvider::start().await;
    let both = json!(["client_secret_basic", "client_secret_post"]);
    let odd = "client_secret = \"a+b/c=:%$d and e\"\n";
    let basic = "a%2Bb%2Fc%3D%3A%25%24d+and+e";
    for (keys, supported, sends_basic) in [
        ("client_secret = \"plain\"\n".to_owned(), both.clone(), Some("plain")),
        ("client_secret = \"plain\"\n".to_owned(), json!(["client_secret_post"]), None),
        // What servers decode in different ways is not sent in that way.
        (odd.to_owned(), both.clone(), None),
        (odd.to_owned(), json!(["client_secret_basic"]), Some(basic)),
        (format!("{odd}token_endpoint_auth_method = \"client_secret_basic\"\n"), both.clone(), Some(basic)),
        (format!("{odd}token_endpoint_auth_method = \"client_secret_post\"\n"), Value::Null, None),
    ] {
        provider.configure(|oddity| {
            oddity.document = json!({"token_endpoint_auth_methods_supported": supported})
        });
        let (scene, _) = start(&provider, &keys).await;
        assert_status(&scene.sign_in().await, 200);
        let request = provider.received("/token").pop().unwrap();
        let header = sends_basic.map(|secret| {
            use base64::Engine as _;
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("narthex:{secret}")))
        });
        assert_eq!(request.authorization, header, "{keys}");
        assert_eq!(request.form.contains_key("client_secret"), sends_basic.is_none(), "{keys}");
    }
    provider.configure(|_| ());
    let (scene, _) = start(&provider, "token_endpoint_auth_method = \"none\"\n").await;
    assert_status(&scene.sign_in().await, 200);
    let request = provider.received("/token").pop().unwrap();
    assert_eq!((request.authorization, request.form.get("client_secret")), (None, None));
    assert_eq!(request.form["client_id"], "narthex");

    let thumbprint = "AB:".repeat(19) + "AB";
    let keys = format!(
        "token_endpoint_auth_method = \"private_key_jwt\"\nprivate_key = {{ file = \"client.pem\" }}\nprivate_key_id = \"k1\"\n\
         private_key_thumbprint = \"{thumbprint}\"\n"
    );
    let (scene, public) = start(&provider, &keys).await;
    assert_status(&scene.sign_in().await, 200);
    assert_status(&scene.sign_in().await, 200);
    let requests = provider.received("/token");
    let [.., first, second] = requests.as_slice() else { panic!() };
    assert_eq!((&first.authorization, first.form.get("client_secret")), (&None, None));
    assert_eq!(first.form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let assertion = &first.form["client_assertion"];
    let header = jsonwebtoken::decode_header(assertion).unwrap();
    assert_eq!(
        (header.kid.as_deref(), header.x5t.as_deref()),
        (Some("k1"), Some("q6urq6urq6urq6urq6urq6urq6s"))
    );
    // The key of the file signed it: the raw point follows the 26 bytes of the
    // SubjectPublicKeyInfo's beginning.
    let (message, signature) = assertion.rsplit_once('.').unwrap();
    let signature = {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).unwrap()
    };
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED,
        &public[26..],
    );
    key.verify(message.as_bytes(), &signature).unwrap();
    let claims = |assertion: &str| -> Value {
        use base64::Engine as _;
        let payload =
            base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap());
        serde_json::from_slice(&payload.unwrap()).unwrap()
    };
    let (one, other) = (claims(assertion), claims(&second.form["client_assertion"]));
    assert_eq!((&one["iss"], &one["sub"]), (&json!("narthex"), &json!("narthex")));
    assert_eq!(one["aud"], format!("{}/token", provider.address));
    assert_eq!(one["exp"].as_i64().unwrap() - one["iat"].as_i64().unwrap(), 300);
    assert_ne!(one["jti"], other["jti"]);
    assert!(!scene.narthex.log().contains(assertion));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_trust_the_authorities_that_the_file_names_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["provider", "other"] {
        crate::support::certificates::make(&at(name), &at("key"), name, "localhost", 30);
        std::fs::rename(at("key"), at(&format!("{name}.key"))).unwrap();
    }
    let provider = OddProvider::start_with_tls(&at("provider"), &at("provider.key")).await;
    for (ca, status) in [(Some("provider"), 200), (Some("other"), 502), (None, 502)] {
        let upstream = Upstream::start().await;
        let ca = ca.map_or(String::new(), |name| format!("ca = \"{}\"\n", at(name).display()));
        let narthex = NarthexBuilder::new()
            .tables(&format!(
                "[[provider]]\nname = \"corp\"\ntype = \"oidc\"\nissuer = \"{}\"\nclient_id = \"narthex\"\nallow = \"anyone\"\n{ca}",
                provider.address
            ))
            .route("app", upstream.port, "")
            .start();
        // The browser's own steps there are of no matter: the provider's page is reached, or none.
        let visitor = Visitor::new(&narthex);
        let begun = visitor.get(&format!("{}/", narthex.origin("app"))).await;
        let begun = visitor.get(location(&begun).as_str()).await;
        match status {
            200 => assert!(location(&begun).as_str().starts_with(&provider.address)),
            status => assert_status(&begun, status),
        }
    }
}

const GOOD: &str = r#"public_url = "https://auth.example.com"

[[provider]]
name = "corp"
type = "oidc"
issuer = "https://idp.example.com"
discovery_url = "https://inner.example.com/.well-known/openid-configuration"
client_id = "narthex"
client_secret = "secret"
token_endpoint_auth_method = "client_secret_post"
userinfo = false
trusted_audiences = ["account"]
allow = "anyone"

[[route]]
host = "app.example.com"
upstream = "http://127.0.0.1:3000"
"#;

#[test]
fn what_is_wrong_about_a_provider_is_told() {
    let secret = "client_secret = \"secret\"\ntoken_endpoint_auth_method = \"client_secret_post\"\n";
    assert_each_reported(
        GOOD,
        &[
            ("https://inner", "http://inner", "is not https"),
            ("userinfo = false", "userinfo = \"no\"", "`userinfo` is a string"),
            (
                "\"client_secret_post\"",
                "\"client_secret_jwt\"",
                "`token_endpoint_auth_method` cannot be \"client_secret_jwt\"",
            ),
            ("\"client_secret_post\"", "\"none\"", "`client_secret` is not used"),
            ("\"client_secret_post\"", "\"private_key_jwt\"", "`private_key` is missing"),
            ("client_secret = \"secret\"\n", "", "`client_secret` is missing"),
            ("client_secret = \"secret\"", "private_key = \"x\"", "`private_key` is not used"),
            (secret, "private_key = \"x\"\n", "the value is not a private key"),
            (
                secret,
                "private_key = \"-----BEGIN PRIVATE KEY-----\"\nprivate_key_thumbprint = \"AB\"\n",
                "is not the thumbprint of a certificate",
            ),
            (
                secret,
                "private_key = \"-----BEGIN PRIVATE KEY-----\"\nclient_secret = \"s\"\n",
                "`client_secret` is not used beside a private key",
            ),
            ("userinfo = false", "ca = \"/nonexistent/ca.pem\"", "cannot read `/nonexistent/ca.pem`"),
            ("userinfo = false", "ca = \"/etc/hostname\"", "contains no certificates"),
        ],
    );
}

#[test]
fn github_has_its_api_at_another_place_for_each_kind_of_host() {
    let endpoints = |base: &str| {
        let text = format!(
            "public_url = \"https://auth.example.com\"\n[[provider]]\ntype = \"github\"\nclient_id = \"c\"\nclient_secret = \"s\"\n\
             allow = \"anyone\"\n{base}\n"
        );
        let config =
            narthex::config::Config::parse(&text, "narthex.toml", std::path::Path::new("/tmp"), &|_| None);
        let config = config.unwrap();
        let narthex::config::Kind::OAuth2(settings) = &config.providers[0].kind else {
            panic!("GitHub speaks OAuth 2.0")
        };
        [settings.token_endpoint.to_string(), settings.userinfo_endpoint.to_string()]
    };
    for (base, token, user) in [
        ("", "https://github.com/login/oauth/access_token", "https://api.github.com/user"),
        (
            "base_url = \"https://git.corp.example\"",
            "https://git.corp.example/login/oauth/access_token",
            "https://git.corp.example/api/v3/user",
        ),
        (
            "base_url = \"https://octo.ghe.com\"",
            "https://octo.ghe.com/login/oauth/access_token",
            "https://api.octo.ghe.com/user",
        ),
        (
            "base_url = \"https://octo.ghe.com.example\"",
            "https://octo.ghe.com.example/login/oauth/access_token",
            "https://octo.ghe.com.example/api/v3/user",
        ),
    ] {
        assert_eq!(endpoints(base), [token, user], "{base}");
    }
}
