//! A user pool as the provider of client libraries, and a user who signs in there.

use super::aws::{Api, PASSWORD, ok};
use super::mail::MailServer;
use super::narthex::NarthexBuilder;
use super::orders::Orders;
use super::visitor::{Visitor, redirect_target};
use reqwest::Url;
use serde_json::{Value, json};

/// The secret of the client `server`.
pub const SECRET: &str = "a-secret-of-more-than-22-characters";

/// A deployment whose pool has the user `ada`, the public client `spa` and the confidential client
/// `server`.
pub struct Provider {
    pub api: Api,
    auth: String,
    algorithm: String,
    callback: String,
    signed_out: String,
}

impl Provider {
    /// Starts it, for an app with these addresses.
    pub fn start(algorithm: &str, callback: &str, signed_out: &str) -> Self {
        Self::start_with(algorithm, callback, signed_out, "auth", |builder| builder)
    }

    /// The same at `{host}.localhost`, with more in the configuration.
    pub fn start_with(
        algorithm: &str,
        callback: &str,
        signed_out: &str,
        host: &'static str,
        more: impl FnOnce(NarthexBuilder) -> NarthexBuilder,
    ) -> Self {
        let mail = MailServer::start("starttls", &[]);
        let pool = pool(algorithm, callback, signed_out);
        let narthex = more(Api::builder(&mail, &pool).public_url(host, "")).start();
        let auth = narthex.origin(host);
        let provider = Self {
            api: Api { narthex, mail },
            auth,
            algorithm: algorithm.to_owned(),
            callback: callback.to_owned(),
            signed_out: signed_out.to_owned(),
        };
        provider.create_user();
        provider
    }

    fn create_user(&self) {
        let mut boto = self.api.boto_at(&self.auth);
        let attributes = json!([
            { "Name": "email", "Value": "ada@example.com" },
            { "Name": "email_verified", "Value": "true" },
        ]);
        let pool = self.api.pool_id();
        let user = json!({
            "UserPoolId": pool, "Username": "ada", "UserAttributes": attributes, "MessageAction": "SUPPRESS",
        });
        ok(&mut boto, "AdminCreateUser", user);
        let set = json!({ "UserPoolId": pool, "Username": "ada", "Password": PASSWORD, "Permanent": true });
        ok(&mut boto, "AdminSetUserPassword", set);
    }

    /// The issuer of the pool's tokens.
    pub fn issuer(&self) -> String {
        format!("{}/{}", self.auth, self.api.pool_id())
    }

    /// The configuration of a library as the client `spa` or `server`.
    pub fn config(&self, client: &str) -> Value {
        json!({
            "issuer": self.issuer(),
            "endpoint": format!("{}/", self.auth),
            "poolId": self.api.pool_id(),
            "clientId": client,
            "secret": (client == "server").then_some(SECRET),
            "algorithm": self.algorithm,
            "redirectUri": self.callback,
            "signedOut": self.signed_out,
            "app": self.callback,
            "scope": "openid email",
            "ca": self.api.narthex.folder().join("certs/local-authority.pem"),
        })
    }

    /// A library in a process of its own.
    pub fn library(&self, name: &str, client: &str) -> Orders {
        self.library_with(name, self.config(client))
    }

    /// A library with a configuration of its own.
    pub fn library_with(&self, name: &str, config: Value) -> Orders {
        let config = config.to_string();
        if ["authlib", "pyoidc"].contains(&name) {
            return Orders::python("oauth-client.py", &[name, &config]);
        }
        let authority = self.api.narthex.folder().join("certs/local-authority.pem");
        Orders::node("oauth-client.mjs", &[name, &config], &authority)
    }

    /// A new visitor.
    pub fn visitor(&self) -> Visitor {
        Visitor::new(&self.api.narthex)
    }

    /// Signs `ada` in at an authorization request, and returns where the browser is sent.
    pub async fn sign_in(&self, visitor: &Visitor, authorize: &str) -> String {
        let page = visitor.open(authorize).await;
        visitor.submit_onward(&page, &[("username", "ada"), ("password", PASSWORD)]).await
    }

    /// Whether an authorization request is answered without a page.
    pub async fn has_session(&self, visitor: &Visitor, authorize: &str) -> bool {
        redirect_target(&visitor.get(authorize).await).is_some()
    }
}

fn pool(algorithm: &str, callback: &str, signed_out: &str) -> String {
    let client = |id: &str, more: &str| {
        format!(
            "[[user_pool.client]]\nname = \"{id}\"\nid = \"{id}\"\nallowed_oauth_flows = [\"code\"]\n\
             allowed_oauth_scopes = [\"openid\", \"email\", \"profile\", \"aws.cognito.signin.user.admin\"]\n\
             auth_flows = [\"ALLOW_REFRESH_TOKEN_AUTH\"]\n\
             callback_urls = [\"{callback}\"]\nlogout_urls = [\"{signed_out}\"]\n{more}\n"
        )
    };
    format!(
        "[[user_pool]]\nname = \"people\"\nsigning_algorithm = \"{algorithm}\"\npassword_sign_in = true\n{}{}",
        client("spa", ""),
        client("server", &format!("secret = \"{SECRET}\"")),
    )
}

/// Returns an address with another value of one parameter.
pub fn changed(url: &str, name: &str) -> String {
    let mut url: Url = url.parse().unwrap();
    let other = |(known, value): (String, String)| {
        let value = if known == name { "x".repeat(43) } else { value };
        (known, value)
    };
    let before: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    assert!(before.iter().any(|(known, _)| known == name), "no {name} in {url}");
    url.query_pairs_mut().clear().extend_pairs(before.into_iter().map(other));
    url.into()
}
