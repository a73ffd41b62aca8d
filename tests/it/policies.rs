//! Policies: each rule of AWS's documentation as data, and what becomes of documents that are
//! wrong.

use crate::support::policies::{RequestContext, decision};
use narthex::policy::{
    Document, EvalRequest, Grants, MatchLevel, Purpose, Spellings, Statements, Verdict, explain,
};
use serde_json::Value as Json;
use std::time::{Duration, Instant};

const ACTION: &str = "s3:GetObject";
const RESOURCE: &str = "arn:aws:s3:::bucket/key";

fn grants(policy: &Json) -> Grants {
    let document = Document::parse(&policy.to_string(), Purpose::Identity)
        .unwrap_or_else(|wrong| panic!("{wrong}: {policy}"));
    Grants { policies: Statements::of([&document]), bounds: Vec::new() }
}

#[test]
fn what_denies_is_not_left_out_for_its_spelling() {
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::Bucket/Key*"},
        {"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let context = RequestContext::default();
    let asked = EvalRequest {
        action: ACTION,
        resource: RESOURCE,
        loose: Some(Spellings { folded: &[RESOURCE.to_owned()], without_ending: None }),
        principal: None,
        context: &context,
    };
    for prefix in ["", "arn:aws:s3:::bucket/"] {
        let narrowed = grants(&policy).narrowed(ACTION, prefix);
        assert!(matches!(narrowed.judge(&asked), Verdict::Denied(_)), "narrowed to {prefix:?}");
    }
}

#[test]
fn what_denies_is_compared_folded_its_variables_too() {
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::*/${aws:username}/Entwürfe"},
        {"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let context = RequestContext::from_json(&serde_json::json!({"aws:username": "Ågnes*"}));
    for (folded, denied) in [
        ("arn:aws:s3:::b/agnes*/entwurfe", true),
        ("arn:aws:s3:::B/AGNES*/entwurfe", true),
        ("arn:aws:s3:::b/agnes-x/entwurfe", false),
        ("arn:aws:s3:::b/agnes*/entwurfen", false),
    ] {
        let loose = Some(Spellings { folded: &["x".to_owned(), folded.to_owned()], without_ending: None });
        let asked = EvalRequest { action: ACTION, resource: "x", loose, principal: None, context: &context };
        let grants = grants(&policy);
        assert_eq!(matches!(grants.judge(&asked), Verdict::Denied(_)), denied, "{folded}");
    }
}

#[test]
fn every_operator_holds_as_its_rule_says() {
    let rules: Json = serde_json::from_str(include_str!("../policy/operators.json")).unwrap();
    let mut count = 0;
    for rule in rules.as_array().unwrap() {
        let policy = |effect: &str| {
            serde_json::json!({"Version": "2012-10-17", "Statement": {
            "Effect": effect, "Action": "*", "Resource": "*", "Condition": rule["condition"]}})
        };
        let (allow, deny) = (grants(&policy("Allow")), grants(&policy("Deny")));
        for case in rule["cases"].as_array().unwrap() {
            let (context, holds) = (RequestContext::from_json(&case[0]), case[1].as_bool().unwrap());
            let words = if holds { ["allowed", "denied"] } else { ["not allowed", "not allowed"] };
            let told =
                [decision(&allow, ACTION, RESOURCE, &context), decision(&deny, ACTION, RESOURCE, &context)];
            assert_eq!(told, words, "{}: {}", rule["rule"], case[0]);
            count += 1;
        }
    }
    assert!(count > 90, "{count}");
}

#[test]
fn every_element_and_every_example_of_the_documentation_behaves_as_it_says() {
    for text in [include_str!("../policy/elements.json"), include_str!("../policy/documentation.json")] {
        let rules: Json = serde_json::from_str(text).unwrap();
        for rule in rules.as_array().unwrap() {
            let grants = grants(&rule["policy"]);
            for case in rule["cases"].as_array().unwrap() {
                let text = |name: &str, or: &'static str| case[0][name].as_str().unwrap_or(or).to_owned();
                let (action, resource) = (text("action", ACTION), text("resource", RESOURCE));
                let told =
                    decision(&grants, &action, &resource, &RequestContext::from_json(&case[0]["context"]));
                assert_eq!(told, case[1], "{}: {}", rule["rule"], case[0]);
            }
        }
    }
}

#[test]
fn bounds_take_away_and_never_give() {
    let policy = |text: &str| Statements::of([&Document::parse(text, Purpose::Identity).unwrap()]);
    let allow = |what: &str| {
        policy(&format!(r#"{{"Statement": {{"Effect": "Allow", "Action": "{what}", "Resource": "*"}}}}"#))
    };
    let deny = policy(r#"{"Statement": {"Effect": "Deny", "Action": "s3:Get*", "Resource": "*"}}"#);
    let told = |policies: &Statements, bounds: &[&Statements]| {
        let grants = Grants {
            policies: policies.clone(),
            bounds: bounds.iter().map(|bound| (*bound).clone()).collect(),
        };
        decision(&grants, ACTION, RESOURCE, &RequestContext::default())
    };
    assert_eq!(told(&allow("s3:*"), &[&allow("s3:Get*")]), "allowed");
    assert_eq!(told(&allow("s3:*"), &[&allow("ec2:*")]), "not allowed");
    assert_eq!(told(&allow("ec2:*"), &[&allow("s3:*")]), "not allowed");
    assert_eq!(told(&allow("s3:*"), &[&allow("s3:*"), &allow("ec2:*")]), "not allowed");
    assert_eq!(told(&allow("s3:*"), &[&deny]), "denied");
    assert_eq!(told(&deny, &[&allow("s3:*")]), "denied");
    assert_eq!(told(&allow("ec2:*"), &[&deny]), "denied");
    assert_eq!(told(&Statements::default(), &[]), "not allowed");
}

#[test]
fn a_trust_policy_says_who_may_take_a_role_on() {
    let text = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Principal": {"Federated": "cognito-identity.amazonaws.com"}, "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {"cognito-identity.amazonaws.com:aud": "us-east-1:pool"},
                      "ForAnyValue:StringLike": {"cognito-identity.amazonaws.com:amr": "authenticated"}}}]}"#;
    let trust = Statements::of([&Document::parse(text, Purpose::Trust).unwrap()]);
    let told = |principal: Option<(&str, &str)>, aud: &str, amr: &str| {
        let context = RequestContext::from_json(
            &serde_json::json!({"cognito-identity.amazonaws.com:aud": aud, "cognito-identity.amazonaws.com:amr": [amr]}),
        );
        let asked = EvalRequest {
            action: "sts:AssumeRoleWithWebIdentity",
            resource: "",
            loose: None,
            principal,
            context: &context,
        };
        matches!(trust.judge(&asked), Verdict::Allowed(_))
    };
    let cognito = Some(("Federated", "cognito-identity.amazonaws.com"));
    assert!(told(cognito, "us-east-1:pool", "authenticated"));
    assert!(!told(cognito, "us-east-1:other", "authenticated"));
    assert!(!told(cognito, "us-east-1:pool", "unauthenticated"));
    assert!(!told(Some(("Federated", "accounts.google.com")), "us-east-1:pool", "authenticated"));
    assert!(!told(Some(("AWS", "cognito-identity.amazonaws.com")), "us-east-1:pool", "authenticated"));
    assert!(!told(None, "us-east-1:pool", "authenticated"));
}

#[test]
fn a_document_that_is_wrong_is_told_where_and_what() {
    let whole = |statement: &str| {
        format!(
            "{{\"Version\": \"2012-10-17\",\n\"Statement\": [\n{{\"Effect\": \"Allow\", \"Action\": \"s3:*\", \"Resource\": \"*\"}},\n{statement}\n]}}"
        )
    };
    let within = |more: &str| {
        whole(&format!("{{\"Effect\": \"Allow\", \"Action\": \"s3:*\",\n\"Resource\": \"*\"{more}}}"))
    };
    let condition = |text: &str| within(&format!(", \"Condition\": {text}"));
    for (text, line, said) in [
        ("{".to_owned(), 1, "EOF while parsing an object"),
        ("{}".to_owned(), 1, "missing field `Statement`"),
        ("{\"Statement\": []}".to_owned(), 1, "the policy has no statement"),
        ("{\"Version\": \"2020-01-01\", \"Statement\": []}".to_owned(), 1, "unknown variant `2020-01-01`"),
        ("{\n\"Statment\": []}".to_owned(), 2, "unknown field `Statment`"),
        (
            "{\"Version\": \"2012-10-17\",\n\"Version\": \"2012-10-17\"}".to_owned(),
            2,
            "duplicate field `Version`",
        ),
        ("{\"Id\": 7,\n\"Statement\": []}".to_owned(), 1, "invalid type: integer `7`, expected a string"),
        ("{\"Statement\": [\n7]}".to_owned(), 2, "invalid type: integer `7`, expected a statement"),
        ("{\"Statement\": \n\"*\"}".to_owned(), 2, "expected a statement, which is an object, or a list"),
        ("[]".to_owned(), 1, "invalid type: sequence, expected a policy document"),
        (
            "{\"Statement\":\n\n{\"Effect\": \"Allow\", \"Resource\": \"*\"}\n}".to_owned(),
            3,
            "a statement has an Action or a NotAction",
        ),
        (
            "{\"Statement\": {\"Effect\": \"Allow\", \"Action\": \"s3:*\", \"Resource\": \"*\"}}\n{}"
                .to_owned(),
            2,
            "trailing characters",
        ),
        (whole("{\"Action\": \"s3:*\", \"Resource\": \"*\"}"), 4, "missing field `Effect`"),
        (
            whole("{\"Effect\": \"Alow\", \"Action\": \"s3:*\", \"Resource\": \"*\"}"),
            4,
            "unknown variant `Alow`, expected `Allow` or `Deny`",
        ),
        (
            whole("{\"Effect\": \"Allow\",\n\"Action\": 7, \"Resource\": \"*\"}"),
            5,
            "invalid type: integer `7`, expected a string, or a list of strings",
        ),
        (
            whole("{\"Effect\": \"Allow\", \"Resource\": \"*\"}"),
            4,
            "a statement has an Action or a NotAction",
        ),
        (
            whole("{\"Effect\": \"Allow\", \"Action\": \"s3:*\"}"),
            4,
            "a statement has a Resource or a NotResource",
        ),
        (
            whole("{\"Effect\": \"Allow\", \"Action\": \"GetObject\", \"Resource\": \"*\"}"),
            4,
            "`GetObject` is no action",
        ),
        (
            whole("{\"Effect\": \"Allow\", \"Action\": \"s3:${aws:username}\", \"Resource\": \"*\"}"),
            4,
            "`s3:${aws:username}` is no action",
        ),
        (whole("{\"Effect\": \"Allow\", \"Action\": [], \"Resource\": \"*\"}"), 4, "Action names nothing"),
        (within(", \"NotResource\": \"*\""), 4, "a statement has Resource or NotResource, not both"),
        (within(", \"NotAction\": \"*\""), 4, "a statement has Action or NotAction, not both"),
        (within(", \"Resource\": \"*\""), 5, "duplicate field `Resource`"),
        (within(",\n\"Principal\": \"*\""), 4, "a Principal is valid in trust policies only"),
        (within(", \"Sid\": \"a b\""), 4, "the Sid `a b` holds more than letters and digits"),
        (within(",\n\"Condtion\": {}"), 6, "unknown field `Condtion`"),
        (
            condition("{\"StringEqual\": {\"aws:username\": \"a\"}}"),
            4,
            "`StringEqual` is no condition operator",
        ),
        (
            condition("{\"ForSomeValue:StringEquals\": {\"aws:username\": \"a\"}}"),
            4,
            "`ForSomeValue` is no set operator",
        ),
        (
            condition("{\"StringEquals\": {\"aws:username\": []}}"),
            4,
            "`aws:username` is compared with nothing",
        ),
        (condition("{\"StringEquals\": {\"\": \"a\"}}"), 4, "`` is no condition key"),
        (condition("{\"StringEquals\": {\"a:b\": \"x\", \"a:b\": \"y\"}}"), 5, "`a:b` comes twice"),
        (
            condition("{\"StringEquals\": {\"a:b\": {\"x\": 1}}}"),
            5,
            "invalid type: map, expected a string, or a list of strings",
        ),
        (
            condition("{\"StringEquals\": {\"a:b\": [[\"x\"], [\"y\", \"z\"]]}}"),
            5,
            "invalid type: sequence, expected a string",
        ),
        (condition("{\"NumericEquals\": {\"a:b\": \"many\"}}"), 4, "`many` is no number"),
        (
            condition("{\"NumericEquals\": {\"a:b\": \"${aws:username}\"}}"),
            4,
            "`${aws:username}` holds a variable, which only string and ARN operators take",
        ),
        (condition("{\"DateLessThan\": {\"a:b\": \"tomorrow\"}}"), 4, "`tomorrow` is no date"),
        (condition("{\"Bool\": {\"a:b\": \"yes\"}}"), 4, "`yes` is no truth value"),
        (
            condition("{\"IpAddress\": {\"a:b\": \"10.0.0.0/33\"}}"),
            4,
            "`10.0.0.0/33` is no address or network",
        ),
        (condition("{\"BinaryEquals\": {\"a:b\": \"***\"}}"), 4, "`***` is no base64"),
        (condition("{\"ArnLike\": {\"a:b\": \"arn:aws:s3\"}}"), 4, "`arn:aws:s3` is no ARN"),
        (condition("{\"NullIfExists\": {\"a:b\": \"true\"}}"), 4, "`Null` asks whether a key is there"),
        (
            condition("{\"StringLike\": {\"a:b\": \"${aws:username\"}}"),
            4,
            "begins a variable that does not end",
        ),
        (condition("{\"StringLike\": {\"a:b\": \"${}\"}}"), 4, "`${}` names no key"),
        (condition("{\"StringLike\": {\"a:b\": \"${a:b, c}\"}}"), 4, "must be in single quotes"),
        (condition("{\"StringLike\": {\"a:b\": \"${a b}\"}}"), 4, "`a b` is no condition key"),
    ] {
        let wrong = Document::parse(&text, Purpose::Identity).expect_err(&text);
        assert!(
            wrong.line == line && wrong.message.contains(said),
            "{said} (line {line}), but it said {wrong}:\n{text}"
        );
    }
    let twice = whole(
        "{\"Sid\": \"A\", \"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\"},\n{\"Sid\": \"A\", \"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\"}",
    );
    assert_eq!(
        Document::parse(&twice, Purpose::Identity).unwrap_err().to_string(),
        "5: two statements have the Sid `A`"
    );
    let trust = |more: &str| {
        Document::parse(
            &format!("{{\"Statement\": {{\"Effect\": \"Allow\", \"Action\": \"sts:*\"{more}}}}}"),
            Purpose::Trust,
        )
    };
    for (more, said) in [
        ("", "a statement of a trust policy has a Principal"),
        (", \"Principal\": \"*\", \"Resource\": \"*\"", "a trust policy applies to its own role"),
        (", \"Principal\": \"ann\"", "`ann` is no principal"),
        (", \"Principal\": {\"User\": \"ann\"}", "`User` is no kind of principal"),
        (", \"Principal\": {}", "the Principal is empty"),
    ] {
        let wrong = trust(more).expect_err(more);
        assert!(wrong.message.contains(said), "{said}, but it said {wrong}");
    }
    let long = format!("{{\"Id\": \"{}\"}}", "x".repeat(300 * 1024));
    assert!(Document::parse(&long, Purpose::Identity).unwrap_err().message.contains("at most"));
}

#[test]
fn no_pattern_takes_longer_than_its_text_is_long() {
    let policy = |pattern: &str| {
        grants(&serde_json::json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "*", "Resource": pattern}}))
    };
    let arn = "arn:aws:s3:::";
    let text = format!("{arn}{}", "a".repeat(10_000));
    for (pattern, told) in [
        ("*".repeat(1000), "allowed"),
        ("*a".repeat(1000), "allowed"),
        ("*a".repeat(1000) + "b", "not allowed"),
        ("a*".repeat(1000) + "b", "not allowed"),
        ("*?".repeat(1000) + "b", "not allowed"),
        ("?*".repeat(1000), "allowed"),
        ("*a?".repeat(1000) + "*b*", "not allowed"),
    ] {
        let begun = Instant::now();
        assert_eq!(
            decision(&policy(&format!("{arn}{pattern}")), ACTION, &text, &RequestContext::default()),
            told,
            "{}",
            &pattern[..8]
        );
        assert!(begun.elapsed() < Duration::from_secs(2), "{}: {:?}", &pattern[..8], begun.elapsed());
    }
}

#[test]
fn a_verdict_can_be_explained_statement_by_statement() {
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Sid": "Other", "Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"},
        {"Sid": "Elsewhere", "Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::other/*"]},
        {"Sid": "Folder", "Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::bucket/${x:nobody}/*"},
        {"Sid": "Team", "Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalTag/team": ["red", "blue"]}}},
        {"Sid": "Office", "Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        {"Sid": "Own", "Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {"StringLike": {"aws:username": "${x:nobody}"}}},
        {"Sid": "Rest", "Effect": "Deny", "NotAction": "s3:Get*", "Resource": "*"},
        {"Sid": "Ann", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"},
    ]});
    let grants = grants(&policy);
    let context = RequestContext::from_json(
        &serde_json::json!({"aws:username": "ann", "aws:PrincipalTag/team": "green"}),
    );
    let asked =
        EvalRequest { action: ACTION, resource: RESOURCE, loose: None, principal: None, context: &context };
    let told = explain(&grants, &asked);
    let lines: Vec<(&str, MatchLevel, &str)> =
        told.iter().map(|told| (told.statement.sid.as_deref().unwrap(), told.nearness, &*told.why)).collect();
    assert_eq!(
        lines,
        [
            ("Ann", MatchLevel::Met, ""),
            (
                "Team",
                MatchLevel::Condition,
                "StringEquals of `aws:PrincipalTag/team`: the request has `green`, the policy `red`, `blue`"
            ),
            ("Office", MatchLevel::Condition, "IpAddress asks for `aws:SourceIp`, which the request has not"),
            (
                "Own",
                MatchLevel::Condition,
                "StringLike compares with a variable, and the request has no `x:nobody`"
            ),
            ("Elsewhere", MatchLevel::Action, "it is about `arn:aws:s3:::other/*`"),
            ("Folder", MatchLevel::Action, "its resource has a variable, and the request has no `x:nobody`"),
            ("Rest", MatchLevel::None, "it is about everything but `s3:Get*`"),
            ("Other", MatchLevel::None, "it is about `s3:PutObject`"),
        ]
    );
    // What is explained is what is judged.
    let first = told.iter().find(|told| told.nearness == MatchLevel::Met).unwrap();
    assert!(matches!(grants.judge(&asked), Verdict::Allowed(by) if by.sid == first.statement.sid));
}

/// Bends a document: bytes go, come twice, or change places with those of another.
fn bent(text: &str, other: &str, chance: &mut u64) -> String {
    let mut next = |end: usize| {
        *chance ^= *chance << 13;
        *chance ^= *chance >> 7;
        *chance ^= *chance << 17;
        usize::try_from(*chance >> 33).unwrap() % end.max(1)
    };
    const BITS: [&str; 16] = [
        "*",
        "?",
        "${",
        "}",
        "${*}",
        "'",
        "\"",
        "[",
        "]",
        "{",
        ":",
        ",",
        "ForAllValues:",
        "IfExists",
        "\\u0000",
        "\u{1F980}",
    ];
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=next(4) {
        let (from, length) = (next(bytes.len()), next(40));
        let end = (from + length).min(bytes.len());
        match next(5) {
            0 => drop(bytes.drain(from..end)),
            1 => {
                let twice = bytes[from..end].to_vec();
                bytes.splice(end..end, twice);
            }
            2 => drop(bytes.splice(from..from, BITS[next(BITS.len())].bytes())),
            3 => {
                let at = next(other.len());
                let piece = other.as_bytes()[at..(at + length).min(other.len())].to_vec();
                bytes.splice(from..end, piece);
            }
            _ => drop(bytes.splice(from..from, BITS[next(BITS.len())].repeat(1 + next(300)).bytes())),
        }
        if bytes.is_empty() {
            bytes.push(b'{');
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn bent_documents_are_refused_or_judged_and_nothing_worse() {
    let rules: Vec<String> =
        [include_str!("../policy/elements.json"), include_str!("../policy/documentation.json")]
            .iter()
            .flat_map(|text| serde_json::from_str::<Vec<Json>>(text).unwrap())
            .map(|rule| rule["policy"].to_string())
            .collect();
    let context = RequestContext::from_json(
        &serde_json::json!({"aws:username": "ann", "x:tags": ["a", "b"], "aws:SourceIp": "10.0.0.1"}),
    );
    let (mut chance, mut taken, mut refused) = (0x5EED_2026_u64, 0, 0);
    for round in 0..30_000 {
        let (one, other) = (&rules[round % rules.len()], &rules[(round * 7 + 3) % rules.len()]);
        let text = bent(one, other, &mut chance);
        for purpose in [Purpose::Identity, Purpose::Trust] {
            match Document::parse(&text, purpose) {
                Ok(document) => {
                    taken += 1;
                    let grants = Grants { policies: Statements::of([&document]), bounds: Vec::new() };
                    let resource = "arn:aws:s3:::bucket/ann/\u{1F980}a";
                    decision(&grants, ACTION, resource, &context);
                    let asked = EvalRequest {
                        action: ACTION,
                        resource,
                        loose: None,
                        principal: None,
                        context: &context,
                    };
                    assert_eq!(explain(&grants, &asked).len(), document.statements.len());
                }
                Err(wrong) => {
                    refused += 1;
                    assert!(wrong.line >= 1 && !wrong.message.is_empty(), "{text}");
                }
            }
        }
    }
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
}

/// The path of a request, as policies see it.
fn asked_for(request: &str) -> (String, String) {
    const ROUTE: &str = "arn:aws:execute-api:us-east-1:123456789012:photos/$default/";
    let (method, path) = request.split_once(' ').unwrap();
    let plain: Vec<String> =
        path.split('/').skip(1).map(|part| part.split(';').next().unwrap().to_lowercase()).collect();
    (format!("{ROUTE}{method}{path}"), format!("{ROUTE}{method}/{}", plain.join("/")))
}

#[test]
fn every_example_policy_does_what_its_cases_say() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut count = 0;
    for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let document = Document::parse(&text, Purpose::Identity).unwrap();
        let grants = Grants { policies: Statements::of([&document]), bounds: Vec::new() };
        let cases = folder.join("cases").join(file.file_name().unwrap());
        let cases: Json = serde_json::from_str(&std::fs::read_to_string(cases).unwrap()).unwrap();
        for case in cases.as_array().unwrap() {
            let (resource, loose) = asked_for(case["request"].as_str().unwrap());
            let context = RequestContext::from_json(&case["context"]);
            let asked = EvalRequest {
                action: "execute-api:Invoke",
                resource: &resource,
                loose: Some(Spellings { folded: &[loose], without_ending: None }),
                principal: None,
                context: &context,
            };
            let told = match grants.judge(&asked) {
                Verdict::Allowed(_) => "allowed",
                Verdict::Denied(_) => "denied",
                Verdict::NotAllowed => "not allowed",
            };
            assert_eq!(told, case["expect"], "{}: {case}", file.display());
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn wildcards_for_region_and_account_allow_no_other_route() {
    let policy = |effect: &str, resource: &str| {
        grants(&serde_json::json!({"Version": "2012-10-17", "Statement": {
            "Effect": effect, "Action": "execute-api:Invoke", "Resource": resource}}))
    };
    let wide = "arn:aws:execute-api:*:*:photos/$default/GET/*";
    let photo = "arn:aws:execute-api:us-east-1:123456789012:photos/$default/GET/a";
    // A path may hold whatever its sender likes.
    let sly = "arn:aws:execute-api:us-east-1:123456789012:private/$default/GET/x:photos/$default/GET/a";
    let none = RequestContext::default();
    let told = |grants: &Grants, resource| decision(grants, "execute-api:Invoke", resource, &none);
    assert_eq!(told(&policy("Allow", wide), photo), "allowed");
    assert_eq!(told(&policy("Allow", wide), sly), "not allowed");
    assert_eq!(told(&policy("Deny", wide), photo), "denied");
    assert_eq!(told(&policy("Allow", "*"), sly), "allowed");
    assert_eq!(told(&policy("Allow", "arn:aws:execute-api:*"), sly), "allowed");
}
