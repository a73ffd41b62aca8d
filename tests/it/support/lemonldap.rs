//! LemonLDAP::NG as an OpenID provider and a SAML identity provider, with its demonstration
//! accounts.

use super::process::{Party, free_port, wait_for_port};
use super::saml_provider::SamlKey;
use serde_json::{Value, json};

/// What it knows of its relying party.
pub struct RelyingParty<'a> {
    /// The OpenID Connect callback.
    pub redirect_uri: &'a str,
    /// Where browsers go after a sign-out.
    pub signed_out: &'a str,
    /// The SAML metadata.
    pub saml_metadata: &'a str,
}

/// A LemonLDAP::NG.
pub struct LemonLdap {
    pub port: u16,
    folder: tempfile::TempDir,
    party: Option<Party>,
}

impl LemonLdap {
    /// Chooses its address. It starts when it knows its relying party.
    pub fn new() -> Self {
        Self { port: free_port(), folder: tempfile::tempdir().unwrap(), party: None }
    }

    /// Its issuer identifier, and the address of its portal.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it.
    pub fn start(&mut self, relying_party: &RelyingParty<'_>) {
        let home = self.folder.path().display().to_string();
        for folder in ["conf", "sessions/lock", "psessions/lock"] {
            std::fs::create_dir_all(self.folder.path().join(folder)).unwrap();
        }
        let configuration = self.configuration(&home, relying_party).to_string();
        std::fs::write(self.folder.path().join("conf/lmConf-1.json"), configuration).unwrap();
        std::fs::write(self.folder.path().join("lemonldap-ng.ini"), "[portal]\nlanguages = en\n").unwrap();
        let program = self.folder.path().join("portal.psgi");
        std::fs::write(&program, PORTAL.replace("HOME", &home)).unwrap();
        self.party = Some(Party::start(
            "env",
            &[
                &format!("LLNG_DEFAULTCONFFILE={home}/lemonldap-ng.ini"),
                "starman",
                "--listen",
                &format!("127.0.0.1:{}", self.port),
                "--workers",
                "4",
                "--access-log",
                "/dev/null",
                program.to_str().unwrap(),
            ],
        ));
        wait_for_port(self.port);
    }

    fn configuration(&self, home: &str, relying_party: &RelyingParty<'_>) -> Value {
        SamlKey::make(self.folder.path(), "portal", &["rsa:2048"]);
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        let (private_key, certificate) = (read("portal.key"), read("portal.pem"));
        let storage = |name: &str| {
            json!({
                "Directory": format!("{home}/{name}"), "LockDirectory": format!("{home}/{name}/lock"),
                "generateModule": "Lemonldap::NG::Common::Apache::Session::Generate::SHA256",
            })
        };
        let portal = json!({
            "cfgNum": 1, "cfgAuthor": "tests", "cfgDate": "1700000000", "cfgVersion": "2.16.1",
            "portal": format!("{}/", self.issuer()), "domain": "127.0.0.1", "cookieName": "lemonldap",
            "securedCookie": 0, "sameSite": "Lax", "key": "of-tests-alone-0123456789abcdef",
            "authentication": "Demo", "userDB": "Same", "passwordDB": "Null", "registerDB": "Null",
            "demoExportedVars": { "cn": "cn", "mail": "mail", "uid": "uid" },
            "globalStorage": "Apache::Session::File", "globalStorageOptions": storage("sessions"),
            "persistentStorage": "Apache::Session::File", "persistentStorageOptions": storage("psessions"),
            "localSessionStorage": "", "whatToTrace": "uid", "captcha": "::Captcha::None",
            "captcha_mail_enabled": 0, "captcha_register_enabled": 0, "portalDisplayResetPassword": 0,
            "portalDisplayRegister": 0, "portalDisplayCertificateResetByMail": 0, "requireToken": 0,
            "locationRules": {}, "exportedHeaders": {}, "macros": {}, "applicationList": {},
            "groups": { "staff": "$uid eq 'dwho'" },
        });
        let openid = json!({
            "issuerDBOpenIDConnectActivation": 1, "oidcServiceIgnoreScopeForClaims": 1,
            "oidcServicePrivateKeySig": private_key, "oidcServicePublicKeySig": certificate,
            "oidcServiceKeyIdSig": "portal-1", "oidcServiceMetaDataIssuer": self.issuer(),
            "oidcRPMetaDataExportedVars": {
                "narthex": { "email": "mail", "name": "cn", "preferred_username": "uid", "groups": "groups" },
            },
            "oidcRPMetaDataOptions": { "narthex": {
                "oidcRPMetaDataOptionsClientID": "narthex", "oidcRPMetaDataOptionsClientSecret": "secret",
                "oidcRPMetaDataOptionsIDTokenSignAlg": "RS256", "oidcRPMetaDataOptionsBypassConsent": 1,
                "oidcRPMetaDataOptionsIDTokenExpiration": 3600, "oidcRPMetaDataOptionsAccessTokenExpiration": 3600,
                "oidcRPMetaDataOptionsRequirePKCE": 1,
                "oidcRPMetaDataOptionsRedirectUris": relying_party.redirect_uri,
                "oidcRPMetaDataOptionsPostLogoutRedirectUris": relying_party.signed_out,
            } },
        });
        let saml = json!({
            "issuerDBSAMLActivation": 1,
            "samlServicePrivateKeySig": private_key, "samlServicePublicKeySig": certificate,
            "samlSPMetaDataXML": { "narthex": { "samlSPMetaDataXML": relying_party.saml_metadata } },
            "samlSPMetaDataOptions": { "narthex": {
                "samlSPMetaDataOptionsNameIDFormat": "persistent", "samlSPMetaDataOptionsSignSSOMessage": 1,
                "samlSPMetaDataOptionsSignSLOMessage": 1, "samlSPMetaDataOptionsCheckSSOMessageSignature": 1,
                "samlSPMetaDataOptionsCheckSLOMessageSignature": 1,
            } },
            "samlSPMetaDataExportedAttributes": {
                "narthex": { "mail": "1;mail;;", "cn": "1;cn;;", "groups": "1;groups;;" },
            },
        });
        [portal, openid, saml].into_iter().flat_map(|part| part.as_object().unwrap().clone()).collect()
    }
}

/// The portal, without its captcha's pictures, whose libraries nothing else needs. Its cookies are
/// for one host, and its pages, which come without TLS, may show frames that come by TLS.
const PORTAL: &str = r#"
package Lemonldap::NG::Portal::Captcha::None;
use Mouse;
extends 'Lemonldap::NG::Common::Module';
sub init { 1 }
BEGIN { $INC{'Lemonldap/NG/Portal/Captcha/None.pm'} = __FILE__ }

package main;
use Lemonldap::NG::Portal::Main;
use Plack::Builder;
use Plack::Util;

my $portal = Lemonldap::NG::Portal::Main->run({
  configStorage => { type => 'File', dirName => 'HOME/conf' },
  localSessionStorage => '', logLevel => 'error', languages => 'en', staticPrefix => '/static',
  logger => 'Lemonldap::NG::Common::Logger::Std', userLogger => 'Lemonldap::NG::Common::Logger::Std',
  templateDir => '/usr/share/lemonldap-ng/portal/templates',
});

builder {
  enable 'Static', path => qr{^/static/}, root => '/usr/share/lemonldap-ng/portal/htdocs';
  enable 'Static', path => qr{^/javascript/}, root => '/usr/share';
  enable sub {
    my $app = shift;
    sub {
      Plack::Util::response_cb($app->(@_), sub {
        my $headers = $_[0]->[1];
        s/; domain=[^;]*// for @$headers;
        # It names hosts without a scheme, and browsers then want that of its page.
        s/child-src (?=\w)/child-src https:\/\// for @$headers;
        return;
      });
    };
  };
  $portal;
};
"#;
