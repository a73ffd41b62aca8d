//! Claims of bearer tokens: roles, tags and times, tokens of workloads, SVIDs.

use crate::support::narthex::NarthexBuilder;
use crate::support::policies::allow_policy;
use crate::support::time::unix_seconds;
use crate::support::token_issuer::{Issuer, Key};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status, get_with_token};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_gets_its_role_by_rules_and_is_judged_each_time() {
    let issuer = Issuer::start("EdDSA").await;
    let upstream = Upstream::start().await;
    let roles = "[[role]]\nname = \"writer\"\npolicies = [\"writer.json\"]\n[[identity_pool]]\nname = \"main\"\n\
                 [identity_pool.principal_tags]\ncity = \"city\"\ndesk = \"desk\"\nteam = \"team\"\nzone = \"zone\"\n\
                 [[identity_pool.role_mapping]]\nprovider = \"api\"\ntype = \"rules\"\nambiguous = \"deny\"\n\
                 rules = [{ claim = \"client_id\", match = \"Equals\", value = \"robot\", role = \"writer\" }]\n";
    let keys = json!({"keys": [issuer.key.jwk()]}).to_string();
    let narthex = NarthexBuilder::new()
        .file(
            "writer.json",
            allow_policy(&["*/teams/${aws:PrincipalTag/team}/*", "*/own/${aws:username}/*"]).to_string(),
        )
        .file("keys.json", keys)
        .tables(&issuer.toml("jwks = \"keys.json\""))
        .tables(roles)
        .route("app", upstream.port, "bearer = true\nname = \"photos\"\naccess = \"policy\"")
        .start();
    let client = Visitor::new(&narthex).client;
    let status = async |token: &str, path: &str| {
        let url = format!("{}{path}", narthex.origin("app"));
        client.post(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let robot = json!({"client_id": "robot", "city": "Zürich", "team": "red", "zone": "9"});
    let robot = issuer.token(&robot);
    assert_eq!(status(&robot, "/teams/red/notes").await, 200);
    let told = upstream.seen().pop().unwrap().claims();
    assert_eq!(told["role"], "arn:aws:iam::123456789012:role/writer");
    assert_eq!(told["tags"], json!({"city": "Zürich", "team": "red", "zone": "9"}));
    // A name is one segment of a path: one that holds a slash does not reach into what is
    // another's.
    let named = |name: &str| issuer.token(&json!({"client_id": "robot", "team": "red", "sub": name}));
    assert_eq!(status(&named("ann"), "/teams/red/notes").await, 200);
    let username = upstream.seen().pop().unwrap().claims()["cognito:username"].as_str().unwrap().to_owned();
    assert_eq!(status(&named("ann"), &format!("/own/{username}/private/x")).await, 200);
    assert_eq!(status(&named("ann/private"), &format!("/own/{username}/private/x")).await, 403);
    // What it would be can be explained beforehand.
    std::fs::write(narthex.folder().join("robot.jwt"), &robot).unwrap();
    let url = format!("{}/teams/red/notes", narthex.origin("app"));
    let explained = std::process::Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["explain", "--json", "--token", "robot.jwt", "POST", &url])
        .current_dir(narthex.folder())
        .output()
        .unwrap();
    let explained: Value = serde_json::from_slice(&explained.stdout).unwrap();
    assert_eq!(
        (&explained["decision"], &explained["role"]),
        (&json!("allowed"), &told["role"]),
        "{explained:#}"
    );
    // It is one text after another, and each is itself.
    let context = &explained["context"];
    assert_eq!(context["cognito-identity.amazonaws.com:sub"], json!([explained["identity_id"]]));
    assert_eq!(context["aws:PrincipalTag/city"], json!(["Zürich"]));
    assert_eq!(context["aws:username"], json!([explained["username"]]));
    let user_id = context["aws:userid"][0].as_str().unwrap().strip_prefix("writer:").unwrap();
    assert_eq!(user_id.len(), "00000000-0000-0000-0000-000000000000".len(), "{user_id}");
    // The verdict on one path serves no other.
    assert_eq!(status(&robot, "/teams/blue/notes").await, 403);
    assert_eq!(
        status(&issuer.token(&json!({"client_id": "person", "team": "red"})), "/teams/red/x").await,
        403
    );
    assert_eq!(issuer.published.lock().unwrap().fetched, 0, "its keys are in the file");
    std::fs::write(narthex.folder().join("writer.json"), allow_policy(&["GET/none"]).to_string()).unwrap();
    crate::support::process::wait_until("the reload", || !narthex.audit("reload").is_empty());
    assert_eq!(status(&robot, "/teams/red/notes").await, 403);
    // Keys that are exchanged in the file count at once, for tokens that were believed before, too.
    let other = Key::new("EdDSA", "one");
    std::fs::write(narthex.folder().join("writer.json"), allow_policy(&["*"]).to_string()).unwrap();
    std::fs::write(narthex.folder().join("keys.json"), json!({"keys": [other.jwk()]}).to_string()).unwrap();
    let begun = std::time::Instant::now();
    while status(&robot, "/x").await != 401 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the old key counts on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A policy that allows everything of the route, but for what these conditions deny.
fn all_but(conditions: &[Value]) -> String {
    let statement = |effect: &str, condition: &Value| json!({"Effect": effect, "Action": "execute-api:Invoke", "Resource": "*", "Condition": condition});
    let denies = conditions.iter().map(|condition| statement("Deny", condition));
    let statements: Vec<Value> = std::iter::once(statement("Allow", &json!({}))).chain(denies).collect();
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_a_rule_or_a_tag_names_is_read_whole_or_refuses_the_token() {
    let issuer = Issuer::start("EdDSA").await;
    let upstream = Upstream::start().await;
    let roles = "[[role]]\nname = \"admin\"\npolicies = [\"all.json\"]\n[[role]]\nname = \"reader\"\npolicies = [\"all.json\"]\n\
                 [[identity_pool]]\nname = \"main\"\n[identity_pool.principal_tags]\nteam = \"team\"\n\
                 [[identity_pool.role_mapping]]\nprovider = \"api\"\ntype = \"rules\"\nambiguous = \"deny\"\nrules = [\
                 { claim = \"roles\", match = \"Equals\", value = \"admin\", role = \"admin\" }, \
                 { claim = \"groups\", match = \"NotEqual\", value = \"banned\", role = \"reader\" }]\n";
    let denied = json!({"StringEquals": {"aws:PrincipalTag/team": ["red", "blue"]}});
    let narthex = NarthexBuilder::new()
        .file("all.json", all_but(&[denied]))
        .tables(&issuer.toml(""))
        .tables(roles)
        .route("app", upstream.port, "bearer = true\nname = \"photos\"\naccess = \"policy\"")
        .start();
    let many = |last: &str| {
        let mut groups = vec![json!("g"); 1000];
        groups.push(json!(last));
        Value::Array(groups)
    };
    let staff = json!(["staff"]);
    for (claims, expected) in [
        (json!({"groups": staff}), 200),
        (json!({"groups": staff, "team": "green", "other": {"a": ["b"]}}), 200),
        (json!({"groups": staff, "team": "red"}), 403),
        // A list of one is that one.
        (json!({"groups": staff, "team": ["red"]}), 403),
        (json!({"groups": staff, "team": ["green"]}), 200),
        (json!({"groups": staff, "team": []}), 200),
        (json!({"groups": staff, "team": null}), 200),
        (json!({"groups": staff, "team": ["green", "red"]}), 401),
        (json!({"groups": staff, "team": {"name": "red"}}), 401),
        (json!({"groups": staff, "team": [["red"]]}), 401),
        (json!({"groups": staff, "team": format!("red{}", "x".repeat(2048))}), 401),
        (json!({"groups": staff, "team": "red\u{7}"}), 401),
        (json!({"groups": staff, "team": "red\u{85}"}), 401),
        (json!({"groups": staff, "_claim_names": {"team": "src1"}}), 401),
        (json!({"groups": ["staff", "banned"]}), 403),
        (json!({"groups": "banned"}), 403),
        (json!({}), 403),
        (json!({"groups": many("g").as_array().unwrap()[1..]}), 200),
        (json!({"groups": many("banned")}), 401),
        (json!({"groups": ["staff", "x".repeat(257)]}), 401),
        (json!({"groups": ["staff", {"name": "banned"}]}), 401),
        (json!({"groups": {"banned": true}}), 401),
        (json!({"_claim_names": {"groups": "src1"}}), 401),
        (json!({"cognito:groups": {"banned": true}, "groups": staff}), 401),
        (json!({"roles": ["editor", "admin"]}), 200),
        (json!({"roles": "admin"}), 200),
        (json!({"roles": ["editor"], "groups": staff}), 200),
        (json!({"roles": {"admin": true}, "groups": staff}), 401),
        (json!({"roles": ["admin", {}]}), 401),
        // Whether a rule before it matches is not asked.
        (json!({"roles": "admin", "groups": ["a", 1, true]}), 200),
    ] {
        // The second time it is judged from memory.
        for _ in 0..2 {
            let answer = get_with_token(&narthex, &issuer.token(&claims)).await;
            assert_eq!(
                answer.status().as_u16(),
                expected,
                "{}",
                claims.to_string().chars().take(200).collect::<String>()
            );
            if expected == 401 {
                let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
                assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
            }
        }
    }
    // By a list, the rule that names one of its values gives the role.
    assert_status(
        &get_with_token(&narthex, &issuer.token(&json!({"roles": ["editor", "admin"]}))).await,
        200,
    );
    assert_eq!(upstream.seen().pop().unwrap().claims()["role"], "arn:aws:iam::123456789012:role/admin");
    let refused = narthex.log();
    assert!(
        refused.contains("the claim `team`, which a rule or a tag")
            && refused.contains("its claim `groups` cannot be compared")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_time_in_a_token_is_read_alike_and_an_unknown_one_is_no_fresh_authentication() {
    let issuer = Issuer::start("EdDSA").await;
    let upstream = Upstream::start().await;
    let fresh = [
        json!({"Bool": {"aws:MultiFactorAuthPresent": "false"}}),
        json!({"NumericGreaterThan": {"aws:MultiFactorAuthAge": "3600"}}),
    ];
    let narthex = NarthexBuilder::new()
        .file("all.json", all_but(&fresh))
        .tables(&issuer.toml(""))
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\nauthenticated_role = \"all\"\n")
        .route("app", upstream.port, "bearer = true\nname = \"photos\"\naccess = \"policy\"")
        .start();
    let token = |times: &[(&str, String)]| {
        let mut claims = issuer.claims(&json!({"amr": ["pwd", "mfa"]}));
        times.iter().for_each(|(name, _)| claims[*name] = json!(format!("<{name}>")));
        let text = times
            .iter()
            .fold(claims.to_string(), |text, (name, time)| text.replace(&format!("\"<{name}>\""), time));
        issuer.key.token(&Value::Null, &text)
    };
    let old = unix_seconds() - 2 * 86400;
    for (auth_time, expected) in [
        (format!("{}", unix_seconds() - 10), 200),
        (format!("{}.5", unix_seconds() - 10), 200),
        (format!("{}e-1", (unix_seconds() - 10) * 10), 200),
        (format!("{old}"), 403),
        (format!("{old}.5"), 403),
        (format!("{old}.0"), 403),
        (format!("{}e-3", old * 1000), 403),
        ("1e9".to_owned(), 403),
        ("1E9".to_owned(), 403),
        (format!("\"{}\"", unix_seconds() - 10), 200),
        (format!("\"{old}\""), 403),
        ("\"now\"".to_owned(), 403),
        ("null".to_owned(), 403),
        ("true".to_owned(), 403),
        ("[1]".to_owned(), 403),
        ("-1".to_owned(), 403),
        ("0".to_owned(), 403),
        (format!("{}", unix_seconds() + 3600), 403),
        (format!("{}", (unix_seconds() - 10) * 1000), 403),
        ("1e300".to_owned(), 403),
    ] {
        let answer = get_with_token(&narthex, &token(&[("auth_time", auth_time.clone())])).await;
        assert_eq!(answer.status().as_u16(), expected, "{auth_time}");
    }
    assert_status(&get_with_token(&narthex, &token(&[])).await, 403);
    // So it is with the other times.
    let recent = ("auth_time", unix_seconds().to_string());
    for (name, time, expected) in [
        ("exp", format!("{}.5", unix_seconds() + 300), 200),
        ("exp", format!("{}.0", unix_seconds() + 300), 200),
        ("exp", "3e9".to_owned(), 200),
        ("exp", format!("{}.5", unix_seconds() - 120), 401),
        ("exp", "1e9".to_owned(), 401),
        ("exp", format!("\"{}\"", unix_seconds() + 300), 200),
        ("exp", format!("\"{}\"", unix_seconds() - 120), 401),
        ("exp", "\"tomorrow\"".to_owned(), 401),
        ("exp", "1e12".to_owned(), 401),
        ("nbf", "1e9".to_owned(), 200),
        ("nbf", "3e9".to_owned(), 401),
        ("nbf", "\"1\"".to_owned(), 200),
        ("nbf", "\"3000000000\"".to_owned(), 401),
        ("nbf", "\"soon\"".to_owned(), 401),
        ("iat", format!("{}.25", unix_seconds()), 200),
        ("iat", "3e9".to_owned(), 401),
        ("iat", "null".to_owned(), 401),
    ] {
        let answer = get_with_token(&narthex, &token(&[recent.clone(), (name, time.clone())])).await;
        assert_eq!(answer.status().as_u16(), expected, "{name} {time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_workloads_are_taken_where_the_file_says_so() {
    let issuer = Issuer::start("RS256").await;
    let upstream = Upstream::start().await;
    let start = |more: &str| {
        NarthexBuilder::new().tables(&issuer.toml(more)).route("app", upstream.port, "bearer = true").start()
    };
    let none = ("client_id", Value::Null);
    let with = |claims: Value| {
        let mut all = json!({ none.0: none.1 });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        all
    };
    let kinds = [
        (
            "Kubernetes",
            json!({"typ": null}),
            json!({"sub": "system:serviceaccount:default:app", "kubernetes.io": {"namespace": "default"}}),
        ),
        ("GitHub Actions", json!({}), json!({"sub": "repo:o/r:ref:refs/heads/main", "repository": "o/r"})),
        (
            "GitLab CI",
            json!({}),
            json!({"sub": "project_path:g/p:ref_type:branch:ref:main", "project_path": "g/p"}),
        ),
        (
            "Google",
            json!({}),
            json!({"sub": "1079", "azp": "1079", "email": "svc@p.example", "email_verified": true}),
        ),
        ("SPIFFE", json!({"typ": "JOSE"}), json!({"sub": "spiffe://example.org/app", "aud": ["photos-api"]})),
        ("Auth0", json!({}), json!({"sub": "cid@clients", "azp": "cid", "gty": "client-credentials"})),
        (
            "Entra ID",
            json!({}),
            json!({"sub": "o", "azp": "x", "azpacr": "1", "ver": "2.0", "idtyp": "app", "tid": "t"}),
        ),
        ("an ID token", json!({}), json!({"sub": "o", "nonce": "n"})),
    ];
    let (strict, open) = (start(""), start("token_type = \"any\""));
    for (name, header, claims) in kinds {
        let token = issuer.key.token(&header, &issuer.claims(&with(claims)).to_string());
        assert_eq!(get_with_token(&open, &token).await.status(), 200, "{name}");
        assert_eq!(get_with_token(&strict, &token).await.status(), 401, "{name}");
        assert!(
            strict.audit("request_refused").pop().unwrap()["reason"]
                .as_str()
                .unwrap()
                .contains("token_type = \"any\"")
        );
    }
    // What is checked of a token is checked of these as well.
    for (name, header, claims, check) in [
        ("another audience", json!({}), json!({"aud": "other-api"}), "somebody else"),
        ("another issuer", json!({}), json!({"iss": "https://other.example"}), "no [[issuer]]"),
        ("past its end", json!({}), json!({"exp": unix_seconds() - 70}), "has ended"),
        ("a logout token", json!({"typ": "logout+jwt"}), json!({}), "no access token"),
        ("a logout token by what it says", json!({}), json!({"events": {}}), "no access token"),
        ("a client assertion", json!({"typ": "client-authentication+jwt"}), json!({}), "no access token"),
        ("a DPoP proof", json!({"typ": "dpop+jwt"}), json!({}), "no access token"),
        ("a refresh token of Keycloak", json!({}), json!({"typ": "Refresh"}), "no access token"),
        ("a refresh token of Cognito", json!({}), json!({"token_use": "refresh"}), "no access token"),
    ] {
        let token = issuer.key.token(&header, &issuer.claims(&with(claims)).to_string());
        assert_eq!(get_with_token(&open, &token).await.status(), 401, "{name}");
        let refused = open.audit("request_refused").pop().unwrap();
        assert!(refused["reason"].as_str().unwrap().contains(check), "{name}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_svid_is_of_the_trust_domain_that_its_subject_names() {
    let (issuer, upstream) = (Issuer::start("ES256").await, Upstream::start().await);
    let mut key = issuer.key.jwk();
    key["use"] = "jwt-svid".into();
    let narthex = NarthexBuilder::new()
        .file("bundle.json", json!({ "keys": [key] }).to_string())
        .tables(
            "[[issuer]]\nname = \"mesh\"\nurl = \"spiffe://example.org\"\naudience = \"photos-api\"\njwks = \"bundle.json\"\n",
        )
        .route("app", upstream.port, "bearer = true")
        .start();
    let other = Key::new("ES256", "one");
    for (name, key, claims, status) in [
        ("a workload", &issuer.key, json!({}), 200),
        ("one that names its trust domain", &issuer.key, json!({"iss": "spiffe://example.org"}), 200),
        ("another trust domain", &issuer.key, json!({"sub": "spiffe://example.com/app"}), 401),
        (
            "a trust domain that begins alike",
            &issuer.key,
            json!({"sub": "spiffe://example.org.evil/app"}),
            401,
        ),
        ("no workload", &issuer.key, json!({"sub": "spiffe://example.org"}), 401),
        ("another issuer", &issuer.key, json!({"iss": "https://other.example"}), 401),
        ("another audience", &issuer.key, json!({"aud": ["mail-api"]}), 401),
        ("another key", &other, json!({}), 401),
        ("no end", &issuer.key, json!({"exp": null}), 401),
        (
            "another trust domain's workload",
            &issuer.key,
            json!({"iss": "spiffe://example.org", "sub": "spiffe://example.com/admin"}),
            401,
        ),
        ("no SPIFFE ID", &issuer.key, json!({"iss": "spiffe://example.org", "sub": "root"}), 401),
        ("a dot segment", &issuer.key, json!({"sub": "spiffe://example.org/../example.com/app"}), 401),
        ("an empty segment", &issuer.key, json!({"sub": "spiffe://example.org//app"}), 401),
    ] {
        let svid = json!({"iss": null, "sub": "spiffe://example.org/app", "client_id": null});
        let mut all = svid.as_object().unwrap().clone();
        all.extend(claims.as_object().unwrap().clone());
        let token = key.token(&json!({}), &issuer.claims(&Value::Object(all)).to_string());
        assert_eq!(get_with_token(&narthex, &token).await.status(), status, "{name}");
    }
}
