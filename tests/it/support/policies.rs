//! Policies that allow paths of a route, a deployment with roles, and decisions on requests.

use super::narthex::{Narthex, NarthexBuilder};
use super::parties::OpenIdProvider;
use super::upstream::Upstream;
use super::visitor::{Visitor, assert_status, location};
use narthex::policy::{Context, EvalRequest, Grants, Key, Value, Values, Verdict};
use serde_json::{Value as Json, json};
use std::collections::HashMap;

/// How long access tokens live here.
pub const TOKEN_SECONDS: u32 = 4;

/// Returns a policy with one statement that allows these paths of the route `photos`.
pub fn allow_policy(what: &[&str]) -> Json {
    let resource = |what: &&str| format!("arn:aws:execute-api:us-east-1:123456789012:photos/$default/{what}");
    json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "Allows", "Effect": "Allow", "Action": "execute-api:Invoke",
        "Resource": what.iter().map(resource).collect::<Vec<_>>()}]})
}

pub const IDENTITY_VARIABLE: &str = "${cognito-identity.amazonaws.com:sub}";

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

pub struct RolesDeployment {
    pub upstream: Upstream,
    pub corp: OpenIdProvider,
    pub _club: OpenIdProvider,
    pub narthex: Narthex,
}

impl RolesDeployment {
    /// Starts a deployment with two providers and guests. Users of one provider get roles by rules,
    /// those of the other by groups.
    pub async fn start() -> Self {
        let upstream = Upstream::start().await;
        let builder = NarthexBuilder::new();
        let corp =
            OpenIdProvider::start_with_token_lifetime("corp", &builder.callback("corp"), TOKEN_SECONDS);
        let club = OpenIdProvider::start("club", &builder.callback("club"));
        let narthex = builder
            .file(
                "policies/member.json",
                allow_policy(&["GET/", &format!("GET/home/{IDENTITY_VARIABLE}/*")]).to_string(),
            )
            .file(
                "policies/editor.json",
                allow_policy(&[
                    "GET/",
                    &format!("*/home/{IDENTITY_VARIABLE}/*"),
                    "GET/mail/${aws:PrincipalTag/mail}",
                ])
                .to_string(),
            )
            .file(
                "policies/visitor.json",
                allow_policy(&["GET/", "GET/public/*", &format!("PUT/baskets/{IDENTITY_VARIABLE}")])
                    .to_string(),
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

    /// Returns the address of a path of the app.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.narthex.origin("app"))
    }

    /// Signs `visitor` in as `login` through `provider`; returns the identity that the app got.
    pub async fn sign_in(&self, visitor: &Visitor, provider: &str, login: &str) -> Json {
        let asked = visitor.get(&self.url("/.narthex/sign-in?return_to=/")).await;
        let landed =
            visitor.sign_in(&format!("{}&identity_provider={provider}", location(&asked)), login).await;
        assert_status(&landed, 200);
        self.upstream.seen().last().unwrap().claims()
    }

    /// Signs a new visitor in. Returns the identity that the app got, too.
    pub async fn new_visitor(&self, provider: &str, login: &str) -> (Visitor, Json) {
        let visitor = Visitor::new(&self.narthex);
        let claims = self.sign_in(&visitor, provider, login).await;
        (visitor, claims)
    }
}

/// What a case says of a request.
#[derive(Default)]
pub struct RequestContext(HashMap<Key, Held>);

enum Held {
    One(Json),
    Many(Vec<String>),
}

impl RequestContext {
    /// Returns the context keys in a JSON object.
    pub fn from_json(context: &Json) -> Self {
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

impl Context for RequestContext {
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

/// Returns the decision on a request in a word.
pub fn decision(grants: &Grants, action: &str, resource: &str, context: &RequestContext) -> &'static str {
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
