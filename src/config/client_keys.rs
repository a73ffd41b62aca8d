//! Keys of `[[provider]]` for the client registration.

use super::Demands;
use super::item::Item;
use super::key::{Key, Shape, Type};
use super::preset::ClientAuth;
use super::provider_keys::{CLIENTS, SECRET_CLIENTS};
use super::reader::Invalid;
use super::types::{SECRET, TEXT, TEXTS};
use crate::base::{Secret, base64url_encode};

pub const CLIENT_ID: Key<String> = Key::new("client_id", TEXT, "Client id that the provider assigned.")
    .required("")
    .example("\"narthex\"")
    .only(CLIENTS);
pub const CLIENT_SECRET: Key<Secret> =
    Key::new("client_secret", SECRET, "Client secret that the provider assigned.")
        .required_if("the type is a preset and there is no `private_key`")
        .example("{ env = \"IDP_CLIENT_SECRET\" }")
        .only(SECRET_CLIENTS);
pub const AUTH_METHOD: Key<ClientAuth> = Key::new(
    "token_endpoint_auth_method",
    // The registered names (RFC 7591, section 2).
    Type::ProviderChoice(&[
        ("client_secret_basic", ClientAuth::Basic),
        ("client_secret_post", ClientAuth::Post),
        ("private_key_jwt", ClientAuth::PrivateKeyJwt),
        ("none", ClientAuth::None),
    ]),
    "How the client authenticates at the token endpoint.",
)
.computed("from the provider's metadata or the preset; `\"private_key_jwt\"` if `private_key` is set")
.example("\"client_secret_post\"")
.only(CLIENTS);
pub const PRIVATE_KEY: Key<Secret> = Key::new(
    "private_key",
    Type::Read(Shape::Secret, pem),
    "PKCS #8 private key (RSA of at least 2048 bits, P-256 or Ed25519) that signs client assertions.",
)
.required_if("`token_endpoint_auth_method` is `\"private_key_jwt\"`")
.example("{ file = \"client.pem\" }")
.only(SECRET_CLIENTS);
pub const PRIVATE_KEY_ID: Key<String> = Key::new("private_key_id", TEXT, "The `kid` of client assertions.")
    .example("\"2026\"")
    .only(SECRET_CLIENTS);
pub const PRIVATE_KEY_THUMBPRINT: Key<(&str, String)> = Key::new(
    "private_key_thumbprint",
    Type::Read(Shape::Text, |item| item.parse(thumbprint)),
    "Thumbprint of the key's certificate in hexadecimal, sent as `x5t` (SHA-1) or `x5t#S256` (SHA-256) to Entra ID.",
)
.example("\"84E05C1D98BCE3A5421D225B140B36E86A3D5534\"")
.only(SECRET_CLIENTS);
pub const SCOPES: Key<Vec<String>> = Key::new("scopes", TEXTS, "Scopes to request.")
    .computed("`openid`, `email` and `profile` for `\"oidc\"`, none for `\"oauth2\"`, otherwise the preset's")
    .example("[\"openid\", \"email\", \"profile\"]")
    .only(CLIENTS);
pub const AUTHORIZATION_PARAMETERS: Key<(Vec<(String, String)>, Demands)> = Key::new(
    "authorization_parameters",
    Type::Read(Shape::Map(&Shape::Text), |item| Some(parameters(item))),
    "Additional parameters of authorization requests. ID tokens must meet `max_age`, `acr_values` and essential `claims`.",
)
.example("{ prompt = \"select_account\", max_age = \"43200\" }")
.only(CLIENTS);
pub const TEAM_ID: Key<String> = Key::new(
    "team_id",
    Type::Read(Shape::Text, |item| item.parse(ten_characters)),
    "Id of the developer team: ten characters.",
)
.required("")
.example("\"ABCDE12345\"")
.only(&["apple"]);
pub const KEY_ID: Key<String> = Key::new(
    "key_id",
    Type::Read(Shape::Text, |item| item.parse(ten_characters)),
    "Id of the key for Sign in with Apple: ten characters.",
)
.required("")
.example("\"FGHIJ67890\"")
.only(&["apple"]);
pub const APPLE_PRIVATE_KEY: Key<Secret> = Key::new(
    "private_key",
    Type::Read(Shape::Secret, pem),
    "PKCS #8 private key that signs a client secret for each call.",
)
.required("")
.example("{ file = \"AuthKey.p8\" }")
.only(&["apple"]);

/// Parameters that Narthex sets itself, or that an authorization request must not have.
const RESERVED_PARAMETERS: [&str; 13] = [
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
    "scope",
    "state",
];

fn parameters(item: &Item<'_>) -> (Vec<(String, String)>, Demands) {
    let mut parameters = Vec::new();
    for item in item.entries() {
        if RESERVED_PARAMETERS.contains(&&*item.key) {
            item.report(
                format!("`{}` cannot be changed", item.key),
                "remove it; for scopes, use the key `scopes`",
            );
        }
        if let Some(value) = item.string() {
            parameters.push((item.key, value.to_owned()));
        }
    }
    let demands = Demands::of(&parameters).unwrap_or_else(|(message, help)| {
        item.report(message, help);
        Demands::default()
    });
    (parameters, demands)
}

/// Reads a certificate's thumbprint from hexadecimal digits. Returns the header parameter for it
/// (RFC 7515, sections 4.1.7 and 4.1.8).
fn thumbprint(text: &str) -> Result<(&'static str, String), Invalid> {
    let digits: Vec<u32> = text.chars().filter(|c| *c != ':').map_while(|c| c.to_digit(16)).collect();
    let all_digits = digits.len() == text.chars().filter(|c| *c != ':').count();
    let bytes: Vec<u8> =
        digits.chunks(2).filter_map(|pair| u8::try_from(pair[0] * 16 + pair.get(1)?).ok()).collect();
    match (all_digits, digits.len()) {
        (true, 40) => Ok(("x5t", base64url_encode(&bytes))),
        (true, 64) => Ok(("x5t#S256", base64url_encode(&bytes))),
        _ => Err((
            format!("\"{text}\" is not the thumbprint of a certificate"),
            "write its 40 (SHA-1) or 64 (SHA-256) hexadecimal digits".into(),
        )),
    }
}

fn ten_characters(text: &str) -> Result<String, Invalid> {
    match text.len() == 10 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        true => Ok(text.to_owned()),
        false => {
            Err((format!("\"{text}\" is not one of Apple's ids"), "write its ten letters and digits".into()))
        }
    }
}

fn pem(item: &Item<'_>) -> Option<Secret> {
    let secret = item.secret()?;
    if !secret.expose().trim_start().starts_with("-----BEGIN PRIVATE KEY-----") {
        item.report(
            "the value is not a private key",
            "name a PKCS #8 file, which begins with -----BEGIN PRIVATE KEY-----: Apple's .p8 file, or one of `openssl genpkey`",
        );
        return None;
    }
    Some(secret)
}
