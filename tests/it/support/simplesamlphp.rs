//! SimpleSAMLphp as an identity provider, with two people.

use super::process::{Party, free_port, wait_for_port};
use super::saml_provider::SamlKey;

/// A SimpleSAMLphp.
pub struct SimpleSamlPhp {
    pub port: u16,
    folder: tempfile::TempDir,
    _party: Option<Party>,
}

impl SimpleSamlPhp {
    /// Starts one that knows no service provider yet.
    pub fn start() -> Self {
        let mut idp = Self { port: free_port(), folder: tempfile::tempdir().unwrap(), _party: None };
        idp.configure();
        idp
    }

    /// Where its metadata is.
    pub fn metadata(&self) -> String {
        format!("http://127.0.0.1:{}/saml2/idp/metadata.php", self.port)
    }

    /// Returns the address that ends the session at the provider and everywhere.
    pub fn logout_url(&self) -> String {
        format!(
            "http://127.0.0.1:{0}/saml2/idp/SingleLogoutService.php?ReturnTo=http://127.0.0.1:{0}/",
            self.port
        )
    }

    fn write(&self, name: &str, php: &str) {
        std::fs::write(self.folder.path().join(name), format!("<?php\n{php}\n")).unwrap();
    }

    /// Registers the service provider `entity_id` with its certificate. `more` has further options
    /// in PHP.
    pub fn register_service_provider(
        &self,
        entity_id: &str,
        acs: &str,
        logout: &str,
        certificate: &str,
        more: &str,
    ) {
        self.write(
            "metadata/saml20-sp-remote.php",
            &format!(
                "$metadata['{entity_id}'] = ['AssertionConsumerService' => '{acs}', 'SingleLogoutService' => '{logout}',
                 'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent', 'validate.logout' => true,
                 'redirect.sign' => true, 'certData' => '{certificate}', {more}];"
            ),
        );
    }

    fn configure(&mut self) {
        let (home, port) = (self.folder.path().display().to_string(), self.port);
        for folder in ["cert", "metadata", "log", "data", "tmp"] {
            std::fs::create_dir_all(self.folder.path().join(folder)).unwrap();
        }
        SamlKey::make(&self.folder.path().join("cert"), "server", &["rsa:2048"]);
        self.write(
            "config.php",
            &format!(
                "$config = ['baseurlpath' => 'http://127.0.0.1:{port}/', 'certdir' => '{home}/cert/', 'loggingdir' => '{home}/log/',
                 'datadir' => '{home}/data/', 'tempdir' => '{home}/tmp', 'secretsalt' => 'of-tests-alone',
                 'auth.adminpassword' => 'of-tests-alone', 'technicalcontact_email' => 'na@example.org', 'timezone' => 'UTC',
                 'logging.handler' => 'file', 'session.cookie.secure' => false, 'session.phpsession.savepath' => '{home}/tmp',
                 'enable.saml20-idp' => true, 'store.type' => 'phpsession', 'authproc.idp' => [], 'language.default' => 'en',
                 'metadata.sources' => [['type' => 'flatfile', 'directory' => '{home}/metadata']],
                 'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true]];"
            ),
        );
        self.write(
            "authsources.php",
            "$config = ['people' => ['exampleauth:UserPass',
              'alice:alicepass' => ['uid' => ['alice'], 'mail' => ['alice@corp.example'], 'groups' => ['staff', 'admins']],
              'bob:bobpass' => ['uid' => ['bob'], 'mail' => ['bob@corp.example']]]];",
        );
        self.write(
            "metadata/saml20-idp-hosted.php",
            &format!(
                "$metadata['http://127.0.0.1:{port}/idp'] = ['host' => '__DEFAULT__', 'privatekey' => 'server.key',
                 'certificate' => 'server.pem', 'auth' => 'people', 'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
                 'authproc' => [3 => ['class' => 'saml:AttributeNameID', 'attribute' => 'uid', 'identifyingAttribute' => 'uid',
                 'Format' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent']]];"
            ),
        );
        let serve = format!("127.0.0.1:{port}");
        let arguments = [
            &format!("SIMPLESAMLPHP_CONFIG_DIR={home}"),
            "php",
            "-d",
            "error_reporting=0",
            "-d",
            &format!("session.save_path={home}/tmp"),
            "-S",
            &serve,
            "-t",
            "/usr/share/simplesamlphp/www",
        ];
        self._party = Some(Party::start("env", &arguments));
        wait_for_port(port);
    }
}
