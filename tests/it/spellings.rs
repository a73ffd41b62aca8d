//! Spellings of one path, against servers of every exactness: what the gateway lets pass, no such
//! server may take for what a Deny or a route shuts off. The servers are modelled here, with
//! another implementation of Unicode's normal forms.

use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::upstream::Upstream;
use serde_json::json;
use std::collections::BTreeSet;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use unicode_normalization::UnicodeNormalization as _;

/// What stands in the place of a letter or a slash, or at an end, for some server.
const TRICKS: &[&str] = &[
    ";",
    ";x",
    ";x=1",
    "%3B",
    "%3bx",
    "%253B",
    "%253bx",
    ".",
    "..",
    "...",
    "%2E",
    "%252e",
    "%20",
    "%2520",
    "%20.",
    ".%20",
    "%09",
    "%0A",
    "%0D",
    "%0D%0A",
    "%250A",
    "%00",
    "%2500",
    "%7F",
    "%C2%85",
    "%C2%A0",
    "%E2%80%A8",
    "%E2%80%A9",
    "%E2%80%8B",
    "%C2%AD",
    "%EF%BB%BF",
    "%E3%80%80",
    "%EF%BC%8E",
    "%E2%80%A4",
    "%EF%BC%9B",
    "%EF%BC%8F",
    "%EF%BC%BC",
    "%CC%81",
    "%3F",
    "%3Fx",
    "%253Fx",
    "%23",
    "%2523",
    "%5C",
    "%255C",
    "%2F",
    "%252F",
    "%25252F",
    "/",
    "//",
    "/.",
    "/./",
    "/;/",
    "/;x",
    "/.;/",
    "::$DATA",
    ":$i30:$INDEX_ALLOCATION",
];

/// Spellings of `name`.
fn spellings(name: &str) -> Vec<String> {
    let wide = |c: char| char::from_u32(u32::from(c) + 0xfee0).unwrap();
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let mut capital = name.to_owned();
    capital[..1].make_ascii_uppercase();
    let mut all = vec![
        name.to_owned(),
        capital,
        name.to_uppercase(),
        encoded(name),
        encoded(name).replace('%', "%25"),
        encoded(name).replace('%', "%2525"),
        encoded(name).replace('%', "%EF%BC%85"),
        encoded(&name.chars().map(wide).collect::<String>()),
        encoded(&name.to_uppercase().chars().map(wide).collect::<String>()),
        name.replace('i', "%C4%B1"),
        name.replace('i', "%C4%B0"),
        name.replace('a', "%C3%A1"),
        name.replace('a', "a%CC%81"),
        name.replacen('a', "%25u0061", 1),
        name.replacen('a', "%u0061", 1),
    ];
    all.dedup();
    all
}

/// Every path that is tried.
fn paths() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (kind, name) in spellings("admin").into_iter().enumerate() {
        // All of them with the first few spellings, and some with each.
        let chosen = |at: usize| kind < 4 || at % 8 == kind % 8;
        for trick in TRICKS.iter().enumerate().filter(|(at, _)| chosen(*at)).map(|(_, trick)| trick) {
            for path in [
                format!("/{name}{trick}"),
                format!("/{name}{trick}/x"),
                format!("/{name}/{trick}"),
                format!("/{trick}/{name}"),
                format!("/{trick}{name}/x"),
                format!("/open/x{trick}{name}"),
                format!("/open/{trick}/{name}{trick}"),
            ] {
                all.insert(path);
            }
        }
        all.extend(["", "/", "/x", "/x/", "/X"].map(|end| format!("/{name}{end}")));
    }
    all.extend(
        TRICKS
            .iter()
            .flat_map(|trick| [format!("/{trick}"), format!("/open{trick}"), format!("/{trick}open/x")]),
    );
    all
}

/// Paths of pieces in any order, the same in each run.
fn composed(count: usize, mut state: u64) -> BTreeSet<String> {
    let names = spellings("admin");
    let pieces: Vec<&str> =
        TRICKS.iter().copied().chain(names.iter().map(String::as_str)).chain(["/", "/", "/", "x"]).collect();
    let mut next = |below: usize| {
        // Numerical Recipes' linear congruential generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut all = BTreeSet::new();
    while all.len() < count {
        let mut path = "/".to_owned();
        for _ in 0..=next(5) {
            path.push_str(if next(4) == 0 { &names[next(names.len())] } else { pieces[next(pieces.len())] });
        }
        all.insert(path);
    }
    all
}

/// Which liberties a modelled server takes.
#[derive(Clone, Copy, Debug)]
struct Server(u32);

impl Server {
    const LIBERTIES: u32 = 9;

    fn takes(self, liberty: u32) -> bool {
        self.0 & (1 << liberty) != 0
    }

    /// Returns the segments that it serves for a raw path.
    fn read(self, raw: &str) -> Vec<String> {
        let mut text = decode(raw);
        if self.takes(0) {
            text = decode(&text);
        }
        if self.takes(1) {
            text = text.nfkc().filter(|c| !matches!(c, '\u{ad}' | '\u{200b}' | '\u{feff}')).collect();
        }
        if self.takes(2) {
            text = text.replace('\\', "/");
        }
        if self.takes(3) {
            text.truncate(text.find(['?', '#', '\0']).unwrap_or(text.len()));
        }
        let mut segments: Vec<String> = text[1..].split('/').map(str::to_owned).collect();
        for segment in &mut segments {
            if self.takes(4) {
                segment.truncate(segment.find(';').unwrap_or(segment.len()));
            }
            if self.takes(5) {
                *segment = segment.trim_matches(|c: char| c.is_whitespace() || c.is_control()).to_owned();
            }
            if self.takes(6) && !matches!(segment.as_str(), "." | "..") {
                *segment = segment.trim_end_matches(['.', ' ']).to_owned();
            }
        }
        if self.takes(7) {
            let mut resolved = Vec::new();
            let last = segments.last().cloned().unwrap_or_default();
            for segment in segments {
                match segment.as_str() {
                    ".." => drop(resolved.pop()),
                    "" | "." => {}
                    _ => resolved.push(segment),
                }
            }
            if matches!(last.as_str(), "" | "." | "..") {
                resolved.push(String::new());
            }
            segments = resolved;
        }
        if self.takes(8) {
            for segment in &mut segments {
                *segment = segment.to_lowercase().to_uppercase().to_lowercase();
            }
        }
        segments
    }

    /// Whether it serves what is shut off: everything below `/admin`.
    fn serves_admin(self, raw: &str) -> bool {
        self.read(raw).first().is_some_and(|first| first == "admin")
    }
}

fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.filter(|_| *first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The statuses of requests on one connection each, from an address that the file trusts.
async fn statuses(narthex: &Narthex, requests: &[String]) -> Vec<u16> {
    let mut all = Vec::with_capacity(requests.len());
    for some in requests.chunks(200) {
        let each = some.iter().map(|request| status(narthex, request));
        for status in futures_util::future::join_all(each).await {
            all.push(status);
        }
    }
    all
}

async fn status(narthex: &Narthex, request: &str) -> u16 {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.7:0".parse().unwrap()).unwrap();
    let mut stream = BufReader::new(socket.connect(([127, 0, 0, 1], narthex.http).into()).await.unwrap());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    line.split(' ').nth(1).unwrap_or_else(|| panic!("no answer to {request:?}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_passes_that_some_server_takes_for_what_is_shut_off() {
    let upstream = Upstream::start_without_cookies().await;
    let arn = |route: &str, what: &str| format!("arn:aws:execute-api:*:*:{route}/$default/*/{what}");
    let shut = ["strict", "opaque"].map(|route| [arn(route, "admin"), arn(route, "admin/*")]).concat();
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"},
        {"Effect": "Deny", "Action": "execute-api:Invoke", "Resource": shut}]});
    let under_policy = "access = \"policy\"\nforward_auth = true";
    let open = "access = \"public\"\nforward_auth = true";
    let narthex = NarthexBuilder::new()
        .file("all.json", policy.to_string())
        .tables("[[role]]\nname = \"all\"\npolicies = [\"all.json\"]\n[[identity_pool]]\nname = \"main\"\nguest_role = \"all\"\n")
        .route("strict", upstream.port, &format!("name = \"strict\"\n{under_policy}"))
        .route("opaque", upstream.port, &format!("name = \"opaque\"\n{under_policy}\npath_handling = \"opaque\""))
        .route("plain", upstream.port, open)
        .route("keys", upstream.port, &format!("{open}\npath_handling = \"opaque\""))
        .tables("[[provider]]\ntype = \"oidc\"\nissuer = \"http://127.0.0.1:9\"\nclient_id = \"x\"\nallow = \"anyone\"\n")
        .route("plain", upstream.port, "path = \"/admin\"\nforward_auth = true")
        .route("keys", upstream.port, "path = \"/admin\"\nforward_auth = true\npath_handling = \"opaque\"")
        .start();
    let paths: Vec<String> = paths().into_iter().chain(composed(1000, 22)).collect();
    assert!(paths.len() > 2000, "{}", paths.len());
    let servers: Vec<Server> = (0..1 << Server::LIBERTIES).map(Server).collect();
    let shut: Vec<Option<Server>> =
        paths.iter().map(|path| servers.iter().copied().find(|server| server.serves_admin(path))).collect();

    let mut passed = 0;
    for host in ["strict", "opaque", "plain", "keys"] {
        let direct = |path: &String| {
            format!(
                "GET {path} HTTP/1.1\r\nHost: {host}.localhost\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
            )
        };
        let asked = |path: &String| {
            format!(
                "GET /.narthex/forward-auth HTTP/1.1\r\nHost: narthex\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Proto: https\r\n\
                 X-Forwarded-Host: {host}.localhost\r\nX-Forwarded-Uri: {path}\r\nConnection: close\r\n\r\n"
            )
        };
        let sent: Vec<String> = paths.iter().map(direct).collect();
        let by_request = statuses(&narthex, &sent).await;
        let sent: Vec<String> = paths.iter().map(asked).collect();
        let by_question = statuses(&narthex, &sent).await;
        for (at, path) in paths.iter().enumerate() {
            let (direct, asked) = (by_request[at], by_question[at]);
            assert_eq!(direct, asked, "{host} {path}: the same decision for both");
            assert!(matches!(direct, 200 | 400 | 401), "{host} {path}: {direct}");
            if let (200, Some(server)) = (direct, shut[at]) {
                panic!("{host} {path} passes, and {server:?} reads {:?}", server.read(path));
            }
            passed += usize::from(direct == 200);
        }
        // The spellings that honest apps use pass.
        for path in [
            "/open",
            "/open/",
            "/open/x;y=1",
            "/U.S.",
            "/C%23",
            "/Who%3F",
            "/caf%C3%A9",
            "/job/a%252Fb",
            "/100%25",
        ] {
            assert_eq!(status(&narthex, &direct(&path.to_owned())).await, 200, "{host} {path}");
        }
    }
    assert!(passed > 500, "{passed}");
}
