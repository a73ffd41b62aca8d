//! Cost of one login by OpenID Connect and by SAML, without the provider's share: the latency of
//! Narthex's responses less the provider's part of it, and the process's CPU time. `make bench`
//! prints it.

// Tests with many cases, and the servers they start, may be longer than the program's functions.
#![allow(clippy::too_many_lines)]

#[allow(dead_code)]
#[path = "../tests/it/support/mod.rs"]
mod support;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use narthex::base::{Clock as _, SystemClock};
use narthex::jose::{self, Algorithm, SigningKey};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::json::Json;
use support::narthex::{Narthex, NarthexBuilder};
use support::parties::provider_toml;
use support::saml_provider::{self, SIGN_ON, SamlProvider, Signed, parse_request};
use support::upstream::Upstream;
use support::visitor::{Visitor, location, redirect_target};

/// Number of warm-up logins.
const WARM: usize = 20;
const LOGINS: usize = 200;
const AUDIENCE: &str = "urn:narthex:test";

/// An OpenID provider that measures its own time.
struct OpenId {
    issuer: String,
    key: SigningKey,
    nonce: Mutex<String>,
    took: AtomicU64,
}

async fn open_id() -> (Arc<OpenId>, u16) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pkcs8 = SigningKey::generate(Algorithm::Es256).unwrap();
    let provider = Arc::new(OpenId {
        issuer: format!("http://127.0.0.1:{port}"),
        key: SigningKey::read("one", Algorithm::Es256, &pkcs8).unwrap(),
        nonce: Mutex::default(),
        took: AtomicU64::new(0),
    });
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(async |State(p): State<Arc<OpenId>>| Json(json!({ "keys": [p.key.jwk()] }))))
        .route("/authorize", get(authorize))
        .route("/token", post(token))
        .with_state(provider.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (provider, port)
}

async fn discovery(State(provider): State<Arc<OpenId>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": provider.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn authorize(State(provider): State<Arc<OpenId>>, uri: http::Uri) -> Response {
    let query = narthex::handlers::form(uri.query().unwrap()).unwrap();
    *provider.nonce.lock().unwrap() = query["nonce"].clone();
    let mut back = url::Url::parse(&query["redirect_uri"]).unwrap();
    back.query_pairs_mut().append_pair("state", &query["state"]).append_pair("code", "code");
    axum::response::Redirect::to(back.as_str()).into_response()
}

async fn token(State(provider): State<Arc<OpenId>>) -> Json<Value> {
    let begun = Instant::now();
    let now = SystemClock.now().seconds();
    let claims = json!({
        "iss": provider.issuer, "aud": "narthex", "sub": "alice", "nonce": *provider.nonce.lock().unwrap(),
        "iat": now, "exp": now + 300, "email": "alice@corp.example", "email_verified": true,
    });
    let id_token = jose::sign(&provider.key, &[], &claims).unwrap();
    provider.took.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
    Json(json!({ "access_token": "at", "token_type": "Bearer", "id_token": id_token }))
}

/// The latency of each login, and the CPU time of all of them.
struct Measured {
    times: Vec<Duration>,
    cpu: Duration,
}

async fn measure(narthex: &Narthex, mut login: impl AsyncFnMut() -> Duration) -> Measured {
    for _ in 0..WARM {
        login().await;
    }
    let (before, mut times) = (cpu_time(narthex.process_id()), Vec::new());
    for _ in 0..LOGINS {
        times.push(login().await);
    }
    times.sort_unstable();
    Measured { times, cpu: (cpu_time(narthex.process_id()) - before) / LOGINS as u32 }
}

/// Returns the user and system time of a process so far.
fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // USER_HZ is 100 on every Linux architecture, as seen from user space.
    Duration::from_millis(ticks * 10)
}

/// Follows redirects within Narthex. Returns the first redirect to another host, if any, and the
/// total latency.
async fn walk(visitor: &Visitor, url: &str, away: &str) -> (Option<String>, Duration) {
    let (mut url, mut took) = (url.to_owned(), Duration::ZERO);
    loop {
        let begun = Instant::now();
        let answer = visitor.get(&url).await;
        took += begun.elapsed();
        match redirect_target(&answer) {
            Some(to) if to.starts_with(away) => return (Some(to), took),
            Some(to) => url = to,
            None => {
                assert_eq!(answer.status(), 200, "{}", answer.url());
                return (None, took);
            }
        }
    }
}

async fn by_open_id(upstream: u16) -> Measured {
    let (provider, port) = open_id().await;
    let narthex = NarthexBuilder::new()
        .tables(&provider_toml("corp", port, "\"anyone\""))
        .route("app", upstream, "")
        .start();
    let app = format!("{}/", narthex.origin("app"));
    measure(&narthex, async || {
        let visitor = Visitor::new(&narthex);
        provider.took.store(0, Ordering::Relaxed);
        let (to, begun) = walk(&visitor, &app, &provider.issuer).await;
        // The provider's page is not measured.
        let back = visitor.get(&to.unwrap()).await;
        let (_, ended) = walk(&visitor, location(&back).as_str(), &provider.issuer).await;
        (begun + ended).saturating_sub(Duration::from_nanos(provider.took.load(Ordering::Relaxed)))
    })
    .await
}

async fn by_saml(upstream: u16) -> Measured {
    let provider = SamlProvider::new("corp");
    let narthex = saml_provider::start_narthex(&provider, upstream, "entity_id = \"urn:narthex:test\"");
    let (app, acs) = (format!("{}/", narthex.origin("app")), provider.acs(&narthex));
    measure(&narthex, async || {
        let visitor = Visitor::new(&narthex);
        let (to, begun) = walk(&visitor, &app, SIGN_ON).await;
        let asked = parse_request(&to.unwrap());
        let response = provider.valid_response(&acs, AUDIENCE, &asked, Signed::Both, |t| t, |t| t);
        let form =
            [("SAMLResponse", saml_provider::base64(&response)), ("RelayState", asked.relay_state.clone())];
        let posting = Instant::now();
        let answer = visitor.client.post(&acs).form(&form).send().await.unwrap();
        let posted = posting.elapsed();
        let (_, ended) = walk(&visitor, location(&answer).as_str(), SIGN_ON).await;
        begun + posted + ended
    })
    .await
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut report = String::from(
        "# One login, without the provider's share\n\n`make bench`; over TLS, SQLite, one visitor after another. \
         A login by SAML has one step more, and both signatures of its response are verified.\n\n\
         | | CPU a login, ms | time a login, ms: median (range) |\n|---|---|---|\n",
    );
    runtime.block_on(async {
        let upstream = Upstream::start().await;
        for (name, measured) in
            [("OpenID Connect", by_open_id(upstream.port).await), ("SAML", by_saml(upstream.port).await)]
        {
            let millis = |time: Duration| time.as_secs_f64() * 1e3;
            let (low, high) = (measured.times[0], measured.times[LOGINS - 1]);
            writeln!(
                report,
                "| {name} | {:.2} | {:.2} ({:.2} to {:.2}) |",
                millis(measured.cpu),
                millis(measured.times[LOGINS / 2]),
                millis(low),
                millis(high)
            )
            .unwrap();
        }
    });
    println!("{report}");
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/LOGINS.md"), report).unwrap();
}
