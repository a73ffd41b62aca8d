//! The compared proxies, with their configurations.

use super::load::{Load, Way};
use super::tls::IDENTITY;
use super::tokens::{self, AUDIENCE, ISSUER, Issuer};
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Number of routes.
pub const ROUTES: usize = 50;

/// A proxy under test.
pub struct Proxy {
    pub name: &'static str,
    pub port: u16,
    /// Its TLS port.
    pub tls_port: u16,
    /// The requests, sent in turn.
    pub requests: Vec<Vec<u8>>,
    pub command: Vec<String>,
    /// For proxies with sessions in memory: signs users in at each new process and returns their
    /// requests.
    pub signs_in: Option<Box<dyn Fn() -> Vec<Vec<u8>>>>,
    pub environment: Vec<(&'static str, String)>,
    /// The database file with its initial content.
    store: Option<(PathBuf, Vec<u8>)>,
    folder: tempfile::TempDir,
}

/// A running proxy.
pub struct Running {
    pub child: Child,
    pub pid: u32,
    /// Requests for this process only.
    own: Option<Vec<Vec<u8>>>,
}

impl Running {
    /// Returns the requests, sent in turn.
    pub fn requests<'a>(&'a self, proxy: &'a Proxy) -> &'a [Vec<u8>] {
        self.own.as_ref().unwrap_or(&proxy.requests)
    }
}

impl Drop for Running {
    /// Processes end also after a failed comparison.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Proxy {
    pub fn new(name: &'static str, requests: Vec<Vec<u8>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            name,
            port: free_port(),
            tls_port: free_port(),
            requests,
            command: Vec::new(),
            signs_in: None,
            environment: Vec::new(),
            store: None,
            folder,
        }
    }

    /// Returns the paths of its certificate and key.
    pub fn identity(&self) -> [String; 2] {
        [
            self.file("tls.pem", &IDENTITY.cert.pem()),
            self.file("tls.key", &IDENTITY.signing_key.serialize_pem()),
        ]
    }

    /// Returns its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file in its folder; returns the path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    /// Returns the initial size of its database.
    pub fn store_size(&self) -> usize {
        self.store.as_ref().map_or(0, |(_, bytes)| bytes.len())
    }

    /// Starts it under `wrapper`, with the initial database, and waits until it responds.
    pub fn start(&self, load: &Load, wrapper: &[&str]) -> Running {
        if let Some((file, bytes)) = &self.store {
            for more in ["-wal", "-shm"] {
                drop(std::fs::remove_file(file.with_file_name(format!("narthex.db{more}"))));
            }
            std::fs::write(file, bytes).unwrap();
        }
        let mut words = wrapper.iter().map(ToString::to_string).chain(self.command.iter().cloned());
        let mut command = Command::new(words.next().unwrap());
        command.args(words).envs(self.environment.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut running = Running { pid: child.id(), child, own: None };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(120), "{} does not answer", self.name);
            if running.child.try_wait().unwrap().is_some() {
                let mut said = String::new();
                running.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("{} ended: {said}", self.name);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        running.own = self.signs_in.as_ref().map(|sign_in| sign_in());
        load.run(self, Way::Plain, running.requests(self), (0, 1), 1);
        running
    }
}

/// Returns nginx without authentication.
pub fn nginx(upstream: u16, requests: Vec<Vec<u8>>) -> Proxy {
    let mut proxy = Proxy::new("nginx", requests);
    let folder = proxy.folder.path().display();
    let [cert, key] = proxy.identity();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr error;\n\
         events {{ worker_connections 1024; }}\nhttp {{\n access_log off;\n\
         client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;\n\
         uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;\n keepalive_requests 10000000;\n\
         upstream app {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 10000000; }}\n\
         ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.3; ssl_session_tickets on;\n\
         server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:{tls} ssl http2;\n  location / {{ proxy_pass http://app; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host $host; }} }}\n}}\n",
        port = proxy.port,
        tls = proxy.tls_port
    );
    let file = proxy.file("nginx.conf", &config);
    proxy.command = vec!["nginx".into(), "-c".into(), file];
    proxy
}

/// Returns HAProxy with token verification (`jwt_verify`: issuer, audience, expiry) and routing by
/// path.
pub fn haproxy(upstream: u16, issuer: &Issuer, requests: Vec<Vec<u8>>) -> Proxy {
    let mut proxy = Proxy::new("HAProxy, jwt_verify", requests);
    let key = proxy.file("key.pem", &issuer.pem());
    let both = proxy.file("both.pem", &[IDENTITY.cert.pem(), IDENTITY.signing_key.serialize_pem()].concat());
    let config = format!(
        "global\n nbthread 1\n maxconn 1000\ndefaults\n mode http\n timeout connect 5s\n timeout client 60s\n\
         timeout server 60s\n timeout http-keep-alive 60s\nfrontend f\n bind 127.0.0.1:{port}\n bind 127.0.0.1:{tls} ssl crt {both} alpn h2,http/1.1\n\
         http-request set-var(txn.token) http_auth_bearer\n\
         http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')\n\
         http-request set-var(txn.iss) var(txn.token),jwt_payload_query('$.iss')\n\
         http-request set-var(txn.aud) var(txn.token),jwt_payload_query('$.aud')\n\
         http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')\n\
         http-request set-var(txn.now) date()\n\
         http-request deny unless {{ var(txn.alg) -m str RS256 }}\n\
         http-request deny unless {{ var(txn.iss) -m str {ISSUER} }}\n\
         http-request deny unless {{ var(txn.aud) -m str {AUDIENCE} }}\n\
         http-request deny if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}\n\
         http-request deny unless {{ var(txn.token),jwt_verify(txn.alg,\"{key}\") -m int 1 }}\n\
         http-request deny unless {{ path_beg /photos/2026/ }} METH_GET\n\
         default_backend b\nbackend b\n http-reuse always\n server s 127.0.0.1:{upstream}\n",
        port = proxy.port,
        tls = proxy.tls_port
    );
    let file = proxy.file("haproxy.cfg", &config);
    proxy.command = vec!["haproxy".into(), "-f".into(), file, "-db".into()];
    proxy
}

/// Returns Envoy with token verification (`jwt_authn`) with a cache of this size, and `rbac`.
pub fn envoy(
    name: &'static str,
    remembers: usize,
    upstream: u16,
    issuer: &Issuer,
    requests: Vec<Vec<u8>>,
) -> Proxy {
    let mut proxy = Proxy::new(name, requests);
    let mut provider = serde_json::json!({
        "issuer": ISSUER, "audiences": [AUDIENCE], "payload_in_metadata": "claims",
        "local_jwks": {"inline_string": issuer.jwks().to_string()}});
    if remembers > 0 {
        provider["jwt_cache_config"] =
            serde_json::json!({"jwt_cache_size": remembers, "jwt_max_token_size": 8192});
    }
    let typed = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.http.{name}");
    let address =
        |port: u16| serde_json::json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    // Ten permissions, as the policy has ten statements; the last one allows.
    let claim = serde_json::json!({"metadata": {
        "filter": "envoy.filters.http.jwt_authn", "path": [{"key": "claims"}, {"key": "email"}],
        "value": {"string_match": {"suffix": "@example.com"}}}});
    let prefix = |prefix: &str| {
        serde_json::json!({"and_rules": {"rules": [
            {"header": {"name": ":method", "string_match": {"exact": "GET"}}},
            {"url_path": {"path": {"prefix": prefix}}}]}})
    };
    let mut permissions: Vec<_> = (0..9).map(|area| prefix(&format!("/area{area}/"))).collect();
    permissions.push(prefix("/photos/2026/"));
    let filters = serde_json::json!([{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "in", "route_config": {"virtual_hosts": [{
                    "name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}]}]},
                "http_filters": [
                    {"name": "envoy.filters.http.jwt_authn", "typed_config": {
                        "@type": typed("jwt_authn.v3.JwtAuthentication"), "providers": {"idp": provider},
                        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "idp"}}]}},
                    {"name": "envoy.filters.http.rbac", "typed_config": {
                        "@type": typed("rbac.v3.RBAC"), "rules": {"action": "ALLOW", "policies": {
                            "readers": {"permissions": permissions, "principals": [claim]}}}}},
                    {"name": "envoy.filters.http.router", "typed_config": {"@type": typed("router.v3.Router")}}]}}]);
    let [cert, key] = proxy.identity();
    let tls = serde_json::json!({"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [
            {"certificate_chain": {"filename": cert}, "private_key": {"filename": key}}]}}});
    let config = serde_json::json!({"static_resources": {
        "listeners": [
            {"address": address(proxy.port), "filter_chains": [{"filters": filters}]},
            {"address": address(proxy.tls_port), "filter_chains": [{"filters": filters, "transport_socket": tls}]}],
        "clusters": [{"name": "app", "type": "STATIC", "load_assignment": {"cluster_name": "app", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]}}]}});
    let file = proxy.file("envoy.json", &config.to_string());
    let program = std::env::var("NARTHEX_ENVOY").unwrap_or_else(|_| "envoy".into());
    let words =
        [&program, "-c", &file, "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"];
    proxy.command = words.map(ToString::to_string).to_vec();
    proxy
}

/// Narthex's configuration besides its routes.
pub struct Told {
    pub name: &'static str,
    /// Keys of each route.
    pub route: &'static str,
    /// Other tables.
    pub tables: String,
    /// Another build, if not the current one.
    pub program: Option<String>,
}

/// Returns a Narthex with fifty routes; `requests` are created from its file.
pub fn narthex(
    told: &Told,
    upstream: u16,
    issuer: &Issuer,
    requests: impl FnOnce(&str, &Path) -> Vec<Vec<u8>>,
) -> Proxy {
    let mut proxy = Proxy::new(told.name, Vec::new());
    let mut text = format!(
        "public_url = \"https://auth.example.com\"\n[listen]\nhttps = \"127.0.0.1:{}\"\nhttp = \"127.0.0.1:{}\"\n\
         admin = \"127.0.0.1:{}\"\ntrusted_proxies = [\"127.0.0.1\"]\n[[tls]]\n\
         hosts = [\"*.example.com\"]\ncert = \"tls.pem\"\nkey = \"tls.key\"\n[[provider]]\ntype = \"oidc\"\n\
         issuer = \"http://127.0.0.1:1\"\nclient_id = \"x\"\nallow = \"anyone\"\n[[issuer]]\nname = \"api\"\n\
         url = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\njwks = \"jwks.json\"\n{}",
        proxy.tls_port,
        proxy.port,
        free_port(),
        told.tables
    );
    for route in 0..ROUTES {
        writeln!(
            text,
            "[[route]]\nname = \"app{route}\"\nhost = \"app{route}.example.com\"\n\
             upstream = \"http://127.0.0.1:{upstream}\"\n{}",
            told.route
        )
        .unwrap();
    }
    proxy.identity();
    proxy.file("jwks.json", &issuer.jwks().to_string());
    proxy.file("policy.json", &statements());
    let file = proxy.file("narthex.toml", &text);
    proxy.requests = requests(&text, proxy.folder.path());
    let store = proxy.folder.path().join("narthex.db");
    proxy.store = std::fs::read(&store).ok().map(|bytes| (store, bytes));
    let program = told.program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_narthex"));
    proxy.command = [program, "run", "--config", &file].map(str::to_owned).to_vec();
    proxy.environment = vec![("TOKIO_WORKER_THREADS", "1".into()), ("NARTHEX_LOG", "error".into())];
    proxy
}

/// Returns the configuration of a user pool with this signature algorithm and a client.
pub fn user_pool(algorithm: &str) -> String {
    format!(
        "[[user_pool]]\nsigning_algorithm = \"{algorithm}\"\n[[user_pool.resource_server]]\nidentifier = \"photos\"\n\
         scopes = [\"read\"]\n[[user_pool.client]]\nname = \"reporter\"\nid = \"reporter\"\nsecret = \"{}\"\n\
         allowed_oauth_flows = [\"client_credentials\"]\nallowed_oauth_scopes = [\"photos/read\"]\n",
        tokens::SECRET
    )
}

/// The role of all users, and its identity pool.
pub const ROLES: &str = "[[role]]\nname = \"reader\"\npolicies = [\"policy.json\"]\n\
                         [[identity_pool]]\nname = \"main\"\nauthenticated_role = \"reader\"\n\
                         [identity_pool.principal_tags]\nmail = \"email\"\n";

/// Returns ten statements for each route: one Deny, eight that do not match, and the one that
/// allows.
fn statements() -> String {
    let mut statements = Vec::new();
    for route in 0..ROUTES {
        let arn =
            |what: &str| format!("arn:aws:execute-api:us-east-1:123456789012:app{route}/$default/{what}");
        let invoke = "execute-api:Invoke";
        statements.push(serde_json::json!({
            "Effect": "Deny", "Action": invoke, "Resource": arn("*/admin/*"),
            "Condition": {"StringNotEquals": {"aws:PrincipalTag/mail": "root@example.com"}}}));
        statements.extend((0..8).map(|area| {
            let own = format!("GET/area{area}/${{cognito-identity.amazonaws.com:sub}}/*");
            serde_json::json!({"Effect": "Allow", "Action": invoke, "Resource": arn(&own)})
        }));
        statements.push(serde_json::json!({
            "Effect": "Allow", "Action": invoke, "Resource": arn("GET/photos/${aws:PrincipalTag/year, '2026'}/*"),
            "Condition": {"StringLike": {"aws:PrincipalTag/mail": "*@example.com"}}}));
    }
    serde_json::json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// Returns requests of this many signed-in users.
pub fn people(count: usize) -> impl FnOnce(&str, &Path) -> Vec<Vec<u8>> {
    move |text, folder| tokens::with_sessions(text, folder, count)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
