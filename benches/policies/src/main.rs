//! Cost of one policy decision by number of statements, compared with iam-rs on the same documents
//! and cedar on equivalent policies, in the same run; and allocations per decision. `make bench`
//! prints it.

use cedar_policy::{Authorizer, Context as CedarContext, Entities, PolicySet, Request, RestrictedExpression};
use iam_rs::{Arn, IAMPolicy, IAMRequest, PolicyEvaluator, Principal, PrincipalId};
use narthex::policy::{
    Context, Document, EvalRequest, Grants, Key, Known, Purpose, Statements, Value, Values, Verdict,
};
use serde_json::json;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(60);
const ACTION: &str = "execute-api:Invoke";
const ROUTE: &str = "arn:aws:execute-api:us-east-1:123456789012:r0/";

/// A member of the team red, as the gateway represents her.
struct Ann;

impl Context for Ann {
    fn values(&self, key: &Key) -> Values<'_> {
        match key {
            Key::Known(Known::Username) => Values::One(Value::Text("ann")),
            Key::PrincipalTag(tag) if &**tag == "team" => Values::One(Value::Text("red")),
            _ => Values::Absent,
        }
    }
}

/// Returns the route and the area of statement `i` of `all`; the last `concern` statements apply to
/// the first route.
fn place(i: usize, all: usize, concern: usize) -> (usize, usize) {
    let others = all - concern;
    if i < others { (i + 1, 0) } else { (0, i - others) }
}

fn ours(all: usize, concern: usize) -> serde_json::Value {
    let statement = |i| {
        let (route, area) = place(i, all, concern);
        json!({
            "Effect": "Allow", "Action": ACTION,
            "Resource": format!("arn:aws:execute-api:us-east-1:123456789012:r{route}/$default/GET/area{area}/${{aws:username}}/*"),
            "Condition": {"StringEquals": {"aws:PrincipalTag/team": "red"}},
        })
    };
    json!({ "Version": "2012-10-17", "Statement": (0..all).map(statement).collect::<Vec<_>>() })
}

fn cedars(all: usize, concern: usize) -> PolicySet {
    let policy = |i| {
        let (route, area) = place(i, all, concern);
        format!(
            "permit(principal, action == Action::\"Invoke\", resource) when {{ context.route == \"r{route}\" && \
             context.method == \"GET\" && context.path like \"area{area}/*\" && context.owner == context.username && \
             context.team == \"red\" }};\n"
        )
    };
    (0..all).map(policy).collect::<String>().parse().unwrap()
}

/// Returns the resource of the request: the last area of the first route.
fn resource(concern: usize) -> String {
    format!("{ROUTE}$default/GET/area{}/ann/file", concern - 1)
}

/// Returns the duration of `judge` in nanoseconds: the minimum of a round, which has the least
/// interference.
fn nanoseconds(judge: &mut dyn FnMut() -> bool) -> f64 {
    let mut count = 1_u32;
    loop {
        let begun = Instant::now();
        for _ in 0..count {
            assert!(black_box(judge()));
        }
        let took = begun.elapsed();
        if took >= ROUND {
            return took.as_secs_f64() * 1e9 / f64::from(count);
        }
        count *= 2;
    }
}

fn median(mut all: Vec<f64>) -> (f64, f64, f64) {
    all.sort_by(f64::total_cmp);
    (all[all.len() / 2], all[0], all[all.len() - 1])
}

fn main() {
    let ann = Ann;
    let mut table = String::from(
        "# Judging one request\n\n`make bench`; the median of nine rounds in turn, in nanoseconds (range), and allocations. \
         Each statement has a variable in its resource and a condition; the last of those that concern the route allows.\n\n\
         | statements, of which concern the route | narrowed to the route at load, as the gateway has it | all of them | iam-rs | cedar |\n|---|---|---|---|---|\n",
    );
    for (all, concern) in [(10, 10), (100, 10), (1000, 10), (100, 100), (1000, 1000)] {
        let text = ours(all, concern).to_string();
        let document = Document::parse(&text, Purpose::Identity).unwrap();
        let whole = Grants { policies: Statements::of([&document]), bounds: Vec::new() };
        let narrowed = whole.narrowed(ACTION, ROUTE);
        assert_eq!(narrowed.policies.iter().count(), concern);
        let resource = resource(concern);
        let asked =
            EvalRequest { action: ACTION, resource: &resource, loose: None, principal: None, context: &ann };

        let policy: IAMPolicy = serde_json::from_str(&text).unwrap();
        let evaluator = PolicyEvaluator::with_policies(vec![policy]);
        let principal = Principal::Aws(PrincipalId::String("arn:aws:iam::123456789012:user/ann".into()));
        let context =
            serde_json::from_value(json!({"aws:username": "ann", "aws:PrincipalTag/team": "red"})).unwrap();
        let request =
            IAMRequest::new_with_context(principal, ACTION, Arn::parse(&resource).unwrap(), context);

        let cedars = cedars(all, concern);
        let path = format!("area{}/ann/file", concern - 1);
        let pairs = [
            ("route", "r0"),
            ("method", "GET"),
            ("path", &*path),
            ("owner", "ann"),
            ("username", "ann"),
            ("team", "red"),
        ];
        let pairs =
            pairs.map(|(name, value)| (name.to_owned(), RestrictedExpression::new_string(value.to_owned())));
        let id = |text: &str| text.parse().unwrap();
        let (entities, authorizer) = (Entities::empty(), Authorizer::new());
        let cedar = Request::new(
            id("User::\"ann\""),
            id("Action::\"Invoke\""),
            id("Route::\"r0\""),
            CedarContext::from_pairs(pairs).unwrap(),
            None,
        )
        .unwrap();

        let mut judges: [Box<dyn FnMut() -> bool>; 4] = [
            Box::new(|| matches!(narrowed.judge(&asked), Verdict::Allowed(_))),
            Box::new(|| matches!(whole.judge(&asked), Verdict::Allowed(_))),
            Box::new(|| {
                evaluator.evaluate(&request).is_ok_and(|told| told.decision == iam_rs::Decision::Allow)
            }),
            Box::new(|| {
                authorizer.is_authorized(&cedar, &cedars, &entities).decision()
                    == cedar_policy::Decision::Allow
            }),
        ];
        let allocations: Vec<u64> = judges
            .iter_mut()
            .map(|judge| allocation_counter::measure(|| assert!(judge())).count_total)
            .collect();
        let mut rounds = vec![Vec::new(); judges.len()];
        for _ in 0..ROUNDS {
            for (judge, round) in judges.iter_mut().zip(&mut rounds) {
                round.push(nanoseconds(judge));
            }
        }
        write!(table, "| {all}, {concern} |").unwrap();
        for (round, allocations) in rounds.into_iter().zip(allocations) {
            let (median, least, most) = median(round);
            write!(table, " {median:.0} ({least:.0} to {most:.0}), {allocations} |").unwrap();
        }
        table.push('\n');
    }
    println!("{table}");
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("POLICIES.md"), table).unwrap();
}
