//! Apache with mod_auth_openidc, which identifies users by its session cookie, and the provider for
//! its sign-ins.

use super::proxies::Proxy;
use super::tokens::{self, AUDIENCE, ISSUER, Issuer};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use url::Url;

const MODULES: [&str; 7] =
    ["mpm_event", "authn_core", "authz_core", "authz_user", "proxy", "proxy_http", "auth_openidc"];

/// Apache with sessions in memory, authorization by claim, and claims in request headers.
pub fn apache(upstream: u16, issuer: Arc<Issuer>, people: usize) -> Proxy {
    let mut proxy = Proxy::new("Apache, mod_auth_openidc", Vec::new());
    let provider = provider(issuer);
    let module = |name: &str| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
    let area = |area: usize| {
        format!("<Location /area{area}/>\n AuthType openid-connect\n Require claim sub:root\n</Location>\n")
    };
    let config = format!(
        "{modules}ServerRoot {folder}\nServerName app.example.com\nPidFile {folder}/pid\nListen 127.0.0.1:{port}\n\
         ErrorLog {folder}/error\nLogLevel error\nStartServers 1\nThreadsPerChild 25\nMaxRequestWorkers 25\n\
         KeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\nProxyPreserveHost On\n\
         OIDCProviderMetadataURL http://127.0.0.1:{provider}/\nOIDCProviderTokenEndpointAuth client_secret_post\n\
         OIDCClientID {AUDIENCE}\nOIDCClientSecret secret\nOIDCCryptoPassphrase 0123456789abcdef\n\
         OIDCRedirectURI /callback\nOIDCCookieDomain example.com\nOIDCSessionType server-cache\nOIDCCacheType shm\nOIDCCacheShmMax {most}\n\
         OIDCSessionMaxDuration 0\nProxyPass / http://127.0.0.1:{upstream}/ keepalive=On\n\
         <Location />\n AuthType openid-connect\n Require valid-user\n</Location>\n{areas}\
         <Location /photos/2026/>\n AuthType openid-connect\n Require claim email~@example\\.com$\n</Location>\n",
        modules = MODULES.map(module).concat(),
        folder = proxy.folder().display(),
        port = proxy.port,
        // Sign-ins in progress use space besides sessions.
        most = 3 * people,
        areas = (0..9).map(area).collect::<String>(),
    );
    let file = proxy.file("apache.conf", &config);
    proxy.command = ["apache2", "-X", "-f", &file].map(str::to_owned).to_vec();
    let port = proxy.port;
    // Sessions end with the process.
    proxy.signs_in = Some(Box::new(move || (0..people).map(|person| sign_in(port, person)).collect()));
    proxy
}

/// Signs a user in; returns a request with the session cookie.
fn sign_in(port: u16, person: usize) -> Vec<u8> {
    let begun = get(port, "/photos/2026/1", "");
    let address = begun.header("location: ").next().unwrap_or_else(|| panic!("{}", begun.0)).to_owned();
    let address = Url::parse(&address).unwrap();
    let told = |name: &str| address.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned();
    let mut callback = Url::parse("http://app.example.com/callback").unwrap();
    let code = format!("{person}~{}", told("nonce"));
    callback.query_pairs_mut().append_pair("code", &code).append_pair("state", &told("state"));
    let state: Vec<&str> = begun.cookies().collect();
    let path = &callback[url::Position::BeforePath..];
    let ended = get(port, path, &format!("Cookie: {}\r\n", state.join("; ")));
    let session = ended.cookies().find(|cookie| cookie.starts_with("mod_auth_openidc_session="));
    tokens::with_cookie(person, session.unwrap_or_else(|| panic!("{}", ended.0)))
}

/// The head of a response.
struct Head(String);

impl Head {
    fn header(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let value =
            move |line: &&str| line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
        self.0.lines().filter(value).map(move |line| &line[name.len()..])
    }

    fn cookies(&self) -> impl Iterator<Item = &str> {
        self.header("set-cookie: ").filter_map(|cookie| cookie.split(';').next())
    }
}

fn get(port: u16, path: &str, cookies: &str) -> Head {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: app.example.com\r\nAccept: text/html\r\n{cookies}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    Head(answer.split("\r\n\r\n").next().unwrap_or_default().to_owned())
}

/// Starts a provider with a session for every user: its codes contain the user and the nonce.
/// Returns its port.
fn provider(issuer: Arc<Issuer>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A closed connection is expected.
            drop(stream.and_then(|stream| provide(stream, port, &issuer)));
        }
    });
    port
}

fn provide(stream: TcpStream, port: u16, issuer: &Issuer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let answer = if first.starts_with("POST /token") {
        let code =
            url::form_urlencoded::parse(&body).find(|(name, _)| name == "code").unwrap().1.into_owned();
        let (person, nonce) = code.split_once('~').unwrap();
        let token = issuer.id_token(person.parse().unwrap(), nonce);
        serde_json::json!({"access_token": "a", "token_type": "Bearer", "expires_in": 3600, "id_token": token})
    } else if first.starts_with("GET /jwks") {
        issuer.jwks()
    } else {
        serde_json::json!({
            "issuer": ISSUER, "authorization_endpoint": "https://idp.example.com/authorize",
            "token_endpoint": format!("http://127.0.0.1:{port}/token"),
            "jwks_uri": format!("http://127.0.0.1:{port}/jwks")})
    };
    let answer = answer.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    reader.into_inner().write_all((head + &answer).as_bytes())
}
