//! Policies that allow paths of a route, a deployment with roles, and decisions on requests.

use super::narthex::{Narthex, NarthexBuilder};
use super::parties::OpenIdProvider;
use super::upstream::Upstream;
use super::visitor::{Visitor, is, location};
use narthex::policy::{Context, EvalRequest, Grants, Key, Value, Values, Verdict};
use serde_json::{Value as Json, json};
use std::collections::HashMap;

/// How long access tokens live here.
pub const SECONDS: u32 = 4;

/// A policy of one statement that allows these of the route `photos`.
pub fn allows(what: &[&str]) -> Json {
    let resource = |what: &&str| format!("arn:aws:execute-api:us-east-1:123456789012:photos/$default/{what}");
    json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "Allows", "Effect": "Allow", "Action": "execute-api:Invoke",
        "Resource": what.iter().map(resource).collect::<Vec<_>>()}]})
}

pub const SUB: &str = "${cognito-identity.amazonaws.com:sub}";

pub const ROLES: &str = r#"
[[user_pool]]
[[user_pool.group]]
name = "editors"
role = "editor"
precedence = 1

[[role]]
name = "member"
policies = ["policies/member.json"]
[[role]]
name = "editor"
policies = ["policies/editor.json"]
[[role]]
name = "visitor"
policies = ["policies/visitor.json"]

[[identity_pool]]
name = "main"
guest_role = "visitor"
[identity_pool.principal_tags]
mail = "email"
[[identity_pool.role_mapping]]
provider = "corp"
type = "rules"
ambiguous = "deny"
rules = [{ claim = "groups", match = "Equals", value = "staff", role = "member" }]
[[identity_pool.role_mapping]]
provider = "club"
type = "token"
ambiguous = "deny"
"#;

pub struct Scene {
    pub upstream: Upstream,
    pub corp: OpenIdProvider,
    pub _club: OpenIdProvider,
    pub narthex: Narthex,
}

impl Scene {
    /// Two providers: the people of one get roles by rules, those of the other by groups. Guests
    /// may enter.
    pub async fn set() -> Self {
        let upstream = Upstream::start().await;
        let builder = NarthexBuilder::new();
        let corp = OpenIdProvider::renewing("corp", &builder.callback("corp"), SECONDS);
        let club = OpenIdProvider::start("club", &builder.callback("club"));
        let narthex = builder
            .file("policies/member.json", allows(&["GET/", &format!("GET/home/{SUB}/*")]).to_string())
            .file(
                "policies/editor.json",
                allows(&["GET/", &format!("*/home/{SUB}/*"), "GET/mail/${aws:PrincipalTag/mail}"])
                    .to_string(),
            )
            .file(
                "policies/visitor.json",
                allows(&["GET/", "GET/public/*", &format!("PUT/baskets/{SUB}")]).to_string(),
            )
            .tables(&(corp.toml("\"anyone\"") + &club.toml("\"anyone\"")))
            .tables("[provider.groups]\nEditors = \"editors\"\n")
            .tables(ROLES)
            .route(
                "app",
                upstream.port,
                "name = \"photos\"\naccess = \"policy\"\n[route.headers]\nX-Remote-User = \"${sub}\"",
            )
            .start();
        Self { upstream, corp, _club: club, narthex }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.narthex.origin("app"))
    }

    /// Signs `visitor` in as `login` through `provider`; returns the identity that the app got.
    pub async fn sign_in(&self, visitor: &Visitor, provider: &str, login: &str) -> Json {
        let asked = visitor.get(&self.url("/.narthex/sign-in?return_to=/")).await;
        let landed = visitor.land(&format!("{}&identity_provider={provider}", location(&asked)), login).await;
        is(&landed, 200);
        self.upstream.seen().last().unwrap().claims()
    }

    pub async fn come(&self, provider: &str, login: &str) -> (Visitor, Json) {
        let visitor = Visitor::new(&self.narthex);
        let claims = self.sign_in(&visitor, provider, login).await;
        (visitor, claims)
    }
}

/// What a case says of a request.
#[derive(Default)]
pub struct Known(HashMap<Key, Held>);

enum Held {
    One(Json),
    Many(Vec<String>),
}

impl Known {
    /// What stands in an object.
    pub fn of(context: &Json) -> Self {
        let held = |value: &Json| match value {
            Json::Array(values) => {
                Held::Many(values.iter().map(|value| value.as_str().unwrap().to_owned()).collect())
            }
            value => Held::One(value.clone()),
        };
        let entries = context.as_object().into_iter().flatten();
        Self(entries.map(|(name, value)| (Key::named(name), held(value))).collect())
    }
}

impl Context for Known {
    fn values(&self, key: &Key) -> Values<'_> {
        match self.0.get(key) {
            None => Values::Absent,
            Some(Held::Many(values)) => Values::Many(values),
            Some(Held::One(Json::String(text))) => Values::One(Value::Text(text)),
            Some(Held::One(Json::Bool(truth))) => Values::One(Value::Bool(*truth)),
            Some(Held::One(Json::Number(number))) => match number.as_i64() {
                Some(number) => Values::One(Value::Number(number)),
                // A number with a fraction has no kind of its own.
                None => Values::One(Value::Text(Box::leak(number.to_string().into_boxed_str()))),
            },
            Some(Held::One(other)) => panic!("{other}"),
        }
    }
}

/// What becomes of a request, in a word.
pub fn judged(grants: &Grants, action: &str, resource: &str, context: &Known) -> &'static str {
    let asked = EvalRequest { action, resource, loose: None, principal: None, context };
    let word = |verdict: &Verdict<'_>| match verdict {
        Verdict::Allowed(_) => "allowed",
        Verdict::Denied(_) => "denied",
        Verdict::NotAllowed => "not allowed",
    };
    let whole = grants.judge(&asked);
    // What was narrowed beforehand to a resource's beginning says the same.
    for end in [0, 13.min(resource.len()), resource.len()] {
        let narrowed = grants.narrowed(action, &resource[..end]);
        assert_eq!(word(&narrowed.judge(&asked)), word(&whole), "narrowed to {}", &resource[..end]);
    }
    word(&whole)
}
