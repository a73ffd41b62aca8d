//! `narthex explain` and what `narthex check` says of policies: as a new user meets them, from the
//! guide to policies.

use crate::support::documentation::block;
use crate::support::narthex::NarthexBuilder;
use crate::support::parties::OpenIdProvider;
use crate::support::policies::{ROLES, RolesDeployment, allow_policy};
use crate::support::upstream::Upstream;
use crate::support::visitor::{Visitor, assert_status};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// What a command says in `folder`, and whether it was content.
fn narthex(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(arguments)
        .current_dir(folder)
        .env("IDP_CLIENT_SECRET", "secret")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout) + &text(output.stderr))
}

const PAGE: &str = "docs/src/guides/policies.md";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_user_sees_a_refusal_understands_it_and_mends_it() {
    let file = |kind: &str| block(PAGE, kind);
    let (reader, mend) = (file("json reader"), file("json fix"));
    // What `explain` says is what the guide shows.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("narthex.toml", &file("toml"));
    put("policies/reader.json", &reader);
    put("policies/ops.json", &file("json ops"));
    put("claims.json", &file("json claims"));
    let command = file("sh");
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some("narthex"));
    let (good, said) = narthex(folder.path(), &words.collect::<Vec<_>>());
    assert!(good);
    assert_eq!(said.trim(), file("text").trim());

    // The same file, in a deployment that runs.
    let upstream = Upstream::start().await;
    let builder = NarthexBuilder::new();
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let toml = file("toml");
    let tables = toml[toml.find("[[role]]").unwrap()..]
        .replace("photos.example.com", "app.localhost")
        .replace("127.0.0.1:3000", &format!("127.0.0.1:{}", upstream.port));
    let narthex = builder
        .file("policies/reader.json", reader.clone())
        .file("policies/ops.json", file("json ops"))
        .tables(&provider.toml("\"anyone\""))
        .tables(&tables)
        .start();
    let url = |path: &str| format!("{}{path}", narthex.origin("app"));
    let (ann, bob) = (Visitor::new(&narthex), Visitor::new(&narthex));
    assert_status(&ann.sign_in(&url("/"), "ann+ops").await, 200);
    assert_status(&bob.sign_in(&url("/"), "bob").await, 200);
    assert_status(&ann.get(&url("/admin/users")).await, 403);
    let denied = narthex.audit("access_denied");
    assert_eq!(denied[0]["statement"], "policies/reader.json:10 (ButNotAdmin)");
    assert_eq!(denied[0]["decision"], "explicitDeny");

    let statement = "photos/$default/*/admin/*\"\n      ]";
    let mended = reader.replace(statement, &format!("{statement},\n{}", mend.trim_end()));
    assert_ne!(mended, reader);
    std::fs::write(narthex.folder().join("policies/reader.json"), mended).unwrap();
    crate::support::process::wait_until("the reload", || !narthex.audit("reload").is_empty());
    assert_status(&ann.get(&url("/admin/users")).await, 200);
    assert_status(&bob.get(&url("/admin/users")).await, 403);
    assert_status(&bob.get(&url("/")).await, 200);
}

#[test]
fn the_documented_file_of_roles_is_good() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("narthex.toml", &block("docs/src/concepts/roles-and-policies.md", "toml roles"));
    put("policies/editor.json", &allow_policy(&["GET/*"]).to_string());
    put("policies/boundary.json", &allow_policy(&["GET/*"]).to_string());
    put("policies/guests.json", include_str!("../../policies/guests.json"));
    let trust = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": "cognito-identity.amazonaws.com"},
        "Condition": {"ForAnyValue:StringEquals": {"cognito-identity.amazonaws.com:amr": "corp"}}}});
    put("policies/trust.json", &trust.to_string());
    put("claims.json", r#"{"sub": "ann", "groups": ["Photo Editors"], "custom:team": "red"}"#);
    let explain = |more: &[&str]| {
        let arguments = [&["explain", "--json"], more, &["GET", "https://photos.example.com/"]].concat();
        let (good, said) = narthex(folder.path(), &arguments);
        assert!(good, "{said}");
        serde_json::from_str::<Value>(&said).unwrap()
    };
    let ann = explain(&["--claims", "claims.json"]);
    assert_eq!(ann["decision"], "allowed", "{ann:#}");
    assert_eq!(ann["reason"], "the role of the group editors, which is preferred");
    assert_eq!(explain(&["--guest"])["role"], "arn:aws:iam::123456789012:role/visitor");
    // A role allows nothing outside of its boundary, and only trusted principals assume it.
    put("policies/boundary.json", &allow_policy(&["GET/other"]).to_string());
    let bounded = explain(&["--claims", "claims.json"]);
    assert_eq!(bounded["decision"], "implicitDeny");
    assert!(bounded["why"].as_str().unwrap().contains("permissions_boundary"), "{bounded:#}");
    put("policies/trust.json", &trust.to_string().replace("\"corp\"", "\"club\""));
    let untrusted = explain(&["--claims", "claims.json"]);
    assert!(untrusted["why"].as_str().unwrap().contains("assume_role_policy"), "{untrusted:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_the_gateway_does() {
    let deployment = RolesDeployment::start().await;
    let (alice, of_alice) = deployment.new_visitor("corp", "alice+staff").await;
    let (bob, of_bob) = deployment.new_visitor("club", "bob+Editors").await;
    let guest = Visitor::new(&deployment.narthex);
    let assertion =
        deployment.upstream.seen().iter().find(|seen| seen.claims()["sub"] == of_bob["sub"]).unwrap().clone();
    std::fs::write(deployment.narthex.folder().join("token"), assertion.header("x-amzn-oidc-data")).unwrap();
    let (hers, his) = (of_alice["identity_id"].as_str().unwrap(), of_bob["identity_id"].as_str().unwrap());
    let mut decisions = std::collections::BTreeSet::new();
    for (who, said) in [
        (&alice, ["--user", of_alice["cognito:username"].as_str().unwrap()].as_slice()),
        (&bob, &["--token", "token"]),
        (&guest, &["--guest"]),
    ] {
        for (method, path) in [
            (Method::GET, "/".to_owned()),
            (Method::GET, format!("/home/{hers}/a")),
            (Method::GET, format!("/home/{his}/a")),
            (Method::PUT, format!("/home/{his}/a%20b")),
            (Method::GET, "/public/x?y=/z".to_owned()),
            (Method::GET, "/mail/bob@club.example".to_owned()),
        ] {
            let url = deployment.url(&path);
            let status = who.request_json(method.clone(), &url).await.status().as_u16();
            let arguments = [&["explain", "--json"], said, &[method.as_str(), &url]].concat();
            let (good, told) = narthex(deployment.narthex.folder(), &arguments);
            assert!(good, "{told}");
            let told: Value = serde_json::from_str(&told).unwrap();
            let decision = told["decision"].as_str().unwrap();
            assert_eq!(status == 200, decision == "allowed", "{status} {told:#}");
            decisions.insert(decision.to_owned());
        }
    }
    assert_eq!(decisions.len(), 2, "{decisions:?}");
    let (good, told) =
        narthex(deployment.narthex.folder(), &["explain", "--user", "nobody", "GET", &deployment.url("/")]);
    assert!(!good && told.contains("no user is called \"nobody\""), "{told}");
}

#[test]
fn what_cannot_be_explained_is_told_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let two = block(PAGE, "toml").replace("[[role]]\nname = \"reader\"", "[[provider]]\nname = \"club\"\ntype = \"oidc\"\nissuer = \"https://club.example.com\"\nclient_id = \"n\"\nclient_secret = \"s\"\nallow = \"anyone\"\n\n[[role]]\nname = \"reader\"");
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("narthex.toml", &two);
    put("policies/reader.json", &block(PAGE, "json reader"));
    put("policies/ops.json", &block(PAGE, "json ops"));
    put("claims.json", r#"{"sub": "ann", "groups": ["ops"]}"#);
    put("list.json", "[]");
    put("twice.json", r#"{"sub": "ann", "groups": ["ops"], "groups": []}"#);
    put("control.json", r#"{"sub": "ann\u0000", "groups": ["ops"]}"#);
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap().success());
    put("token", "a.b");
    let url = "https://photos.example.com/";
    for (arguments, said) in [
        (&["--claims", "claims.json", "GET", url][..], "help: name it: --provider corp or club"),
        (&["--claims", "absent.json", "GET", url], "cannot read absent.json"),
        (&["--claims", "list.json", "GET", url], "the claims are not a JSON object"),
        (&["--claims", "twice.json", "GET", url], "the claims are not a JSON object with unique names"),
        (&["--claims", "control.json", "--provider", "corp", "GET", url], "the sign-in is refused: "),
        (&["--claims", "pipe", "GET", url], "cannot read pipe: it is no regular file"),
        (&["--token", "token", "GET", url], "the token is not a signed JWT"),
        (&["--user", "nobody", "GET", url], "there is no store yet"),
        (&["--guest", "GET", "http://photos.example.com/"], "is no https address"),
        (&["--guest", "G T", url], "\"G T\" is no method"),
        (&["--guest", "--context", "aws:Colour=red", "GET", url], "nothing fills `aws:Colour`"),
        (&["--guest", "--context", "aws:CurrentTime=noon", "GET", url], "write it like 2026-11-23T09:00:00Z"),
    ] {
        let (good, told) = narthex(folder.path(), &[&["explain"], arguments].concat());
        assert!(!good && told.contains(said), "{said}: {told}");
    }
    assert!(!folder.path().join("narthex.db").exists(), "who only looks makes nothing");
    // Requests without a decision are reported too, and users that `allow` refuses.
    let told = |arguments: &[&str]| {
        let (good, told) = narthex(folder.path(), &[&["explain"], arguments].concat());
        assert!(good, "{told}");
        told
    };
    assert!(told(&["--guest", "GET", "https://other.example.com/"]).contains("no route answers for it: 404"));
    assert!(told(&["--guest", "GET", "https://photos.example.com/a/../b"]).contains("refused with 400"));
    assert!(told(&["--guest", "GET", url]).contains("no guest_role"));
    let claims = ["--claims", "claims.json", "--provider", "corp"];
    let ann = told(&[&claims[..], &["GET", url]].concat());
    assert!(ann.contains("but they cannot sign in: `allow` of corp does not name subject ann"), "{ann}");
    let at_night = ["--context", "aws:CurrentTime=2026-11-23T22:00:00Z", "GET", url];
    put("policies/reader.json", include_str!("../../policies/office-hours.json"));
    assert!(told(&[&claims[..], &at_night].concat()).contains("explicitDeny: policies/reader.json:4"));
}

#[test]
fn check_tells_what_is_odd_about_policies() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let arn = "arn:aws:execute-api:us-east-1:123456789012:";
    let statement = |action: &str, resource: &str, condition: Value| json!({"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition});
    let none = || json!({});
    let invoke = "execute-api:Invoke";
    let odd = json!({"Version": "2012-10-17", "Statement": [
        statement("execute-api:Inovke", &format!("{arn}photos/$default/GET/"), none()),
        statement(invoke, &format!("{arn}photo/$default/GET/"), none()),
        statement(invoke, &format!("{arn}photos/$default/*/home/x"), none()),
        statement(invoke, &format!("{arn}photos/$default/GET/"), json!({"StringEquals": {"aws:PrincipalTag/team": "red"}})),
        statement(invoke, &format!("{arn}photos/$default/GET/"), json!({"StringNotEquals": {"aws:Colour": "red"}})),
        statement(invoke, &format!("{arn}photos/$default/GET/${{aws:RequestTag/x}}"), none()),
    ]});
    put("odd.json", &odd.to_string());
    put("guest.json", &allow_policy(&["GET/home/${aws:username}/*"]).to_string());
    let wide = statement(invoke, &format!("{arn}photos/$default/GET/"), none());
    put("idle.json", &json!({"Version": "2012-10-17", "Statement": wide}).to_string());
    let toml = "public_url = \"https://auth.example.com\"\n[[role]]\nname = \"odd\"\npolicies = [\"odd.json\"]\n\
                [[role]]\nname = \"guest\"\npolicies = [\"guest.json\"]\n[[role]]\nname = \"idle\"\npolicies = [\"idle.json\"]\n\
                [[identity_pool]]\nname = \"main\"\nauthenticated_role = \"odd\"\nguest_role = \"guest\"\n\
                [[route]]\nhost = \"photos.example.com\"\nname = \"photos\"\naccess = \"policy\"\nupstream = \"http://127.0.0.1:1\"\n\
                [[route]]\nhost = \"other.example.com\"\nname = \"other\"\naccess = \"policy\"\nupstream = \"http://127.0.0.1:1\"\n";
    put("narthex.toml", toml);
    let (good, told) = narthex(folder.path(), &["check"]);
    assert!(good, "{told}");
    for line in [
        "nothing asks for the action `execute-api:Inovke`: write execute-api:Invoke",
        "role odd: it can never be met: it is about no route under policy",
        "photos/$default/*/home/x` allows more than its path",
        "nothing fills `aws:PrincipalTag/team` for those who have the role: StringEquals of it is never met",
        "nothing fills `aws:colour` for those who have the role: StringNotEquals of it is always met",
        "nothing fills `${aws:RequestTag/x}` for those who have the role",
        "role guest: nothing fills `${aws:username}` for those who have the role",
        "role idle: it is unused",
        "route other: it is unreachable",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    assert_eq!(told.lines().filter(|line| line.contains("odd.json:1")).count(), 6, "{told}");
    assert!(!told.contains("route photos: nobody"), "{told}");
}

/// A deployment in which `member` and guests have this statement beside an Allow, and what is to be
/// said of it.
const DEAD: &[(&str, &str)] = &[
    (r#"{"Effect": "Deny", "Action": "execute-api:Invoek", "Resource": "*"}"#, "write execute-api:Invoke"),
    (
        r#"{"Effect": "Deny", "Action": ["s3:*", "execute-api:invoke2"], "Resource": "*"}"#,
        "write execute-api:Invoke",
    ),
    (r#"{"Effect": "Deny", "NotAction": "execute-api:*", "Resource": "*"}"#, "its NotAction leaves out"),
    (r#"{"Effect": "Deny", "Action": "*", "NotResource": "*"}"#, "its NotResource leaves out"),
    (
        r#"{"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:execute-api:*"}"#,
        "its NotResource leaves out",
    ),
    (
        r#"{"Effect": "Deny", "Action": "*", "Resource": ["arn:aws:execute-api:*:*:photos/*", "arn:aws:execute-api:*:*:photo/*"]}"#,
        "`arn:aws:execute-api:*:*:photo/*` is about no route",
    ),
    (
        r#"{"Effect": "Deny", "Action": "*", "Resource": "arn:aws:execute-api:us-west-1:*:photos/$default/GET/a"}"#,
        "is about no route",
    ),
    (
        r#"{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalTag/taem": "red"}}}"#,
        "nothing fills `aws:PrincipalTag/taem`",
    ),
    (
        r#"{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalTag/odd": "red"}}}"#,
        "nothing fills `aws:PrincipalTag/odd`",
    ),
    (
        r#"{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIP4": "10.0.0.0/8"}}}"#,
        "nothing fills `aws:sourceip4`",
    ),
    (
        r#"{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"Null": {"aws:RequestTag/x": "false"}}}"#,
        "nothing fills `aws:RequestTag/x`",
    ),
    (
        r#"{"Effect": "Deny", "Action": "*", "Resource": "arn:aws:execute-api:*:*:photos/$default/GET/${aws:usrename}"}"#,
        "nothing fills `${aws:usrename}`",
    ),
    (
        r#"{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"NumericLessThan": {"aws:CurrentTime": "1893456000"}}}"#,
        "does not read values of the type of `aws:CurrentTime`",
    ),
];

/// The same of statements that may apply to somebody.
const ALIVE: &[&str] = &[
    r#"{"Effect": "Deny", "Action": ["execute-api:Invoke", "s3:*"], "Resource": "arn:aws:execute-api:*:*:PHOTOS/*"}"#,
    r#"{"Effect": "Deny", "NotAction": "s3:*", "NotResource": "arn:aws:execute-api:*:*:photos/$default/GET/*"}"#,
    // Guests have no name, and the others have.
    r#"{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:username": "bob"}}}"#,
    r#"{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringNotEquals": {"aws:colour": "red"}}}"#,
    r#"{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}"#,
    r#"{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalTag/team": "red"}}}"#,
    r#"{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"DateLessThan": {"aws:EpochTime": "1593561599"}}}"#,
];

#[test]
fn a_deny_that_can_never_apply_is_refused_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let allow = r#"{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}"#;
    let policy = |more: &str| format!("{{\"Version\": \"2012-10-17\", \"Statement\": [{allow}, {more}]}}");
    let trust = |deny: &str| {
        format!(
            "{{\"Version\": \"2012-10-17\", \"Statement\": [{{\"Effect\": \"Allow\", \"Principal\": \"*\", \"Action\": \"sts:*\"}}, \
             {{\"Effect\": \"Deny\", {deny}}}]}}"
        )
    };
    let toml = "public_url = \"https://auth.example.com\"\n[listen]\nhttps = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[[role]]\nname = \"member\"\npolicies = [\"all.json\"]\nassume_role_policy = \"trust.json\"\n\
                [[role]]\nname = \"guest\"\npolicies = [\"all.json\"]\n\
                [[identity_pool]]\nname = \"main\"\nauthenticated_role = \"member\"\nguest_role = \"guest\"\n\
                [identity_pool.principal_tags]\nteam = \"name\"\nodd = \"custom:nobody-tells-this\"\n\
                [[route]]\nhost = \"photos.example.com\"\nname = \"photos\"\naccess = \"policy\"\nupstream = \"http://127.0.0.1:1\"\n";
    put("narthex.toml", toml);
    let good = trust(
        r#""Principal": "*", "Action": "sts:*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#,
    );
    put("trust.json", &good);
    for (statement, why) in DEAD {
        put("all.json", &policy(statement));
        let (sound, told) = narthex(folder.path(), &["check"]);
        assert!(
            !sound && told.contains("a Deny can never apply") && told.contains(why),
            "{statement}\n{told}"
        );
    }
    // The gateway does not start with one, and says why.
    put("all.json", &policy(DEAD[0].0));
    let run = Command::new("timeout")
        .args(["60", env!("CARGO_BIN_EXE_narthex"), "run"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let started = run.status.success();
    let told = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    assert!(!started && told.contains("all.json:1") && told.contains("write execute-api:Invoke"), "{told}");
    for statement in ALIVE {
        put("all.json", &policy(statement));
        let (sound, told) = narthex(folder.path(), &["check"]);
        assert!(sound && !told.contains("problem "), "{statement}\n{told}");
    }
    for (deny, why) in [
        (r#""Principal": "*", "Action": "execute-api:Invoke""#, "write sts:AssumeRoleWithWebIdentity"),
        (
            r#""Principal": {"Federated": "cognito-identity.amazon.com"}, "Action": "*""#,
            "it names no principal",
        ),
        (r#""Principal": {"AWS": "123456789012"}, "Action": "*""#, "it names no principal"),
        (
            r#""Principal": "*", "Action": "*", "Condition": {"StringEquals": {"cognito-identity.amazonaws.com:aut": "x"}}"#,
            "nothing fills `cognito-identity.amazonaws.com:aut`",
        ),
    ] {
        put("trust.json", &trust(deny));
        let (sound, told) = narthex(folder.path(), &["check"]);
        assert!(!sound && told.contains("trust.json:1") && told.contains(why), "{deny}\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_is_logged_and_a_reload_with_a_dead_deny_keeps_the_old_policy() {
    let upstream = Upstream::start().await;
    let arn = "arn:aws:execute-api:us-east-1:123456789012:photos/$default/";
    let policy = |action: &str| {
        json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["execute-api:Invoke", "execute-api:Other"], "Resource": format!("{arn}GET/*")},
            {"Effect": "Deny", "Action": action, "Resource": format!("{arn}*/admin")}]})
        .to_string()
    };
    let deployment = NarthexBuilder::new()
        .file("all.json", policy("execute-api:Invoke"))
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\nguest_role = \"all\"\n")
        .route("app", upstream.port, "name = \"photos\"\naccess = \"policy\"")
        .start();
    let visitor = Visitor::new(&deployment);
    let url = |path: &str| format!("{}{path}", deployment.origin("app"));
    let odd = "nothing asks for the action `execute-api:Other`";
    assert_eq!(
        deployment.log().matches(&format!("not what was meant: all.json:1, role all: {odd}")).count(),
        1
    );
    assert_eq!(visitor.request_json(Method::GET, &url("/admin")).await.status(), 401);
    std::fs::write(deployment.folder().join("all.json"), policy("execute-api:Invoek")).unwrap();
    deployment.wait_for_log("a Deny can never apply");
    assert!(deployment.audit("reload").is_empty());
    assert!(deployment.log().contains("help: correct the statement, or remove it"));
    assert_eq!(visitor.request_json(Method::GET, &url("/admin")).await.status(), 401);
    std::fs::write(deployment.folder().join("all.json"), policy("execute-api:*")).unwrap();
    crate::support::process::wait_until("the reload", || !deployment.audit("reload").is_empty());
    assert!(
        deployment.log().matches(&format!("not what was meant: all.json:1, role all: {odd}")).count() >= 2
    );
    assert_eq!(visitor.request_json(Method::GET, &url("/admin")).await.status(), 401);
    assert_eq!(visitor.request_json(Method::GET, &url("/other")).await.status(), 200);
}

/// Each mistake about roles: what to replace in a good file, by what, and the message and remedy.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    (
        "guest_role = \"visitor\"",
        "guest_role = \"visitors\"",
        "no [[role]] is named \"visitors\"",
        "did you mean \"visitor\"?",
    ),
    (
        "provider = \"corp\"\ntype = \"rules\"",
        "provider = \"crop\"\ntype = \"rules\"",
        "no [[provider]] is named \"crop\"",
        "did you mean \"corp\"?",
    ),
    (
        "ambiguous = \"deny\"\nrules",
        "rules",
        "`ambiguous` is missing in [[identity_pool.role_mapping]]",
        "add ambiguous = \"deny\"; or",
    ),
    (
        "ambiguous = \"deny\"\nrules",
        "ambiguous = \"authenticated_role\"\nrules",
        "uses `authenticated_role`, which is missing",
        "authenticated_role = \"reader\"",
    ),
    (
        "match = \"Equals\"",
        "match = \"equals\"",
        "`match` cannot be \"equals\"",
        "\"Equals\" or \"Contains\"",
    ),
    ("value = \"staff\"", "value = \"\"", "the `value` of a rule is empty", "write a value"),
    (
        "mail = \"email\"",
        "mail = \"groups\"",
        "`groups` has many values, and a tag has one",
        "[[user_pool.group]]",
    ),
    ("mail = \"email\"", "\"a!\" = \"email\"", "`a!` cannot name a tag", "use 1 to 128 letters"),
    ("mail = \"email\"", "mail = \"email\"\nMail = \"name\"", "differ only in case", "keep one"),
    (
        "role = \"editor\"\n",
        "role = \"editors\"\n",
        "no [[role]] is named \"editors\"",
        "did you mean \"editor\"?",
    ),
    (
        "Editors = \"editors\"",
        "Editors = \"writers\"",
        "no [[user_pool.group]] is named \"writers\"",
        "the file has editors",
    ),
    ("policies/member.json", "policies/absent.json", "cannot read", "name a file"),
    (
        "[[user_pool]]\n",
        "[[user_pool]]\n[[user_pool]]\n",
        "two user pools are named \"default\"",
        "give them different names",
    ),
    ("precedence = 1", "precedence = -1", "`precedence` is a number", "a whole number, at least 0"),
    ("name = \"photos\"\n", "", "`name` is missing in [[route]]", "add name = \"photos\""),
    (
        "name = \"photos\"\n",
        "name = \"my photos/\"\n",
        "\"my photos/\" cannot name a route with access",
        "letters, digits",
    ),
    (
        "access = \"policy\"",
        "access = \"public\"\nidentity_pool = \"main\"",
        "`identity_pool` has no effect",
        "access = \"policy\"",
    ),
    (
        "access = \"policy\"",
        "access = \"policy\"\nidentity_pool = \"mian\"",
        "no [[identity_pool]] is named \"mian\"",
        "did you mean \"main\"?",
    ),
];

#[test]
fn each_mistake_about_roles_is_told_with_its_mend() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    for name in ["member", "editor", "visitor"] {
        let file = folder.path().join(format!("policies/{name}.json"));
        std::fs::write(file, allow_policy(&["GET/"]).to_string()).unwrap();
    }
    let provider = |name: &str| crate::support::parties::provider_toml(name, 1, "\"anyone\"");
    let good = format!(
        "public_url = \"https://auth.example.com\"\n{}{}[provider.groups]\nEditors = \"editors\"\n{ROLES}\n\
         [[route]]\nhost = \"photos.example.com\"\nupstream = \"http://127.0.0.1:1\"\nname = \"photos\"\naccess = \"policy\"\n",
        provider("corp"),
        provider("club"),
    );
    let read = |text: &str| narthex::config::Config::parse(text, "narthex.toml", folder.path(), &|_| None);
    assert!(read(&good).is_ok(), "{}", read(&good).unwrap_err());
    for (from, to, message, help) in MISTAKES {
        assert!(good.contains(from), "{from}");
        let told = read(&good.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(told.contains(message), "{message}:\n{told}");
        assert!(told.contains(help), "{help}:\n{told}");
    }
}

#[test]
fn decisions_are_expected_by_a_command_and_by_a_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let file = |kind: &str| block(PAGE, kind);
    put("narthex.toml", &file("toml"));
    put("policies/reader.json", &file("json reader"));
    put("policies/ops.json", &file("json ops"));
    put("claims.json", &file("json claims"));
    let explain = |expect: &str, path: &str| {
        let url = format!("https://photos.example.com{path}");
        narthex(folder.path(), &["explain", "--claims", "claims.json", "--expect", expect, "GET", &url])
    };
    assert!(explain("allow", "/").0);
    assert!(explain("deny", "/admin/users").0);
    let (good, said) = explain("deny", "/");
    assert!(!good && said.contains("deny is expected, and it is allow: "), "{said}");
    let (good, said) = explain("allow", "/nowhere/../x");
    assert!(!good && said.contains("allow is expected, and it is deny: "), "{said}");
    assert!(!explain("maybe", "/").0);

    // The guide's file of cases.
    put("cases.json", &file("json cases"));
    let (good, said) = narthex(folder.path(), &["cases", "cases.json"]);
    assert!(good, "{said}");
    assert_eq!(said.matches("ok      ").count(), 3, "{said}");
    put("cases.json", &file("json cases").replacen("deny", "allow", 1));
    let (good, said) = narthex(folder.path(), &["cases", "cases.json"]);
    assert!(!good && said.contains("FAILED  ") && said.contains("1 of 3 case(s) failed"), "{said}");
    for (text, words) in [
        ("[]", "has no case"),
        ("{", "cannot read the cases"),
        (r#"[{"method": "GET", "url": "https://photos.example.com/", "expect": "allow"}]"#, "give one of"),
        (
            r#"[{"guest": true, "claims": {}, "method": "GET", "url": "https://photos.example.com/", "expect": "deny"}]"#,
            "give one of",
        ),
        (
            r#"[{"guest": true, "method": "GET", "url": "https://photos.example.com/", "expected": "deny"}]"#,
            "expected",
        ),
    ] {
        put("cases.json", text);
        let (good, said) = narthex(folder.path(), &["cases", "cases.json"]);
        assert!(!good && said.contains(words), "{text}:\n{said}");
    }
}

#[test]
fn what_a_claim_or_an_address_holds_cannot_disguise_the_explanation() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("narthex.toml", &block(PAGE, "toml"));
    put("policies/reader.json", &block(PAGE, "json reader"));
    put("policies/ops.json", &block(PAGE, "json ops"));
    let odd = "\u{1b}[2K\u{7f}\u{9b}\nFAKE\u{202e}";
    let claims = json!({"sub": "ann", "groups": [odd], "email": "ann@example.com", "email_verified": true});
    put("claims.json", &claims.to_string());
    let plain = |said: &str| {
        let deceptive = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!said.contains(deceptive) && !said.contains("\nFAKE"), "{said:?}");
    };
    let url = format!("https://photos.example.com/{odd}");
    for arguments in [
        &["--claims", "claims.json", "GET", &url][..],
        &["--claims", "claims.json", "--json", "GET", &url],
        &["--claims", "claims.json", "--expect", "allow", "GET", &url],
        &["--guest", "GET", &format!("http://{odd}")],
        &["--guest", "--context", &format!("{odd}=red"), "GET", &url],
    ] {
        plain(&narthex(folder.path(), &[&["explain"], arguments].concat()).1);
    }
    let case = |name: &str, expect: &str| json!({"name": name, "guest": true, "method": "GET", "url": url, "expect": expect});
    put("cases.json", &json!([case(odd, "deny"), case(odd, "allow")]).to_string());
    let (good, said) = narthex(folder.path(), &["cases", "cases.json"]);
    assert!(!good && said.contains("\\u001b") && said.contains("1 of 2 case(s) failed"), "{said}");
    plain(&said);
    put("cases.json", &json!([{(odd): 1}]).to_string());
    plain(&narthex(folder.path(), &["cases", "cases.json"]).1);
    put(
        "cases.json",
        r#"[{"claims": {"sub": "ann", "sub": "bob"}, "method": "GET", "url": "https://photos.example.com/", "expect": "allow"}]"#,
    );
    let (good, said) = narthex(folder.path(), &["cases", "cases.json"]);
    assert!(!good && said.contains("cannot read the cases"), "{said}");
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap().success());
    let (good, said) = narthex(folder.path(), &["cases", "pipe"]);
    assert!(!good && said.contains("it is no regular file"), "{said}");
}
