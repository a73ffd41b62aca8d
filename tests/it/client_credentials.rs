//! Programs that get access tokens of the user pool by their own credentials.

use crate::support::client_credentials::{
    GRANT, NEXT_SECRET, SECRET, access_token, oauth2_request, pool_toml, token_request,
};
use crate::support::config_errors::{assert_each_reported, config_errors};
use crate::support::documentation::block;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::Postgres;
use crate::support::policies::allow_policy;
use crate::support::process::{parties, wait_until};
use crate::support::streams::{echoes, open_socket_with_header, start_stream_app};
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, assert_status, get_with_token};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

async fn deployment(algorithm: &str, of_route: &str) -> (Narthex, Upstream) {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new()
        .tables(&pool_toml(algorithm))
        .route("app", upstream.port, &format!("bearer = true\n{of_route}"))
        .start();
    (narthex, upstream)
}

/// What `narthex check` says of something.
fn told(narthex: &Narthex, what: &str) -> String {
    let check = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .arg("check")
        .current_dir(narthex.folder())
        .output()
        .unwrap();
    let text = String::from_utf8(check.stdout).unwrap();
    let line =
        text.lines().find_map(|line| line.trim().strip_prefix(what)?.strip_prefix("  ").map(str::trim));
    line.unwrap_or_else(|| panic!("{what}: {text}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certified_client_gets_a_token_uses_it_and_gives_it_back() {
    for (algorithm, how, metadata) in
        [("RS256", "basic", "oidc"), ("ES256", "post", "oauth2"), ("EdDSA", "basic", "oidc")]
    {
        let (narthex, upstream) = deployment(algorithm, "scopes = [\"photos/read\"]").await;
        let issuer = told(&narthex, "issuer");
        let (client, api) = (told(&narthex, "reporter"), format!("{}/report", narthex.origin("app")));
        let ran = tokio::task::block_in_place(|| {
            Command::new("node")
                .args(["token-client.mjs", &issuer, &client, SECRET, how, metadata, "photos/read", &api])
                .current_dir(parties())
                .env("NODE_EXTRA_CA_CERTS", narthex.folder().join("certs/local-authority.pem"))
                .output()
                .unwrap()
        });
        let text = String::from_utf8_lossy(&ran.stdout);
        let ran: Value = serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("{algorithm}: {text}{}", String::from_utf8_lossy(&ran.stderr)));

        let claims = &ran["claims"];
        let expected = json!({
            "iss": issuer, "sub": "reporter", "client_id": "reporter", "token_use": "access", "scope": "photos/read",
            "version": 2, "iat": claims["iat"], "auth_time": claims["iat"], "jti": claims["jti"],
            "exp": claims["iat"].as_i64().unwrap() + 1800,
        });
        assert_eq!(*claims, expected, "{algorithm}");
        assert_eq!(ran["granted"]["token_type"], "bearer", "the client spells it so");
        assert_eq!(
            (&ran["granted"]["expires_in"], &ran["granted"]["scope"]),
            (&json!(1800), &json!("photos/read"))
        );
        assert_eq!(ran["before"]["status"], 200, "{ran:#}");
        let introspected = &ran["before"]["introspected"];
        assert_eq!(introspected["active"], true);
        for name in ["iss", "sub", "client_id", "scope", "exp", "iat", "jti"] {
            assert_eq!(introspected[name], claims[name], "{name}");
        }
        let seen = &upstream.seen()[0];
        assert_eq!(seen.target, "/report");
        assert_eq!(
            (&seen.claims()["sub"], seen.header("x-amzn-oidc-identity")),
            (&json!("reporter"), "reporter")
        );
        assert!(seen.header_values("authorization").is_empty());
        // It is given back: known at once to who asks, and within two seconds at the door.
        assert_eq!(ran["after"], json!({"active": false}));
        assert_eq!(ran["last"], 401);
        assert!(ran["revokedAfter"].as_u64().unwrap() <= 2000, "{}", ran["revokedAfter"]);
        assert_eq!(narthex.audit("token_revoked")[0]["jti"], claims["jti"]);
        let refused = narthex.audit("request_refused");
        assert_eq!(refused.last().unwrap()["reason"], "the bearer token: it was revoked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_for_a_token_is_told_as_the_protocol_has_it() {
    let (narthex, _upstream) = deployment("ES256", "").await;
    let reader = told(&narthex, "reader");
    assert!(
        reader.len() == 26 && reader.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()),
        "{reader}"
    );
    let basic = |form: &[(&str, &str)], id: &str, secret: &str| {
        token_request(&narthex, form).basic_auth(id, Some(secret))
    };
    let form = "application/x-www-form-urlencoded";
    let raw = |body: &'static str| {
        oauth2_request(&narthex, "token")
            .header("content-type", form)
            .basic_auth("reporter", Some(NEXT_SECRET))
            .body(body)
    };
    let scope = |scope: &'static str| basic(&[GRANT, ("scope", scope)], "reporter", NEXT_SECRET);
    let header = |value: &str| token_request(&narthex, &[GRANT]).header("authorization", value);
    let (with_id, with_secret) = ([GRANT, ("client_id", "api")], [GRANT, ("client_secret", NEXT_SECRET)]);
    for (what, request, status, code) in [
        ("no grant", basic(&[], "reporter", NEXT_SECRET), 400, "invalid_request"),
        ("an empty grant", basic(&[("grant_type", "")], "reporter", NEXT_SECRET), 400, "invalid_request"),
        ("a grant twice", raw("grant_type=client_credentials&grant_type=password"), 400, "invalid_request"),
        ("no text", raw("grant_type=client_credentials&x=%ff"), 200, ""),
        (
            "JSON",
            oauth2_request(&narthex, "token").basic_auth("reporter", Some(NEXT_SECRET)).json(&GRANT),
            400,
            "invalid_request",
        ),
        (
            "another grant",
            basic(&[("grant_type", "password")], "reporter", NEXT_SECRET),
            400,
            "unsupported_grant_type",
        ),
        ("no grant allowed", basic(&[GRANT], "api", NEXT_SECRET), 400, "unauthorized_client"),
        ("an unknown scope", scope("photos/read photos/burn"), 400, "invalid_scope"),
        ("a scope of none", scope(" "), 400, "invalid_scope"),
        ("no scope's value", scope(""), 200, ""),
        (
            "another's scope",
            basic(&[GRANT, ("scope", "photos/write")], &reader, NEXT_SECRET),
            400,
            "invalid_scope",
        ),
        ("nobody", token_request(&narthex, &[GRANT]), 401, "invalid_client"),
        ("an id alone", token_request(&narthex, &with_id), 401, "invalid_client"),
        ("an unknown client", basic(&[GRANT], "nobody", NEXT_SECRET), 401, "invalid_client"),
        ("another's secret", basic(&[GRANT], "api", SECRET), 401, "invalid_client"),
        ("an empty secret", basic(&[GRANT], "api", ""), 401, "invalid_client"),
        ("the wrong scheme", header("Bearer abc"), 401, "invalid_client"),
        ("no base64", header("Basic %%%"), 401, "invalid_client"),
        ("no colon", header(&format!("Basic {}", STANDARD.encode("reporter"))), 401, "invalid_client"),
        ("two ways at once", basic(&with_secret, "reporter", NEXT_SECRET), 400, "invalid_request"),
        ("two clients", basic(&with_id, "reporter", NEXT_SECRET), 400, "invalid_request"),
        // The secret as it stands, and as RFC 6749, section 2.3.1 has it.
        ("an unencoded secret", basic(&[GRANT], "reporter", SECRET), 200, ""),
        ("an encoded secret", basic(&[GRANT], "reporter", "k3%2B%2FwQ9z%2541Zb0pYxTn7fRm2%3D%3D"), 200, ""),
        ("the next secret", basic(&[GRANT, ("client_id", "reporter")], "reporter", NEXT_SECRET), 200, ""),
        (
            "in the body",
            token_request(&narthex, &[GRANT, ("client_id", "reporter"), ("client_secret", SECRET)]),
            200,
            "",
        ),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{what}");
        let of = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(of("www-authenticate").is_some(), status == 401, "{what}");
        assert_eq!(
            (of("cache-control").as_deref(), of("pragma").as_deref()),
            (Some("no-store"), Some("no-cache"))
        );
        let told: Value = answer.json().await.unwrap();
        match code {
            "" => assert_eq!(told["token_type"], "Bearer", "{what}"),
            code => {
                assert_eq!(told["error"], code, "{what}: {told}");
                assert!(told["error_description"].as_str().is_some_and(|told| !told.is_empty()));
            }
        }
    }
    // One that asks for the same twice gets it once; the order is its own.
    let twice: Value =
        scope("photos/write photos/read photos/write").send().await.unwrap().json().await.unwrap();
    assert_eq!(twice["scope"], "photos/write photos/read");
    assert_status(
        &Visitor::new(&narthex).get(&format!("{}/oauth2/token", narthex.origin("auth"))).await,
        404,
    );
    assert_status(&raw("").body("x".repeat(70_000)).send().await.unwrap(), 413);

    let log = narthex.log();
    assert!(!log.contains(SECRET) && !log.contains(NEXT_SECRET));
    let metrics = narthex.admin("/metrics");
    assert!(
        metrics.contains(r#"narthex_oauth_requests_total{endpoint="token",result="invalid_scope"} 3"#),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_recognised_in_one_way_only() {
    let (narthex, _upstream) = deployment("ES256", "").await;
    let visitor = Visitor::new(&narthex);
    let basic = |id: &str, secret: &str| {
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
        http::HeaderValue::try_from(format!("Basic {text}")).unwrap()
    };
    let ask = async |headers: &[http::HeaderValue], body: &str, encoding: &str| {
        let mut request = visitor.client.post(format!("{}/oauth2/token", narthex.origin("auth")));
        for header in headers {
            request = request.header("authorization", header);
        }
        request.header("content-type", encoding).body(body.to_owned()).send().await.unwrap().status().as_u16()
    };
    const FORM: &str = "application/x-www-form-urlencoded";
    const GRANTED: &str = "grant_type=client_credentials";
    let good = basic("reporter", NEXT_SECRET);
    let in_body = format!("{GRANTED}&client_id=reporter&client_secret={NEXT_SECRET}");
    assert_eq!(ask(std::slice::from_ref(&good), GRANTED, FORM).await, 200);
    assert_eq!(ask(&[], &in_body, FORM).await, 200);
    assert_eq!(ask(&[], &in_body, &format!("{FORM}; charset=utf-8")).await, 200);
    assert_eq!(ask(&[], &in_body, &format!("{FORM}x")).await, 400);
    assert_eq!(ask(&[good.clone(), basic("reporter", "other")], GRANTED, FORM).await, 400);
    let unreadable = http::HeaderValue::from_bytes(b"Basic \xff").unwrap();
    assert_eq!(ask(&[unreadable], &in_body, FORM).await, 401);
    let assertion = format!("{GRANTED}&client_assertion=x.y.z");
    assert_eq!(ask(&[good], &assertion, FORM).await, 400);
    for tail in ["&x", "=x", "%26x"] {
        assert_eq!(
            ask(&[basic("reporter", &format!("{NEXT_SECRET}{tail}+"))], GRANTED, FORM).await,
            401,
            "{tail}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_a_secret_is_told_to_wait_and_shuts_out_nobody_else() {
    let (narthex, _upstream) = deployment("ES256", "").await;
    let from = |address: [u8; 4]| {
        Visitor::with_client(&narthex, |builder| builder.local_address(Some(address.into())))
    };
    let (guesser, neighbour) = (from([127, 2, 0, 1]), from([127, 2, 0, 2]));
    let ask = async |who: &Visitor, id: &str, secret: &str| {
        let url = format!("{}/oauth2/token", narthex.origin("auth"));
        who.client.post(url).form(&[GRANT]).basic_auth(id, Some(secret)).send().await.unwrap()
    };
    // Some are forgiven meanwhile: five a second.
    let mut guessed = 0;
    while ask(&guesser, "reporter", "guessed").await.status() == 401 {
        guessed += 1;
        assert!(guessed < 1000, "it may go on guessing");
    }
    assert!(guessed >= 300, "{guessed}");
    // Now even the right one is not looked at, for a while.
    let waits = ask(&guesser, "reporter", NEXT_SECRET).await;
    assert_status(&waits, 429);
    assert!(waits.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() <= 3);
    assert_eq!(waits.json::<Value>().await.unwrap()["error"], "invalid_client");
    assert_status(&ask(&neighbour, "reporter", NEXT_SECRET).await, 200);
    assert_status(&ask(&guesser, &told(&narthex, "reader"), NEXT_SECRET).await, 200);
    let reasons: Vec<Value> =
        narthex.audit("client_authentication_failed").iter().map(|line| line["reason"].clone()).collect();
    assert_eq!(reasons.iter().filter(|reason| **reason == "the secret is wrong").count(), guessed);
    assert_eq!(reasons.last().unwrap(), "too many failures");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_by_whom_it_was_issued_to_and_nobody_learns_of_others() {
    let (narthex, _upstream) = deployment("EdDSA", "").await;
    let before = std::fs::read_to_string(narthex.folder().join("narthex.toml")).unwrap();
    let (good, api) = (access_token(&narthex).await, ("api", Some(NEXT_SECRET)));
    let send = async |endpoint: &str, (id, secret): (&str, Option<&str>), token: &str| {
        oauth2_request(&narthex, endpoint)
            .basic_auth(id, secret)
            .form(&[("token", token)])
            .send()
            .await
            .unwrap()
    };
    // Only registered clients may introspect a token.
    assert_status(
        &oauth2_request(&narthex, "introspect").form(&[("token", &good)]).send().await.unwrap(),
        401,
    );
    let told: Value = send("introspect", api, &good).await.json().await.unwrap();
    assert_eq!((&told["active"], &told["sub"]), (&json!(true), &json!("reporter")));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let bent = format!("{head}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
    for nothing in [bent.as_str(), "nothing", &"x".repeat(9000)] {
        assert_status(&get_with_token(&narthex, nothing).await, 401);
        let told = send("introspect", api, nothing).await;
        assert_eq!(told.json::<Value>().await.unwrap(), json!({"active": false}));
        assert_status(&send("revoke", api, nothing).await, 200);
    }
    assert_status(
        &oauth2_request(&narthex, "revoke")
            .basic_auth("api", Some(NEXT_SECRET))
            .form(&[("x", "y")])
            .send()
            .await
            .unwrap(),
        400,
    );
    // It is not another's to revoke.
    let refused = send("revoke", api, &good).await;
    assert_status(&refused, 400);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"], "unauthorized_client");
    assert_status(&get_with_token(&narthex, &good).await, 200);
    assert_status(&oauth2_request(&narthex, "revoke").form(&[("token", &good)]).send().await.unwrap(), 401);
    assert_status(&get_with_token(&narthex, &good).await, 200);
    // It is taken back though it does not count just now.
    narthex.edit(|text| text.replacen("allowed_oauth_flows = [\"client_credentials\"]\nallowed_oauth_scopes = [\"photos/read\", \"photos/write\"]\n", "", 1));
    wait_until("the reload", || narthex.audit("reload").len() == 1);
    assert_status(&get_with_token(&narthex, &good).await, 401);
    let given_back = send("revoke", ("reporter", Some(SECRET)), &good).await;
    assert_status(&given_back, 200);
    assert_eq!(narthex.audit("token_revoked").len(), 1);
    narthex.edit(|_| before);
    wait_until("the reload", || narthex.audit("reload").len() == 2);
    // Twice is as good as once.
    for _ in 0..2 {
        assert_status(&send("revoke", ("reporter", Some(SECRET)), &good).await, 200);
    }
    wait_until_refused(&narthex, &good).await;
    let refused = narthex.audit("request_refused");
    assert_eq!(refused.last().unwrap()["reason"], "the bearer token: it was revoked");
    assert_eq!(
        get_with_token(&narthex, &access_token(&narthex).await).await.status(),
        200,
        "its other tokens count on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_ends_when_its_token_is_revoked() {
    let port = start_stream_app().await;
    let narthex =
        NarthexBuilder::new().tables(&pool_toml("EdDSA")).route("app", port, "bearer = true").start();
    let token = access_token(&narthex).await;
    let bearer = format!("Bearer {token}");
    let mut socket = open_socket_with_header(&narthex, "authorization", &bearer).await;
    assert!(echoes(&mut socket, "one").await);
    let revoke =
        oauth2_request(&narthex, "revoke").basic_auth("reporter", Some(SECRET)).form(&[("token", &token)]);
    assert_status(&revoke.send().await.unwrap(), 200);
    let begun = Instant::now();
    while echoes(&mut socket, "two").await {
        assert!(begun.elapsed() < Duration::from_secs(5), "it outlives its token");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(narthex.audit("stream_ended")[0]["reason"], "its token is over");
}

async fn wait_until_refused(narthex: &Narthex, token: &str) {
    let begun = Instant::now();
    while get_with_token(narthex, token).await.status() != 401 {
        assert!(begun.elapsed() <= Duration::from_secs(2), "it counts on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_hears_of_a_revocation_and_a_restart_forgets_none() {
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new()
        .postgres(&Postgres::shared().database())
        .tables(&pool_toml("ES256"))
        .route("app", upstream.port, "bearer = true");
    let one = builder.clone().start();
    let mut two = one.share_authority(&builder).start_at("127.0.0.2");
    // They sign with one key: what one issues opens the other's door.
    let (first, second) = (access_token(&one).await, access_token(&two).await);
    for (node, token) in [(&one, &second), (&two, &first), (&two, &second)] {
        assert_status(&get_with_token(node, token).await, 200);
    }
    let revoke =
        oauth2_request(&one, "revoke").basic_auth("reporter", Some(NEXT_SECRET)).form(&[("token", &first)]);
    assert_status(&revoke.send().await.unwrap(), 200);
    wait_until_refused(&two, &first).await;
    wait_until_refused(&one, &first).await;
    two.kill();
    two.start();
    assert_status(&get_with_token(&two, &first).await, 401);
    assert_status(&get_with_token(&two, &second).await, 200);
    let told: Value = oauth2_request(&two, "introspect")
        .basic_auth("api", Some(NEXT_SECRET))
        .form(&[("token", &first)])
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(told, json!({"active": false}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_a_role_by_rules_and_nothing_once_the_file_names_it_no_more() {
    let upstream = Upstream::start().await;
    let roles = "[[role]]\nname = \"writer\"\npolicies = [\"writer.json\"]\n[[identity_pool]]\nname = \"main\"\n\
                 [[identity_pool.role_mapping]]\nprovider = \"people\"\ntype = \"rules\"\nambiguous = \"deny\"\n\
                 rules = [{ claim = \"client_id\", match = \"Equals\", value = \"reporter\", role = \"writer\" }]\n";
    let narthex = NarthexBuilder::new()
        .file("writer.json", allow_policy(&["*/reports/*"]).to_string())
        .tables(&pool_toml("ES256"))
        .tables(roles)
        .route("app", upstream.port, "bearer = true\nname = \"photos\"\naccess = \"policy\"")
        .start();
    let client = Visitor::new(&narthex).client;
    let status = async |token: &str, path: &str| {
        let url = format!("{}{path}", narthex.origin("app"));
        client.post(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let reporter = access_token(&narthex).await;
    assert_eq!(status(&reporter, "/reports/1").await, 200);
    assert_eq!(status(&reporter, "/other").await, 403);
    let seen = upstream.seen().pop().unwrap().claims();
    assert_eq!(
        (&seen["sub"], &seen["role"]),
        (&json!("reporter"), &json!("arn:aws:iam::123456789012:role/writer"))
    );
    let explain = |path: &str| -> Value {
        let url = format!("{}{path}", narthex.origin("app"));
        let told = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(["explain", "--json", "--token", "reporter.jwt", "POST", &url])
            .current_dir(narthex.folder())
            .output()
            .unwrap();
        serde_json::from_slice(&told.stdout).unwrap()
    };
    std::fs::write(narthex.folder().join("reporter.jwt"), &reporter).unwrap();
    assert_eq!(
        (&explain("/reports/1")["decision"], &explain("/other")["decision"]),
        (&json!("allowed"), &json!("implicitDeny"))
    );
    // The assertion that the app was handed is no access token.
    let handed = upstream.seen().pop().unwrap().header("x-amzn-oidc-data").to_owned();
    assert_eq!(status(&handed, "/reports/1").await, 401);

    // Nor does a route look at a token that takes none, or not that one.
    for (more, why) in
        [("bearer = false", "takes no bearer tokens"), ("scopes = [\"photos/burn\"]", "photos/burn")]
    {
        let file = narthex.folder().join("other.toml");
        let text = std::fs::read_to_string(narthex.folder().join("narthex.toml")).unwrap();
        let text = match more.starts_with("bearer") {
            true => text.replace("bearer = true", more),
            false => text.replace("bearer = true", &format!("bearer = true\n{more}")),
        };
        let provider = crate::support::parties::provider_toml("corp", 1, "\"anyone\"");
        std::fs::write(&file, text + &provider).unwrap();
        let url = format!("{}/reports/1", narthex.origin("app"));
        let told = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(["explain", "--config", "other.toml", "--token", "reporter.jwt", "POST", &url])
            .current_dir(narthex.folder())
            .output()
            .unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        assert!(told.contains(why), "{told}");
    }

    // A program that is gone, or may get no tokens any more, is nobody, whatever it still holds.
    narthex.edit(|text| text.replacen("id = \"reporter\"", "id = \"another\"", 1));
    wait_until("the reload", || narthex.audit("reload").len() == 1);
    assert_eq!(status(&reporter, "/reports/1").await, 401);
    assert!(explain("/reports/1")["sign_in_error"].as_str().is_some(), "{:#}", explain("/reports/1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_commands_do_what_the_guide_says() {
    const PAGE: &str = "docs/src/guides/api-clients.md";
    let upstream = Upstream::start().await;
    let toml = block(PAGE, "toml programs");
    let tables = toml[toml.find("[[user_pool]]").unwrap()..]
        .replace("photos.example.com", "photos.localhost")
        .replace("127.0.0.1:3000", &format!("127.0.0.1:{}", upstream.port));
    let narthex = NarthexBuilder::new().tables(&tables).environment("REPORTER_SECRET", SECRET).start();
    let authority = narthex.folder().join("certs/local-authority.pem");
    let commands = block(PAGE, "sh programs")
        .replace("https://auth.example.com", &narthex.origin("auth"))
        .replace("https://photos.example.com", &narthex.origin("photos"));
    let ran = tokio::task::block_in_place(|| {
        Command::new("sh")
            .args(["-ec", &format!("{commands}\nprintf '\n%s' \"$token\"")])
            .env("REPORTER_SECRET", SECRET)
            .env("CURL_CA_BUNDLE", authority)
            .output()
            .unwrap()
    });
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let (seen, token) = said.rsplit_once('\n').unwrap();
    assert_eq!(serde_json::from_str::<Seen>(seen).unwrap().claims()["sub"], "reporter");
    let begun = Instant::now();
    let url = format!("{}/", narthex.origin("photos"));
    while Visitor::new(&narthex).client.get(&url).bearer_auth(token).send().await.unwrap().status() != 401 {
        assert!(begun.elapsed() <= Duration::from_secs(2), "it counts on");
    }
}

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

#[tokio::test(flavor = "multi_thread")]
async fn metadata_tells_of_what_works_and_of_one_pool() {
    let (narthex, _upstream) = deployment("ES256", "").await;
    let issuer = told(&narthex, "issuer");
    let get = async |url: &str| Visitor::new(&narthex).client.get(url).send().await.unwrap();
    let answer = get(&format!("{issuer}/.well-known/openid-configuration")).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let metadata: Value = answer.json().await.unwrap();
    assert_eq!(
        (&metadata["issuer"], &metadata["grant_types_supported"]),
        (
            &json!(issuer),
            &json!(["authorization_code", "refresh_token", "client_credentials", "implicit", DEVICE_GRANT])
        )
    );
    let scopes = metadata["scopes_supported"].as_array().unwrap();
    assert!(scopes.ends_with(&[json!("photos/read"), json!("photos/write")]), "{scopes:?}");
    let (origin, id) = issuer.rsplit_once('/').unwrap();
    let same = get(&format!("{origin}/.well-known/oauth-authorization-server/{id}")).await;
    assert_eq!(same.json::<Value>().await.unwrap(), metadata);
    let keys: Value = get(metadata["jwks_uri"].as_str().unwrap()).await.json().await.unwrap();
    let assertions: Value = get(&format!("{origin}/.well-known/jwks.json")).await.json().await.unwrap();
    // One for access tokens, one for id tokens.
    assert_eq!((keys["keys"].as_array().unwrap().len(), &keys["keys"][0]["alg"]), (2, &json!("ES256")));
    assert_ne!(keys["keys"][0]["kid"], assertions["keys"][0]["kid"], "each signs with a key of its own");
    for nothing in ["/us-east-1_other0000/.well-known/jwks.json", "/.well-known/oauth-authorization-server/x"]
    {
        assert_status(&get(&format!("{origin}{nothing}")).await, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_never_have_one_id() {
    let (narthex, _upstream) = deployment("ES256", "").await;
    let made = told(&narthex, "reader");
    narthex.edit(|text| text.replacen("id = \"reporter\"", &format!("id = \"{made}\""), 1));
    wait_until("the refusal", || !narthex.audit("reload_failed").is_empty());
    let why = narthex.audit("reload_failed")[0]["error"].as_str().unwrap().to_owned();
    assert!(why.contains(&format!("two app clients have the id `{made}`")), "{why}");
    assert_status(&get_with_token(&narthex, &access_token(&narthex).await).await, 200);
}

#[test]
fn what_is_wrong_about_programs_is_told() {
    let good = format!(
        "public_url = \"https://auth.example.com\"\n{}[[route]]\nhost = \"app.example.com\"\n\
         upstream = \"http://127.0.0.1:1\"\nbearer = true\n",
        pool_toml("RS256")
    );
    let secret = format!("secret = [\"{SECRET}\", \"{NEXT_SECRET}\"]");
    let none = good.replace("allowed_oauth_flows = [\"client_credentials\"]\n", "");
    assert_each_reported(
        &good,
        &[
            ("\"RS256\"", "\"HS256\"", "`signing_algorithm` cannot be \"HS256\""),
            (
                "identifier = \"photos\"",
                "identifier = \"my photos\"",
                "\"my photos\" is not the identifier of a resource server",
            ),
            ("[\"read\", \"write\"]", "[\"read\", \"a/b\"]", "\"a/b\" is not the name of a scope"),
            ("[\"read\", \"write\"]", "[\"read\"]", "no resource server has the scope \"photos/write\""),
            (&secret, "secret = \"short\"", "the secret is shorter than 22 characters"),
            (
                &secret,
                &format!("secret = [\"{NEXT_SECRET}\", \"{NEXT_SECRET}\", \"{NEXT_SECRET}\"]"),
                "`secret` has 3 secrets",
            ),
            (&secret, "", "`secret` is missing in [[user_pool.client]]"),
            ("id = \"reporter\"", "id = \"a b\"", "\"a b\" is not a client id"),
            ("id = \"reporter\"", "id = \"api\"", "two app clients have the id of \"api\""),
            ("name = \"reader\"", "name = \"api\"", "two app clients are named \"api\""),
            ("\"30m\"", "\"2d\"", "`access_token_validity` is out of bounds"),
            ("\"30m\"", "\"1m\"", "`access_token_validity` is out of bounds"),
            ("[\"client_credentials\"]", "[\"password\"]", "`allowed_oauth_flows` cannot be \"password\""),
            ("allowed_oauth_scopes = [\"photos/read\"]\n", "", "needs `allowed_oauth_scopes`"),
            (
                "[[route]]",
                "[[issuer]]\nname = \"people\"\nurl = \"https://idp.example.com\"\naudience = \"a\"\n[[route]]",
                "the user pool and an issuer or a provider are named \"people\"",
            ),
            (
                "[[route]]",
                "[[issuer]]\nurl = \"https://auth.example.com/us-east-1_abc\"\naudience = \"a\"\n[[route]]",
                "is this deployment itself",
            ),
        ],
    );
    let told = config_errors(&none).unwrap();
    assert!(told.contains("has no effect without `allowed_oauth_flows`"), "{told}");
    assert!(told.contains("no token can be valid for route"), "{told}");
}
