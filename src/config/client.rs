//! The client registration at a provider (RFC 6749, section 2).

use super::Demands;
use super::client_keys as keys;
use super::item::Item;
use super::preset::ClientAuth;
use super::reader::Table;
use crate::base::Secret;

/// The client registration at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client id.
    pub id: String,
    /// The credentials; a public client has none.
    pub secret: Option<ClientSecret>,
    /// The authentication method, if the file has one.
    pub auth: Option<ClientAuth>,
    /// The scopes to request.
    pub scopes: Vec<String>,
    /// Additional parameters of authorization requests.
    pub parameters: Vec<(String, String)>,
    /// The requirements among these parameters, which the ID token must meet.
    pub demands: Box<Demands>,
}

/// The credentials of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientSecret {
    /// A shared secret.
    Shared(Secret),
    /// A private key that signs short-lived client secrets.
    Signed(SignedSecret),
    /// A private key that signs an assertion for each request.
    Key(PrivateKey),
}

impl Client {
    /// Returns the shared secret or private key.
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
    /// The key's `kid` at the provider; empty if it has none.
    pub id: String,
    /// The thumbprint of the key's certificate: the header parameter, `x5t` or `x5t#S256`, and the
    /// value (RFC 7515, section 4.1.7).
    pub thumbprint: Option<(&'static str, String)>,
}

/// The parts of Apple's client secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedSecret {
    /// The developer team's id.
    pub team_id: String,
    /// The key's id.
    pub key_id: String,
    /// The private key: PKCS #8, PEM.
    pub private_key: Secret,
}

impl Client {
    /// Reads the keys of a client. The function `secret` reads its credentials. `scopes` are the
    /// defaults of the requested scopes.
    pub(super) fn read(
        table: &Table<'_>,
        scopes: &[&str],
        secret: impl FnOnce(&Table<'_>, Option<ClientAuth>) -> Option<Option<ClientSecret>>,
    ) -> Option<Self> {
        let id = table.read(&keys::CLIENT_ID);
        let auth = table.get(&keys::AUTH_METHOD).map(|item| keys::AUTH_METHOD.value(&item));
        // After an invalid authentication method, a missing secret must not be reported.
        let secret = match auth {
            Some(None) => None,
            auth => secret(table, auth.flatten()),
        };
        let usual = || scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let scopes = table.read(&keys::SCOPES).unwrap_or_else(usual);
        let (parameters, demands) = table.read(&keys::AUTHORIZATION_PARAMETERS).unwrap_or_default();
        Some(Self {
            id: id?,
            secret: secret?,
            auth: auth.flatten(),
            scopes,
            parameters,
            demands: Box::new(demands),
        })
    }

    /// Reports requirements that cannot be met: a plain OAuth 2.0 provider issues no ID token.
    pub(super) fn without_demands(self, table: &Table<'_>) -> Self {
        if *self.demands != Demands::default() {
            table.report(
                "`max_age`, `acr_values` and essential `claims` are checked in the ID token, which this provider does not issue",
                "remove them from [provider.authorization_parameters], or use a provider of type = \"oidc\"",
            );
        }
        self
    }

    /// Adds a scope, unless it is empty or already requested.
    pub(super) fn with_scope(mut self, scope: &str) -> Self {
        if !scope.is_empty() && !self.scopes.iter().any(|known| known == scope) {
            self.scopes.insert(0, scope.to_owned());
        }
        self
    }
}

/// Reads `client_secret` or `private_key`; a public client has neither.
pub(super) fn optional_secret(table: &Table<'_>, auth: Option<ClientAuth>) -> Option<Option<ClientSecret>> {
    secret_or_key(table, auth, false)
}

/// Reads `client_secret` or `private_key`, one of which the provider requires.
pub(super) fn required_secret(table: &Table<'_>, auth: Option<ClientAuth>) -> Option<Option<ClientSecret>> {
    secret_or_key(table, auth, true)
}

fn secret_or_key(
    table: &Table<'_>,
    auth: Option<ClientAuth>,
    is_required: bool,
) -> Option<Option<ClientSecret>> {
    let (secret, key) = (table.get(&keys::CLIENT_SECRET), table.get(&keys::PRIVATE_KEY));
    let (id, thumbprint) = (table.get(&keys::PRIVATE_KEY_ID), table.get(&keys::PRIVATE_KEY_THUMBPRINT));
    let by_key = auth == Some(ClientAuth::PrivateKeyJwt) || (auth.is_none() && key.is_some());
    let unused = |item: &Option<Item<'_>>, why: &str, help: &str| {
        let _ = item.as_ref().map(|item| item.report(format!("`{}` {why}", item.key), help));
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
            let pem = table.required(&keys::PRIVATE_KEY).and_then(|item| keys::PRIVATE_KEY.value(&item));
            let id = table.read(&keys::PRIVATE_KEY_ID).unwrap_or_default();
            let thumbprint = table.read(&keys::PRIVATE_KEY_THUMBPRINT);
            Some(Some(ClientSecret::Key(PrivateKey { pem: pem?, id, thumbprint })))
        }
        Some(ClientAuth::None) => {
            unused(&secret, "is not used", "remove it, or token_endpoint_auth_method = \"none\"");
            Some(None)
        }
        Some(ClientAuth::Basic | ClientAuth::Post) | None
            if secret.is_none() && (auth.is_some() || is_required) =>
        {
            table.required(&keys::CLIENT_SECRET);
            None
        }
        _ => secret.map_or(Some(None), |item| item.secret().map(|secret| Some(ClientSecret::Shared(secret)))),
    }
}

/// Reads the key that signs Apple's client secrets.
pub(super) fn apple_key(table: &Table<'_>, _: Option<ClientAuth>) -> Option<Option<ClientSecret>> {
    let team_id = table.read(&keys::TEAM_ID);
    let key_id = table.read(&keys::KEY_ID);
    let private_key = table.read(&keys::APPLE_PRIVATE_KEY);
    Some(Some(ClientSecret::Signed(SignedSecret {
        team_id: team_id?,
        key_id: key_id?,
        private_key: private_key?,
    })))
}
