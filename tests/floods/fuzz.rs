//! Garbage for the parsers of the request path: sound requests, bent at random. Whatever comes, the
//! process lives, and nothing reaches an app without an identity.

use crate::support::narthex::NarthexBuilder;
use crate::support::parties::OpenIdProvider;
use crate::support::tunnel::connect_from_proxy_address;
use crate::support::upstream::Upstream;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long, unless NARTHEX_FUZZ_SECONDS says otherwise.
const SECONDS: u64 = 20;

/// xorshift64*: garbage need not be good.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

const SEEDS: [&str; 8] = [
    "GET /shut/a?b=c HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\n\r\n",
    "POST /open/form HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\nContent-Length: 5\r\n\r\nhello",
    "POST /open HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET /open/..%2fshut HTTP/1.1\r\nHost: app.localhost:443\r\nX-Forwarded-Proto: https\r\nCookie: __Host-narthex=a.b; c=d\r\n\r\n",
    "GET /.narthex/callback?code=a&state=b&iss=c HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\n\r\n",
    "GET /oauth2/authorize?client_id=a&redirect_uri=b HTTP/1.1\r\nHost: auth.localhost\r\nX-Forwarded-Proto: https\r\n\r\n",
    "GET /.narthex/forward-auth HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Host: app.localhost\r\nX-Forwarded-Uri: /shut\r\n\r\n",
    "GET /open HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n",
];
const PIECES: [&[u8]; 28] = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\0",
    b"%2e%2e",
    b"%2f",
    b"%5c",
    b"%00",
    b"%",
    b"//",
    b"/../",
    b"\\",
    b";",
    b"#",
    b"?",
    b"\xff\xfe",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 3\r\n",
    b"Host: b\r\n",
    b"x-amzn-oidc-data: forged\r\n",
    b"X_Amzn_Oidc_Identity: forged\r\n",
    b"HTTP/1.0",
    b"GET /shut HTTP/1.1\r\nHost: app.localhost\r\n\r\n",
    b"Connection: x-amzn-oidc-data\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
];

fn bent(chance: &mut Chance) -> Vec<u8> {
    let mut bytes = SEEDS[chance.below(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(6) {
            0 if at < bytes.len() => bytes[at] = chance.next() as u8,
            1 if at < bytes.len() => bytes.truncate(at),
            2 if at < bytes.len() => drop(bytes.drain(at..(at + 1 + chance.below(8)).min(bytes.len()))),
            3 => {
                let again = bytes[at..].to_vec();
                bytes.extend(again);
            }
            4 => {
                let piece = PIECES[chance.below(PIECES.len())].repeat(1 + chance.below(300));
                drop(bytes.splice(at..at, piece));
            }
            _ => drop(bytes.splice(at..at, PIECES[chance.below(PIECES.len())].to_vec())),
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_neither_ends_the_process_nor_opens_a_door() {
    let _alone = crate::ALONE.lock().await;
    let (open, shut) = (Upstream::start().await, Upstream::start().await);
    let builder = NarthexBuilder::new()
        .listen("trusted_proxies = [\"127.0.0.128/25\"]")
        .environment("NARTHEX_LOG", "error");
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("app", open.port, "path = \"/open\"\naccess = \"public\"")
        .route("app", shut.port, "")
        .start();
    let seconds =
        std::env::var("NARTHEX_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let seed =
        std::env::var("NARTHEX_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(88_172_645);
    let (begun, mut count, narthex) = (Instant::now(), 0u64, &narthex);
    let mut chance = Chance(seed);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let some: Vec<Vec<u8>> = (0..32).map(|_| bent(&mut chance)).collect();
        count += some.len() as u64;
        let sent = some.into_iter().zip(count..).map(|(bytes, number)| async move {
            let mut stream = connect_from_proxy_address(narthex, 128 + (number % 127) as u8).await;
            // The other side may have answered and gone before all is said.
            drop(stream.write_all(&bytes).await);
            drop(stream.shutdown().await);
            let mut answer = vec![0; 4096];
            let read = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut answer)).await;
            let count = read.ok().and_then(Result::ok).unwrap_or(0);
            answer.truncate(count);
            if !answer.is_empty() {
                assert!(answer.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&answer));
            }
        });
        futures_util::future::join_all(sent).await;
    }
    println!("{count} bent requests in {seconds} s, seed {seed}");
    assert!(narthex.admin("/readyz").starts_with("HTTP/1.1 200"), "it does not answer any more");
    assert!(!narthex.log().contains("panicked"), "{}", narthex.log());
    assert!(shut.seen().is_empty(), "{:?}", shut.seen().first());
    for seen in open.seen() {
        let plain = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_lowercase();
        let ours = seen.headers.iter().any(|(name, _)| plain(name).starts_with("x-amzn-oidc-"));
        assert!(!ours, "nobody is signed in here: {seen:?}");
        assert!(seen.target.starts_with("/open"), "{seen:?}");
    }
    assert!(!open.seen().is_empty(), "nothing was sound enough to pass");
}
