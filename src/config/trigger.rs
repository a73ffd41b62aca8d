//! `[[trigger]]`: functions that are called at events of user pools.

use super::address::safe_url;
use super::authorities::AUTHORITIES;
use super::key::{Key, Section, Shape, Type};
use super::mail::at_most;
use super::reader::{Invalid, Table};
use super::role::{TextFile, plain_name};
use super::types::{SECRET, TEXT};
use crate::base::Secret;
use url::Url;

/// The minimum length of a secret: 128 bits in base64.
const MIN_SECRET_BYTES: usize = 22;
/// The maximum of `concurrency`.
const MAX_CONCURRENCY: usize = 1000;

pub(super) const SECTION: Section = Section {
    header: "[[trigger]]",
    about: "Functions that are called at events of user pools, with the events of AWS Lambda. `[user_pool.triggers]` and the \
            API's `LambdaConfig` name them.",
    keys: &[&NAME, &KIND, &URL, &SECRET_KEY, &ACCESS_KEY_ID, &SECRET_ACCESS_KEY, &REGION, &CA, &CONCURRENCY],
};
const NAME: Key<String> = Key::new(
    "name",
    Type::Read(Shape::Text, |item| item.parse(|text| plain_name(text, "a trigger"))),
    "Unique name, the last part of the function's ARN.",
)
.required("")
.example("\"check-invitation\"");
const KIND: Key<TriggerKind> = Key::new(
    "kind",
    Type::ProviderChoice(&[("http", TriggerKind::Http), ("lambda", TriggerKind::Lambda)]),
    "How the function is called: by a signed HTTP POST, or by the `Invoke` operation of AWS Lambda.",
)
.default("\"http\"");
const URL: Key<Url> = Key::new(
    "url",
    Type::Read(Shape::Text, |item| item.parse(endpoint)),
    "Address that gets the events; with `kind = \"lambda\"`, the endpoint of AWS Lambda or of another server with its API.",
)
.required("")
.example("\"https://hooks.example.com/cognito\"");
const SECRET_KEY: Key<Secret> =
    Key::new("secret", SECRET, "Key of the HMAC-SHA256 that signs a POST, of at least 22 characters.")
        .required_if("`kind` is `\"http\"`")
        .example("{ env = \"TRIGGER_SECRET\" }");
const ACCESS_KEY_ID: Key<String> =
    Key::new("access_key_id", TEXT, "Id of the access key that signs `Invoke`.")
        .required_if("`kind` is `\"lambda\"`")
        .example("\"AKIAIOSFODNN7EXAMPLE\"");
const SECRET_ACCESS_KEY: Key<Secret> =
    Key::new("secret_access_key", SECRET, "Secret of the access key that signs `Invoke`.")
        .required_if("`kind` is `\"lambda\"`")
        .example("{ env = \"LAMBDA_SECRET_ACCESS_KEY\" }");
const REGION: Key<String> = Key::new("region", TEXT, "AWS region in the signature of `Invoke`.")
    .computed("the `region` of the file")
    .example("\"eu-central-1\"");
const CA: Key<TextFile> =
    Key::new("ca", AUTHORITIES, "PEM file of certificate authorities to trust besides the system's.")
        .example("\"certs/internal-ca.pem\"");
const CONCURRENCY: Key<usize> = Key::new(
    "concurrency",
    Type::Read(Shape::Integer(1), |item| at_most(item, MAX_CONCURRENCY)),
    "Maximum number of calls at the same time, on each node. Further ones wait up to 5 seconds.",
)
.default("16");

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TriggerKind {
    Http,
    Lambda,
}

/// A function that is called at events of user pools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The name, unique in the deployment.
    pub name: String,
    /// The address that gets the events, or the endpoint of AWS Lambda.
    pub url: Url,
    /// How the function is called, and what signs the request.
    pub credentials: TriggerCredentials,
    /// Certificate authorities to trust besides the system's.
    pub ca: Option<TextFile>,
    /// The maximum number of calls at the same time on a node.
    pub concurrency: usize,
}

/// How a function is called, and what signs the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TriggerCredentials {
    /// A POST with an HMAC.
    Http {
        /// The key of the HMAC.
        secret: Secret,
    },
    /// The operation `Invoke` of AWS Lambda, with a signature of version 4.
    Lambda {
        /// The id of the access key.
        access_key_id: String,
        /// The secret of the access key.
        secret_access_key: Secret,
        /// The region in the signature.
        region: String,
    },
}

impl TriggerCredentials {
    /// Returns the secret.
    pub fn secret(&self) -> &Secret {
        match self {
            Self::Http { secret } => secret,
            Self::Lambda { secret_access_key, .. } => secret_access_key,
        }
    }
}

impl Trigger {
    pub(super) fn read(table: &Table<'_>, region: &str) -> Option<Self> {
        let (name, kind, url) = (table.read(&NAME), table.read(&KIND), table.read(&URL));
        let (secret, access_key_id) = (table.read(&SECRET_KEY), table.read(&ACCESS_KEY_ID));
        let (secret_access_key, own_region) = (table.read(&SECRET_ACCESS_KEY), table.read(&REGION));
        let (ca, concurrency) = (table.read(&CA), table.read(&CONCURRENCY));
        table.finish();
        if secret.as_ref().is_some_and(|secret| secret.expose().len() < MIN_SECRET_BYTES) {
            table.report(
                format!("the `secret` of a [[trigger]] is shorter than {MIN_SECRET_BYTES} characters"),
                "generate it: `openssl rand -base64 30`",
            );
        }
        let credentials = match (kind?, secret, access_key_id.zip(secret_access_key)) {
            (TriggerKind::Http, Some(secret), None) => TriggerCredentials::Http { secret },
            (TriggerKind::Lambda, None, Some((access_key_id, secret_access_key))) => {
                let region = own_region.unwrap_or_else(|| region.to_owned());
                TriggerCredentials::Lambda { access_key_id, secret_access_key, region }
            }
            (TriggerKind::Http, ..) => {
                table.report(
                    "a [[trigger]] with kind = \"http\" needs `secret`, and no access key",
                    "add secret = { env = \"TRIGGER_SECRET\" }",
                );
                return None;
            }
            (TriggerKind::Lambda, ..) => {
                table.report(
                    "a [[trigger]] with kind = \"lambda\" needs `access_key_id` and `secret_access_key`, and no `secret`",
                    "add access_key_id = \"…\" and secret_access_key = { env = \"LAMBDA_SECRET_ACCESS_KEY\" }",
                );
                return None;
            }
        };
        Some(Self { name: name?, url: url?, credentials, ca, concurrency: concurrency? })
    }
}

/// Reads the address of a function. A query or a fragment would not be signed as written.
fn endpoint(text: &str) -> Result<Url, Invalid> {
    let help = "write an https address without user name, query and fragment";
    let url = safe_url(text, help)?;
    let is_plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    match is_plain {
        true => Ok(url),
        false => Err((format!("\"{text}\" has a user name, a query or a fragment"), help.to_owned())),
    }
}
