//! Stand-ins for the providers that people know by name. Each keeps the rules of an authorization
//! server, and speaks as the real one's documentation says: its addresses, its answers, its errors.

use super::json::Json;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{ACCEPT, AUTHORIZATION, LINK};
use http::{HeaderMap, StatusCode, Uri};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

pub const CLIENT: &str = "client-1234";
pub const SECRET: &str = "stand-in-secret-0123456789abcdef";
pub const TEAM: &str = "TEAM567890";
pub const KEY_ID: &str = "KEY4567890";

/// What is wrong with a token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Client,
    Redirect,
    Code,
    Verifier,
}

/// What the documentation says of PKCE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pkce {
    Checked,
    Ignored,
    Refused,
}

/// Who is at the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    /// Whose address the provider has verified.
    Verified,
    /// Whose address it has not.
    Unverified,
    /// Who says no.
    Unwilling,
}

/// What is asked of an API.
pub struct Asked<'a> {
    pub path: &'a str,
    pub query: &'a HashMap<String, String>,
    pub person: Person,
    pub token: &'a str,
}

/// OpenID Connect, as far as a provider speaks it.
pub struct OpenId {
    /// Behind the address of the stand-in.
    pub issuer: &'static str,
    /// Below what the discovery document is, where that is not the issuer.
    pub location: &'static str,
    pub keys: &'static str,
    /// Beside the addresses.
    pub metadata: fn() -> Value,
    pub says_nonce: bool,
    /// What each key says of itself.
    pub key: fn(&str) -> Value,
    pub claims: fn(Person) -> Value,
}

/// A provider, as it is documented.
pub struct Documented {
    pub name: &'static str,
    /// Where that is.
    pub pages: &'static [&'static str],
    pub authorize: &'static str,
    pub token: &'static str,
    pub userinfo: &'static str,
    pub scope: &'static str,
    pub pkce: Pkce,
    /// Whether the documentation knows of HTTP Basic at the token endpoint.
    pub basic: bool,
    /// Whether the secret is a JWT that the client signs.
    pub signed_secret: bool,
    pub form_post: bool,
    pub openid: Option<OpenId>,
    /// What the token endpoint returns besides the token.
    pub granted: fn() -> Value,
    pub error: fn(Wrong) -> (u16, Value),
    /// What comes back from somebody who said no.
    pub refusal: &'static [(&'static str, &'static str)],
    pub api: fn(&Asked<'_>) -> Option<(u16, Value)>,
}

struct Code {
    redirect_uri: String,
    challenge: Option<String>,
    nonce: Option<String>,
    used: bool,
    person: Person,
}

#[derive(Default)]
struct Kept {
    codes: HashMap<String, Code>,
    tokens: HashMap<String, Person>,
    count: u32,
}

/// A running stand-in.
pub struct StandIn {
    pub documented: &'static Documented,
    pub port: u16,
    redirect_uris: Vec<String>,
    person: Mutex<Person>,
    kept: Mutex<Kept>,
    /// Of the key that signs Apple's client secrets: SubjectPublicKeyInfo.
    client_key: Mutex<Vec<u8>>,
    /// The tenant that the next ID token is of.
    pub tenant: Mutex<&'static str>,
    /// The tenant that it says, where that is another one.
    pub said_tenant: Mutex<Option<&'static str>>,
    /// The one tenant for which the key signs.
    pub key_of: Mutex<Option<&'static str>>,
    /// Where lists go on, if not here.
    pub elsewhere: Mutex<Option<String>>,
    /// Whether its API says that it was asked too often.
    pub limited: AtomicBool,
    /// How often its API was asked.
    pub asked: AtomicUsize,
}

/// One RSA key for all: making one takes long.
static KEY: LazyLock<(EncodingKey, Value)> = LazyLock::new(|| {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let pem = pem(AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref());
    let private = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    let mut jwk = Jwk::from_encoding_key(&private, Algorithm::RS256).unwrap();
    jwk.common.key_id = Some("key-1".into());
    (private, serde_json::to_value(jwk).unwrap())
});

impl StandIn {
    /// Starts one that sends browsers back to `redirect_uris` alone.
    pub async fn start(documented: &'static Documented, redirect_uris: Vec<String>) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stand_in = Arc::new(Self {
            documented,
            port: listener.local_addr().unwrap().port(),
            redirect_uris,
            person: Mutex::new(Person::Verified),
            kept: Mutex::default(),
            client_key: Mutex::default(),
            tenant: Mutex::new("11111111-2222-3333-4444-555555555555"),
            said_tenant: Mutex::default(),
            key_of: Mutex::default(),
            elsewhere: Mutex::default(),
            limited: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        });
        let router = Router::new().fallback(answer).with_state(stand_in.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        stand_in
    }

    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sets who is at the browser.
    pub fn set_person(&self, person: Person) {
        *self.person.lock().unwrap() = person;
    }

    /// Makes a key for client secrets, which the provider knows; answers the private one as PEM.
    pub fn client_key(&self) -> String {
        let (pem, public) = ec_key();
        *self.client_key.lock().unwrap() = public;
        pem
    }

    /// Takes every token back.
    pub fn revoke(&self) {
        self.kept.lock().unwrap().tokens.clear();
    }

    fn fresh(&self, what: &str) -> String {
        let mut kept = self.kept.lock().unwrap();
        kept.count += 1;
        format!("{what}-{}", kept.count)
    }
}

/// A P-256 key: PKCS #8 as PEM, and the public half.
pub fn ec_key() -> (String, Vec<u8>) {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap().as_ref().to_vec();
    (pem(pair.to_pkcs8v1().unwrap().as_ref()), public)
}

fn pem(pkcs8: &[u8]) -> String {
    let text = STANDARD.encode(pkcs8);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

async fn answer(State(stand_in): State<Arc<StandIn>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 16).await.unwrap();
    let path = parts.uri.path();
    let documented = stand_in.documented;
    match () {
        () if path == documented.authorize => authorize(&stand_in, &parts.uri),
        () if path == documented.token => token(&stand_in, &parts.headers, &body),
        () => {
            if let Some(openid) = &documented.openid
                && let Some(published) = published(&stand_in, openid, path)
            {
                return Json(published).into_response();
            }
            api(&stand_in, &parts.headers, &parts.uri)
        }
    }
}

fn form(text: &str) -> HashMap<String, String> {
    narthex::handlers::form(text).expect("no parameter comes twice")
}

fn bad(why: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("the stand-in says: {why}")).into_response()
}

fn authorize(stand_in: &StandIn, uri: &Uri) -> Response {
    let query = form(uri.query().unwrap_or_default());
    let get = |name: &str| query.get(name).map_or("", String::as_str);
    let documented = stand_in.documented;
    match () {
        () if get("client_id") != CLIENT => return bad("client_id"),
        () if !stand_in.redirect_uris.iter().any(|known| known == get("redirect_uri")) => {
            return bad("redirect_uri");
        }
        () if get("response_type") != "code" => return bad("response_type"),
        () if get("scope") != documented.scope => return bad(&format!("scope {}", get("scope"))),
        () if get("state").is_empty() => return bad("state"),
        () if documented.form_post != (get("response_mode") == "form_post") => return bad("response_mode"),
        () if documented.pkce == Pkce::Checked && get("code_challenge_method") != "S256" => {
            return bad("PKCE");
        }
        () if documented.pkce == Pkce::Refused && query.contains_key("code_challenge") => return bad("PKCE"),
        () if documented.openid.is_some() && get("nonce").is_empty() => return bad("nonce"),
        () => {}
    }
    let person = *stand_in.person.lock().unwrap();
    let mut fields = vec![("state", get("state").to_owned())];
    if person == Person::Unwilling {
        fields.extend(documented.refusal.iter().map(|(name, value)| (*name, (*value).to_owned())));
    } else {
        let code = stand_in.fresh("code");
        let mut kept = stand_in.kept.lock().unwrap();
        let first = kept.codes.is_empty();
        kept.codes.insert(
            code.clone(),
            Code {
                redirect_uri: get("redirect_uri").to_owned(),
                challenge: query.get("code_challenge").cloned(),
                nonce: query.get("nonce").cloned(),
                used: false,
                person,
            },
        );
        fields.push(("code", code));
        // Apple sends the name with the first consent only.
        if documented.form_post && first {
            let user = json!({"name": {"firstName": "Alice", "lastName": "Appleseed"}, "email": "boss@corp.example"});
            fields.push(("user", user.to_string()));
        }
    }
    if documented.form_post {
        let escaped = |text: &str| text.replace('&', "&amp;").replace('"', "&quot;");
        let inputs: String = fields
            .iter()
            .map(|(name, value)| {
                format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escaped(value))
            })
            .collect();
        let action = get("redirect_uri");
        return Html(format!(
            "<form method=\"post\" action=\"{action}\">{inputs}</form><script>document.forms[0].submit()</script>"
        ))
        .into_response();
    }
    let mut back = url::Url::parse(get("redirect_uri")).unwrap();
    back.query_pairs_mut().extend_pairs(fields);
    Redirect::to(back.as_str()).into_response()
}

/// Whether the client is who it says: by Basic, by the body, or by a JWT of its own.
fn is_the_client(stand_in: &StandIn, headers: &HeaderMap, body: &HashMap<String, String>) -> bool {
    let basic = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    if let Some(basic) = basic {
        let expected = STANDARD.encode(format!("{CLIENT}:{SECRET}"));
        return stand_in.documented.basic && basic == expected && !body.contains_key("client_secret");
    }
    if body.get("client_id").map(String::as_str) != Some(CLIENT) {
        return false;
    }
    let Some(secret) = body.get("client_secret") else { return false };
    if !stand_in.documented.signed_secret {
        return secret == SECRET;
    }
    let key = stand_in.client_key.lock().unwrap();
    // The last 65 bytes of the public half are the point itself.
    let key = DecodingKey::from_ec_der(&key[key.len() - 65..]);
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[stand_in.base()]);
    validation.set_issuer(&[TEAM]);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    let Ok(told) = jsonwebtoken::decode::<Value>(secret, &key, &validation) else { return false };
    let lasts = told.claims["exp"].as_i64().unwrap() - told.claims["iat"].as_i64().unwrap();
    told.header.kid.as_deref() == Some(KEY_ID) && told.claims["sub"] == CLIENT && lasts <= 15_777_000
}

fn token(stand_in: &StandIn, headers: &HeaderMap, body: &[u8]) -> Response {
    let documented = stand_in.documented;
    let refuse = |wrong| {
        let (status, told) = (documented.error)(wrong);
        (StatusCode::from_u16(status).unwrap(), Json(told)).into_response()
    };
    // GitHub answers with a form unless the client accepts JSON.
    assert_eq!(headers.get(ACCEPT).unwrap(), "application/json");
    let body = form(std::str::from_utf8(body).unwrap());
    let get = |name: &str| body.get(name).map_or("", String::as_str);
    if !is_the_client(stand_in, headers, &body) {
        return refuse(Wrong::Client);
    }
    let (person, nonce) = {
        let mut kept = stand_in.kept.lock().unwrap();
        match get("grant_type") {
            "authorization_code" => {
                let Some(code) = kept.codes.get_mut(get("code")) else { return refuse(Wrong::Code) };
                if code.used {
                    return refuse(Wrong::Code);
                }
                if code.redirect_uri != get("redirect_uri") {
                    return refuse(Wrong::Redirect);
                }
                let challenge = URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(
                    &aws_lc_rs::digest::SHA256,
                    get("code_verifier").as_bytes(),
                ));
                let verified = match documented.pkce {
                    Pkce::Checked => code.challenge.as_ref() == Some(&challenge),
                    Pkce::Ignored => true,
                    Pkce::Refused => !body.contains_key("code_verifier"),
                };
                if !verified {
                    return refuse(Wrong::Verifier);
                }
                code.used = true;
                (code.person, code.nonce.clone())
            }
            "refresh_token" => match kept.tokens.remove(get("refresh_token")) {
                Some(person) => (person, None),
                None => return refuse(Wrong::Code),
            },
            _ => return bad("grant_type"),
        }
    };
    let mut told = (documented.granted)();
    let access_token = stand_in.fresh("token");
    stand_in.kept.lock().unwrap().tokens.insert(access_token.clone(), person);
    if told.get("refresh_token").is_some() {
        let refresh_token = stand_in.fresh("refresh");
        stand_in.kept.lock().unwrap().tokens.insert(refresh_token.clone(), person);
        told["refresh_token"] = refresh_token.into();
    }
    told["access_token"] = access_token.into();
    if let Some(openid) = &documented.openid {
        told["id_token"] = id_token(stand_in, openid, person, nonce).into();
    }
    Json(told).into_response()
}

fn id_token(stand_in: &StandIn, openid: &OpenId, person: Person, nonce: Option<String>) -> String {
    let now = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap();
    let tenant = *stand_in.tenant.lock().unwrap();
    let mut claims = (openid.claims)(person);
    let issuer = format!("{}{}", stand_in.base(), openid.issuer).replace("{tenantid}", tenant);
    claims["iss"] = issuer.into();
    claims["aud"] = CLIENT.into();
    claims["iat"] = now.into();
    claims["exp"] = (now + 300).into();
    if openid.issuer.contains("{tenantid}") {
        claims["tid"] = stand_in.said_tenant.lock().unwrap().unwrap_or(tenant).into();
    }
    if let Some(nonce) = nonce.filter(|_| openid.says_nonce) {
        claims["nonce"] = nonce.into();
    }
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some("key-1".into());
    jsonwebtoken::encode(&header, &claims, &KEY.0).unwrap()
}

/// The discovery document and the key set.
fn published(stand_in: &StandIn, openid: &OpenId, path: &str) -> Option<Value> {
    let (base, documented) = (stand_in.base(), stand_in.documented);
    let location = if openid.location.is_empty() { openid.issuer } else { openid.location };
    if path == openid.keys {
        let mut key = KEY.1.clone();
        let more = (openid.key)(&base);
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        if let (Some(tenant), Some(issuer)) = (*stand_in.key_of.lock().unwrap(), key["issuer"].as_str()) {
            key["issuer"] = issuer.replace("{tenantid}", tenant).into();
        }
        return Some(json!({ "keys": [key] }));
    }
    if path != format!("{location}/.well-known/openid-configuration") {
        return None;
    }
    let at = |path: &str| format!("{base}{path}");
    let mut told = json!({
        "issuer": at(openid.issuer), "authorization_endpoint": at(documented.authorize),
        "token_endpoint": at(documented.token), "jwks_uri": at(openid.keys),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    if !documented.userinfo.is_empty() {
        told["userinfo_endpoint"] = at(documented.userinfo).into();
    }
    told.as_object_mut().unwrap().extend((openid.metadata)().as_object().unwrap().clone());
    Some(told)
}

fn api(stand_in: &StandIn, headers: &HeaderMap, uri: &Uri) -> Response {
    let query = form(uri.query().unwrap_or_default());
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let token = token.unwrap_or_default();
    let person = stand_in.kept.lock().unwrap().tokens.get(token).copied();
    stand_in.asked.fetch_add(1, Ordering::Relaxed);
    if stand_in.limited.load(Ordering::Relaxed) {
        let headers = [("x-ratelimit-remaining", "0")];
        let told = json!({"message": "API rate limit exceeded for user ID 1."});
        return (StatusCode::FORBIDDEN, headers, Json(told)).into_response();
    }
    let Some(person) = person else {
        if stand_in.documented.name == "facebook" {
            let error =
                json!({"message": "Error validating access token", "type": "OAuthException", "code": 190});
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
        }
        return (StatusCode::UNAUTHORIZED, Json(json!({"message": "Bad credentials"}))).into_response();
    };
    let base = stand_in.base();
    let asked = Asked { path: uri.path(), query: &query, person, token };
    match (stand_in.documented.api)(&asked) {
        Some((status, mut told)) => {
            let next = told.as_object_mut().and_then(|told| told.remove("next page"));
            let told = told.as_object_mut().and_then(|told| told.remove("entries")).unwrap_or(told);
            let mut answer = (StatusCode::from_u16(status).unwrap(), Json(told)).into_response();
            if let Some(next) = next {
                let base = stand_in.elsewhere.lock().unwrap().clone().unwrap_or_else(|| base.clone());
                let link =
                    format!("<{base}{}>; rel=\"next\", <{base}/last>; rel=\"last\"", next.as_str().unwrap());
                answer.headers_mut().insert(LINK, link.parse().unwrap());
            }
            answer
        }
        None => (StatusCode::NOT_FOUND, Body::empty()).into_response(),
    }
}
