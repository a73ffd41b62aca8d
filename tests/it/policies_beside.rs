//! Random policies and requests, decided here and by iam-rs, another implementation. Where the two
//! differ, one of the rules below states why, and each rule is the only reason at least once.

use crate::support::policies::{RequestContext, decision};
use iam_rs::{Arn, Decision, IAMPolicy, IAMRequest, Principal, PrincipalId};
use narthex::policy::{Document, Grants, Purpose, Statements};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

const CASES: usize = 40_000;

/// Why the two may differ. AWS's documentation is with us in all of them, but where it is silent:
/// there the stricter answer is ours.
const RULES: [&str; 12] = [
    "a variable without a value: it is empty there; here what allows is not met, and what denies is not escaped",
    "what fills a variable: its * and ? are wildcards there, characters here",
    "a key of many values: it fills a variable there, joined by commas; here none",
    "${*}, ${?}, ${$}: keys there, the characters here",
    "variables in conditions: they are text there",
    "ArnEquals: it takes no wildcard there; \"ArnEquals and ArnLike behave identically\"",
    "ArnLike: a whole text there; \"each of the six colon-delimited components is checked separately\"",
    "set operators: for texts, ARNs and truth values alone there, for every kind here",
    "a key of many values under a negated operator: one that differs is enough there, all must here",
    "Bool: a text is never a truth value there",
    "texts: numbers and truth values are none there",
    "BinaryEquals: it ignores case there",
];

/// What chance wants.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn of<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[self.below(choices.len())]
    }

    fn in_a_hundred(&mut self, share: usize) -> bool {
        self.below(100) < share
    }
}

const WHO: [&str; 5] = ["ann", "bob", "red", "a*", "?nn"];
const ACTIONS: [&str; 3] = ["s3:GetObject", "s3:PutObject", "s3:ListBucket"];
const ACTION_PATTERNS: [&str; 8] =
    ["s3:*", "*", "s3:*", "S3:getobject", "s3:*Object", "s3:?etObject", "s3:PutObject", "ec2:*"];
const RESOURCES: [&str; 15] = [
    "*",
    "arn:aws:s3:::bucket/*",
    "arn:aws:s3:::bucket/${aws:username}/*",
    "arn:aws:s3:::bucket/${aws:username}/*",
    "arn:aws:s3:::bucket/${aws:username}/?",
    "arn:aws:s3:::bucket/${aws:username}/${x:file, 'a'}",
    "arn:aws:s3:::bucket/${aws:PrincipalTag/team, 'red'}/*",
    "arn:aws:s3:::bucket/${aws:PrincipalTag/team}/*",
    "arn:aws:s3:::${x:bucket, 'bucket'}/*",
    "arn:aws:s3:::${x:bucket, 'bucket'}/*/${x:file, 'a'}",
    "arn:aws:s3:::bucket/${x:tags}/*",
    "arn:aws:s3:::bucket/${*}*/*",
    "arn:aws:s3:::bucket/?nn/*",
    "arn:*:s3:::*/ann/*",
    "arn:aws:s3:::other/*",
];

/// The kinds of values, each with operators, values of policies and values of requests.
type Kind = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

const TEXTS: Kind = (
    &[
        "StringEquals",
        "StringNotEquals",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
        "StringLike",
        "StringNotLike",
    ],
    &["ann", "ANN", "bob", "a*", "?nn", "*", "${aws:username}", "${aws:username}*"],
    &["ann", "bob", "red", "Ann"],
);
const NUMBERS: Kind = (
    &[
        "NumericEquals",
        "NumericNotEquals",
        "NumericLessThan",
        "NumericLessThanEquals",
        "NumericGreaterThan",
        "NumericGreaterThanEquals",
    ],
    &["1", "2", "10", "-1.5"],
    &["1", "2.0", "10", "many"],
);
const DATES: Kind = (
    &[
        "DateEquals",
        "DateNotEquals",
        "DateLessThan",
        "DateLessThanEquals",
        "DateGreaterThan",
        "DateGreaterThanEquals",
    ],
    &["2026-01-01T00:00:00Z", "1767225600", "2026-06-01T00:00:00+02:00"],
    &["2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", "1780264800", "soon"],
);
const TRUTHS: Kind = (&["Bool"], &["true", "false"], &["true", "false"]);
const BINARIES: Kind = (&["BinaryEquals"], &["QUJD", "YWJj"], &["QUJD", "YWJj", "qujd"]);
const ADDRESSES: Kind = (
    &["IpAddress", "NotIpAddress"],
    &["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1", "2001:db8::/32"],
    &["10.1.2.3", "10.2.3.4", "192.0.2.1", "2001:db8::1", "here"],
);
const ARNS: Kind = (
    &["ArnLike", "ArnEquals", "ArnNotLike", "ArnNotEquals"],
    &["arn:aws:iam::1:role/a", "arn:aws:iam::*:role/a", "arn:*:iam::1:role/*", "arn:aws:*:*:1:role/a"],
    &["arn:aws:iam::1:role/a", "arn:aws:iam::2:role/a", "arn:aws:iam:x:1:role/a", "arn:aws:iam::1:x:role/a"],
);
const KINDS: [(&str, Kind); 7] = [
    ("x:text", TEXTS),
    ("x:number", NUMBERS),
    ("x:date", DATES),
    ("x:truth", TRUTHS),
    ("x:binary", BINARIES),
    ("x:address", ADDRESSES),
    ("x:arn", ARNS),
];

fn context(chance: &mut Chance) -> Map<String, Json> {
    let mut context = Map::new();
    let mut put = |chance: &mut Chance, share, key: &str, value: Json| {
        if chance.in_a_hundred(share) {
            context.insert(key.to_owned(), value);
        }
    };
    let who = *chance.of(&["ann", "ann", "ann", "bob", "bob", "a*", "?nn"]);
    put(chance, 85, "aws:username", json!(who));
    let team = *chance.of(&["red", "ann", "bob"]);
    put(chance, 70, "aws:PrincipalTag/team", json!(team));
    let tags = *chance.of(&[&["ann"][..], &["ann", "bob"], &["bob"]]);
    put(chance, 50, "x:tags", json!(tags));
    for (key, (_, _, values)) in KINDS {
        let (one, two) = (*chance.of(values), *chance.of(values));
        let value = match chance.below(10) {
            0 => json!([one, two]),
            1 if key == "x:number" => json!(one.parse::<i64>().unwrap_or(2)),
            2 if key == "x:text" => json!(7),
            3 if key == "x:text" => json!(true),
            4..=9 if key == "x:truth" => json!(one == "true"),
            _ => json!(one),
        };
        put(chance, 75, key, value);
    }
    context
}

fn condition(chance: &mut Chance) -> (String, String, Vec<&'static str>) {
    let (key, (operators, values, _)) = chance.of(&KINDS);
    let mut operator = (*chance.of(operators)).to_owned();
    match chance.below(10) {
        0 => operator = format!("ForAllValues:{operator}"),
        1 => operator = format!("ForAnyValue:{operator}"),
        2 => operator += "IfExists",
        _ => {}
    }
    let count = if operator.contains("Bool") { 1 } else { 1 + chance.below(2) };
    let values = (0..count).map(|_| *chance.of(values)).collect();
    match chance.below(12) {
        0 => ("Null".to_owned(), (*key).to_owned(), vec![*chance.of(&["true", "false"])]),
        _ => (operator, (*key).to_owned(), values),
    }
}

fn statement(chance: &mut Chance) -> Json {
    let effect = if chance.in_a_hundred(42) { "Deny" } else { "Allow" };
    let mut statement = json!({ "Effect": effect });
    let action = *chance.of(&ACTION_PATTERNS);
    let name = if chance.in_a_hundred(8) { "NotAction" } else { "Action" };
    statement[name] = json!(action);
    let name = if chance.in_a_hundred(8) { "NotResource" } else { "Resource" };
    let count = 1 + usize::from(chance.in_a_hundred(25));
    statement[name] = (0..count).map(|_| *chance.of(&RESOURCES)).collect();
    if chance.in_a_hundred(45) {
        let (operator, key, values) = condition(chance);
        statement["Condition"] = json!({ operator: { key: values } });
    }
    statement
}

fn policy(chance: &mut Chance) -> Json {
    let count = 2 + chance.below(4);
    json!({ "Version": "2012-10-17", "Statement": (0..count).map(|_| statement(chance)).collect::<Vec<_>>() })
}

/// Which of the rules speak of this case.
fn spoken_of(policy: &Json, context: &Map<String, Json>) -> BTreeSet<usize> {
    let mut rules = BTreeSet::new();
    for statement in policy["Statement"].as_array().unwrap() {
        let resources = ["Resource", "NotResource"].iter().filter_map(|name| statement.get(name)?.as_array());
        for text in resources.flatten().filter_map(Json::as_str) {
            let variables = text.split("${").skip(1).map(|rest| rest.split('}').next().unwrap());
            for variable in variables {
                let (key, default) =
                    variable.split_once(',').map_or((variable, false), |(key, _)| (key, true));
                match context.get(key) {
                    _ if key == "*" => drop(rules.insert(3)),
                    Some(Json::Array(_)) => drop(rules.insert(2)),
                    Some(Json::String(value)) if value.contains(['*', '?']) => drop(rules.insert(1)),
                    None if !default => drop(rules.insert(0)),
                    _ => {}
                }
            }
        }
        for (operator, keys) in statement["Condition"].as_object().into_iter().flatten() {
            let (key, values) = keys.as_object().unwrap().iter().next().unwrap();
            let values: Vec<&str> = values.as_array().unwrap().iter().filter_map(Json::as_str).collect();
            let (set, name) =
                operator.split_once(':').map_or((false, operator.as_str()), |(_, name)| (true, name));
            let held = context.get(key);
            let of = |kind: &str| name.contains(kind);
            if values.iter().any(|value| value.contains("${")) {
                rules.insert(4);
            }
            if of("ArnEquals") || of("ArnNotEquals") {
                rules.insert(5);
            }
            if of("ArnLike") || of("ArnNotLike") {
                rules.insert(6);
            }
            let simple = of("String") || of("Arn") || of("Bool");
            // Its other operators compare no lists at all.
            let list = matches!(held, Some(Json::Array(_)));
            let uncompared = set || (list && !of("Null") && !of("Binary"));
            if (!simple && uncompared) || (set && of("Bool") && list) {
                rules.insert(7);
            }
            if list && !set && of("Not") {
                rules.insert(8);
            }
            if of("Bool") && !matches!(held, Some(Json::Bool(_)) | None) || (of("Bool") && set) {
                rules.insert(9);
            }
            if of("String") && matches!(held, Some(Json::Number(_) | Json::Bool(_))) {
                rules.insert(10);
            }
            if of("Binary") {
                rules.insert(11);
            }
        }
    }
    rules
}

/// What iam-rs says; nothing where it refuses to.
fn theirs(policy: &Json, action: &str, resource: &str, context: &Map<String, Json>) -> Option<&'static str> {
    let policy: IAMPolicy = serde_json::from_value(policy.clone()).ok()?;
    let principal = Principal::Aws(PrincipalId::String("arn:aws:iam::123456789012:user/ann".into()));
    let context = serde_json::from_value(Json::Object(context.clone())).unwrap();
    let request = IAMRequest::new_with_context(principal, action, Arn::parse(resource).unwrap(), context);
    match iam_rs::evaluate_policy(&policy, &request).ok()? {
        Decision::Allow => Some("allowed"),
        Decision::Deny => Some("denied"),
        Decision::NotApplicable => Some("not allowed"),
    }
}

#[test]
fn random_policies_are_judged_as_iam_rs_judges_them_but_for_what_is_explained() {
    let mut chance = Chance(0x2026_1121_5EED);
    let (mut told, mut with_variables, mut alone) =
        (BTreeMap::<&str, usize>::new(), 0, BTreeMap::<usize, usize>::new());
    let mut unexplained = 0;
    for _ in 0..CASES {
        let (policy, context) = (policy(&mut chance), context(&mut chance));
        let (action, who, file) = (*chance.of(&ACTIONS), *chance.of(&WHO), *chance.of(&["a", "b"]));
        // Mostly it is the person's own folder.
        let own = context.get("aws:username").and_then(Json::as_str).filter(|_| chance.in_a_hundred(65));
        let resource = format!("arn:aws:s3:::bucket/{}/{file}", own.unwrap_or(who));
        let document = Document::parse(&policy.to_string(), Purpose::Identity)
            .unwrap_or_else(|wrong| panic!("{wrong}: {policy}"));
        let grants = Grants { policies: Statements::of([&document]), bounds: Vec::new() };
        let ours =
            decision(&grants, action, &resource, &RequestContext::from_json(&Json::Object(context.clone())));
        *told.entry(ours).or_default() += 1;
        with_variables += usize::from(policy.to_string().contains("${"));
        let theirs = theirs(&policy, action, &resource, &context);
        if theirs == Some(ours) {
            continue;
        }
        let rules = spoken_of(&policy, &context);
        if let (Some(rule), 1) = (rules.first(), rules.len()) {
            *alone.entry(*rule).or_default() += 1;
        }
        if rules.is_empty() {
            unexplained += 1;
            assert!(
                unexplained < 5,
                "{policy}\n{action} {resource} {}\nours {ours}, theirs {theirs:?}",
                json!(context)
            );
        }
    }
    println!("{told:?}, {with_variables} with variables, {alone:?}");
    assert_eq!(unexplained, 0);
    assert!(told.len() == 3 && told.values().all(|count| count * 5 >= CASES), "{told:?} of {CASES}");
    assert!(with_variables * 2 >= CASES, "{with_variables} of {CASES} with variables");
    for (number, rule) in RULES.iter().enumerate() {
        assert!(alone.contains_key(&number), "never the only reason: {rule}");
    }
}
