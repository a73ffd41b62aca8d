//! The emulator: what it accepts that production refuses, and what it refuses as production does.

use crate::support::aws::{Boto, OTHER, PASSWORD, claims, exception, ok, text};
use crate::support::documentation::{block, files, relative_path, repository_root};
use crate::support::emulator::Emulator;
use crate::support::process::{parties, wait_until};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

const PAGE: &str = "docs/src/guides/emulator.md";

/// A pool with a client for all flows.
struct Pool {
    id: String,
    client: String,
}

impl Pool {
    fn create(boto: &mut Boto) -> Self {
        Self::with(boto, json!({}))
    }

    /// A pool whose client has further members.
    fn with(boto: &mut Boto, members: Value) -> Self {
        let request = json!({ "PoolName": "people", "AutoVerifiedAttributes": ["email", "phone_number"] });
        let id = text(&ok(boto, "CreateUserPool", request)["UserPool"]["Id"]);
        let mut request = json!({ "UserPoolId": id, "ClientName": "web", "ExplicitAuthFlows":
            ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"] });
        request.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let client = text(&ok(boto, "CreateUserPoolClient", request)["UserPoolClient"]["ClientId"]);
        Self { id, client }
    }

    /// Signs a user up and confirms the user with `code`, or with the code of the message.
    fn sign_up(&self, boto: &mut Boto, name: &str, code: impl FnOnce(&str) -> String) {
        let email = format!("{name}@example.com");
        let attributes = json!([{ "Name": "email", "Value": email }]);
        let request = json!({ "ClientId": self.client, "Username": name, "Password": PASSWORD,
            "UserAttributes": attributes });
        boto.unsigned("SignUp", request).unwrap();
        let confirm = self.confirm(name, &code(&email));
        boto.unsigned("ConfirmSignUp", confirm).unwrap();
    }

    fn confirm(&self, name: &str, code: &str) -> Value {
        json!({ "ClientId": self.client, "Username": name, "ConfirmationCode": code })
    }

    fn sign_in(&self, name: &str, password: &str) -> Value {
        json!({ "ClientId": self.client, "AuthFlow": "USER_PASSWORD_AUTH",
            "AuthParameters": { "USERNAME": name, "PASSWORD": password } })
    }

    /// Returns an access token of a new user.
    fn access_token(&self, boto: &mut Boto, name: &str, emulator: &Emulator) -> String {
        self.sign_up(boto, name, |email| emulator.code(email));
        let tokens = boto.unsigned("InitiateAuth", self.sign_in(name, PASSWORD)).unwrap();
        text(&tokens["AuthenticationResult"]["AccessToken"])
    }
}

fn pools(boto: &mut Boto, limit: u32) -> Vec<String> {
    let pools = ok(boto, "ListUserPools", json!({ "MaxResults": limit }));
    pools["UserPools"].as_array().unwrap().iter().map(|pool| text(&pool["Id"])).collect()
}

/// Returns the name of the exception of an unsigned call.
fn refused(boto: &mut Boto, operation: &str, request: Value) -> String {
    boto.unsigned(operation, request).expect_err(operation).code
}

#[test]
fn it_starts_within_a_second_and_says_what_it_is() {
    // Debug builds have neither optimized code nor a machine of their own.
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
    let starts: Vec<Duration> = (0..3).map(|_| Emulator::start(&[]).started_in).collect();
    assert!(starts.iter().any(|start| *start < limit), "{starts:?}");
    println!("starts of the emulator: {starts:?}");
    let emulator = Emulator::start(&["--account-id", "000000000001"]);
    let said = emulator.said();
    for part in ["emulates Amazon Cognito", "not for real users", "127.0.0.1", "000000000001", "random"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_pool_lives_in_the_region_of_the_signature() {
    let emulator = Emulator::start(&["--account-id", "999988887777"]);
    let (mut east, mut west) = (emulator.boto("us-east-1"), emulator.boto("eu-west-3"));
    assert_eq!(pools(&mut east, 60), [""; 0], "the store starts empty");
    let of = [Pool::create(&mut east), Pool::create(&mut west), Pool::create(&mut west)];
    assert!(of[0].id.starts_with("us-east-1_") && of[1].id.starts_with("eu-west-3_"));
    let described = ok(&mut west, "DescribeUserPool", json!({ "UserPoolId": of[1].id }));
    let arn = format!("arn:aws:cognito-idp:eu-west-3:999988887777:userpool/{}", of[1].id);
    assert_eq!(described["UserPool"]["Arn"], arn);
    // The first page of a region is no page of another region's pools.
    assert_eq!(pools(&mut west, 1), [&*of[1].id]);
    let pages = west.pages("ListUserPools", json!({}), 1);
    let ids: Vec<_> = pages.iter().flat_map(|page| page["UserPools"].as_array().unwrap()).collect();
    assert_eq!(ids.iter().map(|pool| text(&pool["Id"])).collect::<Vec<_>>(), [&*of[1].id, &*of[2].id]);
    // A pool does not exist for another region.
    for (operation, more) in [
        ("DescribeUserPool", json!({})),
        ("DeleteUserPool", json!({})),
        ("AdminGetUser", json!({ "Username": "ada" })),
        ("ListUsers", json!({})),
        ("CreateUserPoolClient", json!({ "ClientName": "web" })),
    ] {
        let mut request = json!({ "UserPoolId": of[0].id });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(exception(&mut west, operation, request), "ResourceNotFoundException", "{operation}");
    }
    let tags = |arn: &str| json!({ "ResourceArn": arn });
    assert!(west.call("ListTagsForResource", tags(&arn)).is_ok());
    for (region, id) in [("us-east-1", &of[0].id), ("eu-west-3", &of[0].id)] {
        let foreign = format!("arn:aws:cognito-idp:{region}:999988887777:userpool/{id}");
        assert!(west.call("ListTagsForResource", tags(&foreign)).is_err(), "{foreign}");
    }
    let domain = json!({ "Domain": "people", "UserPoolId": of[1].id });
    ok(&mut west, "CreateUserPoolDomain", domain);
    let describe = json!({ "Domain": "people" });
    assert_eq!(
        ok(&mut west, "DescribeUserPoolDomain", describe.clone())["DomainDescription"]["Status"],
        "ACTIVE"
    );
    assert_eq!(ok(&mut east, "DescribeUserPoolDomain", describe)["DomainDescription"], json!({}));
    // An app finds its pool by the client, whatever the region of its SDK.
    of[0].sign_up(&mut west, "ada", |email| emulator.code(email));
    let user = json!({ "UserPoolId": of[0].id, "Username": "ada" });
    assert_eq!(ok(&mut east, "AdminGetUser", user)["UserStatus"], "CONFIRMED");
}

#[test]
fn any_access_key_is_accepted_but_not_none() {
    let emulator = Emulator::start(&[]);
    for key in [("AKIAIOSFODNN7EXAMPLE", "secret"), ("x", "y")] {
        let mut boto = Boto::of_endpoint(&emulator.origin(), key, "us-east-1");
        assert!(boto.call("ListUserPools", json!({ "MaxResults": 1 })).is_ok(), "{key:?}");
    }
    let mut boto = emulator.boto("us-east-1");
    let list = json!({ "MaxResults": 1 });
    assert_eq!(refused(&mut boto, "ListUserPools", list), "MissingAuthenticationTokenException");
    let target = ("X-Amz-Target", "AWSCognitoIdentityProviderService.ListUserPools");
    let date = ("X-Amz-Date", "20260101T000000Z");
    let scope = "AWS4-HMAC-SHA256 Credential=key/20260101";
    let rest = "SignedHeaders=host, Signature=00";
    for (authorization, expected) in [
        (format!("{scope}/us-east-1/cognito-idp/aws4_request, {rest}"), ""),
        (
            format!("{scope}/us-east-1/cognito-idp/aws4_request, SignedHeaders=host"),
            "IncompleteSignatureException",
        ),
        (format!("{scope}/us-east-1, {rest}"), "IncompleteSignatureException"),
        (format!("{scope}/..%2F/cognito-idp/aws4_request, {rest}"), "InvalidSignatureException"),
        ("Bearer token".to_owned(), "MissingAuthenticationTokenException"),
    ] {
        let headers = [target, date, ("Authorization", &*authorization)];
        let (status, body) = emulator.send("POST", "/", &headers, r#"{"MaxResults":1}"#);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["__type"].as_str().unwrap_or_default(), expected, "{authorization}");
        assert_eq!(status, if expected.is_empty() { 200 } else { 400 }, "{authorization}");
    }
}

#[test]
fn proofs_are_verified_as_in_production() {
    let emulator = Emulator::start(&["--code", "123456"]);
    let mut boto = emulator.boto("us-east-1");
    let pool = Pool::create(&mut boto);
    let sign_up = json!({ "ClientId": pool.client, "Username": "ada", "Password": PASSWORD,
        "UserAttributes": [{ "Name": "email", "Value": "ada@example.com" }] });
    let weak = json!({ "ClientId": pool.client, "Username": "ada", "Password": "short" });
    assert_eq!(refused(&mut boto, "SignUp", weak), "InvalidPasswordException");
    boto.unsigned("SignUp", sign_up).unwrap();
    assert_eq!(emulator.code("ada@example.com"), "123456");
    assert_eq!(refused(&mut boto, "ConfirmSignUp", pool.confirm("ada", "654321")), "CodeMismatchException");
    boto.unsigned("ConfirmSignUp", pool.confirm("ada", "123456")).unwrap();
    // A code of one purpose is none of another.
    let reset = json!({ "ClientId": pool.client, "Username": "ada", "ConfirmationCode": "123456",
        "Password": OTHER });
    assert_eq!(refused(&mut boto, "ConfirmForgotPassword", reset), "CodeMismatchException");
    assert_eq!(refused(&mut boto, "InitiateAuth", pool.sign_in("ada", OTHER)), "NotAuthorizedException");
    let tokens = boto.unsigned("InitiateAuth", pool.sign_in("ada", PASSWORD)).unwrap();
    let token = text(&tokens["AuthenticationResult"]["AccessToken"]);
    assert!(boto.unsigned("GetUser", json!({ "AccessToken": token })).is_ok());
    // Another user's name under the same signature, and no signature.
    let (head, payload) = token.rsplit_once('.').map(|(signed, _)| signed.split_once('.').unwrap()).unwrap();
    let mut forged = claims(&token);
    forged["username"] = json!("eve");
    let forged = URL_SAFE_NO_PAD.encode(forged.to_string());
    let signature = token.rsplit_once('.').unwrap().1;
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    for wrong in [format!("{head}.{forged}.{signature}"), format!("{none}.{payload}.")] {
        let request = json!({ "AccessToken": wrong });
        assert_eq!(refused(&mut boto, "GetUser", request), "NotAuthorizedException", "{wrong}");
    }
    // Secure Remote Password with the wrong password has the wrong proof.
    let mut srp = emulator.library("identityJs", &pool.id, &pool.client);
    let sign_in = |password: &str| json!({ "do": "signIn", "name": "ada", "password": password });
    assert_eq!(srp.ask(&sign_in(OTHER))["error"], "NotAuthorizedException");
    assert!(srp.done(sign_in(PASSWORD))["access"].is_string());
}

#[test]
fn secret_hashes_are_verified() {
    let emulator = Emulator::start(&[]);
    let mut boto = emulator.boto("us-east-1");
    let pool = Pool::with(&mut boto, json!({ "GenerateSecret": true }));
    let request = json!({ "UserPoolId": pool.id, "ClientId": pool.client });
    let secret = text(&ok(&mut boto, "DescribeUserPoolClient", request)["UserPoolClient"]["ClientSecret"]);
    let hash = |secret: &str| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        STANDARD.encode(aws_lc_rs::hmac::sign(&key, format!("ada{}", pool.client).as_bytes()))
    };
    let sign_up = |hash: Option<String>| {
        json!({ "ClientId": pool.client, "Username": "ada", "Password": PASSWORD, "SecretHash": hash,
            "UserAttributes": [{ "Name": "email", "Value": "ada@example.com" }] })
    };
    assert_eq!(refused(&mut boto, "SignUp", sign_up(Some(hash("another")))), "NotAuthorizedException");
    let mut without = sign_up(None);
    without.as_object_mut().unwrap().remove("SecretHash");
    assert_eq!(refused(&mut boto, "SignUp", without), "NotAuthorizedException");
    boto.unsigned("SignUp", sign_up(Some(hash(&secret)))).unwrap();
}

#[test]
fn codes_are_read_by_a_call_and_on_the_terminal() {
    let emulator = Emulator::start(&[]);
    let mut boto = emulator.boto("us-east-1");
    let pool = Pool::create(&mut boto);
    let number = "+14255550123";
    for (name, attribute, to) in [("mail", "email", "m@example.com"), ("phone", "phone_number", number)] {
        let request = json!({ "ClientId": pool.client, "Username": name, "Password": PASSWORD,
            "UserAttributes": [{ "Name": attribute, "Value": to }] });
        boto.unsigned("SignUp", request).unwrap();
        // The call waits for the delivery.
        let messages = emulator.messages(to);
        assert_eq!(messages.len(), 1, "{messages:?}");
        let channel = if attribute == "email" { "email" } else { "sms" };
        assert_eq!(messages[0]["channel"], channel);
        assert_eq!((&messages[0]["event"], &messages[0]["pool"]), (&json!("sign_up"), &json!(pool.id)));
        let code = text(&messages[0]["code"]);
        let said = emulator.said();
        assert!(said.lines().any(|line| line.contains(to) && line.contains(&code)), "{said}");
        boto.unsigned("ConfirmSignUp", pool.confirm(name, &code)).unwrap();
    }
    let invited = json!({ "UserPoolId": pool.id, "Username": "invited", "DesiredDeliveryMediums": ["EMAIL"],
        "UserAttributes": [{ "Name": "email", "Value": "i@example.com" }], "TemporaryPassword": OTHER });
    ok(&mut boto, "AdminCreateUser", invited);
    let messages = emulator.messages("i@example.com");
    assert!(text(&messages[0]["text"]).contains(OTHER), "{messages:?}");
    // A test suite sends more messages than production lets one address have.
    for number in 0..70 {
        let request = json!({ "ClientId": pool.client, "Username": format!("u{number}"), "Password": PASSWORD,
            "UserAttributes": [{ "Name": "email", "Value": format!("u{number}@example.com") }] });
        boto.unsigned("SignUp", request).unwrap();
    }
    assert_eq!(emulator.messages("u69@example.com").len(), 1);
}

#[test]
fn amazon_cognito_identity_js_needs_nothing_but_the_endpoint() {
    let emulator = Emulator::start(&[]);
    let pool = Pool::create(&mut emulator.boto("ap-southeast-2"));
    let mut library = emulator.library("identityJs", &pool.id, &pool.client);
    let attributes = json!({ "email": "js@example.com" });
    library.done(json!({ "do": "signUp", "name": "js", "password": PASSWORD, "attributes": attributes }));
    let code = emulator.code("js@example.com");
    library.done(json!({ "do": "confirm", "name": "js", "code": code }));
    let tokens = library.done(json!({ "do": "signIn", "name": "js", "password": PASSWORD }));
    let issuer = format!("https://cognito-idp.ap-southeast-2.amazonaws.com/{}", pool.id);
    for token in ["access", "id"] {
        assert_eq!(claims(&text(&tokens[token]))["iss"], issuer);
    }
    assert_eq!(library.done(json!({ "do": "attributes" }))["email_verified"], "true");
    assert_ne!(library.done(json!({ "do": "refresh" }))["access"], tokens["access"]);
    library.done(json!({ "do": "forgot", "name": "js" }));
    let code = emulator.code("js@example.com");
    library.done(json!({ "do": "confirmForgot", "name": "js", "code": code, "password": OTHER }));
    library.done(json!({ "do": "signIn", "name": "js", "password": OTHER }));
    library.done(json!({ "do": "delete" }));
}

#[test]
fn a_reset_and_a_restart_empty_everything() {
    let mut emulator = Emulator::start(&["--code", "123456"]);
    let mut boto = emulator.boto("us-east-1");
    let pool = Pool::create(&mut boto);
    let token = pool.access_token(&mut boto, "ada", &emulator);
    let states = emulator.states();
    assert_eq!(states.len(), 1);
    emulator.reset();
    assert_eq!(pools(&mut boto, 60), [""; 0]);
    assert_eq!(emulator.messages("ada@example.com"), [Value::Null; 0]);
    assert_eq!(refused(&mut boto, "GetUser", json!({ "AccessToken": token })), "NotAuthorizedException");
    let sign_in = refused(&mut boto, "InitiateAuth", pool.sign_in("ada", PASSWORD));
    assert_eq!(sign_in, "ResourceNotFoundException");
    let (status, _) = emulator.send("GET", &format!("/{}/.well-known/jwks.json", pool.id), &[], "");
    assert_eq!(status, 404);
    wait_until("the deletion of the earlier store", || {
        emulator.states().len() == 1 && emulator.states() != states
    });
    // It works afterwards.
    let again = Pool::create(&mut boto);
    again.access_token(&mut boto, "ada", &emulator);
    emulator.stop();
    assert_eq!(emulator.states(), [""; 0], "the store is deleted at the end");
    let restarted = Emulator::start(&[]);
    assert_eq!(pools(&mut restarted.boto("us-east-1"), 60), [""; 0]);
}

#[test]
fn a_reset_disturbs_no_request_and_an_unfinished_one_leaves_no_folder() {
    use std::io::Write as _;
    let mut emulator = Emulator::start(&[]);
    let ended = std::sync::atomic::AtomicBool::new(false);
    let statuses = std::thread::scope(|scope| {
        let lists = (0..4).map(|_| {
            scope.spawn(|| {
                let target = ("X-Amz-Target", "AWSCognitoIdentityProviderService.ListUserPools");
                let signed = "AWS4-HMAC-SHA256 Credential=a/20261130/us-east-1/cognito-idp/aws4_request, \
                              SignedHeaders=host, Signature=0";
                let headers = [target, ("Authorization", signed), ("X-Amz-Date", "20261130T000000Z")];
                let mut statuses = Vec::new();
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    statuses.push(emulator.send("POST", "/", &headers, r#"{"MaxResults": 1}"#).0);
                }
                statuses
            })
        });
        let lists: Vec<_> = lists.collect();
        for _ in 0..15 {
            emulator.reset();
        }
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        lists.into_iter().flat_map(|list| list.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(statuses.len() > 20 && statuses.iter().all(|status| *status < 500), "{statuses:?}");
    let mut unfinished = std::net::TcpStream::connect(("127.0.0.1", emulator.port)).unwrap();
    unfinished.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{").unwrap();
    emulator.stop();
    assert_eq!(emulator.states(), [""; 0]);
}

#[test]
fn it_listens_on_loopback_only() {
    for address in ["0.0.0.0", "::", "192.0.2.7", "example.com"] {
        // An emulator that started would not end by itself.
        let narthex = ["20", env!("CARGO_BIN_EXE_narthex"), "run", "--emulate", "--port", "0"];
        let output = Command::new("timeout").args(narthex).args(["--listen", address]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{address}: {error}");
        assert!(error.contains("--listen"), "{error}");
    }
    let emulator = Emulator::start(&[]);
    // With a listener on every address, another one of loopback would be taken.
    assert!(TcpListener::bind(("127.0.0.2", emulator.port)).is_ok());
    assert!(TcpListener::bind(("127.0.0.1", emulator.port)).is_err());
    // Options of the emulator are none of the server.
    for options in [&["--code", "123456"][..], &["--listen", "127.0.0.1"], &["--emulate", "--upgrade"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_narthex")).arg("run").args(options).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}");
    }
}

#[test]
fn sites_elsewhere_reach_nothing() {
    let emulator = Emulator::start(&[]);
    let mut boto = emulator.boto("us-east-1");
    Pool::create(&mut boto);
    let target = ("X-Amz-Target", "AWSCognitoIdentityProviderService.ListUserPools");
    for (method, path) in [
        ("POST", "/"),
        ("POST", "/.narthex/emulator/reset"),
        ("GET", "/.narthex/emulator/messages"),
        ("GET", "/"),
    ] {
        let (status, _) = emulator.send(method, path, &[("Host", "rebound.example"), target], "");
        assert_eq!(status, 403, "{method} {path}");
    }
    for (method, path) in [
        ("POST", "/"),
        ("OPTIONS", "/"),
        ("POST", "/.narthex/emulator/reset"),
        ("GET", "/.narthex/emulator/messages"),
        ("POST", "/oauth2/token"),
    ] {
        for origin in ["https://site.example", "null", "http://intranet", "chrome-extension://localhost"] {
            let (status, _) = emulator.send(method, path, &[("Origin", origin), target], "");
            assert_eq!(status, 403, "{method} {path} {origin}");
        }
    }
    assert_eq!(pools(&mut boto, 60).len(), 1, "nothing was deleted");
    let (status, _) = emulator.send("GET", "/.narthex/emulator/reset", &[], "");
    assert_eq!(status, 405, "a link resets nothing");
    let own = [("Origin", "http://localhost:3000")];
    assert_eq!(emulator.send("POST", "/.narthex/emulator/reset", &own, "").0, 200);
    assert_eq!(pools(&mut boto, 60).len(), 0);
}

#[test]
fn pages_and_endpoints_are_at_the_same_address() {
    let emulator = Emulator::start(&[]);
    let html = ("Accept", "text/html");
    let (status, page) = emulator.send("GET", "/login", &[html], "");
    assert!(status == 401 && page.contains("Sign-in is not set up"), "{status} {page}");
    let members = json!({
        "CallbackURLs": ["http://localhost:3000/cb"], "AllowedOAuthFlows": ["code"],
        "AllowedOAuthFlowsUserPoolClient": true, "AllowedOAuthScopes": ["openid"],
        "SupportedIdentityProviders": ["COGNITO"],
    });
    let pool = Pool::with(&mut emulator.boto("us-east-1"), members);
    let request = format!(
        "/oauth2/authorize?response_type=code&client_id={}&redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fcb&scope=openid\
         &code_challenge={}&code_challenge_method=S256",
        pool.client,
        "c".repeat(43)
    );
    let (status, page) = emulator.send("GET", &request, &[html], "");
    assert!(status == 200 && page.contains("<title>Sign in · web</title>"), "{status} {page}");
    assert_eq!(emulator.send("GET", "/.narthex/healthz", &[], "").0, 200);
    let (status, style) = emulator.send("GET", "/.narthex/style.css", &[], "");
    assert!(status == 200 && style.contains('{'), "{status}");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let (status, answer) =
        emulator.send("POST", "/oauth2/token", &[form], "grant_type=authorization_code&code=x");
    assert!((400..=401).contains(&status), "{status} {answer}");
    assert!(serde_json::from_str::<Value>(&answer).unwrap()["error"].is_string(), "{answer}");
    assert_eq!(emulator.send("GET", "/nothing", &[], "").0, 404);
    let large = "x".repeat(600_000);
    let target = ("X-Amz-Target", "AWSCognitoIdentityProviderService.SignUp");
    assert_eq!(emulator.send("POST", "/", &[target], &large).0, 413);
}

#[test]
fn aws_jwt_verify_accepts_the_tokens_with_either_issuer() {
    for issuer in ["aws", "local"] {
        let emulator = Emulator::start(&["--issuer", issuer]);
        let mut boto = emulator.boto("us-west-2");
        let (pool, other) = (Pool::create(&mut boto), Pool::create(&mut boto));
        let token = pool.access_token(&mut boto, "ada", &emulator);
        let origin = emulator.origin();
        let (module, own) = match issuer {
            "aws" => (
                block(PAGE, "js emulator"),
                format!("https://cognito-idp.us-west-2.amazonaws.com/{}", pool.id),
            ),
            _ => (block(PAGE, "js emulator-local"), format!("{origin}/{}", pool.id)),
        };
        assert_eq!(claims(&token)["iss"], own);
        let verify = |pool_id: &str, token: &str| {
            let environment =
                [("ENDPOINT", &*origin), ("POOL", pool_id), ("CLIENT", &*pool.client), ("TOKEN", token)];
            emulator.node(&module, &environment)
        };
        let output = verify(&pool.id, &token);
        assert!(output.status.success(), "{issuer}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("ada"));
        assert!(!verify(&other.id, &token).status.success(), "{issuer}: another pool's keys");
        let (signed, _) = token.rsplit_once('.').unwrap();
        assert!(!verify(&pool.id, &format!("{signed}.AAAA")).status.success(), "{issuer}: a wrong signature");
        let path = format!("/{}/.well-known/openid-configuration", pool.id);
        let metadata: Value = serde_json::from_str(&emulator.send("GET", &path, &[], "").1).unwrap();
        assert_eq!(metadata["issuer"], own);
        assert_eq!(metadata["jwks_uri"], format!("{origin}/{}/.well-known/jwks.json", pool.id));
    }
}

#[test]
fn the_commands_and_programs_of_the_guide_run() {
    let emulator = Emulator::start(&[]);
    let here = |text: String| text.replace("http://localhost:9229", &emulator.origin());
    // AWS CLI 1 and 2.
    for programs in [parties().join("cli/bin"), "/usr/bin".into()] {
        let output = emulator.shell(&programs, &here(block(PAGE, "sh emulator")));
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
        assert!(printed.contains("AccessToken"), "{printed}");
        let left = pools(&mut emulator.boto("eu-central-1"), 60);
        assert_eq!(left.len(), 0, "the last command is a reset");
    }
    let program = here(block(PAGE, "python emulator"));
    let python = parties().join("venv/bin/python");
    let output = Command::new(python).args(["-c", &program]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.starts_with("eu-central-1_"), "{printed}");
}

/// Production is built without these: each is named where it is defined, where it is passed on, and
/// in the emulator.
#[test]
fn only_the_emulator_constructs_what_weakens_production() {
    const DEFINED: [(&str, &[&str]); 6] = [
        ("on_loopback(", &["src/config/public_url.rs"]),
        ("PoolIssuer::Aws", &["src/config/pool_issuer.rs"]),
        ("router_with", &["src/aws/mod.rs", "src/aws/protocol.rs", "src/app/environment.rs"]),
        ("start_with_codes", &["src/directory/service.rs", "src/app/environment.rs"]),
        ("into_sink", &["src/message/delivery.rs", "src/app/environment.rs"]),
        ("Emulation {", &["src/app/environment.rs"]),
    ];
    for (name, places) in DEFINED {
        let mut uses = 0;
        for file in files(&repository_root().join("src"), "rs") {
            let (place, text) = (relative_path(&file), std::fs::read_to_string(&file).unwrap());
            let is_emulator = place.starts_with("src/app/emulate/");
            uses += usize::from(is_emulator && text.contains(name));
            assert!(!text.contains(name) || is_emulator || places.contains(&&*place), "{place} uses {name}");
        }
        assert!(
            uses > 0 || ["router_with", "start_with_codes", "into_sink"].contains(&name),
            "{name} is unused"
        );
    }
}
