//! AWS's signing test suite, which the crate `aws-sigv4` contains, and signatures that are refused.

use super::*;
use std::path::PathBuf;

/// Paths that a client normalizes before it signs. The API has one path, `/`, which the gateway
/// does not change.
const NORMALIZED_PATHS: [&str; 6] = [
    "get-relative-normalized",
    "get-relative-relative-normalized",
    "get-slash-dot-slash-normalized",
    "get-slash-normalized",
    "get-slash-pointless-dot-normalized",
    "get-slashes-normalized",
];
/// Folded headers, which the gateway refuses (RFC 9112, section 5.2).
const FOLDED: &str = "get-header-value-multiline";
/// A session token that is added to the query after the signature, which no service but IoT reads.
const UNSIGNED_TOKEN: (&str, &str) = ("post-sts-header-after", "query");

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SCOPE: (&str, &str) = ("us-east-1", "service");

/// A request of the suite.
struct Sample {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Sample {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
        let target = rest.strip_suffix(" HTTP/1.1").unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').unwrap();
            let name: http::HeaderName = name.to_ascii_lowercase().parse().unwrap();
            headers.append(name, http::HeaderValue::from_str(value.trim()).unwrap());
        }
        Self {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: body.as_bytes().to_vec(),
        }
    }

    fn signed(&self) -> SignedRequest<'_> {
        let Self { method, path, query, headers, body } = self;
        SignedRequest { method, path, query, headers, body }
    }

    fn verify_at(&self, scope: (&str, &str), now: Timestamp) -> Result<(), ApiError> {
        let request = self.signed();
        Presented::read(&request)?.verify(&request, &Secret::new(SECRET), scope, now)
    }

    fn verify(&self) -> Result<(), ApiError> {
        self.verify_at(SCOPE, signed_at())
    }
}

/// The time of every signature of the suite.
fn signed_at() -> Timestamp {
    Timestamp::from_seconds(seconds_of("20150830T123600Z").unwrap())
}

/// The folder of the suite, in the source of the crate that the lock file names.
fn suite() -> PathBuf {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    let package = lock.split("[[package]]").find(|package| package.contains("name = \"aws-sigv4\"")).unwrap();
    let version = package.lines().find_map(|line| line.strip_prefix("version = ")).unwrap();
    let name = format!("aws-sigv4-{}/aws-signing-test-suite/v4", version.trim_matches('"'));
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"))).unwrap();
    let sources = std::fs::read_dir(home.join("registry/src")).unwrap();
    let mut folders = sources.map(|source| source.unwrap().path().join(&name));
    folders.find(|folder| folder.exists()).expect("cargo has unpacked the crate, which it compiled")
}

fn sample() -> Sample {
    let folder = suite().join("post-x-www-form-urlencoded");
    Sample::parse(&std::fs::read_to_string(folder.join("header-signed-request.txt")).unwrap())
}

#[test]
fn the_signing_test_suite_is_accepted() {
    let mut count = 0;
    for folder in std::fs::read_dir(suite()).unwrap() {
        let folder = folder.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap();
        // Without a context it is no sample of a signature.
        if NORMALIZED_PATHS.contains(&name) || name == FOLDED || !folder.join("context.json").exists() {
            continue;
        }
        for kind in ["header", "query"].into_iter().filter(|kind| (name, *kind) != UNSIGNED_TOKEN) {
            let file = folder.join(format!("{kind}-signed-request.txt"));
            let Ok(text) = std::fs::read_to_string(file) else { continue };
            let verified = Sample::parse(&text.replace("\r\n", "\n")).verify();
            assert_eq!(verified, Ok(()), "{name}, {kind}");
            count += 1;
        }
    }
    assert!(count >= 50, "{count}");
}

#[test]
fn a_changed_request_is_refused() {
    type Change = fn(&mut Sample);
    let changes: [(&str, Change); 7] = [
        ("method", |it| it.method = Method::PUT),
        ("path", |it| it.path.push('x')),
        ("query", |it| it.query.push_str("a=b")),
        ("body", |it| it.body.push(b' ')),
        ("host", |it| drop(it.headers.insert("host", "other.example".parse().unwrap()))),
        ("second host", |it| {
            it.headers.append("host", "other.example".parse().unwrap());
        }),
        ("signed header", |it| drop(it.headers.remove("content-type"))),
    ];
    for (name, change) in changes {
        let mut sample = sample();
        change(&mut sample);
        let error = sample.verify().unwrap_err();
        assert_eq!(error.exception, "InvalidSignatureException", "{name}");
    }
}

#[test]
fn the_host_and_the_operation_must_be_signed() {
    let mut unsigned = sample();
    unsigned.headers.insert("x-amz-target", "Service.Operation".parse().unwrap());
    let error = unsigned.verify().unwrap_err();
    assert!(error.message.contains("'x-amz-target' must be a 'SignedHeader'"), "{error}");
    let mut hostless = sample();
    let text = hostless.headers["authorization"].to_str().unwrap().replace("host;", "");
    hostless.headers.insert("authorization", text.parse().unwrap());
    assert!(hostless.verify().unwrap_err().message.contains("'host' must be a 'SignedHeader'"));
}

#[test]
fn a_signature_is_valid_for_fifteen_minutes_and_one_scope() {
    let (sample, at) = (sample(), signed_at());
    let (inside, outside) = (Duration::from_secs(900), Duration::from_secs(901));
    for now in [at.plus(inside), at.minus(inside)] {
        assert_eq!(sample.verify_at(SCOPE, now), Ok(()));
    }
    for now in [at.plus(outside), at.minus(outside)] {
        assert_eq!(sample.verify_at(SCOPE, now).unwrap_err().exception, "InvalidSignatureException");
    }
    for scope in [("eu-west-1", "service"), ("us-east-1", "other")] {
        assert_eq!(sample.verify_at(scope, at).unwrap_err().exception, "InvalidSignatureException");
    }
}

#[test]
fn a_signature_in_the_query_is_valid_until_its_end() {
    let text = std::fs::read_to_string(suite().join("get-vanilla/query-signed-request.txt")).unwrap();
    let sample = Sample::parse(&text);
    let at = signed_at();
    assert_eq!(sample.verify_at(SCOPE, at.plus(Duration::from_secs(3600))), Ok(()));
    assert!(sample.verify_at(SCOPE, at.plus(Duration::from_secs(3601))).is_err());
    for expires in ["0", "604801", "-1", "x", "3600&X-Amz-Expires=3600"] {
        let mut longer = Sample::parse(&text);
        longer.query = longer.query.replace("X-Amz-Expires=3600", &format!("X-Amz-Expires={expires}"));
        assert_eq!(longer.verify().unwrap_err().exception, "IncompleteSignatureException", "{expires}");
    }
}

#[test]
fn malformed_signatures_are_refused() {
    let header = |value: &str| {
        let mut sample = sample();
        sample.headers.insert("authorization", value.parse().unwrap());
        sample.verify().unwrap_err().exception
    };
    let right = sample().headers["authorization"].to_str().unwrap().to_owned();
    assert_eq!(header("Bearer abc"), "MissingAuthenticationTokenException");
    for (from, to) in [
        ("Credential=", "Credentials="),
        ("/aws4_request", ""),
        ("20150830", "20150831"),
        ("SignedHeaders=content-length;content-type", "SignedHeaders=content-type;content-length"),
        (", Signature=", ", Signature=00, Signature="),
    ] {
        assert_eq!(header(&right.replacen(from, to, 1)), "IncompleteSignatureException", "{from}");
    }
    let digits = right.len() - 64;
    for signature in ["", "zz", &"g".repeat(64), &right[digits + 1..], &"é".repeat(32)] {
        let Ok(value) = format!("{}{signature}", &right[..digits]).parse() else { continue };
        let mut sample = sample();
        sample.headers.insert("authorization", value);
        assert!(sample.verify().is_err(), "{signature}");
    }
    let mut twice = sample();
    twice.headers.append("authorization", right.parse().unwrap());
    assert_eq!(twice.verify().unwrap_err().exception, "IncompleteSignatureException");
    let mut dateless = sample();
    dateless.headers.remove("x-amz-date");
    assert_eq!(dateless.verify().unwrap_err().exception, "IncompleteSignatureException");
}
