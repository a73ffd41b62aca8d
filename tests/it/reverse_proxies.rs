//! Narthex beside other proxies: they ask it about each request, or pass connections on to it.
//! Their configurations are the examples.

use crate::support::certificates;
use crate::support::documentation::repository_root;
use crate::support::narthex::{Narthex, NarthexBuilder};
use crate::support::parties::OpenIdProvider;
use crate::support::policies::allow_policy;
use crate::support::process::{Party, free_port, wait_for_port};
use crate::support::tunnel::{read_head, try_write};
use crate::support::upstream::{Seen, Upstream};
use crate::support::visitor::{Visitor, assert_status};
use reqwest::Method;
use std::path::Path;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};

/// Another proxy in front, with a certificate of its own for every host.
struct Front {
    port: u16,
    folder: tempfile::TempDir,
}

impl Front {
    fn new() -> Self {
        let front = Self { port: free_port(), folder: tempfile::tempdir().unwrap() };
        let at = |name: &str| front.folder.path().join(name);
        certificates::make(&at("cert.pem"), &at("key.pem"), "front", "*.localhost", 2);
        let both = [at("cert.pem"), at("key.pem")].map(|file| std::fs::read_to_string(file).unwrap());
        std::fs::write(at("both.pem"), both.concat()).unwrap();
        front
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.folder.path().join(name), text).unwrap();
        self.path(name)
    }

    fn visitor(&self) -> Visitor {
        let pem = std::fs::read(self.folder.path().join("cert.pem")).unwrap();
        // Its certificate is self-signed.
        let trust = reqwest::Certificate::from_pem(&pem).unwrap();
        Visitor::with_authority(trust, |builder| builder.danger_accept_invalid_certs(true))
    }
}

/// What every proxy must do: `start` gets the ports of Narthex and of the app.
/// Whether it hands cookies of the answer on, `hands_cookies_on` says.
async fn asks_about_each_request(hands_cookies_on: bool, start: impl Fn(&Front, u16, u16) -> Party) {
    let (front, app) = (Front::new(), Upstream::start_without_cookies().await);
    let builder = NarthexBuilder::new().behind_proxy(front.port).listen("trusted_proxies = [\"127.0.0.1\"]");
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .tables("[[route]]\nhost = \"app.localhost\"\nforward_auth = true\n")
        .tables(
            "[[route]]\nhost = \"app.localhost\"\npath = \"/open\"\nforward_auth = true\naccess = \"public\"\n",
        )
        .file("lobby.json", allow_policy(&["GET/lobby"]).to_string())
        .tables("[[role]]\nname = \"guest\"\npolicies = [\"lobby.json\"]\n[[identity_pool]]\nname = \"main\"\nguest_role = \"guest\"\n")
        .tables(
            "[[route]]\nhost = \"app.localhost\"\npath = \"/lobby\"\nname = \"photos\"\nforward_auth = true\naccess = \"policy\"\n",
        )
        .start();
    let _proxy = start(&front, narthex.http, app.port);
    wait_for_port(front.port);

    let origin = format!("https://app.localhost:{}", front.port);
    let visitor = front.visitor();
    let url = format!("{origin}/some/page?a=1&b=%2F");
    let landed = visitor.sign_in(&url, "alice").await;
    assert_status(&landed, 200);
    assert_eq!(landed.url().as_str(), url, "the way back keeps the whole address");
    let seen: Seen = landed.json().await.unwrap();
    assert_eq!(seen.target, "/some/page?a=1&b=%2F");
    assert_eq!(seen.claims()["email"], "alice@corp.example");
    assert_eq!(seen.claims()["aud"], format!("{origin}/"));
    assert_eq!(seen.header("x-amzn-oidc-identity"), seen.claims()["sub"]);

    // What a client says of itself is replaced, on an open path too.
    let liar = front.visitor();
    let lie = |url: String| {
        let request = liar.client.get(url).header("X-Amzn-Oidc-Data", "forged");
        request.header("X-Amzn-Oidc-Identity", "forged").header("accept", "application/json").send()
    };
    let open: Seen = lie(format!("{origin}/open")).await.unwrap().json().await.unwrap();
    assert!(!format!("{:?}", open.headers).contains("forged"), "{:?}", open.headers);
    assert_status(&lie(format!("{origin}/shut")).await.unwrap(), 401);
    // A guest is let in where guests are, and known again where the proxy hands the cookie on.
    let guest = front.visitor();
    let lobby = async || -> String {
        let asked = guest.client.get(format!("{origin}/lobby")).send().await.unwrap();
        assert_status(&asked, 200);
        let seen: Seen = asked.json().await.unwrap();
        seen.claims()["identity_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(lobby().await == lobby().await, hands_cookies_on);
    assert_status(&guest.request_json(Method::GET, &format!("{origin}/lobby/x")).await, 401);
    // Nor does it say what is asked about.
    let asks = |name: &str, value: &str| {
        liar.client
            .get(format!("{origin}/shut"))
            .header(name, value)
            .header("accept", "application/json")
            .send()
    };
    for (name, value) in
        [("X-Forwarded-Uri", "/open"), ("X-Original-URL", "/open"), ("X-Forwarded-Host", "other.localhost")]
    {
        let answer = asks(name, value).await.unwrap().status().as_u16();
        assert!(matches!(answer, 400 | 401 | 403), "{name}: {answer}");
    }
    // Nor does anybody but the proxy ask: a script of the app could read what it is answered.
    let asked = visitor.client.get(format!("{origin}/.narthex/forward-auth"));
    let asked =
        asked.header("X-Forwarded-Method", "GET").header("X-Forwarded-Uri", "/").send().await.unwrap();
    assert_status(&asked, 404);
    assert!(!asked.headers().contains_key("x-amzn-oidc-data"));
    let posted = visitor.client.post(format!("{origin}/form")).body("x=1").send().await.unwrap();
    let seen: Seen = posted.json().await.unwrap();
    assert_eq!((seen.method.as_str(), seen.body.as_str()), ("POST", "x=1"));

    let out = visitor.client.post(format!("{origin}/.narthex/sign-out"));
    assert_status(&out.header("sec-fetch-site", "same-origin").send().await.unwrap(), 200);
    assert_status(&visitor.request_json(Method::GET, &url).await, 401);
    assert!(app.seen().iter().all(|seen| !seen.target.contains("shut")));
}

/// The example `file`, for these ports.
fn configuration(file: &str, front: &Front, narthex: u16, app: u16) -> String {
    let text = std::fs::read_to_string(repository_root().join("examples").join(file)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        .replace("auth.example.com", "auth.localhost")
        .replace("app.example.com", "app.localhost")
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{narthex}"))
        .replace("127.0.0.1:3000", &format!("127.0.0.1:{app}"))
        .replace("certs/example.pem", &front.path("both.pem"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_asks_about_each_request() {
    asks_about_each_request(true, |front, narthex, app| {
        let port = front.port;
        let servers = configuration("nginx.conf", front, narthex, app)
            .replace("listen 443 ssl;", &format!("listen 127.0.0.1:{port} ssl;"))
            // Browsers name the port here, which they do not on 443.
            .replace("Host $host;", "Host $http_host;");
        let home = front.path("");
        let text = format!(
            "daemon off;\nerror_log stderr;\npid {home}pid;\nevents {{}}\nhttp {{\naccess_log off;\n\
             client_body_temp_path {home}body;\nproxy_temp_path {home}proxy;\nfastcgi_temp_path {home}f;\n\
             uwsgi_temp_path {home}u;\nscgi_temp_path {home}s;\n\
             ssl_certificate {home}cert.pem;\nssl_certificate_key {home}key.pem;\n{servers}}}\n"
        );
        Party::start("nginx", &["-c", &front.write("nginx.conf", &text), "-p", &home])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_asks_about_each_request() {
    asks_about_each_request(false, |front, narthex, app| {
        let tls = format!("{{\n    tls {} {}\n", front.path("cert.pem"), front.path("key.pem"));
        let sites = configuration("Caddyfile", front, narthex, app);
        let sites: String = sites
            .split("https://")
            .filter(|site| !site.trim().is_empty())
            .map(|site| {
                let (host, rest) = site.split_once(" {").unwrap();
                format!("https://{host}:{} {tls}{rest}", front.port)
            })
            .collect();
        let text = format!("{{\n    admin off\n    auto_https off\n}}\n{sites}");
        let file = front.write("Caddyfile", &text);
        Party::start("caddy", &["run", "--adapter", "caddyfile", "--config", &file])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_asks_about_each_request() {
    asks_about_each_request(false, |front, narthex, app| {
        let lua = front.write("narthex.lua", &configuration("haproxy.lua", front, narthex, app));
        let text = configuration("haproxy.cfg", front, narthex, app)
            .replace("bind :443", &format!("bind 127.0.0.1:{}", front.port));
        let text = format!(
            "global\n    lua-load {lua}\ndefaults\n    mode http\n    timeout connect 5s\n    timeout client 30s\n    \
             timeout server 30s\n{text}"
        );
        Party::start("haproxy", &["-db", "-f", &front.write("haproxy.cfg", &text)])
    })
    .await;
}

/// HAProxy as a load balancer of connections, on `port`, with one server.
fn balancer(folder: &Path, port: u16, bind: &str, server: &str) -> Party {
    let file = folder.join(format!("{port}.cfg"));
    let text = format!(
        "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n\
         listen all\n    bind 127.0.0.1:{port}{bind}\n    server narthex {server}\n"
    );
    std::fs::write(&file, text).unwrap();
    let party = Party::start("haproxy", &["-db", "-f", &file.display().to_string()]);
    wait_for_port(port);
    party
}

async fn from(address: &str, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(([127, 0, 0, 1], port).into()).await.unwrap()
}

async fn behind_balancers() -> (Narthex, Upstream) {
    let app = Upstream::start().await;
    let narthex = NarthexBuilder::new()
        .listen("trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = true")
        .route("app", app.port, "access = \"public\"")
        .start();
    (narthex, app)
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_passes_connections_on_and_says_whose_they_are() {
    let (narthex, app) = behind_balancers().await;
    let front = Front::new();
    let folder = front.folder.path();
    let (v1, v2, ended) = (free_port(), free_port(), free_port());
    let https = format!("127.0.0.1:{}", narthex.https);
    let _v1 = balancer(folder, v1, "", &format!("{https} send-proxy"));
    let _v2 = balancer(folder, v2, "", &format!("{https} send-proxy-v2"));
    // This one ends TLS itself, and says so.
    let bind = format!(" ssl crt {}", front.path("both.pem"));
    let http = format!("127.0.0.1:{} send-proxy-v2-ssl", narthex.http);
    let _ended = balancer(folder, ended, &bind, &http);
    for port in [v1, v2, ended] {
        for address in ["127.0.0.44", "127.0.0.45"] {
            let pem = std::fs::read(narthex.folder().join("certs/local-authority.pem")).unwrap();
            let visitor = Visitor::with_authority(reqwest::Certificate::from_pem(&pem).unwrap(), |builder| {
                builder
                    .local_address(address.parse::<std::net::IpAddr>().unwrap())
                    .danger_accept_invalid_certs(true)
            });
            let url = format!("https://app.localhost:{port}/");
            let request = visitor.client.get(url).header("X-Forwarded-For", "192.0.2.66");
            let seen: Seen = request.send().await.unwrap().json().await.unwrap();
            assert_eq!(
                seen.header("x-forwarded-for"),
                address,
                "what the client says of itself does not count"
            );
        }
    }
    assert_eq!(app.seen().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_header_counts_from_trusted_proxies_alone_and_they_must_send_one() {
    let (narthex, app) = behind_balancers().await;
    let request =
        "GET / HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    let header = "PROXY TCP4 192.0.2.1 127.0.0.1 4000 443\r\n";
    let ask = async |address: &str, text: &str| {
        let mut stream = from(address, narthex.http).await;
        try_write(&mut stream, text).await;
        let answer = read_head(&mut stream).await;
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
        answer.split(' ').nth(1).map(str::to_owned)
    };
    // The client is not the proxy, so that its X-Forwarded-Proto says nothing.
    assert_eq!(ask("127.0.0.1", &format!("{header}{request}")).await.as_deref(), Some("308"));
    assert_eq!(ask("127.0.0.1", request).await, None, "no header, no answer");
    assert_eq!(ask("127.0.0.1", "PROXY nonsense\r\n").await, None);
    assert_eq!(ask("127.0.0.1", &"PROXY ".repeat(40)).await, None);
    assert_eq!(ask("127.0.0.9", &format!("{header}{request}")).await.as_deref(), Some("400"));
    assert!(app.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_trusted_proxy_may_ask() {
    let app = Upstream::start_without_cookies().await;
    let narthex = NarthexBuilder::new()
        .listen("trusted_proxies = [\"127.0.0.1\"]")
        .route("app", app.port, "access = \"public\"\nforward_auth = true")
        .route("other", app.port, "access = \"public\"")
        .start();
    let ask = async |address: &str, change: &dyn Fn(String) -> String| {
        let text = "GET /.narthex/forward-auth HTTP/1.1\r\nHost: narthex\r\nX-Forwarded-Method: GET\r\n\
                    X-Forwarded-Proto: https\r\nX-Forwarded-Host: app.localhost\r\nX-Forwarded-Uri: /a\r\n\r\n";
        let mut stream = from(address, narthex.http).await;
        try_write(&mut stream, &change(text.to_owned())).await;
        read_head(&mut stream).await.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(ask("127.0.0.1", &|text| text).await, "200");
    assert_eq!(ask("127.0.0.9", &|text| text).await, "404");
    // What a client could add to what the proxy says makes it no clearer.
    for (name, value) in
        [("X-Forwarded-Uri", "/b"), ("X-Forwarded-Host", "other.localhost"), ("X-Forwarded-Method", "PUT")]
    {
        let twice = |text: String| text.replace("\r\n\r\n", &format!("\r\n{name}: {value}\r\n\r\n"));
        assert_eq!(ask("127.0.0.1", &twice).await, "400", "{name} twice");
        let without = |text: String| text.replace(name, "X-Nothing");
        assert_eq!(ask("127.0.0.1", &without).await, "400", "no {name}");
    }
    for name in
        ["X_Amzn_Oidc_Data", "x-amzn_oidc-identity", "X_Forwarded_User", "X_Original_URL", "Client_IP"]
    {
        let disguised = |text: String| text.replace("\r\n\r\n", &format!("\r\n{name}: forged\r\n\r\n"));
        assert_eq!(ask("127.0.0.1", &disguised).await, "400", "{name}");
    }
    for (from, to, status) in [
        ("Uri: /a", "Uri: /a/../b", "400"),
        ("Uri: /a", "Uri: /a#b", "400"),
        ("Uri: /a", "Uri: /a%0A", "400"),
        ("Uri: /a", "Uri: /a%250D", "400"),
        ("Uri: /a", "Uri: /a%E2%80%A9/b", "400"),
        ("Uri: /a", "Uri: /a\tb", "400"),
        ("Uri: /a", "Uri: /a b", "400"),
        ("Uri: /a", "Uri: https://app.localhost/a", "400"),
        // What the app may take for the path is the one that is judged.
        ("Uri: /a", "Uri: /a\r\nX-Original-URL: /b", "403"),
        ("Uri: /a", "Uri: /a?q\r\nX-Rewrite-Url: /a", "403"),
        ("Uri: /a", "Uri: /a\r\nX-Original-URL: /a\r\nX-Original-Url: /b", "403"),
        ("Uri: /a", "Uri: /a?q\r\nX-Original-URL: https://app.localhost/a?q", "200"),
        ("Proto: https", "Proto: http", "400"),
        ("Host: app.localhost", "Host: nowhere.localhost", "404"),
        // A route that does not want to be asked about.
        ("Host: app.localhost", "Host: other.localhost", "404"),
        ("Uri: /a", "Uri: /.narthex/callback", "404"),
    ] {
        assert_eq!(ask("127.0.0.1", &|text| text.replace(from, to)).await, status, "{to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_is_judged_by_the_method_that_the_proxy_names() {
    let app = Upstream::start_without_cookies().await;
    let cors = "forward_auth = true\ncors_origins = [\"https://spa.test\"]";
    let builder = NarthexBuilder::new().listen("trusted_proxies = [\"127.0.0.1\"]");
    let provider = OpenIdProvider::start("corp", &builder.callback("corp"));
    let narthex = builder
        .tables(&provider.toml("\"anyone\""))
        .route("answers", app.port, cors)
        .route("passes", app.port, &format!("{cors}\npreflight = \"pass\""))
        .start();
    let ask = async |host: &str, subrequest: &str, method: &str| {
        let text = format!(
            "{subrequest} /.narthex/forward-auth HTTP/1.1\r\nHost: narthex\r\nX-Forwarded-Method: {method}\r\n\
             X-Forwarded-Proto: https\r\nX-Forwarded-Host: {host}.localhost\r\nX-Forwarded-Uri: /a\r\n\
             Origin: https://spa.test\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
        );
        let mut stream = from("127.0.0.1", narthex.http).await;
        try_write(&mut stream, &text).await;
        read_head(&mut stream).await.split(' ').nth(1).unwrap().to_owned()
    };
    for subrequest in ["GET", "OPTIONS", "HEAD"] {
        for method in ["DELETE", "GET"] {
            assert_eq!(ask("answers", subrequest, method).await, "401", "{subrequest} for {method}");
            assert_eq!(ask("passes", subrequest, method).await, "401", "{subrequest} for {method}");
        }
        assert_eq!(ask("passes", subrequest, "OPTIONS").await, "200", "{subrequest}");
        // The proxy would take a 204 for permission, and the app would get the preflight.
        assert_eq!(ask("answers", subrequest, "OPTIONS").await, "401", "{subrequest}");
    }
}
