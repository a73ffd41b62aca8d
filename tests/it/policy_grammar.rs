//! Which policy documents load: exactly those that the grammar of the IAM JSON policy language has
//! (IAM User Guide, "Grammar of the IAM JSON policy language") and that AWS takes.

use crate::support::policies::{RequestContext, decision};
use narthex::policy::{Document, EvalRequest, Grants, Purpose, Statements, Verdict};
use serde_json::{Value as Json, json};

const ARN: &str = "arn:aws:execute-api:us-east-1:123456789012:photos/$default/GET/*";
const COGNITO: &str = "cognito-identity.amazonaws.com";

fn loads(document: &Json, purpose: Purpose) -> bool {
    Document::parse(&document.to_string(), purpose).is_ok()
}

fn identity() -> Json {
    json!({"Version": "2012-10-17", "Id": "any", "Statement": [{"Sid": "One", "Effect": "Deny",
        "Action": "execute-api:Invoke", "Resource": ARN, "Condition": {"StringEquals": {"aws:username": "ann"}}}]})
}

fn trust() -> Json {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Federated": COGNITO},
        "Action": "sts:AssumeRoleWithWebIdentity"}]})
}

/// A value of each JSON type, and the shapes that a careless reader takes for another.
fn values() -> Vec<Json> {
    vec![
        Json::Null,
        json!(true),
        json!(7),
        json!(1.5),
        json!(""),
        json!("*"),
        json!([]),
        json!({}),
        json!(["*"]),
        json!([["*"]]),
        json!([null]),
        json!([7]),
        json!([{}]),
        json!(["*", null]),
        json!({"*": "*"}),
    ]
}

#[test]
fn each_element_takes_the_types_that_the_grammar_gives_it() {
    // What of these loads in each place; nothing else does.
    let star = [json!("*"), json!(["*"])];
    let none: [Json; 0] = [];
    let scalars = [json!(true), json!(7), json!(1.5), json!(""), json!("*"), json!(["*"]), json!([7])];
    let places: [(&str, Purpose, &[Json]); 13] = [
        ("/Version", Purpose::Identity, &none),
        ("/Id", Purpose::Identity, &[json!(""), json!("*")]),
        ("/Statement", Purpose::Identity, &none),
        ("/Statement/0", Purpose::Identity, &none),
        ("/Statement/0/Sid", Purpose::Identity, &[json!("")]),
        ("/Statement/0/Effect", Purpose::Identity, &none),
        ("/Statement/0/Action", Purpose::Identity, &star),
        ("/Statement/0/Resource", Purpose::Identity, &star),
        ("/Statement/0/Condition", Purpose::Identity, &[json!({})]),
        ("/Statement/0/Condition/StringEquals", Purpose::Identity, &none),
        ("/Statement/0/Condition/StringEquals/aws:username", Purpose::Identity, &scalars),
        ("/Statement/0/Principal", Purpose::Trust, &[json!("*")]),
        ("/Statement/0/Principal/Federated", Purpose::Trust, &none),
    ];
    let mut count = 0;
    for (place, purpose, loading) in places {
        let good = if purpose == Purpose::Identity { identity() } else { trust() };
        assert!(loads(&good, purpose));
        for value in values() {
            let mut document = good.clone();
            *document.pointer_mut(place).unwrap() = value.clone();
            assert_eq!(loads(&document, purpose), loading.contains(&value), "{place}: {value}");
            count += 1;
        }
    }
    // An element beside the one that excludes it is refused even where it is null.
    for (purpose, beside) in [
        (Purpose::Identity, "NotAction"),
        (Purpose::Identity, "NotResource"),
        (Purpose::Identity, "Principal"),
        (Purpose::Identity, "NotPrincipal"),
        (Purpose::Identity, "Comment"),
        (Purpose::Trust, "NotPrincipal"),
        (Purpose::Trust, "Resource"),
        (Purpose::Trust, "NotResource"),
    ] {
        for value in values() {
            let mut document = if purpose == Purpose::Identity { identity() } else { trust() };
            document["Statement"][0][beside] = value.clone();
            assert!(!loads(&document, purpose), "{beside}: {value}");
            count += 1;
        }
    }
    assert!(count > 300, "{count}");
}

#[test]
fn each_form_that_aws_refuses_is_refused_and_its_neighbour_loads() {
    let with = |place: &str, value: Json| {
        let mut document = identity();
        *document.pointer_mut(place).unwrap() = value;
        document
    };
    let condition = |operator: &str, key: &str, value: Json| {
        with("/Statement/0/Condition", json!({operator: {key: value}}))
    };
    let resource = |text: &str| with("/Statement/0/Resource", json!(text));
    let principal = |value: Json| {
        let mut document = trust();
        document["Statement"][0]["Principal"] = value;
        document
    };
    let old = |mut document: Json| {
        document["Version"] = json!("2008-10-17");
        document
    };
    let key = "aws:CurrentTime";
    for (good, document) in [
        (true, resource("arn:aws:execute-api:*")),
        (true, resource("arn:*:execute-api:*:*:photos/*")),
        (true, resource("arn:aws:execute-api:${aws:x}:*:${aws:y}")),
        (false, resource("photos")),
        (false, resource("arn")),
        (false, resource("arn:")),
        (false, resource("ARN:aws:execute-api:*:*:photos/*")),
        (false, resource("arn:aws:execute-api")),
        (false, resource("arn:aws:execute-api:*:photos/$default/GET/")),
        (false, resource("arn:aws:execute-api:*:photos/*")),
        (false, resource("arn:aws:*:*:*:photos/*")),
        (false, resource("arn::execute-api:*:*:photos/*")),
        (false, resource("arn:aws::*:*:photos/*")),
        (false, resource("arn:aws:execute-api:*:1234:photos/*")),
        (false, resource("arn:aws:execute-api:us east:*:photos/*")),
        (false, resource("arn:aws:execute-api:*:*:")),
        (false, resource("arn:aws:execute-api:*:*:photos/\n")),
        (false, resource(" *")),
        (false, with("/Statement/0/Action", json!("execute-api:Invoke,execute-api:Other"))),
        (false, with("/Statement/0/Action", json!("execute-api: Invoke"))),
        (false, with("/Statement/0/Action", json!("execute-api:Invoke:x"))),
        (false, with("/Version", json!("2012-10-18"))),
        (true, old(resource(ARN))),
        (false, old(resource("arn:aws:execute-api:*:*:photos/$default/GET/${aws:username}"))),
        (false, old(condition("StringLike", "aws:username", json!("${aws:userid}")))),
        (true, condition("StringLike", "aws:username", json!("${aws:userid}"))),
        (true, condition("StringEqualsIfExists", "aws:username", json!("a"))),
        (true, condition("ForAllValues:StringEqualsIfExists", "aws:username", json!("a"))),
        (false, condition("StringEqualsIfExistsIfExists", "aws:username", json!("a"))),
        (false, condition("ForAllValues:ForAnyValue:StringEquals", "aws:username", json!("a"))),
        (false, condition("forallvalues:StringEquals", "aws:username", json!("a"))),
        (false, condition("NullIfExists", "aws:username", json!(true))),
        (false, condition("ForAnyValue:Null", "aws:username", json!(true))),
        (false, condition("Null", "aws:username", json!([true, false]))),
        (false, condition("Bool", "aws:SecureTransport", json!([true, false]))),
        (false, condition("StringEquals", "username", json!("a"))),
        (false, condition("StringEquals", "aws:", json!("a"))),
        (false, condition("StringEquals", "aws:PrincipalTag/", json!("a"))),
        (true, condition("DateLessThan", key, json!("2030-01-01T00:00:00Z"))),
        (true, condition("DateLessThan", key, json!(1_893_456_000))),
        // A year is no number of seconds, written as a string or as a number.
        (false, condition("DateLessThan", key, json!("2030"))),
        (false, condition("DateLessThan", key, json!(2030))),
        (false, condition("DateLessThan", key, json!("-1893456000"))),
        (false, condition("DateLessThan", key, json!(true))),
        (false, condition("IpAddress", "aws:SourceIp", json!("10.0.0.0/08"))),
        (false, condition("IpAddress", "aws:SourceIp", json!("*"))),
        (false, condition("ArnEquals", "aws:PrincipalArn", json!("role:aws:iam::1:x"))),
        (true, principal(json!({"AWS": "*"}))),
        (true, principal(json!({"AWS": ["123456789012", "arn:aws:iam::123456789012:role/a"]}))),
        (false, principal(json!({"AWS": "arn:aws:iam::123456789012:role/*"}))),
        (false, principal(json!({"AWS": "12345"}))),
        (false, principal(json!({"Federated": "*"}))),
        (false, principal(json!({"Federated": COGNITO, "federated": COGNITO}))),
        (false, principal(json!({"Federated": [COGNITO, ""]}))),
        (false, principal(json!(["*"]))),
    ] {
        let purpose = match document["Statement"][0].get("Principal") {
            Some(_) => Purpose::Trust,
            None => Purpose::Identity,
        };
        assert_eq!(loads(&document, purpose), good, "{document}");
    }
    // What comes twice, in JSON as it is written.
    let twice = [
        (Purpose::Trust, format!("{{\"Federated\": \"{COGNITO}\", \"Federated\": \"accounts.google.com\"}}")),
        (
            Purpose::Identity,
            "{\"StringEquals\": {\"aws:username\": \"a\", \"AWS:UserName\": \"b\"}}".to_owned(),
        ),
        (
            Purpose::Identity,
            "{\"StringEquals\": {\"a:b\": \"a\"}, \"StringEquals\": {\"a:c\": \"b\"}}".to_owned(),
        ),
    ];
    for (purpose, written) in twice {
        let text = match purpose {
            Purpose::Trust => {
                trust().to_string().replace(&format!("{{\"Federated\":\"{COGNITO}\"}}"), &written)
            }
            Purpose::Identity => {
                identity().to_string().replace("{\"StringEquals\":{\"aws:username\":\"ann\"}}", &written)
            }
        };
        assert!(text.contains(&written), "{text}");
        let wrong = Document::parse(&text, purpose).expect_err(&text);
        assert!(wrong.message.contains("comes twice"), "{wrong}");
    }
    // A number of more digits than are kept would be another.
    let long = identity().to_string().replace("\"ann\"", "12345678901234567890123");
    assert!(Document::parse(&long, Purpose::Identity).unwrap_err().message.contains("write it as a string"));
}

/// A plain reading of the grammar, of documents whose leaves come from [`leaf`].
mod plain {
    use serde_json::Value as Json;

    fn strings(value: &Json, good: fn(&str) -> bool) -> bool {
        match value {
            Json::String(text) => good(text),
            Json::Array(all) => !all.is_empty() && all.iter().all(|one| one.as_str().is_some_and(good)),
            _ => false,
        }
    }

    fn only(value: &Json, names: &[&str]) -> bool {
        value.as_object().is_some_and(|object| object.keys().all(|name| names.contains(&name.as_str())))
    }

    fn one_of(value: &Json, one: &str, other: &str, good: fn(&str) -> bool) -> bool {
        match (value.get(one), value.get(other)) {
            (Some(value), None) | (None, Some(value)) => strings(value, good),
            _ => false,
        }
    }

    fn is_condition(condition: &Json) -> bool {
        let Some(operators) = condition.as_object() else { return false };
        operators.iter().all(|(operator, keys)| {
            let Some(keys) = keys.as_object().filter(|keys| !keys.is_empty()) else { return false };
            let kind = operator.trim_start_matches("ForAllValues:").trim_end_matches("IfExists");
            let good = |text: &str| match kind {
                "StringEquals" | "StringNotLike" => true,
                "NumericEquals" => text.parse::<f64>().is_ok(),
                "Bool" | "Null" => matches!(text, "true" | "false"),
                _ => false,
            };
            let whole = kind != "Null" || operator == "Null";
            let key_is_named = |key: &str| key.contains(':') && !key.ends_with(':');
            whole
                && keys.iter().all(|(key, value)| {
                    let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
                    let text = |value: &Json| match value {
                        Json::String(text) => Some(text.clone()),
                        Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
                        _ => None,
                    };
                    let many = !matches!(kind, "Bool" | "Null");
                    key_is_named(key)
                        && (values.len() == 1 || (many && !values.is_empty()))
                        && values.iter().all(|value| text(value).is_some_and(|text| good(&text)))
                })
        })
    }

    fn is_statement(statement: &Json) -> bool {
        const ELEMENTS: [&str; 7] =
            ["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"];
        let action = |text: &str| {
            text == "*"
                || matches!(text.split(':').collect::<Vec<_>>()[..], [a, b] if !a.is_empty() && !b.is_empty() && !text.contains(['/', ' ']))
        };
        let resource =
            |text: &str| text == "*" || (text.starts_with("arn:aws:") && text.split(':').count() >= 6);
        only(statement, &ELEMENTS)
            && statement.get("Sid").is_none_or(|sid| {
                sid.as_str().is_some_and(|sid| sid.chars().all(|c| c.is_ascii_alphanumeric()))
            })
            && statement.get("Effect").is_some_and(|effect| effect == "Allow" || effect == "Deny")
            && one_of(statement, "Action", "NotAction", action)
            && one_of(statement, "Resource", "NotResource", resource)
            && statement.get("Condition").is_none_or(is_condition)
    }

    pub fn is_document(document: &Json) -> bool {
        let statements = match document.get("Statement") {
            Some(Json::Array(all)) => all.clone(),
            Some(one) => vec![one.clone()],
            None => Vec::new(),
        };
        let sids: Vec<_> = statements
            .iter()
            .filter_map(|one| one.get("Sid")?.as_str())
            .filter(|sid| !sid.is_empty())
            .collect();
        only(document, &["Version", "Id", "Statement"])
            && document
                .get("Version")
                .is_none_or(|version| version == "2012-10-17" || version == "2008-10-17")
            && document.get("Id").is_none_or(Json::is_string)
            && !statements.is_empty()
            && statements.iter().all(is_statement)
            && sids.iter().enumerate().all(|(at, sid)| !sids[..at].contains(sid))
    }
}

/// Pseudorandom choices.
struct Choices(u64);

impl Choices {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

fn leaf(choices: &mut Choices) -> Json {
    let leaves = [
        json!(null),
        json!(true),
        json!(7),
        json!("7"),
        json!("true"),
        json!("*"),
        json!("a:b"),
        json!(ARN),
        json!(""),
        json!("Allow"),
        json!("Deny"),
        json!("One"),
        json!("2012-10-17"),
        json!([]),
        json!({}),
        json!(["*"]),
        json!([["*"]]),
        json!([ARN, "*"]),
        json!([true, "false"]),
        json!({"a:b": "7"}),
        json!({"StringEquals": {"a:b": [7, "x"]}}),
        json!({"NumericEquals": {"a:b": 7}}),
        json!({"Null": {"a:b": "true"}}),
        json!({"Bool": {"a:": true}}),
    ];
    leaves[choices.below(leaves.len())].clone()
}

/// Every place of a document, as JSON Pointers.
fn places(value: &Json, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Json::Array(values) => {
            values.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), all));
        }
        Json::Object(values) => values.iter().for_each(|(name, value)| {
            places(value, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), all);
        }),
        _ => {}
    }
}

#[test]
fn random_documents_load_exactly_where_a_plain_reading_of_the_grammar_has_them() {
    let mut choices = Choices(0x0061_7CE5_2026);
    const NAMES: [&str; 12] = [
        "Sid",
        "Effect",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
        "Principal",
        "Id",
        "Version",
        "StringNotLikeIfExists",
        "NumericEquals",
    ];
    let (mut loaded, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut document = identity();
        if choices.below(2) == 0 {
            let more = json!({"Effect": "Allow", "NotAction": "a:b", "NotResource": [ARN], "Condition": {}});
            document["Statement"].as_array_mut().unwrap().push(more);
        }
        for _ in 0..=choices.below(3) {
            let mut all = Vec::new();
            places(&document, "", &mut all);
            let place = document.pointer_mut(&all[choices.below(all.len())]).unwrap();
            match (choices.below(4), place) {
                (0, Json::Object(object)) => {
                    drop(object.insert(NAMES[choices.below(12)].to_owned(), leaf(&mut choices)))
                }
                (1, Json::Object(object)) if !object.is_empty() => {
                    let name = object.keys().nth(choices.below(object.len())).unwrap().clone();
                    object.remove(&name);
                }
                (_, place) => *place = leaf(&mut choices),
            }
        }
        let ours = Document::parse(&document.to_string(), Purpose::Identity);
        assert_eq!(ours.is_ok(), plain::is_document(&document), "{ours:?}: {document}");
        if ours.is_ok() { loaded += 1 } else { refused += 1 }
    }
    assert!(loaded > 1000 && refused > 1000, "{loaded} loaded, {refused} refused");
}

#[test]
fn aws_star_is_everybody_and_a_federated_principal_is_itself() {
    let allowed = |principal: Json, of: Option<(&str, &str)>| {
        let mut document = trust();
        document["Statement"][0]["Principal"] = principal;
        let trust = Statements::of([&Document::parse(&document.to_string(), Purpose::Trust).unwrap()]);
        let action = "sts:AssumeRoleWithWebIdentity";
        let context = RequestContext::default();
        let asked = EvalRequest { action, resource: "", loose: None, principal: of, context: &context };
        matches!(trust.judge(&asked), Verdict::Allowed(_))
    };
    let federated = Some(("Federated", COGNITO));
    for (principal, expected) in [
        (json!("*"), true),
        (json!({"AWS": "*"}), true),
        (json!({"AWS": ["123456789012", "*"]}), true),
        (json!({"Federated": COGNITO}), true),
        (json!({"AWS": "123456789012"}), false),
        (json!({"Federated": "accounts.google.com"}), false),
        (json!({"Service": COGNITO}), false),
    ] {
        assert_eq!(allowed(principal.clone(), federated), expected, "{principal}");
    }
}

#[test]
fn ranges_of_ipv4_mapped_addresses_are_those_of_ipv4() {
    for (range, address, matches) in [
        ("::ffff:10.0.0.0/104", "10.1.2.3", true),
        ("::ffff:10.0.0.0/104", "11.1.2.3", false),
        ("::ffff:0:0/96", "192.0.2.1", true),
        ("::ffff:192.0.2.1", "192.0.2.1", true),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("::/0", "192.0.2.1", false),
        ("2001:db8::/32", "2001:db8::1", true),
    ] {
        let policy = json!({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*",
            "Condition": {"IpAddress": {"aws:SourceIp": range}}}});
        let document = Document::parse(&policy.to_string(), Purpose::Identity).unwrap();
        let grants = Grants { policies: Statements::of([&document]), bounds: Vec::new() };
        let context = RequestContext::from_json(&json!({"aws:SourceIp": address}));
        let denied = decision(&grants, "a:b", ARN, &context) == "denied";
        assert_eq!(denied, matches, "{range} {address}");
    }
}
