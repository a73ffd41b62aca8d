//! The tokens of a load test: of recurring users, of new users, and invalid ones.

use super::{LoadError, TargetOptions, client};
use crate::base::{Clock as _, Duration, Secret, SystemClock, base64url_encode};
use crate::jose::{self, Algorithm, HeaderParameter, SigningKey};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use url::Url;

/// Lifetime of tokens that are created here, and of tokens whose issuer states no lifetime.
const LIFETIME: Duration = Duration::from_secs(6 * 3600);
/// Maximum number of concurrent token requests.
const CONCURRENT_TOKEN_REQUESTS: usize = 16;
/// Maximum length of a token response, in bytes.
const MAX_RESPONSE_BYTES: usize = 1 << 18;
/// File names of the private key and the JWK Set.
const KEY: &str = "key.der";
const JWKS: &str = "jwks.json";

/// An issuer for load tests, which the tested server's configuration must trust.
pub struct Issuer {
    folder: PathBuf,
    key: SigningKey,
    claims: Claims,
    /// Number of users created so far.
    people: AtomicU64,
}

/// The claims of the issuer's tokens.
pub struct Claims {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// `scope`.
    pub scope: String,
}

/// A client that uses the grant `client_credentials` (RFC 6749, section 4.4).
pub struct ClientCredentials {
    endpoint: Url,
    id: String,
    secret: Secret,
    /// The requested scopes, separated by spaces; empty to request all allowed scopes.
    scope: String,
    http: reqwest::Client,
}

/// A token with its expiry.
struct Issued {
    token: String,
    ends: Instant,
}

/// The source of tokens.
pub enum TokenSource {
    /// An issuer whose tokens are signed here.
    Issuer(Box<Issuer>),
    /// A client whose tokens the server under test issues.
    ClientCredentials(ClientCredentials),
}

impl TokenSource {
    /// Returns `count` new tokens, as `Authorization` headers, with their earliest expiry.
    ///
    /// # Errors
    /// Returns an error if the tokens cannot be created.
    pub async fn tokens(&self, count: usize) -> Result<(Vec<HeaderValue>, Instant), LoadError> {
        let all: Vec<Issued> = match self {
            Self::Issuer(issuer) => (0..count).map(|_| issuer.token()).collect::<Result<_, _>>()?,
            Self::ClientCredentials(program) => {
                let all = futures_util::stream::iter((0..count).map(|_| program.token()));
                all.buffer_unordered(CONCURRENT_TOKEN_REQUESTS).try_collect().await?
            }
        };
        let ends = all.iter().map(|issued| issued.ends).min().unwrap_or_else(|| Instant::now() + LIFETIME);
        let all: Result<_, _> = all.iter().map(|issued| authorization(&issued.token)).collect();
        Ok((all?, ends))
    }

    /// Returns invalid tokens, as `Authorization` headers, each with a different defect.
    ///
    /// # Errors
    /// Returns an error if a valid token is needed and cannot be obtained.
    pub async fn bad(&self) -> Result<Vec<HeaderValue>, LoadError> {
        let all = match self {
            Self::Issuer(issuer) => issuer.bad()?,
            Self::ClientCredentials(program) => corrupted(&program.token().await?.token).into(),
        };
        all.iter().map(|token| authorization(token)).collect()
    }
}

impl ClientCredentials {
    /// Creates a client. Its token endpoint is located like the server under test.
    ///
    /// # Errors
    /// Returns an error if the host cannot be resolved, the server must not be loaded, or the
    /// certificate authorities cannot be read.
    pub async fn new(
        endpoint: Url,
        id: String,
        secret: Secret,
        scope: String,
        reach: &TargetOptions,
    ) -> Result<Self, LoadError> {
        let mut http = reqwest::Client::builder().timeout(client::RESPONSE_TIMEOUT).no_proxy();
        // A redirect could lead to another server.
        http = http.redirect(reqwest::redirect::Policy::none());
        let address = reach.find(&endpoint).await?;
        match endpoint.host() {
            Some(url::Host::Domain(name)) => http = http.resolve(name, address),
            // An IP address needs no look-up. It must be allowed itself, regardless of
            // `connect_to`.
            _ => drop(TargetOptions { connect_to: None, ..reach.clone() }.find(&endpoint).await?),
        }
        if let Some(file) = &reach.cacert {
            let wrong = |why: &dyn std::fmt::Display| LoadError::new(format!("{}: {why}", file.display()));
            let pem = tokio::fs::read(file).await.map_err(|error| wrong(&error))?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(&error))?;
            http = http.tls_certs_only(roots);
        }
        let http = http.build().map_err(|error| LoadError::new(client::why(&error)))?;
        Ok(Self { endpoint, id, secret, scope, http })
    }

    async fn token(&self) -> Result<Issued, LoadError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            access_token: String,
            // RFC 6749, section 5.1: "RECOMMENDED". Some issuers write it as a string.
            expires_in: Option<serde_json::Value>,
        }
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !self.scope.is_empty() {
            form.append_pair("scope", &self.scope);
        }
        let failed = |why: String| LoadError::new(format!("{}: {why}", self.endpoint));
        let request = self.http.post(self.endpoint.clone()).basic_auth(&self.id, Some(self.secret.expose()));
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.finish());
        let mut response = request.send().await.map_err(|error| failed(client::why(&error)))?;
        let (status, mut body) = (response.status(), Vec::new());
        while let Some(piece) = response.chunk().await.map_err(|error| failed(client::why(&error)))? {
            body.extend_from_slice(&piece);
            if body.len() > MAX_RESPONSE_BYTES {
                return Err(failed("the token response is too long".to_owned()));
            }
        }
        if !status.is_success() {
            let excerpt = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
            return Err(failed(format!("it answered {status}: {excerpt}")));
        }
        let response: Answer = serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))?;
        let seconds = response.expires_in.and_then(|seconds| match seconds {
            serde_json::Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        });
        let lifetime = seconds.map_or(LIFETIME, Duration::from_secs).min(LIFETIME);
        let (token, got) = (response.access_token, Instant::now());
        // RFC 7515, section 7.1: a compact JWS has three parts, here not empty.
        let parts = token.split('.').filter(|part| !part.is_empty() && part.is_ascii()).count();
        match parts == 3 && token.matches('.').count() == 2 {
            true => Ok(Issued { token, ends: got + lifetime }),
            false => Err(failed("the issued token is not a JWS".to_owned())),
        }
    }
}

/// Returns corrupted copies of a valid token: truncated, with another signature, unsigned, and
/// malformed.
fn corrupted(good: &str) -> [String; 4] {
    let (rest, signature) = good.rsplit_once('.').unwrap_or((good, ""));
    let claims = rest.split_once('.').map_or("", |(_, claims)| claims);
    [
        good[..good.len() - 8.min(signature.len())].to_owned(),
        format!("{rest}.{}", "A".repeat(signature.len())),
        format!("{}.{claims}.", base64url_encode(r#"{"alg":"none","typ":"at+jwt"}"#)),
        "no-token".to_owned(),
    ]
}

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A recurring user's token.
    Known,
    /// A new user's token.
    New,
    /// An invalid token.
    Invalid,
}

/// The shares of the kinds of token, in percent.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// The share of tokens of new users.
    pub new_tokens: f64,
    /// The share of invalid tokens.
    pub bad: f64,
}

impl Mix {
    /// Returns the kind of token for the request `number`. The kinds are evenly interleaved.
    pub fn kind(self, number: u64) -> TokenKind {
        // Multiples of the golden ratio fill the interval most evenly.
        let place = (number as f64 * 0.618_033_988_749_894_9).fract() * 100.0;
        match place {
            place if place < self.bad => TokenKind::Invalid,
            place if place < self.bad + self.new_tokens => TokenKind::New,
            _ => TokenKind::Known,
        }
    }
}

impl Issuer {
    /// Creates the issuer whose key is in `folder`. Generates the key if it is missing.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read or written.
    pub fn in_folder(folder: &Path, claims: Claims) -> Result<Self, LoadError> {
        let wrong =
            |file: &Path, why: &dyn std::fmt::Display| LoadError::new(format!("{}: {why}", file.display()));
        let (key_file, jwks_file) = (folder.join(KEY), folder.join(JWKS));
        if !key_file.exists() {
            std::fs::create_dir_all(folder).map_err(|error| wrong(folder, &error))?;
            let der = SigningKey::generate(Algorithm::Es256).map_err(|error| wrong(&key_file, &error))?;
            let mut options = std::fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&key_file)
                .map_err(|error| wrong(&key_file, &error))?;
            file.write_all(&der).map_err(|error| wrong(&key_file, &error))?;
        }
        let der = std::fs::read(&key_file).map_err(|error| wrong(&key_file, &error))?;
        let key =
            SigningKey::read("load", Algorithm::Es256, &der).map_err(|error| wrong(&key_file, &error))?;
        let jwks = serde_json::json!({"keys": [key.jwk()]}).to_string();
        // The file is written only if it changes, because the server under test watches it.
        if std::fs::read_to_string(&jwks_file).is_ok_and(|known| known != jwks) || !jwks_file.exists() {
            std::fs::write(&jwks_file, jwks).map_err(|error| wrong(&jwks_file, &error))?;
        }
        Ok(Self { folder: folder.to_owned(), key, claims, people: AtomicU64::new(0) })
    }

    /// Returns the configuration with which the server under test accepts these tokens.
    pub fn configuration(&self) -> String {
        let jwks = self.folder.join(JWKS);
        let jwks = jwks.canonicalize().unwrap_or(jwks);
        format!(
            "[[issuer]]\nname = \"load\"\nurl = \"{}\"\naudience = \"{}\"\njwks = \"{}\"\n",
            self.claims.issuer,
            self.claims.audience,
            jwks.display()
        )
    }

    /// Creates the token of a new user.
    fn token(&self) -> Result<Issued, LoadError> {
        let person = self.people.fetch_add(1, Ordering::Relaxed);
        let token = self.sign(&self.key, person, &self.claims.audience, LIFETIME)?;
        Ok(Issued { token, ends: Instant::now() + LIFETIME })
    }

    fn bad(&self) -> Result<Vec<String>, LoadError> {
        let audience = &self.claims.audience;
        let failed = |error: jose::KeyError| LoadError::new(error.to_string());
        let stranger = SigningKey::generate(Algorithm::Es256).map_err(failed)?;
        let stranger = SigningKey::read("load", Algorithm::Es256, &stranger).map_err(failed)?;
        let good = self.sign(&self.key, 0, audience, LIFETIME)?;
        let own = [
            self.sign(&stranger, 0, audience, LIFETIME)?,
            self.sign(&self.key, 0, audience, Duration::ZERO)?,
            self.sign(&self.key, 0, "somebody-else", LIFETIME)?,
        ];
        Ok(own.into_iter().chain(corrupted(&good)).collect())
    }

    fn sign(
        &self,
        key: &SigningKey,
        person: u64,
        audience: &str,
        lifetime: Duration,
    ) -> Result<String, LoadError> {
        // An expired token must have expired long ago for any clock.
        let now = SystemClock.now().seconds() - if lifetime.is_zero() { 3600 } else { 0 };
        let exp = now + i64::try_from(lifetime.as_secs()).unwrap_or(0);
        let claims = serde_json::json!({
            "iss": self.claims.issuer, "aud": audience, "sub": format!("person{person}"),
            "client_id": "narthex-load", "scope": self.claims.scope, "iat": now, "exp": exp,
            "jti": format!("{now}.{person}"), "email": format!("person{person}@example.com"),
            "email_verified": true,
        });
        // RFC 9068, section 2.1.
        jose::sign(key, &[("typ", HeaderParameter::Text("at+jwt"))], &claims)
            .map_err(|error| LoadError::new(error.to_string()))
    }
}

/// Returns an `Authorization` header with a token (RFC 6750, section 2.1).
///
/// # Errors
/// Returns an error if the token is not valid in a header.
fn authorization(token: &str) -> Result<HeaderValue, LoadError> {
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let mut value = value.map_err(|_| LoadError::new("a token is not a valid header value"))?;
    value.set_sensitive(true);
    Ok(value)
}
