//! Every bound of every member of every operation, over the wire.

use crate::support::aws::Api;
use crate::support::model_cases::{Case, cases};
use crate::support::wire::{Wire, WireResponse};
use futures_util::StreamExt as _;
use narthex::aws::OperationSummary;
use serde_json::json;
use std::time::{Duration, Instant};

const POOL: &str = "[[user_pool]]\nname = \"declared\"\nsigning_algorithm = \"ES256\"\n";
/// Requests that are sent side by side.
const CONCURRENCY: usize = 12;

/// The response to a case.
fn expected(case: &Case) -> WireResponse {
    let visible = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    WireResponse {
        status: 400,
        error_type: format!("{}:", case.exception),
        error_message: case.message.chars().take(512).map(visible).collect(),
        content_type: "application/x-amz-json-1.1".to_owned(),
        body: json!({ "__type": case.exception, "message": case.message }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bound_of_every_member_of_every_operation_is_checked_in_the_words_of_aws() {
    let operations: Vec<OperationSummary> = narthex::aws::operations().collect();
    let cases: Vec<Case> = operations.iter().flat_map(cases).collect();
    let api = Api::start(POOL);
    let (wire, begun) = (Wire::new(&api.narthex), Instant::now());
    let sent = cases.iter().map(|case| {
        let (body, wire) = (case.body.to_string(), &wire);
        async move { (case, wire.send(case.operation, case.is_signed, &body).await) }
    });
    let mut answers = futures_util::stream::iter(sent).buffer_unordered(CONCURRENCY);
    let mut wrong = Vec::new();
    while let Some((case, answer)) = answers.next().await {
        let expected = expected(case);
        if answer != expected {
            let body: String = case.body.to_string().chars().take(400).collect();
            wrong
                .push(format!("{} {body}\n  answer:   {answer:?}\n  expected: {expected:?}", case.operation));
        }
    }
    let (count, took) = (cases.len(), begun.elapsed());
    println!("{count} cases of {} operations in {took:?}", operations.len());
    let shown: Vec<&String> = wrong.iter().take(10).collect();
    assert!(wrong.is_empty(), "{} of {count}: {shown:#?}", wrong.len());
    assert!(operations.len() >= 74 && count > 5000, "{count}");
    assert!(took < Duration::from_secs(60), "{took:?}");
}
