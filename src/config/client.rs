//! How this deployment is registered at a provider as its client (RFC 6749, section 2).

use super::Demands;
use super::reader::{Item, Table, Wrong};
use crate::base::Secret;

/// Our registration at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Our client id there.
    pub id: String,
    /// How we prove that we are it; a public client has nothing for that.
    pub secret: Option<ClientSecret>,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// What else an authorization request carries.
    pub parameters: Vec<(String, String)>,
    /// What of these the ID token must show.
    pub demands: Box<Demands>,
}

/// How a client proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientSecret {
    /// By a text that both know.
    Shared(Secret),
    /// By a short-lived text that it signs itself.
    Signed(SignedSecret),
}

impl Client {
    /// What nobody else may know of it.
    pub fn private(&self) -> Option<&Secret> {
        self.secret.as_ref().map(|secret| match secret {
            ClientSecret::Shared(secret) => secret,
            ClientSecret::Signed(signed) => &signed.private_key,
        })
    }
}

/// What Apple wants client secrets made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedSecret {
    /// The developer team's id.
    pub team_id: String,
    /// The key's id.
    pub key_id: String,
    /// The private key: PKCS #8, PEM.
    pub private_key: Secret,
}

/// What an authorization request carries already, or must not carry.
const OURS: [&str; 12] = [
    "client_id",
    "client_secret",
    "code_challenge",
    "code_challenge_method",
    "login_hint",
    "nonce",
    "redirect_uri",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "state",
];

impl Client {
    /// Reads the keys of a client that `secret` reads the secret of, and that asks for `scopes` unless the
    /// file says otherwise.
    pub(super) fn read(
        table: &Table<'_>,
        scopes: &[&str],
        secret: impl FnOnce(&Table<'_>) -> Option<Option<ClientSecret>>,
    ) -> Option<Self> {
        let id = table
            .must("client_id", "add the client id that the provider gave you")
            .and_then(|item| item.string().map(str::to_owned));
        let secret = secret(table);
        let scopes = match table.get("scopes") {
            Some(item) => item.strings(),
            None => scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        };
        let (parameters, demands) = table.get("authorization_parameters").map(parameters).unwrap_or_default();
        Some(Self { id: id?, secret: secret?, scopes, parameters, demands: Box::new(demands) })
    }

    /// Rejects demands that nothing can meet: a provider of plain OAuth 2.0 issues no ID token.
    pub(super) fn without_demands(self, table: &Table<'_>) -> Self {
        if *self.demands != Demands::default() {
            table.wrong(
                "`max_age`, `acr_values` and essential `claims` are checked in the ID token, which this provider does not issue",
                "remove them from [provider.authorization_parameters], or use a provider of type = \"oidc\"",
            );
        }
        self
    }

    /// Asks for one more scope.
    pub(super) fn with_scope(mut self, scope: &str) -> Self {
        if !scope.is_empty() && !self.scopes.iter().any(|known| known == scope) {
            self.scopes.insert(0, scope.to_owned());
        }
        self
    }
}

/// `client_secret`, which a public client has not.
pub(super) fn optional(table: &Table<'_>) -> Option<Option<ClientSecret>> {
    match table.get("client_secret") {
        Some(item) => item.secret().map(|secret| Some(ClientSecret::Shared(secret))),
        None => Some(None),
    }
}

/// `client_secret`, without which the provider answers nobody.
pub(super) fn needed(table: &Table<'_>) -> Option<Option<ClientSecret>> {
    let item = table.must("client_secret", "add the client secret that the provider gave you")?;
    item.secret().map(|secret| Some(ClientSecret::Shared(secret)))
}

/// What Apple gives in the place of a secret.
pub(super) fn signed(table: &Table<'_>) -> Option<Option<ClientSecret>> {
    let id = |key, mend: &str| table.must(key, mend).and_then(|item| item.parse(ten_characters));
    let team_id = id("team_id", "add the team id: ten characters, in the corner of Apple's developer pages");
    let key_id = id("key_id", "add the id of the key for \"Sign in with Apple\": ten characters");
    let private_key = table
        .must("private_key", "name the key's file: private_key = { file = \"AuthKey_….p8\" }")
        .and_then(|item| pem(&item));
    Some(Some(ClientSecret::Signed(SignedSecret {
        team_id: team_id?,
        key_id: key_id?,
        private_key: private_key?,
    })))
}

fn ten_characters(text: &str) -> Result<String, Wrong> {
    match text.len() == 10 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        true => Ok(text.to_owned()),
        false => {
            Err((format!("\"{text}\" is none of Apple's ids"), "write its ten letters and digits".into()))
        }
    }
}

fn pem(item: &Item<'_>) -> Option<Secret> {
    let secret = item.secret()?;
    if !secret.expose().trim_start().starts_with("-----BEGIN PRIVATE KEY-----") {
        item.wrong("that is no private key", "give the .p8 file as Apple made it, by { file = \"…\" }");
        return None;
    }
    Some(secret)
}

fn parameters(item: Item<'_>) -> (Vec<(String, String)>, Demands) {
    let Some(table) = item.table("[provider.authorization_parameters]") else { return Default::default() };
    let mut parameters = Vec::new();
    for item in table.all() {
        if OURS.contains(&&*item.key) || item.key == "scope" {
            item.wrong(
                format!("`{}` is not to be changed", item.key),
                "remove it; scopes have a key of their own",
            );
        }
        if let Some(value) = item.string() {
            parameters.push((item.key, value.to_owned()));
        }
    }
    let demands = Demands::of(&parameters).unwrap_or_else(|(why, remedy)| {
        item.wrong(why, &remedy);
        Demands::default()
    });
    (parameters, demands)
}
