//! `[sms]`: the service through which text messages are sent.

use super::address::safe_url;
use super::authorities::AUTHORITIES;
use super::item::Item;
use super::key::{Key, Section, Shape, Type};
use super::mail::{at_most, timeout};
use super::reader::{Invalid, Table};
use super::role::TextFile;
use super::types::{SECRET, TEXT};
use crate::base::{Duration, Secret};
use http::{HeaderName, Method};
use url::Url;

/// The maximum of `rate`, in messages per second.
const MAX_RATE: usize = 1000;

pub(super) const SECTION: Section = Section {
    header: "[sms]",
    about: "The service through which text messages of the user pool are sent. Without it none are sent.",
    keys: &[
        &SHAPE,
        &URL,
        &METHOD,
        &ACCOUNT,
        &ACCOUNT_SECRET,
        &SECRET_HEADERS,
        &CA,
        &FROM,
        &ALLOWED_PREFIXES,
        &RATE,
        &TIMEOUT,
    ],
};
const SHAPE: Key<SmsShape> = Key::new(
    "shape",
    Type::ProviderChoice(&[
        ("twilio", SmsShape::Twilio),
        ("vonage", SmsShape::Vonage),
        ("sns", SmsShape::Sns),
        ("json", SmsShape::Json),
    ]),
    "Form of the requests. `\"json\"` is an object with `to`, `from` and `text`, for any other service.",
)
.required("")
.example("\"twilio\"");
const URL: Key<Url> = Key::new(
    "url",
    Type::Read(Shape::Text, |item| item.parse(|text| safe_url(text, "write an https address"))),
    "Address of the service.",
)
.computed("the vendor's; required with `shape = \"json\"`")
.example("\"https://sms.example.com/messages\"");
const METHOD: Key<Method> = Key::new(
    "method",
    Type::ProviderChoice(&[("POST", Method::POST), ("PUT", Method::PUT)]),
    "Method of the requests.",
)
.default("\"POST\"");
const ACCOUNT: Key<String> = Key::new(
    "account",
    TEXT,
    "Account: Twilio's account SID, Vonage's API key, the access key id of AWS, or a user name.",
)
.required_if("`shape` is not `\"json\"`")
.example("\"AC0123456789abcdef0123456789abcdef\"");
const ACCOUNT_SECRET: Key<Secret> = Key::new(
    "secret",
    SECRET,
    "Secret of the account. With `shape = \"json\"` and without `account` it is sent as a bearer token.",
)
.required_if("`shape` is not `\"json\"`")
.example("{ env = \"SMS_SECRET\" }");
const SECRET_HEADERS: Key<Vec<(HeaderName, Secret)>> = Key::new(
    "secret_headers",
    Type::Read(Shape::Map(&Shape::Secret), headers),
    "Further headers of the requests; their values are secrets.",
)
.example("{ \"X-Api-Key\" = { env = \"SMS_API_KEY\" } }");
const CA: Key<TextFile> =
    Key::new("ca", AUTHORITIES, "PEM file of certificate authorities to trust besides the system's.")
        .example("\"certs/internal-ca.pem\"");
const FROM: Key<String> = Key::new(
    "from",
    Type::Read(Shape::Text, |item| item.parse(sender)),
    "Sender: a number, a name, or Twilio's messaging service SID.",
)
.required("")
.example("\"+4930123456\"");
const ALLOWED_PREFIXES: Key<Vec<String>> = Key::new(
    "allowed_prefixes",
    Type::Read(Shape::OneOrMore(&Shape::Text), |item| Some(item.list(|item| item.parse(prefix)))),
    "First digits of the numbers to which messages are sent; `\"+\"` allows all. Each message costs money: name the \
     countries of your users only.",
)
.required("")
.example("[\"+49\", \"+43\"]");
const RATE: Key<usize> = Key::new(
    "rate",
    Type::Read(Shape::Integer(1), |item| at_most(item, MAX_RATE)),
    "Maximum number of messages per second, of all nodes together.",
)
.default("5");
const TIMEOUT: Key<Duration> = Key::new(
    "timeout",
    Type::Read(Shape::Duration, timeout),
    "Maximum time for one request; at most `\"60s\"`.",
)
.default("\"10s\"");

/// The form of requests to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmsShape {
    /// Twilio's "Create a Message".
    Twilio,
    /// Vonage's SMS API.
    Vonage,
    /// AWS SNS's `Publish`.
    Sns,
    /// A JSON object.
    Json,
}

/// The settings for text messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sms {
    /// The form of the requests.
    pub shape: SmsShape,
    /// The address of the service.
    pub url: Url,
    /// The method of the requests.
    pub method: Method,
    /// The account.
    pub account: Option<String>,
    /// The secret of the account.
    pub secret: Option<Secret>,
    /// Further headers.
    pub headers: Vec<(HeaderName, Secret)>,
    /// Certificate authorities to trust besides the system's.
    pub ca: Option<TextFile>,
    /// The sender.
    pub from: String,
    /// The allowed prefixes of telephone numbers, each beginning with `+`.
    pub allowed_prefixes: Vec<String>,
    /// The maximum number of messages per second, of all nodes.
    pub rate: u32,
    /// The maximum time for one request.
    pub timeout: Duration,
    /// The AWS region, for the signature of SNS's requests.
    pub region: String,
}

impl Sms {
    pub(super) fn read(table: &Table<'_>, region: &str) -> Option<Self> {
        let (shape, url, method) = (table.read(&SHAPE), table.read(&URL), table.read(&METHOD));
        let (account, secret) = (table.read(&ACCOUNT), table.read(&ACCOUNT_SECRET));
        let headers = table.read(&SECRET_HEADERS).unwrap_or_default();
        let (ca, from) = (table.read(&CA), table.read(&FROM));
        let allowed_prefixes = table.read(&ALLOWED_PREFIXES);
        let (rate, timeout) = (table.read(&RATE), table.read(&TIMEOUT));
        table.finish();
        let shape = shape?;
        if shape != SmsShape::Json && (account.is_none() || secret.is_none()) {
            table.report(
                "`account` and `secret` are required in [sms]",
                "add account = \"…\" and secret = { env = \"SMS_SECRET\" }",
            );
        }
        let url = url.or_else(|| default_url(shape, account.as_deref().unwrap_or_default(), region));
        if url.is_none() {
            table.report("`url` is missing in [sms]", "add url = \"https://sms.example.com/messages\"");
        }
        Some(Self {
            shape,
            url: url?,
            method: method?,
            account,
            secret,
            headers,
            ca,
            from: from?,
            allowed_prefixes: allowed_prefixes?,
            rate: u32::try_from(rate?).ok()?,
            timeout: timeout?,
            region: region.to_owned(),
        })
    }

    /// Returns whether messages may be sent to `number`, which must be in E.164 form with a `+`.
    pub fn allows(&self, number: &str) -> bool {
        self.allowed_prefixes.iter().any(|prefix| number.starts_with(prefix.as_str()))
    }
}

/// Returns the default URL of the vendor's service; `None` if there is no vendor.
fn default_url(shape: SmsShape, account: &str, region: &str) -> Option<Url> {
    let mut url = match shape {
        // https://www.twilio.com/docs/messaging/api/message-resource
        SmsShape::Twilio => Url::parse("https://api.twilio.com/2010-04-01/Accounts/").ok()?,
        // https://developer.vonage.com/en/api/sms
        SmsShape::Vonage => return Url::parse("https://rest.nexmo.com/sms/json").ok(),
        // https://docs.aws.amazon.com/general/latest/gr/sns.html
        SmsShape::Sns => return Url::parse(&format!("https://sns.{region}.amazonaws.com/")).ok(),
        SmsShape::Json => return None,
    };
    url.path_segments_mut().ok()?.pop_if_empty().push(account).push("Messages.json");
    Some(url)
}

/// Parses a prefix of telephone numbers.
fn prefix(text: &str) -> Result<String, Invalid> {
    match text.strip_prefix('+') {
        Some(digits) if digits.len() <= 15 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(text.to_owned())
        }
        _ => Err((
            format!("\"{text}\" is not the beginning of a telephone number"),
            "write the country code with a +, as in \"+49\"".to_owned(),
        )),
    }
}

fn sender(text: &str) -> Result<String, Invalid> {
    match (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        true => Ok(text.to_owned()),
        false => {
            Err((format!("\"{text}\" cannot be a sender"), "write a number or a name in ASCII".to_owned()))
        }
    }
}

fn headers(item: &Item<'_>) -> Option<Vec<(HeaderName, Secret)>> {
    let mut headers = Vec::new();
    for value in item.entries() {
        let Ok(name) = HeaderName::from_bytes(value.key.as_bytes()) else {
            value.report(format!("\"{}\" is not the name of a header", value.key), "correct the name");
            continue;
        };
        let secret = value.secret()?;
        if http::HeaderValue::from_str(secret.expose()).is_err() {
            value.report(
                format!("the value of \"{}\" cannot be in a header", value.key),
                "remove line breaks and other control characters",
            );
            continue;
        }
        headers.push((name, secret));
    }
    Some(headers)
}
