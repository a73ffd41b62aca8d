//! Conditions (IAM User Guide, "IAM JSON policy elements: Condition operators").

use super::arn::Arn;
use super::context::{EvalRequest, Key, Value, Values};
use super::pattern::{Case, Matched, Pattern, Syntax};
use super::value;
use crate::base::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use smallvec::SmallVec;
use std::net::IpAddr;

/// A condition: an operator, a key, and operands.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The operator as written.
    pub operator: Box<str>,
    /// The key.
    pub key: Key,
    quantifier: Quantifier,
    if_exists: bool,
    negated: bool,
    test: Test,
    written: Vec<String>,
}

/// The set operator ("Multivalued context keys"): which of the request's values must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    None,
    ForAllValues,
    ForAnyValue,
}

/// The operands of an operator. One match suffices.
#[derive(Clone, Debug)]
enum Test {
    Text(SmallVec<[Pattern; 1]>, Case),
    Arn(Vec<Arn>),
    Number(Order, Vec<f64>),
    Date(Order, Vec<Timestamp>),
    Bool(bool),
    Binary(Vec<Vec<u8>>),
    Ip(Vec<IpNet>),
    /// Whether the key is absent.
    Null(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Text { wildcards: bool, case: Case },
    Arn,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Ip,
    Null,
}

const fn text(wildcards: bool, case: Case) -> Kind {
    Kind::Text { wildcards, case }
}

/// The operators: name, whether negated, and comparison.
const OPERATORS: [(&str, bool, Kind); 27] = [
    ("StringEquals", false, text(false, Case::Sensitive)),
    ("StringNotEquals", true, text(false, Case::Sensitive)),
    ("StringEqualsIgnoreCase", false, text(false, Case::Ignored)),
    ("StringNotEqualsIgnoreCase", true, text(false, Case::Ignored)),
    ("StringLike", false, text(true, Case::Sensitive)),
    ("StringNotLike", true, text(true, Case::Sensitive)),
    ("NumericEquals", false, Kind::Number(Order::Equal)),
    ("NumericNotEquals", true, Kind::Number(Order::Equal)),
    ("NumericLessThan", false, Kind::Number(Order::Less)),
    ("NumericLessThanEquals", false, Kind::Number(Order::LessOrEqual)),
    ("NumericGreaterThan", false, Kind::Number(Order::Greater)),
    ("NumericGreaterThanEquals", false, Kind::Number(Order::GreaterOrEqual)),
    ("DateEquals", false, Kind::Date(Order::Equal)),
    ("DateNotEquals", true, Kind::Date(Order::Equal)),
    ("DateLessThan", false, Kind::Date(Order::Less)),
    ("DateLessThanEquals", false, Kind::Date(Order::LessOrEqual)),
    ("DateGreaterThan", false, Kind::Date(Order::Greater)),
    ("DateGreaterThanEquals", false, Kind::Date(Order::GreaterOrEqual)),
    ("Bool", false, Kind::Bool),
    ("BinaryEquals", false, Kind::Binary),
    ("IpAddress", false, Kind::Ip),
    ("NotIpAddress", true, Kind::Ip),
    ("ArnEquals", false, Kind::Arn),
    ("ArnLike", false, Kind::Arn),
    ("ArnNotEquals", true, Kind::Arn),
    ("ArnNotLike", true, Kind::Arn),
    ("Null", false, Kind::Null),
];

const IF_EXISTS: &str = "IfExists";

/// The reason why a condition is not met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unmet<'p> {
    /// The request's values do not match.
    Differs,
    /// The key is absent from the request's context.
    Absent,
    /// The key's value is unreadable.
    Unreadable,
    /// A variable has no value.
    Unfilled(&'p Key),
}

impl Condition {
    /// Parses the operands of `key` for `operator`.
    ///
    /// # Errors
    /// Returns an error if the operator, the key or an operand is invalid.
    pub fn parse(operator: &str, key: &str, values: Vec<String>, variables: bool) -> Result<Self, String> {
        let (quantifier, rest) = match operator.split_once(':') {
            None => (Quantifier::None, operator),
            Some(("ForAllValues", rest)) => (Quantifier::ForAllValues, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::ForAnyValue, rest),
            Some((other, _)) => {
                return Err(format!("`{other}` is no set operator; write ForAllValues or ForAnyValue"));
            }
        };
        let (name, if_exists) = rest.strip_suffix(IF_EXISTS).map_or((rest, false), |name| (name, true));
        let Some((_, negated, kind)) = OPERATORS.iter().find(|(known, ..)| *known == name) else {
            return Err(format!("`{operator}` is no condition operator"));
        };
        if matches!(kind, Kind::Null) && (if_exists || quantifier != Quantifier::None) {
            return Err(
                "`Null` asks whether a key is there, and takes neither a set operator nor IfExists".into()
            );
        }
        // "Invalid condition key format", "Missing tag key in condition".
        let named =
            key.split_once(':').is_some_and(|(service, name)| !service.is_empty() && !name.is_empty());
        if !named || key.ends_with('/') || key.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("`{key}` is no condition key; help: write it like `aws:PrincipalTag/team`"));
        }
        if values.is_empty() {
            return Err(format!("`{key}` is compared with nothing"));
        }
        Ok(Self {
            operator: operator.into(),
            key: Key::named(key),
            quantifier,
            if_exists,
            negated: *negated,
            test: Test::parse(*kind, &values, variables)?,
            written: values,
        })
    }

    /// Returns the operands as written.
    pub fn written(&self) -> &[String] {
        &self.written
    }

    /// Returns whether the operator accepts values of the type of `example`.
    pub(super) fn operands(&self, example: Value<'_>) -> bool {
        match (&self.test, example) {
            (Test::Null(_) | Test::Text(..), _) | (_, Value::Text(_)) => true,
            (Test::Number(..), Value::Number(_)) | (Test::Date(..), Value::Number(_) | Value::Time(_)) => {
                true
            }
            (Test::Bool(_), Value::Bool(_)) | (Test::Ip(_), Value::Ip(_)) => true,
            (
                Test::Arn(_)
                | Test::Number(..)
                | Test::Date(..)
                | Test::Bool(_)
                | Test::Binary(_)
                | Test::Ip(_),
                _,
            ) => false,
        }
    }

    /// Returns whether the operator is negated.
    pub(super) fn is_negated(&self) -> bool {
        self.negated
    }

    /// Iterates over all variables in the operands.
    pub fn variables(&self) -> impl Iterator<Item = &super::pattern::Variable> {
        let patterns: Vec<&Pattern> = match &self.test {
            Test::Text(patterns, _) => patterns.iter().collect(),
            Test::Arn(arns) => arns.iter().flat_map(Arn::patterns).collect(),
            _ => Vec::new(),
        };
        patterns.into_iter().flat_map(Pattern::variables)
    }

    /// Evaluates the condition. `denies` states whether the statement's effect is Deny. If a
    /// variable has no value, an Allow statement does not apply, and a Deny statement may.
    ///
    /// # Errors
    /// Returns the reason if the condition is not met.
    pub fn met(&self, request: &EvalRequest<'_>, denies: bool) -> Result<(), Unmet<'_>> {
        let values = request.context.values(&self.key);
        if values == Values::Unreadable {
            return if denies { Ok(()) } else { Err(Unmet::Unreadable) };
        }
        if let Test::Null(absent) = self.test {
            return if (values == Values::Absent) == absent { Ok(()) } else { Err(Unmet::Differs) };
        }
        let empty = values.each().next().is_none();
        if empty {
            // "If the policy element key is not present, … evaluate the condition element as true"
            // applies with IfExists. Without it, an absent key matches only negated operators. For
            // no values, ForAllValues is true and ForAnyValue is false.
            let holds = match self.quantifier {
                Quantifier::ForAllValues => true,
                Quantifier::ForAnyValue => self.if_exists,
                Quantifier::None => self.if_exists || self.negated,
            };
            return if holds { Ok(()) } else { Err(Unmet::Absent) };
        }
        let mut unfilled = None;
        let mut one = |value: Value<'_>| match self.test.matches(value, request) {
            Matched::Yes => !self.negated,
            Matched::No => self.negated,
            Matched::Unfilled(key) => {
                unfilled = Some(key);
                denies && (self.negated || request.context.values(key) == Values::Unreadable)
            }
        };
        let holds = match (self.quantifier, self.negated) {
            (Quantifier::ForAllValues, _) | (Quantifier::None, true) => values.each().all(&mut one),
            (Quantifier::ForAnyValue, _) | (Quantifier::None, false) => values.each().any(&mut one),
        };
        match (holds, unfilled) {
            (true, _) => Ok(()),
            (false, Some(key)) => Err(Unmet::Unfilled(key)),
            (false, None) => Err(Unmet::Differs),
        }
    }
}

impl Test {
    fn parse(kind: Kind, values: &[String], variables: bool) -> Result<Self, String> {
        // "You can use policy variables … in string comparisons in the Condition element."
        let fixed = !matches!(kind, Kind::Text { .. } | Kind::Arn);
        if fixed && let Some(value) = values.iter().find(|value| value.contains("${")) {
            return Err(format!("`{value}` holds a variable, which only string and ARN operators take"));
        }
        fn each<T>(
            values: &[String],
            what: &str,
            read: impl Fn(&str) -> Option<T>,
        ) -> Result<Vec<T>, String> {
            values.iter().map(|text| read(text).ok_or_else(|| format!("`{text}` is no {what}"))).collect()
        }
        Ok(match kind {
            Kind::Text { wildcards, case } => {
                let syntax = Syntax { wildcards, variables };
                let patterns: Result<_, _> = values.iter().map(|text| Pattern::parse(text, syntax)).collect();
                Self::Text(patterns?, case)
            }
            Kind::Arn => {
                Self::Arn(values.iter().map(|text| Arn::parse(text, variables)).collect::<Result<_, _>>()?)
            }
            Kind::Number(order) => Self::Number(order, each(values, "number", value::number)?),
            Kind::Date(order) => Self::Date(
                order,
                each(
                    values,
                    "date; help: write it like `2030-01-01T00:00:00Z`, or in seconds since 1970",
                    value::moment,
                )?,
            ),
            // "Invalid condition multiple Boolean".
            Kind::Bool => match each(values, "truth value", value::truth)?.as_slice() {
                [truth] => Self::Bool(*truth),
                _ => return Err("`Bool` takes one value".into()),
            },
            Kind::Binary => Self::Binary(each(values, "base64", |text| STANDARD.decode(text).ok())?),
            Kind::Ip => Self::Ip(each(values, "address or network", value::network)?),
            Kind::Null => match each(values, "truth value", value::truth)?.as_slice() {
                [absent] => Self::Null(*absent),
                _ => return Err("`Null` takes one value".into()),
            },
        })
    }

    /// Returns whether `value` equals one of the operands.
    fn matches(&self, value: Value<'_>, request: &EvalRequest<'_>) -> Matched<'_> {
        let any = |found: bool| if found { Matched::Yes } else { Matched::No };
        match self {
            Self::Text(patterns, case) => {
                let text = value.text();
                first(patterns.iter().map(|pattern| pattern.matches(&text, *case, request.context)))
            }
            Self::Arn(arns) => {
                let text = value.text();
                first(arns.iter().map(|arn| arn.matches(&text, request.context)))
            }
            Self::Number(order, numbers) => {
                let number = match value {
                    #[expect(clippy::cast_precision_loss, reason = "policies write decimals")]
                    Value::Number(number) => Some(number as f64),
                    Value::Text(text) => value::number(text),
                    _ => None,
                };
                let holds = |other: &f64| {
                    number.and_then(|number| number.partial_cmp(other)).is_some_and(|o| order.holds(o))
                };
                any(numbers.iter().any(holds))
            }
            Self::Date(order, moments) => {
                let at = match value {
                    Value::Time(at) => Some(at),
                    Value::Number(seconds) => Some(Timestamp::from_seconds(seconds)),
                    Value::Text(text) => value::moment(text),
                    _ => None,
                };
                any(at.is_some_and(|at| moments.iter().any(|other| order.holds(at.cmp(other)))))
            }
            Self::Bool(wanted) => {
                let truth = match value {
                    Value::Bool(truth) => Some(truth),
                    Value::Text(text) => value::truth(text),
                    _ => None,
                };
                any(truth == Some(*wanted))
            }
            Self::Binary(all) => match value {
                Value::Text(text) => any(STANDARD.decode(text).is_ok_and(|bytes| all.contains(&bytes))),
                _ => Matched::No,
            },
            Self::Ip(networks) => {
                let ip = match value {
                    Value::Ip(ip) => Some(ip.to_canonical()),
                    Value::Text(text) => text.parse().ok().map(|ip: IpAddr| ip.to_canonical()),
                    _ => None,
                };
                any(ip.is_some_and(|ip| networks.iter().any(|network| network.contains(&ip))))
            }
            Self::Null(_) => Matched::No,
        }
    }
}

/// Returns the first match. Without a match, returns the last variable without a value, if any.
fn first<'p>(all: impl Iterator<Item = Matched<'p>>) -> Matched<'p> {
    let mut unfilled = Matched::No;
    for matched in all {
        match matched {
            Matched::Yes => return Matched::Yes,
            Matched::No => {}
            Matched::Unfilled(_) => unfilled = matched,
        }
    }
    unfilled
}
