//! An issuer, its tokens, and signed-in users.

use super::proxies::ROUTES;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use narthex::authn::cookie_text;
use narthex::base::{
    Clock as _, Duration, KeyRing, MasterKey, RandomToken, SystemClock, SystemEntropy, base64url_encode,
};
use narthex::catalogue::Catalogue;
use narthex::config::Config;
use narthex::directory::{self, Authentication, Browser, FederatedAccount};
use narthex::jose::{self, Algorithm, SigningKey};
use narthex::model::{CookieScope, Identity, SessionCookie};
use narthex::store::Store;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// The issuer of the tokens.
pub const ISSUER: &str = "https://idp.example.com";
/// The audience of the tokens.
pub const AUDIENCE: &str = "photos-api";

/// An issuer that signs with RS256, the most common algorithm.
pub struct Issuer(RsaKeyPair);

impl Issuer {
    pub fn new() -> Self {
        Self(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    /// Returns its JWK Set.
    pub fn jwks(&self) -> serde_json::Value {
        let key = self.0.public_key();
        let (n, e) = (key.modulus(), key.exponent());
        let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
        serde_json::json!({"keys": [
            {"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", "n": base64url_encode(n), "e": base64url_encode(e)}]})
    }

    /// Returns its public key: SubjectPublicKeyInfo, PEM.
    pub fn pem(&self) -> String {
        use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
        use base64::Engine as _;
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// Returns the ID token of a user.
    pub fn id_token(&self, person: usize, nonce: &str) -> String {
        let now = SystemClock.now().seconds();
        let claims = serde_json::json!({
            "iss": ISSUER, "sub": format!("person{person}"), "aud": AUDIENCE, "nonce": nonce, "iat": now,
            "exp": now + 6 * 3600, "email": format!("person{person}@example.com"), "email_verified": true,
        });
        self.sign("JWT", &claims)
    }

    /// Returns the access token of a user.
    pub fn token(&self, person: usize) -> String {
        let now = SystemClock.now().seconds();
        let claims = serde_json::json!({
            "iss": ISSUER, "sub": format!("person{person}"), "aud": AUDIENCE, "client_id": "spa",
            "scope": "photos openid", "iat": now, "exp": now + 6 * 3600, "jti": format!("token{person}"),
            "email": format!("person{person}@example.com"), "email_verified": true,
        });
        self.sign("at+jwt", &claims)
    }

    fn sign(&self, typ: &str, claims: &serde_json::Value) -> String {
        let header = serde_json::json!({"alg": "RS256", "kid": "one", "typ": typ});
        let message =
            format!("{}.{}", base64url_encode(header.to_string()), base64url_encode(claims.to_string()));
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", base64url_encode(signature))
    }
}

/// Returns a request of a browser or of a client to a route, with the header `whose`.
fn request(number: usize, route: usize, whose: &str) -> Vec<u8> {
    format!(
        "GET /photos/2026/{number}?size=large HTTP/1.1\r\nHost: app{route}.example.com\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n\
         X-Forwarded-Proto: https\r\n{whose}\r\n\r\n"
    )
    .into_bytes()
}

/// Generates a signing key.
pub fn signing_key(algorithm: Algorithm) -> SigningKey {
    SigningKey::read("one", algorithm, &SigningKey::generate(algorithm).unwrap()).unwrap()
}

/// Signs a minimal token.
pub fn sign_something(key: &SigningKey) -> String {
    static CLAIMS: LazyLock<serde_json::Value> = LazyLock::new(|| serde_json::json!({"sub": "person"}));
    jose::sign(key, &[], &*CLAIMS).unwrap()
}

/// The secret of the client that obtains user pool tokens.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Returns a token request to the user pool.
pub fn for_a_token() -> Vec<u8> {
    use base64::Engine as _;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("reporter:{SECRET}"));
    let body = "grant_type=client_credentials";
    format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: auth.example.com\r\nX-Forwarded-Proto: https\r\n\
         Authorization: Basic {credentials}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Returns a request for the JWK Set, by the same path.
pub fn for_the_keys() -> Vec<u8> {
    b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: auth.example.com\r\nX-Forwarded-Proto: https\r\n\r\n"
        .to_vec()
}

/// Returns a request with each of these tokens, to the routes in turn.
pub fn with_tokens<'t>(tokens: impl IntoIterator<Item = &'t String>) -> Vec<Vec<u8>> {
    let one = |(number, token): (usize, &String)| {
        request(number, number % ROUTES, &format!("Authorization: Bearer {token}"))
    };
    tokens.into_iter().enumerate().map(one).collect()
}

/// Returns a request with the session cookie of another proxy.
pub fn with_cookie(person: usize, cookie: &str) -> Vec<u8> {
    request(person, person % ROUTES, &format!("Cookie: theme=dark; {cookie}"))
}

/// Returns a request of each of this many users, whose sessions are first added to the database of
/// the file `text`.
pub fn with_sessions(text: &str, folder: &Path, count: usize) -> Vec<Vec<u8>> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let master = MasterKey::random(&SystemEntropy);
    let key = folder.join("narthex.db.key");
    std::fs::write(&key, master.text().as_bytes()).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let config = Config::parse(text, "narthex.toml", folder, &|_| None).unwrap();
    runtime.block_on(async {
        let ring = Arc::new(KeyRing::new(&master));
        let store = Store::open(&config.store.url, ring.clone()).await.unwrap();
        let limits = config.session;
        let catalogue = Catalogue::build(config, &store, &SystemEntropy, 1).await.unwrap();
        let pool = &catalogue.pool.id;
        let identity_pools: Vec<_> = catalogue.identity_pools.iter().map(|pool| pool.id.clone()).collect();
        // Not used recently, so that the first use of each is stored before the measurement.
        let now = SystemClock.now().minus(Duration::from_secs(120));
        let mut requests = Vec::new();
        for person in 0..count {
            // The numbers of users who are made in the same millisecond may collide.
            let now = now.minus(Duration::from_millis(person as u64));
            let route = person % ROUTES;
            let scope = &CookieScope::App(format!("app{route}.example.com"));
            let token = &RandomToken::random(&SystemEntropy);
            let (account, authentication) = &whose(person, now);
            let identity_pools = &identity_pools;
            store
                .transaction(|tx| {
                    Box::pin(async move {
                        let user = directory::upsert(tx, pool, account, now, &SystemEntropy).await?;
                        for identity_pool in identity_pools {
                            let id = format!("us-east-1:{}", narthex::base::uuid(&SystemEntropy));
                            tx.get_or_insert_identity(identity_pool, &user.id, &id, now).await?;
                        }
                        let session = directory::begin_session(
                            tx,
                            &user,
                            authentication,
                            None,
                            limits,
                            now,
                            &SystemEntropy,
                        );
                        let (session_id, scope) = (session.await?.id, scope.clone());
                        let hash = token.hash();
                        tx.add_session_cookie(&SessionCookie { hash, session_id, scope, created_at: now })
                            .await
                    })
                })
                .await
                .unwrap();
            let cookie = cookie_text(&ring, token, scope.borrowed());
            requests.push(request(person, route, &format!("Cookie: theme=dark; __Host-narthex={cookie}")));
        }
        store.close().await;
        requests
    })
}

/// Returns a provider account, and its authentication.
fn whose(person: usize, now: narthex::base::Timestamp) -> (FederatedAccount, Authentication) {
    let email = format!("person{person}@example.com");
    let account = FederatedAccount {
        identity: Identity {
            issuer: "http://127.0.0.1:1".into(),
            subject: email.clone(),
            provider: "oidc".into(),
            saml: false,
        },
        attributes: [("email", email.as_str()), ("email_verified", "true")].into_iter().collect(),
        groups: vec!["staff".into(), "engineering".into()],
        unverified: vec![],
        first_login_attributes: &[],
    };
    let authentication = Authentication {
        provider: "oidc".into(),
        provider_sid: String::new(),
        browser: Browser::default(),
        amr: vec!["pwd".into()],
        auth_time: Some(now),
        factor_at: None,
        ends_at: None,
        begun_at: now,
    };
    (account, authentication)
}
