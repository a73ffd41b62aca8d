//! Providers as they really are: what they send in odd forms is read, and the strict neighbour of each is refused.

use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::odd_provider::{OddProvider, Oddity};
use crate::support::parties::provider_toml;
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, is};
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
            self.provider.bend(bend);
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
    let now = crate::bearer::now();
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
        scene.provider.bend(|oddity| {
            oddity.claims = json!({ "sub": sub });
            oddity.user_info = json!({ "sub": "12345" });
        });
        is(&scene.sign_in().await, 200);
    }
    let subjects: Vec<_> =
        scene.upstream.seen().iter().rev().take(2).map(|seen| seen.claims()["sub"].clone()).collect();
    assert_eq!(subjects[0], subjects[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_issued_in_the_future_is_refused_with_the_seconds() {
    let scene = scene("", "").await;
    let now = crate::bearer::now();
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
    let now = crate::bearer::now();
    let forged = scene.provider.forge(&json!({"sub": "ann-1", "iss": at, "aud": "narthex"}));
    let wrong = Some((400, "userinfo"));
    scene
        .expect(vec![
            refuses(401, None),
            refuses(403, None),
            answers(500, "<html>", (502, "provider_unavailable")),
            answers(404, "<html>", (502, "provider_answer_unreadable")),
            answers(200, "<html>", (502, "provider_answer_unreadable")),
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
    is(&silent.sign_in().await, 200);
    assert!(silent.provider.received("/userinfo").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusing_user_info_endpoint_hides_no_claim_that_decides() {
    let tables = "[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\n\
                  authenticated_role = \"all\"\n[identity_pool.principal_tags]\nteam = \"locale\"\n";
    let (provider, upstream) = (OddProvider::start().await, Upstream::start().await);
    let narthex = NarthexBuilder::new()
        .file("all.json", crate::roles::allows(&["*"]).to_string())
        .tables(&provider_toml("corp", provider.port(), "\"anyone\""))
        .tables(tables)
        .route("app", upstream.port, "name = \"app\"\naccess = \"policy\"")
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
            ("the ID token tells", refuses(json!({"locale": "en"})), None),
            ("nobody tells", refuses(json!({})), Some((400, "unmappable"))),
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
    scene.provider.bend(|oddity| drop(oddity.answers.insert("/token", (200, "text/html", "<html>".into()))));
    let page = scene.sign_in().await.text().await.unwrap();
    assert!(
        page.contains("The sign-in provider&#39;s answer cannot be read")
            || page.contains("provider's answer cannot be read"),
        "{page}"
    );
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
    provider.bend(|oddity| {
        oddity.document = json!({
            "subject_types_supported": null, "id_token_signing_alg_values_supported": null,
            "response_types_supported": null, "userinfo_endpoint": "", "end_session_endpoint": "", "op_policy_uri": "",
        });
    });
    is(&start(&provider, &at, "").await.sign_in().await, 200);

    // The document is elsewhere, and its address redirects.
    let issuer = format!("{at}/4c2f1234/v2.0/");
    provider.bend(|oddity| {
        oddity.issuer = Some(issuer.clone());
        oddity.redirects.insert("/old", format!("{at}/b2c/.well-known/openid-configuration"));
    });
    let there = format!("discovery_url = \"{at}/old\"\n");
    is(&start(&provider, &issuer, &there).await.sign_in().await, 200);
    // The issuer is compared all the same.
    let other = start(&provider, &format!("{at}/4c2f1234/v2.0"), &there).await;
    is(&other.sign_in().await, 502);
    other.narthex.wait_for_log("its discovery document says the issuer is");
    // A redirect leads to no place that is not safe, and not on for ever.
    for (to, why) in
        [("http://idp.example/x", "that is not an https address"), ("/old", "too many redirects")]
    {
        let issuer = issuer.clone();
        provider.bend(|oddity| {
            oddity.issuer = Some(issuer);
            oddity.redirects.insert("/old", to.to_owned());
        });
        let lost = start(&provider, &format!("{at}/4c2f1234/v2.0/"), &there).await;
        is(&lost.sign_in().await, 502);
        lost.narthex.wait_for_log(why);
    }
}
