//! Requests that the model of the Cognito API refuses, with the expected messages. They are
//! computed from the model alone.

use super::model_shapes::{
    At, MODEL, Outcome, PATTERNS, bound, matches, name_of, required, shape, text, valid,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use narthex::aws::OperationSummary;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Values of a shape, and what each leads to.
fn values(name: &str, at: &At) -> Vec<(Value, Outcome)> {
    let of = shape(name);
    let at = &at.of(of);
    let kind = of["type"].as_str().unwrap();
    let mut all = match kind {
        "structure" => members(of, at),
        "list" => items(of, at),
        "map" => entries(of, at),
        "string" => texts(name, of).into_iter().map(|text| (json!(text), judged(name, at, &text))).collect(),
        "integer" | "long" => numbers(of, at),
        "blob" => lengths(of, at, |count| json!(STANDARD.encode(vec![0; count as usize]))),
        "boolean" => vec![(json!(true), Outcome::Accepted), (json!(false), Outcome::Accepted)],
        other => panic!("{name}: {other}"),
    };
    all.extend(other_types(kind).map(|(value, message)| (value, Outcome::OtherType(message))));
    all
}

fn members(of: &'static Value, at: &At) -> Vec<(Value, Outcome)> {
    let base: Map<String, Value> =
        required(of).map(|name| (name.to_owned(), valid(name_of(&of["members"][name])))).collect();
    let mut all = Vec::new();
    for name in required(of) {
        let missing = at.member(name).of(shape(name_of(&of["members"][name]))).missing();
        let mut without = base.clone();
        without.remove(name);
        all.push((Value::Object(without.clone()), Outcome::Violations(vec![missing.clone()])));
        without.insert(name.to_owned(), Value::Null);
        all.push((Value::Object(without), Outcome::Violations(vec![missing])));
    }
    for (name, member) in of["members"].as_object().unwrap() {
        for (value, outcome) in values(name_of(member), &at.member(name)) {
            let mut with = base.clone();
            with.insert(name.clone(), value);
            all.push((Value::Object(with), outcome));
        }
    }
    all
}

fn items(of: &'static Value, at: &At) -> Vec<(Value, Outcome)> {
    let item = name_of(&of["member"]);
    let list = |count: i64| (0..count).map(|_| valid(item)).collect::<Vec<Value>>();
    let mut all = lengths(of, at, |count| list(count).into());
    let before = bound(of, "min").unwrap_or(0).max(1);
    // The value is the last of the fewest items.
    for (value, outcome) in values(item, &at.entry(&format!("{before}.member"))) {
        let mut list = list(before - 1);
        list.push(value);
        all.push((list.into(), outcome));
    }
    all
}

fn entries(of: &'static Value, at: &At) -> Vec<(Value, Outcome)> {
    let (key, value) = (name_of(&of["key"]), name_of(&of["value"]));
    let mut all = lengths(of, at, |count| {
        let key =
            |number: i64| if key.contains("Acr") { format!("Level{number}") } else { format!("k{number}") };
        (1..=count).map(|number| (key(number), valid(value))).collect()
    });
    let map = |key: &str, value: Value| Value::Object([(key.to_owned(), value)].into_iter().collect());
    for text in texts(key, shape(key)) {
        let outcome = judged(key, &at.entry("key").of(shape(key)), &text);
        all.push((map(&text, valid(value)), outcome));
    }
    let key = valid(key);
    let key = key.as_str().unwrap();
    for (value, outcome) in values(value, &at.entry(&format!("{key}.member"))) {
        all.push((map(key, value), outcome));
    }
    all
}

/// Lists and maps with too few and too many entries, and with just enough.
fn lengths(of: &Value, at: &At, make: impl Fn(i64) -> Value) -> Vec<(Value, Outcome)> {
    let mut all = Vec::new();
    if let Some(min) = bound(of, "min") {
        all.push((make(min), Outcome::Accepted));
        if min > 0 {
            let violation = at.violation(None, &format!("have length greater than or equal to {min}"));
            all.push((make(min - 1), Outcome::Violations(vec![violation])));
        }
    }
    if let Some(max) = bound(of, "max") {
        all.push((make(max), Outcome::Accepted));
        let violation = at.violation(None, &format!("have length less than or equal to {max}"));
        // A key of these maps has one of as many spellings as there may be entries.
        let mut violations = vec![violation];
        if let Some(key) = of["key"].as_str().filter(|key| !matches(key, "Level5") && max == 4) {
            let pattern = shape(key)["pattern"].as_str().unwrap();
            let constraint = format!("satisfy regular expression pattern: {pattern}");
            violations.push(at.entry("key").violation(Some("Level5"), &constraint));
        }
        all.push((make(max + 1), Outcome::Violations(violations)));
    }
    all
}

fn numbers(of: &Value, at: &At) -> Vec<(Value, Outcome)> {
    let mut all = Vec::new();
    for (name, beyond, words) in [("min", -1, "greater"), ("max", 1, "less")] {
        if let Some(bound) = bound(of, name) {
            let constraint = format!("have value {words} than or equal to {bound}");
            let violation = at.violation(Some(&(bound + beyond).to_string()), &constraint);
            all.push((json!(bound), Outcome::Accepted));
            all.push((json!(bound + beyond), Outcome::Violations(vec![violation])));
        }
    }
    all
}

/// Texts at the bounds and beyond them, that fit the pattern and that do not, and each value of an
/// enumeration beside spellings that are none.
fn texts(name: &str, of: &Value) -> Vec<String> {
    let (min, max) = (bound(of, "min").unwrap_or(0), bound(of, "max"));
    let mut all = vec![valid(name).as_str().unwrap().to_owned()];
    let lengths = [min - 1, min, max.unwrap_or(0), max.map_or(0, |max| max + 1)];
    all.extend(lengths.iter().filter(|length| **length >= 0).map(|length| text(name, *length as usize)));
    if PATTERNS.contains_key(name) {
        let fits = |text: &String| {
            let length = text.chars().count() as i64;
            length >= min && max.is_none_or(|max| length <= max) && !matches(name, text)
        };
        let odd = [" ", "a b", "\u{1}", "\u{e000}", "é", "\"", "aaa", "a/b", "\n"];
        let odd = odd.iter().map(|text| text.repeat((min.max(1) as usize).div_ceil(text.chars().count())));
        all.extend(odd.filter(fits).take(2));
    }
    for value in of["enum"].as_array().into_iter().flatten() {
        let value = value.as_str().unwrap();
        let changed = if value == value.to_lowercase() { value.to_uppercase() } else { value.to_lowercase() };
        all.extend([value.to_owned(), changed, format!("{value} "), "unknown".to_owned()]);
    }
    all.sort();
    all.dedup();
    all
}

/// What a text leads to.
fn judged(name: &str, at: &At, text: &str) -> Outcome {
    let (of, length) = (shape(name), text.chars().count() as i64);
    let mut violations = Vec::new();
    let mut add = |constraint: String| violations.push(at.violation(Some(text), &constraint));
    match (bound(of, "min"), bound(of, "max")) {
        (Some(min), _) if length < min => add(format!("have length greater than or equal to {min}")),
        (_, Some(max)) if length > max => add(format!("have length less than or equal to {max}")),
        _ => {}
    }
    if let Some(values) = of["enum"].as_array()
        && !values.iter().any(|value| value == text)
    {
        let values: Vec<&str> = values.iter().map(|value| value.as_str().unwrap()).collect();
        add(format!("satisfy enum value set: [{}]", values.join(", ")));
    }
    if !matches(name, text) {
        add(format!("satisfy regular expression pattern: {}", of["pattern"].as_str().unwrap()));
    }
    if violations.is_empty() { Outcome::Accepted } else { Outcome::Violations(violations) }
}

/// Values of every JSON type that a member of this kind does not have.
fn other_types(kind: &'static str) -> impl Iterator<Item = (Value, String)> {
    const LIST: &str = "Start of list found where not expected";
    const OBJECT: &str = "Start of structure or map found where not expected.";
    let wanted = match kind {
        "string" => Some("a String"),
        "integer" => Some("an Integer"),
        "long" => Some("a Long"),
        "boolean" => Some("a Boolean"),
        "blob" => Some("a Blob"),
        _ => None,
    };
    let scalar = move |token: &str| match wanted {
        Some(wanted) => format!("{token} can not be converted to {wanted}"),
        None => format!("Unexpected value type in payload: {token}"),
    };
    let (is_number, is_object) = (matches!(kind, "integer" | "long"), matches!(kind, "structure" | "map"));
    let all = [
        (!matches!(kind, "string" | "blob"), json!("7"), scalar("STRING_VALUE")),
        (!is_number, json!(7), scalar("NUMBER_VALUE")),
        (true, json!(1.5), scalar("DECIMAL_VALUE")),
        (kind != "boolean", json!(true), scalar("TRUE_VALUE")),
        (kind != "boolean", json!(false), scalar("FALSE_VALUE")),
        (kind != "list", json!([]), LIST.to_owned()),
        (!is_object, json!({}), OBJECT.to_owned()),
    ];
    all.into_iter().filter(|(is_other, ..)| *is_other).map(|(_, value, message)| (value, message))
}

/// A request and the answer to it.
pub struct Case {
    pub operation: &'static str,
    pub is_signed: bool,
    pub body: Value,
    pub exception: &'static str,
    pub message: String,
}

/// Every case of an operation.
pub fn cases(operation: &OperationSummary) -> Vec<Case> {
    let input = shape(name_of(&MODEL["operations"][operation.name]["input"]));
    let mut cases = Vec::new();
    let mut seen = HashSet::new();
    let all = values(name_of(&MODEL["operations"][operation.name]["input"]), &At::default());
    for (mut body, outcome) in all {
        let (exception, message) = match outcome {
            Outcome::OtherType(message) => ("SerializationException", message),
            Outcome::Violations(all) if all.len() == 1 => {
                ("InvalidParameterException", format!("1 validation error detected: {}", all[0]))
            }
            Outcome::Violations(all) => {
                let text = format!("{} validation errors detected: {}", all.len(), all.join("; "));
                ("InvalidParameterException", text)
            }
            // A value within its bounds is no violation beside another one: a required member that
            // is missing.
            Outcome::Accepted => {
                let members = body.as_object_mut().unwrap();
                let base = valid(name_of(&MODEL["operations"][operation.name]["input"]));
                let unchanged = |name: &&str| members.get(*name) == base.get(*name);
                let Some(name) = required(input).filter(unchanged).last() else { continue };
                if members.len() < 2 {
                    continue;
                }
                members.remove(name);
                let missing =
                    At::default().member(name).of(shape(name_of(&input["members"][name]))).missing();
                ("InvalidParameterException", format!("1 validation error detected: {missing}"))
            }
        };
        if seen.insert(body.to_string()) {
            let OperationSummary { name, is_signed } = *operation;
            cases.push(Case { operation: name, is_signed, body, exception, message });
        }
    }
    cases
}
