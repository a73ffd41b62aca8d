//! Requests to Cognito's API that no SDK sends: members that occur twice, large bodies, U+0000; and
//! signatures over HTTP/2.

use crate::support::aws::{Api, KEY, create, ok, text};
use crate::support::mail::MailServer;
use crate::support::parties::Postgres;
use crate::support::visitor::Visitor;
use crate::support::wire::Wire;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::process::Command;

const POOL: &str = "[[user_pool]]\nname = \"declared\"\nsigning_algorithm = \"ES256\"\n";
/// The limit of a request of the API in bytes.
const MAX_BYTES: usize = 448 * 1024;

#[tokio::test]
async fn a_member_that_occurs_twice_is_refused_at_every_depth() {
    let api = Api::start(POOL);
    let wire = Wire::new(&api.narthex);
    let pool = api.pool_id();
    for (operation, is_signed, body) in [
        ("DescribeUserPool", true, format!(r#"{{"UserPoolId":"{pool}","UserPoolId":"{pool}"}}"#)),
        ("DescribeUserPool", true, format!(r#"{{"UserPoolId":"{pool}","\u0055serPoolId":"{pool}"}}"#)),
        ("DescribeUserPool", true, format!(r#"{{"UserPoolId":"{pool}","Other":{{"a":1,"a":1}}}}"#)),
        ("CreateUserPool", true, r#"{"PoolName":"x","UserPoolTags":{"a":"1","a":"2"}}"#.to_owned()),
        ("CreateUserPool", true, r#"{"PoolName":"x","Schema":[{"Name":"a","Name":"b"}]}"#.to_owned()),
        (
            "CreateUserPool",
            true,
            r#"{"PoolName":"x","Policies":{"PasswordPolicy":{"MinimumLength":99,"MinimumLength":6}}}"#
                .to_owned(),
        ),
        (
            "InitiateAuth",
            false,
            r#"{"ClientId":"c","AuthFlow":"USER_AUTH","AuthFlow":"USER_PASSWORD_AUTH"}"#.to_owned(),
        ),
        (
            "InitiateAuth",
            false,
            r#"{"ClientId":"c","AuthFlow":"USER_AUTH","AuthParameters":{"USERNAME":"a","USERNAME":"b"}}"#
                .to_owned(),
        ),
        ("SignUp", false, r#"{"ClientId":"c","ClientId":null}"#.to_owned()),
    ] {
        let answer = wire.send(operation, is_signed, &body).await;
        let expected =
            json!({ "__type": "SerializationException", "message": "A member occurs twice in JSON." });
        assert_eq!((answer.status, &answer.body), (400, &expected), "{body}");
        assert_eq!(answer.error_type, "SerializationException:");
    }
    // Names that differ, also by their case alone, are not the same.
    let body = format!(r#"{{"UserPoolId":"{pool}","userPoolId":"x","a":{{"a":{{"a":1}}}}}}"#);
    assert_eq!(wire.send("DescribeUserPool", true, &body).await.status, 200);
    for body in ["{", "{} {}", "\u{feff}{}", "{'a':1}", "{\"a\":01}", &"[".repeat(500)] {
        let answer = wire.send("DescribeUserPool", true, body).await;
        assert_eq!(answer.body["message"], "Unexpected token or end of input in JSON.", "{body}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_has_an_answer_in_the_form_of_aws() {
    let api = Api::start(POOL);
    let wire = Wire::new(&api.narthex);
    let padded = |length: usize| format!("{{\"a\":\"{}\"}}", "a".repeat(length - 8));
    let answer = wire.send("InitiateAuth", false, &padded(MAX_BYTES)).await;
    assert_eq!((answer.status, &*answer.error_type), (400, "InvalidParameterException:"));
    for (operation, is_signed) in [("InitiateAuth", false), ("CreateUserPool", true), ("Unknown", false)] {
        let answer = wire.send(operation, is_signed, &padded(MAX_BYTES + 1)).await;
        let expected =
            json!({ "__type": "RequestEntityTooLargeException", "message": "The request is too large." });
        assert_eq!((answer.status, &answer.body), (413, &expected), "{operation}");
        assert_eq!(answer.error_type, "RequestEntityTooLargeException:");
        assert_eq!(answer.content_type, "application/x-amz-json-1.1");
    }
    // Without an operation the limit is that of a page's form.
    let visitor = Visitor::with_client(&api.narthex, |builder| builder.http1_only());
    let post =
        visitor.client.post(format!("{}/", api.narthex.origin("auth"))).header("accept", "application/json");
    let answer = post.body("a".repeat(64 * 1024 + 1)).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(body["error"], "too_large");
}

#[test]
fn a_client_may_have_as_many_addresses_as_the_model_says() {
    let api = Api::start(POOL);
    let mut boto = api.boto();
    let pool = text(&create(&mut boto, json!({}))["Id"]);
    let urls = |name: &str| -> Vec<String> {
        let url = |number: usize| format!("https://app.example/{name}/{number:03}");
        (0..100).map(|number| format!("{:a<1024}", url(number))).collect()
    };
    let (callback, logout) = (urls("in"), urls("out"));
    let request =
        json!({ "UserPoolId": pool, "ClientName": "app", "CallbackURLs": callback, "LogoutURLs": logout });
    let client = ok(&mut boto, "CreateUserPoolClient", request)["UserPoolClient"].clone();
    assert_eq!((&client["CallbackURLs"], &client["LogoutURLs"]), (&json!(callback), &json!(logout)));
}

#[tokio::test(flavor = "multi_thread")]
async fn u_0000_is_refused_and_says_nothing_of_the_database() {
    let mail = MailServer::start("starttls", &[]);
    let narthex = Api::builder(&mail, POOL).postgres(&Postgres::shared().database()).start();
    let api = Api { narthex, mail };
    let wire = Wire::new(&api.narthex);
    let pool = api.pool_id();
    let group = json!({ "UserPoolId": pool, "GroupName": "g", "Description": "\0" }).to_string();
    let domain = json!({ "Domain": "a\0b" }).to_string();
    let tags = json!({ "PoolName": "x", "UserPoolTags": { "a\0": "b" } }).to_string();
    for (operation, body) in
        [("CreateGroup", group), ("DescribeUserPoolDomain", domain), ("CreateUserPool", tags)]
    {
        let answer = wire.send(operation, true, &body).await;
        let expected =
            json!({ "__type": "SerializationException", "message": "U+0000 is not allowed in JSON." });
        assert_eq!((answer.status, &answer.body), (400, &expected), "{operation}");
        assert!(api.narthex.admin("/readyz").starts_with("HTTP/1.1 200"), "{operation}");
    }
    // In a token that is not verified yet.
    let payload = URL_SAFE_NO_PAD.encode(json!({ "client_id": "a\0b" }).to_string());
    let body = json!({ "AccessToken": format!("e30.{payload}.AAAA") }).to_string();
    let answer = wire.send("GetUser", false, &body).await;
    assert_eq!((answer.status, &answer.body["__type"]), (400, &json!("NotAuthorizedException")));
}

#[test]
fn http_2_names_the_signed_host_in_authority() {
    let api = Api::start(POOL);
    let (url, (id, secret)) = (api.narthex.origin("auth"), KEY);
    let address = format!("auth.localhost:{}:127.0.0.1", api.narthex.https);
    let authority = api.narthex.folder().join("certs/local-authority.pem");
    for version in ["--http1.1", "--http2"] {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", version, "--resolve", &address, "--cacert"])
            .arg(&authority)
            .args(["--aws-sigv4", "aws:amz:us-east-1:cognito-idp", "--user", &format!("{id}:{secret}")])
            .args(["--header", "Content-Type: application/x-amz-json-1.1"])
            .args(["--header", "X-Amz-Target: AWSCognitoIdentityProviderService.ListUserPools"])
            .args(["--data", r#"{"MaxResults":1}"#, &format!("{url}/")])
            .output()
            .unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        assert!(answer.contains("\"UserPools\""), "{version}: {answer} {:?}", output.stderr);
    }
}
