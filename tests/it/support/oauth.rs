//! A user pool as an OAuth 2.0 and OpenID provider, with the user `ada`.

use super::aws::{Api, Boto, ok, text};
use super::mail::MailServer;
use super::narthex::NarthexBuilder;
use super::upstream::Upstream;
use super::visitor::Visitor;
use narthex::token::challenge;
use reqwest::{Response, Url};
use serde_json::{Value, json};

pub const PASSWORD: &str = "Correct-Horse-7-Battery";
pub const SECRET: &str = "a-secret-of-more-than-22-characters";
pub const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-0";
pub const CALLBACK: &str = "https://spa.example/callback";
pub const POOL: &str = r#"
[[user_pool]]
name = "declared"
signing_algorithm = "ES256"
password_sign_in = true
[[user_pool.client]]
name = "spa"
id = "spa"
allowed_oauth_flows = ["code"]
allowed_oauth_scopes = ["openid", "email", "profile"]
callback_urls = ["https://spa.example/callback", "https://spa.example/other?a=b", "myapp://signed-in"]
logout_urls = ["https://spa.example/bye"]
refresh_rotation_grace = 0
[[user_pool.client]]
name = "server"
id = "server"
secret = "a-secret-of-more-than-22-characters"
allowed_oauth_flows = ["code"]
allowed_oauth_scopes = ["openid", "aws.cognito.signin.user.admin"]
callback_urls = ["https://server.example/callback"]
[[user_pool.client]]
name = "api"
id = "api"
auth_flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
callback_urls = ["https://api.example/callback"]
"#;

/// A deployment with the user `ada`.
pub struct Scene {
    pub api: Api,
    /// The origin of the sign-in host.
    pub auth: String,
    /// The address of an app behind the gateway.
    pub app: String,
    _upstream: Upstream,
}

impl Scene {
    pub async fn start() -> Self {
        Self::start_with("", |builder| builder).await
    }

    /// Starts a deployment with more tables in its file.
    pub async fn start_with(more: &str, change: impl FnOnce(NarthexBuilder) -> NarthexBuilder) -> Self {
        Self::of_tables(&format!("{POOL}{more}"), change).await
    }

    /// Starts a deployment whose pool has more keys.
    pub async fn with_pool_keys(keys: &str) -> Self {
        let own = "password_sign_in = true\n";
        Self::of_tables(&POOL.replacen(own, &format!("{own}{keys}\n"), 1), |builder| builder).await
    }

    async fn of_tables(tables: &str, change: impl FnOnce(NarthexBuilder) -> NarthexBuilder) -> Self {
        let (upstream, mail) = (Upstream::start().await, MailServer::start("starttls", &[]));
        let builder = Api::builder(&mail, tables).route("app", upstream.port, "");
        let narthex = change(builder).start();
        let (auth, app) = (narthex.origin("auth"), format!("{}/", narthex.origin("app")));
        let scene = Self { api: Api { narthex, mail }, auth, app, _upstream: upstream };
        let mut boto = scene.api.boto();
        create_user(&mut boto, &scene.api.pool_id(), "ada");
        scene
    }

    pub fn visitor(&self) -> Visitor {
        Visitor::new(&self.api.narthex)
    }

    /// Returns the address of an authorization request: the parameters, or others in their place. A
    /// parameter with an empty value is left out.
    pub fn authorize(&self, others: &[(&str, &str)]) -> String {
        let challenge = challenge(VERIFIER);
        let usual = [
            ("response_type", "code"),
            ("client_id", "spa"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid email"),
            ("state", "s-1 &x"),
            ("nonce", "n-1"),
            ("code_challenge", &*challenge),
            ("code_challenge_method", "S256"),
        ];
        let mut url = Url::parse(&format!("{}/oauth2/authorize", self.auth)).unwrap();
        let is_other = |name: &str| others.iter().any(|(other, _)| *other == name);
        let kept = usual.into_iter().filter(|(name, _)| !is_other(name));
        let all = kept.chain(others.iter().copied()).filter(|(_, value)| !value.is_empty());
        url.query_pairs_mut().extend_pairs(all);
        url.into()
    }

    /// Signs `ada` in at an authorization request, and returns where the browser is sent.
    pub async fn sign_in(&self, visitor: &Visitor, authorize: &str) -> Url {
        let page = visitor.open(authorize).await;
        let onward = visitor.submit_onward(&page, &[("username", "ada"), ("password", PASSWORD)]).await;
        onward.parse().unwrap()
    }

    /// Calls the token endpoint.
    pub async fn token(&self, fields: &[(&str, &str)]) -> (u16, Value) {
        self.post("token", fields).await
    }

    /// Sends a form to an endpoint below `/oauth2/`.
    pub async fn post(&self, endpoint: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let client = self.visitor().client;
        let url = format!("{}/oauth2/{endpoint}", self.auth);
        answer(client.post(url).form(fields).send().await.unwrap()).await
    }

    pub async fn redeem(&self, code: &str, others: &[(&str, &str)]) -> (u16, Value) {
        let usual = [
            ("grant_type", "authorization_code"),
            ("client_id", "spa"),
            ("redirect_uri", CALLBACK),
            ("code", code),
            ("code_verifier", VERIFIER),
        ];
        let is_other = |name: &str| others.iter().any(|(other, _)| *other == name);
        let kept = usual.into_iter().filter(|(name, _)| !is_other(name));
        let all: Vec<_> = kept.chain(others.iter().copied()).filter(|(_, value)| !value.is_empty()).collect();
        self.token(&all).await
    }

    pub async fn user_info(&self, token: &Value) -> (u16, Value) {
        let client = self.visitor().client;
        let request = client.get(format!("{}/oauth2/userInfo", self.auth)).bearer_auth(text(token));
        answer(request.send().await.unwrap()).await
    }
}

/// Returns the status and the JSON body of a response.
pub async fn answer(response: Response) -> (u16, Value) {
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

/// Creates a confirmed user with a password.
pub fn create_user(boto: &mut Boto, pool: &str, name: &str) {
    let attributes = json!([
        { "Name": "email", "Value": format!("{name}@example.com") },
        { "Name": "email_verified", "Value": "true" },
        { "Name": "given_name", "Value": "Ada" },
    ]);
    let request = json!({
        "UserPoolId": pool, "Username": name, "UserAttributes": attributes, "MessageAction": "SUPPRESS",
    });
    ok(boto, "AdminCreateUser", request);
    let set = json!({ "UserPoolId": pool, "Username": name, "Password": PASSWORD, "Permanent": true });
    ok(boto, "AdminSetUserPassword", set);
}

/// Returns a parameter of an address.
pub fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}
