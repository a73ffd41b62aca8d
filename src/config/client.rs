//! How this deployment is registered at a provider as its client (RFC 6749, section 2).

use super::Demands;
use super::preset::ClientAuth;
use super::reader::{Item, Table, Wrong};
use crate::base::{Secret, base64url_encode};

/// Our registration at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Our client id there.
    pub id: String,
    /// How we prove that we are it; a public client has nothing for that.
    pub secret: Option<ClientSecret>,
    /// How the file says that this is proven; as its kind of provider usually wants it, where it says nothing.
    pub auth: Option<ClientAuth>,
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
    /// By an assertion that it signs for each request.
    Key(PrivateKey),
}

impl Client {
    /// What nobody else may know of it.
    pub fn private(&self) -> Option<&Secret> {
        self.secret.as_ref().map(|secret| match secret {
            ClientSecret::Shared(secret) => secret,
            ClientSecret::Signed(signed) => &signed.private_key,
            ClientSecret::Key(key) => &key.pem,
        })
    }
}

/// A private key that signs client assertions (RFC 7523).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateKey {
    /// The key: PKCS #8, PEM.
    pub pem: Secret,
    /// Its id at the provider, `kid`; empty, where it has none.
    pub id: String,
    /// The header parameter that names its certificate, `x5t` or `x5t#S256`, and the value (RFC 7515, section 4.1.7).
    pub thumbprint: Option<(&'static str, String)>,
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
        secret: impl FnOnce(&Table<'_>, Option<ClientAuth>) -> Option<Option<ClientSecret>>,
    ) -> Option<Self> {
        let id = table
            .must("client_id", "add the client id that the provider gave you")
            .and_then(|item| item.string().map(str::to_owned));
        let auth = table.get("token_endpoint_auth_method").map(|item| item.choice(&METHODS));
        // After a mistake there, whatever else is missing would mislead.
        let secret = match auth {
            Some(None) => None,
            auth => secret(table, auth.flatten()),
        };
        let scopes = match table.get("scopes") {
            Some(item) => item.strings(),
            None => scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        };
        let (parameters, demands) = table.get("authorization_parameters").map(parameters).unwrap_or_default();
        let (auth, demands) = (auth.flatten(), Box::new(demands));
        Some(Self { id: id?, secret: secret?, auth, scopes, parameters, demands })
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

/// The methods by their registered names (RFC 7591, section 2).
const METHODS: [(&str, ClientAuth); 4] = [
    ("client_secret_basic", ClientAuth::Basic),
    ("client_secret_post", ClientAuth::Post),
    ("private_key_jwt", ClientAuth::PrivateKeyJwt),
    ("none", ClientAuth::None),
];

/// `client_secret`, which a public client has not, or `private_key`.
pub(super) fn optional(table: &Table<'_>, auth: Option<ClientAuth>) -> Option<Option<ClientSecret>> {
    secret_or_key(table, auth, false)
}

/// The same of a provider that answers nobody without.
pub(super) fn needed(table: &Table<'_>, auth: Option<ClientAuth>) -> Option<Option<ClientSecret>> {
    secret_or_key(table, auth, true)
}

fn secret_or_key(
    table: &Table<'_>,
    auth: Option<ClientAuth>,
    is_needed: bool,
) -> Option<Option<ClientSecret>> {
    const SECRET: &str = "add the client secret that the provider gave you";
    let (secret, key) = (table.get("client_secret"), table.get("private_key"));
    let (id, thumbprint) = (table.get("private_key_id"), table.get("private_key_thumbprint"));
    let by_key = auth == Some(ClientAuth::PrivateKeyJwt) || (auth.is_none() && key.is_some());
    let unused = |item: &Option<Item<'_>>, why: &str, remedy: &str| {
        let _ = item.as_ref().map(|item| item.wrong(format!("`{}` {why}", item.key), remedy));
    };
    if !by_key {
        for item in [&key, &id, &thumbprint] {
            unused(
                item,
                "is not used",
                "remove it, or write token_endpoint_auth_method = \"private_key_jwt\"",
            );
        }
    }
    match auth {
        _ if by_key => {
            unused(&secret, "is not used beside a private key", "remove one of the two");
            let key =
                table.must("private_key", "name the key's file: private_key = { file = \"client.pem\" }");
            let thumbprint = thumbprint.map(|item| item.parse(thumbprint_of));
            let id = id.map(|item| item.string().map(str::to_owned));
            Some(Some(ClientSecret::Key(PrivateKey {
                pem: key.and_then(|item| pem(&item))?,
                id: id.map_or(Some(String::new()), |id| id)?,
                thumbprint: thumbprint.map_or(Some(None), |thumbprint| thumbprint.map(Some))?,
            })))
        }
        Some(ClientAuth::None) => {
            unused(&secret, "is not used", "remove it, or token_endpoint_auth_method = \"none\"");
            Some(None)
        }
        Some(ClientAuth::Basic | ClientAuth::Post) | None
            if secret.is_none() && (auth.is_some() || is_needed) =>
        {
            table.must("client_secret", SECRET);
            None
        }
        _ => secret.map_or(Some(None), |item| item.secret().map(|secret| Some(ClientSecret::Shared(secret)))),
    }
}

/// The header parameter for a certificate's thumbprint, which is written as hexadecimal digits (RFC 7515, sections 4.1.7
/// and 4.1.8).
fn thumbprint_of(text: &str) -> Result<(&'static str, String), Wrong> {
    let digits: Vec<u32> = text.chars().filter(|c| *c != ':').map_while(|c| c.to_digit(16)).collect();
    let is_whole = digits.len() == text.chars().filter(|c| *c != ':').count();
    let bytes: Vec<u8> =
        digits.chunks(2).filter_map(|pair| u8::try_from(pair[0] * 16 + pair.get(1)?).ok()).collect();
    match (is_whole, digits.len()) {
        (true, 40) => Ok(("x5t", base64url_encode(&bytes))),
        (true, 64) => Ok(("x5t#S256", base64url_encode(&bytes))),
        _ => Err((
            format!("\"{text}\" is no thumbprint of a certificate"),
            "write its 40 (SHA-1) or 64 (SHA-256) hexadecimal digits".into(),
        )),
    }
}

/// What Apple gives in the place of a secret.
pub(super) fn signed(table: &Table<'_>, _: Option<ClientAuth>) -> Option<Option<ClientSecret>> {
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
        item.wrong(
            "that is no private key",
            "name a PKCS #8 file, which begins with -----BEGIN PRIVATE KEY-----: Apple's .p8 file, or one of `openssl genpkey`",
        );
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
