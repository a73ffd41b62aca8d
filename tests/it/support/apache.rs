//! Apache with mod_auth_openidc.

use super::process::{Party, wait_for_port};
use std::path::Path;

const MODULES: [&str; 7] =
    ["mpm_event", "authn_core", "authz_core", "authz_user", "proxy", "proxy_http", "auth_openidc"];

/// What Apache knows of its provider and its app.
pub struct Config<'a> {
    pub port: u16,
    pub upstream: u16,
    pub issuer: &'a str,
    pub authority: &'a Path,
    pub client: (&'a str, &'a str),
}

/// A running Apache, which lets signed-in users reach an app.
pub struct Apache {
    _party: Party,
    _folder: tempfile::TempDir,
}

impl Apache {
    /// Starts it at `http://localhost:{port}`, with the redirect URI `/callback`.
    pub fn start(config: &Config<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("apache.conf");
        std::fs::write(&file, text(config, folder.path())).unwrap();
        let party = Party::start("apache2", &["-X", "-f", &file.display().to_string()]);
        wait_for_port(config.port);
        Self { _party: party, _folder: folder }
    }
}

fn text(config: &Config<'_>, folder: &Path) -> String {
    let Config { port, upstream, issuer, authority, client: (id, secret) } = config;
    let module = |name: &str| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
    format!(
        "{modules}ServerRoot {folder}\nServerName localhost\nPidFile {folder}/pid\nListen 127.0.0.1:{port}\n\
         ErrorLog {folder}/error\nLogLevel error\n\
         OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration\nOIDCCABundlePath {authority}\n\
         OIDCProviderTokenEndpointAuth client_secret_basic\nOIDCClientID {id}\nOIDCClientSecret {secret}\n\
         OIDCCryptoPassphrase 0123456789abcdef\nOIDCRedirectURI http://localhost:{port}/callback\n\
         OIDCScope \"openid email\"\nOIDCPKCEMethod S256\nOIDCPassRefreshToken On\nOIDCCacheType shm\n\
         ProxyPass /callback !\nProxyPass / http://127.0.0.1:{upstream}/\n\
         <Location />\n AuthType openid-connect\n Require valid-user\n</Location>\n",
        modules = MODULES.map(module).concat(),
        folder = folder.display(),
        authority = authority.display(),
    )
}
